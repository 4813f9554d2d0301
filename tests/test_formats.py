"""Vectors and series: there and back to the bit, scaling and its inverse, what is learned and what is saved."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.exceptions import NotFittedError

from isthmus.errors import DataError, FormatError, SettingError
from isthmus.formats import Format, SeriesFormat, Spec, VectorFormat, format_from_json
from isthmus.formats import scaling as scaling_module
from isthmus.formats.arrays import DTYPES, Origin, as_array, listing, stored
from isthmus.likelihoods import Bernoulli, Gaussian

NUMPY_DTYPES = [name for name in DTYPES if name != "bfloat16"]
COMPACT = {"bool": "uint8", "uint16": "int32", "uint32": "int64", "uint64": "int64", "bfloat16": "float32"}


def same_bits(x: Any, y: Any) -> bool:
    """Equal in type, dtype, byte order, shape and every bit."""
    if isinstance(x, torch.Tensor) or isinstance(y, torch.Tensor):
        if type(x) is not type(y) or x.dtype != y.dtype:
            return False
        x, y = x.detach(), y.detach()
        return (
            same_bits(x.float().numpy(), y.float().numpy())
            if x.dtype == torch.bfloat16
            else same_bits(x.numpy(), y.numpy())
        )
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def elements(dtype: np.dtype) -> st.SearchStrategy:
    """Any value that a format takes: no NaN or infinity, unsigned below 2**63."""
    if dtype.kind == "f" and dtype.itemsize == 8:
        return hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False, min_value=-(2.0**1022), max_value=2.0**1022)
    if dtype.kind == "f":
        return hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    if dtype.kind == "u" and dtype.itemsize == 8:
        return st.integers(0, 2**63 - 1)
    return hnp.from_dtype(dtype)


@st.composite
def arrays(draw: st.DrawFn, dims: tuple[int, ...] = (2,), orders: str = "=S") -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from(NUMPY_DTYPES))).newbyteorder(draw(st.sampled_from(list(orders))))
    shape = draw(st.one_of(*[hnp.array_shapes(min_dims=k, max_dims=k, max_side=6) for k in dims]))
    array = draw(hnp.arrays(dtype, shape, elements=elements(dtype)))
    layout = draw(st.sampled_from(["C", "F", "reversed", "every second", "read only"]))
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "reversed":
        array = array[::-1]
    elif layout == "every second":
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    elif layout == "read only":
        array.flags.writeable = False
    return array


@st.composite
def fields(draw: st.DrawFn) -> tuple[np.ndarray, str]:
    """Float or integer data with structure: offsets, scales, constants; float64, with the dtype it is meant for."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    dtype = draw(st.sampled_from(["float32", "float64", "int16", "int32", "int64", "uint8"]))
    size = 10.0 ** rng.uniform(-3, 3, d) if dtype[0] == "f" else rng.integers(1, 50, d)
    offset = rng.choice([0.0, 1.0, -1e3, 1e6], d) if dtype not in ("uint8", "int16") else rng.choice([0.0, 100.0], d)
    values = rng.normal(size=(n, d)) * size * rng.integers(0, 2, d) + offset
    if dtype[0] != "f":
        values = np.clip(np.rint(values), np.iinfo(dtype).min if dtype[0] == "i" else 0, 2**62)
    return values.astype(dtype), dtype


# --- There and back ----------------------------------------------------------------------------------------------


@given(arrays())
def test_vectors_come_back_to_the_bit(X: np.ndarray) -> None:
    before = X.copy()
    format = VectorFormat("none" if X.dtype.kind != "f" else "standard").fit(X)
    tensor = format.to_tensor(X)
    assert tensor.shape == X.shape
    assert tensor.is_contiguous()
    name = X.dtype.newbyteorder("=").name
    assert str(tensor.dtype) == "torch." + COMPACT.get(name, name)
    assert same_bits(format.from_tensor(tensor), np.ascontiguousarray(X))
    assert same_bits(X, before)


@given(arrays(dims=(2, 3)))
def test_series_come_back_to_the_bit(X: np.ndarray) -> None:
    format = SeriesFormat().fit(X)
    tensor = format.to_tensor(X)
    n, t, c = X.shape if X.ndim == 3 else (*X.shape, 1)
    assert format.spec.shape == (c, t)
    assert tensor.shape == (n, c, t)
    assert tensor.is_contiguous()
    assert same_bits(format.from_tensor(tensor), np.ascontiguousarray(X))


