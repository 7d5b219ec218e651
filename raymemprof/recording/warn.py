"""Where recording says what it could not do: one log line a process for each kind of trouble, never an exception."""

from __future__ import annotations

import _thread
import contextlib
import logging
import os

from .safety import file_size_limit, interruptions, threads

__all__ = ["once"]

_logger = logging.getLogger("raymemprof")
_said: set[str] = set()


def once(kind: str, message: str) -> None:
    """Log `message` as a warning unless this process has said something of this kind before."""
    if kind not in _said and not file_size_limit.would_signal():  # the log may be a file
        _said.add(kind)
        line = ("raymemprof (pid %d): %s", os.getpid(), message)
        try:
            _log(line)
        except Exception as error:  # a handler of the user's may raise: that must not end what is recorded
            if interruptions.is_users(error):
                raise
        finally:
            if threads.current() is not None:
                threads.forget_this_one()


def _log(line: tuple[object, ...]) -> None:
    try:
        _logger.warning(*line)
    except RecursionError:  # where the user's code has used up the stack there is another one
        _thread.start_new_thread(_warn, line)


def _warn(*line: object) -> None:
    try:
        with contextlib.suppress(Exception):
            _logger.warning(*line)
    finally:
        threads.forget_this_one()
