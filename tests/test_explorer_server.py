"""The explorer's server: what it answers, and to whom."""

from __future__ import annotations

import base64
import html
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import isthmus as im
from isthmus import cli
from isthmus.errors import FileError, SettingError
from isthmus.view.explorer import Explorer, explore, explore_files, server
from isthmus.view.explorer.live import Live
from isthmus.view.explorer.opened import gather
from isthmus.view.explorer.state import State

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

pytestmark = pytest.mark.usefixtures("small_page")

ROOT = Path(__file__).parents[1]


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
    try:
        told = got.read()
    except ConnectionResetError:  # closed with what it had not read
        assert got.status >= 400
        told = b""
    answer = Answer(got.status, told, dict(got.getheaders()))
    link.close()
    return answer


@pytest.fixture
def opened(digits: tuple[np.ndarray, np.ndarray], fitted: Any, tmp_path: Path) -> Iterator[Explorer]:
    state = tmp_path / "labels.json"
    with explore(fitted, digits[0], digits[1], browser=False, block=False, state=state) as made:
        yield made  # type: ignore[misc]  # it is served


def test_the_page_and_what_it_is_told(opened: Explorer, small_page: str) -> None:
    page = ask(opened, "GET", "/", X_Isthmus_Token=None)
    assert (page.status, page.body.decode()) == (200, small_page)
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


def test_a_closed_page_frees_its_port(fitted: Any, digits: Any, small_page: str) -> None:
    contents = gather(fitted, digits[0])
    made = Explorer(Live(lambda: (fitted, digits[0]), contents, lambda: None), State(None, "X", 120), small_page)
    assert ask(made, "GET", "/").status == 200
    made.close()
    with pytest.raises(ConnectionRefusedError):
        ask(made, "GET", "/")
    again = server.bound(made.port)
    again.close()


def test_labels_survive_the_page_and_the_process(
    opened: Explorer, tmp_path: Path, fitted: Any, digits: Any, nasty: list[str]
) -> None:
    labels = {str(item): nasty[item % len(nasty)] for item in range(30)}
    saved = ask(opened, "POST", "/api/state", {"labels": labels, "view": {"zoom": 2}, "version": 1})
    assert saved.json == {"saved": str(tmp_path / "labels.json"), "labels": 30}
    assert ask(opened, "GET", "/api/state").json == {"version": 1, "labels": labels, "view": {"zoom": 2}}
    assert opened.labels[3] == nasty[3]
    opened.close()
    state = tmp_path / "labels.json"
    with explore(fitted, digits[0], browser=False, block=False, state=state) as again:
        assert ask(again, "GET", "/api/state").json["labels"] == labels  # type: ignore[arg-type]
    assert not list(tmp_path.glob(".*")), "no file is left half-written"


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
    # A shell starts what runs in its background with Ctrl-C ignored, tests too.
    code = f"""
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from isthmus import cli
from isthmus.view.explorer import server
server.PAGE = Path({str(server.PAGE)!r})
cli.main(sys.argv[1:])
"""
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
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out == ""
    assert "Traceback" not in err
    assert "stopped" in err


def test_the_page_that_was_not_built(fitted: Any, digits: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server, "PAGE", tmp_path / "gone.html")
    with pytest.raises(FileError, match="the page has not been built. Build it with make web"):
        explore(fitted, digits[0], block=False)


def test_explore_files_tells_what_goes_on(fitted: Any, digits: Any) -> None:
    said: list[str] = []
    made = explore_files(lambda: (fitted, digits[0], None), None, None, None, title="m", items="X", python={},
                         browser=False, block=False, said=said.append)  # fmt: skip
    made.close()  # type: ignore[union-attr]
    assert any("encoding 120 items" in line for line in said)
