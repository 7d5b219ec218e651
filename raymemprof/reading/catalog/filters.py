"""Which calls are asked for: by name, status, kind and ids."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from types import NoneType
from typing import Any

from ... import journal as contract
from ...cells import is_cell
from ...display.text import show_name
from ...journal import Sum
from ...journal.events import STATUSES
from .function_names import actor_class, short
from .records import Call

__all__ = ["EVERY_CALL", "KINDS", "Filters", "names", "some_names"]

KINDS = ("task", "actor", "method", "block")
_MOST_NAMES = 10
_TEXT = (str, NoneType)


@dataclass(frozen=True, slots=True)
class Filters:
    """What `calls` was asked for; None for what may be anything."""

    name: str | None = None
    status: str | None = None
    kind: str | None = None
    task_id: str | None = None
    actor_id: str | None = None
    job_id: str | None = None
    node_id: str | None = None
    context: str | None = None
    """`rank 3`, or a pattern."""
    since: float | None = None
    """Seconds since the epoch: only calls that began then, or later."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name != "since" and not isinstance(value, _TEXT):
                raise TypeError(f"{one.name}={value!r} must be text, as calls() shows it.")
        if self.name is not None:
            object.__setattr__(self, "name", contract.well_formed(self.name))  # as names are read
        _check("status", self.status, STATUSES)
        _check("kind", self.kind, KINDS)

    def __str__(self) -> str:
        """Say what is asked for, as it is written: `name='load', status='killed'`; nothing where it is every call."""
        given = ((one.name, getattr(self, one.name)) for one in fields(self) if one.name != "since")
        return ", ".join(f"{name}={show_name(repr(value))}" for name, value in given if value is not None)

    def sought(self, names: set[str]) -> str:
        """Say what was sought where no call fits, and what there is, by the names of all calls."""
        there = f"there are {some_names(names, self.name)}" if names else ""
        return "; ".join(filter(None, [f"no call fits {self}" if str(self) else "", there]))

    def fit(self, call: Call) -> bool:
        """Whether a call is one of those."""
        return (
            (self.name is None or names(self.name, call.name))
            and (self.status is None or call.status == self.status)
            and (self.kind is None or call.kind == self.kind)
            and _begins(call.task_id, self.task_id)
            and _begins(call.actor_id, self.actor_id)
            and _begins(call.job_id, self.job_id)
            and _begins(call.node_id, self.node_id)
            and _is_in(call.context, self.context)
            and (self.since is None or call.started_at.timestamp() >= self.since)
        )

    def fit_sum(self, name: str, kind: str, job_id: str | None) -> bool:
        """Whether calls of a name and kind in a job are among those, by what sums tell apart.

        Methods are their class's too: it may be named, and is of the kind "actor".
        """
        is_of_class = kind in ("actor", "method")
        return (
            (self.name is None or names(self.name, name) or (is_of_class and names(self.name, actor_class(name))))
            and (self.kind in (None, kind) or (is_of_class and self.kind == "actor"))
            and _begins(job_id, self.job_id)
        )

    def may_fit_sum(self, found: Sum) -> bool:
        """Whether calls that are only in a sum may be among those; which tasks' they were is not known any more."""
        is_named = found.name != contract.OTHER_NAMES
        return (
            ((not is_named) or self._fits_sum(found))
            and (self.kind is None or found.kind == self.kind)
            and (self.status is None or self.status in found.statuses)
            and (self.since is None or found.last >= self.since)
        )

    def takes_all(self, found: Sum) -> bool:
        """Whether all calls that are in a sum are among those, for certain."""
        return (
            self.task_id is None
            and self.context is None
            and self.status in (None, *(found.statuses if len(found.statuses) == 1 else ()))
            and (self.name is None or found.name != contract.OTHER_NAMES)
            and (self.since is None or found.first >= self.since)
            and self.may_fit_sum(found)
            and self._fits_sum(found)
        )

    def _fits_sum(self, found: Sum) -> bool:
        return (
            (self.name is None or names(self.name, found.name))
            and _begins(found.actor_id, self.actor_id)
            and _begins(found.job_id, self.job_id)
        )

    def of_begin(self) -> dict[str, Callable[[Any], bool]]:
        """Return what fields of a call's beginning must pass, so that it may be one of those."""
        tests: dict[str, Callable[[Any], bool]] = {}
        if self.name is not None:
            tests["name"] = partial(names, self.name)
        if self.kind is not None:
            tests["kind"] = self.kind.__eq__
        for field in ("task_id", "actor_id", "job_id"):
            if getattr(self, field) is not None:
                tests[field] = partial(_begins, wanted=getattr(self, field))
        if self.context is not None:
            tests["context"] = partial(_is_in, wanted=self.context)
        if self.since is not None:
            tests["time"] = partial(_is_from, since=self.since)
        return tests


@lru_cache(maxsize=1024)
def names(pattern: str, name: str) -> bool:
    """Whether a call's name is one that was asked for: it, the last parts of it, or a pattern."""
    if name == pattern or name.endswith(f".{pattern}"):
        return True
    return fnmatch.fnmatchcase(name, pattern) if any(c in pattern for c in "*?[") else False


def some_names(names: set[str], sought: str | None = None) -> str:
    """Name what was recorded where nothing fits: first what is near to what was sought, and functions before cells."""
    last = {name: short(name).lower() for name in names}
    near = difflib.get_close_matches(short(sought or "").lower(), last.values(), n=_MOST_NAMES)
    rank = {name: near.index(part) if part in near else len(near) for name, part in last.items()}
    shown = sorted(names, key=lambda name: (rank[name], is_cell(name), name))[:_MOST_NAMES]
    return "calls of " + ", ".join(map(show_name, shown)) + (", …" if len(names) > len(shown) else "")


def _check(what: str, value: str | None, values: tuple[str, ...]) -> None:
    if value is not None and value not in values:
        raise ValueError(f"{what}={value!r} is none of {', '.join(values)}.")


def _begins(value: str | None, wanted: str | None) -> bool:
    return wanted is None or (value is not None and value.startswith(wanted))


def _is_from(time: float, since: float) -> bool:
    return time >= since


def _is_in(context: str | None, wanted: str | None) -> bool:
    return wanted is None or (context is not None and names(wanted, context))


EVERY_CALL = Filters()
