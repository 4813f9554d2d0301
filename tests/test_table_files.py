from __future__ import annotations

import datetime
import gzip
import json
import os
from decimal import Decimal

import numpy as np
import pytest

from isthmus.errors import DamagedFileError, DataError, FileError, SettingError
from isthmus.formats import source as source_module
from isthmus.formats.frames import Container, Source, source_of, write_table

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
duckdb = pytest.importorskip("duckdb")

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


# --- CSV ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        ("1 2 -3", "int64", [1, 2, -3]),
        ("1 2.5 1e3", "double", [1.0, 2.5, 1000.0]),
        ("01234 99999", "large_string", ["01234", "99999"]),
        ("1 02", "large_string", ["1", "02"]),
        ("0.5 007.5", "large_string", ["0.5", "007.5"]),
        ("0x1F 2", "large_string", ["0x1F", "2"]),
        ("1_000 2", "large_string", ["1_000", "2"]),
        ("99999999999999999999 1", "large_string", ["99999999999999999999", "1"]),
        ("99999999999999999999 1.5", "double", [1e20, 1.5]),
        ("true False TRUE", "bool", [True, False, True]),
        ("true 1", "large_string", ["true", "1"]),
        ("yes no", "large_string", ["yes", "no"]),
        ("2020-01-31 1500-01-01", "date32[day]", [datetime.date(2020, 1, 31), datetime.date(1500, 1, 1)]),
        ("2020-01-31 2020", "large_string", ["2020-01-31", "2020"]),
        ("2020-01-31 2020-01-31T10:00", "timestamp[s]", [datetime.datetime(2020, 1, 31, h) for h in (0, 10)]),
        ("2020-01-31T10:00:00.25 2020-01-31T10:00", "timestamp[ms]", None),
        ("2020-01-31T10:00:00.123456789", "timestamp[ns]", None),
        ("2020-01-31T10:00:00Z 2020-01-31T12:00:00.5+01:00", "timestamp[ms, tz=UTC]", None),
        ("2020-01-31T10:00:00Z 2020-01-31T12:00:00", "large_string", None),
        ("10:30 11:45:01.5", "time64[us]", [datetime.time(10, 30), datetime.time(11, 45, 1, 500_000)]),
        ("10:30 25:00", "large_string", ["10:30", "25:00"]),
        ("NA N/A NaN nan null NULL None ?", "null", [None] * 8),
        ("NA 1", "int64", [None, 1]),
        ("? x", "large_string", [None, "x"]),
        ("inf -1.5", "double", [float("inf"), -1.5]),
        ("+1 2", "large_string", ["+1", "2"]),
    ],
)
def test_csv_cells_have_the_narrowest_type_that_holds_all(tmp_path, cells, kind, values):
    rows = "".join(f"{cell},x\n" for cell in cells.split(" "))
    source = source_of(written(tmp_path / "a.csv", f"a,b\n{rows}"))
    assert str(source.schema.field("a").type) == kind
    if values is not None:
        assert whole(source)["a"].to_pylist() == values


def test_csv_types_are_found_in_the_whole_file_and_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("isthmus.formats.delimited.BLOCK", 1 << 12)
    rows = [f"{i},{i},{i},2020-01-01,,{i}" for i in range(5000)]
    rows[4999] = "4999.5,x,,2020-01-01 10:00,late,4999"
    source = source_of(written(tmp_path / "a.csv", "a,b,c,d,e,f\n" + "\n".join(rows)))
    assert source.n_rows is None
    assert [str(kind) for kind in source.schema.types] == [
        "double",
        "large_string",
        "int64",
        "timestamp[s]",
        "large_string",
        "int64",
    ]
    assert source.n_rows == 5000
    table = whole(source, rows=100)
    assert table["b"].to_pylist() == [*map(str, range(4999)), "x"]
    assert table["f"].to_pylist() == list(range(5000))
    assert table["e"].null_count == 4999


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_delimiter_and_encoding_are_found(tmp_path, delimiter, encoding, end):
    rows = [["näme", "b c", "d"], ["é", "1", '"x\ny"'], ["ü", "2", f'"a{delimiter}""b"""']]
    path = written(tmp_path / "a.csv", end.join(delimiter.join(row) for row in rows) + end, encoding)
    for source in (source_of(path), source_of(path, delimiter=delimiter)):
        table = whole(source)
        assert table.to_pydict() == {"näme": ["é", "ü"], "b c": [1, 2], "d": ["x\ny", f'a{delimiter}"b"']}


