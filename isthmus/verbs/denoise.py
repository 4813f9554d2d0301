"""Take noise away from items, with what a model knows of items without noise.

Two ways, and which of them is the model's to say:

- *reconstruction*: a denoising autoencoder (Vincent et al. 2008) learned to give the clean item back from a noisy one,
  so that is what it is asked for;
- *projection*: any model with a prior tells how likely items are, and the guess weighs that against the noise; see
  ``isthmus.verbs.posterior``.

Pictures and series larger than the items learned are cut into tiles of that size, which overlap
(``isthmus.verbs.tiles``). Where the guess is closed, the tiles are brought to agree by half-quadratic splitting (Zoran
& Weiss 2011): what was seen and what the tiles say are drawn together in rounds, of which each trusts the tiles more,
and thinks the noise that is left smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import DataError, NotSupported, SettingError, warn
from isthmus.priors import Prior
from isthmus.verbs.generate import require_able
from isthmus.verbs.noise import noise_of_grid, stepped
from isthmus.verbs.posterior import STEPS, Guess, guesser
from isthmus.verbs.scenes import scenes_of
from isthmus.verbs.tiles import Tiling

__all__ = ["denoise", "noise_level"]

HOW = ("projection", "reconstruction")
LEFT_OUT = 16  # directions in which a picture or series has to have nothing, for a linear model to tell its noise
ROUNDS = 5  # of Zoran & Weiss 2011: tiles weigh 1, 4, 8, 16, 32 times what was seen


def denoise(
    model: Any,
    X: Any,
    noise: float | None = None,
    *,
    how: str | None = None,
    prior: Prior | None = None,
    stride: int | None = None,
    rounds: int | None = None,
    steps: int = STEPS,
) -> Any:
    """The items without their noise, as far as the model can tell it from them.

    Parameters
    ----------
    model : a fitted embedding of vectors, images or series, learned from clean ones. For photographs a model of small
        patches: ``PCA(64, prior=priors.GaussianMixture(100)).fit(patches)`` with patches (n, 8, 8)
    X : noisy items. Vectors as learned. Images (n, h, w), (n, h, w, c) or (n, c, h, w), a list of arrays, picture files
        or a folder of them, of the learned channels and of any size from that learned; floats may lie beyond black and
        white. Series (n, t) or (n, t, c) of any length from that learned
    noise : standard deviation of the noise, white and normal, in the unit of the items (25 for pixels in 0..255, 0.1
        for pixels in [0, 1]). None: ``noise_level`` of each item
    how : "reconstruction" encodes and decodes, which is what a model with ``corruption=`` learned to do; "projection"
        is the posterior mean, or the likeliest item where that has no closed form. None: the first for a model with
        corruption, else the second
    prior : a fitted Prior of codes for the projection. None: the model's own
    stride : from one tile to the next. None: a quarter of a tile's shorter side. Smaller is better and slower
    rounds : in which the tiles are brought to agree. None: 5 where the guess has a closed form, else 1, their mean
    steps : of the climb to the likeliest item, where there is no closed form

    Returns
    -------
    Items in the container, rank and dtype of X, rounded where it holds integers, pixels within the learned range; a
    list where they are of several sizes. An item's result does not depend on the other items

    Warns
    -----
    IsthmusWarning : the noise is less than half, or more than twice, of what the model learned to take away; or below
        half a grey level

    Raises
    ------
    NotSupported : a model of a table, without encoder, decoder or prior
    SettingError : a number or word out of range, noise of another unit
    DataError, FormatError : items smaller than those learned, of other channels, with holes

    Examples
    --------
    >>> import numpy as np, isthmus as im
    >>> X = im.datasets.digits()
    >>> noisy = X + 40 * np.random.default_rng(0).standard_normal(X.shape)
    >>> im.denoise(im.PCA(64, prior="mixture").fit(X), noisy, noise=40).shape
    (1797, 8, 8)
    """
    way = _way(model, how, prior)
    _require_whole(stride=stride, rounds=rounds, steps=steps)
    scenes = scenes_of(model, X, "denoise")
    require_stride(model, stride)
    tile = model.format_.spec.shape
    _require_large(scenes.items, tile)
    if noise is not None:
        noise = checked_noise(model, noise)
    unit = unit_of(model)
    learned = model._corrupted_by
    if noise is None and way == "reconstruction" and learned is not None and model.format_.spec.kind == "vector":
        noise = learned[1] * float(unit.mean())  # which nothing but the model can tell of a vector
    levels = [_estimated(model, item, unit) if noise is None else noise for item in scenes.items]
    if way == "reconstruction":
        _compare_with_learned(model, levels, unit)
    closed = way == "projection" and model._linear_decoder() is not None
    weights = [1.0] if (rounds or (ROUNDS if closed else 1)) == 1 else _weights(rounds or ROUNDS)
    made: dict[float, Guess] = {}

    def guess_at(level: float) -> Guess:
        if way == "reconstruction":
            return lambda rows: model._in_blocks(lambda part: _again(model, part), rows)
        if level not in made:
            made[level] = guesser(model, prior or model.prior_, (level / unit).flatten(), steps=steps)
        return made[level]

    return scenes.back(denoised(scenes.items, levels, tile, guess_at, weights, stride))


def denoised(
    items: list[Tensor], levels: list[float], tile: tuple[int, ...], guess_at: Callable[[float], Guess],
    weights: list[float], stride: int | None,
) -> list[Tensor]:  # fmt: skip
    """Scaled items (c, S...), each from its own level of noise; those as large as a tile together."""
    result = [item.clone() for item in items]
    alike: dict[float, list[int]] = {}
    for place, (item, level) in enumerate(zip(items, levels, strict=True)):
        if level > 0 and tuple(item.shape) == tile:
            alike.setdefault(level, []).append(place)
        elif level > 0:
            tiling = Tiling(tuple(item.shape[1:]), tile[1:], stride or max(min(tile[1:]) // 4, 1))
            for weight in weights:  # noise that is left in x is thought of as that much smaller
                told = tiling.through(result[place], _of_tiles(guess_at(level / math.sqrt(weight)), tile))
                result[place] = told if len(weights) == 1 else (item + weight * told) / (1 + weight)
    for level, places in alike.items():
        rows = guess_at(level)(torch.stack([items[place] for place in places]).flatten(1)).unflatten(1, tile)
        for place, row in zip(places, rows, strict=True):
            result[place] = row
    return result


def _of_tiles(guess: Guess, tile: tuple[int, ...]) -> Guess:
    """A guess for tiles (n, c, T...) that are not flattened."""
    return lambda tiles: guess(tiles.flatten(1)).unflatten(1, tile)


def noise_level(model: Any, X: Any) -> np.ndarray:
    """Standard deviation of the noise of each item, told from the item alone, (n,) float64, in its own unit.

    Images and series: ``isthmus.verbs.noise``, within about a tenth for strong noise. Vectors: what a linear model
    leaves of an item, less what it leaves of clean ones; a vector has no neighbours to tell noise from.

    Raises
    ------
    NotSupported : vectors of a model that is not linear, or that leaves nothing out; tables
    DataError, FormatError : items that cannot be read
    """
    require_able(model, "noise_level", prior=False)
    unit = unit_of(model)
    return np.array([_estimated(model, item, unit) for item in scenes_of(model, X, "noise_level").items])


# ---------------------------------------------------------------------------------------------- what is asked for


def _way(model: Any, how: str | None, prior: Prior | None) -> str:
    if how is not None and how not in HOW:
        raise SettingError(f"how={how!r}: expected one of {', '.join(map(repr, HOW))}, or None")
    require_able(model, "denoise", prior=False)
    require_prior(model, prior)
    way = how or ("projection" if model._corrupted_by is None else "reconstruction")
    if way == "projection" and prior is None and getattr(model, "prior_", None) is None:
        raise NotSupported(
            f"denoise needs a prior of codes, and this {type(model).__name__} has none; PCA, Autoencoder and VAE have "
            "one, or give a fitted one with prior="
        )
    return way


def require_prior(model: Any, prior: Any) -> None:
    """SettingError for a given prior that is none, or not of this model's codes."""
    if prior is not None and not (isinstance(prior, Prior) and hasattr(prior, "latent_dim_")):
        raise SettingError(f"prior={prior!r}: expected a fitted Prior; fit one to the codes of clean items")
    if prior is not None and prior.latent_dim_ != model.latent_dim_:
        raise SettingError(f"prior= is of {prior.latent_dim_} coordinates; the model's codes have {model.latent_dim_}")


