"""What to read of the captures that a target names, and having each node read what lies there."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from ... import cluster
from ...display.progress import progress
from ...errors import CaptureError
from ..captures.model import Answer, Failure, Request
from ..captures.pool import read
from ..captures.totals import Total
from ..catalog import fetchable
from ..catalog.records import Call
from .targets import Item

__all__ = ["ask", "must_have_end", "requests_for", "window_of"]


def requests_for(items: list[Item], views: tuple[str, ...], temporal: bool) -> dict[str | None, list[Request]]:
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
        complete = frozenset(call.place for call in calls if call.place is not None and must_have_end(call))
        window = window_of(calls[0]) if temporal and calls else None
        request = Request(str(path), places, complete, views, len(wanted) == 1, temporal, later[path], window)
        requests.setdefault(node_id, []).append(request)
    return requests


def ask(requests: dict[str | None, list[Request]]) -> tuple[Answer, tuple[cluster.MissingNode, ...]]:
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
            path = str(fetchable.path_of(Path(request.path).name))
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


def must_have_end(call: Call) -> bool:
    """Whether the capture must hold the call's end."""
    return call.duration is not None and call.note is None


def window_of(call: Call) -> tuple[float, float]:
    """Return when a call began and ended, in seconds since the epoch."""
    start = call.started_at.timestamp()
    return start, (float("inf") if call.duration is None else start + call.duration)
