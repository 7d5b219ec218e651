"""`profile_memory`: what can be decorated, and how each kind is wrapped.

What a decorator leaves behind travels to Ray workers, so it is a plain function or class that holds the user's function
and a `Profile`. Each kind of callable stays what it is, since Ray looks at the wrapper to decide how to run it.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, TypeVar, overload

from .. import ray_runtime
from . import frames
from .call import Profile, RunningCall, begin, end
from .options import Options

__all__ = ["profile_memory"]

T = TypeVar("T")

_WRAPPED = "__raymemprof_wrapped__"
_DUNDERS = ("__init__", "__call__")
"""The special methods that Ray runs as calls of an actor; the others run within those."""


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


def profile_memory(target: Any = None, /, **options: Any) -> Any:  # noqa: D417  # each option is described
    """Record what tasks, actors and blocks of code do with memory: decorator and context manager.

    Every call is recorded with its memory (RSS − SHR) before, at its peak and after, and what it allocates is traced by
    memray into a capture in Ray's session log directory. Nothing that goes wrong in recording reaches the code it
    records: the call runs untraced, `Call.note` says why, and one warning a process is logged.

    Args:
        target: a function, generator function, coroutine function, async generator function, class, or what
            `@ray.remote` made of one; or, for `with`, the block's label.
        enabled: whether to record at all. Default: True.
        heap: whether to trace allocations; False samples memory only. Default: True.
        native: record C and C++ frames too. Default: False.
        python_allocators: record every small Python object, not only what reaches `malloc`. Default: False.
        follow_fork: trace forked child processes too, as part of the call that forked them. Default: False.
        switch_allocators: while tracing, have libraries with an allocator of their own (Arrow) use malloc, where memray
            sees what they allocate. Default: True.
        interval_ms: milliseconds between two samples of memory. Default: 20.
        linger: seconds that tracing stays on after the last call, so that the next one need not start it again.
            Default: 0.25; for actors `inf`.
        every: trace one call in this many of each function; memory is sampled on all. Default: 1.
        keep: how many captures of each function the node keeps when its disk budget is used up. Default: 20.
        max_bytes: the node's disk budget for captures, in bytes or as "2GiB". Default: 2 GiB.
        directory: folder to record to. Default: the log directory of the node's Ray session; without Ray, a folder
            `raymemprof-<user>` under the system's temporary directory.

    An option that is not given is taken from the variable `RAYMEMPROF_<NAME>` of the process that runs the call.

    Returns:
        The same kind of thing as was decorated, or, called with a label or with options only, an object to decorate
        or to enter with.

    Raises:
        TypeError: for something that cannot be decorated, or an unknown option.
        ValueError: for an option's value that makes no sense.

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
        label = self._label
        if label is None:
            code = sys._getframe(1).f_code
            label = f"{code.co_name}:{sys._getframe(1).f_lineno}"
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
    remote = ray_runtime.remote_kind(target)
    if remote is not None:
        return _remote(target, remote, options)
    if isinstance(target, type):
        return _class(target, options)
    if inspect.isfunction(target):
        if _is_method(target):
            kind = "actor" if target.__name__ == "__init__" else "method"
            return _seen_whole(_function(target, Profile(target.__qualname__, kind, options), bound=True), target)
        return _function(target, Profile(target.__qualname__, "task", options))
    raise TypeError(
        f"profile_memory cannot decorate {target!r}: it takes a function, a class, "
        "or what @ray.remote made of one (and a label, for `with`)."
    )


def _is_method(function: Callable[..., Any]) -> bool:
    """Whether a function stands in the body of a class, and takes the object."""
    place = function.__qualname__.rpartition(".")[0]
    code = function.__code__
    return bool(place) and not place.endswith("<locals>") and code.co_varnames[: code.co_argcount][:1] == ("self",)


