"""A function of the user's, as it is recorded: each kind of callable stays what it is.

Ray looks at a function to decide how to run it: a generator function stays one, a coroutine function too.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

from . import bytecode, frames
from .call import begin, end
from .current import covered
from .profile import Profile
from .referenced_files import note_function
from .safety import spare_memory
from .tracebacks import leave_out_recording

__all__ = ["is_recorded", "record_in_place", "recorded"]

_MARK = "__raymemprof_"
"""What an attribute begins with that holds what a function is recorded with; it may have taken that of another too."""


def recorded(function: types.FunctionType, profile: Profile, *, bound: bool = False) -> types.FunctionType:
    """Return a function that records its calls; `bound` says that its first argument is the object it belongs to.

    It has the code of `function` behind a question: a call to record goes to a wrapper, one that is part of such a call
    runs on. So recursion takes no frame more than it did. Where the code cannot be given a question, the wrapper is
    what is returned, and each call goes through it.
    """
    if is_recorded(function):
        return function
    question = _Question(function, profile, bound)
    code = bytecode.with_question(function.__code__, question.inside, question.run, question.asks_first)
    if code is None:
        made = question.wrapper(function) or _dressed(_always(question), function, profile)
        made.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    else:
        made = types.FunctionType(
            code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        made.__kwdefaults__ = function.__kwdefaults__
        _dressed(made, function, profile)
    if bound:  # Ray looks below what wraps a method, where it would not see what `@ray.method` says above
        del made.__wrapped__  # type: ignore[attr-defined]
        made.__dict__.update(function.__dict__)
    setattr(made, f"{_MARK}{id(function)}", (made.__code__, function))
    return made


def record_in_place(function: types.FunctionType, profile: Profile, *, bound: bool = False) -> bool:
    """Have a function itself record its calls, which others refer to; return whether that can be done."""
    plain = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    plain.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(plain, function)
    made = recorded(plain, profile, bound=bound)
    try:
        function.__code__ = made.__code__
    except ValueError:  # it is a wrapper's
        return False
    function.__dict__.update({name: value for name, value in vars(made).items() if name.startswith(_MARK)})
    return True


def is_recorded(function: types.FunctionType) -> bool:
    """Whether a function records its calls; not so one that took its attributes from it, as `functools.wraps` does."""
    marks = [value for name, value in list(vars(function).items()) if name.startswith(_MARK)]
    return any(code is function.__code__ for code, _ in marks)


def _dressed(made: types.FunctionType, function: types.FunctionType, profile: Profile) -> types.FunctionType:
    functools.update_wrapper(made, function)
    made.__qualname__ = profile.name
    return made


class _Question:
    """What a recorded function asks before its first instruction, and where it goes with the answer.

    It is among the constants of the function's code, where the garbage collector does not look. So it refers to the
    function weakly: the recorded one has it in its attributes.
    """

    __slots__ = ("__weakref__", "_bound", "_function", "_profile", "_shape", "_wrap", "asks_first")

    def __init__(self, function: types.FunctionType, profile: Profile, bound: bool) -> None:
        code = function.__code__
        keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        shape = (code.co_argcount, keywords, bytecode.has_rest(code), bytecode.has_more(code))
        wrap = _wrapper_of(function)
        # A generator is asked where it is made, not where it runs, so only its own recursion is known to be of a call.
        asks_first = bound and code.co_argcount > 0 and wrap not in (_generator, _async_generator)
        self.__setstate__((function, profile, bound, shape, wrap, asks_first))

    def __getstate__(self) -> tuple[Any, ...]:
        return self._function(), self._profile, self._bound, self._shape, self._wrap, self.asks_first

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        function, self._profile, self._bound, self._shape, self._wrap, self.asks_first = state
        self._function = weakref.ref(function) if function is not None else _gone
        if function is not None:
            note_function(function)

    def inside(self, instance: object = None) -> bool:
        """Whether the function just runs: within a call that it is part of, or where nothing is recorded."""
        function = self._function()
        return function is None or self._profile.is_off() or covered(function, instance)

    def run(self, *values: Any, arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None) -> Any:
        """Record a call with these values of the function's parameters, or with the arguments that it was given."""
        args, kwargs = arguments or self._arguments(values)
        function = self._function()
        assert function is not None
        # The recorded function asks, and `types.coroutine` may have changed it since it was made.
        wrapper = self.wrapper(function, sys._getframe(1).f_code)
        if wrapper is not None:
            return wrapper(*args, **kwargs)
        call = begin(self._profile, function, args[0] if self._bound and args else None)
        if call is None:
            return function(*args, **kwargs)
        try:
            call.start()
            call.enter()
            result = call.frame(frames.plain)(function, args, kwargs)
        except BaseException as error:
            if isinstance(error, MemoryError):
                spare_memory.SPARE.clear()
            end(call, error)
            leave_out_recording(error)
            raise
        end(call)
        return result

    def wrapper(self, function: types.FunctionType, asker: types.CodeType | None = None) -> types.FunctionType | None:
        """Return what records a call of what runs after it was called; None for a plain function.

        It can be awaited where `function` can, or that of which `asker` is the code.
        """
        if self._wrap is None:
            return None
        made = _dressed(self._wrap(function, self._profile, self._bound), function, self._profile)
        flags = function.__code__.co_flags | (asker.co_flags if asker is not None else 0)
        if self._wrap is _generator and flags & inspect.CO_ITERABLE_COROUTINE:
            types.coroutine(made)
        return made

    def _arguments(self, values: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        count, names, has_rest, has_more = self._shape
        args, last = values[:count], count + len(names)
        kwargs = dict(zip(names, values[count:last], strict=True))
        if has_rest:
            args += values[last]
        if has_more:
            kwargs |= values[-1]
        return args, kwargs


def _gone() -> None:
    """Stand for a reference to a function that is no more: its code was taken from it."""


def _wrapper_of(function: types.FunctionType) -> Any:
    if inspect.isasyncgenfunction(function):
        return _async_generator
    if inspect.iscoroutinefunction(function):
        return _coroutine
    if inspect.isgeneratorfunction(function):
        return _generator
    return None


# The wrappers below are pickled by value, with what they name: only functions and modules that can be imported.


def _always(question: _Question) -> Any:
    """Return what goes through the wrapper on each call of a plain function."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return question.run(arguments=(args, kwargs))

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
            if isinstance(error, MemoryError):
                spare_memory.SPARE.clear()
            end(call, error)
            leave_out_recording(error)
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
            if isinstance(error, MemoryError):
                spare_memory.SPARE.clear()
            end(call, error)
            leave_out_recording(error)
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
                if isinstance(error, MemoryError):
                    spare_memory.SPARE.clear()
                end(call, error)
            leave_out_recording(error)
            raise
        if call is not None:
            end(call)

    return wrapper
