"""Labels that spread: against closed forms, known answers, and on digits; clusters; what is refused, in which words."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from sklearn.datasets import make_moons

from isthmus import datasets
from isthmus.commands.clusters import clusters as clusters_command
from isthmus.commands.label import label as label_command
from isthmus.errors import DataError, IsthmusWarning, NotSupported, SettingError
from isthmus.models.autoencoder import Autoencoder
from isthmus.models.pca import PCA
from isthmus.models.vae import VAE
from isthmus.verbs import selftraining
from isthmus.verbs.clusters import clusters
from isthmus.verbs.label import Labelled, label
from isthmus.verbs.neighbours import Near, affinities, fewest, moved, nearest, require_shifts, solved

DIGITS, TRUTH = datasets.digits(labels=True)


def few(truth: np.ndarray, each: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    y = np.full(len(truth), -1)
    for name in np.unique(truth):
        y[random.choice(np.flatnonzero(truth == name), each, replace=False)] = name
    return y


@pytest.fixture(scope="module")
def pca() -> PCA:
    return PCA(16).fit(DIGITS)


@pytest.fixture(scope="module")
def found(pca: PCA) -> Labelled:
    return label(pca, DIGITS, few(TRUTH, 10))


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Linear CKA of two views of the same items, from 0 to 1 (Kornblith, Norouzi, Lee & Hinton 2019)."""
    one, other = one - one.mean(0), other - other.mean(0)
    lengths = np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other)
    return float(np.square(one.T @ other).sum() / lengths)


def error_of(found: Labelled, truth: np.ndarray = TRUTH) -> float:
    return float((found.labels != truth)[~found.given].mean())


# --- The graph ------------------------------------------------------------------------------------------------------


def test_neighbours_are_the_nearest_and_the_solution_is_that_of_the_dense_system() -> None:
    random = np.random.default_rng(0)
    codes = random.normal(size=(80, 3)).astype(np.float32)
    apart = np.square(codes[:, None].astype(float) - codes).sum(2) + np.diag(np.full(80, np.inf))
    near = nearest(codes, 4)
    assert (near.rows == apart.argsort(1)[:, :4]).all()
    np.testing.assert_allclose(near.distances, np.sort(apart, 1)[:, :4], rtol=1e-5)
    graph, scale = affinities(near)
    W = graph.toarray()
    assert (W == W.T).all()
    i, j = 7, near.rows[7, 1]
    assert W[i, j] == pytest.approx(np.exp(-apart[i, j] / (scale[i] * scale[j])), rel=1e-5)
    root = 1 / np.sqrt(W.sum(1))
    dense = np.linalg.inv(np.eye(80) - 0.9 * root[:, None] * W * root)
    np.testing.assert_allclose(solved(graph, np.eye(80)[:, :5], 0.9), dense[:, :5], atol=1e-5)


def test_copies_of_an_item_have_no_distance_and_do_no_harm() -> None:
    codes = np.repeat(np.eye(3, dtype=np.float32), 8, axis=0)
    graph, _ = affinities(nearest(codes, 5))
    assert np.isfinite(solved(graph, np.eye(24)[:, :1], 0.99)).all()


def test_as_few_neighbours_as_connect_nearly_all() -> None:
    codes = np.concatenate([np.arange(30), 1000 + np.arange(30)]).astype(np.float32)[:, None]
    near = nearest(codes, 20)
    assert fewest(near, np.array([0, 40])) == 5
    assert fewest(near, np.array([0])) == 20  # the other island is never reached
    assert fewest(Near(near.rows[:, :3], near.distances[:, :3]), np.array([0])) == 3


