"""Puts the text of lines into memray's reports as it was recorded; memray takes it from the files that are here now."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from ...cells import place_of

__all__ = ["add_to_flame_graph", "add_to_table"]

Texts = Mapping[tuple[str, int], str]
"""By file and number of the line."""


def add_to_flame_graph(data: dict[str, Any], texts: Texts) -> None:
    """Have boxes show the lines; `data` is what memray's reporter holds."""
    nodes, strings = data["nodes"], data["strings"]
    known = {(html.escape(file), line): text for (file, line), text in texts.items()}
    numbers: dict[str, int] = {}
    for node, (file, line) in enumerate(zip(nodes["filename"], nodes["lineno"], strict=True)):
        text = known.get((strings[file], line))
        if text is not None:
            number = nodes["name"][node] = numbers.setdefault(text, len(strings))
            if number == len(strings):
                strings.append(text)


def add_to_table(data: list[dict[str, Any]], texts: Texts) -> None:
    """Have rows show the lines, and places as people read them; `data` is what memray's reporter holds."""
    for row in data:
        row["stack_trace"] = _with_text(row["stack_trace"], texts)


def _with_text(place: str, texts: Texts) -> str:
    """Add a line's text to its place as memray's table has it: `function at file:line`, escaped."""
    function, _, where = place.rpartition(" at ")
    file, _, line = where.rpartition(":")
    if not line.isdecimal():
        return place
    text = texts.get((html.unescape(file), int(line)), "")
    shown = f"{function} at {place_of(file, int(line))}"
    return f"{shown}: {html.escape(text)}" if text else shown
