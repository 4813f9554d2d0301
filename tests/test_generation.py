"""Measures of made items: what they give where the answer is known, and the report that puts them in one table."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

import isthmus as im
from isthmus.errors import DataError, NotSupported, SettingError
from isthmus.verbs.fidelity import frechet_distance, precision_recall_density_coverage, privacy
from isthmus.verbs.generation import generation_report


def normal(n: int, width: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width))


# --- precision, recall, density, coverage ---------------------------------------------------------------------------


def test_two_sets_of_one_distribution() -> None:
    found = precision_recall_density_coverage(normal(2000, seed=1), normal(2000, seed=2), k=5)
    assert found["density"] == pytest.approx(1, abs=0.06)
    assert found["coverage"] == pytest.approx(1 - 2**-5, abs=0.02)
    assert found["precision"] == pytest.approx(found["recall"], abs=0.04)


def test_by_hand_on_a_line() -> None:
    real, made = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([[0.5], [2.5], [30.0]])
    # Balls, k = 1: of real items 1, 1, 1, 8; of made ones 2, 2, 27.5.
    found = precision_recall_density_coverage(real, made, k=1)
    assert found["precision"] == pytest.approx(2 / 3)  # 30 is in none
    assert found["density"] == pytest.approx((2 + 2 + 0) / 3)  # 0.5 is in those of 0 and 1, 2.5 in those of 2 and 10
    assert found["coverage"] == 1
    assert found["recall"] == 1  # 10 is in the wide ball of 30
    found = precision_recall_density_coverage(real, np.array([[0.5], [2.5], [4.5]]), k=1)
    assert found["recall"] == 0.75  # 10 is in none
    assert found["coverage"] == 1


@pytest.mark.parametrize("what", ["one point", "half", "far"])
def test_failures_of_a_generator_are_told_apart(what: str) -> None:
    real, made = normal(1000, seed=1), normal(1000, seed=2)
    made = {"one point": made * 0.05, "half": np.abs(made), "far": made + 20}[what]
    found = precision_recall_density_coverage(real, made)
    assert found["coverage"] < (0.5 if what == "half" else 0.2)
    assert found["recall"] < 0.6
    assert (found["precision"] > 0.5) == (what != "far")


def test_copies_are_perfect_to_the_last_item() -> None:
    real = np.round(normal(300, 3, seed=3), 1)  # with items that are alike
    found = precision_recall_density_coverage(real, real)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)


def test_distances_know_no_place_turn_or_order() -> None:
    real, made = normal(200, 5, seed=1), normal(150, 5, seed=2) * 1.2
    turn = np.linalg.qr(normal(5, 5, seed=3))[0]
    moved = [(x @ turn * 7 + 3)[::-1] for x in (real, made)]
    assert precision_recall_density_coverage(real, made) == precision_recall_density_coverage(*moved)
    assert frechet_distance(*moved) == pytest.approx(49 * frechet_distance(real, made))


# --- Fréchet --------------------------------------------------------------------------------------------------------


def test_frechet_in_closed_form() -> None:
    x = normal(3000, 4)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + np.array([3, 0, 4, 0])) == pytest.approx(25)
    white = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    assert frechet_distance(white, 3 * white) == pytest.approx(4 * (3 - 1) ** 2)
    assert frechet_distance(white, white * np.array([1, 2, 1, 5])) == pytest.approx(1 + 16)
    from scipy.linalg import sqrtm

    y = normal(500, 4, seed=5) @ normal(4, 4, seed=6)
    c, d = np.cov(x.T), np.cov(y.T)
    root = np.trace(sqrtm(c @ d).real)
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(c) + np.trace(d) - 2 * root
    assert frechet_distance(x, y) == pytest.approx(expected)


# --- privacy --------------------------------------------------------------------------------------------------------


def test_new_items_of_the_same_distribution_give_nothing_away() -> None:
    found = privacy(normal(1500, seed=1), normal(1500, seed=2), normal(1500, seed=3))
    assert found["closest"] == pytest.approx(1, abs=0.05)
    assert found["closer"] == pytest.approx(0.5, abs=0.04)
    assert found["membership"] == pytest.approx(0.5, abs=0.04)


def test_copies_give_all_away_and_noise_hides_them_by_and_by() -> None:
    train, held_out = normal(500, seed=1), normal(500, seed=2)
    found = [privacy(train, held_out, train + scale * normal(500, seed=3)) for scale in (0, 0.1, 0.5, 3)]
    assert (found[0]["closest"], found[0]["closer"], found[0]["membership"]) == (0, 1, 1)
    for key, rising in (("closest", 1), ("closer", -1), ("membership", -1)):
        assert all(np.diff([rising * one[key] for one in found]) > -1e-9), key
    assert found[3]["closer"] < 0.6


def test_half_copies_are_half_given_away() -> None:
    train, held_out = normal(600, seed=1), normal(600, seed=2)
    made = np.concatenate([train[:300], normal(300, seed=3)])
    found = privacy(train, held_out, made)
    assert found["closer"] == pytest.approx(0.75, abs=0.04)
    assert found["membership"] == pytest.approx(0.75, abs=0.04)


def test_bad_features() -> None:
    x = normal(20, 3)
    with pytest.raises(DataError, match="features of 3 and 2 numbers do not compare"):
        frechet_distance(x, x[:, :2])
    with pytest.raises(DataError, match="expected finite numbers"):
        frechet_distance(x, np.full((5, 3), np.nan))
    with pytest.raises(SettingError, match="k=20: .* from 1 to 19"):
        precision_recall_density_coverage(x, x, k=20)
    with pytest.raises(DataError, match="20 items learned from and 10 held out"):
        privacy(x, x[:10], x)


# --- the report -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def humps() -> tuple[np.ndarray, np.ndarray]:
    """Two far heaps in a plane of ten dimensions: one normal does not fit their codes."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 1200)
    plane = random.normal(size=(1200, 2)) * [2, 5] + np.c_[np.where(y, 15, -15), np.where(y, 5, -5)]
    X = plane @ np.linalg.qr(random.normal(size=(10, 2)))[0].T + random.normal(size=(1200, 10)) * 0.1
    return X, np.where(y, "right", "left")


