"""What the explorer keeps beside a model, and the page in one file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import isthmus as im
from isthmus import cli
from isthmus.errors import DamagedFileError, DataError
from isthmus.view.explorer import StaticPage, cache, contents_of, explore
from isthmus.view.explorer.interpreter import run_layers
from isthmus.view.explorer.opened import gather
from isthmus.view.explorer.state import State

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

pytestmark = pytest.mark.usefixtures("small_page")

ROOT = Path(__file__).parents[1]


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
    place.write_bytes(raw.replace(b'"explorer": 3', b'"explorer": 2') if damage == "key" else raw)
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


def parts_of(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What stands in a static page, read as a browser does: a script ends at the first ``</script``."""
    text = path.read_text("utf-8")
    found = re.findall(r'<script type="([^"]+)" id="([^"]+)">(.*?)</script', text, re.S)
    told = next(json.loads(body) for _, name, body in found if name == "isthmus-opened")
    return told, {name.removeprefix("blob:"): base64.b64decode(body, validate=True)
                  for _, name, body in found if name.startswith("blob:")}  # fmt: skip


def test_one_file_with_everything_in_it(fitted: Any, digits: Any, small_page: str, tmp_path: Path) -> None:
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
    assert made.path.read_text("utf-8").startswith(small_page.split("</body>", maxsplit=1)[0])
    assert made.path.read_text("utf-8").endswith("</body></html>")


def test_half_digits_only_where_they_are_enough(digits: Any, tmp_path: Path) -> None:
    X = digits[0]
    model = im.PCA(6).fit(X)
    model._solved = model._spectrum._replace(components=model._spectrum.components * 5e5)  # beyond float16
    made = explore(model, X, static=tmp_path / "a.html")
    assert "dtype" not in parts_of(made.path)[0]["decoder"]  # type: ignore[union-attr]


def test_text_full_of_html_stays_text(tmp_path: Path, nasty: list[str]) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"<img src=x onerror=alert(1)>": r.normal(size=70), "kind": nasty * 10,
                          "x": r.normal(size=70)})  # fmt: skip
    made = explore(im.PCA(2).fit(frame), frame, nasty * 10, static=tmp_path / "a.html")
    assert isinstance(made, StaticPage)
    text = made.path.read_text("utf-8")
    for text_of_data in (*nasty[:2], "<img"):
        assert text_of_data not in text
    told, _ = parts_of(made.path)
    assert set(told["colours"][0]["levels"]) == set(nasty)
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
    outside = r"""<(?:script|img|iframe)[^>]+src=|<link[^>]+href=["'](?!data:)|@import|url\(["']?(?:https?:)?//"""
    assert not re.search(outside, text)
    assert text.count("</body>") >= 1
