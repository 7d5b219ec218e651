"""What a journal has said so far: its calls one by one, or of those that have ended the sums by function."""

from __future__ import annotations

import os
from itertools import groupby

from msgspec import Struct, field

from ... import journal as contract
from ...journal import (
    LATE,
    Begin,
    Children,
    Close,
    End,
    Event,
    Fetched,
    Lines,
    Open,
    Peak,
    Process,
    Sum,
    add_calls,
    add_sum,
    was_told_to_end,
)
from .filters import EVERY_CALL, Filters

__all__ = ["KEPT", "Digest", "Ended", "FunctionSum", "InCapture"]

_AT_ONCE = 2048
"""Calls that are summed up at once."""


_MOST_FLOORS = 128
"""Calls of a method that are kept to tell whether its process grows."""
_MOST_RETRIED = 10_000

Ended = tuple[Begin, End, Children | None]
"""A call that has ended."""


class InCapture(Struct):
    """The calls of a function that one capture holds."""

    count: int = 0
    kept: int = 0
    growth: int = -1
    largest: Ended | None = None
    """The one that grew most."""

    def add(self, calls: list[Ended], kept: list[int], grown: list[int]) -> None:
        """Count calls: what each left, and by how much it grew, is known."""
        self.count += len(calls)
        self.kept += sum(kept)
        growth = max(grown)
        if growth > self.growth:
            self.growth, self.largest = growth, calls[grown.index(growth)]


class FunctionSum(contract.Sum, tag="function"):
    """What is known of the calls of one process that have one name, kind, job, actor, deployment and outcome.

    Of these calls some are kept whole: those that advice, and a diagnosis, is about.
    """

    captures: dict[str, InCapture] = field(default_factory=dict)
    only_sums: int = 0
    """How many of them are not in the journal one by one any more."""
    growth: int = -1
    largest: Ended | None = None
    """The call that grew most."""
    highest: Ended | None = None
    """The one with the highest peak,"""
    keeping: Ended | None = None
    """that left most in its process,"""
    copying: Ended | None = None
    """whose children copied most,"""
    earliest: Ended | None = None
    latest: Ended | None = None
    """that began first, and last."""
    floors: list[Ended] = field(default_factory=list)
    """Of a method, of each so many calls the one after which its process had least."""
    each: int = 1
    """How many that are, all but the last."""
    added: int = 0
    """How many calls of a method were seen one by one."""
    rose: int = 0
    """By how much its process had more after them than after the method's call that had ended before."""

    def add(self, calls: list[Ended]) -> None:
        """Count calls that have ended. A million calls go through here, so it looks at one figure of all at a time."""
        if self.kind == "method":
            for call in calls:
                self._add_floor(call)
        peak, first, last = self.peak, self.first, self.last
        peaks, grown, kept = add_calls(self, calls)
        self._add_to_captures(calls, kept, grown)
        growth, most = max(grown), max(kept)
        if growth > self.growth:
            self.growth, self.largest = growth, calls[grown.index(growth)]
        if self.peak > peak:
            self.highest = calls[peaks.index(self.peak)]
        if self.keeping is None or most > self.keeping[1].memory - self.keeping[0].memory:
            self.keeping = calls[kept.index(most)]
        for call in calls:
            family = call[2]
            if family is not None and (family.copied or 0) > ((self.copying and self.copying[2].copied) or 0):  # type: ignore[union-attr]
                self.copying = call
        if self.first < first:
            self.earliest = next(call for call in calls if call[0].time == self.first)
        if self.last > last:
            self.latest = next(call for call in calls if call[0].time == self.last)

    def _add_to_captures(self, calls: list[Ended], kept: list[int], grown: list[int]) -> None:
        start = 0
        for name, run in groupby([begin.capture for begin, _, _ in calls]):
            end = start + len(list(run))
            if name is not None:
                found = self.captures.get(name) or self.captures.setdefault(name, InCapture())
                found.add(calls[start:end], kept[start:end], grown[start:end])
            start = end

    def whole(self) -> list[Ended]:
        """Return the calls that are kept whole, without the floors, each once."""
        of_captures = (one.largest for one in self.captures.values())
        found = (self.largest, self.highest, self.keeping, self.copying, self.earliest, self.latest, *of_captures)
        return list({call[0].call: call for call in found if call is not None}.values())

    def _add_floor(self, call: Ended) -> None:
        """Keep it where it is the least of so many; where there are too many floors, each is of twice as many."""
        floors, number = self.floors, self.added
        self.added += 1
        if number // self.each < len(floors):
            if call[1].memory < floors[-1][1].memory:
                floors[-1] = call
            return
        if len(floors) == _MOST_FLOORS:
            self.each *= 2
            pairs = zip(floors[::2], floors[1::2], strict=True)
            floors[:] = [min(pair, key=lambda one: one[1].memory) for pair in pairs]
        floors.append(call)


