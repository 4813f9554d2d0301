"""Items encoded and decoded a second, against what the machine's matrix products would allow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import isthmus as im
from benchmarks import table
from isthmus.networks import multiply_adds

RUNS = 7


def run(seeds: int = 1, budget: str | None = None) -> None:
    X = im.datasets.mnist("train")
    rates = {dtype: product_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    limit = rates[torch.float32]
    rows = []
    models = {"VAE(16), 784-512": im.VAE(16, network=(512,), epochs=1, verbose=False),
              "Autoencoder(30), convolutions": im.Autoencoder(30, epochs=1, verbose=False),
              "PCA(64)": im.PCA(64)}  # fmt: skip
    for name, model in models.items():
        model.fit(X[:5000])
        Z = model.encode(X)
        for verb, call in (
            ("encode", lambda model=model: model.encode(X)),
            ("decode", lambda m=model, Z=Z: m.decode(Z)),
        ):
            network, coded = getattr(model, "network_", None), verb == "encode"
            works = 2 * (784 * 64 if network is None else multiply_adds(network.encoder, *model.format_.spec.shape)
                         if coded else multiply_adds(network.decoder, network.latent_dim))  # fmt: skip
            times = seconds(call)
            rate = len(X) * works / float(np.median(times))
            rows.append({"model": name, "verb": verb, "s": table.spread(times),
                         "items/s": f"{len(X) / np.median(times):,.0f}", "GFLOP/s": f"{rate / 1e9:.0f}",
                         "share of the limit": f"{rate / limit:.2f}"})  # fmt: skip
    table.write("throughput", "Encoding and decoding 60,000 MNIST images, bytes in and bytes out",
                f"Medians (least to most) of {RUNS} runs. The limit: {limit / 1e9:.0f} GFLOP/s, float32 products of "
                f"2,048 x 2,048 (bf16: {rates[torch.bfloat16] / 1e9:.0f}). PCA makes 64 multiplications for each "
                "number that it reads: memory, not arithmetic, is its limit.", rows)  # fmt: skip


def product_rate(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large product, the best of many."""
    a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    return 2 * 2048**3 / min(seconds(lambda: a @ b, 20))


def seconds(call: Callable[[], Any], runs: int = RUNS) -> list[float]:
    times = []
    for _ in range(runs):
        begun = time.monotonic()
        call()
        times.append(time.monotonic() - begun)
    return times
