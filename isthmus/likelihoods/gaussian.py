"""The normal density: squared error by another name."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from isthmus.likelihoods.base import (
    LOG_2PI,
    Likelihood,
    checked_variance,
    soft_clamp,
)

__all__ = ["Gaussian"]


class Gaussian(Likelihood):
    """Normal density around the decoder's output; any real x.

    ``nll`` carries the whole normaliser, 0.5 log(2 pi sigma^2). So for unit variance, summed over the D elements of
    an item, the squared error is ||x - x~||^2 = 2 nll - D log(2 pi).

    Parameters
    ----------
    variance : sigma^2, in the squared unit of the scaled view. Default "unit"
        "unit": 1, squared error by another name.
        a number from 1e-60 to 1e60: fixed.
        "learned": one number for all elements, trained with the network (sigma-VAE, Rybkin et al. 2021). It is the
        parameter ``log_variance``, starting at 0.
        "predicted": one for each element, by the decoder; P = 2, the mean and the log-variance.

    The last two are held softly above exp(-12), a deviation of 0.0025: finer than a step of 8-bit pixels in [0, 1]
    (0.0039), and the density of constant data stays finite. A predicted one is held below exp(12) as well.

    Raises SettingError for any other variance.
    """

    word = "gaussian"
    discrete = False
    LOWEST, HIGHEST = -12.0, 12.0  # log-variances

    def __init__(self, variance: str | float = "unit") -> None:
        super().__init__()
        self.variance = checked_variance(variance)
        self.n_params = 2 if self.variance == "predicted" else 1
        if self.variance == "learned":
            self.log_variance = nn.Parameter(torch.zeros(()))

    def shared_log_variance(self) -> float | Tensor:
        """log sigma^2 of all elements: a number, or a scalar tensor with a gradient when it is learned."""
        if self.variance == "learned":
            return soft_clamp(self.log_variance.float(), self.LOWEST)
        return 0.0 if self.variance == "unit" else math.log(float(self.variance))

    def residual_variance(self) -> float:
        """The fixed or the learned one; a unit variance is squared error by another name, and tells nothing."""
        if self.variance in ("unit", "predicted"):
            return 0.0
        return math.exp(float(torch.as_tensor(self.shared_log_variance()).detach()))

    def _moments(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (B, D...) and log-variance (B, D...) or ()."""
        if self.variance == "predicted":
            return params[:, 0], soft_clamp(params[:, 1], self.LOWEST, self.HIGHEST)
        return params[:, 0], torch.as_tensor(self.shared_log_variance(), dtype=params.dtype, device=params.device)

    def nll(self, params: Tensor, x: Tensor) -> Tensor:
        mean, log_variance = self._moments(self.require(params, x))
        # Scaled before it is squared: an exact fit has a variance whose inverse no float32 can hold.
        return 0.5 * (((x - mean) * torch.exp(-0.5 * log_variance)).square() + log_variance + LOG_2PI)

    def loss(self, params: Tensor, x: Tensor) -> Tensor:
        if self.variance == "predicted":
            return super().loss(params, x)
        # One variance for all: sum the squares first, scale B numbers instead of B x D. A quarter of the time,
        # forward and backward, of the general way; and few operations, for each has its price beside its work.
        mean = self.require(params, x).squeeze(1)
        squares = mse_loss(mean, x.to(mean.dtype), reduction="none").flatten(1).sum(1)
        log_variance, half = self.shared_log_variance(), 0.5 * math.prod(x.shape[1:])
        if isinstance(log_variance, float):
            shrink = math.exp(-0.5 * log_variance)
            if shrink != 1:  # twice: the inverse of the least variance is beyond float32
                squares = squares * shrink * shrink
            return torch.add(squares.new_full((), half * (log_variance + LOG_2PI)), squares, alpha=0.5)
        return torch.add(half * (log_variance + LOG_2PI), squares * torch.exp(-log_variance), alpha=0.5)

    @torch.no_grad()
    def begin(self, x: Tensor) -> None:
        """A learned variance begins at that of the items about their mean, which the first decoders do not beat."""
        if self.variance == "learned":
            self.log_variance.fill_((x - x.mean(0)).square().mean().clamp_min(1e-6).log())

    def mean(self, params: Tensor) -> Tensor:
        return self.require(params)[:, 0]

    def mode(self, params: Tensor) -> Tensor:
        return self.mean(params)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        mean, log_variance = self._moments(self.require(params))
        noise = torch.randn(mean.shape, generator=generator, device=generator.device).to(mean.device)
        return mean + torch.exp(0.5 * log_variance) * noise

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        mean, log_variance = self._moments(self.require(params, x))
        return torch.special.ndtr((x - mean) * torch.exp(-0.5 * log_variance))

    def to_json(self) -> dict[str, Any]:
        return {"word": self.word, "variance": self.variance}
