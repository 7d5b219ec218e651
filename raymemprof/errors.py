"""The errors that reading raises."""

from __future__ import annotations

import os

from .display.text import printable

__all__ = ["CaptureError"]


class CaptureError(Exception):
    """A capture cannot be read, with the file and the reason.

    Attributes:
        path: the capture's file.
        reason: one sentence, without the path.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = os.fspath(path)
        self.reason = printable(" ".join(reason.split()))

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.reason}"
