"""The memory of processes over time, as their journals tell it, read on the nodes where these lie."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ... import cluster
from ... import journal as contract
from ...cluster import MissingNode
from ...journal import Begin, Children, End, Event, Memory, Peak, Process, Sample
from . import fetchable
from .evidence import Evidence
from .process import children_of
from .records import Call

__all__ = ["Life", "Lives", "Point", "lives_of", "thinned"]

_MOST_POINTS = 400
"""Points of one process, in parts of its time of which each is told by its highest."""
_MOST_KEPT = 4 * _MOST_POINTS
"""The same of what is read; while it is, there may be more."""
_MOST_HELD = 50_000
_NEAR = 1e-3
"""Seconds by which moments of a journal may differ that are one."""


class Point(NamedTuple):
    """A process's memory at a moment: seconds since the epoch, bytes."""

    time: float
    memory: int
    """With what child processes added."""


@dataclass(frozen=True, slots=True)
class Life:
    """A process while chosen calls ran in it."""

    node_id: str | None
    host: str | None
    pid: int
    calls: tuple[Call, ...]
    """In the order in which they began."""
    points: tuple[Point, ...]
    """In order; two at least."""
    ended: float | None
    """When the process was killed, if it was while one of the calls ran; seconds since the epoch."""
    threshold: int | None
    """Bytes in use above which Ray kills on its node; None where that is not known, or Ray never does."""

    @property
    def peak(self) -> int:
        """The most memory it had."""
        return max(point.memory for point in self.points)

    @property
    def start(self) -> float:
        """When the first of its calls began, in seconds since the epoch."""
        return self.points[0].time

    @property
    def end(self) -> float:
        """The last moment at which it was seen."""
        return self.points[-1].time


class Lives(NamedTuple):
    """The processes that calls ran in, and why some are not among them, in sentences."""

    lives: list[Life]
    left_out: list[str]


class _Request(NamedTuple):
    """Which journal to read, between which moments, and whether to look for when its process was killed."""

    journal: Path
    first: float
    last: float
    is_killed: bool


class _Told(NamedTuple):
    """What a journal tells."""

    process: Process
    points: list[Point]
    ended: float | None
    threshold: int | None


def lives_of(calls: Iterable[Call]) -> Lives:
    """Return the memory over time of the processes that these calls ran in, each read where it lies."""
    by_journal: dict[tuple[str | None, Path], list[Call]] = {}
    for call in calls:
        if call.journal is not None:
            away = call.lies_on if cluster.is_connected() and call.lies_on != cluster.here() else None
            by_journal.setdefault((away, call.journal), []).append(call)
    requests: dict[str | None, list[_Request]] = {}
    for (node_id, path), theirs in by_journal.items():
        first = min(call.started_at.timestamp() for call in theirs)
        is_killed = any(call.status == "killed" for call in theirs)
        requests.setdefault(node_id, []).append(_Request(path, first, max(map(_end_of, theirs)), is_killed))
    told: dict[tuple[str | None, Path], _Told | str] = {}

    def take(node_id: str | None, answer: Sequence[_Told | str]) -> None:
        told.update({(node_id, one.journal): found for one, found in zip(requests[node_id], answer, strict=True)})

    away_requests = {node_id: (asked,) for node_id, asked in requests.items() if node_id is not None}
    missing: tuple[MissingNode, ...] = ()
    if away_requests:
        missing = cluster.on_nodes(_read_there, away_requests, take=take).missing
    if None in requests:
        evidence = cache(Evidence)
        take(None, [_read(one, evidence) for one in requests[None]])
    lives, left_out = [], [str(node) for node in missing]
    for key, theirs in by_journal.items():
        found = told.get(key)
        if isinstance(found, str):
            left_out.append(found)
        elif found is not None:
            lives.append(_life(found, theirs))
    return Lives(lives, left_out)


def thinned(points: Sequence[Point], most: int = _MOST_POINTS) -> tuple[Point, ...]:
    """Return so many points at most: the first, the last, and the highest of each part of the time between."""
    if len(points) <= most:
        return tuple(points)
    first, last = points[0], points[-1]
    parts = most - 2
    width = (last.time - first.time) / parts or 1.0
    highest: dict[int, Point] = {}
    for point in points[1:-1]:
        part = min(int((point.time - first.time) / width), parts - 1)
        if part not in highest or point.memory > highest[part].memory:
            highest[part] = point
    return (first, *(highest[part] for part in sorted(highest)), last)


