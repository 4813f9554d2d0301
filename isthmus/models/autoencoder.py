"""Autoencoders: from one linear layer each way to deep; overcomplete, sparse, denoising, contractive, ordered.

Rumelhart, Hinton & Williams 1986; Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with neural
networks". Variants are arguments:

- denoising: Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders"
- sparse: Makhzani & Frey 2014, "k-sparse autoencoders" (top-k); Ng 2011 (L1)
- contractive: Rifai et al. 2011, "Contractive auto-encoders"
- ordered: Rippel, Gelbart & Adams 2014, "Learning ordered representations with nested dropout"

The network of a table begins as a PCA, and a linear decoder of its codes is kept good while it learns
(``isthmus.models.beginning``), so that linear models on the codes find what they would find on those of a PCA.

Shapes: B items of a batch; D... the axes of an item; K latents; P parameters an element.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isthmus import priors
from isthmus.errors import SettingError, warn
from isthmus.likelihoods import Gaussian, Table
from isthmus.likelihoods.base import LOG_2PI
from isthmus.models.neural import Neural
from isthmus.networks.table import hidden
from isthmus.training.engine import Moment

__all__ = ["Autoencoder"]

CORRUPTIONS = {"gaussian": 0.3, "masking": 0.3, "salt_and_pepper": 0.2}  # usual levels (Vincent et al. 2010)


class Autoencoder(Neural):
    """A network that squeezes items through K numbers and brings them back.

    Parameters
    ----------
    latent_dim : number K of latents; None, the default, is 16 or half the elements of an item if that is less;
        "auto" learns ordered latents and keeps as many as the error curve asks for (``isthmus.metrics.knee``)
    ordered : nested latents: the first k coordinates are a good code for every k, see ``error_curve``, ``truncate``
    corruption : "gaussian", "masking" or "salt_and_pepper", or a pair with its level: the standard deviation in the
        scaled view, or the share of elements. The input is damaged, the clean item is the target. None: no noise
    sparsity : ("topk", k): only the k largest latents in size are kept; ("l1", weight): weight * sum |z| is added
    contraction : weight of the squared Frobenius norm of the encoder's Jacobian; 0 is none
    likelihood : None for the format's own (squared error for numbers), a word or a Likelihood
    network : "auto", "linear", "mlp", "conv", widths of hidden layers as a tuple, or a pair of your own torch modules:
        encoder (B, D...) -> (B, K) and decoder (B, K) -> (B, P, D...). See ``isthmus.networks``
    size : "small", "base" or "large" factor on the network's widths
    format : a Format, "vector", "image" or "series"; None finds it
    epochs, batch_size, rate : None for the formulas of ``isthmus.training.recipe``
    budget : time to train for, "60s" or "5m", in place of the epochs
    checkpoint : file that lets a killed run go on to the same result; removed when the run ends
    device : "auto", "cpu", "cuda"
    verbose : a progress bar: None on a terminal only
    supervision : where ``fit`` is given labels, the weight of telling them: 1, the default, makes guessing a label cost
        as much as guessing an item; 0 leaves labels aside
    shifts : where ``fit`` is given labels, steps by which an image or a series may be moved, each way, and still have
        its label. None, the default: a sixteenth of the shortest side where ``y`` are classes, else 0
    random_state : seed of everything random; None is 0

    Attributes
    ----------
    network_ : the fitted torch module, with ``encoder`` and ``decoder``
    history_ : dict of lists "epoch", "loss", "held_out", "seconds" and scalars "best_epoch", "ended", "items",
        "steps", how they were taken
    classes_, class_priors_ : where labels were given, the classes (C,), sorted, and a prior of the codes of each
    prior_ : Gaussian mixture fitted to the codes after training, chosen by BIC, so that ``sample`` is honest

    Examples
    --------
    >>> import isthmus as im
    >>> model = im.Autoencoder(latent_dim=8, epochs=2).fit(im.datasets.digits())
    >>> model.reconstruct(im.datasets.digits()[:3]).shape
    (3, 8, 8)
    """

    word: ClassVar[str] = "autoencoder"
    codes: ClassVar[int] = 1
    straightness: ClassVar[float] = 4.0  # of tables (figures in dev/LOG.md)

    def __init__(
        self,
        latent_dim: int | str | None = None,
        *,
        ordered: bool = False,
        corruption: str | tuple[str, float] | None = None,
        sparsity: tuple[str, float] | None = None,
        contraction: float = 0.0,
        likelihood: Any = None,
        network: Any = "auto",
        size: str = "base",
        format: Any = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        rate: float | None = None,
        budget: str | float | None = None,
        checkpoint: str | None = None,
        device: str = "auto",
        verbose: bool | None = None,
        supervision: float = 1.0,
        shifts: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.ordered = ordered
        self.corruption = corruption
        self.sparsity = sparsity
        self.contraction = contraction
        self.likelihood = likelihood
        self.network = network
        self.size = size
        self.format = format
        self.epochs = epochs
        self.batch_size = batch_size
        self.rate = rate
        self.budget = budget
        self.checkpoint = checkpoint
        self.device = device
        self.verbose = verbose
        self.supervision = supervision
        self.shifts = shifts
        self.random_state = random_state

    def _require_settings(self) -> None:
        super()._require_settings()
        self._corruption()
        self._sparsity()
        if not _is_number(self.contraction) or not 0 <= self.contraction < math.inf:
            raise SettingError(f"contraction={self.contraction!r}: expected a weight from 0")

    def _learn(self, stored: Tensor, y: Any) -> None:
        latents, elements = self._latents(self.format_.spec.size), self.format_.spec.size
        if self.format_.spec.columns and (self._corruption()[0] not in (None, "masking") or self.contraction):
            raise SettingError("tables of columns take corruption='masking', which hides cells, and neither noise nor "
                               "contraction=: a category has no neighbours")  # fmt: skip
        kind, k = self._sparsity()
        if kind == "topk" and k >= latents:
            raise SettingError(f"sparsity=('topk', {k:g}) keeps all of {latents} latents: give a k below latent_dim")
        plain = self.sparsity is None and self.corruption is None and not self.contraction
        if latents >= elements and plain and not self.format_.spec.columns:  # tables always hide something
            warn(
                f"latent_dim={latents} is not below the {elements} elements of an item: nothing forces such an "
                "autoencoder to learn structure, it can copy each element into a latent of its own. Give corruption=, "
                "sparsity= or contraction= to make an overcomplete code worth having, or fewer latents"
            )
        super()._learn(stored, y)

    def _loss(self, x: Tensor, moment: Moment) -> Tensor:
        network = self.network_
        x = network.likelihood.targets(x, moment.generator)
        seen = self._seen(x, moment)
        z = self._outputs(seen)  # (B, K)
        kept = network.draw_kept(len(x), moment.progress, moment.generator)
        loss = network.error(network.decode(z, kept), x, seen, kept)
        if network.straight is not None:
            apart = self.straightness * network.straight(z, x)
            loss = loss + apart - apart.detach()  # leads the codes, and is no part of what items cost
        kind, weight = self._sparsity()
        if kind == "l1":
            loss = loss + weight * z.abs().sum(1)
        if self.contraction:
            loss = loss + self.contraction * _squared_jacobian(network.encoder, x, moment.generator)
        return loss

    def _seen(self, x: Tensor, moment: Moment) -> Tensor:
        kind, level = self._corruption()
        likelihood = self.network_.likelihood
        if isinstance(likelihood, Table) and kind is not None:
            return hidden(x, likelihood.columns, likelihood.n_columns, moment.generator, level)
        return _corrupted(super()._seen(x, moment), kind, level, moment.generator)

    def _outputs(self, x: Tensor) -> Tensor:
        kind, k = self._sparsity()
        z = super()._outputs(x)
        return _largest(z, int(k)) if kind == "topk" else z

    def _prior(self) -> priors.Prior:
        return priors.GaussianMixture()

    def _log_likelihood(self, x: Tensor) -> Tensor:
        return -self.likelihood_.loss(self._decode(self._encode(x)), x)

    def _residual_variance(self) -> float:
        """Of squared error alone, which is no more than a loss, that of the items held out of training."""
        plain = self.sparsity is None and self.corruption is None and not self.contraction and not self._ordered
        losses = self.history_.get("held_out") or self.history_.get("loss")
        if not plain or not losses or self.likelihood_.to_json() != Gaussian("unit").to_json():
            return super()._residual_variance()
        return max(2 * min(losses) / self.format_.spec.size - LOG_2PI, 0.0)

    @property
    def _corrupted_by(self) -> tuple[str, float] | None:
        kind, level = self._corruption()
        return None if kind is None else (kind, level)

    def _corruption(self) -> tuple[str | None, float]:
        """The kind of damage and its level."""
        given = self.corruption
        kind, level = given if isinstance(given, (tuple, list)) and len(given) == 2 else (given, None)
        if kind is None and level is None:
            return None, 0.0
        if not isinstance(kind, str) or kind not in CORRUPTIONS:
            raise SettingError(
                f"corruption={given!r}: expected one of {', '.join(map(repr, CORRUPTIONS))}, or a pair such as "
                "('gaussian', 0.3)"
            )
        level = CORRUPTIONS[kind] if level is None else level
        if not _is_number(level) or not 0 < level < math.inf or (kind != "gaussian" and level >= 1):
            allowed = "a deviation above 0" if kind == "gaussian" else "a share of the elements between 0 and 1"
            raise SettingError(f"corruption={given!r}: the level of {kind!r} is {allowed}")
        return kind, float(level)

    def _sparsity(self) -> tuple[str | None, float]:
        """The kind of sparsity, and k or a weight."""
        given = self.sparsity
        if given is None:
            return None, 0.0
        kind, amount = given if isinstance(given, (tuple, list)) and len(given) == 2 else (None, None)
        counts = kind == "topk" and isinstance(amount, Integral) and not isinstance(amount, bool) and amount >= 1
        if not counts and not (kind == "l1" and _is_number(amount) and 0 < amount < math.inf):
            raise SettingError(
                f"sparsity={given!r}: expected ('topk', k) with a whole k from 1, or ('l1', weight) with a weight "
                "above 0"
            )
        if self._ordered:
            raise SettingError("sparsity and ordered latents contradict each other: one leaves out latents of an "
                               "item's own choice, the other the last ones. Give one of them")  # fmt: skip
        return kind, float(amount)


def _corrupted(x: Tensor, kind: str | None, level: float, generator: torch.Generator) -> Tensor:
    """The scaled batch with its damage."""
    if kind is None:
        return x
    if kind == "gaussian":
        return x + level * torch.randn(x.shape, generator=generator, device=x.device)
    drawn = torch.rand(x.shape, generator=generator, device=x.device)
    if kind == "masking":
        return x * (drawn >= level)
    x = torch.where(drawn < level / 2, x.amin(), x)
    return torch.where(drawn > 1 - level / 2, x.amax(), x)


def _largest(z: Tensor, k: int) -> Tensor:
    """All but the k largest latents in size set to zero (Makhzani & Frey 2014, section 2.1)."""
    places = z.abs().topk(min(k, z.shape[1]), dim=1).indices
    return torch.zeros_like(z).scatter(1, places, z.gather(1, places))


def _squared_jacobian(encoder: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
    """(B,) estimate of ||dz/dx||_F^2 without bias, from one random direction (Hutchinson 1990)."""
    learning = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        z = encoder(x).float()
        direction = torch.randn(z.shape, generator=generator, device=z.device)
        (slope,) = torch.autograd.grad((z * direction).sum(), x, create_graph=learning)
        return slope.flatten(1).square().sum(1)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
