"""One process's journal: what became of its calls and captures."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ... import journal as contract
from ...journal import Begin, Children, End, Open, Sum, is_figure, peak_of, was_told_to_end
from ...ownership import Believed
from .digest import Digest
from .evidence import Evidence
from .filters import Filters
from .records import Call, Capture, ChildProcess, CompactedCalls

__all__ = ["RecordedProcess", "children_of"]

_RECENTLY = 3600.0
"""Seconds for which a process may have written nothing although it is there."""


class RecordedProcess:
    """What one process recorded, by its journal; of calls, those that were not asked for may not be there."""

    def __init__(
        self, path: Path, digest: Digest, evidence: Callable[[Path], Evidence], lies_on: str | None, believed: Believed
    ) -> None:
        self.path = path
        self.digest = digest
        self._believed = believed
        self._folder = path.parent
        self._lies_on = lies_on
        logs = digest.process.logs
        self._evidence = evidence(Path(logs) if logs else self._folder)
        self._fate: tuple[str, str | None, str | None] | None = None
        self._exists: dict[str, Path | None] = {}
        self._doubts: dict[str, str] = {}
        """Why what lies in a capture's place is none, in a sentence without its full stop."""

    @property
    def may_be_running(self) -> bool:
        """Whether its process may still write; of another machine's that shares the folder nobody here can tell."""
        if self._is_copy:
            return False
        if not self._is_of_another_machine:
            return contract.is_alive(self.digest.process)
        written = [self.path, *(self._folder / name for name in self.digest.opens if name not in self.digest.closes)]
        return any(path.exists() and time.time() - path.stat().st_mtime < _RECENTLY for path in written)

    @property
    def _is_copy(self) -> bool:
        """Whether it was fetched, as far as it says so or the journal that its process writes is seen here."""
        logs = self.digest.process.logs
        if self.digest.fetched is not None or not logs:
            return self.digest.fetched is not None
        try:
            return not os.path.samefile(Path(logs, self.path.name), self.path)
        except OSError:  # it is not in Ray's logs, or these are not on this machine
            return False

    @property
    def _is_of_another_machine(self) -> bool:
        return self.digest.process.host not in (None, socket.gethostname())

    def opened(self) -> dict[str, bool]:
        """Return the names of the captures that it tells of, and whether each may still be written to."""
        return {name: name not in self.digest.closes and self.may_be_running for name in self.digest.opens}

    def last_word(self) -> dict[str, Any] | None:
        """Return the line to end a copy on another machine with; None where nothing is left to be said."""
        is_told = (
            self.digest.ends.keys() >= self.digest.begins.keys()
            and self.digest.closes.keys() >= self.digest.opens.keys()
        )
        if is_told or (self.digest.fetched is not None and self._is_of_another_machine):
            return None
        status, error, _ = self._unfinished()
        return {"event": "fetched", "time": time.time(), "status": status, "error": error}

    @property
    def node_id(self) -> str | None:
        """The node that recorded it."""
        return self.digest.process.node_id

    def is_of(self, node_id: str | None) -> bool:
        """Whether a node recorded it whose id begins so; None for any."""
        return node_id is None or (self.node_id or "").startswith(node_id)

    def damage(self) -> list[str]:
        """Return a few words on what could not be read of it, if there is anything."""
        count = self.digest.left_out
        return [f"{self.path.name}: {count} damaged line{'s' * (count != 1)} left out"] if count else []

    def calls(self) -> Iterator[Call]:
        """Yield the calls, in the order in which they began; those that are summed up are not among them."""
        for number, begin in self.digest.begins.items():
            yield self.call(begin, self.digest.ends.get(number), self.digest.children.get(number))

    def compacted(self, filters: Filters) -> Iterator[CompactedCalls]:
        """Yield those that are not there one by one any more, and may fit."""
        for found in self.digest.compacted:
            if filters.may_fit_sum(found):
                yield self.counted(found, found.count, filters.takes_all(found))

    def counted(self, found: Sum, only_sums: int, is_certain: bool = True) -> CompactedCalls:
        """Return calls that are not listed one by one, by their sum."""
        process = self.digest.process
        return CompactedCalls(
            process=(process.node_id, process.worker_id, process.pid or 0),
            name=found.name,
            kind=found.kind,
            actor_id=found.actor_id,
            is_certain=is_certain,
            peak=found.peak,
            statuses=dict(found.statuses.items()),
            peaks=found.peaks,
            kept=found.kept,
            traced=found.traced,
            last=found.last,
            within=found.within,
            only_sums=only_sums,
            ray_data_peak=found.ray_data_peak,
        )

    def call(self, begin: Begin, end: End | None, family: Children | None) -> Call:
        """Return a call, by what its journal says of it."""
        process = self.digest.process
        status: str
        if end is not None:
            status, error, note = end.status, end.error, end.note
            duration, after = end.duration, end.memory
            if was_told_to_end(end):
                status, error = self._told_to_end(status, error)
        else:
            status, error, note = self._unfinished()
            duration, after = None, None
        own_peak, peak, children_peak = peak_of(begin, end, family, self.digest.peaks.get(begin.call, 0))
        capture = self.capture(begin.capture)
        return Call(
            begin.name,
            begin.kind,
            begin.task_id,
            begin.attempt,
            begin.actor_id,
            begin.job_id,
            process.node_id,
            process.worker_id,
            process.pid or 0,
            datetime.fromtimestamp(begin.time, timezone.utc),
            duration,
            status,
            error,
            begin.memory,
            peak,
            after,
            capture,
            begin.note or note or self._doubts.get(begin.capture or ""),
            None if begin.slot is None or begin.turn is None else (begin.slot, begin.turn),
            self._lies_on,
            children_peak,
            children_of(family.largest) if family is not None else (),
            children_of(end.left) if end is not None else (),
            family.count if family is not None else 0,
            begin.children,
            own_peak,
            family.copied if family is not None else None,
            self.path,
            begin.deployment,
            begin.context,
            (end.ray_data_peak or None) if end is not None else None,
            begin.within,
        )

    def capture(self, name: str | None) -> Path | None:
        """Return a capture's path if the file is there, and is to be believed."""
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
        for name, line in self.digest.opens.items():
            with contextlib.suppress(OSError):  # the file is gone
                yield self._opened(name, line)

    def _opened(self, name: str, line: Open) -> Capture:
        path = self._folder / name
        file = path.lstat()
        if self._believed.doubt_of(file) is not None:
            raise FileNotFoundError(path)
        closed = self.digest.closes.get(name)
        is_open = closed is None and self._unfinished()[0] == "running"
        status = "closed" if closed is not None else "open" if is_open else "killed"
        return Capture(
            path=path,
            size=file.st_size,
            status=status,
            opened_at=datetime.fromtimestamp(line.time, timezone.utc),
            closed_at=None if closed is None else datetime.fromtimestamp(closed, timezone.utc),
            native=bool(line.native),
            pid=self.digest.process.pid,
            node_id=self.digest.process.node_id,
            worker_id=self.digest.process.worker_id,
            call_count=self.digest.call_counts.get(name, 0),
            lies_on=self._lies_on,
        )

    def _unfinished(self) -> tuple[str, str | None, str | None]:
        """What became of a call whose end was not written: its status, what ended the process, and a note."""
        if self._fate is None:
            # Where the cluster is asked, a living node tells of its own processes: this one's node is gone.
            if not self.digest.is_known:
                self._fate = ("running", None, "which process it was is damaged: whether it still runs is not known")
            elif self._is_of_another_machine and self._lies_on is None:
                self._fate = self._as_of_the_fetch()
            elif contract.is_alive(self.digest.process):
                self._fate = ("running", None, None)
            else:
                _, reason, _ = self._evidence.of(self.digest.process)
                cancelled = reason is not None and "force ray.cancel" in reason
                self._fate = ("cancelled" if cancelled else "killed", reason, None)
        return self._fate

    def _told_to_end(self, status: str, error: str | None) -> tuple[str, str | None]:
        """What became of a call that a SIGTERM ended, which is how Ray's memory monitor kills at first."""
        death = self._evidence.raylet.get((self.digest.process.pid or 0, self.digest.process.worker_id))
        if death is not None and death.cause == "ray_memory_monitor":
            return "killed", "killed by Ray's memory monitor"
        return status, error

    def _as_of_the_fetch(self) -> tuple[str, str | None, str | None]:
        """What is known of a process on another machine, which nobody here can look for."""
        host = self.digest.process.host
        if self.digest.fetched is None:
            return "running", None, f"it ran on {host}: whether it still does cannot be told here"
        status, error = self.digest.fetched.status, self.digest.fetched.error
        when = datetime.fromtimestamp(self.digest.fetched.time, timezone.utc)
        return status, error, f"as of {when:%Y-%m-%d %H:%M} UTC, when it was fetched" if status == "running" else None


def children_of(listed: Iterable[Any]) -> tuple[ChildProcess, ...]:
    """Return the processes that a line lists."""
    found = []
    for entry in listed:
        with contextlib.suppress(TypeError, ValueError):  # a line that was damaged into other words
            pid, name, size = entry
            if is_figure(pid) and isinstance(name, str) and is_figure(size):
                found.append(ChildProcess(pid, name, size))
    return tuple(found)
