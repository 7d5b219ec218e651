"""What memray's captures of forked children need: the parent's capture is noted, and the child's made as private."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from . import warn
from .journals import IN_LOGS

if TYPE_CHECKING:
    from .capture import Capture

__all__ = ["make_forks_private", "make_private", "note_fork", "why_not_in_a_fork"]

_FOLLOWED = "memray traces this process as a forked child: what it allocates is part of the call that forked it"
_NOT_FOLLOWED = (
    "this process was forked while memray traced its parent, and memray cannot start in it; "
    "follow_fork=True traces it as part of the call that forked it"
)


def make_private(capture: Capture | None, suffix: str = "") -> None:
    """Let nobody else read a capture outside of Ray's logs."""
    if capture is None or capture.journal.mode == IN_LOGS:
        return
    path = f"{capture.path}{suffix}"
    try:
        os.chmod(path, capture.journal.mode)
    except FileNotFoundError:
        pass  # somebody has removed it, or memray does not follow this fork
    except OSError as error:  # a file system without modes
        warn.once("mode", f"others may be able to read the capture {path}: {error!r}")


_before_fork: Capture | None = None
"""In a forked child, and its own, the capture that was written when it was forked."""


def note_fork(capture: Capture | None) -> None:
    """Note in a forked child which capture its parent wrote."""
    global _before_fork
    if capture is not None and capture.opened.is_set() and not capture.closed.is_set() and capture.error is None:
        _before_fork = capture


def why_not_in_a_fork() -> str | None:
    """Why memray does not start in this process, where it was forked from one that is traced."""
    if _before_fork is None:
        return None
    return _FOLLOWED if _before_fork.settings.follow_fork else _NOT_FOLLOWED


@cache
def make_forks_private() -> None:
    """Do the same for the captures of forks. Called once memray, whose own hook makes them, has been imported."""
    os.register_at_fork(after_in_child=lambda: make_private(_before_fork, f".{os.getpid()}"))
