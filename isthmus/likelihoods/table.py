"""One likelihood for each column of a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.likelihoods.base import (
    LOG_2PI,
    Likelihood,
    choose,
    soft_clamp,
    whole_number,
    wide,
)

__all__ = ["Table"]


class Table(Likelihood):
    """One likelihood a column: a Gaussian for each number, a categorical for each choice. NaN in x is left out.

    x (B, E) are the elements of rows (``isthmus.formats.columns``): numbers of deviation one, and codes of levels. A
    decoder gives params (B, 1, T): the numbers' means, then the logits of the choices, those with up to 2 levels first,
    then up to 4, 8, ..., each in a field as wide as its group.

    No column drowns the others. With ``variance="unit"`` the loss of an element is its nll divided by what guessing
    from its shares costs (half a nat for a number, the entropy for a choice) and by the number of elements of its
    column, times the weight of the column: at the start a column costs its weight, whatever its scale and kind. Columns
    of numbers weigh one, columns of choices as much as they vary: the chance that two rows differ, which is the
    variance of their indicators, and ``LEAST`` at least.

    A number that is not there where its column holds one frequent value is learned as if it held it, in rows of which
    the encoder was shown that column: else a code might put those rows anywhere, and what is a line in the table would
    be none in the code. It weighs one; whether it is that value, which the number all but tells, ``BESIDE`` a nat.

    With ``variance="learned"`` the loss is the nll in nats, which a VAE's bound needs: the deviation of each number is
    learned, down to a twentieth of the column's, so that a column which is easy to predict cannot outweigh the others.
    It is learned from cells that the encoder was shown: a hidden one lies as far from what is said of it as the other
    cells leave open, which says nothing of how finely a code tells a row. Hidden numbers are learned with deviation
    one, as under "unit".

    Parameters
    ----------
    levels : of each element, 0 for a number
    owner : the column of each element, from 0
    nats : what guessing each element costs
    variance : "unit" or "learned"
    weights : of each column; None for one each
    spikes : of each element, where the frequent value lies of a number that is not there for it, which level 1 of the
        next element tells; None for others, and None where there is none

    Raises SettingError for lists that do not go together.
    """

    word = "table"
    discrete = False
    n_params = 1
    LOWEST = 2 * math.log(0.05)  # of a learned log-variance
    LEAST = 0.1  # weight of a column: rare levels are not forgotten
    BESIDE = 0.3  # weight of a nat of whether a number is its column's frequent value
    doubt: Tensor
    noise: Tensor
    columns: Tensor
    _weights: Tensor
    _numbers: Tensor
    _spiked: Tensor
    _spikes: Tensor

    def __init__(
        self,
        levels: Sequence[int],
        owner: Sequence[int],
        nats: Sequence[float],
        variance: str = "unit",
        weights: Sequence[float] | None = None,
        spikes: Sequence[float | None] | None = None,
    ) -> None:
        super().__init__()
        if variance not in ("unit", "learned"):
            raise SettingError(f'variance={variance!r}: a table takes "unit" or "learned"')
        self.levels = [whole_number("levels", count, 0, 4096) for count in levels]
        self.owner = [whole_number("owner", column, 0, len(self.levels)) for column in owner]
        self.nats, self.variance = [float(cost) for cost in nats], variance
        if not len(self.levels) == len(self.owner) == len(self.nats) or not all(c > 0 for c in self.nats):
            raise SettingError("levels, owner and nats of a table need one entry an element, nats above 0")
        self.n_columns = max(self.owner, default=-1) + 1
        self.weights = [1.0] * self.n_columns if weights is None else [float(weight) for weight in weights]
        if len(self.weights) != self.n_columns or not all(weight > 0 for weight in self.weights):
            raise SettingError("weights of a table need one entry a column, above 0")
        given = [None] * len(self.levels) if spikes is None else spikes
        self.spikes = [None if spike is None else float(spike) for spike in given]
        spiked = [e for e, spike in enumerate(self.spikes) if spike is not None]
        if len(self.spikes) != len(self.levels) or any(self.levels[e : e + 2] != [0, 2] for e in spiked):
            raise SettingError("spikes of a table need one entry an element, null but for numbers before a choice of 2")
        self.numbers = [e for e, count in enumerate(self.levels) if not count]
        groups: dict[int, list[int]] = {}
        for element, count in enumerate(self.levels):
            if count:
                groups.setdefault(max(1 << (count - 1).bit_length(), 2), []).append(element)
        self.groups = sorted(groups.items())  # width, elements
        self.size = len(self.numbers) + sum(width * len(elements) for width, elements in self.groups)
        sizes = Counter(self.owner)
        of_elements = [self.weights[c] / (cost * sizes[c]) for cost, c in zip(self.nats, self.owner, strict=True)]
        for e in spiked:
            weight = self.weights[self.owner[e]]
            of_elements[e : e + 2] = [weight / self.nats[e], weight * self.BESIDE]
        self.register_buffer(
            "doubt", torch.zeros(len(self.numbers))
        )  # variance about the means where cells were hidden
        self.register_buffer("noise", torch.zeros(len(self.numbers)))  # what of it draws of the codes leave over
        if variance == "learned":
            self.log_variance = nn.Parameter(torch.zeros(len(self.numbers)))
        # What follows is worked out from the settings, and is no part of a file.
        self.register_buffer("_weights", torch.tensor(of_elements), persistent=False)
        self.register_buffer("_numbers", torch.tensor(self.numbers, dtype=torch.int64), persistent=False)
        self.register_buffer("_spiked", torch.tensor(spiked, dtype=torch.int64), persistent=False)
        at = [spike for spike in self.spikes if spike is not None]
        self.register_buffer("_spikes", torch.tensor(at), persistent=False)
        self.register_buffer("columns", torch.tensor(self.owner, dtype=torch.int64), persistent=False)  # of elements
        for width, elements in self.groups:
            self.register_buffer(f"_at{width}", torch.tensor(elements), persistent=False)
            beyond = torch.arange(width) >= torch.tensor([self.levels[e] for e in elements])[:, None]
            self.register_buffer(f"_beyond{width}", beyond, persistent=False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *given: Any) -> None:
        """As every module, and from files that are older than ``noise``: then draws spread as they did."""
        if f"{prefix}doubt" in state_dict:
            state_dict.setdefault(f"{prefix}noise", state_dict[f"{prefix}doubt"].clone())
        super()._load_from_state_dict(state_dict, prefix, *given)

    @classmethod
    def of(cls, columns: Sequence[Any], variance: str = "unit") -> Table:
        """For the elements of a table's ``spec.columns``."""
        parts: dict[str, list[Any]] = {}
        for column in columns:
            parts.setdefault(column.name, []).append(column)
        place = {name: number for number, name in enumerate(parts)}
        weights = [cls.weight(some) for some in parts.values()]
        return cls(
            [column.levels or 0 for column in columns],
            [place[column.name] for column in columns],
            [column.nats for column in columns],
            variance,
            weights,
            [column.spike for column in columns],
        )

    @classmethod
    def weight(cls, parts: Sequence[Any]) -> float:
        """Of a column with these elements."""
        if not parts or any(not part.levels for part in parts):
            return 1.0
        differ = sum(1 - sum(share * share for share in part.shares) for part in parts) / len(parts)
        return max(differ, cls.LEAST)

    def outputs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1, self.size)

    def require(self, params: Tensor, x: Tensor | None = None) -> Tensor:
        if params.ndim != 3 or params.shape[1:] != (1, self.size) or (x is not None and len(x) != len(params)):
            raise SettingError(
                f"the decoder gave parameters of shape {tuple(params.shape)}, but this table needs (items, 1, "
                f"{self.size})"
            )
        return wide(params)

    def places(self) -> list[tuple[int, int]]:
        """Of each parameter of a row its element, and its level, -1 for a number's mean. Groups hold places for more
        levels than some of their choices have."""
        grouped = [(e, level) for width, elements in self.groups for e in elements for level in range(width)]
        return [(e, -1) for e in self.numbers] + grouped

    def parts(self, params: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Means of the numbers (B, N), and of each group of choices its elements (k,) and log-chances (B, k, width)."""
        flat = self.require(params)[:, 0]
        start, found = len(self.numbers), []
        for width, elements in self.groups:
            logits = flat[:, start : start + width * len(elements)].unflatten(1, (len(elements), width))
            logits = logits.masked_fill(getattr(self, f"_beyond{width}"), -torch.inf)
            found.append((getattr(self, f"_at{width}"), logits.log_softmax(2)))
            start += width * len(elements)
        return flat[:, : len(self.numbers)], found

    def chances(self, params: Tensor) -> dict[int, Tensor]:
        """Of each choice, by element: (B, levels)."""
        return {
            int(element): logs[:, place, : self.levels[int(element)]].exp()
            for elements, logs in self.parts(params)[1]
            for place, element in enumerate(elements.tolist())
        }

    def nll(self, params: Tensor, x: Tensor) -> Tensor:
        """-log p of each element in nats, (B, E); 0 where x is NaN."""
        return self._costs(params, x, LOG_2PI)

    def _costs(self, params: Tensor, x: Tensor, constant: float, hidden: Tensor | None = None) -> Tensor:
        means, choices = self.parts(self.require(params, x))
        out = torch.zeros(x.shape, device=x.device)
        if self.numbers:
            value, log_variance = x[:, self._numbers], self._log_variance()
            if hidden is not None:
                log_variance = torch.where(hidden[:, self._numbers], 0.0, log_variance)
            there = ~value.isnan()  # filled before anything is computed: a gradient through NaN would be NaN
            apart = (torch.where(there, value, means.detach()) - means) * torch.exp(-0.5 * log_variance)
            gaussian = 0.5 * (apart.square() + log_variance + constant)
            out = out.index_copy(1, self._numbers, gaussian * there)
        for elements, logs in choices:
            code = x[:, elements]
            known = ~code.isnan()
            picked = logs.gather(2, torch.where(known, code, 0.0).long().unsqueeze(2)).squeeze(2)
            out = out.index_copy(1, elements, -picked * known)
        return out

    def loss(self, params: Tensor, x: Tensor) -> Tensor:
        """(B,): nats with learned variances; else in columns of numbers: guessing one of them costs one."""
        if self.variance == "learned":
            return self.nll(params, x).sum(1)
        return self._weighed(params, x, x)

    def training_loss(self, params: Tensor, x: Tensor, seen: Tensor) -> Tensor:
        if self.variance == "learned":
            return self._costs(params, x, LOG_2PI, seen.isnan()).sum(1)
        return self._weighed(params, x, seen)

    def squared_error(self, params: Tensor, x: Tensor) -> Tensor:
        return self._weighed(params, x, x).clamp_min(1e-6)

    def _weighed(self, params: Tensor, x: Tensor, seen: Tensor) -> Tensor:
        """Loss in columns (B,), frequent values among the numbers where the encoder was shown them."""
        if len(self._spiked):
            at = seen[:, self._spiked + 1] == 1
            x = x.index_copy(1, self._spiked, torch.where(at, self._spikes, x[:, self._spiked]))
        return (self._costs(params, x, 0.0) * self._weights).sum(1)

    def variances(self) -> Tensor:
        """Of draws of the numbers about their means, (N,): learned, or ``doubt``; 0 before that."""
        return self._log_variance().exp() if self.variance == "learned" else self.doubt

    def of_hidden(self) -> Table:
        """The likelihood of cells that the encoder did not see, given a code drawn from what it makes of the others."""
        made = Table(self.levels, self.owner, self.nats)
        made.doubt.copy_(self.noise)
        return made

    def _log_variance(self) -> Tensor:
        if self.variance == "learned":
            return soft_clamp(self.log_variance.float(), self.LOWEST)
        return torch.zeros(len(self.numbers), device=self.doubt.device)

    def mean(self, params: Tensor) -> Tensor:
        """(B, E): means of the numbers, most probable codes of the choices (a mean code says nothing)."""
        means, choices = self.parts(params)
        out = torch.empty(len(means), len(self.levels), device=means.device)
        out[:, self._numbers] = means
        for elements, logs in choices:
            out[:, elements] = logs.argmax(2).to(out.dtype)
        return out

    def mode(self, params: Tensor) -> Tensor:
        return self.mean(params)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """(B, E): numbers with the learned variance, or the one that ``doubt`` holds; choices by their chances."""
        means, choices = self.parts(params)
        out = torch.empty(len(means), len(self.levels), device=means.device)
        spread = self.variances().sqrt()
        noise = torch.randn(means.shape, generator=generator, device=generator.device).to(means.device)
        out[:, self._numbers] = means + spread * noise
        for elements, logs in choices:
            out[:, elements] = choose(logs.transpose(1, 2), generator).to(out.dtype)
        return out

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """P(X <= x), (B, E); NaN where x is."""
        means, choices = self.parts(self.require(params, x))
        out = torch.full(x.shape, torch.nan, device=x.device)
        apart = (x[:, self._numbers] - means) * torch.exp(-0.5 * self._log_variance())
        out[:, self._numbers] = torch.special.ndtr(apart)
        for elements, logs in choices:
            code = x[:, elements]
            inside = torch.nan_to_num(code).floor().clamp(0, logs.shape[2] - 1).long().unsqueeze(2)
            below = logs.exp().cumsum(2).gather(2, inside).squeeze(2).clamp(max=1)
            out[:, elements] = torch.where(code < 0, 0.0, below).masked_fill(code.isnan(), torch.nan)
        return out

    def to_json(self) -> dict[str, Any]:
        made = {"word": self.word, "levels": self.levels, "owner": self.owner, "nats": self.nats,
                "variance": self.variance}  # fmt: skip
        if any(weight != 1 for weight in self.weights):  # files from before have neither
            made["weights"] = self.weights
        return made | {"spikes": self.spikes} if len(self._spiked) else made

    def extra_repr(self) -> str:
        choices = len(self.levels) - len(self.numbers)
        return f"{len(self.numbers)} numbers, {choices} choices, variance={self.variance!r}"
