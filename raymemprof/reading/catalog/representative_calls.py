"""The calls that advice and a diagnosis are about, whole, and sums of the others: of a million calls as of a few."""

from __future__ import annotations

import bisect
import contextlib
import copy
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ... import journal as contract
from ...journal import Begin, Children, End, Sum, bucket_of, peak_of
from . import listing
from .digest import Ended, FunctionSum
from .filters import EVERY_CALL, Filters
from .listing import Listing, list_calls
from .places import Place, only_capture, place_here, processes, read_summed
from .process import RecordedProcess
from .records import Call, Calls, CompactedCalls
from .sources import Source
from .sums_cache import read_sums

__all__ = ["examined", "list_representative", "representative"]

_MOST_WHOLE = 10_000
"""Calls that are listed one by one, on all nodes together."""
_LEAST_WHOLE = 100
"""The same on a node of a large cluster."""
_MOST_NAMES = 1_000
"""Functions of which calls are listed, those with the highest peaks: names of blocks may be made up as it goes."""
_MOST_KILLS = 100
"""Killed calls of a function beside which others are looked for, the latest."""
_LEVEL = 32 * 2**20
"""Bytes within which the memory of an actor's process counts as level: no advice or diagnosis says that it grows."""


def examined(source: Source = None) -> Calls:
    """Return representative calls, and of each function of which one was killed those that ran when that began."""
    return listing.collect(source, EVERY_CALL, _list_examined, _examined_there)


def representative(source: Source = None, **filters: str | None) -> Calls:
    """Return the calls that stand for all, and count the others.

    Where there are few, all are there. Of many, these are: those that run or were killed; of each function, and each
    way to end, those with the highest peak, that grew most, that left most, whose children copied most, the
    last; of each actor that may grow, some of all times. Nodes sum up the others. Takes what `calls` takes.
    """
    return listing.collect(source, Filters(**filters), list_representative, _list_representative_there)  # type: ignore[arg-type]


