"""What a process has at one moment: its memory, where its calls are, and what allocators keep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .. import journal as contract
from .. import proc
from . import frames
from .memory import malloc, process_memory
from .places import RawStack, stacks

if TYPE_CHECKING:
    from .memory.allocators import Allocators
    from .running_call import RunningCall

__all__ = ["LEAST_MOVE", "Observation", "Observer"]

LEAST_MOVE = 256 * 1024
"""Bytes from which a change is noted with the lines at which the calls were."""
_TRIES = 3
"""Times that a moment is looked at where memory changes while it is."""
_LONGEST_AT_ONCE = 0.001
_FREE_SHARE = 0.001
"""The part of a CPU that asking malloc takes at most: with a million free pieces it takes 30 ms."""


class Observation(NamedTuple):
    """What was seen at a mark."""

    mark: int
    at: tuple[RawStack, ...]
    private: int
    shared: int
    reading: proc.Memory
    pools: int
    free: int
    used: int | None
    touched: int

    @property
    def in_use(self) -> int:
        """The process's memory without what malloc keeps of what was freed: that may be used again unnoticed."""
        return self.private - self.free

    def reserved(self, call: RunningCall) -> int:
        """What was mapped since a call began and is not resident as the process's own."""
        return (self.reading[2] - call.mapped) - (self.private - call.first)


class Observer:
    """Takes observations, each at a mark in the capture."""

    def __init__(self, allocators: Allocators) -> None:
        self._allocators = allocators
        self._mark = 0
        self._threads: tuple[int, ...] = ()
        """Those that ran calls last."""
        self._free_due = 0.0
        self._free_known = 0
        self._free_cost = 0.0

    def observe(self, calls: list[RunningCall]) -> Observation:
        """Take stacks, mark and figures at one moment."""
        if calls:
            self._threads = tuple(dict.fromkeys(call.thread for call in calls))
        return self._of_threads(self._threads if calls else ())

    def observe_between(self) -> Observation:
        """Do the same while no call runs, with the stacks of the threads that ran some."""
        return self._of_threads(self._threads)

    def observe_again(self, at: tuple[RawStack, ...]) -> Observation:
        """Take mark and figures anew, for stacks that were taken just before."""
        return self._at_once(lambda: (at, self.in_malloc()))

    def _of_threads(self, threads: tuple[int, ...]) -> Observation:
        is_due = self.is_malloc_due()
        return self._at_once(lambda: (stacks(threads), self.in_malloc() if is_due else (self._free_known, None)))

    def _at_once(self, look: Callable[[], tuple[tuple[RawStack, ...], tuple[int, int | None]]]) -> Observation:
        """Look, mark and read memory; again where memory changed meanwhile, since another thread ran in between."""
        before = process_memory.now()[0]
        for _ in range(_TRIES):
            at, in_malloc = look()
            pools = self._allocators.sampled()
            mark = self._mark
            self._mark += 1
            _make_mark(contract.marker_size(mark))
            reading = process_memory.now()
            if abs(reading[0] - before) < LEAST_MOVE:
                break
            before = reading[0]
        return Observation(mark, at, reading[0], reading[1], reading, pools, *in_malloc, process_memory.touched())

    def is_malloc_due(self) -> bool:
        """Whether malloc may be asked again."""
        return time.monotonic() >= self._free_due

    def in_malloc(self) -> tuple[int, int | None]:
        """Return what malloc keeps of what was freed, and what it has given out; None where it does not say."""
        began = time.thread_time()
        asked = malloc.in_malloc(at_once=self._free_cost < _LONGEST_AT_ONCE)
        self._free_cost = time.thread_time() - began
        self._free_due = float("inf") if asked is None else time.monotonic() + self._free_cost / _FREE_SHARE
        self._free_known, used = asked or (0, None)
        return self._free_known, used


_make_mark = frames.marker("sample", 0, contract.SAMPLE_FILE)
