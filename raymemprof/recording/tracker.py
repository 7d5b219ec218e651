"""The process's one memray tracker: opened by the first call, shared by all, closed when none has come for a while.

memray allows one tracker a process, and starting and stopping it costs tens of milliseconds in a Ray worker. The thread
that opens it stays for as long as it is open and closes it: memray cuts the frames of the thread that opened a tracker.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import cluster
from . import warn
from .capture import Capture, RefusedError, UnwritableNameError
from .fork_captures import note_fork
from .safety import locks
from .safety.threads import HiddenThread, current
from .sampler import sampler
from .source_texts import AT_FIRST, AT_LAST, keep_sources
from .watch import Watch

if TYPE_CHECKING:
    from .journals import Journal
    from .options import Settings

__all__ = ["Lease", "ProcessTracker", "RefusedError", "tracker"]

_OPENING_LIMIT = 30.0
"""Seconds after which a call stops waiting for memray and runs untraced."""
_CLOSING_LIMIT = 5.0
"""Seconds to wait for the end of a capture that no call runs in."""
_CLOSING_LOOK = 0.05
_FIRST_PAUSE = 0.05
"""Seconds until the next attempt, after two calls in a row had names that memray cannot write. Each more doubles it."""
_BACKOFF = 1.0
"""Seconds for which a refusal stands before tracing is tried again."""
_AFTER_YOU = 0.25
"""Seconds in which no capture is opened after one was closed for somebody else's tracker, so that theirs can start."""
_LONGEST_LOCK = 1.0
"""Seconds for which a call waits for others that begin: each takes microseconds."""
_RECHECK = 0.05
"""Seconds between looks at whether a capture that must close, or still has calls, has changed."""
_LOOKED = 0.005
"""Seconds for which a look at whether the open capture is well holds for the next calls."""
_LOOK = 0.05
"""Seconds between looks at how large the open capture is, and whether it is written still."""


@dataclass(eq=False, slots=True)
class Lease:
    """A call's place in the open capture."""

    capture: Capture
    slot: int
    turn: int

    def lost(self) -> str | None:
        """Return why not all of the call that ends now is in the capture, if that is so."""
        return None if self.capture.is_well(_LOOKED) else self.capture.ended_by


class _Owner(HiddenThread):
    """The thread that opens a capture, waits until it has served, and closes it."""


