"""Series: items (n, t) of one channel or (n, t, c) of several, sampled at t equal steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from torch import Tensor

from isthmus.errors import DataError, FormatError
from isthmus.formats.arrays import Origin, as_array, stored
from isthmus.formats.base import Format, Spec
from isthmus.formats.saved import LONGEST_SIDE, Saved
from isthmus.formats.scaling import SCALES, Scaling, extent_of, require_fit

if TYPE_CHECKING:
    from isthmus.likelihoods import Likelihood

__all__ = ["SeriesFormat"]


class SeriesFormat(Format):
    """Items (n, t) or (n, t, c), of the containers and dtypes that vectors may have; stored as (n, c, t).

    They come back in the rank, container and dtype learned. Of a frame (n, t) the names of the steps are not kept.

    Parameters
    ----------
    scale : what the scaled view is; default "auto". As for vectors, with channels in the place of columns: the mean
        and deviation of a channel are over all items and steps

    Attributes
    ----------
    spec : Spec("series", (c, t)), with levels=2 where every value is 0 or 1
    unit : the unit of the scaled view, in words
    rank_ : 2 for items (n, t), 3 for items (n, t, c)
    scale_ : what ``scale`` came to
    constant_ : numbers of the channels whose values are all equal. They scale to 0 and come back exactly
    binary_ : whether every value is 0 or 1 and both occur; unless scaled, such items have a Bernoulli likelihood
    unit_interval : whether the scaled view of the items learned from lies in [0, 1]
    origin_ : container and dtype of the items learned from
    """

    word: ClassVar[str] = "series"

    origin_: Origin
    scaling_: Scaling
    rank_: int

    def __init__(self, scale: str = "auto") -> None:
        self.setting = scale  # "scale" is the method

    def fit(self, items: Any) -> Self:
        """Learn length, channels, dtype and scaling from items (n, t) or (n, t, c); forgets an earlier fit.

        Raises DataError for NaN, infinity and empty arrays, FormatError for what is no such array of numbers, and
        SettingError for an unknown ``scale``.
        """
        origin, array = as_array(items, "series")
        series = _channels_first(array)
        extent = extent_of(series, origin, "series", sums=self.setting == "centre")
        scaling = Scaling.learn(series, extent, self.setting)
        scaling.require_reach(extent.low, extent.high, lambda part: f"channel {part}")
        self.origin_, self.scaling_, self.rank_ = Origin(origin.container, origin.dtype), scaling, array.ndim
        self.spec = Spec("series", (series.shape[1], series.shape[2]), levels=2 if scaling.binary else None)
        return self

    def to_tensor(self, items: Any) -> Tensor:
        """Items as (n, c, t), in the compact dtype of theirs; memory is shared where it can be.

        Raises what ``fit`` raises, and FormatError for another length, number of channels or rank than learned.
        """
        require_fit(self)
        origin, array = as_array(items, "series")
        series = _channels_first(array)
        c, t = self.spec.shape
        if array.ndim != self.rank_ or series.shape[1:] != (c, t):
            learned = f"(n, {t})" if self.rank_ == 2 else f"(n, {t}, {c})"
            one = ". If it is one series, give X[None]" if array.shape == (t, c)[: self.rank_ - 1] else ""
            raise FormatError(
                f"series of shape {array.shape} given, but this SeriesFormat is expecting {learned}: {t} steps of"
                f" {c} {'channel' if c == 1 else 'channels'}{one}"
            )
        low, high, _ = extent_of(series, origin, "series")
        self.scaling_.require_reach(low, high, lambda part: f"channel {part}")
        return stored(series, "series")

    def from_tensor(self, stored: Tensor) -> Any:
        """Stored values, or floats in their unit, (n, c, t) to (n, t) or (n, t, c) in the learned dtype."""
        require_fit(self)
        series = self.require(stored)
        return self.origin_.restore(series[:, 0] if self.rank_ == 2 else series.transpose(1, 2))

    def scale(self, stored: Tensor) -> Tensor:
        """(n, c, t) to float32 (n, c, t)."""
        require_fit(self)
        return self.scaling_.scale(self.require(stored), axes=1)

    def unscale(self, scaled: Tensor) -> Tensor:
        """(n, c, t) to float64 (n, c, t), or float32 on devices that have nothing wider."""
        require_fit(self)
        return self.scaling_.unscale(self.require(scaled), axes=1)

    def squares(self, linear: Tensor) -> tuple[Tensor, list[str]] | None:
        if self.scale_ != "standard":
            return None
        return linear.square().mean(2), [f"channel {part}" for part in range(self.spec.shape[0])]

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
    def constant_(self) -> list[int]:
        return list(self.scaling_.constant)

    def to_json(self) -> dict[str, Any]:
        require_fit(self)
        return {
            "word": self.word,
            "scale": self.setting,
            "channels": self.spec.shape[0],
            "length": self.spec.shape[1],
            "rank": self.rank_,
            "origin": self.origin_.to_json(),
            "scaling": self.scaling_.to_json(),
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        fields = Saved(saved, "the saved series format")
        fields.word("word", (cls.word,))
        format = cls(fields.word("scale", SCALES))
        format.rank_ = fields.integer("rank", least=2, most=3)
        channels = fields.integer("channels", least=1, most=1 if format.rank_ == 2 else LONGEST_SIDE)
        length = fields.integer("length", least=1)
        format.origin_ = Origin.from_json(fields.get("origin"))
        format.scaling_ = Scaling.from_json(fields.get("scaling"), channels)
        format.spec = Spec("series", (channels, length), levels=2 if format.scaling_.binary else None)
        return format

    def __repr__(self) -> str:
        name = f"SeriesFormat(scale={self.setting!r})"
        if not hasattr(self, "scaling_"):
            return f"<{name}, not fitted>"
        constant = f", {len(self.constant_)} constant" if self.constant_ else ""
        return f"<{name}: {self.spec}, {self.origin_}, in {self.unit}{constant}>"


def _channels_first(array: np.ndarray) -> np.ndarray:
    """(n, t) or (n, t, c) as (n, c, t); errors for other ranks and for nothing at all."""
    shape = array.shape
    if array.ndim not in (2, 3):
        one = ". If it is one series, give X.reshape(1, -1)" if array.ndim == 1 else ""
        raise FormatError(f"an array of shape {shape} does not hold series; (n, t) or (n, t, c) is expected{one}")
    for count, part in zip(shape, ("sample(s)", "step(s)", "channel(s)"), strict=False):
        if not count:
            raise DataError(f"Found array with 0 {part} (shape={shape}) while a minimum of 1 is required of series.")
    return array[:, None, :] if array.ndim == 2 else array.transpose(0, 2, 1)
