"""A smaller file that takes a journal's place: `journals.py` and `compacting.py` say when.

What is to stay is written beside the journal, and then takes its name. Whoever has the old file open reads that to its
end, and a kill at any moment leaves one of the two, whole.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import math
import os
import shutil
import stat
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from .. import journal as contract
from .safety import descriptors, file_size_limit

__all__ = ["BLOCK", "Replacement", "is_there"]

_WORTH = 0.75
"""What is left must be less than this part of it."""
_OF_ENDED = 50
"""Calls that ended last and stay, of a process that has ended."""
_PAUSE = 0.002
"""Seconds after so many lines as take less."""
_BUFFER = 2**16
"""Bytes that are read and written at once: a thread of the user's waits meanwhile."""
_LITTLE = 2**16
"""Bytes that may be copied while the user's calls wait."""
_ROUNDS = 10
BLOCK = 512
"""Bytes that `st_blocks` counts."""
_SPARSE = 20
_MOST_SPARSE = 2**26
"""A file has holes if it is so many times as large as its blocks, and so many bytes more: some are compressed."""
_LEAST_FREE = 0.05
"""The part of the disk that stays free: captures need as much."""
_HERE = -100
"""Linux's AT_FDCWD."""
_EXCHANGE = 2
"""Linux's RENAME_EXCHANGE."""


class _NotWorthWhileError(OSError):
    """Most of a journal is to stay."""


