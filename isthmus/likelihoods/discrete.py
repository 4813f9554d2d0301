"""Zeros and ones, choices, and levels in order."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, softplus

from isthmus.likelihoods.base import (
    Likelihood,
    choose,
    soft_clamp,
    switch,
    uniform,
    whole_number,
)

__all__ = ["Bernoulli", "Categorical", "DiscretisedLogisticMixture"]


class Bernoulli(Likelihood):
    """Zeros and ones; P = 1, the logit of a one.

    A grey x in [0, 1] is read as the probability of a one: ``nll`` is then the cross-entropy, the expectation of the
    true nll over binarisations of x.

    Parameters
    ----------
    dynamic : default False. True: each training step sees a fresh binarisation of grey x ("dynamic binarisation",
        Salakhutdinov & Murray 2008), from ``targets``

    Raises SettingError where ``dynamic`` is not a bool.
    """

    word = "bernoulli"
    discrete = True
    n_params = 1

    def __init__(self, dynamic: bool = False) -> None:
        super().__init__()
        self.dynamic = switch("dynamic", dynamic)

    def nll(self, params: Tensor, x: Tensor) -> Tensor:
        logits = self.require(params, x)[:, 0]
        return binary_cross_entropy_with_logits(logits, x.to(logits.dtype), reduction="none")

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(self.require(params)[:, 0])

    def mode(self, params: Tensor) -> Tensor:
        """1 where a one has probability 0.5 or more, (B, D...)."""
        logits = self.require(params)[:, 0]
        return (logits >= 0).to(logits.dtype)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        chance = self.mean(params)
        return (uniform(chance, generator) < chance).to(chance.dtype)

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        zero = torch.sigmoid(-self.require(params, x)[:, 0])
        return torch.where(x < 0, 0.0, torch.where(x < 1, zero, 1.0))

    def targets(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x itself; with ``dynamic``, zeros and ones drawn with the probabilities x, in the dtype of x."""
        return (uniform(x, generator) < x).to(x.dtype) if self.dynamic else x

    def to_json(self) -> dict[str, Any]:
        return {"word": self.word, "dynamic": self.dynamic}


class Categorical(Likelihood):
    """One of ``levels`` choices, any distribution over them; P = levels, the logits.

    x holds codes 0 .. levels - 1 in any integer or floating dtype. ``mode`` and ``sample`` give int64 codes; ``mean``
    is the expected code, which says something only where the choices are ordered.

    Parameters
    ----------
    levels : number of choices, 1 or more
    unit_interval : default False. True: x holds code / (levels - 1), as images do; so do ``mode`` and ``sample``,
        in floating point

    Raises SettingError where a setting is out of its range.
    """

    word = "categorical"
    discrete = True

    def __init__(self, levels: int, unit_interval: bool = False) -> None:
        super().__init__()
        self.levels = whole_number("levels", levels, 1, 2**24)  # codes above 2^24 are not exact in float32
        self.unit_interval = switch("unit_interval", unit_interval)
        self.n_params = self.levels
        self._steps = max(self.levels - 1, 1) if unit_interval else 1  # codes in one unit of x

    def _x(self, code: Tensor, params: Tensor) -> Tensor:
        return code.to(params.dtype) / self._steps if self.unit_interval else code

    def nll(self, params: Tensor, x: Tensor) -> Tensor:
        params = self.require(params, x)
        code = torch.round(x * self._steps).long()
        # gather, not cross_entropy: the latter passes over a code of -100 in silence
        return -params.log_softmax(1).gather(1, code.unsqueeze(1)).squeeze(1)

    def mean(self, params: Tensor) -> Tensor:
        params = self.require(params)
        codes = torch.arange(self.levels, dtype=params.dtype, device=params.device) / self._steps
        return torch.einsum("bp...,p->b...", params.softmax(1), codes)

    def mode(self, params: Tensor) -> Tensor:
        params = self.require(params)
        return self._x(params.argmax(1), params)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        params = self.require(params)
        return self._x(choose(params, generator), params)

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        params = self.require(params, x)
        code = torch.floor(x * self._steps + 0.01)  # a hundredth of a level forgives the rounding of x
        inside = code.clamp(0, self.levels - 1).long().unsqueeze(1)
        below = params.softmax(1).cumsum(1).gather(1, inside).squeeze(1).clamp(max=1)
        return torch.where(code < 0, 0.0, torch.where(code < self.levels - 1, below, 1.0))

    def to_json(self) -> dict[str, Any]:
        return {"word": self.word, "levels": self.levels, "unit_interval": self.unit_interval}


