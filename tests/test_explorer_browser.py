"""The explorer as people use it, in a browser: the built page against the server, and the file without one."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import isthmus as im
from isthmus.view.explorer import Explorer, explore, server

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
         "--enable-unsafe-swiftshader"]  # fmt: skip
SIZE = {"width": 1280, "height": 800}
REDS = (
    """c => Array.from(c.getContext("2d").getImageData(0, 0, c.width, c.height).data).filter((_, i) => i % 4 === 0)"""
)

if CHROMIUM is None:
    pytest.skip("no Chromium on this machine", allow_module_level=True)
if not server.PAGE.is_file():
    pytest.skip("the page has not been built: make web", allow_module_level=True)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def shaken(model: Any, by: float = 0.1) -> Any:
    """The model with noise on every weight of its decoder: what begins at zero would hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.network_.decoder.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = im.datasets.digits(labels=True)
    return X[:400], y[:400]


@pytest.fixture(scope="module")
def fitted(digits: tuple[np.ndarray, np.ndarray]) -> Any:
    return shaken(im.Autoencoder(6, epochs=3, verbose=False).fit(digits[0]))


@pytest.fixture(scope="module")
def served(digits: Any, fitted: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    state = tmp_path_factory.mktemp("explorer") / "labels.json"
    with explore(fitted, digits[0], digits[1], browser=False, block=False, state=state) as made:
        yield made  # type: ignore[misc]  # it is served


class Seen:
    """A page that is open, and every request that it made."""

    def __init__(self, page: Any, allowed: str) -> None:
        self.page, self.outside, self.errors = page, [], []  # type: ignore[var-annotated]
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))

        def watch(route: Any) -> None:
            url = route.request.url
            if url.startswith((allowed, "data:", "blob:")):
                route.continue_()
            else:
                self.outside.append(url)
                route.abort()

        page.context.route("**/*", watch)

    def open(self, url: str) -> Any:
        self.page.goto(url)
        self.page.evaluate("() => window.isthmus.ready.then(() => true)")
        self.page.wait_for_function("() => window.isthmus.app.codes && window.isthmus.app.decoder")
        return self.page

    def require_calm(self) -> None:
        assert self.errors == []
        assert self.outside == [], "a request left the machine"


@pytest.fixture
def seen(chromium: Any, served: Explorer) -> Iterator[Seen]:
    context = chromium.new_context(viewport=SIZE, accept_downloads=True)
    made = Seen(context.new_page(), f"http://127.0.0.1:{served.port}/")
    yield made
    made.require_calm()
    context.close()


def decoded(page: Any, code: list[float]) -> np.ndarray:
    """What the page's own decoder makes of a code."""
    told = page.evaluate(
        """async (code) => { const made = await window.isthmus.decode(code);
           return Array.from(made.pixels ?? made.values ?? made.cells); }""", code)  # fmt: skip
    return np.array(told)


def box(page: Any) -> dict[str, float]:
    found: dict[str, float] = page.locator(".map").bounding_box()
    return found


def empty_place(page: Any) -> tuple[float, float]:
    """A place in the middle of the map with no item near it, in pixels of the window."""
    px, py = page.evaluate(
        """() => { const { map, app } = window.isthmus; const { width, height } = map.camera;
           for (let d = 0; d < 200; d += 3) for (const [x, y] of [[d, 0], [-d, 0], [0, d], [0, -d], [d, d]]) {
             const at = [width / 2 + x, height / 2 + y];
             if (map.pointedAt(...at, 14).item < 0) return at; }
           throw new Error("no empty place"); }""")  # fmt: skip
    corner = box(page)
    return corner["x"] + px, corner["y"] + py


# --- Looking --------------------------------------------------------------------------------------------------------


def test_it_opens_and_hides_its_token(seen: Seen, served: Explorer) -> None:
    page = seen.open(served.url)
    assert "token" not in page.url
    assert page.title().startswith("Autoencoder")
    assert page.evaluate("() => window.isthmus.app.points.length") == 800
    drawn = page.evaluate(
        """() => { const c = window.isthmus.map.picture();
           const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
           return new Set(new Uint32Array(d.buffer)).size }"""
    )
    assert drawn > 20, "nothing but the ground was drawn"


