"""Watches the process while it is traced: which line moved its memory, and what of it is resident.

memray records what is asked for, and by which line on a thread with Python. So with each look of the sampler it is
noted by how much the process's memory has changed, and at which lines its calls were (`moves.py`); and at new peaks, as
often as one percent of a CPU allows (`look_budget.py`), how much of what is mapped is resident. A mark in the capture
says between which records that was (`observation.py`).
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import proc
from . import warn
from .look_budget import LookBudget
from .memory import process_memory
from .memory.residency import Mappings
from .moves import LEAST_SAMPLE, Moves
from .observation import LEAST_MOVE, Observation, Observer
from .places import Places
from .safety import interruptions, locks

if TYPE_CHECKING:
    from .journals import Journal
    from .memory.allocators import Allocators
    from .running_call import RunningCall

__all__ = ["TOUCHED", "Watch"]

_LONGEST_WAIT = 0.1
"""Seconds that a call's end waits for a look that is under way."""
_STEP = 4 * 2**20
_STEP_PART = 0.02
"""A call's peak is looked at again when it is higher by so many bytes, and by this part of all."""
_LEAST_TICKS = 4
"""Looks of the sampler at a call, and then twice as many each time, after which it is looked at what malloc has."""
_RISING = 0.25
"""Seconds for which a look is put off while memory rises on: it is the peak that is wanted."""
_RESERVED = 16 * 2**20
"""Bytes mapped in a call, and not resident, from which it is worth telling them apart."""
TOUCHED = 16 * 2**20
"""Bytes touched for the first time, beyond what the process grew by, from which it is looked at: something may have
gone, and as much come. From twice as many the next time, since a loop may do that all the time."""
_RISING_STEP = 0.25
"""While it rises, by this part of what it has risen it must have risen since the last look."""
_QUIET = 2
"""Looks of the sampler at which memory did not change before it is looked at: it is of one moment then."""
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that say nothing of the next look: the process had no descriptor, or no memory, to spare."""


class Watch:
    """The watch over one capture."""

    def __init__(self, capture: str, journal: Journal, allocators: Allocators) -> None:
        self._capture = capture
        self._journal = journal
        self._allocators = allocators
        self._places = Places(journal, capture)
        self._observer = Observer(allocators)
        self._moves = Moves()
        self._budget = LookBudget()
        self._mappings: Mappings | None = None
        self._quiet = 0
        self._looked = self._looked_in_use = 0
        self._rising_since = 0.0
        self._lock = threading.RLock()
        self._is_busy = False
        self._pid = os.getpid()

    def start(self) -> None:
        """Note how the process was before anything was traced. Never raises."""
        try:
            self._mappings = Mappings()
        except Exception as error:  # no /proc, or one that a sandbox closes
            warn.once("residency", f"what is resident cannot be told here, so what is asked for counts: {error!r}")
        self._guarded(self._first_look)

    def _first_look(self) -> None:
        for _ in range(2):  # an allocator may be giving back right now
            now = self._moves.noted = self._observer.observe([])
            if self._sample(now, look=True):
                break
        self._budget.start()

    @property
    def is_moving(self) -> bool:
        """Whether memory changes so that it is worth looking more often."""
        return self._moves.is_moving

    def tick(self, calls: list[RunningCall]) -> None:
        """Look at lines and memory, and note what changed; `calls` are those that are traced to this capture."""
        self._alone(lambda: self._tick(calls, self._observer.observe(calls)))

    def before(self, line: dict[str, Any]) -> None:
        """Add to a call's `begin` line what allocators have then, as far as that costs little."""
        if self._pid == os.getpid():
            self._guarded(self._before, line)

    def _before(self, line: dict[str, Any]) -> None:
        pools = self._allocators.sampled()
        if pools:
            line["pools"] = pools
        if self._observer.is_malloc_due():
            free, used = self._observer.in_malloc()
            if used is not None:
                line |= {"free": free, "used": used}

    def between(self) -> bool:
        """Look while no call runs at where the threads are that ran some; return whether memory moves."""
        self._alone(lambda: self._tick([], self._observer.observe_between()))
        return self.is_moving

    def idle(self) -> None:
        """Note what is left when no call runs any more: what the next one finds."""
        self._alone(self._idle)

    def _idle(self) -> None:
        now = self._observer.observe([])
        self._budget.earn()
        if abs(now.private - self._looked) >= _STEP and self._can_look():
            self._sample(now, look=True)

    def end(self, call: RunningCall, reading: proc.Memory) -> None:
        """Note on a call's own thread what it leaves, where that differs from what was noted last."""
        if self._pid != os.getpid():  # a fork's lock may be held by nobody who is there
            return
        self._guarded(self._end, call, reading)

    def _end(self, call: RunningCall, reading: proc.Memory) -> None:
        private, _, mapped = reading
        noted = self._moves.noted
        moved = max(abs(private - noted.private), abs(self._allocators.sampled() - noted.pools), self._moves.size)
        # Most calls leave little, and must not pay for a closer look.
        is_renewed = process_memory.touched() - call.touched >= call.touched_step
        if moved >= LEAST_SAMPLE or is_renewed or (mapped - call.mapped) - (private - call.first) >= _RESERVED:
            self._alone(lambda: self._note_end(call))

    def _note_end(self, call: RunningCall) -> None:
        now = self._observer.observe([call])
        self._moves.note(now)
        self._budget.earn()
        look = (now.reserved(call) >= _RESERVED or _has_renewed(call, now)) and self._can_look()
        if look or self._moves.size >= LEAST_SAMPLE:
            self._sample(now, look)

    def _alone(self, step: Callable[[], object]) -> None:
        """Run a step, but not within another: a finalizer may run in the middle of one, and end a call."""
        try:
            if self._lock.acquire(timeout=_LONGEST_WAIT) and not self._is_busy:
                self._is_busy = True
                try:
                    self._guarded(step)
                finally:
                    self._is_busy = False
        finally:
            try:
                self._lock.release()
            except RuntimeError as error:
                locks.was_not_taken(error)

    def _guarded(self, step: Callable[..., object], *arguments: Any) -> None:
        try:
            step(*arguments)
        except Exception as error:
            if interruptions.is_users(error):
                raise
            warn.once("watch", f"which lines moved memory, and what is resident, was not noted: {error!r}")

    def _tick(self, calls: list[RunningCall], now: Observation) -> None:
        moved = self._moves.note(now)
        self._quiet = 0 if moved >= LEAST_MOVE else self._quiet + 1
        self._budget.earn()
        step = _step(now)
        for call in calls:
            if call.ticks == 0:
                call.looked = max(call.first - now.free, 0)
        wanted = self._wanted(calls, now, step)
        if wanted and self._is_due(wanted, now, step) and self._can_look():
            if self._sample(now, look=True):
                for call in calls:
                    _looked_at(call, now)
            self._rising_since = 0.0
        elif self._moves.size >= LEAST_SAMPLE and self._budget.allows_sample():
            self._sample(now, look=False)

    def _wanted(self, calls: list[RunningCall], now: Observation, step: float) -> list[RunningCall]:
        """Return the calls for which it is to be looked at what is resident, since something may have changed."""
        wanted = [
            c
            for c in calls
            if now.in_use >= c.looked + step
            or now.shared >= c.looked_shared + step
            or now.reserved(c) >= c.looked_reserved + _RESERVED
            or _has_renewed(c, now)
        ]
        if wanted and not self._rising_since:
            self._rising_since = self._budget.earned_at
        if not wanted and not self._budget.is_much_written and abs(now.in_use - self._looked_in_use) >= step:
            wanted = calls  # what is left may be what it ends with
        if not wanted and now.free >= step:  # it may use what malloc has, and nothing would be seen to move
            wanted = [c for c in calls if c.ticks >= max(2 * c.looked_tick, _LEAST_TICKS)]
        return wanted

    def _is_due(self, wanted: list[RunningCall], now: Observation, step: float) -> bool:
        """Whether not to wait any longer for memory to be at rest."""
        if self._quiet >= _QUIET:
            return True
        if not self._rising_since or self._budget.earned_at - self._rising_since <= _RISING:
            return False
        return any(now.in_use - c.looked >= max(step, (now.in_use - c.first) * _RISING_STEP) for c in wanted)

    def _can_look(self) -> bool:
        return self._mappings is not None and self._budget.allows_look()

    def _sample(self, now: Observation, look: bool) -> bool:
        """Write a sample of what was observed; return whether it says what was resident."""
        moves = self._moves.take()  # gone, whatever goes wrong below
        self._budget.take_sample()
        began = time.thread_time()  # to wait for the interpreter's lock costs nobody anything
        try:
            now, found, is_looked_at = self._resident(now, look)
        except OSError as error:
            if error.errno not in _PASSING:
                self._mappings = None  # the kernel does not tell: it will not the next time
            raise
        finally:
            self._budget.spend(time.thread_time() - began, look)
        line: dict[str, Any] = {"event": "sample", "capture": self._capture, **found}
        if now.used is not None:
            line["free"], line["used"] = now.free, now.used
        if now.pools:
            line["pools"] = now.pools
        line |= {"mark": now.mark, "time": time.time(), "memory": now.private, "shared": now.shared}
        if moves:
            line["moves"] = [
                [[self._places.number(stack) for stack in before], [self._places.number(stack) for stack in at], *rest]
                for before, at, *rest in moves
            ]
        self._budget.wrote(self._journal.write(line))
        return is_looked_at

    def _resident(self, now: Observation, look: bool) -> tuple[Observation, dict[str, Any], bool]:
        """Return the observation that a sample is of, what it says of pages, and whether that is what was resident."""
        pools = self._allocators.addresses()
        found: dict[str, Any] = {"arenas": None} if pools is not None else {}  # not known, if nothing below says it
        if look and self._mappings is not None:
            now = self._observer.observe_again(now.at)
            seen = self._look(self._mappings)
            after = self._observer.in_malloc()[0]
            step = _step(now)
            if abs(process_memory.now()[0] - now.private) < step and abs(after - now.free) < step:
                self._looked, self._looked_in_use = now.private, now.in_use
                return now, found | seen, True
            # else it is of no one moment
        elif pools is not None and self._mappings is not None and self._budget.has_plenty():
            found["arenas"] = self._mappings.in_arenas(pools)
        return now, found, False

    def _look(self, mappings: Mappings) -> dict[str, Any]:
        pools = self._allocators.addresses()
        found = mappings.look(pools)
        opaque = self._allocators.opaque()
        return {
            "segments": [list(segment) for segment in found.segments],
            "page": process_memory.PAGE,
            "holes": found.heap_holes,
            "libraries": found.libraries,
            **({"arenas": found.in_arenas, "arena_ranges": found.arenas} if pools is not None else {}),
            **({"opaque": opaque} if opaque else {}),
        }


def _step(now: Observation) -> float:
    """Return by how many bytes memory must have changed to be looked at again."""
    return max(_STEP, now.private * _STEP_PART)


def _has_renewed(call: RunningCall, now: Observation) -> bool:
    """Whether its process touched much since it was looked at, and did not grow by as much."""
    return now.touched - call.touched - max(now.in_use - call.looked, 0) >= call.touched_step


def _looked_at(call: RunningCall, now: Observation) -> None:
    """Note with a call what it had when it was looked at what is resident."""
    call.looked = max(call.looked, now.in_use)
    call.looked_shared = max(call.looked_shared, now.shared)
    call.looked_reserved = max(call.looked_reserved, now.reserved(call))
    call.looked_tick = call.ticks
    if now.touched - call.touched >= call.touched_step:
        call.touched_step *= 2
    call.touched = now.touched
