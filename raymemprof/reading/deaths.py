"""How Ray's processes on this node ended: from the raylet's event log, the workers' own logs, and the kernel's.

A process that is killed cannot say so. The raylet says whom it killed for memory; a worker that crashes, or that Ray
ends, writes it to its log; the kernel's out-of-memory killer writes to the kernel's log, where that may be read. Who
left none of these was killed with SIGKILL by somebody who did not say so.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import chain
from pathlib import Path

import psutil

from .messages import Message, parse

__all__ = ["Death", "cgroup_oom_kills", "how_it_ended", "kernel_kills", "raylet_deaths", "worker_exit"]

_LOG_TAIL = 256 * 1024
_LONGEST_LINE = 1024 * 1024
_LONGEST_RECORD = 500
_KILLS = (b"Selected to kill: (", b"memory used=")
_DIED = re.compile(
    rb"Worker ID: ([0-9a-f]{56}) Node ID: [^:]*:[^:]*:[^:]*?Worker PID: (\d+) "
    rb'.*"timestamp":(\d{1,12})}\s*$',
    re.DOTALL,
)
_TIME = re.compile(rb"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ ")
_KERNEL = re.compile(
    r"(?:Out of memory|out of memory)[^\n]*?: Killed process (\d+) \((.*?)\) total-vm:\d+kB, anon-rss:(\d+)kB"
)
_SIGNAL = re.compile(r"\*\*\* (SIG[A-Z]+) received|Fatal Python error: (Segmentation fault|Aborted|Bus error)")


@dataclass(frozen=True, slots=True)
class Death:
    """One process's end. `memory` is bytes at its death, where somebody said."""

    when: datetime
    cause: str
    pid: int
    name: str | None = None
    worker_id: str | None = None
    actor_id: str | None = None
    memory: int | None = None
    message: Message | None = None


def raylet_deaths(logs: Path) -> Iterator[Death]:
    """Yield the deaths that the raylet saw, once each: those it killed for memory, and unexpected ones.

    Read line by line from its event log, which leaves out kills that follow each other closely, and from its own log,
    rotated files first. A line that is being written, or is damaged, is passed over.
    """
    seen: set[tuple[int, str | None]] = set()
    for death in chain(_from_events(logs / "events"), _from_log(logs)):
        if death.cause != "ray_memory_monitor" or (death.pid, death.worker_id) not in seen:
            yield death
        if death.cause == "ray_memory_monitor":
            seen.add((death.pid, death.worker_id))


def _from_events(events: Path) -> Iterator[Death]:
    for line in _lines(events, "event_RAYLET*.log*"):
        if b"RAY_WORKER_FAILURE" in line or b"Out of Memory" in line:
            yield from _event(line)


def _from_log(logs: Path) -> Iterator[Death]:
    """The kills in the raylet's log, where a record starts with its time, in local time, and goes on over lines."""
    record: list[bytes] = []
    for line in _lines(logs, "raylet*.out*"):
        if line.startswith(b"[") and _TIME.match(line):
            record = [line]
        elif len(record) < _LONGEST_RECORD:
            record.append(line)
        if any(label in line for label in _KILLS):
            start = _TIME.match(record[0])
            if start is None:
                continue
            when = datetime.strptime(start[1].decode(), "%Y-%m-%d %H:%M:%S").astimezone(timezone.utc)
            yield from _victims(when, parse(b"".join(record).decode(errors="replace")))


def _lines(folder: Path, pattern: str) -> Iterator[bytes]:
    for path in sorted(folder.glob(pattern), key=_rotation):
        try:
            with path.open("rb") as log:
                while line := log.readline(_LONGEST_LINE):
                    yield line
        except OSError:
            continue  # rotated away since the folder was listed


def _rotation(path: Path) -> tuple[int, str]:
    """Order rotated logs from old to new: the higher the number the older, none is the newest."""
    number = re.search(r"\.(\d+)(?=\.|$)", path.name)
    return (-int(number[1]) if number else 1, path.name)


