"""Where the columns of a table lie: in a stored row, among its elements, and in its linear view.

Shapes: n rows; R bytes of a stored row; E elements of a row; F numbers of the linear view; L levels of a choice.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from isthmus.formats.codes import BASE, FAR, MISSING, Code, is_missing
from isthmus.formats.columns import Choice, Text
from isthmus.formats.quantities import Number, Time
from isthmus.likelihoods.table import Table

__all__ = ["Guess", "Layout", "Lines", "spread_column"]

STORES = {
    "f8": torch.float64,
    "i8": torch.int64,
    "f4": torch.float32,
    "i4": torch.int32,
    "u1": torch.uint8,
}  # widest first
SHOWN = 8  # bytes of a text in the linear view
BESIDE = 0.5  # of the weight of a choice, in the weighed view: whether a number is its column's frequent value
EVENEST = 0.02  # a level's variance counts as at least so much in the linear view, so that rare levels do not explode


class Guess(NamedTuple):
    """What is said of every element of n rows: numbers as (means (n,), variance), choices as chances (n, L).

    A variance is a number, or (n,).
    """

    rows: int
    numbers: dict[int, tuple[np.ndarray, Any]]
    chances: dict[int, np.ndarray]

    @classmethod
    def of(cls, likelihood: Table, params: Tensor) -> Guess:
        """By a likelihood and the decoder's output."""
        means, _ = likelihood.parts(params)
        variances = likelihood.doubt.cpu().double().numpy()
        numbers = {e: (means[:, k].double().numpy(), float(variances[k])) for k, e in enumerate(likelihood.numbers)}
        return cls(len(params), numbers, {e: c.double().numpy() for e, c in likelihood.chances(params).items()})

    def drawn(self, generator: torch.Generator) -> Tensor:
        """(rows, elements) float32: numbers with their variance, levels by their chances; NaN for what is not known."""
        out = torch.full((self.rows, max([*self.numbers, *self.chances], default=-1) + 1), torch.nan)
        for element, (mean, variance) in self.numbers.items():
            noise = torch.randn(self.rows, generator=generator, dtype=torch.float64).numpy()
            out[:, element] = torch.from_numpy(mean + np.sqrt(variance) * noise)
        for element, chances in self.chances.items():
            uniform = torch.rand(self.rows, 1, generator=generator, dtype=torch.float64).numpy()
            level = (chances.cumsum(1) < uniform).sum(1).clip(max=chances.shape[1] - 1)
            out[:, element] = torch.from_numpy(level)
        return out

    def modes(self, first: int, elements: int) -> np.ndarray:
        """(n, elements): means of numbers and likeliest levels; NaN for what is not known."""
        out = np.full((self.rows, elements), np.nan)
        for place in range(elements):
            if first + place in self.numbers:
                out[:, place] = self.numbers[first + place][0]
            elif first + place in self.chances:
                out[:, place] = self.chances[first + place].argmax(1)
        return out


class _Numbers(NamedTuple):
    """The numbers of one stored dtype, k of them, as tensors (k,) float64."""

    places: Tensor
    elements: Tensor
    centre: Tensor
    narrow: Tensor  # by which heavy ones are multiplied, and
    mean: Tensor
    scale: Tensor  # all of them: dividing takes longer
    heavy: Tensor  # numbers of those with heavy tails
    spiked: Tensor  # numbers of those with a spike
    spike: Tensor  # (spiked,)
    chosen: Tensor  # (spiked,) elements of the choices

    def spread(self, values: Tensor, store: str, out: Tensor) -> None:
        if values.device != self.places.device:
            return _Numbers(*(tensor.to(values.device) for tensor in self)).spread(values, store, out)
        y = _columns(values, self.places).double()  # a copy, or the caller's own numbers
        at = y[:, self.spiked] == self.spike if len(self.spiked) else None
        y.sub_(self.centre)
        if len(self.heavy):
            y[:, self.heavy] = _asinh(y[:, self.heavy].mul_(self.narrow[self.heavy]))
        y.sub_(self.mean).mul_(self.scale).clamp_(-FAR, FAR)
        if store[0] != "f":  # of floats the mark is NaN, which stays what it is
            y.masked_fill_(_equal(_columns(values, self.places), int(MISSING[store])), torch.nan)
        if at is not None:
            there = y[:, self.spiked]
            out[:, self.chosen] = at.float().masked_fill_(there.isnan(), torch.nan)
            y[:, self.spiked] = there.masked_fill_(at, torch.nan)
        _put(out, self.elements, y)
        return None


