"""What the user has done in the page, in one JSON file beside the model, so that neither a reload nor a crash loses it.

One file holds the labels and the view of every set of items that was opened with the model, under the set's name.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from isthmus.errors import DamagedFileError, DataError, FileError

__all__ = ["State"]

VERSION = 1
LONGEST = 200  # characters of a label
MEND = "Move it away, or name another file with state="


class State:
    """The labels and the view of one set of items.

    Parameters
    ----------
    path : the file; None keeps the state in this process only
    items : names the set, such as "digits.npy, 1797 items"
    count : number of items

    Raises
    ------
    DamagedFileError : there is a file, and it holds no labels; it is left as it is
    """

    def __init__(self, path: Path | None, items: str, count: int) -> None:
        self.path, self.items, self.count = path, items, count
        self._lock = threading.Lock()
        self._own: dict[str, Any] = self._read().get(items, {})

    def get(self) -> dict[str, Any]:
        """What was saved last; empty at first."""
        return self._own

    @property
    def labels(self) -> dict[int, str]:
        """Labels given in the page, by item."""
        return {int(item): label for item, label in self._own.get("labels", {}).items()}

    def put(self, given: Any) -> None:
        """Keep what the page sent. Raises DataError for anything else, FileError where it cannot be written."""
        labels, view = (given.get(name, {}) for name in ("labels", "view")) if isinstance(given, dict) else (None, None)
        if not isinstance(labels, dict) or not isinstance(view, dict):
            raise DataError('expected {"labels": {item: label}, "view": {...}, "version": 1}')
        for item, label in labels.items():
            if not (item.isascii() and item.isdecimal() and len(item) < 12 and int(item) < self.count):
                raise DataError(f"labels: {item[:40]!r} is no item; they are called 0 to {self.count - 1}")
            if not isinstance(label, str) or not label or len(label) > LONGEST:
                raise DataError(f"labels: that of item {item} is no text of 1 to {LONGEST} characters")
        if any("\ud800" <= sign <= "\udfff" for label in labels.values() for sign in label):
            raise DataError("labels: one holds half a character (a lone surrogate), which no file can hold")
        own = {"version": VERSION, "labels": labels, "view": view}
        with self._lock:
            if self.path is not None:
                self._write(own)
            self._own = own

    def _write(self, own: dict[str, Any]) -> None:
        from isthmus.store import atomic_path

        assert self.path is not None
        sets = self._read() | {self.items: own}  # another page may have written of another set meanwhile
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps({"version": VERSION, "sets": sets}, ensure_ascii=False, indent=1), "utf-8")

    def _read(self) -> dict[str, Any]:
        """Every set of the file."""
        if self.path is None:
            return {}
        try:
            saved = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise FileError(f"{self.path} cannot be read: {error.strerror or error}. {MEND}") from error
        except (ValueError, RecursionError) as error:
            raise DamagedFileError(f"{self.path} should hold labels and cannot be read: {error}. {MEND}") from error
        sets = saved.get("sets") if isinstance(saved, dict) and saved.get("version") == VERSION else None
        if not isinstance(sets, dict) or not all(isinstance(one, dict) for one in sets.values()):
            raise DamagedFileError(f"{self.path} holds no labels as Isthmus writes them. {MEND}")
        return sets
