"""Likelihoods by the words of settings, and from files."""

from __future__ import annotations

import copy
from typing import Any, Protocol

from isthmus.errors import DamagedFileError, SettingError
from isthmus.likelihoods.base import (
    Likelihood,
)
from isthmus.likelihoods.discrete import Bernoulli, Categorical, DiscretisedLogisticMixture
from isthmus.likelihoods.gaussian import Gaussian
from isthmus.likelihoods.table import Table

__all__ = ["WORDS", "likelihood_from_json", "likelihood_of"]

WORDS: tuple[str, ...] = (
    "gaussian",  # unit variance: squared error
    "gaussian_learned",
    "gaussian_predicted",
    "bernoulli",
    "bernoulli_dynamic",
    "categorical",
    "logistic_mixture",
)

CLASSES: dict[str, type[Likelihood]] = {
    each.word: each for each in (Gaussian, Bernoulli, Categorical, DiscretisedLogisticMixture, Table)
}


def likelihood_from_json(saved: Any) -> Likelihood:
    """The likelihood whose ``to_json`` gave ``saved``; load learned tensors with ``load_state_dict`` afterwards.

    Raises DamagedFileError for anything that ``to_json`` never writes.
    """
    word = saved.get("word") if isinstance(saved, dict) else None
    if not isinstance(word, str) or word not in CLASSES:
        raise DamagedFileError(f"the file names no known likelihood: {saved!r:.200}; known: {', '.join(CLASSES)}")
    try:
        likelihood = CLASSES[word](**{name: value for name, value in saved.items() if name != "word"})
    except (SettingError, TypeError) as error:
        raise DamagedFileError(f"the file describes an impossible {word} likelihood: {error}") from error
    if likelihood.to_json() != saved:
        raise DamagedFileError(f"the file describes only a part of a {word} likelihood: {saved!r:.200}")
    return likelihood


class Described(Protocol):
    """What ``likelihood_of`` asks of a format, which stands a floor above. An image's scaled view is in [0, 1];
    any other format whose scaled view is may say so with an attribute ``unit_interval = True``."""

    spec: Any

    def likelihood(self) -> Likelihood: ...


def _possible(format: Described) -> tuple[str, ...]:
    """The words that suit a format's scaled view."""
    kind, levels = format.spec.kind, format.spec.levels
    if kind == "table":
        return ()  # a table has a likelihood for each column, which its format knows
    if kind == "tokens":
        return ("categorical",)  # codes are names, not quantities
    words = WORDS[:3]
    if kind == "image" or getattr(format, "unit_interval", False):
        words += WORDS[3:5]
        words += ("categorical",) if levels else ()
        words += ("logistic_mixture",) if levels and 2 <= levels <= 2**16 else ()
    return words


def likelihood_of(setting: str | Likelihood | None, format: Described) -> Likelihood:
    """The likelihood that a user's setting means for the items of a fitted format.

    Parameters
    ----------
    setting : None, the format's own choice; one of ``WORDS``; or a Likelihood, of which a deep copy is taken, so that
        training does not change the user's object
    format : a fitted Format

    Raises SettingError, naming what is possible, where the setting is none of these, or cannot describe such items:
    zeros and ones for unbounded numbers, levels for data without levels, another number of levels.
    """
    if setting is None:
        return format.likelihood()
    possible, spec = _possible(format), format.spec
    choice = f"leave it None, or choose among {', '.join(possible)}" if possible else "leave it None"
    if isinstance(setting, Likelihood):
        if setting.word not in CLASSES:
            return copy.deepcopy(setting)  # the user's own class: the user knows
        word = setting.word
    elif isinstance(setting, str) and setting in WORDS:
        word = setting
    else:
        raise SettingError(f"likelihood={setting!r} is unknown: {choice}, or give a Likelihood")
    if word not in possible:
        raise SettingError(f"likelihood={setting!r} does not suit {_scaled_view(format)}: {choice}")
    unit_interval = spec.kind != "tokens"
    if isinstance(setting, Likelihood):
        wanted: dict[str, Any] = {"levels": spec.levels, "unit_interval": unit_interval}
        for name, value in wanted.items():
            if getattr(setting, name, value) != value:
                raise SettingError(f"likelihood={setting!r} does not suit {_scaled_view(format)}: give {name}={value}")
        return copy.deepcopy(setting)
    family, _, variant = word.partition("_")
    if family == "gaussian":
        return Gaussian(variance=variant or "unit")
    if family == "bernoulli":
        return Bernoulli(dynamic=variant == "dynamic")
    if family == "categorical":
        return Categorical(spec.levels, unit_interval)
    return DiscretisedLogisticMixture(spec.levels)


def _scaled_view(format: Described) -> str:
    """What a format's items look like to a likelihood, for messages."""
    if format.spec.kind == "table":
        return f"{format.spec}, which has a likelihood for each column"
    if format.spec.kind == "tokens":
        return f"{format.spec}, whose codes are names and not quantities"
    bounded = format.spec.kind == "image" or getattr(format, "unit_interval", False)
    levels = "" if format.spec.levels else " and without levels"
    return f"{format.spec}, elements {'in [0, 1]' if bounded else 'unbounded'}{levels}"