def _asinh(x: Tensor) -> Tensor:
    """On the CPU by NumPy, which takes a tenth of PyTorch's time."""
    return torch.from_numpy(np.arcsinh(x.numpy())) if x.device.type == "cpu" else x.asinh()


def _equal(x: Tensor, value: int) -> Tensor:
    """Likewise: a quarter of the time."""
    return torch.from_numpy(x.numpy() == value) if x.device.type == "cpu" else x == value


def _columns(values: Tensor, places: Tensor) -> Tensor:
    """Some columns; those of neighbours without a copy."""
    first, last = int(places[0]), int(places[-1])
    if last - first + 1 == len(places) and bool((places[1:] > places[:-1]).all()):
        return values[:, first : last + 1]
    return values.index_select(1, places)


def _put(out: Tensor, places: Tensor, values: Tensor) -> None:
    """Columns to their places. On the CPU neighbours together, in half of the time."""
    if out.device.type != "cpu":
        out[:, places] = values.to(out.dtype)
        return
    to = places.tolist()
    starts = [0, *(j for j in range(1, len(to)) if to[j] != to[j - 1] + 1), len(to)]
    for first, last in pairwise(starts):
        out[:, to[first] : to[last - 1] + 1] = values[:, first:last]


class _Choices(NamedTuple):
    """The choices of one stored dtype, digit by digit: (k,) int64."""

    places: Tensor
    elements: Tensor
    divide: Tensor  # 256 to the power of the digit's place
    modulus: Tensor

    def spread(self, values: Tensor, store: str, out: Tensor) -> None:
        if values.device != self.places.device:
            return _Choices(*(tensor.to(values.device) for tensor in self)).spread(values, store, out)
        codes = _columns(values, self.places)
        missing = _equal(codes, int(MISSING[store]))
        if len(self.places) > 1 and bool((self.modulus == BASE).any()):  # choices of many levels, as digits
            codes = codes.long().div(self.divide, rounding_mode="floor").remainder(self.modulus)
        _put(out, self.elements, codes.float().masked_fill_(missing, torch.nan))
        return None


class _Group(NamedTuple):
    store: str
    bytes: slice
    numbers: _Numbers | None
    choices: _Choices | None


def spread_column(code: Code, stored: np.ndarray, out: np.ndarray) -> None:
    """Stored numbers (n, width) of one column to its elements, the first lines of ``out`` (at least E, n) float32.

    These are the bits of ``TableFormat.scale``, to which rows go that lie side by side; of many rows this takes half of
    the time.
    """
    values = stored[:, 0]
    if isinstance(code, Number):
        _number_into(code, values, out)
    elif isinstance(code, Time):
        code.spread_into(values, out[: 1 + len(code.sizes)])
    elif isinstance(code, Choice) and code.digits == 1:
        out[0] = values
        np.copyto(out[0], np.nan, where=is_missing(values, code.store))
    else:
        found = code.spread(stored)
        out[: found.shape[1]] = found.T


def _number_into(code: Number, values: np.ndarray, out: np.ndarray) -> None:
    """A number (n,), in the steps in which ``_Numbers.spread`` takes many."""
    centre = code.centre if code.heavy else 0.0
    if code.heavy or code.bias:
        y = np.subtract(values, centre - code.bias, dtype=np.float64)
        if code.heavy:
            y *= 1 / code.spread_
            np.arcsinh(y, out=y)
        y -= code.mean
    else:
        y = np.subtract(values, code.mean, dtype=np.float64)
    y *= 1 / code.deviation
    out[0] = np.clip(y, -FAR, FAR, out=y)
    whole = code.store[0] != "f"
    if whole or code.spike is not None:
        missing = is_missing(values, code.store)
        if whole:  # of floats the mark is NaN, which stays what it is
            np.copyto(out[0], np.nan, where=missing)
        if code.spike is not None:
            at = values.astype(np.float64) == code.spike - code.bias
            out[1] = at
            np.copyto(out[1], np.nan, where=missing)
            np.copyto(out[0], np.nan, where=at)


