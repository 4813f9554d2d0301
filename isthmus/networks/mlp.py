"""Fully connected encoders and decoders, from one linear layer to deep.

Axis letters: B items, D elements of an item, H units of a layer, P parameters an element.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

__all__ = ["MLPDecoder", "MLPEncoder"]


class MLPEncoder(nn.Module):
    """(B, D...) -> (B, outputs): linear layers of the given widths with SiLU between them."""

    def __init__(self, shape: tuple[int, ...], widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.layers = _layers([math.prod(shape), *widths, outputs])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))


class MLPDecoder(nn.Module):
    """(B, inputs) -> (B, P, D...): the widths in the opposite order."""

    def __init__(self, inputs: int, widths: Sequence[int], shape: tuple[int, ...], n_params: int) -> None:
        super().__init__()
        self.layers = _layers([inputs, *reversed(widths), n_params * math.prod(shape)])
        self.shape = (n_params, *shape)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).unflatten(1, self.shape)


def _layers(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*layers[:-1])
