"""Calls by function and actor class: sums that can be made on each node and added up."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from .digest import BUCKET, Sum, bucket_of
from .filters import Filters
from .places import Place, processes
from .process import RecordedProcess
from .records import Call
from .remembered import read_sums

__all__ = ["Tallied", "Tally", "added", "tally"]

_EARLIEST = datetime.min.replace(tzinfo=timezone.utc)
_LATEST = datetime.max.replace(tzinfo=timezone.utc)


@dataclass(slots=True)
class Tally:
    """What is known of the calls of a function, or of a class's actors."""

    name: str
    kind: str
    statuses: Counter[str] = field(default_factory=Counter)
    peaks: Counter[int] = field(default_factory=Counter)
    """How many calls have their peak in a bucket."""
    growth: int = 0
    kept: int = 0
    traced: int = 0
    captures: dict[Path, int] = field(default_factory=dict)
    """The sizes of those that are still there."""
    first: datetime = _LATEST
    last: datetime = _EARLIEST
    node_ids: set[str] = field(default_factory=set)
    largest: Call | None = None

    def add_sum(self, found: Sum, process: RecordedProcess) -> None:
        """Add the calls of one process that have ended."""
        self.statuses.update(found.statuses)
        self.peaks.update(found.peaks)
        self.growth = max(self.growth, found.growth)
        self.kept += found.kept
        self.traced += found.traced
        for name in found.captures:
            self._add_capture(process.path.parent / name)
        if process.node_id is not None:
            self.node_ids.add(process.node_id)
        self.first = min(self.first, datetime.fromtimestamp(found.first, timezone.utc))
        self.last = max(self.last, datetime.fromtimestamp(found.last, timezone.utc))
        if found.largest is not None and (self.largest is None or found.peak > self.largest.peak_memory):
            self.largest = process.call(*found.largest)

    def add_call(self, call: Call) -> None:
        """Add one call."""
        self.statuses[call.status] += 1
        self.peaks[bucket_of(call.peak_memory)] += 1
        self.growth = max(self.growth, call.growth)
        self.kept += call.memory_after - call.memory_before if call.memory_after is not None else 0
        self.traced += call.place is not None
        if call.capture is not None:
            self._add_capture(call.capture)
        if call.node_id is not None:
            self.node_ids.add(call.node_id)
        self.first, self.last = min(self.first, call.started_at), max(self.last, call.started_at)
        if self.largest is None or call.peak_memory > self.largest.peak_memory:
            self.largest = call

    def add(self, other: Tally) -> None:
        """Add what another node says of the same."""
        self.statuses.update(other.statuses)
        self.peaks.update(other.peaks)
        self.growth = max(self.growth, other.growth)
        self.kept += other.kept
        self.traced += other.traced
        self.captures.update(other.captures)
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.node_ids |= other.node_ids
        if self.largest is None or (other.largest is not None and other.largest.peak_memory > self.largest.peak_memory):
            self.largest = other.largest

    def percentile(self, part: float) -> int:
        """Return the peak that this part of the calls does not exceed, within 1 %. Bytes."""
        most = self.largest.peak_memory if self.largest is not None else 0
        rank = math.ceil(part * self.peaks.total())
        for bucket, count in sorted(self.peaks.items()):
            rank -= count
            if rank <= 0:
                return min(round(BUCKET**bucket), most) if bucket >= 0 else 0
        return most

    def _add_capture(self, path: Path) -> None:
        if path not in self.captures:
            try:
                self.captures[path] = os.lstat(path).st_size
            except OSError:  # it is gone
                return


class Tallied(NamedTuple):
    """What was found in a place."""

    tallies: dict[tuple[str, str], Tally]
    """By kind and name."""
    names: set[str]
    """Of all calls there are, also those that were not asked for."""
    skipped: list[str]
    """A few words on each journal that cannot be read, or not all of it."""


def tally(place: Place, filters: Filters) -> Tallied:
    """Sum up the calls of a place; of filters, name, kind, job and node are heeded."""
    found = Tallied({}, set(), [])
    for process in processes(place, found.skipped, read_sums):
        found.names.update(process.digest.names)
        for one in (process.digest.sums or {}).values():
            if process.is_of(filters.node_id) and filters.fit_sum(one.name, one.kind, one.job_id):
                _of(found, one.name, one.kind).add_sum(one, process)
        for call in process.calls():
            if filters.fit(call):
                _of(found, call.name, call.kind).add_call(call)
        found.skipped.extend(process.damage())
    return found


def added(parts: Iterable[Tallied]) -> Tallied:
    """Add up what several nodes say."""
    whole = Tallied({}, set(), [])
    for part in parts:
        whole.names.update(part.names)
        whole.skipped.extend(part.skipped)
        for (kind, name), one in part.tallies.items():
            whole.tallies.setdefault((kind, name), Tally(name, kind)).add(one)
    return whole


def _of(found: Tallied, name: str, kind: str) -> Tally:
    if kind in ("actor", "method"):
        kind, name = "actor", name.rpartition(".")[0] or name
    return found.tallies.setdefault((kind, name), Tally(name, kind))
