"""Which format the items have: by their own look, by a word, or by what a model file says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import FileError, FormatError
from isthmus.formats.arrays import Origin, as_array, chunks, require_finite
from isthmus.formats.base import Format
from isthmus.formats.frames import is_table, source_of
from isthmus.formats.images import ImageFormat
from isthmus.formats.picture_folders import ENDINGS
from isthmus.formats.saved import Saved, shortened
from isthmus.formats.series import SeriesFormat
from isthmus.formats.tables import TableFormat
from isthmus.formats.vectors import VectorFormat, holds_numbers, require_two_axes

__all__ = ["format_from_json", "format_of"]

DEFAULTS: dict[str, Callable[[], Format]] = {
    "vector": VectorFormat,
    "image": ImageFormat,
    "series": SeriesFormat,
    "table": TableFormat,
}
READERS: dict[str, Callable[[dict[str, Any]], Format]] = {
    "vector": VectorFormat.from_json,
    "image": ImageFormat.from_json,
    "series": SeriesFormat.from_json,
    "table": TableFormat.from_json,
}
PLANNED = ("tokens",)  # kinds that a Spec can name and this version cannot build
SMALLEST = 8  # pixels: a floating-point "image" with a shorter side is more likely a series


def format_of(items: Any, format: Format | str | None = None) -> Format:
    """The format of items; not fitted, unless a fitted one is given.

    ============================================================ =========
    items                                                        format
    ============================================================ =========
    a folder of pictures, picture files, Pillow images           image
    a frame or file of numbers without holes                     vector
    any other frame; CSV, Parquet, ... files and folders of such table
    (n, d)                                                       vector
    (n, a, b) of uint8 or bool                                   image
    (n, a, b), a and b >= 8, floats in [0, 1]                    image
    (n, a, b), a and b >= 8, other integers in 0..255            image
    (n, a, b), a = b >= 8, other values                          refused: could be images or series
    (n, a, b), all else                                          series
    (n, a, b, c)                                                 image
    ============================================================ =========

    Parameters
    ----------
    items : anything that a format takes
    format : a Format, which is returned as it is; or "vector", "image", "series", "table", which give that format with
        its default settings; or None, to look at the items

    Raises FormatError for an unknown word and for items whose format cannot be told, DataError for one-dimensional
    arrays, FileError for a file that is not there.
    """
    if isinstance(format, Format):
        return format
    if format is not None:
        return _by_word(format)
    if is_table(items):
        return VectorFormat() if holds_numbers(source_of(items)) else TableFormat()
    if isinstance(items, str | os.PathLike):
        return _of_path(Path(os.fspath(items)))
    if _is_picture(items):
        raise FormatError("one Pillow image was given: give a list of images, [image]")
    if isinstance(items, list | tuple) and items:
        if isinstance(items[0], os.PathLike):
            return ImageFormat()
        if isinstance(items[0], str):
            return _of_strings(items)
        if _is_picture(items[0]):
            return ImageFormat()
    origin, array = as_array(items)
    return _of_array(origin, array)


def format_from_json(saved: Any) -> Format:
    """The fitted format that some format's ``to_json`` described; its "word" says whose.

    Raises DamagedFileError for anything that no format of this version writes.
    """
    fields = Saved(saved, "the saved format")
    return READERS[fields.word("word", READERS)](fields.values)


def _is_picture(item: Any) -> bool:
    """Whether it is a Pillow image, without importing Pillow."""
    return hasattr(item, "getbands") and hasattr(item, "tobytes")


def _by_word(word: Any) -> Format:
    known = ", ".join(f'"{name}"' for name in DEFAULTS)
    if isinstance(word, str) and word in DEFAULTS:
        return DEFAULTS[word]()
    if isinstance(word, str) and word in PLANNED:
        raise FormatError(f'format="{word}" is not supported yet in this version; give one of {known}')
    if isinstance(word, type) and issubclass(word, Format):
        raise FormatError(f"format={word.__name__} is a class: give an object of it, {word.__name__}()")
    raise FormatError(
        f"format={shortened(word)} is unknown: give one of {known}, a Format, or None to look at the items"
    )


def _of_path(path: Path) -> Format:
    if path.is_dir():
        return ImageFormat()
    if not path.exists():
        raise FileError(f"there is no file or folder {path}; to give items, give an array or a list of them")
    if path.suffix.casefold() in ENDINGS:
        raise FormatError(f"{path} is one picture file: give its folder, or a list of paths, [{str(path)!r}]")
    raise FormatError(f"{path} is a file, not items: read it first, X = isthmus.formats.files.read({str(path)!r})")


def _of_strings(items: list[Any] | tuple[Any, ...]) -> Format:
    """A list of strings: paths of pictures, or text, which has no format yet."""
    path = Path(items[0])
    if path.suffix.casefold() in ENDINGS:
        return ImageFormat()
    try:
        there = path.is_file()
    except (OSError, ValueError):  # a sentence may be too long for a file name, or hold what no name may
        there = False
    if there:
        raise FormatError(
            f"{path} is no picture file ({', '.join(ENDINGS)}): read such files first with isthmus.formats.files.read"
        )
    raise FormatError(
        f"a list of text was given, for example {shortened(items[0])}, which names no picture file; text is not"
        " supported yet in this version: turn it to numbers first, for example with TfidfVectorizer of scikit-learn"
    )


def _of_array(origin: Origin, array: np.ndarray) -> Format:
    shape = array.shape
    if array.ndim <= 2:
        if array.ndim < 2:
            require_two_axes(array, "this VectorFormat")
        return VectorFormat()
    if array.ndim == 3:
        return _of_three_axes(origin, array)
    if array.ndim == 4:
        return ImageFormat()
    raise FormatError(
        f"an array of {array.ndim} axes was given, shape {shape}; allowed are vectors (n, d), series (n, t, c) or"
        " (n, t), and images (n, h, w), (n, h, w, c) or (n, c, h, w). To flatten the items, X.reshape(len(X), -1)"
    )


def _of_three_axes(origin: Origin, array: np.ndarray) -> Format:
    n, height, width = array.shape
    if array.dtype in (np.uint8, np.bool_):
        return ImageFormat()
    if not n or min(height, width) < SMALLEST:
        return SeriesFormat()
    require_finite(array, origin)
    low = min(array[rows].min() for rows in chunks(array))
    high = max(array[rows].max() for rows in chunks(array))
    white = 1 if array.dtype.kind == "f" else 255
    if low >= 0 and high <= white:
        return ImageFormat()
    if height == width:
        mend = (
            f"divide by 255, or by {high:g} if that is white"
            if low >= 0 and 1 < high <= 255
            else f"bring them to [0, 1], or give ImageFormat(range=({low:g}, {high:g}))"
        )
        raise FormatError(
            f"an array of shape {array.shape} of {origin.dtype} with values from {low:g} to {high:g} could be images"
            f' or series. If they are images, {mend}; if they are series, (n, t, c), say format="series"'
        )
    return SeriesFormat()
