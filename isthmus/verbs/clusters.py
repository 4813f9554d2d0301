"""Items in groups, by their codes: k-means, a mixture of normals, or HDBSCAN, with a suggestion of how many.

How many: for k-means the silhouette (Rousseeuw 1987), for mixtures the Bayesian information criterion (Schwarz 1978);
HDBSCAN (Campello, Moulavi & Sander 2013) finds the number itself and leaves out what belongs nowhere.

Shapes: n items; K coordinates of a code; k groups.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from isthmus.errors import DataError, NotSupported, SettingError

__all__ = ["Clusters", "clusters"]

HOW = ("kmeans", "mixture", "hdbscan")
MOST = 20  # groups up to which a number is suggested: more cannot be looked at
LOOKED_AT = 3000  # codes by which the number is chosen; a silhouette grows with their square
WIDEST = 64  # coordinates up to which a mixture has full covariances
STARTS = 4  # of which k-means and mixtures keep the best


class Clusters(NamedTuple):
    """Groups of items.

    Attributes
    ----------
    labels : (n,) int64 from 0, the largest group first; -1 is no group (HDBSCAN only)
    k : number of groups
    scores : for each number that was tried, its silhouette (from -1 to 1, higher is better) or its BIC (in nats times
        two, lower is better); empty where the number was given or found by HDBSCAN
    why : how the number came about, in words
    """

    labels: np.ndarray
    k: int
    scores: dict[int, float]
    why: str


def clusters(model: Any, X: Any, k: int | None = None, how: str = "kmeans", *, seed: int = 0) -> Clusters:
    """Items in groups of near codes.

    Parameters
    ----------
    model : any fitted embedding
    X : n items of the form that was learned
    k : number of groups, from 1 to n. None: suggested from 2 (k-means) or 1 (mixture) to 20, by up to 3,000 codes
        drawn with the seed. HDBSCAN takes no number
    how : "kmeans", the default: round groups of like size; "mixture": groups of any ellipse, with full covariances up
        to 64 coordinates, else diagonal; "hdbscan": dense groups of any shape, of at least 5 items and 1 % of all
    seed : of the starts and the draw

    Returns
    -------
    Clusters: ``labels``, ``k``, ``scores``, ``why``

    Raises
    ------
    SettingError : a word or number out of range, or k with "hdbscan"
    DataError : fewer than two items, or all codes are alike
    NotSupported : the model has no encoder

    Examples
    --------
    >>> import isthmus as im
    >>> X = im.datasets.digits()
    >>> im.clusters(im.PCA(16).fit(X), X, k=10).k
    10
    """
    if how not in HOW:
        raise SettingError(f"how={how!r}: expected one of {', '.join(map(repr, HOW))}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise SettingError(f"seed={seed!r}: expected a whole number from 0 to {2**32 - 1}")
    if not callable(getattr(model, "encode", None)):
        raise NotSupported(f"clusters needs a model that can encode, and this {type(model).__name__} cannot; PCA, "
                           "Autoencoder and VAE can")  # fmt: skip
    codes = model.encode(X).astype(np.float64)
    if len(codes) < 2:
        raise DataError(f"{len(codes)} items given: groups need two at least")
    if k is not None and how == "hdbscan":
        raise SettingError(f"k={k!r}: HDBSCAN finds the number of groups itself; leave k out, or choose 'kmeans'")
    if k is not None and (isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= len(codes)):
        raise SettingError(f"k={k!r}: expected a whole number of groups from 1 to {len(codes)}, the number of items")
    distinct = len(np.unique(codes, axis=0))
    if distinct < max(k or 2, 2) and k != 1:
        raise DataError(f"the {len(codes)} items have {distinct} different codes: no {k or 2} groups can be made of "
                        "them. Ask for fewer, or learn more latents")  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn, about starts that have not settled; the best is kept
        if how == "hdbscan":
            return _dense(codes)
        scores = {} if k is not None else _scores(codes, how, min(MOST, distinct - 1), int(seed))
        if k is not None:
            chosen, why = int(k), f"{k} groups, as asked"
        elif not scores:
            chosen, why = 2, "2 groups: too few items to try other numbers"
        elif how == "kmeans":
            chosen = max(scores, key=lambda count: scores[count])
            why = f"{chosen} groups: their silhouette {scores[chosen]:.3f} is the highest of 2 to {max(scores)}"
            why += ", and low: these groups are hardly apart" if scores[chosen] < 0.25 else ""
        else:
            chosen = min(scores, key=lambda count: scores[count])
            why = f"{chosen} groups: their BIC is the lowest of {min(scores)} to {max(scores)}"
        found = _grouped(codes, how, chosen, int(seed)).predict(codes)
    labels = _by_size(found)
    return Clusters(labels, int(labels.max()) + 1, scores, why)


def _grouped(codes: np.ndarray, how: str, k: int, seed: int) -> Any:
    """A fitted grouping with ``predict``."""
    if how == "kmeans":
        from sklearn.cluster import KMeans

        return KMeans(k, n_init=STARTS, random_state=seed).fit(codes)
    from sklearn.mixture import GaussianMixture

    kind = "full" if codes.shape[1] <= WIDEST else "diag"
    least = 1e-6 * max(float(codes.var(0).mean()), 1e-30)  # in the unit of the codes
    return GaussianMixture(k, covariance_type=kind, n_init=1, reg_covar=least, random_state=seed).fit(codes)


def _scores(codes: np.ndarray, how: str, most: int, seed: int) -> dict[int, float]:
    """Silhouette or BIC for each number of groups."""
    from sklearn.metrics import silhouette_score

    if len(codes) > LOOKED_AT:
        codes = codes[np.sort(np.random.default_rng(seed).choice(len(codes), LOOKED_AT, replace=False))]
    scores = {}
    for k in range(2 if how == "kmeans" else 1, min(most, len(codes) - 1) + 1):
        grouping = _grouped(codes, how, k, seed)
        if how == "mixture":
            scores[k] = float(grouping.bic(codes))
            if min(scores, key=lambda count: scores[count]) < k - 3:  # three more parts have brought nothing
                break
        elif len(np.unique(grouping.labels_)) > 1:
            scores[k] = float(silhouette_score(codes, grouping.labels_))
    return scores


def _dense(codes: np.ndarray) -> Clusters:
    from sklearn.cluster import HDBSCAN

    least = max(5, len(codes) // 100)
    if len(codes) < least:
        raise DataError(f"{len(codes)} items given: HDBSCAN needs groups of {least} at least")
    labels = _by_size(HDBSCAN(min_cluster_size=least, copy=True).fit_predict(codes))
    k, alone = int(labels.max()) + 1, int((labels < 0).sum())
    why = f"{k} groups of at least {least} items that lie close together; {alone} items belong to none"
    return Clusters(labels, k, {}, why)


def _by_size(labels: np.ndarray) -> np.ndarray:
    """Groups numbered from the largest; -1 stays."""
    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    places = np.full(int(labels.max(initial=-1)) + 2, -1, dtype=np.int64)  # the last place is that of -1
    places[names[np.argsort(-counts, kind="stable")]] = np.arange(len(names))
    return places[labels]
