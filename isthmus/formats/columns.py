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
    arrow_type,
    as_text,
    is_missing,
    nats_of,
)
from isthmus.formats.quantities import Number, Time
from isthmus.formats.saved import Saved, shortened

__all__ = ["CODES", "Choice", "LeftOut", "Text", "code_from_json"]


@dataclass(frozen=True)
class Choice(Code):
    """One of L levels; the digits of its number to the base 256 where there are more than 256.

    Attributes
    ----------
    levels : text, whole numbers, floats or booleans: most frequent first, or in the order of an ordinal column
    shares : of the levels, of those digits where there are more; a tuple for each element
    """

    levels: tuple[Any, ...]
    shares: tuple[tuple[float, ...], ...]

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
        import pyarrow
        from pyarrow import compute

        if pyarrow.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        values = pyarrow.array(list(self.levels))
        if isinstance(self.levels[0], str):
            array = as_text(array)
            values = values.cast(array.type)
        elif array.type != values.type:
            array = array.cast(values.type, safe=False)
        codes = compute.fill_null(compute.index_in(array, value_set=values, skip_nulls=True), -1)
        codes = codes.to_numpy(zero_copy_only=False).astype(np.int32)
        if self.store == "u1":
            return np.where(codes < 0, MISSING["u1"], codes).astype(np.uint8)[:, None]
        codes[codes < 0] = MISSING["i4"]
        return codes[:, None]

    def unknown(self, array: Any, stored: np.ndarray) -> int:
        """How many cells hold a level that was never seen."""
        return int(is_missing(stored[:, 0], self.store).sum()) - array.null_count

    def unpack(self, stored: np.ndarray) -> Any:
        import pyarrow

        missing = is_missing(stored[:, 0], self.store)
        codes = pyarrow.array(np.where(missing, 0, stored[:, 0]).astype(np.int32), mask=missing)
        kind = self._types()
        values = pyarrow.array(list(self.levels)).take(codes)
        if pyarrow.types.is_dictionary(kind):
            return values.cast(kind.value_type).dictionary_encode()
        return values if values.type == kind else values.cast(kind, safe=False)

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
        if len(kinds) != 1 or not kinds <= {str, int, float, bool}:
            raise saved.refuse("levels", "a list of text, numbers or booleans")
        if not isinstance(shares, list) or len(shares) != digits_of(len(levels)):
            raise saved.refuse("shares", "a list for every digit")
        wanted = [len(share) for share in _shares_of(np.ones(len(levels)))]
        checked = tuple(
            tuple(Saved({"shares": share}, saved.what).numbers("shares", length).tolist())
            for share, length in zip(shares, wanted, strict=True)
        )
        return replace(made, levels=tuple(levels), shares=checked)

    @classmethod
    def of(
        cls, name: str, kind: str, type: str, missing: float, levels: list[Any], counts: Any, note: str = ""
    ) -> Self:
        """From levels in their order and how often each was seen, (L,)."""
        return cls(name, kind, type, missing, note, tuple(levels), _shares_of(np.asarray(counts, dtype=np.float64)))


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

    What is longer is cut there, at a whole character. Bytes never seen while learning are missing.

    Attributes
    ----------
    alphabet : the bytes seen, rising; the level after the last one is the end
    """

    length: int
    alphabet: tuple[int, ...]

    word: ClassVar[str] = "text"

    @property
    def width(self) -> int:
        return self.length

    @property
    def elements(self) -> tuple[Column, ...]:
        levels = len(self.alphabet) + 1
        one = Column(self.name, self.kind, levels, (), math.log(levels), (1 / levels,) * levels)
        return (one,) * self.length

    def pack(self, array: Any, first: int = 0) -> np.ndarray:
        import pyarrow

        missing = array.is_null().to_numpy(zero_copy_only=False)
        stored = np.zeros((len(array), self.length), np.uint8)
        if pyarrow.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        for row, text in enumerate(as_text(array).to_pylist()):
            if text:
                start = text.encode("utf-8", "replace")[: self.length].decode("utf-8", "ignore").encode()
                stored[row, : len(start)] = np.frombuffer(start, np.uint8)
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
        return replace(
            made, length=saved.integer("length", 1, 4096), alphabet=tuple(saved.integers("alphabet", below=255))
        )


@dataclass(frozen=True)
class LeftOut(Code):
    """A column that no network sees: all values equal, all different (identifiers), or none there.

    A constant comes back. Identifiers of what was given are put back by ``reconstruct`` and ``impute``; new rows are
    numbered from 0, or have none where identifiers are text.

    Attributes
    ----------
    value : of a constant, as JSON holds it; None for the others
    """

    value: Any

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
        if self.kind == "constant":
            inner = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
            value = pyarrow.array([self.value])
            if pyarrow.types.is_date32(inner) or pyarrow.types.is_time32(inner):
                value = value.cast(pyarrow.int32())
            value = pyarrow.scalar(value.cast(inner)[0].as_py(), inner) if value.type != inner else value[0]
            array = pyarrow.repeat(value, n)
            return array.dictionary_encode() if pyarrow.types.is_dictionary(kind) else array
        if self.kind == "identifier" and pyarrow.types.is_integer(kind):
            return pyarrow.array(np.arange(n)).cast(kind, safe=False)
        return pyarrow.nulls(n, kind)

    def spread(self, stored: np.ndarray) -> np.ndarray:
        return np.zeros((len(stored), 0), np.float32)

    def gather(self, elements: np.ndarray) -> np.ndarray:
        return np.zeros((len(elements), 0), np.uint8)

    def in_words(self) -> str:
        return f"always {shortened(self.value, 30)}" if self.kind == "constant" else ""


CODES: dict[str, type[Code]] = {code.word: code for code in (Number, Choice, Time, Text, LeftOut)}


def code_from_json(saved: Any) -> Code:
    """The code that some code's ``to_json`` described. Raises DamagedFileError for what it never writes."""
    fields_ = Saved(saved, "a saved column")
    made = CODES[fields_.word("code", CODES)].from_json(fields_)
    try:
        arrow_type(made.type)
    except ValueError as error:
        raise DamagedFileError(f"a saved column has the type {shortened(made.type)}, which does not exist") from error
    return made
