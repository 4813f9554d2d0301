"""Three models with default settings on scikit-learn's digits: which is worth what, over several seeds."""

from __future__ import annotations

import numpy as np

import isthmus as im
from benchmarks import table


def run(seeds: int = 1, budget: str | None = None) -> None:
    X, y = im.datasets.digits(labels=True)
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(max(seeds, 5)):
        order = np.random.default_rng(seed).permutation(len(X))
        test, train = order[: len(X) // 5], order[len(X) // 5 :]
        models = [im.PCA(16), im.Autoencoder(16, random_state=seed, budget=budget),
                  im.VAE(16, random_state=seed, budget=budget)]  # fmt: skip
        for model in models:
            _, wall, cpu = table.timed(lambda model=model, train=train: model.fit(X[train]))
            row = im.compare([model], X[test], y[test], train=X[train]).rows[0]
            found.setdefault(type(model).__name__, []).append(row | {"wall": wall, "cpu": cpu})
    rows = []
    for name, runs in found.items():
        figures = {"squared error": "squared_error", "nats": "nats", "kNN": "knn_accuracy", "s": "wall", "CPU s": "cpu"}
        rows.append({"model": name} | {heading: table.spread([run[key] for run in runs])
                                       for heading, key in figures.items() if key in runs[0]})  # fmt: skip
    table.write("digits", "Digits, 16 latents, default settings",
                "1,797 images of 8 x 8, a fifth held out by the seed; median (least to most) over the seeds.",
                rows)  # fmt: skip
