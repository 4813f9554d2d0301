"""Columns of choices and of text, columns that are left out, and every code by its word."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from isthmus.errors import DamagedFileError
from isthmus.formats.base import Column
from isthmus.formats.codes import (
    BASE,
    MISSING,
    Code,
    as_text,
    is_missing,
    nats_of,
    nulls_of,
    starts_of,
    values_of,
)
from isthmus.formats.containers import arrow_type
from isthmus.formats.quantities import Number, Time
from isthmus.formats.saved import Saved, shortened

__all__ = ["CODES", "Choice", "LeftOut", "Text", "code_from_json", "plain"]


@dataclass(frozen=True)
class Choice(Code):
    """One of L levels; the digits of its number to the base 256 where there are more than 256.

    Attributes
    ----------
    levels : text, whole numbers, floats or booleans: most frequent first, or in the order of an ordinal column
    categories : of a categorical type, all that it has, seen or not, in their order; empty where they are the levels
    shares : of the levels, of those digits where there are more; a tuple for each element
    """

    levels: tuple[Any, ...]
    shares: tuple[tuple[float, ...], ...]
    categories: tuple[Any, ...] = ()

    word: ClassVar[str] = "choice"

    @property
    def store(self) -> str:
        return "u1" if len(self.levels) < 255 else "i4"

    @property
    def digits(self) -> int:
        return len(self.shares)

    @property
    def elements(self) -> tuple[Column, ...]:
        return tuple(
            Column(self.name, self.kind, len(share), (), nats_of(np.array(share)), tuple(share))
            for share in self.shares
        )

    def pack(self, array: Any, first: int = 0) -> np.ndarray:
        from pyarrow import types

        nulls = nulls_of(array)
        if types.is_boolean(array.type):
            import pyarrow

            known = self._numbered(pyarrow.array([False, True]))
            places = array.fill_null(False).to_numpy(zero_copy_only=False).view(np.uint8)
        elif types.is_dictionary(array.type) and 0 < len(array.dictionary) <= len(array):  # each level once
            known, places = self._numbered(array.dictionary), values_of(array.indices)
        else:
            return self._numbered(array)[:, None]
        stored = known.take(places, mode="clip")  # where it is null, a place may be anything
        if nulls is not None:
            stored[nulls] = MISSING[self.store]
        return stored[:, None]

    def _numbered(self, array: Any) -> np.ndarray:
        """The stored numbers (n,) of values, one by one."""
        import pyarrow
        from pyarrow import compute

        array = plain(array)
        values = _array_of(self.levels)
        if isinstance(self.levels[0], str):
            array, values = as_text(array).cast(pyarrow.large_string()), values.cast(pyarrow.large_string())
        elif pyarrow.types.is_boolean(values.type) and pyarrow.types.is_floating(array.type):
            array = array.cast(pyarrow.int64()).cast(values.type)  # 2.0 is no truth, but 1.0 may stand for one
        elif array.type != values.type:
            array = array.cast(values.type)
        codes = compute.fill_null(compute.index_in(array, value_set=values, skip_nulls=True), -1)
        codes = codes.to_numpy(zero_copy_only=False).astype(np.int32)
        codes[codes < 0] = MISSING[self.store]
        return codes.astype(self.store, copy=False)

    def altered(self, array: Any, stored: np.ndarray) -> tuple[int, str]:
        count = int(is_missing(stored[:, 0], self.store).sum()) - array.null_count
        return count, "levels that were never seen in learning are read as missing"

    def unpack(self, stored: np.ndarray) -> Any:
        import pyarrow

        missing = is_missing(stored[:, 0], self.store)
        codes = np.where(missing, 0, stored[:, 0]).astype(np.int32)
        kind = self._types()
        inner = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
        names = self.categories or self.levels
        values = _cast(names, inner)
        if self.categories:
            place = {name: number for number, name in enumerate(names)}
            codes = np.array([place[level] for level in self.levels], np.int32)[codes]
        array = pyarrow.DictionaryArray.from_arrays(
            pyarrow.array(codes, mask=missing), values, ordered=inner is not kind and kind.ordered
        )
        return array if inner is not kind else array.dictionary_decode()

    def spread(self, stored: np.ndarray) -> np.ndarray:
        codes = stored[:, 0].astype(np.int64)
        missing = is_missing(stored[:, 0], self.store)
        found = np.empty((len(codes), self.digits), np.float32)
        for place in range(self.digits):
            found[:, place] = codes % BASE if self.digits > 1 else codes
            codes = codes // BASE
        found[missing] = np.nan
        return found

    def gather(self, elements: np.ndarray) -> np.ndarray:
        missing = np.isnan(elements).any(axis=1)
        digits = np.rint(np.where(missing[:, None], 0, elements)).astype(np.int64)
        codes = (digits * BASE ** np.arange(self.digits)).sum(axis=1)
        codes = np.clip(codes, 0, len(self.levels) - 1)
        return np.where(missing, MISSING[self.store], codes).astype(self.store)[:, None]

    def in_words(self) -> str:
        shown = ", ".join(shortened(level, 16) for level in self.levels[:3])
        return f"{len(self.levels)} levels: {shown}" + (", ..." if len(self.levels) > 3 else "")

    @classmethod
    def from_json(cls, saved: Saved) -> Self:
        made = super().from_json(saved)
        levels, shares = saved.get("levels"), saved.get("shares")
        kinds = {type(level) for level in levels} if isinstance(levels, list) else {None}
        if len(kinds) != 1 or not kinds <= {str, int, float, bool} or len(set(levels)) < len(levels):
            raise saved.refuse("levels", "a list of text, numbers or booleans, all different")
        categories = saved.get("categories")
        if not isinstance(categories, list) or not {type(one) for one in categories} <= kinds or (
            categories and not set(levels) <= set(categories)
        ):  # fmt: skip
            raise saved.refuse("categories", "none, or a list that has all levels")
        if not isinstance(shares, list) or len(shares) != digits_of(len(levels)):
            raise saved.refuse("shares", "a list for every digit")
        wanted = [len(share) for share in _shares_of(np.ones(len(levels)))]
        checked = tuple(
            tuple(Saved({"shares": share}, saved.what).numbers("shares", length).tolist())
            for share, length in zip(shares, wanted, strict=True)
        )
        return replace(made, levels=tuple(levels), shares=checked, categories=tuple(categories))

    @classmethod
    def of(
        cls, name: str, kind: str, type: str, missing: float, levels: list[Any], counts: Any, note: str = "",
        categories: tuple[Any, ...] = ()
    ) -> Self:  # fmt: skip
        """From levels in their order and how often each was seen, (L,)."""
        shares = _shares_of(np.asarray(counts, dtype=np.float64))
        return cls(name, kind, type, missing, note, tuple(levels), shares, categories)


def plain(array: Any) -> Any:
    """An Arrow array without a dictionary, and of types that JSON has: text, whole numbers, floats, booleans."""
    import pyarrow
    from pyarrow import compute, types

    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if types.is_duration(array.type) or types.is_time64(array.type):
        return array.cast(pyarrow.int64())
    if types.is_time32(array.type):
        return array.cast(pyarrow.int32())
    if types.is_floating(array.type):
        return compute.add(array.cast(pyarrow.float64()), 0.0)  # of the two zeros Arrow tells apart, one
    return array.cast(pyarrow.string()) if types.is_decimal(array.type) or types.is_temporal(array.type) else array


def digits_of(levels: int) -> int:
    """Digits to the base 256 that write so many levels."""
    return max(math.ceil(round(math.log(max(levels, 1), BASE), 9)), 1)


def _shares_of(counts: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """The shares of the values of each digit, from the counts of the levels."""
    digits, found = digits_of(len(counts)), []
    places = np.arange(len(counts))
    for place in range(digits):
        values = places // BASE**place % BASE if digits > 1 else places
        share = np.bincount(values, counts, minlength=1) + 1e-9
        found.append(tuple((share / share.sum()).tolist()))
    return tuple(found)


@dataclass(frozen=True)
class Text(Code):
    """Free text by its first ``length`` bytes of UTF-8: a choice of a byte at every place, with a mark of the end.

    What is longer is cut there, at a whole character, and a NUL ends a text. Bytes never seen while learning are
    missing. Where the column was categorical, its categories come back in the order of the rows.

    Attributes
    ----------
    alphabet : the bytes seen, rising; the level after the last one is the end
    shares : of the levels at each of the ``length`` places, among the texts that reach it
    reach : the share of the texts that reach each place, with their end at the latest
    """

    length: int
    alphabet: tuple[int, ...]
    shares: tuple[tuple[float, ...], ...]
    reach: tuple[float, ...]

    word: ClassVar[str] = "text"

    @property
    def width(self) -> int:
        return self.length

    @property
    def elements(self) -> tuple[Column, ...]:
        return tuple(
            Column(self.name, self.kind, len(share), (), nats_of(np.array(share)), share) for share in self.shares
        )

    @property
    def presence(self) -> tuple[float, ...]:
        return self.reach

    def pack(self, array: Any, first: int = 0) -> np.ndarray:
        missing = array.is_null().to_numpy(zero_copy_only=False)
        stored = starts_of(plain(array), self.length)
        stored[missing, 0] = MISSING["u1"]
        return stored

    def unpack(self, stored: np.ndarray) -> Any:
        import pyarrow

        texts = [
            None if row[0] == MISSING["u1"] else row.tobytes().split(b"\0", 1)[0].decode("utf-8", "ignore")
            for row in np.ascontiguousarray(stored)
        ]
        kind = self._types()
        array = pyarrow.array(texts, pyarrow.string())
        if pyarrow.types.is_dictionary(kind):
            return array.dictionary_encode()
        return array.cast(kind)

    def spread(self, stored: np.ndarray) -> np.ndarray:
        level = np.full(256, np.nan, np.float32)
        level[list(self.alphabet)] = np.arange(len(self.alphabet))
        level[0] = len(self.alphabet)  # the end
        found = level[stored]
        ended = np.cumsum(stored == 0, axis=1) > 1  # only the first mark counts
        found[ended] = np.nan
        found[stored[:, 0] == MISSING["u1"]] = np.nan
        return found

    def gather(self, elements: np.ndarray) -> np.ndarray:
        missing = np.isnan(elements[:, 0])
        byte = np.array([*self.alphabet, 0], np.uint8)
        places = np.clip(np.rint(np.nan_to_num(elements, nan=len(self.alphabet))), 0, len(self.alphabet))
        stored = byte[places.astype(np.int64)]
        stored[np.cumsum(stored == 0, axis=1) > 0] = 0
        stored[missing] = 0
        stored[missing, 0] = MISSING["u1"]
        return stored

    def in_words(self) -> str:
        return f"the first {self.length} bytes, {len(self.alphabet)} different"

    @classmethod
    def from_json(cls, saved: Saved) -> Self:
        made = super().from_json(saved)
        length, alphabet = saved.integer("length", 1, 4096), saved.integers("alphabet", below=255)
        rows = saved.get("shares")
        if not isinstance(rows, list) or len(rows) != length:
            raise saved.refuse("shares", "a list for every place")
        shares = [Saved({"shares": row}, saved.what).numbers("shares", len(alphabet) + 1).tolist() for row in rows]
        return replace(
            made, length=length, alphabet=tuple(alphabet), shares=tuple(map(tuple, shares)),
            reach=tuple(saved.numbers("reach", length).tolist()),
        )  # fmt: skip

    @classmethod
    def of(cls, name: str, type: str, missing: float, longest: int, counts: np.ndarray) -> Self:
        """From the most bytes that a text has, and how often each byte, or the end, 0, stood where, (places, 256)."""
        length = min(max(longest, 1), len(counts))
        counts = counts[:length].astype(np.float64)
        alphabet = np.flatnonzero(counts.sum(0) > 0)
        alphabet = alphabet[(alphabet > 0) & (alphabet < 255)]
        shares = counts[:, [*alphabet, 0]] + 1e-9
        reach = counts.sum(1) / max(counts[0].sum(), 1)
        note = f"the longest has {longest} bytes" if longest > length else ""
        rows = (shares / shares.sum(1, keepdims=True)).tolist()
        return cls(name, "text", type, missing, note, length, tuple(alphabet.tolist()), tuple(map(tuple, rows)),
                   tuple(reach.tolist()))  # fmt: skip


@dataclass(frozen=True)
class LeftOut(Code):
    """A column that no network sees: all values equal, all different (identifiers), or none there.

    A constant comes back. The others come back from ``reconstruct`` and ``impute``, which are given them; new rows are
    numbered from 0, or have none where identifiers are text.

    Attributes
    ----------
    value : of a constant, as JSON holds it; None for the others
    categories : of a categorical type, all that it has, in their order
    """

    value: Any
    categories: tuple[Any, ...] = ()

    word: ClassVar[str] = "left out"

    @property
    def width(self) -> int:
        return 0

    @property
    def elements(self) -> tuple[Column, ...]:
        return ()

    def pack(self, array: Any, first: int = 0) -> np.ndarray:
        return np.zeros((len(array), 0), np.uint8)

    def unpack(self, stored: np.ndarray) -> Any:
        import pyarrow

        kind, n = self._types(), len(stored)
        categorical = pyarrow.types.is_dictionary(kind)
        inner = kind.value_type if categorical else kind
        if categorical and self.categories:
            place = self.categories.index(self.value) if self.kind == "constant" else 0
            codes = pyarrow.array(np.full(n, place, np.int32), mask=np.full(n, self.kind != "constant"))
            return pyarrow.DictionaryArray.from_arrays(codes, _cast(self.categories, inner), ordered=kind.ordered)
        if self.kind == "constant":
            array = pyarrow.repeat(_cast([self.value], inner)[0], n)
            return array.dictionary_encode() if categorical else array
        if self.kind == "identifier" and pyarrow.types.is_integer(kind):
            return pyarrow.array(np.arange(n)).cast(kind, safe=False)
        return pyarrow.nulls(n, kind)

    def spread(self, stored: np.ndarray) -> np.ndarray:
        return np.zeros((len(stored), 0), np.float32)

    def gather(self, elements: np.ndarray) -> np.ndarray:
        return np.zeros((len(elements), 0), np.uint8)

    @classmethod
    def from_json(cls, saved: Saved) -> Self:
        made = super().from_json(saved)
        given = [made.value] if made.kind == "constant" else []
        if not isinstance(made.categories, list) or len({type(one) for one in [*given, *made.categories]}) > 1:
            raise saved.refuse("categories", "a list of levels, and the value one of them")
        if given and not (isinstance(given[0], str | int | float) and given[0] in (made.categories or given)):
            raise saved.refuse("value", "text, a number or a boolean")
        return replace(made, categories=tuple(made.categories))

    def in_words(self) -> str:
        return f"always {shortened(self.value, 30)}" if self.kind == "constant" else ""


def _array_of(values: Any) -> Any:
    """Values as JSON holds them, all of one kind, as an Arrow array."""
    import pyarrow

    large = isinstance(values[0], int) and not isinstance(values[0], bool) and max(values) >= 2**63
    return pyarrow.array(list(values), pyarrow.uint64() if large else None)


def _cast(values: Any, kind: Any) -> Any:
    """Values as JSON holds them, as an Arrow array of a type; dates and times from whole numbers or text."""
    import pyarrow

    array = _array_of(values)
    if pyarrow.types.is_integer(array.type) and (pyarrow.types.is_date32(kind) or pyarrow.types.is_time32(kind)):
        array = array.cast(pyarrow.int32())
    return array if array.type == kind else array.cast(kind, safe=not pyarrow.types.is_decimal(kind))


CODES: dict[str, type[Code]] = {code.word: code for code in (Number, Choice, Time, Text, LeftOut)}


def code_from_json(saved: Any) -> Code:
    """The code that some code's ``to_json`` described. Raises DamagedFileError for what it never writes."""
    fields_ = Saved(saved, "a saved column")
    made = CODES[fields_.word("code", CODES)].from_json(fields_)
    try:
        arrow_type(made.type)
    except ValueError as error:
        raise DamagedFileError(f"a saved column has the type {shortened(made.type)}, which does not exist") from error
    try:
        made.unpack(np.zeros((1, made.width), made.store))
    except (ValueError, TypeError, OverflowError, KeyError) as error:  # Arrow's own are among these
        raise DamagedFileError(f"what a saved column of {made.type} holds is not of this type: {error}") from error
    return made
