"""One capture: starts memray on it, tells when what is traced does not arrive there any more, and stops memray.

memray writes to its file for as long as it traces, whatever became of the file: it was deleted or renamed, the disk is
full, or the descriptor was closed and is another file's. So it is looked at with each call, and twenty times a second
(`tracker.py`), and where something is wrong tracing ends, before more is lost or comes to where it does not belong.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import journal as contract
from . import disk_budget, warn
from .fork_captures import make_forks_private, make_private, why_not_in_a_fork
from .memory.allocators import Allocators
from .memray_tracker import first_unwritable, free_threads, is_tracing, undisturbed, unwritable_name
from .safety import descriptors, file_size_limit
from .safety.wakeup import Wakeup

if TYPE_CHECKING:
    from .journals import Journal
    from .options import Settings
    from .safety.threads import HiddenThread
    from .watch import Watch

__all__ = ["Capture", "RefusedError", "UnwritableNameError"]

_LEAST_FREE = 5.0
"""Percent of the disk that must be free for a capture to be begun, or to grow."""
_GROWTH = 256
"""A capture is compared with the budget whenever it has grown by this part of it."""
_CHECKSUM_LIMIT = 2.0
"""Seconds that the checksum of a closed capture may take; the file was just written, so it is in memory."""
_RSS_INTERVAL = 100
"""Milliseconds between memray's own looks at the process's memory. Where C code closed the descriptor that it reads
that from, the next look ends the process: by then tracing has ended."""
_STATUS = "/proc/self/status"
"""What memray keeps open to read the process's memory from."""
_DISK_FULL = f"less than {_LEAST_FREE:.0f} % of the disk under {{}} is free"
_CLOSED = "a descriptor that memray writes through was closed by the code, so tracing ended"
_GONE = "the capture was deleted, renamed or replaced while it was written"
_JOURNAL_GONE = "the journal was deleted, renamed or replaced while the capture was written"
_CANNOT_WRITE = "memray could not write on to the capture: the disk was full, or a limit or a quota reached"
_SIGNAL = "a limit holds for the size of files (RLIMIT_FSIZE), and SIGXFSZ, which is not ignored, enforces it"


class RefusedError(Exception):
    """Tracing cannot be had, and why."""


class _MemrayMissingError(RefusedError, ImportError):
    """memray is missing: asking again is no use."""


