"""Calls that may hold their data twice."""

from __future__ import annotations

from collections.abc import Iterator

from ....display.text import show_bytes
from ....reading.catalog.records import Calls
from ....reading.reports.heap import Heap
from ....reading.reports.lines import Lines
from ...explain.families import copies_much
from ...explain.families import steps as children_steps
from ...explain.families import told as children_told
from ..findings import Finding, Unclear
from ..largest_calls import MOST_FUNCTIONS, largest_each, not_looked_at, untraced
from ..observed import Observed
from ..sentences import flamegraph_command

__all__ = ["find"]

_MIB = 2**20
_COPIED = 100 * _MIB
"""Calls with a smaller peak are not looked into."""
_ALIKE = 0.8
"""One line may be a copy of another if it holds at least this part of what the other holds,"""
_MOST_OF = 0.75
"""and both together hold this part of the peak."""


def find(observed: Observed) -> Iterator[Finding | Unclear]:
    """Yield a finding for each call in which two lines hold about the same, and together most of the peak."""
    copied = {call.name: call for call in sorted(observed.calls, key=lambda call: call.children_copied or 0)}
    for call in copied.values():
        if copies_much(call) and call.status != "killed":  # what was killed has a finding of its own
            yield Finding(
                severity="info",
                illness="copy",
                title=f"Child processes of {call.name} copied {show_bytes(call.children_copied)} of its memory.",
                name=call.name,
                node_id=call.node_id,
                evidence=(children_told(call),),
                next_steps=tuple(children_steps(call)),
                calls=Calls([call]),
            )
    # A call may use memory that its process had kept: its peak shows that, its growth does not.
    most_first = largest_each(
        (call for call in observed.calls if call.peak_memory >= _COPIED), lambda call: call.growth
    )
    for call in most_first[:MOST_FUNCTIONS]:
        found = observed.heaps.of(call)
        if found is None:
            yield untraced("copy", call, f"whose process had {show_bytes(call.peak_memory)}")
            continue
        pair = _pair(found)
        if pair is None:
            continue
        yield Finding(
            severity="info",
            illness="copy",
            title=f"{call.name} may hold its data twice: two lines hold about as much.",
            name=call.name,
            node_id=call.node_id,
            evidence=(
                f"Of the {show_bytes(found.peak)} at the peak of its largest call,",
                *(observed.held(line) for line in pair),
            ),
            next_steps=(
                "If one is made of the other, let go of the first, or go through the data in pieces, with a generator.",
                f"{flamegraph_command(observed, call.name, False)} shows both.",
            ),
            lines=pair,
            calls=Calls([call]),
        )
    yield from not_looked_at("copy", most_first)


def _pair(found: Heap) -> Lines | None:
    pair = found.top(2, view="peak")
    if found.peak < _COPIED or len(pair) < 2:
        return None
    first, second = pair
    alike = second.bytes >= _ALIKE * first.bytes and first.bytes + second.bytes >= _MOST_OF * found.peak
    return pair if alike else None
