"""Locks that an interruption of the user's code cannot leave taken.

An exception of a signal's handler may come after each call that the thread makes, and when a function of Python's
begins. So such a lock is taken within the `try`, since one may come after `lock.acquire(timeout=…)`, and
`lock.release()` stands in the `finally` itself: where a function of ours does it, one may come when that begins.

    try:
        if lock.acquire(timeout=1):
            ...
    finally:
        try:
            lock.release()
        except RuntimeError as error:
            locks.was_not_taken(error)
"""

from __future__ import annotations

from . import interruptions

__all__ = ["was_not_taken"]


def was_not_taken(error: RuntimeError) -> None:
    """Pass over what `release` says of a lock that this thread does not have; raise what is the user's."""
    if interruptions.is_users(error):
        raise error
