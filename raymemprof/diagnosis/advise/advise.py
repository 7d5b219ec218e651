"""`advise()`: from measured peaks to `memory=` and `num_cpus=`, and how many calls fit a node below its kill threshold.

What a call needs is what its worker process uses in the end, RSS − SHR with the interpreter, the libraries and what
earlier calls left behind (60 to 100 MB before it does anything): that is what the node has to have, and what Ray's
memory monitor counts.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, ClassVar

from ... import cluster
from ...cluster import MissingNode
from ...display.record import Record
from ...display.refusals import short_traceback
from ...display.rows import Rows
from ...display.text import show_bytes, show_name
from ...journal import BUCKET, OTHER_NAMES
from ...reading.catalog.records import Call, CompactedCalls, compacted_of
from ...reading.catalog.representative_calls import representative
from ...reading.catalog.sources import Source
from ..usage.records import Usage
from ..usage.usage import usage
from ..watch.peaks import SeenPeak, seen_peaks
from .capacity import GRAIN, Capacity, at_once, capacities, fitting, held_already, memory_for, num_cpus_for
from .groups import Group, groups_of
from .remarks import remarks
from .unrecorded import about_seen, not_recorded, running_of
from .warnings import MOST_NODES, about_nodes, about_peaks

__all__ = [
    "MARGIN",
    "Recommendation",
    "Recommendations",
    "advise",
    "advise_all",
    "advise_killed",
    "advise_not_recorded",
    "advise_of",
    "merged",
]

MARGIN = 1.25
"""`needs` is the 95th percentile times this, as Ray's guide to memory in Ray Data has it. It covers three things that
peaks do not show: a killed process has noted its peak in steps of a tenth, a peak that is not the process's highest can
lie between two samples, and a worker that runs many calls grows by what its allocator cannot give back. The same as in
`explain()`."""


@dataclass(frozen=True, slots=True)
class Recommendation(Record):
    """What calls of one function, or the actors of one class, need. Sizes are bytes of RSS − SHR of their process.

    Attributes:
        name: the function's name, the actor's class, or the label of a block outside any recorded call.
        kind: "task" for a function, "actor" for a class, "block".
        call_count: how many calls were recorded.
        peak_count: the number of peaks behind the figures: one for each call, or, for an actor, one for each process.
        p50: the median peak.
        p95: the peak that 95 % of them do not exceed.
        max: the largest.
        needs: the memory that one call or actor is assumed to need: p95 plus a quarter, or what a killed call had plus
            a quarter if that is more.
        memory: the `memory=` to request: `needs`, or more if Ray would otherwise run more at once than fit.
        num_cpus: the `num_cpus=` with the same effect on the node with the least memory per CPU, so that no node runs
            more at once than fit.
        fits: by node id, how many fit on the node below its kill threshold, beside everything else that uses its memory
            now.
        admits: by node id, how many its CPUs admit at one CPU each, Ray's default for tasks; None for any number, as
            for actors, which by default hold no CPU while they live.
        warnings: what to know before relying on the figures, in sentences.
        basis: "recorded" if the peaks come from recorded calls. "seen" if they were measured from the outside, by
            `watch()` or by Ray when it killed the process; `call_count` is 0 then, with one peak for each process.
        ray_data_peak: the highest memory that Ray Data itself measured in these tasks (`max_uss_bytes`); None if it
            measured none.
    """

    name: str
    kind: str
    call_count: int
    peak_count: int
    p50: int
    p95: int
    max: int
    needs: int
    memory: int
    num_cpus: float
    fits: Mapping[str, int]
    admits: Mapping[str, int | None]
    warnings: tuple[str, ...]
    basis: str = "recorded"
    ray_data_peak: int | None = None


class Recommendations(Rows[Recommendation]):
    """A sequence of `Recommendation`, the largest need first."""

    _title: ClassVar[tuple[str, str]] = ("function or actor class", "functions and actor classes")
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("name", lambda one: show_name(one.name), False),
        ("kind", lambda one: one.kind, False),
        ("peaks are", lambda one: one.basis, False),
        ("calls", lambda one: str(one.call_count) if one.call_count else "", True),
        ("peaks", lambda one: str(one.peak_count) if one.peak_count != one.call_count else "", True),
        ("p50", lambda one: show_bytes(one.p50), True),
        ("p95", lambda one: show_bytes(one.p95), True),
        ("max", lambda one: show_bytes(one.max), True),
        ("Ray Data says", lambda one: show_bytes(one.ray_data_peak), True),
        ("memory=", lambda one: f"{one.memory:_}", True),
        ("num_cpus=", lambda one: f"{one.num_cpus:g}", True),
        ("fit a node", lambda one: _range(one.fits.values()), True),
        ("its CPUs admit", lambda one: _range(one.admits.values()), True),
    )
    _expendable: ClassVar[tuple[str, ...]] = ("max", "p50", "kind", "peaks")
    _if_various: ClassVar[tuple[str, ...]] = ("kind", "peaks are")

    def _notes(self) -> list[str]:
        return [*remarks(self._shown()), *super()._notes()]


def _range(counts: Iterable[int | None]) -> str:
    """Write what holds on all nodes: `7`, or `7–12`."""
    known = sorted({math.inf if count is None else count for count in counts})
    texts = ["any" if count == math.inf else f"{count:g}" for count in known]
    return "–".join([texts[0], *texts[-1:]] if len(texts) > 1 else texts)


@short_traceback
def advise(calls: Iterable[Call] | None = None) -> Recommendations:
    """Say how much memory to ask for, per function and actor class, so that no node is filled above its kill threshold.

    Run it under typical load, because how many calls fit depends on the memory that is left now.

    The size of a call is the peak of its whole process while it ran. The size of an actor is the peak over its
    process's whole life, so overlapping calls share it. A call within another recorded call, such as a
    `with profile_memory(…)` block in a task, is part of the outer call. A call that did not finish might have needed
    more. Its peak counts if it is above the median of the calls that finished, and `needs` is never below what a killed
    call had. For an actor that grows from call to call, the figures are what it has used so far. A warning says so, and
    also if a peak comes from what earlier calls left in the worker.

    How many fit on a node is the memory that is left below the kill threshold, divided by `needs`. All memory in use
    there counts, including Ray's own processes and the object store. Only idle workers and the workers of these calls
    do not count, because the calls can use their memory.

    Ray compares `memory=` with the `memory` that `ray.nodes()` shows. This figure ignores the kill threshold, and what
    drivers, Ray and other programs use. If Ray would therefore run more at once than fit, `memory` is raised until it
    does not, and a warning says so. What other tasks and actors hold now does not raise it, because they come and go.
    If too little is left beside them now, another warning says so. `num_cpus` does not depend on Ray's figure.

    If `watch()` saw tasks or actors that have no recorded call, their figures come from its measurements, once a
    second, with the same margin. Their `basis` is "seen", and a warning says so.

    Args:
        calls: calls, such as those that `raymemprof.calls()` returns; None for all recorded calls, and for what
            `watch()` saw. If there are more than 10,000, most are summed up, and percentiles are within 1 %.

    Returns:
        A sequence of `Recommendation`, the largest need first, which prints as a table and has `to_pandas()`.
        If this process is connected to a cluster, `fits` has the cluster's nodes, by node id, and `missing` those that
        did not answer. Otherwise, it has this machine, by host name, with the threshold that RAY_memory_usage_threshold
        sets here.

    Raises:
        TypeError: `calls` is not made of calls.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> (load,) = raymemprof.advise(raymemprof.calls("/tmp/raymemprof-example", name="load"))
        >>> load.memory > load.p95
        True
    """
    if calls is None:
        return advise_all()
    if isinstance(calls, (str, bytes, os.PathLike)):
        raise TypeError(f"advise takes calls, not a source: raymemprof.advise(raymemprof.calls({calls!r})).")
    recorded = list(calls)
    for call in recorded:
        if not isinstance(call, Call):
            raise TypeError(f"advise takes calls as raymemprof.calls() returns them, not {call!r}.")
    now = usage() if cluster.is_connected() else None
    chosen = getattr(calls, "chosen", "")
    missing, left_out = getattr(calls, "missing", ()), getattr(calls, "left_out", ())
    return advise_of(recorded, now, missing, left_out, chosen, compacted_of(calls))


def advise_all(source: Source = None, **filters: str | None) -> Recommendations:
    """Return the same for all calls of a source that fit, and for what was seen there and not recorded.

    What was seen has a name, and nothing else that a filter could ask for.
    """
    recorded = representative(source, **filters)
    now = usage() if cluster.is_connected() else None
    compacted = compacted_of(recorded)
    advised = advise_of(recorded, now, recorded.missing, recorded.left_out, recorded.chosen, compacted)
    if any(value is not None for name, value in filters.items() if name != "name"):
        return advised
    seen = seen_peaks(source, name=filters.get("name"))
    return merged(advised, advise_not_recorded(seen, recorded, now, compacted), seen.missing, seen.left_out)


def advise_of(
    recorded: Iterable[Call],
    now: Usage | None,
    missing: Iterable[MissingNode] = (),
    left_out: Iterable[str] = (),
    chosen: str = "",
    compacted: Iterable[CompactedCalls] = (),
) -> Recommendations:
    """Return the same for what is known already: these calls, and what memory is used for now."""
    recorded, compacted, nodes = list(recorded), list(compacted), capacities(now)
    named = {node.node_id: node for node in (*missing, *(now.missing if now else ()))}
    found = [_recommended(group, nodes) for group in groups_of(recorded, compacted)]
    found.sort(key=lambda one: (-one.p95, one.name))
    unknown = sum(one.count() for one in compacted if one.name == OTHER_NAMES)
    if unknown:
        left_out = [
            *left_out,
            f"what {unknown:,} calls of very many names need is not known: only sums are kept",
        ]
    return Recommendations(found, _caption(nodes), named.values(), left_out, chosen)


def advise_not_recorded(
    seen: Iterable[SeenPeak], recorded: Iterable[Call], now: Usage | None, compacted: Iterable[CompactedCalls] = ()
) -> list[Recommendation]:
    """Return the same for what watchers saw, as far as it was not recorded."""
    nodes = capacities(now)
    found = []
    for group in not_recorded(seen, recorded, compacted):
        advised = _sized(Group(group.name, group.kind), Counter(group.sizes.values()), 0, nodes, running_of(group, now))
        warnings = (*about_seen(group, datetime.now(timezone.utc)), *advised.warnings)
        found.append(replace(advised, warnings=warnings, basis="seen"))
    return found


def merged(
    recorded: Recommendations,
    seen: Iterable[Recommendation],
    missing: Iterable[MissingNode] = (),
    left_out: Iterable[str] = (),
) -> Recommendations:
    """Return both, the largest need first."""
    every = sorted((*recorded, *seen), key=lambda one: (-one.p95, one.name))
    nodes = {node.node_id: node for node in (*missing, *recorded.missing)}
    return Recommendations(every, recorded._caption, nodes.values(), (*recorded.left_out, *left_out), recorded.chosen)


def advise_killed(name: str, kind: str, sizes: Mapping[tuple[str, int], int], now: Usage | None) -> Recommendation:
    """Return the same for what nobody profiled: of processes that were seen, their sizes by node id and pid."""
    theirs = frozenset(sizes)
    advised = _sized(Group(name, kind), Counter(sizes.values()), max(sizes.values()), capacities(now), theirs)
    return replace(advised, basis="seen")


def _recommended(group: Group, nodes: list[Capacity]) -> Recommendation:
    finished, bounds = _peaks(group)
    if finished:
        median = _percentile(finished, 0.5)
        bounds = Counter({peak: count for peak, count in bounds.items() if peak > median})
    killed = max((call.peak_memory for call in group.calls if call.status == "killed"), default=0)
    theirs = frozenset(
        (call.node_id or "", call.pid) for call in group.calls if group.kind == "actor" or call.status == "running"
    )
    return _sized(group, finished + bounds, killed, nodes, theirs)


def _peaks(group: Group) -> tuple[Counter[int], Counter[int]]:
    """Return the peaks that tell what was needed, each so many times, and those that are a lower bound of that."""
    of_sums: Counter[tuple[Any, ...]] = Counter()
    finished: Counter[int] = Counter()
    bounds: Counter[int] = Counter()
    for one in group.compacted:
        if group.kind == "actor":
            who = (*one.process, one.actor_id)
            of_sums[who] = max(of_sums[who], one.peak)
        else:
            peaks = finished if set(one.statuses) == {"finished"} else bounds
            for bucket, count in one.peaks.items():
                peaks[min(round(BUCKET**bucket), one.peak) if bucket >= 0 else 0] += count
    for who, calls in group.processes.items():
        peak = max(max(call.peak_memory for call in calls), of_sums.pop(who, 0))
        (finished if _is_whole(group, calls) else bounds)[peak] += 1
    finished.update(of_sums.values())  # of processes of which only sums are known
    return finished, bounds


def _sized(
    group: Group, peaks: Counter[int], killed: int, nodes: list[Capacity], theirs: frozenset[tuple[str, int]]
) -> Recommendation:
    """Return what follows of the peaks, each so many times, and of the processes that these calls run in now."""
    p50, p95 = _percentile(peaks, 0.5), _percentile(peaks, 0.95)
    needs = max(math.ceil(max(p95, killed) * MARGIN / GRAIN), 1) * GRAIN
    fits = {node.node_id: fitting(node, needs, held_already(theirs, node)) for node in nodes}
    memory = memory_for(needs, nodes, group.kind)
    num_cpus = num_cpus_for([(node.cpus, at_once(node, needs, fits[node.node_id])) for node in nodes])
    return Recommendation(
        name=group.name,
        kind=group.kind,
        call_count=group.call_count,
        peak_count=group.peak_count or peaks.total(),
        p50=p50,
        p95=p95,
        max=max(peaks),
        needs=needs,
        memory=memory,
        num_cpus=num_cpus,
        fits=fits,
        admits={node.node_id: None if group.kind == "actor" and node.cpus else int(node.cpus) for node in nodes},
        warnings=(
            *about_peaks(group, p50, p95),
            *about_nodes(needs, memory, num_cpus, fits, nodes, group.kind),
        ),
        ray_data_peak=group.ray_data_peak,
    )


def _is_whole(group: Group, calls: list[Call]) -> bool:
    """Whether a peak is what was needed, and no lower bound. An actor lives on, and so far it has needed this."""
    if group.kind == "actor":
        return all(call.status != "killed" for call in calls)
    return all(call.status == "finished" for call in calls)


def _percentile(peaks: Counter[int], part: float) -> int:
    """Return the nearest rank: a peak that was measured, or within 1 % of that."""
    rank = max(math.ceil(part * peaks.total()), 1)
    for peak in sorted(peaks):
        rank -= peaks[peak]
        if rank <= 0:
            return peak
    raise ValueError("there is no peak")


def _caption(nodes: list[Capacity]) -> str:
    lines = [
        f"node {node.node_ip}: {show_bytes(node.left)} left of the {show_bytes(node.limit)} above which processes are "
        f"killed, {node.cpus:g} CPUs"
        for node in nodes[:MOST_NODES]
    ]
    if len(nodes) > MOST_NODES:
        lines.append(f"… and {len(nodes) - MOST_NODES} more nodes")
    return "\n".join(lines)
