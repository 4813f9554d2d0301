"""What a model makes of items, drawn: reconstructions, samples, latents that are moved, ways between items, classes.

Images are drawn as such, series and vectors as curves of the scaled view, rows of tables as their cells.

Shapes: n items; K latents; T steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isthmus import metrics
from isthmus.errors import DataError, NotSupported, SettingError
from isthmus.formats.arrays import four_digits
from isthmus.verbs.generate import interpolate, require_able
from isthmus.verbs.traverse import decoded_grid as decoded_over
from isthmus.verbs.traverse import latents as found_latents
from isthmus.verbs.traverse import range_of, traverse
from isthmus.view import drawing
from isthmus.view.drawing import Glyphs
from isthmus.view.paper import axes_for, bare, framed, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "decoded_grid",
    "errors_of",
    "glyphs_of",
    "interpolations",
    "kind_of",
    "labels_for",
    "reconstructions",
    "samples",
    "templates",
    "traversals",
]

COLUMNS = 14  # of a table that are drawn
ROWS = 4  # of a table beside their reconstructions
SHOWN = 8  # latents that are moved where none is named
WIDE = 11.0  # inches that a figure of many items may take


def reconstructions(model: Any, X: Any, n: int = 10, *, rows: Sequence[int] | None = None, ax: Any = None) -> Axes:
    """Items beside what the model makes of them, with the squared error of each.

    Parameters
    ----------
    model : any embedding; or a dict of embeddings by name, each drawn in a row of its own (not of tables)
    X : items of the form that was learned
    n : how many, evenly from all over X, default 10 (of a table at most 4)
    rows : which, from 0, in place of n
    ax : an Axes to draw into; None: one of a new figure

    Returns
    -------
    The Axes. Below each reconstruction stands ||x - x~||^2, summed over the elements, as ``evaluate`` has it. Curves
    are drawn over the given ones, of a table a cell beside a cell, wrong levels in colour

    Raises
    ------
    NotSupported, DataError, FormatError, SettingError : the model, X or n cannot be drawn; the message says why

    Examples
    --------
    >>> import isthmus as im
    >>> X = im.datasets.digits()
    >>> ax = im.plots.reconstructions(im.PCA(8).fit(X), X, n=6)
    >>> ax.figure.savefig("digits.png")                                           # doctest: +SKIP
    """
    models = dict(model) if isinstance(model, Mapping) else {"reconstructed": model}
    for one in models.values():
        require_able(one, "plots.reconstructions", prior=False)
    first = next(iter(models.values()))
    everything = first._stored(X)
    if rows is None:
        rows = spread(len(everything), _whole("n", n, 1))
    elif not len(rows) or not all(0 <= int(row) < len(everything) for row in rows):
        raise SettingError(f"rows={list(rows)!r}: expected numbers from 0 to {len(everything) - 1}, one at least")
    stored = everything[torch.as_tensor(np.asarray(rows, dtype=np.int64))]
    if kind_of(first, "reconstructions") == "table":
        if len(models) > 1:
            raise NotSupported("plots.reconstructions draws rows of a table for one model at a time, not for several")
        return _rows_beside(first, stored[:ROWS], list(rows)[:ROWS], ax)
    again, errors = {}, {}
    for name, one in models.items():
        own = stored if one is first else one._stored(first.format_.from_tensor(stored))
        codes = one._in_blocks(one._encode_stored, own)
        again[name] = glyphs_of(one, one.decode(codes.numpy()))
        errors[name] = errors_of(one, own)
    given, *others = drawing.together(glyphs_of(first, None, stored), *again.values())
    count, height = len(stored), given.ratio * (1 + len(models)) + 0.4
    ax, _ = axes_for(ax, *_sides(count * 1.12 + 1.6, height))
    return drawing.items_beside_reconstructions(ax, given, dict(zip(again, others, strict=True)), errors)


def errors_of(model: Any, stored: Any) -> np.ndarray:
    """||x - x~||^2 of each stored item, (n,) float64, in the view and unit in which ``evaluate`` has it."""
    form, found = model.format_, []
    for some in stored.split(4096):
        means = model._in_blocks(model._linear_mean, model._in_blocks(model._encode_stored, some))
        found.append(metrics.squared_error(form.linear(form.scale(some)), means))
    return np.concatenate(found)


def samples(model: Any, n: int = 25, *, seed: int = 0, ax: Any = None) -> Axes:
    """New items from the model's prior: those of ``model.sample(n, seed)``; of a table at most 8 rows.

    Raises
    ------
    NotSupported : the model has no decoder, no prior, or items that have no picture
    SettingError : n below 1
    """
    require_able(model, "plots.samples", encode=False)
    table = kind_of(model, "samples") == "table"
    made = model.sample(min(n, 8) if table else _whole("n", n, 1), seed)
    if table:
        more = f"and {n - 8} row{'s' * (n > 9)} more" if n > 8 else ""
        return _cells(model, made, [f"row {i + 1}" for i in range(min(n, 8))], ax, more)
    glyphs = glyphs_of(model, made)
    side = np.sqrt(n)
    ax, _ = axes_for(ax, *_sides(side * 1.12, side * 1.12))
    return drawing.samples(ax, glyphs)


def traversals(model: Any, X: Any, *, item: int = 0, latents: Sequence[int] | None = None, steps: int = 9,
               ax: Any = None) -> Axes:  # fmt: skip
    """One item of X with one latent after the other moved, a row for each: ``isthmus.traverse``, drawn.

    Parameters
    ----------
    model : any embedding that encodes and decodes
    X : items; their codes say how far a latent is moved, from its 1st to its 99th percentile
    item : which of X is moved, from 0
    latents : which latents; None: the eight of the greatest effect (``isthmus.latents``), of a table the first of them
    steps : values of each latent, from 2; default 9

    Raises
    ------
    NotSupported, SettingError, DataError, FormatError : as ``isthmus.traverse``
    """
    require_able(model, "plots.traversals", prior=False)
    table = kind_of(model, "traversals") == "table"
    stored = model._stored(X)
    if isinstance(item, bool) or not isinstance(item, (int, np.integer)) or not 0 <= item < len(stored):
        raise SettingError(f"item={item!r}: expected which of the items, a number from 0 to {len(stored) - 1}")
    one, known = model.format_.from_tensor(stored[int(item) : int(item) + 1]), X if len(stored) > 1 else None
    if latents is None:
        most = 1 if table else SHOWN
        latents = [row["latent"] for row in found_latents(model, X)[:most]] if len(stored) > 1 else range(
            min(most, model.latent_dim_)
        )  # fmt: skip
    moved = {int(latent): traverse(model, one, int(latent), steps=steps, X=known) for latent in latents}
    if not moved:
        raise SettingError("latents=(): name one latent at least, or None for those of the greatest effect")
    if table:
        if len(moved) > 1:
            raise NotSupported("plots.traversals draws one latent of a table at a time: give latents=(0,)")
        (latent, made), codes = next(iter(moved.items())), model.encode(X)[:, next(iter(moved))]
        values = range_of(codes, steps) if known is not None else range(steps)
        return _cells(model, made, [f"{value:+.2g}" for value in values], ax, f"latent {latent}", changes=True)
    glyphs = drawing.together(*(glyphs_of(model, made) for made in moved.values()))
    height = len(moved) * (glyphs[0].ratio + 0.12)
    ax, _ = axes_for(ax, *_sides(steps * 1.12 + 1.2, height))
    return drawing.traversals(ax, {f"latent {j}": rows for j, rows in zip(moved, glyphs, strict=True)})


def interpolations(model: Any, A: Any, B: Any, *, steps: int = 9, how: str = "linear", ax: Any = None) -> Axes:
    """The ways from items to others, a row for each pair: ``isthmus.interpolate``, drawn.

    Parameters
    ----------
    A, B : sets of as many items, at most 12; of a table one row each
    steps, how : as in ``isthmus.interpolate``

    Raises
    ------
    NotSupported, SettingError, DataError, FormatError : as ``isthmus.interpolate``; or A and B differ in number
    """
    require_able(model, "plots.interpolations")
    first, last, form = model._stored(A), model._stored(B), model.format_
    table = kind_of(model, "interpolations") == "table"
    most = 1 if table else 12
    if len(first) != len(last) or len(first) > most:
        raise DataError(f"{len(first)} and {len(last)} items given: expected as many of both, at most {most}")
    ends = [[form.from_tensor(some[i : i + 1]) for some in (first, last)] for i in range(len(first))]
    made = [interpolate(model, one, other, steps, how=how) for one, other in ends]
    if table:
        return _cells(model, made[0], [f"{share:.0%}" for share in np.linspace(0, 1, steps)], ax, changes=True)
    glyphs = drawing.together(*(glyphs_of(model, items) for items in made))
    ax, _ = axes_for(ax, *_sides(steps * 1.12 + 0.8, len(made) * (glyphs[0].ratio + 0.12)))
    return drawing.traversals(ax, {f"{i + 1}": rows for i, rows in enumerate(glyphs)})


def templates(model: Any, X: Any, labels: Any, ax: Any = None) -> Axes:
    """What the model takes for typical: the mean code of each class, decoded, and before them the decoded zero.

    The decoded zero is what the decoder says without a code. For PCA it is the mean item, for a VAE the middle of the
    prior.

    Parameters
    ----------
    labels : (n,) classes; items without label (None, NaN) are left out. The 23 most frequent classes are drawn

    Raises
    ------
    NotSupported : the model has no encoder or no decoder
    DataError : labels of another length, or none at all
    """
    require_able(model, "plots.templates", prior=False)
    codes = model.encode(X)
    names, coded, _ = drawing.classes_of(labels_for(labels, len(codes)), len(codes))
    if not len(names) or (coded < 0).all():
        raise DataError("labels name no class: give one for each item")
    counts = np.bincount(coded[coded >= 0], minlength=len(names))
    classes = np.sort(np.argsort(-counts, kind="stable")[:23]) if len(names) > 1 else np.array([0])
    middles = np.stack([np.zeros(codes.shape[1]), *(codes[coded == c].mean(0, dtype=float) for c in classes)])
    made = model.decode(middles)
    headings = ["zero", *(str(names[c]) for c in classes)]
    if kind_of(model, "templates") == "table":
        return _cells(model, made, headings[:9], ax)
    glyphs = glyphs_of(model, made)
    across = min(len(headings), 12)
    ax, _ = axes_for(ax, *_sides(across * 1.12, -(-len(headings) // 12) * (glyphs.ratio + 0.4)))
    return drawing.samples(ax, glyphs, headings)


def decoded_grid(model: Any, X: Any, latents: Sequence[int] = (0, 1), *, labels: Any = None, steps: int = 12,
                 ax: Any = None) -> Axes:  # fmt: skip
    """What is decoded over two latents, beside the real items' codes in the same range.

    Parameters
    ----------
    latents : two different ones, from 0; the others have their mean
    labels : (n,) classes or numbers, for the colours of the real items; None: one colour
    steps : T values of each latent, from 2; default 12

    Returns
    -------
    The Axes, which holds two others: ``ax.child_axes`` are the grid, and the scatter

    Raises
    ------
    NotSupported : rows of a table, which have no small picture
    SettingError, DataError, FormatError : as ``isthmus.decoded_grid``
    """
    require_able(model, "plots.decoded_grid", prior=False)
    require_picture(model, "decoded_grid", "plots.map_2d shows where rows lie, plots.traversals moves one latent")
    made = decoded_over(model, latents, steps=steps, X=X)
    codes = model.encode(X)[:, [int(j) for j in latents]]
    glyphs = glyphs_of(model, made)
    ax, theme = axes_for(ax, 9, 4.4)
    bare(ax)
    left = drawing.decoded_grid(ax.inset_axes((0, 0, 0.48, 1)), glyphs)
    right = ax.inset_axes((0.56, 0, 0.44, 1))
    right.set_facecolor(theme.paper)
    left.set_facecolor(theme.paper)
    drawing.scatter(right, codes, labels_for(labels, len(codes)))
    (a, b), (c, d) = (range_of(codes[:, j], 2) for j in range(2))
    right.plot([a, b, b, a, a], [c, c, d, d, c], color=theme.faint, linewidth=0.9, zorder=2)
    for one in (left, right):
        framed(one, theme, f"latent {latents[0]} \N{RIGHTWARDS ARROW}", f"latent {latents[1]} \N{UPWARDS ARROW}", None)
        one.set_xticks([])
        one.set_yticks([])
    right.set_box_aspect(glyphs.ratio)
    right.xaxis.label.set_text(right.get_xlabel() + "\nframed: the grid")  # beside, it would reach into the grid
    return ax


# ---------------------------------------------------------------------------------------------- items to draw


def kind_of(model: Any, call: str) -> str:
    """ "image", "curve" or "table"; NotSupported for what is none of these."""
    spec = model.format_.spec
    if spec.kind == "image" and spec.shape[0] not in (1, 3, 4):
        raise NotSupported(f"plots.{call} draws images of 1, 3 or 4 channels, and these have {spec.shape[0]}")
    kinds = {"image": "image", "series": "curve", "vector": "curve", "table": "table"}
    if spec.kind not in kinds or (spec.kind == "table" and not hasattr(model.format_, "codes_")):
        raise NotSupported(f"plots.{call} draws images, series, vectors and tables, and this model learned {spec.kind}")
    return kinds[spec.kind]


def require_picture(model: Any, call: str, instead: str) -> None:
    """NotSupported for rows of tables."""
    if kind_of(model, call) == "table":
        raise NotSupported(f"plots.{call} draws small pictures of images, series or vectors, and a row of a table has "
                           f"none: {instead}")  # fmt: skip


def glyphs_of(model: Any, items: Any, stored: Any = None) -> Glyphs:
    """Items as they are drawn, from the user's own form or from the stored view."""
    form = model.format_
    view = form.scale(form.to_tensor(items) if stored is None else stored).float().numpy()
    if form.spec.kind == "image":
        image = np.moveaxis(view, 1, -1)
        return drawing.as_glyphs(image[..., 0] if image.shape[-1] == 1 else image)
    return drawing.lines(view[:, None] if view.ndim == 2 else view)


