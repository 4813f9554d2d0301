"""Nearest codes by cells: look at the few cells of an inverted file whose centres are nearest to a query.

Jégou, Douze & Schmid 2011, "Product quantization for nearest neighbor search", section IV (the inverted file); codes
are kept whole here, so what is looked at is compared exactly. Of one cell, all is looked at: plain brute force.

Candidates are found by matrix products in float32 and their distances made again, one pair at a time. The
products may err by ``_slack``, and every code within that of the k-th so far is a candidate. So what a query finds
depends neither on the other queries nor on the number of threads, and ties go to the lower row.

Shapes: m queries; n codes of a cell; C cells; p pairs of a query and a cell, or of a query and a code; K coordinates;
k neighbours.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from isthmus.threads import in_threads, side_by_side

__all__ = ["Cell", "assigned", "cell_of", "cells_for", "centres_of", "nearest", "one_thread", "probes_for", "rounds_of"]

QUERIES = 512  # that meet a cell in one product: 512 x 200 distances stay in a core's own cache
ROOM = 2**22  # distances of one product at most: 16 MiB, where a cell is large
COARSE = 64  # queries whose distances to the centres are made in one product of that very shape: equal bits
FEW = 64  # queries below which one thread is enough
MOST = 2**14  # queries that go together at most
GROWTH = 8  # times as many cells in each round
WAITING = 2**20  # candidates that wait to be sorted at most: 24 MiB a thread
PAIRS = 2**11  # of codes and queries whose distances are made at a time: they stay in a core's own cache
SORTED = 256  # queries whose candidates are sorted at a time
FAR = 3.3e38  # farther than any code, and finite in float32: products with infinity may be no number
SAMPLE = 64  # codes for each centre to learn it from, as many as help (Faiss takes up to 256)
ROUNDS = 10  # of Lloyd's algorithm; the last percent of its error moves few codes
ASKED = 1000  # items whose neighbours tell how many cells have to be probed
DEPTHS = (10, 100)  # numbers of neighbours for which that is found out


class Cell(NamedTuple):
    """The codes of one cell."""

    rows: np.ndarray  # (n,) int64, rising
    beside: np.ndarray  # (n, K + 2) float32: a code x, then |x|^2 and 1, so that one product gives what is compared
    reach: float  # length of the longest code


def cell_of(rows: np.ndarray, codes: np.ndarray) -> Cell:
    """The codes (n, K) float32 of these rows (n,), ready to be met."""
    squares = np.einsum("nk,nk->n", codes, codes)[:, None]
    beside = np.concatenate([codes, squares, np.ones_like(squares)], axis=1)
    return Cell(rows, beside, float(np.sqrt(squares.max(initial=0))))


def cells_for(n: int) -> int:
    """How many cells n codes are put in: sqrt(n), each of about as many codes.

    Twice as many leave a third fewer codes to look at, and take half as long again: a cell costs a query some dozen
    calls of NumPy, during which other threads wait.
    """
    return max(int(np.sqrt(n)), 1)


def centres_of(codes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most ``count`` centres (C, K) float32 of cells for codes (n, K): k-means on a sample (Lloyd 1982)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rows = np.random.default_rng(seed).choice(len(codes), min(len(codes), SAMPLE * count), replace=False)
    sample = codes[rows]  # in random order, so the first are a draw to begin with
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different codes than cells: some stay empty
        found = KMeans(count, init=sample[:count], n_init=1, max_iter=ROUNDS, random_state=seed).fit(sample)
    return np.unique(found.cluster_centers_.astype(np.float32), axis=0)


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
    scaled, squares = _scaled(centres)
    starts = range(0, len(codes), COARSE)
    return np.concatenate(_mapped(lambda start: _apart(codes, start, scaled, squares).argmin(1), starts, len(codes)))


def _scaled(centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-2 c of each centre (K, C), and |c|^2 (C,)."""
    return np.ascontiguousarray(-2 * centres.T), np.einsum("ck,ck->c", centres, centres)


