"""Picture files and folders: every kind and mode in one form, every flaw named, and PNG files written whole."""

from __future__ import annotations

import json
import os
import re
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isthmus.errors import DataError, FileError, FormatError, IsthmusWarning, SettingError
from isthmus.formats import pictures
from isthmus.formats.images import ImageFormat
from isthmus.formats.picture_folders import folder_labels, image_files, save_images
from isthmus.formats.pictures import read_image


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(h: int, w: int, seed: int = 0) -> np.ndarray:
    """A colour picture (h, w, 3) that survives resampling."""
    ramp = np.linspace(0, 1, h)[:, None, None] * [200, 30, 90] + np.linspace(0, 1, w)[None, :, None] * [40, 200, 20]
    return (ramp + seed % 10).astype(np.uint8)


def write(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def loaded(folder: object, **settings: object) -> tuple[ImageFormat, np.ndarray, str]:
    """The fitted format, its items, and what was said."""
    image = ImageFormat(**settings)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        stored = image.fit(folder).to_tensor(folder)
    assert all(isinstance(one.message, IsthmusWarning) for one in said)
    assert len(said) <= 1
    return image, image.from_tensor(stored), str(said[0].message) if said else ""


@pytest.mark.parametrize("ending", ["png", "webp", "bmp", "tif", "tiff", "gif"])
def test_every_lossless_kind_of_file(tmp_path: Path, ending: str) -> None:
    X = pixels(3, 6, 9, 3) // 64 * 64 if ending == "gif" else pixels(3, 6, 9, 3)
    X = X[:, :, :, :1].repeat(3, 3) if ending == "gif" else X
    for i, x in enumerate(X):
        write(tmp_path / f"{i}.{ending}", x, **({"lossless": True} if ending == "webp" else {}))
    image, items, said = loaded(tmp_path)
    assert not said
    assert np.array_equal(items, X[..., 0] if ending == "gif" else X)
    assert image.spec.levels == 256


@pytest.mark.parametrize(("mode", "grey"), [("L", True), ("RGB", False), ("CMYK", False)])
def test_jpeg(tmp_path: Path, mode: str, grey: bool) -> None:
    x = smooth(32, 24)
    write(tmp_path / "a.JPG", x, mode, quality=95)
    image, items, said = loaded(str(tmp_path))
    assert not said
    expected = np.asarray(Image.fromarray(x).convert("L")) if grey else x
    assert items[0].shape == expected.shape
    assert np.abs(items[0].astype(int) - expected).mean() < 3
    assert image.spec.shape == (1 if grey else 3, 32, 24)


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_alone(tmp_path: Path, mode: str) -> None:
    x = smooth(8, 12)
    ending = "tif" if mode == "CMYK" else "png"
    write(tmp_path / f"a.{ending}", x, mode)
    image, items, said = loaded(tmp_path)
    assert not said  # an alpha channel that hides nothing is no news
    expected = np.asarray(Image.fromarray(x).convert(mode).convert("L" if mode in ("1", "L", "LA") else "RGB"))
    assert np.array_equal(items[0], expected)
    assert image.binary_ == (mode == "1")


def test_every_mode_together_is_rgb(tmp_path: Path) -> None:
    x = smooth(8, 12)
    for mode in MODES:
        write(tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}", x, mode)
    image, items, said = loaded(tmp_path)
    assert not said
    assert image.spec.shape == (3, 8, 12)
    assert items.shape == (7, 8, 12, 3)
    assert np.array_equal(items[6], x)  # RGBA is last in the order of names


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    rgba = np.dstack([np.full((2, 3, 3), 100, np.uint8), np.array([[0, 255, 51]] * 2, np.uint8)])
    write(tmp_path / "a.png", rgba)
    _, items, said = loaded(tmp_path)
    assert items[0, 0, :, 0].tolist() == [255, 100, 224]  # 100 * 0.2 + 255 * 0.8
    assert "of 1 picture, 1 with transparency laid over white" in said
    for name, options in [("l.png", {"transparency": 7}), ("p.png", {"transparency": 7})]:
        x = np.full((2, 3), 7, np.uint8)
        x[0, 0] = 9
        image = Image.fromarray(x)
        if name == "p.png":
            image = image.convert("P")
        image.save(tmp_path / name, **options)
        assert read_image(tmp_path / name).tolist() == [[9, 255, 255], [255, 255, 255]]
    deep = np.array([[7, 900]], np.uint16)
    write(tmp_path / "deep.png", deep, transparency=7)
    assert read_image(tmp_path / "deep.png").tolist() == [[65535, 900]]


def test_palettes(tmp_path: Path) -> None:
    grey = np.repeat(pixels(4, 5, 1) // 16 * 16, 3, axis=2)
    palette = Image.fromarray(grey).quantize(16)
    palette.save(tmp_path / "p.png")
    assert palette.mode == "P"
    assert np.array_equal(read_image(tmp_path / "p.png"), grey[..., 0])
    Image.fromarray(pixels(4, 5, 3)).quantize(8).save(tmp_path / "c.png")
    assert read_image(tmp_path / "c.png").shape == (4, 5, 3)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_kept_where_all_have_them(tmp_path: Path, ending: str) -> None:
    X = np.random.default_rng(0).integers(0, 65536, (3, 5, 6)).astype(np.uint16)
    for i, x in enumerate(X):
        write(tmp_path / f"{i}.{ending}", x)
    image, items, said = loaded(tmp_path)
    assert (said, image.spec.levels, items.dtype) == ("", 65536, np.uint16)
    assert np.array_equal(items, X)
    write(tmp_path / "more" / "8.png", pixels(5, 6))
    assert np.array_equal(image.from_tensor(image.to_tensor(tmp_path / "more"))[0], pixels(5, 6).astype(int) * 257)
    image, items, said = loaded(tmp_path)
    assert "of 4 pictures, 3 reduced from 16 to 8 bits" in said
    assert np.array_equal(items[0], np.rint(X[0] / 257).astype(np.uint8))
    _, items, said = loaded([tmp_path / f"0.{ending}"], size=(10, 12))
    assert (items.shape, items.dtype) == ((1, 10, 12), np.uint16)


def test_colour_of_sixteen_bits_is_reduced_and_said(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(">6H", 0, 65535, 300, 65535, 0, 0)  # two pixels; Pillow itself writes no such file
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row)), chunk(b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    _, items, said = loaded(tmp_path)
    assert items.tolist() == [[[[0, 255, 1], [255, 0, 0]]]]
    assert "1 reduced from 16 to 8 bits" in said


def test_deep_integers_and_floats_in_tiff(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", np.array([[0, 65535]], np.int32))
    assert read_image(tmp_path / "a.tif").tolist() == [[0, 65535]]
    write(tmp_path / "b.tif", np.array([[0, 65536]], np.int32))
    with pytest.raises(DataError, match=r"b\.tif.* run from 0 to 65536"):
        read_image(tmp_path / "b.tif")
    write(tmp_path / "c.tif", np.array([[0, 0.5]], np.float32))
    with pytest.raises(DataError, match=r"c\.tif.*floats.*range="):
        ImageFormat().fit([tmp_path / "c.tif"])


def exif_turned(x: np.ndarray, orientation: int) -> Image.Image:
    """The picture stored so that a viewer that obeys the orientation shows x."""
    T = Image.Transpose
    undo = {2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE}
    undo |= {6: T.ROTATE_90, 7: T.TRANSVERSE, 8: T.ROTATE_270}
    return Image.fromarray(x).transpose(undo[orientation]) if orientation > 1 else Image.fromarray(x)


@pytest.mark.parametrize("ending", ["png", "tif", "webp", "jpg"])
def test_a_cameras_turn_is_applied(tmp_path: Path, ending: str) -> None:
    x = smooth(32, 48)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(ending, {})
        exif_turned(x, orientation).save(tmp_path / f"{orientation}.{ending}", exif=exif, **options)
    _, items, said = loaded(tmp_path)
    assert not said
    assert np.abs(items.astype(int) - x).max() <= (3 if ending == "jpg" else 0)
    _, items, _ = loaded(tmp_path, size=(4, 6))  # large enough a step for the JPEG reader to shrink by itself
    assert np.abs(items.astype(int) - np.asarray(Image.fromarray(x).resize((6, 4)))).max() <= 8


def test_the_first_frame_is_taken_and_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 5), 60 * i, np.uint8)) for i in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    _, items, said = loaded(tmp_path)
    assert not items.any()
    assert "1 with more than one frame" in said


