"""Memory that was freed and stays with the allocator."""

from __future__ import annotations

from collections.abc import Iterator

from ....display.text import show_bytes
from ....reading.catalog.records import Call, Calls
from ....reading.reports.heap import Heap
from ...advise.growth import kept_by
from ..findings import Finding, Unclear
from ..largest_calls import MOST_FUNCTIONS, largest_each, not_looked_at, untraced
from ..observed import Observed
from ..shared_thresholds import MAINLY

__all__ = ["KEEP_LESS", "find", "freed", "retained"]

_MIB = 2**20
_RETAINED = 100 * _MIB
"""A finding needs a process that keeps so much of what was freed."""
KEEP_LESS = (
    "have allocators return more of it, at some cost in time: `runtime_env={'env_vars': "
    "{'ARROW_DEFAULT_MEMORY_POOL': 'system', 'MALLOC_MMAP_THRESHOLD_': '65536', 'MALLOC_TRIM_THRESHOLD_': '65536'}}`."
)


def find(observed: Observed) -> Iterator[Finding | Unclear]:
    """Yield a finding for each function whose process keeps what a call freed: allocators do not return it."""
    keeping = (call for call in observed.calls if call.kind == "task" and kept_by(call) >= _RETAINED)
    most_first = largest_each(keeping, kept_by)
    for call in most_first[:MOST_FUNCTIONS]:
        found = observed.heaps.of(call)
        if found is None:
            yield untraced("retained_memory", call, f"which left {show_bytes(kept_by(call))}")
        elif (freed_bytes := freed(found, kept_by(call))) is None:
            why = f"what allocators kept of the {show_bytes(kept_by(call))} that {call.name} left is not known"
            yield Unclear("retained_memory", why)
        elif freed_bytes >= MAINLY * kept_by(call):
            yield from retained(observed, call, call.name, found, kept_by(call))
    yield from not_looked_at("retained_memory", most_first)


def freed(found: Heap, kept: int) -> int | None:
    """Return how much of what a process grew by was freed, in bytes; None where allocators were not asked.

    They count free memory whether it is resident or not, so it is at most what the growth leaves beside what is held.
    """
    return None if found.retained_at_end is None else min(found.retained_at_end, max(kept - found.alive_at_end, 0))


def retained(observed: Observed, call: Call, name: str, found: Heap, kept: int) -> Iterator[Finding]:
    """Yield the finding on memory that was freed and stays with the allocator, if it is much: no line holds it."""
    free = freed(found, kept) or 0
    if free < _RETAINED:
        return
    steps = (
        "Have glibc give it back: `ctypes.CDLL(None).malloc_trim(0)` after the work, in the same process.",
        f"Or {KEEP_LESS}",
        "Where Arrow holds it: `pyarrow.default_memory_pool().release_unused()`.",
    )
    node = observed.node(call.node_id)
    is_over = node is not None and all(process.pid != call.pid for process in node.processes)
    keeps = "kept until it ended" if is_over else "keeps"
    yield Finding(
        severity="info",
        illness="retained_memory",
        title=f"{name} freed memory that its process {keeps}: {show_bytes(free)}.",
        name=name,
        node_id=call.node_id,
        evidence=(
            f"Its process (pid {call.pid} on {observed.where(call.node_id)}) had grown by {show_bytes(kept)} at the "
            f"end: {show_bytes(free)} are free in allocators, "
            f"{show_bytes(found.alive_at_end)} held.",
            "That process has ended, and its memory is the node's again."
            if is_over
            else "What comes next in that process uses it again; for others on the node it is gone.",
        ),
        next_steps=steps,
        calls=Calls([call]),
    )
