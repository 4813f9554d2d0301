from __future__ import annotations

import datetime
import json
import os
import threading
from decimal import Decimal

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from isthmus.errors import DamagedFileError, DataError, FormatError, MissingExtra, SettingError
from isthmus.formats import frames
from isthmus.formats.frames import Container, Source, is_table, source_of, write_table

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
duckdb = pytest.importorskip("duckdb")

import pandas.testing  # noqa: E402
import polars.testing  # noqa: E402
import pyarrow.dataset  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402


def whole(source: Source, **settings) -> pa.Table:
    return pa.Table.from_batches(source.batches(**settings), None if settings else source.schema)


def back(items):
    """Through the border and back, with the container as a saved model has it."""
    source = source_of(items)
    saved = json.loads(json.dumps(source.container.to_json()))
    return Container.from_json(saved).restore(whole(source))


def written(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


# --- Frames and back ------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=5)
UNITS = ("s", "ms", "us", "ns")


def _pandas_columns():
    """(dtype, values without missing ones, a missing one or nothing)."""
    small = st.integers(-100, 100)
    numbers = [(f"{sign}int{bits}", st.integers(0, 100), None) for sign in ("", "u") for bits in (8, 16, 32, 64)]
    masked = [(f"{sign}{bits}", st.integers(0, 100), pd.NA) for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)]
    floats = [(f"float{bits}", st.floats(width=bits, allow_nan=False), np.nan) for bits in (16, 32, 64)]
    floats += [(f"Float{bits}", st.floats(width=bits, allow_nan=False), pd.NA) for bits in (32, 64)]
    times = [(f"datetime64[{unit}]", small, pd.NaT) for unit in UNITS]
    times += [
        (f"datetime64[{unit}, {zone}]", small, pd.NaT) for unit in UNITS for zone in ("UTC", "Europe/Paris", "+05:30")
    ]
    times += [(f"timedelta64[{unit}]", small, pd.NaT) for unit in UNITS]
    words = [
        (pd.StringDtype(storage, missing), TEXTS, missing)
        for storage in ("python", "pyarrow")
        for missing in (pd.NA, np.nan)
    ]
    words += [("object", TEXTS, missing) for missing in (None, np.nan)]
    words += [
        ("object", kind, None) for kind in (st.booleans(), small, st.dates(), st.times(), st.decimals(0, 9, places=2))
    ]
    arrow = [(pd.ArrowDtype(kind), small, pd.NA) for kind in (pa.int32(), pa.float64(), pa.duration("ms"), pa.uint8())]
    arrow += [(pd.ArrowDtype(kind), TEXTS, pd.NA) for kind in (pa.string(), pa.large_string())]
    arrow = [
        (dtype, st.integers(0, 100) if dtype.pyarrow_dtype == pa.uint8() else values, gap)
        for dtype, values, gap in arrow
    ]
    return [
        *numbers,
        *masked,
        *floats,
        *times,
        *words,
        *arrow,
        ("bool", st.booleans(), None),
        ("boolean", st.booleans(), pd.NA),
    ]


@st.composite
def pandas_frames(draw):
    n = draw(st.integers(1, 6))
    columns = {}
    for j, (dtype, values, missing) in enumerate(
        draw(st.lists(st.sampled_from(_pandas_columns()), min_size=1, max_size=5))
    ):
        can_miss = missing is not None or dtype == "object"
        cells = draw(st.lists(values | st.just(missing) if can_miss else values, min_size=n, max_size=n))
        columns[f"c{j}"] = pd.Series(cells, dtype=dtype)
    for j, ordered in enumerate(draw(st.lists(st.booleans(), max_size=2))):
        levels = draw(st.sampled_from([["z", "a", "m"], [3, 1, 2], [1.5, 0.5], [True, False]]))
        cells = draw(st.lists(st.sampled_from([*levels, None]), min_size=n, max_size=n))
        columns[j] = pd.Categorical(cells, categories=levels, ordered=ordered)
    return pd.DataFrame(columns)


