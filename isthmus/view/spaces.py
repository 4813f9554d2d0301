"""Where items lie, drawn: maps of codes, with small pictures, and the layers of a network side by side.

Shapes: n items; K latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.errors import DataError, SettingError
from isthmus.verbs.generate import require_able
from isthmus.view import drawing
from isthmus.view.items import glyphs_of, labels_for, require_picture
from isthmus.view.maps import Projection, project
from isthmus.view.paper import axes_for, bare, theme_of, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["layers", "map_2d", "scatter"]

POINTS = 20_000  # drawn at most, and given to the map
PICTURES = 0.055  # height of a small picture on a map, as a share of the map's
TRIED = 2000  # items that small pictures are taken from


def scatter(places: Any, labels: Any = None, ax: Any = None) -> Axes:
    """Points on a plane, each class in its colour and named where it is.

    Parameters
    ----------
    places : (n, 2), such as ``project(codes).places``
    labels : (n,) numbers of more than 20 values, or of more than 100 that follow each other as 0, 1, 2 do, drawn in
        eight steps; or classes of any kind; dates count as numbers. Grey where a label is missing (None, NaN). None:
        one colour
    ax : an Axes to draw into; None: one of a new figure

    Raises
    ------
    DataError : places that are not (n, 2), labels that are not (n,)

    Examples
    --------
    >>> import numpy as np, isthmus as im
    >>> ax = im.plots.scatter(np.random.default_rng(0).normal(size=(50, 2)), ["a", "b"] * 25)
    """
    ax, _ = axes_for(ax, 6, 5)
    return drawing.scatter(ax, places, labels)


def map_2d(model: Any, X: Any, labels: Any = None, *, method: str = "pca", seed: int = 0, thumbnails: bool = False,
           new: Any = None, projection: Projection | None = None, ax: Any = None) -> Axes:  # fmt: skip
    """Items as points where their codes lie, brought from K numbers to two.

    Parameters
    ----------
    model : any embedding that encodes
    X : items; of more than 20,000 so many are drawn by the seed
    labels : as in ``scatter``, one an item
    method, seed : of the map, see ``isthmus.view.maps.project``: "pca", "tsne" (extra maps), "umap" (extra umap)
    thumbnails : draw small pictures of items over the points, as many as have room; not of tables
    new : further items, placed on the same map and marked with rings
    projection : a map that was made before of codes of this model, for X to be placed on; None: one is made of X
    ax : an Axes to draw into; None: one of a new figure

    Returns
    -------
    The Axes. Codes of two numbers are drawn as they are with "pca", save for a turn

    Raises
    ------
    NotSupported : the model has no encoder; thumbnails of a table
    SettingError, DataError, MissingExtra : as ``project``; labels of another length

    Examples
    --------
    >>> import isthmus as im
    >>> X, y = im.datasets.digits(labels=True)
    >>> ax = im.plots.map_2d(im.PCA(8).fit(X), X, y, thumbnails=True)
    """
    require_able(model, "plots.map_2d", prior=False)
    if thumbnails:
        require_picture(model, "map_2d(thumbnails=True)", "leave thumbnails out")
    codes = model.encode(X)
    labels, rows = labels_for(labels, len(codes)), np.arange(len(codes))
    if len(codes) > POINTS:
        rows = np.sort(np.random.default_rng(seed).choice(len(codes), POINTS, replace=False))
        codes, labels = codes[rows], None if labels is None else labels[rows]
    if projection is None:
        projection = project(codes, method, seed)
        places = projection.places
    else:
        if not isinstance(projection, Projection):
            raise SettingError(f"projection={type(projection).__name__}: expected what isthmus.plots.project gives")
        places = projection.place(codes)
    ax, theme = axes_for(ax, 6.4, 5.4)
    drawing.scatter(ax, places, labels)
    if thumbnails:
        _pictures(ax, model, model._stored(X), rows, places, seed)
    if new is not None:
        beside = projection.place(model.encode(new))
        ax.scatter(beside[:, 0], beside[:, 1], s=60, facecolors="none", edgecolors=theme.ink, linewidths=1.4, zorder=4)
    return ax


def _pictures(ax: Axes, model: Any, stored: Any, rows: np.ndarray, places: np.ndarray, seed: int) -> None:
    """Small pictures of items, none over another, in the order of a draw."""
    order = np.random.default_rng(seed).permutation(len(places))[:TRIED]
    low, high = places.min(0), places.max(0)
    height = float(max(high[1] - low[1], 1e-12)) * PICTURES
    import torch

    some = np.sort(rows[order])
    glyphs = glyphs_of(model, None, stored[torch.from_numpy(some)])
    width = height / glyphs.ratio
    kept: list[np.ndarray] = []
    for at in order:
        place = places[at]
        if any(abs(place[0] - other[0]) < 1.15 * width and abs(place[1] - other[1]) < 1.15 * height for other in kept):
            continue
        kept.append(place)
        _small(ax, glyphs, int(np.searchsorted(some, rows[at])), float(place[0]), float(place[1]), width, height)
    ax.set_aspect("equal", adjustable="box")
    ax.set_xlim(low[0] - width, high[0] + width)
    ax.set_ylim(low[1] - height, high[1] + height)


def _small(ax: Axes, glyphs: drawing.Glyphs, i: int, x: float, y: float, width: float, height: float) -> None:
    """One picture whose middle is at (x, y) of axes that grow upwards."""
    theme = theme_of(ax)
    if glyphs.limits is None:
        ax.imshow(glyphs.values[i], cmap="gray", vmin=0, vmax=1, interpolation="nearest", zorder=2, aspect="auto",
                  extent=(x - width / 2, x + width / 2, y - height / 2, y + height / 2))  # fmt: skip
        return
    low, high = glyphs.limits
    steps = glyphs.values.shape[2]
    across = x - width / 2 + width * (np.arange(steps) + 0.5) / steps
    for channel, curve in enumerate(glyphs.values[i]):
        colour = theme.palette[channel % len(theme.palette)] if len(glyphs.values[i]) > 1 else theme.ink
        ax.plot(across, y - height / 2 + height * (curve - low) / (high - low), color=colour, linewidth=0.9, zorder=2)


def layers(maps: Any, labels: Any = None, ax: Any = None) -> Axes:
    """The layers of a network side by side: what each makes of the same items.

    Parameters
    ----------
    maps : what ``isthmus.layers`` gave; or a dict by name, in the order of the network: places (n, 2) of the items,
        drawn as points; or a picture (h, w) or (h, w, 3), drawn as it is
    labels : (n,) of the points, as in ``scatter``
    ax : an Axes to draw into; None: one of a new figure

    Returns
    -------
    The Axes, which holds one for each layer: ``ax.child_axes``

    Raises
    ------
    DataError : no layer, or one that is neither points nor a picture

    Examples
    --------
    >>> import numpy as np, isthmus as im
    >>> places = np.random.default_rng(0).normal(size=(50, 2))
    >>> ax = im.plots.layers({"input": places, "code": np.tanh(3 * places)})
    """
    maps = getattr(maps, "maps", maps)
    if not isinstance(maps, Mapping) or not maps:
        raise DataError("no layer is given: expected a dict of places (n, 2) or pictures (h, w) by name")
    across = min(len(maps), 4)
    down = -(-len(maps) // across)
    ax, theme = axes_for(ax, 2.8 * across, 2.9 * down)
    bare(ax)
    for place, (name, values) in enumerate(maps.items()):
        array = np.asarray(values)
        left, top = place % across / across, place // across / down
        inner = ax.inset_axes((left + 0.01, 1 - top - 0.98 / down, 0.98 / across, 0.88 / down))
        inner.set_facecolor(theme.paper)
        if array.ndim == 2 and array.shape[1] == 2 and len(array):
            drawing.scatter(inner, array, labels, size=6)
            for text in inner.texts:
                text.set_fontsize(9)
        elif array.ndim in (2, 3):
            glyphs = drawing.as_glyphs(array[None])
            drawing.samples(inner, glyphs)
        else:
            raise DataError(
                f"the layer {name!r} has the shape {array.shape}: expected places (n, 2) or a picture (h, w)"
            )
        inner.set_title(words(name), fontsize=10, color=theme.ink, loc="left")
    return ax
