"""Codes of one item alone, in batches and on one or two threads: equal to the bit? And what does that cost?"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import isthmus as im
from benchmarks import table


def run(seeds: int = 1, budget: str | None = None) -> None:
    X = im.datasets.mnist("test")
    threads = torch.get_num_threads()
    rows = []
    for model in (im.PCA(30), im.PCA(2), im.Autoencoder(30, epochs=1), im.Autoencoder(2, epochs=1),
                  im.Autoencoder(30, epochs=1, network="mlp"), im.VAE(30, epochs=1)):  # fmt: skip
        model.fit(X[:5000])
        name = f"{type(model).__name__}({model.latent_dim_})" + (
            f", {model._plan['kind']}" if hasattr(model, "_plan") else ""
        )
        whole = model.encode(X)
        row: dict[str, object] = {"model": name}
        for size in (1, 2, 64):
            some = np.concatenate([model.encode(X[i : i + size]) for i in range(0, 128, size)])
            row[f"batches of {size}"] = "equal" if np.array_equal(some, whole[:128]) else "differ"
        row["in another order"] = "equal" if np.array_equal(model.encode(X[::-1])[::-1], whole) else "differ"
        for count in (1, 2):
            torch.set_num_threads(count)
            row[f"{count} thread" + "s" * (count > 1)] = "equal" if np.array_equal(model.encode(X), whole) else "differ"
        torch.set_num_threads(threads)
        stored = model.format_.to_tensor(X)
        in_blocks, at_once = [], []
        for _ in range(5):
            in_blocks.append(_seconds(partial(model._in_blocks, model._encode_stored, stored)))
            at_once.append(_seconds(partial(model._encode_stored, stored)))
        with torch.inference_mode():
            apart = float(np.abs(model._encode_stored(stored).numpy() - whole).max())
        row |= {"blocks, s": table.spread(in_blocks), "one batch, s": table.spread(at_once),
                "ratio": f"{np.median(in_blocks) / np.median(at_once):.2f}",
                "codes of one batch differ by": f"{apart:.0e}"}  # fmt: skip
        rows.append(row)
    table.write("invariance", "Codes that do not depend on the batch",
                "10,000 MNIST images; blocks of 256 against one batch of 10,000, in turn. "
                "\"equal\" is to the bit.", rows)  # fmt: skip


def _seconds(function: Callable[[], Any]) -> float:
    begun = time.monotonic()
    with torch.inference_mode():
        function()
    return time.monotonic() - begun
