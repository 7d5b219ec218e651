"""Makes journals small, so that they do not grow for ever: a process its own, and those of processes that are gone.

What is to stay is written beside a journal, to the disk, and then takes its name: whoever has the old file open reads
that to its end, and a kill at any moment leaves one of the two, whole. It runs in the user's process, on a thread of
its own, with pauses in which the user's code runs alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

from .. import journal as contract
from .safety import descriptors

__all__ = ["LARGE", "Replacement", "compact", "compact_ended"]

LARGE = 3 * 2**20
"""Bytes by which a journal grows before it is made small again."""
_WORTH = 0.75
"""What is left must be less than this part of it."""
_FEW = 2**18
"""Bytes of a journal of a process that is gone, from which it may be worth while."""
_LAST_LINE = 2**13
_PAUSE = 0.002
"""Seconds after so many lines as take less."""
_BUFFER = 2**16
_LITTLE = 2**16
"""Bytes that may be copied while the user's calls wait."""
_ROUNDS = 10
_LEFT_OVER = 600.0
"""Seconds after which nobody goes on to write what was to take a journal's place."""


class Replacement:
    """A file that is to take a journal's place. Its methods raise `OSError`."""

    def __init__(self, journal: Path) -> None:
        self.kept: descriptors.Kept | None = None
        self._journal = journal
        self._path = journal.with_name(contract.beside(journal.name))
        self._buffer = bytearray()
        self._read = 0
        self._old = descriptors.open_kept(journal, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            status = os.fstat(self._old.number)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "It is no plain file", str(journal))
            self._path.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self.kept = descriptors.open_kept(self._path, flags, 0o600, give_up=bool)
            os.fchmod(self.kept.number, stat.S_IMODE(status.st_mode))
        except BaseException:
            self.close()
            raise

    def fill(self, recent: int = contract.RECENT, may_go_on: Callable[[], bool] = lambda: True) -> contract.Compacted:
        """Write what is to stay of what the journal has now; raises `OSError` when it may not go on."""
        is_behind = os.fstat(self._old.number).st_size > 3 * LARGE  # many threads write faster than this gets its turn

        def pause() -> None:
            if not may_go_on():
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED), str(self._path))
            if not is_behind:
                time.sleep(_PAUSE)

        done = contract.compact(self._old.number, self._journal.parent, self._write, recent=recent, pause=pause)
        self._read = done.read
        for _ in range(_ROUNDS):
            if self.catch_up() <= _LITTLE:
                break
        if self.kept is not None:
            os.fsync(self.kept.number)
        return done

    def catch_up(self) -> int:
        """Write what was added to the journal since, and return how many bytes that was."""
        began = self._read
        end = os.fstat(self._old.number).st_size
        while data := os.pread(self._old.number, min(_BUFFER, end - self._read), self._read):
            self._write(data)
            self._read += len(data)
        self._flush()
        if self._old.status() is None:
            raise OSError(errno.EBADF, "somebody closed the journal's descriptor", str(self._journal))
        return self._read - began

    def take_its_place(self) -> None:
        """Be the journal from now on. Nothing may be written to it meanwhile but by who holds it as `append` does."""
        import fcntl

        with contextlib.suppress(OSError):  # a file system without locks: nobody holds it so
            fcntl.flock(self._old.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            self.catch_up()
            os.rename(self._path, self._journal)
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(self._old.number, fcntl.LOCK_UN)

    def close(self, is_journal: bool = False) -> None:
        """Let go of the files; of what was written too, unless it is the journal now."""
        descriptors.close(self._old)
        if self.kept is not None and not is_journal:
            descriptors.close(self.kept)
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def is_still(self, size: int) -> bool:
        """Whether the journal has its name, and nothing was added to it."""
        return descriptors.is_named(self._old, str(self._journal)) and os.fstat(self._old.number).st_size == size

    def _write(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        if self.kept is None or self.kept.status() is None:  # its number may be another file's
            raise OSError(errno.EBADF, "somebody closed its descriptor", str(self._path))
        while self._buffer:
            del self._buffer[: os.write(self.kept.number, self._buffer)]


def compact(journal: Path, replace: Callable[[Replacement], bool], may_go_on: Callable[[], bool]) -> int:
    """Make this process's own journal small, if that is worth while; return its size then. Raises `OSError`.

    `replace` has the replacement take its place while nothing is written, and returns whether it has.
    """
    new = Replacement(journal)
    is_journal = False
    try:
        done = new.fill(may_go_on=may_go_on)
        if done.written > _WORTH * done.read:
            return 2 * done.read  # it is tried again when there is as much again
        is_journal = replace(new)
        return done.written
    finally:
        new.close(is_journal)


def compact_ended(folder: Path, most: int) -> None:
    """Where a folder's journals have more than `most` bytes, make those small whose processes have ended, oldest first.

    Called by one process of the node at a time. Raises `OSError` where the folder cannot be read.
    """
    found = []
    total = 0
    for entry in descriptors.scan(folder):
        with contextlib.suppress(FileNotFoundError):
            if contract.is_journal(entry.name):
                status = entry.stat(follow_symlinks=False)
                total += status.st_size
                if status.st_size >= _FEW and stat.S_ISREG(status.st_mode):
                    found.append((status.st_mtime_ns, status.st_size, entry.name))
            elif contract.is_beside(entry.name) and time.time() - entry.stat().st_mtime > _LEFT_OVER:
                (folder / entry.name).unlink()  # its process was killed
    for modified, size, name in sorted(found):
        if total <= most:
            return
        with contextlib.suppress(OSError):  # somebody else's, or gone: the others may do
            total -= _compact_ended(folder / name, modified, size)


def _compact_ended(journal: Path, modified: int, size: int) -> int:
    """Make a journal small whose process has ended, if that is worth while; return by how many bytes."""
    with descriptors.reading(journal, os.O_NONBLOCK | os.O_NOFOLLOW) as file:
        process = _process(file.read(_LAST_LINE))
        file.seek(max(size - _LAST_LINE, 0))
        is_done = file.read(_LAST_LINE).rstrip(b"\n").rpartition(b"\n")[2].startswith(b'{"event":"sum",')
    if process is None or is_done or process.host != socket.gethostname() or contract.is_alive(process):
        return 0
    new = Replacement(journal)
    is_journal = False
    try:
        done = new.fill(recent=0)
        if done.written <= _WORTH * done.read and new.kept is not None and new.is_still(size):
            os.utime(new.kept.number, ns=(modified, modified))
            new.take_its_place()
            is_journal = True
            descriptors.close(new.kept)
            return size - done.written
        return 0
    finally:
        new.close(is_journal)


def _process(beginning: bytes) -> contract.Process | None:
    for text in beginning.split(b"\n"):
        with contextlib.suppress(ValueError):
            line = contract.decode(text)
            if isinstance(line, contract.Process):
                return line
    return None
