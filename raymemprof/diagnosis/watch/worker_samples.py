"""One look at the Ray workers of a node from the outside: what each says that it runs, and its memory (RSS − SHR).

A look must cost next to nothing on a node of hundreds of workers. So on Linux the two files of a worker in `/proc` stay
open: to read them again takes some microseconds, and they never become those of another process of the same number.
Where there are too few descriptors for that, they are opened at each look.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sys
from collections.abc import Iterator
from typing import NamedTuple

import psutil

from ... import proc
from ...display.text import counted
from ..usage.processes import running_name

__all__ = ["Look", "Looks"]

_MOST_OF_A_TITLE = 512
"""Bytes of a title that are read: Ray keeps room for 4,096."""
_ON_LINUX = sys.platform == "linux"
_WORKERS = "ray::"
"""How the title of a worker begins."""
_FILES = ("cmdline", "statm")
"""Of a process in `/proc`."""
_ENDED = (errno.ENOENT, errno.ESRCH)
_NOT_OURS = (errno.EACCES, errno.EPERM)
_SPARE = 32
"""Descriptors that are left for all else."""


class Look(NamedTuple):
    """A worker that runs something: its pid, the name of that, and its memory in bytes."""

    pid: int
    name: str
    memory: int


class Looks:
    """Looks at the workers of a raylet, as often as it is asked to.

    A worker is the raylet's child, or a child of what the raylet starts in its place: `uv run`, `nsys`, or another
    `py_executable`. What workers start is none.
    """

    def __init__(self, raylet: psutil.Process) -> None:
        self._raylet = raylet
        self._below: dict[int, _Below] = {}
        self._others: set[int] = set()
        """Processes that are no workers of this raylet's: they are looked at once."""
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_open = sys.maxsize if most == resource.RLIM_INFINITY else max(most - _SPARE, 0) // len(_FILES)
        self._missed: set[int] = set()
        """Those that the last look did not see."""
        self._shortage = ""

    @property
    def trouble(self) -> str:
        """Why the last look did not see all, if it did not."""
        if not self._missed:
            return ""
        return f"{counted(len(self._missed), 'process', 'processes')} there cannot be looked at: {self._shortage}"

    def is_over(self) -> bool:
        """Whether the raylet has ended, and its session with it."""
        try:
            return not self._raylet.is_running() or self._raylet.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return True
        except OSError:  # that cannot be told now, for want of a descriptor say
            return False

    def take(self) -> Iterator[Look]:
        """Yield what runs now; idle workers, and what is Ray's or our own, are left out."""
        self._missed.clear()
        self._find_workers()
        left_out: set[int] = set()
        for pid, process in list(self._below.items()):  # each comes after what has started it
            parent = self._below.get(process.parent)
            # What has started it was taken to start workers, and was one itself, or was started by one.
            if process.parent in left_out or (parent is not None and parent.is_worker):
                left_out.add(pid)
                self._below.pop(pid).close()
                continue
            try:
                look = process.look()
            except psutil.NoSuchProcess:
                self._drop(pid)
            except OSError as error:
                self._miss(pid, error)
            else:
                if look is not None:
                    yield Look(pid, *look)
        self._others |= left_out

    def _find_workers(self) -> None:
        pids = set(psutil.pids())
        for pid in self._below.keys() - pids:
            self._drop(pid)
        self._others &= pids
        parents: dict[int, int] = {}
        for pid in pids - self._below.keys() - self._others:
            try:
                parents[pid] = psutil.Process(pid).ppid()
            except OSError as error:
                self._miss(pid, error)
            except psutil.NoSuchProcess:  # it has ended
                continue
            except psutil.Error:  # it is another user's
                self._others.add(pid)
        known = self._below.keys() & pids
        while parents:  # what was started by what is found here is found in turn
            found = [pid for pid, parent in parents.items() if self._may_start_workers(parent)]
            if not found:
                break
            for pid in found:
                self._add(pid, parents.pop(pid))
        if not self._missed and known <= self._below.keys():  # else what has started it may not be known yet
            self._others |= parents.keys()

    def _may_start_workers(self, pid: int) -> bool:
        if pid == self._raylet.pid:
            return True
        process = self._below.get(pid)
        if process is None:
            return False
        try:
            return not process.has_become_worker()
        except psutil.NoSuchProcess:
            self._drop(pid)
            return False

    def _add(self, pid: int, parent: int) -> None:
        try:
            self._below[pid] = _Below(pid, parent, keeps_open=len(self._below) < self._most_open)
        except OSError as error:
            self._miss(pid, error)
        except psutil.NoSuchProcess:
            return
        except psutil.Error:
            self._others.add(pid)

    def _drop(self, pid: int) -> None:
        """Forget a process that has ended. Another that has its number by now is found at the next look."""
        self._below.pop(pid).close()

    def _miss(self, pid: int, error: OSError) -> None:
        """Take note of a process that could not be looked at, unless it has ended, or is another user's."""
        if error.errno in _ENDED:
            return
        if error.errno in _NOT_OURS:
            if pid not in self._below:
                self._others.add(pid)
            return
        self._missed.add(pid)
        self._shortage = error.strerror or str(error)


