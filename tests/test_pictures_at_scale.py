"""Folders of pictures larger than memory: the same pixels in a file, few in flight, all flaws told together."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from PIL.ImageFile import ImageFile

import isthmus as im
from isthmus.errors import DataError, FileError, IsthmusWarning
from isthmus.formats import images, picture_folders, pictures
from isthmus.formats.images import ImageFormat
from isthmus.formats.picture_folders import list_folder
from isthmus.formats.rows import Rows
from isthmus.training import feed as feeds


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISTHMUS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def folder_of(top: Path, kind: str) -> Path:
    """A hundred pictures: in one form, in many, or with every kind of flaw among them."""
    top.mkdir()
    for i in range(100):
        name = top / f"{i}.png"
        if kind == "sixteen":
            Image.fromarray(pixels(5, 7, seed=i).astype(np.uint16) * 200).save(name)
        elif kind == "mixed":
            shape = [(5, 7), (9, 8, 3), (6, 6, 4), (12, 5, 3)][i % 4]
            ending = ".jpg" if i % 4 == 3 else ".png"
            Image.fromarray(pixels(*shape, seed=i)).save(name.with_suffix(ending))
        else:
            Image.fromarray(pixels(5, 7, 3, seed=i)).save(name)
        if kind == "flawed" and i % 9 == 4:
            raw = name.read_bytes()
            name.write_bytes(raw[: len(raw) // 2] if i % 2 else b"no picture")
    return top


def read(items: Any, settings: dict[str, Any], learned: Any = None) -> tuple[ImageFormat, Any, list[str]]:
    image = ImageFormat(**settings)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        stored = image.fit_tensor(items) if learned is None else image.fit(learned).to_tensor(items)
    return image, stored, [str(one.message) for one in said]


@pytest.mark.parametrize(
    ("kind", "settings", "learned"),
    [
        ("colour", {}, None),
        ("sixteen", {}, None),
        ("mixed", {}, None),
        ("mixed", {"size": (4, 9)}, None),
        ("flawed", {"skip_corrupt": True}, None),
        ("colour", {}, np.linspace(0, 1, 105).reshape(1, 5, 7, 3)),  # floats
        ("colour", {"range": (10, 26)}, np.full((1, 5, 7, 3), 12)),  # few levels
        ("sixteen", {}, np.full((1, 5, 7), 3, np.uint16)),
    ],
)
def test_a_file_holds_what_memory_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, settings: dict[str, Any], learned: Any
) -> None:
    top = folder_of(tmp_path / "a", kind)
    image, tensor, said = read(top, settings, learned)
    sizes = []
    monkeypatch.setattr(images, "fits_in_memory", sizes.append)  # which says None: no
    other, rows, also_said = read(top, settings, learned)
    assert isinstance(tensor, torch.Tensor)
    assert isinstance(rows, Rows)
    assert rows.dtype == tensor.dtype
    assert torch.equal(rows[:], tensor)
    assert sizes == [100 * tensor[0].numel() * tensor.element_size()]
    assert (other.spec, other.skipped_, also_said) == (image.spec, image.skipped_, said)
    assert other.to_json() == image.to_json()
    assert bool(image.skipped_) == (kind == "flawed")
    paths = sorted(top.iterdir())
    assert torch.equal(other.to_tensor(paths)[:], image.to_tensor(paths)[:]) if kind == "colour" else True


def test_models_learn_from_a_folder_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = folder_of(tmp_path / "a", "sixteen")
    monkeypatch.setattr(feeds, "memory_of", lambda device: 0.0)
    results = []
    for fits in (True, False):
        monkeypatch.setattr(images, "fits_in_memory", lambda size, fits=fits: fits)
        for make in (lambda: im.PCA(3), lambda: im.Autoencoder(3, network=(16,), epochs=2, verbose=False)):
            model = make().fit(top)
            results.append((model.encode(top), model.reconstruct(top), str(im.evaluate(model, top))))
    for before, after in zip(results[:2], results[2:], strict=True):
        assert np.array_equal(before[0], after[0])
        assert np.array_equal(before[1], after[1])
        assert before[2] == after[2]


def test_few_pictures_are_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [Path(name) for name in [str(tmp_path / "a.png")] * 2000]
    Image.fromarray(pixels(4, 5)).save(paths[0])
    usual, lock = pictures._pixels, threading.Lock()
    held = most = 0

    def counted(*args: Any, **given: Any) -> np.ndarray:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return usual(*args, **given)

    def take(block: np.ndarray) -> None:
        nonlocal held
        with lock:
            held -= len(block)

    monkeypatch.setattr(pictures, "_pixels", counted)
    reading = pictures.read_pictures(paths, pictures.Form(1, 4, 5), take)
    assert reading.count == 2000
    assert held == 0
    assert 1 < most <= 72


def test_learning_the_form_reads_headers_and_hardly_a_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = folder_of(tmp_path / "a", "mixed")
    loads, usual = [], ImageFile.load

    monkeypatch.setattr(ImageFile, "load", lambda self: (loads.append(self.fp.name if self.fp else ""), usual(self))[1])
    ImageFormat().fit(top)
    assert 1 <= len(set(loads)) < 90  # of the first that show that not all is black and white
    headers = pictures.read_headers(list_folder(top)[0])
    assert len({id(header) for header in headers}) == len(set(headers)) < len(headers) == 100


# ------------------------------------------------------------------------------------------ flaws


@pytest.mark.parametrize("fits", [True, False])
def test_all_flaws_are_told_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: bool) -> None:
    monkeypatch.setattr(images, "fits_in_memory", lambda size: fits)
    top = folder_of(tmp_path / "a", "colour")
    image = ImageFormat().fit(top)
    for i in (70, 7, 20, 33, 41, 99, 50):
        raw = (top / f"{i}.png").read_bytes()
        (top / f"{i}.png").write_bytes(raw[: len(raw) // 2])
    (top / "20.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        image.to_tensor(top)
    text = str(caught.value)
    assert text.startswith("7 of 100 pictures cannot be used: ")
    assert re.findall(r"(\d+)\.png \(", text) == ["7", "20", "33", "41", "50"]
    assert "20.png (the file is empty (0 bytes)); " in text
    assert re.search(r"7\.png \(cut short or damaged: .*\); ", text)
    assert text.endswith(
        "; and 2 more. Mend or remove them, or leave such pictures out with skip_corrupt=True (--skip-corrupt)"
    )
    image.skip_corrupt = True
    with pytest.warns(IsthmusWarning) as said:
        assert len(image.to_tensor(top)) == 93
    assert len(said) == 1
    assert "7 left out because they cannot be read: " in str(said[0].message)
    assert image.skipped_ == [top / f"{i}.png" for i in (7, 20, 33, 41, 50, 70, 99)]


def test_headers_that_are_none_are_told_together_before_a_pixel_is_read(tmp_path: Path) -> None:
    top = folder_of(tmp_path / "a", "colour")
    for i in range(6):
        (top / f"{i}.png").write_text("text")
    with pytest.raises(
        DataError, match=r"^6 of 100 pictures cannot be used: .*0\.png \(its content is not .*; and 1 more"
    ):
        ImageFormat().fit(top)
    for i in range(1, 100):
        (top / f"{i}.png").unlink()
    with pytest.raises(
        DataError, match=r"^\S*0\.png cannot be used: its content is not a picture.* Mend or remove it, "
    ):
        ImageFormat().fit(top)


def test_an_error_of_the_disk_ends_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = folder_of(tmp_path / "a", "colour")
    image = ImageFormat().fit(top)
    monkeypatch.setattr(images, "fits_in_memory", lambda size: False)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    before = list(warnings.filters)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(FileError, match=r"the disk is full\. They need 10,500 bytes there"):
            image.to_tensor(top)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pictures")]
    assert list(warnings.filters) == before


# ------------------------------------------------------------------------------------------ listing


def as_lists(path: str) -> list[list[tuple[int, int, str]]]:
    """Natural order in plain words: parts of a path, each a list of numbers and words."""
    return [
        [
            (0, int(piece), "") if i % 2 else (1, 0, piece)
            for i, piece in enumerate(re.split(r"([0-9]+)", part.casefold()))
            if piece
        ]
        for part in path.split("/")
    ]


NAMES = st.text(st.sampled_from("aAbBß01239 -_.\x01\x02\U0001f600é"), min_size=1, max_size=6)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@given(st.lists(PATHS, min_size=2, max_size=30))
@example(
    ["a1", "a\x01", "a\x02", "a/1", "a", "ab", "a0", "a00", "a9", "a10", "a100", "1", "10/a", "1/a", "a1/b", "a1b"]
)
def test_the_text_of_an_order_sorts_as_its_lists(paths: list[str]) -> None:
    def text(path: str) -> str:
        return "\0".join(picture_folders._natural(part.casefold()) for part in path.split("/"))

    for a in paths:
        for b in paths:
            assert (text(a) < text(b)) == (as_lists(a) < as_lists(b))


def test_folders_that_differ_in_case_alone_and_deep_ones(tmp_path: Path) -> None:
    names = ["a/1.png", "A/2.png", "a/3.png", "a/b/c/d/e/10.png", "a/b/c/d/e/9.PNG", "a1/x.png", "a01/x.png", "a.png"]
    names += [f"{'0' * i}7.png" for i in (3, 1, 5, 0, 4, 2)]  # numbers that are equal
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "notes.txt").touch()
    found, others = list_folder(tmp_path)
    listed = [path.relative_to(tmp_path).as_posix() for path in found]
    assert listed == sorted(names, key=lambda name: (as_lists(name), str(tmp_path / name)))
    assert others == [tmp_path / "a" / "notes.txt"]


def test_listing_asks_the_system_for_folders_and_not_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(300):
        (tmp_path / f"{i % 3}").mkdir(exist_ok=True)
        (tmp_path / f"{i % 3}" / f"{i}.png").touch()
    asked, usual = [], os.stat
    monkeypatch.setattr(os, "stat", lambda *args, **given: (asked.append(args[0]), usual(*args, **given))[1])
    assert len(list_folder(tmp_path)[0]) == 300
    assert len(asked) <= 6
