"""Reads what a target names, and sums it over the calls, or captures, that these are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from ... import cluster
from ... import journal as contract
from ...display.record import Record
from ...display.text import printable, show_name
from ...errors import CaptureError
from ..captures.model import TOO_LOW, CallPlace, CaptureSum, Figures, Row, Snapshot, TemporalRow
from ..catalog.records import Call
from .requests import ask, must_have_end, requests_for, window_of
from .source_names import SourceNames
from .targets import Item, Target, resolve

__all__ = ["HeapByName", "Reading", "read_target"]

_LONGEST_NAMES = 3
_LONGEST_COMMAND = 100
_CONSTRUCTORS = ("__init__", "__init")
"""The first call of an actor, as captures are named for it. Older files are named without the last underscores."""
_ALIKE = 0.05
"""What is least differs from what is most by no more than this part, where both are called alike."""


@dataclass(frozen=True, slots=True)
class HeapByName(Record):
    """What the calls of one name held. Figures are bytes.

    Attributes:
        name: the calls' name.
        call_count: how many calls.
        peak: the sum of each one's own peak.
        mean: the mean of these.
    """

    name: str
    call_count: int
    peak: int
    mean: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a target allocated, summed over the calls, or captures, that it names."""

    title: str
    """What it is, in a few words and ids."""
    subject: str
    """The same as a person would name it."""
    killed: bool
    """Whether it is calls that were killed, all of them."""
    stem: str
    """The same, fit for a file's name."""
    paths: tuple[Path, ...]
    """The captures, as far as they lie here."""
    left_out: tuple[str, ...]
    """Sentences on what is not in this: captures and nodes that could not be read, calls without a capture."""
    are_alike: dict[str, bool]
    """Whether each of them held about as much as the others, in the views "peak" and "leaks"."""
    names: tuple[HeapByName, ...]
    """The calls by name; none where whole captures were named."""
    count: int
    peak: int
    in_children: int
    children: int
    alive_at_end: int
    allocations: int
    reserved: int
    shared: int
    grew: int | None
    """None where it is not known of each."""
    retained: int | None
    unseen: int | None
    released: int
    retained_before: int | None
    retained_at_end: int | None
    notes: tuple[str, ...]
    checked: bool
    """Whether each capture has the checksum that its process wrote."""
    rows: dict[str, tuple[Row, ...]]
    snapshots: tuple[Snapshot, ...]
    """Of the process while the target ran; none where the target is of several captures."""
    pid: int
    native: bool
    python_allocators: bool
    allocator: str
    started_at: datetime
    ended_at: datetime
    temporal_rows: tuple[TemporalRow, ...]
    high_water_marks: tuple[int, ...] | None
    texts: dict[tuple[str, int], str]
    """The text of the user's lines, by the name of the file, as frames have it, and the line's number."""


class _Part(NamedTuple):
    """What was read of one thing that a target names."""

    item: Item
    figures: Figures
    """Its process's."""
    children: tuple[Figures, ...]
    """Those of the forked children that are part of it."""

    @property
    def in_children(self) -> int:
        return sum(child.peak for child in self.children)

    @property
    def peak(self) -> int:
        return self.figures.peak + self.in_children

    @property
    def alive_at_end(self) -> int:
        return self.figures.alive_at_end + sum(child.alive_at_end for child in self.children)


