"""The best guess of items that were seen through noise, and maybe through a line that leaves things out.

An embedding tells how an item comes about: a code z from its prior, the decoder's mean g(z), and around it, in the
directions that the decoder does not reach, a residual of variance v. What is seen is y = A x + n, with n normal.

- Where g is a line and the prior is made of normals, y is a mixture of normals too, and E[x | y] is closed: for one
  normal Wiener's filter, for a mixture the mean of one filter for each component, weighed by how likely it made y
  (Zoran & Weiss 2011, "From learning models of natural image patches to whole image restoration"; Yu, Sapiro & Mallat
  2012).
- Otherwise the code that makes log p(y | z) + log p(z) greatest is climbed to from the encoder's (Bora et al. 2017,
  "Compressed sensing using generative models"), and of what the decoder misses v / (v + noise variance) is kept.

Shapes: B rows; D elements of an item, d of what is seen; K coordinates of a code; C components of the prior.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.priors import Prior
from isthmus.verbs.generate import components

__all__ = ["STEPS", "guesser"]

STEPS = 100  # of the climb; by then the objective of VAEs of digits changes by less than a thousandth
RATE = 0.1  # its first steps, in deviations of the prior, falling to 0 along half a wave of a cosine
LIKELY = 4  # components whose filters are averaged for a row, the likeliest ones

Guess = Callable[[Tensor], Tensor]


def guesser(
    model: Any, prior: Prior, noise: Tensor, *, operator: Tensor | None = None, start: Guess | None = None,
    steps: int = STEPS,
) -> Guess:  # fmt: skip
    """What turns rows that were seen, scaled (n, d), into guesses of the items, scaled (n, D).

    Parameters
    ----------
    model : a fitted embedding
    prior : of its codes
    noise : (d,) standard deviations in the scaled view, above 0
    operator : A, (d, D); None: what is seen is the item
    start : with an operator: from what is seen to a first guess of the items, for the encoder
    steps : of the climb
    """
    line = model._linear_decoder()
    left = model._residual_variance()
    if line is None:
        return _climb(model, prior, noise, left, operator, start, steps)
    mean, directions = (part.double().numpy() for part in line)
    deviation = noise.double().numpy()
    if operator is None and np.ptp(deviation) <= 1e-6 * deviation.max():
        return _in_codes(model, prior, mean, directions, left, float(deviation.mean()))
    line_of = np.eye(len(mean)) if operator is None else operator.double().numpy()
    return _in_items(prior, mean, directions, left, deviation, line_of)


def _in_codes(
    model: Any, prior: Prior, mean: np.ndarray, directions: np.ndarray, left: float, deviation: float
) -> Guess:
    """White noise: the directions apart from the decoder's are filtered alike, and the rest is done among codes."""
    weights, means, factors = components(prior)
    back = np.linalg.inv(directions @ directions.T)
    into = directions.T @ back  # (D, K): the code of an item
    white, offsets, gains, logs = [], [], [], []
    for weight, centre, factor in zip(weights, means, factors, strict=True):
        covariance = factor @ factor.T
        seen = np.linalg.cholesky(covariance + deviation**2 * back)
        inverse = np.linalg.inv(seen)
        white.append(inverse.T)
        offsets.append(inverse @ centre)
        gains.append(covariance @ inverse.T @ inverse)
        logs.append(np.log(weight) - np.log(np.diag(seen)).sum())
    whiten, gain = _float32(np.concatenate(white, axis=1)), _float32(np.stack(gains))  # (K, C K), (C, K, K)
    offset, log_weights = _float32(np.concatenate(offsets)), _float32(np.array(logs))
    centres, to_code = _float32(means), _float32(into)
    middle, lines = _float32(mean), _float32(directions)
    kept, likely = left / (left + deviation**2), min(LIKELY, len(weights))

    def guess(seen: Tensor) -> Tensor:
        apart = seen - middle
        codes = apart @ to_code
        far = (codes @ whiten).sub_(offset).unflatten(1, (len(centres), -1))
        best = (log_weights - 0.5 * far.square_().sum(2)).topk(likely, dim=1)
        z = torch.zeros_like(codes)
        for share, which in zip(best.values.softmax(1).unbind(1), best.indices.unbind(1), strict=True):
            beside = (codes - centres[which])[:, :, None]
            z += share[:, None] * (centres[which] + torch.bmm(gain[which], beside)[:, :, 0])
        return middle + z @ lines + kept * (apart - codes @ lines)

    return lambda rows: model._in_blocks(guess, rows)


