"""Nearest codes by cells: look at the few cells of an inverted file whose centres are nearest to a query.

Jégou, Douze & Schmid 2011, "Product quantization for nearest neighbor search", section IV (the inverted file); codes
are kept whole here, so what is looked at is compared exactly. Of one cell, all is looked at: plain brute force.

Candidates are found by matrix products in float32 and their distances made again, one pair at a time. The
products may err by ``_slack``, and every code within that of the k-th is a candidate. So what a query finds depends
neither on the other queries nor on the number of threads, and ties go to the lower row.

Shapes: m queries; n codes of a cell; C cells; P probes of a query; K coordinates; k neighbours.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from isthmus.threads import in_threads

__all__ = ["Cell", "Probes", "assigned", "cells_for", "centres_of", "nearest", "one_thread", "probed", "probes_for"]

QUERIES = 256  # that meet a cell in one product: 256 x 8,000 distances are 8 MiB
COARSE = 64  # queries whose distances to the centres are made in one product of that very shape: equal bits
FEW = 64  # queries below which one thread is enough
PAIRS = 2**25  # distances that the queries of one round may cost; bounds the memory that candidates take
SAMPLE = 64  # codes for each centre to learn it from, as many as help (Faiss takes up to 256)
ROUNDS = 10  # of Lloyd's algorithm; the last percent of its error moves few codes
ASKED = 1000  # items whose neighbours tell how many cells have to be probed
DEPTHS = (10, 100)  # numbers of neighbours for which that is found out


class Cell(NamedTuple):
    """The codes of one cell."""

    rows: np.ndarray  # (n,) int64, rising
    codes: np.ndarray  # (n, K) float32
    squares: np.ndarray  # (n,) float32, their squared lengths


class Pairs(NamedTuple):
    """Queries and codes of one cell that may be near each other."""

    number: int  # of the cell
    longest: float  # squared length of its longest code
    asked: np.ndarray  # (p,) queries
    where: np.ndarray  # (p,) places in the cell
    apart: np.ndarray  # (p,) |x|^2 - 2 q x, as float32 gives it


def cells_for(n: int) -> int:
    """How many cells n codes are put in: 2 sqrt(n). Centres and codes then cost a query about as much."""
    return max(int(2 * np.sqrt(n)), 1)


def centres_of(codes: np.ndarray, seed: int) -> np.ndarray:
    """Centres (C, K) float32 of cells for codes (n, K): k-means on a sample (Lloyd 1982)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    count = cells_for(len(codes))
    rows = np.random.default_rng(seed).choice(len(codes), min(len(codes), SAMPLE * count), replace=False)
    sample = codes[rows]  # in random order, so the first are a draw to begin with
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different codes than cells: some stay empty
        found = KMeans(count, init=sample[:count], n_init=1, max_iter=ROUNDS, random_state=seed).fit(sample)
    return np.unique(found.cluster_centers_.astype(np.float32), axis=0)


class Probes(NamedTuple):
    """The cells that each query looks at."""

    first: np.ndarray  # (m,) the nearest
    asked: np.ndarray  # (p,) queries, rising
    cells: np.ndarray  # (p,) others that they look at

    def of(self, start: int, stop: int) -> Probes:
        """Those of some queries, which are counted from 0 again."""
        begin, end = np.searchsorted(self.asked, (start, stop))
        return Probes(self.first[start:stop], self.asked[begin:end] - start, self.cells[begin:end])


def probed(queries: np.ndarray, centres: np.ndarray, count: int) -> Probes:
    """The ``count`` cells whose centres are nearest to each query; more where several are as near as the last."""
    squares = np.einsum("ck,ck->c", centres, centres)

    def some(start: int) -> tuple[np.ndarray, np.ndarray]:
        block = queries[start : start + COARSE]
        kept = len(block)
        if kept < COARSE:
            block = np.concatenate([block, np.broadcast_to(block[:1], (COARSE - kept, block.shape[1]))])
        apart = (squares - 2 * (block @ centres.T))[:kept]
        first = apart.argmin(1)
        if count == 1:
            return first, np.zeros(0, np.int64)
        limit = np.inf if count >= len(centres) else np.partition(apart, count - 1, axis=1)[:, count - 1 : count]
        within = apart <= limit
        within[np.arange(kept), first] = False
        return first, np.flatnonzero(within) + start * len(centres)

    found = _mapped(some, range(0, len(queries), COARSE), len(queries))
    asked, cells = np.divmod(np.concatenate([pairs for _, pairs in found]), len(centres))
    return Probes(np.concatenate([first for first, _ in found]), asked, cells)


