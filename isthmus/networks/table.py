"""Encoders and decoders of tables: rows of numbers and choices, with holes.

Gorishniy, Rubachev & Babenko 2022, "On embeddings for numerical features in tabular deep learning": a number is seen
through bins, how far it reaches into each of eight that hold as many rows (eq. 1), so that a network can bend at every
quantile, and an outlier cannot shout. A choice is a row of an embedding, and a hole is a level of its own.

Straight lines run beside the blocks, both ways. They begin as a PCA (``begin``), so that training starts where the
closed form ends, and takes fewer steps to get further (figures in dev/LOG.md).

Axis letters: B rows, E elements, N numbers, P bins of all numbers, H units, T parameters of the likelihood, L levels
of all choices, a hole of each included, K latents, k <= K those that a PCA has.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from isthmus.formats.base import Column

__all__ = ["TableDecoder", "TableEncoder", "hidden"]

WHOLE = 0.5  # share of the rows that are seen whole while training
MOST_HIDDEN = 0.6  # share of the columns of the other rows that is hidden at most
FARTHEST = 8.0  # deviations: beyond, a number is seen as if it were there


class TableEncoder(nn.Module):
    """(B, E), NaN where a value is missing, to (B, outputs).

    The first layer is one product for all numbers and one sum of embeddings for all choices; ``blocks`` residual blocks
    of two layers follow. ``width`` 0 is one linear layer of the same features. With ``line`` such a layer is added.
    """

    _numbers: Tensor
    _choices: Tensor
    _levels: Tensor
    _starts: Tensor
    _of_bin: Tensor
    _low: Tensor
    _reach: Tensor

    def __init__(self, columns: tuple[Column, ...], width: int, blocks: int, outputs: int, line: bool = False) -> None:
        super().__init__()
        self.width, self.line = width, line and width > 0
        numbers = [e for e, column in enumerate(columns) if not column.levels]
        choices = [e for e, column in enumerate(columns) if column.levels]
        bins = [(n, *pair) for n, e in enumerate(numbers) for pair in pairwise(columns[e].edges)]
        levels = [columns[e].levels or 0 for e in choices]
        first = width + outputs * (self.line or not width)
        self.features = nn.Linear(max(len(bins) + 2 * len(numbers), 1), first)  # a table may be choices alone
        self.choices = _Embeddings(max(sum(levels) + len(levels), 1), first, mode="sum")
        if not self.choices.weight.is_meta:
            nn.init.normal_(self.choices.weight, std=0.5 / max(len(choices), 1) ** 0.5)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks if width else 0))
        self.last = nn.Linear(width, outputs) if width else nn.Identity()
        starts = [sum(levels[:place]) + place for place in range(len(levels))]
        for name, values in (("_numbers", numbers), ("_choices", choices), ("_levels", levels), ("_starts", starts),
                             ("_of_bin", [n for n, _, _ in bins])):  # fmt: skip
            self.register_buffer(name, torch.tensor(values, dtype=torch.int64, device="cpu"), persistent=False)
        self.register_buffer("_low", torch.tensor([low for _, low, _ in bins], device="cpu"), persistent=False)
        reach = torch.tensor([high - low for _, low, high in bins], device="cpu")
        self.register_buffer("_reach", reach, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        value = x.index_select(1, self._numbers)
        there = ~value.isnan()
        value = torch.where(there, value, 0.0)
        reached = ((value.index_select(1, self._of_bin) - self._low) / self._reach).clamp(0, 1)
        reached = reached * there.index_select(1, self._of_bin)
        seen = torch.cat([reached, value.clamp(-FARTHEST, FARTHEST), there.to(value.dtype)], dim=1)
        h = self.features(seen if seen.shape[1] else x.new_zeros(len(x), 1))
        if len(self._choices):
            code = x.index_select(1, self._choices)
            code = torch.where(code.isnan(), self._levels, code).long() + self._starts  # the last level is the hole
            h = h + self.choices(code)
        beside = h[:, self.width :]
        if not self.width:
            return beside
        h = h[:, : self.width]
        for block in self.blocks:
            h = block(h)
        return self.last(h) + beside if self.line else self.last(h)

    @torch.no_grad()
    def begin(self, numbers: Tensor, choices: Tensor, offset: Tensor) -> None:
        """The line gives these codes, and the blocks begin at nothing where there is a line.

        numbers (E, k), what a number counts; choices (L, k), of each level; offset (E, k), of a number that is there.
        Outputs beyond k, of which nothing is told, are begun as they were drawn.
        """
        k, bins = numbers.shape[1], len(self._of_bin)
        of = slice(self.width, self.width + k)
        begun = slice(self.width, None) if self.line else of
        self.features.weight[begun], self.features.bias[begun] = 0, 0
        if len(self._numbers):
            of_numbers = numbers[self._numbers], offset[self._numbers]
            self.features.weight[of, bins:] = torch.cat(of_numbers).T.to(self.features.weight)
        if len(self._choices):
            self.choices.weight[:, begun] = 0
            self.choices.weight[:, of] = choices.to(self.choices.weight)
        if isinstance(self.last, nn.Linear):
            self.last.weight[:k], self.last.bias[:k] = 0, 0


class _Embeddings(nn.EmbeddingBag):
    def reset_parameters(self) -> None:
        """Nothing is drawn where a file's weights are to come: without memory PyTorch does it by its compiler, whose
        import takes a second."""
        if not self.weight.is_meta:
            super().reset_parameters()


class TableDecoder(nn.Module):
    """(B, inputs) to the parameters of the columns' likelihoods, (B, 1, T); with ``line`` a straight line is added."""

    def __init__(self, inputs: int, width: int, blocks: int, outputs: int, line: bool = False) -> None:
        super().__init__()
        self.width, self.line = width, line and width > 0
        self.first = nn.Linear(inputs, width) if width else nn.Identity()
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks if width else 0))
        self.last = nn.Linear(width + inputs * (self.line or not width), outputs)

    def forward(self, z: Tensor) -> Tensor:
        h = self.first(z)
        for block in self.blocks:
            h = block(h)
        if self.line:
            h = torch.cat([h, z.to(h.dtype)], dim=1)
        return self.last(h).unsqueeze(1)

    @torch.no_grad()
    def begin(self, lines: Tensor, offset: Tensor) -> None:
        """The line gives these parameters, lines (T, k) and offset (T,), and the blocks begin at nothing."""
        self.last.weight.zero_()
        self.last.weight[:, self.width : self.width + lines.shape[1]] = lines.to(self.last.weight)
        self.last.bias.copy_(offset)


class _Block(nn.Module):
    """h + W silu(W silu(h)), (B, H) to (B, H)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.two.weight)  # begins as the identity
        nn.init.zeros_(self.two.bias)
        self.act = nn.SiLU()

    def forward(self, h: Tensor) -> Tensor:
        return h + self.two(self.act(self.one(self.act(h))))


def hidden(x: Tensor, owner: Tensor, columns: int, generator: torch.Generator, share: float | None = None) -> Tensor:
    """Rows (B, E) with whole columns hidden, as NaN: what a network learns to fill.

    Half of the rows are left as they are; of each of the others, a share drawn from 0 to 0.6 is hidden. A ``share``
    that is given is that of every row. ``owner`` (E,) int64 says which of the ``columns`` an element
    belongs to.
    """
    drawn = torch.rand(len(x), columns + 2, generator=generator, device=x.device)
    if share is None:
        shares = MOST_HIDDEN * drawn[:, :1] * (drawn[:, 1:2] > WHOLE)
    else:
        shares = torch.full_like(drawn[:, :1], share)
    return x.masked_fill((drawn[:, 2:] < shares)[:, owner], torch.nan)
