"""Where a time or a size lies in the picture, and the lines that say so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone

from ...display.text import show_bytes

__all__ = ["LEFT", "RIGHT", "WIDTH", "Scale", "Tick"]

WIDTH = 960
LEFT, RIGHT = 92, 16
"""Pixels around what is drawn."""
_TICKS = 4
_MOST_SIZES = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across, or a moment below."""

    at: float
    text: str
    side: str = "end"


@dataclass(frozen=True, slots=True)
class Scale:
    """Pixels of figures from `first` to `last`."""

    first: float
    last: float
    start: float
    end: float

    def __call__(self, figure: float) -> float:
        """Return where a figure lies."""
        part = (figure - self.first) / (self.last - self.first)
        return self.start + min(max(part, 0.0), 1.0) * (self.end - self.start)

    def times(self) -> tuple[Tick, ...]:
        """Return some moments, of seconds since the epoch."""
        seconds = self.last - self.first
        found = []
        for tick in range(_TICKS + 1):
            when = datetime.fromtimestamp(self.first + seconds * tick / _TICKS, timezone.utc)
            digits = 2 if seconds < 2 else 1 if seconds < 2 * _TICKS else 0
            part = f".{when.microsecond:06d}"[: digits + 1] if digits else ""
            side = ("start", "middle", "end")[(tick > 0) + (tick == _TICKS)]
            found.append(Tick(round(self(self.first + seconds * tick / _TICKS), 1), f"{when:%H:%M:%S}{part}", side))
        return tuple(found)

    def sizes(self) -> tuple[Tick, ...]:
        """Return some round sizes, of bytes from 0 on."""
        step = 1 << max(math.ceil(math.log2(max(self.last, 1) / _MOST_SIZES)), 0)
        return tuple(Tick(round(self(size), 1), show_bytes(size)) for size in range(0, int(self.last) + 1, step))
