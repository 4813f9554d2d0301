"""The default recipe: from data and a loss to the arguments of the loop, every number by a formula with a reason.

The figures behind the formulas are in dev/LOG.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import SettingError, warn
from isthmus.formats.base import Format
from isthmus.formats.rows import AllBut
from isthmus.networks.coder import Coder
from isthmus.training.bar import Bar
from isthmus.training.device import autocast, bf16_pays, reproducible, threads_for
from isthmus.training.engine import History, Moment, Objective, train
from isthmus.training.feed import data_hash, feed_for, seed_of
from isthmus.training.supervision import Supervision

__all__ = ["batch_for", "fit_network", "seconds_of", "split", "steps_for"]

RATE = 4e-3  # peak rate, between those that were best for convolutions (5e-3) and for dense layers (4e-3)
BATCH = 128  # larger ones train faster an epoch and worse a second
HELD_OUT = 5_000  # enough for a standard error below 1 %; more would only cost training data
MANY = 2**20  # items from which no list of all of them is made
MONITOR_ROWS = 1_000  # rows that the monitor computes together

Loss = Callable[[Tensor, Moment], Tensor]  # scaled (B, D...) -> (B,)


def steps_for(n_items: int, factor: float = 1.0) -> int:
    """Steps of the optimiser: 16 n^0.6, at least 1,000: ten times the data costs four times the work.

    60,000 items get 11,800, a million 63,700, a thousand 1,010. ``factor`` is a model's own.
    """
    return round(factor * max(16 * n_items**0.6, 1_000))


def batch_for(n_items: int) -> int:
    """Items a step: the power of two at most n / 32, between 8 and 128, so that few items still make some steps."""
    return min(max(2 ** int(math.log2(max(n_items / 32, 1))), 8), BATCH)


def split(n_items: int, seed: int) -> tuple[Any, Tensor]:
    """Indices of the items to learn from and of those held out: a tenth, at most 5,000, none of fewer than 20.

    Tensors (m,) int64, rising; of more than a million items the first is an ``AllBut``, for 8 bytes an item add up.
    """
    held = min(n_items // 10, HELD_OUT) if n_items >= 20 else 0
    if n_items > MANY:
        drawn = torch.randint(n_items, (2 * held,), generator=torch.Generator().manual_seed(seed_of(seed, -1))).numpy()
        some = np.sort(drawn[np.sort(np.unique(drawn, return_index=True)[1])[:held]])  # the first different ones
        return AllBut(n_items, some), torch.from_numpy(some)
    order = torch.randperm(n_items, generator=torch.Generator().manual_seed(seed_of(seed, -1)))
    learned_from = torch.ones(n_items, dtype=torch.bool)
    learned_from[order[:held]] = False
    return learned_from.nonzero()[:, 0], order[:held].sort().values


def seconds_of(budget: Any) -> float | None:
    """``60``, ``"90s"``, ``"5m"``, ``"1.5h"`` in seconds; None stays None. Raises SettingError."""
    if budget is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?", str(budget).strip())
    if match is None or isinstance(budget, bool) or float(match[1]) <= 0:
        raise SettingError(f"budget={budget!r}: expected a time above zero such as 60, '90s', '5m' or '1h'")
    return float(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600}[match[2] or "s"]


def fit_network(
    module: Coder,
    loss: Loss,
    stored: Tensor,
    format: Format,
    *,
    title: str,
    seed: int,
    device: torch.device,
    epochs: int | None = None,
    effort: float = 1.0,
    batch_size: int | None = None,
    rate: float | None = None,
    budget: Any = None,
    weight_decay: float = 0.0,
    verbose: bool | None = None,
    checkpoint: Any = None,
    settings: Any = None,
    beside: Supervision | None = None,
) -> History:
    """Split, choose, train; the best weights are in ``module`` afterwards. Parameters as in ``engine.train``.

    Parameters
    ----------
    loss : of each item of a scaled batch; its mean is minimised, and the same on held-out items is the monitor
    stored : (n, D...) all items; a tenth is held out
    epochs, batch_size, rate : None takes the formula
    effort : a model's own factor on the number of steps
    settings : whatever decides the outcome beside data and seed, for the checkpoint's fingerprint
    beside : what labels add to the loss and to the monitor
    """
    seconds = seconds_of(budget)
    require_positive(epochs=epochs, batch_size=batch_size, rate=rate)
    learn_from, held_out = split(len(stored), seed)
    n_items = len(learn_from)
    chosen = min(int(batch_size or batch_for(n_items)), n_items)
    peak = float(rate or RATE)
    most = -(-steps_for(n_items, effort) // max(n_items // chosen, 1)) if seconds is None else 10**9
    # Columns of a table are scaled kind by kind, which takes longer than the rest of the feed: better once.
    feed = feed_for(stored, learn_from, format.scale, device, seed, once=bool(format.spec.columns))
    watched = (stored[held_out] if len(held_out) else stored[:HELD_OUT]).to(device)

    def monitor() -> float:
        total = torch.zeros((), dtype=torch.float64, device=device)
        generator = torch.Generator(device).manual_seed(seed_of(seed, -2))
        now = Moment(torch.ones((), device=device), generator)
        with autocast(device, bf16):  # as precise as the steps, in half the time
            for start in range(0, len(watched), MONITOR_ROWS):
                total += loss(format.scale(watched[start : start + MONITOR_ROWS]), now).double().sum()
        return float(total) / len(watched) + (beside.held_out() if beside is not None else 0.0)

    def objective(x: Tensor, moment: Moment) -> Tensor:
        mean = loss(x, moment).mean()
        return mean if beside is None else mean + beside.loss(x, moment)

    module.to(device)
    with reproducible(seed):
        works = [chosen * work for work in module.products(format.spec.shape)]
    bf16 = bf16_pays(device, sum(works))
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with threads_for(device, works) as allowed:
        history = train(
            module,
            [Objective(objective, parameters, peak)],
            feed,
            monitor,
            epochs=int(epochs) if epochs else most,
            batch_size=chosen,
            seed=seed,
            device=device,
            bf16=bf16,
            budget=seconds,
            weight_decay=weight_decay,
            bar=Bar(title, verbose),
            resume=Path(checkpoint) if checkpoint is not None else None,
            fingerprint=_fingerprint(stored, settings, seed) if checkpoint is not None else "",
            threads=allowed,
        )
    if history["ended"] == "interrupted":
        kept = history["best_epoch"]
        warn(
            "training was interrupted; "
            + (f"the model is the best so far, of epoch {kept}" if kept else "the model is as far as it had come")
        )
    return history | {"items": len(stored), "held_out_items": len(held_out), "batch_size": chosen, "rate": peak,
                      "seed": seed}  # fmt: skip


def require_positive(**settings: Any) -> None:
    """SettingError for a number that is given and is not above zero; whole numbers for all but the rate."""
    for name, value in settings.items():
        whole = name != "rate"
        right = isinstance(value, Integral if whole else Real)
        if value is not None and (isinstance(value, bool) or not right or not 0 < value < math.inf):
            kind = "a whole number from 1" if whole else "a number above 0"
            raise SettingError(f"{name}={value!r}: expected {kind}, or None for the default")


def _fingerprint(stored: Tensor, settings: Any, seed: int) -> str:
    return hashlib.sha256(json.dumps([str(settings), seed, data_hash(stored)]).encode()).hexdigest()
