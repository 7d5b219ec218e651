"""The charts of the doctor's page, as figures: what each node's memory is used for, and calls and kills over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ... import cluster
from ...display.text import show_bytes, show_seconds
from ...reading.catalog.records import Call, Calls, compacted_of
from ..ooms import Kills
from ..timeline.scale import WIDTH, Scale, Tick
from ..usage.records import NodeUsage

__all__ = ["WIDTH", "Bar", "Timeline", "bar", "timeline"]

_HEIGHT = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 14, 34
"""Pixels of the timeline around what it shows."""
_MOST_CALLS = 400
"""Calls in the timeline: the largest, and all that were killed."""
_PARTS: tuple[tuple[str, str, Callable[[NodeUsage], int]], ...] = (
    ("workers", "Tasks, actors, drivers", lambda node: node.workers),
    ("store", "Object store", lambda node: node.object_store),
    ("system", "Ray itself", lambda node: node.system),
    ("shared", "Other shared memory", lambda node: node.shared_memory or 0),
    ("rest", "All else", lambda node: node.unexplained),
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a bar; `colour` is a variable of the style."""

    colour: str
    label: str
    told: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Limit:
    """The mark on a bar above which processes are killed."""

    x: float
    side: str
    told: str


@dataclass(frozen=True, slots=True)
class Bar:
    """What a node's memory is used for."""

    name: str
    told: str
    description: str
    parts: tuple[Part, ...]
    limit: Limit | None


def bar(node: NodeUsage) -> Bar:
    """Return a node's bar, with the mark above which processes are killed."""
    name = f"{node.node_ip} ({node.node_id[:8]}…){', the head' if node.is_head else ''}"
    kills = "Ray never kills"
    if node.ray_kill_limit is not None:
        kills = f"{node.killer} kills above {show_bytes(node.kill_limit)}"
        if node.isolation is not None:
            kills = f"{kills} of workers and objects, which use {show_bytes(node.counted)}"
    told = f"{show_bytes(node.used)} of {show_bytes(node.total)} used; {kills}"
    scale = WIDTH / max(node.total, node.explained, 1)
    x, parts = 0.0, []
    for colour, label, size in _PARTS:
        width = size(node) * scale
        parts.append(Part(colour, label, f"{label}: {show_bytes(size(node))}", round(x, 1), round(width, 1)))
        x += width
    limit = None
    # Where other memory counts than what is used, the limit is not of what the bar shows.
    if node.ray_kill_limit is not None and node.counted == node.used:
        at = node.kill_limit * scale
        limit = Limit(round(at, 1), "end" if at > WIDTH / 2 else "start", kills)
    sizes = ", ".join(f"{label.lower()} {show_bytes(size(node))}" for _, label, size in _PARTS)
    return Bar(name, told, f"{name}: {told}: {sizes}", tuple(parts), limit)


@dataclass(frozen=True, slots=True)
class Shape:
    """A call's bar, or a kill's cross, which has no width."""

    x: float
    y: float
    width: float
    told: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Each call as a bar at the height of its peak, and each kill as a cross at what was used."""

    description: str
    hidden: str
    sizes: tuple[Tick, ...]
    times: tuple[Tick, ...]
    calls: tuple[Shape, ...]
    kills: tuple[Shape, ...]
    width: int = WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT


def timeline(every: Calls, killed: Kills, now: datetime) -> Timeline | None:
    """Return the timeline of calls and kills; None where there are none."""
    calls = _shown(every)
    kills = [kill for kill in killed if not cluster.is_ours(kill.name)]
    if not calls and not kills:
        return None
    begins = [call.started_at for call in calls] + [kill.when for kill in kills]
    ends = [_end(call, killed, now) for call in calls] + [kill.when for kill in kills]
    first, last = min(begins), max(ends)
    most = max([call.peak_memory for call in calls] + [kill.memory or 0 for kill in kills]) * 1.08 or 1
    seconds = max((last - first).total_seconds(), 1.0)
    times = Scale(first.timestamp(), first.timestamp() + seconds, _LEFT, WIDTH - _RIGHT)
    up = Scale(0, most, _HEIGHT - _BOTTOM, _TOP)

    def across(when: datetime) -> float:
        return times(when.timestamp())

    bars = []
    for call in calls:
        x, width = across(call.started_at), across(_end(call, killed, now)) - across(call.started_at)
        told = f"{call.name}, {call.status}: peak {show_bytes(call.peak_memory)}, {show_seconds(call.duration)}"
        y = up(call.peak_memory) - 3
        bars.append(Shape(round(x, 1), round(y, 1), round(max(width, 3.0), 1), told.rstrip(", ")))
    crosses = []
    for kill in kills:
        x, y = across(kill.when), up(kill.memory or 0)
        had = f" with {show_bytes(kill.memory)}" if kill.memory is not None else ""
        told = f"{kill.name or 'a worker'} killed at {kill.when:%H:%M:%S}{had}"
        crosses.append(Shape(round(x - 6, 1), round(y - 6, 1), 0, told))
    hidden = len(every) - len(calls) + sum(one.count() for one in compacted_of(every))
    return Timeline(
        description=f"{len(calls)} calls and {len(kills)} kills between {first:%H:%M:%S} and {last:%H:%M:%S} UTC",
        hidden=f"; {hidden} smaller calls are not shown" if hidden else "",
        sizes=up.sizes(),
        times=times.times(),
        calls=tuple(bars),
        kills=tuple(crosses),
    )


def _shown(calls: Calls) -> list[Call]:
    return sorted(calls, key=lambda call: (call.status != "killed", -call.peak_memory))[:_MOST_CALLS]


def _end(call: Call, kills: Kills, now: datetime) -> datetime:
    if call.duration is not None:
        return call.started_at + timedelta(seconds=call.duration)
    if call.status == "running":
        return max(now, call.started_at)
    died = next((kill.when for kill in kills if kill.call == call), call.started_at)
    return max(died, call.started_at)