class Layout(NamedTuple):
    """Where columns lie: stored rows hold the widest dtypes first, elements are in the order of the columns."""

    size: int  # bytes of a row
    elements: int
    places: list[slice]  # of each column's bytes
    firsts: list[int]  # of each column, its first element
    groups: list[_Group]
    others: list[tuple[Code, slice, int]]  # codes that go one by one: bytes, first element

    @classmethod
    def of(cls, codes: tuple[Code, ...]) -> Layout:
        places: dict[int, slice] = {}
        firsts = np.cumsum([0, *(len(code.elements) for code in codes)]).tolist()
        groups, others = [], []
        size = 0
        for store in STORES:
            start, itemsize = size, np.dtype(store).itemsize
            numbers, choices = [], []
            for number, code in enumerate(codes):
                if code.store != store:
                    continue
                places[number] = slice(size, size + code.width * itemsize)
                place = (size - start) // itemsize
                size += code.width * itemsize
                if isinstance(code, Number):
                    numbers.append((place, firsts[number], code))
                elif isinstance(code, Choice):
                    choices.append((place, firsts[number], code))
                elif code.elements:
                    others.append((code, places[number], firsts[number]))
            if numbers or choices:
                groups.append(_Group(store, slice(start, size), _numbers(numbers), _choices(choices)))
        return cls(size, firsts[-1], [places[n] for n in range(len(codes))], firsts[:-1], groups, others)


