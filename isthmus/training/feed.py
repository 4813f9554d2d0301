"""Batches of training items: resident where they fit, streamed where they do not.

A feed is anything with ``n_items`` and ``batches(epoch, size)``; the engine knows no more of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from isthmus.formats.rows import MEMORY_SHARE, AllBut, Rows, memory_limit
from isthmus.threads import ahead

__all__ = ["Feed", "ResidentFeed", "StreamedFeed", "data_hash", "feed_for", "seed_of"]

CACHED = 2**20  # bytes of scaled items that are made together: they lie in a core's own cache until they are used
SHARE = MEMORY_SHARE  # of the device's memory that items may take and still be resident
BLOCK = 2**20  # bytes that lie side by side and are read together: long for a disk, short for a shuffle
LITTLE = 2**28  # bytes that items may take twice, as they are kept and scaled
PIECE = 2**16  # items that are scaled at a time
WINDOW = 32  # blocks, from all over the data, whose items are shuffled together
HASHED = 2**24  # bytes up to which every item counts for the hash; of larger data, so many bytes of spread items


class Feed(Protocol):
    """What the engine asks of the data."""

    n_items: int

    def batches(self, epoch: int, size: int) -> Iterator[Tensor]:
        """The items of one epoch in an order of its own, ``size`` at a time, scaled, on the compute device.

        Whole batches only: each epoch leaves out another remainder, so that every step has one shape.
        """


def feed_for(
    stored: Tensor | Rows,
    rows: Tensor | AllBut,
    scale: Callable[[Tensor], Tensor],
    device: torch.device,
    seed: int,
    once: bool = False,
) -> ResidentFeed | StreamedFeed:
    """Resident where the items take at most half of the device's memory, else streamed; rows in a file always are.

    A rule on the whole memory and not on what is free now: two runs with one seed must choose alike. ``once``: items
    rest as they are when scaled, where these take little of the processor's memory, or fit a GPU's.
    """
    if once and isinstance(stored, Tensor) and len(stored):
        wide = scale(stored[:1]).nbytes * len(stored)
        if wide <= (LITTLE if device.type == "cpu" else SHARE * min(memory_of(device), memory_limit())):
            scaled = torch.cat([scale(some) for some in stored.split(PIECE)])
            return ResidentFeed(scaled, rows, _as_it_is, device, seed)
    if isinstance(stored, Rows) or stored.numel() * stored.element_size() > SHARE * memory_of(device):
        return StreamedFeed(stored, rows, scale, device, seed)
    return ResidentFeed(stored, rows, scale, device, seed)


def _as_it_is(scaled: Tensor) -> Tensor:
    return scaled


class ResidentFeed:
    """Keeps the stored items on the compute device in their compact dtype; a batch is one gather and one cast there.

    Parameters
    ----------
    stored : (n, D...) tensor in a format's stored dtype; on its own device it is used as it is, never copied
    rows : (m,) int64, the items to learn from
    scale : the format's ``scale``
    device : where the items rest and the batches are made
    seed : orders the items; epoch e has the same order in every run with the same seed
    """

    def __init__(
        self, stored: Tensor, rows: Tensor | AllBut, scale: Callable[[Tensor], Tensor], device: torch.device, seed: int
    ) -> None:
        self.stored = stored.to(device)
        self.rows = rows
        self.scale = scale
        self.seed = seed
        self.n_items = len(rows)

    def order(self, epoch: int) -> Tensor:
        """The rows in the order in which an epoch takes them, (n_items,) int64 on the CPU."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, epoch))
        return self.rows[torch.randperm(self.n_items, generator=generator)]

    def items(self, rows: Tensor) -> Tensor:
        """Of rows (B,) int64 on the device, a scaled batch."""
        return self.scale(self.stored.index_select(0, rows))

    def batches(self, epoch: int, size: int) -> Iterator[Tensor]:
        order = self.order(epoch).to(self.stored.device)
        size = min(size, self.n_items)
        whole = self.n_items // size * size
        # Small batches are gathered and scaled several at a time: half of the time of each for itself.
        together = size * max(CACHED // (size * 4 * max(self.stored[0].numel(), 1)), 1)
        for start in range(0, whole, together):
            yield from self.items(order[start : min(start + together, whole)]).split(size)


class StreamedFeed:
    """Reads items from wherever they are kept, ``Rows`` or a mapped file for example, a window ahead of their use.

    Blocks of neighbouring items come in an order of their own each epoch; those of a window are shuffled together. At
    most three windows are in memory, whatever the size of the data. Parameters as in ResidentFeed.
    """

    def __init__(
        self,
        stored: Tensor | Rows,
        rows: Tensor | AllBut,
        scale: Callable[[Tensor], Tensor],
        device: torch.device,
        seed: int,
    ) -> None:
        # NumPy copies in one thread, and leaves the others to the training.
        self.stored = stored if isinstance(stored, Rows) else stored.numpy()
        self.rows = rows
        self.scale = scale
        self.device = device
        self.seed = seed
        self.n_items = len(rows)
        self.dtype = stored[:0].numpy().dtype
        self.in_block = max(BLOCK // max(stored[0].numel() * stored.element_size(), 1), 1)

    def batches(self, epoch: int, size: int) -> Iterator[Tensor]:
        random = np.random.default_rng(seed_of(self.seed, epoch))
        size = min(size, self.n_items)
        kept: Tensor | None = None  # what the windows before left over
        for window in ahead(self._windows(random)):
            items = window if kept is None else torch.cat([kept, window])
            whole = len(items) // size * size
            for start in range(0, whole, size):
                yield self.scale(items[start : start + size].to(self.device))
            kept = items[whole:].clone()

    def _windows(self, random: np.random.Generator) -> Iterator[Tensor]:
        """The items of WINDOW blocks at a time, shuffled."""
        blocks = random.permutation(-(-self.n_items // self.in_block))
        for first in range(0, len(blocks), WINDOW):
            starts = [int(block) * self.in_block for block in blocks[first : first + WINDOW]]
            some = [self.rows[start : start + self.in_block].numpy() for start in starts]
            places = random.permutation(sum(map(len, some)))
            items = np.empty((len(places), *self.stored.shape[1:]), self.dtype)
            for rows, here in zip(some, np.split(places, np.cumsum([len(rows) for rows in some])[:-1]), strict=True):
                items[here] = self.stored[rows]
            yield torch.from_numpy(items)


def memory_of(device: torch.device) -> float:
    """Bytes of memory that the device has; without bound where the system does not say."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return memory_limit()


def data_hash(stored: Tensor | Rows) -> str:
    """Names a stored view, so that the items that a model was fitted to are recognised; ``Rows`` as their tensor.

    Of more than 16 MiB, items spread evenly over the data are read, so that a large file is not read once more.
    """
    in_item = max(stored[0].numel() * stored.element_size(), 1) if len(stored) else 1
    step = max(-(-len(stored) * in_item // HASHED), 1)
    digest = hashlib.sha256(f"{stored.dtype} {tuple(stored.shape)}".encode())
    stride = max(BLOCK // in_item, 1) * step  # items that are passed over or read at a time
    for start in range(0, len(stored), stride):
        some = np.ascontiguousarray(stored[start : start + stride : step].numpy())
        digest.update(some.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def seed_of(seed: int, epoch: int) -> int:
    """A seed for one epoch, so that a resumed run draws what an unbroken one draws. (splitmix64, Steele et al. 2014)"""
    mixed = (seed * 0x9E3779B97F4A7C15 + (epoch + 1) * 0xBF58476D1CE4E5B9) % 2**64
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % 2**64
    return (mixed ^ (mixed >> 31)) % 2**63
