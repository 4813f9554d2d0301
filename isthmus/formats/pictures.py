"""Reading picture files in one common form.

Pillow is imported where it is used. Whatever a file holds (grey, palette, CMYK,
16 bits, transparency, a camera's turn), its pixels come out in one ``Form``; what had to be changed is counted, so
that the caller can say it aloud.

Letters: n pictures; c channels; h height and w width in pixels.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from isthmus.errors import DataError, FileError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Form",
    "Header",
    "Pictures",
    "as_pillow",
    "black_and_white",
    "common_form",
    "read_headers",
    "read_image",
    "read_pictures",
]

# Only these readers of Pillow run, whatever a file is called: others start programs or are seldom tried on bad files.
_READERS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF")

_KEPT_SIDE = 512  # pictures all of one size stay as they are up to this side; a phone's 4000 x 3000 would not train
_MIXED_SIDE = 64  # resized pictures: the longest side that the default networks learn in minutes on two cores

_FOLDER = "it is a folder; give it alone, not in a list, to read the pictures in it"

_PNG_TURNS = frozenset({"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"})  # where a PNG keeps its turn

Source = Any  # a Path, or a Pillow image held in memory
T = TypeVar("T")


# ---------------------------------------------------------------------------------------------- one picture


@dataclass(frozen=True)
class Header:
    """What a picture is before its pixels are read, as a viewer shows it (a camera's turn applied)."""

    height: int
    width: int
    grey: bool
    sixteen: bool  # grey of more than 8 bits
    mode: str


@dataclass(frozen=True)
class Form:
    """The form that all pictures of a format share: ``channels`` is 1 (grey), 3 (RGB) or 4 (RGBA)."""

    channels: int
    height: int
    width: int
    sixteen: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width


def _name(source: Source, index: int) -> str:
    """How a message names a picture: its path, or its place in the list."""
    if isinstance(source, Path):
        return str(source)
    return f"picture {index}" + (f" ({source.filename})" if getattr(source, "filename", "") else "")


class _Unreadable(Exception):
    """Why the content of one picture cannot be used."""


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[Image]:
    """The Pillow image of a source. What Pillow raises becomes _Unreadable; what the system raises, FileError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with contextlib.ExitStack() as stack:
            if isinstance(source, Path):
                stream = stack.enter_context(open(source, "rb"))
                if not os.fstat(stream.fileno()).st_size:
                    raise _Unreadable("the file is empty (0 bytes)")
                image: Image.Image = stack.enter_context(Image.open(stream, formats=_READERS))
            else:
                image = source
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                raise Image.DecompressionBombError
            yield image
    except (_Unreadable, FileError):
        raise
    except UnidentifiedImageError as error:
        raise _Unreadable("its content is not a picture that can be read") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _Unreadable(
            f"it holds more than {Image.MAX_IMAGE_PIXELS} pixels, as decompression bombs do "
            "(PIL.Image.MAX_IMAGE_PIXELS sets the limit)"
        ) from error
    except MemoryError as error:
        raise _Unreadable("it does not fit in memory") from error
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error, IndexError ...
        if isinstance(error, OSError) and error.errno is not None:
            why = {
                FileNotFoundError: "there is no such file",
                PermissionError: "no permission",
                IsADirectoryError: _FOLDER,
            }
            raise FileError(f"{source} cannot be read: {why.get(type(error), error.strerror)}") from error
        raise _Unreadable(f"cut short or damaged: {error or type(error).__name__}") from error


def _over_white(image: Image) -> tuple[Image, bool]:
    """The picture without transparency, laid over white, and whether that changed anything."""
    from PIL import Image

    if not image.has_transparency_data:
        return image, False
    if image.mode.startswith("I"):  # 16-bit grey with one value that means "transparent"
        level = image.info.get("transparency")
        pixels = np.array(image)
        holes = pixels == level
        pixels[holes] = 65535
        return Image.fromarray(pixels.astype(np.uint16)), bool(holes.any())
    if image.mode == "La":
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    if np.asarray(rgba)[..., 3].min() == 255:
        return rgba.convert("RGB"), False
    ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    ground.alpha_composite(rgba)
    return ground.convert("RGB"), True


def _is_grey(image: Image) -> bool:
    if image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I"):
        return True
    if image.mode != "P":
        return False
    used = _over_white(image)[0].convert("RGB").getcolors(256)  # a palette may be all grey
    return used is not None and all(len(set(colour)) == 1 for _, colour in used if isinstance(colour, tuple))


def _turned(image: Image) -> bool:
    """Whether the EXIF orientation swaps height and width; True turns ``image.size`` into what a viewer shows."""
    if image.format == "TIFF":  # Pillow turns it by itself, its size included
        return False
    if image.format == "PNG" and not _PNG_TURNS & image.info.keys():
        return False  # asking further would decode the whole picture
    return image.getexif().get(0x0112) in (5, 6, 7, 8)


def _header(image: Image) -> Header:
    if image.mode == "F":
        raise _Unreadable("its pixels are floats; read it as an array and give ImageFormat(range=(lo, hi))")
    width, height = image.size[::-1] if _turned(image) else image.size
    if not width or not height:
        raise _Unreadable("it has no pixels")
    return Header(height, width, _is_grey(image), image.mode.startswith("I"), image.mode)


def _levels(image: Image) -> np.ndarray:
    """The pixels of a picture of mode I;16, I;16B or I as uint16 (h, w)."""
    pixels = np.asarray(image)
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 65535:
        raise _Unreadable(f"its pixels run from {low} to {high}; grey of 16 bits (0 to 65535) is the most that is read")
    return pixels.astype(np.uint16)


def _pixels(image: Image, form: Form | None, notes: Counter[str], ours: bool = False) -> np.ndarray:
    """The pixels of a picture in a form, (c, h, w); without a form (h, w) or (h, w, 3) as the picture is.

    uint8, or uint16 where the form (or, without one, the picture) has 16 bits. Counts in ``notes`` what was changed.
    ``ours``: the image was opened here, so that its own reading may be told to shrink it.
    """
    from PIL import Image, ImageOps

    header = _header(image)
    if form is None:
        form = Form(1 if header.grey else 3, header.height, header.width, header.sixteen)
        pixels = _pixels(image, form, notes, ours)
        return pixels[0] if header.grey else pixels.transpose(1, 2, 0)
    if image.format in ("GIF", "PNG", "TIFF", "WEBP") and getattr(image, "is_animated", False):
        notes["frames"] += 1
    if header.sixteen != form.sixteen or (not header.sixteen and ";16" in str(getattr(image, "tile", ""))):
        notes["bits"] += not form.sixteen  # Pillow reads 16-bit colour as 8 bits
    other_size = (header.height, header.width) != (form.height, form.width)
    notes["resized"] += other_size
    notes["grey"] += form.channels == 1 and not header.grey
    if other_size and ours and image.format in ("JPEG", "MPO"):
        # libjpeg shrinks while it decodes, several times faster; twice the target is left to the finer filter
        target = (form.height, form.width) if _turned(image) else (form.width, form.height)
        image.draft(None, (2 * target[0], 2 * target[1]))
    image = ImageOps.exif_transpose(image)

    if form.channels != 4:
        image, changed = _over_white(image)
        notes["alpha"] += changed
    if header.sixteen:
        levels = _levels(image)
        if not form.sixteen:
            levels = ((levels * np.uint32(255) + 32767) // 65535).astype(np.uint8)
        image = Image.fromarray(levels)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[form.channels]
    if image.mode != mode and image.mode != "I;16":
        image = (image.convert("RGB") if image.mode in ("LAB", "HSV", "YCbCr", "CMYK") else image).convert(mode)
    if form.sixteen and not header.sixteen:
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)

    if image.size != (form.width, form.height):
        image = _resized(image, form.width, form.height)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _resized(image: Image, width: int, height: int) -> Image:
    """The largest centred part of the target's aspect, resampled (bicubic, antialiased)."""
    from PIL import Image

    zoom = min(image.width / width, image.height / height)
    half_width, half_height = zoom * width / 2, zoom * height / 2
    box = (
        max(0.0, image.width / 2 - half_width),
        max(0.0, image.height / 2 - half_height),
        min(float(image.width), image.width / 2 + half_width),
        min(float(image.height), image.height / 2 + half_height),
    )
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


# ---------------------------------------------------------------------------------------------- many pictures


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Pillow warns of small faults (odd EXIF data, large pictures) that are either harmless or errors of ours.

    Filters are shared by all threads: set here once, around the pool, not in its threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _in_threads(work: Callable[[int], T], sources: Sequence[Source]) -> Generator[T, None, None]:
    """work(0), work(1), ... in order, a few files at a time: Pillow decodes without holding Python's lock."""
    if not all(isinstance(source, Path) for source in sources):
        yield from map(work, range(len(sources)))  # the user's own images may be one object twice
        return
    pool = ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1, len(sources))), thread_name_prefix="pictures")
    try:
        yield from pool.map(work, range(len(sources)))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C nothing further is read


