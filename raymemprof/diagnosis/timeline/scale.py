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
_MOST_TICKS = 6
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""Seconds between two moments that are named; of less than one second, 1, 2 or 5 of a decimal."""
_TIME_WIDTH = 44
"""Pixels of half a moment's name."""
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
        """Return some round moments, of seconds since the epoch, with the decimals that tell them apart."""
        step, digits = _step((self.last - self.first) / _MOST_TICKS)
        found = []
        for number in range(math.ceil(self.first / step), math.floor(self.last / step) + 1):
            seconds, part = divmod(round(number * step * 1e6), 10**6)
            when = datetime.fromtimestamp(seconds, timezone.utc)
            decimals = f".{part:06d}"[: digits + 1] if digits else ""
            text = f"{when:%m-%d %H:%M}" if step >= _STEPS[-2] else f"{when:%H:%M:%S}{decimals}"
            found.append(Tick(round(min(self(number * step), WIDTH - _TIME_WIDTH), 1), text, "middle"))
        return tuple(found)

    def sizes(self) -> tuple[Tick, ...]:
        """Return some round sizes, of bytes from 0 on."""
        step = 1 << max(math.ceil(math.log2(max(self.last, 1) / _MOST_SIZES)), 0)
        return tuple(Tick(round(self(size), 1), show_bytes(size)) for size in range(0, int(self.last) + 1, step))


def _step(least: float) -> tuple[float, int]:
    """Return seconds that are round, and no fewer than these; and the decimals that they have."""
    if least > 0.5:
        days = math.ceil(least / _STEPS[-1])
        return next((step for step in _STEPS if step >= least), _STEPS[-1] * days), 0
    digits = math.ceil(-math.log10(least))
    step = next(step for step in (1, 2, 5, 10) if step >= least * 10**digits)
    return (step / 10**digits, digits) if step < 10 else (10 / 10**digits, digits - 1)
