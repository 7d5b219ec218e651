"""Whose the shared memory of this machine is: of files in tmpfs (/dev/shm), memfd, System V, and shared mappings."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import stat
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ...host import HostMemory
from .processes import USERS, Entry, Process, program
from .shared_memory import SharedMemoryOwner

__all__ = ["Store", "find_owners", "find_store"]

_LEAST = 2**20
"""Bytes from which on shared memory is looked for, or told."""
_LARGE = 0.05
"""The part of all from which on a piece has a line of its own; smaller ones of an owner are summed."""
_MOST = 12
"""Lines; the rest is summed."""
_SECONDS = 1.0
"""How long the looking may take; on a machine with many thousands of processes not all are looked at."""
_MOST_FILES = 50_000
_LOOK_AT_CLOCK = 256
"""Files after which it is looked at the clock."""
_RAY_STORE = "object store of another Ray node"

_UNKNOWN = -1
_Id = tuple[int, int]
"""Device and inode."""


@dataclass(slots=True)
class _Piece:
    kind: str
    name: str
    memory: int
    user: int | None = None
    """Of a file that has a name still."""
    holders: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Store:
    """The files of a node's object store, with what of them is where; they have no name any more."""

    files: frozenset[_Id] = frozenset()
    in_tmpfs: int = 0
    in_huge_pages: int = 0

    def held(self, memory: HostMemory) -> tuple[int | None, int]:
        """Return the bytes of used memory that it occupies, None where that is not known; those in huge pages apart.

        What is in files on a disk, where Ray puts them when /dev/shm is too small, is page cache, which the kernel can
        take back. What is swapped out is in its files and not in memory.
        """
        if not self.files:
            return None, 0
        in_huge_pages = min(self.in_huge_pages, memory.huge_pages)
        in_tmpfs = self.in_tmpfs if memory.shared is None else min(self.in_tmpfs, memory.shared)
        return in_tmpfs + in_huge_pages, in_huge_pages


