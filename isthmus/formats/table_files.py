"""The files of a table: which they are, and how Parquet and Arrow files are read."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from isthmus.errors import DataError, FileError
from isthmus.formats.arrays import listing
from isthmus.formats.containers import (
    normal_type,
)
from isthmus.formats.delimited import CSV_ENDINGS, JSON_ENDINGS, File, Plan, same_columns

if TYPE_CHECKING:
    pass


ARROW_ENDINGS = (".feather", ".arrow", ".ipc")
TABLE_ENDINGS = (*CSV_ENDINGS, *JSON_ENDINGS, ".parquet", *ARROW_ENDINGS)
WRITABLE = (".csv", ".tsv", ".parquet", ".feather", ".arrow", ".jsonl")
GLANCE = 1000  # files of a folder that tell what it is
ROWS = 65_536  # of a batch: some 500 KiB a column of floats


def ending_of(name: str) -> str:
    """The ending of a table's file; empty for what is none."""
    lower = os.path.basename(name).lower()
    return max((ending for ending in TABLE_ENDINGS if lower.endswith(ending)), key=len, default="")


def family_of(ending: str) -> str:
    """Which reader an ending calls for; empty for none."""
    return next((word for word, endings in _FAMILIES.items() if ending in endings), "")


def is_hidden(name: str) -> bool:
    """Whether a file or folder is meant to be passed over."""
    return name.startswith((".", "_"))


