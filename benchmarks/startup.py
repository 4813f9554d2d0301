"""How long until something happens: import, help, the first step of a training."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

from benchmarks import table

RUNS = 5
FIT = "import isthmus as im; im.{}(4, {}verbose=False).fit(im.datasets.digits())"
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import isthmus": ["-c", "import isthmus"],
    "isthmus --help": ["-m", "isthmus", "--help"],
    "import torch": ["-c", "import torch"],
    "PCA(4).fit(digits)": ["-c", FIT.format("PCA", "").replace("verbose=False", "")],
    "Autoencoder(4, epochs=1).fit(digits)": ["-c", FIT.format("Autoencoder", "epochs=1, ")],
}


def run(seeds: int = 1, budget: str | None = None) -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(RUNS + 1):
        for name, command in COMMANDS.items():
            begun = time.monotonic()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            if turn:  # the first fills the system's cache of files
                times[name].append(time.monotonic() - begun)
    modules = {name: count(command) for name, command in COMMANDS.items() if command[0] == "-c"}
    rows = [{"command": name, "s": table.spread(times[name], 2), "modules": modules.get(name, ""),
             "to import torch": f"{np.median(times[name]) / np.median(times['import torch']):.2f}"}
            for name in COMMANDS]  # fmt: skip
    table.write("startup", "Until something happens",
                f"Whole processes, medians (least to most) of {RUNS} runs in turn, files in the system's cache.",
                rows)  # fmt: skip


def count(command: list[str]) -> int:
    """Modules that Python has loaded at the end."""
    code = f"{command[1]}\nimport sys; sys.stdout.write(str(len(sys.modules)))"
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
