"""Tables in text files, CSV and JSON lines, block by block: what type each column has, then its values.

Text does not say what its columns hold, and its first rows may mislead. So a table is read to its end once before its
schema is known: every block widens what each column may be, ``null`` to ``bool``, to ``int64`` to ``double``, a date to
a timestamp, anything to text. Later passes parse into the types that this found. Memory is bounded by a block.

============ =====================================================================================================
cell         rule
============ =====================================================================================================
missing      empty, NA, N/A, NaN, nan, null, NULL, None and ?, blanks around them or not (JSON lines: null, NaN)
bool         true, True, TRUE, false, False, FALSE
int64        decimal digits without leading zeros: 01234 is text. A column with whole numbers beyond 64 bits is text
double       3.5, 1e-3, inf; in files cut by ";" 3,5 too (a column has decimal points or decimal commas, not both)
date32       2024-01-31
timestamp    2024-01-31 10:30, seconds and their fractions; "T" for the blank; the unit is the coarsest that is exact.
             With Z or an offset in every cell it is in UTC
time64[us]   10:30, 10:30:15, 10:30:15.25
large_string everything else, kept to the letter
============ =====================================================================================================
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from isthmus.errors import DamagedFileError, DataError, FileError, SettingError
from isthmus.formats.saved import shortened

__all__ = ["CSV_ENDINGS", "JSON_ENDINGS", "File", "Plan", "csv_plan", "json_plan", "same_columns"]

CSV_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
JSON_ENDINGS = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")
BLOCK = 2**22  # bytes read at a time; a row must fit in one
LINES = 8192  # of JSON, likewise
TITLED = 4  # rows from which a first line that is cut less than all others is no line of names
HEAD = 2**20  # bytes looked at for the delimiter and the header
UNITS = ("s", "ms", "us", "ns")
STAMPS = tuple(f"timestamp[{unit}]" for unit in UNITS)
ZONED = tuple(f"timestamp[{unit}, tz=UTC]" for unit in UNITS)
NUMBERS = ("bool", "int64", "digits", "double", "comma")
TIMES = ("date32[day]", *STAMPS, *ZONED, "time64[us]")
WIDER: dict[str, tuple[str, ...]] = {  # what a column of a kind may turn out to be, narrowest first; else text
    "null": (*NUMBERS, *TIMES),
    "bool": ("bool",),
    "int64": ("int64", "digits", "double", "comma"),
    "digits": ("digits", "double", "comma"),
    "double": ("double",),
    "comma": ("comma",),
    "date32[day]": ("date32[day]", *STAMPS),
    **{kind: STAMPS[place:] for place, kind in enumerate(STAMPS)},
    **{kind: ZONED[place:] for place, kind in enumerate(ZONED)},
    "time64[us]": ("time64[us]",),
    "text": (),
}
PATTERNS = {  # what every cell must look like; Arrow's own parsers take 0x1F, 007 and 1 as a truth too
    "bool": r"^(true|True|TRUE|false|False|FALSE)$",
    "int64": r"^-?(0|[1-9]\d*)$",
    "digits": r"^-?(0|[1-9]\d*)$",
    "double": r"^-?(0|[1-9]\d*|\d?\.\d+)([.eEiInN].*)?$|^-?(inf|Inf|INF|infinity|Infinity|INFINITY)$",
    "comma": r"^-?(0|[1-9]\d*)(,\d+)?([eE][-+]?\d+)?$",
    "time64[us]": r"^\d\d:\d\d(:\d\d(\.\d{1,6})?)?$",
}


@dataclass(frozen=True)
class File:
    """A file as it was when the table was opened: what it becomes later is noticed.

    Attributes
    ----------
    path : where
    size, time : bytes, and nanoseconds since 1970 of the last change
    """

    path: Path
    size: int
    time: int

    @classmethod
    def at(cls, path: Path) -> File:
        """The file as it is now. Raises FileError where there is none or it cannot be looked at."""
        try:
            status = os.stat(path)
        except FileNotFoundError as error:
            raise FileError(f"there is no file or folder {path}") from error
        except OSError as error:
            raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
        return cls(path, status.st_size, status.st_mtime_ns)

    @property
    def name(self) -> str:
        """The file's name without its folders, for messages."""
        return self.path.name

    def check(self) -> None:
        """Raise FileError where the file is gone or is not what it was."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise FileError(f"{self.path} was there when reading began and is gone now. Read again") from error
        if (status.st_size, status.st_mtime_ns) != (self.size, self.time):
            raise FileError(f"{self.path} changed while it was read. Read again when nothing writes to it")

    def open(self) -> BinaryIO:
        """Its bytes, unpacked where it is gzipped. Raises FileError."""
        self.check()
        try:
            packed = self.name.lower().endswith(".gz")
            return cast(BinaryIO, gzip.open(self.path)) if packed else open(self.path, "rb")
        except OSError as error:
            raise FileError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def damaged(self, error: BaseException | str, where: str = "") -> DamagedFileError:
        """The error for contents that cannot be read."""
        return DamagedFileError(
            f"{self.name} is cut short or damaged{where}: {str(error).rstrip('.')}. Fetch or write it again"
        )


@dataclass(frozen=True)
class Plan:
    """How to read a table: what a first look at it has found.

    Attributes
    ----------
    schema : its Arrow schema
    n_rows : how many rows, None where only reading tells
    read : gives batches that have some columns, maybe among others, from the first row, each time that it is called
    read_coded : likewise, and texts of the columns that a second argument names may come as dictionaries; None where
        the table has none
    """

    schema: Any
    n_rows: int | None
    read: Any
    read_coded: Any = None


# --- What a column holds --------------------------------------------------------------------------------------------


def _parsed(cells: Any, kind: str) -> Any:
    """Cells of text as a kind of column. Raises pyarrow.ArrowInvalid where one does not fit."""
    import pyarrow
    import pyarrow.compute as pc

    if kind in ("text", "digits"):
        return cells
    if kind == "null":
        return pyarrow.nulls(len(cells))
    cells = pc.utf8_trim_whitespace(cells)
    if kind == "comma":
        return pc.replace_substring(cells, ",", ".").cast(pyarrow.float64())
    if kind == "time64[us]":  # Arrow reads no times of day, only days with times
        day = pyarrow.scalar("1970-01-01", pyarrow.large_string())
        blank = pyarrow.scalar(" ", pyarrow.large_string())
        return pc.binary_join_element_wise(day, cells, blank).cast(pyarrow.timestamp("us")).cast(_type("time64[us]"))
    return cells.cast(_type(kind))


def _type(kind: str) -> Any:
    import pyarrow

    if kind.startswith("timestamp"):
        return pyarrow.timestamp(kind[10:].split(",")[0].rstrip("]"), "UTC" if "tz=" in kind else None)
    plain = {"null": pyarrow.null(), "bool": pyarrow.bool_(), "int64": pyarrow.int64(), "double": pyarrow.float64()}
    plain |= {"comma": pyarrow.float64(), "date32[day]": pyarrow.date32(), "time64[us]": pyarrow.time64("us")}
    return plain.get(kind, pyarrow.large_string())


def _widened(kind: str, cells: Any, allowed: Sequence[str]) -> str:
    """The narrowest kind that holds what ``kind`` holds and these cells too."""
    import pyarrow
    import pyarrow.compute as pc

    if kind == "text" or not len(cells := cells.drop_null()):
        return kind
    trimmed = pc.utf8_trim_whitespace(cells)
    for wider in WIDER[kind]:
        pattern = PATTERNS.get(wider)
        if wider not in allowed or (pattern and not pc.match_substring_regex(trimmed[:1], pattern)[0].as_py()):
            continue  # the first cell alone rules most of them out
        try:
            _parsed(trimmed[:1], wider)  # to fail on a whole block takes Arrow a hundred times as long
            if pattern and not pc.all(pc.match_substring_regex(trimmed, pattern)).as_py():
                continue
            _parsed(trimmed, wider)
        except pyarrow.ArrowInvalid:
            continue
        return wider
    return "text"


def _batch(cells: Sequence[Any], names: Sequence[str], kinds: dict[str, str], file: File) -> Any:
    import pyarrow

    columns = []
    for name, text in zip(names, cells, strict=True):
        try:
            columns.append(_parsed(text, kinds[name]))
        except pyarrow.ArrowInvalid as error:  # the first pass saw to it that this cannot be; but for years far away
            raise DataError(
                f'{file.name}: the column "{name}" does not fit {_type(kinds[name])}: {error}.'
                " Dates before 1678 or after 2261 cannot have nanoseconds"
            ) from error
    return pyarrow.record_batch(columns, names=list(names))


def _schema(kinds: dict[str, str]) -> Any:
    import pyarrow

    return pyarrow.schema([(name, _type(kind)) for name, kind in kinds.items()])


# --- CSV ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Dialect:
    """How a file is written: its encoding, its delimiter, its columns' names, and whether its first row has them."""

    encoding: str
    delimiter: str
    names: tuple[str, ...]
    header: bool


