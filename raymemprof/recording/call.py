"""Where a call that is recorded begins and ends: nothing that goes wrong here reaches the user's code."""

from __future__ import annotations

import sys

from . import warn
from .current import covered, current
from .outcome import describe
from .profile import Profile
from .running_call import RunningCall
from .safety import interruptions
from .safety.spare_memory import SPARE
from .sampler import sampler
from .tracker import tracker

__all__ = ["begin", "end"]

_ROOM = 50
"""Frames that beginning or ending a call may need, the logging of what went wrong included."""


def begin(profile: Profile, function: object, instance: object = None) -> RunningCall | None:
    """Return a call that can be started, or None where it is not to be recorded. Never raises of its own accord.

    Nothing has happened yet when it returns: a call is started where its end is sure to be noticed.
    """
    try:
        settings = profile.settings()
        if not settings.enabled:
            return None
        if covered(function, instance):
            return None
        if not _has_room():
            warn.once("room", f"a call within {_ROOM} frames of the recursion limit is not recorded")
            return None
        enclosing = current.get()
        while enclosing is not None and enclosing.ended:  # seen from what it left behind, such as a task of asyncio's
            enclosing = enclosing.enclosing
        call = RunningCall(profile, settings, function, instance)
        call.enclosing = enclosing
    except Exception as error:
        if interruptions.is_users(error):
            raise
        warn.once("begin", f"calls are not recorded: {describe(error)}")
        return None
    return call


def end(call: RunningCall, error: BaseException | None = None) -> None:
    """End a call that returned, or that raised `error`. Never raises of its own accord."""
    try:
        try:
            call.finish(error)
        except MemoryError as full:
            SPARE.clear()
            if interruptions.is_users(full):
                raise
            call.finish(error)  # the next call to begin keeps some again
    except BaseException as trouble:
        # Ray cancels a task by raising KeyboardInterrupt anywhere.
        if not isinstance(trouble, Exception) or interruptions.is_users(trouble):
            call.finish(error)
            raise
        warn.once("end", f"the end of a call was not recorded: {describe(trouble)}")
        sampler.remove(call)
        tracker.release(call)


def _has_room() -> bool:
    """Whether a call can be begun and ended here: what runs out of frames halfway would leave it half recorded."""
    try:
        sys._getframe(sys.getrecursionlimit() // 4)  # a frame of Python's counts for several where it goes through C
    except ValueError as error:  # there are not as many
        if "deep" not in str(error) and interruptions.is_users(error):
            raise
        return True
    try:
        return _descend(_ROOM)
    except RecursionError:
        return False


def _descend(frames: int) -> bool:
    return frames == 0 or _descend(frames - 1)
