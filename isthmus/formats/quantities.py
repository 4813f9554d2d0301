"""Columns of numbers and of moments, and their codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from isthmus.errors import DataError
from isthmus.formats.base import Column
from isthmus.formats.codes import (
    CYCLES,
    DAY,
    FAR,
    LARGEST,
    MISSING,
    SECONDS,
    Code,
    always_fits,
    clipped,
    floats,
    is_missing,
    nats_of,
    nulls_of,
    values_of,
)
from isthmus.formats.saved import Saved

__all__ = ["Number", "Time", "waves"]

FLOATS = {"f8": "double", "f4": "float"}  # what is stored so, and lies in Arrow's memory as it is stored
FARTHEST = 2.0**63 - 1024  # the largest float64 that int64 holds
SELDOM = 0.02  # share of the rows as of which a number counts at least: a few may not outweigh all the others
NEAR = 4.0  # deviations from the others at which a spike lies at most: farther, it would be all that is seen of them
SMALL = 1e-4  # deviation of a cycle's number, at least: less is a moment that is always the same


@dataclass(frozen=True)
class Number(Code):
    """A number: one element of mean 0 and deviation 1; two where one value holds a large share of the rows.

        y = (t(x) - mean) / deviation        t(x) = x, or asinh((x - centre) / spread) for heavy tails

    asinh is a line around the centre and a logarithm far from it, on both sides, and has an inverse. A value of a share
    of a fifth or more (``spike``: no capital gain, say) is a choice of its own, and the number is there only for the
    other rows.

    Stored as 32-bit or 64-bit integers or floats; decimals as 64-bit floats, exact to 15 digits. One value of an
    integer type is the mark of a missing one, and is held one away from it: the least of signed ones, the largest of
    uint64.

    Attributes
    ----------
    low, high : least and largest value learned from; what is decoded is held between them
    whole : all values were whole numbers: what is decoded is rounded
    edges : quantiles of y, rising, for the bins of a network
    decimals : which all values had at most: what is decoded is rounded to them, as are whole numbers. None: more than 6
    grain : of durations: all were multiples of so many units, to which what is decoded is rounded
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
    decimals: int | None = None
    grain: int = 1

    word: ClassVar[str] = "number"

    @property
    def store(self) -> str:
        if self.type in ("float", "halffloat"):
            return "f4"
        if self.type == "double" or self.type.startswith("decimal"):
            return "f8"
        return "i8" if max(abs(self.low), abs(self.high)) >= 2**29 or self.type.startswith("duration") else "i4"

    @property
    def bias(self) -> int:
        """What a stored number lacks: whole numbers of uint64 may be too large for int64."""
        return 2**63 - 1 if self.type == "uint64" and self.high >= 2.0**63 else 0

    @property
    def elements(self) -> tuple[Column, ...]:
        if self.spike is None:
            return (Column(self.name, self.kind, None, self.edges, 0.5),)
        p, at = self.spike_share, float(np.clip(self.scaled(np.array(self.spike)), -NEAR, NEAR))
        variance = (1 - p) * (1 + p * at**2)  # of all rows, the spike's counted where it lies
        number = Column(self.name, self.kind, None, self.edges, 0.5 * max(variance, SELDOM), (), at)
        return (number, Column(self.name, self.kind, 2, (), nats_of(np.array([1 - p, p])), (1 - p, p)))

    @property
    def presence(self) -> tuple[float, ...]:
        return (1.0,) if self.spike is None else (1 - self.spike_share, 1.0)

    def pack(self, array: Any, first: int = 0) -> np.ndarray:
        import pyarrow

        array = self._own(array)
        if str(array.type) == FLOATS.get(self.store):
            values, nulls = values_of(array), nulls_of(array)
            if nulls is not None:
                values = np.where(nulls, values.dtype.type(np.nan), values)
            reach = float(np.finfo(np.float32).max) if self.store == "f4" else LARGEST
            if not (np.fmin.reduce(values, initial=0.0) < -reach or np.fmax.reduce(values, initial=0.0) > reach):
                return values[:, None]
        if self.store in ("f8", "f4") or pyarrow.types.is_floating(array.type) or pyarrow.types.is_decimal(array.type):
            values = floats(array)
            self._require_reach(values, first)
            if self.store in ("f8", "f4"):
                return values.astype(self.store)[:, None]
            return self.to_stored(np.rint(values))[:, None]
        values, nulls = values_of(array), nulls_of(array)
        stored = self._biased(values) if self.bias else clipped(values, self.store, self.type)
        if nulls is not None:
            stored[nulls] = MISSING[self.store]
        return stored[:, None]

    def _own(self, array: Any) -> Any:
        """Durations as whole numbers in the unit learned, truths as 0 and 1; other numbers as they are.

        Raises TypeError for what is no number, ValueError (of Arrow) for durations that the unit cannot hold.
        """
        import pyarrow
        from pyarrow import types

        kind = array.type
        if types.is_null(kind):
            return array.cast(pyarrow.int64())
        if types.is_dictionary(kind):
            return self._own(array.dictionary_decode())
        if types.is_duration(kind) != self.type.startswith("duration") or types.is_temporal(kind) != types.is_duration(
            kind
        ):
            raise TypeError("a number, a duration and a date are not each other")
        if types.is_duration(kind):
            return array.cast(self._types()).cast(pyarrow.int64())
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)):
            text = types.is_string(kind) or types.is_large_string(kind)
            raise TypeError("these are texts (pandas.to_numeric reads them)" if text else "it is no number")
        return array.cast(pyarrow.int8()) if types.is_boolean(kind) else array

    def _require_reach(self, values: np.ndarray, first: int) -> None:
        """DataError for infinity, and for what the stored floats or their squares cannot hold."""
        with np.errstate(invalid="ignore"):
            beyond = np.abs(values) > (float(np.finfo(np.float32).max) if self.store == "f4" else LARGEST)
        if not beyond.any():
            return
        row = int(np.flatnonzero(beyond)[0])
        if np.isinf(values[row]):
            raise DataError(
                f'column "{self.name}" holds infinity (first in row {first + row}); numbers must be finite: leave the'
                " cell empty, or clip it to the largest value that means something"
            )
        mend = "32-bit floats, as which it was learned; fit again with float64" if self.store == "f4" else (
            f"numbers that are squared (at most {LARGEST:g}); divide the column, or leave the cell empty")  # fmt: skip
        raise DataError(
            f'column "{self.name}" holds {values[row]:.6g} (first in row {first + row}), too large for {mend}'
        )

    def altered(self, array: Any, stored: np.ndarray) -> tuple[int, str]:
        import pyarrow

        if self.store in ("f4", "f8"):
            return 0, ""
        if pyarrow.types.is_floating(array.type) or pyarrow.types.is_decimal(array.type):
            before = floats(array)
            same = (before == self._values(stored)) | np.isnan(before)
            return int((~same).sum()), "numbers are rounded to whole ones, or held to what the column can hold"
        array = self._own(array)
        if not self.bias and always_fits(values_of(array[:0]), self.store, self.type):
            return 0, ""
        whole = array.fill_null(0).to_numpy(zero_copy_only=False)
        again = stored[:, 0].astype(np.uint64) + np.uint64(self.bias) if self.bias else stored[:, 0]
        same = (whole == again) | is_missing(stored[:, 0], self.store)
        return int((~same).sum()), "whole numbers are held to what the column can hold"

    def unpack(self, stored: np.ndarray) -> Any:
        import pyarrow

        values = stored[:, 0]
        missing = is_missing(values, self.store)
        kind = self._types()
        if pyarrow.types.is_duration(kind):
            return pyarrow.array(values, mask=missing).cast(kind)
        if pyarrow.types.is_decimal(kind):
            return pyarrow.array(values, mask=missing).cast(kind, safe=False)
        if self.bias:
            values = values.astype(np.uint64) + np.uint64(self.bias)
        return pyarrow.array(values, mask=missing).cast(kind)

    def spread(self, stored: np.ndarray) -> np.ndarray:
        x = self._values(stored)
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

    def moments(self, y: np.ndarray, variance: Any, chance: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (n,) in the column's unit, of a normal y (its variance a number or (n,)) and the
        chance of the spike (n,).

        By Gauss-Hermite quadrature with nine points, for the way back from y is bent.
        """
        points, weights = np.polynomial.hermite_e.hermegauss(9)
        weights = weights / weights.sum()
        mean, square = np.zeros(len(y)), np.zeros(len(y))
        centre = self.unscaled(y)  # about which squares are taken: values far from zero lose no digits
        for point, weight in zip(points, weights, strict=True):
            apart = self.unscaled(y + np.sqrt(variance) * point) - centre
            mean += weight * apart
            square += weight * np.square(apart)
        if chance is not None and self.spike is not None:
            apart = self.spike - centre
            mean, square = (1 - chance) * mean + chance * apart, (1 - chance) * square + chance * np.square(apart)
        return centre + mean, np.sqrt(np.maximum(square - np.square(mean), 0))

    def to_stored(self, x: np.ndarray, whole: bool = True) -> np.ndarray:
        """Values in the column's unit to stored ones; ``whole`` False leaves fractions to the dtypes that have them."""
        missing = np.isnan(x)
        if (self.whole and whole) or self.store in ("i4", "i8"):
            grain = self.grain if whole else 1
            x = np.rint(x / grain) * grain
        elif whole and self.decimals is not None:
            x = np.round(x, self.decimals)
        if self.store in ("f4", "f8"):
            return x.astype(self.store)
        x = np.where(missing, 0, x)
        stored = self._biased(x) if self.bias else clipped(x, self.store, self.type)
        stored[missing] = MISSING[self.store]
        return stored

    def _biased(self, values: np.ndarray) -> np.ndarray:
        """Whole numbers from 0 to 2**64 - 2, held to these, less the bias, as int64."""
        if values.dtype.kind == "f":
            values = np.clip(values, 0, 2.0**64 - 4096)
        elif values.dtype != np.uint64:
            values = np.maximum(values, 0)
        return (np.minimum(values.astype(np.uint64), np.uint64(2**64 - 2)) - np.uint64(self.bias)).view(np.int64)

    def _values(self, stored: np.ndarray) -> np.ndarray:
        """Stored (n, 1) to float64 (n,), NaN where they are missing."""
        x = stored[:, 0].astype(np.float64) + self.bias
        x[is_missing(stored[:, 0], self.store)] = np.nan
        return x

    def _unit(self) -> tuple[float, str]:
        span = self.type.startswith("duration")
        return _time_unit(self.type[9:-1], self.high - self.low) if span else super()._unit()

    def in_words(self) -> str:
        size, word = self._unit() if self.type.startswith("duration") else (1.0, "")
        unit = word.removeprefix("RMSE,")  # " days" or " s"
        found = f"{self.low * size:.6g} to {self.high * size:.6g}{unit}" + (", heavy tails" if self.heavy else "")
        if self.decimals is not None:
            found += f", {self.decimals} decimal{'' if self.decimals == 1 else 's'}"
        return found + (f", {self.spike * size:.6g} in {self.spike_share:.0%}" if self.spike is not None else "")

    @classmethod
    def from_json(cls, saved: Saved) -> Self:
        saved.values.setdefault("decimals", None)  # earlier files have neither
        saved.values.setdefault("grain", 1)
        made = super().from_json(saved)
        saved.integer("grain", 1, 2**62)
        if made.decimals is not None:
            saved.integer("decimals", 1, 30)
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


def _time_unit(unit: str, reach: float) -> tuple[float, str]:
    """In what an error of moments is told: days where they reach over more than three, else seconds."""
    seconds = SECONDS[unit]
    return (seconds / DAY, "RMSE, days") if reach * seconds > 3 * DAY else (seconds, "RMSE, s")


SHORT = 0.2  # deviation of a sine or cosine above which float32 is exact enough for it


def waves(whole: np.ndarray, unit: str, cycle: str, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of where moments, whole units since 1970, lie in a cycle. float32 takes a tenth of the time."""
    angle = _phase(whole, unit, cycle)
    angle *= 2 * np.pi
    angle = angle.astype(dtype, copy=False)
    return np.sin(angle), np.cos(angle)


def _phase(whole: np.ndarray, unit: str, cycle: str) -> np.ndarray:
    """Where in the cycle, from 0 to 1; exact for days and weeks, which are whole units."""
    period = CYCLES[cycle] / SECONDS[unit]
    if period == round(period):
        step = np.int64(round(period))
        return (whole - whole // step * step) / period  # the remainder, in a third of the time of np.mod
    turns = whole / period
    turns -= np.floor(turns)
    return turns


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
    middles, sizes : mean and deviation of the sine and the cosine of each cycle
    edges : quantiles of the trend, for the bins of a network
    """

    unit: str
    offset: float
    step: float
    low: int
    high: int
    grain: int
    cycles: tuple[str, ...]
    middles: tuple[float, ...]
    sizes: tuple[float, ...]
    edges: tuple[float, ...]

    word: ClassVar[str] = "time"
    dtype: ClassVar[str] = "i8"

    @property
    def elements(self) -> tuple[Column, ...]:
        trend = Column(self.name, self.kind, None, self.edges, 0.5)
        return (trend, *[Column(self.name, self.kind, None, (), 0.5)] * (2 * len(self.cycles)))

    def pack(self, array: Any, first: int = 0) -> np.ndarray:
        array = self._own(array)
        values, nulls = values_of(array), nulls_of(array)
        values = values.astype(np.int64, copy=False)
        return (values if nulls is None else np.where(nulls, np.int64(MISSING["i8"]), values))[:, None]

    def _own(self, array: Any) -> Any:
        """Dates, moments and text that names them as the type learned. Raises TypeError for what is none."""
        from pyarrow import types

        kind, own = array.type, self._types()
        if types.is_dictionary(kind):
            return self._own(array.dictionary_decode())
        if not (types.is_temporal(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)):
            raise TypeError("it is no date and no time")
        if types.is_timestamp(kind) and types.is_timestamp(own) and (kind.tz is None) != (own.tz is None):
            raise TypeError("one of them has a time zone, and the other has none")
        return array if kind == own else array.cast(own)

    def unpack(self, stored: np.ndarray) -> Any:
        import pyarrow

        missing = is_missing(stored[:, 0], "i8")
        kind = self._types()
        whole = pyarrow.int32() if kind.bit_width == 32 else pyarrow.int64()
        return pyarrow.array(np.where(missing, 0, stored[:, 0]), mask=missing).cast(whole).cast(kind)

    def spread(self, stored: np.ndarray) -> np.ndarray:
        spread = np.empty((1 + len(self.sizes), len(stored)), np.float32)
        self.spread_into(stored[:, 0], spread)
        return spread.T

    def spread_into(self, values: np.ndarray, out: np.ndarray) -> None:
        """Stored (n,) to elements (E, n) float32."""
        missing = is_missing(values, "i8")
        holes = bool(missing.any())
        values = np.where(missing, 0, values) if holes else values
        y = values - self.offset
        y /= self.step
        out[0] = np.clip(y, -FAR, FAR, out=y)
        found: list[np.ndarray] = []
        for place, cycle in enumerate(self.cycles):  # what varies little is multiplied much, and so are its last digits
            dtype = np.float32 if min(self.sizes[2 * place : 2 * place + 2]) > SHORT else np.float64
            found += waves(values, self.unit, cycle, dtype)
        for place, (wave, middle, size) in enumerate(zip(found, self.middles, self.sizes, strict=True), 1):
            wave -= wave.dtype.type(middle)
            wave /= wave.dtype.type(size)
            out[place] = np.clip(wave, -FAR, FAR, out=wave)
        if holes:
            out[:, missing] = np.nan

    def gather(self, elements: np.ndarray) -> np.ndarray:
        missing = np.isnan(elements).any(axis=1)
        elements = np.where(missing[:, None], 0, elements).astype(np.float64)
        middle = (self.low + self.high) // 2  # about which whole numbers are taken, for they may span all of int64
        low, high = self.low - middle, self.high - middle
        apart = np.clip(elements[:, 0] * self.step + (self.offset - middle), max(low, -FARTHEST), min(high, FARTHEST))
        whole = np.clip(np.rint(apart).astype(np.int64), low, high)
        for place, cycle in enumerate(self.cycles):
            sine, cosine = (elements[:, e + 1] * self.sizes[e] + self.middles[e] for e in (2 * place, 2 * place + 1))
            turn = np.arctan2(sine, cosine) / (2 * np.pi) - _phase(whole + middle, self.unit, cycle)
            whole = whole + np.rint((turn - np.rint(turn)) * CYCLES[cycle] / SECONDS[self.unit]).astype(np.int64)
        whole = np.clip(whole, low, high)
        if self.grain > 1:  # differences of any two int64 fit uint64
            ahead = (whole - low).view(np.uint64) + np.uint64(self.grain // 2)
            whole = (ahead - ahead % np.uint64(self.grain)).view(np.int64) + low
        return np.where(missing, MISSING["i8"], np.clip(whole, low, high) + middle)[:, None]

    def _unit(self) -> tuple[float, str]:
        return _time_unit(self.unit, self.high - self.low)

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
            middles=tuple(saved.numbers("middles", 2 * len(cycles)).tolist()),
            sizes=tuple(saved.numbers("sizes", 2 * len(cycles)).tolist()),
            edges=tuple(saved.numbers("edges", len(edges) if isinstance(edges, list) else 0).tolist()),
        )
        if not made.step > 0:
            raise saved.refuse("step", "above 0")
        if not all(size > 0 for size in made.sizes):
            raise saved.refuse("sizes", "above 0")
        if made.low > made.high:
            raise saved.refuse("low", "not above high")
        return made
