"""Which calls' lines stay when a journal is compacted (`compaction.py`), and the sums of the others."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from itertools import islice

from .events import Begin, Children, End, Event, Sum
from .sums import OTHER_NAMES, add_call, add_sum, peak_of, was_told_to_end

__all__ = ["LATE", "Numbers", "Selection"]

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
_MOST_STRAYS = 1_000
_MOST_RUNNING = 10_000
"""Calls that have begun and not ended, as far as this goes on."""
_PAGE_BITS = 12
_MOST_PAGES = 2**15
"""Pages of numbers: those of 134 million calls that follow each other, in 16 MiB."""
_LEAST_KEPT = 2**20
"""Bytes that a call must have left behind for that to be a reason."""
LATE = 16
"""Calls that ended last, of which the sampler may still say what their children had."""
_MOST_BYTES = 1 << 62
_GOLDEN = 2654435769
"""2³² divided by the golden ratio: its multiples are spread evenly, however few of them are taken."""


_Key = tuple[str, str, str | None, str | None, str | None, str, str, float]
"""What sums are told apart by: name, kind, job, actor, deployment, what they ran within, outcome, and which span of
time it is."""


class Numbers:
    """Numbers of calls: most stay or go in a row, and there can be a million of them."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, number: int) -> None:
        """Take a number in; raises `OSError` where there are too many."""
        page = self._pages.get(number >> _PAGE_BITS)
        if page is None:
            if len(self._pages) >= _MOST_PAGES:
                raise OSError(errno.E2BIG, "There are more calls than can be told apart")
            page = self._pages[number >> _PAGE_BITS] = bytearray((1 << _PAGE_BITS) >> 3)
        page[(number & (1 << _PAGE_BITS) - 1) >> 3] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        page = self._pages.get(number >> _PAGE_BITS)
        return page is not None and bool(page[(number & (1 << _PAGE_BITS) - 1) >> 3] >> (number & 7) & 1)


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

    __slots__ = ("failed", "highest", "kept", "largest", "spread", "stride")

    def __init__(self) -> None:
        self.largest: list[tuple[int, _Ended]] = []
        """Those that grew most."""
        self.highest: list[tuple[int, _Ended]] = []
        """Those with the highest peaks."""
        self.kept: list[tuple[int, _Ended]] = []
        """Those that left most behind."""
        self.failed: deque[_Ended] = deque()
        self.spread: deque[_Ended] = deque()
        self.stride = 1
        """One call in so many is kept to show how memory went on."""


class Selection:
    """Which calls' lines stay, and the sums of the others."""

    def __init__(self, is_there: Callable[[str], bool], recent: int) -> None:
        self._is_there = is_there
        self._most_recent = recent
        self._begins: dict[int, Begin] = {}
        self._families: dict[int, Children] = {}
        self._recent: deque[_Ended] = deque()
        self._functions: dict[tuple[str, str, str | None], _Function] = {}
        self._sums: dict[_Key, Sum] = {}
        self._told: list[_Ended] = []
        """Those that a SIGTERM may have ended: what did is in Ray's logs."""
        self._ended = Numbers()
        """Those of all calls that have ended: an interrupted writer may have written an end twice."""
        self._strays = 0
        self._most_largest = _MOST_LARGEST
        self.kept = Numbers()
        """Those of the calls whose lines stay, when all is read."""

    def take(self, line: Event) -> None:
        """Take the next line; raises `OSError` where more is open than can be told apart."""
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
            if begin.capture is not None and self._is_there(begin.capture):
                self.kept.add(line.call)
                return
            self._recent.append(_Ended(begin, line, family))
            if len(self._recent) > self._most_recent:
                self._consider(self._recent.popleft())
        elif isinstance(line, Children):
            for number in line.calls:
                if number in self._begins and line.total >= self._families.get(number, line).total:
                    self._families[number] = line
            for one in islice(reversed(self._recent), LATE):
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
            for _, one in (*function.largest, *function.highest, *function.kept):
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
                add_sum(joined.setdefault(key, Sum(*key[:4], deployment=one.deployment, within=one.within)), one)
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
        kept = call.end.memory - begin.memory
        if kept >= _LEAST_KEPT and (len(function.kept) < most or kept > function.kept[-1][0]):
            _rank(function.kept, kept, call)
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
        for among in (function.largest, function.highest, function.kept):
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
            apart = OTHER_NAMES, of.kind, None, None, None, of.within
        key = *apart, outcome, time // _SPANS[0]
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = Sum(*apart[:4], deployment=apart[4], within=apart[5])
        return found


def _rank(among: list[tuple[int, _Ended]], size: int, call: _Ended) -> None:
    call.reasons += 1
    among.append((size, call))
    among.sort(key=lambda one: -one[0])


def _apart(of: Begin | Sum) -> tuple[str, str, str | None, str | None, str | None, str]:
    return of.name, of.kind, of.job_id, of.actor_id, of.deployment, of.within


def _outcome(found: Sum) -> str:
    return " ".join(sorted(found.statuses))


def _is_multiple(number: int, stride: int) -> bool:
    """Whether a call is one of every `stride`; those of twice as many are among those of so many."""
    return (number * _GOLDEN & 0xFFFFFFFF) * stride < 1 << 32
