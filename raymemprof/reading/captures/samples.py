"""What a journal says of a capture's calls and samples: memory, lines, and what was resident at each look."""

from __future__ import annotations

import bisect
import contextlib
import os
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from ... import journal as contract

__all__ = ["CallFacts", "Look", "Move", "Sample", "Samples", "read_samples"]

Frame = tuple[str, str, int]
_PIECES = re.compile(r"-(\d+)-\d+\.bin(\.\d+)?$")
_SLOW = 0.5
"""Seconds in which a pool gives little back."""
_CLOSE = 0.1
"""Seconds in which it takes little more."""
_ALIKE = 0.05
"""The part by which figures of before and after may differ."""


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known of a call outside the capture; bytes, None for what is not."""

    memory: int
    pools: int
    after: int | None = None
    peak: int | None = None
    free: int | None = None
    """What malloc kept of what was freed when it began."""
    used: int | None = None
    """What malloc had given out then."""
    highest: int | None = None
    """What its process's memory cannot have been above while it ran."""


@dataclass(frozen=True, slots=True)
class Move:
    """A change of the process's memory, and the places at which its calls were before and after it."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    moved: int
    pooled: int


@dataclass(frozen=True, slots=True)
class Look:
    """What was resident, as of a mark."""

    mark: int
    memory: int
    holes: int
    """Bytes of malloc's heaps that were not resident."""
    opaque: tuple[str, ...]
    libraries: int
    _starts: tuple[int, ...] = field(repr=False)
    _segments: tuple[tuple[int, int, float, float], ...] = field(repr=False)
    """First byte, end, and the parts that are resident as the process's own and otherwise."""

    @property
    def has_shared(self) -> bool:
        """Whether anything of files or shared memory was resident."""
        return any(segment[3] for segment in self._segments)

    def of(self, start: int, size: int) -> tuple[int, int]:
        """Return the bytes of a range that were the process's own, and those of files and shared memory."""
        end = start + size
        own, shared = float(size), 0.0
        index = max(bisect.bisect_right(self._starts, start) - 1, 0)
        for number in range(index, len(self._segments)):
            first, last, own_part, shared_part = self._segments[number]
            if first >= end:
                break
            overlap = min(last, end) - max(first, start)
            if overlap > 0:
                own -= overlap * (1 - own_part)
                shared += overlap * shared_part
        return max(round(own), 0), round(shared)


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample, as of its mark in the capture."""

    mark: int
    time: float
    memory: int
    shared: int
    pools: int
    arenas: int | None
    """Bytes resident in what pools have from the system; None where it was not asked."""
    free: int | None
    """Bytes that malloc kept of what was freed; None where it was not, or could not be, asked."""
    used: int | None
    """Bytes that malloc had given out, the same."""
    moves: tuple[Move, ...]
    look: Look | None

    def retained(self, look: Look | None) -> int | None:
        """Return the resident bytes that allocators kept of what was freed; None where not all of them were asked.

        `look` is the last one: how much of malloc's heaps is not resident hardly changes.
        """
        if self.free is None or self.arenas is None:
            return None
        return max(self.free - (look.holes if look is not None else 0), 0) + max(self.arenas - self.pools, 0)


@dataclass(frozen=True, slots=True)
class Samples:
    """All that a journal says of one capture."""

    by_mark: dict[int, Sample] = field(default_factory=dict)
    places: dict[int, tuple[Frame, ...]] = field(default_factory=dict)
    calls: dict[tuple[int, int], CallFacts] = field(default_factory=dict)
    """By slot and turn."""
    arenas: set[int] = field(default_factory=set)
    """Addresses at which arenas of pools begin, whose memory is sampled."""
    left_out: int = 0
    """How many lines of the journal were damaged."""
    is_unclosed: bool = False
    """Whether its process is gone and did not close it."""
    checksum: tuple[int, int] | None = None
    """Bytes and CRC-32 of the capture when its process had closed it; None where nobody says."""
    sources: dict[str, contract.Source] = field(default_factory=dict)
    """What the journal says of the files that code is of."""


def read_samples(capture: Path) -> Samples:
    """Return what the journal beside a capture says of it; nothing where there is none, or an older version's."""
    name = re.sub(r"\.bin\.\d+$", ".bin", capture.name)
    is_forks = name != capture.name
    for path in _journals(capture):
        with contextlib.suppress(OSError):
            status = path.stat()
            process, captures = _read_journal(path, status.st_size, status.st_mtime_ns)
            found = captures.get(name)
            if found is not None and is_forks:
                return replace(found, is_unclosed=False, checksum=None)
            if found is not None:
                return replace(found, is_unclosed=found.is_unclosed and not contract.is_alive(process))
    return Samples()


