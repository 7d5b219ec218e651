"""`advise()`: from measured peaks to `memory=` and `num_cpus=`, and how many calls fit a node below its kill threshold.

What a call needs is what its worker process uses in the end, RSS − SHR with the interpreter, the libraries and what
earlier calls left behind (60 to 100 MB before it does anything): that is what the node has to have, and what Ray's
memory monitor counts.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from ... import cluster, host
from ...cluster import MissingNode
from ...display.record import Record
from ...display.rows import Rows
from ...display.text import show_bytes
from ...reading.catalog import listing
from ...reading.catalog.records import Call
from ..usage.usage import NodeUsage, Usage, usage
from .growth import growths

__all__ = ["Recommendation", "Recommendations", "advise", "advise_of", "advise_seen"]

MARGIN = 1.25
"""`needs` is the 95th percentile times this, as Ray's guide to memory in Ray Data has it. It covers three things that
peaks do not show: a killed process has noted its peak in steps of a tenth, a peak that is not the process's highest can
lie between two samples, and a worker that runs many calls grows by what its allocator cannot give back. The same as in
`explain()`."""
_GRAIN = 1_000_000
"""`needs` and `memory` are multiples of this, so that they can be read."""
_VARIES = 3
"""Times the median from which on the 95th percentile says that one figure does not fit all calls."""
_FEW = 10
"""Peaks below which they are called few. With fewer than 20, the 95th percentile is the largest seen."""
_PLAIN = 150 * 2**20
"""What a worker has in any case, with what it has imported: 40 to 150 MiB."""
_ITS_OWN = 0.5
"""A call that added less than this part of what is beyond that ran in a worker that others had filled."""
_SLACK = 0.02
"""Seconds by which a call may end later than its beginning and duration say: the time between is not counted."""
_MOST_NODES = 3
"""Nodes that are told of one by one."""


@dataclass(frozen=True, slots=True)
class Recommendation(Record):
    """What calls of one function, or the actors of one class, need. Sizes are bytes of RSS − SHR of their process.

    Attributes:
        name: the function's name, the actor's class, or the label of a block outside any recorded call.
        kind: "task" for a function, "actor" for a class, "block".
        call_count: how many calls were recorded.
        peak_count: how many peaks the figures are of: one for each call, for an actor one for each process's life.
        p50: the median peak.
        p95: the peak that 95 % of them do not exceed.
        max: the largest.
        needs: what one is taken to use: p95, or what a killed call had if that is more, and a quarter.
        memory: the `memory=` to ask for: `needs`, or more where Ray would otherwise run more at once than fit.
        num_cpus: the `num_cpus=` that has the same effect on the node with the least memory for each CPU: no node then
            runs more at once than fit it.
        fits: by node id, how many fit the node below its kill threshold, beside what else uses its memory now.
        admits: by node id, how many its CPUs admit at one CPU each, Ray's default for tasks; None for any number, as of
            actors, which by default hold no CPU once they live.
        warnings: what to know before relying on the figures, in sentences.
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


class Recommendations(Rows[Recommendation]):
    """A sequence of `Recommendation`, the largest need first."""

    _title: ClassVar[tuple[str, str]] = ("function or actor class", "functions and actor classes")
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("name", lambda one: one.name, False),
        ("kind", lambda one: one.kind, False),
        ("calls", lambda one: str(one.call_count), True),
        ("peaks", lambda one: str(one.peak_count) if one.peak_count != one.call_count else "", True),
        ("p50", lambda one: show_bytes(one.p50), True),
        ("p95", lambda one: show_bytes(one.p95), True),
        ("max", lambda one: show_bytes(one.max), True),
        ("memory=", lambda one: f"{one.memory:_}", True),
        ("num_cpus=", lambda one: f"{one.num_cpus:g}", True),
        ("fit a node", lambda one: _range(one.fits.values()), True),
        ("its CPUs admit", lambda one: _range(one.admits.values()), True),
    )
    _expendable: ClassVar[tuple[str, ...]] = ("max", "p50", "kind", "peaks")
    _if_various: ClassVar[tuple[str, ...]] = ("kind",)

    def _notes(self) -> list[str]:
        return [*(f"{one.name}: {text}" for one in self._shown() for text in one.warnings), *super()._notes()]


