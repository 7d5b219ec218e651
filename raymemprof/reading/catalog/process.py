"""One process's journal, read whole: what became of its calls and captures."""

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
from ...journal.events import is_figure
from ...ownership import Believed
from .evidence import Evidence
from .records import Call, Capture, ChildProcess

__all__ = ["RecordedProcess"]

_RECENTLY = 3600.0
"""Seconds for which a process may have written nothing although it is there."""


class RecordedProcess:
    """What one process recorded, by its journal, which is read whole."""

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
            call_count=calls,
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


def _children(listed: Iterable[Any]) -> tuple[ChildProcess, ...]:
    found = []
    for entry in listed:
        with contextlib.suppress(TypeError, ValueError):  # a line that was damaged into other words
            pid, name, size = entry
            if is_figure(pid) and isinstance(name, str) and is_figure(size):
                found.append(ChildProcess(pid, name, size))
    return tuple(found)


def _may_name(event: str, capture: str) -> bool:
    """Whether a line may name such a capture: one in its folder, or whole if a call joined one that lies elsewhere."""
    folder, _, name = capture.rpartition("/")
    is_name = contract.is_ours(name) and contract.is_capture(name)
    return is_name and (not folder or (event == "begin" and os.path.isabs(folder)))
