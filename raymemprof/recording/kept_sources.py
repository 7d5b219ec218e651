"""Keeps the source texts of the user's code beside the journal, so that reports show lines whose files are gone.

Those are the cells and scripts that came with decorated code (`origin.py`), the cells of this process if it is a
kernel, and the user's modules, as far as recorded code refers to them (`reached.py`). The thread that holds the capture
open does it, bit by bit, and calls do nothing for it. Each text is one file in the folder, whatever number of processes
have it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import sys
import time
import weakref
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
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

__all__ = ["AT_FIRST", "AT_LAST", "keep_sources"]

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
        self.work: Iterator[None] | None = None
        """What is to be gone on with."""


AT_FIRST, AT_LAST = 0.02, 0.2
"""Seconds of work before the first call begins, and before the capture is closed: a project of a hundred modules takes
half of that."""
_SLICE = 0.005
"""Seconds of work at a look, of which there are twenty a second."""

_kept: weakref.WeakKeyDictionary[Journal, _Kept] = weakref.WeakKeyDictionary()


def keep_sources(journal: Journal, max_bytes: int, seconds: float = _SLICE) -> None:
    """Keep what is new, for so many seconds of a CPU; what is left then is gone on with the next time. Never raises."""
    try:
        kept = _kept.setdefault(journal, _Kept())
        there = (len(sys.modules), len(arrived), count_recorded(), getattr(shell(), "execution_count", 0))
        if kept.work is None:
            if there == kept.seen or journal.is_lost():
                return
            kept.seen = there
            files = itertools.chain(list(arrived), files_of_recorded())
            kept.work = _keep(journal, kept, max_bytes // _SHARE, files)
        end = time.thread_time() + seconds
        for _ in kept.work:
            if time.thread_time() >= end:
                return
        kept.work = None
    except Exception as error:
        warn.once("sources", f"source texts were not kept in {journal.folder}: {error!r}")


def _keep(journal: Journal, kept: _Kept, most: int, files: Iterable[str]) -> Iterator[None]:
    """Keep what is new of some files; yields after each, so that it can be gone on with later."""
    done = set()
    room: _Room | None = None
    for file in files:
        yield
        if file in done:
            continue
        done.add(file)
        found = _text_of(file, kept)
        if found is None:
            continue
        name, data = found
        digest = contract.digest_of(data)
        if kept.noted.get(file) == (digest, name):
            continue
        kept.size += len(data)
        if len(kept.noted) >= _MOST_FILES or kept.size > _MOST_BYTES:
            return
        path = Path(journal.folder, contract.source_name(digest))
        if not _is_there(path):
            room = room or _Room(path.parent)
            room.take(len(data), most)
            _write(path, data, journal.mode)
        journal.write({"event": "source", "file": file, "text": digest, **({"name": name} if name else {})})
        kept.noted[file] = digest, name


def _text_of(file: str, kept: _Kept) -> tuple[str | None, bytes] | None:
    """Return a cell's name, and what is to be kept of a file; None where nothing new is."""
    text, cell = arrived.get(file), cell_of(file)
    if text is not None:
        return text.name, zlib.decompress(text.data)
    if cell is not None:
        ran_here = cell.text if has_block(file) else definitions(cell.text)
        return cell.name, ran_here.encode(errors="replace")
    if file in kept.noted or not is_users_file(file) or contract.is_confidential(file):
        return None
    with contextlib.suppress(OSError):  # it is in an archive, or gone
        data = _read(file)
        return None if data is None else (None, data)
    return None


def _read(file: str) -> bytes | None:
    with descriptors.reading(file, os.O_NONBLOCK) as opened:
        is_plain = stat.S_ISREG(os.fstat(opened.fileno()).st_mode)
        data = opened.read(contract.MOST_TEXT + 1) if is_plain else b""
    return data if 0 < len(data) <= contract.MOST_TEXT and b"\0" not in data else None


def _is_there(path: Path) -> bool:
    """Whether a text is there; it is as good as new then."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def _write(path: Path, data: bytes, mode: int) -> None:
    if file_size_limit.longest_file() < len(data):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    kept = descriptors.open_kept(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    try:
        written = os.write(kept.number, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        descriptors.close(kept)


class _Room:
    """The room that source texts may take in a folder."""

    def __init__(self, folder: Path) -> None:
        """Look at what is there."""
        self._folder = folder
        self._oldest: deque[tuple[float, int, str]] = deque()
        found = []
        for entry in descriptors.scan(folder):
            if contract.is_source(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, status.st_size, entry.name))
        self._oldest.extend(sorted(found))
        self._taken = sum(size for _, size, _ in found)

    def take(self, size: int, most: int) -> None:
        """Have the texts go that were needed longest ago, until all take no more than `most` bytes with this one."""
        self._taken += size
        while self._taken > most and self._oldest:
            _, gone, name = self._oldest.popleft()
            with contextlib.suppress(OSError):  # another process removed it, or it is somebody else's
                (self._folder / name).unlink()
            self._taken -= gone
