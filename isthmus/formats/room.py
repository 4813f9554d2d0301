"""Room for items: how much the memory holds, and files without a name for what it does not."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import FileError

__all__ = [
    "MEMORY_SHARE",
    "CacheFile",
    "cache_folder",
    "fits_in_memory",
    "memory_limit",
    "room_for_items",
    "spare_memory",
]

MEMORY_SHARE = 0.5  # of the memory beside the libraries, that items may take and still rest there
OVERHEAD = 3 * 2**28  # bytes of the libraries (400 MiB) and of the batches and windows of a stream (300 MiB)
ASKED = 2**30  # bytes asked of the system in one call; some take no more than 2**31 - 1
LARGE = 2**18  # bytes of a piece of memory that goes back to the system as soon as it is free, where memory is limited:
# less than a column of a batch, for between small pieces that stay, larger ones leave holes, and the heap grows
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if hasattr(errno, "EDQUOT") else (errno.ENOSPC, errno.EFBIG)


# ---- memory ----------------------------------------------------------------------------------------------------------


def fits_in_memory(n_bytes: int) -> bool:
    """Whether items of so many bytes may rest in memory: at most ``room_for_items()``."""
    return n_bytes <= room_for_items()


def room_for_items() -> float:
    """Bytes that items may take: half of what ``memory_limit()`` leaves beside the libraries.

    All of it would be too much: a stream takes more while what it gives is measured, and the process grows up to its
    limit with the rows. A rule on the whole memory and not on what is free now: two runs with one seed must choose
    alike.
    """
    return MEMORY_SHARE * max(memory_limit() - OVERHEAD, 0)


def memory_limit() -> float:
    """Bytes of memory that this process may have; without bound where the system does not say.

    The least of the machine's memory, the limits of the process (``ulimit -v``, ``ulimit -d``) and those of the
    container or job that it runs in (control groups, versions 1 and 2).
    """
    return min([_of_machine(), *_of_process(), *_of_groups()])


def _of_machine() -> float:
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")


def _of_process() -> Iterator[float]:
    try:
        import resource  # not on Windows
    except ImportError:
        return
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            yield float(limit)


def _of_groups(groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> Iterator[float]:
    """The limits of this process's group and of all groups around it."""
    try:
        lines = groups.read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        number, kinds, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not kinds:
            top, name = mount, "memory.max"
        elif "memory" in kinds.split(","):
            top, name = mount / "memory", "memory.limit_in_bytes"
        else:
            continue
        here = top / path.strip("/")  # within a container it may not be there, and its own group is the top
        for folder in (here, *here.parents):
            if folder == top or top in folder.parents:
                try:
                    yield float((folder / name).read_text())
                except (OSError, ValueError):  # not there, or "max"
                    continue


def spare_memory() -> None:
    """Where this process has a limit of its own (``ulimit -v``, ``ulimit -d``), take only what is needed from now on.

    Called before tables are read and rows are kept in a file; without such a limit it does nothing. Arrow's own
    allocator takes a gigabyte in advance, or all that the limit leaves; the system's takes its place. The C library
    gives large pieces back only where it is told to: half of what a stream of batches takes would be pieces that lie
    idle. A choice of the user's own, ARROW_DEFAULT_MEMORY_POOL or MALLOC_MMAP_THRESHOLD_, stands.
    """
    if not any(True for _ in _of_process()):
        return
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        if "pyarrow" in sys.modules:
            import pyarrow

            pyarrow.set_memory_pool(pyarrow.system_memory_pool())
        else:  # which is when Arrow reads it
            os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    if sys.platform == "linux" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        import ctypes

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(-3, LARGE)  # M_MMAP_THRESHOLD


# ---- disk ------------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where rows lie: "rows" in the folder named by ISTHMUS_CACHE, else in the user's cache folder.

    Not the temp folder: on many systems that is memory, the very thing that there is too little of.
    """
    given, home = os.environ.get("ISTHMUS_CACHE"), Path(os.path.expanduser("~"))
    if given:
        return Path(given) / "rows"
    if sys.platform == "win32":  # the three folders are those of platformdirs, which keeps the datasets' cache
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local", "isthmus", "isthmus", "Cache", "rows")
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "isthmus" / "rows"
    return Path(os.environ.get("XDG_CACHE_HOME", "").strip() or home / ".cache", "isthmus", "rows")


class CacheFile:
    """A file without a name in ``cache_folder()``: however the process ends, its space is given back.

    Closed when the last reference goes. Written at its end, read anywhere, by many threads at once.

    Parameters
    ----------
    needed : bytes that will be written, so that the room is looked for first; None where nobody knows

    Raises
    ------
    FileError : no permission, or no room; so do ``write`` and ``read``
    """

    def __init__(self, needed: int | None = None) -> None:
        spare_memory()
        self.folder = cache_folder()
        self.needed = needed
        self.size = 0  # bytes written
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            if needed is not None and needed > free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # Unlinked at once, or never named; on Windows, deleted when it is closed.
            self.file: Any = tempfile.TemporaryFile(dir=self.folder, prefix="rows-", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._refused(error, 0) from error
        self._descriptor = self.file.fileno()
        self._lock = threading.Lock()
        self.close = weakref.finalize(self, self.file.close)

    def write(self, data: np.ndarray) -> None:
        """The memory of a contiguous array, after what was written before."""
        left = data.reshape(-1).view(np.uint8).data
        try:
            while left:
                count = os.write(self._descriptor, left[:ASKED])
                left, self.size = left[count:], self.size + count
        except OSError as error:
            self.close()  # gives the space back now, and not when the error is forgotten
            raise self._refused(error, len(left)) from error

    def read(self, into: np.ndarray, offset: int) -> None:
        """Fill a contiguous array with the bytes from ``offset`` on."""
        left = into.reshape(-1).view(np.uint8).data
        try:
            while left:
                count = self._read(left[:ASKED], offset)
                if not count:
                    raise OSError(errno.EIO, f"it ends {len(left)} bytes early")
                left, offset = left[count:], offset + count
        except OSError as error:
            raise FileError(f"stored items in {self.folder} cannot be read: {error.strerror or error}") from error

    def _read(self, into: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [into], offset)
        with self._lock:  # elsewhere the place in the file is shared, and writing is over
            self.file.seek(offset)
            return self.file.readinto(into) or 0

    def _refused(self, error: OSError, left: int) -> FileError:
        needed = f"{self.needed:,} bytes" if self.needed is not None else f"more than {self.size + left:,} bytes"
        try:
            free = f", and {shutil.disk_usage(self.folder).free:,} are free"
        except OSError:
            free = ""
        why = "the disk is full" if error.errno in FULL else error.strerror or str(error)
        return FileError(
            f"the folder {self.folder} cannot hold the stored items: {why}. They need {needed} there"
            f"{free if error.errno in FULL else ''}. Set ISTHMUS_CACHE to a folder that you may write to, with room"
        )
