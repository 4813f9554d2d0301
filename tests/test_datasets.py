"""Data sets as they are known, from folders of one's own, and the readers of their files."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from isthmus import datasets
from isthmus.errors import DamagedFileError, FileError, IsthmusWarning, SettingError

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def idx(array: np.ndarray) -> bytes:
    """An IDX file, written from its description at yann.lecun.com."""
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


RNG = np.random.default_rng(0)
X = {"train": RNG.integers(0, 256, (60, 28, 28), np.uint8), "t10k": RNG.integers(0, 256, (20, 28, 28), np.uint8)}
Y = {part: RNG.integers(0, 10, len(images), np.uint8) for part, images in X.items()}
PLAIN = {}
for word in ("train", "t10k"):
    PLAIN |= {f"{word}-images-idx3-ubyte": idx(X[word]), f"{word}-labels-idx1-ubyte": idx(Y[word])}
CONTENT = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in PLAIN.items()}
WHOLE = CONTENT[IMAGES]


def remote(name: str, content: bytes) -> datasets.Remote:
    plain = PLAIN.get(name.removesuffix(".gz"), content)
    return datasets.Remote(name, len(content), hashlib.md5(plain).hexdigest(), hashlib.sha256(content).hexdigest())


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISTHMUS_DATA", raising=False)
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(datasets.FILES, "mnist", tuple(remote(name, CONTENT[name]) for name in CONTENT))


# --- The sets -------------------------------------------------------------------------------------------------------


def test_digits() -> None:
    from sklearn.datasets import load_digits

    images, y = datasets.digits(labels=True)
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.uint8
    assert y.dtype == np.int64
    original = load_digits()
    table = np.array([0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255])
    np.testing.assert_array_equal(images, table[original.images.astype(int)])
    np.testing.assert_array_equal(y, original.target)
    np.testing.assert_array_equal(datasets.digits(), images)
    images[0] = 7  # a copy of one's own
    assert not np.array_equal(datasets.digits()[0], images[0])


@pytest.mark.parametrize("load", [datasets.mnist, datasets.fashion_mnist, datasets.cifar10])
def test_a_split_that_is_none(load: Any) -> None:
    with pytest.raises(SettingError, match="split='valid': 'train', 'test' or 'all' is expected"):
        load("valid")


def test_the_tables_are_complete() -> None:
    assert datasets.FILES.keys() == datasets.MIRRORS.keys() == {"mnist", "fashion_mnist", "cifar10"}
    for name, files in datasets.FILES.items():
        assert len(datasets.MIRRORS[name]) >= 2
        assert all(url.startswith("http") and url.endswith("/") for url in datasets.MIRRORS[name])
        assert [file.name for file in files] == (["cifar-10-binary.tar.gz"] if name == "cifar10" else list(CONTENT))
        for file in files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert len(bytes.fromhex(file.md5)) == 16


REAL = os.environ.get("ISTHMUS_DATA", "")


@pytest.mark.skipif(not (Path(REAL) / "mnist").is_dir(), reason="ISTHMUS_DATA has no MNIST")
def test_the_real_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_DATA", REAL)
    images, y = datasets.mnist("test", labels=True)
    assert images.shape == (10_000, 28, 28)
    assert np.bincount(y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(images.mean() / 255, 4) == 0.1325


# --- ISTHMUS_DATA ---------------------------------------------------------------------------------------------------


@pytest.fixture
def own(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own; the mirrors are gone, so that nothing else can help."""
    for name in ("mnist", "cifar10"):
        monkeypatch.setitem(datasets.MIRRORS, name, ())
        (tmp_path / "own" / name).mkdir(parents=True)
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_splits(own: Path, split: str) -> None:
    for name, content in CONTENT.items():
        (own / "mnist" / name).write_bytes(content)
    parts = {"train": ["train"], "test": ["t10k"], "all": ["train", "t10k"]}[split]
    images, y = datasets.mnist(split, labels=True)  # type: ignore[call-overload]
    np.testing.assert_array_equal(images, np.concatenate([X[part] for part in parts]))
    np.testing.assert_array_equal(y, np.concatenate([Y[part] for part in parts]))
    assert (images.dtype, y.dtype) == (np.uint8, np.int64)
    assert images.flags.writeable
    np.testing.assert_array_equal(datasets.mnist(split), images)  # type: ignore[call-overload]


