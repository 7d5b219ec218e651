"""What was recorded: calls, their child processes, and captures; and the tables of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from ...display.record import Record
from ...display.text import show_bytes, show_name, show_seconds
from ...journal import named_for
from .clickable_rows import Openable, name_of_call

__all__ = [
    "RAY_DATA_SAYS",
    "Call",
    "Calls",
    "Capture",
    "Captures",
    "ChildProcess",
    "CompactedCalls",
    "compacted_of",
    "other_deployment",
]


@dataclass(frozen=True, slots=True)
class Capture(Record):
    """One capture file, as memray wrote it. You can use it wherever you can use a path.

    Attributes:
        path: the file.
        size: its size now, in bytes.
        status: "open" while its process traces, "closed", or "killed" if the process ended without closing it.
        opened_at: when tracing began, UTC.
        closed_at: when tracing ended; None if it did not end, or its end was not recorded.
        native: whether it has C and C++ frames.
        pid: the process that wrote it.
        node_id: the Ray node it ran on.
        worker_id: the Ray worker that wrote it.
        call_count: how many calls it holds.
    """

    path: Path
    size: int
    status: str
    opened_at: datetime | None
    closed_at: datetime | None
    native: bool
    pid: int | None
    node_id: str | None
    worker_id: str | None
    call_count: int
    lies_on: str | None = field(default=None, repr=False, compare=False)
    """The node that the file lies on, where the cluster was asked."""

    def __fspath__(self) -> str:
        return str(self.path)


RAY_DATA_SAYS = (
    "Ray Data says: the highest RSS − SHR that Ray Data noted by itself (max_uss_bytes), once a second and after each "
    "block. A peak in between is not in it, nor is what child processes use."
)
"""Why `ray_data_peak` is not the peak that was recorded."""


@dataclass(frozen=True, slots=True)
class ChildProcess(Record):
    """A process that a call started, directly or through other processes.

    Attributes:
        pid: the process.
        name: what it runs: a script or a program; for a fork, the title of the worker.
        memory: bytes of RSS − SHR. Pages that it shares with its parent or children count in part (PSS).
    """

    pid: int
    name: str
    memory: int


@dataclass(frozen=True, slots=True)
class Call(Record):
    """One recorded execution. Sizes are bytes of RSS − SHR of its process, times are UTC, durations are seconds.

    Attributes:
        name: the function's `__qualname__` (for a method `Class.method`), or the block's label.
        kind: what was decorated: "task" for a function, "actor" for an actor's `__init__`, "method", "block".
        task_id: the Ray task that ran it.
        attempt: that task's attempt, 0 for the first.
        actor_id: the Ray actor that ran it.
        job_id: the Ray job.
        node_id: the Ray node.
        worker_id: the Ray worker.
        pid: the process.
        started_at: when it began.
        duration: how long it took; None if its end was not recorded.
        status: "running", "finished", "failed", "cancelled", or "killed" if its process ended before the call did.
        error: the exception it raised, or what ended its process, if that is known.
        memory_before: memory when it began, without child processes.
        peak_memory: the most memory while it ran, including child processes.
        growth: the growth up to the peak: `peak_memory` minus `memory_before` and `children_before`; never negative. A
            reused worker still holds what earlier calls left in it, so the call with the largest peak may have used
            little. Sort by `growth` to find the largest call. If calls run side by side in one process, each has the
            growth of all.
        memory_after: memory when it ended, without child processes.
        capture: the capture file that holds its allocations; None if it was only sampled, or the file is gone.
        children_peak: the most memory that its child processes, and their children, added; pages that they share with
            it count once. 0 if there were none.
        children: the largest of these processes at the time when they had most memory together.
        children_count: how many there were at that time.
        children_copied: roughly how much of the memory that they added was copies of memory that forked children
            inherited and then wrote to; reading a Python object is a write. None if not known.
        children_before: the memory that children of earlier calls added when it began.
        own_peak: the most memory of the process alone.
        children_left: the children that were still running when it ended.
        note: why it was not traced; or, for a call on another machine, since when it is unknown whether it still runs.
        deployment: the Ray Serve application and deployment that ran it: `default:Summarizer`.
        context: what a Ray library says about it: `route /sum` for a request to Ray Serve, `rank 3` for a worker of Ray
            Train, `trial 1b2c3_00000` for Ray Tune; None if it says nothing.
        ray_data_peak: the highest memory that Ray Data itself measured in it (`max_uss_bytes`); None if it measured
            none.
    """

    name: str
    kind: str
    task_id: str | None
    attempt: int | None
    actor_id: str | None
    job_id: str | None
    node_id: str | None
    worker_id: str | None
    pid: int
    started_at: datetime
    duration: float | None
    status: str
    error: str | None
    memory_before: int
    peak_memory: int
    memory_after: int | None
    capture: Path | None
    note: str | None
    place: tuple[int, int] | None = field(default=None, repr=False)
    """Where in the capture it is: slot and turn."""
    lies_on: str | None = field(default=None, repr=False, compare=False)
    """The node that its capture lies on, where the cluster was asked."""
    children_peak: int = 0
    children: tuple[ChildProcess, ...] = ()
    children_left: tuple[ChildProcess, ...] = ()
    children_count: int = 0
    children_before: int = 0
    own_peak: int = 0
    children_copied: int | None = None
    journal: Path | None = field(default=None, repr=False, compare=False)
    """The journal that tells of it, where it lies."""
    deployment: str | None = None
    context: str | None = None
    ray_data_peak: int | None = None
    within: str = field(default="", repr=False, compare=False)
    """The name of the outermost call of its task that it ran in, if any."""

    @property
    def growth(self) -> int:
        """Return the growth up to the peak, in bytes: of its process and its child processes; never negative."""
        return max(self.peak_memory - self.memory_before - self.children_before, 0)


@dataclass(frozen=True, slots=True)
class CompactedCalls:
    """Calls of a process that are counted, and not listed one by one: too many, or only sums are left of them."""

    process: tuple[str | None, str | None, int]
    """Node, worker and pid."""
    name: str
    kind: str
    actor_id: str | None
    is_certain: bool
    """Whether all of them are calls that were asked for: else some may be."""
    peak: int
    """The highest of theirs."""
    statuses: dict[str, int]
    """How many ended so."""
    peaks: dict[int, int]
    """How many peaks were in a bucket (`journal.BUCKET`)."""
    kept: int
    """By how much their process was larger when they ended than when they began, all together. Bytes."""
    traced: int
    """How many were traced."""
    last: float
    """When the last of them began: seconds since the epoch."""
    within: str
    """The name of the outermost calls of their tasks that they ran in, if any."""
    only_sums: int
    """Of how many of them only sums are left: the others are in the journal one by one."""
    ray_data_peak: int = 0
    """The highest that Ray Data noted in them by itself."""
    held: int = 0
    """How many of them are in captures that are there."""
    held_kept: int = 0
    """What `kept` is of these."""
    rose: int | None = None
    """By how much an actor's process rose from call to call in its method's calls, with those that are listed. Bytes.

    None where only sums are left.
    """

    def count(self, status: str | None = None) -> int:
        """Return how many they are, or those of them that ended so."""
        return sum(self.statuses.values()) if status is None else self.statuses.get(status, 0)


class Calls(Openable[Call]):
    """A sequence of `Call`."""

    _compacted: tuple[CompactedCalls, ...] = ()
    """Those that were asked for too, and are not in it: of a part of the sequence it is not known."""

    _title: ClassVar[tuple[str, str]] = ("call", "calls")
    _newest_last: ClassVar[bool] = True
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("name", lambda call: show_name(call.name), False),
        ("kind", lambda call: call.kind, False),
        ("status", lambda call: call.status, False),
        ("started", lambda call: f"{call.started_at:%H:%M:%S}", False),
        ("duration", lambda call: show_seconds(call.duration), True),
        ("before", lambda call: show_bytes(call.memory_before), True),
        ("peak", lambda call: show_bytes(call.peak_memory), True),
        ("growth", lambda call: show_bytes(call.growth), True),
        ("after", lambda call: show_bytes(call.memory_after), True),
        ("children", lambda call: show_bytes(call.children_peak or None), True),
        ("pid", lambda call: str(call.pid), True),
        ("task", lambda call: _short(call.task_id, call.attempt), False),
        ("node", lambda call: _short_id(call.node_id), False),
        ("deployment", lambda call: other_deployment(call.deployment, call.name), False),
        ("context", lambda call: call.context or "", False),
        ("note", lambda call: call.error or call.note or "", False),
    )
    _if_various: ClassVar[tuple[str, ...]] = ("node",)
    _expendable: ClassVar[tuple[str, ...]] = ("task", "pid", "started", "kind", "after", "before")

    def _opens(self, row: Call) -> str:
        return name_of_call(row)

    def _more(self) -> str:
        more = super()._more()
        return more and f"{more}; summary() sums up all by function"


def compacted_of(calls: object) -> tuple[CompactedCalls, ...]:
    """Return what is only counted of the calls that a sequence is of; what may be others is not among it."""
    return tuple(one for one in calls._compacted if one.is_certain) if isinstance(calls, Calls) else ()


class Captures(Openable[Capture]):
    """A sequence of `Capture`."""

    _title: ClassVar[tuple[str, str]] = ("capture", "captures")
    _newest_last: ClassVar[bool] = True
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("first call", lambda capture: show_name(named_for(capture.path.name) or capture.path.name), False),
        ("status", lambda capture: capture.status, False),
        ("opened (UTC)", lambda capture: f"{capture.opened_at:%H:%M:%S}" if capture.opened_at else "", False),
        ("size", lambda capture: show_bytes(capture.size), True),
        ("calls", lambda capture: str(capture.call_count), True),
        ("pid", lambda capture: str(capture.pid or ""), True),
        ("node", lambda capture: _short_id(capture.node_id), False),
        ("file", lambda capture: capture.path.name, False),  # the longest: it leaves the others in view
    )
    _if_various: ClassVar[tuple[str, ...]] = ("node",)

    def _opens(self, row: Capture) -> str:
        return str(row.path)


def other_deployment(deployment: str | None, name: str) -> str:
    """Return a deployment's name for a table; nothing where a function, class or method so named implies it."""
    expected = f"default:{name}", f"default:{name.rpartition('.')[0]}"
    return "" if deployment is None or deployment in expected else deployment


def _short(task_id: str | None, attempt: int | None) -> str:
    if task_id is None:
        return ""
    own = task_id.removeprefix("f" * 16)  # an actor's creation has the actor's id after these
    return f"{own[:8]}…" + (f" attempt {attempt}" if attempt else "")


def _short_id(node_id: str | None) -> str:
    return f"{node_id[:8]}…" if node_id else ""
