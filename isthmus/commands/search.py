"""The commands ``index``, ``search`` and ``remove``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from isthmus.console import (
    answer,
    array_of,
    as_json,
    count,
    data,
    is_source,
    labels_of,
    model_argument,
    model_of,
    require_apart,
    require_place,
    say,
    seed_option,
    there,
)

__all__ = ["index", "remove", "search"]


@click.command()
@model_argument
@data
@click.option("-o", "--output", required=True, metavar="PATH", help="The index, such as items.index.")
@click.option("--names", metavar="COLUMN|PATH", help="A name for each item: a column of the table, or a file with one "
              "name a line. Pictures go by their paths.")  # fmt: skip
@click.option("--columns", callback=there, metavar="PATH",
              help="A table of what filters look at, one row an item.  [default: the columns of DATA where it is a "
              "table; the subfolders of pictures as label]")  # fmt: skip
@click.option("--add", is_flag=True, help="Add to an index that is there, in one transaction.")
@click.option("--metric", type=click.Choice(["euclidean", "cosine"]), default="euclidean", show_default=True,
              help="Of the distance between codes.")  # fmt: skip
@click.option("--recall", type=click.FloatRange(0, 1, min_open=True), default=0.97, show_default=True, metavar="SHARE",
              help="Of the true nearest that a search shall find.")  # fmt: skip
@seed_option
@as_json
def index(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, output: str, names: str | None,
          columns: str | None, add: bool, metric: str, recall: float, seed: int, as_json: bool) -> None:  # fmt: skip
    """Build a searchable index of DATA on disk, or add to one.

    \b
    Example:
      isthmus index photos.isthmus photos/ -o photos.index
      isthmus index customers.isthmus customers.csv -o customers.index --names id
      isthmus index photos.isthmus new/ -o photos.index --add
    """
    from isthmus.verbs.search import Index
    from isthmus.verbs.search import index as build

    require_place(output)
    require_apart(output, model, items, columns)
    fitted, X = model_of(model, skip_corrupt), read(items)
    held = columns_for(columns, items, X, skip_corrupt)
    called = names_for(names, X, held)
    if add:
        with Index(output, fitted) as made:
            made.add(X, called, held)
            total = len(made)
    else:
        with build(fitted, X, output, called, held, metric=metric, recall=recall, seed=seed) as made:
            total = len(made)
    size = Path(output).stat().st_size
    answer({"output": output, "items": total, "bytes": size, "names": called is not None, "columns": list(held)},
           f"{total:,} items, {size / 1e6:.2f} MB", as_json)  # fmt: skip
    say(f"wrote {output}")


def columns_for(path: str | None, source: Any, X: Any, skip_corrupt: bool) -> dict[str, Any]:
    """What filters look at."""
    from isthmus.formats.frames import source_of
    from isthmus.verbs.inverted_file import TAKEN
    from isthmus.verbs.search import columns_of

    if path is not None:
        return columns_of(source_of(path)) or {}
    if is_source(X):
        held = columns_of(X) or {}
        for name in [name for name in held if name.casefold() in TAKEN]:
            say(f"filters will not know the column {name!r}, for an index has a column of its own called so")
            del held[name]
        return held
    labels = labels_of(None, source, X, skip_corrupt)
    return {} if labels is None else {"label": [str(label) for label in labels]}


def names_for(names: str | None, X: Any, held: dict[str, Any]) -> list[str] | None:
    """A column's values, the lines of a file, or the paths of pictures."""
    if names in held:
        return [str(name) for name in held[names]]
    if names is not None:
        if not Path(names).is_file():
            have = f"; the columns are {', '.join(held)}" if held else ""
            raise click.UsageError(f"--names {names}: there is no such column and no such file{have}.")
        found = Path(names).read_text(encoding="utf-8").splitlines()
        if len(found) != count(X):
            raise click.UsageError(f"--names {names} has {len(found)} lines for {count(X)} items.")
        return found
    pictures = isinstance(X, list) and all(isinstance(one, Path) for one in X)
    return [str(one) for one in X] if pictures else None


