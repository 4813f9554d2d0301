"""Rows in a file read as the tensor that they stand for, leave nothing behind, and say what a full disk needs."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import DataError, FileError
from isthmus.formats import room, rows
from isthmus.formats.rows import Rows, RowsWriter, cache_folder, fits_in_memory, memory_limit

DTYPES = [torch.uint8, torch.bool, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISTHMUS_CACHE", str(folder))
        yield folder / "rows"


def rows_of(tensor: torch.Tensor, at_once: int = 7) -> Rows:
    with RowsWriter(tuple(tensor.shape[1:]), tensor.dtype, len(tensor)) as writer:
        for part in tensor.split(at_once):
            writer.append(part)
        return writer.finish()


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(len(shape))) * 200).to(dtype)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.is_contiguous() and torch.equal(a, b)


# ------------------------------------------------------------------------------------------ as the tensor

X = numbers(97, 3, 5)
ENDS = st.none() | st.integers(-120, 120)
INDICES = st.one_of(
    st.integers(-97, 96),
    st.builds(slice, ENDS, ENDS, st.none() | st.integers(1, 30)),
    st.lists(st.integers(-97, 96), max_size=200).map(lambda places: torch.tensor(places, dtype=torch.int64)),
    st.lists(st.booleans(), min_size=97, max_size=97).map(torch.tensor),
    st.integers(-97, 96).map(torch.tensor),
)


@pytest.mark.parametrize(("gap", "span"), [(1, 1), (100, 200), (2**15, 2**22)])
def test_every_index_gives_what_the_tensor_gives(gap: int, span: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "GAP", gap)  # bytes; a row has 60
    monkeypatch.setattr(rows, "SPAN", span)
    stored = rows_of(X)

    @given(index=INDICES)
    def check(index: Any) -> None:
        assert same(stored[index], X[index].contiguous())
        if isinstance(index, torch.Tensor) and index.ndim and index.dtype == torch.int64:
            assert same(stored[index.numpy()], X[index])
            assert same(stored.index_select(0, index % 97), X.index_select(0, index % 97))

    check()


def test_runs_that_fall_rise_and_repeat() -> None:
    stored = rows_of(X)
    for places in ([5, 3], [3, 3], [96, 0], [5, 4, 3], [0, 1, 1, 2], [2, 3, 4, 3], [0, 1, 96], [1, 2, 3]):
        assert same(stored[places], X[places])


def test_rows_are_picked_from_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "SPAN", 600)  # ten rows; all lie near enough to be read in one go
    stored, sizes, usual = rows_of(X), [], room.CacheFile.read
    monkeypatch.setattr(
        room.CacheFile, "read", lambda self, into, at: (sizes.append(into.nbytes), usual(self, into, at))
    )
    assert same(stored[::2], X[::2].contiguous())
    assert len(sizes) == 10
    assert max(sizes) == 540  # from the first to the ninth of ten
    sizes.clear()
    assert same(stored[torch.tensor([40, 2, 3, 1])], X[[40, 2, 3, 1]])
    assert sizes == [180, 60]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(11,), (11, 4), (11, 1, 2, 3), (0, 4), (11, 0)])
def test_every_dtype_and_shape(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = numbers(*shape, dtype=dtype)
    stored = rows_of(x, at_once=3)
    assert len(stored) == len(x)
    assert (stored.shape, stored.dtype, stored.ndim, stored.device) == (x.shape, x.dtype, x.ndim, x.device)
    assert (stored.numel(), stored.element_size()) == (x.numel(), x.element_size())
    assert same(stored[:], x)
    assert all(same(a, b) for a, b in zip(stored.split(4), x.split(4) if len(x) else [], strict=True))
    assert all(same(a, b) for a, b in zip(stored, x, strict=True))
    assert stored.to("cpu") is stored.to(torch.device("cpu")) is stored
    with pytest.raises(TypeError, match=r"read some, rows\[a:b\].to\('cuda'\)"):
        stored.to("cuda")


def test_what_tensors_refuse_and_what_only_rows_do() -> None:
    stored = rows_of(X)
    for wrong in (97, -98, [0, 97], [-98], [[1]], [1.0], [True], (1, 2, 97), None, "a", torch.tensor([1.0]), ...):
        with pytest.raises((IndexError, TypeError)):
            stored[wrong]
    with pytest.raises(ValueError, match="step"):
        stored[::-1]
    with pytest.raises(IndexError, match="axis 0"):
        stored.index_select(1, torch.tensor([0]))
    with pytest.raises(TypeError):
        stored[0] = X[0]  # type: ignore[index]


def test_long_reads_take_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ASKED", 1000)
    assert same(rows_of(X)[:], X)


def test_without_the_calls_that_some_systems_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = rows_of(X)
    monkeypatch.delattr(os, "preadv")
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # seconds: threads get in each other's way as often as they can
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda i: same(stored[i % 97], X[i % 97]), range(3000)))
    finally:
        sys.setswitchinterval(usual)


def test_many_threads_read_at_once() -> None:
    x = numbers(5000, 40)
    stored = rows_of(x, at_once=999)
    orders = [torch.randint(0, 5000, (500,), generator=torch.Generator().manual_seed(seed)) for seed in range(64)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda order: same(stored[order], x[order]), orders))


# ------------------------------------------------------------------------------------------ writing


def test_nothing_lies_in_the_folder_and_the_file_goes_with_the_rows(cache: Path) -> None:
    stored = rows_of(X)
    assert os.listdir(cache) == []
    descriptor = stored._file.file.fileno()
    part = stored[3:5]
    del stored
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert same(part, X[3:5])
    with RowsWriter((2,), torch.float32) as writer:
        writer.append(torch.zeros(1, 2))
        descriptor = writer._file.file.fileno()
    with pytest.raises(OSError, match="Bad file descriptor"):  # never finished
        os.fstat(descriptor)


def test_rows_that_do_not_fit_are_refused() -> None:
    with RowsWriter((2, 3), torch.float32) as writer:
        for wrong in (torch.zeros(2, 3), torch.zeros(1, 3, 2), torch.zeros(1, 2, 3).double(), torch.zeros(())):
            with pytest.raises(DataError, match=r"rows \(m, 2, 3\) of torch.float32 expected"):
                writer.append(wrong)
        turned = numbers(4, 3, 2).transpose(1, 2)  # not contiguous
        writer.append(turned.requires_grad_())
        assert same(writer.finish()[:], turned.detach().contiguous())


def test_a_disk_without_room_is_told_before_writing(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 11_999})())
    RowsWriter((100, 3), torch.float32)  # nobody knows how many
    with pytest.raises(FileError) as caught:
        RowsWriter((100, 3), torch.float32, n=10)
    assert str(caught.value) == (
        f"the folder {cache} cannot hold the stored items: the disk is full. They need 12,000 bytes there, and 11,999"
        " are free. Set ISTHMUS_CACHE to a folder that you may write to, with room"
    )


@pytest.mark.parametrize(("n", "needed"), [(None, "more than 180 bytes"), (5, "300 bytes")])
def test_a_disk_that_fills_up(monkeypatch: pytest.MonkeyPatch, n: int | None, needed: str) -> None:
    writer = RowsWriter((3, 5), torch.float32, n)
    writer.append(X[:2])
    usual = os.write

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) < 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return usual(descriptor, data[:50])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FileError, match=f"the disk is full. They need {needed} there, and .* are free. Set ISTHMUS_"):
        writer.append(X[2:3])
    assert not writer._file.close.alive  # its space is free again


def test_a_folder_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "file"))
    with pytest.raises(FileError, match=r"file/rows cannot hold the stored items: Not a directory.*Set ISTHMUS_CACHE"):
        RowsWriter((1,), torch.uint8)
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)  # a test may run as root, who may write everywhere
    with pytest.raises(FileError, match=r"cannot hold the stored items: Permission denied\. They need 8 bytes there\."):
        RowsWriter((1,), torch.uint8, n=8)


def test_a_file_that_is_cut_short_is_told() -> None:
    stored = rows_of(X)
    os.truncate(stored._file.file.fileno(), 100)
    assert same(stored[0], X[0])
    with pytest.raises(FileError, match="cannot be read: it ends 20 bytes early|cannot be read: Input/output error"):
        stored[1]


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ISTHMUS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    pooch = pytest.importorskip("pooch")
    assert cache_folder() == Path(pooch.os_cache("isthmus")) / "rows"
    places = {"linux": ".cache", "darwin": "Library/Caches", "win32": "AppData/Local/isthmus"}
    for system, place in places.items():
        monkeypatch.setattr(sys, "platform", system)
        assert str(cache_folder().relative_to(tmp_path)).startswith(place)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/isthmus/rows")


# ------------------------------------------------------------------------------------------ memory


def run(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_memory_stays_flat() -> None:
    code = """
