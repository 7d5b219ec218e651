"""Makes a journal small: of calls that ended a while ago it keeps sums, and the lines of those that tell something.

Whole stay the calls that have not ended, those that ended last, the largest of each function, those that failed, the
first and the last in each capture that is there, and some of all times, spread evenly: how memory went on shows in
them. The others are counted in `sum` lines, by name, kind, job, actor and hour. Lines of captures that are gone go too.
What is not known here, as a newer version's line or a damaged one, stays.

The lines that stay are copied as they are, in their order. So what is compacted again loses nothing more by that.
"""

from __future__ import annotations

import errno
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from .events import Begin, Children, Close, End, Event, Fork, Open, Peak, Place, Sample, Sum, decode
from .lines import read_lines, texts
from .sums import add_call, add_sum, peak_of, was_told_to_end

__all__ = ["RECENT", "compact"]

RECENT = 1_000
"""Calls that ended last and stay whole."""
_MOST_LARGEST = 20
_MOST_FAILED = 100
_MOST_SPREAD = 128
"""Calls of a function that stay whole for each of these reasons, at most."""
_MOST_KEPT = 4_000
"""Calls that stay whole of all functions together, about."""
_MOST_NAMES = 1_000
"""Functions that are told apart: names of blocks may be made up as it goes."""
_OTHER_NAMES = "(other names)"
_MOST_SUMS = 1_000
"""Lines with sums; where there would be more, they are of days, or of longer."""
_SPANS = (3600.0, 86400.0, 30 * 86400.0, float("inf"))
"""Seconds that a line with sums is of."""
_MOST_STRANGE = 2**16
"""Bytes of a line that is kept although nothing is known of it."""
_MOST_STRAYS = 1_000
_MOST_RUNNING = 10_000
"""Calls that have begun and not ended, as far as this goes on."""
_LATE = 16
"""Calls that ended last, of which the sampler may still say what their children had."""
_LINES_AT_ONCE = 256
_MOST_BYTES = 1 << 62
_AT_ONCE = 2**16
"""Bytes that are read at once: a thread of the user's waits meanwhile."""
_GOLDEN = 2654435769
"""2³² divided by the golden ratio: its multiples are spread evenly, however few of them are taken."""
_OF_CALL = re.compile(rb'\{"event":"(?:begin|end)","call":(\d{1,19})[,}]')
_OF_CAPTURE = re.compile(rb'\{"event":"(?:open|close|place|sample|fork)","capture":"([^"\\]{1,512})"[,}]')


class _Ended:
    """A call that has ended."""

    __slots__ = ("begin", "end", "family", "reasons")

    def __init__(self, begin: Begin, end: End, family: Children | None) -> None:
        self.begin = begin
        self.end = end
        self.family = family
        self.reasons = 0
        """For how many reasons its lines stay."""


class _Function:
    """The calls of a function whose lines stay, by the reason."""

    __slots__ = ("failed", "largest", "spread", "stride")

    def __init__(self) -> None:
        self.largest: list[tuple[int, _Ended]] = []
        self.failed: deque[_Ended] = deque()
        self.spread: deque[_Ended] = deque()
        self.stride = 1
        """One call in so many is kept to show how memory went on."""


