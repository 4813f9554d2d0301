"""``isthmus explore``."""

from __future__ import annotations

import functools
import os
import sys
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

__all__ = ["explore"]


@click.command()
@model_argument
@data
@click.option("--labels", callback=there, metavar="PATH", help="One label an item, a colour of the map.")
@click.option("--static", metavar="PATH", help="Write one .html file that needs no server, for up to 60,000 items.")
@click.option("--map", "maps", type=click.Choice(["tsne", "umap"]), multiple=True,
              help="Make this map beforehand, which takes minutes; may repeat.  [default: PCA alone]")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to serve.  [default: any free port]")
@click.option("--no-browser", is_flag=True, help="Print the address, and open nothing.")
@click.option("--state", metavar="PATH",
              help="A JSON file for labels given in the page.  [default: MODEL.labels.json]")  # fmt: skip
@seed_option
@as_json
def explore(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, labels: str | None,
            static: str | None, maps: tuple[str, ...], port: int, no_browser: bool, state: str | None, seed: int,
            as_json: bool) -> None:  # fmt: skip
    """Open a page over MODEL and DATA: a map of the items, in which the empty places answer too.

    The page is served on this machine alone, until Ctrl-C. What is worked out for it is kept in MODEL.explorer.

    \b
    Example:
      isthmus explore digits.isthmus digits.npy --labels labels.npy
      isthmus explore customers.isthmus customers.csv --map tsne
      isthmus explore digits.isthmus digits.npy --static digits.html
    """
    from isthmus.view.explorer import explore_files
    from isthmus.view.explorer.cache import key_of_files, model_hash
    from isthmus.view.explorer.lines import reading_of

    @functools.cache
    def load() -> tuple[Any, Any, Any]:
        fitted, X = model_of(model, skip_corrupt), read(items)
        return fitted, X, labels_of(labels, items, X, skip_corrupt)

    paths = [items] if isinstance(items, str) else list(items)
    if static is not None:
        require_place(static)
        require_apart(static, model, *paths, labels)
    key: dict[str, Any] | None = None
    digest = model_hash(model)
    if digest is not None and "-" not in (*paths, labels):
        given = click.get_current_context().params
        reading = {name: given.get(name) for name in ("key", "delimiter", "encoding", "skip_corrupt")}
        key = {"model": digest, "data": key_of_files(*paths), "reading": reading, "seed": seed,
               "labels": None if labels is None else key_of_files(labels)}  # fmt: skip
    name = Path(paths[0]).name if len(paths) == 1 else f"{Path(paths[0]).name} and {len(paths) - 1} more"
    options = click.get_current_context().params
    asked = {name: options.get(name) for name in ("key", "delimiter", "encoding")}
    python = {"load": f"model = im.load({model!r})", "explore": "im.explore(model, X)"}
    python |= reading_of(paths, labels, skip_corrupt=skip_corrupt, **asked)

    def shown(url: str) -> None:
        answer({"url": url}, url, as_json)
        say("serving on this machine alone; Ctrl-C ends it, and what was labelled is kept")

    made = explore_files(
        load, key, Path(f"{model}.explorer"), Path(state or f"{model}.labels.json"), title=Path(model).name,
        items=name, python=python, static=static, maps=maps, port=port, browser=False if no_browser else None,
        block=True, seed=seed, said=say, shown=shown,
    )  # fmt: skip
    if getattr(made, "busy", False):  # a map takes minutes, and whoever pressed Ctrl-C does not wait for it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    if static is not None:
        size: int = made.size  # type: ignore[union-attr]  # a file was asked for
        if as_json:
            answer({"output": static, "bytes": size}, "", True)
        say(f"wrote {static}: {size / 2**20:.1f} MiB")
