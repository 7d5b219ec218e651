"""Actors that grow from call to call: what `advise()` sizes them by, and the doctor names."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ...display.text import show_bytes
from ...reading.catalog.function_names import actor_class
from ...reading.catalog.records import Call, CompactedCalls

__all__ = [
    "Growth",
    "about_captures",
    "captures_of",
    "end_of",
    "growths",
    "kept_by",
    "lives",
    "methods_of",
    "process_of",
    "too_few",
]

_MIB = 2**20
_LEAST_CALLS = 4
"""Calls of an actor below which growth says nothing."""
_SURE_CALLS = 10
"""The same below which it may be loading in parts what is loaded once."""
_FLOORS = 10
"""Parts that an actor's calls are cut into; what counts is the least that it had in each."""
_GROWTH = 50 * _MIB
"""Growth below which caches, allocators and late imports explain it."""
_PARTS = 100
"""Calls of a life that count where not all of them are known one by one, about."""
_RISING = 0.75
"""Of the steps from part to part so many must be up."""
_JUMP = 0.6
"""One step with more of the growth than this is something that was loaded once."""
_OVERLAP = 1.5
"""If calls left so many times as much as their process grew, they ran at the same time."""
_UNTRACED = "they were not traced"
_GONE = "the capture is gone, as to keep the disk budget"
_LATE = 0.25
"""Less of the growth than this in the second half is a cache that is nearly full."""


@dataclass(frozen=True, slots=True)
class Growth:
    """An actor's process that grows."""

    name: str
    calls: tuple[Call, ...]
    """Those of its methods that ended, by their end."""
    first: int
    last: int
    compacted: tuple[CompactedCalls, ...] = ()
    """Those that are only counted."""

    @property
    def call_count(self) -> int:
        """How many ended, with those that are only counted."""
        return len(self.calls) + sum(one.count() for one in self.compacted)

    @property
    def size(self) -> int:
        """Bytes by which it grew."""
        return self.last - self.first

    @property
    def is_sure(self) -> bool:
        """Whether there are so many calls that it is not what is loaded once, in parts."""
        return self.call_count >= _SURE_CALLS

    @property
    def method(self) -> str | None:
        """The method in which it grows most; None where that cannot be told."""
        grown: Counter[str] = Counter()
        calls = self.calls
        if self.compacted and all(one.rose is not None for one in self.compacted):
            for one in self.compacted:
                grown[one.name] += one.rose or 0
        elif self.compacted:  # what lies between two calls that are known is of others
            for one in self.compacted:
                grown[one.name] += one.kept
            for call in calls:
                grown[call.name] += kept_by(call)
            if sum(grown.values()) > _OVERLAP * self.size:  # several ran at once, and each has what the others kept
                grown.clear()
                last = max(one.last for one in self.compacted)
                calls = tuple(call for call in calls if call.started_at.timestamp() > last)
        if not grown:
            for before, call in itertools.pairwise(calls):
                grown[call.name] += (call.memory_after or 0) - (before.memory_after or 0)
        return max(grown, key=lambda name: grown[name], default=None)


def lives(calls: Iterable[Call]) -> dict[object, list[Call]]:
    """Return the calls of actors by the process that ran them, in the order in which they began."""
    found: dict[object, list[Call]] = {}
    for call in sorted(calls, key=lambda call: call.started_at):
        if call.kind in ("actor", "method"):
            found.setdefault((process_of(call), call.actor_id), []).append(call)
    return found


def growths(calls: Iterable[Call], compacted: Iterable[CompactedCalls] = ()) -> Iterator[Growth]:
    """Yield the processes of actors whose memory grows from call to call, and does not fall again.

    Calls that are only counted need not be known for that: some of all times are left.
    """
    others = methods_of(compacted)
    for life in lives(calls).values():
        ended = _ended(life)
        if len(ended) >= _LEAST_CALLS:
            more = tuple(others.get((process_of(ended[-1]), ended[-1].actor_id), ()))
            even = _evenly(ended) if more else ended
            floors = _floors([call.memory_after or 0 for call in even])
            if _rises(floors):
                yield Growth(actor_class(ended[-1].name), tuple(ended), floors[0], floors[-1], more)


