"""`summary()`: the calls that were recorded, summed up by function and actor class."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import chain
from typing import Any, ClassVar

from ... import cluster
from ...display.progress import progress
from ...display.record import Record
from ...display.refusals import short_traceback
from ...display.text import show_bytes, show_name
from ...errors import CaptureError
from ..catalog import sources
from ..catalog.clickable_rows import Openable, name_of_call
from ..catalog.filters import Filters
from ..catalog.function_sums import FunctionTotals, PlaceTotals, added, totals_of
from ..catalog.listing import ask_nodes, caption_of, caption_of_folders
from ..catalog.places import Place, place_here
from ..catalog.records import RAY_DATA_SAYS, Call, other_deployment
from ..catalog.sources import Source
from .heap import heap
from .lines import WORTH_SHOWING, Line

__all__ = ["FunctionSummary", "Summary", "summary", "summary_of"]

_MOST_LINES = 10
"""Functions of which the line is looked up, the largest first."""
_MOST_CAPTURE = 16 * 2**20
"""Bytes of a capture that is read for that: one that is larger takes seconds."""
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class FunctionSummary(Record):
    """What the calls of a function, or of the actors of a class, used. Sizes are bytes of RSS − SHR of their process.

    Attributes:
        name: the function's name, the actor's class, or a block's label.
        kind: "task" for a function, "actor" for a class (its `__init__` and methods), "block".
        call_count: how many calls there are.
        finished_count: how many of them finished.
        failed_count: how many raised an exception.
        cancelled_count: how many were cancelled.
        killed_count: how many were killed: their process ended before they did.
        running_count: how many are running.
        p50: the peak that half of them do not exceed, within 1 %, child processes included.
        p95: the peak that 95 % of them do not exceed, within 1 %.
        peak_memory: the highest peak.
        growth: the largest `Call.growth` of one of them.
        kept: the memory that all ended calls together left in their processes: memory after minus memory before;
            negative if they freed more than they took.
        traced_count: how many were traced.
        capture_bytes: the size of the capture files that hold these calls, and maybe others.
        first_started_at: when the first of them began, UTC.
        last_started_at: when the last of them began.
        node_ids: the Ray nodes they ran on.
        largest: the call with the largest `growth`. The call with the highest peak may have used little itself. None if
            no single call is known, because its lines were damaged or only sums are left; `growth` is 0 then.
        guilty_line: the line that held most in `largest` at its peak, or when it was killed; None if it was not
            looked up. It is an import only if no other line held 1 MiB: each process imports once, so the first call
            of a worker is often the largest.
        deployment: the Ray Serve application and deployment: `default:Summarizer`. Each has its own row.
        ray_data_peak: the highest memory that Ray Data itself measured in these tasks (`max_uss_bytes`); None if it
            measured none.
    """

    name: str
    kind: str
    call_count: int
    finished_count: int
    failed_count: int
    cancelled_count: int
    killed_count: int
    running_count: int
    p50: int
    p95: int
    peak_memory: int
    growth: int
    kept: int
    traced_count: int
    capture_bytes: int
    first_started_at: datetime
    last_started_at: datetime
    node_ids: tuple[str, ...]
    largest: Call | None
    guilty_line: Line | None = None
    deployment: str | None = None
    ray_data_peak: int | None = None


class Summary(Openable[FunctionSummary]):
    """A sequence of `FunctionSummary`, the highest peak first."""

    _title: ClassVar[tuple[str, str]] = ("function or actor class", "functions and actor classes")
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("name", lambda one: show_name(one.name), False),
        ("kind", lambda one: one.kind, False),
        ("calls", lambda one: f"{one.call_count:,}", True),
        ("running", lambda one: _count(one.running_count), True),
        ("failed", lambda one: _count(one.failed_count), True),
        ("cancelled", lambda one: _count(one.cancelled_count), True),
        ("killed", lambda one: _count(one.killed_count), True),
        ("peak", lambda one: show_bytes(one.peak_memory), True),
        ("Ray Data says", lambda one: show_bytes(one.ray_data_peak), True),
        ("growth", lambda one: show_bytes(one.growth), True),
        ("line of the largest", lambda one: _place(one.guilty_line), False),
        ("p50", lambda one: show_bytes(one.p50), True),
        ("p95", lambda one: show_bytes(one.p95), True),
        ("kept", lambda one: show_bytes(one.kept), True),
        ("captures", lambda one: show_bytes(one.capture_bytes or None), True),
        ("first", lambda one: f"{one.first_started_at:%m-%d %H:%M}", False),
        ("last", lambda one: f"{one.last_started_at:%m-%d %H:%M}", False),
        ("nodes", lambda one: _count(len(one.node_ids)), True),
        ("deployment", lambda one: other_deployment(one.deployment, one.name), False),
    )
    _if_various: ClassVar[tuple[str, ...]] = ("kind", "nodes")
    _expendable: ClassVar[tuple[str, ...]] = ("first", "last", "captures", "p50", "kept", "kind", "nodes", "deployment")

    def _notes(self) -> list[str]:
        is_noted = any(one.ray_data_peak is not None for one in self._shown())
        return [*([RAY_DATA_SAYS] if is_noted else []), *super()._notes()]

    def _opens(self, row: FunctionSummary) -> str:
        return name_of_call(row.largest)


@short_traceback
def summary(
    source: Source = None,
    *,
    name: str | None = None,
    kind: str | None = None,
    job_id: str | None = None,
    node_id: str | None = None,
    lines: bool = True,
) -> Summary:
    """Sum up the recorded calls by function and actor class: how many there are, how they ended, what they used.

    It works for a million calls: each node sums up its own calls and sends the sums. The sums of a journal of more than
    1 MB are kept in your cache directory, so that the next summary reads only what is new.

    Args:
        source: what to read, as in `calls`.
        name: only calls of this name, as in `calls`, or of a class of this name.
        kind: only "task", "actor" (with the methods), "method" or "block".
        job_id: only this Ray job's.
        node_id: only this Ray node's. For all ids, the beginning is enough.
        lines: for each of the first ten functions, look up the line that held most in the largest call, if this call
            was traced and its capture has no more than 16 MiB.

    Returns:
        A sequence of `FunctionSummary`, the highest peak first, which prints as a table and has `to_pandas()`.

    Raises:
        FileNotFoundError: `source` does not exist.
        PermissionError: its path contains a folder or a link that another user may have made.
        ValueError: `kind` is not one of these values; or you name no source, and several of your clusters run here.

    Example:
        >>> import raymemprof
        >>> for size in (1_000_000, 50_000_000):
        ...     with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example-2"):
        ...         data = bytearray(size)
        >>> load = raymemprof.summary("/tmp/raymemprof-example-2", name="load")[0]
        >>> load.call_count >= 2, load.peak_memory >= load.p50
        (True, True)
    """
    return summary_of([(source, Filters(name=name, kind=kind, job_id=job_id, node_id=node_id))], lines)


def summary_of(asked: Iterable[tuple[Source, Filters]], lines: bool = True) -> Summary:
    """Sum up what several sources have, of each what fits its filters."""
    parts: list[PlaceTotals] = []
    missing: list[cluster.MissingNode] = []
    captions: list[str] = []
    chosen, sought = "", Filters()
    for source, filters in asked:
        sought = filters
        if source is None and cluster.is_connected():
            answers = ask_nodes(_totals_there, filters)
            parts += answers.by_node.values()
            missing += answers.missing
            captions.append(caption_of(answers))
        else:
            folders, chosen = sources.find(source)
            parts.append(totals_of(Place(source, tuple(folders)), filters))
            captions += [] if chosen else [caption_of_folders(folders)]
    found, caption = added(parts), " and ".join(captions)
    if not found.functions:
        caption = ": ".join(filter(None, [caption, sought.sought(found.names)]))
    ordered = sorted(found.functions.values(), key=lambda one: (-one.sum.peak, one.sum.name))
    rows = [_row(one) for one in ordered]
    if lines:
        wanted = {
            number: row.largest
            for number, row in enumerate(rows[:_MOST_LINES])
            if row.largest is not None and row.largest.capture is not None
        }
        small = {number: call for number, call in wanted.items() if ordered[number].largest_bytes <= _MOST_CAPTURE}
        for number, line in zip(small, _lines(list(small.values())), strict=True):
            rows[number] = replace(rows[number], guilty_line=line)
        large = [rows[number].name for number in wanted if number not in small]
        if large:
            note = f"no line is shown of {', '.join(large)}: the capture takes long to read"
            caption = "\n".join(filter(None, [caption, f"{note}. heap(row.largest) reads it"]))
    return Summary(rows, caption, missing, found.skipped, chosen)


def _totals_there(filters: Filters, living: frozenset[str]) -> PlaceTotals:
    return totals_of(place_here(living), filters)


def _row(one: FunctionTotals) -> FunctionSummary:
    found, count = one.sum, Counter(one.sum.statuses)
    return FunctionSummary(
        name=found.name,
        kind=found.kind,
        call_count=found.count,
        finished_count=count["finished"],
        failed_count=count["failed"],
        cancelled_count=count["cancelled"],
        killed_count=count["killed"],
        running_count=count["running"],
        p50=one.percentile(0.5),
        p95=one.percentile(0.95),
        peak_memory=found.peak,
        growth=max(one.growth, 0),
        kept=found.kept,
        traced_count=found.traced,
        capture_bytes=sum(one.captures.values()),
        first_started_at=datetime.fromtimestamp(found.first, timezone.utc),
        last_started_at=datetime.fromtimestamp(found.last, timezone.utc),
        node_ids=tuple(sorted(one.node_ids)),
        largest=one.largest,
        deployment=found.deployment,
        ray_data_peak=found.ray_data_peak or None,
    )


def _lines(calls: list[Call]) -> list[Line | None]:
    """Look up the lines that held most."""
    found = []
    with progress("Reading captures", len(calls)) as done, ThreadPoolExecutor(_AT_ONCE) as threads:
        for line in threads.map(_line, calls):
            found.append(line)
            done(1)
    return found


def _line(call: Call) -> Line | None:
    with contextlib.suppress(CaptureError, OSError):  # it is damaged, or gone since
        top = heap(call).top()
        own = (line for line in top if not line.is_import and line.bytes >= WORTH_SHOWING)
        return next(chain(own, top), None)
    return None


def _count(count: int) -> str:
    return f"{count:,}" if count else ""


def _place(line: Line | None) -> str:
    return "" if line is None else f"{line.location.rpartition('/')[2]} {show_bytes(line.bytes)}"
