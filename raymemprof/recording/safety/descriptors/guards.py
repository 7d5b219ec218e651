"""Has Python's functions that close descriptors leave those alone that are kept."""

from __future__ import annotations

import errno
import operator
import os
import sys
import time
from typing import Any

from .kept import LONGEST_WAIT, held, in_turn, is_busy, real_close

__all__ = ["guard"]

_closerange, _dup2 = os.closerange, os.dup2


def guard() -> None:
    """Have Python's functions that close descriptors leave ours alone, from now on."""
    for name, real, ours in (
        ("close", real_close, _guarded_close),
        ("closerange", _closerange, _guarded_closerange),
        ("dup2", _dup2, _guarded_dup2),
    ):
        ours.__name__ = ours.__qualname__ = name
        ours.__doc__, ours.__module__ = real.__doc__, "os"  # who pickles it takes along what `os` has elsewhere
        for module in (os, sys.modules.get(real.__module__)):
            if getattr(module, name, None) is real:
                setattr(module, name, ours)


def _guarded_close(fd: int) -> None:
    if is_busy():  # what is just opened may have the number, and is not kept yet
        with in_turn():
            _close_others(fd)
    else:
        _close_others(fd)


def _close_others(fd: int) -> None:
    if held and _is_ours(fd):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    real_close(fd)


def _guarded_closerange(fd_low: int, fd_high: int, /) -> None:
    low, high = operator.index(fd_low), operator.index(fd_high)
    with in_turn():
        for number in sorted([number for number in list(held) if low <= number < high and _is_still_ours(number)]):
            _closerange(low, number)
            low = number + 1
        _closerange(low, high)


def _guarded_dup2(fd: int, fd2: int, inheritable: bool = True) -> int:
    deadline = time.monotonic() + LONGEST_WAIT
    given_up = None
    while True:
        with in_turn():  # else another of our files could take the number, and close it
            found = held.get(fd2) if fd != fd2 and _is_still_ours(fd2) else None
            if found is None or found is given_up or time.monotonic() >= deadline:
                return _dup2(fd, fd2, inheritable)
        if found[1] is not None:
            os.fstat(fd)  # raises where it is none, before anything is given up
            found[1]()
            given_up = found
        else:
            time.sleep(0.001)


def _is_ours(number: Any) -> bool:
    found = held.get(number)
    return found is not None and found[0].status() is not None


def _is_still_ours(number: Any) -> bool:
    try:
        return _is_ours(number)
    except (OSError, TypeError):
        return False