def test_moving_and_zooming(seen: Seen, served: Explorer) -> None:
    page = seen.open(served.url)
    at = box(page)
    x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
    before = page.evaluate("() => ({ ...window.isthmus.map.camera })")
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    zoomed = page.evaluate("() => ({ ...window.isthmus.map.camera })")
    assert zoomed["zoom"] > 1.5 * before["zoom"]
    page.mouse.move(x + 20, y + 10)
    page.mouse.down()
    page.mouse.move(x + 120, y + 60, steps=5)
    page.mouse.up()
    moved = page.evaluate("() => ({ ...window.isthmus.map.camera })")
    assert moved["x"] < zoomed["x"]
    assert moved["y"] > zoomed["y"]
    assert moved["zoom"] == zoomed["zoom"]


def test_an_empty_place_answers_as_python_does(seen: Seen, served: Explorer, fitted: Any) -> None:
    page = seen.open(served.url)
    x, y = empty_place(page)
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    card = page.locator(".place")
    card.wait_for(state="visible")
    page.wait_for_selector(".place canvas")
    corner = box(page)
    code = page.evaluate(
        "([px, py]) => Array.from(window.isthmus.codeAt(...window.isthmus.map.camera.toMap(px, py)))",
        [x - corner["x"], y - corner["y"]])  # fmt: skip
    truth = fitted.decode(np.array([code]))[0].astype(int)
    page.wait_for_timeout(200)
    shown = page.locator(".place canvas").evaluate(REDS)
    assert np.abs(np.array(shown).reshape(8, 8) - truth).max() <= 1
    assert np.abs(decoded(page, code).reshape(8, 8) - truth).max() <= 1
    assert truth.std() > 5


def test_a_slider_moves_what_is_made(seen: Seen, served: Explorer, fitted: Any) -> None:
    page = seen.open(served.url)
    page.evaluate("() => window.isthmus.select(5)")
    page.get_by_role("tab", name="Latents").click()
    canvas = page.locator(".latents .figures canvas")
    canvas.wait_for()
    slider = page.locator(".latents input[type=range]").first
    index = page.evaluate("() => window.isthmus.opened.latents[0].index")
    at = slider.bounding_box()
    page.mouse.move(at["x"] + at["width"] * 0.5, at["y"] + at["height"] / 2)
    page.mouse.down()
    page.mouse.move(at["x"] + at["width"] * 0.85, at["y"] + at["height"] / 2, steps=4)
    page.mouse.up()
    value = float(slider.input_value())
    code = page.evaluate("() => Array.from(window.isthmus.app.codes.of(5))")
    assert value != pytest.approx(code[index])
    code[index] = value
    truth = fitted.decode(np.array([code], dtype=np.float32))[0].astype(int)
    page.wait_for_timeout(300)
    shown = canvas.evaluate(REDS)
    assert np.abs(np.array(shown).reshape(8, 8) - truth).max() <= 1


def test_sums_of_items(seen: Seen, served: Explorer, fitted: Any, digits: Any) -> None:
    page = seen.open(served.url)
    page.get_by_role("tab", name="Mix").click()
    page.locator("input.expression").fill("12 - 40 + 7")
    page.locator("input.expression").press("Enter")
    page.wait_for_selector(".mix .result canvas")
    Z = fitted.encode(digits[0])
    code = page.evaluate("() => Array.from(window.isthmus.app.hand.code)")
    np.testing.assert_allclose(code, Z[12] - Z[40] + Z[7], atol=1e-5)
    nearest = page.evaluate(
        "() => window.isthmus.app.codes.nearest(window.isthmus.app.hand.code, 8).map((n) => n.index)"
    )
    truth = np.argsort(np.square(Z - np.array(code, np.float32)).sum(1))[:8]
    assert set(nearest) == set(truth.tolist())
    truth = fitted.decode(np.array([code]))[0].astype(int)
    assert np.abs(decoded(page, code).reshape(8, 8) - truth).max() <= 1


def test_a_selected_item_comes_with_its_pixels(seen: Seen, served: Explorer) -> None:
    page = seen.open(served.url)
    page.evaluate("() => window.isthmus.select(17)")
    page.wait_for_selector(".item img.picture")
    assert page.locator(".item h2").first.inner_text().startswith("item 17")
    assert "error" in page.locator(".item .facts").first.inner_text()


# --- Doing ------------------------------------------------------------------------------------------------------------


def lasso(page: Any, points: list[tuple[float, float]]) -> None:
    page.evaluate("() => window.isthmus.map.setTool('lasso')")
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in [*points[1:], points[0]]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()


