"""``isthmus anomalies``."""

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
    there,
)

__all__ = ["anomalies"]

SCORES = ("combined", "reconstruction", "prior", "neighbours")  # the verb's own list is slow to import


@click.command()
@model_argument
@data
@click.option("--score", type=click.Choice(SCORES), default="combined", show_default=True,
              help="What to look at; neighbours needs --reference.")  # fmt: skip
@click.option(
    "--reference", callback=there, metavar="PATH", help="Normal items to compare with; those learned from will do."
)
@click.option("--calibration", callback=there, metavar="PATH",
              help="Other normal items, which the model has not seen: gives p-values and a list.")  # fmt: skip
@click.option("--fdr", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True,
              metavar="SHARE", help="Of the list, the share that is expected to be false alarms.")  # fmt: skip
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, metavar="NUMBER",
              help="How many of the strangest to print.")  # fmt: skip
@click.option("-o", "--output", metavar="PATH",
              help="A .csv file: item, score, p_value, flagged, where.")  # fmt: skip
@seed_option
@as_json
def anomalies(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, score: str, reference: str | None,
              calibration: str | None, fdr: float, top: int, output: str | None, seed: int,
              as_json: bool) -> None:  # fmt: skip
    """Score how strange the items of DATA are, and say what about them is strange.

    "where" is the column, pixel or time step that the model expected least. p-values and the list need --calibration;
    the list holds what is flagged at the false-discovery rate --fdr.

    \b
    Example:
      isthmus anomalies digits.isthmus new.npy
      isthmus anomalies customers.isthmus new.csv --reference customers.csv -o strange.csv
      isthmus anomalies digits.isthmus new.npy --calibration held-out.npy --fdr 0.1
    """
    if score == "neighbours" and reference is None:
        raise click.UsageError("--score neighbours needs --reference, the normal items to compare with.")
    if output is not None:
        require_place(output)
        require_apart(output, model, items, reference, calibration)
    import numpy as np

    from isthmus.verbs.anomalies import Reference, anomaly_scores, contributions, detect

    fitted, X = model_of(model, skip_corrupt), read(items)
    normal = None if reference is None else Reference(fitted, read(reference, "--reference"), seed=seed)
    if calibration is None:
        scores, p, flagged = anomaly_scores(fitted, X, score, reference=normal), None, None
    else:
        held_out = read(calibration, "--calibration")
        flagged, p, scores = detect(fitted, X, fdr, calibration=held_out, reference=normal, score=score, seed=seed)
    parts = contributions(fitted, X)
    places = parts.reshape(len(parts), -1).argmax(1)
    rows = []
    for item, value in enumerate(scores.tolist()):
        row: dict[str, Any] = {"item": item, "score": value}
        if p is not None and flagged is not None:
            row |= {"p_value": float(p[item]), "flagged": bool(flagged[item])}
        rows.append(row | {"where": _named(fitted.format_, np.unravel_index(places[item], parts.shape[1:]))})
    ranked = sorted(rows, key=lambda row: -row["score"])
    told: dict[str, Any] = {"items": len(rows), "score": score, "strangest": ranked[:top]}
    if flagged is not None:
        told |= {"fdr": fdr, "flagged": [row["item"] for row in ranked if row["flagged"]]}
    answer(told, _as_text(ranked[:top], told, fdr), as_json)
    if output is not None:
        written(output, list(rows[0]), ([row[name] for name in row] for row in rows))
        say(f"wrote {output}: {len(rows)} items")


def _named(form: Any, place: Any) -> str:
    """The column, pixel or time step, in words; numbers start at 0."""
    where = [int(axis) for axis in place]
    if form.spec.kind == "table":
        return str(form.columns[where[0]])
    if form.spec.kind == "vector":
        names = form.origin_.columns
        return f"column {where[0]}" if names is None else str(names[where[0]])
    channel = f", channel {where[0]}" if form.spec.shape[0] > 1 else ""
    if form.spec.kind == "series":
        return f"step {where[1]}{channel}"
    return f"pixel {where[1]}, {where[2]}{channel}"


def _as_text(rows: list[dict[str, Any]], told: dict[str, Any], fdr: float) -> str:
    """One line an item, the strangest first."""
    heading = list(rows[0])
    cells = [heading, *([_cell(row[name]) for name in heading] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join([*map(str.rjust, line[:-1], widths), line[-1]]) for line in cells]
    if "flagged" in told:
        lines += ["", f"{len(told['flagged'])} of {told['items']} items are flagged; {fdr:.0%} of those are expected "
                  "to be normal"]  # fmt: skip
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
