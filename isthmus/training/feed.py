"""Batches of training items: the resident feed.

A feed is anything with ``n_items`` and ``batches(epoch, size)``. The engine knows no more of it, so that data larger
than memory comes through the same two names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Feed", "ResidentFeed", "seed_of"]


class Feed(Protocol):
    """What the engine asks of the data."""

    n_items: int

    def batches(self, epoch: int, size: int) -> Iterator[Tensor]:
        """The items of one epoch in an order of its own, ``size`` at a time, scaled, on the compute device."""


class ResidentFeed:
    """Keeps the stored items on the compute device in their compact dtype; a batch is one gather and one cast there.

    Parameters
    ----------
    stored : (n, D...) tensor in a format's stored dtype
    scale : the format's ``scale``
    device : where the items rest and the batches are made
    seed : orders the items; epoch e has the same order in every run with the same seed
    """

    def __init__(self, stored: Tensor, scale: Callable[[Tensor], Tensor], device: torch.device, seed: int) -> None:
        self.stored = stored.to(device)
        self.scale = scale
        self.seed = seed
        self.n_items = len(stored)

    def batches(self, epoch: int, size: int) -> Iterator[Tensor]:
        """Whole batches only: each epoch leaves out another remainder, so that every step has one shape."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, epoch))
        order = torch.randperm(self.n_items, generator=generator).to(self.stored.device)
        size = min(size, self.n_items)
        for start in range(0, self.n_items - size + 1, size):
            yield self.scale(self.stored[order[start : start + size]])


def seed_of(seed: int, epoch: int) -> int:
    """A seed for one epoch, so that a resumed run draws what an unbroken one draws. (splitmix64, Steele et al. 2014)"""
    mixed = (seed * 0x9E3779B97F4A7C15 + (epoch + 1) * 0xBF58476D1CE4E5B9) % 2**64
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % 2**64
    return (mixed ^ (mixed >> 31)) % 2**63
