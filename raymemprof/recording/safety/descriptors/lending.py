"""Has numbers be memray's own again while memray closes them, where they have become other files'."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator

from .kept import Kept

__all__ = ["lent"]

_keeps_the_lock = ctypes.PyDLL(None)
"""The C library, called with the interpreter's lock. To load it while memray traces takes 14 ms: it patches it anew."""


@contextlib.contextmanager
def lent(stand_ins: dict[Kept, str]) -> Iterator[None]:
    """Have numbers that have become other files' be open on `stand_ins` meanwhile, and give them back after.

    Raises `OSError` where there are not enough descriptors. No thread of Python may run during the block.
    """
    taken = {kept: path for kept, path in stand_ins.items() if kept.status() is None}
    if not taken:
        yield
        return
    numbers = {kept.number for kept in taken}
    system = _keeps_the_lock

    def copied(number: int) -> int:
        """Another descriptor of the same file, that has none of the numbers."""
        copies = [system.dup(number)]
        while copies[-1] in numbers:
            copies.append(system.dup(number))
        for copy in copies[:-1]:
            system.close(copy)
        if copies[-1] < 0:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        os.set_inheritable(copies[-1], False)
        return int(copies[-1])

    opened_now: dict[int, int] = {}
    saved: dict[int, tuple[int, bool]] = {}
    try:
        for kept, path in taken.items():
            opened_now[kept.number] = _opened(path)
            if opened_now[kept.number] in numbers:
                copy = copied(opened_now[kept.number])
                system.close(opened_now[kept.number])
                opened_now[kept.number] = copy
        for number in opened_now:
            try:
                inheritable = os.get_inheritable(number)
            except OSError:
                continue  # nobody has it
            saved[number] = (copied(number), inheritable)
        for number, stand_in in opened_now.items():
            system.dup2(stand_in, number)
        yield
    finally:
        for number, (copy, inheritable) in saved.items():
            system.dup2(copy, number)
            os.set_inheritable(number, inheritable)
        for number in opened_now.keys() - saved.keys():  # it was nobody's, and is not left to what was lent
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(number), os.fstat(opened_now[number])):
                    system.close(number)
        for number in [*opened_now.values(), *(copy for copy, _ in saved.values())]:
            system.close(number)


def _opened(path: str) -> int:
    for flags in (os.O_RDWR, os.O_RDONLY):
        with contextlib.suppress(OSError):
            return os.open(path, flags | os.O_CLOEXEC)
    return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
