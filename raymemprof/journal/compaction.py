"""Makes a journal small: of calls whose captures are gone it keeps sums, and the lines of those that tell something.

As long as a capture is there, all that the journal says of it and of its calls stays: reading it needs that. Of calls
that were not traced, or whose capture is gone, these stay whole: those that have not ended, those that ended last, of
each function those that grew most, those with the highest peaks, those that failed, and some of all times, spread
evenly, since they show how memory went on. The others are counted in `sum` lines, by name, kind, job, actor, outcome
and hour.
What is not known here, as a newer version's line, stays, if it has less than 64 KiB. So does a damaged line, and it is
counted, unless what is left of it says that it is the beginning or end of a call that does not stay.

The lines that stay are copied as they are, in their order. So what is compacted again loses nothing more by that.
"""

from __future__ import annotations

import errno
import re
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from .events import Begin, Children, Close, End, Event, Fetched, Fork, Open, Peak, Place, Sample, Sum, decode
from .lines import texts
from .sums import OTHER_NAMES, add_call, add_sum, peak_of, was_told_to_end

__all__ = ["RECENT", "Compacted", "compact"]

RECENT = 1_000
"""Calls that ended last and stay whole."""
_MOST_LARGEST = 20
_MOST_FAILED = 500
_MOST_SPREAD = 128
"""Calls of a function that stay whole for each of these reasons, at most."""
_MOST_KEPT = 4_000
"""Calls that stay whole of all functions together for one of these reasons, about."""
_MOST_NAMES = 1_000
"""Functions that are told apart: names of blocks may be made up as it goes."""
_MOST_SUMS = 1_000
"""Lines with sums; where there would be more, they are of days, or of longer."""
_SPANS = (3600.0, 86400.0, 30 * 86400.0, float("inf"))
"""Seconds that a line with sums is of."""
_MOST_STRANGE = 2**16
"""Bytes of a line that is kept although nothing is known of it."""
_MOST_STRAYS = 1_000
_MOST_RUNNING = 10_000
"""Calls that have begun and not ended, as far as this goes on."""
_MOST_NUMBER = 2**27
"""No process makes so many calls; the numbers of those that stay take a bit each."""
_LATE = 16
"""Calls that ended last, of which the sampler may still say what their children had."""
_LINES_AT_ONCE = 256
_MOST_BYTES = 1 << 62
_GOLDEN = 2654435769
"""2³² divided by the golden ratio: its multiples are spread evenly, however few of them are taken."""
_OF_CALL = re.compile(rb'\{"event":"(?:begin|end)","call":(\d{1,19})[,}]')
_OF_CAPTURE = re.compile(rb'\{"event":"(?:open|close|place|sample)","capture":"([^"\\]{1,512})"[,}]')
_OF_FILES = (b'"open"', b'"close"', b'"fork"', b'"fetched"')
_UNWANTED = tuple(b'{"event":"%b"' % event for event in (b"place", b"sample", b"source", b"peak"))
"""Lines that say nothing of which calls are to stay."""


_Key = tuple[str, str, str | None, str | None, str | None, bool, str, float]
"""What sums are told apart by: name, kind, job, actor, deployment, whether they ran within others, outcome, and which
span of time it is."""


class Compacted(NamedTuple):
    """What has become of a journal."""

    read: int
    """Bytes of it, from its beginning, that are in what was written."""
    written: int
    held_by: frozenset[str]
    """The captures that are there, for which lines stay."""


