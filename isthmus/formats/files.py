"""Items from files, and items to files: what the command line and scripts read and write.

========================= ============================== ==========================================
what                      read gives                     write takes
========================= ============================== ==========================================
``.npy`` (``.gz`` too)    the array                      any array of numbers
``.npz``                  its one array, or ``key``'s    any array of numbers, called ``items``
IDX (``.gz`` too)         the array                      —
``.csv``, ``.tsv``        int64 or float64, (n, d)       (n,) or (n, d)
``.parquet``              the common dtype, (n, d)       (n,) or (n, d)
a folder of pictures      its path, for `ImageFormat`    pictures, as PNG files
a picture                 a list of its path             —
``-``                     standard input: npy, npz, CSV  standard output: npy
========================= ============================== ==========================================

Nothing read here runs code: pickled arrays are refused. Files are written whole or not at all.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from isthmus.errors import DamagedFileError, DataError, FileError, MissingExtra, SettingError
from isthmus.store import atomic_path

__all__ = ["NamedColumns", "first_row_is_numbers", "read", "write"]

TEXTS = {".csv": None, ".tsv": "\t", ".txt": None}  # ending: delimiter, None where it is found from the text
READABLE = ".npy, .npz, IDX, .csv, .tsv and .parquet files, and folders of pictures"
WRITABLE = ".npy, .npz, .csv, .tsv, .parquet, or a folder for pictures (a name that ends in /)"
NPY, GZIP, ZIP, PARQUET = b"\x93NUMPY", b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06"), b"PAR1"


class NamedColumns(np.ndarray):
    """An (n, d) array of a file whose columns have names. A plain array in every other respect.

    Attributes
    ----------
    columns : tuple of str, one for each column. Rows taken from it keep the names; formats use them in messages.
    """

    columns: tuple[str, ...] | None

    def __new__(cls, array: np.ndarray, columns: Sequence[str]) -> NamedColumns:
        named = np.asarray(array).view(cls)
        named.columns = tuple(columns)
        return named

    def __array_finalize__(self, parent: Any) -> None:
        names = getattr(parent, "columns", None)
        self.columns = names if names is not None and self.ndim == 2 and self.shape[1] == len(names) else None


# --- Reading --------------------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], *, key: str | None = None) -> Any:
    """Items from a file, told by its content first and by its ending where the content is text.

    Parameters
    ----------
    path : the file or folder; "-" is standard input
    key : which array of an .npz file; needed where it holds more than one

    Returns
    -------
    items as the table above says. CSV and Parquet columns with names come as `NamedColumns`

    Raises
    ------
    FileError : missing, no permission, an ending that is not ours; DamagedFileError : cut short or altered
    DataError : objects or text where numbers should be, named by row and column; rows of different length
    SettingError : a key for what is no .npz, or one that it does not hold
    MissingExtra : Parquet without pyarrow
    """
    if os.fspath(path) == "-":
        return _items(io.BytesIO(sys.stdin.buffer.read()), "standard input", ".csv", key, None)
    place = Path(path)
    try:
        if place.is_dir():
            return _no_key(key, place.name, place)
        with open(place, "rb") as file:
            return _items(file, place.name, _ending(place), key, place)
    except FileNotFoundError as error:
        raise FileError(f"there is no file or folder {place}") from error
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{place} cannot be read: {error.strerror or error}") from error


def _ending(place: Path) -> str:
    name = place.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def _no_key(key: str | None, name: str, items: Any) -> Any:
    if key is not None:
        raise SettingError(f"key={key!r} chooses an array of an .npz file, and {name} is none: leave the key out")
    return items


def _items(file: BinaryIO, name: str, ending: str, key: str | None, place: Path | None) -> Any:
    magic = file.read(6)
    file.seek(0)
    if not magic:
        raise DataError(f"{name} is empty")
    if magic.startswith(GZIP):
        try:
            unpacked = io.BytesIO(gzip.decompress(file.read()))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DamagedFileError(f"{name} is cut short or damaged: {error}. Fetch or write it again") from error
        return _items(unpacked, name, ending, key, place)
    if magic.startswith(ZIP) or ending == ".npz":
        return _from_npz(file, name, key)
    if magic.startswith(NPY) or ending == ".npy":
        return _no_key(key, name, _from_npy(file, name))
    if magic.startswith(PARQUET) or ending == ".parquet":
        return _no_key(key, name, _from_parquet(file, name))
    if place is not None and magic[:2] == b"\0\0" and magic[2] in b"\x08\x09\x0b\x0c\x0d\x0e" and len(magic) == 6:
        from isthmus.datasets import read_idx

        return _no_key(key, name, read_idx(place))
    if ending in TEXTS:
        return _no_key(key, name, _from_text(_decoded(file.read(), name), name, TEXTS[ending]))
    from isthmus.formats.picture_folders import ENDINGS

    if ending in ENDINGS and place is not None:
        return _no_key(key, name, [place])
    raise FileError(f"{name} ends in {ending or 'nothing'}, which is not read here; {READABLE} are")


def _from_npy(file: BinaryIO, name: str) -> np.ndarray:
    try:
        array = np.load(file, allow_pickle=False)
    except MemoryError as error:
        raise DataError(f"{name} does not fit in memory, or its header is damaged") from error
    except Exception as error:  # NumPy's parsers raise many kinds for damaged headers
        if str(error).startswith("Object arrays"):
            raise DataError(_objects_message(name)) from error
        raise DamagedFileError(f"{name} is cut short, damaged, or no .npy file. Write it again") from error
    return array


def _objects_message(name: str) -> str:
    return (
        f"{name} holds Python objects, which are not loaded, since that could run code."
        " Save numbers instead: numpy.save(path, X.astype(float))"
    )


def _from_npz(file: BinaryIO, name: str, key: str | None) -> np.ndarray:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            held = ", ".join(arrays.files)
            if not arrays.files:
                raise DataError(f"{name} holds no array")
            if key is None and len(arrays.files) > 1:
                raise SettingError(
                    f"{name} holds {len(arrays.files)} arrays: {held}. Choose one: key={held.split(',')[0]!r}"
                )
            if key is not None and key not in arrays.files:
                raise SettingError(f"{name} holds no array {key!r}; it holds {held}")
            array = arrays[arrays.files[0] if key is None else key]
    except (DataError, SettingError):
        raise
    except Exception as error:  # what zipfile, zlib and NumPy raise for damaged members is many things
        if str(error).startswith("Object arrays"):
            raise DataError(_objects_message(name)) from error
        raise DamagedFileError(f"{name} is cut short, damaged, or no .npz file. Write it again") from error
    if not isinstance(array, np.ndarray):
        raise DamagedFileError(f"{name} is a zip, but what it holds is no array")
    return array


def _from_parquet(file: BinaryIO, name: str) -> np.ndarray:
    pyarrow = _pyarrow("reading")
    from pyarrow import parquet

    try:
        table = parquet.read_table(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise DamagedFileError(f"{name} is cut short, damaged, or no Parquet file. Write it again") from error
    if not table.num_columns:
        raise DataError(f"{name} has no columns")
    kinds = {field.name: field.type for field in table.schema}
    wrong = [word for word, kind in kinds.items() if not (_is_number(kind) or pyarrow.types.is_boolean(kind))]
    if wrong:
        raise DataError(f'{name}: the column "{wrong[0]}" holds {kinds[wrong[0]]}, not numbers. Leave it out')
    gaps = [word for word in kinds if table[word].null_count]
    if gaps:
        raise DataError(
            f'{name}: the column "{gaps[0]}" has {table[gaps[0]].null_count} empty cells. Fill or drop them'
        )
    return NamedColumns(np.column_stack([table[word].to_numpy() for word in kinds]), tuple(kinds))


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind))


def _pyarrow(doing: str) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra(f"{doing} Parquet needs pyarrow: pip install 'isthmus[parquet]'") from error
    return pyarrow


# --- Numbers in text ------------------------------------------------------------------------------------------------

WHOLE = re.compile(r'[-+0-9,;\t "\r\n]*')
INT64 = range(-(2**63), 2**63)


def _decoded(raw: bytes, name: str) -> str:
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not text in UTF-8: byte {error.start} is {raw[error.start]:#04x}") from error


def first_row_is_numbers(path: str | os.PathLike[str]) -> bool:
    """Whether a file of text begins with numbers, and not with names of columns. False for what is no text."""
    place = Path(path)
    if _ending(place) not in TEXTS:
        return False
    try:
        with gzip.open(place, "rb") if place.name.lower().endswith(".gz") else open(place, "rb") as file:
            first, body = _first_row(_decoded(file.read(2**16).rpartition(b"\n")[0] or b"", place.name))
        cells = next(csv.reader([first], delimiter=TEXTS[_ending(place)] or _delimiter(first, body)))
    except (OSError, EOFError, zlib.error, csv.Error, DataError, FileError, StopIteration):
        return False
    return any(_is_float(cell.strip()) for cell in cells)


def _from_text(text: str, name: str, delimiter: str | None) -> np.ndarray:
    """An (n, d) array, int64 where every cell is a whole number, else float64; `NamedColumns` where row 1 has names."""
    first, body = _first_row(text)
    if not first.strip():
        raise DataError(f"{name} is empty")
    try:
        delimiter = delimiter or _delimiter(first, body)
        names = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter))]
    except csv.Error as error:
        raise DataError(f"{name} cannot be read as CSV: {error}") from error
    if any(_is_float(cell) for cell in names):
        names, body = [], text
    elif not body.strip():
        raise DataError(f"{name} holds one row of names and no numbers")
    array = _quickly(body, delimiter)
    if array is None or (names and array.shape[1] != len(names)):
        array = _carefully(text, name, delimiter, names)
    return NamedColumns(array, names) if names else array


def _first_row(text: str) -> tuple[str, str]:
    """The first line that is not blank, and what follows it."""
    found = re.search(r"\S", text)
    if found is None:
        return "", ""
    first, _, body = text[text.rfind("\n", 0, found.start()) + 1 :].partition("\n")
    return first, body


def _quickly(body: str, delimiter: str) -> np.ndarray | None:
    """NumPy's own parser, some fifty times faster; None where it finds anything amiss."""
    dtype = np.int64 if WHOLE.fullmatch(body) else np.float64
    try:
        return np.loadtxt(io.StringIO(body), dtype, comments=None, delimiter=delimiter, quotechar='"', ndmin=2)
    except (ValueError, OverflowError):
        return None


