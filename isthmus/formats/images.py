"""Images: arrays of pixels, folders and lists of picture files, and Pillow images.

Letters: n images; c channels; h height and w width in pixels. Tensors are (n, c, h, w), whatever the items were.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import DataError, FormatError, SettingError, warn
from isthmus.formats.arrays import Origin, as_array, chunks, listing, stored
from isthmus.formats.base import Format, Spec
from isthmus.formats.picture_folders import ENDINGS, ignored, list_folder
from isthmus.formats.pictures import (
    Form,
    Reading,
    as_pillow,
    black_and_white,
    common_form,
    read_headers,
    read_pictures,
)
from isthmus.formats.pixels import (
    USUAL_CHANNELS,
    Layout,
    channels_first,
    find_layout,
    in_layout,
    integer_range,
    known_layout,
    require_range,
)
from isthmus.formats.rows import RowsWriter, fits_in_memory
from isthmus.formats.saved import Saved, shortened
from isthmus.formats.scaling import require_fit
from isthmus.likelihoods import Bernoulli, Gaussian, Likelihood

__all__ = ["ImageFormat"]

Source = Literal["array", "files", "pillow"]
SETTINGS = ("channels", "range", "size", "skip_corrupt")
DARK = 8  # times what is the brightest of all pixels, that white is: no honest pictures are all so dark
FEWEST = 20  # images that can say so
LARGEST = 2**31 - 1  # elements of one image; beyond lies no image, but a damaged file or a mistaken axis


class ImageFormat(Format):
    """Images to tensors (n, c, h, w) and back: dtype, container, rank and the place of the channels come back.

    Items: arrays (n, h, w), (n, h, w, c) or (n, c, h, w) of NumPy, torch or lists; a folder of picture files, with
    its subfolders; a list of paths; a list of Pillow images. The scaled view lies in [0, 1] always.

    ============================= ================ ============ =======================
    items                         stored           levels       scaled to [0, 1] by
    ============================= ================ ============ =======================
    bool; integers, all 0 and 1   uint8            2            the value itself
    uint8; integers in 0..255     uint8            256          / 255
    uint16; integers in 0..65535  int32            65536        / 65535
    integers with ``range``       uint8 or int32   hi - lo + 1  (x - lo) / (hi - lo)
    float16, float32, float64     as they came     None         (x - lo) / (hi - lo)
    picture files, Pillow images  uint8            256          / 255
    16-bit grey files alone       int32            65536        / 65535
    ============================= ================ ============ =======================

    Picture files. Grey if all are grey, else RGB; 16 bits only if all are grey of 16 bits; a camera's turn (EXIF) is
    applied; transparency is laid over white; of moving pictures the first frame counts. Pictures of one size of at
    most 512 pixels a side keep it. Otherwise the largest centred part of the target's aspect is resized (bicubic,
    antialiased) to ``size``, or to the median height and median width, both shrunk by one factor until the longer
    side is 64, rounded half up: what the default networks learn in minutes. What was changed is said aloud, with
    counts, by one IsthmusWarning each time pictures are read. A fitted format brings further pictures to the form
    that it learned, and refuses arrays of another shape. Files come back as a NumPy array (n, h, w) or (n, h, w, 3),
    Pillow images as Pillow images of mode "1", "L", "I;16" or "RGB".

    Of integers, white is what their dtype or greatest value says. Where 20 images and more have no pixel above an
    eighth of it (31 of 255, 8191 of 65535), and are no masks of zeros and ones, an IsthmusWarning names ``range``:
    against a white that none comes near, all would be as good as black. With a ``range``, nothing is said.

    Parameters
    ----------
    channels : "first", "last", or None: found. An axis of 1, 3 or 4 is taken for channels. Where both ends fit,
        NumPy and lists are read channels last and torch channels first, as is their custom; other counts must be told
    range : (lo, hi), the values of black and white. Default None: (0, 1) for floats, by dtype and values for integers
    size : (height, width) to resize picture files to. Default None: found as above. Arrays are never resized
    skip_corrupt : leave out picture files that cannot be decoded, with a warning, instead of refusing them

    Attributes
    ----------
    spec : Spec("image", (c, h, w), levels)
    binary_ : whether every pixel is black or white (and both occur), or the items are bool
    skipped_ : paths (places in the list, for Pillow images) left out by the last ``to_tensor``
    """

    word: ClassVar[str] = "image"
    unit = "pixels in [0, 1]"
    unit_interval = True

    origin_: Origin
    layout_: Layout
    source_: Source
    mode_: str | None  # the mode in which Pillow images come back
    low_: float  # black, in the items' own unit; a whole number for integers
    high_: float  # white
    binary_: bool
    skipped_: list[Path | int]

    def __init__(
        self,
        channels: Literal["first", "last"] | None = None,
        range: tuple[float, float] | None = None,
        size: tuple[int, int] | None = None,
        skip_corrupt: bool = False,
    ) -> None:
        self.channels = channels
        self.range = range
        self.size = size
        self.skip_corrupt = skip_corrupt

    # ------------------------------------------------------------------------------------------ learning

    def fit(self, items: Any) -> Self:
        """Learn shape, channels, dtype and range. Of picture files, usually only the headers are read.

        Raises SettingError for settings out of range, FormatError for items that are no images or whose channels are
        not clear, DataError for values out of range and files that are no pictures (cut short ones are found, all
        together, when pixels are read: by ``to_tensor``), FileError for folders.
        """
        self._check_settings()
        found = _sources_of(items)
        return self._fit_array(items) if found is None else self._fit_pictures(found)

    def _fit_pictures(self, found: _Sources) -> Self:
        headers = read_headers(found.pictures, self.skip_corrupt)
        size = None if self.size is None else (int(self.size[0]), int(self.size[1]))
        form = common_form(headers, size)
        _refuse_huge(form.shape)
        binary = black_and_white(found.pictures, form)
        self.source_ = found.kind
        self.origin_ = Origin("numpy", "uint16" if form.sixteen else "uint8")
        self.layout_ = "none" if form.channels == 1 else "last"
        self.low_, self.high_ = 0.0, 65535.0 if form.sixteen else 255.0
        self.spec = Spec("image", form.shape, 65536 if form.sixteen else 256)
        self.mode_ = None
        if found.kind == "pillow":
            grey = "I;16" if form.sixteen else "1" if all(header.mode == "1" for header in headers) else "L"
            self.mode_ = grey if form.channels == 1 else "RGB"
        self.binary_, self.skipped_ = binary, []
        return self

    def _fit_array(self, items: Any) -> Self:
        origin, X = as_array(items, "images")
        if X.ndim in (3, 4) and not X.size:
            raise DataError(f"there are no images, or none with pixels: the array has shape {X.shape}")
        layout = find_layout(X, origin.container, self.channels)
        shape = tuple(channels_first(X, layout).shape[1:])
        _refuse_huge(shape)
        if self.size is not None and tuple(self.size) != shape[1:]:
            raise FormatError(
                f"size={self.size} given with arrays of {shape[1]} x {shape[2]} pixels; only picture files are resized:"
                " resize the arrays first"
            )
        if layout == "none" and shape[2] in (3, 4) and shape[1] >= 16:
            warn(
                f"an array of shape {X.shape} is read as {len(X)} grey images of {shape[1]} x {shape[2]} pixels; if it"
                " is one colour image, give X[None]"
            )
        low, high = self._range_of(X, origin)
        rule = f"images of {origin.dtype} must have pixels in [{low:g}, {high:g}]"
        mend = "Give ImageFormat(range={range}), or turn them to floats in [0, 1]"
        if origin.kind == "f":
            mend = "Divide by 255, make them uint8, or give ImageFormat(range={range})"
        require_range(X, layout, low, high, rule, mend)
        levels = None if origin.kind == "f" else int(high - low) + 1
        if levels is not None and self.range is None:
            _hint_at_range(len(X), int(X.min()), int(X.max()), int(high))
        two_valued = bool(X.min() < X.max()) and all(
            bool(((X[rows] == low) | (X[rows] == high)).all()) for rows in chunks(X)
        )
        self.source_, self.origin_, self.layout_, self.mode_ = "array", origin, layout, None
        self.low_, self.high_ = float(low), float(high)
        self.spec = Spec("image", shape, levels)
        self.binary_, self.skipped_ = two_valued or levels == 2, []
        return self

    def _range_of(self, X: np.ndarray, origin: Origin) -> tuple[float, float]:
        """The values of black and white."""
        if origin.kind == "b":
            return 0, 1
        if self.range is None:
            return (0, 1) if origin.kind == "f" else integer_range(X, origin.dtype)
        low, high = float(self.range[0]), float(self.range[1])
        if origin.kind == "f":  # as the dtype rounds them: float32(0.1) is above 0.1
            most = float(np.finfo(X.dtype).max)
            ends = [float(X.dtype.type(min(max(end, -most), most))) for end in (low, high)]
            if ends[0] >= ends[1]:
                raise SettingError(f"range={self.range!r}: images of {origin.dtype} cannot tell the two ends apart")
            return ends[0], ends[1]
        if not (low.is_integer() and high.is_integer() and high - low <= 65535):
            raise SettingError(
                f"range={self.range!r} for images of {origin.dtype}: give whole numbers, at most 65535 apart"
            )
        return low, high

    # ------------------------------------------------------------------------------------------ there and back

    def fit_tensor(self, items: Any) -> Tensor:
        """``fit(items).to_tensor(items)``, with a folder listed once."""
        self._check_settings()
        found = _sources_of(items)
        return super().fit_tensor(items) if found is None else self._fit_pictures(found)._read(found)

    def to_tensor(self, items: Any) -> Tensor:
        """Items as the stored view (n, c, h, w): uint8, int32 or their own float dtype; see the table of the class.

        Pictures that memory would not hold are decoded once, into a file in the cache folder: then the view is
        ``Rows``, which is read as a tensor is. It takes c * h * w bytes a picture there, and goes when it is let go.

        Raises FormatError for arrays of another shape, or floats where integers were learned; DataError naming the
        first item with a value out of range, or the first five pictures that cannot be read; FileError for folders,
        and where the disk has no room.
        """
        require_fit(self)
        self.skipped_ = []
        found = _sources_of(items)
        if found is not None:
            return self._read(found)
        origin, X = as_array(items, "images")
        layout = known_layout(X, origin.container, self.channels, self.spec.shape, self.layout_)
        learned = f"this image format learned pixels of {self.origin_.dtype} in [{self.low_:g}, {self.high_:g}]"
        levels = self.spec.levels
        if levels is not None and (origin.kind == "f" or (origin.kind == "b" and levels > 2)):
            raise FormatError(f"images of {origin.dtype} given, but {learned}; convert them first")
        if not len(X):
            raise DataError(f"there are no images: the array has shape {X.shape}")
        require_range(X, layout, self.low_, self.high_, learned, "Bring them to that range first")
        images = channels_first(X, layout)
        if levels is not None and self.low_:
            images = images.astype(np.int64) - int(self.low_)
        if min(images.strides) < 0:  # NumPy calls X[::-1] of one item contiguous; torch does not take it
            images = images.copy()
        return self.require(stored(images.astype(self._stored, copy=False)))

    @property
    def _stored(self) -> str:
        """Name of the dtype of the stored view, in NumPy and in torch."""
        if self.spec.levels is not None:
            return "uint8" if self.spec.levels <= 256 else "int32"
        return "float32" if self.origin_.dtype == "bfloat16" else np.dtype(self.origin_.dtype).newbyteorder("=").name

    def _read(self, found: _Sources) -> Tensor:
        c, h, w = self.spec.shape
        levels = self.spec.levels
        if c not in USUAL_CHANNELS:
            raise FormatError(f"pictures given, but this image format learned arrays of {c} channels")
        form = Form(c, h, w, sixteen=levels is not None and levels > 256)
        reading, kept = self._decoded(found.pictures, form)
        self.skipped_ = [place if found.kind == "pillow" else found.pictures[place] for place in reading.skipped]
        said = _changes(reading, form)
        if found.others:
            said.append(ignored(found.others))
        if self.skipped_:
            names = [f"picture {place}" if found.kind == "pillow" else str(place) for place in self.skipped_]
            said.append(f"{len(names)} left out because they cannot be read: {listing(names, 3)}")
        if said:
            warn((f"{found.folder}: " if found.folder else "") + "; ".join(said))
        return kept

    def _decoded(self, sources: Sequence[Any], form: Form) -> tuple[Reading, Tensor]:
        """Pictures in their stored view, decoded once: a tensor, or ``Rows`` where memory would not hold it."""
        dtype = getattr(torch, self._stored)
        need = len(sources) * self.spec.size * dtype.itemsize
        if not fits_in_memory(need):
            with RowsWriter(self.spec.shape, dtype, len(sources)) as writer:
                reading = read_pictures(
                    sources, form, lambda pixels: writer.append(self._of_pixels(pixels, form)), self.skip_corrupt
                )
                return reading, cast(Tensor, writer.finish())  # which quacks as one
        try:
            whole = np.empty((len(sources), *self.spec.shape), self._stored)
        except (MemoryError, ValueError) as error:
            raise DataError(
                f"{len(sources)} pictures of {form.height} x {form.width} pixels need {need / 2**30:.1f} GiB of memory;"
                " give a smaller size=(height, width)"
            ) from error
        kept = 0

        def keep(pixels: np.ndarray) -> None:
            nonlocal kept
            whole[kept : kept + len(pixels)] = self._of_pixels(pixels, form).numpy()
            kept += len(pixels)

        reading = read_pictures(sources, form, keep, self.skip_corrupt)
        return reading, torch.from_numpy(whole[:kept])

    def _of_pixels(self, pixels: np.ndarray, form: Form) -> Tensor:
        """Pixels as they were decoded, (n, c, h, w) of 0..255 or of 0..65535, in the stored view."""
        values = torch.from_numpy(pixels.astype(np.int32) if form.sixteen else pixels)
        levels, white = self.spec.levels, 65535 if form.sixteen else 255
        if levels == white + 1:
            return values
        if levels is not None:
            return torch.round(values / white * (levels - 1)).to(values.dtype)
        return (values.double() / white * (self.high_ - self.low_) + self.low_).to(getattr(torch, self._stored))

    def from_tensor(self, values: Tensor) -> Any:
        """Stored values, or floats in their unit, as items: rounded, and clipped to the range of the format.

        Raises FormatError for tensors of another shape, DataError for NaN where items are integers.
        """
        require_fit(self)
        values = self.require(values).detach().cpu()
        if values.dtype in (torch.float16, torch.bfloat16) and self._stored != "float16":
            values = values.float()
        if self.spec.levels is None:
            values = values.clamp(self.low_, self.high_)
        elif values.dtype != torch.uint8 or self.spec.levels < 256:
            values = values.clamp(0, self.spec.levels - 1)
        if self.spec.levels is not None and self.low_:
            values = (values.double() if values.is_floating_point() else values.long()) + int(self.low_)
        if self.mode_ is not None:
            return as_pillow(self.origin_.restore(values), self.mode_)
        return self.origin_.restore(in_layout(values.numpy(), self.layout_))

    def scale(self, stored: Tensor) -> Tensor:
        """Stored to [0, 1], float32, on the tensor's own device."""
        require_fit(self)
        if self.spec.levels is not None:
            return stored.float() / (self.spec.levels - 1)
        if (self.low_, self.high_) == (0, 1):
            return stored.float()
        wide = stored if stored.dtype == torch.float64 else stored.float()
        return ((wide - self.low_) / (self.high_ - self.low_)).float()

    def unscale(self, scaled: Tensor) -> Tensor:
        """[0, 1] to values in the stored unit, floating point."""
        require_fit(self)
        if scaled.dtype in (torch.float16, torch.bfloat16):
            scaled = scaled.float()
        if self.spec.levels is not None:
            return scaled * (self.spec.levels - 1)
        return scaled if (self.low_, self.high_) == (0, 1) else scaled * (self.high_ - self.low_) + self.low_

    def likelihood(self) -> Likelihood:
        """Bernoulli where every pixel is black or white, else a Gaussian of unit variance: squared error."""
        require_fit(self)
        return Bernoulli() if self.binary_ else Gaussian()

    # ------------------------------------------------------------------------------------------ checks

    def _check_settings(self) -> None:
        if self.channels not in (None, "first", "last"):
            raise SettingError(f'channels={self.channels!r}: give "first", "last" or None')
        if self.range is not None and not _is_range(self.range):
            raise SettingError(f"range={self.range!r}: give (lo, hi), two finite numbers with lo below hi")
        if self.size is not None and not _is_size(self.size):
            raise SettingError(f"size={self.size!r}: give (height, width), two whole numbers of at least 1")
        if not isinstance(self.skip_corrupt, bool):
            raise SettingError(f"skip_corrupt={self.skip_corrupt!r}: give True or False")

    # ------------------------------------------------------------------------------------------ files

    def to_json(self) -> dict[str, Any]:
        """Settings and what was learned. ``skipped_`` is not kept: it speaks of one call."""
        require_fit(self)
        return {
            "word": self.word,
            "channels": self.channels,
            "range": None if self.range is None else [float(end) for end in self.range],
            "size": None if self.size is None else [int(side) for side in self.size],
            "skip_corrupt": self.skip_corrupt,
            "shape": list(self.spec.shape),
            "levels": self.spec.levels,
            "low": self.low_,
            "high": self.high_,
            "binary": self.binary_,
            "source": self.source_,
            "layout": self.layout_,
            "mode": self.mode_,
            "origin": self.origin_.to_json(),
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        """The format that ``to_json`` described. Raises DamagedFileError for what it never writes."""
        fields = Saved(saved, "the saved image format")
        fields.word("word", (cls.word,))
        channels, ends, size = fields.get("channels"), fields.get("range"), fields.get("size")
        if channels is not None:
            fields.word("channels", ("first", "last"))
        if ends is not None and not (isinstance(ends, list) and _is_range(ends)):
            raise fields.refuse("range", "null or two finite numbers, the smaller first")
        if size is not None and not (isinstance(size, list) and _is_size(size)):
            raise fields.refuse("size", f"null or two whole numbers from 1 to {LARGEST}")
        made = cls(
            channels,
            None if ends is None else (ends[0], ends[1]),
            None if size is None else (size[0], size[1]),
            fields.flag("skip_corrupt"),
        )
        shape = fields.get("shape")
        sides = isinstance(shape, list) and len(shape) == 3 and all(_is_side(side) for side in shape)
        if not sides or math.prod(shape) > LARGEST:
            raise fields.refuse("shape", f"three whole numbers of at least 1, with a product of at most {LARGEST}")
        made.origin_ = Origin.from_json(fields.get("origin"))
        made.low_, made.high_ = fields.number("low"), fields.number("high")
        levels = None if fields.get("levels") is None else fields.integer("levels", 2, 65536)
        if made.low_ >= made.high_ or not math.isfinite(made.high_ - made.low_):
            raise fields.refuse("high", f"above {made.low_:g}")
        if (levels is None) != (made.origin_.kind == "f") or (levels and levels != made.high_ - made.low_ + 1):
            raise fields.refuse("levels", f"null for floats, else the count of whole numbers of {made.origin_.dtype}")
        if levels and not made.low_.is_integer():
            raise fields.refuse("low", "a whole number")
        made.binary_ = fields.flag("binary")
        made.source_ = cast(Source, fields.word("source", ("array", "files", "pillow")))
        made.layout_ = cast(Layout, fields.word("layout", ("none", "last", "first")))
        if made.layout_ == "none" and shape[0] != 1:
            raise fields.refuse("layout", f"last or first for {shape[0]} channels")
        made.mode_ = None
        if made.source_ == "pillow":
            modes = {3: ("RGB",), 1: ("1", "L") if levels == 256 else ("I;16",)}
            made.mode_ = fields.word("mode", modes.get(shape[0], ()))
        elif fields.get("mode") is not None:
            raise fields.refuse("mode", "null, except for Pillow images")
        made.spec, made.skipped_ = Spec("image", tuple(shape), levels), []
        return made

    def __repr__(self) -> str:
        settings = [f"{name}={value!r}" for name, value in vars(self).items() if name in SETTINGS and value]
        name = f"ImageFormat({', '.join(settings)})"
        if not hasattr(self, "spec"):
            return f"<{name}, not fitted>"
        given = {"array": str(self.origin_), "files": "picture files", "pillow": "Pillow images"}[self.source_]
        return f"<{name}: {self.spec} from {given}, in {self.unit}{', black and white' if self.binary_ else ''}>"


# ---------------------------------------------------------------------------------------------- what was given


@dataclass
class _Sources:
    """Pictures to read: paths, or Pillow images."""

    pictures: Sequence[Any]
    kind: Source
    others: Sequence[Path] = ()  # files of the folder that are not pictures
    folder: str = ""


def _sources_of(items: Any) -> _Sources | None:
    """The pictures that items name; None where they are an array-like.

    Raises FormatError for a file that is no picture, a list that mixes paths with other things, and an iterator;
    FileError for a folder that is not there, cannot be read, or holds no pictures.
    """
    if isinstance(items, str | os.PathLike):
        path = Path(items)
        if not path.is_file():
            pictures, others = list_folder(path)
            return _Sources(pictures, "files", others, str(path))
        if path.suffix.casefold() not in ENDINGS:
            raise FormatError(
                f"{path} is one file that does not end as a picture does; pictures end in {', '.join(ENDINGS)}"
            )
        return _Sources([path], "files")
    if _is_pillow(items):
        return _Sources([items], "pillow")
    if isinstance(items, Iterator):
        raise FormatError(f"a {type(items).__name__} can be read only once; give list(...) of it")
    if getattr(getattr(items, "dtype", None), "kind", "") in ("O", "U", "T") and getattr(items, "ndim", 1) == 1:
        items = list(items)  # an array or a column of paths
    if not isinstance(items, list | tuple) or not items:
        return None
    kinds: list[tuple[str, Callable[[Any], bool], Source]] = [
        ("path", _is_path, "files"),
        ("Pillow image", _is_pillow, "pillow"),
    ]
    for word, is_one, kind in kinds:
        if is_one(items[0]):
            for place, item in enumerate(items):
                if not is_one(item):
                    raise FormatError(
                        f"item 0 is a {word}, but item {place} is {shortened(item)}; give a list of one kind"
                    )
            return _Sources([Path(item) for item in items] if kind == "files" else items, kind)
    return None


def _is_path(item: Any) -> bool:
    return isinstance(item, str | os.PathLike)


def _is_pillow(item: Any) -> bool:
    """Without importing Pillow: nobody can hold one of its images before it is imported."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(item, pillow.Image)


# ---------------------------------------------------------------------------------------------- checks and words


def _is_side(side: Any) -> bool:
    return isinstance(side, Integral) and side is not True and 1 <= int(side) <= LARGEST


def _is_size(size: Any) -> bool:
    return isinstance(size, list | tuple) and len(size) == 2 and all(_is_side(side) for side in size)


def _is_range(ends: Any) -> bool:
    """Two finite numbers, whose difference is finite too and not zero."""
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        return False
    if not all(isinstance(end, Real) and not isinstance(end, bool) for end in ends):
        return False
    try:
        low, high = (float(end) for end in ends)
    except OverflowError:
        return False
    return low < high and math.isfinite(high - low)


def _hint_at_range(count: int, least: int, most: int, white: int) -> None:
    """A warning where no pixel of many images comes near the white that was assumed."""
    if count < FEWEST or not max(least, 1) < most <= white // DARK:
        return
    warn(
        f"no pixel of the {count} images is above {most}, and white was taken to be {white}, so all of them look black:"
        f" give ImageFormat(range=(0, {most})), or divide by {most} to have floats in [0, 1]; if they are as dark"
        f" as that, ImageFormat(range=(0, {white})) keeps what was assumed"
    )


def _refuse_huge(shape: tuple[int, ...]) -> None:
    if math.prod(shape) > LARGEST:
        raise FormatError(
            f"one image would hold {math.prod(shape)} numbers (c, h, w = {shape}); at most {LARGEST} can be used"
        )


def _changes(reading: Reading, form: Form) -> list[str]:
    """What was done to pictures beyond decoding them, with counts, for the warning."""
    n = reading.count
    words = {
        "resized": f"resized to {form.height} x {form.width} (size=(height, width) chooses another size)",
        "alpha": "with transparency laid over white",
        "grey": "turned from colour to grey",
        "bits": "reduced from 16 to 8 bits",
        "frames": "with more than one frame, of which the first is taken",
    }
    told = [f"{count} {word}" for key, word in words.items() if (count := reading.notes[key])]
    return [f"of {n} {'picture' if n == 1 else 'pictures'}, {', '.join(told)}"] if told else []