def _event(line: bytes) -> Iterator[Death]:
    died = None if b"NODE_OUT_OF_MEMORY" in line else _DIED.search(line)
    if died:  # most lines of a long log: nothing else that they say is wanted
        when = datetime.fromtimestamp(int(died[3]), timezone.utc)
        yield Death(when, "unknown", int(died[2]), worker_id=died[1].decode())
        return
    try:
        event = json.loads(line)
        when = datetime.fromtimestamp(float(event["timestamp"]), timezone.utc)
        message = parse(event["message"])
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return
    yield from _victims(when, message)


def _victims(when: datetime, message: Message) -> Iterator[Death]:
    cause = message.cause if message.cause == "ray_memory_monitor" else "unknown"
    for victim in message.victims:
        if victim.pid is not None:
            yield Death(when, cause, victim.pid, victim.name, victim.worker_id, victim.actor_id, victim.memory, message)


def worker_exit(logs: Path, worker_id: str | None, pid: int | None) -> str | None:
    """Return what a Ray worker's own log says that ended it, `ray.kill` for instance; None if it says nothing."""
    reasons = re.findall(
        r"exit_detail=(.*?), has[ _]creation_task_exception", _tail(logs / f"python-core-worker-{worker_id}_{pid}.log")
    )
    return reasons[-1].strip() if reasons else None


def crash_signal(logs: Path, worker_id: str | None, pid: int | None) -> str | None:
    """Return the signal that a worker wrote that it crashed of, such as "SIGSEGV"; None if it wrote none."""
    for path in logs.glob(f"worker-{worker_id}-*-{pid}.err"):
        found = _SIGNAL.search(_tail(path))
        if found:
            return found[1] or {"Aborted": "SIGABRT", "Bus error": "SIGBUS"}.get(found[2], "SIGSEGV")
    return None


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _LOG_TAIL))
            return log.read().decode(errors="replace")
    except OSError:
        return ""


def kernel_kills() -> dict[int, Death] | None:
    """Return whom the kernel's out-of-memory killer killed, by pid; None where its log may not be read.

    In a container the pids are the host's, and not those that the container sees.
    """
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    boot = datetime.fromtimestamp(psutil.boot_time(), timezone.utc)
    kills: dict[int, Death] = {}
    try:
        while True:
            try:
                record = os.read(log, 8192).decode(errors="replace")
            except BlockingIOError:
                return kills
            except BrokenPipeError:
                continue  # this record was overwritten before it was read
            except OSError:
                return kills or None
            found = _KERNEL.search(record)
            if found:
                when = boot + timedelta(microseconds=int(record.split(",", 3)[2]))
                pid = int(found[1])
                kills[pid] = Death(when, "kernel_oom", pid, found[2], memory=int(found[3]) * 1024)
    finally:
        os.close(log)


def cgroup_oom_kills() -> int | None:
    """Return how often the kernel has killed in this container's memory cgroup; None where no counter can be read."""
    for path, key in (
        (Path("/sys/fs/cgroup/memory.events"), "oom_kill"),
        (Path("/sys/fs/cgroup/memory/memory.oom_control"), "oom_kill"),
    ):
        try:
            counters = dict(line.split() for line in path.read_text().splitlines())
            return int(counters[key])
        except (OSError, ValueError, KeyError):
            continue
    return None


def how_it_ended(
    logs: Path,
    worker_id: str | None,
    pid: int,
    since: datetime,
    raylet: dict[tuple[int, str | None], Death],
    kernel: dict[int, Death] | None,
) -> tuple[str, str | None, Death | None]:
    """Tell what ended a process that is gone: the cause, a sentence, and the raylet's or kernel's word, if any."""
    killed = raylet.get((pid, worker_id))
    if killed is not None and killed.cause == "ray_memory_monitor":
        return killed.cause, "killed by Ray's memory monitor", killed
    by_kernel = (kernel or {}).get(pid)
    if by_kernel is not None and by_kernel.when >= since - timedelta(seconds=1):
        return "kernel_oom", "killed by the kernel's out-of-memory killer", by_kernel
    signal = crash_signal(logs, worker_id, pid)
    if signal is not None:
        return "crash", f"the process crashed ({signal})", killed
    reason = worker_exit(logs, worker_id, pid)
    if reason is not None:
        return ("ray_kill" if "`ray.kill`" in reason else "unknown"), reason, killed
    return "sigkill", "ended without a word, as SIGKILL and os._exit do", killed
