"""Reads what Ray prints about memory: the figures that stand in a message, and nothing that does not.

Takes the messages of Ray's page "Debugging Memory Issues" (up to Ray 2.55 one worker is killed at a time) and those of
Ray 2.56 and later (several at once), as exceptions carry them, as the raylet prints and logs them, and as people paste
them: with colours, `(raylet)` prefixes, escaped line breaks, cut or out of order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Message", "Process", "Victim", "parse"]

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
        exit_detail: what it says of how a worker ended.
        idle_memory: what idle workers held that were not killed.
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
    exit_detail: str | None = None
    idle_memory: int | None = None


_HEX = r"[0-9a-f]"
_NUMBER = r"\d+(?:\.\d+)?"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m|(?<!\w)\[\d{1,3}m")
_PREFIX = re.compile(r"^\((?:raylet|autoscaler|[\w.<>]+ pid=\d+)[^)\n]*\) ?", re.MULTILINE)

# Up to Ray 2.55.
_ONE_KILLED = re.compile(
    rf"where the (?:task|actor|lease) \((task|actor|lease) ID: ({_HEX}+), name=([^\n]{{1,300}}?), pid=(\d+), "
    rf"memory used=({_NUMBER})GB\) was running was ({_NUMBER})GB / ({_NUMBER})GB \(({_NUMBER})\)"
)
_THRESHOLD = re.compile(rf"exceeds the memory usage threshold of ({_NUMBER})(?:\. |[;\n])")
_KILLED_WORKER = re.compile(rf"Ray killed this worker \(ID: ({_HEX}{{56}})\)")
# From Ray 2.56.
_MANY_KILLED = re.compile(r"(\d+) worker\(s\) were killed due to the node running low on memory")
_NODE_MEMORY = re.compile(rf"was ({_NUMBER})GB(?: used)? / ({_NUMBER})GB(?: limit)? \({_NUMBER}\)")
_EXACT = re.compile(rf"Memory usage (\d+)B exceeded threshold of (\d+)B \({_NUMBER}% of (\d+)B limit\)")
_WORKER = re.compile(
    rf"(Selected to kill: )?\((?:Task|Actor\(({_HEX}+)\)|Worker with no lease granted): "
    rf"(?:job ID={_HEX}+, lease ID={_HEX}+, task name=([^\n]{{1,300}}?), "
    rf"required resources=\{{[^\n]{{0,300}}?\}}, )?"
    rf"pid=(\d+), actual memory used=({_NUMBER})GB, worker ID=({_HEX}{{56}})\)"
)
_ONLY_SELECTED = "based on the killing policy: ["
"""Before those that Ray killed, in versions that do not name those that it spared."""
_IDLE = re.compile(rf"Total non-selected idle workers USS bytes: ({_NUMBER})GB")
# All.
_NODE = re.compile(rf"Memory on the node \(IP: ([0-9a-fA-F.:]+), ID: ({_HEX}{{56}})\)")
_PERIODIC = re.compile(
    r"(\d+) Workers \(tasks / actors\) killed due to memory pressure \(OOM\), "
    r"(\d+) Workers crashed due to other reasons"
)
_PERIODIC_NODE = re.compile(rf"at node \(ID: ({_HEX}{{56}}), IP: ([0-9a-fA-F.:]+)\)")
_OOM_RETRY = re.compile(r"Task ([^\n]{1,300}?) failed due to oom\. There are (infinite|\d+) oom retries remaining")
_TOP = re.compile(rf"^[\t ]*(\d+)[\t ]+({_NUMBER})[\t ]+(?!\d+[\t ]+\d+\.\d)(\S.*)$", re.MULTILINE)
_EXIT = re.compile(r"Worker exit type: (.{1,60}?) Worker exit detail: (.+)")
_FAILED_WORKER = re.compile(
    rf"Worker ID: ({_HEX}{{56}}) Node ID: ({_HEX}{{56}}) Worker IP address: (\S+) [^\n]{{0,300}}?Worker PID: (\d+) "
)
_DEAD_ACTOR = re.compile(
    rf"class_name: (\S+)\s+actor_id: ({_HEX}{{32}})(?:\s+pid: (\d+)\s)?(?:\s*namespace: \S+)?(?:\s+ip: (\S+))?"
)
_DEAD_NODE = re.compile(rf"[Nn]ode(?: IP: (\S+?),)?[^\n]{{0,60}}?(?:node )?(?:ID|Id|id): ?({_HEX}{{56}})")


def parse(text: str) -> Message:
    """Return the figures of a message. Never raises: what cannot be made out is None, and the cause "unknown"."""
    text = _clean(text)
    cause = _cause(text)
    if cause == "ray_memory_monitor":
        return _oom(text)
    if cause in ("object_store_full", "disk_full", "memory_error"):
        return Message(cause)
    return _death(text, cause)


def _clean(text: str) -> str:
    """Take out what a terminal, a driver's log forwarding, or an event log put in."""
    text = _COLOURS.sub("", text.replace("\r\n", "\n"))
    text = re.sub(r'\\+([nt"])', lambda found: {"n": "\n", "t": "\t"}.get(found[1], '"'), text)
    return _PREFIX.sub("", text)


