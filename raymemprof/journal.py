"""The contract between recording and reading: how files are named and what the journal's lines say.

A process that records has one journal, `raymemprof-….jsonl`: JSON objects, one a line, each appended with a single
`write`, so that a kill tears at most the last one. Beside it lie its captures, `raymemprof-….bin`, written by memray.

Lines, by their `event`, and what else they hold (times are seconds since the epoch, sizes bytes):

- `process`: `version`, `pid`, `created` (the process's start), `host`, `node_id`, `worker_id`, `logs` (the node's Ray
  logs), `python`, `ray`
- `open`: `capture`, `time`, `native`
- `begin`: `call` (its number in this process), `time`, `name`, `kind`, `task_id`, `attempt`, `actor_id`, `job_id`,
  `memory`, `children` (what child processes that were there before add, if any); and `capture`, `slot`, `turn` if it is
  traced (with `pools`, `free`, `used`, as in a sample, where they are known), else `note`
- `peak`: `calls` (their numbers), `memory`: the process's memory rose by a tenth or more while they ran
- `children`: `calls`, `memory` (what child processes added to the process's own), `total` (the process with them: it
  rose by a tenth or more), `copied` (about how much of it is copies of pages that forks had from their parents),
  `count`, `largest` (pid, name, bytes of some)
- `place`: `capture`, `place` (its number in what is said of that), `stack`: a call stack as memray has them, innermost
  frame first, each `[function, file, line]`
- `sample`: `capture`, `mark`, `time`, `memory`, what moved since the sample before, and where wanted what was resident;
  `SAMPLE_KEYS` says how
- `fork`: `capture`, `pid` (a child's, whose capture is this one's with its pid at the end), `parent` (the pid of who
  forked it), `calls` (the numbers of those that it belongs to), `time`, `stack` (where it was forked, as in `place`);
  written by the child, where memray follows forks
- `end`: `call`, `duration`, `status`, `error`, `memory`, `peak`, `highest` (what it cannot have been above at any
  moment), `children` and `total` (the most that child processes added, and had with it), `left` and `count` (those that
  are still there), and `note` if tracing stopped before
- `close`: `capture`, `time`, and `bytes` and `crc32` of the whole file, where reading it did not take too long
- `fetched`: `time`, `status`, `error`: only in a copy on another machine, where some of its calls or captures had not
  ended: what had become of the process by then

A traced call runs in a frame whose file is `FRAME_FILE` and whose name ends in `[slot N]`. Slots are numbered from 0,
taken by a call while it runs and used again after it, so a capture of ten thousand calls has no more call stacks than
a capture of one. `turn` counts how often the slot was taken in this capture. Where in the capture a call begins and
ends is marked by an allocation made from a frame whose file is one of the `*_FILE` names below.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import socket
import stat
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from .events import is_sound

__all__ = [
    "BEGIN_BLOCK_FILE",
    "BEGIN_FILE",
    "END_FILE",
    "FRAME_FILE",
    "PREFIX",
    "SAMPLE_FILE",
    "SAMPLE_KEYS",
    "VERSION",
    "Lines",
    "append",
    "checksum",
    "file_stem",
    "frame_name",
    "is_alive",
    "is_capture",
    "is_journal",
    "is_ours",
    "marked_turn",
    "marker_size",
    "open_plain",
    "read_lines",
    "slot_of",
    "well_formed",
]

VERSION = 1
_NOT_PLAIN = "It is no plain file"
_MOST_LINE = 4 * 2**20
"""Bytes of a line; a longer one is none of ours."""
_SURROGATE = b"\\ud"
_TOO_LONG = b"a longer one"
_BLOCK = 2**20
_CHECKED_AT_ONCE = 2**18
_OF_SAMPLES = (b'{"event":"sample"', b'{"event":"place"')
_OF_FORKS = (b'{"event":"fork"',)
_BYTES_HEADER = sys.getsizeof(b"")
_START_TOLERANCE = 10.0
"""Seconds by which a process's recorded start may differ from what is read of it later: clocks are set."""
_EXITING = 4
"""The kernel's PF_EXITING, among a process's flags."""
PREFIX = "raymemprof-"
FRAME_FILE = "<raymemprof>"
BEGIN_FILE = "<raymemprof begin>"
BEGIN_BLOCK_FILE = "<raymemprof begin block>"
END_FILE = "<raymemprof end>"
SAMPLE_FILE = "<raymemprof sample>"
SAMPLE_KEYS = {
    "capture": "the file's name",
    "mark": "its number in this capture, marked there by an allocation as the turns of calls are",
    "time": "seconds since the epoch",
    "memory": "RSS - SHR, bytes",
    "shared": "SHR, bytes",
    "pools": "bytes held in memory pools that memray does not see; missing for 0",
    "moves": "[places before, places after, bytes, bytes of pools], in order: between two looks of the sampler the "
    "threads that run calls were at these, and memory, less what malloc keeps of freed memory, changed by that much",
    "arena_ranges": "[first page, pages] of what the pools have from the system, in a look",
    "arenas": "bytes resident in what the pools have from the system, if they have any; None where it was not asked",
    "free": "bytes that malloc keeps of what was freed, where it was asked",
    "used": "bytes that malloc has given out, where it was asked",
    "segments": "[first page, pages, resident pages of the process's own, those of files and shared memory], of "
    "ranges that are not wholly the process's own; of a look at what is resident, as is all below",
    "page": "bytes of a page",
    "holes": "bytes of malloc's heaps that are not resident",
    "libraries": "resident bytes of the data of loaded libraries",
    "opaque": "names of allocators in this process that can be neither seen nor asked",
}
MARKER_BYTES = 1024
"""Large enough to pass Python's small-object allocator, which memray does not follow by default."""
MARKER_TURNS = 4096
"""A mark's size tells its turn, modulo this, so that one that is lost does not shift those after it."""


