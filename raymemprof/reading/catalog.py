"""What was recorded: finds journals and captures, and tells what became of each call."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timezone
from functools import cache, cached_property
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, NamedTuple

from .. import cluster
from .. import journal as contract
from ..errors import CaptureError
from ..events import STATUSES, is_figure
from ..ownership import Believed
from ..rows import Rows, printable, show_bytes, show_seconds
from . import deaths, serving, sources
from .sources import Source

__all__ = [
    "Call",
    "Calls",
    "Capture",
    "Captures",
    "ChildProcess",
    "Evidence",
    "Filters",
    "Journal",
    "Listing",
    "Place",
    "calls",
    "captures",
    "journals",
    "list_calls",
    "names",
    "place_here",
    "some_names",
]

_MOST_NAMES = 10
_RECENTLY = 3600.0
"""Seconds for which a process may have written nothing although it is there."""
KINDS = ("task", "actor", "method", "block")
_TEXT = (str, NoneType)


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
    lies_on: str | None = field(default=None, repr=False, compare=False)
    """The node that the file lies on, where the cluster was asked."""

    def __fspath__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class ChildProcess:
    """A process that a call started, or that such a one started.

    Attributes:
        pid: the process.
        name: what it runs: a script, a program, or for a fork the title of the worker.
        memory: bytes of RSS − SHR, of what it shares with relatives its part (Pss).
    """

    pid: int
    name: str
    memory: int


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
        memory_before: memory when it began, without child processes.
        peak_memory: the most memory while it ran, that of child processes included.
        growth: by how much that is above what there was when it began: `peak_memory` less `memory_before` and
            `children_before`; never negative. A worker that is reused has what earlier calls left in it, so the call
            with the largest peak may have used little: sort by `growth` to find the largest call. Of calls that run
            side by side in one process each has the growth of all.
        memory_after: memory when it ended, without child processes.
        capture: the capture file that holds its allocations; None where it was only sampled, or the file is gone.
        children_peak: what its child processes, and theirs, added to that when they had most; pages that they share
            with it count once. 0 where there were none.
        children: the largest of them when all had most together.
        children_count: how many there were then.
        children_copied: about how much of what they added then was copies of memory that forked children had from their
            parents, and wrote to; reading a Python object is a write. None where it is not known.
        children_before: what those that were there when it began added.
        own_peak: the most memory of the process alone.
        children_left: those that were still there when it ended.
        note: why it was not traced; or since when it is not known whether it still runs, on another machine.
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

    @property
    def growth(self) -> int:
        """By how much its process's memory, and its children's, rose above what they had when it began. Bytes."""
        return max(self.peak_memory - self.memory_before - self.children_before, 0)

    def as_dict(self) -> dict[str, Any]:
        """Return the call for JSON and pandas."""
        found: dict[str, Any] = {}
        for one in fields(self):
            if one.repr:
                found[one.name] = getattr(self, one.name)
            if one.name == "peak_memory":
                found["growth"] = self.growth
        return found


def _children(listed: Iterable[Any]) -> tuple[ChildProcess, ...]:
    found = []
    for entry in listed:
        with contextlib.suppress(TypeError, ValueError):  # a line that was damaged into other words
            pid, name, size = entry
            if is_figure(pid) and isinstance(name, str) and is_figure(size):
                found.append(ChildProcess(pid, name, size))
    return tuple(found)


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
        ("growth", lambda call: show_bytes(call.growth), True),
        ("after", lambda call: show_bytes(call.memory_after), True),
        ("children", lambda call: show_bytes(call.children_peak or None), True),
        ("pid", lambda call: str(call.pid), True),
        ("task", lambda call: _short(call.task_id, call.attempt), False),
        ("node", lambda call: _short_id(call.node_id), False),
        ("note", lambda call: call.error or call.note or "", False),
    )
    if_various: ClassVar[tuple[str, ...]] = ("node",)
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
        ("node", lambda capture: _short_id(capture.node_id), False),
    )
    if_various: ClassVar[tuple[str, ...]] = ("node",)


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
        source: a folder, or a journal or capture in one; None for all nodes of the cluster that this process is
            connected to, else the one cluster of this user's that runs on this machine, else what this user recorded
            to last, in a session or outside Ray. What was chosen is named above the table.
        name: only calls of this name: `task`, `Actor.method`, the last parts of a longer one, or with `*`.
        status: only "running", "finished", "failed", "cancelled" or "killed" ones.
        kind: only "task", "actor", "method" or "block".
        task_id: only this Ray task's.
        actor_id: only this Ray actor's.
        job_id: only this Ray job's.
        node_id: only this Ray node's. Of each id the beginning is enough.

    Returns:
        A sequence of `Call`, which prints as a table and has `to_pandas()`. Nodes that did not answer are named below
        the table and in its `missing`; its `left_out` says which journals cannot be read, and of which how many damaged
        lines were left out.

    Raises:
        FileNotFoundError: `source` does not exist.
        PermissionError: the way to it leads through a folder, or a link, that somebody else may have made.
        ValueError: `status` or `kind` is none of those named; or no source is, and several clusters run here.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> raymemprof.calls("/tmp/raymemprof-example", name="load")[-1].status
        'finished'
    """
    filters = Filters(name, status, kind, task_id, actor_id, job_id, node_id)
    if source is None and cluster.is_connected():
        answers = _ask_nodes(_calls_there, filters)
        listings = list(answers.by_node.values())
        chosen, caption, missing = "", _caption_of(answers), answers.missing
    else:
        folders, chosen = sources.find(source)
        listings = [list_calls(Place(source, tuple(folders)), filters)]
        caption, missing = "" if chosen else _caption(folders), ()
    found = [call for listing in listings for call in listing.calls]
    if len(listings) > 1:  # what a node recorded that is gone is told by each that shares its folder
        found = list(
            {(call.worker_id, call.pid, call.started_at, call.name, call.place): call for call in found}.values()
        )
    found.sort(key=lambda call: call.started_at)
    if not found:
        names = {name for listing in listings for name in listing.names}
        caption = ": ".join(filter(None, [caption, some_names(names)])) if names else caption
    skipped = [text for listing in listings for text in listing.skipped]
    return Calls(found, caption, missing, skipped).read_from(chosen)