def _seen_whole(wrapper: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Have Ray look at a method's wrapper, and not below: what `@ray.method` says above it is noted there."""
    if wrapper is not function and hasattr(wrapper, "__wrapped__"):
        wrapper.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        del wrapper.__wrapped__
    return wrapper


def _remote(target: Any, kind: str, options: Options) -> Any:
    """Make again what `@ray.remote` made, of the wrapped function or class and with the same options."""
    ray = sys.modules["ray"]
    if kind == "function":
        inner = _decorate(ray_runtime.original_function(target), options)
    else:
        inner = _decorate(ray_runtime.original_actor_class(target), options)
    remote_options = ray_runtime.remote_options(target)
    return ray.remote(**remote_options)(inner) if remote_options else ray.remote(inner)


def _class(cls: type, options: Options) -> type:
    """Return a subclass of the same name whose methods are wrapped, inherited ones too.

    A subclass, as Ray itself makes one of an actor's class: `cls` may be in use elsewhere, and a class that is imported
    by reference on the worker would come back without its wrappers.
    """
    profiled: type

    def inherited(name: str) -> Callable[..., Any]:
        """A method of a base, looked up when it is called: a class that derives from this one may bring another."""

        def forward(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            return getattr(super(profiled, self), name)(*args, **kwargs)

        return forward

    namespace: dict[str, Any] = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    if "__slots__" in cls.__dict__ and not cls.__dictoffset__:
        namespace["__slots__"] = ()
    if "__orig_bases__" in cls.__dict__:
        namespace["__orig_bases__"] = cls.__dict__["__orig_bases__"]  # a generic class stays one
    for name, attribute in _attributes(cls):
        if name.startswith("__") and name.endswith("__") and name not in _DUNDERS:
            continue
        profile = Profile(f"{cls.__qualname__}.{name}", "actor" if name == "__init__" else "method", options)
        if isinstance(attribute, (staticmethod, classmethod)):
            if inspect.isfunction(attribute.__func__):
                bound = isinstance(attribute, classmethod)
                namespace[name] = type(attribute)(_function(attribute.__func__, profile, bound=bound))
        elif inspect.isfunction(attribute):
            run = attribute if name in cls.__dict__ else inherited(name)
            namespace[name] = _function(attribute, profile, bound=True, run=run)
    profiled = types.new_class(cls.__name__, (cls,), {}, lambda body: body.update(namespace))
    return profiled


def _attributes(cls: type) -> list[tuple[str, Any]]:
    """Return the class's attributes as they stand in its body or the nearest base's."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__[:-1]):
        found.update(vars(base))
    return list(found.items())


def _function(
    function: Callable[..., Any], profile: Profile, bound: bool = False, run: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Wrap a function as the kind it is.

    `bound` says that its first argument is the object it belongs to; `run` is what to call in its place.
    """
    if getattr(function, _WRAPPED, False):
        return function
    wrap: Callable[[Callable[..., Any], Profile, bool], Callable[..., Any]]
    if inspect.isasyncgenfunction(function):
        wrap = _async_generator
    elif inspect.iscoroutinefunction(function):
        wrap = _coroutine
    elif inspect.isgeneratorfunction(function):
        wrap = _generator
    else:
        wrap = _plain
    wrapper = functools.update_wrapper(wrap(run or function, profile, bound), function)
    wrapper.__qualname__ = profile.name
    setattr(wrapper, _WRAPPED, True)
    return wrapper


# The wrappers below are pickled by value, with what they name: only functions and modules that can be imported.


def _plain(function: Callable[..., Any], profile: Profile, bound: bool) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = begin(profile, function, args[0] if bound and args else None)
        if call is None:
            return function(*args, **kwargs)
        try:
            call.start()
            call.enter()
            result = call.frame(frames.plain)(function, args, kwargs)
        except BaseException as error:
            end(call, error)
            raise
        end(call)
        return result

    return wrapper


def _coroutine(function: Callable[..., Any], profile: Profile, bound: bool) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = begin(profile, function, args[0] if bound and args else None)
        if call is None:
            return await function(*args, **kwargs)
        try:
            call.start()
            call.enter()
            result = await call.frame(frames.wait)(function, args, kwargs)
        except BaseException as error:
            end(call, error)
            raise
        end(call)
        return result

    return wrapper


def _generator(function: Callable[..., Any], profile: Profile, bound: bool) -> Callable[..., Generator[Any, Any, Any]]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = begin(profile, function, args[0] if bound and args else None)
        if call is None:
            return (yield from function(*args, **kwargs))
        sent: Any = None
        thrown: BaseException | None = None
        out: list[Any] = []
        try:
            call.start()
            step = call.frame(frames.step_generator)
            generator = function(*args, **kwargs)
            while step(generator, call, sent, thrown, out):
                sent = thrown = None
                try:
                    sent = yield out.pop()
                except GeneratorExit:
                    value = generator.close()
                    if value is None:  # from Python 3.13 on, `close` hands on what the generator returned
                        raise
                    out.append(value)
                    break
                except BaseException as error:
                    thrown = error
        except BaseException as error:
            end(call, error)
            raise
        end(call)
        return out.pop()

    return wrapper


def _async_generator(
    function: Callable[..., Any], profile: Profile, bound: bool
) -> Callable[..., AsyncGenerator[Any, Any]]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = begin(profile, function, args[0] if bound and args else None)
        sent: Any = None
        thrown: BaseException | None = None
        out: list[Any] = []
        step: Callable[..., Any] = frames.step_async_generator
        try:
            if call is not None:
                call.start()
                step = call.frame(step)
            generator = function(*args, **kwargs)
            while await step(generator, call, sent, thrown, out):
                sent = thrown = None
                try:
                    sent = yield out.pop()
                except GeneratorExit:
                    await generator.aclose()
                    raise
                except BaseException as error:
                    thrown = error
        except BaseException as error:
            if call is not None:
                end(call, error)
            raise
        if call is not None:
            end(call)

    return wrapper