def file_stem(name: str, task_id: str | None, attempt: int | None) -> str:
    """Return a file name without its ending that no other process, attempt or moment has."""
    clean = re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("._")[:80] or "call"
    return f"{PREFIX}{clean}-{task_id or 'local'}-{attempt or 0}-{os.getpid()}-{time.time_ns()}"


def marker_size(turn: int) -> int:
    """Return the size of a `bytes` object that marks the beginning or end of a turn."""
    return MARKER_BYTES + turn % MARKER_TURNS


def marked_turn(allocated: int, expected: int) -> int:
    """Return the turn that an allocation marks: the one expected, or the first after it that its size fits."""
    told = allocated - _BYTES_HEADER - MARKER_BYTES
    return expected + (told - expected) % MARKER_TURNS


def is_capture(name: str) -> bool:
    """Whether a file's name is a capture's; that of a forked child ends in its pid."""
    # Without a pattern, whose matching allocates: a process's own capture would be full of looking for others.
    return name.startswith(PREFIX) and (name.endswith(".bin") or _of_child(name))


def _of_child(name: str) -> bool:
    stem, _, pid = name.rpartition(".")
    return stem.endswith(".bin") and pid.isascii() and pid.isdigit()


def is_journal(name: str) -> bool:
    """Whether a file's name is a journal's."""
    return name.startswith(PREFIX) and name.endswith(".jsonl")


def is_ours(name: str) -> bool:
    """Whether this is the name of a capture or journal, and nothing but a name."""
    is_plain = re.fullmatch(r"[A-Za-z0-9_.\-]{1,255}", name) is not None
    return is_plain and (is_capture(name) or is_journal(name))


def frame_name(name: str, slot: int) -> str:
    """Return the name of the frame that a call in `slot` runs in."""
    return well_formed(f"{name} [slot {slot}]".replace("\0", " "))  # where memray would end the name


def well_formed(text: str) -> str:
    """Return a text without halves of surrogate pairs, which neither memray nor a file nor a terminal takes."""
    return text.encode(errors="replace").decode()


def slot_of(name: str) -> int:
    """Return the slot that a frame's name ends in."""
    try:
        return int(name[name.rindex("[slot ") + 6 : -1])
    except ValueError:
        raise ValueError("the frame of a call names no slot: it is damaged") from None


def checksum(descriptor: int, seconds: float = math.inf) -> tuple[int, int] | None:
    """Return a file's size and the CRC-32 of all of it; None where that takes longer than `seconds`."""
    began = time.monotonic()
    size = crc32 = 0
    buffer = memoryview(bytearray(_CHECKED_AT_ONCE))
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        file.seek(0)
        while read := file.readinto(buffer):
            crc32 = zlib.crc32(buffer[:read], crc32)
            size += read
            if time.monotonic() - began > seconds:
                return None
    return size, crc32


