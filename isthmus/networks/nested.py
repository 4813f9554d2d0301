"""Ordered latents: the first k coordinates of a code are a good code for every k.

Rippel, Gelbart & Adams 2014 (nested dropout); Kusupati et al. 2022 (Matryoshka representations).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Nested"]


class Nested(nn.Module):
    """A decoder that is told how many coordinates of the code it is given.

    The encoder may not know k, for the code of k must be the beginning of the whole code. The decoder may: it sees the
    kept coordinates, zeros for the others, and k as an indicator, which is a bias of its own for every k.

    Parameters
    ----------
    decoder : (B, 2 * latent_dim) -> (B, P, D...)
    latent_dim : length of the whole code
    """

    def __init__(self, decoder: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.latent_dim = latent_dim
        self.register_buffer("errors", torch.zeros(latent_dim + 1))  # running squared error for every k

    def forward(self, z: Tensor, kept: Tensor | None = None) -> Tensor:
        """``z`` (B, latent_dim); ``kept`` (B,) int64, from 1 to latent_dim; None keeps all."""
        places = torch.arange(1, self.latent_dim + 1, device=z.device)
        if kept is None:
            kept = torch.full((len(z),), self.latent_dim, device=z.device)
        mask = (places <= kept[:, None]).to(z.dtype)
        told = (places == kept[:, None]).to(z.dtype)
        return self.decoder(torch.cat([z * mask, told], dim=1))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """How many coordinates each item of a batch is trained with: log-uniform from 1 to K, (count,) int64."""
        drawn = torch.rand(count, generator=generator, device=generator.device)
        return ((self.latent_dim + 1.0) ** drawn).floor().long().clamp(1, self.latent_dim)

    def weigh(self, losses: Tensor, kept: Tensor, squared_errors: Tensor) -> Tensor:
        """Losses divided by the running error at their k, so that what is minimised is the mean *relative* error.

        Without this the few coordinates, whose errors are ten times those of all, would decide alone.
        """
        if self.training:
            with torch.no_grad():
                seen = torch.bincount(kept, minlength=self.latent_dim + 1)
                means = torch.bincount(kept, squared_errors, self.latent_dim + 1) / seen.clamp_min(1)
                follow = torch.where(self.errors > 0, 0.02, 1.0) * (seen > 0)
                self.errors.lerp_(means, follow)
        weights = 1 / self.errors.clamp_min(1e-12)[kept]
        return losses * weights / weights.mean()