@given(pandas_frames())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_a_pandas_frame_comes_back_as_it_was(frame):
    before = frame.copy(deep=True)
    pandas.testing.assert_frame_equal(back(frame), frame, check_column_type=False)
    pandas.testing.assert_frame_equal(frame, before)


POLARS = [
    *(getattr(pl, f"{sign}Int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)),
    *(pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Date, pl.Time, pl.Null, pl.Decimal(12, 3), pl.Categorical()),
    *(pl.Enum(["z", "a", "m"]), pl.Datetime("ms"), pl.Datetime("us", "Europe/Paris"), pl.Datetime("ns", "UTC")),
    *(pl.Duration("ms"), pl.Duration("us"), pl.Duration("ns")),
]


@st.composite
def polars_frames(draw):
    n = draw(st.integers(1, 6))
    columns = []
    for j, dtype in enumerate(draw(st.lists(st.sampled_from(POLARS), min_size=1, max_size=6))):
        word = isinstance(dtype, pl.Enum | pl.Categorical)
        values = st.sampled_from(["a", "m", "z"]) if word else TEXTS if dtype == pl.String else st.integers(0, 100)
        values = st.booleans() if dtype == pl.Boolean else st.none() if dtype == pl.Null else values
        cells = draw(st.lists(values | st.none(), min_size=n, max_size=n))
        columns.append(pl.Series(f"c{j}", cells, strict=False).cast(dtype))
    return pl.DataFrame(columns)


@given(polars_frames())
@settings(max_examples=150)
def test_a_polars_frame_comes_back_as_it_was(frame):
    polars.testing.assert_frame_equal(back(frame), frame)
    assert back(frame).schema == frame.schema


ARROW = [
    *(pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string()),
    *(pa.string_view(), pa.date32(), pa.date64(), pa.time32("s"), pa.time64("ns"), pa.timestamp("s"), pa.null()),
    *(pa.timestamp("ns", "Asia/Tokyo"), pa.duration("s"), pa.decimal128(9, 2), pa.decimal256(40, 2)),
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.uint32(), pa.int64(), True)),
]


def arrow_column(kind: pa.DataType, cells: list[int | None]) -> pa.Array:
    if pa.types.is_dictionary(kind):
        levels = pa.array(range(3, -1, -1)).cast(kind.value_type)
        codes = pa.array([None if cell is None else cell % 4 for cell in cells], kind.index_type)
        return pa.DictionaryArray.from_arrays(codes, levels, ordered=kind.ordered)
    if pa.types.is_null(kind):
        return pa.nulls(len(cells))
    if pa.types.is_boolean(kind):
        return pa.array([None if cell is None else cell > 2 for cell in cells])
    if pa.types.is_date64(kind):
        return pa.array([None if cell is None else cell * 86_400_000 for cell in cells], pa.int64()).cast(kind)
    if pa.types.is_decimal(kind):
        return pa.array([None if cell is None else Decimal(cell) / 4 for cell in cells], kind)
    middle = {"date32[day]": pa.int32(), "time32[s]": pa.int32(), "halffloat": pa.float32()}.get(str(kind), pa.int64())
    return pa.array(cells, middle).cast(kind)


@given(
    st.lists(st.sampled_from(ARROW), min_size=1, max_size=6),
    st.lists(st.integers(0, 9) | st.none(), min_size=1, max_size=6),
)
@settings(max_examples=100)
def test_an_arrow_table_comes_back_as_it_was(kinds, cells):
    table = pa.table([arrow_column(kind, cells) for kind in kinds], names=[f"c{j}" for j in range(len(kinds))])
    again = back(table)
    assert again.schema.equals(table.schema)
    assert again.equals(table)
    assert back(table.to_batches()[0]).equals(table)