@dataclass(frozen=True, slots=True)
class Filters:
    """What `calls` was asked for; None for what may be anything."""

    name: str | None = None
    status: str | None = None
    kind: str | None = None
    task_id: str | None = None
    actor_id: str | None = None
    job_id: str | None = None
    node_id: str | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not isinstance(value, _TEXT):
                raise TypeError(f"{one.name}={value!r} must be text, as calls() shows it.")
        if self.name is not None:
            object.__setattr__(self, "name", contract.well_formed(self.name))  # as names are read
        _check("status", self.status, STATUSES)
        _check("kind", self.kind, KINDS)

    def fit(self, call: Call) -> bool:
        """Whether a call is one of those."""
        return (
            (self.name is None or names(self.name, call.name))
            and (self.status is None or call.status == self.status)
            and (self.kind is None or call.kind == self.kind)
            and _begins(call.task_id, self.task_id)
            and _begins(call.actor_id, self.actor_id)
            and _begins(call.job_id, self.job_id)
            and _begins(call.node_id, self.node_id)
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look, and for whose recordings: nodes may share a folder, and each tells of its own."""

    source: Source
    folders: tuple[Path, ...]
    node_id: str | None = None
    """The node that looks, where the cluster was asked."""
    others: frozenset[str] = frozenset()
    """The nodes that are asked as well."""

    def is_told_here(self, recorded_on: str | None) -> bool:
        """Whether what a node recorded is told of here: its own tells, or where that is gone, any that can."""
        return recorded_on not in self.others or recorded_on == self.node_id


class Listing(NamedTuple):
    """What was found in a place."""

    calls: list[Call]
    names: set[str]
    """Of all calls there are, also those that were not asked for."""
    skipped: list[str]
    """A few words on each journal that cannot be read, or not all of it."""


def _ask_nodes(function: Callable[..., Any], filters: Filters) -> cluster.Answers:
    """Have each node list what was recorded on it."""
    living = frozenset(node.node_id for node in cluster.nodes() if node.is_alive)
    return cluster.on_each_node(function, filters, living, node_id=filters.node_id)


def place_here(living: frozenset[str]) -> Place:
    """What a node tells of when it is asked together with all that live."""
    return Place(None, tuple(serving.folders()), cluster.here(), living)


def _calls_there(filters: Filters, living: frozenset[str]) -> Listing:
    return list_calls(place_here(living), filters)


def _captures_there(filters: Filters, living: frozenset[str]) -> tuple[list[Capture], list[str]]:
    return _list_captures(place_here(living), filters)


def _caption_of(answers: cluster.Answers) -> str:
    if len(answers.by_node) == 1:
        own = cluster.here()
        return _caption(serving.folders()) if own in answers.by_node else "on one node"
    return f"on {len(answers.by_node)} nodes"


def list_calls(place: Place, filters: Filters) -> Listing:
    """Return the calls that fit."""
    found: list[Call] = []
    names: set[str] = set()
    skipped: list[str] = []
    for journal in journals(place, skipped):
        there = list(journal.calls())
        names.update(call.name for call in there)
        found.extend(call for call in there if filters.fit(call))
        skipped += journal.damage()
    only = _only_capture(place.source)
    if only is not None:
        found = [call for call in found if call.capture == only]
    return Listing(found, names, skipped)


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
    filters = Filters(name, status, kind, task_id, actor_id, job_id, node_id)
    if source is None and cluster.is_connected():
        answers = _ask_nodes(_captures_there, filters)
        found = {capture.path.name: capture for there, _ in answers.by_node.values() for capture in there}
        kept, skipped = list(found.values()), [text for _, texts in answers.by_node.values() for text in texts]
        chosen, caption, missing = "", _caption_of(answers), answers.missing
    else:
        folders, chosen = sources.find(source)
        kept, skipped = _list_captures(Place(source, tuple(folders)), filters)
        caption, missing = "" if chosen else _caption(folders), ()
    kept.sort(key=lambda capture: (capture.opened_at is None, capture.opened_at or 0, capture.path))
    return Captures(kept, caption, missing, skipped).read_from(chosen)


def _list_captures(place: Place, filters: Filters) -> tuple[list[Capture], list[str]]:
    wanted = None
    if filters != Filters():
        wanted = {call.capture for call in list_calls(place, filters).calls}
    skipped: list[str] = []
    known: dict[Path, Capture] = {}
    elsewhere: set[Path] = set()
    for journal in journals(replace(place, others=frozenset()), skipped):
        there = {capture.path: capture for capture in journal.captures()}
        if place.is_told_here(journal.node_id):
            known.update(there)
            skipped += journal.damage()
        else:
            elsewhere.update(there)
    for folder in place.folders:
        believed = Believed(folder)
        for name in os.listdir(folder):
            path = folder / name
            parent = path.with_suffix("") if path.suffix != ".bin" else path
            if contract.is_capture(name) and path not in known and not {path, parent} & elsewhere:
                with contextlib.suppress(FileNotFoundError):  # removed since the folder was listed
                    doubt = believed.doubt(path)
                    if doubt is None:
                        known[path] = _unknown(path, known, place.node_id)
                    else:
                        skipped.append(f"{name} is not read: {doubt}")
    only = _only_capture(place.source)
    return [
        capture
        for path, capture in known.items()
        if (wanted is None or path in wanted) and (only is None or path == only)
    ], skipped


def some_names(names: set[str]) -> str:
    """Name what was recorded where nothing fits."""
    shown = sorted(names)[:_MOST_NAMES]
    return "calls of " + printable(", ".join(shown)) + (", …" if len(names) > len(shown) else "")


def _check(what: str, value: str | None, values: tuple[str, ...]) -> None:
    if value is not None and value not in values:
        raise ValueError(f"{what}={value!r} is none of {', '.join(values)}.")


def names(pattern: str, name: str) -> bool:
    """Whether a call's name is one that was asked for: it, the last parts of it, or a pattern."""
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


def _short_id(node_id: str | None) -> str:
    return f"{node_id[:8]}…" if node_id else ""


def _caption(folders: list[Path]) -> str:
    return "in " + ", ".join(map(str, folders))


def _only_capture(source: Source) -> Path | None:
    """Return the capture, where that is what the source names."""
    if source is None:
        return None
    path = Path(source).absolute()
    return path if path.is_file() and not contract.is_journal(path.name) else None


def journals(place: Place, skipped: list[str]) -> Iterator[Journal]:
    """Yield the journals of the folders, or the one journal that the source names.

    A few words are added to `skipped` for each that cannot be read; of the one that the source names it is raised.
    """
    is_named = place.source is not None and contract.is_journal(Path(place.source).name)
    if place.source is not None and is_named:
        paths: Iterable[Path] = [Path(place.source).absolute()]
    else:
        paths = (
            folder / name
            for folder in place.folders
            for name in sorted(os.listdir(folder))
            if contract.is_journal(name)
        )
    evidence = cache(Evidence)
    known: dict[Path, Believed] = {}
    for path in paths:
        try:
            believed = known.get(path.parent) or known.setdefault(path.parent, Believed(path.parent))
            doubt = None if is_named else believed.foreign(path.lstat())
            if doubt is not None:
                skipped.append(f"{path.name} is not read: {doubt}")
                continue
            journal = Journal(path, evidence, place.node_id, believed)
        except FileNotFoundError:
            continue  # removed since the folder was listed
        except OSError as error:
            if is_named:
                raise CaptureError(path, f"it cannot be read: {error.strerror}.") from None
            skipped.append(f"{path.name} cannot be read: {error.strerror}")
            continue
        if place.is_told_here(journal.node_id):
            yield journal


class Journal:
    """One process's journal, read whole."""

    def __init__(
        self, path: Path, evidence: Callable[[Path], Evidence], lies_on: str | None, believed: Believed
    ) -> None:
        self.path = path
        self._believed = believed
        self._folder = path.parent
        self._lies_on = lies_on
        self._process: dict[str, Any] = {}
        self._begins: dict[int, dict[str, Any]] = {}
        self._ends: dict[int, dict[str, Any]] = {}
        self._peaks: dict[int, int] = {}
        self._children: dict[int, dict[str, Any]] = {}
        self._opens: dict[str, dict[str, Any]] = {}
        self._closes: dict[str, float] = {}
        self._fetched: dict[str, Any] | None = None
        self._left_out = 0
        lines = contract.read_lines(path)
        for line in lines:
            self._take(line)
        self._left_out += lines.left_out
        logs = self._process.get("logs")
        self._evidence = evidence(Path(logs) if logs else self._folder)
        self._fate: tuple[str, str | None, str | None] | None = None
        self._exists: dict[str, Path | None] = {}
        self._doubts: dict[str, str] = {}
        """Why what lies in a capture's place is none, in a sentence without its full stop."""

    def _take(self, line: dict[str, Any]) -> None:
        event = line["event"]
        capture = line.get("capture")
        if capture is not None and not _may_name(event, capture):
            self._left_out += 1
            return
        if event == "begin":
            self._begins[line["call"]] = line
        elif event == "end":
            self._ends[line["call"]] = line
        elif event == "peak":
            for number in line["calls"]:
                self._peaks[number] = max(self._peaks.get(number, 0), line["memory"])
        elif event == "children":
            for number in line["calls"]:
                if line["total"] >= self._children.get(number, line)["total"]:
                    self._children[number] = line
        elif event == "open":
            self._opens[line["capture"]] = line
        elif event == "close":
            self._closes[line["capture"]] = line["time"]
        elif event == "process":
            self._process = self._process or line  # it has one, which is its first
        elif event == "fetched":
            self._fetched = line

    @property
    def may_be_running(self) -> bool:
        """Whether its process may still write; of another machine's that shares the folder nobody here can tell."""
        if self._is_copy:
            return False
        if not self._is_of_another_machine:
            return contract.is_alive(self._process)
        written = [self.path, *(self._folder / name for name in self._opens if name not in self._closes)]
        return any(path.exists() and time.time() - path.stat().st_mtime < _RECENTLY for path in written)

    @property
    def _is_copy(self) -> bool:
        """Whether it was fetched, as far as it says so or the journal that its process writes is seen here."""
        logs = self._process.get("logs")
        if self._fetched is not None or not logs:
            return self._fetched is not None
        try:
            return not os.path.samefile(Path(logs, self.path.name), self.path)
        except OSError:  # it is not in Ray's logs, or these are not on this machine
            return False

    @property
    def _is_of_another_machine(self) -> bool:
        return self._process.get("host") not in (None, socket.gethostname())

    def opened(self) -> dict[str, bool]:
        """Return the names of the captures that it tells of, and whether each may still be written to."""
        return {name: name not in self._closes and self.may_be_running for name in self._opens}

    def last_word(self) -> dict[str, Any] | None:
        """Return the line to end a copy on another machine with; None where nothing is left to be said."""
        is_told = self._ends.keys() >= self._begins.keys() and self._closes.keys() >= self._opens.keys()
        if is_told or (self._fetched is not None and self._is_of_another_machine):
            return None
        status, error, _ = self._unfinished()
        return {"event": "fetched", "time": time.time(), "status": status, "error": error}

    @property
    def node_id(self) -> str | None:
        """The node that recorded it."""
        return self._process.get("node_id")

    def damage(self) -> list[str]:
        """Return a few words on what could not be read of it, if there is anything."""
        count = self._left_out
        return [f"{self.path.name}: {count} damaged line{'s' * (count != 1)} left out"] if count else []

    def calls(self) -> Iterator[Call]:
        """Yield the calls, in the order in which they began."""
        pid, node_id, worker_id = (self._process.get(key) for key in ("pid", "node_id", "worker_id"))
        for number, begin in self._begins.items():
            end = self._ends.get(number)
            if end is not None:
                status, error, note = end["status"], end["error"], end.get("note")
                duration, after, peak = end["duration"], end["memory"], end["peak"]
                if status == "failed" and (error or "").startswith("SystemExit"):
                    status, error = self._told_to_end(status, error)
            else:
                status, error, note = self._unfinished()
                duration, after = None, None
                peak = max(self._peaks.get(number, 0), begin["memory"])
            slot = begin.get("slot")
            capture = self._capture(begin.get("capture"))
            family = self._children.get(number, {})
            # Those that were there when it began may have gone before they were looked at again.
            children_before = begin.get("children", 0)
            total = max(family.get("total", 0), (end or {}).get("total", 0), begin["memory"] + children_before)
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
                max(peak, total),
                after,
                capture,
                begin.get("note") or note or self._doubts.get(begin.get("capture") or ""),
                None if slot is None else (slot, begin["turn"]),
                self._lies_on,
                max(family.get("memory", 0), (end or {}).get("children", 0), children_before),
                _children(family.get("largest", ())),
                _children((end or {}).get("left", ())),
                family.get("count", 0),
                children_before,
                peak,
                family.get("copied"),
            )

    def _capture(self, name: str | None) -> Path | None:
        """Return the capture's path if the file is there."""
        if name is None:
            return None
        if name not in self._exists:
            path = self._folder / name
            with contextlib.suppress(OSError, ValueError):  # it is not there, or is no path at all
                doubt = self._believed.doubt(path)
                if doubt is not None:
                    self._doubts[name] = f"the file in its capture's place is not read: {doubt}"
            self._exists[name] = path if os.path.exists(path) and name not in self._doubts else None
        return self._exists[name]

    def captures(self) -> Iterator[Capture]:
        """Yield the captures that are still there."""
        counts: dict[str, int] = {}
        for begin in self._begins.values():
            if begin.get("capture") is not None:
                counts[begin["capture"]] = counts.get(begin["capture"], 0) + 1
        for name, line in self._opens.items():
            with contextlib.suppress(OSError):  # the file is gone
                yield self._opened(name, line, counts.get(name, 0))

    def _opened(self, name: str, line: dict[str, Any], calls: int) -> Capture:
        path = self._folder / name
        file = path.lstat()
        if self._believed.doubt_of(file) is not None:
            raise FileNotFoundError(path)
        closed = self._closes.get(name)
        is_open = closed is None and self._unfinished()[0] == "running"
        status = "closed" if closed is not None else "open" if is_open else "killed"
        return Capture(
            path=path,
            size=file.st_size,
            status=status,
            opened_at=datetime.fromtimestamp(line["time"], timezone.utc),
            closed_at=None if closed is None else datetime.fromtimestamp(closed, timezone.utc),
            native=bool(line.get("native")),
            pid=self._process.get("pid"),
            node_id=self._process.get("node_id"),
            worker_id=self._process.get("worker_id"),
            calls=calls,
            lies_on=self._lies_on,
        )

    def _unfinished(self) -> tuple[str, str | None, str | None]:
        """What became of a call whose end was not written: its status, what ended the process, and a note."""
        if self._fate is None:
            # Where the cluster is asked, a living node tells of its own processes: this one's node is gone.
            if not self._process:
                self._fate = ("running", None, "which process it was is damaged: whether it still runs is not known")
            elif self._is_of_another_machine and self._lies_on is None:
                self._fate = self._as_of_the_fetch()
            elif contract.is_alive(self._process):
                self._fate = ("running", None, None)
            else:
                _, reason, _ = self._evidence.of(self._process)
                cancelled = reason is not None and "force ray.cancel" in reason
                self._fate = ("cancelled" if cancelled else "killed", reason, None)
        return self._fate

    def _told_to_end(self, status: str, error: str | None) -> tuple[str, str | None]:
        """What became of a call that a SIGTERM ended, which is how Ray's memory monitor kills at first."""
        death = self._evidence.raylet.get((self._process.get("pid") or 0, self._process.get("worker_id")))
        if death is not None and death.cause == "ray_memory_monitor":
            return "killed", "killed by Ray's memory monitor"
        return status, error

    def _as_of_the_fetch(self) -> tuple[str, str | None, str | None]:
        """What is known of a process on another machine, which nobody here can look for."""
        host = self._process["host"]
        if self._fetched is None:
            return "running", None, f"it ran on {host}: whether it still does cannot be told here"
        status, error = self._fetched["status"], self._fetched["error"]
        when = datetime.fromtimestamp(self._fetched["time"], timezone.utc)
        return status, error, f"as of {when:%Y-%m-%d %H:%M} UTC, when it was fetched" if status == "running" else None


def _may_name(event: str, capture: str) -> bool:
    """Whether a line may name such a capture: one in its folder, or whole if a call joined one that lies elsewhere."""
    folder, _, name = capture.rpartition("/")
    is_name = contract.is_ours(name) and contract.is_capture(name)
    return is_name and (not folder or (event == "begin" and os.path.isabs(folder)))


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
        if process.get("created") is None or process.get("pid") is None:
            return "unknown", None, None
        since = datetime.fromtimestamp(process["created"], timezone.utc)
        return self.of_worker(process.get("worker_id"), process["pid"], since)


def _unknown(path: Path, known: dict[Path, Capture], lies_on: str | None) -> Capture:
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
        pid=int(pid) if pid.isdecimal() else None,
        node_id=parent.node_id if parent else lies_on,
        worker_id=parent.worker_id if parent else None,
        calls=0,
        lies_on=lies_on,
    )
