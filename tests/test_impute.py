"""Filling the holes of a table."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import isthmus as im
from isthmus.errors import DataError, FormatError, IsthmusWarning, NotSupported, SettingError
from isthmus.formats import TableFormat
from isthmus.models import PCA, VAE, Autoencoder
from isthmus.verbs.impute import impute

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("datasketches")

QUICK = {"epochs": 40, "batch_size": 32, "size": "small", "device": "cpu"}
MODELS = {"pca": (PCA, {}), "autoencoder": (Autoencoder, QUICK), "vae": (VAE, QUICK)}
NAMES = ("a", "b", "count", "sign", "member", "day", "stay")


@functools.cache
def frames(n: int = 600) -> tuple[Any, Any]:
    """A table that two hidden numbers decide: whole, and with a fifth of its cells missing."""
    r = np.random.default_rng(0)
    h, noise = r.standard_normal((n, 2)), r.standard_normal((n, 4))
    whole = pd.DataFrame({
        "a": h[:, 0] + 0.3 * noise[:, 0],
        "b": 1000 * (h[:, 0] + 0.3 * noise[:, 1]),
        "count": pd.array(np.rint(50 + 10 * h[:, 1] + 3 * noise[:, 2]), dtype="Int64"),
        "sign": pd.Categorical(np.where(h[:, 0] > 0, "plus", "minus"), ["plus", "never", "minus"]),
        "member": pd.array(h[:, 1] > 0.5, dtype="boolean"),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.rint(100 * h[:, 1]), "D"),
        "stay": pd.to_timedelta(np.rint(3600 * (10 + h[:, 0] + 0.1 * noise[:, 3])), "s"),
        "key": [f"k{i}" for i in range(n)],
        "unit": "cm",
    })  # fmt: skip
    at = r.random((n, len(NAMES))) < 0.2
    holes = whole.copy()
    for place, name in enumerate(NAMES):
        holes[name] = holes[name].mask(at[:, place])
    return whole, holes


@functools.cache
def fitted(word: str) -> Any:
    kind, given = MODELS[word]
    return kind(2, **given).fit(frames()[1])


@pytest.fixture(params=MODELS)
def word(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("how", ["mode", "mean", "draw"])
def test_holes_are_filled_and_all_else_is_as_it_was(word: str, how: str) -> None:
    holes = frames()[1]
    before = holes.copy()
    filled = impute(fitted(word), holes, how)
    assert not filled.isna().any(axis=None)
    assert filled.dtypes.equals(holes.dtypes)
    for name in holes:
        there = holes[name].notna()
        assert filled[name][there].equals(holes[name][there]), name
    pd.testing.assert_frame_equal(holes, before)


def test_what_is_filled_is_near_the_truth(word: str) -> None:
    whole, holes = frames()
    filled = impute(fitted(word), holes, "mean")
    for name in ("a", "b", "count", "day", "stay"):
        at = holes[name].isna()
        x, y = (frame[name][at] for frame in (whole, filled))
        apart = (x - y).astype(float) if name in ("a", "b", "count") else (x - y) / pd.Timedelta("1D")
        spread = x.astype(float) if name in ("a", "b", "count") else (x - x.min()) / pd.Timedelta("1D")
        assert np.sqrt((apart**2).mean()) < 0.8 * spread.std(), name
    for name in ("sign", "member"):
        at = holes[name].isna()
        assert (whole[name][at] == filled[name][at]).mean() > 0.75, name


def test_a_table_without_holes_is_given_back(word: str) -> None:
    whole = frames()[0]
    pd.testing.assert_frame_equal(impute(fitted(word), whole), whole)


@pytest.mark.parametrize("make", [pl.from_pandas, pa.Table.from_pandas, lambda frame: frame.to_dict("records")])
def test_the_kind_of_table_is_that_of_the_table_given(make: Any) -> None:
    holes = frames()[1].drop(columns=["stay"])
    model = PCA(2).fit(holes)
    filled = impute(model, make(holes))
    assert type(filled) is type(make(holes))
    own = impute(model, holes)
    if isinstance(filled, list):
        assert [row["sign"] for row in filled] == own["sign"].tolist()
        assert [row["a"] for row in filled] == own["a"].tolist()
    elif isinstance(filled, pl.DataFrame):
        assert filled.equals(pl.from_pandas(own))
    else:
        assert filled["b"].to_pylist() == own["b"].tolist()
        assert filled["sign"].to_pylist() == own["sign"].tolist()


def test_other_columns_orders_and_types_of_the_table_given() -> None:
    holes = frames()[1]
    given = (
        holes[list(reversed(holes.columns))].assign(more=[None, 1] * 300).astype({"count": "float64", "sign": "str"})
    )
    with pytest.warns(IsthmusWarning, match="columns not learned from are left aside"):
        filled = impute(fitted("pca"), given)
    own = impute(fitted("pca"), holes)
    assert list(filled) == list(given)
    assert filled.dtypes.equals(given.dtypes)
    assert filled["more"].isna().sum() == 300
    assert_array_equal(filled["count"], own["count"].astype("float64"))
    assert_array_equal(filled["sign"], own["sign"].astype("str"))


def test_categories_are_kept_and_grow_where_they_must() -> None:
    holes = frames()[1]
    assert list(impute(fitted("pca"), holes)["sign"].cat.categories) == ["plus", "never", "minus"]
    narrow = holes.assign(sign=pd.Categorical(["plus"] * 599 + [None], ["plus"]))
    narrow.loc[599, ["a", "b"]] = -3.0, -3000.0
    filled = impute(fitted("pca"), narrow)
    assert filled["sign"][599] == "minus"
    assert list(filled["sign"].cat.categories) == ["plus", "minus"]


def test_a_column_without_values_is_filled() -> None:
    holes = frames()[1]
    filled = impute(fitted("pca"), holes.assign(sign=None, a=np.nan))
    assert filled["sign"].isin(["plus", "minus"]).all()
    assert filled["a"].notna().all()


def test_constants_are_filled_and_identifiers_are_not() -> None:
    holes = frames()[1].assign(unit=["cm", None] * 300)
    assert (impute(fitted("pca"), holes)["unit"] == "cm").all()
    with pytest.warns(IsthmusWarning, match=r'holes are left in "key" \(identifier\), which the model did not learn'):
        filled = impute(fitted("pca"), holes.assign(key=[None, "k"] * 300))
    assert filled["key"].isna().sum() == 300


def test_a_mean_may_be_a_fraction_and_whole_numbers_stay_whole() -> None:
    holes = frames()[1]
    loose = holes.astype({"count": "float64"})
    model = PCA(2).fit(loose)
    at = loose["count"].isna()
    assert (impute(model, loose, "mode")["count"][at] % 1 == 0).all()
    assert (impute(model, loose, "mean")["count"][at] % 1 != 0).any()
    assert (impute(model, loose, "draw")["count"][at] % 1 == 0).all()
    assert str(impute(fitted("pca"), holes, "mean")["count"].dtype) == "Int64"


# ---- draws and doubts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word_", ["autoencoder", "vae"])
def test_draws_differ_and_their_mean_is_the_mean(word_: str) -> None:
    holes = frames()[1]
    model = fitted(word_)
    drawn = impute(model, holes, "draw", draws=40, seed=5)
    assert len(drawn) == 40
    at = holes["a"].isna()
    values = np.stack([frame["a"][at] for frame in drawn])
    assert (values.std(0) > 0).all()
    mean, doubt = impute(model, holes, "mean", uncertainty=True)
    doubt = doubt[at, 0]
    assert_allclose(values.mean(0), mean["a"][at], atol=float(6 * doubt.max() / np.sqrt(40)))
    assert 0.7 < values.std(0).mean() / doubt.mean() < 1.6
    signs = np.stack([frame["sign"][holes["sign"].isna()] == "plus" for frame in drawn])
    assert 0 < signs.std(0).mean() < 0.5


def test_draws_of_a_vae_go_together() -> None:
    """Of a row that says nothing its code is drawn too, so that columns which belong together are drawn together."""
    nothing = frames()[1][:1].copy()
    for name in NAMES:
        nothing[name] = nothing[name].mask([True])
    drawn = impute(fitted("vae"), pd.concat([nothing] * 300, ignore_index=True), "draw")
    assert np.corrcoef(drawn["a"], drawn["b"])[0, 1] > 0.15
    assert np.corrcoef(drawn["a"], drawn["sign"] == "plus")[0, 1] > 0.15


def test_the_seed_decides_the_draws(word: str) -> None:
    holes = frames()[1]
    one, again, other = (impute(fitted(word), holes, "draw", seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)
    assert impute(fitted(word), holes, "draw", draws=1, seed=1)[0].equals(one)


def test_drawn_columns_spread_as_true_ones(word: str) -> None:
    whole, holes = frames()
    drawn = impute(fitted(word), holes, "draw", seed=0)
    at = holes["a"].isna()
    assert 0.75 < drawn["a"][at].std() / whole["a"][at].std() < 1.3


def test_uncertainty_is_about_right(word: str) -> None:
    whole, holes = frames()
    filled, doubt = impute(fitted(word), holes, "mean", uncertainty=True)
    assert doubt.shape == (600, 9)
    assert_array_equal(np.isnan(doubt), ~holes.isna().to_numpy(), err_msg="only what was filled is in doubt")
    units = {"a": 1.0, "b": 1.0, "count": 1.0, "day": pd.Timedelta("1D"), "stay": pd.Timedelta("1s")}
    for name, unit in units.items():
        at = holes[name].isna().to_numpy()
        apart = ((whole[name] - filled[name])[at] / unit).astype(float)
        ratio = np.sqrt((apart**2).mean()) / (doubt[at, list(holes).index(name)].mean())
        assert 0.5 < ratio < 2, (name, ratio)
    at = holes["sign"].isna().to_numpy()
    wrong = (whole["sign"] != filled["sign"])[at].to_numpy()
    told = doubt[at, 3]
    assert ((told >= 0) & (told <= 1)).all()
    assert abs(wrong.mean() - told.mean()) < (0.3 if word == "pca" else 0.15)  # a line knows no chances
    if wrong.any():
        assert told[wrong].mean() > told[~wrong].mean()


def test_a_row_with_nothing_in_it_is_filled_with_what_is_usual(word: str) -> None:
    holes = frames()[1]
    nothing = holes[:2].copy()
    for name in NAMES:
        nothing[name] = nothing[name].mask([True, True])
    filled, doubt = impute(fitted(word), nothing, uncertainty=True)
    assert not filled.isna().any(axis=None)
    assert abs(filled["a"][0] - holes["a"].mean()) < 1.5 * holes["a"].std()
    assert np.isfinite(doubt[:, :7]).all()


def test_text_is_filled() -> None:
    texts = [f"{who} eats {what}" for who in ("Ann", "Bob") for what in ("figs", "nuts", "rice") for _ in range(20)]
    frame = pd.DataFrame({"t": pd.Series(texts, dtype="str"), "who": [t[:3] for t in texts]})
    model = Autoencoder(3, format=TableFormat({"t": "text"}), **QUICK).fit(frame)
    frame.loc[::7, "t"] = None
    filled, doubt = impute(model, frame, uncertainty=True)
    at = frame["t"].isna()
    assert (filled["t"][at].str[:3] == frame["who"][at]).mean() > 0.8
    assert ((doubt[at, 0] > 0) & (doubt[at, 0] <= 1)).all()


# ---- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"how": "guess"}, "how='guess': expected one of 'mode', 'mean', 'draw'"),
        ({"draws": 3}, "draws=3: expected a whole number from 1, together with how='draw'"),
        ({"how": "draw", "draws": 0}, "draws=0"),
        ({"how": "draw", "draws": True}, "draws=True"),
        ({"how": "draw", "seed": -1}, "seed=-1: expected a whole number from 0"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        impute(fitted("pca"), frames()[1], **settings)


def test_what_cannot_be_imputed() -> None:
    holes = frames()[1]
    with pytest.raises(NotSupported, match=r"fitted to a vector. Fit it with format='table'"):
        impute(PCA(2).fit(np.eye(5)), holes)
    with pytest.raises(NotSupported, match="fitted to nothing yet"):
        impute(PCA(2), holes)
    with pytest.raises(FormatError, match='missing: "a"'):
        impute(fitted("pca"), holes.drop(columns="a"))
    with pytest.raises(DataError, match="0 rows"):
        impute(fitted("pca"), holes[:0])
    with pytest.raises(FormatError, match="is no table"):
        impute(fitted("pca"), [1, 2])


@pytest.mark.parametrize("labels", [None, "text", "twice"])
def test_a_pandas_frame_keeps_its_index(labels: str | None) -> None:
    random = np.random.default_rng(0)
    age = random.integers(18, 80, 120)
    frame = pd.DataFrame({"age": age, "kind": random.choice(["a", "b"], 120), "price": age * 10.0})
    frame = frame.sample(frac=1, random_state=0)  # as a division into parts leaves it
    if labels:
        frame.index = [f"r{i if labels == 'text' else i // 2}" for i in range(120)]
    holed = frame.assign(price=frame["price"].where(np.arange(120) % 7 > 0))
    model = im.PCA(2).fit(holed)
    there = holed["price"].notna()
    for made in (im.impute(model, holed), *im.impute(model, holed, "draw", draws=2), model.reconstruct(holed)):
        pd.testing.assert_index_equal(made.index, frame.index)
    if labels != "twice":
        filled = holed.assign(price=im.impute(model, holed)["price"])  # put back by the index
        assert (filled["price"][there] == frame["price"][there]).all()
    numbers = frame[["age", "price"]]
    pd.testing.assert_index_equal(im.PCA(1).fit(numbers).reconstruct(numbers).index, frame.index)


def test_holes_of_a_wide_table_are_filled_no_worse_than_by_what_is_usual() -> None:
    """By a network that took chance for a rule, of columns that say nothing of each other."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.standard_normal((400, 280))).add_prefix("n")
    for name, chances in (("country", [0.5, 0.2, 0.2, 0.1]), ("town", [0.7, 0.1, 0.1, 0.1])):
        frame[name] = random.choice(["NL", "DE", "FR", "BE"], 400, p=chances)
    hidden = random.random(frame.shape) < 0.2
    holed = frame.mask(hidden)
    model = Autoencoder(4, epochs=40, size="small", verbose=False).fit(holed)

    def told() -> tuple[float, float]:
        filled = impute(model, holed)
        right = [(frame[c] == filled[c])[hidden[:, 280 + i]].mean() for i, c in enumerate(("country", "town"))]
        truth, said = (table.to_numpy()[:, :280][hidden[:, :280]].astype(float) for table in (frame, filled))
        return float(np.mean(right)), float(np.square(truth - said).mean() / np.square(truth).mean())

    usual = [(frame[c] == holed[c].mode()[0])[hidden[:, 280 + i]].mean() for i, c in enumerate(("country", "town"))]
    right, error = told()
    assert right > np.mean(usual) - 0.01
    assert error < 1.03
    model._conditional = None  # the network alone
    assert told()[1] > 1.03