class _Numbers:
    """Numbers of calls: most stay or go in a row, and there can be a million of them."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, number: int) -> None:
        index = number >> 3
        if number >= _MOST_NUMBER:
            raise OSError(errno.E2BIG, "Calls have numbers that no process gives")
        if index >= len(self._bits):
            self._bits.extend(bytes(index + 1024 - len(self._bits)))
        self._bits[index] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        index = number >> 3
        return index < len(self._bits) and bool(self._bits[index] >> (number & 7) & 1)


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

    __slots__ = ("failed", "highest", "largest", "spread", "stride")

    def __init__(self) -> None:
        self.largest: list[tuple[int, _Ended]] = []
        """Those that grew most."""
        self.highest: list[tuple[int, _Ended]] = []
        """Those with the highest peaks."""
        self.failed: deque[_Ended] = deque()
        self.spread: deque[_Ended] = deque()
        self.stride = 1
        """One call in so many is kept to show how memory went on."""


class _Selection:
    """Which calls' lines stay, and the sums of the others."""

    def __init__(self, captures: _Captures, recent: int) -> None:
        self._captures = captures
        self._most_recent = recent
        self._begins: dict[int, Begin] = {}
        self._families: dict[int, Children] = {}
        self._recent: deque[_Ended] = deque()
        self._functions: dict[tuple[str, str, str | None], _Function] = {}
        self._sums: dict[_Key, Sum] = {}
        self._told: list[_Ended] = []
        """Those that a SIGTERM may have ended: what did is in Ray's logs."""
        self._ended = _Numbers()
        """Those of all calls that have ended: an interrupted writer may have written an end twice."""
        self._strays = 0
        self._most_largest = _MOST_LARGEST
        self.kept = _Numbers()
        """Those of the calls whose lines stay, when all is read."""

    def take(self, line: Event) -> None:
        if isinstance(line, Begin):
            self._begins[line.call] = line
            if len(self._begins) > _MOST_RUNNING:
                raise OSError(errno.E2BIG, "More calls have not ended than can be told apart")
        elif isinstance(line, End):
            if line.call in self._ended:
                return
            self._ended.add(line.call)
            begin = self._begins.pop(line.call, None)
            if begin is None:  # its beginning may come late, or be damaged
                self._strays += 1
                if self._strays > _MOST_STRAYS:
                    raise OSError(errno.E2BIG, "More calls have no beginning than can be told apart")
                self.kept.add(line.call)
                return
            family = self._families.pop(line.call, None)
            if begin.capture is not None and self._captures(begin.capture):
                self.kept.add(line.call)
                return
            self._recent.append(_Ended(begin, line, family))
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
            add_sum(self._sum(line, _outcome(line), line.first), line)

    def finish(self) -> None:
        """All is read."""
        for number in self._begins:
            self.kept.add(number)
        for function in self._functions.values():
            self._bound(function)
            for _, one in (*function.largest, *function.highest):
                self.kept.add(one.begin.call)
            for one in (*function.failed, *function.spread):
                self.kept.add(one.begin.call)
        for one in (*self._recent, *self._told):
            self.kept.add(one.begin.call)

    def sums(self) -> list[Sum]:
        """Return the sums, of as long spans as there are few enough of them."""
        found = list(self._sums.values())
        for span in _SPANS[1:]:
            if len(found) <= _MOST_SUMS:
                break
            joined: dict[_Key, Sum] = {}
            for one in found:
                key = *_apart(one), _outcome(one), one.first // span
                add_sum(joined.setdefault(key, Sum(*key[:4], deployment=one.deployment, inner=one.inner)), one)
            found = list(joined.values())
        for one in found:
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
                key = OTHER_NAMES, begin.kind, None
            function = self._functions.setdefault(key, _Function())
            self._most_largest = self._share(_MOST_LARGEST)
        peak = peak_of(begin, call.end, call.family, 0)[1]
        growth = peak - begin.memory - begin.children
        most = self._most_largest
        if len(function.largest) < most or growth > function.largest[-1][0]:
            _rank(function.largest, growth, call)
        if len(function.highest) < most or peak > function.highest[-1][0]:
            _rank(function.highest, peak, call)
        if was_told_to_end(call.end) and len(self._told) < _MOST_STRAYS:
            call.reasons += 1
            self._told.append(call)
        elif call.end.status != "finished" or begin.attempt:  # a retry that finished tells of what was killed
            call.reasons += 1
            function.failed.append(call)
        if _is_multiple(begin.call, function.stride):
            call.reasons += 1
            function.spread.append(call)
        if call.reasons > 1:
            self._bound(function)
        self._let_go(call)

    def _share(self, most: int) -> int:
        """How many calls of a function may stay for a reason."""
        return max(min(most, _MOST_KEPT // max(len(self._functions), 1)), 1)

    def _bound(self, function: _Function) -> None:
        """Let go of what is too much."""
        for among in (function.largest, function.highest):
            while len(among) > self._most_largest:
                self._let_go(among.pop()[1])
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
            add_call(self._sum(begin, call.end.status, begin.time), begin, call.end, call.family)

    def _sum(self, of: Begin | Sum, outcome: str, time: float) -> Sum:
        apart = _apart(of)
        if (of.name, of.kind, of.job_id) not in self._functions and len(self._functions) >= _MOST_NAMES:
            apart = OTHER_NAMES, of.kind, None, None, None, of.inner
        key = *apart, outcome, time // _SPANS[0]
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = Sum(*apart[:4], deployment=apart[4], inner=apart[5])
        return found


def _rank(among: list[tuple[int, _Ended]], size: int, call: _Ended) -> None:
    call.reasons += 1
    among.append((size, call))
    among.sort(key=lambda one: -one[0])


def _apart(of: Begin | Sum) -> tuple[str, str, str | None, str | None, str | None, bool]:
    return of.name, of.kind, of.job_id, of.actor_id, of.deployment, of.inner


def _outcome(found: Sum) -> str:
    return " ".join(sorted(found.statuses))


def _is_multiple(number: int, stride: int) -> bool:
    """Whether a call is one of every `stride`; those of twice as many are among those of so many."""
    return (number * _GOLDEN & 0xFFFFFFFF) * stride < 1 << 32


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
    selection = _Selection(captures, recent)
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


def _staying(text: bytes, kept: _Numbers, captures: _Captures) -> Iterator[tuple[int, int]]:
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


def _stays(text: bytes, start: int, end: int, kept: _Numbers, captures: _Captures) -> bool:
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
