"""Noise taken away and detail put back: closed forms, tiles, levels of noise, and what models of real items do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import isthmus as im
from isthmus import cli
from isthmus.errors import DataError, FormatError, IsthmusWarning, NotSupported, SettingError
from isthmus.formats import VectorFormat
from isthmus.models.pca import PCA
from isthmus.verbs import denoise as verb
from isthmus.verbs.denoise import noise_level
from isthmus.verbs.noise import noise_of_grid
from isthmus.verbs.superresolve import bicubic
from isthmus.verbs.tiles import Tiling

NOISE = 40.0


def error(a: Any, b: Any) -> float:
    return float(np.sqrt(np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)))


def psnr(a: Any, b: Any) -> float:
    return 20 * float(np.log10(255 / error(a, b)))


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digits to learn from, others, and those with noise."""
    X = im.datasets.digits()
    return X[:1500], X[1500:1700], X[1500:1700] + NOISE * np.random.default_rng(0).standard_normal((200, 8, 8))


@pytest.fixture(scope="module")
def correlated() -> np.ndarray:
    r = np.random.default_rng(1)
    return 3 + r.standard_normal((4000, 6)) @ r.standard_normal((6, 6)) * [3, 2, 1, 1, 0.5, 2]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """Shapes and waves, (160, 200), in 0..255."""
    y, x = np.mgrid[:160, :200]
    waves = 100 + 50 * np.sin(x / 9.0) * np.cos(y / 13.0)
    return np.where((x - 90) ** 2 + (y - 70) ** 2 < 1600, 200.0, waves) - 60 * (x > 150)


@pytest.fixture(scope="module")
def patches(photo: np.ndarray) -> np.ndarray:
    views = np.lib.stride_tricks.sliding_window_view(photo[:, :150], (8, 8))[::3, ::3]
    return np.rint(views.reshape(-1, 8, 8)).astype(np.uint8)


# --- Closed forms ---------------------------------------------------------------------------------------------------


def wiener(model: PCA, Y: np.ndarray, noise: float) -> np.ndarray:
    """m + C (C + noise^2 I)^-1 (y - m), with the covariance that probabilistic PCA learned."""
    U, left = model.components_, model.noise_variance_
    C = U.T @ np.diag(model.explained_variance_) @ U + left * (np.eye(U.shape[1]) - U.T @ U)
    return model.mean_ + (Y - model.mean_) @ np.linalg.solve(C + noise**2 * np.eye(len(C)), C)


@pytest.mark.parametrize("k", [2, 4, 6])
@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("noise", [0.1, 2.0])
def test_a_normal_prior_and_normal_noise_give_wiener_s_filter(
    correlated: np.ndarray, k: int, whiten: bool, noise: float
) -> None:
    model = im.PCA(k, whiten=whiten).fit(correlated[:3000])
    Y = correlated[3000:] + noise * np.random.default_rng(2).standard_normal((1000, 6))
    np.testing.assert_allclose(im.denoise(model, Y, noise), wiener(model, Y, noise), atol=2e-4)
    assert error(im.denoise(model, Y, noise), correlated[3000:]) < error(Y, correlated[3000:])


def test_noise_of_one_unit_in_columns_of_several(correlated: np.ndarray) -> None:
    """In standardised columns the noise is not white: the filter is Wiener's all the same."""
    model = im.PCA(6, format=VectorFormat("standard")).fit(correlated)
    Y = correlated[:50] + np.random.default_rng(2).standard_normal((50, 6))
    mean, C = correlated.mean(0), np.cov(correlated, rowvar=False)
    expected = mean + (Y - mean) @ np.linalg.solve(C + np.eye(6), C)
    np.testing.assert_allclose(im.denoise(model, Y, 1.0), expected, atol=2e-3)


def test_a_mixture_gives_the_mean_that_integration_gives() -> None:
    r = np.random.default_rng(3)
    X = np.concatenate([r.normal(-3, 0.4, (600, 2)), r.normal(2, [1.5, 0.2], (400, 2))])
    model = im.PCA(2, prior=im.priors.GaussianMixture(2)).fit(X)
    Y = X[::100] + r.standard_normal((10, 2))
    grid = np.stack(np.meshgrid(*[np.arange(-12, 12, 0.06)] * 2, indexing="ij"), -1).reshape(-1, 2)
    density = model.prior_.log_prob(model.encode(grid))
    for y, told in zip(Y, im.denoise(model, Y, 1.0), strict=True):
        weight = np.exp(density - 0.5 * np.square(grid - y).sum(1))
        np.testing.assert_allclose(told, weight @ grid / weight.sum(), atol=5e-3)


