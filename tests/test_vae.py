"""VAEs against closed forms: the KL, the bound, importance sampling, and a linear one whose likelihood is exact."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from torch.distributions import Normal, kl_divergence

from isthmus.errors import SettingError
from isthmus.evaluate import evaluate
from isthmus.formats.vectors import VectorFormat
from isthmus.likelihoods import WORDS
from isthmus.metrics import active_units
from isthmus.models import VAE, load
from isthmus.models.vae import _kl

SMALL: dict[str, Any] = {"network": (16,), "device": "cpu"}


@functools.cache
def gaussian_items(n: int = 500) -> np.ndarray:
    """Two directions of structure in six, and noise of deviation 0.3."""
    drawn = np.random.default_rng(2)
    items = drawn.standard_normal((n, 2)) @ drawn.standard_normal((2, 6)) + 0.3 * drawn.standard_normal((n, 6))
    return items - items.mean(0)


@functools.cache
def linear() -> VAE:
    """Probabilistic PCA learned by gradient (Lucas et al. 2019)."""
    model = VAE(2, network="linear", format=VectorFormat("none"), epochs=80, rate=0.01, device="cpu")
    return model.fit(gaussian_items())


def variance_of(model: VAE) -> float:
    return float(torch.as_tensor(model.likelihood_.shared_log_variance()).detach().exp())


def exact(model: VAE, items: np.ndarray) -> np.ndarray:
    """log p(x) of a linear decoder: a Gaussian of covariance W W' + sigma^2 I."""
    layer = model.network_.decoder.layers[0]
    w, b = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    return stats.multivariate_normal(b, w @ w.T + variance_of(model) * np.eye(len(b))).logpdf(items)


@functools.cache
def pictures(n: int = 300) -> np.ndarray:
    """Bars of grey on black, 6 x 6 pixels."""
    drawn = np.random.default_rng(4)
    images = np.zeros((n, 6, 6), dtype=np.uint8)
    for image, row, column in zip(images, drawn.integers(0, 6, n), drawn.integers(0, 6, n), strict=True):
        image[row] = 200
        image[:, column] = 128
    return images


# ---- the parts of the bound ----------------------------------------------------------------------------------------


@given(mean=st.floats(-5, 5), log_variance=st.floats(-10, 5))
def test_the_kl_is_that_of_torch(mean: float, log_variance: float) -> None:
    theirs = kl_divergence(Normal(mean, float(np.exp(log_variance / 2))), Normal(0.0, 1.0))
    ours = _kl(torch.tensor(mean, dtype=torch.float64), torch.tensor(log_variance, dtype=torch.float64))
    assert float(ours) == pytest.approx(float(theirs), rel=1e-4, abs=1e-5)
    assert float(ours) >= -1e-12


def test_the_elbo_has_two_parts() -> None:
    model, items = linear(), gaussian_items()
    parts = model.elbo(items)
    mean, deviation = (torch.from_numpy(array) for array in model.encode_distribution(items))
    theirs = kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0)).sum(1)
    assert_allclose(parts.kl, theirs, rtol=1e-4, atol=1e-4)
    assert_allclose(parts.total, parts.reconstruction + parts.kl)
    assert_allclose(-parts.total, model.score_samples(items), rtol=1e-6)
    assert parts.kl.shape == parts.reconstruction.shape == (500,)
    assert parts.kl.dtype == np.float64
    with torch.no_grad():
        x, drawn = torch.from_numpy(items).float(), torch.randn(300, 500, 2, generator=torch.Generator().manual_seed(0))
        draws = torch.stack([model.likelihood_.loss(model._decode(mean + deviation * z), x) for z in drawn])
    assert parts.reconstruction.mean() == pytest.approx(float(draws.mean()), rel=0.05)


def test_the_figure_of_an_item_does_not_depend_on_the_others() -> None:
    model, items = linear(), gaussian_items()
    for name in ("reconstruction", "kl"):
        assert_array_equal(getattr(model.elbo(items), name)[7:20], getattr(model.elbo(items[7:20]), name))


# ---- the likelihood ------------------------------------------------------------------------------------------------