def test_moving_repeats_the_edge() -> None:
    image = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3)
    assert moved(image, (1, 0))[0, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert moved(image, (0, -1))[0, 0].tolist() == [[1, 2, 2], [4, 5, 5], [7, 8, 8]]
    spec = PCA(2).fit(DIGITS[:20]).format_.spec
    assert len(require_shifts(1, spec)) == 9
    assert require_shifts(1, spec)[0] == (0, 0)


# --- Known answers --------------------------------------------------------------------------------------------------


def test_two_moons_from_one_label_each() -> None:
    X, truth = make_moons(400, noise=0.05, random_state=0)
    y = np.full(400, -1)
    y[[np.flatnonzero(truth == 0)[0], np.flatnonzero(truth == 1)[0]]] = 0, 1
    with pytest.warns(IsthmusWarning, match="2 classes have one label only"):
        spread = label(PCA(2).fit(X), X, y)
    assert (spread.labels == truth).mean() > 0.99
    assert np.isnan(spread.error)
    labelled = np.flatnonzero(y >= 0)
    by_distance = truth[labelled[np.square(X[:, None] - X[labelled]).sum(2).argmin(1)]]
    assert (by_distance == truth).mean() < 0.95  # what the graph is for


def test_leaving_out_a_fold_is_spreading_without_it(found: Labelled) -> None:
    coded = np.where(found.given, TRUTH, -1)
    rows = np.flatnonzero(found.given)
    fold_of, shares = np.arange(len(rows)) % 4, np.full(10, 0.1)
    told = found._spread(found._first, coded, shares, fold_of).left_out
    fewer = coded.copy()
    fewer[rows[fold_of == 2]] = -1
    again = found._spread(found._first, fewer, shares, None)
    np.testing.assert_allclose(told[fold_of == 2], again.masses[rows[fold_of == 2]], atol=1e-3)


def test_what_is_learned_helps_and_noise_does_not(found: Labelled) -> None:
    assert error_of(found) < 0.06
    noise = np.random.default_rng(0).integers(0, 256, DIGITS.shape).astype(np.uint8)
    lost = label(PCA(16).fit(noise), noise, few(TRUTH, 10))
    assert error_of(lost) > 0.8
    assert lost.error > 0.7  # and it knows
    assert lost.expected_error > 0.6


def test_the_same_in_another_order_and_under_other_names(pca: PCA, found: Labelled) -> None:
    y, order = few(TRUTH, 10), np.random.default_rng(1).permutation(len(DIGITS))
    again = label(pca, DIGITS[order], y[order], folds=0)
    assert (again.labels == found.labels[order]).mean() > 0.999
    names = np.array([f"digit {i}" for i in range(10)])
    for given in (
        [None if c < 0 else names[c] for c in y],
        pd.Series([pd.NA if c < 0 else names[c] for c in y]),
        ["" if c < 0 else names[c] for c in y],
    ):
        assert (found.relabel(given).labels == names[found.labels]).all()
    floats = found.relabel(np.where(y < 0, np.nan, y))
    assert floats.labels.dtype == np.int64
    assert (floats.labels == found.labels).all()
    assert (found.relabel(torch.from_numpy(y)).confidence == found.confidence).all()


def test_given_labels_stay_even_where_they_are_wrong(found: Labelled) -> None:
    y = few(TRUTH, 10)
    y[np.flatnonzero(y == 3)[0]] = 8
    again = found.relabel(y)
    assert (again.labels[y >= 0] == y[y >= 0]).all()
    assert (again.confidence[y >= 0] == 1).all()
    assert (again._last.masses[y >= 0].max(1) == 1).all()  # so that others near them are told by them


def test_class_masses_follow_the_shares(found: Labelled) -> None:
    rare = {c: 1.0 if c else 1e-3 for c in range(10)}
    settings = found._settings | {"shares": rare}
    again = Labelled(found._model, found._stored, found._first, few(TRUTH, 10), settings)
    assert (again.labels == 0).sum() < (found.labels == 0).sum()


def test_shifted_pictures_are_the_same_where_that_is_said() -> None:
    random = np.random.default_rng(0)
    shapes, truth = random.integers(0, 256, (3, 6, 6)), np.repeat(np.arange(3), 60)
    X = np.zeros((180, 12, 12), np.uint8)
    for image, c in zip(X, truth, strict=True):
        top, left = random.integers(1, 6, 2)
        image[top : top + 6, left : left + 6] = shapes[c]
    y = few(truth, 3)
    model = PCA(20).fit(X)
    assert error_of(label(model, X, y, shifts=2, k=5), truth) < 0.5 * error_of(label(model, X, y, k=5), truth)


# --- What it says of itself -----------------------------------------------------------------------------------------


def test_the_error_is_estimated_and_confidences_fit(found: Labelled) -> None:
    true, told, by_confidence, apart = [], [], [], []
    for seed in range(6):
        again = found.relabel(few(TRUTH, 10, seed))
        right = (again.labels == TRUTH)[~again.given]
        true.append(1 - right.mean())
        told.append(again.error)
        by_confidence.append(again.expected_error)
        sure = again.confidence[~again.given]
        place = (sure * 5).astype(int).clip(max=4)
        apart.append(sum(abs(sure[place == b].sum() - right[place == b].sum()) for b in range(5)) / len(right))
        assert abs(again.error - true[-1]) < 3 * again.error_se
    assert np.mean(told) == pytest.approx(np.mean(true), abs=0.02)
    assert np.mean(by_confidence) == pytest.approx(np.mean(true), abs=0.02)
    assert np.mean(apart) < 0.05
    assert "wide range" in str(found)
    assert json.loads(json.dumps(found.to_json()))["given"] == 100


def test_few_right_labels_prove_little() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(200) % 2
    X = truth[:, None] * 50 + random.normal(size=(200, 3))
    spread = label(PCA(2).fit(X), X, few(truth, 3))
    assert spread.error == 0
    assert spread.error_se > 0.1
    assert 0.03 < spread.expected_error < 0.3


def test_what_it_asks_for_helps_more_than_chance(found: Labelled) -> None:
    asked, drawn = [], []
    for seed in range(6):
        first = found.relabel(few(TRUTH, 3, seed))
        rows = first.suggest(20, seed=seed)
        assert len(set(rows)) == 20
        assert not first.given[rows].any()
        assert (rows == first.suggest(20, seed=seed)).all()
        chance = np.random.default_rng(seed).choice(np.flatnonzero(~first.given), 20, replace=False)
        for some, errors in ((rows, asked), (chance, drawn)):
            y = np.where(first.given, TRUTH, -1)
            y[some] = TRUTH[some]
            errors.append((found.relabel(y).labels != TRUTH).mean())
    assert np.mean(asked) < np.mean(drawn)
    with pytest.raises(SettingError, match="expected a number from 1 to 1697"):
        found.suggest(1698)
    assert len(found.suggest(1697)) == 1697


def test_others_are_told_each_by_itself(pca: PCA) -> None:
    seen = label(pca, DIGITS[:1300], few(TRUTH[:1300], 10))
    told = seen.predict(DIGITS[1300:])
    assert (told.labels == TRUTH[1300:]).mean() > 0.85
    for row in (0, 200, 496):
        one = seen.predict(DIGITS[1300 + row : 1301 + row])
        assert one.confidence[0] == told.confidence[row]
        assert one.labels[0] == told.labels[row]


def test_features_follow_the_labels_that_weigh_and_no_others(pca: PCA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftraining, "LEAST_STEPS", 200)
    stored, ones = pca._stored(DIGITS[:900]), np.eye(2)[TRUTH % 2]  # no shape has it
    near = {}
    for weight in (1.0, 0.0):
        encode = selftraining.learned(pca.format_, stored[:600], ones[:600], np.full(600, weight), 1, 0, False)
        features = encode(stored[600:])  # of items that it has not seen
        assert (encode(stored[601:602]) == features[1]).all()
        near[weight] = alike(features, ones[600:900])
    assert near[1.0] > near[0.0] + 0.2


def test_self_training_helps_where_codes_say_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftraining, "LEAST_STEPS", 200)
    some, truth = DIGITS[:600], TRUTH[:600]
    model, y = PCA(4).fit(some), few(truth, 5)
    plain = label(model, some, y, folds=0)
    trained = label(model, some, y, folds=0, rounds=1, shifts=1)
    assert error_of(trained, truth) < 0.9 * error_of(plain, truth)
    assert (trained.predict(some[:50]).labels == truth[:50]).mean() > 0.8


