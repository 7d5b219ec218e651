"""A diagnosis as HTML: one page that needs no script and no network, and the short form for a notebook."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from ...display.files import check_output, is_folder, written_whole
from ...display.html import templates
from ...display.rows import NOTEBOOK, Rows, fitting
from ...errors import CaptureError
from ...ownership import absolute, refuse_foreign_folder, refuse_foreign_link
from ...reading.catalog.records import Call, compacted_of
from ...reading.reports.notebook.drawn import Drawn
from ...reading.reports.notebook.written import Written
from ...reading.reports.render import flamegraph
from ...reading.reports.report import Report
from ..advise.remarks import remarks
from ..timeline.timeline import drawn, svg_of
from . import charts
from .findings import Examination, Finding

__all__ = ["fragment", "save"]

_MOST_FLAMEGRAPHS = 5
"""Flame graphs beside the page, at most: each has 4.5 MB."""
_MOST_TIMELINES = 5
"""Timelines in the page, at most: each has some 20 KB."""
_SHORT = 0.1
"""Seconds below which a call's memory over time is no more than a step."""
_TEMPLATES = Path(__file__).with_name("templates")
_MOST_ROWS = 40
_MOST_IN_NOTEBOOK = 10
"""Rows of a table that a notebook holds; the page has more."""
_MOST_NODES = 6
"""Nodes in a notebook's picture."""
_LONG = 36
"""A cell with more characters is wrapped."""
_SIGNS = {"ill": "✗", "maybe": "!", "well": "✓", "unknown": "?", "info": "·"}
_COLOURS = {"critical": "#c5221f", "warning": "#b06000", "info": "#1967d2"}
_LEAKS = ("leaking_actor", "idle_workers", "out_of_memory", "endless_retries")
"""Illnesses that a flame graph of what was left shows better than one of the peak."""


@dataclass(frozen=True, slots=True)
class FlameGraph:
    """A finding's flame graph: its link and what it shows, or why it could not be drawn."""

    href: str = ""
    path: str = ""
    name: str = ""
    what: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class MemoryOverTime:
    """A finding's timeline: the picture, and what is not in it."""

    drawn: Drawn | None
    left_out: tuple[str, ...]

    @property
    def svg(self) -> Markup:
        """The picture as the page has it."""
        return Markup(self.drawn.svg if self.drawn else "")


@dataclass(frozen=True, slots=True)
class _Planned:
    """A flame graph that is to be drawn."""

    call: Call
    view: str
    path: Path


@dataclass(frozen=True, slots=True)
class Whole:
    """What a notebook shows of a saved page beside findings and checks."""

    flamegraphs: dict[int, FlameGraph]
    timelines: dict[int, MemoryOverTime]
    charts: tuple[tuple[str, Drawn, str], ...]
    tables: tuple[Table | None, ...]

    @property
    def pictures(self) -> tuple[str, ...]:
        """The ids of the pictures."""
        drawn = [*(one.drawn for one in self.timelines.values()), *(drawn for _, drawn, _ in self.charts)]
        return tuple(one.id for one in drawn if one is not None)


@dataclass(frozen=True, slots=True)
class Table:
    """A sequence as a table: each heading and each cell with its class in the style."""

    caption: str
    count: str
    head: tuple[tuple[str, str], ...]
    lines: tuple[tuple[tuple[str, str], ...], ...]


def save(diagnosis: Examination, output: str | os.PathLike[str], overwrite: bool) -> Report:
    """Write the page, and flame graphs beside it; `Diagnosis.save` says how."""
    path = absolute(output)
    refuse_foreign_link(path.parent)
    if is_folder(path):
        raise ValueError(f"{path} is a folder; name the file to write, {path / 'report.html'} say.")
    check_output(path, overwrite)
    planned = _planned(diagnosis, path.with_name(f"{path.stem}-files"))
    for one in planned.values():
        if one.path.parent.is_dir():
            check_output(one.path, overwrite)
    flamegraphs, timelines = _flamegraphs(planned), _timelines(diagnosis)
    page = _page(diagnosis, flamegraphs, timelines)
    with written_whole(path, errors="replace") as file:  # a user's name can hold characters that are not valid Unicode
        file.write(page)
    shown = Whole(
        flamegraphs,
        timelines,
        tuple(_charts(diagnosis)),
        tuple(_tables(diagnosis, _MOST_IN_NOTEBOOK, NOTEBOOK).values()),
    )
    written = Written(fragment(diagnosis, shown), shown.pictures)
    return Report(path, "diagnosis", diagnosis.summary, diagnosis.unchecked, written)