def test_sizes(tmp_path: Path) -> None:
    for i, (h, w) in enumerate([(10, 20), (20, 30), (31, 40), (12, 21)]):
        write(tmp_path / f"{i}.png", smooth(h, w))
    image, _, said = loaded(tmp_path)
    assert image.spec.shape == (3, 16, 26)  # medians 16 and 25.5, halves up
    assert f"{tmp_path}: of 4 pictures, 4 resized to 16 x 26 (size=(height, width) chooses another size)" in said
    write(tmp_path / "4.png", smooth(400, 300))
    write(tmp_path / "5.png", smooth(400, 300))
    write(tmp_path / "6.png", smooth(400, 300))
    image, _, said = loaded(tmp_path)
    assert image.spec.shape == (3, 31, 40)
    assert "of 7 pictures, 6 resized to 31 x 40" in said
    assert loaded(tmp_path, size=(7, 9))[1].shape == (7, 7, 9, 3)
    for i in range(4):
        (tmp_path / f"{i}.png").unlink()
    write(tmp_path / "7.png", smooth(200, 300))
    assert loaded(tmp_path)[0].spec.shape == (3, 64, 48)  # medians 400 x 300, shrunk until the longer side is 64


def test_one_size_is_kept_up_to_512_a_side(tmp_path: Path) -> None:
    write(tmp_path / "a.png", smooth(512, 2))
    assert loaded([tmp_path / "a.png"])[0].spec.shape == (3, 512, 2)
    write(tmp_path / "b.png", smooth(513, 26))
    assert loaded([tmp_path / "b.png"])[0].spec.shape == (3, 64, 3)


