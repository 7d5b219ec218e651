"""The file descriptors that recording keeps open in the user's process, held against code that closes what it finds.

Code that becomes a daemon closes every descriptor it has, whoever opened it, and the numbers go to the files that it
opens next: what memray or a journal wrote then would go into those. So from when the first is kept,

- `os.close`, `os.closerange` and `os.dup2` find the numbers that are kept as if they were not open;
- whoever keeps one asks before each use whether it is still his: C code, or a function that somebody took from `os`
  before, can close it all the same;
- `lent` has a number be memray's own again while memray closes it, where it has become another file's.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import operator
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from . import interruptions, locks

__all__ = [
    "Kept",
    "above_standard",
    "close",
    "find",
    "guard",
    "is_named",
    "is_own_pipe",
    "keep",
    "lent",
    "open_kept",
    "reading",
    "release",
    "scan",
]

_STANDARD = 3
"""Numbers below are standard input, output and error: who closed one means to open another there."""
_NEARBY = 16
"""Numbers, from the lowest that was free, among which a new descriptor is looked for first."""
_LISTS = ("/proc/self/fd", "/dev/fd")


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


def is_named(kept: Kept, path: str) -> bool:
    """Whether the file that a descriptor was opened on has that name, as far as can be told."""
    try:
        status = os.lstat(path)
    except OSError as error:
        if interruptions.is_users(error):
            raise
        return not isinstance(error, (FileNotFoundError, NotADirectoryError))
    return status.st_ino == kept.inode and status.st_dev == kept.device


_kept: dict[int, tuple[Kept, Callable[[], object] | None]] = {}
_opening = threading.RLock()
"""Held from before a descriptor is there until it is kept."""
_turns = 0
"""How many hold that, or wait for it."""
_LONGEST_WAIT = 1.0
"""Seconds for which somebody waits who needs a number that is ours for a moment."""


@contextlib.contextmanager
def _in_turn() -> Iterator[None]:
    """Open or close one file at a time; who has waited for long goes ahead.

    When the interpreter ends, its daemon threads stop for ever, whatever they hold.
    """
    global _turns
    _turns += 1
    try:
        _opening.acquire(timeout=0 if sys.is_finalizing() else _LONGEST_WAIT)
        yield
    finally:
        _turns -= 1
        try:
            _opening.release()
        except RuntimeError as error:
            locks.was_not_taken(error)


def keep(number: int, give_up: Callable[[], object] | None = None, *, is_inherited: bool = False) -> Kept:
    """Hold a descriptor from now on; `give_up` has its user stop where somebody needs the number.

    Without, whoever needs it waits until it is closed. If forked children use the open file too (`is_inherited`), no
    owner is noted on it, because the note is lost when this process ends.
    """
    status = os.fstat(number)
    kept = Kept(number, status.st_dev, status.st_ino, 0 if is_inherited else _marked(number))
    _kept[number] = (kept, give_up)
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
    with _in_turn():
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


_abandoned: list[object] = []


def scan(folder: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
    """Yield what a folder has, and hold the descriptor that is open on it meanwhile. Raises `OSError`.

    Python does not tell its number. It is the lowest that was free, unless another thread just opened something.
    """
    kept = None
    with above_standard() as free:
        entries = os.scandir(folder)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(free), os.stat(folder)) and _is_opendirs(free):
                kept = keep(free)
    try:
        while True:
            with _in_turn():  # the last step closes it
                if kept is not None and kept.status() is None:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                entry = next(entries, None)
                if entry is None and kept is not None:
                    release(kept)
                    kept = None
            if entry is None:
                return
            yield entry
    finally:
        with _in_turn():  # who waits for the number gets it when it is closed, and not before
            if kept is None or kept.status() is not None:
                entries.close()
            else:
                _abandoned.append(entries)  # the number is another file's: it must not be closed with this
            if kept is not None:
                release(kept)


def _is_opendirs(number: int) -> bool:
    """Whether `opendir` opened a folder, which sets O_NONBLOCK: the user may have opened the same one just now."""
    return bool(fcntl.fcntl(number, fcntl.F_GETFL) & os.O_NONBLOCK)


def release(kept: Kept) -> None:
    """Hold a descriptor no longer."""
    if _kept.get(kept.number, (None, None))[0] == kept:
        del _kept[kept.number]


def close(kept: Kept) -> None:
    """Close a descriptor where it is still ours."""
    with _in_turn():  # or somebody who waits for the number gets it in between, and has it closed
        release(kept)
        if kept.status() is not None:
            _close(kept.number)


def _above_standard(number: int) -> int:
    """Return a descriptor, or another for it if its number is a standard one's."""
    if number >= _STANDARD:
        return number
    try:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _STANDARD)
    finally:
        _close(number)


@contextlib.contextmanager
def above_standard() -> Iterator[int]:
    """Have what is opened meanwhile get no number of a standard descriptor; gives the lowest that is free.

    What is opened may be kept before somebody closes it.
    """
    taken: list[int] = []
    with _in_turn():
        try:
            while True:
                free = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                if free >= _STANDARD:
                    break
                taken.append(free)
            _close(free)
            yield free
        finally:
            for number in taken:
                _close(number)


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


_close, _closerange, _dup2 = os.close, os.closerange, os.dup2


def _is_ours(number: Any) -> bool:
    held = _kept.get(number)
    return held is not None and held[0].status() is not None


def _guarded_close(fd: int) -> None:
    if _turns:  # what is just opened may have the number, and is not kept yet
        with _in_turn():
            _close_others(fd)
    else:
        _close_others(fd)


def _close_others(fd: int) -> None:
    if _kept and _is_ours(fd):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    _close(fd)


def _guarded_closerange(fd_low: int, fd_high: int, /) -> None:
    low, high = operator.index(fd_low), operator.index(fd_high)
    with _in_turn():
        for number in sorted([number for number in list(_kept) if low <= number < high and _is_still_ours(number)]):
            _closerange(low, number)
            low = number + 1
        _closerange(low, high)


def _is_still_ours(number: Any) -> bool:
    try:
        return _is_ours(number)
    except (OSError, TypeError):
        return False


def _guarded_dup2(fd: int, fd2: int, inheritable: bool = True) -> int:
    deadline = time.monotonic() + _LONGEST_WAIT
    given_up = None
    while True:
        with _in_turn():  # else another of our files could take the number, and close it
            held = _kept.get(fd2) if fd != fd2 and _is_still_ours(fd2) else None
            if held is None or held is given_up or time.monotonic() >= deadline:
                return _dup2(fd, fd2, inheritable)
        if held[1] is not None:
            os.fstat(fd)  # raises where it is none, before anything is given up
            held[1]()
            given_up = held
        else:
            time.sleep(0.001)


def guard() -> None:
    """Have Python's functions that close descriptors leave ours alone, from now on."""
    for name, real, ours in (
        ("close", _close, _guarded_close),
        ("closerange", _closerange, _guarded_closerange),
        ("dup2", _dup2, _guarded_dup2),
    ):
        ours.__name__ = ours.__qualname__ = name
        ours.__doc__, ours.__module__ = real.__doc__, "os"  # who pickles it takes along what `os` has elsewhere
        for module in (os, sys.modules.get(real.__module__)):
            if getattr(module, name, None) is real:
                setattr(module, name, ours)


def _after_fork() -> None:
    """What the parent keeps is nothing to the child, which may close it."""
    global _opening, _turns
    _opening, _turns = threading.RLock(), 0
    _kept.clear()


os.register_at_fork(after_in_child=_after_fork)
