"""Figures as charts: error against k, latents in use, training, columns of a table, and why an item is an anomaly.

Shapes: K latents; D... the axes of an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.errors import DataError, NotSupported
from isthmus.evaluate import Report, error_curves
from isthmus.verbs.generate import require_able
from isthmus.verbs.traverse import latents as found_latents
from isthmus.view import drawing
from isthmus.view.paper import axes_for, bare, framed, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["active_units", "column_errors", "contributions", "error_curve", "training"]

BARS = 30  # drawn at most


def error_curve(model: Any, X: Any = None, *, train: Any = None, curves: dict[str, Any] | None = None,
                ax: Any = None) -> Axes:  # fmt: skip
    """How large the error is with the first k latents alone, beside PCA's: how many are needed.

    Parameters
    ----------
    model : any embedding. PCA, and models learned with ``ordered=True``, have a curve; another has its one point
    X, train : as in ``isthmus.evaluate``: the same items are measured, and PCA learns from the same others
    curves : what ``isthmus.evaluate.error_curves`` gave, in place of X
    ax : an Axes to draw into; None: one of a new figure

    Raises
    ------
    DataError, SettingError : as ``isthmus.evaluate``

    Examples
    --------
    >>> import isthmus as im
    >>> X = im.datasets.digits()
    >>> ax = im.plots.error_curve(im.PCA(16).fit(X[:1000]), X[1000:])
    """
    if curves is None:
        if X is None:
            raise DataError("error_curve needs items to measure: give X=, or curves=")
        curves = error_curves(model, X, train=train)
    ax, theme = axes_for(ax, 5.6, 3.4)
    name, steps = type(model).__name__, curves["k"]
    own, pca = curves["model"], curves["pca"]
    ends = []
    if pca:
        ax.plot(steps[: len(pca)], pca, color=theme.palette[1], linewidth=1.8, marker="o", markersize=3.5, label="PCA")
        ends.append((steps[len(pca) - 1], pca[-1], "PCA", theme.palette[1]))
    at = steps if len(own) == len(steps) else steps[-1:]
    ax.plot(
        at, own, color=theme.palette[0], linewidth=1.8, marker="o", markersize=3.5 if len(own) > 1 else 7, label=name
    )
    ends.append((at[-1], own[-1], name, theme.palette[0]))
    framed(ax, theme, "k, the first latents that are kept", "squared error of an item")
    ax.axhline(curves["nothing"], color=theme.faint, linewidth=1, linestyle=(0, (2, 3)))
    ax.set_ylim(bottom=0, top=1.1 * max(curves["nothing"], *own, *pca))
    ax.set_xlim(0.5 if steps[-1] < 30 else 0, steps[-1] * 1.18 + 0.5)
    ax.annotate("the mean, no latent", (ax.get_xlim()[1], curves["nothing"]), xytext=(0, 3), ha="right", va="bottom",
                textcoords="offset points", fontsize=8, color=theme.faint)  # fmt: skip
    _whole_ticks(ax)
    ax.set_xticks(
        [k for k in ax.get_xticks() if ax.get_xlim()[0] <= k <= steps[-1]]
    )  # beyond are names of curves, and no latents
    _ends(ax, ends)
    return ax


def _whole_ticks(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def _ends(ax: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Curves named where they end, the upper one above: no legend to look up."""
    apart = 0.055 * abs(ax.get_ylim()[1] - ax.get_ylim()[0])
    ends = sorted(ends, key=lambda end: end[1])
    heights = [end[1] for end in ends]
    if ax.get_yscale() == "linear":
        for i in range(1, len(heights)):
            heights[i] = max(heights[i], heights[i - 1] + apart)
    for (x, _, name, colour), height in zip(ends, heights, strict=True):
        ax.annotate(words(name, 24), (x, height), xytext=(7, 0), textcoords="offset points", color=colour, fontsize=9,
                    weight="bold", va="center", annotation_clip=False)  # fmt: skip


def active_units(model: Any, X: Any = None, *, rows: Sequence[dict[str, Any]] | None = None, ax: Any = None) -> Axes:
    """How much each latent does, the greatest first; those that are not in use are grey.

    Parameters
    ----------
    model : any embedding that encodes and decodes
    X : items, two at least
    rows : what ``isthmus.latents`` gave, in place of X
    ax : an Axes to draw into; None: one of a new figure

    Returns
    -------
    The Axes. A bar is the share of all effects that the latent has: what moving it changes in the decoded items. In use
    is what varies: see ``isthmus.latents``. Of more than 30 latents the first 30 are drawn

    Raises
    ------
    NotSupported, DataError : as ``isthmus.latents``
    """
    if rows is None:
        require_able(model, "plots.active_units", prior=False)
        if X is None:
            raise DataError("active_units needs items whose codes vary: give X=, or rows=")
        rows = found_latents(model, X)
    ax, theme = axes_for(ax, 5.6, 3.0)
    shown = list(rows[:BARS])
    colours = [theme.palette[0] if row["active"] else theme.rule for row in shown]
    places = np.arange(len(shown))
    ax.bar(places, [100 * row["share"] for row in shown], color=colours, width=0.75)
    ax.set_xticks(places, [str(row["latent"]) for row in shown])
    framed(ax, theme, "latent, the greatest effect first", "share of what all latents change, %")
    ax.tick_params(axis="x", length=0, labelsize=9 if len(shown) <= 20 else 7)
    used = sum(row["active"] for row in rows)
    ax.text(0.99, 0.97, f"{used} of {len(rows)} in use", transform=ax.transAxes, ha="right", va="top", fontsize=11,
            weight="bold", color=theme.ink)  # fmt: skip
    return ax


