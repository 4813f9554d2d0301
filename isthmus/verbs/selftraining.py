"""Codes that know about labels: a network learns what has spread over the graph, and its features make a better graph.

Iscen, Tolias, Avrithis & Chum 2019, "Label propagation for deep semi-supervised learning", with the averaged weights of
Tarvainen & Valpola 2017. Wrong labels are few and not alike, so a network that is trained briefly learns the rule
before it learns them; moves that change no label (``shifts``) teach it what does not matter.

Shapes: n items; B items of a batch; C classes; K coordinates of a feature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.networks import encoder_of, multiply_adds, network_for
from isthmus.training.bar import Bar
from isthmus.training.device import bf16_pays, device_of, reproducible
from isthmus.training.engine import Objective, train
from isthmus.training.feed import feed_for
from isthmus.training.recipe import RATE, batch_for, split, steps_for

__all__ = ["learned"]

WIDTH = 64  # coordinates of a feature
EFFORT = 1 / 8  # of the steps in which an autoencoder of as many items is trained: rules come before exceptions
LEAST_STEPS = 500
AVERAGE = 0.998  # decay of the averaged weights: the last 500 steps
DECAY = 0.01  # of the weights, as AdamW's authors have it

Encode = Callable[[Tensor], np.ndarray]


def learned(
    form: Any, stored: Tensor, targets: np.ndarray, weights: np.ndarray, shifts: int, seed: int, verbose: bool | None
) -> Encode:
    """What turns stored items into features (n, 64), learned from ``targets`` (n, C) with ``weights`` (n,)."""
    device = device_of(None)
    plan = network_for(form.spec, WIDTH, len(stored))
    with reproducible(seed):
        head = nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, targets.shape[1]))
        network = nn.ModuleDict({"encoder": encoder_of(plan, form.spec, WIDTH), "head": head}).to(device)
    wanted, weighed = torch.from_numpy(targets).float().to(device), torch.from_numpy(weights).float().to(device)
    held, sides = stored.to(device), form.spec.shape[1:] if shifts else ()

    def loss(rows: Tensor, generator: torch.Generator | None) -> Tensor:
        x = scaled(form, held[rows] if generator is None else jittered(held[rows], len(sides), shifts, generator))
        told = network["head"](network["encoder"](x)).float().log_softmax(1)
        return -(weighed[rows] * (wanted[rows] * told).sum(1)).sum() / weighed[rows].sum().clamp_min(1e-6)

    def monitor() -> float:
        pieces = held_out.split(1000)
        return sum(float(loss(rows, None)) * len(rows) for rows in pieces) / len(held_out)

    learn_from, held_out = split(len(stored), seed)
    held_out = held_out if len(held_out) else learn_from
    batch = min(batch_for(len(learn_from)), len(learn_from))
    steps = max(steps_for(len(learn_from), EFFORT), LEAST_STEPS)
    numbers = torch.arange(len(stored))
    train(
        network,
        [Objective(lambda rows, moment: loss(rows, moment.generator), list(network.parameters()), RATE)],
        feed_for(numbers, learn_from, lambda rows: rows.to(device), device, seed),
        monitor,
        epochs=-(-steps // max(len(learn_from) // batch, 1)),
        batch_size=batch,
        seed=seed,
        device=device,
        bf16=bf16_pays(device, multiply_adds(network["encoder"], *form.spec.shape) * batch),
        weight_decay=DECAY,
        average=AVERAGE,
        bar=Bar(f"labels of {targets.shape[1]} classes", verbose),
    )

    def encode(items: Tensor) -> np.ndarray:
        pieces = []
        with torch.inference_mode():
            for some in items.split(256):  # always as many, so that an item has the same feature in any company
                block = torch.cat([some, some[:1].expand(256 - len(some), *some.shape[1:])]).to(device)
                pieces.append(network["encoder"](scaled(form, block))[: len(some)].float().cpu())
        return torch.cat(pieces).numpy()

    return encode


def scaled(form: Any, stored: Tensor) -> Tensor:
    """The scaled view; holes of a table are for its own network, which knows what they are, and zero for others."""
    x = form.scale(stored)
    return torch.nan_to_num(x) if form.spec.kind == "table" and not form.spec.columns else x


def jittered(stored: Tensor, sides: int, shifts: int, generator: torch.Generator) -> Tensor:
    """Each item (B, c, sides...) moved by a draw of its own along each side; what comes in repeats the edge."""
    for axis in range(stored.ndim - sides, stored.ndim):
        length = stored.shape[axis]
        steps = torch.randint(-shifts, shifts + 1, (len(stored), 1), generator=generator, device=stored.device)
        places = (torch.arange(length, device=stored.device) - steps).clamp(0, length - 1)
        shape = [len(stored)] + [1] * (stored.ndim - 1)
        shape[axis] = length
        stored = torch.take_along_dim(stored, places.view(shape), dim=axis)
    return stored
