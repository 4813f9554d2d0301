"""``isthmus clusters``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from isthmus.commands.label import written
from isthmus.console import (
    answer,
    as_json,
    data,
    model_argument,
    model_of,
    require_apart,
    require_place,
    say,
    seed_option,
)

__all__ = ["clusters"]


@click.command()
@model_argument
@data
@click.option("-o", "--output", required=True, metavar="PATH", help="A .csv file: item, cluster.")
@click.option("--k", type=click.IntRange(1), metavar="NUMBER", help="How many groups.  [default: suggested]")
@click.option(
    "--how",
    type=click.Choice(["kmeans", "mixture", "hdbscan"]),
    default="kmeans",
    show_default=True,
    help="Round groups, ellipses, or dense groups of any shape.",
)
@seed_option
@as_json
def clusters(
    model: str,
    items: Any,
    read: Callable[..., Any],
    skip_corrupt: bool,
    output: str,
    k: int | None,
    how: str,
    seed: int,
    as_json: bool,
) -> None:
    """Put the items of DATA in groups of near codes, and suggest how many groups there are.

    \b
    Example:
      isthmus clusters digits.isthmus digits.npy -o clusters.csv
      isthmus clusters digits.isthmus digits.npy -o clusters.csv --how mixture --k 10
    """
    require_place(output)
    require_apart(output, model, items)
    from isthmus.verbs.clusters import clusters as grouped

    found = grouped(model_of(model, skip_corrupt), read(items), k, how, seed=seed)
    written(output, ["item", "cluster"], enumerate(found.labels.tolist()))
    sizes = [int((found.labels == name).sum()) for name in range(found.k)]
    told = {"output": output, "k": found.k, "why": found.why, "sizes": sizes, "scores": found.scores}
    answer(told, f"{found.why}\nsizes: {', '.join(map(str, sizes))}", as_json)
    say(f"wrote {output}: {len(found.labels)} items in {found.k} groups")
