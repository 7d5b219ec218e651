"""Whether the process that writes a journal is still there, as far as that is known."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

from .events import Process

__all__ = ["has_process", "is_alive", "machine"]

_START_TOLERANCE = 10.0
"""Seconds by which a process's recorded start may differ from what is read of it later: clocks are set."""
_EXITING = 4
"""The kernel's PF_EXITING, among a process's flags."""
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


def has_process(pid: int) -> bool:
    """Whether there is a process with this number here, whichever it is; also where that cannot be told."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _is_dying(pid: int) -> bool:
    """Whether a process has been killed, though it is still there: it takes long to give much memory back."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return bool(int(stat.rpartition(")")[2].split()[6]) & _EXITING)
    except (OSError, ValueError, IndexError):
        return False  # not Linux, or gone by now, which the caller finds out itself


def is_alive(process: Process) -> bool:
    """Whether the process of a `process` line is still there, on this machine; its pid may be another's by now."""
    import psutil  # not needed by the processes that read captures, and slow to import

    if process.host != socket.gethostname() or process.pid is None or process.created is None:
        return False
    try:
        found = psutil.Process(process.pid)
        is_same = abs(found.create_time() - process.created) < _START_TOLERANCE
        return is_same and found.status() != psutil.STATUS_ZOMBIE and not _is_dying(found.pid)
    except (psutil.Error, ValueError, OverflowError):
        return False
