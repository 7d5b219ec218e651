"""One daemon thread that watches the process's memory while calls run, and sleeps when none does."""

from __future__ import annotations

import math
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from . import warn
from .memory import process_memory
from .memory.children import children
from .safety import locks
from .safety.threads import HiddenThread
from .safety.wakeup import Wakeup
from .series import Series

if TYPE_CHECKING:
    from .journals import Journal
    from .running_call import RunningCall
    from .watch import Watch

__all__ = ["sampler"]

_RISE, _SLOW_RISE = 1.1, 1.02
"""A new peak is written to the journal when it is a tenth or more above the last one written; later, a fiftieth."""
_LATER = 0.5
"""Seconds from the last one written until then."""
_LEAST_CHILDREN = 4 * 2**20
"""Bytes beyond that by which children must have risen."""
_FAST = 0.005
"""Seconds between looks while memory moves in a call that is traced, and between the first ones at it."""
_FAST_TICKS = 4
_IDLE_PAUSE = 0.02
_IDLE_TICKS = 25
"""Looks at no call running after which the thread goes to sleep: waking it costs more than a short call."""


class Sampler:
    """Raises the peak of every running call to the memory it reads, every few milliseconds."""

    def __init__(self) -> None:
        self._calls: dict[int, RunningCall] = {}
        self._wake = Wakeup()
        self._pause = math.inf
        """Seconds that the thread sleeps until its next look; a call that wants one sooner wakes it."""
        self._thread: HiddenThread | None = None
        self._lock = threading.RLock()
        self._series = Series()
        self.watch: Watch | None = None
        """Of the capture that is open; set by the tracker."""

    def add(self, call: RunningCall) -> None:
        """Watch a call from now on."""
        call.began = time.monotonic()
        call.slow_rise_due = call.began + _LATER
        self._calls[id(call)] = call
        if call.settings.interval_ms / 1e3 < self._pause:
            self._wake.set()
            if self._thread is None:
                self._start()

    def saw(self, private: int, shared: int) -> None:
        """Take a reading of the process's memory into account for every call that runs."""
        for call in list(self._calls.values()):
            call.saw(private, shared)

    def remove(self, call: RunningCall) -> None:
        """Stop watching a call."""
        self._calls.pop(id(call), None)

    def _start(self) -> None:
        try:
            if not self._lock.acquire(blocking=False) or self._thread is not None:
                return  # another thread starts it
            thread = self._thread = HiddenThread(self._run)  # a finalizer may come here while it starts
            try:
                thread.start()
            except BaseException:
                if not thread.is_alive():
                    self._thread = None
                raise
        finally:
            try:
                self._lock.release()
            except RuntimeError as error:
                locks.was_not_taken(error)

    def _run(self) -> None:
        idle_ticks = 0
        while True:
            self._pause = math.inf  # from here on a new call wakes the thread, which has not counted it
            calls = list(self._calls.values())
            pause: float | None
            try:
                if calls:
                    idle_ticks = 0
                    pause = self._sample(calls)
                else:
                    idle_ticks += 1
                    pause = self._idle(idle_ticks)
            except Exception as error:
                pause = _IDLE_PAUSE
                warn.once("sampler", f"memory was not sampled: {error!r}")
            if pause is not None:
                self._pause = pause
            self._wake.wait(pause)
            self._wake.clear()

    def _idle(self, ticks: int) -> float | None:
        """Look between calls, when Ray may work for the next one; return the seconds until the next time, if any."""
        watch = self.watch
        is_moving = watch is not None and watch.between()
        if ticks == 1:
            self._series.write()
        if ticks == 2 and watch is not None:
            watch.idle()
        if is_moving:
            return _FAST
        return _IDLE_PAUSE if ticks <= _IDLE_TICKS else None

    def _sample(self, calls: list[RunningCall]) -> float:
        """Read the process's memory for these calls; return the seconds until the next time."""
        watch = self.watch
        traced = [call for call in calls if call.lease is not None and call.lease.capture.watch is watch]
        capture = next((call.lease.capture for call in traced if call.lease is not None), None)
        if watch is not None and capture is not None and capture.ended_by is None:  # which its own thread looks at
            watch.tick(traced)
        private, shared, _ = process_memory.now()
        for call in calls:
            call.saw(private, shared)
        added = children.look(private)
        risen: dict[int, list[RunningCall]] = {}
        families: dict[int, list[RunningCall]] = {}
        now = time.monotonic()
        for call in calls:
            rise = _RISE if now < call.slow_rise_due else _SLOW_RISE
            if call.saw_children(private, added) and (
                call.total >= call.written_total * rise or added >= call.written_children * rise + _LEAST_CHILDREN
            ):
                call.written_total, call.written_children = call.total, call.children_peak
                call.slow_rise_due = now + _LATER
                families.setdefault(id(call.journal), []).append(call)
            if call.peak >= call.written_peak * rise:
                call.written_peak, call.slow_rise_due = call.peak, now + _LATER
                risen.setdefault(id(call.journal), []).append(call)
        when = round(time.time(), 3) if risen or families else 0.0
        for group in risen.values():
            _write(
                group[0].journal,
                {
                    "event": "peak",
                    "calls": [call.number for call in group],
                    "memory": max(c.peak for c in group),
                    "time": when,
                },
            )
        for group in families.values():
            _write(
                group[0].journal,
                {
                    "event": "children",
                    "calls": [call.number for call in group],
                    "memory": added,
                    "total": private + added,
                    "time": when,
                }
                | children.seen(),
            )
        self._series.take(now, private, added, calls)
        pause = min([call.settings.interval_ms for call in calls]) / 1e3
        if watch is None or not traced:
            return pause
        is_new = False
        for call in traced:
            call.ticks += 1
            is_new = is_new or call.ticks <= _FAST_TICKS
        return min(pause, _FAST) if is_new or watch.is_moving else pause


def _write(journal: Journal, line: dict[str, Any]) -> None:
    try:
        journal.write(line)
    except OSError as error:
        warn.once("peaks", f"a new peak was not written to {journal.path}: {error}")


sampler = Sampler()


def _after_fork() -> None:
    sampler.__init__()  # type: ignore[misc]  # the parent's thread does not exist here


os.register_at_fork(after_in_child=_after_fork)
