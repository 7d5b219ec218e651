"""What a journal has said so far: its calls one by one, or of those that have ended the sums by function."""

from __future__ import annotations

import os
from collections import Counter
from itertools import groupby, repeat

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
    end: int = 0

    def read(self, lines: Lines, filters: Filters = EVERY_CALL) -> None:
        """Take in what a journal says; of calls, the lines are those that may fit."""
        for many in lines.many():
            # Sums are of calls that ended before those of the lines that follow.
            for some in [many] if Sum not in set(map(type, many)) else [[line] for line in many]:
                self._take_in(some, filters)
        self.names |= lines.other_names
        self.left_out += lines.left_out
        self.end = lines.end

    def _take_in(self, lines: list[Event], filters: Filters) -> None:
        """Take in some lines: a million calls go through here, so it looks at one figure of all at a time."""
        begins = [line for line in lines if type(line) is Begin]
        ends = [line for line in lines if type(line) is End]
        self._count_in_captures(begins)
        self.names.update([line.name for line in begins])
        self.begins.update([(line.call, line) for line in begins])
        if len(begins) + len(ends) < len(lines):
            for line in lines:
                if isinstance(line, Sum):
                    self._add(line, filters)
                elif not isinstance(line, (Begin, End)):
                    self._take(line)
        if self.sums is None:
            for end in ends:
                self._end(end, filters.status)
        else:
            self._have_ended([*[self.ends[line.call] for line in begins if line.call in self.ends], *ends])

    def _count_in_captures(self, begins: list[Begin]) -> None:
        """Count how many calls each capture holds, and leave out those whose capture may not be named so."""
        counts = Counter([line.capture for line in begins if line.capture is not None])
        for capture, count in counts.items():
            if capture in self.call_counts:
                self.call_counts[capture] += count
            elif self._may_name(capture, of_call=True):
                self.call_counts[capture] = count
            else:
                self.left_out += count - 1
                begins[:] = [line for line in begins if line.capture != capture]

    def _end(self, line: End, status: str | None) -> None:
        if line.call not in self.begins or status in (None, line.status) or was_told_to_end(line):
            self.ends[line.call] = line
        else:
            del self.begins[line.call]

    def _have_ended(self, ends: list[End]) -> None:
        """Take in that calls have ended, and sum up those that did so a while ago."""
        self.ends.update([(line.call, line) for line in ends])
        begins, late = self.begins, self.late
        # Who told one to end is in Ray's logs.
        late += [line.call for line in ends if line.call in begins and not was_told_to_end(line)]
        ready, late[:] = late[:-LATE], late[-LATE:]
        self._sum_up(ready)

    def settle(self) -> None:
        """Sum up those that ended last, too: no more is read."""
        self._sum_up(self.late)
        self.late.clear()

    def _sum_up(self, numbers: list[int]) -> None:
        """Sum up calls that have ended, those of a function at once."""
        together: dict[tuple[str | None, ...], list[Ended]] = {}
        begins, ends = map(self.begins.pop, numbers, repeat(None)), map(self.ends.pop, numbers, repeat(None))
        families = map(self.children.pop, numbers, repeat(None))
        for begin, end, family in zip(begins, ends, families, strict=True):
            if begin is None or end is None:  # its end was written twice
                continue
            call = begin, end, family
            key = begin.name, begin.kind, begin.job_id, begin.actor_id, begin.deployment, begin.within, end.status
            if key in together:
                together[key].append(call)
            else:
                together[key] = [call]
            if begin.kind == "method":
                self.sum_of(begin, end.status).rose += end.memory - (end.memory if self.after is None else self.after)
                self.after = end.memory
        for number in numbers if self.peaks else ():
            self.peaks.pop(number, None)
        for calls in together.values():
            begin, end, _ = calls[0]
            self.sum_of(begin, end.status).add(calls)
            if end.status == "finished" and begin.kind in ("task", "method") and not begin.within:
                retried = [begin.task_id for begin, _, _ in calls if begin.attempt and begin.task_id]
                self.retried.update(retried[: max(_MOST_RETRIED - len(self.retried), 0)])

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
            found = self.sum_of(line, " ".join(sorted(line.statuses)))
            add_sum(found, line)
            found.only_sums += line.count
        elif filters.may_fit_sum(line):
            self.compacted.append(line)

    def _take(self, line: Event) -> None:
        if isinstance(line, Peak):
            for number in line.calls:
                if number in self.begins:
                    self.peaks[number] = max(self.peaks.get(number, 0), line.memory)
        elif isinstance(line, Children):
            for number in line.calls:
                if number in self.begins and line.total >= self.children.get(number, line).total:
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
