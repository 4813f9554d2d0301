"""What a format is: how items become tensors and tensors become items.

Two views of the same items, and two pairs of inverse calls:

    items --to_tensor--> stored --scale--> scaled
    items <-from_tensor- stored <-unscale- scaled

*stored* holds the items exactly, in a compact dtype (uint8 pixels, integer codes, floats as they came): it is what
rests in memory during training. *scaled* is what a network and a likelihood see: float32, made a batch at a time
on the compute device. ``from_tensor(to_tensor(items))`` is the items again, dtype included.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from torch import Tensor

from isthmus.errors import FormatError

if TYPE_CHECKING:
    from isthmus.likelihoods import Likelihood

__all__ = ["Column", "Format", "Kind", "Spec"]

Kind = Literal["vector", "image", "series", "table", "tokens"]


@dataclass(frozen=True)
class Column:
    """One element of the scaled view of a table: a number, or a choice among levels.

    Attributes
    ----------
    name : of the user's column that it belongs to; a column may have several elements
    kind : what the column holds: "continuous", "integer", "boolean", "category", "ordinal", "datetime", "text", ...
    levels : of a choice; None for a number
    edges : of a number: rising quantiles of the scaled values learned from
    nats : what guessing the element from its shares alone costs, mean over the rows that have a value of the column:
        0.5 for a number of unit deviation that all of them have
    shares : of a choice: how often each level was seen, summing to 1
    spike : of a number that is missing where its column holds one frequent value, which the next element tells: where
        that value would lie. None for others
    """

    name: str
    kind: str
    levels: int | None = None
    edges: tuple[float, ...] = ()
    nats: float = 0.5
    shares: tuple[float, ...] = ()
    spike: float | None = None


@dataclass(frozen=True)
class Spec:
    """All that a network needs to know about the tensors of a format.

    Attributes
    ----------
    kind : what the axes of one item mean
    shape : shape of one item: vector (d,), image (c, h, w), series (c, t), table (elements,), tokens (t,)
    levels : how many values an element can take (256 for 8-bit pixels, the vocabulary of tokens), None when continuous
    columns : one entry for each element of a table's scaled view, empty otherwise
    """

    kind: Kind
    shape: tuple[int, ...]
    levels: int | None = None
    columns: tuple[Column, ...] = ()

    @property
    def size(self) -> int:
        """Number of elements of one item."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        sides = " x ".join(str(side) for side in self.shape)
        return f"{self.kind} of {sides}" + (f", {self.levels} levels" if self.levels else "")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        columns = tuple(
            Column(**(column | {name: tuple(column.get(name, ())) for name in ("edges", "shares")}))
            for column in saved.get("columns", ())
        )
        return cls(saved["kind"], tuple(saved["shape"]), saved.get("levels"), columns)


class Format(ABC):
    """Turns items into tensors and tensors into items. Settings in ``__init__``; ``fit`` learns ``spec`` and scaling.

    Attributes
    ----------
    spec : Spec, learned by ``fit``
    unit : str, the unit of one element of the scaled view, as it is printed beside an error
    """

    word: ClassVar[str]  # names the format in files and messages
    spec: Spec
    unit: str

    @abstractmethod
    def fit(self, items: Any) -> Self:
        """Learn shape, dtype and scaling from items. Forgets an earlier fit. Raises DataError, FormatError."""

    @abstractmethod
    def to_tensor(self, items: Any) -> Tensor:
        """Items to the stored view (n, *spec.shape), exact. Raises DataError or FormatError naming the item."""

    def fit_tensor(self, items: Any) -> Tensor:
        """``fit(items).to_tensor(items)``; a format that can looks at the items once for both."""
        return self.fit(items).to_tensor(items)

    def opened(self, items: Any) -> Any:
        """The items as ``pieces`` takes them too; of tables a source, which may know how many rows it has."""
        return items

    def pieces(self, items: Any) -> Iterator[Tensor]:
        """The stored view in pieces that fit in memory, in the order of the items: one piece, unless items are read."""
        yield self.to_tensor(items)

    @abstractmethod
    def from_tensor(self, stored: Tensor) -> Any:
        """The stored view, or float values in its unit, to items in the user's own form.

        Values are rounded and clipped to what the items' dtype can hold.
        """

    def from_tensor_of(self, stored: Tensor, items: Any) -> Any:
        """``from_tensor`` of what was made of these items: what the stored view leaves aside may be taken from them."""
        return self.from_tensor(stored)

    @abstractmethod
    def scale(self, stored: Tensor) -> Tensor:
        """Stored to scaled, float32, on the tensor's own device."""

    @abstractmethod
    def unscale(self, scaled: Tensor) -> Tensor:
        """Scaled to values in the stored unit (floating point, not rounded): undoes ``scale``."""

    def linear(self, scaled: Tensor) -> Tensor:
        """Scaled items as numbers that can be added and subtracted, in which errors are measured; NaN: not there.

        The scaled view itself, unless it holds choices.
        """
        return scaled

    def lines(self) -> Format:
        """The format whose scaled view is the linear one of the same stored items: this one, without choices."""
        return self

    def column_errors(self, stored: Tensor, again: Tensor) -> list[dict[str, Any]]:
        """How far a table's columns are from what came back, each in its own unit; empty for what has no columns."""
        return []

    def squares(self, linear: Tensor) -> tuple[Tensor, list[str]] | None:
        """Mean squares (n, P) of the parts of an item in the linear view, each one 1 at most on average over what was
        learned from, and how messages call them; None where the scaling does not say so. NaN: not there."""
        return None

    def linear_mean(self, likelihood: Likelihood, params: Tensor) -> Tensor:
        """Means of items given the decoder's output (B, P, D...), in the view of ``linear``: of a choice, chances."""
        return likelihood.mean(params)

    @property
    def n_features(self) -> int:
        """What scikit-learn calls the number of features: elements of an item, or columns of a table."""
        return self.spec.size

    @abstractmethod
    def likelihood(self) -> Likelihood:
        """The likelihood that fits the elements when the user names none."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Settings and what was learned, as JSON values."""

    @classmethod
    @abstractmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        """The format that ``to_json`` described. Raises DamagedFileError for what it never writes."""

    def require(self, stored: Tensor) -> Tensor:
        """The tensor itself where its items have the learned shape; FormatError otherwise."""
        if tuple(stored.shape[1:]) != self.spec.shape:
            raise FormatError(
                f"items of shape {tuple(stored.shape[1:])} given, but this {self.word} format learned {self.spec.shape}"
            )
        return stored
