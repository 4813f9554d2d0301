"""How numbers without natural bounds are brought to the scale of a network: one offset and one step for each part.

A part is a column of vectors (n, k) or a channel of series (n, k, t); it is the second axis in both:

    scaled = (stored - offset) / step        stored = offset + step * scaled

Statistics are computed in float64, in two passes over small chunks: the range first, then mean and squared deviations
of the values brought to [-1, 1] by it, merged chunk by chunk (Chan, Golub & LeVeque 1983, eq. 2.1). So neither a large
offset (1e9 plus noise) nor values whose squares overflow (1e300) lose digits, and no float64 copy of the data is made.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import DataError, SettingError
from isthmus.formats.arrays import Origin, chunks, refuse_non_finite, widest_float
from isthmus.formats.saved import Saved
from isthmus.threads import in_threads

if TYPE_CHECKING:
    from isthmus.formats.base import Format
    from isthmus.likelihoods import Likelihood

__all__ = ["SCALES", "Extent", "Scaling", "extent_of", "require_fit"]

SCALES = ("auto", "standard", "global", "centre", "none")
LEARNED = SCALES[1:]
UNITS = {
    "standard": "standard deviations",
    "global": "deviations of the whole",
    "centre": "the data's own unit",
    "none": "the data's own unit",
}
MOST = 2.0**63  # largest scaled value: its square still fits float32
LARGEST = 2.0**1022  # the difference of two such values is still finite in float64
NARROW = (torch.uint8, torch.int8, torch.int16, torch.float16, torch.bfloat16, torch.float32)  # exact in float32
SLICES = 8  # chunks that a thread looks at in one go
EASY = 1e30  # offsets below this and steps above its inverse can be handled in float32


class _OnDevice(NamedTuple):
    """A scaling as tensors on one device, shaped to fit the items."""

    offset: Tensor  # in the widest float of the device, as is the step
    step: Tensor
    upper: Tensor  # upper + lower = offset, both float32
    lower: Tensor
    step32: Tensor
    whole: Tensor  # whole + fraction = offset, int64 and float32
    fraction: Tensor
    easy: bool  # offsets and steps are far from the ends of float32


@dataclass(frozen=True, eq=False)
class Scaling:
    """What was learned about the scale of each part.

    Attributes
    ----------
    how : "standard" (own mean, own standard deviation), "global" (own mean, one deviation for all),
        "centre" (own mean, no deviation), "none" (as it is)
    offset, step : float64 (k,); one 0 and one 1 for "none"
    constant : numbers of the parts whose values are all equal, or equal but for rounding
    binary : every value is 0 or 1, and both occur
    bounded : the scaled view of the values learned from lies in [0, 1]
    """

    how: str
    offset: np.ndarray
    step: np.ndarray
    constant: tuple[int, ...] = ()
    binary: bool = False
    bounded: bool = False
    on_device: dict[torch.device, _OnDevice] = field(default_factory=dict, repr=False)

    @classmethod
    def learn(cls, array: np.ndarray, extent: Extent, setting: str) -> Self:
        """From finite values (n, k) or (n, k, t) and their extent; ``setting`` is one of `SCALES`.

        "auto" is "none" for zeros and ones, "standard" for everything else. Raises SettingError for another word.
        """
        if not isinstance(setting, str) or setting not in SCALES:
            raise SettingError(f"scale={setting!r} is unknown: choose one of {', '.join(SCALES)}")
        low, high, sums = extent  # the last one for "centre" alone
        binary = _zeros_and_ones(array, low, high)
        how = setting if setting != "auto" else "none" if binary else "standard"
        least, most = low.astype(np.float64), high.astype(np.float64)
        rounding = _equal_but_for_rounding(array, low, high)
        constant = rounding | (low == high)
        offset, step = np.zeros(1), np.ones(1)
        if how == "centre":
            offset, step = np.where(low == high, least, sums / (array.size // len(low))), np.ones(len(low))
            if not np.isfinite(sums).all():  # the sum of very large values overflows
                offset = _mean_and_deviation(array, least, most)[0]
        elif how != "none":
            offset, deviation = _mean_and_deviation(array, least, most)
            step = np.ones(len(low))
            if how == "standard":
                # Where only rounding differs the scaled values shall be about 0, whatever the size of the values.
                unscaled = np.where(rounding, np.maximum(1.0, np.abs(offset)), 1.0)
                step = np.where(constant, unscaled, deviation)
            elif how == "global":
                widest = deviation.max()
                common = widest * np.sqrt(np.mean((deviation / widest) ** 2)) if widest > 0 else 1.0
                step = np.full(len(low), common)
        bounded = how == "none" and bool(least.min() >= 0 and most.max() <= 1)
        return cls(how, offset, step, tuple(np.flatnonzero(constant).tolist()), binary, bounded)

    @property
    def unit(self) -> str:
        """The unit of the scaled view, in words."""
        return "values 0 to 1" if self.bounded else UNITS[self.how]

    def likelihood(self) -> Likelihood:
        """Bernoulli where the scaled view is zeros and ones, otherwise a Gaussian of unit variance."""
        from isthmus.likelihoods import Bernoulli, Gaussian

        return Bernoulli() if self.binary and self.how == "none" else Gaussian()

    def require_reach(self, low: np.ndarray, high: np.ndarray, name: Callable[[int], str]) -> None:
        """DataError where values of this range cannot be scaled, or have no probability; ``name`` names a part."""
        least, most = low.astype(np.float64), high.astype(np.float64)
        if self.binary and self.how == "none" and (least.min() < 0 or most.max() > 1):
            part = int(np.flatnonzero((least < 0) | (most > 1))[0])
            value = low[part] if least[part] < 0 else high[part]
            raise DataError(
                f"{name(part)} holds {value}, but every value learned from was 0 or 1, and others have no probability"
                ' now. Fit again with such values among the data, or with scale="standard"'
            )
        with np.errstate(over="ignore"):
            far = np.maximum(np.abs(least - self.offset), np.abs(most - self.offset)) / self.step > MOST
        if far.any():
            part = int(np.flatnonzero(far)[0])
            value = low[part] if abs(least[part]) > abs(most[part]) else high[part]
            if self.how in ("none", "centre"):
                told = (
                    'too large for 32-bit floats as it is: give a format that scales, such as VectorFormat("standard")'
                )
            else:
                told = (
                    f"too far from what was learned (mean {self.offset[part]:.6g}, deviation {self.step[part]:.6g}):"
                    " take that item out, or fit again with it"
                )
            raise DataError(f"{name(part)} holds {value:.6g}, which is {told}")

    def scale(self, stored: Tensor, axes: int = 0) -> Tensor:
        """Stored to scaled, float32; ``axes`` axes follow the axis of the parts."""
        if self.how == "none":
            return stored.to(torch.float32)
        its = self._on(stored.device, axes)
        if self.how == "centre" and stored.dtype == torch.float32 and its.easy:
            return (stored - its.upper).sub_(its.lower)
        narrow = its.offset.dtype == torch.float32
        if narrow and not stored.is_floating_point():  # whole numbers lose nothing among whole numbers
            return (stored.to(torch.int64) - its.whole).to(torch.float32).sub_(its.fraction).div_(its.step)
        if narrow or (its.easy and stored.dtype in NARROW):
            # The offset as a sum of two floats: the first difference is exact where the two are close (Sterbenz), so
            # nothing is lost to a large offset although all is float32.
            return stored.to(torch.float32, copy=True).sub_(its.upper).sub_(its.lower).div_(its.step32)
        return stored.to(torch.float64, copy=True).sub_(its.offset).div_(its.step).to(torch.float32)

    def unscale(self, scaled: Tensor, axes: int = 0) -> Tensor:
        """Scaled to values in the stored unit, float64 (float32 where the device has nothing wider)."""
        if self.how == "none":
            return scaled.to(widest_float(scaled.device))
        its = self._on(scaled.device, axes)
        return scaled.to(its.offset.dtype) * its.step + its.offset

    def _on(self, device: torch.device, axes: int) -> _OnDevice:
        """The numbers as tensors, kept on the device: no copy a batch."""
        if device not in self.on_device:
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                upper = self.offset.astype(np.float32)
                lower = (self.offset - upper).astype(np.float32)
                step32 = self.step.astype(np.float32)
                whole = np.rint(np.clip(self.offset, -(2.0**62), 2.0**62))
                fraction = (self.offset - whole).astype(np.float32)
            easy = np.abs(self.offset).max() < EASY and self.step.min() > 1 / EASY and self.step.max() < EASY

            def tensor(array: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
                return torch.from_numpy(array).to(dtype).to(device).reshape(-1, *[1] * axes)

            wide = widest_float(device)
            self.on_device[device] = _OnDevice(
                tensor(self.offset, wide),
                tensor(self.step, wide),
                tensor(upper),
                tensor(lower),
                tensor(step32),
                tensor(whole, torch.int64),
                tensor(fraction),
                bool(easy),
            )
        return self.on_device[device]

    def to_json(self) -> dict[str, Any]:
        saved: dict[str, Any] = {"how": self.how, "constant": list(self.constant)}
        saved |= {"binary": self.binary, "bounded": self.bounded}
        return saved if self.how == "none" else saved | {"offset": self.offset.tolist(), "step": self.step.tolist()}

    @classmethod
    def from_json(cls, saved: Any, parts: int) -> Self:
        """The scaling that ``to_json`` described. Raises DamagedFileError for what it never writes."""
        fields = Saved(saved, "the saved scaling")
        how = fields.word("how", LEARNED)
        offset, step = np.zeros(1), np.ones(1)  # not as long as the file claims: that may be any number
        if how != "none":
            offset, step = fields.numbers("offset", parts), fields.numbers("step", parts)
            if not (step > 0).all():
                raise fields.refuse("step", "numbers above 0")
        constant = tuple(fields.integers("constant", below=parts))
        return cls(how, offset, step, constant, fields.flag("binary"), fields.flag("bounded"))


class Extent(NamedTuple):
    """Of each part: least and largest value in the array's dtype, and the sum, float64, where asked for. (k,) each."""

    low: np.ndarray
    high: np.ndarray
    sums: np.ndarray


