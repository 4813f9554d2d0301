"""The state of a run on disk, so that a killed one goes on to the same result.

It is a model file like any other (see ``isthmus.store``): written atomically, checked on reading, runs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from isthmus import store
from isthmus.errors import TrainingError

__all__ = ["Saved", "read", "restore", "write"]


class Saved(NamedTuple):
    """What a checkpoint holds."""

    history: dict[str, Any]
    epoch: int
    step: int
    weights: list[Tensor]
    averaged: list[Tensor]
    best: list[Tensor]
    moments: dict[int, dict[str, Tensor]]  # of each parameter of the optimisers, by its place among them


def write(
    path: Path,
    fingerprint: str,
    history: dict[str, Any],
    epoch: int,
    step: int,
    weights: list[Tensor],
    averaged: list[Tensor] | None,
    best: list[Tensor] | None,
    optimisers: list[torch.optim.AdamW],
) -> None:
    """Replace the checkpoint at ``path``. Raises FileError, and then the one before is still there."""
    tensors: dict[str, Any] = {}
    for word, group in (("weights", weights), ("averaged", averaged or []), ("best", best or [])):
        tensors |= {f"{word}.{index:05d}": tensor.detach().cpu().clone() for index, tensor in enumerate(group)}
    for index, parameter in enumerate(_parameters(optimisers)):
        for name, value in _state(optimisers, parameter).items():
            tensors[f"moments.{index:05d}.{name}"] = value.detach().cpu().clone()
    state = {"checkpoint": True, "fingerprint": fingerprint, "history": history, "epoch": epoch, "step": step}
    store.write(path, model=state, format={}, tensors=tensors, card="A training run that has not ended.\n")


def read(path: Path, fingerprint: str) -> Saved:
    """The checkpoint at ``path``. Raises TrainingError where it is of another run, FileError where it is damaged."""
    contents = store.read(path)
    state = contents.model
    if not state.get("checkpoint") or state.get("fingerprint") != fingerprint:
        raise TrainingError(
            f"{path} is the checkpoint of another run: its data, settings or seed differ from this one's. "
            "Give the same ones to continue it, name another checkpoint file, or remove this one to start afresh"
        )
    groups: dict[str, list[Tensor]] = {"weights": [], "averaged": [], "best": []}
    moments: dict[int, dict[str, Tensor]] = {}
    for name in sorted(contents.tensors):
        word, index, *rest = name.split(".")
        tensor = torch.as_tensor(contents.tensors[name])
        if word == "moments":
            moments.setdefault(int(index), {})[rest[0]] = tensor
        else:
            groups[word].append(tensor)
    return Saved(state["history"], state["epoch"], state["step"], **groups, moments=moments)


@torch.no_grad()
def restore(
    saved: Saved, weights: list[Tensor], averaged: list[Tensor] | None, optimisers: list[torch.optim.AdamW]
) -> None:
    """Put a checkpoint's state into the tensors and optimisers of a run that is about to go on."""
    for here, there in ((weights, saved.weights), (averaged or [], saved.averaged)):
        for tensor, kept in zip(here, there, strict=True):
            tensor.copy_(kept)
    for index, parameter in enumerate(_parameters(optimisers)):
        moments = saved.moments.get(index, {})
        _state(optimisers, parameter).update({name: _laid_out(value, parameter) for name, value in moments.items()})


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """The value on the parameter's device, and in memory as the parameter is: a fused step pairs them by place."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _parameters(optimisers: list[torch.optim.AdamW]) -> list[Tensor]:
    return [p for optimiser in optimisers for group in optimiser.param_groups for p in group["params"]]


def _state(optimisers: list[torch.optim.AdamW], parameter: Tensor) -> dict[str, Tensor]:
    for optimiser in optimisers:
        if any(parameter is p for group in optimiser.param_groups for p in group["params"]):
            return optimiser.state[parameter]
    raise AssertionError("every parameter belongs to an optimiser")