def open_plain(path: str | os.PathLike[str], *, follow: bool = False) -> int:
    """Open a plain file to read, and return its descriptor.

    Raises `OSError` for anything else: a pipe would keep its reader waiting, and a link, unless it is to be followed,
    may lead anywhere.
    """
    no_link = 0 if follow else os.O_NOFOLLOW
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | no_link)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise OSError(errno.EINVAL, _NOT_PLAIN, os.fspath(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _NOT_PLAIN, os.fspath(path))
    return descriptor


def append(path: Path, line: dict[str, Any]) -> None:
    """Append a line to a journal that is there, of whatever process; raises `OSError` where that cannot be done."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(descriptor, json.dumps(line, separators=(",", ":")).encode() + b"\n")
    finally:
        os.close(descriptor)


class Lines:
    """The lines of a journal that are whole and hold what they must; each as a dictionary, once.

    Those of samples, which are most of it, and of forks are of use with a capture only, and left out unless asked for.
    Raises `OSError` where the file is no plain one, or cannot be read.
    """

    def __init__(self, path: Path, *, with_samples: bool = False, with_forks: bool = False) -> None:
        self.left_out = 0
        """How many lines so far were damaged; the last one, if it was torn by a kill, is not counted."""
        self._file = open(open_plain(path), "rb", buffering=0)  # noqa: SIM115  # closed when all is read
        self._unwanted = (*(() if with_samples else _OF_SAMPLES), *(() if with_forks else _OF_FORKS))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._file as file:
            for text, is_ended in _texts(file):
                if not text or text.startswith(self._unwanted):
                    continue
                try:
                    line = json.loads(text.decode())
                    if _SURROGATE in text:
                        line = json.loads(well_formed(json.dumps(line, ensure_ascii=False)))
                except (ValueError, RecursionError):
                    line = None
                if isinstance(line, dict) and is_sound(line):
                    yield line
                else:
                    self.left_out += is_ended


def read_lines(path: Path, *, with_samples: bool = False, with_forks: bool = False) -> Lines:
    """Return the lines of a journal, to go through once."""
    return Lines(path, with_samples=with_samples, with_forks=with_forks)


def _texts(file: FileIO) -> Iterator[tuple[bytes, bool]]:
    """Yield each line, and whether it has its end, which a kill may have torn off; of one that is too long a stand-in.

    Where the file has a hole there is one NUL.
    """
    pending = bytearray()
    is_too_long = False
    position = 0
    while True:
        start = _next_data(file, position)
        block = file.read(_BLOCK)
        if start > position and not is_too_long:
            pending += b"\0"
        if not block:
            if pending:
                yield bytes(pending), False
            return
        position = start + len(block)
        *whole, rest = block.split(b"\n")
        for text in whole:
            if pending:
                text, pending = bytes(pending) + text, bytearray()
            yield (_TOO_LONG if is_too_long or len(text) > _MOST_LINE else text), True
            is_too_long = False
        if not is_too_long:
            pending += rest
            if len(pending) > _MOST_LINE:
                is_too_long, pending = True, bytearray()


def _next_data(file: FileIO, position: int) -> int:
    """Go to where the file has data again, or to its end: a file of terabytes may be one hole."""
    try:
        return file.seek(position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return file.seek(0, os.SEEK_END)
        return file.seek(position)  # this file system does not tell


def _is_dying(pid: int) -> bool:
    """Whether a process has been killed, though it is still there: it takes long to give much memory back."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return bool(int(stat.rpartition(")")[2].split()[6]) & _EXITING)
    except (OSError, ValueError, IndexError):
        return False  # not Linux, or gone by now, which the caller finds out itself


def is_alive(process: Mapping[str, Any]) -> bool:
    """Whether the process of a `process` line is still there, on this machine; its pid may be another's by now."""
    import psutil  # not needed by the processes that read captures, and slow to import

    if process.get("host") != socket.gethostname():
        return False
    try:
        found = psutil.Process(process["pid"])
        is_same = abs(found.create_time() - process["created"]) < _START_TOLERANCE
        return is_same and found.status() != psutil.STATUS_ZOMBIE and not _is_dying(found.pid)
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
        return False
