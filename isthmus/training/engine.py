"""The one training loop: every model that learns by gradient comes through here.

A model gives a module, the objectives to minimise, a feed of batches and a monitor of held-out data. The loop gives
back the history, and leaves the best weights in the module.

Rules that the loop keeps:
- Nothing waits for the device inside an epoch: losses add up there and are read a few times a second for the bar.
- A step reads nothing that changes but tensors, so that many can be recorded (see ``isthmus.training.steps``).
- Everything random comes from the seed and the number of the epoch, so a resumed run equals an unbroken one.
- What is kept is the best seen on held-out data, whatever ends the run: its end, a budget, an early stop, Ctrl-C.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from isthmus.errors import TrainingError
from isthmus.training import checkpoint
from isthmus.training.bar import Bar
from isthmus.training.device import autocast, generators_of, reproducible
from isthmus.training.feed import Feed, seed_of
from isthmus.training.optimiser import AdamW
from isthmus.training.steps import State, launches_for

__all__ = ["History", "Moment", "Objective", "train"]

# "epoch", "loss", "held_out", "seconds" are lists of equal length; "best_epoch", "ended" and "steps" are scalars
History = dict[str, Any]


class Moment(NamedTuple):
    """What a loss may know of the moment in which it is computed."""

    progress: Tensor  # () float32 from 0 to 1: how much of the training is done
    generator: torch.Generator  # on the compute device


class Objective(NamedTuple):
    """Something to minimise, and what may move to do so. An autoencoder has one, a GAN two."""

    loss: Callable[[Tensor, Moment], Tensor]  # a scaled batch (B, D...) -> ()
    parameters: Sequence[nn.Parameter]
    rate: float  # peak learning rate


def train(
    module: nn.Module,
    objectives: Sequence[Objective],
    feed: Feed,
    monitor: Callable[[], float],
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    device: torch.device,
    bf16: bool = False,
    budget: float | None = None,
    warm_up: float = 0.05,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.99),
    average: float | None = None,
    patience: float = 0.25,
    bar: Bar | None = None,
    resume: Path | None = None,
    fingerprint: str = "",
    threads: int = 1,
) -> History:
    """Minimise the objectives, one step each per batch, and leave the best weights in ``module``.

    Parameters
    ----------
    module : holds every parameter and buffer that a run must bring back
    objectives : each with its own optimiser (AdamW: Loshchilov & Hutter 2019); stepped in the order given
    feed : scaled batches
    monitor : held-out loss of the module as it stands; lower is better
    epochs : passes over the data; with a ``budget`` it is the most that may be made
    batch_size : items a step; fewer where the feed has fewer
    seed : for everything that the losses draw
    bf16 : run the forward pass in bf16 where PyTorch's autocast does so
    budget : seconds of training after which the rate has come down to zero, in place of the epochs
    warm_up : share of the run in which the rate climbs to its peak; from there it falls to zero in a straight line
    weight_decay : on matrices and kernels, never on biases and gains
    average : decay of an exponential moving average of the weights, which is then what is measured and kept
    patience : share of the run without a better held-out loss after which the run stops early
    bar : shows progress
    resume : file of a checkpoint, written as the run goes and removed when it ends; an existing one is continued
    fingerprint : names the data and the settings; a checkpoint with another one is refused
    threads : as many as steps on the CPU may take; they take more than one by one would only where the bits stay

    Returns
    -------
    History: what was measured after each round of epochs, why the run ended ("finished", "early", "budget" or
    "interrupted"), and how the steps were taken.

    Raises
    ------
    TrainingError : the loss is no longer finite, or the checkpoint is of another run
    """
    optimisers = [AdamW(objective.parameters, objective.rate, weight_decay, betas) for objective in objectives]
    weights = [tensor for tensor in module.state_dict().values() if tensor.is_floating_point()]
    averaged = [weight.clone() for weight in weights] if average else None
    history: History = {"epoch": [], "loss": [], "held_out": [], "seconds": [], "best_epoch": None, "ended": "finished"}
    best: list[Tensor] | None = None
    epoch = step = 0
    spent = 0.0  # seconds of the runs before this one
    if resume is not None and resume.exists():
        saved = checkpoint.read(resume, fingerprint)
        history, epoch, step, spent = saved.history, saved.epoch, saved.step, saved.history["seconds"][-1]
        checkpoint.restore(saved, weights, averaged, optimisers)
        best = [tensor.to(device) for tensor in saved.best]

    begun = time.monotonic() - spent
    every = max(1, epochs // 50)  # epochs between two looks at held-out data: about fifty in a run
    looked = begun
    steps = epochs * max(1, feed.n_items // min(batch_size, feed.n_items))
    total = torch.zeros(len(objectives), device=device)
    generator = torch.Generator(device)
    counted, next_look = 0, time.monotonic() + 0.25

    def take_step(batch: Tensor, progress: Tensor, factor: float | Tensor) -> None:
        for index, (objective, optimiser) in enumerate(zip(objectives, optimisers, strict=True)):
            with autocast(device, bf16):
                loss = objective.loss(batch, Moment(progress, generator))
            optimiser.forget_gradients()
            loss.backward(inputs=optimiser.parameters)
            optimiser.step(factor)
            total[index] += loss.detach()

    changing = [tensor for tensor in module.state_dict().values() if not tensor.is_floating_point()]
    changing += [tensor for optimiser in optimisers for tensor in optimiser.tensors()]
    state = State(weights, total, changing, [generator, *generators_of(device)])
    taken = launches_for(feed, batch_size, take_step, state, module, device, averaged is not None, threads)

    drawn = contextlib.ExitStack()
    if device.type == "cuda":
        drawn.enter_context(torch.cuda.device(device))  # streams are of the device that is current
    drawn.enter_context(autocast(device, False))
    drawn.enter_context(reproducible(seed, device))  # dropout in a module of the user's own takes no generator
    try:
        while epoch < epochs and not (budget is not None and time.monotonic() - begun >= budget):
            generator.manual_seed(seed_of(seed, epoch) ^ 0x5EED)
            for one in generators_of(device):
                one.manual_seed(seed_of(seed, epoch))
            module.train()
            for count in taken.launches(epoch):
                done = step / steps if budget is None else (time.monotonic() - begun) / budget
                if done >= 1 and budget is not None:
                    break
                each = 1 / steps if budget is None else 0.0
                shares = [min(done + each * index, 1.0) for index in range(count)]
                taken.take(shares, [_rate(share, warm_up) for share in shares])
                step += count
                counted += count
                if averaged is not None:  # follows closely at first, so that the start is forgotten
                    torch._foreach_lerp_(averaged, weights, 1 - min(average or 0.0, (1 + step) / (10 + step)))
                now = time.monotonic()
                if bar is not None and now >= next_look:
                    next_look = now + 0.25
                    bar.show(min(done, 1.0), float(total[0]) / counted, now - begun)
                    _require_finite(total, counted, epoch, objectives)
            epoch += 1
            now = time.monotonic()
            early = epoch % every != 0 if budget is None else now - looked < budget / 50 and now - begun < budget
            if early and epoch < epochs:
                continue
            looked = now
            if counted:
                _require_finite(total, counted, epoch - 1, objectives)
            held_out = _measure(module, monitor, weights, averaged)
            if not math.isfinite(held_out):
                raise _not_finite("held-out loss", epoch, objectives, held_out)
            means = [float(value) / max(counted, 1) for value in total]
            row = {"epoch": epoch, "loss": means, "held_out": held_out, "seconds": time.monotonic() - begun}
            history |= {name: [*history[name], value] for name, value in row.items()}  # all or none under Ctrl-C
            total.zero_()
            counted = 0
            if best is None or held_out < min(history["held_out"][:-1], default=math.inf):
                best = [tensor.clone() for tensor in (averaged or weights)]
                history["best_epoch"] = epoch
            if bar is not None:
                bar.held_out(held_out)
            if resume is not None:
                checkpoint.write(resume, fingerprint, history, epoch, step, weights, averaged, best, optimisers)
            if _stalled(history, epochs, budget, patience):
                history["ended"] = "early"
                break
        else:
            history["ended"] = "budget" if budget is not None and epoch < epochs else "finished"
    except KeyboardInterrupt:
        history["ended"] = "interrupted"
    finally:
        history["steps"] = taken.told
        for optimiser in optimisers:
            optimiser.forget_gradients()
        drawn.close()
        if bar is not None:
            bar.close()
    if best is not None:
        for weight, kept in zip(weights, best, strict=True):
            weight.copy_(kept)
    if resume is not None and history["ended"] != "interrupted":
        resume.unlink(missing_ok=True)
    module.eval()
    return history


def _rate(done: float, warm_up: float) -> float:
    """Share of the peak rate: a straight climb, then a straight way down to zero (Defazio et al. 2023)."""
    if done < warm_up:
        return (done + 1e-3) / (warm_up + 1e-3)
    return max((1 - done) / (1 - warm_up), 1e-3)


def _measure(
    module: nn.Module, monitor: Callable[[], float], weights: list[Tensor], averaged: list[Tensor] | None
) -> float:
    """The held-out loss, of the averaged weights where there are such."""
    module.eval()
    current = [weight.clone() for weight in weights] if averaged is not None else weights
    with torch.no_grad():
        if averaged is not None:
            torch._foreach_copy_(weights, averaged)
        try:
            return monitor()
        finally:
            if averaged is not None:
                torch._foreach_copy_(weights, current)


def _stalled(history: History, epochs: int, budget: float | None, patience: float) -> bool:
    """True when the best held-out loss lies further back than ``patience`` allows."""
    at = history["epoch"].index(history["best_epoch"])
    if budget is None:
        return history["epoch"][-1] - history["best_epoch"] > max(patience * epochs, 3)
    return history["seconds"][-1] - history["seconds"][at] > patience * budget and len(history["epoch"]) - at > 3


def _require_finite(total: Tensor, counted: int, epoch: int, objectives: Sequence[Objective]) -> None:
    if not bool(torch.isfinite(total).all()):
        means = [float(value) / max(counted, 1) for value in total]
        raise _not_finite(f"mean loss of the last {counted} steps", epoch + 1, objectives, means)


def _not_finite(what: str, epoch: int, objectives: Sequence[Objective], value: Any) -> TrainingError:
    rates = ", ".join(f"{objective.rate:g}" for objective in objectives)
    return TrainingError(
        f"the loss was no longer finite in epoch {epoch}. The most likely cause is a learning rate too high for "
        f"this network (peak {rates}): try rate={objectives[0].rate / 10:g}. Other causes: a module of your own "
        f"that divides by zero or takes a logarithm of zero, or an extreme value in the data ({what}: {value})"
    )
