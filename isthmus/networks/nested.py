"""Ordered latents: the first k coordinates of a code are a good code for every k.

Rippel, Gelbart & Adams 2014 (nested dropout); Kusupati et al. 2022 (Matryoshka representations). A bare mask on the
code costs much. What closes most of the gap, with figures in dev/LOG.md: the decoder is told k, errors are weighed by
how hard their k is, the code grows while training, and a straight line runs beside the encoder.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["Nested", "WithLine"]

WHOLE = 0.3  # share of the items trained with the whole code, which most uses of a model see
ALONE = 0.03  # share of the items trained with the first coordinate alone: a hard case that few want
GROWTH = 0.1  # share of the training over which the code grows from two coordinates to all
FOLLOW = 0.02  # how fast the running errors follow


class WithLine(nn.Module):
    """An encoder and a straight line beside it: (B, D...) -> (B, outputs).

    The line finds the leading directions in the first steps, and the network bends them.
    """

    def __init__(self, encoder: nn.Module, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.line = nn.Linear(math.prod(shape), outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x) + self.line(x.flatten(1))


class Nested(nn.Module):
    """A decoder that is told how many coordinates of the code it is given.

    The encoder may not know k, for the code of k must be the beginning of the whole code. The decoder may: it sees the
    kept coordinates, zeros for the others, and k as an indicator, which is a bias of its own for every k.

    Parameters
    ----------
    decoder : (B, 2 * K) -> (B, P, D...), or (B, K) where it is not told k
    latent_dim : K, length of the whole code
    told : False for a decoder of the user's own, which knows of no k and sees zeros alone
    """

    errors: Tensor

    def __init__(self, decoder: nn.Module, latent_dim: int, told: bool = True) -> None:
        super().__init__()
        self.decoder = decoder
        self.told = told
        self.latent_dim = latent_dim
        self.register_buffer("errors", torch.zeros(latent_dim + 1))  # running squared error for every k

    def forward(self, z: Tensor, kept: Tensor | None = None) -> Tensor:
        """``z`` (B, K); ``kept`` (B,) int64, from 1 to K; None keeps all."""
        places = torch.arange(1, self.latent_dim + 1, device=z.device)
        if kept is None:
            kept = torch.full((len(z),), self.latent_dim, device=z.device)
        seen = z * (places <= kept[:, None]).to(z.dtype)
        if not self.told:
            return self.decoder(seen)
        return self.decoder(torch.cat([seen, (places == kept[:, None]).to(z.dtype)], dim=1))

    def draw(self, count: int, progress: Tensor, generator: torch.Generator) -> Tensor:
        """How many coordinates each item of a batch is trained with, (count,) int64.

        The longest code of the moment for some, one coordinate for a few, and for the others between two and the
        longest, with a density that falls with the root of k: between uniform, which starves the short codes, and
        log-uniform, which starves the long ones. The longest grows from two to K, so that the early coordinates are
        settled before the later ones lean on them.
        """
        longest = (self.latent_dim ** (progress / GROWTH).clamp(max=1.0)).clamp(min=min(2, self.latent_dim)).floor()
        drawn = torch.rand(2, count, generator=generator, device=generator.device)
        low, high = math.sqrt(2.0), (longest + 1).sqrt()
        kept = torch.minimum((low + drawn[0] * (high - low)).square().floor(), longest)
        kept = torch.where(drawn[1] < WHOLE, longest, kept)
        return torch.where(drawn[1] > 1 - ALONE, 1, kept).long()

    def weigh(self, losses: Tensor, kept: Tensor, squared_errors: Tensor) -> Tensor:
        """Losses divided by the running error at their k, so that what is minimised is the mean *relative* error.

        Without this the few coordinates, whose errors are ten times those of all, would decide alone.
        """
        if self.training:
            with torch.no_grad():
                at = kept[:, None] == torch.arange(self.latent_dim + 1, device=kept.device)  # bincount waits for a GPU
                counts = at.sum(0)
                means = (at * squared_errors[:, None].to(self.errors)).sum(0) / counts.clamp_min(1)
                self.errors.lerp_(means, torch.where(self.errors > 0, FOLLOW, 1.0) * (counts > 0))
        weights = 1 / self.errors.clamp_min(1e-12)[kept]
        return losses * weights / weights.mean()
