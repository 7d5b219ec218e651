"""Where the code of running calls is at a moment: the call stacks of their threads, numbered for the journal."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any

from .. import journal as contract

if TYPE_CHECKING:
    from .journals import Journal

__all__ = ["Places", "RawStack", "is_library", "stack_from", "stacks"]

RawStack = tuple[tuple[CodeType, int], ...]
"""Code and line of each frame, innermost first."""
_STANDARD_LIBRARY = tuple({os.path.join(sysconfig.get_paths()[key], "") for key in ("stdlib", "platstdlib")})
_WITHIN = 2
"""Frames of a library that are kept of those within the user's code."""
_MOST_FRAMES = 100
_MOST_WALKED = 5_000
_MOST_KNOWN = 40_000
"""Frames of stacks whose numbers are remembered: some 3 MB."""


def stacks(threads: Iterable[int]) -> tuple[RawStack, ...]:
    """Return the call stacks of some threads. Some 10 microseconds for each."""
    frames = sys._current_frames()
    try:
        return tuple([stack_from(frames[thread]) for thread in threads if thread in frames])
    finally:
        frames.clear()  # this function's own frame is in it: the cycle would keep alive what every thread's code had


def stack_from(frame: Any) -> RawStack:
    """A call's frames, from a little within the user's own code outwards: how deep a library goes is of no interest."""
    found: list[tuple[CodeType, int]] = []
    own = outermost = -1
    walked = 0
    while frame is not None and walked < _MOST_WALKED:
        code = frame.f_code
        file = code.co_filename
        if file == contract.FRAME_FILE:
            found.append((code, frame.f_lineno or 0))
            outermost = len(found)
        elif walked < _MOST_FRAMES:
            if own < 0 and not is_library(file):
                own = len(found)
            found.append((code, frame.f_lineno or 0))
        frame = frame.f_back
        walked += 1
    del frame
    first = max(own - _WITHIN, 0)
    return tuple(found[first:outermost] if outermost > 0 else found[first:])  # what is outside is Ray's


@lru_cache(maxsize=10_000)
def is_library(file: str) -> bool:
    """Whether a file is the standard library's or an installed package's."""
    return file.startswith((*_STANDARD_LIBRARY, "<frozen")) or "site-packages" in file or "dist-packages" in file


class Places:
    """The numbers that call stacks have in what a journal says of a capture."""

    def __init__(self, journal: Journal, capture: str) -> None:
        self._journal = journal
        self._capture = capture
        self._numbers: dict[RawStack, int] = {}
        self._known = 0
        self._next = 0

    def number(self, stack: RawStack) -> int:
        """Return a stack's number, having written what it stands for to the journal."""
        number = self._numbers.get(stack)
        if number is None:
            self._known += len(stack)
            if self._known > _MOST_KNOWN:
                self._numbers.clear()
                self._known = len(stack)
            number = self._next
            frames = [[code.co_name, code.co_filename, line] for code, line in stack]
            self._journal.write({"event": "place", "capture": self._capture, "place": number, "stack": frames})
            self._numbers[stack] = number
            self._next += 1
        return number
