"""Nearest codes: recall and speed beside the brute-force product, and beside other libraries where they are there."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

import isthmus as im
from benchmarks import table
from isthmus.verbs.inverted_file import InvertedFile

ITEMS, K = 200_000, 10
ALONE = 200  # queries that are asked one by one
TURNS = 5  # exact and each contender in turn, so that a busy machine slows all of them


def run(seeds: int = 1, budget: str | None = None) -> None:
    rows = []
    for name, (codes, queries) in sets(budget).items():
        rows += measured(name, codes, queries, peers=name.startswith("MNIST, PCA"))
    table.write("search", "Nearest codes, 200,000 x 64, k = 10",
                "10,000 queries that are not in the index, in one call (batch) or one by one (single, 200 of them); "
                "exact: brute-force product and top-k in PyTorch, 2,000 of the queries. x exact: ratio of queries a "
                "second, by the clock and by processor time, median (least to most) of "
                f"{TURNS} turns in which one is timed after the other. {torch.get_num_threads()} threads for all, on a "
                "machine shared with other work: clock times are longer than on a quiet one.",
                rows)  # fmt: skip


def sets(budget: str | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Codes to search in, and codes to ask with."""
    X, test = im.datasets.mnist("train"), im.datasets.mnist("test")
    shifts = [(0, 1), (1, 0), (0, -1)]
    many = np.concatenate([X, *(np.roll(X, shift, (1, 2)) for shift in shifts)])
    many = many[np.random.default_rng(0).permutation(len(many))[:ITEMS]]
    pca = im.PCA(64).fit(X)
    deep = im.Autoencoder(64, budget=budget or "60s", verbose=False).fit(X)
    found = {"MNIST, PCA": (pca.encode(many), pca.encode(test)),
             "MNIST, Autoencoder": (deep.encode(many), deep.encode(test))}  # fmt: skip
    pictures = im.datasets.cifar10("train")
    random = np.random.default_rng(1)
    count = ITEMS + len(test)
    i, y, x = random.integers(0, len(pictures), count), *random.integers(0, 21, (2, count))
    patches = np.stack([pictures[a, b : b + 12, c : c + 12] for a, b, c in zip(i, y, x, strict=True)])
    codes = im.PCA(64).fit(patches[:60_000].copy()).encode(patches)
    found["CIFAR patches, PCA"] = codes[:ITEMS], codes[ITEMS:]
    drawn = random.standard_normal((count, 64)).astype(np.float32)
    found["Gaussian noise"] = drawn[:ITEMS], drawn[ITEMS:]
    return found


def measured(name: str, codes: np.ndarray, queries: np.ndarray, peers: bool) -> list[dict[str, Any]]:
    exact = brute(codes)
    truth = brute(codes.astype(np.float64))(queries[:2000].astype(np.float64))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        contenders: dict[str, Callable[[], Callable[[np.ndarray], np.ndarray]]] = {
            f"Isthmus, recall={goal}": (lambda goal=goal: own(codes, goal, Path(folder) / "items.index"))
            for goal in (0.97, 0.99)
        }
        if peers:
            contenders |= {label: (lambda make=make: make(codes, folder)) for label, (package, make) in PEERS.items()
                           if find_spec(package)}  # fmt: skip
        for label, make in contenders.items():
            find, wall, cpu = table.timed(make)
            near = find(queries)
            recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(truth, near[:2000].tolist(), strict=True)])
            turns = []
            for _ in range(TURNS):
                plain = [seconds / 2000 for seconds in table.timed(lambda: exact(queries[:2000]))[1:]]
                batch = [seconds / len(queries) for seconds in table.timed(lambda find=find: find(queries))[1:]]
                turns.append((plain, batch))
            rows.append({
                "codes": name, "index": label, "recall@10": round(float(recall), 4),
                "batch, x exact (clock)": table.spread([plain[0] / batch[0] for plain, batch in turns], 1),
                "batch, x exact (processor)": table.spread([plain[1] / batch[1] for plain, batch in turns], 1),
                "queries a CPU second": round(float(np.median([1 / batch[1] for _, batch in turns]))),
                "single, ms (clock, processor)": alone(find, queries), "exact single, ms": alone(exact, queries),
                "build, CPU s": round(cpu, 1), "build, s": round(wall, 1),
            })  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def alone(find: Callable[[np.ndarray], Any], queries: np.ndarray) -> str:
    """Milliseconds of one query at a time: by the clock, the median, and by processor time, the mean."""
    spent, cpu = [], time.process_time()
    for query in queries[:ALONE]:
        begin = time.perf_counter()
        find(query[None])
        spent.append(time.perf_counter() - begin)
    return f"{np.median(spent) * 1000:.2f}, {(time.process_time() - cpu) / ALONE * 1000:.2f}"


