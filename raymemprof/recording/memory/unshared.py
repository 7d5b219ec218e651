"""Estimates how much memory forked children do not share: what several processes share counts once.

A forked child begins with its parent's pages, and copies those that one of the two writes to. The kernel tells what a
process shares, and takes some milliseconds for each gigabyte. So it is asked about the forks that have changed most, as
often as half a percent of a CPU allows. In between, a fork has what it has grown by since, or a part of the pages that
it has touched since: as large a part as became its own when the kernel was asked last, about it or, if it has not been
asked about yet, about the other forks.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from ... import host, proc
from ..safety import descriptors
from . import process_memory

__all__ = ["Child", "Unshared", "copied", "told"]

_SHARE = 0.005
"""The part of a CPU that asking may take."""
_MOST_SAVED = 0.1
"""Seconds of that which may be saved up."""
_NEW = 8 * 2**20
_NEW_PART = 0.04
"""Bytes, and the part of all, that must have changed since for the kernel to be asked again."""
_IDLE = 64 * process_memory.PAGE
"""A fork that touched less has copied nothing. A child of `vfork` runs in its parent's memory until it is a program,
so the kernel's figures for it would mislead."""
_TELLING = 2**20
"""Bytes that a fork must have touched for the part that became its own to tell something."""
_NOISE = 0.05
"""What forks share may differ by this part between two questions."""


@dataclass(slots=True)
class Child:
    """A process that this one, or a child of it, started."""

    pid: int
    name: str
    started: int
    is_fork: bool = False
    parent: int = 0
    is_read: bool = False
    """Whether there are figures of it yet."""
    private: int = 0
    """RSS - SHR."""
    touched: int = 0
    """Bytes of pages that it touched for the first time since it was forked: a copied page is among them."""
    inherited: int = 0
    """The lowest RSS - SHR that a fork had. What exceeds it, it allocated; a copied page does not raise it."""
    unshared: int = 0
    """What it shared with no one, when the kernel was asked last."""
    part: int = 0
    """Its part of what it shared then, when that is divided among those that share it."""
    private_then: int | None = None
    """`private` when the kernel was asked; None if it never was: then it has what it allocated itself."""
    touched_then: int = 0
    here_then: tuple[int, int] | None = None
    """What this process had, and had touched, then or when the child was first seen."""
    copied_part: float = 0.0
    """Of the bytes that it touched and did not allocate, the part that became its own."""
    is_part_seen: bool = False
    """Whether the kernel's answers showed that part. Until then it is that of the forks beside it."""

    def own(self) -> int:
        """Return about what it shares with no one now. A program that is no fork shares no more than files."""
        if not self.is_fork:
            return self.private
        grown = self.private - self._private_then()
        if self.touched < _IDLE:
            return max(grown, 0) + self.unshared
        copied = round(max(self.touched - self.touched_then - max(grown, 0), 0) * self.copied_part)
        return min(max(self.unshared + grown + copied, 0), self.private)

    def changed(self, here: tuple[int, int]) -> tuple[int, int]:
        """Return by how many bytes what it shares may have changed since the kernel was asked.

        The first figure is for what the child did. The second is for what this process did: when it writes to a page,
        it gets a copy, and the child no longer shares the page.
        """
        if self.touched < _IDLE:
            return 0, 0
        own = max(self.touched - self.touched_then, abs(self.private - self._private_then()))
        others = 0
        if self.parent == os.getpid() and self.here_then is not None:
            others = max([abs(now - then) for now, then in zip(here, self.here_then, strict=True)])
        return min(own, self.private), min(others, self.private)

    def take(self, shares: host.Shares, here: tuple[int, int]) -> None:
        """Take in what the kernel says now; what was estimated stands where it says nothing."""
        touched = self.touched - self.touched_then
        grown = max(self.private - self._private_then(), 0)
        if shares.unshared is None:  # it has ended, or is another user's
            self.unshared = self.own()
        else:
            unshared = min(shares.unshared, self.private)
            if touched - grown >= _TELLING:
                self.copied_part = min(max(unshared - self.unshared - grown, 0) / (touched - grown), 1.0)
                self.is_part_seen = True
            self.unshared = unshared
            self.part = max((shares.divided or 0) - unshared, 0)
        self.private_then, self.touched_then, self.here_then = self.private, self.touched, here

    def _private_then(self) -> int:
        return self.inherited if self.private_then is None else self.private_then


