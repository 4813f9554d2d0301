"""What a good reconstruction is: the probability of an item given the decoder's output.

The same object is the training loss, the reported error, the sampler, and the codec's probabilities.

Shapes, said once: B items; P parameters an element; D... the axes of one item; K components of a mixture.
A decoder gives ``params`` (B, P, D...); items are ``x`` (B, D...) in a format's scaled view.
``params`` in float16 or bfloat16 are computed in float32; float64 stays float64. Nothing is summed, except by ``loss``.
Draws are made on the generator's device, so that one seed gives one sample wherever the network runs.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, mse_loss, softplus

from isthmus.errors import DamagedFileError, SettingError

__all__ = [
    "WORDS",
    "Bernoulli",
    "Categorical",
    "DiscretisedLogisticMixture",
    "Gaussian",
    "Likelihood",
    "likelihood_from_json",
    "likelihood_of",
]

LOG_2PI = math.log(2 * math.pi)


def _wide(params: Tensor) -> Tensor:
    """Half precision to float32: exponentials and sums over a whole image need the digits."""
    return params.float() if params.dtype in (torch.float16, torch.bfloat16) else params


def _soft_clamp(value: Tensor, low: float, high: float | None = None) -> Tensor:
    """``value`` held above ``low`` (and below ``high``), with a slope that is never exactly cut off at the bound."""
    value = low + softplus(value - low)
    return value if high is None else high - softplus(high - value)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform draws in [0, 1) of the shape of ``like``."""
    return torch.rand(like.shape, generator=generator, device=generator.device).to(like.device)


def _choose(logits: Tensor, generator: torch.Generator) -> Tensor:
    """One index along axis 1, drawn in proportion to exp(logits): the argmax after Gumbel noise. int64."""
    u = _uniform(logits, generator).clamp_min(torch.finfo(torch.float32).tiny)
    return (logits - torch.log(-torch.log(u))).argmax(1)


def _count(name: str, given: Any, least: int, most: int) -> int:
    """``given`` as an int in [least, most]; SettingError otherwise."""
    if isinstance(given, bool) or not isinstance(given, Integral) or not least <= int(given) <= most:
        raise SettingError(f"{name}={given!r}: give a whole number from {least} to {most}")
    return int(given)


