"""What every likelihood is, and what they share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from isthmus.errors import SettingError

LOG_2PI = math.log(2 * math.pi)


def wide(params: Tensor) -> Tensor:
    """Half precision to float32: exponentials and sums over a whole image need the digits."""
    return params.float() if params.dtype in (torch.float16, torch.bfloat16) else params


def soft_clamp(value: Tensor, low: float, high: float | None = None) -> Tensor:
    """``value`` held above ``low`` (and below ``high``), with a slope that is never exactly cut off at the bound."""
    value = low + softplus(value - low)
    return value if high is None else high - softplus(high - value)


def uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform draws in [0, 1) of the shape of ``like``."""
    return torch.rand(like.shape, generator=generator, device=generator.device).to(like.device)


def choose(logits: Tensor, generator: torch.Generator) -> Tensor:
    """One index along axis 1, drawn in proportion to exp(logits): the argmax after Gumbel noise. int64."""
    u = uniform(logits, generator).clamp_min(torch.finfo(torch.float32).tiny)
    return (logits - torch.log(-torch.log(u))).argmax(1)


def whole_number(name: str, given: Any, least: int, most: int) -> int:
    """``given`` as an int in [least, most]; SettingError otherwise."""
    if isinstance(given, bool) or not isinstance(given, Integral) or not least <= int(given) <= most:
        raise SettingError(f"{name}={given!r}: give a whole number from {least} to {most}")
    return int(given)


def switch(name: str, given: Any) -> bool:
    """``given`` where it is True or False; SettingError otherwise."""
    if not isinstance(given, bool):
        raise SettingError(f"{name}={given!r}: give True or False")
    return given


def checked_variance(given: Any) -> str | float:
    """A word or a number that a variance may be; SettingError otherwise."""
    if isinstance(given, str) and given in ("unit", "learned", "predicted"):
        return given
    if not isinstance(given, bool) and isinstance(given, Real) and 1e-60 <= float(given) <= 1e60:
        return float(given)
    raise SettingError(f'variance={given!r}: give "unit", "learned", "predicted" or a number from 1e-60 to 1e60')


class Likelihood(nn.Module, ABC):
    """p(x | params), element by element. A module, since a variance may be learned with the network."""

    word: ClassVar[str]  # names the likelihood in settings and files
    n_params: int  # P: how many numbers the decoder gives for one element
    discrete: ClassVar[bool]  # True: ``nll`` is of a probability; False: of a density

    @abstractmethod
    def nll(self, params: Tensor, x: Tensor) -> Tensor:
        """-log p(x | params) in nats, (B, D...). Multiply by a mask to leave elements out."""

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """Expected x, (B, D...)."""

    @abstractmethod
    def mode(self, params: Tensor) -> Tensor:
        """Most probable x, (B, D...)."""

    @abstractmethod
    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """One draw of x, (B, D...)."""

    @abstractmethod
    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """P(X <= x), (B, D...)."""

    def loss(self, params: Tensor, x: Tensor) -> Tensor:
        """``nll`` summed over the axes of an item, (B,), nats, in float32 at least. What training minimises."""
        return self.nll(params, x).flatten(1).sum(1)

    def training_loss(self, params: Tensor, x: Tensor, seen: Tensor) -> Tensor:
        """``loss``, (B,), where the encoder was shown ``seen`` in place of x: the same, unless cells may be hidden."""
        return self.loss(params, x)

    def outputs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What a decoder gives for one item of a shape: (P, D...)."""
        return (self.n_params, *shape)

    def squared_error(self, params: Tensor, x: Tensor) -> Tensor:
        """(B,) squared distance of the mean from x, by which the parts of an ordered code are weighed."""
        return (self.mean(params) - x).flatten(1).square().sum(1).float()

    def targets(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """What a training step is shown for x: x itself, unless the likelihood redraws it (dynamic binarisation)."""
        return x

    def begin(self, x: Tensor) -> None:
        """Set what is learned to where training should begin, from some items (n, D...) in the scaled view."""

    def of_hidden(self) -> Likelihood:
        """The likelihood of elements that an encoder did not see: this one, unless it learned how far they lie."""
        return self

    def residual_variance(self) -> float:
        """Variance of x around its mean, one number for all elements, in the scaled view; 0 where none is told."""
        return 0.0

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Settings (learned tensors are in ``state_dict``)."""

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.to_json().items() if name != "word")

    def require(self, params: Tensor, x: Tensor | None = None) -> Tensor:
        """``params`` in float32 at least, where their shape is (B, P, D...); SettingError otherwise.

        Without this, a decoder of the wrong shape would be broadcast against the items, and train on nonsense.
        """
        shape = tuple(params.shape)
        if len(shape) < 2 or shape[1] != self.n_params or (x is not None and shape[:1] + shape[2:] != tuple(x.shape)):
            wanted = f"(items, {self.n_params}, ...)" if x is None else (*x.shape[:1], self.n_params, *x.shape[1:])
            raise SettingError(
                f"the decoder gave parameters of shape {shape}, but {type(self).__name__}({self.extra_repr()}) "
                f"needs {wanted}: {self.n_params} for each element, on the second axis"
            )
        return wide(params)