def require_stride(model: Any, stride: int | None) -> None:
    """SettingError for tiles so far apart that something lies between them."""
    side = min(model.format_.spec.shape[1:], default=1)
    if stride is not None and stride > side and model.format_.spec.kind != "vector":
        raise SettingError(f"stride={stride}: expected at most {side}, the side of a tile, or tiles leave gaps")


def _require_whole(**settings: int | None) -> None:
    for name, value in settings.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1):
            raise SettingError(f"{name}={value!r}: expected a whole number from 1")


def checked_noise(model: Any, noise: Any) -> float:
    """SettingError for what is no deviation, or one of another unit."""
    if isinstance(noise, bool) or not isinstance(noise, (Real, np.number)) or not 0 <= float(noise) < math.inf:
        raise SettingError(f"noise={noise!r}: expected a standard deviation from 0, in the unit of the items")
    noise = float(noise)
    if model.format_.spec.kind != "image":
        return noise
    form, reach = model.format_, float(unit_of(model).flatten()[0])
    if noise > reach:
        raise SettingError(
            f"noise={noise:g} is more than there is from black to white: the model learned pixels in "
            f"[{form.low_:g}, {form.high_:g}], and noise has their unit. {noise:g} of 255 levels would be "
            f"{noise / 255 * reach:.3g} there"
        )
    if 0 < noise < 0.5 and reach >= 255:
        warn(
            f"noise={noise:g} is below half a grey level: noise has the unit of the pixels, which run from "
            f"{form.low_:g} to {form.high_:g}; if it was meant for pixels in [0, 1], give noise={noise * reach:g}"
        )
    return noise