def test_resizing_crops_the_centre_and_does_not_alias(tmp_path: Path) -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200  # the centred square
    write(tmp_path / "a.png", wide)
    items = loaded(tmp_path, size=(10, 10))[1]
    assert np.array_equal(items[0], np.full((10, 10), 200))
    stripes = np.tile(np.array([[0, 255]], np.uint8), (64, 32))  # picking pixels would give 0 or 255
    write(tmp_path / "a.png", stripes)
    items = loaded(tmp_path, size=(8, 8))[1]
    assert np.abs(items.astype(int) - 127.5)[:, 1:-1, 1:-1].max() < 3


def test_a_fitted_format_brings_new_pictures_to_its_form(tmp_path: Path) -> None:
    write(tmp_path / "old" / "a.png", pixels(8, 12))
    image = ImageFormat().fit(tmp_path / "old")
    write(tmp_path / "new" / "a.png", smooth(16, 24))
    with pytest.warns(IsthmusWarning, match="of 1 picture, 1 resized to 8 x 12 .*, 1 turned from colour to grey"):
        assert image.to_tensor(tmp_path / "new").shape == (1, 1, 8, 12)
    assert np.array_equal(image.from_tensor(image.to_tensor(pixels(2, 8, 12))), pixels(2, 8, 12))
    with pytest.raises(FormatError, match=r"\(9, 12\) given, .* learned \(8, 12\)"):
        image.to_tensor(pixels(2, 9, 12))


