"""How far each coordinate of a code stands for one thing, where the things that vary are known.

- MIG, mutual information gap: Chen, Li, Grosse & Duvenaud 2018, "Isolating sources of disentanglement"
- DCI, disentanglement, completeness, informativeness: Eastwood & Williams 2018
- SAP, separated attribute predictability: Kumar, Sattigeri & Balakrishnan 2018

Choices that the papers leave open are those of Locatello et al. 2019, except where it is said.

Shapes: n items; K coordinates of a code; M factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from isthmus.errors import DataError

__all__ = ["Factor", "dci", "disentanglement", "factors_of", "mig", "sap"]

BINS = 20  # of a latent, and the most values of a factor that is taken for levels
MOST_ITEMS = 10_000  # drawn for the scores: their standard error is then about a hundredth
TREES = 20


class Factor(NamedTuple):
    """Something that varies from item to item."""

    name: str
    values: np.ndarray  # (n,): float64, or the places of levels as int64
    levels: int | None  # None: a number


def disentanglement(model: Any, X: Any, factors: Any, *, seed: int = 0) -> dict[str, float]:
    """Scores from 0 to 1 of how far single latents stand for single factors; 1 is best.

    Parameters
    ----------
    model : any embedding that encodes
    X : (n, ...) items
    factors : what is known to vary, one value an item: a dict of (n,) arrays or a frame, or an array (n, M). Numbers of
        more than 20 distinct values are numbers, all else is levels
    seed : of the forests of DCI, and of which items are taken of more than 10,000

    Returns
    -------
    dict of floats: "mig"; "disentanglement", "completeness", "informativeness" (of DCI); "sap"

    Raises
    ------
    DataError : fewer than two factors, a factor that never changes, has holes, or is of another length

    Examples
    --------
    >>> import numpy as np, isthmus as im
    >>> from isthmus.verbs.disentanglement import disentanglement
    >>> X = np.random.default_rng(0).uniform(size=(500, 2)) * [1, 5]
    >>> scores = disentanglement(im.PCA(2).fit(X), X, {"small": X[:, 0], "great": X[:, 1]})
    >>> scores["disentanglement"] > 0.9
    True
    """
    codes = model.encode(X)
    known = factors_of(factors, len(codes))
    if len(codes) > MOST_ITEMS:
        rows = np.sort(np.random.default_rng(seed).choice(len(codes), MOST_ITEMS, replace=False))
        codes, known = codes[rows], [factor._replace(values=factor.values[rows]) for factor in known]
    return {"mig": _mig(codes, known), **_dci(codes, known, seed), "sap": _sap(codes, known)}


def mig(Z: Any, factors: Any) -> float:
    """Mutual information gap of codes (n, K), from 0 to 1 (Chen et al. 2018, eq. 6).

    Of each factor, what its most telling latent says of it less what the second says, by the factor's entropy; the mean
    over factors. Latents, and factors that are numbers, are cut into 20 bins of equal width. Codes that are the factors
    score 1, save for what the second latent says by chance in few items. Raises DataError.
    """
    codes = _codes(Z)
    return _mig(codes, factors_of(factors, len(codes)))


def dci(Z: Any, factors: Any, seed: int = 0) -> dict[str, float]:
    """Disentanglement, completeness and informativeness of codes (n, K), each from 0 to 1 (Eastwood & Williams 2018).

    A random forest tells each factor from the codes of half of the items. "disentanglement": 1 less the entropy, over
    factors, of what a latent is important for, weighed by the importance of the latent; "completeness": 1 less the
    entropy, over latents, of what is important for a factor; "informativeness": how well the other half is told, as
    accuracy of levels and R^2 of numbers (the paper gives an error), 0 at least. Raises DataError.
    """
    codes = _codes(Z)
    return _dci(codes, factors_of(factors, len(codes)), seed)


def sap(Z: Any, factors: Any) -> float:
    """Separated attribute predictability of codes (n, K) (Kumar et al. 2018, section 3).

    Of each factor, how well its best latent alone tells it less how well the second does; the mean over factors. R^2
    of a line for numbers, balanced accuracy of thresholds for levels: codes that are the factors score 1 for numbers,
    and 1 - 1 / L for L levels, since guessing has an accuracy of 1 / L. Raises DataError.
    """
    codes = _codes(Z)
    return _sap(codes, factors_of(factors, len(codes)))


def _mig(codes: np.ndarray, factors: list[Factor]) -> float:
    from sklearn.metrics import mutual_info_score

    binned = [_bins(latent) for latent in codes.T]
    gaps = []
    for factor in factors:
        levels = _bins(factor.values) if factor.levels is None else factor.values
        told = sorted((mutual_info_score(levels, latent) for latent in binned), reverse=True)
        entropy = mutual_info_score(levels, levels)
        gaps.append((told[0] - (told[1] if len(told) > 1 else 0.0)) / entropy)
    return float(np.clip(np.mean(gaps), 0, 1))


def _dci(codes: np.ndarray, factors: list[Factor], seed: int) -> dict[str, float]:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if len(factors) < 2:
        raise DataError("DCI compares factors with each other: give two at least")
    order = np.random.default_rng(seed).permutation(len(codes))
    learned, asked = order[: len(codes) // 2], order[len(codes) // 2 :]
    importance, told = [], []
    for factor in factors:
        kind = RandomForestRegressor if factor.levels is None else RandomForestClassifier
        # All latents stand at every fork: where some are hidden, those that know nothing are used for want of better.
        forest = kind(TREES, max_features=None, random_state=seed).fit(codes[learned], factor.values[learned])
        importance.append(forest.feature_importances_)
        told.append(max(float(forest.score(codes[asked], factor.values[asked])), 0.0))
    table = np.array(importance).T  # (K, M)
    weight = table.sum(1) / max(table.sum(), 1e-300)
    return {
        "disentanglement": float(weight @ _certainty(table)),
        "completeness": float(_certainty(table.T).mean()),
        "informativeness": float(np.mean(told)),
    }


def _certainty(rows: np.ndarray) -> np.ndarray:
    """1 - entropy of each row as shares, in units of what even shares have: 1 for a row with one entry."""
    if rows.shape[1] == 1:
        return np.ones(len(rows))
    total = rows.sum(1, keepdims=True)
    shares = rows / np.where(total > 0, total, 1.0)
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    return np.where(total[:, 0] > 0, 1 + (shares * logs).sum(1) / np.log(rows.shape[1]), 0.0)


def _sap(codes: np.ndarray, factors: list[Factor]) -> float:
    gaps = []
    for factor in factors:
        told = sorted((_told_by(latent, factor) for latent in codes.T), reverse=True)
        gaps.append(told[0] - (told[1] if len(told) > 1 else 1 / factor.levels if factor.levels else 0.0))
    return float(np.mean(gaps))


def _told_by(latent: np.ndarray, factor: Factor) -> float:
    """How well one latent alone tells a factor."""
    if factor.levels is None:
        return float(np.corrcoef(latent, factor.values)[0, 1] ** 2) if np.ptp(latent) > 0 else 0.0
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    # As many pieces as levels: thresholds, and not a table of the items.
    tree = DecisionTreeClassifier(max_leaf_nodes=factor.levels, class_weight="balanced", random_state=0)
    guess = tree.fit(latent[:, None], factor.values).predict(latent[:, None])
    return float(balanced_accuracy_score(factor.values, guess))


def _bins(values: np.ndarray) -> np.ndarray:
    """Which of 20 bins of equal width each value is in."""
    edges = np.histogram_bin_edges(values, BINS)[1:-1]
    return np.digitize(values, edges)


def _codes(Z: Any) -> np.ndarray:
    codes = np.asarray(Z)
    if codes.ndim != 2 or len(codes) < 2 or codes.dtype.kind not in "fiu" or not np.isfinite(codes).all():
        raise DataError(f"codes of shape {codes.shape} given; expected finite numbers (n, latent_dim), n from 2")
    return codes


def factors_of(given: Any, count: int) -> list[Factor]:
    """Factors by name, each without holes and with more than one value; DataError otherwise."""
    found = []
    for name, column in columns_of(given).items():
        values = np.asarray(column)
        if values.shape != (count,):
            raise DataError(f"the factor {name!r} has the shape {values.shape}; expected ({count},), one for each item")
        holes = [i for i, value in enumerate(values.tolist()) if value is None or value != value]
        if holes:
            raise DataError(f"the factor {name!r} is missing for item {holes[0]}: leave such items out")
        factor = as_factor(str(name), values)
        if factor.levels == 1:
            raise DataError(f"the factor {name!r} is {values[0]} for every item: leave it out, it varies not at all")
        found.append(factor)
    if not found:
        raise DataError("no factor is given: name what varies, as a dict of arrays (n,)")
    return found


def as_factor(name: str, values: np.ndarray) -> Factor:
    """Numbers of more than 20 distinct values as such, all else as levels."""
    try:
        levels, places = np.unique(values, return_inverse=True)
    except TypeError:  # of several kinds
        levels, places = np.unique(values.astype(str), return_inverse=True)
    if values.dtype.kind in "fiu" and len(levels) > BINS:
        return Factor(name, values.astype(np.float64), None)
    return Factor(name, places, len(levels))


def columns_of(given: Any) -> dict[str, Any]:
    """Columns by name, of a dict, of a frame or of an array (n,) or (n, M)."""
    if isinstance(given, Mapping):
        return dict(given)
    if not isinstance(given, np.ndarray) and hasattr(given, "columns") and hasattr(given, "__getitem__"):
        names = getattr(given, "column_names", None) or list(given.columns)
        return {str(name): given[name] for name in names}
    values = np.asarray(given)
    if values.ndim == 1:
        return {"label": values}
    if values.ndim != 2:
        raise DataError(f"factors of shape {values.shape} given; expected a dict of arrays, a frame, or (n, M)")
    return {f"factor {j}": column for j, column in enumerate(values.T)}