class _Skips:
    """Refuses an unreadable picture, or notes it where skipping was asked for."""

    def __init__(self, sources: Sequence[Source], skip_corrupt: bool) -> None:
        self.sources, self.skip_corrupt = sources, skip_corrupt
        self.skipped: list[int] = []

    def accepts(self, index: int, found: object) -> bool:
        if not isinstance(found, _Unreadable):
            return True
        if not self.skip_corrupt:
            raise DataError(
                f"{_name(self.sources[index], index)} cannot be used: {found}. Mend or remove it, or leave such "
                "pictures out with skip_corrupt=True (--skip-corrupt)"
            ) from found
        self.skipped.append(index)
        return False

    def some_left(self) -> None:
        if self.sources and len(self.skipped) == len(self.sources):
            first = _name(self.sources[0], 0)
            raise DataError(f"none of the {len(self.sources)} pictures can be read (the first is {first})")


def _tried(source: Source, work: Callable[[Image], T]) -> T | _Unreadable:
    try:
        with _opened(source) as image:
            return work(image)
    except _Unreadable as error:
        return error


def read_headers(sources: Sequence[Source], skip_corrupt: bool = False) -> list[Header]:
    """Size and kind of each picture, without its pixels. DataError naming the first that is no picture."""
    skips = _Skips(sources, skip_corrupt)
    with _quiet():
        found = list(_in_threads(lambda i: _tried(sources[i], _header), sources))
    headers = [header for i, header in enumerate(found) if skips.accepts(i, header) and isinstance(header, Header)]
    skips.some_left()
    return headers


