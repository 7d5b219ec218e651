"""One look at the Ray workers of a node from the outside: what each says that it runs, and its memory (RSS − SHR).

A look must cost next to nothing on a node of hundreds of workers. So on Linux the two files of a worker in `/proc` stay
open: to read them again takes some microseconds, and they never become those of another process of the same number.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

import psutil

from ..usage.processes import running_name

__all__ = ["Look", "Looks"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MOST_OF_A_TITLE = 512
"""Bytes of a title that are read: Ray keeps room for 4,096."""


class Look(NamedTuple):
    """A worker that runs something: its pid, the name of that, and its memory in bytes."""

    pid: int
    name: str
    memory: int


class Looks:
    """Looks at the workers that a raylet has started, as often as it is asked to."""

    def __init__(self, raylet: psutil.Process) -> None:
        self._raylet = raylet
        self._workers: dict[int, _Worker] = {}
        self._others: set[int] = set()
        """Processes that are no workers of this raylet's: they are looked at once."""

    def is_over(self) -> bool:
        """Whether the raylet has ended, and its session with it."""
        try:
            return not self._raylet.is_running() or self._raylet.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return True

    def take(self) -> Iterator[Look]:
        """Yield what runs now; idle workers, and what is Ray's or our own, are left out."""
        self._find_workers()
        for pid, worker in self._workers.items():
            look = worker.look()
            if look is not None:
                yield Look(pid, *look)

    def _find_workers(self) -> None:
        pids = set(psutil.pids())
        for pid in self._workers.keys() - pids:
            self._workers.pop(pid).close()
        self._others &= pids
        for pid in pids - self._workers.keys() - self._others:
            try:
                if psutil.Process(pid).ppid() == self._raylet.pid:
                    self._workers[pid] = _Worker(pid)
                    continue
            except (OSError, psutil.Error):  # it has ended, or is another user's
                pass
            self._others.add(pid)


class _Worker:
    """A child of the raylet, which may be a part of Ray, too: its title says so."""

    def __init__(self, pid: int) -> None:
        """Raises `OSError` where it has ended."""
        self._process = psutil.Process(pid)
        self._files: list[int] = []
        if sys.platform == "linux":
            try:
                for name in ("cmdline", "statm"):
                    self._files.append(os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                self.close()
                raise

    def close(self) -> None:
        for file in self._files:
            os.close(file)
        self._files = []

    def look(self) -> tuple[str, int] | None:
        """Return what it runs and its memory; None where it runs nothing of the user's, or has ended."""
        try:
            name = running_name(self._title())
            if name is None:
                return None
            memory = self._memory()
            # What began just then does not get the memory of what ran before.
            return (name, memory) if memory and running_name(self._title()) == name else None
        except (OSError, ValueError, IndexError, psutil.Error):
            return None

    def _title(self) -> str:
        if not self._files:
            return " ".join(self._process.cmdline()).strip()
        title = os.pread(self._files[0], _MOST_OF_A_TITLE, 0)
        return title.partition(b"\0")[0].decode(errors="replace").strip()

    def _memory(self) -> int:
        if not self._files:
            return self._process.memory_info().rss  # what is shared is not counted on macOS
        _, resident, shared = os.pread(self._files[1], 128, 0).split()[:3]
        return (int(resident) - int(shared)) * _PAGE
