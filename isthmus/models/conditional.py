"""What a cell of a table is likely to hold, given the others of its row: the exact answer where all is Gaussian.

A table's linear view (``isthmus.formats.layout``: numbers, and indicators of levels less their shares) gets a Gaussian
of full covariance, learned from rows with holes by expectation-maximisation (Dempster, Laird & Rubin 1977; Little &
Rubin 2019, section 11.2), its covariance shrunk as Ledoit & Wolf (2004) say. It has no bottleneck: what a code of K
numbers cannot hold of a row, it can still say of a missing cell. It knows straight lines alone, and a network bends; so
what both say is pooled, with weights learned on cells that neither has seen (stacking: Wolpert 1992, Breiman 1996).

Shapes: n rows; E elements of a row; F numbers of the linear view; M of them missing in a row, L levels of a choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from isthmus.formats.layout import Guess
from isthmus.formats.tables import TableFormat

__all__ = ["MOST_LINES", "Conditional", "Said", "conditional_of"]

ROWS = 5_000  # from which a covariance of some hundred numbers is known well enough
MOST_LINES = 256  # numbers of the linear view; beyond, columns stand alone: a row costs the cube of what it lacks
WORK = 2**27  # rows times squared numbers that a pass may take: less than a second
ROUNDS = 8  # of expectation and maximisation; later ones change the third digit
LEAST = 1e-6  # chance of a level, where a line goes below zero
BEFORE = 20.0  # cells that stand for what is believed before any is seen: of a column that it is as all the others
AT_ONCE = 2**21  # numbers of an array on the way: 16 MiB
BLOCK = 256  # rows of a product: a row's bits then do not depend on the others
STEP = 8  # holes of a row are filled up to a multiple of it, so that systems of one size are solved together


class Said(NamedTuple):
    """Of rows in the linear view: what is there, and means where nothing is (n, F); variances, 0 where it is there."""

    means: np.ndarray
    variances: np.ndarray


class Conditional:
    """A Gaussian of the linear view, and how much the model's own decoder is believed beside it.

    Parameters
    ----------
    mean : (F,) float64; covariance : (F, F) float64, positive definite, or (F,), the variances of columns that are
        taken to be independent, so that what is said of a cell is what the column is like
    trust : (E,) share of the decoder in the pool of both, from 0 to 1
    doubt : (E,) variance of the numbers about the pooled means, in the unit of the element; 0: that of the Gaussian

    Raises ValueError for arrays that do not go together.
    """

    def __init__(self, mean: np.ndarray, covariance: np.ndarray, trust: np.ndarray, doubt: np.ndarray) -> None:
        self.mean, self.covariance, self.trust, self.doubt = (
            np.asarray(array, dtype=np.float64) for array in (mean, covariance, trust, doubt)
        )
        size = len(self.mean)
        shapes = self.covariance.shape, self.doubt.shape
        if self.mean.ndim != 1 or self.trust.ndim != 1 or shapes not in (
            ((size, size), self.trust.shape), ((size,), self.trust.shape)
        ):  # fmt: skip
            raise ValueError("the arrays of the conditional Gaussian do not go together")
        if not ((self.trust >= 0) & (self.trust <= 1)).all() or not np.isfinite(self.mean).all():
            raise ValueError("the conditional Gaussian has values out of range")
        if self.covariance.ndim == 2:
            np.linalg.cholesky(self.covariance)  # LinAlgError, a ValueError, where it is none
        elif not (np.isfinite(self.covariance).all() and (self.covariance > 0).all()):
            raise ValueError("the conditional Gaussian has variances out of range")

    @classmethod
    def learned(cls, x: np.ndarray, elements: int) -> Conditional:
        """From rows of the linear view (n, F), NaN where a value is missing. The decoder is not believed as yet."""
        from sklearn.covariance import ledoit_wolf

        x = x.astype(np.float64)
        holes = np.isnan(x)
        if x.shape[1] > MOST_LINES:
            there = np.maximum((~holes).sum(0), 1)
            mean = np.where(holes, 0.0, x).sum(0) / there
            variance = np.square(np.where(holes, 0.0, x - mean)).sum(0) / there
            return cls(mean, np.maximum(variance, 1e-9), np.zeros(elements), np.zeros(elements))
        whole, unknown = np.where(holes, 0.0, x), np.zeros((x.shape[1], x.shape[1]))
        mean, covariance = whole.mean(0), np.eye(x.shape[1])
        for _ in range(ROUNDS if holes.any() else 1):
            mean = whole.mean(0)
            covariance = ledoit_wolf(whole - mean, assume_centered=True)[0] + unknown / len(x)
            covariance += 1e-9 * max(float(np.trace(covariance)) / len(mean), 1e-30) * np.eye(len(mean))
            unknown = np.zeros_like(covariance)
            for rows, places, filled, spread in _solved(x, mean, np.linalg.inv(covariance)):
                real = places < len(mean)
                whole[np.broadcast_to(rows[:, None], places.shape)[real], places[real]] = filled[real]
                pairs = real[:, :, None] & real[:, None, :]
                at = (places[:, :, None] * len(mean) + places[:, None, :])[pairs]
                unknown += np.bincount(at, spread[pairs], unknown.size).reshape(unknown.shape)
        return cls(mean, covariance, np.zeros(elements), np.zeros(elements))

    def require(self, format: Any) -> Self:
        """Itself, where it is of a table with these columns. ValueError otherwise."""
        lines = format.lines()._lines if isinstance(format, TableFormat) else None
        if lines is None or (lines.width, lines.elements) != (len(self.mean), len(self.trust)):
            raise ValueError("the conditional Gaussian is that of another table")
        return self

    @cached_property
    def _precision(self) -> np.ndarray:
        return np.linalg.inv(self.covariance)

    def said(self, x: Tensor) -> Said:
        """Of rows of the linear view (n, F), NaN where a value is missing: each row for itself."""
        known = x.double().numpy()
        if self.covariance.ndim == 1:
            holes = np.isnan(known)
            return Said(np.where(holes, self.mean, known), np.where(holes, self.covariance, 0.0))
        means, variances = known.copy(), np.zeros_like(known)
        for rows, places, filled, spread in _solved(known, self.mean, self._precision):
            real = places < len(self.mean)
            at = np.broadcast_to(rows[:, None], places.shape)[real], places[real]
            means[at], variances[at] = filled[real], np.diagonal(spread, axis1=1, axis2=2)[real]
        return Said(means, variances)

    # ---- beside the decoder ------------------------------------------------------------------------------------------

    def guess(self, form: TableFormat, said: Said) -> Guess:
        """What the Gaussian says of the elements."""
        lines = form._lines
        scales, shares = lines.scales.double().numpy(), lines.shares.double().numpy()
        values = said.means / scales + shares
        variances = said.variances / np.square(scales)
        numbers: dict[int, tuple[np.ndarray, Any]] = {}
        chances = {}
        for kept, element in enumerate(lines.kept):
            start, count = int(lines.starts[kept]), int(lines.levels[kept])
            if not count:
                numbers[element] = values[:, start], variances[:, start]
            else:
                chance = np.clip(values[:, start : start + count], LEAST, None)
                chances[element] = chance / chance.sum(1, keepdims=True)
        return Guess(len(values), numbers, chances)

    def pooled(self, own: Guess, form: TableFormat, said: Said) -> Guess:
        """What the decoder says and what the Gaussian says, of all elements in a pool: means and chances, weighted.

        Elements that the linear view leaves out are the decoder's.
        """
        other = self.guess(form, said)
        numbers, chances = dict(own.numbers), dict(own.chances)
        for element, (mean, variance) in other.numbers.items():
            share, doubt = self.trust[element], self.doubt[element]
            numbers[element] = (share * own.numbers[element][0] + (1 - share) * mean if share else mean,
                                float(doubt) if doubt else variance)  # fmt: skip
        for element, chance in other.chances.items():
            share = self.trust[element]
            chances[element] = share * own.chances[element] + (1 - share) * chance if share else chance
        return Guess(own.rows, numbers, chances)

    def weigh(self, own: Guess, form: TableFormat, said: Said, x: np.ndarray, asked: np.ndarray) -> None:
        """Learn ``trust`` and ``doubt`` from cells (n, E) that were hidden from both: their truth x, and which.

        Numbers: the weights of least squared error; choices: those of the greatest likelihood of a mixture. Each
        column's own, as if some more cells had said what all columns of its kind say together.
        """
        other = self.guess(form, said)
        apart, errors = {}, {}
        for element, (mean, _) in other.numbers.items():
            rows = asked[:, element]
            apart[element] = (own.numbers[element][0] - mean)[rows]
            errors[element] = x[rows, element] - mean[rows]
        if apart:
            square = {element: np.square(values).sum() for element, values in apart.items()}
            along = {element: float(apart[element] @ errors[element]) for element in apart}
            cells = sum(map(len, apart.values()))
            usual = sum(square.values()) / max(cells, 1) + 1e-30
            share = np.clip((sum(along.values()) + 0.5 * BEFORE * usual) / ((cells + BEFORE) * usual), 0, 1)
            before = BEFORE * usual
            for element in apart:
                self.trust[element] = np.clip((along[element] + before * share) / (square[element] + before), 0, 1)
            left = {element: np.square(errors[element] - self.trust[element] * apart[element]) for element in apart}
            usual = sum(map(np.sum, left.values())) / max(cells, 1)
            for element, squares in left.items():
                self.doubt[element] = (squares.sum() + BEFORE * usual) / (len(squares) + BEFORE)
        told = {}
        for element, chance in other.chances.items():
            rows = asked[:, element]
            level = x[rows, element].astype(np.int64)
            at = np.arange(len(level)), level
            told[element] = np.stack([own.chances[element][rows][at], chance[rows][at]])
        if told:
            share = _mixed(np.concatenate(list(told.values()), axis=1), 0.5)
            for element, both in told.items():
                self.trust[element] = _mixed(both, share)

    def drawn(self, scaled: Tensor, own: Guess, pool: Guess, form: TableFormat, said: Said, generator: Any) -> Tensor:
        """The decoder's draws, scaled, moved to where the pool is, so that what belongs together stays together.

        Numbers keep their distance from what the decoder meant, in deviations; of choices some are the Gaussian's.
        """
        linear = form.view != "columns"
        out = (form._view.gather(scaled) if linear else scaled).double().numpy().copy()
        for element in self.guess(form, said).numbers:
            (before, spread), (mean, variance) = own.numbers[element], pool.numbers[element]
            ratio = np.sqrt(np.maximum(variance, 1e-30) / max(float(np.mean(spread)), 1e-30))
            out[:, element] = mean + (out[:, element] - before) * ratio
        for element, chance in self.guess(form, said).chances.items():
            uniform = torch.rand(2, len(out), generator=generator, dtype=torch.float64).numpy()
            level = (chance.cumsum(1) < uniform[1][:, None]).sum(1).clip(max=chance.shape[1] - 1)
            out[:, element] = np.where(uniform[0] < self.trust[element], out[:, element], level)
        elements = torch.from_numpy(out).float()
        return form._view.spread(elements) if linear else elements

    # ---- files -------------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it, by name."""
        return {"mean": self.mean, "covariance": self.covariance, "trust": self.trust, "doubt": self.doubt}


