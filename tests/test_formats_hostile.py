"""What is no array of numbers, what format items have, and saved formats that were tampered with."""

from __future__ import annotations

import copy
import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import sparse

from isthmus.errors import DamagedFileError, DataError, FileError, FormatError
from isthmus.formats import Format, ImageFormat, SeriesFormat, VectorFormat, format_from_json, format_of
from isthmus.formats.arrays import Origin, as_array, require_finite
from isthmus.formats.saved import Saved, shortened


class Frame:
    """What formats see of a frame."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = list(columns)
        self.array = np.array([list(row) for row in zip(*columns.values(), strict=True)], dtype=object)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array


class Unspeakable:
    """Fails at whatever is asked of it."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __float__(self) -> float:
        raise RuntimeError("no")


def mixed(cell: Any) -> np.ndarray:
    array = np.arange(6.0).reshape(2, 3).astype(object)
    array[1, 2] = cell
    return array


# --- What is no array of numbers -----------------------------------------------------------------------------------

REFUSED = [
    (
        mixed({"foo": "bar"}),
        r"row 1, column 2 holds \{'foo': 'bar'\} of type dict.*argument must be a string or a real",
    ),
    (mixed("seven"), r"row 1, column 2 holds 'seven' of type str, which is not a number. Leave it out or turn it"),
    (mixed("7"), r"row 1, column 2 holds '7' of type str"),
    (mixed(b"7"), r"row 1, column 2 holds b'7' of type bytes"),
    (mixed([1]), r"row 1, column 2 holds \[1\] of type list"),
    (mixed(10**400), r"row 1, column 2 holds 1000.*\.\.\. of type int.*too large"),
    (mixed(date(2020, 1, 2)), r"holds datetime.date\(2020, 1, 2\) of type date"),
    (mixed(1j), "Complex data not supported: the items are complex"),
    (mixed(np.complex64(1j)), "Complex data not supported"),
    (np.ones((2, 2)) * 1j, "Complex data not supported"),
    (torch.ones(2, 2) * 1j, "Complex data not supported"),
    (sparse.csr_matrix(np.eye(3)), r"the items are a sparse matrix \(csr_matrix\), .* X\.toarray\(\)"),
    *[(sparse.eye_array(3).asformat(kind), "sparse") for kind in ("csc", "coo", "bsr", "dia", "dok", "lil")],
    (torch.eye(3).to_sparse(), r"sparse torch tensor.*to_dense\(\)"),
    (torch.ones(2, 2, dtype=torch.float8_e4m3fn), r"torch items of float8_e4m3fn are not supported.*torch\.float32"),
    (torch.ones(2, 2, device="meta"), "without data"),
    ([["1", "2"], ["3", "4"]], r"the items are text \(<U1\), for example '1'; numbers are needed.*astype"),
    (np.array([[b"1"]]), "the items are text"),
    (np.array([["1"]], dtype=np.dtypes.StringDType()), "the items are text"),
    (np.array([["2020-01-01"]], dtype="datetime64[D]"), r"dates or durations \(datetime64\[D\]\)"),
    (
        np.ones((2, 2), dtype=np.longdouble),
        r"items of dtype (float128|longdouble) are not supported.*astype\('float64'\)",
    ),
    ([[1, 2], [3]], r"differ in shape: item 0 has \(2,\), item 1 has \(1,\)\. All must be of one shape"),
    ([torch.ones(2), torch.ones(3)], r"item 0 has \(2,\), item 1 has \(3,\)"),
    ([np.ones(2), np.ones(3)], r"item 0 has \(2,\), item 1 has \(3,\)"),
    (np.array([[1, 2], [3]], dtype=object), r"item 0 has \(2,\), item 1 has \(1,\)"),
    (None, "an array of items is needed, not None"),
    ("vector", "an array of items is needed, not 'vector'"),
    (b"abc", "an array of items is needed"),
    ((x for x in [[1, 2]]), r"the items are a generator, .* list\(X\)"),
    ({1, 2}, "the items are a set"),
    (object(), r"position \[\] holds <object object"),
    (Unspeakable(), r"position \[\] holds something of type Unspeakable"),
    (np.full((2, 1), 2**63, dtype=np.uint64), r"hold 9223372036854775808 at position \[0, 0\].*below 2\*\*63"),
    (torch.full((2, 1), 2**63, dtype=torch.uint64), r"below 2\*\*63"),
    (
        {"age": [1, 2], "name": ["x", "y"]},
        'read as numbers, but "name" is not numeric: give format="table"',
    ),
    (Frame({"age": [1, 2], "name": ["x", "y"]}), 'a table of 2 columns was given, of which "name" is not numeric'),
    (Frame({"a": ["x"], "b": ["y"]}), 'of which "a" and "b" are not numeric.*Select the numeric columns'),
    (
        np.array([(1, b"x")], dtype=[("age", "i4"), ("name", "S1")]),
        'a record array of 2 columns.*"name" is not numeric',
    ),
    (
        np.array([(1, 2)], dtype=[("a", "i4"), ("b", "f4")]),
        "record array of 2 columns was given; tables are not supported yet",
    ),
]