def test_a_lasso_chooses_what_can_be_exported(
    seen: Seen, served: Explorer, tmp_path: Path, fitted: Any, digits: Any
) -> None:
    page = seen.open(served.url)
    at = box(page)
    left, right = at["x"] + 0.3 * at["width"], at["x"] + 0.7 * at["width"]
    above, below = at["y"] + 0.2 * at["height"], at["y"] + 0.8 * at["height"]
    lasso(page, [(left, above), (right, above), (right, below), (left, below)])
    chosen = page.evaluate("() => window.isthmus.app.chosen")
    assert 5 < len(chosen) < 400
    page.locator("details.menu summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="selection as CSV").click()
    download.value.save_as(tmp_path / "selection.csv")
    rows = list(csv.DictReader((tmp_path / "selection.csv").read_text("utf-8").splitlines()))
    assert [int(row["item"]) for row in rows] == chosen
    Z = fitted.encode(digits[0])
    np.testing.assert_allclose([float(rows[0][f"latent {j}"]) for j in range(6)], Z[chosen[0]], rtol=1e-5)


def test_labels_spread_and_are_found_again(chromium: Any, digits: Any, fitted: Any, tmp_path: Path) -> None:
    state = tmp_path / "labels.json"
    X, y = digits
    first = [int(np.flatnonzero(y == digit)[k]) for digit in (0, 1) for k in range(5)]
    with explore(fitted, X, y, browser=False, block=False, state=state) as made:
        assert isinstance(made, Explorer)
        context = chromium.new_context(viewport=SIZE)
        seen = Seen(context.new_page(), f"http://127.0.0.1:{made.port}/")
        page = seen.open(made.url)
        page.get_by_role("tab", name="Label").click()
        for item in first:
            page.evaluate("(i) => { window.isthmus.app.choose([]); window.isthmus.select(i); }", item)
            page.get_by_label("name for the selected items").fill("nought 🙂" if y[item] == 0 else "<b>one</b>")
            page.get_by_label("name for the selected items").press("Enter")
        page.wait_for_function("() => window.isthmus.app.spread && window.isthmus.app.labels.size === 10")
        page.wait_for_function("() => window.isthmus.app.spread.labels.length === 400")
        page.wait_for_timeout(500)
        levels = page.evaluate("() => window.isthmus.app.spread.levels")
        told = np.array(page.evaluate("() => Array.from(window.isthmus.app.spread.labels)"))
        assert sorted(levels) == ["<b>one</b>", "nought 🙂"]
        zeros, ones = (np.array(levels)[told][y == digit] for digit in (0, 1))
        assert (zeros == "nought 🙂").mean() > 0.7
        assert (ones == "<b>one</b>").mean() > 0.7
        page.wait_for_timeout(1200)  # it is saved soon after
        assert len(made.labels) == 10
        page.reload()  # a reload finds the token in the tab
        page.evaluate("() => window.isthmus.ready.then(() => true)")
        assert set(page.evaluate("() => window.isthmus.labels()")) == {str(item) for item in first}
        assert page.locator("b", has_text="one").count() == 0, "a label was read as HTML"
        # The tab is closed in the middle of labelling: what was named last is there too.
        page.evaluate("(i) => { window.isthmus.app.label([i], 'late'); }", 399)
        page.close()
        context.new_page().wait_for_timeout(800)
        assert made.labels[399] == "late"
        seen.require_calm()
        context.close()
    saved = json.loads(state.read_text("utf-8"))["sets"]
    assert len(next(iter(saved.values()))["labels"]) == 11


def test_without_the_token_the_page_says_what_to_do(chromium: Any, served: Explorer) -> None:
    page = chromium.new_page()
    page.goto(f"http://127.0.0.1:{served.port}/")
    page.wait_for_selector("main.broken")
    assert "token is missing or wrong" in page.locator("main.broken").inner_text()
    page.close()


# --- Other formats, and the file --------------------------------------------------------------------------------------


def test_numbers_and_rows_are_those_of_python(chromium: Any, mixed: Any, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pd = pytest.importorskip("pandas")
    r = np.random.default_rng(0)
    X = r.normal(size=(80, 5)) * [1, 10, 100, 1e-3, 1] + [0, 1e9, 0, 0, 5]
    S = r.normal(size=(80, 30, 2)).cumsum(1)
    frame, signs = mixed(150), X.mean(0) < X
    for items, model in (
        (X, shaken(im.Autoencoder(3, epochs=1, verbose=False).fit(X))),
        (S, shaken(im.Autoencoder(3, format="series", epochs=1, verbose=False).fit(S))),
        (frame, shaken(im.VAE(3, epochs=1, verbose=False).fit(frame))),
        (signs, im.VAE(2, epochs=1, verbose=False).fit(signs)),
    ):
        made = explore(model, items, static=tmp_path / "a.html")
        context = chromium.new_context(viewport=SIZE, offline=True)
        seen = Seen(context.new_page(), (tmp_path / "a.html").as_uri())
        page = seen.open((tmp_path / "a.html").as_uri())
        codes = model.encode(items)[:6] * 1.3
        wanted = model.decode(codes)
        for row, code in enumerate(codes):
            told = decoded(page, [float(value) for value in code])
            if model.format_.spec.kind == "table":
                truth = dict(zip(wanted.columns, wanted.iloc[row], strict=True))
                cells = dict(told)
                for name in ("town", "grade", "words", "always"):
                    assert cells[name] == str(truth[name])
                assert float(cells["length"]) == pytest.approx(truth["length"], abs=0.01)
                assert int(cells["age"]) == pytest.approx(truth["age"], abs=1)
                assert cells["born"][:10] == str(truth["born"])[:10]
                continue
            truth = np.asarray(wanted[row], dtype=float)
            truth = truth.T if truth.ndim == 2 else truth
            step = np.maximum(np.asarray(items, dtype=float).reshape(len(items), -1).std(), 1e-9)
            scale = np.asarray(items, dtype=float).std(0).T.ravel() if truth.ndim == 1 else step
            assert (np.abs(told - truth.ravel()) <= scale / 255).all()
        if model.format_.spec.kind == "table":
            page.evaluate("isthmus.app.colourBy(isthmus.opened.colours.find(one => one.title === 'born').name)")
            page.evaluate("isthmus.select(4)")
            item = page.locator(".panel.item")
            item.locator(".rows.beside").wait_for()
            rows = {name: item.locator(".beside tbody tr", has=page.get_by_text(name, exact=True)) for name in cells}
            assert rows["key"].locator("td").all_inner_texts() == [frame["key"][4], "left out"]
            assert rows["row"].locator("td").all_inner_texts() == ["not in this page", "left out"]
            assert rows["words"].locator("td").first.inner_text() == "not in this page"
            born = str(frame["born"][4])[:10]
            assert rows["born"].locator("td").first.inner_text() == born
            assert f"born {born}" in item.locator(".facts").inner_text()
            ends = page.locator(".legend .ends span").all_inner_texts()
            assert min(frame["born"].dropna()) <= pd.Timestamp(ends[0]) < pd.Timestamp(ends[1])
        seen.require_calm()
        context.close()
        assert made.path.is_file()  # type: ignore[union-attr]


def test_the_file_opens_from_disk_without_a_network(chromium: Any, digits: Any, fitted: Any, tmp_path: Path) -> None:
    path = tmp_path / "digits 🙂.html"
    explore(fitted, digits[0], [f"<i>{label}</i>" for label in digits[1]], static=path)
    context = chromium.new_context(viewport=SIZE, offline=True)
    seen = Seen(context.new_page(), path.as_uri())
    page = seen.open(path.as_uri())
    x, y = empty_place(page)
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_selector(".place canvas")
    corner = box(page)
    code = page.evaluate(
        "([px, py]) => Array.from(window.isthmus.codeAt(...window.isthmus.map.camera.toMap(px, py)))",
        [x - corner["x"], y - corner["y"]])  # fmt: skip
    truth = fitted.decode(np.array([code]))[0].astype(int)
    assert np.abs(decoded(page, code).reshape(8, 8) - truth).max() <= 1
    assert page.locator(".legend i", has_text="1").count() == 0, "a label was read as HTML"
    page.evaluate("() => window.isthmus.select(9)")
    page.wait_for_selector(".item canvas.picture")
    for item in range(10):
        page.evaluate("([i, name]) => window.isthmus.app.label([i], name)", [item, f"d{digits[1][item] % 2}"])
    page.wait_for_function("() => window.isthmus.app.spread?.labels.length === 400")
    seen.require_calm()
    context.close()
