"""Which kind a column of a table is, and its code, found in one pass with bounded memory.

Batches go in, and what is kept of them adds up: counts, moments, a t-digest of quantiles (Dunning & Ertl 2019), levels
up to a bound and a HyperLogLog count of different values beyond it, both from Apache DataSketches. A stream and the
same rows in memory give the same kinds.

========================= =============================================================================================
Arrow type                kind
========================= =============================================================================================
boolean                   boolean
integers                  integer; identifier where each row is one more than the row before; constant
floats, decimals          integer where all are whole numbers, else continuous; constant
dictionary                ordinal where its levels have an order, else category
text                      category where, on the mean, a level is seen twice; else text where there are spaces or some
                          values repeat, and identifier where none does
timestamps, dates, times  datetime
durations                 duration, a number
any, without a value      empty
========================= =============================================================================================
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any

import numpy as np

from isthmus.errors import FormatError, MissingExtra
from isthmus.formats.arrays import listing
from isthmus.formats.codes import CYCLES, SECONDS, Code, floats
from isthmus.formats.columns import Choice, LeftOut, Text
from isthmus.formats.quantities import Number, Time

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
DIGEST = 500  # centroids of a t-digest: quantiles within some thousandths
SPIKE = 0.2  # share of the rows from which one value of a number is a choice of its own
FEW = 20  # different values below which a number has no spike: its values are all frequent
HEAVY = 1.5  # deviation over the deviation of the middle nine tenths from which tails are heavy; 1.0 for a normal
FARTHEST = 20.0  # deviations of the middle nine tenths at which one value alone makes the tails heavy
FEWEST = 50  # rows from which a column can be an identifier
LONGEST = 32  # bytes of text that are kept


def found_for(name: str, arrow: Any, kind: str | None) -> Found:
    """What looks at a column of an Arrow type. ``kind`` is the user's word for it, or None to find out.

    Raises FormatError for a word that does not go with the type.
    """
    from pyarrow import types

    inner = arrow.value_type if types.is_dictionary(arrow) else arrow
    textual = types.is_string(inner) or types.is_large_string(inner) or types.is_string_view(inner)
    moment = types.is_temporal(inner) and not types.is_duration(inner)
    number = types.is_integer(inner) or types.is_floating(inner) or types.is_decimal(inner) or types.is_duration(inner)
    if kind in ("identifier", "ignore") or types.is_null(arrow):
        return Ignored(name, arrow, kind)
    if kind in ("category", "ordinal", "boolean"):
        return Levels(name, arrow, kind)
    allowed = {"continuous": number, "integer": number, "duration": types.is_duration(inner), "datetime": moment,
               "text": textual}  # fmt: skip
    if kind is not None and not allowed[kind]:
        raise FormatError(
            f'kinds={{"{name}": "{kind}"}}: the column holds {arrow}, which cannot be read so; give '
            + listing(f'"{word}"' for word in KINDS if allowed.get(word, True))
        )
    if types.is_boolean(inner) or types.is_dictionary(arrow) or textual:
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
        if not self.nulls:
            return self._left_out("constant", value, "every row holds the same")
        return Choice.of(self.name, "constant", str(self.arrow), self.missing, [value], [1], "one value, or missing")


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
        self.last: int | None = None
        self.digest = _sketches().tdigest_double(DIGEST)
        self.often: float | None = None  # the most frequent value of the first rows
        self.times = 0
        self.varied = False

    def _add(self, array: Any) -> None:
        import pyarrow

        if pyarrow.types.is_duration(array.type):
            array = array.cast(pyarrow.int64())
        self._follow(array)
        x = floats(array)
        x = x[np.isfinite(x)]  # infinity is refused, by row, when the column is packed
        if not len(x):
            return
        if not self.count:
            values, counts = np.unique(x, return_counts=True)
            self.often, self.varied = float(values[counts.argmax()]), len(values) > FEW
        self.times += int((x == self.often).sum())
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        self.whole = self.whole and bool((x == np.rint(x)).all())
        mean, total = float(x.mean()), self.count + len(x)
        self.squares += float(np.square(x - mean).sum()) + (mean - self.mean) ** 2 * self.count * len(x) / total
        self.mean += (mean - self.mean) * len(x) / total
        self.count = total
        self.digest.update(x)

    def _follow(self, array: Any) -> None:
        """Whether every row is one more than the row before, as numbers of rows are."""
        import pyarrow

        if not self.counting or not pyarrow.types.is_integer(array.type) or self.nulls:
            self.counting = False
            return
        values = array.to_numpy(zero_copy_only=False)
        self.counting = bool((values[1:] - values[:-1] == 1).all()) and self.last in (None, int(values[0]) - 1)
        self.last = int(values[-1])

    def _finish(self) -> Code:
        import pyarrow

        if not self.count or self.low == self.high:
            value: Any = self.low if self.count else 0.0
            value = int(value) if not pyarrow.types.is_floating(self.arrow) else value
            return self._one_level(float(value) if pyarrow.types.is_decimal(self.arrow) else value)
        if self.kind is None and self.counting and self.rows >= FEWEST:
            return self._left_out("identifier", None, "each row is one more than the row before")
        whole = self.whole and self.kind != "continuous"
        duration = pyarrow.types.is_duration(self.arrow)
        kind = "duration" if duration else self.kind or ("integer" if whole else "continuous")
        share = self.times / self.count
        spike = self.often if self.varied and SPIKE <= share < 1 else None
        grid = self._quantiles(spike)
        heavy, centre, spread = self._tails(grid)
        bent = np.arcsinh((grid - centre) / spread) if heavy else grid
        mean, deviation = (float(bent.mean()), float(bent.std())) if heavy or spike is not None else (
            self.mean, math.sqrt(self.squares / self.count))  # fmt: skip
        if deviation <= 1e-12 * max(abs(mean), 1e-300):  # what is left beside the spike is one value
            deviation = max(abs(mean), 1.0)
        edges = np.unique(((np.quantile(bent, np.linspace(0, 1, BINS + 1)) - mean) / deviation).astype(np.float32))
        return Number(
            self.name, kind, str(self.arrow), self.missing, "", heavy, centre, spread, mean, deviation, self.low,
            self.high, whole, spike, share if spike is not None else 0.0, tuple(map(float, edges)),
        )  # fmt: skip

    def _quantiles(self, spike: float | None) -> np.ndarray:
        """A thousand values that lie as the column's do, the spike left out."""
        ranks = (np.arange(1000) + 0.5) / 1000
        grid = np.array([self.digest.get_quantile(rank) for rank in ranks])
        if spike is not None:
            below = self.digest.get_rank(spike) - self.times / self.count / 2
            share = self.times / self.count
            ranks *= 1 - share
            ranks[ranks > below] += share
            grid = np.array([self.digest.get_quantile(min(rank, 1.0)) for rank in ranks])
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
        self.digest = _sketches().tdigest_double(DIGEST)

    def _add(self, array: Any) -> None:
        import pyarrow

        whole = pyarrow.int32() if array.type.bit_width == 32 else pyarrow.int64()
        values = array.cast(whole).to_numpy(zero_copy_only=False).astype(np.int64)
        if not self.count:
            self.first = int(values[0])
        self.low, self.high = min(self.low, int(values.min())), max(self.high, int(values.max()))
        self.grain = math.gcd(self.grain, int(np.gcd.reduce(values - self.first)))
        x = values.astype(np.float64)
        mean, total = float(x.mean()), self.count + len(x)
        self.squares += float(np.square(x - mean).sum()) + (mean - self.mean) ** 2 * self.count * len(x) / total
        self.mean += (mean - self.mean) * len(x) / total
        self.count = total
        self.digest.update(x)

    def _finish(self) -> Code:
        if self.low == self.high:
            return self._one_level(self.low) if not self.nulls else self._code(1.0, (), (0.0,))
        step = math.sqrt(self.squares / self.count) or 1.0
        reach, grain = (size * SECONDS[self.unit] for size in (self.high - self.low, self.grain))
        cycles = [cycle for cycle, period in CYCLES.items() if grain < period / 2 and reach > period / 2]
        cycles = [cycle for cycle in cycles if cycle != "year" or reach > CYCLES["year"]]
        grid = np.array([self.digest.get_quantile(rank) for rank in np.linspace(0, 1, BINS + 1)])
        edges = np.unique(((grid - self.mean) / step).astype(np.float32))
        return self._code(step, tuple(cycles), tuple(map(float, edges)))

    def _code(self, step: float, cycles: tuple[str, ...], edges: tuple[float, ...]) -> Time:
        return Time(
            self.name, "datetime", str(self.arrow), self.missing, "", self.unit, self.mean, step, self.low,
            self.high, max(self.grain, 1), cycles, edges,
        )  # fmt: skip