def read_target(target: Target, views: tuple[str, ...], temporal: bool = False) -> Reading:
    """Read what a target names, where it lies.

    Raises:
        CaptureError: a capture cannot be read, or does not hold the call. Of several it is named in `left_out`, and
            raised only where none can be read.
        FileNotFoundError: there is no such file.
        TypeError: `target` is none of the things it may be.
        ValueError: it names nothing, or more than one capture for a temporal report.
    """
    items, untraced, lacking = resolve(target)
    requests = requests_for(items, views, temporal)
    if temporal and (len(items) > 1):
        raise ValueError("a temporal report is of one call or one capture: give a single one.")
    answer, missing = ask(requests)
    found: dict[tuple[str, CallPlace | None], Figures] = {}
    children: dict[tuple[str, CallPlace | None], list[Figures]] = {}
    for one in answer.sum.figures if answer.sum else ():
        if one.child_of is None:
            found[one.path, one.place] = one
        else:
            children.setdefault((one.child_of, one.place), []).append(one)
    read: list[_Part] = []
    failed = {failure.path for failure in answer.failures}
    lost = {request.path for node in missing for request in requests[node.node_id]}
    reasons = [(failure.path, failure.reason) for failure in answer.failures]
    for item in items:
        key = (str(item.path), item.call.place if item.call else None)
        figures = found.get(key)
        reason = _lack(item, figures)
        if figures is not None and reason is None:
            read.append(_Part(item, figures, tuple(children.get(key, ()))))
        elif reason is not None and not {str(item.path)} & (failed | lost):
            reasons.append((str(item.path), reason))
    unlisted = [node for node in getattr(target, "missing", ()) if isinstance(node, cluster.MissingNode)]
    sentences = [
        *dict.fromkeys(map(str, (*unlisted, *missing))),
        *untraced,
        *map(str, lacking),
        *(f"{path}: {reason}" for path, reason in reasons),
    ]
    if not read or answer.sum is None:
        if reasons:
            raise CaptureError(*reasons[0])
        # The target's own list of the missing may name others, which were gone when it was made.
        why = next((str(node) for node in missing if node.node_id == items[0].node_id), None)
        raise CaptureError(items[0].path, f"{why or (sentences or ['nothing of it can be read'])[0]}.")
    return _merged(items, read, answer.sum, tuple(sentences), temporal)


def _lack(item: Item, figures: Figures | None) -> str | None:
    """Say why a capture does not tell what a call allocated; None where it does."""
    if figures is None:
        return (
            "it does not say where this call began: memray had stopped writing (is the disk full?), or a profiler of "
            "the code's own had taken its place."
        )
    if item.call is not None and not figures.ended and must_have_end(item.call):
        return "it ends before the call did: memray stopped writing, as it does when the disk is full."
    return None


def _merged(
    items: list[Item], read: list[_Part], found: CaptureSum, left_out: tuple[str, ...], temporal: bool
) -> Reading:
    calls = [part.item.call for part in read if part.item.call is not None]
    whole = [part.item.path for part in read if part.item.call is None]
    all_figures = [part.figures for part in read]
    children = [child for part in read for child in part.children]
    title, subject, stem = _name(calls, whole, found)
    stacks = [row.stack for rows in found.rows.values() for row in rows] + [row.stack for row in found.temporal_rows]
    names = SourceNames(found.sources, stacks)
    notes = dict.fromkeys((part.item.path, note) for part in read for note in part.figures.notes)
    left_out = (*left_out, *(f"{path}: {note}." for path, note in notes if TOO_LOW in note))
    return Reading(
        title=printable(title),
        subject=printable(subject),
        killed=bool(calls) and not whole and all(call.status == "killed" for call in calls),
        stem=stem,
        paths=tuple(dict.fromkeys(item.path for item in items if item.node_id is None)),
        left_out=tuple(map(printable, left_out)),
        are_alike={
            "peak": _are_alike([part.peak for part in read]),
            "leaks": _are_alike([part.alive_at_end for part in read]),
        },
        names=_per_name(read),
        count=len(read),
        peak=sum(part.peak for part in read),
        in_children=sum(part.in_children for part in read),
        children=len({child.path for child in children if child.peak}),
        alive_at_end=sum(figures.alive_at_end for figures in (*all_figures, *children)),
        allocations=sum(figures.allocations for figures in (*all_figures, *children)),
        reserved=sum(figures.reserved for figures in all_figures),
        shared=sum(figures.shared for figures in all_figures),
        grew=_sum(figures.grew for figures in all_figures),
        retained=_sum(figures.retained for figures in all_figures),
        unseen=_sum(figures.unseen for figures in all_figures),
        released=sum(figures.released for figures in all_figures),
        retained_before=_sum(figures.retained_before for figures in all_figures),
        retained_at_end=_sum(figures.retained_at_end for figures in all_figures),
        notes=tuple(dict.fromkeys(note for _, note in notes if TOO_LOW not in note)),
        checked=all(figures.checked for figures in all_figures),
        rows={view: names.rows(rows) for view, rows in found.rows.items()},
        snapshots=_snapshots(found, calls, temporal),
        pid=found.pid,
        native=found.native,
        python_allocators=found.python_allocators,
        allocator=found.allocator,
        started_at=min([call.started_at for call in calls] or [found.started_at]),
        ended_at=max([_ended(call, found) for call in calls] or [found.ended_at]),
        temporal_rows=tuple(replace(row, stack=names.stack(row.stack)) for row in found.temporal_rows),
        high_water_marks=found.high_water_marks,
        texts=names.texts,
    )


