"""`clean()`: removes captures, the journals that nothing is left of, and source texts without one, on every node."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, ClassVar

from ... import cluster
from ... import journal as contract
from ...display.record import Record
from ...display.refusals import short_traceback
from ...display.rows import Rows
from ...display.text import first_few, show_bytes
from ...ownership import Believed
from ..captures.forked_children import captures_of_forks, is_written
from ..catalog import sources
from ..catalog.filters import Filters, some_names
from ..catalog.places import Place, place_here, processes, read_digest
from ..catalog.process import RecordedProcess
from ..catalog.records import Capture
from ..catalog.sources import Source
from ..catalog.sums_cache import read_sums

__all__ = ["RemovedFile", "RemovedFiles", "clean"]


_JUST_BEGUN = 60.0
"""Seconds."""
_TOLD = 1.0
"""Seconds in which a process that wrote a source text, or found it there, has named it in its journal."""


@dataclass(frozen=True, slots=True)
class RemovedFile(Record):
    """A capture or journal that was removed, or would be with `dry_run`.

    Attributes:
        path: where it was.
        size: its size, in bytes.
        node_id: its Ray node.
        written_at: when it was last written to, UTC.
    """

    path: Path
    size: int
    node_id: str | None
    written_at: datetime


class RemovedFiles(Rows[RemovedFile]):
    """A sequence of `RemovedFile`.

    Attributes:
        dry_run: whether nothing was removed, and these are the files that would be.
    """

    dry_run: bool = False

    _title: ClassVar[tuple[str, str]] = ("file removed", "files removed")
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("file", lambda file: file.path.name, False),
        ("size", lambda file: show_bytes(file.size), True),
        ("last written (UTC)", lambda file: f"{file.written_at:%Y-%m-%d %H:%M}", False),
        ("node", lambda file: f"{file.node_id[:8]}…" if file.node_id else "", False),
    )
    _if_various: ClassVar[tuple[str, ...]] = ("node",)


class _WouldBeRemoved(RemovedFiles):
    _title: ClassVar[tuple[str, str]] = ("file would be removed", "files would be removed")
    dry_run = True


@short_traceback
def clean(
    source: Source = None,
    *,
    name: str | None = None,
    status: str | None = None,
    kind: str | None = None,
    task_id: str | None = None,
    actor_id: str | None = None,
    job_id: str | None = None,
    node_id: str | None = None,
    context: str | None = None,
    older_than: float | timedelta | None = None,
    all: bool = False,
    dry_run: bool = False,
) -> RemovedFiles:
    """Remove captures on every node, and the journals that are no longer needed.

    Source texts are removed with the last journal that names them.

    Files that a running process still writes are kept, and captures that also hold other calls. A worker records
    everything that it runs to the same capture, and an actor all its methods, so use `name="Cache.*"` for an actor.

    Args:
        source: a folder; None for all nodes of the cluster that this process is connected to. If it is not connected,
            you must give a folder: nothing is removed from a session that was not named.
        name: only calls of this name, as in `calls`. The other filters are also as in `calls`.
        status: only calls with this status.
        kind: only calls of this kind.
        task_id: only this Ray task's.
        actor_id: only this Ray actor's.
        job_id: only this Ray job's.
        node_id: only this Ray node's.
        context: only calls with this context.
        older_than: only files that were last written to at least this long ago: seconds, or a `timedelta`.
        all: remove everything. Pass a filter, `older_than` or `all`.
        dry_run: remove nothing, and return what would be removed.

    Returns:
        A sequence of `RemovedFile`, each with `path`, `size`, `node_id` and `written_at`, which prints as a table.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: no argument says what to remove, or where; `source` is not a folder; or `older_than` is negative.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("old", directory="/tmp/raymemprof-example-clean", linger=0):
        ...     data = bytearray(1_000_000)
        >>> removed = raymemprof.clean("/tmp/raymemprof-example-clean", older_than=7 * 24 * 3600)
    """
    seconds = _seconds(older_than)
    filters = Filters(name, status, kind, task_id, actor_id, job_id, node_id, context)
    if not (all or seconds is not None or any((name, status, kind, task_id, actor_id, job_id, node_id, context))):
        raise ValueError("say what to remove: older_than, a filter such as name or job_id, or all.")
    if source is not None and os.path.isfile(source):
        raise ValueError(f"{os.fspath(source)} is a file; give the folder that is to be cleaned.")
    wanted = _Wanted(None if seconds is None else time.time() - seconds, filters, dry_run)
    if source is not None:
        return _table([_clean(Place(source, tuple(sources.find(source).paths)), wanted)], wanted)
    if not cluster.is_connected():
        raise ValueError("say where to remove it: name a folder, or connect to a cluster (`--address`, ray.init()).")
    living = frozenset(cluster.living_nodes())
    answers = cluster.on_each_node(_clean_there, wanted, living, node_id=filters.node_id)
    return _table(list(answers.by_node.values()), wanted, answers.missing)


def _seconds(older_than: float | timedelta | None) -> float | None:
    """Return an age in seconds. Raises `TypeError` and `ValueError`."""
    if not isinstance(older_than, (int, float, timedelta, type(None))):
        raise TypeError(f"older_than={older_than!r} must be a number of seconds or a timedelta.")
    seconds = older_than.total_seconds() if isinstance(older_than, timedelta) else older_than
    if seconds is not None and not seconds >= 0:
        raise ValueError(f"older_than={older_than!r} must be 0 seconds or more.")
    return seconds


def _table(found: list[_Removal], wanted: _Wanted, missing: tuple[cluster.MissingNode, ...] = ()) -> RemovedFiles:
    """Return what was removed on all nodes, and say what was left and why."""
    removed = [file for done in found for file in done.removed]
    still_open, shared = sum(done.open for done in found), sum(done.shared for done in found)
    refused = [text for done in found for text in done.refused]
    nothing_fits = wanted.is_by_call and not any(done.fitting for done in found)
    recorded = {name for done in found for name in done.names}
    said = [
        f"nothing fits; there are {some_names(recorded, wanted.filters.name)}" if nothing_fits and recorded else "",
        f"{show_bytes(sum(file.size for file in removed))} in all" if removed else "",
        f"{still_open} left: still written to" if still_open else "",
        f"{shared} left: {'it holds' if shared == 1 else 'they hold'} other calls too" if shared else "",
        f"{len(refused)} could not be removed: {'; '.join(first_few(refused))}" if refused else "",
    ]
    table = _WouldBeRemoved if wanted.dry_run else RemovedFiles
    left_out = [text for done in found for text in done.left_out]
    return table(removed, "; ".join(text for text in said if text), missing, left_out)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to go."""

    before: float | None
    """Seconds since the epoch, compared with when a file was last written to."""
    filters: Filters
    dry_run: bool = False

    @property
    def is_by_call(self) -> bool:
        return self.filters != Filters()

    def is_old(self, path: Path) -> bool:
        return self.before is None or path.lstat().st_mtime <= self.before


