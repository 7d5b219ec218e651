"""How Ray's processes on this node ended: from the raylet's event log, the workers' own logs, and the kernel's.

A process that is killed cannot say so. The raylet says whom it killed for memory; a worker that crashes, or that Ray
ends, writes it to its log; the kernel's out-of-memory killer writes to the kernel's log, where that may be read. Who
left none of these was killed with SIGKILL by somebody who did not say so.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import psutil

from ... import journal as contract
from .facts import TopProcess, Victim
from .messages import parse
from .ray.kill_victims import killed
from .ray.memory_users import top_processes
from .ray.raylet import node_of
from .secrets import without_secrets
from .systems.kernel import KERNEL_KILL

__all__ = [
    "LATE",
    "WITHOUT_A_TRACE",
    "Death",
    "cgroup_oom_kills",
    "fits",
    "how_it_ended",
    "kernel_kills",
    "moment",
    "oldest_first",
    "opened",
    "raylet_deaths",
    "worker_exit",
]

CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
WITHOUT_A_TRACE = "exited without a trace, as after SIGKILL or os._exit"
LATE = timedelta(seconds=60)
"""How far apart the raylet's and the kernel's word of one death may be."""
_AFTER_TOP = b"Refer to the documentation"
"""What follows the list of the largest processes."""
_LOG_TAIL = 256 * 1024
_LONGEST_LINE = 1024 * 1024
_LONGEST_DETAIL = 300
_TRIES = 5
_DIED = re.compile(
    rb"Worker ID: ([0-9a-f]{56}) Node ID: ([0-9a-f]{56}) Worker IP address: (\S+) Worker port: \d+ "
    rb"Worker PID: (\d{1,10}) (?:Worker exit type: \w+ Worker exit detail: )?"
)
_STAMP = re.compile(rb'"timestamp":(\d{1,11})(?:\.\d{1,9})?[,}]')
_TIME = re.compile(rb"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{1,9} ")
_STAMP_END = len("[2026-11-23 02:53:25")
_SIGNAL = re.compile(r"\*\*\* (SIG[A-Z]+) received|Fatal Python error: (Segmentation fault|Aborted|Bus error)")
_EXIT_CODE = re.compile(r"exits with an exit code \d|receives a SIGTERM|exit_actor\(\) is called")


class Death(NamedTuple):
    """One process's end; there may be hundreds of thousands. `memory` is bytes at its death, where somebody said."""

    when: datetime
    cause: str
    pid: int
    name: str | None = None
    worker_id: str | None = None
    actor_id: str | None = None
    memory: int | None = None
    node_id: str | None = None
    node_ip: str | None = None
    detail: str | None = None
    """How the worker ended, in the raylet's words."""
    top_processes: tuple[TopProcess, ...] = ()
    """What used most when it was killed for memory."""


def raylet_deaths(logs: Path) -> Iterator[Death]:
    """Yield the deaths that the raylet saw: those it killed for memory, which both its logs may tell, and others.

    Read line by line from its event log, which leaves out kills that follow each other closely, and from its own log,
    rotated files first. A line that is being written, or is damaged, is passed over.
    """
    return chain(_from_events(logs / "events"), _from_log(logs))


def _from_events(events: Path) -> Iterator[Death]:
    for line in _lines(events, "event_RAYLET*.log*"):
        label = line.find(b'"label":"') + 9
        if line.startswith(b"Out of Memory", label):
            yield from _kills(line)
        elif line.startswith(b"RAY_WORKER_FAILURE", label):
            yield from _kills(line) if b"NODE_OUT_OF_MEMORY" in line else _failure(line)


def _from_log(logs: Path) -> Iterator[Death]:
    """The kills in the raylet's log, where a record starts with its time, in local time, and goes on over lines."""
    start: bytes | None = None
    node: tuple[str | None, str | None] = (None, None)
    for line in _lines(logs, "raylet*.out*"):
        if line.startswith(b"[") and _TIME.match(line):
            start, node = line, (None, None)
        is_kill = b"Selected to kill: (" in line or b"memory used=" in line
        if is_kill or b"Memory on the node (IP: " in line:
            text = without_secrets(line.decode(errors="replace").replace("\\n", "\n"))
            node = node_of(text) if "Memory on the node" in text else node
            when = moment(start[1:_STAMP_END]) if is_kill and start is not None else None
            if when is not None:
                yield from _victims(when, killed(text), *node)


