"""Reads what Ray prints about memory: the figures that stand in a message, and nothing that does not.

Takes the messages of Ray's page "Debugging Memory Issues" (up to Ray 2.55 one worker is killed at a time) and those of
Ray 2.56 and later (several at once), as exceptions carry them, as the raylet prints and logs them, and as people paste
them: with colours, `(raylet)` prefixes, escaped line breaks, cut or out of order.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

__all__ = ["KERNEL_KILL", "Message", "Process", "Victim", "killed", "node_of", "parse", "top_processes"]

_GB = 2**30
"""Ray writes GB and means GiB: its own byte figures in the same messages say so."""


@dataclass(frozen=True, slots=True)
class Victim:
    """A task or actor whose worker was killed.

    Attributes:
        name: the task's name, `Actor.method` for an actor.
        task_id: its Ray task. Ray's messages name the task that a worker was leased for, which may be an earlier one.
        actor_id: its Ray actor.
        worker_id: its Ray worker.
        pid: its process.
        memory: what it used when it was killed, in bytes; Ray prints two decimals of a GiB.
    """

    name: str | None
    task_id: str | None
    actor_id: str | None
    worker_id: str | None
    pid: int | None
    memory: int | None
    node_id: str | None = field(default=None, repr=False, compare=False)
    """The node where it was, as the part of the text says that tells of it."""


@dataclass(frozen=True, slots=True)
class Process:
    """One line of "Top 10 memory users": pid, memory in bytes, and the command as far as Ray prints it."""

    pid: int
    memory: int
    command: str


@dataclass(frozen=True, slots=True)
class Message:
    """The figures of a message; what it does not say is None. Sizes in bytes.

    Attributes:
        cause: as `raymemprof.Explanation` has it.
        killed: how many workers it says were killed for memory.
        retries: how many more times it says a task is retried; `inf` for without end.
        crashed: how many workers it says ended for other reasons.
        exit_type: of which type a worker's end is, as Ray sorts them.
        exit_detail: what it says of how a worker ended.
        idle_memory: what idle workers held that were not killed.
        nodes: how many nodes it tells of; where there are several, no figure of one of them stands for all.
    """

    cause: str
    node_id: str | None = None
    node_ip: str | None = None
    used: int | None = None
    limit: int | None = None
    threshold: int | None = None
    victims: tuple[Victim, ...] = ()
    top_processes: tuple[Process, ...] = ()
    killed: int | None = None
    retries: float | None = None
    crashed: int | None = None
    exit_type: str | None = None
    exit_detail: str | None = None
    idle_memory: int | None = None
    nodes: int = 1


_HEX = r"[0-9a-f]"
_COUNT = r"(?<!\d)\d{1,10}"
_NUMBER = r"(?<!\d)\d{1,12}(?:\.\d{1,12})?"
_COLOURS = re.compile(r"\x1b\[[0-9;]{0,20}m|(?<!\w)\[\d{1,3}m")
_ESCAPES = re.compile(r'(?<!\\)\\{1,8}([nt"])')
_PREFIX = re.compile(rf"^\((?:raylet|autoscaler|[\w.<>]{{1,200}} pid={_COUNT})[^)\n]*\) ?", re.MULTILINE)

# Up to Ray 2.55.
_ONE_KILLED = re.compile(
    rf"where the (?:task|actor|lease) \((task|actor|lease) ID: ({_HEX}+), name=([^\n]{{1,300}}?), pid=({_COUNT}), "
    rf"memory used=({_NUMBER})GB\) was running was ({_NUMBER})GB / ({_NUMBER})GB \(({_NUMBER})\)"
)
_THRESHOLD = re.compile(rf"exceeds the memory usage threshold of ({_NUMBER})(?:\. |[;\n])")
_KILLED_WORKER = re.compile(rf"Ray killed this worker \(ID: ({_HEX}{{56}})\)")
# From Ray 2.56.
_MANY_KILLED = re.compile(rf"({_COUNT}) worker\(s\) were killed due to the node running low on memory")
_NODE_MEMORY = re.compile(rf"was ({_NUMBER})GB(?: used)? / ({_NUMBER})GB(?: limit)? \({_NUMBER}\)")
_EXACT = re.compile(
    rf"Memory usage ((?<!\d)\d{{1,18}})B exceeded threshold of (\d{{1,18}})B \({_NUMBER}% of (\d{{1,18}})B limit\)"
)
_WORKER = re.compile(
    rf"\((?:Task|Actor\(({_HEX}+)\)|Worker with no lease granted): "
    rf"(?:job ID={_HEX}+, lease ID={_HEX}+, task name=([^\n]{{1,300}}?), "
    rf"required resources=\{{[^\n]{{0,300}}?\}}, )?"
    rf"pid=({_COUNT}), actual memory used=({_NUMBER})GB, worker ID=({_HEX}{{56}})\)"
)
_SELECTED = "Selected to kill: "
_ONLY_SELECTED = "based on the killing policy: ["
"""Before those that Ray killed, in versions that do not name those that it spared."""
_IDLE = re.compile(rf"Total non-selected idle workers USS bytes: ({_NUMBER})GB")
# All.
_NODE = re.compile(rf"Memory on the node \(IP: ([0-9a-fA-F.:]+), ID: ({_HEX}{{56}})\)")
_BEGINNING = re.compile(
    rf"(?:{_COUNT} worker\(s\) were killed due to the node running low on memory\.\s{{0,9}})?Memory on the node \(IP: "
)
_PERIODIC = re.compile(
    rf"({_COUNT}) Workers \(tasks / actors\) killed due to memory pressure \(OOM\), "
    rf"({_COUNT}) Workers crashed due to other reasons"
)
_PERIODIC_NODE = re.compile(rf"at node \(ID: ({_HEX}{{56}}), IP: ([0-9a-fA-F.:]+)\)")
_OOM_RETRY = re.compile(
    rf"Task ([^\n]{{1,300}}?) failed due to oom\. There are (infinite|{_COUNT}) oom retries remaining"
)
_TOP = re.compile(rf"^[\t ]*({_COUNT})[\t ]+({_NUMBER})[\t ]+(?!\d{{1,10}}[\t ]+\d{{1,10}}\.\d)(\S.*)$", re.MULTILINE)
_EXIT = re.compile(r"Worker exit type: (.{1,60}?) Worker exit detail: (.+)")
_STATE = re.compile(
    r"""exit_type["']?\s{0,9}[:=]\s{0,9}["']?NODE_OUT_OF_MEMORY|"""
    r"""error_type["']?\s{0,9}[:=]\s{0,9}["']?OUT_OF_MEMORY"""
)
"""What Ray's State API says of workers and tasks."""
_FAILED_WORKER = re.compile(
    rf"Worker ID: ({_HEX}{{56}}) Node ID: ({_HEX}{{56}}) Worker IP address: (\S+) [^\n]{{0,300}}?"
    rf"Worker PID: ({_COUNT}) "
)
_DEAD_ACTOR = re.compile(
    rf"class_name: ([^\n]+?)\s+actor_id: ({_HEX}{{32}})(?:\s+pid: ({_COUNT})\s)?(?:\s*namespace: \S+)?(?:\s+ip: (\S+))?"
)
_DEAD_NODE = re.compile(
    rf"[Nn]ode(?: IP: (\S+?),)?[^\n]{{0,60}}?(?:node )?(?:ID|Id|id): ?({_HEX}{{56}})(?: and address: ([0-9a-fA-F.:]+))?"
)
_NODE_DIED = re.compile(
    rf"NodeDiedError|\b[Nn]ode it was running on is dead|\bits node has died|"
    rf"\b[Nn]ode\b[^\n]{{0,80}}?{_HEX}{{56}}[^\n]{{0,120}}?\b(?:has died|is dead|marked dead)"
)
_SELF_ENDED = re.compile(r"exits with an exit code \d|receives a SIGTERM|exit_actor\(\) is called")
KERNEL_KILL = re.compile(
    rf"(?:Out|out) of memory[^\n]{{0,200}}?: Killed process ({_COUNT}) \(([^\n]{{0,64}}?)\)"
    rf"(?:,? UID \d{{1,10}},?)? total-vm:\d{{1,18}}kB, anon-rss:(\d{{1,15}})kB"
)
"""The kernel's word, of the whole machine's memory or of a memory cgroup's: pid, name and resident memory in kB."""