def _carefully(text: str, name: str, delimiter: str, names: list[str]) -> np.ndarray:
    """Cell by cell, with the file's own row numbers. Raises DataError for the first cell or row that is amiss."""
    rows = _rows(text, name, delimiter)
    first, cells = next(rows)
    width = len(cells)
    table = [] if names else [[_number(cell, name, first, j, names) for j, cell in enumerate(cells)]]
    for row, cells in rows:
        if len(cells) != width:
            raise DataError(
                f"{name}: row {row} has {len(cells)} cells, row {first} has {width}."
                f" Every row needs as many; cells end at {WORDS[delimiter]}"
            )
        table.append([_number(cell, name, row, j, names) for j, cell in enumerate(cells)])
    whole = all(isinstance(value, int) and value in INT64 for values in table for value in values)
    return np.array(table, dtype=np.int64 if whole else np.float64)


def _rows(text: str, name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the number of its line, counted from 1."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) or len(cells) > 1:
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{name}: row {reader.line_num} cannot be read as CSV: {error}") from error


WORDS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def _number(cell: str, name: str, row: int, column: int, names: Sequence[str]) -> float:
    cell = cell.strip()
    try:
        if "_" not in cell:  # Python reads 1_000 as a number; a file that holds it means something else
            return int(cell) if WHOLE.fullmatch(cell) else float(cell)
    except ValueError:
        pass
    called = f' ("{names[column]}")' if names else ""
    place = f"{name}: row {row}, column {column + 1}{called}"
    if not cell:
        raise DataError(f"{place} is empty. Fill it, or leave the row or the column out")
    shown = cell if len(cell) <= 40 else cell[:37] + "..."
    if re.fullmatch(r"[-+]?\d+,\d+", cell):
        raise DataError(f"{place} holds {shown!r}: write decimals with a point")
    hint = "" if names or row > 1 else "; if row 1 is a header, every column needs a name there"
    raise DataError(f"{place} holds {shown!r}, which is not a number. Mend it, or leave the column out{hint}")


def _delimiter(first: str, body: str) -> str:
    """Comma, semicolon or tab: the one in row 1; of several, the one that cuts the next rows evenly into numbers."""
    there = [delimiter for delimiter in WORDS if delimiter in first]
    lines = [line for line in body[:65536].split("\n")[:20] if line.strip()] or [first]

    def worth(delimiter: str) -> tuple[bool, int]:
        cut = list(csv.reader(lines, delimiter=delimiter))
        return len({len(row) for row in cut}) == 1, -sum(not _is_float(cell) for cell in cut[-1])

    return max(there, key=worth) if len(there) > 1 else (there or [","])[0]


def _is_float(cell: str) -> bool:
    try:
        float(cell.replace(",", ".", 1))  # 1,5 is a number too, if not one that we read
    except ValueError:
        return False
    return True


# --- Writing --------------------------------------------------------------------------------------------------------


def write(
    path: str | os.PathLike[str], items: Any, *, columns: Sequence[str] | None = None, overwrite: bool = False
) -> None:
    """Items to a file, by its ending; whole or not at all.

    Parameters
    ----------
    path : ends in .npy, .npz, .csv, .tsv or .parquet; a name without ending, or with a final slash, is a folder for
        pictures (PNG); "-" is standard output, in .npy form
    items : array of numbers; for CSV and Parquet (n,) or (n, d); for a folder what `save_images` takes
    columns : names of the d columns in CSV and Parquet. Default: the items' own; else none in CSV, "0", "1", ... in
        Parquet. CSV numbers are written so that the same dtype reads back exactly
    overwrite : whether a folder of pictures may already hold something. Files are always replaced

    Raises
    ------
    FileError : the place cannot be written, or its ending is not ours
    DataError : items that do not fit the file
    MissingExtra : Parquet without pyarrow
    """
    place = Path(path)
    ending = place.suffix.lower()
    if os.fspath(path) == "-":
        _to_stdout(_numbers(items, "standard output"))
    elif str(path).endswith(("/", os.sep)) or not ending or place.is_dir():
        from isthmus.formats.picture_folders import save_images

        save_images(place, items, overwrite=overwrite)
    elif ending in (".npy", ".npz"):
        array = _numbers(items, place.name)
        with atomic_path(place) as temporary, open(temporary, "wb") as file:
            if ending == ".npy":
                np.save(file, array, allow_pickle=False)
            else:
                np.savez(file, allow_pickle=False, items=array)
    elif ending in (".csv", ".tsv"):
        table, names = _table(items, place.name, columns)
        with atomic_path(place) as temporary, open(temporary, "w", encoding="utf-8", newline="") as text:
            _write_text(text, table, names, "\t" if ending == ".tsv" else ",")
    elif ending == ".parquet":
        _write_parquet(place, *_table(items, place.name, columns))
    else:
        raise FileError(f"{place.name} ends in {ending}, which is not written here; {WRITABLE} is")


def _numbers(items: Any, name: str) -> np.ndarray:
    if hasattr(items, "detach"):  # a torch tensor, on any device
        items = items.detach().cpu().numpy()
    try:
        array = np.asarray(items)
    except ValueError as error:
        raise DataError(f"the items for {name} differ in shape and make no array") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"items of dtype {array.dtype} cannot be written to {name}; numbers can")
    return array