def test_the_types_inside_are_few():
    table = pa.table({"a": pa.array(["x"], pa.string_view()), "b": pa.array(["x"]).dictionary_encode(), "c": [1.0]})
    table = table.append_column("d", pa.array([1, 1], pa.int32()).slice(0, 1))
    schema = source_of(table).schema
    assert [str(kind) for kind in schema.types] == [
        "large_string",
        "dictionary<values=large_string, indices=int32, ordered=0>",
        "double",
        "int32",
    ]


def test_every_kind_of_missing_is_null():
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", None], "c": pd.to_datetime(["2020-01-01", None])})
    frame["d"] = pd.array([1, pd.NA], dtype="Int64")
    frame["e"] = pd.array([1.5, None], dtype=pd.ArrowDtype(pa.float64()))
    for items in (frame, pl.DataFrame({"a": [1.0, float("nan")], "b": [1.0, None]}), np.array([[1.0], [np.nan]])):
        assert all(column.null_count == 1 for column in whole(source_of(items)).columns)
    nested = pa.array([1.0, float("nan"), float("inf")], pa.float16())
    assert whole(source_of(pa.table({"a": nested})))["a"].to_pylist() == [1.0, None, float("inf")]


def test_dates_far_from_today_and_large_numbers_survive():
    far = pd.DataFrame({"a": np.array(["0001-01-01", "9999-12-31"], "M8[s]"), "b": np.array([2**64 - 1, 0], np.uint64)})
    pandas.testing.assert_frame_equal(back(far), far)
    old = pl.DataFrame({"a": [datetime.date(1, 1, 1)], "b": [datetime.datetime(9999, 1, 1)]})
    polars.testing.assert_frame_equal(back(old), old)
    objects = pd.DataFrame({"a": pd.Series([2**63, 1], dtype=object)})
    assert whole(source_of(objects)).schema.field("a").type == pa.uint64()
    with pytest.raises(DataError, match='the column "a" holds a whole number that does not fit'):
        source_of({"a": [2**64]})


def test_objects_become_the_type_that_their_cells_have():
    frame = pd.DataFrame(
        {
            "text": pd.Series(["a", None], dtype=object),
            "truth": pd.Series([True, None], dtype=object),
            "whole": pd.Series([np.int64(1), 2], dtype=object),
            "number": pd.Series([1, 2.5], dtype=object),
            "date": pd.Series([datetime.date(2020, 1, 1), pd.NaT], dtype=object),
            "decimal": pd.Series([Decimal("1.5"), None], dtype=object),
            "nothing": pd.Series([None, None], dtype=object),
        }
    )
    kinds = [str(kind) for kind in source_of(frame).schema.types]
    assert kinds == ["large_string", "bool", "int64", "double", "date32[day]", "decimal128(2, 1)", "null"]
    pandas.testing.assert_frame_equal(back(frame), frame)


def test_names_of_columns_come_back_as_they_were():
    frame = pd.DataFrame([[1, 2, 3]], columns=["a", 7, 2020])
    assert list(back(frame).columns) == ["a", 7, 2020]
    numbered = pd.DataFrame([[1.0, 2.0]])
    pandas.testing.assert_frame_equal(back(numbered), numbered)
    objects = pd.DataFrame([[1.0]], columns=pd.Index(["a"], dtype=object))
    pandas.testing.assert_frame_equal(back(objects), objects)


def test_the_index_is_no_part_of_the_table():
    frame = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    pandas.testing.assert_frame_equal(back(frame), frame.reset_index(drop=True))


