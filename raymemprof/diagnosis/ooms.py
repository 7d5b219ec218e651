"""`ooms()`: every out-of-memory kill of a session, and the tasks that are killed and retried without end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from .. import cluster
from ..cluster import MissingNode
from ..display.record import Record
from ..display.refusals import short_traceback
from ..display.text import printable, show_bytes, show_name, show_seconds
from ..reading.catalog import sources
from ..reading.catalog.clickable_rows import Openable, name_of_call
from ..reading.catalog.evidence import Evidence
from ..reading.catalog.places import Place, place_here
from ..reading.catalog.records import Call
from ..reading.catalog.representative_calls import list_representative
from ..reading.catalog.sources import Source
from ..reading.logs.endings import Death, cgroup_oom_kills, fits
from ..reading.logs.facts import TopProcess
from ..reading.logs.owners import OomRetry, oom_retries
from .kill_counter import METRIC, count

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Kill", "Kills", "Retry", "ooms"]

_MANY = 3
"""Kills of one task from which on it is called out as retried again and again."""
_SECONDS = 2.0
"""How long Ray may take to say which tasks were killed."""


@dataclass(frozen=True, slots=True)
class Kill(Record):
    """One process that was killed for memory.

    Attributes:
        when: when it was killed, UTC.
        node_id: the node it ran on.
        name: the task's name, `Actor.method` for an actor.
        task_id: its Ray task, if a profiled call or Ray itself gave it.
        attempt: that task's attempt.
        actor_id: its Ray actor.
        worker_id: the Ray worker.
        pid: the process.
        memory: bytes that it used when it was killed, as Ray or the kernel printed them.
        cause: "ray_memory_monitor" or "kernel_oom".
        call: the profiled call that ran in it, or the last one in an actor that was idle; None if there is none.
            `raymemprof.heap(kill.call)` is what the call held, `raymemprof.heap(kill.call.capture)` what the whole
            actor held.
        top_processes: the processes that used most memory on the node then, as Ray printed them.
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
    top_processes: tuple[TopProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class Retry(Record):
    """A task that Ray kills for memory and retries again and again, while its job seems to hang.

    Attributes:
        name: the task's name.
        task_id: the task.
        kill_count: how often it was killed so far.
        since: when it was first killed, UTC.
        pause: seconds that Ray waits after the latest kill before it runs the task again; None if not known yet.
        is_over: whether its session or its owner has ended, so that Ray does not retry it any more.
    """

    name: str | None
    task_id: str
    kill_count: int
    since: datetime
    pause: float | None
    is_over: bool = False

    def __str__(self) -> str:
        who = printable(self.name or self.task_id)
        what = f"{who} was killed for memory {self.kill_count} times since {self.since:%H:%M:%S} UTC"
        if self.is_over:
            return f"{what}, and Ray retried it each time, until its job ended; RAY_task_oom_retries sets a limit."
        after = f"; next after {show_seconds(self.pause)}" if self.pause is not None else ""
        return f"{what}, and Ray retries it without end, as RAY_task_oom_retries is not set{after}."


class Kills(Openable[Kill]):
    """A sequence of `Kill`.

    Attributes:
        retries: the tasks that are killed and retried without end.
        kill_counter: the number of kills in Ray's own metrics, up to ten seconds late; None if no node exports metrics.
    """

    retries: tuple[Retry, ...]
    kill_counter: int | None

    _title: ClassVar[tuple[str, str]] = ("process killed for memory", "processes killed for memory")
    _newest_last: ClassVar[bool] = True
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("when (UTC)", lambda kill: f"{kill.when:%H:%M:%S}", False),
        ("name", lambda kill: show_name(kill.name) if kill.name else "", False),
        ("by", lambda kill: {"kernel_oom": "the kernel"}.get(kill.cause, "Ray"), False),
        ("memory", lambda kill: show_bytes(kill.memory), True),
        ("children", lambda kill: show_bytes(kill.call.children_peak or None) if kill.call else "", True),
        ("pid", lambda kill: str(kill.pid), True),
        ("attempt", lambda kill: "" if kill.attempt is None else str(kill.attempt), True),
        ("task", lambda kill: f"{kill.task_id[:8]}…" if kill.task_id else "", False),
        ("actor", lambda kill: f"{kill.actor_id[:8]}…" if kill.actor_id else "", False),
        ("node", lambda kill: f"{kill.node_id[:8]}…" if kill.node_id else "", False),
        ("traced", lambda kill: "yes" if kill.call and kill.call.capture else "", False),
    )

    _expendable: ClassVar[tuple[str, ...]] = ("node", "actor", "task", "attempt")

    def __init__(
        self,
        rows: Iterable[Kill],
        caption: str = "",
        missing: Iterable[MissingNode] = (),
        left_out: Iterable[str] = (),
        chosen: str = "",
        retries: Iterable[Retry] = (),
        uncounted: Iterable[str] = (),
        kill_counter: int | None = None,
    ) -> None:
        super().__init__(rows, caption, missing, left_out, chosen)
        self.retries = tuple(retries)
        self.kill_counter = kill_counter
        self._uncounted = tuple(uncounted)

    def _with(self, rows: list[Kill]) -> Self:
        found = super()._with(rows)
        found.retries, found.kill_counter, found._uncounted = self.retries, self.kill_counter, self._uncounted
        return found

    def _opens(self, row: Kill) -> str:
        return name_of_call(row.call)

    def _notes(self) -> list[str]:
        known = self.kill_counter
        counter = [f"Ray's own counter knows of {known} kills ({METRIC})."] if known is not None else []
        return [*map(str, self.retries), *counter, *self._uncounted, *super()._notes()]


