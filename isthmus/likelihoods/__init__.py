"""What a good reconstruction is: the probability of an item given the decoder's output.

The same object is the training loss, the reported error, the sampler, and the codec's probabilities.

Shapes, said once: B items; P parameters an element; D... the axes of one item; K components of a mixture.
A decoder gives ``params`` (B, P, D...); items are ``x`` (B, D...) in a format's scaled view.
``params`` in float16 or bfloat16 are computed in float32; float64 stays float64. Nothing is summed, except by ``loss``.
Draws are made on the generator's device, so that one seed gives one sample wherever the network runs.
"""

from __future__ import annotations

from isthmus.likelihoods.base import Likelihood
from isthmus.likelihoods.discrete import Bernoulli, Categorical, DiscretisedLogisticMixture
from isthmus.likelihoods.gaussian import Gaussian
from isthmus.likelihoods.settings import WORDS, likelihood_from_json, likelihood_of
from isthmus.likelihoods.table import Table

__all__ = [
    "WORDS",
    "Bernoulli",
    "Categorical",
    "DiscretisedLogisticMixture",
    "Gaussian",
    "Likelihood",
    "Table",
    "likelihood_from_json",
    "likelihood_of",
]
