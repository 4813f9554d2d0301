"""Items of data and points, drawn from arrays into an Axes that is given.

A figure of several panels is put together from these; ``isthmus.view.plots`` asks a model for the arrays.

Shapes: n items; h, w sides of an image; c channels, 1, 3 or 4 of an image; t steps of a series; K latents.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isthmus.errors import DataError
from isthmus.view.paper import Theme, bare, theme_of, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Glyphs",
    "as_glyphs",
    "cells",
    "classes_of",
    "decoded_grid",
    "items_beside_reconstructions",
    "lines",
    "samples",
    "scatter",
    "tile",
    "together",
    "traversals",
    "widths",
]

GAP = 0.12  # between two items, in widths of one
FLAT = 0.55  # height of a curve, in widths
FEW = 40  # steps of a curve that are marked one by one
CELL = 16  # letters of a table's cell
LEVELS, MANY = 20, 100  # different numbers, and those that follow each other, beyond which labels are no classes


class Glyphs(NamedTuple):
    """Items as they are drawn.

    Attributes
    ----------
    values : (n, h, w) or (n, h, w, c) floats in [0, 1]; or of curves (n, c, t)
    limits : of curves, the values at the lower and upper edge; None for images
    """

    values: np.ndarray
    limits: tuple[float, float] | None = None

    @property
    def ratio(self) -> float:
        """Height of one, in widths."""
        return self.values.shape[1] / self.values.shape[2] if self.limits is None else FLAT


def as_glyphs(items: Any) -> Glyphs:
    """Images (n, h, w) or (n, h, w, c), integers up to 255 or floats in [0, 1]; Glyphs as they are. DataError else."""
    if isinstance(items, Glyphs):
        return items
    images = np.asarray(items)
    images = images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images
    right = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] in (3, 4))
    if not right or images.dtype.kind not in "buif" or 0 in images.shape:
        raise DataError(f"images (n, h, w) or (n, h, w, c) can be shown, not {images.dtype} of shape {images.shape}")
    top = 255.0 if images.dtype.kind in "ui" else 1.0
    return Glyphs(np.clip(images.astype(float) / top, 0.0, 1.0))


def lines(values: Any) -> Glyphs:
    """Curves (n, c, t), between their least and their greatest value."""
    curves = np.asarray(values, dtype=float)
    low, high = (float(np.nanmin(curves)), float(np.nanmax(curves))) if np.isfinite(curves).any() else (0.0, 0.0)
    return Glyphs(curves, (low, high) if high > low else (low - 1, low + 1))


def together(*many: Glyphs) -> list[Glyphs]:
    """The same, all between the same limits."""
    if many[0].limits is None:
        return list(many)
    edges = [one.limits for one in many if one.limits is not None]
    limits = min(edge[0] for edge in edges), max(edge[1] for edge in edges)
    return [one._replace(limits=limits) for one in many]


def tile(ax: Axes, glyphs: Glyphs, i: int, left: float, top: float, width: float = 1.0, *, colour: str | None = None,
         over: bool = False) -> None:  # fmt: skip
    """Item i in a box as wide as it is said; y grows downwards. ``over``: a curve alone, on a box that is there."""
    height, theme = width * glyphs.ratio, theme_of(ax)
    if glyphs.limits is None:
        # Every pixel a square.
        ax.imshow(glyphs.values[i], cmap="gray", vmin=0, vmax=1, interpolation="nearest",
                  extent=(left, left + width, top + height, top))  # fmt: skip
        return
    from matplotlib.patches import Rectangle

    if not over:
        ax.add_patch(Rectangle((left, top), width, height, facecolor="none", edgecolor=theme.rule, linewidth=0.8))
    low, high = glyphs.limits
    steps = glyphs.values.shape[2]
    across = left + width * (np.arange(steps) + 0.5) / steps
    for channel, curve in enumerate(glyphs.values[i]):
        share = 0.06 + 0.88 * (curve - low) / (high - low)
        ax.plot(across, top + height * (1 - share), linewidth=1.2, solid_joinstyle="round",
                color=colour or theme.palette[channel % len(theme.palette)],
                marker="o" if steps <= FEW else None, markersize=2)  # fmt: skip


def _named(ax: Axes, text: str, middle: float) -> None:
    ax.text(-0.25, middle, words(text), ha="right", va="center", color=theme_of(ax).ink, fontsize=11)


def items_beside_reconstructions(ax: Axes, X: Any, X2: Any, errors: Any = None) -> Axes:
    """A row of items, and below it a row of what each model makes of them; of curves, over the given ones.

    Parameters
    ----------
    X : images (n, h, w) or (n, h, w, c), integers up to 255, or floats in [0, 1]; or Glyphs
    X2 : reconstructions of the same shape, or a dict of them by the name that is written beside the row
    errors : (n,) numbers to write below the images of X2, or a dict of them by the same names. None: none

    Raises
    ------
    DataError : not images, or X2 or errors do not fit X
    """
    rows = dict(X2) if isinstance(X2, Mapping) else {"reconstructed": X2}
    below = dict(errors) if isinstance(errors, Mapping) else {} if errors is None else {next(iter(rows)): errors}
    given = as_glyphs(X)
    for name, again in rows.items():
        sides = np.shape(X.values if isinstance(X, Glyphs) else X)
        found = np.shape(again.values if isinstance(again, Glyphs) else again)
        if found != sides or len(below.get(name, given.values)) != len(given.values):
            raise DataError(f"{name}: {found} with {len(below.get(name, given.values))} errors do not fit {sides}")
    ratio, theme, count = given.ratio, theme_of(ax), len(given.values)
    step, pitch = 1 + GAP, ratio + GAP + 0.22 * bool(below)
    for place, (name, glyphs) in enumerate([("given", given), *((n, as_glyphs(again)) for n, again in rows.items())]):
        top = place * pitch - 0.22 * bool(below) * (place > 0)  # nothing is written below the first row
        _named(ax, name, top + ratio / 2)
        for i in range(count):
            curve = glyphs.limits is not None
            if curve and place:
                tile(ax, given, i, i * step, top, colour=theme.rule)
            tile(ax, glyphs, i, i * step, top, over=bool(curve and place))
            if name in below:
                ax.text(i * step + 0.5, top + ratio + 0.05, number(below[name][i]), ha="center", va="top",
                        color=theme.faint, fontsize=8)  # fmt: skip
    return bare(ax, (-0.02, count * step - GAP + 0.02), (len(rows) * pitch + ratio, -0.02))


def number(value: float) -> str:
    """Three figures; two places from 0.01 to 1000."""
    return f"{value:.2f}" if value == 0 or 0.01 <= abs(value) < 1000 else f"{value:.3g}"


def samples(ax: Axes, items: Any, names: Sequence[Any] | None = None) -> Axes:
    """Items in a square, or nearly; in one row where they have names, which are written below.

    Parameters
    ----------
    items : images (n, h, w) or (n, h, w, c), integers up to 255, or floats in [0, 1]; or Glyphs

    Raises
    ------
    DataError : not images
    """
    glyphs = as_glyphs(items)
    ratio, count = glyphs.ratio, len(glyphs.values)
    columns = min(count, 12) if names is not None else math.ceil(math.sqrt(count * ratio))
    step, pitch = 1 + GAP, ratio + GAP + 0.25 * (names is not None)
    for i in range(count):
        left, top = i % columns * step, i // columns * pitch
        tile(ax, glyphs, i, left, top)
        if names is not None:
            ax.text(left + 0.5, top + ratio + 0.04, words(names[i], 14), ha="center", va="top", fontsize=9,
                    color=theme_of(ax).ink)  # fmt: skip
    return bare(ax, (-0.02, columns * step - GAP + 0.02), (math.ceil(count / columns) * pitch - GAP + 0.02, -0.02))


def traversals(ax: Axes, rows: Mapping[str, Any]) -> Axes:
    """A row of items for each latent that was moved, its name beside it.

    Parameters
    ----------
    rows : by name, images (n, h, w) or (n, h, w, c) of one shape, integers up to 255, or floats in [0, 1]; or Glyphs

    Raises
    ------
    DataError : no row, not images, or rows of different shapes
    """
    shapes = {np.shape(items.values if isinstance(items, Glyphs) else items) for items in rows.values()}
    if len(shapes) != 1:
        raise DataError(f"rows of images of one shape can be drawn, not of {sorted(shapes) or 'none'}")
    ratio, step, count = 1.0, 1 + GAP, next(iter(shapes))[0]
    for place, (name, items) in enumerate(rows.items()):
        glyphs = as_glyphs(items)
        ratio = glyphs.ratio
        top = place * (ratio + GAP)
        _named(ax, name, top + ratio / 2)
        for i in range(count):
            tile(ax, glyphs, i, i * step, top)
    return bare(ax, (-0.02, count * step - GAP + 0.02), (len(rows) * (ratio + GAP) - GAP + 0.02, -0.02))


def decoded_grid(ax: Axes, items: Any, names: tuple[str, str] = ("", "")) -> Axes:
    """Items over a grid of two latents, side by side as one picture.

    Parameters
    ----------
    items : T * T images, row by row from above, integers up to 255, or floats in [0, 1]; or Glyphs
    names : of the latent that grows to the right, and of the one that grows upwards

    Raises
    ------
    DataError : not images, or not a square number of them
    """
    glyphs = as_glyphs(items)
    count, ratio = len(glyphs.values), glyphs.ratio
    side = math.isqrt(count)
    if side * side != count:
        raise DataError(f"{count} images make no square grid; expected 4, 9, 16, ...")
    for i in range(count):
        tile(ax, glyphs, i, i % side, i // side * ratio)
    if any(names):
        ax.set_xlabel(f"{words(names[0])} \N{RIGHTWARDS ARROW}", color=theme_of(ax).ink)
        ax.set_ylabel(f"{words(names[1])} \N{RIGHTWARDS ARROW}", color=theme_of(ax).ink)
    return bare(ax, (0, side), (side * ratio, 0))


def scatter(ax: Axes, Z: Any, labels: Any = None, *, size: float | None = None) -> Axes:
    """Points, coloured by class, each class named where its points are; or by number, with a scale.

    Parameters
    ----------
    Z : (n, 2) places
    labels : (n,) numbers of more than 20 values, or of more than 100 that follow each other as 0, 1, 2 do, drawn in
        eight steps from little to much; or classes of any kind that can be sorted, whose names are written at the
        median of their points, moved apart where they would overlap. Dates are a scale where there are many. Colours
        repeat beyond ten. Grey where a label is missing (None, NaN, NaT). None: points of one colour
    size : of a point in square points of type. None: by their number

    Raises
    ------
    DataError : Z is not (n, 2), or labels are not (n,)
    """
    Z = np.asarray(Z, dtype=float)
    if Z.ndim != 2 or Z.shape[1] != 2 or not len(Z):
        raise DataError(f"a map needs codes of shape (n, 2), not {Z.shape}: reduce them, with PCA(2) for one")
    theme = theme_of(ax)
    days = _days(labels)
    names, coded, edges = classes_of(labels if days is None else days, len(Z))
    if days is not None:
        names = _dates(names)
    if edges is None:
        colours = np.array([theme.palette[i % len(theme.palette)] for i in range(max(len(names), 1))] + [theme.faint])
    else:
        colours = np.array([*theme.ramp, theme.faint])
    order = np.random.default_rng(0).permutation(len(Z))  # or the last class would lie over the others
    size = float(np.clip(6000 / len(Z), 2, 26)) if size is None else size
    ax.scatter(Z[order, 0], Z[order, 1], s=size, c=colours[coded[order]], alpha=0.75, linewidths=0)
    ax.margins(0.03)
    ax.set_aspect("equal", adjustable="datalim")
    if labels is not None and edges is None and len(names):
        _name_heaps(ax, Z, [str(name) for name in names], coded, colours)
    if edges is not None:
        ends = [f"{edge:.3g}" for edge in edges] if days is None else _dates(edges)
        _scale(ax, theme, f"{ends[0]}  to  {ends[-1]}")
    return bare(ax)


def classes_of(labels: Any, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Names of classes, which each label is (-1: missing), and the edges of steps where labels are a scale."""
    if labels is None:
        return np.zeros(0), np.zeros(count, dtype=int), None
    labels = labels.detach().cpu() if hasattr(labels, "detach") else labels
    given = np.asarray(labels)
    if given.shape != (count,):
        raise DataError(f"labels of shape {given.shape} given for {count} points; expected ({count},)")
    there = np.array([label is not None and label == label for label in given.tolist()])
    coded = np.full(count, -1)
    if not there.any():
        return np.zeros(0), coded, None
    try:
        names, coded[there] = np.unique(given[there], return_inverse=True)
    except TypeError:  # of several kinds
        names, coded[there] = np.unique(given[there].astype(str), return_inverse=True)
    if given.dtype.kind not in "fiu":
        return names, coded, None
    whole = given.dtype.kind != "f" or bool((names == np.round(names)).all())
    dense = whole and float(names[-1]) - float(names[0]) < 2 * len(names)  # as numbers of classes are, not measurements
    if len(names) <= (MANY if dense else LEVELS):
        return names, coded, None
    edges = np.linspace(float(names[0]), float(names[-1]), 9)
    coded[there] = np.clip(np.searchsorted(edges, given[there].astype(float), side="right") - 1, 0, 7)
    return names, coded, edges


