"""Flame graphs, tables and speedscope files, drawn by memray's own reporters."""

from __future__ import annotations

import html
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...display.files import written_whole
from ...display.refusals import short_traceback
from ...display.text import show_bytes
from ..captures.model import Row, Stack, TemporalRow
from .folding import Folded, fold
from .merged import Reading, read_target
from .notebook.graph import graph
from .notebook.listing import listing
from .output import check_early, path_for
from .report import Report
from .shown_lines import add_to_flame_graph, shown_place
from .targets import Target

if TYPE_CHECKING:
    from memray import Metadata

__all__ = ["VIEWS", "flamegraph", "speedscope", "table"]

VIEWS = ("peak", "leaks", "temporary")
_MOST_BOXES = 10_000
"""Boxes that the page of a flame graph keeps: a browser takes little longer for them than for the page without."""
_HEADING = '<span class="navbar-brand mb-0 mr-2 h1">memray</span>'
_NOWHERE = " at :0"
"""What memray's table has behind the name of a frame without a file."""
_MERGED_THREADS = -1
"""memray's number for "whatever thread it was"."""


@short_traceback
def flamegraph(
    target: Target,
    output: str | os.PathLike[str] | None = None,
    *,
    view: str = "peak",
    temporal: bool = False,
    offline: bool = True,
    overwrite: bool = False,
) -> Report:
    """Draw a flame graph of what calls held, as one HTML file.

    Args:
        target: a `Call`, a `Capture`, the path of any memray capture, or several of these, which are summed, each call
            at its own peak. `capture.bin#0-3` is one call in a capture; a click on its row in a notebook gives this
            name.
        output: the file to write. By default, `raymemprof-flamegraph-<call>.html` in the current folder. If that folder
            is read-only, it is written to `raymemprof-<user>` under the system's temporary directory. An incomplete
            file never appears.
        view: "peak": what was held at the peak; "leaks": what was left at the end; "temporary": what was freed again
            before two more allocations were made.
        temporal: draw the heap over time, with a range to select. It works for one call or capture only.
        offline: put all scripts and styles into the file (4.5 MB), so that it needs no network.
        overwrite: replace `output` if it exists. Without `output`, an earlier report of this name is always replaced.

    Returns:
        A `Report`, which a notebook shows inline and which has `.path` and `.open()`.

    Raises:
        CaptureError: the capture is missing or damaged, or the call was not traced. The message gives the reason.
        FileNotFoundError: there is no such file, or no such folder to write to.
        FileExistsError: the output exists, and `overwrite` is not set.
        ValueError: an option makes no sense.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> load = raymemprof.calls("/tmp/raymemprof-example", name="load")[-1]
        >>> raymemprof.flamegraph(load, "/tmp/raymemprof-example/load.html", overwrite=True).path.name
        'load.html'
    """
    _check_view(view)
    if temporal and view == "temporary":
        raise ValueError('a temporal flame graph shows "peak" or "leaks", not "temporary".')
    check_early(output, overwrite)
    reading = read_target(target, (view,), temporal)
    from memray.reporters.flamegraph import FlameGraphReporter

    snapshots = _snapshots(reading)
    rows = reading.rows[view]
    if temporal:
        folded = fold(
            [row.stack for row in reading.temporal_rows], list(map(_ever_held, reading.temporal_rows)), _MOST_BOXES
        )
        marks = None if reading.high_water_marks is None else list(reading.high_water_marks)
        reporter: Any = FlameGraphReporter.from_temporal_snapshot(
            _temporal_records(reading.temporal_rows, folded),
            memory_records=snapshots,
            native_traces=False,
            high_water_mark_by_snapshot=marks,
        )
    else:
        folded = fold([row.stack for row in rows], [row.bytes for row in rows], _MOST_BOXES)
        reporter = FlameGraphReporter.from_snapshot(
            _records(rows, folded.stacks), memory_records=snapshots, native_traces=False
        )
    add_to_flame_graph(reporter.data, reading.texts)
    report = _write(reading, reporter, "flamegraph", "html", output, view, offline, overwrite, temporal)
    left_out = (*report.left_out, *filter(None, [str(folded)]))
    note = "The heap over time, with a range to select, is in the file." if temporal else ""
    return replace(report, left_out=left_out, shown=replace(graph(rows, reading.texts), note=note))


