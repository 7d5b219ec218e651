"""What a target names: a path, a `Capture`, a `Call`, or many of them; and reading it, merged where it is many."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeAlias, Union

from .. import cluster
from .. import journal as contract
from ..errors import CaptureError
from ..ownership import UntrustedError, refuse_foreign_link
from ..progress import progress
from ..rows import first_few, printable
from . import serving
from .catalog import Call, Capture
from .model import Answer, Failure, Figures, Place, Request, Row, Snapshot, Sum, TemporalRow
from .processes import read
from .totals import Total

__all__ = ["PerName", "Piece", "Places", "Reading", "Target", "places_of", "read_target"]

Target: TypeAlias = Union[
    str, "os.PathLike[str]", Capture, Call, Iterable[Union[str, "os.PathLike[str]", Capture, Call]]
]

_LONGEST_NAMES = 3
_LONGEST_COMMAND = 100


@dataclass(frozen=True, slots=True)
class Piece:
    """A capture of a process that went on to be traced: what the later ones show to have been freed is not alive."""

    path: Path
    later: tuple[Path, ...]

    def __fspath__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class PerName:
    """The calls of one name that a target has: how many, the sum of each one's own peak, in bytes, and its mean."""

    name: str
    calls: int
    peak: int
    mean: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a target allocated, summed over the calls, or captures, that it names."""

    title: str
    """What it is, in a few words."""
    killed: bool
    """Whether it is calls that were killed, all of them."""
    stem: str
    """The same, fit for a file's name."""
    paths: tuple[Path, ...]
    """The captures, as far as they lie here."""
    missing: tuple[str, ...]
    """Sentences on what is not in this: captures and nodes that could not be read, calls without a capture."""
    names: tuple[PerName, ...]
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


@dataclass(frozen=True, slots=True)
class _Item:
    """One thing that a target names: a call, or a whole capture."""

    path: Path
    node_id: str | None
    """The node that the capture lies on; None where it can be read here."""
    call: Call | None
    later: tuple[Path, ...] = ()
    """The captures that its process wrote next, where what they show to have been freed is not to count."""


class _Part(NamedTuple):
    """What was read of one thing that a target names."""

    item: _Item
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


def read_target(target: Target, views: tuple[str, ...], temporal: bool = False) -> Reading:
    """Read what a target names, where it lies.

    Raises:
        CaptureError: a capture cannot be read, or does not hold the call. Of several it is named in `missing`, and
            raised only where none can be read.
        FileNotFoundError: there is no such file.
        TypeError: `target` is none of the things it may be.
        ValueError: it names nothing, or more than one capture for a temporal report.
    """
    items, untraced, lacking = _named(target)
    requests = _requests(items, views, temporal)
    if temporal and (len(items) > 1):
        raise ValueError("a temporal report is of one call or one capture: give a single one.")
    answer, missing = _answer(requests)
    found: dict[tuple[str, Place | None], Figures] = {}
    children: dict[tuple[str, Place | None], list[Figures]] = {}
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
    return _reading(items, read, answer.sum, tuple(sentences), temporal)


def _reading(items: list[_Item], read: list[_Part], found: Sum, missing: tuple[str, ...], temporal: bool) -> Reading:
    calls = [part.item.call for part in read if part.item.call is not None]
    whole = [part.item.path for part in read if part.item.call is None]
    all_figures = [part.figures for part in read]
    children = [child for part in read for child in part.children]
    title, stem = _name(calls, whole, found)
    return Reading(
        title=printable(title),
        killed=bool(calls) and not whole and all(call.status == "killed" for call in calls),
        stem=stem,
        paths=tuple(dict.fromkeys(item.path for item in items if item.node_id is None)),
        missing=tuple(map(printable, missing)),
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
        notes=tuple(dict.fromkeys(note for figures in all_figures for note in figures.notes)),
        checked=all(figures.checked for figures in all_figures),
        rows=found.rows,
        snapshots=_snapshots(found, calls, temporal),
        pid=found.pid,
        native=found.native,
        python_allocators=found.python_allocators,
        allocator=found.allocator,
        started_at=min([call.started_at for call in calls] or [found.started_at]),
        ended_at=max([_ended(call, found) for call in calls] or [found.ended_at]),
        temporal_rows=found.temporal_rows,
        high_water_marks=found.high_water_marks,
    )