def training(model: Any, ax: Any = None) -> Axes:
    """The loss while the model learned, on what it learned from and on what was held out.

    Parameters
    ----------
    model : one that was trained by steps, with a ``history_``
    ax : an Axes to draw into; None: one of a new figure

    Raises
    ------
    NotSupported : the model was not trained by steps
    """
    history = getattr(model, "history_", None) or {}
    if not history.get("epoch"):
        raise NotSupported(f"plots.training needs a model that was trained by steps, such as Autoencoder and VAE; this "
                           f"{type(model).__name__} was solved at once, and has no history")  # fmt: skip
    ax, theme = axes_for(ax, 5.6, 3.2)
    epochs, ends = history["epoch"], []
    dots = "o" if len(epochs) < 3 else None
    learned = np.asarray(history.get("loss") or [[]], dtype=float)  # a column for each set of parameters
    columns = learned.reshape(len(learned), -1).T
    drawn = [("learned from" + f", {i + 1}" * (len(columns) > 1), column, theme.palette[5])
             for i, column in enumerate(columns)]  # fmt: skip
    drawn.append(("held out", np.asarray(history.get("held_out") or [], dtype=float), theme.palette[0]))
    for name, values, colour in drawn:
        if len(values):
            ax.plot(epochs[: len(values)], values, color=colour, linewidth=1.8, label=name, marker=dots)
            ends.append((float(epochs[len(values) - 1]), float(values[-1]), name, colour))
    best = history.get("best_epoch")
    if best in epochs and history.get("held_out"):
        ax.plot([best], [history["held_out"][epochs.index(best)]], "o", color=theme.ink, markersize=6, zorder=4)
        ax.annotate("best, kept", (best, history["held_out"][epochs.index(best)]), xytext=(0, -9), fontsize=8,
                    textcoords="offset points", ha="right", va="top", color=theme.ink,
                    bbox={"facecolor": theme.paper, "edgecolor": "none", "pad": 1})  # fmt: skip
    framed(ax, theme, "epoch, once through the items", "loss")
    heights = np.concatenate([line.get_ydata() for line in ax.lines])
    low, high = float(heights.min()), float(np.percentile(heights, 97))  # the first epoch may be far off all others
    ax.set_ylim(low - 0.06 * (high - low + 1e-12), high + 0.08 * (high - low + 1e-12))
    ax.set_xlim(min(epochs) - 0.02 * len(epochs), max(epochs) + 0.2 * max(len(epochs), 2))
    _whole_ticks(ax)
    _ends(ax, ends)
    return ax


def column_errors(report: Any, ax: Any = None) -> Axes:
    """How well each column of a table comes back, beside guessing it without the row.

    Parameters
    ----------
    report : what ``isthmus.evaluate`` gave of a table, or its ``columns``
    ax : an Axes to draw into; None: one of a new figure

    Returns
    -------
    The Axes. A bar is the error by that of a guess, the mean or the most frequent level: 0 is exact, 1 is no better
    than guessing. The 30 worst columns are drawn; one that guessing gets right always is left out

    Raises
    ------
    DataError : the report is of no table
    """
    columns = report.columns if isinstance(report, Report) else report
    if not isinstance(columns, list) or not columns:
        raise DataError("column_errors needs what evaluate(model, X) says of a table; these items have no columns")
    shares = [(row["error"] / row["guess"], row["column"]) for row in columns if row["guess"] > 0]
    if not shares:
        raise DataError("every column is guessed without error: there is nothing to compare")
    shown = sorted(shares, reverse=True)[:BARS]
    ax, theme = axes_for(ax, 5.6, 0.9 + 0.24 * len(shown))
    places = np.arange(len(shown))
    ax.barh(places, [share for share, _ in shown], height=0.7,
            color=[theme.palette[0] if share < 1 else theme.palette[4] for share, _ in shown])  # fmt: skip
    ax.set_yticks(places, [words(name, 24) for _, name in shown])
    framed(ax, theme, "error by that of a guess: 0 is exact, 1 is guessing", "", "x")
    ax.axvline(1, color=theme.ink, linewidth=1)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlim(0, max(1.05, 1.05 * min(shown[0][0], 3)))
    ax.tick_params(axis="y", length=0, labelcolor=theme.ink)
    return ax


