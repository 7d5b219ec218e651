"""What a process held over its life, where several captures, one after the other, recorded it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import CaptureError
from .heap import Heap, heap
from .lines import summed
from .targets import EarlierCapture

__all__ = ["heap_of_life"]

_MOST_CAPTURES = 32
"""Captures of one process that are summed, the latest: of each the later ones are read again."""


def heap_of_life(captures: Sequence[Path]) -> Heap:
    """Return what a process held that was traced in several captures, one after the other: all of them together.

    What it allocated in an earlier capture counts as far as it was alive at its end and no later one shows it to have
    been freed. What was allocated, or freed, while nothing was traced is not known.

    Args:
        captures: the process's captures, in the order in which they were opened.

    Raises:
        CaptureError: none of them can be read.
        FileNotFoundError: there is no such file.
    """
    last, before = captures[-1], captures[:-1][-_MOST_CAPTURES:]
    if not before:
        return heap(last)
    not_summed = len(captures) - 1 - len(before)
    all_before = [EarlierCapture(path, tuple(captures[number:])) for number, path in enumerate(before, not_summed + 1)]
    left_out = [f"{not_summed} earlier captures of the process are not summed."] if not_summed else []
    try:
        earlier = heap(all_before)
    except (CaptureError, OSError) as error:
        found = heap(last)
        return replace(found, left_out=(*left_out, str(error), *found.left_out))
    try:
        found = heap(last)
    except (CaptureError, OSError) as error:
        return replace(earlier, left_out=(*left_out, str(error), *earlier.left_out))
    return replace(
        found,
        title=f"{earlier.call_count + 1} captures of one process",
        peak=earlier.alive_at_end + found.peak,
        alive_at_end=earlier.alive_at_end + found.alive_at_end,
        allocations=earlier.allocations + found.allocations,
        at_peak=summed(earlier.at_end, found.at_peak),
        at_end=summed(earlier.at_end, found.at_end),
        grew=None,  # nor what is made of it: between captures nobody looked
        retained=None,
        unseen=None,
        retained_before=None,
        retained_at_end=_both(earlier.retained_at_end, found.retained_at_end),
        left_out=(*left_out, *earlier.left_out, *found.left_out),
    )


def _both(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second
