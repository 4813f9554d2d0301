"""Which axis of an array of images is which, and whether its pixels are in range: pure functions of arrays.

Letters: n images; c channels; h height and w width in pixels. A layout names the axes of an array: "none" (n, h, w),
"last" (n, h, w, c), "first" (n, c, h, w).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from isthmus.errors import DataError, FormatError
from isthmus.formats.arrays import chunks

__all__ = ["Layout", "channels_first", "find_layout", "in_layout", "integer_range", "known_layout", "require_range"]

Layout = Literal["none", "last", "first"]
USUAL_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA: what an axis must have to be taken for channels without being told


def channels_first(X: np.ndarray, layout: Layout) -> np.ndarray:
    """A view (n, c, h, w)."""
    return X[:, None] if layout == "none" else X.transpose(0, 3, 1, 2) if layout == "last" else X


def in_layout(images: np.ndarray, layout: Layout) -> np.ndarray:
    """Undoes ``channels_first``."""
    return images[:, 0] if layout == "none" else images.transpose(0, 2, 3, 1) if layout == "last" else images


def find_layout(X: np.ndarray, container: str, channels: Literal["first", "last"] | None) -> Layout:
    """The layout of an array: as told, else from the axis that has 1, 3 or 4 places.

    Where both ends fit, torch is read channels first, everything else channels last. FormatError where neither does.
    """
    if X.ndim == 3:
        return "none"
    if X.ndim != 4:
        raise FormatError(
            f"an array of shape {X.shape} does not hold images; (n, h, w), (n, h, w, c) or (n, c, h, w) is expected"
            + (": if its rows are images, give X.reshape(n, h, w)" if X.ndim == 2 else "")
        )
    if channels is not None:
        return channels
    first, last = X.shape[1] in USUAL_CHANNELS, X.shape[3] in USUAL_CHANNELS
    if not first and not last:
        raise FormatError(
            f"an array of shape {X.shape} has no axis of 1, 3 or 4 channels where one is expected; say where they are "
            'with ImageFormat(channels="first") or ImageFormat(channels="last")'
        )
    if first and last:
        return "first" if container == "torch" else "last"
    return "first" if first else "last"


def known_layout(
    X: np.ndarray,
    container: str,
    channels: Literal["first", "last"] | None,
    shape: tuple[int, ...],
    expected: Layout,
) -> Layout:
    """The layout in which the items of an array have the shape (c, h, w); where two do, the custom of the container.

    ``expected`` is the layout that the message of the FormatError shows.
    """
    order: list[Layout] = ["none", "first", "last"] if container == "torch" else ["none", "last", "first"]
    for layout in order if channels is None else ("none", channels):
        if X.ndim == (3 if layout == "none" else 4) and channels_first(X, layout).shape[1:] == shape:
            return layout
    c, h, w = shape
    learned: dict[Layout, tuple[int, ...]] = {"none": (h, w), "last": (h, w, c), "first": (c, h, w)}
    hint = ". If it is one image, give X[None]" if X.shape in learned.values() else ""
    raise FormatError(
        f"images of shape {X.shape[1:]} given, but this image format learned {learned[expected]}: "
        f"{c} {'channel' if c == 1 else 'channels'} of {h} x {w} pixels{hint}"
    )


def integer_range(X: np.ndarray, dtype: str) -> tuple[int, int]:
    """Black and white of integers where nobody said: 0 and 65535 for uint16, else 0 and 1, 255 or 65535 by the values.

    A mask of zeros and ones has two levels: against 255, both would be as good as black.
    """
    least, most = int(X.min()), int(X.max())
    if np.dtype(dtype).newbyteorder("=") == np.uint16:
        return 0, 65535
    return 0, 1 if (least, most) == (0, 1) else 65535 if most > 255 else 255


def require_range(X: np.ndarray, layout: Layout, low: float, high: float, rule: str, mend: str) -> None:
    """DataError naming the first item with a value that is not finite, or not in low..high.

    ``rule`` begins the message ("floats must lie in [0, 1]"), ``mend`` ends it; "{range}" in it is the range found.
    """
    least, most = X.min().item(), X.max().item()
    if least >= low and most <= high:  # False for NaN
        return
    if X.dtype.kind == "f":
        bad = _first_place(X, lambda x: ~np.isfinite(x))
        if bad is not None:
            value, where = X[bad], _pixel_name(bad[1:], layout)
            raise DataError(
                f"item {bad[0]} has {value} at {where}; pixels must be finite: mend such images or leave them out"
            )
    with np.errstate(over="ignore"):  # float16 images, and a range that float16 cannot hold
        bad = _first_place(X, lambda x: (x < low) | (x > high))
    if bad is None:
        return
    raise DataError(
        f"{rule}, but these run from {least:g} to {most:g}; the first outside is item {bad[0]} ({X[bad]:g} at "
        f"{_pixel_name(bad[1:], layout)}). {mend.format(range=f'({least:g}, {most:g})')}"
    )


def _first_place(X: np.ndarray, flaw: Callable[[np.ndarray], np.ndarray]) -> tuple[int, ...] | None:
    """Index of the first element with a flaw, in the order of the array."""
    for rows in chunks(X):
        wrong = flaw(X[rows])
        if wrong.any():
            i, *pixel = np.argwhere(wrong)[0].tolist()
            return (rows.start + i, *pixel)
    return None


def _pixel_name(place: tuple[int, ...], layout: Layout) -> str:
    if layout == "none":
        return f"row {place[0]}, column {place[1]}"
    row, column, channel = place if layout == "last" else (*place[1:], place[0])
    return f"row {row}, column {column}, channel {channel}"
