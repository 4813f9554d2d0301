"""How far rows lie from fitted rows, seen in two ways, by three measures each. NumPy in, NumPy out.

    view       linear: the rows as they are. logarithmic: sign(z) log(1 + |z|) of robust z-scores, for heavy tails
    distance   to the nearest fitted row (Ramaswamy, Rastogi & Shim 2000; Sugiyama & Borgwardt 2013)
    density    the local outlier factor: how much thinner it is here than around the neighbours (Breunig et al. 2000)
    foretold   half of the columns foretold by the nearest rows in the other half, over several halves: the squared
               error of each column against its own on fitted rows

A row that equals a fitted row is measured as if that one had been left out: so fitted rows have the measures that new
rows like them would have.

Shapes: n rows; D columns; m fitted rows; L = 6 measures.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import torch

from isthmus.models.embedding import BLOCK
from isthmus.training.device import steady_products

__all__ = ["LocalOutliers", "farthest"]

DENSITY = 20  # neighbours of the outlier factor, from 10 to 20 of which its authors advise
NEIGHBOURS = 5  # that columns are foretold from
HALVES = 4  # ways to hide half of the columns, in each view
FORETELLERS = 512  # fitted rows that hidden columns are foretold from: a mean of five does not need the very nearest
SAMPLES, SAMPLE = 100, 4  # random samples, and rows of one: with a fifth wrong, 41 % of the samples hold none of it
ROWS = 4096  # looked at together
TINY = 1e-9  # of standardised columns: what stands for a distance or a deviation of none


class _Fold(NamedTuple):
    """The logarithmic view: z of median and quartiles, then sign(z) log(1 + |z|), then centred. All (D,).

    A column keeps its variance, so that it weighs as much in one view as in the other.
    """

    middle: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    stretch: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Self:
        low, middle, high = np.percentile(x, [25, 50, 75], axis=0)
        spread, scale = x.std(0), (high - low) / 1.349
        scale = np.where(scale > TINY * spread, scale, spread)  # half of the column may be one value
        still = spread <= TINY * np.abs(middle)  # all of it: only rounding differs
        made = cls(middle, np.where(still, 1.0, scale), np.zeros_like(middle), np.ones_like(middle))
        seen = made(x)
        stretch = np.where(still, 1.0, spread / np.where(still, 1.0, seen.std(0)))
        return made._replace(mean=seen.mean(0), stretch=stretch)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        z = (x - self.middle) / self.scale
        return np.ascontiguousarray((np.sign(z) * np.log1p(np.abs(z)) - self.mean) * self.stretch)


class _Half(NamedTuple):
    """Columns that are shown, and columns that are foretold from them."""

    shown: np.ndarray
    hidden: np.ndarray


class _Known:
    """Rows (m, D) among which neighbours are sought."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = torch.from_numpy(np.ascontiguousarray(rows))
        self.across, self.squares = self.rows.T.contiguous(), self.rows.square().sum(1)

    def __len__(self) -> int:
        return len(self.rows)

    def nearest(self, rows: np.ndarray, own: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances to, and places of, the k nearest known rows, (n, k) each, the nearest first; all but one at most.

        ``own`` (n,) is a place to pass over, or -1. Distances are those of a product, but for the nearest: rounding
        would give a row that equals a known one some distance.
        """
        x, passed = torch.from_numpy(np.ascontiguousarray(rows)), torch.from_numpy(own)
        k = min(k, len(self) - 1)
        with torch.inference_mode(), steady_products():
            apart = torch.matmul(x, self.across).mul_(-2).add_(self.squares)
            itself = torch.nonzero(passed >= 0).flatten()
            apart[itself, passed[itself]] = torch.inf
            found = apart.topk(k, dim=1, largest=False)
            distances = found.values.add_(x.square().sum(1, keepdim=True)).clamp_min_(0).sqrt_()
            first = found.indices[:, :3]
            exact = (x[:, None] - self.rows[first]).square().sum(2)
            distances[:, 0] = exact.amin(1).sqrt()
            return distances.numpy(), found.indices.numpy()


class _View:
    """The fitted rows (m, D) in one view, and what is usual among them."""

    def __init__(self, rows: np.ndarray, halves: list[_Half]) -> None:
        self.known, own, n = _Known(rows), np.arange(len(rows)), len(rows)
        chosen = own[:: max(n // FORETELLERS, 1)][:FORETELLERS]  # from all over them
        self.place = np.full(n + 1, -1)  # of a fitted row among those; -1 for the others
        self.place[chosen] = np.arange(len(chosen))
        self.halves = [(half, _Known(rows[chosen][:, half.shown]), rows[chosen][:, half.hidden]) for half in halves]
        self.usual = np.ones(rows.shape[1])
        pieces = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
        near = [self.known.nearest(rows[piece], own[piece], DENSITY) for piece in pieces]
        self.core = np.concatenate([distances[:, -1] for distances, _ in near])
        self.thin = np.concatenate([self._thin(*both) for both in near])
        if halves:
            self.usual = np.concatenate([self._foretold(rows[piece], own[piece]) for piece in pieces]).mean(0) + 1e-6

    def __call__(self, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
        """(n, 3) measures, or 2 where nothing is foretold; ``own`` (n,) is the fitted row that is left out, or -1."""
        distances, places = self.known.nearest(rows, own, DENSITY)
        thinner = self._thin(distances, places) * (1 / self.thin)[places].mean(1)
        foretold = [(self._foretold(rows, own) / self.usual).mean(1)] if self.halves else []
        return np.stack([distances[:, 0], thinner, *foretold], axis=1)

    def _thin(self, distances: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Mean reachability distance: the inverse of the local density."""
        return np.maximum(distances, self.core[places]).mean(1) + TINY

    def _foretold(self, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
        """(n, D): squared errors of hidden columns, mean over the halves that hide them."""
        total, times = np.zeros(rows.shape), np.zeros(rows.shape[1])
        for (shown, hidden), known, values in self.halves:
            _, places = known.nearest(rows[:, shown], self.place[own], NEIGHBOURS)
            total[:, hidden] += np.square(rows[:, hidden] - values[places].mean(1))
            times[hidden] += 1
        return total / np.maximum(times, 1)


class LocalOutliers:
    """Measures of strangeness of rows against fitted rows (m, D), two at least.

    Parameters
    ----------
    rows : (m, D) float64, of columns that weigh alike
    groups : (D,) int, columns that are hidden together, such as the levels of one choice; None: each for itself
    seed : of which columns are hidden
    """

    def __init__(self, rows: np.ndarray, groups: np.ndarray | None = None, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        groups = np.arange(rows.shape[1]) if groups is None else groups
        names = np.unique(groups)
        halves = []
        for _ in range(HALVES if len(names) > 1 else 0):  # one column cannot be foretold from others
            shown = np.isin(groups, random.permutation(names)[: (len(names) + 1) // 2])
            halves.append(_Half(np.flatnonzero(shown), np.flatnonzero(~shown)))
        self._places = {row.tobytes(): place for place, row in enumerate(rows)}
        self._fold = _Fold.of(rows)
        self._views = [_View(seen, halves) for seen in (rows, self._fold(rows))]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """(n, L) measures of rows (n, D), float64. Give as many rows at a time as ever, for the same bits."""
        own = np.array([self._places.get(row.tobytes(), -1) for row in np.ascontiguousarray(rows)])
        seen = zip(self._views, (rows, self._fold(rows)), strict=True)
        return np.concatenate([view(some, own) for view, some in seen], axis=1)


def farthest(rows: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(n,) whether a row belongs to the ``share`` that lies farthest from 100 random samples of 4 rows.

    The mean distance to the nearest row of a sample (Sugiyama & Borgwardt 2013, over many samples as Aggarwal & Sathe
    2015). Anomalies that keep together hide each other from their neighbours, but many samples of so few rows hold none
    of them.
    """
    n, random = len(rows), np.random.default_rng(seed)
    size = min(SAMPLE, max(n // 2, 1))
    drawn = np.stack([random.choice(n, size, replace=False) for _ in range(SAMPLES)])  # (S, size)
    base = rows[drawn.ravel()]
    squares, total = np.einsum("nd,nd->n", base, base), np.zeros(n)
    for start in range(0, n, ROWS):
        some = rows[start : start + ROWS]
        apart = np.einsum("nd,nd->n", some, some)[:, None] + squares - 2 * some @ base.T
        apart = np.maximum(apart, 0).reshape(len(some), SAMPLES, size)
        sample, place = np.nonzero((drawn >= start) & (drawn < start + len(some)))
        apart[drawn[sample, place] - start, sample, place] = np.inf  # a row is not compared with itself
        least = np.sqrt(apart.min(2))
        seen = np.isfinite(least)  # a sample of that row alone says nothing
        total[start : start + ROWS] = np.where(seen, least, 0).sum(1) / np.maximum(seen.sum(1), 1)
    left_out = np.zeros(n, bool)
    left_out[np.argsort(-total, kind="stable")[: int(share * n)]] = True
    return left_out