def test_bounds_of_a_linear_vae_stand_in_their_order() -> None:
    """ELBO <= importance-sampled bound <= log p(x), item means with the room that sampling needs."""
    model, items = linear(), gaussian_items()
    truth = exact(model, items)
    bound, sampled = model.score(items), model.log_likelihood(items, samples=300)
    assert bound <= sampled.mean() + 0.02
    assert sampled.mean() <= truth.mean() + 0.02
    assert sampled.mean() == pytest.approx(truth.mean(), abs=0.02)
    assert_allclose(sampled, truth, atol=0.7)


def test_a_linear_vae_reaches_probabilistic_pca() -> None:
    """Its best log-likelihood is known in closed form (Tipping & Bishop 1999, eq. 7 and 8)."""
    items = gaussian_items()
    values = np.sort(np.linalg.eigvalsh(np.cov(items.T, bias=True)))[::-1]
    noise = values[2:].mean()
    best = -0.5 * (np.log(values[:2]).sum() + 4 * np.log(noise) + 6 * np.log(2 * np.pi) + 6)
    assert exact(linear(), items).mean() == pytest.approx(best, abs=0.15)
    assert linear().score(items) == pytest.approx(best, abs=0.25), "the bound of a linear VAE is tight"
    assert linear().untrained().score(items) < best - 2


def test_more_samples_tighten_the_bound() -> None:
    model = VAE(3, epochs=10, **SMALL).fit(gaussian_items())
    items = gaussian_items()[:200]
    bounds = [model.log_likelihood(items, samples=s).mean() for s in (1, 5, 50, 300)]
    assert bounds == sorted(bounds)
    assert bounds[0] == pytest.approx(model.score(items), abs=0.5)
    assert_array_equal(model.log_likelihood(items, 5, seed=3), model.log_likelihood(items, 5, seed=3))
    assert (model.log_likelihood(items, 5, seed=3) != model.log_likelihood(items, 5, seed=4)).all()
    assert model.log_likelihood(items[:1], 2).dtype == np.float64
    for samples in (0, -1, 2.5, True, "many"):
        with pytest.raises(SettingError, match="samples=.*: expected a whole number from 1"):
            model.log_likelihood(items, samples)


# ---- collapse ------------------------------------------------------------------------------------------------------


@functools.cache
def of_beta(beta: float, free_bits: float = 0.0) -> VAE:
    given = {"epochs": 40, "rate": 0.01, "likelihood": "gaussian"} | SMALL
    return VAE(4, beta=beta, free_bits=free_bits, **given).fit(gaussian_items())


def test_a_large_beta_collapses_the_codes_and_evaluate_says_so() -> None:
    items = gaussian_items()
    assert active_units(of_beta(50.0).encode(items)) == 0
    assert of_beta(50.0).elbo(items).kl.mean() < 0.05
    report = evaluate(of_beta(50.0), items)
    assert any("collapsed" in line and "Lower beta" in line for line in report.advice), report.advice


def test_a_usual_beta_keeps_two_units_active() -> None:
    items = gaussian_items()
    assert active_units(of_beta(1.0).encode(items)) in (2, 3), "about as many as the items have directions"
    assert of_beta(0.1).elbo(items).kl.mean() > of_beta(1.0).elbo(items).kl.mean() > of_beta(4.0).elbo(items).kl.mean()


def test_free_bits_wake_the_codes() -> None:
    """Each latent may carry half a nat at no cost, so none collapses."""
    items = gaussian_items()
    awake = of_beta(50.0, free_bits=0.5)
    assert awake.elbo(items).kl.mean() > 1.0
    assert active_units(awake.encode(items)) >= 2


@pytest.mark.parametrize("kl_warm_up", [0, 0.0, 0.5, 1])
def test_warm_up(kl_warm_up: float) -> None:
    """The weight of the KL climbs from 0 to beta over the given share of the training."""
    from isthmus.training.engine import Moment

    model = VAE(2, kl_warm_up=kl_warm_up, beta=3.0, epochs=1, **SMALL).fit(gaussian_items())
    x = model.format_.scale(torch.from_numpy(gaussian_items()[:64]))

    def loss(progress: float) -> torch.Tensor:
        return model._loss(x, Moment(torch.tensor(progress), torch.Generator().manual_seed(0))).detach()

    kl = _kl(*model._posterior(x)).sum(1).detach()
    weights = [float(((loss(p) - loss(1.0)) / kl).mean()) / 3 + 1 for p in (0.0, 0.25, 0.5, 1.0)]
    wanted = [min(p / kl_warm_up, 1.0) if kl_warm_up else 1.0 for p in (0.0, 0.25, 0.5, 1.0)]
    assert_allclose(weights, wanted, atol=1e-3)


