"""What reconstructions and codes are worth: functions of arrays, each with its unit.

Arrays are NumPy's or torch's, on any device, of any numeric dtype. Items lie along the first axis; all other axes are
elements of an item. Sums are made in float64, a few megabytes at a time, so 60,000 images need no copy of themselves.

Shapes, said once: n items; D elements of an item; K coordinates of a code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from isthmus.errors import DataError, SettingError

__all__ = [
    "active_units",
    "bits_per_dimension",
    "knee",
    "knn_accuracy",
    "l2_distance",
    "mse",
    "principal_angles",
    "psnr",
    "squared_error",
    "trustworthiness",
]

CHUNK = 2**19  # elements looked at in one go: 4 MiB of float64


class Sized(Protocol):
    """What ``bits_per_dimension`` asks of a Spec, which stands a floor above."""

    @property
    def kind(self) -> Any: ...
    @property
    def levels(self) -> int | None: ...
    @property
    def size(self) -> int: ...


# ---------------------------------------------------------------------------------------------- errors of items


def squared_error(x: Any, x2: Any) -> np.ndarray:
    """||x - x~||^2 of each item, (n,) float64: **summed** over its elements, not averaged.

    Unit: that of an element, squared. Elements that are NaN in x, holes of a table, are left out. Raises DataError
    where the shapes differ or there is no item.
    """
    _require_pair(x, x2)
    pieces = []
    for rows in _chunks(x):
        one = _piece(x, rows)
        apart = one - _piece(x2, rows)
        total = np.square(apart).sum(1)
        if np.isnan(total).any():
            total = np.square(np.where(np.isnan(one), 0, apart)).sum(1)
        pieces.append(total)
    return np.concatenate(pieces)


def l2_distance(x: Any, x2: Any) -> np.ndarray:
    """||x - x~|| of each item, (n,) float64: the root of ``squared_error``, in the unit of an element."""
    return np.sqrt(squared_error(x, x2))


def mse(x: Any, x2: Any) -> np.ndarray:
    """Squared error **averaged** over the elements of each item, (n,) float64; ``squared_error`` / D.

    Unit: that of an element, squared. The mean over items is the MSE of all.
    """
    return squared_error(x, x2) / math.prod(tuple(x.shape[1:]))


def psnr(x: Any, x2: Any, peak: float = 1.0) -> np.ndarray:
    """Peak signal-to-noise ratio of each item in dB, (n,) float64: 10 log10(peak^2 / MSE); infinite for an exact copy.

    The mean over items is above the PSNR of the mean MSE: say which one a table gives.

    Parameters
    ----------
    peak : greatest value minus least of an element. Default 1, for images in [0, 1]; 255 for bytes

    Raises DataError where the shapes differ or there is no item, SettingError for a peak that is not positive.
    """
    if not 0 < peak < math.inf:
        raise SettingError(f"peak={peak!r}: give the range of the values, above 0: 1 for [0, 1], 255 for bytes")
    with np.errstate(divide="ignore"):
        return 10 * np.log10(peak**2 / mse(x, x2))


def bits_per_dimension(nats_per_item: Any, spec: Sized, discrete: bool) -> Any:
    """Negative log-likelihoods of items, in nats, as bits per element: nats / (D log 2).

    A density knows no bits. Of an image with levels, each level is a bin of width 1 / (levels - 1) in the scaled view
    [0, 1], and its probability is about density times width; so log2(levels - 1) is added, which makes densities
    comparable with the discrete likelihoods. For other data a density gives differential bits, which may be below 0.

    Parameters
    ----------
    nats_per_item : a number or an array of any shape; the result has its shape
    spec : the Spec of the format
    discrete : the likelihood's ``discrete``: whether the nats are of a probability
    """
    bits = nats_per_item / (spec.size * math.log(2))
    levels = spec.levels if spec.kind == "image" and not discrete else None
    return bits if levels is None else bits + math.log2(max(levels - 1, 1))


# ---------------------------------------------------------------------------------------------- codes


def active_units(Z: Any, threshold: float = 0.01, relative: bool = False) -> int:
    """Number of coordinates in use: those whose variance over the items is above a threshold (Burda et al. 2015).

    Parameters
    ----------
    Z : (n, K) codes; of a VAE the posterior means, so that this is Var_x(E[z | x]), Burda's statistic
    threshold : default 0.01, Burda's; in the unit of a code, squared
    relative : default False. True: the threshold is a share of the greatest variance, for codes that have no unit,
        such as an autoencoder's. (The codes of a VAE have that of its prior, whose variance is 1)

    Raises DataError where Z is no (n, K) array.
    """
    _require_rows(Z, "Z")
    if len(Z.shape) != 2:
        raise DataError(f"codes must be an array (n, latent_dim), not of shape {tuple(Z.shape)}")
    n = Z.shape[0]
    mean = sum(_piece(Z, rows).sum(0) for rows in _chunks(Z)) / n
    variance = sum(np.square(_piece(Z, rows) - mean).sum(0) for rows in _chunks(Z)) / n
    return int((variance > threshold * (np.max(variance) if relative else 1.0)).sum())


def knee(errors: Any, nothing: float, enough: float = 0.95) -> int:
    """The smallest k that explains 95 % of what the whole code explains: the rule behind ``latent_dim="auto"``.

    Parameters
    ----------
    errors : (K,) mean squared error with the first 1, 2, ... K coordinates
    nothing : mean squared error without any, of the mean alone
    enough : the share, above 0 and at most 1; default 0.95

    Returns
    -------
    k from 1 to K. The rule has no unit: multiplying all errors by a number changes nothing. Where the code explains
    nothing at all, it is 1.
    """
    if not 0 < enough <= 1:
        raise SettingError(f"enough={enough!r}: give a share above 0 and at most 1")
    explained = nothing - np.minimum.accumulate(np.asarray(errors, dtype=np.float64))
    if not explained[-1] > 0:
        return 1
    return int(np.argmax(explained >= enough * explained[-1])) + 1


def trustworthiness(X: Any, Z: Any, k: int = 5, limit: int = 2000, seed: int = 0) -> float:
    """How far the k nearest neighbours among codes are near among items too, from 0 to 1 (Venna & Kaski 2001).

    1 is best; about 0.5 for codes that have nothing to do with the items. scikit-learn's, on a part of the items,
    since it grows with the square of their number.

    Parameters
    ----------
    X : (n, ...) items, in a view in which Euclidean distance makes sense: the scaled one
    Z : (n, K) codes
    k : neighbours, default 5; below half of the items
    limit : default 2000; of more items, so many are drawn by ``seed``

    Raises DataError where X and Z differ in number, SettingError where k is out of its range.
    """
    from sklearn.manifold import trustworthiness as of_all

    _require_rows(X, "X")
    _require_rows(Z, "Z", X.shape[0])
    rows = _drawn(X.shape[0], limit, seed)
    _require_k(k, (len(rows) - 1) // 2, "below half of the items")
    return float(of_all(_piece(X, rows), _piece(Z, rows), n_neighbors=int(k)))


def knn_accuracy(
    Z_train: Any, y_train: Any, Z_test: Any = None, y_test: Any = None, k: int = 5, limit: int = 10_000, seed: int = 0
) -> float:
    """Share of items, from 0 to 1, whose label is the commonest among those of the k nearest codes.

    Without ``Z_test`` each item of the first set is asked about in turn, itself left out. The first in sorted order
    wins a tie.

    Parameters
    ----------
    Z_train, Z_test : (n, K) codes; distance is Euclidean
    y_train, y_test : (n,) labels of any kind that can be sorted
    k : neighbours, default 5
    limit : default 10,000; of more items to ask about, so many are drawn by ``seed``

    Raises DataError where codes and labels do not go together, SettingError where k is out of its range.
    """
    from sklearn.neighbors import NearestNeighbors

    if (Z_test is None) != (y_test is None):
        raise DataError("give both Z_test and y_test, or neither to leave each item of the first set out in turn")
    labels = _labels(Z_train, y_train, "y_train")
    n, alone = Z_train.shape[0], Z_test is None
    _require_k(k, n - 1 if alone else n, "the number of other codes")
    asked, truth = (Z_train, labels) if alone else (Z_test, _labels(Z_test, y_test, "y_test"))
    if asked.shape[1:] != Z_train.shape[1:]:
        raise DataError(f"Z_test has codes of shape {tuple(asked.shape[1:])}, Z_train {tuple(Z_train.shape[1:])}")
    rows = _drawn(asked.shape[0], limit, seed)
    search = NearestNeighbors(n_neighbors=k + 1 if alone else k, algorithm="brute").fit(_piece(Z_train, slice(None)))
    near = search.kneighbors(_piece(asked, rows), return_distance=False)
    if alone:  # leave out the item itself; where k + 1 copies of it came first, leave out the last of these instead
        own = near == rows[:, None]
        own[~own.any(1), -1] = True
        near = near[~own].reshape(len(rows), k)
    classes, coded = np.unique(labels, return_inverse=True)
    votes = np.zeros((len(rows), len(classes)), dtype=np.int32)
    np.add.at(votes, (np.arange(len(rows))[:, None], coded[near]), 1)
    return float(np.mean(classes[votes.argmax(1)] == truth[rows]))


def principal_angles(A: Any, B: Any) -> np.ndarray:
    """Angles between the spaces that the **columns** of A (D, a) and B (D, b) span, in radians, the greatest first.

    min(a, b) numbers from 0, a shared direction, to pi / 2. Columns need not be orthogonal (Björck & Golub 1973). For
    the spaces of rows, such as PCA's ``components_``, give the transposes. Raises DataError where D differs.
    """
    from scipy.linalg import subspace_angles

    _require_rows(A, "A")
    _require_rows(B, "B")
    if len(A.shape) != 2 or len(B.shape) != 2 or A.shape[0] != B.shape[0] or 0 in (A.shape[1], B.shape[1]):
        shapes = f"{tuple(A.shape)} and {tuple(B.shape)}"
        raise DataError(f"bases must be arrays (D, a) and (D, b) of columns of one length, not of shapes {shapes}")
    return np.asarray(subspace_angles(_piece(A, slice(None)), _piece(B, slice(None))))


# ---------------------------------------------------------------------------------------------- pieces and checks


def _piece(array: Any, rows: slice | np.ndarray) -> np.ndarray:
    """Some items, flat (rows, D), in float64 on the CPU."""
    piece = array[rows]
    if not isinstance(piece, np.ndarray):  # torch's bfloat16 is unknown to NumPy
        piece = piece.detach().cpu().double().numpy()
    return piece.reshape(len(piece), -1).astype(np.float64, copy=False)


def _chunks(array: Any) -> Iterator[slice]:
    """Slices that cover all items, so that each piece stays small."""
    step = max(1, CHUNK // max(1, math.prod(tuple(array.shape[1:]))))
    return (slice(start, start + step) for start in range(0, array.shape[0], step))


def _drawn(n: int, limit: int, seed: int) -> np.ndarray:
    """``limit`` of n places, in order; all where there are no more."""
    return np.arange(n) if n <= limit else np.sort(np.random.default_rng(seed).choice(n, limit, replace=False))


def _require_rows(array: Any, name: str, n: int | None = None) -> None:
    shape = tuple(getattr(array, "shape", ()))
    if len(shape) < 2 or shape[0] == 0 or (n is not None and shape[0] != n):
        wanted = "(n, ...) with at least one item" if n is None else f"({n}, ...)"
        raise DataError(f"{name} must be an array {wanted}, not of shape {shape}")


def _require_pair(x: Any, x2: Any) -> None:
    _require_rows(x, "x")
    if tuple(x.shape) != tuple(getattr(x2, "shape", ())):
        raise DataError(
            f"items of shape {tuple(x.shape)} cannot be compared with others of {tuple(getattr(x2, 'shape', ()))}"
        )


def _require_k(k: int, most: int, reason: str) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= most:
        raise SettingError(f"k={k!r}: give a number of neighbours from 1 to {most}, {reason}")


def _labels(Z: Any, y: Any, name: str) -> np.ndarray:
    """Labels (n,) of codes (n, K)."""
    _require_rows(Z, f"the codes of {name}")
    labels = y.detach().cpu().numpy() if hasattr(y, "detach") else np.asarray(y)
    if labels.shape != (Z.shape[0],):
        raise DataError(f"{name} must be one label for each of {Z.shape[0]} codes, not of shape {labels.shape}")
    return labels