import resource, torch
from isthmus.formats.rows import RowsWriter
torch.set_num_threads(1)
batch = torch.arange(2**22, dtype=torch.int32).reshape(1024, -1)  # 16 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with RowsWriter((4096,), torch.int32) as writer:
    for i in range(19):
        writer.append(batch.add_(i))
    rows = writer.finish()
total = sum(int(part[:, 7].sum()) for part in rows.split(256))
order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
assert total == sum(int(rows[some][:, 7].sum()) for some in order.split(256))
step = int(rows[::19][:, 0].sum())
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(rows.numel() * rows.element_size() / 2**20, grown / 2**10)
"""
    size, grown = map(float, run(code).split())
    assert size >= 300
    assert grown < 60  # MiB


def test_a_limit_of_the_system_on_files_is_a_full_disk() -> None:
    code = """
import resource, torch
from isthmus.errors import FileError
from isthmus.formats.rows import RowsWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))
try:
    with RowsWriter((1000,), torch.float32) as writer:
        for _ in range(1000):
            writer.append(torch.zeros(10, 1000))
except FileError as error:
    print(error)
"""
    assert "the disk is full. They need more than 1,0" in run(code)


def test_what_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "memory_limit", lambda: 8.0 * 2**30)
    beside = 2**33 - room.OVERHEAD
    assert fits_in_memory(beside // 2)
    assert not fits_in_memory(beside // 2 + 1)
    monkeypatch.setattr(room, "memory_limit", lambda: 2.0**30)  # of which the libraries take the larger part
    assert fits_in_memory(2**27)
    assert not fits_in_memory(2**27 + 1)
    monkeypatch.setattr(room, "memory_limit", lambda: 1000.0)
    assert not fits_in_memory(1)


def test_a_limit_of_the_process_counts() -> None:
    code = """
