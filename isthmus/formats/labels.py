"""Labels and other values of items, some of which may have none: what is to be told, as numbers.

Shapes: n items; C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from isthmus.errors import DataError

__all__ = ["Target", "coded_labels", "label_values", "target_of"]


def coded_labels(y: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes (C,), sorted, and the place of each item's class among them (n,) int64, -1 where it has no label.

    Parameters
    ----------
    y : (n,) labels, numbers or text: arrays, tensors, lists, columns of frames. Missing are NaN, None, "", what a frame
        calls missing, and -1 among numbers. Whole numbers that became floats for the sake of NaN are whole again
    count : n, the number of items

    Raises
    ------
    DataError : labels of another length, of several kinds, none at all, or of one class only
    """
    array, there = label_values(y, count)
    if array.dtype.kind in "if":
        there = there & (array != -1)
    elif array.dtype.kind == "O":
        there = there & np.array([not _is_minus_one(value) for value in array], dtype=bool)
    found = np.array(array[there].tolist())
    text = {isinstance(value, str) for value in array[there].tolist()}
    if found.ndim != 1 or len(text) > 1 or found.dtype.kind not in "buifU":
        raise DataError("labels must be of one kind, all numbers or all text; these are mixed, or neither")
    if found.dtype.kind == "f":
        if not np.isfinite(found).all():
            raise DataError("a label is infinite: labels are finite numbers or text, and NaN where there is none")
        if (found == found.round()).all():
            found = found.astype(np.int64)
    if not len(found):
        raise DataError("no item has a label: give some, at least one for each of two classes")
    classes, places = np.unique(found, return_inverse=True)
    if len(classes) < 2:
        minus = " (-1 stands for a missing label)" if found.dtype.kind == "i" and len(found) < count else ""
        raise DataError(f"all labels are of one class, {classes[0].item()!r}: there is nothing to tell apart. Give "
                        f"labels of two classes or more{minus}")  # fmt: skip
    coded = np.full(count, -1, dtype=np.int64)
    coded[there] = places
    return classes, coded


def label_values(y: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The values themselves (n,), of a dtype for numbers or of objects, and which of them are there (n,) bool.

    Missing are NaN, None, "" and what a frame calls missing. Raises DataError for another length.
    """
    values = y.detach().cpu().numpy() if hasattr(y, "detach") else y.to_pylist() if hasattr(y, "to_pylist") else y
    if hasattr(values, "__array__") and not hasattr(values, "__iter__"):
        values = np.asarray(values)
    if getattr(values, "ndim", 1) == 2 and values.shape[1] == 1:  # one column
        values = np.asarray(values)[:, 0]
    array = np.asarray(values) if hasattr(values, "dtype") and np.asarray(values).dtype.kind in "buif" else None
    if array is None:
        listed = list(values) if hasattr(values, "__iter__") and not isinstance(values, (str, Mapping)) else [values]
        array = np.empty(len(listed), dtype=object)
        array[:] = [None if _is_missing(value) else _as_text(value) for value in listed]
        there = np.array([value is not None for value in array], dtype=bool)
    else:
        there = ~np.isnan(array) if array.dtype.kind == "f" else np.ones(array.shape, bool)
    if array.shape != (count,):
        raise DataError(f"labels of shape {array.shape} given for {count} items; expected ({count},), one for each "
                        "item, with -1, NaN or None where there is none")  # fmt: skip
    return array, there


def _as_text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, str) and not value.strip()):
        return True
    return _is_number(value) and bool(value != value)


def _is_minus_one(value: Any) -> bool:
    return _is_number(value) and bool(value == -1)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


class Target(NamedTuple):
    """What is to be told of an item from its code: a class, or a number.

    Attributes
    ----------
    name : of the attribute; None for ``y`` itself
    classes : (C,) sorted, of a class; None for a number
    mean, deviation : of a number, of the items that have one
    """

    name: str | None
    classes: np.ndarray | None = None
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def width(self) -> int:
        """How many outputs tell it: a logit for each class, or one number."""
        return 1 if self.classes is None else len(self.classes)

    @property
    def called(self) -> str:
        """Its name in messages."""
        return "y" if self.name is None else f"auxiliary[{self.name!r}]"

    def to_json(self) -> dict[str, Any]:
        classes = None if self.classes is None else self.classes.tolist()
        return {"name": self.name, "classes": classes, "mean": self.mean, "deviation": self.deviation}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Target:
        classes = None if saved["classes"] is None else np.array(saved["classes"])
        if classes is not None and (classes.ndim != 1 or len(classes) < 2 or classes.dtype.kind not in "buifU"):
            raise ValueError("a target's classes are not two or more of one kind")
        name, mean, deviation = saved["name"], float(saved["mean"]), float(saved["deviation"])
        if not (name is None or isinstance(name, str)) or not np.isfinite([mean, deviation]).all() or deviation <= 0:
            raise ValueError("a target's name, mean or deviation is not as they are written")
        return cls(name, classes, mean, deviation)


def target_of(values: Any, count: int, name: str | None = None) -> tuple[Target, np.ndarray]:
    """What labels or other values say is to be told, and what it is of each item.

    Parameters
    ----------
    values : (n,). Text, whole numbers and True or False are classes; numbers with fractions are numbers. For ``y``
        (``name`` None) floats that are all whole are classes too, as scikit-learn has it: whole numbers become floats
        where some are NaN. Missing as in ``coded_labels``; among numbers with fractions -1 is a number
    count : n, the number of items
    name : of the attribute

    Returns
    -------
    The target, and (n,) int64 places of the classes, -1 where there is none, or (n,) float32 numbers of mean 0 and
    deviation 1, NaN where there is none

    Raises
    ------
    DataError : as ``coded_labels``, with the name in front; numbers that are infinite, or all alike
    """
    called = Target(name).called
    try:
        array, there = label_values(values, count)
        kept = np.array(array[there].tolist())
        if kept.dtype.kind == "f" and (name is not None or not (kept == kept.round()).all()):
            return _number(name, kept.astype(np.float64), there)
        classes, coded = coded_labels(values, count)
    except DataError as error:
        raise DataError(f"{called}: {error}") from error
    return Target(name, classes), coded


def _number(name: str | None, kept: np.ndarray, there: np.ndarray) -> tuple[Target, np.ndarray]:
    if not np.isfinite(kept).all():
        raise DataError("a value is infinite: numbers are finite, and NaN where there is none")
    mean, deviation = (float(kept.mean()), float(kept.std())) if len(kept) else (0.0, 0.0)
    if not deviation > 1e-12 * max(abs(mean), 1e-300):
        raise DataError(f"{len(kept)} of the items have a number, and all the same one: there is nothing to tell apart")
    scaled = np.full(len(there), np.nan, dtype=np.float32)
    scaled[there] = (kept - mean) / deviation
    return Target(name, None, mean, deviation), scaled
