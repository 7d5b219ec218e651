"""The file that keeps a node's minutes in the session's log directory, one for all watchers of the node."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from ...display.files import written_whole
from ...journal import PREFIX, open_plain
from .minute_peaks import Minutes

__all__ = ["MinutesFile", "lock", "path_of", "paths_in", "read_minutes"]

_MOST = 8 * 2**20
"""Bytes that are appended to, or read of, a file: sixty minutes of the most names and processes take less."""
_NAME = f"{PREFIX}watch-"


def path_of(folder: Path, node_id: str) -> Path:
    """Return the file of a node: nodes of one machine may share a session's folder."""
    return folder / f"{_NAME}{node_id}.json"


def paths_in(folder: Path) -> list[Path]:
    """Return the files of all nodes that were watched in a folder."""
    return sorted(folder.glob(f"{_NAME}*.json"))


def read_minutes(path: Path) -> Minutes:
    """Return what a file keeps; lines that a kill has torn, or that are none of ours, are left out.

    Raises `OSError` where it cannot be read, or is no plain file.
    """
    minutes = Minutes()
    with open(open_plain(path), "rb") as file:
        for line in file.read(_MOST).splitlines():
            try:
                minutes.fold(json.loads(line))
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
                continue
    return minutes


def lock(folder: Path, node_id: str) -> int | None:
    """Return a descriptor that keeps all other watchers from the node's file, until it is closed; None if one has it.

    Raises `OSError` where there can be none.
    """
    path = path_of(folder, node_id).with_suffix(".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class MinutesFile:
    """Writes what is news at once, and all anew once a minute, so that it does not grow."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0

    def append(self, lines: list[dict[str, Any]]) -> None:
        """Add lines. Raises `OSError` where that cannot be done."""
        data = b"".join(map(_written, lines))
        if data and self._size + len(data) <= _MOST:
            descriptor = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
            )
            try:
                self._size += os.write(descriptor, data)
            finally:
                os.close(descriptor)

    def rewrite(self, minutes: Minutes) -> None:
        """Write all that is kept in the place of what is there. Raises `OSError` where that cannot be done."""
        text = b"".join(map(_written, minutes.lines())).decode()
        with written_whole(self._path) as file:
            file.write(text)
        self._size = len(text.encode())


def _written(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode(errors="replace") + b"\n"
