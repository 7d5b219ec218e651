"""Sends each call's peak and outcome to Ray's metrics, where RAYMEMPROF_METRICS=1 asks for it.

Each node's metrics agent exports them to Prometheus, with the labels of Ray's own: the histogram
`ray_raymemprof_call_peak_memory_bytes` by `Name`, and the counter `ray_raymemprof_calls_total` by `Name` and `Status`.
A call that was killed has no end, so it is in neither.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from .. import cluster
from . import warn
from .safety import interruptions

__all__ = ["send"]

_VARIABLE = "RAYMEMPROF_METRICS"
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_MIB = 2**20
_BOUNDARIES = [float(64 * _MIB * 2**power) for power in range(13)]
"""64 MiB, about what a worker has before it does anything, and its doubles up to 256 GiB."""

Send = Callable[[str, int, str], None]


def send(name: str, peak: int, status: str) -> None:
    """Count a call that ended, with its peak in bytes. Never raises of its own accord."""
    global _send
    if _send is None:
        _send = _measure if _is_wanted() else _nothing
    _send(name, peak, status)


def _is_wanted() -> bool:
    text = os.environ.get(_VARIABLE, "")
    word = text.strip().lower()
    if word not in _YES + _NO:
        warn.once(_VARIABLE, f"{_VARIABLE}={text!r} was passed over: it must be true or false")
    return word in _YES


def _nothing(name: str, peak: int, status: str) -> None:
    """Not asked for."""


def _measure(name: str, peak: int, status: str) -> None:
    global _send, _record
    if not cluster.is_connected():
        return
    try:
        if _record is None:
            with _lock:
                _record = _record or _make()
    except Exception as error:
        if interruptions.is_users(error):
            raise
        _send = _nothing
        warn.once("metrics", f"calls are not sent to Ray's metrics: {type(error).__name__}: {error}")
        return
    try:
        _record(name, peak, status)
    except Exception as error:
        if interruptions.is_users(error):
            raise
        warn.once("metrics", f"a call was not sent to Ray's metrics: {type(error).__name__}: {error}")


def _make() -> Send:
    peaks = cluster.histogram(
        "raymemprof_call_peak_memory_bytes",
        "The most memory (RSS - SHR) that the process had while the call ran.",
        boundaries=_BOUNDARIES,
        tag_keys=("Name",),
    )
    calls = cluster.counter("raymemprof_calls_total", "Calls that ended, by outcome.", tag_keys=("Name", "Status"))

    def record(name: str, peak: int, status: str) -> None:
        peaks.observe(peak, {"Name": name})
        calls.inc(1, {"Name": name, "Status": status})

    return record


_send: Send | None = None
"""None until the environment was read, when the first call ends."""
_record: Send | None = None
_lock = threading.Lock()


def _after_fork() -> None:
    """Send nothing from a forked child: a thread that is not there may hold the locks of Ray's native side."""
    global _send
    _send = _nothing


os.register_at_fork(after_in_child=_after_fork)