def one_thread() -> Any:
    """Inside, NumPy's products take one thread each: two that share a small one mostly wait for each other.

    On a busy machine a single query takes 1 ms so, and 70 otherwise. Many queries go side by side, see ``in_threads``.
    """
    return _libraries().limit(limits=1, user_api="blas")


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _mapped(function: Callable[[Any], Any], pieces: Sequence[Any], queries: int) -> list[Any]:
    """Of each piece; for few queries in this thread, for starting others takes as long as all of it."""
    return [function(piece) for piece in pieces] if queries < FEW else in_threads(function, pieces)


def assigned(codes: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The cell (n,) int64 of each code: that of the nearest centre."""
    return probed(codes, centres, 1).first


def nearest(
    queries: np.ndarray, k: int, probes: Probes, cell: Callable[[int], Cell], size: float
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest codes in the cells of each query.

    Parameters
    ----------
    queries : (m, K) float32
    cell : gives a cell by its number; called from several threads
    size : mean number of codes in a cell, which decides how many queries go at a time

    Returns
    -------
    Rows (m, k) int64 and squared distances (m, k) float64, the nearest first; row -1 and infinity where there were
    fewer than k codes in the cells.
    """
    each = (1 + len(probes.cells) / len(queries)) * size
    step = int(np.clip(PAIRS / max(each, 1), 1, 2**14))
    parts = [_some(queries[start : start + step], k, probes.of(start, start + step), cell)
             for start in range(0, len(queries), step)]  # fmt: skip
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([squared for _, squared in parts])


def _some(queries: np.ndarray, k: int, probes: Probes, cell: Callable[[int], Cell]) -> tuple[np.ndarray, np.ndarray]:
    count, width = queries.shape
    lengths = np.sqrt(np.einsum("mk,mk->m", queries, queries))
    bound = np.full(count, np.inf, np.float32)  # what the products say of the k-th so far, and their doubt

    def meet(piece: tuple[int, np.ndarray], opening: bool) -> Pairs | None:
        """The pairs of a query and a code that may be among the k nearest."""
        number, asked = piece
        rows, codes, squares = cell(number)
        if not len(rows):
            return None
        apart = (-2 * queries[asked]) @ codes.T
        apart += squares
        longest = float(squares.max())
        if opening and len(rows) >= k:
            within = np.partition(apart, k - 1, axis=1)[:, k - 1]
            bound[asked] = within + _slack(lengths[asked], longest, width)
        which, where = np.divmod(np.flatnonzero(apart <= bound[asked][:, None]), len(rows))
        return Pairs(number, longest, asked[which], where, apart[which, where])

    found = _mapped(lambda piece: meet(piece, True), _grouped(probes.first, np.arange(count)), count)
    found += _mapped(lambda piece: meet(piece, False), _grouped(probes.cells, probes.asked), count)
    return _best(queries, k, [some for some in found if some is not None], cell)


def _best(
    queries: np.ndarray, k: int, found: list[Pairs], cell: Callable[[int], Cell]
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of the pairs that were found, by their exact distances."""
    count = len(queries)
    out, distances = np.full((count, k), -1, np.int64), np.full((count, k), np.inf)
    if not found:
        return out, distances
    asked, apart = np.concatenate([some.asked for some in found]), np.concatenate([some.apart for some in found])
    lengths = np.sqrt(np.einsum("mk,mk->m", queries, queries))
    doubt = _slack(lengths, max(some.longest for some in found), queries.shape[1])
    limit = _kth(asked, apart, k, count) + 2 * doubt
    kept = apart <= limit[asked]
    stops = np.cumsum([len(some.asked) for some in found])
    rows, exact = np.empty(len(kept), np.int64), np.empty(len(kept))
    for some, stop in zip(found, stops, strict=True):
        at = np.flatnonzero(kept[stop - len(some.asked) : stop])
        if len(at):
            held = cell(some.number)
            place = at + stop - len(some.asked)
            between = queries[some.asked[at]] - held.codes[some.where[at]]
            rows[place], exact[place] = held.rows[some.where[at]], np.square(between).sum(1, dtype=np.float64)
    asked, rows, exact = asked[kept], rows[kept], exact[kept]
    order = np.lexsort((rows, exact))
    order = order[np.argsort(asked[order].astype(np.uint16), kind="stable")]  # by counting: there are at most 2^14
    asked, rows, exact = asked[order], rows[order], exact[order]
    rank = np.arange(len(asked)) - np.searchsorted(asked, asked)
    near = rank < k
    out[asked[near], rank[near]], distances[asked[near], rank[near]] = rows[near], exact[near]
    return out, distances


def _kth(asked: np.ndarray, apart: np.ndarray, k: int, count: int) -> np.ndarray:
    """The k-th smallest float32 of each query (count,), or the largest where it has fewer; infinity where none."""
    bits = apart.view(np.int32)
    rising = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) + 2**31  # in the order of the floats
    keys = np.sort((asked.astype(np.int64) << 32) | rising)  # one sort of integers is far quicker than two of pairs
    begins = np.searchsorted(keys, np.arange(count + 1, dtype=np.int64) << 32)
    last = np.minimum(begins[:-1] + k, begins[1:]) - 1
    bits = ((keys[np.maximum(last, 0)] & 0xFFFFFFFF) - 2**31).astype(np.int32)
    values = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)
    return np.where(begins[1:] > begins[:-1], values, np.inf).astype(np.float32)


def _slack(lengths: np.ndarray, longest: float, width: int) -> np.ndarray:
    """Twice the most that rounding can change ``|x|^2 - 2 q x`` in float32 (Higham 2002, section 3.1)."""
    return (2 * (width + 4) * 2.0**-24 * np.square(lengths + np.sqrt(longest))).astype(np.float32)


def _grouped(cells: np.ndarray, asked: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Each cell with the queries that look at it, at most QUERIES at a time."""
    order = np.argsort(cells, kind="stable")
    cells, asked = cells[order], asked[order]
    bounds = [*np.flatnonzero(np.diff(cells, prepend=-1)), len(cells)]
    pieces = []
    for start, stop in pairwise(bounds):
        pieces += [(int(cells[start]), asked[at : min(at + QUERIES, stop)]) for at in range(start, stop, QUERIES)]
    return pieces


def probes_for(
    recall: float, queries: np.ndarray, centres: np.ndarray, cell: Callable[[int], Cell], places: np.ndarray, n: int
) -> dict[int, int]:
    """How many cells must be probed so that ``recall`` of the k nearest are in them, for each k of DEPTHS.

    Parameters
    ----------
    queries : (m, K) codes that are in the index themselves; each one's own is not counted
    places : the cell of every row, by row
    n : codes in the index
    """
    everything = len(centres)
    most = min(max(DEPTHS) + 1, n)
    rows, _ = nearest(queries, most, probed(queries, centres, everything), cell, n / everything)
    squares = np.einsum("ck,ck->c", centres, centres)
    rank = (squares - 2 * (queries @ centres.T)).argsort(1).argsort(1)  # of each cell, by its distance from a query
    found = {}
    for depth in DEPTHS:
        near = rows[:, 1 : min(depth + 1, most)]
        ranks = np.take_along_axis(rank, places[near], 1)
        share = np.bincount(ranks.ravel(), minlength=everything).cumsum() / ranks.size
        found[depth] = int(np.argmax(share >= recall - 1e-12)) + 1
    return found