class Levels(Found):
    """Text, dictionaries and booleans; any column that the user calls a category."""

    def __init__(self, name: str, arrow: Any, kind: str | None) -> None:
        super().__init__(name, arrow, kind)
        self.counts: Counter[Any] | None = Counter()  # None: too many
        self.different = _sketches().hll_sketch(12)
        self.ordered: list[Any] = []
        self.letters = np.zeros(256, np.int64)
        self.longest = self.spaced = 0

    def _add(self, array: Any) -> None:
        import pyarrow
        from pyarrow import compute

        if pyarrow.types.is_dictionary(array.type):
            if array.type.ordered and len(array.dictionary) > len(self.ordered):
                self.ordered = array.dictionary.to_pylist()
            array = array.dictionary_decode()
        if pyarrow.types.is_decimal(array.type) or pyarrow.types.is_temporal(array.type):
            array = array.cast(pyarrow.string())
        found = compute.value_counts(array)
        values, counts = found.field("values"), found.field("counts").to_numpy()
        if pyarrow.types.is_string(values.type) or pyarrow.types.is_large_string(values.type):
            self._spell(values)
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

    def _spell(self, values: Any) -> None:
        """Which bytes the texts have, how long they are, and how many of them hold a space."""
        from pyarrow import compute

        self.longest = max(self.longest, compute.max(compute.binary_length(values)).as_py() or 0)
        self.spaced += compute.sum(compute.match_substring(values, " ")).as_py() or 0
        joined = "".join(values.to_pylist()).encode("utf-8", "replace")
        self.letters += np.bincount(np.frombuffer(joined, np.uint8), minlength=256)

    def _finish(self) -> Code:
        import pyarrow

        seen = self.rows - self.nulls
        if self.counts is None:
            different = self.different.get_estimate()
        else:
            different = len(self.counts)
        if different == 1 and self.counts is not None and not pyarrow.types.is_boolean(self.arrow):
            return self._one_level(next(iter(self.counts)))
        if pyarrow.types.is_boolean(self.arrow):
            seen_of = self.counts or Counter()
            counts = [seen_of[level] for level in (False, True)]
            if 0 in counts and not self.nulls and self.kind is None:
                return self._left_out("constant", counts[0] == 0, "every row holds the same")
            return Choice.of(self.name, "boolean", str(self.arrow), self.missing, [False, True], counts)
        if self.kind == "text" or (self.kind is None and self._is_no_choice(different, seen)):
            if self.kind is None and self._is_identifier(different, seen):
                return self._left_out("identifier", None, "every value is different")
            return self._text()
        return self._choice(seen)

    def _is_no_choice(self, different: float, seen: int) -> bool:
        import pyarrow

        return not pyarrow.types.is_dictionary(self.arrow) and different > max(seen / 2, FEW)

    def _is_identifier(self, different: float, seen: int) -> bool:
        return seen >= FEWEST and different > 0.98 * seen and self.spaced < 0.1 * seen

    def _text(self) -> Text:
        self.letters[[0, 255]] = 0
        alphabet = tuple(np.flatnonzero(self.letters).tolist())
        length = min(max(self.longest, 1), LONGEST)
        note = f"the longest has {self.longest} bytes" if self.longest > LONGEST else ""
        return Text(self.name, "text", str(self.arrow), self.missing, note, length, alphabet)

    def _choice(self, seen: int) -> Choice:
        counts = self.counts if self.counts is not None else Counter(dict(self.frequent))
        levels = sorted(counts, key=lambda level: (-counts[level], str(level)))
        ordered = [level for level in self.ordered if level in counts]
        kind = self.kind or ("ordinal" if ordered else "category")
        if kind == "ordinal":
            levels = ordered or sorted(levels)
        note = ""
        size = 0
        for kept, level in enumerate(levels):
            size += len(str(level).encode()) + 8
            if size > MOST_BYTES or kept >= MOST_LEVELS:
                levels, note = levels[:kept], f"only the {kept:,} most frequent levels are told apart"
                break
        note = note or _near(levels)
        return Choice.of(self.name, kind, str(self.arrow), self.missing, levels, [counts[v] for v in levels], note)


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