def common_form(headers: Sequence[Header], size: tuple[int, int] | None = None) -> Form:
    """The form that pictures are brought to.

    Grey only if all are grey; 16 bits only if all are grey of 16 bits; transparency is laid over white. The size is
    ``size`` (height, width) if given; the size of all where it is one, of at most 512 pixels a side; otherwise the
    median height and the median width, both shrunk by one factor so that the longer side is at most 64.
    """
    grey = all(header.grey for header in headers)
    sixteen = all(header.sixteen for header in headers)
    if size is None:
        sizes = {(header.height, header.width) for header in headers}
        height = statistics.median(header.height for header in headers)
        width = statistics.median(header.width for header in headers)
        limit = _KEPT_SIDE if len(sizes) == 1 else _MIXED_SIDE
        shrink = min(1.0, _MIXED_SIDE / max(height, width)) if max(height, width) > limit else 1.0
        size = (max(1, math.floor(height * shrink + 0.5)), max(1, math.floor(width * shrink + 0.5)))
    return Form(1 if grey else 3, *size, sixteen)


@dataclass
class Pictures:
    """Pictures read in one form.

    Attributes
    ----------
    pixels : (n, c, h, w), uint8, or int32 of 0..65535 where the form has 16 bits
    skipped : places in the list of the pictures that were left out
    notes : how many pictures were "resized", had "alpha", lost "bits" or colour ("grey"), or have more "frames"
    """

    pixels: np.ndarray
    skipped: list[int]
    notes: Counter[str]


