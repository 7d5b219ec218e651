"""Lines of code, by what they held: a table of them, and sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ...cells import place_of
from ...display.record import Record
from ...display.rows import Rows
from ...display.text import printable, show_bytes, show_name
from ..captures.model import Frame
from ..captures.stacks import ESTIMATED_FILE, SAMPLED_FILE, guilty, is_import
from .merged import Reading

__all__ = ["WORTH_SHOWING", "Line", "Lines", "by_line", "summed"]

WORTH_SHOWING = 2**20
"""Bytes."""
_LONGEST_TEXT = 60
"""Characters of a line's text in a table."""
_BASES = {SAMPLED_FILE: "sampled", ESTIMATED_FILE: "estimated"}


@dataclass(frozen=True, slots=True)
class Line(Record):
    """A line of code and what it held.

    Attributes:
        function: the function that contains it.
        file: its file. A notebook's cell is called `In [7]`. A file that Ray shipped with a job has its path in the
            shipped folder (`pkg/steps.py`). Different files of the same name have part of their checksum after the
            name.
        line: its number.
        bytes: the resident part of the memory that it had allocated and not freed, at the peak or at the end.
        allocations: the number of these allocations.
        mean: the mean bytes per call, if many calls of one function were summed; else None.
        reserved: bytes that it had requested and that were not resident, because nothing had touched them.
        shared: resident bytes of files and shared memory that it had mapped, which RSS − SHR leaves out.
        basis: "traced" if memray saw each allocation; "sampled" if some of it is in a memory pool whose size was read
            while the code ran; "estimated" if some of it is what the process grew by while the line ran.
        text: the code in that line; empty if it is not known.
        is_import: whether Python allocated most of it to import modules, which it does once in a process. The line is
            the one that began the import.
    """

    function: str
    file: str
    line: int
    bytes: int
    allocations: int
    mean: int | None
    reserved: int = 0
    shared: int = 0
    basis: str = "traced"
    text: str = ""
    is_import: bool = False

    @property
    def location(self) -> str:
        """Where it is: file and number; the function's name where it is in no file of Python's."""
        return place_of(self.file, self.line) if self.file else self.function

    def __str__(self) -> str:
        return printable(f"{self.location} in {self.function}" if self.file else self.function)


class Lines(Rows[Line]):
    """A sequence of `Line`, the largest first."""

    _title: ClassVar[tuple[str, str]] = ("line by memory held", "lines by memory held")
    _columns: ClassVar[tuple[tuple[str, Callable[[Any], str], bool], ...]] = (
        ("function", lambda line: show_name(line.function), False),
        ("line", lambda line: line.location if line.file else "", False),
        ("bytes", lambda line: show_bytes(line.bytes), True),
        ("a call", lambda line: show_bytes(line.mean) if line.mean != line.bytes else "", True),
        ("reserved", lambda line: show_bytes(line.reserved) if line.reserved >= WORTH_SHOWING else "", True),
        ("shared", lambda line: show_bytes(line.shared) if line.shared >= WORTH_SHOWING else "", True),
        ("allocations", lambda line: f"{line.allocations:,}", True),
        ("", lambda line: _kind(line), False),
        ("code", lambda line: _shortened(line.text), False),
    )
    _expendable: ClassVar[tuple[str, ...]] = ("code",)


def by_line(reading: Reading, view: str) -> Lines:
    """Return what each line held at the "peak", or at the end ("leaks")."""
    found: dict[Frame, list[int]] = {}
    bases: dict[Frame, str] = {}
    imports: Counter[Frame] = Counter()
    for row in reading.rows[view]:
        frame = guilty(row.stack)
        total = found.setdefault(frame, [0, 0, 0, 0])
        total[0] += row.bytes
        total[1] += row.allocations
        total[2] += row.reserved
        total[3] += row.shared
        basis = _BASES.get(row.stack[0][1]) if row.stack else None
        if basis is not None and row.bytes:
            bases[frame] = basis
        imports[frame] += row.bytes * is_import(row.stack)
    is_of_one = reading.count == 1 or [one.call_count for one in reading.names] == [reading.count]
    lines = [
        Line(
            *frame,
            size,
            count,
            round(size / reading.count) if is_of_one else None,
            reserved,
            shared,
            bases.get(frame, "traced"),
            reading.texts.get(frame[1:], ""),
            2 * imports[frame] > size,
        )
        for frame, (size, count, reserved, shared) in found.items()
    ]
    return Lines(sorted(lines, key=_rank))


def summed(*listed: Lines) -> Lines:
    """Return lines added up; which share of them is one call's is not known then."""
    found: dict[Frame, Line] = {}
    for line in (line for lines in listed for line in lines):
        key = (line.function, line.file, line.line)
        known = found.get(key)
        found[key] = (
            replace(line, mean=None)
            if known is None
            else replace(
                known,
                bytes=known.bytes + line.bytes,
                allocations=known.allocations + line.allocations,
                reserved=known.reserved + line.reserved,
                shared=known.shared + line.shared,
                basis=line.basis if known.basis == "traced" else known.basis,
                is_import=known.is_import and line.is_import,
            )
        )
    return Lines(sorted(found.values(), key=_rank))


def _kind(line: Line) -> str:
    """What is to be known of its bytes."""
    return "import" if line.is_import else "" if line.basis == "traced" else line.basis


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _rank(line: Line) -> tuple[int, int, int]:
    """What comes first in a table."""
    return (-line.bytes if line.bytes >= WORTH_SHOWING else 0, -line.shared, -line.bytes)
