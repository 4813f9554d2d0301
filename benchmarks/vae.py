"""A VAE with default settings on dynamically binarised MNIST, by its importance-sampled test likelihood."""

from __future__ import annotations

import numpy as np

import isthmus as im
from benchmarks import table


def run(seeds: int = 1, budget: str | None = None) -> None:
    train, grey = im.datasets.mnist("train"), im.datasets.mnist("test")
    test = ((np.random.default_rng(0).random(grey.shape) < grey / 255.0) * 255).astype(np.uint8)
    rows = []
    for seed in range(seeds):
        model = im.VAE(latent_dim=40, likelihood="bernoulli_dynamic", budget=budget, random_state=seed)
        _, wall, cpu = table.timed(lambda model=model: model.fit(train))
        nll = -model.log_likelihood(test, samples=200)
        elbo = model.elbo(test)
        rows.append({"seed": seed, "NLL, 200 samples": f"{nll.mean():.2f} ± {nll.std() / len(nll) ** 0.5:.2f}",
                     "-ELBO": float(elbo.total.mean()), "reconstruction": float(elbo.reconstruction.mean()),
                     "KL": float(elbo.kl.mean()),
                     "active": int((model.encode(test).var(0) > 0.01).sum()),
                     "fit s": round(wall), "CPU s": round(cpu), "epochs": model.history_["epoch"][-1]})  # fmt: skip
    name = "vae" if budget is None else f"vae-{budget}"
    table.write(name, "Dynamically binarised MNIST, 40 latents" + ("" if budget is None else f", budget={budget}"),
                "60,000 training images, of which `fit` holds out 5,000; grey values redrawn as black or white at "
                "every step (Salakhutdinov & Murray 2008). The 10,000 test images binarised once with seed 0. Nats per "
                "image; ± is the standard error over images.", rows)  # fmt: skip
