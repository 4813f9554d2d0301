"""Discs of known place and size: which models give single latents to single factors."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import isthmus as im
from benchmarks import table
from isthmus.verbs.disentanglement import disentanglement
from isthmus.verbs.traverse import latents, traverse
from isthmus.view import drawing, plots

SIDE, LATENTS, EPOCHS, WIDTHS = 16, 6, 150, (128, 64)
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "traverse.png"


def discs(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Soft discs at 10 x 10 places in 6 sizes, with a little noise; the place across and down, and the size."""
    levels = list(product(np.linspace(4, 11, 10), np.linspace(4, 11, 10), np.linspace(1.5, 4, 6)))
    across, down, size = np.array(levels).T
    rows, columns = np.mgrid[:SIDE, :SIDE]
    far = np.hypot(columns - across[:, None, None], rows - down[:, None, None])
    images = 230 / (1 + np.exp(2 * (far - size[:, None, None])))
    images += np.random.default_rng(seed).normal(size=images.shape) * 5
    return np.clip(images, 0, 255).astype(np.uint8), {"across": across, "down": down, "size": size}


def run(seeds: int = 3, budget: str | None = None) -> None:
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(max(seeds, 3)):
        X, factors = discs(seed)
        length: dict[str, Any] = {"epochs": EPOCHS} if budget is None else {"budget": budget}
        shared = {"network": WIDTHS, "random_state": seed, "verbose": False} | length
        models = {
            "PCA": im.PCA(LATENTS),
            "autoencoder": im.Autoencoder(LATENTS, **shared),
            "VAE, beta 1": im.VAE(LATENTS, likelihood="bernoulli", **shared),
            "VAE, beta 4": im.VAE(LATENTS, likelihood="bernoulli", beta=4, **shared),
        }
        for name, model in models.items():
            model.fit(X)
            named = [row["stands_for"] for row in latents(model, X, factors)[:3]]
            found.setdefault(name, []).append(
                disentanglement(model, X, factors, seed=seed) | {"named": len(set(named))}
            )
        if not seed:
            draw(models["VAE, beta 1"], X, factors)
            found["untrained VAE"] = [disentanglement(models["VAE, beta 1"].untrained(), X, factors) | {"named": 0}]
    keys = ("mig", "disentanglement", "completeness", "informativeness", "sap")
    table.write("traverse", "Discs: do single latents stand for single factors?",
                f"600 images of {SIDE} x {SIDE}: a disc at 10 x 10 places in 6 sizes; {LATENTS} latents, "
                f"layers of {WIDTHS}, {EPOCHS} epochs. MIG (Chen 2018), DCI (Eastwood & Williams 2018), SAP (Kumar "
                "2018). Median (least to most) over the seeds.",
                [{"model": name} | {key: table.spread([run[key] for run in runs]) for key in keys}
                 for name, runs in found.items()])  # fmt: skip


def draw(model: Any, X: np.ndarray, factors: dict[str, np.ndarray]) -> None:
    """One disc, with the latents of greatest effect moved."""
    rows = {
        f"{found['latent']}: {found['stands_for'] or 'nothing'}": traverse(
            model, X[len(X) // 2 + 3], found["latent"], steps=10
        )
        for found in latents(model, X, factors)[:5]
    }
    figure = plots.canvas(5.6, 2.6)
    ax = drawing.traversals(figure.add_axes((0.16, 0.01, 0.83, 0.98)), rows)
    for text in ax.texts:
        text.set_fontsize(9)
    PICTURE.parent.mkdir(exist_ok=True)
    plots.write(figure, PICTURE)
