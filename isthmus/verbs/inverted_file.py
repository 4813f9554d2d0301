"""Codes with names and columns in one SQLite database, put in cells for a quick search.

    meta     key, value as JSON: what the index is of, and how its cells are searched
    items    row, cell, name
    columns  row, and the user's columns: what filters look at
    codes    cell, row, code: K float32, little-endian; the codes of one cell lie side by side on the disk
    centres  cell, code

Every change is one transaction. A process that is killed in the middle of it leaves a journal beside the file, and who
opens the file next undoes by it what was half done: SQLite's rollback journal, flushed to the disk before a page is
changed. Few codes rest in one cell and are compared with all; from EXACT on they are put in many, and again whenever
there are GROWN times as many as then. The file runs nothing: a database that holds other than these is refused.
"""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import DamagedFileError, DataError, FileError, FutureFileError
from isthmus.store import atomic_path
from isthmus.verbs import probing
from isthmus.verbs.expressions import unknown
from isthmus.verbs.probing import Cell

__all__ = ["InvertedFile"]

APPLICATION = 0x49534D49  # "ISMI", at a fixed place in the file
VERSION = 1
EXACT = 10_000  # codes up to which all are compared: a query then costs what looking for cells would
GROWN = 2  # cells are made again when there are so many times as many codes: each is moved once or twice in all
CACHE = 2**30  # bytes of codes that are kept in memory once read
WAIT = 30.0  # seconds for another process to end its change
STEPS = 10**9  # of SQLite's machine that a filter may take: a minute
METRICS = ("euclidean", "cosine")
TABLES = {"meta", "items", "columns", "codes", "centres", "names"}
TAKEN = {"row", "rowid", "oid", "_rowid_"}  # what SQLite and we call the row
FUNCTIONS = {"abs", "coalesce", "glob", "ifnull", "instr", "length", "like", "lower", "ltrim", "nullif", "replace",
             "round", "rtrim", "substr", "trim", "upper"}  # fmt: skip
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items (row INTEGER PRIMARY KEY, cell INTEGER NOT NULL, name TEXT);
CREATE UNIQUE INDEX names ON items (name);
CREATE TABLE codes (cell INTEGER, row INTEGER, code BLOB NOT NULL, PRIMARY KEY (cell, row)) WITHOUT ROWID;
CREATE TABLE centres (cell INTEGER PRIMARY KEY, code BLOB NOT NULL);
"""


class InvertedFile:
    """One open index. It knows arrays, names and columns, and no model.

    Attributes
    ----------
    meta : "width" K, "metric", "names" (whether items have names), "columns", "recall", "seed", and the caller's own
    """

    meta: dict[str, Any]
    _cells: dict[int, Cell]  # as they were read
    _held: int  # bytes of them
    _kept: np.ndarray | None  # the centres
    _n: int | None  # how many items there are
    _cell_of: np.ndarray | None  # the cell of every row

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = path
        self.name = "in memory" if path is None else str(Path(os.fsdecode(path)))
        self.lock = threading.RLock()  # one call at a time
        self._sharing = threading.Lock()  # of the threads within one call
        self._open: sqlite3.Connection | None = None
        self._seen = -1  # PRAGMA data_version when the cells were read
        self._forget()
        if path is not None:
            self._open = _connected(path)
            with self._reading():
                self._look()

    @classmethod
    def make(
        cls, path: str | os.PathLike[str] | None, meta: Mapping[str, Any], rows: Mapping[str, Any]
    ) -> InvertedFile:
        """A new one holding these rows (see ``add``), whole or not at all; it replaces a file that was there."""
        if path is None:
            made = cls(None)
            made._open = _connection(":memory:")
            made._fill(meta, rows)
            return made
        with atomic_path(path) as temporary:
            made = cls(None)
            made.name = str(Path(os.fsdecode(path)))
            made._open = _connection(os.fspath(temporary))
            try:
                made._open.execute("PRAGMA journal_mode = MEMORY")  # nobody reads the file before it has its name
                made._open.execute("PRAGMA synchronous = OFF")
                made._fill(meta, rows)
            finally:
                made.close()
        return cls(path)

    def _fill(self, meta: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
        self.meta = {"next": 0, "trained": 0, "probes": {}, **meta}
        names = self._column_names(self.meta["columns"])
        with self.changing():
            for statement in filter(str.strip, SCHEMA.split(";")):
                self._execute(statement)
            self._execute(f"PRAGMA application_id = {APPLICATION}")
            self._execute(f"PRAGMA user_version = {VERSION}")
            listed = "".join(f", {_identifier(name)}" for name in names)
            self._execute(f"CREATE TABLE columns (row INTEGER PRIMARY KEY{listed})")
            self._add(**rows)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        with self._reading():
            return self._count()

    def _count(self) -> int:
        if self._n is None:
            self._n = int(self._execute("SELECT count(*) FROM items").fetchone()[0])
        return self._n

    def names(self) -> list[str | None]:
        """Names of all items, in the order of their rows."""
        with self._reading():
            return [name for (name,) in self._execute("SELECT name FROM items ORDER BY row")]

    def names_of(self, rows: np.ndarray) -> list[str | None]:
        """Names of these rows, one list of all."""
        asked = rows.ravel().tolist()
        different = set(asked)
        with self._reading():
            if 10 * len(different) > self._count():
                found = dict(self._execute("SELECT row, name FROM items"))
            else:
                one = "SELECT name FROM items WHERE row = ?"
                found = {row: self._execute(one, (row,)).fetchone()[0] for row in different}
        return [found[row] for row in asked]

    def row_of(self, name: str) -> int:
        """The row of a name; DataError with near spellings where there is none."""
        with self._reading():
            found = self._execute("SELECT row FROM items WHERE name = ?", (name,)).fetchone()
            if found is None and not self.meta["names"]:
                raise DataError(
                    f"{name!r}: the items of {self.name} have no names. Ask with items or codes, or build it with names"
                )
            if found is None:
                raise unknown(name, [one for one in self.names() if one is not None])
        return int(found[0])

    def code_of(self, row: int) -> np.ndarray:
        """(K,) float32: the code of a row."""
        with self._reading():
            found = self._execute(
                "SELECT code FROM codes JOIN items USING (cell, row) WHERE items.row = ?", (int(row),)
            ).fetchone()
        if found is None:
            raise DataError(f"there is no row {row} in {self.name}: it was deleted, or never there")
        return self._array([found[0]])[0]

    def rows_where(self, where: str) -> np.ndarray:
        """Rows (n,) int64, rising, for which a condition in SQL's words is true.

        Only comparisons, arithmetic and some functions of the columns are let through; everything else is refused.
        """
        known = [*self._column_names(self.meta["columns"]), "row"]
        if not isinstance(where, str) or not where.strip():
            raise DataError(f'where={where!r}: expected a condition on columns, such as "age > 30"')
        outside = re.sub(r"'(?:[^']|'')*'", "''", where)
        for name in re.findall(r'"((?:[^"]|"")*)"', outside):  # SQLite takes a misspelt one for text
            if name.replace('""', '"').casefold() not in {one.casefold() for one in known}:
                raise unknown(name, known, "column")
        selects = []

        def allowed(action: int, one: str | None, two: str | None, *_: Any) -> int:
            if action == sqlite3.SQLITE_SELECT:
                selects.append(1)
                return sqlite3.SQLITE_OK if len(selects) == 1 else sqlite3.SQLITE_DENY
            if action == sqlite3.SQLITE_READ and one == "columns":
                return sqlite3.SQLITE_OK
            if action == sqlite3.SQLITE_FUNCTION and str(two).lower() in FUNCTIONS:
                return sqlite3.SQLITE_OK
            return sqlite3.SQLITE_DENY

        with self._reading() as connection:
            left = [STEPS // 10**6]

            def tick() -> bool:
                left[0] -= 1
                return left[0] < 0

            connection.set_authorizer(allowed)
            connection.set_progress_handler(tick, 10**6)
            try:
                asked = f"SELECT row FROM columns WHERE (\n{where}\n) ORDER BY row"
                return np.array([row for (row,) in connection.execute(asked)], np.int64)
            except (sqlite3.DatabaseError, sqlite3.Warning, ValueError) as error:
                lost = re.fullmatch(r"no such column: (.*)", str(error))
                if lost:
                    raise unknown(lost[1].strip('"'), known, "column") from error
                why = "only columns, comparisons, and/or/not and " + ", ".join(sorted(FUNCTIONS)) + " are allowed"
                text = why if "prohibited" in str(error) or "not authorized" in str(error) else str(error)
                raise DataError(
                    f"where={where!r} cannot be used: {text}. Write it as in \"age > 30 and city = 'Paris'\"; "
                    f"the columns are {', '.join(map(repr, known))}"
                ) from error
            finally:
                connection.set_authorizer(None)
                connection.set_progress_handler(None, 0)

    # ---- searching ---------------------------------------------------------------------------------------------------

    def search(
        self, queries: np.ndarray, k: int, *, rows: np.ndarray | None = None, without: Sequence[int] = (),
        exact: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """The k nearest rows (m, k) int64 of queries (m, K), and their distances (m, k) float64.

        Parameters
        ----------
        rows : look at these rows alone, rising; None: at all
        without : rows to leave out
        exact : look at every cell
        """
        with self._reading(), probing.one_thread():
            n = self._count()
            among = n if rows is None else len(rows)
            without = [row for row in without if rows is None or row in rows]
            if k > among - len(without):
                what = f"{self.name} holds {n} items" + ("" if rows is None else f", of which {among} pass the filter")
                left = f", and {len(without)} of them the query itself names" if without else ""
                raise DataError(f"k={k} neighbours asked for, but {what}{left}: ask for fewer")
            if self.meta["metric"] == "cosine":
                queries = _directions(queries, "query")
            centres = self._centres()
            cells = np.arange(len(centres)) if rows is None else np.unique(self._places()[rows])  # with such rows
            thinner = (n / len(centres)) / (among / len(cells))
            count = len(cells) if exact else self._probes(k, thinner, len(cells))
            take, size = self._among(rows, without), among / len(cells)

            def look(asked: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
                return probing.nearest(asked, k, centres[cells], count, lambda place: take(int(cells[place])), size)

            found, squared = look(queries, count)
            short = np.flatnonzero(found[:, -1] < 0)  # those whose cells held fewer than k
            if len(short):
                found[short], squared[short] = look(queries[short], len(cells))
        return found, squared / 2 if self.meta["metric"] == "cosine" else np.sqrt(squared)

    def _probes(self, k: int, thinner: float, cells: int) -> int:
        """Cells to look at: as many as were found to hold enough of the nearest; more where a filter thins them."""
        found = {int(depth): int(count) for depth, count in self.meta["probes"].items()}
        if not found:
            return cells
        enough = [count for depth, count in sorted(found.items()) if depth >= k]
        wanted = enough[0] if enough else max(found.values()) * k / max(found)
        return min(math.ceil(wanted * thinner), cells)

    def _among(self, rows: np.ndarray | None, without: Sequence[int]) -> Any:
        """Gives a cell, without the rows that are not asked for."""
        if rows is None and not len(without):
            return self._cell
        wanted = np.zeros(self.meta["next"], bool)
        wanted[slice(None) if rows is None else rows] = True
        wanted[list(without)] = False
        kept: dict[int, Cell] = {}

        def cell(number: int) -> Cell:
            if number not in kept:
                whole = self._cell(number)
                some = wanted[whole.rows]
                kept[number] = whole._replace(rows=whole.rows[some], beside=whole.beside[some])
            return kept[number]

        return cell

    def _cell(self, number: int) -> Cell:
        """One cell, from memory where it was read before."""
        found = self._cells.get(number)
        if found is not None:
            return found
        with self._sharing:
            pairs = self._execute("SELECT row, code FROM codes WHERE cell = ? ORDER BY row", (number,)).fetchall()
        codes = self._array([code for _, code in pairs])
        if self.meta["metric"] == "cosine" and len(codes):
            codes = _directions(codes, "code")
        made = probing.cell_of(np.array([row for row, _ in pairs], np.int64), codes)
        with self._sharing:
            if self._held + made.beside.nbytes > CACHE:
                self._cells, self._held = {}, 0
            self._held += made.beside.nbytes
            self._cells[number] = made
        return made

    def _centres(self) -> np.ndarray:
        if self._kept is None:
            found = [code for (code,) in self._execute("SELECT code FROM centres ORDER BY cell")]
            self._kept = self._array(found) if found else np.zeros((1, self.meta["width"]), np.float32)
        return self._kept

    def _forget(self) -> None:
        self._cells, self._held, self._kept, self._n, self._cell_of = {}, 0, None, None, None

    def _places(self) -> np.ndarray:
        """The cell of every row, by row."""
        if self._cell_of is None:
            self._cell_of = np.zeros(self.meta["next"], np.int64)
            pairs = np.array(self._execute("SELECT row, cell FROM items").fetchall(), np.int64).reshape(-1, 2)
            self._cell_of[pairs[:, 0]] = pairs[:, 1]
        return self._cell_of

    def _array(self, codes: Sequence[bytes]) -> np.ndarray:
        """Stored codes as (n, K) float32; what no index writes is refused."""
        width = self.meta["width"]
        if any(not isinstance(code, bytes) or len(code) != 4 * width for code in codes):
            raise DamagedFileError(f"{self.name} holds a code that is no {width} numbers. Build it again")
        made = np.frombuffer(b"".join(codes), "<f4").reshape(len(codes), width).astype(np.float32, copy=False)
        if not np.isfinite(made).all():
            raise DamagedFileError(f"{self.name} holds a code that is not finite. Build it again")
        return made

    # ---- changing ----------------------------------------------------------------------------------------------------

    def add(self, codes: np.ndarray, names: Sequence[str] | None, columns: Mapping[str, Any] | None) -> np.ndarray:
        """Add rows in one transaction; gives their numbers (n,) int64."""
        with self.changing():
            self._look()
            return self._add(codes, names, columns)

    def _add(self, codes: np.ndarray, names: Sequence[str] | None, columns: Mapping[str, Any] | None) -> np.ndarray:
        n = len(codes)
        far = ~(np.abs(codes) < 1e18).all(1)  # their squares would not be finite in float32
        if far.any():
            raise DataError(
                f"code {int(np.argmax(far))} is not finite, or beyond 1e18: leave it out, or encode it again"
            )
        if self.meta["metric"] == "cosine":
            _directions(codes, "code")
        rows = np.arange(self.meta["next"], self.meta["next"] + n)
        called = self._checked_names(names, n)
        values = self._checked_columns(columns, called, n)
        cells = probing.assigned(codes, self._centres())
        order = np.lexsort((rows, cells))  # side by side on the disk
        stored = codes.astype("<f4", copy=False)
        self._many("INSERT INTO codes VALUES (?, ?, ?)",
                   ((int(cells[i]), int(rows[i]), stored[i].tobytes()) for i in order))  # fmt: skip
        self._many("INSERT INTO items VALUES (?, ?, ?)", zip(rows.tolist(), cells.tolist(), called, strict=True))
        marks = ", ?" * len(values)
        self._many(f"INSERT INTO columns VALUES (?{marks})", zip(rows.tolist(), *values, strict=True))
        self.meta["next"] += n
        self._n = None
        count = self._count()
        if count > EXACT and count >= GROWN * self.meta["trained"]:
            self._make_cells(count)
        self._many("INSERT OR REPLACE INTO meta VALUES (?, ?)",
                   [(key, json.dumps(value)) for key, value in self.meta.items()])  # fmt: skip
        self._forget()
        return rows

    def _make_cells(self, count: int) -> None:
        """Learn centres from all codes, move every code to its cell, and find how many have to be probed."""
        self._forget()
        pairs = self._execute("SELECT row, code FROM codes ORDER BY row").fetchall()
        rows, codes = np.array([row for row, _ in pairs], np.int64), self._array([code for _, code in pairs])
        near = _directions(codes, "code") if self.meta["metric"] == "cosine" else codes
        apart = np.zeros(count, bool)  # held out from the learning of the centres
        asked = np.random.default_rng(self.meta["seed"]).choice(count, min(probing.ASKED, count // 10), replace=False)
        apart[asked] = True
        centres = probing.centres_of(near[~apart], probing.cells_for(count), self.meta["seed"])
        cells = probing.assigned(near, centres)
        order = np.lexsort((rows, cells))
        self._execute("DELETE FROM codes")
        self._execute("DELETE FROM centres")
        self._many("INSERT INTO codes VALUES (?, ?, ?)",
                   ((int(cells[i]), int(rows[i]), pairs[i][1]) for i in order))  # fmt: skip
        self._many("UPDATE items SET cell = ? WHERE row = ?", zip(cells.tolist(), rows.tolist(), strict=True))
        self._many("INSERT INTO centres VALUES (?, ?)",
                   ((i, centre.astype("<f4").tobytes()) for i, centre in enumerate(centres)))  # fmt: skip
        places = np.zeros(self.meta["next"], np.int64)
        places[rows] = cells
        self.meta["probes"] = probing.probes_for(self.meta["recall"], near[apart], centres, self._cell, places, count)
        self.meta["trained"] = count

    def delete(self, rows: Sequence[int]) -> int:
        """Delete rows in one transaction; those that are not there are an error, and then none is deleted."""
        with self.changing():
            self._look()
            for row in rows:
                self.code_of(row)
            for table in ("codes", "columns", "items"):  # the cell of a row stands in items
                inner = "(cell, row) IN (SELECT cell, row FROM items WHERE row = ?)" if table == "codes" else "row = ?"
                self._many(f"DELETE FROM {table} WHERE {inner}", ((int(row),) for row in rows))
            self._forget()
        return len(rows)

    def _checked_names(self, names: Sequence[str] | None, n: int) -> list[str | None]:
        if names is None and not self.meta["names"]:
            return [None] * n
        if names is None or not self.meta["names"]:
            raise DataError(f"the items of {self.name} have {'' if self.meta['names'] else 'no '}names: "
                            f"{'give' if self.meta['names'] else 'leave out'} names=")  # fmt: skip
        called = [str(name) for name in names]
        if len(called) != n:
            raise DataError(f"{len(called)} names given for {n} items; expected one for each")
        first: dict[str, int] = {}
        for place, name in enumerate(called):
            if not name or first.setdefault(name, place) != place:
                what = "is empty" if not name else f"is {name!r}, as that of item {first[name]} is"
                raise DataError(f"the name of item {place} {what}: every item needs a name of its own")
        for name in called:
            if self._execute("SELECT 1 FROM items WHERE name = ?", (name,)).fetchone():
                raise DataError(f"there is an item {name!r} in {self.name} already: delete it first, or name it anew")
        return list(called)

    def _checked_columns(self, columns: Mapping[str, Any] | None, called: list[str | None], n: int) -> list[list[Any]]:
        wanted, given = self.meta["columns"], dict(columns or {})
        if sorted(wanted) != sorted(given):
            raise DataError(f"columns {sorted(given)} given, but {self.name} has {sorted(wanted)}: give the same ones")
        made = [list(given[name]) for name in wanted]
        for name, values in zip(wanted, made, strict=True):
            if len(values) != n:
                raise DataError(f"column {name!r} has {len(values)} values for {n} items; expected one for each")
        return [*made, called] if len(self._column_names(wanted)) > len(wanted) else made

    def _column_names(self, given: Sequence[str]) -> list[str]:
        """The columns that filters see: the user's, and the names where no column is called so."""
        folded: dict[str, str] = {}
        for name in given:
            if not isinstance(name, str) or not name or "\0" in name or name.casefold() in TAKEN:
                raise DataError(f"a column cannot be called {name!r} here: rename it")
            if name.casefold() in folded:
                raise DataError(
                    f"columns {folded[name.casefold()]!r} and {name!r} differ by capitals alone, which filters "
                    "do not see: rename one"
                )
            folded[name.casefold()] = name
        return [*given, "name"] if self.meta["names"] and "name" not in folded else list(given)

    # ---- the database ------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the file, whatever other processes do."""
        with self.lock, _told(self.name):
            connection = self._connection
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                self._look()
                yield connection
            finally:
                connection.execute("COMMIT")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One change, which is there whole or not at all."""
        with self.lock, _told(self.name):
            connection = self._connection
            before = dict(getattr(self, "meta", {}))
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                self.meta = before
                self._forget()
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def _look(self) -> None:
        """Read what another process has changed since the last look."""
        seen = self._execute("PRAGMA data_version").fetchone()[0]
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.meta = {key: json.loads(value) for key, value in self._execute("SELECT key, value FROM meta")}
            sane = self.meta["metric"] in METRICS and self.meta["width"] > 0 and self.meta["next"] >= 0
            sane = sane and isinstance(self.meta["columns"], list) and isinstance(self.meta["probes"], dict)
        except (KeyError, TypeError, ValueError):
            sane = False
        if self.path is not None and not sane:
            raise DamagedFileError(f"{self.name} does not say what it is an index of. Build it again")
        self._forget()

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            raise DataError(f"{self.name} is closed: open it again")
        return self._open

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _many(self, statement: str, values: Any) -> None:
        self._connection.executemany(statement, values)

    def close(self) -> None:
        """Let go of the file. Closing twice is no error."""
        with self.lock:
            if self._open is not None:
                self._open.close()
                self._open = None
            self._forget()


def _connected(path: str | os.PathLike[str]) -> sqlite3.Connection:
    """An index that is there, checked to be one. Other programs' databases, views and triggers are refused."""
    place = Path(os.fsdecode(path))
    if not place.is_file():
        raise FileError(f"there is no index {place}" + (": it is a folder" if place.is_dir() else ". Build it first"))
    with _told(str(place)):
        connection = _connection(str(place))
        try:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            held = {name: kind for kind, name in connection.execute("SELECT type, name FROM sqlite_master")
                    if not name.startswith("sqlite_autoindex_")}  # fmt: skip
            if application != APPLICATION:
                raise DamagedFileError(f"{place} is no index of Isthmus. Build one with isthmus.index")
            if version > VERSION:
                raise FutureFileError(
                    f"{place} is of version {version}; this Isthmus reads up to {VERSION}: upgrade it"
                )
            if set(held) != TABLES or any(
                kind != ("index" if name == "names" else "table") for name, kind in held.items()
            ):
                raise DamagedFileError(f"{place} holds other tables than an index does. Build it again")
        except BaseException:
            connection.close()
            raise
    return connection


def _connection(place: str) -> sqlite3.Connection:
    connection = sqlite3.connect(place, timeout=WAIT, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextmanager
def _told(name: str) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise FileError(f"{name} is being changed by another process: try again when it is done") from error
        if "readonly" in text:
            raise FileError(f"{name} may only be read: change its permissions or copy it") from error
        raise FileError(f"{name} cannot be used: {text}") from error
    except sqlite3.DatabaseError as error:
        raise DamagedFileError(f"{name} cannot be read as an index: {error}. Build it again") from error


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _directions(codes: np.ndarray, what: str) -> np.ndarray:
    """Codes of length one."""
    lengths = np.sqrt(np.einsum("nk,nk->n", codes, codes, dtype=np.float64))
    if not lengths.all():
        raise DataError(f"{what} {int(np.argmin(lengths))} is zero and has no direction: use metric='euclidean'")
    return (codes / lengths[:, None]).astype(np.float32)