@short_traceback
def table(
    target: Target,
    output: str | os.PathLike[str] | None = None,
    *,
    view: str = "peak",
    offline: bool = True,
    overwrite: bool = False,
) -> Report:
    """Write a table of what each line held, sortable and searchable, as one HTML file.

    Takes, returns and raises what `flamegraph` does.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> load = raymemprof.calls("/tmp/raymemprof-example", name="load")[-1]
        >>> raymemprof.table(load, "/tmp/raymemprof-example/load-table.html", overwrite=True).kind
        'table'
    """
    _check_view(view)
    check_early(output, overwrite)
    reading = read_target(target, (view,))
    from memray.reporters.table import TableReporter

    rows = reading.rows[view]
    places: list[Stack] = [((shown_place(row.stack, reading.texts), "", 0),) for row in rows]
    reporter = TableReporter.from_snapshot(
        _records(rows, places), memory_records=_snapshots(reading), native_traces=False
    )
    for row in reporter.data:
        row["stack_trace"] = row["stack_trace"].removesuffix(_NOWHERE)
    report = _write(reading, reporter, "table", "html", output, view, offline, overwrite)
    return replace(report, shown=listing(reporter.data))


@short_traceback
def speedscope(
    target: Target,
    output: str | os.PathLike[str] | None = None,
    *,
    view: str = "peak",
    overwrite: bool = False,
) -> Report:
    """Write what calls held as a JSON file for speedscope.

    Takes, returns and raises what `flamegraph` does.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> load = raymemprof.calls("/tmp/raymemprof-example", name="load")[-1]
        >>> raymemprof.speedscope(load, "/tmp/raymemprof-example/load.json", overwrite=True).path.suffix
        '.json'
    """
    _check_view(view)
    check_early(output, overwrite)
    reading = read_target(target, (view,))
    from memray.reporters.transform import TransformReporter

    reporter = TransformReporter(
        _records(reading.rows[view]), format="speedscope", memory_records=_snapshots(reading), native_traces=False
    )
    return _write(reading, reporter, "speedscope", "json", output, view, True, overwrite)


class _Record:
    """One row as memray's reporters take it: the face of its `AllocationRecord`."""

    __slots__ = ("allocator", "n_allocations", "size", "stack")

    tid = _MERGED_THREADS
    thread_name = "merged thread"

    def __init__(self, stack: Stack, allocator: int, size: int, n_allocations: int) -> None:
        self.stack = stack
        self.allocator = allocator
        self.size = size
        self.n_allocations = n_allocations

    def stack_trace(self, max_stacks: int | None = None) -> list[tuple[str, str, int]]:
        return list(self.stack[:max_stacks])

    hybrid_stack_trace = stack_trace


def _records(rows: Sequence[Row], stacks: Sequence[Stack] | None = None) -> Iterable[Any]:
    """Return rows as memray's reporters take them; with other stacks, where these are given."""
    stacks = [row.stack for row in rows] if stacks is None else stacks
    return [_Record(stack, row.allocator, row.bytes, row.allocations) for row, stack in zip(rows, stacks, strict=True)]


def _ever_held(row: TemporalRow) -> int:
    return sum(size for _, _, _, size in row.intervals)


