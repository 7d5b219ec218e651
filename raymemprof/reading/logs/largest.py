"""Tells which processes of a list used most memory, those of one program together."""

from __future__ import annotations

from collections.abc import Iterable

from ...display.text import listed, show_bytes
from .facts import Message, TopProcess
from .secrets import program

__all__ = ["largest"]

_MOST_NAMED = 3


def largest(message: Message) -> str | None:
    """Return a sentence on a list of the largest processes; None where it has but one, or one that was killed first."""
    every, used = message.top_processes, message.used
    if len(every) < 2:
        return None
    names: dict[str, list[TopProcess]] = {}
    for process in every:
        names.setdefault(program(process.command) if process.command else "a process without a name", []).append(
            process
        )
    most = sorted(names.items(), key=lambda one: -_sum(one[1]))
    first, total = most[0][1], _sum(every)
    is_open = used is not None and total * 2 < used
    if not is_open and len(first) == 1 and first[0].pid in {victim.pid for victim in message.victims}:
        return None
    named = [_told(name, alike) for name, alike in most[:_MOST_NAMED]]
    named += ["others"] * (len(most) > _MOST_NAMED)
    rest = f" Together these {len(every)} had {show_bytes(total)}, less than half of what was used." if is_open else ""
    return f"The largest processes: {listed(named)}.{rest}"


def _sum(processes: Iterable[TopProcess]) -> int:
    return sum(process.memory for process in processes)


def _told(name: str, alike: list[TopProcess]) -> str:
    total = show_bytes(_sum(alike))
    return f"{name} ({len(alike)} of them, {total} together)" if len(alike) > 1 else f"{name} ({total})"
