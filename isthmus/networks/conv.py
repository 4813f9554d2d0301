"""Convolutional encoders and decoders for images and series, on a grid of patches.

An image is cut into patches of p x p pixels that become channels of a grid of about 8 x 8 cells; all convolutions run
on that grid, where they are as fast as matrix products, and a dense layer joins the cells to the code. The decoder is
the mirror image. Series are the same in one dimension.

Axis letters: B items, C channels, S... the sides of an item, G... the sides of the grid, W width of the grid's cells.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ConvDecoder", "ConvEncoder", "grid_of"]


def grid_of(sides: tuple[int, ...], patch: int) -> tuple[int, ...]:
    """Cells along each side; the last cell of a side that the patch does not divide is padded."""
    return tuple(-(-side // patch) for side in sides)


class ConvEncoder(nn.Module):
    """(B, C, S...) -> (B, outputs)."""

    def __init__(self, shape: tuple[int, ...], patch: int, width: int, blocks: int, hidden: int, outputs: int) -> None:
        super().__init__()
        channels, *sides = shape
        self.patch, self.sides = patch, tuple(sides)
        cells = math.prod(grid_of(self.sides, patch))
        self.into_grid = _conv(len(sides), channels * patch ** len(sides), width)
        self.blocks = nn.Sequential(*(Residual(len(sides), width) for _ in range(blocks)), nn.SiLU())
        self.into_code = nn.Sequential(nn.Linear(cells * width, hidden), nn.SiLU(), nn.Linear(hidden, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.into_grid(_to_patches(x, self.patch)))  # (B, W, G...)
        return self.into_code(x.movedim(1, -1).flatten(1))


class ConvDecoder(nn.Module):
    """(B, inputs) -> (B, P, C, S...)."""

    def __init__(
        self, inputs: int, patch: int, width: int, blocks: int, hidden: int, shape: tuple[int, ...], n_params: int
    ) -> None:
        super().__init__()
        channels, *sides = shape
        self.patch, self.sides, self.split = patch, tuple(sides), (n_params, channels)
        self.grid = (*grid_of(self.sides, patch), width)
        self.out_of_code = nn.Sequential(
            nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, math.prod(self.grid)), nn.Unflatten(1, self.grid)
        )
        self.blocks = nn.Sequential(*(Residual(len(sides), width) for _ in range(blocks)), nn.SiLU())
        self.out_of_grid = _conv(len(sides), width, n_params * channels * patch ** len(sides))

    def forward(self, z: Tensor) -> Tensor:
        grid = self.out_of_code(z).movedim(-1, 1)  # (B, W, G...), channels last in memory
        return _from_patches(self.out_of_grid(self.blocks(grid)), self.patch, self.sides).unflatten(1, self.split)


class Residual(nn.Module):
    """Two convolutions beside a straight line (He et al. 2016), which begins as the line alone."""

    def __init__(self, sides: int, width: int) -> None:
        super().__init__()
        self.first = _conv(sides, width, width)
        self.second = _conv(sides, width, width)
        nn.init.zeros_(self.second.weight)
        if self.second.bias is not None:
            nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


def _conv(sides: int, inputs: int, outputs: int) -> nn.Conv1d | nn.Conv2d:
    if sides == 1:
        return nn.Conv1d(inputs, outputs, 3, padding=1)
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
    return conv


def _to_patches(x: Tensor, patch: int) -> Tensor:
    """(B, C, S...) -> (B, C * patch ** len(S), G...), padded at the far ends with the edge."""
    sides = x.shape[2:]
    padding = [amount for side in reversed(sides) for amount in (0, -side % patch)]
    if any(padding):
        x = F.pad(x, padding, mode="replicate")
    if len(sides) == 2:
        return F.pixel_unshuffle(x, patch).contiguous(memory_format=torch.channels_last)
    return x.unflatten(2, (-1, patch)).transpose(2, 3).flatten(1, 2)  # (B, C, G, p) -> (B, C p, G)


def _from_patches(x: Tensor, patch: int, sides: tuple[int, ...]) -> Tensor:
    """The inverse of ``_to_patches``, without the padding."""
    if len(sides) == 2:
        return F.pixel_shuffle(x, patch)[:, :, : sides[0], : sides[1]]
    return x.unflatten(1, (-1, patch)).transpose(2, 3).flatten(2)[:, :, : sides[0]]
