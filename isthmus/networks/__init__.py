"""Encoders and decoders whose size follows from the data's shape.

``network_for`` draws a plan, a small dict of plain values; ``encoder_of`` and ``decoder_of`` build from it. The plan is
saved with a model, so that a later change of the formula leaves old files readable.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.formats.base import Spec
from isthmus.networks.conv import ConvDecoder, ConvEncoder
from isthmus.networks.mlp import MLPDecoder, MLPEncoder
from isthmus.networks.table import TableDecoder, TableEncoder

__all__ = ["decoder_of", "encoder_of", "multiply_adds", "network_for", "products"]

Plan = dict[str, Any]
SIZES = {"small": 0.5, "base": 1.0, "large": 2.0}  # factor on every width
PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
SMALLEST_SIDE = 4  # below this a convolution has no neighbourhood to look at


def network_for(spec: Spec, latent_dim: int, n_items: int, size: str = "base", network: Any = "auto") -> Plan:
    """The plan of an encoder and its mirror image, by formula.

    Parameters
    ----------
    spec : what one item is
    latent_dim : length of a code; the narrowest hidden layer is never narrower
    n_items : items to learn from; few items get narrow layers
    size : "small", "base" or "large": 1/2, 1 or 2 times every width of the formula
    network : "auto" (table for tables, conv for images and series of at least 4 a side, else mlp), "linear", "mlp",
        "conv", or the widths of the hidden layers of an MLP as a tuple

    The formulas, D being the elements of an item:

    - mlp: H = 16 sqrt(D), between 32 and 1024, and no more than 4 sqrt(n_items) but at least 32; hidden layers of H
      and H / 2.
    - conv: patches of p a side, p = sqrt(h w) / 8 rounded up (t / 64 for series), so that the grid has about 64 cells;
      cells of W = twice the elements of a patch, a multiple of 16 between 32 and 128; 2 residual blocks each way;
      a dense layer of 256 or 4 latent_dim, whichever is more.
    - table: H = 40 sqrt(E), E being the elements of a row, between 64 and 512, and no more than 8 sqrt(n_items) but at
      least 32; two residual blocks each way, and a straight line beside them.

    Raises
    ------
    SettingError : an unknown word, or a network that does not go with the kind of data
    """
    if size not in SIZES:
        raise SettingError(f"size={size!r}: expected one of {', '.join(map(repr, SIZES))}")
    factor = SIZES[size]
    if spec.columns:
        return _table_plan(spec, latent_dim, n_items, factor, network)
    if isinstance(network, (tuple, list)):
        if not all(isinstance(width, int) and not isinstance(width, bool) and width >= 1 for width in network):
            raise SettingError(
                f"network={network!r}: expected the widths of the hidden layers, whole numbers from 1, or two torch "
                "modules (made, not classes): (encoder, decoder)"
            )
        return {"kind": "mlp", "widths": list(network)}
    if network not in ("auto", "linear", "mlp", "conv"):
        raise SettingError(
            f"network={network!r}: expected 'auto', 'linear', 'mlp', 'conv', a tuple of widths, "
            "or a pair (encoder, decoder) of torch modules"
        )
    sides = spec.shape[1:] if spec.kind in ("image", "series") else ()
    if network == "conv" and not sides:
        raise SettingError(f"network='conv' needs images or series; these items are a {spec.kind}. Use 'mlp'.")
    if network == "linear":
        return {"kind": "mlp", "widths": []}
    if network == "conv" or (network == "auto" and sides and min(sides) >= SMALLEST_SIDE):
        return _conv_plan(spec.shape[0], sides, latent_dim, factor)
    width = min(max(16 * math.sqrt(spec.size), 32), 1024, max(4 * math.sqrt(n_items), 32)) * factor
    first = _round_to(width, 8)
    return {"kind": "mlp", "widths": [max(first, latent_dim), max(first // 2, latent_dim, 16)]}


def _table_plan(spec: Spec, latent_dim: int, n_items: int, factor: float, network: Any) -> Plan:
    if network == "linear":
        return {"kind": "table", "width": 0, "blocks": 0}
    if network != "auto":
        raise SettingError(f"network={network!r}: tables take 'auto', 'linear', or a pair (encoder, decoder) of torch "
                           "modules")  # fmt: skip
    width = max(min(max(40 * math.sqrt(spec.size), 64), 512, 8 * math.sqrt(n_items)), 32) * factor
    return {"kind": "table", "width": max(_round_to(width, 8), latent_dim), "blocks": 2, "line": True}


def _conv_plan(channels: int, sides: tuple[int, ...], latent_dim: int, factor: float) -> Plan:
    patch = math.ceil(math.sqrt(math.prod(sides)) / 8) if len(sides) == 2 else math.ceil(sides[0] / 64)
    patch = max(min(patch, min(sides) // 2), 1)
    width = min(max(16 * math.ceil(2 * channels * patch ** len(sides) / 16), 32), 128)
    return {
        "kind": "conv",
        "patch": patch,
        "width": _round_to(width * factor, 8),
        "blocks": 2,
        "hidden": max(_round_to(256 * factor, 8), 4 * latent_dim),
    }


def encoder_of(plan: Plan, spec: Spec, outputs: int) -> nn.Module:
    """(B, D...) scaled -> (B, outputs)."""
    if plan["kind"] == "table":
        return TableEncoder(spec.columns, plan["width"], plan["blocks"], outputs, plan.get("line", False))
    if plan["kind"] == "mlp":
        return MLPEncoder(spec.shape, plan["widths"], outputs)
    return ConvEncoder(spec.shape, plan["patch"], plan["width"], plan["blocks"], plan["hidden"], outputs)


def decoder_of(plan: Plan, spec: Spec, inputs: int, outputs: tuple[int, ...]) -> nn.Module:
    """(B, inputs) -> (B, P, D...); ``outputs`` is (P, D...)."""
    n_params = outputs[0]
    if plan["kind"] == "table":
        return TableDecoder(inputs, plan["width"], plan["blocks"], outputs[1], plan.get("line", False))
    if plan["kind"] == "mlp":
        return MLPDecoder(inputs, plan["widths"], spec.shape, n_params)
    return ConvDecoder(inputs, plan["patch"], plan["width"], plan["blocks"], plan["hidden"], spec.shape, n_params)


def multiply_adds(module: nn.Module, *shape: int) -> int:
    """Multiply-adds of one item of a shape through the dense layers and convolutions of a module, anybody's."""
    return sum(products(module, *shape))


def products(module: nn.Module, *shape: int) -> list[int]:
    """The same for each of these layers, in the order in which they are used.

    Counted while it runs on zeros; draws, where the module makes some, are those of the global generator.
    """
    found: list[int] = []

    def count(layer: Any, given: tuple[Tensor, ...], made: Tensor) -> None:
        # every number made, or of a transposed one given, meets as many weights as one row has
        numbers = given[0] if getattr(layer, "transposed", False) else made
        found.append(numbers.numel() * layer.weight[0].numel())

    hooks = [part.register_forward_hook(count) for part in module.modules() if isinstance(part, PRODUCTS)]
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, *shape, device=next(module.parameters()).device))
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    return found


def _round_to(value: float, multiple: int) -> int:
    return max(multiple, int(value / multiple + 0.5) * multiple)
