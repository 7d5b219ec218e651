"""What Ray's memory monitor says when it kills, in the words of every version.

Up to Ray 1.x a task raised `RayOutOfMemoryError` before it ran; Ray 2.0 had another wording; from 2.1 to 2.55 one
worker is killed at a time, and several at once from 2.56 on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from .facts import Considered, Message, Process, Victim
from .patterns import ADDRESS, ANY_ID, COUNT, NAME, NUMBER, gibibytes, pattern, whole

__all__ = ["crashed", "is_kill", "killed", "kills", "node_of", "top_processes"]

_NODE_DIGITS = _WORKER_DIGITS = 56
_TASK_DIGITS, _ACTOR_DIGITS = 48, 32
_NIL = re.compile(r"[f0]*")
_ONE_KILLED = pattern(
    rf"\((?:actor ID: ({ANY_ID}?))?(?:, )?(?:task ID: ({ANY_ID}?))?(?:, )?"
    rf"(?:lease ID: {ANY_ID}?)?, name=({NAME}), pid=({COUNT}), memory used=({NUMBER})GB\)"
)
"""From Ray 2.2 to 2.55; from 2.50 on both an actor's and a lease's id, without a comma between."""
_LATEST_KILLED = pattern(
    rf"killing latest (?:task|actor) with name ({NAME}) and (task|actor) ID ({ANY_ID}) to avoid running out"
)
"""Ray 2.0."""
_KILLED_WORKER = pattern(rf"Ray killed this worker \(ID: ({ANY_ID})\)")
_MANY_KILLED = pattern(rf"({COUNT}) worker\(s\) were killed due to the node running low on memory")
_WORKER = pattern(
    rf"\((?:Task|Actor\(({ANY_ID})\)|Worker with no lease granted): "
    rf"(?:job ID={ANY_ID}, lease ID={ANY_ID}, task name=({NAME}), "
    rf"required resources=\{{([^\n]{{0,300}}?)\}}, )?"
    rf"pid=({COUNT}), actual memory used=({NUMBER})GB, worker ID=({ANY_ID})\)"
)
_MEMORY_RESOURCE = pattern(r"(?<!\w)memory: (\d{1,18}(?:\.\d{1,12})?(?:e\+?\d{1,2})?)(?![\w.])")
"""In bytes, as C++ prints a double: of large figures six digits and an exponent."""
_SELECTED = pattern(r"Selected to kill: (?=\()")
_ONLY_SELECTED = pattern(r"based on the killing policy: \[")
"""Before those that Ray killed, in versions that do not name those that it spared."""
_IDLE = pattern(rf"Total non-selected idle workers USS bytes: ({NUMBER})GB")
_REASON = pattern(r"OOM kill reason: ([^\n]{1,300})")
_EXACT = pattern(
    rf"Memory usage (\d{{1,18}})B exceeded threshold of (\d{{1,18}})B \({NUMBER}% of (\d{{1,18}})B limit\)"
)
_USAGE = pattern(
    rf"\bwas ({NUMBER})GB(?: used)? / ({NUMBER})GB(?: limit)? \({NUMBER}\)|"
    rf"Used memory \(({NUMBER})GB\) / total capacity \(({NUMBER})GB\)|"
    rf"the memory on node \S{{1,100}} is used \(({NUMBER}) / ({NUMBER}) G"
)
_FRACTION = pattern(
    rf"exceeds the memory usage threshold of ({NUMBER})(?:\.(?!\d)|[^\d.]|$)|exceeds threshold ({NUMBER}),|"
    r"More than (\d{1,3})% of the memory on node"
)
_NODE = pattern(rf"Memory on the node \(IP: ({ADDRESS}), ID: ({ANY_ID})\)")
_LOW_NODE = pattern(rf"System memory low at node with IP ({ADDRESS}?)\.?(?=\s|Used|$)")
_BEGINNING = pattern(
    rf"(?:{COUNT} worker\(s\) were killed due to the node running low on memory\.\s{{0,9}})?Memory on the node \(IP: |"
    r"System memory low at node with IP"
)
_PERIODIC = pattern(
    rf"({COUNT}) Workers \(tasks / actors\) killed due to memory pressure \(OOM\), "
    rf"({COUNT}) Workers crashed due to other reasons(?: at node \(ID: ({ANY_ID}), IP: ({ADDRESS})\))?"
)
_OOM_RETRY = pattern(rf"Task ({NAME}) failed due to oom\. There are (infinite|{COUNT}) oom retries remaining")
_REFUSED = pattern(r"More than \d{1,3}% of the memory on node (\S{1,100}) is used")
_SAID = pattern(
    r"\b(?:was|were) killed due to the node running low on memory|Selected to kill: \(|OOM kill reason: \w|"
    r"exceeds the memory usage threshold of \d|killing latest (?:task|actor) with name|"
    r"""exit(?: |_)type["']?[:=] ?["']?NODE_OUT_OF_MEMORY\b|error_type["']?[:=] ?["']?OUT_OF_MEMORY\b"""
)
"""Words that Ray says of no other kind of death."""
_ROW = re.compile(
    rf"^[\t ]*({COUNT})[\t ]+({NUMBER})(?:Gi?B)?[\t ]+(?!\d{{1,10}}[\t ]+\d{{1,10}}\.\d)(\S.*)$", re.MULTILINE
)
_HEADING = pattern(r"MEM\(GB\)|Top \d{1,2} memory users|top \d{1,2} memory consumers are")
_AFTER_COMMAND = re.compile(r"(?<=\.\.\.) .*| Refer to the documentation .*")
_MOST_GLUED = 3
"""Rows from which on line numbers are told from pids."""


