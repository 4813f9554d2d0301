"""Metrics against closed forms, NumPy, scikit-learn and each other."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.linalg import subspace_angles
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness as of_all
from sklearn.neighbors import KNeighborsClassifier

from isthmus import metrics
from isthmus.errors import DataError, SettingError
from isthmus.formats.base import Spec
from isthmus.likelihoods import Gaussian

random = np.random.default_rng(0)
X = random.standard_normal((40, 3, 4))
X2 = X + 0.1 * random.standard_normal(X.shape)


# ---------------------------------------------------------------------------------------------- errors of items


def test_the_errors_are_what_their_names_say() -> None:
    error = metrics.squared_error(X, X2)
    np.testing.assert_allclose(error, [np.sum((a - b) ** 2) for a, b in zip(X, X2, strict=True)])
    np.testing.assert_allclose(metrics.l2_distance(X, X2), [np.linalg.norm(a - b) for a, b in zip(X, X2, strict=True)])
    np.testing.assert_allclose(metrics.mse(X, X2), error / 12)
    assert error.shape == (40,)
    assert error.dtype == np.float64


def test_psnr() -> None:
    black, grey = np.zeros((2, 3)), np.array([[0.1] * 3, [0.0] * 3])
    np.testing.assert_allclose(metrics.psnr(black, grey), [20.0, math.inf])
    np.testing.assert_allclose(metrics.psnr(255 * black, 255 * grey, peak=255), [20.0, math.inf])
    for peak in (0, -1.0, math.nan, math.inf):
        with pytest.raises(SettingError, match="255 for bytes"):
            metrics.psnr(black, grey, peak=peak)


@given(arrays.arrays(np.float64, (5, 3), elements=st.floats(-1e6, 1e6)), st.floats(0.01, 100))
def test_errors_have_units(x: np.ndarray, factor: float) -> None:
    other = x + 1
    np.testing.assert_allclose(
        metrics.squared_error(factor * x, factor * other), factor**2 * metrics.squared_error(x, other), rtol=1e-6
    )
    assert (metrics.squared_error(x, x) == 0).all()
    np.testing.assert_array_equal(metrics.squared_error(x, other), metrics.squared_error(other, x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_torch_is_as_good_as_numpy(dtype: torch.dtype) -> None:
    x, x2 = torch.from_numpy(X).to(dtype).requires_grad_(), torch.from_numpy(X2).to(dtype)
    wanted = metrics.squared_error(x.detach().double().numpy(), x2.double().numpy())
    np.testing.assert_array_equal(metrics.squared_error(x, x2), wanted)
    np.testing.assert_array_equal(metrics.squared_error(x, x2.double().numpy()), wanted)
    assert metrics.active_units(x[:, 0]) == 4


def test_bytes_do_not_wrap_around() -> None:
    x, x2 = np.array([[0, 255]], dtype=np.uint8), np.array([[255, 0]], dtype=np.uint8)
    assert metrics.squared_error(x, x2).tolist() == [2 * 255**2]
    assert metrics.squared_error(torch.from_numpy(x), torch.from_numpy(x2)).tolist() == [2 * 255**2]


def test_float32_does_not_lose_the_sum() -> None:
    x = np.full((1, 2**20), 0.1, dtype=np.float32)
    assert metrics.squared_error(x, np.zeros_like(x))[0] == pytest.approx(
        2**20 * float(np.float32(0.1)) ** 2, rel=1e-12
    )


def test_many_images_need_little_memory() -> None:
    x = np.zeros((20_000, 784), dtype=np.uint8)
    x[:, ::2] = 1
    tracemalloc.start()
    try:
        error = metrics.squared_error(x, np.zeros_like(x))
        assert metrics.active_units(x) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (error == 392).all()
    assert peak < x.nbytes + 2**25  # the other bytes, and 32 MiB: whole copies in float64 would be 250 MB


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = metrics.squared_error(X, X2), metrics.active_units(X[:, 0], 1.0)
    monkeypatch.setattr(metrics, "CHUNK", 25)
    np.testing.assert_array_equal(metrics.squared_error(X, X2), whole[0])
    assert metrics.active_units(X[:, 0], 1.0) == whole[1]


@pytest.mark.parametrize(
    ("x", "x2", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), r"items of shape \(2, 3\) cannot be compared with others of \(3, 2\)"),
        (np.zeros((2, 3)), np.zeros((2, 1)), "cannot be compared"),
        (np.zeros((2, 3)), 0.0, r"with others of \(\)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "with at least one item"),
        (np.zeros(3), np.zeros(3), r"x must be an array \(n, ...\) with at least one item, not of shape \(3,\)"),
    ],
)
def test_shapes_are_checked(x: Any, x2: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        metrics.squared_error(x, x2)


# ---------------------------------------------------------------------------------------------- bits


def test_bits_of_a_uniform_guess() -> None:
    """Whatever the form: a guess that knows nothing needs 8 bits a pixel."""
    image = Spec("image", (1, 2, 2), 256)
    assert metrics.bits_per_dimension(4 * math.log(256), image, discrete=True) == pytest.approx(8)
    uniform_density = 0.0  # on [0, 1]
    assert metrics.bits_per_dimension(uniform_density, image, discrete=False) == pytest.approx(8, abs=0.01)
    np.testing.assert_allclose(
        metrics.bits_per_dimension(np.array([0.0, 4.0]), Spec("vector", (4,)), False), [0, 1 / math.log(2)]
    )
    assert metrics.bits_per_dimension(0.0, Spec("image", (1, 2, 2)), discrete=False) == 0
    assert metrics.bits_per_dimension(0.0, Spec("image", (1, 2, 2), 5), discrete=False) == 2  # four bins wide
    assert metrics.bits_per_dimension(0.0, Spec("vector", (4,), 5), discrete=False) == 0  # scaled, who knows how wide


def test_bits_of_a_density_are_those_of_its_bins() -> None:
    """A Gaussian broader than a bin, cut into the 256 levels, needs as many bits as the formula says."""
    likelihood, spec = Gaussian(0.01), Spec("image", (1, 1, 1), 256)
    params, x = torch.full((256, 1, 1, 1, 1), 0.5).double(), (torch.arange(256) / 255).double().view(256, 1, 1, 1)
    mass = likelihood.cdf(params, x + 0.5 / 255) - likelihood.cdf(params, x - 0.5 / 255)
    bits = metrics.bits_per_dimension(likelihood.loss(params, x).numpy(), spec, discrete=False)
    np.testing.assert_allclose(bits[50:200], -mass.flatten().log2().numpy()[50:200], atol=0.01)


# ---------------------------------------------------------------------------------------------- codes


def test_active_units() -> None:
    codes = random.standard_normal((500, 4)) * [1.0, 0.2, 0.05, 0.0] + 7
    assert metrics.active_units(codes) == 2
    assert metrics.active_units(codes, threshold=1e-4) == 3
    assert metrics.active_units(100 * codes) == 3
    assert metrics.active_units(100 * codes, relative=True) == metrics.active_units(codes, relative=True) == 2
    assert metrics.active_units(np.zeros((5, 3)), relative=True) == 0
    with pytest.raises(DataError, match="latent_dim"):
        metrics.active_units(X)


def test_knee() -> None:
    assert metrics.knee([10.0, 1.0, 0.9, 0.8], 100.0) == 2
    assert metrics.knee([1000.0, 100.0, 90.0, 80.0], 10_000.0) == 2  # no unit
    assert metrics.knee([50.0, 25.0, 12.0, 6.0], 100.0) == 4
    assert metrics.knee([50.0, 25.0, 12.0, 6.0], 100.0, enough=0.5) == 1
    assert metrics.knee([3.0, 2.0], 1.0) == 1  # nothing is explained
    assert metrics.knee([10.0, 1.0, 50.0], 100.0) == 2  # errors that rise again
    with pytest.raises(SettingError, match="enough=0"):
        metrics.knee([1.0], 2.0, enough=0)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    return data.data[:600] / 16, data.target[:600]


def test_trustworthiness(digits: tuple[np.ndarray, np.ndarray]) -> None:
    items, _ = digits
    codes = np.linalg.svd(items - items.mean(0), full_matrices=False)[0][:, :5]
    assert metrics.trustworthiness(items, codes, 7) == pytest.approx(of_all(items, codes, n_neighbors=7))
    assert metrics.trustworthiness(items.reshape(-1, 8, 8), items) == pytest.approx(1, abs=1e-4)  # but for ties
    assert (
        metrics.trustworthiness(items, random.standard_normal((600, 2))) < 0.6 < metrics.trustworthiness(items, codes)
    )
    part = metrics.trustworthiness(items, codes, limit=200)
    assert part == metrics.trustworthiness(torch.from_numpy(items), torch.from_numpy(codes), limit=200)
    assert part == pytest.approx(metrics.trustworthiness(items, codes), abs=0.1)


def test_trustworthiness_says_what_is_wrong() -> None:
    with pytest.raises(SettingError, match="k=2: give a number of neighbours from 1 to 1, below half of the items"):
        metrics.trustworthiness(np.zeros((4, 2)), np.zeros((4, 1)), 2)
    with pytest.raises(DataError, match=r"Z must be an array \(4, ...\), not of shape \(3, 1\)"):
        metrics.trustworthiness(np.zeros((4, 2)), np.zeros((3, 1)))


def test_knn_agrees_with_scikit_learn(digits: tuple[np.ndarray, np.ndarray]) -> None:
    items, labels = digits
    for k in (1, 5):
        wanted = (
            KNeighborsClassifier(k, algorithm="brute").fit(items[:400], labels[:400]).score(items[400:], labels[400:])
        )
        assert metrics.knn_accuracy(items[:400], labels[:400], items[400:], labels[400:], k=k) == wanted


def test_knn_leaves_each_item_out(digits: tuple[np.ndarray, np.ndarray]) -> None:
    items, labels = digits[0][:120], digits[1][:120]
    one_by_one = [
        KNeighborsClassifier(3).fit(np.delete(items, i, 0), np.delete(labels, i)).predict(items[i : i + 1])[0]
        == labels[i]
        for i in range(120)
    ]
    assert metrics.knn_accuracy(items, labels, k=3) == np.mean(one_by_one)
    assert metrics.knn_accuracy(items, np.arange(120), k=1) == 0  # every label its own: only oneself could be right


def test_knn_of_copies_does_not_count_the_item_itself() -> None:
    assert metrics.knn_accuracy(np.zeros((30, 2)), np.arange(30), k=1) == 0
    assert metrics.knn_accuracy(np.zeros((30, 2)), np.zeros(30), k=5) == 1


def test_knn_takes_words_and_tensors(digits: tuple[np.ndarray, np.ndarray]) -> None:
    items, labels = digits
    words = np.array([f"digit {label}" for label in labels])
    accuracy = metrics.knn_accuracy(items, labels)
    assert accuracy > 0.9
    assert metrics.knn_accuracy(items, words) == accuracy
    assert metrics.knn_accuracy(torch.from_numpy(items), torch.from_numpy(labels)) == accuracy
    assert metrics.knn_accuracy(items, list(labels)) == accuracy
    assert metrics.knn_accuracy(items, random.permutation(labels)) < 0.3
    assert metrics.knn_accuracy(items, labels, limit=300) == pytest.approx(accuracy, abs=0.05)


def test_knn_says_what_is_wrong() -> None:
    codes = np.zeros((5, 2))
    with pytest.raises(DataError, match="y_train must be one label for each of 5 codes"):
        metrics.knn_accuracy(codes, np.zeros(4))
    with pytest.raises(DataError, match="give both Z_test and y_test"):
        metrics.knn_accuracy(codes, np.zeros(5), codes)
    with pytest.raises(DataError, match=r"Z_test has codes of shape \(3,\), Z_train \(2,\)"):
        metrics.knn_accuracy(codes, np.zeros(5), np.zeros((5, 3)), np.zeros(5))
    with pytest.raises(SettingError, match="k=5: give a number of neighbours from 1 to 4"):
        metrics.knn_accuracy(codes, np.zeros(5), k=5)


def test_principal_angles() -> None:
    a, b = random.standard_normal((10, 3)), random.standard_normal((10, 2))
    np.testing.assert_allclose(metrics.principal_angles(a, b), subspace_angles(a, b))
    np.testing.assert_allclose(
        metrics.principal_angles(torch.from_numpy(a), a @ random.standard_normal((3, 3))), 0, atol=1e-7
    )
    np.testing.assert_allclose(metrics.principal_angles(np.eye(4)[:, :2], np.eye(4)[:, 2:]), math.pi / 2)
    turned = np.array([[math.cos(0.3)], [math.sin(0.3)]])
    np.testing.assert_allclose(metrics.principal_angles(np.eye(2)[:, :1], turned), 0.3)
    with pytest.raises(DataError, match="columns of one length"):
        metrics.principal_angles(a, a.T)
