"""The main job, from end to end: real digits learned three ways, compared on held-out ones, and drawn.

Shapes: n items; K latents.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import datasets, metrics
from isthmus.errors import FileError
from isthmus.evaluate import Report, compare
from isthmus.formats.files import write as write_items
from isthmus.models.autoencoder import Autoencoder
from isthmus.models.embedding import Embedding
from isthmus.models.pca import PCA
from isthmus.models.vae import VAE
from isthmus.view import drawing, plots

__all__ = ["demo"]

LATENTS = 16
HELD_OUT = 5  # one of so many
HOW = {
    "PCA": "the best linear map, in closed form",
    "Autoencoder": "a network that squeezes and restores",
    "VAE": "a network whose codes can be drawn at random",
}


def demo(
    folder: str | os.PathLike[str] = "demo", *, seed: int = 0, epochs: int | None = None, quiet: bool = False
) -> Report:
    """Learn real handwritten digits by PCA, autoencoder and VAE, compare them on held-out digits, and draw a picture.

    Parameters
    ----------
    folder : where ``digits.png``, ``digits-vae.isthmus``, ``digits-learned.npy`` and ``digits-held-out.npy`` are
        written; made if it is not there, files of those names are replaced
    seed : of the split and of all training
    epochs : of the two networks; None for their default, which takes about a minute
    quiet : print nothing and show no progress

    Returns
    -------
    Report of the comparison on the held-out fifth

    Raises
    ------
    FileError : the folder cannot be written
    MissingExtra : matplotlib is not installed
    """

    def say(text: str) -> None:
        if not quiet:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    plots.canvas(1, 1)  # what is missing is said now, not after a minute
    place = _made(folder)
    began = time.monotonic()
    X, y = datasets.digits(labels=True)
    order = np.random.default_rng(seed).permutation(len(X))
    held_out, learned = np.sort(order[: len(X) // HELD_OUT]), np.sort(order[len(X) // HELD_OUT :])
    write_items(place / "digits-learned.npy", X[learned])
    write_items(place / "digits-held-out.npy", X[held_out])
    say(f"{len(X)} handwritten digits of 8 x 8 pixels: {len(learned)} to learn from, {len(held_out)} held out.")
    say(f"Three ways to make {LATENTS} numbers of 64 (Ctrl-C goes on with the best so far):\n")
    shared: dict[str, Any] = {"epochs": epochs, "random_state": seed, "verbose": False if quiet else None}
    models = {"PCA": PCA(LATENTS), "Autoencoder": Autoencoder(LATENTS, **shared), "VAE": VAE(LATENTS, **shared)}
    for name, model in models.items():
        start = time.monotonic()
        model.fit(X[learned])
        say(f"  {name:<12} {HOW[name]:<46} {time.monotonic() - start:5.1f} s")

    report = compare(list(models.values()), X[held_out], y[held_out], train=X[learned])
    say(f"\nOn the held-out digits:\n\n{report}\n")
    saved = models["VAE"].save(place / "digits-vae.isthmus", report=report)
    _draw(place / "digits.png", models, X[held_out], y[held_out], report, seed)
    say(f"All of it took {time.monotonic() - began:.0f} s. The picture is {place / 'digits.png'}\n\nNow try:\n")
    for command in commands(saved, place):
        say(f"  {command}")
    return report


def commands(saved: Path, place: Path) -> list[str]:
    """The next three commands to type, as they work from here."""
    name, model = _command(), shlex.quote(str(saved))
    learned, held_out, new = (shlex.quote(str(place / part)) for part in
                              ("digits-learned.npy", "digits-held-out.npy", "new-digits"))  # fmt: skip
    return [
        f"{name} info {model}",
        f"{name} sample {model} -n 25 --seed 7 -o {new}",
        f"{name} evaluate {model} {held_out} --train {learned}",
    ]


def _command() -> str:
    """How to start the command line of this very installation: make does not put its folder on the path."""
    script = Path(sys.executable).with_name("isthmus")
    on_path = shutil.which("isthmus")
    if on_path is not None and (not script.exists() or os.path.realpath(on_path) == os.path.realpath(script)):
        return "isthmus"
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m isthmus"
    inside = script.is_relative_to(Path.cwd())
    return shlex.quote(str(script.relative_to(Path.cwd()) if inside else script))


def _made(folder: str | os.PathLike[str]) -> Path:
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"the folder {place} cannot be made: {error.strerror}. Name another: isthmus demo FOLDER"
        ) from error
    if not os.access(place, os.W_OK):
        raise FileError(f"no permission to write in {place}. Name another folder: isthmus demo FOLDER")
    return place


def _draw(path: Path, models: Mapping[str, Embedding], X: np.ndarray, y: np.ndarray, report: Report, seed: int) -> None:
    """One picture of all: held-out digits and their reconstructions, new digits, maps of the codes, and the verdict."""
    figure = plots.canvas(12, 9)

    def words(x: float, y: float, text: str, size: float, colour: str = plots.INK, weight: str = "normal") -> None:
        figure.text(x, y, text, fontsize=size, color=colour, weight=weight)

    def heading(x: float, y: float, text: str, below: str) -> None:
        words(x, y, text, 13, weight="bold")
        words(x, y - 0.022, below, 9, plots.FAINT)

    words(0.025, 0.95, f"Handwritten digits, squeezed from 64 numbers to {LATENTS}", 19, weight="bold")
    words(0.025, 0.922, f"{len(X)} digits that no model has learned from", 11, plots.FAINT)

    shown = np.array([np.flatnonzero(y == digit)[0] for digit in np.unique(y)])
    again = {name: model.reconstruct(X[shown]) for name, model in models.items()}
    errors = {name: metrics.squared_error(X[shown] / 255, items / 255) for name, items in again.items()}
    heading(0.025, 0.868, "What comes back", "below each digit its squared error: the sum over 64 pixels in [0, 1]")
    drawing.items_beside_reconstructions(figure.add_axes((0.115, 0.49, 0.53, 0.335)), X[shown], again, errors)

    heading(0.025, 0.465, "New digits", "codes drawn from the prior named below, then decoded")
    for i, (name, model) in enumerate(models.items()):
        left = 0.025 + 0.21 * i
        ax = drawing.samples(figure.add_axes((left, 0.14, 0.2, 0.265)), model.sample(25, seed))
        ax.set_title(name, fontsize=11, color=plots.INK, loc="left", pad=4)
        words(left, 0.118, model.prior_.describe(), 8, plots.FAINT)

    heading(0.685, 0.868, "Where digits live", f"their codes, brought from {LATENTS} numbers to two by PCA")
    for i, name in enumerate(["VAE", "Autoencoder"]):
        codes = models[name].encode(X)
        ax = figure.add_axes((0.685, 0.45 - 0.42 * i, 0.295, 0.355))
        drawing.scatter(ax, PCA(2).fit(codes).encode(codes), y)
        ax.set_title(name, fontsize=11, color=plots.INK, loc="left", pad=4)
    figure.text(0.025, 0.082, report.verdict, fontsize=10, color=plots.INK, va="top", linespacing=1.4)
    plots.write(figure, path)
