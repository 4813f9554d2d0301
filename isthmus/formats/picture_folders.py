"""Folders of pictures: finding the files, their classes, and writing arrays as PNG files.

Letters: n pictures; c channels; h height and w width in pixels.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.errors import DataError, FileError, SettingError, warn

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ENDINGS", "folder_labels", "ignored", "image_files", "list_folder", "save_images"]

ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif")

OWN = re.compile(r"[0-9]{5,}\.png")  # names that are given to pictures which have none
_DIGITS = re.compile("([0-9]+)")
_JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin"})


def _natural(name: str) -> str:
    """A text that sorts a2 before a10, and upper case (``name`` is case-folded) beside lower case.

    One text compares many times faster than a list of pieces. Signs that no name holds, or that come before all others,
    keep the order of such lists: an end before all, numbers (by how many digits, then by digits) before words.
    """
    pieces = _DIGITS.split(name)
    for i, piece in enumerate(pieces):
        if i % 2:
            digits = piece.lstrip("0")
            pieces[i] = f"\1{chr(len(digits))}{digits}"
        elif piece:
            pieces[i] = f"\2{piece}\0"
    return "".join(pieces)


def _walk(folder: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each folder from ``folder`` down, as its natural order, with (path, case-folded name) of the files in it.

    Files that are hidden or a system's junk are left out. Links are followed, loops are not. Asks the system once for a
    folder and not for each file, but for links.
    """
    waiting: list[tuple[str, str, tuple[tuple[int, int], ...]]] = [(folder, "", ())]
    while waiting:
        path, order, above = waiting.pop()
        files = []
        try:
            here = os.stat(path)
            if (here.st_dev, here.st_ino) in above:
                continue  # a link to a folder that we stand in
            with os.scandir(path) as found:
                for entry in found:
                    name = entry.name.casefold()
                    if name.startswith(".") or name in _JUNK:
                        continue
                    if entry.is_dir():
                        below = f"{order}{_natural(name)}\0"
                        waiting.append((entry.path, below, (*above, (here.st_dev, here.st_ino))))
                    else:
                        files.append((entry.path, name))
        except PermissionError as error:
            raise FileError(f"no permission to read the folder {path}") from error
        except OSError as error:
            raise FileError(f"the folder {path} cannot be read: {error.strerror or error}") from error
        yield order, files


def list_folder(folder: str | os.PathLike[str]) -> tuple[list[Path], list[Path]]:
    """The picture files below a folder, and the other files there, both in natural order.

    Raises FileError for a missing folder, a file in its place, no permission, and a folder without pictures.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise FileError(f"{folder} is a file; a folder of pictures is expected")
    pictures: dict[str, str] = {}  # the order of each path
    others: dict[str, str] = {}
    for order, files in _walk(str(folder)):
        for path, name in files:
            (pictures if name.endswith(ENDINGS) else others)[path] = order + _natural(name)
    if not pictures:
        held = f"only {some_names(_sorted(others))}" if others else "no files"
        raise FileError(f"the folder {folder} holds {held}; pictures end in {', '.join(ENDINGS)}")
    return _sorted(pictures), _sorted(others)


def _sorted(order: dict[str, str]) -> list[Path]:
    """The paths in their order; where it is the same, in that of their texts: a01 before a1."""
    return [Path(path) for path in sorted(sorted(order), key=order.__getitem__)]


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The picture files below a folder, subfolders included, in natural order (a2 before a10).

    Hidden files and the junk of operating systems are passed over in silence; other files that do not end as a
    picture does are passed over with one IsthmusWarning. Raises FileError as ``list_folder`` does.
    """
    pictures, others = list_folder(folder)
    if others:
        warn(f"{folder}: {ignored(others)}")
    return pictures


def folder_labels(folder: str | os.PathLike[str], skipped: Sequence[Path] = ()) -> np.ndarray | None:
    """The class of each picture of ``image_files(folder)``: the name of the first folder below ``folder`` it lies in.

    Parameters
    ----------
    skipped : pictures to leave out, as in ``ImageFormat.skipped_``

    Returns
    -------
    (n,) array of str, "" for pictures that lie beside the class folders; None where there is no subfolder at all
    """
    pictures = list_folder(folder)[0]
    if left_out := {os.path.abspath(path) for path in skipped}:
        pictures = [path for path in pictures if os.path.abspath(path) not in left_out]
    above = len(Path(folder).parts)
    inside = [path.parts[above:] for path in pictures]
    if all(len(parts) == 1 for parts in inside):
        return None
    return np.array([parts[0] if len(parts) > 1 else "" for parts in inside])


def some_names(paths: Sequence[Path]) -> str:
    """'3 files (a.txt, b.txt, c.txt)': a count and up to three names."""
    names = ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    return f"{len(paths)} {'file' if len(paths) == 1 else 'files'} ({names})"


def ignored(others: Sequence[Path]) -> str:
    """The sentence for files whose ending is not a picture's."""
    return f"{some_names(others)} ignored, not ending as a picture does"


