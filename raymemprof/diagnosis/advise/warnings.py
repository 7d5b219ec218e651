"""What to know before relying on advice, in sentences: of the peaks that it rests on, and of the nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...display.text import show_bytes
from .capacity import Capacity, by_memory
from .groups import Group
from .growth import growths

__all__ = ["MOST_NODES", "about_nodes", "about_peaks"]

_VARIES = 3
"""Times the median from which on the 95th percentile says that one figure does not fit all calls."""
_FEW = 10
"""Peaks below which they are called few. With fewer than 20, the 95th percentile is the largest seen."""
_PLAIN = 150 * 2**20
"""What a worker has in any case, with what it has imported: 40 to 150 MiB."""
_ITS_OWN = 0.5
"""A call that added less than this part of what is beyond that ran in a worker that others had filled."""
MOST_NODES = 3
"""Nodes that are told of one by one."""


def about_peaks(group: Group, p50: int, p95: int) -> Iterator[str]:
    """Say why calls may need more, or less, than the peaks of a group show; p50 and p95 in bytes."""
    processes, seen = list(group.processes.values()), group.peak_count
    what, few = ("process", "processes") if group.kind == "actor" else ("call", "calls")
    if seen == 1:
        yield f"only one {what} was seen: others may need more."
    elif 0 < seen < _FEW:
        yield f"only {seen} {few} were seen: others may need more."
    if p50 and p95 > _VARIES * p50:
        yield (
            f"peaks vary, with the input perhaps: the 95th percentile is {p95 / p50:.1f} times the median. Ask for "
            "what each call needs, with .options(memory=…), or give it pieces of one size."
        )
    killed = sum(any(call.status == "killed" for call in calls) for calls in processes)
    if killed:
        were = f"{killed} of {seen} {few} were" if seen > 1 else f"the {what} was"
        yield f"{were} killed: what they had is a lower bound of what they need."
    grown = (
        max(growths(group.calls, group.compacted), key=lambda growth: growth.size, default=None)
        if group.kind == "actor"
        else None
    )
    if grown is not None:
        yield (
            f"it grows with each call, by {show_bytes(grown.size)} over {grown.call_count:,} calls so far: the figures "
            "are of what it has used until now, and it will need more the longer it lives. `raymemprof doctor` names "
            "what grows."
            if grown.is_sure
            else f"it grew by {show_bytes(grown.size)} over its first {grown.call_count} calls: if it grows on, it "
            "will need more than this."
        )
    fullest = max(group.calls, key=lambda call: call.peak_memory) if group.kind != "actor" and group.calls else None
    if fullest is not None and fullest.growth < _ITS_OWN * (fullest.peak_memory - _PLAIN):
        yield (
            f"its largest peak, {show_bytes(fullest.peak_memory)}, is mostly of what its worker held before: the call "
            f"itself added {show_bytes(fullest.growth)}. `raymemprof calls --sort growth` shows what left the rest."
        )
    running = sum(any(call.status == "running" for call in calls) for calls in processes)
    if running and group.kind != "actor":
        yield f"{running} of {seen} {few} still run: their peaks may rise."


def about_nodes(
    needs: int, memory: int, num_cpus: float, fits: Mapping[str, int], nodes: list[Capacity], kind: str
) -> Iterator[str]:
    """Say where advice does not hold: nodes that not one fits, or that Ray takes to have another size than they do."""
    size = show_bytes(needs)
    for_calls = [node for node in nodes if node.cpus >= 1] or nodes
    crowded = [node for node in for_calls if fits[node.node_id] == 0]
    if nodes and len(crowded) == len(for_calls):
        most = max(for_calls, key=lambda node: node.left)
        yield (
            f"not a single one fits any node: it takes {size}, and the most that is left below a node's limit is "
            f"{show_bytes(most.left)}, on node {most.node_ip}. Make it need less, or add a larger node."
        )
        return
    for node in crowded[:MOST_NODES]:
        yield (
            f"not a single one fits node {node.node_ip}, where {show_bytes(node.left)} are left below the limit: keep "
            "it off there."
        )
    lacking = [node for node in for_calls if node.resource is not None and node.resource < needs]
    if lacking and len(lacking) == len(for_calls):
        yield (
            f"with memory={memory:_} it would wait for ever, since Ray takes no node to have as much: use num_cpus, or "
            f"start Ray with --memory={max(fits.values()) * needs}."
        )
    raised = [node for node in for_calls if memory > needs and 0 < node.alone // needs < by_memory(node, needs, kind)]
    for node in raised[:MOST_NODES]:
        room = node.alone // needs
        yield (
            f"memory= is more than it uses, {size}: with less Ray would run {by_memory(node, needs, kind)} at once on "
            f"node {node.node_ip}, where {room} fit, since it takes the node to have {show_bytes(node.resource)}; `ray "
            f"start --memory={room * needs}` there would let you ask for {needs:_}."
        )
    shut = [node for node in for_calls if node.resource is not None and needs <= node.resource < memory]
    for node in shut[:MOST_NODES]:
        yield (
            f"with memory={memory:_} none would run on node {node.node_ip}, which Ray takes to have "
            f"{show_bytes(node.resource)}: use num_cpus={num_cpus:g} to have it run there too."
        )
    deceived = [node for node in for_calls if fits[node.node_id] < by_memory(node, memory, kind)]
    for node in deceived[:MOST_NODES]:
        fitting = fits[node.node_id]
        if fitting:
            yield (
                f"memory= alone would let {by_memory(node, memory, kind)} run on node {node.node_ip}, where {fitting} "
                f"fit beside what runs there now: Ray takes it to have {show_bytes(node.resource)}, and "
                f"{show_bytes(node.left)} are left below the limit. Use num_cpus={num_cpus:g} as long as that runs."
            )
