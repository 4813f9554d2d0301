"""The model file ``NAME.isthmus``: one zip of four members. It knows no model and runs nothing.

    model.json           {"magic": "isthmus", "version": 1, "written_by": "0.1.0",
                          "hash": {"algorithm": "sha256", "digest": "..."}, "model": {...}}
    format.json          what ``Format.to_json`` gave
    weights.safetensors  the tensors, little-endian
    card.md              for people: data seen, scores, versions

All members are stored, none is compressed: what a header declares can never be more than what is on the disk, so there
is no such thing as a zip bomb, and weights are read straight from their place. Equal content gives equal bytes: times
are fixed, JSON keys and tensors are sorted.

The hash is sha256 over the members in the order above, of each: its name in UTF-8, a zero byte, its length as decimal
digits, a zero byte, its bytes. In ``model.json`` the 64 digits of the digest itself count as 64 zeros ("0"). It tells
damage and mix-ups, and names a model (compressed data refers to it); it is no signature.

A later version of the file may change everything but this: ``model.json`` is stored, and says "magic", "version" and
"written_by". So an old reader can always say what to do.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import math
import os
import reprlib
import secrets
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from isthmus.errors import DamagedFileError, DataError, FileError, FutureFileError, IsthmusError

__all__ = ["FILE_VERSION", "Contents", "atomic_path", "read", "write"]

FILE_VERSION = 1
MAGIC = "isthmus"
MEMBERS = ("model.json", "format.json", "weights.safetensors", "card.md")  # in the order of the hash
TEXT_LIMIT = 16 * 2**20  # bytes of a JSON or card; real ones are a few KiB
DEPTH_LIMIT = 64  # nesting of JSON; real ones go six deep
DIRECTORY_LIMIT = 2**16  # bytes of the zip's directory; ours is below 300
WORDS = {  # dtype: its word in a safetensors header
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
NO_DIGEST = "0" * 64
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_ERRORS = (*FULL, errno.EIO)  # what writing to an open file gives, without naming the file
MEND = "Copy or download it again, or save the model anew"


class Contents(NamedTuple):
    """What a model file holds.

    Attributes
    ----------
    model, format : the dictionaries given to ``write``, tuples having become lists
    tensors : by name, on the CPU, sorted by name; ``tensors[name].numpy()`` shares the memory
    card : text for people
    hash : the sha256 digest over all members, 64 hexadecimal digits; the same for equal content
    written_by : version of the isthmus package that wrote the file
    """

    model: dict[str, Any]
    format: dict[str, Any]
    tensors: dict[str, Tensor]
    card: str
    hash: str
    written_by: str


# --- Writing --------------------------------------------------------------------------------------------------------


def write(
    path: str | os.PathLike[str],
    *,
    model: Mapping[str, Any],
    format: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray | Tensor],
    card: str,
) -> None:
    """Write a model file, atomically: a failed or interrupted save leaves an older file at ``path`` as it was.

    Parameters
    ----------
    path : where; its folder must exist
    model, format : JSON values (NumPy scalars count as numbers), at most 16 MiB each as text
    tensors : by name; floats (finite), integers or booleans of any shape, on any device
    card : text for people, Markdown

    Raises
    ------
    DataError : something given cannot be stored; the message names it
    FileError : the file cannot be written
    """
    for name, value, wanted, word in (
        ("model", model, Mapping, "a dictionary"),
        ("format", format, Mapping, "a dictionary"),
        ("tensors", tensors, Mapping, "a dictionary"),
        ("card", card, str, "text"),
    ):
        if not isinstance(value, wanted):
            raise DataError(f"{name} is a {type(value).__name__}; {word} is expected")
    weights = _packed(tensors)
    head = {
        "magic": MAGIC,
        "version": FILE_VERSION,
        "written_by": _package_version(),
        "hash": {"algorithm": "sha256", "digest": NO_DIGEST},
        "model": _plain(model, "model", depth=1),
    }
    members: dict[str, list[Any]] = {
        "model.json": [_text(head, "model")],
        "format.json": [_text(_plain(format, "format"), "format")],
        "weights.safetensors": weights,
        "card.md": [_plain(card, "card").encode()],
    }
    if len(members["card.md"][0]) > TEXT_LIMIT:
        raise DataError(f"card is longer than {TEXT_LIMIT >> 20} MiB")
    head["hash"] = {"algorithm": "sha256", "digest": _digest(members)}
    members["model.json"] = [_text(head, "model")]
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name in MEMBERS:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # else the bytes would differ between Windows and the rest
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.file_size = sum(_nbytes(chunk) for chunk in members[name])  # tells zipfile whether it needs zip64
            with archive.open(info, "w") as member:
                for chunk in members[name]:
                    member.write(chunk)


def _package_version() -> str:
    try:
        return importlib.metadata.version("isthmus")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def _digest(members: Mapping[str, list[Any]]) -> str:
    """The hash of the module's docstring, over buffers; model.json comes with NO_DIGEST in place of the digest."""
    sha = hashlib.sha256()
    for name in MEMBERS:
        sha.update(f"{name}\0{sum(_nbytes(chunk) for chunk in members[name])}\0".encode())
        for chunk in members[name]:
            sha.update(chunk)
    return sha.hexdigest()