class Replacement:
    """A file that is to take a journal's place. Its methods raise `OSError`."""

    def __init__(self, journal: Path, mode: int | None = None) -> None:
        """Begin it; `mode` says who may read it, None for who may read the journal."""
        self.journal = journal
        self._path = journal.with_name(contract.beside(journal.name))
        self._buffer = bytearray()
        self._read = self._written = 0
        self.kept: descriptors.Kept | None = None
        self._most: float = math.inf
        """Bytes of it above which it is not worth while."""
        self.old = descriptors.open_kept(journal, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, give_up=bool)
        try:
            status = os.fstat(self.old.number)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_uid != os.geteuid():
                raise OSError(errno.EINVAL, "It is no plain file of this user's", str(journal))
            if status.st_size > _MOST_SPARSE + _SPARSE * BLOCK * status.st_blocks:
                raise OSError(errno.EINVAL, "It has holes", str(journal))
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self.kept = descriptors.open_kept(self._path, flags, 0o600, give_up=bool)
            os.fchmod(self.kept.number, stat.S_IMODE(status.st_mode) if mode is None else mode)
        except BaseException:
            self.close()
            raise

    def fill(self, may_go_on: Callable[[], bool] = lambda: True, *, has_ended: bool = False) -> contract.Compacted:
        """Write what is to stay of what the journal has now; raises `OSError` when it may not go on."""
        size = os.fstat(self.old.number).st_size
        folder = self.journal.parent
        self._most = _WORTH * size
        disk = shutil.disk_usage(folder)
        if disk.free - self._most < _LEAST_FREE * disk.total:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

        def pause() -> None:
            if not may_go_on():
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED), str(self._path))
            time.sleep(_PAUSE)

        held: set[str] = set()

        def is_here(name: str) -> bool:
            if is_there(folder, name):
                held.add(name)
            return name in held

        try:
            done = contract.compact(
                lambda at: self._data(at, size),
                is_here,
                self._write,
                recent=_OF_ENDED if has_ended else contract.RECENT,
                has_ended=has_ended,
                pause=pause,
            )
        except _NotWorthWhileError:
            return contract.Compacted(size, size, frozenset(held))
        self._read = done.read
        return done

    def is_worth_while(self, done: contract.Compacted) -> bool:
        """Whether so little is left that it may take the journal's place; it is on the disk then, but for the last."""
        self._most = math.inf  # what is added from now on stays in any case
        if done.written > _WORTH * done.read:
            return False
        self.come_near()
        os.fsync(self._own().number)  # or a power failure would leave less than there was
        self.come_near()
        return True

    def come_near(self) -> None:
        """Write what was added to the journal since, but for a little."""
        for _ in range(_ROUNDS):
            if self.catch_up() <= _LITTLE:
                return

    def catch_up(self) -> int:
        """Write what was added to the journal since, and return how many bytes that was."""
        began = self._read
        size = os.fstat(self._old().number).st_size
        while data := self._data(self._read, size):
            self._write(data)
            self._read += len(data)
        self._flush()
        return self._read - began

    def take_its_place(self) -> None:
        """Be the journal from now on. Nothing may be written to that meanwhile."""
        if os.fstat(self._old().number).st_size - self._read > 2 * _LITTLE:
            raise OSError(errno.EBUSY, "It is written faster than it is compacted", str(self.journal))
        self.catch_up()
        if not descriptors.is_named(self._old(), str(self.journal)):
            raise FileNotFoundError(errno.ENOENT, "The journal was removed", str(self.journal))
        own = self._own()
        if not descriptors.is_named(own, str(self._path)):
            raise FileNotFoundError(errno.ENOENT, "It was removed", str(self._path))
        _take_name(self._path, self.journal, own, self._old())
        if descriptors.is_named(self.old, str(self._path)):
            with contextlib.suppress(OSError):  # `sweep` removes it later
                self._path.unlink()

    def close(self, is_journal: bool = False) -> None:
        """Let go of the files; of what was written too, unless it is the journal now."""
        descriptors.close(self.old)
        if self.kept is not None and not is_journal:
            if descriptors.is_named(self.kept, str(self._path)):
                with contextlib.suppress(OSError):
                    self._path.unlink(missing_ok=True)
            descriptors.close(self.kept)

    def _data(self, position: int, end: int) -> bytes:
        data = os.pread(self._old().number, max(min(_BUFFER, end - position), 0), position)
        self._old()  # or it was another file's when that was read
        return data

    def _write(self, data: bytes) -> None:
        self._buffer += data
        self._written += len(data)
        if self._written > self._most:
            raise _NotWorthWhileError(errno.ECANCELED, "Too much of it is to stay", str(self.journal))
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        own = self._own()
        status = own.status()
        if status is not None and status.st_size + len(self._buffer) > file_size_limit.longest_file():
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(self._path))
        while self._buffer:
            del self._buffer[: os.write(own.number, self._buffer)]

    def _old(self) -> descriptors.Kept:
        return self._checked(self.old, self.journal)

    def _own(self) -> descriptors.Kept:
        return self._checked(self.kept, self._path)

    @staticmethod
    def _checked(kept: descriptors.Kept | None, path: Path) -> descriptors.Kept:
        if kept is None or kept.status() is None:  # its number may be another file's
            raise OSError(errno.EBADF, "somebody closed its descriptor", str(path))
        return kept


def _take_name(new: Path, journal: Path, own: descriptors.Kept, old: descriptors.Kept) -> None:
    """Have a file take a journal's name, where that is there still: it may just have been removed. Raises `OSError`.

    Where the file system can, they change names, which fails where one has none.
    """
    exchange = _renameat2()
    if exchange is not None:
        ctypes.set_errno(0)
        if exchange(_HERE, os.fsencode(new), _HERE, os.fsencode(journal), _EXCHANGE) == 0:
            return
        error = ctypes.get_errno()
        if error == errno.ENOENT:
            raise FileNotFoundError(error, "The journal was removed", str(journal))
    if os.fstat(old.number).st_nlink == 0:
        raise FileNotFoundError(errno.ENOENT, "The journal was removed", str(journal))
    try:
        os.rename(new, journal)
    except OSError:  # of a network's file system the answer may be lost, and asked for again
        if not os.path.lexists(journal) or not descriptors.is_named(own, str(journal)):
            raise


@cache
def _renameat2() -> Any:
    """Linux's `renameat2`, or None."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function


def is_there(folder: Path, name: str) -> bool:
    """Whether a capture is in a folder, or its whole name is that of one elsewhere; also where that cannot be told."""
    try:
        os.lstat(folder / name)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True