def extent_of(array: np.ndarray, origin: Origin, what: str = "items", sums: bool = False) -> Extent:
    """Least and largest value of each part of (n, k) or (n, k, t), n >= 1, and with ``sums`` its sum, in one pass over
    the memory.

    Raises DataError that names the columns or items where there is NaN or infinity, or for values whose differences
    would overflow float64.
    """
    axes = (0, *range(2, array.ndim))

    def of_rows(some: Sequence[slice]) -> Extent:
        low, high = array[some[0]].min(axis=axes), array[some[0]].max(axis=axes)
        total = np.zeros(array.shape[1])
        for rows in some:
            part = array[rows]
            low, high = np.minimum(low, part.min(axis=axes)), np.maximum(high, part.max(axis=axes))
            if sums:
                with np.errstate(over="ignore", invalid="ignore"):
                    total += part.sum(axis=axes, dtype=np.float64)
        return Extent(low, high, total)

    slices = list(chunks(array))
    lows, highs, totals = zip(*in_threads(of_rows, [slices[i : i + SLICES] for i in range(0, len(slices), SLICES)]),
                              strict=True)  # fmt: skip
    low, high = np.minimum.reduce(lows), np.maximum.reduce(highs)  # NaN where there is one
    if array.dtype.kind == "f" and not (np.isfinite(low).all() and np.isfinite(high).all()):
        refuse_non_finite(array if array.ndim == 2 else np.swapaxes(array, 1, 2), origin, what)
    if array.dtype == np.float64 and (low.min() < -LARGEST or high.max() > LARGEST):
        value = low.min() if low.min() < -LARGEST else high.max()
        raise DataError(
            f"the {what} hold {value:.6g}, so close to the largest 64-bit float that differences overflow; divide such"
            " columns by a power of ten first"
        )
    return Extent(low, high, np.sum(totals, axis=0))


