"""What the nodes know of a death that an error tells of: the calls that ran there, what they held, who killed them."""

from __future__ import annotations

import linecache
import os
import re
import time
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

import psutil

from ... import cluster
from ...cluster import MissingNode
from ...errors import CaptureError
from ...reading.catalog import sources
from ...reading.catalog.evidence import Evidence
from ...reading.catalog.filters import Filters
from ...reading.catalog.listing import list_calls
from ...reading.catalog.places import Place, place_here
from ...reading.catalog.records import Call
from ...reading.logs.endings import Death, cgroup_oom_kills
from ...reading.logs.facts import Message, Victim
from ...reading.reports.heap import heap
from ...reading.reports.life import heap_of_life
from ...reading.reports.lines import Line
from ..advise.growth import about_captures, captures_of, lives, process_of

__all__ = ["Finding", "Suspect", "look"]

_MOST_LINES = 3
_MOST_SUSPECTS = 3
"""Deaths that are named where each of several fits."""
_MOST_SILENT = 100
"""Processes of profiled calls that are looked at of which the raylet says nothing, the latest first."""
_SECONDS_TO_DIE = 10.0
_SECONDS_TO_LOOK = 0.1
_SECONDS_TO_TELL = 3.0
"""How long it may take until the GCS has heard in which worker a task failed; Ray tells it once a second."""
_LONG_AGO = datetime.fromtimestamp(0, timezone.utc)
_MAY_BE_ANYTHING = ("sigkill", "unknown")
"""What is known of a death of which nobody said anything."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A process that died, as its node knows it."""

    victim: Victim
    cause: str
    said: str | None
    """What somebody said of it, in words."""
    when: datetime
    calls: tuple[Call, ...] = ()
    """The profiled calls that were killed in it."""
    captures: tuple[Path, ...] = ()
    """Of an actor, those of its process, in their order: what it held is of all its calls."""
    gaps: tuple[str, ...] = ()
    """What is in none of them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the nodes know."""

    message: Message
    """What the error says, with what they know of it."""
    calls: tuple[Call, ...] = ()
    """The profiled calls that were killed, and the last ones of actors that were idle then."""
    lines: tuple[Line, ...] = ()
    """The lines that held most when the largest of them died."""
    code: str = ""
    """The text of the first of these lines."""
    gaps: tuple[str, ...] = ()
    """What they are summed over, and what is not in them."""
    kernel_kills: int | None = None
    """How often the kernel has killed in the node's container."""
    said: str | None = None
    """What the logs say of the death, in words."""
    is_inferred: bool = False
    """Whether the error names nobody, and it is told of the only one who died."""
    suspects: tuple[Suspect, ...] = ()
    """The latest of the deaths that fit an error which names nobody, where there are several."""
    fitting: int = 0
    """How many there are."""
    is_on_cluster: bool = False
    """Whether it is the cluster that was asked, and not a folder."""
    tells_of_death: bool = True
    """Whether the error speaks of a worker that died."""
    chosen: str = ""
    """What was read, in a sentence without its full stop."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What the nodes are asked about."""

    message: Message
    task_id: str | None = None
    """The task whose result the error came in place of, where that is known."""
    attempt: cluster.TaskAttempt | None = None
    """The attempt of it that failed last, where Ray knows."""
    nodes: frozenset[str] | None = None
    """The nodes that have the address which the error names."""

    @property
    def worker_id(self) -> str | None:
        """The worker that it failed in."""
        return self.attempt.worker_id if self.attempt else None

    @property
    def names_nobody(self) -> bool:
        """Whether it has to be found out who died."""
        return not self.message.victims


@dataclass(slots=True)
class _Testimony:
    """What a node answers."""

    named: list[Suspect] = field(default_factory=list)
    """Those that the error, or Ray, names."""
    fitting: list[Suspect] = field(default_factory=list)
    """The latest of those that fit an error which names nobody."""
    fits: int = 0
    """How many there are."""
    died: int = 0
    """How many died in all."""
    kernel_kills: int | None = None