def _range(counts: Iterable[int | None]) -> str:
    """Write what holds on all nodes: `7`, or `7–12`."""
    known = sorted({math.inf if count is None else count for count in counts})
    texts = ["any" if count == math.inf else f"{count:g}" for count in known]
    return "–".join([texts[0], *texts[-1:]] if len(texts) > 1 else texts)


def advise(calls: Iterable[Call] | None = None) -> Recommendations:
    """Say how much memory to ask for, per function and actor class, so that no node is filled above its kill threshold.

    A call's size is the peak of its whole process while it ran. An actor's is that of its process's whole life, so
    calls that overlap in it share it. What ran within another recorded call, as a `with profile_memory(…)` block in a
    task, is part of that. A call that did not finish might have needed more: its peak counts where it is above the
    median of those that did, and `needs` is never below what a killed call had. Of an actor that grows from call to
    call the figures are what it has used so far, and a warning says so; so it is where a peak is of what earlier calls
    left in the worker.

    How many fit a node is what is left there below the limit above which processes are killed, divided by `needs`. All
    that is used there now counts as used, Ray's own parts and the objects in the object store too, but not what idle
    workers and those that run these very calls hold, which is theirs to use. So ask while the rest is as it will be.

    `num_cpus` holds whatever Ray takes the node's memory to be. `memory` Ray holds against its own figure, the `memory`
    that `ray.nodes()` shows, which knows nothing of the limit, nor of what drivers, Ray and other programs use. Where
    that would admit more at once than fit, `memory` is raised until it does not, and a warning says so. What other
    tasks and actors hold at the moment does not raise it: they come and go, while `memory=` stays in the code, and Ray
    counts what they ask for themselves. Where too little is left beside them now, another warning says that.

    Args:
        calls: what `raymemprof.calls()` returned, or any calls; None for all there are.

    Returns:
        A sequence of `Recommendation`, the largest need first, which prints as a table and has `to_pandas()`.
        Connected to a cluster it is about its nodes, by node id, and those that did not answer are in its `missing`;
        else about this machine, by host name, with the threshold that RAY_memory_usage_threshold sets here.

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
        calls = listing.calls()
    if isinstance(calls, (str, bytes, os.PathLike)):
        raise TypeError(f"advise takes calls, not a source: raymemprof.advise(raymemprof.calls({calls!r})).")
    recorded = list(calls)
    for call in recorded:
        if not isinstance(call, Call):
            raise TypeError(f"advise takes calls as raymemprof.calls() returns them, not {call!r}.")
    now = usage() if cluster.is_connected() else None
    chosen = getattr(calls, "chosen", "")
    return advise_of(recorded, now, getattr(calls, "missing", ()), getattr(calls, "left_out", ()), chosen)


def advise_of(
    recorded: Iterable[Call],
    now: Usage | None,
    missing: Iterable[MissingNode] = (),
    left_out: Iterable[str] = (),
    chosen: str = "",
) -> Recommendations:
    """Return the same for what is known already: these calls, and what memory is used for now."""
    recorded, nodes = list(recorded), _nodes(now)
    named = {node.node_id: node for node in (*missing, *(now.missing if now else ()))}
    found = [_recommended(group, nodes) for group in _groups(recorded)]
    found.sort(key=lambda one: (-one.p95, one.name))
    return Recommendations(found, _caption(nodes), named.values(), left_out, chosen)


def advise_seen(name: str, kind: str, sizes: Mapping[tuple[str, int], int], now: Usage | None) -> Recommendation:
    """Return the same for what nobody profiled: of processes that were seen, their sizes by node id and pid."""
    theirs = frozenset(sizes)
    return _sized(_Group(name, kind), sorted(sizes.values()), max(sizes.values()), _nodes(now), theirs)


@dataclass(frozen=True, slots=True)
class _Node:
    """What a node has for calls. Bytes."""

    node_id: str
    node_ip: str
    limit: int
    used: int
    cpus: float
    resource: int | None
    """What Ray takes its memory to be, for `memory=`."""
    idle: tuple[int, ...] = ()
    """What each of its idle workers holds."""
    workers: Mapping[int, int] = field(default_factory=dict)
    """What each of the others that run tasks or actors holds, by pid."""

    @property
    def left(self) -> int:
        """What calls can have in all."""
        return max(self.limit - self.used + sum(self.idle), 0)

    @property
    def alone(self) -> int:
        """What calls could have in all if no other task or actor ran."""
        return max(self.left + sum(self.workers.values()), 0)


def _nodes(now: Usage | None) -> list[_Node]:
    if now is None:
        memory = host.memory()
        name = socket.gethostname()
        return [_Node(name, name, host.kill_threshold(memory.total), memory.used, float(os.cpu_count() or 1), None)]
    resources = {}
    if cluster.is_connected():
        resources = {node.node_id: node.resources for node in cluster.nodes()}
    return [_node(node, resources.get(node.node_id, {})) for node in now.nodes]


def _node(node: NodeUsage, resources: Mapping[str, float]) -> _Node:
    idle, workers = [], {}
    for process in node.processes:
        # The worker that reads the node's memory for us is idle again when we are done.
        if process.role == "idle worker" or (process.role == "task" and (process.name or "").startswith("raymemprof.")):
            idle.append(process.memory)
        elif process.role in ("task", "actor", "worker"):
            workers[process.pid] = process.memory
    return _Node(
        node.node_id,
        node.node_ip,
        node.kill_limit,
        node.counted,
        resources.get("CPU", 0.0),
        int(resources["memory"]) if "memory" in resources else None,
        tuple(idle),
        workers,
    )


@dataclass(slots=True)
class _Group:
    """The calls of a function, or of a class's actors."""

    name: str
    kind: str
    calls: list[Call] = field(default_factory=list)
    processes: dict[tuple[Any, ...], list[Call]] = field(default_factory=dict)
    """By what has a peak of its own: a call, or an actor's process."""


