"""One ``Autoencoder(latent_dim=30).fit`` on MNIST with default settings."""

from __future__ import annotations

import isthmus as im
from benchmarks import table


def run(seeds: int = 1, budget: str | None = None) -> None:
    train, test = im.datasets.mnist("train"), im.datasets.mnist("test")
    errors, walls, cpus = [], [], []
    for seed in range(seeds):
        model = im.Autoencoder(latent_dim=30, random_state=seed, budget=budget)
        _, wall, cpu = table.timed(lambda model=model: model.fit(train))
        row = im.compare([model], test, train=train).rows
        errors.append(row[0]["squared_error"])
        walls.append(wall)
        cpus.append(cpu)
    rows = [{"model": "Autoencoder(30)", "test squared error": table.spread(errors), "fit s": table.spread(walls, 0),
             "CPU s": table.spread(cpus, 0), "epochs": model.history_["epoch"][-1],
             "parameters": sum(p.numel() for p in model.network_.parameters())}]  # fmt: skip
    rows += [{"model": other["model"], "test squared error": f"{other['squared_error']:.3f}"} for other in row[1:]]
    rows.append({"model": "deep autoencoder, Hinton & Salakhutdinov 2006", "test squared error": "3.00 (published)"})
    name = "autoencoder" if budget is None else f"autoencoder-{budget}"
    table.write(name, "MNIST, 30 latents" + ("" if budget is None else f", budget={budget}"),
                "60,000 training images, of which `fit` holds out 5,000; error of the 10,000 test images, "
                "||x - x~||^2 summed over 784 pixels in [0, 1], the decoder's own output, not rounded to 8 bits.",
                rows)  # fmt: skip
