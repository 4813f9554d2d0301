"""What is learned by gradient, as one module: an encoder, a decoder and a likelihood.

Shapes: B items of a batch; D... the axes of an item; K latents; P parameters an element; C numbers that an encoder
gives for each latent (1 for a code, 2 for a Gaussian's mean and log-variance).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.formats.base import Spec
from isthmus.likelihoods import Likelihood
from isthmus.networks import decoder_of, encoder_of, products
from isthmus.networks.heads import Heads
from isthmus.networks.nested import Nested, WithLine

__all__ = ["Coder"]


class Coder(nn.Module):
    """Encoder, decoder and likelihood.

    Parameters
    ----------
    encoder : (B, D...) scaled -> (B, C * K)
    decoder : (B, K) -> (B, P, D...); told k where it is Nested
    likelihood : of an item given the decoder's output
    latent_dim : K
    heads : where labels are learned, what tells them from codes; there only then
    straight : while the codes of a table are learned, (B, K) codes and (B, E) rows to (B,), what straight lines from
        the codes leave over; else None
    """

    heads: Heads
    straight: nn.Module | None

    def __init__(self, encoder: nn.Module, decoder: nn.Module, likelihood: Likelihood, latent_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.latent_dim = latent_dim
        self.straight = None

    @classmethod
    def of(
        cls, plan: dict[str, Any], spec: Spec, latent_dim: int, codes: int, likelihood: Likelihood, ordered: bool
    ) -> Coder:
        """The module that a plan of ``network_for`` describes; ``codes`` is C."""
        encoder = encoder_of(plan, spec, codes * latent_dim)
        outputs = likelihood.outputs(spec.shape)
        if not ordered:
            return cls(encoder, decoder_of(plan, spec, latent_dim, outputs), likelihood, latent_dim)
        decoder = decoder_of(plan, spec, 2 * latent_dim, outputs)
        if plan["kind"] != "table":  # whose choices lie on no line
            encoder = WithLine(encoder, spec.shape, codes * latent_dim)
        return cls(encoder, Nested(decoder, latent_dim), likelihood, latent_dim)

    @classmethod
    def of_modules(
        cls, pair: Any, spec: Spec, latent_dim: int, codes: int, likelihood: Likelihood, ordered: bool
    ) -> Coder:
        """The user's own encoder and decoder, copied, and tried on one batch of two items.

        Raises SettingError where their shapes do not fit.
        """
        encoder, decoder = (copy.deepcopy(module) for module in pair)
        for word, module, given, wanted in (
            ("encoder", encoder, spec.shape, (codes * latent_dim,)),
            ("decoder", decoder, (latent_dim,), likelihood.outputs(spec.shape)),
        ):
            try:
                with torch.no_grad():
                    output = module(torch.zeros(2, *given))
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                raise SettingError(f"your {word} fails on a batch of shape {(2, *given)}: {error}") from error
            if not isinstance(output, Tensor):
                raise SettingError(f"your {word} gives a {type(output).__name__}; expected one tensor {(2, *wanted)}")
            got = tuple(output.shape)
            if word == "decoder" and likelihood.n_params == 1 and got[1:] in _without_parameters(spec):
                decoder = nn.Sequential(decoder, nn.Flatten(1), nn.Unflatten(1, wanted))
            elif got != (2, *wanted):
                parts = f"{codes} numbers for each of {latent_dim} latents"
                if word == "decoder":
                    parts = f"{likelihood.n_params} parameters of the likelihood, then the axes of an item {spec.shape}"
                raise SettingError(
                    f"your {word} turns a batch of shape {(2, *given)} into {got}; expected {(2, *wanted)}: {parts}"
                )
        if not any(parameter.requires_grad for module in (encoder, decoder) for parameter in module.parameters()):
            raise SettingError("network=: your modules have nothing to learn, no parameter of theirs takes a gradient")
        return cls(encoder, Nested(decoder, latent_dim, told=False) if ordered else decoder, likelihood, latent_dim)

    def decode(self, z: Tensor, kept: Tensor | None = None) -> Tensor:
        """Codes (B, k) to parameters (B, P, D...). Codes of k < K coordinates are the beginnings of whole ones.

        ``kept`` (B,) says how many coordinates of whole codes to use; it needs an ordered decoder.
        """
        short = self.latent_dim - z.shape[1]
        if short:
            kept = torch.full((len(z),), z.shape[1], device=z.device)
            z = torch.cat([z, z.new_zeros(len(z), short)], dim=1)
        return self.decoder(z) if kept is None else self.decoder(z, kept)

    def products(self, shape: tuple[int, ...]) -> list[int]:
        """Multiply-adds of each layer for one item there and back."""
        return products(self.encoder, *shape) + products(self.decoder, self.latent_dim)

    def draw_kept(self, count: int, progress: Tensor, generator: torch.Generator) -> Tensor | None:
        """How many coordinates each of ``count`` items is trained with, (B,) int64; None where nothing is ordered.

        ``progress`` () from 0 to 1 is the share of the training that is done.
        """
        return self.decoder.draw(count, progress, generator) if isinstance(self.decoder, Nested) else None

    def error(self, params: Tensor, x: Tensor, seen: Tensor, kept: Tensor | None, rate: Tensor | float = 0.0) -> Tensor:
        """-log p(x | params) plus ``rate``, (B,), where the encoder was shown ``seen``; for ordered latents weighed by
        how hard each item's k is."""
        losses = self.likelihood.training_loss(params, x, seen) + rate
        if kept is None or not isinstance(self.decoder, Nested):
            return losses
        with torch.no_grad():
            squared = self.likelihood.squared_error(params, x)
        return self.decoder.weigh(losses, kept, squared)


def _without_parameters(spec: Spec) -> tuple[tuple[int, ...], ...]:
    """Shapes of a decoder's output for one item in which only the axis of the one parameter is missing, or all axes."""
    grey = (spec.shape[1:],) if len(spec.shape) > 1 and spec.shape[0] == 1 else ()
    return (spec.shape, (spec.size,), *grey)