def _groups(recorded: list[Call]) -> Iterable[_Group]:
    groups: dict[tuple[str, str], _Group] = {}
    for number, call in enumerate(_outermost(recorded)):
        kind, name = call.kind, call.name
        key: tuple[Any, ...] = (number,)
        if kind in ("actor", "method"):
            kind, name = "actor", name.rpartition(".")[0] or name
            key = (call.node_id, call.worker_id, call.pid, call.actor_id)
        group = groups.setdefault((kind, name), _Group(name, kind))
        group.calls.append(call)
        group.processes.setdefault(key, []).append(call)
    return groups.values()


def _outermost(recorded: list[Call]) -> Iterator[Call]:
    """Leave out what ran within another call of the same task: blocks, and decorated functions that it called."""
    outer: dict[tuple[Any, ...], Call] = {}
    for call in sorted(recorded, key=lambda call: call.started_at):
        task = (call.node_id, call.worker_id, call.pid, call.task_id, call.attempt)
        if call.task_id is not None and task in outer and _is_within(call, outer[task]):
            continue
        outer[task] = call
        yield call


def _is_within(later: Call, earlier: Call) -> bool:
    if earlier.duration is None:  # whatever came later in the task was in this call
        return True
    if later.place is not None and earlier.place is not None and later.place[0] == earlier.place[0]:
        return False  # it took the place in the capture that the earlier one had left
    ends = later.started_at + timedelta(seconds=later.duration or 0)
    return ends <= earlier.started_at + timedelta(seconds=earlier.duration + _SLACK)


def _recommended(group: _Group, nodes: list[_Node]) -> Recommendation:
    processes = list(group.processes.values())
    finished = sorted(_peak(calls) for calls in processes if _is_whole(group, calls))
    bounds = sorted(_peak(calls) for calls in processes if not _is_whole(group, calls))
    if finished:
        median = _percentile(finished, 0.5)
        bounds = [peak for peak in bounds if peak > median]
    killed = max((call.peak_memory for call in group.calls if call.status == "killed"), default=0)
    theirs = frozenset(
        (call.node_id or "", call.pid) for call in group.calls if group.kind == "actor" or call.status == "running"
    )
    return _sized(group, sorted(finished + bounds), killed, nodes, theirs)


