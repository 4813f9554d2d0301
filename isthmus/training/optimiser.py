"""AdamW in one fused call a step.

The function of ``torch.optim`` without its class, whose first use imports PyTorch's compiler: a second of waiting, and
some 800 modules.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

__all__ = ["AdamW"]


class AdamW:
    """Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019).

    Parameters
    ----------
    parameters : what is stepped; one without a gradient is left as it is
    rate : peak learning rate
    weight_decay : on matrices and kernels, never on biases and gains
    betas : decay of the two moments
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], rate: float, weight_decay: float, betas: tuple[float, float]
    ) -> None:
        self.parameters = list(parameters)
        self.rate, self.betas = rate, betas
        self.decays = [weight_decay if parameter.ndim >= 2 else 0.0 for parameter in self.parameters]
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]
        self.counts = [torch.zeros((), device=parameter.device) for parameter in self.parameters]

    def forget_gradients(self) -> None:
        """Ready for the next backward pass."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, factor: float | Tensor) -> None:
        """One step at ``factor`` times the peak rate; a tensor () on the device where steps are recorded."""
        for decay in dict.fromkeys(self.decays):
            group = [
                (parameter, parameter.grad, *moments, count)
                for parameter, moments, count, own in zip(
                    self.parameters, self.moments, self.counts, self.decays, strict=True
                )
                if own == decay and parameter.grad is not None
            ]
            if group:
                parameters, gradients, firsts, seconds, counts = map(list, zip(*group, strict=True))
                adamw(parameters, gradients, firsts, seconds, [], counts, foreach=False, fused=True, amsgrad=False,
                      beta1=self.betas[0], beta2=self.betas[1], lr=self.rate * factor, weight_decay=decay, eps=1e-8,
                      maximize=False)  # fmt: skip

    def tensors(self) -> list[Tensor]:
        """All that a step changes beside the parameters."""
        return [*self.counts, *(moment for both in self.moments for moment in both)]

    def state(self, index: int) -> dict[str, Tensor]:
        """What a checkpoint keeps of one parameter; the names are those of ``torch.optim``."""
        first, second = self.moments[index]
        return {"exp_avg": first, "exp_avg_sq": second, "step": self.counts[index]}
