"""Vectors: items (n, d) of numbers, such as the rows of a table of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from torch import Tensor

from isthmus.errors import DataError, FormatError
from isthmus.formats.arrays import Origin, as_array, listing, stored
from isthmus.formats.base import Format, Spec
from isthmus.formats.rows import fits_in_memory
from isthmus.formats.saved import Saved
from isthmus.formats.scaling import SCALES, Scaling, extent_of, require_fit

if TYPE_CHECKING:
    from isthmus.likelihoods import Likelihood

if TYPE_CHECKING:
    from isthmus.formats.frames import Container, Source

__all__ = ["VectorFormat", "holds_numbers", "require_two_axes"]

NUMBERS = {
    "bool",
    "halffloat",
    "float",
    "double",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}


class VectorFormat(Format):
    """Items (n, d): NumPy arrays, torch tensors, lists, frames and files of numbers; floats, integers or bools.

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
    frame_ : of a frame or a file, the kind of frame that comes back, and the dtypes of its columns; None otherwise
    """

    word: ClassVar[str] = "vector"

    origin_: Origin
    scaling_: Scaling
    frame_: _Frame | None

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
        origin, array, frame = _read(items)
        require_two_axes(array, "this VectorFormat")
        extent = extent_of(array, origin, sums=self.setting == "centre")
        scaling = Scaling.learn(array, extent, self.setting)
        scaling.require_reach(extent.low, extent.high, lambda part: f"column {origin.name(part)}")
        self.origin_, self.scaling_, self.frame_ = origin, scaling, frame
        self.spec = Spec("vector", (array.shape[1],), levels=2 if scaling.binary else None)
        return stored(array)

    def to_tensor(self, items: Any) -> Tensor:
        """Items (n, d) as they are, in the compact dtype of theirs; memory is shared where it can be.

        Raises what ``fit`` raises, and FormatError for another width or other names of columns than learned.
        """
        require_fit(self)
        origin, array, _ = _read(items)
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
        """Stored values, or floats in their unit, (n, d) to an array, tensor or frame in the learned dtype or
        dtypes."""
        require_fit(self)
        self.require(stored)
        return self.origin_.restore(stored) if self.frame_ is None else self.frame_.restore(stored, self.origin_)

    def scale(self, stored: Tensor) -> Tensor:
        """(n, d) to float32 (n, d)."""
        require_fit(self)
        return self.scaling_.scale(self.require(stored))

    def unscale(self, scaled: Tensor) -> Tensor:
        """(n, d) to float64 (n, d), or float32 on devices that have nothing wider."""
        require_fit(self)
        return self.scaling_.unscale(self.require(scaled))

    def squares(self, linear: Tensor) -> tuple[Tensor, list[str]] | None:
        if self.scale_ != "standard":
            return None
        return linear.square(), [f"column {self.origin_.name(part)}" for part in range(self.spec.size)]

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
        saved = {
            "word": self.word,
            "scale": self.setting,
            "width": self.spec.shape[0],
            "origin": self.origin_.to_json(),
            "scaling": self.scaling_.to_json(),
        }
        return saved if self.frame_ is None else saved | {"frame": self.frame_.to_json()}

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
        frame = fields.values.get("frame")  # of frames and files alone
        format.frame_ = None if frame is None else _Frame.from_json(frame, width)
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


class _Frame(NamedTuple):
    """What the columns of a frame of numbers were: Arrow's names of their types, and the kind of frame."""

    types: tuple[str, ...]
    container: Container

    def restore(self, values: Tensor, origin: Origin) -> Any:
        """(n, d) stored values or floats to a frame; rounded and clipped to what each column can hold."""
        import pyarrow

        from isthmus.formats.containers import arrow_type

        columns = []
        for column, word in zip(values.unbind(1), self.types, strict=True):
            kind = arrow_type(word)
            array = Origin("numpy", np.dtype(kind.to_pandas_dtype()).name).restore(column)
            columns.append(pyarrow.array(array).cast(kind))
        return self.container.restore(pyarrow.table(columns, names=list(origin.columns or ())))

    def to_json(self) -> dict[str, Any]:
        return {"types": list(self.types), "container": self.container.to_json()}

    @classmethod
    def from_json(cls, saved: Any, width: int) -> _Frame:
        from isthmus.formats.frames import NUMBERS, Container

        fields = Saved(saved, "the saved frame")
        types = fields.words("types", width) or ()
        if not types or not set(types) <= NUMBERS:
            raise fields.refuse("types", "names of types of numbers")
        return cls(types, Container.from_json(fields.get("container")))


def _read(items: Any) -> tuple[Origin, np.ndarray, _Frame | None]:
    """Items as an array, what they were, and of frames and files what their columns were."""
    from isthmus.formats.frames import is_table, source_of

    if not is_table(items):
        return *as_array(items), None
    source = source_of(items)
    types = tuple(str(field.type) for field in source.schema)
    array = np.asarray(source)
    origin = Origin("numpy", str(array.dtype), tuple(source.schema.names))
    return origin, array, _Frame(types, source.container)


def holds_numbers(source: Source) -> bool:
    """Whether a table is numbers alone, or booleans alone, without a hole, and fits in memory as an array."""
    from isthmus.formats.frames import NUMBERS

    types = {str(field.type) for field in source.schema}
    if not types <= NUMBERS or ("bool" in types and len(types) > 1):
        return False
    if not source.in_memory and not fits_in_memory(source.count() * len(source.schema) * 8):
        return False
    return source.whole


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
