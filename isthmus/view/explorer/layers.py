"""A decoder as a list of plain layers and one array of weights, which a web page can run without any library.

Our own networks (``isthmus.networks``) and a linear model can be said so, with the likelihood's mode and the way back
to the user's own unit at the end; what the page runs then gives what ``decode`` gives. Anything else decodes in Python.

Layers are JSON objects; their words, and what each does, stand in docs/explore.md. While they are collected, "weight"
and "bias" hold arrays; ``plain_decoder`` puts these into one array, and their places in it into the layers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from isthmus.errors import NotSupported
from isthmus.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood, Table
from isthmus.networks.conv import ConvDecoder
from isthmus.networks.mlp import MLPDecoder
from isthmus.networks.nested import Nested
from isthmus.networks.table import TableDecoder
from isthmus.view.explorer.columns import column_layers, linear_columns

__all__ = ["Decoder", "Layer", "plain_decoder", "shown_channels"]

Layer = dict[str, Any]
WORDS = {nn.SiLU: "silu", nn.ReLU: "relu", nn.GELU: "gelu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid",
         nn.Softplus: "softplus"}  # fmt: skip
NOTHING = (nn.Identity, nn.Flatten, nn.Unflatten)  # layers that only say how the same numbers are laid out
WHITE = 255  # levels of a pixel on the page


class Decoder(NamedTuple):
    """What the page runs."""

    layers: list[Layer]
    weights: np.ndarray  # (W,) float32


def plain_decoder(model: Any) -> Decoder:
    """The decoder of a fitted model as layers: a code (K,) float32 to what ``decode`` gives.

    Raises
    ------
    NotSupported : it cannot be said in these layers; the message says why
    """
    form, likelihood = model.format_, model.likelihood_
    network = getattr(model, "network_", None)
    planes = _planes(likelihood)
    if network is not None:
        if getattr(model, "_plan", {}).get("kind") == "own":
            raise NotSupported("its decoder is a torch module of its owner, which no page can run")
        layers = _first_latents(network.decoder, model.latent_dim_)
    elif callable(getattr(model, "_matrices", None)):
        mean, _, backward = model._matrices()
        layers = [_linear(backward.T.numpy(), mean.numpy())]
    else:
        raise NotSupported(f"the page cannot run the decoder of a {type(model).__name__}")
    if form.spec.kind == "table":
        if form.spec.columns:
            layers.append({"op": "columns", "columns": column_layers(form, likelihood)})
        else:
            columns, weight, bias = linear_columns(form, layers[-1]["weight"], layers[-1]["bias"])
            layers[-1:] = [_linear(weight, bias), {"op": "columns", "columns": columns}]
    else:
        channels = form.spec.shape[0] if form.spec.kind != "vector" else 1
        shown = shown_channels(channels) if form.spec.kind == "image" else channels
        _keep(layers, likelihood.n_params, planes, channels, shown)
        size = form.spec.size // channels * shown
        layers += [*_mode(likelihood, size), *_own_unit(form)]
    weights: list[np.ndarray] = []
    _place(layers, weights, 0)
    whole = np.concatenate(weights) if weights else np.zeros(0, np.float32)
    return Decoder(layers, whole)


def shown_channels(channels: int) -> int:
    """How many channels of an image are shown: 1, 3 and 4 as they are, of two the first, of more the first three."""
    return channels if channels in (1, 3, 4) else 1 if channels < 3 else 3


# ---- networks --------------------------------------------------------------------------------------------------------


def _of(module: Any) -> list[Layer]:
    """A module as layers; data of convolutions lie channels last."""
    if isinstance(module, nn.Sequential):
        return [layer for part in module for layer in _of(part)]
    if isinstance(module, NOTHING):
        return []
    if type(module) in WORDS:
        return [{"op": WORDS[type(module)]}]
    if isinstance(module, nn.Linear):
        return [_linear(_array(module.weight), None if module.bias is None else _array(module.bias))]
    if isinstance(module, MLPDecoder):
        return _of(module.layers)
    if isinstance(module, TableDecoder):
        blocks = [{"op": "residual", "body": [{"op": "silu"}, *_of(block.one), {"op": "silu"}, *_of(block.two)]}
                  for block in module.blocks]  # fmt: skip
        layers = [*_of(module.first), *blocks, *_of(module.last)]
        return _with_line(layers) if module.line else layers
    if isinstance(module, ConvDecoder):
        *grid, _ = module.grid
        layers = _of(module.out_of_code)
        for block in module.blocks:
            if isinstance(block, nn.SiLU):
                layers.append({"op": "silu"})
                continue
            first, second = (_conv(conv, grid) for conv in (block.first, block.second))
            layers.append({"op": "residual", "body": [{"op": "silu"}, first, {"op": "silu"}, second]})
        last = _conv(module.out_of_grid, grid)
        planes = math.prod(module.split)
        shuffle = {"op": "unshuffle_out", "patch": module.patch, "grid": grid, "sides": list(module.sides)}
        return [*layers, last, shuffle | {"planes": planes}]
    raise NotSupported(f"its decoder has a layer that the page does not know, {type(module).__name__}")


def _with_line(layers: list[Layer]) -> list[Layer]:
    """The layers of a table's decoder, with the code beside the units of the blocks: the last one takes both."""
    first, *blocks, last = layers
    inputs = first["in"]
    weight = np.concatenate([first["weight"], np.eye(inputs, dtype=np.float32)])
    made = [_linear(weight, np.pad(first["bias"], (0, inputs)))]
    for block in blocks:
        act, one, _, two = block["body"]
        reads = _linear(np.pad(one["weight"], ((0, 0), (0, inputs))), one["bias"])
        writes = _linear(np.pad(two["weight"], ((0, inputs), (0, 0))), np.pad(two["bias"], (0, inputs)))
        made.append({"op": "residual", "body": [act, reads, act, writes]})
    return [*made, last]


