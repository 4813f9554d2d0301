"""Sums of words, directions of concepts, and what models take for granted: a table of each, and a picture."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np

import isthmus as im
from benchmarks import table
from isthmus.verbs.arithmetic import concept, drags, templates
from isthmus.verbs.search import index
from isthmus.view import plots

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "arithmetic.png"


def run(seeds: int = 1, budget: str | None = None) -> None:
    concepts(max(seeds, 3), budget)
    folder = Path(os.environ.get("ISTHMUS_DATA", "")) / "words"
    if (folder / "questions-words.txt.gz").is_file():
        words(folder)
    else:
        print("words are left out: ISTHMUS_DATA names no folder with words/glove6b_50d_top25k_f16.npz")


def concepts(seeds: int, budget: str | None) -> None:
    """Directions between classes of digits, beside groups that differ in nothing."""
    X, y = im.datasets.digits(labels=True)
    random = np.random.default_rng(0)
    groups = {"8 against 3": (y == 8, y == 3), "odd against even": (y % 2 == 1, y % 2 == 0),
              "7 against 1": (y == 7, y == 1)}  # fmt: skip
    drawn = random.permutation(len(X))
    half = np.zeros(len(X), bool)
    half[drawn[: len(X) // 2]] = True
    groups["drawn at random"] = (half, ~half)
    models: dict[str, list[Any]] = {"PCA": [im.PCA(16).fit(X)]}
    models["VAE"] = [im.VAE(16, random_state=seed, budget=budget, verbose=False).fit(X) for seed in range(seeds)]
    models["VAE, untrained"] = [model.untrained() for model in models["VAE"]]
    rows = []
    for kind, trained in models.items():
        for name, (yes, no) in groups.items():
            found = [concept(model, X[yes], X[no]) for model in trained]
            base = [concept(model, X[y == 8], X[y == 3]) for model in trained]
            pulled = [drags(model, one, {name: other}, X)[name]["dragged"]
                      for model, one, other in zip(trained, base, found, strict=True)]  # fmt: skip
            rows.append({"model": kind, "concept": name, "held-out accuracy": table.spread([f.accuracy for f in found]),
                         "its standard error": round(found[0].standard_error, 3),
                         "chance": round(found[0].chance, 3), "p": table.spread([f.p for f in found]),
                         "dragged by 8 against 3": "" if "random" in name else table.spread(pulled, 2)})  # fmt: skip
    table.write("concepts", "Directions of concepts, digits, 16 latents",
                "1,797 images of 8 x 8. Balanced accuracy in five folds, the direction made of four; chance and "
                "p from 199 random groupings. The last column: how far an item moves along the concept, in its own "
                "steps, when it is moved by one step from 3 to 8, decoded and encoded again.", rows)  # fmt: skip
    picture(models["VAE"][0], models["PCA"][0], X, y)


def picture(deep: Any, linear: Any, X: np.ndarray, y: np.ndarray) -> None:
    """The templates of both models, one row each."""
    figure = plots.canvas(8, 1.75)
    for line, (name, model) in enumerate({"PCA": linear, "VAE": deep}.items()):
        found = templates(model, X, y)
        shown = [*zip(map(str, found.classes), found.averages, strict=True),
                 ("zero", found.zero[0]), ("prior", found.prior[0]), ("bias", found.bias[0])]  # fmt: skip
        for place, (title, image) in enumerate(shown):
            ax = figure.add_axes((0.06 + 0.072 * place, 0.46 - 0.43 * line, 0.064, 0.38))
            ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.set_axis_off()
            if not line:
                ax.set_title(title, fontsize=9, color=plots.INK)
        figure.text(0.05, 0.65 - 0.43 * line, name, ha="right", va="center", fontsize=9, color=plots.INK)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    plots.write(figure, PICTURE)


def words(folder: Path) -> None:
    """Share of the analogies of Mikolov et al. 2013 that come out, with GloVe's vectors as items."""
    with np.load(folder / "glove6b_50d_top25k_f16.npz", allow_pickle=False) as file:
        vectors = file["vectors"].astype(np.float32)
        named = file["words_utf8"].tobytes().decode().split("\n")[: len(vectors)]
    place = {word: row for row, word in enumerate(named)}
    parts: dict[str, list[list[int]]] = {}
    part = "semantic"
    for line in gzip.decompress((folder / "questions-words.txt.gz").read_bytes()).decode().splitlines():
        if line.startswith(":"):
            part = "grammar" if line.startswith(": gram") else "meaning"
        elif all(word.lower() in place for word in line.split()):
            parts.setdefault(part, []).append([place[word.lower()] for word in line.split()])
    rows = []
    for latents in (50, 25, 10):
        model = im.PCA(latents).fit(vectors)
        Z = model.encode(vectors)
        for metric in ("cosine", "euclidean"):
            codes = Z / np.linalg.norm(Z, axis=1, keepdims=True) if metric == "cosine" else Z
            row: dict[str, Any] = {"latents": latents, "distance": metric}
            with index(model, codes=codes) as held:  # the order by cosine is that of lengths made one
                for name, questions in parts.items():
                    a, b, c, wanted = np.array(questions).T
                    total = codes[b] - codes[a] + codes[c]
                    if metric == "cosine":
                        total /= np.linalg.norm(total, axis=1, keepdims=True)
                    near = held.search(codes=total, k=4, exact=True).rows
                    own = (near[:, :, None] == np.stack([a, b, c], 1)[:, None]).any(2)
                    first = near[np.arange(len(near)), (~own).argmax(1)]
                    row[f"{name} ({len(questions):,})"] = f"{np.mean(first == wanted):.1%}"
                    row[f"{name}, named words left in"] = f"{np.mean(near[:, 0] == wanted):.1%}"
            rows.append(row)
    table.write("words", "Word analogies, a is to b as c is to ?",
                "GloVe, 25,000 words of 50 numbers, as items of a PCA; 50 latents are a rotation of them. Share of the "
                "questions whose words are all known that have the right word first, the three words of the question "
                "left out, as is usual, or left in.", rows)  # fmt: skip