def parse(text: str) -> Message:
    """Return the figures of a message. Never raises: what cannot be made out is None, and the cause "unknown"."""
    states = _states(text)
    if states is not None:
        return states
    text = _clean(text)
    cause = _cause(text)
    if cause == "ray_memory_monitor":
        return _oom(text)
    if cause == "kernel_oom":
        return _kernel(text)
    if cause in ("object_store_full", "disk_full", "memory_error"):
        return Message(cause)
    return _death(text, cause)


def killed(text: str) -> Iterator[Victim]:
    """Yield the workers that a text which needs no cleaning says were killed for memory."""
    before = _SELECTED
    at = text.find(f"{before}(")
    if at < 0 and _ONLY_SELECTED in text:
        before, at = "", text.find("(")
    if at < 0:
        yield from _one_killed(text)
    while at >= 0:
        found = _WORKER.match(text, at + len(before))
        if found:
            actor_id, name, pid, memory, worker_id = found.groups()
            yield Victim(name, None, actor_id, worker_id, int(pid), _bytes(memory))
        at = text.find(f"{before}(", found.end() if found else at + 1)


def _one_killed(text: str) -> Iterator[Victim]:
    one = _ONE_KILLED.search(text)
    if one:
        kind, identity, name, pid, memory = one.groups()[:5]
        worker = _KILLED_WORKER.search(text)
        task_id, actor_id = (identity if kind == which else None for which in ("task", "actor"))
        yield Victim(name, task_id, actor_id, worker[1] if worker else None, int(pid), _bytes(memory))


