"""Accounts: what a call, or a whole capture, asked for by place in the code, and how its process was meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .samples import CallFacts, Look, Sample, Samples

__all__ = [
    "LARGE",
    "OPAQUE",
    "POOL",
    "Account",
    "Baseline",
    "Block",
    "Moment",
    "Place",
    "account_of_call",
    "account_of_capture",
]

LARGE = 128 * 1024
"""Bytes from which it is told of an allocation how much of it is resident; malloc maps from there on."""
POOL = "pool"
OPAQUE = "opaque"


class Place:
    """What an account holds, and held at its peak, at one place in the code.

    What is numbered lower than the account's latest peak has not changed since, so what it has now it had then too.
    """

    __slots__ = (
        "account",
        "brief_allocations",
        "brief_bytes",
        "bytes",
        "ended",
        "key",
        "made",
        "peak_allocations",
        "peak_bytes",
        "peak_id",
    )

    def __init__(self, account: Account, key: Any) -> None:
        self.account = account
        self.key = key
        self.bytes = self.made = self.ended = 0
        """Bytes now, and how many allocations were made and have ended."""
        self.peak_bytes = self.peak_allocations = 0
        self.peak_id = account.peak_id
        self.brief_bytes = self.brief_allocations = 0
        """What was temporary."""

    @property
    def allocations(self) -> int:
        """How many there are now."""
        return self.made - self.ended

    def number(self, peak_id: int) -> None:
        """Note what it had at a peak, before it changes for the first time since."""
        self.peak_bytes, self.peak_allocations, self.peak_id = self.bytes, self.made - self.ended, peak_id


Block = tuple[Place, int, int]
"""Of a large allocation: its place in the account, its size, and the mark after which it was made."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """How the process was when a call began."""

    memory: int
    retained: int | None
    """Bytes that allocators kept, as of the last look before; None where nothing is known."""
    libraries: int = 0
    """Bytes of the data of loaded libraries."""
    used: int | None = None
    """Bytes that malloc had given out, as of when it was asked last."""
    pools: int = 0
    """Bytes held in pools that memray does not see."""


@dataclass(slots=True)
class Moment:
    """An account at a moment: which allocations it has, and what is known of the process then."""

    sample: Sample | None
    look: Look | None
    """The last one before it."""
    large: dict[int, Block]
    overlapping: int
    """How many calls ran beside it."""
    weights: list[tuple[Any, int]]
    current: int = 0
    """Bytes that it held then, as asked for."""
    is_sure: bool = False
    """Whether the process's memory shows that this was the call's peak, whatever more was asked for at other times."""
    rows: tuple[tuple[Any, int, int], ...] = ()
    """Place, bytes and allocations then, as asked for."""
    released: int = 0
    """Bytes that the process had before the call began, and that had been given back then."""


class Account:
    """What a call, or the capture, holds by place in the code, and held at its peak.

    A new peak is numbered when it is over, which a removal shows. `Ledger` has what `add` and `remove` do written out.
    `at_peak` is the moment, of those at which the process was sampled, that stands for the peak.
    """

    __slots__ = (
        "at_end",
        "at_peak",
        "baseline",
        "clock",
        "closed",
        "current",
        "facts",
        "freed",
        "large",
        "last_current",
        "lowest",
        "peak",
        "peak_id",
        "places",
        "shared",
        "untouched",
        "weights",
    )

    def __init__(self, facts: CallFacts | None = None, baseline: Baseline | None = None, clock: int = 0) -> None:
        self.clock = clock
        """What was allocated when this was lower was there before the call began."""
        self.freed = 0
        """Bytes of that which were freed since, in large pieces."""
        self.lowest = baseline.memory if baseline is not None else 0
        """The process's least memory since."""
        self.untouched = 0
        """The most that it certainly had asked for and not touched at a sample."""
        self.current = 0
        self.peak = 0
        self.closed = False
        self.peak_id = 0
        self.facts = facts
        self.baseline = baseline
        self.large: dict[int, Block] = {}
        self.at_peak: Moment | None = None
        self.at_end: Moment | None = None
        self.shared: dict[Place, int] = {}
        """Resident bytes of files and shared memory when they were most."""
        self.weights: list[tuple[Any, int]] = []
        """By what the process grew beyond what was seen, and where, latest last."""
        self.last_current = 0
        self.places: dict[Any, Place] = {}

    def place(self, key: Any) -> Place:
        """Return the figures of a place."""
        place = self.places.get(key)
        if place is None:
            place = self.places[key] = Place(self, key)
        return place

    @property
    def allocations(self) -> int:
        """How many were made."""
        return sum(place.made for place in self.places.values())

    def add(self, place: Place, size: int) -> None:
        """Take an allocation into account."""
        if self.closed:
            return
        if place.peak_id != self.peak_id:
            place.number(self.peak_id)
        place.bytes += size
        place.made += 1
        self.current += size

    def remove(self, place: Place, size: int, count: int = 1) -> None:
        """Take an allocation out of account."""
        if self.closed:
            return
        current = self.current
        if current > self.peak:
            self.peak = current
            self.peak_id += 1
        if place.peak_id != self.peak_id:
            place.number(self.peak_id)
        place.bytes -= size
        place.ended += count
        self.current = current - size

    @property
    def most(self) -> int:
        """The most that was held so far, as asked for."""
        return max(self.peak, self.current)

    def released(self, kept: int | None) -> int:
        """Return how much of what the process had before the call began it has given back, as far as that is known.

        `kept` is by how much what allocators keep has grown: where it is less than 0, they gave that back, too.
        """
        if self.baseline is None:
            return 0
        fell = self.baseline.memory - self.lowest + min(kept or 0, 0)
        return min(max(self.freed, fell), self.baseline.memory)

    def take_memory(self, sample: Sample, kept: int | None) -> None:
        """Take into account what the process has now; `kept` is as for `released`."""
        self.lowest = min(self.lowest, sample.memory)
        self.last_current = self.current
        base = self.baseline
        if base is not None:
            own = sample.memory if base.retained is None else sample.memory - base.memory + base.retained
            self.untouched = max(self.untouched, self.current - own - self.released(kept))

    def take_shared(self, look: Look) -> None:
        """Take into account what of files and shared memory is resident now; what is most counts."""
        found: dict[Place, int] = {}
        for address, (place, size, _) in self.large.items():
            shared = look.of(address, size)[1]
            if shared:
                found[place] = found.get(place, 0) + shared
        if sum(found.values()) > sum(self.shared.values()):
            self.shared = found

    def settle(self) -> None:
        """Number the peak that is not over."""
        if self.current > self.peak:
            self.peak = self.current
            self.peak_id += 1

    def rows(self, view: str) -> Iterator[tuple[Any, int, int]]:
        """Yield place, bytes and allocations, as asked for, at the "peak", the end ("leaks"), or "temporary"."""
        for key, place in self.places.items():
            if view == "temporary":
                size, count = place.brief_bytes, place.brief_allocations
            elif view == "peak" and place.peak_id == self.peak_id:
                size, count = place.peak_bytes, place.peak_allocations
            else:
                size, count = place.bytes, place.allocations
            if size:
                yield key, size, max(count, 1)


