"""What single latents do: moved, weighed, named; and scores of disentanglement where the answer is known."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

import isthmus as im
from isthmus.errors import DataError, FormatError, NotSupported, SettingError
from isthmus.verbs.disentanglement import dci, disentanglement, mig, sap
from isthmus.verbs.traverse import decoded_grid, latents, traverse


@pytest.fixture(scope="module")
def spread() -> tuple[np.ndarray, im.PCA]:
    """Five columns of falling spread, and a PCA that keeps three of them."""
    X = np.random.default_rng(0).normal(size=(1500, 5)) * [8, 4, 2, 1, 0.5]
    return X, im.PCA(3).fit(X)


# --- one latent moved -----------------------------------------------------------------------------------------------


def test_only_the_latent_that_is_moved_moves(spread: tuple[np.ndarray, im.PCA]) -> None:
    X, model = spread
    found = model.encode(traverse(model, X[7], 1, steps=6))
    own = model.encode(X[7:8])[0]
    np.testing.assert_allclose(found[:, [0, 2]], np.broadcast_to(own[[0, 2]], (6, 2)), atol=1e-5)
    assert (np.diff(found[:, 1]) > 0).all()
    np.testing.assert_allclose(found[[0, -1], 1], [-2.33 * 4, 2.33 * 4], atol=0.8)  # 1st and 99th percentile
    np.testing.assert_allclose(np.diff(found[:, 1]), np.diff(found[:, 1])[0], rtol=1e-4)


def test_the_range_is_that_of_the_items_given(spread: tuple[np.ndarray, im.PCA]) -> None:
    X, model = spread
    some = X[X[:, 0] > 0]
    sign = np.sign(model.components_[0, 0])
    found = sign * model.encode(traverse(model, X[7], 0, X=some))[:, 0]
    assert found.min() > -1.5
    assert found.max() > 15


def test_values_may_be_given(spread: tuple[np.ndarray, im.PCA]) -> None:
    X, model = spread
    np.testing.assert_allclose(model.encode(traverse(model, X[:1], 2, values=[-1, 0, 5]))[:, 2], [-1, 0, 5], atol=1e-5)
    own = float(model.encode(X[:1])[0, 2])
    np.testing.assert_allclose(traverse(model, X[0], 2, values=[own]), model.reconstruct(X[:1]), atol=1e-5)


def test_the_grid_is_laid_out_as_a_map(spread: tuple[np.ndarray, im.PCA]) -> None:
    X, model = spread
    grid = model.encode(decoded_grid(model, (0, 2), steps=4)).reshape(4, 4, 3)
    assert (np.diff(grid[..., 0], axis=1) > 0).all()  # to the right
    assert (np.diff(grid[..., 2], axis=0) < 0).all()  # downwards
    assert np.ptp(grid[..., 1]) < 1e-5
    about = model.encode(decoded_grid(model, (0, 2), item=X[5], steps=2))
    np.testing.assert_allclose(about[:, 1], model.encode(X[5:6])[0, 1], atol=1e-5)


def test_frames_come_back_as_frames() -> None:
    size = np.random.default_rng(0).normal(size=300)
    X = pd.DataFrame(
        {"a": size.astype(np.float32), "b": np.where(size > 0, "big", "small"), "n": (size * 5).astype(int)}
    )
    model = im.PCA(2).fit(X)
    found = traverse(model, X.iloc[[3]], 0, steps=5)
    assert dict(found.dtypes) == dict(X.dtypes)
    assert found["a"].is_monotonic_increasing or found["a"].is_monotonic_decreasing
    assert set(found["b"]) == {"big", "small"}
    assert len(decoded_grid(model, steps=3)) == 9


# --- which matter ---------------------------------------------------------------------------------------------------


def test_one_row_of_a_frame_of_numbers(spread: tuple[np.ndarray, im.PCA]) -> None:
    frame = pd.DataFrame(spread[0][:50], columns=list("abcde"))
    model = im.PCA(2).fit(frame)
    wanted = traverse(model, frame[7:8], 0, steps=3)
    pd.testing.assert_frame_equal(traverse(model, frame.iloc[7], 0, steps=3), wanted)
    pd.testing.assert_frame_equal(im.interpolate(model, frame[:1], frame.iloc[9]).iloc[-1:],
                                  im.interpolate(model, frame[:1], frame[9:10]).iloc[-1:])  # fmt: skip
    with pytest.raises(FormatError, match="item must be one item of the form learned"):
        traverse(model, frame[:2], 0)


def test_of_pca_the_effect_is_the_variance(spread: tuple[np.ndarray, im.PCA]) -> None:
    X, model = spread
    rows = latents(model, X)
    assert [row["latent"] for row in rows] == [0, 1, 2]
    found = np.array([[row["variance"], row["effect"]] for row in rows])
    np.testing.assert_allclose(found[:, 1], found[:, 0], rtol=1e-4)
    np.testing.assert_allclose(found[:, 1], model.explained_variance_, rtol=1e-2)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert "kl" not in rows[0]


def test_whitened_codes_have_one_variance_and_the_same_effect(spread: tuple[np.ndarray, im.PCA]) -> None:
    X, model = spread
    rows = latents(im.PCA(3, whiten=True).fit(X), X)
    np.testing.assert_allclose([row["variance"] for row in rows], 1, rtol=1e-2)
    np.testing.assert_allclose([row["effect"] for row in rows], [row["effect"] for row in latents(model, X)], rtol=1e-3)


def test_latents_are_named_after_columns(spread: tuple[np.ndarray, im.PCA]) -> None:
    X, model = spread
    rows = latents(model, X)
    assert [row["stands_for"] for row in rows] == ["column 0", "column 1", "column 2"]
    assert all(abs(row["correlation"]) > 0.99 and row["information"] > 0.7 for row in rows)
    signs = [np.sign(model.components_[j, j]) for j in range(3)]
    assert [np.sign(row["correlation"]) for row in rows] == signs


def test_latents_are_named_after_what_is_known(spread: tuple[np.ndarray, im.PCA]) -> None:
    X, model = spread
    random = np.random.default_rng(1)
    side = np.where(X[:, 1] > 0, "up", "down").astype(object)
    side[::5] = None
    known = {
        "side": side,
        "chance": random.normal(size=1500),
        "dice": random.integers(1, 7, 1500),
        "one": np.ones(1500),
    }
    for given in (known, pd.DataFrame(known)):
        rows = {row["latent"]: row for row in latents(model, X, given)}
        assert rows[1]["stands_for"] == "side"
        assert rows[1]["information"] > 0.9
        assert rows[1]["correlation"] == pytest.approx(np.sqrt(2 / np.pi), abs=0.03)  # of a normal and its sign
        assert rows[0]["stands_for"] is None
        assert rows[2]["stands_for"] is None
    named = latents(model, X, np.sign(X[:, 2]) * -model.components_[2, 2])[2]
    assert named["stands_for"] == "label"
    assert named["correlation"] < -0.7


def test_of_a_table_latents_are_named_after_its_columns() -> None:
    random = np.random.default_rng(0)
    kind = random.integers(0, 3, 600)
    X = pd.DataFrame({"price": kind * 10 + random.normal(size=600), "kind": np.array(["a", "b", "c"])[kind],
                      "noise": random.normal(size=600)})  # fmt: skip
    X.loc[::10, "price"] = np.nan
    rows = latents(im.PCA(2).fit(X), X)
    assert rows[0]["stands_for"] in ("price", "kind")
    assert rows[0]["information"] > 0.8


def test_a_vae_tells_its_rate_and_which_latents_it_does_not_use() -> None:
    random = np.random.default_rng(0)
    X = (random.normal(size=(400, 1)) @ random.normal(size=(1, 6)) + 0.05 * random.normal(size=(400, 6))).astype(
        np.float32
    )
    model = im.VAE(3, epochs=20, rate=0.01, network=(8,)).fit(X)
    rows = latents(model, X)
    assert sum(row["active"] for row in rows) < 3
    assert rows[0]["share"] > 0.8
    assert rows[0]["kl"] > 1 > rows[-1]["kl"]
    assert sum(row["kl"] for row in rows) == pytest.approx(model.elbo(X).kl.mean(), rel=1e-3)
    bare = latents(model.untrained(), X)
    assert rows[0]["effect"] > 10 * bare[0]["effect"]
    assert rows[0]["stands_for"] is not None
    assert rows[-1]["stands_for"] is None  # whatever it happens to go with, it does nothing


# --- disentanglement ------------------------------------------------------------------------------------------------


def grid(levels: tuple[int, ...] = (4, 5, 8), repeats: int = 4) -> np.ndarray:
    """All combinations of levels: factors that say nothing of each other, exactly."""
    return np.array(list(product(*map(range, levels))) * repeats, dtype=float)


def turned(codes: np.ndarray) -> np.ndarray:
    """Four coordinates turned so that each of the new ones is half of every old one, but for signs."""
    return codes @ np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2


def test_codes_that_are_the_factors_score_what_theory_says() -> None:
    F = grid()
    assert mig(F * [3, -1, 0.2] + 7, F) == pytest.approx(1, abs=1e-9)
    found = dci(F, F)
    assert found["disentanglement"] == found["completeness"] == found["informativeness"] == pytest.approx(1, abs=1e-6)
    assert sap(F, F) == pytest.approx(np.mean([1 - 1 / levels for levels in (4, 5, 8)]), abs=1e-9)


def test_order_copies_and_idle_latents() -> None:
    F = grid()
    noise = np.random.default_rng(0).normal(size=(len(F), 2))
    more = np.c_[F[:, [2, 0]], noise, F[:, 1]]
    assert mig(more, F) > 0.85
    assert dci(more, F)["disentanglement"] > 0.95
    twice = np.c_[F, F]  # each factor in two latents: told as well by the second
    assert mig(twice, F) == pytest.approx(0, abs=1e-9)
    assert sap(twice, F) == pytest.approx(0, abs=1e-9)
    found = dci(twice, F)
    assert found["disentanglement"] > 0.95
    assert found["completeness"] < 0.8


def test_turned_codes_score_nothing_and_yet_tell_all() -> None:
    F = grid((3, 3, 3, 3), 8)
    straight, round_about = of_codes(F), of_codes(turned(F - 1))
    assert min(straight["mig"], straight["disentanglement"], straight["completeness"]) > 0.99
    assert straight["sap"] == pytest.approx(2 / 3, abs=1e-6)
    for key in ("mig", "disentanglement", "completeness", "sap"):
        assert round_about[key] < 0.1, key
    assert round_about["informativeness"] > 0.9


def of_codes(codes: np.ndarray) -> dict[str, float]:
    """The scores of a model that gives these codes of a grid of four times three levels."""
    model = type("Codes", (), {"encode": lambda self, X: X})()
    return disentanglement(model, codes, {f"f{j}": column for j, column in enumerate(grid((3, 3, 3, 3), 8).T)})


def test_numbers_as_factors() -> None:
    random = np.random.default_rng(0)
    F = random.uniform(size=(3000, 3))
    assert sap(2 * F - 1, F) == pytest.approx(1, abs=0.01)
    assert mig(F, F) > 0.95
    found = dci(F, F)
    assert min(found["disentanglement"], found["completeness"]) > 0.95
    assert found["informativeness"] > 0.99
    chance = random.normal(size=(3000, 3))
    assert mig(chance, F) < 0.02
    assert sap(chance, F) < 0.02
    assert dci(chance, F)["informativeness"] < 0.1
    half = np.sqrt(0.5)
    pair = np.c_[F[:, 0] + F[:, 1], F[:, 0] - F[:, 1]] * half  # each factor half in each of two latents
    assert sap(pair, F[:, :2]) < 0.06


def test_a_known_gap_by_hand() -> None:
    # The first latent tells a factor of four levels, the second only its half: one bit of two.
    F = grid((4, 2), 50)
    codes = np.c_[F[:, 0], F[:, 0] // 2]
    assert mig(codes, F[:, :1]) == pytest.approx(0.5)
    assert sap(codes, F[:, :1]) == pytest.approx(0.5)


def test_pca_finds_factors_that_lie_along_its_axes() -> None:
    random = np.random.default_rng(0)
    factors = {"great": random.uniform(size=800), "small": random.uniform(size=800)}
    X = np.c_[10 * factors["great"], 3 * factors["small"]]
    scores = disentanglement(im.PCA(2).fit(X), X, pd.DataFrame(factors))
    bare = disentanglement(im.PCA(2).fit(X).untrained(), X, factors)
    assert min(scores.values()) > 0.85
    assert bare["mig"] < 0.5


# --- what cannot be -------------------------------------------------------------------------------------------------


def test_bad_input(spread: tuple[np.ndarray, im.PCA]) -> None:
    X, model = spread
    for latent in (3, -1, 0.5, True):
        with pytest.raises(SettingError, match="latent=.* from 0 to 2"):
            traverse(model, X[0], latent)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="steps=1"):
        traverse(model, X[0], 0, steps=1)
    with pytest.raises(SettingError, match="values"):
        traverse(model, X[0], 0, values=[np.inf])
    with pytest.raises(SettingError, match="values='far': expected numbers"):
        traverse(model, X[0], 0, values="far")
    with pytest.raises(FormatError, match="item must be one item of the form learned"):
        traverse(model, X[:2], 0)
    with pytest.raises(SettingError, match=r"latents=\(1, 1\): expected two different ones"):
        decoded_grid(model, (1, 1))
    with pytest.raises(DataError, match="one item tells nothing"):
        latents(model, X[:1])
    with pytest.raises(DataError, match=r"the attribute 'a' has the shape \(2,\)"):
        latents(model, X, {"a": [1, 2]})
    with pytest.raises(DataError, match=r"the factor 'a' has the shape \(2,\)"):
        disentanglement(model, X, {"a": [1, 2]})
    with pytest.raises(DataError, match="the factor 'a' is 1.0 for every item"):
        disentanglement(model, X, {"a": np.ones(1500)})
    with pytest.raises(DataError, match="the factor 'a' is missing for item 0"):
        disentanglement(model, X, {"a": [None] * 1500})
    with pytest.raises(DataError, match="DCI compares factors"):
        disentanglement(model, X, {"a": X[:, 0]})
    with pytest.raises(DataError, match="no factor is given"):
        disentanglement(model, X, {})


def test_models_that_cannot() -> None:
    bare: Any = type("Bare", (), {"encode": lambda self, X: X})()
    for call in (
        lambda: traverse(bare, np.zeros(2), 0),
        lambda: latents(bare, np.zeros((3, 2))),
        lambda: decoded_grid(bare),
    ):
        with pytest.raises(NotSupported, match="needs a model that can decode, and this Bare cannot; PCA"):
            call()
