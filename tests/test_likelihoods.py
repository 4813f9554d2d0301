"""Likelihoods against torch.distributions and scipy.stats, and the laws that all of them obey."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, distributions, nn

from isthmus.errors import SettingError
from isthmus.likelihoods import (
    Bernoulli,
    Categorical,
    DiscretisedLogisticMixture,
    Gaussian,
    Likelihood,
    likelihood_from_json,
)

Mixture = DiscretisedLogisticMixture

# Every class, with the settings that take another path.
MODELS: dict[str, Any] = {
    "unit": Gaussian,
    "fixed": lambda: Gaussian(0.3),
    "learned": lambda: Gaussian("learned"),
    "predicted": lambda: Gaussian("predicted"),
    "bernoulli": Bernoulli,
    "dynamic": lambda: Bernoulli(dynamic=True),
    "categorical": lambda: Categorical(7),
    "one level": lambda: Categorical(1),
    "categorical image": lambda: Categorical(4, unit_interval=True),
    "categorical image of fifty levels": lambda: Categorical(50, unit_interval=True),
    "mixture": lambda: Mixture(256, 5),
    "mixture of two levels": lambda: Mixture(2, 1),
    "mixture of forty levels": lambda: Mixture(40, 3),
}
DISCRETE = [name for name, make in MODELS.items() if make().discrete]


@pytest.fixture(params=MODELS)
def likelihood(request: pytest.FixtureRequest) -> Likelihood:
    return MODELS[request.param]()


@pytest.fixture(params=DISCRETE)
def discrete(request: pytest.FixtureRequest) -> Likelihood:
    return MODELS[request.param]()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def params_for(likelihood: Likelihood, shape: tuple[int, ...], seed: int = 0, size: float = 1.5) -> Tensor:
    return size * torch.randn(shape[0], likelihood.n_params, *shape[1:], generator=generator(seed))


def levels_of(likelihood: Likelihood) -> Tensor:
    """Every x that a discrete likelihood knows, in order."""
    if isinstance(likelihood, Bernoulli):
        return torch.tensor([0.0, 1.0])
    codes = torch.arange(likelihood.levels, dtype=torch.float32)
    whole = isinstance(likelihood, Categorical) and not likelihood.unit_interval
    return codes if whole else codes / max(likelihood.levels - 1, 1)


def over_levels(function: Any, likelihood: Likelihood, params: Tensor) -> Tensor:
    """``function(params, x)`` for every level x, (levels, B, D...)."""
    shape = (params.shape[0], *params.shape[2:])
    return torch.stack([function(params, x.expand(shape)) for x in levels_of(likelihood)])


# ---------------------------------------------------------------------------------------------- laws of all


def test_shapes_and_dtypes(likelihood: Likelihood) -> None:
    for shape in ((3, 2), (2, 3, 4, 5), (1, 1), (4,)):
        params = params_for(likelihood, shape)
        x = likelihood.sample(params, generator())
        assert x.shape == shape
        for result in (likelihood.nll(params, x), likelihood.mean(params), likelihood.cdf(params, x)):
            assert result.shape == shape
            assert result.dtype == torch.float32
        assert likelihood.mode(params).shape == shape
        assert likelihood.mode(params).dtype == x.dtype
        assert likelihood.targets(x, generator()).shape == shape


def test_loss_is_the_sum_of_nll(likelihood: Likelihood) -> None:
    params = params_for(likelihood, (5, 3, 4)).requires_grad_()
    x = likelihood.sample(params.detach(), generator())
    loss, wanted = likelihood.loss(params, x), likelihood.nll(params, x).sum((1, 2))
    torch.testing.assert_close(loss, wanted)
    assert loss.shape == (5,)
    learned = [params, *likelihood.parameters()]
    gradients = torch.autograd.grad(loss.sum(), learned, retain_graph=True)
    for one, other in zip(gradients, torch.autograd.grad(wanted.sum(), learned), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(likelihood: Likelihood, dtype: torch.dtype) -> None:
    params = params_for(likelihood, (3, 50)).to(dtype)
    x = likelihood.sample(params, generator())
    wide = params.float()
    assert torch.equal(x, likelihood.sample(wide, generator()))
    assert torch.equal(likelihood.nll(params, x), likelihood.nll(wide, x))
    assert torch.equal(likelihood.loss(params, x), likelihood.loss(wide, x))
    assert torch.equal(likelihood.mean(params), likelihood.mean(wide))
    assert likelihood.loss(params, x).dtype == torch.float32


def test_float64_stays_float64(likelihood: Likelihood) -> None:
    params = params_for(likelihood, (3, 5)).double()
    x = likelihood.sample(params, generator()).double()
    assert likelihood.nll(params, x).dtype == torch.float64
    assert likelihood.loss(params, x).dtype == torch.float64


def test_a_seed_is_a_sample_and_global_state_is_left_alone(likelihood: Likelihood) -> None:
    params = params_for(likelihood, (4, 300))
    before = torch.get_rng_state()
    first, again, other = (likelihood.sample(params, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    if likelihood.to_json().get("levels") != 1:
        assert not torch.equal(first, other)
    grey = torch.rand(4, 300, generator=generator())
    assert torch.equal(likelihood.targets(grey, generator()), likelihood.targets(grey, generator()))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_mode_is_less_probable_than_a_draw(likelihood: Likelihood) -> None:
    params = params_for(likelihood, (20, 30))
    best = likelihood.nll(params, likelihood.mode(params))
    for seed in range(5):
        assert (best <= likelihood.nll(params, likelihood.sample(params, generator(seed))) + 1e-5).all()


def test_the_mean_of_draws_is_the_mean(likelihood: Likelihood) -> None:
    params = params_for(likelihood, (1, 20)).expand(8000, -1, -1)
    draws = likelihood.sample(params, generator()).double()
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - likelihood.mean(params)[0]).abs() <= 4.5 * error + 1e-6).all()


@pytest.mark.parametrize("method", ["nll", "loss", "cdf"])
def test_parameters_of_the_wrong_shape_are_refused(likelihood: Likelihood, method: str) -> None:
    call = getattr(likelihood, method)
    with pytest.raises(SettingError, match="on the second axis"):
        call(torch.zeros(3, likelihood.n_params + 1, 4), torch.zeros(3, 4))
    with pytest.raises(SettingError, match="on the second axis"):  # would be broadcast in silence
        call(torch.zeros(3, likelihood.n_params, 4), torch.zeros(3, 1, 4))
    with pytest.raises(SettingError, match="on the second axis"):
        likelihood.mean(torch.zeros(3))


def test_message_of_the_wrong_shape() -> None:
    with pytest.raises(SettingError) as caught:
        Gaussian().nll(torch.zeros(3, 28, 28), torch.zeros(3, 1, 28, 28))
    assert str(caught.value) == (
        "the decoder gave parameters of shape (3, 28, 28), but Gaussian(variance='unit') needs (3, 1, 1, 28, 28): "
        "1 for each element, on the second axis"
    )


def test_json_and_state_come_back(likelihood: Likelihood) -> None:
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.fill_(-1.25)
    copied = likelihood_from_json(json.loads(json.dumps(likelihood.to_json())))
    copied.load_state_dict(likelihood.state_dict())
    assert type(copied) is type(likelihood)
    assert copied.to_json() == likelihood.to_json()
    params = params_for(likelihood, (3, 4))
    x = likelihood.sample(params, generator())
    assert torch.equal(likelihood.nll(params, x), copied.nll(params, x))


def test_deep_copies_and_clones_are_whole(likelihood: Likelihood) -> None:
    assert repr(copy.deepcopy(likelihood)) == repr(likelihood)


# ---------------------------------------------------------------------------------------------- laws of the discrete


@pytest.mark.parametrize("size", [0.1, 1.5, 6.0])
def test_probabilities_sum_to_one(discrete: Likelihood, size: float) -> None:
    table = over_levels(discrete.nll, discrete, params_for(discrete, (4, 20), size=size)).double()
    torch.testing.assert_close((-table).exp().sum(0), torch.ones(4, 20, dtype=torch.float64), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [0.1, 1.5, 6.0])
def test_mean_and_mode_are_those_of_the_probabilities(discrete: Likelihood, size: float) -> None:
    params = params_for(discrete, (4, 50), size=size)
    table, x = over_levels(discrete.nll, discrete, params).double(), levels_of(discrete).double()
    torch.testing.assert_close(
        discrete.mean(params).double(), torch.einsum("lbd,l->bd", (-table).exp(), x), atol=2e-5, rtol=2e-6
    )
    assert (discrete.nll(params, discrete.mode(params)) <= table.min(0).values + 1e-4).all()


@pytest.mark.parametrize("size", [0.1, 1.5, 6.0])
def test_cdf_climbs_by_the_probabilities(discrete: Likelihood, size: float) -> None:
    params = params_for(discrete, (4, 20), size=size)
    table = (-over_levels(discrete.nll, discrete, params)).exp()
    stairs = over_levels(discrete.cdf, discrete, params)
    torch.testing.assert_close(stairs, table.cumsum(0), atol=2e-5, rtol=0)
    assert (stairs.diff(dim=0) >= -1e-6).all()
    assert (stairs[-1] == 1).all()
    x = levels_of(discrete)
    step = float(x[1] - x[0]) if len(x) > 1 else 1.0
    assert (discrete.cdf(params, torch.full((4, 20), float(x[0]) - 0.5 * step)) == 0).all()
    assert (discrete.cdf(params, torch.full((4, 20), float(x[-1]) + 0.5 * step)) == 1).all()
    between = discrete.cdf(params, torch.full((4, 20), float(x[0]) + 0.5 * step))
    assert torch.equal(between, stairs[0])


def test_frequencies_are_the_probabilities(discrete: Likelihood) -> None:
    n = 20_000
    params = params_for(discrete, (1, 1), seed=3)
    draws = discrete.sample(params.expand(n, -1, -1), generator())
    x = levels_of(discrete)
    counts = (draws.view(-1, 1) == x.to(draws.dtype)).sum(0).double().numpy()
    assert counts.sum() == n  # nothing but levels is drawn
    expected = n * (-over_levels(discrete.nll, discrete, params)).exp().flatten().double().numpy()
    rare = expected < 10
    counts, expected = np.append(counts[~rare], counts[rare].sum()), np.append(expected[~rare], expected[rare].sum())
    keep = expected > 1
    if keep.sum() > 1:
        assert stats.chisquare(counts[keep], expected[keep] / expected[keep].sum() * counts[keep].sum()).pvalue > 1e-3


# ---------------------------------------------------------------------------------------------- Gaussian


def test_gaussian_agrees_with_torch() -> None:
    x = torch.randn(4, 5, generator=generator(1)).double()
    for likelihood, deviation in (
        (Gaussian(), 1.0),
        (Gaussian(0.09), 0.3),
        (Gaussian("learned"), 1.0),
    ):
        params = params_for(likelihood, (4, 5)).double()
        normal = distributions.Normal(params[:, 0], deviation)
        torch.testing.assert_close(likelihood.nll(params, x), -normal.log_prob(x), atol=1e-4, rtol=0)
        torch.testing.assert_close(likelihood.cdf(params, x), normal.cdf(x), atol=1e-4, rtol=0)
    predicted = Gaussian("predicted")
    params = params_for(predicted, (4, 5)).double()
    normal = distributions.Normal(params[:, 0], torch.exp(0.5 * params[:, 1]))
    torch.testing.assert_close(predicted.nll(params, x), -normal.log_prob(x), atol=1e-3, rtol=0)  # the clamp is soft


def test_squared_error_is_the_unit_gaussian() -> None:
    x, params = torch.rand(6, 3, 8, 8, generator=generator()), params_for(Gaussian(), (6, 3, 8, 8))
    error = (x - params[:, 0]).square().sum((1, 2, 3))
    torch.testing.assert_close(error, 2 * Gaussian().loss(params, x) - 192 * math.log(2 * math.pi))


def test_gaussian_draws_are_normal() -> None:
    params = torch.tensor([[[0.5], [-1.0]]]).expand(5000, 2, 1)
    draws = Gaussian("predicted").sample(params, generator()).flatten().numpy()
    assert stats.kstest(draws, "norm", (0.5, math.exp(-0.5))).pvalue > 1e-3


def test_learned_variance_finds_the_spread() -> None:
    likelihood = Gaussian("learned")
    x = 0.05 * torch.randn(64, 10, generator=generator())
    optimiser = torch.optim.Adam(likelihood.parameters(), lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        likelihood.loss(torch.zeros(64, 1, 10), x).mean().backward()
        optimiser.step()
    assert float(torch.as_tensor(likelihood.shared_log_variance()).detach()) == pytest.approx(
        math.log(float(x.square().mean())), abs=0.02
    )


@pytest.mark.parametrize("variance", ["learned", "predicted"])
def test_constant_data_keep_a_finite_density(variance: str) -> None:
    likelihood = Gaussian(variance)
    params = torch.zeros(2, likelihood.n_params, 3)
    if variance == "learned":
        nn.init.constant_(likelihood.log_variance, -1e4)
    else:
        params[:, 1] = -1e4
    floor = 0.5 * (-12 + math.log(2 * math.pi))
    torch.testing.assert_close(likelihood.nll(params, torch.zeros(2, 3)), torch.full((2, 3), floor))


def test_predicted_variance_is_held_from_both_sides() -> None:
    params = torch.zeros(1, 2, 5)
    params[0, 1] = torch.tensor([-1e30, -50.0, 0.0, 50.0, 1e30])
    params.requires_grad_()
    nll = Gaussian("predicted").nll(params, torch.ones(1, 5))
    nll.sum().backward()
    assert torch.isfinite(nll).all()
    assert torch.isfinite(params.grad).all()
    assert nll[0, 2].item() == pytest.approx(0.5 + 0.5 * math.log(2 * math.pi), abs=1e-4)


@pytest.mark.parametrize("variance", [1e-48, 1e-12, 1e48])
def test_extreme_variances_stay_numbers(variance: float) -> None:
    likelihood, params = Gaussian(variance), torch.zeros(1, 1, 2)
    for x in (torch.zeros(1, 2), torch.ones(1, 2)):
        for value in (likelihood.nll(params, x), likelihood.loss(params, x)):
            assert not value.isnan().any()
    assert likelihood.nll(params, torch.zeros(1, 2))[0, 0].item() == pytest.approx(
        0.5 * math.log(2 * math.pi * variance), rel=1e-5
    )


@pytest.mark.parametrize("variance", [0, -1.0, math.nan, math.inf, True, "units", None, [1.0]])
def test_impossible_variances_are_refused(variance: Any) -> None:
    with pytest.raises(SettingError, match='give "unit", "learned", "predicted" or a number'):
        Gaussian(variance)


def test_numpy_numbers_are_numbers() -> None:
    assert Gaussian(np.float32(0.5)).to_json() == {"word": "gaussian", "variance": 0.5}
    assert Categorical(np.int64(3)).to_json()["levels"] == 3


# ---------------------------------------------------------------------------------------------- Bernoulli


def test_bernoulli_agrees_with_torch() -> None:
    params = params_for(Bernoulli(), (4, 5))
    other = distributions.Bernoulli(logits=params[:, 0])
    for x in (torch.zeros(4, 5), torch.ones(4, 5)):
        torch.testing.assert_close(Bernoulli().nll(params, x), -other.log_prob(x))
    torch.testing.assert_close(Bernoulli().mean(params), other.mean)
    assert torch.equal(Bernoulli().mode(params), (other.mean >= 0.5).float())
    assert torch.equal(Bernoulli().mode(torch.zeros(1, 1, 1)), torch.ones(1, 1))


def test_grey_is_the_expectation_over_binarisations() -> None:
    grey, params = torch.rand(4, 5, generator=generator()), params_for(Bernoulli(), (4, 5))
    ones, zeros = Bernoulli().nll(params, torch.ones(4, 5)), Bernoulli().nll(params, torch.zeros(4, 5))
    torch.testing.assert_close(Bernoulli().nll(params, grey), grey * ones + (1 - grey) * zeros)


def test_bernoulli_is_stable_far_out() -> None:
    params = torch.tensor([[[1e4, -1e4]]]).requires_grad_()
    nll = Bernoulli().nll(params, torch.tensor([[0.0, 1.0]]))
    nll.sum().backward()
    assert torch.equal(nll, torch.full((1, 2), 1e4))
    assert torch.isfinite(params.grad).all()


def test_dynamic_binarisation() -> None:
    grey = torch.tensor([0.0, 0.3, 1.0]).expand(20_000, 3)
    assert Bernoulli().targets(grey, generator()) is grey
    drawn = Bernoulli(dynamic=True).targets(grey, generator())
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn[:, 0].max() == 0
    assert drawn[:, 2].min() == 1
    assert drawn[:, 1].mean().item() == pytest.approx(0.3, abs=0.015)
    again = Bernoulli(dynamic=True).targets(grey, generator(1))
    assert not torch.equal(drawn, again)


# ---------------------------------------------------------------------------------------------- categorical


def test_categorical_agrees_with_torch() -> None:
    likelihood, params = Categorical(7), params_for(Categorical(7), (4, 5))
    other = distributions.Categorical(logits=params.movedim(1, -1))
    codes = torch.randint(7, (4, 5), generator=generator())
    for x in (codes, codes.float(), codes.to(torch.uint8)):
        torch.testing.assert_close(likelihood.nll(params, x), -other.log_prob(codes))
    assert likelihood.sample(params, generator()).dtype == torch.int64


def test_categorical_is_stable_far_out() -> None:
    params = torch.tensor([1e4, -1e4, 0.0]).view(1, 3, 1).requires_grad_()
    nll = Categorical(3).nll(params, torch.tensor([[1]]))
    nll.sum().backward()
    assert nll.item() == 2e4
    assert torch.isfinite(params.grad).all()


@pytest.mark.parametrize("code", [-100, -1, 3])
def test_codes_out_of_range_are_not_passed_over(code: int) -> None:
    with pytest.raises((RuntimeError, IndexError)):
        Categorical(3).nll(torch.zeros(1, 3, 1), torch.tensor([[code]]))


@pytest.mark.parametrize("levels", [0, -1, 2.0, True, "3", None])
def test_impossible_levels_are_refused(levels: Any) -> None:
    with pytest.raises(SettingError, match="levels="):
        Categorical(levels)
    with pytest.raises(SettingError, match="levels="):
        Mixture(levels)


def test_other_settings_are_checked() -> None:
    with pytest.raises(SettingError, match="a whole number from 2 to 65536"):
        Mixture(1)
    with pytest.raises(SettingError, match="components=0"):
        Mixture(256, 0)
    with pytest.raises(SettingError, match="dynamic='yes': give True or False"):
        Bernoulli("yes")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="unit_interval=1"):
        Categorical(3, 1)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- logistic mixture

numbers = st.one_of(
    st.floats(-3, 3, width=32),
    st.floats(-100, 100, width=32),
    st.floats(-(2.0**100), 2.0**100, width=32),
    st.sampled_from([0.0, -1.0, 1.0, 3e38, -3e38]),
)


@settings(max_examples=150)
@given(st.sampled_from([2, 3, 5, 26, 256]), st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=3))
def test_mixture_of_anything_is_a_distribution(levels: int, components: list[tuple[float, float, float]]) -> None:
    likelihood = Mixture(levels, len(components))
    params = torch.tensor(list(zip(*components, strict=True)), dtype=torch.float32).reshape(1, -1, 1)
    params = params.expand(levels, -1, -1).clone().requires_grad_()
    x = levels_of(likelihood).unsqueeze(1)
    nll = likelihood.nll(params, x)
    nll.sum().backward()
    assert torch.isfinite(nll).all()
    assert torch.isfinite(params.grad).all()
    probabilities = (-nll.detach().double()).exp().flatten()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    stairs = likelihood.cdf(params.detach(), x).flatten().double()
    torch.testing.assert_close(stairs, probabilities.cumsum(0), atol=2e-5, rtol=0)
    one = params.detach()[:1]
    mean, mode = likelihood.mean(one).item(), likelihood.mode(one)
    assert mean == pytest.approx((probabilities @ x.flatten().double()).item(), abs=2e-5)
    assert likelihood.nll(one, mode).item() <= nll.min().item() + 1e-4


def test_mixture_agrees_with_the_definition() -> None:
    """Equation 2 of the paper, straight, in float64, for scales that it can hold."""
    likelihood = Mixture(256, 3)
    params = params_for(likelihood, (10, 6)).double()
    params[:, 6:] = params[:, 6:].clamp(-3, 2)
    weights = params[:, :3].softmax(1)
    means, scales = params[:, 3:6], params[:, 6:].exp()
    for level in (0, 1, 77, 254, 255):
        x = 2 * level / 255 - 1
        upper = torch.sigmoid((x + 1 / 255 - means) / scales) if level < 255 else 1.0
        lower = torch.sigmoid((x - 1 / 255 - means) / scales) if level > 0 else 0.0
        wanted = -(weights * (upper - lower)).sum(1).log()
        given_ = likelihood.nll(params, torch.full((10, 6), level / 255, dtype=torch.float64))
        torch.testing.assert_close(given_, wanted, atol=2e-2, rtol=0)  # the clamp is soft: 2 % of a scale at most
        # without the clamp's own touch, exactly:
        log_weights, centres, log_scales = likelihood._mixture(params)
        steep = torch.exp(-log_scales)
        upper = torch.sigmoid((level + 0.5 - centres) * steep) if level < 255 else 1.0
        lower = torch.sigmoid((level - 0.5 - centres) * steep) if level > 0 else 0.0
        torch.testing.assert_close(given_, -(log_weights.exp() * (upper - lower)).sum(1).log(), atol=1e-6, rtol=1e-6)


def test_mixture_can_be_all_but_certain_of_a_level() -> None:
    likelihood = Mixture(256, 1)
    for level in (0, 1, 128, 255):
        params = torch.tensor([0.0, 2 * level / 255 - 1, -50.0]).view(1, 3, 1)
        assert likelihood.nll(params, torch.tensor([[level / 255]])).item() < 0.002
        assert likelihood.mode(params).item() == pytest.approx(level / 255)


def test_mixture_learns() -> None:
    """Gradient descent from zero finds a distribution with two peaks, one of them at the edge."""
    likelihood = Mixture(16, 2)
    weights = torch.zeros(16).index_put_((torch.tensor([0, 1, 9, 10, 11]),), torch.tensor([0.4, 0.1, 0.1, 0.3, 0.1]))
    params = (0.1 * torch.randn(1, 6, 1, generator=generator())).requires_grad_()
    optimiser = torch.optim.Adam([params], lr=0.1)
    x = levels_of(likelihood).unsqueeze(1)
    for _ in range(300):
        optimiser.zero_grad()
        loss = weights @ likelihood.nll(params.expand(16, -1, -1), x)[:, 0]
        loss.backward()
        optimiser.step()
    entropy = -sum(w * math.log(w) for w in weights.tolist() if w)
    assert loss.item() - entropy < 0.1  # a uniform guess is 1.3 above
