"""A table of what lines hold, as a notebook shows it: the largest rows, which sort and filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any, ClassVar, NamedTuple

from ....display.rows import Rows
from ....display.text import printable, show_bytes

__all__ = ["Listing", "listing"]

_MOST_ROWS = 200
_LONGEST = 300
"""Characters of a place in the code."""


class _Row(NamedTuple):
    """A row of memray's table, as text."""

    size: str
    allocations: str
    allocator: str
    place: str


class Listing(Rows[_Row]):
    """What lines hold, the largest first."""

    _title: ClassVar[tuple[str, str]] = ("line and allocator", "lines and allocators")
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("size", lambda row: row.size, True),
        ("allocations", lambda row: row.allocations, True),
        ("allocator", lambda row: row.allocator, False),
        ("place", lambda row: row.place, False),
    )


def listing(rows: Sequence[Mapping[str, Any]]) -> Listing:
    """Return the largest rows of memray's table."""
    ranked = sorted(rows, key=lambda row: -row["size"])
    hidden = ranked[_MOST_ROWS:]
    more = f"… and {len(hidden):,} more, with {show_bytes(sum(row['size'] for row in hidden))} together: see the file."
    return Listing(map(_row, ranked[:_MOST_ROWS]), more if hidden else "")


def _row(row: Mapping[str, Any]) -> _Row:
    place = printable(unescape(row["stack_trace"]))
    place = place if len(place) <= _LONGEST else f"…{place[-_LONGEST:]}"
    return _Row(show_bytes(row["size"]), f"{row['n_allocations']:,}", row["allocator"], place)
