"""Tables at the border: the user's frames and files in as Arrow record batches, and back in the user's own form.

``source_of`` makes a `Source` of whatever holds a table; a `Container` gives rows back as what they were.

================================== ============================= ===================================================
what                               how it is read                comes back as
================================== ============================= ===================================================
pandas frame                       at once                       pandas, every column of its own dtype
polars frame                       at once                       polars, of the same schema
polars lazy frame                  asked once, kept on disk      polars frame
pyarrow Table, RecordBatch         at once                       pyarrow Table
pyarrow Dataset                    in pieces                     pyarrow Table
list of Arrow batches, and what    a batch at a time             what the first batch is
gives frames whenever it is
iterated
DuckDB relation                    asked once, kept on disk      pyarrow Table
other Arrow streams, narwhals      at once                       pyarrow Table
dict of columns                    at once                       dict of lists or NumPy arrays, as they were
list of dicts                      at once                       list of dicts
2-D or structured array, list of   at once                       the same; columns without names are "0", "1", ...
rows
CSV, JSON lines (.gz too)          in blocks, see `delimited`    pyarrow Table
Parquet                            a row group at a time         pyarrow Table
Feather, Arrow IPC                 a record batch at a time      pyarrow Table
a folder of files, a glob pattern  one after the other           pyarrow Table
================================== ============================= ===================================================

Inside there are fewer types: text is ``large_string``, a categorical ``dictionary<int32, ...>`` with all of its levels
in every batch, and NaN in a column of floats, None, NA and NaT are all null. A pandas index is no part of the table.
"""

from __future__ import annotations

import os
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.errors import DataError, FileError, FormatError, SettingError
from isthmus.formats.arrays import listing
from isthmus.formats.containers import (
    Container,
    from_mapping,
    from_numpy,
    library,
    normal_table,
    normal_type,
    unique_names,
)
from isthmus.formats.dataframes import from_pandas, from_polars, polars_container
from isthmus.formats.delimited import File, Plan, csv_plan, json_plan
from isthmus.formats.room import spare_memory
from isthmus.formats.saved import shortened

if TYPE_CHECKING:
    pass

from isthmus.formats.source import NUMBERS, Source
from isthmus.formats.table_files import (
    GLANCE,
    ROWS,
    TABLE_ENDINGS,
    binary_plan,
    ending_of,
    family_of,
    ipc_batches,
    ipc_look,
    is_hidden,
    parquet_batches,
    parquet_look,
    paths_of,
)
from isthmus.formats.written import write_table

TEXTS = {"string", "large_string", "string_view"}

__all__ = ["NUMBERS", "TABLE_ENDINGS", "Container", "Source", "is_table", "source_of", "write_table"]


def is_table(items: Any) -> bool:
    """Whether `source_of` would take items as a table, judged by what they are and not by what they hold.

    True for frames of pandas, polars, pyarrow and DuckDB and what else speaks Arrow or narwhals, a `Source`, the
    name of a file with one of `TABLE_ENDINGS`, a folder that holds mostly such files, a pattern for such files, a dict
    of columns and a list of dicts. False for NumPy arrays, torch tensors and lists of numbers, which may be vectors.
    """
    if isinstance(items, str | os.PathLike):
        return _names_a_table(os.fsdecode(items))
    if hasattr(items, "tocoo") or hasattr(
        items, "getbands"
    ):  # SciPy's sparse matrices, one of which is a dict; pictures
        return False
    if isinstance(items, Mapping):
        return bool(items) and all(hasattr(column, "__len__") and _is_column(column) for column in items.values())
    if isinstance(items, list | tuple):
        return bool(items) and (isinstance(items[0], Mapping) or _are_paths(items) or _are_batches(items))
    return isinstance(items, Source) or _frame_kind(items) is not None or _are_batches(items)


def _are_paths(items: Any) -> bool:
    """Whether these are names of files of a table, and nothing else."""
    return (
        isinstance(items, list | tuple)
        and bool(items)
        and all(isinstance(item, str | os.PathLike) and ending_of(os.fsdecode(item)) for item in items)
    )


def _are_batches(items: Any) -> bool:
    """Whether items give frames, one after the other, each time that they are iterated; a list of Arrow batches does.

    A list of other frames may be an array of three axes, and an iterator can be read only once.
    """
    if isinstance(items, list | tuple):
        return bool(items) and all(type(item).__name__ == "RecordBatch" for item in items)
    if isinstance(items, type | str | bytes | Mapping) or not hasattr(items, "__iter__") or hasattr(items, "__next__"):
        return False
    if hasattr(items, "__array__") or hasattr(items, "__array_interface__") or hasattr(items, "tocoo"):
        return False
    again = iter(items)
    try:
        return again is not items and _frame_kind(next(again, None)) is not None
    finally:
        if hasattr(again, "close"):
            again.close()