def require_fit(format: Format) -> None:
    """scikit-learn's NotFittedError for a format that has learned nothing yet."""
    if not hasattr(format, "spec"):
        from sklearn.exceptions import NotFittedError

        raise NotFittedError(f"this {type(format).__name__} has learned nothing yet: call fit(items) first")


def _zeros_and_ones(array: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    if low.min() != 0 or high.max() != 1:
        return False
    if array.dtype.kind != "f":
        return True
    return all(bool(np.isin(array[rows], (0, 1)).all()) for rows in chunks(array))


def _equal_but_for_rounding(array: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Parts whose values differ by four times the dtype's relative precision at most, and are not whole numbers.

    Such are results of arithmetic that should be equal (rows divided by their sum): brought to unit deviation their
    rounding errors would look like data. Half precision is left out: there such differences may well be data.
    """
    if array.dtype not in (np.float32, np.float64):
        return np.zeros(len(low), dtype=bool)
    with np.errstate(over="ignore"):
        size = np.maximum(np.abs(low), np.abs(high))
        precision = np.finfo(array.dtype).eps
        close = (low != high) & (high - low <= 4 * precision * size)
    for part in np.flatnonzero(close & (size < 2 / precision)):  # beyond, all floats are whole numbers
        column = array[:, part]
        close[part] = not np.array_equal(column, np.rint(column))
    return close


def _mean_and_deviation(array: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (of the population) of each part, float64; exactly (value, 0) for equal values."""
    centre = np.where(low == high, low, low / 2 + high / 2)  # halves first: the sum may overflow
    reach = high / 2 - low / 2
    unit = np.where((reach > 0) & ((reach < 1 / EASY) | (reach > EASY)), reach, 1.0)  # else squares go over or under
    axes = (0, *range(2, array.ndim))
    column = (-1, *[1] * (array.ndim - 2))
    letters = "nkt"[: array.ndim]

    def moments(some: Sequence[slice]) -> tuple[int, np.ndarray, np.ndarray]:
        count, mean, squares = 0, np.zeros(len(low)), np.zeros(len(low))
        for rows in some:
            part = array[rows].astype(np.float64)
            part -= centre.reshape(column)
            if (unit != 1).any():
                part /= unit.reshape(column)
            its = part.mean(axis=axes)
            part -= its.reshape(column)
            squares_here = np.einsum(f"{letters},{letters}->k", part, part)
            count, mean, squares = _together((count, mean, squares), (part.size // len(low), its, squares_here))
        return count, mean, squares

    slices = list(chunks(array))
    found = in_threads(moments, [slices[i : i + SLICES] for i in range(0, len(slices), SLICES)])
    count, mean, squares = functools.reduce(_together, found)
    return centre + unit * mean, unit * np.sqrt(squares / count)


def _together(
    one: tuple[int, np.ndarray, np.ndarray], other: tuple[int, np.ndarray, np.ndarray]
) -> tuple[int, np.ndarray, np.ndarray]:
    """Count, mean and squared distance from it of two lots as one (Chan, Golub & LeVeque 1979)."""
    total = one[0] + other[0]
    shift = other[1] - one[1]
    squares = one[2] + other[2] + shift**2 * (one[0] * other[0] / total)
    return total, one[1] + shift * (other[0] / total), squares
