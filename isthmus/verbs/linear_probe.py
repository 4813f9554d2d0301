"""What a linear reader gets out of codes: probe accuracy, from all labels and from a few.

Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes".

Shapes: n items; K coordinates of a code.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.errors import DataError

__all__ = ["few_labels", "labels_for", "printed", "probe", "share_of"]

FOLDS = 5
ASKED = 2000  # items of a probe: its standard error is then about 1 %
STEPS = 200  # of the logistic regression; what it would gain later is below that error


def probe(codes: Any, labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """(m,) bool: of which items logistic regression tells the class from their codes, in 5 folds.

    Coordinates are standardised on the folds learned from; the penalty is scikit-learn's (C = 1). Of more than 2,000
    items, so many are drawn with the seed: the same ones for other codes of the same items.
    """
    from sklearn.model_selection import StratifiedKFold

    rows = np.random.default_rng(seed).permutation(len(labels))[:ASKED]
    rows = rows[np.isin(labels[rows], np.flatnonzero(np.bincount(labels[rows]) > 1))]  # of a lone one nothing is known
    truth = labels[rows]
    folds = min(FOLDS, int(np.bincount(truth)[np.unique(truth)].min()))
    right = []
    for learn, ask in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, truth):
        right.append(_told(codes[rows[learn]], truth[learn], codes[rows[ask]]) == truth[ask])
    return np.concatenate(right)


def share_of(right: np.ndarray) -> tuple[float, float]:
    """The share that is right, and its standard error."""
    share = float(right.mean())
    return share, float(np.sqrt(share * (1 - share) / len(right)))


def few_labels(codes: Any, labels: np.ndarray, each: int, draws: int, seed: int = 0) -> tuple[float, float]:
    """The same from ``each`` labels of each class, asked about up to 2,000 others: mean and deviation over draws."""
    shares = []
    for draw in range(draws):
        random = np.random.default_rng((seed, draw))
        learn = np.concatenate([random.permutation(np.flatnonzero(labels == c))[:each] for c in np.unique(labels)])
        ask = random.permutation(np.setdiff1d(np.arange(len(labels)), learn))[:ASKED]
        shares.append(float((_told(codes[learn], labels[learn], codes[ask]) == labels[ask]).mean()))
    return float(np.mean(shares)), float(np.std(shares))


def _told(learn: np.ndarray, truth: np.ndarray, ask: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not settled after 200 steps
        reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=STEPS)).fit(learn, truth)
    return np.asarray(reader.predict(ask))


def labels_for(y: Any, count: int) -> np.ndarray:
    """(count,) numbers of the classes. Raises DataError for another length, missing labels, or one class only."""
    labels = y.detach().cpu().numpy() if hasattr(y, "detach") else np.asarray(y)
    if labels.shape != (count,):
        raise DataError(f"labels of shape {labels.shape} given for {count} items; expected ({count},)")
    lost = [row for row, name in enumerate(labels.tolist()) if name is None or name != name]
    if lost:
        raise DataError(f"the label of item {lost[0]} is missing: give one for each item, or leave such items out")
    try:
        names, coded = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise DataError("labels must be of one kind, all numbers or all text; these cannot be sorted") from error
    if len(names) < 2:
        raise DataError(f"all labels are of one class, {names.tolist()[0]!r}: there is nothing to tell apart")
    counts = np.bincount(coded)
    if (counts > 1).sum() < 2:
        raise DataError(f"labels of {len(names)} classes for {count} items: a probe learns from some items of a class "
                        "and is asked about others, so two classes need two items each")  # fmt: skip
    return coded


def printed(rows: Sequence[dict[str, Any]], headings: dict[str, tuple[str, str]]) -> list[str]:
    """Rows as lines below their headings: of each key its heading and the format of its figures."""
    shown = [key for key in headings if any(row.get(key) is not None for row in rows)]
    cells = [[headings[key][0] for key in shown]]
    cells += [["-" if row.get(key) is None else format(row[key], headings[key][1]) for key in shown] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(shown))]
    cells.insert(1, ["-" * width for width in widths])
    return ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in cells]
