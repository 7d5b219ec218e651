"""What was recorded: finds journals and captures, and tells what became of each call."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache, cached_property
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar

from .. import journal as contract
from .. import ray_runtime
from ..errors import CaptureError
from ..rows import Rows, show_bytes, show_seconds
from . import deaths

__all__ = ["Call", "Calls", "Capture", "Captures", "Evidence", "calls", "captures", "folders_of"]

Source = str | os.PathLike[str] | None

STATUSES = ("running", "finished", "failed", "cancelled", "killed")
_MOST_NAMES = 10
KINDS = ("task", "actor", "method", "block")
_TEXTS = ("name", "kind", "task_id", "actor_id", "job_id")


@dataclass(frozen=True, slots=True)
class Capture:
    """One capture file, as memray wrote it. Can be used wherever a path can.

    Attributes:
        path: the file.
        size: its size now, in bytes.
        status: "open" while its process traces, "closed", or "killed" where the process ended without closing it.
        opened_at: when tracing began, UTC.
        closed_at: when it ended; None where it did not, or nobody saw it.
        native: whether it has C and C++ frames.
        pid: the process that wrote it.
        node_id: the Ray node it ran on.
        worker_id: the Ray worker it was.
        calls: how many calls it holds.
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
    calls: int

    def __fspath__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Call:
    """One execution of what was decorated. Sizes are bytes of RSS − SHR of its process, times UTC, durations seconds.

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
        duration: how long it took; None where its end was not recorded.
        status: "running", "finished", "failed", "cancelled", or "killed" where its process ended before it did.
        error: the exception it raised, or what ended its process, where that is known.
        memory_before: memory when it began.
        peak_memory: the most memory while it ran.
        memory_after: memory when it ended.
        capture: the capture file that holds its allocations; None where it was only sampled, or the file is gone.
        note: why it was not traced.
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


class Calls(Rows[Call]):
    """A sequence of `Call`."""

    title: ClassVar[tuple[str, str]] = ("call", "calls")
    newest_last: ClassVar[bool] = True
    columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("name", lambda call: call.name, False),
        ("kind", lambda call: call.kind, False),
        ("status", lambda call: call.status, False),
        ("started", lambda call: f"{call.started_at:%H:%M:%S}", False),
        ("duration", lambda call: show_seconds(call.duration), True),
        ("before", lambda call: show_bytes(call.memory_before), True),
        ("peak", lambda call: show_bytes(call.peak_memory), True),
        ("after", lambda call: show_bytes(call.memory_after), True),
        ("pid", lambda call: str(call.pid), True),
        ("task", lambda call: _short(call.task_id, call.attempt), False),
        ("note", lambda call: call.error or call.note or "", False),
    )
    expendable: ClassVar[tuple[str, ...]] = ("task", "pid", "started", "kind", "after", "before")


class Captures(Rows[Capture]):
    """A sequence of `Capture`."""

    title: ClassVar[tuple[str, str]] = ("capture", "captures")
    newest_last: ClassVar[bool] = True
    columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("file", lambda capture: capture.path.name, False),
        ("status", lambda capture: capture.status, False),
        ("opened (UTC)", lambda capture: f"{capture.opened_at:%H:%M:%S}" if capture.opened_at else "", False),
        ("size", lambda capture: show_bytes(capture.size), True),
        ("calls", lambda capture: str(capture.calls), True),
        ("pid", lambda capture: str(capture.pid or ""), True),
    )


def calls(
    source: Source = None,
    *,
    name: str | None = None,
    status: str | None = None,
    kind: str | None = None,
    task_id: str | None = None,
    actor_id: str | None = None,
    job_id: str | None = None,
    node_id: str | None = None,
) -> Calls:
    """Return the calls that were recorded, in the order in which they began.

    Args:
        source: a folder, or a journal or capture in one; None for the Ray session this process is connected to, else
            the session on this machine, or the folder that is used outside Ray, that was recorded to last.
        name: only calls of this name: `task`, `Actor.method`, the last parts of a longer one, or with `*`.
        status: only "running", "finished", "failed", "cancelled" or "killed" ones.
        kind: only "task", "actor", "method" or "block".
        task_id: only this Ray task's.
        actor_id: only this Ray actor's.
        job_id: only this Ray job's.
        node_id: only this Ray node's. Of each id the beginning is enough.

    Returns:
        A sequence of `Call`, which prints as a table and has `to_pandas()`.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: `status` or `kind` is none of those named.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> raymemprof.calls("/tmp/raymemprof-example", name="load")[-1].status
        'finished'
    """
    _check("status", status, STATUSES)
    _check("kind", kind, KINDS)
    found: list[Call] = []
    names: set[str] = set()
    folders = folders_of(source)
    for journal in _journals(source, folders):
        there = list(journal.calls())
        names.update(call.name for call in there)
        found.extend(
            call
            for call in there
            if (name is None or _names(name, call.name))
            and (status is None or call.status == status)
            and (kind is None or call.kind == kind)
            and _begins(call.task_id, task_id)
            and _begins(call.actor_id, actor_id)
            and _begins(call.job_id, job_id)
            and _begins(call.node_id, node_id)
        )
    only = _only_capture(source)
    if only is not None:
        found = [call for call in found if call.capture == only]
    found.sort(key=lambda call: call.started_at)
    return Calls(found, _caption(folders) if found or not names else f"{_caption(folders)}: {_some(names)}")


def captures(
    source: Source = None,
    *,
    name: str | None = None,
    status: str | None = None,
    kind: str | None = None,
    task_id: str | None = None,
    actor_id: str | None = None,
    job_id: str | None = None,
    node_id: str | None = None,
) -> Captures:
    """Return the capture files, in the order in which they were opened: those that hold a call that fits.

    Takes what `calls` takes, and raises what it raises; `status` is a call's. Without a filter every capture is there,
    also one whose journal is gone.

    Returns:
        A sequence of `Capture`, which prints as a table and has `to_pandas()`.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> raymemprof.captures("/tmp/raymemprof-example")[-1].path.suffix
        '.bin'
    """
    filters = {"name": name, "status": status, "kind": kind, "task_id": task_id}
    filters |= {"actor_id": actor_id, "job_id": job_id, "node_id": node_id}
    wanted = None
    if any(value is not None for value in filters.values()):
        wanted = {call.capture for call in calls(source, **filters)}
    folders = folders_of(source)
    known: dict[Path, Capture] = {}
    for journal in _journals(source, folders):
        known.update({capture.path: capture for capture in journal.captures()})
    for folder in folders:
        for name in os.listdir(folder):
            path = folder / name
            if contract.is_capture(name) and path not in known:
                with contextlib.suppress(FileNotFoundError):  # removed since the folder was listed
                    known[path] = _unknown(path, known)
    only = _only_capture(source)
    kept = [
        capture
        for path, capture in known.items()
        if (wanted is None or path in wanted) and (only is None or path == only)
    ]
    kept.sort(key=lambda capture: (capture.opened_at is None, capture.opened_at or 0, capture.path))
    return Captures(kept, _caption(folders))


def _some(names: set[str]) -> str:
    """Name what was recorded where nothing fits."""
    shown = sorted(names)[:_MOST_NAMES]
    return "calls of " + ", ".join(shown) + (", …" if len(names) > len(shown) else "")


def _check(what: str, value: str | None, values: tuple[str, ...]) -> None:
    if value is not None and value not in values:
        raise ValueError(f"{what}={value!r} is none of {', '.join(values)}.")


def _names(pattern: str, name: str) -> bool:
    if name == pattern or name.endswith(f".{pattern}"):
        return True
    return fnmatch.fnmatchcase(name, pattern) if any(c in pattern for c in "*?[") else False


def _begins(value: str | None, wanted: str | None) -> bool:
    return wanted is None or (value is not None and value.startswith(wanted))


def _short(task_id: str | None, attempt: int | None) -> str:
    if task_id is None:
        return ""
    own = task_id.removeprefix("f" * 16)  # an actor's creation has the actor's id after these
    return f"{own[:8]}…" + (f" attempt {attempt}" if attempt else "")


def _caption(folders: list[Path]) -> str:
    return "in " + ", ".join(map(str, folders)) if folders else "no recording was found on this machine"


def folders_of(source: Source, only_recorded: bool = True) -> list[Path]:
    """Return the folders that a source stands for; `only_recorded` passes sessions over that hold no recording."""
    if source is not None:
        if not os.fspath(source):
            raise ValueError("the source is empty; give a folder that was recorded to, or a capture in one.")
        path = Path(source).absolute()
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path} does not exist; give a folder that was recorded to, or a capture in one.")
        if not path.is_dir():
            return [path.parent]
        logs = path / "logs"  # of a Ray session, whose folder people name as well
        return [logs if logs.is_dir() and not any(map(_is_journal, os.listdir(path))) else path]
    connected = ray_runtime.logs_directory()
    if connected is not None:
        return [connected]
    return _newest_on_this_machine(only_recorded)


def _newest_on_this_machine(only_recorded: bool) -> list[Path]:
    """Return what was recorded to last: a session of a running Ray, else any session or the folder used without Ray."""
    sessions = [path for root in ray_runtime.session_roots() for path in root.glob("session_2*/logs")]
    set_by_user = os.environ.get("RAYMEMPROF_DIRECTORY")
    others = [contract.local_directory()] if only_recorded else []
    for candidates in (
        [Path(set_by_user)] if set_by_user and only_recorded else [],
        [path for path in sessions if ray_runtime.is_running(path.parent)],
        [*sessions, *others],
    ):
        newest = max(candidates, key=lambda folder: _last_written(folder, only_recorded), default=None)
        if newest is not None and _last_written(newest, only_recorded):
            return [newest]
    return []


def _last_written(folder: Path, only_recorded: bool) -> float:
    """When a folder was recorded to, or written to at all, last; 0 where it never was."""
    try:
        names = [entry for entry in os.scandir(folder) if _is_journal(entry.name) or not only_recorded]
        return max((entry.stat().st_mtime for entry in names), default=0.0)
    except OSError:
        return 0.0


def _only_capture(source: Source) -> Path | None:
    """Return the capture, where that is what the source names."""
    if source is None:
        return None
    path = Path(source).absolute()
    return path if path.is_file() and not _is_journal(path.name) else None


def _is_journal(name: str) -> bool:
    return name.startswith(contract.PREFIX) and name.endswith(".jsonl")


def _journals(source: Source, folders: list[Path]) -> Iterator[_Journal]:
    """Yield the journals of the folders, or the one journal that the source names."""
    if source is not None and _is_journal(Path(source).name):
        paths: Iterable[Path] = [Path(source).absolute()]
    else:
        paths = (folder / name for folder in folders for name in sorted(os.listdir(folder)) if _is_journal(name))
    evidence = cache(Evidence)
    for path in paths:
        try:
            yield _Journal(path, evidence)
        except FileNotFoundError:
            continue  # removed since the folder was listed
        except OSError as error:
            raise CaptureError(path, f"it cannot be read: {error.strerror}.") from None


class _Journal:
    """One process's journal, read whole."""

    def __init__(self, path: Path, evidence: Callable[[Path], Evidence]) -> None:
        self._folder = path.parent
        self._process: dict[str, Any] = {}
        self._begins: dict[int, dict[str, Any]] = {}
        self._ends: dict[int, dict[str, Any]] = {}
        self._peaks: dict[int, int] = {}
        self._opens: dict[str, dict[str, Any]] = {}
        self._closes: dict[str, float] = {}
        for line in contract.read_lines(path):
            try:
                self._take(line)
            except (KeyError, TypeError, AttributeError):
                continue  # a line that was damaged into other words
        logs = self._process.get("logs")
        self._evidence = evidence(Path(logs) if isinstance(logs, str) else self._folder)
        self._fate: tuple[str, str | None] | None = None
        self._exists: dict[str, Path | None] = {}

    def _take(self, line: dict[str, Any]) -> None:
        event = line["event"]
        if event == "begin":
            if not all(isinstance(line[key], (str, NoneType)) for key in _TEXTS):
                raise TypeError
            self._begins[line["call"]] = line
        elif event == "end":
            self._ends[line["call"]] = line
        elif event == "peak":
            for number in line["calls"]:
                self._peaks[number] = max(self._peaks.get(number, 0), line["memory"])
        elif event == "open":
            self._opens[line["capture"]] = line
        elif event == "close":
            self._closes[line["capture"]] = line["time"]
        elif event == "process":
            self._process = line

    def calls(self) -> Iterator[Call]:
        pid, node_id, worker_id = (self._process.get(key) for key in ("pid", "node_id", "worker_id"))
        for number, begin in self._begins.items():
            try:
                end = self._ends.get(number)
                if end is not None:
                    status, error = end["status"], end["error"]
                    duration, after, peak = end["duration"], end["memory"], end["peak"]
                else:
                    status, error = self._unfinished()
                    duration, after = None, None
                    peak = max(self._peaks.get(number, 0), begin["memory"])
                slot = begin.get("slot")
                yield Call(
                    begin["name"],
                    begin["kind"],
                    begin["task_id"],
                    begin["attempt"],
                    begin["actor_id"],
                    begin["job_id"],
                    node_id,
                    worker_id,
                    pid or 0,
                    datetime.fromtimestamp(begin["time"], timezone.utc),
                    duration,
                    status,
                    error,
                    begin["memory"],
                    peak,
                    after,
                    self._capture(begin.get("capture")),
                    begin.get("note") or (end or {}).get("note"),
                    None if slot is None else (slot, begin["turn"]),
                )
            except (KeyError, TypeError, ValueError, OverflowError, OSError):  # fromtimestamp raises all of these
                continue

    def _capture(self, name: str | None) -> Path | None:
        """Return the capture's path if the file is there."""
        if name is None:
            return None
        if name not in self._exists:
            path = self._folder / name
            self._exists[name] = path if path.exists() else None
        return self._exists[name]

    def captures(self) -> Iterator[Capture]:
        counts: dict[str, int] = {}
        for begin in self._begins.values():
            if isinstance(begin.get("capture"), str):
                counts[begin["capture"]] = counts.get(begin["capture"], 0) + 1
        for name, line in self._opens.items():
            try:
                yield self._opened(name, line, counts.get(name, 0))
            except (OSError, KeyError, TypeError, ValueError, OverflowError):
                continue  # the file is gone, or the line was damaged into other words

    def _opened(self, name: str, line: dict[str, Any], calls: int) -> Capture:
        path = self._folder / name
        size = path.stat().st_size
        closed = self._closes.get(name)
        is_open = closed is None and self._unfinished()[0] == "running"
        status = "closed" if closed is not None else "open" if is_open else "killed"
        return Capture(
            path=path,
            size=size,
            status=status,
            opened_at=datetime.fromtimestamp(line["time"], timezone.utc),
            closed_at=None if closed is None else datetime.fromtimestamp(closed, timezone.utc),
            native=bool(line.get("native")),
            pid=self._process.get("pid"),
            node_id=self._process.get("node_id"),
            worker_id=self._process.get("worker_id"),
            calls=calls,
        )

    def _unfinished(self) -> tuple[str, str | None]:
        """What became of a call whose end was not written: its status, and what ended the process."""
        if self._fate is None:
            if contract.is_alive(self._process):
                self._fate = ("running", None)
            else:
                _, reason, _ = self._evidence.of(self._process)
                cancelled = reason is not None and "force ray.cancel" in reason
                self._fate = ("cancelled" if cancelled else "killed", reason)
        return self._fate