@pytest.mark.parametrize(("items", "told"), REFUSED, ids=range(len(REFUSED)))
def test_what_holds_no_numbers_is_refused(items: Any, told: str) -> None:
    with pytest.raises(FormatError, match=told) as caught:
        VectorFormat().fit(items)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 500


def test_object_arrays_of_numbers_are_taken() -> None:
    for cell in (3, 2.5, True, np.float32(1), Decimal("1.5"), np.int8(3), 2**70):
        origin, array = as_array(mixed(cell))
        assert origin == Origin("numpy", "float64")
        assert array[1, 2] == float(cell)
    assert as_array(Frame({"age": [1, 2], "pay": [2.5, True]}))[0].columns == ("age", "pay")


def test_masked_values_are_refused() -> None:
    with pytest.raises(DataError, match=r"masked values: fill them, for example X\.filled\(0\)"):
        VectorFormat().fit(np.ma.MaskedArray([[1.0, 2]], mask=[[True, False]]))


@pytest.mark.parametrize(
    ("X", "told"),
    [
        (np.empty((0, 3)), r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required"),
        (np.empty((3, 0)), r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is required\b.*\."),
        (np.empty((12, 0)), r"0 feature\(s\) \(shape=\(\d*, 0\)\) while a minimum of \d* is required."),
        ([], "Expected 2D array, got 1D array instead"),
        (
            np.arange(5),
            r"Expected 2D array, got 1D array instead: shape \(5,\)\. Reshape your data.*X\.reshape\(1, -1\)",
        ),
        (3.0, "Expected 2D array, got scalar array instead.*Reshape your data"),
        (np.ones((2, 3, 4)), r'Found array with dim 3.*format="series".*X\.reshape\(len\(X\), -1\)'),
        ([[1, np.nan], [2, 3]], r"contain NaN in column 1 \(first in row 0\)\. Drop those rows, or fill them"),
        ([[1, 2], [-np.inf, 3]], r"contain infinity in column 0 \(first in row 1\)"),
        ([[np.inf, np.nan, 1]], "contain NaN in column 1 .first in row 0. and infinity in column 0"),
        (np.full((2, 9), np.nan), r"NaN in columns 0, 1, 2, 3, 4 and 4 more \(first in row 0\)"),
        (np.float16([[np.inf]]), "infinity in column 0"),
        (torch.tensor([[1.0, float("nan")]]), "NaN in column 1"),
        (mixed(None), r"NaN in column 2 \(first in row 1\)"),
        (Frame({"age": [1.0, 2.0], "pay": [np.nan, 1.0]}), r'NaN in column "pay" \(first in row 0\)'),
    ],
)
def test_empty_or_unfinished_vectors_are_refused(X: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        VectorFormat().fit(X)
    fitted = VectorFormat().fit(np.arange(6.0).reshape(2, 3))
    with pytest.raises(DataError):
        fitted.to_tensor(X)


@pytest.mark.parametrize(
    ("X", "told"),
    [
        (np.empty((0, 3)), r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1"),
        (np.empty((3, 0, 2)), r"0 step\(s\) \(shape=\(3, 0, 2\)\)"),
        (np.empty((3, 2, 0)), r"0 channel\(s\)"),
        (np.arange(5), r"shape \(5,\) does not hold series; .*If it is one series, give X\.reshape\(1, -1\)"),
        (np.float64(3), r"shape \(\) does not hold series"),
        (np.ones((2, 3, 4, 5)), r"\(n, t\) or \(n, t, c\) is expected"),
        ([[1, np.nan], [2, 3]], r"the series contain NaN in item 0 at position \[1, 0\]"),
        (np.full((3, 4, 2), [0, np.inf]), r"infinity in 3 items, first in item 0 at position \[0, 1\]"),
        ({"a": [1.0]}, "tables are not supported yet"),
    ],
)
def test_what_are_no_series_is_refused(X: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        SeriesFormat().fit(X)


def test_items_of_another_shape_than_learned_are_refused() -> None:
    vector = VectorFormat().fit(np.arange(10.0).reshape(2, 5))
    with pytest.raises(FormatError, match=r"X has 3 features, but \w+ \w+ is expecting 5 features as input"):
        vector.to_tensor(np.ones((2, 3)))
    plain, rich = SeriesFormat().fit(np.ones((2, 5))), SeriesFormat().fit(np.ones((2, 5, 3)))
    for format, X, told in (
        (
            plain,
            np.ones((2, 4)),
            r"series of shape \(2, 4\) given, but this SeriesFormat is expecting \(n, 5\): 5 steps of 1",
        ),
        (plain, np.ones((2, 5, 1)), r"expecting \(n, 5\)"),
        (rich, np.ones((2, 5, 2)), r"expecting \(n, 5, 3\): 5 steps of 3 channels$"),
        (rich, np.ones((2, 3, 5)), r"expecting \(n, 5, 3\)"),
        (rich, np.ones((5, 3)), r"If it is one series, give X\[None\]"),
    ):
        with pytest.raises(FormatError, match=told):
            format.to_tensor(X)


def test_flaws_are_found_in_any_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.formats.arrays.CHUNK", 4)
    X = np.zeros((20, 3))
    X[17, 2] = X[19, 0] = np.nan
    for check in (VectorFormat().fit, lambda X: require_finite(X, Origin())):
        with pytest.raises(DataError, match=r"NaN in columns 0 and 2 \(first in row 17\)"):
            check(X)
    require_finite(np.full((9, 2), np.finfo(np.float64).max), Origin())


# --- Which format items have ---------------------------------------------------------------------------------------

ZEROS = np.zeros
INFERRED = [
    ([[1, 2], [3, 4]], VectorFormat),
    (ZEROS((5, 3)), VectorFormat),
    (ZEROS((0, 3)), VectorFormat),
    (torch.zeros(5, 3), VectorFormat),
    (Frame({"a": [1, 2], "b": [3, 4]}), VectorFormat),
    (ZEROS((5, 2, 3), dtype=np.uint8), ImageFormat),
    (ZEROS((5, 28, 28), dtype=bool), ImageFormat),
    (ZEROS((5, 8, 9)), ImageFormat),
    (torch.ones(5, 8, 9), ImageFormat),
    (np.full((5, 8, 8), 255), ImageFormat),
    (np.full((5, 8, 9), 256), SeriesFormat),
    (np.full((5, 8, 9), -1), SeriesFormat),
    (np.full((5, 8, 9), 1.5), SeriesFormat),
    (np.full((5, 100, 3), 0.5), SeriesFormat),
    (np.full((5, 7, 7), 7.5), SeriesFormat),
    (ZEROS((0, 8, 8)), SeriesFormat),
    (ZEROS((5, 3, 32, 32)), ImageFormat),
    (ZEROS((5, 32, 32, 3), dtype=np.uint8), ImageFormat),
    ([Image.new("L", (4, 5))], ImageFormat),
    ((Image.new("L", (4, 5)),), ImageFormat),
    (["one.png", "two.JPG"], ImageFormat),
    ([Path("one"), Path("two")], ImageFormat),
]


@pytest.mark.parametrize(("items", "expected"), INFERRED, ids=range(len(INFERRED)))
def test_the_format_is_found_from_the_items(items: Any, expected: type[Format]) -> None:
    found = format_of(items)
    assert type(found) is expected
    assert not hasattr(found, "spec"), "it is for the model to fit"


@pytest.mark.parametrize(
    ("items", "told"),
    [
        (
            np.full((5, 8, 8), 7.5),
            r"shape \(5, 8, 8\) of float64 .* from 7\.5 to 7\.5 .*divide by 255.*format=\"series",
        ),
        (np.full((5, 8, 8), -0.5), r"ImageFormat\(range=\(-0\.5, -0\.5\)\)"),
        (np.full((5, 8, 8), 4095, dtype=np.int16), "could be images or series"),
        (np.full((5, 8, 9), np.nan), "NaN in 5 items"),
        (np.zeros((2, 2, 2, 2, 2)), r"5 axes was given, shape \(2, 2, 2, 2, 2\); allowed are vectors \(n, d\)"),
        (np.arange(3), "Expected 2D array, got 1D array instead"),
        (3, "got scalar array instead"),
        ([], "Expected 2D array"),
        (["a sentence", "another"], "a list of text was given, for example 'a sentence'.*text is not supported yet"),
        (["a" * 5000], "text is not supported yet"),
        (["nul\0"], "text is not supported yet"),
        (Image.new("L", (4, 5)), r"one Pillow image was given: give a list of images, \[image\]"),
    ],
)
def test_what_cannot_be_told_is_refused_with_advice(items: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        format_of(items)


def test_paths(tmp_path: Path) -> None:
    assert type(format_of(tmp_path)) is ImageFormat
    assert type(format_of(str(tmp_path))) is ImageFormat
    for name in ("data.npy", "data.csv", "picture.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FormatError, match=r"read it first, X = isthmus\.formats\.files\.read\('.*data\.npy'\)"):
        format_of(tmp_path / "data.npy")
    with pytest.raises(FormatError, match=r"one picture file: give its folder, or a list of paths"):
        format_of(str(tmp_path / "picture.png"))
    with pytest.raises(DataError, match=r"data\.csv is empty"):
        format_of([str(tmp_path / "data.csv")])
    with pytest.raises(FileError, match="there is no file or folder"):
        format_of(tmp_path / "nothing")


def test_a_format_or_a_word_decides() -> None:
    format = SeriesFormat("none")
    assert format_of(object(), format) is format
    assert type(format_of(np.zeros((3, 4)), "series")) is SeriesFormat
    assert type(format_of("anything", "vector")) is VectorFormat
    assert type(format_of(None, "image")) is ImageFormat
    for word, told in (
        ("tokens", "not supported yet"),
        ("vektor", 'format=\'vektor\' is unknown: give one of "vector", "image", "series", "table"'),
        (["vector"], "is unknown"),
        (3, "is unknown"),
        (VectorFormat, r"is a class: give an object of it, VectorFormat()"),
    ):
        with pytest.raises(FormatError, match=re.escape(told)):
            format_of(np.zeros((3, 4)), word)  # type: ignore[arg-type]


# --- Saved formats that were tampered with -------------------------------------------------------------------------

X = np.arange(24.0).reshape(4, 2, 3) ** 2
SAVED = [
    json.loads(json.dumps(format.to_json()))
    for format in (
        VectorFormat().fit(Frame({"a": [1.0, 2.0], "b": [3.0, 3.0]})),
        VectorFormat("none").fit(torch.zeros(2, 3)),
        SeriesFormat().fit(X),
        SeriesFormat("global").fit(X[:, :, 0] > 3),
        ImageFormat().fit(np.zeros((2, 8, 8), dtype=np.uint8)),
    )
]


def paths_of(node: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a JSON tree."""
    steps = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path for key, value in steps for path in [(*above, key), *paths_of(value, (*above, key))]]


@pytest.mark.parametrize("saved", SAVED, ids=lambda saved: saved["word"])
def test_a_saved_format_without_one_of_its_parts_is_damaged(saved: dict[str, Any]) -> None:
    assert format_from_json(saved).to_json() == saved
    for path in paths_of(saved):
        if path[-2:-1] == ("constant",):
            continue  # a shorter list of constant columns is a list of constant columns
        tampered = copy.deepcopy(saved)
        node = tampered
        for step in path[:-1]:
            node = node[step]
        del node[path[-1]]
        with pytest.raises(DamagedFileError):
            format_from_json(tampered)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([2**31 - 1, 10**400, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
@settings(max_examples=200)
def test_a_tampered_format_is_damaged_or_whole(data: st.DataObject) -> None:
    tampered = copy.deepcopy(data.draw(st.sampled_from(SAVED)))
    path = data.draw(st.sampled_from(paths_of(tampered)))
    node = tampered
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = data.draw(JSON)
    try:
        format = format_from_json(tampered)
    except DamagedFileError:
        return
    again = format_from_json(json.loads(json.dumps(format.to_json())))
    assert repr(again) == repr(format)
    assert format.spec.size > 0


@given(JSON)
def test_any_other_json_is_damaged(saved: Any) -> None:
    with pytest.raises(DamagedFileError):
        format_from_json(saved)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("word",), "tokens", '"word" of the saved format should be one of image, series, table, vector, not \'token'),
        (("word",), ["vector"], '"word" of the saved format should be one of'),
        (("width",), 0, '"width" of the saved vector format should be a whole number from 1 to'),
        (("width",), 3, "should be of 3 columns"),
        (("origin", "dtype"), "complex64", "should be one of"),
        (("origin", "dtype"), "bfloat16", "which does not exist"),
        (("origin", "columns"), ["a", 2], "null or a list of strings"),
        (("scaling", "step"), [1.0, 0.0], '"step" of the saved scaling should be numbers above 0'),
        (("scaling", "step"), [1.0], "a list of 2 finite numbers"),
        (("scaling", "offset"), [1.0, float("nan")], "a list of 2 finite numbers"),
        (("scaling", "offset"), [1.0, 10**400], "a list of 2 finite numbers"),
        (("scaling", "offset"), [1.0, True], "a list of 2 finite numbers"),
        (("scaling", "constant"), [2], "a rising list of whole numbers below 2"),
        (("scaling", "constant"), [1, 0], "a rising list"),
        (("scaling", "binary"), 1, "should be true or false"),
    ],
)
def test_the_message_names_what_is_wrong(path: tuple[str, ...], value: Any, told: str) -> None:
    tampered = copy.deepcopy(SAVED[0])
    node = tampered
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    with pytest.raises(DamagedFileError, match=re.escape(told)):
        format_from_json(tampered)


def test_lengths_that_a_file_makes_up_cost_no_memory() -> None:
    tampered = copy.deepcopy(SAVED[1])
    tampered["width"] = 2**31 - 1
    assert format_from_json(tampered).spec.shape == (2**31 - 1,)


def test_missing_keys_are_named() -> None:
    with pytest.raises(DamagedFileError, match='the thing has no "size"; the file is damaged'):
        Saved({}, "the thing").get("size")
    with pytest.raises(DamagedFileError, match=r"the thing should be a JSON object, not \[1\]"):
        Saved([1], "the thing")
    with pytest.raises(DamagedFileError, match="should be a finite number"):
        Saved({"size": float("inf")}, "the thing").number("size")
    assert Saved({"size": 3}, "the thing").number("size") == 3.0
    with pytest.raises(DamagedFileError, match="a list of 2 strings"):
        Saved({"names": ["a"]}, "the thing").words("names", length=2)


def test_values_are_shown_in_few_characters() -> None:
    assert shortened("x" * 10**6) == "'" + "x" * 56 + "..."
    assert shortened(list(range(1000))) == "a list of 1000"
    assert shortened(Unspeakable()) == "something of type Unspeakable"
    assert shortened([1, "a"]) == "[1, 'a']"