@given(arrays(dims=(2, 3), orders="="))
def test_torch_tensors_come_back_to_the_bit(array: np.ndarray) -> None:
    X = torch.from_numpy(np.array(array))
    format = (VectorFormat() if X.ndim == 2 else SeriesFormat()).fit(X)
    assert same_bits(format.from_tensor(format.to_tensor(X)), X)


def test_bfloat16_and_tensors_with_gradients_come_back() -> None:
    X = torch.linspace(-3, 3, 12).reshape(4, 3).to(torch.bfloat16)
    format = VectorFormat().fit(X)
    assert same_bits(format.from_tensor(format.to_tensor(X)), X)
    assert format.from_tensor(torch.full((1, 3), 1e39, dtype=torch.float64)).isfinite().all()
    X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    format = VectorFormat().fit(X)
    tensor = format.to_tensor(X)
    assert not tensor.requires_grad
    assert torch.equal(format.from_tensor(tensor), X.detach())
    assert X.requires_grad
    assert torch.equal(VectorFormat().fit(X).to_tensor(-X.detach()), -X.detach())


class Borrowed:
    """Something that is no array and gives one."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array


class Frame(Borrowed):
    """What formats see of a pandas or polars frame."""

    def __init__(self, array: np.ndarray, columns: list[Any]) -> None:
        super().__init__(array)
        self.columns = columns


@pytest.mark.parametrize(
    ("items", "dtype"),
    [
        ([[1, 2], [3, 4]], "int64"),
        (((1.0, 2), (3, 4)), "float64"),
        ([np.float32([1, 2]), np.float32([3, 4])], "float32"),
        ([[True, False], [False, False]], "bool"),
        (Borrowed(np.array([[1, 2], [3, 4]], dtype=np.int8)), "int8"),
        (np.matrix([[1, 2], [3, 4]], dtype=np.uint16), "uint16"),
        (np.array([[1, 2.5], [True, None]], dtype=object)[:1], "float64"),
        (np.ma.MaskedArray([[1.0, 2], [3, 4]]), "float64"),
    ],
)
def test_whatever_holds_numbers_is_taken(items: Any, dtype: str) -> None:
    format = VectorFormat().fit(items)
    back = format.from_tensor(format.to_tensor(items))
    assert type(back) is np.ndarray
    assert same_bits(back, np.asarray(items).astype(dtype))


def test_a_list_of_tensors_comes_back_as_one_tensor() -> None:
    items = [torch.ones(3, requires_grad=True), torch.zeros(3)]
    format = VectorFormat().fit(items)
    assert torch.equal(format.from_tensor(format.to_tensor(items)), torch.tensor([[1.0, 1, 1], [0, 0, 0]]))
    assert VectorFormat().fit([[torch.tensor(1.0), 2.0], [3.0, 4.0]]).spec.shape == (2,)
    assert VectorFormat().fit([torch.ones(3, requires_grad=True), np.zeros(3)]).spec.shape == (3,)


def test_nothing_that_comes_back_shares_memory() -> None:
    X = np.arange(6, dtype=np.float32).reshape(2, 3)
    format = VectorFormat().fit(X)
    tensor = format.to_tensor(X)
    back = format.from_tensor(tensor)
    back[:] = -1
    assert tensor.min() == 0
    assert X.min() == 0
    series = SeriesFormat().fit(X)
    assert not np.shares_memory(series.from_tensor(series.to_tensor(X)), X)


def test_floats_are_rounded_half_to_even_and_clipped() -> None:
    values = torch.tensor([[-1e30, -0.5, 0.5, 1.5, 2.5, 254.6, 1e30]], dtype=torch.float64)
    for dtype, expected in {
        "uint8": [0, 0, 0, 2, 2, 255, 255],
        "int8": [-128, 0, 0, 2, 2, 127, 127],
        "int64": [-(2**63), 0, 0, 2, 2, 255, 2**63 - 1],
        "uint64": [0, 0, 0, 2, 2, 255, 2**64 - 1],
        "bool": [False, False, True, True, True, True, True],
        "float32": values[0].float().tolist(),
        "float16": [-65504, -0.5, 0.5, 1.5, 2.5, float(np.float16(254.6)), 65504],
    }.items():
        back = Origin("numpy", dtype).restore(values)
        assert back.dtype == np.dtype(dtype)
        assert back[0].tolist() == expected
        for narrow in (torch.float32, torch.bfloat16, torch.float16):
            assert Origin("torch", dtype).restore(values.to(narrow)).shape == values.shape
    assert Origin("numpy", "float32").restore(torch.full((1, 1), 1e300, dtype=torch.float64)).max() < np.inf
    assert Origin("numpy", "int8").restore(np.array([[300, -300]])).tolist() == [[127, -128]]
    assert Origin("numpy", "int32").restore(torch.tensor([2.0**31, 2.0**40])).tolist() == [2**31 - 1] * 2
    assert np.isnan(Origin("numpy", "float32").restore(torch.tensor([[np.nan]]))).all()
    with pytest.raises(DataError, match=r"item 1 is NaN at position \[0\], which cannot become int16"):
        Origin("numpy", "int16").restore(torch.tensor([[1.0], [np.nan]]))
    with pytest.raises(DataError, match="cannot become bool"):
        Origin("numpy", "bool").restore(torch.tensor([[np.nan]]))


def test_another_dtype_than_learned_is_taken_and_the_learned_one_comes_back() -> None:
    X = np.array([[1, 2], [3, 5]], dtype=np.int16)
    format = VectorFormat().fit(X)
    tensor = format.to_tensor([[1.5, 2.5]])
    assert tensor.dtype == torch.float64
    assert same_bits(format.from_tensor(tensor), np.array([[2, 2]], dtype=np.int16))
    same = [
        format.scale(format.to_tensor(X.astype(dtype))) for dtype in ("int16", "int64", "float32", "float64", ">f8")
    ]
    assert all(torch.allclose(same[0], other, rtol=1e-6, atol=1e-7) for other in same)


# --- Scaling -----------------------------------------------------------------------------------------------------


def reference(X: np.ndarray, how: str) -> np.ndarray:
    """The same scaling in extended precision, by the definition."""
    X = X.astype(np.longdouble)
    mean, deviation = X.mean(0), X.std(0)
    if how == "global":
        deviation = np.sqrt((deviation**2).mean()) * np.ones(X.shape[1])
    deviation[(deviation == 0) | (how == "centre")] = 1
    return ((X - mean) / deviation).astype(np.float64)


@given(fields(), st.sampled_from(["standard", "global", "centre"]))
def test_scaling_agrees_with_its_definition_and_is_undone(drawn: tuple[np.ndarray, str], how: str) -> None:
    X, dtype = drawn
    format = VectorFormat(how).fit(X)
    tensor = format.to_tensor(X)
    scaled = format.scale(tensor)
    assert scaled.dtype == torch.float32
    clear = (np.ptp(X, axis=0) == 0) | ~np.isin(np.arange(X.shape[1]), format.constant_)  # more than rounding differs
    np.testing.assert_allclose(scaled.numpy()[:, clear], reference(X, how)[:, clear], rtol=1e-6, atol=2e-6)
    back = format.unscale(scaled)
    assert back.dtype == torch.float64
    spread = np.abs(X.astype(np.float64) - X.astype(np.float64).mean(0)).max(0)
    error = np.abs(back.numpy() - X.astype(np.float64))
    assert (error <= 3e-7 * spread + 4e-16 * np.abs(X).max(0)).all()
    if dtype[0] != "f":
        assert same_bits(format.from_tensor(back), X)


@pytest.mark.parametrize("how", ["standard", "global"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int32"])
def test_a_large_offset_costs_no_digits(dtype: str, how: str) -> None:
    noise = np.random.default_rng(0).integers(-400, 400, (3000, 2))
    offset = np.array([2**30, -(2**30)]) if dtype != "float32" else np.array([2**20, -(2**20)])
    X = (noise + offset).astype(dtype)
    scaled = VectorFormat(how).fit(X)
    plain = VectorFormat(how).fit(noise.astype(np.float64))
    np.testing.assert_allclose(scaled.scaling_.step, plain.scaling_.step, rtol=1e-12)
    np.testing.assert_allclose(scaled.scale(scaled.to_tensor(X)), plain.scale(plain.to_tensor(noise)), atol=3e-7)


def test_the_chunks_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(1).normal(1e4, 3.0, (200, 4, 5)).astype(np.float32)
    whole = SeriesFormat("standard").fit(X)
    monkeypatch.setattr("isthmus.formats.arrays.CHUNK", 60)
    parts = SeriesFormat("standard").fit(X)
    np.testing.assert_allclose(whole.scaling_.offset, X.astype(np.float64).mean((0, 1)), rtol=1e-14)
    np.testing.assert_allclose(parts.scaling_.offset, whole.scaling_.offset, rtol=1e-14)
    np.testing.assert_allclose(parts.scaling_.step, X.astype(np.float64).std((0, 1)), rtol=1e-12)


def test_series_are_scaled_by_channel() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 7, 3)) * [1, 10, 0] + [5, -1e6, 4]
    format = SeriesFormat().fit(X)
    scaled = format.scale(format.to_tensor(X)).numpy()
    np.testing.assert_allclose(scaled.mean((0, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std((0, 2)), [1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(format.from_tensor(format.unscale(torch.from_numpy(scaled))), X, rtol=1e-7)
    assert format.constant_ == [2]
    assert format.unit == "standard deviations"


@pytest.mark.parametrize("value", [0.0, 0.1, -1e300, 5e-324, 1e9])
@pytest.mark.parametrize("how", ["standard", "global"])
def test_constant_columns_scale_to_zero_and_come_back_exactly(value: float, how: str) -> None:
    X = np.column_stack([np.full(9, value), np.arange(9.0)])
    format = VectorFormat(how).fit(X)
    scaled = format.scale(format.to_tensor(X))
    assert (scaled[:, 0] == 0).all()
    assert format.constant_ == [0]
    assert same_bits(format.from_tensor(format.unscale(scaled))[:, 0].copy(), X[:, 0].copy())
    assert VectorFormat(how).fit(Frame(X, ["a", "b"])).constant_ == ["a"]
    assert VectorFormat(how).fit(X[:1]).constant_ == [0, 1]


def test_a_column_in_which_only_the_rounding_differs_is_constant() -> None:
    rng = np.random.default_rng(0)
    shares = rng.random((500, 7))
    shares /= shares.sum(1, keepdims=True)
    total = shares.sum(1)
    assert len(set(total)) > 1
    X = np.column_stack([shares, total, 1e200 * total, 8e15 + rng.integers(0, 2, 500)])
    format = VectorFormat().fit(X)
    assert format.constant_ == [7, 8]  # whole numbers, such as the last column, are no result of rounding
    scaled = format.scale(format.to_tensor(X))
    assert scaled[:, 7:9].abs().max() < 1e-12
    assert scaled[:, 9].abs().max() > 0.5
    np.testing.assert_allclose(format.unscale(scaled), X, rtol=1e-7, atol=1e-7)
    stairs = np.ascontiguousarray(np.zeros((1, 2), "i4,i1")["f0"].T)  # a stride that is no multiple of the size
    assert same_bits(VectorFormat().fit(stairs).to_tensor(stairs), torch.zeros(2, 1, dtype=torch.int32))
    half = np.float16([[1000.0], [1000.5]])
    assert VectorFormat().fit(half).constant_ == []


@pytest.mark.parametrize("size", [1e300, 4e307, 1e-300, 1e160, 1e-40])
@pytest.mark.parametrize("how", ["standard", "global"])
def test_values_whose_squares_overflow_or_vanish_are_scaled(size: float, how: str) -> None:
    X = np.array([[-size, size], [size, -size / 2], [0, 0.3 * size]])
    format = VectorFormat(how).fit(X)
    scaled = format.scale(format.to_tensor(X))
    expected = reference(X / size, how)
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)
    np.testing.assert_allclose(format.unscale(scaled), X, rtol=1e-6)


def test_the_ends_of_float32_are_scaled() -> None:
    for size in (3e38, 1e-40):
        X = np.float32([[-size], [size], [size]])
        format = VectorFormat().fit(X)
        np.testing.assert_allclose(
            format.scale(format.to_tensor(X)), reference(X / np.float32(size), "standard"), rtol=1e-4
        )


def test_values_far_beyond_what_was_learned_are_refused_by_name() -> None:
    format = VectorFormat().fit(Frame(np.array([[1.0, 2], [2, 4]]), ["age", "pay"]))
    with pytest.raises(DataError, match=r'column "pay" holds 1e\+300, which is too far .* \(mean 3, deviation 1\)'):
        format.to_tensor([[1, 1e300]])
    with pytest.raises(DataError, match=r'column 1 holds -1e\+30, .*VectorFormat\("standard"\)'):
        VectorFormat("none").fit([[1, -1e30], [2, 3]])
    with pytest.raises(DataError, match=r"the items hold -1\.7e\+308, so close to the largest 64-bit float"):
        VectorFormat().fit([[1.0, -1.7e308]])
    series = SeriesFormat().fit(np.arange(24.0).reshape(2, 4, 3))
    with pytest.raises(DataError, match="channel 2 holds"):
        series.to_tensor(np.full((1, 4, 3), [0, 0, 1e300]))


def test_without_scaling_the_values_are_themselves() -> None:
    X = np.array([[1.5, -7], [1e6, 3]])
    format = VectorFormat("none").fit(X)
    scaled = format.scale(format.to_tensor(X))
    assert scaled.dtype == torch.float32
    assert same_bits(scaled.numpy(), X.astype(np.float32))
    assert same_bits(format.unscale(scaled).numpy(), X)
    assert format.unit == "the data's own unit"
    assert not format.unit_interval
    assert VectorFormat("none").fit([[0.2, 0.5]]).unit_interval


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_zeros_and_ones_stay_and_have_a_bernoulli_likelihood(dtype: str) -> None:
    X = np.array([[0, 1, 0], [1, 1, 0]], dtype=dtype)
    for items, Kind in ((X, VectorFormat), (X, SeriesFormat), (X[:, :, None], SeriesFormat)):
        format = Kind().fit(items)
        assert format.binary_
        assert format.unit_interval
        assert format.scale_ == "none"
        assert format.spec.levels == 2
        assert format.unit == "values 0 to 1"
        assert isinstance(format.likelihood(), Bernoulli)
        scaled = format.scale(format.to_tensor(items))
        assert scaled.dtype == torch.float32
        assert scaled.flatten().tolist() == [0, 1, 0, 1, 1, 0]
        assert same_bits(format.from_tensor(format.unscale(scaled)), items)
        with pytest.raises(DataError, match=r'holds 2, but every value learned from was 0 or 1.*scale="standard"'):
            format.to_tensor(items.astype(np.int64) * 2)
        scaled_anyway = Kind("standard").fit(items)
        assert scaled_anyway.binary_
        assert isinstance(scaled_anyway.likelihood(), Gaussian)
        assert scaled_anyway.scale(scaled_anyway.to_tensor(items)).min() < 0


def test_data_that_is_not_zeros_and_ones_has_a_gaussian_likelihood() -> None:
    for X in ([[0.0, 1.0], [0.5, 1.0]], [[0, 2], [1, 1]], [[0.0, 0.0]], [[1, 1], [1, 1]], [[-1, 1], [0, 0]]):
        format = VectorFormat().fit(X)
        assert not format.binary_
        assert format.spec.levels is None
        assert isinstance(format.likelihood(), Gaussian)
        assert format.scale_ == "standard"


@given(fields(), st.sampled_from(["auto", "standard", "global", "centre", "none"]), st.integers(1, 40))
def test_an_item_scales_to_the_same_bits_in_any_batch(drawn: tuple[np.ndarray, str], how: str, cut: int) -> None:
    X, _ = drawn
    format = VectorFormat(how).fit(X)
    scaled = format.scale(format.to_tensor(X))
    apart = torch.cat([format.scale(format.to_tensor(X[i : i + 1])) for i in range(len(X))])
    assert same_bits(scaled, apart)
    back = format.unscale(scaled)
    assert same_bits(back, torch.cat([format.unscale(scaled[:cut]), format.unscale(scaled[cut:])]))


def test_devices_without_float64_lose_no_digits_to_an_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling_module, "widest_float", lambda device: torch.float32)
    noise = np.random.default_rng(0).integers(-400, 400, (300, 2))
    for dtype, offset in (("int64", 2**36), ("int32", 2**30), ("float32", 2**20), ("uint16", 40000)):
        X = (noise + offset).astype(dtype)
        format = VectorFormat().fit(X)
        scaled = format.scale(format.to_tensor(X))
        np.testing.assert_allclose(scaled, reference(noise, "standard"), atol=3e-7)
        assert format.unscale(scaled).dtype == torch.float32


def test_gradients_pass_through_both_ways() -> None:
    X = np.random.default_rng(0).normal(5, 2, (6, 3))
    for dtype in (torch.float32, torch.float64):
        format = VectorFormat().fit(X)
        x = torch.from_numpy(X).to(dtype).requires_grad_()
        (format.unscale(format.scale(x)).sum()).backward()
        torch.testing.assert_close(x.grad, torch.ones_like(x))


# --- What is learned ---------------------------------------------------------------------------------------------


def test_fit_forgets_and_returns_itself() -> None:
    format = VectorFormat()
    assert format.fit(Frame(np.array([[0, 1], [1, 0]]), ["a", "b"])) is format
    X = np.array([[1.5, 2, 3], [4, 5, 9]], dtype=np.float32)
    fresh = VectorFormat().fit(X)
    format.scale(format.to_tensor([[0, 1]]))  # a scaling kept on a device is forgotten too
    assert format.fit(X).to_json() == fresh.to_json()
    assert same_bits(format.scale(format.to_tensor(X)), fresh.scale(fresh.to_tensor(X)))
    with pytest.raises(DataError):
        format.fit(X * np.nan)
    assert format.to_json() == fresh.to_json(), "a fit that fails leaves what was learned"


@pytest.mark.parametrize("how", ["auto", "standard", "global", "centre", "none"])
@given(drawn=fields(), frame=st.booleans(), series=st.booleans())
@settings(max_examples=25)
def test_json_keeps_everything(drawn: tuple[np.ndarray, str], how: str, frame: bool, series: bool) -> None:
    X, _ = drawn
    items: Any = Frame(X, [f"c{j}" for j in range(X.shape[1])]) if frame else X
    format: Format = (SeriesFormat if series else VectorFormat)(how).fit(items)
    saved = json.dumps(format.to_json(), allow_nan=False)
    again = format_from_json(json.loads(saved))
    assert type(again) is type(format)
    assert again.to_json() == format.to_json()
    assert again.spec == format.spec
    assert again.unit == format.unit
    assert repr(again) == repr(format)
    scaled = format.scale(format.to_tensor(items))
    assert same_bits(again.scale(again.to_tensor(items)), scaled)
    assert same_bits(again.from_tensor(again.unscale(scaled)), format.from_tensor(format.unscale(scaled)))


def test_names_of_columns_are_learned_and_compared() -> None:
    X = np.array([[1.0, 2], [2, 5]])
    format = VectorFormat().fit(Frame(X, ["age", "pay"]))
    assert format.origin_.columns == ("age", "pay")
    format.to_tensor(X)  # without names they cannot be compared
    VectorFormat().fit(X).to_tensor(Frame(X, ["age", "pay"]))
    with pytest.raises(FormatError, match=r'should match .*not learned: "wage"; missing: "pay"'):
        format.to_tensor(Frame(X, ["age", "wage"]))
    with pytest.raises(FormatError, match="they are in another order"):
        format.to_tensor(Frame(X, ["pay", "age"]))
    assert VectorFormat().fit(Frame(X, [0, ("a", 1)])).origin_.columns == ("0", "('a', 1)")
    assert VectorFormat().fit(Frame(X, ["one"])).origin_.columns is None  # names that do not fit are no names


def test_spec_unit_and_repr() -> None:
    X = np.random.default_rng(0).normal(size=(5, 3))
    assert VectorFormat().fit(X).spec == Spec("vector", (3,))
    assert SeriesFormat().fit(X[:, :, None]).spec == Spec("series", (1, 3))
    assert VectorFormat().fit(X).unit == "standard deviations"
    assert VectorFormat("global").fit(X).unit == "deviations of the whole"
    assert repr(VectorFormat("global")) == "<VectorFormat(scale='global'), not fitted>"
    X[:, 1] = 4
    assert (
        repr(VectorFormat().fit(X))
        == "<VectorFormat(scale='auto'): vector of 3, NumPy float64, in standard deviations, 1 constant>"
    )
    assert "series of 1 x 3, torch float32" in repr(SeriesFormat().fit(torch.from_numpy(X).float()))


@pytest.mark.parametrize("format", [VectorFormat(), SeriesFormat()])
def test_before_fit_the_error_is_that_of_scikit_learn(format: Format) -> None:
    for call in (
        lambda: format.to_tensor([[1]]),
        lambda: format.from_tensor(torch.zeros(1, 1)),
        lambda: format.scale(torch.zeros(1, 1)),
        lambda: format.unscale(torch.zeros(1, 1)),
        lambda: format.unit,
        format.likelihood,
        format.to_json,
    ):
        with pytest.raises(NotFittedError, match="call fit"):
            call()


@pytest.mark.parametrize("scale", ["sideways", None, 3, ["none"]])
def test_an_unknown_scale_is_a_setting_error(scale: Any) -> None:
    with pytest.raises(SettingError, match="choose one of auto, standard, global, centre, none"):
        VectorFormat(scale).fit([[1.0, 2]])


def test_shapes_that_were_not_learned_are_refused() -> None:
    vector = VectorFormat().fit([[1, 2], [3, 4]])
    series = SeriesFormat().fit(np.arange(12).reshape(2, 3, 2))
    for call in (vector.from_tensor, vector.scale, vector.unscale):
        with pytest.raises(FormatError, match=r"shape \(1,\) given, but this vector format learned \(2,\)"):
            call(torch.zeros(3, 1))
    for call in (series.from_tensor, series.scale, series.unscale):
        with pytest.raises(FormatError, match=r"shape \(2, 1\) given"):
            call(torch.zeros(3, 2, 1))
    assert len(vector.from_tensor(torch.zeros(0, 2))) == 0


def test_as_array_shares_memory_and_stored_does_where_it_can() -> None:
    X = np.ones((4, 3), dtype=np.float32)
    assert np.shares_memory(as_array(X)[1], X)
    assert np.shares_memory(stored(X).numpy(), X)
    assert not np.shares_memory(stored(X[:, ::2]).numpy(), X)


def test_listing() -> None:
    assert listing([]) == "none"
    assert listing("a") == "a"
    assert listing("ab") == "a and b"
    assert listing("abcdef") == "a, b, c, d, e and f"  # "1 more" would be no shorter
    assert listing("abcdefgh") == "a, b, c, d, e and 3 more"


def test_the_list_of_formats_is_light_and_exact() -> None:
    code = "import sys, isthmus.formats; print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
    import isthmus.formats

    assert all(hasattr(isthmus.formats, name) for name in isthmus.formats.__all__)
    assert dir(isthmus.formats) == sorted(isthmus.formats.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Table'; it has Column"):
        _ = isthmus.formats.Table


def test_a_real_frame_comes_in_with_its_names() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"age": [1, 2], "pay": [2.5, 3.0]})
    format = VectorFormat().fit(frame)
    assert format.origin_ == Origin("numpy", "float64", ("age", "pay"))


def test_an_arrow_table_comes_in_with_its_names() -> None:
    arrow = pytest.importorskip("pyarrow")
    format = VectorFormat().fit(arrow.table({"age": [1, 2], "pay": [2.5, 3.0]}))
    assert format.origin_ == Origin("numpy", "float64", ("age", "pay"))
    with pytest.raises(FormatError, match='read as numbers, but "name" is not numeric: give format="table"'):
        VectorFormat().fit(arrow.table({"age": [1, 2], "name": ["x", "y"]}))


def test_scaling_is_the_same_on_one_thread_and_on_two_and_exact_far_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.formats.arrays.CHUNK", 64)
    X = np.random.default_rng(0).standard_normal((3_000, 3)) * [1e-3, 1.0, 1e160] + [1e6, -1e9, 0.0]
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(VectorFormat("standard").fit(X).scaling_)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(found[0].offset, found[1].offset)
    assert np.array_equal(found[0].step, found[1].step)
    wide = X.astype(np.longdouble)
    deviation = np.sqrt(np.square(wide - wide.mean(0)).mean(0))
    assert np.abs((found[0].offset - wide.mean(0)) / deviation).max() < 1e-6
    np.testing.assert_allclose(found[0].step, deviation.astype(float), rtol=1e-6)
