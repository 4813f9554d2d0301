"""New items: what is drawn follows the prior, stays near what it came from, and passes where there is data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

import isthmus as im
from isthmus.errors import DataError, FormatError, IsthmusWarning, NotSupported, SettingError
from isthmus.priors import Gaussian, GaussianMixture, StandardNormal
from isthmus.verbs.generate import augment, interpolate, sample


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, np.ndarray]:
    """Two far balls in the plane of three dimensions."""
    random = np.random.default_rng(0)
    y = np.repeat(["left", "right"], 400)
    X = random.normal(size=(800, 3)) * [1, 1, 0.01]
    X[:, 0] += np.where(y == "left", -10, 10)
    return X, y


@pytest.fixture(scope="module")
def flat(clusters: tuple[np.ndarray, np.ndarray]) -> im.PCA:
    """A rotation: codes are items, but for the direction that is nearly not there."""
    return im.PCA(2).fit(clusters[0])


@pytest.fixture(scope="module")
def two_humps(clusters: tuple[np.ndarray, np.ndarray], flat: im.PCA) -> GaussianMixture:
    return GaussianMixture(2).fit(flat.encode(clusters[0]))


def frame(n: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(1)
    size = random.normal(size=n)
    return pd.DataFrame(
        {
            "id": [f"row {i:05}" for i in range(n)],
            "weight": (size * 3 + 50).astype(np.float32),
            "legs": (4 + (size > 0)).astype(np.int64),
            "colour": pd.Categorical(np.where(size > 0.5, "red", np.where(size > -0.5, "green", "blue"))),
            "tame": size > 0,
            "born": pd.Timestamp("2020-01-01") + pd.to_timedelta((size * 100).round(), unit="D"),
        }
    )


@pytest.fixture(scope="module")
def animals() -> tuple[pd.DataFrame, Any, Any]:
    X = frame()
    X.loc[::7, "weight"] = np.nan
    X.loc[3::11, "colour"] = None
    return X, im.VAE(2, epochs=15, size="small").fit(X), im.PCA(2).fit(X)


# --- drawing --------------------------------------------------------------------------------------------------------


def test_without_a_prior_it_is_the_model_s_own_sample(flat: im.PCA) -> None:
    np.testing.assert_array_equal(sample(flat, 5, seed=3), flat.sample(5, seed=3))
    assert sample(flat).shape == (1, 3)


def test_a_fitted_mixture_gives_what_a_normal_does_not(clusters: tuple[np.ndarray, np.ndarray], flat: im.PCA) -> None:
    X, _ = clusters
    near = [np.abs(np.abs(sample(flat, 2000, prior=prior, X=X)[:, 0]) - 10) < 4 for prior in ("mixture", "gaussian")]
    assert near[0].mean() > 0.99
    assert near[1].mean() < 0.7
    assert (np.abs(sample(flat, 2000, prior="standard_normal")[:, 0]) < 5).all()
    by_hand = Gaussian().fit(flat.encode(X))
    np.testing.assert_array_equal(sample(flat, 9, prior=by_hand), sample(flat, 9, prior="gaussian", X=X))


def test_a_class_is_drawn_from(clusters: tuple[np.ndarray, np.ndarray], flat: im.PCA) -> None:
    X, y = clusters
    assert (sample(flat, 50, X=X, y=y, label="left")[:, 0] < 0).all()
    wanted = np.array(["right", "left", "right"])
    drawn = sample(flat, X=X, y=y, label=wanted)
    assert ((drawn[:, 0] > 0) == (wanted == "right")).all()
    # What is drawn of one class does not depend on the other.
    np.testing.assert_array_equal(drawn[1:2], sample(flat, X=X, y=y, label="left"))
    some = np.where(np.arange(800) % 4, y, None)  # a quarter without label
    assert (sample(flat, 50, X=X, y=some, label="right")[:, 0] > 0).all()


def test_the_seed_decides_and_nothing_global_moves(clusters: tuple[np.ndarray, np.ndarray], flat: im.PCA) -> None:
    X, y = clusters
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for make in (
        lambda seed: sample(flat, 5, prior="mixture", X=X, seed=seed),
        lambda seed: sample(flat, 5, X=X, y=y, label="left", seed=seed),
        lambda seed: augment(flat, X[:5], seed=seed),
    ):
        np.testing.assert_array_equal(make(1), make(1))
        assert (make(1) != make(2)).all(1).all()
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


# --- near given items -----------------------------------------------------------------------------------------------


def test_strength_nothing_is_the_reconstruction(clusters: tuple[np.ndarray, np.ndarray], flat: im.PCA) -> None:
    X = clusters[0][:20]
    np.testing.assert_allclose(augment(flat, X, 0), flat.reconstruct(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("strength", [0.2, 0.7, 1.0])
def test_codes_that_follow_the_prior_still_do(
    clusters: tuple[np.ndarray, np.ndarray], flat: im.PCA, two_humps: GaussianMixture, strength: float
) -> None:
    given = two_humps.sample(20_000, seed=5)
    moved = flat.encode(augment(flat, flat.decode(given), strength, prior=two_humps))
    for side in (1, -1):  # of each hump by itself
        one, other = given[side * given[:, 0] > 0], moved[side * moved[:, 0] > 0]
        assert abs(len(one) - len(other)) < 300
        np.testing.assert_allclose(other.mean(0), one.mean(0), atol=0.04)
        np.testing.assert_allclose(np.cov(other.T), np.cov(one.T), atol=0.05)


def test_the_move_grows_with_strength_as_the_formula_says(flat: im.PCA) -> None:
    normal = StandardNormal(2)
    given = normal.sample(20_000, seed=2)
    items = flat.decode(given)
    for strength in (0.1, 0.5, 1.0):
        moved = flat.encode(augment(flat, items, strength, prior=normal))
        correlation = (given * moved).mean(0)
        np.testing.assert_allclose(correlation, np.sqrt(1 - strength**2), atol=0.03)


def test_labels_keep_items_in_their_class() -> None:
    random = np.random.default_rng(0)
    y = np.arange(400) % 2
    X = np.c_[random.normal(size=400) * 5, random.normal(size=400) * 0.2 + np.where(y, 1, -1), random.normal(size=400)]
    model = im.PCA(3).fit(X)
    kept = [(np.sign(augment(model, X, 0.9, y=labels)[:, 1]) == np.where(y, 1, -1)).mean() for labels in (None, y)]
    assert kept[1] > 0.98 > 0.9 > kept[0]


def test_copies_stand_one_set_after_the_other(flat: im.PCA, clusters: tuple[np.ndarray, np.ndarray]) -> None:
    X = clusters[0][:6]
    made = augment(flat, X, 0.3, copies=3, seed=4)
    assert made.shape == (18, 3)
    np.testing.assert_array_equal(made[:6], augment(flat, X, 0.3, seed=4))
    assert np.abs(made.reshape(3, 6, 3) - X).max() < 5  # each near its own, and not near another hump's
    assert len(np.unique(made[:, 0])) == 18


def test_an_item_moves_alike_whatever_follows_it(flat: im.PCA, clusters: tuple[np.ndarray, np.ndarray]) -> None:
    X = clusters[0]
    np.testing.assert_array_equal(augment(flat, X[:3], 0.5), augment(flat, X[:9], 0.5)[:3])


# --- between two ----------------------------------------------------------------------------------------------------


def test_a_line_is_a_line(flat: im.PCA, clusters: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = clusters[0][0], clusters[0][-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IsthmusWarning)
        path = interpolate(flat, a, b, 5)
        np.testing.assert_allclose(path[[0, -1]], flat.reconstruct(np.array([a, b])), atol=1e-5)
        np.testing.assert_allclose(np.diff(path, axis=0), np.diff(path, axis=0)[[0]].repeat(4, 0), atol=1e-4)
        np.testing.assert_array_equal(path, interpolate(flat, a[None], b[None], 5))
        np.testing.assert_allclose(path[::-1], interpolate(flat, b, a, 5), atol=1e-5)


def test_the_arc_keeps_the_length_that_the_line_loses(flat: im.PCA) -> None:
    ends = flat.decode(np.array([[2.0, 0.0], [0.0, 2.0]]))
    paths = {how: flat.encode(interpolate(flat, *ends, 9, how=how, prior="standard_normal"))
             for how in ("linear", "spherical")}  # fmt: skip
    np.testing.assert_allclose(np.linalg.norm(paths["spherical"], axis=1), 2, atol=1e-4)
    assert np.linalg.norm(paths["linear"], axis=1).min() == pytest.approx(np.sqrt(2), abs=1e-4)
    angles = np.arctan2(paths["spherical"][:, 1], paths["spherical"][:, 0])
    np.testing.assert_allclose(np.diff(angles), np.pi / 16, atol=1e-4)
    # About the prior's mean, in its own coordinates, the length goes evenly from one end to the other.
    own = flat.encode(interpolate(flat, *flat.decode(flat.prior_.sample(2, seed=1)), 9, how="spherical"))
    white = np.linalg.solve(flat.prior_.cholesky_, (own - flat.prior_.mean_).T)
    lengths = np.linalg.norm(white, axis=0)
    np.testing.assert_allclose(np.diff(lengths), (lengths[-1] - lengths[0]) / 8, atol=1e-4)


@pytest.mark.parametrize(
    ("one", "other"), [((2.0, 0.0), (2.0, 0.0)), ((2.0, 0.0), (-2.0, 0.0)), ((0.0, 0.0), (1.0, 1.0))]
)
def test_an_arc_that_there_is_not_is_a_line(flat: im.PCA, one: tuple[float, float], other: tuple[float, float]) -> None:
    ends = flat.decode(np.array([one, other]))
    found = [interpolate(flat, *ends, 4, how=how, prior="standard_normal") for how in ("linear", "spherical")]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_it_warns_in_the_empty_middle_and_the_manifold_goes_round(
    flat: im.PCA, clusters: tuple[np.ndarray, np.ndarray]
) -> None:
    # A crescent: the straight line between its horns is empty.
    angle = np.random.default_rng(3).uniform(0, np.pi, 3000)
    X = (
        np.c_[10 * np.cos(angle), 10 * np.sin(angle), np.zeros(3000)]
        + np.random.default_rng(4).normal(size=(3000, 3)) * 0.3
    )
    model = im.PCA(2).fit(X)
    a, b = np.array([[-10.0, 0, 0], [10.0, 0, 0]])
    with pytest.warns(
        IsthmusWarning, match=r"of 9 codes on the way, .*5.* lie where .* mixture.* 99 % of the codes of X"
    ):
        straight = interpolate(model, a, b, 9, prior="mixture", X=X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = interpolate(model, a, b, 9, how="manifold", prior="mixture", X=X)
    assert np.linalg.norm(straight[4]) < 1
    assert (np.abs(np.linalg.norm(path, axis=1) - 10) < 1.5).all()
    np.testing.assert_allclose(path[[0, -1]], straight[[0, -1]], atol=1e-6)


def test_where_data_is_the_manifold_is_the_line(flat: im.PCA, clusters: tuple[np.ndarray, np.ndarray]) -> None:
    near_centre = flat.decode(np.array([[-1.0, 0.1], [1.0, -0.1]]))
    np.testing.assert_allclose(
        interpolate(flat, *near_centre, 6), interpolate(flat, *near_centre, 6, how="manifold"), atol=1e-6
    )


def test_a_strange_end_is_warned_of(flat: im.PCA) -> None:
    with pytest.warns(IsthmusWarning, match=r", 4, 5 \(from 1\) lie where .* its own draws"):
        interpolate(flat, np.array([10.0, 0, 0]), np.array([0.0, 500.0, 0]), 5)


# --- every form of items --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vae", "pca"])
def test_mixed_frames_come_back_as_they_were(animals: tuple[pd.DataFrame, Any, Any], kind: str) -> None:
    X, vae, pca = animals
    model = vae if kind == "vae" else pca
    made = augment(model, X[:40], 0.3, copies=2)
    way = interpolate(model, X.iloc[[0]], X.iloc[[9]], 6)
    drawn = sample(model, 4, X=X, y=X["legs"].to_numpy(), label=5)
    for table, rows in ((made, 80), (way, 6), (drawn, 4)):
        assert len(table) == rows
        assert dict(table.dtypes) == dict(X.dtypes)
        assert table.drop(columns="id").notna().all(axis=None)
        assert set(table["colour"]) <= {"red", "green", "blue"}
    assert (drawn["legs"] == 5).mean() > 0.5
    assert np.corrcoef(made["weight"], pd.concat([X[:40], X[:40]])["weight"].fillna(50))[0, 1] > 0.5


def test_a_row_may_be_a_dict(animals: tuple[pd.DataFrame, Any, Any]) -> None:
    X, vae, _ = animals
    rows = X.iloc[[1, 2]].to_dict("records")
    pd.testing.assert_frame_equal(interpolate(vae, *rows, 3), interpolate(vae, X.iloc[[1]], X.iloc[[2]], 3))


@pytest.mark.parametrize("kind", ["grey", "colour", "series", "one channel"])
def test_images_and_series(kind: str) -> None:
    shape = {"grey": (8, 8), "colour": (8, 8, 3), "series": (30, 2), "one channel": (30,)}[kind]
    random = np.random.default_rng(0)
    X = random.integers(0, 255, (40, *shape)).astype(np.uint8) if len(shape) > 1 and kind != "series" else None
    X = random.normal(size=(40, *shape)).astype(np.float32) if X is None else X
    model = im.PCA(4, format="series" if shape[0] == 30 else None).fit(X)
    assert augment(model, X[:3], 0.2, copies=2).shape == (6, *shape)
    way = interpolate(model, X[0], X[1:2], 4)
    assert (way.shape, way.dtype) == ((4, *shape), X.dtype)


# --- what cannot be -------------------------------------------------------------------------------------------------


class _NoDecoder:
    prior_ = StandardNormal(2)

    def encode(self, X: Any) -> np.ndarray:
        return np.zeros((len(X), 2), np.float32)


class _NoPrior(_NoDecoder):
    prior_ = None  # type: ignore[assignment]

    def decode(self, Z: Any) -> Any:
        return Z


@pytest.mark.parametrize("call", [
    lambda m: sample(m, 2), lambda m: augment(m, np.zeros((2, 3))), lambda m: interpolate(m, np.zeros(3), np.ones(3)),
])  # fmt: skip
def test_models_that_cannot(call: Any) -> None:
    with pytest.raises(NotSupported, match="needs a model that can decode, and this _NoDecoder cannot; PCA"):
        call(_NoDecoder())
    with pytest.raises(NotSupported, match="needs a prior of codes, and this _NoPrior has none"):
        call(_NoPrior())
    with pytest.raises(NotFittedError):
        call(im.PCA(2))


def test_bad_settings(flat: im.PCA, clusters: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = clusters
    for strength in (-0.1, 1.1, np.nan, "much", True):
        with pytest.raises(SettingError, match="strength=.*from 0, the item itself, to 1"):
            augment(flat, X[:2], strength)
    with pytest.raises(SettingError, match="copies=0"):
        augment(flat, X[:2], copies=0)
    with pytest.raises(SettingError, match="steps=1: .* from 2"):
        interpolate(flat, X[0], X[1], 1)
    with pytest.raises(SettingError, match="how='round': expected one of 'linear', 'spherical', 'manifold'"):
        interpolate(flat, X[0], X[1], how="round")
    with pytest.raises(SettingError, match="n=0"):
        sample(flat, 0)
    with pytest.raises(SettingError, match="seed=-1"):
        augment(flat, X[:2], seed=-1)
    with pytest.raises(SettingError, match="prior='flow' is unknown"):
        sample(flat, 2, prior="flow", X=X)
    with pytest.raises(SettingError, match="prior= is of 3 coordinates; the model's codes have 2"):
        sample(flat, 2, prior=StandardNormal(3))
    with pytest.raises(DataError, match="prior='mixture' is fitted to codes: give X="):
        sample(flat, 2, prior="mixture")
    with pytest.raises(DataError, match=r"labels of shape \(3,\) given for 800 items"):
        sample(flat, 2, X=X, y=y[:3], label="left")
    with pytest.raises(DataError, match="labels of shape"):
        augment(flat, X[:5], y=y[:4])
    with pytest.raises(DataError, match="label=.*middle.*: no item of X has it; y has left, right"):
        sample(flat, 2, X=X, y=y, label="middle")
    with pytest.raises(DataError, match="to draw from a class, give X=, its labels y=, and label="):
        sample(flat, 2, X=X, y=y)
    with pytest.raises(DataError, match="expected one, or one for each"):
        sample(flat, 5, X=X, y=y, label=["left", "right"])


def test_bad_items(flat: im.PCA, clusters: tuple[np.ndarray, np.ndarray]) -> None:
    X, _ = clusters
    with pytest.raises(FormatError, match="b must be one item of the form learned"):
        interpolate(flat, X[0], np.zeros(4))
    with pytest.raises(DataError, match="a must be one item of the form learned .*: 2 items given"):
        interpolate(flat, X[:2], X[0])
    with pytest.raises(DataError, match="a must be one item"):
        interpolate(flat, np.array([np.nan, 0, 0]), X[0])
    with pytest.raises(DataError):
        augment(flat, X[:0])


def test_an_untrained_decoder_makes_nothing_like_the_data() -> None:
    X = im.datasets.digits()[:600]
    model = im.Autoencoder(8, epochs=20, network=(32,)).fit(X)
    apart = []
    for one in (model, model.untrained()):
        made = sample(one, 200, prior="mixture", X=X).reshape(200, -1).astype(float)
        real = X.reshape(len(X), -1).astype(float)
        apart.append(np.mean([np.square(real - item).sum(1).min() for item in made]))
    assert apart[0] < 0.5 * apart[1]
