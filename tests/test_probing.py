"""The inner search of an index by cells: which candidates are met, and how they are put in order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from isthmus.verbs import inverted_file, probing
from isthmus.verbs.inverted_file import InvertedFile


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put codes in cells from fewer on than is worth it, for speed."""
    monkeypatch.setattr(inverted_file, "EXACT", 2000)


def clustered(n: int, width: int = 8, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((300, width)) * 3
    return (centres[random.integers(0, 300, n)] + random.standard_normal((n, width))).astype(np.float32)


def brute(codes: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and distances by the definition, ties to the lower row."""
    apart = cdist(queries.astype(np.float64), codes.astype(np.float64), "sqeuclidean")
    rows = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return rows, np.sqrt(np.take_along_axis(apart, rows, 1))


def plain(codes: np.ndarray) -> InvertedFile:
    meta = {"width": codes.shape[1], "metric": "euclidean", "names": False, "columns": [], "recall": 0.96, "seed": 0}
    return InvertedFile.make(None, meta, {"codes": codes, "names": None, "columns": None})


@pytest.mark.parametrize("width", [1, 2, 16, 65])
def test_a_search_of_all_cells_finds_what_the_definition_says(cells: None, width: int) -> None:
    codes = np.round(clustered(3000, width, seed=2) * 4) / 4  # differences are exact, and many are equal
    codes[7] *= 1000  # one code far from all, where float32 products err most
    queries = np.concatenate([codes[:300], np.round(clustered(300, width, seed=3) * 4) / 4])
    made = plain(codes)
    for k in (1, 10, 150):
        rows, distances = made.search(queries, k, exact=True)
        true_rows, true = brute(codes, queries, k)
        assert (rows == true_rows).all()
        assert distances == pytest.approx(true, rel=1e-12)


def test_how_many_cells_are_looked_at_in_a_round() -> None:
    for count in (1, 2, 11, 65, 445, 894):
        rounds = probing.rounds_of(count, 1)
        assert rounds[-1] == count
        assert all(after > before for before, after in pairwise(rounds))
    assert probing.rounds_of(1, 1) == [1]
    assert probing.rounds_of(12, 3) == [3, 12]
    assert probing.rounds_of(3, 3) == [3]


def test_candidates_are_sorted_in_pieces_as_at_once(cells: None, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, queries = clustered(4000), clustered(300, seed=1)
    made = plain(codes)
    rows, distances = made.search(queries, 10)
    for name in ("WAITING", "QUERIES", "SORTED", "PAIRS", "MOST", "ROOM"):
        with monkeypatch.context() as few:
            few.setattr(probing, name, 100)
            again = made.search(queries, 10)
        assert (again[0] == rows).all()
        assert (again[1] == distances).all()


def test_how_many_cells() -> None:
    assert [probing.cells_for(n) for n in (1, 10_000, 200_000)] == [1, 100, 447]
