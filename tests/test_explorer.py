"""The explorer without a browser: what the page is told, what it may ask, who may ask, and what is kept."""

from __future__ import annotations

import base64
import hashlib
import html
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import isthmus as im
from isthmus import cli, priors
from isthmus.errors import DamagedFileError, DataError, FileError, FormatError, NotSupported, SettingError
from isthmus.view.explorer import Explorer, StaticPage, cache, contents_of, explore, explore_files, server
from isthmus.view.explorer.interpreter import run_layers
from isthmus.view.explorer.live import Live
from isthmus.view.explorer.opened import gather
from isthmus.view.explorer.state import State

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

ROOT = Path(__file__).parents[1]
NASTY = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "&amp; ' \" `",
    "🙂👩‍👩‍👧",
    "שלום עולם",
    "\u202eabc",
    "a\u2028b",
]
PAGE = "<!doctype html><html><head><title>x</title></head><body><p>the page</p></body></html>"


@pytest.fixture(autouse=True)
def small_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are of what stands behind the page, whatever it looks like."""
    (tmp_path / "page.html").write_text(PAGE, "utf-8")
    monkeypatch.setattr(server, "PAGE", tmp_path / "page.html")


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = im.datasets.digits(labels=True)
    return X[:120], y[:120]


@pytest.fixture(scope="module")
def fitted(digits: tuple[np.ndarray, np.ndarray]) -> Any:
    return im.PCA(6).fit(digits[0])


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(explorer: Explorer, method: str, path: str, body: Any = None, **headers: str | None) -> Answer:
    """One request; the token is sent unless another, or None, is given."""
    token = urllib.parse.parse_qs(urllib.parse.urlparse(explorer.url).query)["token"][0]
    sent = {"X-Isthmus-Token": token, "Host": f"127.0.0.1:{explorer.port}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    link = http.client.HTTPConnection("127.0.0.1", explorer.port, timeout=30)
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    link.putrequest(method, path, skip_host=True)
    for name, value in sent.items():
        if value is not None:
            link.putheader(name, value)
    if raw is not None and "Content-Length" not in sent:
        link.putheader("Content-Length", str(len(raw)))
    link.endheaders()
    try:
        if raw is not None:
            link.send(raw)
    except (BrokenPipeError, ConnectionResetError):  # it may refuse before it has read all
        pass
    got = link.getresponse()
    answer = Answer(got.status, got.read(), dict(got.getheaders()))
    link.close()
    return answer


@pytest.fixture
def opened(digits: tuple[np.ndarray, np.ndarray], fitted: Any, tmp_path: Path) -> Iterator[Explorer]:
    state = tmp_path / "labels.json"
    with explore(fitted, digits[0], digits[1], browser=False, block=False, state=state) as made:
        yield made  # type: ignore[misc]  # it is served


def array(told: dict[str, Any], blobs: dict[str, Any], name: str) -> np.ndarray:
    """A blob as the page reads it."""
    raw = cache.bytes_of(blobs[name])
    category = name.startswith("colour/") and next(
        one["kind"] == "category" for one in told["colours"] if f"colour/{one['name']}" == name
    )
    return np.frombuffer(raw, "<u2" if category else "<f4")


def require_contract(contents: Any) -> dict[str, Any]:
    """What any page may rely on; returns what it is told, as JSON gives it back."""
    told = json.loads(json.dumps(contents.told, allow_nan=False))
    n, width = told["n"], told["model"]["latent_dim"]
    keys = "version title static model item n names maps colours latents decoder density thumbnails python"
    assert list(told) == keys.split()
    assert array(told, contents.blobs, "codes").shape == (n * width,)
    for one in told["maps"]:
        places = array(told, contents.blobs, f"map/{one['name']}").reshape(n, 2)
        assert np.abs(places).max() <= 1 + 1e-6
        assert set(one) >= {"name", "title", "exact", "python"}
    for one in told["colours"]:
        values = array(told, contents.blobs, f"colour/{one['name']}")
        assert values.shape == (n,)
        if one["kind"] == "category":
            assert all(value == 65535 or value < len(one["levels"]) for value in values)
            assert all(isinstance(level, str) for level in one["levels"])
    assert sorted(row["index"] for row in told["latents"]) == list(range(width))
    assert all(row["low"] < row["high"] for row in told["latents"])
    shares = [row["share"] for row in told["latents"]]
    assert shares == sorted(shares, reverse=True)
    if (laid := told["thumbnails"]) is not None:
        assert laid["sheets"] == -(-n // 1024)
        assert all(contents.blobs[f"sheet/{place}"][:4] == b"\x89PNG" for place in range(laid["sheets"]))
    return told


# --- What the page is told ------------------------------------------------------------------------------------------


def test_images(digits: tuple[np.ndarray, np.ndarray], fitted: Any) -> None:
    X, y = digits
    contents = gather(fitted, X, y, title="digits.isthmus")
    told = require_contract(contents)
    assert told["item"] == {"kind": "image", "height": 8, "width": 8, "channels": 1, "levels": 255}
    assert [one["name"] for one in told["colours"]][:3] == ["label", "error", "density"]
    assert told["colours"][0]["levels"] == [str(digit) for digit in range(10)]
    assert (array(told, contents.blobs, "colour/label") == y).all()
    from isthmus.metrics import squared_error

    truth = squared_error(fitted.format_.scale(fitted._stored(X)),
                          fitted._in_blocks(fitted._linear_mean, fitted._codes(fitted.encode(X))))  # fmt: skip
    np.testing.assert_allclose(array(told, contents.blobs, "colour/error"), truth, rtol=1e-5)
    logs = fitted.prior_.log_prob(fitted.encode(X))
    np.testing.assert_allclose(array(told, contents.blobs, "colour/density"), logs, rtol=1e-4)
    assert any(row["meaning"] and row["meaning"].startswith("label: ") for row in told["latents"])
    assert any("PCA" in line for line in told["model"]["summary"])


def test_small_pictures_lie_where_the_page_looks_for_them(digits: tuple[np.ndarray, np.ndarray], fitted: Any) -> None:
    import io

    from PIL import Image

    X = digits[0]
    contents = gather(fitted, X)
    sheet = np.asarray(Image.open(io.BytesIO(contents.blobs["sheet/0"])))
    assert sheet.shape == (4 * 8, 32 * 8)
    for item in (0, 31, 32, 119):
        row, column = divmod(item, 32)
        assert (sheet[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] == X[item]).all()


def test_large_pictures_are_made_small() -> None:
    X = np.random.default_rng(0).integers(0, 255, (5, 60, 120, 3)).astype(np.uint8)
    told = require_contract(gather(im.PCA(2).fit(X), X))
    assert {name: told["thumbnails"][name] for name in ("width", "height", "channels")} == {
        "width": 48, "height": 24, "channels": 3}  # fmt: skip


def test_vectors_with_and_without_names() -> None:
    pd = pytest.importorskip("pandas")
    X = np.random.default_rng(0).normal(size=(50, 4))
    told = require_contract(gather(im.PCA(3).fit(X), X))
    assert told["item"] == {"kind": "vector", "size": 4, "names": None}
    assert told["thumbnails"] is None
    frame = pd.DataFrame(X, columns=NASTY[:4])
    told = require_contract(gather(im.PCA(3).fit(frame), frame))
    titles = [one["title"] for one in told["colours"] if one["name"].startswith("column")]
    assert titles == NASTY[:4]


def test_series() -> None:
    X = np.random.default_rng(0).normal(size=(30, 20, 2))
    told = require_contract(gather(im.PCA(3, format="series").fit(X), X))
    assert told["item"] == {"kind": "series", "channels": 2, "length": 20, "names": None}


def test_tables(mixed: Callable[..., Any]) -> None:
    frame = mixed(200)
    contents = gather(im.PCA(4).fit(frame), frame)
    told = require_contract(contents)
    kinds = {column["name"]: column["kind"] for column in told["item"]["columns"]}
    assert kinds["length"] == "number"
    assert (kinds["town"], kinds["grade"], kinds["member"]) == ("category", "category", "boolean")
    assert (kinds["born"], kinds["words"], kinds["always"]) == ("datetime", "text", "left out")
    colours = {one["title"]: one for one in told["colours"]}
    assert set(colours) >= {"length", "town", "born", "seen", "stay", "member"}
    assert not set(colours) & {"words", "key", "always"}
    town = colours["town"]
    places = array(told, contents.blobs, f"colour/{town['name']}")
    cells = [None if place == 65535 else town["levels"][place] for place in places]
    assert cells == [None if value != value or value is None else value for value in frame["town"].tolist()]
    length = array(told, contents.blobs, f"colour/{colours['length']['name']}")
    np.testing.assert_allclose(length, frame["length"], rtol=1e-6)
    born = array(told, contents.blobs, f"colour/{colours['born']['name']}")
    there = frame["born"].notna()
    days = (frame["born"][there] - frame["born"][there].iloc[0].normalize()).dt.days
    assert (born[there] - born[there][0] == days - days.iloc[0]).all()
    assert contents.blobs["names"] == frame["key"].tolist()


def test_names_of_picture_files(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    from isthmus.formats.files import write

    names = ["🙂 one", "שלום", "<b>three</b>", "four"]
    write(tmp_path / "made", digits[0][:4])
    for old, new in zip(sorted((tmp_path / "made").iterdir()), names, strict=True):
        old.rename(old.with_name(new.replace("/", "∕") + ".png"))
    folder = str(tmp_path / "made")
    model = im.PCA(2).fit(folder)
    contents = gather(model, folder)
    assert sorted(contents.blobs["names"]) == sorted(name.replace("/", "∕") + ".png" for name in names)
    assert contents.told["names"] == "names"


def test_a_map_of_two_latents_is_exact(digits: tuple[np.ndarray, np.ndarray]) -> None:
    model = im.PCA(2).fit(digits[0])
    contents = gather(model, digits[0])
    (one,) = require_contract(contents)["maps"]
    assert (one["name"], one["exact"]) == ("latent", True)
    places = array(contents.told, contents.blobs, "map/latent").reshape(-1, 2)
    back = np.array(one["to_code"]["shift"]) + one["to_code"]["scale"] * places
    np.testing.assert_allclose(back, contents.blobs["codes"], atol=1e-5)


def test_a_map_keeps_its_proportions(fitted: Any, digits: tuple[np.ndarray, np.ndarray]) -> None:
    from isthmus.view.maps import project

    contents = gather(fitted, digits[0])
    places = array(contents.told, contents.blobs, "map/pca").reshape(-1, 2)
    raw = project(contents.blobs["codes"]).places
    slope = np.ptp(places, axis=0) / np.ptp(raw, axis=0)
    assert slope[0] == pytest.approx(slope[1], rel=1e-4)
    assert np.ptp(places, axis=0).max() == pytest.approx(2, rel=1e-5)


@pytest.mark.parametrize("kind", ["standard", "gaussian", "mixture", "wide mixture"])
def test_the_page_can_work_out_the_density(kind: str) -> None:
    from isthmus.view.explorer.opened import _density

    r = np.random.default_rng(0)
    width = 70 if kind == "wide mixture" else 3
    Z = r.normal(size=(600, width)) @ r.normal(size=(width, width)) + 3 * r.integers(0, 2, (600, 1))
    prior = {"standard": priors.StandardNormal(), "gaussian": priors.Gaussian()}.get(kind, priors.GaussianMixture(2))
    prior.fit(Z)
    blobs: dict[str, Any] = {}
    told = json.loads(json.dumps(_density(prior, 0.0, blobs)))
    U = np.frombuffer(cache.bytes_of(blobs["density"]), "<f4").reshape(-1, width, width).astype(float)
    parts = [
        np.log(weight) - width / 2 * np.log(2 * np.pi) + np.linalg.slogdet(u)[1]
        - 0.5 * np.square((Z - mean) @ u).sum(1)
        for weight, mean, u in zip(told["weights"], np.array(told["means"]), U, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(np.logaddexp.reduce(parts), prior.log_prob(Z), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("labels", "levels"),
    [
        (["b", "a", None, ""] * 5, ["a", "b"]),
        ([2.0, 1.0, np.nan, 10.0] * 5, ["1", "2", "10"]),
        ([True, False] * 10, ["False", "True"]),
        ([*NASTY, *NASTY, *NASTY[:6]], sorted(NASTY)),
        (np.random.default_rng(0).normal(size=20), None),
        (np.arange(20.0) / 3, None),
    ],
)
def test_labels_are_classes_or_numbers(fitted: Any, digits: Any, labels: Any, levels: list[str] | None) -> None:
    told = require_contract(gather(fitted, digits[0][:20], np.array(labels)))
    assert told["colours"][0].get("levels") == levels
    assert told["colours"][0]["kind"] == ("number" if levels is None else "category")


# --- Models and items that are not as usual ---------------------------------------------------------------------------


def test_one_item_only(fitted: Any, digits: tuple[np.ndarray, np.ndarray]) -> None:
    told = require_contract(gather(fitted, digits[0][:1]))
    assert told["n"] == 1
    item = require_contract(gather(im.PCA(1).fit(digits[0][:1]), digits[0][:1]))
    assert item["latents"][0]["low"] < item["latents"][0]["high"]


class EncodesOnly:
    """A model without a decoder and without a prior."""

    def __init__(self, model: Any) -> None:
        self.format_, self.latent_dim_, self._model = model.format_, model.latent_dim_, model

    def encode(self, X: Any) -> np.ndarray:
        return np.asarray(self._model.encode(X))

    def _stored(self, X: Any) -> Any:
        return self._model._stored(X)

    def _in_blocks(self, function: Any, rows: Any) -> Any:
        return self._model._in_blocks(function, rows)

    def _encode_stored(self, stored: Any) -> Any:
        return self._model._encode_stored(stored)


def test_a_model_without_a_decoder_or_a_prior(fitted: Any, digits: tuple[np.ndarray, np.ndarray]) -> None:
    contents = gather(EncodesOnly(fitted), digits[0], digits[1])
    told = require_contract(contents)
    assert told["decoder"] is None
    assert told["density"] is None
    assert [one["name"] for one in told["colours"]] == ["label"]
    live = Live(lambda: (EncodesOnly(fitted), digits[0]), contents, lambda: None)
    found = live.item({"index": 3})
    assert found["reconstruction"] is None
    assert found["input"]["kind"] == "image"
    with pytest.raises(NotSupported, match="does not decode"):
        live.decode({"codes": [[0.0] * 6]})


def test_a_model_that_does_not_encode() -> None:
    with pytest.raises(NotSupported, match="needs a model that can encode, and this object cannot; PCA"):
        gather(object(), np.zeros((3, 2)))


def test_what_does_not_fit_together(fitted: Any, digits: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(FormatError, match="9, 9"):
        explore(fitted, np.zeros((5, 9, 9), np.uint8), block=False)
    with pytest.raises(DataError, match=r"labels of shape \(3,\) given for 120 items"):
        explore(fitted, digits[0], [1, 2, 3], block=False)
    with pytest.raises(SettingError, match="'som' is unknown; there are 'tsne', 'umap'"):
        explore(fitted, digits[0], maps=["som"], block=False)


def test_modules_of_the_user_s_own_decode_on_the_server() -> None:
    torch = pytest.importorskip("torch")
    X = np.random.default_rng(0).normal(size=(60, 4))
    model = im.Autoencoder(2, network=(torch.nn.Linear(4, 2), torch.nn.Linear(2, 4)), epochs=1, verbose=False).fit(X)
    contents = gather(model, X)
    decoder = require_contract(contents)["decoder"]
    assert decoder["kind"] == "server"
    assert "torch module of its owner" in decoder["why"]
    codes = [[0.5, -1.0], [0.0, 0.0]]
    found = Live(lambda: (model, X), contents, lambda: None).decode({"codes": codes})
    np.testing.assert_allclose([one["values"] for one in found["items"]], model.decode(codes))


# --- What it may ask --------------------------------------------------------------------------------------------------


def test_the_page_and_what_it_is_told(opened: Explorer) -> None:
    page = ask(opened, "GET", "/", X_Isthmus_Token=None)
    assert (page.status, page.body.decode()) == (200, PAGE)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    told = ask(opened, "GET", "/api/opened").json
    assert (told["n"], told["static"]) == (120, False)
    whole = ask(opened, "GET", "/api/blob/codes").body
    assert len(whole) == 120 * 6 * 4
    assert ask(opened, "GET", "/api/blob/codes?from=10&to=20").body == whole[240:480]
    assert ask(opened, "GET", "/api/blob/codes?from=110&to=9999").body == whole[110 * 24 :]
    assert len(ask(opened, "GET", "/api/blob/colour/label?from=3&to=5").body) == 4
    sheet = ask(opened, "GET", "/api/blob/sheet/0")
    assert (sheet.body[:4], sheet.headers["content-type"]) == (b"\x89PNG", "image/png")
    assert ask(opened, "GET", "/api/blob/weights?from=1").status == 400
    assert "number of an item" in ask(opened, "GET", "/api/blob/codes?from=-1").json["error"]


def test_one_item_and_what_codes_decode_to(opened: Explorer, fitted: Any, digits: Any) -> None:
    found = ask(opened, "POST", "/api/item", {"index": 7}).json
    assert {"name", "input", "reconstruction", "error", "contributions", "row", "python"} == set(found)
    assert sum(found["contributions"]["values"]) == pytest.approx(found["error"], rel=1e-4)
    assert found["python"] == "model.reconstruct(X[7:8])"
    from isthmus.formats.files import read

    assert base64.b64decode(found["input"]["pixels"])[:4] == b"\x89PNG"
    codes = fitted.encode(digits[0][:3])
    items = ask(opened, "POST", "/api/decode", {"codes": codes.tolist()}).json["items"]
    (Path(server.PAGE).parent / "one.png").write_bytes(base64.b64decode(items[1]["pixels"]))
    picture = im.PCA(1).fit([Path(server.PAGE).parent / "one.png"]).format_
    stored = picture.to_tensor([Path(server.PAGE).parent / "one.png"])
    assert (stored[0, 0].numpy() == fitted.decode(codes)[1]).all()
    assert read is not None


def test_a_row_of_a_table(mixed: Callable[..., Any], tmp_path: Path) -> None:
    frame = mixed(120)
    frame["words"] = (NASTY * 20)[:120]
    model = im.PCA(3).fit(frame)
    live = Live(lambda: (model, frame), gather(model, frame), lambda: None)
    found = live.item({"index": 4})
    assert dict(found["row"])["key"] == frame["key"][4]
    assert dict(found["row"])["words"] == NASTY[4]
    assert [name for name, _ in found["reconstruction"]["cells"]] == list(frame.columns)
    assert sum(found["contributions"]["values"]) == pytest.approx(found["error"], rel=1e-4)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("item", {"index": 120}, "items are called 0 to 119"),
        ("item", {"index": True}, "items are called 0 to 119"),
        ("item", {}, "index=None"),
        ("item", b"[1]", "no JSON object"),
        ("item", b"{", "no JSON"),
        ("decode", {"codes": [[0.0] * 6] * 65}, "1 to 64 codes"),
        ("decode", {"codes": [[0.0] * 5]}, r"decodes \(n, 6\)"),
        ("decode", b'{"codes": [[NaN, 0, 0, 0, 0, 0]]}', "not finite"),
        ("decode", {"codes": [["a"] * 6]}, "array of numbers"),
        ("map", {"name": "som"}, "expected 'tsne' or 'umap'"),
        ("search", {"text": "a seven"}, "has learned no words"),
        ("label", {"labels": {"x": "a"}}, "'x' is no item"),
        ("label", {"labels": {"500": "a"}}, "'500' is no item"),
        ("state", {"labels": {"0": ""}}, "no text of 1 to 200"),
        ("state", {"labels": {"-1": "a"}}, "is no item"),
        ("state", {"labels": []}, "expected"),
        ("state", b'{"labels": {"0": "\\ud800"}}', "half a character"),
    ],
)  # fmt: skip
def test_questions_that_make_no_sense(opened: Explorer, path: str, body: Any, message: str) -> None:
    found = ask(opened, "POST", f"/api/{path}", body)
    assert found.status == 400
    assert re.search(message, found.json["error"])


def test_a_map_that_takes_its_time(digits: Any, fitted: Any) -> None:
    pytest.importorskip("openTSNE")
    contents, kept = gather(fitted, digits[0]), []
    live = Live(lambda: (fitted, digits[0]), contents, lambda: kept.append(1))
    end = time.monotonic() + 60
    while (found := live.map({"name": "tsne"})) is None and time.monotonic() < end:
        time.sleep(0.05)
    assert found is not None
    assert found["map"]["name"] == "tsne"
    require_contract(contents)
    assert kept == [1]
    assert live.map({"name": "tsne"}) == found


def test_a_map_that_cannot_be_made(fitted: Any, digits: Any) -> None:
    few = digits[0][:2]
    live = Live(lambda: (fitted, few), gather(fitted, few), lambda: None)
    with pytest.raises(DataError, match="too few neighbours"):  # noqa: PT012
        for _ in range(400):
            live.map({"name": "tsne"})
            time.sleep(0.05)


def test_labels_spread_from_a_few(opened: Explorer, digits: Any) -> None:
    y = digits[1]
    given = {str(item): str(y[item]) for item in range(40)}
    found = ask(opened, "POST", "/api/label", {"labels": given}).json
    labels = np.frombuffer(base64.b64decode(found["labels"]), "<u2")
    sure = np.frombuffer(base64.b64decode(found["confidence"]), "<f4")
    assert labels.shape == sure.shape == (120,)
    told = np.array(found["levels"])[labels]
    assert (told[:40] == y[:40].astype(str)).all()
    assert (told == y.astype(str)).mean() > 0.7
    assert (sure[:40] == 1).all()
    assert len(found["suggest"]) == 10
    assert min(found["suggest"]) >= 40
    again = ask(opened, "POST", "/api/label", {"labels": given | {"50": str(y[50])}}).json
    assert again["levels"][np.frombuffer(base64.b64decode(again["labels"]), "<u2")[50]] == str(y[50])


# --- Who may ask ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/api/opened", {"X_Isthmus_Token": None}, 403),
        ("GET", "/api/opened", {"X_Isthmus_Token": "wrong"}, 403),
        ("GET", "/api/opened?token=TOKEN", {"X_Isthmus_Token": None}, 403),
        ("GET", "/api/blob/codes", {"X_Isthmus_Token": ""}, 403),
        ("POST", "/api/state", {"X_Isthmus_Token": None}, 403),
        ("GET", "/nowhere", {"X_Isthmus_Token": None}, 403),
        ("GET", "/", {"Host": "evil.example"}, 403),
        ("GET", "/", {"Host": "evil.example:PORT"}, 403),
        ("GET", "/", {"Host": "127.0.0.1"}, 403),
        ("GET", "/", {"Host": "127.0.0.1:1"}, 403),
        ("GET", "/", {"Host": "127.0.0.1:PORT.evil.example"}, 403),
        ("GET", "/api/opened", {"Origin": "http://evil.example"}, 403),
        ("GET", "/api/opened", {"Origin": "null"}, 403),
        ("GET", "/api/opened", {"Origin": "https://127.0.0.1:PORT"}, 403),
        ("GET", "/", {"Origin": "http://127.0.0.1:1"}, 403),
        ("GET", "/api/opened", {"Origin": "http://127.0.0.1:PORT"}, 200),
        ("GET", "/api/opened", {"Host": "localhost:PORT", "Origin": "http://localhost:PORT"}, 200),
        ("GET", "/api/opened", {"Host": "[::1]:PORT"}, 200),
        ("PUT", "/api/opened", {}, 405),
        ("DELETE", "/api/state", {}, 405),
        ("OPTIONS", "/api/opened", {"Origin": "http://evil.example"}, 403),
        ("GET", "/docs", {}, 404),
        ("GET", "/openapi.json", {}, 404),
    ],
)
def test_only_the_page_itself_is_answered(
    opened: Explorer, method: str, path: str, headers: dict[str, str | None], status: int
) -> None:
    token = opened.url.partition("token=")[2]
    told = {name: value and value.replace("PORT", str(opened.port)) for name, value in headers.items()}
    body = {} if method == "POST" else None
    found = ask(opened, method, path.replace("TOKEN", token), body, **told)
    assert found.status == status
    if status != 200:
        assert set(found.json) == {"error"}
    if status == 403:
        assert token not in found.body.decode()


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/api/blob/../../../etc/passwd", "/api/blob/%2e%2e%2f%2e%2e%2fetc",
     "/api/blob//etc/passwd", "/static/index.html", "/page/index.html", "/api/blob/", "/api/blob/codes/../map/pca"],
)  # fmt: skip
def test_no_file_can_be_reached(opened: Explorer, path: str) -> None:
    found = ask(opened, "GET", path)
    assert found.status == 404
    assert b"root:" not in found.body


def test_too_large_a_request(opened: Explorer) -> None:
    large = b'{"labels": {"0": "' + b"a" * (8 * 2**20) + b'"}}'
    assert ask(opened, "POST", "/api/state", large).status == 413
    assert ask(opened, "POST", "/api/state", b"{}", Content_Length=str(2**40)).status == 413
    assert ask(opened, "POST", "/api/state", b"{}", Content_Length="x").status in (400, 413)
    pieces = b"100000\r\n" + b"a" * 2**20 + b"\r\n"  # chunks that never say how many they are
    token = opened.url.partition("token=")[2]
    with socket.create_connection(("127.0.0.1", opened.port), timeout=30) as link:
        head = (f"POST /api/state HTTP/1.1\r\nHost: 127.0.0.1:{opened.port}\r\nX-Isthmus-Token: {token}\r\n"
                "Transfer-Encoding: chunked\r\n\r\n")  # fmt: skip
        link.sendall(head.encode())
        try:
            for _ in range(12):
                link.sendall(pieces)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            start = link.recv(64)
        except ConnectionResetError:  # closed with what it had not read: as good a refusal
            start = b"413"
    assert b"413" in start
    assert ask(opened, "GET", "/api/state").json == {}


def test_the_server_listens_on_this_machine_alone(opened: Explorer) -> None:
    assert opened._socket.getsockname()[0] == "127.0.0.1"
    assert len(opened.url.partition("token=")[2]) >= 32


def test_a_port_that_is_taken(fitted: Any, digits: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FileError, match=rf"port {port} cannot be used: .*in use.* or 0 for any that is free"):
            explore(fitted, digits[0], port=port, block=False)
    with pytest.raises(SettingError, match="port=70000"):
        explore(fitted, digits[0], port=70_000, block=False)


def test_a_closed_page_frees_its_port(fitted: Any, digits: Any) -> None:
    contents = gather(fitted, digits[0])
    made = Explorer(Live(lambda: (fitted, digits[0]), contents, lambda: None), State(None, "X", 120), PAGE)
    assert ask(made, "GET", "/").status == 200
    made.close()
    with pytest.raises(ConnectionRefusedError):
        ask(made, "GET", "/")
    again = server.bound(made.port)
    again.close()


# --- What is kept -----------------------------------------------------------------------------------------------------


def test_labels_survive_the_page_and_the_process(opened: Explorer, tmp_path: Path, fitted: Any, digits: Any) -> None:
    labels = {str(item): NASTY[item % len(NASTY)] for item in range(30)}
    saved = ask(opened, "POST", "/api/state", {"labels": labels, "view": {"zoom": 2}, "version": 1})
    assert saved.json == {"saved": str(tmp_path / "labels.json"), "labels": 30}
    assert ask(opened, "GET", "/api/state").json == {"version": 1, "labels": labels, "view": {"zoom": 2}}
    assert opened.labels[3] == NASTY[3]
    opened.close()
    state = tmp_path / "labels.json"
    with explore(fitted, digits[0], browser=False, block=False, state=state) as again:
        assert ask(again, "GET", "/api/state").json["labels"] == labels  # type: ignore[arg-type]
    assert not list(tmp_path.glob(".*")), "no file is left half-written"


def test_sets_of_items_do_not_mix_their_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    one, other = State(path, "train.npy, 10 items", 10), State(path, "test.npy, 5 items", 5)
    one.put({"labels": {"9": "a"}})
    other.put({"labels": {"4": "b"}})
    one.put({"labels": {"9": "a", "8": "c"}})
    assert State(path, "train.npy, 10 items", 10).labels == {9: "a", 8: "c"}
    assert State(path, "test.npy, 5 items", 5).labels == {4: "b"}
    assert State(path, "new.npy, 5 items", 5).get() == {}


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    state = State(tmp_path / "labels.json", "X", 100)
    threads = [threading.Thread(target=state.put, args=({"labels": {str(i): "a"}},)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads((tmp_path / "labels.json").read_text())["sets"]["X"]["labels"]) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 9, "sets": {}}', '{"version": 1, "sets": {"a": 3}}', "\xff"]
)
def test_a_damaged_file_of_labels_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text, "latin-1")
    with pytest.raises(DamagedFileError, match=r"labels\.json .* name another file with state="):
        State(path, "X", 3)
    assert path.read_text("latin-1") == text


@pytest.fixture
def saved(tmp_path: Path, fitted: Any, digits: Any) -> tuple[Path, Path]:
    fitted.save(tmp_path / "m.isthmus")
    np.save(tmp_path / "x.npy", digits[0])
    return tmp_path / "m.isthmus", tmp_path / "x.npy"


def key_of(model: Path, data: Path) -> dict[str, Any]:
    return {"model": cache.model_hash(model), "data": cache.key_of_files(str(data))}


def kept(model: Path, data: Path, load: Callable[[], Any]) -> Any:
    told = {"title": "m", "python": {}}
    return contents_of(load, key_of(model, data), Path(f"{model}.explorer"), **told)  # type: ignore[arg-type]


def never() -> Any:
    raise AssertionError("what is kept was not used")


def test_the_next_start_works_nothing_out(saved: tuple[Path, Path], fitted: Any, digits: Any) -> None:
    first = kept(*saved, lambda: (fitted, digits[0], digits[1]))
    again = kept(*saved, never)
    assert again.told == json.loads(json.dumps(first.told))
    assert set(again.blobs) == set(first.blobs)
    for name, blob in first.blobs.items():
        assert cache.bytes_of(again.blobs[name]) == cache.bytes_of(blob)


@pytest.mark.parametrize("damage", ["cut", "bit", "text", "empty", "key"])
def test_a_damaged_cache_counts_as_none(saved: tuple[Path, Path], fitted: Any, digits: Any, damage: str) -> None:
    first = kept(*saved, lambda: (fitted, digits[0], None))
    place = Path(f"{saved[0]}.explorer")
    raw = bytearray(place.read_bytes())
    at = raw.index(cache.bytes_of(first.blobs["codes"])[:40])
    raw[at + 7] ^= 1 if damage == "bit" else 0
    raw = {"cut": raw[: len(raw) // 2], "text": bytearray(b"hello"), "empty": bytearray()}.get(damage, raw)
    place.write_bytes(raw.replace(b'"explorer": 1', b'"explorer": 2') if damage == "key" else raw)
    asked = []
    again = kept(*saved, lambda: asked.append(1) or (fitted, digits[0], None))
    assert asked == [1]
    assert cache.bytes_of(again.blobs["codes"]) == cache.bytes_of(first.blobs["codes"])
    kept(*saved, never)


def test_other_items_or_another_model_are_worked_out(saved: tuple[Path, Path], fitted: Any, digits: Any) -> None:
    kept(*saved, lambda: (fitted, digits[0], None))
    np.save(saved[1], digits[0][:50])
    assert kept(*saved, lambda: (fitted, digits[0][:50], None)).told["n"] == 50
    other = im.PCA(3).fit(digits[0])
    other.save(saved[0])
    assert kept(*saved, lambda: (other, digits[0][:50], None)).told["model"]["latent_dim"] == 3


def test_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("a")
    first = cache.key_of_files(str(tmp_path))
    assert cache.key_of_files(str(tmp_path)) == first
    (tmp_path / "in" / "a").write_text("ab")
    assert cache.key_of_files(str(tmp_path)) != first


def test_items_in_memory_are_known_by_their_content(saved: tuple[Path, Path], digits: Any) -> None:
    for X, fresh in ((digits[0], True), (digits[0].copy(), False), (digits[0][::-1], True)):
        before = Path(f"{saved[0]}.explorer").read_bytes() if Path(f"{saved[0]}.explorer").exists() else b""
        with explore(saved[0], X, block=False, browser=False):
            pass
        assert (Path(f"{saved[0]}.explorer").read_bytes() != before) is fresh


def test_a_folder_that_cannot_be_written_costs_only_the_cache(
    saved: tuple[Path, Path], fitted: Any, digits: Any
) -> None:
    said: list[str] = []
    contents_of(lambda: (fitted, digits[0], None), key_of(*saved), saved[0].parent / "no" / "cache", title="m",
                python={}, said=said.append)  # fmt: skip
    assert any("not kept for the next time" in line for line in said)


def test_what_is_kept_opens_without_pytorch(saved: tuple[Path, Path], fitted: Any, digits: Any) -> None:
    kept(*saved, lambda: (fitted, digits[0], None))
    code = f"""
