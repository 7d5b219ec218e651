"""`fetch()`: brings captures here from the nodes that they lie on, checked, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ... import cluster
from ... import journal as contract
from ...display.progress import progress
from ...display.record import plain
from ...display.refusals import short_traceback
from ...display.text import printable
from ...errors import CaptureError
from ...ownership import absolute, make_folder
from ..captures.forked_children import captures_of_forks, is_written
from ..catalog import fetchable
from ..catalog.places import Place, processes
from ..catalog.process import RecordedProcess
from ..catalog.sums_cache import read_sums
from ..reports.targets import Target, locate
from . import object_store_transfer, socket_transfer
from .incoming_file import Arrival, File, Source, State, state_of, sweep

__all__ = ["Fetched", "fetch"]

_ATTEMPTS = 3
"""How often a file is begun anew that changes while it is brought."""


class Fetched(list[Path]):
    """The captures' paths here.

    Attributes:
        left_out: a sentence for each capture or node that could not be fetched.
        notes: sentences on what arrived, such as a journal that lists fewer calls than the copy that it replaced.
    """

    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    def __init__(self, paths: Iterable[Path] = (), left_out: Iterable[str] = (), notes: Iterable[str] = ()) -> None:
        super().__init__(paths)
        self.left_out = tuple(map(printable, left_out))
        self.notes = tuple(map(printable, notes))

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), *self.left_out, *self.notes])

    def to_json(self) -> str:
        """Return a JSON array of the paths."""
        return json.dumps(plain(self), indent=2)


@short_traceback
def fetch(target: Target, to: str | os.PathLike[str] = ".") -> Fetched:
    """Copy captures, their journals, and the source texts of their code from all nodes to this machine.

    A node connects to a free port at this process's address and sends its files unencrypted, as Ray itself does. If it
    cannot connect, with Ray Client, and with `RAY_USE_TLS`, it sends them through Ray's object store.

    A file gets its name when it is complete and has the checksum that the node gave. A file that is already here with
    the same size and modification time is not copied again. `raymemprof.calls(to)` lists what arrived, here or on
    another machine.

    Args:
        target: a `Call`, a `Capture`, a capture's path or name on its node, or several of these.
        to: the folder to copy them to. It is created if it does not exist.

    Returns:
        A list of the paths of the copies, in the order of the target. Its `left_out` has a sentence for each capture or
        node that could not be fetched. All others have arrived.

    Raises:
        CaptureError: nothing can be copied, because a capture is gone or its node does not answer.
        FileNotFoundError: no node has a file of any of these names.
        OSError: the folder cannot be written to.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> load = raymemprof.calls("/tmp/raymemprof-example", name="load")[-1]
        >>> raymemprof.fetch(load, to="/tmp/raymemprof-fetched")[0].parent.name
        'raymemprof-fetched'
    """
    places = locate(target)
    folder = absolute(to)
    if os.path.exists(folder) and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder; give one to fetch to, or the name of a new one.")
    make_folder(folder)
    sweep(folder)
    sources = [Source(path, node_id) for node_id, path in places.captures]
    delivery = _Delivery(folder)
    for error in places.lacking:
        delivery.miss(error)
    delivery.missing.update(dict.fromkeys(places.untraced))
    for node in getattr(target, "missing", ()):
        if isinstance(node, cluster.MissingNode):  # what it has could not be listed
            delivery.missing[str(node)] = None
    delivery.bring(sources)
    arrived = [delivery.arrived[source] for source in sources if source in delivery.arrived]
    if delivery.error is not None and not arrived:
        raise delivery.error
    return Fetched(dict.fromkeys(arrived), delivery.missing, delivery.notes)


@dataclass(eq=False)
class _Delivery:
    """Captures that are brought to a folder: what has arrived, and what could not be had."""

    folder: Path
    arrived: dict[Source, Path] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)
    """Sentences."""
    notes: dict[str, None] = field(default_factory=dict)
    """Sentences on what has arrived."""
    error: Exception | None = None
    """The first of what could not be had, as it is raised where nothing else could."""
    _named: dict[str, tuple[Source, State]] = field(default_factory=dict)
    """Which capture is brought under a name."""

    def miss(self, error: Exception, sentence: str | None = None) -> None:
        """Note what cannot be had."""
        self.missing[sentence or str(error)] = None
        self.error = self.error or error

    def bring(self, sources: list[Source]) -> None:
        """Bring all that can be brought; raises `OSError` where the folder cannot be written to."""
        wanted = []
        for source in sources:
            if contract.is_capture(source.path.name):
                wanted.append(source)
            else:
                why = "it is refused: only captures that raymemprof recorded are fetched."
                self.miss(CaptureError(source.path, why))
        for _ in range(_ATTEMPTS):
            if wanted:
                wanted = self._attempt(wanted)
        for source in wanted:
            why = f"it changed each of the {_ATTEMPTS} times that it was fetched."
            self.miss(CaptureError(source.path, why))

    def _attempt(self, sources: list[Source]) -> list[Source]:
        """Bring captures, each after its journal; returns those that changed meanwhile."""
        arrivals: dict[str, Arrival] = {}
        captures: dict[Source, list[str]] = {}
        for source, files in self._of_one_name(self._found(sources)):
            captures[source] = [file.name for file in files]
            for file in files:
                known = arrivals.get(file.name)
                if known is None or known.file.state.size < file.state.size:  # of a journal's copies the longest
                    arrivals[file.name] = Arrival(file, source, self.folder)
        by_node: dict[str | None, list[Arrival]] = {}
        for arrival in arrivals.values():
            if arrival.is_here():
                arrival.is_whole = True
            else:
                by_node.setdefault(arrival.source.node_id, []).append(arrival)
        total = sum(arrival.file.state.size for of_node in by_node.values() for arrival in of_node)
        lost: dict[str, cluster.MissingNode] = {}
        try:
            with progress("fetching", total, in_bytes=True) as done:
                object_store_transfer.copy(by_node.pop(None, []), done)
                lost = _receive({str(node_id): of_node for node_id, of_node in by_node.items()}, done)
        finally:
            for arrival in arrivals.values():
                arrival.drop()
        again = []
        for source, names in captures.items():
            of_source = [arrivals[name] for name in names]
            capture = of_source[-1]
            if capture.is_whole:
                self.arrived[source] = capture.final
            troubled = [arrival for arrival in of_source if arrival.trouble is not None]
            for one in of_source:
                if one.fewer:
                    self.notes[
                        f"{one.final}: {one.fewer:,} calls that it listed are only in sums now, as in the journal "
                        "that it is a copy of."
                    ] = None
            for arrival in troubled:
                path = source.path.with_name(arrival.file.name)
                node = lost.get(arrival.source.node_id or "")
                self.miss(CaptureError(path, str(arrival.trouble)), str(node) if node else None)
            if not troubled and any(arrival.has_changed for arrival in of_source):
                self.arrived.pop(source, None)
                again.append(source)
        return again

    def _found(self, sources: list[Source]) -> Iterator[tuple[Source, list[File]]]:
        """Ask each node once, all at once, for what it has of all that is wanted."""
        by_node: dict[str | None, list[Source]] = {}
        for source in sources:
            by_node.setdefault(source.node_id, []).append(source)
        here = by_node.pop(None, [])
        answers = cluster.on_nodes(
            _look_there,
            {str(node_id): ([source.path.name for source in asked],) for node_id, asked in by_node.items()},
        )
        for node in answers.missing:
            for source in by_node[node.node_id]:
                self.miss(CaptureError(source.path, f"it cannot be fetched: {node}."), str(node))
        found = dict(zip(here, _look([source.path for source in here]), strict=True))
        for node_id, files in answers.by_node.items():
            found.update(zip(by_node[node_id], files, strict=True))
        for source in sources:
            answer = found.get(source)
            if isinstance(answer, CaptureError):
                self.miss(CaptureError(source.path, answer.reason))
            elif answer is not None:
                yield source, answer

    def _of_one_name(self, found: Iterable[tuple[Source, list[File]]]) -> Iterator[tuple[Source, list[File]]]:
        """Pass over what would take the place of another file: names are unique, but not where somebody copied."""
        for source, files in found:
            state = files[-1].state
            first, other = self._named.get(source.path.name, (source, state))
            if first == source:
                self._named[source.path.name] = (source, state)
                yield source, files
            elif (other.size, other.changed) != (state.size, state.changed):  # else it is the same, and brought once
                why = f"{first.path} has the same name, and is another: fetch this one to a folder of its own."
                self.miss(CaptureError(source.path, why))


def _look_there(names: list[str]) -> list[list[File] | CaptureError]:
    """Look for captures by their names, where they lie."""
    paths = [_allowed(name) for name in names]
    found = iter(_look([path for path in paths if isinstance(path, Path)]))
    return [next(found) if isinstance(path, Path) else path for path in paths]


def _allowed(name: str) -> Path | CaptureError:
    try:
        return fetchable.path_of(name)
    except CaptureError as error:
        return error


def _look(paths: list[Path]) -> list[list[File] | CaptureError]:
    """Return for each capture what is to be brought: its journal, if there is one, source texts, children's, and it."""
    owners: dict[Path, tuple[RecordedProcess, bool]] = {}
    for folder in {path.parent for path in paths}:
        with contextlib.suppress(OSError):  # then its captures are not there either, which is said of each
            for process in processes(Place(None, (folder,)), [], read_sums):
                for name, is_open in process.opened().items():
                    owners[folder / name] = (process, is_open)
    found: list[list[File] | CaptureError] = []
    files: dict[Path, list[File]] = {}
    for path in paths:
        # A forked child's capture is told of by the journal of its parent.
        owner = owners.get(path) or owners.get(path.with_suffix(""))
        try:
            capture = File(path.name, state_of(path), owner is not None and owner[1])
            children = [File(one.name, state_of(one), is_written(one.name)) for one in captures_of_forks(path)]
            if owner is None:
                found.append([capture])
                continue
            told_by = owner[0]
            if told_by.path not in files:
                word = told_by.last_word()
                line = f"{json.dumps(word)}\n".encode() if word else b""
                journal = File(told_by.path.name, state_of(told_by.path), bool(line), line)
                files[told_by.path] = [journal, *_source_texts(told_by.path)]
        except OSError as error:
            found.append(CaptureError(path, f"it cannot be fetched: {error.strerror}."))
        else:
            # The journal goes first: one that was written before its capture tells of nothing that is not in that.
            found.append([*files[told_by.path], *children, capture])
    return found


def _source_texts(journal: Path) -> Iterator[File]:
    """Yield the texts that a journal names, as far as they are there."""
    for name in sorted(contract.named_sources(journal)):
        with contextlib.suppress(OSError):
            yield File(name, state_of(journal.with_name(name)), False)


def _receive(by_node: dict[str, list[Arrival]], done: Callable[[int], object]) -> dict[str, cluster.MissingNode]:
    """Bring files from nodes, the fast way where there is one; returns the nodes that were lost meanwhile."""
    lost: dict[str, cluster.MissingNode] = {}
    for way in (socket_transfer.receive, object_store_transfer.receive):
        to_come: dict[str, list[Arrival]] = {}
        for node_id, arrivals in by_node.items():
            for arrival in arrivals:
                if not arrival.is_settled:
                    to_come.setdefault(node_id, []).append(arrival)
        if to_come:
            lost |= way(to_come, done)
    return lost
