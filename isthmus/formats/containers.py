"""What a table was: its kind, its columns' names and their own dtypes, and how rows get their form back.

A dtype is a word, so that a saved model can say it: what its library prints, with these exceptions.

=========== ==========================================================================================================
pandas      "str[python]", "str[pyarrow]" (missing is NaN), "string[python]", "string[pyarrow]" (missing is NA),
            "category[DTYPE]" and "ordered[DTYPE]" with the dtype of the categories, "arrow[TYPE]",
            "object[None]", "object[nan]", "object[NaT]", "object[NA]" with what stood for a missing value
polars      "Datetime[us]", "Datetime[us, UTC]", "Duration[us]", "Decimal[10, 2]", "Categorical" and "Enum"
dict, list  "list[None]", "list[nan]", ...; or NumPy's code, "<f4"
Arrow       as Arrow prints it: "timestamp[us, tz=UTC]", "dictionary<values=string, indices=int8, ordered=0>"
=========== ==========================================================================================================

The levels of a categorical are not remembered here: they travel in the column, as its Arrow dictionary.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from isthmus.errors import DamagedFileError, DataError, MissingExtra
from isthmus.formats.saved import Saved, shortened

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "Container",
    "arrow_type",
    "from_cells",
    "from_mapping",
    "from_numpy",
    "indexed_as",
    "library",
    "merged_levels",
    "normal_array",
    "normal_table",
    "normal_type",
    "unique_names",
]

UNIT = "(s|ms|us|ns)"
ZONE = r"[^\[\]]{1,64}"
PLAIN = (
    r"null|bool|u?int(8|16|32|64)|halffloat|float|double|decimal(32|64|128|256)\(\d\d?, -?\d\d?\)|string|large_string"
    rf"|string_view|date32\[day\]|date64\[ms\]|timestamp\[{UNIT}(, tz={ZONE})?\]|time32\[(s|ms)\]|time64\[(us|ns)\]"
    rf"|duration\[{UNIT}\]"
)
ARROW = rf"{PLAIN}|dictionary<values=({PLAIN}), indices=u?int(8|16|32|64), ordered=[01]>"
NUMPY = rf"[<>|=][?biufUT]\d*|[<>|=]O\d*|[<>]?[Mm]8\[{UNIT[:-1]}|D|h|m|W|M|Y)\]"
CELLS = r"\[(None|nan|NaT|NA)\]"
SIMPLE = (
    r"bool|u?int(8|16|32|64)|float(16|32|64)|U?Int(8|16|32|64)|Float(32|64)|boolean|(str|string)\[(python|pyarrow)\]"
    rf"|object{CELLS}|datetime64\[{UNIT}(, {ZONE})?\]|timedelta64\[{UNIT}\]|arrow\[({ARROW})\]"
)
WORDS = {  # kind: what its dtypes may be
    "pandas": rf"{SIMPLE}|(category|ordered)\[({SIMPLE})\]",
    "polars": r"Null|Boolean|U?Int(8|16|32|64)|Float(16|32|64)|String|Date|Time|Categorical|Enum"
    rf"|Datetime\[(ms|us|ns)(, {ZONE})?\]|Duration\[(ms|us|ns)\]|Decimal\[\d\d?, \d\d?\]",
    "pyarrow": ARROW,
    "duckdb": ARROW,
    "file": ARROW,
    "dict": rf"list{CELLS}|{NUMPY}",
    "records": rf"list{CELLS}",
    "numpy": rf"list{CELLS}|{NUMPY}",
}
FORMS = {"pandas": ("str", "object", "int64", "string"), "numpy": ("array", "rows", "structured")}


@dataclass(frozen=True)
class Container:
    """What a table was, to give rows back in the same form.

    Attributes
    ----------
    kind : "pandas", "polars", "pyarrow", "duckdb", "dict", "numpy", "records" or "file"; rows of DuckDB and of
        files come back as pyarrow tables
    names : the columns' names as they were: text or whole numbers. Inside they are text, `str` of these
    dtypes : for each column a word, see the table at the top
    form : pandas: the dtype of ``frame.columns``. NumPy: "array" for a 2-D array, "structured", or "rows" for a list of
        lists. Otherwise empty
    """

    kind: str
    names: tuple[str | int, ...]
    dtypes: tuple[str, ...]
    form: str = ""

    def restore(self, table: pyarrow.Table) -> Any:
        """Rows in the form of the table that they came from: its kind, its order of columns, names and dtypes.

        What is null becomes what the dtype has for a missing value: None, NaN, NaT or NA. A column of whole numbers or
        truths that had none becomes "Int64" or "boolean" in pandas, floats or objects in NumPy, if it has some now. A
        pandas frame has a plain index from 0: see ``indexed_as``.

        Parameters
        ----------
        table : some or all of the columns, by their names as text, in any order. Categoricals come as Arrow
            dictionaries with all of their levels; the types may be wider or narrower than they were, if the values fit

        Raises
        ------
        DataError : a column that the table did not have, no column, values that do not fit a column's dtype
        MissingExtra : the library of the frame is not installed
        """
        library("pyarrow")
        there = {str(name): place for place, name in enumerate(self.names)}
        unknown = [name for name in table.column_names if name not in there]
        if unknown or not table.num_columns:
            raise DataError(
                f"the table has no column {shortened(unknown[0])}; it has {', '.join(list(there)[:20])}"
                if unknown
                else "there is no column to give back"
            )
        chosen = sorted(table.column_names, key=lambda name: there[name])
        names = [self.names[there[name]] for name in chosen]
        columns = []
        for name in chosen:
            word = self.dtypes[there[name]]
            try:
                columns.append(_RESTORED[self.kind](table[name], word))
            except (ValueError, TypeError, OverflowError, ArithmeticError) as error:  # Arrow's own are ValueErrors
                if isinstance(error, MissingExtra):
                    raise
                raise DataError(f'the column "{name}" of {table[name].type} does not become {word}: {error}') from error
        return self._assembled(names, columns, table.num_rows)

    def _assembled(self, names: list[str | int], columns: list[Any], n_rows: int) -> Any:
        if self.kind == "pandas":
            pandas = library("pandas")
            frame = pandas.DataFrame(dict(enumerate(columns)), index=pandas.RangeIndex(n_rows), copy=False)
            frame.columns = pandas.Index(names, dtype=self.form)
            return frame
        if self.kind == "polars":
            return library("polars").DataFrame(
                [column.alias(str(name)) for name, column in zip(names, columns, strict=True)]
            )
        if self.kind == "dict":
            return dict(zip(names, columns, strict=True))
        if self.kind == "records":
            return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        if self.kind == "numpy" and self.form == "rows":
            return [list(row) for row in zip(*columns, strict=True)]
        if self.kind == "numpy" and self.form == "structured":
            array = np.empty(n_rows, [(str(name), column.dtype) for name, column in zip(names, columns, strict=True)])
            for name, column in zip(names, columns, strict=True):
                array[str(name)] = column
            return array
        if self.kind == "numpy":
            return np.stack(columns, axis=1).astype(max(column.dtype for column in columns), copy=False)
        return library("pyarrow").table(columns, names=[str(name) for name in names])

    def to_json(self) -> dict[str, Any]:
        """The container as JSON values."""
        return {"kind": self.kind, "names": list(self.names), "dtypes": list(self.dtypes), "form": self.form}

    @classmethod
    def from_json(cls, saved: Any) -> Self:
        """The container that ``to_json`` described. Raises DamagedFileError for what it never writes."""
        fields = Saved(saved, "the saved form of the table")
        kind = fields.word("kind", WORDS)
        names, form = fields.get("names"), fields.word("form", FORMS.get(kind, ("",)))
        if not isinstance(names, list) or not names or not all(type(name) in (str, int) for name in names):
            raise fields.refuse("names", "a list of strings and whole numbers")
        if len({str(name) for name in names}) < len(names):
            raise fields.refuse("names", "a list without repetitions")
        dtypes = fields.words("dtypes", len(names))
        wrong = [word for word in dtypes or ("null",) if dtypes is None or not re.fullmatch(WORDS[kind], word)]
        if dtypes is None or wrong:
            raise DamagedFileError(f'"dtypes" of {fields.what} holds {shortened(wrong[0])}, which {kind} does not have')
        return cls(kind, tuple(names), dtypes, form)

    @classmethod
    def of_arrow(cls, kind: str, schema: pyarrow.Schema) -> Self:
        """The container of an Arrow schema. Types that have no word here come back as what they are inside."""
        words = tuple(
            str(field.type) if re.fullmatch(ARROW, str(field.type)) else str(normal_type(field.type, field.name))
            for field in schema
        )
        return cls(kind, tuple(schema.names), words)


def indexed_as(made: Any, items: Any) -> Any:
    """A pandas frame with the index of the frame that it was made of, row by row; anything else as it is."""
    if all(type(one).__module__.partition(".")[0] == "pandas" and hasattr(one, "columns") for one in (made, items)):
        made.index = items.index
    return made


def library(name: str) -> Any:
    """An optional package. Raises MissingExtra with the command that installs it."""
    try:
        return __import__(name)
    except ImportError as error:
        extra = "'isthmus[tables]'" if name in ("pyarrow", "narwhals") else name
        raise MissingExtra(f"tables of this kind need {name}: pip install {extra}") from error


# --- Arrow types inside ---------------------------------------------------------------------------------------------


def normal_type(kind: pyarrow.DataType, column: str) -> pyarrow.DataType:
    """The type that a column has inside: text is large_string, a categorical has int32 codes, the rest is as it was.

    Raises DataError, naming the column, for types that are no values of one cell: lists, structs, bytes, intervals.
    """
    import pyarrow
    from pyarrow import types

    if isinstance(kind, pyarrow.BaseExtensionType):
        if not kind.extension_name.startswith("pandas."):  # periods and intervals mean more than their storage
            return normal_type(kind.storage_type, column)
    elif types.is_dictionary(kind):
        return pyarrow.dictionary(pyarrow.int32(), normal_type(kind.value_type, column), kind.ordered)
    elif types.is_run_end_encoded(kind):
        return normal_type(kind.value_type, column)
    elif types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pyarrow.large_string()
    elif re.fullmatch(PLAIN, str(kind)):
        return kind
    if types.is_nested(kind):
        mend = "take it apart into columns of one value a cell"
    elif "binary" in str(kind):
        mend = "decode it to text, or leave it out"
    else:
        mend = "make it text or numbers first (astype(str) in pandas, cast in DuckDB), or leave it out"
    raise DataError(f'the column "{column}" holds {kind}, which is no value of a table here: {mend}')


def normal_array(array: pyarrow.Array, kind: pyarrow.DataType, levels: pyarrow.Array | None = None) -> pyarrow.Array:
    """An array as its `normal_type`, with null for NaN. ``levels`` are all that a dictionary shall have."""
    import pyarrow
    import pyarrow.compute as pc
    from pyarrow import types

    if isinstance(array, pyarrow.ExtensionArray):
        array = array.storage
    if types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    if types.is_dictionary(kind):
        if not types.is_dictionary(array.type):
            array = array.dictionary_encode()
        own = normal_array(array.dictionary, kind.value_type)
        levels = merged_levels([own]) if levels is None else levels
        codes = array.indices.cast(pyarrow.int32())
        if not own.equals(levels):
            codes = pc.index_in(own, levels, skip_nulls=True).take(codes)
        return pyarrow.DictionaryArray.from_arrays(codes, levels, ordered=kind.ordered)
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.type != kind:
        array = array.cast(kind)
    if types.is_floating(kind) and pc.any(gaps := pc.is_nan(array)).as_py():
        array = pc.if_else(gaps, pyarrow.scalar(None, kind), array)
    return array


def merged_levels(dictionaries: Iterable[pyarrow.Array]) -> pyarrow.Array:
    """All levels of some dictionaries of one type, each once, in the order in which they come first."""
    import pyarrow
    import pyarrow.compute as pc

    merged: Any = None
    for levels in dictionaries:
        if merged is None:
            merged = pc.unique(levels.drop_null())
        elif not levels.equals(merged):
            merged = pc.unique(pyarrow.concat_arrays([merged, levels.drop_null()]))
    return merged


def normal_table(table: pyarrow.Table) -> pyarrow.Table:
    """A table in memory with every column as its `normal_type`, and the same levels in all of its chunks."""
    import pyarrow
    from pyarrow import types

    columns = []
    for field in table.schema:
        kind = normal_type(field.type, field.name)
        chunks, levels = table[field.name].chunks, None
        if types.is_dictionary(kind) and chunks:
            levels = merged_levels(normal_array(chunk.dictionary, kind.value_type) for chunk in chunks)
        columns.append(pyarrow.chunked_array([normal_array(chunk, kind, levels) for chunk in chunks], kind))
    return pyarrow.table(columns, names=table.column_names)


# --- Columns of cells -----------------------------------------------------------------------------------------------

KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (  # the first that fits: True is an int too, a datetime a date
    ("text", (str,)),
    ("a truth", (bool, np.bool_)),
    ("a whole number", (int, np.integer)),
    ("a number", (float, np.floating)),
    ("a date with time", (datetime.datetime, np.datetime64)),
    ("a date", (datetime.date,)),
    ("a time", (datetime.time,)),
    ("a duration", (datetime.timedelta, np.timedelta64)),
    ("a decimal", (Decimal,)),
)


def is_missing(value: Any) -> bool:
    """Whether a cell is None, NaN, NaT or NA."""
    if isinstance(value, float | np.floating):
        return bool(value != value)
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _kind_of(kind: type) -> str:
    return next((word for word, kinds in KINDS if issubclass(kind, kinds)), f"a {kind.__name__}")


def marker_of(values: Iterable[Any]) -> str:
    """What stands for a missing value in some cells: the name of the first that is there; None where none is."""
    first = next((value for value in values if is_missing(value)), None)
    names = {"NoneType": "None", "NAType": "NA", "NaTType": "NaT", "datetime64": "NaT", "timedelta64": "NaT"}
    return names.get(type(first).__name__, "nan")


def from_cells(values: Sequence[Any] | np.ndarray, column: str) -> tuple[pyarrow.Array, str]:
    """Python values as one Arrow column, and the word for what a missing one was. Whole numbers and floats are floats.

    Raises DataError, naming the first two cells that are not of one kind, or a cell that is no value of a table.
    """
    import pyarrow

    plain = {type(value) for value in values} in ({str}, {str, type(None)})  # most are, and it is quickly told
    kinds = {"text"} if plain else {_kind_of(kind) for kind in {type(v) for v in values if not is_missing(v)}}
    if kinds == {"a number", "a whole number"}:
        values, kinds = [None if is_missing(value) else float(value) for value in values], {"a number"}
    alien = kinds - {word for word, _ in KINDS}
    if len(kinds) > 1 or alien:
        raise DataError(_of_one_kind(values, column, alien))
    types = {
        "text": pyarrow.large_string(),
        "a truth": pyarrow.bool_(),
        "a whole number": pyarrow.int64(),
        "a number": pyarrow.float64(),
    }
    kind = types.get(next(iter(kinds), "")) if kinds else pyarrow.null()
    cells = [None if is_missing(value) else value for value in values] if not plain else values
    try:
        try:
            array = pyarrow.array(cells, kind, from_pandas=True)
        except OverflowError:
            array = pyarrow.array(cells, pyarrow.uint64(), from_pandas=True)
    except (OverflowError, ValueError, TypeError) as error:
        raise DataError(
            f'the column "{column}" holds {next(iter(kinds))} that does not fit its type: {error}'
        ) from error
    return array, marker_of(values)


def _of_one_kind(values: Sequence[Any] | np.ndarray, column: str, alien: set[str]) -> str:
    """The message for cells of several kinds, or of one that no table has."""
    cells = [(row, _kind_of(type(value))) for row, value in enumerate(values) if not is_missing(value)]
    if alien:
        row, word = next((row, word) for row, word in cells if word in alien)
        return (
            f'the column "{column}" holds {word} in row {row}; text, numbers, truths, dates and times are values of a'
            " table. Take it apart into columns, or leave it out"
        )
    other, word = next(cell for cell in cells if cell[1] != cells[0][1])
    return (
        f'the column "{column}" holds {cells[0][1]} in row {cells[0][0]} and {word} in row {other}. Mend those rows, or'
        f" make all of it text: frame[{column!r}] = frame[{column!r}].astype(str)"
    )


def from_numpy(values: np.ndarray, column: str) -> tuple[pyarrow.Array, str]:
    """A 1-D array as an Arrow column, and the word for its dtype. Raises DataError for bytes and complex numbers."""
    import pyarrow

    dtype = values.dtype
    if dtype.kind in "OUT":
        return from_cells(values.astype(object), column)[0], dtype.str
    if dtype.kind in "Mm":
        unit = np.datetime_data(dtype)[0]
        exact = unit if unit in ("s", "ms", "us", "ns") else "D" if unit in "DWMY" and dtype.kind == "M" else "s"
        if np.datetime_data(dtype)[1] != 1 or (dtype.kind == "m" and unit in "MY") or unit in ("ps", "fs", "as"):
            raise DataError(f'the column "{column}" holds {dtype}: astype("{dtype.kind}8[s]") makes it seconds')
        return pyarrow.array(values.astype(f"{dtype.kind}8[{exact}]"), from_pandas=True), f"{dtype.kind}8[{unit}]"
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise DataError(f'the column "{column}" holds {dtype}; text, numbers, truths, dates and times can be read')
    return pyarrow.array(np.ascontiguousarray(values, dtype.newbyteorder("=")), from_pandas=True), dtype.str


def from_mapping(items: Mapping[Any, Any]) -> tuple[pyarrow.Table, Container]:
    """A dict of columns: lists, tuples, NumPy arrays, or what else makes a 1-D array, which comes back as a list."""
    import pyarrow

    names = unique_names(list(items))
    arrays, words, lengths = [], [], []
    for name, values in zip(names, items.values(), strict=True):
        if isinstance(values, list | tuple):
            array, marker = from_cells(values, str(name))
            word = f"list[{marker}]"
        elif isinstance(values, np.ndarray):
            if values.ndim != 1:
                raise DataError(f'the column "{name}" is an array of shape {values.shape}; (n,) is expected')
            array, word = from_numpy(values, str(name))
        else:
            array, marker = from_cells(list(values), str(name))
            word = f"list[{marker}]"
        arrays.append(array)
        words.append(word)
        lengths.append(len(array))
    if len(set(lengths)) > 1:
        other = next(place for place, length in enumerate(lengths) if length != lengths[0])
        raise DataError(
            f'the columns differ in length: "{names[0]}" has {lengths[0]} rows, "{names[other]}" {lengths[other]}'
        )
    return pyarrow.table(arrays, names=[str(name) for name in names]), Container("dict", names, tuple(words))


def unique_names(names: Sequence[Any]) -> tuple[str | int, ...]:
    """Names as text or whole numbers. Raises DataError where two are the same, as text."""
    if any(isinstance(name, tuple) for name in names):
        raise DataError(
            "the columns have names of several levels; join them: frame.columns = frame.columns.map('_'.join)"
        )
    whole = [int(name) if _is_whole(name) else str(name) for name in names]
    texts = [str(name) for name in whole]
    twice = sorted({name for name in texts if texts.count(name) > 1}) if len(set(texts)) < len(texts) else []
    if twice:
        raise DataError(
            f"two columns have the name {', '.join(map(repr, twice))}. Every column needs a name of its own"
        )
    return tuple(whole)


def _is_whole(name: Any) -> bool:
    return isinstance(name, int | np.integer) and not isinstance(name, bool)


# --- pandas and polars ----------------------------------------------------------------------------------------------


def _to_pandas(column: Any, word: str) -> Any:
    """An Arrow column as a pandas array of a dtype."""
    import pandas
    import pyarrow

    kind, inner = word.partition("[")[0], word.partition("[")[2].rpartition("]")[0]
    if kind in ("category", "ordered"):
        column = _as_dictionary(column)
        levels = column.chunk(0).dictionary if column.num_chunks else pyarrow.array([], column.type.value_type)
        codes = column.combine_chunks() if column.num_chunks > 1 else column.chunk(0) if column.num_chunks else None
        places = np.empty(0, np.int32) if codes is None else codes.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        categories = pandas.Index(_to_pandas(pyarrow.chunked_array([levels]), inner))
        return pandas.Categorical.from_codes(places, categories=categories, ordered=kind == "ordered")
    column = _decoded(column)
    if kind == "arrow":
        return pandas.arrays.ArrowExtensionArray(_as_arrow(column, inner))
    if kind == "object":
        return pandas.Series(_cells(column, inner), dtype=object)
    if kind in ("str", "string"):
        dtype = pandas.StringDtype(inner, np.nan if kind == "str" else pandas.NA)
        return dtype.__from_arrow__(column.cast(pyarrow.large_string()))
    if kind == "datetime64" and "," in inner:
        unit, zone = inner.split(", ", 1)
        return pandas.DatetimeTZDtype(unit, zone).__from_arrow__(column.cast(pyarrow.timestamp(unit, zone)))
    dtype = pandas.api.types.pandas_dtype(word)
    if isinstance(dtype, np.dtype) and dtype.kind in "biu" and column.null_count:
        dtype = pandas.api.types.pandas_dtype(
            "boolean" if dtype.kind == "b" else word.replace("int", "Int").replace("u", "U")
        )
    if isinstance(dtype, np.dtype):
        return _as_numpy(column, dtype)
    return dtype.__from_arrow__(column.cast(pyarrow.from_numpy_dtype(dtype.numpy_dtype)))


def _to_polars(column: Any, word: str) -> Any:
    """An Arrow column as a polars series of a dtype."""
    polars = library("polars")
    kind, inside = word.partition("[")[0], word.partition("[")[2].rstrip("]").split(", ")
    if kind == "Enum":
        column = _as_dictionary(column)
        levels = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
        dtype = polars.Enum(levels)
    elif kind in ("Datetime", "Duration"):
        dtype = getattr(polars, kind)(*inside)
    elif kind == "Decimal":
        dtype = polars.Decimal(*map(int, inside))
    else:
        dtype = getattr(polars, kind)()
    plain = polars.Series(_decoded(column))
    return plain if plain.dtype == dtype else plain.cast(dtype)


# --- Back -----------------------------------------------------------------------------------------------------------


def _as_arrow(column: Any, word: str) -> Any:
    """A column as the Arrow type of a word."""
    import pyarrow
    from pyarrow import types

    kind = arrow_type(word)
    if not types.is_dictionary(kind):
        return _decoded(column).cast(kind)
    return pyarrow.chunked_array(
        [
            pyarrow.DictionaryArray.from_arrays(
                chunk.indices.cast(kind.index_type), chunk.dictionary.cast(kind.value_type), ordered=kind.ordered
            )
            for chunk in _as_dictionary(column).chunks
        ],
        kind,
    )


def arrow_type(word: str) -> pyarrow.DataType:
    """The Arrow type that Arrow prints so. ValueError for a word that no column of a table has."""
    import pyarrow

    if not re.fullmatch(ARROW, word):
        raise ValueError(f"{shortened(word)} is no type of a column")
    if found := re.fullmatch(r"dictionary<values=(.*), indices=(.*), ordered=(.)>", word):
        return pyarrow.dictionary(arrow_type(found[2]), arrow_type(found[1]), found[3] == "1")
    if found := re.fullmatch(r"(decimal\d+)\((\d+), (-?\d+)\)", word):
        return getattr(pyarrow, found[1])(int(found[2]), int(found[3]))
    if found := re.fullmatch(r"timestamp\[(\w+), tz=(.*)\]", word):
        return pyarrow.timestamp(found[1], found[2])
    if word in ("large_string", "string_view", "null"):
        return getattr(pyarrow, word)()
    return pyarrow.type_for_alias(word)


def _decoded(column: Any) -> Any:
    """A column without a dictionary."""
    from pyarrow import types

    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def _as_dictionary(column: Any) -> Any:
    """A column with a dictionary, one and the same in all chunks."""
    from pyarrow import types

    return (column if types.is_dictionary(column.type) else column.dictionary_encode()).unify_dictionaries()


def _cells(column: Any, marker: str) -> list[Any]:
    """A column as Python values, with what stands for a missing one."""
    values = _decoded(column).to_pylist()
    if marker == "None" or not column.null_count:
        return values
    missing = float("nan") if marker == "nan" else getattr(library("pandas"), marker)
    return [missing if value is None else value for value in values]


def _as_numpy(column: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """A column as a NumPy array of a dtype, or of one that can miss values where some are missing."""
    import pyarrow
    from pyarrow import types

    if dtype.kind == "U" and not column.null_count:
        array = np.array(column.to_pylist(), dtype=str)
        return array.astype(dtype) if array.dtype.itemsize < dtype.itemsize else array
    if dtype.kind in "OU" or (dtype.kind == "b" and column.null_count):
        return np.array(column.to_pylist(), dtype=object)
    if dtype.kind in "iu":
        dtype = np.dtype(np.float64) if column.null_count else dtype
        if dtype.kind in "iu" and not types.is_integer(column.type):
            column = column.cast(pyarrow.from_numpy_dtype(dtype.newbyteorder("=")))
    if dtype.kind == "b" and not types.is_boolean(column.type):
        column = column.cast(pyarrow.bool_())
    return column.to_numpy(zero_copy_only=False).astype(dtype, copy=True)


def _to_cells(column: Any, word: str) -> Any:
    """A column of a dict, of records or of an array: a list, or a NumPy array."""
    if word.startswith("list"):
        return _cells(column, word[5:-1])
    if word[1:].startswith("T"):
        return np.array(_cells(column, "None"), dtype=np.dtypes.StringDType(na_object=None))
    return _as_numpy(_decoded(column), np.dtype(word))


_RESTORED: dict[str, Any] = {
    "pandas": _to_pandas,
    "polars": _to_polars,
    **dict.fromkeys(("pyarrow", "duckdb", "file"), _as_arrow),
    **dict.fromkeys(("dict", "records", "numpy"), _to_cells),
}
