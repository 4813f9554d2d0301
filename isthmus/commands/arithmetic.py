"""The command ``arithmetic``."""

from __future__ import annotations

from typing import Any

import click

from isthmus.console import columns_of, model_argument, model_of, say, there, writes

__all__ = ["arithmetic"]


@click.command()
@model_argument
@click.argument("index", metavar="INDEX", callback=there)
@click.argument("expression", metavar="EXPRESSION")
@click.option("-k", type=click.IntRange(1), default=5, show_default=True, help="How many of the nearest to tell.")
@writes
def arithmetic(model: str, index: str, expression: str, k: int) -> tuple[Any, dict[str, Any]]:
    """Write the item that a sum of named items comes to, and tell the items nearest to it.

    INDEX is one that MODEL built, whose items have names. EXPRESSION has names, + - * / with numbers, parentheses and
    average(a, b); names with spaces or signs stand in quotes.

    \b
    Example:
      isthmus arithmetic faces.isthmus faces.index "'ann.png' - 'bob.png' + average('cy.png', 'di.png')" -o sum/
      isthmus arithmetic words.isthmus words.index "king - man + woman" -o sum.npy --json
    """
    from isthmus.verbs.arithmetic import arithmetic as compute
    from isthmus.verbs.search import Index

    fitted = model_of(model)
    with Index(index, fitted) as held:
        found = compute(fitted, expression, held, k=k)
    near = [{"name": name, "row": int(row), "distance": float(distance)}
            for name, row, distance in zip(found.nearest.names or [], found.nearest.rows, found.nearest.distances,
                                           strict=True)]  # fmt: skip
    for one in near:
        say(f"{one['distance']:10.4f}  {one['name']}")
    return found.item, {"expression": expression, "nearest": near} | columns_of(fitted)
