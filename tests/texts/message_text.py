"""A message, and what stands in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Text:
    """A message and what stands in it; `victims` are (name, task, actor, worker, pid, bytes)."""

    text: str
    cause: str
    victims: tuple[tuple[Any, ...], ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    top: tuple[tuple[int, str | int, str], ...] = ()
    says: tuple[str, ...] = ()
    """Words that the explanation has."""