def _lines(folder: Path, pattern: str) -> Iterator[bytes]:
    """The lines of a log and of its rotated files. All are opened before one is read: a rotation moves no open file."""
    with ExitStack() as stack:
        for log in _opened(folder, pattern, stack):
            while line := log.readline(_LONGEST_LINE):
                yield line


def _opened(folder: Path, pattern: str, stack: ExitStack) -> list[BinaryIO]:
    logs: list[BinaryIO] = []
    for _ in range(_TRIES):  # until no rotation falls between the listing and the opening
        stack.close()
        paths, logs = oldest_first(folder, pattern), []
        try:
            logs = [stack.enter_context(opened(path)) for path in paths]
            found = [(status.st_dev, status.st_ino) for status in map(os.stat, oldest_first(folder, pattern))]
        except FileNotFoundError:
            continue
        except OSError:
            return logs
        if found == [(status.st_dev, status.st_ino) for status in (os.fstat(log.fileno()) for log in logs)]:
            break
    return logs


def oldest_first(folder: Path, pattern: str) -> list[Path]:
    """Return a log and its rotated files: the higher the number the older, none is the newest."""
    return sorted(filter(os.path.isfile, folder.glob(pattern)), key=_rotation)


def opened(log: Path) -> BinaryIO:
    """Open a log to read; raises `OSError` where it is no file: a pipe would keep its reader waiting."""
    return open(contract.open_plain(log, follow=True), "rb")


def moment(stamp: bytes) -> datetime | None:
    """Return the time of a record in a log, which is local; None where there is no such time."""
    try:
        return datetime.fromisoformat(stamp.decode().replace(",", ".")).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _rotation(path: Path) -> tuple[int, str]:
    number = re.search(r"\.(\d{1,9})(?=\.|$)", path.name)
    return (-int(number[1]) if number else 1, path.name)


# Only what is wanted is read of a line of the event log: a session may have 200,000 of them.


def _when(line: bytes) -> datetime | None:
    stamp = _STAMP.match(line, line.rfind(b'"timestamp":'))
    return datetime.fromtimestamp(int(stamp[1]), timezone.utc) if stamp else None


def _failure(line: bytes) -> Iterator[Death]:
    when, died = _when(line), _DIED.match(line, line.find(b"Worker ID: "))
    if when and died:
        worker_id, node_id, node_ip = died[1].decode(), _word(died[2]), _word(died[3])
        detail = _word(line[died.end() : line.find(b'","', died.end())][:_LONGEST_DETAIL])
        yield Death(when, "unknown", int(died[4]), None, worker_id, None, None, node_id, node_ip, detail)


