"""What each layer of an autoencoder's encoder knows of digits, trained and untrained; with a picture of four layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import isthmus as im
from benchmarks import table
from isthmus.verbs.layers import layers
from isthmus.view import plots

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "layers.png"


def run(seeds: int = 3, budget: str | None = None) -> None:
    X, y = im.datasets.digits(labels=True)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for seed in range(max(seeds, 3)):
        model = im.Autoencoder(16, random_state=seed, budget=budget, verbose=False).fit(X)
        for name, one in (("trained", model), ("untrained", model.untrained())):
            seen = layers(one, X, y, seed=seed)
            for row in seen.rows:
                found.setdefault(row["layer"], {}).setdefault(name, []).append(row)
            if seed == 0 and name == "trained":
                picture(seen, y)
    rows = []
    for layer, both in found.items():
        row = {"layer": layer, "kept": both["trained"][0]["width"]}
        for name, runs in both.items():
            row |= {f"probe %, {name}": spread([100 * one["probe"] for one in runs], 1),
                    f"effective dimension, {name}": spread([one["effective_dimension"] for one in runs], 1),
                    f"CKA with input, {name}": spread([one["cka_input"] for one in runs], 2)}  # fmt: skip
        rows.append(row)
    table.write("layers", "The layers of an encoder", f"Digits, Autoencoder(16), budget {budget}, {max(seeds, 3)} "
                "seeds: means ± deviation. Activations flattened, at most 1,024 numbers kept.", rows)  # fmt: skip


def picture(seen: Any, y: np.ndarray) -> None:
    names = seen.names
    chosen = [names[round(place)] for place in np.linspace(0, len(names) - 1, 4)]
    figure = plots.canvas(6, 1.7)
    for ax, name in zip(figure.subplots(1, 4), chosen, strict=True):
        some = seen.maps[name][:400]
        ax.scatter(some[:, 0], some[:, 1], s=3, c=[plots.PALETTE[c] for c in y[:400]], linewidths=0)
        ax.set_title(name, fontsize=8, color=plots.INK)
        ax.set_xticks([])
        ax.set_yticks([])
    figure.tight_layout()
    plots.write(figure, PICTURE)


def spread(values: list[float | None], digits: int) -> str:
    if any(value is None for value in values):
        return "-"
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"