@pytest.mark.parametrize(
    ("learned", "expected"),
    [
        (torch.rand(3, 1, 2, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 128 / 255, 1])),
        (np.linspace(0, 1, 6).reshape(1, 2, 3), np.array([0, 128 / 255, 1])),
        (np.array([[[0, 1, 0], [1, 1, 0]]], bool), np.array([False, True, True])),
        (np.array([[[0, 9, 0], [1, 1, 0]]], np.uint16), np.array([0, 128 * 257, 65535])),
        (np.array([[[0, 9, 0], [1, 1, 0]]], np.int64), np.array([0, 128, 255])),
    ],
)
def test_pictures_for_a_format_that_learned_arrays(tmp_path: Path, learned: object, expected: object) -> None:
    write(tmp_path / "a.png", np.array([[0, 128, 255]] * 2, np.uint8))
    image = ImageFormat().fit(learned)
    back = image.from_tensor(image.to_tensor(tmp_path))
    assert type(back) is type(learned)
    assert back.dtype == learned.dtype
    row = back.reshape(2, 3)[1]
    assert np.allclose(np.asarray(row, float), np.asarray(expected, float), atol=1e-6)


def test_pictures_for_integers_of_another_range(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.array([[0, 128, 255]], np.uint8))
    image = ImageFormat(range=(10, 26)).fit(np.array([[[10, 11, 26]]]))
    assert image.from_tensor(image.to_tensor(tmp_path)).tolist() == [[[10, 18, 26]]]


def test_black_and_white_files(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.full((2, 3), 255, np.uint8))
    assert not ImageFormat().fit(tmp_path).binary_  # all white tells nothing
    write(tmp_path / "b.png", np.zeros((2, 3), np.uint8))
    assert ImageFormat().fit(tmp_path).binary_
    write(tmp_path / "c.png", np.full((2, 3), 254, np.uint8))
    assert not ImageFormat().fit(tmp_path).binary_


def test_rgba_arrays_keep_the_alpha_of_pictures(tmp_path: Path) -> None:
    X = pixels(2, 4, 5, 4)
    image = ImageFormat().fit(X)
    write(tmp_path / "a.png", X[0])
    assert np.array_equal(image.from_tensor(image.to_tensor(tmp_path))[0], X[0])
    with pytest.raises(FormatError, match="5 channels"):
        ImageFormat(channels="last").fit(pixels(2, 4, 4, 5)).to_tensor(tmp_path)


# ------------------------------------------------------------------------------------------ paths, Pillow images


def test_a_path_a_list_of_paths_and_an_array_of_paths(tmp_path: Path) -> None:
    X = pixels(3, 4, 5)
    paths = [write(tmp_path / f"{i}.png", x) for i, x in enumerate(X)]
    for items in (paths[::-1], tuple(str(p) for p in paths[::-1]), np.array([str(p) for p in paths[::-1]])):
        assert np.array_equal(loaded(items)[1], X[::-1])
    assert np.array_equal(loaded(paths[1])[1], X[1:2])
    renamed = paths[0].rename(tmp_path / "no_ending")
    assert np.array_equal(loaded([renamed])[1], X[:1])
    with pytest.raises(FormatError, match="does not end as a picture does"):
        ImageFormat().fit(renamed)
    with pytest.raises(FormatError, match="item 0 is a path, but item 1 is 3"):
        ImageFormat().fit([paths[1], 3])
    with pytest.raises(FileError, match=r"gone\.png cannot be read: there is no such file"):
        ImageFormat(skip_corrupt=True).fit([paths[1], tmp_path / "gone.png"])
    with pytest.raises(FileError, match="it is a folder; give it alone"):
        ImageFormat().fit([tmp_path])


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_pillow_images_come_back(mode: str) -> None:
    if mode == "I;16":
        X = [Image.fromarray(pixels(4, 5, seed=i).astype(np.uint16) * 200) for i in range(3)]
    else:
        X = [Image.fromarray(pixels(4, 5, 3, seed=i)).convert(mode) for i in range(3)]
    image = ImageFormat().fit(X)
    back = image.from_tensor(image.to_tensor(X))
    assert [x.mode for x in back] == [mode] * 3
    assert all(a.tobytes() == b.tobytes() for a, b in zip(X, back, strict=True))
    again = ImageFormat.from_json(json.loads(json.dumps(image.to_json())))
    assert again.from_tensor(again.to_tensor(X))[2].tobytes() == X[2].tobytes()
    assert image.binary_ == (mode == "1")


