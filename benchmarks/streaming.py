"""A set that is read from disk while it trains, against the same set in memory: speed, and memory over time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import table

ITEMS, SIDE, RUNS = 1_000_000, 28, 3
ONE = """
import json, sys, threading, time
from pathlib import Path
import numpy as np
import isthmus as im
from isthmus.training import feed
path, streamed = sys.argv[1], sys.argv[2] == "streamed"
if streamed:
    feed.SHARE = 0.0
X = np.load(path, mmap_mode="r" if streamed else None)
def memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))
im.Autoencoder(16, network=(512,), epochs=1, verbose=False).fit(X[:2000])
before, curve, done = memory(), [], threading.Event()
def watch():
    while not done.wait(0.25):
        curve.append(memory() - before)
thread = threading.Thread(target=watch)
model = im.Autoencoder(16, network=(512,), epochs=1, verbose=False)
thread.start()
model.fit(X)
done.set(); thread.join()
print(json.dumps({"s": model.history_["seconds"][-1], "curve": curve, "held_out": model.history_["held_out"][-1]}))
"""


def run(seeds: int = 1, budget: str | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.npy"
        random = np.random.default_rng(0)
        X = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(ITEMS, SIDE, SIDE))
        basis = random.standard_normal((20, SIDE * SIDE), dtype=np.float32)
        for start in range(0, ITEMS, 10_000):
            drawn = random.standard_normal((10_000, 20), dtype=np.float32) @ basis
            X[start : start + 10_000] = np.clip(drawn * 12 + 128, 0, 255).reshape(-1, SIDE, SIDE)
        X.flush()
        del X
        found: dict[str, list[dict]] = {"resident": [], "streamed": []}
        for _ in range(RUNS):
            for kind, runs in found.items():
                done = subprocess.run([sys.executable, "-c", ONE, str(path), kind], check=True, capture_output=True,
                                      text=True)  # fmt: skip
                runs.append(json.loads(done.stdout))
    resident = float(np.median([run["s"] for run in found["resident"]]))
    rows = []
    for kind, runs in found.items():
        seconds = [run["s"] for run in runs]
        curve = np.array(runs[-1]["curve"])
        at = [f"{curve[int(share * (len(curve) - 1))]:.0f}" for share in (0.1, 0.3, 0.5, 0.7, 0.9)]
        rows.append({"feed": kind, "one pass, s": table.spread(seconds, 1),
                     "speed to resident": f"{resident / np.median(seconds):.2f}",
                     "held-out loss": table.spread([run["held_out"] for run in runs], 3),
                     "MiB beyond the start at 10, 30, 50, 70, 90 % of the fit": ", ".join(at),
                     "most": f"{curve.max():.0f}"})  # fmt: skip
    table.write("streaming", "From disk, and from memory",
                f"{ITEMS:,} images of {SIDE} x {SIDE} bytes ({ITEMS * SIDE * SIDE / 2**20:.0f} MiB), drawn from 20 "
                "factors; an autoencoder 784-512-16, one pass; a process a run, in turn. Streamed: the file is mapped "
                "and read a window ahead. Memory is that of the process's own (RssAnon), without the pages of the "
                "mapped file, which the system can drop; that of the resident run is beyond the array itself.",
                rows)  # fmt: skip