def is_kill(text: str) -> bool:
    """Whether a text says that Ray's monitor killed for memory, or would not run a task."""
    periodic = _PERIODIC.search(text)
    return bool(
        (periodic and int(periodic[1]))
        or _SAID.search(text)
        or _ONE_KILLED.search(text)
        or _OOM_RETRY.search(text)
        or _REFUSED.search(text)
    )


def kills(text: str) -> Message:
    """Return what Ray killed for memory: one event, or the several that a log tells of."""
    starts = [found.start() for found in _BEGINNING.finditer(text)]
    parts = [text[start:end] for start, end in zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True)]
    if len(parts) == 1:
        return _one(text)
    events = [_one(part) for part in parts]
    all_victims = [(event, victim) for event in reversed(events) for victim in event.victims]
    victims = {(victim.pid, victim.worker_id or event.node_ip): victim for event, victim in all_victims}
    different = {event.victims: event for event in reversed(events) if event.victims}
    if len(different) == 1:
        return next(iter(different.values()))
    nodes = {(event.node_ip, event.node_id) for event in events}
    node_ip, node_id = next(iter(nodes)) if len(nodes) == 1 else (None, None)
    limits, thresholds = ({getattr(event, name) for event in events} for name in ("limit", "threshold"))
    return Message(
        cause="ray_memory_monitor",
        node_id=node_id,
        node_ip=node_ip,
        limit=limits.pop() if len(limits) == 1 else None,
        threshold=thresholds.pop() if len(thresholds) == 1 else None,
        victims=tuple(reversed(victims.values())),
        top_processes=tuple(dict.fromkeys(process for event in events for process in event.top_processes)),
        killed=len(victims) or max((event.killed or 0 for event in events), default=0) or None,
        retries=max((event.retries for event in events if event.retries is not None), default=None),
        nodes=len(nodes),
    )


def _one(text: str) -> Message:
    node_ip, node_id = node_of(text)
    found = {(one.pid, one.worker_id): replace(one, node_id=node_id) for one in killed(text)}
    used, threshold, limit = _memory_of_node(text)
    many, periodic, retry, idle = (which.search(text) for which in (_MANY_KILLED, _PERIODIC, _OOM_RETRY, _IDLE))
    if retry and not found:
        found[None, None] = Victim(retry[1], None, None, None, None, None)
    one, refused, reason = _ONE_KILLED.search(text) or _LATEST_KILLED.search(text), _REFUSED.search(text), _reason(text)
    return Message(
        cause="ray_memory_monitor",
        statement=_refusal(refused) if refused else None,
        node_id=node_id,
        node_ip=node_ip,
        used=used,
        limit=limit,
        threshold=threshold,
        victims=tuple(found.values()),
        top_processes=top_processes(text, frozenset(pid for pid, _ in found if pid)),
        killed=int(many[1]) if many else int(periodic[1]) if periodic else 1 if one else None,
        retries=None if not retry else float("inf") if retry[2] == "infinite" else int(retry[2]),
        considered=tuple(_considered(text)),
        idle_memory=gibibytes(idle[1]) if idle else None,
        reason=reason,
    )


def _refusal(refused: re.Match[str]) -> str:
    return (
        f"Ray did not run a task on node {refused[1]}, because the node was low on memory: a task there raised "
        "RayOutOfMemoryError, and Ray killed nothing."
    )


def _reason(text: str) -> str | None:
    """Why it killed, where that is not the figures of the node."""
    found = _REASON.search(text)
    return None if found is None or _EXACT.search(found[0]) else found[1].split(";")[0].strip()