def test_own_files_in_any_packing(own: Path) -> None:
    (own / "mnist" / IMAGES).write_bytes(gzip.compress(PLAIN[IMAGES[:-3]], compresslevel=1))
    (own / "mnist" / LABELS[:-3]).write_bytes(PLAIN[LABELS[:-3]])
    images, y = datasets.mnist(labels=True)
    np.testing.assert_array_equal(images, X["train"])
    np.testing.assert_array_equal(y, Y["train"])


def test_own_files_that_are_missing_or_others(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match=rf"own/mnist holds no {IMAGES}. Put it there"):
        datasets.mnist()
    (own / "mnist" / IMAGES).write_bytes(CONTENT["t10k-images-idx3-ubyte.gz"])
    with pytest.raises(DamagedFileError, match=rf"{IMAGES} does not hold what belongs to mnist"):
        datasets.mnist()
    (own / "mnist" / IMAGES).write_bytes(WHOLE[:-100])
    with pytest.raises(DamagedFileError, match=rf"{IMAGES}: .*cut short|damaged gzip"):
        datasets.mnist()
    monkeypatch.setenv("ISTHMUS_DATA", str(own / "nowhere"))
    with pytest.raises(
        FileError, match=r"ISTHMUS_DATA names .*nowhere, which is not a folder. Correct it, or unset it"
    ):
        datasets.mnist()


PHOTOS = RNG.integers(0, 256, (12, 32, 32, 3), np.uint8)
THINGS = np.arange(12, dtype=np.uint8) % 10


def batch(images: np.ndarray, y: np.ndarray) -> bytes:
    """Records as the page of CIFAR-10 describes the binary version."""
    return b"".join(bytes([label]) + image.transpose(2, 0, 1).tobytes() for image, label in zip(images, y, strict=True))


BATCHES = {f"data_batch_{k + 1}.bin": batch(PHOTOS[2 * k : 2 * k + 2], THINGS[2 * k : 2 * k + 2]) for k in range(5)}
BATCHES["test_batch.bin"] = batch(PHOTOS[10:], THINGS[10:])


