"""The columns of a table, one by one: what each holds, and how it becomes numbers and choices.

Everything that a column can hold is written with two kinds of *elements*: numbers, and choices among levels. An integer
is a number that is rounded on the way back, a moment is a trend and some cycles, a text is a choice of a byte at every
place, and a column of 300,000 levels is the digits of the level's rank to the base 256. So networks and likelihoods
know two things, not twelve.

    Arrow array --pack--> stored (n, width) --spread--> elements (n, E) float32
                <-unpack-                   <-gather--

``pack`` and ``unpack`` are exact for what was learned; ``gather`` brings back the nearest value that the column can
hold. Shapes: n rows; E elements of the column; L levels of a choice.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from isthmus.formats.base import Column
from isthmus.formats.containers import arrow_type
from isthmus.formats.saved import Saved

BASE = 256  # a choice has at most so many levels; more are written as digits
MISSING = {"f8": np.nan, "f4": np.nan, "i8": np.iinfo(np.int64).min, "i4": np.iinfo(np.int32).min, "u1": 255}
FAR = 2.0**30  # scaled values beyond are held here: their squares still fit float32
DAY, WEEK, YEAR = 86_400.0, 604_800.0, 365.2425 * 86_400  # seconds
CYCLES = {"year": YEAR, "week": WEEK, "day": DAY}  # from the longest: each one refines what the one before it says
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "day": DAY}
SMALLEST = 0.05  # nats: a choice that is nearly always the same may not outweigh all the others
LARGEST = 1e150  # of a number: its square still fits float64


@dataclass(frozen=True)
class Code(ABC):
    """One column and its code. Abstract; its children are final.

    Attributes
    ----------
    name : of the column
    kind : what it holds, in a word: continuous, integer, boolean, category, ordinal, datetime, duration, text,
        identifier, constant, empty
    type : the Arrow type, as Arrow writes it
    missing : share of the rows learned from in which it is missing
    note : what people should know about it; may be empty
    """

    name: str
    kind: str
    type: str
    missing: float
    note: str

    word: ClassVar[str]
    dtype: ClassVar[str] = "u1"

    @property
    def store(self) -> str:
        """NumPy's letter of the stored numbers: f8, i8, f4, i4 or u1."""
        return self.dtype

    @property
    def width(self) -> int:
        """Stored numbers a row."""
        return 1

    @property
    @abstractmethod
    def elements(self) -> tuple[Column, ...]:
        """What a network sees of it; none for a column that is left out."""

    @property
    def presence(self) -> tuple[float, ...]:
        """Of each element, the share of the rows with a value of the column in which it says something."""
        return (1.0,) * len(self.elements)

    @abstractmethod
    def pack(self, array: Any, first: int = 0) -> np.ndarray:
        """Arrow array (n,) to stored (n, width). Raises DataError naming column and row, the first being ``first``."""

    @abstractmethod
    def unpack(self, stored: np.ndarray) -> Any:
        """Stored (n, width) to an Arrow array (n,) of the column's own type."""

    @abstractmethod
    def spread(self, stored: np.ndarray) -> np.ndarray:
        """Stored (n, width) to elements (n, E) float32, NaN where there is nothing."""

    @abstractmethod
    def gather(self, elements: np.ndarray) -> np.ndarray:
        """Elements (n, E) to stored (n, width): the nearest that the column can hold; NaN becomes a missing value."""

    def altered(self, array: Any, stored: np.ndarray) -> tuple[int, str]:
        """How many cells are not kept as they are, and what becomes of them."""
        return 0, ""

    def errors(self, stored: np.ndarray, again: np.ndarray) -> tuple[float, float, str]:
        """Error of stored values that came back, that of the best guess, and the unit; NaN where no row has a value."""
        there = ~is_missing(stored[:, 0], self.store)
        if not there.any():
            return math.nan, math.nan, ""
        if self.store == "u1" or self.word == "choice":
            x, y = stored[there], again[there]
            guess = np.empty_like(x)
            for place in range(x.shape[1]):
                values, counts = np.unique(x[:, place], return_counts=True)
                guess[:, place] = values[counts.argmax()]
            return _share_wrong(x, y), _share_wrong(x, guess), "share wrong"
        x, y = stored[there, 0].astype(np.float64), again[there, 0].astype(np.float64)
        factor, unit = self._unit()
        return (float(np.sqrt(np.square(x - y).mean()) * factor), float(x.std() * factor), unit)

    def _unit(self) -> tuple[float, str]:
        """What one stored step is, and in which unit."""
        return 1.0, "RMSE"

    def in_words(self) -> str:
        """What was found, for people."""
        return ""

    def to_json(self) -> dict[str, Any]:
        return {"code": self.word} | {field.name: _listed(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_json(cls, saved: Saved) -> Self:
        """The code that ``to_json`` described. Raises DamagedFileError for what it never writes."""
        values = {field.name: saved.get(field.name) for field in fields(cls)}
        for name in ("name", "kind", "type", "note"):
            if not isinstance(values[name], str):
                raise saved.refuse(name, "text")
        values["missing"] = saved.number("missing")
        return cls(**values)

    def _types(self) -> Any:
        return arrow_type(self.type)


def _listed(value: Any) -> Any:
    """Tuples as lists, which is what JSON has."""
    return [_listed(part) for part in value] if isinstance(value, tuple) else value


def _share_wrong(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the levels, or of the characters of texts, that are not the same; behind the end of both is nothing."""
    there = (x != 0) | (y != 0) | (np.arange(x.shape[1]) == 0)
    return float((x != y)[there].mean())


def as_text(array: Any) -> Any:
    """An Arrow array as text."""
    import pyarrow

    textual = pyarrow.types.is_string(array.type) or pyarrow.types.is_large_string(array.type)
    return array if textual else array.cast(pyarrow.string())


def starts_of(array: Any, length: int) -> np.ndarray:
    """The first ``length`` bytes of UTF-8 of texts, (n, length) uint8: cut at a whole character, then zeros.

    A NUL ends a text; what is missing has zeros alone.
    """
    import pyarrow

    texts = as_text(array).cast(pyarrow.large_string()).fill_null("")
    out = np.zeros((len(texts), length), np.uint8)
    if not len(texts) or texts.buffers()[2] is None:
        return out
    ends = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2], np.uint8)
    inside = np.arange(length) < np.diff(ends)[:, None]
    out[inside] = data[(ends[:-1, None] + np.arange(length))[inside]]
    longer = np.flatnonzero(np.diff(ends) > length)
    cut = longer[(data[ends[longer] + length] & 0xC0) == 0x80]  # in the middle of a character
    last = out[cut, max(length - 4, 0) :]
    begun = last.shape[1] - 1 - ((last & 0xC0) != 0x80)[:, ::-1].argmax(1)
    out[cut, max(length - 4, 0) :] = np.where(np.arange(last.shape[1]) < begun[:, None], last, 0)
    out[np.cumsum(out == 0, axis=1) > 0] = 0
    return out


def floats(array: Any) -> np.ndarray:
    """An Arrow array of numbers as float64, NaN where it is null; always a copy."""
    import pyarrow

    if pyarrow.types.is_decimal(array.type) or not pyarrow.types.is_floating(array.type):
        array = array.cast(pyarrow.float64(), safe=False)
    values = array.to_numpy(zero_copy_only=False)  # nulls come as NaN
    return np.array(values, dtype=np.float64)


def values_of(array: Any) -> np.ndarray:
    """The fixed-width values of an Arrow array (n,) as they lie in its memory, not copied; where it is null, anything.

    Moments and durations come as the whole numbers that they are.
    """
    from pyarrow import types

    width = array.type.bit_width // 8
    kind = "f" if types.is_floating(array.type) else "u" if types.is_unsigned_integer(array.type) else "i"
    letter = f"{kind}{width}"
    memory = array.buffers()[1]
    if memory is None:  # no rows
        return np.zeros(len(array), letter)
    return np.frombuffer(memory, letter, len(array), array.offset * width)


def nulls_of(array: Any) -> np.ndarray | None:
    """Which cells of an Arrow array are null, (n,) bool; None where none is."""
    return array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None


def _bounds(store: str, type: str) -> tuple[int, int]:
    """The least and the largest whole number that a stored dtype and the Arrow type hold beside the mark."""
    bounds = np.iinfo(np.dtype(store))
    own = np.iinfo(type if type in ("int8", "int16", "int32", "uint8", "uint16", "uint32") else store)
    return max(int(bounds.min) + 1, int(own.min)), min(int(bounds.max), int(own.max))


def always_fits(values: np.ndarray, store: str, type: str) -> bool:
    """Whether all that the dtype of whole numbers can hold is within these bounds."""
    least, most = _bounds(store, type)
    return bool(least <= np.iinfo(values.dtype).min and np.iinfo(values.dtype).max <= most)


def clipped(values: np.ndarray, store: str, type: str) -> np.ndarray:
    """Whole numbers in a stored dtype, held to what it and the Arrow type hold beside the mark of a missing value."""
    least, most = _bounds(store, type)
    if values.dtype.kind in "iu" and always_fits(values, store, type):
        return values.astype(store)
    if values.dtype == np.dtype(store) and most == np.iinfo(values.dtype).max:  # only the mark is in the way, or less
        return np.maximum(values, np.array(least, values.dtype))
    if values.dtype.kind == "f":
        return np.clip(values, max(least, 1024 - 2**63), min(most, 2**63 - 1024)).astype(store)  # as floats can be
    if values.dtype == np.uint64:
        return np.minimum(values, np.uint64(most)).astype(store)
    return np.clip(values.astype(np.int64), least, most).astype(store)


def is_missing(values: np.ndarray, store: str) -> np.ndarray:
    """Which stored values stand for a missing one."""
    return np.isnan(values) if store in ("f8", "f4") else values == MISSING[store]


def nats_of(shares: np.ndarray) -> float:
    """Entropy of a choice, at least SMALLEST."""
    shares = shares[shares > 0]
    return max(float(-(shares * np.log(shares)).sum()), SMALLEST)
