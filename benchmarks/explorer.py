"""The explorer: how soon the map is there, how fast the page decodes, how many points it moves, how large a file is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import isthmus as im
from benchmarks import table

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
         "--enable-unsafe-swiftshader"]  # fmt: skip
SIZE = {"width": 1280, "height": 800}
POINTS = (5_000, 10_000, 20_000, 50_000, 200_000, 1_000_000)
SMOOTH = 30  # frames a second
STARTS = 5
READY = "() => window.isthmus?.ready?.then(() => new Promise((r) => requestAnimationFrame(() => r(true))))"
DECODES = """async (n) => { const { codes } = window.isthmus.app; const times = [];
  for (let i = 0; i < n; i++) { const code = codes.of(i).slice(); const t = performance.now();
    await window.isthmus.decode(code); times.push(performance.now() - t); } return times; }"""
MOVES = """async (seconds) => { const { map } = window.isthmus; const begin = performance.now(); let frames = 0;
  while (performance.now() - begin < 1000 * seconds) { map.camera.pan(frames % 40 < 20 ? 6 : -6, 2 * Math.sin(frames));
    map.ask(true); await new Promise((r) => requestAnimationFrame(r)); frames++; }
  return frames / (performance.now() - begin) * 1000; }"""
WHOLE = """() => { const { map } = window.isthmus; const times = [];
  for (let i = 0; i < 5; i++) { const t = performance.now(); map.picture(); times.push(performance.now() - t); }
  return times.sort((a, b) => a - b)[2]; }"""


def run(seeds: int = 1, budget: str | None = None) -> None:
    X, y = (np.concatenate(parts) for parts in zip(*(im.datasets.mnist(s, labels=True) for s in ("train", "test")),
                                                   strict=True))  # fmt: skip
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, browser() as chromium:
        folder = Path(name)
        model = im.Autoencoder(30, budget=budget or "60s", verbose=False).fit(X[:60_000])
        model.save(folder / "mnist.isthmus")
        np.save(folder / "all.npy", X)
        np.save(folder / "labels.npy", y)
        command = [sys.executable, "-m", "isthmus", "explore", str(folder / "mnist.isthmus"), str(folder / "all.npy"),
                   "--labels", str(folder / "labels.npy"), "--no-browser"]  # fmt: skip
        starts = [started(command, chromium, decodes=number == STARTS) for number in range(STARTS + 1)]
        rows.append(
            {"what": "70,000 items, nothing stored: command to address", "figure": f"{starts[0][0]:.1f} s (n=1)"}
        )
        rows.append({"what": "70,000 items, stored: command to address",
                     "figure": table.spread([one[0] for one in starts[1:]], 2) + " s"})  # fmt: skip
        rows.append({"what": "70,000 items, stored: command to first picture of the map",
                     "figure": table.spread([one[1] for one in starts[1:]], 2) + " s"})  # fmt: skip
        times = starts[-1][2]
        rows.append({"what": "one decode of the MNIST model in Chromium, median of 300 (90 % below)",
                     "figure": f"{np.median(times):.2f} ms ({np.percentile(times, 90):.2f} ms)"})  # fmt: skip
        _, wall, _ = table.timed(lambda: im.explore(model, X[60_000:], y[60_000:], static=folder / "test.html"))
        size = (folder / "test.html").stat().st_size
        rows.append(
            {"what": "one file of MNIST's 10,000 test items", "figure": f"{size / 1e6:.2f} MB, written in {wall:.1f} s"}
        )
        rows += frames(chromium)
    protocol = (
        "Chromium without a screen, points drawn by SwiftShader in software (no GPU), window of "
        f"{SIZE['width']} x {SIZE['height']}. MNIST, Autoencoder(30) of default size. Frames: the map moves in every "
        "frame for 4 s, for which the page draws as many points as it has time for; a whole drawing is of all points, "
        "with soft edges and shapes, as when the map rests."
    )
    table.write("explorer", "The explorer", protocol, rows)


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, as long as the block lasts."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield made
        made.close()


def started(command: list[str], chromium: Any, decodes: bool) -> tuple[float, float, list[float]]:
    """Seconds from the command to the address and to the first picture; milliseconds of some decodes."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        address = time.monotonic() - begin
        page = chromium.new_page(viewport=SIZE)
        page.goto(url)
        page.evaluate("() => new Promise((r) => { const wait = () => window.isthmus?.opened && "
                      "window.isthmus.app?.points.length ? requestAnimationFrame(() => r()) : setTimeout(wait, 5); "
                      "wait(); })")  # fmt: skip
        picture = time.monotonic() - begin
        times: list[float] = []
        if decodes:
            page.evaluate(READY)
            page.wait_for_function("() => window.isthmus.app.codes && window.isthmus.app.decoder")
            page.evaluate(DECODES, 20)
            times = page.evaluate(DECODES, 300)
        page.close()
    finally:
        process.terminate()
        process.wait()
    return address, picture, times


def frames(chromium: Any) -> list[dict[str, Any]]:
    """How many frames a second the page moves so many points at."""
    rows, most = [], 0
    for n in POINTS:
        r = np.random.default_rng(0)
        X = (r.normal(size=(n, 3)) + 4 * r.normal(size=(20, 3))[r.integers(0, 20, n)]).astype(np.float32)
        model = im.PCA(2).fit(X[:10_000])
        with im.explore(model, X, r.integers(0, 10, n), browser=False, block=False) as made:  # type: ignore[union-attr]
            page = chromium.new_page(viewport=SIZE)
            page.goto(made.url)
            page.evaluate(READY)
            rate, whole = page.evaluate(MOVES, 4), page.evaluate(WHOLE)
            kind = page.evaluate("() => window.isthmus.map.points.kind")
            page.close()
        most = n if rate >= SMOOTH else most
        rows.append(
            {"what": f"{n:,} points ({kind})", "figure": f"{rate:.0f} frames/s; a whole drawing {whole:.0f} ms"}
        )
    rows.append({"what": f"most points tried that move at {SMOOTH} frames/s or more", "figure": f"{most:,}"})
    return rows
