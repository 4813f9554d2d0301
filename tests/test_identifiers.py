"""Columns that number the rows, in any order, and quantities that only look a little like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.formats import TableFormat, kinds

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pd = pytest.importorskip("pandas")
pytest.importorskip("datasketches")


def kind_of(values: Any) -> str:
    """What a column is found to be, beside one that can be learned."""
    made = TableFormat().fit(pd.DataFrame({"beside": np.linspace(0, 1, len(values)), "a": values}))
    return made.codes_[1].kind


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(50, 300),
    first=st.sampled_from([0, 1, -7, 1000, 10**12]),
    share=st.floats(0.7, 1),
    seed=st.integers(0, 99),
    dtype=st.sampled_from(["int64", "int32", "uint32", "Int64"]),
)
def test_shuffled_row_numbers_are_identifiers(n: int, first: int, share: float, seed: int, dtype: str) -> None:
    random = np.random.default_rng(seed)
    first = first if dtype in ("int64", "Int64") else abs(first) % 10**6
    values = random.permutation(round(n / share))[:n] + first  # a part of the rows of a table is numbered with gaps
    assert kind_of(pd.Series(values).astype(dtype)) == "identifier"
    values[3] = values[7]
    assert kind_of(pd.Series(values).astype(dtype)) == "integer", "one comes twice"


@settings(max_examples=60, deadline=None)
@given(n=st.integers(50, 400), most=st.integers(2, 2000), seed=st.integers(0, 999), skewed=st.booleans())
def test_whole_numbers_drawn_at_random_are_no_identifiers(n: int, most: int, seed: int, skewed: bool) -> None:
    random = np.random.default_rng(seed)
    drawn = random.geometric(min(3 / most, 1), n) if skewed else random.integers(0, most, n)
    assert kind_of(drawn) in ("integer", "constant")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.arange(49)[::-1], "integer"),  # too few rows to say so
        (np.arange(60)[::-1], "identifier"),  # 1, 2, 3 from the last row to the first
        (np.random.default_rng(0).permutation(60) * 2, "integer"),  # every other number is no row number
        (np.random.default_rng(0).permutation(60).astype(float), "integer"),  # a measured quantity
        (np.random.default_rng(0).permutation(60) + 0.5, "continuous"),
        (np.random.default_rng(0).choice(100_000, 500, replace=False), "integer"),  # prices, all different
        (np.clip(np.random.default_rng(0).normal(40, 15, 5000), 18, 95).astype(int), "integer"),  # ages
        (pd.Series([*range(60, 0, -1), None], dtype="Int64"), "integer"),  # rows without a number
        (pd.to_timedelta(np.random.default_rng(0).permutation(60), "s"), "duration"),
        (np.array([2**64 - 1, *range(59)], np.uint64), "integer"),
    ],
)
def test_what_is_an_identifier(values: Any, kind: str) -> None:
    assert kind_of(values) == kind


def test_what_the_user_says_is_believed() -> None:
    rank = np.random.default_rng(0).permutation(80) + 1
    frame = pd.DataFrame({"beside": np.linspace(0, 1, 80), "rank": rank})
    assert TableFormat().fit(frame).codes_[1].kind == "identifier"
    made = TableFormat({"rank": "integer"}).fit(frame)
    assert made.from_tensor(made.to_tensor(frame))["rank"].tolist() == rank.tolist()


def test_shuffled_row_numbers_are_put_back() -> None:
    frame = pd.DataFrame({"beside": np.linspace(0, 1, 80), "row": np.random.default_rng(0).permutation(80)})
    made = TableFormat().fit(frame)
    pd.testing.assert_frame_equal(made.from_tensor_of(made.to_tensor(frame), frame), frame)


@pytest.mark.parametrize("twice", [False, True])
def test_a_stream_says_what_memory_says(tmp_path: Path, twice: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "LOOKED_AT", 100)
    random = np.random.default_rng(1)
    numbers = random.permutation(3000)
    numbers[:1500] = numbers[1500:] if twice else numbers[:1500]
    table = pa.table({"beside": random.standard_normal(3000), "a": numbers})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=70)
    there, here = TableFormat().fit(tmp_path / "a.parquet"), TableFormat().fit(table)
    assert [code.to_json() for code in there.codes_] == [code.to_json() for code in here.codes_]
    assert here.codes_[1].kind == ("integer" if twice else "identifier")


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 30), min_size=1, max_size=60), data=st.data())
def test_neither_order_nor_batches_decide(values: list[int], data: st.DataObject) -> None:
    """Of the different numbers of the least keys none comes twice: so says the definition, all at once."""

    def said(numbers: list[int], cuts: list[int]) -> tuple[bool, list[int]]:
        looked_at = kinds._Different()
        for piece in np.split(np.array(numbers, np.int64), sorted(cuts)):
            looked_at.add(piece)
        assert len(looked_at.keys) <= 8
        return looked_at.all(), looked_at.keys.tolist()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "LOOKED_AT", 8)
        cuts = data.draw(st.lists(st.integers(0, len(values)), max_size=6))
        found, _ = said(values, cuts)
        assert found == said(data.draw(st.permutations(values)), [])[0]
        key = {value: kinds._Different().add(np.array([value])).keys.tolist() for value in set(values)}
        least = sorted(set(values), key=lambda value: key[value] or [2**64])[:8]
        assert len({tuple(one) for one in key.values()}) == len(key), "no two numbers share a key"
        assert found == all(values.count(value) == 1 for value in least)