def _sum(figures: Iterable[int | None]) -> int | None:
    """The sum, where every one is known."""
    total = 0
    for one in figures:
        if one is None:
            return None
        total += one
    return total


class Places(NamedTuple):
    """Where the captures lie that a target names, and what it names that cannot be had."""

    captures: list[tuple[str | None, Path]]
    """The node, None for this machine, and the path there."""
    untraced: list[str]
    """Sentences on the calls without a capture."""
    lacking: list[CaptureError | FileNotFoundError]
    """Why of what is named by a path, or a call, there is no file."""


def places_of(target: Target) -> Places:
    """Return where the captures lie that a target names; each once."""
    named = _named(target)
    return Places(list(dict.fromkeys((one.node_id, one.path) for one in named.items)), named.untraced, named.lacking)


class _Named(NamedTuple):
    """What a target names."""

    items: list[_Item]
    untraced: list[str]
    lacking: list[CaptureError | FileNotFoundError]


def _named(target: object) -> _Named:
    """Take a target apart into calls and whole captures, each once."""
    if isinstance(target, (str, os.PathLike, Call, Capture)):
        return _Named([_item(target, _names_elsewhere([target]))], [], [])
    if not isinstance(target, Iterable):
        raise TypeError(f"{target!r} is no path, Capture or Call, nor several of them.")
    untraced: Counter[tuple[str, str]] = Counter()
    items: dict[tuple[str | None, Path, tuple[int, int] | None], _Item] = {}
    lacking: list[CaptureError | FileNotFoundError] = []
    target = list(target)
    elsewhere = _names_elsewhere(target)
    for one in target:
        if not isinstance(one, (str, os.PathLike, Call, Capture)):
            raise TypeError(f"{one!r} is no path, Capture or Call.")
        if isinstance(one, Call) and one.capture is None:
            untraced[one.name, _why_untraced(one)] += 1
            continue
        try:
            item = _item(one, elsewhere)
        except (CaptureError, FileNotFoundError) as error:
            lacking.append(error)
        else:
            # A call that was listed while it ran and again when it was over is one call; the later word counts.
            items[item.node_id, item.path, item.call.place if item.call else None] = item
    if not items and lacking:
        raise lacking[0]
    if not items and untraced:
        (_, why), _ = untraced.most_common(1)[0]
        raise ValueError(f"none of the {untraced.total()} calls has a capture: {printable(why)}.")
    if not items:
        raise ValueError("there is nothing to read: no call, no capture.")
    sentences = [
        f"{count} call{'s' * (count != 1)} of {name} {'have' if count != 1 else 'has'} no capture: {why}."
        for (name, why), count in untraced.items()
    ]
    return _Named(list(items.values()), sentences, lacking)


def _why_untraced(call: Call) -> str:
    return call.note or "it is gone, removed by hand or to keep the disk budget"


