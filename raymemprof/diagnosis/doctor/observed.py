"""What `doctor()` looks at, collected once: what was recorded, what was killed, and what memory is used for now."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ... import cluster
from ...cluster import MissingNode
from ...display.text import show_bytes
from ...errors import CaptureError
from ...reading.catalog import sources
from ...reading.catalog.function_names import actor_class
from ...reading.catalog.records import Call, Calls, compacted_of
from ...reading.catalog.representative_calls import examined
from ...reading.reports.heap import Heap, heap
from ...reading.reports.life import heap_of_life
from ...reading.reports.lines import Line
from ..advise.advise import Recommendation, Recommendations, advise_not_recorded, advise_of
from ..advise.growth import captures_of, lives, process_of
from ..ooms import Kill, Kills, ooms
from ..usage.processes import USERS
from ..usage.records import NodeUsage, ProcessUsage, Usage
from ..usage.usage import usage
from ..watch.peaks import SeenPeak, seen_peaks

__all__ = ["Heaps", "KillGroup", "Observed", "look_around", "users"]

_AFTERWARDS = timedelta(hours=1)
"""For so long after a job has ended, its kills count as current."""
_LONG_AGO = timedelta(days=1)
"""A kill that is older counts as past, whatever caused it."""
"""Prefix of the names of raymemprof's own tasks."""
_NOBODY = "a worker"
"""The name of what was killed if it is not known what ran in it."""
_JOB = 8
"""Characters of a job's id; the ids of its tasks and actors end with it."""
_MOST_HEAPS = 12
"""Captures that are read, at most: each can take seconds, and the user waits."""


class Heaps:
    """Reads captures, each once and not too many, and remembers which could not be read."""

    def __init__(self) -> None:
        self._known: dict[object, Heap | None] = {}
        self.failed: list[str] = []

    def of(self, target: Call | tuple[Path, ...] | None) -> Heap | None:
        """Return what a call, or a process over its captures, allocated; None if that is not known."""
        if not target or (isinstance(target, Call) and target.capture is None):
            return None
        if target not in self._known:
            if len(self._known) >= _MOST_HEAPS:
                return None
            self._known[target] = None
            try:
                self._known[target] = heap(target) if isinstance(target, Call) else heap_of_life(target)
            except (CaptureError, OSError, ValueError) as error:
                self.failed.append(str(error))
        return self._known[target]


@dataclass(frozen=True, slots=True)
class KillGroup:
    """The kills of one function's tasks, or of one class's actors."""

    name: str
    is_actor: bool
    kills: tuple[Kill, ...]

    @property
    def is_named(self) -> bool:
        """Whether it is known what ran in them."""
        return self.name != _NOBODY

    @property
    def last(self) -> Kill:
        """The latest kill."""
        return self.kills[-1]

    @property
    def nodes(self) -> set[str]:
        """The nodes where it was killed."""
        return {kill.node_id for kill in self.kills if kill.node_id is not None}

    @property
    def calls(self) -> tuple[Call, ...]:
        """The profiled calls that were killed, the largest first."""
        return tuple(sorted((kill.call for kill in self.kills if kill.call), key=lambda call: -call.peak_memory))

    @property
    def memory(self) -> int | None:
        """The most that one of them used when it was killed."""
        return max((kill.memory for kill in self.kills if kill.memory is not None), default=None)


