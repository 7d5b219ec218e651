"""How much of what this process has mapped is really in memory, by range of addresses. Linux only.

An allocation reserves addresses; the kernel gives memory when they are touched. `/proc/self/pagemap` tells that page by
page. What is noted is the exception: ranges that are not, or not wholly, resident. All else is.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..safety import descriptors
from .process_memory import PAGE

__all__ = ["Look", "Mappings", "Segment"]

_PAGEMAP = "/proc/self/pagemap"
_GRAIN = 64
"""Pages that are told apart from their neighbours: 256 KiB."""
_CHUNK = 2**15
"""Pages whose entries are read at once: 128 MiB of addresses."""
_ENTRY = 8
"""Bytes of a page's entry."""
_FEW = 1024
"""Pages that are asked for without letting go of the interpreter's lock, in some 10 microseconds: to get it back takes
5 ms for each thread that computes, and there are thousands of mappings."""
_MOST_SEGMENTS = 400
_MOST_FOUND = 8_000
"""Segments that are gathered before those are dropped of which most is resident. A process may have millions."""
_MOST_REMEMBERED = 8_000
"""Mappings of which it is remembered how they were, in each of the ways below."""
_LOOK_AGAIN = 8
"""Looks after which a mapping is looked at again that was wholly resident."""
_LEAST_DOUBTFUL = 256
"""Pages from which it is worth asking whether they are zeros that were only read."""
_MIMALLOCS = (2 << 40, 30 << 40)
"""Addresses at which mimalloc asks the system for its arenas, where it gets them most times; nothing else is there."""
_LIBRARY = re.compile(rb"\.so(\.[0-9.]+)?( \(deleted\))?$")
_PRIVATE, _DOUBTFUL, _OTHER = 1, 2, 3
_ARENA_BYTES = 64 * 2**20
"""glibc's arenas of threads lie at multiples of this."""


def _classes() -> bytes:
    """What the highest byte of a page's entry says of it."""
    present, of_file, exclusive = 0x80, 0x20, 0x01
    table = bytearray(256)
    for value in range(256):
        if value & present:
            # The zero page is nobody's own; a page that a fork shares is not either.
            table[value] = _OTHER if value & of_file else _PRIVATE if value & exclusive else _DOUBTFUL
    return bytes(table)


_CLASSES = _classes()

_mincore = ctypes.CDLL(None, use_errno=True).mincore
_mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_pread = ctypes.PyDLL(None).pread
_pread.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)
_pread.restype = ctypes.c_ssize_t

Segment = tuple[int, int, int, int]
"""First page, pages, and how many of these are resident: as the process's own, and as a file's or shared memory's."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was resident at a moment."""

    segments: tuple[Segment, ...]
    """Ranges that are not wholly the process's own resident memory, of those that are looked at."""
    arenas: tuple[tuple[int, int], ...]
    """First page and pages of the arenas of pools."""
    in_arenas: int
    """Bytes resident in them."""
    heap_holes: int
    """Bytes of malloc's own heaps that are not resident."""
    libraries: int
    """Bytes that loaded libraries have of their own: their data, written to or relocated."""


@dataclass(slots=True)
class _Mapping:
    start: int
    end: int
    is_anonymous: bool
    is_heap: bool
    is_library: bool
    may_be_arena: bool


