"""The columns of a table as the page reads them from a decoder's output: where each stands, and what it means.

p are the numbers that a decoder gives for one row.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from isthmus.formats.codes import BASE, CYCLES, SECONDS, Code
from isthmus.formats.columns import Choice, LeftOut, Text
from isthmus.formats.quantities import Number, Time

__all__ = ["column_kinds", "column_layers", "key_of", "linear_columns"]

KNOTS = 257  # of a bent curve: straight pieces are then within a thousandth of a deviation
WORDS = {"continuous": "number", "duration": "number", "ordinal": "category"}  # others are called as they are
MILLISECONDS = 1000.0

Place = tuple[int, int]  # of p: from, to


def column_kinds(form: Any) -> list[dict[str, str]]:
    """Name and kind of every column, in the page's words."""
    return [
        {"name": code.name, "kind": "left out" if isinstance(code, LeftOut) else WORDS.get(code.kind, code.kind)}
        for code in form.codes_
    ]


def key_of(form: Any) -> str | None:
    """The column that rows are called by: the first identifier."""
    return next((str(code.name) for code in form.codes_ if code.kind == "identifier"), None)


def column_layers(form: Any, likelihood: Any) -> list[dict[str, Any]]:
    """The columns of a network's output: numbers first, then choices in fields as wide as their group."""
    places = {element: (number, number + 1) for number, element in enumerate(likelihood.numbers)}
    start = len(likelihood.numbers)
    for width, elements in likelihood.groups:
        for element in elements:
            places[element] = (start, start + likelihood.levels[element])
            start += width
    return _columns(form, places)


def linear_columns(
    form: Any, weight: np.ndarray, bias: np.ndarray
) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """The columns of a linear model's output, and its weights (F, K) and bias (F,) in the unit of the elements."""
    lines = form._view
    scales, shares = lines.scales.double().numpy(), lines.shares.double().numpy()
    counts = np.maximum(lines.levels, 1)
    places = {
        int(element): (int(start), int(start + count))
        for element, start, count in zip(lines.kept, lines.starts, counts, strict=True)
    }
    return _columns(form, places), weight / scales[:, None], bias / scales + shares


def _columns(form: Any, places: dict[int, Place]) -> list[dict[str, Any]]:
    found, first = [], 0
    for code in form.codes_:
        own = [places[e] for e in range(first, first + len(code.elements)) if e in places]
        first += len(code.elements)
        found.append({"name": code.name} | _column(code, own))
    return found


def _column(code: Code, places: list[Place]) -> dict[str, Any]:
    """One column; ``places`` are those of its elements."""
    if isinstance(code, Number):
        return _number(code, places)
    if isinstance(code, Time):
        return _time(code, [start for start, _ in places])
    if isinstance(code, Text):
        return {"kind": "text", "parts": [list(place) for place in places], "bytes": list(code.alphabet)}
    if isinstance(code, Choice):
        levels = [str(level) for level in code.levels]
        if len(levels) == 1:
            return {"kind": "fixed", "value": levels[0]}
        if code.digits > 1:
            return {"kind": "category", "parts": [list(place) for place in places], "base": BASE, "levels": levels}
        kind = "boolean" if code.kind == "boolean" else "category"
        return {"kind": kind, "from": places[0][0], "to": places[0][1], "levels": levels}
    assert isinstance(code, LeftOut)
    return {"kind": "fixed", "value": str(code.value) if code.kind == "constant" else None}


def _number(code: Number, places: list[Place]) -> dict[str, Any]:
    ends = np.array([code.low, code.high], dtype=np.float64)
    least, most = code.scaled(ends).tolist()
    most = max(most, least + 1e-9)
    x = np.linspace(least, most, KNOTS if code.heavy else 2)
    decimals = re.search(r", (\d+)\)", code.type) if code.type.startswith("decimal") else None
    whole = code.whole or code.store in ("i4", "i8")
    column: dict[str, Any] = {
        "kind": "number", "at": places[0][0], "x": x.tolist(), "y": code.unscaled(x).tolist(),
        "digits": 0 if whole else int(decimals[1]) if decimals else code.decimals,
    }  # fmt: skip
    if code.heavy:
        column["sinh"] = {"centre": code.centre, "spread": code.spread_, "mean": code.mean,
                          "deviation": code.deviation, "low": code.low, "high": code.high}  # fmt: skip
    if code.spike is not None:
        column["spike"] = {"from": places[1][0], "to": places[1][1], "value": code.spike}
    return column


def _time(code: Time, at: list[int]) -> dict[str, Any]:
    unit = SECONDS[code.unit] * MILLISECONDS
    ends = np.array([code.low, code.high], dtype=np.float64)
    x = ((ends - code.offset) / code.step).tolist()
    cycles = [
        {"at": at[2 * place + 1 : 2 * place + 3], "middle": list(code.middles[2 * place : 2 * place + 2]),
         "size": list(code.sizes[2 * place : 2 * place + 2]), "period": CYCLES[cycle] * MILLISECONDS}
        for place, cycle in enumerate(code.cycles)
    ]  # fmt: skip
    grain = code.grain * unit
    form = "date" if code.type.startswith("date") else "time" if code.type.startswith("time3") else "datetime"
    form = "time" if code.type.startswith("time6") else form
    return {"kind": "datetime", "at": at[0], "x": [x[0], max(x[1], x[0] + 1e-9)], "y": (ends * unit).tolist(),
            "cycles": cycles, "grain": grain if grain >= 1 else None, "format": form}  # fmt: skip
