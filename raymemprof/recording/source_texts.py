"""Keeps the source texts of the user's code beside the journal, so that reports show lines whose files are gone.

Those are the cells and scripts that came with decorated code (`origin.py`), the cells of this process if it is a
kernel, and the user's modules, as far as recorded code refers to them (`referenced_files.py`). The thread that holds
the capture open does it, bit by bit, and calls do nothing for it. Each text is one file in the folder, whatever number
of processes have it.
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
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .. import journal as contract
from ..cells import cell_of, shell
from . import warn
from .origin import arrived, definitions
from .referenced_files import count_recorded, files_of_recorded, has_block, is_users_file
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
        self.files: Iterator[str] | None = None
        """What is to be gone on with."""
        self.done: set[str] = set()
        self.taken: int | None = None
        """Bytes of texts in the folder, as far as it was looked at."""


_MODE = 0o600
"""Of a text: what is in it may have been hidden by the folder that the file lies in."""
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
        if kept.files is None:
            if there == kept.seen or journal.is_lost():
                return
            kept.seen = there
            kept.files, kept.done = itertools.chain(list(arrived), files_of_recorded()), set()
        end = time.thread_time() + seconds
        for file in kept.files:
            if file not in kept.done:
                kept.done.add(file)
                _keep(journal, kept, max_bytes // _SHARE, file)
            if time.thread_time() >= end:
                return
        kept.files = None
    except Exception as error:
        warn.once("sources", f"source texts were not kept in {journal.folder}: {error!r}")


def _keep(journal: Journal, kept: _Kept, most: int, file: str) -> None:
    """Keep what is new of a file."""
    found = _text_of(file, kept)
    if found is None:
        return
    name, data = found
    digest = contract.digest_of(data)
    is_room = len(kept.noted) < _MOST_FILES and kept.size + len(data) <= _MOST_BYTES
    if kept.noted.get(file) == (digest, name) or not is_room:
        return
    kept.size += len(data)
    path = Path(journal.folder, contract.source_name(digest))
    if not _is_there(path):
        if kept.taken is None or kept.taken + len(data) > most:
            kept.taken = _make_room(path.parent, most - len(data))
        kept.taken += len(data)
        _write(path, data)
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


def _write(path: Path, data: bytes) -> None:
    if file_size_limit.longest_file() < len(data):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    kept = descriptors.open_kept(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), _MODE)
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


def _make_room(folder: Path, most: int) -> int:
    """Have the texts go that were needed longest ago, until the others take `most` bytes at most; return theirs."""
    found: list[tuple[float, int, str]] = []
    for entry in descriptors.scan(folder):
        if contract.is_source(entry.name):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                found.append((status.st_mtime, status.st_size, entry.name))
    total = sum(size for _, size, _ in found)
    for _, size, name in sorted(found):
        if total <= most:
            break
        with contextlib.suppress(OSError):  # another process removed it, or it is somebody else's
            (folder / name).unlink()
        total -= size
    return total
