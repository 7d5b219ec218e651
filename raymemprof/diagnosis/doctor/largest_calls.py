"""Which calls are looked into: the largest of each function, and not too many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ... import cluster
from ...reading.catalog.records import Call
from .findings import Unclear

__all__ = ["MOST_FUNCTIONS", "largest_each", "not_looked_at", "untraced"]

MOST_FUNCTIONS = 3
"""Functions whose largest call is looked into: reading a capture takes up to seconds."""


def largest_each(calls: Iterable[Call], size: Callable[[Call], int]) -> list[Call]:
    """Return the largest call of each function, one that was traced where there is any; the largest first."""
    found: dict[str, Call] = {}
    for call in calls:
        known = found.get(call.name)
        if not cluster.is_ours(call.name) and (
            known is None or (call.capture is not None, size(call)) > (known.capture is not None, size(known))
        ):
            found[call.name] = call
    return sorted(found.values(), key=lambda call: -size(call))


def untraced(illness: str, call: Call, what: str) -> Unclear:
    """Say that it is not known what a call allocated."""
    why = "its capture cannot be read" if call.capture is not None else call.note or "its capture is gone"
    return Unclear(illness, f"what the call of {call.name} {what} held is not known ({why})")


def not_looked_at(illness: str, most_first: list[Call]) -> Iterator[Unclear]:
    """Say which functions were not looked into."""
    rest = most_first[MOST_FUNCTIONS:]
    if rest:
        more = f" and {len(rest) - 1} more" if len(rest) > 1 else ""
        yield Unclear(illness, f"only {MOST_FUNCTIONS} functions were looked into, not {rest[0].name}{more}")
