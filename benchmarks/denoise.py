"""Noise taken from photographs and digits, and photographs made finer, beside filters that learn nothing.

BSD68 in grey with normal noise of 25 of 255 levels, which is neither rounded nor clipped, as in the tables of BM3D,
EPLL and DnCNN; PSNR of each picture from its mean squared error, then the mean of 68. What is learned comes from the
training pictures of BSDS500, of which none is in BSD68. Needs ISTHMUS_DATA, and scikit-image for the filters.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import isthmus as im
from benchmarks import table
from isthmus.verbs.denoise import noise_level
from isthmus.view import plots

SIDE, PATCHES, COMPONENTS = 8, 128_000, 128
LEVEL, LEVEL_OF_DIGITS = 25.0, 76.5  # of 255; the second is the deviation 0.3 of the scaled view
FEW = 12  # pictures, for what takes long
MINUTES = "2m"
GREY = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])  # as MATLAB's rgb2gray, and BSD68, have it
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "denoise.png"


def run(seeds: int = 1, budget: str | None = None) -> None:
    pictures(seeds)
    digits(max(seeds, 3), budget or MINUTES)


def pictures(seeds: int) -> None:
    data = os.environ.get("ISTHMUS_DATA")
    if data is None or not (Path(data) / "images" / "cbsd68").is_dir():
        raise SystemExit("this part needs ISTHMUS_DATA, a folder with images/cbsd68 and images/bsds500_train_crops")
    folder = Path(data) / "images"
    train, test = grey(sorted((folder / "bsds500_train_crops").glob("*.jpg"))), bsd68(folder / "cbsd68")
    rows: list[dict[str, Any]] = []
    finer: list[dict[str, Any]] = []
    for seed in range(seeds):
        model, seconds, cpu = table.timed(lambda seed=seed: fitted(train, seed))
        noisy = [x + LEVEL * np.random.default_rng([seed, i]).standard_normal(x.shape) for i, x in enumerate(test)]
        rows += photographs(model, test, noisy, seed, f"{seconds:.0f} s ({cpu:.0f} s of CPU)")
        finer += made_finer(model, test, seed)
        if not seed:
            draw(model, test[2:4], noisy[2:4])
    table.write("denoise", "BSD68 in grey, normal noise of 25 of 255 levels",
                f"Noise neither rounded nor clipped. Model: PCA(64) of {PATCHES:,} patches of {SIDE} x {SIDE} from 200 "
                f"training pictures, and a mixture of {COMPONENTS} normals of its codes. Mean PSNR of 68 pictures "
                "(least and most of them); known: BM3D 28.57, EPLL 28.71, DnCNN 29.23.", rows)  # fmt: skip
    table.write("superresolve", "BSD68 in grey, brought down by Pillow's bicubic and made finer again",
                "The model of the table of denoising. Pictures are cut to sides that the factor divides; coarse ones "
                f"are rounded to 8 bits. Mean PSNR of the first {FEW} pictures (least and most of them).",
                finer)  # fmt: skip


def grey(paths: list[Path]) -> list[np.ndarray]:
    return [np.rint(np.asarray(Image.open(path).convert("RGB")) @ GREY).astype(np.uint8) for path in paths]


def bsd68(folder: Path) -> list[np.ndarray]:
    with open(folder / "index.csv", newline="") as file:
        names = [next(value for value in row.values() if str(value).endswith(".jpg")) for row in csv.DictReader(file)]
    return grey([folder / name for name in names])


def fitted(train: list[np.ndarray], seed: int) -> Any:
    random = np.random.default_rng(seed)
    which = random.integers(0, len(train), PATCHES)
    rows, columns = (random.integers(0, 256 - SIDE + 1, PATCHES) for _ in range(2))
    patches = np.stack([train[i][r : r + SIDE, c : c + SIDE] for i, r, c in zip(which, rows, columns, strict=True)])
    prior = im.priors.GaussianMixture(COMPONENTS, seed=seed)
    return im.PCA(SIDE * SIDE, prior=prior).fit(patches)


def photographs(model: Any, clean: list[np.ndarray], noisy: list[np.ndarray], seed: int, fit: str) -> list[Any]:
    ways: dict[str, tuple[Callable[[], Any], str]] = {
        "denoise": (lambda: im.denoise(model, noisy, LEVEL), fit),
        "denoise, one round": (lambda: im.denoise(model, noisy, LEVEL, rounds=1), fit),
        "denoise, level not told": (lambda: im.denoise(model, noisy[:FEW]), fit),
        "the same model untrained": (lambda: im.denoise(model.untrained(), noisy[:FEW], LEVEL, rounds=1), ""),
        "noisy, clipped": (lambda: [np.clip(y, 0, 255) for y in noisy], ""),
    } | {name: (lambda way=way: [255 * way(y / 255, LEVEL / 255) for y in noisy], "") for name, way in filters()}
    rows = []
    for name, (way, trained) in ways.items():
        made, seconds, _ = table.timed(way)
        found = [psnr(x, y) for x, y in zip(made, clean[: len(made)], strict=True)]
        rows.append({"seed": seed, "way": name, "PSNR, dB": of_pictures(found), "training": trained,
                     "s a picture": seconds / len(made)})  # fmt: skip
        print(rows[-1], flush=True)
    told = noise_level(model, noisy)
    rows.append({"seed": seed, "way": "noise that is told from the picture alone", "PSNR, dB": "",
                 "level": f"{np.median(told):.1f} ({min(told):.1f} to {max(told):.1f})"})  # fmt: skip
    return rows


def filters() -> Iterator[tuple[str, Callable[[np.ndarray, float], np.ndarray]]]:
    """Of scikit-image, with its own or its documentation's settings for noise of a known deviation."""
    from scipy.ndimage import median_filter
    from skimage import restoration

    yield "median, 3 x 3", lambda y, s: median_filter(y, 3)
    yield "wavelet (BayesShrink)", lambda y, s: restoration.denoise_wavelet(y, sigma=s, method="BayesShrink")
    yield "total variation", lambda y, s: restoration.denoise_tv_chambolle(y, weight=s)
    yield "non-local means", lambda y, s: restoration.denoise_nl_means(
        y, patch_size=5, patch_distance=6, h=0.8 * s, sigma=s, fast_mode=True)  # fmt: skip


