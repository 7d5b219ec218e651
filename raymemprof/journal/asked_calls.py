"""Lines of the calls that are asked for: those of others are passed over after a glance at what tells them apart.

To read a line whole takes twice as long, and of a million calls often a few are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from operator import attrgetter
from typing import Any, Union, get_args

import msgspec
from msgspec import NODEFAULT, Struct

from .events import Begin, End, Event, decode_lines, tag_of

__all__ = ["AskedCalls", "Tests"]

Tests = Mapping[str, Callable[[Any], bool]]
"""What is asked for: of a call's beginning, what its fields must pass."""


class AskedCalls:
    """Tells the lines of one journal apart, given in their order."""

    def __init__(self, tests: Tests, unwanted: Collection[str]) -> None:
        self.names: set[str] = set()
        """Those of all calls so far."""
        self._tests = [(attrgetter(name), test) for name, test in tests.items()]
        self._others: set[int] = set()
        """The numbers of calls that have begun, have not ended, and are not asked for."""
        self._begin = _glance(Begin, {"call", "name", *tests})
        self._end = _glance(End, {"call"})
        self._unwanted = frozenset(_glance(one, set()) for one in get_args(Event) if tag_of(one) in unwanted)
        kinds = {tag_of(one): one for one in (*get_args(Event), self._begin, self._end, *self._unwanted)}
        self._decoder = msgspec.json.Decoder(Union[tuple(kinds.values())])  # noqa: UP007  # of a tuple

    def decode_lines(self, text: bytes) -> list[Event]:
        """Return what those of some lines say that are worth reading.

        Raises `ValueError` where one of them is empty, not known, or was damaged in what is looked at: then it is as if
        none had been given.
        """
        lines = text.split(b"\n")
        try:
            found: list[Any] = self._decoder.decode_lines(text)
        except RecursionError:
            raise ValueError("one is nested too deeply") from None
        if len(found) != len(lines):
            raise ValueError("these are not as many lines as it says")
        begin, end, unwanted, others = self._begin, self._end, self._unwanted, set(self._others)
        names, worth = set(), []
        for line, seen in zip(lines, found, strict=True):  # a million calls go through here
            kind = type(seen)
            if kind is begin:
                names.add(seen.name)
                if self._fits(seen):
                    worth.append(line)
                else:
                    others.add(seen.call)
            elif kind is end:
                if seen.call in others:
                    others.remove(seen.call)
                else:
                    worth.append(line)
            elif kind not in unwanted:
                worth.append(line)
        events = decode_lines(b"\n".join(worth)) if worth else []
        self._others = others
        self.names |= names
        return events

    def _fits(self, seen: Any) -> bool:
        for get, test in self._tests:  # noqa: SIM110  # `all` takes three times as long
            if not test(get(seen)):
                return False
        return True


def _glance(event: type[Struct], fields: set[str]) -> type[Struct]:
    """Return an event of which only some fields are looked at."""
    known = [one for one in msgspec.structs.fields(event) if one.name in fields]
    looked_at = [(one.name, one.type, *(() if one.default is NODEFAULT else (one.default,))) for one in known]
    return msgspec.defstruct(event.__name__, looked_at, tag=tag_of(event), tag_field="event", gc=False)
