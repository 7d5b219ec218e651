"""Keeps the source texts of the user's code beside the journal, so that reports show lines whose files are gone.

Those are the cells and scripts that came with decorated code (`origin.py`), the cells of this process if it is a
kernel, and the user's modules, as far as recorded code refers to them (`reached.py`). The thread that holds the capture
open does it: when that has been opened, when there is something new, and before it is closed. Calls do nothing for it.
Each text is one file in the folder, however many processes have it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .. import journal as contract
from ..cells import cell_of, shell
from . import warn
from .origin import arrived, definitions
from .reached import count_recorded, files_of_recorded, has_block, is_users_file
from .safety import descriptors, file_size_limit

if TYPE_CHECKING:
    from .journals import Journal

__all__ = ["keep_sources"]

_MOST_FILES = 500
_MOST_BYTES = 8 * 2**20
"""Files and bytes of them that are kept for one process."""
_SHARE = 32
"""All texts in a folder take at most this part of the disk budget; the ones that were needed longest ago go first."""


class _Kept:
    """What is kept for the process in the folder of a journal."""

    def __init__(self) -> None:
        self.noted: dict[str, tuple[str, str | None]] = {}
        """The checksum of the text, and the name of the cell, by file."""
        self.size = 0
        self.seen: tuple[int, ...] = ()
        """How much there was the last time: modules, texts that came, what is recorded, cells."""
        self.due = 0.0


_PAUSE = 20
"""Times as long as a look takes, which is milliseconds, no other one is made: imports bring modules all the time."""

_kept: weakref.WeakKeyDictionary[Journal, _Kept] = weakref.WeakKeyDictionary()


def keep_sources(journal: Journal, max_bytes: int, *, at_once: bool = False) -> None:
    """Keep what is new since the last time. Never raises; microseconds where nothing is, or it was just looked at."""
    try:
        kept = _kept.setdefault(journal, _Kept())
        there = (len(sys.modules), len(arrived), count_recorded(), getattr(shell(), "execution_count", 0))
        began = time.monotonic()
        if there == kept.seen or (began < kept.due and not at_once) or journal.is_lost():
            return
        kept.seen = there
        _keep(journal, kept, max_bytes)
        now = time.monotonic()
        kept.due = now + _PAUSE * (now - began)
    except Exception as error:
        warn.once("sources", f"source texts were not kept in {journal.folder}: {error!r}")


def _keep(journal: Journal, kept: _Kept, max_bytes: int) -> None:
    for file, name, data in _texts(kept):
        digest = contract.digest_of(data)
        if kept.noted.get(file) == (digest, name):
            continue
        kept.size += len(data)
        if len(kept.noted) >= _MOST_FILES or kept.size > _MOST_BYTES:
            return
        _write(journal, contract.source_name(digest), data, max_bytes // _SHARE)
        journal.write({"event": "source", "file": file, "text": digest, **({"name": name} if name else {})})
        kept.noted[file] = digest, name


def _texts(kept: _Kept) -> Iterator[tuple[str, str | None, bytes]]:
    """Yield file, cell's name and content of what may be kept."""
    for file in dict.fromkeys([*list(arrived), *files_of_recorded()]):
        text, cell = arrived.get(file), cell_of(file)
        if text is not None:
            yield file, text.name, zlib.decompress(text.data)
        elif cell is not None:
            ran_here = cell.text if has_block(file) else definitions(cell.text)
            yield file, cell.name, ran_here.encode(errors="replace")
        elif file not in kept.noted and is_users_file(file) and not contract.is_confidential(file):
            with contextlib.suppress(OSError):  # it is in an archive, or gone
                data = _read(file)
                if data is not None:
                    yield file, None, data


def _read(file: str) -> bytes | None:
    with descriptors.reading(file, os.O_NONBLOCK) as opened:
        is_plain = stat.S_ISREG(os.fstat(opened.fileno()).st_mode)
        data = opened.read(contract.MOST_TEXT + 1) if is_plain else b""
    return data if 0 < len(data) <= contract.MOST_TEXT and b"\0" not in data else None


def _write(journal: Journal, name: str, data: bytes, most: int) -> None:
    """Write a text where it is not there yet; one that is there is as good as new."""
    folder = Path(journal.folder)
    path = folder / name
    with contextlib.suppress(FileNotFoundError, PermissionError):
        os.utime(path)
        return
    if file_size_limit.longest_file() < len(data):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    _make_room(folder, most - len(data))
    part = folder / f".{name}.{os.getpid()}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    kept = descriptors.open_kept(part, flags, journal.mode)
    try:
        written = os.write(kept.number, data)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        descriptors.close(kept)
    if written != len(data):
        part.unlink(missing_ok=True)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    os.replace(part, path)


def _make_room(folder: Path, most: int) -> None:
    """Have the texts go that were needed longest ago, until the others take no more than `most` bytes."""
    found: list[tuple[float, int, str]] = []
    for entry in descriptors.scan(folder):
        if contract.is_source(entry.name):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                found.append((status.st_mtime, status.st_size, entry.name))
    total = sum(size for _, size, _ in found)
    for _, size, name in sorted(found):
        if total <= most:
            return
        with contextlib.suppress(OSError):  # another process removed it, or it is somebody else's
            (folder / name).unlink()
        total -= size