def too_few(calls: Iterable[Call], compacted: Iterable[CompactedCalls] = ()) -> dict[str, int]:
    """Return the classes of which no process has ended so many calls that growth could be told, and the most of one."""
    most: dict[str, int] = {}
    more = methods_of(compacted)
    for who, life in lives(calls).items():
        name = actor_class(life[-1].name)
        count = len(_ended(life)) + sum(one.count() for one in more.get(who, ()))
        most[name] = max(most.get(name, 0), count)
    return {name: count for name, count in most.items() if count < _LEAST_CALLS}


def methods_of(compacted: Iterable[CompactedCalls]) -> dict[object, list[CompactedCalls]]:
    """Return what is only counted of methods, by the process that ran them."""
    found: dict[object, list[CompactedCalls]] = {}
    for one in compacted:
        if one.kind == "method":
            found.setdefault((one.process, one.actor_id), []).append(one)
    return found


def captures_of(life: Iterable[Call]) -> tuple[Path, ...]:
    """Return the captures that are there of a process's calls, in the order in which they were opened."""
    return tuple(dict.fromkeys(call.capture for call in life if call.capture is not None))


def about_captures(life: Sequence[Call], compacted: Sequence[CompactedCalls] = ()) -> Iterator[str]:
    """Say of which captures of an actor's life its lines are, and what is in none that is there."""
    captures, untraced = captures_of(life), [call for call in life if call.capture is None]
    if len(captures) > 1:
        yield f"That is summed over the {len(captures)} captures of its process that are there."
    if untraced or any(one.count() > one.held for one in compacted):
        others, gone = (sum(one.count() - held * one.held for one in compacted) for held in (0, 1))
        grown = sum(max(kept_by(call), 0) for call in untraced)
        grown += sum(max(one.kept - one.held_kept, 0) for one in compacted)
        reasons = Counter(call.note or (_GONE if call.place is not None else _UNTRACED) for call in untraced)
        why = Counter(call.note for call in untraced if call.note).most_common(1)
        reasons[why[0][0] if why else _UNTRACED] += sum(one.count() - one.traced for one in compacted)
        reasons[_GONE] += sum(one.traced - one.held for one in compacted)
        which = "Not in it" if captures else "No line is known"
        yield (
            f"{which}: {len(untraced) + gone:,} of its {len(life) + others:,} calls, in which it grew by "
            f"{show_bytes(grown)}, have no capture that is there ({reasons.most_common(1)[0][0]})."
        )


def kept_by(call: Call) -> int:
    """Return by how much a call's process was larger when it ended than when it began."""
    return (call.memory_before if call.memory_after is None else call.memory_after) - call.memory_before


def _ended(life: list[Call]) -> list[Call]:
    return sorted((call for call in life if call.kind == "method" and call.memory_after is not None), key=end_of)


def _evenly(ended: list[Call]) -> list[Call]:
    """Return of each interval the call that left least: where not all are known, the latest are, and few before."""
    first, last = end_of(ended[0]), end_of(ended[-1])
    interval = (last - first) / _PARTS
    found: list[Call] = []
    begun = first
    for call in ended:
        if not found or end_of(call) - begun >= interval:
            found.append(call)
            begun = end_of(call)
        elif (call.memory_after or 0) < (found[-1].memory_after or 0):
            found[-1] = call
    return found if len(found) >= _FLOORS else ended


def _floors(values: list[int]) -> list[int]:
    """Return the least of each of so many parts: what is freed again now and then does not count."""
    count = min(_FLOORS, len(values))
    cuts = [round(number * len(values) / count) for number in range(count + 1)]
    return [min(values[start:end]) for start, end in itertools.pairwise(cuts)]


def _rises(floors: list[int]) -> bool:
    steps = [later - before for before, later in itertools.pairwise(floors)]
    growth = floors[-1] - floors[0]
    middle = floors[len(floors) // 2]
    return (
        growth >= _GROWTH
        and sum(step > 0 for step in steps) >= _RISING * len(steps)
        and max(steps) <= _JUMP * growth
        and floors[-1] - middle >= _LATE * growth
    )


def end_of(call: Call) -> datetime:
    """Return when a call ended; where that was not recorded, when it began."""
    return call.started_at + timedelta(seconds=call.duration or 0)


def process_of(call: Call) -> object:
    """Return what tells a call's process from all others."""
    return call.node_id, call.worker_id, call.pid
