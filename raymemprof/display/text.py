"""How sizes, durations, counts and names are written as text."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["counted", "first_few", "in_html", "listed", "printable", "show_bytes", "show_name", "show_seconds"]

_MOST_MISSING = 3
"""How many of the nodes or files that are missing are named."""
_LONGEST_NAME = 80
"""Characters of a name that are shown."""
_CODE = re.compile(r"`([^`]+)`")


def show_bytes(size: int | None) -> str:
    """Write a size as people read it: `1.5 GiB`; nothing for None."""
    if size is None:
        return ""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def show_seconds(seconds: float | None) -> str:
    """Write a duration as people read it; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def counted(count: int, one: str, many: str) -> str:
    """Write a count with its noun: `1 call`, `2 calls`."""
    return f"{count} {one if count == 1 else many}"


def first_few(missing: Sequence[object]) -> list[str]:
    """Say what is missing, each with a sentence; of many the first, and how many more."""
    more = len(missing) - _MOST_MISSING
    return [*map(str, missing[:_MOST_MISSING]), *([f"… and {more} more are missing here"] if more > 0 else [])]


def printable(text: str) -> str:
    """Return a text that names come into without their line breaks and control characters, which a terminal obeys."""
    return "".join(character if character.isprintable() else "�" for character in text)


def show_name(name: str) -> str:
    """Write a name as it is shown: of a long one the beginning and the end, and words where it is blank."""
    text = printable(name)
    if not text.strip():
        return "(no name)"
    half = _LONGEST_NAME // 2
    return text if len(text) <= _LONGEST_NAME else f"{text[: half - 1]}…{text[-half:]}"


def in_html(text: str) -> str:
    """Return a text as HTML that shows it; what stands between backticks is code."""
    from markupsafe import escape  # as templates do it

    return _CODE.sub(r"<code>\1</code>", str(escape(printable(text))))
