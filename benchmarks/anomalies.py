"""Anomalies in the tables of ADBench: the default detector beside scikit-learn's, without a label or a setting."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import isthmus as im
from benchmarks import table

ROWS = 10_000  # of a set at most, drawn with the seed
LEVELS = (0.05, 0.1)  # nominal false-discovery rates
NEIGHBOURS, LOF_NEIGHBOURS = 5, 20  # the defaults of PyOD's KNN and of scikit-learn's LOF
Scorer = Callable[[np.ndarray, np.ndarray | None, int], np.ndarray]  # learned from, scored (None: the same), seed


def run(seeds: int = 3, budget: str | None = None) -> None:
    seeds = max(seeds, 3)
    folder = Path(os.environ["ISTHMUS_DATA"]) / "anomaly" / "adbench"
    files = sorted(folder.glob("*.npz"), key=lambda path: path.stem.split("_", 1)[1].lower())
    areas: dict[tuple[str, str, str], list[float]] = {}
    seconds = {name: 0.0 for name in SCORERS}
    false: dict[tuple[str, float], list[float]] = {}
    found: dict[tuple[str, float], list[float]] = {}
    too_few = 0
    for path in files:
        name = path.stem.split("_", 1)[1]
        for seed in range(seeds):
            X, y = rows_of(path, seed)
            train, test = halved(y, seed)
            for method, scores_of in SCORERS.items():
                for protocol, learned, scored, truth in (("clean", X[train], X[test], y[test]), ("mixed", X, None, y)):
                    scores, _, cpu = table.timed(lambda s=scores_of, a=learned, b=scored, r=seed: s(a, b, r))
                    seconds[method] += cpu
                    areas.setdefault((name, protocol, method), []).append(area(truth, scores))
            detector = im.AnomalyDetector(random_state=seed).fit(X[train])
            for level in LEVELS:
                try:
                    flagged = im.detect(detector, X[test], fdr=level).flagged
                except im.errors.DataError:  # too few rows held out to calibrate with
                    too_few += 1
                    continue
                false.setdefault((name, level), []).append(float((flagged & (y[test] == 0)).sum() / max(flagged.sum(), 1)))
                found.setdefault((name, level), []).append(float(flagged[y[test] == 1].mean()))
        print(name, {m: round(np.mean(areas[name, "clean", m]), 3) for m in SCORERS},
              {m: round(np.mean(areas[name, "mixed", m]), 3) for m in SCORERS}, flush=True)  # fmt: skip
    report([path.stem.split("_", 1)[1] for path in files], seeds, areas, seconds, false, found, too_few)
