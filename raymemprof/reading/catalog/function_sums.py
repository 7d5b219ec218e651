"""Calls by function and actor class: sums that can be made on each node and added up."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...journal import BUCKET, OTHER_NAMES, Sum, bucket_of
from ..captures.forked_children import captures_of_forks
from .digest import FunctionSum
from .filters import Filters
from .places import Place, only_capture, processes, read_digest
from .process import RecordedProcess
from .records import Call
from .sums_cache import read_sums

__all__ = ["Tallied", "Tally", "added", "tally"]

_EARLIEST = datetime.min.replace(tzinfo=timezone.utc)
_LATEST = datetime.max.replace(tzinfo=timezone.utc)


@dataclass(slots=True)
class Tally:
    """What is known of the calls of a function, or of a class's actors."""

    name: str
    kind: str
    deployment: str | None = None
    statuses: Counter[str] = field(default_factory=Counter)
    peaks: Counter[int] = field(default_factory=Counter)
    """How many calls have their peak in a bucket."""
    peak: int = 0
    ray_data_peak: int = 0
    """The highest that Ray Data noted by itself."""
    growth: int = -1
    kept: int = 0
    traced: int = 0
    captures: dict[Path, int] = field(default_factory=dict)
    """The sizes of those that are still there."""
    first: datetime = _LATEST
    last: datetime = _EARLIEST
    node_ids: set[str] = field(default_factory=set)
    largest: Call | None = None
    """The call that grew most."""
    largest_bytes: int = 0
    """The size of its capture, with those of forked children."""

    def add_function(self, found: FunctionSum, process: RecordedProcess) -> None:
        """Add the calls of one process that have ended."""
        self.add_sum(found, process)
        for name in found.captures:
            self._add_capture(process.capture(name))
        if found.largest is not None and found.growth > self.growth:
            self.growth, self.largest = found.growth, process.call(*found.largest)

    def add_sum(self, found: Sum, process: RecordedProcess) -> None:
        """Add calls of one process that are not known one by one."""
        self.statuses.update(found.statuses)
        self.peaks.update(found.peaks)
        self.peak = max(self.peak, found.peak)
        self.ray_data_peak = max(self.ray_data_peak, found.ray_data_peak)
        self.kept += found.kept
        self.traced += found.traced
        if process.node_id is not None:
            self.node_ids.add(process.node_id)
        self.first = min(self.first, datetime.fromtimestamp(found.first, timezone.utc))
        self.last = max(self.last, datetime.fromtimestamp(found.last, timezone.utc))

    def add_call(self, call: Call) -> None:
        """Add one call."""
        self.statuses[call.status] += 1
        self.peaks[bucket_of(call.peak_memory)] += 1
        self.peak = max(self.peak, call.peak_memory)
        self.ray_data_peak = max(self.ray_data_peak, call.ray_data_peak or 0)
        self.kept += call.memory_after - call.memory_before if call.memory_after is not None else 0
        self.traced += call.place is not None
        self._add_capture(call.capture)
        if call.node_id is not None:
            self.node_ids.add(call.node_id)
        self.first, self.last = min(self.first, call.started_at), max(self.last, call.started_at)
        if call.growth > self.growth:
            self.growth, self.largest = call.growth, call

    def add(self, other: Tally) -> None:
        """Add what another process or node says of the same."""
        self.statuses.update(other.statuses)
        self.peaks.update(other.peaks)
        self.peak = max(self.peak, other.peak)
        self.ray_data_peak = max(self.ray_data_peak, other.ray_data_peak)
        self.kept += other.kept
        self.traced += other.traced
        self.captures.update(other.captures)
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.node_ids |= other.node_ids
        if other.growth > self.growth:
            self.growth, self.largest, self.largest_bytes = other.growth, other.largest, other.largest_bytes

    def measure_largest(self) -> None:
        """Note how large the capture is that holds the largest call."""
        path = self.largest.capture if self.largest is not None else None
        self.largest_bytes = 0
        for one in (path, *captures_of_forks(path)) if path is not None else ():
            with contextlib.suppress(OSError):
                self.largest_bytes += os.lstat(one).st_size

    def percentile(self, part: float) -> int:
        """Return the peak that this part of the calls does not exceed, within 1 %. Bytes."""
        rank = math.ceil(part * self.peaks.total())
        for bucket, count in sorted(self.peaks.items()):
            rank -= count
            if rank <= 0:
                return min(round(BUCKET**bucket), self.peak) if bucket >= 0 else 0
        return self.peak

    def _add_capture(self, path: Path | None) -> None:
        if path is not None and path not in self.captures:
            with contextlib.suppress(OSError):  # it is gone
                self.captures[path] = os.lstat(path).st_size


