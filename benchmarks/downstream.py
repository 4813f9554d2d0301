"""What codes of mixed tables are worth to a classifier that has never seen the columns."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import isthmus as im
from benchmarks import table
from isthmus.formats import TableFormat

LABELS = {
    "adult": "income",
    "german_credit": "class",
    "bank_marketing_small": "y",
    "titanic": "survived",
    "winequality": "colour",
    "credit_data": "Status",
    "heart_cleveland": "num",
    "california_housing": "ocean_proximity",
}
GIVEN_AWAY = {"titanic": ["alive"], "adult": ["split"], "credit_data": ["rownames"]}
ROWS, SIZES = 10_000, (8, 16)
RARE = 20  # rows below which a class is left out: boosting loses its way over a class of two


def run(seeds: int = 10, budget: str | None = None) -> None:
    seeds = max(seeds, 10)  # a split moves the mean of the tables by 0.006, and ways differ by less
    found: dict[tuple[str, str], list[float]] = {}
    for name, label in LABELS.items():
        for seed in range(seeds):
            X, y = prepared(name, label, seed)
            order = np.random.default_rng(seed).permutation(len(X))
            train, test = order[len(X) // 3 :], order[: len(X) // 3]
            parts = X.iloc[train].reset_index(drop=True), X.iloc[test].reset_index(drop=True)
            for method, codes in methods(parts, seed):
                found.setdefault((name, method), []).append(accuracy(*codes, y[train], y[test]))
            best = ceiling(*parts, y[train], y[test], seed)
            found.setdefault((name, "gradient boosting, raw columns"), []).append(best)
            guess = float((y[test] == np.bincount(y[train]).argmax()).mean())
            found.setdefault((name, "most frequent class"), []).append(guess)
    names = list(dict.fromkeys(method for _, method in found))
    means = {method: [float(np.mean([found[name, method][seed] for name in LABELS])) for seed in range(seeds)]
             for method in names}  # fmt: skip
    rows = [{"codes": method} | {name: f"{np.mean(found[name, method]):.3f}" for name in LABELS}
            | {"mean": table.spread(means[method], 4), "mean of seeds": f"{np.mean(means[method]):.4f}"}
            for method in names]  # fmt: skip
    table.write("downstream", "Logistic regression on codes of mixed tables",
                f"Accuracy on a third of the rows that neither codes nor classifier saw; at most {ROWS:,} rows of "
                f"a table, drawn with the seed, without classes of fewer than {RARE}; {seeds} seeds. PCA on one-hot: "
                "standardised numbers and indicators, holes filled by mean and mode. Codes are standardised for the "
                "classifier. Gradient boosting (scikit-learn's, with histograms) on the raw columns is the ceiling. "
                "Mean: over the tables, of each seed, its median and range.",
                rows)  # fmt: skip


def prepared(name: str, label: str, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    path = Path(os.environ["ISTHMUS_DATA"]) / "tables" / f"{name}.csv.gz"
    frame = pd.read_csv(path, sep=None, engine="python").dropna(subset=[label])
    frame = frame.drop(columns=[c for c in GIVEN_AWAY.get(name, []) if c in frame.columns])
    if len(frame) > ROWS:
        frame = frame.sample(ROWS, random_state=seed)
    y = frame.pop(label)
    y = (y > 0 if name == "heart_cleveland" else y).astype(str)
    common = y.groupby(y).transform("size") >= RARE
    return frame[common].reset_index(drop=True), np.unique(y[common], return_inverse=True)[1]


def methods(parts: tuple[pd.DataFrame, pd.DataFrame], seed: int) -> Any:
    """Each method's name and its codes of both parts."""
    from sklearn.decomposition import PCA

    one_hot = indicators(*parts)
    widest = TableFormat(view="linear").fit(parts[0]).spec.size
    for k in SIZES:
        pca = PCA(min(k, one_hot[0].shape[1])).fit(one_hot[0])
        yield f"PCA on one-hot, k={k}", tuple(pca.transform(part) for part in one_hot)
        given = {"random_state": seed, "verbose": False}
        models = {"PCA": im.PCA(min(k, widest)), "Autoencoder": im.Autoencoder(k, **given), "VAE": im.VAE(k, **given)}
        for label, model in models.items():
            model.fit(parts[0])
            yield f"Isthmus {label}, k={k}", tuple(model.encode(part) for part in parts)


def indicators(train: pd.DataFrame, test: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    numbers = [c for c in train.columns if pd.api.types.is_numeric_dtype(train[c]) and train[c].dtype != bool]
    blocks: list[tuple[np.ndarray, np.ndarray]] = []
    for name in train.columns:
        if name in numbers:
            mean, deviation = train[name].mean(), train[name].std() or 1
            blocks.append(
                tuple(((p[name].fillna(mean) - mean) / deviation).to_numpy(float)[:, None] for p in (train, test))
            )
        else:
            levels = train[name].dropna().astype(str).value_counts().index[:100]
            mode = levels[0]
            filled = [part[name].fillna(mode).astype(str).to_numpy() for part in (train, test)]
            blocks.append(tuple((words[:, None] == levels.to_numpy()).astype(float) for words in filled))
    return tuple(np.concatenate([block[i] for block in blocks], axis=1) for i in (0, 1))  # type: ignore[return-value]


def accuracy(train: np.ndarray, test: np.ndarray, y_train: np.ndarray, y_test: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return float(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(train, y_train).score(test, y_test)
    )


def ceiling(train: pd.DataFrame, test: pd.DataFrame, y_train: np.ndarray, y_test: np.ndarray, seed: int) -> float:
    from sklearn.ensemble import HistGradientBoostingClassifier

    numbers = [c for c in train.columns if pd.api.types.is_numeric_dtype(train[c])]
    parts = []
    for part in (train, test):
        part = part.copy()
        for name in train.columns:
            if name not in numbers:
                levels = train[name].dropna().astype(str).value_counts().index[:250]
                part[name] = part[name].astype(str).map({level: code for code, level in enumerate(levels)})
        parts.append(part.astype(float))
    words = [name not in numbers for name in train.columns]
    model = HistGradientBoostingClassifier(categorical_features=words, random_state=seed)
    return float(model.fit(parts[0], y_train).score(parts[1], y_test))
