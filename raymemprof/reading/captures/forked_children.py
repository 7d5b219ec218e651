"""Forked children that memray followed: to which calls they belong, and where in the code they began.

Each has a capture beside its parent's, of which it is a part: the journal's `fork` lines say of which calls.
"""

from __future__ import annotations

import contextlib
import glob
import math
import mmap
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ... import host
from ... import journal as contract
from ...ownership import Believed
from .model import CallPlace, Child, Failure, Figures, Request, Stack
from .stacks import CHILD_FILE, cut, inspect

__all__ = ["captures_of_forks", "children_of", "is_written"]

_NAMED = re.compile(r"-(\d+)-\d+\.(bin|jsonl)$")
"""A capture or journal, and its process's pid."""
_FORK = b'{"event":"fork"'
_TOGETHER = 0.25
"""Seconds in which those that one kill ended may have died; memray notes each 10 ms that they live."""
_MOST_PID = 2**31


class _Fork(NamedTuple):
    pid: int
    parent: int
    calls: frozenset[int]
    stack: Stack


@dataclass(slots=True)
class _Family:
    """A process's forked children, by its journal, and the calls that they may belong to."""

    forks: dict[str, dict[int, _Fork]] = field(default_factory=dict)
    """By the capture's name and the child's pid."""
    numbers: dict[tuple[str, CallPlace], int] = field(default_factory=dict)
    """The calls' own, by the capture's name and the place there."""
    left: dict[int, frozenset[int]] = field(default_factory=dict)
    """Of the calls that have ended, the children that were still there, by the calls' numbers."""


class _Root(NamedTuple):
    """Where a call's own frames begin."""

    slot: int
    owner: tuple[str, str] | None


def captures_of_forks(capture: Path) -> list[Path]:
    """Return the captures of a traced process's forked children, named like its own with their pid."""
    if capture.suffix != ".bin":
        return []
    found = capture.parent.glob(f"{glob.escape(capture.name)}.*")
    return sorted(path for path in found if contract.is_capture(path.name) and _why_not(str(path)) is None)


def is_written(name: str) -> bool:
    """Whether a capture is a forked child's that may still write to it."""
    pid = name.rpartition(".")[2]
    return pid.isdecimal() and host.pid_exists(int(pid))


def children_of(requests: Iterable[Request], figures: Sequence[Figures]) -> tuple[list[Request], list[Failure]]:
    """Return what to read of the children of what was read, and which of those there are no captures of.

    A child whose capture is asked for by itself is no part of another's.
    """
    requests = [request for request in requests if request.child is None]
    named = {request.path for request in requests if request.places is None}
    asked = {(request.path, request.places is None): request for request in requests}
    found: list[Request] = []
    failures: dict[str, Failure] = {}
    families = _Families()
    for one in figures:
        request = asked.get((one.path, one.place is None))
        if request is None or (one.place in request.complete and not one.ended):
            continue
        children = [child for child in _belonging(families.of(Path(one.path)), one) if child.path not in named]
        if request.temporal and children:
            have = (
                "child has a capture of its"
                if len(children) == 1
                else f"{len(children)} children have captures of their"
            )
            why = f"a temporal report is of the process alone; its forked {have} own."
            failures[one.path] = Failure(one.path, why)
            continue
        for child in children:
            reason = _why_not(child.path)
            if reason is not None:
                failures[child.path] = Failure(child.path, reason)
            else:
                found.append(Request(child.path, None, views=request.views, child=child))
    return found, list(failures.values())


def _belonging(family: _Family, of: Figures) -> list[Child]:
    name = os.path.basename(of.path)
    forks = family.forks.get(name, {})
    number = family.numbers.get((name, of.place)) if of.place is not None else None
    if of.place is not None and number is None:
        return []
    root = _Root(of.place[0], of.owner) if of.place is not None else None
    return [
        Child(
            path=f"{of.path}.{fork.pid}",
            of=of.path,
            place=of.place,
            origin=cut(inspect(_origin(fork, forks)), root),
            alive_from=_alive_from(family.left.get(number) if number is not None else None, fork.pid, of),
        )
        for fork in forks.values()
        if number is None or number in fork.calls
    ]


