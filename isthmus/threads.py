"""Work side by side on the processor's cores."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

__all__ = ["ahead", "in_threads", "side_by_side"]

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


def side_by_side(
    function: Callable[[Piece], Result], pieces: Iterable[Piece], products: bool = True
) -> Iterator[Result]:
    """``function`` of each piece of a stream, in the order of the pieces, several at a time on the CPU's cores.

    Pieces are asked for in the caller's thread, at most one more than there are threads before the oldest result is
    taken; so memory is bounded, and reading goes on while others compute. Where the stream breaks, the results of what
    came before are given first. One thread, PyTorch's setting, means no threads at all.

    Parameters
    ----------
    function : as in ``in_threads``
    products : whether it makes matrix products, which then have a share of the threads each; else nothing is set
    """
    allowed = torch.get_num_threads()
    count = min(allowed, MOST)
    if count < 2:
        yield from map(function, pieces)
        return
    each = allowed // count
    waiting: deque[Future[Result]] = deque()
    broken: Exception | None = None
    with ExitStack() as stack:
        if products:
            pool = ThreadPoolExecutor(count, "isthmus", initializer=torch.set_num_threads, initargs=(each,))
            stack.callback(torch.set_num_threads, allowed)  # as above
            stack.enter_context(_libraries().limit(limits=each, user_api="blas"))
        else:
            pool = ThreadPoolExecutor(count, "isthmus")
        stack.callback(pool.shutdown, cancel_futures=True)
        stream = iter(pieces)
        while True:
            try:
                piece = next(stream)
            except StopIteration:
                break
            except Exception as error:
                broken = error
                break
            waiting.append(pool.submit(function, piece))
            del piece  # it may be large
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if broken is not None:
            raise broken


def ahead(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same pieces, each made in a thread while the one before it is in use."""
    end = object()
    with ThreadPoolExecutor(1, "isthmus-read-ahead") as reader:
        coming = reader.submit(next, pieces, end)
        while (piece := coming.result()) is not end:
            coming = reader.submit(next, pieces, end)
            yield piece  # type: ignore[misc]  # it is not the end


@functools.cache
def _libraries() -> ThreadpoolController:
    """NumPy's and SciPy's products, whose threads have a number of their own. Looking for them takes 2 ms."""
    return ThreadpoolController()
