"""The memory of the machine, or of the container it runs in: of all memory cgroups the smallest limit counts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import psutil

__all__ = [
    "HostMemory",
    "ResourceIsolation",
    "Shares",
    "isolation",
    "memory",
    "pid_exists",
    "shares",
]

_CGROUPS = Path("/sys/fs/cgroup")
_PROC = Path("/proc")
_OF_RAY = "ray-node_"
"""How the name of the cgroup begins that a raylet makes for its node with resource isolation."""
_OF_KERNEL = ("SUnreclaim", "KernelStack", "PageTables", "SecPageTables", "Percpu")
_OF_KERNEL_IN_CGROUP = ("slab", "kernel_stack", "pagetables", "sec_pagetables", "percpu")


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Bytes in all, and used as Ray's memory monitor counts: without what the kernel can take back at once."""

    total: int
    used: int
    shared: int | None = None
    """Bytes of shared memory and tmpfs among what is used; None where the system does not say."""
    kernel: int | None = None
    """Bytes of page tables, kernel stacks and slab that the kernel cannot take back; None where it does not say."""
    huge_pages: int = 0
    """Bytes in the machine's pool of huge pages (hugetlbfs), in use or not; a cgroup's use does not count them."""
    group: tuple[str, str] | None = None
    """The cgroup whose limit holds, if one does: the controllers of its hierarchy, and its path there."""

    @property
    def available(self) -> int:
        """Bytes that can still be used."""
        return max(self.total - self.used, 0)

    def has(self, pid: int) -> bool:
        """Whether what a process uses is part of this: in a container, only what runs there."""
        controllers, path = self.group or ("", "/")
        own = dict(_groups(pid)).get(controllers, path)
        # What is beside the part of the hierarchy that is seen from here has a path that climbs out of it.
        return not own.startswith("/..") and (own == path or own.startswith(f"{path.rstrip('/')}/"))


@dataclass(frozen=True, slots=True)
class ResourceIsolation:
    """What resource isolation gives a Ray node's two cgroups, and what they use. Sizes in bytes.

    Attributes:
        user_used: what the user cgroup (the workers) uses, without page cache, shared memory and tmpfs.
        user_limit: the use, including objects, at which Ray kills workers; None if there is no limit (Ray before 2.56).
        system_used: what the system cgroup (the raylet and Ray's other parts) uses, counted in the same way.
        system_reserved: what the kernel keeps for the system cgroup.
        shared: the shared memory and tmpfs of both, which the kernel counts where it was first used; Ray adds it to
            what the workers use.
    """

    user_used: int
    user_limit: int | None
    system_used: int
    system_reserved: int
    shared: int = 0


def isolation(pid: int) -> ResourceIsolation | None:
    """Return how resource isolation divides the memory of the node whose raylet is the process `pid`.

    None if Ray was started without `--enable-resource-isolation`, or its cgroups cannot be read. Needs cgroup v2.
    """
    for controllers, path in _groups(pid):
        parts = Path(path).parts
        ours = [number for number, part in enumerate(parts) if part.startswith(_OF_RAY)]
        if controllers == "" and ours:
            node = _CGROUPS.joinpath(*parts[1 : ours[-1] + 1])
            with contextlib.suppress(OSError, ValueError, KeyError):
                return ResourceIsolation(
                    _used(node / "user"),
                    min(_bounds(node / "user", "memory.high", "memory.max"), default=None),
                    _used(node / "system"),
                    max(_bounds(node / "system", "memory.min", "memory.low"), default=0),
                    sum(_counters(node / part).get("shmem", 0) for part in ("user", "system")),
                )
    return None


def _bounds(group: Path, *names: str) -> Iterator[int]:
    """Yield the bounds of a cgroup of version 2 that are numbers: none is "max"."""
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            yield int((group / name).read_text())


def _used(group: Path) -> int:
    """Return what a cgroup of version 2 uses, without page cache and shared memory. Raises `OSError`, `ValueError`."""
    counters = _counters(group)
    cached = counters["inactive_file"] + counters["active_file"] + counters.get("shmem", 0)
    return max(int((group / "memory.current").read_text()) - cached, 0)


def _counters(group: Path) -> dict[str, int]:
    lines = (group / "memory.stat").read_text().splitlines()
    return {name: int(value) for name, value in map(str.split, lines)}