def _item(target: str | os.PathLike[str] | Call | Capture, elsewhere: cluster.Answers) -> _Item:
    if isinstance(target, Call):
        if target.capture is None or target.place is None:
            raise CaptureError(target.name, f"this call has no capture to read: {_why_untraced(target)}.")
        return _Item(target.capture, _elsewhere(target.lies_on), target)
    if isinstance(target, Capture):
        return _Item(target.path, _elsewhere(target.lies_on), None)
    if not os.fspath(target):
        raise ValueError("the path is empty; raymemprof.captures() lists the captures there are.")
    if isinstance(target, Piece):
        return replace(_item(target.path, elsewhere), later=target.later)
    path = Path(target).absolute()
    try:
        refuse_foreign_link(path)
    except UntrustedError as error:
        raise CaptureError(path, f"it is not read: {error}") from None
    if path.is_dir():
        raise ValueError(f"{path} is a folder; raymemprof.captures() lists the captures in it.")
    if not os.path.exists(path):
        node_id = next((node_id for node_id, names in elsewhere.by_node.items() if path.name in names), None)
        if node_id is None and elsewhere.missing and contract.is_capture(path.name):
            nodes = "; ".join(first_few(elsewhere.missing))
            raise FileNotFoundError(f"{path} does not exist here or on the nodes that answered; {nodes}.")
        if node_id is None:
            raise FileNotFoundError(f"{path} does not exist; raymemprof.captures() lists the captures there are.")
        return _Item(path, node_id, None)
    if path.suffix == ".jsonl":
        raise CaptureError(path, "it is a journal; the captures lie beside it and end in .bin.")
    return _Item(path, None, None)


def _elsewhere(node_id: str | None) -> str | None:
    """Return the node's id, unless it is this one, or nothing is known of a cluster."""
    return node_id if node_id is not None and cluster.is_connected() and node_id != cluster.here() else None


def _names_elsewhere(targets: list[object]) -> cluster.Answers:
    """Ask the nodes, all at once, which of the captures they have that are named by a path that is not here."""
    paths = [Path(one) for one in targets if isinstance(one, (str, os.PathLike)) and not isinstance(one, Capture)]
    names = {path.name for path in paths if contract.is_capture(path.name) and not os.path.exists(path)}
    if not names or not cluster.is_connected():
        return cluster.Answers({}, ())
    return cluster.on_each_node(_have, names)


def _have(names: set[str]) -> set[str]:
    """Return those of the names that captures here have."""
    found = set()
    for name in names:
        with contextlib.suppress(CaptureError):
            serving.path_of(name)
            found.add(name)
    return found


def _requests(items: list[_Item], views: tuple[str, ...], temporal: bool) -> dict[str | None, list[Request]]:
    """What to read, one request a capture for its calls and one for the whole of it, by node."""
    wanted: dict[tuple[str | None, Path, bool], list[Call]] = {}
    for item in items:
        calls = wanted.setdefault((item.node_id, item.path, item.call is None), [])
        if item.call is not None:
            calls.append(item.call)
    later = {item.path: tuple(map(str, item.later)) for item in items}
    requests: dict[str | None, list[Request]] = {}
    for (node_id, path, is_whole), calls in wanted.items():
        places = None if is_whole else tuple(call.place for call in calls if call.place is not None)
        complete = frozenset(call.place for call in calls if call.place is not None and _has_ended(call))
        window = _window(calls[0]) if temporal and calls else None
        request = Request(str(path), places, complete, views, len(wanted) == 1, temporal, later[path], window)
        requests.setdefault(node_id, []).append(request)
    return requests


def _answer(requests: dict[str | None, list[Request]]) -> tuple[Answer, tuple[cluster.MissingNode, ...]]:
    """Have each node read what lies there, all of them at once, and sum the sums."""
    away = {node_id: (asked,) for node_id, asked in requests.items() if node_id is not None}
    total = Total()
    with progress("reading", sum(map(len, requests.values()))) as done:

        def take(node_id: str, answer: Answer) -> None:
            total.add(answer)
            done(len(requests[node_id]))

        reply = cluster.on_nodes(
            _read_there,
            away,
            longest=math.inf,  # how long a capture may take is the reader's business
            meanwhile=lambda: total.add(read(requests.get(None, []), done=done)),
            take=take,
        )
    return total.answer(), reply.missing


