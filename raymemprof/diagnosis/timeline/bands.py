"""Calls as bands: in rows where they overlap, and those that are too narrow to be told apart as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...display.text import printable, show_bytes, show_name, show_seconds
from ...reading.catalog.records import Call
from ...reading.catalog.series import Life

__all__ = ["Band", "bands_of", "joined"]

_MOST_ROWS = 4
"""Rows of one process: of more calls at once the rest are drawn over the last."""
_NARROW = 3.0
"""Pixels below which a band is drawn together with its neighbour."""
_STATUSES = ("killed", "failed", "cancelled", "running", "finished")
"""What a band of several calls is shown as: the first that one of them is."""


@dataclass(slots=True)
class Band:
    """One call, or several that lie close together; pixels."""

    row: int
    left: float
    right: float
    calls: list[Call]

    @property
    def status(self) -> str:
        """What became of it, or the worst of what became of them."""
        return min((call.status for call in self.calls), key=_STATUSES.index)

    @property
    def sign(self) -> str:
        """What stands before its name: whether it was killed, failed or was retried."""
        signs = {"killed": "✕ ", "failed": "! "}.get(self.status, "")
        return ("↻ " if any(call.attempt for call in self.calls) else "") + signs

    @property
    def label(self) -> str:
        """Its name, or how many calls of which function."""
        names = Counter(call.name for call in self.calls)
        name = show_name(names.most_common(1)[0][0]) if len(names) == 1 else "various functions"
        return name if len(self.calls) == 1 else f"{len(self.calls)} calls of {name}"

    @property
    def told(self) -> str:
        """All that is to be said of it."""
        if len(self.calls) > 1:
            statuses = Counter(call.status for call in self.calls)
            listed = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
            return f"{self.label}: {listed}; highest peak {show_bytes(max(call.peak_memory for call in self.calls))}"
        (call,) = self.calls
        attempt = f", attempt {call.attempt + 1}" if call.attempt else ""
        error = f" ({printable(call.error)[:200]})" if call.error else ""
        lasted = f", {show_seconds(call.duration)}" if call.duration is not None else ""
        return f"{self.label}{attempt}: {call.status}{error}, peak {show_bytes(call.peak_memory)}{lasted}"


def bands_of(life: Life, across: Callable[[float], float]) -> tuple[list[Band], int]:
    """Return the bands of a process, by row and time, and how many calls had no row of their own."""
    ends: list[float] = []
    rows: list[list[Band]] = []
    crowded = 0
    for call in life.calls:
        start = call.started_at.timestamp()
        end = start + call.duration if call.duration is not None else max(life.end, start)
        row = next((number for number, until in enumerate(ends) if until <= start), None)
        if row is None and len(rows) < _MOST_ROWS:
            row = len(rows)
            rows.append([])
            ends.append(end)
        elif row is None:
            row = _MOST_ROWS - 1
            crowded += 1
        ends[row] = max(ends[row], end)
        _add(rows[row], Band(row, across(start), across(end), [call]), 1.0)
    return [band for row in rows for band in row], crowded


def joined(bands: Iterable[Band], gap: float) -> list[Band]:
    """Return bands with those as one that are no further apart, and one of them no wider, than so many pixels."""
    rows: dict[int, list[Band]] = {}
    for band in bands:
        _add(rows.setdefault(band.row, []), band, gap)
    return [band for row in rows.values() for band in row]


def _add(row: list[Band], band: Band, gap: float) -> None:
    last = row[-1] if row else None
    if last is not None:
        narrower = min(band.right - band.left, last.right - last.left)
        is_over = band.left < last.right - 0.5
        if is_over or (band.left - last.right < gap and narrower < max(gap, _NARROW)):
            last.right = max(last.right, band.right)
            last.calls += band.calls
            return
    row.append(band)