def find_store(raylet: int, directory: str) -> Store:
    """Return the object store of a raylet, which keeps it in this directory."""
    files: dict[_Id, int] = {}
    with contextlib.suppress(OSError):  # not Linux, or another user's
        for link in os.scandir(f"/proc/{raylet}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(link.path).startswith(f"{directory}/plasma"):
                    found = os.stat(link.path)
                    files[found.st_dev, found.st_ino] = found.st_blocks * 512
    kinds = {device: kind for device, kind, _ in _mounts(raylet)}

    def of(kind: str) -> int:
        return sum(size for (device, _), size in files.items() if kinds.get(device) == kind)

    return Store(frozenset(files), of("tmpfs"), of("hugetlbfs"))


def find_owners(
    size: int, entries: Mapping[int, Entry], processes: Iterable[Process], store: Container[_Id]
) -> tuple[SharedMemoryOwner, ...]:
    """Say whose the machine's shared memory is, as far as that can be known within a second.

    Args:
        size: bytes that there are, this node's object store aside.
        entries: the machine's processes.
        processes: this node's.
        store: the files of this node's object store.

    Returns:
        The largest first, and the rest as one: together `size`, or more where pieces are swapped out or are counted in
        another container.
    """
    if size < _LEAST or not os.path.exists("/proc/self/maps"):
        return ()
    search = _Search(entries, {process.pid: process for process in processes}, store)
    return tuple(search.told(size))


class _Search:
    """One look at who has what."""

    def __init__(self, entries: Mapping[int, Entry], ours: Mapping[int, Process], store: Container[_Id]) -> None:
        self._entries, self._ours, self._store = entries, ours, store
        self._deadline = time.monotonic() + _SECONDS
        self._pieces: dict[_Id, _Piece] = {}
        self._mounts = [(device, path) for device, kind, path in _mounts(os.getpid()) if kind == "tmpfs"]
        self._kernels = _kernels_device()
        self._devices = {device for device, _ in self._mounts} | {self._kernels}
        self._strange: set[int] = set()
        self._prefixes = ("/memfd:", "/dev/shm/", *(f"{path}/" for _, path in self._mounts))
        self._unread = self._late = 0
        self._is_all_listed = True

    def told(self, size: int) -> Iterator[SharedMemoryOwner]:
        """Look, and say what there is."""
        for device, path in self._mounts:
            self._walk(device, path)
        self._system_v()
        for pid in self._by_use():
            if self._is_late():
                break
            self._mapped(pid)
        # What is mapped has an owner now; whether what is not is open is asked where that matters.
        unowned = sum(piece.memory for piece in self._pieces.values() if not piece.holders)
        known = sum(piece.memory for piece in self._pieces.values())
        if unowned >= _LEAST or size - known >= _LEAST:
            self._opened()
        found = sorted(self._by_owner(max(int(size * _LARGE), _LEAST)), key=lambda one: -one.memory)
        largest = [one for one in found if one.memory >= _LEAST][:_MOST]
        yield from largest
        rest = size - sum(one.memory for one in largest)
        if rest > 0:
            smaller = len(self._pieces) - sum(one.piece_count for one in largest)
            yield SharedMemoryOwner("the rest", self._why(), smaller, rest)

    def _why(self) -> str | None:
        reasons = []
        if self._unread:
            reasons.append(f"processes that may not be read: {self._unread}")
        if self._late:
            reasons.append(f"processes that were not looked at, for want of time: {self._late}")
        if not self._is_all_listed:
            reasons.append("not all files were listed")
        return "; ".join(reasons) or None

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def _walk(self, device: int, top: str) -> None:
        """Take in the files of a tmpfs."""
        count, waiting = 0, [top]
        while waiting and self._is_all_listed:
            try:
                folder = os.scandir(waiting.pop())
            except OSError as error:
                self._is_all_listed = not isinstance(error, PermissionError)
                continue
            for entry in folder:
                count += 1
                if count > _MOST_FILES or (count % _LOOK_AT_CLOCK == 0 and self._is_late()):
                    self._is_all_listed = False
                    break
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if found.st_dev != device:  # another file system is mounted there
                        continue
                    if stat.S_ISDIR(found.st_mode):
                        waiting.append(entry.path)
                    elif found.st_blocks and (piece := self._take(found, "tmpfs", entry.path)):
                        piece.user = found.st_uid

    def _take(self, found: os.stat_result, kind: str, name: str) -> _Piece | None:
        """Take in a piece of which the size is known; None where it is the object store's."""
        key = (found.st_dev, found.st_ino)
        if key in self._store:
            return None
        piece = self._pieces.setdefault(key, _Piece(kind, name, 0))
        piece.memory = found.st_blocks * 512
        return piece

    def _system_v(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            with open("/proc/sysvipc/shm") as file:
                heading, *lines = map(str.split, file)
            for line in lines:
                segment = dict(zip(heading, map(int, line), strict=True))
                piece = _Piece("System V", str(segment["shmid"]), segment["rss"])
                creator = self._entries.get(segment["cpid"])
                if creator is not None and creator.created <= segment["ctime"] + 1:
                    piece.holders.add(creator.pid)
                else:
                    piece.user = segment["uid"]
                self._pieces[-1, segment["shmid"]] = piece

    def _by_use(self) -> list[int]:
        """The processes that map shared memory, those first that map most."""
        found = []
        for number, pid in enumerate(self._entries):
            if number % _LOOK_AT_CLOCK == 0 and self._is_late():
                break
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/status", "rb") as file:
                _, is_there, rest = file.read().partition(b"RssShmem:")
                size = int(rest.split(None, 1)[0]) * 1024 if is_there else 0
                if size >= _LEAST:
                    found.append((size, pid))
        return [pid for _, pid in sorted(found, reverse=True)]

    def _mapped(self, pid: int) -> None:
        """Take in what a process maps."""
        try:
            with open(f"/proc/{pid}/maps", "rb") as file:
                lines = file.read().splitlines()
        except OSError as error:
            self._unread += isinstance(error, PermissionError)
            return
        sizes: dict[_Id, int] | None = None
        for line in lines:
            where, _, _, device, inode, *path = line.split(None, 5)
            if inode == b"0" or not path:
                continue
            major, minor = device.split(b":")
            key = (os.makedev(int(major, 16), int(minor, 16)), int(inode))
            name = os.fsdecode(path[0])
            if name.startswith("/SYSV"):
                if self._kernels in (key[0], _UNKNOWN):
                    self._hold((-1, key[1]), pid)
                else:  # of huge pages, which are no shared memory to the kernel
                    self._pieces.pop((-1, key[1]), None)
                continue
            if key in self._store or not self._is_shared(key[0], name, pid):
                continue
            if key not in self._pieces:
                with contextlib.suppress(OSError):  # it takes privileges
                    found = os.stat(f"/proc/{pid}/map_files/{where.decode()}")
                    self._take(found, *_kind(name))
            if key not in self._pieces:
                self._opened_by(pid)
            if key not in self._pieces:  # what this process has of it is the least that there is
                sizes = _resident(pid) if sizes is None else sizes
                self._pieces[key] = _Piece(*_kind(name), sizes.get(key, 0))
            self._hold(key, pid)

    def _hold(self, key: _Id, pid: int) -> None:
        if key in self._pieces:
            self._pieces[key].holders.add(pid)

    def _is_shared(self, device: int, name: str, pid: int) -> bool:
        """Whether a file is in memory; also where a process has a tmpfs of its own, as in another container."""
        if device not in self._devices and name.startswith("/dev/shm/") and device not in self._strange:
            theirs = {one for one, kind, _ in _mounts(pid) if kind == "tmpfs"}
            self._devices |= theirs
            self._strange |= {device} - theirs
        return device in self._devices

    def _opened(self) -> None:
        """Take in what processes have open: this node's first."""
        pids = sorted(self._entries, key=lambda pid: pid not in self._ours)
        for number, pid in enumerate(pids):
            if self._is_late():
                self._late = len(pids) - number
                break
            self._opened_by(pid)

    def _opened_by(self, pid: int) -> None:
        try:
            links = os.listdir(f"/proc/{pid}/fd")
        except OSError as error:
            self._unread += isinstance(error, PermissionError)
            return
        for link in links:
            with contextlib.suppress(OSError):
                path = f"/proc/{pid}/fd/{link}"
                name = os.readlink(path)
                if name.startswith(self._prefixes):
                    found = os.stat(path)
                    if stat.S_ISREG(found.st_mode) and self._is_shared(found.st_dev, name, pid):
                        piece = self._take(found, *_kind(name))
                        if piece is not None:
                            piece.holders.add(pid)

    def _by_owner(self, large: int) -> Iterator[SharedMemoryOwner]:
        groups: dict[tuple[int | None, int | None, str, str], list[_Piece]] = {}
        for piece in self._pieces.values():
            owner = self._owner(piece.holders)
            kind = piece.kind
            if owner is not None and self._is_store(piece, owner):
                kind = _RAY_STORE
            name = piece.name if piece.memory >= large else ""
            groups.setdefault((owner, piece.user if owner is None else None, kind, name), []).append(piece)
        for (pid, user, kind, _), pieces in groups.items():
            largest = max(pieces, key=lambda piece: piece.memory)
            found = SharedMemoryOwner(
                kind=kind,
                name=largest.name,
                piece_count=len(pieces),
                memory=sum(piece.memory for piece in pieces),
                user=None if user is None else _user(user),
            )
            if pid is not None:
                process = self._ours.get(pid) or Process(pid, "", program(self._entries[pid].command))
                found = dataclasses.replace(
                    found,
                    pid=pid,
                    role=process.role or None,
                    process_name=process.name,
                    sharer_count=len(set().union(*(piece.holders for piece in pieces)) - {pid}),
                    actor_id=process.actor_id,
                )
            yield found

    def _is_store(self, piece: _Piece, owner: int) -> bool:
        is_raylet = self._entries[owner].option("raylet_socket_name") is not None
        return is_raylet and os.path.basename(piece.name).startswith("plasma")

    def _owner(self, holders: set[int]) -> int | None:
        """Of several that have it the one whose it is: a raylet first, then a worker; a parent before its child."""

        def rank(pid: int) -> tuple[bool, bool, bool, float, int]:
            entry, process = self._entries[pid], self._ours.get(pid)
            return (
                entry.option("raylet_socket_name") is None,
                process is None or process.role not in USERS,
                entry.parent in holders,
                entry.created,
                pid,
            )

        return min((pid for pid in holders if pid in self._entries), key=rank, default=None)


def _mounts(pid: int) -> Iterator[tuple[int, str, str]]:
    """Yield device, kind and place of each file system that a process sees."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/mountinfo", "rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, IndexError):
                before, _, after = line.partition(b" - ")
                fields = before.split()
                major, minor = map(int, fields[2].split(b":"))
                yield os.makedev(major, minor), after.split()[0].decode(), os.fsdecode(_unescaped(fields[4]))


def _unescaped(path: bytes) -> bytes:
    """Return a path as it is: the kernel writes blanks as octal numbers."""
    return path.decode("unicode_escape").encode("latin-1") if b"\\" in path else path


def _kernels_device() -> int:
    """The device of memory that has no mount: memfd, shared mappings, System V."""
    try:
        descriptor = os.memfd_create("raymemprof")
    except (OSError, AttributeError):
        return _UNKNOWN
    try:
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)


def _resident(pid: int) -> dict[_Id, int]:
    """Return what a process has in memory of each file that it maps, in bytes."""
    found: dict[_Id, int] = {}
    key = None
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps", "rb") as file:
        for line in file:
            fields = line.split(None, 5)
            if not fields[0].endswith(b":"):
                major, minor = fields[3].split(b":")
                key = (os.makedev(int(major, 16), int(minor, 16)), int(fields[4]))
            elif fields[0] == b"Rss:" and key is not None:
                found[key] = found.get(key, 0) + int(fields[1]) * 1024
    return found


def _kind(name: str) -> tuple[str, str]:
    """Return the kind of what has this name among a process's files, and what to call it."""
    if name.startswith("/dev/zero"):
        return "anonymous", "mapping"
    shown = name.removesuffix(" (deleted)")
    return ("memfd", shown[1:]) if name.startswith("/memfd:") else ("tmpfs", shown)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
