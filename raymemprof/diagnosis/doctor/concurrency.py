"""How many processes of one function or class there were at one time on a node, and how large they were together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from ...reading.catalog.function_names import actor_class, short
from ...reading.catalog.records import Call
from ..advise.growth import process_of
from ..explain.families import largest_family
from ..ooms import Kill
from .observed import KillGroup, Observed, users
from .shared_thresholds import MOST_OF_MEMORY, PLAIN_WORKER

__all__ = ["crowd_now", "filling", "is_bystander", "most_at_once", "running_now", "together"]

_AT_ONCE = timedelta(seconds=2)
_LITTLE = 0.05
"""Processes of one name that used less than this part of the limit, together, did not fill the node."""


def crowd_now(observed: Observed, name: str, is_actor: bool, node_id: str | None) -> dict[tuple[str, int], int]:
    """Return the sizes of the processes that run a function, or actors of a class, on a node now."""
    node, roles = observed.node(node_id), ("actor",) if is_actor else ("task", "worker")
    if node is None:
        return {}
    return {
        (node.node_id, process.pid): process.memory
        for process in users(node, *roles)
        if _runs(process.name, name, is_actor)
    }


def together(observed: Observed, group: KillGroup) -> int:
    """Return the most memory that a group's processes are known to have used at one time on a node."""
    sizes = [group.memory or 0]
    for kill in group.kills:
        sizes.append(sum(_crowd_then(kill, group.name, group.is_actor).values()))
        # Newer versions of Ray kill several processes at once, and log that within one second.
        same = (other for other in group.kills if abs(other.when - kill.when) < _AT_ONCE)
        sizes.append(sum(other.memory or 0 for other in same if other.node_id == kill.node_id))
    sizes += [sum(crowd_now(observed, group.name, group.is_actor, node_id).values()) for node_id in group.nodes]
    return max(sizes)


def most_at_once(observed: Observed, name: str, is_actor: bool, node_id: str, until: datetime) -> int:
    """Return the most calls of a function, or actors of a class, that ran at one time on a node."""
    changes: list[tuple[datetime, int]] = []
    for start, end in _spans(observed, name, is_actor, node_id):
        if start <= until:
            changes += [(start, 1), (end, -1)]
    most = now = 0
    for _, change in sorted(changes):  # ends sort before starts of the same moment
        now += change
        most = max(most, now)
    return most


def _spans(observed: Observed, name: str, is_actor: bool, node_id: str) -> Iterator[tuple[datetime, datetime]]:
    there = [call for call in observed.calls if call.node_id == node_id]
    deaths = {process_of(kill.call): kill.when for kill in observed.kills if kill.call is not None}
    if is_actor:
        lives: dict[object, list[Call]] = {}
        for call in there:
            if call.kind in ("actor", "method") and actor_class(call.name) == name:
                lives.setdefault(process_of(call), []).append(call)
        alive = {process.pid for node in observed.nodes if node.node_id == node_id for process in node.processes}
        for calls in lives.values():
            ends = [observed.when] if calls[0].pid in alive else [_end(observed, call, deaths) for call in calls]
            yield min(call.started_at for call in calls), max(ends)
        return
    starts: dict[str | None, list[datetime]] = {}
    tasks = [call for call in there if call.kind == "task" and call.name == name]
    for call in tasks:
        starts.setdefault(call.task_id, []).append(call.started_at)
    for call in tasks:
        # The next attempt of a task begins when the one before is over.
        later = (start for start in starts[call.task_id] if call.task_id and start > call.started_at)
        yield call.started_at, min([_end(observed, call, deaths), *later])


def _end(observed: Observed, call: Call, deaths: Mapping[object, datetime]) -> datetime:
    if call.duration is not None:
        return call.started_at + timedelta(seconds=call.duration)
    if call.status == "running":
        return observed.when
    died = deaths.get(process_of(call))
    if died is None:
        return call.started_at
    # Ray's log of events has whole seconds.
    return max(call.started_at, died + timedelta(seconds=died.microsecond == 0))


def _crowd_then(kill: Kill, name: str, is_actor: bool) -> dict[tuple[str, int], int]:
    """Return what `crowd_now` returns, for the moment of a kill, from the processes that Ray printed."""
    return {
        (kill.node_id or "", process.pid): process.memory
        for process in kill.top_processes
        if process.pid is not None
        and process.command.startswith("ray::")
        and _runs(process.command[len("ray::") :].strip(), name, is_actor)
    }


def _runs(title: str | None, name: str, is_actor: bool) -> bool:
    """Whether a process's title names a function or an actor class; names within functions have a longer path."""
    called = actor_class(title or "") if is_actor else title or ""
    return short(called) == short(name)


def is_bystander(observed: Observed, group: KillGroup) -> bool:
    """Whether what was killed did not fill the node, not even all processes of its name together."""
    node = observed.node(group.last.node_id)
    limit = node.kill_limit if node is not None else 0
    if (
        group.memory is None
        or largest_family(group.calls) is not None
        or any(filling(kill, group) for kill in group.kills)
    ):
        return False
    return together(observed, group) < max(_LITTLE * limit, PLAIN_WORKER)


def filling(kill: Kill, group: KillGroup) -> dict[tuple[str, int], int]:
    """Return the sizes of the processes of its name at a kill, where they used most of the memory; else nothing."""
    then = _crowd_then(kill, group.name, group.is_actor)
    printed = sum(process.memory for process in kill.top_processes)
    return then if len(then) > 1 and sum(then.values()) >= MOST_OF_MEMORY * printed else {}


def running_now(observed: Observed) -> Counter[tuple[str, bool, str | None]]:
    """Count what runs now: calls by function, actors by class, by node."""
    alive = {(node.node_id, process.pid) for node in observed.nodes for process in node.processes}
    found: Counter[tuple[str, bool, str | None]] = Counter()
    actors = set()
    for call in observed.calls:
        if call.kind == "task" and call.status == "running":
            found[call.name, False, call.node_id] += 1
        elif call.kind in ("actor", "method") and (call.node_id, call.pid) in alive:
            actors.add((actor_class(call.name), process_of(call), call.node_id))
    found.update((name, True, node_id) for name, _, node_id in actors)
    return found
