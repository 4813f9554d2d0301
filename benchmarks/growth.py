"""Time and memory against the number of items, dimensions, latents and the batch: how fast do they grow?"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks import table

BASE = {"n": 20_000, "d": 64, "k": 16, "batch": 128}
GRID = {"n": (10_000, 31_600, 100_000, 316_000, 1_000_000), "d": (16, 64, 256, 1024), "k": (2, 8, 32, 128),
        "batch": (16, 64, 256, 1024)}  # fmt: skip
WORDS = {"n": "items", "d": "dimensions", "k": "latents", "batch": "batch"}
RUNS = 3
ONE = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
import isthmus as im
given = json.loads(sys.argv[1])
X = np.random.default_rng(0).standard_normal((given["n"], given["d"]), dtype=np.float32)
im.Autoencoder(2, epochs=1, verbose=False, network=(8,)).fit(X[:200])  # everything is imported now
def peak():
    return next(int(l.split()[1]) / 1024 for l in Path("/proc/self/status").open() if l.startswith("VmHWM"))
before = peak()
model = im.Autoencoder(given["k"], network=(256, 128), epochs=1, batch_size=given["batch"], verbose=False)
begun = time.monotonic()
model.fit(X)
print(json.dumps({"fit": time.monotonic() - begun, "train": model.history_["seconds"][-1], "mib": peak() - before,
                  "data": X.nbytes / 2**20}))
"""


def run(seeds: int = 1, budget: str | None = None) -> None:
    rows: list[dict[str, Any]] = []
    for axis, values in GRID.items():
        found = [[one(BASE | {axis: value}) for _ in range(RUNS)] for value in values]
        medians = [{key: float(np.median([run[key] for run in some])) for key in some[0]} for some in found]
        for value, median in zip(values, medians, strict=True):
            rows.append({"along": WORDS[axis], "value": f"{value:,}", "one pass, s": f"{median['train']:.2f}",
                         "fit, s": f"{median['fit']:.2f}", "memory beyond the data, MiB": f"{median['mib']:.0f}",
                         "data, MiB": f"{median['data']:.0f}"})  # fmt: skip
        powers = {key: np.polyfit(np.log(values), np.log([median[key] for median in medians]), 1)[0]
                  for key in ("train", "fit")}  # fmt: skip
        rows.append({"along": WORDS[axis], "value": "exponent", "one pass, s": f"{powers['train']:.2f}",
                     "fit, s": f"{powers['fit']:.2f}"})  # fmt: skip
    table.write("growth", "How time and memory grow",
                f"Autoencoder, one pass over float32 data of {BASE['n']:,} x {BASE['d']}, {BASE['k']} latents, batches "
                f"of {BASE['batch']}, hidden layers of 256 and 128, one of the four changed at a time; a process a "
                f"run, medians of {RUNS}. The exponent is the slope of a line through the logarithms. The fit has the "
                "prior's mixture in it, which is fitted to a bounded number of codes.", rows)  # fmt: skip


def one(given: dict[str, int]) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", ONE, json.dumps(given)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)
