"""The abstract embedding that tells labels, and other attributes, from its codes.

How they are learned stands in ``isthmus.training.supervision``.

Shapes: n items; K latents; C classes.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from isthmus import priors
from isthmus.errors import DataError, NotSupported, warn
from isthmus.formats.labels import Target, target_of
from isthmus.models.embedding import Embedding
from isthmus.networks.coder import Coder

__all__ = ["Telling", "Told", "digest_of"]

OF_A_CLASS = 2_000  # codes of which the prior of a class is fitted
OF_CLASS = "class_priors."  # how the tensors of a class's prior are called in a file


class Told(dict[str | None, tuple[Target, np.ndarray]]):
    """What was given to be told: targets and their values by name, None being ``y``."""


class NotTold(NotSupported, AttributeError):
    """What needs labels, asked of a model that was fitted without: ``hasattr`` is False, as scikit-learn expects."""


class _when_told:  # noqa: N801  # used as a decorator
    """A method that is there only where ``y`` was given to ``fit``."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    def __get__(self, model: Any, kind: Any = None) -> Any:
        if model is None:
            return self.method
        if not self.has(model):
            raise NotTold(
                f"{self.method.__name__} needs a model that learned labels, and this {type(model).__name__} did not: "
                "give them to fit(X, y), -1 or None where an item has none"
            )
        return MethodType(self.method, model)

    def has(self, model: Any) -> bool:
        return any(target.name is None for target in getattr(model, "_targets", ()))


class _when_classes(_when_told):  # noqa: N801
    """The same where ``y`` are classes."""

    def has(self, model: Any) -> bool:
        return hasattr(model, "classes_")