def test_a_seed_decides_all_and_nothing_else_is_touched(pca: PCA, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.random.get_rng_state()
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]  # noqa: NPY002
    monkeypatch.setattr(selftraining, "LEAST_STEPS", 30)
    monkeypatch.setattr(selftraining, "EFFORT", 1e-3)
    one, two = (label(pca, DIGITS[:300], few(TRUTH[:300], 4), rounds=1, folds=2, seed=3) for _ in range(2))
    assert (one.probabilities == two.probabilities).all()
    assert one.error == two.error
    assert (torch.random.get_rng_state() == before).all()
    assert (np.random.get_state()[1] == state).all()  # type: ignore[union-attr]  # noqa: NPY002


@pytest.mark.parametrize("kind", [PCA, Autoencoder, VAE])
def test_tables_with_holes_and_series(kind: Any) -> None:
    random = np.random.default_rng(0)
    truth = np.arange(120) % 3
    frame = pd.DataFrame({"a": truth * 4 + random.normal(size=120), "b": np.array(list("xyz"))[truth]})
    frame.loc[::7, "a"] = None
    settings: dict[str, Any] = {} if kind is PCA else {"epochs": 8, "verbose": False}
    y = few(truth, 4)
    model = kind(2, **settings).fit(frame)
    assert error_of(label(model, frame, y), truth) < 0.3
    series = np.sin(np.arange(32) * (truth[:, None] + 1) / 3 + random.normal(size=(120, 1)) * 0.1)
    model = kind(4, format="series", **settings).fit(series)
    assert error_of(label(model, series, y, shifts=1), truth) < 0.1


