"""What exceptions say of a death: in their texts, and in attributes that no text has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ...cluster import task_of
from ...reading.logs.facts import Message, Victim
from ...reading.logs.programs.libraries import CANNOT_ALLOCATE

__all__ = ["errors_and_text", "task_that_died", "with_attributes"]


def errors_and_text(error_or_text: BaseException | str) -> tuple[list[BaseException], str]:
    """Return an exception with those that it wraps, and what they say; or no exception, and the text."""
    if isinstance(error_or_text, BaseException):
        errors = list(_chain(error_or_text))
        return errors, "\n".join(f"{_type_names(error)}\n{error}" for error in errors)
    if isinstance(error_or_text, str):
        return [], error_or_text
    raise TypeError(f"explain takes an exception or a text, not {error_or_text!r}.")


def with_attributes(message: Message, errors: list[BaseException]) -> Message:
    """Add what only the exceptions themselves say."""
    if message.cause == "unknown" and any(isinstance(error, MemoryError) for error in errors):
        message = replace(message, cause="memory_error", statement=CANNOT_ALLOCATE)
    if not message.victims and message.cause in ("unknown", "exit", "ray_kill"):
        actors = {str(actor) for error in errors if (actor := getattr(error, "actor_id", None))}
        actors = {actor for actor in actors if re.fullmatch("[0-9a-f]{32}", actor)}
        victims = tuple(Victim(None, None, actor, None, None, None) for actor in actors if len(actors) == 1)
        message = replace(message, victims=victims, is_named=message.is_named or bool(victims))
    return message


def task_that_died(errors: list[BaseException]) -> str | None:
    """Return the task of a `WorkerCrashedError` that `ray.get` raised here; its text names nobody."""
    tasks = (task_of(error) for error in errors if type(error).__name__ == "WorkerCrashedError")
    return next(filter(None, tasks), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those it wraps: `RayTaskError` has a `cause`, Python's own chain a `__cause__`."""
    seen: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        current = queue.pop(0)
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            yield current
            queue += [getattr(current, "cause", None), current.__cause__]


def _type_names(error: BaseException) -> str:
    kinds = [kind for kind in type(error).__mro__ if kind.__module__.startswith("ray")]
    return "\n".join(f"{kind.__module__}.{kind.__name__}:" for kind in kinds)