def test_the_climb_comes_to_the_closed_form(correlated: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    model = im.PCA(6).fit(correlated)
    Y = correlated[:40] + np.random.default_rng(2).standard_normal((40, 6))
    closed = im.denoise(model, Y, 1.0)
    monkeypatch.setattr(PCA, "_linear_decoder", lambda self: None)
    np.testing.assert_allclose(im.denoise(model, Y, 1.0, steps=1000), closed, atol=0.03)


def test_without_noise_items_stay_as_they_are(digits: tuple[np.ndarray, ...]) -> None:
    model = im.PCA(8).fit(digits[0])
    np.testing.assert_array_equal(im.denoise(model, digits[1], 0), digits[1])
    assert error(im.denoise(model, digits[1].astype(float), 0.5), digits[1]) < 0.5


# --- Tiles ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 14), st.integers(0, 14), st.integers(1, 12))
def test_the_weights_of_tiles_add_up_to_one(h: int, w: int, down: int, right: int, stride: int) -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, h + down, w + right)))
    tiling = Tiling((h + down, w + right), (h, w), min(stride, h, w))
    tiles = tiling.cut(x)
    assert tiles.shape == (tiling.count, 2, h, w)
    torch.testing.assert_close(tiling.merge(tiles), x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(tiling.through(x, lambda some: 2 * some), 2 * x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(tiling.merge(torch.ones_like(tiles)), torch.ones_like(x), rtol=1e-12, atol=1e-12)


def test_one_tile_passes_smoothly_into_the_next() -> None:
    between = Tiling((12,), (8,), 4).merge(torch.tensor([[[0.0] * 8], [[1.0] * 8]]))[0]
    assert between[:4].max() == 0
    assert between[8:].min() == 1
    assert 0 < between[4] < 0.25
    assert (between[4:9].diff() > 0).all()


def test_few_tiles_in_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, tiling = torch.randn(3, 20, 17, generator=torch.Generator().manual_seed(0)), Tiling((20, 17), (6, 5), 2)
    expected = tiling.merge(tiling.cut(x).square())
    sizes: list[int] = []

    def squared(tiles: torch.Tensor) -> torch.Tensor:
        sizes.append(len(tiles))
        return tiles.square()

    monkeypatch.setattr("isthmus.verbs.tiles.MOST", 1500)
    torch.testing.assert_close(tiling.through(x, squared), expected)
    assert sum(sizes) == tiling.count
    assert len(sizes) > 3


def test_a_picture_of_the_size_of_a_tile_is_denoised_plainly(digits: tuple[np.ndarray, ...]) -> None:
    model = im.PCA(64, prior="mixture").fit(digits[0])
    larger = np.pad(digits[2][:1], ((0, 0), (0, 1), (0, 0)), mode="edge")
    assert not np.array_equal(im.denoise(model, larger, NOISE)[:, :8], im.denoise(model, digits[2][:1], NOISE))
    tiling = Tiling((8, 8), (8, 8), 2)
    assert tiling.count == 1
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(tiling.merge(x), x[0])


def test_a_large_picture_by_a_model_of_patches(photo: np.ndarray, patches: np.ndarray) -> None:
    model = im.PCA(64, prior=im.priors.GaussianMixture(8)).fit(patches)
    clean = photo[None, 20:70, 60:160]
    noisy = clean + 25 * np.random.default_rng(0).standard_normal(clean.shape)
    one, agreed = (psnr(im.denoise(model, noisy, 25, rounds=n), clean) for n in (1, None))
    assert one > psnr(noisy, clean) + 6
    assert agreed > psnr(noisy, clean) + 6
    assert agreed != one
    assert psnr(im.denoise(model.untrained(), noisy, 25), clean) < agreed - 3
    both = im.denoise(model, [noisy[0], noisy[0, :, :60]], 25)
    np.testing.assert_array_equal(both[0], im.denoise(model, noisy, 25)[0])
    assert both[1].shape == (50, 60)


def test_a_series_longer_than_those_learned() -> None:
    r = np.random.default_rng(0)
    t = np.arange(400)
    long = np.sin(t / 7)[None] * 5 + np.cos(t / 31)
    windows = np.lib.stride_tricks.sliding_window_view(long[0], 32)
    model = im.PCA(8, format="series").fit(windows)
    noisy = long + r.standard_normal(long.shape)
    made = im.denoise(model, noisy, 1.0)
    assert made.shape == (1, 400)
    assert error(made, long) < 0.5 * error(noisy, long)
    assert im.superresolve(model, long[:, ::2], 2).shape == (1, 400)


# --- Levels of noise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [5.0, 25.0, 50.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_level_of_noise_within_a_tenth(photo: np.ndarray, level: float, seed: int) -> None:
    noise = level * np.random.default_rng(seed).standard_normal(photo.shape)
    assert noise_of_grid((photo + noise)[None]) == pytest.approx(level, rel=0.1)
    assert noise_of_grid((photo + noise)[None, :60, 60:120]) == pytest.approx(level, rel=0.1 if level > 5 else 0.25)
    series = 80 * np.sin(np.arange(2000) / 40) + level * np.random.default_rng(seed).standard_normal(2000)
    assert noise_of_grid(series[None]) == pytest.approx(level, rel=0.1)


def test_a_linear_model_tells_the_noise_of_vectors(correlated: np.ndarray) -> None:
    r = np.random.default_rng(5)
    X = r.standard_normal((3000, 4)) @ r.standard_normal((4, 60)) + 0.1 * r.standard_normal((3000, 60))
    model = im.PCA(4).fit(X)
    levels = noise_level(model, X[:200] + 0.5 * r.standard_normal((200, 60)))
    assert np.median(levels) == pytest.approx(0.5, rel=0.1)
    np.testing.assert_array_equal(noise_level(model, X[7:8]), noise_level(model, X[:9])[7:8])
    with pytest.raises(NotSupported, match=r"give noise=, or a PCA of fewer components"):
        im.denoise(im.PCA(6).fit(correlated), correlated)


def test_noise_that_is_not_given_is_told_from_each_item(digits: tuple[np.ndarray, ...]) -> None:
    model = im.PCA(20).fit(digits[0])
    assert np.median(noise_level(model, digits[2])) == pytest.approx(NOISE, rel=0.1)
    made = im.denoise(model, digits[2])
    assert error(made, digits[1]) < 0.9 * error(digits[2], digits[1])
    np.testing.assert_array_equal(im.denoise(model, digits[2][5:6]), made[5:6])


# --- Models that were trained, and that were not --------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        im.Autoencoder(24, corruption=("gaussian", NOISE / 255), epochs=80, network=(128,), verbose=False),
        im.VAE(12, epochs=30, network=(128,), verbose=False),
        im.Autoencoder(12, epochs=20, network=(128,), verbose=False),
        im.PCA(32, prior="mixture"),
        im.PCA(32),
    ],
    ids=["denoising", "VAE", "autoencoder", "mixture", "PCA"],
)
def test_denoised_digits_are_nearer_to_the_clean_ones(model: Any, digits: tuple[np.ndarray, ...]) -> None:
    train, clean, noisy = digits
    model = model.fit(train)
    made = im.denoise(model, noisy, NOISE)
    assert made.dtype == noisy.dtype
    assert error(made, clean) < 0.85 * error(np.clip(noisy, 0, 255), clean)
    assert error(im.denoise(model.untrained(), noisy, NOISE), clean) > 0.98 * error(np.clip(noisy, 0, 255), clean)
    np.testing.assert_array_equal(im.denoise(model, noisy, NOISE), made)
    alone = im.denoise(model, noisy[3:4], NOISE)  # rounding apart, an item does not see its neighbours
    np.testing.assert_allclose(alone, made[3:4], atol=1e-3)