class Unshared:
    """Estimates what the children of this process add to its memory."""

    def __init__(self) -> None:
        self._saved, self._saved_at = _MOST_SAVED, time.monotonic()
        self._own_cost = 0.0
        self._forks: set[int] = set()
        self._among_themselves = 0
        """Bytes that forks share with each other, and no longer with this process."""

    def ask(self, children: list[Child], private: int) -> None:
        """Ask about those that have changed most, as far as there is time. Each has been looked at just now."""
        now = time.monotonic()
        self._saved = min(self._saved + (now - self._saved_at) * _SHARE, _MOST_SAVED)
        self._saved_at = now
        forks = [child for child in children if child.is_fork]
        if self._forks != (pids := {fork.pid for fork in forks}):  # the parts were of other families
            self._forks, self._among_themselves = pids, 0
            for fork in forks:
                fork.part = 0
        if not forks:
            return
        here = private, process_memory.touched()
        for fork in forks:
            fork.here_then = fork.here_then or here
        changed = {fork.pid: fork.changed(here) for fork in forks}
        limit = max(_NEW, (private + self.added(children)) * _NEW_PART)
        if self._saved <= 0 or sum([max(both) for both in changed.values()]) < limit:
            return
        is_any = False
        for fork in sorted(forks, key=lambda fork: changed[fork.pid], reverse=True):
            if self._saved <= 0:
                break
            if max(changed[fork.pid]) >= limit / len(forks):
                began = time.thread_time()
                fork.take(host.shares(fork.pid, descriptors.reading), here)
                self._saved -= time.thread_time() - began
                is_any = True
        if is_any:
            _expect_the_same(forks)
            self._divide([fork for fork in forks if _is_forked_from_here(fork, forks)])

    def added(self, children: list[Child]) -> int:
        """Return about what they have that this process has not."""
        own = [child.own() for child in children]
        shared = [child.private - mine for child, mine in zip(children, own, strict=True) if child.is_fork]
        return sum(own) + min(self._among_themselves, sum(shared))

    def _divide(self, forks: list[Child]) -> None:
        """Find what forks share with each other only: their parts of it are more than this process has given away."""
        parts = sum([fork.part for fork in forks])
        if parts < _NEW or not all([fork.part or fork.touched < _IDLE for fork in forks]):
            self._among_themselves = 0
        elif self._own_cost < self._saved:
            began = time.thread_time()
            own = host.shares(os.getpid(), descriptors.reading)
            self._own_cost = time.thread_time() - began
            self._saved -= self._own_cost
            # What a fork shared is this process's alone again as soon as it ends: parts as they were say nothing then.
            if own.anonymous is not None and own.divided is not None and all([_has_memory(fork.pid) for fork in forks]):
                among = parts - (own.anonymous - own.divided)
                self._among_themselves = among if among > max(_NEW, parts * _NOISE) else 0


def _has_memory(pid: int) -> bool:
    """Whether a process has not ended: of a zombie the kernel says that it has no page."""
    found = proc.memory(pid)
    return found is not None and found[0] + found[1] > 0


def _expect_the_same(forks: list[Child]) -> None:
    """Assume that forks which the kernel was not asked about copied as large a part as the others."""
    seen = [fork.copied_part for fork in forks if fork.is_part_seen]
    for fork in forks:
        if seen and not fork.is_part_seen:
            fork.copied_part = sum(seen) / len(seen)


def told(child: Child) -> int:
    """Return about what a child has: of what it shares its part."""
    return min(child.own() + child.part, child.private)


def copied(children: list[Child], touched_here: int) -> int:
    """Return about how much of what they have is copies of pages that forks had from their parents.

    Args:
        children: the processes.
        touched_here: bytes of pages that this process has touched, copies among them.
    """
    copies = 0
    for child in children:
        if child.is_fork:
            allocated = child.private - child.inherited
            written = child.touched + max(touched_here - (child.here_then or (0, touched_here))[1], 0)
            copies += max(min(child.own() - allocated, written), 0)
    return copies


def _is_forked_from_here(fork: Child, forks: list[Child]) -> bool:
    """Whether it is a fork of this process, or of such a fork. Forks of another program share that program's pages."""
    parents = {other.pid: other.parent for other in forks}
    parent = fork.parent
    while parent in parents:
        parent = parents.pop(parent)  # once: a number may be another process's by now, and close a circle
    return parent == os.getpid()