def fragment(diagnosis: Examination, whole: Whole | None = None) -> str:
    """Return findings and checks as a notebook shows them, in its own colours; all that the page has with `whole`."""
    page = templates(_TEMPLATES).get_template("notebook.html")
    return page.render(diagnosis=diagnosis, whole=whole, signs=_SIGNS, colours=_COLOURS)


def _charts(diagnosis: Examination) -> Iterator[tuple[str, Drawn, str]]:
    """Yield the page's charts as a notebook shows them: title, picture, what is not in it."""
    picture = templates(_TEMPLATES).get_template("chart.svg")
    nodes = diagnosis.usage.nodes if diagnosis.usage is not None else ()
    if nodes:
        bars = [charts.bar(node) for node in nodes[:_MOST_NODES]]
        said = "; ".join(bar.description for bar in bars)
        more = f"The file has {len(nodes) - len(bars)} more." if len(nodes) > len(bars) else ""
        svg = picture.render(bars=bars, timeline=None, width=charts.WIDTH, description=said)
        yield "Memory of the nodes", Drawn(svg, said), more
    timeline = charts.timeline(diagnosis.calls, diagnosis.kills, diagnosis.when)
    if timeline:
        said = timeline.description
        svg = picture.render(bars=(), timeline=timeline, width=timeline.width, description=said)
        yield "Kills and peaks", Drawn(svg, said), ""


def _planned(diagnosis: Examination, folder: Path) -> dict[int, _Planned]:
    """Return which flame graph to draw, of each finding's first call with a capture, by the finding's index."""
    found: dict[int, _Planned] = {}
    known: dict[tuple[Any, ...], _Planned] = {}
    for number, finding in enumerate(diagnosis.findings):
        call = next((call for call in finding.calls if call.capture is not None), None)
        if call is None:
            continue
        view = "leaks" if finding.illness in _LEAKS else "peak"
        key = (call.worker_id, call.pid, call.place, view)
        if key not in known and len(known) < _MOST_FLAMEGRAPHS:
            name = f"{len(known) + 1}-{re.sub(r'[^A-Za-z0-9_.]+', '_', call.name)[:60]}-{view}.html"
            known[key] = _Planned(call, view, folder / name)
        if key in known:
            found[number] = known[key]
    return found


def _flamegraphs(planned: dict[int, _Planned]) -> dict[int, FlameGraph]:
    """Draw flame graphs, each once."""
    drawn = {one: _flamegraph(one) for one in dict.fromkeys(planned.values())}
    return {number: drawn[one] for number, one in planned.items()}


def _flamegraph(planned: _Planned) -> FlameGraph:
    folder, call = planned.path.parent, planned.call
    try:
        refuse_foreign_folder(folder)
        folder.mkdir(exist_ok=True)
        report = flamegraph(call, planned.path, view=planned.view, overwrite=True)
    except (CaptureError, OSError, ValueError, ImportError) as error:
        with contextlib.suppress(OSError):
            folder.rmdir()  # if nothing is in it
        return FlameGraph(failed=str(error))
    what = "left" if planned.view == "leaks" else "held at its peak"
    return FlameGraph(quote(f"{folder.name}/{report.path.name}"), str(report.path), call.name, what)


