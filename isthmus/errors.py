"""Every error and warning that Isthmus raises on purpose.

    IsthmusError
    ├── SettingError (ValueError)        a setting of a model or a command is out of its range
    ├── DataError (ValueError)           the items themselves: empty, non-finite, of the wrong shape
    │   └── FormatError (TypeError too)  what the items are cannot be told, or is not what this model learned
    ├── TrainingError (RuntimeError)     training cannot go on: the loss is not finite, a resume does not fit
    ├── FileError (OSError)              a file or folder cannot be read or written
    │   ├── DamagedFileError             cut short, altered, or not one of ours
    │   └── FutureFileError              written by a newer version
    ├── DownloadError (OSError)          no mirror gave the file, or what came is not what was asked for
    ├── NotSupported (TypeError)         this model cannot do that; the message names those that can
    └── MissingExtra (ImportError)       an optional package is not installed; the message is the command
    IsthmusWarning (UserWarning)         something worth knowing that stops nothing

A method called before ``fit`` raises scikit-learn's own ``NotFittedError``, as its users expect.
"""

from __future__ import annotations

import sys
import warnings

__all__ = [
    "DamagedFileError",
    "DataError",
    "DownloadError",
    "FileError",
    "FormatError",
    "FutureFileError",
    "IsthmusError",
    "IsthmusWarning",
    "MissingExtra",
    "NotSupported",
    "SettingError",
    "TrainingError",
    "warn",
]

BETWEEN = ("isthmus", "joblib", "sklearn", "torch")  # packages whose lines stand between the user's line and a warning


class IsthmusError(Exception):
    """The root of all errors of Isthmus."""


class SettingError(IsthmusError, ValueError):
    """A setting of a model or a command is out of its range."""


class DataError(IsthmusError, ValueError):
    """The items are empty, not finite, or of the wrong shape."""


class FormatError(DataError, TypeError):
    """What the items are cannot be told, or is not what this model learned."""


class TrainingError(IsthmusError, RuntimeError):
    """Training cannot go on."""


class FileError(IsthmusError, OSError):
    """A file or folder cannot be read or written."""


class DamagedFileError(FileError):
    """A file is cut short, altered, or not one of ours."""


class FutureFileError(FileError):
    """A file was written by a newer version of Isthmus."""


class DownloadError(IsthmusError, OSError):
    """No mirror gave the file, or what came is not what was asked for."""


class NotSupported(IsthmusError, TypeError):
    """This model cannot do that; the message names those that can."""


class MissingExtra(IsthmusError, ImportError):
    """An optional package is not installed; the message is the command that installs it."""


class IsthmusWarning(UserWarning):
    """Something worth knowing that stops nothing."""


def warn(message: str) -> None:
    """An IsthmusWarning that points at the user's line, whatever calls of ours and of pipelines lie between."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, IsthmusWarning, stacklevel=level + 1)
