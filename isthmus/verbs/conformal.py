"""From scores to p-values and to a list of which the share of false alarms is known. NumPy in, NumPy out.

p-values: split conformal (Bates, Candès, Lei, Romano & Sesia 2023, "Testing for outliers with conformal p-values"). Of
an item that is as normal as those of the calibration, p is at most t with a chance of at most t, whatever the score.

False-discovery rate: Benjamini & Hochberg 1995, with the share of normal items estimated (Storey, Taylor & Siegmund
2004) as Marandon, Lei, Mary & Roquain 2024, "Adaptive novelty detection with false discovery rate guarantee", do for
such p-values, so that it holds for any number of items. What the steps of the p-values leave of the rate is spent by
chance, as by the randomised p-values of Vovk, Gammerman & Shafer 2005, but with one draw for all items: the list always
holds the strangest.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from isthmus.errors import DataError, SettingError

__all__ = ["discoveries", "p_values", "require_enough", "require_share", "surprise"]

TAIL = 0.1  # share of normal items by which the scale of the tail is read


def p_values(calibration: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(q,) share of normal items at least as strange: (1 + how many of the m scores >= this one) / (m + 1)."""
    rising = np.sort(calibration)
    beyond = len(rising) - np.searchsorted(rising, scores, side="left")
    return (1 + beyond) / (len(rising) + 1)


def discoveries(p: np.ndarray, count: int, fdr: float, chance: float, share: float | None = None) -> np.ndarray:
    """(q,) bool: the list of Benjamini and Hochberg, of which what the steps of p leave unused is spent by chance.

    A list ends at one of the ``count`` scores of the calibration, the t-th from above; R items lie beyond it. The place
    of a normal item among those scores is as good as drawn, and R is the same at all places within the list. So it
    costs t / ((count + 1) R) for each normal item, and the expected costs of all together are the rate. Benjamini and
    Hochberg make the largest list that ``fdr`` pays for whole; where the first step is too high for that, an empty one.
    Here the lists are gone through from the largest, and one that is not paid for whole is made with the chance
    R fdr (count + 1) / (q share) - t + 1 less that of those before, as long as ``fdr`` lasts.

    Parameters
    ----------
    p : (q,) from ``p_values``
    count : of the scores of the calibration
    fdr : false-discovery rate
    chance : in [0, 1), drawn; the list is that at which the chances add up to more
    share : of normal items. None: one, and the number of p-values of a half and above, over how many there would be
    """
    rank = np.rint(p * (count + 1)).astype(np.int64)  # the least t whose list has the item
    middle = max((count + 1) // 2, 2)
    if share is None and middle <= count:
        share = (1 + np.count_nonzero(rank >= middle)) / (len(p) * (1 - middle / (count + 1)))
    t = np.arange(1, min(middle, count + 1))  # items that tell the share are not listed
    beyond = np.cumsum(np.bincount(rank, minlength=count + 2))[t]
    paid = fdr * (count + 1) / (len(p) * (share or 1.0)) * beyond
    wanted = np.minimum(paid - (t - 1), 1.0)
    made = spent = 0.0
    for i in np.flatnonzero(wanted > 0)[::-1]:
        cost = t[i] / paid[i]
        more = min(max(wanted[i] - made, 0.0), (1 - spent) / cost)
        made, spent = made + more, spent + more * cost
        if chance < made:
            return rank <= t[i]
    return np.zeros(len(p), bool)


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
