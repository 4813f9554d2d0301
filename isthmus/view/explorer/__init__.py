"""A web page over a fitted model: its map of the items, and what the decoder says of the empty places between them."""

from __future__ import annotations

import functools
import hashlib
import html
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from isthmus.errors import FileError, SettingError
from isthmus.view.explorer.cache import Contents, cached, keep, key_of_files, model_hash
from isthmus.view.explorer.lines import reading_of, rows_of_items

__all__ = ["Explorer", "StaticPage", "contents_of", "explore", "explore_files"]

LOG = logging.getLogger("isthmus")
MAPS = ("tsne", "umap")
MOST_IN_CELL = 20 * 2**20  # bytes of a page that a notebook keeps in a cell
HEIGHT = 720  # pixels of the page in a notebook

Load = Callable[[], tuple[Any, Any, Any]]  # the model, its items, their labels
Said = Callable[[str], None]


class StaticPage:
    """A page in one file. In a notebook it is shown, up to 20 MiB.

    Attributes
    ----------
    path : Path
    size : bytes
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"<StaticPage {self.path}, {self.size / 2**20:.1f} MiB>"

    def _repr_html_(self) -> str:
        if self.size > MOST_IN_CELL:
            return f"<p>{html.escape(repr(self))}: too large for a cell, open the file in a browser</p>"
        return _frame("srcdoc", self.path.read_text("utf-8"))


class Explorer:
    """A page that is being served. In a notebook it is shown.

    Attributes
    ----------
    url : the address, with the token that lets one in
    labels : dict of the labels given in the page, by item
    """

    def __init__(self, live: Any, state: Any, page: str, port: int = 0) -> None:
        from isthmus.view.explorer import server

        socket = server.bound(port)
        try:
            self.port, token = int(socket.getsockname()[1]), server.new_token()
            self._server = server.uvicorn_of(server.app_of(live, state, page, token, self.port))
        except BaseException:
            socket.close()
            raise
        self._state, self._socket, self._live = state, socket, live
        live.begin_soon()
        self.url = f"http://127.0.0.1:{self.port}/?token={token}"
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [socket]}, daemon=True)
        self._thread.start()

    @property
    def labels(self) -> dict[int, str]:
        """Labels given in the page so far, by item."""
        return dict(self._state.labels)

    @property
    def busy(self) -> bool:
        """Whether the model is still being loaded, or a map made, which nothing can hurry."""
        return bool(self._live.busy)

    def wait(self) -> None:
        """Serve until Ctrl-C."""
        try:
            while self._thread.is_alive():
                self._thread.join(0.5)
        finally:
            self.close()

    def close(self) -> None:
        """End the server; what was saved stays."""
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()
        self._live.close()

    def __enter__(self) -> Explorer:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Explorer at {self.url}>"

    def _repr_html_(self) -> str:
        return _frame("src", self.url)


def _frame(attribute: str, value: str) -> str:
    return f'<iframe {attribute}="{html.escape(value)}" style="width: 100%; height: {HEIGHT}px; border: 0"></iframe>'


def explore(
    model: Any,
    X: Any,
    labels: Any = None,
    *,
    static: str | os.PathLike[str] | None = None,
    maps: Sequence[str] = (),
    port: int = 0,
    browser: bool | None = None,
    block: bool | None = None,
    state: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Explorer | StaticPage:
    """Open a page over a fitted model and its items, in which the empty places of the map answer too.

    In a notebook the page is shown in the cell. From a script it is opened in the browser and served until Ctrl-C, on
    this machine's own address only, to whoever has the token in the address.

    Parameters
    ----------
    model : fitted, or the path of a saved one. What is worked out is then kept beside the file, and the next start is
        quick; labels given in the page are kept there too
    X : (n, ...) items of the form that was learned, or a path
    labels : (n,) numbers or texts, a colour of the map; None, NaN and "" are missing
    static : write the page as one file with everything in it, for up to 60,000 items, in place of serving it
    maps : "tsne" (extra ``maps``), "umap" (extra ``umap``): maps to make beforehand. The page can ask for them too
    port : default 0, any free one
    browser : whether to open a browser. None: from a script, where there is a display
    block : whether to serve until Ctrl-C. None: from a script
    state : a JSON file for labels given in the page. None: NAME.isthmus.labels.json beside a saved model; for a model
        that was not saved they are in ``labels`` of what is returned, and nowhere else
    seed : of maps, and of which items are looked at

    Returns
    -------
    Explorer, with ``url``, ``labels`` and ``close()``; a StaticPage with ``static``

    Raises
    ------
    NotSupported : the model does not encode
    DataError, FormatError : the items or labels do not go with the model; with ``static``, too many of them
    SettingError : an unknown map, no such port
    FileError : the port is taken; a file cannot be read or written
    MissingExtra : the extra ``explore`` is not installed (``static`` does without)

    Examples
    --------
    >>> import isthmus as im
    >>> X, y = im.datasets.digits(labels=True)
    >>> im.explore(im.PCA(8).fit(X), X, y, static="digits.html").path.name  # doctest: +SKIP
    'digits.html'
    """
    saved = isinstance(model, (str, os.PathLike))
    place = os.fspath(model) if saved else ""
    if state is None and saved:
        state = f"{place}.labels.json"

    @functools.cache
    def load() -> tuple[Any, Any, Any]:
        from isthmus.models import load as read

        return (read(place) if saved else model), X, labels

    paths = isinstance(X, (str, os.PathLike))
    key: dict[str, Any] | None = None
    if saved and (digest := model_hash(place)) is not None:
        told = None if labels is None else _hash_of(str(list(map(str, labels))).encode())
        data = key_of_files(os.fspath(X)) if paths else _content(load()[0], X)
        key = {"model": digest, "data": data, "labels": told, "seed": seed}
    python = {
        "load": f"model = im.load({place!r})" if saved else "# model: as it was given to im.explore",
        "data": "# X: as it was given to im.explore", "rows": rows_of_items(X), "explore": "im.explore(model, X)",
    } | (reading_of([os.fspath(X)]) if paths else {})  # fmt: skip
    python["labels"] = "" if labels is None else "# labels: as they were given to im.explore"
    name = Path(os.fspath(X)).name if paths else "X"
    title = Path(place).name if saved else type(model).__name__
    return explore_files(
        load, key, Path(f"{place}.explorer") if saved else None, None if state is None else Path(state), title=title,
        items=name, python=python, static=static, maps=maps, port=port, browser=browser, block=block, seed=seed,
        said=LOG.info, shown=LOG.info if _in_notebook() else lambda url: _say(f"the explorer is served at {url}"),
    )  # fmt: skip


def explore_files(
    load: Load,
    key: dict[str, Any] | None,
    cache: Path | None,
    state: Path | None,
    *,
    title: str,
    items: str,
    python: dict[str, str],
    static: str | os.PathLike[str] | None = None,
    maps: Sequence[str] = (),
    port: int = 0,
    browser: bool | None = None,
    block: bool | None = None,
    seed: int = 0,
    said: Said = lambda text: None,
    shown: Said | None = None,
) -> Explorer | StaticPage:
    """``explore`` of what ``load`` gives, which is not asked where the cache holds the answer for ``key``.

    Parameters
    ----------
    load : gives the model, its items and their labels; called when they are needed
    key : what the contents are worked out from; None keeps nothing
    cache, state : files for what is worked out, and for what the user does; None keeps nothing
    title, items : names of the model and of the items
    said, shown : are told what is going on, and the address
    """
    from isthmus.view.explorer import server

    if unknown := [name for name in maps if name not in MAPS]:
        raise SettingError(f"maps: {unknown[0]!r} is unknown; there are {', '.join(map(repr, MAPS))}")
    page = server.page_html()
    contents = contents_of(load, key, cache, title=title, python=python, maps=maps, seed=seed, said=said)

    def kept() -> None:
        if key is not None and cache is not None:
            _keep(cache, key, contents, said)

    if static is not None:
        from isthmus.view.explorer.static import write_static

        return StaticPage(Path(static), write_static(static, contents, page))
    from isthmus.view.explorer.live import Live
    from isthmus.view.explorer.state import State

    told = State(state, f"{items}, {contents.told['n']} items", contents.told["n"])
    made = Explorer(Live(lambda: load()[:2], contents, kept, seed), told, page, port)
    notebook = _in_notebook()
    (shown or said)(made.url)
    if browser or (browser is None and not notebook and _display()):
        import webbrowser

        webbrowser.open(made.url)
    if block or (block is None and not notebook):
        try:
            made.wait()
        except KeyboardInterrupt:
            said("stopped")
    return made


def contents_of(
    load: Load,
    key: dict[str, Any] | None,
    cache: Path | None,
    *,
    title: str,
    python: dict[str, str],
    maps: Sequence[str] = (),
    seed: int = 0,
    said: Said = lambda text: None,
) -> Contents:
    """What the page shows: from the cache, or worked out and kept there."""
    contents = cached(cache, key) if cache is not None and key is not None else None
    lacking = list(maps)
    if contents is None:
        from isthmus.view.explorer.opened import gather

        model, X, labels = load()
        contents = gather(model, X, labels, title=title, digest=(key or {}).get("model", ""), maps=maps, python=python,
                          seed=seed, said=said)  # fmt: skip
    else:
        contents.told["title"], contents.told["python"] = title, python
        known = {one["name"] for one in contents.told["maps"]}
        lacking = [name for name in maps if name not in known]
        if not lacking:
            return contents
        from isthmus.view.explorer.opened import map_of

        for name in lacking:
            said(f"making the map {name}; this may take minutes")
            map_of(contents, name, seed)
    if cache is not None and key is not None:
        _keep(cache, key, contents, said)
    return contents


def _keep(cache: Path, key: dict[str, Any], contents: Contents, said: Said) -> None:
    """Keep the contents where they can be kept: a folder may be read-only, and the page does without."""
    try:
        keep(cache, key, contents)
    except FileError as error:
        said(f"note: not kept for the next time: {error}")


def _content(model: Any, X: Any) -> str:
    """What tells items in memory from others."""
    digest = hashlib.sha256()
    stored = model._stored(X)
    digest.update(f"{stored.dtype} {tuple(stored.shape)}".encode())
    for start in range(0, len(stored), 4096):
        digest.update(stored[start : start + 4096].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _hash_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _say(text: str) -> None:
    """A message for people, on standard error."""
    sys.stderr.write(f"isthmus: {text}\n")
    sys.stderr.flush()


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _display() -> bool:
    """Whether a browser would have a screen; without one, Python may start one in the terminal."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