@dataclass(slots=True)
class _Removal:
    """What was removed on a node, and what was left of that which was asked for."""

    dry_run: bool = False
    """Whether nothing is to be removed, only told of."""
    removed: list[RemovedFile] = field(default_factory=list)
    open: int = 0
    """How many captures may not go yet."""
    shared: int = 0
    """How many may not go for these calls."""
    refused: list[str] = field(default_factory=list)
    """A few words on each file that could not be removed."""
    left_out: list[str] = field(default_factory=list)
    """A few words on each journal of which not all can be read."""
    names: set[str] = field(default_factory=set)
    """Of all calls there are."""
    gone: set[Path] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    """Names of the source texts that journals named which are gone."""
    fitting: int = 0
    """How many of them are of those asked for, whether or not their captures can go."""

    def remove(self, path: Path, node_id: str | None) -> None:
        """Remove a file, or note why that cannot be done."""
        try:
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, "It is a folder")
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "It is no plain file")
            if not self.dry_run:
                path.unlink()
        except FileNotFoundError:
            return  # the budget, or another node that shares the folder, was faster
        except OSError as error:
            self.refused.append(f"{path.name} ({error.strerror})")
        else:
            written = datetime.fromtimestamp(max(status.st_mtime, 0.0), timezone.utc)
            self.removed.append(RemovedFile(path, status.st_size, node_id, written))
            self.gone.add(path)


def _clean_there(wanted: _Wanted, living: frozenset[str]) -> _Removal:
    return _clean(place_here(living), wanted)


def _clean(place: Place, wanted: _Wanted) -> _Removal:
    """Remove what is to go."""
    removal = _Removal(wanted.dry_run)
    told: set[str] = set()
    read = read_digest if wanted.is_by_call else read_sums  # without a filter, no call matters by itself
    for process in processes(Place(place.source, place.folders), removal.refused, read):
        captures = list(process.captures())
        told.update(capture.path.name for capture in captures)
        if place.is_told_here(process.node_id):
            removal.left_out += process.damage()
            _of_process(process, captures, wanted, removal)
    if not wanted.is_by_call:
        _orphans(place, told, wanted, removal)
        for folder in place.folders:
            _unfinished(folder, place.node_id, wanted, removal)
    for folder in place.folders:
        _source_texts(folder, place.node_id, wanted, removal)
    return removal


