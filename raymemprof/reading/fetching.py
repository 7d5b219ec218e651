"""`fetch()`: brings captures here from the nodes that they lie on, in pieces, checked, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import socket
import stat
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from .. import cluster
from .. import journal as contract
from ..errors import CaptureError
from ..progress import progress
from . import serving
from .catalog import Journal, Place, journals
from .targets import Target, places_of

__all__ = ["Fetched", "fetch"]

_PIECE = 16 * 2**20
"""Bytes of a large file, or of many small ones, that a node hands out at a time: with less or more Ray is slower."""
_MOST_FILES = 500
"""Files of which a piece may be."""
_BYTES_AT_ONCE = 4 * _PIECE
"""How much is on its way: so much lies in the object store, and little more."""
_PIECES_AT_ONCE = 32
_PIECES_OF_A_NODE = 4
_ATTEMPTS = 3
"""How often a file is begun anew that changes while it is brought."""
_LOOK = 0.5
"""Seconds between looks at who is silent."""
_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())
_PART = re.compile(rf"^\.{contract.PREFIX}.*\.{_HOST[:50]}\.(\d+)\.part$")
"""The name of a file on its way: its own, and the host and pid of who brings it."""


class Fetched(list[Path]):
    """The captures' paths here.

    Attributes:
        missing: a sentence for each capture or node that could not be had.
    """

    def __init__(self, paths: Iterable[Path] = (), missing: Iterable[str] = ()) -> None:
        super().__init__(paths)
        self.missing = tuple(missing)

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), *self.missing])


@dataclass(frozen=True, slots=True)
class _State:
    """What a file is like: its size, its time of change in nanoseconds, and what it is on its disk."""

    size: int
    changed: int
    inode: int


@dataclass(frozen=True, slots=True)
class _File:
    """A file to bring, as it was where it lies."""

    name: str
    state: _State
    is_open: bool
    """Whether there may be more to it that its time of change does not show, so that it is brought each time.

    A capture is written through a mapping; what became of a process shows in no file.
    """
    last_line: bytes = b""
    """What to end the copy of a journal with."""

    def is_as_before(self, now: _State) -> bool:
        """Whether what was read of it meanwhile is of one and the same file; what is added later is not missed."""
        if self.is_open or contract.is_journal(self.name):
            return now.inode == self.state.inode and now.size >= self.state.size
        return now == self.state


@dataclass(frozen=True, slots=True)
class _Source:
    """A capture to bring, and the node it lies on; None for this machine."""

    path: Path
    node_id: str | None


def fetch(target: Target, to: str | os.PathLike[str] = ".") -> Fetched:
    """Bring captures, and the journals that say what is in them, from the nodes that they lie on.

    A file arrives under its name when it is whole and every piece of it had the checksum that the node gave; one that
    is there already with the same size and time of change is not brought again. `raymemprof.calls(to)` lists what
    arrived, here or on another machine.

    Args:
        target: a `Call`, a `Capture`, a capture's path or name on its node, or several of these.
        to: the folder to bring them to; it is made if it does not exist.

    Returns:
        The captures' paths here, a list with one for each capture, in the target's order. Its `missing` has a sentence
        for each capture or node that could not be had; all others have arrived.

    Raises:
        CaptureError: nothing of the target can be brought: a capture is gone, or its node does not answer.
        FileNotFoundError: no node has a file of this name, nor any other of the target.
        OSError: the folder cannot be written to.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> load = raymemprof.calls("/tmp/raymemprof-example", name="load")[-1]
        >>> raymemprof.fetch(load, to="/tmp/raymemprof-fetched")[0].parent.name
        'raymemprof-fetched'
    """
    folder = Path(to).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    places = places_of(target)
    sources = [_Source(path, node_id) for node_id, path in places.captures]
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
    return Fetched(dict.fromkeys(arrived), delivery.missing)


@dataclass(eq=False, slots=True)
class _Arrival:
    """A file on its way to a folder here."""

    file: _File
    source: _Source
    folder: Path
    trouble: str | None = None
    """Why it did not arrive."""
    has_changed: bool = False
    is_whole: bool = False
    _descriptor: int | None = None
    _written: int = 0

    @property
    def final(self) -> Path:
        return self.folder / self.file.name

    @property
    def _part(self) -> Path:
        return self.folder / f".{self.file.name[:150]}.{threading.get_ident()}.{_HOST[:50]}.{os.getpid()}.part"

    def is_here(self) -> bool:
        """Whether there is nothing to bring."""
        if self.source.node_id is None and self.source.path.with_name(self.file.name) == self.final:
            return True
        return not self.file.is_open and (self.file.state.size, self.file.state.changed) == _size_and_change(self.final)

    def take(self, offset: int, data: memoryview, answer: _State | CaptureError) -> None:
        """Write a piece of it, and give it its name when it is whole."""
        if self.trouble is not None or self.has_changed:
            return
        if isinstance(answer, CaptureError):
            self.fail(answer.reason)
        elif not self.file.is_as_before(answer):
            self.has_changed = True
            self.drop()
        else:
            if self._descriptor is None:
                self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            _write(self._descriptor, data, offset)
            self._written += len(data)
            if self._written == self.file.state.size:
                self._finish(self._descriptor)

    def _finish(self, descriptor: int) -> None:
        _write(descriptor, memoryview(self.file.last_line), self.file.state.size)
        os.close(descriptor)
        self._descriptor = None
        if not self.file.is_open:
            os.utime(self._part, ns=(self.file.state.changed, self.file.state.changed))
        os.replace(self._part, self.final)
        self.is_whole = True

    def fail(self, why: str) -> None:
        """Give it up."""
        self.trouble = self.trouble or why
        self.drop()

    def drop(self) -> None:
        """Leave nothing of what has not arrived."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self._part.unlink(missing_ok=True)


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    while len(data):
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


