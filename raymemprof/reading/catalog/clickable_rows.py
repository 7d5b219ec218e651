"""Tables whose rows open a flame graph in a notebook, and how one call of a capture is named for it: `a.bin#0-3`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ...display.rows import Rows
from ...ownership import absolute

if TYPE_CHECKING:
    from .records import Call

__all__ = ["CallName", "Openable", "call_named", "name_of_call"]

T = TypeVar("T")

answer_clicks: Callable[[str, frozenset[str]], None] | None = None
"""Has clicks on a table that is shown answered, by what draws the graphs: `reading/__init__.py` says what does."""
_ONE_CALL = re.compile(r"(.+)#(\d+)-(\d+)", re.DOTALL)


class CallName(NamedTuple):
    """A capture, and where in it a call is: slot and turn."""

    path: Path
    place: tuple[int, int]


class Openable(Rows[T]):
    """A table that opens, on a click on a row, the flame graph of what the row is of."""

    def _is_shown(self, table: str, targets: frozenset[str]) -> None:
        if answer_clicks is not None:
            answer_clicks(table, targets)


def name_of_call(call: Call | None) -> str:
    """Return what names a call as a target; nothing where it has no capture."""
    if call is None or call.capture is None or call.place is None:
        return ""
    slot, turn = call.place
    return f"{call.capture}#{slot}-{turn}"


def call_named(target: str) -> CallName | None:
    """Return the call that a target names; None where it names none."""
    found = _ONE_CALL.fullmatch(target)
    return None if found is None else CallName(absolute(found[1]), (int(found[2]), int(found[3])))
