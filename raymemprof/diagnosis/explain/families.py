"""What a call's child processes used, and what lowers it: a DataLoader's workers, a pool, a subprocess."""

from __future__ import annotations

from collections.abc import Iterable

from ...display.text import printable, show_bytes
from ...reading.catalog.records import Call

__all__ = ["copies_much", "is_mainly", "largest_family", "steps", "told"]

_LEAST = 64 * 2**20
"""Bytes that children use from which it is told."""
_PART = 0.1
"""And this part of the call's peak."""
_MAINLY = 0.5
"""From this part on they are what is to be made smaller."""
_MOST_NAMED = 3


def largest_family(calls: Iterable[Call]) -> Call | None:
    """Return the call whose children used most, where that is worth telling."""
    most = max(calls, key=lambda call: call.children_peak, default=None)
    return most if most is not None and _is_worth_telling(most, most.children_peak) else None


def is_mainly(call: Call | None) -> bool:
    """Whether it is the children that used most, and not the call itself."""
    return call is not None and call.children_peak >= call.peak_memory * _MAINLY


def copies_much(call: Call) -> bool:
    """Whether its children copied as much of its memory as is worth telling."""
    return _is_worth_telling(call, call.children_copied or 0)


def told(call: Call) -> str:
    """Say what a call's children used."""
    count, named = call.children_count, len(call.children)
    largest = [
        f"{printable(child.name)} (pid {child.pid}) {show_bytes(child.memory)}" for child in call.children[:_MOST_NAMED]
    ]
    of = f": {', '.join(largest)}{', …' if named > _MOST_NAMED else ''}" if largest else ""
    many = f"{count} child processes" if count > 1 else "child process"
    used = f"In addition, the {many} of {call.name} used {show_bytes(call.children_peak)}{of}."
    if not copies_much(call):
        return used
    copies = f"About {show_bytes(call.children_copied)} of that is copies of memory that they had from the process"
    return f"{used} {copies} that forked them."


def steps(call: Call) -> list[str]:
    """Return what lowers it: fewer children where they are the larger part, and fewer copies where those are many."""
    found = []
    if is_mainly(call):
        count = max(call.children_count, 1)
        each = f", each {show_bytes(call.children_peak // count)}" if count > 1 else ""
        found.append(
            f"Have {call.name} start fewer child processes{each}, or smaller ones: `num_workers=` of a DataLoader, "
            "`processes=` of a Pool."
        )
    # What an older version recorded does not say how much was copied.
    is_unknown = call.children_copied is None and any(child.name.startswith("ray::") for child in call.children)
    if (is_unknown and is_mainly(call)) or copies_much(call):
        found.append(
            "They are forks: each page that they write to is copied. Reading a Python object changes its reference "
            "count, which is a write. Keep the data in arrays (NumPy, Arrow, tensors) or in a memory-mapped file."
        )
    return found


def _is_worth_telling(call: Call, size: int) -> bool:
    return size >= max(_LEAST, call.peak_memory * _PART)