def _nbytes(chunk: Any) -> int:
    return memoryview(chunk).nbytes


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """A copy that JSON gives back exactly, tuples having become lists. Raises DataError naming the entry."""
    if depth > DEPTH_LIMIT:
        raise DataError(f"{where[:80]}... is nested deeper than {DEPTH_LIMIT} levels")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise DataError(f"{where} holds half a character (a lone surrogate), which no file can hold") from None
        return str(value)
    if isinstance(value, int):
        if value.bit_length() > 1024:
            raise DataError(f"{where} is an integer of {value.bit_length()} bits; at most 1024 are stored")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DataError(f"{where} is {value}, which JSON cannot hold; give None, or leave it out")
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise DataError(f"{where} has the key {reprlib.repr(key)}, a {type(key).__name__}; keys must be text")
            _plain(key, f"a key of {where}")
        return {str(key): _plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    raise DataError(
        f"{where} is a {type(value).__name__}, which JSON cannot hold; "
        "give numbers, text, lists and dictionaries, and arrays among the tensors"
    )


def _text(value: dict[str, Any], what: str) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1).encode() + b"\n"
    if len(text) > TEXT_LIMIT:
        much = f"{len(text) / 2**20:.1f} MiB as JSON, more than {TEXT_LIMIT >> 20}"
        raise DataError(f"{what} is {much}; put long lists among the tensors")
    return text