@lru_cache(maxsize=2)
def _read_journal(path: Path, size: int, changed: int) -> tuple[contract.Process, dict[str, Samples]]:
    """What a journal says of its process and of each capture; of many that one process wrote it is read once."""
    process: contract.Process | None = None
    found: dict[str, Samples] = {}
    numbers: dict[int, tuple[Samples, tuple[int, int]]] = {}
    sources: dict[str, contract.Source] = {}
    lines = contract.read_lines(path, with_samples=True)
    left_out = 0
    for line in lines:
        if isinstance(line, contract.Process):
            process = process or line
        elif isinstance(line, contract.Source):
            sources[line.file] = line
        try:
            _take(line, found, numbers)
        except ValueError:  # what a frame is called is not what it must be
            left_out += 1
    for samples in found.values():
        _fill_arenas(samples)
    left_out += lines.left_out
    for name, samples in found.items():
        found[name] = replace(samples, left_out=left_out, sources=sources)
    return process or contract.Process(), found


def _fill_arenas(found: Samples) -> None:
    """Where it was not asked how much of the pools' memory is resident, take what was so shortly before or after.

    Pools are slow to give memory back.
    """
    ordered = sorted(found.by_mark.values(), key=lambda sample: sample.time)
    after: list[tuple[float, int] | None] = []
    coming = None
    for sample in reversed(ordered):
        coming = (sample.time, sample.arenas) if sample.arenas is not None else coming
        after.append(coming)
    before, most = None, 0
    for sample, later in zip(ordered, reversed(after), strict=True):
        most = max(most, sample.pools)
        if sample.arenas is not None:
            before, most = (sample.time, sample.arenas), 0
            continue
        # What was known before holds only where the pools have not had more since, and both must say the same.
        near = [
            (abs(one[0] - sample.time), one[1])
            for one in (before if before is not None and most <= before[1] else None, later)
            if one is not None and abs(one[0] - sample.time) <= _SLOW
        ]
        told = [bytes_ for _, bytes_ in near]
        is_known = len(told) == 2 and max(told) - min(told) <= max(told) * _ALIKE
        if is_known or (len(told) == 1 and near[0][0] <= _CLOSE):
            found.by_mark[sample.mark] = replace(sample, arenas=max(max(told), sample.pools))


def _journals(capture: Path) -> list[Path]:
    """Those that the process which wrote a capture may have written: its pid is in the name."""
    pieces = _PIECES.search(capture.name)
    if pieces is None:
        return []
    ending = re.compile(rf"-{pieces[1]}-\d+\.jsonl$")
    try:
        names = os.listdir(capture.parent)
    except OSError:
        return []
    return [capture.parent / name for name in names if contract.is_journal(name) and ending.search(name)]


def _take(line: contract.Event, found: dict[str, Samples], numbers: dict[int, tuple[Samples, tuple[int, int]]]) -> None:
    if isinstance(line, (contract.Place, contract.Sample, contract.Begin)):
        if line.capture is None:
            return
        samples = found.setdefault(line.capture.rpartition("/")[2], Samples())
        if isinstance(line, contract.Place):
            for function, file, _ in line.stack:
                if file == contract.FRAME_FILE:
                    contract.slot_of(function)  # raises ValueError where it is none of ours
            samples.places[line.place] = tuple(line.stack)
        elif isinstance(line, contract.Sample):
            samples.by_mark[line.mark] = _sample(line)
            samples.arenas.update(first * line.page for first, _ in line.arena_ranges)
        elif line.slot is not None and line.turn is not None:
            place = (line.slot, line.turn)
            samples.calls[place] = CallFacts(line.memory, line.pools, free=line.free, used=line.used)
            numbers[line.call] = (samples, place)
    elif isinstance(line, contract.Peak):
        for number in line.calls:
            if number in numbers:
                _known(*numbers[number], None, line.memory, None)
    elif isinstance(line, contract.End) and line.call in numbers:
        _known(*numbers[line.call], line.memory, line.peak, line.highest)
    elif isinstance(line, contract.Close):
        samples = found.setdefault(line.capture, Samples())
        checksum = (line.bytes, line.crc32) if line.bytes is not None and line.crc32 is not None else None
        found[line.capture] = replace(samples, is_unclosed=False, checksum=checksum)
    elif isinstance(line, contract.Open):
        found[line.capture] = replace(found.get(line.capture, Samples()), is_unclosed=True)


def _known(samples: Samples, place: tuple[int, int], after: int | None, peak: int, highest: int | None) -> None:
    known = samples.calls[place]
    samples.calls[place] = replace(
        known,
        after=known.after if after is None else after,  # the sampler may write a peak after the end
        peak=max(known.peak or 0, peak),
        highest=known.highest if highest is None else highest,
    )


def _sample(line: contract.Sample) -> Sample:
    look = None
    if line.segments is not None:
        segments = []
        for first, pages, own, shared in line.segments:
            if pages:
                begin = first * line.page
                end = begin + pages * line.page
                segments.append((begin, end, min(own / pages, 1.0), min(shared / pages, 1.0)))
        segments.sort()
        look = Look(
            mark=line.mark,
            memory=line.memory,
            holes=line.holes,
            opaque=tuple(line.opaque),
            libraries=line.libraries,
            _starts=tuple(segment[0] for segment in segments),
            _segments=tuple(segments),
        )
    return Sample(
        mark=line.mark,
        time=line.time,
        memory=line.memory,
        shared=line.shared,
        pools=line.pools,
        arenas=line.arenas,
        free=line.free,
        used=line.used,
        moves=tuple(Move(tuple(before), tuple(after), *sizes) for before, after, *sizes in line.moves),
        look=look,
    )
