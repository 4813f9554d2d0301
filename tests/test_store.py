"""The model file: what goes in comes out, and a save that fails loses nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import sys
import tempfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isthmus import store
from isthmus.errors import DataError, FileError

MEMBERS = ("model.json", "format.json", "weights.safetensors", "card.md")
MODEL = {"word": "pca", "latent_dim": 2, "history": [0.5, 0.25, -0.0], "note": "Zoë ⌘", "nothing": None, "on": True}
FORMAT = {"word": "vector", "spec": {"kind": "vector", "shape": [3]}}
CARD = "# Digits\n\nSeen: 1,797 items.\n"


def tensors() -> dict[str, Any]:
    return {
        "mean": np.arange(3, dtype=np.float64) / 7,
        "layer.weight": torch.arange(12).reshape(3, 4) / 8,
        "layer.flag": torch.tensor([True, False, True]),
    }


def save(path: Path, **changes: Any) -> Path:
    given = {"model": MODEL, "format": FORMAT, "tensors": tensors(), "card": CARD} | changes
    store.write(path, **given)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(tmp_path / "digits.isthmus")


def only(folder: Path, *names: str) -> None:
    """Nothing but these lies in the folder: no temporary file was left."""
    assert sorted(os.listdir(folder)) == sorted(names)


# --- There and back -------------------------------------------------------------------------------------------------


def test_what_is_written_is_read(saved: Path) -> None:
    contents = store.read(saved)
    assert contents.model == MODEL
    assert contents.format == FORMAT
    assert contents.card == CARD
    assert list(contents.tensors) == ["layer.flag", "layer.weight", "mean"]
    for name, tensor in tensors().items():
        back = contents.tensors[name]
        assert isinstance(back, torch.Tensor)
        assert back.dtype == torch.as_tensor(tensor).dtype
        assert torch.equal(back, torch.as_tensor(tensor))
    only(saved.parent, "digits.isthmus")


def test_the_folder_may_be_the_working_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store.write("here.isthmus", model={}, format={}, tensors={}, card="")
    assert store.read("here.isthmus")[:4] == ({}, {}, {}, "")


@pytest.mark.parametrize(
    "dtype",
    [
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint64",
        "uint32",
        "uint16",
        "uint8",
        "bool",
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3, 4)])
def test_every_dtype_and_shape_comes_back(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    wanted = (torch.arange(24)[: int(np.prod(shape))].reshape(shape) % 2).to(getattr(torch, dtype))
    given = {"torch": wanted} | ({} if dtype == "bfloat16" else {"numpy": wanted.numpy()})
    back = store.read(save(tmp_path / "x", tensors=given)).tensors
    assert sorted(back) == sorted(given)
    for tensor in back.values():
        assert tensor.dtype == wanted.dtype
        assert tensor.shape == wanted.shape
        assert torch.equal(tensor, wanted)


def test_views_byte_orders_and_read_only_arrays_come_back_as_values(tmp_path: Path) -> None:
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    frozen = base.copy()
    frozen.flags.writeable = False
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    given = {"turned": base.T[::-1], "big": base.astype(">f4"), "frozen": frozen, "strided": torch.tensor(base)[:, ::2]}
    back = store.read(save(tmp_path / "x", tensors=given | {"parameter": parameter})).tensors
    for name, array in given.items():
        np.testing.assert_array_equal(back[name].numpy(), np.asarray(array))
    assert torch.equal(back["parameter"], parameter.detach())
    assert not back["parameter"].requires_grad


def test_tensors_that_are_read_can_be_written_to(saved: Path) -> None:
    tensor = store.read(saved).tensors["mean"]
    tensor += 1
    tensor.numpy()[0] = 5
    assert store.read(saved).tensors["mean"][0] == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
arrays = hnp.arrays(
    st.sampled_from([np.dtype(word) for word in ("f8", "f4", "f2", "i8", "i4", "u1", "?")]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements={"allow_nan": False, "allow_infinity": False},
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(), json_values, max_size=3),
    st.dictionaries(st.text(min_size=1).filter(lambda name: name != "__metadata__"), arrays, max_size=4),
    st.text(),
)
def test_any_dictionaries_and_tensors_come_back(
    tmp_path_factory: pytest.TempPathFactory, model: dict[str, Any], given: dict[str, np.ndarray], card: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.isthmus"
    store.write(path, model=model, format=model, tensors=given, card=card)
    contents = store.read(path)
    assert contents.model == model == contents.format
    assert contents.card == card
    assert sorted(contents.tensors) == sorted(given)
    for name, array in given.items():
        back = contents.tensors[name].numpy()
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert back.tobytes() == array.tobytes()


def test_numpy_numbers_and_tuples_are_taken(tmp_path: Path) -> None:
    model = {"shape": (np.int64(3), 4), "loss": np.float32(0.5), "on": np.bool_(True)}
    assert store.read(save(tmp_path / "x", model=model)).model == {"shape": [3, 4], "loss": 0.5, "on": True}


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    one = save(tmp_path / "one")
    backwards = dict(reversed(tensors().items()))
    two = save(tmp_path / "two", tensors=backwards, model=dict(reversed(MODEL.items())))
    assert one.read_bytes() == two.read_bytes()
    assert store.read(one).hash == store.read(two).hash
    other = save(tmp_path / "other", card=CARD + " ")
    assert store.read(other).hash != store.read(one).hash


# --- The layout, read without the code under test -------------------------------------------------------------------


def test_anyone_can_read_the_file(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        assert archive.testzip() is None
        assert tuple(archive.namelist()) == MEMBERS
        for info in archive.infolist():  # nothing of the clock, the machine or the user
            assert info.compress_type == zipfile.ZIP_STORED
            assert (info.date_time, info.create_system) == ((1980, 1, 1, 0, 0, 0), 3)
            assert info.external_attr >> 16 == stat.S_IFREG | 0o644
        head = json.loads(archive.read("model.json"))
        weights = safetensors.numpy.load(archive.read("weights.safetensors"))
        assert json.loads(archive.read("format.json")) == FORMAT
        assert archive.read("card.md").decode() == CARD
    assert head["magic"] == "isthmus"
    assert head["version"] == store.FILE_VERSION == 1
    assert head["model"] == MODEL
    assert set(head) == {"magic", "version", "written_by", "hash", "model"}
    assert head["hash"]["algorithm"] == "sha256"
    np.testing.assert_array_equal(weights["mean"], tensors()["mean"])


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def digest_as_documented(members: dict[str, bytes]) -> str:
    head = json.loads(members["model.json"])
    blank = members["model.json"].replace(head["hash"]["digest"].encode(), b"0" * 64)
    whole = b""
    for name in MEMBERS:
        content = blank if name == "model.json" else members[name]
        whole += name.encode() + b"\0" + str(len(content)).encode() + b"\0" + content
    return hashlib.sha256(whole).hexdigest()


def test_the_hash_is_the_documented_one(saved: Path) -> None:
    assert store.read(saved).hash == digest_as_documented(members_of(saved))


def test_the_layout_of_version_1_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed digest here means that files of version 1 are written otherwise: that needs a new version."""
    monkeypatch.setattr(store, "_package_version", lambda: "0.1.0")
    contents = store.read(save(tmp_path / "x"))
    assert contents.written_by == "0.1.0"
    assert contents.hash == "20fbe64d744d4972667d90ee441d125aa78562bee646ea9f180616ef52c42d61"


