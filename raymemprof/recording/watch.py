"""Watches the process while it is traced: which line moved its memory, and what of it is resident.

memray records what is asked for, and by which line on a thread with Python. So with each look of the sampler it is
noted by how much the process's memory has changed, and at which lines its calls were; and at new peaks, as often as one
percent of a CPU allows, how much of what is mapped is resident. A mark in the capture says between which records that
was.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import journal as contract
from .. import proc
from . import frames, warn
from .memory import malloc, process_memory
from .memory.residency import Mappings
from .places import Places, RawStack, stacks
from .safety import interruptions, locks

if TYPE_CHECKING:
    from .journals import Journal
    from .memory.allocators import Allocators
    from .running_call import RunningCall

__all__ = ["TOUCHED", "Watch"]

_LEAST_MOVE = 256 * 1024
"""Bytes from which a change is noted with the lines at which the calls were."""
_LEAST_SAMPLE = 2**20
"""Bytes of changes from which a sample is written."""
_MOST_MOVES = 256
"""Changes that are remembered with their lines until a sample may be written."""
_LONGEST_WAIT = 0.1
"""Seconds that a call's end waits for a look that is under way."""
_MOST_WRITTEN = 4 * 2**20
"""Bytes of samples of a capture after which only what calls hold at new peaks is written, and that seldom."""
_SELDOM = 0.1
"""Samples a second that are written then: some 25 MB a day."""
_STEP = 4 * 2**20
_STEP_PART = 0.02
"""A call's peak is looked at again when it is higher by so many bytes, and by this part of all."""
_TRIES = 3
"""Times that a moment is looked at where memory changes while it is."""
_SHARE = 0.004
"""The part of a CPU that looking takes in the long run; to note where calls are, at each tick, takes about as much."""
_LEAST_TICKS = 4
"""Looks of the sampler at a call, and then twice as many each time, after which it is looked at what malloc has."""
_MOST_SAVED = 0.05
"""Seconds of looking that may be saved up."""
_UNKNOWN_COST = 0.001
"""Seconds that a look is taken to cost until one has shown it."""
_RISING = 0.25
"""Seconds for which a look is put off while memory rises on: it is the peak that is wanted."""
_LONGEST_AT_ONCE = 0.001
_FREE_SHARE = 0.001
"""The part of a CPU that asking malloc takes at most: with a million free pieces it takes 30 ms."""
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
_SAMPLES_A_SECOND = 5.0
_MOST_SAMPLES_AT_ONCE = 50.0


