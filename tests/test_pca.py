"""PCA against scikit-learn's, scipy's densities and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.decomposition import PCA as Theirs  # noqa: N811

from isthmus.errors import DataError, SettingError
from isthmus.formats.vectors import VectorFormat
from isthmus.metrics import principal_angles
from isthmus.models import PCA, load
from isthmus.models import pca as module


def items_of(n: int, d: int, seed: int = 0, offset: float = 0.0) -> np.ndarray:
    """Correlated columns whose variances fall geometrically."""
    drawn = np.random.default_rng(seed)
    turned = np.linalg.qr(drawn.standard_normal((d, d)))[0]
    return drawn.standard_normal((n, d)) * 10 * 0.7 ** np.arange(d) @ turned + offset


def aligned(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Rows of ours with the signs of theirs."""
    return ours * np.sign((ours * theirs).sum(1))[:, None]


def left(items: Any, model: PCA) -> float:
    """Mean squared error of an item."""
    return float(np.square(model.reconstruct(items) - items).sum(1).mean())


# ---- beside scikit-learn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize(("n", "d"), [(300, 12), (12, 300), (40, 40), (41, 40), (39, 40)])
def test_it_agrees_with_scikit_learn(n: int, d: int, offset: float, dtype: type) -> None:
    items = items_of(n, d, offset=offset).astype(dtype)
    ours, theirs = PCA(5).fit(items), Theirs(5, svd_solver="full").fit(items.astype(np.float64))
    assert_allclose(aligned(ours.components_, theirs.components_), theirs.components_, atol=1e-5)
    assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-5)
    assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-5)
    assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-5)
    assert_allclose(ours.mean_, theirs.mean_, rtol=1e-5, atol=1e-5)
    signs = np.sign((ours.components_ * theirs.components_).sum(1))
    reach = np.abs(theirs.transform(items)).max()
    assert_allclose(ours.transform(items) * signs, theirs.transform(items), atol=1e-5 * reach)
    back = theirs.inverse_transform(theirs.transform(items))
    assert_allclose(ours.inverse_transform(ours.transform(items)), back, atol=2e-5 * np.abs(items).max())
    if n > d:  # else theirs spreads the noise over n dimensions, where Tipping & Bishop (eq. 8) have d
        assert_allclose(ours.noise_variance_, theirs.noise_variance_, rtol=1e-4)
        assert ours.score(items) == pytest.approx(theirs.score(items), rel=1e-5)
        assert_allclose(ours.score_samples(items), theirs.score_samples(items), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("n", "d"), [(400, 6), (6, 400)])
def test_a_large_offset_loses_nothing(n: int, d: int) -> None:
    items = items_of(n, d, offset=1e6)
    ours, theirs = PCA(3).fit(items), Theirs(3, svd_solver="full").fit(items)
    assert_allclose(aligned(ours.components_, theirs.components_), theirs.components_, atol=1e-5)
    assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-5)
    assert_allclose(ours.mean_, items.mean(0), rtol=1e-12)
    signs = np.sign((ours.components_ * theirs.components_).sum(1))
    assert_allclose(ours.transform(items) * signs, theirs.transform(items), atol=1e-3)
    assert left(items, ours) == pytest.approx(
        np.square(items - theirs.inverse_transform(theirs.transform(items))).sum(1).mean(), rel=1e-4
    )


@pytest.mark.parametrize("n", [200, 30])
def test_images_of_bytes(n: int) -> None:
    """Pixels are measured in [0, 1], and come back as bytes."""
    images = (255 / (1 + np.exp(-items_of(n, 64) / 10))).astype(np.uint8).reshape(n, 8, 8)
    flat = images.reshape(n, 64) / 255
    ours, theirs = PCA(6).fit(images), Theirs(6, svd_solver="full").fit(flat)
    assert_allclose(aligned(ours.components_, theirs.components_), theirs.components_, atol=1e-5)
    assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-5)
    assert_allclose(ours.mean_, theirs.mean_, atol=1e-6)
    back = np.clip(theirs.inverse_transform(theirs.transform(flat)) * 255, 0, 255).reshape(n, 8, 8)
    assert (np.abs(ours.reconstruct(images) - back) <= 0.5 + 1e-3).all()


