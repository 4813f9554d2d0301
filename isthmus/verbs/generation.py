"""How good a generator is, in one table: fidelity, coverage, use, and privacy, beside real items and N(0, 1).

What the columns are is said in ``isthmus.verbs.fidelity``. Training on made items and testing on real ones: Esteban,
Hyland & Rätsch 2017.

Shapes: n items of a kind; F features.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from isthmus.errors import DataError, SettingError
from isthmus.priors import StandardNormal
from isthmus.verbs.fidelity import frechet_distance, precision_recall_density_coverage, privacy
from isthmus.verbs.generate import require_able, sample

__all__ = ["GenerationReport", "generation_report"]

MOST_ITEMS = 2500  # a share of so many has a standard error of a hundredth; distances grow with the square
COMPONENTS = 64  # of the default feature space
HIDDEN, STEPS = 100, 300  # units of the default classifier, as scikit-learn's, and epochs at most
OTHERS = {"standard_normal": " from N(0, 1)", "mixture": " from a mixture of its codes"}
COLUMNS = {  # name in the report: heading, format
    "items": ("items", "s"),
    "precision": ("precision", ".3f"),
    "recall": ("recall", ".3f"),
    "density": ("density", ".2f"),
    "coverage": ("coverage", ".3f"),
    "frechet": ("Frechet", ".4g"),
    "confidence": ("confidence", ".3f"),
    "accuracy": ("accuracy", ".3f"),
    "closest": ("closest", ".2f"),
    "closer": ("closer", ".3f"),
    "membership": ("membership", ".3f"),
}


class GenerationReport:
    """What was measured: a table and what it says. ``print`` it, or take ``to_json``.

    Attributes
    ----------
    rows : list of dicts, one a kind of items; a figure that was not measured is missing. Keys: items (what they are);
        precision, recall, density, coverage, frechet (against held-out items); confidence (mean chance that a
        classifier of real items gives to the class that it finds likeliest); accuracy (of a classifier that learned
        from these items, on held-out ones); closest, closer, membership (of privacy)
    protocol : on which items, in which space
    verdict : what is to be noticed, a line each
    """

    def __init__(self, rows: list[dict[str, Any]], protocol: str, verdict: list[str]) -> None:
        self.rows, self.protocol, self.verdict = rows, protocol, verdict

    def __str__(self) -> str:
        shown = [name for name in COLUMNS if any(name in row for row in self.rows)]
        cells = [[COLUMNS[name][0] for name in shown]]
        cells += [[format(row[name], COLUMNS[name][1]) if name in row else "-" for name in shown] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, ["-" * width for width in widths])
        lines = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in cells]
        return "\n".join([*lines, "", self.protocol, "", *(f"- {line}" for line in self.verdict)]).rstrip()

    __repr__ = __str__

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values; a figure that is not finite is None."""
        rows = [{name: None if isinstance(value, float) and not math.isfinite(value) else value
                 for name, value in row.items()} for row in self.rows]  # fmt: skip
        return {"rows": rows, "protocol": self.protocol, "verdict": self.verdict}