def _days(labels: Any) -> np.ndarray | None:
    """Moments as days since 1970, NaN for none; None for what are no moments."""
    if labels is None or hasattr(labels, "detach"):
        return None
    given = np.asarray(labels)
    if given.dtype.kind == "O" and given.ndim == 1:
        there = [one for one in given.tolist() if one is not None and one == one]
        if not there or not all(isinstance(one, datetime.date) for one in there):
            return None
        given = np.array([None if one is None or one != one else one.isoformat()[:19] for one in given.tolist()],
                         dtype="M8[s]")  # fmt: skip
    if given.dtype.kind != "M":
        return None
    return np.where(np.isnat(given), np.nan, given.astype("M8[us]").astype(np.int64) / 86_400e6)


def _dates(days: np.ndarray) -> np.ndarray:
    """Days since 1970 as texts: dates, with the time of day where all lie within two of them."""
    moments = np.round(np.asarray(days, dtype=float) * 86_400).astype(np.int64).astype("M8[s]")
    short = len(moments) > 0 and np.ptp(days) <= 2 and not (np.mod(days, 1) == 0).all()
    return np.array([str(moment).replace("T", " ")[: 16 if short else 10] for moment in moments])


def _name_heaps(ax: Axes, Z: np.ndarray, names: list[str], coded: np.ndarray, colours: np.ndarray) -> None:
    from matplotlib.patheffects import withStroke

    centres = np.array([np.median(Z[coded == i], axis=0) for i in range(len(names))])
    halo = [withStroke(linewidth=5, foreground=theme_of(ax).paper)]
    least = 0.07 * float(np.ptp(Z, axis=0).max())
    for name, colour, place in zip(names, colours, _apart(centres, least), strict=False):
        ax.text(place[0], place[1], words(name, 18), color=colour, fontsize=15 if len(name) < 5 else 11, weight="bold",
                ha="center", va="center", path_effects=halo, zorder=3)  # fmt: skip


