"""PCA against the solvers of scikit-learn: time and exactness, alternating in one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import decomposition

import isthmus as im
from benchmarks import table

LATENTS = 64
RUNS = 7
SLOW = ("full", "randomized", "IncrementalPCA")  # several times slower than the others: fewer runs are enough
PIECE = 10_000  # items a piece, of partial_fit


def run(seeds: int = 1, budget: str | None = None) -> None:
    images = im.datasets.mnist("train")
    X = images.reshape(len(images), -1).astype(np.float32) / 255
    rows = measured("60,000 x 784, MNIST", X, {"isthmus, uint8 images": lambda: im.PCA(LATENTS).fit(images)})
    random = np.random.default_rng(0)
    wide = random.standard_normal((1_000_000, 256), dtype=np.float32)
    wide *= np.linspace(1, 0.1, 256, dtype=np.float32)
    wide += wide[:, :1] * random.standard_normal(256, dtype=np.float32)
    rows += measured("1,000,000 x 256, drawn", wide, {})
    table.write("pca", "PCA with 64 components",
                f"Medians (least to most) of runs in turn; float32 arrays; pieces of {PIECE:,} items. The exact share "
                "explained is of a float64 covariance.", rows)  # fmt: skip


def measured(data: str, X: np.ndarray, more: dict[str, Callable[[], Any]]) -> list[dict[str, Any]]:
    covariance = np.zeros((X.shape[1], X.shape[1]))
    mean = X.mean(0, dtype=np.float64)
    for start in range(0, len(X), PIECE):
        piece = X[start : start + PIECE] - mean
        covariance += piece.T @ piece
    exact = np.linalg.eigvalsh(covariance)[::-1]
    best = exact[:LATENTS].sum() / exact.sum()
    methods: dict[str, Callable[[], Any]] = {"isthmus": lambda: im.PCA(LATENTS).fit(X)} | more
    methods["isthmus, in pieces"] = lambda: in_pieces(im.PCA(LATENTS), X)
    for solver in ("covariance_eigh", "randomized", "full")[: 3 if len(X) < 100_000 else 2]:
        methods[f"scikit-learn, {solver}"] = lambda solver=solver: decomposition.PCA(
            LATENTS, svd_solver=solver, random_state=0).fit(X)  # fmt: skip
    methods["scikit-learn, IncrementalPCA, in pieces"] = lambda: in_pieces(decomposition.IncrementalPCA(LATENTS), X)
    times: dict[str, list[float]] = {name: [] for name in methods}
    share = {}
    for turn in range(RUNS):
        for name, method in methods.items():
            if turn and any(word in name for word in SLOW):
                continue
            fitted, wall, _ = table.timed(method)
            times[name].append(wall)
            share[name] = fitted.explained_variance_ratio_.sum() - best
    medians = {name: float(np.median(some)) for name, some in times.items()}
    fastest = min(time for name, time in medians.items() if "scikit" in name and "pieces" not in name)
    incremental = medians["scikit-learn, IncrementalPCA, in pieces"]
    return [{"data": data, "method": name, "fit s": table.spread(times[name]),
             "to the fastest of scikit-learn's": f"{medians[name] / fastest:.2f}",
             "to IncrementalPCA": f"{medians[name] / incremental:.2f}" if "pieces" in name else "",
             "share explained less the exact one": f"{share[name]:+.1e}"} for name in methods]  # fmt: skip


def in_pieces(model: Any, X: np.ndarray) -> Any:
    for start in range(0, len(X), PIECE):
        model.partial_fit(X[start : start + PIECE])
    model.components_  # noqa: B018  # ours are worked out when they are asked for
    return model
