"""Which processes of this machine are of one Ray node, and what each of them is to Ray.

Several nodes, of one cluster or of several, may run on a machine: a process is a node's if its raylet started it, or
knows it, or if the command line has the folder of the session.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import psutil

from ...cluster import NodeStats, RegisteredProcess, is_ours
from ...command_line import program_of

__all__ = ["USERS", "Entry", "Process", "find_raylet", "of_node", "program", "running_name", "table"]

USERS = ("task", "actor", "idle worker", "driver", "worker", "subprocess")
"""Roles of processes that run the user's code; the others are parts of Ray."""
_PARTS = (  # what a command line has, and whose it is; the first that fits counts
    ("ray::DashboardAgent", "agent"),
    ("ray::RuntimeEnvAgent", "runtime env agent"),
    ("dashboard/agent.py", "agent"),
    ("runtime_env/agent/main.py", "runtime env agent"),
    ("gcs/gcs_server", "gcs"),
    ("dashboard/dashboard.py", "dashboard"),
    ("_private/log_monitor.py", "log monitor"),
    ("autoscaler/_private/monitor.py", "autoscaler"),
    ("ray.util.client.server", "client server"),
)
_WORDS = 5
"""Words of a command line among which its program is."""
_BELOW = ("agent", "runtime env agent")
"""Parts that the raylet starts; the others are started beside it, all but one on the head only."""
_ON_EACH_NODE = "log monitor"
_IO_WORKERS = ("SpillWorker", "RestoreWorker")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the machine's table of processes."""

    pid: int
    parent: int
    command: tuple[str, ...]
    created: float

    @property
    def title(self) -> str:
        """The command line, or what the process calls itself."""
        return " ".join(self.command).strip()

    def option(self, name: str) -> str | None:
        """Return what the command line has for an option; Ray spells it with hyphens or underscores."""
        for argument in self.command:
            key, equals, value = argument.partition("=")
            if equals and key.lstrip("-").replace("-", "_") == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class Process:
    """What a process is to Ray; `ProcessUsage` says what each of these means."""

    pid: int
    role: str
    name: str | None = None
    actor_id: str | None = None
    job_id: str | None = None
    worker_id: str | None = None
    parent: int | None = None
    """Of a subprocess: the worker, or the process below one, that started it."""


def table() -> dict[int, Entry]:
    """Return the machine's processes by pid."""
    return {
        process.pid: Entry(
            process.pid, process.info["ppid"], tuple(process.info["cmdline"] or ()), process.info["create_time"] or 0.0
        )
        for process in psutil.process_iter(["ppid", "cmdline", "create_time"])
    }


def find_raylet(entries: dict[int, Entry], node_id: str) -> Entry | None:
    """Return the raylet of a node if it can be seen from here."""
    return next((entry for entry in _raylets(entries) if entry.option("node_id") == node_id), None)


def of_node(entries: dict[int, Entry], raylet: Entry, stats: NodeStats) -> list[Process]:
    """Return the processes of the raylet's node."""
    found = {raylet.pid: Process(raylet.pid, "raylet")}
    for process in (*_drivers(entries, stats), *_beside(entries, raylet), *_below(entries, raylet, stats)):
        if process.role != "driver" or process.pid not in found:
            found[process.pid] = process
    for process in list(_strays(entries, found)):
        found[process.pid] = process
    return list(found.values())


def _strays(entries: dict[int, Entry], found: dict[int, Process]) -> Iterator[Process]:
    """What workers started whose parent has gone: it is still of the process group that newer Rays give each worker."""
    for entry in entries.values():
        if entry.pid not in found:
            with contextlib.suppress(OSError):
                worker = found.get(os.getpgid(entry.pid))
                if worker is not None and worker.role in USERS and worker.role != "driver":
                    yield Process(entry.pid, "subprocess", program(entry.command), parent=worker.pid)


def _raylets(entries: dict[int, Entry]) -> list[Entry]:
    return [entry for entry in entries.values() if entry.option("raylet_socket_name")]


def _part(entry: Entry) -> str | None:
    return next((role for sign, role in _PARTS if any(sign in word for word in entry.command[:_WORDS])), None)


def _drivers(entries: dict[int, Entry], stats: NodeStats) -> Iterator[Process]:
    for process in stats.processes or ():
        entry = entries.get(process.pid)
        if process.kind == "driver" and entry is not None:
            yield Process(entry.pid, "driver", program(entry.command), job_id=process.job_id)


def _beside(entries: dict[int, Entry], raylet: Entry) -> Iterator[Process]:
    """The parts that were started beside the raylet, and what they started."""
    session = raylet.option("session_dir")
    # Nodes that a test puts into one session share its folder: each has the log monitor that started with it.
    siblings = [entry for entry in _raylets(entries) if entry.option("session_dir") == session]
    for entry in entries.values():
        role = _part(entry)
        if role is None or role in _BELOW or not _is_of_session(entry, role, raylet):
            continue
        if role == _ON_EACH_NODE:
            if min(siblings, key=partial(_distance, entry)) != raylet:
                continue
        elif "--head" not in raylet.command:
            continue
        for part in (entry, *_descendants(entries, entry.pid)):
            yield Process(part.pid, _part(part) or role)


