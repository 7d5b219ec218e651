"""Locks of files, against other processes of the node (`flock`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from . import descriptors

__all__ = ["held"]

_held: list[descriptors.Kept] = []


@contextlib.contextmanager
def held(kept: descriptors.Kept) -> Iterator[bool]:
    """Lock an open file, if no other process has; gives whether it is locked. It is until `kept` is closed."""
    import fcntl

    _held.append(kept)
    try:
        try:
            fcntl.flock(kept.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        if kept in _held:
            _held.remove(kept)


def _after_fork() -> None:
    """Let a forked child not hold on to the file: the lock is of what both have open."""
    while _held:
        kept = _held.pop()
        if kept.status() is not None:
            os.close(kept.number)


os.register_at_fork(after_in_child=_after_fork)