def _is_column(column: Any) -> bool:
    return not isinstance(column, str | bytes | Mapping) and getattr(column, "ndim", 1) == 1


def _names_a_table(text: str) -> bool:
    if not os.path.isdir(text):
        return bool(ending_of(text))
    walk = (name for _, _, names in os.walk(text) for name in names if not is_hidden(name))
    endings = [ending_of(name) for name in islice(walk, GLANCE)]
    texts = sum(ending.startswith(".txt") for ending in endings)
    others = endings.count("")
    tables = len(endings) - texts - others  # pictures may have a table of labels beside them, and tables a README.txt
    return tables > others or (texts > 0 and tables == others == 0)


def _frame_kind(items: Any) -> str | None:
    """Whose frame this is, without importing anything; None where it is no frame."""
    for cls in type(items).__mro__:
        home, name = cls.__module__.partition(".")[0], cls.__name__
        if home in ("pandas", "polars") and name == "DataFrame":
            return home
        if (home, name) == ("polars", "LazyFrame"):
            return "lazy"
        if home == "pyarrow" and name in ("Table", "RecordBatch", "RecordBatchReader", "Dataset"):
            return {"Table": "pyarrow", "RecordBatch": "pyarrow", "RecordBatchReader": "once", "Dataset": "dataset"}[
                name
            ]
        if name == "DuckDBPyRelation":
            return "duckdb"
        if home == "narwhals" and name in ("DataFrame", "LazyFrame"):
            return "narwhals"
        if name in ("Series", "ChunkedArray", "Array", "Scalar"):  # one column, not a table
            return None
    if isinstance(items, type):
        return None
    if hasattr(items, "__arrow_c_stream__") or hasattr(items, "__arrow_c_array__"):
        return "stream"
    return "narwhals" if hasattr(items, "__narwhals_dataframe__") or hasattr(items, "__narwhals_lazyframe__") else None


def source_of(items: Any, *, delimiter: str | None = None, encoding: str | None = None) -> Source:
    """A table of whatever holds one; see the top of this file.

    Frames are not copied where their memory can be shared: leave them as they are while the source is used. Of a
    folder, all files with one ending below it are read in natural order (part2 before part10), but for hidden ones.

    Parameters
    ----------
    items : a frame, a dict of columns, a list of dicts or rows, a 2-D or structured array, a path, a folder or a glob
        pattern, a list of paths, what gives frames each time that it is iterated, or a `Source`, which is returned as
        it is
    delimiter : of CSV files, one character; None finds comma, semicolon, tab or bar
    encoding : of CSV files, Python's name; None is UTF-8, or UTF-16 where the file begins with its mark

    Raises
    ------
    DataError : no rows or no columns, two columns of one name, cells of several kinds, lists, bytes
    FormatError : items that are no table
    FileError : there is no such file, or its ending is none of `TABLE_ENDINGS`
    SettingError : delimiter or encoding for what is no CSV file
    MissingExtra : pyarrow or narwhals is not installed
    """
    spare_memory()
    library("pyarrow")
    if isinstance(items, str | os.PathLike):
        return _of_files([os.fsdecode(items)], delimiter, encoding)
    if _are_paths(items):
        return _of_files([os.fsdecode(item) for item in items], delimiter, encoding)
    if delimiter is not None or encoding is not None:
        raise SettingError("delimiter and encoding are for CSV files; leave them out")
    if isinstance(items, Source):
        return items
    kind = _frame_kind(items)
    if kind in _LAZY:
        return _LAZY[kind](items)
    if kind is None and not isinstance(items, np.ndarray) and _are_batches(items):
        return _of_batches(items)
    if kind == "once":
        raise DataError(
            "a RecordBatchReader can be read only once, and a table is read several times: give .read_all()"
        )
    if kind == "narwhals":
        return _through_narwhals(items)
    table, container = _in_memory(items, kind)
    if not table.num_columns or not table.num_rows:
        raise DataError(
            f"the table has {table.num_rows} rows and {table.num_columns} columns; one of each is the least"
        )
    table = normal_table(table)

    def read(columns: Sequence[str]) -> Iterator[Any]:
        yield from table.select(list(columns)).to_batches(max_chunksize=ROWS)

    plan = Plan(table.schema, table.num_rows, read)
    source = Source("the frame", lambda: plan, lambda _: container, in_memory=True, clean=True)
    source.count()
    return source