def test_csv_encodings_that_are_given(tmp_path):
    path = written(tmp_path / "a.csv", "a,b\né,1\nü,2\n", "latin-1")
    assert whole(source_of(path, encoding="latin-1"))["a"].to_pylist() == ["é", "ü"]
    with pytest.raises(DataError, match=r'a.csv: line 2 is not text in utf-8.*give encoding="latin-1", or'):
        source_of(path).count()
    late = written(tmp_path / "late.csv", "a,b\n" + "x,1\n" * 400_000 + "é,1\n", "latin-1")
    with pytest.raises(DataError, match="late.csv: line 400002 is not text in utf-8"):
        source_of(late).count()
    with pytest.raises(SettingError, match="encoding='klingon'"):
        source_of(path, encoding="klingon").count()
    bare = written(tmp_path / "bare.csv", "a,b\n1,2\n", "utf-16-le")
    with pytest.raises(DataError, match='bare.csv holds zero bytes.*encoding="utf-16-le"'):
        source_of(bare).count()
    assert whole(source_of(bare, encoding="utf-16-le")).to_pydict() == {"a": [1], "b": [2]}


def test_csv_headers(tmp_path):
    def read(text, **settings):
        return whole(source_of(written(tmp_path / "a.csv", text), **settings)).to_pydict()

    assert read("1,2,\n3,4,x\n") == {"0": [1, 3], "1": [2, 4], "2": [None, "x"]}
    assert read("1,2\n") == {"0": [1], "1": [2]}
    assert read(" a , b\n1,2\n") == {"a": [1], "b": [2]}
    assert read('\n\n"a\nb",c\n\n1,2\n\n') == {"a\nb": [1], "c": [2]}
    assert read(",a\n0,x\n1,y\n") == {"0": [0, 1], "a": ["x", "y"]}
    assert read("a\n1\n2\n") == {"a": [1, 2]}
    assert read("said\nHello, you\nWell, well\nNo, no\n") == {"said": ["Hello, you", "Well, well", "No, no"]}
    assert read("name;x\nb;1,5\nc;2\n") == {"name": ["b", "c"], "x": [1.5, 2.0]}
    assert read("1,5;2,5\n3,5;4\n") == {"0": [1.5, 3.5], "1": [2.5, 4.0]}
    assert read("x;y\n1,5;1.5\n1.5;2.5\n") == {"x": ["1,5", "1.5"], "y": [1.5, 2.5]}
    assert read("a b,c\n1, 2\n3, x\n") == {"a b": [1, 3], "c": [" 2", " x"]}
    assert read("a:b\n1:2\n", delimiter=":") == {"a": [1], "b": [2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv is empty"),
        ("\n \n", "a.csv is empty"),
        ("a,b\n", "one line of names and no rows"),
        ("a,b\n1,2\n3,4,5\n6,7\n", "line 3 has 3 fields, and 2 are expected.*double quotes"),
        ('a,b\n"x\ny",2\n3\n', "line 4 has 1 field, and 2 are expected.*the last one: the file may be cut short"),
        ("a,a\n1,2\n", 'two columns of the name "a"'),
        (
            "# exported\na,b,c\n1,2,x\n3,4,y\n5,6,z\n",
            "first line has one field, and those below have 3, cut by a comma",
        ),
        ("Sales of May\na;b;c\n1,5;2;x\n3;4;y\n5;6;z\n", "have 3, cut by a semicolon. Is it a title or a comment"),
        ("PAR1\0\0\0", "is a Parquet file by its content: call it .parquet"),
        ("a,b\n" + "1,2\n" * 50 + "\0\0", "holds zero bytes.*Is it a file of another kind"),
        ("a,b\n1,2\n3,4\n".replace("", "\0")[1:], 'holds zero bytes.*Is it encoding="utf-16-le"'),
        ('a,b\n1,"2\n3,4\n', "the row that begins in line 2 cannot be read.*never closes"),
        ('a,b\n1,"2\n' + "3,4\n" * 2_000_000, "the row that begins in line 2 cannot be read.*never closes"),
    ],
)
def test_csv_that_cannot_be_read_says_where(tmp_path, text, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        source_of(written(tmp_path / "a.csv", text)).count()


def test_csv_delimiters_that_are_wrong(tmp_path):
    path = written(tmp_path / "a.csv", "a;b\n1;2\n")
    with pytest.raises(DataError, match=r"delimiter=',' makes one column of a.csv, whose rows are cut by a semicolon"):
        source_of(path, delimiter=",").count()
    for wrong in ("", "ab", '"', "\n"):
        with pytest.raises(SettingError, match="should be one character"):
            source_of(path, delimiter=wrong).count()


def test_csv_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("isthmus.formats.delimited.BLOCK", 1 << 14)
    path = written(tmp_path / "a.csv", "a,b\n" + "".join(f"{i},{'x' * 50}\n" for i in range(20_000)))
    source = source_of(path)
    assert source.count() == 20_000
    seen = []
    real = source_module._joined
    monkeypatch.setattr(source_module, "_joined", lambda held: seen.append(sum(map(len, held))) or real(held))
    batches = source.batches(["a"], rows=64)
    assert next(batches)["a"].to_pylist() == list(range(64))
    assert seen == [64]
    before = pa.total_allocated_bytes()
    for batch in batches:
        assert batch.num_rows <= 64
        assert pa.total_allocated_bytes() - before < 1 << 20
        del batch


# --- JSON lines -----------------------------------------------------------------------------------------------------


def test_json_lines_widen_as_csv_does(tmp_path, monkeypatch):
    monkeypatch.setattr("isthmus.formats.delimited.LINES", 2)
    lines = [
        {"a": 1, "b": "1", "c": True, "d": "2020-01-01", "m": 1, "t": "NA"},
        {"a": 2, "b": None, "c": None, "d": "2020-01-01T10:00:00", "m": "x", "t": ""},
        {"a": 2.5, "late": "é", "m": True},
    ]
    path = written(tmp_path / "a.jsonl", "\n".join(json.dumps(line) for line in lines) + "\n\n")
    source = source_of(path)
    assert dict(zip(source.schema.names, map(str, source.schema.types), strict=True)) == {
        "a": "double", "b": "large_string", "c": "bool", "d": "timestamp[s]", "m": "large_string", "t": "large_string",
        "late": "large_string",
    }  # fmt: skip
    table = whole(source).to_pydict()
    assert table["a"] == [1.0, 2.0, 2.5]
    assert table["b"] == ["1", None, None]
    assert table["m"] == ["1", "x", "true"]
    assert table["t"] == ["NA", "", None]
    assert table["late"] == [None, None, "é"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ('{"a": 1}\n[1]\n', "line 2 holds .1.; an object"),
        ('{"a": 1}\n\n{"a": [1]}\n', 'line 3 holds a list as "a"'),
        ("\n", "is empty"),
        ("{}\n", "the objects in a.jsonl are empty"),
        ("[" * 100_000, "line 1 is not JSON"),
    ],
)
def test_json_lines_that_are_broken_are_named_by_number(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        source_of(written(tmp_path / "a.jsonl", text)).count()


# --- Parquet, Arrow, folders ----------------------------------------------------------------------------------------


def test_parquet_is_read_a_row_group_at_a_time(tmp_path, monkeypatch):
    frame = pd.DataFrame({"a": range(100), "b": ["x"] * 100, "a.b": range(100)}, index=[f"i{i}" for i in range(100)])
    frame["c"] = pd.Categorical(["u"] * 100, categories=["v", "u"], ordered=True)
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=10)
    source = source_of(tmp_path / "a.parquet")
    assert (source.n_rows, source.in_memory, source.name) == (100, False, "a.parquet")
    assert source.schema.names == ["a", "b", "a.b", "c"]
    read, real = [], pq.ParquetFile.iter_batches

    def iter_batches(self, *args, row_groups, columns, **more):
        read.append((row_groups, columns))
        return real(self, *args, row_groups=row_groups, columns=columns, **more)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    batches = source.batches(["a"], rows=10)
    assert next(batches).to_pydict() == {"a": list(range(10))}
    assert read == [([0], ["a"])]
    assert whole(source)["c"].chunk(0).dictionary.to_pylist() == ["v", "u"]