def account_of_capture(samples: Samples) -> Account:
    """Return the account of a whole capture; it began when the first sample was taken."""
    by_mark = samples.by_mark
    if not by_mark:
        return Account()
    first = by_mark[min(by_mark)]
    look = first.look
    libraries = look.libraries if look is not None else 0
    calls = samples.calls.values()
    peak = max([call.peak for call in calls if call.peak is not None], default=None)
    # What a process was at the highest holds for its past, and so between calls as well.
    bounds = [call.highest for call in calls]
    highest = max([bound for bound in bounds if bound is not None], default=None) if None not in bounds else None
    facts = CallFacts(first.memory, first.pools, peak=peak, highest=highest)
    return Account(facts, Baseline(first.memory, first.retained(look), libraries, first.used, first.pools))


def account_of_call(
    facts: CallFacts | None, look: Look | None, asked: Sample | None, is_idle: bool, clock: int
) -> Account:
    """Return a call's account, with what is known of the process when it begins.

    Args:
        facts: what the journal says of the call.
        look: the last look at what was resident.
        asked: the last sample at which allocators were asked what they keep.
        is_idle: whether no call has run since.
        clock: how many calls had begun.
    """
    if facts is None:
        return Account()
    libraries = look.libraries if look is not None else 0
    if facts.free is not None and asked is not None:
        now = replace(asked, free=facts.free, pools=facts.pools)  # pools are slow to give memory back
        base = Baseline(facts.memory, now.retained(look), libraries, facts.used, facts.pools)
    elif asked is not None and is_idle:
        base = Baseline(facts.memory, asked.retained(look), libraries, asked.used, facts.pools)
    else:
        base = Baseline(facts.memory, None, libraries, None, facts.pools)
    return Account(facts, base, clock)
