"""What Linux says of one process in `/proc`: its files there are read and parsed here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import psutil  # slow to import, and some processes that need this module do without

__all__ = ["Memory", "Stat", "contents", "has_process", "memory", "memory_in", "psutils_memory", "stat"]

Memory = tuple[int, int, int]
"""RSS − SHR, SHR, and the addresses that are mapped (VmSize), in bytes."""

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
_PAGE_OF_PROC, _MOST_DIGITS = 4096, 16
"""Bytes that one reading gives at most, and by how much less where no further number had room."""
_FORKED = 0x40
"""The kernel's PF_FORKNOEXEC, among a process's flags."""
_EXITING = 0x4
"""The kernel's PF_EXITING."""
_close = os.close  # not the one that recording puts in its place, which guards descriptors


class Stat(NamedTuple):
    """What `/proc/<pid>/stat` says."""

    parent: int
    started: int
    """In ticks of the system's clock since it started."""
    touched: int
    """Bytes that it has touched for the first time."""
    flags: int
    is_zombie: bool

    @property
    def is_fork(self) -> bool:
        """Whether it runs its parent's program still, and may share memory with it that neither has written to."""
        return bool(self.flags & _FORKED)

    @property
    def is_exiting(self) -> bool:
        """Whether it has been killed, though it is still there: it takes long to give much memory back."""
        return bool(self.flags & _EXITING)


def contents(path: str) -> bytes:
    """Return a file of /proc. A file object takes twice as long. Raises `OSError`."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.read(number, _PAGE_OF_PROC)
        while len(found) % _PAGE_OF_PROC > _PAGE_OF_PROC - _MOST_DIGITS and (more := os.read(number, _PAGE_OF_PROC)):
            found += more
        return found
    finally:
        _close(number)


def stat(pid: int) -> Stat | None:
    """Return what the kernel says of a process; None where it is not there, or this is not Linux."""
    try:
        fields = contents(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        flags, touched = int(fields[6]), int(fields[7]) * _PAGE
        return Stat(int(fields[1]), int(fields[19]), touched, flags, fields[0] in (b"Z", b"X"))
    except (OSError, IndexError, ValueError):
        return None


def memory(pid: int) -> Memory | None:
    """Return the memory of a process, all 0 if it is a zombie; None where it is not there, or this is not Linux."""
    try:
        return memory_in(contents(f"/proc/{pid}/statm"))
    except (OSError, ValueError):
        return None


def memory_in(statm: bytes) -> Memory:
    """Return the memory that a `statm` file of /proc says. Raises `ValueError` for what is none."""
    mapped, resident, shared, _ = statm.split(None, 3)
    other = int(shared) * _PAGE
    return int(resident) * _PAGE - other, other, int(mapped) * _PAGE


def psutils_memory(process: psutil.Process) -> Memory:
    """Return the same from psutil, which takes ten times as long; it knows other systems. Raises `psutil.Error`."""
    found = process.memory_info()
    shared = getattr(found, "shared", 0)  # not counted on macOS
    return found.rss - shared, shared, found.vms


def has_process(pid: int) -> bool:
    """Whether a process, or one of its threads, has this number; also where that cannot be told. A microsecond.

    `host.pid_exists` does not take a thread for a process, and reads a file for that.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
