"""Columns of numbers and of moments, and their codes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from isthmus.errors import DataError
from isthmus.formats.base import Column
from isthmus.formats.codes import (
    CYCLES,
    DAY,
    FAR,
    MISSING,
    SECONDS,
    Code,
    clipped,
    floats,
    is_missing,
    nats_of,
)
from isthmus.formats.saved import Saved

__all__ = ["Number", "Time"]


@dataclass(frozen=True)
class Number(Code):
    """A number: one element of mean 0 and deviation 1; two where one value holds a large share of the rows.

        y = (t(x) - mean) / deviation        t(x) = x, or asinh((x - centre) / spread) for heavy tails

    asinh is a line around the centre and a logarithm far from it, on both sides, and has an inverse. A value of a share
    of a fifth or more (``spike``: no capital gain, say) is a choice of its own, and the number is there only for the
    other rows.

    Attributes
    ----------
    low, high : least and largest value learned from; what is decoded is held between them
    whole : all values were whole numbers: what is decoded is rounded
    edges : quantiles of y, rising, for the bins of a network
    """

    heavy: bool
    centre: float
    spread_: float
    mean: float
    deviation: float
    low: float
    high: float
    whole: bool
    spike: float | None
    spike_share: float
    edges: tuple[float, ...]

    word: ClassVar[str] = "number"

    @property
    def store(self) -> str:
        if self.type in ("float", "halffloat"):
            return "f4"
        if self.type in ("double", "float64") or self.type.startswith("decimal") or self.type == "uint64":
            return "f8"
        return "i8" if max(abs(self.low), abs(self.high)) >= 2**29 or self.type.startswith("duration") else "i4"

    @property
    def elements(self) -> tuple[Column, ...]:
        number = Column(self.name, self.kind, None, self.edges, 0.5)
        if self.spike is None:
            return (number,)
        p = self.spike_share
        return (number, Column(self.name, self.kind, 2, (), nats_of(np.array([1 - p, p])), (1 - p, p)))

    def pack(self, array: Any, first: int = 0) -> np.ndarray:
        import pyarrow
        from pyarrow import compute

        if pyarrow.types.is_duration(array.type):
            array = array.cast(pyarrow.int64())
        if self.store in ("f8", "f4"):
            values = floats(array)
            if not np.isfinite(values[~np.isnan(values)]).all():
                row = first + int(np.flatnonzero(np.isinf(values))[0])
                raise DataError(
                    f'column "{self.name}" holds infinity (first in row {row}); numbers must be finite: leave the cell'
                    " empty, or clip it to the largest value that means something"
                )
            if self.store == "f4":
                with np.errstate(over="ignore"):
                    narrow = values.astype(np.float32)
                if np.isinf(narrow).any():
                    row = int(np.flatnonzero(np.isinf(narrow))[0])
                    raise DataError(
                        f'column "{self.name}" holds {values[row]:.6g} (first in row {first + row}), too large for'
                        " 32-bit floats, as which it was learned; fit again with float64"
                    )
                values = narrow
            return values[:, None]
        if pyarrow.types.is_floating(array.type):
            values = np.rint(floats(array))
            missing = np.isnan(values)
            values[missing] = 0
            stored = clipped(values, self.store)
        else:
            missing = array.is_null().to_numpy(zero_copy_only=False)
            stored = clipped(compute.fill_null(array, 0).to_numpy(zero_copy_only=False), self.store)
        stored[missing] = MISSING[self.store]
        return stored[:, None]

    def unpack(self, stored: np.ndarray) -> Any:
        import pyarrow

        values = stored[:, 0]
        missing = is_missing(values, self.store)
        kind = self._types()
        if pyarrow.types.is_duration(kind):
            return pyarrow.array(values, mask=missing).cast(kind)
        if pyarrow.types.is_decimal(kind):
            return pyarrow.array(values, mask=missing).cast(kind, safe=False)
        if pyarrow.types.is_integer(kind) and values.dtype.kind == "f":  # uint64
            values = np.where(missing, 0, np.rint(values)).astype(np.uint64)
        return pyarrow.array(values, mask=missing).cast(kind)

    def spread(self, stored: np.ndarray) -> np.ndarray:
        x = stored[:, 0].astype(np.float64)
        x[is_missing(stored[:, 0], self.store)] = np.nan
        y = np.clip(self.scaled(x), -FAR, FAR)
        if self.spike is None:
            return y[:, None].astype(np.float32)
        at = x == self.spike
        chosen = np.where(np.isnan(x), np.nan, at)
        y[at] = np.nan
        return np.stack([y, chosen], axis=1).astype(np.float32)

    def gather(self, elements: np.ndarray) -> np.ndarray:
        y = np.asarray(elements[:, 0], dtype=np.float64)
        x = self.unscaled(y)
        if self.spike is not None:
            x = np.where(elements[:, 1] >= 0.5, self.spike, x)
            x[np.isnan(elements[:, 1])] = np.nan
        return self.to_stored(x)[:, None]

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Values in the column's unit, float64, to y."""
        with np.errstate(over="ignore", invalid="ignore"):
            t = np.arcsinh((x - self.centre) / self.spread_) if self.heavy else x
            return (t - self.mean) / self.deviation

    def unscaled(self, y: np.ndarray) -> np.ndarray:
        """y to values in the column's unit, float64, between ``low`` and ``high``."""
        with np.errstate(over="ignore", invalid="ignore"):
            t = y * self.deviation + self.mean
            x = self.centre + self.spread_ * np.sinh(t) if self.heavy else t
            return np.clip(x, self.low, self.high)

    def moments(self, y: np.ndarray, variance: float, chance: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (n,) in the column's unit, of a normal y and the chance of the spike (n,).

        By Gauss-Hermite quadrature with nine points, for the way back from y is bent.
        """
        points, weights = np.polynomial.hermite_e.hermegauss(9)
        weights = weights / weights.sum()
        mean, square = np.zeros(len(y)), np.zeros(len(y))
        centre = self.unscaled(y)  # about which squares are taken: values far from zero lose no digits
        for point, weight in zip(points, weights, strict=True):
            apart = self.unscaled(y + math.sqrt(variance) * point) - centre
            mean += weight * apart
            square += weight * np.square(apart)
        if chance is not None and self.spike is not None:
            apart = self.spike - centre
            mean, square = (1 - chance) * mean + chance * apart, (1 - chance) * square + chance * np.square(apart)
        return centre + mean, np.sqrt(np.maximum(square - np.square(mean), 0))

    def to_stored(self, x: np.ndarray) -> np.ndarray:
        """Values in the column's unit to stored ones."""
        missing = np.isnan(x)
        if self.whole or self.store in ("i4", "i8"):
            x = np.rint(x)
        if self.store in ("f4", "f8"):
            return x.astype(self.store)
        stored = clipped(np.where(missing, 0, x), self.store)
        stored[missing] = MISSING[self.store]
        return stored

    def in_words(self) -> str:
        found = f"{self.low:.6g} to {self.high:.6g}" + (", heavy tails" if self.heavy else "")
        return found + (f", {self.spike:.6g} in {self.spike_share:.0%}" if self.spike is not None else "")

    @classmethod
    def from_json(cls, saved: Saved) -> Self:
        made = super().from_json(saved)
        numbers: dict[str, Any] = {
            name: saved.number(name) for name in ("centre", "spread_", "mean", "deviation", "low", "high")
        }
        edges = saved.get("edges")
        spike = saved.values.get("spike")
        made = replace(
            made,
            **numbers,
            heavy=saved.flag("heavy"),
            whole=saved.flag("whole"),
            spike=None if spike is None else saved.number("spike"),
            spike_share=saved.number("spike_share"),
            edges=tuple(saved.numbers("edges", len(edges) if isinstance(edges, list) else 0).tolist()),
        )
        if not (made.spread_ > 0 and made.deviation > 0):
            raise saved.refuse("deviation", "above 0")
        return made


@dataclass(frozen=True)
class Time(Code):
    """A date, a moment or a time of day: a trend, and two numbers (sine, cosine) for each cycle that the data shows.

    Stored as whole units since 1970 (UTC where there is a time zone). A decoded moment follows the trend, then is moved
    by the least amount that agrees with the cycles, from the year to the day, and is rounded to ``grain``.

    Attributes
    ----------
    unit : "s", "ms", "us", "ns" or "day"
    offset, step : mean and deviation, in units
    low, high : the first and the last moment learned from, in units
    grain : all values learned from are multiples of so many units, counted from ``low``
    cycles : of "year", "week", "day": those that the data covers
    edges : quantiles of the trend, for the bins of a network
    """

    unit: str
    offset: float
    step: float
    low: int
    high: int
    grain: int
    cycles: tuple[str, ...]
    edges: tuple[float, ...]

    word: ClassVar[str] = "time"
    dtype: ClassVar[str] = "i8"

    @property
    def elements(self) -> tuple[Column, ...]:
        trend = Column(self.name, self.kind, None, self.edges, 0.5)
        return (trend, *[Column(self.name, self.kind, None, (), 0.5)] * (2 * len(self.cycles)))

    def pack(self, array: Any, first: int = 0) -> np.ndarray:
        import pyarrow

        array = array.cast(self._types()) if str(array.type) != self.type else array
        whole = pyarrow.int32() if array.type.bit_width == 32 else pyarrow.int64()
        array = array.cast(whole).cast(pyarrow.int64())
        missing = array.is_null().to_numpy(zero_copy_only=False)
        values = array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64, copy=True)
        values[missing] = MISSING["i8"]
        return values[:, None]

    def unpack(self, stored: np.ndarray) -> Any:
        import pyarrow

        missing = is_missing(stored[:, 0], "i8")
        kind = self._types()
        whole = pyarrow.int32() if kind.bit_width == 32 else pyarrow.int64()
        return pyarrow.array(np.where(missing, 0, stored[:, 0]), mask=missing).cast(whole).cast(kind)

    def spread(self, stored: np.ndarray) -> np.ndarray:
        missing = is_missing(stored[:, 0], "i8")
        values = np.where(missing, 0, stored[:, 0])
        found = [(values - self.offset) / self.step]
        for cycle in self.cycles:
            angle = 2 * np.pi * self._phase(values, cycle)
            found += [np.sqrt(2) * np.sin(angle), np.sqrt(2) * np.cos(angle)]
        spread = np.clip(np.stack(found, axis=1), -FAR, FAR).astype(np.float32)
        spread[missing] = np.nan
        return spread

    def gather(self, elements: np.ndarray) -> np.ndarray:
        missing = np.isnan(elements).any(axis=1)
        elements = np.where(missing[:, None], 0, elements).astype(np.float64)
        low, high = float(self.low), float(self.high)
        values = np.clip(elements[:, 0] * self.step + self.offset, low, high)
        whole = np.rint(values - low).astype(np.int64) + self.low
        for place, cycle in enumerate(self.cycles):
            wanted = np.arctan2(elements[:, 1 + 2 * place], elements[:, 2 + 2 * place]) / (2 * np.pi)
            apart = wanted - self._phase(whole, cycle)
            whole = whole + np.rint((apart - np.rint(apart)) * CYCLES[cycle] / SECONDS[self.unit]).astype(np.int64)
        steps = np.rint((whole - self.low) / self.grain).astype(np.int64)
        whole = np.clip(steps * self.grain + self.low, self.low, self.high)
        return np.where(missing, MISSING["i8"], whole)[:, None]

    def _unit(self) -> tuple[float, str]:
        seconds = SECONDS[self.unit]
        return (seconds / DAY, "RMSE, days") if (self.high - self.low) * seconds > 3 * DAY else (seconds, "RMSE, s")

    def _phase(self, whole: np.ndarray, cycle: str) -> np.ndarray:
        """Where in the cycle, from 0 to 1; exact for days and weeks, which are whole units."""
        period = CYCLES[cycle] / SECONDS[self.unit]
        if period == round(period):
            return np.mod(whole, np.int64(round(period))) / period
        return np.mod(whole / period, 1.0)

    def in_words(self) -> str:
        return "cycles of a " + ", a ".join(self.cycles) if self.cycles else "no cycles"

    @classmethod
    def from_json(cls, saved: Saved) -> Self:
        made = super().from_json(saved)
        cycles, edges = saved.words("cycles") or (), saved.get("edges")
        if not set(cycles) <= set(CYCLES):
            raise saved.refuse("cycles", f"of {', '.join(CYCLES)}")
        made = replace(
            made,
            unit=saved.word("unit", SECONDS),
            offset=saved.number("offset"),
            step=saved.number("step"),
            low=saved.integer("low", -(2**63), 2**63 - 1),
            high=saved.integer("high", -(2**63), 2**63 - 1),
            grain=saved.integer("grain", 1, 2**62),
            cycles=tuple(cycles),
            edges=tuple(saved.numbers("edges", len(edges) if isinstance(edges, list) else 0).tolist()),
        )
        if not made.step > 0:
            raise saved.refuse("step", "above 0")
        return made
