"""Tables: rows of columns of any kind, holes included; the same table comes back.

Frames of pandas, polars, Arrow and DuckDB, and files, larger than memory or not (``isthmus.formats.frames`` reads
them). ``isthmus.formats.kinds`` finds what each column is, ``isthmus.formats.columns`` says how it is written; here the
columns of a row are put together.

Shapes: n rows; R bytes of a stored row; E elements of a row (numbers and choices); F numbers of the linear view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import DataError, FormatError, SettingError, warn
from isthmus.formats.arrays import listing
from isthmus.formats.base import Format, Spec
from isthmus.formats.codes import Code
from isthmus.formats.column_values import filled, unreadable
from isthmus.formats.columns import Choice, LeftOut, code_from_json
from isthmus.formats.kinds import KINDS, found_for
from isthmus.formats.layout import STORES, Guess, Layout, Lines, spread_column
from isthmus.formats.quantities import Number
from isthmus.formats.rows import RowsWriter, fits_in_memory
from isthmus.formats.saved import Saved, shortened
from isthmus.formats.scaling import require_fit
from isthmus.threads import ahead, in_threads, side_by_side

if TYPE_CHECKING:
    from isthmus.formats.frames import Container, Source
    from isthmus.likelihoods import Likelihood

__all__ = ["TableFormat"]

Made = TypeVar("Made")

VIEWS = ("columns", "linear", "weighed")
PIECE = 65_536  # rows that are read and packed together
SPREAD = 2**19  # elements that are made at a time, 2 MiB, which stay in the cache
ALIGNED = 256  # rows in steps of so many


class TableFormat(Format):
    """Rows of a table. Missing values are a mask, not a number: NaN in the scaled view.

    Parameters
    ----------
    kinds : what columns hold, by name, where it shall not be found from the data: one of "continuous", "integer",
        "boolean", "category", "ordinal", "datetime", "duration", "text", "identifier", "ignore"
    view : what the scaled view of a row is. "columns", the default: its elements, for networks. "linear": numbers only,
        for linear models (factor analysis of mixed data, Pages 2004): numbers, and an indicator of each level less the
        level's share, scaled so that each column has variance one. "weighed": the same with the weights that columns
        have for networks (`likelihoods.Table`), for PCA

    Attributes
    ----------
    spec : Spec("table", (E,), columns=...) or, in the linear view, Spec("table", (F,))
    codes_ : what each column was found to be; ``describe()`` says it in words
    container_ : the kind of frame learned from, which is what comes back
    """

    word: ClassVar[str] = "table"
    unit = "columns: guessing the mean costs one for each"

    codes_: tuple[Code, ...]
    container_: Container

    def __init__(self, kinds: Mapping[str, str] | None = None, view: str = "columns") -> None:
        self.kinds = kinds
        self.view = view

    # ---- learning ----------------------------------------------------------------------------------------------------

    def fit(self, items: Any) -> Self:
        """Find what the columns hold, in one pass with bounded memory; forgets an earlier fit.

        Raises
        ------
        DataError, FileError : what is read cannot be learned from; the message names column, row or file
        SettingError : a column or kind in ``kinds`` that does not exist
        MissingExtra : the extra "tables" is not installed
        """
        self._learn(_source(items))
        return self

    def fit_tensor(self, items: Any) -> Tensor:
        source = _source(items)
        self._learn(source)
        return self.to_tensor(source)

    def _learn(self, source: Source) -> None:
        if self.view not in VIEWS:
            raise SettingError(f"view={self.view!r}: expected one of {', '.join(VIEWS)}")
        wanted = self._kinds(source.schema.names)
        found = None
        for batch in ahead(source.batches(rows=PIECE)):
            if found is None:  # the first batch is read before types are trusted: a file may only be known then
                found = [found_for(f.name, f.type, wanted.get(f.name)) for f in source.schema]
            in_threads(lambda pair: pair[0].add(pair[1]), list(zip(found, batch.columns, strict=True)))
        if found is None or not found[0].rows:
            raise DataError(f"{source.name} has no rows: one at least is needed")
        codes = tuple(column.finish() for column in found)
        if not any(code.elements for code in codes):
            told = listing(f'"{code.name}" ({code.kind})' for code in codes)
            raise DataError(f"{source.name} has no column to learn from: {told}. Say what they hold with kinds=")
        self._settle(codes, source.container)

    def _kinds(self, names: list[str]) -> dict[str, str]:
        kinds = self.kinds or {}
        if not isinstance(kinds, Mapping) or not all(isinstance(kind, str) for kind in kinds.values()):
            raise SettingError(f"kinds={shortened(kinds)}: expected a dict from names of columns to kinds")
        for name, kind in kinds.items():
            if name not in names:
                raise SettingError(f'kinds= names the column "{name}", which the table does not have; it has '
                                   + listing(f'"{known}"' for known in names))  # fmt: skip
            if kind not in KINDS:
                raise SettingError(f'kinds={{"{name}": "{kind}"}}: expected one of {", ".join(KINDS)}')
        return dict(kinds)

    def _settle(self, codes: tuple[Code, ...], container: Container) -> None:
        for made in ("_layout", "_lines", "_view"):
            self.__dict__.pop(made, None)
        self.codes_, self.container_ = codes, container
        elements = tuple(element for code in codes for element in code.elements)
        narrow = self.view == "columns"
        self.spec = Spec("table", (len(elements) if narrow else self._lines.width,), columns=elements if narrow else ())

    # ---- items and the stored view -----------------------------------------------------------------------------------

    def to_tensor(self, items: Any) -> Tensor:
        """Rows to the stored view, (n, R) uint8: each value in its own compact dtype, side by side, exact.

        Columns are found by name, in any order; more of them are left aside with a warning; levels never seen are
        missing, with a warning. Where it does not fit in half of the memory that the libraries leave, the stored view
        is a `Rows` in a file.

        Raises
        ------
        FormatError : a column is not there, or holds what cannot be brought to the type learned
        DataError : infinity, no rows
        """
        require_fit(self)
        source = _source(items)
        n, width = source.count(), self._layout.size
        if not n:
            raise DataError(
                f"Found array with 0 sample(s) ({source.name}) while a minimum of 1 is required by a table."
            )
        if source.in_memory or fits_in_memory(n * width):
            stored = torch.empty(n, width, dtype=torch.uint8)
            start = 0
            for piece in self._packed(source):
                if start + len(piece) > n:
                    raise DataError(f"{source.name} changed while it was read: it has more rows than before")
                stored[start : start + len(piece)] = piece
                start += len(piece)
            if start != n:
                raise DataError(f"{source.name} changed while it was read: {start} rows where there were {n}")
            return stored
        writer = RowsWriter((width,), torch.uint8, n)
        with writer:
            for piece in self._packed(source):
                writer.append(piece)
            return writer.finish()  # type: ignore[return-value]  # quacks like a tensor

    def opened(self, items: Any) -> Source:
        return _source(items)

    def pieces(self, items: Any) -> Iterator[Tensor]:
        require_fit(self)
        yield from self._packed(_source(items))

    def _packed(self, source: Source) -> Iterator[Tensor]:
        """The stored view, some thousand rows at a time."""
        kept = [(code, place) for code, place in self._placed() if code.elements]

        def rows_of(columns: list[np.ndarray]) -> Tensor:
            rows = np.empty((len(columns[0]), self._layout.size), np.uint8)
            for (code, place), stored in zip(kept, columns, strict=True):
                # A view of one column, though its numbers lie across words: a quarter of the time of moving bytes.
                steps = (rows.shape[1], np.dtype(code.store).itemsize)
                np.ndarray(stored.shape, code.store, rows, place.start, steps)[...] = stored
            return torch.from_numpy(rows)

        self._require_columns(source)
        batches = source.batches([code.name for code, _ in kept], PIECE)
        yield from self._columns_of(batches, rows_of, products=False)

    def through(self, items: Any, function: Callable[[np.ndarray], Tensor]) -> Iterator[Tensor]:
        """What ``function`` makes of the rows, some thousand at a time in their order, in threads.

        It is given elements (E, m) float32, each element of the m rows side by side, which are its own; NaN where a
        value is missing. They have the bits of ``scale``, and no stored rows are made on the way.
        """
        require_fit(self)
        source = _source(items)
        self._require_columns(source)
        count = max(SPREAD // max(self._layout.elements, 1) // ALIGNED, 4) * ALIGNED

        kept = [(code, first) for code, first in zip(self.codes_, self._layout.firsts, strict=True) if code.elements]

        def made(columns: list[np.ndarray]) -> list[Tensor]:
            found = []
            for start in range(0, len(columns[0]), count):
                elements = np.empty((self._layout.elements, min(count, len(columns[0]) - start)), np.float32)
                for (code, first), stored in zip(kept, columns, strict=True):
                    spread_column(code, stored[start : start + count], elements[first:])
                found.append(function(elements))
            return found

        loose = [
            code.name for code, _ in kept
            if isinstance(code, Number) or (isinstance(code, Choice) and isinstance(code.levels[0], str))
        ]  # fmt: skip
        for found in self._columns_of(source.coded([code.name for code, _ in kept], loose), made):
            yield from found

    def _columns_of(
        self, batches: Iterator[Any], function: Callable[[list[np.ndarray]], Made], products: bool = True
    ) -> Iterator[Made]:
        """``function`` of the stored numbers (n, width) of every column that has elements, batch by batch."""
        import pyarrow

        codes: list[Code] = [code for code in self.codes_ if code.elements]
        altered: dict[str, Counter[str]] = {}

        def numbered() -> Iterator[tuple[int, Any]]:
            first = 0
            for batch in batches:
                yield first, batch
                first += len(batch)

        def packed(batch: tuple[int, Any]) -> tuple[Made, list[tuple[str, str, int]]]:
            first, rows = batch
            columns, told = [], []
            for code in codes:
                array = rows.column(code.name)
                if array.null_count == len(array):  # of any type: pandas has NaN and NaT for what is not there
                    array = pyarrow.nulls(len(array))
                columns.append(self._pack(code, array, first))
                count, what = code.altered(array, columns[-1])
                told += [(what, code.name, count)] if count else []
            return function(columns), told

        for made, told in side_by_side(packed, numbered(), products):
            for what, name, count in told:
                altered.setdefault(what, Counter())[name] += count
            yield made
        for what, counts in altered.items():
            where = listing(f'"{name}" ({count} cells)' for name, count in counts.items())
            warn(f"{what}, in {where}")

    def _pack(self, code: Code, array: Any, first: int) -> np.ndarray:
        import pyarrow

        try:
            return code.pack(array, first)
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, DataError):
                raise
            if (row := unreadable(code, array)) is not None:
                text = str(array[row].as_py())
                raise FormatError(
                    f'column "{code.name}" holds {shortened(text)} in row {first + row}, which cannot be read as '
                    f"{code.type}, the type learned. Convert the column first, or empty cells that are no such value"
                ) from error
            raise FormatError(
                f'column "{code.name}" holds {array.type}, which cannot be read as {code.type}, the type learned:'
                f" {error}. Convert it first"
            ) from error

    def _require_columns(self, source: Source) -> None:
        given = source.schema.names
        lost = [f'"{code.name}"' for code in self.codes_ if code.name not in given and code.elements]
        known = {code.name for code in self.codes_}
        if lost:
            other = {name.casefold().strip(): name for name in given if name not in known}
            near = {name: get_close_matches(name.strip('"').casefold(), other, 1, 0.8) for name in lost}
            like = [f'"{other[found[0]]}" for {name}' for name, found in near.items() if found]
            raise FormatError(
                f"The feature names should match those that were passed during fit: missing: {listing(lost)}. "
                + (f"Is it {listing(like)}? Rename it; a" if like else "A")
                + " column without values will do where they are not known"
            )
        if new := [f'"{name}"' for name in given if name not in known]:
            warn(f"columns not learned from are left aside: {listing(new)}")

    def from_tensor(self, stored: Tensor) -> Any:
        """The stored view (n, R) to a table of the kind learned from: same columns, order, names and dtypes."""
        import pyarrow

        require_fit(self)
        rows = self.require(stored).cpu().numpy()
        arrays = [code.unpack(_own(rows, place, code)) for code, place in self._placed()]
        return self.container_.restore(pyarrow.table(arrays, names=[code.name for code in self.codes_]))

    def from_tensor_of(self, stored: Tensor, items: Any) -> Any:
        """``from_tensor``, with identifiers and what else is left out as they stand in the items."""
        import pyarrow

        require_fit(self)
        source, rows = _source(items), self.require(stored).cpu().numpy()
        types = {field.name: str(field.type) for field in source.schema}
        aside = [code.name for code in self.codes_ if isinstance(code, LeftOut) and types.get(code.name) == code.type]
        kept = pyarrow.Table.from_batches(source.batches(aside)) if aside else None
        if kept is not None and kept.num_rows != len(rows):
            raise DataError(f"{len(rows)} rows do not go with the {kept.num_rows} of {source.name}")
        arrays = [
            kept[code.name] if kept is not None and code.name in aside else code.unpack(_own(rows, place, code))
            for code, place in self._placed()
        ]
        return self.container_.restore(pyarrow.table(arrays, names=[code.name for code in self.codes_]))

    def _placed(self) -> Iterator[tuple[Code, slice]]:
        """Every code, and where its bytes lie in a row."""
        return zip(self.codes_, self._layout.places, strict=True)

    def require(self, stored: Tensor) -> Tensor:
        if tuple(stored.shape[1:]) != (self._layout.size,):
            raise FormatError(f"rows of {tuple(stored.shape[1:])} bytes given, but this table has {self._layout.size}")
        return stored

    # ---- the scaled view ---------------------------------------------------------------------------------------------

    def scale(self, stored: Tensor) -> Tensor:
        """(n, R) uint8 to float32: elements (n, E), or (n, F) in the linear view; NaN where a value is missing."""
        require_fit(self)
        elements = self._elements(self.require(stored))
        return elements if self.view == "columns" else self._view.spread(elements)

    def unscale(self, scaled: Tensor) -> Tensor:
        """(n, E) or (n, F) to the stored view (n, R): the nearest rows that the columns can hold."""
        require_fit(self)
        if tuple(scaled.shape[1:]) != self.spec.shape:
            raise FormatError(f"rows of {tuple(scaled.shape[1:])} elements given, but this table has {self.spec.shape}")
        elements = (scaled if self.view == "columns" else self._view.gather(scaled)).cpu().numpy()
        rows = np.empty((len(elements), self._layout.size), np.uint8)
        start = 0
        for code, place in zip(self.codes_, self._layout.places, strict=True):
            stop = start + len(code.elements)
            if code.elements:
                packed = np.ascontiguousarray(code.gather(elements[:, start:stop]), dtype=code.store)
                rows[:, place] = packed.view(np.uint8).reshape(len(packed), -1)
            start = stop
        return torch.from_numpy(rows)

    def linear(self, scaled: Tensor) -> Tensor:
        """(n, E) to (n, F); the linear view is its own."""
        if self.view == "columns":
            return self._lines.spread(scaled)
        return scaled if self.view == "linear" else self._view.unweighed(scaled)

    def lines(self) -> TableFormat:
        if self.view == "linear":
            return self
        made = TableFormat(self.kinds, "linear")
        made._settle(self.codes_, self.container_)
        return made

    def column_errors(self, stored: Tensor, again: Tensor) -> list[dict[str, Any]]:
        """One dict a column, of the rows where it has a value: name, kind, "error" in words' unit, and "guess".

        ``error`` is the root of the mean squared error of numbers and moments, in the column's unit, and the share of
        wrong levels or characters of the others; ``guess`` the same for the mean, or for the most frequent level. Both
        are NaN where the column has no value in these rows.
        """
        found = []
        for code, place in self._placed():
            if not code.elements:
                continue
            error, guess, unit = code.errors(*(_own(rows.numpy(), place, code) for rows in (stored, again)))
            unit = unit if np.isfinite(guess) else "no values"
            found.append({"column": code.name, "kind": code.kind, "error": error, "guess": guess, "unit": unit})
        return found

    def squares(self, linear: Tensor) -> tuple[Tensor, list[str]]:
        names, owner = [column.name for code in self.codes_ for column in code.elements], self._lines.owner.tolist()
        firsts: dict[str, list[int]] = {}
        for place, kept in enumerate(owner):
            firsts.setdefault(names[self._lines.kept[kept]], []).append(place)
        columns = [linear[:, places] for places in firsts.values()]
        sums = [column.square().nansum(1) / (~column.isnan()).any(1) for column in columns]  # 0 / 0 is not there
        return torch.stack(sums, 1), [f'column "{name}"' for name in firsts]

    def linear_mean(self, likelihood: Any, params: Tensor) -> Tensor:
        if self.view == "columns":
            return self._lines.means(likelihood, params)
        return likelihood.mean(params) * (self._view.plain / self._view.scales)

    def _elements(self, stored: Tensor) -> Tensor:
        """(n, R) to (n, E). Columns of one stored dtype go together: a table may have thousands."""
        layout = self._layout
        out = torch.empty(len(stored), layout.elements, device=stored.device)
        for group in layout.groups:
            own = stored[:, group.bytes].clone(memory_format=torch.contiguous_format)  # one row is contiguous as it is
            values = own.view(STORES[group.store])
            if group.numbers is not None:
                group.numbers.spread(values, group.store, out)
            if group.choices is not None:
                group.choices.spread(values, group.store, out)
        for code, place, start in layout.others:
            spread = code.spread(_own(stored.cpu().numpy(), place, code))
            out[:, start : start + spread.shape[1]] = torch.from_numpy(spread).to(out.device)
        return out

    @cached_property
    def _layout(self) -> Layout:
        return Layout.of(self.codes_)

    @cached_property
    def _lines(self) -> Lines:
        return Lines(self.codes_)

    @cached_property
    def _view(self) -> Lines:
        """The view of numbers alone that rows are scaled to."""
        return Lines(self.codes_, weighed=True) if self.view == "weighed" else self._lines

    # ---- filling holes -----------------------------------------------------------------------------------------------

    def guess(self, likelihood: Any, params: Tensor) -> Guess:
        """What the decoder's output says of elements that are missing: means and variances of numbers, chances of
        levels."""
        return (Guess.of if self.view == "columns" else self._view.guess)(likelihood, params)

    def beside(self, guess: Guess) -> Guess:
        """Of numbers that have a frequent value what they are beside it, as ``guess`` tells them but in this view."""
        return guess if self.view == "columns" else self._view.beside(guess)

    def drawn(self, likelihood: Any, params: Tensor, generator: torch.Generator) -> Tensor:
        """Scaled rows that the decoder's output makes likely: a draw of every element."""
        if self.view == "columns":
            return likelihood.sample(params, generator)
        elements = self.beside(self.guess(likelihood, params)).drawn(generator)
        wide = torch.full((len(elements), self._view.elements), torch.nan)
        wide[:, : elements.shape[1]] = elements
        return self._view.spread(wide)

    def best(self, guess: Guess, mean: bool = False) -> Tensor:
        """The likeliest rows, stored (n, R); ``mean``: numbers as their expected values in their own unit."""
        rows = np.zeros((guess.rows, self._layout.size), np.uint8)
        for code, place, first in zip(self.codes_, self._layout.places, self._layout.firsts, strict=True):
            if not code.elements:
                continue
            if mean and isinstance(code, Number):
                packed = code.to_stored(self._moments(code, guess, first)[0], whole=False)[:, None]
            else:
                packed = code.gather(guess.modes(first, len(code.elements)))
            rows[:, place] = np.ascontiguousarray(packed, dtype=code.store).view(np.uint8).reshape(len(rows), -1)
        return torch.from_numpy(rows)

    def fill(self, source: Source, again: Tensor) -> Any:
        """The source's table with its holes filled from stored rows, in the source's own form."""
        import pyarrow

        table = pyarrow.Table.from_batches(source.batches(), schema=source.schema)
        rows, container = again.numpy(), source.container
        open_ = []
        for code, place in self._placed():
            at = table.schema.get_field_index(code.name)
            if at < 0 or not table.column(at).null_count:
                continue
            if isinstance(code, LeftOut) and code.kind != "constant":
                open_.append(f'"{code.name}" ({code.kind})')
                continue
            before, new = table.column(at), code.unpack(_own(rows, place, code))
            table = table.set_column(at, code.name, filled(before, new))
            if table.column(at).type != before.type and container.kind == self.container_.kind:
                own = self.container_.dtypes[[*map(str, self.container_.names)].index(code.name)]
                dtypes = [
                    own if str(name) == code.name else word
                    for name, word in zip(container.names, container.dtypes, strict=True)
                ]
                container = replace(container, dtypes=tuple(dtypes))
        if open_:
            warn(f"holes are left in {listing(open_)}, which the model did not learn")
        return container.restore(table)

    def uncertainty(self, source: Source, guess: Guess) -> np.ndarray:
        """(n, columns of the source) float64, see ``isthmus.impute``; NaN where the source has a value."""
        names = source.schema.names
        out = np.full((guess.rows, len(names)), np.nan)
        for code, first in zip(self.codes_, self._layout.firsts, strict=True):
            if code.name not in names or not code.elements:
                continue
            if isinstance(code, Number):
                doubt = self._moments(code, guess, first)[1] * code._unit()[0]
            elif first in guess.numbers:  # a moment
                deviation = np.sqrt(guess.numbers[first][1]) * code.step * code._unit()[0]  # type: ignore[attr-defined]
                doubt = np.full(guess.rows, deviation)
            else:
                chances = [
                    guess.chances[e].max(1) for e in range(first, first + len(code.elements)) if e in guess.chances
                ]
                doubt = 1 - np.prod(chances, axis=0) if chances else np.full(guess.rows, np.nan)
            out[:, names.index(code.name)] = doubt
        start = 0
        for batch in source.batches():
            for place, array in enumerate(batch.columns):
                there = array.is_valid().to_numpy(zero_copy_only=False)
                out[start : start + len(batch), place][there] = np.nan
            start += len(batch)
        return out

    def _moments(self, code: Number, guess: Guess, first: int) -> tuple[np.ndarray, np.ndarray]:
        chance = guess.chances[first + 1][:, 1] if code.spike is not None and first + 1 in guess.chances else None
        return code.moments(*guess.numbers[first], chance)

    # ---- the rest of a format ----------------------------------------------------------------------------------------

    def likelihood(self) -> Likelihood:
        """A Gaussian for numbers, a categorical for choices, and a weight for each column (`likelihoods.Table`)."""
        from isthmus.likelihoods import Gaussian, Table

        require_fit(self)
        return Table.of(self.spec.columns) if self.view == "columns" else Gaussian()

    @property
    def n_features(self) -> int:
        return len(self.codes_)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(code.name for code in self.codes_)

    def describe(self) -> list[dict[str, Any]]:
        """What each column was found to be: name, kind, type, share missing, what it holds in words, and a note."""
        require_fit(self)
        return [
            {"name": code.name, "kind": code.kind, "type": code.type, "missing": code.missing, "holds": code.in_words(),
             "note": code.note or ("left out" if isinstance(code, LeftOut) else "")}
            for code in self.codes_
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        require_fit(self)
        return {
            "word": self.word,
            "view": self.view,
            "kinds": None if self.kinds is None else dict(self.kinds),
            "container": self.container_.to_json(),
            "columns": [code.to_json() for code in self.codes_],
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        from isthmus.formats.frames import Container

        fields = Saved(saved, "the saved table format")
        fields.word("word", (cls.word,))
        kinds, columns = fields.get("kinds"), fields.get("columns")
        if kinds is not None and not (isinstance(kinds, dict) and all(kind in KINDS for kind in kinds.values())):
            raise fields.refuse("kinds", "null or kinds of columns by name")
        if not isinstance(columns, list) or not columns:
            raise fields.refuse("columns", "a list of columns")
        made = cls(kinds, fields.word("view", VIEWS))
        codes, container = tuple(map(code_from_json, columns)), Container.from_json(fields.get("container"))
        if [code.name for code in codes] != list(map(str, container.names)):
            raise fields.refuse("columns", "those of the container, in their order")
        if not any(code.elements for code in codes):
            raise fields.refuse("columns", "one at least that is not left out")
        made._settle(codes, container)
        return made

    def __repr__(self) -> str:
        if not hasattr(self, "codes_"):
            return "<TableFormat, not fitted>"
        return f"<TableFormat: {len(self.codes_)} columns, {self.spec}>"


def _own(rows: np.ndarray, place: slice, code: Code) -> np.ndarray:
    """The stored numbers (n, width) of one column, from the rows' bytes."""
    own = np.ascontiguousarray(rows[:, place])
    return own.view(code.store).reshape(len(rows), -1) if code.width else own


def _source(items: Any) -> Source:
    from isthmus.formats.frames import source_of

    return source_of(items)
