"""The codes of PCA for the rows of a table, from their elements, column by column.

Shapes: n rows; E elements of a row; F numbers of the linear view; K components; C choices; p patterns of holes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Projection"]

BLOCK = 256  # rows that go through a product together, the last of them filled up
GROUP = 16  # rows of one pattern of holes, likewise
WIDTH = 16  # columns of a product, at least: narrow ones have bits that depend on a row's place
FEW = 16  # places with holes up to which a pattern is a whole number of 16 bits, which are sorted by counting
KEPT = 2**26  # bytes of solved patterns that are kept for the rows to come


class Projection:
    """Codes of a table's rows from their elements (E, n), without the linear view, which is as wide as all levels.

    (lines(x) - mean) @ components: a product for the numbers, and for each choice a row of a table, worked out before.
    Where elements are missing, the posterior mean of probabilistic PCA given those that are there (Tipping & Bishop
    1999, section 4). Its matrix depends on the pattern of the holes alone, and few patterns make up a table: each is
    solved once, in float64, and applied to the rows that have it, in float32.

    Parameters
    ----------
    lines : the linear view of the table's format, F numbers
    mean : (F,); components : (K, F), orthonormal rows; variances : (K,) of them, less the noise, above 0
    noise : variance of what the components leave out; spread : (K,) by which codes are divided
    """

    def __init__(
        self, lines: Any, mean: np.ndarray, components: np.ndarray, variances: np.ndarray, noise: float,
        spread: np.ndarray,
    ) -> None:  # fmt: skip
        k = self.latents = len(components)
        scales, shares = lines.scales.double().numpy(), lines.shares.double().numpy()
        wide = np.zeros((len(mean), max(k, WIDTH)))
        wide[:, :k] = components.T
        kept = np.array(lines.kept)
        at = lines.starts[lines.numbers]
        # What stands in a hole adds nothing: the mean of a number, the last row of a choice's table.
        self.holes = np.zeros(lines.elements, np.float32)
        self.holes[kept[lines.numbers]] = mean[at] / scales[at]
        self.holes[kept[lines.choices]] = lines.levels[lines.choices]
        self.weights = np.zeros((lines.elements, wide.shape[1]), np.float32)  # choices have none
        self.weights[kept[lines.numbers]] = scales[at, None] * wide[at]
        self.spiked = lines.spiked
        self.start = _float32(-mean[at] @ wide[at])
        self.choices = kept[lines.choices]
        tables = []
        for choice in lines.choices:
            of = slice(lines.starts[choice], lines.starts[choice] + lines.levels[choice])
            nothing = -(shares[of] * scales[of] + mean[of]) @ wide[of]
            tables += [scales[of, None] * wide[of] + nothing, np.zeros((1, wide.shape[1]))]
        self.table = torch.from_numpy(_float32(np.concatenate(tables))) if tables else None
        levels = lines.levels[lines.choices] + 1
        self.starts = (np.cumsum(levels) - levels).astype(np.int32)
        # Of each element, what its being there adds to the precision of the posterior, times the noise: (E, K * K).
        self.kept = kept
        self.squares = np.zeros((len(kept), k * k))
        for element, start in enumerate(lines.starts):
            own = components[:, start : start + max(int(lines.levels[element]), 1)]
            self.squares[element] = (own @ own.T).ravel()
        self.prior = np.diag(noise / variances)
        self.spread = None if (spread == 1).all() else _float32(spread)
        self.solved: dict[bytes, np.ndarray] = {}

    def __call__(self, elements: Tensor) -> Tensor:
        """(n, E) to codes (n, K) float32; a row's bits depend on that row alone."""
        return self.of_columns(np.array(elements.numpy().T, order="C"))

    def of_columns(self, x: np.ndarray) -> Tensor:
        """Elements (E, n) float32, which are written over, to codes (n, K) float32."""
        n = x.shape[1]
        if n % BLOCK:
            whole = np.zeros((len(x), n + BLOCK - n % BLOCK), np.float32)
            whole[:, :n] = x
            x = whole
        for element, spike in self.spiked:
            np.copyto(x[element], spike, where=x[element + 1] == 1)
        holes = np.isnan(x)
        open_ = np.flatnonzero(holes.any(1))
        for element in open_:
            np.copyto(x[element], self.holes[element], where=holes[element])
        # (E, n) as (blocks, BLOCK, E), without copies: a product of the same shape for each block.
        blocks = torch.from_numpy(x).unflatten(1, (x.shape[1] // BLOCK, BLOCK)).permute(1, 2, 0)
        codes = _products(blocks, torch.from_numpy(self.weights).expand(len(blocks), -1, -1))[:n]
        codes += self.start
        if self.table is not None:
            rows = np.empty((n, len(self.choices)), np.int32)
            for place, element in enumerate(self.choices):
                rows[:, place] = x[element, :n]
            rows += self.starts
            with torch.inference_mode():
                codes += torch.nn.functional.embedding_bag(torch.from_numpy(rows), self.table, mode="sum").numpy()
        self._fill(codes, holes[self.kept, :n])
        codes = codes[:, : self.latents]
        if self.spread is not None:
            codes /= self.spread
        return torch.from_numpy(np.ascontiguousarray(codes))

    def _fill(self, codes: np.ndarray, holes: np.ndarray) -> None:
        """From what is said of the latents (n, at least K) to their posterior means, where there are holes (E, n)."""
        order, counts, first = patterns(holes)
        if not len(order):
            return
        matrices = self._solutions(holes[:, first].T)
        # Every pattern's rows in groups of one size, whose last one is filled with any row.
        groups = -(-counts // GROUP)
        ahead = (np.cumsum(groups) - groups) * GROUP - (np.cumsum(counts) - counts)
        places = np.arange(len(order)) + np.repeat(ahead, counts)
        taken = np.zeros(int(groups.sum()) * GROUP, np.intp)
        taken[places] = order
        said = codes.take(taken, 0).reshape(-1, GROUP, codes.shape[1])
        of_groups = torch.from_numpy(matrices[np.repeat(np.arange(len(groups)), groups)])
        codes[order] = _products(torch.from_numpy(said), of_groups)[places]

    def _solutions(self, holes: np.ndarray) -> np.ndarray:
        """(p, E) patterns of holes to (p, K, K), as wide as products are: what is said times these is the mean."""
        keys = [line.tobytes() for line in np.packbits(holes, 1)]
        new = [place for place, key in enumerate(keys) if key not in self.solved]
        known = self.solved
        if new:
            found = self._solve(holes[new])
            known = known | {keys[place]: matrix for place, matrix in zip(new, found, strict=True)}
            if len(known) * found[0].nbytes <= KEPT:  # replaced as a whole: other threads may read it
                self.solved = known
        return np.stack([known[key] for key in keys])

    def _solve(self, holes: np.ndarray) -> np.ndarray:
        k, width = self.latents, self.weights.shape[1]
        found = np.zeros((len(holes), width, width), np.float32)
        for start in range(0, len(holes), BLOCK):  # as many at a time as fit a block, so that sums have one order
            some = np.ones((BLOCK, holes.shape[1]))
            part = ~holes[start : start + BLOCK]
            some[: len(part)] = part
            there = (some @ self.squares)[: len(part)].reshape(-1, k, k)
            found[start : start + len(part), :k, :k] = np.linalg.inv(there + self.prior).transpose(0, 2, 1)
        return found


def _products(some: torch.Tensor, matrices: torch.Tensor) -> np.ndarray:
    """(b, m, k) times (b, k, w) to (b * m, w), float32; a row's bits are the same wherever it stands, for w from 16 on.

    That is so of PyTorch's products, and not of NumPy's: OpenBLAS adds in another order for every second six rows
    where a processor has no AVX-512.
    """
    with torch.inference_mode():
        return torch.bmm(some, matrices).flatten(0, 1).numpy()


def patterns(holes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of holes (E, n): rows that have any, pattern by pattern (m,); rows of each pattern (p,); one row of each (p,)."""
    places = np.flatnonzero(holes.any(1))
    alike = (holes[places[1:]] == holes[places[:-1]]).all(1)  # elements of one column are missing together
    places = places[np.append(True, ~alike)[: len(places)]]
    keys: np.ndarray
    if len(places) <= FEW:
        keys = np.zeros(holes.shape[1], np.uint16)
        for bit, place in enumerate(places):
            keys |= np.left_shift(holes[place], np.uint16(bit), dtype=np.uint16)
    else:
        packed = np.ascontiguousarray(np.packbits(holes[places], 0).T)
        keys = np.unique(packed.view(np.dtype((np.void, packed.shape[1])))[:, 0], return_inverse=True)[1]
        keys = keys + 1
        keys[~holes.any(0)] = 0
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    none = int(np.searchsorted(keys, 1))
    order, keys = order[none:], keys[none:]
    firsts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    return order, np.diff(np.append(firsts, len(keys))), order[firsts]


def _float32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.float32)
