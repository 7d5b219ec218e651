"""How a call ended: its status, and the text of its error."""

from __future__ import annotations

import asyncio
import re

from .. import cluster

__all__ = ["describe", "outcome"]

_MOST_ERROR_TEXT = 500
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def outcome(error: BaseException | None) -> tuple[str, str | None]:
    """Return the status of a call that raised `error`, or returned, and the text that says why it failed."""
    if error is None or isinstance(error, GeneratorExit) or cluster.is_intended_exit(error):
        return "finished", None
    if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)) or type(error).__name__ == "TaskCancelledError":
        return "cancelled", None
    return "failed", describe(error)


def describe(error: BaseException) -> str:
    """Return the name and the text of an exception, without colours, as Ray's have them, cut to 500 characters."""
    name = type(error).__name__
    try:
        text = f"{name}: {_COLOUR.sub('', str(error)[:_MOST_ERROR_TEXT])}"  # of a very long one there is no copy
    except Exception as trouble:  # a user's exception may not be printable
        text = f"{name} (its text cannot be had: {type(trouble).__name__})"
    return text[:_MOST_ERROR_TEXT]
