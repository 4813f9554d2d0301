"""One fit with ordered latents against networks of the same size, trained for as long, for one k each."""

from __future__ import annotations

import numpy as np

import isthmus as im
from benchmarks import table

KS = (2, 6, 16, 30)


def run(seeds: int = 1, budget: str | None = None) -> None:
    budget = budget or "150s"
    train, test = im.datasets.mnist("train"), im.datasets.mnist("test")
    ratios: dict[int, list[float]] = {k: [] for k in KS}
    ordered, alone = {}, {}
    for seed in range(seeds):
        model = im.Autoencoder(latent_dim=max(KS), ordered=True, budget=budget, random_state=seed).fit(train)
        curve = model.error_curve(test)
        for k in KS:
            single = im.Autoencoder(latent_dim=k, budget=budget, random_state=seed).fit(train)
            alone[k] = im.compare([single], test, train=train).rows[0]["squared_error"]
            ordered[k] = float(curve[k - 1])
            ratios[k].append(ordered[k] / alone[k])
    x = test.reshape(len(test), -1) / 255.0
    pca = im.PCA(max(KS)).fit(train)
    centred = x - pca.mean_
    along = np.square(centred @ pca.components_.T).mean(0).cumsum()
    rows = [{"k": k, "PCA": float(np.square(centred).sum(1).mean() - along[k - 1]), "alone": alone[k],
             "ordered": ordered[k], "ordered / alone": table.spread(ratios[k], 2)} for k in KS]  # fmt: skip
    table.write("ordered", "MNIST, ordered latents: one fit for every k",
                f"Test squared error of an image. Each fit has budget={budget} and default settings otherwise; "
                "\"alone\" is a network of latent_dim=k. Errors are those of the last seed.", rows)  # fmt: skip
