"""What the explorer's page is told of models and items, and what it gets for its questions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import isthmus as im
from isthmus import priors
from isthmus.errors import DataError, FormatError, NotSupported, SettingError
from isthmus.view.explorer import cache, explore
from isthmus.view.explorer.live import Live
from isthmus.view.explorer.opened import gather

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

pytestmark = pytest.mark.usefixtures("small_page")


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


def test_images(digits: tuple[np.ndarray, np.ndarray], fitted: Any) -> None:
    X, y = digits
    contents = gather(fitted, X, y, title="digits.isthmus")
    told = require_contract(contents)
    assert told["item"] == {"kind": "image", "height": 8, "width": 8, "channels": 1, "levels": 255}
    assert [one["name"] for one in told["colours"]][:4] == ["label", "error", "density", "anomaly"]
    assert told["colours"][0]["levels"] == [str(digit) for digit in range(10)]
    assert (array(told, contents.blobs, "colour/label") == y).all()
    from isthmus.metrics import squared_error

    truth = squared_error(fitted.format_.scale(fitted._stored(X)),
                          fitted._in_blocks(fitted._linear_mean, fitted._codes(fitted.encode(X))))  # fmt: skip
    np.testing.assert_allclose(array(told, contents.blobs, "colour/error"), truth, rtol=1e-5)
    logs = fitted.prior_.log_prob(fitted.encode(X))
    np.testing.assert_allclose(array(told, contents.blobs, "colour/density"), logs, rtol=1e-4)
    scores = im.anomaly_scores(fitted, X)
    np.testing.assert_allclose(array(told, contents.blobs, "colour/anomaly"), scores, rtol=1e-5)
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


def test_vectors_with_and_without_names(nasty: list[str]) -> None:
    pd = pytest.importorskip("pandas")
    X = np.random.default_rng(0).normal(size=(50, 4))
    told = require_contract(gather(im.PCA(3).fit(X), X))
    assert told["item"] == {"kind": "vector", "size": 4, "names": None}
    assert told["thumbnails"] is None
    frame = pd.DataFrame(X, columns=nasty[:4])
    told = require_contract(gather(im.PCA(3).fit(frame), frame))
    titles = [one["title"] for one in told["colours"] if one["name"].startswith("column")]
    assert titles == nasty[:4]


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
    first = frame["born"].min()
    assert (colours["born"]["format"], colours["born"]["zero"]) == ("date", (first - first.__class__(0)).days)
    assert colours["seen"]["format"] == "datetime"
    assert "format" not in colours["stay"]
    assert contents.blobs["names"] == frame["key"].tolist()
    assert told["item"]["key"] == "key"


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
        (np.array(["a", 1, None, 2.5] * 5, dtype=object), ["1", "2.5", "a"]),
        (np.random.default_rng(0).normal(size=20), None),
        (np.arange(20.0) / 3, None),
    ],
)
def test_labels_are_classes_or_numbers(fitted: Any, digits: Any, labels: Any, levels: list[str] | None) -> None:
    told = require_contract(gather(fitted, digits[0][:20], np.array(labels)))
    assert told["colours"][0].get("levels") == levels
    assert told["colours"][0]["kind"] == ("number" if levels is None else "category")


def test_labels_may_be_any_text(fitted: Any, digits: Any, nasty: list[str]) -> None:
    told = require_contract(gather(fitted, digits[0][:20], np.array((nasty * 3)[:20])))
    assert told["colours"][0]["levels"] == sorted(nasty)


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


def test_a_row_of_a_table(mixed: Callable[..., Any], nasty: list[str]) -> None:
    frame = mixed(120)
    frame["words"] = (nasty * 20)[:120]
    model = im.PCA(3).fit(frame)
    live = Live(lambda: (model, frame), gather(model, frame), lambda: None)
    found = live.item({"index": 4})
    assert dict(found["row"])["key"] == frame["key"][4]
    assert dict(found["row"])["words"] == nasty[4]
    assert [name for name, _ in found["reconstruction"]["cells"]] == list(frame.columns)
    assert sum(found["contributions"]["values"]) == pytest.approx(found["error"], rel=1e-4)


def test_a_map_that_takes_its_time(digits: Any, fitted: Any) -> None:
    pytest.importorskip("openTSNE")
    contents, kept = gather(fitted, digits[0]), []
    live = Live(lambda: (fitted, digits[0]), contents, lambda: kept.append(1))
    end = time.monotonic() + 60
    found = live.map({"name": "tsne"})
    assert found["wait"] >= 1
    while "wait" in (found := live.map({"name": "tsne"})) and time.monotonic() < end:
        time.sleep(0.05)
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