def labels_for(labels: Any, count: int) -> Any:
    """Labels as (count,) array; DataError for another length."""
    if labels is None:
        return None
    labels = labels.detach().cpu().numpy() if hasattr(labels, "detach") else np.asarray(labels)
    if labels.shape != (count,):
        raise DataError(f"labels of shape {labels.shape} given for {count} items; expected ({count},)")
    return labels


def spread(count: int, n: int) -> list[int]:
    """n of so many, evenly from all over."""
    return sorted(set(np.linspace(0, count - 1, min(n, count)).round().astype(int).tolist()))


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise SettingError(f"{name}={value!r}: expected a whole number from {least}")
    return int(value)


def _sides(across: float, down: float) -> tuple[float, float]:
    """Inches of a figure of so many widths of an item."""
    width = float(np.clip(0.72 * across, 4.0, WIDE))
    return width, float(np.clip(width * down / across, 1.0, 9.0)) + 0.15


# ---------------------------------------------------------------------------------------------- rows of tables


def texts_of(model: Any, items: Any) -> tuple[list[str], list[list[Any]], list[list[str]]]:
    """Names of the learned columns of a table, its rows' values, and these as text."""
    from isthmus.formats.frames import source_of

    names = [code.name for code in model.format_.codes_ if code.elements]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for batch in source_of(items).batches():
        for name in names:
            columns[name] += batch.column(batch.schema.get_field_index(name)).to_pylist()
    values = [list(row) for row in zip(*columns.values(), strict=True)]
    return names, values, [[cell_text(value) for value in row] for row in values]


