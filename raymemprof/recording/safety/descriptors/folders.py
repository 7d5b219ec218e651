"""Goes through a folder, whose descriptor Python opens itself and does not tell."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from .kept import above_standard, in_turn, keep, release

__all__ = ["scan"]

_abandoned: list[object] = []


def scan(folder: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
    """Yield what a folder has, and hold the descriptor that is open on it meanwhile. Raises `OSError`.

    Python does not tell its number. It is the lowest that was free, unless another thread just opened something.
    """
    kept = None
    with above_standard() as free:
        entries = os.scandir(folder)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(free), os.stat(folder)) and _is_opendirs(free):
                kept = keep(free)
    try:
        while True:
            with in_turn():  # the last step closes it
                if kept is not None and kept.status() is None:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                entry = next(entries, None)
                if entry is None and kept is not None:
                    release(kept)
                    kept = None
            if entry is None:
                return
            yield entry
    finally:
        with in_turn():  # who waits for the number gets it when it is closed, and not before
            if kept is None or kept.status() is not None:
                entries.close()
            else:
                _abandoned.append(entries)  # the number is another file's: it must not be closed with this
            if kept is not None:
                release(kept)


def _is_opendirs(number: int) -> bool:
    """Whether `opendir` opened a folder, which sets O_NONBLOCK: the user may have opened the same one just now."""
    return bool(fcntl.fcntl(number, fcntl.F_GETFL) & os.O_NONBLOCK)
