"""Items as the page shows them: pixels, numbers, rows of a table; sheets of small pictures; where an item's error lies.

n items; c channels that are shown; h, w pixels.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.formats.png import png_of
from isthmus.view.explorer.columns import column_kinds, key_of
from isthmus.view.explorer.layers import shown_channels

__all__ = ["contributions", "item_of", "pixels_of", "rows_of", "sheets", "thumbnails_of", "views_of"]

LARGEST_SIDE = 48  # pixels of a small picture
PER_SHEET, ACROSS = 1024, 32
MOST_BYTES = 2**29  # of small pictures, before they are packed
MOST_TEXT = 500  # characters of a cell that are shown
MOST_PARTS = 1000  # of which it is told how much each adds to an item's error


def item_of(form: Any, names: Any = None) -> dict[str, Any]:
    """How an item looks."""
    spec = form.spec
    if spec.kind == "image":
        channels, height, width = spec.shape
        return {"kind": "image", "height": height, "width": width, "channels": shown_channels(channels), "levels": 255}
    if spec.kind == "series":
        return {"kind": "series", "channels": spec.shape[0], "length": spec.shape[1], "names": None}
    if spec.kind == "table":
        return {"kind": "table", "columns": column_kinds(form), "key": key_of(form)}
    columns = form.origin_.columns if names is None else names
    return {"kind": "vector", "size": spec.size, "names": None if columns is None else [str(name) for name in columns]}


def pixels_of(form: Any, stored: Tensor) -> np.ndarray:
    """Stored images as pixels (n, h, w, c) uint8."""
    scaled = form.scale(stored)[:, : shown_channels(form.spec.shape[0])]
    return (scaled * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def views_of(form: Any, items: Any) -> list[dict[str, Any]]:
    """Items in the user's own form as the page shows them."""
    if form.spec.kind == "image":
        pixels = pixels_of(form, form.to_tensor(items))
        return [{"kind": "image", "pixels": base64.b64encode(png_of(one)).decode()} for one in pixels]
    if form.spec.kind == "table":
        return [{"kind": "row", "cells": cells} for cells in rows_of(items)]
    return [{"kind": "numbers", "values": one.ravel().tolist()} for one in _numbers(form, items)]


def _numbers(form: Any, items: Any) -> np.ndarray:
    """Vectors (n, d); series as planes (n, c, t)."""
    from isthmus.formats.frames import is_table, source_of

    if is_table(items):
        return np.asarray(source_of(items), dtype=np.float64)
    array = items.detach().cpu().double().numpy() if hasattr(items, "detach") else np.asarray(items, dtype=np.float64)
    return array.transpose(0, 2, 1) if form.spec.kind == "series" and array.ndim == 3 else array


def rows_of(table: Any) -> Iterator[list[list[str]]]:
    """The rows of a table as names and texts."""
    from isthmus.formats.frames import source_of

    for batch in source_of(table).batches():
        for row in batch.to_pylist():
            yield [[name, _text(value)] for name, value in row.items()]


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "seconds")
    return str(value)[:MOST_TEXT]


# ---- small pictures --------------------------------------------------------------------------------------------------


def thumbnails_of(form: Any, count: int) -> dict[str, int] | None:
    """How small pictures of items lie on sheets; None for what is no picture, and for more than memory should hold."""
    if form.spec.kind != "image":
        return None
    channels, height, width = form.spec.shape
    shrink = min(1.0, LARGEST_SIDE / max(height, width))
    height, width = (max(round(side * shrink), 1) for side in (height, width))
    channels = shown_channels(channels)
    if count * height * width * channels > MOST_BYTES:
        return None
    return {"width": width, "height": height, "channels": channels, "per_sheet": PER_SHEET, "columns": ACROSS,
            "sheets": -(-count // PER_SHEET)}  # fmt: skip


def sheets(form: Any, stored: Tensor, laid: dict[str, int]) -> Iterator[bytes]:
    """PNG files of small pictures, 32 across, row by row."""
    width, height, channels = laid["width"], laid["height"], laid["channels"]
    for start in range(0, len(stored), PER_SHEET):
        pixels = pixels_of(form, stored[start : start + PER_SHEET])
        if pixels.shape[1:3] != (height, width):
            planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
            small = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
            pixels = small.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        down = -(-len(pixels) // ACROSS)
        sheet = np.zeros((down * ACROSS, height, width, channels), np.uint8)
        sheet[: len(pixels)] = pixels
        sheet = sheet.reshape(down, ACROSS, height, width, channels).transpose(0, 2, 1, 3, 4)
        yield png_of(sheet.reshape(down * height, ACROSS * width, channels))


# ---- where an error lies ---------------------------------------------------------------------------------------------


def contributions(form: Any, names: Any, x: Tensor, means: Tensor) -> dict[str, Any] | None:
    """How much each pixel or column adds to the squared error of one item, of its linear view (F...) and its mean."""
    apart = torch.nan_to_num(x.double() - means.double()).square()
    if form.spec.kind == "image":
        return {"kind": "image", "values": apart.sum(0).flatten().tolist()}
    if form.spec.kind == "vector" and apart.numel() <= MOST_PARTS:
        words = names or [str(place) for place in range(apart.numel())]
        return {"kind": "columns", "names": list(words), "values": apart.tolist()}
    if form.spec.kind != "table":
        return None
    lines = form._lines
    owners = [code.name for code in form.codes_ for _ in code.elements]
    of_kept = np.bincount(lines.owner.numpy(), apart.numpy(), minlength=len(lines.kept))
    sums: dict[str, float] = {}
    for element, value in zip(lines.kept, of_kept, strict=True):
        sums[owners[element]] = sums.get(owners[element], 0.0) + float(value)
    return {"kind": "columns", "names": list(sums), "values": list(sums.values())}
