"""Writes a process's journal, each line with a single `write`, also on a disk that is full, or full for a while.

Threads do not wait for each other. When the journal has grown by some megabytes it is compacted, on a thread of its
own. For its last step, in which the smaller file (`replacement.py`) takes its place, that thread waits until nobody
writes. A line that comes just then is held for some milliseconds, and if that takes longer, in memory.

What must not be lost, as the end of a call, has room kept for it beyond the file's end (`kept_room.py`). Where that is
not to be had it waits in memory until the disk takes it.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import math
import os
import threading
import time
import weakref
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from . import compacting, warn
from .kept_room import KeptRoom
from .replacement import Replacement, is_there
from .safety import descriptors, file_size_limit, interruptions, locks
from .safety.threads import HiddenThread

__all__ = ["IN_LOGS", "Journal"]

IN_LOGS = 0o644
"""The mode of files in the logs of Ray's sessions, as Ray's own have it."""
_PRIVATE = 0o600
_RETRY = 1.0
"""Seconds between attempts to write what has waited."""
_FRESH = 5e-5
"""Seconds for which what the kernel said of the file holds: to ask it takes 6 microseconds."""
_LONGEST_FINISH = 1.0
"""Seconds for which the process's end waits for a thread that compacts."""
_PATIENCE = 0.02
"""Seconds for which lines wait while a smaller file takes the place of this one, which takes a millisecond."""
_NOBODY = 0.005
"""Seconds for which the replacement waits until nobody writes; it is tried again later."""
_ATTEMPTS = 20
_PAUSE = 0.05
"""Seconds between these."""
_LOOK = 0.005
"""Seconds between looks at whether the file has its name still."""
_PART_GONE = 4
"""Of the captures for which lines stayed, more than one in so many must be gone before it is looked at anew."""
_MOST_WAITING = 256 * 2**10
"""Bytes that wait at most."""

_encode_into = msgspec.json.Encoder().encode_into
_LONGEST_AS_A_RULE = 1024
"""Bytes of a line; more are asked for where they are needed."""


def _encoded(line: dict[str, Any]) -> bytes:
    data = bytearray(_LONGEST_AS_A_RULE)
    try:
        _encode_into(line, data)  # where memory is short `encode` ends the process, and this raises MemoryError
        return bytes(data)
    except (TypeError, ValueError, OverflowError):  # halves of surrogate pairs in a text, say
        return json.dumps(line, separators=(",", ":")).encode()


