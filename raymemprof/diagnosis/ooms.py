"""`ooms()`: every out-of-memory kill of a session, and the tasks that are killed and retried without end."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from .. import cluster, ray_runtime
from ..cluster import MissingNode
from ..reading.catalog import Call, Evidence, Filters, Place, folders_of, list_calls, place_here
from ..reading.deaths import Death
from ..reading.messages import Process
from ..rows import Rows, show_bytes, show_seconds

__all__ = ["Kill", "Kills", "Retry", "ooms"]

_MANY = 3
"""Kills of one task from which on it is called out as retried again and again."""
_PAUSE_VARIABLE = "RAY_task_oom_retry_delay_base_ms"
_SECONDS = 2.0
"""How long Ray may take to say which tasks were killed."""
_FIRST_PAUSE = 1.0
_LATE = timedelta(seconds=60)
"""How far apart the raylet's and the kernel's word of one death may be."""
_LONGEST_PAUSE = 60.0
"""Seconds that Ray waits before it retries a task killed for memory, doubled each time."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One process that was killed for memory.

    Attributes:
        when: when it was killed, UTC.
        node_id: the node it ran on.
        name: the task's name, `Actor.method` for an actor.
        task_id: its Ray task, where a profiled call says it, or Ray when it was asked.
        attempt: that task's attempt.
        actor_id: its Ray actor.
        worker_id: the Ray worker.
        pid: the process.
        memory: what it used when it was killed, in bytes, as Ray or the kernel printed it.
        cause: "ray_memory_monitor" or "kernel_oom".
        call: the profiled call that ran in it, if there is one; `raymemprof.heap(kill.call)` is what it held.
        top_processes: what used most memory on the node then, by pid, memory and command, as Ray printed it.
    """

    when: datetime
    node_id: str | None
    name: str | None
    task_id: str | None
    attempt: int | None
    actor_id: str | None
    worker_id: str | None
    pid: int
    memory: int | None
    cause: str
    call: Call | None
    top_processes: tuple[Process, ...] = ()


@dataclass(frozen=True, slots=True)
class Retry:
    """A task that is killed for memory again and again while its job seems to hang.

    Attributes:
        name: the task's name.
        task_id: the task, where profiled calls say it.
        kills: how often it was killed so far.
        since: when first.
        pause: seconds that Ray waits after the latest kill before it runs the task again.
    """

    name: str | None
    task_id: str | None
    kills: int
    since: datetime
    pause: float

    def __str__(self) -> str:
        which = "" if self.task_id else " (all tasks of this name)"
        return (
            f"{self.name}{which} was killed for memory {self.kills} times since {self.since:%H:%M:%S} UTC, and "
            f"Ray retries it, without end unless RAY_task_oom_retries is set; next after {show_seconds(self.pause)}."
        )


class Kills(Rows[Kill]):
    """A sequence of `Kill`."""

    title: ClassVar[tuple[str, str]] = ("process killed for memory", "processes killed for memory")
    newest_last: ClassVar[bool] = True
    columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("when (UTC)", lambda kill: f"{kill.when:%H:%M:%S}", False),
        ("name", lambda kill: kill.name or "", False),
        ("by", lambda kill: {"kernel_oom": "the kernel"}.get(kill.cause, "Ray"), False),
        ("memory", lambda kill: show_bytes(kill.memory), True),
        ("pid", lambda kill: str(kill.pid), True),
        ("attempt", lambda kill: "" if kill.attempt is None else str(kill.attempt), True),
        ("task", lambda kill: f"{kill.task_id[:8]}…" if kill.task_id else "", False),
        ("actor", lambda kill: f"{kill.actor_id[:8]}…" if kill.actor_id else "", False),
        ("node", lambda kill: f"{kill.node_id[:8]}…" if kill.node_id else "", False),
        ("traced", lambda kill: "yes" if kill.call and kill.call.capture else "", False),
    )

    expendable: ClassVar[tuple[str, ...]] = ("node", "actor", "task", "attempt")

    def __init__(self, rows: Iterable[Kill], caption: str = "", missing: Iterable[MissingNode] = ()) -> None:
        super().__init__(rows, caption, missing)
        self.retries = _retries(self._rows)

    def _notes(self) -> list[str]:
        return [*map(str, self.retries), *super()._notes()]


def ooms(source: str | os.PathLike[str] | None = None) -> Kills:
    """Return every process that was killed for memory, by Ray's memory monitor or by the kernel, oldest first.

    Read from the raylet's and the kernel's log of each node, with the profiled calls that were killed; no dashboard is
    needed. `Kills.retries` names the tasks that are killed again and again.

    Args:
        source: a session's log directory; None for all nodes of the cluster that this process is connected to, else the
            session on this machine that was recorded to last.

    Returns:
        A sequence of `Kill`, which prints as a table and has `to_pandas()`.

    Raises:
        FileNotFoundError: `source` does not exist.

    Example:
        >>> import raymemprof
        >>> for kill in raymemprof.ooms("/tmp"):  # doctest: +SKIP
        ...     print(kill.when, kill.name, kill.memory)
    """
    if source is None and cluster.is_connected():
        living = frozenset(node.node_id for node in cluster.nodes() if node.is_alive)
        answers = cluster.on_each_node(_kills_there, living)
        everywhere = [kill for kills in answers.by_node.values() for kill in kills]
        # Nodes that share a folder tell the same, and the one it happened on tells of the call.
        told = {(kill.pid, kill.when): kill for kill in sorted(everywhere, key=lambda kill: kill.call is not None)}
        found, missing = _with_tasks(list(told.values())), answers.missing
        caption = f"on {len(answers.by_node)} node{'s' * (len(answers.by_node) != 1)}"
    else:
        folders = folders_of(source, only_recorded=False)
        found, missing = _kills(Place(source, tuple(folders))), ()
        caption = "in " + ", ".join(map(str, folders)) if folders else ""
    found.sort(key=lambda kill: kill.when)
    return Kills(found, caption, missing)


def _with_tasks(kills: list[Kill]) -> list[Kill]:
    """Say which task each was, where no profiled call does and Ray still knows."""
    if all(kill.task_id for kill in kills):
        return kills
    known = ray_runtime.tasks_killed_for_memory(_SECONDS)
    return [
        replace(kill, name=kill.name or task.name, task_id=task.task_id, attempt=task.attempt)
        if kill.task_id is None and (task := known.get(kill.worker_id or "")) is not None
        else kill
        for kill in kills
    ]


def _kills_there(living: frozenset[str]) -> list[Kill]:
    return _kills(place_here(living))


def _kills(place: Place) -> list[Kill]:
    found: list[Kill] = []
    for folder in place.folders:
        evidence = Evidence(folder)
        recorded = _by_process(list_calls(replace(place, folders=(folder,)), Filters())[0])
        for death in evidence.raylet.values():
            call = recorded.get((death.pid, death.worker_id))
            if death.cause == "ray_memory_monitor":
                found.append(_kill(death, call, place.node_id))
            elif call is None:  # nobody profiled it: the kernel's word alone counts
                word = (evidence.kernel or {}).get(death.pid)
                if word is not None and abs(word.when - death.when) < _LATE:
                    found.append(_kill(word, None, place.node_id))
        for call in recorded.values():
            cause, _, word = evidence.of_call(call)
            if cause == "kernel_oom" and word is not None:
                found.append(_kill(word, call, place.node_id))
    return found


def _by_process(recorded: list[Call]) -> dict[tuple[int, str | None], Call]:
    """The call that ran in each process that was killed: the last to begin, the innermost of those within another."""
    return {(call.pid, call.worker_id): call for call in recorded if call.status in ("killed", "running")}


def _kill(death: Death, call: Call | None, node_id: str | None) -> Kill:
    message = death.message
    return Kill(
        when=death.when,
        node_id=(message.node_id if message else None) or (call.node_id if call else node_id),
        name=call.name if call else death.name,
        task_id=call.task_id if call else None,
        attempt=call.attempt if call else None,
        actor_id=death.actor_id or (call.actor_id if call else None),
        worker_id=death.worker_id or (call.worker_id if call else None),
        pid=death.pid,
        memory=death.memory,
        cause=death.cause,
        call=call,
        top_processes=death.message.top_processes if death.message else (),
    )


def _retries(kills: list[Kill]) -> tuple[Retry, ...]:
    groups: dict[Any, list[Kill]] = {}
    for kill in kills:
        if kill.actor_id is None and (kill.task_id or kill.name):
            groups.setdefault(kill.task_id or kill.name, []).append(kill)
    try:
        base = float(os.environ.get(_PAUSE_VARIABLE) or "") / 1e3
    except ValueError:
        base = _FIRST_PAUSE
    return tuple(
        Retry(
            name=group[0].name,
            task_id=group[0].task_id,
            kills=len(group),
            since=group[0].when,
            pause=min(base * 2.0 ** min(len(group) - 1, 64), _LONGEST_PAUSE),
        )
        for group in groups.values()
        if len(group) >= _MANY
    )
