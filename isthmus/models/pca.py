"""Principal component analysis: the best linear embedding, in closed form.

Pearson 1901; Hotelling 1933. As a probability model: Tipping & Bishop 1999, "Probabilistic principal component
analysis".

Shapes: n items, D elements of an item (its axes flattened), K components.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import scipy.linalg
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import priors
from isthmus.errors import DataError, SettingError
from isthmus.formats.base import Format
from isthmus.formats.series import SeriesFormat
from isthmus.formats.tables import TableFormat
from isthmus.formats.vectors import VectorFormat
from isthmus.likelihoods import Gaussian
from isthmus.metrics import knee
from isthmus.models.conditional import conditional_of
from isthmus.models.embedding import Embedding, require_switch
from isthmus.models.projection import Projection
from isthmus.threads import in_threads

__all__ = ["PCA"]

DEFAULT_LATENTS = 16  # a map needs 2, a small picture some 10 to 30
MOST_LATENTS = 64  # where latent_dim="auto" stops looking
PIECE = 2**21  # elements of the data made float at a time: 8 MiB, which stays in the cache
LATER = ("latent_dim_", "likelihood_", "prior_", "noise_variance_", "history_")  # left by partial_fit until asked for
SHARES = 4  # of the pieces, that threads may work at side by side; fixed, for sums have to run in one order
PRIOR_CODES = 200_000  # to which a prior is fitted, from all over the items
WIDEST = 16_384  # elements of an item for which the covariance (2 GiB) is still formed


class _Spectrum(NamedTuple):
    """The solved problem: what is kept of a decomposition."""

    mean: np.ndarray  # (D,) of the scaled view
    components: np.ndarray  # (r, D)
    variances: np.ndarray  # (r,) falling
    total: float  # variance of all D dimensions together
    rank: int  # min(n, D)


class PCA(Embedding):
    """The linear embedding of least squared error.

    Parameters
    ----------
    latent_dim : number K of components, from 1 to min(n, D); "auto" reads the knee of the error curve
        (``isthmus.metrics.knee``); None, the default, is 16 or what is possible if that is less
    whiten : divide codes by their standard deviation, so that each coordinate has variance one
    prior : of the codes. None: the normal with their variances, which makes it probabilistic PCA. "mixture" or a Prior
        is fitted to the codes: with ``priors.GaussianMixture`` it is a mixture of normals of items, whose components
        tell flat from edged and grained ones (Zoran & Weiss 2011). Not with ``partial_fit``
    format : a Format, "vector", "image" or "series"; None finds it. Vectors and series are centred and not
        standardised, as in scikit-learn's PCA; give ``VectorFormat("standard")`` to have columns weigh alike. Tables
        are seen in the "weighed" view; ``TableFormat(view="linear")`` gives each column variance one (factor analysis
        of mixed data)

    Attributes
    ----------
    components_ : (K, D) float64, orthonormal rows, of falling variance; the largest entry of each is positive
    explained_variance_, explained_variance_ratio_, singular_values_ : (K,) float64; variances divide by n - 1
    mean_ : (D,) float64, in the user's unit (pixels in [0, 1] for images), as are all of these
    noise_variance_ : float, mean variance of the components left out
    n_samples_ : int

    Examples
    --------
    >>> import isthmus as im
    >>> model = im.PCA(latent_dim=16).fit(im.datasets.digits())
    >>> model.encode(im.datasets.digits()).shape
    (1797, 16)
    """

    word: ClassVar[str] = "pca"
    _moments: tuple[Tensor, Tensor] | None  # mean and scatter of the pieces of partial_fit
    _solved: _Spectrum | None
    _prior_fitted: bool  # to codes, rather than told by the variances

    def __init__(
        self, latent_dim: int | str | None = None, *, whiten: bool = False, prior: Any = None, format: Any = None
    ) -> None:
        self.latent_dim = latent_dim
        self.whiten = whiten
        self.prior = prior
        self.format = format

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Learn from one more piece of the data; the result is that of ``fit`` on all pieces together.

        Exact: keeps mean and scatter matrix (D x D) of what was seen (Chan, Golub & LeVeque 1983). The first piece
        decides the format. Components are worked out when they are next asked for.

        Raises
        ------
        DataError : D is above 16,384, where the scatter matrix no longer fits
        """
        if self.prior is not None:
            raise SettingError(f"prior={self.prior!r} is fitted to the codes of all items at once: use fit, or leave "
                               "prior=None, which needs no second look at the pieces")  # fmt: skip
        with self._as_before_on_failure():
            if getattr(self, "_moments", None) is None:
                self._require_settings()
                stored = self._adopt(X)
                self.n_samples_, self._moments, self._conditional = 0, None, None
                self._prior_fitted = False
            else:
                stored = self._stored(X)
            _require_narrow(self.format_.spec.size)
            count, mean, scatter = _mean_and_scatter(self.format_, stored)
            if self._moments is not None:
                mean_before, scatter_before = self._moments
                total, apart = self.n_samples_ + count, mean - mean_before
                scatter += scatter_before + torch.outer(apart, apart) * (self.n_samples_ * count / total)
                mean, count = mean_before + apart * (count / total), total
            self.n_samples_, self._moments, self._solved = count, (mean, scatter), None
            for name in LATER:
                self.__dict__.pop(name, None)
        return self

    def __getattr__(self, name: str) -> Any:
        """What ``partial_fit`` left to be worked out when it is asked for."""
        if name in LATER and vars(self).get("_moments") is not None:
            self._settle(self._spectrum)
            return vars(self)[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _require_settings(self) -> None:
        super()._require_settings()
        require_switch(whiten=self.whiten)
        if self.prior is not None:
            priors.prior_of(self.prior)

    def _format_for(self, X: Any) -> Format:
        made = super()._format_for(X)
        if not isinstance(self.format, Format) and isinstance(made, (VectorFormat, SeriesFormat)):
            return type(made)(scale="centre")
        if isinstance(made, TableFormat) and made.view == "columns":
            return TableFormat(made.kinds, view="weighed")
        return made

    def _learn(self, stored: Tensor, y: Any) -> None:
        self.n_samples_, self._moments, self._prior_fitted = len(stored), None, self.prior is not None
        size = self.format_.spec.size
        if isinstance(self.format_, TableFormat):
            self._conditional = conditional_of(self.format_, stored)
        if len(stored) >= size:
            _require_narrow(size)
            _, mean, scatter = _mean_and_scatter(self.format_, stored)
            self._settle(_from_covariance(mean, scatter, self.n_samples_, self._wanted(size)))
        else:
            x = self.format_.scale(stored[:])  # fewer rows than elements: small, wherever they lie
            self._settle(_from_data(torch.nan_to_num(x).flatten(1).double().numpy()))
        if self.prior is not None:
            some = stored[:: max(len(stored) // PRIOR_CODES, 1)]
            self.prior_ = priors.prior_of(self.prior).fit(self._in_blocks(self._encode_stored, some).numpy())

    def _wanted(self, dimensions: int) -> int:
        """How many components to work out."""
        possible = min(self.n_samples_, dimensions)
        if self.latent_dim is None:
            return min(DEFAULT_LATENTS, possible)
        if self.latent_dim == "auto":
            return min(MOST_LATENTS, possible)
        if int(self.latent_dim) > possible:
            raise SettingError(
                f"latent_dim={self.latent_dim} is above what is possible: {self.n_samples_} items of {dimensions} "
                f"elements have at most {possible} principal components"
            )
        return int(self.latent_dim)

    def _settle(self, spectrum: _Spectrum) -> None:
        """From a spectrum to everything that the embedding is asked for."""
        k = self._wanted(len(spectrum.mean))
        if self.latent_dim == "auto":
            k = knee(spectrum.total - np.cumsum(spectrum.variances[:k]), spectrum.total)
        self._solved, self.history_ = spectrum, {"items": self.n_samples_}
        self._keep(k)

    def _keep(self, k: int) -> None:
        """The first k components, and noise in place of the others."""
        spectrum = self._spectrum
        self.latent_dim_ = k
        left_out = len(spectrum.mean) - k
        remaining = max(spectrum.total - float(spectrum.variances[:k].sum()), 0.0)
        # An exact fit has no noise, and a density needs some. Where cells are missing, codes lean on what is there, and
        # without noise they would lean on the last digit: a tenth of a column's deviation is left open there.
        least = 1e-2 if self.format_.spec.kind == "table" else 1e-12
        floor = max(spectrum.total, 1e-30) * least / len(spectrum.mean)
        self.noise_variance_ = max(remaining / left_out if left_out else 0.0, floor)
        self.likelihood_ = Gaussian(variance=self.noise_variance_)
        variances = np.ones(k) if self.whiten else spectrum.variances[:k]
        self.prior_ = _gaussian(np.maximum(variances, floor))

    def truncate(self, k: int) -> Self:
        shorter = super().truncate(k)
        own = shorter.prior_
        shorter._keep(shorter.latent_dim_)  # what is left out now is noise
        if self._prior_fitted:
            shorter.prior_ = own
        return shorter

    def untrained(self) -> Self:
        """K random orthonormal directions in place of the components: a baseline for any claim."""
        bare = copy.deepcopy(self)
        spectrum = self._spectrum
        drawn = np.random.default_rng(1).standard_normal((len(spectrum.mean), self.latent_dim_))
        bare._conditional = None
        bare._solved = spectrum._replace(components=np.linalg.qr(drawn)[0].T)
        return bare

    @property
    def _spectrum(self) -> _Spectrum:
        check_is_fitted(self, "format_")
        if self._solved is None:
            assert self._moments is not None
            mean, scatter = self._moments
            spectrum = _from_covariance(mean, scatter, self.n_samples_, self._wanted(len(mean)))
            self._settle(spectrum)
            return spectrum
        return self._solved

    @property
    def components_(self) -> np.ndarray:
        return self._spectrum.components[: self.latent_dim_]

    @property
    def mean_(self) -> np.ndarray:
        """Mean item, flattened, in the user's unit (for images: pixels in [0, 1])."""
        mean = self._spectrum.mean
        if self.format_.spec.kind in ("image", "table"):
            return mean
        shaped = torch.from_numpy(mean).reshape(1, *self.format_.spec.shape)
        return self.format_.unscale(shaped).flatten().numpy()

    @property
    def explained_variance_(self) -> np.ndarray:
        return self._spectrum.variances[: self.latent_dim_]

    @property
    def explained_variance_ratio_(self) -> np.ndarray:
        return self.explained_variance_ / (self._spectrum.total or 1.0)

    @property
    def singular_values_(self) -> np.ndarray:
        return np.sqrt(self.explained_variance_ * max(self.n_samples_ - 1, 1))

    @property
    def _ordered(self) -> bool:
        return True

    def _encode(self, x: Tensor) -> Tensor:
        mean, forward, _ = self._matrices()
        if self.format_.spec.kind != "table":
            return (x.flatten(1) - mean) @ forward
        whole = (torch.nan_to_num(x) - mean) @ forward
        holes = x.isnan().any(1, keepdim=True)
        return torch.where(holes, self._from_what_is_there(x)[0], whole)

    def _encode_stored(self, stored: Tensor) -> Tensor:
        if isinstance(self.format_, TableFormat):
            return self._projection(self.format_._elements(self.format_.require(stored)))
        return super()._encode_stored(stored)

    def _encoded(self, X: Any) -> Iterator[Tensor]:
        if isinstance(self.format_, TableFormat):
            _ = self._projection  # made before threads ask for it
        return super()._encoded(X)

    def _codes_of_columns(self, x: np.ndarray) -> Tensor:
        return self._projection.of_columns(x)

    @property
    def _projection(self) -> Projection:
        """Of a table; made once, for it takes longer than a block of rows."""
        spectrum, k = self._spectrum, self.latent_dim_
        known = vars(self).get("_known")
        if known is None or known[0] is not spectrum or known[1] != k:
            assert isinstance(self.format_, TableFormat)
            noise = self.noise_variance_
            variances = np.maximum(spectrum.variances[:k] - noise, 1e-9 * noise)
            made = Projection(self.format_._view, spectrum.mean, spectrum.components[:k], variances, noise,
                               self._spread)  # fmt: skip
            known = self._known = (spectrum, k, made)
        return known[2]

    @property
    def _spread(self) -> np.ndarray:
        """(K,) by which codes are divided."""
        k = self.latent_dim_
        return np.sqrt(np.maximum(self._spectrum.variances[:k], 1e-30)) if self.whiten else np.ones(k)

    def _from_what_is_there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (B, D) with holes, NaN: codes (B, K) float32, and log p of what is there (B,) float64.

        The posterior mean of probabilistic PCA given the elements that are there (Tipping & Bishop 1999, section 4).
        """
        spectrum, k, noise = self._spectrum, self.latent_dim_, self.noise_variance_
        there = ~x.isnan()
        apart = torch.nan_to_num(x.double() - torch.from_numpy(spectrum.mean))
        lines = torch.from_numpy(spectrum.components[:k])  # (K, D)
        variances = torch.from_numpy(np.maximum(spectrum.variances[:k] - noise, 1e-9 * noise))
        crossed = torch.einsum("bd,kd,ld->bkl", there.double(), lines, lines)
        precision = crossed / noise + torch.diag(1 / variances)  # of the posterior, (B, K, K)
        along = apart @ lines.T / noise
        z = torch.linalg.solve(precision, along)
        count = there.sum(1)
        log_determinant = torch.linalg.slogdet(precision)[1] + variances.log().sum() + count * math.log(noise)
        distance = apart.square().sum(1) / noise - (along * z).sum(1)
        log_p = -0.5 * (count * math.log(2 * math.pi) + log_determinant + distance)
        spread = np.sqrt(np.maximum(spectrum.variances[:k], 1e-30)) if self.whiten else np.ones(k)
        return (z / torch.from_numpy(spread)).float(), log_p

    def _decode(self, z: Tensor) -> Tensor:
        mean, _, backward = self._matrices()
        return (z @ backward[: z.shape[1]] + mean).unflatten(1, (1, *self.format_.spec.shape))

    def _matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (D,), encoder (D, K) and decoder (K, D), float32, contiguous."""
        spectrum, k = self._spectrum, self.latent_dim_
        spread = np.sqrt(np.maximum(spectrum.variances[:k], 1e-30)) if self.whiten else np.ones(k)
        forward = spectrum.components[:k].T / spread
        backward = spectrum.components[:k] * spread[:, None]
        return _float32(spectrum.mean), _float32(forward), _float32(backward)

    def _log_likelihood(self, x: Tensor) -> Tensor:
        """Tipping & Bishop 1999, eq. 4: the density of a Gaussian whose covariance is W W' + sigma^2 I."""
        if self.format_.spec.kind == "table":
            return self._from_what_is_there(x)[1]
        spectrum, k = self._spectrum, self.latent_dim_
        noise = self.noise_variance_
        apart = x.flatten(1).double() - torch.from_numpy(spectrum.mean)
        along = apart @ torch.from_numpy(spectrum.components[:k]).T
        variances = torch.from_numpy(np.maximum(spectrum.variances[:k], noise))
        across = (apart.square().sum(1) - along.square().sum(1)).clamp_min(0)
        dimensions = apart.shape[1]
        log_determinant = float(variances.log().sum()) + (dimensions - k) * math.log(noise)
        distance = (along.square() / variances).sum(1) + across / noise
        return -0.5 * (dimensions * math.log(2 * math.pi) + log_determinant + distance)

    def _linear_decoder(self) -> tuple[Tensor, Tensor] | None:
        if self.format_.spec.kind == "table":
            return None
        mean, _, backward = self._matrices()
        return mean, backward

    def _tensors(self) -> dict[str, Tensor]:
        spectrum = self._spectrum
        arrays = {"mean": spectrum.mean, "components": spectrum.components, "variances": spectrum.variances}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def _learned(self) -> dict[str, Any]:
        spectrum = self._spectrum
        return {"total": spectrum.total, "rank": spectrum.rank, "n_samples": self.n_samples_,
                "noise_variance": self.noise_variance_, "prior_fitted": self._prior_fitted}  # fmt: skip

    def _restore(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        arrays = {name: tensors[name].numpy() for name in ("mean", "components", "variances")}
        size = self.format_.spec.size
        kept = len(arrays["variances"])
        if (arrays["mean"].shape, arrays["components"].shape) != ((size,), (kept, size)) or kept < self.latent_dim_:
            raise ValueError("the arrays of the components do not fit the format and latent_dim")
        self._moments, self._prior_fitted = None, bool(learned.get("prior_fitted", False))
        self._solved = _Spectrum(**arrays, total=float(learned["total"]), rank=int(learned["rank"]))
        self.n_samples_, self.noise_variance_ = int(learned["n_samples"]), float(learned["noise_variance"])


def _float32(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _gaussian(variances: np.ndarray) -> priors.Gaussian:
    """The normal of uncorrelated codes."""
    prior = priors.Gaussian()
    prior.latent_dim_, prior.mean_ = len(variances), np.zeros(len(variances))
    prior.cholesky_ = np.diag(np.sqrt(variances))
    return prior


def _require_narrow(size: int) -> None:
    if size > WIDEST:
        raise DataError(
            f"items of {size} elements would need a covariance of that side squared; at most {WIDEST} are taken. "
            "Make the items smaller (images: size=), or give fewer items than elements to fit"
        )


def _mean_and_scatter(format: Format, stored: Tensor) -> tuple[int, Tensor, Tensor]:
    """n, mean (D,) and scatter sum (x - mean)(x - mean)' (D, D), float64, of the scaled view, made piece by piece.

    Products run in float32 where the stored values are that short, about a provisional mean so that little cancels;
    pieces add up in float64.
    """
    size = format.spec.size
    piece = PIECE // 4 if format.spec.kind == "table" else PIECE  # of whose view many copies are made on the way
    rows = max(min(piece // size, -(-len(stored) // SHARES)), 1)
    wide = stored.dtype in (torch.float64, torch.int64)
    # Where all that scaling does is to subtract, it can be done to the mean: the items are read as they lie.
    offset = None
    if isinstance(format, (VectorFormat, SeriesFormat)) and format.scale_ == "centre" and stored.dtype == torch.float32:
        offset = format.scaling_.offset

    def read(some: Tensor) -> Tensor:
        x = (some if offset is not None else format.scale(some)).flatten(1)
        return torch.nan_to_num(x) if format.spec.kind == "table" else x  # in a hole stands the mean, which is 0 there

    first = read(stored[:1000])
    shift = first.mean(0)
    apart = bool((shift.abs() > 2 * first.std(0, correction=0)).any())  # little cancels in centred data
    shift = shift if apart else torch.zeros(size)

    def of_rows(some: range) -> tuple[np.ndarray, np.ndarray]:
        total, scatter = np.zeros(size), np.zeros((size, size))
        for start in some:
            piece = read(stored[start : start + rows])
            if apart:
                piece = piece - shift  # not in place: it may be the user's data
            x = (piece.double() if wide else piece).numpy()
            total += np.ones(len(x), x.dtype) @ x
            scatter += x.T @ x  # NumPy sees that this is symmetric, and makes half of it
        return total, scatter

    starts = range(0, len(stored), rows)
    shares = [starts[part::SHARES] for part in range(min(SHARES, len(starts)))]
    found = in_threads(of_rows, shares)
    total, scatter = (np.sum(parts, axis=0) for parts in zip(*found, strict=True))
    mean = total / len(stored)
    scatter -= np.outer(mean, total)
    mean += shift.numpy()
    if offset is not None:
        mean -= np.repeat(offset, size // len(offset))
    return len(stored), torch.from_numpy(mean), torch.from_numpy(scatter)


def _from_covariance(mean: Tensor, scatter: Tensor, n: int, wanted: int) -> _Spectrum:
    """The leading eigenvectors of the covariance."""
    size = len(mean)
    covariance = (scatter / max(n - 1, 1)).numpy()
    values, vectors = scipy.linalg.eigh(covariance, subset_by_index=(size - wanted, size - 1), driver="evr")
    components = _fix_signs(vectors.T[::-1])
    return _Spectrum(mean.numpy(), components, np.maximum(values[::-1], 0.0), float(np.trace(covariance)), min(n, size))


def _from_data(x: np.ndarray) -> _Spectrum:
    """The singular vectors of the centred data (n, D), n below D."""
    mean = x.mean(0)
    _, singular, rows = scipy.linalg.svd(x - mean, full_matrices=False)
    variances = singular**2 / max(len(x) - 1, 1)
    return _Spectrum(mean, _fix_signs(rows), variances, float(variances.sum()), min(x.shape))


def _fix_signs(components: np.ndarray) -> np.ndarray:
    """The largest entry of each row made positive, so that a refit agrees."""
    largest = np.abs(components).argmax(1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return np.ascontiguousarray(components * np.where(signs == 0, 1.0, signs)[:, None])
