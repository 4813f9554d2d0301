"""One fit with ordered latents against networks of the same size, trained for as long, for one k each."""

from __future__ import annotations

import numpy as np

import isthmus as im
from benchmarks import table

KS = (2, 6, 16, 30)
EPOCHS = 27  # the default of MNIST
SHARE = 25 / 27  # an ordered step takes some 7 % longer: fewer epochs make the CPU seconds equal


def run(seeds: int = 1, budget: str | None = None) -> None:
    train, test = im.datasets.mnist("train"), im.datasets.mnist("test")
    found: dict[int, list[dict[str, float]]] = {k: [] for k in KS}
    for seed in range(seeds):
        model = im.Autoencoder(latent_dim=max(KS), ordered=True, epochs=round(EPOCHS * SHARE), random_state=seed)
        _, _, ordered_cpu = table.timed(lambda model=model: model.fit(train))
        curve = model.error_curve(test)
        for k in KS:
            single = im.Autoencoder(latent_dim=k, epochs=EPOCHS, random_state=seed)
            _, _, cpu = table.timed(lambda single=single: single.fit(train))
            alone = im.compare([single], test, train=train).rows[0]["squared_error"]
            found[k].append({"alone": alone, "ordered": float(curve[k - 1]), "ratio": float(curve[k - 1]) / alone,
                             "cpu": cpu, "ordered cpu": ordered_cpu})  # fmt: skip
    x = test.reshape(len(test), -1) / 255.0
    pca = im.PCA(max(KS)).fit(train)
    along = np.square((x - pca.mean_) @ pca.components_.T).mean(0).cumsum()
    nothing = np.square(x - pca.mean_).sum(1).mean()
    rows = [{"k": k, "PCA": float(nothing - along[k - 1])}
            | {name: table.spread([run[name] for run in found[k]], 2) for name in ("alone", "ordered", "ratio")}
            | {"CPU s, alone": table.spread([run["cpu"] for run in found[k]], 0),
               "CPU s, ordered (one fit)": table.spread([run["ordered cpu"] for run in found[k]], 0)}
            for k in KS]  # fmt: skip
    table.write("ordered", "MNIST, ordered latents: one fit for every k",
                f"Test squared error of an image, default settings but for the epochs: {EPOCHS} for a network of "
                f"latent_dim=k, {round(EPOCHS * SHARE)} for the ordered one, whose steps take longer.",
                rows)  # fmt: skip