def look(
    message: Message, source: str | os.PathLike[str] | None, task_id: str | None = None
) -> tuple[Finding, tuple[MissingNode, ...]]:
    """Look for what an error tells of: on its node, or on all where it does not name one, or in a folder."""
    question = _Question(message, task_id)
    missing: tuple[MissingNode, ...] = ()
    chosen = ""
    if source is not None or not cluster.is_connected():
        folders, chosen = sources.find(source, only_recorded=False)
        chosen = chosen or f"Read: {', '.join(map(str, folders))}"
        told = [_testify(question, Place(source, tuple(folders)))]
    else:
        nodes = cluster.nodes()
        if message.node_ip is not None and message.node_id is None:
            nodes_there = frozenset(node.node_id for node in nodes if node.node_ip == message.node_ip)
            question = replace(question, nodes=nodes_there)
        if task_id is not None and question.names_nobody:
            question = replace(question, attempt=_last_attempt(task_id))
        living = frozenset(node.node_id for node in nodes if node.is_alive)
        answers = cluster.on_each_node(_testify_there, question, living, node_id=message.node_id)
        told, missing = list(answers.by_node.values()), answers.missing
        logs = cluster.logs_directory()
        session = f"session {logs.parent.name} of " if logs is not None else ""
        chosen = f"Read: {session}the Ray cluster at {cluster.address()}"
    is_on_cluster = source is None and cluster.is_connected()
    return replace(_conclude(question, told), is_on_cluster=is_on_cluster, chosen=chosen), missing


def _last_attempt(task_id: str) -> cluster.TaskAttempt | None:
    deadline = time.monotonic() + _SECONDS_TO_TELL
    attempts = cluster.attempts(task_id, _SECONDS_TO_TELL)
    while attempts is not None and time.monotonic() < deadline:
        if attempts and attempts[-1].state == "FAILED" and attempts[-1].worker_id:
            return attempts[-1]
        time.sleep(_SECONDS_TO_LOOK)
        attempts = cluster.attempts(task_id, _SECONDS_TO_TELL)
    return None


def _testify_there(question: _Question, living: frozenset[str]) -> _Testimony:
    return _testify(question, place_here(living))


def _conclude(question: _Question, told: list[_Testimony]) -> Finding:
    message = question.message
    counts = [one.kernel_kills for one in told if one.kernel_kills is not None]
    finding = Finding(message, kernel_kills=max(counts, default=None))
    named = _once(suspect for one in told for suspect in one.named)
    if question.names_nobody and len(named) > 1:  # of the attempts of one task the last one's end was raised
        named = [max(named, key=lambda suspect: suspect.when)]
    fitting = sorted(_once(suspect for one in told for suspect in one.fitting), key=lambda suspect: suspect.when)
    is_inferred = not named and len(fitting) == 1 and sum(one.died for one in told) == 1
    if not named and not is_inferred:
        many = max([len(fitting), *(one.fits for one in told)])
        return replace(finding, suspects=tuple(fitting[-_MOST_SUSPECTS:]), fitting=many)
    died = named or fitting
    calls = tuple(call for suspect in died for call in suspect.calls)
    lines, code, gaps = _held(died)
    return replace(
        finding,
        message=_completed(message, died),
        calls=calls,
        lines=lines,
        code=code,
        gaps=gaps,
        said=next((suspect.said for suspect in died if suspect.cause in ("crash", "exit", "unknown")), None),
        is_inferred=is_inferred,
    )


def _once(suspects: Iterable[Suspect]) -> list[Suspect]:
    """Nodes that share a folder tell the same, and the one it happened on tells of the calls."""
    found: dict[object, Suspect] = {}
    for suspect in suspects:
        key = suspect.victim.worker_id or (suspect.victim.node_id, suspect.victim.pid)
        if key not in found or suspect.calls:
            found[key] = suspect
    return list(found.values())