def test_the_way_is_the_model_s(digits: tuple[np.ndarray, ...]) -> None:
    train, _, noisy = digits
    model = im.Autoencoder(16, corruption=("gaussian", 0.15), epochs=2, network=(64,), verbose=False).fit(train)
    again = model.reconstruct(np.clip(noisy, 0, 255).astype(np.uint8))
    made = im.denoise(model, np.clip(noisy, 0, 255).astype(np.uint8), NOISE)
    np.testing.assert_array_equal(made, again)
    assert not np.array_equal(im.denoise(model, noisy, NOISE, how="projection"), im.denoise(model, noisy, NOISE))
    with pytest.warns(IsthmusWarning, match=r"learned to take away noise of 38\.25, and item 0 has 90"):
        im.denoise(model, noisy, 90)
    other = im.priors.Gaussian().fit(model.encode(train))
    assert im.denoise(model, noisy, NOISE, how="projection", prior=other, steps=2).shape == noisy.shape


def test_a_prior_of_pca_is_kept_and_truncated(tmp_path: Path, digits: tuple[np.ndarray, ...]) -> None:
    model = im.PCA(10, prior=im.priors.GaussianMixture(3)).fit(digits[0])
    again = im.load(model.save(tmp_path / "model.isthmus"))
    assert again.prior_.describe() == model.prior_.describe() == "Gaussian mixture of 3"
    np.testing.assert_array_equal(im.denoise(again, digits[2], NOISE), im.denoise(model, digits[2], NOISE))
    np.testing.assert_array_equal(again.truncate(4).prior_.means_, model.prior_.means_[:, :4])
    with pytest.raises(SettingError, match="leave prior=None"):
        im.PCA(10, prior="mixture").partial_fit(digits[0])
    with pytest.raises(SettingError, match="prior='flat' is unknown"):
        im.PCA(10, prior="flat").fit(digits[0])


