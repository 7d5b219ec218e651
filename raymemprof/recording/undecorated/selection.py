"""Which functions are recorded without a decorator: patterns of their full names, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from ..options import flag

__all__ = ["EXCLUDE", "INCLUDE", "SWITCH", "Selection", "is_on", "patterns"]

SWITCH = "RAYMEMPROF_RECORD_ALL"
"""The variable that `raymemprof.pth` looks for when Python starts."""
INCLUDE = "RAYMEMPROF_INCLUDE"
EXCLUDE = "RAYMEMPROF_EXCLUDE"


def is_on(environment: Mapping[str, Any]) -> bool:
    """Whether the switch is on in an environment; what makes no sense is taken for yes."""
    try:
        return flag(environment.get(SWITCH) or "0")
    except ValueError:
        return True


class Selection(NamedTuple):
    """What is to be recorded, and what is not, though it is among that."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Selection:
        """Return what the environment of this process says."""
        return cls(*(tuple(filter(None, environment.get(name, "").split(","))) for name in (INCLUDE, EXCLUDE)))

    def wants(self, *names: str) -> bool:
        """Whether something of these names is recorded: its full name (`pkg.steps.load`), and what it is shown as."""
        return (not self.include or _any(self.include, names)) and not _any(self.exclude, names)


def _any(given: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in given for name in names)


def patterns(option: str, given: Any) -> tuple[str, ...]:
    """Check patterns that were given to `option`: one, or several. Raises `TypeError`, `ValueError`."""
    several = (given,) if isinstance(given, str) else given
    if not isinstance(several, Sequence) or not all(isinstance(one, str) for one in several):
        raise TypeError(f"{option}={given!r}: {option} must be a pattern of a function's name, or a list of such.")
    if any(not one.strip() or "," in one for one in several):
        raise ValueError(f"{option}={given!r}: a pattern must not be empty, and holds no comma; * stands for anything.")
    return tuple(one.strip() for one in several)
