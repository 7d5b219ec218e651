"""When an actor begins to work for a compiled graph of Ray's.

Ray has no interface for this. Where it has moved what is patched here, nothing is patched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import wrapt

__all__ = ["before_graph"]

_MODULE = "ray.dag.compiled_dag_node"
_CLASS, _METHOD = "ExecutableTask", "prepare"
"""It is called for each task of the actor's, before the first runs; then Ray imports PyTorch, if it is installed."""


@functools.cache
def before_graph(callback: Callable[[], None]) -> None:
    """Have `callback` called in this process before it works for a compiled graph. It may not raise."""

    def patch(module: Any) -> None:
        if hasattr(getattr(module, _CLASS, None), _METHOD):
            wrapt.wrap_function_wrapper(module, f"{_CLASS}.{_METHOD}", prepare)

    def prepare(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        callback()
        return wrapped(*args, **kwargs)

    wrapt.register_post_import_hook(patch, _MODULE)
