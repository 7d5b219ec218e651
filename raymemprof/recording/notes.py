"""Where recording says what it could not do: one log line a process for each kind of trouble, never an exception."""

from __future__ import annotations

import _thread
import logging
import os

from . import limits

__all__ = ["once"]

_logger = logging.getLogger("raymemprof")
_said: set[str] = set()


def once(kind: str, message: str) -> None:
    """Log `message` as a warning unless this process has said something of this kind before."""
    if kind not in _said and not limits.would_signal():  # the log may be a file
        _said.add(kind)
        line = ("raymemprof (pid %d): %s", os.getpid(), message)
        try:
            _logger.warning(*line)
        except RecursionError:  # where the user's code has used up the stack there is another one
            _thread.start_new_thread(_logger.warning, line)
