"""Array-likes in, checked NumPy arrays inside, the user's own container and dtype out.

What vectors, series and images share: `as_array` takes NumPy, torch (any device, with or without gradients), lists,
tuples, frames of numbers and whatever else has ``__array__``, and remembers in an `Origin` what it was given;
`stored` makes the exact, compact tensor; `Origin.restore` goes back.

========================== ================ =====================================
dtype of the items         stored as        comes back as
========================== ================ =====================================
bool                       uint8            bool
uint8, int8, int16         the same         the same
int32, int64               the same         the same
uint16                     int32            uint16
uint32, uint64             int64            the same (uint64 only up to 2**63 - 1)
float16, float32, float64  the same         the same
bfloat16 (torch only)      float32          bfloat16
object, every cell a       float64          float64
number
========================== ================ =====================================
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import DamagedFileError, DataError, FormatError
from isthmus.formats.saved import Saved, shortened

__all__ = [
    "Origin",
    "as_array",
    "chunks",
    "four_digits",
    "listing",
    "refuse_non_finite",
    "require_finite",
    "stored",
    "widest_float",
]

DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64", "bfloat16"),
)
STORED_AS = {"bool": "uint8", "uint16": "int32", "uint32": "int64", "uint64": "int64"}  # the others stay as they are
FOREIGN = tuple(np.dtype(name).newbyteorder().str for name in DTYPES if name != "bfloat16")  # the other byte order
CHUNK = 2**18  # elements looked at in one go: 2 MiB of float64, about what a core's own cache holds


@dataclass(frozen=True)
class Origin:
    """What the items were before they became an array.

    Attributes
    ----------
    container : "numpy" (lists, tuples and frames too) or "torch"
    dtype : NumPy's or torch's name of the dtype, "float32"; for arrays of foreign byte order NumPy's code, ">f4"
    columns : names of the columns where the items were a frame, None otherwise
    """

    container: Literal["numpy", "torch"] = "numpy"
    dtype: str = "float64"
    columns: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"{'NumPy' if self.container == 'numpy' else self.container} {self.dtype}"

    @property
    def kind(self) -> str:
        """NumPy's letter: "b" bool, "i" and "u" integers, "f" floats."""
        return "f" if self.dtype == "bfloat16" else np.dtype(self.dtype).kind

    def name(self, column: int) -> str:
        """How messages call a column: its name in quotes where there is one, else its number, counted from 0."""
        return str(column) if self.columns is None else f'"{self.columns[column]}"'

    def restore(self, values: Tensor | np.ndarray) -> Any:
        """Exact stored values, or floats in their unit, as items: same shape, this container and dtype, on the CPU.

        Floats become integers by rounding half to even and clipping to what the dtype can hold, and bools by
        ``>= 0.5``; floats wider than the dtype are clipped to its range. The result never shares memory with
        ``values``. Raises DataError where NaN would have to become an integer or a bool.
        """
        if isinstance(values, Tensor):
            values = values.detach()
            values = (values.float() if values.dtype == torch.bfloat16 else values).cpu().numpy()
        if self.dtype == "bfloat16":
            most = torch.finfo(torch.bfloat16).max
            return torch.from_numpy(np.clip(values.astype(np.float64), -most, most)).to(torch.bfloat16)
        array = _cast(values, np.dtype(self.dtype))
        return torch.from_numpy(array) if self.container == "torch" else array

    def to_json(self) -> dict[str, Any]:
        columns = None if self.columns is None else list(self.columns)
        return {"container": self.container, "dtype": self.dtype, "columns": columns}

    @classmethod
    def from_json(cls, saved: Any) -> Self:
        """The origin that ``to_json`` described. Raises DamagedFileError for what it never writes."""
        fields = Saved(saved, "the saved origin of the items")
        container = fields.word("container", ("numpy", "torch"))
        dtype = fields.word("dtype", DTYPES if container == "torch" else (*DTYPES, *FOREIGN))
        if dtype == "bfloat16" and container == "numpy":
            raise DamagedFileError("the saved origin of the items is a NumPy array of bfloat16, which does not exist")
        return cls("torch" if container == "torch" else "numpy", dtype, fields.words("columns"))


