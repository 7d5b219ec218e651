"""What the nodes know of a death that an error tells of: the calls that ran there, what they held, who killed them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import replace

from ... import cluster
from ...cluster import MissingNode
from ...errors import CaptureError
from ...reading.catalog import sources
from ...reading.catalog.places import Place
from ...reading.logs.facts import Message, Victim
from ...reading.reports.heap import heap
from ...reading.reports.life import heap_of_life
from ...reading.reports.lines import Line
from .findings import MOST_SUSPECTS, DeathsOnNode, Finding, Question, Suspect
from .on_node import find_deaths, find_deaths_there

__all__ = ["look"]

_MOST_LINES = 3
_SECONDS_TO_LOOK = 0.1
_SECONDS_TO_TELL = 3.0
"""How long it may take until the GCS has heard in which worker a task failed; Ray tells it once a second."""


def look(
    message: Message, source: str | os.PathLike[str] | None, task_id: str | None = None
) -> tuple[Finding, tuple[MissingNode, ...]]:
    """Look for what an error tells of: on its node, or on all where it does not name one, or in a folder."""
    question = Question(message, task_id)
    missing: tuple[MissingNode, ...] = ()
    chosen = ""
    if source is not None or not cluster.is_connected():
        folders, chosen = sources.find(source, only_recorded=False)
        chosen = chosen or f"Read: {', '.join(map(str, folders))}"
        told = [find_deaths(question, Place(source, tuple(folders)))]
    else:
        nodes = cluster.nodes()
        if message.node_ip is not None and message.node_id is None:
            nodes_there = frozenset(node.node_id for node in nodes if node.node_ip == message.node_ip)
            question = replace(question, nodes=nodes_there)
        if task_id is not None and question.names_nobody:
            question = replace(question, attempt=_last_attempt(task_id))
        living = frozenset(node.node_id for node in nodes if node.is_alive)
        answers = cluster.on_each_node(find_deaths_there, question, living, node_id=message.node_id)
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


def _conclude(question: Question, told: list[DeathsOnNode]) -> Finding:
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
        return replace(finding, suspects=tuple(fitting[-MOST_SUSPECTS:]), fitting=many)
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


def _may_be(named: Victim, known: Victim) -> bool:
    """The same where not all is known of the process: nobody profiled it."""
    return all(
        getattr(known, name) is None or getattr(named, name) in (None, getattr(known, name))
        for name in ("pid", "worker_id", "actor_id", "node_id")
    )


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
            code = lines[0].text if lines else ""
            return lines, code, (*suspect.gaps, *(held.left_out if suspect.captures else ()))
    return (), "", ()
