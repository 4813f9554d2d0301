"""Columns of measurements and prices keep their decimals, and columns of two values are told as such."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import isthmus
from isthmus.errors import DamagedFileError
from isthmus.formats import TableFormat, format_from_json
from isthmus.verbs.impute import impute

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
random = np.random.default_rng(0)


def shop(n: int = 400) -> Any:
    a = random.normal(size=n)
    b = 2 * a + 0.3 * random.normal(size=n)
    return pd.DataFrame({
        "price": np.round(np.exp(1.5 * a) * 10, 2),
        "temperature": np.round(20 + b, 1).astype(np.float32),
        "share": 1 / (1 + np.exp(-b)),
        "open": (a > 0).astype(int),
        "town": np.where(b > 0, "Bern", "Rome"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def frame() -> Any:
    return shop()


@pytest.fixture(scope="module")
def holes(frame: Any) -> Any:
    return frame.mask(random.random(frame.shape) < 0.2).astype({"temperature": np.float32})


@pytest.fixture(scope="module")
def model(frame: Any) -> isthmus.PCA:
    return isthmus.PCA(2).fit(frame)


def without_decimals(model: Any) -> Any:
    """The same model, of columns that have any decimals."""
    loose = copy.deepcopy(model)
    form = loose.format_
    form._settle(tuple(replace(code, decimals=None) if hasattr(code, "decimals") else code for code in form.codes_),
                 form.container_)  # fmt: skip
    return loose


def test_decimals_are_found(frame: Any) -> None:
    found = {column["name"]: column["holds"] for column in TableFormat().fit(frame).describe()}
    assert found["price"].endswith(", 2 decimals")
    assert found["temperature"].endswith(", 1 decimal")
    assert "decimal" not in found["share"] + found["open"]


@pytest.mark.parametrize("decimals", range(1, 9))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_decimals_that_all_values_have(decimals: int, dtype: str) -> None:
    x = np.round(random.normal(size=5000) / 10 ** max(decimals - 5, 0), decimals).astype(dtype)
    code = TableFormat().fit(pd.DataFrame({"x": x, "y": np.arange(5000) % 7})).codes_[0]
    if dtype == "float64" or decimals <= 4:  # float32 has seven digits
        assert code.decimals == (decimals if decimals <= 6 else None)  # type: ignore[attr-defined]


def test_one_value_with_more_decimals_is_enough() -> None:
    x = np.round(random.normal(size=70_000), 2)  # the second batch has it
    x[69_000] = 0.1 + 0.2
    assert TableFormat().fit(pd.DataFrame({"x": x})).codes_[0].decimals is None  # type: ignore[attr-defined]
    x[69_000] = 0.125
    assert TableFormat().fit(pd.DataFrame({"x": x})).codes_[0].decimals == 3  # type: ignore[attr-defined]


def test_what_is_said_to_be_continuous_has_fractions(frame: Any) -> None:
    whole = frame.assign(price=np.arange(400) % 50 * 1.0)
    told = TableFormat({"price": "continuous"}).fit(whole)
    assert told.codes_[0].decimals is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["mode", "draw"])
def test_filled_cells_have_the_decimals_of_their_column(model: Any, frame: Any, holes: Any, how: str) -> None:
    filled, loose = (impute(some, holes, how, seed=3) for some in (model, without_decimals(model)))
    for name, decimals in (("price", 2), ("temperature", 1)):
        open_ = holes[name].isna()
        assert filled[name].dtype == frame[name].dtype
        pd.testing.assert_series_equal(filled[name][~open_], holes[name][~open_])
        assert (np.round(filled[name].astype(float), decimals).astype(frame[name].dtype) == filled[name]).all()
        assert not (np.round(loose[name][open_].astype(float), decimals) == loose[name][open_]).all(), (
            "or nothing is tested"
        )
        off = (filled[name] - loose[name])[open_].abs()
        assert off.max() <= 0.5 * 10**-decimals * 1.001 + 1e-5  # and so are the quantiles of draws


def test_means_are_not_rounded(model: Any, holes: Any) -> None:
    filled = impute(model, holes, "mean").price[holes.price.isna()]
    assert not (np.round(filled, 2) == filled).all()


def test_decoded_and_sampled_rows_too_also_after_loading(model: Any, frame: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "m.isthmus")
    for some in (model, isthmus.load(tmp_path / "m.isthmus")):
        for made in (some.reconstruct(frame), some.sample(50, 1)):
            assert (np.round(made.price, 2) == made.price).all()
            assert made.dtypes.equals(frame.dtypes)


def test_a_file_from_before_decimals_were_kept(model: Any) -> None:
    saved = model.format_.to_json()
    for column in saved["columns"]:
        column.pop("decimals", None)
    assert format_from_json(copy.deepcopy(saved)).codes_[0].decimals is None  # type: ignore[attr-defined]
    for bad in ("2", -1, 2.5, True, 10**9):
        saved["columns"][0]["decimals"] = bad
        with pytest.raises(DamagedFileError, match="decimals"):
            format_from_json(copy.deepcopy(saved))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.98])
@pytest.mark.parametrize("values", [(0, 1), (1, 2), (-5.0, 300.0)])
def test_two_values_have_no_tails(share: float, values: tuple[float, float]) -> None:
    chosen = random.random(70_000) < share
    x = np.where(chosen, values[1], values[0])
    frame = pd.DataFrame({"x": x, "y": x + random.normal(size=len(x))})
    form = TableFormat().fit(frame)
    told = form.describe()[0]
    assert told["kind"] == "integer"
    assert told["holds"] == f"{values[0]:g} to {values[1]:g}"
    assert told["note"] == f"two values: {values[1]:g} in {chosen.mean():.0%}, {values[0]:g} in the rest"
    code = form.codes_[0]
    middle = np.array([0.49, 0.51]) * (values[1] - values[0]) + values[0]
    assert np.allclose(code.unscaled(code.scaled(middle)), middle)  # type: ignore[attr-defined]  # a line
    assert form.from_tensor(form.to_tensor(frame)).x.equals(frame.x)


def test_a_third_value_in_a_later_batch() -> None:
    x = np.zeros(70_000, int)
    x[::2] = 1
    x[-1] = 7
    assert TableFormat().fit(pd.DataFrame({"x": x})).describe()[0]["note"] == ""
