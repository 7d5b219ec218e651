"""Accounts: what a call, or a whole capture, holds by place in the code; and what of that is resident.

memray says what was asked for. What of it was in memory at the call's peak, or at its end, is worked out when the
account is settled: from the look at the process that was taken then (`samples.py`), and from what its memory was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .samples import CallFacts, Look, Sample

__all__ = ["LARGE", "OPAQUE", "POOL", "Account", "Baseline", "Block", "Entry", "Held", "Moment"]

LARGE = 128 * 1024
"""Bytes from which it is told of an allocation how much of it is resident; malloc maps from there on."""
_OWN_MAPPING = 32 * 2**20
"""Bytes from which malloc always maps anew: such a block is never made of memory that was there before."""
_CLEARLY_LARGE = LARGE
_SLACK = 8 * 2**20
"""Bytes that figures may differ by, since they are not taken at one moment."""
_SAME = 1.25
"""Up to so many times what was held at a moment was held at the peak that it stands for."""
_LEAST_ESTIMATE = 4 * 2**20
"""Bytes from which what is not seen is put down to an allocator that is known not to be seen."""
_MMAP = 14
"""memray's number for it, which is in the files it writes."""
POOL = "pool"
OPAQUE = "opaque"

Block = tuple[list[int], int, int]
"""Of a large allocation: its place in the account, its size, and the mark after which it was made."""


@dataclass(slots=True)
class Entry:
    """What a place held: what is resident of what was asked for, in so many allocations."""

    bytes: int
    allocations: int
    reserved: int = 0
    """Bytes that were asked for and are not resident."""
    shared: int = 0
    """Resident bytes of files and shared memory, which RSS − SHR leaves out."""
    seen: int = 0
    """Bytes of it that a look found resident: no sum of other figures says otherwise."""

    def figures(self) -> tuple[int, int, int, int]:
        """Return all four, as a row has them."""
        return self.bytes, self.allocations, self.reserved, self.shared


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


@dataclass(slots=True)
class Held:
    """What an account held at a moment, by place; bytes, None for what cannot be told."""

    entries: dict[Any, Entry] = field(default_factory=dict)
    grew: int | None = None
    """By how much the process's memory had grown."""
    retained: int | None = None
    """By how much what allocators keep of freed memory had grown; less than 0 where it was used again."""
    unseen: int | None = None
    """What it grew by beyond what is held and retained."""
    released: int = 0
    """What it had before and had given back, which what is held may have taken the place of."""
    opaque: tuple[str, ...] = ()
    libraries: int = 0
    """By how much the data of loaded libraries had grown, which is not seen."""
    in_malloc: int = 0
    """What was allocated with malloc and not seen, as what a library allocates while it is loaded."""

    @property
    def bytes(self) -> int:
        """All that is resident."""
        return sum(entry.bytes for entry in self.entries.values())

    @property
    def reserved(self) -> int:
        """All that was asked for and is not."""
        return sum(entry.reserved for entry in self.entries.values())

    @property
    def shared(self) -> int:
        """All that is resident of files and shared memory."""
        return sum(entry.shared for entry in self.entries.values())