class Digest(Struct):
    """What a journal has said so far, and where what it says next begins."""

    process: Process = field(default_factory=Process)
    is_known: bool = False
    """Whether it says which process it was."""
    begins: dict[int, Begin] = field(default_factory=dict)
    ends: dict[int, End] = field(default_factory=dict)
    peaks: dict[int, int] = field(default_factory=dict)
    children: dict[int, Children] = field(default_factory=dict)
    opens: dict[str, Open] = field(default_factory=dict)
    closes: dict[str, float] = field(default_factory=dict)
    call_counts: dict[str, int] = field(default_factory=dict)
    fetched: Fetched | None = None
    names: set[str] = field(default_factory=set)
    """Those of all calls, also of those that were not asked for."""
    left_out: int = 0
    """How many lines were damaged."""
    sums: dict[str, FunctionSum] | None = None
    """Sums of the calls that have ended, by what they are told apart by; None if each call is kept by itself."""
    retried: set[str] = field(default_factory=set)
    """The tasks of calls in these that finished in a later attempt."""
    compacted: list[Sum] = field(default_factory=list)
    """Then those of calls that are not in the journal one by one any more."""
    after: int | None = None
    """What the process had when the latest call of a method in these ended."""
    late: list[int] = field(default_factory=list)
    """The numbers of those that ended last, and are not summed up yet."""
    ready: list[Ended] = field(default_factory=list)
    """The calls that are summed up next, many at a time; none between two readings."""
    end: int = 0
    unwanted: set[int] = field(default_factory=set)
    """The numbers of calls that run and were not asked for."""

    def read(self, lines: Lines, filters: Filters = EVERY_CALL) -> None:
        """Take in what a journal says; of calls only those that may fit."""
        may_fit = None if filters == EVERY_CALL else filters.may_fit
        counts, begins, unwanted = self.call_counts, self.begins, self.unwanted
        sum_up, add_name = self._sum_up if self.sums is not None else None, self.names.add
        for line in lines:  # a million calls go through here, so it makes as few function calls as it can
            if isinstance(line, Begin):
                capture = line.capture
                if capture is not None:
                    if capture in counts:
                        counts[capture] += 1
                    elif self._may_name(capture, of_call=True):
                        counts[capture] = 1
                    else:
                        continue
                add_name(line.name)
                if may_fit is None or may_fit(line):
                    begins[line.call] = line
                    if sum_up is not None and line.call in self.ends:  # out of order
                        sum_up(self.ends[line.call])
                else:
                    unwanted.add(line.call)
            elif isinstance(line, End):
                if line.call in unwanted:
                    unwanted.remove(line.call)
                elif sum_up is not None:
                    sum_up(line)
                else:
                    self._end(line, filters.status)
            elif isinstance(line, Sum):
                self._add(line, filters)
            else:
                self._take(line)
        self._sum_up_ready()
        self.left_out += lines.left_out
        self.end = lines.end

    def _end(self, line: End, status: str | None) -> None:
        if line.call not in self.begins or status in (None, line.status) or was_told_to_end(line):
            self.ends[line.call] = line
        else:
            del self.begins[line.call]

    def _sum_up(self, end: End) -> None:
        """Count a call as ended, and have the one summed up that did so a while ago."""
        number, late = end.call, self.late
        self.ends[number] = end
        if number not in self.begins or (end.status == "failed" and was_told_to_end(end)):  # by whom is in Ray's logs
            return
        late.append(number)
        if len(late) > LATE:
            self._make_ready(late.pop(0))

    def settle(self) -> None:
        """Sum up those that ended last, too: no more is read."""
        while self.late:
            self._make_ready(self.late.pop(0))
        self._sum_up_ready()

    def _make_ready(self, number: int) -> None:
        begin, end = self.begins.pop(number, None), self.ends.pop(number, None)
        if begin is None or end is None:
            return
        if self.peaks:
            self.peaks.pop(number, None)
        self.ready.append((begin, end, self.children.pop(number, None) if self.children else None))
        if len(self.ready) >= _AT_ONCE:
            self._sum_up_ready()

    def _sum_up_ready(self) -> None:
        """Sum up the calls that are ready, those of a function at once."""
        together: dict[tuple[str | None, ...], list[Ended]] = {}
        for call in self.ready:
            begin, end, _ = call
            key = begin.name, begin.kind, begin.job_id, begin.actor_id, begin.deployment, begin.within, end.status
            calls = together.get(key)
            if calls is None:
                calls = together[key] = []
            calls.append(call)
            if begin.kind == "method":
                found = self.sum_of(begin, end.status)
                found.rose += end.memory - (end.memory if self.after is None else self.after)
                self.after = end.memory
            is_retry = begin.attempt and begin.kind in ("task", "method") and not begin.within
            if is_retry and begin.task_id and end.status == "finished" and len(self.retried) < _MOST_RETRIED:
                self.retried.add(begin.task_id)
        for calls in together.values():
            self.sum_of(calls[0][0], calls[0][1].status).add(calls)
        self.ready.clear()

    def sum_of(self, one: Begin | Sum, outcome: str) -> FunctionSum:
        """Return the sum that a call, or another sum, is counted in."""
        assert self.sums is not None
        key = f"{one.kind} {one.job_id} {one.actor_id} {one.deployment!r} {one.within!r} {outcome} {one.name}"
        found = self.sums.get(key)
        if found is None:
            found = self.sums[key] = FunctionSum(
                one.name, one.kind, one.job_id, one.actor_id, deployment=one.deployment, within=one.within
            )
        return found

    def _add(self, line: Sum, filters: Filters) -> None:
        """Count calls whose own lines are gone."""
        self.names.add(line.name)
        if self.sums is not None and filters == EVERY_CALL:
            self._sum_up_ready()  # which are earlier
            found = self.sum_of(line, " ".join(sorted(line.statuses)))
            add_sum(found, line)
            found.only_sums += line.count
        elif filters.may_fit_sum(line):
            self.compacted.append(line)

    def _take(self, line: Event) -> None:
        if isinstance(line, Peak):
            for number in line.calls:
                if self._is_open(number):
                    self.peaks[number] = max(self.peaks.get(number, 0), line.memory)
        elif isinstance(line, Children):
            for number in line.calls:
                if self._is_open(number) and line.total >= self.children.get(number, line).total:
                    self.children[number] = line
        elif isinstance(line, Open):
            if self._may_name(line.capture):
                self.opens[line.capture] = line
        elif isinstance(line, Close):
            if self._may_name(line.capture):
                self.closes[line.capture] = line.time
        elif isinstance(line, Process) and not self.is_known:  # it has one, which is its first
            self.process, self.is_known = line, True
        elif isinstance(line, Fetched):
            self.fetched = line

    def _is_open(self, number: int) -> bool:
        """Whether what is said of a call is of use."""
        return number in self.begins if self.sums is not None else number not in self.unwanted

    def _may_name(self, capture: str, of_call: bool = False) -> bool:
        """Whether a line may name such a capture: one in its folder, or whole if a call joined one that lies elsewhere.

        Otherwise it was damaged, and is counted.
        """
        folder, _, name = capture.rpartition("/")
        is_name = contract.is_ours(name) and contract.is_capture(name)
        may_be = is_name and (not folder or (of_call and os.path.isabs(folder) and "\0" not in folder))
        self.left_out += not may_be
        return may_be


KEPT = (Digest, FunctionSum, InCapture, contract.Sum, Begin, Children, End, Fetched, Open, Process)
"""What a digest is made of."""