def _memory_of_node(text: str) -> tuple[int | None, int | None, int | None]:
    """The node's memory in use, the threshold, and its memory."""
    exact, usage, fraction = _EXACT.search(text), _USAGE.search(text), _FRACTION.search(text)
    if exact:
        return int(exact[1]), int(exact[2]), int(exact[3])
    if usage is None:
        return None, None, None
    used, limit = [gibibytes(figure) for figure in usage.groups() if figure]
    if fraction is None:
        return used, None, limit
    share = float(fraction[3]) / 100 if fraction[3] else float(fraction[1] or fraction[2])
    return used, round(share * limit), limit


def killed(text: str) -> Iterator[Victim]:
    """Yield the workers that a text says were killed for memory."""
    starts = [found.end() for found in _SELECTED.finditer(text)]
    if not starts and (listed := _ONLY_SELECTED.search(text)):
        starts = [match.start() for match in _WORKER.finditer(text, listed.end())]
    elif not starts:
        yield from _one_killed(text)
    for start in starts:
        found = _WORKER.match(text, start)
        if found:
            actor_id, name, _, pid, memory, worker_id = found.groups()
            actor_id, worker_id = whole(actor_id, _ACTOR_DIGITS), whole(worker_id, _WORKER_DIGITS)
            yield Victim(name, None, actor_id, worker_id, int(pid), gibibytes(memory))


def _considered(text: str) -> Iterator[Considered]:
    """The workers that it considered to kill."""
    selected = {found.end() for found in _SELECTED.finditer(text)}
    for found in _WORKER.finditer(text):
        _, name, resources, pid, memory, _ = found.groups()
        asked = _MEMORY_RESOURCE.search(resources or "")
        requested = round(float(asked[1])) if asked else None
        yield Considered(name, int(pid), gibibytes(memory), requested, found.start() in selected)


def _one_killed(text: str) -> Iterator[Victim]:
    one, worker = _ONE_KILLED.search(text), _KILLED_WORKER.search(text)
    worker_id = whole(worker[1], _WORKER_DIGITS) if worker else None
    if one:
        task_id, actor_id = whole(one[2], _TASK_DIGITS), whole(one[1], _ACTOR_DIGITS)
        task_id, actor_id = (None if found is None or _NIL.fullmatch(found) else found for found in (task_id, actor_id))
        yield Victim(one[3], task_id, actor_id, worker_id, int(one[4]), gibibytes(one[5]))
        return
    latest = _LATEST_KILLED.search(text)
    if latest:
        task_id = whole(latest[3], _TASK_DIGITS) if latest[2] == "task" else None
        actor_id = whole(latest[3], _ACTOR_DIGITS) if latest[2] == "actor" else None
        yield Victim(latest[1].rpartition(":")[2], task_id, actor_id, worker_id, None, None)
    elif worker_id:
        yield Victim(None, None, None, worker_id, None, None)


def node_of(text: str) -> tuple[str | None, str | None]:
    """Return address and id of the node that a text tells of."""
    node = _NODE.search(text)
    if node:
        return node[1], whole(node[2], _NODE_DIGITS)
    periodic = _PERIODIC.search(text)
    if periodic and periodic[3]:
        return periodic[4], whole(periodic[3], _NODE_DIGITS)
    low = _LOW_NODE.search(text)
    return (low[1], None) if low else (None, None)


def crashed(text: str) -> tuple[int, int] | None:
    """Return how many workers Ray's summary says were killed for memory, and how many ended for other reasons."""
    found = _PERIODIC.search(text)
    return (int(found[1]), int(found[2])) if found else None


def top_processes(text: str, victims: frozenset[int] = frozenset()) -> tuple[Process, ...]:
    """Return the lines of "Top 10 memory users"; `victims` are pids that are known from elsewhere in the text."""
    heading = _HEADING.search(text)
    if heading is None:
        return ()
    rows = _ROW.findall(text)
    is_glued = _has_line_numbers([pid for pid, _, _ in rows], victims)
    return tuple([_process("" if is_glued else pid, memory, command) for pid, memory, command in rows])


def _has_line_numbers(pids: list[str], victims: frozenset[int]) -> bool:
    """Whether the numbers of lines, one higher each, are glued to the pids."""
    if len(pids) < _MOST_GLUED or any(int(pid) in victims for pid in pids):
        return False
    for length in range(1, max(map(len, pids))):
        first = int(pids[0][:length])
        for step in (1, -1):
            numbers = [str(first + step * row) for row in range(len(pids))]
            if all(pid.startswith(number) and pid != number for pid, number in zip(pids, numbers, strict=True)):
                return True
    return False


@lru_cache(maxsize=4096)
def _process(pid: str, memory: str, command: str) -> Process:
    """A line of it; kills that follow each other have most lines in common."""
    return Process(int(pid) if pid else None, gibibytes(memory), _AFTER_COMMAND.sub("", command).strip())
