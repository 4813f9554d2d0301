"""Formats: what turns items into tensors and back. Each name is imported when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus.formats.base import Column, Format, Spec
    from isthmus.formats.images import ImageFormat
    from isthmus.formats.infer import format_from_json, format_of
    from isthmus.formats.series import SeriesFormat
    from isthmus.formats.tables import TableFormat
    from isthmus.formats.vectors import VectorFormat

__all__ = [
    "Column",
    "Format",
    "ImageFormat",
    "SeriesFormat",
    "Spec",
    "TableFormat",
    "VectorFormat",
    "format_from_json",
    "format_of",
]

_HOMES = {
    "Column": "isthmus.formats.base",
    "Format": "isthmus.formats.base",
    "ImageFormat": "isthmus.formats.images",
    "SeriesFormat": "isthmus.formats.series",
    "Spec": "isthmus.formats.base",
    "TableFormat": "isthmus.formats.tables",
    "VectorFormat": "isthmus.formats.vectors",
    "format_from_json": "isthmus.formats.infer",
    "format_of": "isthmus.formats.infer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'isthmus.formats' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
