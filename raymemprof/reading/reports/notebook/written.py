"""A report that a notebook shows as it is written: texts, tables and pictures, which need no script."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Written"]


@dataclass(frozen=True, slots=True)
class Written:
    """HTML, and the pictures in it, by their ids: where scripts run, these follow the notebook's theme."""

    html: str
    pictures: tuple[str, ...]