def as_array(items: Any, what: str = "items") -> tuple[Origin, np.ndarray]:
    """Items as a NumPy array of numbers in the machine's byte order, and where they came from.

    The shape is the caller's to check, and so are NaN and infinity (`require_finite`). The array may share memory
    with the items: read it, do not write to it.

    Parameters
    ----------
    items : NumPy array, torch tensor on any device, nested lists or tuples of numbers, a list of arrays or tensors of
        one shape, a frame of numbers (pandas, polars, Arrow), anything else with ``__array__``
    what : what messages call the items

    Raises
    ------
    FormatError : text, dates, complex numbers, mixed objects, sparse matrices, ragged lists, tables, iterators, uint64
        of 2**63 and more
    DataError : masked values
    """
    if isinstance(items, Tensor):
        return _from_torch(items, what)
    if isinstance(items, list | tuple) and items and all(isinstance(item, Tensor) for item in items):
        shapes = [tuple(item.shape) for item in items]
        _refuse_ragged(shapes, what)
        return _from_torch(torch.stack([item.detach().cpu() for item in items]), what)
    _refuse_other_things(items, what)
    names = _column_names(items)
    if isinstance(items, list | tuple):  # tensors anywhere inside would fail in NumPy if they ask for gradients
        items = [item.detach().cpu() if isinstance(item, Tensor) else item for item in items]
    try:
        array = np.asarray(items)
    except (ValueError, TypeError, RuntimeError) as error:
        if isinstance(items, list | tuple):
            _refuse_ragged([_shape_of(item) for item in items], what)
        raise FormatError(f"these {what} do not make one array: {error}") from error
    array = _checked(array, items, names, what)
    if names is not None and (array.ndim != 2 or array.shape[1] != len(names)):
        names = None
    native = array.dtype.isnative
    origin = Origin("numpy", array.dtype.name if native else array.dtype.str, names)
    array = array if native else array.astype(array.dtype.newbyteorder("="))
    return origin, _below_2_to_63(array, what)


def _from_torch(items: Tensor, what: str) -> tuple[Origin, np.ndarray]:
    if items.layout != torch.strided:
        raise FormatError(f"a sparse torch tensor was given for {what}: make it dense with X.to_dense()")
    if items.is_complex():
        raise FormatError(_complex_message(what))
    dtype = str(items.dtype).removeprefix("torch.")
    if dtype not in DTYPES or items.is_quantized or items.is_meta or items.is_nested:
        state = "without data (device meta)" if items.is_meta else f"of {dtype}"
        raise FormatError(f"torch {what} {state} are not supported; convert them first: X.to(torch.float32)")
    values = items.detach().resolve_neg()
    if items.dtype == torch.bfloat16:
        values = values.float()
    return Origin("torch", dtype), _below_2_to_63(values.cpu().numpy(), what)


def _checked(array: np.ndarray, items: Any, names: tuple[str, ...] | None, what: str) -> np.ndarray:
    """The array, where its dtype is one that we can store; object arrays of plain numbers as float64."""
    kind = array.dtype.kind
    if kind == "O":
        return _numbers_of(array, names, what)
    if kind == "c":
        raise FormatError(_complex_message(what))
    if kind in "USTa":
        raise FormatError(
            f"the {what} are text ({array.dtype}), for example {shortened(next(iter(array.flat), ''))}; numbers are"
            " needed. If they are digits, convert them: X.astype(float)"
        )
    if kind in "mM":
        raise FormatError(f"the {what} are dates or durations ({array.dtype}); turn them to numbers: X.astype('int64')")
    if kind == "V" and array.dtype.names:
        wrong = [name for name in array.dtype.names if array.dtype[name].kind not in "biuf"]
        raise FormatError(_table_message(f"a record array of {_columns(len(array.dtype.names))}", wrong, _FROM_RECORDS))
    if kind not in "biuf" or array.dtype.itemsize > 8:
        raise FormatError(f"{what} of dtype {array.dtype} are not supported; convert them: X.astype('float64')")
    return array


def _below_2_to_63(array: np.ndarray, what: str) -> np.ndarray:
    """The array itself; FormatError where a uint64 is too large for torch's widest integer."""
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        place = [int(side) for side in np.argwhere(array > np.iinfo(np.int64).max)[0]]
        raise FormatError(
            f"the {what} hold {array[tuple(place)]} at position {place}; whole numbers must be below 2**63 = {2**63}."
            " Convert them first: X.astype('float64')"
        )
    return array


