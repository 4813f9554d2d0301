"""Which kind a column of a table is, and its code, found in one pass with bounded memory.

Batches go in, and what is kept of them adds up: counts, moments, a t-digest of quantiles (Dunning & Ertl 2019), levels
up to a bound and a HyperLogLog count of different values beyond it, both from Apache DataSketches. A stream and the
same rows in memory give the same kinds.

========================= =============================================================================================
Arrow type                kind
========================= =============================================================================================
boolean                   boolean
integers                  integer; identifier where they number the rows, with hardly a gap: they rise from row to row,
                          or all are different in any order; constant
floats, decimals          integer where all are whole numbers, else continuous; constant
dictionary                ordinal where its levels have an order, else category
text                      category where, on the mean, a level is seen twice; else text where there are spaces or some
                          values repeat, and identifier where none does
timestamps, dates, times  datetime
durations                 duration, a number
any, without a value      empty
========================= =============================================================================================

A table of one row is learned, too: each value is then a choice of one level. What the user says a column holds is
believed, even of a constant one.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from isthmus.errors import DataError, FormatError, MissingExtra
from isthmus.formats.arrays import listing
from isthmus.formats.codes import CYCLES, LARGEST, SECONDS, Code, floats, starts_of
from isthmus.formats.columns import Choice, LeftOut, Text, plain
from isthmus.formats.quantities import SMALL, Number, Time, waves
from isthmus.formats.saved import shortened

__all__ = ["KINDS", "Found", "found_for"]

KINDS = (
    "continuous",
    "integer",
    "boolean",
    "category",
    "ordinal",
    "datetime",
    "duration",
    "text",
    "identifier",
    "ignore",
)
MOST_LEVELS = 2**19  # levels kept of a column, the most frequent; their names stand in the model's file
MOST_BYTES = 8 * 2**20  # of all of their names together
BINS = 8  # of a number, for networks: as many rows in each
EXACT = 4096  # numbers of a column that are kept as they are, for quantiles
DIGEST = 500  # centroids of a t-digest: quantiles within some thousandths
SPIKE = 0.2  # share of the rows from which one value of a number is a choice of its own
FEW = 20  # different values below which a number has no spike: its values are all frequent
HEAVY = 1.5  # deviation over the deviation of the middle nine tenths from which tails are heavy; 1.0 for a normal
NARROW = 1e-150  # deviations whose squares 64-bit floats do not hold
FARTHEST = 20.0  # deviations of the middle nine tenths at which one value alone makes the tails heavy
FEWEST = 50  # rows from which a column can be an identifier
GAPS = 1.5  # numbers between the least and the greatest over rows, up to which different numbers count the rows
LOOKED_AT = 2**14  # different numbers of a column that are looked at for one that comes twice
MOST_DECIMALS = 6  # that a column of measurements can have: beyond, digits are what arithmetic left
LONGEST = 32  # bytes of text that are kept
NUMERAL = re.compile(r"\s*[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?\s*")  # a text that reads as one number


def found_for(name: str, arrow: Any, kind: str | None) -> Found:
    """What looks at a column of an Arrow type. ``kind`` is the user's word for it, or None to find out.

    Raises FormatError for a word that does not go with the type.
    """
    from pyarrow import types

    categorical = types.is_dictionary(arrow)
    inner = arrow.value_type if categorical else arrow
    textual = types.is_string(inner) or types.is_large_string(inner) or types.is_string_view(inner)
    moment = types.is_temporal(inner) and not types.is_duration(inner)
    number = types.is_integer(inner) or types.is_floating(inner) or types.is_decimal(inner) or types.is_duration(inner)
    if kind in ("identifier", "ignore") or types.is_null(arrow):
        return Ignored(name, arrow, kind)
    if kind in ("category", "ordinal", "boolean"):
        return Levels(name, arrow, kind)
    allowed = {"continuous": number and not categorical, "integer": number and not categorical, "text": textual,
               "duration": types.is_duration(arrow), "datetime": moment and not categorical}  # fmt: skip
    if kind is not None and not allowed[kind]:
        raise FormatError(
            f'kinds={{"{name}": "{kind}"}}: the column holds {arrow}, which cannot be read so; give '
            + listing(f'"{word}"' for word in KINDS if allowed.get(word, True))
        )
    if types.is_boolean(inner) or categorical or textual:
        return Levels(name, arrow, kind)
    return Moments(name, arrow, kind) if moment else Numbers(name, arrow, kind)


class Found(ABC):
    """What is known of one column so far. Abstract; its children are final.

    Parameters
    ----------
    name : of the column
    arrow : its Arrow type
    kind : the user's word for it, or None
    """

    def __init__(self, name: str, arrow: Any, kind: str | None) -> None:
        self.name, self.arrow, self.kind = name, arrow, kind
        self.rows = self.nulls = 0

    def add(self, array: Any) -> None:
        """One more Arrow array of the column, in the order of the rows."""
        self.rows += len(array)
        self.nulls += array.null_count
        if array.null_count < len(array):
            self._add(array.drop_null() if array.null_count else array)

    def finish(self) -> Code:
        """The code of the column."""
        if self.nulls == self.rows:
            return self._left_out("empty", None, "no row has a value")
        return self._finish()

    @abstractmethod
    def _add(self, array: Any) -> None:
        """An Arrow array without nulls, one value at least."""

    @abstractmethod
    def _finish(self) -> Code:
        """The code, of one value at least."""

    def _left_out(self, kind: str, value: Any, note: str) -> LeftOut:
        return LeftOut(self.name, kind, str(self.arrow), self.missing, note, value)

    @property
    def missing(self) -> float:
        return self.nulls / max(self.rows, 1)

    def _one_level(self, value: Any) -> Code:
        """A constant is left out, unless it is missing somewhere: that is a choice, too."""
        if not self.nulls and self.rows > 1:
            return self._left_out("constant", value, "every row holds the same")
        note = "one value, or missing" if self.nulls else "one row"
        return Choice.of(self.name, "constant", str(self.arrow), self.missing, [value], [1], note)


class Ignored(Found):
    """A column to leave out because the user says so, or because its type holds nothing."""

    def _add(self, array: Any) -> None:
        pass

    def _finish(self) -> Code:
        return self._left_out("identifier", None, "left out as asked")


class Numbers(Found):
    """Integers, floats, decimals and durations."""

    def __init__(self, name: str, arrow: Any, kind: str | None) -> None:
        super().__init__(name, arrow, kind)
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.low, self.high = math.inf, -math.inf
        self.whole = self.counting = True
        self.decimals: int | None = 0  # which all values have at most; None: more than are looked for
        self.two: set[float] = set()  # values of the first rows, three at most
        self.last: int | None = None
        self.different = _Different() if _is_integer(arrow) else None
        self.exact: set[Any] = set()  # at most two different values of whole numbers and decimals
        self.quantiles = _Quantiles()
        self.often: float | None = None  # the most frequent value of the first rows
        self.times = self.grain = 0  # grain: of durations
        self.varied = self.beyond = False

    def _add(self, array: Any) -> None:
        import pyarrow
        from pyarrow import compute

        if pyarrow.types.is_duration(array.type):
            array = array.cast(pyarrow.int64())
            values = array.drop_null().to_numpy(zero_copy_only=False)
            self.grain = math.gcd(self.grain, int(np.gcd.reduce(values))) if len(values) else self.grain
        self._follow(array)
        if self.different is not None:
            self.different = None if self.nulls else self.different.add(array.to_numpy(zero_copy_only=False))
        if not pyarrow.types.is_floating(array.type):  # floats tell large whole numbers from each other no more
            wide = array.cast(pyarrow.decimal256(76, array.type.scale)) if hasattr(array.type, "scale") else array
            self.exact |= set(compute.min_max(wide).as_py().values())
            self.exact = set(sorted(self.exact)[:2])
        x = floats(array)
        with np.errstate(invalid="ignore"):
            near = np.abs(x) <= LARGEST
        self.beyond = self.beyond or not near.all()
        x = x[near]  # what is beyond is refused, by row, when the column is packed
        if not len(x):
            return
        if not self.count:
            values, counts = np.unique(x, return_counts=True)
            self.often, self.varied = float(values[counts.argmax()]), len(values) > FEW
        self.times += int((x == self.often).sum())
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        self.whole = self.whole and bool((x == np.rint(x)).all())
        self._count_decimals(x)
        if len(self.two) < 3:
            self.two |= {self.low, self.high, *x[(x != self.low) & (x != self.high)][:1].tolist()}
        mean, total = float(x.mean()), self.count + len(x)
        self.squares += float(np.square(x - mean).sum()) + (mean - self.mean) ** 2 * self.count * len(x) / total
        self.mean += (mean - self.mean) * len(x) / total
        self.count = total
        self.quantiles.add(x)

    def _count_decimals(self, x: np.ndarray) -> None:
        """Whether all values are written with some decimals: prices, and measurements by a ruler."""
        if self.decimals is None or self.whole:
            return
        if (own := {"double": np.float64, "float": np.float32}.get(str(self.arrow))) is None:
            self.decimals = None
            return
        for some in (x[:64], x):  # the first rows tell for most columns
            while not (np.round(some, self.decimals).astype(own) == some).all():
                if self.decimals == MOST_DECIMALS:
                    self.decimals = None
                    return
                self.decimals += 1

    def _follow(self, array: Any) -> None:
        """Whether numbers rise from row to row, as numbers of rows do, in a part of them too."""
        import pyarrow

        if not self.counting or not pyarrow.types.is_integer(array.type) or self.nulls:
            self.counting = False
            return
        values = array.to_numpy(zero_copy_only=False)
        rises = self.last is None or int(values[0]) > self.last
        self.counting = rises and bool((values[1:] > values[:-1]).all())
        self.last = int(values[-1])

    def _finish(self) -> Code:
        import pyarrow

        if self.beyond and (not self.count or self.low == self.high):
            raise DataError(
                f'column "{self.name}" holds infinity, or numbers beyond {LARGEST:g}, and one value else at most:'
                " divide it, or leave those cells empty"
            )
        if self.low == self.high and self.kind is None and len(self.exact) < 2:
            return self._one_level(self._value())
        if self.kind is None and self.counting and FEWEST <= self.rows > (self.high - self.low) / GAPS:
            return self._left_out("identifier", None, "numbers rise from row to row with hardly a gap")
        if self.kind is None and self.rows >= FEWEST and self._numbers_rows():
            return self._left_out("identifier", None, "every number once, in any order, with hardly a gap")
        if self.kind == "integer" and not self.whole:
            raise FormatError(f'kinds={{"{self.name}": "integer"}}: the column holds numbers that are not whole; round '
                              'it first, or give "continuous"')  # fmt: skip
        whole = self.whole and self.kind != "continuous"
        duration = pyarrow.types.is_duration(self.arrow)
        kind = "duration" if duration else self.kind or ("integer" if whole else "continuous")
        share = self.times / self.count
        spike = self.often if self.varied and SPIKE <= share < 1 else None
        grid = self._quantiles(spike)
        two = len(self.two) == 2
        heavy, centre, spread = (False, self.low, self.high - self.low) if two else self._tails(grid)
        part = (self.mean - self.low) / (self.high - self.low) if two else 0.0
        note = f"two values: {self.high:.6g} in {part:.0%}, {self.low:.6g} in the rest" if two and not duration else ""
        bent = np.arcsinh((grid - centre) / spread) if heavy else grid
        mean, deviation = (float(bent.mean()), float(bent.std())) if heavy or spike is not None else (
            self.mean, math.sqrt(self.squares / self.count))  # fmt: skip
        if not heavy and deviation < NARROW:  # squares of such numbers are zeros, or have lost their digits
            reach = (self.high - self.low) or 1.0
            deviation = float((grid / reach).std()) * reach
        if deviation <= 4 * np.spacing(abs(mean)):  # what is left, beside the spike perhaps, is one value
            deviation = max(abs(mean), 1.0)
        edges = np.unique(((np.quantile(bent, np.linspace(0, 1, BINS + 1)) - mean) / deviation).astype(np.float32))
        return Number(
            self.name, kind, str(self.arrow), self.missing, note, heavy, centre, spread, mean, deviation, self.low,
            self.high, whole, spike, share if spike is not None else 0.0, tuple(map(float, edges)),
            None if whole or self.whole else self.decimals, max(self.grain, 1),
        )  # fmt: skip

    def _numbers_rows(self) -> bool:
        """Whether whole numbers are row numbers in another order. Numbers drawn at random as densely do repeat: of 50
        among 75, all different, the chance is 3e-10, and less of more.
        """
        if self.different is None or self.nulls or self.beyond:
            return False
        return self.rows <= self.high - self.low + 1 < GAPS * self.rows and self.different.all()

    def _value(self) -> Any:
        """The one value of a constant column, as JSON holds it."""
        from pyarrow import types

        if not self.exact:
            return self.low + 0.0  # of the two zeros, one
        return str(*self.exact) if types.is_decimal(self.arrow) else next(iter(self.exact))

    def _quantiles(self, spike: float | None) -> np.ndarray:
        """A thousand values that lie as the column's do, the spike left out."""
        ranks = (np.arange(1000) + 0.5) / 1000
        grid = self.quantiles.at(ranks)
        if spike is not None:
            share = self.times / self.count
            below = self.quantiles.below(spike, share)
            ranks *= 1 - share
            ranks[ranks > below] += share
            grid = self.quantiles.at(np.minimum(ranks, 1.0))
            grid = grid[grid != spike] if (grid != spike).any() else grid
        grid = np.clip(grid, self.low, self.high)
        return np.concatenate([[self.low], grid, [self.high]])

    def _tails(self, grid: np.ndarray) -> tuple[bool, float, float]:
        """Whether the tails are heavy, and the centre and spread of the middle."""
        low, centre, high = np.quantile(grid, [0.05, 0.5, 0.95])
        spread = (high - low) / 3.29  # the deviation of a normal with these quantiles
        if spread <= 0:
            spread = float(np.abs(grid - centre).mean())
            return spread > 0, float(centre), spread or 1.0
        farthest = max(self.high - centre, centre - self.low) / spread
        return bool(grid.std() > HEAVY * spread or farthest > FARTHEST), float(centre), float(spread)