class DiscretisedLogisticMixture(Likelihood):
    """Levels in order, such as 8-bit pixels: a mixture of logistics cut into bins (PixelCNN++, Salimans 2017, eq. 2).

    A level's probability is the mass between the midpoints to its neighbours; the first level takes all below, the
    last all above, so the probabilities of all levels sum to one for any parameters. Elements are independent given
    the parameters: the colour channels of a pixel are not conditioned on each other, as they are in the paper.

    x in [0, 1] means level x (levels - 1); what lies between levels is rounded to the nearest.
    P = 3 K on the second axis: K mixture logits, K means, K log-scales. Means and scales are in the paper's unit, in
    which the levels run from -1 to 1.

    Parameters
    ----------
    levels : default 256, from 2 to 65536
    components : K, default 5, the paper's, enough for the skew and the peaks at black and white

    Raises SettingError where a setting is out of its range.
    """

    word = "logistic_mixture"
    discrete = True
    SHARPEST = math.log(0.5) - 2  # least log-scale in levels: 99.9% of the mass in one bin. Sharper, gradients explode
    BROADEST = 7.0  # greatest log-scale, in the paper's unit: all mass on the first and last level
    FARTHEST = 1e4  # greatest mean, in the paper's unit: nothing changes beyond, and no float32 overflows
    WINDOW = 12  # midpoints on each side of a sharp component that ``mean`` counts: exp(-12) of the rest is left out

    def __init__(self, levels: int = 256, components: int = 5) -> None:
        super().__init__()
        self.levels = whole_number("levels", levels, 2, 2**16)
        self.components = whole_number("components", components, 1, 1000)
        self.n_params = 3 * self.components

    def _mixture(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, centres and log-scales, (B, K, D...) each.

        The last two in levels: midpoints i + 1/2 are then exact, and each bin ends to the bit where the next begins.
        """
        logits, means, log_scales = params.unflatten(1, (3, self.components)).unbind(1)
        half = (self.levels - 1) / 2  # levels in one unit of the paper
        centres = (means.clamp(-self.FARTHEST, self.FARTHEST) + 1) * half
        log_scales = soft_clamp(log_scales + math.log(half), self.SHARPEST, self.BROADEST + math.log(half))
        return logits.log_softmax(1), centres, log_scales

    def nll(self, params: Tensor, x: Tensor) -> Tensor:
        log_weights, centres, log_scales = self._mixture(self.require(params, x))
        level = torch.round(x * (self.levels - 1)).clamp(0, self.levels - 1).unsqueeze(1)  # (B, 1, D...)
        first, last = level == 0, level == self.levels - 1
        steepness = torch.exp(-log_scales)
        upper, lower = (level + 0.5 - centres) * steepness, (level - 0.5 - centres) * steepness
        # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)), and u - l is the steepness. In logarithms
        # nothing cancels, however far or sharp the component; the first level has no lower end, the last no upper.
        log_mass = (
            torch.where(last, 0.0, logsigmoid(upper))
            + torch.where(first, 0.0, logsigmoid(-lower))
            + torch.where(first | last, 0.0, torch.log(-torch.expm1(-steepness)))
        )
        return -torch.logsumexp(log_weights + log_mass, 1)

    def _below(self, midpoint: Tensor | float, weights: Tensor, centres: Tensor, steepness: Tensor) -> Tensor:
        """Mass below a midpoint between levels, (B, D...)."""
        return (weights * torch.sigmoid((midpoint - centres) * steepness)).sum(1)

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """P(X <= x), (B, D...): a staircase that steps at the levels."""
        log_weights, centres, log_scales = self._mixture(self.require(params, x))
        level = torch.floor(x * (self.levels - 1) + 0.01)  # a hundredth of a level forgives the rounding of x
        below = self._below(level.unsqueeze(1) + 0.5, log_weights.exp(), centres, torch.exp(-log_scales)).clamp(max=1)
        return torch.where(level < 0, 0.0, torch.where(level < self.levels - 1, below, 1.0))

    def mean(self, params: Tensor) -> Tensor:
        """Expected x, (B, D...): the sum of x p(x) to float32's precision, without a pass over all levels."""
        log_weights, centres, log_scales = self._mixture(self.require(params))
        last, steepness = self.levels - 1, torch.exp(-log_scales)
        # A component's expected level is the sum, over midpoints, of the mass above. Near its centre, term by term.
        width = min(2 * self.WINDOW, last)
        start = (torch.floor(centres) - self.WINDOW).clamp(0, last - width)
        expected = start.clone()
        for step in range(width):
            expected += torch.sigmoid((centres - (start + step + 0.5)) * steepness)
        if width < last:
            # A component broader than a level has mass outside the window, but is smooth: the integral, with the
            # Euler-Maclaurin term for the slopes at both ends.
            span = last * steepness
            low = torch.minimum((centres * steepness).clamp_min(-20), span + 20)  # farther out, only rounding grows
            high = low - span
            # softplus(low) - softplus(high), whose digits would cancel where the component is very broad
            close = torch.log1p(torch.sigmoid(high) * torch.expm1(span.clamp(max=1)))
            integral = torch.where(span < 1, close, softplus(low) - softplus(high)) / steepness
            slope_low, slope_high = (torch.sigmoid(end) * torch.sigmoid(-end) for end in (low, high))
            integral = integral + (slope_high - slope_low) * steepness / 24
            expected = torch.where(log_scales > 0, integral, expected)
        return ((log_weights.exp() * expected).sum(1) / last).clamp(0, 1)

    def mode(self, params: Tensor) -> Tensor:
        """Most probable x, (B, D...), exact: the peak of a mixture can lie between its centres."""
        log_weights, centres, log_scales = self._mixture(self.require(params))
        flat = [part.movedim(1, 0).flatten(1) for part in (log_weights.exp(), centres, torch.exp(-log_scales))]
        pieces = zip(*(part.split(2**14, dim=1) for part in flat), strict=True)  # a piece fits in a core's cache
        peaks = [self._peaks(*piece) for piece in pieces]
        return torch.cat(peaks).view_as(log_weights[:, 0]) / (self.levels - 1)

    def _peaks(self, weights: Tensor, centres: Tensor, steepness: Tensor) -> Tensor:
        """Most probable level of N elements with parameters (K, N), by branch and bound: a fifth of a pass over all.

        A component falls off on both sides, so within a block of levels it is at most its mass at the point nearest
        to its centre. Blocks are searched from the greatest sum of these bounds down, until no bound can win.
        """

        def below(midpoint: Tensor | float) -> Tensor:
            return torch.sigmoid((midpoint - centres) * steepness)

        last, side = self.levels - 1, math.isqrt(self.levels - 1) + 1
        highest, mass = (weights * below(0.5)).sum(0), (weights * (1 - below(last - 0.5))).sum(0)
        peak = torch.where(mass > highest, float(last), 0.0)
        highest = torch.maximum(mass, highest)
        starts = range(1, last, side)
        bounds = torch.zeros(len(starts), len(highest), dtype=highest.dtype, device=highest.device)
        for start, bound in zip(starts, bounds, strict=True):
            nearest = centres.clamp(start, min(start + side, last) - 1)
            bound.copy_((weights * (below(nearest + 0.5) - below(nearest - 0.5))).sum(0))
        rows = torch.arange(len(highest), device=highest.device)
        while len(starts):
            bound, block = bounds.max(0)
            going = bound > highest[rows]
            if not going.any():
                break
            rows, bounds, block = rows[going], bounds[:, going], block[going]
            weights, centres, steepness = weights[:, going], centres[:, going], steepness[:, going]
            first, best, level = block * side + 1.0, highest[rows], peak[rows]
            lower = below(first - 0.5)
            for step in range(side):
                upper = below(first + (step + 0.5))
                mass = (weights * (upper - lower)).sum(0)
                wins = (mass > best) & (first + step < last)
                best, level, lower = torch.where(wins, mass, best), torch.where(wins, first + step, level), upper
            highest[rows], peak[rows] = best, level
            bounds[block, torch.arange(len(rows), device=rows.device)] = 0
        return peak

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        log_weights, centres, log_scales = self._mixture(self.require(params))
        chosen = choose(log_weights, generator).unsqueeze(1)
        centre, log_scale = (part.gather(1, chosen).squeeze(1) for part in (centres, log_scales))
        u = uniform(centre, generator).clamp_min(2.0**-25)  # the logit of 0 is not finite
        level = torch.round(centre + torch.exp(log_scale) * torch.logit(u))
        return level.clamp(0, self.levels - 1) / (self.levels - 1)

    def to_json(self) -> dict[str, Any]:
        return {"word": self.word, "levels": self.levels, "components": self.components}
