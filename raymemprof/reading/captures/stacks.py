"""Call stacks: whose code they are of, which calls they belong to, which line of them is the user's."""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ... import journal as contract
from .model import Frame, Stack

__all__ = [
    "CHILD_FILE",
    "EITHER_FILE",
    "ESTIMATED_FILE",
    "NATIVE_FILE",
    "SAMPLED_FILE",
    "StackInfo",
    "block_owner",
    "cut",
    "either",
    "guilty",
    "inspect",
    "is_import",
    "is_users",
    "stack_of",
]

NATIVE_FILE = "<native thread>"
SAMPLED_FILE = "<sampled>"
ESTIMATED_FILE = "<estimated>"
EITHER_FILE = "<one of these lines>"
CHILD_FILE = "<child process>"
"""Stand for the file in frames that are none of Python's: what they say is in the function's name."""
_MOST_EITHER = 3
_ANY_MORE = re.compile(r"\d+ more")
_OURS = (NATIVE_FILE, SAMPLED_FILE, ESTIMATED_FILE, CHILD_FILE)
_MARK_DEPTH = 16
"""How deep in a stack a mark's frame may lie: with native frames there are some of C's above it."""
_MARKS = (contract.BEGIN_FILE, contract.BEGIN_BLOCK_FILE, contract.END_FILE, contract.SAMPLE_FILE)
_LIBRARIES_OF_RAY = (("data",), ("train",))
"""Their threads work for the code that uses them, as other libraries' do."""
_IMPORTS = "<frozen importlib."
"""The beginning of the file of the frames by which Python imports a module."""
_NATIVE_SUFFIXES = {".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".pyx", ".pxi", ".rs", ".s", ".so", ".dylib"}
_ANY_STANDARD_LIBRARY = re.compile(r"/lib(64)?/python3\.\d+/")
"""That of the recorded process may be another Python's than this one's."""


def stack_of(record: Any, native: bool) -> Stack:
    """Return a record's stack, with the frames of C where they were recorded."""
    return tuple(record.hybrid_stack_trace() if native else record.stack_trace())


@dataclass(frozen=True, slots=True)
class StackInfo:
    """What a stack says of an allocation."""

    stack: Stack
    slots: tuple[int, ...]
    """Outermost first."""
    marker: str | None
    """The file of the marking frame, where this is a mark."""
    marked_slot: int
    owners: frozenset[tuple[str, str]]
    stray: bool
    """Whether an allocation here may be a call's although no call's frame is in the stack: on a thread of its own."""
    is_native: bool = False
    """Whether no Python is in the stack: it is of a thread that a library runs by itself."""
    is_librarys_thread: bool = False
    """Whether it is of a thread with Python that runs nothing of the user's, as a library's pool of threads."""
    is_recording: bool = False
    """Whether it is raymemprof's own, and nobody's."""


@lru_cache(maxsize=10_000)
def inspect(stack: Stack) -> StackInfo:
    """Sort a stack; captures that are read one after the other have many in common."""
    marker, marked_slot = None, -1
    for name, file, _ in stack[:_MARK_DEPTH]:
        if file in _MARKS:
            marker, marked_slot = file, contract.slot_of(name)
    slots = tuple(contract.slot_of(name) for name, file, _ in reversed(stack) if file == contract.FRAME_FILE)
    if _is_recording(stack):
        return StackInfo(stack, (), marker, marked_slot, frozenset(), stray=False, is_recording=True)
    is_native = not any(map(_is_python, stack))
    stray = not slots and not is_native and _is_users_thread(stack)
    owners = frozenset((name, file) for name, file, _ in stack)
    is_librarys_thread = stray and not any(is_users(file) for _, file, _ in stack)
    return StackInfo(stack, slots, marker, marked_slot, owners, stray, is_native, is_librarys_thread)


def _is_python(frame: Frame) -> bool:
    return frame[1].endswith(".py") or (frame[1].startswith("<") and not frame[1].startswith("<unknown"))


def _is_recording(stack: Stack) -> bool:
    """Whether it is raymemprof's own code that allocates, and not code that it runs for the user."""
    for depth, (_, file, _) in enumerate(stack):
        if file == contract.FRAME_FILE:
            return False
        whose = _whose(file)
        if whose == "recording" or (whose == "wrapper" and depth == 0):
            return True
    return False


def _is_users_thread(stack: Stack) -> bool:
    """Whether a thread, or an event loop's task, does a user's work: not the main thread's, and none of Ray's."""
    if not stack[-1][0].endswith("_bootstrap"):
        return False
    owners = {_whose(file) for _, file, _ in stack}
    return "user" in owners and not owners & {"ray", "recording"}


@lru_cache(maxsize=100_000)
def _whose(file: str) -> str:
    """Whose code a file is: "recording" or "wrapper" (raymemprof's), "ray", "plumbing" (runs threads), or "user"."""
    parts = Path(file).parts
    recorder = contract.recorder_of(file)
    if recorder is not None:
        return "wrapper" if recorder in contract.RUN_USER_CODE else "recording"
    for i, folder in enumerate(parts):
        if folder.endswith("-packages") and parts[i + 1 : i + 2] == ("ray",):
            return "user" if parts[i + 2 : i + 3] in _LIBRARIES_OF_RAY else "ray"
    is_plumbing = (
        parts[-1:] == ("threading.py",)
        or "asyncio" in parts[-2:]
        or parts[-3:-1] == ("concurrent", "futures")
        or file.startswith("<frozen")
    )
    return "plumbing" if is_plumbing else "user"


def block_owner(stack: Iterable[Frame]) -> tuple[str, str] | None:
    """The frame that a `with` block stands in: the first that is not of ours or of contextlib."""
    marked = False
    for name, file, _ in stack:
        marked = marked or file == contract.BEGIN_BLOCK_FILE
        is_ours = file == contract.BEGIN_BLOCK_FILE or _whose(file) in ("recording", "wrapper")
        if marked and not is_ours and Path(file).name != "contextlib.py":
            return name, file
    return None


def cut(info: StackInfo, call: Any) -> Stack:
    """The stack from the call's own frame on, that frame not included; from the outermost call's for a capture."""
    stack = info.stack
    found = None
    for index, (name, file, _) in enumerate(stack):
        if file == contract.FRAME_FILE and (call is None or contract.slot_of(name) == call.slot):
            found = index
    if found is not None:
        return stack[:found] or ((stack[found][0].rpartition(" [slot")[0], "", 0),)
    if call is not None and call.owner is not None:
        for index in range(len(stack) - 1, -1, -1):
            # A recorded function has a frame of its own above the wrapper, which it is called through.
            is_entry = index > 0 and _whose(stack[index - 1][1]) == "wrapper"
            if stack[index][:2] == call.owner and not is_entry:
                return stack[: index + 1]
    return stack


def either(stacks: Sequence[Stack]) -> Stack:
    """Return what stacks have in common; where their user's lines differ, with a frame that names them."""
    first = stacks[0]
    common = min(map(len, stacks))
    for stack in stacks[1:]:
        same = 0
        while same < common and first[-1 - same] == stack[-1 - same]:
            same += 1
        common = same
    outer = first[len(first) - common :]
    lines = list(dict.fromkeys(map(guilty, stacks)))
    if len(lines) == 1:  # what it called changed; the line itself may be further in than what is common
        inner = next((index for index, frame in enumerate(first) if frame == lines[0]), len(first) - common)
        return first[min(inner, len(first) - common) :]
    told = list(dict.fromkeys(name for stack in stacks for name in _candidates(stack)))
    names = [name for name in told if not _ANY_MORE.fullmatch(name)]
    untold = max([int(name.split()[0]) for name in told if name not in names], default=0)
    untold += max(len(names) - _MOST_EITHER, 0)
    # In the order of their names, so that the same lines are one place, whichever was seen first.
    shown = sorted(names[:_MOST_EITHER]) + ([f"{untold} more"] if untold else [])
    return ((" or ".join(shown), EITHER_FILE, 0), *outer)


def _candidates(stack: Stack) -> list[str]:
    """The lines that a stack's memory may be of: several where it was one or the other before."""
    found = next((frame[0] for frame in stack if frame[1] == EITHER_FILE), None)
    return [_show(guilty(stack))] if found is None else found.split(" or ")


def _show(frame: Frame) -> str:
    function, file, line = frame
    return f"{function} ({Path(file).name}:{line})" if file else function


def guilty(stack: Stack) -> Frame:
    """Return the innermost frame that is the user's own, else the innermost.

    Of an import it is the line that began it, and not one of those by which its modules import others.
    """
    frames = [frame for frame in stack if frame[1] not in _OURS]
    found, is_importing = None, False
    for frame in frames:
        if frame[1] == EITHER_FILE:
            return (frame[0], "", 0)
        if frame[1].startswith(_IMPORTS):
            is_importing = True
        elif is_users(frame[1]):
            found = frame if found is None or is_importing else found
            if not is_importing:
                break
            is_importing = False
    return found or (frames[0] if frames else ("native code", "", 0))


def is_import(stack: Stack) -> bool:
    """Whether Python allocated it to import a module for the user's innermost line."""
    for _, file, _ in stack:
        if file.startswith(_IMPORTS):
            return True
        if is_users(file):
            return False
    return False


@lru_cache(maxsize=10_000)
def is_users(file: str) -> bool:
    """Whether a file is the user's own: not the standard library's, an installed package's, ours, or one of C."""
    if not file or file.startswith(("<frozen", "<unknown")) or Path(file).suffix.lower() in _NATIVE_SUFFIXES:
        return False
    parts = Path(file).parts
    if contract.is_own_code(file) or "site-packages" in parts or "dist-packages" in parts:
        return False
    return not file.startswith(_standard_library()) and not _ANY_STANDARD_LIBRARY.search(file)


@lru_cache(maxsize=1)
def _standard_library() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({os.path.join(paths[key], "") for key in ("stdlib", "platstdlib")})
