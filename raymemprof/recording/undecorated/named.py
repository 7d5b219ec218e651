"""Functions that nobody decorated, as they are recorded: some under names of Ray's, and none twice."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from ..profile import Profile
from ..tracebacks import leave_out_recording
from ..wrappers import is_recorded, recorded
from .rays_own import Naming

__all__ = ["is_recorded_below", "named"]

_MOST_DECORATORS = 100


def is_recorded_below(function: Any) -> bool:
    """Whether a function records its calls, or one does that it was put around by `functools.wraps`."""
    seen = 0
    while isinstance(function, types.FunctionType) and seen < _MOST_DECORATORS:
        if is_recorded(function):
            return True
        function, seen = getattr(function, "__wrapped__", None), seen + 1
    return False


def named(
    function: types.FunctionType,
    name_of: Naming,
    profile: Callable[[str], Profile],
    wanted: Callable[[str], bool] = lambda name: True,
) -> types.FunctionType:
    """Return a function each call of which is recorded under a name of its own, with the profile of that, if wanted."""
    by_name: dict[str, Callable[..., Any]] = {}

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        name = name_of(args) or function.__qualname__
        run = by_name.get(name)
        if run is None:
            run = by_name[name] = recorded(function, profile(name)) if wanted(name) else function
        try:
            return run(*args, **kwargs)
        except BaseException as error:
            leave_out_recording(error)
            raise

    return functools.update_wrapper(wrapper, function)  # type: ignore[return-value]