def _of_process(process: RecordedProcess, captures: list[Capture], wanted: _Wanted, removal: _Removal) -> None:
    by_capture: dict[Path | None, list[bool]] = {}
    removal.names |= process.digest.names
    for call in process.calls() if wanted.is_by_call else ():
        fits = wanted.filters.fit(call)
        removal.fitting += fits
        by_capture.setdefault(call.capture, []).append(fits)
    sums = process.digest.compacted if process.is_of(wanted.filters.node_id) else []
    removal.fitting += sum(wanted.filters.may_fit_sum(one) for one in sums if wanted.is_by_call)
    may_be_running = process.may_be_running
    for capture in captures:
        of_it = by_capture.get(capture.path, [not wanted.is_by_call])
        with contextlib.suppress(FileNotFoundError):  # the budget has removed it meanwhile
            if not any(of_it) or not wanted.is_old(capture.path):
                continue
            if may_be_running and capture.status != "closed":
                removal.open += 1
                continue
            if not all(of_it):
                removal.shared += 1
                continue
            for path in (capture.path, *captures_of_forks(capture.path)):
                if not is_written(path.name):
                    removal.remove(path, capture.node_id)
    is_all = all(fit for fits in by_capture.values() for fit in fits) and not (wanted.is_by_call and not by_capture)
    is_all = is_all and all(map(wanted.filters.takes_all, process.digest.compacted))
    with contextlib.suppress(FileNotFoundError):
        is_left = any(capture.path not in removal.gone for capture in process.captures())
        if is_all and not may_be_running and wanted.is_old(process.path) and not is_left:
            with contextlib.suppress(OSError):
                removal.texts |= contract.named_sources(process.path)
            removal.remove(process.path, process.node_id)


def _is_just_begun(name: str) -> bool:
    """Whether its process may not have told the journal yet, or only since that was read."""
    began = re.search(r"-(\d+)\.bin", name)
    return began is not None and abs(time.time() - int(began[1]) / 1e9) < _JUST_BEGUN


def _orphans(place: Place, told: set[str], wanted: _Wanted, removal: _Removal) -> None:
    """Remove the captures that no journal tells of."""
    for folder in place.folders:
        believed = Believed(folder)
        for name in os.listdir(folder):
            path = folder / name
            if contract.is_capture(name) and name not in told and path.stem not in told:
                with contextlib.suppress(FileNotFoundError):  # another node that shares the folder was faster
                    foreign = believed.foreign(path.lstat())
                    if foreign is not None:
                        removal.refused.append(f"{name} ({foreign})")
                    elif wanted.is_old(path) and not _is_just_begun(name) and not is_written(name):
                        removal.remove(path, place.node_id)


def _unfinished(folder: Path, node_id: str | None, wanted: _Wanted, removal: _Removal) -> None:
    """Remove what processes left that were killed while they compacted a journal."""
    believed = Believed(folder)
    for name in os.listdir(folder):
        if contract.is_beside(name):
            with contextlib.suppress(FileNotFoundError):
                status = (folder / name).lstat()
                is_left = time.time() - status.st_mtime > contract.LEFT_OVER
                if is_left and believed.foreign(status) is None and wanted.is_old(folder / name):
                    removal.remove(folder / name, node_id)


def _source_texts(folder: Path, node_id: str | None, wanted: _Wanted, removal: _Removal) -> None:
    """Remove the source texts that no journal names any more; with a filter only those that one named until now."""
    names = os.listdir(folder)
    texts = {name for name in names if contract.is_source(name) and (name in removal.texts or not wanted.is_by_call)}
    for name in names if texts else ():
        if contract.is_journal(name) and folder / name not in removal.gone:
            try:
                texts -= contract.named_sources(folder / name)
            except OSError:  # it may name any
                return
    believed = Believed(folder)
    for name in sorted(texts):
        with contextlib.suppress(FileNotFoundError):
            status = (folder / name).lstat()
            is_new = name not in removal.texts and time.time() - status.st_mtime < _TOLD
            if believed.foreign(status) is None and wanted.is_old(folder / name) and not is_new:
                removal.remove(folder / name, node_id)
