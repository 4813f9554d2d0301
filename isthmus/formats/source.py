"""A table that is read batch by batch, as often as is wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isthmus.errors import DataError, FormatError, SettingError
from isthmus.formats.arrays import listing
from isthmus.formats.containers import (
    Container,
    merged_levels,
    normal_array,
    normal_type,
)
from isthmus.formats.delimited import Plan
from isthmus.formats.rows import AllBut

if TYPE_CHECKING:
    import pyarrow

from isthmus.formats.table_files import (
    ROWS,
)

__all__ = ["NUMBERS", "Source", "no_rows"]


NUMBERS = {
    *("bool", "halffloat", "float", "double"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}


class Source:
    """A table that can be read again and again, batch by batch, in row order; in memory or not.

    Made by `source_of`. Several passes may go on at the same time. What a file's first pass has to tell (the types of a
    CSV's columns) is found when it is first asked for.

    Attributes
    ----------
    name : for messages: the file's name, or "the frame"
    in_memory : whether the rows rest in memory already
    schema : names and Arrow types of the columns; see the top of this file
    container : how to give rows back in the user's own form
    n_rows : None until it is known, which is after one whole pass at the latest
    """

    def __init__(
        self,
        name: str,
        plan: Callable[[], Plan],
        container: Callable[[Any], Container],
        *,
        in_memory: bool = False,
        clean: bool = False,
    ) -> None:
        self.name = name
        self.in_memory = in_memory
        self._make_plan = plan
        self._make_container = container  # of the schema that the plan found
        self._clean = clean  # the pieces have their normal types and levels already
        self._counted: int | None = None
        self._part_of: tuple[Source, Any] | None = None  # the source that this is a subset of, and which rows

    @cached_property
    def _plan(self) -> Plan:
        plan = self._make_plan()
        if plan.n_rows is not None:
            if not plan.n_rows and not self._clean:
                raise no_rows(self.name)
            self._counted = plan.n_rows
        return plan

    @cached_property
    def schema(self) -> pyarrow.Schema:
        """Names and types of the columns. Raises what reading raises, where a first pass is needed to know them."""
        raw = self._plan.schema
        if self._clean:
            return raw
        twice = [name for name, times in Counter(raw.names).items() if times > 1]
        if twice:
            raise DataError(
                f"{self.name} has two columns of the name {twice[0]!r}. Every column needs a name of its own"
            )
        if not raw.names:
            raise DataError(f"{self.name} has no columns")
        import pyarrow

        return pyarrow.schema([(field.name, normal_type(field.type, field.name)) for field in raw])

    @cached_property
    def container(self) -> Container:
        """How to give rows back in the user's own form."""
        return self._make_container(self._plan.schema)

    @property
    def n_rows(self) -> int | None:
        """How many rows; None until it is known."""
        return self._counted

    def count(self) -> int:
        """How many rows, read once where that is the only way to know."""
        if self._plan.n_rows is None and self._counted is None:
            for _ in self.batches(self.schema.names[:1]):
                pass
        return int(self._counted or 0)

    def __len__(self) -> int:
        return self.count()

    def batches(self, columns: Sequence[str] | None = None, rows: int = ROWS) -> Iterator[pyarrow.RecordBatch]:
        """The table from its first row to its last: batches of exactly so many rows, the last one of what is left.

        Parameters
        ----------
        columns : which, in the order that is wanted; None for all. Others are not read where the file allows
        rows : of a batch

        Raises
        ------
        DataError : a column that there is not, cells that cannot be read, no rows
        FileError : a file is gone or has changed since the first look; DamagedFileError : it is cut short or altered
        SettingError : rows below 1, no columns
        """
        names, known = list(self.schema.names if columns is None else columns), set(self.schema.names)
        for name in names:
            if name not in known:
                raise DataError(f"{self.name} has no column {name!r}; it has {listing(self.schema.names)}")
        if rows < 1 or not names or len(set(names)) < len(names):
            raise SettingError(f"rows={rows} should be at least 1, and columns={names} at least one, each once")
        return self._batches(names, rows)

    def _batches(self, names: list[str], rows: int) -> Generator[Any]:
        import pyarrow

        schema = pyarrow.schema([self.schema.field(name) for name in names])
        held: list[Any] = []
        waiting = 0
        with closing(self._checked(self._pieces(names, schema))) as pieces:
            for piece in pieces:
                while piece.num_rows:
                    held.append(piece.slice(0, rows - waiting))
                    piece = piece.slice(held[-1].num_rows)
                    waiting += held[-1].num_rows
                    if waiting == rows:
                        yield _joined(held)
                        held, waiting = [], 0
        if held:
            yield _joined(held)

    def coded(self, columns: Sequence[str], loose: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """The table as ``batches`` gives it, for those who look at values alone, with less work.

        Batches have as many rows as they are read with, 65,536 at most. Columns that ``loose`` names may hold NaN for
        null, and text as a dictionary, another one in each batch.
        """
        import pyarrow

        schema = pyarrow.schema([self.schema.field(name) for name in columns])
        if self._clean or self._plan.read_coded is None:
            return self._batches(list(columns), ROWS)
        return self._checked(self._pieces(list(columns), schema, set(loose)))

    def _checked(self, pieces: Generator[Any]) -> Generator[Any]:
        """The same pieces. Raises DataError where they are not as many rows as before."""
        total = 0
        with closing(pieces):
            for piece in pieces:
                total += piece.num_rows
                yield piece
        if self._counted not in (None, total):
            raise DataError(
                f"{self.name} gave {self._counted} rows before and {total} now. It must not change while it is used"
            )
        if not total and not self._clean:
            raise no_rows(self.name)
        self._counted = total

    def _pieces(self, names: list[str], schema: Any, loose: Set[str] = frozenset()) -> Generator[Any]:
        import pyarrow
        from pyarrow import types

        categorical = any(types.is_dictionary(field.type) for field in schema)
        levels = self._levels if categorical and not self._clean else {}
        texts = [field.name for field in schema if field.name in loose and types.is_large_string(field.type)]
        read = self._plan.read_coded if loose else None

        def normal(array: Any, field: Any) -> Any:
            if field.name in loose and (array.type == field.type or (field.name in texts and _coded_text(array.type))):
                return array
            return normal_array(array, field.type, levels.get(field.name))

        with closing(self._plan.read(names) if read is None else read(names, texts)) as pieces:
            for piece in pieces:
                if not self._clean:
                    columns = [normal(piece.column(field.name), field) for field in schema]
                    piece = pyarrow.RecordBatch.from_arrays(columns, names=schema.names)
                yield piece

    @cached_property
    def _levels(self) -> dict[str, Any]:
        """All levels of each categorical: the parts of a file have dictionaries of their own."""
        from pyarrow import types

        kinds = {field.name: field.type for field in self.schema if types.is_dictionary(field.type)}
        levels: dict[str, Any] = {}
        if kinds:
            with closing(self._plan.read(list(kinds))) as pieces:
                for piece in pieces:
                    for name, kind in kinds.items():
                        own = normal_array(piece.column(name), kind).dictionary
                        levels[name] = merged_levels([levels[name], own] if name in levels else [own])
        return levels

    @cached_property
    def whole(self) -> bool:
        """Whether no cell is missing. Read once, to the first hole; a part of a whole table is whole."""
        return not any(column.null_count for batch in self.batches() for column in batch.columns)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, as Arrow's own tables have them."""
        return list(self.schema.names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Columns of numbers as one array (n, d) of their common dtype, NaN where a value is missing.

        Raises FormatError that names the columns which are not numeric.
        """
        wrong = [f'"{field.name}"' for field in self.schema if str(field.type) not in NUMBERS]
        if wrong:
            raise FormatError(
                f"{self.name} is read as numbers, but {listing(wrong)} {'is' if len(wrong) == 1 else 'are'} not"
                ' numeric: give format="table", which takes columns of every kind, or select the others'
            )
        common = np.result_type(*(field.type.to_pandas_dtype() for field in self.schema))
        if common.kind != "f" and not self.whole:
            common = np.result_type(common, np.float64)
        array = np.empty((self.count(), len(self.schema)), common)
        start = 0
        for batch in self.batches():
            for place, column in enumerate(batch.columns):
                array[start : start + len(batch), place] = column.to_numpy(zero_copy_only=False)
            start += len(batch)
        return array if dtype is None else array.astype(dtype)

    def subset(self, rows: Any) -> Source:
        """Some of the rows, as a source that reads this one and leaves out the others. May be empty.

        Parameters
        ----------
        rows : whole numbers from 0 in rising order; a row that is named twice comes twice. Or an ``AllBut``

        Raises
        ------
        SettingError : rows that are not sorted, or that there are not
        """
        chosen: Any = rows if isinstance(rows, AllBut) else np.array(rows, dtype=np.int64)
        if isinstance(chosen, np.ndarray) and (
            chosen.ndim != 1 or (chosen[1:] < chosen[:-1]).any() or (len(chosen) and chosen[0] < 0)
        ):
            raise SettingError("the rows of a subset are numbers from 0 in rising order")
        highest = int(chosen[-1:][0]) if len(chosen) else -1
        if self.n_rows is not None and highest >= self.n_rows:
            raise SettingError(f"{self.name} has no row {highest}; its {self.n_rows} rows count from 0")
        if self._part_of is not None and isinstance(chosen, np.ndarray):  # or every batch would be copied twice
            base, own = self._part_of
            part = base.subset(own[torch.from_numpy(chosen)].numpy() if isinstance(own, AllBut) else own[chosen])
            if vars(self).get("whole"):
                part.whole = True
            return part

        def read(columns: Sequence[str]) -> Iterator[Any]:
            import pyarrow

            start = 0
            with closing(self._batches(list(columns), ROWS)) as batches:
                for batch in batches:
                    stop = start + batch.num_rows
                    if isinstance(chosen, AllBut):
                        here = chosen.within(start, stop)
                    else:
                        here = chosen[slice(*np.searchsorted(chosen, [start, stop]))]
                    if len(here) == batch.num_rows and (here[1:] > here[:-1]).all():
                        yield batch  # all of it: no copy
                    elif len(here):
                        yield batch.take(pyarrow.array(here - start))
                    start = stop
                    if start > highest:
                        return
            raise SettingError(f"{self.name} has no row {highest}; its {start} rows count from 0")

        def plan() -> Plan:
            return Plan(self.schema, len(chosen), read if len(chosen) else lambda columns: (_ for _ in ()))

        part = Source(self.name, plan, lambda _: self.container, in_memory=self.in_memory, clean=True)
        part._counted = len(chosen)
        if vars(self).get("whole"):
            part.whole = True
        part._part_of = (self, chosen)
        return part


def _coded_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(
        types.is_dictionary(kind) and (types.is_string(kind.value_type) or types.is_large_string(kind.value_type))
    )


def _joined(pieces: list[Any]) -> Any:
    """Batches of one schema, and of one dictionary a column, as one."""
    if len(pieces) == 1:
        return pieces[0]
    import pyarrow

    columns = [pyarrow.concat_arrays([piece.column(j) for piece in pieces]) for j in range(pieces[0].num_columns)]
    return pyarrow.RecordBatch.from_arrays(columns, schema=pieces[0].schema)


def no_rows(name: str) -> DataError:
    """The error for a table without rows."""
    return DataError(f"{name} has no rows. At least one is needed")


# --- What holds a table ---------------------------------------------------------------------------------------------
