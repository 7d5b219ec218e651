"""Records: what a public call returns, or holds in a table, by the names of its attributes; and as JSON."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

__all__ = ["Record", "names", "plain", "values"]


class Record:
    """The base of the dataclasses that the public API returns.

    Its data are its fields, without those that its repr leaves out, and its properties.
    """

    __slots__ = ()

    _not_in_json: ClassVar[tuple[str, ...]] = ()
    """Properties that repeat what other attributes hold."""

    def to_json(self) -> str:
        """Return a JSON object that has the names of the attributes: sizes in bytes, times in ISO 8601."""
        return json.dumps(plain(self), indent=2)


def values(record: Any) -> dict[str, Any]:
    """Return what a record holds, by the names of its attributes."""
    return {name: getattr(record, name) for name in names(type(record))}  # type: ignore[arg-type]


@functools.cache
def names(kind: type[Any]) -> tuple[str, ...]:
    """Return the names of what records of a type hold."""
    found = [field.name for field in dataclasses.fields(kind) if field.repr]
    for base in kind.__mro__:
        found += [name for name, value in vars(base).items() if isinstance(value, property) and name[0] != "_"]
    left_out = getattr(kind, "_not_in_json", ())
    return tuple(name for name in dict.fromkeys(found) if name not in left_out)


def plain(value: Any) -> Any:
    """Return a record, or what is in one, as JSON has it: times as ISO 8601, paths as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain(item) for name, item in values(value).items()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return str(value)
