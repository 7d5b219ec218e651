"""Whether the process that writes a journal is still there, as far as that is known."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

from .. import proc
from .events import Process

__all__ = ["is_alive", "machine"]

_START_TOLERANCE = 10.0
"""Seconds by which a process's recorded start may differ from what is read of it later: clocks are set."""
_BOOT = "/proc/sys/kernel/random/boot_id"
_NAMESPACE = "/proc/self/ns/pid"


@cache
def machine() -> str | None:
    """Return what tells the processes that are seen from here from those of other machines, boots and containers.

    None where nothing does: pids of others say nothing then.
    """
    try:
        boot = Path(_BOOT).read_text().strip()
        return f"{boot}-{os.stat(_NAMESPACE).st_ino}" if boot else None
    except OSError:
        return None


os.register_at_fork(after_in_child=machine.cache_clear)  # it may be in another container, as after `unshare`


def is_alive(process: Process) -> bool:
    """Whether the process of a `process` line is still there, on this machine; its pid may be another's by now."""
    import psutil  # not needed by the processes that read captures, and slow to import

    if process.host != socket.gethostname() or process.pid is None or process.created is None:
        return False
    try:
        found = psutil.Process(process.pid)
        is_same = abs(found.create_time() - process.created) < _START_TOLERANCE
        if not is_same or found.status() == psutil.STATUS_ZOMBIE:
            return False
        stat = proc.stat(found.pid)
        return stat is None or not stat.is_exiting
    except (psutil.Error, ValueError, OverflowError):
        return False