def natural(path: str) -> list[Any]:
    """A key that sorts part2 before part10."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"([0-9]+)", path.casefold())]


def paths_of(text: str) -> list[str]:
    """The files of a table: one, those below a folder, or those that a pattern finds, in natural order."""
    if os.path.isdir(text):
        found = []
        for folder, folders, names in os.walk(text, followlinks=True):
            folders[:] = [name for name in folders if not is_hidden(name)]
            parts = [name for name in folders if "=" in name]
            if parts:
                raise DataError(
                    f"{text} keeps values in the names of its folders ({parts[0]}), which are not read here: give"
                    f' pyarrow.dataset.dataset({text!r}, partitioning="hive")'
                )
            found += [os.path.join(folder, name) for name in names if ending_of(name) and not is_hidden(name)]
        tables = [
            path for path in found if not ending_of(path).startswith(".txt")
        ]  # a README.txt is no part of a table
        paths = tables or found
    elif os.path.exists(text) or not glob.has_magic(text):
        return [text]
    else:
        paths = [path for path in glob.glob(text, recursive=True) if os.path.isfile(path)]
    if not paths:
        raise FileError(f"there is no table in {text}: no file that ends in {listing(TABLE_ENDINGS, 20)}")
    return sorted(paths, key=lambda path: (natural(path), path))


def binary_plan(
    files: Sequence[File], look: Callable[[File], Any], batches: Callable[..., Any], coded: bool = False
) -> Plan:
    """Read the schemas of Parquet or Arrow files, and unite them; ``coded``: ``batches`` can give dictionaries."""
    import pyarrow

    looks = [look(file) for file in files]
    raw, counts = looks[0][0], [n_rows for _, n_rows in looks]
    for file, (schema, _) in zip(files, looks, strict=True):
        same_columns(raw.names, schema.names, files[0], file)
    if any(not schema.equals(raw) for schema, _ in looks):
        normal = [pyarrow.schema([(f.name, normal_type(f.type, f.name)) for f in schema]) for schema, _ in looks]
        for file, schema in zip(files, normal, strict=True):
            try:
                normal[0] = pyarrow.unify_schemas([normal[0], schema], promote_options="permissive")
            except pyarrow.ArrowException as error:
                raise DataError(
                    f"{file.name} differs from {files[0].name} in the types of its columns: {error}"
                ) from error
        raw = normal[0]

    def read(columns: Sequence[str], *coded: Sequence[str]) -> Iterator[Any]:
        for file in files:
            with closing(batches(file, columns, *coded)) as pieces:
                yield from pieces
            file.check()

    return Plan(raw, None if None in counts else sum(counts), read, read if coded else None)


def parquet_look(file: File) -> tuple[Any, int]:
    """Schema and number of rows."""
    with _parquet(file) as parquet:
        raw = parquet.schema_arrow
        for place in reversed(range(len(raw.names))):
            if re.fullmatch(r"__index_level_\d+__", raw.names[place]):  # pandas wrote its index too
                raw = raw.remove(place)
        return raw, parquet.metadata.num_rows


def _parquet(file: File, coded: Sequence[str] = ()) -> Any:
    """An open Parquet file. It is not mapped into memory, so that a limit on addresses holds it too."""
    import pyarrow
    from pyarrow import parquet

    file.check()
    try:
        return parquet.ParquetFile(
            str(file.path), memory_map=False, page_checksum_verification=True, read_dictionary=list(coded)
        )
    except (pyarrow.ArrowException, OSError) as error:
        raise file.damaged(error) from error


def parquet_batches(file: File, columns: Sequence[str], coded: Sequence[str] = ()) -> Iterator[Any]:
    """Some columns, a row group at a time; texts of those that ``coded`` names as the dictionaries of the file."""
    import pyarrow

    with _parquet(file, coded) as parquet:
        first = 0
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            try:
                yield from parquet.iter_batches(ROWS, row_groups=[group], columns=list(columns))  # "a" finds "a.b" too
            except MemoryError as error:
                size = parquet.metadata.row_group(group).total_byte_size
                raise FileError(
                    f"{file.name}: row group {group} of {parquet.num_row_groups}, {rows:,} rows of {size:,} bytes, does"
                    f" not fit in the memory that this process may have: {error}. Write the file with smaller row"
                    " groups, or read fewer columns"
                ) from error
            except (pyarrow.ArrowException, OSError) as error:
                where = f" in row group {group} of {parquet.num_row_groups}, which has the rows {first:,} to "
                raise file.damaged(error, f"{where}{first + rows - 1:,}") from error
            first += rows


def _ipc_reader(raw: Any, file: File, columns: Sequence[str] | None) -> tuple[Any, Any]:
    """The schema of an Arrow file or stream, and an iterator of its batches."""
    import pyarrow

    magic = raw.read(6)
    raw.seek(0)
    if magic[:4] == b"FEA1":
        raise FileError(f"{file.name} is Feather of version 1, which is not read here: write it again")
    opened = pyarrow.ipc.open_file if magic == b"ARROW1" else pyarrow.ipc.open_stream
    schema = opened(raw).schema
    if columns is not None:
        raw.seek(0)
        places = sorted(schema.names.index(name) for name in columns)
        reader = opened(raw, options=pyarrow.ipc.IpcReadOptions(included_fields=places))
        if magic == b"ARROW1":
            return schema, (reader.get_batch(place) for place in range(reader.num_record_batches))
        return schema, iter(reader)
    return schema, iter(())


def ipc_look(file: File) -> tuple[Any, None]:
    """Schema; the number of rows only reading tells."""
    import pyarrow

    file.check()
    try:
        with pyarrow.OSFile(str(file.path)) as raw:
            return _ipc_reader(raw, file, None)[0], None
    except (pyarrow.ArrowException, OSError) as error:
        raise error if isinstance(error, FileError) else file.damaged(error) from error


def ipc_batches(file: File, columns: Sequence[str]) -> Iterator[Any]:
    """Some columns, a record batch at a time."""
    import pyarrow

    file.check()
    try:
        with pyarrow.OSFile(str(file.path)) as raw:
            yield from _ipc_reader(raw, file, columns)[1]
    except (pyarrow.ArrowException, OSError) as error:
        raise error if isinstance(error, FileError) else file.damaged(error) from error


_FAMILIES = {"csv": CSV_ENDINGS, "json": JSON_ENDINGS, "parquet": (".parquet",), "arrow": ARROW_ENDINGS}


# --- Writing --------------------------------------------------------------------------------------------------------