class Telling(Embedding):
    """An embedding whose network may have heads that tell targets from codes. Abstract.

    Attributes
    ----------
    classes_ : (C,) sorted, where ``y`` were classes
    class_priors_ : a prior of the codes of each of them
    """

    supervision: float
    network_: Coder
    classes_: np.ndarray
    class_priors_: list[priors.Prior]
    _targets: list[Target]

    # ---- what can be asked -------------------------------------------------------------------------------------------

    @_when_told
    def predict(self, X: Any) -> np.ndarray:
        """(n,) what ``y`` is of each item, as told from its code: one of ``classes_``, or a number (float64).

        There only where ``y`` was given to ``fit``. Raises DataError, FormatError as ``encode``.
        """
        return self._answers(X)[0]  # y stands before auxiliaries

    @_when_classes
    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, C) float64, the chance of each of ``classes_``, rows summing to one.

        There only where ``y`` was given to ``fit`` and its values are classes. Raises DataError, FormatError as
        ``encode``. Training on its own pseudo-labels makes a network surer than it should be: ``isthmus.label`` gives
        calibrated confidences.
        """
        return _chances(self._outcomes(X)[0])

    def predict_auxiliary(self, X: Any) -> dict[str, np.ndarray]:
        """By name, (n,) what each auxiliary attribute is of each item: classes, or numbers in their own unit.

        Raises
        ------
        NotSupported : no auxiliary attributes were given to ``fit``
        """
        if not any(target.name is not None for target in getattr(self, "_targets", ())):
            raise NotSupported(f"this {type(self).__name__} learned no auxiliary attributes: give them to fit(X, "
                               'auxiliary={"colour": values})')  # fmt: skip
        answers = zip(self._targets, self._answers(X), strict=True)
        return {target.name: told for target, told in answers if target.name is not None}

    def _answers(self, X: Any) -> list[np.ndarray]:
        return [
            target.mean + target.deviation * told[:, 0] if target.classes is None else target.classes[told.argmax(1)]
            for target, told in zip(self._targets, self._outcomes(X), strict=True)
        ]

    def _outcomes(self, X: Any) -> list[np.ndarray]:
        """What the heads say of items, of each target (n, C) logits or (n, 1), float64."""
        stored = self._stored(X)
        told = self._in_blocks(lambda some: self.network_.heads.whole(self._encode_stored(some)), stored)
        return [part.double().numpy() for part in told.split(self.network_.heads.widths, dim=1)]

    def truncate(self, k: int) -> Self:
        """As in Embedding, with what tells labels and the priors of the classes. Raises SettingError, NotSupported."""
        shorter = super().truncate(k)
        if hasattr(shorter, "class_priors_"):
            shorter.class_priors_ = [prior.first(int(k)) for prior in shorter.class_priors_]
        return shorter

    # ---- what children use -------------------------------------------------------------------------------------------

    def _told(self, y: Any, auxiliary: Any, count: int) -> Told | None:
        """What is to be told, checked; None where nothing is."""
        if auxiliary is not None and not (
            isinstance(auxiliary, Mapping) and all(isinstance(name, str) for name in auxiliary)
        ):
            raise DataError(f'auxiliary is a {type(auxiliary).__name__}; expected a dict such as {{"colour": values}}')
        given = ({} if y is None else {None: y}) | dict(auxiliary or {})
        if not given or not self.supervision:
            return None
        try:
            return Told({name: target_of(values, count, name) for name, values in given.items()})
        except DataError as error:
            raise DataError(
                f"{error}. To leave labels aside, where a pipeline passes them on: supervision=0"
            ) from error

    def _adopt_targets(self, targets: list[Target]) -> None:
        """What this model tells from codes; what an earlier one told is forgotten."""
        for name in ("classes_", "class_priors_"):
            self.__dict__.pop(name, None)
        self._targets = targets
        classes = [target.classes for target in targets if target.name is None]
        if classes and classes[0] is not None:
            self.classes_ = classes[0]

    def _fitted_class_priors(self, stored: Tensor, coded: np.ndarray, some: np.ndarray) -> list[priors.Prior]:
        """A mixture of the codes of each class: of items with its label, and of ``some`` told to have it."""
        count = len(self.classes_)
        rows = np.unique(np.concatenate([some, *(np.flatnonzero(coded == c)[:OF_A_CLASS] for c in range(count))]))
        codes = self._in_blocks(self._encode_stored, stored[torch.from_numpy(rows)])
        told = self._in_blocks(self.network_.heads.whole, codes)[:, :count].argmax(1).numpy()
        classes = np.where(coded[rows] >= 0, coded[rows], told)
        of_classes = [np.flatnonzero(classes == c) for c in range(count)]
        of_classes = [codes[mine[:: max(len(mine) // OF_A_CLASS, 1)]].numpy() for mine in of_classes]
        try:
            return [priors.GaussianMixture().fit(mine) for mine in of_classes]
        except KeyboardInterrupt:
            warn("interrupted while the priors of the classes were fitted: items of a class are drawn from a Gaussian")
            return [priors.Gaussian().fit(mine) for mine in of_classes]

    def _class_tensors(self) -> dict[str, Tensor]:
        """The priors of the classes, as tensors of a file."""
        return {
            f"{OF_CLASS}{c}.{name}": torch.from_numpy(array)
            for c, prior in enumerate(getattr(self, "class_priors_", ()))
            for name, array in prior.arrays().items()
        }

    def _learned_targets(self) -> dict[str, Any]:
        """What is told, as JSON values; nothing where nothing is."""
        if not self._targets:
            return {}
        own = [prior.to_json() for prior in getattr(self, "class_priors_", ())]
        return {"targets": [target.to_json() for target in self._targets], "class_priors": own}

    def _restore_targets(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of ``_learned_targets`` and ``_class_tensors``; returns the tensors that are of neither."""
        self._adopt_targets([Target.from_json(saved) for saved in learned.get("targets", ())])
        saved = learned.get("class_priors", [])
        if len(saved) != len(getattr(self, "classes_", ())):
            raise ValueError("there is not one prior for each class")
        rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(OF_CLASS)}
        found = []
        for c, described in enumerate(saved):
            mine = f"{OF_CLASS}{c}."
            arrays = {name.removeprefix(mine): t.numpy() for name, t in tensors.items() if name.startswith(mine)}
            found.append(priors.prior_from_json(described, arrays))
            if found[-1].latent_dim_ != self.latent_dim_:
                raise ValueError("the prior of a class is of another length than codes")
        if found:
            self.class_priors_ = found
        return rest


def _chances(logits: np.ndarray) -> np.ndarray:
    """(n, C) softmax of each row."""
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(odds / odds.sum(1, keepdims=True))


def digest_of(told: Told) -> str:
    """Names what was to be told, for the checkpoint's fingerprint."""
    digest = hashlib.sha256()
    for target, values in told.values():
        digest.update(repr(target.to_json()).encode() + values.tobytes())
    return digest.hexdigest()