@pytest.mark.parametrize("ending", [".parquet", ".feather", ".arrow", ".csv", ".tsv", ".jsonl"])
def test_what_is_written_is_read_again(tmp_path, ending):
    table = pa.table(
        {
            "i": [1, None, 3],
            "f": [0.1, 1e300, None],
            "s": ["a,b", 'q"uo\nte', "é"],
            "b": [True, False, None],
            "d": pa.array([datetime.date(1500, 1, 1), None, datetime.date(2020, 1, 2)]),
            "t": pa.array([datetime.datetime(2020, 1, 1, 10, 0, 0, 5), None, None], pa.timestamp("us")),
            "z": pa.array([datetime.datetime(2020, 1, 1, 10, 0, 0, 5), None, None], pa.timestamp("us", "UTC")),
            "time": pa.array([datetime.time(1, 2, 3), None, None], pa.time64("us")),
        }
    )
    path = tmp_path / f"a{ending}"
    assert write_table(path, (table.slice(start, 1) for start in range(3))) == 3
    again = whole(source_of(path)).cast(table.schema)
    assert again.to_pydict() == table.to_pydict()


@pytest.mark.parametrize("ending", [".parquet", ".feather", ".csv", ".tsv", ".jsonl"])
def test_categories_durations_and_lone_columns_are_written(tmp_path, ending):
    levels = pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.int32()), pa.array(["x", "y"]))
    table = pa.table({"c": levels, "d": pa.array([1, 2, None], pa.duration("s")), "e": [Decimal("1.5"), None, None]})
    assert write_table(tmp_path / f"a{ending}", [table.slice(0, 2), table.slice(2)]) == 3
    assert whole(source_of(tmp_path / f"a{ending}"))["c"].to_pylist() == ["y", None, "x"]
    odd = pa.table({"h": pa.array([1.5, None], pa.float16()), "v": pa.array(["x", None], pa.string_view())})
    odd = odd.append_column("t", pa.array([1, 2], pa.time32("s"))).append_column("n", pa.nulls(2))
    write_table(tmp_path / f"c{ending}", [odd])
    assert whole(source_of(tmp_path / f"c{ending}"))["h"].to_pylist() == [1.5, None]
    lone = pa.table({"f": [1.5, None, 2.0]})
    write_table(tmp_path / f"b{ending}", [lone])
    assert whole(source_of(tmp_path / f"b{ending}"))["f"].to_pylist() == [1.5, None, 2.0]


