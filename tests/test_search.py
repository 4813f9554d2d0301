"""Search: what is nearest, filters, adding and deleting, what a kill leaves, and what is refused."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.spatial.distance import cdist

import isthmus as im
from isthmus.commands.search import index as index_command
from isthmus.commands.search import remove as remove_command
from isthmus.commands.search import search as search_command
from isthmus.errors import (
    DamagedFileError,
    DataError,
    FileError,
    FormatError,
    FutureFileError,
    NotSupported,
    SettingError,
)
from isthmus.verbs import inverted_file
from isthmus.verbs.inverted_file import InvertedFile
from isthmus.verbs.search import Index, identity, index, search

X, Y = im.datasets.digits(labels=True)
NAMES = [f"d{row}" for row in range(len(X))]


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put codes in cells from fewer on than is worth it, for speed."""
    monkeypatch.setattr(inverted_file, "EXACT", 2000)


@pytest.fixture(scope="module")
def model() -> Any:
    return im.PCA(16).fit(X)


@pytest.fixture
def held(model: Any, tmp_path: Path) -> Any:
    with index(model, X, tmp_path / "digits.index", NAMES, {"digit": Y, "half": Y / 2}) as made:
        yield made


def brute(codes: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and distances by the definition, ties to the lower row."""
    apart = cdist(queries.astype(np.float64), codes.astype(np.float64), "sqeuclidean")
    rows = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return rows, np.sqrt(np.take_along_axis(apart, rows, 1))


def clustered(n: int, width: int = 8, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((300, width)) * 3
    return (centres[random.integers(0, 300, n)] + random.standard_normal((n, width))).astype(np.float32)


def plain(codes: np.ndarray, path: Path | None = None, **given: Any) -> InvertedFile:
    meta = {"width": codes.shape[1], "metric": "euclidean", "names": False, "columns": [], "recall": 0.96, "seed": 0}
    return InvertedFile.make(path, meta | given, {"codes": codes, "names": None, "columns": None})


# --- What is nearest ------------------------------------------------------------------------------------------------


def test_few_items_are_compared_exactly(model: Any, held: Index) -> None:
    found = held.search(X[:50], k=7)
    rows, distances = brute(model.encode(X), model.encode(X[:50]), 7)
    assert (found.rows == rows).all()
    assert found.distances == pytest.approx(distances, abs=1e-4)
    assert found.names is not None
    assert found.names[3][0] == "d3"


def test_the_cells_find_what_is_promised_and_too_few_cells_do_not(cells: None) -> None:
    codes, queries = clustered(6000), clustered(500, seed=1)
    truth, _ = brute(codes, queries, 10)
    made = plain(codes)
    assert made.meta["trained"] == 6000
    near, distances = made.search(queries, 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(near, truth, strict=True)]) >= 0.95
    assert (np.diff(distances) >= 0).all()
    assert (made.search(queries, 10, exact=True)[0] == truth).all()
    assert made.meta["probes"]["10"] < len(made._centres()) / 4  # else nothing is gained
    made.meta["probes"] = {10: 1}
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(made.search(queries, 10)[0], truth, strict=True)]) < 0.95


def test_a_query_finds_the_same_alone_and_on_any_number_of_threads(cells: None) -> None:
    codes, queries = clustered(4000), clustered(300, seed=1)
    made = plain(codes)
    rows, distances = made.search(queries, 10)
    for i in (0, 7, 299):
        alone = made.search(queries[i : i + 1], 10)
        assert (alone[0] == rows[i]).all()
        assert (alone[1] == distances[i]).all()
    torch.set_num_threads(2)
    try:
        two = made.search(queries, 10)
    finally:
        torch.set_num_threads(1)
    assert (two[0] == rows).all()
    assert (two[1] == distances).all()


def test_ties_go_to_the_lower_row_however_many_there_are() -> None:
    codes = np.repeat(clustered(3), 400, axis=0)
    made = plain(codes)
    rows, distances = made.search(codes[400:401], 10)
    assert rows[0].tolist() == list(range(400, 410))
    assert (distances == 0).all()


def test_a_far_offset_costs_no_neighbour() -> None:
    codes = clustered(2000) + np.float32(5000)  # where float32 products err by more than codes differ
    rows, _ = plain(codes).search(codes[:100], 5)
    assert (rows == brute(codes, codes[:100], 5)[0]).all()


def test_cosine_goes_by_direction_alone(model: Any) -> None:
    codes = clustered(500, 16)
    with index(model, codes=codes, metric="cosine") as made:
        found = made.search(codes=codes[:20] * 3, k=4)
    unit = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    along = unit[:20] @ unit.T
    assert (found.rows == np.argsort(-along, axis=1, kind="stable")[:, :4]).all()
    assert found.distances == pytest.approx(1 - np.take_along_axis(along, found.rows, 1), abs=1e-5)
    with pytest.raises(DataError, match="code 1 is zero and has no direction"):
        index(model, codes=np.stack([codes[0], codes[0] * 0]), metric="cosine")


def test_more_neighbours_than_the_cells_hold(cells: None) -> None:
    codes = clustered(2500)
    made = plain(codes)
    rows, _ = made.search(codes[:2], 2400)
    assert (np.sort(rows, axis=1)[:, 0] >= 0).all()
    assert len(set(rows[0].tolist())) == 2400


# --- By name, expression, filter --------------------------------------------------------------------------------------


def test_by_name_leaves_out_the_item_itself(held: Index) -> None:
    assert held.search("d5", 3).rows.tolist() == held.search(X[5:6], 4).rows[0, 1:].tolist()
    assert held.search("d5", 1, own=True).names == ["d5"]


def test_by_expression(model: Any, held: Index) -> None:
    Z = model.encode(X[:3])
    found = held.search("d0 - d1 + 2 * d2", 4)
    wanted = held.search(codes=Z[0] - Z[1] + 2 * Z[2], k=7)
    assert found.rows.tolist() == [row for row in wanted.rows.tolist() if row > 2][:4]
    assert held.code("average(d0, d1)") == pytest.approx((Z[0] + Z[1]) / 2, abs=1e-5)


def test_a_name_with_signs_in_it_is_a_name_first(model: Any) -> None:
    with index(model, X[:3], names=["a-b", "a", "b"]) as made:
        assert made.search("a-b", 1).names in (["a"], ["b"])
        assert made.search("a - b", 1).names == ["a-b"]


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ("digit = 3", lambda row: Y[row] == 3),
        ("digit > 3 and half < 3", lambda row: 3 < Y[row] < 6),
        ("\"digit\" in (1, 2) or name like 'd1__'", lambda row: Y[row] in (1, 2) or 100 <= row < 200),
        ("row < 40", lambda row: row < 40),
    ],
)
def test_a_filter_gives_the_nearest_of_those_that_pass(model: Any, held: Index, where: str, passes: Any) -> None:
    rows = np.array([row for row in range(len(X)) if passes(row)])
    Z = model.encode(X)
    wanted = rows[brute(Z[rows], Z[:9], 5)[0]]
    assert (held.search(X[:9], 5, where=where).rows == wanted).all()


def test_a_narrow_filter_keeps_the_recall_of_cells(cells: None) -> None:
    codes, queries = clustered(4000), clustered(100, seed=1)
    made = plain(codes)
    rows = np.arange(0, 4000, 40)
    found, _ = made.search(queries, 5, rows=rows)
    truth = rows[brute(codes[rows], queries, 5)[0]]
    assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(found, truth, strict=True)]) >= 0.95


def test_a_filter_that_passes_far_items_alone_keeps_the_recall(cells: None) -> None:
    shares = []
    for seed in range(3):  # queries from afar see few cells first, the same ones: it is a matter of luck which
        codes = clustered(4000, seed=seed)
        codes[2000:] += 40
        rows = np.arange(2000, 4000)
        found, _ = plain(codes).search(codes[:100], 5, rows=rows)
        truth = rows[brute(codes[rows], codes[:100], 5)[0]]
        shares.append(np.mean([len(set(a) & set(b)) / 5 for a, b in zip(found, truth, strict=True)]))
    assert np.mean(shares) >= 0.8


def test_where_few_cells_hold_fewer_than_k_all_are_looked_at(cells: None) -> None:
    codes = clustered(4000)
    made = plain(codes)
    made._execute("UPDATE meta SET value = '{\"10\": 1}' WHERE key = 'probes'")
    made._seen = -1
    rows, distances = made.search(codes[:20], 10)
    assert (rows >= 0).all()
    few = made.search(codes[:1], 400)
    assert len(set(few[0][0].tolist()) & set(brute(codes, codes[:1], 400)[0][0].tolist())) > 320
    assert np.isfinite(distances).all()


@pytest.mark.parametrize(
    ("where", "match"),
    [
        ("digt > 3", "no column 'digt'; did you mean 'digit'"),
        ('"digt" > 3', "no column 'digt'; did you mean 'digit'"),
        ("digit >", "cannot be used: .*syntax error.*columns are 'digit', 'half', 'name', 'row'"),
        ("1) UNION SELECT row FROM items --", "cannot be used"),
        ("1; DROP TABLE items", "cannot be used"),
        ("load_extension('x')", "only columns, comparisons"),
        ("digit = (SELECT count(*) FROM items)", "only columns, comparisons"),
        ("digit < (SELECT max(a.digit * b.digit) FROM columns a, columns b)", "only columns, comparisons"),
        ("row in (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c)", "cannot be used"),
        ("zeroblob(1000000000) = 1", "only columns, comparisons"),
        ("", "expected a condition"),
        ("digit = 11", "k=10 neighbours asked for, but .* holds 1797 items, of which 0 pass the filter"),
    ],
)
def test_filters_that_are_refused(held: Index, where: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        held.search("d5", where=where)
    assert len(held) == len(X)


def test_text_needs_a_model_that_has_it(held: Index, model: Any) -> None:
    with pytest.raises(NotSupported, match="needs a model that encodes text, and this PCA was fitted to .* image"):
        held.search(text="seven")

    class Joint:
        def __getattr__(self, name: str) -> Any:
            return getattr(model, name)

        def encode_text(self, texts: list[str]) -> np.ndarray:
            return model.encode(X[[int(text) for text in texts]])

    held.model = Joint()
    assert held.search(text="5", k=1).names == ["d5"]


def test_tables_with_moments_and_holes_as_columns(model: Any) -> None:
    import pandas

    days = pandas.date_range("2020-01-01", periods=5)
    frame = pandas.DataFrame({"day": days, "note": ["x", None, "y", "x", "x"], "n": [1.5, None, 3.0, 4.0, 5.0]})
    with index(model, X[:5], columns=frame) as made:
        assert sorted(made.search(X[:1], 2, where="day >= '2020-01-04'").rows[0].tolist()) == [3, 4]
        assert made.search(X[:1], 1, where="note is null").rows.tolist() == [[1]]
        assert made.search(X[:1], 1, where="n is null").rows.tolist() == [[1]]


def test_moments_of_numpy_as_columns(model: Any) -> None:
    days = np.array(["2020-01-01", "2020-01-02", "NaT"], "datetime64[ns]")
    with index(model, X[:3], columns={"day": days, "date": days.astype("datetime64[D]")}) as made:
        assert made.search(X[:1], 1, where="day > '2020-01-01 12:00' and date = '2020-01-02'").rows.tolist() == [[1]]
        assert made.search(X[:1], 1, where="day is null and date is null").rows.tolist() == [[2]]


# --- Adding and deleting ----------------------------------------------------------------------------------------------


def test_what_is_added_piece_by_piece_is_found_as_if_built_at_once(cells: None, tmp_path: Path) -> None:
    codes, queries = clustered(5000), clustered(50, seed=1)
    made = plain(codes[:1000], tmp_path / "a.index")
    for start in range(1000, 5000, 500):
        rows = made.add(codes[start : start + 500], None, None)
        assert rows.tolist() == list(range(start, start + 500))
    assert made.meta["trained"] == 5000  # the cells came when they were worth it
    truth, _ = brute(codes, queries, 10)
    assert (made.search(queries, 10, exact=True)[0] == truth).all()
    made.close()
    again = InvertedFile(tmp_path / "a.index")
    assert (again.search(queries, 10, exact=True)[0] == truth).all()
    again.close()


def test_delete_by_name_row_and_filter(held: Index) -> None:
    near = held.search(X[5:6], 2).rows[0]
    assert held.delete("d5") == 1
    assert held.search(X[5:6], 1).rows[0].tolist() == [near[1]]
    assert held.delete(rows=[7, 9], where="digit = 0") == 2 + int((np.delete(Y, [5, 7, 9]) == 0).sum())
    assert len(held) == len(held.names or [])
    with pytest.raises(DataError, match="there is no item 'd5'; did you mean"):
        held.delete("d5")
    before = len(held)
    with pytest.raises(DataError, match="no row 7 in .*deleted, or never there"):
        held.delete(["d11"], rows=[7])
    assert len(held) == before
    assert held.add(X[5:6], ["d5"], {"digit": [5], "half": [2.5]}).tolist() == [len(X)]  # no row is given twice


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "have names: give names="),
        ({"names": ["a"]}, "1 names given for 2 items"),
        ({"names": ["a", "a"]}, "name of item 1 is 'a', as that of item 0 is"),
        ({"names": ["a", ""]}, "name of item 1 is empty"),
        ({"names": ["a", "d3"]}, "there is an item 'd3' in .* already"),
        (
            {"names": ["a", "b"], "columns": {"digit": [1, 2]}},
            r"columns \['digit'\] given, but .* has \['digit', 'half'\]",
        ),
        ({"names": ["a", "b"], "columns": {"digit": [1], "half": [1, 2]}}, "column 'digit' has 1 values for 2 items"),
        ({"names": ["a", "b"], "columns": {"digit": [1, 2**70], "half": [1, 2]}}, "'digit', item 1: .* beyond 64 bits"),
        ({"names": ["a", "b"], "columns": {"digit": [1, b"x"], "half": [1, 2]}}, "'digit', item 1 is a bytes"),
    ],
)
def test_what_cannot_be_added_changes_nothing(held: Index, given: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=match):
        held.add(X[:2], **given)
    assert len(held) == len(X)
    assert held.search("d5", 1).rows.shape == (1,)


def test_two_processes_worth_of_connections_see_each_other(held: Index, model: Any) -> None:
    path = held._file.path
    held.search(X[:1], 1)
    with Index(path, model) as other:  # type: ignore[arg-type]
        other.add(X[:1], ["new"], {"digit": [0], "half": [0]})
    assert held.search(X[:1], 2).names == [["d0", "new"]]


def test_many_threads_may_search_one_index(held: Index) -> None:
    wanted, found = held.search(X[:40], 5).rows, {}

    def ask(place: int) -> None:
        found[place] = held.search(X[:40], 5).rows

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all((rows == wanted).all() for rows in found.values())


def test_a_failed_build_leaves_the_old_index(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.index"
    index(model, X[:30], path).close()
    with pytest.raises(DataError, match="40 names given for 50 items"):
        index(model, X[:50], path, names=NAMES[:40])
    with Index(path) as made:
        assert len(made) == 30
    assert [file.name for file in tmp_path.iterdir()] == ["a.index"]


# --- Killed -----------------------------------------------------------------------------------------------------------

KILLED = """
    import os, signal, sys
    import numpy as np
    from isthmus.verbs import inverted_file
    inverted_file.EXACT, when = 1500, sys.argv[2]
    made = inverted_file.InvertedFile(sys.argv[1])
    made._open.execute("PRAGMA cache_size = 4")  # so that changed pages reach the disk before the end
    made.add(np.full((400, 8), 1, np.float32), None, None)
    print("committed", flush=True)
    seen = []
    def trace(statement):
        seen.append(statement)
        if statement.startswith(when) and sum(one.startswith(when) for one in seen) > 300:
            os.kill(os.getpid(), signal.SIGKILL)
    made._open.set_trace_callback(trace)
    made.add(np.full((1000, 8), 2, np.float32), None, None)
    print("not reached", flush=True)
"""


@pytest.mark.parametrize("when", ["INSERT INTO codes", "UPDATE items SET cell"])  # while adding; while making cells
def test_a_kill_in_the_middle_of_a_write_loses_nothing_that_was_committed(tmp_path: Path, when: str) -> None:
    path = tmp_path / "a.index"
    plain(clustered(200), path).close()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path), when], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.split() == ["committed"]
    journal = Path(f"{path}-journal")
    assert journal.exists()
    assert journal.stat().st_size > 0
    made = InvertedFile(path)
    assert len(made) == 600
    assert made.meta["next"] == 600
    rows, distances = made.search(np.full((1, 8), 1, np.float32), 400)
    assert sorted(rows[0].tolist()) == list(range(200, 600))
    assert not distances.any()
    assert made._execute("SELECT count(*) FROM codes").fetchone() == (600,)
    assert made._execute("SELECT count(*) FROM columns").fetchone() == (600,)
    assert made._execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert made.add(np.full((1, 8), 2, np.float32), None, None).tolist() == [600]
    made.close()
    assert not journal.exists()


# --- What is refused --------------------------------------------------------------------------------------------------


def test_another_model_is_refused_and_the_same_one_loaded_is_not(model: Any, held: Index, tmp_path: Path) -> None:
    path = held._file.path
    model.save(tmp_path / "m.isthmus")
    again = im.load(tmp_path / "m.isthmus")
    assert identity(again) == identity(model)
    with Index(path, again) as made:  # type: ignore[arg-type]
        assert made.search(X[:1], 1).names == [["d0"]]
    for other in (im.PCA(16).fit(X[:900]), model.truncate(8)):
        with pytest.raises(
            DataError, match="was built with another model .* give that model, or build the index again"
        ):
            Index(path, other)  # type: ignore[arg-type]


def test_without_its_model_an_index_is_asked_by_codes_and_names(held: Index, model: Any) -> None:
    path = held._file.path
    with Index(path) as made:  # type: ignore[arg-type]
        assert made.search(codes=model.encode(X[5:6])[0], k=1).names == ["d5"]
        assert search(path, "d5", 2).rows.tolist() == made.search("d5", 2).rows.tolist()  # type: ignore[arg-type]
        with pytest.raises(NotSupported, match="to search by items, open the index with its model"):
            made.search(X[:1])


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"query": X[:2, :4]}, FormatError, "images of shape .* given, but this image format learned"),
        ({"query": "d5000"}, DataError, "no item 'd5000'; did you mean"),
        ({"query": "D5", "k": 1}, DataError, "did you mean 'd5'"),
        ({"query": "d5 ++"}, DataError, "it ends where a name or a number was expected"),
        ({"query": X[:1], "k": 1798}, DataError, "k=1798 neighbours asked for, but .* holds 1797 items"),
        ({"query": "d1", "k": 1797}, DataError, "1 of them the query itself names"),
        ({"query": X[:1], "k": 0}, SettingError, "k=0"),
        ({"query": X[:1], "k": True}, SettingError, "k=True"),
        ({"codes": np.zeros((1, 3))}, DataError, r"codes of shape \(1, 3\) given, but .* codes of 16 numbers"),
        ({"codes": np.full((2, 16), np.nan)}, DataError, "code 0 is not finite"),
        ({"codes": "abc"}, FormatError, "codes must be an array of numbers"),
        ({}, SettingError, "one of query, codes and text"),
    ],
)
def test_queries_that_are_refused(held: Index, given: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        held.search(**given)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"metric": "hamming"}, SettingError, "'euclidean', 'cosine'"),
        ({"recall": 0}, SettingError, "recall=0"),
        ({"seed": -1}, SettingError, "seed=-1"),
        ({"names": ["a", "b", "a"]}, DataError, "name of item 2 is 'a', as that of item 0 is"),
        ({"columns": {"row": [1, 2, 3]}}, DataError, "a column cannot be called 'row' here: rename it"),
        ({"columns": {"a": [1, 2, 3], "A": [1, 2, 3]}}, DataError, "differ by capitals alone"),
        ({"columns": {"a": "xyz"}}, DataError, "column 'a' is no list of values"),
        ({"columns": {'"; DROP TABLE items; --': [1, 2, 3]}}, None, ""),
    ],
)
def test_indexes_that_are_refused(model: Any, given: dict[str, Any], error: type[Exception] | None, match: str) -> None:
    if error is None:
        assert len(index(model, X[:3], **given)) == 3
        return
    with pytest.raises(error, match=match):
        index(model, X[:3], **given)


def test_files_that_are_no_index(tmp_path: Path, held: Index) -> None:
    with pytest.raises(FileError, match="there is no index"):
        Index(tmp_path / "none.index")
    with pytest.raises(FileError, match="it is a folder"):
        Index(tmp_path)
    (tmp_path / "text").write_text("not a database, but long enough to look at" * 50)
    with pytest.raises(DamagedFileError, match="cannot be read as an index"):
        Index(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE t (a)")
    other.close()
    with pytest.raises(DamagedFileError, match="is no index of Isthmus"):
        Index(tmp_path / "other")
    path = str(held._file.path)
    held.close()
    with pytest.raises(DataError, match="is closed: open it again"):
        held.search("d5")
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA user_version = 9")
    with pytest.raises(FutureFileError, match="version 9"):
        Index(path)
    raw.execute("PRAGMA user_version = 1")
    raw.execute("UPDATE codes SET code = x'00' WHERE row = 3")
    with Index(path) as made, pytest.raises(DamagedFileError, match="a code that is no 16 numbers"):
        made.search("d5")
    raw.execute("CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM codes; END")
    raw.close()
    with pytest.raises(DamagedFileError, match="holds other tables"):
        Index(path)


def test_another_process_that_writes_is_waited_for_and_then_told(
    held: Index, monkeypatch: pytest.MonkeyPatch, model: Any
) -> None:
    monkeypatch.setattr(inverted_file, "WAIT", 0.1)
    path = str(held._file.path)
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN IMMEDIATE")
    with Index(path, model) as made, pytest.raises(FileError, match="being changed by another process"):
        made.add(X[:1], ["new"], {"digit": [0], "half": [0]})
    raw.execute("ROLLBACK")
    raw.close()


def test_fewer_different_codes_than_cells(cells: None) -> None:
    made = plain(np.repeat(clustered(7), 300, axis=0))
    assert len(made._centres()) < 20
    assert made.search(clustered(7), 1)[1].max() == 0


# --- Commands ---------------------------------------------------------------------------------------------------------


def test_index_search_and_remove_from_the_command_line(model: Any, tmp_path: Path) -> None:
    run = CliRunner()
    paths = {
        name: str(tmp_path / name) for name in ("m.isthmus", "x.npy", "more.npy", "columns.csv", "names", "x.index")
    }
    model.save(paths["m.isthmus"])
    np.save(paths["x.npy"], X[:100])
    np.save(paths["more.npy"], X[100:110])
    Path(paths["columns.csv"]).write_text("digit\n" + "\n".join(map(str, Y[:100])) + "\n")
    Path(paths["names"]).write_text("\n".join(NAMES[:100]) + "\n")
    built = run.invoke(
        index_command,
        [paths["m.isthmus"], paths["x.npy"], "-o", paths["x.index"], "--names", paths["names"],
         "--columns", paths["columns.csv"], "--json"],
        catch_exceptions=False,
    )  # fmt: skip
    told = json.loads(built.stdout)
    assert (told["items"], told["columns"], told["names"]) == (100, ["digit"], True)
    found = run.invoke(search_command, [paths["x.index"], "d5", "-k", "2", "--where", "digit = 5", "--json"])
    near = json.loads(found.stdout)["neighbours"]
    assert len(near) == 2
    assert all(Y[one["row"]] == 5 for one in near)
    text = run.invoke(search_command, [paths["x.index"], "d5 - d6 + d7", "-k", "2"], catch_exceptions=False)
    assert len(text.stdout.splitlines()) == 2
    by_items = run.invoke(
        search_command, [paths["x.index"], paths["x.npy"], "--model", paths["m.isthmus"], "-k", "1", "--json"]
    )
    assert [one[0]["row"] for one in json.loads(by_items.stdout)["neighbours"]] == list(range(100))
    assert run.invoke(search_command, [paths["x.index"], "x", "--text"]).exit_code == 2
    removed = run.invoke(remove_command, [paths["x.index"], "d5", "--json"], catch_exceptions=False)
    assert json.loads(removed.stdout) == {"index": paths["x.index"], "deleted": 1, "items": 99}
    assert run.invoke(remove_command, [paths["x.index"]]).exit_code == 2
    plainly = [paths["m.isthmus"], paths["more.npy"], "-o", str(tmp_path / "y.index")]
    assert run.invoke(index_command, plainly, catch_exceptions=False).exit_code == 0
    added = run.invoke(index_command, [*plainly, "--add", "--json"], catch_exceptions=False)
    assert json.loads(added.stdout)["items"] == 20
    by_row = run.invoke(search_command, [str(tmp_path / "y.index"), "3", "-k", "2", "--json"], catch_exceptions=False)
    near = [one["row"] for one in json.loads(by_row.stdout)["neighbours"]]  # these items have no names, and come twice
    assert near[0] == 13
    assert 3 not in near
    unknown = run.invoke(search_command, [paths["x.index"], paths["x.npy"]])
    assert (unknown.exit_code, "--model MODEL encodes" in unknown.output) == (2, True)


def test_a_table_with_a_column_called_row_is_indexed_without_it(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"row": np.arange(60) % 7, "a": X[:60].mean((1, 2)), "b": X[:60].std((1, 2)), "c": Y[:60]})
    table, model, made = (str(tmp_path / name) for name in ("t.csv", "t.isthmus", "t.index"))
    frame.to_csv(table, index=False)
    im.PCA(2, format="table").fit(frame).save(model)
    run = CliRunner().invoke(index_command, [model, table, "-o", made, "--json"], catch_exceptions=False)
    assert json.loads(run.stdout)["columns"] == ["a", "b", "c"]
    assert "filters will not know the column 'row'" in run.stderr