class Watch:
    """The watch over one capture."""

    def __init__(self, capture: str, journal: Journal, allocators: Allocators) -> None:
        self._capture = capture
        self._journal = journal
        self._allocators = allocators
        self._places = Places(journal, capture)
        self._mark = 0
        self._moves: list[list[Any]] = []
        self._moved = 0
        self._at: tuple[RawStack, ...] = ()
        self._threads: tuple[int, ...] = ()
        """Those that ran calls last."""
        self._noted = _Observation(0, (), 0, 0, (0, 0, 0), 0, 0, None, 0)
        self._quiet = 0
        self._free_due = 0.0
        self._free_known = 0
        self._free_cost = 0.0
        self._looked = self._looked_in_use = 0
        self._rising_since = 0.0
        self._saved = _MOST_SAVED
        self._saved_at = time.monotonic()
        self._cost = _UNKNOWN_COST
        self._tokens = _MOST_SAMPLES_AT_ONCE
        self._is_moving = False
        self._mappings: Mappings | None = None
        self._lock = threading.RLock()
        self._is_busy = False
        self._written = 0
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
            now = self._noted = self._observe([])
            if self._sample(now, look=True):
                break
        # It is part of starting, and what is done for the first time takes ten times as long as it will.
        self._saved, self._cost = _MOST_SAVED, _UNKNOWN_COST

    @property
    def is_moving(self) -> bool:
        """Whether memory changes so that it is worth looking more often."""
        return self._is_moving

    def tick(self, calls: list[RunningCall]) -> None:
        """Look at lines and memory, and note what changed; `calls` are those that are traced to this capture."""
        self._alone(lambda: self._tick(calls, self._observe(calls)))

    def before(self, line: dict[str, Any]) -> None:
        """Add to a call's `begin` line what allocators have then, as far as that costs little."""
        if self._pid == os.getpid():
            self._guarded(self._before, line)

    def _before(self, line: dict[str, Any]) -> None:
        pools = self._allocators.sampled()
        if pools:
            line["pools"] = pools
        if time.monotonic() >= self._free_due:
            free, used = self._asked()
            if used is not None:
                line |= {"free": free, "used": used}

    def between(self) -> bool:
        """Look while no call runs at where the threads are that ran some; return whether memory moves."""
        self._alone(lambda: self._tick([], self._observe_threads(self._threads)))
        return self._is_moving

    def idle(self) -> None:
        """Note what is left when no call runs any more: what the next one finds."""
        self._alone(self._idle)

    def _idle(self) -> None:
        now = self._observe([])
        self._earn()
        if abs(now.private - self._looked) >= _STEP and self._can_look():
            self._sample(now, look=True)

    def end(self, call: RunningCall, reading: proc.Memory) -> None:
        """Note on a call's own thread what it leaves, where that differs from what was noted last."""
        if self._pid != os.getpid():  # a fork's lock may be held by nobody who is there
            return
        self._guarded(self._end, call, reading)

    def _end(self, call: RunningCall, reading: proc.Memory) -> None:
        private, _, mapped = reading
        noted = self._noted
        moved = max(abs(private - noted.private), abs(self._allocators.sampled() - noted.pools), self._moved)
        # Most calls leave little, and must not pay for a closer look.
        is_renewed = process_memory.touched() - call.touched >= call.touched_step
        if moved >= _LEAST_SAMPLE or is_renewed or (mapped - call.mapped) - (private - call.first) >= _RESERVED:
            self._alone(lambda: self._note_end(call))

    def _note_end(self, call: RunningCall) -> None:
        now = self._observe([call])
        self._note(now)
        self._earn()
        look = (now.reserved(call) >= _RESERVED or _has_renewed(call, now)) and self._can_look()
        if look or self._moved >= _LEAST_SAMPLE:
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

    def _observe(self, calls: list[RunningCall]) -> _Observation:
        """Take stacks, mark and figures at one moment."""
        if calls:
            self._threads = tuple(dict.fromkeys(call.thread for call in calls))
        return self._observe_threads(self._threads if calls else ())

    def _observe_threads(self, threads: tuple[int, ...]) -> _Observation:
        is_due = time.monotonic() >= self._free_due
        return self._at_once(lambda: (stacks(threads), self._asked() if is_due else (self._free_known, None)))

    def _at_once(self, look: Callable[[], tuple[tuple[RawStack, ...], tuple[int, int | None]]]) -> _Observation:
        """Look, mark and read memory; again where memory changed meanwhile, since another thread ran in between."""
        before = process_memory.now()[0]
        for _ in range(_TRIES):
            at, in_malloc = look()
            pools = self._allocators.sampled()
            mark = self._mark
            self._mark += 1
            _make_mark(contract.marker_size(mark))
            reading = process_memory.now()
            if abs(reading[0] - before) < _LEAST_MOVE:
                break
            before = reading[0]
        return _Observation(mark, at, reading[0], reading[1], reading, pools, *in_malloc, process_memory.touched())

    def _asked(self) -> tuple[int, int | None]:
        """What malloc keeps of what was freed, and what it has given out; None where it does not say."""
        began = time.thread_time()
        asked = malloc.in_malloc(at_once=self._free_cost < _LONGEST_AT_ONCE)
        self._free_cost = time.thread_time() - began
        self._free_due = float("inf") if asked is None else time.monotonic() + self._free_cost / _FREE_SHARE
        self._free_known, used = asked or (0, None)
        return self._free_known, used

    def _tick(self, calls: list[RunningCall], now: _Observation) -> None:
        moved = self._note(now)
        self._quiet = 0 if moved >= _LEAST_MOVE else self._quiet + 1
        self._earn()
        step = max(_STEP, now.private * _STEP_PART)
        for call in calls:
            if call.ticks == 0:
                call.looked = max(call.first - now.free, 0)
        wanted = [
            c
            for c in calls
            if now.in_use >= c.looked + step
            or now.shared >= c.looked_shared + step
            or now.reserved(c) >= c.looked_reserved + _RESERVED
            or _has_renewed(c, now)
        ]
        if wanted and not self._rising_since:
            self._rising_since = self._saved_at
        is_much = self._written >= _MOST_WRITTEN
        if not wanted and not is_much and abs(now.in_use - self._looked_in_use) >= step:
            wanted = calls  # what is left may be what it ends with
        if not wanted and now.free >= step:  # it may use what malloc has, and nothing would be seen to move
            wanted = [c for c in calls if c.ticks >= max(2 * c.looked_tick, _LEAST_TICKS)]
        is_due = wanted and self._quiet >= _QUIET
        if not is_due and self._rising_since and self._saved_at - self._rising_since > _RISING:
            is_due = any(now.in_use - c.looked >= max(step, (now.in_use - c.first) * _RISING_STEP) for c in wanted)
        if is_due and self._can_look():
            if self._sample(now, look=True):
                for call in calls:
                    call.looked = max(call.looked, now.in_use)
                    call.looked_shared = max(call.looked_shared, now.shared)
                    call.looked_reserved = max(call.looked_reserved, now.reserved(call))
                    call.looked_tick = call.ticks
                    _looked_at_touched(call, now)
            self._rising_since = 0.0
        elif self._moved >= _LEAST_SAMPLE and self._tokens >= 1:
            self._sample(now, look=False)

    def _note(self, now: _Observation) -> int:
        """Note what has changed, and return by how much."""
        last = self._noted
        used, pooled, shared = now.in_use - last.in_use, now.pools - last.pools, now.shared - last.shared
        moved = max(abs(used), abs(pooled), abs(shared))
        if max(abs(used), abs(pooled)) >= _LEAST_MOVE:
            self._moved += abs(used) + abs(pooled)
            move = self._moves[-1] if self._moves else None
            if move is not None and move[0] == self._at and move[1] == now.at:
                move[2] += used
                move[3] += pooled
            elif len(self._moves) < _MOST_MOVES:
                self._moves.append([self._at, now.at, used, pooled])
            else:
                self._moves[-1][:2] = (), ()  # of no line, rather than of a wrong one
                self._moves[-1][2] += used
                self._moves[-1][3] += pooled
            self._noted = now
        elif abs(shared) >= _LEAST_MOVE:
            self._noted = now._replace(private=last.private, free=last.free, pools=last.pools)
        self._is_moving = moved >= _LEAST_SAMPLE
        self._at = now.at
        return moved

    def _can_look(self) -> bool:
        is_room = self._written < _MOST_WRITTEN or self._tokens >= 1
        return is_room and self._mappings is not None and self._saved >= self._cost

    def _earn(self) -> None:
        now = time.monotonic()
        passed = now - self._saved_at
        self._saved = min(self._saved + passed * _SHARE, max(_MOST_SAVED, self._cost))
        rate = _SAMPLES_A_SECOND if self._written < _MOST_WRITTEN else _SELDOM
        self._tokens = min(self._tokens + passed * rate, _MOST_SAMPLES_AT_ONCE)
        self._saved_at = now

    def _sample(self, now: _Observation, look: bool) -> bool:
        """Write a sample of what was observed; return whether it says what was resident."""
        line: dict[str, Any] = {"event": "sample", "capture": self._capture}
        moves, self._moves, self._moved = self._moves, [], 0  # gone, whatever goes wrong below
        self._tokens -= 1
        began = time.thread_time()  # to wait for the interpreter's lock costs nobody anything
        is_looked_at, at = False, now.at
        try:
            pools = self._allocators.addresses()
            if pools is not None:
                line["arenas"] = None  # not known, if nothing below says it
            if look and self._mappings is not None:
                now = self._at_once(lambda: (at, self._asked()))
                found = self._look(self._mappings)
                after = self._asked()[0]
                step = max(_STEP, now.private * _STEP_PART)
                is_looked_at = abs(process_memory.now()[0] - now.private) < step and abs(after - now.free) < step
                if is_looked_at:  # else it is of no one moment
                    line |= found
                    self._looked, self._looked_in_use = now.private, now.in_use
            elif pools is not None and self._mappings is not None and self._saved >= _MOST_SAVED / 2:
                line["arenas"] = self._mappings.in_arenas(pools)  # what looks may take is spared for them
        except OSError as error:
            if error.errno not in _PASSING:
                self._mappings = None  # the kernel does not tell: it will not the next time
            raise
        finally:
            cost = time.thread_time() - began
            self._saved -= cost
            if look:
                self._cost = cost
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
        self._written += self._journal.write(line)
        return is_looked_at

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


def _has_renewed(call: RunningCall, now: _Observation) -> bool:
    """Whether its process touched much since it was looked at, and did not grow by as much."""
    return now.touched - call.touched - max(now.in_use - call.looked, 0) >= call.touched_step


def _looked_at_touched(call: RunningCall, now: _Observation) -> None:
    if now.touched - call.touched >= call.touched_step:
        call.touched_step *= 2
    call.touched = now.touched


class _Observation(NamedTuple):
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


_make_mark = frames.marker("sample", 0, contract.SAMPLE_FILE)
