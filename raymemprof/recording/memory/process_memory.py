"""This process's memory as Ray's page counts it: RSS minus SHR."""

from __future__ import annotations

import os
import re
import sys
import threading
import time

import psutil

from ... import proc
from ..safety import descriptors, interruptions, locks

__all__ = ["PAGE", "ever", "now", "touched"]

_LOOK = 0.001
"""Seconds between looks at whether somebody has closed the descriptor that memory is read from."""
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024

try:
    import resource
except ImportError:  # Windows, where memray is not either: calls are recorded without it
    PAGE = 0
else:
    PAGE = resource.getpagesize()


def _open_statm() -> descriptors.Kept | None:
    try:
        return descriptors.open_kept("/proc/self/statm", give_up=bool)  # another is opened then
    except OSError:
        return None  # not Linux


_statm = _open_statm()
_reopening = threading.RLock()
_look_due = 0.0
_process = psutil.Process()


def now() -> proc.Memory:
    """Return this process's memory.

    What psutil's `memory_info()` reads, from a file that stays open: a tenth of the time, which every call pays twice.
    """
    global _look_due
    statm = _statm
    if statm is not None and (moment := time.monotonic()) >= _look_due:
        statm = statm if statm.status() is not None else _reopened(statm)
        if statm is not None:  # else its number may be another file's until it is open again
            _look_due = moment + _LOOK
    if statm is not None:
        try:
            return proc.memory_in(os.pread(statm.number, 256, 0))
        except (OSError, ValueError) as error:
            if interruptions.is_users(error):
                raise
            _look_due = 0.0  # since the last look, somebody has put another file in its place
    return proc.psutils_memory(_process)


def _reopened(closed: descriptors.Kept) -> descriptors.Kept | None:
    """Open the file again, whose descriptor somebody closed; None where that cannot be done now."""
    global _statm
    try:
        if not _reopening.acquire(blocking=False):
            return None  # another thread does
        if _statm is closed:
            descriptors.release(closed)
            opened = _open_statm()
            if opened is None:  # there is no descriptor to be had now: it is tried again with the next look
                return None
            _statm = opened
        return _statm
    finally:
        try:
            _reopening.release()
        except RuntimeError as error:
            locks.was_not_taken(error)


def ever() -> tuple[int, int]:
    """Return, in bytes, the highest RSS that this process has ever had, and all that it has touched for the first time.

    Both as the kernel counts them: 0 where it does not, and of what is touched large pages count as small.
    """
    if not PAGE:
        return 0, 0
    usage = resource.getrusage(resource.RUSAGE_SELF)
    peak = usage.ru_maxrss * _MAXRSS_UNIT
    if _inherited and peak <= _inherited:
        peak = _of_this_program() or 0
    return peak, usage.ru_minflt * PAGE


def touched() -> int:
    """Return the second figure of `ever`."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt * PAGE if PAGE else 0


def _of_this_program() -> int | None:
    """Return the same without what the process was before it became this program; takes ten times as long."""
    try:
        with descriptors.reading("/proc/self/status") as file:
            found = re.search(rb"VmHWM:\s*(\d+) kB", file.read())
    except OSError as error:
        if interruptions.is_users(error):
            raise
        return None  # not Linux
    return int(found[1]) * 1024 if found else None


def _not_our_own() -> int:
    """Return what Linux counts as this process's peak, and was that of the larger one that started it; 0 for none."""
    own = _of_this_program()
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT if PAGE else 0
    return highest if own is not None and highest > own else 0


_inherited = _not_our_own()


def _after_fork() -> None:
    global _inherited, _look_due, _process, _reopening, _statm
    _reopening = threading.RLock()
    _inherited = _not_our_own()
    _process = psutil.Process()
    if _statm is not None:
        descriptors.close(_statm)
        _statm = _open_statm() or _statm  # which is closed: it is opened with the next look
        _look_due = 0.0


os.register_at_fork(after_in_child=_after_fork)
