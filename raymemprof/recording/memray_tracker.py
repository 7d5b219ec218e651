"""What memray's tracker is asked, and how it is started and stopped while threads of Python run."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from .safety import interruptions

__all__ = ["first_unwritable", "free_threads", "is_asking", "is_tracing", "undisturbed", "unwritable_name"]

_UNDISTURBED = 0.2
"""Seconds for which no other thread interrupts memray while it starts or stops: it takes some milliseconds, and a
multiple of that on a busy machine."""
_TURN = 0.01
"""Seconds in which a thread that waits for the interpreter gets it."""
_TURNS = 3
"""How often they are given so long: more than one may wait, and on a busy machine it takes longer."""
_asking = threading.local()


def is_asking() -> bool:
    """Whether this thread only asks memray whether it traces, and starts nothing."""
    return getattr(_asking, "now", False)


def is_tracing(tracker: Any) -> bool:
    """Whether memray traces still: it gives up where it cannot write.

    A tracker that was started cannot be started again, and what memray says then tells which.
    """
    if is_asking():  # the garbage collector ran while this thread asked, and ended a call, which asks too
        return True
    _asking.now = True
    try:
        tracker.__enter__()
    except RuntimeError as error:
        said = str(error)
        if "Tracker" not in said and "stale" not in said and interruptions.is_users(error):
            raise
        return "stale" not in said
    finally:
        _asking.now = False
    return True


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Have no other thread run while memray goes through the threads: where one of them ends meanwhile, Python crashes.

    It does so in `PyEval_SetProfileAllThreads` before Python 3.14.1 (gh-137400). The interpreter's lock is let go there
    where an audit hook in Python runs, and with filelock Ray brings one from Python 3.12 on.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(max(before, _UNDISTURBED))
    during = sys.getswitchinterval()
    time.sleep(1e-6)  # once this thread has the lock again, whoever waits for it waits for so long
    try:
        yield
    finally:
        if sys.getswitchinterval() == during:  # else somebody has chosen another
            sys.setswitchinterval(before)


def free_threads() -> None:
    """Take memray's hook, which slows each call, from threads that waited for the interpreter while memray ended.

    Where C code calls Python, memray adds its hook as soon as the thread may run, also when it traces no more. The main
    thread of a Ray worker waits so most of the time: it looks for signals every 10 ms.
    """
    for _ in range(_TURNS):
        time.sleep(_TURN)
        with undisturbed():
            _remove_hooks()


def _remove_hooks() -> None:
    if sys.version_info >= (3, 12):
        for_new_threads = threading.getprofile()
        threading.setprofile_all_threads(None)
        threading.setprofile(for_new_threads)
        return
    python = ctypes.PyDLL(None)  # before Python 3.12 memray does it so too
    for function in (python.PyInterpreterState_Get, python.PyInterpreterState_ThreadHead, python.PyThreadState_Next):
        function.restype = ctypes.c_void_p
    state = python.PyInterpreterState_ThreadHead(ctypes.c_void_p(python.PyInterpreterState_Get()))
    while state is not None:
        python._PyEval_SetProfile(ctypes.c_void_p(state), None, None)
        state = python.PyThreadState_Next(ctypes.c_void_p(state))


def unwritable_name() -> str | None:
    """Return a name in a thread's stack that is no Unicode text: memray, which writes all as it starts, stops half way.

    It cannot start again in the process then. What is called later may have such a name.
    """
    for innermost in sys._current_frames().values():
        frame: FrameType | None = innermost
        while frame is not None:
            found = first_unwritable((frame.f_code.co_name, frame.f_code.co_filename))
            if found is not None:
                return found
            frame = frame.f_back
    return None


def first_unwritable(names: Iterable[str]) -> str | None:
    """Return the first of some names that memray cannot write."""
    for name in names:
        if not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError:
                return name
    return None