def made_finer(model: Any, test: list[np.ndarray], seed: int) -> list[Any]:
    rows = []
    for factor in (2, 4):
        clean = [x[: len(x) // factor * factor, : x.shape[1] // factor * factor] for x in test[:FEW]]
        coarse = [resized(x, 1 / factor) for x in clean]
        ways = {"superresolve": lambda coarse=coarse, factor=factor: im.superresolve(model, coarse, factor),
                "bicubic (Pillow)": lambda coarse=coarse, factor=factor: [resized(x, factor) for x in coarse],
                }  # fmt: skip
        for name, way in ways.items():
            made, seconds, _ = table.timed(way)
            found = [psnr(x, y) for x, y in zip(made, clean, strict=True)]
            rows.append({"seed": seed, "factor": factor, "way": name, "PSNR, dB": of_pictures(found),
                         "s a picture": seconds / len(made)})  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def resized(x: np.ndarray, factor: float) -> np.ndarray:
    sides = (round(x.shape[1] * factor), round(x.shape[0] * factor))
    return np.asarray(Image.fromarray(x).resize(sides, Image.Resampling.BICUBIC))


def digits(seeds: int, budget: str) -> None:
    (X, test) = (im.datasets.mnist(part) for part in ("train", "test"))
    clean = test[:1000]
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        noisy = clean + LEVEL_OF_DIGITS * np.random.default_rng(seed).standard_normal(clean.shape)
        model = im.Autoencoder(64, corruption=("gaussian", LEVEL_OF_DIGITS / 255), budget=budget, random_state=seed,
                               verbose=False).fit(X)  # fmt: skip
        ways = {"denoising autoencoder": lambda model=model, noisy=noisy: im.denoise(model, noisy, LEVEL_OF_DIGITS)}
        ways["noisy, clipped"] = lambda noisy=noisy: np.clip(noisy, 0, 255)
        for name, way in filters():
            if name != "non-local means":
                for strength in (1, 2, 3):  # each filter with what suits it best on these very digits
                    ways[f"{name}, {strength}"] = lambda way=way, strength=strength, noisy=noisy: np.stack(
                        [255 * way(y / 255, strength * LEVEL_OF_DIGITS / 255) for y in noisy])  # fmt: skip
        for name, way in ways.items():
            made = np.clip(way(), 0, 255)
            found.setdefault(name, []).append(float(np.mean([psnr(x, y) for x, y in zip(made, clean, strict=True)])))
    rows = []
    for name in ["denoising autoencoder", "noisy, clipped", *(name for name, _ in filters())]:
        tried = {key: values for key, values in found.items() if key == name or key.startswith(f"{name}, ")}
        if tried:
            best = max(tried, key=lambda key: np.median(tried[key]))
            rows.append({"way": name, "best strength": best.removeprefix(f"{name}, ").replace(name, ""),
                         "PSNR, dB": table.spread(tried[best], 2)})  # fmt: skip
    table.write("denoise-digits", "MNIST with normal noise of 76.5 of 255 levels",
                f"Noise neither rounded nor clipped; what comes back is clipped to 0..255. 1,000 test digits; mean of "
                f"their PSNR, then median (least to most) over seeds of noise and network. Autoencoder of 64 latents, "
                f"budget {budget} on one thread. Filters at 1, 2 and 3 times the noise, the best on the test digits.",
                rows)  # fmt: skip


def psnr(made: Any, clean: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((np.asarray(made, float) - clean) ** 2)))


def of_pictures(found: list[float]) -> str:
    return f"{np.mean(found):.2f} ({min(found):.2f} to {max(found):.2f}, n={len(found)})"


def draw(model: Any, clean: list[np.ndarray], noisy: list[np.ndarray]) -> None:
    """A part of some pictures: noisy, denoised, clean."""
    part = (slice(100, 196), slice(100, 244))
    figure = plots.canvas(5.2, 1.25 * len(clean))
    for row, (x, y) in enumerate(zip(clean, noisy, strict=True)):
        x, y = x[part], y[part]
        for column, (name, shown) in enumerate(
            {"noisy": y, "denoised": im.denoise(model, y[None], LEVEL)[0], "clean": x}.items()
        ):
            ax = figure.add_axes((column / 3 + 0.005, 1 - (row + 0.98) / len(clean), 0.323, 0.86 / len(clean)))
            ax.imshow(np.clip(shown, 0, 255), cmap="gray", vmin=0, vmax=255)
            ax.set_axis_off()
            told = name if name == "clean" else f"{name}, {psnr(np.clip(shown, 0, 255), x):.1f} dB"
            ax.set_title(told, fontsize=7, color=plots.INK, pad=2)
    PICTURE.parent.mkdir(exist_ok=True)
    plots.write(figure, PICTURE)
    small = Image.open(PICTURE).convert("P", palette=Image.Palette.ADAPTIVE, colors=24)
    small.save(PICTURE, optimize=True)
