"""Keeps the captures in a folder within the node's disk budget.

Called by any of the node's workers when a capture was opened, has grown, or was closed; one at a time goes through the
folder. What goes first is what tells least: captures in which every call finished and none is among the largest of its
function, oldest first. Where those that are closed take too much by themselves, the largest peaks follow, then failed
and killed calls. Journals stay. A capture that is still written cannot go: where that is what is left, it has to end.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import journal as contract

__all__ = ["enforce", "has_to_end"]

_JUST_BEGUN = 60.0
"""Seconds."""
_LEFT = 0.8
"""How much of the budget stays in use once it was exceeded, so that not every capture goes through this."""


@dataclass(slots=True)
class _Standing:
    """Why a capture is worth its room."""

    failed: bool = False
    peaks: dict[str, int] | None = None
    is_open: bool = False


def enforce(folder: Path, max_bytes: int, keep: int) -> list[Path]:
    """Where a folder's captures take more than `max_bytes`, remove some; returns those. Raises `OSError`."""
    removed: list[Path] = []
    seen: set[Path] | None = None
    while _taken(folder) > max_bytes:
        with _one_at_a_time(folder) as is_mine:
            if not is_mine:
                break
            closed, gone = _make_room(folder, max_bytes, keep)
        removed += gone
        # Whoever closed a capture meanwhile found the folder held, and left it to this one.
        if not gone and closed == seen:
            break
        seen = closed
    return removed


def has_to_end(capture: Path, max_bytes: int) -> bool:
    """Whether a capture that is still written takes its share, or more, of a budget that is used up."""
    if _taken(capture.parent) <= max_bytes:
        return False
    captures = _captures(capture.parent)
    if capture not in captures:
        return False
    standings = _standings(capture.parent)
    writing = sum(_of(standings, path).is_open for path in captures)
    return captures[capture].st_size * max(writing, 1) >= max_bytes


def _make_room(folder: Path, max_bytes: int, keep: int) -> tuple[set[Path], list[Path]]:
    """Remove what is to go; returns the captures that are closed, and those of them that went."""
    everything = _captures(folder)
    standings = _standings(folder)
    captures = _closed(everything, standings)
    total, closed = _size(everything), _size(captures)
    is_too_much = closed > max_bytes
    removed: list[Path] = []
    for rank, path in _least_telling_first(standings, captures, keep) if total > max_bytes else ():
        # What is still written drives out what tells little, but not what is kept for what it tells.
        if (closed if rank else total) <= max_bytes * _LEFT or (rank and not is_too_much):
            break
        with contextlib.suppress(FileNotFoundError):  # somebody else's clean-up
            path.unlink()
            removed.append(path)
        total -= captures[path].st_size
        closed -= captures[path].st_size
    return set(captures), removed


def _taken(folder: Path) -> int:
    """Bytes that a folder's captures take. Asked while this process is traced: what it allocates is recorded."""
    return sum(status.st_size for _, status in _entries(folder))


def _captures(folder: Path) -> dict[Path, os.stat_result]:
    return {Path(entry.path): status for entry, status in _entries(folder)}


def _entries(folder: Path) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if contract.is_capture(entry.name) and entry.is_file(follow_symlinks=False):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield entry, status


def _size(captures: dict[Path, os.stat_result]) -> int:
    return sum(status.st_size for status in captures.values())


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[bool]:
    """Hold the folder against the node's other workers, if none holds it: then that one sees to it."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
    finally:
        os.close(descriptor)


def _closed(captures: dict[Path, os.stat_result], standings: dict[str, _Standing]) -> dict[Path, os.stat_result]:
    """Those that may go: nobody writes them any more."""
    now = time.time()
    return {
        path: status
        for path, status in captures.items()
        if not _of(standings, path).is_open
        # A capture is there for a moment before its journal says so.
        and (path.name in standings or path.stem in standings or now - status.st_mtime > _JUST_BEGUN)
    }


def _least_telling_first(
    standings: dict[str, _Standing], captures: dict[Path, os.stat_result], keep: int
) -> list[tuple[int, Path]]:
    """Captures by their rank: 2 for failed and killed calls, 1 for the largest peaks, 0 for the rest."""
    largest: dict[str, list[tuple[int, Path]]] = {}
    for path in captures:
        for name, peak in (_of(standings, path).peaks or {}).items():
            largest.setdefault(name, []).append((peak, path))
    kept = {path for ranked in largest.values() for _, path in sorted(ranked, reverse=True)[:keep]}

    ranks = {path: 2 if _of(standings, path).failed else 1 if path in kept else 0 for path in captures}
    return sorted(((rank, path) for path, rank in ranks.items()), key=lambda one: (one[0], captures[one[1]].st_mtime))


def _of(standings: dict[str, _Standing], path: Path) -> _Standing:
    """The standing of a capture, or of the one that a forked child's belongs to."""
    return standings.get(path.name) or standings.get(path.stem) or _Standing()


def _standings(folder: Path) -> dict[str, _Standing]:
    """What the journals say of each capture, by its file's name."""
    standings: dict[str, _Standing] = {}
    for journal in folder.glob(f"{contract.PREFIX}*.jsonl"):
        begins: dict[int, tuple[str, str]] = {}
        unclosed: set[str] = set()
        process: dict[str, object] = {}
        with contextlib.suppress(OSError, KeyError, TypeError):  # a damaged journal speaks for no capture
            for line in contract.read_lines(journal):
                event = line["event"]
                if event == "process":
                    process = line
                elif event == "open":
                    unclosed.add(line["capture"])
                    standings.setdefault(line["capture"], _Standing())
                elif event == "close":
                    unclosed.discard(line["capture"])
                elif event == "begin" and line.get("capture"):
                    begins[line["call"]] = (line["capture"], line["name"])
                elif event == "end" and line["call"] in begins:
                    capture, name = begins.pop(line["call"])
                    standing = standings.setdefault(capture, _Standing())
                    standing.failed = standing.failed or line["status"] != "finished"
                    standing.peaks = standing.peaks or {}
                    standing.peaks[name] = max(standing.peaks.get(name, 0), line["peak"])
        # What another machine's process has not closed is that machine's to judge.
        alive = process.get("host") not in (None, socket.gethostname()) or contract.is_alive(process)
        for capture, _ in begins.values():  # begun and not ended: running, or killed
            standings.setdefault(capture, _Standing()).failed = True
        for capture in unclosed:
            standings[capture].is_open = alive
    return standings