def archive(members: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for info in others:
            tar.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def put_archive(own: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(content)
    monkeypatch.setitem(datasets.FILES, "cifar10", (remote("cifar-10-binary.tar.gz", content),))


def test_cifar10_from_the_archive(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    link.type, link.linkname, link.size = tarfile.SYMTYPE, "/etc/passwd", datasets.RECORD
    outside = tarfile.TarInfo("../../outside.bin")
    put_archive(own, archive(BATCHES | {"readme.html": b"hello"}, link, outside), monkeypatch)
    before = sorted(tmp_path.rglob("*"))
    images, y = datasets.cifar10("all", labels=True)
    np.testing.assert_array_equal(images, PHOTOS)
    np.testing.assert_array_equal(y, THINGS)
    np.testing.assert_array_equal(datasets.cifar10("test"), PHOTOS[10:])
    assert (images.dtype, y.dtype, images.flags.c_contiguous) == (np.uint8, np.int64, True)
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked to the disk


def test_cifar10_downloaded(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "cifar10").rmdir()
    content = archive(BATCHES)
    monkeypatch.setitem(datasets.FILES, "cifar10", (remote("cifar-10-binary.tar.gz", content),))
    kept = Path(os.environ["ISTHMUS_CACHE"]) / "cifar10"
    kept.mkdir(parents=True)
    (kept / "cifar-10-binary.tar.gz").write_bytes(content)  # as a download leaves it
    np.testing.assert_array_equal(datasets.cifar10(), PHOTOS[:10])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (archive({name: BATCHES[name] for name in list(BATCHES)[1:]}), "data_batch_1.bin in it is missing or not as"),
        (archive(BATCHES | {"data_batch_3.bin": BATCHES["data_batch_3.bin"][:-1]}), "data_batch_3.bin in it is"),
        (archive(BATCHES | {"data_batch_3.bin": b""}), "data_batch_3.bin in it is"),
        (archive(BATCHES | {"data_batch_2.bin": batch(PHOTOS[:1], np.array([10]))}), "data_batch_2.bin in it is"),
        (archive(BATCHES)[:-2000], "the archive cannot be read"),
        (b"no archive", "the archive cannot be read"),
        (gzip.compress(b"no archive either" * 100, mtime=0), "the archive cannot be read"),
    ],
)
def test_cifar10_archives_that_are_damaged(
    own: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, text: str
) -> None:
    put_archive(own, content, monkeypatch)
    with pytest.raises(DamagedFileError, match=text):
        datasets.cifar10()


def test_another_archive_is_not_cifar10(own: Path) -> None:
    (own / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(archive(BATCHES))
    with pytest.raises(DamagedFileError, match=r"is not the CIFAR-10 archive: its sha256 differs. Remove it"):
        datasets.cifar10()


def put_strips(own: Path, labels: dict[str, np.ndarray]) -> None:
    for name, images in {"train_000": PHOTOS[:6], "train_001": PHOTOS[6:10], "test_000": PHOTOS[10:]}.items():
        Image.fromarray(images.reshape(-1, 32, 3)).save(own / "cifar10" / f"{name}.webp", lossless=True)
    np.savez(own / "cifar10" / "labels.npz", **labels)  # type: ignore[arg-type]


def test_cifar10_from_strips_says_that_it_is_a_part(own: Path) -> None:
    put_strips(own, {"train": THINGS[:10], "test": THINGS[10:]})
    with pytest.warns(IsthmusWarning, match=r"12 of 60,000 images \(split='all'\). Numbers from it do not") as found:
        images, y = datasets.cifar10("all", labels=True)
    assert found[0].filename == __file__
    np.testing.assert_array_equal(images, PHOTOS)
    np.testing.assert_array_equal(y, THINGS)
    with pytest.warns(IsthmusWarning, match="10 of 50,000"):
        assert datasets.cifar10().shape == (10, 32, 32, 3)


def test_cifar10_strips_that_are_damaged(own: Path) -> None:
    with pytest.raises(FileError, match=r"holds neither cifar-10-binary\.tar\.gz nor train_\*\.webp with labels\.npz"):
        datasets.cifar10()
    for train, text in [
        (THINGS[:9], "train does not hold one label from 0 to 9 for each of 10 images"),
        (THINGS[:10] + 1, "one label from 0 to 9"),
        (THINGS[:10] / 2, "one label from 0 to 9"),
        (np.array([None] * 10), "labels.npz cannot be read: Object arrays cannot be loaded"),
    ]:
        put_strips(own, {"train": train})
        with pytest.raises(DamagedFileError, match=text):
            datasets.cifar10()
    put_strips(own, {"other": THINGS})
    with pytest.raises(DamagedFileError, match=r"labels.npz cannot be read: 'train is not"):
        datasets.cifar10()
    Image.fromarray(PHOTOS[:2].reshape(-1, 64, 3)).save(own / "cifar10" / "train_001.webp", lossless=True)
    with pytest.raises(DamagedFileError, match=r"train_001.webp cannot be read: 64 x 32 is no strip of 32 x 32 images"):
        datasets.cifar10()
    whole = (own / "cifar10" / "train_000.webp").read_bytes()
    (own / "cifar10" / "train_000.webp").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFileError, match=r"train_000.webp cannot be read"):
        datasets.cifar10()


# --- IDX ------------------------------------------------------------------------------------------------------------

idx_arrays = hnp.arrays(
    st.sampled_from([np.dtype(word) for word in ("u1", "i1", "i2", "i4", "f4", "f8")]),
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
)


@settings(max_examples=100, deadline=None)
@given(idx_arrays, st.booleans())
def test_idx_there_and_back(array: np.ndarray, packed: bool) -> None:
    content = gzip.compress(idx(array)) if packed else idx(array)
    back = datasets.read_idx(content)
    assert back.dtype == array.dtype
    assert back.dtype.isnative
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert back.flags.writeable


def test_idx_from_a_path(tmp_path: Path) -> None:
    for content in (idx(X["t10k"]), gzip.compress(idx(X["t10k"]))):
        (tmp_path / "x").write_bytes(content)
        np.testing.assert_array_equal(datasets.read_idx(tmp_path / "x"), X["t10k"])
        np.testing.assert_array_equal(datasets.read_idx(str(tmp_path / "x")), X["t10k"])


GOOD = idx(np.arange(6, dtype=np.int16).reshape(2, 3))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not an IDX file; it begins with nothing"),
        (b"\0\0\x08", "not an IDX file; it begins with 00 00 08"),
        (b"PNG?" + GOOD, "not an IDX file; it begins with 50 4e 47 3f"),
        (b"\0\0\x0a\1\0\0\0\0", "not an IDX file; it begins with 00 00 0a 01"),
        (b"\0\0\x08\0", "not an IDX file"),
        (GOOD[:9], "cut short in its header"),
        (GOOD[:-1], "announces 2 x 3 of int16.* cut short"),
        (GOOD + b"\0", "announces 2 x 3 of int16, but holds more"),
        (b"\0\0\x08\2" + b"\xff" * 8, "announces 4294967295 x 4294967295 of uint8, more than"),
        (b"\0\0\x08\3" + bytes(4) + b"\xff" * 8, "no array can have the shape"),
        (b"\0\0\x08\x50" + bytes(4 * 80), "no array can have the shape"),
    ],
)
def test_idx_that_is_damaged(tmp_path: Path, content: bytes, text: str, packed: bool) -> None:
    content = gzip.compress(content) if packed else content
    with pytest.raises(DamagedFileError, match=f"^the bytes given: .*{text}"):
        datasets.read_idx(content)
    (tmp_path / "x.idx").write_bytes(content)
    with pytest.raises(DamagedFileError, match=rf"x\.idx: .*{text}"):
        datasets.read_idx(tmp_path / "x.idx")


