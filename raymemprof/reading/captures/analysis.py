"""Reads captures, and sorts what it allocated by the calls that did; runs in a reader process (`reader.py`)."""

from __future__ import annotations

import bisect
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import journal as contract
from .capture_file import breaks_off, opened
from .ledger import Ledger
from .model import TOO_LOW, Answer, CaptureSum, Child, Failure, Figures, Request, Row, Snapshot, Stack, TemporalRow
from .samples import read_samples
from .source_lines import read_lines_of
from .stacks import inspect, stack_of
from .totals import Total

if TYPE_CHECKING:
    import memray

__all__ = ["analyse", "answer"]

_MOST_ERRORS = 2**16
_BREAKS_OFF = "it breaks off before its end: it was cut, damaged or not copied whole"
_RECORDS_AT_ONCE = 10_000
"""So many records are read before it is told how many were."""

Told = Callable[[float], object]
"""Is told which part of the work is done."""


def answer(requests: Sequence[Request], memory_limit: int, told: Told) -> Answer:
    """Read captures one after the other, and sum them up; where memory runs out, as far as it goes."""
    total = Total()
    number = 0

    def tell(part: float) -> None:
        told((number + part) / len(requests))

    for number, request in enumerate(requests):
        found: Answer | None = None
        try:
            found = Answer(analyse(request, tell))
        except MemoryError:  # it holds what was read, which is given back first
            pass
        except Exception as error:
            reason = (str(error) or type(error).__name__).rstrip(".")
            if isinstance(error, (LookupError, UnicodeError, AssertionError)):  # what is in it led nowhere
                reason = "it is damaged: what is in it leads nowhere"
            found = Answer(None, (Failure(request.path, f"it cannot be read: {reason}."),))
        if found is None:
            if number:  # it may be the others' sum that fills it
                return replace(total.answer(), left=tuple(requests[number:]))
            most = f"{memory_limit / 2**20:,.0f} MiB"
            reason = f"it cannot be read: reading it takes more than {most} of memory."
            found = Answer(None, (Failure(request.path, reason),))
        total.add(found)
    return total.answer()


def analyse(request: Request, told: Told = lambda part: None) -> CaptureSum:
    """Read a capture; raises what memray raises on a bad file (or takes the process down with it)."""
    samples = read_samples(Path(request.path))
    said = _end_of_errors()
    with opened(request.path, samples.checksum) as path, contextlib.closing(_reader(path)) as reader:
        meta = reader.metadata
        native = meta.has_native_traces
        snapshots: tuple[Snapshot, ...] = ()
        if request.with_snapshots:
            snapshots = tuple(Snapshot(s.time, s.rss, s.heap) for s in reader.get_memory_snapshots())
        last_seen = max((shot.time / 1e3 for shot in snapshots or reader.get_memory_snapshots()), default=0.0)
        whole = _Whole(reader, request, native)
        foreign = request.child is not None or not _is_ours(Path(request.path), whole)
        ledger = None if foreign else Ledger(request, native, samples)
        if ledger is not None:
            records = _counted(reader.get_allocation_records(), meta.total_allocations, told)
            ledger.account_for(records, _all_records(request.later))
            foreign = not ledger.seen_calls and request.places is None
        if foreign:
            figures, rows = whole.figures(), whole.rows()
        else:
            assert ledger is not None
            figures, rows = ledger.results.figures(), ledger.results.rows()
        if b"Invalid record type" in _errors_since(said):
            raise ValueError("memray met a record that cannot be, and read no further: it is damaged")
        notes = []
        if samples.left_out:
            notes.append(f"{samples.left_out} damaged line{'s' * (samples.left_out != 1)} of the journal left out")
        if samples.is_unclosed:
            notes.append("its process has not closed the capture, so it has no checksum: damage to it need not show")
        if ledger is not None and samples.is_unclosed and ledger.lost_samples:
            lost = f"{ledger.lost_samples} of the {len(samples.by_mark)} samples that its journal has are not in it"
            notes.append(f"the capture was cut off or damaged, so {TOO_LOW}: {lost}")
        if breaks_off(path):
            notes.append(f"{_BREAKS_OFF}, so {TOO_LOW}")
        is_checked = samples.checksum is not None
        changes: dict[str, Any] = {"checked": is_checked, "last_seen": last_seen}
        figures = tuple(replace(one, notes=(*one.notes, *notes), **changes) for one in figures)
        if request.child is not None:
            figures, rows = _of_child(request.child, figures, rows)
        temporal_rows: tuple[TemporalRow, ...] = ()
        marks: tuple[int, ...] | None = None
        if request.temporal:
            first, last = _window(snapshots, request.window)
            temporal_rows, marks = _temporal(reader, request, native, None if foreign else ledger, first, last)
        stacks = [row.stack for of_view in rows.values() for row in of_view] + [row.stack for row in temporal_rows]
        folder, began = Path(request.path).parent, meta.start_time.timestamp()
        return CaptureSum(
            figures=figures,
            rows=rows,
            pid=meta.pid,
            native=native,
            python_allocators=meta.trace_python_allocators,
            allocator=meta.python_allocator,
            started_at=meta.start_time,
            ended_at=meta.end_time,
            command=meta.command_line,
            foreign=foreign,
            sources=read_lines_of(stacks, folder, samples.sources, began),
            snapshots=snapshots,
            temporal_rows=temporal_rows,
            high_water_marks=marks,
        )


def _reader(path: str) -> memray.FileReader:
    import memray

    try:
        return memray.FileReader(path)
    except OSError as error:
        if breaks_off(path):
            raise ValueError(_BREAKS_OFF) from error
        if "does not look like" in str(error):
            raise ValueError("it is no capture that memray wrote, or its beginning is damaged") from error
        raise


