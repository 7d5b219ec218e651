"""Says who ended, of those whom a message names."""

from __future__ import annotations

from ...display.text import listed
from ...reading.logs.facts import Message, Victim, called
from .advice import name_of
from .considered import was_idle
from .findings import Finding

__all__ = ["all_named", "named", "unsaid_victims", "who"]

_MOST_IDS = 10
"""Ids that are named."""
_MOST_VICTIMS = 5
"""Who ended, up to as many as can be named."""


def who(victim: Victim, finding: Finding) -> str:
    """Return what ran in a process that ended, as far as it is known."""
    return name_of(victim, finding) or ("an idle worker" if was_idle(victim, finding.message) else "a worker")


def named(victim: Victim, finding: Finding) -> str:
    """Return the same with its pid."""
    return called(who(victim, finding), victim.pid)


def all_named(finding: Finding) -> str:
    """Who ended; of several without a name and a pid, their count and their ids."""
    victims = finding.message.victims
    bare = [one for one in victims if one.pid is None and who(one, finding) == "a worker"]
    if len(bare) < 2:
        return listed([named(one, finding) for one in victims])
    ids = [
        f"the actor {one.actor_id}" if one.actor_id else f"the task {one.task_id}" if one.task_id else None
        for one in bare
    ]
    known = list(filter(None, ids))
    more = [f"{len(known) - _MOST_IDS} more"] if len(known) > _MOST_IDS else []
    of = f" (of {listed([*known[:_MOST_IDS], *more])})" if known else ""
    return listed([*(named(one, finding) for one in victims if one not in bare), f"{len(bare)} workers{of}"])


def unsaid_victims(message: Message) -> list[Victim]:
    """Those who ended whom no sentence names."""
    said = " ".join(filter(None, (message.statement, *message.also)))
    left = [
        one
        for one in message.victims
        if (one.name is not None and one.name not in said) or (one.pid is not None and str(one.pid) not in said)
    ]
    return left if len(left) <= _MOST_VICTIMS else []