def _scale(ax: Axes, theme: Theme, text: str) -> None:
    """Eight steps of colour in a corner, and what they stand for."""
    from matplotlib.patches import Rectangle

    for step, colour in enumerate(theme.ramp):
        ax.add_patch(Rectangle((0.02 + 0.03 * step, 0.02), 0.03, 0.022, facecolor=colour, transform=ax.transAxes))
    ax.text(0.02, 0.052, text, transform=ax.transAxes, fontsize=8, color=theme.faint, va="bottom")


def _apart(places: np.ndarray, least: float) -> np.ndarray:
    """Places (n, 2) moved as little as it takes until any two are ``least`` apart, or fifty rounds have gone."""
    places = places.copy()
    for _ in range(50):
        between = places[:, None] - places[None]
        distance = np.hypot(*between.T).T
        close = (distance < least) & ~np.eye(len(places), dtype=bool)
        if not close.any():
            break
        for i, j in zip(*np.nonzero(np.triu(close)), strict=True):
            away = between[i, j] / distance[i, j] if distance[i, j] > 0 else np.array([0.0, 1.0])
            move = away * (least * 1.01 - distance[i, j]) / 2
            places[i] += move
            places[j] -= move
    return places


def cells(ax: Axes, names: Sequence[str], columns: Sequence[tuple[str, Sequence[str], Sequence[bool]]]) -> Axes:
    """Rows of a table lying on their side: names of its columns at the left, a row in each column of words.

    Parameters
    ----------
    names : of the table's columns
    columns : of each row its heading, its cells as text, and which of them to draw the eye to
    """
    theme = theme_of(ax)
    edges = 2 + np.cumsum(widths(columns))
    for place, name in enumerate(names):
        ax.text(0, place + 1, words(name, 22), ha="left", va="center", fontsize=9, color=theme.faint)
        ax.plot([0, edges[-1]], [place + 0.5, place + 0.5], color=theme.rule, linewidth=0.6)
    for right, (heading, texts, told) in zip(edges.tolist(), columns, strict=True):
        ax.text(right, 0, words(heading, CELL), ha="right", va="center", fontsize=9, weight="bold", color=theme.ink)
        for place, (text, marked) in enumerate(zip(texts, told, strict=True)):
            ax.text(right, place + 1, words(_minute(text), CELL), ha="right", va="center", fontsize=9,
                    color=theme.palette[4] if marked else theme.ink, weight="bold" if marked else "normal")  # fmt: skip
    ax.set_xlim(0, edges[-1])
    ax.set_ylim(len(names) + 0.7, -0.7)
    return bare(ax)


def widths(columns: Sequence[tuple[str, Sequence[str], Sequence[bool]]]) -> list[float]:
    """How wide each column of ``cells`` is, 1 for ten letters or less, so that none lies over the next."""
    longest = [max(len(words(_minute(text), CELL)) for text in (heading, *texts)) for heading, texts, _ in columns]
    return [max(1.0, letters / 10) for letters in longest]


def _minute(text: str) -> str:
    """A moment without its seconds."""
    return re.sub(r"^(\d{4}-\d\d-\d\d \d\d:\d\d):\d\d.*$", r"\1", text)
