"""Watches the process while it is traced: which line moved its memory, and what of it is resident.

memray records what is asked for, and by which line on a thread with Python. So with each look of the sampler it is
noted by how much the process's memory has changed, and at which lines its calls were; and at new peaks, as often as one
percent of a CPU allows, how much of what is mapped is resident. A mark in the capture says between which records that
was.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from .. import journal as contract
from . import frames, memory, notes, retained
from .places import Places, RawStack, stacks
from .residency import Look, Mappings

if TYPE_CHECKING:
    from .allocators import Allocators
    from .call import RunningCall

__all__ = ["Watch"]

_LEAST_MOVE = 256 * 1024
"""Bytes from which a change is noted with the lines at which the calls were."""
_LEAST_SAMPLE = 2**20
"""Bytes of changes from which a sample is written."""
_STEP = 4 * 2**20
_STEP_PART = 0.02
"""A call's peak is looked at again when it is higher by so many bytes, and by this part of all."""
_SHARE = 0.01
"""The part of a CPU that looking takes at most."""
_MOST_SAVED = 0.05
"""Seconds of looking that may be saved up."""
_RISING = 0.25
"""Seconds for which a look is put off while memory rises on: it is the peak that is wanted."""
_SAMPLES_A_SECOND = 5.0
_MOST_SAMPLES_AT_ONCE = 50.0


class Watch:
    """The watch over one capture. All but `end_look` is called on the sampler's thread, or before it knows of this."""

    def __init__(self, capture: str, journal: contract.Journal, allocators: Allocators) -> None:
        self._capture = capture
        self._journal = journal
        self._allocators = allocators
        self._places = Places(journal, capture)
        self._mark = 0
        self._moves: list[list[Any]] = []
        self._moved = 0
        self._at: tuple[RawStack, ...] = ()
        self._memory = 0
        self._pools = 0
        self._looked = 0
        self._rising_since = 0.0
        self._saved = _MOST_SAVED
        self._saved_at = time.monotonic()
        self._cost = 0.001
        self._tokens = _MOST_SAMPLES_AT_ONCE
        self._is_moving = False
        self._mappings: Mappings | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def start(self) -> None:
        """Note how the process was before anything was traced. Never raises."""
        try:
            self._mappings = Mappings()
        except Exception as error:  # no /proc, or one that a sandbox closes
            notes.once("residency", f"what is resident cannot be told here, so what is asked for counts: {error!r}")
        self._memory = memory.now()[0]
        self._pools = self._allocators.sampled()
        self._guarded(lambda: self._sample(self._memory, look=True))

    @property
    def is_moving(self) -> bool:
        """Whether memory changes so that it is worth looking more often."""
        return self._is_moving

    def tick(self, calls: list[RunningCall], private: int) -> None:
        """Look at the lines, and note what changed; `calls` are those that are traced to this capture."""
        self._guarded(lambda: self._tick(calls, private))

    def idle(self, private: int) -> None:
        """Note what is left when no call runs any more: what the next one finds."""
        if abs(private - self._looked) >= _STEP:
            self._guarded(lambda: self._tick([], private, look=True))

    def end_look(self, private: int) -> None:
        """Look at what is left of a call at its end, on its own thread, if there is time for it."""
        if self._saved >= self._cost and self._pid == os.getpid():  # a fork's lock may be held by nobody who is there
            self._guarded(lambda: self._sample(private, look=True))

    def _guarded(self, step: Any) -> None:
        try:
            with self._lock:
                step()
        except Exception as error:
            notes.once("watch", f"which lines moved memory, and what is resident, was not noted: {error!r}")

    def _tick(self, calls: list[RunningCall], private: int, look: bool = False) -> None:
        at = stacks(dict.fromkeys(call.thread for call in calls))
        pools = self._allocators.sampled()
        moved, pooled = private - self._memory, pools - self._pools
        if abs(moved) >= _LEAST_MOVE or abs(pooled) >= _LEAST_MOVE:
            self._note(at, moved, pooled)
            self._memory, self._pools = private, pools
        self._is_moving = max(abs(moved), abs(pooled)) >= _LEAST_SAMPLE
        self._at = at
        now = time.monotonic()
        self._earn(now)
        wanted = [call for call in calls if private >= call.looked + max(_STEP, private * _STEP_PART)]
        if wanted and not self._rising_since:
            self._rising_since = now
        is_due = wanted and (not self._is_moving or now - self._rising_since > _RISING)
        if (look or is_due) and self._mappings is not None and self._saved >= self._cost:
            self._sample(private, look=True)
            for call in calls:
                call.looked = max(call.looked, private)
            self._rising_since = 0.0
        elif self._moved >= _LEAST_SAMPLE and self._tokens >= 1:
            self._sample(private, look=False)

    def _note(self, at: tuple[RawStack, ...], moved: int, pooled: int) -> None:
        self._moved += abs(moved) + abs(pooled)
        last = self._moves[-1] if self._moves else None
        if last is not None and last[0] == self._at and last[1] == at:
            last[2] += moved
            last[3] += pooled
        else:
            self._moves.append([self._at, at, moved, pooled])

    def _earn(self, now: float) -> None:
        passed = now - self._saved_at
        self._saved = min(self._saved + passed * _SHARE, max(_MOST_SAVED, self._cost))
        self._tokens = min(self._tokens + passed * _SAMPLES_A_SECOND, _MOST_SAMPLES_AT_ONCE)
        self._saved_at = now

    def _sample(self, private: int, look: bool) -> None:
        """Write a sample, and mark in the capture where it was taken."""
        line: dict[str, Any] = {"event": "sample", "capture": self._capture, "mark": self._mark, "time": time.time()}
        line["memory"] = private
        moves = [
            [[self._places.number(stack) for stack in before], [self._places.number(stack) for stack in after], *rest]
            for before, after, *rest in self._moves
        ]
        if look and self._mappings is not None:
            began = time.perf_counter()
            line |= self._look(self._mappings)
            self._cost = time.perf_counter() - began
            self._saved -= self._cost
            self._looked = private
        pools = self._allocators.sampled()
        if pools:
            line["pools"] = pools
        if moves:
            line["moves"] = moves
        frames.renamed(frames.mark, "sample", 0, contract.SAMPLE_FILE)(contract.marker_size(self._mark))
        self._mark += 1
        self._moves, self._moved = [], 0
        self._tokens -= 1
        self._journal.write(line)

    def _look(self, mappings: Mappings) -> dict[str, Any]:
        found: Look = mappings.look(self._allocators.arenas())
        free = retained.freed()
        opaque = self._allocators.opaque()
        return {
            "segments": [list(segment) for segment in found.segments],
            "page": memory.PAGE,
            "free": None if free is None else max(free - found.heap_holes, 0),
            **({"arenas": found.arenas} if found.arenas else {}),
            **({"opaque": opaque} if opaque else {}),
        }