class _Selection:
    """Which calls' lines stay, and the sums of the others."""

    def __init__(self, is_there: Callable[[str], bool], recent: int) -> None:
        self._is_there = is_there
        self._most_recent = recent
        self._begins: dict[int, Begin] = {}
        self._families: dict[int, Children] = {}
        self._recent: deque[_Ended] = deque()
        self._functions: dict[tuple[str, str, str | None], _Function] = {}
        self._bounds: dict[str, list[_Ended]] = {}
        """The first and the last call in each capture."""
        self._sums: dict[tuple[str, str, str | None, str | None, float], Sum] = {}
        self._told: list[_Ended] = []
        """Those that a SIGTERM may have ended: what did is in Ray's logs."""
        self._strays: set[int] = set()
        self.kept: set[int] = set()
        """The numbers of the calls whose lines stay, when all is read."""

    def take(self, line: Event) -> None:
        if isinstance(line, Begin):
            self._begins[line.call] = line
            if len(self._begins) > _MOST_RUNNING:
                raise OSError(errno.E2BIG, "More calls have not ended than can be told apart")
        elif isinstance(line, End):
            begin = self._begins.pop(line.call, None)
            if begin is None:
                if len(self._strays) < _MOST_STRAYS:  # its beginning may come late, or be damaged
                    self._strays.add(line.call)
                return
            self._recent.append(_Ended(begin, line, self._families.pop(line.call, None)))
            if len(self._recent) > self._most_recent:
                self._consider(self._recent.popleft())
        elif isinstance(line, Children):
            for number in line.calls:
                if number in self._begins and line.total >= self._families.get(number, line).total:
                    self._families[number] = line
            for one in islice(reversed(self._recent), _LATE):
                if one.begin.call in line.calls and (one.family is None or line.total >= one.family.total):
                    one.family = line
        elif isinstance(line, Sum):
            add_sum(self._sum(line.name, line.kind, line.job_id, line.actor_id, line.first), line)

    def finish(self) -> None:
        """All is read."""
        for function in self._functions.values():
            self._bound(function)
        kept = {*self._begins, *self._strays, *(one.begin.call for one in (*self._recent, *self._told))}
        for function in self._functions.values():
            kept.update(one.begin.call for _, one in function.largest)
            kept.update(one.begin.call for one in (*function.failed, *function.spread))
        kept.update(one.begin.call for bounds in self._bounds.values() for one in bounds)
        self.kept = kept

    def sums(self) -> list[Sum]:
        """Return the sums, of as long spans as there are few enough of them."""
        found = list(self._sums.values())
        for span in _SPANS[1:]:
            if len(found) <= _MOST_SUMS:
                break
            joined: dict[tuple[str, str, str | None, str | None, float], Sum] = {}
            for one in found:
                key = one.name, one.kind, one.job_id, one.actor_id, one.first // span
                add_sum(joined.setdefault(key, Sum(*key[:4])), one)
            found = list(joined.values())
        for one in found:
            one.captures = {name: count for name, count in one.captures.items() if self._is_there(name)}
            one.kept = max(min(one.kept, _MOST_BYTES), -_MOST_BYTES)
        return found

    def _consider(self, call: _Ended) -> None:
        """See for what reasons the lines of a call that ended a while ago are to stay."""
        begin = call.begin
        call.reasons = 1  # while it is looked at
        key = begin.name, begin.kind, begin.job_id
        function = self._functions.get(key)
        if function is None:
            if len(self._functions) >= _MOST_NAMES:
                key = _OTHER_NAMES, begin.kind, None
            function = self._functions.setdefault(key, _Function())
        growth = peak_of(begin, call.end, call.family, 0)[1] - begin.memory - begin.children
        largest = function.largest
        if len(largest) < self._share(_MOST_LARGEST) or growth > largest[-1][0]:
            call.reasons += 1
            largest.append((growth, call))
            largest.sort(key=lambda one: -one[0])
        if was_told_to_end(call.end) and len(self._told) < _MOST_STRAYS:
            call.reasons += 1
            self._told.append(call)
        elif call.end.status != "finished" or begin.attempt:  # a retry that finished tells of what was killed
            call.reasons += 1
            function.failed.append(call)
        if _is_multiple(begin.call, function.stride):
            call.reasons += 1
            function.spread.append(call)
        if begin.capture is not None and self._is_there(begin.capture):
            call.reasons += 1
            bounds = self._bounds.setdefault(begin.capture, [])
            bounds.append(call)
            if len(bounds) > 2:
                self._let_go(bounds.pop(1))
        if call.reasons > 1:
            self._bound(function)
        self._let_go(call)

    def _share(self, most: int) -> int:
        """How many calls of a function may stay for a reason."""
        return max(min(most, _MOST_KEPT // (3 * len(self._functions))), 1)

    def _bound(self, function: _Function) -> None:
        """Let go of what is too much."""
        while len(function.largest) > self._share(_MOST_LARGEST):
            self._let_go(function.largest.pop()[1])
        while len(function.failed) > self._share(_MOST_FAILED):
            self._let_go(function.failed.popleft())
        while len(function.spread) > self._share(_MOST_SPREAD):
            function.stride *= 2
            for _ in range(len(function.spread)):
                one = function.spread.popleft()
                if _is_multiple(one.begin.call, function.stride):
                    function.spread.append(one)
                else:
                    self._let_go(one)

    def _let_go(self, call: _Ended) -> None:
        call.reasons -= 1
        if call.reasons == 0:
            begin = call.begin
            to = self._sum(begin.name, begin.kind, begin.job_id, begin.actor_id, begin.time)
            add_call(to, begin, call.end, call.family)

    def _sum(self, name: str, kind: str, job_id: str | None, actor_id: str | None, time: float) -> Sum:
        if (name, kind, job_id) not in self._functions and len(self._functions) >= _MOST_NAMES:
            name, job_id, actor_id = _OTHER_NAMES, None, None
        key = name, kind, job_id, actor_id, time // _SPANS[0]
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = Sum(name, kind, job_id, actor_id)
        return found


def _is_multiple(number: int, stride: int) -> bool:
    """Whether a call is one of every `stride`; those of twice as many are among those of so many."""
    return (number * _GOLDEN & 0xFFFFFFFF) * stride < 1 << 32


class Compacted(NamedTuple):
    """What has become of a journal."""

    read: int
    """Bytes of it, from its beginning, that are in what was written."""
    written: int


def compact(
    descriptor: int,
    folder: Path,
    write: Callable[[bytes], object],
    *,
    recent: int = RECENT,
    pause: Callable[[], object],
) -> Compacted:
    """Write what is to stay of a journal's whole lines; raises `OSError` where that cannot be done.

    Args:
        descriptor: the journal. Lines may be added meanwhile.
        folder: where it lies, and its captures.
        write: takes what is to stay.
        recent: how many of the calls that ended last stay whole.
        pause: called after every few lines.
    """
    captures = _Captures(folder)
    selection = _Selection(captures, recent)
    size = os.fstat(descriptor).st_size  # who writes may be faster than this reads
    lines = read_lines(FileIO(descriptor, closefd=False), at_once=_AT_ONCE, until=size)
    for number, line in enumerate(lines):
        if number % _LINES_AT_ONCE == 0:
            pause()
        if isinstance(line, Open):
            captures.latest = line.capture
        selection.take(line)
    selection.finish()
    written = 0
    for text, _ in texts(FileIO(descriptor, closefd=False), 0, at_once=_AT_ONCE, end=lines.end):
        for start, end in _staying(text, selection.kept, captures):
            write(text[start:end] + b"\n")
            written += end - start + 1
        pause()
    for one in selection.sums():
        text = msgspec.json.encode(one) + b"\n"
        write(text)
        written += len(text)
    return Compacted(lines.end, written)


def _staying(text: bytes, kept: set[int], captures: _Captures) -> Iterator[tuple[int, int]]:
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


def _stays(text: bytes, start: int, end: int, kept: set[int], captures: _Captures) -> bool:
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
        return not kept.isdisjoint(line.calls)
    if isinstance(line, (Open, Close, Place, Sample, Fork)):
        return captures(line.capture)
    return not isinstance(line, Sum)


class _Captures:
    """Whether captures are there, in a journal's folder or elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, bool] = {}
        self.latest: str | None = None
        """The one that was opened last: it counts as there, since it may be written and have another name meanwhile."""

    def __call__(self, name: str) -> bool:
        found = self._found.get(name)
        if found is None:
            try:
                found = os.path.lexists(self._folder / name)
            except ValueError:  # no path at all
                found = False
            self._found[name] = found
        return found or name == self.latest
