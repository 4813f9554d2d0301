"""MNIST with a hundred labels, ten of each class: how many of 10,000 unseen digits are told wrong, over ten draws."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import isthmus as im
from benchmarks import table
from isthmus.verbs.label import Labelled, label
from isthmus.view import plots

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "label.png"
EACH, DRAWS, SLOW, MORE = 10, 10, 3, 100


def run(seeds: int = 10, budget: str | None = None) -> None:
    picture()
    spread(seeds)
    learned(budget or "240s")


def spread(seeds: int) -> None:
    X, truth = im.datasets.mnist("train", labels=True)
    test, test_truth = im.datasets.mnist("test", labels=True)
    model = im.PCA(50).fit(X)
    seeds = max(seeds, DRAWS)
    rows = []
    for name, settings in (
        ("label(PCA(50), X, y)", {}),
        ("shifts=1", {"shifts": 1}),
        ("shifts=1, rounds=1, folds=0", {"shifts": 1, "rounds": 1, "folds": 0}),
    ):
        found: Labelled | None = None
        figures: dict[str, list[float]] = {}
        for seed in range(min(seeds, SLOW) if "rounds" in settings else seeds):
            y = few(truth, EACH, seed)
            begun = time.process_time()
            found = label(model, X, y, **settings) if found is None else found.relabel(y)
            seconds = time.process_time() - begun
            unknown = ~found.given
            figures.setdefault("unlabelled, error %", []).append(100 * float((found.labels != truth)[unknown].mean()))
            figures.setdefault("its estimate %", []).append(100 * found.error)
            figures.setdefault("by confidences %", []).append(100 * found.expected_error)
            told = found.predict(test)
            figures.setdefault("test, error %", []).append(100 * float((told.labels != test_truth).mean()))
            right = told.labels == test_truth
            figures.setdefault("calibration error %", []).append(100 * calibration_error(told.confidence, right))
            figures.setdefault("CPU s", []).append(seconds)
            print(name, seed, {key: round(values[-1], 2) for key, values in figures.items()}, flush=True)
        rows.append(
            {"how": name, "draws": len(figures["CPU s"])} | {key: shown(values) for key, values in figures.items()}
        )
        if name == "shifts=1":
            rows += asked_for(found, truth, test, test_truth, min(seeds, SLOW))
    protocol = (
        f"{EACH} labels of each class drawn with the seed, the other 59,900 training images without; test: the 10,000 "
        "test images, by their neighbours. PCA learns from the training images. Means over draws ± deviation. Its "
        "estimate: by leaving labels out (10 folds); by confidences: mean of 1 - confidence. Calibration error: "
        "expected difference of confidence and accuracy in 10 bins. CPU seconds: from the second draw on the graph is "
        f"there, except after self-training. Then: {MORE} further labels, asked for with suggest(n) or drawn at random."
    )
    table.write("label", "MNIST, 100 labels, spread over near codes", protocol, rows)


def learned(budget: str) -> None:
    """Models that learn from the same labels, and have a budget of time for all."""
    (X, truth), (test, test_truth) = (im.datasets.mnist(part, labels=True) for part in ("train", "test"))
    rows = []
    for kind, draws in ((im.Autoencoder, SLOW), (im.VAE, 1)):
        figures: dict[str, list[float]] = {}
        for seed in range(draws):
            y = few(truth, EACH, seed)
            model = kind(30, budget=budget, random_state=seed, verbose=False).fit(X, y)
            chances = model.predict_proba(test)
            right = model.classes_[chances.argmax(1)] == test_truth
            apart = (model.reconstruct(test).astype(float) - test) / 255
            for name, value in (("test, error %", 100 * (1 - right.mean())),
                                ("calibration error %", 100 * calibration_error(chances.max(1), right)),
                                ("squared error", np.square(apart).sum((1, 2)).mean()),
                                ("epochs", model.history_["epoch"][-1])):  # fmt: skip
                figures.setdefault(name, []).append(float(value))
            print(kind.__name__, seed, {key: round(values[-1], 2) for key, values in figures.items()}, flush=True)
        rows.append({"how": f"{kind.__name__}(30, budget={budget!r}).fit(X, y)", "draws": draws}
                    | {key: shown(values) for key, values in figures.items()})  # fmt: skip
    table.write("label-fit", "MNIST, 100 labels, learned with the model", f"{EACH} labels of each class drawn with the "
                "seed, the other 59,900 training images without; test: the 10,000 test images. Means over draws ± "
                "deviation, on a machine that others used too. Squared error: of an image, at 30 latents.",
                rows)  # fmt: skip


def picture(seeds: int = 10) -> None:
    """The error on digits as labels are asked for ten at a time, and as they are drawn at random."""
    X, truth = im.datasets.digits(labels=True)
    model = im.PCA(16).fit(X)
    first = label(model, X, few(truth, 1, 0), folds=0)
    counts = np.arange(10, 111, 10)
    figure = plots.canvas(4.6, 3)
    ax = figure.subplots()
    for name, colour in (("asked for", plots.PALETTE[0]), ("at random", plots.PALETTE[1])):
        errors = np.zeros((seeds, len(counts)))
        for seed in range(seeds):
            y, random = few(truth, 1, seed), np.random.default_rng(seed)
            for place in range(len(counts)):
                found = first.relabel(y)
                errors[seed, place] = 100 * (found.labels != truth).mean()
                free = np.flatnonzero(~found.given)
                more = found.suggest(10, seed) if name == "asked for" else random.choice(free, 10, replace=False)
                y[more] = truth[more]
        ax.plot(counts, errors.mean(0), color=colour, label=name)
        ax.fill_between(counts, errors.min(0), errors.max(0), color=colour, alpha=0.15, linewidth=0)
        print(name, errors.mean(0).round(2), errors.std(0).round(2), flush=True)
    ax.set_xlabel("labels of 1,797 digits")
    ax.set_ylabel("items labelled wrong, %")
    ax.set_ylim(0, 20)
    ax.legend(frameon=False)
    figure.tight_layout()
    plots.write(figure, PICTURE)


def few(truth: np.ndarray, each: int, seed: int) -> np.ndarray:
    """Labels of so many items of each class, -1 elsewhere."""
    random = np.random.default_rng(seed)
    y = np.full(len(truth), -1)
    for name in np.unique(truth):
        y[random.choice(np.flatnonzero(truth == name), each, replace=False)] = name
    return y


def asked_for(found: Labelled, truth: np.ndarray, test: np.ndarray, test_truth: np.ndarray,
              seeds: int) -> list[dict[str, object]]:  # fmt: skip
    """More labels: those that are asked for, and as many at random."""
    errors: dict[str, list[float]] = {"asked for": [], "at random": []}
    for seed in range(seeds):
        first = found.relabel(few(truth, EACH, seed))
        free = np.flatnonzero(~first.given)
        drawn = np.random.default_rng(seed).choice(free, MORE, replace=False)
        for name, more in (("asked for", first.suggest(MORE, seed)), ("at random", drawn)):
            y = np.where(first.given, truth, -1)
            y[more] = truth[more]
            told = found.relabel(y).predict(test)
            errors[name].append(100 * float((told.labels != test_truth).mean()))
    return [{"how": f"shifts=1, {MORE} labels more, {name}", "draws": seeds, "test, error %": shown(values)}
            for name, values in errors.items()]  # fmt: skip


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Mean over items of |confidence - accuracy| of their bin (Naeini, Cooper & Hauskrecht 2015)."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    inside = [place == b for b in range(bins) if (place == b).any()]
    return float(sum(abs(confidence[some].mean() - right[some].mean()) * some.mean() for some in inside))


def shown(values: list[float]) -> str:
    return "-" if np.isnan(values).any() else f"{np.mean(values):.2f} ± {np.std(values):.2f}"
