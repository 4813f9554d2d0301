"""From a user's setting to a likelihood that suits the items, and from a file back to one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from isthmus.errors import DamagedFileError, SettingError
from isthmus.formats.base import Spec
from isthmus.likelihoods import (
    WORDS,
    Categorical,
    DiscretisedLogisticMixture,
    Gaussian,
    Likelihood,
    likelihood_from_json,
    likelihood_of,
)


@dataclass
class Stand:
    """Stands for a fitted format."""

    spec: Spec
    unit_interval: bool = False
    own: Likelihood = field(default_factory=Gaussian)

    def likelihood(self) -> Likelihood:
        return self.own


IMAGE = Stand(Spec("image", (1, 8, 8), 256), unit_interval=True)
GREY = Stand(Spec("image", (1, 8, 8)), unit_interval=True)
VECTOR = Stand(Spec("vector", (5,)))
BINARY = Stand(Spec("vector", (5,), 2), unit_interval=True)
SCALED_BINARY = Stand(Spec("vector", (5,), 2))
TOKENS = Stand(Spec("tokens", (12,), 50))
TABLE = Stand(Spec("table", (3,)))
GAUSSIANS = ("gaussian", "gaussian_learned", "gaussian_predicted")

POSSIBLE = [
    (IMAGE, WORDS),
    (GREY, (*GAUSSIANS, "bernoulli", "bernoulli_dynamic")),
    (VECTOR, GAUSSIANS),
    (SCALED_BINARY, GAUSSIANS),
    (BINARY, WORDS),
    (TOKENS, ("categorical",)),
    (TABLE, ()),
]


@pytest.mark.parametrize(("format", "possible"), POSSIBLE, ids=lambda value: str(getattr(value, "spec", "")))
def test_each_word_suits_or_is_refused(format: Stand, possible: tuple[str, ...]) -> None:
    for word in WORDS:
        if word in possible:
            likelihood = likelihood_of(word, format)
            assert likelihood_of(likelihood, format).to_json() == likelihood.to_json()
            assert word.startswith(likelihood.word)
            params = torch.randn(2, likelihood.n_params, *format.spec.shape, generator=torch.Generator().manual_seed(0))
            assert likelihood.nll(params, likelihood.sample(params, torch.Generator().manual_seed(1))).shape == (
                2,
                *format.spec.shape,
            )
        else:
            with pytest.raises(SettingError, match="does not suit") as caught:
                likelihood_of(word, format)
            assert all(other in str(caught.value) for other in possible)


def test_words_mean_what_they_say() -> None:
    assert [likelihood_of(word, IMAGE).to_json() for word in WORDS] == [
        {"word": "gaussian", "variance": "unit"},
        {"word": "gaussian", "variance": "learned"},
        {"word": "gaussian", "variance": "predicted"},
        {"word": "bernoulli", "dynamic": False},
        {"word": "bernoulli", "dynamic": True},
        {"word": "categorical", "levels": 256, "unit_interval": True},
        {"word": "logistic_mixture", "levels": 256, "components": 5},
    ]
    assert likelihood_of("categorical", TOKENS).to_json() == {
        "word": "categorical",
        "levels": 50,
        "unit_interval": False,
    }


def test_none_is_the_choice_of_the_format() -> None:
    assert likelihood_of(None, VECTOR) is VECTOR.own
    assert likelihood_of(None, TABLE) is TABLE.own


def test_instances_are_copied() -> None:
    own = Gaussian("learned")
    copied = likelihood_of(own, VECTOR)
    assert isinstance(copied, Gaussian)
    nn.init.constant_(copied.log_variance, -3.0)
    assert own.log_variance.item() == 0


def test_a_class_of_the_users_own_is_trusted() -> None:
    class Own(Gaussian):
        word = "own"

    own = Own(2.0)
    assert likelihood_of(own, TABLE).to_json() == {"word": "own", "variance": 2.0}
    assert likelihood_of(own, TABLE) is not own


@pytest.mark.parametrize(
    ("setting", "format", "message"),
    [
        (
            "bernoulli",
            VECTOR,
            "likelihood='bernoulli' does not suit vector of 5, elements unbounded and without levels: leave it None, "
            "or choose among gaussian, gaussian_learned, gaussian_predicted",
        ),
        (
            "logistic_mixture",
            GREY,
            "likelihood='logistic_mixture' does not suit image of 1 x 8 x 8, elements in [0, 1] and without levels: "
            "leave it None, or choose among gaussian, gaussian_learned, gaussian_predicted, bernoulli, "
            "bernoulli_dynamic",
        ),
        (
            "gaussian",
            TOKENS,
            "likelihood='gaussian' does not suit tokens of 12, 50 levels, whose codes are names and not quantities: "
            "leave it None, or choose among categorical",
        ),
        (
            "gaussian",
            TABLE,
            "likelihood='gaussian' does not suit table of 3, which has a likelihood for each column: leave it None",
        ),
        (
            DiscretisedLogisticMixture(128),
            IMAGE,
            "likelihood=DiscretisedLogisticMixture(levels=128, components=5) does not suit image of 1 x 8 x 8, 256 "
            "levels, elements in [0, 1]: give levels=256",
        ),
        (
            Categorical(256),
            IMAGE,
            "likelihood=Categorical(levels=256, unit_interval=False) does not suit image of 1 x 8 x 8, 256 levels, "
            "elements in [0, 1]: give unit_interval=True",
        ),
        (
            "normal",
            VECTOR,
            "likelihood='normal' is unknown: leave it None, or choose among gaussian, gaussian_learned, "
            "gaussian_predicted, or give a Likelihood",
        ),
        (
            3,
            VECTOR,
            "likelihood=3 is unknown: leave it None, or choose among gaussian, gaussian_learned, "
            "gaussian_predicted, or give a Likelihood",
        ),
    ],
    ids=str,
)
def test_messages(setting: Any, format: Stand, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        likelihood_of(setting, format)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "saved",
    [
        None,
        [],
        {},
        {"word": ["gaussian"]},
        {"word": "own"},
        {"word": "gaussian"},
        {"word": "gaussian", "variance": 0},
        {"word": "gaussian", "variance": "unit", "more": 1},
        {"word": "bernoulli", "dynamic": "no"},
        {"word": "categorical", "unit_interval": False},
        {"word": "categorical", "levels": 0, "unit_interval": False},
        {"word": "logistic_mixture", "levels": 256},
        {"word": "logistic_mixture", "levels": 2.5, "components": 5},
    ],
    ids=str,
)
def test_damaged_json_is_refused(saved: Any) -> None:
    with pytest.raises(DamagedFileError, match="the file"):
        likelihood_from_json(saved)
