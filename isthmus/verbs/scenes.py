"""Pictures and series of any size, and other items, in the scaled view of a model that learned smaller ones.

A format takes what it learned: items of one size, with values in their range. What is to be mended is neither: it is a
whole photograph for a model of patches, and noise goes beyond black and white. So it is read here, with checks of its
own, and what was made of it goes back in the container, rank and dtype in which it was given.

Letters: n items; c channels; S... the sides of a picture or series.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import DataError, FormatError, NotSupported
from isthmus.formats.arrays import as_array, refuse_non_finite
from isthmus.formats.images import ImageFormat
from isthmus.formats.picture_folders import image_files
from isthmus.formats.pictures import read_headers
from isthmus.formats.series import SeriesFormat

__all__ = ["Scenes", "scenes_of"]

LIKELY_UNIT = (-2.0, 3.0)  # what noisy pixels in [0, 1] lie in
FAR = 10.0  # times the range from black to white, which no noise worth taking away goes beyond


class Scenes(NamedTuple):
    """Items in the scaled view, not flattened, and the way back.

    Attributes
    ----------
    items : tensors (c, S...) of float32, of a vector (d,)
    back : from such tensors, maybe of other sides, to items in the form in which they were given
    """

    items: list[Tensor]
    back: Callable[[list[Tensor]], Any]


def scenes_of(model: Any, X: Any, verb: str) -> Scenes:
    """Items of any size as a fitted model sees them.

    Raises NotSupported for models of tables, FormatError for other channels or ranks, DataError for values that are not
    finite.
    """
    form = model.format_
    if form.spec.kind == "table":
        raise NotSupported(
            f"{verb} is for vectors, images and series; this model learned a table, whose columns have no noise in "
            "common. impute fills its holes; numbers alone can be given as an array: X.to_numpy()"
        )
    if isinstance(form, ImageFormat):
        return _pictures(form, X)
    if isinstance(form, SeriesFormat):
        return _series(form, X)
    scaled = form.scale(model._stored(X))
    return Scenes(list(scaled), lambda made: form.from_tensor(form.unscale(torch.stack(made))))


def _series(form: SeriesFormat, X: Any) -> Scenes:
    origin, array = as_array(X, "series")
    channels = form.spec.shape[0]
    if array.ndim != form.rank_ or not array.size or (array.ndim == 3 and array.shape[2] != channels):
        wanted = "(n, t)" if form.rank_ == 2 else f"(n, t, {channels})"
        one = ": if it is one series, give X[None]" if array.ndim == form.rank_ - 1 else ""
        raise FormatError(f"an array of shape {array.shape} given; this model learned series {wanted}{one}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        refuse_non_finite(array, origin, "series")
    series = array[:, None] if array.ndim == 2 else array.transpose(0, 2, 1)
    scaled = form.scaling_.scale(torch.from_numpy(np.ascontiguousarray(series, dtype=np.float64)), axes=1)

    def back(made: list[Tensor]) -> Any:
        values = form.scaling_.unscale(torch.stack(made), axes=1)
        return origin.restore(values[:, 0] if array.ndim == 2 else values.transpose(1, 2))

    return Scenes(list(scaled), back)


def _pictures(form: ImageFormat, X: Any) -> Scenes:
    files = _files(X)
    if files is not None:
        X = [_read(form, source) for source in files]
    if isinstance(X, (list, tuple)) and len({np.shape(one) for one in X}) > 1:  # of several sizes: one by one
        parts = [_array(form, one[None], place) for place, one in enumerate(map(np.asarray, X))]
        return Scenes([part.items[0] for part in parts],
                      lambda made: [part.back([one])[0] for part, one in zip(parts, made, strict=True)])  # fmt: skip
    return _array(form, X)


def _files(X: Any) -> list[Any] | None:
    """Paths of picture files, or Pillow images; None for arrays."""
    if isinstance(X, (str, Path)):
        path = Path(X)
        return list(image_files(path)) if path.is_dir() else [path]
    if isinstance(X, (list, tuple)) and X and all(isinstance(one, (str, Path)) for one in X):
        return [Path(one) for one in X]
    if hasattr(X, "getbands"):
        return [X]
    return list(X) if isinstance(X, (list, tuple)) and X and all(hasattr(one, "getbands") for one in X) else None


def _read(form: ImageFormat, source: Any) -> np.ndarray:
    """A picture file in its own size, in the learned channels and levels: (h, w) or (h, w, c)."""
    header = read_headers([source], False)[0]
    own = ImageFormat(size=(header.height, header.width)).fit([source])
    if own.spec.shape[0] != form.spec.shape[0]:
        raise FormatError(
            f"{source} has {own.spec.shape[0]} channels; this model learned pictures of {form.spec.shape[0]}. Convert "
            "it first, or fit a model to such pictures"
        )
    pixels = own.scale(own.to_tensor([source]))[0].double() * (form.high_ - form.low_) + form.low_
    kept = np.dtype(form.origin_.dtype if form.origin_.dtype != "bfloat16" else "float32")
    array = pixels.numpy()
    array = np.rint(array).astype(kept) if kept.kind in "iu" else array.astype(kept)
    return array[0] if len(array) == 1 else array.transpose(1, 2, 0)


def _array(form: ImageFormat, X: Any, place: int | None = None) -> Scenes:
    origin, array = as_array(X, "images")
    called = "images" if place is None else f"item {place}"
    channels = form.spec.shape[0]
    layout = _layout(array, channels, origin.container, called)
    if not array.size:
        raise DataError(f"there are no images: the array has shape {array.shape}")
    images = array[:, None] if layout == "none" else array.transpose(0, 3, 1, 2) if layout == "last" else array
    if array.dtype.kind == "f":
        _require_finite(images, place)
    _require_range(form, float(images.min()), float(images.max()), array.dtype.kind == "f", place)
    wide = torch.from_numpy(images.astype(np.float64))
    scaled = ((wide - form.low_) / (form.high_ - form.low_)).float()

    def back(made: list[Tensor]) -> Any:
        values = torch.stack(made).double().clamp(0, 1) * (form.high_ - form.low_) + form.low_
        items = values[:, 0] if layout == "none" else values.permute(0, 2, 3, 1) if layout == "last" else values
        return origin.restore(items)

    return Scenes(list(scaled), back)


def _layout(array: np.ndarray, channels: int, container: str, called: str) -> str:
    if array.ndim == 3 and channels == 1:
        return "none"
    if array.ndim == 4:
        ends = [layout for layout, axis in (("last", 3), ("first", 1)) if array.shape[axis] == channels]
        if ends:
            return "first" if container == "torch" and "first" in ends else ends[0]
    wanted = "(n, h, w)" if channels == 1 else f"(n, h, w, {channels}) or (n, {channels}, h, w)"
    one = ": if it is one image, give X[None]" if array.ndim == (2 if channels == 1 else 3) else ""
    raise FormatError(
        f"{called} of shape {array.shape} given; this model learned pictures of {channels} "
        f"{'channel' if channels == 1 else 'channels'}, {wanted}{one}"
    )


def _require_range(form: ImageFormat, least: float, most: float, floats: bool, place: int | None) -> None:
    """DataError for pixels of another unit. Floats may lie beyond black and white, as far as noise takes them."""
    low, high, reach = form.low_, form.high_, form.high_ - form.low_
    room = FAR * reach if floats else 0.0
    narrow = floats and reach >= 255 and least < most and LIKELY_UNIT[0] <= least and most <= LIKELY_UNIT[1]
    if low - room <= least and most <= high + room and not narrow:
        return
    mend = f"X * {high:g}" if narrow else "X / 255" if reach <= 1 else "or fit a model to such pictures"
    raise DataError(
        f"the pixels{'' if place is None else f' of item {place}'} run from {least:.6g} to {most:.6g}, but the model "
        f"learned pixels in [{low:g}, {high:g}]: bring them to that range first, {mend}"
    )


def _require_finite(images: np.ndarray, place: int | None) -> None:
    bad = ~np.isfinite(images).reshape(len(images), -1).all(1)
    if bad.any():
        first = int(np.argmax(bad))
        channel, row, column = np.argwhere(~np.isfinite(images[first]))[0]
        raise DataError(
            f"item {first if place is None else place} has {images[first, channel, row, column]} at row {row}, column "
            f"{column}: pixels must be finite. Fill such holes first, or leave the picture out"
        )
