"""What made items are worth beside real ones: how like them, how varied, and how little they give away.

Functions of arrays of features, one row an item, in which Euclidean distance makes sense; a copy lies at 0.

Shapes: r real items, m made ones, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from isthmus.errors import DataError, SettingError

__all__ = ["frechet_distance", "precision_recall_density_coverage", "privacy"]

CHUNK = 2**22  # distances worked out in one go: 32 MiB


def precision_recall_density_coverage(real: Any, made: Any, k: int = 5) -> dict[str, float]:
    """How much of what was made lies among real items, and how much of what is real was made.

    Every item has a ball that reaches to its k-th nearest neighbour in its own set.

    Parameters
    ----------
    real, made : (r, F) and (m, F) features
    k : default 5, as in Naeem et al. 2020

    Returns
    -------
    dict of floats:
    "precision", the share of made items inside the ball of a real one, and "recall", the share of real items inside the
    ball of a made one (Kynkäänniemi et al. 2019);
    "density", the mean number of real balls that a made item is in, divided by k, and "coverage", the share of real
    balls that a made item is in (Naeem et al. 2020).

    For two sets of one distribution density is 1 in the mean, and coverage 1 - 2^-k about. Items that lie between all
    others, such as blurred pictures, are inside many balls, and have a high precision; far-flung ones have wide balls,
    which flatter recall. Coverage is deceived by neither.

    Raises
    ------
    DataError : arrays that do not go together
    SettingError : k is not below the number of items of either set
    """
    real, made = _pair(real, made)
    most = min(len(real), len(made)) - 1
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= most:
        raise SettingError(f"k={k!r}: expected a number of neighbours from 1 to {most}, below the number of items")
    around_real, around_made = _radii(real, int(k)), _radii(made, int(k))
    inside = np.zeros(len(made), dtype=np.int64)  # real balls around a made item
    covered, recalled = np.zeros(len(real), dtype=bool), np.zeros(len(real), dtype=bool)
    for rows, distances in _distances(made, real):
        within = distances <= around_real
        inside[rows] = within.sum(1)
        covered |= within.any(0)
        recalled |= (distances <= around_made[rows, None]).any(0)
    return {
        "precision": float((inside > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(inside.mean() / k),
        "coverage": float(covered.mean()),
    }


def frechet_distance(real: Any, made: Any) -> float:
    """Squared Fréchet distance of the normals with the means and covariances of two sets (Dowson & Landau 1982).

    |mean - mean'|^2 + tr(C + C' - 2 (C C')^(1/2)), in the square of the features' unit; 0 for sets that agree. Heusel
    et al. 2017 take the features of one network for it: figures from different feature spaces do not compare.

    Parameters
    ----------
    real, made : (r, F) and (m, F) features, at least two rows each; with few rows the figure is too high

    Raises
    ------
    DataError : arrays that do not go together
    """
    real, made = _pair(real, made)
    apart = real.mean(0) - made.mean(0)
    one, other = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (real, made))
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0)).sum()  # tr (C C')^(1/2)
    return float(max(apart @ apart + np.trace(one) + np.trace(other) - 2 * shared, 0.0))


def privacy(train: Any, held_out: Any, made: Any) -> dict[str, float]:
    """Whether made items give away which items were learned from.

    Parameters
    ----------
    train, held_out : (r, F) features of items that were learned from, and of as many that were not
    made : (m, F) features

    Returns
    -------
    dict of floats:
    "closest", the median distance of a made item to the closest learned one, divided by that of a held-out item: 1 is
    as far as new real items are, 0 are copies;
    "closer", the share of made items that are closer to a learned item than to any held-out one, 0.5 where nothing was
    learned by heart (Platzer & Reutterer 2021); far from all items a few of them decide for many made ones, and it may
    be anything, so it counts where "closest" is at most 1;
    "membership", the area under the ROC curve of an attacker who sees the made items alone and takes for learned what
    lies close to one of them, 0.5 for an attacker who can only guess (Chen et al. 2020, "GAN-Leaks", full black box)

    Raises
    ------
    DataError : arrays that do not go together, or sets of learned and held-out items that differ in size
    """
    from sklearn.metrics import roc_auc_score

    train, held_out = _pair(train, held_out)
    if len(train) != len(held_out):
        raise DataError(
            f"{len(train)} items learned from and {len(held_out)} held out: the closest of more items is closer; give "
            "as many of each"
        )
    made = _pair(train, made)[1]
    to_train, to_held_out = _closest(made, train), _closest(made, held_out)
    usual = float(np.median(_closest(held_out, train)))
    closer = (to_train < to_held_out) + 0.5 * (to_train == to_held_out)
    member = np.repeat([1, 0], len(train))
    scores = -np.concatenate([_closest(train, made), _closest(held_out, made)])
    return {
        "closest": float(np.median(to_train)) / usual if usual > 0 else float("nan"),
        "closer": float(closer.mean()),
        "membership": float(roc_auc_score(member, scores)),
    }


def _pair(one: Any, other: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (n, F) of one width, of two items at least."""
    arrays = [np.asarray(features, dtype=np.float64) for features in (one, other)]
    for features in arrays:
        if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
            raise DataError(f"features of shape {features.shape} given; expected finite numbers (n, F), n from 2")
    if arrays[0].shape[1] != arrays[1].shape[1]:
        raise DataError(f"features of {arrays[0].shape[1]} and {arrays[1].shape[1]} numbers do not compare")
    return arrays[0], arrays[1]


def _distances(rows: np.ndarray, others: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Distances of some rows to all others, a few million at a time; below a millionth of the size they are 0."""
    centre = others.mean(0)
    rows, others = rows - centre, others - centre
    lengths = np.square(rows).sum(1), np.square(others).sum(1)
    step = max(CHUNK // len(others), 1)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        size = lengths[0][part, None] + lengths[1]
        squares = size - 2 * (rows[part] @ others.T)
        yield part, np.sqrt(np.where(squares > 1e-12 * size, squares, 0.0))  # of copies, products leave rounding


def _radii(features: np.ndarray, k: int) -> np.ndarray:
    """Distance of each item to its k-th nearest neighbour; the item itself is the 0-th."""
    return np.concatenate([np.partition(far, k, axis=1)[:, k] for _, far in _distances(features, features)])


def _closest(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.concatenate([far.min(1) for _, far in _distances(rows, others)])
