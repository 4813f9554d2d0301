"""Pictures of items, reconstructions, samples and codes. The only home of matplotlib.

Each function draws into an Axes that it is given, and returns it. ``canvas`` and ``write`` make and save a figure
without pyplot: no window, no global state, the same bytes every time.

Shapes: n items; h, w sides of an image; c channels, 1, 3 or 4; K latents.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.errors import DataError, MissingExtra
from isthmus.store import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "FAINT",
    "INK",
    "PALETTE",
    "canvas",
    "decoded_grid",
    "items_beside_reconstructions",
    "map_2d",
    "samples",
    "traversals",
    "write",
]

# Okabe & Ito 2008 without its yellow, too pale for white paper, and with three of Tol 2021: told apart by any eyes.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#332288", "#999933", "#661100", "#222222")
INK, FAINT = "#222222", "#777777"
GAP = 0.12  # between two images, in sides of an image


def canvas(width: float, height: float) -> Figure:
    """An empty white figure, sides in inches of 133 pixels: 12 x 9 are 1600 x 1200.

    Raises
    ------
    MissingExtra : matplotlib is not installed
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra('plots need matplotlib: pip install "isthmus[plots]"') from error
    figure = Figure(figsize=(width, height), dpi=400 / 3, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def write(figure: Figure, path: str | os.PathLike[str]) -> None:
    """The figure as a PNG, atomically. Raises FileError where the file cannot be written."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def items_beside_reconstructions(ax: Axes, X: Any, X2: Any, errors: Any = None) -> Axes:
    """A row of items, and below it a row of what each model makes of them.

    Parameters
    ----------
    X : images (n, h, w) or (n, h, w, c); integers up to 255, or floats in [0, 1]
    X2 : reconstructions of the same shape, or a dict of them by the name that is written beside the row
    errors : (n,) numbers to write below the images of X2, or a dict of them by the same names. None: none

    Raises
    ------
    DataError : not images, or X2 or errors do not fit X
    """
    rows = dict(X2) if isinstance(X2, Mapping) else {"reconstructed": X2}
    below = dict(errors) if isinstance(errors, Mapping) else {} if errors is None else {next(iter(rows)): errors}
    items, sides = _images(X), np.shape(X)
    for name, again in rows.items():
        if np.shape(again) != sides or len(below.get(name, items)) != len(items):
            raise DataError(f"{name}: {np.shape(again)} with {len(below.get(name, items))} errors do not fit {sides}")
    ratio = items.shape[1] / items.shape[2]
    step, pitch = 1 + GAP, ratio + GAP + 0.22 * bool(below)
    for place, (name, images) in enumerate([("given", items), *((n, _images(again)) for n, again in rows.items())]):
        top = place * pitch - 0.22 * bool(below) * (place > 0)  # nothing is written below the first row
        ax.text(-0.25, top + ratio / 2, name, ha="right", va="center", color=INK, fontsize=11)
        for i, image in enumerate(images):
            _show(ax, image, i * step, top, 1, ratio)
            if name in below:
                ax.text(i * step + 0.5, top + ratio + 0.05, f"{below[name][i]:.2f}", ha="center", va="top",
                        color=FAINT, fontsize=8)  # fmt: skip
    return _bare(ax, (-0.02, len(items) * step - GAP + 0.02), (len(rows) * pitch + ratio, -0.02))


def samples(ax: Axes, items: Any) -> Axes:
    """Images in a square, or nearly.

    Parameters
    ----------
    items : images (n, h, w) or (n, h, w, c); integers up to 255, or floats in [0, 1]

    Raises
    ------
    DataError : not images
    """
    images = _images(items)
    ratio = images.shape[1] / images.shape[2]
    columns = math.ceil(math.sqrt(len(images) * ratio))
    step, pitch = 1 + GAP, ratio + GAP
    for i, image in enumerate(images):
        _show(ax, image, i % columns * step, i // columns * pitch, 1, ratio)
    lines = math.ceil(len(images) / columns)
    return _bare(ax, (-0.02, columns * step - GAP + 0.02), (lines * pitch - GAP + 0.02, -0.02))


def traversals(ax: Axes, rows: Mapping[str, Any]) -> Axes:
    """A row of images for each latent that was moved, its name beside it.

    Parameters
    ----------
    rows : by name, images (n, h, w) or (n, h, w, c) of one shape; integers up to 255, or floats in [0, 1]

    Raises
    ------
    DataError : no row, not images, or rows of different shapes
    """
    shapes = {np.shape(items) for items in rows.values()}
    if len(shapes) != 1:
        raise DataError(f"rows of images of one shape can be drawn, not of {sorted(shapes) or 'none'}")
    ratio, step = 1.0, 1 + GAP
    for place, (name, items) in enumerate(rows.items()):
        images = _images(items)
        ratio = images.shape[1] / images.shape[2]
        top = place * (ratio + GAP)
        ax.text(-0.25, top + ratio / 2, name, ha="right", va="center", color=INK, fontsize=11)
        for i, image in enumerate(images):
            _show(ax, image, i * step, top, 1, ratio)
    count = next(iter(shapes))[0]
    return _bare(ax, (-0.02, count * step - GAP + 0.02), (len(rows) * (ratio + GAP) - GAP + 0.02, -0.02))


def decoded_grid(ax: Axes, items: Any, names: tuple[str, str] = ("", "")) -> Axes:
    """Images over a grid of two latents, side by side as one picture.

    Parameters
    ----------
    items : T * T images, row by row from above; integers up to 255, or floats in [0, 1]
    names : of the latent that grows to the right, and of the one that grows upwards

    Raises
    ------
    DataError : not images, or not a square number of them
    """
    images = _images(items)
    side = math.isqrt(len(images))
    if side * side != len(images):
        raise DataError(f"{len(images)} images make no square grid; expected 4, 9, 16, ...")
    ratio = images.shape[1] / images.shape[2]
    for i, image in enumerate(images):
        _show(ax, image, i % side, i // side * ratio, 1, ratio)
    if any(names):
        ax.set_xlabel(f"{names[0]} \N{RIGHTWARDS ARROW}", color=INK)
        ax.set_ylabel(f"{names[1]} \N{RIGHTWARDS ARROW}", color=INK)
    return _bare(ax, (0, side), (side * ratio, 0))


def map_2d(ax: Axes, Z: Any, labels: Any = None) -> Axes:
    """Codes as points, coloured by class, each class named where its points are.

    Parameters
    ----------
    Z : (n, 2) codes
    labels : (n,) classes of any kind that can be sorted; their names are written at the median of their points, moved
        apart where they would overlap. Colours repeat beyond ten. None: points of one colour

    Raises
    ------
    DataError : Z is not (n, 2), or labels are not (n,)
    """
    from matplotlib.patheffects import withStroke

    Z = np.asarray(Z, dtype=float)
    classes = np.zeros(len(Z), dtype=int) if labels is None else np.asarray(labels)
    if Z.ndim != 2 or Z.shape[1] != 2 or not len(Z):
        raise DataError(f"a map needs codes of shape (n, 2), not {Z.shape}: reduce them, with PCA(2) for one")
    if classes.shape != (len(Z),):
        raise DataError(f"labels of shape {classes.shape} given for {len(Z)} points; expected ({len(Z)},)")
    names, coded = np.unique(classes, return_inverse=True)
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(names))]
    order = np.random.default_rng(0).permutation(len(Z))  # or the last class would lie over the others
    size = float(np.clip(6000 / len(Z), 2, 26))
    ax.scatter(Z[order, 0], Z[order, 1], s=size, c=[colours[i] for i in coded[order]], alpha=0.75, linewidths=0)
    ax.margins(0.03)
    ax.set_aspect("equal", adjustable="datalim")
    if labels is not None:
        centres = np.array([np.median(Z[coded == i], axis=0) for i in range(len(names))])
        for name, colour, place in zip(
            names, colours, _apart(centres, 0.07 * float(np.ptp(Z, axis=0).max())), strict=True
        ):
            halo = [withStroke(linewidth=5, foreground="white")]
            ax.text(place[0], place[1], str(name), color=colour, fontsize=15, weight="bold", ha="center", va="center",
                    path_effects=halo, zorder=3)  # fmt: skip
    return _bare(ax)


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


def _images(items: Any) -> np.ndarray:
    """(n, h, w) or (n, h, w, c) floats in [0, 1]."""
    images = np.asarray(items)
    images = images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images
    right = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] in (3, 4))
    if not right or images.dtype.kind not in "buif" or 0 in images.shape:
        raise DataError(f"images (n, h, w) or (n, h, w, c) can be shown, not {images.dtype} of shape {images.shape}")
    top = 255.0 if images.dtype.kind in "ui" else 1.0
    return np.clip(images.astype(float) / top, 0.0, 1.0)


def _show(ax: Axes, image: np.ndarray, left: float, top: float, width: float, height: float) -> None:
    """One image, every pixel a square."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest",
              extent=(left, left + width, top + height, top))  # fmt: skip


def _bare(ax: Axes, across: tuple[float, float] | None = None, down: tuple[float, float] | None = None) -> Axes:
    """The axes without ticks and frame, and with limits and square units where they are given."""
    ax.set_anchor("NW")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if across is not None and down is not None:
        ax.set_xlim(*across)
        ax.set_ylim(*down)
        ax.set_aspect("equal")
    return ax
