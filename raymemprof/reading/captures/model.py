"""What is asked of a capture, and what is answered: plain data that goes to reader processes and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

__all__ = [
    "TOO_LOW",
    "Answer",
    "CallPlace",
    "CaptureSum",
    "Child",
    "Failure",
    "Figures",
    "Frame",
    "Request",
    "Row",
    "Snapshot",
    "SourceFile",
    "Stack",
    "TemporalRow",
]

TOO_LOW = "figures may be too low"
"""Stands in a note on what of a capture was not read."""
Frame = tuple[str, str, int]
"""Function, file, line."""
Stack = tuple[Frame, ...]
"""Innermost frame first, as memray has them."""
CallPlace = tuple[int, int]
"""A call's slot and turn in its capture."""


@dataclass(frozen=True, slots=True)
class Child:
    """A forked child whose capture is part of a call, or of a whole capture."""

    path: str
    """Its capture."""
    of: str
    """That of the process which it descends from."""
    place: CallPlace | None
    """The call there."""
    origin: Stack
    """What its stacks stand on: a frame that says which child it was, and the line that forked it."""
    alive_from: float
    """Seconds since the epoch. What it holds is left at the call's end only if it lived as long as that."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to read: the calls at `places`, each by itself, or the whole capture where that is None."""

    path: str
    places: tuple[CallPlace, ...] | None = None
    complete: frozenset[CallPlace] = frozenset()
    """Those of them whose end the capture must hold; what it cuts off is left out of the sum."""
    views: tuple[str, ...] = ("peak",)
    """Of "peak", "leaks" and "temporary"; a temporal report is of the first."""
    with_snapshots: bool = False
    """Whether the process's memory over time is wanted: reports of a single capture show it."""
    temporal: bool = False
    later: tuple[str, ...] = ()
    """The captures that the process wrote next: what they show to have been freed was not alive at the end."""
    window: tuple[float, float] | None = None
    """Seconds since the epoch between which a temporal report's allocations were made; memray has them to 10 ms."""
    child: Child | None = None
    """Whose capture it is, where it is read as a part of another's."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one call stack allocated, by one allocator."""

    stack: Stack
    allocator: int
    bytes: int
    """Resident, as far as that is known."""
    allocations: int
    reserved: int = 0
    """Bytes that were asked for and are not resident."""
    shared: int = 0
    """Resident bytes of files and shared memory."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole process at one moment, as memray saw it: milliseconds since the epoch, bytes."""

    time: int
    rss: int
    heap: int


@dataclass(frozen=True, slots=True)
class TemporalRow:
    """What one call stack allocated, and when: from one snapshot, to another or None, so many allocations and bytes."""

    stack: Stack
    allocator: int
    intervals: tuple[tuple[int, int | None, int, int], ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one call, or a whole capture where `place` is None, allocated: bytes, as far as is known resident ones."""

    path: str
    place: CallPlace | None
    peak: int
    alive_at_end: int
    allocations: int
    ended: bool
    """Whether the capture holds the call's end."""
    reserved: int = 0
    """Bytes that were asked for and were not resident, at the peak."""
    shared: int = 0
    """Resident bytes of files and shared memory, at the peak."""
    grew: int | None = None
    """By how much the process's memory had grown then; None where it was not looked at, or others ran beside it."""
    retained: int | None = None
    """By how much what allocators keep of freed memory had grown."""
    unseen: int | None = None
    """What the process had grown by beyond these."""
    released: int = 0
    """What the process had had before, and had given back by then."""
    retained_before: int | None = None
    """What allocators kept of freed memory when it began; None where they were not asked."""
    retained_at_end: int | None = None
    """`retained`, as of the last look before the end."""
    notes: tuple[str, ...] = ()
    """What else is to be known of the figures: sentences."""
    checked: bool = False
    """Whether the capture has the checksum that its process wrote when it closed it."""
    child_of: str | None = None
    """Of a forked child, the capture that it is part of; `place` is its call there."""
    owner: tuple[str, str] | None = None
    """Of a block, function and file of the frame it stands in."""
    last_seen: float = 0.0
    """When memray noted last that the process lived: seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """What is known of a file that frames are in."""

    name: str | None = None
    """What it is called, if not by its path: a notebook's cell."""
    digest: str = ""
    """The checksum of all its text, if it was kept."""
    lines: dict[int, str] = field(default_factory=dict)
    """The text of the lines that frames name, as far as it is known."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A capture that could not be read, and why: one sentence."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class CaptureSum:
    """What captures hold of what was asked for, summed."""

    figures: tuple[Figures, ...]
    rows: dict[str, tuple[Row, ...]]
    """By view."""
    pid: int
    native: bool
    python_allocators: bool
    allocator: str
    """Python's own for small objects, as memray names it."""
    started_at: datetime
    ended_at: datetime
    command: str
    foreign: bool
    """Whether raymemprof did not write this capture."""
    sources: dict[str, SourceFile] = field(default_factory=dict)
    """The user's files that the rows name."""
    snapshots: tuple[Snapshot, ...] = ()
    """These and the rest are of a single capture; of several there are none."""
    temporal_rows: tuple[TemporalRow, ...] = ()
    high_water_marks: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What captures hold, and which of them could not be read; no sum where that is all of them."""

    sum: CaptureSum | None
    failures: tuple[Failure, ...] = ()
    left: tuple[Request, ...] = ()
    """What was not read for want of memory, and may be where nothing else is held."""
