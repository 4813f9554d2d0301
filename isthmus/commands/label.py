"""``isthmus label``."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from isthmus.console import (  # fmt: skip
    answer,
    array_of,
    as_json,
    count,
    data,
    model_argument,
    model_of,
    require_apart,
    require_place,
    say,
    seed_option,
    there,
)
from isthmus.errors import DataError, FileError

__all__ = ["label", "labels_in", "written"]


@click.command()
@model_argument
@data
@click.argument("labels", metavar="LABELS", callback=there)
@click.option("-o", "--output", required=True, metavar="PATH", help="A .csv file: item, label, confidence, given.")
@click.option("--k", type=click.IntRange(1), metavar="NUMBER", help="Neighbours of an item.  [default: found]")
@click.option("--shifts", type=click.IntRange(0), default=0, show_default=True, metavar="PIXELS",
              help="Moves of a picture or series, each way, that do not change its label.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(0), default=0, show_default=True, metavar="NUMBER",
              help="Rounds of self-training, of minutes each.")  # fmt: skip
@click.option("--folds", type=click.IntRange(0), metavar="NUMBER",
              help="Of the labels, to estimate the error; 0 for none.  [default: 10; 5 with --rounds]")  # fmt: skip
@click.option("--suggest", type=click.IntRange(1), metavar="NUMBER",
              help="Also name so many items whose labels would help most.")  # fmt: skip
@seed_option
@as_json
def label(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, labels: str, output: str,
          suggest: int | None, as_json: bool, **settings: Any) -> None:  # fmt: skip
    """Label all items of DATA from LABELS of a few, with a confidence for each.

    LABELS is a .csv or .txt file, or an .npy file of numbers: one label for each item, empty or -1 where there is none;
    or a .csv file of two columns, the number of an item from 0 and its label.

    \b
    Example:
      isthmus label digits.isthmus digits.npy known.csv -o labels.csv
      isthmus label photos.isthmus photos/ known.csv -o labels.csv --shifts 2 --suggest 20
    """
    require_place(output)
    require_apart(output, model, items, labels)
    from isthmus.verbs.label import label as labelled

    fitted, X = model_of(model, skip_corrupt), read(items)
    found = labelled(fitted, X, labels_in(labels, count(X)), **settings)
    left = int((~found.given).sum())
    asked = found.suggest(min(suggest, left), settings["seed"]).tolist() if suggest and left else None
    rows = zip(range(len(found.labels)), found.labels.tolist(), found.confidence.tolist(), found.given.tolist(),
               strict=True)  # fmt: skip
    written(output, ["item", "label", "confidence", "given"],
            ([item, name, f"{sure:.4f}", int(given)] for item, name, sure, given in rows))  # fmt: skip
    text = str(found) + (f"\nlabel these next: {', '.join(map(str, asked))}" if asked else "")
    answer({"output": output} | found.to_json() | ({"suggested": asked} if asked else {}), text, as_json)
    say(f"wrote {output}: {len(found.labels)} labels")


def labels_in(path: str, items: int) -> Any:
    """One label for each item, None where there is none."""
    if Path(path).suffix.lower() not in (".csv", ".tsv", ".txt"):
        array = array_of(path, None, "LABELS")
        return array[:, 0] if getattr(array, "ndim", 0) == 2 and array.shape[1] == 1 else array
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    rows = [next(csv.reader([line], delimiter="\t" if "\t" in line else ","), [""]) for line in lines]
    widest = max(map(len, rows), default=0)
    if widest == 2:
        return _by_item(path, [row for row in rows if row], items)
    if widest > 2:
        raise DataError(f"{path} has {widest} columns: give one, a label for each item, or two, item and label")
    names = [row[0].strip() if row else "" for row in rows]
    if len(names) == items + 1:  # the first is a header
        names = names[1:]
    if len(names) != items:
        raise DataError(f"{path} has {len(names)} lines for {items} items: give one for each, empty where there is no "
                        "label; or two columns, item and label")  # fmt: skip
    return _numbers(names)


def _by_item(path: str, rows: list[list[str]], items: int) -> Any:
    names = [""] * items
    for line, row in enumerate(rows, 1):
        try:
            place = int(row[0])
        except ValueError as error:
            if line == 1:
                continue  # a header
            raise DataError(f"{path}: line {line} begins with {row[0]!r}, not with the number of an item") from error
        if not 0 <= place < items or len(row) != 2:
            raise DataError(f"{path}: line {line} is {','.join(row)!r}; expected an item from 0 to {items - 1} and its "
                            "label")  # fmt: skip
        names[place] = row[1].strip()
    return _numbers(names)


def _numbers(names: list[str]) -> list[Any]:
    """Whole numbers where all labels are such; None for what is empty."""
    try:
        return [int(name) if name else None for name in names]
    except ValueError:
        return [name or None for name in names]


def written(output: str, heading: list[str], rows: Any) -> None:
    """A table of text and numbers as CSV, whole or not at all."""
    from isthmus.store import atomic_path

    if Path(output).suffix.lower() != ".csv":
        raise FileError(f"{output} is not the name of a .csv file, such as labels.csv")
    with atomic_path(output) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([heading, *rows])