def test_a_large_file_is_not_held_many_times(tmp_path: Path) -> None:
    size = 32 * 2**20
    given = {"w": np.zeros(size, np.uint8)}
    tracemalloc.start()
    path = save(tmp_path / "x", tensors=given)
    assert tracemalloc.get_traced_memory()[1] < size // 4  # hashed and written from where it lies
    tracemalloc.reset_peak()
    contents = store.read(path)
    assert tracemalloc.get_traced_memory()[1] < 2.5 * size
    tracemalloc.stop()
    assert contents.tensors["w"].shape == (size,)


# --- Things that cannot be stored -----------------------------------------------------------------------------------


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return {"deep": value}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model": {"loss": [1.0, float("nan")]}}, r"model\.loss\[1\] is nan, which JSON cannot hold"),
        ({"model": {"loss": np.float64("inf")}}, r"model\.loss is inf"),
        ({"format": {"array": np.zeros(3)}}, r"format\.array is a ndarray, which JSON cannot hold"),
        ({"model": {"a": {3: 4}}}, r"model\.a has the key 3, a int; keys must be text"),
        ({"model": {"half": "\ud800"}}, r"model\.half holds half a character"),
        ({"model": {"big": 1 << 2000}}, r"model\.big is an integer of 2001 bits"),
        ({"model": nested(64)}, r"nested deeper than 64 levels"),
        ({"model": ["a"]}, r"model is a list; a dictionary is expected"),
        ({"format": None}, r"format is a NoneType; a dictionary is expected"),
        ({"model": {"long": "x" * (16 * 2**20)}}, r"model is 16\.0 MiB as JSON, more than 16; put long lists"),
        ({"card": "x" * (16 * 2**20 + 1)}, r"card is longer than 16 MiB"),
        ({"card": b"text"}, r"card is a bytes; text is expected"),
        ({"card": "\udc80"}, r"card holds half a character"),
        ({"tensors": {"w": [1.0]}}, r"tensor 'w' is a list; a NumPy array or a torch tensor is expected"),
        ({"tensors": {"w": np.array([None])}}, r"tensor 'w' has the dtype object"),
        ({"tensors": {"w": np.zeros(2, complex)}}, r"tensor 'w' has the dtype complex128"),
        ({"tensors": [np.zeros(2)]}, r"tensors is a list; a dictionary is expected"),
        ({"tensors": {"w": torch.zeros(2, dtype=torch.complex64)}}, r"tensor 'w' has the dtype complex64"),
        ({"tensors": {"w": torch.eye(2).to_sparse()}}, r"tensor 'w' has no dense memory"),
        ({"tensors": {"w": torch.zeros(2, device="meta")}}, r"tensor 'w' has no dense memory"),
        ({"tensors": {"w": np.array([1.0, np.nan])}}, r"tensor 'w' holds NaN or infinity"),
        ({"tensors": {"w": torch.tensor([1.0, -torch.inf], dtype=torch.bfloat16)}}, r"tensor 'w' holds NaN or inf"),
        ({"tensors": {"n" * 2**24: np.zeros(1)}}, r"tensors: their names and shapes take more than 16 MiB"),
        ({"tensors": {"": np.zeros(1)}}, r"'' cannot be the name of a tensor"),
        ({"tensors": {"__metadata__": np.zeros(1)}}, r"cannot be the name of a tensor"),
        ({"tensors": {"\ud800": np.zeros(1)}}, r"the name of a tensor holds half a character"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(saved: Path, changes: dict[str, Any], text: str) -> None:
    before = saved.read_bytes()
    with pytest.raises(DataError, match=text):
        save(saved, **changes)
    assert saved.read_bytes() == before
    only(saved.parent, "digits.isthmus")


def test_whatever_depth_is_written_is_read(tmp_path: Path) -> None:
    written = 0
    for levels in range(55, 70):
        try:
            path = save(tmp_path / f"{levels}", model=nested(levels), format=nested(levels))
        except DataError:
            continue
        assert store.read(path).model == nested(levels) == store.read(path).format
        written += 1
    assert 0 < written < 15


# --- Saves that fail lose nothing -----------------------------------------------------------------------------------


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"x\.isthmus: there is no folder .*nowhere. Make it first: mkdir -p .*nowhere"):
        save(tmp_path / "nowhere" / "x.isthmus")
    only(tmp_path)


