"""The options of `profile_memory`, and the RAYMEMPROF_* variables that set them from outside."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["PREFIX", "Options", "Settings", "flag", "resolve"]

PREFIX = "RAYMEMPROF_"
"""What the name of each variable begins with."""
_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for one call once code and environment have been read."""

    enabled: bool = True
    heap: bool = True
    native: bool = False
    python_allocators: bool = False
    follow_fork: bool = False
    switch_allocators: bool = True
    interval_ms: float = 20.0
    linger: float | None = None
    """None where it depends on what is profiled."""
    every: int = 1
    keep: int = 20
    max_bytes: int = 2 * 2**30
    directory: str | None = None


def flag(value: Any) -> bool:
    """Return what a value says that is true or false. Raises `ValueError`."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off"):
            return False
    raise ValueError("must be true or false")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("must be a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise ValueError("must be a number")
    return number


def _interval(value: Any) -> float:
    number = _number(value)
    if not 1 <= number <= 60_000:
        raise ValueError("must be a number of milliseconds from 1 to 60000")
    return number


def _linger(value: Any) -> float:
    number = _number(value)
    if number < 0:
        raise ValueError("must be a number of seconds, 0 or more (or inf)")
    return number


def _count(value: Any) -> int:
    number = _number(value)
    if not (1 <= number < math.inf and number == int(number)):
        raise ValueError("must be a whole number, 1 or more")
    return int(number)


def _bytes(value: Any) -> int:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?)i?b?\s*", value.lower())
        if not match:
            raise ValueError('must be a number of bytes, such as 1000000 or "2GiB"')
        value = _number(match[1]) * _UNITS[match[2]]
    number = _number(value)
    if not 1 <= number < math.inf:
        raise ValueError("must be a number of bytes, 1 or more")
    return int(number)


def _folder(value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError("must be a path")
    path = os.fsdecode(value)
    try:
        return os.path.abspath(path)
    except FileNotFoundError:  # the current folder is gone, and the user's code must still run
        return path


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "enabled": flag,
    "heap": flag,
    "native": flag,
    "python_allocators": flag,
    "follow_fork": flag,
    "switch_allocators": flag,
    "interval_ms": _interval,
    "linger": _linger,
    "every": _count,
    "keep": _count,
    "max_bytes": _bytes,
    "directory": _folder,
}


@dataclass(frozen=True, slots=True)
class Options:
    """What the code asked for; None leaves an option to the environment, and then to its default."""

    enabled: bool | None = None
    heap: bool | None = None
    native: bool | None = None
    python_allocators: bool | None = None
    follow_fork: bool | None = None
    switch_allocators: bool | None = None
    interval_ms: float | None = None
    linger: float | None = None
    every: int | None = None
    keep: int | None = None
    max_bytes: int | None = None
    directory: str | None = None

    @classmethod
    def checked(cls, given: Mapping[str, Any], function: str = "profile_memory") -> Options:
        """Build from a function's keyword arguments; a bad one raises `TypeError` or `ValueError` with one sentence."""
        values = {}
        for name, value in given.items():
            if name not in _PARSERS:
                raise TypeError(f"{function} has no option {name!r}; it has {', '.join(_PARSERS)}.")
            if value is not None:
                try:
                    values[name] = _PARSERS[name](value)
                except ValueError as error:
                    raise ValueError(f"{function}({name}={value!r}): {name} {error}.") from None
        return cls(**values)


def resolve(options: Options) -> tuple[Settings, list[str]]:
    """Return what holds in this process, and a sentence for each variable that made no sense and was passed over.

    An option given in code stands before its RAYMEMPROF_* variable, and the variable before the default.
    """
    values: dict[str, Any] = {}
    complaints: list[str] = []
    for field in fields(Options):
        given = getattr(options, field.name)
        if given is None:
            variable = PREFIX + field.name.upper()
            text = os.environ.get(variable)
            if text:
                try:
                    given = _PARSERS[field.name](text)
                except ValueError as error:
                    complaints.append(f"{variable}={text!r} was passed over: it {error}")
        if given is not None:
            values[field.name] = given
    return Settings(**values), complaints
