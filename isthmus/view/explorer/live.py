"""What the page asks while it is open: one item, what codes decode to, labels that spread, further maps.

The page can be there before the model is: it is loaded when the page stands, and the first question waits for it.
"""

from __future__ import annotations

import base64
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from isthmus.errors import DataError, IsthmusWarning, NotSupported, SettingError
from isthmus.view.explorer.cache import Contents

__all__ = ["Live"]

MOST_CODES = 64  # decoded in one call
SUGGESTED = 10
AN_ITEM = {"tsne": 0.008, "umap": 0.004}  # seconds of a map, roughly; before it is there nobody knows better
LEAST = 2.0  # seconds that one is asked to wait
MOST_READ = 200_000  # rows of a file that are read up to the one that is asked for
PATIENCE = 10.0  # seconds that the end waits for the model
PAUSE = 3.0  # seconds in which the page gets all of the processor
MISSING = 65535
WARNINGS = threading.Lock()  # which warnings are shown is one setting of the whole process, of all pages that are open

Loaded = tuple[Any, Any]  # the model and its items


class Live:
    """Answers to the page's questions. One at a time, for they share the model.

    Parameters
    ----------
    load : gives the model and its items; called once, when it is asked for or soon after the start
    contents : what the page was told
    keep : is called when a map was added to the contents
    seed : of maps and labels
    """

    def __init__(self, load: Callable[[], Loaded], contents: Contents, keep: Callable[[], None], seed: int = 0) -> None:
        self.contents, self._keep, self._seed = contents, keep, seed
        self._load = load
        self._lock = threading.Lock()
        self._loading: Future[tuple[Any, Any, Any]] = Future()
        self._maps: dict[str, Future[dict[str, Any]]] = {}
        self._begun: dict[str, float] = {}
        self._spread: Any = None
        self._begun_loading = threading.Event()
        self._timer: threading.Timer | None = None

    def begin_soon(self) -> None:
        """Load what is there to be loaded in a moment, unless it is asked for before."""
        self._timer = threading.Timer(PAUSE, self._begin)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """Wait a while for what is being loaded: a thread that computes while the process ends may take it down."""
        if self._timer is not None:
            self._timer.cancel()
        if self._begun_loading.is_set():
            with suppress(TimeoutError):
                self._loading.exception(PATIENCE)

    @property
    def busy(self) -> bool:
        """Whether the model is being loaded, or a map made."""
        loading = self._begun_loading.is_set() and not self._loading.done()
        return loading or not all(future.done() for future in self._maps.values())

    def _begin(self) -> None:
        with self._lock:
            if self._begun_loading.is_set():
                return
            self._begun_loading.set()
        try:
            with WARNINGS:
                model, X = self._load()
                stored = model._stored(X)
            if len(stored) != self.contents.told["n"]:
                raise DataError(f"there are {len(stored)} items now where there were {self.contents.told['n']}: open "
                                "the page again")  # fmt: skip
            self._loading.set_result((model, X, stored))
        except BaseException as error:
            self._loading.set_exception(error)

    @property
    def _parts(self) -> tuple[Any, Any, Any]:
        """The model, its items, and their stored view, as soon as they are there."""
        self._begin()
        return self._loading.result()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One question at a time; what is only worth knowing, and known from the start, is not said again each time."""
        with self._lock, WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore", IsthmusWarning)
            yield

    # ---- one item, and codes -----------------------------------------------------------------------------------------

    def item(self, given: dict[str, Any]) -> dict[str, Any]:
        """One item: as it is, as it comes back, and where the error lies."""
        import torch

        from isthmus import metrics
        from isthmus.formats.frames import is_table, source_of
        from isthmus.view.explorer.views import contributions, rows_of, views_of

        told = self.contents.told
        index = given.get("index")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < told["n"]:
            raise SettingError(f"index={index!r}: items are called 0 to {told['n'] - 1}")
        model, X, stored = self._parts
        names = self.contents.blobs.get("names")
        with self._alone():
            form, one = model.format_, stored[index : index + 1]
            row = None
            source = source_of(X) if form.spec.kind == "table" and is_table(X) else None
            if source is not None and (source.in_memory or told["n"] <= MOST_READ):
                row = next(rows_of(source.subset(np.array([index]))))
                input_ = {"kind": "row", "cells": row}
            else:
                input_ = views_of(form, form.from_tensor(one))[0]
            found: dict[str, Any] = {"name": None if names is None else names[index], "input": input_, "row": row,
                                     "reconstruction": None, "error": None, "contributions": None}  # fmt: skip
            if callable(getattr(model, "decode", None)):
                code = torch.from_numpy(np.array(self.contents.blobs["codes"][index : index + 1]))
                x, means = form.linear(form.scale(one)), model._in_blocks(model._linear_mean, code)
                found["reconstruction"] = views_of(form, model.decode(code.numpy()))[0]
                found["error"] = float(metrics.squared_error(x, means)[0])
                known = told["item"].get("names")
                found["contributions"] = contributions(form, known, x[0], means[0])
        return found | {"python": f"model.reconstruct(X[{index}:{index + 1}])"}

    def decode(self, given: dict[str, Any]) -> dict[str, Any]:
        """What some codes decode to."""
        from isthmus.view.explorer.views import views_of

        codes = given.get("codes")
        if not isinstance(codes, list) or not 1 <= len(codes) <= MOST_CODES:
            raise SettingError(f"codes: expected a list of 1 to {MOST_CODES} codes")
        model, _, _ = self._parts
        if not callable(getattr(model, "decode", None)):
            raise NotSupported(f"this {type(model).__name__} does not decode")
        with self._alone():
            items = views_of(model.format_, model.decode(codes))
        return {"items": items, "python": "model.decode(codes)"}

    # ---- labels ------------------------------------------------------------------------------------------------------

    def label(self, given: dict[str, Any]) -> dict[str, Any]:
        """Labels of all items from a few."""
        labels = given.get("labels")
        n = self.contents.told["n"]
        if not isinstance(labels, dict) or not all(isinstance(word, str) and word for word in labels.values()):
            raise SettingError('labels: expected {"item": "label", ...}')
        y = np.full(n, None, dtype=object)
        for item, word in labels.items():
            if not (item.isascii() and item.isdecimal() and len(item) < 12 and int(item) < n):
                raise SettingError(f"labels: {item[:40]!r} is no item; they are called 0 to {n - 1}")
            y[int(item)] = word
        from isthmus.verbs.label import label

        model, X, _ = self._parts
        with self._alone():
            if self._spread is None:
                self._spread = label(model, X, y, seed=self._seed)
            else:
                self._spread = self._spread.relabel(y)
            found = self._spread
            free = int((~found.given).sum())
            suggest = found.suggest(min(SUGGESTED, free), seed=self._seed).tolist() if free else []
        levels = [str(name) for name in found.classes]
        places = np.searchsorted(found.classes, found.labels).astype("<u2")
        return {
            "levels": levels, "labels": _packed(places), "confidence": _packed(found.confidence.astype("<f4")),
            "error": None if found.error != found.error else float(found.error), "suggest": suggest,
            "python": "found = im.label(model, X, y)",
        }  # fmt: skip

    # ---- maps and search ---------------------------------------------------------------------------------------------

    def map(self, given: dict[str, Any]) -> dict[str, Any]:
        """A further map; while it is being made, for about how many seconds to wait."""
        name = given.get("name")
        if name not in ("tsne", "umap"):
            raise SettingError(f"name={name!r}: expected 'tsne' or 'umap'")
        known = next((one for one in self.contents.told["maps"] if one["name"] == name), None)
        if known is not None:
            return {"map": known, "python": known["python"]}
        if name not in self._maps:
            self._maps[name], self._begun[name] = Future(), time.monotonic()
            threading.Thread(target=self._make_map, args=(name,), daemon=True).start()
        future = self._maps[name]
        if not future.done():
            left = self._begun[name] + AN_ITEM[name] * self.contents.told["n"] - time.monotonic()
            return {"wait": round(max(left, LEAST), 1)}
        if future.exception() is not None:
            del self._maps[name]  # it may be asked for again, once what is missing is installed
        made = future.result()
        return {"map": made, "python": made["python"]}

    def _make_map(self, name: str) -> None:
        from isthmus.view.explorer.opened import map_of

        try:
            made = map_of(self.contents, name, self._seed)
            self._keep()
            self._maps[name].set_result(made)
        except BaseException as error:
            self._maps[name].set_exception(error)

    def search(self, given: dict[str, Any]) -> dict[str, Any]:
        """Items for a text, where the model understands texts."""
        raise NotSupported(
            f"a {self.contents.told['model']['kind']} has learned no words: search by number, by name, by a filter, or "
            "from an item to those nearest to it"
        )


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()