def _sum(figures: Iterable[int | None]) -> int | None:
    """The sum, where every one is known."""
    total = 0
    for one in figures:
        if one is None:
            return None
        total += one
    return total


def _are_alike(sizes: list[int]) -> bool:
    return max(sizes) - min(sizes) <= _ALIKE * max(sizes)


def _per_name(read: list[_Part]) -> tuple[HeapByName, ...]:
    found: dict[str, list[int]] = {}
    for part in read:
        if part.item.call is not None:
            found.setdefault(part.item.call.name, []).append(part.peak)
    names = [HeapByName(name, len(peaks), sum(peaks), round(sum(peaks) / len(peaks))) for name, peaks in found.items()]
    return tuple(sorted(names, key=lambda one: -one.peak))


def _ended(call: Call, found: CaptureSum) -> datetime:
    if call.duration is not None:
        return call.started_at + timedelta(seconds=call.duration)
    return max(found.ended_at, call.started_at)


def _snapshots(found: CaptureSum, calls: list[Call], temporal: bool) -> tuple[Snapshot, ...]:
    """The process's memory over the time of the calls; all of it for a temporal report, which counts in snapshots."""
    if not calls or temporal:
        return found.snapshots
    spans = [window_of(call) for call in calls]
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    return tuple(shot for shot in found.snapshots if start <= shot.time / 1e3 <= end)


def _name(calls: list[Call], paths: list[Path], found: CaptureSum) -> tuple[str, str, str]:
    """Return the title, the subject and the stem of what was read."""
    if len(calls) == 1 and not paths:
        call = calls[0]
        who = f"task {call.task_id}, attempt {call.attempt}" if call.task_id else f"pid {call.pid}"
        assert call.place is not None
        which = f"{call.task_id}-{call.attempt or 0}" if call.task_id else f"{call.pid}-{call.place[0]}-{call.place[1]}"
        title = f"{show_name(call.name)} ({who}, {call.status})"
        return title, _subject(call), f"{_safe(call.name)}-{which}"
    if len(paths) == 1 and not calls:
        name = paths[0].name
        stem = "".join(c if c.isprintable() else "_" for c in paths[0].stem).removeprefix(contract.PREFIX)
        if found.foreign:
            return f"{name} ({found.command[:_LONGEST_COMMAND]})", show_name(name), stem
        process = _process(contract.named_for(name), found.pid)
        return f"{process} ({name})", process, stem
    names = sorted({call.name for call in calls} | {path.name for path in paths})
    short = _first(sorted({call.name for call in calls} | {_of_whom(path.name) for path in paths}))
    count = len(calls) + len(paths)
    what = "calls" if calls and not paths else "captures" if paths and not calls else "calls and captures"
    safe = _safe(names[0])
    stem = f"{safe}-and-more-{count}" if len(names) > 1 else f"{safe}-{count}"
    return f"{count} {what}: {short}", f"{short}, {count:,} {what}", stem


def _subject(call: Call) -> str:
    attempt = f", attempt {call.attempt}" if call.attempt else ""
    status = f", {call.status}" if call.status != "finished" else ""
    return f"{show_name(call.name)}{attempt}{status}"


def _process(first_call: str | None, pid: int) -> str:
    """Name the process of a capture, by the call that the capture was begun for."""
    actor = _actor(first_call)
    if actor is not None:
        return f"{actor}, process {pid}"
    return f"process {pid}, which ran {first_call}" if first_call else f"process {pid}"


def _of_whom(capture: str) -> str:
    """Name a capture by the call that it was begun for."""
    first_call = contract.named_for(capture)
    return _actor(first_call) or first_call or capture


def _actor(first_call: str | None) -> str | None:
    name, _, method = (first_call or "").rpartition(".")
    return f"actor {name}" if name and method in _CONSTRUCTORS else None


def _first(names: list[str]) -> str:
    return ", ".join(map(show_name, names[:_LONGEST_NAMES])) + (", …" if len(names) > _LONGEST_NAMES else "")


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "_" for c in name)[:80]