def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is a folder; the name of a file is expected"):
        save(tmp_path)
    with pytest.raises(FileError, match="is a folder; the name of a file is expected"):
        save(Path(""))
    only(tmp_path)


def test_a_folder_that_is_a_file(saved: Path) -> None:
    with pytest.raises(FileError, match=r"digits\.isthmus is not a folder"):
        save(saved / "x.isthmus")


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="zero character"):
        save(Path(f"{tmp_path}/a\0b"))
    with pytest.raises(FileError, match="the name is too long"):
        save(tmp_path / ("x" * 300))
    with pytest.raises(FileError, match="3 is a int; the name of a file is expected"):
        store.write(3, model={}, format={}, tensors={}, card="")  # type: ignore[arg-type]
    with pytest.raises(FileError, match="3 is a int; the name of a file is expected"):
        store.read(3)  # type: ignore[arg-type]
    with pytest.raises(FileError, match="zero character"):
        store.read("a\0b")
    only(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_neither_replaced_nor_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="is a device or a pipe"):
        save(tmp_path / "pipe")
    with pytest.raises(FileError, match="is a device or a pipe"):
        store.read(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EACCES, "no permission to write in .* Choose another place, or change the folder's permissions"),
        (errno.EROFS, "is read-only. Choose another place"),
        (errno.ENOSPC, "the disk or the quota is full. A file that was there is as it was. Free some space"),
    ],
)
def test_a_folder_that_takes_no_file(saved: Path, monkeypatch: pytest.MonkeyPatch, number: int, text: str) -> None:
    before = saved.read_bytes()
    real = os.open

    def refuses(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuses)
    with pytest.raises(FileError, match=text):
        save(saved, card="new")
    assert saved.read_bytes() == before
    only(saved.parent, "digits.isthmus")


