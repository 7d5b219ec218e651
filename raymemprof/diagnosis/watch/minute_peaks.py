"""What was seen of an hour: for each minute and name the highest memory of each process, and how many ran at once.

It stays small whatever runs, and is made of lines that can be put together in any order and any number of times: of
each figure the highest counts. So a line that was written twice, or by two watchers, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...reading.catalog.function_names import class_in_title
from .worker_samples import Look

__all__ = ["Minutes", "Peaks"]

_MINUTES = 60
"""How many are kept."""
_MOST_NAMES = 200
"""Names of a minute: of more, those with the highest memory."""
_MOST_PROCESSES = 1_000
"""Processes of a minute, over all names: of more, the smallest of the name that has most go."""
_LONGEST_NAME = 200
_STEP, _STEP_PART = 2**20, 1 / 16
"""A peak is news once it has risen by so many bytes, and by this share of what it was."""


@dataclass(slots=True)
class Peaks:
    """What was seen of a name, in a minute or in several. Sizes are bytes."""

    at_once: int = 0
    """The most processes that ran it at one look."""
    together: int = 0
    """The most that these had together."""
    count: int = 0
    """How many processes ran it, those included that are not kept."""
    processes: dict[int, int] = field(default_factory=dict)
    """The highest memory of each, by pid."""

    @property
    def peak(self) -> int:
        """The most that one process had."""
        return max(self.processes.values(), default=0)

    def fold(self, at_once: int, together: int, count: int, processes: dict[int, int]) -> None:
        """Take in what else was seen of it."""
        self.at_once = max(self.at_once, at_once)
        self.together = max(self.together, together)
        for pid, memory in processes.items():
            self.processes[pid] = max(self.processes.get(pid, 0), memory)
        self.count = max(self.count, count, len(self.processes))


class Minutes:
    """What was seen in the last hour."""

    def __init__(self) -> None:
        self.by_minute: dict[int, dict[str, Peaks]] = {}
        """By minute since the epoch, and name."""
        self._seen: dict[str, set[int]] = {}
        """The processes of the latest minute by name, and what has been news of them."""
        self._told: dict[str, Peaks] = {}
        self._latest = 0

    def take(self, minute: int, looks: Iterable[Look]) -> list[dict[str, Any]]:
        """Take in one look at all workers, and return what is news of it, as lines."""
        if minute != self._latest:
            self._latest, self._seen, self._told = minute, {}, {}
            self._forget()
        now: dict[str, dict[int, int]] = {}
        for pid, name, memory in looks:
            # An actor is of a class, whichever of its methods runs.
            for one in filter(None, (name, class_in_title(name))):
                now.setdefault(one[:_LONGEST_NAME], {})[pid] = memory
        there = self.by_minute.setdefault(minute, {})
        for name, sizes in now.items():
            seen = self._seen.setdefault(name, set())
            seen.update(sizes)
            there.setdefault(name, Peaks()).fold(len(sizes), sum(sizes.values()), len(seen), sizes)
        self._bound(there)
        return [line for name in now if name in there and (line := self._news(minute, name, there[name]))]

    def _news(self, minute: int, name: str, peaks: Peaks) -> dict[str, Any] | None:
        told = self._told.setdefault(name, Peaks())
        risen = {
            pid: memory
            for pid, memory in peaks.processes.items()
            if memory >= (before := told.processes.get(pid, 0)) + max(_STEP, before * _STEP_PART)
        }
        if not risen and peaks.at_once <= told.at_once:
            return None
        told.fold(peaks.at_once, peaks.together, peaks.count, risen)
        return _line(minute, name, peaks, risen)

    def _bound(self, there: dict[str, Peaks]) -> None:
        for name in sorted(there, key=lambda name: -there[name].peak)[_MOST_NAMES:]:
            del there[name]
            self._told.pop(name, None)
        surplus = sum(len(peaks.processes) for peaks in there.values()) - _MOST_PROCESSES
        while surplus > 0:
            most = max(there.values(), key=lambda peaks: len(peaks.processes))
            kept = len(most.processes) - min(surplus, max(len(most.processes) // 2, 1))
            by_size = sorted(most.processes, key=most.processes.__getitem__, reverse=True)
            surplus -= len(by_size) - kept
            most.processes = {pid: most.processes[pid] for pid in by_size[:kept]}

    def _forget(self) -> None:
        for minute in [minute for minute in self.by_minute if minute <= self._latest - _MINUTES]:
            del self.by_minute[minute]

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield all that is kept."""
        for minute, there in self.by_minute.items():
            for name, peaks in there.items():
                yield _line(minute, name, peaks, peaks.processes)

    def fold(self, line: dict[str, Any]) -> None:
        """Take in a line. Raises `ValueError`, `TypeError` or `LookupError` for one that is none of ours."""
        minute, name = _number(line["minute"]), line["name"]
        if not isinstance(name, str):
            raise TypeError(f"{name!r} is no name")
        at_once, together, count = (_number(line[key]) for key in ("at_once", "together", "count"))
        processes = {int(pid): _number(memory) for pid, memory in line["processes"].items()}
        self.by_minute.setdefault(minute, {}).setdefault(name, Peaks()).fold(at_once, together, count, processes)


def _line(minute: int, name: str, peaks: Peaks, processes: dict[int, int]) -> dict[str, Any]:
    return {
        "minute": minute,
        "name": name,
        "at_once": peaks.at_once,
        "together": peaks.together,
        "count": peaks.count,
        "processes": {str(pid): memory for pid, memory in processes.items()},
    }


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no number of ours")
    return value
