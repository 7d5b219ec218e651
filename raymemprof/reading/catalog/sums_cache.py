"""Sums of large journals, kept for the next time: what was added since is all that has to be read then.

They lie in the user's cache directory. Where that is not this user's own, or cannot be written to, nothing is kept, and
all is read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
import time
import zlib
from pathlib import Path

import msgspec
from msgspec import Struct

from ... import journal as contract
from . import digest as digests
from .digest import Digest

__all__ = ["read_sums"]

_WORTH = 2**20
"""Bytes from which a journal takes longer to read than its sums."""
_MOST = 8 * 2**20
"""Bytes of sums that are kept of one journal."""
_STRETCHES = 16
_STRETCH = 64
"""Of so many places of what was read, so many bytes must still be the same."""
_SECONDS_KEPT = 7 * 86400
_ENTRY = re.compile(r"[0-9a-f]{32}\.sums(-\w{1,20})?")
"""An entry, or one that a killed process has not finished."""
_CHECK = 4
"""Bytes of a checksum, with which an entry begins."""


class _Kept(Struct):
    version: int
    device: int
    inode: int
    size: int
    changed: int
    """When the journal was last written to, in nanoseconds."""
    stretches: bytes
    digest: Digest


_MEANING = 1
"""Raised whenever the same fields come to mean something else."""
_FIELDS = [(one.__name__, one.__struct_fields__) for one in (_Kept, *digests.KEPT)]
_VERSION = zlib.crc32(repr([_MEANING, contract.BUCKET, *_FIELDS]).encode())
"""Of what is kept: what was kept by another version, which has other fields, is read anew."""


def read_sums(path: Path) -> Digest:
    """Return what a journal says, with the sums of calls that have ended; raises `OSError` where it cannot be read."""
    with open(contract.open_plain(path), "rb", buffering=0) as journal:
        # Opened once: what is read is all of one file, also where another takes its name.
        opened = journal.fileno()
        status = os.fstat(opened)
        file = _file_of(path) if status.st_size >= _WORTH else None
        digest = (_remembered(file, opened, status) if file is not None else None) or Digest(sums={})
        start = digest.end
        digest.read(contract.read_lines(opened, start=start))
        if file is not None and digest.end - start >= _WORTH:
            with contextlib.suppress(OSError, ValueError, TypeError, OverflowError, RecursionError):
                _remember(file, opened, status, digest)
    return digest


def _file_of(path: Path) -> Path | None:
    """Where the sums of a journal are kept, if this user has a place for it."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if not cache.is_absolute():  # which is to be ignored
            cache = Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return None
    return cache / "raymemprof" / "sums" / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]}.sums"


def _remembered(file: Path, journal: int, status: os.stat_result) -> Digest | None:
    try:
        if not _are_own(file):
            return None
        with open(contract.open_plain(file), "rb") as opened:
            data = opened.read(_MOST + 1)
        if len(data) > _MOST or data[:_CHECK] != _checksum(data[_CHECK:]):
            return None
        kept = msgspec.msgpack.decode(data[_CHECK:], type=_Kept)
        if (kept.version, kept.device, kept.inode) != (_VERSION, status.st_dev, status.st_ino):
            return None
        is_as_it_was = kept.size < status.st_size or (kept.size, kept.changed) == (status.st_size, status.st_mtime_ns)
        is_same = is_as_it_was and kept.stretches == _stretches(journal, kept.digest.end)
    except (OSError, ValueError, OverflowError, RecursionError):
        return None
    return kept.digest if is_same and kept.digest.sums is not None else None


def _remember(file: Path, journal: int, status: os.stat_result, digest: Digest) -> None:
    place = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    data = bytearray()
    kept = _Kept(_VERSION, *place, _stretches(journal, digest.end), digest)
    msgspec.msgpack.Encoder().encode_into(kept, data)  # where memory is short `encode` ends the process
    if len(data) + _CHECK > _MOST:
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _are_own(file):
        return
    for old in file.parent.iterdir():
        with contextlib.suppress(OSError):
            if _ENTRY.fullmatch(old.name) and time.time() - old.lstat().st_mtime > _SECONDS_KEPT:
                old.unlink()
    descriptor, name = tempfile.mkstemp(prefix=f"{file.name}-", dir=file.parent)
    try:
        with open(descriptor, "wb") as new:
            new.write(_checksum(bytes(data)) + data)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _are_own(file: Path) -> bool:
    """Whether both folders are this user's, and no links: others could make them lead anywhere."""
    for folder in file.parents[:2]:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            return False
    return True


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(_CHECK, "little")


def _stretches(journal: int, end: int) -> bytes:
    """Parts of the first bytes of a journal, the last ones among them."""
    starts = [max(end * number // _STRETCHES - _STRETCH, 0) for number in range(1, _STRETCHES + 1)]
    return b"".join(os.pread(journal, min(_STRETCH, end), start) for start in starts)