def test_the_table_says_what_each_is_worth(humps: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = humps
    model = im.PCA(2).fit(X[:600])
    far = X[:300] + 100
    report = generation_report({"PCA": model, "far away": far}, X[:600], X[600:], y_train=y[:600], y_test=y[600:])
    rows = {row["items"]: row for row in report.rows}
    assert list(rows) == ["training items", "PCA", "PCA from N(0, 1)", "far away"]
    real, own, plain, away = rows.values()
    assert real["closest"] == 0
    assert real["closer"] == real["membership"] == 1
    assert real["coverage"] > own["coverage"] > plain["coverage"]
    assert plain["coverage"] < 0.1
    assert away["precision"] == away["recall"] == away["coverage"] == 0
    assert real["frechet"] < own["frechet"] < plain["frechet"] < away["frechet"]
    assert own["closest"] > 1  # in the middle, where no item is, and where few are the closest to many
    assert not any("learned from" in line for line in report.verdict)
    assert abs(own["membership"] - 0.5) < 0.1
    assert real["accuracy"] > 0.95
    assert real["accuracy"] >= own["accuracy"] > 0.9
    assert min(real["confidence"], own["confidence"]) > 0.9 > plain["confidence"]
    assert "accuracy" not in plain
    text = str(report)
    assert "PCA: its codes are not N(0, 1). Drawn from that they reach" in text
    assert "600 items of each kind" in text
    assert "first 10 principal components, 100% of the variance; classifier: network of 100 hidden units" in text
    assert len({len(line) for line in text.splitlines()[:6]}) == 1  # columns stand below each other
    json.dumps(report.to_json(), allow_nan=False)
    again = generation_report({"PCA": model, "far away": far}, X[:600], X[600:], y_train=y[:600], y_test=y[600:])
    assert str(again) == text


def test_a_standard_normal_prior_stands_beside_a_mixture(humps: tuple[np.ndarray, np.ndarray]) -> None:
    X, _ = humps
    model = im.VAE(2, epochs=40, network=(16,)).fit(X[:600])
    found = [generation_report(one, X[:600], X[600:], n=300) for one in (model, model.untrained())]
    names = [row["items"] for row in found[0].rows]
    assert names == ["training items", "VAE(2)", "VAE(2) from a mixture of its codes"]
    assert "confidence" not in found[0].rows[0]
    assert found[0].rows[2]["coverage"] > found[1].rows[2]["coverage"] + 0.2


def test_a_thief_is_caught(humps: tuple[np.ndarray, np.ndarray]) -> None:
    X, _ = humps
    stolen = X[:600] + np.random.default_rng(1).normal(size=(600, 10)) * 0.01
    report = generation_report({"PCA": im.PCA(2).fit(X[:600]), "thief": stolen}, X[:600], X[600:])
    thief = report.rows[-1]
    assert thief["coverage"] > 0.9
    assert thief["closer"] > 0.95
    assert thief["membership"] > 0.9
    assert any(line.startswith("thief: ") and "closer to an item learned from" in line for line in report.verdict)
    assert any(line.startswith("thief: whether an item was learned from can be told") for line in report.verdict)


def test_other_features_and_another_classifier(humps: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.linear_model import LogisticRegression

    X, y = humps

    def first(items: Any) -> np.ndarray:
        return items[:, :2]

    model = im.PCA(2).fit(X[:600])
    report = generation_report(model, X[:600], X[600:], y_train=y[:600], y_test=y[600:], n=200, features=first,
                               classifier=LogisticRegression())  # fmt: skip
    assert "200 items" in report.protocol
    assert "features=first; classifier: LogisticRegression" in report.protocol
    assert report.rows[0]["accuracy"] > 0.95
    with pytest.raises(DataError, match=r"features= gave an array of shape \(200,\) for 200 items"):
        generation_report(model, X[:600], X[600:], n=200, features=lambda items: items[:, 0])


def test_frames_with_holes() -> None:
    random = np.random.default_rng(0)
    size = random.normal(size=400)
    X = pd.DataFrame({"a": size, "b": size + random.normal(size=400) * 0.1, "c": np.where(size > 0, "x", "y")})
    X.loc[::9, "a"] = np.nan
    train, test = X[:200], X[200:].reset_index(drop=True)
    labels = X["c"].to_numpy()
    report = generation_report(im.PCA(2).fit(train), train, test, y_train=labels[:200], y_test=labels[200:])
    assert report.rows[1]["coverage"] > 0.5
    assert report.rows[1]["accuracy"] > 0.8


def test_bad_input_to_the_report(humps: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = humps
    model = im.PCA(2).fit(X)
    with pytest.raises(SettingError, match="needs a fitted model"):
        generation_report({"mine": X}, X, X)
    with pytest.raises(SettingError, match="n=5: expected a whole number from 10 to 1200"):
        generation_report(model, X, X, n=5)
    with pytest.raises(DataError, match="give labels of both"):
        generation_report(model, X, X, y_train=y)
    with pytest.raises(DataError, match=r"y_test: labels of shape \(3,\) given for 1200"):
        generation_report(model, X, X, y_train=y, y_test=y[:3])
    with pytest.raises(DataError, match="y_train: the label of item 1 is missing"):
        generation_report(model, X, X, y_train=np.where(np.arange(1200) == 1, None, y), y_test=y)
    with pytest.raises(DataError, match="have one label, left: a classifier needs two"):
        generation_report(model, X, X, y_train=np.full(1200, "left"), y_test=y)
    bare = type("Bare", (), {"decode": lambda self, Z: Z})()
    with pytest.raises(NotSupported, match="generation_report needs a prior of codes"):
        generation_report(bare, X, X)
