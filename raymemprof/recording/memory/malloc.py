"""What glibc's malloc has in use, and keeps of what was freed: asked of `mallinfo2`, which newer ones have."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

__all__ = ["in_malloc"]


class _MallInfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def in_malloc(at_once: bool = False) -> tuple[int, int] | None:
    """Return the bytes in malloc's heaps that are free, and all that is in use; None where nobody tells.

    It goes through all that is free, with each heap locked: some microseconds, but 30 ms with a million free pieces.
    `at_once` says not to let other Python threads run meanwhile, so that it is of one moment with what is read next.
    """
    function = _function(at_once)
    if function is None:
        return None
    found = function()
    return int(found.fordblks), int(found.uordblks + found.hblkhd)


@cache
def _function(at_once: bool) -> Any:
    try:
        function = (ctypes.PyDLL if at_once else ctypes.CDLL)(None).mallinfo2
    except (OSError, AttributeError):
        return None
    function.restype = _MallInfo
    return function