def _switch(name: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise SettingError(f"{name}={given!r}: give True or False")
    return given


def _variance(given: Any) -> str | float:
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

    def targets(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """What a training step is shown for x: x itself, unless the likelihood redraws it (dynamic binarisation)."""
        return x

    def begin(self, x: Tensor) -> None:
        """Set what is learned to where training should begin, from some items (n, D...) in the scaled view."""

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
        return _wide(params)


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
        self.variance = _variance(variance)
        self.n_params = 2 if self.variance == "predicted" else 1
        if self.variance == "learned":
            self.log_variance = nn.Parameter(torch.zeros(()))

    def shared_log_variance(self) -> float | Tensor:
        """log sigma^2 of all elements: a number, or a scalar tensor with a gradient when it is learned."""
        if self.variance == "learned":
            return _soft_clamp(self.log_variance.float(), self.LOWEST)
        return 0.0 if self.variance == "unit" else math.log(float(self.variance))

    def _moments(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (B, D...) and log-variance (B, D...) or ()."""
        if self.variance == "predicted":
            return params[:, 0], _soft_clamp(params[:, 1], self.LOWEST, self.HIGHEST)
        return params[:, 0], torch.as_tensor(self.shared_log_variance(), dtype=params.dtype, device=params.device)

    def nll(self, params: Tensor, x: Tensor) -> Tensor:
        mean, log_variance = self._moments(self.require(params, x))
        # Scaled before it is squared: an exact fit has a variance whose inverse no float32 can hold.
        return 0.5 * (((x - mean) * torch.exp(-0.5 * log_variance)).square() + log_variance + LOG_2PI)

    def loss(self, params: Tensor, x: Tensor) -> Tensor:
        if self.variance == "predicted":
            return super().loss(params, x)
        # One variance for all: sum the squares first, scale B numbers instead of B x D. A quarter of the time,
        # forward and backward, of the general way.
        mean = self.require(params, x)[:, 0]
        squares = mse_loss(mean, x.to(mean.dtype), reduction="none").flatten(1)
        log_variance = self.shared_log_variance()
        shrink = math.exp(-0.5 * log_variance) if isinstance(log_variance, float) else torch.exp(-0.5 * log_variance)
        return 0.5 * (squares.sum(1) * shrink * shrink + squares.shape[1] * (log_variance + LOG_2PI))

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
        self.dynamic = _switch("dynamic", dynamic)

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
        return (_uniform(chance, generator) < chance).to(chance.dtype)

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        zero = torch.sigmoid(-self.require(params, x)[:, 0])
        return torch.where(x < 0, 0.0, torch.where(x < 1, zero, 1.0))

    def targets(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x itself; with ``dynamic``, zeros and ones drawn with the probabilities x, in the dtype of x."""
        return (_uniform(x, generator) < x).to(x.dtype) if self.dynamic else x

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
        self.levels = _count("levels", levels, 1, 2**24)  # codes above 2^24 are not exact in float32
        self.unit_interval = _switch("unit_interval", unit_interval)
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
        return self._x(_choose(params, generator), params)

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
        self.levels = _count("levels", levels, 2, 2**16)
        self.components = _count("components", components, 1, 1000)
        self.n_params = 3 * self.components

    def _mixture(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, centres and log-scales, (B, K, D...) each.

        The last two in levels: midpoints i + 1/2 are then exact, and each bin ends to the bit where the next begins.
        """
        logits, means, log_scales = params.unflatten(1, (3, self.components)).unbind(1)
        half = (self.levels - 1) / 2  # levels in one unit of the paper
        centres = (means.clamp(-self.FARTHEST, self.FARTHEST) + 1) * half
        log_scales = _soft_clamp(log_scales + math.log(half), self.SHARPEST, self.BROADEST + math.log(half))
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
        chosen = _choose(log_weights, generator).unsqueeze(1)
        centre, log_scale = (part.gather(1, chosen).squeeze(1) for part in (centres, log_scales))
        u = _uniform(centre, generator).clamp_min(2.0**-25)  # the logit of 0 is not finite
        level = torch.round(centre + torch.exp(log_scale) * torch.logit(u))
        return level.clamp(0, self.levels - 1) / (self.levels - 1)

    def to_json(self) -> dict[str, Any]:
        return {"word": self.word, "levels": self.levels, "components": self.components}


# ---------------------------------------------------------------------------------------------- settings and files

WORDS: tuple[str, ...] = (
    "gaussian",  # unit variance: squared error
    "gaussian_learned",
    "gaussian_predicted",
    "bernoulli",
    "bernoulli_dynamic",
    "categorical",
    "logistic_mixture",
)

CLASSES: dict[str, type[Likelihood]] = {
    each.word: each for each in (Gaussian, Bernoulli, Categorical, DiscretisedLogisticMixture)
}


def likelihood_from_json(saved: Any) -> Likelihood:
    """The likelihood whose ``to_json`` gave ``saved``; load learned tensors with ``load_state_dict`` afterwards.

    Raises DamagedFileError for anything that ``to_json`` never writes.
    """
    word = saved.get("word") if isinstance(saved, dict) else None
    if not isinstance(word, str) or word not in CLASSES:
        raise DamagedFileError(f"the file names no known likelihood: {saved!r:.200}; known: {', '.join(CLASSES)}")
    try:
        likelihood = CLASSES[word](**{name: value for name, value in saved.items() if name != "word"})
    except (SettingError, TypeError) as error:
        raise DamagedFileError(f"the file describes an impossible {word} likelihood: {error}") from error
    if likelihood.to_json() != saved:
        raise DamagedFileError(f"the file describes only a part of a {word} likelihood: {saved!r:.200}")
    return likelihood


class Described(Protocol):
    """What ``likelihood_of`` asks of a format, which stands a floor above. An image's scaled view is in [0, 1];
    any other format whose scaled view is may say so with an attribute ``unit_interval = True``."""

    spec: Any

    def likelihood(self) -> Likelihood: ...


def _possible(format: Described) -> tuple[str, ...]:
    """The words that suit a format's scaled view."""
    kind, levels = format.spec.kind, format.spec.levels
    if kind == "table":
        return ()  # a table has a likelihood for each column, which its format knows
    if kind == "tokens":
        return ("categorical",)  # codes are names, not quantities
    words = WORDS[:3]
    if kind == "image" or getattr(format, "unit_interval", False):
        words += WORDS[3:5]
        words += ("categorical",) if levels else ()
        words += ("logistic_mixture",) if levels and 2 <= levels <= 2**16 else ()
    return words


def likelihood_of(setting: str | Likelihood | None, format: Described) -> Likelihood:
    """The likelihood that a user's setting means for the items of a fitted format.

    Parameters
    ----------
    setting : None, the format's own choice; one of ``WORDS``; or a Likelihood, of which a deep copy is taken, so that
        training does not change the user's object
    format : a fitted Format

    Raises SettingError, naming what is possible, where the setting is none of these, or cannot describe such items:
    zeros and ones for unbounded numbers, levels for data without levels, another number of levels.
    """
    if setting is None:
        return format.likelihood()
    possible, spec = _possible(format), format.spec
    choice = f"leave it None, or choose among {', '.join(possible)}" if possible else "leave it None"
    if isinstance(setting, Likelihood):
        if setting.word not in CLASSES:
            return copy.deepcopy(setting)  # the user's own class: the user knows
        word = setting.word
    elif isinstance(setting, str) and setting in WORDS:
        word = setting
    else:
        raise SettingError(f"likelihood={setting!r} is unknown: {choice}, or give a Likelihood")
    if word not in possible:
        raise SettingError(f"likelihood={setting!r} does not suit {_scaled_view(format)}: {choice}")
    unit_interval = spec.kind != "tokens"
    if isinstance(setting, Likelihood):
        wanted: dict[str, Any] = {"levels": spec.levels, "unit_interval": unit_interval}
        for name, value in wanted.items():
            if getattr(setting, name, value) != value:
                raise SettingError(f"likelihood={setting!r} does not suit {_scaled_view(format)}: give {name}={value}")
        return copy.deepcopy(setting)
    family, _, variant = word.partition("_")
    if family == "gaussian":
        return Gaussian(variance=variant or "unit")
    if family == "bernoulli":
        return Bernoulli(dynamic=variant == "dynamic")
    if family == "categorical":
        return Categorical(spec.levels, unit_interval)
    return DiscretisedLogisticMixture(spec.levels)


def _scaled_view(format: Described) -> str:
    """What a format's items look like to a likelihood, for messages."""
    if format.spec.kind == "table":
        return f"{format.spec}, which has a likelihood for each column"
    if format.spec.kind == "tokens":
        return f"{format.spec}, whose codes are names and not quantities"
    bounded = format.spec.kind == "image" or getattr(format, "unit_interval", False)
    levels = "" if format.spec.levels else " and without levels"
    return f"{format.spec}, elements {'in [0, 1]' if bounded else 'unbounded'}{levels}"
