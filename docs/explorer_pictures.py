"""Makes docs/images/explorer-*.png: the explorer over handwritten digits, as a browser shows it.

Run from the root of the project: .venv/bin/python docs/explorer_pictures.py [chromium]
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

import isthmus as im

FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--use-gl=angle",
         "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # fmt: skip
IMAGES = Path(__file__).parent / "images"
COLOURS = 256  # of a palette, by k-means: what fills a page keeps its colour, text stays sharp, and files stay small

# name, width, height, scheme, what is done first, where the pointer rests
SHOTS = [
    ("light", 1280, 800, "light", "isthmus.select(12)", (330, 300)),
    ("dark", 1280, 800, "dark", "[12, 40, 7].forEach((i, slot) => isthmus.app.put(slot, i)); isthmus.tab(2)", None),
    ("label", 1280, 800, "light", "isthmus.app.label([1, 11, 21], 'one'); isthmus.app.label([3, 13, 45], 'three');"
     "isthmus.app.label([0, 10, 20], 'zero'); isthmus.app.label([4, 14, 24], 'four'); isthmus.tab(4)", None),
    ("phone", 390, 844, "light", "isthmus.select(12); isthmus.tab(1)", None),
]  # fmt: skip


def pictures(browser: Any, page_file: Path) -> None:
    """Every shot, as a PNG with a palette."""
    for name, width, height, scheme, first, pointer in SHOTS:
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.goto(page_file.as_uri())
        page.evaluate("isthmus.ready.then(() => isthmus.app.showMap(isthmus.opened.maps.at(-1)))")
        page.evaluate(f"() => {{ {first} }}")
        page.wait_for_timeout(2500)
        if pointer:
            page.mouse.move(*pointer, steps=4)
            page.wait_for_timeout(500)
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        path = IMAGES / f"explorer-{name}.png"
        shot.quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE).save(path, optimize=True)
        page.close()


def main() -> None:
    """Train, write the static page, and look at it."""
    X, y = im.datasets.digits(labels=True)
    model = im.Autoencoder(latent_dim=16).fit(X)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        made = im.explore(model, X, y, static=Path(folder) / "digits.html", maps=["tsne"])
        browser = playwright.chromium.launch(
            executable_path=sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/chromium", args=FLAGS
        )
        pictures(browser, made.path)
        browser.close()


if __name__ == "__main__":
    main()
