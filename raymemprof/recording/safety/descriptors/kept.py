"""Files that recording opens, and whose descriptors it holds until it closes them itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader

from .. import interruptions, locks

__all__ = [
    "LONGEST_WAIT",
    "Kept",
    "above_standard",
    "close",
    "held",
    "in_turn",
    "is_busy",
    "is_named",
    "keep",
    "open_kept",
    "reading",
    "real_close",
    "release",
]

_STANDARD = 3
"""Numbers below are standard input, output and error: who closed one means to open another there."""
LONGEST_WAIT = 1.0
"""Seconds for which somebody waits who needs a number that is ours for a moment."""
real_close = os.close  # before `guard` replaces it


@dataclass(frozen=True, slots=True)
class Kept:
    """A descriptor and the file that it is open on."""

    number: int
    device: int
    inode: int
    owner: int = 0
    """The owner that is noted on the open file, or 0 if there is none: see `_marked`."""

    def status(self) -> os.stat_result | None:
        """Return what the kernel says of the file; None where the number is closed, or another file's by now."""
        try:
            status = os.fstat(self.number)
            is_same = not self.owner or _owner(self.number) == self.owner
        except OSError as error:
            if interruptions.is_users(error):
                raise
            return None
        return status if is_same and status.st_ino == self.inode and status.st_dev == self.device else None


held: dict[int, tuple[Kept, Callable[[], object] | None]] = {}
"""What is kept, by number, and what has its user stop where somebody needs the number."""
_opening = threading.RLock()
"""Held from before a descriptor is there until it is kept."""
_turns = 0
"""How many hold that, or wait for it."""


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """Open or close one file at a time; who has waited for long goes ahead.

    When the interpreter ends, its daemon threads stop for ever, whatever they hold.
    """
    global _turns
    _turns += 1
    try:
        _opening.acquire(timeout=0 if sys.is_finalizing() else LONGEST_WAIT)
        yield
    finally:
        _turns -= 1
        try:
            _opening.release()
        except RuntimeError as error:
            locks.was_not_taken(error)


def is_busy() -> bool:
    """Whether a file is being opened or closed now."""
    return _turns > 0


def keep(number: int, give_up: Callable[[], object] | None = None, *, is_inherited: bool = False) -> Kept:
    """Hold a descriptor from now on; `give_up` has its user stop where somebody needs the number.

    Without, whoever needs it waits until it is closed. If forked children use the open file too (`is_inherited`), no
    owner is noted on it, because the note is lost when this process ends.
    """
    status = os.fstat(number)
    kept = Kept(number, status.st_dev, status.st_ino, 0 if is_inherited else _marked(number))
    held[number] = (kept, give_up)
    return kept


def _marked(number: int) -> int:
    """Note this process as the owner of an open file (F_SETOWN), and return it; 0 if the file cannot have one.

    The note tells our file from another with the same number and inode. C code may have closed ours, and a file system
    gives the inode of a removed file to the next one. No signal is sent: that would need O_ASYNC.
    """
    try:
        fcntl.fcntl(number, fcntl.F_SETOWN, os.getpid())
        return _owner(number)
    except OSError as error:
        if interruptions.is_users(error):
            raise
        return 0


def _owner(number: int) -> int:
    return fcntl.fcntl(number, fcntl.F_GETOWN)


def open_kept(
    path: str | os.PathLike[str],
    flags: int = os.O_RDONLY,
    mode: int = 0o600,
    give_up: Callable[[], object] | None = None,
) -> Kept:
    """Open a file, and hold its descriptor, as `keep` does, until it is given to `close`. Raises `OSError`."""
    with in_turn():
        return keep(_above_standard(os.open(path, flags | os.O_CLOEXEC, mode)), give_up)


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], flags: int = 0) -> Iterator[BufferedReader]:
    """Open a file to read, and hold its descriptor meanwhile. Raises `OSError`."""
    kept = open_kept(path, os.O_RDONLY | flags)
    try:
        with open(kept.number, "rb", closefd=False) as file:
            yield file
    finally:
        close(kept)


def release(kept: Kept) -> None:
    """Hold a descriptor no longer."""
    if held.get(kept.number, (None, None))[0] == kept:
        del held[kept.number]


def close(kept: Kept) -> None:
    """Close a descriptor where it is still ours."""
    with in_turn():  # or somebody who waits for the number gets it in between, and has it closed
        release(kept)
        if kept.status() is not None:
            real_close(kept.number)


def is_named(kept: Kept, path: str) -> bool:
    """Whether the file that a descriptor was opened on has that name, as far as can be told."""
    try:
        status = os.lstat(path)
    except OSError as error:
        if interruptions.is_users(error):
            raise
        return not isinstance(error, (FileNotFoundError, NotADirectoryError))
    return status.st_ino == kept.inode and status.st_dev == kept.device


def _above_standard(number: int) -> int:
    """Return a descriptor, or another for it if its number is a standard one's."""
    if number >= _STANDARD:
        return number
    try:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _STANDARD)
    finally:
        real_close(number)


@contextlib.contextmanager
def above_standard() -> Iterator[int]:
    """Have what is opened meanwhile get no number of a standard descriptor; gives the lowest that is free.

    What is opened may be kept before somebody closes it.
    """
    taken: list[int] = []
    with in_turn():
        try:
            while True:
                free = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                if free >= _STANDARD:
                    break
                taken.append(free)
            real_close(free)
            yield free
        finally:
            for number in taken:
                real_close(number)


def _after_fork() -> None:
    """What the parent keeps is nothing to the child, which may close it."""
    global _opening, _turns
    _opening, _turns = threading.RLock(), 0
    held.clear()


os.register_at_fork(after_in_child=_after_fork)
