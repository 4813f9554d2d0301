"""``isthmus predict``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from isthmus.commands.label import written
from isthmus.console import answer, as_json, data, model_argument, model_of, require_apart, require_place, say
from isthmus.errors import NotSupported

__all__ = ["predict"]


@click.command()
@model_argument
@data
@click.option("-o", "--output", required=True, metavar="PATH", help="A .csv file: item, label, chance.")
@as_json
def predict(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, output: str, as_json: bool) -> None:
    """Tell the labels of DATA with a model that was fitted with --labels and --supervised.

    The chance is the model's own, which is surer than it should be; ``isthmus label`` gives calibrated ones.

    \b
    Example:
      isthmus predict told.isthmus new.npy -o labels.csv
    """
    require_place(output)
    require_apart(output, model, items)
    fitted = model_of(model, skip_corrupt)
    if not hasattr(fitted, "predict"):
        raise NotSupported(f"{model} holds a {type(fitted).__name__} that learned no labels: fit it with --labels and "
                           "--supervised")  # fmt: skip
    X = read(items)
    told, classes = fitted.predict(X).tolist(), getattr(fitted, "classes_", None)
    rows: list[list[Any]] = [[item, name] for item, name in enumerate(told)]
    if classes is not None:
        for row, chance in zip(rows, fitted.predict_proba(X).max(1), strict=True):
            row.append(f"{chance:.4f}")
    written(output, ["item", "label", *(["chance"] if classes is not None else [])], rows)
    counts = {} if classes is None else {str(name): told.count(name) for name in classes.tolist()}
    text = ", ".join(f"{name}: {count:,}" for name, count in counts.items())
    answer({"output": output, "items": len(told), "counts": counts}, text or f"{len(told)} numbers", as_json)
    say(f"wrote {output}: {len(told)} labels")