def _completed(message: Message, died: list[Suspect]) -> Message:
    """Put together what the error says and what the nodes know. A cause that it names stays, and so do its figures."""
    if message.cause == "unknown":
        causes = {suspect.cause for suspect in died}
        message = replace(message, cause=causes.pop() if len(causes) == 1 else "unknown")
    victims = list(message.victims)
    for suspect in died:
        place = next((n for n, victim in enumerate(victims) if _may_be(victim, suspect.victim)), None)
        if place is None:
            victims.append(suspect.victim)
        elif victims[place].memory is None:
            victims[place] = _merged(victims[place], suspect.victim)
    nodes = {suspect.victim.node_id for suspect in died}
    node_id = message.node_id or (nodes.pop() if len(nodes) == 1 and message.nodes == 1 else None)
    return replace(message, victims=tuple(victims), node_id=node_id)


def _merged(named: Victim, known: Victim) -> Victim:
    return Victim(
        known.name or named.name,
        known.task_id or named.task_id,
        known.actor_id or named.actor_id,
        known.worker_id or named.worker_id,
        known.pid or named.pid,
        known.memory,
        known.node_id or named.node_id,
    )


class _Scene:
    """The session that an error comes from, as far as this node knows it."""

    def __init__(self, question: _Question, place: Place) -> None:
        self.question = question
        self.evidence = {replace(place, folders=(folder,)): Evidence(folder) for folder in place.folders}

    def calls(self, status: str) -> Iterator[tuple[Call, Evidence]]:
        for place, evidence in self.evidence.items():
            for call in list_calls(place, Filters(status=status)).calls:
                if self._is_there(call.node_id, None):
                    yield call, evidence

    def deaths(self) -> Iterator[tuple[Death, Evidence]]:
        """The deaths that the raylet saw, and was surprised by."""
        for evidence in self.evidence.values():
            for death in evidence.raylet.values():
                if death.cause != "ray_memory_monitor" and self._is_there(death.node_id, death.node_ip):
                    yield death, evidence

    def _is_there(self, node_id: str | None, node_ip: str | None) -> bool:
        """Whether it was where the error says."""
        message, nodes = self.question.message, self.question.nodes
        if node_id is not None and (
            message.node_id not in (None, node_id) or (nodes is not None and node_id not in nodes)
        ):
            return False
        return nodes is not None or node_ip is None or message.node_ip in (None, node_ip)

    def of_life(self, suspect: Suspect) -> Suspect:
        """Add the captures of all calls of an actor that died."""
        if not suspect.calls or suspect.calls[-1].actor_id is None:
            return suspect
        last = suspect.calls[-1]
        life = self._lives.get((process_of(last), last.actor_id), [last])
        return replace(suspect, captures=captures_of(life), gaps=tuple(about_captures(life)))

    @cached_property
    def _lives(self) -> dict[object, list[Call]]:
        return lives(call for place in self.evidence for call in list_calls(place, Filters()).calls)

    def wait_for_deaths(self) -> None:
        """Ray raises before it kills: it lets a worker live for another 0.2 s, which must not look as if it ran on."""
        deadline = time.monotonic() + _SECONDS_TO_DIE
        while any(self.is_meant(call) for call, _ in self.calls("running")) and time.monotonic() < deadline:
            time.sleep(_SECONDS_TO_LOOK)

    def is_meant(self, call: Call) -> bool:
        """Whether an error, or Ray, names the process of a call."""
        question = self.question
        if question.names_nobody:
            if question.worker_id is not None:
                return call.worker_id == question.worker_id
            return call.task_id == question.task_id is not None
        return any(_is(victim, _victim(call)) for victim in question.message.victims)


