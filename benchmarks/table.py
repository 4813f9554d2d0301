"""Where a benchmark's figures go: a Markdown table with the machine and the versions, under ``benchmarks/results``."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn
import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Processor, threads and versions, in one line."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    bf16 = "bf16" if getattr(torch.cpu, "_is_avx512_bf16_supported", bool)() else "no bf16"
    return (f"{name} ({bf16}), {torch.get_num_threads()} threads; Python {platform.python_version()}, torch "
            f"{torch.__version__}, numpy {np.__version__}, scipy {scipy.__version__}, "
            f"scikit-learn {sklearn.__version__}; {datetime.date.today()}")  # fmt: skip


def write(name: str, title: str, protocol: str, rows: list[dict[str, Any]]) -> None:
    """Print the table, and keep it as ``results/NAME.md``."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"# {title}", "", protocol, "", f"Machine: {machine()}", ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(column, "")) for column in columns) + " |" for row in rows]
    text = "\n".join(lines) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
    print("\n" + text, flush=True)


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the function gives, wall seconds, CPU seconds."""
    wall, cpu = time.monotonic(), time.process_time()
    value = function()
    return value, time.monotonic() - wall, time.process_time() - cpu


def spread(values: list[float], digits: int = 3) -> str:
    """Median, and least to most of several runs."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f} (n=1)"
    return f"{np.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f}, n={len(values)})"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
