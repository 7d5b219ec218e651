"""The process's one memray tracker: opened by the first call, shared by all, closed when none has come for a while.

memray allows one tracker a process, and starting and stopping it costs tens of milliseconds in a Ray worker. The thread
that opens it stays for as long as it is open and closes it: memray cuts the frames of the thread that opened a tracker.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import journal as contract
from . import budget, notes
from .allocators import Allocators
from .sampler import sampler
from .watch import Watch

if TYPE_CHECKING:
    from .options import Settings

__all__ = ["Lease", "RefusedError", "tracker"]

_OPENING_LIMIT = 30.0
"""Seconds after which a call stops waiting for memray and runs untraced."""
_BACKOFF = 1.0
"""Seconds for which a refusal stands before tracing is tried again."""
_AFTER_YOU = 0.25
"""Seconds in which no capture is opened after one was closed for somebody else's tracker, so that theirs can start."""
_LEAST_FREE = 5.0
"""Percent of the disk that must be free before a capture is begun."""
_RECHECK = 0.05
"""Seconds between looks at whether a capture that must close, or still has calls, has changed."""
_LOOK = 0.25
"""Seconds between looks at how large the open capture is."""
_GROWTH = 256
"""It is compared with the budget whenever it has grown by this part of it."""
_UNDISTURBED = 0.02
"""Seconds for which no other thread interrupts memray while it starts or stops: it takes some milliseconds."""


_FOLLOWED = "memray traces this process as a forked child: what it allocates is part of the call that forked it"
_NOT_FOLLOWED = (
    "this process was forked while memray traced its parent, and memray cannot start in it; "
    "follow_fork=True traces it as part of the call that forked it"
)
_of_parent: str | None = None
"""In a fork of a traced process, why memray does not start in it."""


class RefusedError(Exception):
    """Tracing cannot be had, and why."""


