"""Tables that are not what was learned, bad ones, damaged files of theirs, and large ones."""

from __future__ import annotations

import copy
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from isthmus.errors import DamagedFileError, DataError, FormatError, IsthmusError, IsthmusWarning
from isthmus.formats import TableFormat, format_of, kinds, tables
from isthmus.formats.infer import format_from_json
from isthmus.formats.rows import Rows
from isthmus.models import PCA

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pytest.importorskip("datasketches")

from pandas.testing import assert_frame_equal  # noqa: E402

N = 400


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- another schema ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned(mixed: Any) -> Any:
    return TableFormat().fit(mixed())


def test_order_is_mended_and_what_is_left_out_need_not_be_there(learned: Any, mixed: Any) -> None:
    frame = mixed()
    assert_array_equal(learned.to_tensor(frame[frame.columns[::-1]]), learned.to_tensor(frame))
    assert_array_equal(
        learned.to_tensor(frame.drop(columns=["key", "row", "always", "never"])), learned.to_tensor(frame)
    )
    assert_array_equal(learned.to_tensor(pl.from_pandas(frame)), learned.to_tensor(frame)), "another kind of frame"


def test_a_missing_column_is_refused_and_one_without_values_will_do(learned: Any, mixed: Any) -> None:
    frame = mixed()
    with pytest.raises(FormatError, match='missing: "age" and "town". A column without values will do'):
        learned.to_tensor(frame.drop(columns=["age", "town"]))
    stored = learned.to_tensor(frame.assign(age=None, town=None))
    assert learned.from_tensor(stored)[["age", "town"]].isna().all(axis=None)


def test_another_column_is_left_aside_with_a_warning(learned: Any, mixed: Any) -> None:
    frame = mixed()
    with pytest.warns(IsthmusWarning, match='columns not learned from are left aside: "new"'):
        stored = learned.to_tensor(frame.assign(new=1))
    assert_array_equal(stored, learned.to_tensor(frame))