def of_hours(n: int = 3000) -> Any:
    """Hours with a frequent value of its own, which go with two other columns, and a fifth of them missing."""
    random = np.random.default_rng(0)
    with_ = random.normal(size=n)
    hours = np.where(random.random(n) < 0.45, 40.0, (38 + 10 * with_ + random.normal(0, 5, n)).round())
    frame = pd.DataFrame({
        "hours": hours, "age": (40 + 12 * with_ + random.normal(0, 6, n)).round(),
        "kind": np.where(with_ + random.normal(0, 1, n) > 1.5, "few", "many"),
    })  # fmt: skip
    return frame, frame.assign(hours=frame.hours.mask(random.random(n) < 0.2))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_draws_of_a_number_with_a_frequent_value_spread_about_its_mean(k: int) -> None:
    whole, frame = of_hours()
    model, holes = im.PCA(k).fit(frame), frame.hours.isna()
    asked = frame[holes]
    draws = np.array([one.hours for one in im.impute(model, asked, "draw", draws=30, seed=0)])
    mean = im.impute(model, asked, "mean").hours
    assert np.corrcoef(draws.mean(0), mean)[0, 1] > 0.8
    assert draws.std() == pytest.approx(whole.hours[holes].std(), rel=0.15)
    assert (draws == 40).mean() == pytest.approx(0.45, abs=0.06)
    assert np.isin(draws, [whole.hours.min(), whole.hours.max()]).mean() < 0.02