def test_a_table_trains_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftraining, "LEAST_STEPS", 50)
    truth = np.arange(90) % 2
    frame = pd.DataFrame({"a": truth * 3 + np.random.default_rng(0).normal(size=90), "b": list("xy" * 45)})
    frame.loc[3, "a"] = None
    for model in (PCA(2).fit(frame), Autoencoder(2, epochs=5, verbose=False).fit(frame)):
        assert error_of(label(model, frame, few(truth, 4), rounds=1, folds=0), truth) < 0.2


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.where(np.arange(60) < 5, 1, -1), "-1 stands for a missing label"),
        (np.where(np.arange(60) < 5, np.inf, 1.0), "a label is infinite"),
        (np.arange(60) * 1j, "of one kind"),
        (np.zeros(7), r"labels of shape \(7,\) given for 60 items; expected \(60,\)"),
        (np.full(60, -1), "no item has a label"),
        (np.full(60, np.nan), "no item has a label"),
        ([None] * 60, "no item has a label"),
        (np.where(np.arange(60) < 5, 4, -1), "all labels are of one class, .*4"),
        (["a", 1] * 30, "of one kind"),
        (np.zeros((60, 2)), "expected \\(60,\\)"),
        ("abc", "given for 60 items"),
    ],
)
def test_labels_that_do_not_do(pca: PCA, y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        label(pca, DIGITS[:60], y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 60}, "k=60: expected a number of neighbours from 1 to 59"),
        ({"k": 0}, "k=0"),
        ({"alpha": 1.0}, "alpha=1.0: expected a number above 0 and below 1"),
        ({"shifts": 4}, "less than half of the shortest side, 8"),
        ({"shifts": -1}, "shifts=-1"),
        ({"folds": 1}, "folds=1"),
        ({"rounds": 1.5}, "rounds=1.5"),
        ({"seed": -1}, "seed=-1"),
        ({"shares": {0: 1.0}}, "a share above 0 for each of"),
    ],
)
def test_settings_out_of_range(pca: PCA, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        label(pca, DIGITS[:60], few(TRUTH[:60], 2), **settings)


def test_vectors_cannot_be_shifted_and_two_items_are_too_few() -> None:
    X = np.random.default_rng(0).normal(size=(30, 3))
    model = PCA(2).fit(X)
    with pytest.raises(SettingError, match="only images and series can be shifted, and these items are a vector"):
        label(model, X, np.arange(30) % 2, shifts=1)
    with pytest.raises(DataError, match="2 items given"):
        label(model, X[:2], [0, 1])
    for verb in (label, clusters):
        with pytest.raises(NotSupported, match="needs a model that can encode, and this object cannot"):
            verb(object(), X, np.arange(30) % 2)  # type: ignore[operator]


# --- Clusters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kmeans", "mixture", "hdbscan"])
def test_four_clouds_are_found_and_counted(how: str) -> None:
    random = np.random.default_rng(0)
    centres, truth = 8 * random.normal(size=(4, 6)), np.repeat(np.arange(4), [150, 100, 80, 70])
    X = centres[truth] + random.normal(size=(400, 6))
    grouped = clusters(PCA(4).fit(X), X, how=how)
    assert grouped.k == 4
    assert ((grouped.labels == truth) | (grouped.labels < 0)).mean() > 0.95  # the largest first
    assert (grouped.labels < 0).mean() < 0.1
    assert str(grouped.k) in grouped.why


def test_one_cloud_is_one_group_of_a_mixture() -> None:
    X = np.random.default_rng(0).normal(size=(500, 3))
    assert clusters(PCA(3).fit(X), X, how="mixture").k == 1
    assert "hardly apart" in clusters(PCA(3).fit(X), X).why


def test_clusters_refuse(pca: PCA) -> None:
    for settings, message in (
        ({"how": "ward"}, "expected one of 'kmeans', 'mixture', 'hdbscan'"),
        ({"k": 61}, "from 1 to 60, the number of items"),
        ({"k": 3, "how": "hdbscan"}, "finds the number of groups itself"),
        ({"seed": "x"}, "seed='x'"),
    ):
        with pytest.raises(SettingError, match=message):
            clusters(pca, DIGITS[:60], **settings)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="1 different codes"):
        clusters(pca, np.repeat(DIGITS[:1], 5, axis=0))
    with pytest.raises(DataError, match="groups need two"):
        clusters(pca, DIGITS[:1])