def test_levels_never_seen_are_missing_with_a_warning(learned: Any, mixed: Any) -> None:
    frame = mixed()
    frame.loc[:2, "town"] = ["Pisa", "Rome", "Pisa"]
    with pytest.warns(IsthmusWarning, match=r'never seen in learning are read as missing, in "town" \(2 cells\)'):
        stored = learned.to_tensor(frame)
    assert learned.from_tensor(stored)["town"][:3].isna().tolist() == [True, False, True]
    frame = mixed().assign(grade=pd.Categorical(["low", "top"] * (N // 2)))
    with pytest.warns(IsthmusWarning, match=rf'"grade" \({N // 2} cells\)'):
        learned.to_tensor(frame)


def test_other_types_are_converted(learned: Any, mixed: Any) -> None:
    frame = mixed()
    wanted = learned.to_tensor(frame)
    other = frame.astype({"age": "float64", "rooms": "float64", "member": "object", "town": "category", "grade": "str"})
    other = other.assign(born=frame["born"].astype("datetime64[ms]"), stay=frame["stay"].astype("timedelta64[ms]"))
    assert_array_equal(learned.to_tensor(other), wanted)


def test_whole_numbers_are_given_as_fractions_or_too_large(learned: Any, mixed: Any) -> None:
    frame = mixed().astype({"age": "float64"})
    frame.loc[:1, "age"] = [33.4, np.nan]
    with pytest.warns(IsthmusWarning, match=r'rounded to whole ones, or held .* in "age" \(1 cells\)'):
        back = learned.from_tensor(learned.to_tensor(frame))
    assert back["age"][0] == 33
    assert pd.isna(back["age"][1])
    narrow = TableFormat().fit(pd.DataFrame({"a": np.array([1, 2, 3], np.int8)}))
    with pytest.warns(IsthmusWarning, match=r'whole numbers are held to what the column can hold, in "a" \(1 cells\)'):
        stored = narrow.to_tensor(pd.DataFrame({"a": [2, 2**40]}))
    assert narrow.from_tensor(stored)["a"].tolist() == [2, 127]


@pytest.mark.parametrize(
    ("name", "values"),
    [("age", "old"), ("length", "long"), ("born", "then"), ("born", 3), ("stay", 3), ("age", pd.Timedelta("1s")),
     ("length", pd.Timestamp("2000-01-01")), ("member", 2.5),
     ("seen", pd.Timestamp("2021-01-01")), ("born", pd.Timestamp("2021-01-01", tz="UTC"))],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused_by_name(learned: Any, name: str, values: Any, mixed: Any) -> None:
    with pytest.raises(FormatError, match=f'column "{name}" holds .* cannot be read as .*, the type learned'):
        learned.to_tensor(mixed().assign(**{name: values}))


@pytest.mark.parametrize(("name", "text"), [("age", "fifty"), ("born", "19/12/2023"), ("member", "perhaps")])
def test_the_cell_that_cannot_be_converted_is_told(learned: Any, name: str, text: str, mixed: Any) -> None:
    frame = mixed()
    own = frame[name].astype("str").where(frame[name].notna(), None)
    with pytest.raises(FormatError, match=rf'column "{name}" holds .{text}. in row 217, which cannot be read as'):
        learned.to_tensor(frame.assign(**{name: own.where(frame.index != 217, text)}))


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["length", "age"])
def test_infinity_is_refused_by_row(learned: Any, name: str, mixed: Any) -> None:
    frame = mixed().astype({name: "float64"})
    frame.loc[[17, 20], name] = [math.inf, -math.inf]
    for call in (TableFormat().fit_tensor, learned.to_tensor):
        with pytest.raises(DataError, match=rf'column "{name}" holds infinity \(first in row 17\)'):
            call(frame)


def test_numbers_that_cannot_be_squared_are_refused() -> None:
    beside = np.linspace(0, 1, 20)
    for values in (np.full(20, 1e300), np.where(beside > 0.5, 1e200, beside)):
        with pytest.raises(DataError, match='column "x" holds .*(beyond|too large for)'):
            TableFormat().fit_tensor(pd.DataFrame({"x": values + beside * 1e299, "y": beside}))


def test_float32_overflow_is_refused_by_row() -> None:
    made = TableFormat().fit(pd.DataFrame({"x": np.linspace(0, 1, 20, dtype=np.float32)}))
    with pytest.raises(
        DataError, match=r"holds 1e\+39 \(first in row 3\), too large for 32-bit floats.* fit again with"
    ):
        made.to_tensor(pd.DataFrame({"x": [0.0, 1.0, 2.0, 1e39]}))


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (pd.DataFrame({"a": [1, "x", 2.5]}), 'column "a" holds a whole number in row 0 and text in row 1'),
        (pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]), "two columns have the name 'a'"),
        (pd.DataFrame(np.ones((3, 2)), columns=[1, "1"]), "two columns have the name '1'"),
        (pd.DataFrame({"a": []}), "0 rows"),
        (pd.DataFrame({"a": [[1], [2]]}), 'column "a" holds a list in row 0'),
        (pd.DataFrame({"a": [1] * 60, "b": range(60)}), r'no column to learn from: "a" \(constant\) and "b"'),
    ],
)
def test_tables_that_are_none(items: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        TableFormat().fit(items)


def test_a_constant_table_can_be_learned_when_the_user_says_so() -> None:
    made = TableFormat({"a": "continuous"})
    frame = pd.DataFrame({"a": [2.5] * 9})
    assert_frame_equal(made.from_tensor(made.fit_tensor(frame)), frame)


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    for name, text in (("none.csv", ""), ("head.csv", "a,b\n"), ("none.jsonl", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=name):
            TableFormat().fit(tmp_path / name)


# ---- files of the format -------------------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in JSON; of a list, to its first."""
    inside = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))[:1]
        if isinstance(value, list)
        else []
    )
    if path == ("columns",):
        inside = list(enumerate(value))
    return [path, *(found for key, part in inside for found in places(part, (*path, key)))]


def test_a_tampered_file_is_refused_or_means_something(mixed: Any) -> None:
    frame = mixed(60)
    saved = json.loads(json.dumps(TableFormat().fit(frame).to_json()))
    refused = 0
    for path in places(saved)[1:]:
        for value in (None, -1, "x", [1, "a"], 10**400):
            other = copy.deepcopy(saved)
            inside = other
            for key in path[:-1]:
                inside = inside[key]
            inside[path[-1]] = value
            try:
                made = format_from_json(other)
            except DamagedFileError:
                refused += 1
                continue
            try:  # what is let through is a format: it works, or says that a table is not what it learned
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    made.from_tensor(made.unscale(made.scale(made.to_tensor(frame))))
            except IsthmusError:
                continue
    assert refused > 400


@pytest.mark.parametrize("key", ["word", "view", "kinds", "container", "columns"])
def test_what_is_lacking_is_named(key: str, mixed: Any) -> None:
    saved = TableFormat().fit(mixed(60)).to_json()
    del saved[key]
    with pytest.raises(DamagedFileError, match=f'"{key}"|"word"'):
        format_from_json(saved)


# ---- large ones ----------------------------------------------------------------------------------------------------


