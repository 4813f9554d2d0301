"""One column of a table as plain values: levels and their places, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.formats.codes import DAY, Code, floats
from isthmus.formats.quantities import Number

__all__ = ["filled", "levels_of", "numbers_of", "unreadable"]


def levels_of(pieces: Sequence[Any]) -> tuple[list[str], np.ndarray]:
    """The different values of Arrow arrays as texts, most frequent first, and each cell's place, -1 for none."""
    import pyarrow
    from pyarrow import compute

    whole = _plain(pieces)
    counted = compute.value_counts(whole.drop_null())
    often = np.argsort(-counted.field("counts").to_numpy(), kind="stable")
    levels = counted.field("values").take(pyarrow.array(often))
    places = compute.fill_null(compute.index_in(whole, value_set=levels), -1)
    return [str(level) for level in levels.to_pylist()], places.to_numpy()


def numbers_of(pieces: Sequence[Any]) -> tuple[np.ndarray, str]:
    """Cells of Arrow arrays as float64, NaN for none, and their unit: moments in days since 1970, times in seconds.

    What is no number and no moment is NaN.
    """
    import pyarrow
    from pyarrow import compute, types

    whole = _plain(pieces)
    kind = whole.type
    if types.is_timestamp(kind):
        seconds = compute.cast(compute.cast(whole, pyarrow.timestamp("s", kind.tz), safe=False), pyarrow.int64())
        return floats(seconds.combine_chunks()) / DAY, "days since 1970"
    if types.is_date(kind):
        days = compute.cast(compute.cast(whole, pyarrow.date32()), pyarrow.int32())
        return floats(days.combine_chunks()), "days since 1970"
    if types.is_time(kind):
        micros = compute.cast(compute.cast(whole, pyarrow.time64("us"), safe=False), pyarrow.int64())
        return floats(micros.combine_chunks()) / 1e6, "seconds"
    if types.is_duration(kind):
        return floats(compute.cast(whole, pyarrow.int64()).combine_chunks()), kind.unit
    if types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind) or types.is_boolean(kind):
        return floats(whole.combine_chunks()), ""
    return np.full(len(whole), np.nan), ""


def _plain(pieces: Sequence[Any]) -> Any:
    """One chunked array without a dictionary."""
    import pyarrow

    whole = pyarrow.chunked_array(pieces)
    return whole.cast(whole.type.value_type) if pyarrow.types.is_dictionary(whole.type) else whole


def filled(column: Any, new: Any) -> Any:
    """A chunked column with its holes filled from an array; a categorical keeps its categories, and may get more.

    A column without any value, whose type says nothing (pandas' NaN is a float), becomes what was learned.
    """
    import pyarrow
    from pyarrow import compute

    kind = column.type
    if pyarrow.types.is_null(kind):
        return new
    new = new.dictionary_decode() if pyarrow.types.is_dictionary(new.type) else new
    if not pyarrow.types.is_dictionary(kind):
        types = pyarrow.types
        numbers = all(types.is_integer(t) or types.is_floating(t) or types.is_decimal(t) for t in (kind, new.type))
        if column.null_count == len(column) and not numbers and kind != new.type:
            return new
        return compute.if_else(compute.is_null(column), new.cast(kind, safe=False), column)
    column = column.combine_chunks()
    column = column.chunk(0) if isinstance(column, pyarrow.ChunkedArray) else column
    new = new.cast(kind.value_type, safe=False)
    names = compute.unique(pyarrow.concat_arrays([column.dictionary, new.filter(column.is_null()).drop_null()]))
    codes = compute.if_else(column.is_null(), compute.index_in(new, names), column.indices)
    return pyarrow.DictionaryArray.from_arrays(codes, names, ordered=kind.ordered)


def unreadable(code: Code, array: Any) -> int | None:
    """Place of the first cell of a text that is no value of a column, by halves; None where it is not for one cell."""
    from pyarrow import float64, types

    def fails(start: int, stop: int) -> bool:
        some = array.slice(start, stop - start)
        try:
            some.cast(float64()) if isinstance(code, Number) else code.pack(some)
        except (ValueError, TypeError, OverflowError):  # Arrow's own are ValueErrors
            return True
        return False

    start, stop = 0, len(array)
    if not (types.is_string(array.type) or types.is_large_string(array.type)) or not fails(start, stop):
        return None
    while stop - start > 1:
        half = (start + stop) // 2
        start, stop = (start, half) if fails(start, half) else (half, stop)
    return start
