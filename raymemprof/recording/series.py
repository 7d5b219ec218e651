"""The process's memory over time while calls run: those of the sampler's readings that are kept in the journal.

A call is divided into parts that grow with it, and of each the highest reading is kept, so that a call of a day has
some ten times the points of one of three seconds. They are written a quarter of a second later at most, so the series
of a worker that is killed ends near its end.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from . import warn

if TYPE_CHECKING:
    from .journals import Journal
    from .running_call import RunningCall

__all__ = ["Series"]

_PARTS = 50
"""A part is this share of what the call has lasted so far."""
_SHORTEST = 0.05
"""Seconds that a part lasts at least: a shorter call, whose memory stays as it is, has no points."""
_SOONER = 4
"""A part that memory moves in ends after a quarter of that."""
_STEP, _STEP_PART = 4 * 2**20, 1 / 16
"""Bytes that memory must have moved by, and the share of what it was."""
_LATEST = 0.25
"""Seconds after which a point is written."""


class _Point(NamedTuple):
    time: float
    """Seconds since the epoch."""
    memory: int
    children: int

    @property
    def total(self) -> int:
        return self.memory + self.children


class Series:
    """Takes every reading of the sampler, and writes some to the journals of the calls that run."""

    def __init__(self) -> None:
        self._highest: _Point | None = None
        """Of the part that is going on."""
        self._before: _Point | None = None
        """The reading before the latest one."""
        self._began = 0.0
        """When it began; and the memory then."""
        self._total = 0
        self._waiting: list[_Point] = []
        self._waits_since = 0.0
        self._journals: dict[int, Journal] = {}

    def take(self, now: float, memory: int, children: int, calls: Iterable[RunningCall]) -> None:
        """Take a reading while calls run; `now` is the monotonic clock, by which they say when they began."""
        began = [call.began for call in calls]
        reading = _Point(time.time(), memory, children)
        if self._began < min(began):  # there was none before
            self._began, self._total, self._highest, self._before = min(began), reading.total, None, None
        if self._highest is None or reading.total >= self._highest.total:
            self._highest = reading
        part = max((now - max(began)) / _PARTS, _SHORTEST)
        moved = max(abs(self._highest.total - self._total), abs(reading.total - self._total))
        if now - self._began >= (part / _SOONER if moved >= max(_STEP, self._total * _STEP_PART) else part):
            self._add(now, reading, calls)
        self._before = reading
        if self._waiting and now - self._waits_since >= _LATEST:
            self.write()

    def write(self) -> None:
        """Write what waits. Never raises `OSError`."""
        points, self._waiting = self._waiting, []
        journals, self._journals = list(self._journals.values()), {}
        if not points:
            return
        line: dict[str, Any] = {
            "event": "memory",
            "time": round(points[0].time, 3),
            "after": [max(round((point.time - points[0].time) * 1e3), 0) for point in points],
            "memory": [point.memory for point in points],
        }
        if any(point.children for point in points):
            line["children"] = [point.children for point in points]
        for journal in journals:
            try:
                journal.write(line)
            except OSError as error:
                warn.once("series", f"memory over time was not written to {journal.path}: {error}")

    def _add(self, now: float, reading: _Point, calls: Iterable[RunningCall]) -> None:
        """End a part: its highest reading is a point, and so are those beside it where that is a step."""
        highest, before = self._highest or reading, self._before
        step = max(_STEP, highest.total * _STEP_PART)
        if not self._waiting:
            self._waits_since = now
        if before is not None and before.time < highest.time and highest.total - before.total >= step:
            self._waiting.append(before)
        self._waiting.append(highest)
        if highest.total - reading.total >= step:
            self._waiting.append(reading)
        for call in calls:
            self._journals[id(call.journal)] = call.journal
        self._began, self._total, self._highest = now, reading.total, None
