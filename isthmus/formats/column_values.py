"""One column of a table as plain values: levels and their places, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.formats.codes import DAY, floats

__all__ = ["levels_of", "numbers_of"]


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
