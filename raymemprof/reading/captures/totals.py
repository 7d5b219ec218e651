"""Sums of what captures hold, added up as they come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .model import Answer, CaptureSum, Failure, Figures, Frame, Row, Stack
from .source_lines import merged

__all__ = ["SMALLER", "RowSum", "Total"]

SMALLER: Stack = (("(places that hold less)", "", 0),)
"""Stands for the places in the code that are too many to tell one by one."""
_MOST_ROWS = 50_000
"""Places in the code that a sum tells one by one: some 30 MB of memory."""


class RowSum:
    """Rows summed by place in the code as they come; of very many places the smallest are summed into one."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._found: dict[tuple[Stack, int], list[int]] = {}
        self._frames: dict[Frame, Frame] = {}
        """Each frame once: it is in many stacks."""
        self.add(rows)

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows into the sum."""
        for row in rows:
            total = self._found.get((row.stack, row.allocator))
            if total is None:
                stack = tuple([self._frames.setdefault(frame, frame) for frame in row.stack])
                self._found[stack, row.allocator] = [row.bytes, row.allocations, row.reserved, row.shared]
            else:
                total[0] += row.bytes
                total[1] += row.allocations
                total[2] += row.reserved
                total[3] += row.shared
        if len(self._found) > 2 * _MOST_ROWS:
            self._cut()

    def _cut(self) -> None:
        """Keep the largest."""
        ranked = sorted(self._found.items(), key=lambda item: item[1][0], reverse=True)
        self._found, self._frames = {}, {}
        self.add(Row(stack, allocator, *figures) for (stack, allocator), figures in ranked[:_MOST_ROWS])
        self.add(Row(SMALLER, allocator, *figures) for (_, allocator), figures in ranked[_MOST_ROWS:])

    def rows(self) -> tuple[Row, ...]:
        """Return one row for each place."""
        return tuple(Row(stack, allocator, *figures) for (stack, allocator), figures in self._found.items())


class Total:
    """A sum of answers that are added as they come, and not kept."""

    def __init__(self) -> None:
        self._sum: CaptureSum | None = None
        self._figures: list[Figures] = []
        self._rows: dict[str, RowSum] = {}
        self._failures: list[Failure] = []

    def add(self, answer: Answer) -> None:
        """Take an answer into the sum."""
        self._failures += answer.failures
        new, before = answer.sum, self._sum
        if new is None:
            return
        self._figures += new.figures
        is_of_children = bool(new.figures) and all(one.child_of is not None for one in new.figures)
        for view, rows in new.rows.items():
            self._rows.setdefault(view, RowSum()).add(rows)
        if before is None:
            self._sum = replace(new, figures=(), rows={})
            return
        if is_of_children:  # it is still one capture's, with a part that has a file of its own
            self._sum = replace(before, sources=merged(before.sources, new.sources))
            return
        self._sum = replace(
            before,
            native=before.native or new.native,
            sources=merged(before.sources, new.sources),
            started_at=min(before.started_at, new.started_at),
            ended_at=max(before.ended_at, new.ended_at),
            snapshots=(),
            temporal_rows=(),
            high_water_marks=None,
        )

    @property
    def figures(self) -> tuple[Figures, ...]:
        """Those of what was added."""
        return tuple(self._figures)

    def answer(self) -> Answer:
        """Return what was added, as one answer."""
        failures = tuple(self._failures)
        if self._sum is None:
            return Answer(None, failures)
        rows = {view: rows.rows() for view, rows in self._rows.items()}
        return Answer(replace(self._sum, figures=tuple(self._figures), rows=rows), failures)
