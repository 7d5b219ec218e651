"""Lines of a journal: appending one, and reading those that are whole."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from .asked_calls import AskedCalls, Tests
from .events import Event, decode, decode_lines
from .files import open_plain

__all__ = ["Lines", "append", "read_lines", "texts"]

_MOST_LINE = 4 * 2**20
"""Bytes of a line; a longer one is none of ours."""
_TOO_LONG = b"a longer one"
_BLOCK = 2**20
_SAMPLES = ("sample", "place", "source")
_SERIES = ("memory",)
_FORKS = ("fork",)


def append(path: Path, line: dict[str, Any]) -> None:
    """Append a line to a journal that is there, of whatever process; raises `OSError` where that cannot be done.

    One that is appended to so is never compacted (`compaction.py`): a line could come to a file that was replaced.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(descriptor, json.dumps(line, separators=(",", ":")).encode() + b"\n")
    finally:
        os.close(descriptor)


class Lines:
    """The lines of a journal that are whole and hold what they must; each once, as its event.

    Those of samples, which are most of it, of sources and of forks are of use with a capture only, those of memory over
    time with a timeline; they are left out unless asked for. Of calls, `only` may say what is asked for: most others
    are passed over then. Raises `OSError` where the file is no plain one, or cannot be read.
    """

    def __init__(
        self,
        source: Path | int,
        *,
        with_samples: bool = False,
        with_forks: bool = False,
        with_series: bool = False,
        start: int = 0,
        stop: int | None = None,
        only: Tests | None = None,
    ) -> None:
        self.left_out = 0
        """How many lines so far were damaged; the last one, if it was torn by a kill, is not counted."""
        self._stop = stop
        self.end = start
        """Where in the file the last whole line ends, when all is read."""
        number = source if isinstance(source, int) else open_plain(source)
        self._file = open(number, "rb", buffering=0, closefd=number != source)  # noqa: SIM115  # closed when all is read
        left_out = ((_SAMPLES, with_samples), (_FORKS, with_forks), (_SERIES, with_series))
        self._unwanted = frozenset(event for events, is_wanted in left_out if not is_wanted for event in events)
        self._asked = AskedCalls(only, self._unwanted) if only else None

    @property
    def other_names(self) -> frozenset[str]:
        """Names of calls so far, also of those that were passed over."""
        return frozenset(self._asked.names if self._asked is not None else ())

    def _read_at(self, number: int, at: int) -> tuple[int, bytes]:
        position, data = _read_at(number, at)
        return position, data if self._stop is None else data[: max(self._stop - position, 0)]

    def __iter__(self) -> Iterator[Event]:
        return chain.from_iterable(self.many())

    def many(self) -> Iterator[list[Event]]:
        """Yield some thousands at once."""
        with self._file as file:
            torn = 0
            number = file.fileno()
            unwanted = tuple(f'{{"event":"{event}"'.encode() for event in self._unwanted)
            for text, is_ended, end in texts(lambda at: self._read_at(number, at), self.end):
                self.end = end
                torn = 0 if is_ended else len(text)
                if b"\n" in text:
                    try:
                        yield self._many(text)
                        continue
                    except ValueError:
                        pass  # of one of them; each is looked at
                found: list[Event] = []
                for one in text.split(b"\n"):
                    if one and not one.startswith(unwanted):
                        try:
                            found += self._alone(one)
                            torn = 0  # it is whole, if its end is still to come
                        except ValueError:
                            self.left_out += is_ended
                yield found
            self.end -= torn

    def _many(self, text: bytes) -> list[Event]:
        return decode_lines(text, self._unwanted) if self._asked is None else self._asked.decode_lines(text)

    def _alone(self, text: bytes) -> list[Event]:
        if self._asked is not None:
            with contextlib.suppress(ValueError):
                return self._asked.decode_lines(text)
        event = decode(text)
        return [] if event is None else [event]


def read_lines(
    source: Path | int,
    *,
    with_samples: bool = False,
    with_forks: bool = False,
    with_series: bool = False,
    start: int = 0,
    stop: int | None = None,
    only: Tests | None = None,
) -> Lines:
    """Return the lines of a journal, or of one that is open, to go through once: from a byte on, up to another."""
    return Lines(
        source,
        with_samples=with_samples,
        with_forks=with_forks,
        with_series=with_series,
        start=start,
        stop=stop,
        only=only,
    )


def texts(read_at: Callable[[int], tuple[int, bytes]], position: int) -> Iterator[tuple[bytes, bool, int]]:
    """Yield lines, one or many at once, whether they have their end, and how far has been read.

    A kill may have torn the end of the last off. Of one that is too long there is a stand-in, and where the file has a
    hole there is one NUL. `read_at` returns where there is something from a position on, and some of it.
    """
    pending = bytearray()
    is_too_long = False
    while True:
        start, block = read_at(position)
        if start > position and not is_too_long:
            pending += b"\0"
        if not block:
            if pending:
                yield bytes(pending), False, start
            return
        position = start + len(block)
        first, last = 0, block.rfind(b"\n") + 1
        if last and (pending or is_too_long):
            first = block.index(b"\n") + 1
            is_too_long = is_too_long or len(pending) + first - 1 > _MOST_LINE
            yield (
                (_TOO_LONG if is_too_long else bytes(pending) + block[: first - 1]),
                True,
                position - len(block) + first,
            )
            pending, is_too_long = bytearray(), False
        if first < last:
            yield block[first : last - 1], True, position - len(block) + last
        if not is_too_long:
            pending += memoryview(block)[last:]
            if len(pending) > _MOST_LINE:
                is_too_long, pending = True, bytearray()


def _read_at(number: int, position: int) -> tuple[int, bytes]:
    """Read from where the file has data again: one of terabytes may be one hole. Others may write to it meanwhile."""
    size = os.fstat(number).st_size
    if position < size:
        try:
            position = os.lseek(number, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to what was its end
                position = size
    return position, os.pread(number, _BLOCK, position)