def _in_memory(items: Any, kind: str | None) -> tuple[Any, Container]:
    """The rows as an Arrow table, and what they were."""
    import pyarrow

    if kind == "pandas":
        return from_pandas(items)
    if kind == "polars":
        return from_polars(items)
    if kind in ("pyarrow", "stream"):
        table = items if isinstance(items, pyarrow.Table) else pyarrow.table(items)
        unique_names(table.column_names)
        return table, Container.of_arrow("pyarrow", table.schema)
    if isinstance(items, Mapping):
        return from_mapping(items)
    if isinstance(items, np.ndarray) and not isinstance(items, np.ma.MaskedArray):
        return _from_array(items)
    if isinstance(items, list | tuple) and items and all(isinstance(item, Mapping) for item in items):
        names = list(dict.fromkeys(name for item in items for name in item))
        table, as_dict = from_mapping({name: [item.get(name) for item in items] for name in names})
        return table, Container("records", as_dict.names, as_dict.dtypes)
    if isinstance(items, list | tuple) and items and all(isinstance(item, list | tuple) for item in items):
        width = len(items[0])
        for row, item in enumerate(items):
            if len(item) != width:
                raise DataError(f"row {row} has {len(item)} cells, row 0 has {width}")
        table, as_dict = from_mapping({str(j): [item[j] for item in items] for j in range(width)})
        return table, Container("numpy", as_dict.names, as_dict.dtypes, "rows")
    raise FormatError(
        f"{shortened(items)} of type {type(items).__name__} is no table: give a frame, a dict of columns, a list of"
        " dicts, a 2-D array, or the name of a file"
    )


def _from_array(array: np.ndarray) -> tuple[Any, Container]:
    import pyarrow

    if array.dtype.names and array.ndim == 1:
        columns, form = {name: array[name] for name in array.dtype.names}, "structured"
    elif array.ndim == 2:
        columns, form = {str(j): array[:, j] for j in range(array.shape[1])}, "array"
    else:
        raise FormatError(f"an array of shape {array.shape} is no table; (n, d) is expected")
    arrays, words = [], []
    for name, values in columns.items():
        if values.ndim != 1:
            raise DataError(f'the column "{name}" is an array of shape {values.shape}; (n,) is expected')
        column, word = from_numpy(values, name)
        arrays.append(column)
        words.append(word)
    return pyarrow.table(arrays, names=list(columns)), Container("numpy", tuple(columns), tuple(words), form)


def _through_narwhals(items: Any) -> Source:
    """A frame of a library that narwhals knows. What is not pandas or polars comes back as a pyarrow table."""
    library("narwhals")
    import narwhals

    frame = narwhals.from_native(items)
    native = narwhals.to_native(frame)
    if _frame_kind(native) not in (None, "narwhals"):
        return source_of(native)
    frame = frame.collect(backend="pyarrow") if isinstance(frame, narwhals.LazyFrame) else frame
    return source_of(frame.to_arrow())


# --- What is asked once, and read in pieces -------------------------------------------------------------------------


def _of_dataset(dataset: Any) -> Source:
    def read(columns: Sequence[str]) -> Iterator[Any]:
        import pyarrow

        try:
            yield from dataset.scanner(columns=list(columns), batch_size=ROWS, batch_readahead=2).to_batches()
        except (pyarrow.ArrowException, OSError) as error:
            raise FileError(f"the dataset cannot be read: {error}") from error

    source = Source("the dataset", lambda: Plan(dataset.schema, None, read), partial(Container.of_arrow, "pyarrow"))
    _ = source.schema
    return source


