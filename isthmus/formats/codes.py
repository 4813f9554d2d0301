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
from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from isthmus.formats.base import Column
from isthmus.formats.saved import Saved

BASE = 256  # a choice has at most so many levels; more are written as digits
MISSING = {"f8": np.nan, "f4": np.nan, "i8": np.iinfo(np.int64).min, "i4": np.iinfo(np.int32).min, "u1": 255}
FAR = 2.0**30  # scaled values beyond are held here: their squares still fit float32
DAY, WEEK, YEAR = 86_400.0, 604_800.0, 365.2425 * 86_400  # seconds
CYCLES = {"year": YEAR, "week": WEEK, "day": DAY}  # from the longest: each one refines what the one before it says
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "day": DAY}
SMALLEST = 0.05  # nats: a choice that is nearly always the same may not outweigh all the others


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

    def errors(self, stored: np.ndarray, again: np.ndarray) -> tuple[float, float, str]:
        """Error of stored values that came back, that of the best guess, and the unit; NaN where no row has a value."""
        there = ~is_missing(stored[:, 0], self.store)
        if not there.any():
            return math.nan, math.nan, ""
        if self.store == "u1" or self.word == "choice":
            wrong = float((stored[there] != again[there]).mean())
            most = max(Counter(map(tuple, stored[there].tolist())).values()) if self.width == 1 else 0
            return wrong, 1 - most / int(there.sum()), "share wrong"
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
        return {"code": self.word} | asdict(self)

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


def arrow_type(text: str) -> Any:
    """The Arrow type that Arrow writes so. Raises ValueError for anything else."""
    import re

    import pyarrow

    plain = {"double": "float64", "float": "float32", "halffloat": "float16", "date32[day]": "date32",
             "date64[ms]": "date64"}  # fmt: skip
    if match := re.fullmatch(r"timestamp\[(s|ms|us|ns)(?:, tz=([\w/+:\- ]+))?\]", text):
        return pyarrow.timestamp(match[1], match[2])
    if match := re.fullmatch(r"decimal(128|256)\((\d{1,2}), (-?\d{1,2})\)", text):
        make = pyarrow.decimal128 if match[1] == "128" else pyarrow.decimal256
        return make(int(match[2]), int(match[3]))
    if match := re.fullmatch(r"dictionary<values=([\w\[\]]+), indices=(u?int\d+), ordered=([01])>", text):
        return pyarrow.dictionary(arrow_type(match[2]), arrow_type(match[1]), match[3] == "1")
    return pyarrow.type_for_alias(plain.get(text, text))


def as_text(array: Any) -> Any:
    """An Arrow array as text."""
    import pyarrow

    textual = pyarrow.types.is_string(array.type) or pyarrow.types.is_large_string(array.type)
    return array if textual else array.cast(pyarrow.string())


def floats(array: Any) -> np.ndarray:
    """An Arrow array of numbers as float64, NaN where it is null; always a copy."""
    import pyarrow

    if pyarrow.types.is_decimal(array.type) or not pyarrow.types.is_floating(array.type):
        array = array.cast(pyarrow.float64(), safe=False)
    values = array.to_numpy(zero_copy_only=False)  # nulls come as NaN
    return np.array(values, dtype=np.float64)


def clipped(values: np.ndarray, store: str) -> np.ndarray:
    """Whole numbers in a stored dtype, held to what it can hold beside the mark of a missing value."""
    bounds = np.iinfo(np.dtype(store))
    if values.dtype.kind == "f":
        most = float(bounds.max) if store == "i4" else 2.0**63 - 1024
        return np.clip(values, -most, most).astype(store)
    if values.dtype.kind == "u" and values.dtype.itemsize == 8:
        values = np.minimum(values, np.uint64(bounds.max)).astype(np.int64)
    return np.clip(values, bounds.min + 1, bounds.max).astype(store)


def is_missing(values: np.ndarray, store: str) -> np.ndarray:
    """Which stored values stand for a missing one."""
    return np.isnan(values) if store in ("f8", "f4") else values == MISSING[store]


def nats_of(shares: np.ndarray) -> float:
    """Entropy of a choice, at least SMALLEST."""
    shares = shares[shares > 0]
    return max(float(-(shares * np.log(shares)).sum()), SMALLEST)
