"""``isthmus augment``, ``isthmus interpolate`` and ``isthmus generation``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from isthmus.console import (
    answer,
    as_json,
    columns_of,
    count,
    data,
    is_source,
    items_of,
    key_option,
    labels_of,
    model_argument,
    model_of,
    seed_option,
    there,
    writes,
)
from isthmus.errors import DataError

__all__ = ["augment", "generation", "interpolate", "item_at"]

HOW = ("linear", "spherical", "manifold")  # the verb's own list is slow to import; a test holds them equal


@click.command()
@model_argument
@data
@click.option("--strength", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="How far to move: 0 is the item as the model gives it back, 1 a fresh draw.")  # fmt: skip
@click.option("--copies", type=click.IntRange(1), default=1, show_default=True, help="New items for each given one.")
@click.option("--labels", callback=there, metavar="PATH", help="One label an item: each moves as its own class does.")
@seed_option
@writes
def augment(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, strength: float, copies: int,
            labels: str | None, seed: int) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Make new items near those of DATA, all of them once, then all again for each further copy.

    \b
    Example:
      isthmus augment digits.isthmus digits.npy --strength 0.5 -o new.npy
      isthmus augment digits.isthmus few.npy --copies 9 --labels few-labels.npy -o many.npy
      isthmus augment customers.isthmus customers.csv --strength 0.3 -o new.csv
    """
    from isthmus.verbs.generate import augment

    fitted, X = model_of(model, skip_corrupt), read(items)
    y = None if labels is None else labels_of(labels, items, X, skip_corrupt)
    made = augment(fitted, X, strength, copies=copies, y=y, seed=seed)
    return made, {"strength": strength, "copies": copies, "seed": seed} | columns_of(fitted)


@click.command()
@model_argument
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--steps", type=click.IntRange(2), default=8, show_default=True, help="How many items, both ends included."
)
@click.option("--how", type=click.Choice(HOW), default="linear", show_default=True,
              help="A line of codes, an arc about the prior's mean, or a line that keeps to data.")  # fmt: skip
@click.option("--data", "known", callback=there, metavar="PATH",
              help="Items that say what is usual, for the warning.  [default: the prior's own draws]")  # fmt: skip
@key_option
@writes
def interpolate(model: str, a: str, b: str, steps: int, how: str, known: str | None,
                key: str | None) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Make items on the way from A to B. Each is a file with one item, or a file, a colon, and which of its items.

    \b
    Example:
      isthmus interpolate digits.isthmus digits.npy:3 digits.npy:17 --steps 8 -o path/
      isthmus interpolate photos.isthmus one.png other.png --how spherical -o path/
      isthmus interpolate customers.isthmus customers.csv:0 customers.csv:9 -o path.csv
    """
    from isthmus.verbs.generate import interpolate

    fitted = model_of(model)
    X = None if known is None else items_of(known, key, "--data")
    made = interpolate(fitted, one_of(a, key, "A"), one_of(b, key, "B"), steps, how=how, X=X)
    return made, {"steps": steps, "how": how} | columns_of(fitted)


@click.command()
@model_argument
@click.argument("train", metavar="TRAIN", callback=there)
@click.argument("test", metavar="TEST", callback=there)
@click.option("--labels", callback=there, metavar="PATH", help="One label an item of TRAIN.")
@click.option("--test-labels", callback=there, metavar="PATH", help="One label an item of TEST.")
@click.option("-n", "number", type=click.IntRange(10), metavar="NUMBER",
              help="Items of each kind.  [default: 2500, or as many as both have]")  # fmt: skip
@key_option
@seed_option
@as_json
def generation(model: str, train: str, test: str, labels: str | None, test_labels: str | None, number: int | None,
               key: str | None, seed: int, as_json: bool) -> None:  # fmt: skip
    """Measure what MODEL generates: fidelity, coverage, use and privacy, in one table.

    TRAIN are the items that the model learned from, TEST are others. With labels of both, a classifier that learns from
    made items alone is tried on TEST.

    \b
    Example:
      isthmus generation digits.isthmus train.npy test.npy
      isthmus generation digits.isthmus train.npy test.npy --labels y.npy --test-labels test-y.npy --json
    """
    from isthmus.verbs.generation import generation_report

    fitted = model_of(model)
    known, unseen = items_of(train, key, "TRAIN"), items_of(test, key, "TEST")
    y = labels_of(labels, train, known, False), labels_of(test_labels, test, unseen, False)
    if (labels is None) != (test_labels is None):
        raise click.UsageError("--labels and --test-labels go together: give both, or neither.")
    report = generation_report(fitted, known, unseen, y_train=y[0], y_test=y[1], n=number, seed=seed)
    answer(report.to_json(), str(report), as_json)


def one_of(text: str, key: str | None, what: str) -> Any:
    """The items of a file, or with a colon and a number one of them, as a set of one."""
    named = re.fullmatch(r"(.+):([0-9]+)", text)
    if named is None or Path(text).exists():
        return items_of(text, key, what)
    return item_at(items_of(named[1], key, what), int(named[2]), what)


def item_at(items: Any, row: int, what: str) -> Any:
    """One of the items, as a set of one."""
    if row >= count(items):
        raise DataError(f"{what} has {count(items)} items, from 0 to {count(items) - 1}, and no item {row}")
    if is_source(items):
        import numpy as np

        return items.subset(np.array([row]))
    return items[row : row + 1]
