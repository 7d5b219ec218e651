"""Asks one worker of a job whether the switch reached it, and tells the driver where it did not."""

from __future__ import annotations

import builtins
import threading
import types
from collections.abc import Callable, Mapping
from typing import Any

from ... import cluster
from .. import warn

__all__ = ["by_value", "look"]

_LIMIT = 120.0
"""Seconds in which the worker has to start; its runtime environment may have to be installed first."""


def look(runtime_env: Mapping[str, Any] | None = None) -> None:
    """Look, without waiting for it, whether workers with this runtime environment, or the job's, record; else say why.

    What keeps the worker from starting is not told: the user's own tasks tell it.
    """
    threading.Thread(target=_look, args=(runtime_env,), name="raymemprof-probe", daemon=True).start()


def _look(runtime_env: Mapping[str, Any] | None) -> None:
    try:
        problem = cluster.try_in_job(by_value(_problem_there), runtime_env, _LIMIT)
    except Exception:
        return
    if problem is not None:
        warn.once("probe", f"tasks and actors that are not decorated are not recorded: {problem}.")


def _problem_there() -> object:
    try:
        from raymemprof.recording.undecorated import switch
    except Exception as error:
        return f"raymemprof cannot be imported on a worker ({error}); install it in the workers' environment"
    return switch.problem()


def by_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is pickled whole, for workers that cannot import this module.

    It uses nothing of this module, and what it imports itself.
    """
    made = types.FunctionType(
        function.__code__, {"__builtins__": builtins}, function.__name__, function.__defaults__, function.__closure__
    )
    made.__module__ = "__main__"
    made.__qualname__ = f"raymemprof.{function.__name__}"
    return made
