"""The user's code as Ray Serve, Train and Tune run it: deployments, train functions and trials are recorded."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from .. import warn
from ..classes import recorded_class
from ..decorator import profile_of
from ..options import Options
from ..outcome import describe
from ..profile import Profile
from ..safety import interruptions
from ..wrappers import record_in_place, recorded
from .rays_own import is_rays

__all__ = ["UsersCode"]

_NO_OPTIONS = Options()
_DEEPEST = 8
"""Functions of Ray's around the user's, at most."""
_NOT_THE_USERS = ("train_func_context",)
"""Variables of functions of Ray's that hold something else that can be called."""
_TRIAL = "_trainable_func"
"""The method of a trial of Tune's that runs the user's function."""
_ROUTE = "_serve_cls"
"""What Serve notes on the methods that FastAPI calls by their routes."""


class UsersCode:
    """Has what these libraries run recorded as if it were decorated. Never raises of its own accord."""

    def __init__(self, wants: Callable[..., bool], is_recorded: Callable[[Any], bool]) -> None:
        self._wants = wants
        self._is_recorded = is_recorded

    def recorded(self, given: Any) -> Any:
        """Return what is to run in place of what a library was given: a class, or a function with Ray's around it."""
        try:
            if isinstance(given, type):
                return self._class(given)
            made = self._within(given, _DEEPEST)
            return given if made is None else made
        except Exception as error:
            if interruptions.is_users(error):
                raise
            warn.once("library", f"what a library runs is not recorded: {describe(error)}")
            return given

    def _class(self, cls: type) -> type:
        """Return a deployment's class with its methods recorded: those that the user wrote, its start, its requests."""
        name = cls.__qualname__
        is_routed = self._record_routes(cls)

        def wanted(attribute: str) -> bool:
            value = inspect.getattr_static(cls, attribute)
            function = getattr(value, "__func__", value)
            is_own = attribute == "__init__" or not _is_of_ray(function)  # what Ray put around it is not: a batch's
            is_request = attribute == "__call__" and is_rays(function.__module__) and not is_routed
            return (is_own or is_request) and self._wants(f"{cls.__module__}.{name}.{attribute}", f"{name}.{attribute}")

        return recorded_class(cls, _NO_OPTIONS, wanted)

    def _record_routes(self, cls: type) -> bool:
        """Have the methods recorded that FastAPI calls; return whether there are any and all of them are.

        FastAPI has the functions themselves, and may run them in threads, beside the call of the request.
        """
        name = cls.__qualname__
        routes = [
            (attribute, value)
            for base in cls.__mro__
            for attribute, value in vars(base).items()
            if isinstance(value, types.FunctionType) and hasattr(value, _ROUTE)
        ]
        done = [
            self._is_recorded(function)
            or not self._wants(f"{cls.__module__}.{name}.{attribute}", f"{name}.{attribute}")
            or record_in_place(function, Profile(f"{name}.{attribute}", "method", _NO_OPTIONS), bound=True)
            for attribute, function in routes
        ]
        return bool(done) and all(done)

    def _within(self, given: Any, deepest: int) -> Any:
        """Return the same with the user's function recorded; None where none is found.

        What Ray put around it stays what it is, and calls the recorded one.
        """
        if isinstance(given, functools.partial):
            inner = self._within(given.func, deepest)
            return None if inner is None else functools.partial(inner, *given.args, **given.keywords)
        if isinstance(given, types.MethodType):
            inner = self._within(given.__func__, deepest)
            return None if inner is None else types.MethodType(inner, given.__self__)
        if not isinstance(given, types.FunctionType):
            run = getattr(type(given), _TRIAL, None)
            return given if run is not None and deepest and self._within(run, deepest - 1) is not None else None
        if self._is_recorded(given):
            return given
        if not _is_of_ray(given):
            name = given.__qualname__
            is_wanted = self._wants(f"{given.__module__}.{name}", name)
            return recorded(given, profile_of(given, _NO_OPTIONS)) if is_wanted else given
        for variable, cell in zip(given.__code__.co_freevars, given.__closure__ or (), strict=True):
            if deepest and variable not in _NOT_THE_USERS:
                inner = self._within(cell.cell_contents, deepest - 1)
                if inner is not None:
                    cell.cell_contents = inner
                    return given
        return None


def _is_of_ray(function: Any) -> bool:
    """Whether a function stands in Ray's code, whatever name `functools.wraps` gave it."""
    return is_rays(str(getattr(function, "__globals__", {}).get("__name__")))
