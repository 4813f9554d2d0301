"""Batches that together do not fit in memory, read once into one array on disk.

Letters: n items; D... the axes of one item.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from isthmus.errors import DataError, FileError, FormatError
from isthmus.formats.arrays import as_array, chunks
from isthmus.formats.files import read
from isthmus.formats.room import CacheFile
from isthmus.formats.saved import shortened

__all__ = ["stream"]


def stream(batches: Iterable[Any] | Callable[[], Iterable[Any]]) -> np.ndarray:
    """Batches of items as one array that lies on disk, for every ``fit``, ``encode`` and ``evaluate``.

    The batches are read once, in order, and written as they are to a file in the cache folder (ISTHMUS_CACHE names
    another); what comes back is that file, mapped: nothing of it is in memory but what is being looked at. Once is
    enough: the epochs of training, the held-out part and the baselines read the file, however slow or random the
    source is, and all see the same items. It costs the disk n times the bytes of an item for as long as the array is
    referred to; then, or when the process ends in whatever way, the space is free again: the file has no name.

    Parameters
    ----------
    batches : what gives batches when it is iterated (a list, a generator, torch's DataLoader), or a function without
        arguments that returns such a thing. A batch is anything that is read as an array (n_i, D...), NumPy or torch;
        or the path of a file that ``isthmus.formats.files.read`` takes for one, such as .npy; or a tuple, of which the
        first element is taken: (items, labels). So is that of a list of two where the second holds one number an item,
        as torch's DataLoader makes it. All are of one dtype and one shape D...; a batch may be empty

    Returns
    -------
    (n, D...) array, read-only (``np.memmap``), of the dtype of the batches (bfloat16 as float32)

    Raises
    ------
    DataError : a batch of another dtype or shape than the first, by its number from 0; no items at all
    FormatError : what is no array of numbers, or gives no batches
    FileError : a path that cannot be read; no room in the cache folder, or no permission

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus.formats.streams import stream
    >>> X = stream(np.full((100, 3), i) for i in range(10))
    >>> X.shape, X[150].tolist()
    ((1000, 3), [1, 1, 1])
    """
    file, n = CacheFile(), 0
    learned: tuple[np.dtype[Any], tuple[int, ...]] | None = None  # dtype and shape of the items
    try:
        source = _iterated(batches)
        for number, batch in enumerate(source):
            array = _array_of(batch, number, collated=isinstance(source, DataLoader))
            dtype, shape = learned = learned or (array.dtype, array.shape[1:])
            if (array.dtype, array.shape[1:]) != learned:
                raise DataError(
                    f"batch {number} holds items of shape {array.shape[1:]} and dtype {array.dtype}, but batch 0 had"
                    f" {shape} and {dtype}: make all batches alike, for example with .astype({dtype.name!r}) and by"
                    " cutting or resizing the items"
                )
            for rows in chunks(array):
                file.write(np.ascontiguousarray(array[rows]))
            n += len(array)
        if learned is None:
            raise DataError("there are no batches; a generator gives them only once: give the function that makes it")
        if not file.size:
            raise DataError("the batches hold no items")
        return _map(file, learned[0], (n, *learned[1]))
    finally:
        file.close()  # the map has a hold of its own on the file


def _map(file: CacheFile, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.memmap(file.file, dtype, "r", shape=shape)
    except (OSError, MemoryError) as error:  # an address space that is limited, for example
        raise FileError(f"the file of {file.size:,} bytes in {file.folder} cannot be mapped: {error}") from error


def _iterated(batches: Any) -> Iterable[Any]:
    """What gives the batches. Raises FormatError for what people try and that is none."""
    if isinstance(batches, str | os.PathLike | Mapping) or hasattr(batches, "__array__"):
        mend = "give it to fit as it is" if hasattr(batches, "__array__") else "give a list of batches, or of paths"
        raise FormatError(
            f"a stream is made of batches, and {shortened(batches)} is a {type(batches).__name__}: {mend}"
        )
    if callable(batches) and not isinstance(batches, Iterable):
        batches = batches()
    if not isinstance(batches, Iterable):
        raise FormatError(
            f"{shortened(batches)} gives no batches: give a list, a generator, a loader, or a function that returns one"
        )
    return batches


def _array_of(batch: Any, number: int, collated: bool) -> np.ndarray:
    """The items of one batch, (n_i, D...), of a dtype that formats take; ``collated``: its lists are (items, ...)."""
    what = f"items of batch {number}"
    if isinstance(batch, tuple) or (collated and isinstance(batch, list)) or _has_labels(batch):
        if not len(batch):
            raise DataError(f"batch {number} is an empty tuple: give its items, or (items, labels)")
        batch = batch[0]
    if isinstance(batch, str | os.PathLike):
        batch = _mapped(batch)
    if isinstance(batch, Mapping):
        raise FormatError(
            f"batch {number} is a dict of {', '.join(map(repr, batch))}: choose one, (batch[name] for batch in batches)"
        )
    array = as_array(batch, what)[1]
    if not array.ndim:
        raise DataError(f"batch {number} is one number: give an array of items, (n, ...)")
    return array


def _has_labels(batch: Any) -> bool:
    """Whether it is [items, labels], as torch's DataLoader puts them together."""
    if not isinstance(batch, list) or len(batch) != 2 or not all(isinstance(x, Tensor | np.ndarray) for x in batch):
        return False
    items, labels = batch
    return items.ndim > 1 and labels.ndim == 1 and len(items) == len(labels)


def _mapped(path: str | os.PathLike[str]) -> Any:
    """The array of a file; an .npy file is mapped, for it may be large."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False) if os.fspath(path).endswith(".npy") else read(path)
    except (OSError, ValueError, EOFError):
        return read(path)  # which says what is wrong
