"""From scores to p-values and to a list of which the share of false alarms is known. NumPy in, NumPy out.

p-values: split conformal (Bates, Candès, Lei, Romano & Sesia 2023, "Testing for outliers with conformal p-values"). Of
an item that is as normal as those of the calibration, p is at most t with a chance of at most t, whatever the score.

False-discovery rate: Benjamini & Hochberg 1995, with the share of normal items estimated (Storey, Taylor & Siegmund
2004; section 2.4 of Bates et al.).
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from isthmus.errors import DataError, SettingError

__all__ = ["discoveries", "p_values", "require_enough", "require_share", "surprise"]

HALF = 0.5  # p-values above it are taken for those of normal items, to see how many there are
TAIL = 0.1  # share of normal items by which the scale of the tail is read


def p_values(calibration: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(q,) share of normal items at least as strange: (1 + how many of the m scores >= this one) / (m + 1)."""
    rising = np.sort(calibration)
    beyond = len(rising) - np.searchsorted(rising, scores, side="left")
    return (1 + beyond) / (len(rising) + 1)


def discoveries(p: np.ndarray, fdr: float, share: float | None = None) -> np.ndarray:
    """(q,) bool: the list of Benjamini and Hochberg at the level ``fdr`` over the estimated share of normal items.

    None: that share is the number of p-values above a half, and one, over half of their number; at most 1. With
    ``share=1`` it is their procedure of 1995.
    """
    ordered = np.sort(p)
    normal = min((1 + np.count_nonzero(p > HALF)) / (len(p) * (1 - HALF)), 1.0) if share is None else share
    allowed = np.flatnonzero(ordered <= fdr * np.arange(1, len(p) + 1) / (len(p) * normal))
    # p-values stop at 1 / (m + 1), so a small estimated share could otherwise list items of any p
    return p <= min(ordered[allowed[-1]], HALF) if len(allowed) else np.zeros(len(p), bool)


def surprise(rising: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """-log of the share of normal items that measure as much, nats (q,); ``rising`` (m,) are theirs in order.

    Beyond the largest it goes on as for a Pareto tail, log(m + 1) + log(1 + excess / s), so that what lies outside of
    all that was seen is still told apart and no measure outweighs the others; s is by how much the upper tenth exceeds
    its beginning, in the mean.
    """
    m = len(rising)
    inside = -np.log((1 + m - np.searchsorted(rising, measured, side="left")) / (m + 1))
    start, most = rising[int((1 - TAIL) * m)], rising[-1]
    above = float((rising[rising > start] - start).mean()) if most > start else float(np.ptp(rising))
    above = above or max(abs(float(most)), 1.0)  # all of one value: what differs is measured by its size
    return inside + np.log1p(np.maximum(measured - most, 0.0) / above)


def require_share(**given: Any) -> None:
    """SettingError for what is no number above 0 and below 1."""
    for name, value in given.items():
        right = isinstance(value, (Real, np.floating)) and not isinstance(value, bool)
        if not right or not 0 < value < 1:
            raise SettingError(f"{name}={value!r}: expected a number above 0 and below 1, such as 0.05")


def require_enough(count: int, fdr: float) -> None:
    """DataError where no p-value can be as small as ``fdr``."""
    needed = math.ceil(1 / fdr - 1 - 1e-9)
    if count < needed:
        raise DataError(
            f"{count} normal items to calibrate with give no p-value below 1/{count + 1}, and fdr={fdr:g} needs "
            f"{needed} at least (1/fdr - 1): give more items, or a greater fdr"
        )
