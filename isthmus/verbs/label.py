"""A few labels for many items: they spread over the graph of nearest codes, and say how sure they are.

Zhu, Ghahramani & Lafferty 2003 (class masses); Zhou, Bousquet, Lal, Weston & Schölkopf 2004, "Learning with local and
global consistency", solved by conjugate gradients; temperature: Guo, Pleiss, Sun & Weinberger 2017. Rounds of
self-training: Iscen et al. 2019, see ``isthmus.verbs.selftraining``.

Shapes: n items; m given labels; C classes; K coordinates of a code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from isthmus.errors import DataError, NotSupported, SettingError, warn
from isthmus.formats.labels import coded_labels
from isthmus.verbs.neighbours import MOST, Near, affinities, codes_of, fewest, nearest, require_shifts, solved

__all__ = ["Labelled", "Prediction", "label"]

ALPHA = 0.99  # the share of its label that an item takes from its neighbours (Zhou et al. 2004)
FOLDS, FOLDS_OF_ROUNDS = 10, 5
TINY = 1e-12  # of a class mass, so that it has a logarithm
UNREACHED = 1e-9  # of the mean mass: less is what conjugate gradients leave of nothing
TOGETHER = 16  # columns that are solved for together: with 60,000 items 8 MiB
FEW = 200  # given labels below which an error's spread is called wide


class Prediction(NamedTuple):
    """Labels (q,) and how likely each is right (q,)."""

    labels: np.ndarray
    confidence: np.ndarray


class Space(NamedTuple):
    """Where items are near each other, whatever their labels."""

    codes: np.ndarray  # (n, K) of the items
    near: Near  # at most 20 neighbours of each
    asked: Callable[[Tensor], tuple[np.ndarray, Any]]  # other stored items to their codes, and codes after moves


class Spread(NamedTuple):
    """What has spread over a graph."""

    space: Space
    k: int
    scale: np.ndarray  # (n,) distance to the k-th neighbour
    masses: np.ndarray  # (n, C) rows sum to 1
    left_out: np.ndarray  # (m, C) the same of the given labels, each from folds without it; NaN where there are none


def label(
    model: Any,
    X: Any,
    y: Any,
    *,
    k: int | None = None,
    shifts: int = 0,
    rounds: int = 0,
    shares: Mapping[Any, float] | None = None,
    alpha: float = ALPHA,
    folds: int | None = None,
    seed: int = 0,
    verbose: bool | None = None,
) -> Labelled:
    """Labels for all items from labels for a few, with calibrated confidences and an estimate of the error.

    Parameters
    ----------
    model : any fitted embedding; near codes are taken to have the same label
    X : n items of the form that was learned, with and without labels
    y : (n,) labels, numbers or text; missing are -1, NaN, None and ""
    k : neighbours of an item in the graph, from 1 to n - 1. None: the fewest, from 5 to 20, that connect 99 % of the
        items with a label
    shifts : prior knowledge of images and series: moving an item by up to so many pixels (steps of time) each way does
        not change its label. Distances are then the least over moves. Default 0: nothing of the sort is assumed
    rounds : rounds of self-training: a network learns the labels that have spread, its features make the next graph.
        Default 0. A round on 60,000 images of 28 x 28 takes about a minute of one core
    shares : how frequent the classes are, by class; what each class's labels spread is brought to these masses (Zhu et
        al. 2003). None: all alike, so that ten labels of one class spread no further than one of another
    alpha : share of its label that an item takes from its neighbours, in (0, 1); default 0.99 (Zhou et al. 2004)
    folds : of the given labels, for the estimate of the error and the confidences: each label is left out once, with
        its fold. None: 10, with ``rounds`` 5, each of which is trained again; 0: no estimate, and confidences as they
        come
    seed : of folds and networks
    verbose : a progress bar for the rounds: None on a terminal only

    Returns
    -------
    Labelled: ``labels``, ``confidence``, ``error`` and more; ``suggest(n)``, ``predict(X)``, ``relabel(y)``

    Raises
    ------
    DataError : labels of another length, none, or of one class only
    NotSupported : the model has no encoder
    SettingError : a setting out of its range; ``shifts`` for what has no sides

    Examples
    --------
    >>> import numpy as np, isthmus as im
    >>> X, truth = im.datasets.digits(labels=True)
    >>> y = np.where(np.arange(len(X)) < 100, truth, -1)
    >>> found = im.label(im.PCA(16).fit(X), X, y)
    >>> bool((found.labels == truth).mean() > 0.85), len(found.suggest(5))
    (True, 5)
    """
    seed, rounds = _whole("seed", seed, 0), _whole("rounds", rounds, 0)
    if not callable(getattr(model, "encode", None)):
        raise NotSupported(
            f"label needs a model that can encode, and this {type(model).__name__} cannot; PCA, Autoencoder and VAE can"
        )
    stored = model._stored(X)
    coded_labels(y, len(stored))  # before minutes are spent
    moves = require_shifts(shifts, model.format_.spec)
    if len(stored) < 3:
        raise DataError(f"{len(stored)} items given: labels spread from item to item, from 3 on")
    if k is not None and (isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k < len(stored)):
        raise SettingError(f"k={k!r}: expected a number of neighbours from 1 to {len(stored) - 1}, one below the items")
    if not 0 < alpha < 1:
        raise SettingError(f"alpha={alpha!r}: expected a number above 0 and below 1, the share that is passed on")
    folds = (FOLDS_OF_ROUNDS if rounds else FOLDS) if folds is None else _whole("folds", folds, 0)
    if folds == 1:
        raise SettingError("folds=1: expected a number from 2 on, or 0 for no estimate of the error")

    def asked(items: Tensor) -> tuple[np.ndarray, Any]:
        codes = model._in_blocks(model._encode_stored, items).numpy()
        return codes, codes_of(model, items, moves) if len(moves) > 1 else None

    codes, after = asked(stored)
    most = min(max(k or 0, MOST), len(codes) - 1)
    space = Space(codes, nearest(codes, most, after=after), asked)
    settings = {"k": k, "shifts": int(shifts), "rounds": rounds, "shares": shares, "alpha": alpha, "folds": folds,
                "seed": seed, "verbose": verbose}  # fmt: skip
    return Labelled(model, stored, space, y, settings)


class Labelled:
    """Labels for all items. ``print`` it for a summary.

    Attributes
    ----------
    labels : (n,) the class of each item; given labels stay as they are
    confidence : (n,) float64, the chance that the label is right; 1 for given ones
    probabilities : (n, C) float64, a column for each of ``classes``
    classes : (C,) sorted
    given : (n,) bool, items whose label was given
    error : share of given labels that are told wrong where they are left out, each once, with its fold: what to expect
        of items like the labelled ones. A little too high, for folds learn from fewer labels. NaN without folds
    error_se : its standard error, of (x + 2) / (m + 4) in place of x / m (Agresti & Coull 1998), so that no error among
        few labels is not taken for certainty; some 1.5 times that of independent items, for the folds learn from the
        same labels (Nadeau & Bengio 2003)
    expected_error : mean of 1 - confidence over the items without a given label
    temperature : by which log-masses are divided so that confidences fit the labels left out (Guo et al. 2017)
    k : neighbours in the (last) graph
    """

    def __init__(self, model: Any, stored: Tensor, space: Space, y: Any, settings: dict[str, Any]) -> None:
        self._model, self._stored, self._first, self._settings = model, stored, space, settings
        self.classes, coded = coded_labels(y, len(stored))
        self.given = coded >= 0
        shares, rows = _shares(settings["shares"], self.classes), np.flatnonzero(self.given)
        fold_of = _folds(coded[rows], settings["folds"], settings["seed"])
        spread = self._spread(space, coded, shares, fold_of if not settings["rounds"] else None)
        left_out = spread.left_out
        if settings["rounds"]:
            spread = self._rounds(spread, coded, shares)
            left_out = np.full((len(rows), len(self.classes)), np.nan)
            for fold in range(int(fold_of.max(initial=-1)) + 1):
                fewer, out = coded.copy(), rows[fold_of == fold]
                fewer[out] = -1
                again = self._rounds(self._spread(space, fewer, shares, None), fewer, shares)
                left_out[fold_of == fold] = again.masses[out]
        self._last, self.k = spread, spread.k
        self._judge(left_out, coded[rows], shares, int(fold_of.max(initial=-1)) + 1)
        self.probabilities = self._calibrated(spread.masses)
        self.probabilities[rows] = np.eye(len(self.classes))[coded[rows]]
        self.labels = self.classes[self.probabilities.argmax(1)]
        self.confidence = self.probabilities.max(1)
        unknown = ~self.given
        self.expected_error = float((1 - self.confidence[unknown]).mean()) if unknown.any() else 0.0

    # ---- what can be asked -------------------------------------------------------------------------------------------

    def suggest(self, n: int = 10, seed: int = 0) -> np.ndarray:
        """(n,) int64: the items whose labels would help most, the most useful first.

        Drawn as k-means++ draws its centres (Arthur & Vassilvitskii 2007): items that the labels are unsure of, where
        there are many items like them, and far from what is chosen already.

        Raises
        ------
        SettingError : n below 1, or above the number of items without a label
        """
        free = np.flatnonzero(~self.given)
        if not 1 <= _whole("n", n, 0) <= len(free):
            raise SettingError(f"n={n}: expected a number from 1 to {len(free)}, the items without a label")
        random = np.random.default_rng(_whole("seed", seed, 0))
        codes, worth = self._last.space.codes, self._worth()[free]
        here = codes[free].astype(np.float64)
        chosen: list[int] = [int(worth.argmax())]
        apart = np.square(here - here[chosen[0]]).sum(1)
        while len(chosen) < n:
            weights = worth * apart
            weights[chosen] = 0
            if not weights.sum() > 0:
                weights = np.ones(len(free))
                weights[chosen] = 0
            chosen.append(int(random.choice(len(free), p=weights / weights.sum())))
            apart = np.minimum(apart, np.square(here - here[chosen[-1]]).sum(1))
        return free[chosen]

    def _worth(self) -> np.ndarray:
        """(n,) how unsure an item's label is, times how dense its neighbourhood is beside that of its neighbours."""
        scale = self._last.scale
        around = scale[self._last.space.near.first(self.k).rows].mean(1)
        return (1 - self.confidence) * around / (scale + around)

    def predict(self, X: Any) -> Prediction:
        """Labels of other items, from their nearest neighbours among the items of the graph, each by itself.

        Parameters
        ----------
        X : items of the form that was learned
        """
        codes, after = self._last.space.asked(self._model._stored(X))
        near = nearest(self._last.space.codes, self.k, codes, after)
        distances = near.distances.astype(np.float64)
        scale = np.maximum(np.sqrt(distances[:, -1:]), self._last.scale.min())
        weights = np.exp(-distances / (scale * self._last.scale[near.rows])) + TINY
        told = (weights[:, :, None] * self._last.masses[near.rows]).sum(1) / weights.sum(1, keepdims=True)
        chances = self._calibrated(told)
        return Prediction(self.classes[chances.argmax(1)], chances.max(1))

    def relabel(self, y: Any) -> Labelled:
        """The same items with other or more labels, such as those of ``suggest``; the graph is not made again.

        Parameters
        ----------
        y : (n,) as in ``label``
        """
        return Labelled(self._model, self._stored, self._first, y, self._settings)

    def __str__(self) -> str:
        counts = {str(name): int((self.labels == name).sum()) for name in self.classes}
        told = ", ".join(f"{name}: {count:,}" for name, count in list(counts.items())[:20])
        known, more = int(self.given.sum()), ", ..." * (len(counts) > 20)
        lines = [f"{len(self.labels) - known:,} of {len(self.labels):,} items labelled from {known:,}, "
                 f"{len(self.classes)} classes ({told}{more}), {self.k} neighbours"]  # fmt: skip
        if math.isnan(self.error):
            lines.append("no estimate of the error: no folds were asked for, or no class has two labels")
        else:
            wide = "; with so few labels that is a wide range" if self.given.sum() < FEW else ""
            lines.append(f"error {self.error:.1%} ± {self.error_se:.1%} by leaving labels out{wide}")
            lines.append(f"error {self.expected_error:.1%} by the confidences")
        return "\n".join(lines)

    __repr__ = __str__

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON values, without the items; what is not known is None."""
        figures = {name: getattr(self, name) for name in ("error", "error_se", "expected_error", "temperature")}
        return {name: value if math.isfinite(value) else None for name, value in figures.items()} | {
            "items": len(self.labels), "given": int(self.given.sum()), "k": self.k, "classes": self.classes.tolist(),
            "counts": [int((self.labels == name).sum()) for name in self.classes]}  # fmt: skip

    # ---- how it is done ----------------------------------------------------------------------------------------------

    def _spread(self, space: Space, coded: np.ndarray, shares: np.ndarray, fold_of: np.ndarray | None) -> Spread:
        """Labels over one graph. By linearity one solution a fold and class gives the whole, and all but a fold."""
        rows, count = np.flatnonzero(coded >= 0), len(shares)
        k = self._settings["k"] or fewest(space.near, rows)
        graph, scale = affinities(space.near.first(k))
        fold_of = np.full(len(rows), -1) if fold_of is None else fold_of
        folds = np.where(fold_of < 0, fold_of.max(initial=-1) + 1, fold_of)  # labels of no fold are never left out
        asked, places = np.unique(folds * count + coded[rows], return_inverse=True)
        whole, sums = np.zeros((len(coded), count)), np.zeros(len(asked))
        at_rows = np.zeros((len(rows), len(asked)))  # what is needed of each solution: they would not fit together
        for first in range(0, len(asked), TOGETHER):
            some = np.arange(first, min(first + TOGETHER, len(asked)))
            starts = (places[:, None] == some).astype(float)
            here = np.zeros((len(coded), len(some)))
            here[rows] = starts
            here = np.maximum(solved(graph, here, self._settings["alpha"]), 0)  # zero, and what is left of it below
            np.add.at(whole.T, asked[some] % count, here.T)
            at_rows[:, some], sums[some] = here[rows], here.sum(0)
        masses = _masses(whole, whole.sum(0), shares)
        left_out = np.full((len(rows), count), np.nan)
        for fold in np.unique(fold_of[fold_of >= 0]):
            mine, out = asked // count == fold, fold_of == fold
            rest, left = whole[rows[out]], whole.sum(0)
            np.subtract.at(rest.T, asked[mine] % count, at_rows[np.ix_(out, mine)].T)
            np.subtract.at(left, asked[mine] % count, sums[mine])
            left_out[out] = _masses(rest, left, shares, len(coded))
        masses[rows] = np.eye(count)[coded[rows]]
        return Spread(space, k, scale, masses, left_out)

    def _rounds(self, spread: Spread, coded: np.ndarray, shares: np.ndarray) -> Spread:
        """Rounds of self-training from what has spread."""
        from isthmus.verbs.selftraining import learned

        form, settings = self._model.format_, self._settings
        for turn in range(settings["rounds"]):
            entropy = -(spread.masses * np.log(np.maximum(spread.masses, TINY))).sum(1) / math.log(len(shares))
            targets = np.eye(len(shares))[spread.masses.argmax(1)]
            encode = learned(form, self._stored, targets, np.clip(1 - entropy, 0, 1), settings["shifts"],
                             settings["seed"] + turn, settings["verbose"])  # fmt: skip
            codes = encode(self._stored)
            near = nearest(codes, spread.space.near.rows.shape[1])

            def asked(items: Tensor, encode: Callable[[Tensor], np.ndarray] = encode) -> tuple[np.ndarray, Any]:
                return encode(items), None

            space = Space(codes, near, asked)
            spread = self._spread(space, coded, shares, None)
        return spread

    def _judge(self, left_out: np.ndarray, truth: np.ndarray, shares: np.ndarray, folds: int) -> None:
        """Error and temperature from given labels that were left out."""
        from scipy.optimize import minimize_scalar

        known = np.isfinite(left_out).all(1)
        told, truth = left_out[known], truth[known]
        self._shares = shares
        self._doubt = 1 / (1 + float(self.given.sum()))  # rule of succession: m labels prove no more
        self.error = self.error_se = math.nan
        self.temperature = 1.0
        if not len(truth):
            return
        wrong, m = float((told.argmax(1) != truth).sum()), len(truth)
        centre = (wrong + 2) / (m + 4)
        more = 1 + folds / max(folds - 1, 1)  # folds share what they learn from (Nadeau & Bengio 2003)
        self.error, self.error_se = wrong / m, math.sqrt(centre * (1 - centre) / (m + 4) * more)

        def loss(log_temperature: float) -> float:
            self.temperature = math.exp(log_temperature)
            chances = self._calibrated(told)
            imagined = -np.log1p(-chances.max(1)).mean()  # one more label, told wrong: few right ones prove little
            return float(-np.log(chances[np.arange(m), truth]).sum() + imagined)

        self.temperature = math.exp(minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded").x)

    def _calibrated(self, masses: np.ndarray) -> np.ndarray:
        """Chances (q, C) from masses, rows of which sum to one."""
        logs = np.log(np.maximum(masses, TINY)) / self.temperature
        chances = np.exp(logs - logs.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        return (1 - self._doubt) * chances + self._doubt * self._shares


def _masses(spread: np.ndarray, sums: np.ndarray, shares: np.ndarray, count: int | None = None) -> np.ndarray:
    """(n, C) what has spread of some of ``count`` items, with class masses as their shares, rows summing to one.

    ``sums`` (C,) are those of all items (Zhu et al. 2003). Where nothing came stand the shares.
    """
    scaled = np.maximum(spread, 0) * (shares / np.maximum(sums, 1e-300))
    total = scaled.sum(1, keepdims=True)
    reached = total > UNREACHED / (count or len(spread))  # the mean over all items is one over their number
    return np.where(reached, scaled / np.maximum(total, 1e-300), shares)


def _folds(truth: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(m,) the fold of each given label, classes spread evenly; -1: of no fold, the only label of its class."""
    if not folds:
        return np.full(len(truth), -1)
    order = np.random.default_rng(seed).permutation(len(truth))
    order = order[np.argsort(truth[order], kind="stable")]
    counts = np.bincount(truth)
    fold_of = np.full(len(truth), -1)
    several = order[counts[truth[order]] > 1]
    fold_of[several] = np.arange(len(several)) % min(folds, max(len(several), 1))
    if len(several) < len(truth):
        warn(
            f"{len(truth) - len(several)} classes have one label only: nothing can be said about how well they are "
            "told. Give them a second one"
        )
    return fold_of


def _shares(given: Mapping[Any, float] | None, classes: np.ndarray) -> np.ndarray:
    """(C,) how frequent the classes are, summing to one."""
    if given is None:
        return np.full(len(classes), 1 / len(classes))
    names = classes.tolist()
    wanted = f"a dict with a share above 0 for each of {names[:20]}"
    try:
        found = np.array([float(given[name]) for name in names])
    except (KeyError, TypeError, ValueError) as error:
        raise SettingError(f"shares={given!r}: expected {wanted}") from error
    if len(given) != len(names) or not (np.isfinite(found).all() and (found > 0).all()):
        raise SettingError(f"shares={given!r}: expected {wanted}")
    return found / found.sum()


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value < 2**32:
        raise SettingError(f"{name}={value!r}: expected a whole number from {least}")
    return int(value)
