"""Tables to files, piece by piece."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable
from contextlib import closing
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

from isthmus.errors import DataError, FileError
from isthmus.formats.arrays import listing
from isthmus.formats.containers import (
    library,
    normal_type,
)
from isthmus.formats.delimited import CSV_ENDINGS, JSON_ENDINGS
from isthmus.store import atomic_path

if TYPE_CHECKING:
    import pyarrow

from isthmus.formats.table_files import ending_of

__all__ = ["write_table"]

ARROW_ENDINGS = (".feather", ".arrow", ".ipc")
TABLE_ENDINGS = (*CSV_ENDINGS, *JSON_ENDINGS, ".parquet", *ARROW_ENDINGS)
WRITABLE = (".csv", ".tsv", ".parquet", ".feather", ".arrow", ".jsonl")
GLANCE = 1000  # files of a folder that tell what it is
ROWS = 65_536  # of a batch: some 500 KiB a column of floats


def write_table(path: str | os.PathLike[str], tables: Iterable[pyarrow.Table]) -> int:
    """Write tables of one schema as one file, piece by piece, whole or not at all.

    CSV has a missing cell empty and a categorical as its text; JSON lines have null, and dates as text. Both have
    durations as whole numbers, in the unit of the column.

    Parameters
    ----------
    path : ends in .csv, .tsv, .parquet, .feather, .arrow or .jsonl; its folder must exist
    tables : at least one; the first one's schema is that of the file

    Returns
    -------
    the number of rows

    Raises
    ------
    FileError : the place cannot be written, or its ending is none of these
    DataError : no table, or one that does not fit the first one's schema
    MissingExtra : pyarrow is not installed
    """
    pyarrow = library("pyarrow")
    name = os.path.basename(os.fspath(path))
    ending = ending_of(name)
    if ending not in WRITABLE:
        raise FileError(f"{name} is not written as a table; files that end in {listing(WRITABLE, 20)} are")
    pieces = iter(tables)
    first = next(pieces, None)
    if first is None:
        raise DataError(f"there is nothing to write to {name}")
    n_rows = 0
    with atomic_path(path) as temporary, closing(_writer(str(temporary), ending, first.schema)) as writer:
        for piece in chain([first], pieces):
            try:
                writer.write_table(piece if piece.schema.equals(first.schema) else piece.cast(first.schema))
            except (pyarrow.ArrowException, ValueError, KeyError) as error:
                raise DataError(f"a table does not fit the first that was written to {name}: {error}") from error
            n_rows += piece.num_rows
    return n_rows


class _TextWriter:
    """CSV and JSON lines, of types that Arrow's writer does not know too."""

    def __init__(self, path: str, ending: str, schema: Any) -> None:
        import pyarrow
        from pyarrow import csv as arrow_csv

        self.schema = pyarrow.schema([(field.name, _written_type(field.type)) for field in schema])
        self.alone = len(schema) == 1 and ending != ".jsonl"
        if self.alone:  # an empty line would be no row
            self.schema = pyarrow.schema([(schema.names[0], pyarrow.large_string())])
        self.text: Any = None
        if ending == ".jsonl":
            self.text = open(path, "w", encoding="utf-8", newline="\n")  # noqa: SIM115 (``close`` closes it)
        else:
            options = arrow_csv.WriteOptions(delimiter="\t" if ending == ".tsv" else ",", quoting_style="needed")
            self.csv = arrow_csv.CSVWriter(path, self.schema, write_options=options)

    def write_table(self, table: Any) -> None:
        columns = [column.cast(field.type) for column, field in zip(table.columns, self.schema, strict=True)]
        columns = [column.fill_null("NA") for column in columns] if self.alone else columns
        import pyarrow

        table = pyarrow.table(columns, schema=self.schema)
        if self.text is None:
            self.csv.write_table(table)
            return
        for batch in table.to_batches(max_chunksize=8192):
            for row in batch.to_pylist():
                self.text.write(json.dumps(row, ensure_ascii=False, default=_json_cell) + "\n")

    def close(self) -> None:
        (self.csv if self.text is None else self.text).close()


def _json_cell(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat(sep=" ") if isinstance(value, datetime.datetime) else value.isoformat()


def _written_type(kind: Any) -> Any:
    """What a type is in text."""
    import pyarrow

    if pyarrow.types.is_dictionary(kind):
        return _written_type(kind.value_type)
    if pyarrow.types.is_duration(kind):
        return pyarrow.int64()
    return pyarrow.float32() if pyarrow.types.is_float16(kind) else normal_type(kind, "")


def _writer(path: str, ending: str, schema: Any) -> Any:
    import pyarrow

    if ending == ".parquet":
        from pyarrow import parquet

        return parquet.ParquetWriter(path, schema)
    if ending in ARROW_ENDINGS:
        return pyarrow.ipc.new_file(path, schema)
    return _TextWriter(path, ending, schema)