@pytest.fixture
def powerless() -> Iterator[Path]:
    """A folder of someone else's, and no rights of root in this process meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "secret.isthmus").write_bytes(b"PK")
        (folder / "secret.isthmus").chmod(0)
        folder.chmod(0o555)
        mine = os.geteuid()
        if mine == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(mine)
            folder.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of another kind")
def test_real_permissions(powerless: Path) -> None:
    with pytest.raises(FileError, match="no permission to write in"):
        save(powerless / "x.isthmus")
    with pytest.raises(FileError, match="no permission to write in"):
        save(powerless / "secret.isthmus")
    with pytest.raises(FileError, match=r"secret\.isthmus: no permission to read it"):
        store.read(powerless / "secret.isthmus")
    only(powerless, "secret.isthmus")


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_a_disk_that_fills_up_while_writing(saved: Path) -> None:
    """The kernel refuses to let any file of this process grow beyond 256 KiB, in the middle of the weights."""
    import resource

    before = saved.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, hard))
    try:
        with pytest.raises(FileError, match=r"digits\.isthmus: the disk or the quota is full"):
            save(saved, tensors={"w": np.zeros(2**20, np.uint8)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert saved.read_bytes() == before
    only(saved.parent, "digits.isthmus")


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_control_c_while_saving(saved: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    before = saved.read_bytes()

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    if moment == "write":
        real = zipfile.ZipFile.open

        def open_member(archive: zipfile.ZipFile, name: Any, *rest: Any, **more: Any) -> Any:
            if getattr(name, "filename", name) == "weights.safetensors":
                raise KeyboardInterrupt
            return real(archive, name, *rest, **more)

        monkeypatch.setattr(zipfile.ZipFile, "open", open_member)
    else:
        monkeypatch.setattr(os, moment, interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(saved, card="new")
    assert saved.read_bytes() == before
    only(saved.parent, "digits.isthmus")


def test_a_link_is_followed_and_permissions_stay(saved: Path, tmp_path: Path) -> None:
    saved.chmod(0o640)
    link = tmp_path / "link.isthmus"
    link.symlink_to(saved.name)
    save(link, card="new")
    assert link.is_symlink()
    assert store.read(saved).card == "new"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o640


def test_a_new_file_has_ordinary_permissions(saved: Path) -> None:
    ordinary = saved.parent / "ordinary"
    ordinary.touch()
    assert saved.stat().st_mode == ordinary.stat().st_mode


# --- atomic_path for others -----------------------------------------------------------------------------------------


def test_atomic_path_appears_whole(tmp_path: Path) -> None:
    with store.atomic_path(tmp_path / "codes.tar.npy") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".tar.npy")
        np.save(temporary, np.arange(4))
        assert not (tmp_path / "codes.tar.npy").exists()
    np.testing.assert_array_equal(np.load(tmp_path / "codes.tar.npy"), np.arange(4))
    only(tmp_path, "codes.tar.npy")


def test_atomic_path_lets_other_errors_through(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")

    def fails(error: Exception) -> None:
        with store.atomic_path(tmp_path / "old") as temporary:
            temporary.write_text("half")
            raise error

    for error in (ValueError("mine"), ConnectionResetError(errno.ECONNRESET, "gone"), FileNotFoundError(2, "no", "z")):
        with pytest.raises(type(error)) as caught:
            fails(error)
        assert caught.value is error
    with pytest.raises(FileError, match="the disk or the quota is full"):
        fails(OSError(errno.ENOSPC, "No space left on device"))
    assert (tmp_path / "old").read_text() == "old"
    only(tmp_path, "old")