# ---- draws ---------------------------------------------------------------------------------------------------------


def test_draws_of_codes_are_seeded() -> None:
    model, items = linear(), gaussian_items()
    assert_array_equal(model.encode_sample(items, seed=1), model.encode_sample(items, seed=1))
    assert (model.encode_sample(items, seed=1) != model.encode_sample(items, seed=2)).all()
    assert model.encode_sample(items).dtype == np.float32
    mean, deviation = model.encode_distribution(items)
    standard = (model.encode_sample(items, seed=5) - mean) / deviation
    assert stats.kstest(standard.ravel(), "norm").pvalue > 0.001


def test_new_items_are_like_the_old() -> None:
    items, drawn = gaussian_items(), linear().sample(5000, seed=0)
    assert drawn.shape == (5000, 6)
    signal = np.cov(items.T) - 0.09 * np.eye(6)
    assert_allclose(np.cov(drawn.T), signal, atol=0.2 * signal.max())
    assert linear().prior_.describe() == "standard normal"


# ---- likelihoods ---------------------------------------------------------------------------------------------------


def test_a_variance_is_learned_by_default() -> None:
    assert variance_of(linear()) == pytest.approx(0.09, rel=0.25)
    unit = VAE(2, likelihood="gaussian", epochs=1, **SMALL).fit(gaussian_items())
    assert unit.likelihood_.variance == "unit"


def test_grey_pictures_are_binarised_anew_at_every_step() -> None:
    model = VAE(3, likelihood="bernoulli_dynamic", epochs=30, **SMALL).fit(pictures())
    x = model.format_.scale(torch.from_numpy(pictures())[:, None])
    generator = torch.Generator().manual_seed(0)
    shown = [model.likelihood_.targets(x, generator) for _ in range(200)]
    assert set(torch.stack(shown).unique().tolist()) == {0.0, 1.0}
    assert_allclose(torch.stack(shown).mean(0), x, atol=0.2)
    assert model.reconstruct(pictures()).dtype == np.uint8
    assert model.score(pictures()) > model.untrained().score(pictures()) + 2
    binary = (pictures() > 0).astype(np.uint8) * 255
    assert -36 * np.log(2) < model.log_likelihood(binary, samples=5).mean() < 0


@pytest.mark.parametrize("likelihood", WORDS)
def test_every_likelihood_of_pictures(likelihood: str, tmp_path: Path) -> None:
    model = VAE(2, likelihood=likelihood, epochs=2, **SMALL).fit(pictures())
    assert np.isfinite(model.score(pictures()))
    assert model.sample(3).shape == (3, 6, 6)
    back = load(model.save(tmp_path / "m.isthmus"))
    assert_array_equal(back.score_samples(pictures()), model.score_samples(pictures()))
    assert back.likelihood_.to_json() == model.likelihood_.to_json()


# ---- ordered -------------------------------------------------------------------------------------------------------


def test_an_ordered_vae_and_its_beginnings() -> None:
    items = gaussian_items()
    model = VAE(4, ordered=True, network=(32,), epochs=50, rate=0.01, device="cpu").fit(items)
    curve = model.error_curve(items)
    assert curve[1] < 0.3 * np.square(model.format_.scale(torch.from_numpy(items)).numpy()).sum(1).mean()
    assert curve[0] > 1.5 * curve[1]
    shorter = model.truncate(2)
    assert_array_equal(shorter.encode(items), model.encode(items)[:, :2])
    mean, deviation = shorter.encode_distribution(items)
    assert mean.shape == deviation.shape == (500, 2)
    assert shorter.log_likelihood(items[:50], samples=50).mean() >= shorter.score(items[:50]) - 0.1
    assert shorter.sample(3).shape == (3, 6)


@given(k=st.integers(1, 3), n=st.integers(1, 9))
@settings(max_examples=6)
def test_shapes_of_what_only_vaes_have(k: int, n: int) -> None:
    model = VAE(k, epochs=1, batch_size=128, **SMALL).fit(gaussian_items()[:40])
    items = gaussian_items()[:n]
    mean, deviation = model.encode_distribution(items)
    assert mean.shape == deviation.shape == model.encode_sample(items).shape == (n, k)
    assert model.elbo(items).total.shape == model.log_likelihood(items, 2).shape == (n,)