def _life(told: _Told, calls: list[Call]) -> Life:
    calls = sorted(calls, key=lambda call: call.started_at)
    points = _with_peaks(sorted(told.points), calls)
    if told.ended is not None:
        points.append(Point(max(told.ended, points[-1].time), points[-1].memory))
    if len(points) < 2:
        points.append(points[-1])
    is_killed = any(call.status == "killed" for call in calls)
    process = told.process
    ended = points[-1].time if is_killed else None
    return Life(process.node_id, process.host, process.pid or 0, tuple(calls), thinned(points), ended, told.threshold)


def _with_peaks(points: list[Point], calls: list[Call]) -> list[Point]:
    """Return points of which the highest while a call ran is the call's peak.

    The kernel tells of peaks between two readings, and not when they were: they are drawn where the highest reading is.
    """
    times = [point.time for point in points]
    raised: dict[int, int] = {}
    more: list[Point] = []
    for call in calls:
        start = call.started_at.timestamp()
        first, last = bisect_left(times, start - _NEAR), bisect_right(times, min(_end_of(call), times[-1]) + _NEAR)
        at = max(range(first, last), key=lambda at: points[at].memory, default=None)
        if at is None:
            more.append(Point(start, call.peak_memory))
        elif points[at].memory < call.peak_memory:
            raised[at] = max(raised.get(at, 0), call.peak_memory)
    return sorted([*more, *(Point(time, raised.get(at, memory)) for at, (time, memory) in enumerate(points))])


def _end_of(call: Call) -> float:
    return math.inf if call.duration is None else call.started_at.timestamp() + call.duration


def _read_there(requests: list[_Request]) -> list[_Told | str]:
    """Read journals on the node where they lie. Each is named by its path there; only the name counts."""
    evidence = cache(Evidence)
    found: list[_Told | str] = []
    for one in requests:
        try:
            found.append(_read(one._replace(journal=fetchable.path_of(one.journal.name)), evidence))
        except ValueError as error:  # a `CaptureError`
            found.append(str(error))
    return found


def _read(request: _Request, evidence: Callable[[Path], Evidence]) -> _Told | str:
    """Return what a journal tells of its process's memory, or why it cannot be read."""
    process = Process()
    points: list[Point] = []
    alone: list[Point] = []
    """Those without child processes: of use where there were none."""
    has_children = False
    begins: dict[int, Begin] = {}
    try:
        for line in contract.read_lines(request.journal, with_series=True, with_samples=True):
            if isinstance(line, Process):
                process = process if process.pid is not None else line
                continue
            if isinstance(line, Begin):
                begins[line.call] = line
            is_of_children = isinstance(line, Memory) and line.children is not None
            has_children = has_children or is_of_children or isinstance(line, Children)
            kept = alone if isinstance(line, (Sample, Peak)) else points
            kept += (one for one in _points(line, begins) if request.first - _NEAR <= one.time <= request.last + _NEAR)
            if len(kept) > _MOST_HELD:
                kept[:] = thinned(sorted(kept), _MOST_KEPT)
        points = list(thinned(sorted(points if has_children else points + alone), _MOST_KEPT))
    except OSError as error:
        return f"{request.journal.name} cannot be read: {error.strerror}"
    if not points:
        return f"{request.journal.name} does not tell of memory over time"
    ended = None
    if request.is_killed and process.logs:
        death = evidence(Path(process.logs)).raylet.get((process.pid or 0, process.worker_id))
        ended = death.when.timestamp() if death is not None else None
    thresholds = cluster.kill_thresholds(Path(process.logs)) if process.logs and process.node_id else set()
    return _Told(process, points, ended, thresholds.pop() if len(thresholds) == 1 else None)


def _points(line: Event, begins: dict[int, Begin]) -> list[Point]:
    if isinstance(line, Memory):
        children = line.children or [0] * len(line.memory)
        return [
            Point(line.time + after / 1e3, memory + added)
            for after, memory, added in zip(line.after, line.memory, children, strict=True)
        ]
    if isinstance(line, Begin):
        return [Point(line.time, line.memory + line.children)]
    if isinstance(line, Sample):
        return [Point(line.time, line.memory)]
    if isinstance(line, Peak) and line.time is not None:
        return [Point(line.time, line.memory)]
    if isinstance(line, Children) and line.time is not None:
        return [Point(line.time, line.total)]
    if isinstance(line, End) and line.call in begins:
        left = sum(child.memory for child in children_of(line.left))
        return [Point(begins.pop(line.call).time + line.duration, line.memory + left)]
    return []
