"""Memory that is kept for the end of a call: under a limit (RLIMIT_AS) its code may hold all that there is."""

from __future__ import annotations

import mmap
import sys

__all__ = ["keep", "release"]

_SPARE = 4 * 2**20
"""Bytes of addresses. They are never touched, so they take no memory."""


def keep() -> None:
    """Have some memory kept, where none is."""
    global _spare
    if _spare is None:
        _spare = _reserved()


def release() -> None:
    """Give back what is kept, so that a call can end; the next call to begin keeps some again."""
    global _spare
    spare, _spare = _spare, None
    if spare is not None:
        spare.close()


def _reserved() -> mmap.mmap | None:
    if sys.platform == "win32":
        return None
    try:
        return mmap.mmap(-1, _SPARE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, MemoryError):
        return None


_spare = _reserved()
