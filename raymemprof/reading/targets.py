"""What a target names: a path, a `Capture`, a `Call`, or many of them; and reading it, merged where it is many."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias, Union

from ..errors import CaptureError
from .analysis import Place, Profile, Request, Result, Snapshot, TemporalRow
from .catalog import Call, Capture
from .processes import read

__all__ = ["Reading", "Target", "read_target"]

Target: TypeAlias = Union[
    str, "os.PathLike[str]", Capture, Call, Iterable[Union[str, "os.PathLike[str]", Capture, Call]]
]

_LONGEST_NAMES = 3
_LONGEST_COMMAND = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """What a target allocated: one profile for each call, or capture, that it names."""

    title: str
    """What it is, in a few words."""
    killed: bool
    """Whether it is calls that were killed, all of them."""
    stem: str
    """The same, fit for a file's name."""
    paths: tuple[Path, ...]
    profiles: tuple[Profile, ...]
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


@dataclass(slots=True)
class _Wanted:
    whole: bool = False
    calls: list[Call] | None = None


def read_target(target: Target, views: tuple[str, ...], temporal: bool = False) -> Reading:
    """Read what a target names.

    Raises:
        CaptureError: a capture cannot be read, or does not hold the call.
        FileNotFoundError: there is no such file.
        TypeError: `target` is none of the things it may be.
        ValueError: it names nothing, or more than one capture for a temporal report.
    """
    calls, paths = _sort(target)
    wanted: dict[Path, _Wanted] = {}
    for path in paths:
        wanted.setdefault(path, _Wanted()).whole = True
    for call in calls:
        assert call.capture is not None and call.place is not None
        entry = wanted.setdefault(call.capture, _Wanted())
        entry.calls = [*(entry.calls or ()), call]
    if temporal and (len(wanted) != 1 or len(calls) > 1):
        raise ValueError("a temporal report is of one call or one capture: give a single one.")
    requests: list[Request] = []
    for path, entry in wanted.items():
        if entry.whole:
            requests.append(Request(str(path), None, views, temporal))
        if entry.calls is not None:
            window = _window(entry.calls[0]) if temporal else None
            places = tuple(call.place for call in entry.calls if call.place is not None)
            requests.append(Request(str(path), places, views, temporal, window))
    results = _all(requests)
    for request, result in zip(requests, results, strict=True):
        cut = [call for call in calls if str(call.capture) == request.path and call.place in result.unended]
        if any(call.duration is not None and call.note is None for call in cut):
            raise CaptureError(
                request.path, "it ends before the call did: memray stopped writing, as it does when the disk is full."
            )
    profiles = [
        _held(result, place, request)
        for request, result in zip(requests, results, strict=True)
        for place in (request.places if request.places is not None else (None,))
    ]
    first = results[0]
    title, stem = _name(calls, paths, first)
    return Reading(
        title=title,
        killed=bool(calls) and not paths and all(call.status == "killed" for call in calls),
        stem=stem,
        paths=tuple(wanted),
        profiles=tuple(profiles),
        snapshots=_snapshots(first, calls, temporal) if len(results) == 1 else (),
        pid=first.pid,
        native=any(result.native for result in results),
        python_allocators=first.python_allocators,
        allocator=first.allocator,
        started_at=min([call.started_at for call in calls] or [result.started_at for result in results]),
        ended_at=max([_ended(call, first) for call in calls] or [result.ended_at for result in results]),
        temporal_rows=first.temporal_rows,
        high_water_marks=first.high_water_marks,
    )


def _sort(target: object) -> tuple[list[Call], list[Path]]:
    """Take a target apart into calls and the paths of whole captures."""
    if isinstance(target, Call):
        if target.capture is None or target.place is None:
            why = target.note or "its capture is gone, removed by hand or to keep the disk budget"
            raise CaptureError(target.name, f"this call has no capture to read: {why}.")
        return [target], []
    if isinstance(target, (str, os.PathLike)):
        if not os.fspath(target):
            raise ValueError("the path is empty; raymemprof.captures() lists the captures there are.")
        path = Path(target).absolute()
        if path.is_dir():
            raise ValueError(f"{path} is a folder; raymemprof.captures() lists the captures in it.")
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path} does not exist; raymemprof.captures() lists the captures there are.")
        if path.suffix == ".jsonl":
            raise CaptureError(path, "it is a journal; the captures lie beside it and end in .bin.")
        return [], [path]
    if not isinstance(target, Iterable):
        raise TypeError(f"{target!r} is no path, Capture or Call, nor several of them.")
    calls: list[Call] = []
    paths: list[Path] = []
    untraced = 0
    for item in target:
        if isinstance(item, Call) and item.capture is None:
            untraced += 1
            continue
        if not isinstance(item, (Call, str, os.PathLike)):
            raise TypeError(f"{item!r} is no path, Capture or Call.")
        more_calls, more_paths = _sort(item)
        calls += more_calls
        paths += more_paths
    if not calls and not paths:
        raise ValueError(
            f"none of the {untraced} calls has a capture."
            if untraced
            else "there is nothing to read: no call, no capture."
        )
    return calls, paths


def _all(requests: list[Request]) -> list[Result]:
    results = []
    for answer in read(requests):
        if isinstance(answer, CaptureError):
            raise answer
        results.append(answer)
    return results


def _held(result: Result, place: Place | None, request: Request) -> Profile:
    try:
        return result.profiles[place]
    except KeyError:
        raise CaptureError(
            request.path,
            "it does not say where this call began: memray had stopped writing (is the disk full?), or a profiler of "
            "the code's own had taken its place.",
        ) from None


def _window(call: Call) -> tuple[float, float]:
    start = call.started_at.timestamp()
    return start, (float("inf") if call.duration is None else start + call.duration)


def _ended(call: Call, result: Result) -> datetime:
    if call.duration is not None:
        return call.started_at + timedelta(seconds=call.duration)
    return max(result.ended_at, call.started_at)


def _snapshots(result: Result, calls: list[Call], temporal: bool) -> tuple[Snapshot, ...]:
    """The process's memory over the time of the calls; all of it for a temporal report, which counts in snapshots."""
    if not calls or temporal:
        return result.snapshots
    spans = [_window(call) for call in calls]
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    return tuple(shot for shot in result.snapshots if start <= shot.time / 1e3 <= end)


def _name(calls: list[Call], paths: list[Path], first: Result) -> tuple[str, str]:
    if len(calls) == 1 and not paths:
        call = calls[0]
        who = f"task {call.task_id}, attempt {call.attempt}" if call.task_id else f"pid {call.pid}"
        assert call.place is not None
        which = f"{call.task_id}-{call.attempt or 0}" if call.task_id else f"{call.pid}-{call.place[0]}-{call.place[1]}"
        return f"{call.name} ({who}, {call.status})", f"{_safe(call.name)}-{which}"
    if len(paths) == 1 and not calls:
        return (first.command[:_LONGEST_COMMAND] if first.foreign else paths[0].name), paths[0].stem.removeprefix(
            "raymemprof-"
        )
    names = sorted({call.name for call in calls} | {path.name for path in paths})
    shown = ", ".join(names[:_LONGEST_NAMES]) + (", …" if len(names) > _LONGEST_NAMES else "")
    count = len(calls) + len(paths)
    what = "calls" if calls and not paths else "captures" if paths and not calls else "calls and captures"
    safe = _safe(names[0])
    return f"{count} {what}: {shown}", f"{safe}-and-more-{count}" if len(names) > 1 else f"{safe}-{count}"


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "_" for c in name)[:80]
