"""Keeps the captures and journals in a folder within the node's disk budget.

Called by any of the node's workers when a capture was opened, has grown, or was closed; one at a time goes through the
folder. What goes first is what tells least: captures in which every call finished and none is among the largest of its
function, oldest first. Where those that are closed take too much by themselves, the largest peaks follow, then failed
and killed calls. Journals stay, and no more than half of the budget counts as theirs, so that captures have the rest.
From an eighth of it on, those of processes that have ended are compacted, on a thread of its own. From half of it on,
captures go for which most of their lines stay. A capture that is still written cannot go: where that is what is left,
or lines stay for it that take much, it has to end.

This runs in the user's process. So it holds some 5 MB at most, whatever lies on disk: captures are gone through by
the oldest `_MOST_AT_ONCE`, and journals line by line, with pauses in which the user's code runs alone.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .. import journal as contract
from . import compacting
from .safety import descriptors, file_locks

__all__ = ["compact_journals", "enforce", "has_to_end"]

_JUST_BEGUN = 60.0
"""Seconds."""
_LEFT = 0.8
"""How much of the budget stays in use once it was exceeded, so that not every capture goes through this."""
_OF_JOURNALS = 8
"""The part of the budget that journals may take before those of processes that have ended are compacted."""
_MOST_OF_JOURNALS = 2
"""The part of the budget that they count for at most. Where they take more, captures go for which lines stay."""
_MOST_OF_LINES = 16
"""The part of the budget that the lines of one capture may take before it ends."""
_LINES_PART = 20
"""The part of the time that a process may look at for which captures lines stay: all journals are read for that."""
_MOST_AT_ONCE = 8_000
"""Captures."""
_MOST_LARGEST = 10_000
"""Captures that are kept for their peaks at most, of all functions together, and functions of a process whose peaks are
told apart: names of blocks may be made up as it goes."""
_MOST_RUNNING = 10_000
"""Calls of a process that have begun and not ended, as far as they are told apart."""
_MOST_LINE = 2**16
"""Bytes of a line that says something here; a longer one is passed over."""
_MOST_TORN = 2**24
"""Bytes without the end of a line after which a file is no journal."""
_TELLING = tuple(b'{"event":"%b"' % event for event in (b"process", b"open", b"close", b"begin", b"end"))
_LINES_AT_ONCE = 256
_PAUSE = 0.002
"""Seconds after so many lines, which take less."""


class _Entry(NamedTuple):
    """A capture in the folder."""

    modified: float
    name: str
    size: int


@dataclass(slots=True)
class _Survey:
    """What the journals say of some captures, and which captures are written now."""

    known: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    largest: set[str] = field(default_factory=set)
    """Of all captures, those with the largest peaks of each function."""
    written: set[str] = field(default_factory=set)
    """Of all captures."""
    lines: dict[str, int] = field(default_factory=dict)
    """Bytes of journals that stay for a capture: the beginnings and ends of its calls."""

    def rank(self, entry: _Entry) -> int | None:
        """2 for failed and killed calls, 1 for the largest peaks, 0 for the rest; None where it cannot go."""
        names = _names(entry.name)
        if names & self.written:
            return None
        if not names & self.known and time.time() - entry.modified < _JUST_BEGUN:
            return None  # it is there for a moment before its journal says so
        return 2 if names & self.failed else 1 if names & self.largest else 0


def enforce(folder: Path, max_bytes: int, keep: int) -> int:
    """Where a folder's files take more than `max_bytes`, remove captures; returns how many. Raises `OSError`."""
    removed = 0
    seen: int | None = None
    while _taken(folder, max_bytes) > max_bytes:
        with _one_at_a_time(folder) as is_mine:
            if not is_mine:
                break
            closed, gone = _make_room(folder, max_bytes, keep)
        removed += gone
        # Whoever closed a capture meanwhile found the folder held, and left it to this one.
        if not gone and closed == seen:
            break
        seen = closed
    return removed + _make_room_in_journals(folder, max_bytes, keep)


def has_to_end(capture: Path, lines: int, max_bytes: int) -> bool:
    """Whether a capture that is still written takes its share, or more, of a budget that is used up.

    Or so many bytes of the journal (`lines`) are of its calls that they must not stay for as long as it is written.
    """
    folder = capture.parent
    if lines >= compacting.LARGE and lines >= max_bytes // _MOST_OF_LINES:
        return True
    room = max_bytes - _of_journals(folder, max_bytes)
    total = count = own = 0
    for entry in _entries(folder):
        total += entry.size
        count += 1
        if entry.name == capture.name:
            own = entry.size
    if total <= room or own * count < room:  # however many of them are written
        return False
    return own * max(len(_survey(folder, set(), 0).written), 1) >= room