import resource, sys
from isthmus.formats.rows import memory_limit
resource.setrlimit(getattr(resource, sys.argv[1]), (9 * 2**29, resource.RLIM_INFINITY))
print(memory_limit())
"""
    for limit in ("RLIMIT_AS", "RLIMIT_DATA"):
        assert float(run(code, limit)) == min(memory_limit(), 9 * 2**29)


def test_limits_of_control_groups_count(tmp_path: Path) -> None:
    def limits(groups: str) -> list[float]:
        (tmp_path / "groups").write_text(groups)
        return sorted(room._of_groups(tmp_path / "groups", tmp_path / "mount"))

    def limit(folder: str, name: str, text: str) -> None:
        (tmp_path / "mount" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "mount" / folder / name).write_text(text)

    limit("a/b", "memory.max", "max\n")
    limit("a", "memory.max", "3000\n")
    limit("other", "memory.max", "1\n")
    limit("memory/job/step", "memory.limit_in_bytes", "500\n")
    limit("memory", "memory.limit_in_bytes", "9223372036854771712\n")
    assert limits("0::/a/b\n") == [3000]  # of a group around it
    assert limits("0::/\n") == []
    assert limits("12:cpu,cpuacct:/x\n4:memory:/job/step\n0::/x\n") == [500, 9223372036854771712]
    assert limits("4:memory:/docker/0123\n") == [9223372036854771712]  # seen from within: only the top is there
    assert limits("nonsense\n\n") == []
    assert list(room._of_groups(tmp_path / "none")) == []
    assert memory_limit() > 0


def test_a_machine_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    assert room._of_machine() == float("inf")
    assert np.isfinite(memory_limit()) or fits_in_memory(2**60)