def _linear(weight: np.ndarray, bias: np.ndarray | None) -> Layer:
    return {"op": "linear", "in": weight.shape[1], "out": weight.shape[0], "weight": weight, "bias": bias}


def _conv(module: Any, grid: list[int]) -> Layer:
    """A convolution of three a side, its weights (kernel..., in, out)."""
    weight = np.moveaxis(_array(module.weight), (1, 0), (-2, -1))
    bias = None if module.bias is None else _array(module.bias)
    return {"op": "conv", "sides": grid, "kernel": 3, "in": weight.shape[-2], "out": weight.shape[-1],
            "weight": weight, "bias": bias}  # fmt: skip


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().float().contiguous().numpy()


def _first_latents(module: nn.Module, k: int) -> list[Layer]:
    """A decoder of codes whose first k coordinates are given: what stands for the others goes into the first bias."""
    if not isinstance(module, Nested):
        return _of(module)
    layers, whole = _of(module.decoder), module.latent_dim
    weight, bias = layers[0]["weight"], layers[0]["bias"]
    told = weight[:, whole + k - 1] if module.told else 0.0  # the indicator of "k are kept"
    layers[0] = _linear(weight[:, :k], (np.zeros(len(weight), np.float32) if bias is None else bias) + told)
    return layers


# ---- from parameters to the user's own unit --------------------------------------------------------------------------


def _planes(likelihood: Likelihood) -> int:
    """How many of the parameters of an element its mode depends on."""
    if isinstance(likelihood, (Gaussian, Bernoulli, Table)):
        return 1
    if isinstance(likelihood, Categorical):
        return likelihood.n_params
    raise NotSupported(f"the page does not know how to read what a decoder says of a {type(likelihood).__name__}")


def _keep(layers: list[Layer], n_params: int, planes: int, channels: int, shown: int) -> None:
    """Leave out what the last layer says and the page does not need: variances, and channels that are not shown."""
    last = layers[-2] if layers[-1]["op"] == "unshuffle_out" else layers[-1]
    axis = -1 if last["op"] == "conv" else 0
    for name in ("weight", "bias"):
        if last[name] is not None:
            array = np.moveaxis(last[name], axis if name == "weight" else 0, 0)
            rest = array.shape[1:]
            array = array.reshape(n_params, channels, -1, *rest)[:planes, :shown].reshape(-1, *rest)
            last[name] = np.moveaxis(array, 0, axis if name == "weight" else 0)
    last["out"] = last["weight"].shape[axis]
    if layers[-1]["op"] == "unshuffle_out":
        layers[-1]["planes"] = planes * shown


def _mode(likelihood: Likelihood, size: int) -> list[Layer]:
    """From parameters to the likeliest scaled values."""
    if isinstance(likelihood, Bernoulli):
        return [{"op": "step"}]
    if isinstance(likelihood, Categorical):
        return [{"op": "argmax", "levels": likelihood.levels, "size": size},
                {"op": "affine", "scale": 1 / likelihood._steps, "shift": 0.0}]  # fmt: skip
    return []


def _own_unit(form: Any) -> list[Layer]:
    """From the scaled view to pixels, or to numbers in the unit and the dtype of the items."""
    if form.spec.kind == "image":
        steps = (form.spec.levels or WHITE + 1) - 1
        if steps > WHITE:  # finer than a pixel of the page
            steps = WHITE
        layers: list[Layer] = [{"op": "affine", "scale": float(steps), "shift": 0.0},
                               {"op": "clip", "low": 0, "high": steps}]  # fmt: skip
        if steps < WHITE:
            layers += [{"op": "round"}, {"op": "affine", "scale": WHITE / steps, "shift": 0.0}]
        return [*layers, {"op": "to_item"}]
    scaling = form.scaling_
    layers = []
    if scaling.how != "none":
        parts = len(scaling.offset)
        layers.append({"op": "affine", "scales": scaling.step.tolist(), "shifts": scaling.offset.tolist(),
                       "each": form.spec.size // parts})  # fmt: skip
    return layers + _own_dtype(form)


def _own_dtype(form: Any) -> list[Layer]:
    """Whole numbers are rounded, and held to what their dtype can hold; truths are told from a half on."""
    frame = getattr(form, "frame_", None)
    names = [_dtype(name) for name in frame.types] if frame is not None else [form.origin_.dtype]
    if "bool" in names:
        return [{"op": "affine", "scale": 1.0, "shift": -0.5}, {"op": "step"}]
    layers: list[Layer] = []
    for name in dict.fromkeys(names):
        if name == "bfloat16" or np.dtype(name).kind not in "iu":
            continue
        held = np.iinfo(np.dtype(name))
        where = {} if len(set(names)) == 1 else {"at": [place for place, one in enumerate(names) if one == name]}
        layers += [{"op": "round"} | where, {"op": "clip", "low": int(held.min), "high": int(held.max)} | where]
    return layers


def _dtype(arrow: str) -> str:
    return {"float": "float32", "double": "float64", "halffloat": "float16"}.get(arrow, arrow)


# ---- one array -------------------------------------------------------------------------------------------------------


def _place(layers: list[Layer], weights: list[np.ndarray], start: int) -> int:
    """Put the arrays of layers into a list, and their places into the layers. Returns where the next one begins."""
    for layer in layers:
        if layer["op"] == "residual":
            start = _place(layer["body"], weights, start)
        for name in ("weight", "bias"):
            if isinstance(layer.get(name), np.ndarray):
                weights.append(np.ascontiguousarray(layer[name], dtype=np.float32).ravel())
                layer[name], start = start, start + weights[-1].size
    return start
