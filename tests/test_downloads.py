"""Downloads: through bad connections, from bad mirrors, by many at once, and never believed without their hash."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus import datasets
from isthmus.errors import DownloadError, FileError, MissingExtra

IMAGES = "train-images-idx3-ubyte.gz"
RNG = np.random.default_rng(0)
X = {"train": RNG.integers(0, 256, (60, 28, 28), np.uint8), "t10k": RNG.integers(0, 256, (20, 28, 28), np.uint8)}
Y = {part: RNG.integers(0, 10, len(images), np.uint8) for part, images in X.items()}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


PLAIN = {}
for word in ("train", "t10k"):
    PLAIN |= {f"{word}-images-idx3-ubyte.gz": idx(X[word]), f"{word}-labels-idx1-ubyte.gz": idx(Y[word])}
CONTENT = {name: gzip.compress(content, mtime=0) for name, content in PLAIN.items()}
WHOLE = CONTENT[IMAGES]


def remote(name: str) -> datasets.Remote:
    content = CONTENT[name]
    md5 = hashlib.md5(PLAIN[name], usedforsecurity=False).hexdigest()
    return datasets.Remote(name, len(content), md5, hashlib.sha256(content).hexdigest())


class Mirror:
    """A server on loopback that can be told to behave badly, one order for each request, then behaves well.

    Orders: "404", "500", "wrong" (other bytes, same size), "short" (another size), ("cut", n) (breaks the connection
    after n bytes), ("end", n) (the same, and does not say how many there are), "whole" (ignores Range), "shifted"
    (answers another range), "endless", "slow".
    """

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content
        self.orders: deque[Any] = deque()
        self.asked: list[tuple[str, str | None]] = []
        self.sent = 0
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    mirror.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name, wanted = request.path.removeprefix("/"), request.headers["Range"]
        self.asked.append((name, wanted))
        order = self.orders.popleft() if self.orders else None
        content = self.content.get(name)
        if order in ("404", "500") or content is None:
            request.send_error(int(order or "404"))
            return
        if order == "wrong":
            content = bytes(len(content))
        elif order == "short":
            content = content[:-1]
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and order != "whole" else 0
        if order == "shifted":
            begin += 1
        request.send_response(206 if begin else 200)
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        if order == "endless":
            request.end_headers()
            while self.sent < 2**26:  # an end after all, lest a client that believes it fill the disk
                self.sent += 2**16
                request.wfile.write(bytes(2**16))
            return
        if not (isinstance(order, tuple) and order[0] == "end"):
            request.send_header("Content-Length", str(len(content) - begin))
        request.end_headers()
        end = begin + order[1] if isinstance(order, tuple) else len(content)
        step = 4096 if order == "slow" else len(content)
        for place in range(begin, end, step):
            piece = content[place : min(place + step, end)]
            self.sent += len(piece)  # before: the client may be quicker than the next line
            request.wfile.write(piece)
            if order == "slow":
                time.sleep(0.02)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISTHMUS_DATA", raising=False)
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(datasets.FILES, "mnist", tuple(remote(name) for name in CONTENT))


@pytest.fixture
def mirrors(small: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Mirror, Mirror]]:
    pair = Mirror(CONTENT), Mirror(CONTENT)
    monkeypatch.setitem(datasets.MIRRORS, "mnist", tuple(mirror.url for mirror in pair))
    yield pair
    for mirror in pair:
        mirror.close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "mnist"


def fetch() -> np.ndarray:
    """The training images alone: one file, so that the requests can be counted."""
    path = datasets._fetched("mnist", remote(IMAGES))
    return datasets.read_idx(path)


def in_cache(cache: Path) -> list[str]:
    return sorted(name for name in os.listdir(cache) if not name.endswith(".lock"))


# --- What goes well -------------------------------------------------------------------------------------------------


def test_the_whole_set(mirrors: tuple[Mirror, Mirror]) -> None:
    for _ in range(2):  # the second time from the cache
        images, y = datasets.mnist("all", labels=True)
        np.testing.assert_array_equal(images, np.concatenate([X["train"], X["t10k"]]))
        np.testing.assert_array_equal(y, np.concatenate([Y["train"], Y["t10k"]]))
    assert mirrors[0].asked == [(name, None) for name in CONTENT]


def test_a_set_that_is_not_in_the_own_folder_is_downloaded(
    mirrors: tuple[Mirror, Mirror], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own" / "fashion_mnist").mkdir(parents=True)
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path / "own"))
    np.testing.assert_array_equal(datasets.mnist(), X["train"])


def test_what_was_downloaded_is_kept(mirrors: tuple[Mirror, Mirror], cache: Path) -> None:
    np.testing.assert_array_equal(fetch(), X["train"])
    np.testing.assert_array_equal(fetch(), X["train"])
    assert mirrors[0].asked == [(IMAGES, None)]
    assert in_cache(cache) == [IMAGES]
    assert (cache / IMAGES).read_bytes() == WHOLE


def test_a_broken_connection_is_continued(mirrors: tuple[Mirror, Mirror], cache: Path) -> None:
    mirrors[0].orders.extend([("cut", 20_000), ("cut", 7_000)])
    np.testing.assert_array_equal(fetch(), X["train"])
    assert mirrors[0].asked == [(IMAGES, None), (IMAGES, "bytes=20000-"), (IMAGES, "bytes=27000-")]
    assert mirrors[0].sent == len(WHOLE)  # no byte came twice
    assert mirrors[1].asked == []
    assert in_cache(cache) == [IMAGES]


def test_an_answer_that_ends_early_is_continued(mirrors: tuple[Mirror, Mirror]) -> None:
    mirrors[0].orders.extend([("end", 20_000), ("end", 10_000), ("end", 0)])
    np.testing.assert_array_equal(fetch(), X["train"])
    assert mirrors[0].asked == [(IMAGES, None), (IMAGES, "bytes=20000-"), (IMAGES, "bytes=30000-")]
    assert mirrors[1].asked == [(IMAGES, "bytes=30000-")]


def test_another_mirror_goes_on_where_the_first_broke(mirrors: tuple[Mirror, Mirror]) -> None:
    mirrors[0].orders.extend([("cut", 20_000), "500"])
    np.testing.assert_array_equal(fetch(), X["train"])
    assert mirrors[1].asked == [(IMAGES, "bytes=20000-")]
    assert mirrors[0].sent + mirrors[1].sent == len(WHOLE)


def test_control_c_keeps_what_came(
    mirrors: tuple[Mirror, Mirror], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rich.progress.Progress.advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch()
    assert in_cache(cache) == [f"{IMAGES}.part"]
    size = (cache / f"{IMAGES}.part").stat().st_size
    assert 0 < size <= len(WHOLE)
    mirrors[0].asked.clear()
    (cache / f"{IMAGES}.part").write_bytes(WHOLE[:1000])  # as after an earlier Ctrl-C
    np.testing.assert_array_equal(fetch(), X["train"])
    assert mirrors[0].asked == [(IMAGES, "bytes=1000-")]


@pytest.mark.parametrize("order", ["404", "500", "wrong", "short", "endless", ("cut", 0)])
def test_a_bad_mirror_is_passed_over(mirrors: tuple[Mirror, Mirror], cache: Path, order: Any) -> None:
    mirrors[0].orders.append(order)
    np.testing.assert_array_equal(fetch(), X["train"])
    assert len(mirrors[0].asked) == 1
    assert mirrors[1].asked == [(IMAGES, None)]
    assert mirrors[0].sent < 2**24  # of an endless answer little is read
    assert in_cache(cache) == [IMAGES]


def test_a_mirror_that_answers_another_range(mirrors: tuple[Mirror, Mirror], cache: Path) -> None:
    mirrors[0].orders.extend([("cut", 20_000), "shifted"])
    np.testing.assert_array_equal(fetch(), X["train"])
    assert mirrors[1].asked == [(IMAGES, "bytes=20000-")]


def test_a_mirror_that_knows_no_ranges(mirrors: tuple[Mirror, Mirror]) -> None:
    mirrors[0].orders.extend([("cut", 20_000), "whole"])
    np.testing.assert_array_equal(fetch(), X["train"])
    assert mirrors[1].asked == []


@pytest.mark.parametrize("kept", [b"not the beginning" * 100, b"x" * len(WHOLE), b"x" * (len(WHOLE) + 1)])
def test_a_bad_part_is_thrown_away_and_begun_again(mirrors: tuple[Mirror, Mirror], cache: Path, kept: bytes) -> None:
    cache.mkdir(parents=True)
    (cache / f"{IMAGES}.part").write_bytes(kept)
    np.testing.assert_array_equal(fetch(), X["train"])
    assert mirrors[0].asked[-1] == (IMAGES, None)
    assert mirrors[1].asked == []
    assert in_cache(cache) == [IMAGES]


def test_a_file_that_went_bad_in_the_cache_is_replaced(mirrors: tuple[Mirror, Mirror], cache: Path) -> None:
    fetch()
    (cache / IMAGES).write_bytes(WHOLE[:-1] + b"!")
    np.testing.assert_array_equal(fetch(), X["train"])
    assert (cache / IMAGES).read_bytes() == WHOLE


def test_wrong_bytes_never_land_in_the_cache(mirrors: tuple[Mirror, Mirror], cache: Path) -> None:
    for mirror in mirrors:
        mirror.content = {IMAGES: bytes(len(WHOLE))}
    with pytest.raises(DownloadError, match="gave another file: its sha256 differs") as caught:
        fetch()
    assert str(caught.value).count("sha256 differs") == 2
    assert in_cache(cache) == []


def test_the_message_tells_what_was_tried_and_what_to_do(mirrors: tuple[Mirror, Mirror], cache: Path) -> None:
    mirrors[0].orders.append("404")
    mirrors[1].orders.append("short")
    with pytest.raises(DownloadError) as caught:
        datasets.mnist()
    assert str(caught.value) == (
        f"mnist/{IMAGES} could not be downloaded. Tried:\n"
        f"  {mirrors[0].url}{IMAGES}: answered 404 Not Found\n"
        f"  {mirrors[1].url}{IMAGES}: offers a file of {len(WHOLE) - 1} bytes; {len(WHOLE)} are expected\n"
        f"Check the connection and try again (what came is kept), or put the file into {cache}, "
        f"or set ISTHMUS_DATA to a folder that holds mnist/{IMAGES}"
    )


def test_offline(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(datasets.MIRRORS, "mnist", ("http://127.0.0.1:9/", "http://nowhere.invalid:x/"))
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/train.*: no connection \(ConnectionError\)\n.*InvalidURL"):
        datasets.mnist()


def test_a_silent_mirror(mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "TIMEOUT", (0.2, 0.2))
    waiting = threading.Event()
    monkeypatch.setattr(mirrors[0], "answer", lambda request: waiting.wait(10))
    begin = time.monotonic()
    np.testing.assert_array_equal(fetch(), X["train"])
    assert time.monotonic() - begin < 9
    waiting.set()


def test_an_endless_trickle_ends(mirrors: tuple[Mirror, Mirror]) -> None:
    mirrors[0].orders.extend([("cut", 1)] * 50)
    np.testing.assert_array_equal(fetch(), X["train"])
    assert len(mirrors[0].asked) == datasets.ATTEMPTS
    assert mirrors[1].asked == [(IMAGES, f"bytes={datasets.ATTEMPTS}-")]


def test_threads_at_once_download_once(mirrors: tuple[Mirror, Mirror], cache: Path) -> None:
    mirrors[0].orders.append("slow")
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(fetch())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all(np.array_equal(images, X["train"]) for images in found)
    assert mirrors[0].asked == [(IMAGES, None)]
    assert in_cache(cache) == [IMAGES]


def test_processes_at_once_download_once(mirrors: tuple[Mirror, Mirror], cache: Path) -> None:
    mirrors[0].orders.append("slow")
    file = remote(IMAGES)
    program = (
        "from isthmus import datasets\n"
        f"datasets.MIRRORS['mnist'] = ({mirrors[0].url!r},)\n"
        f"datasets.read_idx(datasets._fetched('mnist', datasets.Remote(*{tuple(file)!r})))\n"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    running = [subprocess.Popen(command, cwd=Path(__file__).parents[1], stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
    assert mirrors[0].asked == [(IMAGES, None)]
    assert in_cache(cache) == [IMAGES]
    assert (cache / IMAGES).read_bytes() == WHOLE


def test_a_cache_that_is_no_folder(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        FileError, match=r"file/mnist, the cache, cannot be used: .*Set ISTHMUS_CACHE to a folder"
    ) as found:
        datasets.mnist()
    assert f"or set ISTHMUS_DATA to a folder that holds mnist/{IMAGES}" in str(found.value)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of another kind")
def test_a_cache_without_permission_to_write(mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        monkeypatch.setenv("ISTHMUS_CACHE", name)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            with pytest.raises(FileError, match=r"the cache, cannot be used: Permission denied. Set ISTHMUS_CACHE"):
                fetch()
        finally:
            if root:
                os.seteuid(0)
        os.chmod(name, 0o755)
        fetch()
        os.chmod(f"{name}/mnist", 0o555)
        try:
            np.testing.assert_array_equal(fetch(), X["train"])  # a shared cache need not be writable
        finally:
            os.chmod(f"{name}/mnist", 0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_a_disk_that_fills_up_while_downloading(mirrors: tuple[Mirror, Mirror], cache: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(FileError, match="the cache, cannot be used: File too large"):
            fetch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert mirrors[1].asked == []  # another mirror would not help
    np.testing.assert_array_equal(fetch(), X["train"])


def test_without_the_extra(mirrors: tuple[Mirror, Mirror], monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_array_equal(datasets.mnist(), X["train"])
    monkeypatch.setitem(sys.modules, "pooch", None)
    np.testing.assert_array_equal(datasets.mnist(), X["train"])  # what is in the cache needs nothing
    with pytest.raises(MissingExtra, match=r'downloads need pooch.*: pip install "isthmus\[datasets\]"'):
        datasets.mnist("test")
    monkeypatch.delenv("ISTHMUS_CACHE")
    with pytest.raises(MissingExtra, match=r"Or set ISTHMUS_DATA"):
        datasets.mnist()


def test_the_cache_is_the_users_own(monkeypatch: pytest.MonkeyPatch, small: None, tmp_path: Path) -> None:
    monkeypatch.delenv("ISTHMUS_CACHE")
    monkeypatch.setattr("pooch.os_cache", lambda name: str(tmp_path / name))
    (tmp_path / "isthmus" / "mnist").mkdir(parents=True)
    (tmp_path / "isthmus" / "mnist" / IMAGES).write_bytes(WHOLE)
    np.testing.assert_array_equal(fetch(), X["train"])


def test_the_bar_is_for_terminals(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)
    with datasets._bar("digits.gz", 0, 2**22) as advance:
        advance(2**21)
    assert capfd.readouterr().err.strip() == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with datasets._bar("digits.gz", 0, 1000) as advance:
        advance(500)
    assert capfd.readouterr().err.strip() == ""  # short ones are over before one can read
    with datasets._bar("digits.gz", 0, 2**22) as advance:
        advance(2**21)
    captured = capfd.readouterr()
    assert "digits.gz" in captured.err
    assert captured.out == ""