def test_writing_is_whole_or_not_at_all(tmp_path):
    path = written(tmp_path / "a.csv", "old\n1\n")
    with pytest.raises(DataError, match="does not fit the first that was written to a.csv"):
        write_table(path, [pa.table({"a": [1]}), pa.table({"b": [1]})])
    with pytest.raises(DataError, match="nothing to write"):
        write_table(path, [])

    def broken():
        yield pa.table({"a": [1]})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_table(path, broken())
    assert path.read_text() == "old\n1\n"
    assert os.listdir(tmp_path) == ["a.csv"]
    with pytest.raises(FileError, match="a.xlsx is not written as a table"):
        write_table(tmp_path / "a.xlsx", [])


def test_folders_are_one_table_in_natural_order(tmp_path):
    for number in (10, 2, 1):
        written(tmp_path / f"part{number}.csv", f"b,a\nx,{number}\n" if number == 2 else f"a,b\n{number},y\n")
    written(tmp_path / ".part3.csv", "a\n1\n")
    written(tmp_path / "README.txt", "words")
    written(tmp_path / "picture.png", "")
    for items in (tmp_path, f"{tmp_path}/part*.csv", f"{tmp_path}/"):
        source = source_of(items)
        assert whole(source).to_pydict() == {"a": [1, 2, 10], "b": ["y", "x", "y"]}
    written(tmp_path / "part4.csv", "a,c\n1,2\n")
    with pytest.raises(
        DataError, match='part4.csv differs from part1.csv: the column "b" is in part1.csv and not in part4.csv'
    ):
        source_of(tmp_path).count()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "part5.parquet")
    with pytest.raises(DataError, match="part5.parquet is of another kind than part1.csv"):
        source_of(tmp_path)


