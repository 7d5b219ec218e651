"""What a journal has said so far: its calls one by one, or of those that have ended the sums by function."""

from __future__ import annotations

import os

from msgspec import Struct, field

from ... import journal as contract
from ...journal import (
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
    add_call,
    add_sum,
    was_told_to_end,
)
from .filters import EVERY_CALL, Filters

__all__ = ["KEPT", "Digest", "FunctionSum"]

_LATE = 16
"""Calls that ended last, which are not summed up yet: the sampler may still say what their children had."""


class FunctionSum(contract.Sum, tag="function"):
    """What is known of the calls of one name, kind and deployment in one job, of one process."""

    captures: set[str] = field(default_factory=set)
    growth: int = -1
    largest: tuple[Begin, End, Children | None] | None = None
    """The call that grew most."""

    def add(self, begin: Begin, end: End, family: Children | None) -> None:
        """Count a call that has ended."""
        growth = add_call(self, begin, end, family)
        if begin.capture is not None:
            self.captures.add(begin.capture)
        if growth > self.growth:
            self.growth, self.largest = growth, (begin, end, family)


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
    """Sums of the calls that have ended, by name, kind, job and deployment; None if each call is kept by itself."""
    compacted: list[Sum] = field(default_factory=list)
    """Then those of calls that are not in the journal one by one any more."""
    late: list[int] = field(default_factory=list)
    """The numbers of those that ended last, and are not summed up yet."""
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
        self.left_out += lines.left_out
        self.end = lines.end

    def _end(self, line: End, status: str | None) -> None:
        if line.call not in self.begins or status in (None, line.status) or was_told_to_end(line):
            self.ends[line.call] = line
        else:
            del self.begins[line.call]

    def _sum_up(self, end: End) -> None:
        """Count a call as ended, and sum up the one that did so a while ago."""
        self.ends[end.call] = end
        if end.call not in self.begins or was_told_to_end(end):  # who told it to is in Ray's logs
            return
        self.late.append(end.call)
        if len(self.late) <= _LATE:
            return
        number = self.late.pop(0)
        begin, ended = self.begins.pop(number, None), self.ends.pop(number, None)
        if self.sums is None or begin is None or ended is None:
            return
        self.peaks.pop(number, None)
        self._sum_of(begin).add(begin, ended, self.children.pop(number, None))

    def _sum_of(self, one: Begin | Sum) -> FunctionSum:
        assert self.sums is not None
        key = f"{one.kind} {one.job_id} {one.deployment} {one.name}"
        found = self.sums.get(key)
        if found is None:
            found = self.sums[key] = FunctionSum(one.name, one.kind, one.job_id, deployment=one.deployment)
        return found

    def _add(self, line: Sum, filters: Filters) -> None:
        """Count calls whose own lines are gone."""
        self.names.add(line.name)
        if self.sums is not None:
            add_sum(self._sum_of(line), line)
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


KEPT = (Digest, FunctionSum, contract.Sum, Begin, Children, End, Fetched, Open, Process)
"""What a digest is made of."""
