"""What Ray's owners of tasks wrote to their logs of retrying those that were killed for memory."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ... import host
from ...cluster import local
from .endings import moment, oldest_first, opened

__all__ = ["OomRetry", "oom_retries"]

_MOST = 16 * 2**20
"""Bytes that are read of the end of each log; a retry takes some 10 KB there."""
_LOGS = ("python-core-driver-*.log*", "python-core-worker-*.log*")
_NAME = re.compile(r"(.+)_(\d{1,10})(?:\.\d+)?\.log(?:\.\d+)?$")
_MARK = b"task failed due to oom: 1"
_LINES = re.compile(
    rb"^\[(?P<when>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) [^\n]{0,60}?\] [\w.]{1,60}:\d{1,6}: (?:"
    rb"task (?P<killed>[0-9a-f]+) retries left: -?\d{1,10}, oom retries left: (?P<left>-?\d{1,10}), " + _MARK + rb"|"
    rb"Will resubmit task after a (?P<pause>\d{1,10})ms delay: [^\n]*?, "
    rb"task_id=(?P<again>[0-9a-f]+), task_name=(?P<name>[^\n]*?), job_id=|"
    rb"Task failed: [^\n]*?, task_id=(?P<failed>[0-9a-f]+), |"
    rb"(?P<over>Disconnected from the local raylet|Core worker is destructed))",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class OomRetry:
    """A task that was killed for memory and retried, as its owner tells.

    Attributes:
        task_id: the task.
        name: its name.
        kills: how often it was killed.
        left: how often it may be retried yet; None for without end.
        pause: seconds that Ray waits after the latest kill.
        since: when it was killed first, UTC.
        is_over: whether its owner has ended, or has given it up, so that nobody retries it any more.
    """

    task_id: str
    name: str | None
    kills: int
    left: int | None
    pause: float | None
    since: datetime
    is_over: bool = False


def oom_retries(folders: Iterable[Path], *, is_running: bool | None = None) -> list[OomRetry]:
    """Return the tasks that were killed for memory and retried, by the logs of their owners: drivers, and workers.

    Args:
        folders: log directories of sessions.
        is_running: whether these sessions run on this node; None for having a look.
    """
    found: list[OomRetry] = []
    for folder in folders:
        goes_on = local.is_running(folder.parent) if is_running is None else is_running
        logs: dict[tuple[str, int], list[Path]] = {}
        for path in (path for pattern in _LOGS for path in oldest_first(folder, pattern)):
            if name := _NAME.match(path.name):
                logs.setdefault((name[1], int(name[2])), []).append(path)
        for (_, pid), paths in logs.items():
            text = b"\n".join(map(_tail, paths))
            if _MARK in text:
                has_ended = not goes_on or not host.pid_exists(pid)
                found += (replace(retry, is_over=retry.is_over or has_ended) for retry in _told(text))
    return found


def _tail(log: Path) -> bytes:
    with contextlib.suppress(OSError), opened(log) as file:  # it may be rotated away by now
        file.seek(max(os.fstat(file.fileno()).st_size - _MOST, 0))
        return file.read(_MOST)
    return b""


def _told(text: bytes) -> list[OomRetry]:
    """What an owner's log tells."""
    found: dict[str, OomRetry] = {}
    for line in _LINES.finditer(text):
        task_id = (line["killed"] or line["again"] or line["failed"] or b"").decode()
        before = found.get(task_id)
        if line["killed"]:
            left, when = int(line["left"]), moment(line["when"])
            if when is None:
                continue
            found[task_id] = OomRetry(
                task_id=task_id,
                name=before.name if before else None,
                kills=(before.kills if before else 0) + 1,
                left=None if left < 0 else left,
                pause=before.pause if before else None,
                since=before.since if before else when,
            )
        elif line["again"] and before:
            name = line["name"].decode(errors="replace")
            found[task_id] = replace(before, name=name, pause=int(line["pause"]) / 1e3)
        elif line["failed"] and before:
            found[task_id] = replace(before, is_over=True)
        elif line["over"]:
            found = {task: replace(retry, is_over=True) for task, retry in found.items()}
    return list(found.values())