def test_pillow_images_are_left_as_they_were(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", smooth(64, 64))
    with Image.open(path) as lazy:
        _, items, said = loaded([lazy, lazy], size=(8, 8))
        assert lazy.size == (64, 64)
    assert "of 2 pictures, 2 resized" in said
    assert [x.size for x in items] == [(8, 8), (8, 8)]
    assert loaded(Image.fromarray(pixels(4, 5)))[1][0].size == (5, 4)
    path.write_bytes(path.read_bytes()[:-200])
    with Image.open(path) as cut, pytest.raises(DataError, match=r"picture 1 \(.*a\.jpg\) cannot be used: cut short"):
        loaded([Image.fromarray(smooth(64, 64)), cut])


# ------------------------------------------------------------------------------------------ folders


def test_natural_order_subfolders_and_labels(tmp_path: Path) -> None:
    names = ["b/x10.png", "b/x9.png", "b/deep/1.png", "A/x1.PNG", "A/x01.png", "2.png", "10.png"]
    for name in names:
        write(tmp_path / name, pixels(2, 2))
    files = [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)]
    assert files == ["2.png", "10.png", "A/x01.png", "A/x1.PNG", "b/deep/1.png", "b/x9.png", "b/x10.png"]
    assert folder_labels(str(tmp_path)).tolist() == ["", "", "A", "A", "b", "b", "b"]
    assert folder_labels(tmp_path, skipped=[tmp_path / "2.png"]).tolist() == ["", "A", "A", "b", "b", "b"]
    assert folder_labels(tmp_path / "A") is None


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write(tmp_path / "real" / "a.png", pixels(2, 2))
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "cats").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "all", target_is_directory=True)
    assert [path.name for path in image_files(tmp_path / "all")] == ["a.png"]


def test_other_files_are_named_once_and_junk_is_not(tmp_path: Path) -> None:
    write(tmp_path / "a.png", pixels(2, 2))
    for name in (".DS_Store", ".hidden/a.png", "Thumbs.db", "__MACOSX/a.png", "desktop.ini"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("junk")
    assert loaded(tmp_path)[2] == ""
    for name in ("notes.txt", "b.csv", "c.heic", "d"):
        (tmp_path / name).write_text("text")
    _, items, said = loaded(tmp_path)
    assert said == f"{tmp_path}: 4 files (b.csv, c.heic, d, ...) ignored, not ending as a picture does"
    assert len(items) == 1
    with pytest.warns(IsthmusWarning, match="4 files"):
        assert len(image_files(tmp_path)) == 1


def test_folders_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="there is no folder"):
        ImageFormat().fit(tmp_path / "none")
    with pytest.raises(FileError, match=r"holds no files; pictures end in \.png"):
        ImageFormat().fit(str(tmp_path))
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(FileError, match=r"holds only 1 file \(a\.txt\)"):
        ImageFormat().fit(tmp_path)
    with pytest.raises(FileError, match="is a file"):
        image_files(tmp_path / "a.txt")
    path = write(tmp_path / "b.png", pixels(2, 2))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)  # a test may run as root, who may read everything
    with pytest.raises(FileError, match="no permission to read the folder"):
        ImageFormat().fit(tmp_path)
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(FileError, match=r"b\.png cannot be read: no permission"):
        ImageFormat(skip_corrupt=True).fit([path])


