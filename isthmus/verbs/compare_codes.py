"""The same items in eight formats: what each costs, what it loses, and what can be read in it.

A format that a linear reader can use has near codes for like things. A one-hot code gives each level a place of its
own; a binary code numbers the levels, which is smaller and just as exact, but its digits mean nothing by themselves, so
the reader loses. Hashing: Weinberger et al. 2009. Random projection: Johnson & Lindenstrauss 1984.

Shapes: n items; D numbers of an item (its linear view); E elements that are cut into levels; K numbers of a code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from isthmus import metrics
from isthmus.errors import DataError, SettingError
from isthmus.verbs.linear_probe import few_labels, labels_for, printed, probe, share_of

__all__ = ["CodeTable", "compare_codes"]

HELD_OUT = 5  # one in so many items is held out for the error
MOST_ITEMS = 20_000  # that codes are learned from: differences between formats are larger than more items make
MOST_LEVELS, MOST_ONES = 16, 4096  # of a number; of all numbers of an item, so that the probe stays quick
DEFAULT_WIDTH = 16
EACH, DRAWS = 10, 10  # labels of a class that few-label accuracy is learned from, and how often
BYTES = 4  # of a float32
HEADINGS = {
    "code": ("", "s"),
    "width": ("numbers", "d"),
    "bytes": ("bytes", ".4g"),
    "squared_error": ("|x-x~|^2", ".4g"),
    "probe": ("probe", ".1%"),
    "probe_se": ("±", ".1%"),
    "few": ("few labels", ".1%"),
    "few_sd": ("± ", ".1%"),
}


class Coded(NamedTuple):
    """One format of all items."""

    name: str
    codes: np.ndarray  # (n, width)
    bytes: float  # of one item
    again: np.ndarray | None  # (held-out items, D) what comes back; None where nothing does


class CodeTable:
    """What was measured of each format. ``print`` it, or take ``to_json``.

    Attributes
    ----------
    rows : list of dicts: code (its name), width (numbers of a code), bytes (of an item as it would be kept),
        squared_error (mean over held-out items of ||x - x~||^2; None where nothing comes back), probe and probe_se
        (accuracy of logistic regression in 5 folds, its standard error), few and few_sd (the same from few labels,
        mean and deviation over 10 draws)
    notes : what the words mean and what to conclude, a line each
    """

    def __init__(self, rows: list[dict[str, Any]], notes: list[str]) -> None:
        self.rows, self.notes = rows, notes

    def __str__(self) -> str:
        return "\n".join([*printed(self.rows, HEADINGS), "", *self.notes])

    __repr__ = __str__

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {"rows": self.rows, "notes": self.notes}


def compare_codes(
    X: Any, y: Any, *, latent_dim: int | None = None, format: Any = None, budget: Any = None, seed: int = 0,
    verbose: bool | None = None,
) -> CodeTable:  # fmt: skip
    """Raw, one-hot, binary, hashed, PCA, random projection, autoencoder and VAE codes of the same items.

    Parameters
    ----------
    X : n items of any format, 50 at least; of more than 20,000, so many are drawn with the seed
    y : (n,) labels, one for each item, of two classes at least
    latent_dim : numbers K of hashed, projected and learned codes. None: 16, or half the numbers of an item if less
    format : a Format, or the word of one; None finds it
    budget : time to train each of autoencoder and VAE, such as "60s", in place of their epochs
    seed : of the split, folds, draws, projections and networks
    verbose : progress bars: None on a terminal only

    The formats:

    - raw: the items as they are kept. To be read, a category is the number of its level
    - one-hot: each element cut into levels (of a category its own; of numbers quantiles, at most 16, and at most 4,096
      for all numbers of an item), an indicator for each; kept as bits
    - binary: the number of the same level in binary digits: as exact, and ceil(log2 levels) bits in place of levels
    - row number: each item is a level of its own, in binary digits: ceil(log2 n) bits bring it back from a list of all
      items, and nothing back that is not in the list
    - hashing: each (element, level) adds +1 or -1 to one of K numbers
    - random projection: K products with normal directions
    - PCA, autoencoder, VAE: learned without labels, K numbers

    What comes back of hashes and projections is the best linear guess, by ridge regression. Codes are learned from
    four fifths of the items, errors measured on the last fifth; probes read codes of all items, in folds.

    Returns
    -------
    CodeTable

    Raises
    ------
    DataError : fewer than 50 items, labels of another length, missing ones, or of one class only
    SettingError : ``latent_dim`` out of its range

    Examples
    --------
    >>> import isthmus as im
    >>> X, y = im.datasets.digits(labels=True)
    >>> table = im.compare_codes(X[:300], y[:300], latent_dim=8, budget="1s")
    >>> [row["code"] for row in table.rows][:3]
    ['raw', 'one-hot', 'binary']
    """
    from isthmus.formats.infer import format_of
    from isthmus.models import MODELS

    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise SettingError(f"seed={seed!r}: expected a whole number from 0 to {2**32 - 1}")
    form = format_of(X, format)
    stored = form.fit_tensor(X)
    labels = labels_for(y, len(stored))
    if len(stored) < 50:
        raise DataError(f"{len(stored)} items given: learning, holding out and reading need 50 at least")
    order = np.random.default_rng(seed).permutation(len(stored))[:MOST_ITEMS]
    stored, labels = stored[torch.from_numpy(order)], labels[order]
    held = len(stored) // HELD_OUT
    learn = slice(held, None)
    lines = form.lines()
    x = lines.scale(stored).flatten(1).numpy()  # (n, D)
    size = x.shape[1]
    width = min(DEFAULT_WIDTH, max(size // 2, 1)) if latent_dim is None else latent_dim
    if isinstance(width, bool) or not isinstance(width, (int, np.integer)) or not 1 <= width <= size:
        raise SettingError(f"latent_dim={latent_dim!r}: expected a whole number from 1 to {size}, the width of an item")
    full = np.nan_to_num(x)
    elements = form.scale(stored).flatten(1).numpy() if form.spec.columns else x
    levels = _levels(elements, form.spec.columns, learn)
    counts = levels.max(0) + 1
    means = _level_means(full, levels, counts, learn)
    kept_bytes = float(stored[0].numel() * stored.element_size())
    numbered = np.where(np.isnan(elements), -1, elements) if form.spec.columns else full
    made = [Coded("raw", numbered, kept_bytes, full[:held])]
    made.append(Coded("one-hot", _one_hot(levels, counts), counts.sum() / 8, means[:held]))
    made.append(Coded("binary", _digits(levels, counts), _bits(counts).sum() / 8, means[:held]))
    places, alone = np.random.default_rng((seed, 1)).permutation(len(stored))[:, None], np.array([len(stored)])
    made.append(Coded("row number", _digits(places, alone), _bits(alone).sum() / 8, None))
    random = np.random.default_rng((seed, 2))
    for name, codes in (("hashing", _hashed(levels, counts, int(width), random)),
                        ("random projection", full @ random.normal(size=(size, width)) / math.sqrt(size))):  # fmt: skip
        made.append(Coded(name, codes, width * BYTES, _ridge(codes[learn], full[learn])(codes[:held])))
    for word, name in (("pca", "PCA"), ("autoencoder", "autoencoder"), ("vae", "VAE")):
        given = {"random_state": seed, "budget": budget, "verbose": verbose} if word != "pca" else {}
        model = MODELS[word](latent_dim=min(width, len(stored) - held), **given)
        model._fit_stored(lines if word == "pca" else form, stored[learn])
        codes = model._in_blocks(model._encode_stored, stored)
        again = model._in_blocks(model._linear_mean, codes[:held]).flatten(1).numpy()
        made.append(Coded(name, codes.numpy(), codes.shape[1] * BYTES, again))
    each = min(EACH, max(int(np.bincount(labels).min()) // 2, 1))
    right = {one.name: probe(one.codes, labels, seed) for one in made}
    rows = [_row(one, x[:held], labels, right[one.name], each, seed) for one in made]
    lines_of = _notes(form.unit, size, len(stored), held, each)
    return CodeTable(rows, [*lines_of, _verdict(rows[1], rows[2], right["one-hot"], right["binary"])])


def _row(
    one: Coded, truth: np.ndarray, labels: np.ndarray, right: np.ndarray, each: int, seed: int
) -> dict[str, Any]:  # fmt: skip
    error = None if one.again is None else float(metrics.squared_error(truth, one.again).mean())
    share, doubt = share_of(right)
    few, spread = few_labels(one.codes, labels, each, DRAWS, seed)
    return {"code": one.name, "width": one.codes.shape[1], "bytes": float(one.bytes), "squared_error": error,
            "probe": share, "probe_se": doubt, "few": few, "few_sd": spread}  # fmt: skip


def _notes(unit: str, size: int, count: int, held: int, each: int) -> list[str]:
    return [
        f"x in {unit}; |x-x~|^2 is the sum over {size} numbers, mean of {held} items that were held out of {count}",
        f"bytes of an item; probe: logistic regression in 5 folds; few labels: from {each} a class, {DRAWS} draws",
    ]


def _verdict(one: dict[str, Any], two: dict[str, Any], right: np.ndarray, also: np.ndarray) -> str:
    """What the figures say of binary against one-hot codes, item by item (McNemar's variance)."""
    apart = right.astype(float) - also
    noise = 2 * float(apart.std()) / math.sqrt(len(apart))
    told = "worse" if apart.mean() > noise else "better" if apart.mean() < -noise else "as well as can be told"
    return (f"The binary code is {one['bytes'] / two['bytes']:.1f} times smaller than one-hot, loses as much, and "
            f"reads {told}: {two['probe']:.1%} against {one['probe']:.1%}.")  # fmt: skip


# ---- levels ----------------------------------------------------------------------------------------------------------


def _levels(elements: np.ndarray, columns: Any, learn: slice) -> np.ndarray:
    """(n, E) int64 level of each element. A hole is one more level, the last."""
    most = max(min(MOST_LEVELS, MOST_ONES // elements.shape[1]), 2)
    levels = np.zeros(elements.shape, dtype=np.int64)
    for place, values in enumerate(elements.T):
        holes = np.isnan(values)
        choices = columns[place].levels if columns else None
        if choices is not None:
            found, top = np.where(holes, 0, values).astype(np.int64), int(choices)
        else:
            seen = values[learn][~holes[learn]]
            cuts = _cuts(np.unique(seen), seen, most)
            found, top = np.searchsorted(cuts, np.where(holes, 0, values), side="left"), len(cuts) + 1
        levels[:, place] = np.where(holes, top, found)
    return levels


def _cuts(values: np.ndarray, seen: np.ndarray, most: int) -> np.ndarray:
    """Where numbers are cut: between the values where they are few, else at quantiles."""
    if len(values) <= most:
        return (values[1:] + values[:-1]) / 2
    return np.unique(np.quantile(seen, np.linspace(0, 1, most + 1)[1:-1]))


def _level_means(full: np.ndarray, levels: np.ndarray, counts: np.ndarray, learn: slice) -> np.ndarray:
    """(n, D) what comes back of levels: where an element is one number, the mean of its level; else all is kept."""
    if full.shape != levels.shape:  # a table: the numbers of a category are exact, those of numbers follow their level
        return _from_indicators(full, levels, counts, learn)
    made = np.empty_like(full)
    for place, count in enumerate(counts):
        made[:, place] = _mean_by(levels[:, place], full[:, place], int(count), learn)[levels[:, place]]
    return made


def _from_indicators(full: np.ndarray, levels: np.ndarray, counts: np.ndarray, learn: slice) -> np.ndarray:
    """Of a table, each number of the linear view from the element that tells most of it."""
    made = np.repeat(full[learn].mean(0)[None], len(full), axis=0)
    left = np.square(full[learn] - made[learn]).sum(0)
    for place, count in enumerate(counts):
        for column in range(full.shape[1]):
            guess = _mean_by(levels[:, place], full[:, column], int(count), learn)[levels[:, place]]
            error = float(np.square(full[learn, column] - guess[learn]).sum())
            if error < left[column]:
                made[:, column], left[column] = guess, error
    return made


def _mean_by(level: np.ndarray, values: np.ndarray, count: int, learn: slice) -> np.ndarray:
    """(count,) mean of the values learned from at each level; of all of them where a level was not seen."""
    sizes = np.bincount(level[learn], minlength=count)
    sums = np.bincount(level[learn], values[learn], minlength=count)
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), values[learn].mean())


def _one_hot(levels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    codes = np.zeros((len(levels), int(counts.sum())), dtype=np.float32)
    codes[np.arange(len(levels))[:, None], levels + (np.cumsum(counts) - counts)] = 1
    return codes


def _bits(counts: np.ndarray) -> np.ndarray:
    """Binary digits that number so many levels, one at least."""
    return np.maximum(np.ceil(np.log2(counts)), 1).astype(np.int64)


def _digits(levels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n, sum of bits) the digits of each level."""
    parts = [(levels[:, place, None] >> np.arange(int(bits))) & 1 for place, bits in enumerate(_bits(counts))]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _hashed(levels: np.ndarray, counts: np.ndarray, width: int, random: np.random.Generator) -> np.ndarray:
    """(n, K) signed counts of levels by the bucket that each falls into."""
    places = random.integers(0, width, int(counts.sum()))
    signs = random.choice([-1.0, 1.0], len(places))
    tokens = levels + (np.cumsum(counts) - counts)  # (n, E)
    codes = np.zeros((len(levels), width))
    for column in tokens.T:
        np.add.at(codes, (np.arange(len(codes)), places[column]), signs[column])
    return codes


def _ridge(codes: np.ndarray, full: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The best linear guess of items from codes."""
    from sklearn.linear_model import Ridge

    reader = Ridge(alpha=1.0).fit(codes, full)
    return lambda asked: np.asarray(reader.predict(asked)).reshape(len(asked), -1)
