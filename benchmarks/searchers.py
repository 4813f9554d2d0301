"""One index of codes, one process: ``python benchmarks/searchers.py NAME FILE``, a line of JSON.

Run by the environment of the peers, or by our own; nothing of ``benchmarks`` is imported, so that the file runs in
both. FILE holds ``codes`` (n, K), ``queries`` (m, K) and ``truth`` (t, k), the nearest of the first t queries. The
first TUNING queries choose how far a peer looks, as few as reach GOAL; recall is of the others that have a truth. Ours
chooses by itself, and sees no query before.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

TUNING, GOAL = 1000, 0.96
ALONE = 200  # queries that are asked one by one
EXACT = 1000  # queries that the plain product is timed with
Find = Callable[[np.ndarray], np.ndarray]
Made = tuple[Callable[[int], Find], tuple[int, ...]]  # what finds, by how far it looks, and how far it may look
DIALS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)


def brute(codes: np.ndarray, k: int) -> Find:
    """The plain product in PyTorch."""
    held = torch.from_numpy(codes)
    squares = held.square().sum(1)

    def find(queries: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(queries).split(256)
        apart = (torch.addmm(squares, part, held.T, alpha=-2).topk(k, largest=False).indices for part in parts)
        return torch.cat(list(apart)).numpy()

    return find


def isthmus(codes: np.ndarray, k: int, folder: str, recall: float) -> Made:
    from isthmus.verbs.inverted_file import InvertedFile

    meta = {"width": codes.shape[1], "metric": "euclidean", "names": False, "columns": [], "recall": recall, "seed": 0}
    made = InvertedFile.make(Path(folder) / "items.index", meta, {"codes": codes, "names": None, "columns": None})
    return lambda _: lambda queries: made.search(queries, k)[0], ()


def faiss_flat(codes: np.ndarray, k: int, folder: str) -> Made:
    import faiss

    made = faiss.IndexFlatL2(codes.shape[1])
    made.add(codes)
    return lambda _: lambda queries: made.search(queries, k)[1], ()


def faiss_cells(codes: np.ndarray, k: int, folder: str) -> Made:
    import faiss

    width = codes.shape[1]
    made = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, int(2 * len(codes) ** 0.5))
    made.train(codes)
    made.add(codes)

    def to(probes: int) -> Find:
        made.nprobe = probes
        return lambda queries: made.search(queries, k)[1]

    return to, DIALS


def faiss_graph(codes: np.ndarray, k: int, folder: str) -> Made:
    import faiss

    made = faiss.IndexHNSWFlat(codes.shape[1], 16)
    made.add(codes)

    def to(beam: int) -> Find:
        made.hnsw.efSearch = beam
        return lambda queries: made.search(queries, k)[1]

    return to, DIALS[5:]


def hnswlib_graph(codes: np.ndarray, k: int, folder: str) -> Made:
    import hnswlib

    made = hnswlib.Index("l2", codes.shape[1])
    made.init_index(len(codes), M=16, ef_construction=100)
    made.set_num_threads(torch.get_num_threads())
    made.add_items(codes)

    def to(beam: int) -> Find:
        made.set_ef(beam)
        return lambda queries: made.knn_query(queries, k)[0].astype(np.int64)

    return to, DIALS[6:]


def usearch_graph(codes: np.ndarray, k: int, folder: str) -> Made:
    from usearch.index import Index

    made = Index(ndim=codes.shape[1], metric="l2sq", dtype="f32")
    made.add(np.arange(len(codes)), codes, threads=torch.get_num_threads())

    def to(beam: int) -> Find:
        made.expansion_search = beam
        return lambda queries: (
            made.search(queries, k, threads=torch.get_num_threads()).keys.astype(np.int64).reshape(-1, k)
        )

    return to, DIALS[6:]


def lance_cells(codes: np.ndarray, k: int, folder: str) -> Made:
    import lancedb
    import pyarrow

    vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(codes.ravel()), codes.shape[1])
    held = pyarrow.table({"row": pyarrow.array(np.arange(len(codes))), "vector": vectors})
    made = lancedb.connect(folder).create_table("codes", held)
    made.create_index(metric="l2", num_partitions=int(2 * len(codes) ** 0.5), index_type="IVF_FLAT")

    def to(probes: int) -> Find:
        def find(queries: np.ndarray) -> np.ndarray:
            found = []
            for start in range(0, len(queries), 500):
                part = list(queries[start : start + 500])
                asked = made.search(part if len(part) > 1 else part[0]).nprobes(probes).limit(k)
                held = asked.select(["row", "_distance"]).to_arrow().to_pydict()
                which = np.array(held.get("query_index", [0] * k))
                order = np.lexsort((np.array(held["_distance"]), which))
                found.append(np.array(held["row"])[order].reshape(len(part), k))
            return np.concatenate(found)

        return find

    return to, DIALS[5:]


SEARCHERS: dict[str, Callable[[np.ndarray, int, str], Made]] = {
    "Isthmus": lambda *given: isthmus(*given, recall=0.97),
    "Isthmus, recall=0.99": lambda *given: isthmus(*given, recall=0.99),
    "Faiss IVF": faiss_cells,
    "Faiss flat": faiss_flat,
    "Faiss HNSW": faiss_graph,
    "hnswlib": hnswlib_graph,
    "usearch": usearch_graph,
    "LanceDB": lance_cells,
}


def recall(truth: np.ndarray, found: np.ndarray) -> float:
    """Share of the true nearest that were found."""
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(truth.tolist(), found.tolist(), strict=True)]))


def took(find: Find, queries: np.ndarray) -> list[float]:
    """Seconds a query, by the clock and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    find(queries)
    return [(time.perf_counter() - wall) / len(queries), (time.process_time() - cpu) / len(queries)]


def alone(find: Find, queries: np.ndarray) -> float:
    """Milliseconds of one query at a time by the clock, the median."""
    return float(np.median([took(find, query[None])[0] for query in queries[:ALONE]])) * 1000


def main() -> None:
    """Build, choose, measure, and print what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=SEARCHERS)
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with np.load(given.data, allow_pickle=False) as arrays:
        codes, queries, truth = arrays["codes"], arrays["queries"], arrays["truth"]
    k, known = truth.shape[1], len(truth)
    exact = brute(codes, k)
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            to, dials = SEARCHERS[given.name](codes, k, folder)
        except ModuleNotFoundError as error:
            sys.stdout.write("\n" + json.dumps({"missing": error.name}) + "\n")
            return
        built = [time.perf_counter() - wall, time.process_time() - cpu]
        dial = 0
        for dial in dials:
            if recall(truth[:TUNING], to(dial)(queries[:TUNING])) >= GOAL:
                break
        find = to(dial)
        found: dict[str, Any] = {"recall": recall(truth[TUNING:], find(queries[TUNING:known])), "built": built}
        took(exact, queries[:EXACT])  # both are warm then
        asked = queries[: max(int(1 / took(find, queries[:EXACT])[0]), EXACT)]  # all, or what a second is enough for
        found["turns"] = [(took(exact, queries[:EXACT]), took(find, asked)) for _ in range(given.turns)]
        found |= {"dial": dial, "alone": alone(find, queries), "exact_alone": alone(exact, queries)}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
