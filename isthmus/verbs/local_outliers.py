"""How far rows lie from fitted rows, by seven measures. NumPy in, NumPy out.

    distance   to the nearest fitted row (Ramaswamy, Rastogi & Shim 2000; Sugiyama & Borgwardt 2013)
    density    the local outlier factor: how much thinner it is here than around the neighbours (Breunig et al. 2000),
               of 5 neighbours and of 20
    foretold   half of the columns foretold by the nearest rows in the other half, over several halves: the squared
               error of each column against its own on fitted rows

Distance and density are seen twice: with columns by their range, and with sign(z) log(1 + |z|) of robust z-scores, for
heavy tails. A row that equals a fitted row is measured as if that one had been left out: so fitted rows have the
measures that new rows like them would have.

Shapes: n rows; D columns; m fitted rows; L = 7 measures, 6 of one column.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import torch

from isthmus.models.embedding import BLOCK
from isthmus.training.device import steady_products

__all__ = ["LocalOutliers", "farthest"]

DENSITIES = (
    5,
    20,
)  # neighbours of the outlier factor: small heaps, and the least that its authors advise against noise
NEIGHBOURS = 5  # that columns are foretold from
HALVES = 4  # ways to hide half of the columns
FORETELLERS = 512  # fitted rows that hidden columns are foretold from: a mean of five does not need the very nearest
SAMPLES, SAMPLE = 50, 8  # random samples, and rows of one: with a tenth wrong, 43 % of the samples hold none of it
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
    """The fitted rows (m, D) in one view, and how dense they lie."""

    def __init__(self, rows: np.ndarray) -> None:
        self.known, own = _Known(rows), np.arange(len(rows))
        near = [self.known.nearest(rows[piece], own[piece], DENSITIES[-1]) for piece in _pieces(len(rows))]
        distances, places = (np.concatenate(part) for part in zip(*near, strict=True))
        self.core, self.thin = {}, {}
        for k in DENSITIES:
            self.core[k] = distances[:, :k][:, -1]
            self.thin[k] = self._thin(distances, places, k)

    def __call__(self, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
        """(n, 3): distance, and the two densities; ``own`` (n,) is the fitted row that is left out, or -1."""
        distances, places = self.known.nearest(rows, own, DENSITIES[-1])
        densities = [self._thin(distances, places, k) * (1 / self.thin[k])[places[:, :k]].mean(1) for k in DENSITIES]
        return np.stack([distances[:, 0], *densities], axis=1)

    def _thin(self, distances: np.ndarray, places: np.ndarray, k: int) -> np.ndarray:
        """Mean reachability distance over k neighbours: the inverse of the local density."""
        return np.maximum(distances[:, :k], self.core[k][places[:, :k]]).mean(1) + TINY


class _Foretelling:
    """Columns foretold from others by the nearest fitted rows."""

    def __init__(self, rows: np.ndarray, halves: list[_Half]) -> None:
        own, n = np.arange(len(rows)), len(rows)
        chosen = own[:: max(n // FORETELLERS, 1)][:FORETELLERS]  # from all over them
        self.place = np.full(n + 1, -1)  # of a fitted row among those; -1 for the others
        self.place[chosen] = np.arange(len(chosen))
        self.halves = [(half, _Known(rows[chosen][:, half.shown]), rows[chosen][:, half.hidden]) for half in halves]
        errors = [self._errors(rows[piece], own[piece]) for piece in _pieces(n)]
        self.usual = np.concatenate(errors).mean(0) + 1e-6

    def __call__(self, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
        """(n, 1): mean over the columns of their squared errors, each in units of its usual one."""
        return np.asarray((self._errors(rows, own) / self.usual).mean(1, keepdims=True))

    def _errors(self, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
        """(n, D): squared errors of hidden columns, mean over the halves that hide them."""
        total, times = np.zeros(rows.shape), np.zeros(rows.shape[1])
        for (shown, hidden), known, values in self.halves:
            _, places = known.nearest(rows[:, shown], self.place[own], NEIGHBOURS)
            told = values[places[:, 0]]
            for further in places.T[1:]:
                told = told + values[further]
            total[:, hidden] += np.square(rows[:, hidden] - told / places.shape[1])
            times[hidden] += 1
        return total / np.maximum(times, 1)


class LocalOutliers:
    """Measures of strangeness of rows against fitted rows (m, D), two at least.

    Parameters
    ----------
    rows : (m, D) float64, of columns that weigh alike
    ranged : whether distances are taken between columns divided by their range; else between rows as they are
    groups : (D,) int, columns that are hidden together, such as the levels of one choice; None: each for itself
    seed : of which columns are hidden
    """

    def __init__(self, rows: np.ndarray, ranged: bool = True, groups: np.ndarray | None = None, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        groups = np.arange(rows.shape[1]) if groups is None else groups
        names = np.unique(groups)
        halves = []
        for _ in range(HALVES if len(names) > 1 else 0):  # one column cannot be foretold from others
            shown = np.isin(groups, random.permutation(names)[: (len(names) + 1) // 2])
            halves.append(_Half(np.flatnonzero(shown), np.flatnonzero(~shown)))
        self._places = {row.tobytes(): place for place, row in enumerate(rows)}
        width = np.ptp(rows, axis=0) if ranged else np.ones(rows.shape[1])
        self._width = np.where(width > TINY, width, 1.0)
        self._fold = _Fold.of(rows)
        self._views = [_View(rows / self._width), _View(self._fold(rows))]
        self._foretelling = _Foretelling(rows, halves) if halves else None

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """(n, L) measures of rows (n, D), float64. Give as many rows at a time as ever, for the same bits."""
        own = np.array([self._places.get(row.tobytes(), -1) for row in np.ascontiguousarray(rows)])
        linear, logarithmic = self._views
        found = [linear(rows / self._width, own), logarithmic(self._fold(rows), own)]
        if self._foretelling is not None:
            found.append(self._foretelling(rows, own))
        return np.concatenate(found, axis=1)


def _pieces(n: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]


def farthest(rows: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(n,) whether a row belongs to the ``share`` that lies farthest from 50 random samples of 8 rows.

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