def _require_large(items: list[Tensor], tile: tuple[int, ...]) -> None:
    for place, item in enumerate(items):
        if any(side < least for side, least in zip(item.shape[1:], tile[1:], strict=True)):
            given, wanted = (" x ".join(map(str, sides)) for sides in (item.shape[1:], tile[1:]))
            raise DataError(
                f"item {place} is of {given}, smaller than the {wanted} that the model learned: give larger items, or "
                "a model of smaller ones"
            )


def _compare_with_learned(model: Any, levels: list[float], unit: Tensor) -> None:
    kind, learned = model._corrupted_by or (None, 0.0)
    if kind != "gaussian":
        return
    own = float((learned * unit).mean())
    far = [place for place, level in enumerate(levels) if not 0.5 <= level / own <= 2]
    if far:
        warn(
            f"the model learned to take away noise of {own:.4g}, and item {far[0]} has {levels[far[0]]:.4g} "
            f"({len(far)} of {len(levels)} are as far off): fit one with corruption=('gaussian', "
            f"{levels[far[0]] / float(unit.mean()):.3g}), or give how='projection'"
        )


def unit_of(model: Any) -> Tensor:
    """What one of the scaled view is in the unit of the items, of each element, float64."""
    ones = torch.ones(1, *model.format_.spec.shape)
    return (model.format_.unscale(ones).double() - model.format_.unscale(torch.zeros_like(ones)).double())[0]


def _weights(rounds: int) -> list[float]:
    return [1.0, *(4.0 * 2**i for i in range(rounds - 1))]


def _again(model: Any, rows: Tensor) -> Tensor:
    """Flattened rows (B, D) encoded and decoded."""
    means: Tensor = model._mean(model._encode(rows.unflatten(1, model.format_.spec.shape)).float())
    return means.flatten(1)


def _estimated(model: Any, item: Tensor, unit: Tensor) -> float:
    """The level of noise of one scaled item, in its own unit, in steps of 2 %, so that like levels are taken as one."""
    line = model._linear_decoder()
    white = float(unit.max() - unit.min()) <= 1e-6 * float(unit.max())
    out = unit.numel() - len(line[1]) if line is not None and item.shape == unit.shape and white else 0
    if line is not None and out >= (LEFT_OUT if item.ndim > 1 else 1):
        mean, lines = (part.double() for part in line)
        apart = item.flatten().double() - mean
        missed = apart - torch.linalg.lstsq(lines.T, apart[:, None]).solution[:, 0] @ lines
        variance = float(missed.square().sum()) / out - model._residual_variance()
        return stepped(math.sqrt(max(variance, 0.0)) * float(unit.flatten()[0]))
    if item.ndim > 1:  # channels of a series have units of their own; noise is one number in the items' unit
        return noise_of_grid((item.double() * unit.flatten(1)[:, 0].reshape(-1, *[1] * (item.ndim - 1))).numpy())
    raise NotSupported(
        "the noise of vectors is told from what a linear model leaves out of them, alike in all columns: give "
        "noise=, or a PCA of fewer components than columns"
    )
