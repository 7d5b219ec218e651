"""Sums of large journals, kept for the next time: what was added since is all that has to be read then.

They lie in the user's cache directory. Where that cannot be written to nothing is kept, and all is read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from ... import journal as contract
from .digest import Digest

__all__ = ["read_sums"]

_VERSION = 1
"""Of what is kept: that of another version is read anew."""
_WORTH = 2**20
"""Bytes from which a journal takes longer to read than its sums."""
_MOST = 8 * 2**20
"""Bytes of sums that are kept of one journal."""
_TAIL = 64
"""Bytes before the place that was read to, which must still be the same."""
_SECONDS_KEPT = 7 * 86400


class _Kept(Struct):
    version: int
    device: int
    inode: int
    tail: bytes
    digest: Digest


def read_sums(path: Path) -> Digest:
    """Return what a journal says, with the sums of calls that have ended; raises `OSError` where it cannot be read."""
    status = path.lstat()
    file = _file_of(path) if status.st_size >= _WORTH else None
    digest = (_remembered(file, path, status) if file is not None else None) or Digest(sums={})
    start, left_out = digest.end, digest.left_out
    digest.read(contract.read_lines(path, start=start))
    if file is not None and digest.end - start >= _WORTH and digest.left_out == left_out:
        with contextlib.suppress(OSError):
            _remember(file, path, status, digest)
    return digest


def _file_of(path: Path) -> Path | None:
    """Where the sums of a journal are kept, if this user has a place for it."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return None
    return cache / "raymemprof" / "sums" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.msgpack"


def _remembered(file: Path, path: Path, status: os.stat_result) -> Digest | None:
    try:
        kept = msgspec.msgpack.decode(file.read_bytes(), type=_Kept)
        is_same = (kept.version, kept.device, kept.inode) == (_VERSION, status.st_dev, status.st_ino)
        is_same = is_same and kept.digest.end <= status.st_size and kept.tail == _tail(path, kept.digest.end)
    except (OSError, ValueError, RecursionError):
        return None
    return kept.digest if is_same else None


def _remember(file: Path, path: Path, status: os.stat_result, digest: Digest) -> None:
    data = msgspec.msgpack.encode(_Kept(_VERSION, status.st_dev, status.st_ino, _tail(path, digest.end), digest))
    if len(data) > _MOST:
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in file.parent.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _SECONDS_KEPT:
                old.unlink()
    descriptor, name = tempfile.mkstemp(dir=file.parent)
    try:
        with open(descriptor, "wb") as new:
            new.write(data)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise


def _tail(path: Path, end: int) -> bytes:
    with open(contract.open_plain(path), "rb") as file:
        file.seek(max(end - _TAIL, 0))
        return file.read(min(end, _TAIL))