class Moments(Found):
    """Timestamps, dates and times of day."""

    def __init__(self, name: str, arrow: Any, kind: str | None) -> None:
        super().__init__(name, arrow, kind)
        self.unit = "day" if "day" in str(arrow) else "ms" if str(arrow).startswith("date64") else arrow.unit
        self.low, self.high, self.grain = 2**63 - 1, -(2**63), 0
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.quantiles = _Quantiles()
        self.waves = {cycle: np.zeros((2, 2)) for cycle in CYCLES}  # sums of sines and cosines, and of their squares

    def _add(self, array: Any) -> None:
        import pyarrow

        whole = pyarrow.int32() if array.type.bit_width == 32 else pyarrow.int64()
        values = array.cast(whole).to_numpy(zero_copy_only=False).astype(np.int64)
        if not self.count:
            self.first = int(values[0])
        self.low, self.high = min(self.low, int(values.min())), max(self.high, int(values.max()))
        far = max(self.high - self.first, self.first - self.low) >= 2**62  # differences would not fit
        self.grain = 1 if far else math.gcd(self.grain, int(np.gcd.reduce(values - self.first)))
        for cycle, sums in self.waves.items():
            both = np.stack(waves(values, self.unit, cycle))
            sums += np.stack([both.sum(1, np.float64), np.square(both).sum(1, np.float64)])
        x = values.astype(np.float64)
        mean, total = float(x.mean()), self.count + len(x)
        self.squares += float(np.square(x - mean).sum()) + (mean - self.mean) ** 2 * self.count * len(x) / total
        self.mean += (mean - self.mean) * len(x) / total
        self.count = total
        self.quantiles.add(x)

    def _finish(self) -> Code:
        if self.low == self.high:
            left_out = not self.nulls and self.kind is None and self.rows > 1
            return self._one_level(self.low) if left_out else self._code(1.0, (), (0.0,))
        step = math.sqrt(self.squares / self.count) or 1.0
        reach, grain = (size * SECONDS[self.unit] for size in (self.high - self.low, self.grain))
        cycles = [cycle for cycle, period in CYCLES.items() if grain < period / 2 and reach > period / 2]
        cycles = [cycle for cycle in cycles if cycle != "year" or reach > CYCLES["year"]]
        cycles = [] if self.high - self.low >= 2**62 else cycles  # a century of nanoseconds and more
        grid = self.quantiles.at(np.linspace(0, 1, BINS + 1))
        edges = np.unique(((grid - self.mean) / step).astype(np.float32))
        return self._code(step, tuple(cycles), tuple(map(float, edges)))

    def _code(self, step: float, cycles: tuple[str, ...], edges: tuple[float, ...]) -> Time:
        means = [self.waves[cycle] / self.count for cycle in cycles]
        middles = np.array([mean for mean, _ in means]).reshape(-1)
        squares = np.array([square for _, square in means]).reshape(-1)
        sizes = np.sqrt(np.maximum(squares - np.square(middles), SMALL**2))
        return Time(
            self.name, "datetime", str(self.arrow), self.missing, "", self.unit, self.mean, step, self.low,
            self.high, max(self.grain, 1), cycles, tuple(middles.tolist()), tuple(sizes.tolist()), edges,
        )  # fmt: skip