def _testify(question: _Question, place: Place) -> _Testimony:
    scene = _Scene(question, place)
    scene.wait_for_deaths()
    killed: dict[tuple[int, str | None], tuple[list[Call], Evidence]] = {}
    for call, evidence in scene.calls("killed"):
        killed.setdefault((call.pid, call.worker_id), ([], evidence))[0].append(call)
    if question.message.victims:
        _add_idle_actors(scene, killed)
    named = [
        _suspect(calls[-1].worker_id, calls[-1].pid, evidence, calls)
        for calls, evidence in killed.values()
        if any(map(scene.is_meant, calls))
    ]
    named = [scene.of_life(suspect) for suspect in named if _agrees(question.message, suspect)]
    for death, evidence in _unprofiled(scene, killed):
        suspect = _suspect(death.worker_id, death.pid, evidence, (), death)
        if question.attempt is not None:
            victim = replace(suspect.victim, name=question.attempt.name, task_id=question.attempt.task_id)
            suspect = replace(suspect, victim=victim)
        named.append(suspect)
    testimony = _Testimony(named=named, kernel_kills=cgroup_oom_kills())
    if not named and question.names_nobody and question.message.cause == "unknown" and question.worker_id is None:
        _add_fitting(testimony, scene, killed)
    return testimony


def _add_idle_actors(scene: _Scene, killed: dict[tuple[int, str | None], tuple[list[Call], Evidence]]) -> None:
    """Add the last call of each actor that is named and ran none when it was killed: it held what its calls left."""
    last: dict[tuple[int, str | None], tuple[Call, Evidence]] = {}
    for call, evidence in scene.calls("finished"):
        if call.actor_id is not None and scene.is_meant(call):
            last[call.pid, call.worker_id] = call, evidence
    running = {(call.pid, call.worker_id) for call, _ in scene.calls("running")}
    for process, (call, evidence) in last.items():
        if process not in killed and process not in running and _ends(call):
            killed[process] = [call], evidence


def _ends(call: Call) -> bool:
    """Whether a call's process is gone, or goes now: Ray raises before it kills."""
    try:
        process = psutil.Process(call.pid)
        if process.create_time() <= call.started_at.timestamp():
            process.wait(_SECONDS_TO_DIE)
    except psutil.TimeoutExpired:
        return False
    except psutil.NoSuchProcess:
        pass  # as it should be
    return True


def _unprofiled(scene: _Scene, profiled: Container[tuple[int, str | None]]) -> list[tuple[Death, Evidence]]:
    """The deaths, without a profiled call, of those that the error or Ray names."""
    question = scene.question
    if question.message.cause != "unknown":
        return []
    if question.names_nobody:
        if question.worker_id is None:
            return []
        return [
            (death, where)
            for death, where in scene.deaths()
            if death.worker_id == question.worker_id and (death.pid, death.worker_id) not in profiled
        ]
    found = []
    for victim in question.message.victims:
        fits = [
            (death, where)
            for death, where in scene.deaths()
            if (victim.pid is not None or victim.worker_id is not None)
            and victim.pid in (None, death.pid)
            and victim.worker_id in (None, death.worker_id)
            and (death.pid, death.worker_id) not in profiled
        ]
        found += fits if len(fits) == 1 else []  # a number may have been used twice
    return found


def _add_fitting(
    testimony: _Testimony, scene: _Scene, killed: dict[tuple[int, str | None], tuple[list[Call], Evidence]]
) -> None:
    """Add the deaths that an error may be about which names nobody."""
    question = scene.question
    found: dict[tuple[int, str | None], tuple[datetime, list[Call], Evidence, Death | None]] = {}
    everybody = set(killed)
    for death, evidence in scene.deaths():
        everybody.add((death.pid, death.worker_id))
        if _sounds_like(question.message, death.detail):
            calls = killed.get((death.pid, death.worker_id), ([], evidence))[0]
            found[death.pid, death.worker_id] = (death.when, calls, evidence, death)
    for process, (calls, evidence) in list(killed.items())[-_MOST_SILENT:]:
        if process not in found and process not in evidence.raylet:
            cause, said, _ = evidence.of_call(calls[-1])
            if cause != "ray_kill" and _sounds_like(question.message, said if cause == "exit" else None):
                found[process] = (calls[-1].started_at, calls, evidence, None)
    if question.task_id is not None:  # those that ran another task are not meant
        found = {process: one for process, one in found.items() if all(call.task_id is None for call in one[1])}
    testimony.fits, testimony.died = len(found), len(everybody)
    latest = sorted(found.items(), key=lambda item: item[1][0])[-_MOST_SUSPECTS - 1 :]
    testimony.fitting = [
        scene.of_life(_suspect(worker_id, pid, evidence, calls, death))
        for (pid, worker_id), (_, calls, evidence, death) in latest
    ]


