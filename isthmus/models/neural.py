"""The abstract embedding that is learned by gradient: building, training, ordering, and putting back together.

With labels it learns to tell them from the code: see ``isthmus.training.supervision``.

Shapes: n items; B items of a batch; D... the axes of an item; K latents; C classes.
"""

from __future__ import annotations

import copy
import math
import os
from abc import abstractmethod
from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from isthmus import priors
from isthmus.errors import SettingError, warn
from isthmus.formats.layout import Lines
from isthmus.formats.tables import TableFormat
from isthmus.likelihoods import Likelihood, Table, likelihood_of
from isthmus.metrics import knee
from isthmus.models.beginning import begin
from isthmus.models.conditional import conditional_of
from isthmus.models.embedding import require_switch, seed_from
from isthmus.models.telling import Telling, Told, digest_of
from isthmus.networks import network_for
from isthmus.networks.coder import Coder
from isthmus.networks.heads import Heads
from isthmus.networks.table import hidden
from isthmus.training.device import device_of, reproducible
from isthmus.training.engine import Moment
from isthmus.training.recipe import fit_network, split
from isthmus.training.supervision import Supervision

__all__ = ["Neural"]

DEFAULT_LATENTS = 16  # a map needs 2, a small picture some 10 to 30
MOST_LATENTS = 64  # where latent_dim="auto" begins
ASKED = 1_000  # rows, repeated where there are fewer, that are asked about hidden cells
HIDDEN = 0.2  # share of the cells that are hidden to see how well they are filled
ROWS = 3_000  # of a table, up to which it takes twice the steps: filling holes is a task of its own (dev/LOG.md)
CODES = 50_000  # of which the priors of classes are fitted, from all over the items
SOME = 5_000  # items from which a likelihood takes its first values
MOST_LINES = 2**22  # numbers of the linear view of the rows from which a table's lines begin: 32 MiB
LEAST_ROWS = 64  # of them, however wide
SIDE_OF_SHIFTS = 16  # the part of the shortest side by which items are moved, where shifts is None


