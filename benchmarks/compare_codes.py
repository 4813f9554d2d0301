"""Formats of codes beside each other, on digits and on real tables of categories and numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import isthmus as im
from benchmarks import table
from isthmus.verbs.compare_codes import compare_codes

TABLES = {"german_credit": "class", "adult": "income"}
ROWS = 2000


def run(seeds: int = 3, budget: str | None = None) -> None:
    seeds = max(seeds, 3)
    sets: dict[str, tuple[Any, np.ndarray]] = {"digits": im.datasets.digits(labels=True)}
    folder = Path(os.environ["ISTHMUS_DATA"]) / "tables"
    for name, target in TABLES.items():
        frame = pd.read_csv(folder / f"{name}.csv.gz", sep=None, engine="python")
        target = target if target in frame.columns else frame.columns[-1]
        frame = frame.sample(min(ROWS, len(frame)), random_state=0).reset_index(drop=True)
        sets[name] = frame.drop(columns=target), frame[target].astype(str).to_numpy()
    sets["words"] = words()
    rows = []
    for name, (X, y) in sets.items():
        found: dict[str, list[dict[str, Any]]] = {}
        for seed in range(seeds):
            made = compare_codes(X, y, budget=budget, seed=seed, verbose=False)
            print(name, seed, made, sep="\n", flush=True)
            for row in made.rows:
                found.setdefault(row["code"], []).append(row)
        for code, runs in found.items():
            error = [row["squared_error"] for row in runs]
            rows.append({"set": name, "code": code, "bytes": f"{runs[0]['bytes']:.4g}",
                         "squared error": "-" if None in error else f"{np.mean(error):.4g} ± {np.std(error):.2g}",
                         "probe %": spread([row["probe"] for row in runs]),
                         "few labels %": spread([row["few"] for row in runs])})  # fmt: skip
    table.write("compare_codes", "The same items in nine formats",
                f"Default settings, budget {budget}; at most {ROWS:,} rows of a table, the last column (or the income) "
                "told from the others. Words: 64 made-up words in no order, half of them of one kind, and a number "
                f"that is noise. Means of {seeds} seeds ± deviation. Squared errors of different sets do not compare.",
                rows)  # fmt: skip


def words() -> tuple[pd.DataFrame, np.ndarray]:
    """Items that are classes themselves: 64 words in no order, half of them of one kind, and a number that is noise."""
    random = np.random.default_rng(0)
    drawn, kind = random.integers(0, 64, 2000), random.permutation(np.repeat([0, 1], 32))
    frame = pd.DataFrame({"word": [f"w{word:02}" for word in drawn], "noise": random.normal(size=2000)})
    return frame, kind[drawn]


def spread(shares: list[float]) -> str:
    return f"{100 * np.mean(shares):.1f} ± {100 * np.std(shares):.1f}"
