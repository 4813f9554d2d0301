"""Stored rows in a file: the stored view of data that does not fit in memory, and what fits.

A memory map would do as well until the day it is limited, or counted: its pages are the process's own for as long as
the system likes. Here a row is in memory while somebody holds it, and no longer.

Letters: n rows; D... the axes of one row.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import DataError
from isthmus.formats.room import MEMORY_SHARE, CacheFile, cache_folder, fits_in_memory, memory_limit

__all__ = ["MEMORY_SHARE", "AllBut", "Rows", "RowsWriter", "cache_folder", "fits_in_memory", "in_parts", "memory_limit"]

GAP = 2**15  # bytes: to read over so many costs less than to ask the system once more
SPAN = 2**22  # bytes that are read in one go at most, to pick rows from


class Rows:
    """(n, D...) stored rows in a file, read with ``os.preadv``: no memory map, so that memory and addresses stay flat.

    Stands for the torch tensor of the same content wherever a stored view is read, from any thread: ``len``,
    ``shape``, ``dtype``, ``rows[i]``, ``rows[a:b:step]``, ``rows[index]``, ``index_select``, ``split``. What is read is
    an ordinary tensor on the CPU. Nothing writes to it. Made by ``RowsWriter``; the file goes with the last reference.

    Attributes
    ----------
    shape : (n, D...); dtype : torch's; ndim, device (the CPU)
    """

    device = torch.device("cpu")

    def __init__(self, file: CacheFile, n: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self._file = file
        self.shape = torch.Size((n, *shape))
        self.dtype = dtype
        self.ndim = 1 + len(shape)
        self._in_row = math.prod(shape) * dtype.itemsize  # bytes

    def __len__(self) -> int:
        return self.shape[0]

    def numel(self) -> int:
        """Number of elements of all rows."""
        return math.prod(self.shape)

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    def to(self, device: torch.device | str) -> Self:
        """Itself, for the CPU. TypeError for another device: rows go there after they are read."""
        if torch.device(device).type != "cpu":
            raise TypeError(f"rows in a file cannot lie on {device}: read some, rows[a:b].to({str(device)!r})")
        return self

    def __getitem__(self, index: Any) -> Tensor:
        """One row (D...) for a whole number; (m, D...) for a slice, m whole numbers, or n bools.

        Whole numbers may come in any order and more than once, as a tensor, an array or a list of one axis. Raises
        IndexError as tensors do, and for all else that tensors take; FileError where the file cannot be read.
        """
        if isinstance(index, slice):
            places = range(*index.indices(len(self)))
            if places.step < 1:
                raise ValueError("the step of a slice must be 1 or more")
            if places.step > 1:
                return self._picked(np.arange(places.start, places.stop, places.step))
            rows = self._empty(len(places))
            self._file.read(_bytes_of(rows), places.start * self._in_row)
            return rows
        if not isinstance(index, bool) and (isinstance(index, int | np.integer) or getattr(index, "shape", None) == ()):
            return self._picked(self._places([operator.index(index)]))[0]
        return self._picked(self._places(index))

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """``rows[index]``; there is no other ``dim`` than 0."""
        if dim:
            raise IndexError(f"rows in a file are selected along axis 0, not {dim}")
        return self[index]

    def split(self, size: int) -> Iterator[Tensor]:
        """All rows in order, ``size`` at a time, each read when it is asked for."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def __repr__(self) -> str:
        return f"<Rows {tuple(self.shape)} of {self.dtype} in a file>"

    def _empty(self, count: int) -> Tensor:
        return torch.empty((count, *self.shape[1:]), dtype=self.dtype)

    def _places(self, index: Any) -> np.ndarray:
        """An index as whole numbers from 0, (m,) int64."""
        places = index.cpu().numpy() if isinstance(index, Tensor) else np.asarray(index)
        if places.dtype == bool and places.shape == (len(self),):
            return np.flatnonzero(places)
        if places.ndim != 1 or (places.dtype.kind != "i" and places.size):
            raise IndexError(f"{len(self)} rows take a slice, whole numbers in one axis, or {len(self)} bools")
        places = places.astype(np.int64)
        if places.size and not -len(self) <= places.min() <= places.max() < len(self):
            raise IndexError(f"rows from {places.min()} to {places.max()} asked of {len(self)}")
        return np.where(places < 0, places + len(self), places)

    def _picked(self, places: np.ndarray) -> Tensor:
        """Rows by whole numbers from 0: neighbours in the file are read together, and each lands in its own place."""
        rows = self._empty(len(places))
        if not rows.numel():
            return rows
        into = _bytes_of(rows).reshape(len(places), self._in_row)
        rising = bool((places[1:] >= places[:-1]).all())
        order = np.arange(len(places)) if rising else np.argsort(places, kind="stable")
        places = places if rising else places[order]
        most, near = max(SPAN // self._in_row, 1), max(GAP // self._in_row, 1)
        for first, last in pairwise([0, *(np.flatnonzero(np.diff(places) > near) + 1).tolist(), len(places)]):
            while first < last:
                base = int(places[first])
                stop = first + int(np.searchsorted(places[first:last], base + most))
                some = places[first:stop] - base
                if rising and some[-1] == len(some) - 1 and (np.diff(some) == 1).all():
                    self._file.read(into[first:stop], base * self._in_row)
                else:
                    block = np.empty((some[-1] + 1, self._in_row), np.uint8)
                    self._file.read(block, base * self._in_row)
                    into[order[first:stop]] = block[some]
                first = stop
        return rows


class RowsWriter:
    """Writes rows to a file in ``cache_folder()`` and gives them back as ``Rows``. A context manager.

    Parameters
    ----------
    shape : (D...), of one row
    dtype : of every row
    n : how many rows are expected, so that the room is looked for first; None where nobody knows

    Raises
    ------
    FileError : no permission, or no room (at once where ``n`` is given); the message names folder, bytes and the mend

    Examples
    --------
    >>> import torch
    >>> from isthmus.formats.rows import RowsWriter
    >>> with RowsWriter((3,), torch.float32) as writer:
    ...     writer.append(torch.zeros(2, 3))
    ...     rows = writer.finish()
    >>> rows[1:].shape
    torch.Size([1, 3])
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, n: int | None = None) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self.n_rows = 0
        self._file = CacheFile(None if n is None else n * math.prod(shape) * dtype.itemsize)
        self._finished = False

    def append(self, rows: Tensor) -> None:
        """Rows (m, D...) after those before. DataError for another shape or dtype, FileError where the disk is full."""
        if tuple(rows.shape[1:]) != self.shape or rows.dtype != self.dtype or not rows.ndim:
            wanted = ", ".join(map(str, ("m", *self.shape)))
            raise DataError(f"rows ({wanted}) of {self.dtype} expected, {tuple(rows.shape)} of {rows.dtype} given")
        self._file.write(_bytes_of(rows.detach().cpu().contiguous()))
        self.n_rows += len(rows)

    def finish(self) -> Rows:
        """The rows that were written. Nothing is appended afterwards."""
        self._finished = True
        return Rows(self._file, self.n_rows, self.shape, self.dtype)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._finished:
            self._file.close()


class AllBut:
    """The whole numbers from 0 to n - 1 but some, rising: numbers of rows that take no memory, however many there are.

    Stands for the tensor (m,) int64 of them: ``len``, ``numbers[a:b:step]`` and ``numbers[index]`` give tensors.

    Parameters
    ----------
    n : how many there are with those left out
    left_out : different whole numbers below n, in any order; few
    """

    def __init__(self, n: int, left_out: Any = ()) -> None:
        self.n = n
        self.left_out = np.sort(np.asarray(left_out, dtype=np.int64))
        self._before = self.left_out - np.arange(len(self.left_out))  # how many others come before each

    def __len__(self) -> int:
        return self.n - len(self.left_out)

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        places = np.arange(*index.indices(len(self))) if isinstance(index, slice) else index.numpy()
        return torch.from_numpy(places + np.searchsorted(self._before, places, "right"))

    def within(self, start: int, stop: int) -> np.ndarray:
        """Those from ``start`` to before ``stop``, (k,) int64."""
        here = np.ones(max(min(stop, self.n) - start, 0), bool)
        first, last = np.searchsorted(self.left_out, [start, max(stop, start)])
        here[self.left_out[first:last] - start] = False
        return np.flatnonzero(here) + start


def in_parts(pieces: Iterator[Tensor], rows: int) -> Iterator[Tensor]:
    """The same rows, exactly so many rows at a time; where they break, what came before is given first."""
    held: list[Tensor] = []
    waiting, broken = 0, None
    while broken is None:
        try:
            codes = next(pieces, None)
        except Exception as error:
            codes, broken = None, error
        if codes is None:
            break
        held.append(codes)
        waiting += len(codes)
        if waiting >= rows:
            parts = torch.cat(held).split(rows)
            waiting %= rows
            held = [parts[-1]] if waiting else []
            yield from parts[: len(parts) - len(held)]
    if held:
        yield torch.cat(held)
    if broken is not None:
        raise broken


def _bytes_of(rows: Tensor) -> np.ndarray:
    """The memory of a contiguous tensor, (bytes,) uint8."""
    return rows.reshape(-1).view(torch.uint8).numpy()
