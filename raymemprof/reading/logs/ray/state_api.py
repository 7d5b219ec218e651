"""What Ray's State API says, as JSON, of tasks and workers that were killed for memory."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

from ..facts import Message, Victim
from ..patterns import COUNT, Form
from ..secrets import without_secrets

__all__ = ["states"]

_KILLED = Form(
    r"""exit_type["']?\s{0,9}[:=]\s{0,9}["']?NODE_OUT_OF_MEMORY|"""
    r"""error_type["']?\s{0,9}[:=]\s{0,9}["']?OUT_OF_MEMORY"""
)


def states(text: str) -> Message | None:
    """Return what the State API's JSON says; None for any other text."""
    if not text.lstrip().startswith(("{", "[")) or not _KILLED.search(text):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        found: dict[tuple[int | None, str | None], Victim] = {}
        for record in _records(json.loads(without_secrets(text))):
            is_task = record.get("error_type") == "OUT_OF_MEMORY"
            if not is_task and record.get("exit_type") != "NODE_OUT_OF_MEMORY":
                continue
            keys = ("name", "task_id", "actor_id", "worker_id", "node_id")
            name, task_id, actor_id, worker_id, node_id = (_word(record.get(key)) for key in keys)
            pid = _word(record.get("worker_pid" if is_task else "pid"))
            number = int(pid) if pid and re.fullmatch(COUNT, pid) else None
            if (number, worker_id) not in found:
                found[number, worker_id] = Victim(name, task_id, actor_id, worker_id, number, None, node_id)
        victims = tuple(found.values())
        if not victims:  # it is no record of the State API's that has the words
            return None
        nodes = {victim.node_id for victim in victims}
        return Message(
            cause="ray_memory_monitor",
            node_id=next(iter(nodes)) if len(nodes) == 1 else None,
            victims=victims,
            killed=len(victims),
            nodes=max(len(nodes), 1),
            is_named=True,
        )
    return None


def _records(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _records(inner)


def _word(value: object) -> str | None:
    return None if value in (None, "", "None", "null") or not isinstance(value, (str, int)) else str(value)
