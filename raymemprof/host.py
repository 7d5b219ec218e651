"""The memory of the machine, or of the container it runs in: of all memory cgroups the smallest limit counts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["HostMemory", "kill_threshold", "memory", "pid_exists", "shares"]

_CGROUPS = Path("/sys/fs/cgroup")
_USUAL_THRESHOLD = 0.95
"""The part of a node's memory above which Ray kills, where RAY_memory_usage_threshold does not say."""


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Bytes in all, and used as Ray's memory monitor counts: without what the kernel can take back at once."""

    total: int
    used: int
    is_container: bool
    """Whether a cgroup's limit is what holds."""
    shared: int | None = None
    """Bytes of shared memory and tmpfs among what is used; None where the system does not say."""

    @property
    def available(self) -> int:
        """Bytes that can still be used."""
        return max(self.total - self.used, 0)


def memory(pid: int | None = None) -> HostMemory:
    """Return the memory that processes here share, or those in the cgroups of the process `pid`."""
    machine = psutil.virtual_memory()
    shared = getattr(machine, "shared", None)
    found = HostMemory(machine.total, machine.total - machine.available, is_container=False, shared=shared)
    for limit, used, shared in _cgroups(pid):
        if limit < found.total:
            found = HostMemory(limit, used, is_container=True, shared=shared)
    return found


def pid_exists(pid: int) -> bool:
    """Whether there is a process of this number, which a file's name or a log may say, and may be none."""
    return 0 < pid < 2**31 and psutil.pid_exists(pid)


def shares(pid: int) -> tuple[int | None, int | None]:
    """Return two parts of a process's memory, in bytes; this takes some milliseconds.

    The first is its part of anonymous memory when pages that several processes share are divided among them (Pss_Anon,
    from Linux 5.9 on); the second is what it has written to and shares with no one (Private_Dirty). Each is None if the
    kernel does not tell.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            lines = file.read().splitlines()[1:]
    except OSError:
        return None, None
    figures = {}
    for line in lines:
        name, _, rest = line.partition(b":")
        with contextlib.suppress(ValueError, IndexError):
            figures[name] = int(rest.split()[0]) * 1024
    return figures.get(b"Pss_Anon"), figures.get(b"Private_Dirty")


def kill_threshold(total: int) -> int:
    """Return the bytes in use above which Ray's memory monitor kills on a node with so much memory."""
    with contextlib.suppress(ValueError):
        threshold = float(os.environ.get("RAY_memory_usage_threshold", ""))
        if 0 <= threshold <= 1:  # Ray does not start with another
            return int(total * threshold)
    return int(total * _USUAL_THRESHOLD)


def _cgroups(pid: int | None) -> Iterator[tuple[int, int, int | None]]:
    """Yield limit, use, and shared memory of each memory cgroup of a process, from the root to the innermost."""
    try:
        lines = Path("/proc", "self" if pid is None else str(pid), "cgroup").read_text().splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _along(_CGROUPS, path, "memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
            yield from _along(_CGROUPS / "memory", path, limit, used, "total_")


def _along(root: Path, path: str, limit: str, used: str, prefix: str) -> Iterator[tuple[int, int, int | None]]:
    folder = root
    for part in ("", *Path(path).parts[1:]):
        folder = folder / part
        # A limit may be "max"; the root of the hierarchy has none; in a container the path is the host's.
        with contextlib.suppress(OSError, ValueError, KeyError):
            most = int((folder / limit).read_text())
            counters = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            # Ray takes all of the page cache off, the active part too.
            cached = int(counters[f"{prefix}inactive_file"]) + int(counters[f"{prefix}active_file"])
            shared = counters.get(f"{prefix}shmem")
            yield most, max(int((folder / used).read_text()) - cached, 0), None if shared is None else int(shared)
