"""Where the code of running calls is at a moment: the call stacks of their threads, numbered for the journal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import CodeType

from .. import journal as contract

__all__ = ["Places", "RawStack", "stacks"]

RawStack = tuple[tuple[CodeType, int], ...]
"""Code and line of each frame, innermost first."""
_MOST_FRAMES = 100
_MOST_WALKED = 5_000
_MOST_KNOWN = 5_000


def stacks(threads: Iterable[int]) -> tuple[RawStack, ...]:
    """Return the call stacks of some threads. Some 10 microseconds for each."""
    frames = sys._current_frames()
    return tuple([_stack(frames[thread]) for thread in threads if thread in frames])


def _stack(frame: object) -> RawStack:
    """The innermost frames, and of those outside them the ones that say whose call it is."""
    found = []
    walked = 0
    while frame is not None and walked < _MOST_WALKED:
        code = frame.f_code  # type: ignore[attr-defined]
        if walked < _MOST_FRAMES or code.co_filename == contract.FRAME_FILE:
            found.append((code, frame.f_lineno or 0))  # type: ignore[attr-defined]
        frame = frame.f_back  # type: ignore[attr-defined]
        walked += 1
    return tuple(found)


class Places:
    """The numbers that call stacks have in what a journal says of a capture."""

    def __init__(self, journal: contract.Journal, capture: str) -> None:
        self._journal = journal
        self._capture = capture
        self._numbers: dict[RawStack, int] = {}
        self._next = 0

    def number(self, stack: RawStack) -> int:
        """Return a stack's number, having written what it stands for to the journal."""
        number = self._numbers.get(stack)
        if number is None:
            if len(self._numbers) >= _MOST_KNOWN:
                self._numbers.clear()
            number = self._next
            frames = [[code.co_name, code.co_filename, line] for code, line in stack]
            self._journal.write({"event": "place", "capture": self._capture, "place": number, "stack": frames})
            self._numbers[stack] = number
            self._next += 1
        return number
