"""``isthmus traverse`` and ``isthmus latents``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from isthmus.commands.generate import item_at
from isthmus.console import (
    answer,
    array_of,
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
    require_apart,
    require_place,
    say,
    seed_option,
    there,
    write_tables,
)
from isthmus.errors import DataError

__all__ = ["latents", "traverse"]

SHOWN = 8  # latents of a picture where none is named, those of the greatest effect


def pair(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Two whole numbers with a comma."""
    if value is None:
        return None
    parts = value.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise click.BadParameter(f"{value!r}: give two latents, such as 0,1.")
    return int(parts[0]), int(parts[1])


@click.command()
@model_argument
@click.argument("items", metavar="DATA", callback=there)
@click.option("--item", "row", type=click.IntRange(0), default=0, show_default=True, help="Which item of DATA to move.")
@click.option("--latent", "moved", type=click.IntRange(0), multiple=True, metavar="NUMBER",
              help="Which latent to move; may repeat.  [default: the eight of the greatest effect]")  # fmt: skip
@click.option("--grid", callback=pair, metavar="A,B", help="Two latents to decode a grid of, in place of --latent.")
@click.option("--steps", type=click.IntRange(2), default=10, show_default=True, help="Values that a latent takes.")
@click.option("-o", "--output", required=True, metavar="PATH",
              help="A .png picture; or, for the items of one latent or of a grid, a file or folder.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Write into a folder that already holds something.")
@key_option
@as_json
def traverse(model: str, items: str, row: int, moved: Sequence[int], grid: tuple[int, int] | None, steps: int,
             output: str, overwrite: bool, key: str | None, as_json: bool) -> None:  # fmt: skip
    """Show what single latents do: one item of DATA, with one latent after the other moved through its range.

    \b
    Example:
      isthmus traverse digits.isthmus digits.npy --item 0 -o picture.png
      isthmus traverse digits.isthmus digits.npy --grid 0,1 -o map.png
      isthmus traverse customers.isthmus customers.csv --item 4 --latent 2 -o moved.csv
    """
    if moved and grid:
        raise click.UsageError("--grid names its own latents: leave --latent out.")
    picture = Path(output).suffix.lower() == ".png"
    if not picture and not grid and len(moved) != 1:
        raise click.UsageError("to write items and no picture, name one latent with --latent, or two with --grid.")
    if picture:
        require_place(output)
    require_apart(output, model, items)
    from isthmus.verbs.traverse import decoded_grid
    from isthmus.verbs.traverse import traverse as moving

    fitted, X = model_of(model), items_of(items, key)
    if picture and fitted.format_.spec.kind != "image":
        raise click.UsageError(f"-o {output}: pictures are drawn of images, and this model learned a "
                               f"{fitted.format_.spec.kind}. Name a file for items, and one --latent.")  # fmt: skip
    item, X = item_at(X, row, "DATA"), X if count(X) > 1 else None  # one item has no range
    chosen = list(grid or moved or _of_most_effect(fitted, X))
    rows: dict[str, Any] = {}
    if grid:
        made = decoded_grid(fitted, grid, item=item, steps=steps, X=X)
    else:
        rows = {f"latent {latent}": moving(fitted, item, latent, steps=steps, X=X) for latent in chosen}
        made = next(iter(rows.values()))
    if picture:
        from isthmus.view import drawing, plots

        figure = plots.canvas(8, 8 if grid else 0.5 + 0.8 * len(chosen))
        ax = figure.add_axes((0.06, 0.06, 0.92, 0.92) if grid else (0.15, 0.02, 0.83, 0.96))
        if grid:
            drawing.decoded_grid(ax, made, (f"latent {grid[0]}", f"latent {grid[1]}"))
        else:
            drawing.traversals(ax, rows)
        plots.write(figure, output)
    else:
        _write(output, made, columns_of(fitted)["columns"], overwrite)
    told = {"output": output, "item": row, "latents": chosen, "steps": steps}
    if as_json:
        answer(told, "", True)
    say(f"wrote {output}: latents {', '.join(map(str, chosen))}, {steps} values each")


def _of_most_effect(model: Any, X: Any) -> list[int]:
    from isthmus.verbs.traverse import latents

    if X is None:
        return list(range(min(SHOWN, model.latent_dim_)))
    return [found["latent"] for found in latents(model, X)[:SHOWN]]


def _write(output: str, items: Any, columns: Any, overwrite: bool) -> None:
    from isthmus.formats.files import write
    from isthmus.formats.frames import is_table

    if is_table(items):
        write_tables(output, items, overwrite)
    else:
        write(output, items, columns=columns, overwrite=overwrite)


@click.command()
@model_argument
@data
@click.option("--attributes", callback=there, metavar="PATH",
              help="What is known of the items, a row each: a table with names, or one column of labels.")  # fmt: skip
@seed_option
@as_json
def latents(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, attributes: str | None, seed: int,
            as_json: bool) -> None:  # fmt: skip
    """Show which latents matter, and what they stand for among the columns of DATA or given attributes.

    \b
    Example:
      isthmus latents digits.isthmus digits.npy --attributes labels.npy
      isthmus latents customers.isthmus customers.csv --json
    """
    from isthmus.verbs.traverse import latents

    fitted, X = model_of(model, skip_corrupt), read(items)
    known = labels_of(None, items, X, skip_corrupt) if attributes is None else _attributes(attributes)
    rows = latents(fitted, X, known, seed=seed)
    answer(rows, _as_text(rows), as_json)


def _attributes(path: str) -> Any:
    """Columns by name, or an array."""
    import numpy as np

    found = items_of(path, None, "--attributes")
    if not is_source(found):
        return array_of(path, None, "--attributes")
    columns: dict[str, Any] = {}
    for name in found.column_names:
        values = [value for batch in found.batches([name]) for value in batch.column(name).to_pylist()]
        numbers = all(value is None or isinstance(value, (bool, int, float)) for value in values)
        columns[name] = np.array([np.nan if value is None else value for value in values] if numbers
                                 else [None if value is None else str(value) for value in values],
                                 dtype=None if numbers else object)  # fmt: skip
    if not columns:
        raise DataError(f"{path} has no columns")
    return columns


def _as_text(rows: list[dict[str, Any]]) -> str:
    """One line a latent, the greatest effect first."""
    named, rated = "stands_for" in rows[0], "kl" in rows[0]
    cells = [["latent", "effect", "share", "variance", *(["KL nats"] if rated else []), "in use",
              *(["stands for", "of its information", "correlation"] if named else [])]]  # fmt: skip
    for row in rows:
        line = [str(row["latent"]), f"{row['effect']:.4g}", f"{row['share']:.1%}", f"{row['variance']:.4g}"]
        line += [f"{row['kl']:.3f}"] if rated else []
        line.append("yes" if row["active"] else "no")
        if named:
            one = row["stands_for"]
            line += ["-", "-", "-"] if one is None else [one, f"{row['information']:.0%}", f"{row['correlation']:+.2f}"]
        cells.append(line)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.rjust, line, widths)).rstrip() for line in cells)