@dataclass(eq=False)
class _Capture:
    path: Path
    settings: Settings
    journal: contract.Journal
    previous: threading.Event | None
    owner: threading.Thread | None = None
    opened: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    error: str | None = None
    ended_by: str | None = None
    """Why it had to be closed although calls ran."""
    linger: float = 0.0
    idle_since: float = 0.0
    size_seen: int = 0
    """Bytes, when it was last compared with the budget."""
    allocators: Allocators = field(default_factory=Allocators)
    watch: Watch | None = None
    turns: dict[int, int] = field(default_factory=dict)
    """How often each slot was taken, less one."""

    def suits(self, settings: Settings, folder: Path) -> bool:
        mine = self.settings
        return (
            self.path.parent == folder
            and mine.native == settings.native
            and mine.python_allocators == settings.python_allocators
            and mine.follow_fork == settings.follow_fork
            and mine.switch_allocators == settings.switch_allocators
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """A call's place in the open capture."""

    capture: _Capture
    slot: int
    turn: int

    @property
    def path(self) -> Path:
        """The capture's file."""
        return self.capture.path

    def before(self) -> dict[str, int]:
        """Return what a call's `begin` line says of allocators."""
        watch = self.capture.watch
        return watch.before() if watch is not None else {}

    @property
    def lost(self) -> str | None:
        """Why the capture was closed before the call ended, if it was."""
        return self.capture.ended_by


class _Owner(threading.Thread):
    """The thread that opens a capture, waits until it has served, and closes it."""


class ProcessTracker:
    """Owns memray's tracker for this process. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._capture: _Capture | None = None
        self._latest: _Capture | None = None
        self._refusal: tuple[float, str] | None = None
        # Who holds a place, and which. Slots are the process's and not a capture's: a call may outlive its capture.
        # Ray cancels a task by raising KeyboardInterrupt anywhere, so taking a place is one assignment, and giving it
        # back is one `pop`, which may be done twice.
        self._holders: dict[object, Lease] = {}

    def acquire(
        self, holder: object, settings: Settings, journal: contract.Journal, stem: Callable[[], str], linger: float
    ) -> Lease:
        """Join the open capture, or open one named `stem()`; raises `RefusedError` where neither can be.

        A capture that is open for other calls is joined whatever its options; an idle one that does not suit is closed.
        `holder` has a place until `release(holder)`, also where this raises anything else.
        """
        folder = journal.path.parent
        while True:
            with self._lock:
                capture = self._capture
                if capture is None:
                    capture = self._start(settings, journal, folder / f"{stem()}.bin")
                if not capture.opened.is_set() or capture.suits(settings, folder) or self._is_active(capture):
                    capture.linger = max(capture.linger, linger)
                    lease = self._holders[holder] = self._next_place(capture)
                    break
                capture.stop.set()
            capture.closed.wait(_RECHECK)
        if not capture.opened.is_set():
            self._wait_for_opening(capture)
        reason = capture.error or (None if capture.opened.is_set() else "memray did not start in time")
        if reason is not None:
            self.release(holder)
            raise RefusedError(reason)
        return lease

    def release(self, holder: object) -> None:
        """Give a call's place back, if it has one."""
        lease = self._holders.pop(holder, None)
        if lease is not None:
            lease.capture.idle_since = time.monotonic()
            if lease.capture.linger == 0:
                lease.capture.stop.set()

    def holders(self) -> list[object]:
        """Return those that have a place."""
        return list(self._holders)

    def followed(self) -> _Capture | None:
        """Return the open capture where memray follows this process's forks. Takes no lock: a fork may hold any."""
        capture = self._capture
        is_open = capture is not None and capture.opened.is_set() and capture.error is None
        return capture if capture is not None and is_open and capture.settings.follow_fork else None

    def close(self, why: str, pause: float = 0.0) -> None:
        """Close the open capture, if there is one, whatever runs, and wait until it is; open none for `pause` s."""
        if isinstance(threading.current_thread(), _Owner):
            return
        if pause:
            self._refuse(why, pause)
        capture = self._latest
        if capture is not None and not capture.closed.is_set() and capture.opened.wait(_OPENING_LIMIT):
            with self._lock:
                capture.ended_by = why
                capture.stop.set()
            capture.closed.wait(_OPENING_LIMIT)

    def _next_place(self, capture: _Capture) -> Lease:
        taken = {lease.slot for lease in self._holders.values()}
        slot = 0
        while slot in taken:
            slot += 1
        turn = capture.turns[slot] = capture.turns.get(slot, -1) + 1
        return Lease(capture, slot, turn)

    def _is_active(self, capture: _Capture) -> bool:
        return any(lease.capture is capture for lease in list(self._holders.values()))

    def _refuse(self, reason: str, seconds: float) -> None:
        self._refusal = (time.monotonic() + seconds, reason)

    def _start(self, settings: Settings, journal: contract.Journal, path: Path) -> _Capture:
        if self._refusal is not None:
            until, reason = self._refusal
            if time.monotonic() < until:
                raise RefusedError(reason)
            self._refusal = None
        capture = _Capture(path, settings, journal, self._latest.closed if self._latest else None)
        self._own_in_thread(capture)
        self._capture = self._latest = capture
        return capture

    def _wait_for_opening(self, capture: _Capture) -> None:
        deadline = time.monotonic() + _OPENING_LIMIT
        while not capture.opened.wait(_RECHECK):
            if time.monotonic() >= deadline:
                self._refuse(f"memray did not start within {_OPENING_LIMIT:.0f} s", _BACKOFF)
                return
            with self._lock:
                if capture.owner is not None and not capture.owner.is_alive() and not capture.opened.is_set():
                    self._own_in_thread(capture)  # Python gave it up before it ran: a hook of somebody's failed in it

    def _own_in_thread(self, capture: _Capture) -> None:
        capture.owner = _Owner(target=self._own, args=(capture,), name="raymemprof-tracker", daemon=True)
        capture.owner.start()

    def _own(self, capture: _Capture) -> None:
        if capture.previous is not None:
            capture.previous.wait()
        try:
            memray_tracker = _open(capture)
        except Exception as error:
            permanent = isinstance(error, ImportError)
            reason = str(error) or type(error).__name__
            capture.error = reason if isinstance(error, RefusedError) else f"memray did not start: {reason}"
            with self._lock:
                self._capture = None
                self._refuse(capture.error, math.inf if permanent else _BACKOFF)
            capture.closed.set()
            capture.opened.set()
            return
        capture.watch = Watch(capture.path.name, capture.journal, capture.allocators)
        capture.watch.start()
        sampler.watch = capture.watch
        capture.opened.set()
        _keep_budget(capture)  # also of what processes left that were killed
        self._wait_until_idle(capture)
        sampler.watch = None
        try:
            with _undisturbed():
                memray_tracker.__exit__(None, None, None)
            capture.journal.write({"event": "close", "capture": capture.path.name, "time": time.time()})
        except Exception as error:
            notes.once("close", f"the capture {capture.path} was not closed cleanly: {error!r}")
        finally:
            capture.allocators.restore()
            capture.closed.set()
        _keep_budget(capture)

    def _wait_until_idle(self, capture: _Capture) -> None:
        """Return once no call has run for `linger` seconds, having taken the capture out of use."""
        pause = 0.01
        while True:
            capture.stop.wait(min(max(pause, 0.001), _LOOK))
            has_to_end = _has_to_end(capture)
            with self._lock:
                if has_to_end:
                    capture.ended_by = capture.ended_by or "the captures took the disk budget (max_bytes) up"
                if capture.ended_by is not None:
                    self._capture = None
                    return
                if not self._is_active(capture):
                    pause = capture.idle_since + capture.linger - time.monotonic()
                    if pause <= 0 or capture.stop.is_set():
                        self._capture = None
                        return
                else:
                    pause = max(capture.linger, _RECHECK)
                    capture.stop.clear()


def _keep_budget(capture: _Capture) -> None:
    """Have captures go that the node's disk has no room for."""
    try:
        budget.enforce(capture.path.parent, capture.settings.max_bytes, capture.settings.keep)
    except Exception as error:
        notes.once("budget", f"captures in {capture.path.parent} were not kept within their budget: {error!r}")


def _has_to_end(capture: _Capture) -> bool:
    """Whether the open capture has grown so much that the disk budget does not hold with it."""
    try:
        size = capture.path.stat().st_size
        if size - capture.size_seen < capture.settings.max_bytes / _GROWTH:
            return False
        capture.size_seen = size
        _keep_budget(capture)
        return budget.has_to_end(capture.path, capture.settings.max_bytes)
    except OSError:
        return False  # the file was removed: it takes no room that could be given back


def _open(capture: _Capture) -> Any:
    """Start memray on this thread; raises whatever goes wrong, having removed what it left."""
    if sys.platform not in ("linux", "darwin"):
        raise RefusedError(f"memray does not run on {sys.platform}")
    import psutil

    if psutil.disk_usage(str(capture.path.parent)).percent > 100 - _LEAST_FREE:
        raise RefusedError(f"less than {_LEAST_FREE:.0f} % of the disk under {capture.path.parent} is free")
    try:
        import memray
    except ImportError as error:
        raise _MemrayMissingError(f"memray cannot be imported on this worker ({error}); install it there") from error
    from .giving_way import give_way

    give_way(_close_for_another)
    settings = capture.settings
    if settings.follow_fork:
        from . import forks  # noqa: F401  # from here on it notes where children begin
    if settings.switch_allocators:
        capture.allocators.switch()
    memray_tracker = None
    try:
        memray_tracker = memray.Tracker(
            destination=memray.FileDestination(capture.path),
            native_traces=settings.native,
            trace_python_allocators=settings.python_allocators,
            follow_fork=settings.follow_fork,
        )
        with _undisturbed():
            memray_tracker.__enter__()
    except Exception as error:
        memray_tracker = None  # lets go of the file before it is removed: memray complains of a missing one
        capture.allocators.restore()
        capture.path.unlink(missing_ok=True)
        is_second = "more than one Tracker" in str(error)
        if _of_parent is not None and (is_second or isinstance(error, AssertionError)):  # in a fork it may have no text
            raise RefusedError(_of_parent) from error
        if is_second:
            raise RefusedError("another memray tracker is active in this process") from error
        raise
    capture.journal.write(
        {"event": "open", "capture": capture.path.name, "time": time.time(), "native": settings.native}
    )
    return memray_tracker


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Have no other thread run while memray goes through the threads: where one of them ends meanwhile, Python crashes.

    It does so in `PyEval_SetProfileAllThreads` before Python 3.14.1 (gh-137400). The interpreter's lock is let go there
    where an audit hook in Python runs, and with filelock Ray brings one from Python 3.12 on.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(max(before, _UNDISTURBED))
    during = sys.getswitchinterval()
    time.sleep(1e-6)  # once this thread has the lock again, whoever waits for it waits for so long
    try:
        yield
    finally:
        if sys.getswitchinterval() == during:  # else somebody has chosen another
            sys.setswitchinterval(before)


class _MemrayMissingError(RefusedError, ImportError):
    """memray is missing: asking again is no use."""


tracker = ProcessTracker()


def _close_for_another() -> None:
    tracker.close("the code started a memray tracker of its own, and a process can have only one", _AFTER_YOU)


def _after_fork() -> None:
    """Leave memray and its thread to the parent; its lock may have been held by a thread that is not here."""
    global _of_parent
    latest = tracker._latest
    if latest is not None and latest.opened.is_set() and not latest.closed.is_set() and latest.error is None:
        _of_parent = _FOLLOWED if latest.settings.follow_fork else _NOT_FOLLOWED
    tracker.__init__()  # type: ignore[misc]
    giving_way = sys.modules.get("raymemprof.recording.giving_way")
    if giving_way is not None:
        giving_way.renew(_close_for_another)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: tracker.close("the process ended"))
