"""The report: one page that stands alone, tells what evaluate tells, and lets no text of the data be markup."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

pytest.importorskip("matplotlib")

import isthmus as im
from isthmus import cli
from isthmus.errors import DataError, FileError, MissingExtra, SettingError
from isthmus.view import measured as measuring

X, y = load_digits(return_X_y=True)
X, y = (X.reshape(-1, 8, 8)[:400] * 15.9).astype(np.uint8), y[:400]
VOID = {"meta", "link", "br", "img", "input", "hr"}
HOSTILE = {
    "markup": "<img src=x onerror=alert(1)>",
    "script": "</script><script>alert(2)</script>",
    "quotes": "\"'><svg/onload=alert(3)>",
    "emoji": "😀 family 👩‍👧",
    "right to left": "שלום עולם",
    "formula": "$\\frac{1}{0}$ & $x^",
    "turned": "\u202eabc",
}


class Page(HTMLParser):
    """A page read strictly: every element is closed, in order."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []  # of which element
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]

    @property
    def words(self) -> str:
        return " ".join(text for tag, text in self.texts if tag not in ("style", "script"))

    @property
    def figures(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(next(text for tag, text in self.texts if tag == "script"))
        return told


@pytest.fixture(scope="module")
def model() -> Any:
    return im.VAE(4, ordered=True, epochs=4, network=(32,), verbose=False).fit(X)


@pytest.fixture(scope="module")
def made(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return im.report(model, X, tmp_path_factory.mktemp("report") / "digits.html", y)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    pd = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.choice(list(HOSTILE.values()), 120) for name in HOSTILE.values()})
    frame["number"] = random.normal(size=120)
    frame.loc[3, "number"] = None
    fitted = im.VAE(3, epochs=2, network="linear", verbose=False).fit(frame)
    labels = np.array(list(HOSTILE.values()))[np.arange(120) % len(HOSTILE)]
    path = tmp_path_factory.mktemp("report") / "hostile.html"
    return im.report(fitted, frame, path, labels, title="<b>A & B</b>"), fitted


# --- The page -------------------------------------------------------------------------------------------------------


def test_it_is_whole_and_stands_alone(made: Path, hostile: tuple[Path, Any]) -> None:
    for path in (made, hostile[0]):
        page = Page(path)
        assert page.source.startswith("<!DOCTYPE html>")
        for outside in ("http", "//", "@import", "xlink", "xmlns"):
            without = re.sub(r"data:image/png;base64,[^\"]*", "", page.source)
            assert outside not in without, without[without.index(outside) - 60 :][:120]
        assert not page.all("base")
        assert {attributes["href"] for attributes in page.all("link")} == {"data:,"}
        assert [attributes.get("type") for attributes in page.all("script")] == ["application/json"]
        assert path.stat().st_size < 3e6


def test_names_within_the_page_are_one_each_and_lead_somewhere(made: Path) -> None:
    page = Page(made)
    names = [attributes["id"] for _, attributes in page.seen if "id" in attributes]
    assert len(names) == len(set(names))
    wanted = {str(a["href"])[1:] for _, a in page.seen if str(a.get("href", "")).startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page.source))
    assert wanted
    assert wanted <= set(names)


def test_every_figure_says_what_it_is_and_how_it_is_read(made: Path, hostile: tuple[Path, Any]) -> None:
    for path, least in ((made, 12), (hostile[0], 10)):
        source = path.read_text(encoding="utf-8")
        figures = re.findall(r"<figure>.*?</figure>", source, re.S)
        assert len(figures) >= least
        for one in figures:
            caption = re.search(r"<figcaption><b>(.+?)</b> (.+?)</figcaption>", one, re.S)
            assert caption
            assert len(re.sub("<.*?>", "", caption[2]).split()) > 8
            drawing = re.search(r'<svg [^>]*role="img" aria-label="([^"]+)"', one)
            told = re.search(r'role="region" tabindex="0" aria-label="([^"]+)"', one)
            assert drawing or told


