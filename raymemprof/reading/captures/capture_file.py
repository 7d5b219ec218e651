"""Opens a capture for memray: only a plain file, and without the zeros that it ends in.

memray makes a capture larger before it writes there, so what a killed process leaves ends in zeros: a tenth of it. Its
reader looks for where they begin one by one, for a second a megabyte, several times.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

from ... import journal as contract

__all__ = ["breaks_off", "opened"]

_BLOCK = 2**20
_FEW_ZEROS = 64 * 1024
"""Bytes of zeros that memray may look through."""
_MOST_PARTS = 10_000
"""Parts of a file with holes that are looked at one by one."""
_LEAST_FREE = 0.1
"""The part of a disk that a copy leaves free."""
_COMPRESSED = bytes.fromhex("04224d18")
"""How a file begins that is compressed with LZ4, as memray does when it closes a capture."""
_LENGTHS, _BLOCK_SUMS, _SUM, _DICTIONARY = 8, 16, 4, 1
"""Flags of such a file: what stands in it besides its blocks."""
_LENGTH = 2**31 - 1
"""The bits of a block's first number that are its length."""
_OTHER = (
    "its checksum is not the one in its journal: one of the two was damaged since it was closed, or it is a copy that "
    "was made before, which can be fetched again"
)


@contextlib.contextmanager
def opened(path: str, checksum: tuple[int, int] | None) -> Iterator[str]:
    """Yield a path by which memray finds the capture, which stays the same file, whatever takes its name meanwhile.

    Raises `OSError` where it cannot be read, and `ValueError` where there is nothing in it, or its size or checksum is
    not the one that its process gave.
    """
    with contextlib.ExitStack() as stack:
        descriptor = contract.open_plain(path, follow=True)
        stack.callback(os.close, descriptor)
        before = os.fstat(descriptor)
        stack.callback(_check_unchanged, descriptor, before, is_over=checksum is not None)
        size = before.st_size
        end = _end(descriptor, size)
        if size and not end:
            raise ValueError("it holds nothing but zeros")
        if checksum is not None and (size != checksum[0] or contract.checksum(descriptor) != checksum):
            raise ValueError(_OTHER)
        if sys.platform != "linux":
            yield path
            return
        if size - end > _FEW_ZEROS:
            for folder in (os.path.dirname(path), tempfile.gettempdir()):
                with contextlib.suppress(OSError):  # it may not be written to; without a copy it takes long
                    usage = shutil.disk_usage(folder)
                    if usage.free - end < usage.total * _LEAST_FREE:
                        continue
                    copy = stack.enter_context(tempfile.TemporaryFile(dir=folder))  # no name leads to it
                    _copy(descriptor, copy.fileno(), end)
                    descriptor = copy.fileno()
                    break
        yield f"/proc/self/fd/{descriptor}"


def _check_unchanged(descriptor: int, before: os.stat_result, *, is_over: bool) -> None:
    """Refuse a capture that changed while it was read, but for one that its process still writes and that grew."""
    now = os.fstat(descriptor)
    has_changed = (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
    if now.st_size < before.st_size or (is_over and has_changed):
        raise ValueError("it changed while it was read; try again")


def _end(descriptor: int, size: int) -> int:
    """Return where the zeros begin that a file ends in."""
    for start, end in reversed(_parts(descriptor, size)):
        while end > start:
            begin = max(end - _BLOCK, start)
            data = os.pread(descriptor, end - begin, begin).rstrip(b"\0")
            if data:
                return begin + len(data)
            end = begin
    return 0


def _parts(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Return where a file has data and where that ends: a file of terabytes may be one hole."""
    parts: list[tuple[int, int]] = []
    end = 0
    try:
        while end < size and len(parts) < _MOST_PARTS:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
            parts.append((start, end))
    except OSError as error:
        if error.errno == errno.ENXIO:  # there is none any more
            return parts
        return [(0, size)]  # this file system does not tell
    return parts if end >= size else [(0, size)]


def _copy(source: int, to: int, size: int) -> None:
    position = 0
    while position < size:
        data = os.pread(source, min(_BLOCK, size - position), position)
        if not data:
            return  # it has become shorter
        position += os.write(to, data)


def breaks_off(path: str) -> bool:
    """Whether a closed capture has no end: it was cut, or copied in part. memray reads it as if it were whole."""
    with open(path, "rb") as file:
        start = file.read(6)
        if len(start) < 6 or not start.startswith(_COMPRESSED):
            return False
        flags = start[4]
        file.seek(1 + 8 * bool(flags & _LENGTHS) + 4 * bool(flags & _DICTIONARY), os.SEEK_CUR)
        while len(number := file.read(4)) == 4:
            length = int.from_bytes(number, "little") & _LENGTH
            if not length:
                return bool(flags & _SUM) and len(file.read(4)) < 4
            file.seek(length + 4 * bool(flags & _BLOCK_SUMS), os.SEEK_CUR)
        return True