def _sized(
    group: _Group, peaks: list[int], killed: int, nodes: list[_Node], theirs: frozenset[tuple[str, int]]
) -> Recommendation:
    """Return what follows of the peaks, in order, and of the processes that these calls run in now."""
    p50, p95 = _percentile(peaks, 0.5), _percentile(peaks, 0.95)
    needs = max(math.ceil(max(p95, killed) * MARGIN / _GRAIN), 1) * _GRAIN
    fits = {node.node_id: _fitting(node, needs, _held(theirs, node)) for node in nodes}
    memory = _memory(needs, nodes, group.kind)
    num_cpus = _num_cpus([(node.cpus, _at_once(node, needs, fits[node.node_id])) for node in nodes])
    return Recommendation(
        name=group.name,
        kind=group.kind,
        call_count=len(group.calls),
        peak_count=len(group.processes) or len(peaks),
        p50=p50,
        p95=p95,
        max=peaks[-1],
        needs=needs,
        memory=memory,
        num_cpus=num_cpus,
        fits=fits,
        admits={node.node_id: None if group.kind == "actor" and node.cpus else int(node.cpus) for node in nodes},
        warnings=(
            *_about_peaks(group, p50, p95),
            *_about_nodes(needs, memory, num_cpus, fits, nodes, group.kind),
        ),
    )


