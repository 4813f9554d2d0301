"""Small sets of images to learn on: digits, MNIST, Fashion-MNIST, CIFAR-10.

Where a set comes from, in this order:

1. ``digits`` ships with scikit-learn.
2. The folder named by the environment variable ISTHMUS_DATA, where it has a folder of the set's name: ``mnist`` and
   ``fashion_mnist`` with the four IDX files (gzipped or not), ``cifar10`` with ``cifar-10-binary.tar.gz`` or with
   strips of images.
3. The cache: the folder named by ISTHMUS_CACHE, else the user's cache folder.
4. A download into the cache, from several mirrors in turn. What came before a broken connection is kept in a ``.part``
   file and continued, at another mirror if need be. Only a file with the known sha256 ever gets its name, so two
   processes at once, Ctrl-C or a lying mirror leave nothing wrong behind. Nothing is unpickled.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, overload

import numpy as np

from isthmus.errors import DamagedFileError, DownloadError, FileError, MissingExtra, SettingError, warn

__all__ = ["cifar10", "digits", "fashion_mnist", "mnist", "read_idx"]


class Remote(NamedTuple):
    """One file of a set as the mirrors give it."""

    name: str
    size: int  # bytes
    md5: str  # of what gzip packed (IDX), or of the archive
    sha256: str  # of the file


MIRRORS = {  # tried in this order
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/",
              "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "fashion_mnist": ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
                      "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
                      "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/",
                "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/"),
}  # fmt: skip
FILES = {
    "mnist": (
        Remote("train-images-idx3-ubyte.gz", 9912422, "6bbc9ace898e44ae57da46a324031adb",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        Remote("train-labels-idx1-ubyte.gz", 28881, "a25bea736e30d166cdddb491f175f624",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        Remote("t10k-images-idx3-ubyte.gz", 1648877, "2646ac647ad5339dbf082846283269ea",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        Remote("t10k-labels-idx1-ubyte.gz", 4542, "27ae3e4e09519cfbb04c329615203637",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    "fashion_mnist": (
        Remote("train-images-idx3-ubyte.gz", 26421880, "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        Remote("train-labels-idx1-ubyte.gz", 29515, "9018921c3c673c538a1fc5bad174d6f9",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        Remote("t10k-images-idx3-ubyte.gz", 4422102, "8181f5470baa50b63fa0f6fddb340f0a",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        Remote("t10k-labels-idx1-ubyte.gz", 5148, "15d484375f8d13e6eb1aabb0c3f46965",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
    "cifar10": (
        Remote("cifar-10-binary.tar.gz", 170052171, "c32a1d4ab5d03f1284b67883e8d87530",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    ),
}  # fmt: skip
TIMEOUT = (10, 30)  # seconds to connect, and between two pieces
ATTEMPTS = 10  # at one mirror, as long as each brings some bytes
IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # third byte of an IDX file
UNPACKED_LIMIT = 2**30  # bytes that a small gzip file may grow to; a large one may grow a hundredfold
RECORD = 1 + 3 * 32 * 32  # CIFAR-10, binary: a label, then red, green and blue, row by row
Split = Literal["train", "test", "all"]
Labelled = tuple[np.ndarray, np.ndarray]


@overload
def digits(*, labels: Literal[False] = False) -> np.ndarray: ...
@overload
def digits(*, labels: Literal[True]) -> Labelled: ...
def digits(*, labels: bool = False) -> np.ndarray | Labelled:
    """Handwritten digits: (1797, 8, 8) uint8, black 0, white 255. With labels (X, y), y (1797,) int64 from 0 to 9.

    scikit-learn's ``load_digits`` (the test part of UCI's optical digits, Alpaydin and Kaynak 1998), whose values 0..16
    are stretched to 0..255, so that black and white mean what they do in every picture.
    """
    from sklearn.datasets import load_digits

    loaded = load_digits()
    X = np.round(loaded.images * (255 / 16)).astype(np.uint8)
    return (X, loaded.target.astype(np.int64)) if labels else X


@overload
def mnist(split: Split = "train", *, labels: Literal[False] = False) -> np.ndarray: ...
@overload
def mnist(split: Split = "train", *, labels: Literal[True]) -> Labelled: ...
def mnist(split: Split = "train", *, labels: bool = False) -> np.ndarray | Labelled:
    """MNIST, handwritten digits: (n, 28, 28) uint8, n = 60,000 for train, 10,000 for test, 70,000 for all.

    With labels (X, y), y (n,) int64 from 0 to 9. LeCun, Bottou, Bengio and Haffner 1998.

    Raises SettingError, FileError (ISTHMUS_DATA or the cache), DownloadError, MissingExtra.
    """
    return _idx_set("mnist", split, labels)


@overload
def fashion_mnist(split: Split = "train", *, labels: Literal[False] = False) -> np.ndarray: ...
@overload
def fashion_mnist(split: Split = "train", *, labels: Literal[True]) -> Labelled: ...
def fashion_mnist(split: Split = "train", *, labels: bool = False) -> np.ndarray | Labelled:
    """Fashion-MNIST, pieces of clothing, as ``mnist`` in every way. Xiao, Rasul and Vollgraf 2017."""
    return _idx_set("fashion_mnist", split, labels)


@overload
def cifar10(split: Split = "train", *, labels: Literal[False] = False) -> np.ndarray: ...
@overload
def cifar10(split: Split = "train", *, labels: Literal[True]) -> Labelled: ...
def cifar10(split: Split = "train", *, labels: bool = False) -> np.ndarray | Labelled:
    """CIFAR-10, photographs of ten things: (n, 32, 32, 3) uint8, n = 50,000 for train, 10,000 for test, 60,000 for all.

    With labels (X, y), y (n,) int64: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.
    Krizhevsky 2009.

    ISTHMUS_DATA may hold a smaller set instead, as strips of images ``cifar10/train_*.webp``, ``cifar10/test_*.webp``
    (32 pixels wide, one image under another, lossless) and ``cifar10/labels.npz``; an IsthmusWarning then says how many
    there are (6,000 and 3,000, balanced, in the set made for tests). Raises as ``mnist`` does.
    """
    parts = _parts(split)
    folder = _own_folder("cifar10")
    (remote,) = FILES["cifar10"]
    if folder is None or (folder / remote.name).exists():
        path = _fetched("cifar10", remote) if folder is None else folder / remote.name
        return _joined(_cifar_batches(path, remote, parts), labels)
    found = [_strips(folder, part) for part in parts]
    count, full = sum(len(X) for X, _ in found), {"train": 50_000, "test": 10_000, "all": 60_000}[split]
    if count < full:
        text = f"{folder} holds a part of CIFAR-10: {count:,} of {full:,} images (split={split!r})"
        warn(f"{text}. Numbers from it do not compare with published ones")
    return _joined(found, labels)


def read_idx(source: str | os.PathLike[str] | bytes) -> np.ndarray:
    """The array in an IDX file (the form of MNIST), gzipped or not: a path, or the content itself as bytes.

    Types uint8, int8, int16, int32, float32, float64, in this machine's byte order; any number of axes from 1 on.

    Raises FileError (no such file, or it cannot be read), DamagedFileError (no IDX file, cut short, or with more in it
    than it announces; a small gzip file may not unpack to more than 1 GiB).
    """
    return _idx(source)[1]


def _parts(split: str) -> tuple[str, ...]:
    if split not in ("train", "test", "all"):
        raise SettingError(f"split={split!r}: 'train', 'test' or 'all' is expected")
    return ("train", "test") if split == "all" else (split,)


def _joined(parts: list[Labelled], labels: bool) -> np.ndarray | Labelled:
    X, y = parts[0] if len(parts) == 1 else (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return (X, y.astype(np.int64)) if labels else X


def _idx_set(name: str, split: str, labels: bool) -> np.ndarray | Labelled:
    """Images and labels of MNIST or a set made like it, checked against the known contents."""
    own = _own_folder(name)
    loaded: list[Labelled] = []
    for part in _parts(split):
        begin = "train" if part == "train" else "t10k"
        arrays = []
        for remote in (file for file in FILES[name] if file.name.startswith(begin)):  # images, then labels
            path = _fetched(name, remote) if own is None else own / remote.name
            path = path if path.exists() else path.with_suffix("")
            if not path.exists():
                raise FileError(f"{own} holds no {remote.name}. Put it there, or set ISTHMUS_DATA to another folder")
            header, array = _idx(path)
            digest = hashlib.md5(header, usedforsecurity=False)
            digest.update(array.data)  # one copy less than header + bytes of the array
            if digest.hexdigest() != remote.md5:
                raise DamagedFileError(f"{path} does not hold what belongs to {name}. Remove it, or copy it again")
            arrays.append(array)
        loaded.append((arrays[0], arrays[1]))
    return _joined(loaded, labels)


def _idx(source: str | os.PathLike[str] | bytes) -> tuple[bytes, np.ndarray]:
    """Header and array of an IDX file."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _parsed(io.BytesIO(source), len(source), "the bytes given")
    if not isinstance(source, (str, os.PathLike)):
        raise FileError(f"{source!r} is a {type(source).__name__}; a path or the bytes of an IDX file are expected")
    try:
        with open(source, "rb") as file:
            return _parsed(file, os.fstat(file.fileno()).st_size, os.fspath(source))
    except FileError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a zero character in the name
        raise FileError(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _parsed(file: BinaryIO, stored: int, where: str) -> tuple[bytes, np.ndarray]:
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    stream: Any = gzip.GzipFile(fileobj=file) if packed else file
    limit = max(UNPACKED_LIMIT, 100 * stored) if packed else stored
    try:
        header = stream.read(4)
        if len(header) < 4 or header[:2] != b"\0\0" or header[2] not in IDX_TYPES or not header[3]:
            raise DamagedFileError(f"{where}: not an IDX file; it begins with {header.hex(' ') or 'nothing'}")
        sides = stream.read(4 * header[3])
        if len(sides) < 4 * header[3]:
            raise DamagedFileError(f"{where}: an IDX file cut short in its header. Copy or download it again")
        shape = struct.unpack(f">{header[3]}I", sides)
        said = f"{' x '.join(map(str, shape))} of {np.dtype(IDX_TYPES[header[2]]).name}"
        size = math.prod(shape) * np.dtype(IDX_TYPES[header[2]]).itemsize
        if size + len(header + sides) > limit:
            more = "than any honest file of its size unpacks to" if packed else "than the file holds; it is cut short"
            raise DamagedFileError(f"{where}: it announces {said}, more {more}")
        array = np.empty(size, np.uint8)
        filled = 0
        while filled < size and (got := stream.readinto(array.data[filled : filled + 2**20])):
            filled += got
        if filled < size or stream.read(1):
            wrong = "is cut short" if filled < size else "holds more"
            raise DamagedFileError(f"{where}: it announces {said}, but {wrong}. Copy or download it again")
        shaped = array.view(IDX_TYPES[header[2]]).reshape(shape)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedFileError(f"{where}: a damaged gzip file ({error}). Copy or download it again") from None
    except ValueError as error:  # 33 axes and more, or sides that no array can have
        raise DamagedFileError(f"{where}: no array can have the shape that it announces ({error})") from None
    return header + sides, shaped.astype(shaped.dtype.newbyteorder("="), copy=False)


def _cifar_batches(path: Path, remote: Remote, parts: tuple[str, ...]) -> list[Labelled]:
    """Images and labels out of the binary archive. Members are read in memory by exact name, never unpacked to disk."""
    batches = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
    wanted = [name for part in parts for name in batches[part]]
    found: dict[str, np.ndarray] = {}
    again = "Remove it, or copy it again"
    try:
        digest = _sha256(path)
        with tarfile.open(path, "r|gz") as archive:
            for member in archive if digest == remote.sha256 else ():
                name = member.name.removeprefix("cifar-10-batches-bin/")
                if name in wanted and name not in found and member.isreg() and 0 < member.size <= 10_000 * RECORD:
                    content = archive.extractfile(member)
                    found[name] = np.frombuffer(content.read() if content else b"", np.uint8)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DamagedFileError(f"{path}: the archive cannot be read ({error}). {again}") from None
    if digest != remote.sha256:
        raise DamagedFileError(f"{path} is not the CIFAR-10 archive: its sha256 differs. {again}")
    for name in wanted:
        if name not in found or found[name].size % RECORD or found[name][::RECORD].max() > 9:
            raise DamagedFileError(f"{path}: {name} in it is missing or not as expected. {again}")
    loaded = []
    for part in parts:
        records = np.concatenate([found[name] for name in batches[part]]).reshape(-1, RECORD)
        X = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        loaded.append((np.ascontiguousarray(X), records[:, 0]))
    return loaded


def _strips(folder: Path, part: str) -> Labelled:
    """Images and labels of a part of CIFAR-10 kept as lossless strips."""
    from PIL import Image

    paths = sorted(folder.glob(f"{part}_*.webp"))
    if not paths or not (folder / "labels.npz").is_file():
        (remote,) = FILES["cifar10"]
        raise FileError(f"{folder} holds neither {remote.name} nor {part}_*.webp with labels.npz. Put one there")
    strips, path = [], paths[0]
    try:
        for path in paths:
            with Image.open(path, formats=["WEBP"]) as image:
                if image.width != 32 or image.height % 32:
                    raise ValueError(f"{image.width} x {image.height} is no strip of 32 x 32 images")
                strips.append(np.asarray(image.convert("RGB")).reshape(-1, 32, 32, 3))
        path = folder / "labels.npz"
        with np.load(path, allow_pickle=False) as kept:
            y = kept[part]
    except Exception as error:  # two readers, given whatever lies there
        raise DamagedFileError(f"{path} cannot be read: {error}. Remove or copy the folder {folder} again") from error
    X = np.concatenate(strips)
    if y.shape != (len(X),) or y.dtype.kind not in "iu" or y.min() < 0 or y.max() > 9:
        raise DamagedFileError(f"{path}: {part} does not hold one label from 0 to 9 for each of {len(X)} images")
    return X, y


def _own_folder(name: str) -> Path | None:
    """The folder of a set within ISTHMUS_DATA, None where there is none."""
    given = os.environ.get("ISTHMUS_DATA")
    if not given:
        return None
    if not Path(given).is_dir():
        raise FileError(f"ISTHMUS_DATA names {given}, which is not a folder. Correct it, or unset it")
    folder = Path(given) / name
    return folder if folder.is_dir() else None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _extra() -> tuple[Any, Any]:
    try:
        import filelock
        import pooch
        import requests  # noqa: F401
    except ImportError as error:
        text = f'downloads need {error.name}, which is not installed: pip install "isthmus[datasets]"'
        raise MissingExtra(f"{text}. Or set ISTHMUS_DATA to a folder that holds the sets") from error
    return filelock, pooch


# --- Downloads ------------------------------------------------------------------------------------------------------


def _fetched(name: str, remote: Remote) -> Path:
    """A file of a set in the cache, downloaded if it is not there or not whole."""
    given = os.environ.get("ISTHMUS_CACHE")
    cache = (Path(given) if given else Path(_extra()[1].os_cache("isthmus"))) / name
    target = cache / remote.name
    mend = f"set ISTHMUS_DATA to a folder that holds {name}/{remote.name}"
    try:
        if target.is_file() and _sha256(target) == remote.sha256:
            return target
        filelock, pooch = _extra()
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{target}.lock"):  # a second process waits, then finds the file
            tried = []
            for mirror in MIRRORS[name]:
                reason = _from_mirror(pooch, mirror + remote.name, target, remote)
                if reason is None:
                    return target
                tried.append(f"\n  {mirror}{remote.name}: {reason}")
    except OSError as error:
        text = f"{cache}, the cache, cannot be used: {error.strerror or error}"
        raise FileError(f"{text}. Set ISTHMUS_CACHE to a folder that you may write to, or {mend}") from error
    raise DownloadError(
        f"{name}/{remote.name} could not be downloaded. Tried:{''.join(tried)}\n"
        f"Check the connection and try again (what came is kept), or put the file into {cache}, or {mend}"
    )


def _from_mirror(pooch: Any, url: str, target: Path, remote: Remote) -> str | None:
    """Download from one mirror. None when the file is in the cache now; otherwise what went wrong."""
    part = target.with_name(f"{target.name}.part")
    downloader = partial(_download, part=part, size=remote.size)
    while True:
        continued = part.exists()
        try:
            pooch.retrieve(url, f"sha256:{remote.sha256}", target.name, target.parent, downloader=downloader)
        except DownloadError as error:
            return str(error)
        except ValueError:  # from pooch: the hash differs; it and we have thrown the file away
            if not continued:
                return "gave another file: its sha256 differs"
        else:
            return None


def _download(url: str, output: str, _: Any, *, part: Path, size: int) -> None:
    """A downloader for pooch that continues ``part`` and renames it to ``output`` when it has ``size`` bytes."""
    for attempt in range(ATTEMPTS):
        before = part.stat().st_size if part.exists() else 0
        if before >= size:  # if it is too long, pooch finds the wrong hash
            break
        try:
            _receive(url, part, before, size)
        except DownloadError:
            if attempt == ATTEMPTS - 1 or not part.exists() or part.stat().st_size <= before:
                raise
    os.replace(part, output)


def _receive(url: str, part: Path, have: int, size: int) -> None:
    """Append to ``part``, which has ``have`` bytes, until it has ``size``. Raises DownloadError for what mirrors do."""
    import requests

    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise DownloadError(f"no connection ({type(error).__name__})") from error
    with response:
        answer = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if response.status_code == 200:  # all of it, whether or not we asked for the rest
            have, offered = 0, response.headers.get("Content-Length", "*")
        elif response.status_code == 206 and answer and int(answer[1]) == have:
            offered = answer[2]
        else:
            raise DownloadError(f"answered {response.status_code} {response.reason}")
        if offered not in ("*", str(size)):
            raise DownloadError(f"offers a file of {offered} bytes; {size} are expected")
        with open(part, "ab" if have else "wb") as file, _bar(part.stem, have, size) as advance:
            for chunk in _chunks(response):
                file.write(chunk)
                advance(len(chunk))
                have += len(chunk)
                if have > size:  # no need to see how much more there is
                    break
    if have < size:
        raise DownloadError(f"the connection ended after {have} of {size} bytes")


def _chunks(response: Any) -> Iterator[bytes]:
    """The body in pieces, as it was sent. Errors of the network become DownloadError; those of the disk stay apart."""
    import urllib3

    try:
        yield from response.raw.stream(2**16, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise DownloadError(f"the connection broke ({type(error).__name__})") from error


@contextmanager
def _bar(name: str, have: int, size: int) -> Iterator[Callable[[int], Any]]:
    """A bar on standard error, where that is a terminal and there is more than a megabyte to come."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    hidden = not console.is_terminal or size - have < 2**20
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(name, total=size, completed=have)
        yield lambda count: progress.advance(task, count)