def _temporal_records(rows: Sequence[TemporalRow], folded: Folded) -> Iterable[Any]:
    from memray._memray import Interval, TemporalAllocationRecord

    class Record(TemporalAllocationRecord):
        """One row over time, with its stack at hand; the reporter asks for memray's own type."""

        tid = _MERGED_THREADS
        thread_name = "merged thread"
        stack: Stack = ()

        def stack_trace(self, max_stacks: int | None = None) -> list[tuple[str, str, int]]:
            return list(self.stack[:max_stacks])

    found: dict[tuple[Stack, int], dict[tuple[int, int | None], list[int]]] = defaultdict(dict)
    for row, stack in zip(rows, folded.stacks, strict=True):
        intervals = found[stack, row.allocator]
        for start, end, count, size in row.intervals:
            total = intervals.setdefault((start, end), [0, 0])
            total[0] += count
            total[1] += size
    records = []
    for (stack, allocator), intervals in found.items():
        record: Any = Record((_MERGED_THREADS, allocator, 0, 0, 0))  # type: ignore[call-arg]
        record.stack = stack
        record.intervals = [Interval(start, end, *total) for (start, end), total in intervals.items()]
        records.append(record)
    return records


def _snapshots(reading: Reading) -> tuple[Any, ...]:
    from memray import MemorySnapshot

    return tuple(MemorySnapshot(shot.time, shot.rss, shot.heap) for shot in reading.snapshots)


def _metadata(reading: Reading) -> Metadata:
    from memray import FileFormat, Metadata

    return Metadata(
        start_time=reading.started_at,
        end_time=reading.ended_at,
        total_allocations=reading.allocations,
        total_frames=len({frame for rows in reading.rows.values() for row in rows for frame in row.stack}),
        peak_memory=reading.peak,
        command_line=reading.title,
        pid=reading.pid,
        main_thread_id=_MERGED_THREADS,
        python_allocator=reading.allocator,
        has_native_traces=reading.native,
        trace_python_allocators=reading.python_allocators,
        file_format=FileFormat.ALL_ALLOCATIONS,
    )


def _write(
    reading: Reading,
    reporter: Any,
    kind: str,
    suffix: str,
    output: str | os.PathLike[str] | None,
    view: str,
    offline: bool,
    overwrite: bool,
    temporal: bool = False,
) -> Report:
    """Render a report, and put it in place when it is whole."""
    options = f"{'' if view == 'peak' else f'-{view}'}{'-temporal' if temporal else ''}"
    name = f"raymemprof-{kind}-{reading.stem}{options}.{suffix}"
    path = path_for(output, name, overwrite, reading.paths)
    caption = _caption(reading, view)
    with written_whole(path) as file:
        page = io.StringIO()
        reporter.render(
            outfile=page,
            metadata=_metadata(reading),
            show_memory_leaks=view == "leaks",
            merge_threads=True,
            inverted=False,
            no_web=offline,
        )
        file.write(_titled(page.getvalue(), caption) if suffix == "html" else page.getvalue())
    return Report(path, kind, caption, reading.left_out)


def _caption(reading: Reading, view: str) -> str:
    """Say what a report is of, as a person would: the calls, how many, what each held; and whether some are missing."""
    size = {"peak": reading.peak, "leaks": reading.alive_at_end}.get(view)
    each = "" if reading.count == 1 else " each" if reading.are_alike.get(view) else " on average"
    left = " left at the end" if view == "leaks" else ""
    held = "temporary allocations" if size is None else f"{show_bytes(round(size / reading.count))}{each}{left}"
    left_out = " (not complete)" if reading.left_out else ""
    return f"{reading.subject}, {held}{left_out}"


def _titled(page: str, title: str) -> str:
    """Say in memray's page what it is of, so that two of them can be told apart."""
    text = html.escape(title)
    page = page.replace("<title>memray", f"<title>{text}", 1)
    return page.replace(_HEADING, f"{_HEADING} {text} ·", 1)


def _check_view(view: str) -> None:
    if view not in VIEWS:
        raise ValueError(f"view={view!r} is none of {', '.join(VIEWS)}.")
