"""What a node lets other nodes have: files that bear our names, in the directories that are recorded to there.

No path that a caller gives is opened: a caller names a file, and only here it becomes a path.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from .. import journal as contract
from .. import ray_runtime
from ..errors import CaptureError

__all__ = ["Owner", "folders", "open_file", "owners", "path_of"]


@dataclass(frozen=True, slots=True)
class Owner:
    """The journal that tells of a capture, and whether its process is still writing to both."""

    journal: str
    is_open: bool


def folders() -> list[Path]:
    """Return the directories that are recorded to on this node."""
    logs = ray_runtime.logs_directory()
    return [logs] if logs is not None else []


def path_of(name: str) -> Path:
    """Return where a capture or journal of this name lies here; raises `CaptureError` where none may be had."""
    if not contract.is_ours(name):
        raise CaptureError(name, "it is refused: a node gives only captures and journals, by their names.")
    for folder in folders():
        with contextlib.suppress(OSError):
            status = os.lstat(folder / name)
            if not stat.S_ISREG(status.st_mode):
                raise CaptureError(name, "it is refused: it is no plain file.")
            return folder / name
    raise CaptureError(name, "it is gone, removed by hand or to keep the disk budget.")


def owners(folder: Path) -> dict[str, Owner]:
    """Return the owners of the captures in a folder, by the captures' names."""
    found: dict[str, Owner] = {}
    for journal in folder.glob(f"{contract.PREFIX}*.jsonl"):
        process: dict[str, object] = {}
        unclosed: dict[str, bool] = {}
        with contextlib.suppress(OSError):  # removed since the folder was listed
            for line in contract.read_lines(journal):
                event, capture = line.get("event"), line.get("capture")
                if event == "process":
                    process = line
                elif event in ("open", "close") and isinstance(capture, str):
                    unclosed[capture] = event == "open"
        is_elsewhere = process.get("host") not in (None, socket.gethostname())
        is_alive = any(unclosed.values()) and (is_elsewhere or contract.is_alive(process))
        found.update({name: Owner(journal.name, is_open and is_alive) for name, is_open in unclosed.items()})
    return found


def open_file(name: str) -> int:
    """Open such a file to read, and return its descriptor."""
    path = path_of(name)
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise CaptureError(name, f"it cannot be read: {error.strerror}.") from None