@given(st.integers(1, 30), st.integers(1, 12), st.data())
@settings(max_examples=40)
def test_any_shape(n: int, d: int, data: st.DataObject) -> None:
    """Rows are orthonormal, variances fall, and no linear code of the size is better."""
    k = data.draw(st.integers(1, min(n, d)))
    items = items_of(n, d, seed=data.draw(st.integers(0, 99)))
    model = PCA(k).fit(items)
    assert model.components_.shape == (k, d)
    assert_allclose(model.components_ @ model.components_.T, np.eye(k), atol=1e-8)
    assert (np.diff(model.explained_variance_) <= 1e-9).all()
    largest = np.abs(model.components_).argmax(1)
    assert (model.components_[np.arange(k), largest] > 0).all()
    centred = items - items.mean(0)
    best = (np.linalg.svd(centred, compute_uv=False)[k:] ** 2).sum() / n
    assert left(items, model) == pytest.approx(best, rel=1e-3, abs=1e-3)
    assert np.isfinite(model.score(items))
    if n > 1:
        assert model.explained_variance_ratio_.sum() <= 1 + 1e-9


def test_both_ways_of_solving_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    items = items_of(50, 50)
    by_covariance = PCA(7).fit(items)
    monkeypatch.setattr(module, "_from_covariance", None)  # not to be called again
    by_values = module._from_data(items)
    assert_allclose(by_values.components[:7], by_covariance.components_, atol=1e-6)
    assert_allclose(by_values.variances[:7], by_covariance.explained_variance_, rtol=1e-6)


def test_pieces_of_any_size_give_one_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    items = items_of(500, 9, offset=50)
    whole = PCA(4).fit(items)
    monkeypatch.setattr(module, "PIECE", 7 * 9)
    pieces = PCA(4).fit(items)
    assert_allclose(pieces.components_, whole.components_, atol=1e-7)
    assert_allclose(pieces.explained_variance_, whole.explained_variance_, rtol=1e-7)


# ---- settings ------------------------------------------------------------------------------------------------------


def test_whitened_codes_have_variance_one() -> None:
    items = items_of(300, 8)
    model, theirs = PCA(4, whiten=True).fit(items), Theirs(4, whiten=True).fit(items)
    codes = model.encode(items)
    assert_allclose(np.cov(codes.T), np.eye(4), atol=1e-4)
    assert_allclose(np.abs(codes), np.abs(theirs.transform(items)), atol=1e-4)
    assert_allclose(model.reconstruct(items), PCA(4).fit(items).reconstruct(items), atol=1e-4)
    assert_allclose(model.score_samples(items), PCA(4).fit(items).score_samples(items), rtol=1e-5)
    assert_allclose(np.cov(model.sample(20_000).T), np.cov(PCA(4).fit(items).sample(20_000).T), rtol=0.2, atol=1)


def test_whitening_what_has_no_spread_stays_finite() -> None:
    items = items_of(40, 6)
    items[:, 3:] = 1.0
    model = PCA(5, whiten=True).fit(items)
    assert np.isfinite(model.encode(items)).all()
    assert_allclose(model.reconstruct(items), items, atol=1e-3)
    one = PCA(1, whiten=True).fit(items[:1])
    assert_allclose(one.reconstruct(items[:1]), items[:1], atol=1e-5)


@pytest.mark.parametrize(("n", "d", "k"), [(10, 4, 5), (3, 8, 4), (1, 1, 2)])
def test_more_components_than_possible(n: int, d: int, k: int) -> None:
    with pytest.raises(SettingError) as caught:
        PCA(k).fit(items_of(n, d))
    most = min(n, d)
    assert f"latent_dim={k} is above what is possible: {n} items of {d} elements have at most {most}" in str(
        caught.value
    )
    assert PCA(most).fit(items_of(n, d)).latent_dim_ == most


@pytest.mark.parametrize("given", [0, -1, 2.0, "many", True, [2], 10**9, float("nan")])
def test_latent_dims_that_are_none(given: Any) -> None:
    with pytest.raises(SettingError, match="latent_dim="):
        PCA(given).fit(items_of(10, 4))


def test_other_bad_settings() -> None:
    with pytest.raises(SettingError, match=r"whiten='yes': expected True or False"):
        PCA(2, whiten="yes").fit(items_of(10, 4))
    with pytest.raises(DataError, match="format='pictures' is unknown|format="):
        PCA(2, format="pictures").fit(items_of(10, 4))


def test_defaults() -> None:
    assert PCA().fit(items_of(100, 40)).latent_dim_ == 16
    assert PCA().fit(items_of(100, 4)).latent_dim_ == 4
    assert PCA().fit(items_of(3, 40)).latent_dim_ == 3