def _end_of_errors() -> int:
    """Where in this process's errors memray's next one will be: it reads no further where it has one, and goes on."""
    with contextlib.suppress(OSError):  # they go to no file
        return os.lseek(2, 0, os.SEEK_END)
    return 0


def _errors_since(position: int) -> bytes:
    with contextlib.suppress(OSError):
        return os.pread(2, _MOST_ERRORS, position)
    return b""


def _all_records(paths: Iterable[str]) -> Iterator[Any]:
    """Yield the records of captures one after the other; of one that has gone or is damaged those before it."""
    import memray

    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            checksum = read_samples(Path(path)).checksum
            with opened(path, checksum) as file, contextlib.closing(memray.FileReader(file)) as reader:
                yield from reader.get_allocation_records()


def _counted(records: Iterable[Any], count: int, told: Told) -> Iterator[Any]:
    """Hand on records, `count` in all, and tell how many were: each takes no longer for it."""
    records = iter(records)

    def batches() -> Iterator[Iterable[Any]]:
        done = 0
        for first in records:
            yield chain((first,), islice(records, _RECORDS_AT_ONCE))
            done += _RECORDS_AT_ONCE
            told(min(done / count, 1.0) if count else 1.0)

    return chain.from_iterable(batches())


def _is_ours(path: Path, whole: _Whole) -> bool:
    """Whether raymemprof wrote this capture, by its name or, if renamed, by the frames in it."""
    if whole.is_aggregated:  # raymemprof writes none, whatever its name
        return False
    if path.name.startswith(contract.PREFIX):
        return True
    return any(frame[1] == contract.FRAME_FILE for record in whole.records("peak") for frame in record.stack_trace())


class _Whole:
    """A capture that is none of ours, as memray itself reports it: it reads once through it for each view."""

    def __init__(self, reader: memray.FileReader, request: Request, native: bool) -> None:
        self._reader = reader
        self._request = request
        self._native = native
        self._records: dict[str, list[Any]] = {}
        self.is_aggregated = reader.metadata.file_format.name == "AGGREGATED_ALLOCATIONS"

    def records(self, view: str) -> list[Any]:
        """Return what was held at the "peak", at the end ("leaks"), or was "temporary", by call stack."""
        if view not in self._records:
            sources: dict[str, Callable[..., Iterable[Any]]] = {
                "peak": self._reader.get_high_watermark_allocation_records,
                "leaks": self._reader.get_leaked_allocation_records,
                "temporary": self._reader.get_temporary_allocation_records,
            }
            self._records[view] = list(sources[view](merge_threads=True))
        return self._records[view]

    def figures(self) -> tuple[Figures, ...]:
        """Return its totals."""
        figures = Figures(
            path=self._request.path,
            place=None,
            peak=self._reader.metadata.peak_memory,
            alive_at_end=sum(record.size for record in self.records("leaks")),
            allocations=self._reader.metadata.total_allocations,
            ended=True,
        )
        return (figures,)

    def rows(self) -> dict[str, tuple[Row, ...]]:
        """Return it by place in the code, for each view."""
        return {
            view: tuple(
                Row(stack_of(record, self._native), record.allocator, record.size, record.n_allocations)
                for record in self.records(view)
            )
            for view in self._request.views
        }


def _of_child(
    child: Child, figures: tuple[Figures, ...], rows: dict[str, tuple[Row, ...]]
) -> tuple[tuple[Figures, ...], dict[str, tuple[Row, ...]]]:
    """A forked child's capture as a part of a call: what it held is gone with it, unless it outlived the call."""
    (one,) = figures
    is_left = one.last_seen >= child.alive_from
    theirs = {view: [row for row in of_view if not inspect(row.stack).is_recording] for view, of_view in rows.items()}
    ours = sum(row.bytes for row in rows.get("peak", ())) - sum(row.bytes for row in theirs.get("peak", ()))
    alive = one.alive_at_end if is_left else 0
    found = replace(one, place=child.place, child_of=child.of, peak=one.peak - ours, alive_at_end=alive)
    return (found,), {
        view: tuple(replace(row, stack=(*row.stack, *child.origin)) for row in of_view)
        for view, of_view in theirs.items()
        if is_left or view != "leaks"
    }


def _window(snapshots: tuple[Snapshot, ...], window: tuple[float, float] | None) -> tuple[int, int]:
    """The numbers of the first and last snapshot that allocations of this time can have been made before."""
    if window is None:
        return 0, len(snapshots)
    times = [snapshot.time / 1e3 for snapshot in snapshots]
    return bisect.bisect_left(times, window[0]), bisect.bisect_left(times, window[1])


def _temporal(
    reader: memray.FileReader, request: Request, native: bool, ledger: Ledger | None, first: int, last: int
) -> tuple[tuple[TemporalRow, ...], tuple[int, ...] | None]:
    """The capture's allocations over time, cut to the calls asked for."""
    marks: tuple[int, ...] | None = None
    records: Iterable[Any]
    if request.views[0] == "leaks":
        records = reader.get_temporal_allocation_records(merge_threads=True)
    else:
        records, water = reader.get_temporal_high_water_mark_allocation_records(merge_threads=True)
        marks = tuple(water)
    rows = []
    for record in records:
        stack: Stack | None = stack_of(record, native)
        if ledger is not None:
            stack = ledger.results.cut(stack or ())
        if stack is not None:
            intervals = tuple(
                (i.allocated_before_snapshot, i.deallocated_before_snapshot, i.n_allocations, i.n_bytes)
                for i in record.intervals
                if first <= i.allocated_before_snapshot <= last
            )
            if intervals:
                rows.append(TemporalRow(stack, record.allocator, intervals))
    return tuple(rows), marks
