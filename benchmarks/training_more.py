"""The same autoencoder in several libraries: of images, with convolutions, and of a million rows of numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks import table
from benchmarks.training import contender, mnist_files, require_peers

RUNS = 5
NAMES = {
    "conv": ("isthmus", "isthmus, float32", "plain PyTorch loop", "Keras on JAX"),
    "numbers": ("isthmus", "isthmus, float32", "plain PyTorch loop", "Keras on JAX", "PyOD AutoEncoder",
                "scikit-learn MLPRegressor"),
}  # fmt: skip
ITEMS, TEST, D, FACTORS = 1_000_000, 10_000, 64, 12
TITLES = {
    "conv": "Training the same convolutional autoencoder on MNIST: 32 and 64 channels, 16 latents",
    "numbers": "Training the same autoencoder on 1,000,000 x 64 numbers: 64-256-16-256-64, ReLU",
}


def run(seeds: int = 1, budget: str | None = None) -> None:
    require_peers()
    for job, names in NAMES.items():
        with tempfile.TemporaryDirectory() as folder:
            data = mnist_files(Path(folder)) if job == "conv" else numbers_file(Path(folder))
            items = 60_000 if job == "conv" else ITEMS
            runs = {name: [] for name in names}  # type: ignore[var-annotated]
            for _ in range(RUNS):
                for name in names:
                    first, _, rest = name.partition(",")  # what follows is a setting
                    found = contender(f"{first} {job}{rest and ','}{rest}", data, 1, items=items)
                    runs[name].append(found)
        seconds = {name: float(np.median([one["s"] for one in some])) for name, some in runs.items()}
        rows = [
            {"library": name, "s a pass": table.spread([one["s"] for one in some], 2),
             "to the plain loop": f"{seconds[name] / seconds['plain PyTorch loop']:.2f}",
             "CPU s a pass": table.spread([one["cpu_s"] for one in some], 2),
             "peak MiB": f"{np.median([one['peak_mib'] for one in some]):.0f}",
             "test squared error after one": table.spread([one["figure"] for one in some], 2)}
            for name, some in sorted(runs.items(), key=lambda pair: seconds[pair[0]])
        ]  # fmt: skip
        table.write(f"training-{job}", TITLES[job],
                    f"Seconds for {items:,} items, from runs of one pass (our fit holds out 5,000 items "
                    "and is scaled up); Adam 1e-3, batch 128, squared error; the libraries in turn, a process a run. "
                    "The figure is ||x - x~||^2 of an item, mean over 10,000 that none has seen."
                    + (f" The numbers are drawn from {FACTORS} factors, bent by a tanh, with a deviation of one."
                       if job == "numbers" else ""), rows)  # fmt: skip


def numbers_file(folder: Path) -> dict[str, Path]:
    """Rows of numbers, float32, that a few factors decide."""
    random = np.random.default_rng(0)
    z = random.standard_normal((ITEMS + TEST, FACTORS), dtype=np.float32)
    x = np.tanh(z @ (random.standard_normal((FACTORS, D), dtype=np.float32) / 2))
    x += 0.2 * random.standard_normal(x.shape, dtype=np.float32)
    x = (x - x.mean(0)) / x.std(0)
    path = folder / "numbers.npz"
    np.savez(path, train=x[:ITEMS], test=x[ITEMS:])
    return {"bytes": path, "floats": path}
