"""What Ray loads to run: functions and actor classes pass through ours first.

Ray has no interface for this. Where it has moved what is patched here, nothing is patched, and the caller is told.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable
from typing import Any

import wrapt

from .remote_objects import class_before_ray

__all__ = ["MODULE", "pass_through", "unknown_names"]

MODULE = "ray._private.function_manager"
_MANAGER = "FunctionActorManager"
_GETS_A_FUNCTION = "get_execution_info"
_LOAD_A_CLASS = ("_load_actor_class_from_gcs", "_load_actor_class_from_local")
_INFO = "FunctionExecutionInfo"
_KEEPS_FUNCTIONS = "_function_execution_info"


def unknown_names() -> list[str]:
    """Return what is patched here and this Ray does not have; nothing where all is well."""
    manager = getattr(importlib.import_module(MODULE), _MANAGER, None)
    if manager is None:
        return [f"{MODULE}.{_MANAGER}"]
    fields = getattr(getattr(importlib.import_module(MODULE), _INFO, None), "_fields", ())
    unknown = [f"{_MANAGER}.{name}" for name in (_GETS_A_FUNCTION, *_LOAD_A_CLASS) if not hasattr(manager, name)]
    return unknown + ([] if "function" in fields else [f"{_INFO}.function"])


def pass_through(
    of_function: Callable[[types.FunctionType], types.FunctionType], of_class: Callable[[type, type], None]
) -> None:
    """Have each function that Ray loads replaced by what `of_function` returns, and each actor class changed.

    `of_class` gets the class that Ray derived, and the user's below it, before Ray looks at their methods. Neither may
    raise.
    """

    def get(wrapped: Any, manager: Any, args: Any, kwargs: Any) -> Any:
        info = wrapped(*args, **kwargs)
        function = getattr(info, "function", None)
        # A method of an actor is here too, as a function of Ray's around it.
        if not isinstance(function, types.FunctionType) or hasattr(function, "method"):
            return info
        made = of_function(function)
        if made is function:
            return info
        replaced = info._replace(function=made)
        kept = getattr(manager, _KEEPS_FUNCTIONS, {})
        for key in [key for key, one in list(kept.items()) if one is info]:
            kept[key] = replaced
        return replaced

    def load(wrapped: Any, manager: Any, args: Any, kwargs: Any) -> Any:
        found = wrapped(*args, **kwargs)
        original = class_before_ray(found)
        if original is not None:
            of_class(found, original)
        return found

    wrapt.wrap_function_wrapper(MODULE, f"{_MANAGER}.{_GETS_A_FUNCTION}", get)
    for name in _LOAD_A_CLASS:
        wrapt.wrap_function_wrapper(MODULE, f"{_MANAGER}.{name}", load)