import sys
from pathlib import Path
from isthmus.view.explorer import cache, contents_of, server
key = {{"model": cache.model_hash({str(saved[0])!r}), "data": cache.key_of_files({str(saved[1])!r})}}
made = contents_of(None, key, Path({str(saved[0]) + ".explorer"!r}), title="m", python={{}})
assert made.told["n"] == 120
assert "torch" not in sys.modules and "sklearn" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


# --- One file ---------------------------------------------------------------------------------------------------------


def parts_of(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What stands in a static page, read as a browser does: a script ends at the first ``</script``."""
    text = path.read_text("utf-8")
    found = re.findall(r'<script type="([^"]+)" id="([^"]+)">(.*?)</script', text, re.S)
    told = next(json.loads(body) for _, name, body in found if name == "isthmus-opened")
    return told, {name.removeprefix("blob:"): base64.b64decode(body, validate=True)
                  for _, name, body in found if name.startswith("blob:")}  # fmt: skip


def test_one_file_with_everything_in_it(fitted: Any, digits: Any, tmp_path: Path) -> None:
    made = explore(fitted, digits[0], digits[1], static=tmp_path / "page out.html")
    assert isinstance(made, StaticPage)
    assert made.size == (tmp_path / "page out.html").stat().st_size
    told, blobs = parts_of(made.path)
    assert told["static"] is True
    contents = gather(fitted, digits[0], digits[1])
    assert set(blobs) == set(contents.blobs)
    assert blobs["codes"] == cache.bytes_of(contents.blobs["codes"])
    assert told["decoder"]["dtype"] == "float16"
    weights = np.frombuffer(blobs["weights"], "<f2")
    codes = contents.blobs["codes"]
    apart = np.abs(run_layers(told["decoder"]["layers"], weights, codes) - fitted.decode(codes).reshape(120, -1))
    assert apart.max() <= 1
    assert made.path.read_text("utf-8").startswith(PAGE.split("</body>", maxsplit=1)[0])
    assert made.path.read_text("utf-8").endswith("</body></html>")


def test_half_digits_only_where_they_are_enough(digits: Any, tmp_path: Path) -> None:
    X = digits[0]
    model = im.PCA(6).fit(X)
    model._solved = model._spectrum._replace(components=model._spectrum.components * 5e5)  # beyond float16
    made = explore(model, X, static=tmp_path / "a.html")
    assert "dtype" not in parts_of(made.path)[0]["decoder"]  # type: ignore[union-attr]


def test_text_full_of_html_stays_text(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"<img src=x onerror=alert(1)>": r.normal(size=70), "kind": NASTY * 10,
                          "x": r.normal(size=70)})  # fmt: skip
    made = explore(im.PCA(2).fit(frame), frame, NASTY * 10, static=tmp_path / "a.html")
    assert isinstance(made, StaticPage)
    text = made.path.read_text("utf-8")
    for nasty in (*NASTY[:2], "<img"):
        assert nasty not in text
    told, _ = parts_of(made.path)
    assert set(told["colours"][0]["levels"]) == set(NASTY)
    assert told["item"]["columns"][0]["name"] == "<img src=x onerror=alert(1)>"


def test_too_many_items_for_one_file(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(60_001, 2))
    with pytest.raises(DataError, match="60,001 items given; one file holds 60,000 at most"):
        explore(im.PCA(2).fit(X), X, static=tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_too_large_a_file(fitted: Any, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.view.explorer import static

    monkeypatch.setattr(static, "MOST_BYTES", 2**12)
    with pytest.raises(DataError, match="the file would have 0 MiB"):
        explore(fitted, digits[0], static=tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


# --- Notebooks, the command, the built page ---------------------------------------------------------------------------


def test_in_a_notebook(opened: Explorer, fitted: Any, digits: Any, tmp_path: Path) -> None:
    assert f'<iframe src="{html.escape(opened.url)}"' in opened._repr_html_()
    made = explore(fitted, digits[0], static=tmp_path / "a.html")
    frame = made._repr_html_()
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == made.path.read_text("utf-8")  # type: ignore
    made.size = 2**30
    assert "too large for a cell" in made._repr_html_()


def test_a_browser_is_opened_where_there_is_a_screen(fitted: Any, digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import webbrowser

    seen: list[str] = []
    monkeypatch.setattr(webbrowser, "open", seen.append)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with explore(fitted, digits[0], block=False):
        assert seen == []
    monkeypatch.setenv("DISPLAY", ":0")
    with explore(fitted, digits[0], block=False) as made:
        assert seen == [made.url]  # type: ignore[union-attr]
    with explore(fitted, digits[0], block=False, browser=False):
        assert len(seen) == 1


def test_the_command_writes_one_file(saved: tuple[Path, Path], digits: Any, capsys: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", digits[1])
    arguments = ["explore", str(saved[0]), str(saved[1]), "--labels", str(tmp_path / "y.npy"), "--static",
                 str(tmp_path / "a.html"), "--json"]  # fmt: skip
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert not exit.value.code
    out = json.loads(capsys.readouterr().out)
    assert out == {"output": str(tmp_path / "a.html"), "bytes": (tmp_path / "a.html").stat().st_size}
    told, _ = parts_of(tmp_path / "a.html")
    assert told["colours"][0]["name"] == "label"
    assert told["python"]["data"] == f"X = np.load({str(saved[1])!r})"


def test_the_command_says_in_one_line_what_is_wrong(saved: tuple[Path, Path], capsys: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.zeros((4, 9, 9), np.uint8))
    for arguments, code, message in (
        ((saved[0], tmp_path / "other.npy"), 1, "isthmus: images of shape"),
        ((saved[0], tmp_path / "none.npy"), 1, "none.npy"),
        ((tmp_path / "none.isthmus", saved[1]), 1, "does not exist"),
        ((saved[1], saved[1]), 1, "cannot be used"),
        ((saved[0], saved[1], "--static", str(saved[1])), 2, "would be lost"),
    ):
        with pytest.raises(SystemExit) as exit:
            cli.main(["explore", *map(str, arguments)])
        assert exit.value.code == code
        err = capsys.readouterr().err
        assert message in err
        assert "Traceback" not in err


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on Unix")
def test_ctrl_c_ends_the_command_cleanly(saved: tuple[Path, Path], tmp_path: Path) -> None:
    code = ("import sys\nfrom pathlib import Path\nfrom isthmus import cli\nfrom isthmus.view.explorer import server\n"
            f"server.PAGE = Path({str(server.PAGE)!r})\ncli.main(sys.argv[1:])")  # fmt: skip
    command = [sys.executable, "-c", code, "explore", str(saved[0]), str(saved[1]), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=\S+", line)[1])  # type: ignore[index]
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    link.request("GET", "/")
    assert link.getresponse().status == 200
    link.close()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == ""
    assert "Traceback" not in err
    assert "stopped" in err


def test_the_page_that_was_not_built(fitted: Any, digits: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server, "PAGE", tmp_path / "gone.html")
    with pytest.raises(FileError, match="the page has not been built. Build it with make web"):
        explore(fitted, digits[0], block=False)


def test_the_built_page_is_that_of_its_sources() -> None:
    folder, page = ROOT / "web", ROOT / "isthmus" / "view" / "explorer" / "page"
    if not folder.is_dir():
        pytest.skip("only a clone has the sources of the page")
    names = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"]
    files = [path for path in (folder / "src").rglob("*") if path.is_file()]
    files += [folder / name for name in names if (folder / name).is_file()]
    digest = hashlib.sha256()
    for name in sorted(path.relative_to(folder).as_posix().encode() for path in files):
        content = (folder / name.decode()).read_bytes()
        digest.update(name + f"\n{len(content)}\n".encode() + content)
    assert (page / "SOURCES.sha256").read_text().strip() == digest.hexdigest(), "the page is stale: make web"


def test_no_request_stands_in_the_built_page() -> None:
    page = ROOT / "isthmus" / "view" / "explorer" / "page" / "index.html"
    if not page.is_file():
        pytest.skip("the page has not been built")
    text = page.read_text("utf-8")
    assert not re.search(r'<(?:script|img|iframe)[^>]+src=|<link[^>]+href=|@import|url\(["\']?(?:https?:)?//', text)
    assert text.count("</body>") >= 1


def test_explore_files_tells_what_goes_on(fitted: Any, digits: Any) -> None:
    said: list[str] = []
    made = explore_files(lambda: (fitted, digits[0], None), None, None, None, title="m", items="X", python={},
                         browser=False, block=False, said=said.append)  # fmt: skip
    made.close()  # type: ignore[union-attr]
    assert any("encoding 120 items" in line for line in said)