def broken(folder: Path, flaw: str) -> Path:
    """Good pictures, and one with a flaw between them."""
    for name in ("0.png", "9.png"):
        write(folder / name, smooth(40, 40))
    bad = folder / {"cut jpeg": "5.jpg", "cut webp": "5.webp", "cut tiff": "5.tif", "cut gif": "5.gif"}.get(
        flaw, "5.png"
    )
    if flaw == "text":
        bad.write_text("this is no picture")
    elif flaw == "empty":
        bad.touch()
    elif flaw == "flipped":
        raw = bytearray(write(bad, smooth(40, 40)).read_bytes())
        raw[raw.index(b"IDAT") + 20] ^= 0xFF
        bad.write_bytes(raw)
    elif flaw == "bomb":
        write(bad, np.zeros((300, 300), np.uint8))
    elif flaw == "header only":
        bad.write_bytes(write(bad, smooth(40, 40)).read_bytes()[:20])
    else:
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        raw = write(bad, noise).read_bytes()
        bad.write_bytes(raw[: len(raw) // 2])
    return bad


FLAWS = {
    "cut jpeg": "cut short or damaged",
    "cut png": "cut short or damaged",
    "cut webp": "cut short or damaged|not a picture",
    "cut tiff": "cut short or damaged|not a picture",
    "cut gif": "cut short or damaged",
    "flipped": "cut short or damaged",
    "header only": "cut short or damaged|not a picture",
    "text": "its content is not a picture",
    "empty": r"the file is empty \(0 bytes\)",
    "bomb": "more than 50000 pixels, as decompression bombs do",
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_pictures_that_cannot_be_used(tmp_path: Path, flaw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    bad = broken(tmp_path, flaw)
    remedy = r"leave such pictures out with skip_corrupt=True \(--skip-corrupt\)"
    with pytest.raises(DataError, match=f"{re.escape(str(bad))} cannot be used: .*({FLAWS[flaw]}).*{remedy}"):
        loaded(tmp_path)
    image, items, said = loaded(tmp_path, skip_corrupt=True)
    assert image.skipped_ == [bad]
    assert np.array_equal(items, [smooth(40, 40)] * 2)
    assert f"1 left out because they cannot be read: {bad}" in said
    with pytest.raises(DataError, match="none of the 1 pictures can be read"):
        loaded([bad], skip_corrupt=True)


def test_odd_exif_is_no_error_and_no_warning(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", smooth(16, 16), exif=b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x09garbage")
    loaded(tmp_path)


def test_pictures_that_need_too_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.png", pixels(64, 64))

    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    image = ImageFormat().fit(tmp_path)
    monkeypatch.setattr(pictures.np, "empty", refuse)
    with pytest.raises(DataError, match=r"1 pictures of 64 x 64 pixels need 0\.0 GiB of memory; give a smaller size="):
        image.to_tensor(tmp_path)


def test_interrupting_stops_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(60):
        write(tmp_path / f"{i}.png", pixels(4, 4))
    image = ImageFormat().fit(tmp_path)
    seen = []

    def interrupt(*_: object, **__: object) -> None:
        seen.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(pictures, "_pixels", interrupt)
    with pytest.raises(KeyboardInterrupt):
        image.to_tensor(tmp_path)
    assert len(seen) < 60
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pictures")]


# ------------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize(
    "X",
    [
        pixels(3, 4, 5),
        pixels(3, 4, 5, 3),
        pixels(3, 4, 5, 1),
        pixels(3, 4, 5).astype(np.int64),
        pixels(3, 4, 5).astype(np.uint16) * 257,
        np.array([[[0, 70, 300]]]),
    ],
)
def test_saved_pictures_read_back(tmp_path: Path, X: np.ndarray) -> None:
    paths = save_images(tmp_path / "new" / "er", X)
    assert [path.name for path in paths] == [f"{i:05d}.png" for i in range(len(X))]
    assert sorted(os.listdir(tmp_path / "new" / "er")) == [path.name for path in paths]
    _, items, said = loaded(paths[0].parent)
    assert not said
    assert np.array_equal(items, X[..., 0] if X.ndim == 4 and X.shape[3] == 1 else X)


def test_other_items_to_save(tmp_path: Path) -> None:
    T = torch.tensor([0, 0.5, 1]).reshape(1, 1, 1, 3).expand(2, 3, 4, 3).requires_grad_()
    paths = save_images(tmp_path / "torch", T)
    assert read_image(paths[1])[0].tolist() == [[0] * 3, [128] * 3, [255] * 3]  # channels first, 4 x 3
    assert save_images(tmp_path / "bool", np.array([[[True, False]]]))[0].exists()
    assert read_image(tmp_path / "bool" / "00000.png").tolist() == [[255, 0]]
    for c, mode in ((2, "LA"), (4, "RGBA")):
        with Image.open(save_images(tmp_path / mode, pixels(1, 4, 5, c))[0]) as image:
            assert image.mode == mode
    save_images(tmp_path / "pillow", [Image.new("RGB", (3, 2)), Image.new("L", (5, 4))], ["a.jpg", "b.b"])
    assert sorted(os.listdir(tmp_path / "pillow")) == ["a.png", "b.b.png"]
    with pytest.warns(IsthmusWarning, match="written with 8"):
        paths = save_images(tmp_path / "deep", pixels(1, 4, 5, 3).astype(np.uint16) * 257)
    assert np.array_equal(read_image(paths[0]), pixels(1, 4, 5, 3)[0])


@pytest.mark.parametrize(
    ("items", "names", "error", "text"),
    [
        (pixels(2, 3), None, DataError, r"shape \(2, 3\)"),
        (pixels(1, 9, 9, 5), None, DataError, "c from 1 to 4"),
        (np.array([[["a"]]]), None, DataError, "does not hold pictures"),
        (np.zeros((0, 3, 3)), None, DataError, "does not hold pictures"),
        (np.full((1, 2, 2), 1.5), None, DataError, r"\[0, 1\], these run from 1.5 to 1.5"),
        (np.full((1, 2, 2), np.nan), None, DataError, "nan"),
        (np.full((1, 2, 2), -1), None, DataError, "from -1 to -1"),
        ([np.zeros((2, 2)), [[0.0]]], None, DataError, "differ in shape"),
        (pixels(2, 3, 3), ["a"], SettingError, "1 names given for 2"),
        (pixels(2, 3, 3), ["a", "a.png"], SettingError, r"two pictures would be called a\.png"),
        (pixels(1, 3, 3), ["../a"], SettingError, "not a plain file name"),
        (pixels(1, 3, 3), ["/a"], SettingError, "not a plain file name"),
        (pixels(1, 3, 3), [".png"], SettingError, "not a plain file name"),
    ],
)
def test_what_cannot_be_saved(
    tmp_path: Path, items: object, names: list[str] | None, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        save_images(tmp_path / "new", items, names)
    assert not (tmp_path / "new").exists()


def test_a_folder_in_use_is_not_written_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".DS_Store").touch()
    save_images(tmp_path, pixels(2, 3, 3))
    with pytest.raises(FileError, match=r"not empty \(00000\.png is there\); .*overwrite=True"):
        save_images(tmp_path, pixels(2, 3, 3))
    save_images(tmp_path, pixels(2, 4, 4), overwrite=True)
    assert [read_image(path).shape for path in image_files(tmp_path)] == [(4, 4), (4, 4)]
    with pytest.raises(FileError, match="is a file; give a folder"):
        save_images(tmp_path / "00000.png", pixels(1, 3, 3))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=r"00000\.png cannot be written: No space left"):
        save_images(tmp_path, pixels(1, 5, 5), overwrite=True)
    assert sorted(os.listdir(tmp_path)) == [".DS_Store", "00000.png", "00001.png"]  # no temporary file stays
    assert read_image(tmp_path / "00000.png").shape == (4, 4)  # and the old one is whole

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_images(tmp_path, pixels(1, 5, 5), overwrite=True)
    assert sorted(os.listdir(tmp_path)) == [".DS_Store", "00000.png", "00001.png"]