def brute(codes: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    held = torch.from_numpy(codes)
    squares = held.square().sum(1)

    def find(queries: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(queries).split(256)
        apart = (torch.addmm(squares, part, held.T, alpha=-2).topk(K, largest=False).indices for part in parts)
        return torch.cat(list(apart)).numpy()

    return find


def own(codes: np.ndarray, recall: float, path: Path) -> Callable[[np.ndarray], np.ndarray]:
    meta = {"width": 64, "metric": "euclidean", "names": False, "columns": [], "recall": recall, "seed": 0}
    made = InvertedFile.make(path, meta, {"codes": codes, "names": None, "columns": None})
    return lambda queries: made.search(queries, K)[0]


def faiss_cells(codes: np.ndarray, folder: str) -> Callable[[np.ndarray], np.ndarray]:
    import faiss

    made = faiss.IndexIVFFlat(faiss.IndexFlatL2(64), 64, 1024)
    made.train(codes)
    made.add(codes)
    made.nprobe = 16
    return lambda queries: made.search(queries, K)[1]


def faiss_graph(codes: np.ndarray, folder: str) -> Callable[[np.ndarray], np.ndarray]:
    import faiss

    made = faiss.IndexHNSWFlat(64, 32)
    made.add(codes)
    made.hnsw.efSearch = 32
    return lambda queries: made.search(queries, K)[1]


def usearch_graph(codes: np.ndarray, folder: str) -> Callable[[np.ndarray], np.ndarray]:
    from usearch.index import Index

    made = Index(ndim=64, metric="l2sq", dtype="f32")
    made.add(np.arange(len(codes)), codes, threads=torch.get_num_threads())
    return lambda queries: made.search(queries, K, threads=torch.get_num_threads()).keys.astype(np.int64).reshape(-1, K)


def lance_cells(codes: np.ndarray, folder: str) -> Callable[[np.ndarray], np.ndarray]:
    import lancedb
    import pyarrow

    vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(codes.ravel()), 64)
    rows = pyarrow.array(np.arange(len(codes)))
    made = lancedb.connect(folder).create_table("codes", pyarrow.table({"row": rows, "vector": vectors}))
    made.create_index(metric="l2", num_partitions=512, index_type="IVF_FLAT")

    def find(queries: np.ndarray) -> np.ndarray:
        found = []
        for start in range(0, len(queries), 500):
            part = list(queries[start : start + 500])
            asked = made.search(part if len(part) > 1 else part[0]).nprobes(12).limit(K).select(["row", "_distance"])
            held = asked.to_arrow().to_pydict()
            which = np.array(held.get("query_index", [0] * K))
            order = np.lexsort((np.array(held["_distance"]), which))
            found.append(np.array(held["row"])[order].reshape(len(part), K))
        return np.concatenate(found)

    return find


PEERS: dict[str, tuple[str, Callable[[np.ndarray, str], Callable[[np.ndarray], np.ndarray]]]] = {
    "Faiss IVF1024, nprobe 16": ("faiss", faiss_cells),
    "Faiss HNSW32": ("faiss", faiss_graph),
    "usearch": ("usearch", usearch_graph),
    "LanceDB IVF_FLAT 512, nprobes 12": ("lancedb", lance_cells),
}
