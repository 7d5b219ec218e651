"""What this process submits to Ray, tasks and new actors: give it another runtime environment, for a while.

Ray has no interface for this. Where it has moved what is patched here, nothing is patched.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeAlias

import wrapt

from .remote_objects import actor_class, is_exported, original_function, remote_kind

__all__ = ["Change", "Submission", "around_submissions"]


class Submission(NamedTuple):
    """A task or an actor that is about to be submitted."""

    target: Any
    """The function, or the actor class as Ray derived it; through Ray Client, the user's own class."""
    runtime_env: Mapping[str, Any]
    """What it asks for itself, beside that of the job."""
    is_detached: bool
    """Whether it is an actor that outlives the job."""
    is_exported: bool
    """Whether workers may have the function or class already."""


Change: TypeAlias = Callable[[Submission], AbstractContextManager["Mapping[str, Any] | None"]]
"""Returns a context to submit in, which gives the runtime environment to ask for instead; None for no other."""

_PLACES = (
    ("ray.remote_function", "RemoteFunction", "_remote"),
    ("ray.actor", "ActorClass", "_remote"),
    ("ray.util.client.common", "ClientRemoteFunc", "remote"),
    ("ray.util.client.common", "ClientActorClass", "remote"),
    ("ray.util.client.common", "OptionWrapper", "remote"),
    ("ray.util.client.common", "ActorOptionWrapper", "remote"),
)
"""The methods that submit, each by its module and class. Those of Ray Client take the arguments alone."""
_changes: list[Change] = []
"""Those that hold at the moment; only the last is asked."""
_patched: dict[tuple[str, str, str], tuple[Any, Any]] = {}
"""By place: the method of Ray's, and the one in its place."""
_lock = threading.RLock()


@contextlib.contextmanager
def around_submissions(change: Change) -> Iterator[None]:
    """Have `change` asked about each task and each new actor that any thread of this process submits meanwhile.

    It may not raise. If Ray is not imported yet, this takes effect when it is.
    """
    _watch_imports()
    try:
        with _lock:
            _changes.append(change)
            for place in _PLACES:
                _patch(place)
        yield
    finally:
        with _lock:
            if change in _changes:
                _changes.remove(change)
            if not _changes:
                _restore()


@functools.cache
def _watch_imports() -> None:
    def imported(module: Any) -> None:
        with _lock:
            for place in _PLACES:
                if place[0] == module.__name__ and _changes:
                    _patch(place)

    for name in dict.fromkeys(module for module, *_ in _PLACES):
        wrapt.register_post_import_hook(imported, name)


def _patch(place: tuple[str, str, str]) -> None:
    module, class_name, method = place
    cls = getattr(sys.modules.get(module), class_name, None)
    plain = vars(cls).get(method) if cls is not None else None
    if plain is not None and plain is not _patched.get(place, (None, None))[1]:
        made = (_submits_with_options if method == "_remote" else _submits)(plain)
        _patched[place] = plain, made
        setattr(cls, method, made)


def _restore() -> None:
    """Put Ray's own methods back; where another patch is above ours, ours stays below it, and changes nothing."""
    for (module, class_name, method), (plain, made) in list(_patched.items()):
        cls = getattr(sys.modules.get(module), class_name, None)
        if cls is not None and vars(cls).get(method) is made:
            setattr(cls, method, plain)
    _patched.clear()


def _submits_with_options(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def submit(remote: Any, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        __tracebackhide__ = True  # in a notebook, as what runs the cell
        with _changed(remote, options) as runtime_env:
            if runtime_env is None:
                return plain(remote, args, kwargs, *rest, **options)
            default = getattr(remote, "_default_options", None) or {}
            # Ray accepts some options in `@ray.remote` only.
            given = {name: value for name, value in options.items() if value is not default.get(name, _changes)}
            given.pop("serialized_runtime_env_info", None)
            given["runtime_env"] = runtime_env
            return remote.options(**given).remote(*(args or ()), **(kwargs or {}))

    return submit


def _submits(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def submit(remote: Any, /, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        stub = vars(remote).get("_remote_stub", remote)
        options = {**(getattr(stub, "_options", None) or {}), **(remote._options or {})}
        with _changed(stub, options) as runtime_env:
            if runtime_env is None:
                return plain(remote, *args, **kwargs)
            return stub.options(**{**(remote._options or {}), "runtime_env": runtime_env}).remote(*args, **kwargs)

    return submit


@contextlib.contextmanager
def _changed(remote: Any, options: Mapping[str, Any]) -> Iterator[Mapping[str, Any] | None]:
    changes, target = list(_changes), _target(remote)
    if not changes or target is None:
        yield None
        return
    submission = Submission(
        target, options.get("runtime_env") or {}, options.get("lifetime") == "detached", _is_exported(remote)
    )
    with changes[-1](submission) as runtime_env:
        yield runtime_env


def _target(remote: Any) -> Any:
    """Return what runs on the worker; None where that is not Python."""
    if getattr(remote, "_is_cross_language", False):
        return None
    kind = remote_kind(remote)
    if kind == "function":
        return original_function(remote)
    if kind == "class":
        return actor_class(remote)
    return getattr(remote, "_func", None) or getattr(remote, "actor_cls", None)


def _is_exported(remote: Any) -> bool:
    if remote_kind(remote) == "class":
        return is_exported(remote)
    return (
        getattr(remote, "_last_export_cluster_and_job", None) is not None or getattr(remote, "_ref", None) is not None
    )
