"""Memory that is kept for the end of a call: under a limit (RLIMIT_AS) its code may hold all that there is."""

from __future__ import annotations

import mmap
import sys

__all__ = ["SPARE", "keep_spare"]

_SPARE_BYTES = 4 * 2**20
"""Bytes of addresses. They are never touched, so they take no memory."""

SPARE: list[mmap.mmap] = []
"""What is kept. `SPARE.clear()` gives it back, so that a call can end; the next call to begin keeps some again.

It is cleared where a call ends, not in a function of Python's: where there is no memory to trace that function with,
CPython 3.11 takes the thread as within tracing for ever. memray then keeps frames that are gone, and reads them.
Those places name this module, not the list: they are pickled by value with a deployment's class.
"""


def keep_spare() -> None:
    """Have some memory kept, where none is."""
    if SPARE or sys.platform == "win32":
        return
    try:
        SPARE.append(mmap.mmap(-1, _SPARE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except (OSError, MemoryError):
        return


keep_spare()
