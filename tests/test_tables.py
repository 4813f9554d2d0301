"""Tables: what columns are found to be, and the way to tensors and back."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from isthmus.errors import FormatError, IsthmusWarning, SettingError
from isthmus.formats import TableFormat, kinds, tables
from isthmus.formats.infer import format_from_json

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pytest.importorskip("datasketches")

from pandas.testing import assert_frame_equal  # noqa: E402

N = 400


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


KINDS = {
    "length": "continuous", "income": "continuous", "gain": "continuous", "age": "integer", "rooms": "integer",
    "member": "boolean", "town": "category", "grade": "ordinal", "born": "datetime", "seen": "datetime",
    "stay": "duration", "words": "text", "key": "identifier", "row": "identifier", "always": "constant",
    "never": "empty",
}  # fmt: skip


def kind_of(values: Any, **settings: Any) -> str:
    """What a column is found to be, beside one that can be learned."""
    made = TableFormat(**settings).fit(pd.DataFrame({"beside": np.linspace(0, 1, len(values)), "a": values}))
    return made.codes_[1].kind


# ---- kinds ---------------------------------------------------------------------------------------------------------


def test_kinds_are_found_and_shown(mixed: Any) -> None:
    found = {row["name"]: row for row in TableFormat().fit(mixed()).describe()}
    assert {name: row["kind"] for name, row in found.items()} == KINDS
    assert "heavy tails" in found["income"]["holds"]
    assert "heavy tails" not in found["length"]["holds"]
    assert "0 in 58%" in found["gain"]["holds"]
    assert found["never"]["missing"] == 1
    assert 0.05 < found["length"]["missing"] < 0.15
    assert found["seen"]["type"] == "timestamp[us, tz=Europe/Paris]"
    assert "day" in found["seen"]["holds"]
    assert "day" not in found["born"]["holds"], "dates have no time of day"
    for name in ("key", "row", "always", "never"):
        assert found[name]["note"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.arange(60.0) ** 2 / 7, "continuous"),
        (np.arange(60.0) ** 2, "integer"),
        ([True, False] * 30, "boolean"),
        (["a", "b"] * 30, "category"),
        ([f"{i % 29}" for i in range(60)], "category"),
        ([f"id-{i}" for i in range(60)], "identifier"),
        ([f"id-{i}" for i in range(40)], "text"),
        ([f"some words {i}" for i in range(60)], "text"),
        ([dt.time(i % 24, i) for i in range(60)], "datetime"),
        ([dt.date(2000, 1, 1 + i % 28) for i in range(60)], "datetime"),
        ([Decimal(i * i) / 4 for i in range(60)], "continuous"),
        (range(60), "identifier"),
        (np.delete(np.arange(100), np.arange(5, 100, 9)), "identifier"),  # a part of the rows
        (np.arange(60) * 2, "integer"),
        (range(7, 47), "integer"),
        ([3] * 60, "constant"),
        ([None] * 60, "empty"),
    ],
)
def test_what_a_column_is(values: Any, kind: str) -> None:
    assert kind_of(list(values)) == kind


def test_a_stream_gives_the_same_kinds_as_memory(tmp_path: Path, mixed: Any) -> None:
    frame = mixed(3000)
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=700)
    there, here = TableFormat().fit(tmp_path / "a.parquet"), TableFormat().fit(pa.Table.from_pandas(frame))
    assert [code.to_json() for code in there.codes_] == [code.to_json() for code in here.codes_]


def test_rows_of_large_tables_are_sketched_not_kept(monkeypatch: pytest.MonkeyPatch, mixed: Any) -> None:
    frame = mixed(3000)
    exact = TableFormat().fit(frame)
    monkeypatch.setattr(kinds, "EXACT", 100)
    sketched = TableFormat().fit(frame)
    for one, other in zip(exact.codes_, sketched.codes_, strict=True):
        assert one.kind == other.kind
        for a, b in zip(one.elements, other.elements, strict=True):
            assert_allclose(a.edges[1:-1], b.edges[1:-1], atol=0.1)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3] * 20, "category"), ([1.5, 2.5] * 30, "category"), ([1, 2, 3] * 20, "ordinal"),
        ([1, 2, 3] * 20, "continuous"), ([1.0, 2.0] * 30, "integer"), ([0, 1] * 30, "boolean"),
        (["a b", "c"] * 30, "text"), (list(range(60)), "integer"), ([4] * 60, "integer"), (["x"] * 60, "category"),
        ([1.0] * 60, "continuous"), (["a", "b"] * 30, "identifier"), ([1.5] * 30 + [2.0] * 30, "ignore"),
        ([dt.timedelta(seconds=i % 3) for i in range(60)], "category"),
        ([dt.time(i % 3) for i in range(60)], "category"),
        ([dt.datetime(2000, 1, 1)] * 60, "datetime"),
    ],
)  # fmt: skip
def test_what_the_user_says_is_believed(values: Any, kind: str) -> None:
    frame = pd.DataFrame({"beside": np.linspace(0, 1, len(values)), "a": values})
    made = TableFormat({"a": kind}).fit(frame)
    left_out = kind in ("identifier", "ignore")
    assert made.codes_[1].kind == ("identifier" if left_out else kind)
    assert bool(made.codes_[1].elements) != left_out
    assert_frame_equal(made.from_tensor_of(made.to_tensor(frame), frame), frame)


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        (["a"] * 9, "continuous", 'the column holds large_string, which cannot be read so; give "boolean"'),
        ([1.5, 2.5], "integer", 'numbers that are not whole; round it first, or give "continuous"'),
        ([1, 2, 3], "boolean", 'more than two values; give "category"'),
        (pd.Categorical([1, 2]), "continuous", "cannot be read so"),
        ([1, 2], "colour", "expected one of continuous, integer, boolean"),
    ],
)
def test_kinds_that_do_not_go_with_a_column_are_refused(values: Any, kind: str, says: str) -> None:
    with pytest.raises((FormatError, SettingError), match=says) as raised:
        kind_of(values, kinds={"a": kind})
    assert '"a"' in str(raised.value)


def test_settings_that_are_none() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    with pytest.raises(SettingError, match='names the column "b", which the table does not have; it has "a"'):
        TableFormat({"b": "text"}).fit(frame)
    with pytest.raises(SettingError, match="expected a dict"):
        TableFormat(["text"]).fit(frame)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="view='flat'"):
        TableFormat(view="flat").fit(frame)


def test_levels_that_differ_by_case_or_spaces_are_noted() -> None:
    made = TableFormat().fit(pd.DataFrame({"c": ["Red", "red ", "blue"] * 10}))
    assert made.codes_[0].note == "levels 'Red' and 'red ' differ by case or spaces alone"
    assert made.codes_[0].levels == ("Red", "blue", "red ")


def test_a_column_of_numbers_but_for_a_few_cells_is_noted() -> None:
    numbers = [f"{number / 10}" for number in range(100, 190)]
    made = TableFormat().fit(pd.DataFrame({
        "one": [*numbers, "heavy", "10.0"], "more": [*numbers, "1,5e3", "-"], "zip": [f"{i:05}" for i in range(46)] * 2,
        "few": ["1", "2", "x", "1"] * 23, "half": [*numbers[:46], *map(chr, range(65, 111))],
    }), )  # fmt: skip
    noted = {code.name: code.note for code in made.codes_}
    assert noted["one"] == "numbers but for 'heavy': mend it to learn numbers"
    assert noted["more"] == "numbers but for '-': mend it to learn numbers"
    assert not any("numbers" in noted[name] for name in ("zip", "few", "half"))


# ---- round trips ---------------------------------------------------------------------------------------------------


def test_every_kind_comes_back(mixed: Any) -> None:
    frame = mixed()
    made = TableFormat()
    stored = made.fit_tensor(frame)
    assert stored.dtype == torch.uint8
    assert_frame_equal(made.from_tensor_of(stored, frame), frame)
    alone = made.from_tensor(stored)
    assert_frame_equal(alone.drop(columns="key"), frame.drop(columns="key"))
    assert alone["key"].isna().all()


SMALL = st.integers(-90, 90)
SHORT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
PANDAS = {
    **{f"{sign}int{bits}": st.integers(0, 2**7 - 1) for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"{sign}{bits}": st.integers(0, 2**7 - 1) for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": st.floats(-1000, 1000, width=bits) for bits in (16, 32, 64)},
    **{f"Float{bits}": st.floats(-1000, 1000, width=bits) for bits in (32, 64)},
    **{f"datetime64[{unit}]": SMALL for unit in ("s", "ms", "us", "ns")},
    **{f"timedelta64[{unit}]": SMALL for unit in ("s", "ns")},
    "datetime64[us, Europe/Paris]": SMALL, "datetime64[ns, +05:30]": SMALL,
    "bool": st.booleans(), "boolean": st.booleans(), "str": SHORT, "string": SHORT, "category": SHORT,
    "object": SHORT, "int64[pyarrow]": st.integers(-(2**63) + 1, 2**63 - 1), "bool[pyarrow]": st.booleans(),
    "uint64[pyarrow]": st.integers(0, 2**64 - 2), "string[pyarrow]": SHORT,
}  # fmt: skip
WITHOUT_HOLES = ("int", "uint", "bool")


@st.composite
def frames(draw: Any) -> Any:
    n = draw(st.integers(1, 40))
    columns: dict[str, Any] = {"beside": pd.Series(np.linspace(-1, 1, n))}
    for place in range(draw(st.integers(1, 4))):
        dtype = draw(st.sampled_from(sorted(PANDAS)))
        few = draw(st.lists(PANDAS[dtype], min_size=1, max_size=4)) if draw(st.booleans()) else None
        cell = st.sampled_from(few) if few else PANDAS[dtype]
        if not dtype.startswith(WITHOUT_HOLES) or "pyarrow" in dtype:
            cell = st.none() | cell
        values = pd.Series(draw(st.lists(cell, min_size=n, max_size=n)), dtype=object)
        if "64[" in dtype and "int" not in dtype:
            values = values.astype("Int64")
        if dtype.startswith(("float", "datetime")):
            values = values.astype("Float64" if dtype[0] == "f" else "datetime64[us]")
        if "," in dtype:
            values = values.dt.tz_localize("UTC")
        columns[draw(SHORT) + str(place)] = values.astype(dtype)
    return pd.DataFrame(columns)


@given(frames())
@settings(max_examples=60)
def test_from_tensor_undoes_to_tensor(frame: Any) -> None:
    made = TableFormat(dict.fromkeys(frame.columns[1:], "category") if len(frame) == 13 else None)
    stored = made.fit_tensor(frame)
    assert_frame_equal(made.from_tensor_of(stored, frame), frame)
    again = format_from_json(json.loads(json.dumps(made.to_json(), allow_nan=False)))
    assert again.to_json() == made.to_json()
    assert_array_equal(again.to_tensor(frame), stored)
    assert_frame_equal(again.from_tensor(stored), made.from_tensor(stored))


@given(frames())
@settings(max_examples=40)
@example(pd.DataFrame({"beside": [-1.0, -0.5, 0.0, 0.5, 1.0], "far": [0, 0, 0, 0, 512 - 2**63]}))
def test_unscale_undoes_scale_within_the_resolution(frame: Any) -> None:
    made = TableFormat()
    stored = made.fit_tensor(frame)
    scaled = made.scale(stored)
    assert scaled.dtype == torch.float32
    assert scaled.shape == (len(frame), *made.spec.shape)
    again = made.unscale(scaled)
    assert_array_equal(np.isnan(made.scale(again).numpy()), np.isnan(scaled.numpy()))
    for code, place in made._placed():
        one, other = (tables._own(rows.numpy(), place, code) for rows in (stored, again))
        if code.word == "number":
            x, y = code._values(one), code._values(other)
            apart = 4 * max(abs(code.low), abs(code.high), code.deviation) * 2.0**-23
            unit = 1.0 if code.whole else 0.0 if code.decimals is None else 10.0**-code.decimals
            assert_allclose(y, x, atol=max(apart, unit) if apart > 0.4 * unit else apart)
        elif code.word == "time":
            assert_allclose(other / code.step, one / code.step, atol=4e-6 * max(1, (code.high - code.low) / code.step))
        else:
            assert_array_equal(other, one)


@pytest.mark.parametrize("holes", [0, 3])
def test_arrow_types_come_back(holes: int) -> None:
    i = drawn().integers(0, 50, N)
    columns = {
        "date32": pa.array(i.astype(np.int32)).cast(pa.date32()), "time32": pa.array(i.astype("i4"), pa.time32("s")),
        "date64": pa.array(i * 86_400_000).cast(pa.date64()), "time64": pa.array(i * 10**9, pa.time64("ns")),
        "uint64": pa.array(i.astype(np.uint64) + np.uint64(2**63)), "far": pa.array(i + 2**60),
        "decimal": pa.array([Decimal(int(j)) / 4 for j in i], pa.decimal128(10, 2)),
        "decimal32": pa.array([Decimal(int(j)) / 4 for j in i], pa.decimal32(5, 2)),
        "zone": pa.array(i * 10**6, pa.timestamp("ms", "America/New_York")),
        "view": pa.array(map(str, i), pa.string_view()),
        "constant": pa.array([Decimal("1.23")] * N, pa.decimal128(5, 2)), "big": pa.array([2**64 - 2] * N, pa.uint64()),
        "of times": pa.array(i.astype("i4") // 9, pa.time32("s")).dictionary_encode(),
        "of numbers": pa.array(i // 9).dictionary_encode(), "nothing": pa.nulls(N),
        "ordered": pa.DictionaryArray.from_arrays(pa.array(i % 2), ["c", "b", "a"], ordered=True),
    }  # fmt: skip
    if holes:
        empty = pa.array(np.arange(N) % holes == 0)
        columns = {name: pa.compute.if_else(empty, None, array) for name, array in columns.items()
                   if not pa.types.is_dictionary(array.type) and name != "view"}  # fmt: skip
    table = pa.table(columns)
    made = TableFormat()
    back = made.from_tensor(made.fit_tensor(table))
    for name in columns:
        assert back.schema.field(name).type == table.schema.field(name).type
        assert back[name].equals(table[name]), name


def test_categories_come_back_in_their_order_seen_or_not() -> None:
    values = ["b", "a", "b", None] * 5
    frame = pd.DataFrame({
        "some": pd.Categorical(values, ["z", "a", "b"]),
        "ordered": pd.Categorical(values, ["b", "q", "a"], ordered=True),
        "one": pd.Categorical(["b"] * 20, ["c", "b"]),
        "none": pd.Categorical([None] * 20, ["c", "b"]),
        "numbers": pd.Categorical([3, 1, 1, None] * 5, [7, 3, 1]),
    })  # fmt: skip
    made = TableFormat()
    assert_frame_equal(made.from_tensor(made.fit_tensor(frame)), frame)
    assert made.codes_[0].levels == ("b", "a"), "what was never seen is no level"
    enum = pl.DataFrame({"e": pl.Series(["b", "a"] * 9, dtype=pl.Enum(["z", "a", "b"]))})
    assert made.from_tensor(made.fit_tensor(enum)).equals(enum)
    assert made.from_tensor(made.fit_tensor(enum)).schema == enum.schema


@pytest.mark.parametrize("make", [pl.from_pandas, pa.Table.from_pandas, lambda frame: frame])
def test_the_kind_of_frame_comes_back(make: Any, mixed: Any) -> None:
    frame = make(mixed()[["age", "length", "town", "seen"]])
    made = TableFormat()
    assert made.from_tensor(made.fit_tensor(frame)).equals(frame)


def test_the_two_zeros_are_one_level() -> None:
    made = TableFormat({"c": "category"})
    assert made.from_tensor(made.fit_tensor({"c": [0.0, -0.0, 1.0]})) == {"c": [0.0, 0.0, 1.0]}
    assert made.codes_[0].levels == (0.0, 1.0)
    made = TableFormat()
    assert made.from_tensor(made.fit_tensor({"c": ["x", "y"], "z": [-0.0, None]}))["z"] == [0.0, None]


def test_dicts_and_records_come_back() -> None:
    made = TableFormat()
    columns = {"x": [1.5, 2.5, None], "y": ["a", "b", "a"]}
    assert made.from_tensor(made.fit_tensor(columns)) == columns
    records = [{"x": 1.5, "y": "a"}, {"x": None, "y": "b"}]
    assert made.from_tensor(made.fit_tensor(records)) == records


@pytest.mark.parametrize(
    ("texts", "back"),
    [
        (["é" * 40, "a" + "é" * 40], ["é" * 16, "a" + "é" * 15]),
        (["\U0001f600" * 9, "ab\U0001f600" * 9], ["\U0001f600" * 8, "ab\U0001f600" * 5 + "ab"]),
        (["a\0b", "ends"], ["a", "ends"]),
        (["", "x"], ["", "x"]),
    ],
)
def test_texts_are_kept_to_32_bytes_of_whole_characters(texts: list[str], back: list[str]) -> None:
    made = TableFormat({"t": "text"})
    stored = made.fit_tensor({"t": [*texts, None]})
    assert made.from_tensor(stored)["t"] == [*back, None]
    assert [bytes(row).rstrip(b"\0").decode() for row in stored[:-1].tolist()] == back, "no half characters are kept"


@given(st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=40), min_size=2, max_size=20))
@settings(max_examples=30)
def test_texts_are_cut_as_python_cuts_them(texts: list[str | None]) -> None:
    if {*texts} - {None, ""}:
        made = TableFormat({"t": "text"})
        wanted = [t if t is None else t.split("\0")[0].encode()[:32].decode(errors="ignore") for t in texts]
        assert made.from_tensor(made.fit_tensor({"t": texts, "x": list(range(len(texts)))}))["t"] == wanted


def test_values_at_the_end_of_their_range() -> None:
    made = TableFormat()
    whole = pd.DataFrame({"i": np.array([-(2**63) + 1, 2**63 - 1, 0] * 5), "u": np.array([0, 2**64 - 2, 7] * 5, "u8")})
    assert_frame_equal(made.from_tensor(made.fit_tensor(whole)), whole)
    marks = pd.DataFrame({"i": np.array([-(2**63), 0]), "u": np.array([2**64 - 1, 0], "u8")})
    with pytest.warns(
        IsthmusWarning, match=r'held to what the column can hold, in "i" \(1 cells\) and "u" \(1 cells\)'
    ):
        stored = made.fit_tensor(marks)
    assert made.from_tensor(stored).to_dict("list") == {"i": [-(2**63) + 1, 0], "u": [2**64 - 2, 0]}
    times = pa.table({"t": pa.array([-(2**63) + 1, 2**63 - 1, 5] * 5, pa.timestamp("ns"))})
    stored = made.fit_tensor(times)
    assert made.from_tensor(stored).equals(times)
    again = made.from_tensor(made.unscale(made.scale(stored)))["t"].cast(pa.int64()).to_numpy()
    assert_allclose(again.astype(float), times["t"].cast(pa.int64()).to_numpy().astype(float), atol=2e12)


def test_dates_outside_the_nanosecond_range() -> None:
    frame = pd.DataFrame({"d": pd.Series(["1066-10-14", "3000-01-01", "9999-12-31"] * 9).astype("datetime64[s]")})
    made = TableFormat()
    assert_frame_equal(made.from_tensor(made.fit_tensor(frame)), frame)
    assert_frame_equal(made.from_tensor(made.unscale(made.scale(made.to_tensor(frame)))), frame)


def test_moments_come_back_from_the_scaled_view_to_their_grain(mixed: Any) -> None:
    frame = mixed()[["born", "seen", "stay"]]
    made = TableFormat()
    again = made.from_tensor(made.unscale(made.scale(made.fit_tensor(frame))))
    assert_frame_equal(again[["born"]], frame[["born"]])
    assert (again["seen"] - frame["seen"]).abs().max() <= pd.Timedelta(1, "s")
    assert (again["stay"] - frame["stay"]).abs().max() <= pd.Timedelta(3, "s")


@pytest.mark.parametrize("hours", [(0, 24), (9, 17), (12, 12.2)])
def test_cycles_are_standardised_whatever_part_of_them_is_used(hours: tuple[float, float]) -> None:
    r = drawn()
    seconds = r.integers(0, 900, 2000) * 86_400 + (3600 * r.uniform(*hours, 2000)).astype(int)
    table = pa.table({"t": pa.array(seconds, pa.timestamp("s"))})
    made = TableFormat()
    scaled = made.scale(made.fit_tensor(table)).numpy()
    assert scaled.shape[1] == 7
    assert_allclose(scaled.mean(0), 0, atol=1e-3)
    assert_allclose(scaled.std(0), 1, atol=0.02)
    assert made.from_tensor(made.unscale(torch.from_numpy(scaled))).equals(table)


# ---- the scaled and the linear view --------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-100, 1e-6, 1, 1e30, 1e140])
@pytest.mark.parametrize("shift", [0, 1e9])
def test_numbers_have_mean_0_and_deviation_1_at_any_scale(scale: float, shift: float) -> None:
    x = (shift + drawn().standard_normal(N)) * scale
    scaled = TableFormat().fit(pd.DataFrame({"x": x}))
    assert_allclose(scaled.scale(scaled.to_tensor(pd.DataFrame({"x": x}))).numpy(), ((x - x.mean()) / x.std())[:, None],
                    atol=1e-5)  # fmt: skip


def test_narrow_columns_keep_what_they_say() -> None:
    """A millionth around a billion is a thousand steps of float64, and no constant."""
    x = 1e9 + 1e-3 * drawn().standard_normal(N)
    made = TableFormat()
    scaled = made.scale(made.fit_tensor(pd.DataFrame({"x": x})))
    assert_allclose(scaled.std(), 1, atol=0.01)


def test_heavy_tails_are_drawn_in_and_come_back(mixed: Any) -> None:
    frame = mixed()[["income", "gain"]]
    made = TableFormat()
    scaled = made.scale(made.fit_tensor(frame))
    assert float(scaled[:, 0].abs().max()) < 9 < float(np.ptp(frame["income"]) / frame["income"].std())
    again = made.from_tensor(made.unscale(scaled))
    assert_allclose(again, frame, rtol=1e-5, atol=1e-4)
    assert_array_equal(again["gain"] == 0, frame["gain"] == 0)
    assert set(scaled[:, 2].tolist()) == {0.0, 1.0}
    assert_array_equal(scaled[:, 1].isnan(), scaled[:, 2] == 1)


def test_columns_together_and_one_by_one_are_the_same(mixed: Any) -> None:
    """Columns of a dtype are scaled together, for speed; each code knows how it is done by itself."""
    made = TableFormat()
    stored = made.fit_tensor(mixed())
    scaled = made.scale(stored).numpy()
    for (code, place), first in zip(made._placed(), made._layout.firsts, strict=True):
        alone = code.spread(tables._own(stored.numpy(), place, code))
        assert_allclose(alone, scaled[:, first : first + alone.shape[1]], atol=2e-6, err_msg=code.name)


def test_the_linear_view_has_mean_0_and_variance_1_a_column(mixed: Any) -> None:
    frame = mixed(2000)
    made = TableFormat(view="linear")
    linear = made.scale(made.fit_tensor(frame)).double()
    assert_allclose(np.nanmean(linear, axis=0), 0, atol=0.03)
    spreads = torch.nan_to_num(linear).square().mean(0).numpy()
    start = 0
    for code in made.codes_:
        one = TableFormat()
        one._settle((code,), made.container_) if code.elements else None
        width = one._lines.width if code.elements else 0
        total = spreads[start : start + width].sum() / max(1 - code.missing, 1e-9)
        if code.kind == "text":
            assert 0.3 < total < 1.1
        elif width:
            assert abs(total - 1) < 0.05, code.name
        start += width
    assert start == linear.shape[1]


def test_the_linear_view_comes_back(mixed: Any) -> None:
    frame = mixed()[["length", "gain", "age", "rooms", "member", "town", "grade", "born"]].dropna()
    frame = frame.reset_index(drop=True)
    made = TableFormat(view="linear")
    again = made.from_tensor(made.unscale(made.scale(made.fit_tensor(frame))))
    assert_frame_equal(again, frame, check_exact=False, rtol=1e-5, atol=1e-5)
    assert made.lines() is made


def test_the_weighed_view_weighs_columns_as_networks_do(mixed: Any) -> None:
    frame = mixed(2000)
    plain, weighed = TableFormat(view="linear"), TableFormat(view="weighed")
    x, stored = plain.scale(plain.fit_tensor(frame)), weighed.fit_tensor(frame)
    y = weighed.scale(stored)
    assert weighed.spec == plain.spec
    assert weighed.lines().to_json() == plain.to_json()
    assert_allclose(weighed.linear(y), x, atol=1e-5)  # and NaN where that is
    variances, lines = np.nanvar(y.double().numpy(), axis=0), weighed._view
    for place, element in enumerate(lines.kept):
        column = [element for code in weighed.codes_ for element in code.elements][element]
        own = float(variances[lines.owner.numpy() == place].sum())
        differ = 1 - sum(share**2 for share in column.shares)
        if column.kind in ("category", "ordinal", "boolean"):
            assert own == pytest.approx(differ, rel=0.05), column.name
        elif column.name == "gain":
            assert own == pytest.approx(0.5 * differ if column.levels else 1, rel=0.05)
            assert not y[:, lines.owner.numpy() == place].isnan().any()  # a number where the column is 0, too
        elif column.name in ("length", "income", "age"):
            assert own == pytest.approx(1, rel=0.05), column.name
    there = frame[["length", "gain", "age", "rooms", "member", "town", "grade", "born"]].dropna().reset_index(drop=True)
    made = TableFormat(view="weighed")
    again = made.from_tensor(made.unscale(made.scale(made.fit_tensor(there))))
    assert_frame_equal(again, there, check_exact=False, rtol=1e-5, atol=1e-5)
    assert format_from_json(json.loads(json.dumps(weighed.to_json()))).to_json() == weighed.to_json()


def test_a_mean_of_all_rows_becomes_that_of_those_beside_the_frequent_value() -> None:
    values = np.where(drawn().random(3000) < 0.6, 0.0, drawn(1).normal(50, 9, 3000))
    made = TableFormat(view="weighed").fit(pd.DataFrame({"a": values, "b": drawn(2).normal(size=3000)}))
    lines = made._view
    view = made.scale(made.to_tensor(pd.DataFrame({"a": values, "b": np.zeros(3000)}))).mean(0)
    guess = made.beside(made.guess(made.likelihood(), view[None, None]))
    assert guess.chances[1][0, 1] == pytest.approx(0.6, abs=0.02)
    assert made.codes_[0].unscaled(guess.numbers[0][0])[0] == pytest.approx(50, abs=1)
    expected = made.codes_[0].moments(*guess.numbers[0], guess.chances[1][:, 1])[0]
    assert expected[0] == pytest.approx(values.mean(), abs=0.5)
    assert lines.spiked[0][0] == 0


def test_durations_come_back_in_the_grain_that_they_had() -> None:
    seconds = pd.to_timedelta(drawn().integers(0, 5000, 300) * 15, "s")
    made = TableFormat()
    stored = made.fit_tensor(pd.DataFrame({"stay": seconds, "kind": ["a", "b"] * 150}))
    again = made.from_tensor(made.unscale(made.scale(stored) + 1e-4)).stay
    assert (again.dt.total_seconds() % 15 == 0).all()
    assert again.dtype == seconds.dtype
    assert (
        made.describe()[0]["holds"] == f"{seconds.min().total_seconds():.6g} to {seconds.max().total_seconds():.6g} s"
    )
    assert format_from_json(json.loads(json.dumps(made.to_json()))).to_json() == made.to_json()