def test_rows_sampled_from_pca_are_draws() -> None:
    whole, frame = of_hours()
    drawn = im.PCA(2).fit(frame).sample(3000, seed=1)
    assert (drawn.hours == 40).mean() == pytest.approx(0.45, abs=0.06)
    assert drawn.hours.std() == pytest.approx(whole.hours.std(), rel=0.2)
    assert (drawn.kind == "few").mean() == pytest.approx((whole.kind == "few").mean(), abs=0.06)
    assert np.corrcoef(drawn.hours, drawn.age)[0, 1] > 0.3


@pytest.mark.parametrize("nothing", [None, np.nan, pd.NaT, pd.NA])
def test_a_column_without_any_value_is_filled_whatever_its_dtype(nothing: Any) -> None:
    i = np.arange(100)
    frame = pd.DataFrame({
        "when": pd.date_range("2021-01-01", periods=100, tz="Europe/Berlin"), "v": i % 7 + 0.5,
        "kind": ["a", "b"] * 50, "note": [f"w {j * 7919 % 1000} x{j}" for j in i], "flag": [True, False] * 50,
        "span": pd.to_timedelta(i * 7919 % 1000, "s"),
    })  # fmt: skip
    model = im.PCA(2).fit(frame)
    for name in frame:
        filled = im.impute(model, frame.assign(**{name: nothing}))[name]
        assert filled.notna().all(), name
        assert np.isfinite(model.encode(frame.assign(**{name: nothing}))).all(), name
        if name in ("when", "kind", "note"):
            assert filled.dtype == frame[name].dtype
