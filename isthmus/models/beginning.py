"""Where the network of a table begins: at a PCA, by the straight lines beside its blocks.

What is drawn at random has first to find the directions along which rows differ, which the closed form knows. Lines
that begin there leave to training what is bent, and to codes of few numbers what straight lines can say of a row.

Shapes: n rows; B rows of a batch; E elements of a row; F numbers of the linear view; K latents, k <= K of them with a
component; T parameters of the likelihood; L levels of all choices, and a hole of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from isthmus.formats.base import Column
from isthmus.formats.layout import Lines
from isthmus.likelihoods import Table
from isthmus.networks.coder import Coder
from isthmus.networks.nested import Nested
from isthmus.networks.table import TableDecoder, TableEncoder

__all__ = ["Straight", "begin"]

LEAST = 1e-3  # share of a level, whose logarithm its logit begins at
EXACT = 1_000  # numbers of the linear view up to which the covariance is made; of more the leading directions are drawn


class Straight(nn.Module):
    """What a linear decoder leaves over of the columns, in the view of PCA: (B, K) codes and (B, E) rows to (B,).

    Squared errors of numbers and of the indicators of levels, weighed as PCA weighs them. Beside the loss of a network
    it keeps in the code, as straight lines, what straight lines can keep; it is left aside after training.

    Parameters
    ----------
    lines : (T, k) by which a parameter's number changes with each latent; offset : (T,)
    weights : (T,) of squared errors, 0 for parameters that are none of the view
    places : of each parameter its element, and its level, -1 for a number
    spikes : elements whose frequent value counts as a number, and where it lies
    latents : K
    """

    weights: Tensor
    element: Tensor
    level: Tensor

    def __init__(
        self,
        lines: Tensor,
        offset: Tensor,
        weights: Tensor,
        places: list[tuple[int, int]],
        spikes: list[tuple[int, float]],
        latents: int,
    ) -> None:
        super().__init__()
        self.decoder = nn.Linear(latents, len(lines))  # drawn where there is no component: from zero, none is learned
        with torch.no_grad():
            self.decoder.weight[:, : lines.shape[1]] = lines
            self.decoder.bias.copy_(offset)
        self.spikes = spikes
        element, level = zip(*places, strict=True)
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("element", torch.tensor(element), persistent=False)
        self.register_buffer("level", torch.tensor(level, dtype=torch.float32), persistent=False)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        if self.spikes:
            x = x.clone()
            for element, spike in self.spikes:
                x[:, element] = torch.where(x[:, element + 1] == 1, spike, x[:, element])
        value = x.index_select(1, self.element)
        there = ~value.isnan()
        target = torch.where(self.level < 0, torch.where(there, value, 0.0), (value == self.level).to(value.dtype))
        return ((self.decoder(z).float() - target).square() * (there * self.weights)).sum(1)


class _Components(NamedTuple):
    """A PCA of the linear view: mean (F,), deviations (k,), directions (F, k)."""

    mean: Tensor
    deviations: Tensor
    directions: Tensor


def begin(network: Coder, columns: Sequence[Column], lines: Lines, x: Tensor) -> Straight | None:
    """Set both lines of a table's network to a PCA of scaled rows x (n, E), with codes of deviation one, and the logits
    of choices to the logarithms of their shares.

    ``columns``: of the elements; ``lines``: the linear view. Gives the linear decoder; None where rows do not differ.
    """
    encoder = network.encoder
    decoder = network.decoder.decoder if isinstance(network.decoder, Nested) else network.decoder
    likelihood = network.likelihood
    assert isinstance(encoder, TableEncoder)
    assert isinstance(decoder, TableDecoder)
    assert isinstance(likelihood, Table)
    found = _components(lines.spread(x).double(), network.latent_dim)
    if not len(found.deviations):
        return None
    encoder.begin(*_of_codes(columns, lines, found))
    where = dict(zip(lines.kept, lines.starts.tolist(), strict=True))
    told = found.directions * found.deviations
    size, k = likelihood.size, len(found.deviations)
    straight, offset, weights, logits = torch.zeros(size, k), torch.zeros(size), torch.zeros(size), torch.zeros(size)
    places = likelihood.places()
    for place, (element, level) in enumerate(places):
        shares = columns[element].shares
        if level >= len(shares):
            continue  # the choices of a group are as wide as the widest
        if level >= 0:
            logits[place] = math.log(max(shares[level], LEAST))
        if element in where:
            line = where[element] + max(level, 0)
            scale = float(lines.scales[line])
            straight[place], weights[place] = told[line] / scale, scale**2
            offset[place] = found.mean[line] / scale + lines.shares[line]
    is_number = torch.tensor([level < 0 for _, level in places])
    decoder.begin(straight * is_number[:, None], torch.where(is_number, offset, logits))
    return Straight(straight, offset, weights, places, lines.spiked, network.latent_dim)


def _of_codes(columns: Sequence[Column], lines: Lines, found: _Components) -> tuple[Tensor, Tensor, Tensor]:
    """By how much codes change with a number (E, k), with a level (L, k), and with a number's being there (E, k)."""
    wide = found.directions / found.deviations
    scales, mean, shares = lines.scales.double()[:, None], found.mean[:, None], lines.shares.double()[:, None]
    numbers, there = torch.zeros(2, len(columns), wide.shape[1], dtype=torch.float64)
    levels = [(column.levels + 1) if column.levels else 0 for column in columns]
    choices = torch.zeros(sum(levels), wide.shape[1], dtype=torch.float64)
    spikes = dict(lines.spiked)
    for element, start in zip(lines.kept, lines.starts.tolist(), strict=True):
        if not levels[element]:
            numbers[element] = scales[start] * wide[start]
            there[element] = -mean[start] * wide[start]
            continue
        row, of = sum(levels[:element]), slice(start, start + levels[element] - 1)  # the hole's row stays empty
        nothing = ((shares * scales + mean)[of] * wide[of]).sum(0)
        choices[row : row + levels[element] - 1] = scales[of] * wide[of] - nothing
        if element - 1 in spikes:  # the number is not there, and counts as if it were
            choices[row + 1] += spikes[element - 1] * numbers[element - 1] + there[element - 1]
    return numbers, choices, there


def _components(lines: Tensor, most: int) -> _Components:
    """Of rows (n, F) float64, which are written over, NaN in holes, in whose place the mean is taken. On one thread:
    the bits of a product depend on how many there are."""
    mean = torch.nan_to_num(lines.nanmean(0))
    apart = lines.sub_(mean).nan_to_num_()
    allowed = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if len(mean) <= EXACT:
            variances, directions = torch.linalg.eigh(apart.T @ apart / max(len(lines), 1))
            variances, directions = variances.flip(0)[:most], directions.flip(1)[:, :most]
        else:
            _, singular, directions = torch.pca_lowrank(apart, min(most + 8, *apart.shape), center=False, niter=4)
            variances, directions = singular[:most].square() / len(lines), directions[:, :most]
    finally:
        torch.set_num_threads(allowed)
    real = variances > 1e-9 * max(float(variances.max()), 1e-9) if len(variances) else variances > 0
    return _Components(mean, variances[real].sqrt(), directions[:, real])