def conditional_of(format: TableFormat, stored: Tensor, rows: Any = None, alone: bool = False) -> Conditional | None:
    """Learned from stored rows of a table, of those that are named some from all over. None where it is of one row, or
    too wide, unless ``alone``: then columns are taken to be independent, which is for those who weigh it."""
    form = format.lines()
    places = range(len(stored)) if rows is None else rows
    size = form.spec.size
    if len(places) < 2 or (size > MOST_LINES and not alone):
        return None
    wanted = max(min(ROWS, WORK // (size if size > MOST_LINES else size**2)), 2)
    x = form.scale(stored[torch.as_tensor(np.asarray(places[:: -(-len(places) // wanted)]))])
    return Conditional.learned(x.numpy(), form._lines.elements)


def _solved(
    x: np.ndarray, mean: np.ndarray, precision: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Rows with holes, some at a time: which (B,), places of their holes (B, M), means (B, M), covariances (B, M, M).

    Given what is there, the precision of what is missing is a part of the whole precision. A place of F is no hole.
    """
    holes = np.isnan(x)
    size = len(mean)
    counts = holes.sum(1)
    incomplete = np.flatnonzero(counts)
    if not len(incomplete):
        return
    wide = np.zeros((size, max(size, 16)))  # narrow products have bits that depend on a row's place
    wide[:, :size] = precision
    counts = -(-counts // STEP) * STEP
    for count in np.unique(counts[incomplete]):
        of_count = incomplete[counts[incomplete] == count]
        at_once = max(AT_ONCE // max(int(count) ** 2, size), 1)
        for rows in np.split(of_count, range(at_once, len(of_count), at_once)):
            own = holes[rows]
            places = np.argsort(~own, axis=1, kind="stable")[:, :count]
            if count > size:
                places = np.pad(places, ((0, 0), (0, count - size)), constant_values=size)
            places = np.where(np.arange(count) < own.sum(1)[:, None], places, size)
            apart = np.zeros((-(-len(rows) // BLOCK) * BLOCK, size))
            apart[: len(rows)] = np.where(own, 0.0, x[rows] - mean)
            along = np.concatenate([part @ wide for part in np.split(apart, len(apart) // BLOCK)])[: len(rows), :size]
            real = places < size
            inside = np.where(real, places, 0)
            part = precision[inside[:, :, None], inside[:, None, :]]
            part = np.where(real[:, :, None] & real[:, None, :], part, np.eye(count))
            spread = np.linalg.inv(part)
            rest = np.where(real, np.take_along_axis(along, inside, 1), 0.0)
            yield rows, places, mean[inside] - (spread * rest[:, None, :]).sum(2), spread


def _mixed(both: np.ndarray, before: float) -> float:
    """Share of the first of two in a mixture, from what each said of the truth (2, m), as likely as can be."""
    share = before
    for _ in range(30):
        first = share * both[0]
        of_first = first / np.maximum(first + (1 - share) * both[1], 1e-300)
        share = float((of_first.sum() + BEFORE * before) / (both.shape[1] + BEFORE))
    return share
