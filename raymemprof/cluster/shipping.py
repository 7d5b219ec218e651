"""What Ray ships to workers to run: learn of a function or an actor class before it is pickled, and after.

Ray has no interface for this. Where it has moved what is patched here, nothing is patched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import wrapt

__all__ = ["around_shipping"]

_SHIPS = {"ray.remote_function": "pickle_dumps", "ray._private.function_manager": "pickle_dumps"}
"""The modules that pickle functions and actor classes to ship them, and by which of their functions."""


def around_shipping(context: Callable[[Any], AbstractContextManager[None]]) -> None:
    """Have each function and actor class pickled within a context that is made of it. It may not raise.

    Takes effect when Ray is imported.
    """

    def wrap(name: str, module: Any) -> None:
        plain = getattr(module, name, None)
        if plain is not None:
            setattr(module, name, around(plain))

    def around(plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def dumps(what: Any, *args: Any, **kwargs: Any) -> Any:
            with context(what):
                return plain(what, *args, **kwargs)

        return dumps

    for module, name in _SHIPS.items():
        wrapt.register_post_import_hook(functools.partial(wrap, name), module)
