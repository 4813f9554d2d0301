"""Files of earlier versions are read, and give the codes that they gave (see data/README.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import isthmus as im
from isthmus import store
from isthmus.models import MODELS, load

DATA = Path(__file__).parent / "data"
OLD = sorted(DATA.glob("*.isthmus"))
DIGITS = [path for path in OLD if path.stem.startswith("digits")]
TABLES = [path for path in OLD if path.stem.startswith(("table", "hours"))]


def digits() -> np.ndarray:
    return np.rint(load_digits().images[:20] * 255 / 16).astype(np.uint8)


def rows() -> pd.DataFrame:
    """As in data/README.md."""
    i = np.arange(200)
    wave = np.sin(i * 1.7)
    return pd.DataFrame({
        "price": np.where(i % 7 == 3, np.nan, np.round(50 + 20 * wave + i % 5, 2)),
        "rooms": i % 6 + (wave > 0),
        "kind": np.array(["flat", "house", "barn"])[(wave * 1.5 + 1.5).astype(int)],
        "sold": pd.Series(wave > 0.2).astype("boolean").mask(pd.Series(i % 11 == 5)),
        "seen": pd.Timestamp("2024-03-01", tz="Europe/Paris") + pd.to_timedelta(i * 37, "h"),
        "key": [f"k{j * 7919 % 1000:04}" for j in i],
    })  # fmt: skip


def hours() -> pd.DataFrame:
    """The same, and a number with a frequent value of its own."""
    i = np.arange(200)
    return rows().assign(hours=np.where(i * 7 % 5 < 2, 40, 15 + i * 31 % 47))


def test_there_is_an_old_file_of_every_model_and_version() -> None:
    versions = range(1, store.FILE_VERSION + 1)
    assert {path.stem for path in OLD} >= {
        f"{data}-{word}-v{version}" for data in ("digits", "table") for word in MODELS for version in versions
    }
    assert all(path.stat().st_size < 60_000 for path in OLD)


@pytest.mark.parametrize("path", DIGITS, ids=lambda path: path.stem)
def test_an_old_file_gives_its_codes(path: Path) -> None:
    model, expected = load(path), np.load(path.with_suffix(".npy"))
    assert type(model) is MODELS[path.stem.split("-")[1]]
    codes = model.encode(digits())
    assert codes.shape == expected.shape == (20, model.latent_dim_)
    np.testing.assert_allclose(codes, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected).max() > 0.1
    back = model.reconstruct(digits())
    assert back.dtype == np.uint8
    assert np.abs(back.astype(float) - digits()).mean() < 60
    assert model.sample(3).shape == (3, 8, 8)
    assert np.isfinite(model.score(digits()))


@pytest.mark.parametrize("path", DIGITS, ids=lambda path: path.stem)
def test_an_old_file_is_written_anew_and_learns_again(path: Path, tmp_path: Path) -> None:
    model = load(path)
    again = load(model.save(tmp_path / "again.isthmus"))
    np.testing.assert_array_equal(again.encode(digits()), model.encode(digits()))
    assert "digits" not in store.read(path).card
    assert f"{model.latent_dim_} latents" in store.read(path).card
    assert model.set_params(**({} if path.stem.startswith("digits-pca") else {"epochs": 1})).fit(digits()) is model


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_an_old_file_of_a_table_gives_its_codes_and_the_table(path: Path, tmp_path: Path) -> None:
    model, expected = load(path), np.load(path.with_suffix(".npy"))
    frame = hours() if path.stem.startswith("hours") else rows()
    codes = model.encode(frame[:20])
    np.testing.assert_allclose(codes, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    back = model.decode(codes)
    pd.testing.assert_series_equal(back.dtypes, frame.dtypes)
    filled = im.impute(model, frame[:20], "draw", draws=2)
    assert not any(one["price"].isna().any() or one["sold"].isna().any() for one in filled)
    assert len(model.sample(3)) == 3
    again = load(model.save(tmp_path / "again.isthmus"))
    np.testing.assert_array_equal(again.encode(frame), model.encode(frame))