def _apart(queries: np.ndarray, start: int, scaled: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """|c|^2 - 2 q c of COARSE queries, or of those that are left, and all centres."""
    block = queries[start : start + COARSE]
    kept = len(block)
    if kept < COARSE:
        block = np.concatenate([block, np.broadcast_to(block[:1], (COARSE - kept, block.shape[1]))])
    apart = block @ scaled
    apart += squares
    return apart[:kept]


def rounds_of(count: int, opening: int) -> list[int]:
    """How many cells have been looked at after each round, rising: the nearest first, and in the end ``count``.

    Every round leaves less to be found, so each may look at GROWTH times as many cells as the one before it.
    """
    rounds = [count]
    while rounds[0] > 2 * GROWTH * opening:
        rounds.insert(0, -(-rounds[0] // GROWTH))
    return [opening, *rounds] if opening < rounds[0] else rounds


def _ranked(queries: np.ndarray, centres: np.ndarray, rounds: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each round, the queries (p,) and the cells (p,) that they look at; more where several are equally near."""
    scaled, squares = _scaled(centres)
    found: list[list[np.ndarray]] = [[] for _ in rounds]
    for start in range(0, len(queries), COARSE):
        apart = _apart(queries, start, scaled, squares)
        least, masks = apart, []
        for count in reversed(rounds):  # the nearest of the nearest, so that each search is among few
            if count < len(centres):
                least = np.partition(least, count - 1, axis=1)[:, :count] if count > 1 else least.min(1, keepdims=True)
            masks.append(apart <= least.max(1, keepdims=True))
        before = np.zeros(apart.shape, bool)
        for within, pairs in zip(reversed(masks), found, strict=True):
            pairs.append(np.flatnonzero(within ^ before) + start * len(centres))
            before = within
    return [np.divmod(np.concatenate(parts), len(centres)) for parts in found]


def nearest(
    queries: np.ndarray, k: int, centres: np.ndarray, count: int, cell: Callable[[int], Cell], size: float
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest codes in the cells whose centres are nearest to each query.

    The queries are divided among the threads, each of which goes its whole way alone: threads that meet at every cell
    mostly wait for each other.

    Parameters
    ----------
    queries : (m, K) float32
    centres : (C, K) float32
    count : how many cells each query looks at
    cell : gives a cell by its place among the centres; called from several threads
    size : mean number of codes in a cell

    Returns
    -------
    Rows (m, k) int64 and squared distances (m, k) float64, the nearest first; row -1 and infinity where there were
    fewer than k codes in the cells.
    """
    rounds = rounds_of(min(count, len(centres)), max(min(int(2 * k / max(size, 1)), count), 1))
    threads = torch.get_num_threads()
    step = min(max(-(-len(queries) // threads), FEW), MOST)
    parts = [queries[start : start + step] for start in range(0, len(queries), step)]

    def of(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _some(part, k, _ranked(part, centres, rounds), cell)

    found = list(side_by_side(of, parts)) if len(parts) > 1 else [of(part) for part in parts]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([squared for _, squared in found])


def _some(
    queries: np.ndarray, k: int, rounds: list[tuple[np.ndarray, np.ndarray]], cell: Callable[[int], Cell]
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of some queries, by one thread."""
    count, width = queries.shape
    best = Best(count, k)
    squares = np.einsum("mk,mk->m", queries, queries, dtype=np.float64)
    lengths = np.sqrt(squares).astype(np.float32)
    doubt = np.float32(2 * (width + 6) * 2.0**-24)
    beside = np.concatenate(
        [-2 * queries, np.tile(np.array([1, 0], np.float32), (count, 1))], axis=1
    )  # times a cell's: apart
    room = np.empty(0, np.float32)  # of the products: memory anew for each would cost as much as they do
    for turn, (asked, cells) in enumerate(rounds):
        for number, all_of_them in _grouped(cells, asked):
            rows, codes, reach = cell(number)
            n = len(rows)
            step = max(min(ROOM // max(n, 1), QUERIES), 1)
            for start in range(0, len(all_of_them) if n else 0, step):
                some = all_of_them[start : start + step]
                if len(room) < len(some) * n:
                    room = np.empty(step * n, np.float32)
                mine, slack = beside.take(some, axis=0), _slack(lengths.take(some), reach, doubt)
                if turn:
                    mine[:, -1] -= slack
                apart = np.matmul(mine, codes.T, out=room[: len(some) * n].reshape(len(some), n))
                if turn:
                    near = np.flatnonzero(apart <= 0)
                elif n > k:
                    near = np.flatnonzero(apart <= (np.partition(apart, k - 1, axis=1)[:, k - 1] + slack)[:, None])
                else:
                    near = np.arange(apart.size)
                if len(near):
                    which, where = np.divmod(near, n)
                    which = some.take(which)
                    best.add(which, rows.take(where), _between(queries, which, codes, where))
        best.sort()
        bound = best.squared[:, -1] - squares  # of |x|^2 - 2 q x: that of the k-th so far
        beside[:, -1] = -np.minimum(bound + doubt * np.abs(bound), FAR)
    return best.rows, best.squared


class Best:
    """The nearest codes of each query so far, and candidates that wait to be sorted.

    Attributes
    ----------
    rows : (m, k) int64; -1 where there is none yet
    squared : (m, k) float64, their squared distances, rising
    """

    def __init__(self, count: int, k: int) -> None:
        self.rows, self.squared = np.full((count, k), -1, np.int64), np.full((count, k), np.inf)
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._many = 0

    def add(self, asked: np.ndarray, rows: np.ndarray, squared: np.ndarray) -> None:
        """Candidates (p,): queries, rows and squared distances."""
        self._waiting.append((asked, rows, squared))
        self._many += len(asked)
        if self._many > WAITING:
            self.sort()

    def sort(self) -> None:
        """Let none wait."""
        if not self._waiting:
            return
        asked, rows, squared = map(np.concatenate, zip(*self._waiting, strict=True))
        self._waiting, self._many = [], 0
        order = np.argsort(asked.astype(np.uint16), kind="stable")  # by counting: there are at most MOST
        asked, rows, squared = asked[order], rows[order], squared[order]
        count, k = self.rows.shape
        begins = np.searchsorted(asked, np.arange(count + 1))
        column = k + np.arange(len(asked)) - begins[asked]
        for start in range(0, count, SORTED):
            stop = min(start + SORTED, count)
            some = slice(begins[start], begins[stop])
            if some.start == some.stop:
                continue
            shape = stop - start, int(column[some].max()) + 1
            nearer, called = np.full(shape, np.inf), np.full(shape, -1)
            nearer[:, :k], called[:, :k] = self.squared[start:stop], self.rows[start:stop]
            at = asked[some] - start, column[some]
            nearer[at], called[at] = squared[some], rows[some]
            order = np.argsort(nearer, axis=1)[:, : k + 1]
            rising = np.take_along_axis(nearer, order, 1)
            tied = (rising[:, 1:] == rising[:, :-1]).any(1)
            if tied.any():  # the lower row first
                order[tied] = np.lexsort((called[tied], nearer[tied]), axis=1)[:, : k + 1]
            self.rows[start:stop] = np.take_along_axis(called, order[:, :k], 1)
            self.squared[start:stop] = np.take_along_axis(nearer, order[:, :k], 1)


def _between(queries: np.ndarray, asked: np.ndarray, codes: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Squared distances (p,) float64 of pairs of a query and a code: the same, whichever other pairs there are."""
    squared = np.empty(len(asked))
    for start in range(0, len(asked), PAIRS):
        some = slice(start, start + PAIRS)
        apart = codes.take(where[some], axis=0)[:, : queries.shape[1]] - queries.take(asked[some], axis=0)
        fine = apart.astype(np.float64)
        squared[some] = np.einsum("pk,pk->p", fine, fine)
    return squared


def _slack(lengths: np.ndarray, reach: float, doubt: np.float32) -> np.ndarray:
    """Twice the most that rounding can change ``|x|^2 - 2 q x`` in float32 (Higham 2002, section 3.1)."""
    return doubt * np.square(lengths + np.float32(reach))


def _grouped(cells: np.ndarray, asked: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each cell with the queries that look at it."""
    order = np.argsort(cells.astype(np.uint16) if len(cells) and cells.max() < 2**16 else cells, kind="stable")
    cells, asked = cells[order], asked[order]
    for start, stop in pairwise([*np.flatnonzero(np.diff(cells, prepend=-1)), len(cells)]):
        yield int(cells[start]), asked[start:stop]


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
    rows, _ = nearest(queries, most, centres, everything, cell, n / everything)
    squares = np.einsum("ck,ck->c", centres, centres)
    rank = (squares - 2 * (queries @ centres.T)).argsort(1).argsort(1)  # of each cell, by its distance from a query
    found = {}
    for depth in DEPTHS:
        near = rows[:, 1 : min(depth + 1, most)]
        ranks = np.take_along_axis(rank, places[near], 1)
        share = np.bincount(ranks.ravel(), minlength=everything).cumsum() / ranks.size
        found[depth] = int(np.argmax(share >= recall - 1e-12)) + 1
    return found