def test_types_of_files_are_united(tmp_path):
    pq.write_table(pa.table({"a": pa.array([1], pa.int32()), "b": pa.nulls(1)}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"b": [0.5], "a": [2**40]}), tmp_path / "b.parquet")
    source = source_of(tmp_path)
    assert (source.schema.field("a").type, source.n_rows) == (pa.int64(), 2)
    assert whole(source).to_pydict() == {"a": [1, 2**40], "b": [None, 0.5]}
    pq.write_table(pa.table({"a": ["x"], "b": [0.5]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match="c.parquet differs from a.parquet in the types"):
        source_of(tmp_path)


def test_files_that_are_not_there(tmp_path):
    for name in ("a.csv", "a.parquet", "sub/*.csv"):
        with pytest.raises(FileError, match="there is no"):
            source_of(tmp_path / name)
    with pytest.raises(FileError, match="there is no table in"):
        source_of(tmp_path)
    with pytest.raises(FileError, match="a.xlsx is not read as a table"):
        source_of(written(tmp_path / "a.xlsx", ""))
    with pytest.raises(SettingError, match="for CSV files, and a.jsonl is none"):
        source_of(written(tmp_path / "a.jsonl", '{"a": 1}'), delimiter=",")
    (tmp_path / "year=2020").mkdir()
    with pytest.raises(DataError, match="values in the names of its folders.*hive"):
        source_of(tmp_path)


def test_files_that_are_cut_short_or_damaged(tmp_path):
    packed = gzip.compress("".join(f"{i},{i * 7919 % 10007}\n" for i in range(100_000)).encode())
    (tmp_path / "a.csv.gz").write_bytes(packed)
    assert source_of(tmp_path / "a.csv.gz").count() == 100_000
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 9000))
    assert source_of(tmp_path / "a.jsonl.gz").count() == 9000
    for name in ("a.csv.gz", "a.jsonl.gz"):
        path = tmp_path / f"cut-{name}"
        path.write_bytes((tmp_path / name).read_bytes()[:-40])
        with pytest.raises(DamagedFileError, match=f"cut-{name} is cut short or damaged"):
            source_of(path).count()
        written(path, "no gzip")
        with pytest.raises(DamagedFileError):
            source_of(path).count()
    table = pa.table({"a": np.random.default_rng(0).random(30_000)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10_000, compression="zstd", use_dictionary=False)
    raw = bytearray((tmp_path / "a.parquet").read_bytes())
    (tmp_path / "cut.parquet").write_bytes(raw[:-100])
    with pytest.raises(DamagedFileError, match="cut.parquet is cut short or damaged"):
        source_of(tmp_path / "cut.parquet")
    raw[len(raw) // 2 - 500 : len(raw) // 2 + 500] = bytes(1000)
    (tmp_path / "bad.parquet").write_bytes(raw)
    batches = source_of(tmp_path / "bad.parquet").batches(rows=10_000)
    assert next(batches).num_rows == 10_000
    with pytest.raises(DamagedFileError, match="bad.parquet is cut short or damaged in row group 1 of 3"):
        list(batches)
    for name, write in (("a.arrow", pa.ipc.new_file), ("b.arrow", pa.ipc.new_stream)):
        with write(tmp_path / name, table.schema) as writer:
            writer.write_table(table)
        assert whole(source_of(tmp_path / name)).equals(table)
        (tmp_path / f"cut-{name}").write_bytes((tmp_path / name).read_bytes()[:-5000])
        with pytest.raises(DamagedFileError, match=f"cut-{name} is cut short or damaged"):
            source_of(tmp_path / f"cut-{name}").count()
    written(tmp_path / "none.feather", "FEA1xxxx")
    with pytest.raises(FileError, match="Feather of version 1"):
        source_of(tmp_path / "none.feather")


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".arrow", ".jsonl"])
def test_a_folder_that_changes_while_it_is_read_is_noticed(tmp_path, ending):
    for part in range(3):
        write_table(tmp_path / f"{part}{ending}", [pa.table({"a": [part, part], "b": [1, 2]})])
    source = source_of(tmp_path)
    batches = source.batches(rows=1)
    next(batches)
    write_table(tmp_path / f"1{ending}", [pa.table({"a": [1, 1, 1], "b": [1, 2, 3]})])
    with pytest.raises(FileError, match=f"1{ending} changed while it was read"):
        list(batches)
    source = source_of(tmp_path)
    source.count()
    (tmp_path / f"2{ending}").unlink()
    with pytest.raises(FileError, match=f"2{ending} was there when reading began and is gone now"):
        list(source.batches())


def test_files_may_be_empty_among_others_but_not_alone(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="a.parquet has no rows"):
        source_of(tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "b.parquet")
    assert source_of(tmp_path).count() == 1
    write_table(tmp_path / "a.arrow", [pa.table({"a": pa.array([], pa.int64())})])
    with pytest.raises(DataError, match="a.arrow has no rows"):
        source_of(tmp_path / "a.arrow").count()


def test_a_subset_of_a_file_is_read_as_far_as_it_must(tmp_path):
    pq.write_table(pa.table({"a": range(100)}), tmp_path / "a.parquet", row_group_size=10)
    part = source_of(tmp_path / "a.parquet").subset(np.array([3, 4, 17]))
    assert (len(part), part.in_memory) == (3, False)
    assert [whole(part)["a"].to_pylist() for _ in range(2)] == [[3, 4, 17]] * 2
    write_table(tmp_path / "b.arrow", [pa.table({"a": [1, 2]})])
    with pytest.raises(SettingError, match="b.arrow has no row 2; its 2 rows count from 0"):
        list(source_of(tmp_path / "b.arrow").subset(np.array([0, 2])).batches())
