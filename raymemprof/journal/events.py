"""What the lines of a journal must hold, by their `event`: one that does not was damaged, and is left out by itself.

The package says what each key means. Who reads a line may take what is named here to be there, of its type and within
its bounds: no figure is so large that sums, dates and shares of it cannot be had.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["SAMPLE_KEYS", "STATUSES", "VERSION", "is_figure", "is_sound"]

VERSION = 1

STATUSES = ("running", "finished", "failed", "cancelled", "killed")

SAMPLE_KEYS = {
    "capture": "the file's name",
    "mark": "its number in this capture, marked there by an allocation as the turns of calls are",
    "time": "seconds since the epoch",
    "memory": "RSS - SHR, bytes",
    "shared": "SHR, bytes",
    "pools": "bytes held in memory pools that memray does not see; missing for 0",
    "moves": "[places before, places after, bytes, bytes of pools], in order: between two looks of the sampler the "
    "threads that run calls were at these, and memory, less what malloc keeps of freed memory, changed by that much",
    "arena_ranges": "[first page, pages] of what the pools have from the system, in a look",
    "arenas": "bytes resident in what the pools have from the system, if they have any; None where it was not asked",
    "free": "bytes that malloc keeps of what was freed, where it was asked",
    "used": "bytes that malloc has given out, where it was asked",
    "segments": "[first page, pages, resident pages of the process's own, those of files and shared memory], of "
    "ranges that are not wholly the process's own; of a look at what is resident, as is all below",
    "page": "bytes of a page",
    "holes": "bytes of malloc's heaps that are not resident",
    "libraries": "resident bytes of the data of loaded libraries",
    "opaque": "names of allocators in this process that can be neither seen nor asked",
}
_MOST_BYTES = 1 << 62
"""No figure is above this."""
_MOST_PID = 1 << 31
_MOST_SECONDS = float(1 << 33)
"""Of a time since the epoch, which is the year 2242, and of a duration: so their sum is a date."""
Check = Callable[[Any], bool]


def is_figure(value: object) -> bool:
    """Whether this is a number of bytes, or a count."""
    return type(value) is int and 0 <= value <= _MOST_BYTES


def _is_maybe_figure(value: object) -> bool:
    return value is None or is_figure(value)


def _is_maybe_pid(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value < _MOST_PID)


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < _MOST_SECONDS  # type: ignore[operator]


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_maybe_text(value: object) -> bool:
    return value is None or type(value) is str


def _is_maybe_id(value: object) -> bool:
    return value is None or (type(value) is str and _is_name(value))


def _is_name(text: str) -> bool:
    """Whether a text can stand in a file's name, and in a pattern for one."""
    return re.fullmatch(r"[A-Za-z0-9_-]{1,200}", text) is not None


def _is_maybe_path(value: object) -> bool:
    return value is None or (type(value) is str and "\0" not in value)


def _is_status(value: object) -> bool:
    return type(value) is str and value in STATUSES


def _is_list(value: object) -> bool:
    return type(value) is list


def _are_figures(value: object) -> bool:
    return type(value) is list and all(map(is_figure, value))


_REQUIRED: dict[str, dict[str, Check]] = {
    "process": {},
    "open": {"capture": _is_text, "time": _is_seconds},
    "begin": {
        "call": is_figure,
        "time": _is_seconds,
        "name": _is_text,
        "kind": _is_text,
        "task_id": _is_maybe_id,
        "attempt": _is_maybe_figure,
        "actor_id": _is_maybe_id,
        "job_id": _is_maybe_id,
        "memory": is_figure,
    },
    "peak": {"calls": _are_figures, "memory": is_figure},
    "children": {
        "calls": _are_figures,
        "memory": is_figure,
        "total": is_figure,
        "count": is_figure,
        "largest": _is_list,
    },
    "fork": {
        "capture": _is_text,
        "time": _is_seconds,
        "pid": is_figure,
        "parent": is_figure,
        "calls": _are_figures,
        "stack": _is_list,
    },
    "place": {"capture": _is_text, "place": is_figure, "stack": _is_list},
    "sample": {
        "capture": _is_text,
        "mark": is_figure,
        "time": _is_seconds,
        "memory": is_figure,
        "shared": is_figure,
    },
    "end": {
        "call": is_figure,
        "duration": _is_seconds,
        "status": _is_status,
        "error": _is_maybe_text,
        "memory": is_figure,
        "peak": is_figure,
    },
    "close": {"capture": _is_text, "time": _is_seconds},
    "fetched": {"time": _is_seconds, "status": _is_status, "error": _is_maybe_text},
}
_OPTIONAL: dict[str, dict[str, Check]] = {
    "process": {
        "pid": _is_maybe_pid,
        "created": _is_seconds,
        "host": _is_maybe_text,
        "node_id": _is_maybe_id,
        "worker_id": _is_maybe_id,
        "logs": _is_maybe_path,
    },
    "begin": {
        "capture": _is_maybe_text,
        "slot": _is_maybe_figure,
        "turn": _is_maybe_figure,
        "note": _is_maybe_text,
        "children": is_figure,
        "pools": is_figure,
        "free": is_figure,
        "used": is_figure,
    },
    "children": {"copied": is_figure},
    "sample": {"pools": is_figure, "arenas": _is_maybe_figure, "free": is_figure, "used": is_figure},
    "end": {
        "note": _is_maybe_text,
        "children": is_figure,
        "total": is_figure,
        "left": _is_list,
        "count": is_figure,
        "highest": is_figure,
    },
    "close": {"bytes": is_figure, "crc32": is_figure},
}
_CHECKS: dict[str, tuple[tuple[tuple[str, Check], ...], tuple[tuple[str, Check], ...]]] = {
    event: (tuple(required.items()), tuple(_OPTIONAL.get(event, {}).items())) for event, required in _REQUIRED.items()
}


def is_sound(line: dict[str, Any]) -> bool:
    """Whether a line holds what it must; one of an event that is not known here, a newer version's, is."""
    event = line.get("event")
    if type(event) is not str:
        return False
    checks = _CHECKS.get(event)
    if checks is None:
        return True
    required, optional = checks
    try:
        for key, check in required:
            if not check(line[key]):
                return False
    except KeyError:
        return False
    for key, check in optional:
        if key in line and not check(line[key]):
            return False
    return event != "begin" or (line.get("slot") is None) == (line.get("turn") is None)
