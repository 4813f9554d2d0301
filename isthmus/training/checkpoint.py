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
from isthmus.training.optimiser import AdamW

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
    optimisers: list[AdamW],
) -> None:
    """Replace the checkpoint at ``path``. Raises FileError, and then the one before is still there."""
    tensors: dict[str, Any] = {}
    for word, group in (("weights", weights), ("averaged", averaged or []), ("best", best or [])):
        tensors |= {f"{word}.{index:05d}": tensor.detach().cpu().clone() for index, tensor in enumerate(group)}
    for index, state in enumerate(_states(optimisers)):
        tensors |= {f"moments.{index:05d}.{name}": value.cpu().clone() for name, value in state.items()}
    facts = {"checkpoint": True, "fingerprint": fingerprint, "history": history, "epoch": epoch, "step": step}
    store.write(path, model=facts, format={}, tensors=tensors, card="A training run that has not ended.\n")


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
def restore(saved: Saved, weights: list[Tensor], averaged: list[Tensor] | None, optimisers: list[AdamW]) -> None:
    """Put a checkpoint's state into the tensors and optimisers of a run that is about to go on."""
    for here, there in ((weights, saved.weights), (averaged or [], saved.averaged)):
        for tensor, kept in zip(here, there, strict=True):
            tensor.copy_(kept)
    for index, state in enumerate(_states(optimisers)):
        for name, value in state.items():
            value.copy_(saved.moments[index][name])


def _states(optimisers: list[AdamW]) -> list[dict[str, Tensor]]:
    """Of each parameter of each optimiser, in their order."""
    return [one.state(index) for one in optimisers for index in range(len(one.parameters))]
