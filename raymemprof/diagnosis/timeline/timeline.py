"""`timeline()`: the memory of calls over time, as a picture."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from markupsafe import Markup

from ... import cluster
from ...display.files import written_whole
from ...display.html import templates
from ...display.refusals import short_traceback
from ...display.rows import looked_through
from ...display.text import show_bytes
from ...errors import CaptureError
from ...reading.catalog import listing
from ...reading.catalog.filters import Filters
from ...reading.catalog.records import Call, Calls, Capture
from ...reading.catalog.series import Life, Point, lives_of, thinned
from ...reading.reports.merged import read_target
from ...reading.reports.notebook.drawn import Drawn
from ...reading.reports.output import check_early, path_for
from ...reading.reports.report import Report
from ...reading.reports.targets import Target
from .drawing import Drawing, draw

__all__ = ["drawn", "svg_of", "timeline"]

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_CAPTURE = 64 * 2**20
"""Bytes of captures up to which they are read for the heap over time, which takes a second or two."""


@short_traceback
def timeline(
    what: Target | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    status: str | None = None,
    kind: str | None = None,
    task_id: str | None = None,
    actor_id: str | None = None,
    job_id: str | None = None,
    node_id: str | None = None,
    overwrite: bool = False,
) -> Report:
    """Draw the memory of a call, an actor, a function or a job over time, with the calls as bands.

    For each node, the picture stacks the memory (RSS − SHR) of the processes that the calls ran in. It marks kills in
    red, and retries with ↻. If the raylet's log gives the kill threshold, a dashed line shows it. If the calls ran in
    one process, the picture also shows the heap as memray saw it, unless the captures have more than 64 MiB.

    Args:
        what: a `Call`, a `Capture`, or several of these; or a folder, or a journal or capture in one, as in `calls`.
            None for what `calls()` reads.
        output: the file to write: an HTML page, or a picture if the name ends in `.svg`. By default,
            `raymemprof-timeline-<call>.html` in the current folder. An incomplete file never appears.
        name: only calls of this name, as in `calls`.
        status: only calls with this status.
        kind: only calls of this kind.
        task_id: only this Ray task's.
        actor_id: only this Ray actor's.
        job_id: only this Ray job's.
        node_id: only this Ray node's.
        overwrite: replace `output` if it exists. Without `output`, an earlier report of this name is always replaced.

    Returns:
        A `Report`, which a notebook shows inline and which has `.path` and `.open()`. The picture stays small however
        many calls there are; `left_out` says what it merges or does not draw.

    Raises:
        FileNotFoundError: `what` does not exist, or there is no such folder to write to.
        FileExistsError: the output exists, and `overwrite` is not set.
        ValueError: no call fits, or an option makes no sense.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> load = raymemprof.calls("/tmp/raymemprof-example", name="load")[-1]
        >>> raymemprof.timeline(load, "/tmp/raymemprof-example/timeline.html", overwrite=True).kind
        'timeline'
    """
    filters = Filters(name, status, kind, task_id, actor_id, job_id, node_id)
    check_early(output, overwrite)
    calls = _chosen(what, filters)
    if not calls:
        raise ValueError(f"there is nothing to draw: {looked_through(calls) or 'no call fits'}.")
    names = {call.name for call in calls}
    stem = re.sub(r"[^A-Za-z0-9_.]+", "_", names.pop() if len(names) == 1 else "calls").strip("._")[:80] or "call"
    captures = [call.capture for call in calls if call.capture is not None]
    path = path_for(output, f"raymemprof-timeline-{stem}.html", overwrite, captures)
    drawing, left_out = drawn(calls)
    left_out = (*map(str, calls.missing), *calls.left_out, *left_out)
    svg = svg_of(drawing)
    with written_whole(path, errors="replace") as file:
        file.write(svg if path.suffix == ".svg" else _page(drawing, svg, left_out))
    return Report(path, "timeline", drawing.title, left_out, Drawn(svg, drawing.description))


def drawn(calls: Iterable[Call], *, with_heap: bool = True) -> tuple[Drawing, tuple[str, ...]]:
    """Return the drawing of calls, and what is not in it; raises `ValueError` where nothing tells of their memory.

    The heap over time takes the time to read captures.
    """
    lives, left_out = lives_of(calls)
    if not lives:
        raise ValueError(f"there is nothing to draw: {(left_out or ['no journal tells of these calls'])[0]}.")
    heap, why = _heap(lives[0]) if with_heap and len(lives) == 1 else ([], "")
    addresses = {node.node_id: node.node_ip for node in cluster.nodes()} if cluster.is_connected() else {}
    drawing = draw(lives, heap, addresses)
    return drawing, (*left_out, *drawing.left_out, *filter(None, [why]))


def svg_of(drawing: Drawing) -> str:
    """Return a drawing as a picture that depends on nothing."""
    return templates(_TEMPLATES).get_template("timeline.svg").render(drawing=drawing)


def _page(drawing: Drawing, svg: str, left_out: tuple[str, ...]) -> str:
    page = templates(_TEMPLATES).get_template("page.html")
    return page.render(drawing=drawing, svg=Markup(svg), left_out=left_out)


def _chosen(what: Target | None, filters: Filters) -> Calls:
    """Return the calls that are named, as far as they fit."""
    asked = {key: getattr(filters, key) for key in Filters.__slots__ if key != "since"}
    if what is None or (isinstance(what, (str, os.PathLike)) and not isinstance(what, Capture)):
        return listing.calls(what, **asked)
    if not isinstance(what, (Call, Capture)) and not isinstance(what, Iterable):
        raise TypeError(f"{what!r} is no path, Call or Capture, nor several of them.")
    found = [call for call in _each([what] if isinstance(what, (Call, Capture)) else what) if filters.fit(call)]
    rows = what if isinstance(what, Calls) else Calls(())
    sought = filters.sought(set()) if rows and not found else ""
    return Calls(found, ": ".join(filter(None, [rows._caption, sought])), rows.missing, rows.left_out, rows.chosen)


def _each(named: Iterable[object]) -> Iterator[Call]:
    for one in named:
        if isinstance(one, Call):
            yield one
        elif isinstance(one, Capture) and not one.path.exists():  # it lies on another node
            yield from (call for call in listing.calls(node_id=one.node_id) if call.capture == one.path)
        elif isinstance(one, (str, os.PathLike)):
            yield from listing.calls(os.fspath(one))
        else:
            raise TypeError(f"{one!r} is no path, Call or Capture.")


def _heap(life: Life) -> tuple[list[Point], str]:
    """Return what memray saw in a process over time, or why that is not drawn."""
    by_capture: dict[Path, list[Call]] = {}
    for call in life.calls:
        if call.capture is not None and call.place is not None:
            by_capture.setdefault(call.capture, []).append(call)
    size = sum(path.stat().st_size for path in by_capture if path.exists())
    if size > _MOST_CAPTURE:
        return [], f"The heap is not drawn: its captures have {show_bytes(size)}."
    found: list[Point] = []
    for calls in by_capture.values():
        try:
            shots = read_target(calls, ("peak",)).snapshots
        except (CaptureError, OSError, ValueError) as error:
            return [], f"The heap is not drawn: {error}"
        found += (Point(shot.time / 1e3, shot.heap) for shot in shots)
    return list(thinned(sorted(found))), ""
