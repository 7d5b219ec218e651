"""What one node knows of a death that an error tells of: the calls that ran there, and who killed them."""

from __future__ import annotations

import re
import time
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from functools import cached_property

import psutil

from ...reading.catalog.evidence import Evidence
from ...reading.catalog.filters import Filters
from ...reading.catalog.listing import Listing, list_calls
from ...reading.catalog.places import Place, place_here
from ...reading.catalog.records import Call, CompactedCalls
from ...reading.logs.endings import Death, cgroup_oom_kills
from ...reading.logs.facts import Message, Victim
from ..advise.growth import about_captures, captures_of, lives, methods_of, process_of
from .findings import MOST_SUSPECTS, DeathsOnNode, Question, Suspect

__all__ = ["find_deaths", "find_deaths_there"]

_MOST_SILENT = 100
"""Processes of profiled calls that are looked at of which the raylet says nothing, the latest first."""
_SECONDS_TO_DIE = 10.0
_SECONDS_TO_LOOK = 0.1
_LONG_AGO = datetime.fromtimestamp(0, timezone.utc)
_MAY_BE_ANYTHING = ("sigkill", "unknown")
"""What is known of a death of which nobody said anything."""


def find_deaths_there(question: Question, living: frozenset[str]) -> DeathsOnNode:
    """Answer on a node, about what lies there; `living` are the ids of the nodes that live."""
    return find_deaths(question, place_here(living))


class _Sessions:
    """The sessions that an error may come from, as far as this node has their calls and logs."""

    def __init__(self, question: Question, place: Place) -> None:
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
        who = process_of(last), last.actor_id
        life, counted = self._lives.get(who, [last]), self._counted.get(who, ())
        return replace(suspect, captures=captures_of(life), gaps=tuple(about_captures(life, counted)))

    @cached_property
    def _listings(self) -> list[Listing]:
        return [list_calls(place, Filters()) for place in self.evidence]

    @cached_property
    def _lives(self) -> dict[object, list[Call]]:
        return lives(call for listing in self._listings for call in listing.calls)

    @cached_property
    def _counted(self) -> dict[object, list[CompactedCalls]]:
        """What is only counted of the methods of an actor."""
        compacted = {who: found for listing in self._listings for who, found in listing.compacted.items()}
        return methods_of(one for found in compacted.values() for one in found)

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


def find_deaths(question: Question, place: Place) -> DeathsOnNode:
    """Answer about the sessions of a place."""
    sessions = _Sessions(question, place)
    sessions.wait_for_deaths()
    killed: dict[tuple[int, str | None], tuple[list[Call], Evidence]] = {}
    for call, evidence in sessions.calls("killed"):
        killed.setdefault((call.pid, call.worker_id), ([], evidence))[0].append(call)
    if question.message.victims:
        _add_idle_actors(sessions, killed)
    named = [
        _suspect(calls[-1].worker_id, calls[-1].pid, evidence, calls)
        for calls, evidence in killed.values()
        if any(map(sessions.is_meant, calls))
    ]
    named = [sessions.of_life(suspect) for suspect in named if _agrees(question.message, suspect)]
    for death, evidence in _unprofiled(sessions, killed):
        suspect = _suspect(death.worker_id, death.pid, evidence, (), death)
        if question.attempt is not None:
            victim = replace(suspect.victim, name=question.attempt.name, task_id=question.attempt.task_id)
            suspect = replace(suspect, victim=victim)
        named.append(suspect)
    answer = DeathsOnNode(named=named, kernel_kills=cgroup_oom_kills())
    if not named and question.names_nobody and question.message.cause == "unknown" and question.worker_id is None:
        _add_fitting(answer, sessions, killed)
    return answer


def _add_idle_actors(sessions: _Sessions, killed: dict[tuple[int, str | None], tuple[list[Call], Evidence]]) -> None:
    """Add the last call of each actor that is named and ran none when it was killed: it held what its calls left."""
    last: dict[tuple[int, str | None], tuple[Call, Evidence]] = {}
    for call, evidence in sessions.calls("finished"):
        if call.actor_id is not None and sessions.is_meant(call):
            last[call.pid, call.worker_id] = call, evidence
    running = {(call.pid, call.worker_id) for call, _ in sessions.calls("running")}
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


def _unprofiled(sessions: _Sessions, profiled: Container[tuple[int, str | None]]) -> list[tuple[Death, Evidence]]:
    """The deaths, without a profiled call, of those that the error or Ray names."""
    question = sessions.question
    if question.message.cause != "unknown":
        return []
    if question.names_nobody:
        if question.worker_id is None:
            return []
        return [
            (death, where)
            for death, where in sessions.deaths()
            if death.worker_id == question.worker_id and (death.pid, death.worker_id) not in profiled
        ]
    found = []
    for victim in question.message.victims:
        fits = [
            (death, where)
            for death, where in sessions.deaths()
            if (victim.pid is not None or victim.worker_id is not None)
            and victim.pid in (None, death.pid)
            and victim.worker_id in (None, death.worker_id)
            and (death.pid, death.worker_id) not in profiled
        ]
        found += fits if len(fits) == 1 else []  # a number may have been used twice
    return found


def _add_fitting(
    answer: DeathsOnNode, sessions: _Sessions, killed: dict[tuple[int, str | None], tuple[list[Call], Evidence]]
) -> None:
    """Add the deaths that an error may be about which names nobody."""
    question = sessions.question
    found: dict[tuple[int, str | None], tuple[datetime, list[Call], Evidence, Death | None]] = {}
    everybody = set(killed)
    for death, evidence in sessions.deaths():
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
    answer.fits, answer.died = len(found), len(everybody)
    latest = sorted(found.items(), key=lambda item: item[1][0])[-MOST_SUSPECTS - 1 :]
    answer.fitting = [
        sessions.of_life(_suspect(worker_id, pid, evidence, calls, death))
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
