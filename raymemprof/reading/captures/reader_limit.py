"""Turns to read captures: no more of a user's threads read at once on a machine than its memory allows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator

from ...ownership import make_folder, own_folder

__all__ = ["turn"]

_SECONDS_TO_LOOK = 0.02


@contextlib.contextmanager
def turn(most: int, is_stopped: threading.Event, seconds: float) -> Iterator[bool]:
    """Wait until fewer than `most` of this user's threads read on this machine; False where that takes too long.

    A turn is a file in a folder of the user's own, locked: its process gives it back, or the kernel as that ends.
    Where there can be no such folder or file nobody is waited for.
    """
    deadline = time.monotonic() + seconds
    try:
        make_folder(own_folder())
        while (taken := _free_turn(most)) is None:
            if is_stopped.wait(_SECONDS_TO_LOOK) or time.monotonic() > deadline:
                break
    except OSError:
        yield True
        return
    try:
        yield taken is not None
    finally:
        if taken is not None:
            fcntl.flock(taken, fcntl.LOCK_UN)  # a fork of this process may have it too
            os.close(taken)


def _free_turn(most: int) -> int | None:
    """Return the descriptor of a turn that was free, locked; None where all are taken."""
    for number in range(most):
        path = own_folder() / f"reading-{number}.lock"
        taken = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(taken)
            if not isinstance(error, BlockingIOError):
                raise
        else:
            return taken
    return None
