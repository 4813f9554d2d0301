"""Reading back what ``to_json`` wrote, without trust: every value is checked, and what is wrong is named.

A model file may come from anyone. Whatever its JSON holds, reading it gives a value of the right type and size or one
``DamagedFileError``; never a ``KeyError``, never a loop over a length that the file made up.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import pairwise
from typing import Any

import numpy as np

from isthmus.errors import DamagedFileError

__all__ = ["LONGEST_SIDE", "Saved", "shortened"]

LONGEST_SIDE = 2**31 - 1  # no axis of an item is longer: what claims more is a damaged file


class Saved:
    """A JSON object under test.

    Parameters
    ----------
    values : what was read; anything but a dict raises DamagedFileError
    what : what it describes, for messages: "the saved vector format"
    """

    def __init__(self, values: Any, what: str) -> None:
        if not isinstance(values, dict):
            raise DamagedFileError(f"{what} should be a JSON object, not {shortened(values)}")
        self.values = values
        self.what = what

    def get(self, key: str) -> Any:
        """Any value; it must be there."""
        if key not in self.values:
            raise DamagedFileError(f'{self.what} has no "{key}"; the file is damaged or was not written by Isthmus')
        return self.values[key]

    def refuse(self, key: str, expected: str) -> DamagedFileError:
        """The error for a value that is there and wrong."""
        return DamagedFileError(f'"{key}" of {self.what} should be {expected}, not {shortened(self.values.get(key))}')

    def word(self, key: str, allowed: Collection[str]) -> str:
        """One of the allowed words."""
        value = self.get(key)
        if not isinstance(value, str) or value not in allowed:
            raise self.refuse(key, "one of " + ", ".join(sorted(allowed)))
        return value

    def integer(self, key: str, least: int = 0, most: int = LONGEST_SIDE) -> int:
        """A whole number from ``least`` to ``most``, both included."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.refuse(key, f"a whole number from {least} to {most}")
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.get(key)
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self.get(key)
        if not _is_finite_number(value):
            raise self.refuse(key, "a finite number")
        return float(value)

    def numbers(self, key: str, length: int) -> np.ndarray:
        """A list of so many finite numbers, as float64."""
        value = self.get(key)
        if not isinstance(value, list) or len(value) != length or not all(map(_is_finite_number, value)):
            raise self.refuse(key, f"a list of {length} finite numbers")
        return np.array(value, dtype=np.float64)

    def integers(self, key: str, below: int) -> list[int]:
        """A list of different whole numbers from 0 to below ``below``, rising."""
        value = self.get(key)
        rising = isinstance(value, list) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
        if not rising or any(not 0 <= v < below for v in value) or any(a >= b for a, b in pairwise(value)):
            raise self.refuse(key, f"a rising list of whole numbers below {below}")
        return list(value)

    def words(self, key: str, length: int | None = None) -> tuple[str, ...] | None:
        """A list of strings (of so many, where ``length`` is given), or null, which gives None."""
        value = self.get(key)
        if value is None:
            return None
        wrong_length = length is not None and isinstance(value, list) and len(value) != length
        if not isinstance(value, list) or wrong_length or not all(isinstance(word, str) for word in value):
            raise self.refuse(key, f"null or a list of {'' if length is None else f'{length} '}strings")
        return tuple(value)


def _is_finite_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False


def shortened(value: Any, most: int = 60) -> str:
    """How a value reads, in at most so many characters. Works for a value whose own ``repr`` fails."""
    if isinstance(value, str | bytes):
        value = value[:most]  # no need to print a gigabyte to show its beginning
    if isinstance(value, list | tuple | dict | set) and len(value) > most:
        return f"a {type(value).__name__} of {len(value)}"
    try:
        text = repr(value)
    except Exception:
        text = f"something of type {type(value).__name__}"
    return text if len(text) <= most else text[: most - 3] + "..."
