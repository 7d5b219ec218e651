"""Which call the running code belongs to."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .running_call import RunningCall

__all__ = ["covered", "current"]

current: ContextVar[RunningCall | None] = ContextVar("raymemprof_call", default=None)
"""The innermost call that the running code belongs to."""


def covered(function: object, instance: object = None) -> bool:
    """Whether what runs now is of a call that one of `function` is part of: recursion, or a method calling another."""
    call = current.get()
    while call is not None:
        if not call.ended and (call.function is function or (instance is not None and call.instance is instance)):
            return True
        call = call.enclosing
    return False
