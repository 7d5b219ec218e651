"""The threads of recording, of which the user's code notices nothing.

`threading` does not list them: code that waits for all threads there are would wait for ever. And no signal is
delivered to them: one that all other threads block, since somebody waits for it with `signal.sigwait`, would end the
process.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable

from . import interruptions

__all__ = ["HiddenThread", "current", "forget_this_one"]

_LONGEST_START = 1.0
"""Seconds for which whoever starts a thread waits until it blocks signals: it takes microseconds."""
_OF_ITS_OWN_DOING = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS")
"""Signals that a thread gets for what it does itself."""


class HiddenThread:
    """A daemon thread that runs `target`."""

    def __init__(self, target: Callable[[], object]) -> None:
        self._target = target
        self._is_ready = _thread.allocate_lock()
        self._is_alive = False
        self.ident: int | None = None
        """Its number, once it was started."""

    def start(self) -> None:
        """Start it. Raises `RuntimeError` where there can be no more threads, or the process is about to end."""
        self._is_ready.acquire()
        self._is_alive = True
        try:
            self.ident = _thread.start_new_thread(self._run, ())
        except (RuntimeError, MemoryError) as error:
            self._is_alive = interruptions.is_users(error)  # it came when the thread was there
            raise
        self._is_ready.acquire(timeout=_LONGEST_START)

    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._is_alive

    def _run(self) -> None:
        self.ident = _thread.get_ident()
        _running[self.ident] = self
        try:
            try:
                _block_signals()
            finally:
                self._is_ready.release()
            hook = threading.getprofile()  # memray's, which follows the threads that are started while it traces
            if hook is not None:
                sys.setprofile(hook)
            self._target()
        finally:
            self._is_alive = False
            _running.pop(_thread.get_ident(), None)
            forget_this_one()


_running: dict[int, HiddenThread] = {}
os.register_at_fork(after_in_child=_running.clear)


def current() -> HiddenThread | None:
    """Return the thread that runs, if it is one of recording's."""
    return _running.get(_thread.get_ident())


def _block_signals() -> None:
    if hasattr(signal, "pthread_sigmask"):
        its_own = {getattr(signal, name, None) for name in _OF_ITS_OWN_DOING}
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - its_own)


def forget_this_one() -> None:
    """Have `threading` forget the thread that runs: it lists each that asks for its name there, as `logging` does."""
    getattr(threading, "_active", {}).pop(_thread.get_ident(), None)
