"""The variational autoencoder.

Kingma & Welling 2013, "Auto-encoding variational Bayes". The encoder gives a Gaussian q(z | x) for each item, the
decoder p(x | z), and what is minimised is the negative ELBO:

    -log p(x)  <=  E_q[-log p(x | z)]  +  beta KL(q(z | x) || N(0, I))
                   reconstruction         rate

- ``beta``: Higgins et al. 2017; ``free_bits``: Kingma et al. 2016, section C.8; KL warm-up: Sonderby et al. 2016
- ``log_likelihood``: importance sampling, Burda, Grosse & Salakhutdinov 2015, eq. 8

Shapes: n items; B items of a block; D... the axes of an item; K latents; S draws.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from isthmus import priors
from isthmus.errors import SettingError
from isthmus.likelihoods import Gaussian, Likelihood, Table
from isthmus.models.embedding import BLOCK
from isthmus.models.neural import Neural
from isthmus.training.engine import Moment

__all__ = ["VAE", "Elbo"]

DRAWS = 8  # of the ELBO that ``score`` reports: four and their mirror images


class Elbo(NamedTuple):
    """The two parts of the negative ELBO of each item, (n,) float64, nats."""

    reconstruction: np.ndarray
    kl: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Upper bound of -log p(x)."""
        return self.reconstruction + self.kl