def _kills(line: bytes) -> Iterator[Death]:
    when = _when(line)
    if when is None:
        return
    said, _, largest = line.partition(b"Top 10 memory users")
    text, used_most = (
        without_secrets(part.decode(errors="replace")) for part in (said, largest.partition(_AFTER_TOP)[0])
    )
    top = top_processes(f"Top 10 memory users{_unescaped(used_most)}")
    found, (node_ip, node_id) = list(killed(text)), node_of(text)
    if not found or any("\\" in (victim.name or "") for victim in found):  # what JSON escapes
        try:
            message = parse(json.loads(line)["message"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        found, node_ip, node_id = list(message.victims), message.node_ip, message.node_id
        if message.cause != "ray_memory_monitor":
            return
    yield from _victims(when, found, node_ip, node_id, top)


def _unescaped(text: str) -> str:
    """Put line ends and tabs where JSON, and who wrote the message into it, escaped them."""
    return text.replace("\\\\", "\\").replace("\\n", "\n").replace("\\t", "\t")


@lru_cache(maxsize=256)
def _word(said: bytes) -> str:
    """The text of what many lines say alike, held once."""
    return without_secrets(said.decode(errors="replace")).strip()


def _victims(
    when: datetime,
    victims: Iterator[Victim] | list[Victim],
    node_ip: str | None,
    node_id: str | None,
    top: tuple[TopProcess, ...] = (),
) -> Iterator[Death]:
    for victim in victims:
        if victim.pid is not None:
            yield Death(
                when,
                "ray_memory_monitor",
                victim.pid,
                victim.name,
                victim.worker_id,
                victim.actor_id,
                victim.memory,
                node_id,
                node_ip,
                None,
                top,
            )


def worker_exit(logs: Path, worker_id: str | None, pid: int | None) -> str | None:
    """Return what a Ray worker's own log says that ended it, `ray.kill` for instance; None if it says nothing."""
    reasons = re.findall(
        r"exit_detail=(.*?), has[ _]creation_task_exception", _tail(logs / f"python-core-worker-{worker_id}_{pid}.log")
    )
    return without_secrets(reasons[-1]).strip() if reasons else None


def crash_signal(logs: Path, worker_id: str | None, pid: int | None) -> str | None:
    """Return the signal that a worker wrote that it crashed of, such as "SIGSEGV"; None if it wrote none."""
    for path in logs.glob(f"worker-{worker_id}-*-{pid}.err"):
        found = _SIGNAL.search(_tail(path))
        if found:
            return found[1] or {"Aborted": "SIGABRT", "Bus error": "SIGBUS"}.get(found[2], "SIGSEGV")
    return None


def _tail(path: Path) -> str:
    try:
        with opened(path) as log:
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
            found = KERNEL_KILL.search(record)
            if found:
                when = boot + timedelta(microseconds=int(record.split(",", 3)[2]))
                pid = int(found[1])
                kills[pid] = Death(when, "kernel_oom", pid, found[2], memory=int(found[3]) * 1024)
    finally:
        os.close(log)


def cgroup_oom_kills() -> int | None:
    """Return how often the kernel has killed in this process's memory cgroup; None where no counter can be read.

    That of cgroup v2 counts those below as well, so the outermost that can be seen counts most; that of v1 does not.
    """
    with contextlib.suppress(OSError, ValueError):
        counts: list[int] = []
        for line in OWN_CGROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            root = CGROUPS / "memory" if controllers else CGROUPS
            name = "memory.oom_control" if controllers else "memory.events"
            folders = [root.joinpath(*Path(path).parts[1:depth]) for depth in range(1, len(Path(path).parts) + 1)]
            for folder in folders:
                with contextlib.suppress(OSError, ValueError, KeyError):
                    counters = dict(line.split() for line in (folder / name).read_text().splitlines())
                    counts.append(int(counters["oom_kill"]))
        return max(counts, default=None)
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
    seen = raylet.get((pid, worker_id))
    if seen is not None and seen.cause == "ray_memory_monitor":
        return seen.cause, "killed by Ray's memory monitor", seen
    word = (kernel or {}).get(pid)
    if word is not None and fits(word, since, seen):
        return "kernel_oom", "killed by the kernel's out-of-memory killer", word
    signal = crash_signal(logs, worker_id, pid)
    if signal is not None:
        return "crash", f"the process crashed ({signal})", seen
    reason = worker_exit(logs, worker_id, pid)
    if reason is None and seen is not None and seen.detail and _EXIT_CODE.search(seen.detail):
        reason = seen.detail
    if reason is not None:
        cause = "ray_kill" if "`ray.kill`" in reason else "exit" if _EXIT_CODE.search(reason) else "unknown"
        return cause, reason, seen
    return "sigkill", WITHOUT_A_TRACE, seen


def fits(word: Death, since: datetime, seen: Death | None) -> bool:
    """Whether the kernel's word can be of a process that was alive at `since`, and whose end the raylet saw.

    Numbers of processes are used again, and those that the kernel names may be of another container.
    """
    if seen is not None:
        return abs(word.when - seen.when) < LATE
    return word.when >= since - timedelta(seconds=1)
