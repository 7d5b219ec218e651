"""What a node lets other nodes have: files that bear our names, in the directories that are recorded to there.

No path that a caller gives is opened: a caller names a file, and only here it becomes a path.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from ... import journal as contract
from ...cluster import logs_directory
from ...errors import CaptureError
from ...ownership import Believed

__all__ = ["folders", "open_file", "path_of"]


def folders() -> list[Path]:
    """Return the directories that are recorded to on this node."""
    logs = logs_directory()
    return [logs] if logs is not None else []


def path_of(name: str) -> Path:
    """Return where a capture or journal of this name lies here; raises `CaptureError` where none may be had."""
    if not contract.is_ours(name):
        raise CaptureError(name, "it is refused: a node gives only captures and journals, by their names.")
    for folder in folders():
        with contextlib.suppress(OSError):
            doubt = Believed(folder).doubt(folder / name)
            if doubt is not None:
                raise CaptureError(name, f"it is refused: {doubt}.")
            return folder / name
    raise CaptureError(name, "it is gone, removed by hand or to keep the disk budget.")


def open_file(name: str) -> int:
    """Open such a file to read, and return its descriptor."""
    path = path_of(name)
    try:
        return contract.open_plain(path)
    except OSError as error:
        raise CaptureError(name, f"it cannot be read: {error.strerror}.") from None
