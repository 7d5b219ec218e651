"""What Ray's owners of tasks wrote to their logs of retrying those that were killed for memory."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..reading import serving

__all__ = ["OomRetry", "oom_retries", "oom_retries_here"]

_MOST = 16 * 2**20
"""Bytes that are read of the end of each log; a retry takes some 10 KB there."""
_FAILED = (
    rb"task (?P<failed>[0-9a-f]+) retries left: -?\d+, oom retries left: (?P<left>-?\d+), task failed due to oom: 1"
)
_AGAIN = (
    rb"Will resubmit task after a (?P<pause>\d+)ms delay: [^\n]*?, "
    rb"task_id=(?P<again>[0-9a-f]+), task_name=(?P<name>[^\n]*?), job_id="
)
_LINES = re.compile(rb"%s|%s" % (_FAILED, _AGAIN))


@dataclass(frozen=True, slots=True)
class OomRetry:
    """A task that was killed for memory and retried, as its owner tells.

    Attributes:
        task_id: the task.
        name: its name.
        kills: how often it was killed.
        left: how often it may be retried yet; None for without end.
        pause: seconds that Ray waits after the latest kill.
    """

    task_id: str
    name: str | None
    kills: int
    left: int | None
    pause: float | None


def oom_retries(folders: Iterable[Path]) -> list[OomRetry]:
    """Return the tasks that were killed for memory and retried, by the logs of their owners: drivers, and workers."""
    found: dict[str, OomRetry] = {}
    for folder in folders:
        for path in sorted((*folder.glob("python-core-driver-*.log*"), *folder.glob("python-core-worker-*.log*"))):
            with contextlib.suppress(OSError):
                _read(path, found)
    return list(found.values())


def oom_retries_here() -> list[OomRetry]:
    """Return the same for the session's folder on this node."""
    return oom_retries(serving.folders())


def _read(path: Path, found: dict[str, OomRetry]) -> None:
    with path.open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - _MOST, 0))
        text = file.read(_MOST)
    for line in _LINES.finditer(text):
        if line["failed"] is not None:
            task_id, left = line["failed"].decode(), int(line["left"])
            before = found.get(task_id)
            found[task_id] = OomRetry(
                task_id=task_id,
                name=before.name if before else None,
                kills=(before.kills if before else 0) + 1,
                left=None if left < 0 else left,
                pause=before.pause if before else None,
            )
        elif (before := found.get(line["again"].decode())) is not None:
            name = line["name"].decode(errors="replace")
            found[before.task_id] = OomRetry(before.task_id, name, before.kills, before.left, int(line["pause"]) / 1e3)
