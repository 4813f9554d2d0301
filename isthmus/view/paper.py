"""What pictures are drawn on and with: light and dark paper, colours, figures without pyplot. With its neighbours in
this folder the home of matplotlib.

Nothing here or above it touches pyplot or matplotlib's settings: no window, no global state, the same bytes every time.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from isthmus.errors import MissingExtra, SettingError
from isthmus.store import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DARK",
    "FAINT",
    "INK",
    "LIGHT",
    "PALETTE",
    "Theme",
    "axes_for",
    "bare",
    "canvas",
    "framed",
    "png",
    "theme",
    "theme_of",
    "words",
    "write",
]


class Theme(NamedTuple):
    """Colours that go together.

    Attributes
    ----------
    paper, ink, faint, rule : behind everything; of lines and words; of what is said aside; of lines that only guide
    palette : ten colours that any eyes tell apart, for classes
    ramp : eight colours, from little to much
    """

    paper: str
    ink: str
    faint: str
    rule: str
    palette: tuple[str, ...]
    ramp: tuple[str, ...]


LIGHT = Theme(
    "#FFFFFF", "#222222", "#6B6B6B", "#DADADA",
    # Okabe & Ito 2008 without its yellow, too pale for white paper, and with three of Tol 2021.
    ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#332288", "#999933", "#661100", "#222222"),
    ("#6DBBE3", "#4BA3D3", "#2F8BC1", "#1A74AC", "#0F5E93", "#0B4978", "#0A355B", "#0B2240"),
)  # fmt: skip
DARK = Theme(
    "#15171C", "#ECEDEF", "#A3A7AE", "#3A3E46",
    # The same hues, as far apart on dark paper.
    ("#3D8FD6", "#E69F00", "#00A67C", "#E79AC8", "#F2743E", "#8FD3FF", "#8C7BFF", "#D9DF82", "#A8574C", "#F2F2F2"),
    ("#2F6DA6", "#3A80BF", "#4A94D4", "#63A8E2", "#80BBEC", "#A0CEF4", "#C3E0FA", "#E6F3FE"),
)  # fmt: skip
THEMES = {"light": LIGHT, "dark": DARK}
PALETTE, INK, FAINT = LIGHT.palette, LIGHT.ink, LIGHT.faint
MOST = 40  # characters of a name that are written

_theme: ContextVar[Theme] = ContextVar("theme", default=LIGHT)


@contextmanager
def theme(name: str) -> Iterator[Theme]:
    """Within the block, figures that are made have this paper: ``with plots.theme("dark"): ...``.

    An Axes that is given keeps its own paper, and is drawn on in the ink that suits it.

    Parameters
    ----------
    name : "light", as it is without, or "dark"

    Raises
    ------
    SettingError : another word
    """
    if name not in THEMES:
        raise SettingError(f"theme({name!r}): expected one of {', '.join(map(repr, THEMES))}")
    token = _theme.set(THEMES[name])
    try:
        yield THEMES[name]
    finally:
        _theme.reset(token)


def theme_of(ax: Axes) -> Theme:
    """The theme that suits the paper of these axes: dark where it reflects less than a fifth of the light."""
    from matplotlib.colors import to_rgba

    for part in (ax, ax.figure, getattr(ax.figure, "figure", None)):
        colour = to_rgba(part.get_facecolor()) if part is not None else (0, 0, 0, 0)
        if colour[3] > 0.5:
            linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
            dark = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.2
            return DARK if dark else LIGHT
    return _theme.get()


def canvas(width: float, height: float) -> Figure:
    """An empty figure in the theme's paper, sides in inches of 133 pixels: 12 x 9 are 1600 x 1200.

    Raises
    ------
    MissingExtra : matplotlib is not installed
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra('plots need matplotlib: pip install "isthmus[plots]"') from error
    figure = Figure(figsize=(width, height), dpi=400 / 3, facecolor=_theme.get().paper)
    FigureCanvasAgg(figure)
    return figure


def write(figure: Figure, path: str | os.PathLike[str]) -> None:
    """The figure as a PNG, atomically. Raises FileError where the file cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(png(figure))


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG."""
    into = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # an empty square says so
        figure.savefig(into, format="png", metadata={"Software": None})
    return into.getvalue()


def axes_for(ax: Any, width: float, height: float) -> tuple[Axes, Theme]:
    """The Axes that is given, or one of its own figure, which notebooks show; and the theme that suits it.

    Raises
    ------
    SettingError : what is given is no Axes
    MissingExtra : matplotlib is not installed
    """
    if ax is None:
        figure = canvas(width, height)
        figure.set_layout_engine("constrained")
        made = figure.add_subplot(axes_class=_shown())
        made.set_facecolor(_theme.get().paper)
        return made, _theme.get()
    if not hasattr(ax, "inset_axes"):
        raise SettingError(f"ax={type(ax).__name__}: expected one Axes of matplotlib, or None for a new figure")
    return ax, theme_of(ax)


@cache
def _shown() -> type[Axes]:
    """The class of Axes whose figure a notebook shows where it is the value of a cell, without pyplot."""
    from matplotlib.axes import Axes

    class Shown(Axes):
        def _repr_png_(self) -> bytes:
            figure = self.get_figure(root=True)
            assert figure is not None
            return png(figure)

    return Shown


def bare(ax: Axes, across: tuple[float, float] | None = None, down: tuple[float, float] | None = None) -> Axes:
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


def framed(ax: Axes, colours: Theme, across: str, up: str, grid: Literal["x", "y"] | None = "y") -> Axes:
    """The axes of a chart: two quiet lines, guides, and what both directions mean, the upward one written above."""
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(colours.faint)
    ax.tick_params(colors=colours.faint, labelcolor=colours.faint, labelsize=9, which="both")
    ax.tick_params(which="minor", length=0)
    if grid is not None:
        ax.grid(True, axis=grid, color=colours.rule, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.set_xlabel(words(across, 90), color=colours.faint, fontsize=9)
    ax.set_ylabel(words(up, 90), color=colours.faint, fontsize=9, rotation=0, ha="left", va="bottom")
    ax.yaxis.set_label_coords(0.0, 1.02)
    if up:
        ax.set_title(" ", fontsize=9)  # keeps room for the words above, which a layout does not count
    return ax


def words(text: Any, most: int = MOST) -> str:
    """A name as one line that can be written: no control characters, not too long, a dollar only a dollar."""
    line = plain(text, most)
    return line.replace("$", r"\$")  # or matplotlib would read formulas


def plain(text: Any, most: int = MOST) -> str:
    """A name as one line: line breaks as spaces, no control, direction or lone surrogate characters, not too long."""
    line = " ".join(str(text).split())
    line = re.sub("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]", "", line)
    return line if len(line) <= most else line[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
