"""What the nodes know of a death that an error tells of: the calls that ran there, what they held, who killed them."""

from __future__ import annotations

import linecache
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from .. import cluster
from ..errors import CaptureError
from ..reading.catalog import Call, Evidence, Filters, Place, folders_of, list_calls, place_here
from ..reading.deaths import Death, cgroup_oom_kills
from ..reading.heap import Line, heap
from ..reading.messages import Message, Victim

__all__ = ["Finding", "look"]

_MOST_LINES = 3
_SECONDS_TO_DIE = 10.0
_SECONDS_TO_LOOK = 0.1
_LONG_AGO = datetime.fromtimestamp(0, timezone.utc)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a node knows."""

    message: Message
    """What the error says, with what the node knows of it."""
    calls: tuple[Call, ...] = ()
    """The profiled calls that were killed."""
    lines: tuple[Line, ...] = ()
    """The lines that held most when the first of them died."""
    code: str = ""
    """The text of the first of these lines."""
    kernel_kills: int | None = None
    """How often the kernel has killed in the node's container."""
    when: datetime = _LONG_AGO
    """When the latest death was that this can be."""

    def _rank(self) -> tuple[bool, bool, datetime]:
        return bool(self.calls), self.message.cause != "unknown", self.when


def look(message: Message, source: str | os.PathLike[str] | None) -> tuple[Finding, tuple[cluster.MissingNode, ...]]:
    """Look for what an error tells of: on its node, or on all where it does not name one, or in a folder."""
    if source is not None or not cluster.is_connected():
        return _look(message, Place(source, tuple(folders_of(source, only_recorded=False)))), ()
    living = frozenset(node.node_id for node in cluster.nodes() if node.is_alive)
    answers = cluster.on_each_node(_look_there, message, living, node_id=message.node_id)
    findings: list[Finding] = list(answers.by_node.values())
    if message.victims:
        return max(findings, key=Finding._rank, default=Finding(message)), answers.missing
    return max(findings, key=lambda finding: finding.when, default=Finding(message)), answers.missing


def _look_there(message: Message, living: frozenset[str]) -> Finding:
    return _look(message, place_here(living))


def _look(message: Message, place: Place) -> Finding:
    scene = _Scene(place)
    message, found = _with_evidence(message, scene)
    lines = _held(found)
    return Finding(
        message=message,
        calls=tuple(found),
        lines=lines,
        code=linecache.getline(lines[0].file, lines[0].line).strip() if lines else "",
        kernel_kills=cgroup_oom_kills(),
        when=max([*(call.started_at for call in found), *(death.when for death in scene.deaths())], default=_LONG_AGO),
    )


class _Scene:
    """The session that an error comes from, as far as this node knows it."""

    def __init__(self, place: Place) -> None:
        self.evidence = {replace(place, folders=(folder,)): Evidence(folder) for folder in place.folders}

    def killed(self, named: set[int | None]) -> Iterator[tuple[Call, Evidence]]:
        """The calls that were killed; those of a process that an error names count, also while it is still dying."""
        for place, evidence in self.evidence.items():
            for call in list_calls(place, Filters())[0]:
                if call.status == "killed" or (call.status == "running" and call.pid in named):
                    yield call, evidence

    def wait_for_death_of(self, victims: Iterable[Victim]) -> None:
        """Ray raises before it kills: it lets a worker live for another 0.2 s, which must not look as if it ran on."""
        dying = {victim.pid for victim in victims}
        deadline = time.monotonic() + _SECONDS_TO_DIE
        while time.monotonic() < deadline and any(
            call.pid in dying and any(victim.worker_id in (None, call.worker_id) for victim in victims)
            for place in self.evidence
            for call in list_calls(place, Filters(status="running"))[0]
        ):
            time.sleep(_SECONDS_TO_LOOK)

    def deaths(self) -> list[Death]:
        """The deaths that the raylet was surprised by."""
        found = [death for evidence in self.evidence.values() for death in evidence.raylet.values()]
        return [death for death in found if death.cause != "ray_memory_monitor"]


def _with_evidence(message: Message, scene: _Scene) -> tuple[Message, list[Call]]:
    """Find the calls of those who died, and what is known of why; where nobody is named, those of the latest death."""
    scene.wait_for_death_of(message.victims)
    killed = list(scene.killed({victim.pid for victim in message.victims}))
    anybody = not message.victims
    wanted = {(victim.pid, victim.worker_id) for victim in message.victims}
    if anybody:
        # Ray's times are whole seconds
        latest = max(reversed(scene.deaths()), key=lambda death: death.when, default=None)
        last = max(killed, key=lambda item: item[0].started_at, default=None)
        if latest is not None:
            wanted = {(latest.pid, latest.worker_id)}
        elif last is not None:
            wanted = {(last[0].pid, last[0].worker_id)}
    found = [
        (call, evidence)
        for call, evidence in killed
        if any(call.pid == pid and (worker in (None, call.worker_id)) for pid, worker in wanted)
        or any(victim.pid is None and victim.actor_id == call.actor_id is not None for victim in message.victims)
    ]
    if anybody and not found and wanted:
        pid, worker = next(iter(wanted))
        message = replace(message, victims=(Victim(None, None, None, worker, pid, None),))
    if found and message.cause == "ray_kill":
        call = found[-1][0]
        victim = Victim(call.name, call.task_id, call.actor_id, call.worker_id, call.pid, call.peak_memory)
        message = replace(message, victims=(victim,))
    elif found and message.cause == "unknown":
        call, evidence = found[-1]
        cause, _, word = evidence.of_call(call)
        memory = word.memory if word else None
        victim = Victim(call.name, call.task_id, call.actor_id, call.worker_id, call.pid, memory or call.peak_memory)
        message = replace(message, cause=cause, victims=(victim,))
    elif message.cause == "unknown" and message.victims:
        message = _unprofiled(message, scene)
    return message, [call for call, _ in found]


def _unprofiled(message: Message, scene: _Scene) -> Message:
    """The cause of a death in which no profiled call ran."""
    victim = message.victims[0]
    for evidence in scene.evidence.values():
        known = [
            death
            for (pid, worker), death in evidence.raylet.items()
            if pid == victim.pid and victim.worker_id in (None, worker)
        ]
        if known and victim.pid is not None:
            cause, _, word = evidence.of_worker(known[-1].worker_id, victim.pid, _LONG_AGO)
            memory = word.memory if word else None
            return replace(
                message, cause=cause, victims=(replace(victim, worker_id=known[-1].worker_id, memory=memory),)
            )
    return message


def _held(found: list[Call]) -> tuple[Line, ...]:
    """The lines that held most when the call died."""
    for call in found:
        if call.capture is not None:
            try:
                return tuple(heap(call).top(_MOST_LINES, view="leaks"))
            except CaptureError:
                continue  # the next one may be whole; `raymemprof.heap(call)` gives the reason
    return ()
