"""The source texts of cells, and of the driver's script, travel with functions and classes that nobody decorated.

They are there while Ray pickles one, as plain data in an attribute: a worker without raymemprof can unpickle it too.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import types
from collections.abc import Iterator
from typing import Any

from ... import cluster
from .. import warn
from ..origin import Text, arrive, gathered
from ..referenced_files import MAIN
from ..wrappers import is_recorded
from .named import is_recorded_below

__all__ = ["attached", "take_along", "unpack"]

_ATTRIBUTE = "__raymemprof_texts__"
_shipping: dict[int, int] = {}
"""How many threads pickle a thing at the moment, by its id: it must not change meanwhile."""
_lock = threading.Lock()


@functools.cache
def take_along() -> None:
    """Have what Ray ships from this process from now on take its texts along."""
    cluster.around_shipping(attached)


@contextlib.contextmanager
def attached(shipped: Any) -> Iterator[None]:
    """Attach its texts to a function or class meanwhile. Never raises of its own accord."""
    texts: tuple[tuple[str, str | None, bytes], ...] = ()
    try:
        if _is_shipped_whole(shipped) and not _has_origin(shipped):
            texts = tuple(map(tuple, gathered(_original(shipped))))  # type: ignore[arg-type]
            if texts:
                _attach(shipped, texts)
    except Exception as error:
        warn.once("origin", f"the source texts of cells were not taken along: {error!r}")
    try:
        yield
    finally:
        if texts:
            _detach(shipped)


def _attach(shipped: Any, texts: object) -> None:
    with _lock:
        _shipping[id(shipped)] = _shipping.get(id(shipped), 0) + 1
        if _shipping[id(shipped)] == 1:
            _set(shipped, texts)


def _detach(shipped: Any) -> None:
    with _lock:
        count = _shipping.pop(id(shipped), 1) - 1
        if count:  # another thread pickles it still
            _shipping[id(shipped)] = count
        else:
            _remove(shipped)


def unpack(shipped: Any) -> None:
    """Take note of the texts that came with a function or class."""
    texts = vars(shipped).get(_ATTRIBUTE)
    if texts:
        arrive(tuple(Text(*text) for text in texts))
        _remove(shipped)


def _is_shipped_whole(shipped: Any) -> bool:
    return isinstance(shipped, (types.FunctionType, type)) and _original(shipped).__module__ == MAIN


def _original(shipped: Any) -> Any:
    """The user's own class, of one that Ray derived."""
    return cluster.class_before_ray(shipped) or shipped


def _has_origin(shipped: Any) -> bool:
    """Whether it takes its texts along anyway, since it is decorated."""
    if isinstance(shipped, types.FunctionType):
        return is_recorded_below(shipped)
    functions = (getattr(value, "__func__", value) for value in list(vars(_original(shipped)).values()))
    return any(isinstance(function, types.FunctionType) and is_recorded(function) for function in functions)


def _set(shipped: Any, texts: object) -> None:
    if isinstance(shipped, type):
        type.__setattr__(shipped, _ATTRIBUTE, texts)
    else:
        vars(shipped)[_ATTRIBUTE] = texts


def _remove(shipped: Any) -> None:
    with contextlib.suppress(KeyError, AttributeError):  # two threads shipped it at once
        if isinstance(shipped, type):
            type.__delattr__(shipped, _ATTRIBUTE)
        else:
            del vars(shipped)[_ATTRIBUTE]


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