def _memory(needs: int, nodes: list[_Node], kind: str) -> int:
    """Return what to ask for: what is needed, or the least above it with which Ray runs no more at once than fit."""
    memory = needs
    for node in nodes:
        room = node.alone // needs
        if room and _by_memory(node, needs, kind) > room:
            assert node.resource is not None
            # Of so much Ray's figure holds less than one more; it is no more than the figure, so it can be had there.
            memory = max(memory, min((node.resource // (room + 1) // _GRAIN + 1) * _GRAIN, node.resource))
    return memory


def _peak(calls: list[Call]) -> int:
    return max(call.peak_memory for call in calls)


def _is_whole(group: _Group, calls: list[Call]) -> bool:
    """Whether a peak is what was needed, and no lower bound. An actor lives on, and so far it has needed this."""
    if group.kind == "actor":
        return all(call.status != "killed" for call in calls)
    return all(call.status == "finished" for call in calls)


def _percentile(ordered: list[int], part: float) -> int:
    """Return the nearest rank: a peak that was measured."""
    return ordered[max(math.ceil(part * len(ordered)) - 1, 0)]


def _held(theirs: frozenset[tuple[str, int]], node: _Node) -> list[int]:
    """What the workers that these calls run in, or would, hold already: an idle one is used before a new one starts."""
    running = (memory for pid, memory in node.workers.items() if (node.node_id, pid) in theirs)
    return sorted([*node.idle, *running], reverse=True)


def _fitting(node: _Node, memory: int, held: list[int]) -> int:
    """Return how many processes of a size a node has room for, those that are there growing to it first."""
    free = node.limit - node.used
    for count, already in enumerate(held):
        free -= memory - already
        if free < 0:
            return count
    return len(held) + max(free // memory, 0)


def _at_once(node: _Node, memory: int, fits: int) -> int:
    """Return how many are to run at once: as many as fit, and no more than `memory=` admits where Ray has less."""
    return min(fits, (node.resource or 0) // memory or fits)


def _num_cpus(nodes: list[tuple[float, int]]) -> float:
    """Return the CPUs each call must take, so that of each node's CPUs no more calls than given can be had.

    The shortest number that does it where CPUs are scarcest, a whole one if there is one. Nodes that not even one fits
    cannot be kept free by it.
    """
    usable = [(cpus, most) for cpus, most in nodes if cpus >= 1 and most >= 1]
    if not usable:
        return int(max((cpus for cpus, _ in nodes), default=1)) or 1
    cpus, most = max(usable, key=lambda node: node[0] / (node[1] + 1))
    if cpus / (most + 1) < 1:
        return 1
    for scale in (1, 10, 100, 1_000):
        number = math.floor(cpus / most * scale) / scale
        if number > cpus / (most + 1):
            break
    return int(number) if number == int(number) else number


def _about_peaks(group: _Group, p50: int, p95: int) -> Iterator[str]:
    processes = list(group.processes.values())
    what, few = ("process", "processes") if group.kind == "actor" else ("call", "calls")
    if len(processes) == 1:
        yield f"only one {what} was seen: others may need more."
    elif processes and len(processes) < _FEW:
        yield f"only {len(processes)} {few} were seen: others may need more."
    if p50 and p95 > _VARIES * p50:
        yield (
            f"peaks vary, with the input perhaps: the 95th percentile is {p95 / p50:.1f} times the median. Ask for "
            "what each call needs, with .options(memory=…), or give it pieces of one size."
        )
    killed = sum(any(call.status == "killed" for call in calls) for calls in processes)
    if killed:
        were = f"{killed} of {len(processes)} {few} were" if len(processes) > 1 else f"the {what} was"
        yield f"{were} killed: what they had is a lower bound of what they need."
    grown = max(growths(group.calls), key=lambda growth: growth.size, default=None) if group.kind == "actor" else None
    if grown is not None:
        yield (
            f"it grows with each call, by {show_bytes(grown.size)} over {len(grown.calls)} calls so far: the figures "
            "are of what it has used until now, and it will need more the longer it lives. `raymemprof doctor` names "
            "what grows."
            if grown.is_sure
            else f"it grew by {show_bytes(grown.size)} over its first {len(grown.calls)} calls: if it grows on, it "
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
        yield f"{running} of {len(processes)} {few} still run: their peaks may rise."


def _about_nodes(
    needs: int, memory: int, num_cpus: float, fits: Mapping[str, int], nodes: list[_Node], kind: str
) -> Iterator[str]:
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
    for node in crowded[:_MOST_NODES]:
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
    raised = [node for node in for_calls if memory > needs and 0 < node.alone // needs < _by_memory(node, needs, kind)]
    for node in raised[:_MOST_NODES]:
        room = node.alone // needs
        yield (
            f"memory= is more than it uses, {size}: with less Ray would run {_by_memory(node, needs, kind)} at once on "
            f"node {node.node_ip}, where {room} fit, since it takes the node to have {show_bytes(node.resource)}; `ray "
            f"start --memory={room * needs}` there would let you ask for {needs:_}."
        )
    shut = [node for node in for_calls if node.resource is not None and needs <= node.resource < memory]
    for node in shut[:_MOST_NODES]:
        yield (
            f"with memory={memory:_} none would run on node {node.node_ip}, which Ray takes to have "
            f"{show_bytes(node.resource)}: use num_cpus={num_cpus:g} to have it run there too."
        )
    deceived = [node for node in for_calls if fits[node.node_id] < _by_memory(node, memory, kind)]
    for node in deceived[:_MOST_NODES]:
        fitting = fits[node.node_id]
        if fitting:
            yield (
                f"memory= alone would let {_by_memory(node, memory, kind)} run on node {node.node_ip}, where {fitting} "
                f"fit beside what runs there now: Ray takes it to have {show_bytes(node.resource)}, and "
                f"{show_bytes(node.left)} are left below the limit. Use num_cpus={num_cpus:g} as long as that runs."
            )


def _by_memory(node: _Node, memory: int, kind: str) -> int:
    """Return how many `memory=` admits on a node, beside one CPU each where they take one."""
    if node.resource is None:
        return 0
    admitted = node.resource // memory
    return admitted if kind == "actor" else min(admitted, int(node.cpus))


def _caption(nodes: list[_Node]) -> str:
    lines = [
        f"node {node.node_ip}: {show_bytes(node.left)} left of the {show_bytes(node.limit)} above which processes are "
        f"killed, {node.cpus:g} CPUs"
        for node in nodes[:_MOST_NODES]
    ]
    if len(nodes) > _MOST_NODES:
        lines.append(f"… and {len(nodes) - _MOST_NODES} more nodes")
    return "\n".join(lines)
