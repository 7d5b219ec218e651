"""Room that is kept beyond a journal's end (Linux), for lines that must not be lost when the disk is full."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Any

__all__ = ["KeptRoom"]

_KEPT = 8 * 2**10
"""Bytes beyond the file's end that only lines may take which must not be lost."""
_ASKED_FOR = 2 * _KEPT
"""Bytes that are asked for at once."""
_KEEP_SIZE = 1
"""Linux's FALLOC_FL_KEEP_SIZE."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class KeptRoom:
    """The room that is kept for one file."""

    def __init__(self) -> None:
        self._end = 0
        """Where in the file it ends; negative where the file system keeps none."""

    def is_short(self, end: int) -> bool:
        """Whether more is to be asked for when the file ends at `end`."""
        return end + _KEPT > self._end >= 0

    def keep(self, number: int, size: int, end: int) -> int:
        """Ask for more, for a descriptor of a file of `size` bytes that is to grow to `end`.

        Returns 0, or the number of the error that says that the disk has none.
        """
        allocate = _fallocate()
        if allocate is None:
            self._end = -1
            return 0
        ctypes.set_errno(0)
        if allocate(number, _KEEP_SIZE, size, end - size + _ASKED_FOR) == 0:
            self._end = end + _ASKED_FOR
            return 0
        error = ctypes.get_errno()
        if error in _NO_ROOM:
            return error
        self._end = -1  # this file system does not do that
        return 0

    def give_back(self, number: int, size: int) -> None:
        """Keep none any more for a file of `size` bytes. Raises `OSError`."""
        if self._end > 0:
            os.truncate(number, size)


@cache
def _fallocate() -> Any:
    """Linux's `fallocate`, or None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    return function
