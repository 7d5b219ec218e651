"""Actors whose memory grows from call to call, and does not fall again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from ....display.text import show_bytes, show_seconds
from ....reading.catalog.records import Call, Calls, compacted_of
from ....reading.reports.heap import Heap
from ....reading.reports.lines import Lines
from ...advise.growth import Growth, about_captures, captures_of, end_of, growths, kept_by, lives, too_few
from ...advise.workloads import workload_of
from ..findings import Finding, Unclear
from ..kill_sentences import about_kills
from ..observed import KillGroup, Observed
from ..sentences import about_lines, flamegraph_command
from ..shared_thresholds import MAINLY, MOST_NAMED
from .retained_memory import freed, retained

__all__ = ["find"]

_EXPLAINED = 0.25
"""Lines are named if they hold at least this part of the growth."""
_SOON = 3600.0
"""A node that is full sooner, in seconds at the pace so far, makes a finding critical."""
_STILL = timedelta(minutes=10)
"""An actor that was not called for so long has stopped growing."""


def find(observed: Observed, groups: list[KillGroup]) -> Iterator[Finding | Unclear]:
    """Yield a finding for each actor class that grows: the memory leaks, or allocators retain it."""
    compacted = compacted_of(observed.calls)
    if observed.calls and not lives(observed.calls):
        yield Unclear("leaking_actor", "no actor was profiled")
    for name, count in sorted(too_few(observed.calls, compacted).items()):
        ended = f"{count} call{'s' * (count != 1)} ended" if count else "no call ended"
        yield Unclear(
            "leaking_actor",
            f"in no actor of {name} more than {ended}, too few to tell"
            if count > 1
            else f"of {name} {ended}, too few to tell",
        )
    growing: dict[str, list[Growth]] = {}
    for growth in growths(observed.calls, compacted):
        growing.setdefault(growth.name, []).append(growth)
    for name, found in growing.items():
        killed = next((group for group in groups if group.is_actor and group.name == name), None)
        largest = max(found, key=lambda growth: growth.size)
        whole = observed.heaps.of(captures_of(observed.life(largest.calls[-1])))
        if whole is not None and (freed(whole, largest.size) or 0) >= MAINLY * largest.size:
            yield from retained(observed, largest.calls[-1], largest.name, whole, largest.size)
        else:
            yield _leaking(observed, largest, found, killed, whole)
            if whole is None or whole.retained_at_end is None:
                grown = show_bytes(largest.size)
                yield Unclear(
                    "retained_memory", f"what allocators kept of the {grown} that {name} grew by is not known"
                )


def _leaking(
    observed: Observed, growth: Growth, alike: list[Growth], killed: KillGroup | None, whole: Heap | None
) -> Finding:
    """Return the finding on an actor that grows, the largest of `alike`: all growing processes of its class."""
    last = growth.calls[-1]
    life = observed.life(last)
    node = observed.node(last.node_id)
    is_alive = node is not None and any(process.pid == last.pid for process in node.processes)
    lines = _what_stays(growth, whole)
    per_call = growth.size / (growth.call_count - 1)
    most_in = f"; most in {growth.method}" if growth.method else ""
    evidence = [
        f"Over {growth.call_count:,} calls it grew from {show_bytes(growth.first)} to {show_bytes(growth.last)}, "
        f"{show_bytes(round(per_call))} a call, and did not fall again{most_in} "
        f"(pid {last.pid} on {observed.where(last.node_id)})."
    ]
    if len(alike) > 1:
        actors = len({one.calls[-1].actor_id for one in alike})
        restarted = f" in {len(alike)} processes, since some were restarted" if len(alike) > actors else ""
        whose = f"{actors} actors of its class grow" if actors > 1 else "It grows"
        evidence.append(f"{whose}{restarted}; these figures are of the one that grew most.")
    evidence += about_lines(observed, lines)
    evidence += [*about_captures(life, growth.compacted), *(whole.left_out if whole is not None else ())]
    left = None
    if node is not None and is_alive and observed.when - end_of(last) < _STILL:
        free = node.left
        seconds = (observed.when - end_of(growth.calls[0])).total_seconds()  # a pause until now counts towards the pace
        left = seconds * free / growth.size
        evidence.append(
            f"After {round(free / per_call):,} more such calls, {show_seconds(left)} at the pace so far, the node is "
            f"above the {show_bytes(node.kill_limit)} at which {node.killer} kills."
        )
    if killed is not None:
        evidence += about_kills(observed, killed)
    steps = []
    if lines:
        steps.append(f"Let go of what {lines[0].location} keeps, or bound it (deque(maxlen=…), an LRU).")
    elif _in_no_capture(growth, life) >= MAINLY * growth.size:
        steps.append(
            f"Find the line: what {growth.name} grew by is in no capture that is there. Record it again with a larger "
            "disk budget (`RAYMEMPROF_MAX_BYTES`, or max_bytes= of @profile_memory), and with heap tracing on."
        )
    else:
        command = f"raymemprof heap --name '{growth.name}.*'{observed.arguments}"
        steps.append(f"No line that was traced holds as much; `{command}` says what else there is.")
    steps.append(f"{flamegraph_command(observed, growth.name, True, ' --view leaks')} shows all that its calls left.")
    titles = [one.name for one in node.processes if one.pid == last.pid] if node is not None else []
    runs = workload_of(growth.name, *titles, is_actor=True)
    if runs.kind == "actor":
        steps.append(f"Until then {runs.restart} on {growth.name}; what it keeps is lost.")
    else:
        steps.append(runs.restart)
    severity = "critical" if killed is not None or (left is not None and left < _SOON) else "warning"
    is_sure = growth.is_sure or (killed is not None and growth.size > (killed.memory or 0) / 2)
    is_past = killed is None and not is_alive and observed.is_past(last.job_id, end_of(last))
    if not is_sure or is_past:
        severity = "info"
    by = f"by {show_bytes(growth.size)} over {growth.call_count:,} calls"
    if not is_sure:
        title = f"{growth.name} may grow with each call: it grew {by}, too few to be sure."
    else:
        title = f"{growth.name} {'grew' if is_past else 'grows'} with each call: {by}."
    return Finding(
        severity=severity,
        illness="leaking_actor",
        title=title,
        name=growth.name,
        node_id=last.node_id,
        evidence=tuple(evidence),
        next_steps=tuple(steps),
        kill_count=len(killed.kills) if killed is not None else 0,
        lines=lines,
        calls=Calls([max(growth.calls, key=lambda call: (call.memory_after or 0) - call.memory_before)]),
    )


def _in_no_capture(growth: Growth, life: list[Call]) -> int:
    """Return by how much an actor grew in calls of which no capture is there."""
    untraced = sum(kept_by(call) for call in life if call.capture is None)
    return untraced + sum(one.kept - one.held_kept for one in growth.compacted)


def _what_stays(growth: Growth, whole: Heap | None) -> Lines:
    """Return the lines that hold what an actor grew by; none if their sizes do not add up with its growth.

    An actor that freed all when it ended is judged by its peak.
    """
    if whole is None:
        return Lines(())
    view = "leaks" if whole.alive_at_end >= MAINLY * growth.size else "peak"
    most = max(call.peak_memory for call in growth.calls)
    lines = [line for line in whole.top(MOST_NAMED, view=view) if line.bytes <= most]
    return Lines(lines if sum(line.bytes for line in lines) >= _EXPLAINED * growth.size else ())