def _suspect(
    worker_id: str | None, pid: int, evidence: Evidence, calls: Iterable[Call], death: Death | None = None
) -> Suspect:
    calls = tuple(calls)
    since = calls[0].started_at if calls else death.when if death else _LONG_AGO
    cause, said, word = evidence.of_worker(worker_id, pid, since)
    death = death or evidence.raylet.get((pid, worker_id))
    memory = word.memory if word else None
    victim = Victim(None, None, None, worker_id, pid, memory, death.node_id if death else None)
    if calls:
        victim = _victim(calls[-1])
        victim = replace(victim, memory=memory or victim.memory)
    return Suspect(victim, cause, said, death.when if death else calls[-1].started_at, calls)


def _victim(call: Call) -> Victim:
    own = call.own_peak or call.peak_memory  # what Ray says of a process is without its children, too
    return Victim(call.name, call.task_id, call.actor_id, call.worker_id, call.pid, own, call.node_id)


def _is(named: Victim, known: Victim) -> bool:
    """Whether it is the same process that is named: all that tells processes apart must be the same."""
    if named.pid is None and named.worker_id is None and named.actor_id is None:  # a task's id, if nothing else
        return named.task_id is not None and named.task_id == known.task_id and named.node_id in (None, known.node_id)
    return all(
        getattr(named, name) in (None, getattr(known, name)) for name in ("pid", "worker_id", "actor_id", "node_id")
    )


def _may_be(named: Victim, known: Victim) -> bool:
    """The same where not all is known of the process: nobody profiled it."""
    return all(
        getattr(known, name) is None or getattr(named, name) in (None, getattr(known, name))
        for name in ("pid", "worker_id", "actor_id", "node_id")
    )


def _agrees(message: Message, suspect: Suspect) -> bool:
    """Whether what is known of a death does not speak against the cause that the error names."""
    return message.cause in (*_MAY_BE_ANYTHING, suspect.cause) or suspect.cause in _MAY_BE_ANYTHING


def _sounds_like(message: Message, detail: str | None) -> bool:
    """Whether a worker ended as the error says, as far as both say it: in the same words, up to the first stop."""
    if message.exit_detail is None:
        return True
    if detail is None:
        return re.sub(r"\W", "", message.exit_type or "").startswith(("SYSTEM", "UNEXPECTED"))
    return detail.partition(".")[0] == message.exit_detail.partition(".")[0]


def _held(died: Iterable[Suspect]) -> tuple[tuple[Line, ...], str, tuple[str, ...]]:
    """The lines that held most when the largest died, the text of the first, and what is not in them."""
    each = [(call, suspect) for suspect in died for call in suspect.calls]
    for call, suspect in sorted(each, key=lambda one: -one[0].peak_memory):
        if call.capture is not None or suspect.captures:
            # What an actor held is of all its calls. What was told to end has let go of it before it did.
            is_at_end = call.duration is None or call.actor_id is not None
            try:
                held = heap_of_life(suspect.captures) if suspect.captures else heap(call)
                lines = tuple(held.top(_MOST_LINES, view="leaks" if is_at_end else "peak"))
            except (CaptureError, OSError):
                continue  # the next one may be whole; `raymemprof.heap(call)` gives the reason
            code = ""  # which the process's node may have alone
            if lines and call.lies_on in (None, cluster.here()):
                code = _code(lines[0])
            elif lines and call.lies_on:  # the file that it ran may be another one than what is here
                answers = cluster.on_nodes(_code, {call.lies_on: (lines[0],)})
                code = next(iter(answers.by_node.values()), "")
            return lines, code, (*suspect.gaps, *(held.left_out if suspect.captures else ()))
    return (), "", ()


def _code(line: Line) -> str:
    return linecache.getline(line.file, line.line).strip()