def generation_report(
    models: Any,
    train: Any,
    test: Any,
    *,
    y_train: Any = None,
    y_test: Any = None,
    n: int | None = None,
    k: int = 5,
    features: Callable[[Any], Any] | None = None,
    classifier: Any = None,
    seed: int = 0,
) -> GenerationReport:
    """One table of what a generator is worth: like real items, as varied, of use, and no copies.

    Below each model stands the same decoder given codes from N(0, 1); where that is its prior, codes from a mixture
    fitted to its codes of train (Ghosh et al. 2020), which says how far they are from that prior. Above all stand the
    training items themselves, whose figures of likeness are the best that can be had and whose privacy is the worst.

    Parameters
    ----------
    models : a fitted model, or a dict by name of models and of ready-made items from elsewhere
    train : the items that the models learned from
    test : items that they did not learn from
    y_train, y_test : labels of both. They add a classifier: how sure it is of what was made, and how well one that
        learns from made items alone (as many of each class, by a prior for each class) tells held-out ones
    n : items of each kind, drawn by ``seed``; None: 2500, or as many as train and test both have
    k : neighbours, default 5
    features : function of items to (n, F) numbers. None: the first 64 principal components (fewer where there are not
        so many) of the real items, in the view in which the first model's errors are measured
    classifier : of scikit-learn, with ``predict_proba``. None: a network with one hidden layer of 100
    seed : of draws, samples and the network

    Raises
    ------
    NotSupported : a model without decoder or prior
    SettingError : n below 10, or k not below it
    DataError, FormatError : items or labels that do not go together

    Examples
    --------
    >>> import isthmus as im
    >>> from isthmus.verbs.generation import generation_report
    >>> X = im.datasets.digits()
    >>> report = generation_report(im.PCA(8).fit(X[:900]), X[:900], X[900:], n=200)
    >>> [row["items"] for row in report.rows]
    ['training items', 'PCA(8)', 'PCA(8) from N(0, 1)']
    """
    named = dict(models) if isinstance(models, Mapping) else {_name(models): models}
    fitted = {name: one for name, one in named.items() if callable(getattr(one, "decode", None))}
    if not fitted:
        raise SettingError("generation_report needs a fitted model such as VAE().fit(X), or a dict with one at least")
    for model in fitted.values():
        require_able(model, "generation_report", encode=y_train is not None)
    first = next(iter(fitted.values()))
    known, unseen = first._stored(train), first._stored(test)
    labels, truth = _labels(y_train, len(known), "y_train"), _labels(y_test, len(unseen), "y_test")
    if (labels is None) != (truth is None):
        raise DataError("give labels of both, y_train= and y_test=, or of neither")
    most = min(len(known), len(unseen))
    n = min(most, MOST_ITEMS) if n is None else n
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 10 <= n <= most:
        raise SettingError(f"n={n!r}: expected a whole number from 10 to {most}, what train and test both have")
    random = np.random.default_rng(seed)
    learned, held_out = (np.sort(random.choice(len(items), int(n), replace=False)) for items in (known, unseen))
    space = _Space(first, features, known[learned], unseen[held_out], seed)
    judge = None
    if labels is not None and truth is not None:
        judge = _Judge(classifier, space, labels[learned], truth[held_out], seed)

    rows = [_row("training items", space, space.train, int(k))]
    if judge is not None:
        rows[0] |= {"confidence": judge.confidence(space.test), "accuracy": judge.accuracy}
    for name, model in named.items():
        if name not in fitted:
            made = space.of(model)
            sure = {} if judge is None else {"confidence": judge.confidence(made)}
            rows.append(_row(name, space, made, int(k)) | sure)
            continue
        other = "mixture" if isinstance(model.prior_, StandardNormal) else "standard_normal"
        for prior in (None, other) if hasattr(model, "encode") else (None,):
            made = space.of(sample(model, int(n), prior=prior, X=train if prior == "mixture" else None, seed=seed))
            row = _row(name + ("" if prior is None else OTHERS[prior]), space, made, int(k))
            if judge is not None:
                row["confidence"] = judge.confidence(made)
                if prior is None:
                    drawn = sample(model, X=train, y=labels, label=judge.labels, seed=seed)
                    row["accuracy"] = judge.learned_from(space.of(drawn))
            rows.append(row)
    said = f"{n} items of each kind; precision to Frechet against held-out items; features: {space.name}"
    if judge is not None:
        said += f"; classifier: {judge.name}, of the features"
    return GenerationReport(rows, said, _verdict(rows, int(n)))


def _row(name: str, space: _Space, made: np.ndarray, k: int) -> dict[str, Any]:
    return {
        "items": name,
        **precision_recall_density_coverage(space.test, made, k),
        "frechet": frechet_distance(space.test, made),
        **privacy(space.train, space.test, made),
    }


def _verdict(rows: list[dict[str, Any]], n: int) -> list[str]:
    """What is to be noticed, by differences above three standard errors of a share."""
    noise = 3 * 0.5 / math.sqrt(n)
    lines = []
    for row in rows[1:]:
        if row["closer"] > 0.5 + noise and row["closest"] < 1:  # far from all items, a few of them decide for many
            lines.append(f"{row['items']}: {row['closer']:.0%} lie closer to an item learned from than to any held out "
                         "(50 % where nothing was learned by heart)")  # fmt: skip
        if row["membership"] > 0.5 + noise:
            lines.append(f"{row['items']}: whether an item was learned from can be told, area under ROC curve "
                         f"{row['membership']:.2f}")  # fmt: skip
    for row, other in itertools.pairwise(rows):
        name = row["items"]
        plain, fitted = (row, other) if other["items"] == name + OTHERS["mixture"] else (other, row)
        pair = other["items"] in (name + OTHERS["mixture"], name + OTHERS["standard_normal"])
        if pair and fitted["coverage"] > plain["coverage"] + noise:
            advice = "; sample(model, prior='mixture', X=train) draws so" if plain is row else ""
            lines.append(f"{name}: its codes are not N(0, 1). Drawn from that they reach {plain['coverage']:.0%} of "
                         f"the real items, from a prior fitted to them {fitted['coverage']:.0%}{advice}")  # fmt: skip
    return lines


