"""Work side by side on the processor's cores."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

__all__ = ["in_threads"]

MOST = 8  # beyond so many threads, Python itself is what they wait for
FEW = 4  # pieces for which the threads are not worth their start, a millisecond

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def in_threads(function: Callable[[Piece], Result], pieces: Sequence[Piece]) -> list[Result]:
    """``function`` of each piece on the CPU, in as many threads as PyTorch may use, each of which computes alone.

    Two threads inside of one small operation wait for each other at its end, and PyTorch's and NumPy's get in each
    other's way; whole pieces side by side do neither. What is set for a thread, such as inference mode, ``function``
    has to set itself.
    """
    allowed = torch.get_num_threads()
    count = min(allowed, MOST, len(pieces))
    if count < 2 or len(pieces) < FEW:
        return [function(piece) for piece in pieces]
    each = allowed // count
    pool = ThreadPoolExecutor(count, "isthmus", initializer=torch.set_num_threads, initargs=(each,))
    try:
        with _libraries().limit(limits=each, user_api="blas"):
            return list(pool.map(function, pieces))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(allowed)  # the other threads have set the part of it that is not a thread's own


@functools.cache
def _libraries() -> ThreadpoolController:
    """NumPy's and SciPy's products, whose threads have a number of their own. Looking for them takes 2 ms."""
    return ThreadpoolController()
