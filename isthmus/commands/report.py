"""``isthmus report``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from isthmus.console import (
    answer,
    as_json,
    data,
    labels_of,
    model_argument,
    model_of,
    require_apart,
    require_place,
    say,
    seed_option,
    there,
)

__all__ = ["report"]


@click.command()
@model_argument
@data
@click.option("-o", "--output", default="report.html", show_default=True, metavar="PATH", help="The HTML file.")
@click.option(
    "--labels", callback=there, metavar="PATH", help="One label an item, for colours and for what latents stand for."
)
@click.option(
    "--train",
    callback=there,
    metavar="PATH",
    help="Items that the model learned from, for the baselines and for copies.",
)
@click.option("--title", metavar="TEXT", help="A heading.  [default: what the model is called]")
@click.option("--map", "method", type=click.Choice(["pca", "tsne", "umap"]), default="pca", show_default=True,
              help="How codes are brought to a plane.")  # fmt: skip
@seed_option
@as_json
def report(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, output: str, labels: str | None,
           train: str | None, title: str | None, method: str, seed: int, as_json: bool) -> None:  # fmt: skip
    """Write one HTML page about MODEL, measured on DATA: what it learned, whether it is better than PCA, what to do.

    The page needs no network and can be printed. Give DATA that the model has not learned from; its own training data
    is recognised, and then only the tenth that was held out is measured.

    \b
    Example:
      isthmus report digits.isthmus digits.npy -o report.html
      isthmus report digits.isthmus test.npy --labels test-labels.npy --train train.npy -o report.html
      isthmus report customers.isthmus customers.csv --title "Our customers" -o customers.html
    """
    require_place(output)
    require_apart(output, model, items, labels, train)
    from isthmus.view.report import report as write_report

    fitted, X = model_of(model, skip_corrupt), read(items)
    y = labels_of(labels, items, X, skip_corrupt)
    known = None if train is None else read(train, "--train")
    made = write_report(fitted, X, output, y, train=known, title=title, method=method, seed=seed)
    size = Path(made).stat().st_size
    if as_json:
        answer({"output": str(made), "bytes": size}, "", True)
    say(f"wrote {made}: {size / 1e6:.2f} MB")