Tallies = dict[tuple[str, str, str | None], Tally]
"""By kind, name and deployment."""


@dataclass(slots=True)
class Tallied:
    """What was found in a place."""

    tallies: Tallies = field(default_factory=dict)
    of_others: dict[tuple[Any, ...], Tallies] = field(default_factory=dict)
    """Of processes on nodes that are gone, by process: every node that has their folder tells of them."""
    names: set[str] = field(default_factory=set)
    """Of all calls there are, also those that were not asked for."""
    skipped: list[str] = field(default_factory=list)
    """A few words on each journal that cannot be read, or not all of it."""


def tally(place: Place, filters: Filters) -> Tallied:
    """Sum up the calls of a place; of filters, all but status and task are heeded."""
    found = Tallied()
    only = only_capture(place.source)
    chosen = Filters(since=filters.since, actor_id=filters.actor_id)
    has_sums = only is None and chosen == Filters()
    uncertain = 0
    for process in processes(place, found.skipped, read_sums if has_sums else lambda path: read_digest(path, chosen)):
        digest = process.digest
        found.names.update(digest.names)
        found.skipped.extend(process.damage())
        if not process.is_of(filters.node_id):
            continue
        is_others = place.node_id is not None and process.node_id not in place.others
        who = process.path.name, digest.process.worker_id, digest.process.pid
        tallies = found.of_others.setdefault(who, {}) if is_others else found.tallies
        for one in (digest.sums or {}).values():
            if filters.fit_sum(one.name, one.kind, one.job_id):
                _of(tallies, one.name, one.kind, one.deployment).add_function(one, process)
            elif one.name == OTHER_NAMES:
                uncertain += sum(one.statuses.values())
        for compacted in digest.compacted if only is None else ():  # of a capture that is there all calls are
            if not filters.fit_sum(compacted.name, compacted.kind, compacted.job_id):
                uncertain += compacted.count if compacted.name == OTHER_NAMES else 0
            elif chosen.takes_all(compacted):
                _of(tallies, compacted.name, compacted.kind, compacted.deployment).add_sum(compacted, process)
            else:
                uncertain += compacted.count
        for call in process.calls():
            if only in (None, call.capture) and chosen.fit(call) and filters.fit_sum(call.name, call.kind, call.job_id):
                _of(tallies, call.name, call.kind, call.deployment).add_call(call)
    if uncertain:
        found.skipped.append(
            f"more may be among {uncertain:,} earlier calls that are not counted: the journal has only sums of them, "
            "with others"
        )
    for tallies in (found.tallies, *found.of_others.values()):
        for counted in tallies.values():
            counted.measure_largest()
    return found


def added(parts: Iterable[Tallied]) -> Tallied:
    """Add up what several nodes say."""
    whole = Tallied()
    for part in parts:
        whole.names |= part.names
        whole.skipped.extend(part.skipped)
        _add(whole.tallies, part.tallies)
        whole.of_others |= part.of_others
    for tallies in whole.of_others.values():
        _add(whole.tallies, tallies)
    whole.skipped = list(dict.fromkeys(whole.skipped))
    return whole


def _add(whole: Tallies, part: Tallies) -> None:
    for key, one in part.items():
        whole.setdefault(key, Tally(one.name, one.kind, one.deployment)).add(one)


def _of(tallies: Tallies, name: str, kind: str, deployment: str | None) -> Tally:
    if kind in ("actor", "method"):
        kind, name = "actor", name.rpartition(".")[0] or name
    return tallies.setdefault((kind, name, deployment), Tally(name, kind, deployment))
