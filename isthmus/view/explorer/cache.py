"""What was worked out for the page, kept beside the model, so that it opens at once the next time.

NAME.isthmus.explorer is a zip whose members are stored as they are:

    key.json      what it was worked out from: the model's hash, the items, settings
    opened.json   what the page is told
    blob/NAME     arrays, little-endian, and PNG files

A file that is damaged, or was made from something else, counts as none. Nothing here imports PyTorch: the page is there
before it has been read.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Contents", "bytes_of", "cached", "keep", "key_of_files", "model_hash"]

VERSION = 3  # also raised where what the page is told changes
MOST_BYTES = 2**32  # of a cache; more is worked out again
DTYPES = {"<f4", "<u2"}


class Contents(NamedTuple):
    """All that the page shows.

    Attributes
    ----------
    told : JSON values
    blobs : by name: arrays of float32 or uint16 whose first axis is the items, PNG files as bytes, a list of names
    """

    told: dict[str, Any]
    blobs: dict[str, Any]


def bytes_of(blob: Any) -> bytes:
    """A blob as it is sent and kept."""
    if isinstance(blob, np.ndarray):
        return np.ascontiguousarray(blob).tobytes()
    return blob if isinstance(blob, bytes) else json.dumps(blob, ensure_ascii=False).encode()


def model_hash(path: str | os.PathLike[str]) -> str | None:
    """The hash that a model file says it has, without reading the whole; None where it is no such file."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo("model.json")
            if info.file_size > 2**24:
                return None
            return str(json.loads(archive.read(info))["hash"]["digest"])
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile, NotImplementedError, RecursionError):
        return None


def key_of_files(*paths: str) -> list[Any]:
    """What tells that files, and those below folders, are still the same: names, sizes, times."""
    found: list[Any] = []
    for path in paths:
        place = Path(path)
        if not place.is_dir():
            found.append([str(place.resolve()), *_size_and_time(place)])
            continue
        rows = [[os.path.join(folder, name), *_size_and_time(Path(folder, name))]
                for folder, _, names in os.walk(place) for name in names]  # fmt: skip
        digest = hashlib.sha256(json.dumps(sorted(rows)).encode("utf-8", "surrogatepass")).hexdigest()
        found.append([str(place.resolve()), len(rows), digest])
    return found


def _size_and_time(path: Path) -> list[int]:
    try:
        state = path.stat()
    except OSError:
        return [-1, -1]
    return [state.st_size, state.st_mtime_ns]


def cached(place: Path, key: dict[str, Any]) -> Contents | None:
    """What was kept for this very key; None where there is nothing, or nothing whole."""
    try:
        with zipfile.ZipFile(place) as archive:
            if json.loads(archive.read("key.json")) != _json(key | {"explorer": VERSION}):
                return None
            told, shapes = (json.loads(archive.read(name)) for name in ("opened.json", "shapes.json"))
            blobs = {}
            for info in archive.infolist():
                if info.filename.startswith("blob/"):
                    name = info.filename.removeprefix("blob/")
                    blobs[name] = _blob(archive.read(info), shapes.get(name))  # checks its sum
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError,
            RecursionError):  # fmt: skip
        return None
    return Contents(told, blobs)


def keep(place: Path, key: dict[str, Any], contents: Contents) -> None:
    """Write the cache, whole or not at all. Raises FileError."""
    from isthmus.store import atomic_path

    packed = {name: bytes_of(blob) for name, blob in contents.blobs.items()}
    if sum(map(len, packed.values())) > MOST_BYTES:
        return
    shapes = {name: [blob.dtype.str, list(blob.shape)] if isinstance(blob, np.ndarray) else "names"
              for name, blob in contents.blobs.items() if not isinstance(blob, bytes)}  # fmt: skip
    head = {"key.json": key | {"explorer": VERSION}, "opened.json": contents.told, "shapes.json": shapes}
    with atomic_path(place) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, value in head.items():
            archive.writestr(name, json.dumps(value, ensure_ascii=False).encode())
        for name, raw in packed.items():
            archive.writestr(f"blob/{name}", raw)


def _blob(raw: bytes, shape: Any) -> Any:
    if shape is None:
        return raw
    if shape == "names":
        return json.loads(raw)
    dtype, sides = shape
    if dtype not in DTYPES:
        raise ValueError(f"an array of {dtype}")
    return np.frombuffer(raw, dtype).reshape(sides)


def _json(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))
