"""The same network, optimiser and batch in every library: seconds and CPU seconds a pass, memory, and the test ELBO."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import isthmus as im
from benchmarks import table

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv-peers" / "bin" / "python"
EPOCHS, RUNS = 3, 5
NAMES = ("isthmus", "isthmus, float32", "plain PyTorch loop", "Pythae", "pyautoencoder", "autoencoders", "Keras on JAX",
         "Keras on torch", "PyOD VAE", "PyOD AutoEncoder", "scikit-learn MLPRegressor")  # fmt: skip


def run(seeds: int = 1, budget: str | None = None) -> None:
    require_peers()
    with tempfile.TemporaryDirectory() as folder:
        data = mnist_files(Path(folder))
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
        for _ in range(RUNS):
            for name in NAMES:
                runs[name].append(contender(name, data, EPOCHS))
    seconds = {name: float(np.median([one["s"] for one in some])) for name, some in runs.items()}
    rows = []
    for name, some in sorted(runs.items(), key=lambda pair: seconds[pair[0]]):
        figures = [one["figure"] for one in some if one["figure"] is not None]
        rows.append({"library": name, "s a pass": table.spread([one["s"] for one in some], 2),
                     "to Pythae": f"{seconds[name] / seconds['Pythae']:.2f}",
                     "CPU s a pass": table.spread([one["cpu_s"] for one in some], 2),
                     "peak MiB": f"{np.median([one['peak_mib'] for one in some]):.0f}",
                     f"test figure after {EPOCHS}": table.spread(figures, 1) if figures else ""})  # fmt: skip
    table.write("training", "Training the same VAE: 784-512-16-512-784, ReLU, Bernoulli, Adam 1e-3, batch 128",
                f"Seconds for 60,000 MNIST items, from runs of {EPOCHS} passes (our fit holds out 5,000 of its 60,000 "
                "and is scaled up); the libraries in turn, a process a run. The figure is -ELBO of the 10,000 test "
                "images in nats, or for autoencoders the squared error.", rows)  # fmt: skip


def contender(
    name: str, data: dict[str, Path], epochs: int, settings: dict[str, Any] | None = None, curve: bool = False,
    items: int = 60_000,
) -> dict[str, Any]:  # fmt: skip
    """One run of one library, in the environment that has it; its figures, and "s" and "cpu_s" for so many items."""
    ours = name.startswith("isthmus")
    file = data["bytes"] if ours else data["floats"]
    given = [json.dumps((settings or {}) | ({"bf16": False} if "float32" in name else {}))] if ours else ["{}"]
    command = [sys.executable if ours else str(PEERS), str(HERE / "contenders.py"), name.split(",")[0], str(file),
               "--epochs", str(epochs), "--settings", *given, *["--curve"] * curve]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parent)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    scale = items / found["items"] / max(epochs, 1)  # of no use where the library's defaults decide on the passes
    return found | {"s": found["wall"] * scale, "cpu_s": found["cpu"] * scale}


def mnist_files(folder: Path) -> dict[str, Path]:
    """MNIST as bytes, the form in which we take it, and as floats, the form in which the others do."""
    train, test = im.datasets.mnist("train"), im.datasets.mnist("test")
    floats = [images.reshape(len(images), -1).astype(np.float32) / 255 for images in (train, test)]
    np.savez(folder / "bytes.npz", train=train, test=floats[1])
    np.savez(folder / "floats.npz", train=floats[0], test=floats[1])
    return {"bytes": folder / "bytes.npz", "floats": folder / "floats.npz"}


def require_peers() -> None:
    """SystemExit that says how to make the environment of the peers."""
    if not PEERS.exists():
        raise SystemExit("the peers are not installed: make peers")
