"""The same VAE on a GPU: our recorded steps, ours one by one, a loop by hand, and Pythae."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks import table
from benchmarks.training import contender, mnist_files, require_peers

FEW, RUNS = 2, 5
MORE = {"isthmus": 52, "isthmus, one by one": 12, "plain PyTorch loop": 12, "Pythae": 5}  # so that each takes seconds


def run(seeds: int = 1, budget: str | None = None) -> None:
    if not torch.cuda.is_available():
        print("gpu: left out, for there is no GPU here", flush=True)
        return
    require_peers()
    os.environ["CONTENDER_DEVICE"] = "cuda"
    wall: dict[str, list[float]] = {name: [] for name in MORE}
    whole: dict[str, list[float]] = {name: [] for name in MORE}
    figures: dict[str, list[float]] = {name: [] for name in MORE}
    with tempfile.TemporaryDirectory() as folder:
        data = mnist_files(Path(folder))
        for _ in range(RUNS):
            for name, passes in MORE.items():
                settings = {"recorded": "one by one" not in name} if name.startswith("isthmus") else None
                few = contender(name, data, FEW, settings)
                more = contender(name, data, passes, settings)
                wall[name].append((more["wall"] - few["wall"]) / (passes - FEW) * 60_000 / more["items"])
                whole[name].append(few["wall"])
                figures[name].append(few["figure"])
    theirs = float(np.median(wall["Pythae"]))
    rows = [{"library": name, "s a further pass": table.spread(some, 4), "to Pythae": f"{np.median(some) / theirs:.4f}",
             f"s, the first {FEW} passes": table.spread(whole[name], 2),
             f"test -ELBO after {FEW}": table.spread(figures[name], 1)}
            for name, some in sorted(wall.items(), key=lambda pair: np.median(pair[1]))]  # fmt: skip
    table.write("gpu", "Training the same VAE on a GPU: 784-512-16-512-784, ReLU, Bernoulli, Adam 1e-3, batch 128",
                f"{torch.cuda.get_device_name()}. Seconds for 60,000 MNIST items, from the difference between runs of "
                f"{FEW} passes and of more ({', '.join(map(str, MORE.values()))}), a process a run, the libraries in "
                f"turn; our fit holds out 5,000 items and is scaled up.", rows)  # fmt: skip