@dataclass(slots=True)
class _Found:
    """What is being gathered for a look."""

    segments: list[list[int]] = field(default_factory=list)
    doubtful: list[int] = field(default_factory=list)
    """Beside each segment, its pages that are the process's own if they are not zeros."""
    heap_holes: int = 0
    arenas: list[tuple[int, int]] = field(default_factory=list)
    in_arenas: int = 0
    libraries: int = 0

    def add(self, page: int, pages: int, private: int, doubtful: int, other: int) -> None:
        if private == pages:
            return
        last = self.segments[-1] if self.segments else None
        if last is not None and last[0] + last[1] == page:
            was_empty, is_empty = not (last[2] or last[3] or self.doubtful[-1]), not (private or doubtful or other)
            if was_empty == is_empty:
                last[1] += pages
                last[2] += private
                last[3] += other
                self.doubtful[-1] += doubtful
                return
        if len(self.segments) >= _MOST_FOUND:
            self._drop()
        self.segments.append([page, pages, private, other])
        self.doubtful.append(doubtful)

    def _drop(self) -> None:
        """Keep half of the segments, those that miss the most."""
        missing = sorted(range(len(self.segments)), key=lambda one: self.segments[one][2] - self.segments[one][1])
        kept = sorted(missing[: len(missing) // 2])
        self.segments = [self.segments[one] for one in kept]
        self.doubtful = [self.doubtful[one] for one in kept]


class Mappings:
    """Looks at this process's mappings, without those that were there at first and have not changed."""

    def __init__(self) -> None:
        self._buffer = bytearray(_CHUNK * _ENTRY)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        self._looks = 0
        self._whole: dict[tuple[int, int], int] = {}
        """Mappings that were wholly resident, and at which look: they are not looked at each time."""
        self._arenas: set[int] = set()
        """Where arenas of pools begin, as far as they are known."""
        with descriptors.reading(_PAGEMAP) as pagemap:
            descriptor = pagemap.fileno()
            own = (one for one in _mappings() if not one.is_heap and not one.is_library)
            first = itertools.islice(own, _MOST_REMEMBERED)
            self._known = {(one.start, one.end): self._few(descriptor, one) for one in first}

    def look(self, pools: tuple[int, ...] | None = None) -> Look:
        """Look now. Raises `OSError` where the kernel does not tell.

        Args:
            pools: addresses in the memory of pools that manage it themselves: of that only the sum is wanted.
        """
        found = _Found()
        self._looks += 1
        if len(self._whole) > _MOST_REMEMBERED:
            self._whole.clear()
        with descriptors.reading(_PAGEMAP) as pagemap:
            descriptor = pagemap.fileno()
            for mapping in _mappings():
                if pools is not None and self._is_pools(mapping, pools):
                    found.arenas.append((mapping.start // PAGE, (mapping.end - mapping.start) // PAGE))
                    found.in_arenas += self._present(mapping) * PAGE
                elif mapping.is_library:
                    found.libraries += self._of_library(descriptor, mapping)
                elif mapping.is_heap or not self._is_known(descriptor, mapping):
                    self._scan(descriptor, mapping, found)
        if sum(found.doubtful) >= _LEAST_DOUBTFUL:
            _settle(found)
        segments = sorted(map(tuple, found.segments), key=lambda one: one[2] - one[1])[:_MOST_SEGMENTS]
        return Look(
            segments=tuple(sorted(segments)),  # type: ignore[arg-type]
            arenas=tuple(found.arenas),
            in_arenas=found.in_arenas,
            heap_holes=found.heap_holes,
            libraries=found.libraries,
        )

    def in_arenas(self, pools: tuple[int, ...]) -> int:
        """Return the bytes resident in the arenas of pools. Raises `OSError` where the kernel does not tell."""
        return sum([self._present(mapping) for mapping in _mappings() if self._is_pools(mapping, pools)]) * PAGE

    def _is_known(self, descriptor: int, mapping: _Mapping) -> bool:
        """Whether it was there at first, and so holds nothing that was traced, or was whole not long ago.

        The same addresses may have been given out again: then some pages of it are in another state, most likely.
        """
        key = (mapping.start, mapping.end)
        if key in self._known and self._few(descriptor, mapping) == self._known[key]:
            return True
        was_whole = self._looks - self._whole.get(key, -_LOOK_AGAIN) < _LOOK_AGAIN
        return was_whole and set(self._few(descriptor, mapping)) == {_PRIVATE}

    def _few(self, descriptor: int, mapping: _Mapping) -> bytes:
        """The classes of some pages of a mapping."""
        first, last = mapping.start // PAGE, mapping.end // PAGE - 1
        return b"".join([self._flags(descriptor, page, 1) for page in (first, (first + last) // 2, last)])

    def _is_pools(self, mapping: _Mapping, pools: tuple[int, ...]) -> bool:
        """Whether a mapping is an arena of a pool: where mimalloc asks for them, or with such an address in it."""
        if not mapping.is_anonymous or mapping.is_heap:
            return False
        if any(mapping.start <= address < mapping.end for address in pools):
            self._arenas.add(mapping.start)
        return mapping.start in self._arenas or _MIMALLOCS[0] <= mapping.start < _MIMALLOCS[1]

    def _of_library(self, descriptor: int, mapping: _Mapping) -> int:
        key = (mapping.start, mapping.end)
        size = _libraries.get(key)
        if size is None:
            if len(_libraries) >= _MOST_REMEMBERED:
                _libraries.clear()
            size = _libraries[key] = self._resident(descriptor, mapping) * PAGE
        return size

    def _flags(self, descriptor: int, page: int, pages: int) -> bytes:
        """The class of each of some pages."""
        size, at = pages * _ENTRY, page * _ENTRY
        view = memoryview(self._buffer)[:size]
        read = _pread(descriptor, self._address, size, at) if pages <= _FEW else os.preadv(descriptor, [view], at)
        if read < 0:
            raise OSError("the kernel does not tell")
        return bytes(view[7:read:_ENTRY]).translate(_CLASSES)

    def _resident(self, descriptor: int, mapping: _Mapping) -> int:
        """Pages of a mapping that are the process's own."""
        first, last = mapping.start // PAGE, mapping.end // PAGE
        found = 0
        for page in range(first, last, _CHUNK):
            flags = self._flags(descriptor, page, min(_CHUNK, last - page))
            found += flags.count(_PRIVATE) + flags.count(_DOUBTFUL)
        return found

    def _present(self, mapping: _Mapping) -> int:
        """Pages of a mapping that are in memory, whoever's: in a third of the time."""
        found = 0
        for start in range(mapping.start, mapping.end, len(self._buffer) * PAGE):
            size = min(len(self._buffer) * PAGE, mapping.end - start)
            if _mincore(start, size, self._address):
                if ctypes.get_errno() == errno.ENOMEM:  # it was unmapped since the mappings were read
                    continue
                raise OSError(ctypes.get_errno(), "the kernel does not tell")
            found += self._buffer.count(1, 0, size // PAGE)
        return found

    def _scan(self, descriptor: int, mapping: _Mapping, found: _Found) -> None:
        first, last = mapping.start // PAGE, mapping.end // PAGE
        own = present = 0
        for chunk in range(first, last, _CHUNK):
            flags = self._flags(descriptor, chunk, min(_CHUNK, last - chunk))
            pages = len(flags)
            private = flags.count(_PRIVATE)
            own += private
            present += private + flags.count(_DOUBTFUL)
            if private == pages or flags.count(0) == pages:
                found.add(chunk, pages, private, 0, 0)
                continue
            for start in range(0, pages, _GRAIN):
                grain = flags[start : start + _GRAIN]
                other = 0 if mapping.is_anonymous else grain.count(_OTHER)  # of anonymous memory it is zeros
                found.add(chunk + start, len(grain), grain.count(_PRIVATE), grain.count(_DOUBTFUL), other)
        if own == last - first:
            self._whole[mapping.start, mapping.end] = self._looks
        if mapping.is_heap:
            found.heap_holes += (last - first - present) * PAGE


_libraries: dict[tuple[int, int], int] = {}
"""Bytes that are this process's own of a library's mapping, which hardly change once it is loaded."""
_lines: dict[bytes, _Mapping | None] = {}
"""Lines of /proc/self/maps, and what they say: most are the same with the next look."""


def _mappings() -> Iterator[_Mapping]:
    """The mappings that allocations may lie in."""
    if len(_lines) >= _MOST_REMEMBERED:
        _lines.clear()
    with descriptors.reading("/proc/self/maps") as file:
        for line in file:
            if line in _lines:
                mapping = _lines[line]
            else:
                mapping = _mapping(line)
                if len(_lines) < _MOST_REMEMBERED:
                    _lines[line] = mapping
            if mapping is not None:
                if mapping.may_be_arena:
                    mapping.is_heap = _is_arena(mapping.start, mapping.end - mapping.start)
                yield mapping


def _mapping(line: bytes) -> _Mapping | None:
    fields = line.split(None, 5)
    permissions = fields[1]
    if permissions[:1] != b"r" or permissions[2:3] == b"x":
        return None
    path = fields[5].rstrip(b"\n") if len(fields) > 5 else b""
    is_library = _LIBRARY.search(path) is not None
    if path.startswith((b"[stack", b"[v")):
        return None
    start, _, end = fields[0].partition(b"-")
    first, last = int(start, 16), int(end, 16)
    is_anonymous = fields[4] == b"0"
    may_be_arena = is_anonymous and not path and first % _ARENA_BYTES == 0
    return _Mapping(first, last, is_anonymous, path == b"[heap]", is_library, may_be_arena)


def _is_arena(start: int, size: int) -> bool:
    """Whether malloc made a mapping for an arena: it begins with the arena, the heap before, and its own size."""
    try:
        with descriptors.reading("/proc/self/mem") as memory:
            head = os.pread(memory.fileno(), 4 * _ENTRY, start)
    except OSError:  # it has gone, or the kernel does not let it be read
        return False
    used, usable = (int.from_bytes(head[at : at + _ENTRY], sys.byteorder) for at in (2 * _ENTRY, 3 * _ENTRY))
    return 0 < used <= usable == size


def _anonymous() -> Iterator[tuple[int, int, int]]:
    """Yield the first page of each mapping, the one after its last, and how many are the process's own."""
    first = last = 0
    with descriptors.reading("/proc/self/smaps") as file:
        for line in file:
            if line.startswith(b"Anonymous:"):
                yield first, last, int(line.split()[1]) * 1024 // PAGE
            elif b"-" in (addresses := line.split(None, 1)[0]):
                from_, _, to = addresses.partition(b"-")
                first, last = int(from_, 16) // PAGE, int(to, 16) // PAGE


def _settle(found: _Found) -> None:
    """Find out how many of the doubtful pages are the process's own, as those are that a fork shares."""
    index = 0
    settled = set()
    for low, high, anonymous in _anonymous():
        within: list[int] = []
        while index < len(found.segments) and found.segments[index][0] < high:
            if found.segments[index][0] >= low and found.doubtful[index]:
                within.append(index)
            index += 1
        doubtful = sum(found.doubtful[one] for one in within)
        if doubtful:
            # What is whole is no segment: all of it is the process's own.
            noted = sum(one[1] for one in found.segments if low <= one[0] < high)
            known = high - low - noted + sum(one[2] for one in found.segments if low <= one[0] < high)
            share = min(max((anonymous - known) / doubtful, 0.0), 1.0)
            for one in within:
                settled.add(one)
                found.segments[one][2] += round(found.doubtful[one] * share)
    for one, pages in enumerate(found.doubtful):
        if one not in settled:  # its mapping has gone meanwhile
            found.segments[one][2] += pages
