"""Four levers on what a map keeps, each turned on made-up taxis: python examples/levers.py [PICTURE].

A taxi is a grey picture of 16 x 16 whose place, size and brightness vary, with a coloured lamp of 2 x 2 pixels on its
roof. A code of four numbers has no room for the lamp, for it is hardly an error to leave it out. The levers:

1. a loss: the colour of the lamp is asked for (auxiliary=), and stays in the code;
2. labels of a few: thirty taxis whose shape is known shape the map of all (y, -1 where it is not known);
3. columns: what says nothing of a taxi is left out of the format, and the code has room for what does;
4. the network: given by size, or as modules of one's own.

Takes about a minute on one core, and writes one picture (levers.png).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import nn

import isthmus as im
from isthmus.formats import TableFormat
from isthmus.training.device import reproducible
from isthmus.view import plots

COLOURS = {"red": (230, 40, 40), "green": (40, 200, 60), "blue": (50, 80, 240)}
SHAPES = ("car", "van", "truck")
N, LEARN, SHOWN = 1500, 1000, 250
QUICK: dict[str, Any] = {"network": (128, 64), "epochs": 60, "verbose": False, "device": "cpu"}


def taxis(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures (n, 16, 16, 3) uint8, the shape of each and the colour of its lamp."""
    random = np.random.default_rng(seed)
    shape, colour = random.integers(0, 3, n), random.integers(0, 3, n)
    X = np.empty((n, 16, 16, 3))
    X[:] = random.uniform(10, 60, (n, 1, 1, 1))  # the hour of the day
    for i in range(n):
        left, low, grey = random.integers(0, 5), random.integers(12, 15), random.uniform(110, 220)
        length = random.integers(9, 12)
        X[i, low - 3 : low, left : left + length] = grey  # the body
        X[i, low, [left + 1, left + 2, left + length - 3, left + length - 2]] = 0  # wheels
        cabin = {0: (3, length - 3, 2), 1: (0, length - 1, 4), 2: (length - 4, length - 1, 4)}[int(shape[i])]
        X[i, low - 3 - cabin[2] : low - 3, left + cabin[0] : left + cabin[1]] = grey * 0.8
        top, middle = low - 3 - cabin[2], left + (cabin[0] + cabin[1]) // 2
        X[i, top - 2 : top, middle - 1 : middle + 1] = list(COLOURS.values())[colour[i]]
    X += random.normal(0, 4, X.shape)
    return X.clip(0, 255).astype(np.uint8), np.array(SHAPES)[shape], np.array(list(COLOURS))[colour]


def told(model: Any, X: Any, labels: np.ndarray) -> float:
    """Share of unseen taxis of which a linear reader tells the label from the code."""
    scale = StandardScaler().fit(codes := model.encode(X))
    codes = scale.transform(codes)
    reader = LogisticRegression(max_iter=1000).fit(codes[:LEARN], labels[:LEARN])
    return float(reader.score(codes[LEARN:], labels[LEARN:]))


def error_of(model: Any, X: np.ndarray) -> float:
    """Root of the mean squared error of unseen pictures, in grey values."""
    apart = model.reconstruct(X[LEARN:]).astype(float) - X[LEARN:]
    return float(np.sqrt(np.square(apart).mean()))


