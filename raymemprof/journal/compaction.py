"""Makes a journal small: of calls whose captures are gone it keeps sums, and the lines of those that tell something.

As long as a capture is there, all that the journal says of it and of its calls stays: reading it needs that. Of calls
that were not traced, or whose capture is gone, these stay whole: those that have not ended, those that ended last, of
each function those that grew most, those with the highest peaks, those that left most, those that failed, and some of
all times, spread evenly, since they show how memory went on. The others are counted in `sum` lines, by name, kind, job,
actor, outcome and hour.
What is not known here, as a newer version's line, stays. So does a damaged line of less than 64 KiB, and it is counted,
unless what is left of it says that it is the beginning or end of a call that does not stay.

The lines that stay are copied as they are, in their order. So what is compacted again loses nothing more by that.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from .events import Begin, Children, Close, End, Event, Fetched, Fork, Open, Peak, Place, Sample, Sum, decode
from .line_io import texts
from .selection import Numbers, Selection

__all__ = ["RECENT", "Compacted", "compact"]

RECENT = 1_000
"""Calls that ended last and stay whole."""
_MOST_STRANGE = 2**16
"""Bytes of a line that is kept although nothing is known of it."""
_LINES_AT_ONCE = 256
_OF_CALL = re.compile(rb'\{"event":"(?:begin|end)","call":(\d{1,19})[,}]')
_OF_CAPTURE = re.compile(rb'\{"event":"(?:open|close|place|sample)","capture":"([^"\\]{1,512})"[,}]')
_OF_FILES = (b'"open"', b'"close"', b'"fork"', b'"fetched"')
_UNWANTED = tuple(b'{"event":"%b"' % event for event in (b"place", b"sample", b"source", b"peak"))
"""Lines that say nothing of which calls are to stay."""


class Compacted(NamedTuple):
    """What has become of a journal."""

    read: int
    """Bytes of it, from its beginning, that are in what was written."""
    written: int
    held_by: frozenset[str]
    """The captures that are there, for which lines stay."""


class _Captures:
    """Which captures lines are to stay for: those that are there, and while their process lives, all not closed yet."""

    def __init__(self, is_there: Callable[[str], bool], has_ended: bool) -> None:
        self._has_ended = has_ended
        self._is_there = is_there
        self._known: dict[str, bool] = {}

    def opened(self, name: str) -> None:
        """Until it is closed it counts as there: while memray compresses it, it may have another name."""
        if not self._has_ended:
            self._known[name] = True

    def closed(self, name: str) -> None:
        self._known.pop(name, None)

    def __call__(self, name: str) -> bool:
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._is_there(name)
        return found

    def there(self) -> frozenset[str]:
        return frozenset(name for name, is_there in self._known.items() if is_there)


def compact(
    read_at: Callable[[int], bytes],
    is_there: Callable[[str], bool],
    write: Callable[[bytes], object],
    *,
    recent: int = RECENT,
    has_ended: bool = False,
    pause: Callable[[], object],
) -> Compacted:
    """Write what is to stay of a journal's whole lines; raises `OSError` where it cannot be compacted.

    Args:
        read_at: returns some of the journal from a byte on, nothing where that is its end. It must be the same each
            time: what is added meanwhile is not to be seen.
        is_there: whether a capture's file is there, or may be.
        write: takes what is to stay.
        recent: how many of the calls that ended last stay whole.
        has_ended: whether the process that wrote it has.
        pause: called after every few lines.
    """
    captures = _Captures(is_there, has_ended)
    read = 0
    for text, is_ended, end in _texts(read_at):
        read = end if is_ended else read
        is_wanted = is_ended and any(word in text for word in _OF_FILES)
        for line in _decoded(text.split(b"\n") if is_wanted else [], pause):
            if isinstance(line, Open):
                captures.opened(line.capture)
            elif isinstance(line, Close):
                captures.closed(line.capture)
            elif isinstance(line, (Fork, Fetched)):
                raise OSError(errno.EINVAL, "Others write to this journal")
    selection = Selection(captures, recent)
    for text, is_ended, _ in _texts(read_at):
        for line in _decoded(text.split(b"\n") if is_ended else [], pause):
            selection.take(line)
    selection.finish()
    written = 0
    for text, is_ended, _ in _texts(read_at):
        for start, end in _staying(text, selection.kept, captures) if is_ended else ():
            write(text[start:end] + b"\n")
            written += end - start + 1
        pause()
    for one in selection.sums():
        data = bytearray()
        msgspec.json.Encoder().encode_into(one, data)  # where memory is short `encode` ends the process
        write(bytes(data) + b"\n")
        written += len(data) + 1
    return Compacted(read, written, captures.there())


def _texts(read_at: Callable[[int], bytes]) -> Iterator[tuple[bytes, bool, int]]:
    return texts(lambda position: (position, read_at(position)), 0)


def _decoded(lines: list[bytes], pause: Callable[[], object]) -> Iterator[Event]:
    for number, one in enumerate(lines):
        if number % _LINES_AT_ONCE == 0:
            pause()
        if not one.startswith(_UNWANTED):
            try:
                line = decode(one)
            except ValueError:
                continue
            if line is not None:
                yield line


def _staying(text: bytes, kept: Numbers, captures: _Captures) -> Iterator[tuple[int, int]]:
    """Yield where lines begin and end that stay, those that follow each other as one."""
    start = first = 0
    while start <= len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        if not _stays(text, start, end, kept, captures):
            if first < start:
                yield first, start - 1
            first = end + 1
        start = end + 1
    if first < len(text):
        yield first, len(text)


def _stays(text: bytes, start: int, end: int, kept: Numbers, captures: _Captures) -> bool:
    of_call = _OF_CALL.match(text, start, end)
    if of_call is not None:
        return int(of_call[1]) in kept
    of_capture = _OF_CAPTURE.match(text, start, end)
    if of_capture is not None:
        return captures(of_capture[1].decode(errors="replace"))
    try:
        line = decode(text[start:end])
    except ValueError:
        return start < end <= start + _MOST_STRANGE  # it was damaged, and is counted as such
    if isinstance(line, (Begin, End)):
        return line.call in kept
    if isinstance(line, (Peak, Children)):
        return any(number in kept for number in line.calls)
    if isinstance(line, (Open, Close, Place, Sample)):
        return captures(line.capture)
    return not isinstance(line, Sum)
