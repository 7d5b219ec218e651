"""What an account held at its peak or its end: what of it was resident, and what else the process had.

memray says what was asked for. What of it was in memory is worked out when the account is settled: from the look at the
process that was taken then (`samples.py`), and from what its memory was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .accounts import LARGE, OPAQUE, POOL, Account, Moment
from .samples import Look, Sample

__all__ = ["Entry", "Held", "held"]

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
    def unseen_libraries(self) -> int:
        """How much of what is not seen is the data of loaded libraries: no more than all of it, where that is known."""
        return self.libraries if self.unseen is None else max(min(self.libraries, self.unseen), 0)

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


def held(account: Account, view: str) -> Held:
    """Return what was resident of an account at the "peak", the end ("leaks"), or of what was "temporary"."""
    moment = _moment(account) if view == "peak" else account.at_end if view == "leaks" else None
    # Where about as much was held at the most as then, it is the same peak, and known to the last allocation.
    is_same = moment is None or account.most <= moment.current + _SLACK
    rows = account.rows(view) if view != "peak" or is_same or moment is None or not moment.rows else moment.rows
    entries = {key: Entry(size, count) for key, size, count in rows}
    found = Held(entries)
    if view == "temporary":
        return found
    if view == "peak" and account.shared:
        for place, shared in account.shared.items():
            entries.setdefault(place.key, Entry(0, 1)).shared = shared
    if moment is not None:
        _reserve(account, entries, moment)
    if view == "peak" and moment is not None and moment.sample is not None:
        _explain(account, found, moment, moment.sample)
    else:
        _cap(account, entries, view, moment.look if moment is not None else None)
        _take_retained(account, found, moment)
        if view == "peak":
            _take_peak(account, found)
        last = account.at_end.look if account.at_end is not None else None
        if last is not None and account.baseline is not None:
            found.libraries = max(last.libraries - account.baseline.libraries, 0)
    return found


def _moment(account: Account) -> Moment | None:
    """The moment that stands for the peak, if it does."""
    moment = account.at_peak
    if moment is None or account.most <= max(_SAME * moment.current, moment.current + _SLACK):
        return moment
    # More was asked for at another time. Either as much was not touched then, or the process had that memory, freed
    # before, and did not have to grow.
    kept = moment.sample.retained(moment.look) if moment.sample is not None else None
    is_bounded = account.facts is not None and account.facts.highest is not None  # what was held then, if not looked at
    is_all = (kept is not None and kept < _SLACK) or account.most - moment.current <= account.untouched + _SLACK
    return moment if moment.is_sure and (is_all or not is_bounded) else None


def _reserve(account: Account, entries: dict[Any, Entry], moment: Moment) -> None:
    """Take out of what was held what the look at that moment says is not resident."""
    look, sample = moment.look, moment.sample
    if look is None:
        return
    for address, (place, size, mark) in moment.large.items():
        entry = entries.get(place.key)
        if entry is not None and mark <= look.mark:  # what came after it is taken as resident
            own, shared = look.of(address, size)
            entry.seen += own
            away = min(size - own, entry.bytes)
            entry.bytes -= away
            entry.reserved += max(away - shared, 0)
    if sample is not None and not moment.overlapping:
        _fit_pools(account, [entry for key, entry in entries.items() if _kind(key) == POOL], sample)


def _fit_pools(account: Account, entries: list[Entry], sample: Sample) -> None:
    """Have what was put down to lines of sampled pools sum up to what the pools had, which they say themselves."""
    before = account.baseline.pools if account.baseline is not None else 0
    had = sample.pools if sample.arenas is None else min(sample.pools, sample.arenas)
    told = sum(entry.bytes for entry in entries)
    missing = max(had - before, 0) - told
    if missing < 0:
        _shrink(entries, -missing)
    elif told:
        for entry in entries:
            entry.bytes += round(missing * entry.bytes / told)


def _explain(account: Account, found: Held, moment: Moment, sample: Sample) -> None:
    """Hold what was held against what the process grew by."""
    look, base = moment.look, account.baseline
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
        facts, highest = account.facts, _highest(account)
        least_peak = max(sample.memory, (facts.peak or 0) if facts is not None else 0)
        highest = least_peak if highest is None or sample.look is not None else max(highest, least_peak)
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


def _take_peak(account: Account, found: Held) -> None:
    """Where nobody looked, the kernel may know by how much the process had grown."""
    facts, base = account.facts, account.baseline
    is_alone = account.at_end is not None and not account.at_end.overlapping
    if facts is None or base is None or facts.peak is None or facts.highest is None or not is_alone:
        return
    if (_highest(account) or 0) - facts.peak <= _SLACK:
        found.grew = facts.peak - base.memory
        found.released = account.released(None)
        found.unseen = found.grew + found.released - found.bytes


def _highest(account: Account) -> int | None:
    """The most that the process can have had.

    The kernel's figure may be of a time before the call. Who asks for what it does not touch is not taken to have
    touched more than was seen.
    """
    facts = account.facts
    if facts is None or facts.highest is None:
        return None
    return facts.peak if facts.peak is not None and account.untouched > _SLACK else facts.highest


def _take_retained(account: Account, found: Held, moment: Moment | None) -> None:
    if moment is not None and moment.sample is not None and account.baseline is not None and not moment.overlapping:
        retained, before = moment.sample.retained(moment.look), account.baseline.retained
        if retained is not None and before is not None:
            found.retained = retained - before


def _cap(account: Account, entries: dict[Any, Entry], view: str, look: Look | None) -> None:
    """Where nobody looked, no more can be resident than the process had."""
    facts, base = account.facts, account.baseline
    limit = None if facts is None else _highest(account) if view == "peak" else facts.after
    if limit is None or base is None:
        return
    bound = max(limit - base.memory, 0) + account.released(None) + (base.retained or 0)
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
