"""The processes that this one started, and those that they started: what they add to its memory. Linux only.

A forked child shares its parent's pages until one of them writes, so RSS - SHR of both counts them twice. What the
kernel divides among those that share it (Pss_Anon) adds up, and takes some milliseconds a process to ask for; so it is
asked as often as one percent of a CPU allows. In between, what children have grown by since counts as their own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

from .. import host
from . import memory, notes

__all__ = ["Children", "children"]

_OF_RAY = tuple(
    f"-packages/ray/{part}/" for part in ("core/src", "_private", "dashboard", "autoscaler", "util/client/server")
)
"""What the command lines have of the processes that a driver's `ray.init()` starts, which are not its own."""
_READER = f"{__package__.partition('.')[0]}.reading.worker"
"""What the command lines have of the processes that read captures."""
_WORKER = "default_worker"
_WORDS = 5
_FIND_SHARE = 0.01
"""The part of a CPU that finding children, and reading their RSS - SHR, may take."""
_EXACT_SHARE = 0.01
"""The same of asking for what is shared."""
_MOST_SAVED = 0.1
"""Seconds of that which may be saved up."""
_FIRST_SEARCH = 0.25
"""Seconds until it is looked for children whose parent has gone: that takes a look at all processes of the machine."""
_SEARCH_SHARE = 0.001
_NEW = 8 * 2**20
_NEW_PART = 0.04
"""Bytes, and the part of all, that children have taken or touched since from which it is asked again what is shared."""
_FORKED = 0x40
"""Linux's PF_FORKNOEXEC: it has not become another program yet."""
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_AFTER_AN_ERROR = 1.0
_MOST_TOLD = 8
"""Children that the journal names: the largest."""


@dataclass(slots=True)
class _Child:
    pid: int
    name: str
    started: int
    private: int = 0
    """RSS - SHR."""
    divided: int = 0
    """Its part of what the family has, when that was asked for last."""
    is_fork: bool = False
    parent: int = 0
    inherited: int | None = None
    """The least that a fork had: what it has beyond that it allocated itself. A copied page was there before."""
    private_then: int = 0
    touched: int = 0
    """Bytes of pages that it touched for the first time: a copy of a page that it shared is among them."""
    touched_then: int = 0

    @property
    def grown(self) -> int:
        """Bytes that it has grown by since the kernel was asked. Before that, all that a fork has is its parent's."""
        is_its_own = self.private_then > 0 or not self.is_fork
        return max(self.private - self.private_then, 0) if is_its_own else 0

    @property
    def own(self) -> int:
        """Its part now."""
        return min(self.divided + self.grown, self.private)


