"""Compute with codes: sums of items, directions of concepts, averages of classes.

Sums: Mikolov et al. 2013, "Linguistic regularities in continuous space word representations" (king - man + woman).
Directions from two groups: Larsen et al. 2016, "Autoencoding beyond pixels", section 3.3 (attribute vectors); Kim et
al. 2018, "Interpretability beyond feature attribution" (concepts, and tests of them).

A direction can always be computed. Whether it means anything is a question for items that it was not made of, so every
``Concept`` carries its accuracy on held-out ones, beside that of groups drawn at random.

Shapes: n items; K coordinates of a code; k neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from isthmus.errors import DataError, SettingError
from isthmus.verbs.expressions import quoted, weights_of
from isthmus.verbs.search import Index, Neighbours, codes_of, index

__all__ = [
    "Answer",
    "Concept",
    "Templates",
    "analogy",
    "arithmetic",
    "average",
    "concept",
    "drags",
    "nearest",
    "templates",
]

FOLDS = 5  # usual (Hastie, Tibshirani & Friedman 2009, section 7.10)
SHUFFLES = 199  # with the true grouping 200: a p of 0.005 can be reached
FEW = 5  # neighbours that are told where no number is given
SURE = 0.05  # p below which a direction is said to mean something
STEPS = 1000  # items that are moved to see what is dragged along


class Answer(NamedTuple):
    """What came out of a sum of items.

    Attributes
    ----------
    code : (K,) float32
    item : the code decoded: one item, in the user's own form
    nearest : Neighbours (k,), those that the expression names left out
    """

    code: np.ndarray
    item: Any
    nearest: Neighbours


class Concept(NamedTuple):
    """A direction among codes, from the one group to the other, and what it is worth.

    Attributes
    ----------
    direction : (K,) float32, mean code of the positive group minus that of the negative: adding it makes the step
    middle : float, where along the direction the two groups meet
    accuracy : balanced accuracy on items that were held out, from 0 to 1: of each group the share on its own side,
        averaged over both
    chance : the same where items are put in the groups at random, the mean of 199 draws
    standard_error : of ``accuracy``: binomial, of the two groups together
    p : share of the draws (and the true groups) that are as accurate
    positive, negative : how many items each group had
    """

    direction: np.ndarray
    middle: float
    accuracy: float
    chance: float
    standard_error: float
    p: float
    positive: int
    negative: int

    def score(self, Z: Any) -> np.ndarray:
        """(n,) float64: where codes (n, K) lie along it: -1 is the negative group's mean, 1 the positive's."""
        along = self.direction.astype(np.float64)
        return 2 * (np.asarray(Z, np.float64) @ along - self.middle) / float(along @ along)

    @property
    def verdict(self) -> str:
        """One line on whether the direction means anything."""
        told = (f"tells held-out items apart with accuracy {self.accuracy:.2f} ± {self.standard_error:.2f}, "
                f"chance {self.chance:.2f} (p = {self.p:.3f})")  # fmt: skip
        if self.p <= SURE and self.accuracy > self.chance:
            return f"The direction {told}."
        few = ": too few items to know more" if min(self.positive, self.negative) < 2 * FOLDS else ""
        return f"Nothing to build on: the direction {told}{few}."


class Templates(NamedTuple):
    """What the model takes for granted. Items are in the user's own form, one for each line.

    Attributes
    ----------
    classes : (c,) the labels, sorted
    averages : c items: the mean code of each class, decoded
    zero : one item: the code of zeros, decoded; with it the decoder says what it makes of nothing
    prior : one item: the mean of the prior, decoded
    bias : one item: what the model makes of an item of zeros in the scaled view (of a table: a row of holes)
    """

    classes: np.ndarray
    averages: Any
    zero: Any
    prior: Any
    bias: Any


def arithmetic(
    model: Any, expression: str, items: Any, names: Sequence[str] | None = None, k: int | None = None, *,
    codes: bool = False, metric: str = "euclidean",
) -> Answer:  # fmt: skip
    """The item that a sum of items comes to, as ``"king - man + woman"``.

    Parameters
    ----------
    expression : names, + - * / with numbers, parentheses, ``average(a, b)``; a name with spaces or signs stands in
        quotes: ``"New York" - USA``
    items : what the names mean: a mapping of names to an item or to several (their average is meant); or items with
        ``names``, one for each; or an ``Index`` of this model whose items have names
    names : of ``items``, where these are no mapping
    k : nearest items to tell; None, the default: 5, or as many as there are. Those that the expression names are
        left out, as is usual; often they would be the nearest
    codes : whether ``items`` are codes (K,) or (n, K) that the model gave before. Default False
    metric : of the nearest: "euclidean", the default, or "cosine". An Index has its own

    Returns
    -------
    Answer

    Raises
    ------
    DataError, FormatError : the expression cannot be read, a name is unknown (those spelt nearly so are told), an item
        is not of the model's form

    Examples
    --------
    >>> import isthmus as im
    >>> X, y = im.datasets.digits(labels=True)
    >>> model = im.PCA(16).fit(X)
    >>> from isthmus.verbs.arithmetic import arithmetic
    >>> digits = {"three": X[y == 3], "eight": X[y == 8], "one": X[y == 1]}
    >>> arithmetic(model, "average(three, eight)", digits).item.shape
    (1, 8, 8)
    """
    weights = weights_of(expression)
    if isinstance(items, Index):
        return _answer(model, items, weights, k)
    if isinstance(items, Mapping):
        if not items:
            raise DataError("items: the mapping is empty, so no name means anything")
        names = list(items)
        made = np.stack([_one_code(model, name, value, codes) for name, value in items.items()])
    else:
        if names is None:
            raise DataError("items need names: give a mapping of names to items, or names=, one for each item")
        made = model._codes(items).numpy() if codes else codes_of(model, items)
    with index(model, codes=made, names=names, metric=metric) as held:
        return _answer(model, held, weights, k)


def analogy(model: Any, a: str, b: str, c: str, items: Any, names: Sequence[str] | None = None, **given: Any) -> Answer:
    """What is to ``c`` as ``b`` is to ``a``: the sum b - a + c. "man" is to "king" as "woman" is to: "queen".

    ``items``, ``names`` and the other arguments are those of ``arithmetic``; a, b, c are names as they stand.
    """
    return arithmetic(model, f"{quoted(b)} - {quoted(a)} + {quoted(c)}", items, names, **given)


def average(model: Any, X: Any, weights: Any = None) -> Any:
    """One item: the mean of the items' codes, decoded, in the user's own form.

    Parameters
    ----------
    X : n items
    weights : (n,) numbers whose sum is not zero. None: all alike

    Raises
    ------
    DataError : weights of another length, or whose sum is zero
    """
    Z = codes_of(model, X)
    w = np.ones(len(Z)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(Z),) or not np.isfinite(w).all() or not w.sum():
        raise DataError(
            f"weights of shape {w.shape} given for {len(Z)} items; expected finite numbers, one for each, of sum not 0"
        )
    return model.decode((w @ Z / w.sum()).astype(np.float32)[None])


def nearest(
    model: Any, query: Any, X: Any, k: int = 10, names: Sequence[str] | None = None, **given: Any
) -> Neighbours:
    """The k items of X nearest to each item of ``query``; ``index`` keeps what is made here for many such calls."""
    with index(model, X, names=names, **given) as held:
        return held.search(query, k)


def concept(model: Any, positive: Any, negative: Any, *, codes: bool = False, seed: int = 0) -> Concept:
    """The direction from one group of items to another, tested on items that it was not made of.

    The direction is the difference of the two mean codes. In each of five folds it is made of four fifths of the items,
    and every item of the rest is put to the group on whose side of the middle it lies.

    Parameters
    ----------
    positive, negative : items with and without what is meant, at least two of each, alike in other things
    codes : whether they are codes that the model gave before. Default False
    seed : of the folds and of the random groups

    Returns
    -------
    Concept. Its ``verdict`` says in a line whether it means anything

    Raises
    ------
    DataError : fewer than two items in a group, or items that are not of the model's form

    Examples
    --------
    >>> import isthmus as im
    >>> X, y = im.datasets.digits(labels=True)
    >>> model = im.PCA(16).fit(X)
    >>> from isthmus.verbs.arithmetic import concept
    >>> concept(model, X[y == 8], X[y == 3]).accuracy > 0.9
    True
    """
    groups = [model._codes(one).numpy() if codes else codes_of(model, one) for one in (positive, negative)]
    for word, group in zip(("positive", "negative"), groups, strict=True):
        if len(group) < 2:
            raise DataError(
                f"the {word} group holds {len(group)} item; two are needed, one to learn from and one to test on"
            )
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise SettingError(f"seed={seed!r}: expected a whole number from 0 to {2**32 - 1}")
    Z = np.concatenate(groups).astype(np.float64)
    counts = [len(group) for group in groups]
    random = np.random.default_rng(seed)
    folds = np.concatenate([random.permutation(np.arange(count) % FOLDS) for count in counts])
    truth = np.repeat([1.0, 0.0], counts)
    shares = _held_out(Z, truth[None], folds)[0]
    drawn = np.stack([random.permutation(truth) for _ in range(SHUFFLES)])
    chances = _held_out(Z, drawn, folds).mean(1)
    accuracy = float(shares.mean())
    error = float(np.sqrt(sum(max(s * (1 - s), 0.25 / c) / c for s, c in zip(shares, counts, strict=True))) / 2)
    means = [group.mean(0, dtype=np.float64) for group in groups]
    direction = means[0] - means[1]
    return Concept(
        direction.astype(np.float32), float((means[0] + means[1]) @ direction / 2),
        accuracy, float(chances.mean()), error, float((1 + (chances >= accuracy).sum()) / (1 + SHUFFLES)), *counts,
    )  # fmt: skip


def _held_out(Z: np.ndarray, truth: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """For each of r groupings (r, n): the share of held-out ones, and of zeros, on their side, (r, 2)."""
    right = np.zeros(truth.shape, bool)
    for fold in range(FOLDS):
        out = folds == fold
        kept = truth[:, ~out]
        ones = kept @ Z[~out] / np.maximum(kept.sum(1), 1)[:, None]
        zeros = (1 - kept) @ Z[~out] / np.maximum((1 - kept).sum(1), 1)[:, None]
        along = ones - zeros
        middle = ((ones + zeros) * along).sum(1) / 2
        right[:, out] = (along @ Z[out].T > middle[:, None]) == (truth[:, out] > 0.5)
    ones = (right * truth).sum(1) / truth.sum(1)
    return np.stack([ones, (right * (1 - truth)).sum(1) / (1 - truth).sum(1)], axis=1)


def drags(
    model: Any, moved: Concept, others: Mapping[str, Concept], X: Any, limit: int = STEPS, seed: int = 0
) -> dict[str, dict[str, float]]:
    """What else changes when items are moved along a concept.

    Parameters
    ----------
    moved : the concept that items are moved along
    others : concepts by name
    X : items to look at; of more than ``limit`` so many are drawn by ``seed``

    Returns
    -------
    For each name a dict: "cosine" of the two directions; "correlation" of the two scores over the items, as they are;
    "dragged": how far an item moves along the other concept when it is moved by one step along this one, decoded and
    encoded again, where 1 is the whole way between the other's groups. All are 0 where there is nothing to do with it.
    Of the concept itself, given among the others, "dragged" says whether the decoder follows the direction at all: 1 is
    all the way, about 0 an untrained decoder. Look at concepts alone that mean something (their ``p``): the groups of
    others are so near each other that any step is a large one

    Raises
    ------
    DataError : X is not of the model's form, or has fewer than two items
    """
    Z = codes_of(model, X)
    if len(Z) < 2:
        raise DataError("drags needs at least two items, to see what goes together in them")
    rows = np.sort(np.random.default_rng(seed).choice(len(Z), min(limit, len(Z)), replace=False))
    Z = Z[rows]
    before = model.encode(model.decode(Z))
    after = model.encode(model.decode(Z + moved.direction))
    score, found = moved.score(Z), {}
    for name, other in others.items():
        lengths = np.linalg.norm(moved.direction) * np.linalg.norm(other.direction)
        theirs = other.score(Z)
        spread = score.std() * theirs.std()
        found[name] = {
            "cosine": float(moved.direction @ other.direction / lengths) if lengths else 0.0,
            "correlation": float(np.mean((score - score.mean()) * (theirs - theirs.mean())) / spread)
            if spread
            else 0.0,
            "dragged": float((other.score(after) - other.score(before)).mean() / 2),
        }
    return found


def templates(model: Any, X: Any, y: Any) -> Templates:
    """What the model takes for granted: each class's decoded average, and what it makes of nothing.

    Parameters
    ----------
    X : n items
    y : (n,) labels of any kind that can be sorted

    Returns
    -------
    Templates

    Raises
    ------
    DataError : not one label for each item
    """
    Z = codes_of(model, X)
    labels = y.detach().cpu().numpy() if hasattr(y, "detach") else np.asarray(y)
    if labels.shape != (len(Z),):
        raise DataError(f"labels of shape {labels.shape} given for {len(Z)} items; expected ({len(Z)},)")
    classes, coded = np.unique(labels, return_inverse=True)
    means = np.stack([Z[coded == place].mean(0, dtype=np.float64) for place in range(len(classes))])
    spec = model.format_.spec
    nothing = torch.full((1, *spec.shape), torch.nan if spec.columns or spec.kind == "table" else 0.0)
    bias = model._in_blocks(lambda x: model._encode(x).float(), nothing).numpy()
    return Templates(
        classes, model.decode(means), model.decode(np.zeros((1, Z.shape[1]), np.float32)),
        model.decode(_prior_mean(model)[None]), model.decode(bias),
    )  # fmt: skip


def _prior_mean(model: Any) -> np.ndarray:
    """(K,) float32: the mean of the prior, of what it learned: a normal's mean, a mixture's weighted means, or zero."""
    learned = model.prior_.arrays()
    if "weights" in learned:
        return (learned["weights"] @ learned["means"]).astype(np.float32)
    return np.asarray(learned.get("mean", np.zeros(model.latent_dim_)), np.float32)


def _one_code(model: Any, name: str, value: Any, codes: bool) -> np.ndarray:
    """(K,): the code of what a name means; the average of several."""
    if not isinstance(name, str):
        raise DataError(f"items: the name {name!r} is a {type(name).__name__}; names are texts")
    try:
        made = model._codes(np.atleast_2d(np.asarray(value))).numpy() if codes else codes_of(model, value)
    except DataError as error:
        raise type(error)(f"item {name!r}: {error}") from error
    return made.mean(0)


def _answer(model: Any, held: Index, weights: Mapping[str, float], k: int | None) -> Answer:
    terms = " + ".join(f"({weight!r}) * {quoted(name)}" for name, weight in weights.items())
    left = len(held) - len(weights)
    code = held.code(terms)
    if k is None and left < 1:
        near = Neighbours(np.zeros(0, np.int64), np.zeros(0), [])
    else:
        near = held.search(terms, min(FEW, left) if k is None else k)
    return Answer(code, model.decode(code[None]), near)
