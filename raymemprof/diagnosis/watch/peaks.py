"""What was seen from the outside, read from every node: the highest memory of each process, by what it ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ... import cluster
from ...display.record import Record
from ...display.rows import Rows
from ...display.text import show_bytes, show_name
from ...ownership import Believed
from ...reading.catalog import sources
from ...reading.catalog.function_names import class_in_title, short
from ...reading.catalog.sources import Source
from .minute_peaks import Minutes, Peaks
from .minutes_file import path_of, paths_in, read_minutes

__all__ = ["SeenPeak", "SeenPeaks", "seen_peaks"]

_MINUTE = 60


@dataclass(frozen=True, slots=True)
class SeenPeak(Record):
    """What `watch()` saw of one task, actor class or method on one node. Sizes are bytes of RSS − SHR.

    A peak between two looks is not seen, nor is what a worker's child processes use.

    Attributes:
        name: the task, the actor's class, or `Actor.method`.
        kind: "task", "actor" (the class, whichever method runs) or "method".
        node_id: the node.
        memory: the highest memory of one process.
        at_once: the highest number of processes that ran it at once.
        together: the highest memory of these processes together.
        process_count: how many processes ran it, including those that are not in `memory_by_process`.
        memory_by_process: the highest memory of each process, by pid. If there are very many, only the largest.
        first_at: the minute in which it was first seen, UTC.
        last_at: the end of the minute in which it was last seen, UTC.
    """

    name: str
    kind: str
    node_id: str
    memory: int
    at_once: int
    together: int
    process_count: int
    memory_by_process: Mapping[int, int]
    first_at: datetime
    last_at: datetime


class SeenPeaks(Rows[SeenPeak]):
    """A sequence of `SeenPeak`, the largest first."""

    _title: ClassVar[tuple[str, str]] = ("name seen from the outside", "names seen from the outside")
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("name", lambda one: show_name(one.name), False),
        ("kind", lambda one: one.kind, False),
        ("node", lambda one: f"{one.node_id[:6]}…", False),
        ("highest seen", lambda one: show_bytes(one.memory), True),
        ("processes", lambda one: str(one.process_count), True),
        ("at once", lambda one: str(one.at_once), True),
        ("together", lambda one: show_bytes(one.together), True),
        ("seen (UTC)", lambda one: f"{one.first_at:%H:%M}–{one.last_at:%H:%M}", False),
    )
    _expendable: ClassVar[tuple[str, ...]] = ("seen (UTC)", "together")
    _if_various: ClassVar[tuple[str, ...]] = ("node",)

    def _notes(self) -> list[str]:
        said = "Memory (RSS − SHR) seen from the outside, once a second: a peak between two looks is not seen."
        return [*([said] if len(self) else []), *super()._notes()]


class _Node(NamedTuple):
    """What a node's file keeps: for each name its peaks over all minutes, the first of them and the last."""

    node_id: str
    names: dict[str, tuple[Peaks, int, int]]


def seen_peaks(source: Source = None, *, name: str | None = None, since: datetime | None = None) -> SeenPeaks:
    """Return what watchers saw of the connected cluster, or of a folder's session.

    Args:
        source: as `calls()` takes it.
        name: only this, or with `*`; an actor's class also where its methods are meant.
        since: only minutes that were not over by then.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: none is named, and several clusters run here.
    """
    first = 0 if since is None else int(since.timestamp() // _MINUTE)
    actors: Mapping[tuple[str, int], str] | None = None
    missing: tuple[cluster.MissingNode, ...] = ()
    left_out: list[str] = []
    if source is None and cluster.is_connected():
        answers = cluster.on_each_node(_read_here, first)
        nodes, missing = [one for one in answers.by_node.values() if one is not None], answers.missing
        if nodes:
            actors = cluster.actor_processes()
    else:
        nodes = []
        for folder in sources.find(source).paths:
            found, skipped = _read_folder(folder, first)
            nodes += found
            left_out += skipped
    rows = [row for node in nodes for row in _rows(node, actors)]
    wanted = [row for row in rows if name is None or any(fnmatchcase(one, name) for one in (row.name, f"{row.name}."))]
    wanted.sort(key=lambda row: (-row.memory, row.name, row.node_id))
    return SeenPeaks(wanted, missing=missing, left_out=left_out)


def _read_here(first: int) -> _Node | None:
    node_id, folder = cluster.here(), cluster.logs_directory()
    if node_id is None or folder is None:
        return None
    path = path_of(folder, node_id)
    if not path.exists() or Believed(folder).doubt(path) is not None:
        return None
    return _node(node_id, read_minutes(path), first)


def _read_folder(folder: Path, first: int) -> tuple[list[_Node], list[str]]:
    found, skipped = [], []
    for path in paths_in(folder):
        try:
            doubt = Believed(folder).doubt(path)
            if doubt is None:
                found.append(_node(path.stem.rpartition("-")[2], read_minutes(path), first))
            else:
                skipped.append(f"{path}: {doubt}")
        except OSError as error:
            skipped.append(f"{path}: {error.strerror or error}")
    return found, skipped


def _node(node_id: str, minutes: Minutes, first: int) -> _Node:
    names: dict[str, tuple[Peaks, int, int]] = {}
    for minute, there in sorted(minutes.by_minute.items()):
        if minute >= first:
            for name, peaks in there.items():
                known, since, _ = names.get(name, (Peaks(), minute, minute))
                known.fold(peaks.at_once, peaks.together, peaks.count, peaks.processes)
                names[name] = known, since, minute
    return _Node(node_id, names)


def _rows(node: _Node, actors: Mapping[tuple[str, int], str] | None) -> Iterator[SeenPeak]:
    of_methods: dict[str, set[int]] = {}
    for name, (peaks, _, _) in node.names.items():
        of_methods.setdefault(class_in_title(name) or "", set()).update(peaks.processes)
    for name, (peaks, since, until) in node.names.items():
        kind = _kind(name, node, of_methods.get(name, set()), actors)
        if kind is not None and peaks.processes:
            yield SeenPeak(
                name=name,
                kind=kind,
                node_id=node.node_id,
                memory=peaks.peak,
                at_once=peaks.at_once,
                together=peaks.together,
                process_count=peaks.count,
                memory_by_process=peaks.processes,
                first_at=datetime.fromtimestamp(since * _MINUTE, timezone.utc),
                last_at=datetime.fromtimestamp((until + 1) * _MINUTE, timezone.utc),
            )


def _kind(name: str, node: _Node, of_methods: set[int], actors: Mapping[tuple[str, int], str] | None) -> str | None:
    """Return what bears a name; None for what only looks like a class, as "my" of a task that is named "my.task".

    `of_methods` are the processes that ran what looks like its methods.

    Ray says which processes are actors, as far as it can be asked; else names of the form `Actor.method` do.
    """
    pids, own_class = node.names[name][0].processes, class_in_title(name)
    if actors is not None:
        theirs = [short(actors[node.node_id, pid]) for pid in pids if (node.node_id, pid) in actors]
        if short(name) in theirs:  # of an actor that was started anew Ray knows the latest process
            return "actor"
        if (own_class is not None and short(own_class) in theirs) or 2 * len(theirs) > len(pids):
            return "actor" if own_class is None else "method"
        return None if of_methods and pids.keys() <= of_methods else "task"
    if own_class is not None and not of_methods:
        return "method"
    return "actor" if of_methods else "task"
