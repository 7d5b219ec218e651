"""Finds descriptors that others opened in this process: memray's files, and libunwind's pipe."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence

__all__ = ["find", "is_own_pipe"]

_NEARBY = 16
"""Numbers, from the lowest that was free, among which a new descriptor is looked for first."""
_LISTS = ("/proc/self/fd", "/dev/fd")


def find(lowest: int, is_it: Callable[[int, os.stat_result], bool], *, everywhere: bool = False) -> Iterator[int]:
    """Yield the open descriptors for which `is_it` says so: near `lowest`, or else `everywhere`."""
    numbers: Sequence[int] = range(lowest, lowest + _NEARBY)
    if everywhere:
        numbers = sorted(_listed())
    for number in numbers:
        try:
            if is_it(number, os.fstat(number)):
                yield number
        except OSError:
            continue


def _listed() -> list[int]:
    return [int(name) for name in os.listdir(next(filter(os.path.isdir, _LISTS))) if name.isdigit()]


def is_own_pipe(number: int, status: os.stat_result) -> bool:
    """Whether a descriptor may be libunwind's, which checks addresses with a pipe."""
    return stat.S_ISFIFO(status.st_mode) and not os.get_inheritable(number) and not os.get_blocking(number)
