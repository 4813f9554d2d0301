"""Anomalies in the tables of ADBench: the default detector beside scikit-learn's, without a label or a setting."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import isthmus as im
from benchmarks import table
from isthmus.verbs.conformal import discoveries, p_values

ROWS = 10_000  # of a set at most, drawn with the seed
LEVELS = (0.05, 0.1)  # nominal false-discovery rates
DIVISIONS = 20  # of the normal rows that were not learned from, half to calibrate with and half to be asked about
KNN, LOF = 5, 20  # neighbours: the defaults of PyOD's KNN and of scikit-learn's LOF
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "anomalies.png"
PROTOCOLS = ("clean", "mixed")
Scores = Callable[[np.ndarray, np.ndarray | None, int], np.ndarray]  # learned from, scored (None: the same), seed


def run(seeds: int = 3, budget: str | None = None) -> None:
    picture()
    seeds = max(seeds, 3)
    folder = Path(os.environ["ISTHMUS_DATA"]) / "anomaly" / "adbench"
    files = {path.stem.split("_", 1)[1]: path for path in folder.glob("*.npz")}
    names = sorted(files, key=str.lower)
    areas: dict[tuple[str, str, str], list[float]] = {}
    seconds = dict.fromkeys(METHODS, 0.0)
    lists: list[dict[str, Any]] = []
    for name in names:
        for seed in range(seeds):
            X, y, train = drawn(files[name], seed)
            for method, scores_of in METHODS.items():
                tasks = (("clean", X[train], X[~train], y[~train]), ("mixed", X, None, y))
                for protocol, learned, asked, truth in tasks:
                    scores, _, cpu = table.timed(lambda f=scores_of, a=learned, b=asked, r=seed: f(a, b, r))
                    seconds[method] += cpu
                    areas.setdefault((name, protocol, method), []).append(area(truth, scores))
                    if (method, protocol) == ("Isthmus", "clean"):
                        lists += listed(name, scores, truth, seed)
        found = (f"{m} {np.mean(areas[name, 'clean', m]):.3f} {np.mean(areas[name, 'mixed', m]):.3f};" for m in METHODS)
        print(name, *found, flush=True)
    write(names, areas, seconds, lists, seeds)


def drawn(path: Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, 1 for an anomaly, and True for the half of the normal rows that is learned from."""
    random = np.random.default_rng(seed)
    with np.load(path, allow_pickle=False) as file:
        X, y = file["X"].astype(np.float64), file["y"].astype(int)
    if len(X) > ROWS:
        rows = random.choice(len(X), ROWS, replace=False)
        X, y = X[rows], y[rows]
    normal = random.permutation(np.flatnonzero(y == 0))
    train = np.zeros(len(X), bool)
    train[normal[: len(normal) // 2]] = True
    return X, y, train


def area(truth: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores))


def listed(name: str, scores: np.ndarray, y: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """What ``detect`` lists, with half of the normal rows to calibrate with: share false, share of anomalies found."""
    random, found = np.random.default_rng(seed), []
    normal, strange = scores[y == 0], scores[y == 1]
    for _ in range(DIVISIONS):
        mixed = random.permutation(normal)
        calibration, others = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
        p = p_values(calibration, np.concatenate([others, strange]))
        for level in LEVELS:
            if len(calibration) < 1 / level - 1:
                continue
            flagged = discoveries(p, len(calibration), level, random.random())
            false, right = flagged[: len(others)].sum(), flagged[len(others) :]
            figures = {"false": false / max(flagged.sum(), 1), "found": right.mean(), "empty": not flagged.any()}
            found.append({"set": name, "level": level} | {key: float(value) for key, value in figures.items()})
    return found


# ---- who scores ------------------------------------------------------------------------------------------------------


def isthmus(X: np.ndarray, new: np.ndarray | None, seed: int) -> np.ndarray:
    detector = im.AnomalyDetector(contaminated=new is None, random_state=seed).fit(X)
    return -detector.score_samples(X if new is None else new)


def forest(X: np.ndarray, new: np.ndarray | None, seed: int) -> np.ndarray:
    from sklearn.ensemble import IsolationForest

    return -IsolationForest(random_state=seed).fit(X).score_samples(X if new is None else new)


def ranged(X: np.ndarray, new: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """By the range of each column, as the peers are measured."""
    from sklearn.preprocessing import MinMaxScaler

    scaler = MinMaxScaler().fit(X)
    return scaler.transform(X), None if new is None else scaler.transform(new)


def outlier_factor(X: np.ndarray, new: np.ndarray | None, seed: int) -> np.ndarray:
    from sklearn.neighbors import LocalOutlierFactor

    X, new = ranged(X, new)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of tables in which rows occur more than twenty times
        fitted = LocalOutlierFactor(min(LOF, len(X) - 1), novelty=new is not None).fit(X)
    return -fitted.negative_outlier_factor_ if new is None else -fitted.score_samples(new)


def neighbours(X: np.ndarray, new: np.ndarray | None, seed: int) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    X, new = ranged(X, new)
    return NearestNeighbors(n_neighbors=KNN).fit(X).kneighbors(new)[0][:, -1]  # None: each row but itself


METHODS: dict[str, Scores] = {"Isthmus": isthmus, "IForest": forest, "LOF": outlier_factor, "kNN": neighbours}

# ---- what came of it -------------------------------------------------------------------------------------------------


def write(
    names: list[str],
    areas: dict[tuple[str, str, str], list[float]],
    seconds: dict[str, float],
    lists: list[dict[str, Any]],
    seeds: int,
) -> None:
    """The table of every set, and means."""
    rows: list[dict[str, Any]] = []
    for name in [*names, "mean"]:
        row: dict[str, Any] = {"set": name}
        for protocol in PROTOCOLS:
            for method in METHODS:
                some = names if name == "mean" else [name]
                runs = np.mean([areas[one, protocol, method] for one in some], axis=0)  # (seeds,)
                spread = f" ± {runs.std():.4f}" if name == "mean" else ""
                row[f"{method}, {protocol}"] = f"{runs.mean():.{4 if spread else 3}f}{spread}"
        for level in LEVELS:
            row[f"false at {level:.0%}"] = false(
                [one for one in lists if name in ("mean", one["set"]) and one["level"] == level]
            )
        rows.append(row)
    spent = {f"{method}, clean": f"{seconds[method]:.0f}" for method in METHODS}
    rows.append({"set": "CPU s of both columns, all seeds"} | spent)
    protocol = (
        f"AUROC, means of {seeds} seeds; at most {ROWS:,} rows of a table, drawn by the seed. clean: learned from half "
        "of the normal rows, scored on all others. mixed: learned from all rows, scored on the same; ours with "
        "contaminated=True. Ours and the forest take the columns as they are, LOF (20 neighbours) and kNN (distance to "
        "the 5th, as PyOD's) scaled by range. Mean: over sets, ± the deviation over seeds. false at: share of false "
        "alarms in the list, clean, with half of the normal rows that were not learned from to calibrate with, "
        f"{DIVISIONS} divisions a seed; in brackets the share of the anomalies that are listed, and of lists that are "
        "empty; the mean is over sets, ± its standard error. Which measures there are was decided on 14 of the sets, "
        "drawn at random, at 2,000 rows; the other 14 were seen once, in this table, before the last change of "
        "measures. What the steps of the p-values leave of the rate is spent by chance; a draw a division."
    )
    table.write("anomalies", f"Anomalies in {len(names)} tables of ADBench", protocol, rows)


def false(runs: list[dict[str, Any]]) -> str:
    """Share of false alarms, with its standard error over sets; shares of anomalies found, and of empty lists."""
    if not runs:
        return "too few"
    means = {
        key: np.array(
            [np.mean([run[key] for run in runs if run["set"] == name]) for name in {run["set"] for run in runs}]
        )
        for key in ("false", "found", "empty")
    }
    rates = means["false"]
    text = f"({means['found'].mean():.2f}, {means['empty'].mean():.2f})"
    if len(rates) == 1:
        return f"{rates[0]:.3f} {text}"
    whole = f"{rates.mean():.3f} ± {rates.std(ddof=1) / np.sqrt(len(rates)):.3f}, n={len(rates)} {text}"
    return f"{whole}; of lists that hold something {np.mean([run['false'] for run in runs if not run['empty']]):.3f}"


def picture() -> None:
    """Digits with a stroke that does not belong there, and what each pixel adds to the score."""
    from matplotlib.figure import Figure

    X = im.datasets.digits()
    model = im.Autoencoder(16, random_state=0, verbose=False, epochs=60).fit(X[:1500])
    bad = X[1500:1800:60][:5].copy()
    for item, (row, column) in zip(bad, ((0, 1), (6, 6), (3, 0), (1, 6), (5, 1)), strict=True):
        item[row : row + 2, column : column + 2] = 255 - item[row : row + 2, column : column + 2]
    again, parts = model.reconstruct(bad), im.contributions(model, bad)[:, 0]
    scores = im.anomaly_scores(model, bad, reference=X[:1500])
    figure = Figure(figsize=(6, 3.9), layout="constrained")
    axes = figure.subplots(3, 5)
    for column in range(5):
        for place, shown, colours in ((0, bad, "gray_r"), (1, again, "gray_r"), (2, parts, "Reds")):
            axes[place, column].imshow(shown[column], cmap=colours)
            axes[place, column].set(xticks=[], yticks=[])
        axes[0, column].set_title(f"{scores[column]:.1f} nats", fontsize=9)
    for place, words in enumerate(("item", "reconstruction", "contribution")):
        axes[place, 0].set_ylabel(words, fontsize=9)
    figure.savefig(PICTURE, dpi=100)
