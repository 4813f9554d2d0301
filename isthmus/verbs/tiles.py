"""Items larger than those a model learned from: cut into overlapping tiles, and laid together again.

A tile is as large as an item that was learned. Each tile is weighed by a window that falls off towards its edges, where
a model knows least of what lies beyond; the weights at every place are divided by their sum, so they add up to one
exactly, and tiles that are left as they were give back what they were cut from.

Letters: c channels; S... the sides of what is cut, T... those of a tile, one or two of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor

__all__ = ["Tiling"]

MOST = 2**24  # elements of tiles that are held at once: 64 MiB


class Tiling:
    """Where the tiles of one size of item lie.

    Parameters
    ----------
    sides : S..., of what is cut; none below that of a tile
    tile : T..., of a tile
    stride : from one tile to the next; the last one ends at the edge, however close to the one before it
    """

    def __init__(self, sides: tuple[int, ...], tile: tuple[int, ...], stride: int) -> None:
        self.sides, self.tile = sides, tile
        self.starts = [torch.tensor(_starts(*pair, stride)) for pair in zip(sides, tile, strict=True)]
        self.windows = [_window(side) for side in tile]
        self.count = math.prod(len(starts) for starts in self.starts)

    def cut(self, x: Tensor) -> Tensor:
        """(c, S...) to tiles (count, c, T...)."""
        return self._cut(x, self.starts)

    def merge(self, tiles: Tensor) -> Tensor:
        """Tiles (count, c, T...) to (c, S...): at each place the weighted mean of the tiles that cover it."""
        if self.count == 1:
            return tiles[0]
        total = torch.zeros(tiles.shape[1], *self.sides, dtype=tiles.dtype)
        self._add(total, tiles, self.starts)
        return self._divided(total)

    def through(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """``merge(function(cut(x)))`` for a function of each tile alone, with no more than some tiles in memory."""
        if self.count == 1:
            return function(x[None])[0]
        total = torch.zeros_like(x)
        across = self.count // len(self.starts[0]) * math.prod(self.tile) * len(x)
        for first in self.starts[0].split(max(MOST // across, 1)):
            starts = [first, *self.starts[1:]]
            self._add(total, function(self._cut(x, starts)), starts)
        return self._divided(total)

    def _cut(self, x: Tensor, all_starts: list[Tensor]) -> Tensor:
        for axis, (starts, side) in enumerate(zip(all_starts, self.tile, strict=True)):
            x = x.unfold(axis + 1, side, 1).index_select(axis + 1, starts)
        n = len(self.tile)
        return x.movedim(0, n).flatten(0, n - 1)

    def _add(self, total: Tensor, tiles: Tensor, all_starts: list[Tensor]) -> None:
        """Tiles that start there, weighed, onto the sum."""
        grid = tiles.unflatten(0, tuple(len(starts) for starts in all_starts))
        grid = grid.movedim(len(self.tile), 0).flatten(-len(self.tile)).contiguous()  # (c, G..., places of a tile)
        places = product(*(range(side) for side in self.tile))
        for number, place in enumerate(places):  # of one place in all tiles no two fall together
            weight = math.prod(float(window[at]) for window, at in zip(self.windows, place, strict=True))
            total[_crossed([starts + at for starts, at in zip(all_starts, place, strict=True)])] += (
                weight * grid[..., number]
            )

    def _divided(self, total: Tensor) -> Tensor:
        """The sum by that of the weights, which is a product of one for each side."""
        for axis, (starts, window) in enumerate(zip(self.starts, self.windows, strict=True)):
            weights = torch.zeros(self.sides[axis], dtype=total.dtype)
            for at, weight in enumerate(window.tolist()):
                weights[starts + at] += weight
            total /= weights.reshape(-1, *[1] * (len(self.sides) - 1 - axis))
        return total


def _starts(side: int, tile: int, stride: int) -> list[int]:
    starts = list(range(0, side - tile + 1, stride))
    return starts if starts[-1] == side - tile else [*starts, side - tile]


def _window(side: int) -> Tensor:
    """Half a wave of a sine, above zero everywhere."""
    return torch.sin(torch.pi * (torch.arange(side, dtype=torch.float64) + 0.5) / side)


def _crossed(places: list[Tensor]) -> tuple[Any, ...]:
    """Indices of every pair of a row and a column, in all channels."""
    pairs = [at.reshape(-1, *[1] * (len(places) - 1 - axis)) for axis, at in enumerate(places)]
    return (slice(None), *pairs)