def _alive_from(left: frozenset[int] | None, pid: int, of: Figures) -> float:
    """The time at which a child must be alive for what it holds to be left at its call's end."""
    if left is not None:
        return -math.inf if pid in left else math.inf
    return of.last_seen - (0 if of.ended else _TOGETHER)


def _origin(fork: _Fork, forks: dict[int, _Fork]) -> Stack:
    """The frames that a child's own stand on: it, the line that forked it, and so on up to the first of its parents."""
    origin: list[tuple[str, str, int]] = []
    seen: set[int] = set()
    child: _Fork | None = fork
    while child is not None and child.pid not in seen:
        seen.add(child.pid)
        parent = forks.get(child.parent)
        stack = child.stack
        if parent is not None:  # what was there when its parent began stands below that one's frame
            common = 0
            while common < min(len(stack), len(parent.stack)) and stack[-1 - common] == parent.stack[-1 - common]:
                common += 1
            stack = stack[: len(stack) - common]
        origin += [(f"child process {child.pid}", CHILD_FILE, 0), *stack]
        child = parent
    return tuple(origin)


def _why_not(path: str) -> str | None:
    """Why a child's capture cannot be had; None where it can be."""
    try:
        doubt = Believed(Path(path).parent).doubt(Path(path))
    except OSError:
        return "it is gone, removed by hand or to keep the disk budget."
    return None if doubt is None else f"it is refused: {doubt}."


class _Families:
    """The families by the journals beside captures: each folder is listed once, each journal read once."""

    def __init__(self) -> None:
        self._by_pid: dict[Path, dict[str, list[Path]]] = {}
        self._read: dict[Path, _Family] = {}

    def of(self, capture: Path) -> _Family:
        """Return the one that tells of a capture's forks; an empty one where none does."""
        named = _NAMED.search(capture.name)
        if named is None:
            return _Family()
        for path in self._listed(capture.parent).get(named[1], ()):  # the pid may have been another process's before
            if path not in self._read:
                self._read[path] = _read_journal(path)
            if capture.name in self._read[path].forks:
                return self._read[path]
        return _Family()

    def _listed(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._by_pid:
            found = self._by_pid[folder] = {}
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):
                    named = _NAMED.search(name)
                    if named is not None and contract.is_journal(name):
                        found.setdefault(named[1], []).append(folder / name)
        return self._by_pid[folder]


def _read_journal(path: Path) -> _Family:
    family = _Family()
    with contextlib.suppress(OSError, ValueError):
        for line in contract.read_lines(path, with_forks=True) if _has_forks(path) else ():
            with contextlib.suppress(TypeError, ValueError, OverflowError):  # it is damaged
                _take(line, family)
    return family


def _has_forks(path: Path) -> bool:
    """Whether there are any, which is known in no time of most journals: there are none."""
    descriptor = contract.open_plain(path)
    try:
        status = os.fstat(descriptor)
        if status.st_blocks * 512 < status.st_size:
            return True  # it has holes, which are passed over when its lines are read
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as text:
            return text.find(_FORK) >= 0
    finally:
        os.close(descriptor)


def _take(line: contract.Event, family: _Family) -> None:
    if isinstance(line, contract.Begin):
        if line.capture is not None and line.slot is not None and line.turn is not None:
            family.numbers[os.path.basename(line.capture), (line.slot, line.turn)] = line.call
    elif isinstance(line, contract.End):
        family.left[line.call] = frozenset(int(one[0]) for one in line.left if isinstance(one, list) and one)
    elif isinstance(line, contract.Fork) and 0 < line.pid < _MOST_PID:
        for function, file, _ in line.stack:
            if file == contract.FRAME_FILE:
                contract.slot_of(function)  # raises ValueError where it is none of ours
        fork = _Fork(line.pid, line.parent, frozenset(line.calls), tuple(line.stack))
        family.forks.setdefault(line.capture, {})[line.pid] = fork
