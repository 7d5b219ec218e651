"""Which captures of this process tell nothing, so that few of them stay.

While a call is traced, what Ray and Python allocate around it is recorded too: 2 KB a call. Of calls that finished,
allocated nothing of size and left nothing, one after the other, that is all there is to read. So when a capture is
large, another is begun, and of those that tell nothing the latest stay: so many bytes of them, and the last that has
calls of a function.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["LARGE", "Content", "DullCaptures"]

LARGE = 4 * 2**20
"""Bytes of an open capture from which another may be begun, and bytes of those that tell nothing that stay."""
_GREW = 2 * 2**20
"""By how much a call's process must have grown for the call to tell something."""
_LEFT_BLOCKS = 0.05
"""Objects of Python's that a call must have left, of all calls in the mean; a leak leaves one with each call or few."""
_BLOCKS_OF_OTHERS = 100
"""Objects that Ray's own code may have left meanwhile."""
_LEFT_IN_ALL = 16 * 2**20
"""By how much the process must have grown over captures that each told nothing: slowly, or by what is not Python's."""
_LARGE_PART = 8
"""The part of the budget that a capture may take before another is begun in any case."""
_MOST_NAMES = 100
"""Functions that a capture is known to have calls of; with more it is taken to tell something."""


@dataclass(slots=True)
class Content:
    """What is known of the calls in a capture."""

    names: set[str] = field(default_factory=set)
    count: int = 0
    first: int | None = None
    """The process's memory when its first call began."""
    last: int = 0
    """The same when its last one ended."""
    is_telling: bool = False
    _blocks: int = 0
    """Objects of Python's when it was opened."""

    def open(self) -> None:
        """It is opened."""
        self._blocks = sys.getallocatedblocks()

    def begin(self, name: str, memory: int) -> None:
        """A call begins."""
        self.count += 1
        if self.first is None:
            self.first = self.last = memory
        if name not in self.names:
            self.names.add(name)
            self.is_telling = self.is_telling or len(self.names) > _MOST_NAMES

    def end(self, status: str, grew: int, memory: int) -> None:
        """A call ends."""
        self.last = memory
        if status != "finished" or grew >= _GREW:
            self.is_telling = True

    def look(self) -> None:
        """See what the calls have left so far. What malloc has in use does not tell: Ray's queues are in it."""
        if sys.getallocatedblocks() - self._blocks >= _LEFT_BLOCKS * self.count + _BLOCKS_OF_OTHERS:
            self.is_telling = True


class DullCaptures:
    """Those of this process that are closed."""

    def __init__(self) -> None:
        self._kept: list[tuple[Path, int, set[str]]] = []
        self.in_a_row = 0
        """How many captures that tell something were closed one after the other."""
        self._before: int | None = None
        """The process's memory before the first of those that each told nothing."""

    def large(self, max_bytes: int) -> int:
        """From how many bytes of a capture on another is begun: from more where those before told something."""
        return min(LARGE << min(self.in_a_row, 16), max(max_bytes // _LARGE_PART, LARGE))

    def closed(self, path: Path, content: Content) -> None:
        """Take in a capture that was closed, and remove what need not stay. Raises `OSError`."""
        if self._before is None:
            self._before = content.first
        if content.is_telling or content.last - (self._before or 0) >= _LEFT_IN_ALL:
            self._before = content.last
            self.in_a_row += 1
            return
        self.in_a_row = 0
        self._kept.append((path, path.stat().st_size, content.names))
        for one in list(self._kept):
            if sum(size for _, size, _ in self._kept) <= LARGE:
                return
            later = self._kept[self._kept.index(one) + 1 :]
            if later and one[2] <= set().union(*(names for _, _, names in later)):
                self._kept.remove(one)
                with contextlib.suppress(FileNotFoundError):
                    one[0].unlink()