class Evidence:
    """What is known of how the processes that recorded to a folder ended; read when it is first asked for."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs

    @cached_property
    def raylet(self) -> dict[tuple[int, str | None], deaths.Death]:
        """The raylet's word, by pid and worker."""
        said: dict[tuple[int, str | None], deaths.Death] = {}
        for death in deaths.raylet_deaths(self._logs):
            known = said.get((death.pid, death.worker_id))
            if known is None or known.cause != "ray_memory_monitor":
                said[death.pid, death.worker_id] = death
        return said

    @cached_property
    def kernel(self) -> dict[int, deaths.Death] | None:
        """The kernel's word, by pid; None where its log may not be read."""
        return deaths.kernel_kills()

    def of_call(self, call: Call) -> tuple[str, str | None, deaths.Death | None]:
        """Return cause, sentence and the raylet's or kernel's word for a call that was killed."""
        return self.of_worker(call.worker_id, call.pid, call.started_at)

    def of_worker(
        self, worker_id: str | None, pid: int, since: datetime
    ) -> tuple[str, str | None, deaths.Death | None]:
        """Return the same for a worker that was seen alive at `since`."""
        return deaths.how_it_ended(self._logs, worker_id, pid, since, self.raylet, self.kernel)

    def of(self, process: Mapping[str, Any]) -> tuple[str, str | None, deaths.Death | None]:
        """Return cause, sentence and the raylet's or kernel's word for a journal's `process` line."""
        try:
            since = datetime.fromtimestamp(process["created"], timezone.utc)
            return self.of_worker(process["worker_id"], process["pid"], since)
        except (KeyError, TypeError, ValueError, OverflowError):
            return "unknown", None, None


def _unknown(path: Path, known: dict[Path, Capture]) -> Capture:
    """A capture that no journal opened: its journal is gone, or a forked child of a traced process wrote it."""
    parent = known.get(path.with_suffix("")) if path.suffix != ".bin" else None
    pid = path.suffix[1:] if path.suffix != ".bin" else path.stem.rpartition("-")[0].rpartition("-")[2]
    return Capture(
        path=path,
        size=path.stat().st_size,
        status="closed",
        opened_at=None,
        closed_at=None,
        native=parent.native if parent else False,
        pid=int(pid) if pid.isdigit() else None,
        node_id=parent.node_id if parent else None,
        worker_id=parent.worker_id if parent else None,
        calls=0,
    )
