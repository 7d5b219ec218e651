"""Tells what a text names beyond what was said of it: the process, the node, the pod, the job."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...display.text import listed
from ...reading.logs.facts import Message
from ...reading.logs.names import Name

__all__ = ["also_named"]

_MOST_OF_A_KIND = 4
"""Of which more stand there, it is a list or a log, and no one of them is meant."""
_MOST = 10


def also_named(message: Message, summary: list[str]) -> str | None:
    """Return a sentence on what a text names that stands neither in a summary nor in the fields of a message."""
    said = set(re.findall(r"\w(?:[\w.-]{0,300}\w)?", "\n".join([*summary, *_fields(message)])))
    nameless = len(message.considered) + sum(victim.worker_id is None for victim in message.victims)
    kinds: dict[str, dict[str, Name]] = {}
    for name in message.names:
        known = kinds.setdefault(name.kind, {})
        known[name.value] = name if name.called else known.get(name.value, name)
    told = [
        f"the {_kinds(kind, len(left))} {listed([_told(one) for one in left])}"
        for kind, all_of_it in kinds.items()
        if len(all_of_it) <= _MOST_OF_A_KIND
        and (left := [one for value, one in all_of_it.items() if not _is_said(value, said)])
        and not (kind == "worker" and len(left) <= nameless)  # they may be the same
    ]
    return f"The text also names {listed(told[:_MOST])}." if told else None


def _fields(message: Message) -> Iterator[str]:
    yield from filter(None, (message.node_id, message.node_ip, *message.places))
    for victim in message.victims:
        ids = (victim.name, victim.task_id, victim.actor_id, victim.worker_id, victim.node_id)
        yield from filter(None, (*ids, str(victim.pid)))
    for process in message.top_processes:
        yield f"{process.pid} {process.command}"
    for one in message.considered:
        yield str(one.pid)


def _is_said(value: str, said: set[str]) -> bool:
    if value in said:
        return True
    longer = re.compile(rf"(?<![\w-]){re.escape(value)}(?![\w-])|^{re.escape(value)}[0-9a-f]{{44,}}$")
    return len(value) > len("10.0.0.1") and any(longer.search(word) for word in said)


def _kinds(kind: str, count: int) -> str:
    return kind if count == 1 else f"{kind}{'es' if kind.endswith('s') else 's'}"


def _told(name: Name) -> str:
    return f"{name.value} ({name.called})" if name.called else name.value
