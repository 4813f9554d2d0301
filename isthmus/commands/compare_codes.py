"""``isthmus compare-codes``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from isthmus.commands.label import labels_in
from isthmus.console import answer, as_json, count, data, seed_option, there

__all__ = ["compare_codes"]


@click.command("compare-codes")
@data
@click.argument("labels", metavar="LABELS", callback=there)
@click.option("--latent", "latent_dim", type=click.IntRange(1), metavar="NUMBER",
              help="Numbers in a learned code.  [default: 16, or fewer]")  # fmt: skip
@click.option("--format", type=click.Choice(["image", "series", "table", "vector"]),
              help="What the items are.  [default: found from the data]")  # fmt: skip
@click.option("--budget", metavar="TIME", help="Train each network for so long, such as 60s.")
@seed_option
@as_json
def compare_codes(items: Any, read: Callable[..., Any], skip_corrupt: bool, labels: str, as_json: bool,
                  **settings: Any) -> None:  # fmt: skip
    """Compare raw, one-hot, binary, hashed, projected and learned codes of DATA.

    LABELS is a file with one label for each item: .csv, .txt, or an .npy file of numbers.

    \b
    Example:
      isthmus compare-codes digits.npy labels.npy --budget 60s
      isthmus compare-codes customers.csv churned.csv --latent 8 --json
    """
    from isthmus.verbs.compare_codes import compare_codes as compared

    X = read(items)
    found = compared(X, labels_in(labels, count(X)), **settings)
    answer(found.to_json(), str(found), as_json)
