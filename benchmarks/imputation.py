"""Holes in mixed real tables: how well they are filled, beside scikit-learn's imputers and a forest a column."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import isthmus as im
from benchmarks import table
from isthmus.formats import TableFormat

TABLES = ("penguins", "mpg", "heart_cleveland", "titanic", "german_credit", "credit_data", "bank_marketing_small",
          "california_housing")  # fmt: skip
ROWS, HIDDEN, MOST_LEVELS = 3000, 0.2, 60
Filler = Callable[[pd.DataFrame, list[str], int], pd.DataFrame]


def run(seeds: int = 3, budget: str | None = None) -> None:
    seeds = max(seeds, 3)
    folder = Path(os.environ["ISTHMUS_DATA"]) / "tables"
    errors: dict[tuple[str, str], dict[str, list[float]]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in FILLERS}
    for name in TABLES:
        for seed in range(seeds):
            for filler in FILLERS:
                of_numbers, of_levels, took = measured(folder / f"{name}.csv.gz", filler, seed)
                seconds[filler].append(took)
                for kind, value in (("numbers", of_numbers), ("categories", of_levels)):
                    errors.setdefault((name, kind), {}).setdefault(filler, []).append(value)
    rows = []
    ranks: dict[str, list[float]] = {name: [] for name in FILLERS}
    for (name, kind), found in errors.items():
        means = {filler: float(np.mean(values)) for filler, values in found.items()}
        if not np.isfinite(list(means.values())).all():
            continue  # a table without categories
        row = {"table": name, "of": f"{kind}, " + ("RMSE / deviation" if kind == "numbers" else "share wrong")}
        rows.append(row | {f: f"{means[f]:.3f} ± {np.std(found[f]):.3f}" for f in FILLERS})
        for run_of in zip(*found.values(), strict=True):
            for filler, rank in zip(found, np.argsort(np.argsort(run_of)) + 1, strict=True):
                ranks[filler].append(float(rank))
    rows.append({"table": "mean rank", "of": f"{len(rows)} rows, {seeds} seeds"}
                | {f: f"{np.mean(ranks[f]):.2f}" for f in FILLERS})  # fmt: skip
    rows.append({"table": "CPU s a table", "of": "median"} | {f: f"{np.median(seconds[f]):.1f}" for f in FILLERS})
    table.write("imputation", "Filling holes in mixed tables",
                f"{HIDDEN:.0%} of the cells that have a value are hidden at random; at most {ROWS:,} rows of a table, "
                "drawn with the seed. Numbers: RMSE of the hidden cells over the deviation of the column, mean over "
                "columns. Categories: share of hidden cells filled wrong. Means over seeds ± deviation. Categories go "
                "to scikit-learn's imputers as indicators, the largest of which is taken. A forest a column: "
                "MissForest's scheme (Stekhoven & Buhlmann 2012) with scikit-learn's forests, five rounds. Ours: "
                "default settings, how='mean'.", rows)  # fmt: skip


def measured(path: Path, filler: str, seed: int) -> tuple[float, float, float]:
    """Errors of numbers and of categories, and CPU seconds."""
    truth, numbers = prepared(path, seed)
    random = np.random.default_rng(seed)
    mask = (random.random(truth.shape) < HIDDEN) & truth.notna().to_numpy()
    given = truth.mask(mask)
    begun = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filled = FILLERS[filler](given, numbers, seed)
    took = time.process_time() - begun
    return *scored(truth, filled, mask, numbers), took


def prepared(path: Path, seed: int) -> tuple[pd.DataFrame, list[str]]:
    """The table without text, identifiers and dates, which the others do not take, and which columns are numbers."""
    frame = pd.read_csv(path, sep=None, engine="python")
    if len(frame) > ROWS:
        frame = frame.sample(ROWS, random_state=seed).reset_index(drop=True)
    found = TableFormat().fit(frame).describe()
    numbers = [one["name"] for one in found if one["kind"] in ("integer", "continuous")]
    levels = [one["name"] for one in found if one["kind"] in ("category", "boolean")]
    levels = [name for name in levels if frame[name].nunique() <= MOST_LEVELS]
    frame = frame[[name for name in frame.columns if name in numbers or name in levels]].copy()
    frame[numbers] = frame[numbers].astype(float)
    frame[levels] = frame[levels].astype(object).where(frame[levels].notna(), None)
    return frame.astype(dict.fromkeys(levels, str)).where(frame.notna()), numbers


def scored(truth: pd.DataFrame, filled: pd.DataFrame, mask: np.ndarray, numbers: list[str]) -> tuple[float, float]:
    """Mean normalised error of numbers and mean share of wrong levels over hidden cells."""
    of_numbers, of_levels = [], []
    for place, name in enumerate(truth.columns):
        rows = mask[:, place]
        if not rows.any():
            continue
        if name in numbers:
            apart = filled[name].to_numpy(float)[rows] - truth[name].to_numpy(float)[rows]
            deviation = float(truth[name].std())
            if deviation:
                of_numbers.append(float(np.sqrt(np.square(apart).mean())) / deviation)
        else:
            of_levels.append(float((filled[name].to_numpy()[rows] != truth[name].to_numpy()[rows]).mean()))
    return (float(np.mean(of_numbers)) if of_numbers else np.nan, float(np.mean(of_levels)) if of_levels else np.nan)


# ---- who fills -------------------------------------------------------------------------------------------------------


def isthmus(make: Any) -> Filler:
    def fill(given: pd.DataFrame, numbers: list[str], seed: int) -> pd.DataFrame:
        model = make(random_state=seed, verbose=False).fit(given)
        filled = im.impute(model, given, "mean")
        return filled

    return fill


def isthmus_pca(given: pd.DataFrame, numbers: list[str], seed: int) -> pd.DataFrame:
    return im.impute(im.PCA(min(8, given.shape[1] // 2)).fit(given), given, "mean")


def guess(given: pd.DataFrame, numbers: list[str], seed: int) -> pd.DataFrame:
    return given.fillna({n: given[n].mean() if n in numbers else given[n].mode()[0] for n in given.columns})


def on_indicators(make: Callable[[int], Any]) -> Filler:
    """An imputer of numbers, on standardised numbers and indicators of levels."""

    def fill(given: pd.DataFrame, numbers: list[str], seed: int) -> pd.DataFrame:
        blocks, names = [], []
        for name in given.columns:
            if name in numbers:
                blocks.append(((given[name] - given[name].mean()) / (given[name].std() or 1)).to_numpy(float)[:, None])
            else:
                levels = sorted(given[name].dropna().unique())
                ones = (given[name].to_numpy()[:, None] == np.array(levels, dtype=object)).astype(float)
                ones[given[name].isna().to_numpy()] = np.nan
                blocks.append(ones)
                names.append((name, levels))
        whole = make(seed).fit_transform(np.concatenate(blocks, axis=1))
        start, levels_of = 0, dict(names)
        for name, block in zip(given.columns, blocks, strict=True):
            part = whole[:, start : start + block.shape[1]]
            start += block.shape[1]
            holes = given[name].isna().to_numpy()
            if name in numbers:
                given.loc[holes, name] = part[holes, 0] * (given[name].std() or 1) + given[name].mean()
            else:
                given.loc[holes, name] = np.array(levels_of[name], dtype=object)[part[holes].argmax(1)]
        return given

    return fill


def knn(seed: int) -> Any:
    from sklearn.impute import KNNImputer

    return KNNImputer(n_neighbors=5)


def bayesian_ridge(seed: int) -> Any:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return IterativeImputer(random_state=seed)


def iterative_forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return IterativeImputer(RandomForestRegressor(30, n_jobs=1, random_state=seed), max_iter=3, random_state=seed)


def forests(given: pd.DataFrame, numbers: list[str], seed: int) -> pd.DataFrame:
    """MissForest: the columns in turn, from the fewest holes, each by a forest on all the others."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.preprocessing import OrdinalEncoder

    filled = guess(given, numbers, seed)
    for _ in range(5):
        for name in given.isna().sum().sort_values().index:
            holes = given[name].isna().to_numpy()
            if not holes.any():
                continue
            others = filled.drop(columns=name)
            words = [column for column in others.columns if column not in numbers]
            X = others.copy()
            X[words] = OrdinalEncoder().fit_transform(others[words]) if words else X[words]
            kind = RandomForestRegressor if name in numbers else RandomForestClassifier
            forest = kind(100, n_jobs=1, random_state=seed).fit(X[~holes].astype(float), given.loc[~holes, name])
            filled.loc[holes, name] = forest.predict(X[holes].astype(float))
    return filled


FILLERS: dict[str, Filler] = {
    "Isthmus Autoencoder": isthmus(im.Autoencoder),
    "Isthmus VAE": isthmus(im.VAE),
    "Isthmus PCA": isthmus_pca,
    "mean / mode": guess,
    "KNN": on_indicators(knn),
    "iterative, Bayesian ridge": on_indicators(bayesian_ridge),
    "iterative, forest": on_indicators(iterative_forest),
    "a forest a column": forests,
}
