"""What `doctor()` looks at, collected once, and what several of its questions ask of it."""

from __future__ import annotations

import contextlib
import linecache
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from .. import cluster, ray_runtime
from ..cluster import MissingNode
from ..errors import CaptureError
from ..reading import catalog, sources
from ..reading.catalog import Call, Calls
from ..reading.heap import Heap, Line, heap, heap_of_life
from ..rows import show_bytes
from .advise import Advice, Advices, advise_of
from .growth import actor_class, captures_of, lives, process_of
from .ooms import Kill, Kills, ooms
from .processes import USERS
from .usage import NodeUsage, ProcessUsage, Usage, usage

__all__ = ["Group", "Heaps", "Seen", "crowd_then", "is_ours", "look_around", "users"]

_AFTERWARDS = timedelta(hours=1)
"""How long what happened in a job that is over is what the doctor was asked about, most likely."""
_LONG_AGO = timedelta(days=1)
"""After so long without another kill the cluster has become well, whatever it was."""
_AT_ONCE = timedelta(seconds=2)
_OURS = "raymemprof."
"""How the names of the tasks begin that ask nodes for us."""
_NOBODY = "a worker"
"""Stands for the name of what was killed where nobody said what ran in it."""
_JOB = 8
"""Characters of a job's id, which the ids of its tasks and actors end with."""
_MOST_HEAPS = 12
"""Captures that are read: each takes up to seconds, and who asks the doctor waits."""