def list_representative(place: Place, filters: Filters = EVERY_CALL, beside_kills: bool = False) -> Listing:
    """Return those of a place; with `beside_kills`, journals are read again where something was killed."""
    if only_capture(place.source) is not None:
        return list_calls(place, filters)
    read = read_sums if filters == EVERY_CALL else lambda path: read_summed(path, filters)
    skipped: list[str] = []
    names: set[str] = set()
    found = []
    for process in processes(place, skipped, read):
        names |= process.digest.names
        skipped += process.damage()
        if process.is_of(filters.node_id):
            found.append(_Summed(process, filters))
    most = max(_MOST_WHOLE // max(len(place.others), 1), _LEAST_WHOLE)
    if sum(one.listed_count for one in found) <= most:
        return list_calls(place, filters)
    _choose(found)
    if beside_kills:
        _choose_beside_kills(found)
    return Listing(
        [call for one in found for call in one.calls()],
        names,
        skipped,
        {one.process.path.name: list(one.counted()) for one in found},
        frozenset(task for one in found for task in one.process.digest.retried),
    )


def _list_representative_there(filters: Filters, living: frozenset[str]) -> Listing:
    return list_representative(place_here(living), filters)


def _list_examined(place: Place, filters: Filters) -> Listing:
    return list_representative(place, filters, beside_kills=True)


def _examined_there(filters: Filters, living: frozenset[str]) -> Listing:
    return _list_examined(place_here(living), filters)


class _Summed:
    """What a process recorded: sums by function, with the calls of each that are kept whole."""

    def __init__(self, process: RecordedProcess, filters: Filters) -> None:
        self.process = process
        self._filters = filters
        digest = process.digest
        digest.settle()
        sums = (digest.sums or {}).values()
        self.sums = [one for one in sums if filters.status is None or filters.status in one.statuses]
        self.chosen: dict[int, Ended] = {}
        """By number, the ended calls that are listed."""

    @property
    def listed_count(self) -> int:
        """How many calls the journal tells of one by one."""
        digest = self.process.digest
        return len(digest.begins) + sum(one.count - one.only_sums for one in self.sums)

    def choose(self, calls: Iterable[Ended]) -> None:
        for call in calls:
            self.chosen.setdefault(call[0].call, call)

    def calls(self) -> list[Call]:
        """Return the calls that are listed, in the order in which they began."""
        digest = self.process.digest
        whole = [
            (begin, digest.ends.get(number), digest.children.get(number)) for number, begin in digest.begins.items()
        ]
        every = sorted([*whole, *self.chosen.values()], key=lambda call: call[0].call)
        found = (self.process.call(*one) for one in every)
        return [call for call in found if self._filters.fit(call)]

    def counted(self) -> list[CompactedCalls]:
        """Return the others."""
        chosen: dict[int, list[Ended]] = {}
        for call in self.chosen.values():
            chosen.setdefault(id(self.process.digest.sum_of(call[0], call[1].status)), []).append(call)
        rests = (self._without(one, chosen.get(id(one), ())) for one in self.sums)
        found = [one for one in rests if one is not None]
        return [*found, *self.process.compacted(self._filters)]

    def _without(self, found: FunctionSum, chosen: Iterable[Ended]) -> CompactedCalls | None:
        rest = copy.deepcopy(Sum(*(getattr(found, name) for name in Sum.__struct_fields__)))
        held = {name: [one.count, one.kept] for name, one in found.captures.items() if self.process.capture(name)}
        for begin, end, family in chosen:
            _take(rest.statuses, end.status)
            _take(rest.peaks, bucket_of(peak_of(begin, end, family, 0)[1]))
            rest.kept -= end.memory - begin.memory
            rest.traced -= begin.slot is not None
            if begin.capture in held:
                held[begin.capture][0] -= 1
                held[begin.capture][1] -= end.memory - begin.memory
        if not rest.count and found.kind != "method":
            return None
        count, kept = (sum(column) for column in zip((0, 0), *held.values(), strict=True))
        rose = found.rose if found.kind == "method" and not found.only_sums else None
        return replace(self.process.counted(rest, found.only_sums), held=count, held_kept=kept, rose=rose)


def _take(counts: dict[Any, int], key: Any) -> None:
    if counts.get(key, 0) > 1:
        counts[key] -= 1
    else:
        counts.pop(key, None)


def _choose(found: list[_Summed]) -> None:
    """Choose which calls are listed: of an actor's process its own, of other functions those of the whole node."""
    best: dict[tuple[str | None, ...], tuple[int | float, _Summed, Ended]] = {}
    for one in found:
        lives: dict[str | None, list[FunctionSum]] = {}
        for counted in one.sums:
            if counted.kind in ("actor", "method"):
                lives.setdefault(counted.actor_id, []).append(counted)
            for reason, size, call in _reasons(counted, one.process) if counted.kind not in ("actor", "method") else ():
                key = counted.name, counted.kind, counted.job_id, call[1].status, reason
                if key not in best or size > best[key][0]:
                    best[key] = size, one, call
            if counted.keeping is not None and _kept(counted.keeping) >= _LEVEL:  # its worker may be idle
                one.choose([counted.keeping])
        for life in lives.values():
            calls = [call for counted in life for call in counted.whole()]
            floors = [call for counted in life for call in counted.floors]
            sizes = [call[1].memory for call in (*calls, *floors)]
            one.choose(calls)
            if sizes and max(sizes) - min(sizes) >= _LEVEL:
                one.choose(floors)
    peaks: dict[str, int | float] = {}
    for which, (size, _, _) in best.items():
        if which[-1] == "peak":
            peaks[str(which[0])] = max(peaks.get(str(which[0]), 0), size)
    named = set(heapq.nlargest(_MOST_NAMES, peaks, key=lambda name: peaks[name]))
    for which, (_, one, call) in best.items():
        if which[0] in named:
            one.choose([call])


def _choose_beside_kills(found: list[_Summed]) -> None:
    """Choose the tasks that ran when one of their function began that was killed: how many ran at once."""
    moments: dict[str, list[float]] = {}
    for one in found:
        for call in one.process.calls():
            if call.kind == "task" and call.status == "killed":
                moments.setdefault(call.name, []).append(call.started_at.timestamp())
    latest = {name: sorted(times)[-_MOST_KILLS:] for name, times in moments.items()}
    for one in found:
        if any(counted.name in latest for counted in one.sums):
            with contextlib.suppress(OSError):  # it was removed meanwhile
                one.choose(_at(one.process, latest))


def _at(process: RecordedProcess, moments: dict[str, list[float]]) -> Iterator[Ended]:
    """Yield the tasks of some names that ended, and ran at some moments."""
    begins: dict[int, Begin] = {}
    families: dict[int, Children] = {}
    for line in contract.read_lines(process.path, stop=process.digest.end):
        if isinstance(line, Begin):
            if line.name in moments and line.kind == "task":
                begins[line.call] = line
        elif isinstance(line, Children):
            for number in line.calls:
                if number in begins and line.total >= families.get(number, line).total:
                    families[number] = line
        elif isinstance(line, End) and line.call in begins and line.call not in process.digest.begins:
            begin, family = begins.pop(line.call), families.pop(line.call, None)
            times = moments[begin.name]
            if bisect.bisect_left(times, begin.time) < bisect.bisect_right(times, begin.time + line.duration):
                yield begin, line, family


def _reasons(found: FunctionSum, process: RecordedProcess) -> Iterator[tuple[str, int | float, Ended]]:
    """Yield calls of a function that may be the ones to list, each with why, and by how much."""
    of_captures = [(name, one) for name, one in found.captures.items() if process.capture(name) is not None]
    traced = max((one for _, one in of_captures), key=lambda one: one.growth, default=None)
    for reason, call, size in (
        ("growth", found.largest, found.growth),
        ("peak", found.highest, found.peak),
        ("kept", found.keeping, _kept(found.keeping)),
        ("copied", found.copying, _copied(found.copying)),
        ("latest", found.latest, found.last),
        ("traced", traced.largest if traced else None, traced.growth if traced else 0),
    ):
        if call is not None:
            yield reason, size, call


def _kept(call: Ended | None) -> int:
    return call[1].memory - call[0].memory if call is not None else 0


def _copied(call: Ended | None) -> int:
    return (call[2].copied or 0) if call is not None and call[2] is not None else 0
