"""A file on its way here: it lies under another name until it is whole, and everything of it was as it should be."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ... import cluster, host
from ... import journal as contract

__all__ = ["Arrival", "File", "Source", "State", "lose", "state_of", "sweep"]

_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())
_PART = re.compile(rf"^\.{contract.PREFIX}.*\.{_HOST[:50]}\.(\d+)\.part$")
"""The name of a file on its way: its own, and the host and pid of who brings it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A capture to bring, and the node it lies on; None for this machine."""

    path: Path
    node_id: str | None


@dataclass(frozen=True, slots=True)
class State:
    """What a file is like: its size, its time of change in nanoseconds, and what it is on its disk."""

    size: int
    changed: int
    inode: int


@dataclass(frozen=True, slots=True)
class File:
    """A file to bring, as it was where it lies."""

    name: str
    state: State
    is_open: bool
    """Whether there may be more to it that its time of change does not show, so that it is brought each time.

    A capture is written through a mapping; what became of a process shows in no file.
    """
    last_line: bytes = b""
    """What to end the copy of a journal with."""

    def is_as_before(self, now: State) -> bool:
        """Whether what was read of it meanwhile is of one and the same file; what is added later is not missed."""
        if self.is_open or contract.is_journal(self.name):
            return now.inode == self.state.inode and now.size >= self.state.size
        return now == self.state


@dataclass(eq=False, slots=True)
class Arrival:
    """A file on its way to a folder here."""

    file: File
    source: Source
    folder: Path
    trouble: str | None = None
    """Why it did not arrive."""
    fewer: int = 0
    """How many calls the copy that was here listed, of which this has only sums."""
    has_changed: bool = False
    is_whole: bool = False
    written: int = 0
    """Bytes of it that have arrived."""
    _descriptor: int | None = None
    _part: Path = field(init=False)
    """Where it lies until it is whole."""

    def __post_init__(self) -> None:
        """Choose a name that no other fetch uses, in this process or another."""
        name = f".{self.file.name[:150]}.{threading.get_ident()}.{_HOST[:50]}.{os.getpid()}.part"
        self._part = self.folder / name

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be brought of it."""
        return self.is_whole or self.has_changed or self.trouble is not None

    @property
    def final(self) -> Path:
        """Its path when it is whole."""
        return self.folder / self.file.name

    def is_here(self) -> bool:
        """Whether there is nothing to bring."""
        if self.source.node_id is None and self.source.path.with_name(self.file.name) == self.final:
            return True
        return not self.file.is_open and (self.file.state.size, self.file.state.changed) == _size_and_change(self.final)

    def write(self, data: memoryview, offset: int) -> None:
        """Write a part of it."""
        if self._descriptor is None:
            self._part.unlink(missing_ok=True)  # a link that lies there is not written through
            self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.written += len(data)
        while len(data):
            written = os.pwrite(self._descriptor, data, offset)
            data, offset = data[written:], offset + written

    def settle(self, now: State) -> None:
        """Judge by what it was like after a part was read; give it its name when it is whole."""
        if not self.file.is_as_before(now):
            self.has_changed = True
            self.drop()
        elif self.written == self.file.state.size:
            self._finish()

    def _finish(self) -> None:
        self.write(memoryview(self.file.last_line), self.file.state.size)
        assert self._descriptor is not None  # to write is to open
        kept = self._only_in_copy()
        if kept is not None:
            self.fail(
                f"its journal does not tell of {kept} any more, as the copy in {self.folder} does; fetch it to another "
                "folder."
            )
            return
        self.fewer = self._only_in_sums()
        if os.path.lexists(self.final) and not (self.final.is_file() or self.final.is_symlink()):
            self.fail(f"{self.final} is no plain file, so it is not replaced; fetch it to another folder.")
            return
        if not self.file.is_open:
            os.utime(self._descriptor, ns=(self.file.state.changed, self.file.state.changed))
        os.replace(self._part, self.final)
        self.is_whole = True
        descriptor, self._descriptor = self._descriptor, None
        os.close(descriptor)

    def _is_journal_there(self) -> bool:
        """Whether it is a journal, and a copy of it lies in the folder: what is behind a link is not looked at."""
        return contract.is_journal(self.file.name) and self.final.is_file() and not self.final.is_symlink()

    def _only_in_copy(self) -> str | None:
        """Return a capture in the folder that the journal there tells of, and the one that has arrived does not.

        That was compacted since, when the capture was gone where it was written.
        """
        if not self._is_journal_there():
            return None
        told = {line.capture for line in contract.read_lines(self._part) if isinstance(line, contract.Open)}
        for line in contract.read_lines(self.final):
            if isinstance(line, contract.Open) and line.capture not in told and (self.folder / line.capture).exists():
                return line.capture
        return None

    def _only_in_sums(self) -> int:
        """Return how many calls the journal in the folder lists of which the one that has arrived has only sums."""
        if not self._is_journal_there():
            return 0
        listed: set[int] = set()
        has_sums = False
        for line in contract.read_lines(self._part):
            if isinstance(line, contract.Begin):
                listed.add(line.call)
            has_sums = has_sums or isinstance(line, contract.Sum)
        if not has_sums:
            return 0
        before = contract.read_lines(self.final)
        return sum(isinstance(line, contract.Begin) and line.call not in listed for line in before)

    def fail(self, why: str) -> None:
        """Give it up."""
        self.trouble = self.trouble or why
        self.drop()

    def spoil(self) -> None:
        """Give it up since a checksum is not the one that the node gave."""
        self.fail("what arrived is not what was sent; try again.")

    def drop(self) -> None:
        """Leave nothing of what has not arrived whole."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self.written = 0
            if not self.is_whole:
                self._part.unlink(missing_ok=True)


def lose(node_id: str, arrivals: Iterable[Arrival], why: str) -> cluster.MissingNode:
    """Give up what was to come from a node, and name that."""
    node = cluster.missing(node_id, why)
    for arrival in arrivals:
        if not arrival.is_settled:
            arrival.fail(f"it cannot be fetched: {node}.")
    return node


def state_of(file: Path | int) -> State:
    """Return what a file is like, by path or descriptor."""
    status = os.stat(file)
    return State(status.st_size, status.st_mtime_ns, status.st_ino)


def _size_and_change(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    is_own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    return (status.st_size, status.st_mtime_ns) if is_own else None  # in /tmp anybody may have put it there


def sweep(folder: Path) -> None:
    """Remove what a fetch left that was killed."""
    for name in os.listdir(folder):
        found = _PART.match(name)
        if found and not host.pid_exists(int(found[1])):
            with contextlib.suppress(OSError):  # somebody else swept, or it is not ours to remove
                (folder / name).unlink()