class Levels(Found):
    """Text, dictionaries and booleans; any column that the user calls a category."""

    def __init__(self, name: str, arrow: Any, kind: str | None) -> None:
        super().__init__(name, arrow, kind)
        self.counts: Counter[Any] | None = Counter()  # None: too many
        self.different = _sketches().hll_sketch(12)
        self.categories: list[Any] = []  # of a categorical type, seen or not
        self.letters = np.zeros((LONGEST, 256), np.int64)
        self.longest = self.spaced = 0

    def add(self, array: Any) -> None:
        import pyarrow

        if pyarrow.types.is_dictionary(array.type) and len(array.dictionary) > len(self.categories):
            self.categories = plain(array.dictionary).to_pylist()
        super().add(array)

    def _add(self, array: Any) -> None:
        import pyarrow
        from pyarrow import compute

        found = compute.value_counts(plain(array))
        values, counts = found.field("values"), found.field("counts").to_numpy()
        if pyarrow.types.is_string(values.type) or pyarrow.types.is_large_string(values.type):
            self._spell(values, counts)
        levels = values.to_pylist()
        if self.counts is None:
            for level in levels:
                self.different.update(str(level))
            return
        for level, times in zip(levels, counts.tolist(), strict=True):
            self.counts[level] += times
        if len(self.counts) > MOST_LEVELS:
            for level in self.counts:
                self.different.update(str(level))
            self.frequent = self.counts.most_common(MOST_LEVELS // 2)
            self.counts = None

    def _spell(self, values: Any, counts: np.ndarray) -> None:
        """Which bytes texts have at which place, how long they are, and how many of them hold a space."""
        from pyarrow import compute

        self.longest = max(self.longest, compute.max(compute.binary_length(values)).as_py() or 0)
        self.spaced += compute.sum(compute.match_substring(values, " ")).as_py() or 0
        starts = starts_of(values, LONGEST)
        ended = np.cumsum(starts == 0, axis=1) > 1
        for place, letters in enumerate(self.letters):
            there = ~ended[:, place]
            letters += np.bincount(starts[there, place], counts[there], minlength=256).astype(np.int64)

    def _finish(self) -> Code:
        import pyarrow

        seen = self.rows - self.nulls
        if self.counts is None:
            different = self.different.get_estimate()
        else:
            different = len(self.counts)
        boolean = pyarrow.types.is_boolean(self.arrow)
        if different == 1 and self.counts is not None and self.kind is None and not boolean:
            return self._one_level(next(iter(self.counts)))
        if self.kind == "boolean" and different > 2:
            raise FormatError(f'kinds={{"{self.name}": "boolean"}}: the column holds more than two values; give '
                              '"category"')  # fmt: skip
        if boolean:
            seen_of = self.counts or Counter()
            counts = [seen_of[level] for level in (False, True)]
            if 0 in counts and not self.nulls and self.kind is None and self.rows > 1:
                return self._left_out("constant", counts[0] == 0, "every row holds the same")
            return Choice.of(self.name, "boolean", str(self.arrow), self.missing, [False, True], counts)
        if self.kind == "text" or (self.kind is None and self._is_no_choice(different, seen)):
            almost = _almost_numbers(list(self.counts or dict(self.frequent))) if self.kind is None else ""
            if self.kind is None and self._is_identifier(different, seen):
                return self._left_out("identifier", None, almost or "every value is different")
            return replace(self._text(), note=almost)
        return self._choice(seen)

    def _is_no_choice(self, different: float, seen: int) -> bool:
        import pyarrow

        return not pyarrow.types.is_dictionary(self.arrow) and different > max(seen / 2, FEW)

    def _is_identifier(self, different: float, seen: int) -> bool:
        return seen >= FEWEST and different > 0.98 * seen and self.spaced < 0.1 * seen

    def _text(self) -> Text:
        return Text.of(self.name, str(self.arrow), self.missing, self.longest, self.letters)

    def _left_out(self, kind: str, value: Any, note: str) -> LeftOut:
        return replace(super()._left_out(kind, value, note), categories=self._named([value]))

    def _one_level(self, value: Any) -> Code:
        code = super()._one_level(value)
        return replace(code, categories=self._named([value])) if isinstance(code, Choice) else code

    def _named(self, levels: Any) -> tuple[Any, ...]:
        """The categories, where they are more than the levels, or in another order."""
        size = sum(len(str(level).encode()) for level in self.categories)
        few = len(self.categories) <= MOST_LEVELS and size <= MOST_BYTES
        return tuple(self.categories) if few and self.categories != list(levels) else ()

    def _choice(self, seen: int) -> Choice:
        counts = self.counts if self.counts is not None else Counter(dict(self.frequent))
        levels = sorted(counts, key=lambda level: (-counts[level], str(level)))
        ordered = self.categories if getattr(self.arrow, "ordered", False) else []
        ordered = [level for level in ordered if level in counts]
        kind = self.kind or ("ordinal" if ordered else "category")
        if kind == "ordinal":
            levels = ordered or sorted(levels)
        note = "" if self.counts is not None else f"only the {len(levels):,} most frequent levels are told apart"
        size = 0
        for kept, level in enumerate(levels):
            size += len(str(level).encode()) + 8
            if size > MOST_BYTES or kept >= MOST_LEVELS:
                levels, note = levels[:kept], f"only the {kept:,} most frequent levels are told apart"
                break
        note = note or ("" if self.kind else _almost_numbers(levels)) or _near(levels)
        return Choice.of(self.name, kind, str(self.arrow), self.missing, levels, [counts[v] for v in levels], note,
                         self._named(levels))  # fmt: skip


class _Quantiles:
    """Quantiles of numbers: of some thousand the numbers themselves are kept, of more a t-digest."""

    def __init__(self) -> None:
        self.kept: list[np.ndarray] = []
        self.count = 0
        self.digest: Any = None

    def add(self, x: np.ndarray) -> None:
        """More numbers, all of them finite."""
        self.count += len(x)
        self.kept.append(x)
        if self.digest is not None or self.count > EXACT:
            self.digest = self.digest or _sketches().tdigest_double(DIGEST)
            self.digest.update(np.concatenate(self.kept))
            self.kept = []

    def at(self, ranks: np.ndarray) -> np.ndarray:
        """The values at ranks from 0 to 1."""
        if self.digest is None:
            x = np.sort(np.concatenate(self.kept))
            return np.interp(ranks * (len(x) - 1), np.arange(len(x)), x)
        return np.array([self.digest.get_quantile(rank) for rank in ranks.tolist()])

    def below(self, value: float, share: float) -> float:
        """The share of the numbers that lie below a value which is itself a share of them."""
        if self.digest is None:
            return float((np.concatenate(self.kept) < value).mean())
        return float(self.digest.get_rank(value)) - share / 2


class _Different:
    """Whether whole numbers are all different, in bounded memory and whatever their order.

    Looked at are those of the least keys, up to `LOOKED_AT` different ones; a key is the number, mixed so that it is as
    good as drawn (the finaliser of SplitMix64: Steele, Lea & Flood 2014), and no two numbers share one.
    """

    def __init__(self) -> None:
        self.keys = np.empty(0, np.uint64)  # in order, each once: the least, below the bound
        self.bound = np.uint64(2**64 - 1)  # keys from here on do not matter
        self.twice = False  # whether the key at the bound came twice

    def add(self, values: np.ndarray) -> _Different:
        """More numbers, of one integer type."""
        mixed = values.astype(np.int64).view(np.uint64) if values.dtype.kind == "i" else values.astype(np.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)  # modulo 2**64, as meant
        mixed ^= mixed >> np.uint64(31)
        keys = np.sort(np.concatenate([self.keys, mixed[mixed < self.bound]]))
        again = keys[1:][keys[1:] == keys[:-1]]
        if len(again):
            self.bound, self.twice, keys = again[0], True, keys[keys < again[0]]
        if len(keys) > LOOKED_AT:
            self.bound, self.twice, keys = keys[LOOKED_AT], False, keys[:LOOKED_AT]
        self.keys = keys
        return self

    def all(self) -> bool:
        """Whether none of those looked at came twice."""
        return not self.twice or len(self.keys) == LOOKED_AT


def _is_integer(arrow: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(arrow))


def _almost_numbers(levels: list[Any]) -> str:
    """A note on texts of which nearly all are numbers: a few cells, mistyped, make no number of the column."""
    others = [level for level in levels if isinstance(level, str) and not NUMERAL.fullmatch(level)]
    few = 0 < len(others) <= max(len(levels) / 20, 1) and len(levels) > FEW
    rest = " and the like: mend those cells" if len(others) > 1 else ": mend it"
    return f"numbers but for {shortened(others[0])}{rest} to learn numbers" if few else ""


def _near(levels: list[Any]) -> str:
    """A note on levels that differ by case or spaces alone: they are kept apart, and likely one."""
    folded: dict[str, Any] = {}
    for level in levels:
        if isinstance(level, str):
            plain = " ".join(level.split()).casefold()
            if plain in folded:
                return f"levels {folded[plain]!r} and {level!r} differ by case or spaces alone"
            folded[plain] = level
    return ""


def _sketches() -> Any:
    try:
        import datasketches
    except ImportError as error:
        raise MissingExtra("tables need datasketches: pip install 'isthmus[tables]'") from error
    return datasketches
