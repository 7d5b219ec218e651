"""`profile_memory`: what can be decorated, and blocks.

What a decorator leaves behind travels to Ray workers, so it is a plain function or class.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar, overload

from .. import cluster
from ..cells import cell_of, place_of
from ..display.refusals import short_traceback
from .call import begin, end
from .classes import is_in_use, record_methods, recorded_class
from .options import Options
from .origin import Origin
from .profile import Profile
from .referenced_files import note_block
from .running_call import RunningCall
from .safety import spare_memory
from .wrappers import recorded

__all__ = ["profile_memory", "profile_of"]

T = TypeVar("T")


@overload
def profile_memory(
    label: str | None = None,
    /,
    *,
    enabled: bool | None = None,
    heap: bool | None = None,
    native: bool | None = None,
    python_allocators: bool | None = None,
    follow_fork: bool | None = None,
    switch_allocators: bool | None = None,
    interval_ms: float | None = None,
    linger: float | None = None,
    every: int | None = None,
    keep: int | None = None,
    max_bytes: int | str | None = None,
    directory: str | os.PathLike[str] | None = None,
) -> ProfileMemory: ...


@overload
def profile_memory(target: T, /, **options: Any) -> T: ...


@short_traceback
def profile_memory(target: Any = None, /, **options: Any) -> Any:  # noqa: D417  # each option is described
    """Record what tasks, actors and blocks of code do with memory: decorator and context manager.

    raymemprof records the memory (RSS − SHR) of each call: before, at the peak and after. memray traces what the call
    allocates into a capture file in Ray's session log directory. Profiling never makes a call fail: if recording fails,
    the call runs untraced, `Call.note` says why, and each process logs one warning.

    Args:
        target: a function of any kind (also a generator, coroutine or async generator), a class, or what `@ray.remote`
            or `@serve.deployment` returned; for `with`, the label of the block.
        enabled: record at all. Default: True.
        heap: trace allocations; False samples memory only. Default: True.
        native: record C and C++ frames too. Default: False.
        python_allocators: record every small Python object, not only what reaches `malloc`. Default: False.
        follow_fork: also trace forked child processes, as part of the call that forked them. Default: False.
        switch_allocators: while tracing, make libraries with their own allocator (Arrow) use malloc, so that memray
            sees what they allocate. Default: True.
        interval_ms: milliseconds between two samples of memory. Default: 20.
        linger: seconds for which tracing stays on after the last call, because starting it again takes time.
            Default: 0.25; for actors `inf`.
        every: trace one in this many calls of each function; memory is sampled in all of them. Default: 1.
        keep: how many captures of each function the node keeps when its disk budget is used up: those with the largest
            peaks. Default: 20.
        max_bytes: the node's disk budget for captures and journals, in bytes or as "2GiB". Default: 2 GiB.
        directory: folder to record to. Default: the log directory of the node's Ray session; without Ray, a folder
            `raymemprof-<user>` under the system's temporary directory.

    Each option can also be set by the environment variable `RAYMEMPROF_<NAME>` of the process that runs the call, such
    as `RAYMEMPROF_NATIVE=1`.

    Returns:
        The same kind of object as `target`. With only a label or options, a decorator that is also a context manager.

    Raises:
        TypeError: the target cannot be decorated, or an option is unknown.
        ValueError: the value of an option makes no sense.

    Example:
        >>> from raymemprof import profile_memory
        >>> @profile_memory
        ... def square(numbers):
        ...     return [n * n for n in numbers]
        >>> square([1, 2, 3])
        [1, 4, 9]
        >>> with profile_memory("load"):
        ...     data = bytearray(1_000_000)
    """
    checked = Options.checked(options)
    if target is None or isinstance(target, str):
        return ProfileMemory(target, checked)
    return _decorate(target, checked)


class ProfileMemory:
    """What `profile_memory(...)` returns when it is given options or a label: a decorator, and a context manager."""

    def __init__(self, label: str | None, options: Options) -> None:
        self._label = label
        self._options = options
        self._open: list[tuple[int, RunningCall | None]] = []

    def __call__(self, target: T) -> T:
        """Decorate a function or class."""
        if self._label is not None:
            raise TypeError(
                f"profile_memory({self._label!r}) has a label and so is for `with`; "
                "to decorate, write @profile_memory or @profile_memory(<options>)."
            )
        decorated: T = _decorate(target, self._options)
        return decorated

    def __enter__(self) -> ProfileMemory:
        """Begin the block."""
        if self._options.enabled is False:
            return self
        label, frame = self._label, sys._getframe(1)
        note_block(frame.f_code, frame.f_globals)
        if label is None:
            cell = cell_of(frame.f_code.co_filename)
            label = f"{frame.f_code.co_name}:{frame.f_lineno}" if cell is None else place_of(cell.name, frame.f_lineno)
        call = begin(Profile(label, "block", self._options), self)
        self._open.append((threading.get_ident(), call))
        if call is not None:
            try:
                call.start(block=True)
                call.enter()
            except BaseException as error:  # `__exit__` will not be called
                self._open.pop()
                end(call, error)
                raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """End the block; an exception passes through it."""
        if self._options.enabled is False or not self._open:
            return
        if isinstance(error, MemoryError):
            spare_memory.SPARE.clear()
        call = self._take()
        if call is not None:
            end(call, error)

    def _take(self) -> RunningCall | None:
        """Return the block to end: the one that this code is in, of those that were entered through this object."""
        here = threading.get_ident()
        mine = [entry for entry in self._open if entry[0] == here]
        inner = [entry for entry in mine if entry[1] is not None and entry[1].is_current()]
        entry = (inner or mine or self._open)[-1]
        self._open.remove(entry)
        return entry[1]


def _decorate(target: Any, options: Options) -> Any:
    if options.enabled is False:
        return target
    deployed = cluster.deployed(target)
    if deployed is not None:
        return cluster.deployment_like(target, _decorate(deployed, options))
    remote = cluster.remote_kind(target)
    if remote is not None:
        return _remote(target, remote, options)
    if isinstance(target, type):
        return recorded_class(target, options)
    if inspect.isfunction(target):
        profile = profile_of(target, options)
        return recorded(target, profile, bound=profile.kind != "task")
    raise TypeError(
        f"profile_memory cannot decorate {target!r}: it takes a function, a class, "
        "or what @ray.remote or @serve.deployment made of one (and a label, for `with`)."
    )


def profile_of(function: Callable[..., Any], options: Options) -> Profile:
    """Return what a function is recorded as: a method of a class, or a task."""
    kind = "task"
    if _is_method(function):
        kind = "actor" if function.__name__ == "__init__" else "method"
    return Profile(function.__qualname__, kind, options, Origin(function))


def _is_method(function: Callable[..., Any]) -> bool:
    """Whether a function stands in the body of a class, and takes the object."""
    place = function.__qualname__.rpartition(".")[0]
    code = function.__code__
    return bool(place) and not place.endswith("<locals>") and code.co_varnames[: code.co_argcount][:1] == ("self",)


def _remote(target: Any, kind: str, options: Options) -> Any:
    """Have what `@ray.remote` made recorded: a new actor class or remote function, with the same options.

    An actor class that nobody can have used yet is changed itself: making another derives from the user's class again.
    """
    if kind == "class":
        original = cluster.original_actor_class(target)
        if not cluster.is_exported(target) and not is_in_use(target, original):
            record_methods(cluster.actor_class(target), original, options)
            return target
        inner = _decorate(original, options)
    else:
        inner = _decorate(cluster.original_function(target), options)
    return cluster.remote_like(target, inner)