@dataclass(frozen=True, slots=True)
class Observed:
    """What was recorded, what was killed, and what memory is used for now."""

    when: datetime
    source: str | None
    kills: Kills
    calls: Calls
    usage: Usage | None
    recommendations: Recommendations
    missing: tuple[MissingNode, ...]
    cpus: Mapping[str, float]
    """CPUs by node id, of the nodes that are alive."""
    folders: tuple[Path, ...] = ()
    """The folders that were read; none for the connected cluster."""
    chosen: str = ""
    """What was read where no source was named, in a sentence without its full stop."""
    jobs: frozenset[str] | None = None
    """The jobs whose drivers have not ended; None if that is not known."""
    seen: tuple[SeenPeak, ...] = ()
    """What watchers saw from the outside, once a second."""
    advised_by_seen: tuple[Recommendation, ...] = ()
    """What those tasks and actors need that were seen so and not recorded."""
    heaps: Heaps = field(default_factory=Heaps)

    @property
    def nodes(self) -> tuple[NodeUsage, ...]:
        """The nodes that said what their memory is used for."""
        return tuple(self.usage.nodes) if self.usage is not None else ()

    @property
    def silent(self) -> tuple[MissingNode, ...]:
        """The nodes that are alive and did not answer."""
        return tuple(node for node in self.missing if node.node_id in self.cpus)

    @property
    def gone(self) -> tuple[MissingNode, ...]:
        """The nodes that died or left: what happened there is not known."""
        return tuple(node for node in self.missing if node.node_id not in self.cpus)

    @property
    def arguments(self) -> str:
        """The arguments with which a command reads the same calls, after a space."""
        if self.usage is None:
            return "".join(f" {shlex.quote(str(folder))}" for folder in self.folders)
        return f" --address {cluster.gcs_address() or 'auto'}"

    def node(self, node_id: str | None) -> NodeUsage | None:
        """Return what is known of a node."""
        return next((node for node in self.nodes if node.node_id == node_id), None)

    def where(self, node_id: str | None) -> str:
        """Name a node by its address."""
        node = self.node(node_id)
        if node is None:
            return f"node {node_id[:8]}…" if node_id else "an unknown node"
        # Several nodes may have one address, on one machine.
        alike = sum(other.node_ip == node.node_ip for other in self.nodes) > 1
        return f"{'the head node' if node.is_head else 'node'} {node.node_ip}" + f" ({node_id[:8]}…)" * alike  # type: ignore[index]

    def held(self, line: Line) -> str:
        """Say what a line of code holds, with its text if it is known."""
        return f"{show_bytes(line.bytes)} allocated at {line}" + (f": `{line.text}`" if line.text else "")

    def moment(self, when: datetime) -> str:
        """Write when something happened: the time, and the date if it was not today."""
        return f"{when:%H:%M:%S} UTC" if when.date() == self.when.date() else f"{when:%H:%M:%S} UTC on {when:%Y-%m-%d}"

    def is_past(self, job_id: str | None, when: datetime, name: str | None = None) -> bool:
        """Whether what happened in a job is past, so that it counts no more.

        What happened in a job that has ended is past after an hour, or once the same function has finished in a later
        job. What is older than a day is always past. Nothing is past if a folder is read: the user asked about it.
        """
        if self.usage is None:
            return False
        if self.when - when > _LONG_AGO:
            return True
        if self.jobs is None or job_id is None or job_id in self.jobs:
            return False
        return self.when - when > _AFTERWARDS or any(
            call.status == "finished" and call.started_at > when and call.job_id != job_id
            for call in self.calls
            if name is not None and call.name == name
        )

    def holders(self, group: KillGroup) -> list[Call | tuple[Path, ...]]:
        """Return what held the memory at a group's kills: the call, or the captures of the actor's whole life."""
        if not group.is_actor:
            return list(group.calls)
        return [captures_of(self.life(call)) for call in group.calls]

    def life(self, call: Call) -> list[Call]:
        """Return the calls of an actor in the process that ran one of them."""
        return lives(self.calls).get((process_of(call), call.actor_id), [call])

    def groups(self, past: bool = False) -> list[KillGroup]:
        """Return the kills by function or class, without raymemprof's own tasks: the current ones, or the past."""
        found: dict[tuple[str, bool], list[Kill]] = {}
        for kill in self.kills:
            name, is_actor = kill.name or _NOBODY, kill.actor_id is not None
            if not cluster.is_ours(kill.name) and self.is_past(_job(kill), kill.when, kill.name) is past:
                found.setdefault((actor_class(name) if is_actor else name, is_actor), []).append(kill)
        return [KillGroup(name, is_actor, tuple(kills)) for (name, is_actor), kills in found.items()]

    def recommendation_for(self, name: str, is_actor: bool) -> Recommendation | None:
        """Return what a function, or an actor class, needs: by its recorded calls, else by what was seen."""
        kinds = ("actor",) if is_actor else ("task", "block")
        every = (*self.recommendations, *self.advised_by_seen)
        return next((one for one in every if one.name == name and one.kind in kinds), None)


def look_around(source: sources.Source) -> Observed:
    """Collect what is known of the connected cluster, of a folder, or of what `sources` chooses."""
    when = datetime.now(timezone.utc)
    is_connected = source is None and cluster.is_connected()
    folders: list[Path] = []
    chosen = ""
    if not is_connected:
        folders, chosen = sources.find(source, only_recorded=False)
        if len(folders) > 1:
            chosen = f"{chosen}; of these the doctor looks at the first: connect to it for all (--address)"
        if source is None and folders:  # what was recorded and what was killed must be of one session
            source = folders[0]
    kills, calls = ooms(source), examined(source)
    if source is None and calls.chosen:  # no session, but what was recorded outside Ray
        chosen = calls.chosen
    now, seen = usage() if is_connected else None, seen_peaks(source)
    recommendations = advise_of(calls, now, compacted=compacted_of(calls))
    missing: dict[str, MissingNode] = {}
    for node in (*kills.missing, *calls.missing, *(now.missing if now else ()), *seen.missing):
        missing.setdefault(node.node_id, node)  # the first reason is from the request that timed out
    cpus = {}
    if is_connected:
        cpus = {node_id: node.resources.get("CPU", 0.0) for node_id, node in cluster.living_nodes().items()}
    return Observed(
        when=when,
        source=None if is_connected else ", ".join(map(str, folders)) or "this machine",
        kills=kills,
        calls=calls,
        usage=now,
        recommendations=recommendations,
        missing=tuple(missing.values()),
        cpus=cpus,
        folders=tuple(folders),
        chosen=chosen,
        jobs=cluster.living_jobs() if is_connected else None,
        seen=tuple(seen),
        advised_by_seen=tuple(advise_not_recorded(seen, calls, now, compacted_of(calls))),
    )


def _job(kill: Kill) -> str | None:
    if kill.call is not None and kill.call.job_id is not None:
        return kill.call.job_id
    one = kill.task_id or kill.actor_id
    return one[-_JOB:] if one else None


def users(node: NodeUsage, *roles: str) -> Iterable[ProcessUsage]:
    """Return the processes of a node that run user code, or have these roles, without raymemprof's own."""
    found = (process for process in node.processes if process.role in (roles or USERS))
    return (process for process in found if not cluster.is_ours(process.name))