class ProcessTracker:
    """Owns memray's tracker for this process. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_taking = False
        """Whether a call takes its place; seen by a finalizer that interrupts that, and has the lock therefore."""
        self._capture: Capture | None = None
        self._latest: Capture | None = None
        self._refusal: tuple[float, str] | None = None
        self._pause_for_names = 0.0
        # Who holds a place, and which. Slots are the process's and not a capture's: a call may outlive its capture.
        # Ray cancels a task by raising KeyboardInterrupt anywhere, so taking a place is one assignment, and giving it
        # back is one `pop`, which may be done twice.
        self._holders: dict[object, Lease] = {}

    def acquire(
        self, holder: object, settings: Settings, journal: Journal, stem: Callable[[], str], linger: float
    ) -> Lease:
        """Join the open capture, or open one named `stem()`; raises `RefusedError` where neither can be.

        A capture that is open for other calls is joined whatever its options; an idle one that does not suit is closed.
        `holder` has a place until `release(holder)`, also where this raises anything else.
        """
        if isinstance(current(), _Owner):
            raise RefusedError("it was called by a finalizer in the thread that starts memray")
        while True:
            try:
                # A thread that holds it may wait for this one: in a finalizer of the user's, which wants another lock.
                if not self._lock.acquire(timeout=_LONGEST_LOCK) or self._is_taking:
                    raise RefusedError("it was called by a finalizer while its thread began another call")
                self._is_taking = True
                try:
                    capture, lease = self._joined(holder, settings, journal, stem, linger)
                finally:
                    self._is_taking = False
            finally:
                try:
                    self._lock.release()
                except RuntimeError as error:
                    locks.was_not_taken(error)
            if lease is not None:
                break
            capture.closed.wait(_RECHECK)
        reason = None if capture.opened.is_set() else self._wait_for_opening(capture)
        reason = capture.error or reason
        if reason is not None:
            self.release(holder)
            raise RefusedError(reason)
        return lease

    def _joined(
        self,
        holder: object,
        settings: Settings,
        journal: Journal,
        stem: Callable[[], str],
        linger: float,
    ) -> tuple[Capture, Lease | None]:
        """Give a call a place in the capture that is open, or in a new one; none where it has to end first."""
        capture = self._capture
        if capture is None:
            _refuse_beside_a_profiler()
            capture = self._start(settings, journal, Path(journal.folder, f"{stem()}.bin"))
        is_open = capture.opened.is_set()
        if not is_open or (
            capture.is_well(_LOOKED) and (capture.suits(settings, journal.folder) or self._is_active(capture))
        ):
            capture.linger = max(capture.linger, linger)
            lease = self._holders[holder] = self._next_place(capture)
            return capture, lease
        capture.stop.set()
        return capture, None

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

    def open_capture(self) -> Capture | None:
        """Return the capture that is open, or is being opened or closed, if there is one."""
        capture = self._latest
        return capture if capture is not None and not capture.closed.is_set() else None

    def followed(self) -> Capture | None:
        """Return the open capture where memray follows this process's forks. Takes no lock: a fork may hold any."""
        capture = self._capture
        is_open = capture is not None and capture.opened.is_set() and capture.error is None
        return capture if capture is not None and is_open and capture.settings.follow_fork else None

    def close(self, why: str, pause: float = 0.0) -> None:
        """Close the open capture, if there is one, whatever runs, and wait until it is; open none for `pause` s."""
        if isinstance(current(), _Owner):
            return
        if pause:
            self._refuse(why, pause)
        capture = self._latest
        if capture is not None and not capture.closed.is_set() and capture.opened.wait(_OPENING_LIMIT):
            with self._lock:
                capture.ended_by = why
                capture.stop.set()
            capture.closed.wait(_OPENING_LIMIT)

    def close_idle(self) -> None:
        """Close the open capture, if no call runs in it, and wait until it is. Never raises of its own accord."""
        try:
            with self._lock:
                capture = self._capture
                if capture is None or isinstance(current(), _Owner) or self._is_active(capture):
                    return
                capture.stop.set()
            until = time.monotonic() + _CLOSING_LIMIT
            while not capture.closed.wait(_CLOSING_LOOK) and not self._is_active(capture):
                if time.monotonic() > until:
                    break
        except Exception as error:
            warn.once("idle", f"tracing was not ended while no call ran: {error!r}")

    def _next_place(self, capture: Capture) -> Lease:
        slot = 0
        if self._holders:
            taken = {lease.slot for lease in self._holders.values()}
            while slot in taken:
                slot += 1
        turn = capture.turns[slot] = capture.turns.get(slot, -1) + 1
        return Lease(capture, slot, turn)

    def _is_active(self, capture: Capture) -> bool:
        return any(lease.capture is capture for lease in list(self._holders.values()))

    def _refuse(self, reason: str, seconds: float) -> None:
        self._refusal = (time.monotonic() + seconds, reason)

    def _start(self, settings: Settings, journal: Journal, path: Path) -> Capture:
        if self._refusal is not None:
            until, reason = self._refusal
            if time.monotonic() < until:
                raise RefusedError(reason)
            self._refusal = None
        previous = self._latest.closed if self._latest else None
        capture = Capture(path, settings, journal, previous, _close_for_its_number)
        latest = self._latest
        self._capture = self._latest = capture  # before: an exception of the user's may come when the thread is there
        try:
            self._own_in_thread(capture)
        except BaseException:
            if capture.owner is None or not capture.owner.is_alive():
                self._capture, self._latest = None, latest
            raise
        return capture

    def _wait_for_opening(self, capture: Capture) -> str | None:
        """Return once memray has started, or why it is not waited for any more."""
        deadline = time.monotonic() + _OPENING_LIMIT
        while not capture.opened.wait(_RECHECK):
            if time.monotonic() >= deadline:
                reason = f"memray did not start within {_OPENING_LIMIT:.0f} s"
                self._refuse(reason, _BACKOFF)
                return reason
            with self._lock:
                if capture.owner is not None and not capture.owner.is_alive() and not capture.opened.is_set():
                    self._own_in_thread(capture)  # Python gave it up before it ran: a hook of somebody's failed in it
        return None

    def _own_in_thread(self, capture: Capture) -> None:
        capture.owner = _Owner(lambda: self._own(capture))
        capture.owner.start()

    def _own(self, capture: Capture) -> None:
        if capture.previous is not None:
            capture.previous.wait()
        try:
            if capture.settings.follow_fork:
                from . import followed_forks  # few need it

                followed_forks.note(self)
            capture.open(_close_for_another)
        except Exception as error:
            pause = math.inf if isinstance(error, ImportError) else _BACKOFF
            if isinstance(error, UnwritableNameError):  # the next call may have none
                pause = min(self._pause_for_names, _BACKOFF)
                self._pause_for_names = 2 * pause or _FIRST_PAUSE
            reason = str(error) or type(error).__name__
            capture.error = reason if isinstance(error, RefusedError) else f"memray did not start: {reason}"
            with self._lock:
                self._capture = None
                self._refuse(capture.error, pause)
            capture.closed.set()
            capture.opened.set()
            return
        self._pause_for_names = 0.0
        keep_sources(capture.journal, capture.settings.max_bytes, AT_FIRST)
        capture.watch = Watch(capture.name, capture.journal, capture.allocators)
        capture.watch.start()
        sampler.watch = capture.watch
        capture.opened.set()
        try:
            cluster.before_graph(_close_idle)
        except Exception as error:
            warn.once("graph", f"compiled graphs are traced while Ray imports PyTorch: {error!r}")
        capture.keep_budget()  # also of what processes left that were killed
        self._wait_until_idle(capture)
        sampler.watch = None
        keep_sources(capture.journal, capture.settings.max_bytes, AT_LAST)
        try:
            capture.close()
        except Exception as error:
            warn.once("close", f"the capture {capture.path} was not closed cleanly: {error!r}")
        finally:
            capture.closed.set()
        capture.keep_budget()

    def _wait_until_idle(self, capture: Capture) -> None:
        """Return once no call has run for `linger` seconds, having taken the capture out of use."""
        pause = 0.01
        while True:
            capture.stop.wait(min(max(pause, 0.001), _LOOK))
            has_to_end = not capture.is_well() or capture.is_too_large()
            keep_sources(capture.journal, capture.settings.max_bytes)
            with self._lock:
                if has_to_end or capture.ended_by is not None:
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


def _refuse_beside_a_profiler() -> None:
    """Raise `RefusedError` where memray would take the place of a profiler of the user's in this thread."""
    profiler = sys.getprofile()
    if profiler is not None and not isinstance(profiler, int):  # a number is memray's, of another's tracker
        raise RefusedError("the code runs under a profiler (sys.setprofile, cProfile), whose place memray would take")


tracker = ProcessTracker()


def _close_idle() -> None:
    """End tracing before an actor works for a compiled graph: Ray imports PyTorch then, which takes thrice as long."""
    tracker.close_idle()


def _close_for_its_number() -> None:
    tracker.close("the code put another file in the place of a descriptor that memray wrote through")


def _close_for_another() -> None:
    tracker.close("the code started a memray tracker of its own, and a process can have only one", _AFTER_YOU)


def _after_fork() -> None:
    """Leave memray and its thread to the parent; its lock may have been held by a thread that is not here."""
    note_fork(tracker._latest)
    tracker.__init__()  # type: ignore[misc]
    other_trackers = sys.modules.get(f"{__package__}.other_trackers")  # it imports memray, which few processes do
    if other_trackers is not None:
        other_trackers.renew(_close_for_another)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: tracker.close("the process ended"))