def _numbers_of(array: np.ndarray, names: tuple[str, ...] | None, what: str) -> np.ndarray:
    """An object array as float64. Raises FormatError that names the first cell that holds no number."""
    kinds = {type(cell) for cell in array.flat}
    if any(issubclass(kind, complex | np.complexfloating) for kind in kinds):
        raise FormatError(_complex_message(what))
    text = any(issubclass(kind, str | bytes) for kind in kinds)  # NumPy would read "1.5" as a number: likely a mistake
    cause: Exception | None = None
    try:
        if not text:
            return array.astype(np.float64)
    except Exception as error:  # whatever an unknown object's __float__ raises
        cause = error
    shapes = [_shape_of(cell) for cell in array.flat] if array.ndim == 1 else []
    if any(shapes):
        _refuse_ragged(shapes, what)
    if names is not None and array.ndim == 2:
        wrong = [name for name, column in zip(names, array.T, strict=True) if not all(map(_is_number, column))]
        if text or len(wrong) < len(names):
            raise FormatError(_table_message(f"a table of {_columns(len(names))}", wrong, _FROM_FRAME)) from cause
    where, cell = next((index, cell) for index, cell in np.ndenumerate(array) if not _is_number(cell))
    place = f"row {where[0]}, column {where[1]}" if len(where) == 2 else f"position {list(where)}"
    said = f": {cause}" if isinstance(cause, TypeError | OverflowError) else ""
    raise FormatError(
        f"the {what} mix numbers with other things: {place} holds {shortened(cell)}"
        f" of type {type(cell).__name__}, which is not a number{said}. Leave it out or turn it to a number first"
    ) from cause


def _refuse_other_things(items: Any, what: str) -> None:
    """FormatError for the things that people try and that are no arrays, each with what to do instead."""
    if items is None or isinstance(items, str | bytes):
        raise FormatError(f"an array of {what} is needed, not {shortened(items)}")
    # Before dicts: one kind of sparse matrix is a dict.
    if hasattr(items, "tocoo") or (hasattr(items, "todense") and hasattr(items, "nnz")):
        raise FormatError(
            f"the {what} are a sparse matrix ({type(items).__name__}), which is not supported: make it dense with"
            " X.toarray()"
        )
    if isinstance(items, Mapping):
        wrong = [str(name) for name, column in items.items() if not _holds_numbers(column)]
        raise FormatError(_table_message(f"a dict of {_columns(len(items))}", wrong, _FROM_DICT))
    if isinstance(items, np.ma.MaskedArray) and np.ma.getmaskarray(items).any():
        raise DataError(f"the {what} have masked values: fill them, for example X.filled(0), or drop their rows")
    if isinstance(items, Iterator | set | frozenset) and not hasattr(items, "__array__"):
        raise FormatError(f"the {what} are a {type(items).__name__}, which cannot be indexed: give list(X) or an array")


_FROM_RECORDS = "numpy.lib.recfunctions.structured_to_unstructured(X[['this', 'that']])"
_FROM_FRAME = "X[['this', 'that']]"
_FROM_DICT = "numpy.column_stack([X['this'], X['that']])"


def _table_message(given: str, wrong: list[str], remedy: str) -> str:
    quoted = listing(f'"{name}"' for name in wrong)
    named = f", of which {quoted} {'is' if len(wrong) == 1 else 'are'} not numeric" if wrong else ""
    return (
        f"{given} was given{named}; tables are not supported yet in this version. Select the numeric columns, {remedy},"
        " or encode the others as numbers first, for example with sklearn.preprocessing.OrdinalEncoder"
    )


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"


def _complex_message(what: str) -> str:
    return f"Complex data not supported: the {what} are complex. Give real and imaginary parts as two columns"


def _column_names(items: Any) -> tuple[str, ...] | None:
    """Names of a frame's columns; pandas and polars call them ``columns``, Arrow ``column_names``."""
    names = getattr(items, "column_names", None)
    if names is None and hasattr(items, "__array__"):
        names = getattr(items, "columns", None)
    if names is None or callable(names):
        return None
    try:
        return tuple(str(name) for name in names)
    except TypeError:
        return None


def _holds_numbers(column: Any) -> bool:
    try:
        return np.asarray(column).dtype.kind in "biuf"
    except (TypeError, ValueError, RuntimeError):
        return False


def _is_number(cell: Any) -> bool:
    if isinstance(cell, str | bytes):
        return False
    try:
        float(cell)
    except Exception:  # whatever an unknown object's __float__ raises
        return cell is None  # NumPy reads None as NaN, which is reported as a missing value
    return True


def _shape_of(item: Any) -> tuple[int, ...]:
    """Shape of an array, or of nested lists as far as they are regular."""
    if hasattr(item, "shape"):
        return tuple(item.shape)
    if isinstance(item, list | tuple):
        return (len(item), *(_shape_of(item[0]) if item else ()))
    return ()


def _refuse_ragged(shapes: list[tuple[int, ...]], what: str) -> None:
    """FormatError where the items differ in shape, naming the first that does."""
    for index, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise FormatError(
                f"the {what} differ in shape: item 0 has {shapes[0]}, item {index} has {shape}. All must be of one"
                " shape: cut, pad or resize them first"
            )


def require_finite(array: np.ndarray, origin: Origin, what: str = "items") -> None:
    """DataError that names the columns (2-D) or the items (more axes) which hold NaN or infinity."""
    if array.dtype.kind == "f" and not all(np.isfinite(array[rows]).all() for rows in chunks(array)):
        refuse_non_finite(array, origin, what)