def _cause(text: str) -> str:
    exit_type = _EXIT.search(text)
    if (
        "killed due to the node running low on memory" in text
        or "Selected to kill: (" in text
        or (_ONE_KILLED.search(text))
        or _OOM_RETRY.search(text)
        or "OOM kill reason: Memory usage" in text
        or (exit_type and "NODE_OUT_OF_MEMORY" in exit_type[1])
    ):
        return "ray_memory_monitor"
    periodic = _PERIODIC.search(text)
    if periodic:
        return "ray_memory_monitor" if int(periodic[1]) else "unknown"
    if "local disk's utilization is over capacity" in text or "OutOfDiskError" in text:
        return "disk_full"
    if "The local object store is full of objects" in text or "ObjectStoreFullError" in text:
        return "object_store_full"
    if "killed by `ray.kill`" in text:
        return "ray_kill"
    if "NodeDiedError" in text or re.search(r"\bnode\b[^.\n]{0,80}\b(has died|is dead|died)\b", text, re.IGNORECASE):
        return "node_died"
    if re.search(r"\*\*\* SIG(SEGV|ABRT|BUS|ILL|FPE) received|Fatal Python error: (Segmentation|Aborted|Bus)", text):
        return "crash"
    if re.search(r"(^|[.\s])_?(Array)?MemoryError\b", text):
        return "memory_error"
    return "unknown"


def _oom(text: str) -> Message:
    victims: dict[tuple[int | None, str | None], Victim] = {}
    used = limit = threshold = None
    for found in _WORKER.finditer(text):
        selected, actor_id, name, pid, memory, worker_id = found.groups()
        if selected or _ONLY_SELECTED in text:
            victims[int(pid), worker_id] = Victim(name, None, actor_id, worker_id, int(pid), _bytes(memory))
    one = _ONE_KILLED.search(text)
    if one is not None:
        kind, identity, name, pid, memory, used_gb, limit_gb, _ = one.groups()
        worker = _KILLED_WORKER.search(text)
        victims[int(pid), worker[1] if worker else None] = Victim(
            name,
            identity if kind == "task" else None,
            identity if kind == "actor" else None,
            worker[1] if worker else None,
            int(pid),
            _bytes(memory),
        )
        used, limit = _bytes(used_gb), _bytes(limit_gb)
    node_memory, exact = _NODE_MEMORY.search(text), _EXACT.search(text)
    if exact:
        used, threshold, limit = (int(exact[n]) for n in (1, 2, 3))
    elif node_memory:
        used, limit = _bytes(node_memory[1]), _bytes(node_memory[2])
    fraction = _THRESHOLD.search(text)
    if fraction and limit is not None and threshold is None:
        threshold = round(float(fraction[1]) * limit)
    node_ip, node_id = _node(text)
    many, periodic, retry, idle = (r.search(text) for r in (_MANY_KILLED, _PERIODIC, _OOM_RETRY, _IDLE))
    if retry and not victims:
        victims[None, None] = Victim(retry[1], None, None, None, None, None)
    return Message(
        cause="ray_memory_monitor",
        node_id=node_id,
        node_ip=node_ip,
        used=used,
        limit=limit,
        threshold=threshold,
        victims=tuple(victims.values()),
        top_processes=_top(text),
        killed=int(many[1]) if many else int(periodic[1]) if periodic else 1 if one else None,
        retries=None if not retry else float("inf") if retry[2] == "infinite" else int(retry[2]),
        idle_memory=_bytes(idle[1]) if idle else None,
    )


def _death(text: str, cause: str) -> Message:
    """A worker, actor or node that died, and what is said of it."""
    victims: list[Victim] = []
    node_ip, node_id = _node(text)
    failed, actor, exit_ = _FAILED_WORKER.search(text), _DEAD_ACTOR.search(text), _EXIT.search(text)
    if failed:
        victims.append(Victim(None, None, None, failed[1], int(failed[4]), None))
        node_id, node_ip = failed[2], failed[3]
    elif actor:
        victims.append(Victim(actor[1], None, actor[2], None, int(actor[3]) if actor[3] else None, None))
        node_ip = actor[4] or node_ip
    if cause == "node_died" and node_id is None:
        dead = _DEAD_NODE.search(text)
        if dead:
            node_ip, node_id = dead[1], dead[2]
    return Message(
        cause=cause,
        node_id=node_id,
        node_ip=node_ip,
        victims=tuple(victims),
        exit_detail=exit_[2].strip() if exit_ else None,
    )


def _node(text: str) -> tuple[str | None, str | None]:
    """The node's address and id."""
    node, periodic = _NODE.search(text), _PERIODIC_NODE.search(text)
    if node:
        return node[1], node[2]
    return (periodic[2], periodic[1]) if periodic else (None, None)


def _top(text: str) -> tuple[Process, ...]:
    if "MEM(GB)" not in text and "Top 10 memory users" not in text:
        return ()
    return tuple(Process(int(pid), _bytes(memory), command.strip()) for pid, memory, command in _TOP.findall(text))


def _bytes(gigabytes: str) -> int:
    return round(float(gigabytes) * _GB)
