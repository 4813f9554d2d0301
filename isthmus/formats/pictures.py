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
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from isthmus.errors import DataError, FileError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Form",
    "Header",
    "Reading",
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

_IN_FLIGHT = 64  # pictures that are decoded, or are and wait to be taken, at most: memory stays flat
_AT_ONCE = 4  # pictures that a thread decodes in one go: handing over costs some 50 microseconds
_HEADERS_AT_ONCE = 32
_NAMED = 5  # flawed pictures that an error names

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


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Why one picture cannot be used. An exception would keep alive all that its traceback touches."""

    why: str


def _in_threads(
    work: Callable[[range], T], sources: Sequence[Source], at_once: int = _AT_ONCE
) -> Generator[T, None, None]:
    """work(places), a few neighbouring places at a time, in order: Pillow decodes without holding Python's lock."""
    n = len(sources)
    at_once = max(1, min(at_once, n // _IN_FLIGHT))  # few pictures are shared out singly
    parts = (range(start, min(start + at_once, n)) for start in range(0, n, at_once))
    if not all(isinstance(source, Path) for source in sources):
        yield from map(work, parts)  # the user's own images may be one object twice
        return
    pool = ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1, n)), thread_name_prefix="pictures")
    coming: deque[Future[T]] = deque()
    try:
        for part in parts:
            coming.append(pool.submit(work, part))
            if len(coming) >= _IN_FLIGHT // min(at_once, _AT_ONCE):
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C nothing further is read


class _Flaws:
    """The pictures of one pass that cannot be used: all are noted, and told together at its end."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.found: list[tuple[int, str]] = []  # place, why
        self._known: dict[str, str] = {}

    def note(self, place: int, why: str) -> None:
        self.found.append((place, self._known.setdefault(why, why)))  # a reason that many share is kept once

    def settle(self, skip_corrupt: bool) -> list[int]:
        """Places of the pictures to leave out. DataError where none may be, or where none is left."""
        n, count = len(self.sources), len(self.found)
        if count and not skip_corrupt:
            told = [(_name(self.sources[place], place), why) for place, why in self.found[:_NAMED]]
            which, them = "{} cannot be used: {}".format(*told[0]), "it"
            if count > 1:
                named = "; ".join(f"{name} ({why})" for name, why in told)
                more = f"; and {count - _NAMED} more" if count > _NAMED else ""
                which, them = f"{count} of {n} pictures cannot be used: {named}{more}", "them"
            raise DataError(
                f"{which}. Mend or remove {them}, or leave such pictures out with skip_corrupt=True (--skip-corrupt)"
            )
        if n and count == n:
            raise DataError(f"none of the {n} pictures can be read (the first is {_name(self.sources[0], 0)})")
        return [place for place, _ in self.found]


def _tried(source: Source, work: Callable[[Image], T]) -> T | _Flaw:
    try:
        with _opened(source) as image:
            return work(image)
    except _Unreadable as error:
        return _Flaw(str(error))


def read_headers(sources: Sequence[Source], skip_corrupt: bool = False) -> list[Header]:
    """Size and kind of each picture, without its pixels. DataError naming those that are no pictures.

    Pixels are read of pictures with a palette only, for their colours tell grey from colour.
    """
    flaws, headers = _Flaws(sources), []
    known: dict[Header, Header] = {}  # a million pictures have few sizes and kinds
    with _quiet():
        read = _in_threads(lambda part: [_tried(sources[i], _header) for i in part], sources, _HEADERS_AT_ONCE)
        for place, found in enumerate(chain.from_iterable(read)):
            if isinstance(found, _Flaw):
                flaws.note(place, found.why)
            else:
                headers.append(known.setdefault(found, found))
    flaws.settle(skip_corrupt)
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
class Reading:
    """What came of reading pictures.

    Attributes
    ----------
    count : how many were read
    skipped : places in the list of the pictures that were left out
    notes : how many pictures were "resized", had "alpha", lost "bits" or colour ("grey"), or have more "frames"
    """

    count: int
    skipped: list[int]
    notes: Counter[str]


def read_pictures(
    sources: Sequence[Source], form: Form, take: Callable[[np.ndarray], None], skip_corrupt: bool = False
) -> Reading:
    """Pictures in one form, decoded by a few threads and handed on: never more than some dozens are in memory.

    Parameters
    ----------
    take : is given (b, c, h, w) of uint8, or uint16 where the form has 16 bits, a few pictures at a time, in order, but
        for those that cannot be used. It runs in the caller's thread

    Raises
    ------
    DataError : some cannot be used (with ``skip_corrupt``: none can); all are looked at first, up to five are named
    FileError : one that cannot be opened, at once
    """

    def decode(part: range) -> tuple[np.ndarray, Counter[str], list[tuple[int, str]]]:
        pixels, notes = np.empty((len(part), *form.shape), np.uint16 if form.sixteen else np.uint8), Counter[str]()
        flaws: list[tuple[int, str]] = []
        kept = 0
        for i in part:
            own = Counter[str]()  # of a picture that fails half-way nothing is counted
            found = _tried(sources[i], partial(_pixels, form=form, notes=own, ours=isinstance(sources[i], Path)))
            if isinstance(found, _Flaw):
                flaws.append((i, found.why))
            else:
                pixels[kept] = found
                kept += 1
                notes.update(own)
        return pixels[:kept], notes, flaws

    flaws, notes, count = _Flaws(sources), Counter[str](), 0
    with _quiet(), contextlib.closing(_in_threads(decode, sources)) as parts:
        for pixels, own, unusable in parts:
            for place, why in unusable:
                flaws.note(place, why)
            notes.update(own)
            count += len(pixels)
            if len(pixels) and (skip_corrupt or not flaws.found):  # else they are read to the end only to be looked at
                take(pixels)
    return Reading(count, flaws.settle(skip_corrupt), notes)


def black_and_white(sources: Sequence[Source], form: Form) -> bool:
    """Whether every pixel is black or white, and both occur. Stops reading at the first picture that says no.

    Pictures that cannot be read say nothing here: ``read_pictures`` tells of all of them.
    """
    if form.sixteen:
        return False

    def extremes(place: int) -> set[int] | _Flaw | None:
        def look(image: Image) -> set[int] | None:
            pixels = _pixels(image, form, Counter(), ours=isinstance(sources[place], Path))
            found = set(np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist())
            return found if found <= {0, 255} else None

        return _tried(sources[place], look)

    seen = set[int]()
    with _quiet(), contextlib.closing(_in_threads(lambda part: [extremes(i) for i in part], sources)) as answers:
        for found in chain.from_iterable(answers):
            if found is None:
                return False
            if isinstance(found, set):
                seen |= found
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
    if isinstance(pixels, _Flaw):
        raise DataError(f"{path} cannot be used: {pixels.why}")
    return pixels
