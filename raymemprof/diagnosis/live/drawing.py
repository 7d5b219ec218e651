"""What the live view shows of a `Usage`: bars, trends, the nodes' lines and the columns of the table, as text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rich.cells import set_cell_size
from rich.text import Text

from ...display.text import counted, printable, show_bytes
from ..usage.records import NodeUsage, ProcessUsage, Usage

__all__ = ["ORDERS", "Charts", "Column", "columns", "is_wanted", "node_lines"]

_TREND = 15
"""Characters of a trend."""
_SLOT = 4.0
"""Seconds that a character of a trend stands for."""
_BAR = 10
"""Characters of a process's bar; a node's has twice as many."""
_SPARKS = "▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉"
_NOTICEABLE = 0.1
"""A change of this part of a process's memory fills the height of its trend; smaller ones are drawn smaller."""
_LEAST_NAME = 20
"""Characters of the name below which other columns make room."""
_EXPENDABLE = ("OF LIMIT", "SHR", "LAST MINUTE", "RSS", "NODE")

ORDERS: dict[str, tuple[str, Callable[[ProcessUsage], Any]]] = {
    "m": ("memory", lambda process: -process.memory),
    "r": ("RSS", lambda process: -process.rss),
    "s": ("SHR", lambda process: -process.shared),
    "p": ("pid", lambda process: (process.pid, process.node_id)),
    "n": ("name", lambda process: (process.name or "~", -process.memory)),
    "o": ("role", lambda process: (process.role, -process.memory)),
    "a": ("node", lambda process: (process.node_ip, process.node_id, -process.memory)),
}
"""What processes can be sorted by: the key to press, the name, and the sort key."""


def is_wanted(process: ProcessUsage, text: str) -> bool:
    """Whether a process has a text in its pid, role, name, IP address or ids, in either case."""
    ids = (process.task_id, process.actor_id, process.node_id)
    words = (str(process.pid), process.role, process.name, process.node_ip, *ids)
    return text.lower() in " ".join(word for word in words if word).lower()


class Charts:
    """Bars, and the memory of each node and process in the last minute; no trends where a terminal shows ASCII only."""

    def __init__(self, is_ascii: bool = False) -> None:
        self.is_ascii = is_ascii
        self._slot = 0
        self._most: dict[tuple[str, int], dict[int, int]] = {}
        """By node and pid (0 for the node itself) the most in each slot."""

    def add(self, usage: Usage) -> None:
        """Take a new sample; what is not in it is forgotten."""
        self._slot = int(time.monotonic() / _SLOT)
        now = {(node.node_id, 0): node.used for node in usage.nodes}
        now.update({(process.node_id, process.pid): process.memory for process in usage.processes})
        before, self._most = self._most, {}
        for key, value in now.items():
            most = {slot: size for slot, size in before.get(key, {}).items() if slot > self._slot - _TREND}
            self._most[key] = {**most, self._slot: max(value, most.get(self._slot, 0))}

    def trend(self, node_id: str, pid: int = 0) -> str:
        """Draw a node's or a process's last minute; where no sample fell, what was before still holds."""
        most = self._most.get((node_id, pid))
        if not most or self.is_ascii:
            return ""
        low, high = min(most.values()), max(most.values())
        span = max(high - low, high * _NOTICEABLE, 1)
        drawn = " "
        for slot in range(self._slot - _TREND + 1, self._slot + 1):
            level = min(int((most.get(slot, 0) - low) / span * len(_SPARKS)), len(_SPARKS) - 1)
            drawn += _SPARKS[level] if slot in most else drawn[-1]
        return drawn[1:]

    def bar(self, part: float, width: int) -> str:
        """Draw a part of a whole."""
        full, rest = divmod(round(min(max(part, 0.0), 1.0) * width * 8), 8)
        if self.is_ascii:
            return ("#" * full).ljust(width)
        return ("█" * full + (_PARTS[rest] if rest else "")).ljust(width)


def node_lines(usage: Usage, charts: Charts, most: int) -> Iterator[Text]:
    """Yield a line for each node, of more than `most` the fullest; then one for nodes that did not answer."""
    nodes = list(usage.nodes)
    if len(nodes) > most:
        nodes = sorted(nodes, key=lambda node: (-_fill(node), node.node_id))[: most - 1]
    for node in nodes:
        part = _fill(node)
        line = Text(f"{node.node_ip} {node.node_id[:6]} {'head' if node.is_head else '    '} ")
        line.append(f"[{charts.bar(part, 2 * _BAR)}]", "red" if part >= 0.9 else "yellow" if part >= 0.7 else "green")
        line.append(f" {show_bytes(node.used)} of {show_bytes(node.total)} ")
        line.append(f"{charts.trend(node.node_id)} ", "cyan")
        line.append(f"Ray kills at {limit}" if (limit := show_bytes(node.ray_kill_limit)) else "Ray never kills")
        line.append(f", object store {show_bytes(node.object_store)}")
        if node.shared_memory:
            line.append(f", other shared {show_bytes(node.shared_memory)}")
        if node.spilled:
            line.append(f", spilled {show_bytes(node.spilled)}", "yellow")
        yield line
    if len(nodes) < len(usage.nodes):
        yield Text(f"... and {counted(len(usage.nodes) - len(nodes), 'node', 'nodes')} less full", "dim")
    for missing in usage.missing[:1]:
        more = len(usage.missing) - 1
        yield Text(f"{missing}{f', and {more} more' if more else ''}", "red")


def _fill(node: NodeUsage) -> float:
    return node.counted / node.kill_limit if node.kill_limit else 0.0


class Column(NamedTuple):
    """One column of the table: how a process is written in it, and how wide."""

    heading: str
    width: int
    write: Callable[[ProcessUsage], str]
    is_number: bool = False
    style: str = ""

    def pad(self, text: str) -> str:
        """Fit a text into the column, and a space behind it."""
        text = printable(text)
        return set_cell_size(text.rjust(self.width) if self.is_number else text, self.width) + " "


def columns(usage: Usage, charts: Charts, width: int) -> list[Column]:
    """The columns that fit; the name has what they leave."""
    limits = {node.node_id: node.kill_limit for node in usage.nodes}
    node_width = max((len(f"{node.node_ip} {node.node_id[:6]}") for node in usage.nodes), default=0)
    left_out = set()
    if len(usage.nodes) <= 1:
        left_out.add("NODE")
    if charts.is_ascii:
        left_out.add("LAST MINUTE")
    found = [
        Column("PID", 8, lambda process: str(process.pid), True),
        Column("NODE", node_width, lambda process: f"{process.node_ip} {process.node_id[:6]}"),
        Column("ROLE", 17, lambda process: process.role),
        Column("MEMORY", 10, lambda process: show_bytes(process.memory), True, "bold"),
        Column("RSS", 10, lambda process: show_bytes(process.rss), True),
        Column("SHR", 10, lambda process: show_bytes(process.shared), True),
        Column(
            "OF LIMIT", _BAR, lambda process: charts.bar(process.memory / limits[process.node_id], _BAR), style="green"
        ),
        Column("LAST MINUTE", _TREND, lambda process: charts.trend(process.node_id, process.pid), style="cyan"),
    ]
    for expendable in ("", *_EXPENDABLE):
        left_out.add(expendable)
        fitting = [column for column in found if column.heading not in left_out]
        left = width - sum(column.width + 1 for column in fitting)
        if left >= _LEAST_NAME:
            break
    return [*fitting, Column("NAME", max(left - 1, 1), lambda process: process.name or "")]