def main(picture: str = "levers.png") -> None:
    """Turn all four, print what each brings, draw the maps."""
    X, shape, colour = taxis()
    learn = X[:LEARN]
    maps: list[tuple[str, np.ndarray, np.ndarray]] = []

    print("1. A loss: the colour of the lamp from a code of four numbers")
    plain = im.Autoencoder(4, **QUICK).fit(learn)
    asked = im.Autoencoder(4, **QUICK).fit(learn, auxiliary={"colour": colour[:LEARN]})
    for name, model in (("fit(X)", plain), ('fit(X, auxiliary={"colour": …})', asked)):
        print(f"   {name:34} colour {told(model, X, colour):.0%}  shape {told(model, X, shape):.0%}  "
              f"error {error_of(model, X):.1f}")  # fmt: skip
        maps.append((name.replace("…", "c"), flat(model.encode(X[LEARN:]), colour[LEARN:]), colour[LEARN:]))

    print("2. Labels of thirty taxis, ten of each shape: a map of two numbers")
    known = np.concatenate([np.flatnonzero(shape[:LEARN] == name)[:10] for name in SHAPES])
    y = np.full(LEARN, None, dtype=object)
    y[known] = shape[known]
    without, shaped = im.Autoencoder(2, **QUICK).fit(learn), im.Autoencoder(2, **QUICK).fit(learn, y)
    for name, model in (("fit(X)", without), ("fit(X, y)", shaped)):
        near = KNeighborsClassifier(1).fit(model.encode(X[known]), shape[known])
        right = (near.predict(model.encode(X[LEARN:])) == shape[LEARN:]).mean()
        print(f"   {name:34} shape of the nearest of the thirty {right:.0%}  error {error_of(model, X):.1f}")
        maps.append((name, model.encode(X[LEARN:]), shape[LEARN:]))
    print(f"   {'predict':34} shape {(shaped.predict(X[LEARN:]) == shape[LEARN:]).mean():.0%}")

    print("3. Columns: a table of taxis, and what an inspector wrote on the form")
    frame = sheet(shape)
    noise = {name: "ignore" for name in frame.columns if name.startswith("form")}
    for name, form in (("all columns", None), ("without those of the form", TableFormat(noise))):
        model = im.Autoencoder(2, format=form, epochs=40, verbose=False, device="cpu").fit(frame[:LEARN])
        print(f"   {name:34} shape {told(model, frame, shape):.0%}")
        maps.append((name, model.encode(frame[LEARN:]), shape[LEARN:]))

    print("4. The network: by size, and a module of one's own (a straight line there, a network back)")
    with reproducible(0):  # the first weights of modules are drawn when they are made
        own = (nn.Sequential(nn.Flatten(), nn.Linear(768, 4)),
               nn.Sequential(nn.Linear(4, 128), nn.SiLU(), nn.Linear(128, 768)))  # fmt: skip
    for name, settings in (("size='small'", {"size": "small", "network": "mlp"}),
                           ("size='large'", {"size": "large", "network": "mlp"}),
                           ("network=(encoder, decoder)", {"network": own})):  # fmt: skip
        model = im.Autoencoder(4, **(QUICK | settings)).fit(learn)
        numbers = sum(weights.numel() for weights in model.network_.parameters())
        print(f"   {name:34} {numbers:9,} weights  shape {told(model, X, shape):.0%}  error {error_of(model, X):.1f}")
    draw(picture, X, maps)


def sheet(shape: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """A table of the same taxis: four measures that go with the shape, and eight columns of a form that do not."""
    random = np.random.default_rng(seed)
    size = np.array([{"car": 4.4, "van": 5.0, "truck": 6.2}[name] for name in shape])
    frame = pd.DataFrame({
        "length": size + random.normal(0, 0.25, len(shape)),
        "height": np.where(shape == "car", 1.5, 2.1) + random.normal(0, 0.15, len(shape)),
        "seats": np.where(shape == "van", 8, 4) + random.integers(-1, 2, len(shape)),
        "tonnes": size / 3 + random.normal(0, 0.2, len(shape)),
    })  # fmt: skip
    mood = random.normal(size=(len(shape), 2)) @ random.normal(size=(2, 8))  # what they share is the inspector's mood
    return frame.join(pd.DataFrame(mood, columns=[f"form {i}" for i in range(8)]))


def flat(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The plane through codes (n, 4) in which the classes lie furthest apart."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return np.asarray(LinearDiscriminantAnalysis(n_components=2).fit_transform(codes, labels))


def points(ax: Any, codes: np.ndarray, labels: np.ndarray) -> None:
    """Codes in the colours of their lamps, or of their shapes, named where they are."""
    inks = {"red": "#D55E00", "green": "#009E73", "blue": "#0072B2", "car": "#CC79A7", "van": "#E69F00",
            "truck": "#332288"}  # fmt: skip
    ax.scatter(*codes[:SHOWN].T, s=4, c=[inks[name] for name in labels[:SHOWN]], linewidths=0, antialiased=False)
    for name in np.unique(labels):
        x, y = np.median(codes[labels == name], axis=0)
        ax.text(x, y, name, color=inks[name], fontsize=7, weight="bold", ha="center", va="center",
                bbox={"boxstyle": "round,pad=0.1", "color": "white", "alpha": 0.8})  # fmt: skip
    ax.axis("off")


def draw(picture: str, X: np.ndarray, maps: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Some taxis, and the maps before (above) and after (below) the first three levers."""
    figure = plots.canvas(6.4, 3.4)
    grid = figure.subplots(2, 4)
    for row in range(2):
        some = np.pad(X[9 * row : 9 * row + 9], ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
        grid[row, 0].imshow(some.reshape(3, 3, 18, 18, 3).swapaxes(1, 2).reshape(54, 54, 3))
        grid[row, 0].axis("off")
        grid[row, 0].set_title("taxis" if not row else "", fontsize=7)
        for place in range(3):
            name, codes, labels = maps[2 * place + row]
            points(grid[row, place + 1], codes, labels)
            grid[row, place + 1].set_title(name, fontsize=7)
    figure.tight_layout()
    plots.write(figure, picture)
    with Image.open(picture) as drawn:  # a few colours do, and make a small file
        small = drawn.convert("RGB").quantize(64)
    small.save(picture)
    print(f"wrote {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