class VAE(Neural):
    """An autoencoder whose codes are distributions, held to a standard normal: it compresses, and it generates.

    Parameters
    ----------
    latent_dim : number K of latents; None, the default, is 16 or half the elements of an item if that is less;
        "auto" learns ordered latents and keeps as many as the error curve asks for (``isthmus.metrics.knee``)
    beta : weight of the KL term; 1, the default, is the bound itself
    free_bits : nats of KL that each latent has for free, against collapse; 0, the default, is none
    kl_warm_up : share of the training over which the KL term's weight climbs from 0 to ``beta``; default 0.1
    ordered : nested latents: the first k coordinates are a good code for every k, see ``error_curve``, ``truncate``
    likelihood : None takes the format's own, its variance learned where it is a Gaussian (Rybkin et al. 2021); or a
        word ("bernoulli_dynamic" redraws grey values as black and white at every step), or a Likelihood
    network, size, format, epochs, batch_size, rate, budget : as in Autoencoder; an encoder of your own gives
        (B, 2 * K), means and then log-variances
    checkpoint, device, verbose, supervision, shifts, random_state : as in Autoencoder

    Attributes
    ----------
    network_ : the fitted torch module, with ``encoder`` and ``decoder``
    history_ : dict of lists "epoch", "loss", "held_out", "seconds" and scalars "best_epoch", "ended", "items",
        "steps", how they were taken
    classes_, class_priors_ : where labels were given, the classes (C,), sorted, and a prior of the codes of each
    prior_ : the standard normal

    Examples
    --------
    >>> import isthmus as im
    >>> model = im.VAE(latent_dim=8, epochs=2).fit(im.datasets.digits())
    >>> model.sample(25, seed=0).shape
    (25, 8, 8)
    """

    word: ClassVar[str] = "vae"
    codes: ClassVar[int] = 2
    effort: ClassVar[float] = 2.0  # a bound of log p(x) is still improving when a reconstruction error has settled

    def __init__(
        self,
        latent_dim: int | str | None = None,
        *,
        beta: float = 1.0,
        free_bits: float = 0.0,
        kl_warm_up: float = 0.1,
        ordered: bool = False,
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
        self.beta = beta
        self.free_bits = free_bits
        self.kl_warm_up = kl_warm_up
        self.ordered = ordered
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
        for name, most in (("beta", math.inf), ("free_bits", math.inf), ("kl_warm_up", 1.0)):
            value = getattr(self, name)
            right = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
            if not right or not 0 <= value <= most:
                raise SettingError(f"{name}={value!r}: expected a number from 0" + (" to 1" if most == 1 else ""))

    def _chosen_likelihood(self) -> Likelihood:
        chosen = super()._chosen_likelihood()
        if self.likelihood is None and isinstance(chosen, Gaussian):
            return Gaussian("learned")  # a unit variance would drown small errors in noise, and collapse the latents
        if self.likelihood is None and isinstance(chosen, Table):
            return Table.of(self.format_.spec.columns, "learned")
        return chosen

    def _loss(self, x: Tensor, moment: Moment) -> Tensor:
        network = self.network_
        x = network.likelihood.targets(x, moment.generator)
        seen = self._seen(x, moment)
        mean, log_variance = self._posterior(seen)  # (B, K) each
        noise = torch.randn(mean.shape, generator=moment.generator, device=mean.device)
        kept = network.draw_kept(len(x), moment.progress, moment.generator)
        params = network.decode(mean + (0.5 * log_variance).exp() * noise, kept)
        kl = _kl(mean, log_variance)
        if kept is not None:  # coordinates that the decoder does not see cost nothing
            kl = kl * (torch.arange(kl.shape[1], device=kl.device) < kept[:, None])
        if self.free_bits:
            kl = kl * (kl.mean(0) > self.free_bits)
        warmth = (moment.progress / self.kl_warm_up).clamp(max=1.0) if self.kl_warm_up else 1.0
        return network.error(params, x, seen, kept, rate=self.beta * warmth * kl.sum(1))

    def _unit(self, apart: float) -> float:
        return max(apart, self.format_.spec.size / 2)  # nats: where the variance is learned, half a nat an element

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), (B, K) each, float32."""
        mean, log_variance = self.network_.encoder(x).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-16.0, 8.0)  # exp beyond these overflows or underflows in a few steps

    def _outputs(self, x: Tensor) -> Tensor:
        return self._posterior(x)[0]

    def _drawn(self, seen: Tensor, params: Tensor, seed: int) -> Tensor:
        mean, deviation = self._in_blocks(lambda part: torch.stack(self._moments(part), dim=1), seen).unbind(1)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed))
        return self._in_blocks(self._decode, mean + deviation * noise)

    def _prior(self) -> priors.Prior:
        return priors.StandardNormal()

    # ---- distributions -----------------------------------------------------------------------------------------------

    def encode_distribution(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of q(z | x) of each item: two arrays (n, latent_dim_) float32."""
        both = self._in_blocks(lambda s: torch.stack(self._moments(self.format_.scale(s)), dim=1), self._stored(X))
        return both[:, 0].numpy(), both[:, 1].numpy()

    def encode_sample(self, X: Any, seed: int = 0) -> np.ndarray:
        """One draw from q(z | x) of each item, (n, latent_dim_) float32: the reparameterised sample."""
        mean, deviation = self.encode_distribution(X)
        return mean + deviation * np.random.default_rng(seed).standard_normal(mean.shape, dtype=np.float32)

    def elbo(self, X: Any) -> Elbo:
        """The negative ELBO of each item in its two parts, nats.

        The expectation over q is a mean over eight draws, the same for every item, so that the figure of an item does
        not depend on the others.
        """
        parts = self._in_blocks(lambda s: self._elbo_parts(self.format_.scale(s)), self._stored(X)).double().numpy()
        return Elbo(parts[:, 0], parts[:, 1])

    def log_likelihood(self, X: Any, samples: int = 200, seed: int = 0) -> np.ndarray:
        """Importance-sampled log p(x) of each item in nats, (n,) float64: a lower bound, tight for many samples.

        Parameters
        ----------
        samples : S, draws from q(z | x) for each item; 200 brings a small VAE to within some tenths of a nat
        seed : of the draws

        Raises
        ------
        SettingError : samples below 1
        """
        if isinstance(samples, bool) or not isinstance(samples, (int, np.integer)) or samples < 1:
            raise SettingError(f"samples={samples!r}: expected a whole number from 1")
        stored = self._stored(X)
        generator = torch.Generator(self._device).manual_seed(seed)

        def bound(block: Tensor) -> Tensor:
            x = self.format_.scale(block)
            mean, deviation = self._moments(x)
            weights = []
            for _ in range(samples):
                noise = torch.randn(mean.shape, generator=generator, device=mean.device)
                z = mean + deviation * noise
                log_p = -0.5 * z.square().sum(1) - self.likelihood_.loss(self._decode(z), x)
                weights.append(log_p + (0.5 * noise.square() + deviation.log()).sum(1))
            return torch.stack(weights).double().logsumexp(0) - math.log(samples)

        with torch.inference_mode():  # draws are of a row's place anyway: no need to fill up the last block
            pieces = [bound(block.to(self._device)).cpu() for block in stored.split(BLOCK)]
        return torch.cat(pieces).numpy()

    def _log_likelihood(self, x: Tensor) -> Tensor:
        return -self._elbo_parts(x).sum(1)

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self._posterior(x)
        return mean[:, : self.latent_dim_], (0.5 * log_variance[:, : self.latent_dim_]).exp()

    def _elbo_parts(self, x: Tensor) -> Tensor:
        """One block to (B, 2): reconstruction and KL."""
        mean, deviation = self._moments(x)
        reconstruction = torch.zeros(BLOCK, device=x.device)
        for noise in _draws(self.latent_dim_).to(x.device):
            reconstruction += self.likelihood_.loss(self._decode(mean + deviation * noise), x) / DRAWS
        return torch.stack([reconstruction, _kl(mean, 2 * deviation.log()).sum(1)], dim=1)


def _draws(latents: int) -> Tensor:
    """DRAWS standard normal vectors (DRAWS, K) whose means are exactly 0 and whose variances are exactly 1.

    The same few draws serve all items, so a chance excess of variance would not average out: the bound would be off by
    some nats. Without correlations too, as far as so few vectors can be.
    """
    half = np.random.default_rng(0).standard_normal((DRAWS // 2, latents))
    left, _, right = np.linalg.svd(half, full_matrices=False)
    half = left @ right
    half /= np.sqrt(np.square(half).mean(0))
    return torch.from_numpy(np.concatenate([half, -half])).float()


def _kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) of each latent, nats (Kingma & Welling 2013, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