def test_a_standardising_format_is_kept() -> None:
    items = items_of(200, 6) * np.logspace(0, 3, 6)
    model = PCA(2, format=VectorFormat("standard")).fit(items)
    theirs = Theirs(2).fit((items - items.mean(0)) / items.std(0))
    assert principal_angles(model.components_.T, theirs.components_.T).max() < 1e-5
    assert_allclose(model.mean_, items.mean(0), rtol=1e-6)


def test_auto_reads_the_knee() -> None:
    drawn = np.random.default_rng(0)
    items = drawn.standard_normal((400, 5)) * 10 @ np.linalg.qr(drawn.standard_normal((30, 5)))[0].T
    model = PCA("auto").fit(items + 0.1 * drawn.standard_normal((400, 30)))
    assert model.latent_dim_ == 5
    assert PCA("auto").fit(np.ones((20, 4))).latent_dim_ == 1


def test_items_too_wide_for_a_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WIDEST", 20)
    with pytest.raises(
        DataError, match="items of 21 elements would need a covariance of that side squared; at most 20"
    ):
        PCA(2).fit(items_of(30, 21))
    assert PCA(2).fit(items_of(10, 21)).latent_dim_ == 2, "few wide items need none"
    with pytest.raises(DataError, match="at most 20"):
        PCA(2).partial_fit(items_of(10, 21))


# ---- in pieces -----------------------------------------------------------------------------------------------------


@given(cuts=st.lists(st.integers(1, 199), max_size=5, unique=True))
@settings(max_examples=15)
def test_partial_fit_is_fit(cuts: list[int]) -> None:
    items = items_of(200, 7, offset=100)
    whole, model = PCA(3).fit(items), PCA(3)
    for piece in np.split(items, sorted(cuts)):
        assert model.partial_fit(piece) is model
    assert model.n_samples_ == 200
    assert_allclose(model.components_, whole.components_, atol=1e-7)
    assert_allclose(model.explained_variance_, whole.explained_variance_, rtol=1e-7)
    assert_allclose(model.mean_, whole.mean_, rtol=1e-8)
    assert model.noise_variance_ == pytest.approx(whole.noise_variance_, rel=1e-6)
    assert_allclose(model.encode(items), whole.encode(items), atol=1e-4)


@pytest.mark.parametrize(
    "call", ["decode", "sample", "save", "latent_dim_", "prior_", "error_curve", "truncate", "score"]
)
def test_after_partial_fit_everything_can_be_asked_first(call: str, tmp_path: Any) -> None:
    """What is worked out late is there whatever is asked for first."""
    items = items_of(60, 5)
    model, whole = PCA(2).partial_fit(items[:30]).partial_fit(items[30:]), PCA(2).fit(items)
    answers = {
        "decode": lambda m: m.decode(np.ones((1, 2))),
        "sample": lambda m: m.sample(3),
        "save": lambda m: load(m.save(tmp_path / "m.isthmus")).encode(items),
        "latent_dim_": lambda m: m.latent_dim_,
        "prior_": lambda m: m.prior_.log_prob(np.ones((1, 2))),
        "error_curve": lambda m: m.error_curve(items),
        "truncate": lambda m: m.truncate(1).encode(items),
        "score": lambda m: m.score(items),
    }
    assert_allclose(answers[call](model), answers[call](whole), rtol=1e-4, atol=1e-4)


def test_pieces_too_few_for_the_components_are_told_when_asked() -> None:
    model = PCA(4).partial_fit(items_of(3, 6))
    with pytest.raises(SettingError, match="latent_dim=4 is above what is possible: 3 items"):
        model.encode(items_of(3, 6))
    assert model.partial_fit(items_of(5, 6, seed=1)).encode(items_of(3, 6)).shape == (3, 4)


def test_later_pieces_count_after_a_first_look() -> None:
    items = items_of(100, 5)
    model = PCA("auto").partial_fit(items[:10])
    first = model.components_, model.latent_dim_, model.prior_
    model.partial_fit(items[10:])
    whole = PCA("auto").fit(items)
    assert model.latent_dim_ == whole.latent_dim_
    assert_allclose(model.components_, whole.components_, atol=1e-7)
    assert first[2] is not model.prior_


def test_a_piece_of_another_shape_loses_nothing() -> None:
    items = items_of(100, 5)
    model = PCA(2).partial_fit(items)
    with pytest.raises(DataError):
        model.partial_fit(items[:, :4])
    with pytest.raises(DataError):
        model.partial_fit(np.full((2, 5), np.nan))
    assert_allclose(model.components_, PCA(2).fit(items).components_, atol=1e-9)