def save_images(
    folder: str | os.PathLike[str],
    items: Any,
    names: Sequence[str] | None = None,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write pictures as PNG files, each under a temporary name first, so that no file is ever half there.

    Where the folder holds something, all of them are written before the first takes its place.

    Parameters
    ----------
    items : (n, h, w), (n, h, w, c) or (n, c, h, w) array with c of 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA);
        bool, integers of 0..255 (grey also 0..65535, written with 16 bits), or floats in [0, 1]; or Pillow images.
        Where both ends fit, torch tensors are read channels first, arrays channels last
    names : one file name for each; an ending of a picture is replaced by .png. Default 00000.png, 00001.png, ...
    overwrite : whether to write into a folder that already holds something. Once all pictures are whole they take the
        place of those of the same names; with the default names also of all others that are named so (00000.png, ...),
        so that pictures of two calls never lie mixed. Other files stay

    Returns
    -------
    the paths, in the order of the items. Raises DataError for items that are no pictures, SettingError for names
    that are not plain or not one for each item, FileError where the folder is in use or cannot be written.
    """
    from PIL import Image

    pictures = _png_ready(items)
    files = _plain_names([f"{i:05d}" for i in range(len(pictures))] if names is None else names, len(pictures))
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = [entry for entry in sorted(os.listdir(folder)) if not entry.startswith(".")]
    except FileExistsError as error:
        raise FileError(f"{folder} is a file; give a folder for the pictures") from error
    except OSError as error:
        raise FileError(f"the folder {folder} cannot be written: {error.strerror or error}") from error
    if held and not overwrite:
        raise FileError(f"the folder {folder} is not empty ({held[0]} is there); give another or overwrite=True")
    images = [picture if isinstance(picture, Image.Image) else Image.fromarray(picture) for picture in pictures]
    written = [folder / name for name in files]
    if not held:
        for path, image in zip(written, images, strict=True):
            _write_png(path, image, path)
        return written
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as fresh:
            for path, image in zip(written, images, strict=True):
                _write_png(Path(fresh) / path.name, image, path)
            for path in written:
                os.replace(Path(fresh) / path.name, path)
        for name in set(held) - set(files) if names is None else ():
            if OWN.fullmatch(name):
                (folder / name).unlink()
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"the folder {folder} cannot be written: {error.strerror or error}") from error
    return written


def _write_png(path: Path, image: Image, called: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            image.save(stream, format="PNG")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise FileError(f"{called} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)  # gone already where all went well


def _plain_names(names: Sequence[str], n: int) -> list[str]:
    if len(names) != n:
        raise SettingError(f"{len(names)} names given for {n} pictures")
    files = []
    for name in names:
        stem, ending = os.path.splitext(name)
        stem = stem if ending.casefold() in ENDINGS else name
        if not stem.strip(".") or stem.startswith(".") or any(sign in stem for sign in "/\\\0"):
            raise SettingError(f"the picture name {name!r} is not a plain file name")
        files.append(f"{stem}.png")
    twice = [name for name, times in Counter(files).items() if times > 1]
    if twice:
        raise SettingError(f"two pictures would be called {twice[0]}")
    return files


def _png_ready(items: Any) -> list[Any]:
    """Items as Pillow images, or arrays that Pillow can write as PNG: (h, w) or (h, w, c), uint8, uint16 or bool."""
    from PIL import Image

    if isinstance(items, list | tuple) and items and all(isinstance(item, Image.Image) for item in items):
        return list(items)
    torch_custom = hasattr(items, "detach")
    if torch_custom:
        items = items.detach().cpu().numpy()
    try:
        X = np.asarray(items)
    except ValueError as error:
        if isinstance(items, list | tuple) and all(isinstance(item, np.ndarray) for item in items):
            return [_png_ready(item[None])[0] for item in items]
        raise DataError("the pictures to save differ in shape; save them one by one, or as Pillow images") from error
    if X.ndim == 4 and X.shape[1] in (1, 2, 3, 4) and (torch_custom or X.shape[3] not in (1, 2, 3, 4)):
        X = X.transpose(0, 2, 3, 1)
    shaped = X.ndim == 3 or (X.ndim == 4 and X.shape[3] in (1, 2, 3, 4))
    if X.dtype.kind not in "buif" or not shaped or not X.size:
        raise DataError(
            f"an array of shape {X.shape} and dtype {X.dtype} does not hold pictures; (n, h, w), (n, h, w, c) or "
            "(n, c, h, w) of numbers is expected, with c from 1 to 4"
        )
    if X.ndim == 4 and X.shape[3] == 1:
        X = X[..., 0]
    if X.dtype.kind == "b":
        return list(X)
    low, high = X.min(), X.max()
    if X.dtype.kind == "f":
        if not (low >= 0 and high <= 1):  # also where one is nan
            raise DataError(f"float pictures to save must lie in [0, 1], these run from {low:g} to {high:g}")
        return list(np.rint(X.astype(np.float32) * 255).astype(np.uint8))
    if low < 0 or high > 65535:
        raise DataError(f"pixels to save must be 0..255 (grey up to 65535), these run from {low} to {high}")
    if X.dtype != np.uint16 and high <= 255:
        return list(X.astype(np.uint8))
    if X.ndim == 3:
        return list(X.astype(np.uint16))
    warn("colours of 16 bits are written with 8 (PNG files keep 16 here for grey)")
    return list(((X.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