def cell_text(value: Any) -> str:
    """A cell as people write it."""
    if value is None or value != value:
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) < 1e15 and value == round(value) else four_digits(value)
    return str(value).removesuffix(" 00:00:00")


def _cells(model: Any, items: Any, headings: Sequence[str], ax: Any, title: str = "", changes: bool = False) -> Axes:
    """Rows as columns of words; ``changes``: levels that are not those of the row before are in colour."""
    names, values, texts = texts_of(model, items)
    shown = names[:COLUMNS]
    columns = []
    for i, heading in enumerate(headings):
        told = [changes and i > 0 and not isinstance(v, float) and v != before
                for v, before in zip(values[i], values[max(i - 1, 0)], strict=True)]  # fmt: skip
        columns.append((heading, texts[i][:COLUMNS], told[:COLUMNS]))
    ax, theme = axes_for(ax, 2 + 0.95 * sum(drawing.widths(columns)), 0.6 + 0.27 * len(shown))
    drawing.cells(ax, shown, columns)
    left = [title] * bool(title) + [f"and {len(names) - COLUMNS} columns more"] * (len(names) > COLUMNS)
    if left:
        ax.set_title(words("; ".join(left), 80), loc="left", fontsize=9, color=theme.faint)
    return ax


def _rows_beside(model: Any, stored: Any, numbers: Sequence[int], ax: Any) -> Axes:
    """Of each row its cells, and those that came back."""
    form = model.format_
    names, given, texts = texts_of(model, form.from_tensor(stored))
    codes = model._in_blocks(model._encode_stored, stored)
    _, back, words_back = texts_of(model, model.decode(codes.numpy()))
    errors = errors_of(model, stored)
    columns = []
    for i, row in enumerate(numbers):
        wrong = [a is not None and not isinstance(a, float) and a != b for a, b in zip(given[i], back[i], strict=True)]
        columns.append((f"row {int(row)}", texts[i][:COLUMNS], [False] * COLUMNS))
        columns.append((f"error {drawing.number(errors[i])}", words_back[i][:COLUMNS], wrong[:COLUMNS]))
    shown = names[:COLUMNS]
    columns = [(heading, cells, told[: len(shown)]) for heading, cells, told in columns]
    ax, theme = axes_for(ax, 2 + 0.95 * sum(drawing.widths(columns)), 0.6 + 0.27 * len(shown))
    drawing.cells(ax, shown, columns)
    more = f"; {len(names) - COLUMNS} columns more" if len(names) > COLUMNS else ""
    ax.set_title(f"each row, and what came back of it{more}", loc="left", fontsize=9, color=theme.faint)
    return ax
