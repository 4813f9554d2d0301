"""Items of more pixels or steps than were seen, with what a model knows of items of that size.

What is seen is y = A x: A is bicubic interpolation downwards with its kernel as wide as the factor (Keys 1981, a =
-1/2; what Pillow and MATLAB do, so that the fine detail does not fold into the coarse). An item that comes out as large
as those learned is the best guess given y (``isthmus.verbs.posterior``). A larger one is found in rounds of two steps
(half-quadratic splitting; with a denoiser for the second step, Venkatakrishnan, Bouman & Wohlberg 2013): the nearest x
with A x = y, and that x without what the model takes for noise, of which there is less from round to round.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import DataError, NotSupported, SettingError
from isthmus.priors import Prior
from isthmus.verbs.denoise import checked_noise, denoised, require_prior, require_stride, unit_of
from isthmus.verbs.generate import require_able
from isthmus.verbs.posterior import STEPS, Guess, guesser
from isthmus.verbs.scenes import scenes_of

__all__ = ["bicubic", "superresolve"]

LARGEST_FACTOR = 16
ROUNDS = 8
LESS = 1 / 8  # of the deviation that is thought to be wrong at first, what is left at last
EXACT = 1e-3  # deviation in the scaled view up to which A x is y: a quarter of a step of 8 bits


def superresolve(
    model: Any,
    X: Any,
    factor: int = 2,
    *,
    noise: float = 0.0,
    prior: Prior | None = None,
    stride: int | None = None,
    rounds: int = ROUNDS,
    steps: int = STEPS,
) -> Any:
    """Items ``factor`` times as fine, which brought down to the size of X are X.

    Parameters
    ----------
    model : a fitted embedding of images or series of the fine kind
    X : coarse items, in the forms that ``denoise`` takes; ``factor`` times their sides is at least what was learned
    factor : whole number from 2 to 16, for every side
    noise : standard deviation of the noise of X, white and normal, in its unit; default 0
    prior : a fitted Prior of codes. None: the model's own
    stride, rounds : of the tiles of items larger than those learned. None: a quarter of a tile's shorter side; 8
        rounds, in which what is thought to be wrong falls to an eighth
    steps : of the climb to the likeliest item, where there is no closed form

    Returns
    -------
    Items in the container, rank and dtype of X, with sides ``factor`` times as long; pixels within the learned range

    Raises
    ------
    NotSupported : a model of vectors or tables, without encoder, decoder or prior
    SettingError : a number out of range
    DataError, FormatError : items that come out smaller than those learned, of other channels, with holes

    Examples
    --------
    >>> import isthmus as im
    >>> X = im.datasets.digits()
    >>> im.superresolve(im.PCA(32).fit(X), X[:10, ::2, ::2], factor=2).shape
    (10, 8, 8)
    """
    require_able(model, "superresolve", prior=prior is None)
    form = model.format_
    if form.spec.kind not in ("image", "series"):
        raise NotSupported(f"superresolve is for images and series; this model learned a {form.spec.kind}")
    for name, value, most in (("factor", factor, LARGEST_FACTOR), ("rounds", rounds, 10**6), ("steps", steps, 10**6),
                              ("stride", 1 if stride is None else stride, 10**6)):  # fmt: skip
        least = 2 if name == "factor" else 1
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
            raise SettingError(f"{name}={value!r}: expected a whole number from {least} to {most}")
    require_prior(model, prior)
    require_stride(model, stride)
    noise = checked_noise(model, noise)
    scenes = scenes_of(model, X, "superresolve")
    tile = form.spec.shape
    for place, item in enumerate(scenes.items):
        sides = tuple(side * factor for side in item.shape[1:])
        if any(side < least for side, least in zip(sides, tile[1:], strict=True)):
            raise DataError(
                f"item {place} of {_by(item.shape[1:])} comes out as {_by(sides)}, smaller than the {_by(tile[1:])} "
                f"that the model learned: factor={factor} does not lead from it to such items. Give larger items, "
                "another factor, or a model of smaller ones"
            )
    own = prior or model.prior_
    deviation = noise / float(unit_of(model).mean())
    made: dict[float, Guess] = {}

    def guess_at(level: float) -> Guess:
        if level not in made:
            made[level] = guesser(model, own, torch.full((form.spec.size,), level), steps=steps)
        return made[level]

    whole = [place for place, item in enumerate(scenes.items)
             if tuple(side * factor for side in item.shape[1:]) == tile[1:]]  # fmt: skip
    result = dict.fromkeys(range(len(scenes.items)), torch.zeros(0))
    if whole:
        rows = torch.stack([scenes.items[place] for place in whole]).flatten(1)
        up, down = _line(tile, factor, _up), _line(tile, factor, _down)
        seen = torch.full((rows.shape[1],), math.hypot(deviation, EXACT))
        guess = guesser(model, own, seen, operator=down, start=lambda part: part @ up.T.to(part.device), steps=steps)
        result |= dict(zip(whole, guess(rows).unflatten(1, tile), strict=True))
    for place, item in enumerate(scenes.items):
        if place not in whole:
            result[place] = _in_rounds(item, factor, tile, guess_at, deviation, rounds, stride)
    return scenes.back([result[place] for place in range(len(scenes.items))])


def _in_rounds(
    seen: Tensor, factor: int, tile: tuple[int, ...], guess_at: Callable[[float], Guess], deviation: float,
    rounds: int, stride: int | None,
) -> Tensor:  # fmt: skip
    """One item (c, S...) larger than a tile."""
    downs = [_down(side * factor, factor) for side in seen.shape[1:]]
    spectra = [torch.linalg.eigh(down @ down.T) for down in downs]
    values = spectra[0][0]
    for spectrum in spectra[1:]:
        values = values[..., None] * spectrum[0]
    y = seen.double()

    def kept_to(x: Tensor, level: float) -> Tensor:
        """The x nearby whose A x is y, but for the noise: x + A' (A A' + ridge)^-1 (y - A x), side by side."""
        missed = _along(y - _along(x, downs), [vectors.T for _, vectors in spectra])
        missed = missed / (values + math.hypot(deviation, EXACT) ** 2 / level**2)
        return x + _along(_along(missed, [vectors for _, vectors in spectra]), [down.T for down in downs])

    x = _along(y, [_up(side * factor, factor) for side in seen.shape[1:]])
    # How wrong bicubic interpolation is, as far as the coarse item tells: what it loses on the way down and up again.
    coarse = [(side, max(side // factor, 1)) for side in y.shape[1:]]
    again = _along(y, [bicubic(few, side) @ bicubic(side, few) for side, few in coarse])
    first = float((y - again).square().mean().sqrt())
    if first <= EXACT:
        return kept_to(x, 1.0).float()
    for part in range(rounds):
        level = max(first * LESS ** (part / max(rounds - 1, 1)), EXACT)
        x = kept_to(x, level)
        (told,) = denoised([x.float()], [level], tile, guess_at, [1.0], stride)
        x = told.double()
    return kept_to(x, first * LESS).float()


def bicubic(given: int, wanted: int) -> Tensor:
    """The matrix (wanted, given) of bicubic interpolation, float64; downwards its kernel is as wide as the factor.

    Keys 1981, "Cubic convolution interpolation for digital image processing", a = -1/2. Rows sum to one; at the edges
    what lies beyond is left out, as Pillow does.
    """
    scale = max(given / wanted, 1.0)
    centres = (torch.arange(wanted, dtype=torch.float64) + 0.5) * given / wanted
    far = ((torch.arange(given, dtype=torch.float64) + 0.5)[None] - centres[:, None]).abs() / scale
    near = 1.5 * far**3 - 2.5 * far**2 + 1
    wide = -0.5 * far**3 + 2.5 * far**2 - 4 * far + 2
    weights = torch.where(far < 1, near, torch.where(far < 2, wide, 0.0))
    return weights / weights.sum(1, keepdim=True)


def _down(side: int, factor: int) -> Tensor:
    return bicubic(side, side // factor)


def _up(side: int, factor: int) -> Tensor:
    return bicubic(side // factor, side)


def _line(tile: tuple[int, ...], factor: int, of_side: Callable[[int, int], Tensor]) -> Tensor:
    """The matrix for whole flattened items (c, S...), float32."""
    matrix = torch.eye(tile[0], dtype=torch.float64)
    for side in tile[1:]:
        matrix = torch.kron(matrix, of_side(side, factor))
    return matrix.float()


def _along(x: Tensor, matrices: list[Tensor]) -> Tensor:
    """(c, S...) with one matrix for each side."""
    for axis, matrix in enumerate(matrices):
        x = torch.tensordot(x, matrix, dims=([axis + 1], [1])).movedim(-1, axis + 1)
    return x


def _by(sides: Any) -> str:
    return " x ".join(str(side) for side in sides)
