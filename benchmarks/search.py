"""Nearest codes: recall and speed beside the brute-force product, and beside other libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import isthmus as im
from benchmarks import table
from benchmarks.searchers import GOAL, TUNING, brute
from benchmarks.training import HERE, PEERS, require_peers

ITEMS, QUERIES, K = 200_000, 10_000, 10
KNOWN = 2000  # queries whose true nearest are made
TURNS = 5  # exact and each index in turn, so that a busy machine slows both
LONGEST = 90  # seconds that an index may take in all, else it says so
OURS = ("Isthmus", "Isthmus, recall=0.99")
CELLS, OTHERS = ("Faiss IVF",), ("Faiss flat", "Faiss HNSW", "hnswlib", "usearch", "LanceDB")


def run(seeds: int = 1, budget: str | None = None) -> None:
    require_peers()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "codes.npz"
        for place, (name, codes, queries) in enumerate(sets()):
            truth = brute(codes.astype(np.float64), K)(queries[:KNOWN].astype(np.float64))
            np.savez(file, codes=codes, queries=queries, truth=truth)
            for label in (OURS + CELLS + OTHERS) if place == 0 else (*OURS[:1], *CELLS):
                rows.append({"codes": name, "index": label} | measured(label, file))
                print(rows[-1], flush=True)
    table.write("search", f"Nearest codes: {ITEMS:,} codes, {QUERIES:,} queries that are not in the index, k = {K}",
                "Exact: brute-force product and top-k in PyTorch, 1,000 of the queries; the slowest indexes are asked "
                "as many as take a second. x exact: how many times as "
                "many queries a second in one call, by the clock and by processor time, median (least to most) of "
                f"{TURNS} turns in which one is timed after the other. Single: 200 queries one by one, median by the "
                f"clock. {torch.get_num_threads()} threads, a process an index. How far a peer looks (cells, or "
                f"a graph's beam) is the least of a rising series that finds {GOAL:.0%} for the first {TUNING:,} "
                "queries; recall is of 1,000 others. Isthmus has chosen when it was built, from its own items.",
                rows)  # fmt: skip


def sets() -> Any:
    """Name, codes to search in, and codes to ask with; each made when it is needed."""
    X, test = im.datasets.mnist("train"), im.datasets.mnist("test")
    many = np.concatenate([X, *(np.roll(X, shift, (1, 2)) for shift in ((0, 1), (1, 0), (0, -1)))])
    many = many[np.random.default_rng(0).permutation(len(many))[:ITEMS]]
    pca = im.PCA(64).fit(X)
    yield "MNIST and shifts, PCA, 64", pca.encode(many), pca.encode(test)
    random, count = np.random.default_rng(1), ITEMS + QUERIES
    pictures = im.datasets.cifar10("train")
    i, y, x = random.integers(0, len(pictures), count), *random.integers(0, 21, (2, count))
    patches = np.stack([pictures[a, b : b + 12, c : c + 12] for a, b, c in zip(i, y, x, strict=True)])
    codes = im.PCA(64).fit(patches[:60_000].copy()).encode(patches)
    yield "CIFAR patches, PCA, 64", codes[:ITEMS], codes[ITEMS:]
    middles = 2 * random.standard_normal((1000, 64))
    drawn = middles[random.integers(0, 1000, count)] + random.standard_normal((count, 64))
    for name, codes in (("1,000 Gaussian clusters, 64", drawn), ("uniform, 16", random.random((count, 16))),
                        ("Gaussian, 16", random.standard_normal((count, 16))),
                        ("Gaussian, 64", random.standard_normal((count, 64)))):  # fmt: skip
        codes = codes.astype(np.float32)
        yield name, codes[:ITEMS], codes[ITEMS:]


def measured(label: str, file: Path) -> dict[str, Any]:
    """The figures of one index in a process of its own, in the environment that has it."""
    threads = torch.get_num_threads()
    command = [sys.executable if label in OURS else str(PEERS), str(HERE / "searchers.py"), label, str(file),
               "--threads", str(threads), "--turns", str(TURNS)]  # fmt: skip
    shared = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(HERE.parent) if label in OURS else ""}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | shared,
                              timeout=LONGEST)  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"recall@10": f"stopped after {LONGEST} s"}
    if done.returncode:
        raise SystemExit(f"{label} failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if "missing" in found:
        return {"recall@10": f"not measured: no {found['missing']}"}
    turns = found["turns"]
    return {
        "recall@10": round(found["recall"], 4), "looks at": found["dial"] or "",
        "batch, x exact (clock)": table.spread([plain[0] / batch[0] for plain, batch in turns], 1),
        "batch, x exact (processor)": table.spread([plain[1] / batch[1] for plain, batch in turns], 1),
        "queries a second": round(float(np.median([1 / batch[0] for _, batch in turns]))),
        "single, ms": round(found["alone"], 2), "exact single, ms": round(found["exact_alone"], 2),
        "build, s": round(found["built"][0], 1), "build, CPU s": round(found["built"][1], 1),
    }  # fmt: skip
