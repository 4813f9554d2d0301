"""Frames of pandas and polars as Arrow tables, and what their columns were."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.errors import DataError

if TYPE_CHECKING:
    import pyarrow

from isthmus.formats.containers import FORMS, WORDS, Container, from_cells, library, marker_of, unique_names

__all__ = ["from_pandas", "from_polars", "polars_container"]


def from_pandas(frame: Any) -> tuple[pyarrow.Table, Container]:
    """A pandas frame as an Arrow table, and what it was. Its index is left out. Raises DataError."""
    import pyarrow

    names = unique_names(list(frame.columns))
    arrays, words = [], []
    for place, name in enumerate(names):
        series = frame.iloc[:, place]
        if str(series.dtype) == "object":
            array, marker = from_cells(series.to_numpy(), str(name))
            word = f"object[{marker}]"
        else:
            try:
                array = pyarrow.array(series, from_pandas=True)
                word = _pandas_word(series.dtype, array.type) or ""
            except (pyarrow.ArrowException, TypeError) as error:
                raise DataError(_no_pandas(series.dtype, str(name))) from error
            if not re.fullmatch(WORDS["pandas"], word):
                raise DataError(_no_pandas(series.dtype, str(name)))
        arrays.append(array)
        words.append(word)
    form = str(frame.columns.dtype)
    table = pyarrow.table(arrays, names=[str(name) for name in names])
    return table, Container("pandas", names, tuple(words), form if form in FORMS["pandas"] else "object")


def _no_pandas(dtype: Any, name: str) -> str:
    dense = ".sparse.to_dense()" if str(dtype).startswith("Sparse") else ".astype(str)"
    levels = getattr(dtype, "categories", None)
    word = str(dtype) if levels is None else f"category of {levels.dtype}"
    return (
        f'the column "{name}" has the dtype {word[:60]}, which is not read here. Change it:'
        f" frame[{name!r}] = frame[{name!r}]{dense}"
    )


def _pandas_word(dtype: Any, kind: Any) -> str | None:
    """The word for a dtype whose Arrow type is known; None where there is none."""
    import pandas

    if isinstance(dtype, pandas.CategoricalDtype):
        levels = dtype.categories
        inner = (
            f"object[{marker_of(())}]" if str(levels.dtype) == "object" else _pandas_word(levels.dtype, kind.value_type)
        )
        return inner and f"{'ordered' if dtype.ordered else 'category'}[{inner}]"
    if isinstance(dtype, pandas.ArrowDtype):
        return f"arrow[{dtype.pyarrow_dtype}]"
    if isinstance(dtype, pandas.StringDtype):
        return f"{'str' if isinstance(dtype.na_value, float) else 'string'}[{dtype.storage.split('_')[0]}]"
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return f"datetime64[{dtype.unit}, {kind.tz}]"
    return str(dtype.newbyteorder("=") if isinstance(dtype, np.dtype) else dtype)


def from_polars(frame: Any) -> tuple[pyarrow.Table, Container]:
    """A polars frame as an Arrow table, and what it was. Raises DataError."""
    container = polars_container(frame.schema)
    return library("pyarrow").table(frame), container


def polars_container(schema: Mapping[str, Any]) -> Container:
    """The container of a polars schema. Raises DataError for dtypes that are no values of a table."""
    words = []
    for name, dtype in schema.items():
        word = type(dtype).__name__ if not isinstance(dtype, type) else dtype.__name__
        if word in ("Datetime", "Duration"):
            zone = getattr(dtype, "time_zone", None)
            word = f"{word}[{dtype.time_unit}{f', {zone}' if zone else ''}]"
        elif word == "Decimal":
            word = f"Decimal[{dtype.precision}, {dtype.scale}]"
        if not re.fullmatch(WORDS["polars"], word):
            raise DataError(
                f'the column "{name}" has the dtype {str(dtype)[:60]}, which is not read here: cast it to'
                " numbers or text, take lists and structs apart, or leave it out"
            )
        words.append(word)
    return Container("polars", tuple(schema), tuple(words))