def _table(items: Any, name: str, columns: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...] | None]:
    names = columns if columns is not None else getattr(items, "columns", None)
    array = _numbers(items, name)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise DataError(f"items of shape {array.shape} do not fit the rows of {name}; write them as .npy")
    if names is not None and len(names) != array.shape[1]:
        raise DataError(f"{len(names)} names were given for the {array.shape[1]} columns of {name}")
    return array, None if names is None else tuple(str(word) for word in names)


def _write_text(file: Any, table: np.ndarray, names: tuple[str, ...] | None, delimiter: str) -> None:
    if names is not None:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerow(names)
    numbers = table.astype(np.uint8) if table.dtype.kind == "b" else table
    np.savetxt(file, numbers, "%s", delimiter)  # NumPy's str: the fewest digits that read back as the same number


def _write_parquet(place: Path, table: np.ndarray, names: tuple[str, ...] | None) -> None:
    pyarrow = _pyarrow("writing")
    from pyarrow import parquet

    words = names or tuple(str(j) for j in range(table.shape[1]))
    if len(set(words)) < len(words):
        raise DataError(f"two columns of {place.name} would have the same name")
    frame = pyarrow.table({word: np.ascontiguousarray(table[:, j]) for j, word in enumerate(words)})
    with atomic_path(place) as temporary:
        parquet.write_table(frame, temporary)


def _to_stdout(array: np.ndarray) -> None:
    if sys.stdout.isatty():
        raise FileError("standard output is a terminal, and .npy is not text: send it to a file or a pipe")
    raw = io.BytesIO()
    np.save(raw, array, allow_pickle=False)
    sys.stdout.buffer.write(raw.getbuffer())
    sys.stdout.buffer.flush()