def memory(pid: int | None = None) -> HostMemory:
    """Return the memory that processes here share, or those in the cgroups of the process `pid`."""
    machine = psutil.virtual_memory()
    figures = _figures("/proc/meminfo")
    found = HostMemory(
        machine.total,
        machine.total - machine.available,
        shared=getattr(machine, "shared", None),
        kernel=sum(figures.get(name, 0) for name in _OF_KERNEL) if figures else None,
        huge_pages=figures.get("Hugetlb", figures.get("HugePages_Total", 0) * figures.get("Hugepagesize", 0) // 1024),
    )
    for group in _limits(pid):
        if group.total < found.total:
            found = group
    return found


def pid_exists(pid: int) -> bool:
    """Whether there is a process of this number, which a file's name or a log may say, and may be none."""
    return 0 < pid < 2**31 and psutil.pid_exists(pid)


class Shares(NamedTuple):
    """A process's anonymous memory, in bytes; each is None if the kernel does not tell."""

    anonymous: int | None
    divided: int | None
    """Its part, when pages that several processes share are divided among them (Pss_Anon, from Linux 5.9 on)."""
    unshared: int | None
    """What it has written to and shares with no one; shared memory that no other process maps may be among it."""


def _plainly(path: str) -> AbstractContextManager[IO[bytes]]:
    return open(path, "rb")


def shares(pid: int, reading: Callable[[str], AbstractContextManager[IO[bytes]]] = _plainly) -> Shares:
    """Return what a process shares of its memory; this takes some milliseconds.

    Args:
        pid: the process.
        reading: opens a file of `/proc`.
    """
    try:
        with reading(f"/proc/{pid}/smaps_rollup") as file:
            figures = _figures_in(file.read())
    except OSError:
        figures = {}
    anonymous, divided, unshared = map(figures.get, ("Anonymous", "Pss_Anon", "Private_Dirty"))
    if unshared is not None and divided is not None:
        unshared = min(unshared, divided)  # it counts shared memory that no other process has mapped, too
    return Shares(anonymous, divided, unshared)


def _figures(path: str) -> dict[str, int]:
    """Return the figures of one of /proc's tables, in bytes (the few that are no sizes are 1024 times themselves)."""
    try:
        with open(path, "rb") as file:
            return _figures_in(file.read())
    except OSError:
        return {}


def _figures_in(table: bytes) -> dict[str, int]:
    figures = {}
    for line in table.splitlines():
        name, _, rest = line.partition(b":")
        with contextlib.suppress(ValueError, IndexError):
            figures[name.decode()] = int(rest.split()[0]) * 1024
    return figures


def _groups(pid: int | None) -> Iterator[tuple[str, str]]:
    """Yield the cgroups of a process: the controllers of each hierarchy, and the path there."""
    with contextlib.suppress(OSError):  # not Linux, or it has ended
        for line in (_PROC / ("self" if pid is None else str(pid)) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            yield controllers, path


def _limits(pid: int | None) -> Iterator[HostMemory]:
    """Yield what is used in each memory cgroup of a process that has a limit, from the root to the innermost."""
    for controllers, path in _groups(pid):
        is_first = "memory" in controllers.split(",")  # of cgroups' two versions
        if is_first or controllers == "":
            folder, own = _CGROUPS / "memory" if is_first else _CGROUPS, "/"
            for part in ("", *Path(path).parts[1:]):
                folder, own = folder / part, os.path.join(own, part)
                # A limit may be "max"; the root of the hierarchy has none; in a container the path is the host's.
                with contextlib.suppress(OSError, ValueError, KeyError):
                    yield _limit(folder, (controllers, own), is_first)


def _limit(folder: Path, group: tuple[str, str], is_first: bool) -> HostMemory:
    limit, used = ("memory.limit_in_bytes", "memory.usage_in_bytes") if is_first else ("memory.max", "memory.current")
    prefix = "total_" if is_first else ""
    most = int((folder / limit).read_text())
    counters = _counters(folder)
    # Ray takes all of the page cache off, the active part too.
    cached = counters[f"{prefix}inactive_file"] + counters[f"{prefix}active_file"]
    kernel = counters.get("kernel")  # from Linux 5.18 on
    if is_first:
        with contextlib.suppress(OSError, ValueError):
            kernel = int((folder / "memory.kmem.usage_in_bytes").read_text())
    elif kernel is None:
        kernel = sum(counters.get(name, 0) for name in _OF_KERNEL_IN_CGROUP)
    return HostMemory(
        most,
        max(int((folder / used).read_text()) - cached, 0),
        shared=counters.get(f"{prefix}shmem"),
        kernel=kernel,
        group=group,
    )
