"""Files of recording, opened so that no pipe and no link is taken for one, and their checksums."""

from __future__ import annotations

import errno
import math
import os
import stat
import time
import zlib

__all__ = ["checksum", "open_plain"]

_NOT_PLAIN = "It is no plain file"
_CHECKED_AT_ONCE = 2**18


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
