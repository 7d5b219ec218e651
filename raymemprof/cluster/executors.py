"""What Ray calls for each method of the actor that runs in this process: have other methods called in their place.

Ray has no interface for this. Where it has moved what is used here, nothing is exchanged, and the caller is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .identity import ray_version, ray_worker

__all__ = ["Exchange", "actor_methods", "unknown_executor_names"]

_MANAGER = "function_actor_manager"
_BY_ID = "_function_execution_info"
"""What the manager keeps for all methods of a class, from when it was loaded."""
_BY_DESCRIPTOR = "execution_infos"
"""What it keeps for those that were called; Ray looks here first."""
_MAKE = "_make_actor_method_executor"
_FOR = "raymemprof_in_place_of"
"""An attribute of an executor that is called in place of a method's own: the method."""


def unknown_executor_names() -> str | None:
    """Say what is used here and this Ray does not have; None where all is well."""
    manager = getattr(ray_worker(), _MANAGER, None)
    names = [name for name in (_BY_ID, _BY_DESCRIPTOR, _MAKE) if not hasattr(manager, name)]
    if not names and not any(hasattr(info, "_replace") for _, info in _infos(manager)):
        names = ["executor.method"]
    return f"Ray {ray_version()} has no {', '.join(names)}, which raymemprof needs for that" if names else None


def _infos(manager: Any) -> Iterator[tuple[Any, Any]]:
    """Yield key and value of what is kept for methods of actors."""
    for key, info in list(getattr(manager, _BY_ID).items()):
        if hasattr(getattr(info, "function", None), "method"):
            yield key, info


def actor_methods(actor: object) -> dict[str, Callable[..., Any]]:
    """Return the methods of this process's actor that Ray calls, by name: as its class gives them."""
    return {info.function.name: info.function.method for info in _own_infos(actor)}


def _own_infos(actor: object) -> list[Any]:
    """Leave out other classes, to whose actors this one has handles."""
    found = [info for _, info in _infos(getattr(ray_worker(), _MANAGER))]
    return [one for one in found if getattr(type(actor), one.function.name, None) == _before(one.function)]


def _before(executor: Any) -> Any:
    """Return the method that an executor is for, in whose place another may be called."""
    return getattr(executor, _FOR, executor.method)


class Exchange:
    """Other methods in the place of some of the actor's, until they are put back. A call that runs is not touched."""

    def __init__(self, actor: object, methods: Mapping[str, Callable[..., Any]]) -> None:
        self._manager = getattr(ray_worker(), _MANAGER)
        self._new: dict[int, tuple[Any, Any]] = {}
        for info in _own_infos(actor):
            made = methods.get(info.function.name)
            if made is not None:
                executor = getattr(self._manager, _MAKE)(info.function.name, made)
                setattr(executor, _FOR, info.function.method)
                self._new[id(info)] = info, info._replace(function=executor)
        self._old = {id(new): (new, old) for old, new in self._new.values()}

    def make(self) -> None:
        """Have the other methods called from now on. Do it again: a call that begins may bring an old one back."""
        self._put(self._new)

    def undo(self) -> None:
        """Put the actor's own methods back; again does no harm."""
        self._put(self._old)

    def _put(self, changes: Mapping[int, tuple[Any, Any]]) -> None:
        for name in (_BY_ID, _BY_DESCRIPTOR):  # in this order: the second is filled from the first
            kept = getattr(self._manager, name)
            for key, info in list(kept.items()):
                there, instead = changes.get(id(info), (None, None))
                if there is not None and there is info:
                    kept[key] = instead
