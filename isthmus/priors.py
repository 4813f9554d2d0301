"""Where in the bottleneck the data lives: distributions of codes, to draw from and to score with.

NumPy in, NumPy out. ``fit`` keeps arrays only; what is drawn from them depends on n and the seed, and on neither
global random state nor the number of threads.

Shapes, said once: n codes; K coordinates of a code; C components of a mixture. A covariance is kept as its Cholesky
factor L, lower triangular with a positive diagonal: covariance = L L'.
"""

from __future__ import annotations

import copy
import math
import warnings
from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np

from isthmus.errors import DamagedFileError, DataError, SettingError

__all__ = ["WORDS", "Gaussian", "GaussianMixture", "Prior", "StandardNormal", "prior_from_json", "prior_of"]

LOG_2PI = math.log(2 * math.pi)
CHUNK = 2**20  # numbers solved for in one go: 8 MiB


class Prior(ABC):
    """A distribution of codes z.

    Attributes
    ----------
    latent_dim_ : int, K, learned by ``fit``
    """

    word: ClassVar[str]  # names the prior in settings and files
    latent_dim_: int

    @abstractmethod
    def fit(self, Z: Any) -> Self:
        """Learn from codes (n, K), n >= 1. Forgets an earlier fit. Raises DataError for what are no finite codes."""

    @abstractmethod
    def log_prob(self, Z: Any) -> np.ndarray:
        """Log-density of codes (n, K) in nats, (n,) float64. Raises DataError for another width or non-finite codes."""

    @abstractmethod
    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """n draws, (n, K) float32; the same n and seed give the same codes. Raises SettingError for n < 1, seed < 0."""

    @abstractmethod
    def first(self, k: int) -> Self:
        """The distribution of the first k coordinates, a new object. Raises SettingError outside 1 .. latent_dim_."""

    @abstractmethod
    def describe(self) -> str:
        """In words, for people: "Gaussian mixture of 8, chosen by BIC"."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Settings, and the number of coordinates."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What was learned, by name, float64."""

    def __repr__(self) -> str:
        state = f"of {self.latent_dim_} coordinates" if hasattr(self, "latent_dim_") else "not fitted"
        return f"<{type(self).__name__} prior, {state}>"

    def _require_fit(self) -> None:
        if not hasattr(self, "latent_dim_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(f"this {type(self).__name__} prior has seen no codes yet: call fit(Z) first")

    def _require_codes(self, Z: Any) -> np.ndarray:
        """Codes of the learned width, in float64."""
        self._require_fit()
        codes = _codes(Z)
        if codes.shape[1] != self.latent_dim_:
            raise DataError(f"codes of {codes.shape[1]} coordinates given, but this prior is of {self.latent_dim_}")
        return codes

    def _random(self, n: int, seed: int) -> tuple[int, np.random.Generator]:
        self._require_fit()
        return _whole("n", n, 1), np.random.default_rng(_whole("seed", seed, 0))

    def _require_k(self, k: int) -> int:
        self._require_fit()
        return _whole("k", k, 1, self.latent_dim_)


class StandardNormal(Prior):
    """Independent normals of mean 0 and variance 1: what a VAE is trained towards.

    Parameters
    ----------
    latent_dim : K. Default None: learned by ``fit``, which learns nothing else

    Raises SettingError for a ``latent_dim`` below 1.
    """

    word = "standard_normal"

    def __init__(self, latent_dim: int | None = None) -> None:
        self.latent_dim = latent_dim
        if latent_dim is not None:
            self.latent_dim_ = _whole("latent_dim", latent_dim, 1)

    def fit(self, Z: Any) -> Self:
        width = _codes(Z).shape[1]
        if self.latent_dim not in (None, width):
            raise DataError(f"codes of {width} coordinates given, but this prior was made for {self.latent_dim}")
        self.latent_dim_ = width
        return self

    def log_prob(self, Z: Any) -> np.ndarray:
        codes = self._require_codes(Z)
        return -0.5 * (np.einsum("nk,nk->n", codes, codes) + self.latent_dim_ * LOG_2PI)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        n, random = self._random(n, seed)
        return random.standard_normal((n, self.latent_dim_)).astype(np.float32)

    def first(self, k: int) -> Self:
        return type(self)(self._require_k(k))

    def describe(self) -> str:
        return "standard normal"

    def to_json(self) -> dict[str, Any]:
        self._require_fit()
        return {"word": self.word, "latent_dim": self.latent_dim_}

    def arrays(self) -> dict[str, np.ndarray]:
        return {}


class Gaussian(Prior):
    """A normal with the mean and the full covariance of the codes. With PCA it makes probabilistic PCA.

    Correlations are shrunk towards none by the share that suits codes left out best: a millionth where codes are many,
    all where there is one, so fewer codes than coordinates work. Variances are never shrunk (and divided by n). A
    coordinate that never changes gets a thousandth of the typical deviation of the others.

    Attributes
    ----------
    mean_ : (K,)
    cholesky_ : (K, K), lower triangular
    """

    word = "gaussian"
    mean_: np.ndarray
    cholesky_: np.ndarray

    def fit(self, Z: Any) -> Self:
        codes = _codes(Z)
        self.mean_, self.cholesky_ = _mean_and_cholesky(codes)
        self.latent_dim_ = codes.shape[1]
        return self

    def log_prob(self, Z: Any) -> np.ndarray:
        codes = self._require_codes(Z)
        white = _solve(self.cholesky_, codes - self.mean_)
        return _log_standard(white) - np.log(np.diag(self.cholesky_)).sum()

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        n, random = self._random(n, seed)
        noise = random.standard_normal((n, self.latent_dim_))
        return (self.mean_ + _times(self.cholesky_, noise)).astype(np.float32)

    def first(self, k: int) -> Self:
        k = self._require_k(k)
        shorter = type(self)()
        shorter.latent_dim_, shorter.mean_, shorter.cholesky_ = k, self.mean_[:k].copy(), self.cholesky_[:k, :k].copy()
        return shorter

    def describe(self) -> str:
        return "Gaussian with the covariance of the codes"

    def to_json(self) -> dict[str, Any]:
        self._require_fit()
        return {"word": self.word, "latent_dim": self.latent_dim_}

    def arrays(self) -> dict[str, np.ndarray]:
        self._require_fit()
        return {"mean": self.mean_, "cholesky": self.cholesky_}


class GaussianMixture(Prior):
    """A mixture of normals, found by expectation-maximisation (scikit-learn's) in whitened codes.

    Whitened by the covariance of all codes, so that the least spread of a component, a hundredth of that of all
    codes, means the same in every direction. Above 64 coordinates the components' covariances are diagonal there;
    correlations that all components share are still kept.

    At most 10,000 codes, or 1,000 for each component asked for, drawn by ``seed``, go through expectation-maximisation:
    hundreds for each of 32 components.

    Parameters
    ----------
    components : C. Default None: 1, 2, 4, ... 32 are tried for as long as the Bayesian information criterion (Schwarz
        1978) gets better and there are, for each component, twice as many codes as coordinates
    seed : default 0, of where the components start and which codes are used

    Attributes
    ----------
    weights_ : (C,), sum to one
    means_ : (C, K)
    frame_ : (K, K), lower triangular, the Cholesky factor of the covariance of all codes
    spread_ : (C, K, K), lower triangular, or (C, K), diagonals. Component c has the factor ``frame_ @ spread_[c]``

    Raises SettingError for a setting out of its range, and in ``fit`` for fewer codes than components.
    """

    word = "mixture"
    MOST_CODES, MOST_EACH = 10_000, 1_000
    WIDEST_FULL = 64  # coordinates; a full covariance has 2,080 numbers there, and more with the square
    LEAST_VARIANCE = 1e-4  # of a component in any direction, in whitened codes

    weights_: np.ndarray
    means_: np.ndarray
    frame_: np.ndarray
    spread_: np.ndarray

    def __init__(self, components: int | None = None, seed: int = 0) -> None:
        self.components = None if components is None else _whole("components", components, 1)
        self.seed = _whole("seed", seed, 0, 2**32 - 1)

    def fit(self, Z: Any) -> Self:
        codes = _codes(Z)
        n, width = codes.shape
        if self.components is not None and self.components > n:
            raise SettingError(
                f"components={self.components}, but {n} codes given: ask for at most {n}, or leave it None"
            )
        mean, frame = _mean_and_cholesky(codes)
        most = max(self.MOST_CODES, self.MOST_EACH * (self.components or 1))
        if n > most:
            rows = np.random.default_rng(self.seed).choice(n, most, replace=False)
            codes, n = codes[np.sort(rows)], most
        # In float32, in two thirds of the time; what is lost is far below the least variance.
        white = _solve(frame, codes - mean).astype(np.float32)
        least = math.inf
        for count in (1, 2, 4, 8, 16, 32) if self.components is None else (self.components,):
            if count > 1 and self.components is None and n < 2 * width * count:
                break
            found = _mixture_of(white, count, self.seed, width <= self.WIDEST_FULL, self.LEAST_VARIANCE)
            criterion = _bic(white, *found)
            if criterion >= least:
                break
            least = criterion
            self.weights_, self.means_, self.spread_ = found[0], mean + _times(frame, found[1]), found[2]
        self.latent_dim_, self.frame_ = width, frame
        return self

    def log_prob(self, Z: Any) -> np.ndarray:
        codes = self._require_codes(Z)
        centre = self.weights_ @ self.means_
        white, means = _solve(self.frame_, codes - centre), _solve(self.frame_, self.means_ - centre)
        return _log_mixture(white, self.weights_, means, self.spread_) - np.log(np.diag(self.frame_)).sum()

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        n, random = self._random(n, seed)
        chosen = random.choice(len(self.weights_), size=n, p=self.weights_)
        white = random.standard_normal((n, self.latent_dim_))
        for component, spread in enumerate(self.spread_):
            rows = chosen == component
            white[rows] = _times(spread, white[rows])
        return (self.means_[chosen] + _times(self.frame_, white)).astype(np.float32)

    def first(self, k: int) -> Self:
        # The first k rows of a product of lower triangular factors need only their first k rows and columns.
        k = self._require_k(k)
        shorter = type(self)(self.components, self.seed)
        shorter.latent_dim_, shorter.frame_ = k, self.frame_[:k, :k].copy()
        shorter.weights_, shorter.means_ = self.weights_.copy(), self.means_[:, :k].copy()
        shorter.spread_ = (self.spread_[:, :k] if self.spread_.ndim == 2 else self.spread_[:, :k, :k]).copy()
        return shorter

    def describe(self) -> str:
        self._require_fit()
        chosen = ", chosen by BIC" if self.components is None else ""
        return f"Gaussian mixture of {len(self.weights_)}{chosen}"

    def to_json(self) -> dict[str, Any]:
        self._require_fit()
        return {"word": self.word, "latent_dim": self.latent_dim_, "components": self.components, "seed": self.seed}

    def arrays(self) -> dict[str, np.ndarray]:
        self._require_fit()
        return {"weights": self.weights_, "means": self.means_, "frame": self.frame_, "spread": self.spread_}


# ---------------------------------------------------------------------------------------------- the mathematics


def _whole(name: str, given: Any, least: int, most: int | None = None) -> int:
    """``given`` as an int from ``least`` to ``most``; SettingError otherwise."""
    whole = isinstance(given, Integral) and not isinstance(given, bool)
    if not whole or given < least or (most is not None and given > most):
        to = "" if most is None else f" to {most}"
        raise SettingError(f"{name}={given!r}: give a whole number from {least}{to}")
    return int(given)


def _codes(Z: Any) -> np.ndarray:
    """Codes as (n, K) float64; DataError for anything else."""
    try:
        codes = np.asarray(Z, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"codes must be an array of numbers (n, latent_dim): {error}") from error
    if codes.ndim != 2 or 0 in codes.shape:
        raise DataError(f"codes must be an array (n, latent_dim) of at least one code, not of shape {codes.shape}")
    far = ~(np.abs(codes) <= np.finfo(np.float32).max).all(1)
    if far.any():
        raise DataError(f"code {int(np.argmax(far))} is not finite in float32: leave it out, or encode it again")
    return codes


def _mean_and_cholesky(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (K,), and Cholesky factor (K, K) of the shrunk covariance that ``Gaussian`` describes."""
    n, mean = len(codes), codes.mean(0)
    centred = codes - mean
    variance, power = np.square(centred).mean(0), np.square(codes).mean(0)
    still = variance <= 1e-14 * power  # codes are float32: a change below 1e-7 of the size is rounding
    typical = variance[~still].mean() if not still.all() else power.mean() or 1.0
    deviation = np.sqrt(np.where(still, 1e-6 * typical, variance))
    standard = np.where(still, 0.0, centred / deviation)
    correlation = standard.T @ standard / n
    np.fill_diagonal(correlation, 1.0)
    correlation *= 1 - _shrinkage(standard, correlation)
    np.fill_diagonal(correlation, 1.0)
    return mean, deviation[:, None] * np.linalg.cholesky(correlation)


def _shrinkage(standard: np.ndarray, correlation: np.ndarray) -> float:
    """The share s, from 1e-6 to 1, for which (1 - s) R + s I gives each code the greatest density when it is left out.

    In closed form (Hoffbeck & Landgrebe 1996, with the mean left out too): without code i the scatter is less by a
    matrix of rank one. Never 0: duplicated coordinates would make the matrix singular.
    """
    n = len(standard)
    if n == 1:
        return 1.0
    grown = n / (n - 1)
    shares = np.logspace(-6, 0, 25)
    values, vectors = np.linalg.eigh(correlation)
    spectra = (1 - shares) * grown * np.maximum(values, 0)[:, None] + shares  # (K, shares)
    distance = np.square(standard @ vectors) @ (1 / spectra)  # (n, shares)
    left = 1 - (1 - shares) * grown / (n - 1) * distance
    left = np.maximum(left, 1e-12)  # rounding alone makes it less
    losses = np.log(spectra).sum(0) + np.mean(np.log(left) + grown**2 * distance / left, axis=0)
    return float(shares[losses.argmin()])


def _solve(lower: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Each row r as the w with ``lower @ w = r``; ``lower`` is a triangle (K, K) or a diagonal (K,)."""
    if lower.ndim == 1:
        return rows / lower
    from scipy.linalg import solve_triangular

    step = max(1, CHUNK // len(lower))
    pieces = [solve_triangular(lower, rows[i : i + step].T, lower=True).T for i in range(0, len(rows), step)]
    return np.concatenate(pieces)


def _times(lower: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``lower @ r`` for each row r. Not by BLAS, whose last bits may differ with the number of threads."""
    return rows * lower if lower.ndim == 1 else np.einsum("nk,jk->nj", rows, lower)


def _log_standard(rows: np.ndarray) -> np.ndarray:
    return -0.5 * (np.einsum("nk,nk->n", rows, rows) + rows.shape[1] * LOG_2PI)


def _log_mixture(white: np.ndarray, weights: np.ndarray, means: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Log-density of a mixture at whitened codes, (n,)."""
    logs = np.empty((len(weights), len(white)))
    for component, (weight, mean, lower) in enumerate(zip(weights, means, spread, strict=True)):
        diagonal = lower if lower.ndim == 1 else np.diag(lower)
        logs[component] = math.log(weight) - np.log(diagonal).sum() + _log_standard(_solve(lower, white - mean))
    highest = logs.max(0)
    return highest + np.log(np.exp(logs - highest).sum(0))


def _bic(white: np.ndarray, weights: np.ndarray, means: np.ndarray, spread: np.ndarray) -> float:
    """Schwarz's criterion, -2 log-likelihood + free numbers x log n: lower is better."""
    n, width = white.shape
    free = len(weights) * (1 + width + (width if spread.ndim == 2 else width * (width + 1) // 2)) - 1
    return float(free * math.log(n) - 2 * _log_mixture(white, weights, means, spread).sum())


def _mixture_of(
    white: np.ndarray, count: int, seed: int, full: bool, least_variance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (C,), means (C, K) and spread (C, K, K) or (C, K) of a mixture fitted to whitened codes."""
    n, width = white.shape
    if count == 1 and n < 2 * width:  # too few for a covariance of their own: that of the whitening, which is shrunk
        spread = np.eye(width) if full else np.ones(width)
        return np.ones(1), white.mean(0, keepdims=True), spread[None]
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as Fitted
    from threadpoolctl import threadpool_limits

    # A looser end than scikit-learn's 1e-3 nats a code: a third of the time for 0.1 nats at most (30 coordinates).
    kind = "full" if full else "diag"
    fitted = Fitted(count, covariance_type=kind, tol=1e-2, reg_covar=least_variance, max_iter=30, random_state=seed)
    # Of few codes each operation is too small to be shared: two threads take longer, and far longer on a busy machine.
    alone = threadpool_limits(1 if n <= GaussianMixture.MOST_CODES else None)
    with alone, warnings.catch_warnings():  # fewer distinct codes than components, or not settled in time: a mixture
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(white)
    covariances = fitted.covariances_.astype(np.float64)
    spread = np.linalg.cholesky(covariances) if full else np.sqrt(covariances)
    weights = np.maximum(fitted.weights_.astype(np.float64), np.finfo(float).tiny)
    return weights / weights.sum(), fitted.means_.astype(np.float64), spread


# ---------------------------------------------------------------------------------------------- settings and files

CLASSES: dict[str, type[Prior]] = {each.word: each for each in (StandardNormal, Gaussian, GaussianMixture)}
WORDS = tuple(CLASSES)


def prior_of(setting: str | Prior) -> Prior:
    """The prior that a user's setting means: one of ``WORDS``, or a Prior, of which a deep copy is taken.

    Raises SettingError for anything else.
    """
    if isinstance(setting, Prior):
        return copy.deepcopy(setting)
    if isinstance(setting, str) and setting in CLASSES:
        return CLASSES[setting]()
    raise SettingError(f"prior={setting!r} is unknown: choose one of {', '.join(WORDS)}, or give a Prior")


def prior_from_json(saved: Any, arrays: dict[str, np.ndarray]) -> Prior:
    """The fitted prior whose ``to_json`` and ``arrays`` gave these.

    Raises DamagedFileError for what those never give.
    """
    word = saved.get("word") if isinstance(saved, dict) else None
    if not isinstance(word, str) or word not in CLASSES:
        raise DamagedFileError(f"the file names no known prior: {saved!r:.200}; known: {', '.join(WORDS)}")
    settings = {name: value for name, value in saved.items() if name not in ("word", "latent_dim")}
    try:
        width = _whole("latent_dim", saved.get("latent_dim"), 1)
        prior = StandardNormal(width) if word == "standard_normal" else CLASSES[word](**settings)
        prior.latent_dim_ = width
        for name, array in _restored(word, width, arrays).items():
            setattr(prior, f"{name}_", array)
    except (SettingError, TypeError, ValueError) as error:
        raise DamagedFileError(f"the file describes an impossible {word} prior: {error}") from error
    if prior.to_json() != saved:
        raise DamagedFileError(f"the file does not describe a {word} prior as Isthmus writes it: {saved!r:.200}")
    return prior


def _restored(word: str, width: int, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays in float64, checked; ValueError naming the one that is wrong."""
    count = np.size(arrays.get("weights", ()))
    flat = np.ndim(arrays.get("spread", ())) == 2
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "standard_normal": {},
        "gaussian": {"mean": (width,), "cholesky": (width, width)},
        "mixture": {
            "weights": (count,),
            "means": (count, width),
            "frame": (width, width),
            "spread": (count, width) if flat else (count, width, width),
        },
    }
    if set(arrays) != set(shapes[word]):
        raise ValueError(f"it has the arrays {sorted(arrays)}, not {sorted(shapes[word])}")
    restored = {name: np.array(array, dtype=np.float64) for name, array in arrays.items()}
    for name, array in restored.items():
        if array.shape != shapes[word][name] or not array.size or not np.isfinite(array).all():
            raise ValueError(f"the array {name!r} of shape {array.shape} should be {shapes[word][name]} finite numbers")
        if name in ("cholesky", "frame", "spread"):
            diagonal = array if name == "spread" and flat else np.diagonal(array, axis1=-2, axis2=-1)
            if (diagonal <= 0).any() or (diagonal is not array and np.triu(array, 1).any()):
                raise ValueError(f"the array {name!r} should be lower triangular with a positive diagonal")
        if name == "weights" and ((array <= 0).any() or abs(array.sum() - 1) > 1e-6):
            raise ValueError("the weights should be positive and sum to one")
    return restored
