"""The same autoencoder in several libraries: of images, with convolutions, and of a million rows of numbers.

Two figures for each: a whole run of one pass, with all that is done once in it, and what a further pass costs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import isthmus as im
from benchmarks import table
from benchmarks.training import contender, require_peers

RUNS, PASSES = 5, 3
FEWER = {"PyOD AutoEncoder": 1, "Keras on JAX conv": 1}  # runs of those that take minutes
NAMES = {
    "numbers": ("isthmus", "plain PyTorch loop", "Keras on JAX", "PyOD AutoEncoder", "scikit-learn MLPRegressor"),
    "conv": ("isthmus", "isthmus, float32", "plain PyTorch loop", "Keras on JAX"),
}
ITEMS = {"conv": 30_000, "numbers": 1_000_000}
HELD_OUT = {"conv": 3_333, "numbers": 5_000}  # items beside them that our fit holds out
TEST, D, FACTORS = 10_000, 64, 12
TITLES = {
    "conv": "Training the same convolutional autoencoder on MNIST: 32 and 64 channels, 16 latents",
    "numbers": "Training the same autoencoder on 1,000,000 x 64 numbers: 64-256-16-256-64, ReLU",
}


def run(seeds: int = 1, budget: str | None = None) -> None:
    require_peers()
    for job, names in NAMES.items():
        with tempfile.TemporaryDirectory() as folder:
            data = mnist_files(Path(folder)) if job == "conv" else numbers_files(Path(folder))
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
            for turn in range(RUNS):
                for name in names:
                    if turn < min(FEWER.get(name, RUNS), FEWER.get(f"{name} {job}", RUNS)):
                        runs[name].append(run_and_pass(name, job, data))
        write(job, runs)


def run_and_pass(name: str, job: str, data: dict[str, Path]) -> dict[str, float]:
    """Of a run of one pass and one of ``PASSES``, a process each: the first one's seconds, and a further pass's."""
    first, _, rest = name.partition(",")  # what follows is a setting
    called = f"{first} {job}{rest and ','}{rest}"
    one, more = (contender(called, data, passes, items=ITEMS[job]) for passes in (1, PASSES))
    if one["items"] != ITEMS[job]:
        raise SystemExit(f"{name} learned from {one['items']} items, not {ITEMS[job]}")
    return {"run": one["wall"], "further": (more["wall"] - one["wall"]) / (PASSES - 1),
            "cpu": (more["cpu"] - one["cpu"]) / (PASSES - 1), "peak": one["peak_mib"],
            "figure": one["figure"]}  # fmt: skip


def write(job: str, runs: dict[str, list[dict[str, float]]]) -> None:
    middle = {key: {name: float(np.median([one[key] for one in some])) for name, some in runs.items()}
              for key in ("run", "further", "peak")}  # fmt: skip
    best = {key: min(s for name, s in middle[key].items() if not name.startswith("isthmus"))
            for key in ("run", "further")}  # fmt: skip
    rows = []
    for name, some in sorted(runs.items(), key=lambda pair: middle["run"][pair[0]]):
        row: dict[str, Any] = {"library": name}
        for key, words in (("run", "s, one pass"), ("further", "s a further pass")):
            seconds = middle[key][name]
            row[words] = table.spread([one[key] for one in some], 2)
            row[f"{words}: to the plain loop, to the fastest peer"] = (
                f"{seconds / middle[key]['plain PyTorch loop']:.2f}, {seconds / best[key]:.2f}")  # fmt: skip
        row["CPU s a further pass"] = table.spread([one["cpu"] for one in some], 2)
        row["peak MiB"] = f"{middle['peak'][name]:.0f}"
        row["test squared error after one"] = table.spread([one["figure"] for one in some], 2)
        rows.append(row)
    table.write(f"training-{job}", TITLES[job],
                f"{ITEMS[job]:,} items to learn from (our fit is given {HELD_OUT[job]:,} more, which it holds out and "
                "looks at after each pass); Adam 1e-3, batch 128, squared error. A run of one pass, from the call "
                f"to its return without the import of the library; and a further pass, half of what a run of {PASSES} "
                "takes longer. The libraries in turn, a process a run. The peers are all but ours, the loop written by "
                "hand is one of them. The figure is ||x - x~||^2 of an item, mean over 10,000 that none has seen."
                + (f" The numbers are drawn from {FACTORS} factors, bent by a tanh, with a deviation of one."
                   if job == "numbers" else ""), rows)  # fmt: skip


def mnist_files(folder: Path) -> dict[str, Path]:
    """As many images as are learned from: bytes for us, with those that we hold out, and floats for the others."""
    train, test = im.datasets.mnist("train"), im.datasets.mnist("test")
    floats = [images.reshape(len(images), -1).astype(np.float32) / 255 for images in (train, test)]
    np.savez(folder / "bytes.npz", train=train[: ITEMS["conv"] + HELD_OUT["conv"]], test=floats[1])
    np.savez(folder / "floats.npz", train=floats[0][: ITEMS["conv"]], test=floats[1])
    return {"bytes": folder / "bytes.npz", "floats": folder / "floats.npz"}


def numbers_files(folder: Path) -> dict[str, Path]:
    """Rows of numbers, float32, that a few factors decide: with those that we hold out, and without."""
    random = np.random.default_rng(0)
    n, held_out = ITEMS["numbers"], HELD_OUT["numbers"]
    z = random.standard_normal((n + held_out + TEST, FACTORS), dtype=np.float32)
    x = np.tanh(z @ (random.standard_normal((FACTORS, D), dtype=np.float32) / 2))
    x += 0.2 * random.standard_normal(x.shape, dtype=np.float32)
    x = (x - x.mean(0)) / x.std(0)
    np.savez(folder / "ours.npz", train=x[: n + held_out], test=x[n + held_out :])
    np.savez(folder / "theirs.npz", train=x[:n], test=x[n + held_out :])
    return {"bytes": folder / "ours.npz", "floats": folder / "theirs.npz"}
