"""Flame graphs, tables and speedscope files, drawn by memray's own reporters, and how a notebook shows them."""

from __future__ import annotations

import html
import io
import os
import webbrowser
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...display.files import check_output, written_whole
from ...display.record import Record
from ...display.text import printable, show_bytes
from ...ownership import refuse_foreign_link
from ..captures.model import Stack
from .merged import Reading, read_target
from .shown_lines import add_to_flame_graph, add_to_table
from .targets import Target

if TYPE_CHECKING:
    from memray import Metadata

__all__ = ["VIEWS", "Report", "flamegraph", "speedscope", "table"]

VIEWS = ("peak", "leaks", "temporary")
_HEIGHT = 640
"""Pixels that a report is high in a notebook."""
_ZOOM_INLINE = "<script>history.pushState = (state, title, url) => { location.hash = url; };</script>"
"""memray notes the box that is zoomed to with `pushState`, which a page without an address of its own may not use."""
_START = 2048
"""Bytes of a report that have its title."""
_HEADING = '<span class="navbar-brand mb-0 mr-2 h1">memray</span>'
_MERGED_THREADS = -1
"""memray's number for "whatever thread it was"."""


@dataclass(frozen=True, slots=True)
class Report(Record):
    """A report that was written to a file.

    Attributes:
        path: the file.
        kind: "flamegraph", "table", "speedscope" or "diagnosis".
        title: what it is of.
        left_out: sentences on what is not in this: captures and nodes that could not be read, calls without a capture.
    """

    path: Path
    kind: str
    title: str
    left_out: tuple[str, ...] = ()

    def open(self) -> None:
        """Show the report in a web browser."""
        webbrowser.open(self.path.absolute().as_uri())

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        """Return the report as a notebook shows it: all of it, inline, needing no file beside the notebook."""
        name = html.escape(printable(str(self.path)))
        left_out = "".join(f'<div style="font-size:small">{html.escape(text)}</div>' for text in self.left_out)
        if self.kind == "speedscope":
            return f"<div>{html.escape(self.title)}: <code>{name}</code>, to be opened with speedscope.</div>{left_out}"
        page = self.path.read_text(encoding="utf-8").replace("<head>", f"<head>{_ZOOM_INLINE}", 1)
        content = html.escape(page, quote=True)
        return (
            f'<div style="font-size:small">{html.escape(self.title)} · <code>{name}</code></div>{left_out}'
            f'<iframe srcdoc="{content}" width="100%" height="{_HEIGHT}" style="border:1px solid #ccc" '
            f'title="{html.escape(self.title, quote=True)}" sandbox="allow-scripts allow-same-origin allow-popups '
            'allow-downloads allow-modals"></iframe>'
        )


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
        target: a `Call`, a `Capture`, the path of any memray capture, or several of these, which are summed: each call
            at its own peak.
        output: the file to write; by default `raymemprof-flamegraph-<call>.html` in the current folder. It appears
            whole or not at all.
        view: "peak": what was held at the peak; "leaks": what was left at the end; "temporary": what was freed again
            before two more allocations were made.
        temporal: draw the heap over time, with a range to select. Of one call or capture only.
        offline: put all scripts and styles into the file (4.5 MB), so that it needs no network.
        overwrite: replace the file if it exists; else it is refused. Under its default name, it replaces an earlier
            report.

    Returns:
        A `Report`, which a notebook shows inline and which has `.path` and `.open()`.

    Raises:
        CaptureError: the capture is missing, damaged, or the call was not traced; with the reason.
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
    reading = read_target(target, (view,), temporal)
    from memray.reporters.flamegraph import FlameGraphReporter

    snapshots = _snapshots(reading)
    if temporal:
        marks = None if reading.high_water_marks is None else list(reading.high_water_marks)
        reporter: Any = FlameGraphReporter.from_temporal_snapshot(
            _temporal_records(reading),
            memory_records=snapshots,
            native_traces=False,
            high_water_mark_by_snapshot=marks,
        )
    else:
        reporter = FlameGraphReporter.from_snapshot(
            _records(reading, view), memory_records=snapshots, native_traces=False
        )
    add_to_flame_graph(reporter.data, reading.texts)
    return _write(reading, reporter, "flamegraph", "html", output, view, offline, overwrite, temporal)


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
    reading = read_target(target, (view,))
    from memray.reporters.table import TableReporter

    reporter = TableReporter.from_snapshot(
        _records(reading, view), memory_records=_snapshots(reading), native_traces=False
    )
    add_to_table(reporter.data, reading.texts)
    return _write(reading, reporter, "table", "html", output, view, offline, overwrite)


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
    reading = read_target(target, (view,))
    from memray.reporters.transform import TransformReporter

    reporter = TransformReporter(
        _records(reading, view), format="speedscope", memory_records=_snapshots(reading), native_traces=False
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


def _records(reading: Reading, view: str) -> Iterable[Any]:
    return [_Record(row.stack, row.allocator, row.bytes, row.allocations) for row in reading.rows[view]]


def _temporal_records(reading: Reading) -> Iterable[Any]:
    from memray._memray import Interval, TemporalAllocationRecord

    class Record(TemporalAllocationRecord):
        """One row over time, with its stack at hand; the reporter asks for memray's own type."""

        tid = _MERGED_THREADS
        thread_name = "merged thread"
        stack: Stack = ()

        def stack_trace(self, max_stacks: int | None = None) -> list[tuple[str, str, int]]:
            return list(self.stack[:max_stacks])

    records = []
    for row in reading.temporal_rows:
        record: Any = Record((_MERGED_THREADS, row.allocator, 0, 0, 0))  # type: ignore[call-arg]
        record.stack = row.stack
        record.intervals = [Interval(start, end, count, size) for start, end, count, size in row.intervals]
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
        command_line=_caption(reading),
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
    path = Path(name if output is None else output).absolute()
    refuse_foreign_link(path if path.is_dir() else path.parent)
    is_default = output is None or path.is_dir()
    if path.is_dir():
        path = path / name
    if any(path.exists() and path.samefile(capture) for capture in reading.paths):
        raise ValueError(f"{path} is the capture itself; give another output.")
    check_output(path, overwrite or (is_default and _is_report(path)))
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
        file.write(_titled(page.getvalue(), _caption(reading)) if suffix == "html" else page.getvalue())
    return Report(path, kind, _caption(reading), reading.left_out)


def _is_report(path: Path) -> bool:
    """Whether a file is a report of memray's, such as an earlier one of the same call."""
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError:
        return False
    return b" report</title>" in start or start.startswith(b'{"$schema": "https://www.speedscope.app/')


def _caption(reading: Reading) -> str:
    """Say what a report is of; of many, what one has on average, and whether some are not in it."""
    mean = f", {show_bytes(round(reading.peak / reading.count))} each on average" if reading.count > 1 else ""
    left_out = " (not complete)" if reading.left_out else ""
    return f"{reading.title}{mean}{left_out}"


def _titled(page: str, title: str) -> str:
    """Say in memray's page what it is of, so that two of them can be told apart."""
    text = html.escape(title)
    page = page.replace("<title>memray", f"<title>{text}", 1)
    return page.replace(_HEADING, f"{_HEADING} {text} ·", 1)


def _check_view(view: str) -> None:
    if view not in VIEWS:
        raise ValueError(f"view={view!r} is none of {', '.join(VIEWS)}.")
