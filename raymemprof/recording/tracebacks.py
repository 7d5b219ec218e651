"""What an exception tells of the way that it came: the user's code, without the frames of recording around it."""

from __future__ import annotations

import types

__all__ = ["leave_out_recording"]

_OURS = __name__.partition(".")[0]


def leave_out_recording(error: BaseException) -> None:
    """Take recording's frames from the beginning of an exception's traceback, down to the user's.

    It is for the handler that lets the exception go on. One that has none of the user's frames stays as it is. Python
    3.10 keeps the handler's own frame.
    """
    first = trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame):
        trace = trace.tb_next
    if first is None or trace is None or trace is first:
        return
    first.tb_next = trace
    BaseException.with_traceback(error, trace)  # past a `__setattr__` of the user's: a frozen dataclass refuses


def _is_ours(frame: types.FrameType) -> bool:
    module = frame.f_globals.get("__name__")
    return isinstance(module, str) and module.partition(".")[0] == _OURS
