"""What a target names: a path, one call of a capture (`a.bin#0-3`), a `Capture`, a `Call`, many; and where it lies."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias, Union

from ... import cluster
from ... import journal as contract
from ...display.rows import Rows, looked_through
from ...display.text import first_few, printable
from ...errors import CaptureError
from ...ownership import UntrustedError, absolute, refuse_foreign_link
from ..catalog import fetchable
from ..catalog.clickable_rows import CallName, call_named
from ..catalog.filters import Filters
from ..catalog.listing import calls, list_calls
from ..catalog.places import Place
from ..catalog.records import Call, Capture

__all__ = ["EarlierCapture", "Item", "Located", "Named", "Target", "locate", "resolve"]

_SUFFIXES = (".bin", ".html", ".json", ".jsonl", ".txt")
"""Endings of what is meant as a file, and not as a function."""
Target: TypeAlias = Union[
    str, "os.PathLike[str]", Capture, Call, Iterable[Union[str, "os.PathLike[str]", Capture, Call]]
]


@dataclass(frozen=True, slots=True)
class EarlierCapture:
    """A capture of a process that went on to be traced: what the later ones show to have been freed is not alive."""

    path: Path
    later: tuple[Path, ...]

    def __fspath__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a target names: a call, or a whole capture."""

    path: Path
    node_id: str | None
    """The node that the capture lies on; None where it can be read here."""
    call: Call | None
    later: tuple[Path, ...] = ()
    """The captures that its process wrote next, where what they show to have been freed is not to count."""


class Named(NamedTuple):
    """What a target names."""

    items: list[Item]
    untraced: list[str]
    lacking: list[CaptureError | FileNotFoundError]


class Located(NamedTuple):
    """Where the captures lie that a target names, and what it names that cannot be had."""

    captures: list[tuple[str | None, Path]]
    """The node, None for this machine, and the path there."""
    untraced: list[str]
    """Sentences on the calls without a capture."""
    lacking: list[CaptureError | FileNotFoundError]
    """Why of what is named by a path, or a call, there is no file."""


def resolve(target: object) -> Named:
    """Take a target apart into calls and whole captures, each once."""
    if isinstance(target, (str, os.PathLike, Call, Capture)):
        return Named([_item(target, _names_elsewhere([target]))], [], [])
    if not isinstance(target, Iterable):
        raise TypeError(f"{target!r} is no path, Capture or Call, nor several of them.")
    untraced: Counter[tuple[str, str]] = Counter()
    items: dict[tuple[str | None, Path, tuple[int, int] | None], Item] = {}
    lacking: list[CaptureError | FileNotFoundError] = []
    asked, target = target, list(target)
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
        where = looked_through(asked) if isinstance(asked, Rows) else ""
        raise ValueError(f"there is nothing to read: no call, no capture{where and f' ({where})'}.")
    sentences = [
        f"{count} call{'s' * (count != 1)} of {name} {'have' if count != 1 else 'has'} no capture: {why}."
        for (name, why), count in untraced.items()
    ]
    return Named(list(items.values()), sentences, lacking)


def locate(target: Target) -> Located:
    """Return where the captures lie that a target names; each once."""
    named = resolve(target)
    return Located(list(dict.fromkeys((one.node_id, one.path) for one in named.items)), named.untraced, named.lacking)


def _why_untraced(call: Call) -> str:
    return call.note or "it is gone, removed by hand or to keep the disk budget"


def _item(target: str | os.PathLike[str] | Call | Capture, elsewhere: cluster.Answers) -> Item:
    if isinstance(target, Call):
        if target.capture is None or target.place is None:
            raise CaptureError(target.name, f"this call has no capture to read: {_why_untraced(target)}.")
        return Item(target.capture, _elsewhere(target.lies_on), target)
    if isinstance(target, Capture):
        return Item(target.path, _elsewhere(target.lies_on), None)
    if not os.fspath(target):
        raise ValueError("the path is empty; raymemprof.captures() lists the captures there are.")
    if isinstance(target, EarlierCapture):
        return replace(_item(target.path, elsewhere), later=target.later)
    named = None if os.path.exists(target) else call_named(os.fspath(target))
    if named is not None:
        return _item(_call(named), elsewhere)
    path = absolute(target)
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
            name = os.fspath(target)
            if os.sep not in name and not contract.is_ours(name) and path.suffix not in _SUFFIXES:
                hint = f"for the calls of a function of this name, give calls(name={name!r})"
            else:
                hint = "raymemprof.captures() lists the captures there are"
            raise FileNotFoundError(f"{path} does not exist; {hint}.")
        return Item(path, node_id, None)
    if path.suffix == ".jsonl":
        raise CaptureError(path, "it is a journal; the captures lie beside it and end in .bin.")
    return Item(path, None, None)


def _call(named: CallName) -> Call:
    """Return a call that is named by its capture and its place there, from this machine or the node that has it."""
    if os.path.exists(named.path) or not cluster.is_connected():
        listed = list(calls(named.path))
    else:
        answers = cluster.on_each_node(_calls_in, named.path.name)
        listed = [call for there in answers.by_node.values() for call in there]
        if not listed:
            silent = f"; {'; '.join(first_few(answers.missing))}" if answers.missing else ""
            raise FileNotFoundError(
                f"{named.path} does not exist here, and no node that answered has a call in such a capture{silent}."
            )
    for call in listed:
        if call.place == named.place and call.capture is not None:
            return call
    raise CaptureError(named.path, "this call is not in it, or its journal is gone.")


def _calls_in(name: str) -> list[Call]:
    """Return the calls in a capture that lies on this node."""
    try:
        path = fetchable.path_of(name)
    except CaptureError:
        return []
    found = list_calls(Place(None, (path.parent,), cluster.here()), Filters())
    return [call for call in found.calls if call.capture == path]


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
            fetchable.path_of(name)
            found.add(name)
    return found
