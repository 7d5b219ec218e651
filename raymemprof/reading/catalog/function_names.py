"""What calls are grouped by: the function's name, or the class of the actor whose method it is."""

from __future__ import annotations

import re

__all__ = ["actor_class", "class_in_title", "function_of", "short"]

_METHOD = re.compile(r"(.*[^.\s])\.[A-Za-z_]\w*")


def function_of(kind: str, name: str) -> tuple[str, str]:
    """Return the kind and name under which a call counts: an actor's methods count as its class."""
    return ("actor", actor_class(name)) if kind in ("actor", "method") else (kind, name)


def actor_class(name: str) -> str:
    """Return the class of an actor's method."""
    return name.rpartition(".")[0] or name


def class_in_title(title: str) -> str | None:
    """Return the class of what may be a task or an actor's method, by its form: None if it is no method's."""
    found = _METHOD.fullmatch(title)
    return found[1] if found else None


def short(name: str) -> str:
    """Return a name without the class or function that it is in: of titles, Ray has only that."""
    return name.rpartition(".")[2]
