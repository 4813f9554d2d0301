"""What labels add to a training: a loss on the items that have one, and agreement on those that have none.

Items without a label join in by FixMatch (Sohn et al. 2020): where the class that is told of an item is sure, it is the
label of a changed view of the same item (pseudo-labels: Lee 2013). Views are changed as the form of the items allows:
images and series are moved by some steps, and a block of them is covered (cutout, DeVries & Taylor 2017); of vectors
some elements are covered; of tables some columns are hidden.

Shapes: n items; B items of a batch; D... the axes of an item; K latents; C classes; m items with a label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus.formats.base import Format
from isthmus.formats.labels import Target
from isthmus.formats.rows import Rows
from isthmus.networks.heads import Heads
from isthmus.training.engine import Moment

__all__ = ["Supervision", "jittered"]

SURE = 0.95  # chance from which a told class counts as a label (Sohn et al. 2020)
COVERED = 0.5  # most of a side, or of the elements, that is covered
WATCHED = 50  # labels of held-out items from which on they are watched alone; fewer are worth more to learn from
PIECE = 1_000  # held-out items that are looked at together


class Supervision:
    """The loss of labels, in the unit in which guessing by the shares of the classes costs ``weight``.

    Parameters
    ----------
    targets : what is to be told; each costs as much as any other
    values : for each target (n,): places of classes, -1 for none; or numbers of deviation 1, NaN for none
    stored : (n, D...) all items
    format : their fitted format
    code : a scaled batch and the moment to codes (B, K), as in training
    plain : a scaled batch to codes (B, K), as they are when training is over
    heads : what tells the targets from codes
    held_out : (h,) items that training does not see
    weight : of the whole
    shifts : moves of images and series, each way, that change no label
    device : where to compute
    """

    def __init__(
        self,
        targets: Sequence[Target],
        values: Sequence[np.ndarray],
        stored: Tensor | Rows,
        format: Format,
        code: Callable[[Tensor, Moment], Tensor],
        plain: Callable[[Tensor], Tensor],
        heads: Heads,
        *,
        held_out: Tensor,
        weight: float,
        shifts: int,
        device: torch.device,
    ) -> None:
        there = [
            v >= 0 if target.classes is not None else ~np.isnan(v) for target, v in zip(targets, values, strict=True)
        ]
        labelled = np.logical_or.reduce(there)
        watched = np.intersect1d(np.flatnonzero(labelled), held_out.numpy())
        enough = len(watched) >= WATCHED and labelled.sum() > 2 * len(watched)
        self.watched = watched if enough else watched[:0]
        learned = labelled.copy()
        learned[self.watched] = False
        self.rows = torch.from_numpy(np.flatnonzero(learned))
        few = 2 * len(self.rows) < len(stored)
        self._pool = stored[self.rows].to(device) if few else stored  # else the items that are there anyway
        self._places = torch.arange(len(self.rows), device=device) if few else self.rows
        self._values = [torch.from_numpy(v[self.rows.numpy()]).to(device) for v in values]
        judged = self.watched if len(self.watched) else self.rows[:: -(-len(self.rows) // PIECE)].numpy()
        self._seen = stored[torch.from_numpy(judged)]
        self._told = [torch.from_numpy(v[judged]) for v in values]
        self._open = [target.classes is not None and not t.all() for target, t in zip(targets, there, strict=True)]
        self._scales = [_guessing(target, v) for target, v in zip(targets, values, strict=True)]
        self.targets, self.format, self.code, self.plain, self.heads = list(targets), format, code, plain, heads
        self.weight, self.shifts, self.device = weight, shifts, device

    def loss(self, x: Tensor, moment: Moment) -> Tensor:
        """() of a scaled batch of any items, and of as many with labels, drawn anew."""
        drawn = torch.randint(len(self.rows), (len(x),), generator=moment.generator, device=moment.generator.device)
        places = self._places[drawn.to(self._places.device)]
        labelled = self.format.scale(self._pool[places].to(self.device))
        views = self._moved(labelled, moment)
        before: tuple[Tensor, ...] = ()
        if any(self._open):
            with torch.no_grad():
                before = self.heads(self.plain(x))
            changed = self._covered(self._moved(x, moment), moment)
            views = torch.cat([views, changed])
        told = self.heads(self.code(views, moment))
        total = torch.zeros((), device=self.device)
        for t, target in enumerate(self.targets):
            total = total + _costs(target, told[t][: len(x)], self._values[t][drawn]) / self._scales[t]
            if self._open[t]:
                chance, pseudo = before[t].softmax(1).max(1)
                costs = F.cross_entropy(told[t][len(x) :], pseudo, reduction="none")
                total = total + (costs * (chance >= SURE)).mean() / self._scales[t]
        return self.weight * total

    def held_out(self) -> float:
        """The loss of the labels of held-out items; where there are too few of them, of some that are learned from."""
        total = 0.0
        for start in range(0, len(self._seen), PIECE):
            rows = slice(start, start + PIECE)
            told = self.heads(self.plain(self.format.scale(self._seen[rows].to(self.device))))
            for t, target in enumerate(self.targets):
                values = self._told[t][rows].to(self.device)
                total += float(_costs(target, told[t], values)) / self._scales[t] * len(values) / len(self._seen)
        return self.weight * total

    def _moved(self, x: Tensor, moment: Moment) -> Tensor:
        sides = len(self.format.spec.shape) - 1 if self.shifts else 0
        return jittered(x, sides, self.shifts, moment.generator) if sides else x

    def _covered(self, x: Tensor, moment: Moment) -> Tensor:
        """Items with a part that is not seen. Columns of tables are hidden where codes are made."""
        kind, generator = self.format.spec.kind, moment.generator
        if self.format.spec.columns:
            return x
        if kind not in ("image", "series"):
            share = COVERED * torch.rand((len(x), 1), generator=generator, device=x.device)
            return x * (torch.rand(x.flatten(1).shape, generator=generator, device=x.device) >= share).view_as(x)
        covered = torch.ones((len(x), *[1] * (x.ndim - 1)), dtype=torch.bool, device=x.device)
        for axis in range(2, x.ndim):
            side = x.shape[axis]
            drawn = torch.rand((2, len(x), 1), generator=generator, device=x.device)
            length = COVERED * drawn[0] * side
            begin = drawn[1] * side - length / 2
            at = torch.arange(side, device=x.device)
            shape = [len(x)] + [1] * (x.ndim - 1)
            shape[axis] = side
            covered = covered & ((at >= begin) & (at < begin + length)).view(shape)
        mean = x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)
        return torch.where(covered, mean, x)


def _costs(target: Target, told: Tensor, values: Tensor) -> Tensor:
    """() mean cost of the items of which the target is known; 0 where of none."""
    if target.classes is not None:
        known = values >= 0
        costs = F.cross_entropy(told, values.clamp_min(0), reduction="none")
    else:
        known = ~values.isnan()
        costs = (told[:, 0] - torch.nan_to_num(values)).square()
    return (costs * known).sum() / known.sum().clamp_min(1)


def _guessing(target: Target, values: np.ndarray) -> float:
    """What guessing without looking costs: the entropy of the shares in nats, or the variance, which is 1."""
    if target.classes is None:
        return 1.0
    shares = np.bincount(values[values >= 0], minlength=len(target.classes)) / (values >= 0).sum()
    return float(-(shares * np.log(np.maximum(shares, 1e-300))).sum())


def jittered(items: Tensor, sides: int, shifts: int, generator: torch.Generator) -> Tensor:
    """Each item (B, c, sides...) moved by a draw of its own along each side; what comes in repeats the edge."""
    for axis in range(items.ndim - sides, items.ndim):
        length = items.shape[axis]
        steps = torch.randint(-shifts, shifts + 1, (len(items), 1), generator=generator, device=items.device)
        places = (torch.arange(length, device=items.device) - steps).clamp(0, length - 1)
        shape = [len(items)] + [1] * (items.ndim - 1)
        shape[axis] = length
        items = torch.take_along_dim(items, places.view(shape), dim=axis)
    return items
