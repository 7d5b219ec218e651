"""A flame graph as a picture, for where a notebook may not run scripts: an SVG that depends on nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ....display.html import templates
from ....display.text import show_bytes
from .graph import Box, Graph

__all__ = ["TEMPLATES", "WIDTH", "picture"]

TEMPLATES = Path(__file__).with_name("templates")
WIDTH = 960
"""Pixels."""
_ROW = 20
_NARROWEST = 2.0
_MOST_BOXES = 250
"""The largest are drawn."""
_MOST_ROWS = 32
_CHARACTER = 7.3
"""Pixels that a character is wide in most fonts; what is wider is cut off."""
_SHORTEST = 4
"""Characters of a text that still says something."""


@dataclass(frozen=True, slots=True)
class _Shape:
    x: float
    y: int
    width: float
    text: str
    kind: str


def picture(graph: Graph) -> str:
    """Return the largest boxes of a graph as SVG."""
    scale = WIDTH / max(graph.boxes[0].size, 1)
    wide = [box for box in graph.boxes if box.size * scale >= _NARROWEST and box.depth < _MOST_ROWS]
    # What stands on a box is no larger than it, and comes after it: with a box its whole stack is drawn.
    largest = sorted(wide, key=lambda box: -box.size)[:_MOST_BOXES]
    shapes = [_shape(box, scale) for box in largest]
    height = _ROW * (1 + max((box.depth for box in largest), default=0))
    return templates(TEMPLATES).get_template("picture.svg").render(shapes=shapes, width=WIDTH, height=height)


def _shape(box: Box, scale: float) -> _Shape:
    width = box.size * scale
    text = box.label if box.depth else f"{box.label}, {show_bytes(box.size)}"
    fitting = int((width - 6) / _CHARACTER)
    if len(text) > fitting:
        text = f"{text[: fitting - 1]}…" if fitting >= _SHORTEST else ""
    kind = "root" if not box.depth else "own" if box.is_users else "library" if box.place else "other"
    return _Shape(round(box.start * scale, 1), box.depth * _ROW, round(max(width - 0.6, 0.8), 1), text, kind)
