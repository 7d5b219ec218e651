"""Calls by function and actor class: sums that can be made on each node and added up."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ...journal import BUCKET, OTHER_NAMES, Sum, add_sum, bucket_of
from ...journal.events import Status
from ..captures.forked_children import captures_of_forks
from .digest import FunctionSum
from .filters import Filters
from .function_names import function_of
from .places import Place, only_capture, processes, read_digest
from .process import RecordedProcess
from .records import Call
from .sums_cache import read_sums

__all__ = ["FunctionTotals", "PlaceTotals", "added", "totals_of"]


@dataclass(slots=True)
class FunctionTotals:
    """What is known of the calls of a function, or of a class's actors."""

    sum: Sum
    """Their name, kind and deployment, how many ended how, and their peaks."""
    growth: int = -1
    captures: dict[Path, int] = field(default_factory=dict)
    """The sizes of those that are still there."""
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
        add_sum(self.sum, found)
        if process.node_id is not None:
            self.node_ids.add(process.node_id)

    def add_call(self, call: Call) -> None:
        """Add one call."""
        began = call.started_at.timestamp()
        add_sum(
            self.sum,
            Sum(
                call.name,
                call.kind,
                first=began,
                last=began,
                statuses={cast(Status, call.status): 1},
                peaks={bucket_of(call.peak_memory): 1},
                peak=call.peak_memory,
                kept=call.memory_after - call.memory_before if call.memory_after is not None else 0,
                traced=int(call.place is not None),
                ray_data_peak=call.ray_data_peak or 0,
            ),
        )
        self._add_capture(call.capture)
        if call.node_id is not None:
            self.node_ids.add(call.node_id)
        if call.growth > self.growth:
            self.growth, self.largest = call.growth, call

    def add(self, other: FunctionTotals) -> None:
        """Add what another process or node says of the same."""
        add_sum(self.sum, other.sum)
        self.captures.update(other.captures)
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
        rank = math.ceil(part * sum(self.sum.peaks.values()))
        for bucket, count in sorted(self.sum.peaks.items()):
            rank -= count
            if rank <= 0:
                return min(round(BUCKET**bucket), self.sum.peak) if bucket >= 0 else 0
        return self.sum.peak

    def _add_capture(self, path: Path | None) -> None:
        if path is not None and path not in self.captures:
            with contextlib.suppress(OSError):  # it is gone
                self.captures[path] = os.lstat(path).st_size


_ByFunction = dict[tuple[str, str, str | None], FunctionTotals]
"""By kind, name and deployment."""


@dataclass(slots=True)
class PlaceTotals:
    """What was found in a place."""

    functions: _ByFunction = field(default_factory=dict)
    of_others: dict[tuple[Any, ...], _ByFunction] = field(default_factory=dict)
    """Of processes on nodes that are gone, by process: every node that has their folder tells of them."""
    names: set[str] = field(default_factory=set)
    """Of all calls there are, also those that were not asked for."""
    skipped: list[str] = field(default_factory=list)
    """A few words on each journal that cannot be read, or not all of it."""


def totals_of(place: Place, filters: Filters) -> PlaceTotals:
    """Sum up the calls of a place; of filters, all but status and task are heeded."""
    found = PlaceTotals()
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
        functions = found.of_others.setdefault(who, {}) if is_others else found.functions
        for one in (digest.sums or {}).values():
            if filters.fit_sum(one.name, one.kind, one.job_id):
                _of(functions, one.name, one.kind, one.deployment).add_function(one, process)
            elif one.name == OTHER_NAMES:
                uncertain += sum(one.statuses.values())
        for compacted in digest.compacted if only is None else ():  # of a capture that is there all calls are
            if not filters.fit_sum(compacted.name, compacted.kind, compacted.job_id):
                uncertain += compacted.count if compacted.name == OTHER_NAMES else 0
            elif chosen.takes_all(compacted):
                _of(functions, compacted.name, compacted.kind, compacted.deployment).add_sum(compacted, process)
            else:
                uncertain += compacted.count
        for call in process.calls():
            if only in (None, call.capture) and chosen.fit(call) and filters.fit_sum(call.name, call.kind, call.job_id):
                _of(functions, call.name, call.kind, call.deployment).add_call(call)
    if uncertain:
        found.skipped.append(
            f"more may be among {uncertain:,} earlier calls that are not counted: the journal has only sums of them, "
            "with others"
        )
    for functions in (found.functions, *found.of_others.values()):
        for counted in functions.values():
            counted.measure_largest()
    return found


def added(parts: Iterable[PlaceTotals]) -> PlaceTotals:
    """Add up what several nodes say."""
    whole = PlaceTotals()
    for part in parts:
        whole.names |= part.names
        whole.skipped.extend(part.skipped)
        _add(whole.functions, part.functions)
        whole.of_others |= part.of_others
    for functions in whole.of_others.values():
        _add(whole.functions, functions)
    whole.skipped = list(dict.fromkeys(whole.skipped))
    return whole


def _add(whole: _ByFunction, part: _ByFunction) -> None:
    for key, one in part.items():
        whole.setdefault(key, _empty(one.sum.name, one.sum.kind, one.sum.deployment)).add(one)


def _of(functions: _ByFunction, name: str, kind: str, deployment: str | None) -> FunctionTotals:
    kind, name = function_of(kind, name)
    return functions.setdefault((kind, name, deployment), _empty(name, kind, deployment))


def _empty(name: str, kind: str, deployment: str | None) -> FunctionTotals:
    return FunctionTotals(Sum(name, kind, deployment=deployment))