# --- Forms ----------------------------------------------------------------------------------------------------------


def test_items_come_back_in_the_form_in_which_they_were_given(digits: tuple[np.ndarray, ...]) -> None:
    train, _, noisy = digits
    model = im.PCA(32).fit(train)
    whole = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    assert im.denoise(model, whole, NOISE).dtype == np.uint8
    as_floats = im.denoise(model, whole.astype(np.float32), NOISE)
    assert as_floats.dtype == np.float32
    np.testing.assert_array_equal(im.denoise(model, whole, NOISE), np.rint(as_floats))
    assert 0 <= as_floats.min() <= as_floats.max() <= 255
    tensor = im.denoise(model, torch.from_numpy(whole), NOISE)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.uint8
    colour = np.stack([train] * 3, -1)
    made = im.denoise(im.PCA(16).fit(colour), colour[:4].astype(float), 20)
    assert made.shape == (4, 8, 8, 3)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda X: {"noise": -1}, SettingError, r"noise=-1: expected a standard deviation from 0, in the unit"),
        (lambda X: {"noise": float("nan")}, SettingError, "noise=nan"),
        (lambda X: {"noise": "much"}, SettingError, "noise='much'"),
        (lambda X: {"noise": 300}, SettingError, r"more than there is from black to white: .* in \[0, 255\]"),
        (lambda X: {"X": X / 255}, DataError, r"run from .* learned pixels in \[0, 255\]: bring them .* X \* 255"),
        (
            lambda X: {"X": np.full((2, 9, 9), 300)},
            DataError,
            "run from 300 to 300, .* or fit a model to such pictures",
        ),
        (lambda X: {"stride": 9}, SettingError, "stride=9: expected at most 8, the side of a tile"),
        (lambda X: {"X": X[:, :6]}, DataError, "item 0 is of 6 x 8, smaller than the 8 x 8 that the model learned"),
        (lambda X: {"X": [X[0], X[1, :7]]}, DataError, "item 1 is of 7 x 8"),
        (lambda X: {"X": X[0]}, FormatError, r"if it is one image, give X\[None\]"),
        (lambda X: {"X": np.stack([X] * 3, -1)}, FormatError, "learned pictures of 1 channel"),
        (
            lambda X: {"X": np.where(np.arange(200)[:, None, None] == 3, np.nan, X)},
            DataError,
            "item 3 has nan at row 0",
        ),
        (lambda X: {"X": X[:0]}, DataError, "no images"),
        (lambda X: {"how": "magic"}, SettingError, "how='magic': expected one of 'projection', 'reconstruction'"),
        (lambda X: {"stride": 0}, SettingError, "stride=0: expected a whole number from 1"),
        (lambda X: {"rounds": 1.5}, SettingError, "rounds=1.5"),
        (lambda X: {"prior": "mixture"}, SettingError, "expected a fitted Prior"),
        (lambda X: {"prior": im.priors.StandardNormal(3)}, SettingError, "prior= is of 3 coordinates; .* have 8"),
    ],
)
def test_what_is_wrong_is_said(
    digits: tuple[np.ndarray, ...], change: Callable[[Any], dict[str, Any]], error: type[Exception], match: str
) -> None:
    model = im.PCA(8).fit(digits[0])
    with pytest.raises(error, match=match):
        im.denoise(model, **({"X": digits[2], "noise": NOISE} | change(digits[2])))