_Piece = list[tuple[_Arrival, int, int]]
"""Parts of files that are handed out together: of which, from where, and how many bytes."""


@dataclass(eq=False)
class _Delivery:
    """Captures that are brought to a folder: what has arrived, and what could not be had."""

    folder: Path
    arrived: dict[_Source, Path] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)
    """Sentences."""
    error: Exception | None = None
    """The first of what could not be had, as it is raised where nothing else could."""
    _named: dict[str, tuple[_Source, _State]] = field(default_factory=dict)
    """Which capture is brought under a name."""

    def miss(self, error: Exception, sentence: str | None = None) -> None:
        """Note what cannot be had."""
        self.missing[sentence or str(error)] = None
        self.error = self.error or error

    def bring(self, sources: list[_Source]) -> None:
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

    def _attempt(self, sources: list[_Source]) -> list[_Source]:
        """Bring captures, each after its journal; returns those that changed meanwhile."""
        arrivals: dict[str, _Arrival] = {}
        captures: dict[_Source, list[str]] = {}
        for source, files in self._of_one_name(self._found(sources)):
            captures[source] = [file.name for file in files]
            for file in files:
                known = arrivals.get(file.name)
                if known is None or known.file.state.size < file.state.size:  # of a journal's copies the longest
                    arrivals[file.name] = _Arrival(file, source, self.folder)
        by_node: dict[str | None, list[_Arrival]] = {}
        for arrival in arrivals.values():
            if arrival.is_here():
                arrival.is_whole = True
            else:
                by_node.setdefault(arrival.source.node_id, []).append(arrival)
        total = sum(arrival.file.state.size for of_node in by_node.values() for arrival in of_node)
        lost: dict[str, cluster.MissingNode] = {}
        try:
            with progress("fetching", total, in_bytes=True) as done:
                _copy(by_node.pop(None, []), done)
                if by_node:
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
            for arrival in troubled:
                path = source.path.with_name(arrival.file.name)
                node = lost.get(arrival.source.node_id or "")
                self.miss(CaptureError(path, str(arrival.trouble)), str(node) if node else None)
            if not troubled and any(arrival.has_changed for arrival in of_source):
                self.arrived.pop(source, None)
                again.append(source)
        return again

    def _found(self, sources: list[_Source]) -> Iterator[tuple[_Source, list[_File]]]:
        """Ask each node once, all at once, for what it has of all that is wanted."""
        by_node: dict[str | None, list[_Source]] = {}
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

    def _of_one_name(self, found: Iterable[tuple[_Source, list[_File]]]) -> Iterator[tuple[_Source, list[_File]]]:
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