def _of_batches(batches: Iterable[Any]) -> Source:
    def table_of(number: int, batch: Any) -> tuple[Any, Container]:
        kind = _frame_kind(batch)
        if kind not in ("pandas", "polars", "pyarrow", "stream"):
            raise FormatError(f"batch {number} is a {type(batch).__name__}, and batch 0 was a frame")
        return _in_memory(batch, kind)

    def read(columns: Sequence[str]) -> Iterator[Any]:
        for number, batch in enumerate(batches):
            table = table_of(number, batch)[0]
            for name in columns:
                there = table.schema.names.count(name)
                own, learned = table.schema.field(name).type if there else None, first.schema.field(name).type
                if own != learned and str(own) != "null" and not {str(own), str(learned)} <= TEXTS:
                    holds = f"holds {own} in batch {number}" if there else f"is not in batch {number}"
                    raise DataError(
                        f'the column "{name}" {holds}, and {learned} in batch 0: give all batches the same columns and'
                        ' types (whole numbers with holes are "Int64" in pandas)'
                    )
            yield from table.select(list(columns)).to_batches(max_chunksize=ROWS)

    again = iter(batches)
    first, container = table_of(0, next(again))
    del again
    source = Source("the stream of batches", lambda: Plan(first.schema, None, read), lambda _: container)
    _ = source.schema
    first = first.slice(0, 0)  # its rows are read again
    return source


def _of_relation(relation: Any) -> Source:
    """A query of DuckDB, run once: next time its rows may come in another order, and a connection has one at a time."""

    def ask() -> Any:
        name = "to_arrow_reader" if hasattr(relation, "to_arrow_reader") else "fetch_record_batch"  # before DuckDB 1.4
        return getattr(relation, name)(ROWS)

    schema = relation.limit(0).to_arrow_table().schema
    return _kept("the relation", schema, Container.of_arrow("duckdb", schema), ask)


def _of_lazy(frame: Any) -> Source:
    import pyarrow

    polars = library("polars")
    container = polars_container(frame.collect_schema())
    schema = pyarrow.table(polars.DataFrame(schema=frame.collect_schema())).schema

    def ask() -> Iterator[Any]:
        if hasattr(frame, "collect_batches"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # polars calls it unstable
                pieces = frame.collect_batches(chunk_size=ROWS, maintain_order=True)
        else:
            pieces = iter([frame.collect()])
        for piece in pieces:
            yield from pyarrow.table(piece).to_batches(max_chunksize=ROWS)

    return _kept("the lazy frame", schema, container, ask)


_LAZY: dict[str | None, Callable[[Any], Source]] = {"dataset": _of_dataset, "duckdb": _of_relation, "lazy": _of_lazy}


def _kept(name: str, schema: Any, container: Container, ask: Callable[[], Iterable[Any]]) -> Source:
    """A query whose answer is kept in a temporary file: the same rows in the same order, however often it is read."""
    for field in schema:
        normal_type(field.type, field.name)

    def plan() -> Plan:
        from pyarrow import ipc

        descriptor, path = tempfile.mkstemp(suffix=".isthmus.arrow")
        os.close(descriptor)
        weakref.finalize(source, _removed, path)
        n_rows = 0
        with ipc.new_stream(path, schema) as writer:  # a stream, since the dictionaries of its batches may differ
            for batch in ask():
                writer.write_batch(batch)
                n_rows += batch.num_rows
        file = File.at(Path(path))
        return Plan(schema, n_rows, lambda columns: ipc_batches(file, columns))

    source = Source(name, plan, lambda _: container)
    return source


def _removed(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


# --- Files ----------------------------------------------------------------------------------------------------------


def _of_files(texts: Sequence[str], delimiter: str | None, encoding: str | None) -> Source:
    paths = [path for text in texts for path in paths_of(text)]
    files = [File.at(Path(path)) for path in paths]
    family = family_of(ending_of(paths[0]))
    if not family:
        raise FileError(f"{files[0].name} is not read as a table; files that end in {listing(TABLE_ENDINGS, 20)} are")
    for file in files:
        if family_of(ending_of(str(file.path))) != family:
            raise DataError(
                f"{file.name} is of another kind than {files[0].name}; the files of a table are of one kind"
            )
    if family != "csv" and (delimiter is not None or encoding is not None):
        raise SettingError(f"delimiter and encoding are for CSV files, and {files[0].name} is none: leave them out")
    plans: dict[str, Callable[[], Plan]] = {
        "csv": lambda: csv_plan(files, delimiter, encoding),
        "json": lambda: json_plan(files),
        "parquet": lambda: binary_plan(files, parquet_look, parquet_batches, coded=True),
        "arrow": lambda: binary_plan(files, ipc_look, ipc_batches),
    }
    name = os.path.basename(texts[0].rstrip("/")) or texts[0]
    name += f" and {len(texts) - 1} more" if len(texts) > 1 else ""
    source = Source(name, plans[family], partial(Container.of_arrow, "file"))
    if family in ("parquet", "arrow"):
        _ = source.schema  # these say at once what they hold
    return source
