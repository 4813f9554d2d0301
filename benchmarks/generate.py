"""MNIST: what a decoder makes of codes from N(0, 1), from a prior fitted to its codes, near items and between them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import isthmus as im
from benchmarks import table
from isthmus.errors import IsthmusWarning
from isthmus.verbs.generate import augment, interpolate, sample
from isthmus.verbs.generation import generation_report
from isthmus.view import drawing, plots

ITEMS, EPOCHS, LATENTS, WIDTHS = 20_000, 20, 16, (256, 128)
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "generate.png"
PAIRS, STEPS = 60, 9


def run(seeds: int = 3, budget: str | None = None) -> None:
    (X, y), (test, truth) = (im.datasets.mnist(part, labels=True) for part in ("train", "test"))
    found: dict[str, list[dict[str, Any]]] = {}
    uses: dict[tuple[str, str], list[float]] = {}
    for seed in range(max(seeds, 3)):
        rows = np.sort(np.random.default_rng(seed).choice(len(X), ITEMS, replace=False))
        train, labels = X[rows], y[rows]
        judge = Judge(train, labels, seed)
        models = fitted(train, seed, budget)
        for name, space in (("hidden", judge.hidden), ("pixels", None)):
            report = generation_report(models, train, test, y_train=labels, y_test=truth, features=space, seed=seed)
            for row in report.rows:
                found.setdefault(f"{name}: {row['items']}", []).append(row)
        of_uses(uses, models, judge, (train, labels), (test, truth), seed)
        if not seed:
            draw(models, train, test)
    for space in ("hidden", "pixels"):
        said = "128 hidden units of a classifier" if space == "hidden" else "64 principal components of the pixels"
        table.write(f"generate-{space}", f"MNIST samples, measured in {said}",
                    f"{ITEMS:,} training images, {LATENTS} latents, layers of {WIDTHS}, "
                    + (f"{EPOCHS} epochs" if budget is None else f"budget={budget}") + "; 2,500 samples against as "
                    "many test images (`generation_report`). Median (least to most) over the seeds.",
                    [{"samples": name.split(": ")[1]} | {key: table.spread([run[key] for run in runs])
                      for key in ("precision", "recall", "density", "coverage", "frechet", "confidence", "accuracy",
                                  "closest", "closer", "membership") if key in runs[0]}
                     for name, runs in found.items() if name.startswith(space)])  # fmt: skip
    names = list(dict.fromkeys(name for name, _ in uses))
    table.write("generate-uses", "MNIST: items near others and between others",
                f"The models of the table of samples. Label kept: share of new digits that the classifier puts in the "
                f"class of the old one. Labels: {PER_CLASS} a class, with nine new items for each of them, at strength "
                f"0.3, by class. Confidence: the classifier's, over the inner points of {PAIRS} ways of {STEPS} from "
                "one digit to another. Median (least to most) over the seeds.",
                [{"of": name} | {key: table.spread(values) for (own, key), values in uses.items() if own == name}
                 for name in names])  # fmt: skip


def fitted(train: np.ndarray, seed: int, budget: str | None) -> dict[str, Any]:
    length: dict[str, Any] = {"epochs": EPOCHS} if budget is None else {"budget": budget}
    shared = {"network": WIDTHS, "random_state": seed, "verbose": False} | length
    return {
        "PCA": im.PCA(LATENTS).fit(train),
        "autoencoder": im.Autoencoder(LATENTS, **shared).fit(train),
        "VAE, Bernoulli": im.VAE(LATENTS, likelihood="bernoulli", **shared).fit(train),
        "VAE, Gaussian": im.VAE(LATENTS, **shared).fit(train),
    }


class Judge:
    """A classifier of pixels, and its hidden layer as a feature space."""

    def __init__(self, train: np.ndarray, labels: np.ndarray, seed: int) -> None:
        from sklearn.neural_network import MLPClassifier

        self.model = MLPClassifier((128,), early_stopping=True, random_state=seed).fit(flat(train), labels)

    def hidden(self, items: Any) -> np.ndarray:
        return np.maximum(flat(items) @ self.model.coefs_[0] + self.model.intercepts_[0], 0)

    def __call__(self, items: Any) -> np.ndarray:
        return self.model.predict(flat(items))

    def sure(self, items: Any) -> float:
        return float(self.model.predict_proba(flat(items)).max(1).mean())


def flat(items: Any) -> np.ndarray:
    return np.asarray(items, dtype=np.float32).reshape(len(items), -1) / 255


PER_CLASS = 10


def of_uses(uses: dict[tuple[str, str], list[float]], models: dict[str, Any], judge: Judge,
            train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], seed: int) -> None:  # fmt: skip
    """Figures of augmenting and interpolating, added to ``uses``."""
    random = np.random.default_rng(seed)
    X, y = test[0][:2000], judge(test[0][:2000])
    few = np.concatenate([random.choice(np.flatnonzero(train[1] == c), PER_CLASS, replace=False) for c in range(10)])
    pairs = random.integers(0, len(test[0]), (PAIRS, 2))
    uses.setdefault(("nothing made", f"accuracy with {PER_CLASS} labels a class"), []).append(
        accuracy(train[0][few], train[1][few], test, seed))  # fmt: skip
    for name, model in models.items():
        for strength in (0.25, 0.5, 0.75):
            for labels in (None, y):
                key = f"label kept at {strength}" + ("" if labels is None else ", by class")
                made = augment(model, X, strength, y=labels, seed=seed)
                uses.setdefault((name, key), []).append(float((judge(made) == y).mean()))
        made = augment(model, train[0][few], 0.3, copies=9, y=train[1][few], seed=seed)
        both = np.concatenate([train[0][few], made]), np.tile(train[1][few], 10)
        uses.setdefault((name, f"accuracy with {PER_CLASS} labels a class"), []).append(accuracy(*both, test, seed))
        if name not in ("autoencoder", "VAE, Bernoulli"):
            continue
        prior = im.priors.GaussianMixture().fit(model.encode(X))
        for how in ("linear", "spherical", "manifold"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", IsthmusWarning)
                inner = [interpolate(model, test[0][a], test[0][b], STEPS, how=how, prior=prior)[1:-1]
                         for a, b in pairs]  # fmt: skip
            uses.setdefault((name, f"confidence, {how}"), []).append(judge.sure(np.concatenate(inner)))


def accuracy(X: np.ndarray, y: np.ndarray, test: tuple[np.ndarray, np.ndarray], seed: int) -> float:
    from sklearn.linear_model import LogisticRegression

    return float(LogisticRegression(max_iter=500, random_state=seed).fit(flat(X), y).score(flat(test[0]), test[1]))


def draw(models: dict[str, Any], train: np.ndarray, test: np.ndarray, count: int = 10) -> None:
    """The samples side by side."""
    draws: dict[str, Callable[[Any], Any]] = {
        "from N(0, 1)": lambda model: sample(model, count, prior="standard_normal"),
        "from a mixture": lambda model: sample(model, count, prior="mixture", X=train),
    }
    rows = {f"{name}\n{how}": make(model) for name, model in models.items() if name in ("autoencoder", "VAE, Bernoulli")
            for how, make in draws.items()}  # fmt: skip
    figure = plots.canvas(5.6, 2.6)
    ax = figure.add_axes((0.24, 0.01, 0.75, 0.98))
    drawing.items_beside_reconstructions(ax, test[:count], rows)
    ax.texts[0].set_text("real digits")
    for text in ax.texts:
        text.set_fontsize(8)
    PICTURE.parent.mkdir(exist_ok=True)
    plots.write(figure, PICTURE)