def test_hints_on_the_unit_of_noise(digits: tuple[np.ndarray, ...]) -> None:
    model = im.PCA(8).fit(digits[0])
    with pytest.warns(IsthmusWarning, match=r"noise=0\.1 is below half a grey level: .* give noise=25\.5"):
        im.denoise(model, digits[2], 0.1)
    unit = im.PCA(8).fit(digits[0] / 255)
    with pytest.raises(SettingError, match=r"noise=25 is more than .* 25 of 255 levels would be 0\.098 there"):
        im.denoise(unit, digits[2] / 255, 25)
    with pytest.raises(DataError, match="bring them to that range first, X / 255"):
        im.denoise(unit, digits[2], 0.1)
    np.testing.assert_allclose(
        255 * im.denoise(unit, digits[2] / 255, NOISE / 255), im.denoise(model, digits[2], NOISE), atol=0.01
    )


def test_models_that_cannot(correlated: np.ndarray, digits: tuple[np.ndarray, ...]) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2, None, 4] * 10, "b": ["x", "y", "z", "y"] * 10})
    with pytest.raises(NotSupported, match="this model learned a table.*impute fills its holes"):
        im.denoise(im.PCA(1).fit(frame), frame, 1.0)
    with pytest.raises(NotSupported, match="this int cannot; PCA, Autoencoder and VAE can"):
        im.denoise(3, frame, 1.0)
    with pytest.raises(NotSupported, match="images and series; this model learned a vector"):
        im.superresolve(im.PCA(2).fit(correlated), correlated)
    model = im.PCA(4).fit(digits[0])
    model.prior_ = None  # type: ignore[assignment]
    for call in (im.denoise, im.superresolve):
        with pytest.raises(NotSupported, match="needs a prior of codes, and this PCA has none"):
            call(model, digits[1])
    with pytest.raises(DataError, match="NaN"):
        im.denoise(im.PCA(2).fit(correlated), np.where(correlated > 5, np.nan, correlated), 1.0)


