"""`heap()`: what calls allocated, in numbers and by line."""

from __future__ import annotations

import html
import os
import re
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from ..rows import Rows, first_few, printable, show_bytes
from .analysis import Stack
from .targets import PerName, Reading, Target, read_target

_NATIVE_SUFFIXES = {".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".pyx", ".pxi", ".rs", ".s", ".so", ".dylib"}

_ANY_STANDARD_LIBRARY = re.compile(r"/lib(64)?/python3\.\d+/")
"""That of the recorded process may be another Python's than this one's."""

__all__ = ["Heap", "Line", "Lines", "heap"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of code and what it held.

    Attributes:
        function: the function it stands in.
        file: its file.
        line: its number.
        bytes: what it had allocated and not freed, at the peak or at the end.
        allocations: in how many allocations.
        mean: the bytes of one call on average, where many of one function were summed; None where they are of several,
            or whole captures.
    """

    function: str
    file: str
    line: int
    bytes: int
    allocations: int
    mean: int | None

    @property
    def place(self) -> str:
        """Where it is, for people: file and number; the function's name where it is in no file of Python's."""
        return f"{self.file}:{self.line}" if self.file else self.function

    def __str__(self) -> str:
        return f"{self.place} in {self.function}" if self.file else self.function


class Lines(Rows[Line]):
    """A sequence of `Line`, the largest first."""

    title: ClassVar[tuple[str, str]] = ("line by memory held", "lines by memory held")
    columns: ClassVar[tuple[tuple[str, Callable[[Any], str], bool], ...]] = (
        ("function", lambda line: line.function, False),
        ("line", lambda line: line.place if line.file else "", False),
        ("bytes", lambda line: show_bytes(line.bytes), True),
        ("a call", lambda line: show_bytes(line.mean) if line.mean != line.bytes else "", True),
        ("allocations", lambda line: f"{line.allocations:,}", True),
    )


@dataclass(frozen=True, slots=True)
class Heap:
    """What a call, a capture, or many of them together allocated.

    Attributes:
        peak: the most bytes that were allocated at once; of many calls the sum of each call's own peak.
        alive_at_end: bytes still allocated when the call returned, its result included; at death if it was killed.
        allocations: how many allocations were made in all.
        calls: how many calls, or whole captures, this is the sum of.
        title: what it is of.
        killed: whether it is of calls that were killed.
        at_peak: every line, by what it held at the peak.
        at_end: every line, by what was left of it at the end.
        by_name: the calls by name, each with `name`, `calls`, `peak` (the sum of each one's own) and `mean`.
        missing: sentences on what is not in this: captures and nodes that could not be read, calls without a capture.
    """

    title: str
    peak: int
    alive_at_end: int
    allocations: int
    calls: int
    killed: bool
    at_peak: Lines
    at_end: Lines
    by_name: tuple[PerName, ...] = ()
    missing: tuple[str, ...] = ()

    def top(self, n: int = 10, view: str | None = None) -> Lines:
        """Return the `n` lines that held most at the peak; of calls that were killed, when they died.

        Memory is put down to the user's line that asked for it: the innermost one outside the standard library and
        site-packages, or the innermost of all where every line is of those.

        Args:
            n: how many lines.
            view: "peak" or "leaks" (what was left at the end), to choose.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ValueError(f"n={n!r} must be a number of lines, 0 or more.")
        if view not in (None, "peak", "leaks"):
            raise ValueError(f"view={view!r} is none of peak, leaks.")
        lines = self.at_end if view == "leaks" or (view is None and self.killed) else self.at_peak
        return lines[:n]  # type: ignore[return-value]

    def summary(self) -> str:
        """Return the figures in a line, then one for each name where there are many calls, and for what is missing."""
        of = "the sum of each one's own peak is" if self.calls > 1 else "peak"
        lines = [
            f"{self.title}: {of} {show_bytes(self.peak)}, {show_bytes(self.alive_at_end)} alive at the end, "
            f"{self.allocations:,} allocations"
        ]
        if self.calls > 1:
            lines += [
                f"{one.name}: {one.calls} call{'s' * (one.calls != 1)}, {show_bytes(one.peak)} in all, "
                f"{show_bytes(one.mean)} a call"
                for one in self.by_name
            ]
        return "\n".join(map(printable, (*lines, *first_few(self.missing))))

    def __repr__(self) -> str:
        return f"{self.summary()}\n{self.top()!r}"

    def _repr_html_(self) -> str:
        """Return the figures and the lines as a notebook shows them."""
        lines = "".join(f"<div>{html.escape(line)}</div>" for line in self.summary().splitlines())
        return f"{lines}{self.top()._repr_html_()}"

    def as_dict(self) -> dict[str, Any]:
        """Return the figures and the lines, for JSON."""
        return {
            "title": self.title,
            "peak": self.peak,
            "alive_at_end": self.alive_at_end,
            "allocations": self.allocations,
            "calls": self.calls,
            "killed": self.killed,
            "by_name": list(self.by_name),
            "missing": list(self.missing),
            "lines": list(self.top(len(self.at_peak) + len(self.at_end))),
        }


def heap(target: Target) -> Heap:
    """Return what a call allocated: its own peak, what was left at its end, and the lines that did it.

    Args:
        target: a `Call`, a `Capture` or path (all calls in it, at the moment when they held most together; of a capture
            that raymemprof did not write, the whole process), or several of these: each at its own peak, summed.

    Returns:
        A `Heap`; bytes as memray counts them: what was asked of `malloc`, `mmap` and their kin.

    Raises:
        CaptureError: the capture is missing, damaged, or the call was not traced; with the reason.
        FileNotFoundError: there is no such file.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> load = raymemprof.calls("/tmp/raymemprof-example", name="load")[-1]
        >>> 1_000_000 <= raymemprof.heap(load).peak < 1_100_000
        True
    """
    reading = read_target(target, ("peak", "leaks"))
    return Heap(
        title=reading.title,
        peak=reading.peak,
        alive_at_end=reading.alive_at_end,
        allocations=reading.allocations,
        calls=reading.count,
        killed=reading.killed,
        at_peak=_by_line(reading, "peak"),
        at_end=_by_line(reading, "leaks"),
        by_name=reading.names,
        missing=reading.missing,
    )


def _by_line(reading: Reading, view: str) -> Lines:
    found: dict[tuple[str, str, int], list[int]] = {}
    for row in reading.rows[view]:
        total = found.setdefault(_guilty(row.stack), [0, 0])
        total[0] += row.bytes
        total[1] += row.allocations
    is_of_one = reading.count == 1 or [one.calls for one in reading.names] == [reading.count]
    lines = [
        Line(*frame, size, count, round(size / reading.count) if is_of_one else None)
        for frame, (size, count) in found.items()
    ]
    return Lines(sorted(lines, key=lambda line: -line.bytes))


def _guilty(stack: Stack) -> tuple[str, str, int]:
    """Return the innermost frame that is the user's own, else the innermost."""
    for frame in stack:
        if _is_users(frame[1]):
            return frame
    return stack[0] if stack else ("native code", "", 0)


@lru_cache(maxsize=10_000)
def _is_users(file: str) -> bool:
    if not file or file.startswith(("<frozen", "<unknown")) or Path(file).suffix.lower() in _NATIVE_SUFFIXES:
        return False
    parts = Path(file).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return False
    return not file.startswith(_standard_library()) and not _ANY_STANDARD_LIBRARY.search(file)


@lru_cache(maxsize=1)
def _standard_library() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({os.path.join(paths[key], "") for key in ("stdlib", "platstdlib")})
