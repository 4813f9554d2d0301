"""Find the items nearest to a query, by their codes.

An ``Index`` keeps the codes of items with their names and columns, in memory or in one file on disk. Up to 10,000 codes
are compared exactly; more are put in cells, of which as many are looked at as it takes to find 97 % of the true nearest
(`isthmus.verbs.probing`, `isthmus.verbs.inverted_file`).

Shapes: n items; m queries; K coordinates of a code; k neighbours.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from isthmus.errors import DataError, FormatError, NotSupported, SettingError
from isthmus.verbs.expressions import weights_of
from isthmus.verbs.inverted_file import METRICS, InvertedFile

__all__ = ["Index", "Neighbours", "codes_of", "identity", "index", "search"]

SETTINGS_APART = ("skip_corrupt",)  # of a format: they change no code


class Neighbours(NamedTuple):
    """The nearest items of each query, the nearest first.

    Attributes
    ----------
    rows : (m, k) int64, the number of each item: 0, 1, ... in the order in which they were added. (k,) for one query
    distances : of the same shape, float64: Euclidean, in the unit of the codes; or 1 - cosine
    names : lists of the same shape, or None where the items have no names
    """

    rows: np.ndarray
    distances: np.ndarray
    names: list[Any] | None


class Index:
    """Codes of items that can be searched, added to and deleted from. Made by ``index``; also a context manager.

    Parameters
    ----------
    path : file of an index that was built before
    model : the model that it was built with, to search by items and to add some; None: by codes, names and expressions

    Raises
    ------
    FileError : there is no such file; DamagedFileError : it is no index; FutureFileError : of a newer version
    DataError : it was built with another model
    """

    def __init__(self, path: str | os.PathLike[str], model: Any = None) -> None:
        self._adopt(InvertedFile(path), model)

    @classmethod
    def _of(cls, file: InvertedFile, model: Any) -> Self:
        made = cls.__new__(cls)
        made._adopt(file, model)
        return made

    def _adopt(self, file: InvertedFile, model: Any) -> None:
        self._file, self.model = file, model
        built, given = file.meta.get("model"), None if model is None else identity(model)
        if given is not None and built != given:
            file.close()
            raise DataError(
                f"{file.name} was built with another model (hash {str(built)[:12]}, and this one's is {given[:12]}), "
                "whose codes mean something else: give that model, or build the index again"
            )

    def __len__(self) -> int:
        return len(self._file)

    @property
    def named(self) -> bool:
        """Whether items have names."""
        return bool(self._file.meta["names"])

    @property
    def names(self) -> list[str] | None:
        """Names of the items in the order of their rows, None where they have none."""
        return self._file.names() if self.named else None  # type: ignore[return-value]

    def search(
        self, query: Any = None, k: int = 10, *, codes: Any = None, text: str | None = None, where: str | None = None,
        exact: bool = False, own: bool = False,
    ) -> Neighbours:  # fmt: skip
        """The k nearest items.

        Parameters
        ----------
        query : items in the model's own form (m of them); or a text: the name of an item, or an expression of names
            such as "king - man + woman"; or the row of an item, a whole number
        k : how many, from 1 to the number of items (that pass the filter). Default 10
        codes : (m, K) or (K,), in place of ``query``
        text : in place of ``query``, for models that encode text
        where : a condition on columns in SQL's words, such as "age > 30 and city = 'Paris'"; None: all items
        exact : compare with every code. Default False: with those of the nearest cells
        own : whether items that the query names may be found. Default False: they are left out

        Returns
        -------
        Neighbours (m, k); (k,) where the query is a text, a row or one code

        Raises
        ------
        DataError, FormatError : the query is of another shape, a name is unknown, k is above the number of items, the
            filter cannot be read
        SettingError : k is no whole number from 1
        NotSupported : items are given to an index that was opened without its model; the model has no text
        """
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise SettingError(f"k={k!r}: expected how many neighbours, a whole number from 1")
        if sum(one is not None for one in (query, codes, text)) != 1:
            raise SettingError("search needs one of query, codes and text")
        named: dict[str, int] = {}
        if isinstance(query, str):
            weights = self._weights(query)
            named = {name: self._file.row_of(name) for name in weights}
            asked, one = self._sum(weights), True
        elif isinstance(query, (int, np.integer)) and not isinstance(query, bool):
            named = {"": int(query)}
            asked, one = self._file.code_of(int(query))[None], True
        elif text is not None:
            asked, one = self._of_text(text), True
        elif codes is not None:
            asked, one = self._of_codes(codes), np.ndim(codes) == 1
        else:
            asked, one = codes_of(self._model("search by items"), query), False
        rows = None if where is None else self._file.rows_where(where)
        found, distances = self._file.search(
            asked, int(k), rows=rows, exact=exact, without=() if own else tuple(named.values())
        )
        names: list[Any] | None = None
        if self._file.meta["names"]:
            flat = self._file.names_of(found)
            names = [flat[start : start + int(k)] for start in range(0, len(flat), int(k))]
        if one:
            return Neighbours(found[0], distances[0], None if names is None else names[0])
        return Neighbours(found, distances, names)

    def add(
        self, X: Any = None, names: Sequence[str] | None = None, columns: Any = None, *, codes: Any = None
    ) -> np.ndarray:
        """Add items in one transaction: all of them are there afterwards, or none.

        Parameters
        ----------
        X : items in the model's own form; or ``codes`` (n, K)
        names : one for each, where the index has names
        columns : the columns that the index has, as a mapping or frame

        Returns
        -------
        (n,) int64, their rows

        Raises
        ------
        DataError : names or columns that do not fit, a name that is there already
        FileError : the file may not be written, or another process holds it for more than half a minute
        """
        if (X is None) == (codes is None):
            raise SettingError("add needs items, or codes=")
        made = codes_of(self._model("add items"), X) if codes is None else np.atleast_2d(self._of_codes(codes))
        return self._file.add(made, names, columns_of(columns))

    def delete(self, names: Sequence[str] = (), rows: Sequence[int] = (), where: str | None = None) -> int:
        """Delete items by name, row or filter, in one transaction; gives how many. What is not there is an error."""
        names = [names] if isinstance(names, str) else names
        chosen = {self._file.row_of(name) for name in names} | {
            int(row) for row in np.atleast_1d(np.asarray(rows, int))
        }
        if where is not None:
            chosen |= set(self._file.rows_where(where).tolist())
        return self._file.delete(sorted(chosen))

    def code(self, name: str) -> np.ndarray:
        """(K,) float32: the code of the item of this name, or of an expression of names."""
        return self._sum(self._weights(name))[0]

    def close(self) -> None:
        """Let go of the file; closing twice is no error."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        meta = self._file.meta
        return f"<Index {self._file.name}: {len(self):,} codes of {meta['width']} numbers, {meta['metric']}>"

    # ---- queries -----------------------------------------------------------------------------------------------------

    def _model(self, what: str) -> Any:
        if self.model is None:
            raise NotSupported(f"to {what}, open the index with its model: Index(path, model)")
        return self.model

    def _weights(self, query: str) -> dict[str, float]:
        """A name as it stands, else an expression."""
        try:
            self._file.row_of(query)
            return {query: 1.0}
        except DataError as lost:
            try:
                return weights_of(query)
            except DataError as unread:
                raise (unread if any(sign in query for sign in "+*/()\"'") else lost) from None

    def _sum(self, weights: Mapping[str, float]) -> np.ndarray:
        """(1, K) of a weighted sum of names."""
        total = np.zeros(self._file.meta["width"])
        for name, weight in weights.items():
            total += weight * self._file.code_of(self._file.row_of(name))
        return total.astype(np.float32)[None]

    def _of_codes(self, codes: Any) -> np.ndarray:
        width = self._file.meta["width"]
        try:
            made = np.ascontiguousarray(np.asarray(codes), dtype=np.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise FormatError(f"codes must be an array of numbers (m, {width}): {error}") from error
        made = made[None] if made.ndim == 1 else made
        if made.ndim != 2 or made.shape[1] != width or not len(made):
            raise DataError(
                f"codes of shape {np.shape(codes)} given, but {self._file.name} holds codes of {width} numbers"
            )
        if not (np.abs(made) < 1e18).all():
            raise DataError(f"code {int(np.argmin((np.abs(made) < 1e18).all(1)))} is not finite, or beyond 1e18")
        return made

    def _of_text(self, text: str) -> np.ndarray:
        model = self._model("search by text")
        if not isinstance(text, str):
            raise FormatError(f"text={text!r}: expected a text")
        if hasattr(model, "encode_text"):
            return np.atleast_2d(self._of_codes(model.encode_text([text])))
        if model.format_.spec.kind == "tokens":
            return codes_of(model, [text])
        raise NotSupported(
            f"search by text needs a model that encodes text, and this {type(model).__name__} was fitted to items of "
            f"the kind {model.format_.spec.kind}: fit one to text, or one that learns items and text together"
        )


def index(
    model: Any,
    X: Any = None,
    path: str | os.PathLike[str] | None = None,
    names: Sequence[str] | None = None,
    columns: Any = None,
    *,
    codes: Any = None,
    metric: str = "euclidean",
    recall: float = 0.97,
    seed: int = 0,
) -> Index:
    """Build a searchable index of items; without items, open the one at ``path``.

    Codes rest in cells around centres that k-means finds (an inverted file: Jégou, Douze & Schmid 2011), in one SQLite
    database. Each later change is a transaction: a process may be killed in it, and the index is as it was.

    Parameters
    ----------
    model : any fitted embedding
    X : n items in its own form; or ``codes`` (n, K) that it gave before
    path : file to keep the index in, such as items.index; one that is there is replaced when the new one is whole.
        None, the default: memory
    names : n different texts, to search by and to compute with: words, file names
    columns : what filters look at: a mapping of names to n values each, or a frame. Numbers, text, moments, None
    metric : "euclidean", the default, or "cosine": by direction alone
    recall : share of the true 10 (and 100) nearest that a search shall find. Default 0.97. Found out on 1,000 of the
        items whenever cells are made; those of other sets may find a little less. 1: all cells are looked at
    seed : of the cells

    Returns
    -------
    Index

    Raises
    ------
    DataError, FormatError : items, names or columns do not fit, a name stands twice
    SettingError : a metric or recall that there is not
    FileError : the file cannot be written, or is not there

    Examples
    --------
    >>> import isthmus as im
    >>> X, y = im.datasets.digits(labels=True)
    >>> model = im.PCA(16).fit(X)
    >>> from isthmus.verbs.search import index
    >>> with index(model, X, columns={"digit": y}) as found:
    ...     found.search(X[:2], k=3, where="digit <> 0").rows.shape
    (2, 3)
    """
    if X is None and codes is None:
        if path is None:
            raise SettingError("index needs items (or codes=) to build one, or the path of one to open")
        return Index(path, model)
    if X is not None and codes is not None:
        raise SettingError("index takes items or codes=, not both")
    if metric not in METRICS:
        raise SettingError(f"metric={metric!r}: expected one of {', '.join(map(repr, METRICS))}")
    if isinstance(recall, bool) or not isinstance(recall, (int, float)) or not 0 < recall <= 1:
        raise SettingError(f"recall={recall!r}: expected a share above 0 and at most 1")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise SettingError(f"seed={seed!r}: expected a whole number from 0 to {2**32 - 1}")
    if codes is None:
        made = codes_of(model, X)
    else:
        made = model._codes(codes).numpy()
    held = columns_of(columns) or {}
    meta = {"model": identity(model), "width": made.shape[1], "metric": metric, "names": names is not None,
            "columns": list(held), "recall": float(recall), "seed": int(seed)}  # fmt: skip
    return Index._of(InvertedFile.make(path, meta, {"codes": made, "names": names, "columns": held}), model)


def search(index: Index | str | os.PathLike[str], query: Any, k: int = 10, **given: Any) -> Neighbours:
    """``index.search(query, k, ...)``; an index named by its file is opened for the search.

    A file opened so can be asked by names and expressions; to ask with items, open it with its model: ``Index``.
    """
    if isinstance(index, Index):
        return index.search(query, k, **given)
    with Index(index) as opened:
        return opened.search(query, k, **given)


def identity(model: Any) -> str:
    """What the codes of a model depend on, as 64 hexadecimal digits: sha256 over its format, width and tensors.

    The same before and after saving, whatever its prior, settings and history say. Another length of code, a further
    epoch or another scaling gives other digits.
    """
    form = {name: value for name, value in model.format_.to_json().items() if name not in SETTINGS_APART}
    head = {"model": model.word, "latent_dim": int(model.latent_dim_), "format": form}
    sha = hashlib.sha256(json.dumps(head, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model._tensors().items()):
        array = np.ascontiguousarray(tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else tensor)
        sha.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        sha.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return sha.hexdigest()


def codes_of(model: Any, X: Any) -> np.ndarray:
    """Codes (n, K) of items; of one item without the axis of items, too, where that can be told."""
    try:
        return np.asarray(model.encode(X))
    except DataError as error:
        shape = tuple(getattr(X, "shape", ()))
        if not shape or shape[0] == 0:
            raise
        try:
            return np.asarray(model.encode(X[None]))
        except (DataError, TypeError, IndexError, KeyError, ValueError):
            raise error from None


def columns_of(columns: Any) -> dict[str, list[Any]] | None:
    """Columns as lists by name, of a mapping or a frame."""
    if columns is None:
        return None
    if isinstance(columns, Mapping):
        if lost := [
            name for name, values in columns.items() if isinstance(values, str) or not hasattr(values, "__len__")
        ]:
            raise DataError(f"column {lost[0]!r} is no list of values; expected one value for each item")
        return {
            str(name): [_value(value, name, place) for place, value in enumerate(values)]
            for name, values in columns.items()
        }
    from isthmus.formats.frames import source_of

    source = source_of(columns)
    held: dict[str, list[Any]] = {name: [] for name in source.schema.names}
    for batch in source.batches():
        for name, values in batch.to_pydict().items():
            start = len(held[name])
            held[name] += [_value(value, name, place) for place, value in enumerate(values, start)]
    return held


def _value(value: Any, column: str, place: int) -> Any:
    """What SQLite can hold and compare: numbers, text, NULL; moments as text that sorts."""
    if isinstance(value, (np.datetime64, np.timedelta64)):  # finer than Python's, they would become plain numbers
        fine = np.datetime_data(value.dtype)[0] in ("ns", "ps", "fs", "as")
        value = value.astype(value.dtype.kind + "8[us]") if fine else value
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, int)):
        if not -(2**63) <= value < 2**63:
            raise DataError(f"column {column!r}, item {place}: {value} is beyond 64 bits. Give it as text")
        return int(value)
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, (datetime.date, datetime.time)):
        return None if str(value) == "NaT" else str(value)
    if str(value) in ("NaT", "<NA>"):
        return None
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    raise DataError(
        f"column {column!r}, item {place} is a {type(value).__name__}; numbers, text, moments and None are held"
    )
