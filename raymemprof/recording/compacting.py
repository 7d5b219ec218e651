"""Compacts journals, so that they do not grow for ever: a process its own, and those of processes that are gone.

It runs in the user's process, on a thread of its own, with pauses in which the user's code runs alone. No call waits
for more than the last step, which is a rename (`replacement.py`).

Only a journal's own process writes to it, and replaces it while it lives. Another's is replaced where its process is
known to be gone: it ran as the same user, since the machine was started and among the processes that are seen from here
(`contract.machine`), and there is no process with its number. Else it stays as it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import stat
import threading
import time
from pathlib import Path

from .. import journal as contract
from .. import proc
from . import warn
from .replacement import BLOCK, Replacement
from .safety import descriptors, file_locks
from .safety.threads import HiddenThread

__all__ = ["LARGE", "compact_ended", "compact_ended_later", "size_of_journals", "sweep"]

LARGE = 3 * 2**20
"""Bytes by which a journal grows before it is worth while to compact it again."""
_FEW = 2**18
"""Bytes of another process's journal from which it may be worth while."""
_STILL = 60.0
"""Seconds for which nobody wrote to the journal of a process that has ended."""
_AT_A_TIME = 16 * 2**20
"""Bytes of such journals that are gone through at a time, of any of them: more will be by others, or later."""
_INTERVAL = 60.0
"""Seconds between such times in a process."""
_FIRST_LINE = 2**13


def size_of_journals(folder: Path) -> int:
    """Return how many bytes a folder's journals take. Raises `OSError` where it cannot be read."""
    taken = 0
    for entry in descriptors.scan(folder):
        if contract.is_journal(entry.name):  # not what is to take its place: that is there for a moment
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                taken += min(status.st_size, status.st_blocks * BLOCK)  # one may have holes
    return taken


_fruitless: dict[tuple[int, int, int], float] = {}
"""Journals of the gone, by device, inode and size, that could not be made smaller, and when that was found."""
_MOST_FRUITLESS = 1_000
_AGAIN = 3600.0
"""Seconds after which they are looked at again: captures for which lines stay may have gone."""
_ITS_OWN = (errno.E2BIG, errno.EINVAL)
"""What a journal is refused with for what stands in it."""

_pass = threading.Lock()
"""Held while a thread goes through a folder; no other waits for it."""
_due = 0.0


def compact_ended_later(folder: Path, most: int) -> None:
    """Where a folder's journals take more than `most` bytes, have some compacted on another thread. Never raises."""
    global _due
    now = time.monotonic()
    if now < _due:
        return
    _due = now + _INTERVAL
    with contextlib.suppress(RuntimeError):  # no more threads, or the process is about to end
        HiddenThread(lambda: _compact_ended_now(folder, most)).start()


def _compact_ended_now(folder: Path, most: int) -> None:
    if not _pass.acquire(blocking=False):
        return
    try:
        compact_ended(folder, most)
    except Exception as error:
        warn.once("compact", f"journals in {folder} were not compacted: {error!r}")
    finally:
        _pass.release()


def compact_ended(folder: Path, most: int) -> int:
    """Where a folder's journals take more than `most` bytes, compact some of those whose processes have ended.

    Returns how many were. Raises `OSError` where the folder cannot be read.
    """
    sweep(folder)
    found: list[tuple[str, int]] = []
    total = 0
    for entry in descriptors.scan(folder):
        with contextlib.suppress(OSError):
            if contract.is_journal(entry.name):
                status = entry.stat(follow_symlinks=False)
                total += status.st_size
                is_still = time.time() - status.st_mtime > _STILL
                is_known = time.monotonic() < _fruitless.get(_key(status), -_AGAIN) + _AGAIN
                if not is_known and status.st_size >= _FEW and status.st_uid == os.geteuid() and is_still:
                    found.append((entry.name, status.st_size))
    random.shuffle(found)
    count = gone_through = 0
    for name, size in found:
        if total <= most or gone_through > _AT_A_TIME:
            break
        with contextlib.suppress(OSError):  # gone, or nothing to be compacted: the others may be
            if is_of_the_gone(folder / name):
                gone_through += size
                saved = _compact_of_the_gone(folder / name)
                total -= saved
                count += saved > 0
    return count


def _key(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_size


def sweep(folder: Path) -> None:
    """Remove what processes left that were killed while they compacted a journal. Raises `OSError`."""
    for entry in descriptors.scan(folder):
        if contract.is_beside(entry.name):
            with contextlib.suppress(OSError):  # gone, or somebody else's
                status = entry.stat(follow_symlinks=False)
                is_own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
                if is_own and time.time() - status.st_mtime > contract.LEFT_OVER:
                    os.unlink(entry.path)


def is_of_the_gone(journal: Path) -> bool:
    """Whether the process that wrote a journal here has certainly ended. Raises `OSError`."""
    with descriptors.reading(journal, os.O_NONBLOCK | os.O_NOFOLLOW) as file:
        process = _process(os.pread(file.fileno(), _FIRST_LINE, 0))
    here = contract.machine()
    if process is None or process.pid is None or here is None or process.machine != here:
        return False
    if process.host != socket.gethostname():
        return False
    if process.logs and not os.path.samefile(process.logs, journal.parent):
        return False  # it may be a copy, which somebody fetched
    return not proc.has_process(process.pid)


def _compact_of_the_gone(journal: Path) -> int:
    """Compact a journal whose process has ended, if that is worth while; return by how many bytes."""
    new = Replacement(journal)
    is_journal = False
    try:
        before = os.fstat(new.old.number)
        with file_locks.held(new.old) as is_alone:  # until it is closed, below
            if not is_alone:
                return 0
            try:
                done = new.fill(has_ended=True)
                is_worth_while = new.is_worth_while(done)
            except OSError as error:
                if error.errno in _ITS_OWN:
                    _remember_fruitless(before)
                raise
            if not is_worth_while or new.kept is None:
                _remember_fruitless(before)
                return 0
            now = os.fstat(new.old.number)
            if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                return 0  # somebody writes to it all the same
            new.take_its_place()
            is_journal = True
            with contextlib.suppress(OSError):  # only now: what is old and has no journal's name is swept away
                os.utime(new.kept.number, ns=(before.st_atime_ns, before.st_mtime_ns))
            size = os.fstat(new.kept.number).st_size
            descriptors.close(new.kept)
            return before.st_size - size
    finally:
        new.close(is_journal)


def _remember_fruitless(status: os.stat_result) -> None:
    while len(_fruitless) >= _MOST_FRUITLESS:
        del _fruitless[next(iter(_fruitless))]
    _fruitless[_key(status)] = time.monotonic()


def _process(beginning: bytes) -> contract.Process | None:
    """The process that a journal's first line names."""
    try:
        line = contract.decode(beginning.partition(b"\n")[0])
    except ValueError:
        return None
    return line if isinstance(line, contract.Process) else None


def _after_fork() -> None:
    global _pass, _due
    _pass, _due = threading.Lock(), 0.0


os.register_at_fork(after_in_child=_after_fork)
