"""A flame graph as a notebook holds it: its boxes, bounded, as numbers and texts for the script that draws them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ....cells import place_of
from ....display.text import printable
from ...captures.model import Frame, Row
from ...captures.stacks import is_users
from ..folding import Folded, fold

__all__ = ["Box", "Graph", "graph"]

_MOST_BOXES = 6_000
"""How many boxes to keep, if they do not take too much."""
_MOST_BYTES = 150_000
"""What packed boxes may take in a notebook."""
_LONGEST = 160
"""Characters of a line of code, or of a file's name, that are kept."""
_ALL: Frame = ("all", "", 0)
Texts = Mapping[tuple[str, int], str]
"""What was recorded of lines of code, by file and number."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box: a line of code that was being run, and what was held through it. Sizes are bytes."""

    depth: int
    start: int
    """What the boxes to the left of it hold."""
    size: int
    allocations: int
    label: str
    """The line of code; the function's name where it is not known."""
    function: str
    place: str
    """File and line; empty where it is in none."""
    is_users: bool
    """Whether it is the user's own code, and no library's."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A flame graph: each box before those that stand on it, the largest first."""

    boxes: tuple[Box, ...]
    folded: Folded
    note: str = ""
    """What else is to be said of it."""

    def packed(self) -> str:
        """Return what the script draws: JSON, compressed, as text."""
        texts: dict[str, int] = {}
        columns = [
            [box.depth for box in self.boxes],
            [box.size for box in self.boxes],
            [box.allocations for box in self.boxes],
            *([texts.setdefault(text, len(texts)) for text in column] for column in self._texts()),
            [int(box.is_users) for box in self.boxes],
        ]
        plain = json.dumps([list(texts), *columns], separators=(",", ":"), ensure_ascii=False)
        return base64.b64encode(gzip.compress(plain.encode(errors="replace"), 6, mtime=0)).decode()

    def _texts(self) -> list[list[str]]:
        return [
            [box.label for box in self.boxes],
            [box.function for box in self.boxes],
            [box.place for box in self.boxes],
        ]


def graph(rows: Sequence[Row], texts: Texts | None = None) -> Graph:
    """Return the graph of what call stacks hold, without frames of Python's own that say nothing, as of imports."""
    from memray.reporters.frame_tools import is_frame_from_import_system, is_frame_interesting

    stacks = [
        tuple(frame for frame in row.stack if is_frame_interesting(frame) and not is_frame_from_import_system(frame))
        for row in rows
    ]
    sizes = [row.bytes for row in rows]
    most = _MOST_BOXES
    while True:
        folded = fold(stacks, sizes, most)
        found = Graph(_boxes(rows, folded, texts or {}), folded)
        bytes_packed = len(found.packed())
        if bytes_packed <= _MOST_BYTES or most == 1:
            return found
        most = max(most * _MOST_BYTES // bytes_packed * 3 // 4, 1)


@dataclass(slots=True)
class _Node:
    """A frame, and what is above it in the stacks."""

    frame: Frame
    size: int = 0
    allocations: int = 0
    below: dict[Frame, _Node] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        self.size += row.bytes
        self.allocations += row.allocations


def _boxes(rows: Sequence[Row], folded: Folded, texts: Texts) -> tuple[Box, ...]:
    root = _Node(_ALL)
    for row, stack in zip(rows, folded.stacks, strict=True):
        node = root
        node.add(row)
        for frame in reversed(stack):
            node = node.below.setdefault(frame, _Node(frame))
            node.add(row)
    boxes = []
    coming = [(root, 0, 0)]
    while coming:
        node, depth, start = coming.pop()
        boxes.append(_box(node, depth, start, texts))
        children = []
        for child in sorted(node.below.values(), key=lambda child: -child.size):
            children.append((child, depth + 1, start))
            start += child.size
        coming += reversed(children)
    return tuple(boxes)


def _box(node: _Node, depth: int, start: int, texts: Texts) -> Box:
    from memray.reporters.frame_tools import source_line_from_frame

    function, file, line = node.frame
    source = texts.get((file, line)) or (source_line_from_frame(node.frame).strip() if line else "")
    place = place_of(file, line) if line else file
    label = function if not source or source == f"{function} at {file}:{line}" else source
    return Box(
        depth=depth,
        start=start,
        size=node.size,
        allocations=node.allocations,
        label=_bounded(label),
        function=_bounded(function),
        place=_bounded(place[::-1])[::-1],  # its end says more
        is_users=bool(line) and is_users(file),
    )


def _bounded(text: str) -> str:
    return printable(text) if len(text) <= _LONGEST else f"{printable(text[:_LONGEST])}…"