def _numbers(some: list[tuple[int, int, Number]]) -> _Numbers | None:
    if not some:
        return None
    codes = [code for _, _, code in some]
    spiked = [number for number, code in enumerate(codes) if code.spike is not None]

    def doubles(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    return _Numbers(
        torch.tensor([place for place, _, _ in some]),
        torch.tensor([first for _, first, _ in some]),
        doubles([(code.centre if code.heavy else 0.0) - code.bias for code in codes]),
        doubles([1 / code.spread_ if code.heavy else 1.0 for code in codes]),
        doubles([code.mean for code in codes]),
        doubles([1 / code.deviation for code in codes]),
        torch.tensor([number for number, code in enumerate(codes) if code.heavy], dtype=torch.int64),
        torch.tensor(spiked, dtype=torch.int64),
        doubles([(codes[number].spike or 0.0) - codes[number].bias for number in spiked]),
        torch.tensor([some[number][1] + 1 for number in spiked], dtype=torch.int64),
    )


def _choices(some: list[tuple[int, int, Choice]]) -> _Choices | None:
    if not some:
        return None
    digits = [
        (place, first + digit, BASE**digit, BASE if code.digits > 1 else 2**31)
        for place, first, code in some
        for digit in range(code.digits)
    ]
    return _Choices(*(torch.tensor(column) for column in zip(*digits, strict=True)))


class Lines:
    """The linear view: where each element's numbers lie in it, and how they are scaled.

    A number counts 1 / (elements of its column) of its variance; the indicators of a choice, less their shares, are
    divided so that their variances sum to the same, over the rows that have a value. So each column weighs as much as
    any other.

    ``weighed``: columns weigh as they do for networks (`likelihoods.Table`). Columns of numbers have variance one,
    those of choices the chance that two rows differ, ``Table.LEAST`` at least. A number beside a frequent value holds
    that value where the column does, and whether it does weighs ``BESIDE`` of what a choice does.
    """

    def __init__(self, codes: tuple[Code, ...], weighed: bool = False) -> None:
        self.kept: list[int] = []  # elements in this view
        starts: list[int] = []
        levels: list[int] = []
        scales: list[float] = []
        shares: list[float] = []
        spikes: list[tuple[int, float]] = []
        weights: list[float] = []  # by which numbers of the view are multiplied where it is weighed
        element = width = 0
        for code in codes:
            columns = code.elements[:SHOWN] if isinstance(code, Text) else code.elements
            weight = Table.weight(columns)
            for number, column in enumerate(columns):
                count = column.levels or 1
                share = np.array(column.shares) if column.levels else np.zeros(1)
                uneven = (1 - float(np.square(share).sum())) if column.levels else 1.0
                uneven = max(uneven * code.presence[number], EVENEST)
                self.kept.append(element + number)
                starts.append(width)
                levels.append(column.levels or 0)
                scales += [1 / np.sqrt(uneven * len(columns))] * count
                if column.spike is not None:
                    spikes.append((len(starts) - 1, column.spike))
                    weights.append(uneven * len(columns) / (2 * column.nats))
                elif spikes and spikes[-1][0] == len(starts) - 2:
                    weights += [BESIDE * uneven * len(columns)] * count
                else:
                    weights += [weight] * count
                shares += share.tolist()
                width += count
            element += len(code.elements)
        self.width, self.elements = width, element
        self.starts, self.levels = np.array(starts), np.array(levels)
        self.numbers, self.choices = np.flatnonzero(self.levels == 0), np.flatnonzero(self.levels)
        self.plain = torch.tensor(scales, dtype=torch.float32)  # scales of the view that is not weighed
        self.scales = torch.tensor(np.array(scales) * np.sqrt(weights), dtype=torch.float32) if weighed else self.plain
        self.spikes = spikes if weighed else []  # which of those kept, where its frequent value lies
        self.shares = torch.tensor(shares, dtype=torch.float32)
        owner = np.repeat(np.arange(len(levels)), np.maximum(self.levels, 1))
        self.owner = torch.from_numpy(owner)  # the element, of those kept, of each number of the view
        self.is_choice = torch.from_numpy(self.levels[owner] > 0)

    def spread(self, elements: Tensor) -> Tensor:
        """(n, E) to (n, F) float32, NaN where the element is."""
        x = elements.cpu()
        if self.spikes:
            x = x.clone()
            for element, spike in self.spiked:
                x[:, element].masked_fill_(x[:, element + 1] == 1, spike)
        out = ((0 - self.shares) * self.scales).expand(len(x), -1).clone()  # of a choice: all levels but one
        numbers = torch.from_numpy(self.starts[self.numbers])
        kept = torch.tensor(self.kept)
        if len(numbers):
            _put(out, numbers, x.index_select(1, kept[self.numbers]) * self.scales[numbers])
        if len(self.choices):
            codes = x.index_select(1, kept[self.choices])
            starts = torch.from_numpy(self.starts[self.choices])
            at = torch.nan_to_num(codes, nan=0.0).long() + starts
            out.scatter_(1, at, ((1 - self.shares) * self.scales)[at])
            for column, choice in zip(codes.unbind(1), self.choices, strict=True):
                if len(rows := torch.from_numpy(np.flatnonzero(np.isnan(column.numpy())))):
                    out[rows, self.starts[choice] : self.starts[choice] + self.levels[choice]] = torch.nan
        return out.to(elements.device)

    @property
    def spiked(self) -> list[tuple[int, float]]:
        """Elements whose frequent value counts as a number, and where it lies; the next element tells where it is."""
        return [(self.kept[place], spike) for place, spike in self.spikes]

    def unweighed(self, lines: Tensor) -> Tensor:
        """Of the weighed view (n, F) the plain one: numbers are missing where columns hold their frequent value."""
        out = lines * (self.plain / self.scales).to(lines.device)
        for place, _ in self.spikes:
            number, choice = self.starts[place], self.starts[place + 1]
            out[:, number].masked_fill_(lines[:, choice + 1] > 0, torch.nan)
        return out

    def gather(self, lines: Tensor) -> Tensor:
        """(n, F) to (n, E): the level of the largest indicator; what the view leaves out is missing."""
        values = (lines.cpu() / self.scales + self.shares).float()
        out = torch.full((len(values), self.elements), torch.nan)
        kept = np.array(self.kept)
        out[:, kept[self.numbers]] = values[:, self.starts[self.numbers]]
        for choice in self.choices:
            start = self.starts[choice]
            out[:, kept[choice]] = values[:, start : start + self.levels[choice]].argmax(1).float()
        return out

    def guess(self, likelihood: Any, params: Tensor) -> Guess:
        """What a Gaussian around numbers of this view (n, 1, F) says of the elements."""
        lines = likelihood.mean(params).cpu()
        values = (lines / self.scales + self.shares).double().numpy()
        noise = math.exp(float(likelihood.shared_log_variance()))
        numbers, chances = {}, {}
        for kept, element in enumerate(self.kept):
            start, count = int(self.starts[kept]), int(self.levels[kept])
            if not count:
                numbers[element] = (values[:, start], noise / float(self.scales[start]) ** 2)
            else:
                chance = np.clip(values[:, start : start + count], 1e-6, None)
                chances[element] = chance / chance.sum(1, keepdims=True)
        return Guess(len(values), numbers, chances)

    def beside(self, guess: Guess) -> Guess:
        """What ``guess`` says, its numbers from the mean of all rows to that of those beside their frequent value."""
        numbers = dict(guess.numbers)
        for element, spike in self.spiked:
            (mean, variance), share = numbers[element], np.minimum(guess.chances[element + 1][:, 1], 0.9)
            numbers[element] = mean + share / (1 - share) * (mean - spike), variance
        return guess._replace(numbers=numbers)

    def means(self, likelihood: Any, params: Tensor) -> Tensor:
        """Means and chances of a `likelihoods.Table`, (n, F) float32."""
        numbers, _ = likelihood.parts(params)
        chances = likelihood.chances(params)
        out = torch.empty(len(params), self.width)
        column = {element: place for place, element in enumerate(likelihood.numbers)}
        for kept, element in enumerate(self.kept):
            start = int(self.starts[kept])
            if element in column:
                out[:, start] = numbers[:, column[element]].cpu()
            else:
                out[:, start : start + int(self.levels[kept])] = chances[element].cpu()
        return torch.where(self.is_choice, out - self.shares, out) * self.scales