class _Below:
    """A process below the raylet: a worker, a part of Ray, or what starts a worker. Its title says which."""

    def __init__(self, pid: int, parent: int, keeps_open: bool) -> None:
        """Raises `OSError` or `psutil.Error` where it has ended."""
        self.parent = parent
        self.is_worker = False
        """Whether it was seen to be a worker, or a part of Ray with such a title."""
        self._process = psutil.Process(pid)
        self._files = self._open() if keeps_open else []

    def close(self) -> None:
        _close(self._files)
        self._files = []

    def has_become_worker(self) -> bool:
        """Look at its title only. Raises `psutil.NoSuchProcess` where it has ended."""
        try:
            with self._opened() as files:
                self._title(files)
        except psutil.NoSuchProcess:
            raise
        except (OSError, psutil.Error):  # what is known holds
            pass
        return self.is_worker

    def look(self) -> tuple[str, int] | None:
        """Return what it runs and its memory; None where it runs nothing of the user's.

        Raises `psutil.NoSuchProcess` where it has ended, and `OSError` where it cannot be looked at.
        """
        try:
            with self._opened() as files:
                name = running_name(self._title(files))
                if name is None:
                    return None
                memory = self._memory(files)
                # What began just then does not get the memory of what ran before.
                return (name, memory) if memory and running_name(self._title(files)) == name else None
        except psutil.NoSuchProcess:
            raise
        except (ValueError, IndexError, psutil.Error):
            return None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[list[int]]:
        try:
            if self._files:
                yield self._files
                return
            if not self._process.is_running():  # its number may be another's by now
                raise psutil.NoSuchProcess(self._process.pid)
            files = self._open()
            try:
                yield files
            finally:
                _close(files)
        except OSError as error:
            if error.errno in _ENDED:
                raise psutil.NoSuchProcess(self._process.pid) from error
            raise

    def _open(self) -> list[int]:
        files: list[int] = []
        try:
            for name in _FILES if _ON_LINUX else ():
                files.append(os.open(f"/proc/{self._process.pid}/{name}", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            _close(files)
            raise
        return files

    def _title(self, files: list[int]) -> str:
        if _ON_LINUX:
            text = os.pread(files[0], _MOST_OF_A_TITLE, 0)
            title = text.partition(b"\0")[0].decode(errors="replace").strip()
        else:
            title = " ".join(self._process.cmdline()).strip()
        self.is_worker = self.is_worker or title.startswith(_WORKERS)
        return title

    def _memory(self, files: list[int]) -> int:
        if not _ON_LINUX:
            return proc.psutils_memory(self._process)[0]
        return proc.memory_in(os.pread(files[1], 256, 0))[0]


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)
