"""``isthmus denoise`` and ``isthmus superresolve``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from isthmus.console import columns_of, data, model_argument, model_of, writes

__all__ = ["denoise", "superresolve"]

HOW = ("projection", "reconstruction")  # the verb's own list is slow to import; a test holds them equal


@click.command()
@model_argument
@data
@click.option("--noise", type=float, metavar="NUMBER",
              help="Standard deviation of the noise in the unit of DATA.  [default: told from each item]")  # fmt: skip
@click.option("--how", type=click.Choice(HOW),
              help="Posterior projection, or encode and decode.  [default: what the model learned]")  # fmt: skip
@click.option("--stride", type=click.IntRange(1), metavar="NUMBER",
              help="From one tile of a larger item to the next.  [default: a quarter of a tile]")  # fmt: skip
@writes
def denoise(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, noise: float | None, how: str | None,
            stride: int | None) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Take noise away from DATA with a model of clean items. Pictures may be larger than those it learned.

    \b
    Example:
      isthmus denoise patches.isthmus photos/ --noise 25 -o clean/
      isthmus denoise digits.isthmus noisy.npy -o clean.npy
    """
    from isthmus.verbs.denoise import denoise

    fitted, X = model_of(model, skip_corrupt), read(items)
    made = denoise(fitted, X, noise, how=how, stride=stride)
    return made, {"noise": noise, "items": len(made)} | columns_of(fitted)


@click.command()
@model_argument
@data
@click.option("--factor", type=click.IntRange(2, 16), default=2, show_default=True, help="For every side.")
@click.option("--noise", type=click.FloatRange(0), default=0.0, show_default=True, metavar="NUMBER",
              help="Standard deviation of the noise in the unit of DATA.")  # fmt: skip
@writes
def superresolve(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, factor: int,
                 noise: float) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Make DATA finer with a model of fine items. The result brought down to the size of DATA is DATA.

    \b
    Example:
      isthmus superresolve patches.isthmus small/ --factor 2 -o large/
    """
    from isthmus.verbs.superresolve import superresolve

    fitted, X = model_of(model, skip_corrupt), read(items)
    made = superresolve(fitted, X, factor, noise=noise)
    return made, {"factor": factor, "items": len(made)}
