"""Items from files and back: what is read, what is refused, and in which words."""

from __future__ import annotations

import builtins
import gzip
import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isthmus.errors import DamagedFileError, DataError, FileError, IsthmusError, MissingExtra, SettingError
from isthmus.formats import files
from isthmus.formats.files import NamedColumns, read, write


def text_file(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def same(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


# --- Arrays ---------------------------------------------------------------------------------------------------------

DTYPES = ["bool", "uint8", "int16", "int64", "uint64", "float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_arrays_come_back_exactly(tmp_path: Path, ending: str, dtype: str) -> None:
    X = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / f"x{ending}"
    write(path, X)
    assert same(read(path), X)


def test_npy_gz(tmp_path: Path) -> None:
    raw = io.BytesIO()
    np.save(raw, np.arange(6.0))
    path = text_file(tmp_path, gzip.compress(raw.getvalue()), "x.npy.gz")
    assert same(read(path), np.arange(6.0))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedFileError, match=r"x\.npy\.gz is cut short or damaged"):
        read(path)


def test_npz_with_several_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, train=np.zeros(3), test=np.ones(2))
    assert same(read(path, key="test"), np.ones(2))
    with pytest.raises(SettingError, match=r"x\.npz holds 2 arrays: train, test\. Choose one: key='train'"):
        read(path)
    with pytest.raises(SettingError, match=r"no array 'valid'; it holds train, test"):
        read(path, key="valid")


def test_a_key_is_only_for_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(SettingError, match=r"x\.npy is none: leave the key out"):
        read(tmp_path / "x.npy", key="a")


class Bomb:
    """A pickle that would say so if it were loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (sys.exit, ("a pickle was run",))


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_pickles_are_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    objects = np.array([Bomb(), "a"], dtype=object)
    np.save(path, objects, allow_pickle=True) if ending == ".npy" else np.savez(path, a=objects)
    with pytest.raises(DataError, match="holds Python objects, which are not loaded"):
        read(path)


@pytest.mark.parametrize("ending", [".npy", ".npz"])
@pytest.mark.parametrize("keep", [3, 40, 100, 0.5, -1])
def test_cut_short(tmp_path: Path, ending: str, keep: float) -> None:
    path = tmp_path / f"x{ending}"
    write(path, np.arange(1000.0))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw)) if isinstance(keep, float) else keep])
    with pytest.raises(DamagedFileError, match="cut short, damaged"):
        read(path)


def test_a_flipped_byte_in_npz(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write(path, np.arange(1000.0))
    raw = bytearray(path.read_bytes())
    raw[2000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedFileError, match="cut short, damaged"):
        read(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_idx(tmp_path: Path, zipped: bool) -> None:
    X = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    raw = struct.pack(">HBB3I", 0, 8, 3, *X.shape) + X.tobytes()
    name = "train-images-idx3-ubyte" + (".gz" if zipped else "")
    assert same(read(text_file(tmp_path, gzip.compress(raw) if zipped else raw, name)), X)


# --- Numbers in text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("1,2\n3,4", [[1, 2], [3, 4]]),
        ("1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),
        ("1,2\r3,4\r", [[1, 2], [3, 4]]),
        ("\n1,2\n\n3,4\n\n", [[1, 2], [3, 4]]),
        ("  \n1,2\n   \n3,4\n", [[1, 2], [3, 4]]),
        ("1.0,2\n3,4\n", [[1.0, 2.0], [3.0, 4.0]]),
        ("1;2\n3;4\n", [[1, 2], [3, 4]]),
        ("1\t2\n3\t4\n", [[1, 2], [3, 4]]),
        ('"1","2"\n"3"," 4 "\n', [[1, 2], [3, 4]]),
        ("7\n8\n", [[7], [8]]),
        ("7\n", [[7]]),
        ("nan,-inf\n1e3,+.5\n", [[np.nan, -np.inf], [1000.0, 0.5]]),
        ("9223372036854775807,-9223372036854775808\n", [[2**63 - 1, -(2**63)]]),
        ("9223372036854775808,1\n", [[2.0**63, 1.0]]),
    ],
)
def test_text(tmp_path: Path, text: str, expected: list[list[float]]) -> None:
    X = read(text_file(tmp_path, text))
    assert type(X) is np.ndarray
    assert same(X, np.array(expected))


@pytest.mark.parametrize(
    "raw",
    [
        b"a,b\n1,2\n3,4\n",
        b"a;b\n1;2\n3;4\n",
        b"\xef\xbb\xbfa,b\n1,2\n3,4\n",
        b'\n"a"," b"\r\n1,2\r\n3,4\r\n',
        "a\tb\n1\t2\n3\t4\n".encode("utf-16"),
        b"a,b\n1,2\n \n3,4\n",
    ],
)
def test_names_of_columns(tmp_path: Path, raw: bytes) -> None:
    X = read(text_file(tmp_path, raw))
    assert isinstance(X, NamedColumns)
    assert X.columns == ("a", "b")
    assert same(X, np.array([[1, 2], [3, 4]]))
    assert X[1:].columns == ("a", "b")
    assert X[:, 0].columns is None
    assert X[:, :1].columns is None


def test_formats_see_the_names(tmp_path: Path) -> None:
    from isthmus.formats.arrays import as_array

    origin, X = as_array(read(text_file(tmp_path, "width,height\n1.5,2\n")))
    assert origin.columns == ("width", "height")
    assert same(X, np.array([[1.5, 2.0]]))


def test_tsv_is_cut_at_tabs_only(tmp_path: Path) -> None:
    assert read(text_file(tmp_path, "1\t2\n", "t.tsv")).shape == (1, 2)
    with pytest.raises(DataError, match="holds '1,2': write decimals with a point"):
        read(text_file(tmp_path, "3\n1,2\n", "t.tsv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,x\n", r"t\.csv: row 3, column 2 \(\"b\"\) holds 'x', which is not a number"),
        ("1,2\n\n3,x\n", r"t\.csv: row 3, column 2 holds 'x', which is not a number"),
        ("a,b\n1,\n", r"row 2, column 2 \(\"b\"\) is empty\. Fill it"),
        ("1,2,3\n4,5\n", r"row 2 has 2 cells, row 1 has 3\. Every row needs as many; cells end at commas"),
        ("a;b\n1;2\n4;5;6\n", r"row 3 has 3 cells, row 1 has 2\. .* semicolons"),
        ("a,b\n1,2,3\n4,5,6\n", r"row 2 has 3 cells, row 1 has 2"),
        ("a;b\n1,5;2,5\n", r"row 2, column 1 \(\"a\"\) holds '1,5': write decimals with a point"),
        ("1,5;2,5\n1,5;2,5\n", r"row 1, column 1 holds '1,5': write decimals with a point"),
        ("id,2019\n1,2\n", r"row 1, column 1 holds 'id', .*; if row 1 is a header, every column needs a name there"),
        ("1_000,2\n", r"column 1 holds '1_000', which is not a number"),
        ("1," + "x" * 99 + "\n", r"holds 'x{37}\.\.\.', which"),
        ("a,b\n", r"t\.csv holds one row of names and no numbers"),
        ("", r"t\.csv is empty"),
        (" \n\n", r"t\.csv is empty"),
    ],
)
def test_text_that_is_amiss_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(text_file(tmp_path, text))


@pytest.mark.parametrize(
    "raw", [b"1,2\n\xff\xfe\n", b"1,2\n3,\x00\n", b"\x00\x01\x02\x03", b"1," + b"9" * 200_000 + b"x"]
)
def test_what_is_no_text(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(DataError, match=r"t\.csv"):
        read(text_file(tmp_path, raw))


CELLS = st.sampled_from(
    [
        *("1", "-2", "+3", "0.5", "1e3", " 4 ", '"5"', "nan", "inf", "5.", "\t6", "99999999999999999999", "1e999"),
        *("", "x", "1_0", "0x1", "1 2", "1,5", "--1", "1d2", "٣", "-", "."),
    ]
)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=3), min_size=1, max_size=4))
def test_the_quick_parser_and_the_careful_one_agree(rows: list[list[str]]) -> None:
    text = "\n".join(";".join(row) for row in rows)
    quick = files._quickly(text, ";") if text.strip() else None
    if quick is not None:
        assert same(quick, files._carefully(text, "t.csv", ";", []))


@given(st.binary(max_size=60))
def test_no_bytes_bring_any_other_error(raw: bytes) -> None:
    for magic in (b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"\x1f\x8b", b"1,2\n"):
        for ending in (".csv", ".npy", ".npz"):
            try:
                files._items(io.BytesIO(magic + raw), "x", ending, None, None)
            except IsthmusError:
                pass


def saved_as(ending: str) -> bytes:
    raw = io.BytesIO()
    np.save(raw, np.arange(5.0)) if ending == ".npy" else np.savez_compressed(raw, a=np.arange(50.0))
    return raw.getvalue()


@pytest.mark.parametrize("ending", [".npy", ".npz"])
@given(at=st.integers(0, 500), bits=st.integers(1, 255), keep=st.integers(0, 600))
def test_a_damaged_byte_anywhere(ending: str, at: int, bits: int, keep: int) -> None:
    raw = bytearray(saved_as(ending))
    raw[at % len(raw)] ^= bits
    try:
        array = files._items(io.BytesIO(raw[:keep] if keep < len(raw) else raw), "x", ending, None, None)
    except IsthmusError:
        return
    assert isinstance(array, np.ndarray)


FLOATS = hnp.arrays(st.sampled_from([np.float16, np.float32, np.float64]), hnp.array_shapes(min_dims=2, max_dims=2))


@given(FLOATS)
def test_csv_gives_the_same_bits_back(X: np.ndarray) -> None:
    out = io.StringIO()
    files._write_text(out, X, tuple(f"c{j}" for j in range(X.shape[1])), ",")
    back = files._from_text(out.getvalue(), "t.csv", None)
    assert same(np.asarray(back).astype(X.dtype), X)


# --- Writing --------------------------------------------------------------------------------------------------------


def test_csv_text(tmp_path: Path) -> None:
    write(tmp_path / "x.csv", np.array([[1.5, 2]], np.float32), columns=["a", "b,c"])
    assert (tmp_path / "x.csv").read_text() == 'a,"b,c"\n1.5,2.0\n'
    write(tmp_path / "x.tsv", np.array([3, -4]))
    assert (tmp_path / "x.tsv").read_text() == "3\n-4\n"


def test_names_pass_through(tmp_path: Path) -> None:
    X = read(text_file(tmp_path, "a,b\n1,2\n"))
    write(tmp_path / "again.csv", X)
    assert (tmp_path / "again.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_parquet(tmp_path: Path, dtype: str) -> None:
    pytest.importorskip("pyarrow")
    X = np.arange(6).reshape(3, 2).astype(dtype)
    write(tmp_path / "x.parquet", X)
    back = read(tmp_path / "x.parquet")
    assert same(back, X)
    assert back.columns == ("0", "1")
    write(tmp_path / "y.parquet", X, columns=["a", "b"])
    assert read(tmp_path / "y.parquet").columns == ("a", "b")


def test_parquet_that_does_not_fit(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table({"a": [1, 2], "word": ["x", "y"]}), path)
    with pytest.raises(DataError, match=r'x\.parquet: the column "word" holds string, not numbers'):
        read(path)
    parquet.write_table(pyarrow.table({"a": [1, None]}), path)
    with pytest.raises(DataError, match=r'the column "a" has 1 empty cells'):
        read(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedFileError, match=r"x\.parquet is cut short"):
        read(path)
    with pytest.raises(DataError, match="the same name"):
        write(path, np.zeros((2, 2)), columns=["a", "a"])


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"writing Parquet needs pyarrow: pip install 'isthmus\[parquet\]'"):
        write(tmp_path / "x.parquet", np.zeros((2, 2)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_pictures_do_not_fit_a_table(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"items of shape \(2, 3, 3\) do not fit the rows of"):
        write(tmp_path / name, np.zeros((2, 3, 3)))


def test_wrong_number_of_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 names were given for the 2 columns"):
        write(tmp_path / "x.csv", np.zeros((2, 2)), columns=["a"])


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv"])
@pytest.mark.parametrize("items", [[[1, 2], [3]], ["a", "b"], [None, 1]], ids=["ragged", "text", "mixed"])
def test_what_is_no_array_of_numbers(tmp_path: Path, name: str, items: Any) -> None:
    with pytest.raises(DataError):
        write(tmp_path / name, items)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv", "x.parquet"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / name
    write(path, np.zeros((2, 2)))
    before = path.read_bytes()

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for at in ("numpy.save", "numpy.savez", "numpy.savetxt", "pyarrow.parquet.write_table"):
        monkeypatch.setattr(at, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, np.ones((2, 2)))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["pictures", "pictures/", "deep/er/pictures"])
def test_a_folder_of_pictures(tmp_path: Path, name: str) -> None:
    X = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    write(f"{tmp_path}/{name}", X)
    assert [p.name for p in sorted((tmp_path / name).iterdir())] == ["00000.png", "00001.png"]
    assert read(tmp_path / name) == tmp_path / name
    with pytest.raises(FileError, match="is not empty"):
        write(f"{tmp_path}/{name}", X)
    write(f"{tmp_path}/{name}", X, overwrite=True)
    assert read(tmp_path / name / "00001.png") == [tmp_path / name / "00001.png"]


# --- Places ---------------------------------------------------------------------------------------------------------


def test_places_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"there is no file or folder .*nothing\.npy"):
        read(tmp_path / "nothing.npy")
    with pytest.raises(FileError, match="there is no folder"):
        write(tmp_path / "no" / "x.npy", np.zeros(2))


def test_endings_that_are_not_ours(tmp_path: Path) -> None:
    path = text_file(tmp_path, "hello", "x.docx")
    with pytest.raises(FileError, match=r"x\.docx ends in \.docx, which is not read here; \.npy, \.npz, IDX"):
        read(path)
    with pytest.raises(FileError, match=r"x\.docx ends in \.docx, which is not written here; \.npy, \.npz"):
        write(path, np.zeros(2))
    with pytest.raises(FileError, match="ends in nothing"):
        read(text_file(tmp_path, "hello", "x"))


class Stream(io.TextIOWrapper):
    def __init__(self, raw: bytes = b"") -> None:
        super().__init__(io.BytesIO(raw))


def test_standard_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.arange(6.0).reshape(2, 3)
    out = Stream()
    monkeypatch.setattr(sys, "stdout", out)
    write("-", X)
    monkeypatch.setattr(sys, "stdin", Stream(out.buffer.getvalue()))  # type: ignore[attr-defined]
    assert same(read("-"), X)
    monkeypatch.setattr(sys, "stdin", Stream(b"a,b\n1,2\n"))
    assert read("-").columns == ("a", "b")
    monkeypatch.setattr(sys, "stdin", Stream(b""))
    with pytest.raises(DataError, match="standard input is empty"):
        read("-")


def test_no_npy_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Stream()
    out.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(FileError, match="standard output is a terminal"):
        write("-", np.zeros(2))
    assert out.buffer.getvalue() == b""  # type: ignore[attr-defined]