@short_traceback
def ooms(source: Source = None) -> Kills:
    """Return every process that was killed for memory, by Ray's memory monitor or by the kernel, oldest first.

    The kills come from the logs of the raylet and the kernel on each node, and from profiled calls that were killed. No
    dashboard is needed. `Kills.retries` names the tasks that Ray kills and retries without end.

    Args:
        source: a session's log directory. None for all nodes of the cluster that this process is connected to; without
            a connection, for your cluster that runs on this machine; if none runs, for your latest session. The table
            names what was chosen.

    Returns:
        A sequence of `Kill`, which prints as a table and has `to_pandas()`.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: you name no source, and several of your clusters run here.

    Example:
        >>> import raymemprof
        >>> for kill in raymemprof.ooms("/tmp"):  # doctest: +SKIP
        ...     print(kill.when, kill.name, kill.memory)
    """
    if source is None and cluster.is_connected():
        living = frozenset(cluster.living_nodes())
        answers = cluster.on_each_node(_told_there, living)
        told, missing = list(answers.by_node.values()), answers.missing
        caption, chosen = f"on {len(answers.by_node)} node{'s' * (len(answers.by_node) != 1)}", ""
    else:
        folders, chosen = sources.find(source, only_recorded=False)
        told, missing = [_told(Place(source, tuple(folders)))], ()
        caption = "" if chosen else "in " + ", ".join(map(str, folders))
    found = _with_tasks(_once(kill for one in told for kill in one.kills))
    found.sort(key=lambda kill: kill.when)
    owners = [retry for one in told for retry in one.retries]
    finished = frozenset(task_id for one in told for task_id in one.finished)
    uncounted = [one.uncounted for one in told if one.uncounted]
    left_out = [text for one in told for text in one.left_out]
    retries = _endless(owners, found, finished)
    counters = [one.counted for one in told if one.counted is not None]
    kill_counter = sum(counters) if counters else None
    return Kills(found, caption, missing, left_out, chosen, retries, dict.fromkeys(uncounted), kill_counter)


@dataclass(frozen=True, slots=True)
class _Told:
    """What a node tells."""

    kills: list[Kill]
    retries: list[OomRetry]
    finished: frozenset[str]
    """The profiled tasks that finished in a later attempt."""
    uncounted: str | None
    """A sentence on the kills that the kernel only counted."""
    left_out: list[str]
    """A few words on each journal that cannot be read, or not all of it."""
    counted: int | None = None
    """How many kills Ray's own counter knows of."""


def _once(kills: Iterable[Kill]) -> list[Kill]:
    """Nodes that share a folder tell the same, and the one it happened on tells of the call."""
    found: dict[object, Kill] = {}
    for kill in kills:
        key = (kill.node_id, kill.pid, kill.worker_id or kill.when)
        if key not in found or kill.call is not None:
            found[key] = kill
    return list(found.values())


def _with_tasks(kills: list[Kill]) -> list[Kill]:
    """Say which task each was, where no profiled call does and Ray still knows."""
    if all(kill.task_id for kill in kills):
        return kills
    known = cluster.tasks_killed_for_memory(_SECONDS)
    return [
        replace(kill, name=kill.name or task.name, task_id=task.task_id, attempt=task.attempt)
        if kill.task_id is None and (task := known.get(kill.worker_id or "")) is not None
        else kill
        for kill in kills
    ]


def _told_there(living: frozenset[str]) -> _Told:
    place = place_here(living)
    exported = cluster.metrics_address(place.node_id) if place.node_id is not None else None
    return replace(_told(place, is_running=True), counted=count(*exported) if exported is not None else None)