def _timelines(diagnosis: Examination) -> dict[int, MemoryOverTime]:
    """Draw the memory over time of the first findings' calls, each once, by the finding's index."""
    found: dict[int, MemoryOverTime] = {}
    known: set[tuple[Call, ...]] = set()
    for number, finding in enumerate(diagnosis.findings):
        calls = _of_processes(finding, diagnosis)
        if calls in known or len(known) == _MOST_TIMELINES:
            continue
        if any(call.duration is None or call.duration >= _SHORT for call in calls):
            known.add(calls)
            try:
                drawing, left_out = drawn(calls, with_heap=False)
                found[number] = MemoryOverTime(Drawn(svg_of(drawing), drawing.description), left_out)
            except (OSError, ValueError) as error:
                found[number] = MemoryOverTime(None, (f"No timeline: {error}",))
    return found


def _of_processes(finding: Finding, diagnosis: Examination) -> tuple[Call, ...]:
    """Return a finding's calls, and the others of its function; of actors all that their processes ran."""
    actors = {(call.worker_id, call.pid) for call in finding.calls if call.actor_id is not None}
    theirs = (call for call in diagnosis.calls if call.name == finding.name or (call.worker_id, call.pid) in actors)
    return tuple(dict.fromkeys((*finding.calls, *theirs)))


def _page(diagnosis: Examination, flamegraphs: dict[int, FlameGraph], timelines: dict[int, MemoryOverTime]) -> str:
    verdict = "well" if diagnosis.healthy else "unwell"
    if any(finding.severity == "critical" for finding in diagnosis.findings):
        verdict = "ill"
    return (
        templates(_TEMPLATES)
        .get_template("page.html")
        .render(
            diagnosis=diagnosis,
            flamegraphs=flamegraphs,
            timelines=timelines,
            signs=_SIGNS,
            verdict=verdict,
            of=diagnosis.source or _of_cluster(diagnosis),
            width=charts.WIDTH,
            bars=[charts.bar(node) for node in diagnosis.usage.nodes] if diagnosis.usage is not None else [],
            timeline=charts.timeline(diagnosis.calls, diagnosis.kills, diagnosis.when),
            tables=_tables(diagnosis, _MOST_ROWS),
            warnings=remarks(diagnosis.recommendations[:_MOST_ROWS]),
        )
    )


def _of_cluster(diagnosis: Examination) -> str:
    count = len(diagnosis.usage.nodes) if diagnosis.usage is not None else 0
    return f"a cluster of {count} node{'s' * (count != 1)}"


def _tables(diagnosis: Examination, most: int, width: int = sys.maxsize) -> dict[str, Table | None]:
    """Return the page's tables, with so many rows at most, and the columns that fit."""
    table = partial(_table, width=width)
    kills, recommended = diagnosis.kills, diagnosis.recommendations
    calls = diagnosis.calls.sorted(lambda call: -call.growth)
    counted = sum(one.count() for one in compacted_of(diagnosis.calls))
    tables = {
        "kills": table("Processes killed for memory", kills[-most:], len(kills)),
        "recommendations": table("What functions and actor classes need", recommended[:most], len(recommended)),
        "calls": table("Profiled calls, those that grew most first", calls[:most], len(calls) + counted),
    }
    if diagnosis.usage is not None:
        processes, shared = diagnosis.usage.processes, diagnosis.usage.shared_memory_owners
        tables["processes"] = table("Processes of Ray's now, the largest first", processes[:most], len(processes))
        tables["shared_memory_owners"] = table(
            "Shared memory beside the object stores, the largest first", shared[:most], len(shared)
        )
    return tables


def _table(caption: str, rows: Rows[Any], total: int, *, width: int) -> Table | None:
    """Return a sequence as a table of the columns that fit; None if it is empty."""
    if not rows:
        return None
    columns = fitting(rows, width)
    sides = ["number" if is_number else "" for _, _, is_number in columns]
    return Table(
        caption=caption,
        count=f" ({len(rows)} of {total})" if len(rows) < total else "",
        head=tuple((heading, side) for side, (heading, _, _) in zip(sides, columns, strict=True)),
        lines=tuple(
            tuple((cell, "long" if len(cell) > _LONG else side) for side, cell in zip(sides, cells, strict=True))
            for cells in zip(*(cells for _, cells, _ in columns), strict=True)
        ),
    )