class UnwritableNameError(RefusedError):
    """A name is no Unicode text: another call can be traced at once."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"{what} {name!a} is not valid Unicode, which memray needs")


@dataclass(eq=False)
class Capture:
    """A capture of this process, from before it is opened until after it is closed."""

    path: Path
    settings: Settings
    journal: Journal
    previous: threading.Event | None
    """Set when the capture before it is closed."""
    give_up: Callable[[], None]
    """Has it closed, and waits until it is: somebody needs the number of its descriptor."""
    owner: HiddenThread | None = None
    opened: threading.Event = field(default_factory=threading.Event)
    stop: Wakeup = field(default_factory=Wakeup)
    closed: threading.Event = field(default_factory=threading.Event)
    error: str | None = None
    ended_by: str | None = None
    """Why it had to be closed although calls ran."""
    linger: float = 0.0
    idle_since: float = 0.0
    allocators: Allocators = field(default_factory=Allocators)
    watch: Watch | None = None
    turns: dict[int, int] = field(default_factory=dict)
    """How often each slot was taken, less one."""
    name: str = field(init=False)
    folder: str = field(init=False)
    """The file's name, and where it is: each call asks, and a path takes microseconds to answer."""
    _size_seen: int = 0
    """Bytes of it and of what is its in the journal, when they were last compared with the budget."""
    _lines_before: int = 0
    """Bytes that had been written to the journal when it was opened."""
    _memray: Any = None
    _file: descriptors.Kept | None = None
    _kept: tuple[descriptors.Kept, ...] = ()
    _named: descriptors.Kept | None = None
    """The file that has the capture's name, of no descriptor."""
    _looked_at: float = -math.inf
    _is_closing: bool = False

    def __post_init__(self) -> None:
        self.name, self.folder = self.path.name, str(self.path.parent)
        self._lines_before = self.journal.written

    def suits(self, settings: Settings, folder: str) -> bool:
        """Whether calls with these settings can be traced to it."""
        mine = self.settings
        return (
            self.folder == folder
            and mine.native == settings.native
            and mine.python_allocators == settings.python_allocators
            and mine.follow_fork == settings.follow_fork
            and mine.switch_allocators == settings.switch_allocators
        )

    def is_well(self, within: float = 0.0) -> bool:
        """Whether what is traced now will be found there; where not, have the capture end. Some 10 microseconds.

        A look in the last `within` seconds is enough: that is for short calls.
        """
        now = time.monotonic()
        tracker = self._memray
        if self.ended_by is None and tracker is not None and now >= self._looked_at + within:
            self._looked_at = now
            trouble = self._trouble(tracker)
            if trouble is not None and not self._is_closing:
                self.ended_by = self.ended_by or trouble
                self.stop.set()
        return self.ended_by is None

    def is_too_large(self) -> bool:
        """Whether it has grown so much that the disk, or the budget of its folder, does not hold with it.

        Have the capture end then.
        """
        reason = None
        with contextlib.suppress(OSError):  # what was removed is another trouble, and takes no room that can be had
            if self._is_disk_full():
                reason = _DISK_FULL.format(self.path.parent)
            elif self._is_over_budget():
                reason = "the captures took the disk budget (max_bytes) up"
        self.ended_by = self.ended_by or reason
        return reason is not None

    def _is_over_budget(self) -> bool:
        lines = self.journal.written - self._lines_before
        size = self.path.stat().st_size + lines
        if size - self._size_seen < self.settings.max_bytes / _GROWTH:
            return False
        self._size_seen = size
        self.keep_budget()
        return disk_budget.has_to_end(self.path, lines, self.settings.max_bytes)

    def keep_budget(self) -> None:
        """Have captures go that the node's disk has no room for."""
        try:
            disk_budget.enforce(self.path.parent, self.settings.max_bytes, self.settings.keep)
            disk_budget.compact_journals(self.path.parent, self.settings.max_bytes)
        except Exception as error:
            warn.once("budget", f"captures in {self.path.parent} were not kept within their budget: {error!r}")

    def open(self, give_way: Callable[[], None]) -> None:
        """Start memray on this thread; raises whatever goes wrong, having removed what it left.

        `give_way` is what to do where somebody else comes with a tracker of his own.
        """
        self._refuse()
        try:
            import memray
        except ImportError as error:
            raise _MemrayMissingError(
                f"memray cannot be imported on this worker ({error}); install it there"
            ) from error
        from . import other_trackers

        other_trackers.give_way(give_way)
        make_forks_private()
        if self.settings.follow_fork:
            self.journal.is_shared = True
        if self.settings.switch_allocators:
            self.allocators.switch()
        try:
            self._start(memray)
        except Exception as error:
            self.allocators.restore()
            self.path.unlink(missing_ok=True)
            is_second = "more than one Tracker" in str(error)
            why = why_not_in_a_fork()
            if why is not None and (is_second or isinstance(error, AssertionError)):  # in a fork it may have no text
                raise RefusedError(why) from error
            if is_second:
                raise RefusedError("another memray tracker is active in this process") from error
            raise
        make_private(self)
        try:
            self.journal.write(
                {
                    "event": "open",
                    "capture": self.name,
                    "time": time.time(),
                    "native": self.settings.native,
                }
            )
        except OSError as error:
            self._stop()
            self.allocators.restore()
            self.path.unlink(missing_ok=True)
            raise RefusedError(f"the journal cannot be written: {error}") from error

    def close(self) -> None:
        """Stop memray, and say so in the journal. Raises whatever goes wrong."""
        try:
            self._stop()
            make_private(self)  # memray has written it anew, compressed
            line = {"event": "close", "capture": self.name, "time": time.time(), **_checksum(self.path)}
            self.journal.write(line, is_needed=True)
        finally:
            self.allocators.restore()

    def _refuse(self) -> None:
        if sys.platform not in ("linux", "darwin"):
            raise RefusedError(f"memray does not run on {sys.platform}")
        if first_unwritable([str(self.path)]) is not None:
            raise UnwritableNameError("the name of the folder to record to,", self.folder)
        argument = first_unwritable(sys.argv)
        if argument is not None:
            raise UnwritableNameError("an argument of the command line,", argument)
        _refuse_names()
        if self._is_disk_full():
            raise RefusedError(_DISK_FULL.format(self.path.parent))
        if file_size_limit.would_signal():
            raise RefusedError(_SIGNAL)
        if self.settings.native and _pipe and any(end.status() is None for end in _pipe):
            raise RefusedError("the code closed a descriptor that memray needs for native stacks")

    def _is_disk_full(self) -> bool:
        import psutil

        return psutil.disk_usage(str(self.path.parent)).percent > 100 - _LEAST_FREE

    def _start(self, memray: Any) -> None:
        settings = self.settings
        with descriptors.above_standard() as free:
            tracker = memray.Tracker(
                destination=memray.FileDestination(self.path),
                native_traces=settings.native,
                trace_python_allocators=settings.python_allocators,
                follow_fork=settings.follow_fork,
                memory_interval_ms=_RSS_INTERVAL,
            )
            try:
                with undisturbed():
                    _refuse_names()  # once more: threads ran meanwhile
                    tracker.__enter__()
            except BaseException:
                del tracker  # lets go of the file before it is removed: memray complains of a missing one
                raise
            try:
                self._keep(free)
            except BaseException:
                tracker.__exit__(None, None, None)
                raise
        self._memray = tracker

    def _keep(self, free: int) -> None:
        """Find the descriptors that memray opened, from `free` on."""
        global _pipe
        at_path = os.lstat(self.path)
        wanted = [(at_path.st_dev, at_path.st_ino)]
        self._named = descriptors.Kept(-1, *wanted[0])
        with contextlib.suppress(OSError):
            status = os.stat(_STATUS)
            wanted.append((status.st_dev, status.st_ino))
        found = []
        for which in wanted:
            number = _first_open_on(free, which)
            if number is None:
                warn.once("descriptors", "memray's descriptors were not found, so nothing tells if they are closed")
            else:
                found.append(descriptors.keep(number, self.give_up))
        if not _pipe:
            ends = list(descriptors.find(free, descriptors.is_own_pipe))
            if len(ends) == 2 and os.path.samestat(os.fstat(ends[0]), os.fstat(ends[1])):
                _pipe = tuple(descriptors.keep(end, is_inherited=True) for end in ends)
        self._file = found[0] if found and (found[0].device, found[0].inode) == wanted[0] else None
        self._kept = tuple(found)

    def _stop(self) -> None:
        """Stop memray, which writes to what its descriptor is open on, and then compresses what has its file's name."""
        self._is_closing = True
        tracker, self._memray = self._memray, None
        is_taken = any([kept.status() is None for kept in self._kept])
        is_gone = self._is_gone()
        is_put_aside = (is_taken or is_gone) and self._put_aside()
        try:
            capture = str(self._aside if is_put_aside and not is_gone else self.path)
            stand_ins = {kept: capture if kept is self._file else _STATUS for kept in self._kept}
            if is_gone and self._file is not None:
                stand_ins[self._file] = os.devnull
            with undisturbed(), descriptors.lent(stand_ins):
                tracker.__exit__(None, None, None)
            free_threads()
        finally:
            if is_put_aside and not os.path.lexists(self.path):
                os.rename(self._aside, self.path)
            for kept in self._kept:
                descriptors.release(kept)

    @property
    def _aside(self) -> Path:
        return self.path.with_name(f".{self.path.name}.{os.getpid()}")

    def _put_aside(self) -> bool:
        """Give what has the capture's name another meanwhile, so that memray compresses nothing; return whether it has.

        It would compress another's file, or take time in which threads of Python run on, while it has its number back.
        """
        try:
            os.rename(self.path, self._aside)
        except OSError:  # it is not there, or its name cannot be changed, which memray cannot either then
            return False
        return True

    def _is_gone(self) -> bool:
        return self._named is None or not descriptors.is_named(self._named, str(self.path))

    def _trouble(self, tracker: Any) -> str | None:
        traces = is_tracing(tracker)  # first: what follows may be why it is not
        if any([kept.status() is None for kept in self._kept]):
            return _CLOSED
        if self.settings.native and any([end.status() is None for end in _pipe]):
            return _CLOSED
        if self._is_gone():
            return _GONE
        if self.journal.is_lost():
            return _JOURNAL_GONE
        if not traces:
            return _CANNOT_WRITE
        return _SIGNAL if file_size_limit.would_signal() else None


_pipe: tuple[descriptors.Kept, ...] = ()
"""The pipe that memray's libunwind keeps for the life of the process, and uses for native stacks."""


def _refuse_names() -> None:
    name = unwritable_name()
    if name is not None:
        raise UnwritableNameError("the name of a function or file that runs,", name)


def _first_open_on(free: int, which: tuple[int, int]) -> int | None:
    def is_it(_: int, status: os.stat_result) -> bool:
        return (status.st_dev, status.st_ino) == which

    nearby = descriptors.find(free, is_it)
    return next(nearby, None) or next(descriptors.find(free, is_it, everywhere=True), None)


def _checksum(path: Path) -> dict[str, int]:
    """Return what a closed capture is like, so that damage to it shows when it is read."""
    found = None
    with contextlib.suppress(OSError), descriptors.reading(path, os.O_NONBLOCK | os.O_NOFOLLOW) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # nobody has put something else in its place
            found = contract.checksum(file.fileno(), _CHECKSUM_LIMIT)
    return {"bytes": found[0], "crc32": found[1]} if found is not None else {}
