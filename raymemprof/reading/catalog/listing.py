"""`calls()` and `captures()`: lists what was recorded, on this machine or on every node."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ... import cluster
from ... import journal as contract
from ...display.refusals import short_traceback
from ...ownership import Believed
from . import fetchable, sources
from .filters import Filters
from .places import Place, only_capture, place_here, processes, read_digest
from .records import Call, Calls, Capture, Captures, CompactedCalls
from .sources import Source
from .sums_cache import read_sums

__all__ = [
    "Listing",
    "ask_nodes",
    "calls",
    "caption_of",
    "caption_of_folders",
    "captures",
    "collect",
    "is_about_sums",
    "list_calls",
]

_ONLY_SUMS = "the journal has only sums of them, which summary() counts"


@short_traceback
def calls(
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
) -> Calls:
    """Return the calls that were recorded, in the order in which they began.

    A process that ran many calls replaces some of them with sums after a while: calls that were only sampled, or whose
    captures are gone. `summary` counts these sums. The process keeps the latest, the largest and the killed calls, up
    to 500 failed calls of each function, and some calls from all times. `left_out` says how many calls are not listed
    for this reason.

    Args:
        source: a folder, or a journal or capture in one. None for all nodes of the cluster that this process is
            connected to; without a connection, for your cluster that runs on this machine; if none runs, for what you
            recorded last. The table names what was chosen.
        name: only calls of this name: `task`, `Actor.method`, the last parts of a longer name, or a pattern with `*`.
        status: only calls with this status: "running", "finished", "failed", "cancelled" or "killed".
        kind: only calls of this kind: "task", "actor", "method" or "block".
        task_id: only this Ray task's.
        actor_id: only this Ray actor's.
        job_id: only this Ray job's.
        node_id: only this Ray node's. For all ids, the beginning is enough.
        context: only calls with this context, such as `rank 3`, `route /sum` or `trial *`.

    Returns:
        A sequence of `Call`, which prints as a table and has `to_pandas()`. Nodes that did not answer are named below
        the table and in its `missing`; its `left_out` says which journals cannot be read, and how many damaged lines of
        which journals were left out. With a filter, lines of other calls are not checked in full.

    Raises:
        FileNotFoundError: `source` does not exist.
        PermissionError: its path contains a folder or a link that another user may have made.
        ValueError: `status` or `kind` is not one of these values; or you name no source, and several of your clusters
            run here.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> raymemprof.calls("/tmp/raymemprof-example", name="load")[-1].status
        'finished'
    """
    return collect(
        source, Filters(name, status, kind, task_id, actor_id, job_id, node_id, context), list_calls, _calls_there
    )


def collect(
    source: Source,
    filters: Filters,
    listed: Callable[[Place, Filters], Listing],
    there: Callable[[Filters, frozenset[str]], Listing],
) -> Calls:
    """Return the calls that a function lists in a place, or one on each node of the connected cluster."""
    if source is None and cluster.is_connected():
        answers = ask_nodes(there, filters)
        listings = list(answers.by_node.values())
        chosen, caption, missing = "", caption_of(answers), answers.missing
    else:
        folders, chosen = sources.find(source)
        listings = [listed(Place(source, tuple(folders)), filters)]
        caption, missing = "" if chosen else caption_of_folders(folders), ()
    teller: dict[str, int] = {}
    """Which of them tells of a process: where nodes share a folder, each may list other calls and count the rest."""
    for number, listing in enumerate(listings):
        for who in listing.compacted:
            teller.setdefault(who, number)
    found = [
        call
        for number, listing in enumerate(listings)
        for call in listing.calls
        if call.journal is None or teller.get(call.journal.name, number) == number
    ]
    if len(listings) > 1:  # what a node recorded that is gone is told by each that shares its folder
        found = list(
            {(call.worker_id, call.pid, call.started_at, call.name, call.place): call for call in found}.values()
        )
    found.sort(key=lambda call: call.started_at)
    if not found:
        names = {name for listing in listings for name in listing.names}
        caption = ": ".join(filter(None, [caption, filters.sought(names)]))
    skipped = [text for listing in listings for text in listing.skipped]
    compacted = {who: listings[number].compacted[who] for who, number in teller.items()}
    calls = Calls(found, caption, missing, [*_about(compacted.values(), filters), *skipped], chosen)
    calls._compacted = tuple(one for there in compacted.values() for one in there)
    return calls


def is_about_sums(text: str) -> bool:
    """Whether a sentence says that calls are not listed because only sums are kept of them."""
    return text.endswith(_ONLY_SUMS)


def _about(compacted: Iterable[list[CompactedCalls]], filters: Filters) -> list[str]:
    """Say how many calls are not listed because only sums are kept of them."""
    sure = unsure = 0
    for one in (one for there in compacted for one in there):
        if one.is_certain:
            sure += one.only_sums
        else:
            unsure += one.count(filters.status)
    what = f"earlier {filters.status or ''} call".replace("  ", " ")
    said = []
    if sure:
        said.append(f"{sure:,} {what}{'s are' if sure != 1 else ' is'} not listed: {_ONLY_SUMS}")
    if unsure:
        said.append(f"more may be among {unsure:,} {what}{'s' * (unsure != 1)} that are not listed: {_ONLY_SUMS}")
    return said


@short_traceback
def captures(
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
) -> Captures:
    """Return the capture files that hold a matching call, in the order in which they were opened.

    Takes the arguments of `calls`, and raises the same errors; `status` is the status of a call. Without a filter, it
    returns every capture, even if its journal is gone.

    Returns:
        A sequence of `Capture`, which prints as a table and has `to_pandas()`.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> raymemprof.captures("/tmp/raymemprof-example")[-1].path.suffix
        '.bin'
    """
    filters = Filters(name, status, kind, task_id, actor_id, job_id, node_id, context)
    if source is None and cluster.is_connected():
        answers = ask_nodes(_captures_there, filters)
        found = {capture.path.name: capture for there, _ in answers.by_node.values() for capture in there}
        kept, skipped = list(found.values()), [text for _, texts in answers.by_node.values() for text in texts]
        chosen, caption, missing = "", caption_of(answers), answers.missing
    else:
        folders, chosen = sources.find(source)
        kept, skipped = _list_captures(Place(source, tuple(folders)), filters)
        caption, missing = "" if chosen else caption_of_folders(folders), ()
    if not kept:
        caption = ": ".join(filter(None, [caption, filters.sought(set())]))
    kept.sort(key=lambda capture: (capture.opened_at is None, capture.opened_at or 0, capture.path))
    return Captures(kept, caption, missing, skipped, chosen)


class Listing(NamedTuple):
    """What was found in a place."""

    calls: list[Call]
    names: set[str]
    """Of all calls there are, also those that were not asked for."""
    skipped: list[str]
    """A few words on each journal that cannot be read, or not all of it."""
    compacted: dict[str, list[CompactedCalls]]
    """By process, calls that may fit and are not among these."""
    retried: frozenset[str] = frozenset()
    """Tasks of these that finished in a later attempt."""


def list_calls(place: Place, filters: Filters) -> Listing:
    """Return the calls that fit."""
    found: list[Call] = []
    names: set[str] = set()
    skipped: list[str] = []
    compacted: dict[str, list[CompactedCalls]] = {}
    only = only_capture(place.source)
    for process in processes(place, skipped, lambda path: read_digest(path, filters)):
        names |= process.digest.names
        found.extend(call for call in process.calls() if filters.fit(call))
        skipped += process.damage()
        if only is None and process.is_of(filters.node_id):  # of a capture that is there all calls are
            compacted[process.path.name] = list(process.compacted(filters))
    if only is not None:
        found = [call for call in found if call.capture == only]
    return Listing(found, names, skipped, compacted)


def _list_captures(place: Place, filters: Filters) -> tuple[list[Capture], list[str]]:
    wanted = None
    if filters != Filters():
        wanted = {call.capture for call in list_calls(place, filters).calls}
    skipped: list[str] = []
    known: dict[Path, Capture] = {}
    elsewhere: set[Path] = set()
    for process in processes(replace(place, others=frozenset()), skipped, read_sums):
        there = {capture.path: capture for capture in process.captures()}
        if place.is_told_here(process.node_id):
            known.update(there)
            skipped += process.damage()
        else:
            elsewhere.update(there)
    for folder in place.folders:
        believed = Believed(folder)
        for name in os.listdir(folder):
            path = folder / name
            parent = path.with_suffix("") if path.suffix != ".bin" else path
            if contract.is_capture(name) and path not in known and not {path, parent} & elsewhere:
                with contextlib.suppress(FileNotFoundError):  # removed since the folder was listed
                    doubt = believed.doubt(path)
                    if doubt is None:
                        known[path] = _unknown(path, known, place.node_id)
                    else:
                        skipped.append(f"{name} is not read: {doubt}")
    only = only_capture(place.source)
    return [
        capture
        for path, capture in known.items()
        if (wanted is None or path in wanted) and (only is None or path == only)
    ], skipped


def _unknown(path: Path, known: dict[Path, Capture], lies_on: str | None) -> Capture:
    """A capture that no journal opened: its journal is gone, or a forked child of a traced process wrote it."""
    parent = known.get(path.with_suffix("")) if path.suffix != ".bin" else None
    pid = path.suffix[1:] if path.suffix != ".bin" else path.stem.rpartition("-")[0].rpartition("-")[2]
    return Capture(
        path=path,
        size=path.stat().st_size,
        status="closed",
        opened_at=None,
        closed_at=None,
        native=parent.native if parent else False,
        pid=int(pid) if pid.isdecimal() else None,
        node_id=parent.node_id if parent else lies_on,
        worker_id=parent.worker_id if parent else None,
        call_count=0,
        lies_on=lies_on,
    )


def ask_nodes(function: Callable[..., Any], filters: Filters) -> cluster.Answers:
    """Have each node list what was recorded on it."""
    living = frozenset(cluster.living_nodes())
    return cluster.on_each_node(function, filters, living, node_id=filters.node_id)


def _calls_there(filters: Filters, living: frozenset[str]) -> Listing:
    return list_calls(place_here(living), filters)


def _captures_there(filters: Filters, living: frozenset[str]) -> tuple[list[Capture], list[str]]:
    return _list_captures(place_here(living), filters)


def caption_of(answers: cluster.Answers) -> str:
    """Say where what nodes answered lies."""
    if len(answers.by_node) == 1:
        own = cluster.here()
        return caption_of_folders(fetchable.folders()) if own in answers.by_node else "on one node"
    return f"on {len(answers.by_node)} nodes"


def caption_of_folders(folders: list[Path]) -> str:
    """Say where what was read lies."""
    return "in " + ", ".join(map(str, folders))
