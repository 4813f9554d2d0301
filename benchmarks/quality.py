"""How soon our defaults reach the quality at which other libraries end, with the same layers; and the whole curve."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import table
from benchmarks.training import contender, mnist_files, require_peers

PASSES = {"Pythae": 50, "PyOD AutoEncoder": 10, "scikit-learn MLPRegressor": 20}  # PyOD's default; others by their text
BUDGETS = (8, 12, 18, 27, 40, 48)  # seconds
DEFAULTS = {"epochs": None, "batch_size": None, "rate": None}


def run(seeds: int = 1, budget: str | None = None) -> None:
    require_peers()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = mnist_files(Path(folder))
        theirs = {name: contender(name, data, passes, curve=name == "Pythae") for name, passes in PASSES.items()}
        for kind, unit in (("isthmus", "-ELBO, nats"), ("isthmus autoencoder", "squared error")):
            peers = {name: found for name, found in theirs.items() if (name == "Pythae") == (kind == "isthmus")}
            settings = DEFAULTS if kind == "isthmus" else {}
            whole = contender(kind, data, 0, settings)
            short = [contender(kind, data, 0, settings | {"budget": f"{seconds}s"}) for seconds in BUDGETS]
            for name, found in peers.items():
                rows.append({"run": f"{name}, {PASSES[name]} passes", "wall s": f"{found['wall']:.0f}",
                             f"test {unit}": f"{found['figure']:.2f}"})  # fmt: skip
            runs = [(f"{kind}, budget={seconds}s", one) for seconds, one in zip(BUDGETS, short, strict=True)]
            for name, one in [*runs, (f"{kind}, default settings", whole)]:
                row = {"run": name, "wall s": f"{one['wall']:.1f}", f"test {unit}": f"{one['figure']:.2f}"}
                for peer, found in peers.items():
                    row[f"its time to that of {peer}"] = f"{one['wall'] / found['wall']:.2f}" + (
                        "" if one["figure"] <= found["figure"] else ", not yet as good")  # fmt: skip
                rows.append(row)
            if kind == "isthmus":
                draw(whole["curve"], runs, theirs["Pythae"]["curve"])
    table.write("quality", "Time to quality: the same layers, our default settings",
                "MNIST; 784-512-16-512-784. A run with a budget is trained for so long, its rate brought down to zero "
                "at the end; wall time is that of the whole fit, preparing and measuring included. One run each; the "
                "curve of the VAE against time is in quality.png.", rows)  # fmt: skip


def draw(whole: list[list[float]], runs: list[tuple[str, dict[str, Any]]], pythae: list[list[float]]) -> None:
    """-ELBO against seconds of training."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    axes.plot(*np.array(pythae).T, color="0.35", label="Pythae, after each pass (test)")
    axes.plot(*np.array(whole).T, color="C0", label="Isthmus, default settings (held out)")
    ends = np.array([(one["wall"], one["figure"]) for _, one in runs])
    axes.plot(*ends.T, "o", color="C1", label="Isthmus, ends of runs with a budget (test)")
    axes.set(xscale="log", ylim=(96, 125), xlabel="seconds of training", ylabel="negative ELBO, nats an image")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(table.RESULTS / "quality.png", dpi=110)
    plt.close(figure)