# --- Made finer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "wanted"), [(24, 12), (24, 6), (12, 24), (7, 28), (10, 3)])
def test_bicubic_is_pillow_s(given: int, wanted: int) -> None:
    column = np.random.default_rng(0).random((given, 1), dtype=np.float32)
    expected = np.asarray(Image.fromarray(column).resize((1, wanted), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(bicubic(given, wanted).numpy() @ column, expected, atol=1e-5)


def brought_down(X: np.ndarray, factor: int) -> np.ndarray:
    rows, columns = (bicubic(side, side // factor).numpy() for side in X.shape[1:])
    return rows @ X.astype(float) @ columns.T


@pytest.mark.parametrize("factor", [2, 4])
def test_finer_digits_agree_with_the_coarse_and_beat_bicubic(digits: tuple[np.ndarray, ...], factor: int) -> None:
    train, clean, _ = digits
    model = im.PCA(32, prior="mixture").fit(train)
    coarse = brought_down(clean, factor)
    up = bicubic(8 // factor, 8).numpy()
    plain = np.clip(up @ coarse @ up.T, 0, 255)
    made = im.superresolve(model, coarse, factor)
    assert made.shape == clean.shape
    assert psnr(made, clean) > psnr(plain, clean) + 1
    assert psnr(im.superresolve(model.untrained(), coarse, factor), clean) < psnr(made, clean) - 1


def test_what_a_linear_model_can_tell_is_found_exactly() -> None:
    """Items of three directions are known from the four pixels of their coarse form."""
    r = np.random.default_rng(0)
    lines = r.standard_normal((3, 16))
    X = (0.5 + 0.03 * r.standard_normal((500, 3)) @ lines).reshape(-1, 4, 4).clip(0.01, 0.99)
    kept = np.abs((X.reshape(-1, 16) - 0.5) @ (np.eye(16) - np.linalg.pinv(lines) @ lines)).max(1) < 1e-9
    X = X[kept]
    model = im.PCA(3, format="image").fit(X[:-20])
    coarse = brought_down(X[-20:], 2)
    np.testing.assert_allclose(im.superresolve(model, coarse, 2), X[-20:], atol=2e-3)


def test_finer_by_a_network(digits: tuple[np.ndarray, ...]) -> None:
    train, clean, _ = digits
    model = im.VAE(12, epochs=12, network=(128,), verbose=False).fit(train)
    coarse = brought_down(clean, 2)
    made = im.superresolve(model, coarse, 2)
    up = bicubic(4, 8).numpy()
    assert psnr(made, clean) > psnr(np.clip(up @ coarse @ up.T, 0, 255), clean)
    assert psnr(im.superresolve(model.untrained(), coarse, 2), clean) < psnr(made, clean)


def test_a_large_picture_made_finer(photo: np.ndarray, patches: np.ndarray) -> None:
    model = im.PCA(64, prior=im.priors.GaussianMixture(8)).fit(patches)
    clean = photo[None, 20:100, 60:160]
    coarse = brought_down(clean, 2)
    made = im.superresolve(model, coarse, 2)
    ups = [bicubic(side, 2 * side).numpy() for side in coarse.shape[1:]]
    assert psnr(made, clean) > psnr(ups[0] @ coarse @ ups[1].T, clean)
    assert error(brought_down(made, 2), coarse) < 1


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"factor": 3}, DataError, r"item 0 of 2 x 2 comes out as 6 x 6, smaller than the 8 x 8 .* factor=3 does not"),
        ({"factor": 1}, SettingError, "factor=1: expected a whole number from 2 to 16"),
        ({"factor": 2.5}, SettingError, r"factor=2\.5"),
        ({"factor": 4, "noise": -1}, SettingError, "noise=-1"),
        ({"factor": 4, "rounds": 0}, SettingError, "rounds=0"),
        ({"factor": 4, "stride": 9}, SettingError, "stride=9"),
        ({"factor": 4, "prior": "mixture"}, SettingError, "expected a fitted Prior"),
    ],
)
def test_what_is_wrong_with_a_factor_is_said(
    digits: tuple[np.ndarray, ...], settings: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        im.superresolve(im.PCA(4).fit(digits[0]), brought_down(digits[1], 4), **settings)


# --- The commands ---------------------------------------------------------------------------------------------------


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit:
        cli.main([str(argument) for argument in arguments])
    return int(exit.value.code or 0)


def test_the_commands(
    tmp_path: Path, photo: np.ndarray, patches: np.ndarray, digits: tuple[np.ndarray, ...], capsys: Any
) -> None:
    from isthmus.commands.denoise import HOW
    from isthmus.formats.picture_folders import save_images

    assert HOW == verb.HOW
    im.PCA(64, prior=im.priors.GaussianMixture(4)).fit(patches).save(tmp_path / "patches.isthmus")
    noisy = np.clip(photo + 25 * np.random.default_rng(0).standard_normal(photo.shape), 0, 255).astype(np.uint8)
    save_images(tmp_path / "in", [noisy[:60, :80], noisy[:40, :50]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not run("denoise", tmp_path / "patches.isthmus", tmp_path / "in", "--noise", 25, "-o", tmp_path / "out")
    made = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "out").iterdir())]
    assert [one.shape for one in made] == [(60, 80), (40, 50)]
    assert error(made[0], photo[:60, :80]) < 0.6 * error(noisy[:60, :80], photo[:60, :80])
    np.save(tmp_path / "few.npy", noisy[None, :24, :32])
    assert not run("superresolve", tmp_path / "patches.isthmus", tmp_path / "few.npy", "-o", tmp_path / "fine.npy")
    assert np.load(tmp_path / "fine.npy", allow_pickle=False).shape == (1, 48, 64)
    capsys.readouterr()
    assert run("denoise", tmp_path / "patches.isthmus", tmp_path / "few.npy", "--noise", -2, "-o", "-") == 2
    assert "noise=-2.0: expected a standard deviation" in capsys.readouterr().err
