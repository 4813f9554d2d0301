"""Pictures of items, reconstructions, samples, codes and figures: ``isthmus.plots``.

Each function draws into the Axes that it is given as ``ax=``, or into one of a new figure, and returns it. A notebook
shows what is returned; ``ax.figure.savefig(path)`` and ``plots.write(ax.figure, path)`` keep it. Colours are told apart
by any eyes; ``with plots.theme("dark"):`` new figures are dark, and an Axes of dark paper is drawn on in light ink.
Pyplot is not touched.
"""

from __future__ import annotations

from isthmus.view.curves import active_units, column_errors, contributions, error_curve, training
from isthmus.view.items import decoded_grid, interpolations, reconstructions, samples, templates, traversals
from isthmus.view.maps import project
from isthmus.view.paper import DARK, FAINT, INK, LIGHT, PALETTE, canvas, theme, write
from isthmus.view.spaces import layers, map_2d, scatter

__all__ = [
    "DARK",
    "FAINT",
    "INK",
    "LIGHT",
    "PALETTE",
    "active_units",
    "canvas",
    "column_errors",
    "contributions",
    "decoded_grid",
    "error_curve",
    "interpolations",
    "layers",
    "map_2d",
    "project",
    "reconstructions",
    "samples",
    "scatter",
    "templates",
    "theme",
    "training",
    "traversals",
    "write",
]
