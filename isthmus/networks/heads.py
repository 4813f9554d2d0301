"""What is told of an item from its code: one straight line for each class or number.

Shapes: B items of a batch; K latents; C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from isthmus.formats.labels import Target

__all__ = ["Heads"]


class Heads(nn.Module):
    """(B, K) codes to a tuple of (B, C) logits for each target that is a class, and (B, 1) for a number.

    Straight lines, so that what they tell is laid open in the code, where others find it: a probe, a map, neighbours.
    Codes of k < K coordinates are the beginnings of whole ones.
    """

    def __init__(self, latent_dim: int, targets: Sequence[Target]) -> None:
        super().__init__()
        self.widths = [target.width for target in targets]
        self.line = nn.Linear(latent_dim, sum(self.widths))

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        return self.whole(z).split(self.widths, dim=1)

    def whole(self, z: Tensor) -> Tensor:
        """All of it side by side, (B, sum of the widths), float32."""
        short = self.line.in_features - z.shape[1]
        if short:
            z = torch.cat([z, z.new_zeros(len(z), short)], dim=1)
        return self.line(z).float()