def node_of(text: str) -> tuple[str | None, str | None]:
    """Return address and id of the node that a text tells of."""
    node = _NODE.search(text)
    if node:
        return node[1], node[2]
    periodic = _PERIODIC_NODE.search(text)
    return (periodic[2], periodic[1]) if periodic else (None, None)


def _clean(text: str) -> str:
    """Take out what a terminal, a driver's log forwarding, or an event log put in."""
    text = _COLOURS.sub("", text.replace("\r\n", "\n"))
    text = _ESCAPES.sub(lambda found: {"n": "\n", "t": "\t"}.get(found[1], '"'), text)
    return _PREFIX.sub("", text)


def _cause(text: str) -> str:
    exit_ = _EXIT.search(text)
    if (
        "killed due to the node running low on memory" in text
        or "Selected to kill: (" in text
        or _ONE_KILLED.search(text)
        or _OOM_RETRY.search(text)
        or "OOM kill reason: Memory usage" in text
        or "ray.exceptions.OutOfMemoryError" in text
        or (exit_ and "NODE_OUT_OF_MEMORY" in exit_[1])
        or _STATE.search(text)
    ):
        return "ray_memory_monitor"
    periodic = _PERIODIC.search(text)
    if periodic:
        return "ray_memory_monitor" if int(periodic[1]) else "unknown"
    if KERNEL_KILL.search(text):
        return "kernel_oom"
    if "local disk's utilization is over capacity" in text or "OutOfDiskError" in text:
        return "disk_full"
    if "The local object store is full of objects" in text or "ObjectStoreFullError" in text:
        return "object_store_full"
    if "killed by `ray.kill`" in text:
        return "ray_kill"
    if _NODE_DIED.search(text):
        return "node_died"
    if re.search(r"\*\*\* SIG(SEGV|ABRT|BUS|ILL|FPE) received|Fatal Python error: (Segmentation|Aborted|Bus)", text):
        return "crash"
    if exit_ and (exit_[1].startswith("INTENDED") or _SELF_ENDED.search(exit_[2])):
        return "exit"
    if re.search(r"(^|[.\s])_?(Array)?MemoryError\b", text):
        return "memory_error"
    return "unknown"


def _states(text: str) -> Message | None:
    """What the State API's JSON says of tasks and workers that were killed for memory; None for any other text."""
    if not text.lstrip().startswith(("{", "[")) or not _STATE.search(text):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        found: dict[tuple[int | None, str | None], Victim] = {}
        for record in _records(json.loads(text)):
            is_task = record.get("error_type") == "OUT_OF_MEMORY"
            if not is_task and record.get("exit_type") != "NODE_OUT_OF_MEMORY":
                continue
            keys = ("name", "task_id", "actor_id", "worker_id", "node_id")
            name, task_id, actor_id, worker_id, node_id = (_word(record.get(key)) for key in keys)
            pid = _word(record.get("worker_pid" if is_task else "pid"))
            number = int(pid) if pid and re.fullmatch(_COUNT, pid) else None
            if (number, worker_id) not in found:
                found[number, worker_id] = Victim(name, task_id, actor_id, worker_id, number, None, node_id)
        victims = tuple(found.values())
        nodes = {victim.node_id for victim in victims}
        return Message(
            cause="ray_memory_monitor",
            node_id=next(iter(nodes)) if len(nodes) == 1 else None,
            victims=victims,
            killed=len(victims) or None,
            nodes=max(len(nodes), 1),
        )
    return None


def _records(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _records(inner)


def _word(value: object) -> str | None:
    return None if value in (None, "", "None", "null") or not isinstance(value, (str, int)) else str(value)


def _oom(text: str) -> Message:
    """What Ray killed for memory: one event, or the several that a log tells of."""
    starts = [found.start() for found in _BEGINNING.finditer(text)]
    parts = [text[start:end] for start, end in zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True)]
    if len(parts) == 1:
        return _one_oom(text)
    events = [_one_oom(part) for part in parts]
    victims = {(victim.pid, victim.worker_id): victim for event in reversed(events) for victim in event.victims}
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
        top_processes=tuple({process.pid: process for event in events for process in event.top_processes}.values()),
        killed=len(victims) or max((event.killed or 0 for event in events), default=0) or None,
        retries=max((event.retries for event in events if event.retries is not None), default=None),
        nodes=len(nodes),
    )