def _told(place: Place, *, is_running: bool | None = None) -> _Told:
    kills: list[Kill] = []
    finished: set[str] = set()
    kernel: dict[int, Death] = {}
    left_out: list[str] = []
    for folder in place.folders:
        evidence = Evidence(folder)
        listed = list_representative(replace(place, folders=(folder,)))
        calls = listed.calls
        left_out += listed.skipped
        kills += _kills(evidence, calls, place.node_id)
        finished.update(
            call.task_id
            for call in calls
            if call.task_id and call.attempt and call.status == "finished"
            if call.kind in ("task", "method") and not call.within
        )
        finished |= listed.retried
        kernel = kernel or evidence.kernel or {}
    return _Told(
        kills=kills,
        retries=oom_retries(place.folders, is_running=is_running),
        finished=frozenset(finished),
        uncounted=_uncounted(place, len(kernel)),
        left_out=left_out,
    )


def _uncounted(place: Place, named: int) -> str | None:
    """Say it where the kernel counts more kills than its log names; the counter is of this node, not of a folder."""
    counted = cgroup_oom_kills() if place.source is None else None
    if counted is None or counted <= named:
        return None
    where = f"on node {place.node_id[:8]}…" if place.node_id else "here"
    return (
        f"The kernel has killed {counted} processes in the container {where} since it began, and its log names {named} "
        f"of them: those that are not in this table cannot be named."
    )


def _kills(evidence: Evidence, calls: list[Call], node_id: str | None) -> list[Kill]:
    found: list[Kill] = []
    recorded = _by_process(call for call in calls if call.status in ("killed", "running"))
    idle = _by_process(call for call in calls if call.actor_id is not None)
    kernel = evidence.kernel or {}
    for death in evidence.raylet.values():
        if death.cause == "ray_memory_monitor":
            process = death.pid, death.worker_id
            found.append(_kill(death, recorded.get(process) or idle.get(process), node_id))
        elif death.pid in kernel and (death.pid, death.worker_id) not in recorded:  # nobody profiled it
            word = kernel[death.pid]
            if fits(word, death.when, death):
                found.append(_kill(word._replace(worker_id=death.worker_id, node_id=death.node_id), None, node_id))
    for call in recorded.values():
        cause, _, said = evidence.of_call(call)
        if cause == "kernel_oom" and said is not None:
            found.append(_kill(said, call, node_id))
    return found


def _by_process(recorded: Iterable[Call]) -> dict[tuple[int, str | None], Call]:
    """The call of each process that was the last to begin, the innermost of those within another."""
    return {(call.pid, call.worker_id): call for call in recorded}


def _kill(death: Death, call: Call | None, node_id: str | None) -> Kill:
    return Kill(
        when=death.when,
        node_id=death.node_id or (call.node_id if call else node_id),
        name=call.name if call else death.name,
        task_id=call.task_id if call and call.duration is None else None,
        attempt=call.attempt if call and call.duration is None else None,
        actor_id=death.actor_id or (call.actor_id if call else None),
        worker_id=death.worker_id or (call.worker_id if call else None),
        pid=death.pid,
        memory=death.memory,
        cause=death.cause,
        call=call,
        top_processes=death.top_processes,
    )


def _endless(owners: list[OomRetry], kills: list[Kill], finished: frozenset[str]) -> list[Retry]:
    """The tasks that their owners retry without end, and that have not ended since."""
    by_task: dict[str, list[Kill]] = {}
    for kill in kills:
        if kill.task_id is not None:
            by_task.setdefault(kill.task_id, []).append(kill)
    found: dict[str, Retry] = {}
    for owner in owners:
        listed = by_task.get(owner.task_id, [])
        count = max(owner.kills, len(listed))  # the owner hears of a kill a second later
        if owner.left is not None or count < _MANY or owner.task_id in finished or _has_finished(owner):
            continue
        if owner.is_over and not any(kill.call for kill in listed):
            continue  # it may have finished at last, and nobody is left who knows
        retry = Retry(
            name=owner.name or (listed[0].name if listed else None),
            task_id=owner.task_id,
            kill_count=count,
            since=listed[0].when if listed else owner.since,
            pause=owner.pause if count == owner.kills else None,
            is_over=owner.is_over,
        )
        if owner.task_id not in found or not retry.is_over:  # only where its owner runs can be seen that it does
            found[owner.task_id] = retry
    return list(found.values())


def _has_finished(owner: OomRetry) -> bool:
    return any(attempt.state == "FINISHED" for attempt in cluster.attempts(owner.task_id, _SECONDS) or ())