class Heaps:
    """Reads captures, each once and not too many, and remembers which could not be read."""

    def __init__(self) -> None:
        self._known: dict[object, Heap | None] = {}
        self.failed: list[str] = []

    def of(self, target: Call | tuple[Path, ...] | None) -> Heap | None:
        """Return what a call allocated, or a process over its captures; None where that cannot be told."""
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
class Group:
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
class Seen:
    """What was recorded, what was killed, and what memory is used for now."""

    when: datetime
    source: str | None
    kills: Kills
    calls: Calls
    usage: Usage | None
    advice: Advices
    missing: tuple[MissingNode, ...]
    cpus: Mapping[str, float]
    """By node id, of those that are alive."""
    folders: tuple[Path, ...] = ()
    """Those that it is of; none where it is of the connected cluster."""
    chosen: str = ""
    """What was read where no source was named, in a sentence without its full stop."""
    jobs: frozenset[str] | None = None
    """Those whose drivers have not ended; None where that is not known."""
    heaps: Heaps = field(default_factory=Heaps)

    @property
    def nodes(self) -> tuple[NodeUsage, ...]:
        """The nodes of which it is known what their memory is used for."""
        return tuple(self.usage.nodes) if self.usage is not None else ()

    @property
    def silent(self) -> tuple[MissingNode, ...]:
        """The nodes that are alive and did not answer: what ails them is not known."""
        return tuple(node for node in self.missing if node.node_id in self.cpus)

    @property
    def gone(self) -> tuple[MissingNode, ...]:
        """The nodes that died or left: what happened there is not known."""
        return tuple(node for node in self.missing if node.node_id not in self.cpus)

    @property
    def arguments(self) -> str:
        """What to give to a command that is to look at the same calls, with a space before it."""
        if self.usage is None:
            return "".join(f" {shlex.quote(str(folder))}" for folder in self.folders)
        return f" --address {ray_runtime.gcs_address() or 'auto'}"

    def node(self, node_id: str | None) -> NodeUsage | None:
        """Return what is known of a node."""
        return next((node for node in self.nodes if node.node_id == node_id), None)

    def where(self, node_id: str | None) -> str:
        """Name a node as people do."""
        node = self.node(node_id)
        if node is None:
            return f"node {node_id[:8]}…" if node_id else "an unknown node"
        # Several nodes may have one address, on one machine.
        alike = sum(other.address == node.address for other in self.nodes) > 1
        return f"{'the head node' if node.is_head else 'node'} {node.address}" + f" ({node_id[:8]}…)" * alike  # type: ignore[index]

    def held(self, line: Line) -> str:
        """Say what a line of code holds, with its text where the file can be read here and is as it was."""
        code = ""
        with contextlib.suppress(OSError):
            written = datetime.fromtimestamp(os.stat(line.file).st_mtime, timezone.utc)
            if all(written < call.started_at for call in self.calls):
                linecache.checkcache(line.file)
                code = linecache.getline(line.file, line.line).strip()
        return f"{show_bytes(line.bytes)} allocated at {line}" + (f": `{code}`" if code else "")

    def moment(self, when: datetime) -> str:
        """Write when something happened: the time, and where it was not today, the date."""
        return f"{when:%H:%M:%S} UTC" if when.date() == self.when.date() else f"{when:%H:%M:%S} UTC on {when:%Y-%m-%d}"

    def is_past(self, job_id: str | None, when: datetime, name: str | None = None) -> bool:
        """Whether what happened in a job is history: it does not ail the cluster any more.

        A job that is over is looked into for an hour, or until what it ran has run to its end in a later one. What is
        older than a day is past in any case. Of a folder all counts: it is what was asked about.
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

    def holders(self, group: Group) -> list[Call | tuple[Path, ...]]:
        """Return what held the memory when those of a group were killed: a call, of an actor its whole life."""
        if not group.is_actor:
            return list(group.calls)
        return [captures_of(self.life(call)) for call in group.calls]

    def life(self, call: Call) -> list[Call]:
        """Return the calls of an actor in the process that ran one of them."""
        return lives(self.calls).get((process_of(call), call.actor_id), [call])

    def groups(self, past: bool = False) -> list[Group]:
        """Return the kills by whom they hit, without the tasks that asked nodes for us: the late ones, or the past."""
        found: dict[tuple[str, bool], list[Kill]] = {}
        for kill in self.kills:
            name, is_actor = kill.name or _NOBODY, kill.actor_id is not None
            if not is_ours(kill.name) and self.is_past(_job(kill), kill.when, kill.name) is past:
                found.setdefault((actor_class(name) if is_actor else name, is_actor), []).append(kill)
        return [Group(name, is_actor, tuple(kills)) for (name, is_actor), kills in found.items()]

    def advice_for(self, name: str, is_actor: bool) -> Advice | None:
        """Return what a function, or an actor class, needs."""
        kinds = ("actor",) if is_actor else ("task", "block")
        return next((advice for advice in self.advice if advice.name == name and advice.kind in kinds), None)

    def crowd(self, name: str, is_actor: bool, node_id: str | None) -> dict[tuple[str, int], int]:
        """Return the sizes of the processes that run a function, or actors of a class, on a node now."""
        node, roles = self.node(node_id), ("actor",) if is_actor else ("task", "worker")
        if node is None:
            return {}
        return {
            (node.node_id, process.pid): process.memory
            for process in users(node, *roles)
            if _runs(process.name, name, is_actor)
        }

    def together(self, group: Group) -> int:
        """Return the most memory that those of whom one was killed are known to have had at one time on a node."""
        sizes = [group.memory or 0]
        for kill in group.kills:
            sizes.append(sum(crowd_then(kill, group.name, group.is_actor).values()))
            # Newer versions of Ray kill several at once, and say so in one second.
            same = (other for other in group.kills if abs(other.when - kill.when) < _AT_ONCE)
            sizes.append(sum(other.memory or 0 for other in same if other.node_id == kill.node_id))
        sizes += [sum(self.crowd(group.name, group.is_actor, node_id).values()) for node_id in group.nodes]
        return max(sizes)

    def at_once(self, name: str, is_actor: bool, node_id: str, until: datetime) -> int:
        """Return how many calls of a function, or actors of a class, there were at most at one time on a node."""
        changes: list[tuple[datetime, int]] = []
        for start, end in self._spans(name, is_actor, node_id):
            if start <= until:
                changes += [(start, 1), (end, -1)]
        most = now = 0
        for _, change in sorted(changes):  # of one moment the ends come first
            now += change
            most = max(most, now)
        return most

    def _spans(self, name: str, is_actor: bool, node_id: str) -> Iterator[tuple[datetime, datetime]]:
        there = [call for call in self.calls if call.node_id == node_id]
        deaths = {process_of(kill.call): kill.when for kill in self.kills if kill.call is not None}
        if is_actor:
            lives: dict[object, list[Call]] = {}
            for call in there:
                if call.kind in ("actor", "method") and actor_class(call.name) == name:
                    lives.setdefault(process_of(call), []).append(call)
            alive = {process.pid for node in self.nodes if node.node_id == node_id for process in node.processes}
            for calls in lives.values():
                ends = [self.when] if calls[0].pid in alive else [self._end(call, deaths) for call in calls]
                yield min(call.started_at for call in calls), max(ends)
            return
        starts: dict[str | None, list[datetime]] = {}
        tasks = [call for call in there if call.kind == "task" and call.name == name]
        for call in tasks:
            starts.setdefault(call.task_id, []).append(call.started_at)
        for call in tasks:
            # The next attempt of a task begins when the one before is over.
            later = (start for start in starts[call.task_id] if call.task_id and start > call.started_at)
            yield call.started_at, min([self._end(call, deaths), *later])

    def _end(self, call: Call, deaths: Mapping[object, datetime]) -> datetime:
        if call.duration is not None:
            return call.started_at + timedelta(seconds=call.duration)
        if call.status == "running":
            return self.when
        died = deaths.get(process_of(call))
        if died is None:
            return call.started_at
        # Ray's log of events has whole seconds.
        return max(call.started_at, died + timedelta(seconds=died.microsecond == 0))


def look_around(source: str | os.PathLike[str] | None) -> Seen:
    """Collect what there is to see: of the connected cluster, of a folder, or of what `sources` chooses."""
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
    kills, calls = ooms(source), catalog.calls(source)
    if source is None and calls.source:  # no session, but what was recorded outside Ray
        chosen = calls.source
    now = usage() if is_connected else None
    advice = advise_of(calls, now)
    missing: dict[str, MissingNode] = {}
    for node in (*kills.missing, *calls.missing, *(now.missing if now else ())):
        missing.setdefault(node.node_id, node)  # the first reason is the one that took time
    cpus = {}
    if is_connected:
        cpus = {
            node["NodeID"]: node["Resources"].get("CPU", 0.0) for node in sys.modules["ray"].nodes() if node["Alive"]
        }
    return Seen(
        when=when,
        source=None if is_connected else ", ".join(map(str, folders)) or "this machine",
        kills=kills,
        calls=calls,
        usage=now,
        advice=advice,
        missing=tuple(missing.values()),
        cpus=cpus,
        folders=tuple(folders),
        chosen=chosen,
        jobs=ray_runtime.living_jobs() if is_connected else None,
    )


def crowd_then(kill: Kill, name: str, is_actor: bool) -> dict[tuple[str, int], int]:
    """Return the same as `Seen.crowd` for when one was killed, as far as Ray printed it."""
    return {
        (kill.node_id or "", process.pid): process.memory
        for process in kill.top_processes
        if process.pid is not None
        and process.command.startswith("ray::")
        and _runs(process.command[len("ray::") :].strip(), name, is_actor)
    }


def _runs(title: str | None, name: str, is_actor: bool) -> bool:
    """Whether a process's name is that of a function, or of an actor's class; those within functions are longer."""
    called = actor_class(title or "") if is_actor else title or ""
    return called.rpartition(".")[2] == name.rpartition(".")[2]


def _job(kill: Kill) -> str | None:
    if kill.call is not None and kill.call.job_id is not None:
        return kill.call.job_id
    one = kill.task_id or kill.actor_id
    return one[-_JOB:] if one else None


def is_ours(name: str | None) -> bool:
    """Whether a task is one of those that ask nodes for us."""
    return (name or "").startswith(_OURS)


def users(node: NodeUsage, *roles: str) -> Iterable[ProcessUsage]:
    """Yield the processes of a node that run the user's code, or those of some roles, without ours."""
    return (process for process in node.processes if process.role in (roles or USERS) and not is_ours(process.name))