@click.command()
@click.argument("index", metavar="INDEX", callback=there)
@click.argument("query", metavar="QUERY")
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="How many neighbours.")
@click.option("--where", metavar="CONDITION", help="On columns, such as \"age > 30 and city = 'Paris'\".")
@click.option("--model", metavar="MODEL", help="QUERY is a file or folder of items, which this model encodes: the one "
              "that INDEX was built with.")  # fmt: skip
@click.option("--codes", is_flag=True, help="QUERY is a file of codes.")
@click.option("--text", is_flag=True, help="QUERY is a text to encode, with --model.")
@click.option("--exact", is_flag=True, help="Compare with every code.")
@click.option("--key", metavar="NAME", help="Which array of an .npz file.")
@as_json
def search(index: str, query: str, k: int, where: str | None, model: str | None, codes: bool, text: bool, exact: bool,
           key: str | None, as_json: bool) -> None:  # fmt: skip
    """Find the items of INDEX that are nearest to QUERY: a name, an expression of names, or items with --model.
    Where items have no names, a whole number is a row, counted from 0.

    \b
    Example:
      isthmus search words.index "king - man + woman" -k 5
      isthmus search photos.index holiday.png --model photos.isthmus
      isthmus search customers.index 1042 --where "age > 30" --json
      isthmus search digits.index new.npy --model digits.isthmus -k 3
    """
    from isthmus.console import items_of
    from isthmus.errors import DataError
    from isthmus.verbs.search import Index

    if codes and (model or text):
        raise click.UsageError("--codes goes without --model and --text.")
    if text and model is None:
        raise click.UsageError("--text needs --model MODEL, which encodes it.")
    with Index(index, None if model is None else model_of(model)) as held:
        given: dict[str, Any] = {"where": where, "exact": exact}
        if codes:
            found = held.search(k=k, codes=array_of(query, key, "QUERY"), **given)
        elif text:
            found = held.search(k=k, text=query, **given)
        elif model is not None:
            one = Path(query)
            picture = one.is_file() and held.model.format_.spec.kind == "image" and not is_array(query)
            found = held.search([one] if picture else items_of(query, key, "QUERY"), k, **given)
        else:
            try:
                found = held.search(int(query) if query.isdecimal() and not held.named else query, k, **given)
            except DataError as error:
                if not Path(query).exists():
                    raise
                raise click.UsageError(
                    f"{error}. QUERY {query} is a file here: --model MODEL encodes what it holds, --codes takes codes."
                ) from error
    told = [found] if found.rows.ndim == 1 else [
        type(found)(found.rows[i], found.distances[i], None if found.names is None else found.names[i])
        for i in range(len(found.rows))
    ]  # fmt: skip
    results = [
        [
            {"row": int(row), "distance": float(distance)} | ({} if one.names is None else {"name": one.names[i]})
            for i, (row, distance) in enumerate(zip(one.rows, one.distances, strict=True))
        ]
        for one in told
    ]
    lines = []
    for number, result in enumerate(results):
        lines += [f"query {number}"] if len(results) > 1 else []
        lines += [f"{one['distance']:10.4f}  {one['row']:>8}  {one.get('name', '')}".rstrip() for one in result]
    answer({"query": query, "neighbours": results if found.rows.ndim > 1 else results[0]}, "\n".join(lines), as_json)


def is_array(path: str) -> bool:
    """Whether a file is an array, and no picture."""
    return path.endswith((".npy", ".npz", ".gz", "-ubyte"))


@click.command()
@click.argument("index", metavar="INDEX", callback=there)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--row", "rows", type=click.IntRange(0), multiple=True, help="Delete this row; may repeat.")
@click.option("--where", metavar="CONDITION", help="Delete what passes this filter.")
@as_json
def remove(index: str, names: tuple[str, ...], rows: tuple[int, ...], where: str | None, as_json: bool) -> None:
    """Delete items from INDEX, in one transaction: by name, row or filter.

    \b
    Example:
      isthmus remove photos.index photos/old.png
      isthmus remove customers.index --where "left < '2020-01-01'"
    """
    from isthmus.verbs.search import Index

    if not names and not rows and where is None:
        raise click.UsageError("say what to delete: a NAME, --row or --where.")
    with Index(index) as held:
        deleted, left = held.delete(names, rows, where), len(held)
    answer(
        {"index": index, "deleted": deleted, "items": left}, f"deleted {deleted:,}; {left:,} items are left", as_json
    )