def _look_there(names: list[str]) -> list[list[_File] | CaptureError]:
    """Look for captures by their names, where they lie."""
    paths = [_allowed(name) for name in names]
    found = iter(_look([path for path in paths if isinstance(path, Path)]))
    return [next(found) if isinstance(path, Path) else path for path in paths]


def _allowed(name: str) -> Path | CaptureError:
    try:
        return serving.path_of(name)
    except CaptureError as error:
        return error


def _look(paths: list[Path]) -> list[list[_File] | CaptureError]:
    """Return for each capture what is to be brought: its journal, where there is one, and it."""
    owners: dict[Path, tuple[Journal, bool]] = {}
    for folder in {path.parent for path in paths}:
        with contextlib.suppress(OSError):  # then its captures are not there either, which is said of each
            for journal in journals(Place(None, (folder,)), []):
                for name, is_open in journal.opened().items():
                    owners[folder / name] = (journal, is_open)
    found: list[list[_File] | CaptureError] = []
    files: dict[Path, _File] = {}
    for path in paths:
        # A forked child's capture is told of by the journal of its parent.
        owner = owners.get(path) or owners.get(path.with_suffix(""))
        try:
            capture = _File(path.name, _state_of(path), owner is not None and owner[1])
            if owner is None:
                found.append([capture])
                continue
            told_by = owner[0]
            if told_by.path not in files:
                word = told_by.last_word()
                line = f"{json.dumps(word)}\n".encode() if word else b""
                files[told_by.path] = _File(told_by.path.name, _state_of(told_by.path), bool(line), line)
        except OSError as error:
            found.append(CaptureError(path, f"it cannot be fetched: {error.strerror}."))
        else:
            # The journal goes first: one that was written before its capture tells of nothing that is not in that.
            found.append([files[told_by.path], capture])
    return found


def _state_of(file: Path | int) -> _State:
    status = os.stat(file)
    return _State(status.st_size, status.st_mtime_ns, status.st_ino)


