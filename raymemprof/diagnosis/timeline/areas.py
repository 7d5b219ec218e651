"""Memory over time on a grid: of each part of the time the highest, so that processes can be stacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...reading.catalog.series import Point

__all__ = ["Area", "Grid", "stacked"]


@dataclass(frozen=True, slots=True)
class Grid:
    """Equal parts of the time that is shown; seconds since the epoch."""

    first: float
    last: float
    parts: int

    @property
    def width(self) -> float:
        """Seconds of a part."""
        return max(self.last - self.first, 1e-6) / self.parts

    def part_of(self, time: float) -> int:
        """Return which part a moment is in; that of the beginning or the end where it is in none."""
        return min(max(int((time - self.first) / self.width), 0), self.parts - 1)

    def highest(self, points: Sequence[Point]) -> list[int]:
        """Return the highest of each part, with what is between two points on the line that joins them; else 0."""
        found = [0] * self.parts
        for one, next_one in zip(points, points[1:] or points, strict=False):
            for part in range(self.part_of(one.time), self.part_of(next_one.time) + 1):
                begin = self.first + part * self.width
                at = (max(one.time, begin), min(next_one.time, begin + self.width))
                found[part] = max(found[part], *(_between(one, next_one, time) for time in at))
        return found


@dataclass(frozen=True, slots=True)
class Area:
    """What a process adds to those below it: a polygon's upper and lower edge, as moments and bytes."""

    upper: tuple[tuple[float, int], ...]
    lower: tuple[tuple[float, int], ...]


def stacked(grid: Grid, series: Sequence[Sequence[Point]]) -> tuple[list[Area], list[int]]:
    """Return an area for each, each on those before it, and the height of all together in each part."""
    sums = [0] * grid.parts
    areas = []
    for points in series:
        own = grid.highest(points)
        start, end = grid.part_of(points[0].time), grid.part_of(points[-1].time)
        times = [grid.first + (part + 0.5) * grid.width for part in range(start, end + 1)]
        before = sums[start : end + 1]
        sums[start : end + 1] = [below + own[start + at] for at, below in enumerate(before)]
        areas.append(
            Area(
                _edge(times, sums[start : end + 1], points[0].time, points[-1].time),
                _edge(times, before, points[0].time, points[-1].time),
            )
        )
    return areas, sums


def _edge(times: list[float], heights: list[int], first: float, last: float) -> tuple[tuple[float, int], ...]:
    """An edge from the first moment to the last, in the middle of each part at its height."""
    inner = [(time, height) for time, height in zip(times, heights, strict=True) if first < time < last]
    return ((first, heights[0]), *inner, (last, heights[-1]))


def _between(one: Point, other: Point, time: float) -> int:
    if other.time <= one.time:
        return max(one.memory, other.memory)
    part = min(max((time - one.time) / (other.time - one.time), 0.0), 1.0)
    return round(one.memory + part * (other.memory - one.memory))