def test_dicts_records_and_arrays_come_back_as_they_were():
    columns = {"a": [1, None], "b": np.array([1, 2], np.int16), 3: ["x", "y"], "d": np.array(["2020", "2021"], "M8[D]")}
    columns["e"] = np.array(["x", "yy"])
    again = back(columns)
    assert list(again) == list(columns)
    assert again["a"] == [1, None]
    assert again[3] == ["x", "y"]
    for name in ("b", "d", "e"):
        np.testing.assert_array_equal(again[name], columns[name], strict=True)
    records = [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]
    assert back(records) == records
    assert back([{"a": 1}, {"b": 2.5}]) == [{"a": 1, "b": None}, {"a": None, "b": 2.5}]
    assert back([[1, "a"], [2, None]]) == [[1, "a"], [2, None]]
    assert np.isnan(back({"a": [1.5, float("nan")]})["a"][1])
    for dtype in ("f4", ">f8", "i8", "u1", "bool", "U3", "M8[h]", "M8[M]", "m8[ms]", "f2"):
        array = np.arange(6).reshape(3, 2).astype("M8[h]" if dtype == "M8[M]" else dtype).astype(dtype)
        np.testing.assert_array_equal(back(array), array, strict=True)
    structured = np.array([(1, "a", 0.5), (2, "b", np.nan)], dtype=[("i", "i4"), ("s", "U1"), ("f", "f4")])
    again = back(structured)
    assert again.dtype == structured.dtype
    for name in structured.dtype.names:
        np.testing.assert_array_equal(again[name], structured[name], strict=True)
    objects = np.array([[1, None], [2, 3]], dtype=object)
    np.testing.assert_array_equal(back(objects), objects)


def test_lazy_frames_relations_and_datasets(tmp_path):
    lazy = pl.LazyFrame({"a": range(1000), "c": ["x", "y"] * 500}, schema_overrides={"c": pl.Categorical})
    polars.testing.assert_frame_equal(back(lazy), lazy.collect())
    connection = duckdb.connect()
    relation = connection.sql("select i, (i % 3)::varchar as j, 'b'::ENUM('a', 'b') as c from range(100000) t(i)")
    source = source_of(relation)
    assert (source.in_memory, source.n_rows) == (False, None)
    assert source.container.restore(whole(source)).equals(relation.to_arrow_table())
    assert len(source) == source.n_rows == 100_000
    first, second = source.batches(rows=10), source.batches(rows=10)
    next(first), connection.sql("select 1").fetchall()
    assert next(first).column("i").to_pylist() == list(range(10, 20))
    assert next(second).column("i").to_pylist() == list(range(10))
    assert whole(source)["c"].chunk(0).dictionary.to_pylist() == ["a", "b"]
    pq.write_table(pa.table({"a": range(10), "b": ["x"] * 10}), tmp_path / "part.parquet")
    dataset = pyarrow.dataset.dataset(tmp_path)
    source = source_of(dataset)
    assert source.n_rows is None
    assert source.container.restore(whole(source)).equals(dataset.to_table())
    assert source.n_rows == 10


