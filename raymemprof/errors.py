"""The errors that raymemprof raises of its own."""

from __future__ import annotations

import os
from pathlib import Path

from .display.text import printable

__all__ = ["AttachError", "CaptureError"]


class AttachError(Exception):
    """An actor cannot be recorded, or not in time; it runs on unharmed.

    Attributes:
        reason: one sentence.
    """

    reason: str

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = printable(" ".join(reason.split()))

    def __str__(self) -> str:
        return self.reason


class CaptureError(Exception):
    """A capture cannot be read, with the file and the reason.

    Attributes:
        path: the capture's file; for a call without one, the call's name.
        reason: one sentence, without the path.
    """

    path: Path
    reason: str

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = printable(" ".join(reason.split()))

    def __str__(self) -> str:
        return f"{printable(str(self.path))}: {self.reason}"
