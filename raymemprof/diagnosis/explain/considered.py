"""The workers that Ray's monitor considered to kill: how many ran at once, and who had more than it asked for."""

from __future__ import annotations

from collections.abc import Iterator

from ...display.text import show_bytes
from ...reading.logs.facts import Considered, Message, Victim, called

__all__ = ["considered", "was_idle"]


def was_idle(victim: Victim, message: Message) -> bool:
    """Whether the message says that nothing ran in a worker."""
    return not victim.name and any(not one.name and one.pid == victim.pid for one in message.considered)


def considered(message: Message) -> Iterator[str]:
    """Yield sentences on the workers that Ray considered, of a message of Ray 2.56 and later."""
    by_name: dict[str, list[Considered]] = {}
    for worker in message.considered:
        if worker.name:
            by_name.setdefault(worker.name.removesuffix(".__init__"), []).append(worker)
    for name, workers in sorted(by_name.items(), key=lambda item: -sum(one.memory for one in item[1])):
        if len(workers) > 1:
            together = show_bytes(sum(one.memory for one in workers))
            yield f"{len(workers)} workers of {name} ran at once, and had {together} together."
    killed = [one for one in message.considered if one.is_killed]
    spared = [one for one in message.considered if not one.is_killed]
    largest = max(spared, key=lambda one: one.memory, default=None)
    if killed and largest is not None and largest.memory > max(one.memory for one in killed):
        who = (largest.name or "An idle worker").removesuffix(".__init__")
        yield f"{called(who, largest.pid)} had more, {show_bytes(largest.memory)}, and was not killed."
    yield from _requests(by_name)


def _requests(by_name: dict[str, list[Considered]]) -> Iterator[str]:
    """What they asked Ray for, beside what they had."""
    for name, workers in by_name.items():
        most = max(workers, key=lambda one: one.memory)
        if most.requested is not None and most.memory > most.requested:
            more = show_bytes(most.memory - most.requested)
            yield f"{name} asks for {show_bytes(most.requested)} and had {show_bytes(most.memory)}: {more} more."