def _distance(entry: Entry, raylet: Entry) -> tuple[bool, float]:
    """How far apart two processes were started: by one command or by two, and how long after each other."""
    return _session_of(entry) != _session_of(raylet), abs(raylet.created - entry.created)


def _session_of(entry: Entry) -> int | None:
    try:
        return os.getsid(entry.pid)  # what the system calls so: it has nothing to do with Ray's
    except OSError:  # it has ended
        return None


def _is_of_session(entry: Entry, role: str, raylet: Entry) -> bool:
    if role == "client server":  # names no folder
        return entry.option("address") == raylet.option("gcs_address")
    session = raylet.option("session_dir")
    return any(entry.option(name) in (session, f"{session}/logs") for name in ("session_dir", "log_dir", "logs_dir"))


def _descendants(entries: dict[int, Entry], pid: int) -> Iterator[Entry]:
    for entry in entries.values():
        if entry.parent == pid and entry.pid != pid:
            yield entry
            yield from _descendants(entries, entry.pid)


def _below(entries: dict[int, Entry], raylet: Entry, stats: NodeStats) -> Iterator[Process]:
    """The raylet's children, and theirs: agents, workers, and what workers started."""
    children: dict[int, list[Entry]] = {}
    for entry in entries.values():
        children.setdefault(entry.parent, []).append(entry)
    known = {process.pid: process for process in stats.processes or ()}
    waiting: list[tuple[Entry, Process | None]] = [(entry, None) for entry in children.get(raylet.pid, ())]

    def is_worker(entry: Entry) -> bool:
        return entry.pid in known or entry.title.startswith("ray::")

    while waiting:
        entry, parent = waiting.pop()
        if parent is None and not is_worker(entry) and any(map(is_worker, _descendants(entries, entry.pid))):
            yield Process(entry.pid, "subprocess", program(entry.command))  # it launched a worker: `uv run`, a wrapper
            waiting.extend((child, None) for child in children.get(entry.pid, ()))
            continue
        found = _child(entry, parent, known.get(entry.pid), stats)
        yield found
        if found.role != "driver":  # what a driver starts is its own affair, wherever it runs
            waiting.extend((child, found) for child in children.get(entry.pid, ()))


def _child(entry: Entry, parent: Process | None, known: RegisteredProcess | None, stats: NodeStats) -> Process:
    """Say what a process is that the raylet, or a process below it, has started."""
    title = entry.title
    name = title.removeprefix("ray::") if title.startswith("ray::") else None
    if known is None:
        part = _part(entry)
        if part is not None:
            return Process(entry.pid, part)
        if parent is not None and parent.role not in USERS:
            return Process(entry.pid, parent.role)
        if parent is not None:  # forked, it bears the worker's title
            title_or_program = parent.name if name else program(entry.command)
            return Process(entry.pid, "subprocess", title_or_program, parent=parent.pid)
        if name is None and "default_worker.py" not in title:
            return Process(entry.pid, "subprocess", program(entry.command))
    elif known.kind == "driver":
        return Process(entry.pid, "driver", program(entry.command), job_id=known.job_id)
    if (known is not None and known.kind == "io worker") or (name or "").endswith(_IO_WORKERS):
        return Process(entry.pid, "io worker")
    role, is_idle = _role(name, known, stats), name in (None, "IDLE")
    if known is None:
        return Process(entry.pid, role, None if is_idle else name)
    return Process(entry.pid, role, None if is_idle else name, known.actor_id, known.job_id, known.worker_id)


def _role(name: str | None, known: RegisteredProcess | None, stats: NodeStats) -> str:
    """What a worker with this title does."""
    if known is not None and known.actor_id:
        return "actor"
    if name == "IDLE" or (name is None and not (known is not None and known.is_busy)):
        return "idle worker"
    # Where the raylet is silent the GCS names the actors, so who is none of them runs a task.
    says_so = known is not None or (stats.processes is not None and not stats.is_complete)
    return "task" if says_so else "worker"


def running_name(title: str) -> str | None:
    """Return what a worker runs by its title: the task, `Actor.method`, or an actor's class between two calls.

    None for a worker that is idle or has just started, for what is a part of Ray, and for our own tasks.
    """
    name = title.removeprefix("ray::") if title.startswith("ray::") else ""
    is_rays = name.endswith(_IO_WORKERS) or any(title.startswith(sign) for sign, _ in _PARTS)
    return None if name in ("", "IDLE") or is_rays or is_ours(name) else name


def program(command: tuple[str, ...]) -> str | None:
    """Return the script or module that a command line runs, else its program."""
    found = program_of(command)
    if found is None:
        return None
    if found.option is not None:
        return found.argument if found.option == "-m" else f"{found.executable} {found.option}"
    return os.path.basename(found.argument) if found.argument is not None else found.executable
