"""PCA against the solvers of scikit-learn: time and exactness, alternating in one run."""

from __future__ import annotations

import numpy as np
from sklearn import decomposition

import isthmus as im
from benchmarks import table

LATENTS = 64
RUNS = 5
SOLVERS = ("covariance_eigh", "randomized", "full")


def run(seeds: int = 1, budget: str | None = None) -> None:
    images = im.datasets.mnist("train")
    X = images.reshape(len(images), -1).astype(np.float32) / 255
    exact = np.linalg.eigvalsh(np.cov(X.T.astype(np.float64)))[::-1]
    best = exact[:LATENTS].sum() / exact.sum()
    methods = {"isthmus, float32 array": lambda: im.PCA(LATENTS).fit(X),
               "isthmus, uint8 images": lambda: im.PCA(LATENTS).fit(images)}  # fmt: skip
    methods |= {f"scikit-learn, {solver}": lambda solver=solver: decomposition.PCA(
        LATENTS, svd_solver=solver, random_state=0).fit(X) for solver in SOLVERS}  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in methods}
    fitted = {}
    for turn in range(RUNS):
        for name, method in methods.items():
            if "full" in name and turn:  # twenty times slower than the others: once is enough
                continue
            fitted[name], wall, _ = table.timed(method)
            times[name].append(wall)
    fastest = min(np.median(t) for name, t in times.items() if name.startswith("scikit"))
    rows = [{"method": name, "fit s": table.spread(times[name]),
             "to the fastest of scikit-learn's": f"{np.median(times[name]) / fastest:.2f}",
             "share explained less the exact one": f"{fitted[name].explained_variance_ratio_.sum() - best:+.1e}"}
            for name in methods]  # fmt: skip
    table.write("pca", "PCA of 60,000 x 784, 64 components",
                "MNIST training images; medians (least to most) of runs in turn. The exact share explained is of a "
                "float64 covariance.", rows)  # fmt: skip