def _read_there(requests: list[Request]) -> Answer:
    """Read captures on the node where they lie. Each is named by its path there; only the name counts."""
    failures = []
    here = []
    asked_as: dict[str, str] = {}
    for request in requests:
        try:
            path = str(serving.path_of(Path(request.path).name))
        except CaptureError as error:
            failures.append(Failure(request.path, error.reason))
        else:
            asked_as[path] = request.path
            here.append(replace(request, path=path))
    answer = read(here)

    def as_asked(path: str) -> str:
        # Nobody asked for a forked child's capture by itself: it lies where its parent's does.
        return asked_as.get(path) or str(Path(asked_as[str(Path(path).with_suffix(""))]).with_name(Path(path).name))

    failures += [replace(failure, path=as_asked(failure.path)) for failure in answer.failures]
    if answer.sum is None:
        return Answer(None, tuple(failures))
    figures = tuple(
        replace(one, path=as_asked(one.path), child_of=one.child_of and as_asked(one.child_of))
        for one in answer.sum.figures
    )
    return Answer(replace(answer.sum, figures=figures), tuple(failures))


def _lack(item: _Item, figures: Figures | None) -> str | None:
    """Say why a capture does not tell what a call allocated; None where it does."""
    if figures is None:
        return (
            "it does not say where this call began: memray had stopped writing (is the disk full?), or a profiler of "
            "the code's own had taken its place."
        )
    if item.call is not None and not figures.ended and _has_ended(item.call):
        return "it ends before the call did: memray stopped writing, as it does when the disk is full."
    return None


def _has_ended(call: Call) -> bool:
    """Whether the capture must hold the call's end."""
    return call.duration is not None and call.note is None


def _per_name(read: list[_Part]) -> tuple[PerName, ...]:
    found: dict[str, list[int]] = {}
    for part in read:
        if part.item.call is not None:
            found.setdefault(part.item.call.name, []).append(part.peak)
    names = [PerName(name, len(peaks), sum(peaks), round(sum(peaks) / len(peaks))) for name, peaks in found.items()]
    return tuple(sorted(names, key=lambda one: -one.peak))


def _window(call: Call) -> tuple[float, float]:
    start = call.started_at.timestamp()
    return start, (float("inf") if call.duration is None else start + call.duration)


def _ended(call: Call, found: Sum) -> datetime:
    if call.duration is not None:
        return call.started_at + timedelta(seconds=call.duration)
    return max(found.ended_at, call.started_at)


def _snapshots(found: Sum, calls: list[Call], temporal: bool) -> tuple[Snapshot, ...]:
    """The process's memory over the time of the calls; all of it for a temporal report, which counts in snapshots."""
    if not calls or temporal:
        return found.snapshots
    spans = [_window(call) for call in calls]
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    return tuple(shot for shot in found.snapshots if start <= shot.time / 1e3 <= end)


def _name(calls: list[Call], paths: list[Path], found: Sum) -> tuple[str, str]:
    if len(calls) == 1 and not paths:
        call = calls[0]
        who = f"task {call.task_id}, attempt {call.attempt}" if call.task_id else f"pid {call.pid}"
        assert call.place is not None
        which = f"{call.task_id}-{call.attempt or 0}" if call.task_id else f"{call.pid}-{call.place[0]}-{call.place[1]}"
        return f"{call.name} ({who}, {call.status})", f"{_safe(call.name)}-{which}"
    if len(paths) == 1 and not calls:
        stem = "".join(c if c.isprintable() else "_" for c in paths[0].stem)
        title = found.command[:_LONGEST_COMMAND] if found.foreign else paths[0].name
        return title, stem.removeprefix(contract.PREFIX)
    names = sorted({call.name for call in calls} | {path.name for path in paths})
    shown = ", ".join(names[:_LONGEST_NAMES]) + (", …" if len(names) > _LONGEST_NAMES else "")
    count = len(calls) + len(paths)
    what = "calls" if calls and not paths else "captures" if paths and not calls else "calls and captures"
    safe = _safe(names[0])
    return f"{count} {what}: {shown}", f"{safe}-and-more-{count}" if len(names) > 1 else f"{safe}-{count}"


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "_" for c in name)[:80]