class Children:
    """What this process's children have in memory. The sampler's thread looks; a call's own thread at its end."""

    def __init__(self) -> None:
        self._known: dict[int, _Child] = {}
        self._foreign: dict[int, int] = {}
        """Ray's own, by pid, and when they started."""
        self._lock = threading.Lock()
        self._is_possible = os.path.exists("/proc/self/task")
        self._find_due = 0.0
        self.pause = 0.0
        """Seconds between looks, so that they take their part of a CPU and no more."""
        self._search_due: float | None = None
        self._saved, self._saved_at = _MOST_SAVED, time.monotonic()
        self._upper = self._exact_upper = self._exact = self._copied = 0
        self._count_then = 0
        self.added = 0
        """Bytes that they add to this process's memory, as of the last look."""

    def look(self, private: int, at_once: bool = False) -> int:
        """Return the bytes that children add to this process's RSS - SHR. A microsecond where there are none.

        Args:
            private: this process's RSS - SHR.
            at_once: look now, however short ago that was.
        """
        if not self._is_possible:
            return 0
        is_ours = False
        try:
            is_ours = self._lock.acquire(blocking=False)
            if is_ours:
                self._look(private, at_once)
        except Exception as error:
            self.added, self._find_due = 0, time.monotonic() + _AFTER_AN_ERROR
            notes.once("children", f"what child processes use was not read: {error!r}")
        finally:
            if is_ours:
                self._lock.release()
        return self.added

    def largest(self) -> list[list[int | str]]:
        """Return pid, name and bytes of the largest: of what they share with relatives each has its part."""
        known = sorted(self._known.values(), key=lambda child: -child.own)
        return [[child.pid, child.name, child.own] for child in known[:_MOST_TOLD]]

    def copied(self) -> int:
        """Return about how much of `added` is copies of pages that forks had from their parents, and wrote to."""
        return min(self._copied, self.added)

    def count(self) -> int:
        """Return how many there are."""
        return len(self._known)

    def _look(self, private: int, at_once: bool) -> None:
        now = time.monotonic()
        # One whose parent has gone had a parent, of which this process was told when it ended.
        if not self._known and not _has_children() and not (_had_children() and self._is_search_due(now)):
            self.added = self._upper = self._exact = self._exact_upper = 0
            return
        if now < self._find_due and not at_once:
            self._drop_dead()
            return
        began = time.thread_time()
        self._find(now)
        self._read(private)
        cost = time.thread_time() - began
        self.pause = cost / _FIND_SHARE
        self._find_due = now + self.pause
        self._saved = min(self._saved + (now - self._saved_at) * _EXACT_SHARE, _MOST_SAVED)
        self._saved_at = now
        if self._known and self._saved > 0 and self._is_worth_asking(private):
            began = time.thread_time()
            self._ask()
            self._saved -= time.thread_time() - began
        grown = sum([child.grown for child in self._known.values()])
        self.added = min(self._upper, self._exact + grown) if self._known else 0

    def _drop_dead(self) -> None:
        """Forget those that have ended: that is seen in a microsecond."""
        dead = [pid for pid in self._known if not _is_there(pid)]
        for pid in dead:
            del self._known[pid]
        if dead:
            self._upper = sum([child.private for child in self._known.values()])
            self.added = min(self.added, self._upper)

    def _is_worth_asking(self, private: int) -> bool:
        new = sum([child.touched - child.touched_then for child in self._known.values()])
        moved = abs(self._upper - self._exact_upper)
        return len(self._known) != self._count_then or max(new, moved) >= max(_NEW, (private + self.added) * _NEW_PART)

    def _is_search_due(self, now: float) -> bool:
        if self._search_due is None:
            self._search_due = now + _FIRST_SEARCH
        return now >= self._search_due

    def _find(self, now: float) -> None:
        found: set[int] = set()
        waiting = [os.getpid()] if self._known or _has_children() else []
        while waiting:
            for pid in _started_by(waiting.pop()):
                if pid not in found and self._is_ours(pid):
                    found.add(pid)
                    waiting.append(pid)
        if self._is_search_due(now):
            began = time.thread_time()
            found.update([pid for pid in _of_group() if pid not in found and self._is_ours(pid)])
            self._search_due = now + max((time.thread_time() - began) / _SEARCH_SHARE, _FIRST_SEARCH)
        for pid in [pid for pid in self._known if pid not in found]:
            now_there = _stat(pid)  # it is not where it was looked for, but may have another parent now
            if now_there is None or now_there.started != self._known[pid].started:
                del self._known[pid]
            else:
                self._known[pid].touched = now_there.touched

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is there, and none of Ray's; takes it in where it is new."""
        found = _stat(pid)
        if found is None or found.is_just_forked:
            return False
        known = self._known.get(pid)
        if known is not None and known.started == found.started and known.is_fork == found.is_fork:
            known.touched = found.touched
            return True
        self._known.pop(pid, None)  # another process has the number, or this one has become another program
        if self._foreign.get(pid) == found.started:
            return False
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = os.fsdecode(file.read(4096)).split("\0")
        except OSError:
            return False
        paths = [word for word in command[:_WORDS] if " " not in word]  # code after -c may name Ray's files, too
        if any(part in path for path in paths for part in _OF_RAY) or any(_READER in word for word in command):
            self._foreign[pid] = found.started
            return False
        self._known[pid] = _Child(pid, _name(command), found.started, is_fork=found.is_fork, parent=found.parent)
        return True

    def _read(self, private: int) -> None:
        before = {pid: child.private for pid, child in self._known.items()} | {os.getpid(): private}
        for child in list(self._known.values()):
            now = _private(child.pid)
            if now is None:
                del self._known[child.pid]
                continue
            child.private = now
            if child.is_fork:
                known = child.inherited if child.inherited is not None else before.get(child.parent, child.private)
                child.inherited = min(known, child.private)
        self._upper = sum([child.private for child in self._known.values()])

    def _ask(self) -> None:
        """Ask the kernel how much of it is whose: what all have together, less what this process has."""
        private = memory.now()[0]
        before, _ = host.shares(os.getpid())
        together = surely = 0
        for child in self._known.values():
            part, unshared = host.shares(child.pid)
            # Read after that was asked: what it grew by meanwhile is in the answer, and would count twice.
            child.private = _private(child.pid) or child.private
            child.divided = child.private if part is None else part  # the kernel does not tell of another user's
            child.private_then, child.touched_then = child.private, child.touched
            together += child.divided
            surely += min(unshared or 0, child.private)
        self._upper = sum([child.private for child in self._known.values()])
        after, _ = host.shares(os.getpid())
        own = after if before is None or after is None else min(before, after)
        if own is not None:  # the lower: when a child is forked or ends meanwhile, the other would count its part twice
            together += own
        # This process may be a fork itself, and share pages with its own parent: then its part is below its RSS - SHR.
        self._exact = self._upper if own is None else max(together - private, surely)
        self._exact_upper = self._upper
        is_any_fork = any([child.is_fork for child in self._known.values()])
        allocated = sum([child.private - (child.inherited or 0) for child in self._known.values()])
        self._copied = max(self._exact - allocated, 0) if is_any_fork else 0
        self._count_then = len(self._known)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except OSError:
        return True
    return True


