"""How much of their memory child processes have to themselves, since what they share counts once.

A forked child begins with its parent's pages, and copies those that one of the two writes to. The kernel tells what a
process shares, and takes some milliseconds for each gigabyte. So it is asked about the forks that have changed most, as
often as half a percent of a CPU allows. In between, a fork has what it has grown by since, or a part of the pages that
it has touched since: as large a part as became its own when the kernel was asked last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from .. import host
from . import descriptors, memory

__all__ = ["Child", "Unshared"]

_SHARE = 0.005
"""The part of a CPU that asking may take."""
_MOST_SAVED = 0.1
"""Seconds of that which may be saved up."""
_NEW = 8 * 2**20
_NEW_PART = 0.04
"""Bytes, and the part of all, that must have changed since for the kernel to be asked again."""
_IDLE = 64 * memory.PAGE
"""A fork that has touched less has only what it allocated. To ask the kernel would mislead where it has its parent's
memory itself, as the child of `vfork` has until it becomes a program."""
_TELLING = 2**20
"""Bytes that a fork must have touched for the part that became its own to tell something."""
_NOISE = 0.05
"""The part of what forks share by which it may change between two of them."""


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
    """The least that a fork had: what it has beyond that it allocated itself. A copied page was there before."""
    unshared: int = 0
    """What it shared with no one, when the kernel was asked last."""
    part: int = 0
    """Its part of what it shared then, when that is divided among those that share it."""
    private_then: int | None = None
    """`private` when the kernel was asked; None if it never was: then it has what it allocated itself."""
    touched_then: int = 0
    parents_then: tuple[int, int] | None = None
    """What this process had, and had touched, then or when the child was first seen."""

    def own(self, copied_part: float) -> int:
        """Return about what it shares with no one now. A program that is no fork shares no more than files."""
        if not self.is_fork:
            return self.private
        if self.touched < _IDLE:
            return self.private - self.inherited
        grown = self.private - self._private_then()
        copied = round((self.touched - self.touched_then) * copied_part)
        return min(max(self.unshared + max(grown, min(grown, 0) + copied), 0), self.private)

    def changed(self, parents: tuple[int, int]) -> int:
        """Return the bytes by which what it shares may have changed since the kernel was asked."""
        if self.touched < _IDLE:
            return 0
        changed = max(self.touched - self.touched_then, abs(self.private - self._private_then()))
        if self.parent == os.getpid() and self.parents_then is not None:  # when that writes to a page, it is theirs
            changed = max(changed, *(abs(now - then) for now, then in zip(parents, self.parents_then, strict=True)))
        return min(changed, self.private)

    def _private_then(self) -> int:
        return self.inherited if self.private_then is None else self.private_then


class Unshared:
    """What the children of this process have that it has not itself."""

    def __init__(self) -> None:
        self._saved, self._saved_at = _MOST_SAVED, time.monotonic()
        self._own_cost = 0.0
        self._copied_part = 0.0
        """Of the bytes that forks touch, the part that becomes their own."""
        self._among_themselves = 0
        """Bytes that forks share with each other, and no longer with this process."""

    def ask(self, children: Iterable[Child], private: int) -> None:
        """Ask about those that have changed most, as far as there is time. Each has been looked at just now."""
        now = time.monotonic()
        self._saved = min(self._saved + (now - self._saved_at) * _SHARE, _MOST_SAVED)
        self._saved_at = now
        forks = [child for child in children if child.is_fork]
        if not forks:
            self._among_themselves = 0
            return
        parents = private, memory.touched()
        for fork in forks:
            fork.parents_then = fork.parents_then or parents
        changed = {fork.pid: fork.changed(parents) for fork in forks}
        limit = max(_NEW, (private + self.added(forks)) * _NEW_PART)
        if self._saved <= 0 or sum(changed.values()) < limit:
            return
        is_any = False
        for fork in sorted(forks, key=lambda fork: changed[fork.pid], reverse=True):
            if self._saved <= 0 or changed[fork.pid] < limit / len(forks):
                break
            began = time.thread_time()
            self._ask(fork, parents)
            self._saved -= time.thread_time() - began
            is_any = True
        if is_any:
            self._divide(forks)

    def added(self, children: Iterable[Child]) -> int:
        """Return about what they have that this process has not."""
        children = list(children)
        own = [child.own(self._copied_part) for child in children]
        shared = [child.private - mine for child, mine in zip(children, own, strict=True) if child.is_fork]
        return sum(own) + min(self._among_themselves, sum(shared))

    def of(self, child: Child) -> int:
        """Return about what a child has: of what it shares its part."""
        return min(child.own(self._copied_part) + child.part, child.private)

    def copied(self, children: Iterable[Child]) -> int:
        """Return about how much of that is copies of pages that forks had from their parents."""
        copies = 0
        for child in children:
            if child.is_fork:
                allocated = child.private - child.inherited
                copies += max(child.own(self._copied_part) - allocated, 0)
        return copies

    def _ask(self, fork: Child, parents: tuple[int, int]) -> None:
        shares = _shares(fork.pid)
        unshared = fork.private if shares.unshared is None else min(shares.unshared, fork.private)
        touched = fork.touched - fork.touched_then
        if touched >= _TELLING:
            part = min(max(unshared - fork.unshared, 0) / touched, 1.0)
            self._copied_part = part if self._copied_part == 0 else (self._copied_part + part) / 2
        fork.unshared, fork.private_then, fork.touched_then, fork.parents_then = (
            unshared,
            fork.private,
            fork.touched,
            parents,
        )
        fork.part = max((shares.divided or 0) - unshared, 0)

    def _divide(self, forks: list[Child]) -> None:
        """Find what forks share with each other only: their parts of it are more than this process has given away."""
        parts = sum([fork.part for fork in forks])
        if parts < _NEW:
            self._among_themselves = 0
        elif self._own_cost < self._saved:
            began = time.thread_time()
            own = _shares(os.getpid())
            self._own_cost = time.thread_time() - began
            self._saved -= self._own_cost
            if own.anonymous is not None and own.divided is not None:
                among = parts - (own.anonymous - own.divided)
                self._among_themselves = among if among > max(_NEW, parts * _NOISE) else 0


def _shares(pid: int) -> host.Shares:
    try:
        with descriptors.reading(f"/proc/{pid}/smaps_rollup") as file:
            return host.shares_in(file.read())
    except OSError:
        return host.Shares(None, None, None)  # it has ended, or is another user's
