"""`fetch()`: brings captures here from the nodes that they lie on, in pieces, checked, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from .. import cluster
from .. import journal as contract
from ..errors import CaptureError
from ..progress import progress
from . import serving
from .targets import Target, places_of

__all__ = ["fetch"]

_PIECE = 8 * 2**20
_PIECES_AT_ONCE = 4
"""How many are on their way: so much lies in the object store, and no more."""
_ATTEMPTS = 3
"""How often a file is begun anew that changes while it is brought."""
_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())
_PART = re.compile(rf"^\.{contract.PREFIX}.*\.{_HOST[:50]}\.(\d+)\.part$")
"""The name of a file on its way: its own, and the host and pid of who brings it."""


@dataclass(frozen=True, slots=True)
class _State:
    """What a file is like where it lies: its size, its time of change in nanoseconds, and what belongs to it."""

    size: int
    changed: int
    inode: int
    journal: str | None
    is_open: bool
    """Whether more may be written to it: to a capture through a mapping, which does not show in its time of change."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A file to bring, and the node it lies on; None for this machine."""

    path: Path
    node_id: str | None


def fetch(target: Target, to: str | os.PathLike[str] = ".") -> list[Path]:
    """Bring captures, and the journals that say what is in them, from the nodes that they lie on.

    A file arrives under its name when it is whole and every piece of it had the checksum that the node gave; one that
    is there already with the same size and time of change is not brought again. `raymemprof.calls(to)` lists what
    arrived, here or on another machine.

    Args:
        target: a `Call`, a `Capture`, a capture's path or name on its node, or several of these.
        to: the folder to bring them to; it is made if it does not exist.

    Returns:
        The captures' paths here, one for each capture, in the target's order.

    Raises:
        CaptureError: a capture is gone, or could not be brought; those before it have arrived.
        FileNotFoundError: no node has a file of this name.
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
    sources = [_Source(path, node_id) for node_id, path in dict.fromkeys(places_of(target))]
    for source in sources:
        if not contract.is_capture(source.path.name):
            raise CaptureError(source.path, "it is refused: only captures that raymemprof recorded are fetched.")
    states = _states(sources)
    with progress("fetching", sum(state.size for state in states.values()), in_bytes=True) as done:
        arrived = [_bring(source, states[source], folder, done) for source in sources]
    journals = {
        _Source(source.path.with_name(state.journal), source.node_id)
        for source, state in states.items()
        if state.journal is not None
    }
    for source, state in _states(journals).items():
        _bring(source, state, folder, lambda more: None)
    return arrived


def _states(sources: Iterable[_Source]) -> dict[_Source, _State]:
    """Ask each node once for all that is wanted of it; raises `CaptureError` for what cannot be had."""
    by_node: dict[str | None, list[_Source]] = {}
    for source in sources:
        by_node.setdefault(source.node_id, []).append(source)
    states: dict[_Source, _State] = {}
    local = by_node.pop(None, [])
    found = dict(zip(local, _look([source.path for source in local]), strict=True))
    wanted = {node_id: ([source.path.name for source in of_node],) for node_id, of_node in by_node.items() if node_id}
    answers = cluster.on_nodes(_states_there, wanted)
    for node in answers.missing:
        raise CaptureError(by_node[node.node_id][0].path, f"it cannot be fetched: {node}.")
    for node_id, of_node in by_node.items():
        found.update(zip(of_node, answers.by_node[str(node_id)], strict=True))
    for source, state in found.items():
        if isinstance(state, CaptureError):
            raise CaptureError(source.path, state.reason)
        states[source] = state
    return states


def _states_there(names: list[str]) -> list[_State | CaptureError]:
    allowed = [_allowed(name) for name in names]
    states = iter(_look([path for path in allowed if isinstance(path, Path)]))
    return [next(states) if isinstance(path, Path) else path for path in allowed]


def _allowed(name: str) -> Path | CaptureError:
    try:
        return serving.path_of(name)
    except CaptureError as error:
        return error


def _look(paths: list[Path]) -> list[_State | CaptureError]:
    owners = {folder: serving.owners(folder) for folder in {path.parent for path in paths}}
    return [_state(path, owners[path.parent].get(path.name)) for path in paths]


def _state(path: Path, owner: serving.Owner | None) -> _State | CaptureError:
    try:
        status = path.stat()
    except OSError as error:
        return CaptureError(path, f"it cannot be fetched: {error.strerror}.")
    return _State(
        size=status.st_size,
        changed=status.st_mtime_ns,
        inode=status.st_ino,
        journal=owner.journal if owner else None,
        is_open=contract.is_journal(path.name) or (owner is not None and owner.is_open),
    )


def _bring(source: _Source, state: _State, folder: Path, done: Callable[[int], object]) -> Path:
    """Bring one file, and return where it is."""
    final = folder / source.path.name
    is_there = (state.size, state.changed) == _size_and_change(final)
    if is_there and (not state.is_open or (source.node_id is None and source.path == final)):
        done(state.size)
        return final
    part = folder / f".{final.name[:150]}.{threading.get_ident()}.{_HOST[:50]}.{os.getpid()}.part"
    for _ in range(_ATTEMPTS):
        try:
            with part.open("wb") as file:
                for piece in _pieces(source, state.size):
                    file.write(piece)
                    done(len(piece))
            (after,) = _states([source]).values()
            is_same = (after.size, after.changed) == (state.size, state.changed)
            if after.inode == state.inode and (is_same or state.is_open):  # what is added later is not missed
                if not state.is_open:
                    os.utime(part, ns=(state.changed, state.changed))
                os.replace(part, final)
                return final
            state = after
        finally:
            part.unlink(missing_ok=True)
    raise CaptureError(source.path, f"it changed each of the {_ATTEMPTS} times that it was fetched.")


def _size_and_change(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _pieces(source: _Source, size: int) -> Iterator[bytes]:
    """Yield a file's pieces in order, a few of them under way at a time."""
    if source.node_id is None:
        with source.path.open("rb") as file:
            while piece := file.read(min(_PIECE, size - file.tell())):
                yield piece
        return
    ray = sys.modules["ray"]
    offsets = iter(range(0, size, _PIECE))
    under_way: deque[tuple[int, list[Any]]] = deque()
    try:
        while True:
            for offset in offsets:
                length = min(_PIECE, size - offset)
                asked = cluster.ask(source.node_id, _piece, source.path.name, offset, length, returns=2)
                under_way.append((length, asked))
                if len(under_way) == _PIECES_AT_ONCE:
                    break
            if not under_way:
                return
            length, (data, checksum) = under_way[0]
            try:
                piece, expected = ray.get([data, checksum], timeout=cluster.LIMIT)
            except ray.exceptions.RayError as error:
                raise CaptureError(source.path, f"it cannot be fetched: {cluster.reason(error)}.") from None
            del under_way[0], data, checksum
            if isinstance(expected, CaptureError):
                raise CaptureError(source.path, expected.reason)
            if hashlib.sha256(piece).digest() != expected or len(piece) != length:
                raise CaptureError(source.path, "what arrived is not what was sent; try again.")
            yield piece
    finally:
        for _, references in under_way:
            cluster.cancel(references[0])


def _piece(name: str, offset: int, length: int) -> tuple[bytes, bytes | CaptureError]:
    """Read a piece of a file that may be had, and its checksum."""
    try:
        descriptor = serving.open_file(name)
    except CaptureError as error:
        return b"", error
    try:
        piece = os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
    return piece, hashlib.sha256(piece).digest()


def _sweep(folder: Path) -> None:
    """Remove what a fetch left that was killed."""
    for name in os.listdir(folder):
        found = _PART.match(name)
        if found and not psutil.pid_exists(int(found[1])):
            with contextlib.suppress(OSError):  # somebody else swept, or it is not ours to remove
                (folder / name).unlink()