class _Space:
    """The feature space, and the real items in it."""

    def __init__(
        self, model: Any, features: Callable[[Any], Any] | None, train: Tensor, test: Tensor, seed: int
    ) -> None:
        self.format, self.given = model.format_, features
        self.lines = self.format.lines()
        if features is None:
            from sklearn.decomposition import PCA

            real = np.concatenate([self._flat(train), self._flat(test)])
            count = min(COMPONENTS, real.shape[1], len(train) // 2)  # of fewer items, components are of chance
            self.components = PCA(count, random_state=seed).fit(real)
            self.name = f"first {count} principal components, " + format(
                self.components.explained_variance_ratio_.sum(), ".0%"
            ) + " of the variance"  # fmt: skip
        else:
            self.name = f"features={getattr(features, '__name__', type(features).__name__)}"
        self.train, self.test = self._of_stored(train), self._of_stored(test)

    def of(self, items: Any) -> np.ndarray:
        """(n, F) float64."""
        return self._of_stored(self.format.require(self.format.to_tensor(items)))

    def _of_stored(self, stored: Tensor) -> np.ndarray:
        if self.given is None:
            return np.asarray(self.components.transform(self._flat(stored)), dtype=np.float64)
        found = np.asarray(self.given(self.format.from_tensor(stored)), dtype=np.float64)
        if found.ndim != 2 or len(found) != len(stored):
            raise DataError(f"features= gave an array of shape {found.shape} for {len(stored)} items; expected (n, F)")
        return found

    def _flat(self, stored: Tensor) -> np.ndarray:
        """The view in which errors are measured; in a hole of a table stands the mean, which is 0 there."""
        flat: np.ndarray = self.lines.scale(stored).nan_to_num().flatten(1).numpy()
        return flat


class _Judge:
    """A classifier that learned from real items, and others of its kind that learn from made ones.

    All features are divided by one number. Were each scaled by itself, those in which real items hardly vary, and which
    a decoder therefore leaves alone, would weigh as much as the others: on them, classifiers decide by chance.
    """

    def __init__(self, given: Any, space: _Space, labels: np.ndarray, truth: np.ndarray, seed: int) -> None:
        from sklearn.neural_network import MLPClassifier

        if len(np.unique(labels)) < 2:
            raise DataError(f"all of the training items drawn have one label, {labels[0]}: a classifier needs two")
        self.kind = MLPClassifier((HIDDEN,), max_iter=STEPS, random_state=seed) if given is None else given
        self.name = f"network of {HIDDEN} hidden units" if given is None else type(given).__name__
        self.centre, self.size = space.train.mean(0), max(float(np.sqrt(space.train.var(0).mean())), 1e-30)
        self.labels, self.test, self.truth = labels, self.scaled(space.test), truth
        self.real = self._fitted(space.train)
        self.accuracy = float(self.real.score(self.test, truth))

    def _fitted(self, features: np.ndarray) -> Any:
        from sklearn.base import clone
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():  # good enough is enough for a comparison
            warnings.simplefilter("ignore", ConvergenceWarning)
            return clone(self.kind).fit(self.scaled(features), self.labels)

    def scaled(self, features: np.ndarray) -> np.ndarray:
        return (features - self.centre) / self.size

    def confidence(self, features: np.ndarray) -> float:
        return float(self.real.predict_proba(self.scaled(features)).max(1).mean())

    def learned_from(self, features: np.ndarray) -> float:
        """Accuracy on held-out items of a classifier that learned from made ones with the same labels."""
        return float(self._fitted(features).score(self.test, self.truth))


def _labels(y: Any, count: int, name: str) -> np.ndarray | None:
    if y is None:
        return None
    labels = y.detach().cpu().numpy() if hasattr(y, "detach") else np.asarray(y)
    if labels.shape != (count,):
        raise DataError(f"{name}: labels of shape {labels.shape} given for {count} items; expected ({count},)")
    missing = [i for i, label in enumerate(labels.tolist()) if label is None or label != label]
    if missing:
        raise DataError(f"{name}: the label of item {missing[0]} is missing: give one for each, or leave it out")
    return labels


def _name(model: Any) -> str:
    return f"{type(model).__name__}({getattr(model, 'latent_dim_', '')})"