def _packed(tensors: Mapping[str, np.ndarray | Tensor]) -> list[Any]:
    """The tensors as a safetensors file in pieces: a header, then the memory of each tensor, not copied.

    Wide dtypes come first, then the order of the names, so that every tensor begins at a multiple of its item size.
    """
    rows = []
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not name or name == "__metadata__":
            raise DataError(f"tensors: {name!r} cannot be the name of a tensor")
        _plain(name, "the name of a tensor")
        rows.append((name, *_raw(name, tensor)))
    rows.sort(key=lambda row: (-row[2], row[0]))
    header: dict[str, Any] = {}
    begin = 0
    for name, word, _, data in rows:
        shape = list(tensors[name].shape)
        header[name] = {"dtype": word, "shape": shape, "data_offsets": [begin, begin + data.nbytes]}
        begin += data.nbytes
    text = json.dumps(header, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > TEXT_LIMIT:
        raise DataError(f"tensors: their names and shapes take more than {TEXT_LIMIT >> 20} MiB; join small tensors")
    return [struct.pack("<Q", len(text)) + text, *(data for *_, data in rows)]


def _raw(name: str, tensor: np.ndarray | Tensor) -> tuple[str, int, np.ndarray]:
    """The dtype's word, the bytes of an item, and the memory (nbytes,) uint8, little-endian, row by row."""
    if not isinstance(tensor, (np.ndarray, Tensor)):
        raise DataError(f"tensor {name!r} is a {type(tensor).__name__}; a NumPy array or a torch tensor is expected")
    kind = tensor.dtype.name if isinstance(tensor, np.ndarray) else str(tensor.dtype).removeprefix("torch.")
    sparse = isinstance(tensor, Tensor) and (tensor.layout != torch.strided or tensor.device.type == "meta")
    if sparse or kind not in WORDS:
        what = "no dense memory" if sparse else f"the dtype {kind}"
        raise DataError(f"tensor {name!r} has {what}; dense floats, integers or booleans are expected")
    if isinstance(tensor, np.ndarray):
        finite = tensor.dtype.kind != "f" or bool(np.isfinite(tensor).all())
        data = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    else:
        whole = tensor.detach().cpu().contiguous()
        finite = not whole.is_floating_point() or bool(torch.isfinite(whole).all())
        data = whole.reshape(-1).view(torch.uint8).numpy()
    if not finite:
        raise DataError(f"tensor {name!r} holds NaN or infinity; a model with such weights is not saved")
    return WORDS[kind], tensor.dtype.itemsize, data


# --- Reading --------------------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str]) -> Contents:
    """Read a model file, check everything, run nothing.

    Needs memory for the file once more than for its tensors, for a moment.

    Raises
    ------
    FileError : there is no such file, or it cannot be read
    DamagedFileError : it is cut short, altered, or not one of ours
    FutureFileError : a newer version wrote it
    """
    place = _place(path)
    try:
        if place.is_dir():
            raise FileError(f"{place} is a folder; the name of a model file is expected, such as NAME.isthmus")
        if place.exists() and not place.is_file():
            raise FileError(f"{place} is a device or a pipe; the name of a model file is expected")
        with open(place, "rb") as file:
            return _contents(file, place)
    except DamagedFileError as error:
        raise DamagedFileError(f"{place} cannot be used: {error}. {MEND}") from None
    except IsthmusError:
        raise
    except FileNotFoundError as error:
        raise FileError(f"{place} does not exist. Check the name, and the folder that you are in") from error
    except PermissionError as error:
        raise FileError(f"{place}: no permission to read it. Change its permissions or read a copy") from error
    except OSError as error:
        raise FileError(f"{place} cannot be read: {error.strerror or error}. Try again, or read a copy") from error


def _contents(file: BinaryIO, place: Path) -> Contents:
    """All of ``read`` once the file is open. Raises DamagedFileError saying only what is wrong."""
    entries, directory_at = _directory(file)
    if "model.json" not in entries:
        raise DamagedFileError("it is a zip file, but not one of Isthmus's: it holds no model.json")
    head_raw = _member(file, entries["model.json"], TEXT_LIMIT)
    head = _parsed(head_raw, "model.json")
    version, written_by = head.get("version"), head.get("written_by")
    if head.get("magic") != MAGIC or type(version) is not int or version < 1 or not isinstance(written_by, str):
        raise DamagedFileError("it is a zip file, but not one of Isthmus's: model.json does not begin as ours does")
    if version > FILE_VERSION:
        raise FutureFileError(
            f"{place} was written by Isthmus {reprlib.repr(written_by)[1:-1]} as version {version} of the model file; "
            f"this is Isthmus {_package_version()}, which reads versions up to {FILE_VERSION}. "
            "Upgrade it: pip install --upgrade isthmus"
        )
    for name in entries:
        if name not in MEMBERS:
            raise DamagedFileError(f"it holds {reprlib.repr(name)}, which no model file holds")
    end = 0
    raw: dict[str, bytes] = {}
    for info in sorted(entries.values(), key=lambda info: info.header_offset):
        if info.header_offset != end:
            raise DamagedFileError(f"there are bytes before {info.filename} that belong to no member")
        raw[info.filename] = _member(file, info, None if info.filename.endswith(".safetensors") else TEXT_LIMIT)
        end = file.tell()
    if end != directory_at:
        raise DamagedFileError("there are bytes after the last member that belong to none")
    for name in MEMBERS:
        if name not in raw:
            raise DamagedFileError(f"{name} is missing from it")
    digest = _checked_digest(head, raw)
    if not isinstance(head.get("model"), dict):
        raise DamagedFileError('"model" in model.json is missing or is no object')
    try:
        card = raw["card.md"].decode()
    except UnicodeDecodeError:
        raise DamagedFileError("card.md is not text in UTF-8") from None
    model_format = _parsed(raw["format.json"], "format.json")
    return Contents(head["model"], model_format, _unpacked(raw["weights.safetensors"]), card, digest, written_by)


def _checked_digest(head: dict[str, Any], raw: Mapping[str, bytes]) -> str:
    kept = head.get("hash")
    digest = kept.get("digest") if isinstance(kept, dict) else None
    if not isinstance(kept, dict) or kept.get("algorithm") != "sha256" or not isinstance(digest, str):
        raise DamagedFileError("model.json names no sha256 hash")
    written = digest.encode()
    if len(written) != 64 or raw["model.json"].count(written) != 1:
        raise DamagedFileError("the hash in model.json is no sha256 digest")
    blank = raw["model.json"].replace(written, NO_DIGEST.encode())
    if _digest({name: [blank if name == "model.json" else raw[name]] for name in MEMBERS}) != digest:
        raise DamagedFileError("its content does not agree with its hash: some bytes were altered")
    return digest


def _directory(file: BinaryIO) -> tuple[dict[str, zipfile.ZipInfo], int]:
    """The entries of the zip by name, and where its directory begins."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(4)
    if not size:
        raise DamagedFileError("it is empty")
    if start != b"PK\3\4":
        raise DamagedFileError("it is not a model file: it does not begin as one")
    # The end record is checked by hand first, so that no made-up directory of millions of entries is ever parsed.
    file.seek(max(0, size - 42))
    tail = file.read(42)
    signature, _, _, _, _, directory_size, _, comment = struct.unpack("<4s4H2IH", tail[-22:].rjust(22, b"\0"))
    if signature != b"PK\5\6" or comment:
        raise DamagedFileError("it is cut short, or something was added at its end")
    zip64 = tail.startswith(b"PK\6\7")  # only ever needed above 2 GiB
    if directory_size > DIRECTORY_LIMIT or (zip64 and size < 2**31):
        raise DamagedFileError("its directory is larger than that of any model file")
    try:
        with zipfile.ZipFile(file) as archive:
            infos, directory_at = archive.infolist(), archive.start_dir
    except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, NotImplementedError, EOFError) as error:
        raise DamagedFileError(f"its directory cannot be read ({error})") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a made-up position in the file
            raise
        raise DamagedFileError("its directory points outside the file") from None
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if info.filename in entries:
            raise DamagedFileError(f"it holds {reprlib.repr(info.filename)} twice")
        entries[info.filename] = info
    return entries, directory_at


def _member(file: BinaryIO, info: zipfile.ZipInfo, limit: int | None) -> bytes:
    """The bytes of a member, read from its place; the file stands at its end then."""
    name = info.filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.is_dir() or info.external_attr & 0x10 or kind not in (0, stat.S_IFREG):
        raise DamagedFileError(f"{name} is a link or a folder in it, not a file")
    if info.flag_bits & 0x1:
        raise DamagedFileError(f"{name} is encrypted in it")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise DamagedFileError(f"{name} is compressed in it; Isthmus never compresses")
    if limit is not None and info.file_size > limit:
        raise DamagedFileError(f"{name} is {info.file_size / 2**20:.0f} MiB; at most {limit >> 20} are read")
    size = file.seek(0, os.SEEK_END)
    if not 0 <= info.header_offset <= size - 30:
        raise DamagedFileError(f"{name} lies outside the file")
    file.seek(info.header_offset)
    header = file.read(30)
    name_size, extra_size = struct.unpack("<2H", header[26:])
    if header[:4] != b"PK\3\4" or file.read(name_size) != info.orig_filename.encode() or name != info.orig_filename:
        raise DamagedFileError(f"{name} is not where the directory says")
    file.seek(extra_size, os.SEEK_CUR)
    if info.file_size > size - file.tell():  # before asking for memory
        raise DamagedFileError(f"{name} is cut short")
    raw = file.read(info.file_size)
    if len(raw) != info.file_size:
        raise DamagedFileError(f"{name} is cut short")
    return raw


def _parsed(raw: bytes, name: str) -> dict[str, Any]:
    """A JSON object, without NaN, repeated keys or deep nesting."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) != len(found):
            raise ValueError("a key stands twice in one object")
        return made

    def constant(word: str) -> Any:
        raise ValueError(f"it holds {word}")

    try:
        value = json.loads(raw.decode(), object_pairs_hook=pairs, parse_constant=constant)
        if not isinstance(value, dict):
            raise ValueError("it is no object")
        plain: dict[str, Any] = _plain(value, name)
    except RecursionError:
        raise DamagedFileError(f"{name} is nested deeper than {DEPTH_LIMIT} levels") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError and DataError are kinds of it
        raise DamagedFileError(f"{name} cannot be read: {error}") from None
    return plain


def _unpacked(raw: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, checked by the safetensors library and for NaN."""
    name = "weights.safetensors"
    (header_size,) = struct.unpack("<Q", raw[:8].ljust(8, b"\xff"))
    if header_size > min(len(raw) - 8, TEXT_LIMIT):
        raise DamagedFileError(f"the header of {name} is longer than the file")
    for tensor_name, row in _parsed(raw[8 : 8 + header_size], f"the header of {name}").items():
        if not isinstance(row, dict) or row.get("dtype") not in WORDS.values():
            dtype = row.get("dtype") if isinstance(row, dict) else None
            raise DamagedFileError(f"tensor {reprlib.repr(tensor_name)} has the dtype {reprlib.repr(dtype)}")
    try:
        tensors = safetensors.torch.load(raw)
    except Exception as error:  # a parser of another house, given bytes that anyone may have made
        raise DamagedFileError(f"{name} cannot be read ({reprlib.repr(str(error))})") from None
    for tensor_name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DamagedFileError(f"tensor {reprlib.repr(tensor_name)} holds NaN or infinity")
    return dict(sorted(tensors.items()))


# --- Files that appear whole or not at all --------------------------------------------------------------------------


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file to write into, which becomes ``path`` when the block ends well.

    It is an empty file in the same folder whose name ends as ``path`` does (so that writers which look at the suffix
    are content). At the end it is flushed to the disk and renamed. When the block fails, Ctrl-C included, it is removed
    and a file that was at ``path`` is untouched. A link at ``path`` is followed; a file's permissions stay.

    Raises
    ------
    FileError : the folder is missing or cannot be written, the disk is full, ``path`` is a folder or a device
    """
    place = _place(path)
    target = Path(os.path.realpath(place))
    temporary = target.with_name(f".{secrets.token_hex(8)}.{target.name[-50:]}") if target.name else target
    try:
        mode = _mode_to_replace(place, target)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        _flush(temporary, os.O_RDWR)  # or a power cut could leave an empty file behind the new name
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
        with suppress(OSError):  # not every file system can flush a folder
            _flush(target.parent, os.O_RDONLY)
    except OSError as error:
        # The block may be anyone's: a lost connection in it is not a failure to write here.
        ours = str(error.filename) in (str(temporary), str(target)) or error.errno in DISK_ERRORS
        if isinstance(error, IsthmusError) or not ours:
            raise
        raise FileError(_why_not_written(place, error)) from error
    finally:
        if temporary != target:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _place(path: str | os.PathLike[str]) -> Path:
    try:
        place = Path(os.fsdecode(path))
    except TypeError:
        raise FileError(f"{path!r} is a {type(path).__name__}; the name of a file is expected") from None
    if "\0" in str(place):
        raise FileError(f"{str(place)!r} holds a zero character, which no file name can")
    return place


def _mode_to_replace(place: Path, target: Path) -> int | None:
    """The permissions of the file about to be replaced, None where there is none."""
    try:
        mode = os.stat(target).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(mode):
        raise FileError(f"{place} is a folder; the name of a file is expected")
    if not stat.S_ISREG(mode):
        raise FileError(f"{place} is a device or a pipe; the name of a file is expected")
    return stat.S_IMODE(mode)


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why_not_written(place: Path, error: OSError) -> str:
    folder = Path(os.path.realpath(place)).parent
    kept = "A file that was there is as it was"
    if error.errno == errno.ENOENT and not folder.exists():
        return f"{place}: there is no folder {folder}. Make it first: mkdir -p {folder}"
    if error.errno == errno.ENOTDIR or (error.errno == errno.ENOENT and not folder.is_dir()):
        return f"{place}: {folder} is not a folder. Choose another place"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{place}: no permission to write in {folder}. Choose another place, or change the folder's permissions"
    if error.errno == errno.EROFS:
        return f"{place}: {folder} is read-only. Choose another place"
    if error.errno in FULL:
        return f"{place}: the disk or the quota is full. {kept}. Free some space, or choose another place"
    if error.errno == errno.ENAMETOOLONG:
        return f"{place}: the name is too long. Choose a shorter one"
    return f"{place} cannot be written: {error.strerror or error}. {kept}. Try again, or choose another place"
