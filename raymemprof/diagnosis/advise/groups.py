"""The recorded calls by function and by actor class, each with what has a peak of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ...journal import OTHER_NAMES
from ...reading.catalog.function_names import function_of
from ...reading.catalog.records import Call, CompactedCalls
from .growth import process_of

__all__ = ["Group", "groups_of"]

_SLACK = 0.02
"""Seconds by which a call may end later than its beginning and duration say: the time between is not counted."""


@dataclass(slots=True)
class Group:
    """The calls of a function, or of a class's actors."""

    name: str
    kind: str
    calls: list[Call] = field(default_factory=list)
    processes: dict[tuple[Any, ...], list[Call]] = field(default_factory=dict)
    """By what has a peak of its own: a call, or an actor's process."""
    compacted: list[CompactedCalls] = field(default_factory=list)
    """Calls that are counted, and not among these."""

    @property
    def call_count(self) -> int:
        """How many calls there were."""
        return len(self.calls) + sum(one.count() for one in self.compacted)

    @property
    def ray_data_peak(self) -> int | None:
        """The highest memory that Ray Data noted by itself; None where it noted none. Bytes."""
        noted = [*(call.ray_data_peak or 0 for call in self.calls), *(one.ray_data_peak for one in self.compacted)]
        return max(noted, default=0) or None

    @property
    def peak_count(self) -> int:
        """How many peaks there were."""
        if self.kind != "actor":
            return self.call_count
        return len(self.processes.keys() | {(*one.process, one.actor_id) for one in self.compacted})


def groups_of(recorded: list[Call], compacted: Iterable[CompactedCalls] = ()) -> Iterable[Group]:
    """Group calls by what they are advised as."""
    groups: dict[tuple[str, str], Group] = {}
    compacted = list(compacted)
    asked: dict[object, set[str]] = {}
    """The names of calls, by process: what ran within one of these is part of that."""
    for call in recorded:
        asked.setdefault(process_of(call), set()).add(call.name)
    for one in compacted:
        asked.setdefault(one.process, set()).add(one.name)
    whole = [call for call in recorded if call.within not in asked[process_of(call)]]
    for number, call in enumerate(_outermost(whole)):
        kind, name = function_of(call.kind, call.name)
        key: tuple[Any, ...] = (number,)
        if kind == "actor":
            key = (call.node_id, call.worker_id, call.pid, call.actor_id)
        group = groups.setdefault((kind, name), Group(name, kind))
        group.calls.append(call)
        group.processes.setdefault(key, []).append(call)
    for one in sorted(compacted, key=lambda one: set(one.statuses) != {"finished"}):
        if one.within in asked[one.process] or one.name == OTHER_NAMES:
            continue
        kind, name = function_of(one.kind, one.name)
        if (kind, name) in groups or kind == "actor" or set(one.statuses) == {"finished"}:  # else no peak is known
            groups.setdefault((kind, name), Group(name, kind)).compacted.append(one)
    return groups.values()


def _outermost(recorded: list[Call]) -> Iterator[Call]:
    """Leave out what ran within another call of the same task: blocks, and decorated functions that it called."""
    outer: dict[tuple[Any, ...], Call] = {}
    for call in sorted(recorded, key=lambda call: call.started_at):
        task = (call.node_id, call.worker_id, call.pid, call.task_id, call.attempt)
        if call.task_id is not None and task in outer and _is_within(call, outer[task]):
            continue
        outer[task] = call
        yield call


def _is_within(later: Call, earlier: Call) -> bool:
    if earlier.duration is None:  # whatever came later in the task was in this call
        return True
    if later.place is not None and earlier.place is not None and later.place[0] == earlier.place[0]:
        return False  # it took the place in the capture that the earlier one had left
    ends = later.started_at + timedelta(seconds=later.duration or 0)
    return ends <= earlier.started_at + timedelta(seconds=earlier.duration + _SLACK)
