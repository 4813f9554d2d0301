"""The pictures of docs/plots.md, one of each plot, and of docs/report.md. ``python -m benchmarks.gallery`` makes them
again; the second needs Chromium."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import isthmus as im

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "plots.png"
PAGE = PICTURE.with_name("report.png")
ACROSS, DOWN = 3, 5


def run() -> None:
    """Learn digits and waves, and draw."""
    X, y = im.datasets.digits(labels=True)
    model = im.VAE(12, ordered=True, epochs=60, random_state=0, verbose=False).fit(X)
    flat = im.VAE(2, epochs=60, random_state=0, verbose=False).fit(X)
    random = np.random.default_rng(0)
    shape = random.uniform(0.5, 2, (400, 1)), random.uniform(0, 6, (400, 1))
    waves = np.sin(np.linspace(0, 6, 50) * shape[0] + shape[1])
    series = im.PCA(4, format="series").fit(waves)
    one, again = X[8] / 255, model.reconstruct(X[8:9])[0] / 255
    wine = _wine()
    table = im.PCA(2).fit(wine)
    calls: list[tuple[str, Any]] = [
        ("reconstructions", lambda ax: im.plots.reconstructions(model, X, n=7, ax=ax)),
        ("samples", lambda ax: im.plots.samples(model, 36, ax=ax)),
        ("map_2d(method='tsne')", lambda ax: im.plots.map_2d(model, X, y, method="tsne", ax=ax)),
        ("map_2d(thumbnails=True)", lambda ax: im.plots.map_2d(model, X, thumbnails=True, ax=ax)),
        ("decoded_grid", lambda ax: im.plots.decoded_grid(flat, X, labels=y, ax=ax)),
        ("traversals", lambda ax: im.plots.traversals(model, X, latents=(0, 1, 2, 3, 4), ax=ax)),
        ("interpolations", lambda ax: im.plots.interpolations(model, X[:4], X[4:8], ax=ax)),
        ("templates", lambda ax: im.plots.templates(model, X, y, ax=ax)),
        ("error_curve", lambda ax: im.plots.error_curve(model, X, ax=ax)),
        ("active_units", lambda ax: im.plots.active_units(model, X, ax=ax)),
        ("training", lambda ax: im.plots.training(model, ax=ax)),
        ("column_errors", lambda ax: im.plots.column_errors(im.evaluate(table, wine), ax=ax)),
        ("contributions", lambda ax: im.plots.contributions(one, np.square(one - again), ax=ax)),
        ("reconstructions, of series", lambda ax: im.plots.reconstructions(series, waves, n=4, ax=ax)),
        ("layers", lambda ax: im.plots.layers(
            {"pixels": im.PCA(2).fit(X).encode(X), "code": im.plots.project(model.encode(X)).places}, y, ax=ax)),
    ]  # fmt: skip
    figure = im.plots.canvas(10.5, 13.5)
    for place, (name, draw) in enumerate(calls):
        left, top = place % ACROSS / ACROSS, 1 - place // ACROSS / DOWN
        figure.text(left + 0.012, top - 0.015, name, fontsize=10, weight="bold", color=im.plots.INK)
        ax = draw(figure.add_axes((left + 0.072, top - 0.178, 0.225, 0.142)))
        for part in (ax, *ax.child_axes):
            for text in [*part.texts, part.xaxis.label, part.yaxis.label, part.title, *part.get_yticklabels()]:
                text.set_fontsize(min(text.get_fontsize(), 7))
            part.tick_params(labelsize=6)
            for line in part.lines:
                line.set_linewidth(min(line.get_linewidth(), 1.2))
    PICTURE.parent.mkdir(exist_ok=True)
    im.plots.write(figure, PICTURE)
    with Image.open(PICTURE) as picture:  # 48 colours are enough, and a third of the bytes
        picture.convert("RGB").resize((940, 1209), Image.Resampling.LANCZOS).quantize(48).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1e3:.0f} kB")
    page(model, X, y)


def page(model: Any, X: Any, y: Any) -> None:
    """The beginning of a report, in light and dark, side by side."""
    from playwright.sync_api import sync_playwright

    whole = Image.new("RGB", (1400, 1120))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        path = im.report(model, X, Path(folder) / "report.html", y)
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for left, scheme in ((0, "light"), (700, "dark")):
            view = browser.new_page(viewport={"width": 700, "height": 1120}, color_scheme=scheme)
            view.goto(path.as_uri())
            with Image.open(io.BytesIO(view.screenshot())) as shot:
                whole.paste(shot, (left, 0))
        browser.close()
    small = whole.resize((850, 680), Image.Resampling.LANCZOS).crop((0, 0, 850, 560))
    small.quantize(40, method=Image.Quantize.MAXCOVERAGE).save(PAGE, optimize=True)
    print(f"{PAGE}: {PAGE.stat().st_size / 1e3:.0f} kB")


def _wine() -> Any:
    import pandas
    from sklearn.datasets import load_wine

    wine = load_wine(as_frame=True)
    kinds = pandas.Series(np.array(["barolo", "grignolino", "barbera"])[wine.target], name="wine")
    return pandas.concat([wine.data.iloc[:, :7], kinds], axis=1)


if __name__ == "__main__":
    run()
