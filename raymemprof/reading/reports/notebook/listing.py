"""A table of what lines hold, as a notebook shows it: the largest rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any

from ....display.text import printable, show_bytes

__all__ = ["Listing", "listing"]

_MOST_ROWS = 200
_LONGEST = 300
"""Characters of a place in the code."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows as text, the largest first: size, allocations, allocator, place in the code."""

    rows: tuple[tuple[str, str, str, str], ...]
    more: str
    """What the rows that are not shown are, and hold."""


def listing(rows: Sequence[Mapping[str, Any]]) -> Listing:
    """Return the largest rows of memray's table."""
    ranked = sorted(rows, key=lambda row: -row["size"])
    hidden = ranked[_MOST_ROWS:]
    more = f"… and {len(hidden):,} more, with {show_bytes(sum(row['size'] for row in hidden))} together: see the file."
    return Listing(tuple(map(_cells, ranked[:_MOST_ROWS])), more if hidden else "")


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    place = printable(unescape(row["stack_trace"]))
    place = place if len(place) <= _LONGEST else f"…{place[-_LONGEST:]}"
    return show_bytes(row["size"]), f"{row['n_allocations']:,}", row["allocator"], place