def contributions(item: Any, contributions: Any, names: Sequence[str] | None = None, ax: Any = None) -> Axes:
    """One item, and what each of its parts adds to its score.

    Parameters
    ----------
    item : an image (h, w) or (h, w, c); a series (t,) or (t, c); or a row of values of any kind (d,), with ``names``
    contributions : numbers of the same shape; of an image (h, w) will do too, of a series (t,)
    names : (d,) of the columns of a row; None: a series
    ax : an Axes to draw into; None: one of a new figure

    Returns
    -------
    The Axes. Of an image two pictures, the item and the contributions over it; of a series the curve, with bars of what
    each step adds below it; of a row bars, the 15 greatest, each with the column's value

    Raises
    ------
    DataError : shapes that do not go together, or contributions that are not finite

    Examples
    --------
    >>> import numpy as np, isthmus as im
    >>> ax = im.plots.contributions([1.7, 4], [0.1, 9.5], ["height", "age"])
    """
    added = np.asarray(contributions, dtype=float)
    if not added.size or not np.isfinite(added).all():
        raise DataError("contributions must be finite numbers, one at least")
    if names is not None:
        return _of_row(list(item), added, [str(name) for name in names], ax)
    thing = np.asarray(item)
    if thing.dtype.kind not in "buif":
        raise DataError("an item of words needs names=, one for each of its columns")
    image = thing.ndim == 3 or (thing.ndim == 2 and added.ndim == 2 and thing.shape[1] > 4)
    if added.ndim > thing.ndim or thing.shape[: added.ndim] != added.shape:
        raise DataError(f"contributions of shape {added.shape} do not go with an item of shape {thing.shape}")
    if image:
        return _of_image(thing, added if added.ndim == 2 else added.sum(2), ax)
    return _of_series(thing if thing.ndim == 2 else thing[:, None], added if added.ndim == 1 else added.sum(1), ax)


def _of_image(item: np.ndarray, added: np.ndarray, ax: Any) -> Axes:
    from matplotlib.colors import LinearSegmentedColormap

    glyphs = drawing.as_glyphs(item[None])
    ax, theme = axes_for(ax, 6.0, 3.0 * glyphs.ratio + 0.4)
    drawing.tile(ax, glyphs, 0, 0, 0)
    heat = LinearSegmentedColormap.from_list("added", [theme.palette[0], theme.paper, theme.palette[4]])
    most = float(np.abs(added).max()) or 1.0
    ax.imshow(added, cmap=heat, vmin=-most, vmax=most, interpolation="nearest",
              extent=(1 + drawing.GAP, 2 + drawing.GAP, glyphs.ratio, 0))  # fmt: skip
    for left, text in ((0.0, "the item"), (1 + drawing.GAP, "what each pixel adds")):
        ax.text(left, -0.03, text, fontsize=10, color=theme.ink, va="bottom")
    return bare(ax, (-0.02, 2.02 + drawing.GAP), (glyphs.ratio + 0.02, -0.16))


def _of_series(item: np.ndarray, added: np.ndarray, ax: Any) -> Axes:
    ax, theme = axes_for(ax, 6.4, 3.4)
    bare(ax)
    above, below = ax.inset_axes((0, 0.42, 1, 0.58)), ax.inset_axes((0, 0, 1, 0.34))
    for channel, curve in enumerate(item.T):
        above.plot(np.arange(len(item)), curve, linewidth=1.5,
                   color=theme.ink if item.shape[1] == 1 else theme.palette[channel % 10])  # fmt: skip
    below.bar(np.arange(len(added)), added, width=1.0, color=theme.palette[4])
    framed(above, theme, "", "the item")
    framed(below, theme, "step", "what each step adds to the score")
    for one in (above, below):
        one.set_facecolor(theme.paper)
        one.set_xlim(-0.5, len(item) - 0.5)
    above.set_xticklabels([])
    return ax


def _of_row(item: list[Any], added: np.ndarray, names: list[str], ax: Any) -> Axes:
    if added.shape != (len(names),) or len(item) != len(names):
        raise DataError(f"{len(item)} values, {added.size} contributions and {len(names)} names do not go together")
    from isthmus.view.items import cell_text

    order = np.argsort(-np.abs(added), kind="stable")[:15]
    ax, theme = axes_for(ax, 6.0, 0.9 + 0.26 * len(order))
    places = np.arange(len(order))
    ax.barh(
        places, added[order], height=0.7, color=[theme.palette[4] if added[i] > 0 else theme.palette[0] for i in order]
    )
    ax.set_yticks(places, [words(f"{words(names[i], 22)} = {cell_text(item[i])}", 44) for i in order])
    framed(ax, theme, "what each column adds to the score", "", "x")
    ax.axvline(0, color=theme.faint, linewidth=1)
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0, labelcolor=theme.ink)
    return ax