class Journal:
    """An append-only file of JSON lines, written by one process. Every method may be called from any thread."""

    def __init__(self, path: Path, mode: int = _PRIVATE) -> None:
        """Create the file; raises `OSError` where that cannot be done, or something is there already.

        Args:
            path: the file.
            mode: who may read it, and the captures beside it.
        """
        self.path = path
        self.folder = str(path.parent)
        self.mode = mode
        self.written = 0
        """Bytes of all lines so far, whether or not they are still there."""
        self._kept = self._open(os.O_CREAT | os.O_EXCL)
        self._name = str(path)
        self._look_due = 0.0
        self._has_lost_name = False
        self._seen: tuple[descriptors.Kept, os.stat_result | None, float] | None = None
        """What the kernel said of a file, and when."""
        self._torn = False
        self._room = KeptRoom()
        self._waiting: deque[bytes] = deque()
        self._is_first = threading.RLock()
        """Held by the thread that writes what has waited; no other waits for it."""
        self._is_catching_up = False
        self._later: HiddenThread | None = None
        self._writing: set[object] = set()
        """Something for each line that is just written. Whoever writes adds it first, and then looks at the next."""
        self._is_replacing = False
        """Whether a smaller file is about to take the place of this one: nothing may be written then."""
        self._patient_until = 0.0
        self.is_shared = False
        """Whether others write to it too, as forked children do that memray follows: then it is not replaced."""
        self._compacting: HiddenThread | None = None
        self._due_at: float = compacting.LARGE
        """Bytes from which it is looked at whether it is worth while to compact it."""
        self._worth_at = 0
        """Bytes from which it is, or where many of these captures are gone for which lines stayed the last time."""
        self._held_by: frozenset[str] = frozenset()
        self._is_finished = False
        _all.add(self)

    def write(self, line: dict[str, Any], *, is_needed: bool = False) -> int:
        """Append one line, and return its bytes; raises `OSError` where the disk refuses it.

        One that is needed is written later then, and 0 is returned.
        """
        data = _encoded(line) + b"\n"
        try:
            self.catch_up()
            end = None if self._waiting else self._append(data, is_needed)
        except OSError as error:
            if interruptions.is_users(error) or not (is_needed and self._has_room_for(data)):
                raise
            warn.once("journal", f"{self.path} cannot be written now, which is tried again: {error}")
            self._keep_for_later(data)
            return 0
        if end is None:  # so that those of a call keep their order
            if not self._has_room_for(data):
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(self.path))
            self._keep_for_later(data)
            return 0
        self.written += len(data)
        if end > self._due_at:
            self._compact_later(end)
        return len(data)

    def _has_room_for(self, data: bytes) -> bool:
        return sum(map(len, list(self._waiting))) + len(data) <= _MOST_WAITING

    def _keep_for_later(self, data: bytes) -> None:
        self._waiting.append(data)
        try:
            self.catch_up()  # whoever held others back may have ended just before
        except OSError as error:
            if interruptions.is_users(error):
                raise
        if self._waiting:
            self._write_later()

    def catch_up(self) -> None:
        """Write what has waited, unless another thread does. Raises `OSError` where the disk refuses it still."""
        while self._waiting and self._write_waiting():
            pass  # what was added when this thread had ended, and held the lock still, is for it to write

    def _write_waiting(self) -> bool:
        """Write what has waited; return whether all was that did."""
        try:
            if not self._is_first.acquire(blocking=False) or self._is_catching_up:
                return False
            self._is_catching_up = True
            try:
                while self._waiting:
                    if self._append(self._waiting[0], is_needed=True) is None:
                        return False
                    self._waiting.popleft()
            finally:
                self._is_catching_up = False
        finally:
            try:
                self._is_first.release()
            except RuntimeError as error:
                locks.was_not_taken(error)
        return True

    def is_lost(self) -> bool:
        """Whether the file has been deleted, renamed or replaced, so that nobody finds what is written.

        A name is looked up every few milliseconds only.
        """
        if not self._looks_lost():
            return False
        kept, self._look_due = self._kept, 0.0
        # In this order: where a smaller file has just taken its place, `_kept` is that one.
        return self._looks_lost() and not self._is_replacing and kept is self._kept

    def _looks_lost(self) -> bool:
        now = time.monotonic()
        if now >= self._look_due:
            self._look_due = now + _LOOK
            self._has_lost_name = not descriptors.is_named(self._kept, self._name)
        if self._has_lost_name:
            return True
        kept = self._kept
        status = kept.status()
        self._seen = kept, status, now
        return status is not None and status.st_nlink == 0  # if it is None, it is opened again when it is written

    def close(self) -> None:
        """Close the file."""
        descriptors.close(self._kept)

    def __del__(self) -> None:
        if hasattr(self, "_kept"):
            self.close()

    def finish(self) -> None:
        """At the process's end: write what has waited, and give back the room that was kept. Raises `OSError`."""
        self._due_at, self._is_finished = math.inf, True
        deadline = time.monotonic() + _LONGEST_FINISH
        while self._compacting is not None and self._compacting.is_alive() and time.monotonic() < deadline:
            time.sleep(_LOOK)  # or what it wrote would be left there
        self.catch_up()
        if self._waiting:
            raise OSError(errno.EAGAIN, "lines wait for another thread", str(self.path))
        kept = self._kept
        status = kept.status()
        if status is not None:
            self._room.give_back(kept.number, status.st_size)

    def _open(self, flags: int = 0) -> descriptors.Kept:
        flags |= os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        return descriptors.open_kept(self.path, flags, self.mode, give_up=bool)  # it is opened again then

    def _append(self, data: bytes, is_needed: bool) -> int | None:
        """Append to the file, and return where it ends then; None where nothing may be written to it now."""
        while True:
            mine = object()
            try:
                self._writing.add(mine)
                if not self._is_replacing:
                    return self._append_now(data, is_needed)
            finally:
                self._writing.discard(mine)
            if time.monotonic() >= self._patient_until:
                return None
            time.sleep(_PATIENCE / 50)

    def _append_now(self, data: bytes, is_needed: bool) -> int:
        kept, seen, self._seen = self._kept, self._seen, None
        # `is_lost` has just asked, most times.
        is_fresh = seen is not None and seen[0] is kept and time.monotonic() - seen[2] < _FRESH
        status = seen[1] if seen is not None and is_fresh else kept.status()
        if status is None:
            status = self._kept.status() or self._open_again()
        if self._torn:
            data = b"\n" + data
        size = len(data)
        end = status.st_size + size
        if end > file_size_limit.longest_file():
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(self.path))
        if self._room.is_short(end):
            error = self._room.keep(self._kept.number, status.st_size, end)
            if error and not is_needed:
                raise OSError(error, os.strerror(error), str(self.path))
        written = 0
        try:
            written = os.write(self._kept.number, data)
        finally:
            self._torn = written != size and (self._torn or written > 0)
        if written != size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return end

    def _open_again(self) -> os.stat_result:
        """Open the file again, whose descriptor somebody closed."""
        before = self._kept
        descriptors.release(before)
        self._kept = self._open()
        if (self._kept.device, self._kept.inode) != (before.device, before.inode):
            descriptors.close(self._kept)
            self._kept = before
            raise FileNotFoundError(errno.ENOENT, "the journal was deleted, and its descriptor closed", str(self.path))
        return os.fstat(self._kept.number)

    def _compact_later(self, size: int) -> None:
        """Have it looked at on a thread of its own whether to compact it, once at a time."""
        self._due_at = size + compacting.LARGE
        if self.is_shared or self._is_finished or (self._compacting is not None and self._compacting.is_alive()):
            return
        # No more threads or memory, or the process is about to end: the line was written, and its writer must not fail.
        with contextlib.suppress(RuntimeError, MemoryError):
            self._compacting = HiddenThread(lambda: self._compact(size))
            self._compacting.start()

    def _compact(self, size: int) -> None:
        folder = self.path.parent
        try:
            gone = sum([not is_there(folder, name) for name in self._held_by])
            if size < self._worth_at and not gone > len(self._held_by) // _PART_GONE:
                return
            new = Replacement(self.path, self.mode)
            is_journal = False
            try:
                done = new.fill(may_go_on=lambda: not (self._is_finished or self.is_shared))
                self._worth_at, self._held_by = 2 * done.read, done.held_by
                if new.is_worth_while(done):
                    is_journal = self._replace(new)
                    if is_journal:
                        self._worth_at = 2 * done.written
                        self._due_at = done.written + compacting.LARGE
                    else:
                        self._worth_at = size + compacting.LARGE
            finally:
                new.close(is_journal)
            compacting.sweep(folder)
        except Exception as error:
            self._worth_at = 2 * size
            if not (self._is_finished or self.is_shared):
                warn.once("compact", f"{self.path} grows on: it could not be compacted: {error!r}")

    def _replace(self, new: Replacement) -> bool:
        """Have a smaller file take this one's place; return whether it has."""
        for _ in range(_ATTEMPTS):
            before, has_replaced = self._kept, False
            try:
                self._patient_until = time.monotonic() + _PATIENCE
                self._is_replacing = True
                if self._is_nobody_writing():
                    has_replaced = self._replace_now(new)
                    return has_replaced
            except OSError as error:
                if error.errno != errno.EBUSY:  # much was added just now
                    raise
            finally:
                self._is_replacing = False
                if has_replaced:  # where it was opened again instead, that may have its number
                    with contextlib.suppress(OSError):  # a network's file system may say so late that a write failed
                        descriptors.close(before)
                self._catch_up_or_later()
            time.sleep(_PAUSE)
            new.come_near()
        return False

    def _is_nobody_writing(self) -> bool:
        """Wait a little until nobody writes; return whether that is so."""
        deadline = time.monotonic() + _NOBODY
        while self._writing:
            if time.monotonic() > deadline:
                return False
            time.sleep(_NOBODY / 20)
        return True

    def _replace_now(self, new: Replacement) -> bool:
        before = self._kept
        is_it = (before.device, before.inode) == (new.old.device, new.old.inode)
        self._look_due = 0.0
        if new.kept is None or not is_it or self.is_shared or self._is_finished or self._looks_lost():
            return False
        size = os.fstat(new.kept.number).st_size
        room = KeptRoom()
        error = room.keep(new.kept.number, size, size)
        if error:
            raise OSError(error, os.strerror(error), str(self.path))
        new.take_its_place()
        self._kept, self._room, self._seen, self._look_due = new.kept, room, None, 0.0
        return True

    def _catch_up_or_later(self) -> None:
        try:
            self.catch_up()
        except OSError:
            self._write_later()

    def _write_later(self) -> None:
        if self._later is None or not self._later.is_alive():
            self._later = HiddenThread(self._catch_up_later)
            with contextlib.suppress(RuntimeError):  # no more threads, or the process is about to end
                self._later.start()

    def _catch_up_later(self) -> None:
        pause = threading.Event()
        while self._waiting and not self.is_lost():
            pause.wait(_RETRY)
            with contextlib.suppress(OSError):
                self.catch_up()


_all: weakref.WeakSet[Journal] = weakref.WeakSet()


def _finish() -> None:
    for journal in list(_all):
        try:
            journal.finish()
        except OSError as error:
            warn.once("finish", f"{journal.path} is not complete: {error}")


def _after_fork() -> None:
    _all.clear()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_finish)
