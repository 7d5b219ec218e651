"""Functions that travel whole, to processes that may lack this package."""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable
from typing import Any

__all__ = ["by_value", "is_ours"]

_OURS = "raymemprof."
"""What the names of our own functions begin with that are pickled whole."""


def by_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is pickled whole, for workers that cannot import its module.

    It uses nothing of that module, and what it imports itself.
    """
    made = types.FunctionType(
        function.__code__, {"__builtins__": builtins}, function.__name__, function.__defaults__, function.__closure__
    )
    made.__module__ = "__main__"
    made.__qualname__ = _OURS + function.__name__
    return made


def is_ours(name: str | None) -> bool:
    """Whether a task of this name is one of these functions."""
    return name is not None and name.startswith(_OURS)