@pytest.mark.parametrize("damage", [slice(0, 30), slice(0, -1), slice(0, -8)])
def test_gzip_that_is_cut_short(damage: slice) -> None:
    with pytest.raises(DamagedFileError, match="a damaged gzip file"):
        datasets.read_idx(WHOLE[damage])


def test_gzip_with_a_wrong_checksum() -> None:
    with pytest.raises(DamagedFileError, match="a damaged gzip file"):
        datasets.read_idx(WHOLE[:-5] + b"!" + WHOLE[-4:])


def test_gzip_bombs() -> None:
    shape = struct.pack(">I", 2**31)
    bomb = gzip.compress(b"\0\0\x08\1" + shape + bytes(2**24))
    more = gzip.compress(b"\0\0\x08\1" + struct.pack(">I", 4) + bytes(2**24))
    tracemalloc.start()
    with pytest.raises(DamagedFileError, match="2147483648 of uint8, more than any honest file of its size unpacks to"):
        datasets.read_idx(bomb)
    with pytest.raises(DamagedFileError, match="holds more"):
        datasets.read_idx(more)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_are_an_array_or_a_damaged_file(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([GOOD, gzip.compress(GOOD, mtime=0)])))
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(content)))
        content[where : where + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        assert isinstance(datasets.read_idx(bytes(content)), np.ndarray)
    except DamagedFileError:
        pass


def test_no_idx_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nothing\.idx cannot be read: No such file or directory"):
        datasets.read_idx(tmp_path / "nothing.idx")
    with pytest.raises(FileError, match="cannot be read: Is a directory"):
        datasets.read_idx(tmp_path)
    with pytest.raises(FileError, match="cannot be read: embedded null byte"):
        datasets.read_idx("a\0b")
    with pytest.raises(FileError, match="3 is a int; a path or the bytes of an IDX file are expected"):
        datasets.read_idx(3)  # type: ignore[arg-type]