def test_fit_after_partial_fit_forgets() -> None:
    items = items_of(100, 5)
    model = PCA(2).partial_fit(items + 7).fit(items)
    assert_array_equal(model.encode(items), PCA(2).fit(items).encode(items))
    assert not hasattr(PCA(2), "latent_dim_")


# ---- as a probability model ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d", "k"), [(100, 6, 2), (100, 6, 6), (100, 1, 1), (8, 20, 3), (5, 9, 5)])
def test_the_likelihood_is_that_of_a_gaussian(n: int, d: int, k: int) -> None:
    """Tipping & Bishop 1999, eq. 3 and 4: covariance W W' + sigma^2 I, against scipy."""
    items = items_of(n, d, offset=2.0)
    model = PCA(k).fit(items)
    noise = model.noise_variance_
    spread = model.explained_variance_ - noise
    covariance = model.components_.T * spread @ model.components_ + noise * np.eye(d)
    new = items_of(20, d, seed=0, offset=2.0)[:20]
    if (n, k) == (100, d) or n == k:  # no noise is left, and the density of anything else is all but nothing
        new = items
    exact = stats.multivariate_normal(items.mean(0), covariance, allow_singular=True)
    if np.linalg.matrix_rank(covariance) == d:
        assert_allclose(model.score_samples(new), exact.logpdf(new), rtol=1e-3, atol=2e-2)
    assert np.isfinite(model.score(new))


def test_samples_have_the_covariance_of_the_data() -> None:
    items = items_of(500, 6, offset=3.0)
    model = PCA(6).fit(items)
    drawn = model.sample(40_000, seed=1)
    assert_allclose(drawn.mean(0), items.mean(0), atol=0.15)
    assert_allclose(np.cov(drawn.T), np.cov(items.T), atol=0.03 * np.cov(items.T).max())
    assert "Gaussian" in model.prior_.describe()
    few = PCA(2).fit(items)
    expected = few.components_.T * few.explained_variance_ @ few.components_
    assert_allclose(np.cov(few.sample(40_000).T), expected, atol=0.03 * expected.max())


# ---- ordered codes -------------------------------------------------------------------------------------------------


def test_the_error_curve_is_the_variance_left_out() -> None:
    items = items_of(300, 8)
    model = PCA(5).fit(items)
    values = np.linalg.svd(items - items.mean(0), compute_uv=False) ** 2 / len(items)
    assert_allclose(model.error_curve(items), [values[k:].sum() for k in range(1, 6)], rtol=1e-4)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("n", [300, 7])
def test_a_truncated_model_is_the_smaller_model(n: int, whiten: bool, tmp_path: Any) -> None:
    items = items_of(n, 8)
    small, model = PCA(2, whiten=whiten).fit(items), PCA(5, whiten=whiten).fit(items)
    shorter = model.truncate(2)
    assert_allclose(shorter.encode(items), small.encode(items), atol=1e-4)
    assert_allclose(shorter.reconstruct(items), small.reconstruct(items), atol=1e-4)
    assert_allclose(shorter.score_samples(items), small.score_samples(items), rtol=1e-4)
    assert_allclose(shorter.sample(4), small.sample(4), atol=1e-4)
    assert shorter.noise_variance_ == pytest.approx(small.noise_variance_)
    assert shorter.likelihood_.to_json()["variance"] == pytest.approx(small.likelihood_.to_json()["variance"])
    assert shorter.components_.shape == (2, 8)
    assert shorter.history_ == model.history_
    assert model.latent_dim_ == 5, "the whole one stays"
    assert_array_equal(load(shorter.save(tmp_path / "s.isthmus")).encode(items), shorter.encode(items))
    for k in (0, 6, 1.0, True):
        with pytest.raises(SettingError, match=r"k=.*: expected a whole number from 1 to 5"):
            model.truncate(k)


def test_an_untrained_pca_is_worse() -> None:
    items = items_of(300, 12)
    model = PCA(3).fit(items)
    bare = model.untrained()
    assert_allclose(bare.components_ @ bare.components_.T, np.eye(3), atol=1e-9)
    assert left(items, bare) > 2 * left(items, model)


def test_torch_tensors_and_bfloat16() -> None:
    items = torch.from_numpy(items_of(50, 6))
    for typed in (items, items.float(), items.bfloat16(), items.half()):
        model = PCA(2).fit(typed)
        back = model.reconstruct(typed)
        assert back.dtype == typed.dtype
        assert_allclose(
            back.double().numpy(), PCA(2).fit(typed.double().numpy()).reconstruct(typed.double().numpy()), atol=0.3
        )
