"""Source texts beside a journal: each content is one file, named by its checksum, which lines of journals name."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from .file_names import PREFIX
from .files import open_plain

__all__ = [
    "MOST_TEXT",
    "digest_of",
    "is_confidential",
    "named_sources",
    "read_text",
    "read_text_at",
    "source_name",
]

MOST_TEXT = 512 * 2**10
"""Bytes of a source text that is kept; a longer one is none that people write."""
_DIGEST = 32
_LINE = b'{"event":"source"'
_NAMED = re.compile(rb'"text":"([0-9a-f]{%d})"' % _DIGEST)
_READABLE = 0o005
"""World-readable, or a program."""


def digest_of(data: bytes) -> str:
    """Return the checksum that names a text."""
    return hashlib.sha256(data).hexdigest()[:_DIGEST]


def source_name(digest: str) -> str:
    """Return the name of the file with a text."""
    return f"{PREFIX}source-{digest}.txt"


def read_text(folder: Path, digest: str) -> str | None:
    """Return a text that lies in a folder; None where it is gone, or is not what its name says."""
    try:
        data = read_text_at(folder / source_name(digest), follow=False)
    except OSError:
        return None
    return None if data is None or digest_of(data) != digest else data.decode(errors="replace")


def read_text_at(path: Path, *, follow: bool = True) -> bytes | None:
    """Return what a text file has; None where it is too long. Raises `OSError`."""
    with open(open_plain(path, follow=follow), "rb") as file:
        data = file.read(MOST_TEXT + 1)
    return data if len(data) <= MOST_TEXT else None


def is_confidential(file: str) -> bool:
    """Whether a file may hold secrets, by memray's rule: it has no `.py`, is no program, and not all may read it."""
    if file.endswith(".py"):
        return False
    try:
        return not stat.S_IMODE(os.stat(file).st_mode) & _READABLE
    except (OSError, ValueError):
        return True


def named_sources(journal: Path) -> set[str]:
    """Return the names of the files with texts that a journal names. Raises `OSError`."""
    found: set[str] = set()
    with open(open_plain(journal), "rb") as file:
        for line in file:
            if line.startswith(_LINE):
                named = _NAMED.search(line)
                if named is not None:
                    found.add(source_name(named[1].decode()))
    return found
