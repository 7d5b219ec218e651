"""What findings say of lines of code, of nodes, and of what `advise()` warns of."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...display.text import show_bytes
from ...reading.catalog.records import Call
from ...reading.reports.lines import Lines
from ..advise.advise import Recommendation
from ..usage.records import NodeUsage, ProcessUsage
from .observed import Observed
from .shared_thresholds import MOST_NAMED

__all__ = ["about_lines", "flamegraph_command", "guilty_lines", "memory_used", "names_of", "warnings_of"]

_MIB = 2**20


def guilty_lines(observed: Observed, holders: Iterable[Call | tuple[Path, ...] | None], view: str) -> Lines:
    """Return the lines that held most in the first of these calls, or captures, that can be read."""
    for holder in holders:
        found = observed.heaps.of(holder)
        if found is not None:
            return found.top(MOST_NAMED, view=view)
    return Lines(())


def about_lines(observed: Observed, lines: Lines) -> Iterator[str]:
    """Say what the first of some lines held."""
    if lines:
        yield f"It held {observed.held(lines[0])}"


def warnings_of(advised: Recommendation | None) -> Iterator[str]:
    """Return the warnings of `advise()` on its figures."""
    if advised is not None:
        yield from (f"Note: {text}" for text in advised.warnings)


def flamegraph_command(observed: Observed, name: str, is_actor: bool, view: str = "") -> str:
    """Return the command that draws a function's calls, or those of an actor class."""
    pattern = f"{name}.*" if is_actor else name
    return f"`raymemprof flamegraph --name {shlex.quote(pattern)}{view}{observed.arguments}`"


def memory_used(node: NodeUsage) -> str:
    """Say what a node uses, and above what Ray kills there."""
    limit = ""
    if node.isolation is not None:
        limit = f"; workers and objects use {show_bytes(node.counted)}, and Ray kills at {show_bytes(node.kill_limit)}"
    elif node.threshold == node.kill_limit:
        limit = f"; Ray kills above {show_bytes(node.threshold)}"
    return f"{show_bytes(node.used)} of {show_bytes(node.total)}{limit}"


def names_of(processes: Iterable[ProcessUsage]) -> str:
    """Name the largest of some processes, with their sizes."""
    largest = sorted((one for one in processes if one.memory > _MIB), key=lambda process: -process.memory)
    told = ", ".join(f"{process.name or process.role} {show_bytes(process.memory)}" for process in largest[:MOST_NAMED])
    return f"{told}, …" if len(largest) > MOST_NAMED else told or "none"