def _one_oom(text: str) -> Message:
    node_ip, node_id = node_of(text)
    found = {
        (victim.pid, victim.worker_id): Victim(
            victim.name, victim.task_id, victim.actor_id, victim.worker_id, victim.pid, victim.memory, node_id
        )
        for victim in killed(text)
    }
    used = limit = threshold = None
    one, node_memory, exact = _ONE_KILLED.search(text), _NODE_MEMORY.search(text), _EXACT.search(text)
    if exact:
        used, threshold, limit = (int(exact[n]) for n in (1, 2, 3))
    elif one:
        used, limit = _bytes(one[6]), _bytes(one[7])
    elif node_memory:
        used, limit = _bytes(node_memory[1]), _bytes(node_memory[2])
    fraction = _THRESHOLD.search(text)
    if fraction and limit is not None and threshold is None:
        threshold = round(float(fraction[1]) * limit)
    many, periodic, retry, idle = (r.search(text) for r in (_MANY_KILLED, _PERIODIC, _OOM_RETRY, _IDLE))
    if retry and not found:
        found[None, None] = Victim(retry[1], None, None, None, None, None)
    if not found:  # a worker's end, of this type
        found = {(victim.pid, victim.worker_id): victim for victim in _dead(text)}
    return Message(
        cause="ray_memory_monitor",
        node_id=node_id,
        node_ip=node_ip,
        used=used,
        limit=limit,
        threshold=threshold,
        victims=tuple(found.values()),
        top_processes=top_processes(text),
        killed=int(many[1]) if many else int(periodic[1]) if periodic else 1 if one else None,
        retries=None if not retry else float("inf") if retry[2] == "infinite" else int(retry[2]),
        idle_memory=_bytes(idle[1]) if idle else None,
    )


def _kernel(text: str) -> Message:
    """What the kernel's log says of those that it killed."""
    found = {
        int(kill[1]): Victim(kill[2] or None, None, None, None, int(kill[1]), int(kill[3]) * 1024)
        for kill in KERNEL_KILL.finditer(text)
    }
    return Message(cause="kernel_oom", victims=tuple(found.values()), killed=len(found))


def _death(text: str, cause: str) -> Message:
    """A worker, actor or node that died, and what is said of it."""
    victims = tuple(dict.fromkeys(_dead(text)))
    node_ip, node_id = node_of(text)
    exit_, periodic = _EXIT.search(text), _PERIODIC.search(text)
    nodes = {(failed[3], failed[2]) for failed in _FAILED_WORKER.finditer(text)} or {
        (actor[4], None) for actor in _DEAD_ACTOR.finditer(text) if actor[4]
    }
    if len(nodes) == 1:
        node_ip, node_id = next(iter(nodes))
    elif nodes:
        node_ip = node_id = None
    if cause == "node_died" and node_id is None:
        dead = _DEAD_NODE.search(text)
        if dead:
            node_ip, node_id = dead[1] or dead[3] or node_ip, dead[2]
    return Message(
        cause=cause,
        node_id=node_id,
        node_ip=node_ip,
        victims=victims,
        crashed=int(periodic[2]) if periodic else None,
        exit_type=exit_[1].strip() if exit_ else None,
        exit_detail=exit_[2].strip() if exit_ else None,
        nodes=max(len(nodes), 1),
    )


def _dead(text: str) -> Iterator[Victim]:
    """The workers, else the actors, of which a text says that they ended."""
    failed = [
        Victim(None, None, None, found[1], int(found[4]), None, found[2]) for found in _FAILED_WORKER.finditer(text)
    ]
    yield from failed
    if not failed:
        for found in _DEAD_ACTOR.finditer(text):
            yield Victim(found[1], None, found[2], None, int(found[3]) if found[3] else None, None)


def top_processes(text: str) -> tuple[Process, ...]:
    """Return the lines of "Top 10 memory users"."""
    if "MEM(GB)" not in text and "Top 10 memory users" not in text:
        return ()
    return tuple([_process(*found) for found in _TOP.findall(text)])


@lru_cache(maxsize=4096)
def _process(pid: str, memory: str, command: str) -> Process:
    """A line of it; kills that follow each other have most lines in common."""
    return Process(int(pid), _bytes(memory), command.strip())


def _bytes(gigabytes: str) -> int:
    return round(float(gigabytes) * _GB)
