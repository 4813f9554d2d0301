"""Batches: resident and streamed, in an order of every epoch's own, without copies and in flat memory."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import isthmus as im
from isthmus.formats.rows import Rows, RowsWriter
from isthmus.formats.tables import TableFormat
from isthmus.threads import ahead
from isthmus.training import feed as feeds
from isthmus.training.feed import ResidentFeed, StreamedFeed, data_hash, feed_for, seed_of

CPU = torch.device("cpu")
FEEDS = pytest.mark.parametrize("kind", [ResidentFeed, StreamedFeed])


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISTHMUS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def in_file(stored: torch.Tensor) -> Rows:
    with RowsWriter(tuple(stored.shape[1:]), stored.dtype) as writer:
        writer.append(stored)
        return writer.finish()


@given(n=st.integers(1, 60), size=st.integers(1, 70), together=st.integers(0, 300), epoch=st.integers(0, 9))
def test_batches_made_together_are_those_made_one_by_one(n: int, size: int, together: int, epoch: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feeds, "CACHED", 8 * together)  # of two numbers an item, an item for every one
        feed = ResidentFeed(torch.arange(2 * n).reshape(n, 2), torch.arange(n), lambda x: x.float() + 0.5, CPU, 3)
        order, size = feed.order(epoch), min(size, n)
        batches = list(feed.batches(epoch, size))
        assert len(batches) == n // size
        for index, batch in enumerate(batches):
            assert torch.equal(batch, feed.items(order[index * size : (index + 1) * size]))


@FEEDS
@given(n=st.integers(1, 60), size=st.integers(1, 70), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 1000))
def test_an_epoch_has_an_order_of_its_own_and_always_the_same(
    kind: type[Any], n: int, size: int, seed: int, epoch: int
) -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        feed = kind(torch.arange(n)[:, None], torch.arange(n), lambda x: x, CPU, seed)
        return [batch.flatten().tolist() for batch in feed.batches(epoch, size)]

    batches = order(seed, epoch)
    assert batches == order(seed, epoch)
    assert {len(batch) for batch in batches} == {min(size, n)}
    assert len(batches) == max(n // size, 1)
    flat = [item for batch in batches for item in batch]
    assert len(set(flat)) == len(flat)
    if n > 20 and size == 1:
        assert batches != order(seed, epoch + 1)
        assert batches != order(seed + 1, epoch)


@FEEDS
def test_only_the_rows_to_learn_from_are_seen(kind: type[Any]) -> None:
    rows = torch.arange(0, 1000, 3)
    feed = kind(torch.arange(1000)[:, None], rows, lambda x: x * 2, CPU, 0)
    seen = torch.cat(list(feed.batches(0, 1))).flatten()
    assert sorted(seen.tolist()) == (rows * 2).tolist()


def test_a_stream_mixes_what_lies_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "BLOCK", 8 * 10)
    monkeypatch.setattr(feeds, "WINDOW", 5)
    feed = StreamedFeed(torch.arange(1000)[:, None], torch.arange(1000), lambda x: x, CPU, 0)
    first = torch.cat(list(feed.batches(0, 7))).flatten()[:49]
    assert len(set((first // 10).tolist())) == 5  # one window: five blocks of ten items
    assert len(set((first[:7] // 10).tolist())) >= 3  # of which the first batch has most
    assert first.max() - first.min() > 300
    seen = torch.cat(list(feed.batches(1, 7))).flatten()
    assert len(set(seen.tolist())) == 994  # all but the remainder, once


def test_a_stream_holds_few_windows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "BLOCK", 2**10)  # four items
    monkeypatch.setattr(feeds, "WINDOW", 4)
    usual, windows, most = StreamedFeed._windows, [], 0

    def counted(self: StreamedFeed, random: np.random.Generator) -> Iterator[torch.Tensor]:
        nonlocal most
        for window in usual(self, random):
            windows.append(weakref.ref(window))
            most = max(most, sum(one() is not None for one in windows))
            yield window
            del window

    monkeypatch.setattr(StreamedFeed, "_windows", counted)
    feed = StreamedFeed(torch.zeros(4096, 64), torch.arange(4096), lambda x: x, CPU, 0)
    assert sum(len(batch) for batch in feed.batches(0, 32)) == 4096
    assert len(windows) == 256
    assert 1 <= most <= 3


def test_reading_goes_on_in_another_thread_and_its_error_comes_through() -> None:
    threads: list[str] = []

    def items() -> Any:
        for i in range(3):
            threads.append(threading.current_thread().name)
            yield i
        raise OSError("the disk is gone")

    read = ahead(items())
    assert [next(read), next(read), next(read)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(read)
    assert all(name.startswith("isthmus-read-ahead") for name in threads)


def test_resident_where_it_fits_and_streamed_where_not(monkeypatch: pytest.MonkeyPatch) -> None:
    stored, rows = torch.zeros(100, 10), torch.arange(100)
    for memory, kind in ((8000.0, ResidentFeed), (7999.0, StreamedFeed)):
        monkeypatch.setattr(feeds, "memory_of", lambda device, memory=memory: memory)
        assert type(feed_for(stored, rows, lambda x: x, CPU, 0)) is kind


def test_rows_in_a_file_are_always_streamed() -> None:
    assert type(feed_for(in_file(torch.zeros(100, 10)), torch.arange(100), lambda x: x, CPU, 0)) is StreamedFeed


@given(n=st.integers(1, 200), size=st.integers(1, 70), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 9))
def test_rows_give_the_batches_of_their_tensor(n: int, size: int, seed: int, epoch: int) -> None:
    stored = torch.arange(3 * n, dtype=torch.int32).reshape(n, 3)
    rows = torch.arange(n)[torch.arange(n) % 10 != 5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feeds, "BLOCK", 12 * 8)
        patch.setattr(feeds, "WINDOW", 3)
        both = [StreamedFeed(x, rows, lambda x: x, CPU, seed).batches(epoch, size) for x in (stored, in_file(stored))]
        for batch, other in zip(*both, strict=True):
            assert batch.dtype == other.dtype
            assert torch.equal(batch, other)


def test_a_model_learns_from_rows_what_it_learns_from_their_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    X = im.datasets.digits()
    monkeypatch.setattr(feeds, "memory_of", lambda device: 0.0)
    model, other = (im.Autoencoder(4, network=(16,), epochs=2, verbose=False) for _ in range(2))
    form = model._format_for(X)
    stored = form.fit_tensor(X)
    model._fit_stored(form, stored)
    other._fit_stored(form, in_file(stored))  # type: ignore[arg-type]
    assert np.array_equal(model.encode(X), other.encode(X))
    assert model.history_["held_out"] == other.history_["held_out"]
    assert model.history_["data"] == other.history_["data"]
    components = [im.PCA(4)._fit_stored(form, x).components_ for x in (stored, in_file(stored))]  # type: ignore[arg-type]
    assert np.array_equal(*components)


def test_the_resident_feed_copies_nothing() -> None:
    stored = torch.zeros(100, 10)
    assert ResidentFeed(stored, torch.arange(90), lambda x: x, CPU, 0).stored.data_ptr() == stored.data_ptr()


def test_a_model_learns_from_a_mapped_file_that_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.repeat(im.datasets.digits(), 2, axis=0)
    np.save(tmp_path / "digits.npy", X)
    mapped = np.load(tmp_path / "digits.npy", mmap_mode="r")
    given: dict[str, Any] = {"network": (32,), "epochs": 12, "random_state": 0, "verbose": False}
    resident = im.Autoencoder(8, **given).fit(X)
    monkeypatch.setattr(feeds, "memory_of", lambda device: 0.0)
    monkeypatch.setattr(feeds, "BLOCK", 2**12)
    streamed, again = (im.Autoencoder(8, **given).fit(mapped) for _ in range(2))
    assert np.array_equal(streamed.encode(mapped), again.encode(X))
    assert not np.array_equal(streamed.encode(X), resident.encode(X))  # another order of the same items
    errors = [im.compare([model], X[:500]).rows[0]["squared_error"] for model in (streamed, resident)]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


def test_a_mapped_file_is_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    stored = im.PCA(2).fit(mapped).format_.to_tensor(mapped)
    assert stored.data_ptr() == mapped.ctypes.data


def test_the_hash_tells_data_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.arange(1000.0).reshape(100, 10)
    other = x.clone()
    other[57, 3] += 1
    assert data_hash(x) == data_hash(x.clone())
    assert len({data_hash(t) for t in (x, other, x.double(), x.reshape(200, 5), x[:99])}) == 5
    assert data_hash(x) == data_hash(in_file(x)) != data_hash(in_file(other))
    monkeypatch.setattr(feeds, "HASHED", 2000)  # every second item of 4000 bytes
    assert data_hash(x) != data_hash(x[:98])
    other[56, 3] += 1
    assert data_hash(x) != data_hash(other)
    whole = data_hash(x)
    for block in (1, 300, 2**20):  # however many items are read at a time
        monkeypatch.setattr(feeds, "BLOCK", block)
        assert data_hash(x) == data_hash(in_file(x)) == whole
    assert data_hash(torch.zeros(0, 3)) == data_hash(in_file(torch.zeros(0, 3)))


def test_the_hash_of_a_view_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved models know their data by it."""
    x = torch.arange(6, dtype=torch.int16).reshape(2, 3)
    digest = hashlib.sha256(b"torch.int16 (2, 3)" + x.numpy().tobytes()).hexdigest()
    assert data_hash(x) == data_hash(in_file(x)) == digest
    x = torch.arange(300, dtype=torch.int16).reshape(100, 3)
    monkeypatch.setattr(feeds, "HASHED", 250)  # bytes of 600
    monkeypatch.setattr(feeds, "BLOCK", 40)
    digest = hashlib.sha256(b"torch.int16 (100, 3)" + x[::3].numpy().tobytes()).hexdigest()
    assert data_hash(x) == data_hash(in_file(x)) == digest


def test_seeds_of_epochs_do_not_meet() -> None:
    seeds = {seed_of(seed, epoch) for seed in range(50) for epoch in range(-2, 200)}
    assert len(seeds) == 50 * 202


@pytest.mark.parametrize("little", [0, 2**28])
def test_rows_of_a_table_that_are_scaled_once_give_the_same_batches(
    monkeypatch: pytest.MonkeyPatch, mixed: Callable[..., Any], little: int
) -> None:
    frame = mixed(300)
    form = TableFormat().fit(frame)
    stored = form.to_tensor(frame)
    monkeypatch.setattr(feeds, "LITTLE", little)
    fed = feed_for(stored, torch.arange(250), form.scale, CPU, 0, once=True)
    assert (fed.stored.data_ptr() == stored.data_ptr()) == (not little)
    each = ResidentFeed(stored, torch.arange(250), form.scale, CPU, 0)
    for one, other in zip(fed.batches(3, 32), each.batches(3, 32), strict=True):
        assert torch.equal(one.nan_to_num(-1e9), other.nan_to_num(-1e9))
