"""Folds the smallest of very many call stacks, so that a graph of them stays one that a browser can show."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...display.text import show_bytes
from ..captures.model import Stack
from ..captures.totals import SMALLER

__all__ = ["Folded", "fold"]


class _Box(NamedTuple):
    """A box that is not drawn yet: what is the same up to a depth, in some of the stacks."""

    order: tuple[int, int]
    """The largest first; of equal ones that which was found first."""
    depth: int
    rows: list[int]
    above: int
    """The number of the box that it stands on."""


@dataclass(frozen=True, slots=True)
class Folded:
    """Stacks of which the smallest are folded; as text, what was folded, or nothing."""

    stacks: tuple[Stack, ...]
    """Each as it is to be drawn, in the order in which they were given."""
    count: int
    """How many were folded."""
    size: int
    """What these held, and those that were too many to be told one by one before: bytes."""
    total: int
    is_all: bool
    """Whether `count` is that of all."""

    def __str__(self) -> str:
        if not self.count and self.is_all:
            return ""
        least = f" (more than {self.count:,})" if self.count else ""
        which = f"{self.count:,} smallest call stacks" if self.is_all else f"smallest call stacks{least}"
        share = f", {self.size / self.total:.1%} of all" if self.total else ""
        return f"The {which} are drawn together; they held {show_bytes(self.size)}{share}."


def fold(stacks: Sequence[Stack], sizes: Sequence[int], most: int) -> Folded:
    """Fold stacks so that a graph of them has at most about twice `most` boxes.

    The largest boxes are kept, each with all that it stands on; the others that stand on the same box become one.
    """
    drawn = list(stacks)
    count = 0
    if sum(map(len, stacks)) > most:
        for rows, depth in _smallest(stacks, sizes, most):
            several = len({stacks[row] for row in rows})
            if several == 1 and len(stacks[rows[0]]) <= depth + 1:
                continue  # it is one box anyhow
            count += several
            kept = stacks[rows[0]]
            frame = (f"({several:,} smaller call stack{'s' * (several != 1)})", "", 0)
            for row in rows:
                drawn[row] = (frame, *kept[len(kept) - depth :])
    told_before = {row for row, stack in enumerate(stacks) if stack == SMALLER}
    folded = told_before | {row for row, stack in enumerate(drawn) if stack is not stacks[row]}
    return Folded(tuple(drawn), count, sum(sizes[row] for row in folded), sum(sizes), is_all=not told_before)


def _smallest(stacks: Sequence[Stack], sizes: Sequence[int], most: int) -> Iterator[tuple[list[int], int]]:
    """Yield stacks that have no box of their own, by the box that they stand on, with its depth."""
    number = kept = 0
    waiting = [_Box((0, 0), 0, list(range(len(stacks))), 0)]
    while waiting and kept < most:
        box = heapq.heappop(waiting)
        kept += 1
        below: dict[object, list[int]] = defaultdict(list)
        for row in box.rows:
            if len(stacks[row]) > box.depth:
                below[stacks[row][-1 - box.depth]].append(row)
        for rows in below.values():
            number += 1
            heapq.heappush(waiting, _Box((-sum(sizes[row] for row in rows), number), box.depth + 1, rows, kept))
    together: dict[int, list[int]] = defaultdict(list)
    depths: dict[int, int] = {}
    for box in waiting:
        together[box.above] += box.rows
        depths[box.above] = box.depth - 1
    for above, rows in together.items():
        yield rows, depths[above]
