"""Notes where forked children began that memray follows: it knows neither their call nor the line that forked them.

memray opens a capture for each (`follow_fork=True`), whose stacks begin in the frame that forked. What was there before
the fork is taken in the parent, and written to its journal by the child, which alone knows its pid in time.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from .. import journal as contract
from . import warn
from .current import current
from .places import stack_from

if TYPE_CHECKING:
    from .tracker import Lease, ProcessTracker

__all__ = ["note"]


@runtime_checkable
class _Call(Protocol):
    """A call that runs; others hold a place in a capture, too."""

    number: int
    lease: Lease | None
    ended: bool

    @property
    def enclosing(self) -> _Call | None:
        """The call that it runs within."""


class _Capture(NamedTuple):
    """A capture that children are written beside, and the calls that they belong to."""

    journal: Path
    name: str
    calls: list[int]


class _Fork(threading.local):
    """What a thread is about to fork."""

    capture: _Capture | None = None
    line: dict[str, Any] | None = None


_fork = _Fork()
_tracker: ProcessTracker | None = None
"""What knows the capture that is open, and the calls that it is open for."""
_inherited: _Capture | None = None
"""In a child that is followed: what its own children belong to. memray follows it for as long as it lives."""


def note(tracker: ProcessTracker) -> None:
    """Note from now on where children begin."""
    global _tracker
    if _tracker is None:
        os.register_at_fork(before=_before, after_in_child=_after_in_child)
    _tracker = tracker


def _before() -> None:
    _fork.capture = _fork.line = None
    try:
        capture = _inherited or _followed()
        if capture is not None:
            frame = sys._getframe().f_back
            stack = [[code.co_name, code.co_filename, line] for code, line in stack_from(frame)]
            _fork.line = {"event": "fork", "capture": capture.name, "parent": os.getpid(), "calls": capture.calls}
            _fork.line |= {"time": time.time(), "stack": stack}
            _fork.capture = capture
    except Exception as error:
        warn.once("fork", f"where a child process began was not noted: {error!r}")


def _followed() -> _Capture | None:
    open_capture = _tracker.followed() if _tracker is not None else None
    if open_capture is None:
        return None
    calls = [call for call in _running_calls() if call.lease is not None and call.lease.capture is open_capture]
    return _Capture(open_capture.journal.path, open_capture.path.name, [call.number for call in calls])


def _after_in_child() -> None:
    global _inherited
    _inherited = capture = _fork.capture
    if capture is None or _fork.line is None:
        return
    try:
        # By its name: the child may have closed the descriptor, and have another file at its number.
        contract.append(capture.journal, _fork.line | {"pid": os.getpid()})
    except Exception as error:
        warn.once("fork", f"where a child process began was not noted: {error!r}")


def _running_calls() -> list[_Call]:
    """Return the calls that this thread works for, innermost first; on a thread of its own, those that alone can be."""
    call: _Call | None = current.get()
    if call is not None:
        return [one for one in _chain(call) if not one.ended]
    holders = _tracker.holders() if _tracker is not None else []
    running = [one for one in holders if isinstance(one, _Call)]
    chain = _chain(max(running, key=lambda one: one.number, default=None))
    return chain if set(running) <= set(chain) else []


def _chain(call: _Call | None) -> list[_Call]:
    chain: list[_Call] = []
    while call is not None:
        chain.append(call)
        call = call.enclosing
    return chain
