"""The processes that this one started, and those that they started: what they add to its memory. Linux only."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import time
from typing import Any

from ... import proc
from ...command_line import program_of
from .. import warn
from ..safety import interruptions, locks
from . import process_memory
from .unshared import Child, Unshared, copied, told

__all__ = ["Children", "children"]

_OF_RAY = tuple(
    f"-packages/ray/{part}/" for part in ("core/src", "_private", "dashboard", "autoscaler", "util/client/server")
)
"""What the command lines have of the processes that a driver's `ray.init()` starts, which are not its own."""
_READER = f"{__package__.partition('.')[0]}.reading.captures.reader"
"""What the command lines have of the processes that read captures."""
_WORKER = "default_worker"
_WORDS = 5
_FIND_SHARE = 0.006
"""The part of a CPU that finding children, and reading their RSS - SHR, may take."""
_PAUSE_WITHOUT = 0.05
"""Seconds between looks while there are none."""
_FIRST_SEARCH = 0.25
"""Seconds until it is looked for children whose parent has gone: that takes a look at all processes of the machine."""
_SEARCH_SHARE = 0.001
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_AFTER_AN_ERROR = 1.0
_MOST_TOLD = 8
"""Children that the journal names: the largest."""


class Children:
    """What this process's children have in memory. The sampler's thread looks; a call's own thread at its end."""

    def __init__(self) -> None:
        self._known: dict[int, Child] = {}
        self._foreign: dict[int, int] = {}
        """Ray's own, by pid, and when they started."""
        self._lock = threading.RLock()
        self._is_looking = False
        self._is_possible = os.path.exists("/proc/self/task")
        self._find_due = 0.0
        self.pause = 0.0
        """Seconds between looks, so that they take their part of a CPU and no more."""
        self._search_due: float | None = None
        self._search_cost = 0.0
        self._too_new: list[int] = []
        """What a search found that had just been forked: looked at again, since the next search is far."""
        self._unshared = Unshared()
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
        if not self._known and not at_once and time.monotonic() < self._find_due:
            return 0  # most times
        is_ours = False
        try:
            if self._lock.acquire(blocking=False) and not self._is_looking:
                is_ours = self._is_looking = True
                self._look(private, at_once)
        except Exception as error:
            if interruptions.is_users(error):
                raise
            self.added, self._find_due = 0, time.monotonic() + _AFTER_AN_ERROR
            warn.once("children", f"what child processes use was not read: {error!r}")
        finally:
            if is_ours:
                self._is_looking = False
            try:
                self._lock.release()
            except RuntimeError as error:
                locks.was_not_taken(error)
        return self.added if is_ours else min(self.added, self._unshared.added(self._there()))

    def _there(self) -> list[Child]:
        """Those that have not ended, which is seen in a microsecond: another thread may be looking for the others."""
        return [child for child in list(self._known.values()) if proc.has_process(child.pid)]

    def largest(self) -> list[list[int | str]]:
        """Return pid, name and bytes of the largest that are there: of what they share each has its part."""
        return _largest(self._there())

    def seen(self) -> dict[str, Any]:
        """Return what the journal says of those that `added` is of, also of what has ended since that look.

        `copied` is about how much of it is copies of pages that forks had from their parents, and wrote to.
        """
        known = list(self._known.values())
        copies = min(copied(known, process_memory.touched()), self.added)
        return {"copied": copies, "count": len(known), "largest": _largest(known)}

    def count(self) -> int:
        """Return how many there are."""
        return len(self._there())

    def _look(self, private: int, at_once: bool) -> None:
        now = time.monotonic()
        if now < self._find_due and not at_once:
            self._drop_dead()
            return
        # One whose parent has gone had a parent, of which this process was told when it ended.
        is_any = self._known or self._too_new or _has_children()
        if not is_any and not (_had_children() and self._is_search_due(now)):
            self.added = 0
            self._find_due = now + _PAUSE_WITHOUT
            return
        began = time.thread_time()
        self._find(self._searched(now))
        self._read(private)
        self.pause = (time.thread_time() - began - self._search_cost) / _FIND_SHARE
        self._find_due = now + self.pause
        if self._known:
            self._unshared.ask(list(self._known.values()), private)
        self.added = self._unshared.added(list(self._known.values()))

    def _drop_dead(self) -> None:
        """Forget those that have ended: that is seen in a microsecond."""
        dead = [pid for pid in self._known if not proc.has_process(pid)]
        for pid in dead:
            del self._known[pid]
        if dead:
            self.added = self._unshared.added(list(self._known.values()))

    def _is_search_due(self, now: float) -> bool:
        if self._search_due is None:
            self._search_due = now + _FIRST_SEARCH
        return now >= self._search_due

    def _searched(self, now: float) -> list[int]:
        """Return the processes of this one's group, where it is time to look for them."""
        self._search_cost = 0.0
        if not self._is_search_due(now):
            return []
        began = time.thread_time()
        found = _of_group()
        self._search_cost = time.thread_time() - began
        self._search_due = now + max(self._search_cost / _SEARCH_SHARE, _FIRST_SEARCH)
        return found

    def _find(self, others: list[int]) -> None:
        found: set[int] = set()
        if self._known or _has_children():
            self._find_below(os.getpid(), found)
        others = [pid for pid in {*others, *self._too_new} if pid not in found]
        ours = [pid for pid in others if self._is_ours(pid)]
        self._too_new = [
            pid for pid in others if pid not in ours and self._foreign.get(pid) is None and proc.has_process(pid)
        ]
        found.update(ours)
        for pid in [pid for pid in self._known if pid not in found]:  # it may have another parent now
            now_there, known = _stat(pid), self._known.get(pid)
            if now_there is None or known is None or now_there.started != known.started or not self._is_ours(pid):
                self._known.pop(pid, None)
            else:
                self._find_below(pid, found)

    def _find_below(self, pid: int, found: set[int]) -> None:
        """Add to `found` what a process started, and what that did."""
        waiting = [pid]
        while waiting:
            for started in _started_by(waiting.pop()):
                if started not in found and self._is_ours(started):
                    found.add(started)
                    waiting.append(started)

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is there, and none of Ray's; takes it in where it is new."""
        found = _stat(pid)
        if found is None or _is_just_forked(found):
            return False
        known = self._known.get(pid)
        if known is not None and known.started == found.started and known.is_fork == found.is_fork:
            known.touched = found.touched
            return True
        self._known.pop(pid, None)  # another process has the number, or this one has become another program
        if self._foreign.get(pid) == found.started:
            return False
        try:
            command = os.fsdecode(proc.contents(f"/proc/{pid}/cmdline")).split("\0")
        except OSError:
            return False
        paths = [word for word in command[:_WORDS] if " " not in word]  # code after -c may name Ray's files, too
        if any(part in path for path in paths for part in _OF_RAY) or any(_READER in word for word in command):
            self._foreign[pid] = found.started
            return False
        self._known[pid] = Child(pid, _name(command), found.started, is_fork=found.is_fork, parent=found.parent)
        return True

    def _read(self, private: int) -> None:
        before = {pid: child.private for pid, child in self._known.items() if child.is_read} | {os.getpid(): private}
        for child in list(self._known.values()):
            now = proc.memory(child.pid)
            if now is None:
                del self._known[child.pid]
            else:
                child.private = now[0]
                if child.is_fork:
                    known = child.inherited if child.is_read else before.get(child.parent, child.private)
                    child.inherited = min(known, child.private)
                before.setdefault(child.pid, child.private)  # its own forks come after it
                child.is_read = True


def _largest(found: list[Child]) -> list[list[int | str]]:
    return [[child.pid, child.name, told(child)] for child in sorted(found, key=told, reverse=True)[:_MOST_TOLD]]


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
            with contextlib.suppress(OSError):
                found += map(int, proc.contents(f"/proc/{pid}/task/{thread}/children").split())
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


def _stat(pid: int) -> proc.Stat | None:
    """What the kernel says of a process; None where it is not there, or a zombie."""
    found = proc.stat(pid)
    return None if found is None or found.is_zombie else found


def _is_just_forked(found: proc.Stat) -> bool:
    """Whether it may be about to become a program, as most that `vfork` makes have in some milliseconds."""
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - found.started / _TICKS
    return found.is_fork and age < 3 / _TICKS


def _name(command: list[str]) -> str:
    """The script or program that a command line runs; of a fork, what its parent's says."""
    title = command[0]
    if title.startswith("ray::"):
        return title.split()[0]
    found = program_of(command)
    if found is None:
        return title
    if found.option is not None:
        return f"{found.executable} {found.option} {(found.argument or '').strip()}"[:60].splitlines()[0]
    return os.path.basename(found.argument) if found.argument is not None else found.executable


children = Children()


def _after_fork() -> None:
    children.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_after_fork)
