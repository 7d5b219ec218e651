"""Lines of a journal: appending one, and reading those that are whole."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from .events import is_sound
from .files import open_plain

__all__ = ["Lines", "append", "read_lines", "well_formed"]

_MOST_LINE = 4 * 2**20
"""Bytes of a line; a longer one is none of ours."""
_SURROGATE = b"\\ud"
_TOO_LONG = b"a longer one"
_BLOCK = 2**20
_OF_SAMPLES = (b'{"event":"sample"', b'{"event":"place"')
_OF_FORKS = (b'{"event":"fork"',)


def well_formed(text: str) -> str:
    """Return a text without halves of surrogate pairs, which neither memray nor a file nor a terminal takes."""
    return text.encode(errors="replace").decode()


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
