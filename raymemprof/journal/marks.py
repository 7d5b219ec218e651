"""What marks the calls in a capture: the names of frames, the sizes of marks, and which of our files run user code."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path, PurePath

from .events import well_formed

__all__ = [
    "BEGIN_BLOCK_FILE",
    "BEGIN_FILE",
    "END_FILE",
    "FRAME_FILE",
    "RUN_USER_CODE",
    "SAMPLE_FILE",
    "frame_name",
    "is_own_code",
    "marked_turn",
    "marker_size",
    "recorder_of",
    "slot_of",
]

FRAME_FILE = "<raymemprof>"
BEGIN_FILE = "<raymemprof begin>"
BEGIN_BLOCK_FILE = "<raymemprof begin block>"
END_FILE = "<raymemprof end>"
SAMPLE_FILE = "<raymemprof sample>"
RUN_USER_CODE = ("decorator.py", "frames.py", "wrappers.py")
"""Files of `recording/` whose frames stand between those of user code; up to 0.1.0 wrappers stood in decorator.py."""
_PACKAGE = "raymemprof"
_RECORDING = (_PACKAGE, "recording")
_OWN_FOLDERS = frozenset(("cli", "cluster", "diagnosis", "display", "journal", "notebook", "reading", "recording"))
"""The folders of this package."""
_MARK_BYTES = 1024
"""Large enough to pass Python's small-object allocator, which memray does not follow by default."""
_MARK_TURNS = 4096
"""A mark's size tells its turn, modulo this, so that one that is lost does not shift those after it."""


_BYTES_HEADER = sys.getsizeof(b"")


def marker_size(turn: int) -> int:
    """Return the size of a `bytes` object that marks the beginning or end of a turn."""
    return _MARK_BYTES + turn % _MARK_TURNS


def marked_turn(allocated: int, expected: int) -> int:
    """Return the turn that an allocation marks: the one expected, or the first after it that its size fits."""
    told = allocated - _BYTES_HEADER - _MARK_BYTES
    return expected + (told - expected) % _MARK_TURNS


def frame_name(name: str, slot: int) -> str:
    """Return the name of the frame that a call in `slot` runs in."""
    return well_formed(f"{name} [slot {slot}]".replace("\0", " "))  # where memray would end the name


def slot_of(name: str) -> int:
    """Return the slot that a frame's name ends in."""
    try:
        return int(name[name.rindex("[slot ") + 6 : -1])
    except ValueError:
        raise ValueError("the frame of a call names no slot: it is damaged") from None


def recorder_of(file: str) -> str | None:
    """Return the name of the file where it is one of `recording/`, of whatever installation; else None."""
    parts = PurePath(file).parts
    is_ours = any(parts[i : i + 2] == _RECORDING for i in range(len(parts) - 2))
    return parts[-1] if is_ours else None


def is_own_code(file: str) -> bool:
    """Whether a file is this package's, of whatever installation."""
    parts = PurePath(file).parts
    starts = [i for i in range(len(parts) - 2) if parts[i] == _PACKAGE and parts[i + 1] in _OWN_FOLDERS]
    return any(parts[i + 1 :] in _own_files() for i in starts)


@cache
def _own_files() -> frozenset[tuple[str, ...]]:
    root = Path(__file__).parents[1]
    return frozenset(path.relative_to(root).parts for path in root.rglob("*.py"))
