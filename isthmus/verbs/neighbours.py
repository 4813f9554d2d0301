"""The graph of nearest codes: which items are near which, how strongly, and what spreads over it.

Neighbours are exact. Distance is Euclidean among codes; where items may be moved without changing what they are (a
picture by a pixel), it is the least over such moves (as in one-sided tangent distance, Simard et al. 1993, with the
moves themselves in place of their tangents).

Shapes: n items of the graph; q items that are asked about; K coordinates of a code; S moves; k neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.threads import in_threads

__all__ = ["Near", "affinities", "codes_of", "fewest", "moved", "nearest", "solved"]

ROWS = 512  # items whose distances are looked at together: 512 x 40 x 64 floats are 5 MiB
CANDIDATES = 40  # of plain distance, among which the nearest after moves are looked for
LEAST, MOST = 5, 20  # neighbours that ``fewest`` chooses from
REACHED = 0.99  # share of the items that a graph has to connect with a label
TOLERANCE = 1e-6  # of the conjugate gradients, relative


class Near(NamedTuple):
    """The nearest items of each of q, the nearest first."""

    rows: np.ndarray  # (q, k) int64
    distances: np.ndarray  # (q, k) float32, squared

    def first(self, k: int) -> Near:
        return Near(self.rows[:, :k], self.distances[:, :k])


def codes_of(model: Any, stored: Tensor, moves: list[tuple[int, ...]]) -> Iterator[tuple[slice, Tensor]]:
    """Codes of the items after each move, (B, S, K), some items at a time with where they stand."""
    for start in range(0, len(stored), ROWS):
        rows = slice(start, min(start + ROWS, len(stored)))
        some = stored[rows]
        yield rows, torch.stack([model._in_blocks(model._encode_stored, moved(some, move)) for move in moves], 1)


def moved(stored: Tensor, move: tuple[int, ...]) -> Tensor:
    """Items (n, c, sides...) moved by whole steps along their sides; what comes in repeats the edge."""
    for axis, steps in enumerate(move, stored.ndim - len(move)):
        if steps:
            places = (torch.arange(stored.shape[axis]) - steps).clamp(0, stored.shape[axis] - 1)
            stored = stored.index_select(axis, places)
    return stored


def nearest(
    codes: np.ndarray, k: int, asked: np.ndarray | None = None, after: Iterator[tuple[slice, Tensor]] | None = None
) -> Near:
    """The k nearest of ``codes`` (n, K) to each of ``asked`` (q, K), or to each of themselves, itself left out.

    ``after``, codes of the asked items after moves as ``codes_of`` gives them, makes a distance the least over moves,
    looked for among the 40 (or k) nearest by plain distance.

    The search is a matrix product; distances of what it finds are then taken again term by term, so that an item has
    the same ones in any company. n from 2; k below n (at most n for others).
    """
    from sklearn.neighbors import NearestNeighbors

    codes = np.ascontiguousarray(codes, dtype=np.float32)
    most = len(codes) - (asked is None)
    searched = min(max(CANDIDATES, k) if after is not None else k + 2, most)
    search = NearestNeighbors(n_neighbors=searched, algorithm="brute").fit(codes)
    found = search.kneighbors(asked, return_distance=False)
    base = torch.from_numpy(codes)
    queries = base if asked is None else torch.from_numpy(np.ascontiguousarray(asked, dtype=np.float32))
    if after is None:
        blocks = (slice(start, start + ROWS) for start in range(0, len(queries), ROWS))
        after = ((rows, queries[rows][:, None]) for rows in blocks)
    near, distances = [], []
    for rows, moves in after:
        places = torch.from_numpy(np.sort(found[rows], axis=1))  # ties go to the first item, in any company
        there, least = base[places], torch.full(places.shape, torch.inf)
        for place in range(moves.shape[1]):
            torch.minimum(least, (there - moves[:, place, None]).square_().sum(2), out=least)
        least, order = least.sort(dim=1, stable=True)
        near.append(places.gather(1, order[:, :k]).numpy())
        distances.append(least[:, :k].numpy())
    return Near(np.concatenate(near), np.concatenate(distances))


def affinities(near: Near) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """The symmetric graph (n, n), and the scale of each item (n,): the distance to its last neighbour.

    Weights are exp(-d^2 / (s_i s_j)), s the scales (Zelnik-Manor & Perona 2004): an edge weighs the same where items
    lie close and where they lie apart. Two items are joined where one is among the neighbours of the other.
    """
    count, k = near.rows.shape
    distances = near.distances.astype(np.float64)
    scale = np.sqrt(distances[:, -1])
    scale = np.maximum(scale, max(1e-6 * float(np.median(scale)), 1e-30))  # copies of one item have no distance
    weights = np.exp(-distances / (scale[:, None] * scale[near.rows]))
    edges = (np.maximum(weights, 1e-12).ravel(), (np.repeat(np.arange(count), k), near.rows.ravel()))
    graph = scipy.sparse.csr_array(edges, shape=(count, count))
    return graph.maximum(graph.T).tocsr(), scale


def fewest(near: Near, anchors: np.ndarray) -> int:
    """The fewest neighbours, from 5 to 20, whose graph connects 99 % of the items with one of ``anchors``.

    Every further neighbour is a longer edge, and more likely one between classes; too few leave islands without a
    label.
    """
    count, most = near.rows.shape
    for k in range(min(LEAST, most), min(MOST, most)):
        edges = (np.ones(count * k, np.int8), (np.repeat(np.arange(count), k), near.rows[:, :k].ravel()))
        graph = scipy.sparse.csr_array(edges, shape=(count, count))
        _, island = scipy.sparse.csgraph.connected_components(graph, directed=False)
        if np.isin(island, island[anchors]).mean() >= REACHED:
            return k
    return min(MOST, most)


def solved(graph: scipy.sparse.csr_array, starts: np.ndarray, alpha: float) -> np.ndarray:
    """(n, R) solutions F of (I - alpha D^-1/2 W D^-1/2) F = starts, column by column, by conjugate gradients.

    The limit of label spreading (Zhou et al. 2004), without its thousands of rounds. Raises SettingError for an
    ``alpha`` outside of (0, 1).
    """
    from scipy.sparse.linalg import cg

    if not 0 < alpha < 1:
        raise SettingError(f"alpha={alpha!r}: expected a number above 0 and below 1, the share that is passed on")
    count = graph.shape[0]
    root = 1 / np.sqrt(np.maximum(graph.sum(axis=1), 1e-300))
    spread = graph.multiply(root[:, None]).multiply(root[None, :]).tocsr()
    system = (scipy.sparse.eye_array(count, format="csr") - alpha * spread).tocsr()

    def column(start: np.ndarray) -> np.ndarray:
        return cg(system, start, rtol=TOLERANCE, maxiter=1000)[0]

    return np.stack(in_threads(column, list(np.ascontiguousarray(starts.T))), axis=1)


def require_shifts(shifts: Any, spec: Any) -> list[tuple[int, ...]]:
    """All moves by up to ``shifts`` steps along the sides of an image or a series, none first.

    Raises SettingError where the items have no sides, or not so long ones.
    """
    if isinstance(shifts, bool) or not isinstance(shifts, (int, np.integer)) or shifts < 0:
        raise SettingError(f"shifts={shifts!r}: expected a whole number of pixels (or steps of time), 0 for none")
    if not shifts:
        return [()]
    if spec.kind not in ("image", "series"):
        raise SettingError(f"shifts={shifts}: only images and series can be shifted, and these items are a {spec.kind}")
    if shifts >= min(spec.shape[1:]) / 2:
        raise SettingError(f"shifts={shifts}: expected less than half of the shortest side, {min(spec.shape[1:])}")
    steps = sorted(range(-int(shifts), int(shifts) + 1), key=abs)
    grids = np.meshgrid(*[steps] * len(spec.shape[1:]), indexing="ij")
    return [tuple(int(step) for step in move) for move in np.stack([grid.ravel() for grid in grids], 1)]