def csv_plan(files: Sequence[File], delimiter: str | None = None, encoding: str | None = None) -> Plan:
    """Read CSV files once, as one table, to know how to read them.

    Parameters
    ----------
    files : with the same columns by name, in any order
    delimiter : one character; None finds comma, semicolon, tab or bar in each file
    encoding : Python's name of it; None is UTF-8, or UTF-16 where the file begins with its mark

    Raises
    ------
    DataError : an empty file, a row of another length, bytes that are no text, two columns of one name, files that
        differ in their columns
    DamagedFileError : a .gz that is cut short
    SettingError : a delimiter or encoding that there is not
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise SettingError(f"delimiter={delimiter!r} should be one character, and no quote or end of line")
    try:
        if encoding is not None:
            codecs.lookup(encoding)
    except LookupError as error:
        raise SettingError(f"encoding={encoding!r} is none that Python knows; utf-8, latin-1 and cp1252 are") from error
    dialects = [_dialect(file, delimiter, encoding) for file in files]
    names = dialects[0].names
    for file, dialect in zip(files, dialects, strict=True):
        same_columns(names, dialect.names, files[0], file)
    kinds, n_rows = dict.fromkeys(names, "null"), 0
    for file, dialect in zip(files, dialects, strict=True):
        allowed = (
            WIDER["null"] if dialect.delimiter == ";" else tuple(kind for kind in WIDER["null"] if kind != "comma")
        )
        last: Any = None
        for cells in _blocks(file, dialect, dialect.names):
            for name, text in zip(dialect.names, cells, strict=True):
                kinds[name] = _widened(kinds[name], text, allowed)
            n_rows += len(cells[0])
            last = cells[-1][-1:] if len(cells[-1]) else last
        if last is not None and "\n" in (last[0].as_py() or "") and not _ends_with_quote(file):
            raise _why(file, dialect, "a double quote never closes")
    if not n_rows:
        raise DataError(f"{files[0].name} holds one line of names and no rows")

    def read(columns: Sequence[str]) -> Iterator[Any]:
        for file, dialect in zip(files, dialects, strict=True):
            for cells in _blocks(file, dialect, columns):
                yield _batch(cells, columns, kinds, file)

    return Plan(_schema(kinds), n_rows, read)


def same_columns(first: Sequence[str], names: Sequence[str], file: File, other: File) -> None:
    """Raise DataError, naming the file and the first column that differs, where two files have not the same columns."""
    for has, lacks, there, here in ((first, names, file, other), (names, first, other, file)):
        for name in has:
            if name not in lacks:
                raise DataError(
                    f'{other.name} differs from {file.name}: the column "{name}" is in {there.name} and not in'
                    f" {here.name}. Files of one table have the same columns"
                )


def _dialect(file: File, delimiter: str | None, encoding: str | None) -> _Dialect:
    try:
        with file.open() as stream:
            head = stream.read(HEAD)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise file.damaged(error) from error
    if encoding is None:
        utf_16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding = "utf-16" if utf_16 else "utf-8"
        if not utf_16 and b"\0" in head:
            if head.startswith(b"PAR1"):
                raise DataError(f"{file.name} is a Parquet file by its content: call it .parquet")
            likely = 0.2 < head.count(0) / len(head) < 0.8  # of letters every other byte is zero
            mend = 'Is it encoding="utf-16-le"?' if likely else "Is it a file of another kind?"
            raise DataError(f"{file.name} holds zero bytes, and is no text in UTF-8. {mend}")
    try:
        decoder = codecs.getincrementaldecoder("utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding)()
        text = decoder.decode(head, len(head) < HEAD)
    except UnicodeError as error:
        raise _not_text(file, encoding) from error
    if not text.strip():
        raise DataError(f"{file.name} is empty")
    rows = {
        mark: _first_rows(text, mark, cut=len(head) == HEAD) for mark in dict.fromkeys([delimiter or ",", *DELIMITERS])
    }
    if file.name.lower().removesuffix(".gz").endswith(".tsv") and len(rows["\t"][0]) > 1:
        found = "\t"
    else:
        found = max(DELIMITERS, key=lambda mark: _worth(rows[mark]))
    used = found if delimiter is None else delimiter
    if delimiter is None and len(rows[found][0]) == 1:
        for mark, cut in rows.items():
            if len(cut) >= TITLED and len(widths := {len(row) for row in cut[1:]}) == 1 and max(widths) > 2:
                raise DataError(
                    f"{file.name}: the first line has one field, and those below have {max(widths)}, cut by "
                    f"{DELIMITERS[mark]}. Is it a title or a comment? Remove it: the first line names the columns"
                )
    first = [cell.strip() for cell in rows[used][0]]
    if len(first) == 1 < len(rows[found][0]):
        raise DataError(
            f"delimiter={used!r} makes one column of {file.name}, whose rows are cut by {DELIMITERS[found]}:"
            f" give delimiter={found!r}, or none, to have it found"
        )
    header = not _all_numbers(first, comma=used == ";")
    names = (
        tuple(name or str(place) for place, name in enumerate(first)) if header else tuple(map(str, range(len(first))))
    )
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise DataError(f'{file.name} has two columns of the name "{twice[0]}". Every column needs a name of its own')
    return _Dialect(encoding, used, names, header)


def _first_rows(text: str, delimiter: str, cut: bool) -> list[list[str]]:
    """The first rows that are not empty, at most 20, without the last one where the text ends in the middle of it."""
    rows: list[list[str]] = []
    with suppress(csv.Error):  # a field of more than 128 KiB
        for row in islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 21):
            rows += [row] if row else []
    return rows[:-1] if cut and 1 < len(rows) < 21 else rows[:20] or [[""]]


def _worth(rows: list[list[str]]) -> tuple[bool, bool, float]:
    """What speaks for a delimiter: it cuts, it cuts all rows alike, and what it leaves are numbers."""
    widths = {len(row) for row in rows}
    numbers = sum(_all_numbers([cell], comma=True) for cell in rows[-1]) / max(1, len(rows[-1]))
    return len(rows[0]) > 1, len(widths) == 1, numbers


def _all_numbers(cells: Sequence[str], comma: bool) -> bool:
    """Whether all cells that are there are numbers, and one is."""
    there = [cell.strip() for cell in cells if cell.strip() not in MISSING]
    try:
        for cell in there:
            float(cell.replace(",", ".", 1) if comma else cell)
    except ValueError:
        return False
    return bool(there) and not any("_" in cell for cell in there)  # Python reads 1_000 as a number


def _blocks(file: File, dialect: _Dialect, columns: Sequence[str]) -> Iterator[list[Any]]:
    """The cells of some columns as text with nulls, a block of rows at a time."""
    import pyarrow
    import pyarrow.compute as pc
    from pyarrow import csv as arrow_csv

    text = pyarrow.large_string()
    wanted = [f"f{dialect.names.index(name)}" for name in columns]
    missing = pyarrow.array(MISSING, text)
    skip = int(dialect.header)  # as a row: Arrow would skip lines, and names may stand in quotes over several
    file.check()
    try:
        with pyarrow.input_stream(
            str(file.path), compression="gzip" if file.name.lower().endswith(".gz") else None
        ) as raw:
            reader = arrow_csv.open_csv(
                raw,
                read_options=arrow_csv.ReadOptions(
                    use_threads=False, block_size=BLOCK, autogenerate_column_names=True, encoding=dialect.encoding
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(wanted, text), include_columns=wanted, null_values=[]
                ),
            )
            for batch in reader:
                batch, skip = batch.slice(skip), max(0, skip - batch.num_rows)
                yield [
                    pc.if_else(pc.is_in(pc.utf8_trim_whitespace(cells), missing), pyarrow.scalar(None, text), cells)
                    for cells in batch.columns
                ]
    except (pyarrow.ArrowException, OSError, EOFError, ValueError) as error:
        if isinstance(error, FileError | DataError):
            raise
        raise _why(file, dialect, error) from error
    file.check()


def _ends_with_quote(file: File) -> bool:
    """Whether a file ends so. Where the last cell has several lines and it does not, Arrow saw a quote never close."""
    tail = b""
    with file.open() as stream:
        for piece in iter(lambda: stream.read(BLOCK), b""):
            tail = (tail + piece)[-64:]
    return tail.rstrip(b"\r\n\0 \t").endswith(b'"')


def _why(file: File, dialect: _Dialect, error: BaseException | str) -> FileError | DataError:
    """What is wrong with a file that Arrow could not read, with the number of the line."""
    try:
        with file.open() as stream, io.TextIOWrapper(stream, _python_name(dialect.encoding), newline="") as text:
            reader, line = csv.reader(text, delimiter=dialect.delimiter, strict=isinstance(error, str)), 1
            try:
                for row in reader:
                    if row and len(row) != len(dialect.names):
                        cut = len(row) < len(dialect.names) and next(reader, None) is None
                        last = (
                            ", the last one: the file may be cut short, so write it again. Or mend" if cut else ". Mend"
                        )
                        return DataError(
                            f"{file.name}: line {line} has {len(row)} field{'s' * (len(row) > 1)}, and"
                            f" {len(dialect.names)} are expected, as in the first line{last} the line: a field that"
                            f' holds {dialect.delimiter!r} must stand in double quotes ("); or give another delimiter'
                        )
                    line = reader.line_num + 1
            except csv.Error as fault:
                return DataError(
                    f"{file.name}: the row that begins in line {line} cannot be read: {fault}. Is there a double quote"
                    ' (") that opens and never closes? Inside quotes it is written twice'
                )
    except UnicodeError:
        return _not_text(file, dialect.encoding)
    except (EOFError, gzip.BadGzipFile, zlib.error) as fault:
        return file.damaged(fault)
    except OSError as fault:
        return FileError(f"{file.path} cannot be read: {fault.strerror or fault}")
    return DataError(f"{file.name} cannot be read as CSV: {error}")


def _python_name(encoding: str) -> str:
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _not_text(file: File, encoding: str) -> DataError:
    line, mend = 1, 'give encoding="latin-1", or what it was written in'
    decoder = codecs.getincrementaldecoder(encoding)()
    with file.open() as stream:
        for piece in iter(lambda: stream.readline(BLOCK), b""):
            try:
                decoder.decode(piece)
            except UnicodeError as error:
                return DataError(f"{file.name}: line {line} is not text in {encoding}: {error.args[-1]}; {mend}")
            line += piece.endswith(b"\n")
    return DataError(f"{file.name} is not text in {encoding}: it ends in the middle of a letter; {mend}")


# --- JSON lines -----------------------------------------------------------------------------------------------------


def json_plan(files: Sequence[File]) -> Plan:
    """Read files with one JSON object in every line once, as one table, to know how to read them.

    A name that a line lacks is missing there; a name that comes late is a column all the same. Text stays text but for
    dates and times; a column of numbers and text is text.

    Raises
    ------
    DataError : a line that is not one JSON object, a list or object as a value; the message has the number of the line
    DamagedFileError : a .gz that is cut short
    """
    kinds: dict[str, str] = {}
    n_rows = 0
    for file in files:
        for start, lines in _objects(file):
            for name in dict.fromkeys(name for line in lines for name in line):
                values = [line.get(name) for line in lines]
                words = {isinstance(value, str) for value in values if value is not None}
                allowed = () if len(words) > 1 else TIMES if True in words else NUMBERS
                kinds[name] = _widened(kinds.get(name, "null"), _as_text(values, name, file, start), allowed)
            n_rows += len(lines)
    if not n_rows or not kinds:
        raise DataError(f"{files[0].name} is empty" if not n_rows else f"the objects in {files[0].name} are empty")

    def read(columns: Sequence[str]) -> Iterator[Any]:
        for file in files:
            for start, lines in _objects(file):
                cells = [_as_text([line.get(name) for line in lines], name, file, start) for name in columns]
                yield _batch(cells, columns, kinds, file)

    return Plan(_schema(kinds), n_rows, read)


def _objects(file: File) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    """Blocks of objects, and the numbers of their lines."""
    numbers: list[int] = []
    lines: list[dict[str, Any]] = []
    try:
        with file.open() as stream:
            for number, raw in enumerate(stream, 1):
                if raw.isspace():
                    continue
                try:
                    line = json.loads(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw)
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{file.name}: line {number} is not JSON: {error}. Mend or drop it") from error
                if not isinstance(line, dict):
                    raise DataError(
                        f"{file.name}: line {number} holds {shortened(line)};"
                        ' an object, {"name": value, ...}, is expected'
                    )
                numbers.append(number)
                lines.append(line)
                if len(lines) == LINES:
                    yield numbers, lines
                    numbers, lines = [], []
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise file.damaged(error) from error
    if lines:
        yield numbers, lines
    file.check()


def _as_text(values: Sequence[Any], name: str, file: File, numbers: Sequence[int]) -> Any:
    import pyarrow

    cells: list[str | None] = []
    for number, value in zip(numbers, values, strict=True):
        if isinstance(value, str) or value is None:
            cells.append(value)
        elif isinstance(value, list | dict):
            raise DataError(
                f'{file.name}: line {number} holds a {type(value).__name__} as "{name}". A table has one value in a'
                " cell: take it apart into columns of its own"
            )
        else:
            cells.append(None if value != value else json.dumps(value).replace("Infinity", "inf"))
    return pyarrow.array(cells, pyarrow.large_string())