def _in_items(
    prior: Prior, mean: np.ndarray, directions: np.ndarray, left: float, deviation: np.ndarray, operator: np.ndarray
) -> Guess:
    """Any noise and any line: one filter for each component, from what is seen to the item, in float64."""
    weights, means, factors = components(prior)
    projection = directions.T @ np.linalg.solve(directions @ directions.T, directions)
    residual = left * (np.eye(len(mean)) - projection)

    def guess(rows: Tensor) -> Tensor:
        seen = rows.double().numpy()
        logs, guesses = np.empty((len(weights), len(seen))), np.zeros((len(seen), len(mean)))
        solved = []
        for c, (weight, centre, factor) in enumerate(zip(weights, means, factors, strict=True)):
            across = directions.T @ factor
            covariance = across @ across.T + residual
            crossed = covariance @ operator.T  # (D, d)
            total = operator @ crossed + np.diag(deviation**2)
            lower = np.linalg.cholesky(total)
            middle = mean + centre @ directions
            white = np.linalg.solve(lower, (seen - middle @ operator.T).T)  # (d, n)
            logs[c] = math.log(weight) - np.log(np.diag(lower)).sum() - 0.5 * np.square(white).sum(0)
            solved.append((middle, crossed, lower, white))
        shares = np.exp(logs - logs.max(0))
        shares /= shares.sum(0)
        for share, (middle, crossed, lower, white) in zip(shares, solved, strict=True):
            guesses += share[:, None] * (middle + (crossed @ np.linalg.solve(lower.T, white)).T)
        return torch.from_numpy(guesses).float()

    return guess


def _climb(
    model: Any, prior: Prior, noise: Tensor, left: float, operator: Tensor | None, start: Guess | None, steps: int
) -> Guess:
    """Up log p(y | z) + log p(z), row by row, by Adam; the best code on the way is kept."""
    shape = model.format_.spec.shape
    device = model._device
    density, spread = _density(prior, device)
    noise, variance = noise.to(device), (noise.to(device).square() + left)
    line = None if operator is None else operator.to(device)
    # What the residual takes of what is missed: with a line, as much of it as there is, for nothing else explains it.
    share = left / variance
    back = None
    if operator is not None:
        wide = operator.double()
        ridge = torch.diag(noise.double().cpu().square() / max(left, 1.0))
        back = torch.linalg.solve(wide @ wide.T + ridge, wide).T.float().to(device)  # (D, d)

    def seen_of(z: Tensor) -> tuple[Tensor, Tensor]:
        item = model.likelihood_.mean(model._decode(z)).flatten(1)
        return item, item if line is None else item @ line.T

    def cost(z: Tensor, y: Tensor) -> Tensor:
        return ((y - seen_of(z)[1]).square() / (2 * variance)).sum(1) - density(z)

    def guess(block: Tensor) -> Tensor:
        with torch.inference_mode(False):
            y = block.clone()
            with torch.no_grad():
                first = y if start is None else start(y)
                begin = model._encode(first.unflatten(1, shape)).float()
            moved = torch.zeros_like(begin, requires_grad=True)
            climb = torch.optim.Adam([moved], lr=RATE)
            least, best = torch.full((len(y),), math.inf, device=y.device), begin
            for step in range(steps + 1):
                z = begin + spread * moved
                costs = cost(z, y)
                better = costs.detach() < least
                least = torch.where(better, costs.detach(), least)
                best = torch.where(better[:, None], z.detach(), best)
                (moved.grad,) = torch.autograd.grad(costs.sum(), moved)
                climb.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / max(steps, 1)))
                climb.step()
            with torch.no_grad():
                item, again = seen_of(best)
                missed = y - again
                return item + (share * missed if back is None else missed @ back.T)

    return lambda rows: model._in_blocks(guess, rows)


def _density(prior: Prior, device: torch.device) -> tuple[Guess, Tensor]:
    """log p(z) of rows (B, K), up to a constant, with a gradient; and the deviations (K,) of the prior."""
    weights, means, factors = components(prior)
    inverse = _float32(np.linalg.inv(factors)).to(device)
    logs = np.log(weights) - np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
    log_weights, centres = _float32(logs).to(device), _float32(means).to(device)
    centre = weights @ means
    variances = weights @ (np.square(factors).sum(2) + np.square(means - centre))

    def density(z: Tensor) -> Tensor:
        white = torch.einsum("cij,bcj->bci", inverse, z[:, None] - centres)
        return (log_weights - 0.5 * white.square().sum(2)).logsumexp(1)

    return density, _float32(np.sqrt(variances)).to(device)


def _float32(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