def read_pictures(sources: Sequence[Source], form: Form, skip_corrupt: bool = False) -> Pictures:
    """Pictures in one form, read by a few threads into one array.

    Raises DataError naming the first picture that cannot be used (with ``skip_corrupt``, only if none can), and
    FileError for one that cannot be opened.
    """
    n, skips, notes = len(sources), _Skips(sources, skip_corrupt), Counter[str]()
    try:
        pixels = np.empty((n, *form.shape), np.int32 if form.sixteen else np.uint8)
    except (MemoryError, ValueError) as error:
        need = n * math.prod(form.shape) * (4 if form.sixteen else 1) / 2**30
        raise DataError(
            f"{n} pictures of {form.height} x {form.width} pixels need {need:.1f} GiB of memory; "
            "give a smaller size=(height, width)"
        ) from error

    def read(i: int) -> Counter[str] | _Unreadable:
        own = Counter[str]()

        def fill(image: Image) -> Counter[str]:
            pixels[i] = _pixels(image, form, own, ours=isinstance(sources[i], Path))
            return own

        return _tried(sources[i], fill)

    kept = 0
    with _quiet():
        for i, found in enumerate(_in_threads(read, sources)):
            if skips.accepts(i, found) and isinstance(found, Counter):
                notes.update(found)
                if kept < i:
                    pixels[kept] = pixels[i]  # closes the gap that a skipped picture left
                kept += 1
    skips.some_left()
    return Pictures(pixels[:kept], skips.skipped, notes)


def black_and_white(sources: Sequence[Source], form: Form, skip_corrupt: bool = False) -> bool:
    """Whether every pixel is black or white, and both occur. Stops reading at the first picture that says no."""
    if form.sixteen:
        return False

    def extremes(i: int) -> set[int] | _Unreadable | None:
        def look(image: Image) -> set[int] | None:
            pixels = _pixels(image, form, Counter(), ours=isinstance(sources[i], Path))
            found = set(np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist())
            return found if found <= {0, 255} else None

        return _tried(sources[i], look)

    skips, seen = _Skips(sources, skip_corrupt), set[int]()
    with _quiet(), contextlib.closing(_in_threads(extremes, sources)) as answers:
        for i, found in enumerate(answers):
            if not skips.accepts(i, found):
                continue
            if not isinstance(found, set):
                return False
            seen |= found
    skips.some_left()
    return seen == {0, 255}


def as_pillow(pixels: np.ndarray, mode: str) -> list[Image]:
    """(n, c, h, w) of 0..255 (0..65535 for mode "I;16") as Pillow images of mode "1", "L", "I;16", "RGB" or "RGBA"."""
    from PIL import Image

    compact = pixels.astype(np.uint16 if mode == "I;16" else np.uint8)
    images = [Image.fromarray(np.ascontiguousarray(p[0] if len(p) == 1 else p.transpose(1, 2, 0))) for p in compact]
    return [image.point(lambda value: 255 * (value >= 128), "1") for image in images] if mode == "1" else images


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """One picture file as an array: (h, w) for grey, (h, w, 3) for colour; uint8, or uint16 for grey of 16 bits.

    The camera's turn is applied and transparency is laid over white. Raises FileError where the file cannot be
    opened, DataError naming it where its content is not a whole picture.
    """
    path = Path(path)
    with _quiet():
        pixels = _tried(path, lambda image: _pixels(image, None, Counter()))
    if isinstance(pixels, _Unreadable):
        raise DataError(f"{path} cannot be used: {pixels}") from pixels
    return pixels
