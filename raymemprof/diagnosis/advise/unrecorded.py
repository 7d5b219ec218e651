"""What was seen from the outside and not recorded, by task and actor class, for `advise()` to say what it needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ...display.text import counted
from ...reading.catalog.function_names import actor_class, short
from ...reading.catalog.records import Call, CompactedCalls
from ..usage.records import Usage
from ..watch.peaks import SeenPeak
from .workloads import is_rays_own

__all__ = ["SEEN", "SeenGroup", "about_seen", "not_recorded", "running_of"]

SEEN = (
    "seen from the outside, once a second, and not recorded: a peak between two looks is not seen, nor is what child "
    "processes use."
)
"""What there is to know of every such figure."""
_OLD = timedelta(hours=1)
"""What was seen before that may be of code that has changed since."""
_FEW = 10
"""Processes below which they are called few, as peaks are."""


@dataclass(slots=True)
class SeenGroup:
    """What was seen of a task, or of a class's actors, on all nodes."""

    name: str
    kind: str
    sizes: dict[tuple[str, int], int] = field(default_factory=dict)
    """The highest memory of each process, by node id and pid."""
    by_node: dict[str, SeenPeak] = field(default_factory=dict)
    process_count: int = 0
    """With those of which there are no sizes."""
    shared: int = 0
    """How many of those with sizes ran other tasks too."""


def not_recorded(
    seen: Iterable[SeenPeak], recorded: Iterable[Call], compacted: Iterable[CompactedCalls] = ()
) -> list[SeenGroup]:
    """Return what was seen of tasks and actors that have no recorded calls, without Ray's own."""
    names = set()
    actors = set()
    calls = [(call.kind, call.name, call.node_id, call.pid) for call in recorded]
    for kind, name, node_id, pid in (*calls, *((one.kind, one.name, *one.process[::2]) for one in compacted)):
        if kind in ("actor", "method"):
            names.add((short(actor_class(name)), "actor"))
            actors.add((node_id, pid))
        else:
            names.add((short(name), "task"))
    found: dict[tuple[str, str], SeenGroup] = {}
    seen = list(seen)
    ran: dict[tuple[str, int], set[str]] = {}
    for one in seen:
        for pid in one.memory_by_process if one.kind == "task" else ():
            ran.setdefault((one.node_id, pid), set()).add(one.name)
    for one in seen:
        if one.kind not in ("task", "actor") or is_rays_own(one.name) or (short(one.name), one.kind) in names:
            continue
        sizes = {(one.node_id, pid): memory for pid, memory in one.memory_by_process.items()}
        if one.kind == "actor":  # one may be recorded under another name, as a replica under its deployment's
            sizes = {process: memory for process, memory in sizes.items() if process not in actors}
        if sizes:
            group = found.setdefault((one.name, one.kind), SeenGroup(one.name, one.kind))
            group.sizes |= sizes
            group.by_node[one.node_id] = one
            group.process_count += one.process_count - len(one.memory_by_process) + len(sizes)
    for group in found.values():
        if group.kind == "task":
            group.shared = sum(len(ran[process]) > 1 for process in group.sizes)
    return list(found.values())


def running_of(group: SeenGroup, now: Usage | None) -> frozenset[tuple[str, int]]:
    """Return the processes that run it now: in others of them something else may run by now."""
    return frozenset(
        (process.node_id, process.pid)
        for process in (now.processes if now is not None else ())
        if group.name in (process.name, actor_class(process.name or ""))
    )


def about_seen(group: SeenGroup, when: datetime) -> Iterator[str]:
    """Say what to know before relying, at some time, on what was seen."""
    yield SEEN
    kept, last = len(group.sizes), max(one.last_at for one in group.by_node.values())
    if when - last > _OLD:
        yield f"it was seen last at {last:%H:%M} UTC on {last:%Y-%m-%d}."
    if kept < _FEW:
        yield f"only {counted(kept, 'process was', 'processes were')} seen: others may need more."
    if group.shared:
        which = "one" if group.shared == 1 else f"{group.shared:,}"
        yield f"{which} of {counted(kept, 'process', 'processes')} ran other tasks too: what those left counts here."
    if group.process_count > kept:
        yield f"of {group.process_count} processes only the {kept} largest are kept: p50 and p95 are of these."
