"""This process's memory as Ray's page counts it: RSS minus SHR."""

from __future__ import annotations

import os
import re
import sys
import threading
import time

import psutil

from . import descriptors

__all__ = ["PAGE", "Reading", "now", "peak_rss", "touched"]

Reading = tuple[int, int, int]
"""RSS − SHR, SHR, and the addresses that are mapped (VmSize), in bytes."""

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
_reopening = threading.Lock()
_look_due = 0.0
_process = psutil.Process()


def now() -> Reading:
    """Return this process's memory.

    What psutil's `memory_info()` reads, from a file that stays open: a tenth of the time, which every call pays twice.
    """
    global _look_due
    statm = _statm
    if statm is not None and (moment := time.monotonic()) >= _look_due:
        _look_due = moment + _LOOK
        statm = statm if statm.status() is not None else _reopened(statm)
    if statm is not None:
        try:
            fields = os.pread(statm.number, 256, 0).split()
            shared = int(fields[2]) * PAGE
            return int(fields[1]) * PAGE - shared, shared, int(fields[0]) * PAGE
        except (OSError, ValueError, IndexError):
            _look_due = 0.0  # since the last look, somebody has put another file in its place
    info = _process.memory_info()
    shared = getattr(info, "shared", 0)  # not counted on macOS
    return info.rss - shared, shared, info.vms


def _reopened(closed: descriptors.Kept) -> descriptors.Kept | None:
    """Open the file again, whose descriptor somebody closed; None while another thread does."""
    global _statm
    if not _reopening.acquire(blocking=False):
        return None
    try:
        if _statm is closed:
            descriptors.release(closed)
            _statm = _open_statm()
        return _statm
    finally:
        _reopening.release()


def peak_rss() -> int:
    """Return the highest RSS this process has ever had, in bytes, as the kernel counts it; 0 where it does not."""
    peak = _ever()
    return peak if not _inherited or peak > _inherited else _of_this_program() or 0


def touched() -> int:
    """Return the bytes of all pages that this process has touched for the first time; large ones count as small."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt * PAGE if PAGE else 0


def _ever() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT if PAGE else 0


def _of_this_program() -> int | None:
    """Return the same without what the process was before it became this program; takes ten times as long."""
    try:
        with descriptors.reading("/proc/self/status") as file:
            found = re.search(rb"VmHWM:\s*(\d+) kB", file.read())
    except OSError:
        return None  # not Linux
    return int(found[1]) * 1024 if found else None


def _not_our_own() -> int:
    """Return what Linux counts as this process's peak, and was that of the larger one that started it; 0 for none."""
    own, ever = _of_this_program(), _ever()
    return ever if own is not None and ever > own else 0


_inherited = _not_our_own()


def _after_fork() -> None:
    global _inherited, _process, _reopening, _statm
    _reopening = threading.Lock()
    _inherited = _not_our_own()
    _process = psutil.Process()
    if _statm is not None:
        descriptors.close(_statm)
        _statm = _open_statm()


os.register_at_fork(after_in_child=_after_fork)