def test_headings_are_in_order_and_contents_lead_to_all(made: Path) -> None:
    page = Page(made)
    levels = [tag for tag, _ in page.seen if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == "h1"
    assert set(levels[1:]) == {"h2"}
    sections = {attributes["id"] for attributes in page.all("section")}
    assert sections == {"items", "pca", "latents", "back", "map", "meaning", "new", "training", "words"}
    assert {attributes["href"] for attributes in page.all("a")} == {f"#{name}" for name in sections}


def test_colours_are_the_page_s_in_light_and_dark(made: Path) -> None:
    source = made.read_text()
    drawings = "".join(re.findall(r"<svg.*?</svg>", source, re.S))
    drawings = re.sub(r"data:image/png;base64,[^\"]*", "", drawings)
    assert not re.findall(r"#[0-9a-f]{6}\b", drawings)
    used = set(re.findall(r"var\(--(\w+)\)", source))
    light, dark = (set(re.findall(r"--(\w+):", part)) for part in source.split("prefers-color-scheme:dark")[:2])
    assert used <= light == dark


# --- The figures ----------------------------------------------------------------------------------------------------


def test_figures_are_those_of_evaluate(made: Path, model: Any) -> None:
    told, page = im.evaluate(model, X, y), Page(made)
    found = page.figures
    assert found["evaluate"] == json.loads(json.dumps(told.to_json()))
    for row in told.rows:
        assert f"{row['squared_error']:.4g}" in page.words
    assert told.verdict in page.words
    assert all(line in page.words for line in told.advice)
    assert (found["items"], found["measured"]) == (400, 40)
    assert found["curves"]["model"][-1] == pytest.approx(told.rows[0]["squared_error"], rel=1e-6)
    assert len(found["latents"]) == 4
    assert found["generation"]["rows"][0]["items"] == "training items"


def test_the_worst_are_the_worst(made: Path, model: Any) -> None:
    worst = Page(made).figures["worst"]
    from isthmus.evaluate import rows_not_learned
    from isthmus.view.items import errors_of

    stored = model._stored(X)
    rows, errors = rows_not_learned(model, stored), errors_of(model, stored)
    expected = rows[np.argsort(-errors[rows], kind="stable")[:6]]
    assert worst == expected.tolist()
    assert f"They are items {', '.join(map(str, expected))}" in Page(made).words


def test_it_says_whether_the_items_were_learned_from(made: Path, model: Any, tmp_path: Path) -> None:
    assert "of items that were held out: the model has not learned from them" in Page(made).words
    pca = im.PCA(4).fit(X[:200])
    seen = Page(im.report(pca, X[:200], tmp_path / "seen.html"))
    assert "learned from the very items that are measured here" in seen.words
    assert seen.figures["learned_from_measured"]
    given = Page(im.report(pca, X[200:], tmp_path / "given.html", train=X[:200]))
    assert "given as held out" in given.words
    assert not given.figures["learned_from_measured"]
    assert given.figures["evaluate"] == json.loads(json.dumps(im.evaluate(pca, X[200:], train=X[:200]).to_json()))
    assert given.figures["generation"]["rows"][0]["items"] == "training items"
    alone = Page(im.report(pca, X[200:], tmp_path / "alone.html")).figures["generation"]["rows"]
    assert alone[0]["items"] == "other real items"  # those learned from are not known, so copies cannot be told
    assert "closest" not in alone[0]


def test_of_many_items_some_are_measured_by_a_rule(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "MOST", 100)
    monkeypatch.setattr(measuring, "MEASURED", 30)
    page = Page(im.report(model, X, tmp_path / "a.html", y, seed=2))
    assert "Of 400 items, 30 were measured, drawn by seed 2; the baselines learned from 100 others." in page.words
    assert page.figures["known_held_out"]
    from isthmus.evaluate import rows_not_learned

    random = np.random.default_rng(2)
    rows = np.sort(random.choice(rows_not_learned(model, model._stored(X)), 30, replace=False))
    others = np.sort(random.choice(np.setdiff1d(np.arange(400), rows), 100, replace=False))
    told = im.evaluate(model, X[rows], y[rows], train=X[others])
    assert page.figures["evaluate"] == json.loads(json.dumps(told.to_json()))


def test_the_same_call_writes_the_same_bytes(made: Path, model: Any, tmp_path: Path) -> None:
    again = im.report(model, X, tmp_path / "again.html", y)
    assert again.read_bytes() == made.read_bytes()


# --- Texts of the data ----------------------------------------------------------------------------------------------


def test_texts_of_the_data_are_texts(hostile: tuple[Path, Any]) -> None:
    page = Page(hostile[0])
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert not [name for _, attributes in page.seen for name in attributes if name.startswith("on")]
    for name in ("markup", "quotes", "emoji", "right to left"):
        assert HOSTILE[name] in page.words
    assert "\u202e" not in page.source
    assert "<b>A & B</b>" in page.words
    assert "alert(2)" in page.words
    assert any(tag == "bdi" and HOSTILE["right to left"] in text for tag, text in page.texts)
    names = {row["column"] for row in page.figures["evaluate"]["columns"]}
    assert HOSTILE["script"] in names


# --- Every kind of item ---------------------------------------------------------------------------------------------


def test_series_and_vectors(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    waves = np.sin(np.linspace(0, 6, 24) * random.uniform(0.5, 2, (90, 1)) + random.uniform(0, 6, (90, 1)))
    for kind, word in (("series", "90 series of 24 steps"), ("vector", "90 items of 24 numbers each")):
        fitted = im.PCA(3, format=kind).fit(waves[:60])
        page = Page(im.report(fitted, waves, tmp_path / f"{kind}.html", waves[:, 0]))
        assert word in page.words
        assert "not trained by steps" in page.words


def test_one_latent_and_few_items(tmp_path: Path) -> None:
    page = Page(im.report(im.PCA(1).fit(X[:30]), X[30:36], tmp_path / "few.html"))
    assert "too few items to tell what made ones are worth" in page.words


# --- What goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, p: im.report(m, X, p, y[:5]), DataError, r"labels of shape \(5,\) given for 400"),
        (lambda m, p: im.report(m, X[:1], p), DataError, "two items at least; 1 given"),
        (lambda m, p: im.report(m, X, p, method="lda"), SettingError, "method='lda'"),
        (lambda m, p: im.report(m, X, p, seed=-1), SettingError, "seed=-1"),
        (lambda m, p: im.report(m, X, p / "nowhere" / "a.html"), FileError, "there is no folder"),
        (lambda m, p: im.report(m, X[:, :5], p), DataError, "shape"),
    ],
)
def test_what_cannot_be_reported_leaves_what_was_there(
    model: Any, tmp_path: Path, call: Any, error: type[Exception], message: str
) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    with pytest.raises(error, match=message):
        call(model, path if "nowhere" not in message and error is not FileError else tmp_path)
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_without_matplotlib(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r'pip install "isthmus\[plots\]"'):
        im.report(model, X, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X[:80])
    np.save("y.npy", y[:80])
    im.PCA(2).fit(X[80:200]).save("m.isthmus")
    with pytest.raises(SystemExit) as exit:
        cli.main(["report", "m.isthmus", "x.npy", "--labels", "y.npy", "--title", "Ours", "-o", "o.html", "--json"])
    assert not exit.value.code
    told = json.loads(capsys.readouterr().out)
    assert told == {"output": "o.html", "bytes": Path("o.html").stat().st_size}
    page = Page(Path("o.html"))
    assert "Ours" in page.words
    assert "10 classes" in page.words
    with pytest.raises(SystemExit) as exit:
        cli.main(["report", "m.isthmus", "x.npy", "-o", "x.npy"])
    assert exit.value.code == 2