def _had_children() -> bool:
    """Whether a child of this process has ended, as far as it asked for that."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0


def _started_by(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    return found


def _of_group() -> list[int]:
    """The processes of this one's group, where Ray gave it one of its own: also those whose parent has gone.

    A shell makes groups as well, of what is not related: of `python job.py | tee log`, and of all that a driver starts.
    """
    own = os.getpid()
    if os.getpgrp() != own or not any(os.path.basename(word).startswith(_WORKER) for word in sys.orig_argv):
        return []
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != own:
            with contextlib.suppress(OSError):
                if os.getpgid(int(name)) == own:
                    found.append(int(name))
    return found


class _Stat(NamedTuple):
    parent: int
    started: int
    """In ticks of the system's clock since it started."""
    touched: int
    """Bytes that it has touched for the first time."""
    is_fork: bool

    @property
    def is_just_forked(self) -> bool:
        """Whether it may have the memory of its parent itself, as the child of `vfork` has until it is a program."""
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - self.started / _TICKS
        return self.is_fork and age < 3 / _TICKS


def _stat(pid: int) -> _Stat | None:
    """What the kernel says of a process; None where it is not there, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read(1024).rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return _Stat(int(fields[1]), int(fields[19]), int(fields[7]) * memory.PAGE, bool(int(fields[6]) & _FORKED))


def _private(pid: int) -> int | None:
    """A process's RSS - SHR; None where it is not there."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read(256).split()
    except OSError:
        return None
    return (int(fields[1]) - int(fields[2])) * memory.PAGE


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _name(command: list[str]) -> str:
    """The script or program that a command line runs; of a fork, what its parent's says."""
    title = command[0]
    if title.startswith("ray::"):
        return title.split()[0]
    program = os.path.basename(title)
    if program.startswith("python"):
        for number, word in enumerate(command[1:_WORDS], 1):
            if word in ("-m", "-c") and number + 1 < len(command):
                return f"{program} {word} {command[number + 1].strip()}"[:60].splitlines()[0]
            if word and not word.startswith("-"):
                return os.path.basename(word)
    return program


children = Children()


def _after_fork() -> None:
    children.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_after_fork)
