"""The page with all that it shows in one file, which needs neither a server nor a network."""

from __future__ import annotations

import base64
import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.view.explorer.cache import Contents, bytes_of
from isthmus.view.explorer.interpreter import run_layers

__all__ = ["MOST_ITEMS", "write_static"]

MOST_ITEMS = 60_000
MOST_BYTES = 2**28  # of the file; browsers grow slow with more
TRIED = 512  # codes that are decoded to see whether half of the digits are enough
CLOSE = 0.75  # of 255 levels, by which a pixel may then be off before it is rounded


def write_static(path: str | os.PathLike[str], contents: Contents, html: str) -> int:
    """Write one file that shows the contents; returns its bytes.

    Raises
    ------
    DataError : too many items, or too large a file
    FileError : it cannot be written
    """
    from isthmus.store import atomic_path

    n = contents.told["n"]
    if n > MOST_ITEMS:
        raise DataError(f"{n:,} items given; one file holds {MOST_ITEMS:,} at most. Give fewer, or leave static= out")
    page, parts = _with_half_digits(contents)
    head, end = html.rsplit("</body>", 1)
    # No "<" is left in what comes from the data, so that none of it can end the element, whatever it says.
    told = json.dumps(page.told | {"static": True}, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    pieces = [head, f'<script type="application/json" id="isthmus-opened">{told}</script>\n', *_packed(parts),
              "</body>", end]  # fmt: skip
    size = sum(map(len, pieces))
    if size > MOST_BYTES:
        raise DataError(f"the file would have {size / 2**20:.0f} MiB; {MOST_BYTES >> 20} is the most that a browser "
                        "opens well. Give fewer items, or leave static= out")  # fmt: skip
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(pieces)
    return Path(path).stat().st_size


def _packed(blobs: dict[str, Any]) -> Iterator[str]:
    for name, blob in blobs.items():
        text = base64.b64encode(bytes_of(blob)).decode()
        yield f'<script type="application/octet-stream;base64" id="blob:{name}">{text}</script>\n'


def _with_half_digits(contents: Contents) -> tuple[Contents, dict[str, Any]]:
    """The weights of a decoder of images in 16 bits, where what is decoded stays the same to a level of 255."""
    told, blobs = contents.told, dict(contents.blobs)
    decoder = told["decoder"] or {}
    if decoder.get("kind") != "plain" or told["item"]["kind"] != "image":
        return contents, blobs
    layers, weights = decoder["layers"][:-1], blobs["weights"]  # all but the rounding
    some = blobs["codes"][np.linspace(0, told["n"] - 1, min(TRIED, told["n"])).astype(np.int64)]
    with np.errstate(over="ignore"):
        half = weights.astype("<f2")
    if not np.isfinite(half).all():
        return contents, blobs
    apart = np.abs(run_layers(layers, half, some) - run_layers(layers, weights, some)).max()
    if apart > CLOSE:
        return contents, blobs
    told = copy.copy(told)
    told["decoder"] = decoder | {"dtype": "float16"}
    blobs["weights"] = half
    return Contents(told, blobs), blobs