# --- In a browser ---------------------------------------------------------------------------------------------------

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip


@pytest.fixture
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield started
        started.close()


# Of each table, moved as far as it goes: whether its first column, or the row that stands below, is seen whole.
KEPT = """Array.from(document.querySelectorAll(".wide"), wide => {
    wide.scrollLeft = 1e5;
    const below = wide.querySelector(".below td:last-child");
    const seen = (below ?? wide.querySelector("tbody th")).getBoundingClientRect();
    const room = wide.getBoundingClientRect();
    return seen.left >= room.left - 1 && seen.right <= room.right + 1;
})"""


@pytest.mark.browser
def test_it_is_read_on_a_telephone_and_on_a_desk(made: Path, hostile: tuple[Path, Any], browser: Any) -> None:
    for width in (390, 1280):
        for path, scheme in ((made, "light"), (hostile[0], "dark")):
            context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
            view = context.new_page()
            asked: list[str] = []
            wrong: list[str] = []
            view.on("request", lambda request, asked=asked: asked.append(request.url))
            view.on("console", lambda message, wrong=wrong: wrong.append(message.text))
            view.on("pageerror", lambda error, wrong=wrong: wrong.append(str(error)))
            view.goto(path.as_uri())
            sides = view.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert sides[0] <= sides[1] == width
            if width == 390:
                assert view.evaluate(KEPT) == [True] * view.locator(".wide").count()
            paper = view.evaluate("getComputedStyle(document.body).backgroundColor")
            assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 23, 28)")
            ink = view.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
            assert ink != paper
            assert view.evaluate("document.querySelectorAll('svg').length") >= 5
            assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
            assert wrong == []
            context.close()