class Account:
    """What a call, or the capture, holds by place in the code, and held at its peak.

    A place is a list: bytes and allocations now, the same at the peak numbered last, bytes and allocations that were
    temporary. What is numbered lower than the latest peak has not changed since, so what it has now it had then too.
    A new peak is numbered when it is over, which a removal shows. What is added is added in `Ledger.follow`.
    `at_peak` is the moment, of those at which the process was sampled, that stands for the peak.
    """

    __slots__ = (
        "_places",
        "allocations",
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
        "shared",
        "weights",
    )

    def __init__(self, facts: CallFacts | None = None, baseline: Baseline | None = None, clock: int = 0) -> None:
        self.clock = clock
        """What was allocated when this was lower was there before the call began."""
        self.freed = 0
        """Bytes of that which were freed since, in large pieces."""
        self.lowest = baseline.memory if baseline is not None else 0
        """The process's least memory since."""
        self.current = 0
        self.peak = 0
        self.allocations = 0
        self.closed = False
        self.peak_id = 0
        self.facts = facts
        self.baseline = baseline
        self.large: dict[int, Block] = {}
        self.at_peak: Moment | None = None
        self.at_end: Moment | None = None
        self.shared: dict[int, int] = {}
        """Resident bytes of files and shared memory when they were most, by the identity of the place."""
        self.weights: list[tuple[Any, int]] = []
        """By what the process grew beyond what was seen, and where, latest last."""
        self.last_current = 0
        self._places: dict[Any, list[int]] = {}

    def place(self, key: Any) -> list[int]:
        """Return the figures of a place."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = [0, 0, 0, 0, self.peak_id, 0, 0]
        return place

    def add(self, place: list[int], size: int, count: int = 1) -> None:
        """Take an allocation into account."""
        if self.closed:
            return
        if place[4] != self.peak_id:
            place[2], place[3], place[4] = place[0], place[1], self.peak_id
        place[0] += size
        place[1] += count
        self.allocations += count
        self.current += size

    def remove(self, place: list[int], size: int, count: int = 1) -> None:
        """Take an allocation out of account."""
        if self.closed:
            return
        current = self.current
        if current > self.peak:
            self.peak = current
            self.peak_id += 1
        peak_id = self.peak_id
        if place[4] != peak_id:
            place[2], place[3], place[4] = place[0], place[1], peak_id
        place[0] -= size
        place[1] -= count
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

    def take_shared(self, look: Look) -> None:
        """Take into account what of files and shared memory is resident now; what is most counts."""
        found: dict[int, int] = {}
        for address, (place, size, _) in self.large.items():
            shared = look.of(address, size)[1]
            if shared:
                found[id(place)] = found.get(id(place), 0) + shared
        if sum(found.values()) > sum(self.shared.values()):
            self.shared = found

    def settle(self) -> None:
        """Number the peak that is not over."""
        if self.current > self.peak:
            self.peak = self.current
            self.peak_id += 1

    def rows(self, view: str) -> Iterator[tuple[Any, int, int]]:
        """Yield place, bytes and allocations, as asked for, at the "peak", the end ("leaks"), or "temporary"."""
        for key, (size, count, peak_size, peak_count, peak_id, brief_size, brief_count) in self._places.items():
            if view == "temporary":
                size, count = brief_size, brief_count
            elif view == "peak" and peak_id == self.peak_id:
                size, count = peak_size, peak_count
            if size:
                yield key, size, max(count, 1)

    def held(self, view: str) -> Held:
        """Return what was resident of it."""
        moment = self._moment() if view == "peak" else self.at_end if view == "leaks" else None
        # Where about as much was held at the most as then, it is the same peak, and known to the last allocation.
        is_same = moment is None or self.most <= moment.current + _SLACK
        rows = self.rows(view) if view != "peak" or is_same or moment is None or not moment.rows else moment.rows
        entries = {key: Entry(size, count) for key, size, count in rows}
        found = Held(entries)
        if view == "temporary":
            return found
        if view == "peak" and self.shared:
            for key, place in self._places.items():
                if id(place) in self.shared:
                    entries.setdefault(key, Entry(0, 1)).shared = self.shared[id(place)]
        if moment is not None:
            self._reserve(entries, moment)
        if view == "peak" and moment is not None and moment.sample is not None:
            self._explain(found, moment, moment.sample)
        else:
            self._cap(entries, view, moment.look if moment is not None else None)
            self._take_retained(found, moment)
            if view == "peak":
                self._take_peak(found)
            last = self.at_end.look if self.at_end is not None else None
            if last is not None and self.baseline is not None:
                found.libraries = max(last.libraries - self.baseline.libraries, 0)
        return found

    def _moment(self) -> Moment | None:
        """The moment that stands for the peak, if it does."""
        moment = self.at_peak
        if moment is None or self.most <= max(_SAME * moment.current, moment.current + _SLACK):
            return moment
        # More was held at another time. The process does not grow by what is taken of memory that was freed before.
        kept = moment.sample.retained(moment.look) if moment.sample is not None else None
        is_bounded = self.facts is not None and self.facts.highest is not None  # what was held then, if not looked at
        is_all = kept is not None and kept < _SLACK
        return moment if moment.is_sure and (is_all or not is_bounded) else None

    def _reserve(self, entries: dict[Any, Entry], moment: Moment) -> None:
        """Take out of what was held what the look at that moment says is not resident."""
        look, sample = moment.look, moment.sample
        if look is None:
            return
        keys = {id(place): key for key, place in self._places.items()}
        for address, (place, size, mark) in moment.large.items():
            entry = entries.get(keys[id(place)])
            if entry is not None and mark <= look.mark:  # what came after it is taken as resident
                own, shared = look.of(address, size)
                entry.seen += own
                away = min(size - own, entry.bytes)
                entry.bytes -= away
                entry.reserved += max(away - shared, 0)
        if sample is not None and not moment.overlapping:
            self._fit_pools([entry for key, entry in entries.items() if _kind(key) == POOL], sample)

    def _fit_pools(self, entries: list[Entry], sample: Sample) -> None:
        """Have what was put down to lines of sampled pools sum up to what the pools had, which they say themselves."""
        before = self.baseline.pools if self.baseline is not None else 0
        had = sample.pools if sample.arenas is None else min(sample.pools, sample.arenas)
        told = sum(entry.bytes for entry in entries)
        missing = max(had - before, 0) - told
        if missing < 0:
            _shrink(entries, -missing)
        elif told:
            for entry in entries:
                entry.bytes += round(missing * entry.bytes / told)

    def _explain(self, found: Held, moment: Moment, sample: Sample) -> None:
        """Hold what was held against what the process grew by."""
        look, base = moment.look, self.baseline
        if base is None:
            return
        if look is not None:
            found.opaque = look.opaque
            found.libraries = max(look.libraries - base.libraries, 0)
        if moment.overlapping:
            return
        retained, before = sample.retained(look), base.retained
        kept = None if retained is None or before is None else retained - before
        least = _CLEARLY_LARGE if before is not None else _OWN_MAPPING
        released = found.released = moment.released
        if not moment.is_sure:
            # What the sampler saw is the least that the peak can have been, what the kernel saw the most.
            facts = self.facts
            least_peak = max(sample.memory, (facts.peak or 0) if facts is not None else 0)
            is_known = facts is None or facts.highest is None or sample.look is not None
            highest = least_peak if is_known else max(facts.highest or 0, least_peak)  # type: ignore[union-attr]
            _touch(found.entries, max(least_peak, sample.memory + released) - base.memory - (kept or 0) - found.bytes)
            _fit(found.entries, highest - base.memory + released + (before or 0), least)
            if highest - least_peak > _SLACK:
                return  # nobody knows how much it was
            found.grew = (sample.memory if released >= _SLACK else least_peak) - base.memory
            if abs(found.grew - (sample.memory - base.memory)) > _SLACK:
                kept = None  # that was at another moment
        else:
            found.grew = sample.memory - base.memory
            bound = found.grew + released - (kept if kept is not None else -(before or 0))
            if sample.look is None:
                # The look was an earlier one: what was not resident then may have been touched since.
                _touch(found.entries, bound - found.bytes)
            _fit(found.entries, bound, least)
        found.retained = kept
        found.unseen = found.grew + released - found.bytes - (kept or 0)
        if found.unseen < -_SLACK and any(entry.seen for entry in found.entries.values()):
            found.released = released = released - found.unseen  # it is there, so something else has gone
            found.unseen = 0
        if sample.used is not None and base.used is not None:
            seen = sum(e.bytes + e.reserved for key, e in found.entries.items() if _is_malloc(key))
            found.in_malloc = max(min(sample.used - base.used - seen, found.unseen - found.libraries), 0)
        strange = found.unseen - found.libraries - found.in_malloc
        if found.opaque and strange > _LEAST_ESTIMATE and moment.weights:
            total = max(sum(amount for _, amount in moment.weights), 1)
            for key, amount in moment.weights:
                share = round(strange * amount / total)
                entry = found.entries.setdefault(key, Entry(0, 0))
                entry.bytes += share
                entry.allocations += 1
            found.unseen = found.grew + released - found.bytes - (found.retained or 0)

    def _take_peak(self, found: Held) -> None:
        """Where nobody looked, the kernel may know by how much the process had grown."""
        facts, base = self.facts, self.baseline
        is_alone = self.at_end is not None and not self.at_end.overlapping
        if facts is None or base is None or facts.peak is None or facts.highest is None or not is_alone:
            return
        if facts.highest - facts.peak <= _SLACK:
            found.grew = facts.peak - base.memory
            found.released = self.released(None)
            found.unseen = found.grew + found.released - found.bytes

    def _take_retained(self, found: Held, moment: Moment | None) -> None:
        if moment is not None and moment.sample is not None and self.baseline is not None and not moment.overlapping:
            retained, before = moment.sample.retained(moment.look), self.baseline.retained
            if retained is not None and before is not None:
                found.retained = retained - before

    def _cap(self, entries: dict[Any, Entry], view: str, look: Look | None) -> None:
        """Where nobody looked, no more can be resident than the process had."""
        facts, base = self.facts, self.baseline
        limit = None if facts is None else facts.highest if view == "peak" else facts.after
        if limit is None or base is None:
            return
        bound = max(limit - base.memory, 0) + self.released(None) + (base.retained or 0)
        asked = sum(entry.bytes for entry in entries.values())
        if view == "leaks" and look is not None:  # what was not resident then may have been touched since
            _touch(entries, min(bound - asked, limit - look.memory))
        _fit(entries, bound, _CLEARLY_LARGE if base.retained is not None else _OWN_MAPPING)


def _kind(key: Any) -> str | None:
    """What a place was made for that memray has no stack of."""
    stack_id = key[0]
    return stack_id[0] if isinstance(stack_id, tuple) and isinstance(stack_id[0], str) else None


def _is_malloc(key: Any) -> bool:
    return key[1] != _MMAP and _kind(key) not in (POOL, OPAQUE)


def _fit(entries: dict[Any, Entry], bound: int, least: int) -> None:
    """Count of large blocks only so much as resident as there can have been."""
    excess = sum(entry.bytes for entry in entries.values()) - max(bound, 0)
    if excess > _SLACK:
        large = [e for e in entries.values() if e.allocations and e.bytes / e.allocations >= least]
        _shrink(sorted(large, key=lambda entry: -entry.bytes / entry.allocations), excess)


def _touch(entries: dict[Any, Entry], missing: int) -> None:
    """Count of what was reserved so much as resident as is missing in the sum."""
    for entry in sorted(entries.values(), key=lambda entry: -entry.reserved):
        part = min(entry.reserved, max(missing, 0))
        entry.bytes += part
        entry.reserved -= part
        missing -= part


def _shrink(entries: Iterable[Entry], excess: int) -> None:
    for entry in entries:
        part = min(max(entry.bytes - entry.seen, 0), excess)
        entry.bytes -= part
        entry.reserved += part
        excess -= part
