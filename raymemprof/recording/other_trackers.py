"""Lets another memray tracker in this process, the user's or Ray's dashboard's, work as if ours were not there.

A process can have one. memray holds a lock while it starts or stops one: ours is closed when somebody else comes for
that lock.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Any

import memray
import wrapt

from .memray_tracker import is_asking

__all__ = ["give_way", "renew"]

_LOCK = "tracker_creation_lock"


class _Lock(wrapt.ObjectProxy):  # type: ignore[type-arg]  # older ones take none
    """memray's lock, which says so before it is taken."""

    def __init__(self, lock: Any, before: Callable[[], None]) -> None:
        super().__init__(lock)
        self._self_before = before

    def __enter__(self) -> Any:
        if is_asking():  # and must not wait, nor be interrupted with the lock in hand
            return None
        self._self_before()
        return self.__wrapped__.__enter__()

    def __exit__(self, *error: object) -> Any:
        return None if is_asking() else self.__wrapped__.__exit__(*error)


def give_way(close_ours: Callable[[], None]) -> None:
    """Have `close_ours` called before any tracker starts or stops. Without that lock, theirs is refused by memray."""
    lock = getattr(memray._memray, _LOCK, None)
    if lock is not None and not isinstance(lock, _Lock):
        setattr(memray._memray, _LOCK, _Lock(lock, close_ours))


def _allow_any_thread_name() -> None:
    """Let threads start whose names memray cannot write. memray raises in such a thread, and `Thread.start` hangs."""
    interceptor = getattr(sys.modules.get("memray._thread_name_interceptor"), "ThreadNameInterceptor", None)
    if interceptor is not None:
        wrapt.wrap_function_wrapper(interceptor, "__set__", _set_name)


def _set_name(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> None:
    with contextlib.suppress(UnicodeEncodeError):  # only memray's report lacks the name: the thread has it already
        wrapped(*args, **kwargs)


_allow_any_thread_name()


def renew(close_ours: Callable[[], None]) -> None:
    """Give a forked child a lock that nobody holds."""
    if hasattr(memray._memray, _LOCK):
        setattr(memray._memray, _LOCK, _Lock(threading.Lock(), close_ours))