def compact_journals(folder: Path, max_bytes: int) -> None:
    """Have journals compacted later whose processes have ended, where all take too much. Raises `OSError`."""
    compacting.compact_ended_later(folder, max_bytes // _OF_JOURNALS)


def _make_room(folder: Path, max_bytes: int, keep: int) -> tuple[int, int]:
    """Remove what is to go; returns what tells the captures that may go from others, and how many of them went."""
    total = _taken(folder, max_bytes)
    closed: int | None = None
    is_too_much = False
    may_go = gone = 0
    whole: list[tuple[list[_Entry], _Survey]] = []
    for rank in range(3):
        for page, survey in whole or _pages(folder, keep):
            if closed is None:
                if len(page) < _MOST_AT_ONCE:
                    whole = [(page, survey)]
                closed = total - sum([_size(folder / name) for name in survey.written])
                is_too_much = closed > max_bytes
            for entry in page:
                its_rank = survey.rank(entry)
                if rank == 0 and its_rank is not None:
                    may_go ^= hash(entry)
                if its_rank != rank:
                    continue
                # What is still written drives out what tells little, but not what is kept for what it tells.
                if (closed if rank else total) <= max_bytes * _LEFT or (rank and not is_too_much):
                    return may_go, gone
                with contextlib.suppress(FileNotFoundError):  # somebody else's clean-up
                    (folder / entry.name).unlink()
                    gone += 1
                total -= entry.size
                closed -= entry.size
    return may_go, gone


def _make_room_in_journals(folder: Path, max_bytes: int, keep: int) -> int:
    """Where journals take more than their part, and all nearly the budget, remove captures for which lines stay.

    Those lines are summed up when the journals are compacted, which takes a while too. Returns how many went.
    """
    global _lines_due
    most = max(max_bytes // _MOST_OF_JOURNALS, compacting.LARGE)
    journals = compacting.size_of_journals(folder)
    now = time.monotonic()
    if now < _lines_due or journals <= most or _of_captures(folder) + journals <= max_bytes * _LEFT:
        return 0
    removed = 0
    with _one_at_a_time(folder) as is_mine:
        if not is_mine:
            return 0
        page = heapq.nsmallest(_MOST_AT_ONCE, _entries(folder))
        survey = _survey(folder, {entry.name for entry in page}, keep)
        too_much = sum(survey.lines.values()) - most // 2  # half, so that it is a while until this is looked at anew
        ranked = [(rank, entry) for entry in page if (rank := survey.rank(entry)) is not None]
        for _, entry in sorted(ranked):
            if too_much <= 0:
                break
            if lines := survey.lines.get(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    (folder / entry.name).unlink()
                    removed += 1
                too_much -= lines
        looked = time.monotonic()
        _lines_due = looked + (looked - now) * _LINES_PART
    return removed


_lines_due = 0.0


def _pages(folder: Path, keep: int) -> Iterator[tuple[list[_Entry], _Survey]]:
    """Yield the captures, oldest first, some at a time, with what the journals say of them."""
    last: _Entry | None = None
    while page := heapq.nsmallest(_MOST_AT_ONCE, _after(folder, last)):
        yield page, _survey(folder, set().union(*[_names(entry.name) for entry in page]), keep)
        last = page[-1]
        if len(page) < _MOST_AT_ONCE:
            return


def _after(folder: Path, last: _Entry | None) -> Iterator[_Entry]:
    return (entry for entry in _entries(folder) if last is None or entry > last)


def _taken(folder: Path, max_bytes: int) -> int:
    """Bytes that a folder's files take. Asked while this process is traced: what it allocates is recorded."""
    return _of_captures(folder) + _of_journals(folder, max_bytes)


def _of_captures(folder: Path) -> int:
    """Bytes that a folder's captures take, and the sources beside them."""
    return sum(entry.size for entry in _entries(folder, contract.is_capture, contract.is_source))


def _of_journals(folder: Path, max_bytes: int) -> int:
    """Bytes that a folder's journals take, as far as they count."""
    return min(compacting.size_of_journals(folder), max_bytes // _MOST_OF_JOURNALS)


def _entries(folder: Path, *kinds: Callable[[str], bool]) -> Iterator[_Entry]:
    """Yield the files of some kinds; captures where none is given."""
    for entry in descriptors.scan(folder):
        if any([is_one(entry.name) for is_one in kinds or (contract.is_capture,)]):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield _Entry(status.st_mtime, entry.name, status.st_size)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except (OSError, ValueError):  # or it is no name that a file can have
        return 0


def _names(capture: str) -> set[str]:
    """A capture's name, and that of the one that a forked child's belongs to."""
    stem, _, ending = capture.rpartition(".")
    return {capture} if ending == "bin" else {capture, stem}


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[bool]:
    """Hold the folder against the node's other workers, if none holds it: then that one sees to it."""
    kept = descriptors.open_kept(folder)
    try:
        with file_locks.held(kept) as is_held:
            yield is_held
    finally:
        descriptors.close(kept)


def _survey(folder: Path, wanted: set[str], keep: int) -> _Survey:
    """Look through the journals for what they say of the captures that are wanted."""
    survey = _Survey()
    largest: dict[int, dict[str, float]] = {}
    """The captures with the largest peaks, and these, by the hash of the function's name."""
    for entry in descriptors.scan(folder):
        if contract.is_journal(entry.name):
            with contextlib.suppress(OSError):
                _look_through(Path(entry.path), wanted, keep, survey, largest)
    survey.largest.update(*largest.values())
    return survey


def _look_through(
    journal: Path, wanted: set[str], keep: int, survey: _Survey, largest: dict[int, dict[str, float]]
) -> None:
    folder = journal.parent
    process: contract.Process | None = None
    written: str | None = None
    """A process writes one capture at a time."""
    running: dict[int, tuple[str, int, int]] = {}
    peaks: dict[int, dict[str, float]] = {}
    for line, size in _lines(journal):
        if isinstance(line, contract.Process):
            process = line
        elif isinstance(line, contract.Open):
            written = line.capture
            survey.known |= {written} & wanted
        elif isinstance(line, contract.Close):
            written = None if written == line.capture else written
        elif isinstance(line, contract.Begin):
            if line.capture is not None:
                running[line.call] = line.capture, hash(line.name), size
                if len(running) > _MOST_RUNNING:
                    del running[next(iter(running))]
        elif isinstance(line, contract.End) and line.call in running:
            capture, function, begin_size = running.pop(line.call)
            if capture in wanted:
                survey.lines[capture] = survey.lines.get(capture, 0) + begin_size + size
            survey.known |= {capture} & wanted
            if line.status != "finished":
                survey.failed |= {capture} & wanted
            if function in peaks or len(peaks) < _MOST_LARGEST:  # it is told apart
                _add(peaks.setdefault(function, {}), capture, line.peak, keep, folder)
    begun = {
        capture for capture, _, _ in running.values() if capture is not None
    } & wanted  # and not ended: running, or killed
    survey.known |= begun
    survey.failed |= begun
    # What another machine's process has not closed is that machine's to judge.
    is_elsewhere = process is not None and process.host not in (None, socket.gethostname())
    is_there = is_elsewhere or (process is not None and contract.is_alive(process))
    if written is not None and _size(folder / written) and is_there:
        survey.written.add(written)
    count = sum(map(len, largest.values()))
    for function, captures in peaks.items():
        for capture, peak in captures.items():
            if capture not in survey.written and count < _MOST_LARGEST:
                count += _add(largest.setdefault(function, {}), capture, peak, keep, folder)


def _add(largest: dict[str, float], capture: str, peak: float, keep: int, folder: Path) -> int:
    """Take a capture in among the largest, of those that are there; returns by how many they are more."""
    if capture in largest:
        largest[capture] = max(largest[capture], peak)
        return 0
    is_full = len(largest) >= keep
    least = min(largest.items(), key=lambda one: (one[1], one[0])) if is_full and largest else None
    if (is_full and (least is None or (peak, capture) < (least[1], least[0]))) or not _size(folder / capture):
        return 0
    if least is not None:
        del largest[least[0]]
    largest[capture] = peak
    return 0 if is_full else 1


def _lines(journal: Path) -> Iterator[tuple[contract.Event, int]]:
    """Yield the lines of a journal that say something of captures and calls, with their bytes."""
    no_wait = os.O_NONBLOCK | os.O_NOFOLLOW
    with descriptors.reading(journal, no_wait) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return
        number = torn = 0
        while text := file.readline(_MOST_LINE):
            if torn or not text.endswith(b"\n"):
                torn = 0 if text.endswith(b"\n") else torn + len(text)
                if torn > _MOST_TORN:
                    return
                continue
            number += 1
            if number % _LINES_AT_ONCE == 0:
                time.sleep(_PAUSE)
            if text.startswith(_TELLING):
                with contextlib.suppress(ValueError, RecursionError):  # it was damaged, and speaks for no capture
                    line = contract.decode(text)
                    if line is not None:
                        yield line, len(text)
