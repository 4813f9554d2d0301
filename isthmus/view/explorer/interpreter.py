"""What the page does with the layers of a decoder, in NumPy: to know beforehand what it will show.

B codes; every array is (B, numbers), laid out as the page's are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from scipy.special import erf, expit

__all__ = ["run_columns", "run_layers"]

Layer = dict[str, Any]


def run_layers(layers: Sequence[Layer], weights: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Codes (B, K) through layers, up to the columns of a table if there are any: (B, numbers)."""
    x = np.asarray(codes, dtype=np.float32)
    for layer in layers:
        if layer["op"] == "columns":
            break
        x = _run(layer, weights, x)
    return x


def _run(layer: Layer, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    op = layer["op"]
    if op in WORDS:
        return WORDS[op](x)
    if op == "residual":
        return x + run_layers(layer["body"], weights, x)
    if op == "linear":
        weight = _taken(weights, layer["weight"], (layer["out"], layer["in"]))
        return x @ weight.T + _bias(layer, weights)
    if op == "conv":
        return _conv(layer, weights, x)
    if op == "unshuffle_out":
        return _shuffled(layer, x)
    if op == "slice":
        return x[:, layer["from"] : layer["to"]]
    if op == "argmax":
        return x.reshape(len(x), layer["levels"], layer["size"]).argmax(1).astype(np.float32)
    if op == "affine":
        if "scales" not in layer:
            return x * layer["scale"] + layer["shift"]
        scales, shifts = (np.repeat(np.array(layer[name]), layer["each"]) for name in ("scales", "shifts"))
        return x.astype(np.float64) * scales + shifts
    if op in ("clip", "round"):
        held = np.rint(x) if op == "round" else np.clip(x, layer["low"], layer["high"])
        if "at" not in layer:
            return held
        x = x.copy()
        x[:, layer["at"]] = held[:, layer["at"]]
        return x
    assert op == "to_item", op
    return np.rint(x)


WORDS = {
    "silu": lambda x: x * expit(x),
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "tanh": np.tanh,
    "sigmoid": expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "step": lambda x: (x >= 0).astype(np.float32),
}


def _taken(weights: np.ndarray, start: int, shape: Sequence[int]) -> np.ndarray:
    return weights[start : start + math.prod(shape)].astype(np.float32).reshape(shape)


def _bias(layer: Layer, weights: np.ndarray) -> np.ndarray | float:
    return 0.0 if layer["bias"] is None else _taken(weights, layer["bias"], (layer["out"],))


def _conv(layer: Layer, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Three a side, zeros beyond the edge; data (B, sides..., channels)."""
    sides, kernel = layer["sides"], (layer["kernel"],) * len(layer["sides"])
    weight = _taken(weights, layer["weight"], (*kernel, layer["in"], layer["out"]))
    data = x.reshape(len(x), *sides, layer["in"])
    padded = np.pad(data, [(0, 0), *[(1, 1)] * len(sides), (0, 0)])
    total = np.zeros((*data.shape[:-1], layer["out"]), np.float32)
    for place in product(*map(range, kernel)):
        window = tuple(slice(start, start + side) for start, side in zip(place, sides, strict=True))
        total += padded[(slice(None), *window)] @ weight[place]
    return (total + _bias(layer, weights)).reshape(len(x), -1)


def _shuffled(layer: Layer, x: np.ndarray) -> np.ndarray:
    """(B, grid..., planes * patch ** axes) to planes (B, planes, sides...), what lies beyond the sides cut off."""
    grid, sides, patch, planes = (layer[name] for name in ("grid", "sides", "patch", "planes"))
    axes = len(grid)
    data = x.reshape(len(x), *grid, planes, *[patch] * axes)
    order = [0, axes + 1] + [axis for number in range(axes) for axis in (1 + number, axes + 2 + number)]
    whole = data.transpose(order).reshape(len(x), planes, *(cells * patch for cells in grid))
    return whole[(slice(None), slice(None), *(slice(side) for side in sides))].reshape(len(x), -1)


def run_columns(columns: Sequence[dict[str, Any]], p: np.ndarray) -> list[list[Any]]:
    """What a decoder says of rows (B, numbers), in cells: numbers, milliseconds since 1970, texts, None."""
    return [list(row) for row in zip(*(_cells(column, p) for column in columns), strict=True)]


def _cells(column: dict[str, Any], p: np.ndarray) -> list[Any]:
    kind = column["kind"]
    if kind == "fixed":
        return [column["value"]] * len(p)
    if kind in ("category", "boolean"):
        levels, code = column["levels"], np.zeros(len(p), dtype=np.int64)
        for place, (start, stop) in enumerate(column.get("parts", [[column.get("from"), column.get("to")]])):
            code += p[:, start:stop].argmax(1) * 256**place
        return [levels[min(one, len(levels) - 1)] for one in code]
    if kind == "text":
        places = np.stack([p[:, start:stop].argmax(1) for start, stop in column["parts"]], axis=1)
        known = [*column["bytes"], 0]
        return [bytes(known[one] for one in row).split(b"\0", 1)[0].decode("utf-8", "ignore") for row in places]
    if kind == "datetime":
        return _moments(column, p).tolist()
    values = np.interp(p[:, column["at"]].astype(np.float64), column["x"], column["y"])
    if bent := column.get("sinh"):
        t = p[:, column["at"]].astype(np.float64) * bent["deviation"] + bent["mean"]
        values = np.clip(bent["centre"] + bent["spread"] * np.sinh(np.clip(t, -700, 700)), bent["low"], bent["high"])
    if column["digits"] is not None:
        values = np.round(values, column["digits"])
    if spike := column.get("spike"):
        values = np.where(p[:, spike["from"] : spike["to"]].argmax(1) == 1, spike["value"], values)
    return values.tolist()


def _moments(column: dict[str, Any], p: np.ndarray) -> np.ndarray:
    """Milliseconds since 1970: the trend, moved by the least that agrees with the cycles."""
    now = np.interp(p[:, column["at"]].astype(np.float64), column["x"], column["y"])
    for cycle in column["cycles"]:
        waves = zip(cycle["at"], cycle["size"], cycle["middle"], strict=True)
        sine, cosine = (p[:, at] * size + middle for at, size, middle in waves)
        turns = now / cycle["period"]
        turn = np.arctan2(sine, cosine) / (2 * np.pi) - (turns - np.floor(turns))
        now = now + (turn - np.rint(turn)) * cycle["period"]
    low, high = column["y"]
    now = np.clip(now, low, high)
    if column["grain"]:
        now = low + np.floor((now - low) / column["grain"] + 0.5) * column["grain"]
    return np.clip(now, low, high)