def refuse_non_finite(array: np.ndarray, origin: Origin, what: str = "items") -> None:
    """DataError for an array that holds NaN or infinity somewhere; says where, and how to mend it."""
    flaws = []
    for flaw, test in (("NaN", np.isnan), ("infinity", np.isinf)):
        columns: set[int] = set()
        found: list[int] = []
        for rows in chunks(array):
            part = test(array[rows]).reshape(-1, int(np.prod(array.shape[1:])))
            bad = np.flatnonzero(part.any(axis=1))
            if len(bad):
                found.extend((bad + rows.start).tolist())
                if array.ndim == 2:
                    columns.update(np.flatnonzero(part.any(axis=0)).tolist())
        if not found:
            continue
        if array.ndim == 2:
            names = [origin.name(column) for column in sorted(columns)]
            word = "column" if len(names) == 1 else "columns"
            flaws.append(f"{flaw} in {word} {listing(names)} (first in row {found[0]})")
        else:
            place = [int(side) for side in np.argwhere(test(array[found[0]]))[0]]
            items = f"item {found[0]}" if len(found) == 1 else f"{len(found)} items, first in item {found[0]}"
            flaws.append(f"{flaw} in {items} at position {place}")
    if flaws:
        through = " (a model fitted with format='table' learns through gaps)" if array.ndim == 2 else ""
        raise DataError(
            f"the {what} contain {' and '.join(flaws)}. Drop those rows, or fill them: for example with"
            f" sklearn.impute.SimpleImputer for gaps{through}, numpy.clip for infinity"
        )


def chunks(array: np.ndarray) -> Iterator[slice]:
    """Slices of the first axis that hold about `CHUNK` elements each, so that temporary copies stay small."""
    rows = max(1, CHUNK // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))


def stored(array: np.ndarray, what: str = "items") -> Tensor:
    """The exact, compact, contiguous tensor of a checked array; see the table at the top.

    It shares the array's memory where dtype and layout allow. Raises FormatError for a uint64 of 2**63 or more.
    """
    array = _below_2_to_63(array, what)
    compact = np.ascontiguousarray(array, dtype=STORED_AS.get(array.dtype.name, array.dtype.name))
    if any(stride < 0 or stride % compact.itemsize for stride in compact.strides):  # axes of one have any
        compact = compact.copy()
    with warnings.catch_warnings():  # torch cannot promise not to write; we do: nobody writes to stored items
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(compact)


def _cast(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Values in a dtype, always a copy: rounded half to even and clipped where it holds less than they do."""
    if values.dtype == dtype:
        return np.array(values, order="C")
    if dtype.kind == "f":
        if values.dtype.kind == "f" and values.dtype.itemsize > dtype.itemsize:
            most = np.finfo(dtype).max
            values = np.clip(values, -float(most), float(most))
        return values.astype(dtype, order="C")
    if values.dtype.kind == "f" and np.isnan(values).any():
        place = [int(side) for side in np.argwhere(np.isnan(values))[0]]
        raise DataError(
            f"item {place[0]} is NaN at position {place[1:]}, which cannot become {dtype.name}: the decoder's values"
            " are not finite; check the codes that were given, or train again"
        )
    if dtype.kind == "b":
        return np.asarray(values >= 0.5, dtype=dtype, order="C")
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if values.dtype.kind in "iu":
        own = np.iinfo(values.dtype)
        return np.clip(values, max(least, int(own.min)), min(most, int(own.max))).astype(dtype, order="C")
    if values.dtype.kind == "b":
        return values.astype(dtype, order="C")
    wide = np.float64 if dtype.itemsize >= 4 or values.dtype == np.float64 else np.float32
    whole = np.rint(values.astype(wide))
    above = whole >= float(most)  # for 64 bits float(most) is most + 1, which the dtype cannot hold
    whole[above] = 0.0
    result = np.maximum(whole, wide(least)).astype(dtype, order="C")
    result[above] = most
    return result


def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 on devices that have nothing wider."""
    return torch.float32 if device.type == "mps" else torch.float64


def listing(words: Iterable[str], most: int = 5) -> str:
    """ "a, b and 7 more": a list that stays readable however long it is."""
    words = list(words)
    shown = words[:most] if len(words) > most + 1 else words
    rest = [f"{len(words) - len(shown)} more"] if len(words) > len(shown) else []
    parts = [*shown, *rest]
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else "none"


def four_digits(value: float) -> str:
    """Four significant digits, without an exponent where people would write none: 392500, 0.01798, 1e+17; NaN is -."""
    if np.isnan(value):
        return "-"
    short = f"{value:.4g}"
    return f"{float(short):.0f}" if 1e4 <= abs(value) < 1e15 else short
