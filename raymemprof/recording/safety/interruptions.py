"""Exceptions that are the user's though they appear while recording works: somebody interrupted his own code.

A signal's handler may raise, and so may a thread in another (`PyThreadState_SetAsyncExc`): that is how a time limit
ends what takes too long. Such an exception comes between any two instructions of the thread, those of recording too.
"""

from __future__ import annotations

import functools
import signal
import types
from collections.abc import Iterator

__all__ = ["is_users"]

_OURS = (__name__.partition(".")[0],)
_WHERE_IT_IS = ("threading", "contextlib", "json", "pathlib", "psutil")
"""Whose frames recording is in most, besides its own."""


def is_users(error: BaseException) -> bool:
    """Whether an exception that was caught in recording was meant for the code that it records."""
    frames = list(_frames(error))
    # One that another thread raised has no frame of anybody's. What recording itself may meet are exceptions of
    # Python's, of ours and of what it calls: one of a class of somebody else's was not raised in its frames.
    if frames and not _is_known(type(error)) and _is_of(_module(frames[-1])):
        return True
    foreign = {frame.f_code for frame in frames if not _is_of(_module(frame), _OURS)}
    return bool(foreign) and any(_code(handler) in foreign for handler in _handlers())


def _frames(error: BaseException) -> Iterator[types.FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _handlers() -> Iterator[object]:
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler):
            yield handler


def _code(handler: object) -> types.CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    if not isinstance(handler, (types.FunctionType, types.MethodType)):
        handler = vars(type(handler)).get("__call__")
    return getattr(handler, "__code__", None)  # a method has that of its function


def _module(frame: types.FrameType) -> object:
    return frame.f_globals.get("__name__")


def _is_of(module: object, names: tuple[str, ...] = (*_OURS, *_WHERE_IT_IS)) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in names


def _is_known(kind: type[BaseException]) -> bool:
    return kind.__module__ == "builtins" or _is_of(kind.__module__)