def test_a_temporary_file_goes_with_its_source(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = source_of(pl.LazyFrame({"a": [1, 2]}))
    part = source.subset(np.array([1]))
    assert source.count() == 2
    assert len(os.listdir(tmp_path)) == 1
    del source
    assert whole(part)["a"].to_pylist() == [2]
    del part
    __import__("gc").collect()
    assert not os.listdir(tmp_path)


def test_what_narwhals_or_arrow_knows_is_a_table():
    import narwhals

    frame = pd.DataFrame({"a": [1, 2]})
    pandas.testing.assert_frame_equal(back(narwhals.from_native(frame)), frame)
    assert back(narwhals.from_native(pl.LazyFrame({"a": [1]}))).equals(pl.DataFrame({"a": [1]}))

    class Stranger:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table({"a": [1, 2]}).__arrow_c_stream__(requested_schema)

    assert is_table(Stranger())
    assert back(Stranger()).equals(pa.table({"a": [1, 2]}))


# --- Batches --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 50), st.lists(st.integers(0, 39), max_size=12))
@settings(max_examples=60)
def test_batches_are_of_one_size_and_the_same_each_time(n, rows, chosen):
    table = pa.concat_tables(
        pa.table({"a": [i], "c": pa.array([str(i % 3)]).dictionary_encode(), "t": [f"{i}"]}) for i in range(n)
    )
    source = source_of(table)
    first = list(source.batches(rows=rows))
    assert [len(batch) for batch in first] == [rows] * (n // rows) + [n % rows] * (n % rows > 0)
    assert all(a.equals(b) for a, b in zip(first, source.batches(rows=rows), strict=True))
    assert pa.Table.from_batches(source.batches(["t", "a"], rows)).column_names == ["t", "a"]
    chosen = np.array(sorted(i for i in chosen if i < n), dtype=np.int64)
    part = source.subset(chosen)
    assert (len(part), part.in_memory, part.container) == (len(chosen), True, source.container)
    for _ in range(2):
        assert whole(part)["a"].to_pylist() == chosen.tolist()
    inner = part.subset(np.arange(len(part))[::2])
    assert whole(inner)["a"].to_pylist() == chosen[::2].tolist()


def test_a_subset_reaches_over_many_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "ROWS", 7)
    write_table(tmp_path / "a.csv", [pa.table({"a": range(100)})])
    for items in (tmp_path / "a.csv", {"a": list(range(100))}):
        part = source_of(items).subset(np.arange(0, 100, 9))
        assert whole(part, rows=5)["a"].to_pylist() == list(range(0, 100, 9))
        assert whole(part.subset(np.array([1, 1, 10])))["a"].to_pylist() == [9, 9, 90]


def test_levels_are_the_same_in_every_batch_of_files(tmp_path):
    for number, words in ((2, "xy"), (10, "zx")):
        column = pa.array(words).dictionary_encode()
        pq.write_table(pa.table({"a": column}), tmp_path / f"part{number}.parquet", row_group_size=1)
        with pa.ipc.new_stream(tmp_path / f"part{number}.arrow", pa.schema([("a", column.type)])) as writer:
            for piece in (column.slice(0, 1), column.slice(1)):
                writer.write_batch(pa.record_batch([pa.array(piece.to_pylist()).dictionary_encode()], names=["a"]))
    for ending in ("parquet", "arrow"):
        batches = list(source_of(f"{tmp_path}/*.{ending}").batches(rows=1))
        assert [batch["a"].dictionary.to_pylist() for batch in batches] == [["x", "y", "z"]] * 4
        assert [batch["a"].to_pylist() for batch in batches] == [["x"], ["y"], ["z"], ["x"]]


def test_levels_that_no_row_has_are_kept():
    frame = pd.DataFrame({"a": pd.Categorical(["x"], categories=["z", "y", "x"], ordered=True)})
    field = source_of(frame).schema.field("a")
    assert field.type.ordered
    assert next(source_of(frame).batches())["a"].dictionary.to_pylist() == ["z", "y", "x"]


def test_a_source_is_returned_as_it_is_and_asked_sensibly():
    source = source_of({"a": [1, 2, 3]})
    assert source_of(source) is source
    assert (source.in_memory, source.n_rows, len(source), source.name) == (True, 3, 3, "the frame")
    with pytest.raises(DataError, match="the frame has no column 'b'; it has a"):
        source.batches(["b"])
    with pytest.raises(SettingError, match="rows=0 should be at least 1"):
        source.batches(rows=0)
    for rows in ([2, 1], [-1], [[0]]):
        with pytest.raises(SettingError, match="numbers from 0 in rising order"):
            source.subset(np.array(rows))
    with pytest.raises(SettingError, match="has no row 3; its 3 rows count from 0"):
        source.subset(np.array([3]))
    assert len(source.subset(np.array([], dtype=np.int64))) == 0
    assert list(source.subset(np.array([], dtype=np.int64)).batches()) == []


def test_passes_may_go_on_side_by_side(tmp_path):
    write_table(tmp_path / "a.csv", [pa.table({"a": range(3000), "b": ["x"] * 3000})])
    source, sums = source_of(tmp_path / "a.csv"), []
    threads = [
        threading.Thread(target=lambda: sums.append(sum(sum(b["a"].to_pylist()) for b in source.batches(rows=100))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [sum(range(3000))] * 4


# --- Refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns have the name 'a'"),
        (lambda: pd.DataFrame([[1, 2]], columns=["1", 1]), "two columns have the name '1'"),
        (lambda: pa.table([[1], [2]], names=["a", "a"]), "two columns have the name 'a'"),
        (lambda: pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "names of several levels"),
        (lambda: pd.DataFrame({"a": []}), "0 rows and 1 columns"),
        (lambda: pd.DataFrame(index=[0, 1]), "0 columns"),
        (pl.DataFrame, "0 columns"),
        (
            lambda: pd.DataFrame({"a": [None, 1, "x"]}, dtype=object),
            r"\"a\" holds a whole number in row 1 and text in row 2.*frame\['a'\] = frame\['a'\].astype\(str\)",
        ),
        (lambda: {"a": [True, 1]}, '"a" holds a truth in row 0 and a whole number in row 1'),
        (lambda: {"a": ["x", [1]]}, '"a" holds a list in row 1'),
        (lambda: pd.DataFrame({"a": [{"b": 1}]}), '"a" holds a dict in row 0'),
        (lambda: pd.DataFrame({"a": [b"x"]}), '"a" holds a bytes in row 0'),
        (lambda: pa.table({"a": [[1]]}), r'"a" holds list<.*take it apart'),
        (lambda: pa.table({"a": [{"b": 1}]}), r'"a" holds struct<.*take it apart'),
        (lambda: pa.table({"a": [b"x"]}), '"a" holds binary.*decode it'),
        (lambda: pl.DataFrame({"a": [[1]]}), 'the column "a" has the dtype List'),
        (lambda: pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}), 'the column "a" has the dtype Int128'),
        (lambda: pl.LazyFrame({"a": [b"x"]}), 'the column "a" has the dtype Binary'),
        (
            lambda: pd.DataFrame({"a": pd.period_range("2020", periods=1, freq="D")}),
            r'"a" has the dtype period.*astype\(str\)',
        ),
        (lambda: pd.DataFrame({"a": pd.cut([1, 2], 2)}), '"a" has the dtype category'),
        (lambda: pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), r"Sparse.*\.sparse\.to_dense\(\)"),
        (lambda: pd.DataFrame({"a": [1j]}), '"a" has the dtype complex128'),
        (lambda: np.array([[1j]]), '"0" holds complex128'),
        (lambda: np.array([[b"x"]]), '"0" holds |S1'),
        (lambda: np.zeros(3), r"an array of shape \(3,\) is no table"),
        (lambda: np.ma.masked_array([[1.0]], [[True]]), "is no table"),
        (lambda: [[1, 2], [3]], "row 1 has 1 cells, row 0 has 2"),
        (lambda: {"a": [1, 2], "b": [1]}, '"a" has 2 rows, "b" 1'),
        (lambda: {"a": np.zeros((2, 2))}, r'"a" is an array of shape \(2, 2\)'),
        (lambda: pa.table({"a": [1]}).to_reader(), r"read only once.*\.read_all\(\)"),
        (lambda: 5, "of type int is no table"),
        (lambda: pd.Series([1]), "of type Series is no table"),
        (lambda: duckdb.sql("select 1 as a where false"), "the relation has no rows"),
        (lambda: duckdb.sql("select interval 1 day as a"), r'"a" holds month_day_nano_interval.*cast in DuckDB'),
    ],
)
def test_what_is_no_table_is_refused_by_name(items, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        source_of(items()).count()


def test_no_table_at_all_is_a_format_error():
    with pytest.raises(FormatError):
        source_of(object())
    with pytest.raises(SettingError, match="delimiter and encoding are for CSV files"):
        source_of({"a": [1]}, delimiter=",")


def test_without_its_packages_the_command_is_named(monkeypatch):
    import sys

    for name in ("pyarrow", "narwhals"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(MissingExtra, match=rf"need {name}: pip install 'isthmus\[tables\]'"):
                frames.library(name)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        for act in (lambda: source_of({"a": [1]}), lambda: write_table("a.csv", [])):
            with pytest.raises(MissingExtra):
                act()


def test_importing_frames_imports_no_table_library():
    import subprocess
    import sys

    names = "('pyarrow', 'narwhals', 'pandas', 'polars')"
    code = f"import sys, isthmus.formats.frames; print([name for name in {names} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_is_table_is_told_without_reading(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "texts").mkdir()
    written(tmp_path / "texts" / "a.txt", "a\n1\n")
    written(tmp_path / "tables" / "a.csv", "a\n1\n")
    for name in ("a.png", "b.png", "labels.csv", "README.txt"):
        written(tmp_path / "pictures" / name, "")
    yes = [
        pd.DataFrame({"a": [1]}),
        pl.DataFrame(),
        pl.LazyFrame(),
        pa.table({}),
        pyarrow.dataset.dataset(pa.table({})),
    ]
    yes += [
        duckdb.sql("select 1"),
        source_of({"a": [1]}),
        {"a": [1], "b": np.zeros(1)},
        [{"a": 1}],
        "x.csv",
        "a/*.parquet",
    ]
    yes += [tmp_path / "tables", tmp_path / "texts", tmp_path / "A.CSV.GZ"]
    no = [
        np.zeros((2, 2)),
        [[1, 2]],
        [1, 2],
        [],
        {},
        {"a": 1},
        {"a": "x"},
        pd.Series([1]),
        pl.Series([1]),
        "x.npy",
        "x",
        5,
    ]
    no += [tmp_path / "pictures", pa.array([1]), pa.chunked_array([[1]]), pd.DataFrame, None]
    no.append(pytest.importorskip("torch").zeros(2, 2))
    assert [items for items in yes if not is_table(items)] == []
    assert [items for items in no if is_table(items)] == []


# --- Containers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "excel"},
        {"kind": None},
        {"names": "a"},
        {"names": []},
        {"names": ["a", "a"]},
        {"names": ["1", 1]},
        {"names": ["a", None]},
        {"names": ["a", True]},
        {"dtypes": ["int64"]},
        {"dtypes": None},
        {"dtypes": ["int64", 5]},
        {"dtypes": ["int64", "os.system"]},
        {"dtypes": ["int64", "Categorical"]},
        {"dtypes": ["int64", "category[category[int64]]"]},
        {"form": "evil"},
        {"form": 3},
    ],
)
def test_a_damaged_container_is_refused(change):
    good = {"kind": "pandas", "names": ["a", "b"], "dtypes": ["int64", "category[str[python]]"], "form": "str"}
    assert Container.from_json(good).to_json() == good
    with pytest.raises(DamagedFileError):
        Container.from_json({**good, **change})
    for key in good:
        with pytest.raises(DamagedFileError):
            Container.from_json({name: value for name, value in good.items() if name != key})
    with pytest.raises(DamagedFileError):
        Container.from_json([good])


def test_restore_takes_some_columns_and_other_types_and_refuses_strangers():
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, 1.5]})
    container = source_of(frame).container
    again = container.restore(pa.table({"c": pa.array([1, 2]), "a": [3.0, 4.0]}))
    pandas.testing.assert_frame_equal(again, pd.DataFrame({"a": [3, 4], "c": [1.0, 2.0]}))
    assert str(container.restore(pa.table({"a": [1, None]}))["a"].dtype) == "Int64"
    with pytest.raises(DataError, match="no column 'd'; it has a, b, c"):
        container.restore(pa.table({"d": [1]}))
    with pytest.raises(DataError, match='the column "a" of double does not become int64'):
        container.restore(pa.table({"a": [0.5]}))
    category = source_of(pd.DataFrame({"a": pd.Categorical(["x"])})).container
    assert category.restore(pa.table({"a": ["y", None]}))["a"].tolist() == ["y", np.nan]