def _size_and_change(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _pieces(arrivals: Iterable[_Arrival]) -> Iterator[_Piece]:
    """Cut files into pieces: many small files are one."""
    piece: _Piece = []
    size = 0
    for arrival in arrivals:
        offset = 0
        while True:
            length = min(_PIECE - size, arrival.file.state.size - offset)
            piece.append((arrival, offset, length))
            size += length
            offset += length
            if size == _PIECE or len(piece) == _MOST_FILES:
                yield piece
                piece, size = [], 0
            if offset == arrival.file.state.size:
                break
    if piece:
        yield piece


def _copy(arrivals: list[_Arrival], done: Callable[[int], object]) -> None:
    """Bring what lies on this machine."""
    for piece in _pieces(arrivals):
        parts = [
            (arrival.source.path.with_name(arrival.file.name), offset, length) for arrival, offset, length in piece
        ]
        data, answers = _read(_open_here, parts)
        _take(piece, memoryview(data), answers)
        done(len(data))


def _open_here(path: Path) -> int:
    try:
        return contract.open_plain(path, follow=True)
    except OSError as error:
        raise CaptureError(path, f"it cannot be read: {error.strerror}.") from None


def _take(piece: _Piece, data: memoryview, answers: list[_State | CaptureError]) -> None:
    start = 0
    for (arrival, offset, length), answer in zip(piece, answers, strict=True):
        arrival.take(offset, data[start : start + length], answer)
        start += length


def _receive(by_node: dict[str, list[_Arrival]], done: Callable[[int], object]) -> dict[str, cluster.MissingNode]:
    """Bring files from nodes, a few pieces under way at a time; returns the nodes that were lost meanwhile."""
    ray = sys.modules["ray"]
    is_client = cluster.here() is None
    queues = {node_id: _pieces(arrivals) for node_id, arrivals in by_node.items()}
    turns = deque(by_node)
    under_way: dict[Any, tuple[str, _Piece, int]] = {}
    heard: dict[str, float] = {}
    lost: dict[str, cluster.MissingNode] = {}

    def lose(node_id: str, why: str) -> None:
        lost[node_id] = cluster.missing(node_id, why)
        queues.pop(node_id, None)
        for reference in [one for one, (of_node, _, _) in under_way.items() if of_node == node_id]:
            del under_way[reference]
            cluster.cancel(reference)
        for arrival in by_node[node_id]:
            if not arrival.is_whole:
                arrival.fail(f"it cannot be fetched: {lost[node_id]}.")

    try:
        while queues or under_way:
            for _ in range(len(turns)):  # each node in its turn, as long as more may be under way
                node_id = turns[0]
                turns.rotate(-1)
                at_work = sum(of_node == node_id for of_node, _, _ in under_way.values())
                is_full = sum(size for _, _, size in under_way.values()) >= _BYTES_AT_ONCE
                if node_id not in queues or at_work >= _PIECES_OF_A_NODE:
                    continue
                if is_full or len(under_way) >= _PIECES_AT_ONCE:
                    break
                piece = next(queues[node_id], None)
                if piece is None:
                    del queues[node_id]
                    continue
                parts = [(arrival.file.name, offset, length) for arrival, offset, length in piece]
                size = sum(length for _, _, length in parts)
                under_way[cluster.ask(node_id, _give, parts, is_client)] = (node_id, piece, size)
                if at_work == 0:
                    heard[node_id] = time.monotonic()
            if not under_way:
                continue
            ready, waiting = ray.wait(list(under_way), num_returns=1, timeout=_LOOK)
            for reference in ready:
                node_id, piece, size = under_way.pop(reference)
                try:
                    data, checksum, answers = ray.get(reference, timeout=cluster.LIMIT)
                except ray.exceptions.RayError as error:
                    lose(node_id, cluster.reason(error))
                    continue
                heard[node_id] = time.monotonic()
                with memoryview(data) as view:
                    if len(view) != size or zlib.crc32(view) != checksum:
                        for arrival, _, _ in piece:
                            arrival.fail("what arrived is not what was sent; try again.")
                    else:
                        _take(piece, view, answers)
                del data
                done(size)
            now = time.monotonic()
            for node_id in {under_way[reference][0] for reference in waiting if reference in under_way}:
                if now - heard[node_id] > cluster.LIMIT:
                    lose(node_id, f"it handed nothing over for {cluster.LIMIT:.0f} s")
    finally:
        for reference in under_way:
            cluster.cancel(reference)
    return lost


def _give(parts: list[tuple[str, int, int]], to_client: bool = False) -> tuple[Any, int, list[_State | CaptureError]]:
    """Read parts of files that may be had: names, offsets and lengths.

    Returns them one after the other, their checksum, and what each file was like after that.
    """
    data, answers = _read(serving.open_file, parts)
    # As a buffer it goes to the object store and from there to a file without a copy; Ray Client's server takes none.
    return bytes(data) if to_client else pickle.PickleBuffer(data), zlib.crc32(data), answers


def _read(
    open_file: Callable[[Any], int], parts: list[tuple[Any, int, int]]
) -> tuple[bytearray, list[_State | CaptureError]]:
    data = bytearray(sum(length for _, _, length in parts))
    answers: list[_State | CaptureError] = []
    start = 0
    with memoryview(data) as view:
        for name, offset, length in parts:
            try:
                descriptor = open_file(name)
            except CaptureError as error:
                answers.append(error)
            else:
                try:
                    answers.append(_read_part(descriptor, offset, view[start : start + length]))
                except OSError as error:
                    answers.append(CaptureError(name, f"it cannot be read: {error.strerror}."))
                finally:
                    os.close(descriptor)
            start += length
    return data, answers


def _read_part(descriptor: int, offset: int, into: memoryview) -> _State:
    """Fill a buffer from a file, and return what that is like afterwards."""
    while len(into):
        read = os.preadv(descriptor, [into], offset)
        if not read:
            return _State(0, 0, 0)  # it has become shorter: no longer what it was
        into, offset = into[read:], offset + read
    return _state_of(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what a fetch left that was killed."""
    for name in os.listdir(folder):
        found = _PART.match(name)
        if found and not psutil.pid_exists(int(found[1])):
            with contextlib.suppress(OSError):  # somebody else swept, or it is not ours to remove
                (folder / name).unlink()
