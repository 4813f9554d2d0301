"""Vectors: items (n, d) of numbers, such as the rows of a table of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from torch import Tensor

from isthmus.errors import DataError, FormatError
from isthmus.formats.arrays import Origin, as_array, listing, stored
from isthmus.formats.base import Format, Spec
from isthmus.formats.saved import Saved
from isthmus.formats.scaling import SCALES, Scaling, extent_of, require_fit

if TYPE_CHECKING:
    from isthmus.likelihoods import Likelihood

__all__ = ["VectorFormat", "require_two_axes"]


class VectorFormat(Format):
    """Items (n, d): NumPy arrays, torch tensors, lists, frames of numbers; floats, integers or bools.

    The stored view (n, d) is exact and compact; the table in ``isthmus.formats.arrays`` says how. Integers come back
    exactly from the scaled view as long as (value - mean) / deviation fits the 24 bits of float32 and the value itself
    the 53 bits of float64. Items of another dtype than the learned one are taken, and the learned one comes back.

    Parameters
    ----------
    scale : what the scaled view is; default "auto"
        "auto": "none" where every value is 0 or 1, "standard" otherwise.
        "standard": each column less its mean, divided by its standard deviation.
        "global": each column less its mean, all divided by one deviation, the root of the mean variance of the
        columns, so that distances keep their proportions.
        "centre": each column less its mean.
        "none": the values themselves.

    Attributes
    ----------
    spec : Spec("vector", (d,)), with levels=2 where every value is 0 or 1
    unit : the unit of the scaled view, in words
    scale_ : what ``scale`` came to
    constant_ : names of the columns, or numbers where they have none, whose values are all equal. They scale to 0 and
        come back exactly. A column in which only the rounding differs counts as one
    binary_ : whether every value is 0 or 1 and both occur; unless scaled, such items have a Bernoulli likelihood
    unit_interval : whether the scaled view of the items learned from lies in [0, 1]
    origin_ : container, dtype and column names of the items learned from
    """

    word: ClassVar[str] = "vector"

    origin_: Origin
    scaling_: Scaling

    def __init__(self, scale: str = "auto") -> None:
        self.setting = scale  # "scale" is the method

    def fit(self, items: Any) -> Self:
        """Learn width, dtype and scaling from items (n, d); forgets an earlier fit.

        Raises DataError for NaN, infinity and empty arrays, FormatError for what is no array (n, d) of numbers, and
        SettingError for an unknown ``scale``.
        """
        self.fit_tensor(items)
        return self

    def fit_tensor(self, items: Any) -> Tensor:
        origin, array = as_array(items)
        require_two_axes(array, "this VectorFormat")
        extent = extent_of(array, origin)
        scaling = Scaling.learn(array, extent, self.setting)
        scaling.require_reach(extent.low, extent.high, lambda part: f"column {origin.name(part)}")
        self.origin_, self.scaling_ = origin, scaling
        self.spec = Spec("vector", (array.shape[1],), levels=2 if scaling.binary else None)
        return stored(array)

    def to_tensor(self, items: Any) -> Tensor:
        """Items (n, d) as they are, in the compact dtype of theirs; memory is shared where it can be.

        Raises what ``fit`` raises, and FormatError for another width or other names of columns than learned.
        """
        require_fit(self)
        origin, array = as_array(items)
        require_two_axes(array, "this VectorFormat")
        width = self.spec.shape[0]
        if array.shape[1] != width:
            raise FormatError(
                f"X has {array.shape[1]} features, but this VectorFormat is expecting {width} features as input"
            )
        self._require_names(origin)
        low, high, _ = extent_of(array, origin)
        named = origin if origin.columns is not None else self.origin_
        self.scaling_.require_reach(low, high, lambda part: f"column {named.name(part)}")
        return stored(array)

    def from_tensor(self, stored: Tensor) -> Any:
        """Stored values, or floats in their unit, (n, d) to an array or tensor in the learned dtype."""
        require_fit(self)
        return self.origin_.restore(self.require(stored))

    def scale(self, stored: Tensor) -> Tensor:
        """(n, d) to float32 (n, d)."""
        require_fit(self)
        return self.scaling_.scale(self.require(stored))

    def unscale(self, scaled: Tensor) -> Tensor:
        """(n, d) to float64 (n, d), or float32 on devices that have nothing wider."""
        require_fit(self)
        return self.scaling_.unscale(self.require(scaled))

    def likelihood(self) -> Likelihood:
        """Bernoulli for unscaled zeros and ones, otherwise a Gaussian of unit variance: squared error."""
        require_fit(self)
        return self.scaling_.likelihood()

    @property
    def unit(self) -> str:  # type: ignore[override]  # learned with the scaling
        require_fit(self)
        return self.scaling_.unit

    @property
    def unit_interval(self) -> bool:
        require_fit(self)
        return self.scaling_.bounded

    @property
    def scale_(self) -> str:
        return self.scaling_.how

    @property
    def binary_(self) -> bool:
        return self.scaling_.binary

    @property
    def constant_(self) -> list[str] | list[int]:
        columns = self.origin_.columns
        parts = self.scaling_.constant
        return list(parts) if columns is None else [columns[part] for part in parts]

    def to_json(self) -> dict[str, Any]:
        require_fit(self)
        return {
            "word": self.word,
            "scale": self.setting,
            "width": self.spec.shape[0],
            "origin": self.origin_.to_json(),
            "scaling": self.scaling_.to_json(),
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        fields = Saved(saved, "the saved vector format")
        fields.word("word", (cls.word,))
        format = cls(fields.word("scale", SCALES))
        width = fields.integer("width", least=1)
        format.origin_ = Origin.from_json(fields.get("origin"))
        if format.origin_.columns is not None and len(format.origin_.columns) != width:
            raise fields.refuse("origin", f"of {width} columns")
        format.scaling_ = Scaling.from_json(fields.get("scaling"), width)
        format.spec = Spec("vector", (width,), levels=2 if format.scaling_.binary else None)
        return format

    def __repr__(self) -> str:
        name = f"VectorFormat(scale={self.setting!r})"
        if not hasattr(self, "scaling_"):
            return f"<{name}, not fitted>"
        constant = f", {len(self.constant_)} constant" if self.constant_ else ""
        return f"<{name}: {self.spec}, {self.origin_}, in {self.unit}{constant}>"

    def _require_names(self, origin: Origin) -> None:
        learned, given = self.origin_.columns, origin.columns
        if learned is None or given is None or learned == given:
            return
        new = [f'"{name}"' for name in given if name not in learned]
        lost = [f'"{name}"' for name in learned if name not in given]
        told = [f"not learned: {listing(new)}"] * bool(new) + [f"missing: {listing(lost)}"] * bool(lost)
        raise FormatError(
            "The feature names should match those that were passed during fit: "
            + ("; ".join(told) or "they are in another order")
            + ". Select the columns learned from, in their order"
        )


def require_two_axes(array: np.ndarray, name: str) -> None:
    """DataError where an array is not (n, d) with at least one item and one column."""
    shape = array.shape
    if array.ndim < 2:
        given = "1D array" if array.ndim else "scalar array"
        raise DataError(
            f"Expected 2D array, got {given} instead: shape {shape}. Reshape your data: X.reshape(-1, 1) if it is one"
            " column, X.reshape(1, -1) if it is one item"
        )
    if array.ndim > 2:
        raise FormatError(
            f"Found array with dim {array.ndim}, while dim <= 2 is required by {name}: shape {shape}. For images or"
            ' series say so with format="image" or format="series"; to flatten them, X.reshape(len(X), -1)'
        )
    for count, part in zip(shape, ("sample(s)", "feature(s)"), strict=True):
        if not count:
            raise DataError(f"Found array with 0 {part} (shape={shape}) while a minimum of 1 is required by {name}.")
