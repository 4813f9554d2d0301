"""Arrays of images: what goes in comes back, and every flaw is one clear message. Files are in test_pictures.py."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.exceptions import NotFittedError

from isthmus.errors import DamagedFileError, DataError, FormatError, IsthmusWarning, SettingError
from isthmus.formats.images import ImageFormat

INTEGERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
FLOATS = ["float16", "float32", "float64"]


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def same(X: np.ndarray | torch.Tensor, back: object) -> bool:
    """Equal in container, dtype, shape and values."""
    if isinstance(X, torch.Tensor):
        return isinstance(back, torch.Tensor) and back.dtype == X.dtype and torch.equal(back, X.detach().cpu())
    return isinstance(back, np.ndarray) and back.dtype == X.dtype and np.array_equal(back, X)


def there_and_back(X: object, **settings: object) -> ImageFormat:
    """Checks the laws of a format on X, by the stored and the scaled view and by JSON; gives the format."""
    image = ImageFormat(**settings).fit(X)
    stored = image.to_tensor(X)
    scaled = image.scale(stored)
    assert tuple(stored.shape[1:]) == image.spec.shape
    assert scaled.dtype == torch.float32
    assert 0 <= scaled.min() <= scaled.max() <= 1
    assert same(X, image.from_tensor(stored))
    if image.spec.levels is not None or (image.range is None and image.origin_.dtype != "float64"):
        assert same(X, image.from_tensor(image.unscale(scaled)))
    again = ImageFormat.from_json(json.loads(json.dumps(image.to_json())))
    assert again.to_json() == image.to_json()
    assert again.spec == image.spec
    assert torch.equal(again.to_tensor(X), stored)
    assert same(X, again.from_tensor(stored))
    return image


# ------------------------------------------------------------------------------------------ arrays

SHAPES = st.one_of(
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 4])),
    st.tuples(st.integers(1, 4), st.sampled_from([1, 3, 4]), st.integers(1, 6), st.integers(1, 6)),
)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = draw(st.sampled_from(["bool", *INTEGERS, *FLOATS, ">u2", ">f4"]))
    kind, width = np.dtype(dtype).kind, 8 * min(np.dtype(dtype).itemsize, 8)
    elements = None
    if kind == "f":
        elements = st.floats(0, 1, width=width)
    elif kind != "b":
        elements = st.integers(0, min(draw(st.sampled_from([1, 255, 65535])), np.iinfo(dtype).max))
    X = draw(hnp.arrays(dtype, draw(SHAPES), elements=elements))
    return X[::-1] if draw(st.booleans()) else np.asfortranarray(X) if draw(st.booleans()) else X


@given(arrays())
def test_numpy_arrays_come_back(X: np.ndarray) -> None:
    image = there_and_back(X)
    assert image.spec.levels == (None if X.dtype.kind == "f" else image.spec.levels)
    assert image.to_tensor(X).dtype == {
        "f": getattr(torch, X.dtype.newbyteorder("=").name) if X.dtype.kind == "f" else None,
    }.get(X.dtype.kind, torch.int32 if image.spec.levels == 65536 else torch.uint8)


@given(arrays(), st.booleans())
def test_torch_tensors_come_back(X: np.ndarray, gradient: bool) -> None:
    T = torch.from_numpy(np.ascontiguousarray(X.astype(X.dtype.newbyteorder("="))))
    there_and_back(T.requires_grad_() if gradient and T.is_floating_point() else T)


def test_bfloat16_lists_and_read_only_arrays() -> None:
    there_and_back(torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16))
    X = pixels(2, 3, 4)
    X.flags.writeable = False
    there_and_back(X)
    image = ImageFormat().fit(X.tolist())
    assert same(X.astype(np.int64), image.from_tensor(image.to_tensor(X.tolist())))
    assert same(X, (image := ImageFormat().fit(list(X))).from_tensor(image.to_tensor(list(X))))


@pytest.mark.parametrize(
    ("X", "dtype", "levels", "white"),
    [
        (np.array([[[False, True]]]), torch.uint8, 2, 1),
        (np.array([[[0, 1]]], np.uint8), torch.uint8, 2, 1),
        (np.array([[[0, 0]]], np.uint8), torch.uint8, 256, None),
        (np.array([[[0, 255]]], np.uint8), torch.uint8, 256, 255),
        (np.array([[[0, 7]]], np.int64), torch.uint8, 256, None),
        (np.array([[[0, 256]]], np.int64), torch.int32, 65536, None),
        (np.array([[[0, 1]]], np.uint16), torch.int32, 65536, None),
        (np.array([[[0, 65535]]], np.uint16), torch.int32, 65536, 65535),
        (np.array([[[0, 1]]], np.float32), torch.float32, None, 1),
        (np.array([[[0, 0.5]]], np.float64), torch.float64, None, None),
    ],
)
def test_storage_levels_and_scale(X: np.ndarray, dtype: torch.dtype, levels: int | None, white: int | None) -> None:
    image = there_and_back(X)
    stored = image.to_tensor(X)
    assert (stored.dtype, image.spec.levels, image.spec.kind) == (dtype, levels, "image")
    assert image.unit == "pixels in [0, 1]"
    if white is not None:
        assert stored.max() == white
        assert image.scale(stored).max() == 1


def test_channels_are_found_and_told() -> None:
    for shape, expected in [((2, 5, 7, 3), (3, 5, 7)), ((2, 3, 5, 7), (3, 5, 7)), ((2, 5, 7), (1, 5, 7))]:
        assert there_and_back(pixels(*shape)).spec.shape == expected
    both = pixels(2, 3, 5, 4)  # 3 x 5 RGBA, or 3 channels of 5 x 4
    assert there_and_back(both).spec.shape == (4, 3, 5)
    assert there_and_back(torch.from_numpy(both)).spec.shape == (3, 5, 4)
    assert there_and_back(both, channels="first").spec.shape == (3, 5, 4)
    assert there_and_back(pixels(2, 5, 7, 9), channels="last").spec.shape == (9, 5, 7)
    image = ImageFormat().fit(both)
    stored = image.to_tensor(both)
    assert np.array_equal(stored.numpy(), both.transpose(0, 3, 1, 2))


def test_a_fitted_format_takes_the_other_layout_and_the_other_container() -> None:
    X = pixels(4, 6, 8, 3)
    image = ImageFormat().fit(X)
    expected = image.to_tensor(X)
    assert torch.equal(image.to_tensor(torch.from_numpy(X.transpose(0, 3, 1, 2).copy())), expected)
    assert torch.equal(image.to_tensor(X[:1].astype(np.int32)), expected[:1])
    cubes = pixels(2, 3, 3, 3)
    image = ImageFormat().fit(cubes)
    assert np.array_equal(image.to_tensor(cubes), cubes.transpose(0, 3, 1, 2))
    assert np.array_equal(image.to_tensor(torch.from_numpy(cubes)), cubes)
    grey = ImageFormat().fit(X[..., 0])
    assert torch.equal(grey.to_tensor(X[..., :1]), grey.to_tensor(X[..., 0]))


def test_range_of_floats_and_integers() -> None:
    X = np.linspace(-3, 5, 24).reshape(2, 3, 4)
    image = there_and_back(X, range=(-3, 5))
    assert image.scale(image.to_tensor(X)).flatten()[[0, -1]].tolist() == [0, 1]
    hounsfield = np.array([[[-1024, 0, 3071]]], np.int16)
    image = there_and_back(hounsfield, range=(-1024, 3071))
    assert (image.spec.levels, image.to_tensor(hounsfield).flatten().tolist()) == (4096, [0, 1024, 4095])
    there_and_back(np.array([[[-128, 127]]], np.int8), range=(-128, 127))
    digits = there_and_back(np.arange(17, dtype=np.uint8).reshape(1, 1, 17), range=(0, 16))
    assert digits.spec.levels == 17
    assert digits.scale(torch.tensor([16])).item() == 1


@pytest.mark.parametrize(("dtype", "most", "white"), [("uint8", 16, 255), ("int64", 31, 255), ("uint16", 4095, 65535)])
def test_images_that_would_look_black_are_noted(dtype: str, most: int, white: int) -> None:
    X = np.arange(20 * 64).reshape(20, 8, 8).astype(dtype) % (most + 1)
    X[0, 0, 0] = most
    with pytest.warns(
        IsthmusWarning, match=rf"above {most}, and white was taken to be {white}.*range=\(0, {most}\)"
    ) as told:
        form = ImageFormat().fit(X)
    assert (len(told), told[0].filename) == (1, __file__), "once, and it points at the user's line"
    assert form.scale(form.to_tensor(X)).max() == np.float32(most) / np.float32(white)
    mended = ImageFormat(range=(0, most)).fit(X)  # warnings are errors here
    assert mended.scale(mended.to_tensor(X)).max() == 1
    np.testing.assert_array_equal(mended.from_tensor(mended.to_tensor(X)), X)
    ImageFormat(range=(0, white)).fit(X)


def test_dark_images_few_images_and_masks_are_not_noted() -> None:
    X = np.zeros((20, 8, 8), np.uint8)
    ImageFormat().fit(X)  # black alone
    ImageFormat().fit(X + 9)  # one level alone
    X[3, 2, 1] = 32
    ImageFormat().fit(X)  # one pixel is above an eighth of white
    ImageFormat().fit((X[:19] > 0).astype(np.uint8) * 16)  # too few to say so
    ImageFormat().fit((X > 0).astype(np.uint16))  # a mask
    with pytest.warns(IsthmusWarning, match="above 31, and white"):
        ImageFormat().fit(np.minimum(X, 31))


def test_a_range_that_the_dtype_rounds_or_cannot_hold() -> None:
    there_and_back(np.array([[[0.1, 0, -0.3]]], np.float32), range=(-0.3, 0.1))
    half = np.array([[[0, 1000, 65504]]], np.float16)
    image = there_and_back(half, range=(0, 1e6))
    assert image.high_ == 65504
    with pytest.raises(DataError, match=r"item 0 \(-1 at row 0, column 0\)"):
        ImageFormat(range=(0, 1e6)).fit(np.full((1, 1, 3), 5.0)).to_tensor(np.full((1, 1, 3), -1, np.float16))
    with pytest.raises(SettingError, match="cannot tell the two ends apart"):
        ImageFormat(range=(1, 1 + 1e-9)).fit(np.ones((1, 1, 3), np.float32))


def test_integers_beyond_the_levels_are_clipped() -> None:
    image = ImageFormat().fit(np.array([[[0, 7]]], np.int64))
    assert image.from_tensor(torch.tensor([[[[-5, 300]]]])).tolist() == [[[0, 255]]]


def test_before_fit() -> None:
    image = ImageFormat(skip_corrupt=True)
    assert repr(image) == "<ImageFormat(skip_corrupt=True), not fitted>"
    for call in (image.to_tensor, image.from_tensor, image.scale, image.unscale):
        with pytest.raises(NotFittedError, match="call fit"):
            call(pixels(1, 2, 2))
    for call in (image.to_json, image.likelihood):
        with pytest.raises(NotFittedError, match="call fit"):
            call()
    text = repr(ImageFormat().fit(pixels(2, 4, 5, 3) // 128 * 255))
    assert text.startswith("<ImageFormat(): image of 3 x 4 x 5, 256 levels from ")
    assert text.endswith(", in pixels in [0, 1], black and white>")


def test_decoded_floats_are_rounded_and_clipped() -> None:
    image = ImageFormat().fit(pixels(2, 2, 2))
    values = torch.tensor([[[[-3.0, 0.4], [254.6, 300.0]]]])
    assert image.from_tensor(values).tolist() == [[[0, 0], [255, 255]]]
    assert image.from_tensor(values.to(torch.bfloat16)).dtype == np.uint8
    grey = ImageFormat().fit(np.array([[[0, 0.5]]], np.float32))
    assert grey.from_tensor(torch.tensor([[[[-0.5, 1.5]]]])).tolist() == [[[0, 1]]]
    mask = ImageFormat().fit(np.array([[[False, True]]]))
    assert mask.from_tensor(torch.tensor([[[[0.6, 0.4]]]])).tolist() == [[[True, False]]]
    with pytest.raises(DataError, match="NaN"):
        image.from_tensor(values * torch.nan)
    with pytest.raises(FormatError, match="learned"):
        image.from_tensor(torch.zeros(1, 1, 3, 2))


def test_black_and_white_asks_for_bernoulli() -> None:
    black_and_white = pixels(3, 4, 5) // 128
    for X in (black_and_white > 0, black_and_white, black_and_white * 255, black_and_white.astype(np.float32)):
        image = ImageFormat().fit(X)
        assert image.binary_
        assert image.likelihood().word == "bernoulli"
    for X in (pixels(3, 4, 5), np.full((2, 3, 3), 255, np.uint8), black_and_white * 254):
        image = ImageFormat().fit(X)
        assert not image.binary_
        assert image.likelihood().word == "gaussian"


def floats(value: float, place: tuple[int, ...], shape: tuple[int, ...] = (9, 3, 4)) -> np.ndarray:
    X = np.full(shape, 0.5, np.float32)
    X[place] = value
    return X


@pytest.mark.parametrize(
    ("X", "error", "text"),
    [
        (floats(17, (3, 2, 1)), DataError, r"\[0, 1\].*from 0.5 to 17; .*item 3 \(17 at row 2, column 1\).*255.*uint8"),
        (floats(17, (3, 2, 1)), DataError, r"give ImageFormat\(range=\(0.5, 17\)\)"),
        (floats(-1, (3, 2, 1, 0), (9, 3, 4, 3)), DataError, r"item 3 \(-1 at row 2, column 1, channel 0\)"),
        (floats(-1, (3, 2, 1, 0), (9, 3, 4, 5)), DataError, r"item 3 \(-1 at row 1, column 0, channel 2\)"),
        (floats(np.nan, (8, 0, 3)), DataError, "item 8 has nan at row 0, column 3; pixels must be finite"),
        (floats(2, (500, 1, 2), (600, 32, 32)), DataError, "item 500 .2 at row 1, column 2"),
        (floats(np.inf, (8, 0, 3)), DataError, "item 8 has inf at row 0, column 3"),
        (np.array([[[3]], [[-4]]]), DataError, r"int64 .*\[0, 255\].*item 1 \(-4 at row 0, .*range=\(-4, 3\)"),
        (np.array([[[70000]]]), DataError, "from 70000 to 70000; .*item 0"),
        (np.zeros((0, 3, 3), np.uint8), DataError, r"no images.*\(0, 3, 3\)"),
        (np.zeros((2, 0, 3), np.uint8), DataError, "none with pixels"),
        (np.zeros((5, 64), np.uint8), FormatError, r"\(5, 64\).*reshape"),
        (np.zeros((2, 2, 2, 2, 3), np.uint8), FormatError, r"\(2, 2, 2, 2, 3\) does not hold images"),
        (np.zeros((2, 5, 6, 7), np.uint8), FormatError, 'no axis of 1, 3 or 4 channels.*channels="first"'),
        ([np.zeros((2, 2)), np.zeros((2, 3))], FormatError, "differ in shape"),
        (np.array([["a"]]), FormatError, "text"),
        (iter([1, 2]), FormatError, "only once"),
        (None, FormatError, "None"),
        ([], DataError, "does not hold images|no images"),
    ],
)  # fmt: skip
def test_arrays_that_are_refused(X: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ImageFormat().fit(X)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"channels": "middle"}, "channels='middle': give \"first\""),
        ({"range": (1, 0)}, "lo below hi"),
        ({"range": (0, np.inf)}, "two finite numbers"),
        ({"range": (0, True)}, "two finite numbers"),
        ({"range": 255}, "two finite numbers"),
        ({"range": (0, 0.5)}, "whole numbers"),
        ({"range": (0, 70000)}, "at most 65535 apart"),
        ({"size": 28}, "two whole numbers"),
        ({"size": (0, 3)}, "two whole numbers"),
        ({"size": (2.0, 3)}, "two whole numbers"),
        ({"skip_corrupt": "yes"}, "True or False"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], text: str) -> None:
    with pytest.raises(SettingError, match=text):
        ImageFormat(**settings).fit(pixels(2, 3, 3))


def test_what_a_fitted_format_refuses() -> None:
    image = ImageFormat().fit(pixels(5, 6, 8, 3))
    with pytest.raises(FormatError, match=r"\(7, 8, 3\) given, .* learned \(6, 8, 3\): 3 channels of 6 x 8"):
        image.to_tensor(pixels(2, 7, 8, 3))
    with pytest.raises(FormatError, match=r"give X\[None\]"):
        image.to_tensor(pixels(6, 8, 3))
    with pytest.raises(FormatError, match=r"float32 given, but .* learned pixels of uint8"):
        image.to_tensor(np.zeros((2, 6, 8, 3), np.float32))
    with pytest.raises(DataError, match=r"learned pixels of uint8 in \[0, 255\], but .*item 1 \(300 "):
        image.to_tensor(np.array([0, 300])[:, None, None, None] * np.ones((2, 6, 8, 3), int))
    with pytest.raises(DataError, match="no images"):
        image.to_tensor(pixels(0, 6, 8, 3))
    with pytest.raises(FormatError, match="only picture files are resized"):
        ImageFormat(size=(3, 3)).fit(pixels(2, 4, 4))
    with pytest.raises(FormatError, match="at most 2147483647"):
        ImageFormat().fit(np.broadcast_to(np.uint8(0), (1, 2**16, 2**16)))
    with pytest.warns(IsthmusWarning, match=r"200 grey images of 300 x 3 .* X\[None\]"):
        ImageFormat().fit(pixels(200, 300, 3))


# ------------------------------------------------------------------------------------------ JSON


def saved(**changes: object) -> dict[str, object]:
    """What a format of pictures (n, 4, 5, 3) writes, with changes."""
    return json.loads(json.dumps(ImageFormat(size=(4, 5)).fit(pixels(2, 4, 5, 3)).to_json())) | changes


def test_settings_survive_json() -> None:
    for settings in ({"channels": "last"}, {"range": (0, 255)}, {"size": (4, 5)}, {"skip_corrupt": True}):
        image = ImageFormat(**settings).fit(pixels(2, 4, 5, 3))
        again = ImageFormat.from_json(json.loads(json.dumps(image.to_json())))
        for name in ("channels", "range", "size", "skip_corrupt"):
            assert getattr(again, name) == getattr(image, name)
        assert again.skipped_ == []
        assert again.fit(pixels(2, 4, 5, 3)).to_json() == image.to_json()


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, -1, 0, 1e400, float("nan"), [-1, 4, 5], [[]], True, 2**70])
def test_any_wrong_value_of_any_key_is_damage_or_is_harmless(value: object) -> None:
    for key in saved():
        try:
            image = ImageFormat.from_json(saved(**{key: value}))
        except DamagedFileError:
            continue
        image.from_tensor(torch.zeros(1, 3, 4, 5))  # a value that this key may have: the format works


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [3, 4]},
        {"shape": [3, 0, 5]},
        {"shape": [3, 2**16, 2**16]},
        {"shape": [3, 4.0, 5]},
        {"layout": "none"},
        {"levels": None},
        {"levels": 2},
        {"low": 0.5, "high": 255.5},
        {"low": 300.0},
        {"low": -1e308, "high": 1e308, "levels": None},
        {"size": [4, -5]},
        {"range": [1, 0]},
        {"channels": "middle"},
        {"source": "pillow", "mode": "I;16"},
        {"source": "array", "mode": "RGB"},
        {"origin": {"container": "numpy", "dtype": "float32", "columns": None}},
        {"origin": {"container": "numpy", "dtype": "object", "columns": None}},
        {"word": "vector"},
    ],
)
def test_hostile_json(changes: dict[str, object]) -> None:
    ImageFormat.from_json(saved())
    with pytest.raises(DamagedFileError):
        ImageFormat.from_json(saved(**changes))
    for key in changes:
        with pytest.raises(DamagedFileError, match=key):
            ImageFormat.from_json({k: v for k, v in saved().items() if k != key})
    with pytest.raises(DamagedFileError, match="JSON object"):
        ImageFormat.from_json([])