def test_the_stored_view_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mixed: Any) -> None:
    frame = mixed(3000)
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=700)
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    here = TableFormat().fit_tensor(tmp_path / "a.parquet")
    monkeypatch.setattr(tables, "fits_in_memory", lambda size: False)
    there = TableFormat().fit_tensor(tmp_path / "a.parquet")
    assert isinstance(there, Rows)
    assert_array_equal(there[:], here)


@pytest.mark.parametrize("scale", [1e-140, 1e-155, 1e-200, 1e-300])
def test_numbers_whose_squares_vanish_come_back(scale: float) -> None:
    x = np.random.default_rng(0).normal(size=200)
    frame = pd.DataFrame({"x": x * scale, "y": x, "c": ["a", "b"] * 100})
    back = PCA(2).fit(frame).reconstruct(frame)
    assert np.corrcoef(back["x"] / scale, x)[0, 1] > 0.99
    form = TableFormat().fit(frame)
    np.testing.assert_array_equal(form.from_tensor(form.to_tensor(frame))["x"], frame["x"])


def test_levels_beyond_the_bound_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "MOST_LEVELS", 30)
    values = [f"l{i % 15}" for i in range(300)] + [f"r{i}" for i in range(100)] * 2
    made = TableFormat()
    with pytest.warns(IsthmusWarning, match="never seen in learning are read as missing"):
        stored = made.fit_tensor(pd.DataFrame({"c": values}))
    assert made.codes_[0].note == "only the 15 most frequent levels are told apart"
    assert made.from_tensor(stored)["c"][:300].tolist() == values[:300]


def test_many_levels_are_digits() -> None:
    """70,000 levels cost a network three choices of 256, and come back."""
    codes = np.concatenate([np.arange(70_000), drawn().integers(0, 70_000, 80_000)])
    frame = pd.DataFrame({"c": pd.Series(codes).astype(str)})
    made = TableFormat()
    stored = made.fit_tensor(frame)
    assert [column.levels for column in made.spec.columns] == [256, 256, 2]
    assert stored.shape == (len(frame), 4)
    assert_frame_equal(made.from_tensor(made.unscale(made.scale(stored))), frame)


def test_five_thousand_columns() -> None:
    r = drawn()
    columns = {f"c{j}": r.choice(["a", "b"], 20) if j % 5 == 0 else r.standard_normal(20) for j in range(5000)}
    table = pa.table(columns)
    made = TableFormat()
    stored = made.fit_tensor(table)
    assert made.n_features == 5000
    assert made.from_tensor(stored).equals(table)
    assert_array_equal(made.scale(stored)[:, ::5] == 1, np.stack([table[f"c{5 * j}"] for j in range(1000)], 1) == [
        made.codes_[5 * j].levels[1] for j in range(1000)])  # fmt: skip


@pytest.mark.parametrize("rows", [1, 2])
def test_one_row_and_two(rows: int, mixed: Any) -> None:
    frame = mixed(60)[:rows]
    made = TableFormat()
    stored = made.fit_tensor(frame)
    assert_frame_equal(made.from_tensor(stored), frame)
    assert torch.isfinite(torch.nan_to_num(made.scale(stored))).all()


def test_the_format_that_is_chosen(mixed: Any) -> None:
    numbers = pd.DataFrame({"a": [1.0, 2.0], "b": [1, 2]})
    assert format_of(numbers).word == "vector"
    for other in (numbers.assign(c=["x", "y"]), numbers.assign(a=[1.0, None]), numbers.assign(c=[True, False])):
        assert format_of(other).word == "table"
    assert format_of(numbers, "table").word == "table"
    assert "not fitted" in repr(TableFormat())
    assert "16 columns" in repr(TableFormat().fit(mixed()))


def test_texts_of_numbers_are_refused_with_what_reads_them() -> None:
    frame = pd.DataFrame({"temp": np.arange(50) % 7 + 0.25, "kind": ["a", "b"] * 25})
    model = PCA(1).fit(frame)
    with pytest.raises(FormatError, match=r'"temp" holds .*these are texts \(pandas.to_numeric reads them\)'):
        model.encode(frame.assign(temp=frame.temp.astype(str)))
    with pytest.raises(FormatError, match="\"temp\" holds 'warm' in row 7"):
        model.encode(frame.assign(temp=frame.temp.astype(str).where(frame.index != 7, "warm")))


def test_gaps_among_vectors_name_the_format_that_learns_through_them() -> None:
    X = np.random.default_rng(0).random((40, 3))
    model, holes = PCA(2).fit(X), X.copy()
    holes[3, 1] = np.nan
    with pytest.raises(DataError, match="format='table' learns through gaps"):
        model.encode(holes)
    assert np.isfinite(PCA(2, format="table").fit(holes).encode(holes)).all()