# --- The commands ---------------------------------------------------------------------------------------------------


def test_the_commands_write_what_the_functions_give(tmp_path: Path, found: Labelled) -> None:
    found._model.save(tmp_path / "m.isthmus")
    np.save(tmp_path / "x.npy", DIGITS)
    y = few(TRUTH, 10)
    np.save(tmp_path / "y.npy", y)
    (tmp_path / "line.csv").write_text("label\n" + "\n".join("" if c < 0 else str(c) for c in y) + "\n")
    rows = [f"{i},{y[i]}" for i in np.flatnonzero(y >= 0)]
    (tmp_path / "pairs.csv").write_text("item,label\n" + "\n".join(rows) + "\n")
    for labels in ("y.npy", "line.csv", "pairs.csv"):
        arguments = [str(tmp_path / name) for name in ("m.isthmus", "x.npy", labels)]
        done = CliRunner().invoke(label_command, [*arguments, "-o", str(tmp_path / "out.csv"), "--suggest", "3"])
        assert done.exit_code == 0, done.output
        assert "label these next" in done.output
        with open(tmp_path / "out.csv", newline="") as file:
            written = list(csv.DictReader(file))
        assert [int(row["label"]) for row in written] == found.labels.tolist()
        assert [int(row["given"]) for row in written] == found.given.astype(int).tolist()
    done = CliRunner().invoke(clusters_command, [*arguments[:2], "-o", str(tmp_path / "c.csv"), "--k", "4", "--json"])
    assert json.loads(done.output[: done.output.rindex("}") + 1])["k"] == 4
    (tmp_path / "short.csv").write_text("1\n2\n")
    done = CliRunner().invoke(
        label_command, [*arguments[:2], str(tmp_path / "short.csv"), "-o", str(tmp_path / "o.csv")]
    )
    assert isinstance(done.exception, DataError)
    assert "2 lines for 1797 items" in str(done.exception)
