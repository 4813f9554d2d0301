"""Batches that are read once become one array, the same to the bit, that leaves no file behind."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

import isthmus as im
from isthmus.errors import DataError, FileError, FormatError
from isthmus.formats import room, streams
from isthmus.formats.streams import stream


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISTHMUS_CACHE", str(folder))
        yield folder / "rows"


def open_files() -> int:
    gc.collect()  # what other tests have left
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any),
    shape=st.lists(st.integers(1, 4), max_size=3).map(tuple),
    dtype=st.sampled_from(["bool", "uint8", "uint16", "int64", "float16", "float32", "float64"]),
)
def test_batches_become_one_array(sizes: list[int], shape: tuple[int, ...], dtype: str) -> None:
    random = np.random.default_rng(0)
    batches = [(random.random((n, *shape)) * 200).astype(dtype) for n in sizes]
    X = stream(batch for batch in batches)
    assert isinstance(X, np.ndarray)
    assert not X.flags.writeable
    assert X.dtype == dtype
    assert np.array_equal(X, np.concatenate(batches))


def test_whatever_gives_batches(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((50, 2, 3)).astype(np.float32)
    parts = np.array_split(X, 4)
    for i, part in enumerate(parts):
        np.save(tmp_path / f"{i}.npy", part)
    np.savez(tmp_path / "0.npz", parts[0])
    T = torch.from_numpy(X)
    paths: list[Any] = [tmp_path / f"{i}.npy" for i in range(4)]
    for batches in (
        parts,
        tuple(parts),
        iter(parts),
        lambda: parts,
        lambda: (part for part in parts),
        [(part, np.zeros(len(part))) for part in parts],  # with labels
        [torch.from_numpy(part).requires_grad_() for part in parts],
        [list(part) for part in parts],  # lists of arrays
        [part[::-1, :, ::-1][::-1, :, ::-1] for part in parts],
        [part.astype(">f4") for part in parts],
        paths,
        [str(path) for path in paths],
        [tmp_path / "0.npz", *paths[1:]],
        DataLoader(T, batch_size=7),
        DataLoader(TensorDataset(T), batch_size=7),
        DataLoader(TensorDataset(T, torch.arange(50)), batch_size=7),  # [items, labels]
        iter(DataLoader(TensorDataset(T, torch.arange(50)), batch_size=7)),
    ):
        assert np.array_equal(stream(batches), X)
        assert stream([X.astype(np.int64)]).dtype == np.int64
    assert stream([T.bfloat16()]).dtype == np.float32
    pair = stream([[np.zeros((3, 4)), np.ones((3, 4))]])  # two items, not items and labels
    assert pair.shape == (2, 3, 4)


def test_it_is_read_once_and_the_function_is_called_once() -> None:
    calls, taken = [], []

    def batches() -> Iterator[np.ndarray]:
        calls.append(1)
        for i in range(5):
            taken.append(i)
            yield np.full((10, 2), i)

    X = stream(batches)
    assert X.sum() == X.sum() == 200
    assert (len(calls), taken) == (1, [0, 1, 2, 3, 4])


def test_models_learn_from_a_stream_as_from_the_array() -> None:
    X = im.datasets.digits()
    streamed = stream(X[start : start + 100] for start in range(0, len(X), 100))
    assert isinstance(streamed, np.ndarray)
    for make in (
        lambda: im.PCA(4),
        lambda: im.Autoencoder(4, network=(16,), epochs=1, verbose=False, random_state=0),
    ):
        model, other = make().fit(X), make().fit(streamed)
        assert model.history_.get("data") == other.history_.get("data")
        assert np.array_equal(model.encode(X), other.encode(streamed))
        assert np.array_equal(model.reconstruct(X), other.reconstruct(streamed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", im.errors.IsthmusWarning)
        assert str(im.evaluate(model, X)) == str(im.evaluate(other, streamed))


def test_no_file_is_left(cache: Path) -> None:
    before = open_files()
    X = stream([np.zeros((100, 3))])
    assert os.listdir(cache) == []
    assert open_files() <= before + 1  # the map's own
    part = X[3:5]
    del X
    gc.collect()
    assert part.sum() == 0
    del part
    assert open_files() <= before


def test_an_error_of_the_source_comes_through_and_leaves_nothing() -> None:
    def batches() -> Iterator[np.ndarray]:
        yield np.zeros((3, 2))
        raise OSError("the network is gone")

    before = open_files()
    with pytest.raises(OSError, match="^the network is gone$") as caught:
        stream(batches)
    assert open_files() <= before  # though somebody looks at the error
    assert caught.value.__traceback__ is not None


@pytest.mark.parametrize(
    ("batches", "error", "text"),
    [
        ([], DataError, "there are no batches; .* give the function that makes it"),
        (lambda: iter(()), DataError, "there are no batches"),
        ([np.zeros((0, 3))], DataError, "hold no items"),
        ([np.zeros((3, 0))], DataError, "hold no items"),
        ([np.zeros(2), np.float64(3)], DataError, "batch 1 is one number"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], DataError, r"batch 1 holds items of shape \(4,\) .* batch 0 had \(3,\)"),
        (
            [np.zeros((2, 3)), np.zeros((2, 3), np.float32)],
            DataError,
            r"batch 1 .* dtype float32, .*astype\('float64'\)",
        ),
        ([np.zeros((0, 3)), np.zeros((2, 4))], DataError, "batch 1 holds items of shape"),
        ([()], DataError, "batch 0 is an empty tuple"),
        ([np.array(["a"])], FormatError, "items of batch 0 are text"),
        (
            [{"image": 1, "label": 2}],
            FormatError,
            r"batch 0 is a dict of 'image', 'label': choose one, \(batch\[name\]",
        ),
        ("folder", FormatError, "'folder' is a str: give a list of batches, or of paths"),
        (np.zeros((3, 3)), FormatError, "is a ndarray: give it to fit as it is"),
        (torch.zeros(3), FormatError, "is a Tensor: give it to fit as it is"),
        (3, FormatError, "3 gives no batches"),
        (lambda: None, FormatError, "None gives no batches"),
        (["none.npy"], FileError, "there is no file or folder none.npy"),
    ],
)
def test_what_is_no_stream(batches: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        stream(batches)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00garbage")
    with pytest.raises(FileError, match=r"a\.npy"):
        stream([tmp_path / "a.npy"])
    np.save(tmp_path / "b.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"b\.npy"):
        stream([tmp_path / "b.npy"])


def test_no_room_on_disk_and_none_to_map_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(room.os, "write", full)
        with pytest.raises(FileError, match="the disk is full. They need more than 48 bytes there.* Set ISTHMUS_CACHE"):
            stream([np.zeros((2, 3))])
    monkeypatch.setattr(streams.np, "memmap", refuse)
    with pytest.raises(FileError, match=r"the file of 48 bytes in .*rows cannot be mapped: .*Cannot allocate memory"):
        stream([np.zeros((2, 3))])
