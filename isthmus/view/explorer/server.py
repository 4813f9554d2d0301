"""The page's server: on this machine alone, for whoever has the token, and with nothing but what was opened.

A page of another site that is open in the same browser may send requests to this address, and may have a name of its
own point here (DNS rebinding). So the host must be the one that was printed, an origin must be that too, and everything
but the page itself, which holds no data, asks for a token that only the printed address tells.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.errors import FileError, IsthmusError, MissingExtra, SettingError
from isthmus.view.explorer.cache import bytes_of

if TYPE_CHECKING:
    from fastapi import FastAPI

    from isthmus.view.explorer.live import Live
    from isthmus.view.explorer.state import State

__all__ = ["PAGE", "app_of", "bound", "new_token", "page_html", "uvicorn_of"]

PAGE = Path(__file__).parent / "page" / "index.html"
HOST = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost", "[::1]")
MOST_BODY = 8 * 2**20  # bytes of a request
ITEM_BLOBS = ("codes", "map/", "colour/")  # whose first axis is the items
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self' http://localhost:* http://127.0.0.1:* vscode-webview:"  # notebooks of this machine
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"cross-origin-resource-policy": b"same-origin",
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def page_html() -> str:
    """The page. Raises FileError where it was not built, which happens in a clone only."""
    try:
        return PAGE.read_text("utf-8")
    except OSError as error:
        raise FileError(f"{PAGE} is missing: the page has not been built. Build it with make web") from error


def new_token() -> str:
    """What the page must show."""
    return secrets.token_urlsafe(24)


def bound(port: int) -> socket.socket:
    """A socket on this machine's own address; port 0 takes any free one.

    Raises
    ------
    SettingError : no such port
    FileError : it is taken, or may not be used
    """
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 2**16:
        raise SettingError(f"port={port!r}: expected a whole number from 0, any free one, to {2**16 - 1}")
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where two programs may otherwise share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))
        made.listen(128)
    except OSError as error:
        made.close()
        raise FileError(f"port {port} cannot be used: {error.strerror or error}. Choose another with port=, or 0 for "
                        "any that is free") from error  # fmt: skip
    return made


def uvicorn_of(app: Any) -> Any:
    """The server that runs the app. Raises MissingExtra."""
    try:
        import uvicorn
    except ImportError as error:
        raise _missing() from error
    settings = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", server_header=False,
                              timeout_graceful_shutdown=2)  # fmt: skip
    return uvicorn.Server(settings)


def _missing() -> MissingExtra:
    return MissingExtra('the explorer needs a server: pip install "isthmus[explore]"')


def app_of(live: Live, state: State, html: str, token: str, port: int) -> FastAPI:
    """The app that answers the page."""
    try:
        from fastapi import FastAPI, Response
        from fastapi.concurrency import run_in_threadpool
    except ImportError as error:
        raise _missing() from error

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    contents = live.contents

    def answer(value: Any, status: int = 200) -> Response:
        return Response(json.dumps(value, ensure_ascii=False, allow_nan=False).encode(), status, {},
                        "application/json")  # fmt: skip

    async def asked(request: Any) -> Any:
        try:
            value = json.loads(await request.body())
        except (ValueError, RecursionError) as error:
            raise SettingError("the request is no JSON") from error
        if not isinstance(value, dict):
            raise SettingError("the request is no JSON object")
        return value

    async def told(request: Any, error: Exception) -> Response:
        return answer({"error": str(error)}, 400)

    async def nothing(request: Any, error: Exception) -> Response:
        return answer({"error": f"nothing is at {request.url.path[:80]}"}, getattr(error, "status_code", 404))

    async def failed(request: Any, error: Exception) -> Response:
        return answer({"error": f"{type(error).__name__}: {error}"[:500]}, 500)

    async def page(request: Any) -> Response:
        return Response(html, 200, {}, "text/html")

    async def opened(request: Any) -> Response:
        return answer(contents.told)

    def blob(request: Any) -> Response:
        name = request.path_params["name"]
        found = contents.blobs.get(name)
        if found is None:
            return answer({"error": f"there is no blob {name[:80]!r}"}, 404)
        start, stop = request.query_params.get("from"), request.query_params.get("to")
        if start is not None or stop is not None:
            if not name.startswith(ITEM_BLOBS):
                raise SettingError(f"{name} has no items to choose from: ask for the whole")
            found = found[_whole("from", start, 0) : _whole("to", stop, len(found))]
        kind = "image/png" if name.startswith("sheet/") else "application/octet-stream"
        return Response(bytes_of(found), 200, {}, "application/json" if name == "names" else kind)

    def post(question: Callable[[dict[str, Any]], Any]) -> Any:
        async def route(request: Any) -> Response:
            made = await run_in_threadpool(question, await asked(request))
            return answer(made, 202 if "wait" in made else 200)

        return route

    def save(given: dict[str, Any]) -> dict[str, Any]:
        state.put(given)
        return {"saved": None if state.path is None else str(state.path), "labels": len(state.labels)}

    async def saved(request: Any) -> Response:
        return answer(state.get())

    app.add_route("/", page, ["GET"])
    app.add_route("/api/opened", opened, ["GET"])
    app.add_route("/api/blob/{name:path}", blob, ["GET"])
    app.add_route("/api/state", saved, ["GET"])
    questions = {"item": live.item, "decode": live.decode, "label": live.label, "map": live.map, "search": live.search,
                 "state": save}  # fmt: skip
    for name, question in questions.items():
        app.add_route(f"/api/{name}", post(question), ["POST"])
    handlers: list[tuple[Any, Any]] = [(IsthmusError, told), (404, nothing), (405, nothing), (Exception, failed)]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
    app.add_middleware(_Guard, token=token, port=port)
    return app


def _whole(name: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise SettingError(f"{name}={text[:40]!r}: expected the number of an item")
    return int(text)


class _Guard:
    """Lets through what comes from the page itself, and is not too large."""

    def __init__(self, app: Any, token: str, port: int) -> None:
        self.app, self.token = app, token.encode()
        self.hosts = {f"{name}:{port}".encode() for name in NAMES}
        self.origins = {b"http://" + host for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        refused = self._refused(scope, headers)
        if refused is not None:
            await self._refuse(send, *refused)
            return
        body = bytearray()
        while scope["method"] not in ("GET", "HEAD"):
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > MOST_BODY:
                await self._refuse(send, 413, f"a request may have {MOST_BODY >> 20} MiB at most")
                return
            if not message.get("more_body"):
                break
        given = False

        async def again() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in HEADERS]
                message["headers"] = [*kept, *HEADERS.items()]
            await send(message)

        await self.app(scope, again, guarded)

    def _refused(self, scope: Scope, headers: dict[bytes, list[bytes]]) -> tuple[int, str] | None:
        """Status and reason; None for what may pass."""
        hosts, origins = headers.get(b"host", []), headers.get(b"origin", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return 403, "this server answers to its own address only"
        if len(origins) > 1 or any(origin.lower() not in self.origins for origin in origins):
            return 403, "pages of other sites have no business here"
        lengths = headers.get(b"content-length", [])
        if any(not length.isdigit() or int(length) > MOST_BODY for length in lengths):
            return 413, f"a request may have {MOST_BODY >> 20} MiB at most"
        tokens = headers.get(b"x-isthmus-token", [])
        right = len(tokens) == 1 and hmac.compare_digest(tokens[0], self.token)
        if scope["path"] != "/" and not right:
            return 403, "the token is missing or wrong: open the address that was printed"
        return None

    async def _refuse(self, send: Send, status: int, reason: str) -> None:
        body = json.dumps({"error": reason}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
                   (b"connection", b"close"), *HEADERS.items()]  # fmt: skip
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
