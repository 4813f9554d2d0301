"""Priors against scipy.stats, scikit-learn and closed forms, and the laws that all of them obey."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from isthmus import priors
from isthmus.errors import DamagedFileError, DataError, SettingError
from isthmus.priors import Gaussian, GaussianMixture, Prior, StandardNormal, prior_from_json, prior_of

KINDS: dict[str, Any] = {
    "standard normal": StandardNormal,
    "gaussian": Gaussian,
    "mixture": GaussianMixture,
    "mixture of 3": lambda: GaussianMixture(3, seed=1),
}


@pytest.fixture(params=KINDS)
def prior(request: pytest.FixtureRequest) -> Prior:
    return KINDS[request.param]()


def normal_codes(n: int, width: int, seed: int = 0) -> np.ndarray:
    """Correlated, of different scales, away from 0."""
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((width, width)) * np.logspace(-1, 1, width)
    return (random.standard_normal((n, width)) @ mixing + 3).astype(np.float32)


def clusters(n: int, seed: int = 0) -> np.ndarray:
    """Four round clusters in the plane, of weights 0.1 to 0.4."""
    random = np.random.default_rng(seed)
    which = random.choice(4, size=n, p=[0.1, 0.2, 0.3, 0.4])
    centres = np.array([[0, 0], [8, 0], [0, 8], [8, 8]])
    return (centres[which] + random.standard_normal((n, 2))).astype(np.float32)


# ---------------------------------------------------------------------------------------------- laws of all


def test_shapes_and_dtypes(prior: Prior) -> None:
    codes = normal_codes(50, 3)
    assert prior.fit(codes) is prior
    assert prior.latent_dim_ == 3
    assert prior.log_prob(codes).shape == (50,)
    assert prior.log_prob(codes).dtype == np.float64
    drawn = prior.sample(7, seed=1)
    assert drawn.shape == (7, 3)
    assert drawn.dtype == np.float32
    assert prior.sample(np.int64(1), np.int64(0)).shape == (1, 3)
    assert len(prior.describe()) > 5


def test_a_seed_is_a_sample_and_global_state_is_left_alone(prior: Prior) -> None:
    legacy, torchs = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    prior.fit(normal_codes(200, 4))
    first = prior.sample(500, seed=3)
    np.testing.assert_array_equal(first, prior.sample(500, seed=3))
    assert (first != prior.sample(500, seed=4)).all()
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torchs)


def test_fit_forgets_and_leaves_the_codes_alone(prior: Prior) -> None:
    codes, other = normal_codes(100, 3), normal_codes(80, 5, seed=2)
    copied = codes.copy()
    prior.fit(codes)
    np.testing.assert_array_equal(codes, copied)
    before = prior.sample(20)
    if not isinstance(prior, StandardNormal):
        prior.fit(other)
        assert prior.sample(2).shape == (2, 5)
    np.testing.assert_array_equal(prior.fit(codes).sample(20), before)


def test_draws_have_the_density_that_is_claimed(prior: Prior) -> None:
    """E[p(z) / q(z)] over draws z of q is 1, for a q that is known: the density integrates to one, where it should."""
    prior.fit(clusters(400))
    drawn = prior.sample(20_000).astype(np.float64)
    mean, covariance = drawn.mean(0), np.cov(drawn.T) * 1.3
    q = stats.multivariate_normal(mean, covariance)
    at = q.rvs(20_000, random_state=np.random.default_rng(0))
    assert np.exp(prior.log_prob(at) - q.logpdf(at)).mean() == pytest.approx(1, abs=0.05)
    # and the draws lie where it is: the mean log-density of two independent samples agrees
    scores = [prior.log_prob(prior.sample(20_000, seed)).mean() for seed in (1, 2)]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
    box = (drawn < np.median(drawn, axis=0)).all(1)
    inside = (at < np.median(drawn, axis=0)).all(1)
    assert (np.exp(prior.log_prob(at) - q.logpdf(at)) * inside).mean() == pytest.approx(box.mean(), abs=0.03)


def test_json_and_arrays_come_back(prior: Prior) -> None:
    prior.fit(normal_codes(100, 4))
    saved = json.loads(json.dumps(prior.to_json()))
    copied = prior_from_json(saved, {name: array.copy() for name, array in prior.arrays().items()})
    assert type(copied) is type(prior)
    assert copied.to_json() == prior.to_json()
    assert copied.describe() == prior.describe()
    np.testing.assert_array_equal(copied.sample(50), prior.sample(50))
    np.testing.assert_array_equal(copied.log_prob(normal_codes(9, 4)), prior.log_prob(normal_codes(9, 4)))
    assert all(array.dtype == np.float64 for array in prior.arrays().values())


@pytest.mark.parametrize("width", [5, 70])
def test_first_is_the_marginal(prior: Prior, width: int) -> None:
    prior.fit(normal_codes(300, width))
    shorter = prior.first(2)
    assert shorter.latent_dim_ == 2
    assert type(shorter) is type(prior)
    whole, part = prior.sample(20_000)[:, :2].astype(np.float64), shorter.sample(20_000, seed=1).astype(np.float64)
    spread = whole.std(0)
    np.testing.assert_allclose(part.mean(0) / spread, whole.mean(0) / spread, atol=0.05)
    np.testing.assert_allclose(np.cov((part / spread).T), np.cov((whole / spread).T), atol=0.08)
    assert shorter.log_prob(part).mean() == pytest.approx(shorter.log_prob(whole).mean(), abs=0.05)
    assert prior.sample(2).shape == (2, width)
    for k in (0, width + 1, True, 1.0):
        with pytest.raises(SettingError, match=f"give a whole number from 1 to {width}"):
            prior.first(k)  # type: ignore[arg-type]
    restored = prior_from_json(shorter.to_json(), shorter.arrays())
    np.testing.assert_array_equal(restored.sample(5), shorter.sample(5))


def test_before_fit(prior: Prior) -> None:
    for call in (
        lambda: prior.sample(1),
        lambda: prior.log_prob(np.zeros((1, 2))),
        prior.to_json,
        lambda: prior.first(1),
    ):
        with pytest.raises(NotFittedError, match=r"has seen no codes yet: call fit\(Z\) first"):
            call()
    assert repr(prior) == f"<{type(prior).__name__} prior, not fitted>"


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_few_codes_work(prior: Prior, n: int) -> None:
    codes = normal_codes(n, 6)
    if isinstance(prior, GaussianMixture) and (prior.components or 1) > n:
        with pytest.raises(
            SettingError, match=f"components=3, but {n} codes given: ask for at most {n}, or leave it None"
        ):
            prior.fit(codes)
        return
    prior.fit(codes)
    assert np.isfinite(prior.log_prob(codes)).all()
    assert np.isfinite(prior.log_prob(codes + 100)).all()
    assert np.isfinite(prior.sample(10)).all()


DEGENERATE = {
    "constant": np.full((50, 3), 0.1, dtype=np.float32),
    "zero": np.zeros((50, 3)),
    "one dead": np.c_[normal_codes(60, 2), np.full(60, 7.0)],
    "copied": np.tile(normal_codes(60, 2), (1, 2)),
    "two points": np.repeat([[0.0, 1.0], [1.0, 0.0]], 40, axis=0),
    "tiny": 1e-20 * normal_codes(60, 3),
    "huge": 1e30 * normal_codes(60, 3).astype(np.float64),
    "far": 1e6 + normal_codes(60, 3),
    "of scales apart": normal_codes(60, 3) * [1e-6, 1.0, 1e6],
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_codes_work(prior: Prior, name: str) -> None:
    codes = DEGENERATE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prior.fit(codes)
    drawn = prior.sample(200)
    assert np.isfinite(prior.log_prob(codes)).all()
    assert np.isfinite(drawn).all()
    if not isinstance(prior, StandardNormal):
        scale = np.maximum(np.abs(codes).max(0), 1e-30)
        low, high = codes.min(0), codes.max(0)
        reach = (high - low) + 1e-2 * (scale if name == "constant" else 0) + (0.1 if name == "one dead" else 0)
        if name == "zero":  # nothing tells the scale
            reach = 0.1
        assert (drawn >= low - 2 * reach).all()
        assert (drawn <= high + 2 * reach).all()


@settings(max_examples=30)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 12), st.integers(1, 4)),
        elements=st.floats(-1e3, 1e3, width=32),
    )
)
def test_any_codes_work(codes: np.ndarray) -> None:
    for made in (StandardNormal(), Gaussian(), GaussianMixture()):
        made.fit(codes)
        assert np.isfinite(made.log_prob(codes)).all()
        assert np.isfinite(made.sample(3)).all()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((0, 3)), r"of at least one code, not of shape \(0, 3\)"),
        (np.zeros((3, 0)), r"not of shape \(3, 0\)"),
        (np.zeros(3), r"not of shape \(3,\)"),
        (np.array([[0.0], [np.nan]]), "code 1 is not finite in float32"),
        (np.array([[0.0], [1.0], [-np.inf]]), "code 2 is not finite"),
        (np.array([[1e39]]), "code 0 is not finite in float32"),
        ([["a"]], "codes must be an array of numbers"),
        ([[1.0], [1.0, 2.0]], "codes must be an array of numbers"),
    ],
)
def test_bad_codes_are_refused(prior: Prior, codes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prior.fit(codes)


def test_another_width_is_refused(prior: Prior) -> None:
    prior.fit(normal_codes(50, 3))
    with pytest.raises(DataError, match="codes of 4 coordinates given, but this prior is of 3"):
        prior.log_prob(np.zeros((2, 4)))


@pytest.mark.parametrize(("n", "seed"), [(0, 0), (-1, 0), (2.0, 0), (True, 0), (1, -1), (1, None), (1, 0.5)])
def test_bad_draws_are_refused(prior: Prior, n: Any, seed: Any) -> None:
    prior.fit(normal_codes(50, 3))
    with pytest.raises(SettingError, match="give a whole number from"):
        prior.sample(n, seed)


def test_threads_change_no_sample(prior: Prior) -> None:
    from threadpoolctl import threadpool_limits

    prior.fit(normal_codes(500, 40))
    with threadpool_limits(1):
        alone = prior.sample(3000)
    with threadpool_limits(2):
        np.testing.assert_array_equal(prior.sample(3000), alone)


# ---------------------------------------------------------------------------------------------- each


def test_standard_normal_is_that_of_scipy() -> None:
    made, codes = StandardNormal(3), normal_codes(20, 3)
    wanted = stats.multivariate_normal(np.zeros(3), np.eye(3)).logpdf(codes.astype(np.float64))
    np.testing.assert_allclose(made.log_prob(codes), wanted)
    assert made.describe() == "standard normal"
    assert stats.kstest(made.sample(3000).ravel(), "norm").pvalue > 1e-3
    with pytest.raises(DataError, match="codes of 4 coordinates given, but this prior was made for 3"):
        made.fit(np.zeros((2, 4)))
    with pytest.raises(SettingError, match="latent_dim=0"):
        StandardNormal(0)


def test_gaussian_is_that_of_scipy() -> None:
    codes = normal_codes(5000, 6).astype(np.float64)
    made = Gaussian().fit(codes)
    covariance = made.cholesky_ @ made.cholesky_.T
    np.testing.assert_allclose(made.mean_, codes.mean(0))
    np.testing.assert_allclose(np.diag(covariance), codes.var(0))  # variances are never shrunk
    scale = np.sqrt(np.outer(codes.var(0), codes.var(0)))
    np.testing.assert_allclose(covariance / scale, np.cov(codes.T, bias=True) / scale, atol=2e-3)
    wanted = stats.multivariate_normal(made.mean_, covariance).logpdf(codes)
    np.testing.assert_allclose(made.log_prob(codes), wanted)
    drawn = made.sample(50_000).astype(np.float64)
    np.testing.assert_allclose(np.cov(drawn.T) / scale, covariance / scale, atol=0.03)
    np.testing.assert_allclose(drawn.mean(0) / np.sqrt(np.diag(scale)), made.mean_ / np.sqrt(np.diag(scale)), atol=0.02)


def test_gaussian_of_principal_components_is_exact() -> None:
    """Uncorrelated codes stay so: PCA with this prior is probabilistic PCA, whatever n."""
    for n in (15, 400):
        codes = PCA(4).fit_transform(normal_codes(n, 6).astype(np.float64))
        made = Gaussian().fit(codes)
        np.testing.assert_allclose(made.cholesky_, np.diag(codes.std(0)), atol=1e-6 * codes.std())


def test_shrinking_helps_where_codes_are_few() -> None:
    """Held-out density with 30 codes of 20 coordinates: far above that of the plain covariance."""
    codes = normal_codes(2030, 20).astype(np.float64)
    few, others = codes[:30], codes[30:]
    plain = stats.multivariate_normal(few.mean(0), np.cov(few.T, bias=True)).logpdf(others).mean()
    assert Gaussian().fit(few).log_prob(others).mean() > plain + 5


def test_shrinking_leaves_many_codes_alone() -> None:
    """Codes that are far from round, whose small directions any shrinking would blow up."""
    codes = normal_codes(4000, 30).astype(np.float64)
    many, others = codes[:2000], codes[2000:]
    plain = stats.multivariate_normal(many.mean(0), np.cov(many.T, bias=True)).logpdf(others).mean()
    assert Gaussian().fit(many).log_prob(others).mean() > plain - 0.01


def test_shrinkage_is_the_best_for_codes_left_out() -> None:
    """The closed form against leaving out one code after the other."""
    codes = normal_codes(12, 4).astype(np.float64)
    standard = (codes - codes.mean(0)) / codes.std(0)
    losses = []
    for share in np.logspace(-6, 0, 25):
        scores = []
        for i in range(12):
            rest = np.delete(standard, i, 0)
            covariance = (1 - share) * np.cov(rest.T, bias=True) + share * np.eye(4)
            scores.append(stats.multivariate_normal(rest.mean(0), covariance).logpdf(standard[i]))
        losses.append(-np.mean(scores))
    found = priors._shrinkage(standard, np.corrcoef(standard.T))
    assert found == np.logspace(-6, 0, 25)[np.argmin(losses)]
    assert 1e-5 < found < 1


def test_mixture_finds_the_clusters() -> None:
    codes = clusters(4000)
    made = GaussianMixture().fit(codes)
    assert made.describe() == "Gaussian mixture of 4, chosen by BIC"
    order = np.argsort(made.weights_)
    np.testing.assert_allclose(made.weights_[order], [0.1, 0.2, 0.3, 0.4], atol=0.03)
    np.testing.assert_allclose(made.means_[order], [[0, 0], [8, 0], [0, 8], [8, 8]], atol=0.2)
    for spread in made.spread_:
        lower = made.frame_ @ spread
        np.testing.assert_allclose(lower @ lower.T, np.eye(2), atol=0.2)
    other = clusters(4000, seed=9)
    truth = np.log(
        sum(
            weight * stats.multivariate_normal(centre, np.eye(2)).pdf(other)
            for weight, centre in zip([0.1, 0.2, 0.3, 0.4], [[0, 0], [8, 0], [0, 8], [8, 8]], strict=True)
        )
    )
    assert truth.mean() - made.log_prob(other).mean() == pytest.approx(0, abs=0.02)
    assert made.log_prob(other).mean() > Gaussian().fit(codes).log_prob(other).mean() + 0.5
    drawn = made.sample(4000)
    corners = (drawn > 4) @ [1, 2]
    np.testing.assert_allclose(np.bincount(corners) / 4000, [0.1, 0.2, 0.3, 0.4], atol=0.04)


@pytest.mark.parametrize("width", [3, 70])
def test_mixture_density_is_that_of_its_parts(width: int) -> None:
    codes = normal_codes(300, width).astype(np.float64)
    made = GaussianMixture(2).fit(codes)
    assert made.spread_.ndim == (3 if width == 3 else 2)
    lowers = [made.frame_ @ (spread if spread.ndim == 2 else np.diag(spread)) for spread in made.spread_]
    parts = [
        np.log(weight) + stats.multivariate_normal(mean, lower @ lower.T, allow_singular=True).logpdf(codes)
        for weight, mean, lower in zip(made.weights_, made.means_, lowers, strict=True)
    ]
    np.testing.assert_allclose(made.log_prob(codes), np.logaddexp(*parts), rtol=1e-6)
    assert made.weights_.sum() == pytest.approx(1)


@pytest.mark.parametrize("width", [3, 70])
def test_mixture_of_one_normal_is_the_gaussian(width: int) -> None:
    codes = normal_codes(2000, width)
    made = GaussianMixture().fit(codes)
    assert made.describe() == "Gaussian mixture of 1, chosen by BIC"
    wanted = Gaussian().fit(codes).log_prob(codes)
    assert made.log_prob(codes).mean() == pytest.approx(wanted.mean(), abs=0.02)


def test_mixture_counts_as_asked_and_says_so() -> None:
    made = GaussianMixture(3).fit(clusters(200))
    assert made.describe() == "Gaussian mixture of 3"
    assert made.weights_.shape == (3,)


def test_mixture_does_not_fall_into_repeated_codes() -> None:
    """Codes that stand on a few points invite components of no width; the least variance keeps the density bounded."""
    codes = np.random.default_rng(0).integers(0, 2, (500, 3)).astype(np.float32)
    made = GaussianMixture().fit(codes)
    assert made.log_prob(codes).max() < 3 * 7


def test_mixture_of_many_codes_uses_a_part_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GaussianMixture, "MOST_CODES", 500)
    made = GaussianMixture().fit(clusters(4000))
    assert made.describe() == "Gaussian mixture of 4, chosen by BIC"
    assert GaussianMixture(seed=1).fit(clusters(4000)).means_[0, 0] != made.means_[0, 0]


@pytest.mark.parametrize("setting", [{"components": 0}, {"components": 2.0}, {"seed": -1}, {"seed": None}])
def test_mixture_settings_are_checked(setting: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="give a whole number from"):
        GaussianMixture(**setting)


# ---------------------------------------------------------------------------------------------- settings and files


def test_prior_of() -> None:
    assert isinstance(prior_of("standard_normal"), StandardNormal)
    assert isinstance(prior_of("gaussian"), Gaussian)
    assert isinstance(prior_of("mixture"), GaussianMixture)
    own = GaussianMixture(2)
    copied = prior_of(own)
    copied.fit(clusters(50))
    assert copied is not own
    assert not hasattr(own, "weights_")
    for setting in ("normal", None, 3, Gaussian):
        with pytest.raises(SettingError, match="choose one of standard_normal, gaussian, mixture, or give a Prior"):
            prior_of(setting)  # type: ignore[arg-type]


def spoiled() -> list[Any]:
    """Saved priors, each with one thing wrong."""
    gaussian, mixture = Gaussian().fit(normal_codes(50, 2)), GaussianMixture(2).fit(clusters(50))
    g, m = (gaussian.to_json(), gaussian.arrays()), (mixture.to_json(), mixture.arrays())
    cases: list[Any] = [(None, {}), ({}, {}), ({"word": ["gaussian"]}, {}), ({"word": "own", "latent_dim": 2}, {})]
    cases += [
        ({"word": "standard_normal"}, {}),
        ({"word": "standard_normal", "latent_dim": 0}, {}),
        ({"word": "standard_normal", "latent_dim": 2}, g[1]),
    ]
    cases += [({"word": "standard_normal", "latent_dim": 2, "more": 1}, {})]
    cases += [(g[0] | change, g[1]) for change in ({"latent_dim": 3}, {"latent_dim": "2"}, {"more": 1})]
    cases += [(m[0] | change, m[1]) for change in ({"components": 0}, {"seed": "x"}, {"latent_dim": 3})]
    cases += [({name: value for name, value in m[0].items() if name != "seed"}, m[1])]
    for saved, good in (g, m):
        cases += [(saved, {}), (saved, good | {"more": np.zeros(1)})]
        for name, array in good.items():
            nan = array.copy()
            nan.flat[0] = np.nan
            cases += [(saved, good | {name: bad}) for bad in (nan, array[..., :1], array[:0], np.array(["a"]), -array)
                      if not (name in ("mean", "means") and bad is not nan and bad.shape == array.shape)]  # fmt: skip
    cases += [(m[0], m[1] | {"weights": 2 * m[1]["weights"]})]
    cases += [(g[0], g[1] | {"cholesky": g[1]["cholesky"].T})]
    return cases


@pytest.mark.parametrize("case", range(len(spoiled())))
def test_damaged_files_are_refused(case: int) -> None:
    saved, given_arrays = spoiled()[case]
    with pytest.raises(DamagedFileError, match="the file"):
        prior_from_json(saved, given_arrays)


def test_words_are_those_of_the_classes() -> None:
    assert priors.WORDS == ("standard_normal", "gaussian", "mixture")