class Neural(Telling):
    """What Autoencoder and VAE share. A child gives ``codes``, ``_loss``, ``_prior`` and ``_log_likelihood``."""

    codes: ClassVar[int]  # numbers that the encoder gives for each latent
    effort: ClassVar[float] = 1.0  # factor on the number of steps
    straightness: ClassVar[float] = 0.0  # weight of what a linear decoder of a table's codes leaves over, in training

    ordered: bool
    likelihood: Any
    network: Any
    size: str
    epochs: int | None
    batch_size: int | None
    rate: float | None
    budget: Any
    checkpoint: Any
    device: str
    verbose: bool | None
    supervision: float
    shifts: int | None

    @abstractmethod
    def _loss(self, x: Tensor, moment: Moment) -> Tensor:
        """Loss of each item of a scaled batch, (B,)."""

    @abstractmethod
    def _prior(self) -> priors.Prior:
        """The prior to fit to the codes after training."""

    def _require_settings(self) -> None:
        super()._require_settings()
        require_switch(ordered=self.ordered)
        if self.verbose is not None:
            require_switch(verbose=self.verbose)
        if self.checkpoint is not None and not isinstance(self.checkpoint, (str, os.PathLike)):
            raise SettingError(f"checkpoint={self.checkpoint!r}: expected the path of a file, or None")
        weight = self.supervision
        if not isinstance(weight, Real) or isinstance(weight, bool) or not 0 <= weight < math.inf:
            raise SettingError(f"supervision={weight!r}: expected a weight from 0, which leaves labels aside")
        if self.shifts is not None and (
            isinstance(self.shifts, bool) or not isinstance(self.shifts, (int, np.integer)) or self.shifts < 0
        ):
            raise SettingError(f"shifts={self.shifts!r}: expected a whole number of pixels or steps from 0, or None")

    def _chosen_likelihood(self) -> Likelihood:
        return likelihood_of(self.likelihood, self.format_)

    # ---- learning ----------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, *, auxiliary: Mapping[str, Any] | None = None) -> Self:
        """Learn from items, and with ``y`` from labels too.

        Without ``y`` nothing but the items is learned from. With it, straight lines from the code tell the labels, and
        what they cost is added to the loss: the code keeps what tells the classes apart. Items without a label join in
        by pseudo-labels (see ``isthmus.training.supervision``). A pipeline that passes ``y`` on switches this on too;
        ``supervision=0`` leaves ``y`` aside.

        Parameters
        ----------
        X : array (n, d), images, series, tables or a folder of pictures: whatever ``format_of`` knows. At least one
        y : (n,) labels: text, whole numbers or bools are classes, numbers with fractions are numbers. Missing are -1
            among whole numbers, NaN, None and ""; None, the default: no labels
        auxiliary : other attributes to tell from the code, by name, each (n,): floats are numbers, all else classes;
            missing as in ``y``

        Returns
        -------
        self. An earlier fit is forgotten, unless this one fails: then it is as if it had not been tried. Neither X nor
        the settings nor any global random state is changed.

        Raises
        ------
        DataError, FormatError : the items cannot be learned from, or the labels: of another length, of mixed kinds,
            none at all, or all of one class; the message names the first bad one
        SettingError : a setting is out of range, or does not go with these items
        """
        with self._as_before_on_failure():
            self._require_settings()
            stored = self._adopt(X)
            return self._fit_stored(self.format_, stored, self._told(y, auxiliary, len(stored)))

    def _learn(self, stored: Tensor, y: Any) -> None:
        told = y if isinstance(y, Told) else None
        if self.format_.spec.kind == "table" and not self.format_.spec.columns:
            raise SettingError("format=TableFormat(view='linear') is for PCA: networks take the columns as they are, "
                               "TableFormat()")  # fmt: skip
        seed, device = seed_from(self.random_state), device_of(self.device)
        likelihood = self._chosen_likelihood()
        whole = self._latents(self.format_.spec.size)
        self._plan = self._plan_for(whole, len(stored))
        self._adopt_targets([] if told is None else [target for target, _ in told.values()])
        self.network_ = self._built(whole, likelihood, seed)
        self.latent_dim_ = whole
        self.likelihood_ = self.network_.likelihood
        straight = self._begin(stored, seed)
        if self.straightness and told is None and not self._ordered:  # labels, or nested codes, lead the code elsewhere
            self.network_.straight = straight
        settings = {name: value for name, value in self._settings().items() if name not in ("checkpoint", "verbose")}
        beside = None
        if told is not None:
            beside = self._supervision([values for _, values in told.values()], stored, seed, device)
            settings["labels"] = digest_of(told)
        self.history_ = fit_network(
            self.network_,
            self._loss,
            stored,
            self.format_,
            title=f"{type(self).__name__}({whole})",
            seed=seed,
            device=device,
            epochs=self.epochs,
            effort=self.effort * (_effort(len(stored)) if isinstance(self.likelihood_, Table) else 1.0),
            batch_size=self.batch_size,
            rate=self.rate,
            budget=self.budget,
            verbose=self.verbose,
            checkpoint=self.checkpoint,
            settings=settings,
            beside=beside,
        )
        self.network_.straight = None  # has done what it was for
        if isinstance(self.likelihood_, Table):
            self._learn_to_fill(self.likelihood_, stored, seed)
        if self.latent_dim == "auto":
            self._read_knee(stored, seed)
        self.prior_ = self._fitted_prior(stored)
        if told is not None and None in told and hasattr(self, "classes_"):
            some = np.arange(0, len(stored), max(len(stored) // CODES, 1))
            self.class_priors_ = self._fitted_class_priors(stored, told[None][1], some)

    def _begin(self, stored: Tensor, seed: int) -> nn.Module | None:
        """First values from some of the items to learn from: of what a likelihood learns, and of a table's lines; of
        these the linear decoder."""
        learned_from = split(len(stored), seed)[0]
        self.likelihood_.begin(self.format_.scale(stored[learned_from[:SOME]]))
        if not isinstance(self.format_, TableFormat) or self._plan["kind"] == "own":
            return None
        lines = Lines(self.format_.codes_, weighed=True)
        wanted = max(min(SOME, MOST_LINES // max(lines.width, 1)), LEAST_ROWS)
        some = stored[learned_from[:: -(-len(learned_from) // wanted)]]
        with reproducible(seed):
            return begin(self.network_, self.format_.spec.columns, lines, self.format_.scale(some))

    def _supervision(self, values: list[np.ndarray], stored: Tensor, seed: int, device: torch.device) -> Supervision:
        """What labels add: guessing one costs as much as guessing an item."""
        learned_from, held_out = split(len(stored), seed)
        some = self.format_.linear(self.format_.scale(stored[learned_from[:: max(len(learned_from) // SOME, 1)]]))
        apart = float((some.double() - some.double().nanmean(0)).square().flatten(1).nansum(1).mean())
        self.network_.to(device)
        return Supervision(
            self._targets,
            values,
            stored,
            self.format_,
            self._coded,
            self._outputs,
            self.network_.heads,
            held_out=held_out,
            weight=float(self.supervision) * max(self._unit(apart), 1e-6),
            shifts=self._moves(),
            device=device,
        )

    def _unit(self, apart: float) -> float:
        """What guessing an item costs, in the unit of the loss; ``apart``: mean squared distance from the mean."""
        return sum(self.likelihood_.weights) if isinstance(self.likelihood_, Table) else apart

    def _coded(self, x: Tensor, moment: Moment) -> Tensor:
        """Codes of a batch as they are in training: of damaged items, and of ordered latents the first ones."""
        z = self._outputs(self._seen(x, moment))
        kept = self.network_.draw_kept(len(x), moment.progress, moment.generator)
        return z if kept is None else z * (torch.arange(z.shape[1], device=z.device) < kept[:, None])

    def _moves(self) -> int:
        """Steps by which items may be moved without another label; only classes of ``y`` are taken to be so patient."""
        spec = self.format_.spec
        if spec.kind not in ("image", "series"):
            if self.shifts:
                raise SettingError(f"shifts={self.shifts}: only images and series can be moved, and these items are a "
                                   f"{spec.kind}")  # fmt: skip
            return 0
        least = min(spec.shape[1:])
        if self.shifts is None:
            return int(least / SIDE_OF_SHIFTS + 0.5) if hasattr(self, "classes_") else 0
        if self.shifts >= least / 2:
            raise SettingError(f"shifts={self.shifts}: expected less than half of the shortest side, {least}")
        return int(self.shifts)

    def _seen(self, x: Tensor, moment: Moment) -> Tensor:
        """What the encoder is shown of a batch: of a table, not all, so that it learns to do without."""
        likelihood = self.network_.likelihood
        if not isinstance(likelihood, Table):
            return x
        return hidden(x, likelihood.columns, likelihood.n_columns, moment.generator)

    def _learn_to_fill(self, likelihood: Table, stored: Tensor, seed: int) -> None:
        """How far numbers lie from what was said of them where they were hidden, on held-out rows; and the Gaussian
        that helps to fill holes, with its weight beside the decoder, from the same cells."""
        learned_from, rows = split(len(stored), seed)
        watched = stored[rows] if len(rows) else stored[:SOME]
        x = self.format_.scale(watched)
        x = x.repeat(-(-ASKED // len(x)), 1)  # few rows are asked about several times, about other cells
        drawn = torch.Generator().manual_seed(seed)
        seen = hidden(x, likelihood.columns.cpu(), likelihood.n_columns, drawn, HIDDEN)
        params = self._in_blocks(lambda part: self._decode(self._encode(part)), seen)
        asked = seen.isnan() & ~x.isnan()
        told = likelihood.cpu().mean(params)
        apart = (told - x).square().masked_fill(~asked, torch.nan)[:, likelihood.numbers]
        likelihood.doubt.copy_(torch.nan_to_num(apart.nanmean(0), nan=1.0))
        moved = (likelihood.mean(self._drawn(seen, params, seed)) - told).square().masked_fill(~asked, torch.nan)
        moved = torch.nan_to_num(moved[:, likelihood.numbers].nanmean(0))
        likelihood.noise.copy_((likelihood.doubt - moved).clamp_min(0))
        form = self.format_
        assert isinstance(form, TableFormat)
        self._conditional = conditional_of(form, stored, learned_from, alone=True)
        if self._conditional is not None:
            said = self._conditional.said(form.linear(seen))
            self._conditional.weigh(form.guess(likelihood, params), form, said, x.numpy(), asked.numpy())
        likelihood.to(self._device)

    def _drawn(self, seen: Tensor, params: Tensor, seed: int) -> Tensor:
        """What is decoded of codes that are drawn, where a model's codes are distributions: else ``params``."""
        return params

    def _fitted_prior(self, stored: Tensor) -> priors.Prior:
        """The prior of the codes. Ctrl-C here costs a good prior, and not the trained network."""
        if isinstance(self._prior(), priors.StandardNormal):  # knows all without looking
            return self._prior().fit(np.zeros((1, self.latent_dim_), np.float32))
        some = stored
        if len(stored) > (most := priors.GaussianMixture.MOST_CODES):  # more would be encoded and then left aside
            some = stored[torch.arange(most) * len(stored) // most]
        try:
            return self._prior().fit(self._in_blocks(self._encode_stored, some).numpy())
        except KeyboardInterrupt:
            warn("interrupted while the prior was fitted: sample() draws from a Gaussian fitted to some of the codes")
            return priors.Gaussian().fit(self._in_blocks(self._encode_stored, stored[:SOME]).numpy())

    def _latents(self, elements: int) -> int:
        if self.latent_dim is None:
            return min(DEFAULT_LATENTS, max(elements // 2, 1))
        if self.latent_dim == "auto":
            return min(MOST_LATENTS, max(elements // 2, 1))
        assert isinstance(self.latent_dim, (int, np.integer))
        return int(self.latent_dim)

    def _read_knee(self, stored: Tensor, seed: int) -> None:
        """``latent_dim="auto"``: as many latents as the error curve of the held-out items asks for."""
        learned_from, held_out = split(len(stored), seed)
        watched = stored[held_out] if len(held_out) else stored
        codes = self._in_blocks(self._encode_stored, watched)
        errors = np.array([self._mean_error(watched, codes[:, :k]) for k in range(1, self.latent_dim_ + 1)])
        some = learned_from[:: max(len(learned_from) // CODES, 1)]
        mean = self.format_.linear(self.format_.scale(stored[some])).double().nanmean(0)
        apart = self.format_.linear(self.format_.scale(watched)) - mean
        nothing = float(apart.square().flatten(1).nansum(1).mean())
        self.history_["error_curve"] = errors.tolist()
        self.latent_dim_ = knee(errors, nothing)

    def _plan_for(self, latents: int, n_items: int) -> dict[str, Any]:
        if _is_pair(self.network):
            return {"kind": "own"}
        return network_for(self.format_.spec, latents, n_items, self.size, self.network)

    def _built(self, latents: int, likelihood: Likelihood, seed: int) -> Coder:
        """The network before training, its first weights drawn from ``seed``."""
        make = Coder.of_modules if self._plan["kind"] == "own" else Coder.of
        source = self.network if self._plan["kind"] == "own" else self._plan
        with reproducible(seed):
            network = make(source, self.format_.spec, latents, self.codes, likelihood, self._ordered)
            if self._targets:
                network.heads = Heads(latents, self._targets)
        return network

    def untrained(self) -> Self:
        """The same model with weights drawn at random, from another seed, and no PCA in them: a baseline."""
        bare = copy.deepcopy(self)
        likelihood = self._chosen_likelihood()
        bare.network_ = self._built(self.network_.latent_dim, likelihood, seed_from(None) + 1).to(self._device).eval()
        bare.likelihood_ = bare.network_.likelihood
        bare._conditional = None
        return bare

    @property
    def _ordered(self) -> bool:
        return bool(self.ordered) or self.latent_dim == "auto"

    @property
    def _device(self) -> torch.device:
        return next(self.network_.parameters()).device

    @property
    def _takes_threads(self) -> bool:
        return bool(self._plan["kind"] != "own")  # modules of the user's own may remember what they saw last

    # ---- codes -------------------------------------------------------------------------------------------------------

    def _encode(self, x: Tensor) -> Tensor:
        return self._outputs(x)[..., : self.latent_dim_]

    def _outputs(self, x: Tensor) -> Tensor:
        """What the encoder says of the latents: (B, K) codes, or for C = 2 the means of (B, 2, K)."""
        outputs = self.network_.encoder(x).float()
        return outputs if self.codes == 1 else outputs.unflatten(1, (self.codes, -1))[:, 0]

    def _decode(self, z: Tensor) -> Tensor:
        return self.network_.decode(z).float()

    # ---- files -------------------------------------------------------------------------------------------------------

    def _tensors(self) -> dict[str, Tensor]:
        found = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network_.state_dict().items()}
        return found | self._class_tensors()

    def _learned(self) -> dict[str, Any]:
        return {"plan": self._plan, "latents": self.network_.latent_dim} | self._learned_targets()

    def _restore(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self._plan = dict(learned["plan"])
        if self._plan["kind"] == "own" and not _is_pair(self.network):
            raise SettingError(
                "this model was trained with torch modules of its owner, and a file never holds code: "
                "give them again, as load(path, network=(encoder, decoder))"
            )
        if self._plan["kind"] != "own" and _is_pair(self.network):
            raise SettingError(
                "load(..., network=): this file holds its own network; only modules of your own are given"
            )
        if not 1 <= self.latent_dim_ <= int(learned["latents"]):
            raise ValueError(f"a code of {self.latent_dim_} from a network of {learned['latents']} latents")
        tensors = self._restore_targets(learned, tensors)
        # Without memory of its own until the tensors of the file are put in: a plan of absurd size costs nothing.
        own = self._plan["kind"] == "own"
        with torch.device("cpu" if own else "meta"):
            self.network_ = self._built(int(learned["latents"]), self.likelihood_, 0)
        try:
            self.network_.load_state_dict(tensors, assign=not own)
        except RuntimeError as error:
            if not own:
                raise
            raise SettingError(
                f"network=: these modules are not those that this file was trained with: {error}"
            ) from error
        for parameter in self.network_.parameters():  # as training left them: a layout of its own has sums of its own
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.network_.eval()


def _effort(rows: int) -> float:
    """Factor on the steps of a table: 2 for up to ROWS rows; of more, which teach by themselves, less, down to 1/2."""
    return max(2 * min(ROWS / max(rows, 1), 1.0) ** 0.5, 0.5)


def _is_pair(network: Any) -> bool:
    return isinstance(network, (tuple, list)) and len(network) == 2 and all(isinstance(m, nn.Module) for m in network)
