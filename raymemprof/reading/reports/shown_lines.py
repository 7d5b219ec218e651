"""Puts the text of lines into memray's reports as it was recorded; memray takes it from the files that are here now."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from ...cells import place_of
from ..captures.model import Frame, Stack
from ..captures.stacks import guilty

__all__ = ["add_to_flame_graph", "shown_place"]

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


def shown_place(stack: Stack, texts: Texts) -> str:
    """Write where a stack allocates, as a table has it; of a library's code also for which line of the user's."""
    if not stack:
        return "???"
    inner, users = stack[0], guilty(stack)
    where = f"{inner[0]} at {_with_text(inner, texts)}" if inner[2] else inner[0]
    return f"{where}, for {_with_text(users, texts)}" if users != inner and users[2] else where


def _with_text(frame: Frame, texts: Texts) -> str:
    _, file, line = frame
    text = texts.get((file, line), "")
    return f"{place_of(file, line)}: {text}" if text else place_of(file, line)
