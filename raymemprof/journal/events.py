"""The lines of a journal, by their `event`: what each must hold, which is checked when it is read.

A line that does not hold what it must was damaged, and is left out by itself. What is named here is there, of its type
and within its bounds: no figure is so large that sums, dates and shares of it cannot be had.
"""

from __future__ import annotations

import json
import re
import string
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args

import msgspec
from msgspec import Meta, Struct, field

__all__ = [
    "SAMPLE_KEYS",
    "STATUSES",
    "VERSION",
    "Begin",
    "Children",
    "Close",
    "End",
    "Event",
    "Fetched",
    "Fork",
    "Memory",
    "Open",
    "Peak",
    "Place",
    "Process",
    "Sample",
    "Source",
    "Status",
    "Sum",
    "decode",
    "decode_lines",
    "is_figure",
    "tag_of",
    "well_formed",
]

VERSION = 1

Status = Literal["running", "finished", "failed", "cancelled", "killed"]
STATUSES: tuple[str, ...] = get_args(Status)

SAMPLE_KEYS = {
    "capture": "the file's name",
    "mark": "its number in this capture, marked there by an allocation as the turns of calls are",
    "time": "seconds since the epoch",
    "memory": "RSS - SHR, bytes",
    "shared": "SHR, bytes",
    "pools": "bytes held in memory pools that memray does not see; missing for 0",
    "moves": "[places before, places after, bytes, bytes of pools], in order: between two looks of the sampler the "
    "threads that run calls were at these, and memory, less what malloc keeps of freed memory, changed by that much",
    "arena_ranges": "[first page, pages] of what the pools have from the system, in a look",
    "arenas": "bytes resident in what the pools have from the system, if they have any; None where it was not asked",
    "free": "bytes that malloc keeps of what was freed, where it was asked",
    "used": "bytes that malloc has given out, where it was asked",
    "segments": "[first page, pages, resident pages of the process's own, those of files and shared memory], of "
    "ranges that are not wholly the process's own; of a look at what is resident, as is all below",
    "page": "bytes of a page",
    "holes": "bytes of malloc's heaps that are not resident",
    "libraries": "resident bytes of the data of loaded libraries",
    "opaque": "names of allocators in this process that can be neither seen nor asked",
}
_MOST_BYTES = 1 << 62
"""No figure is above this."""
Figure = Annotated[int, Meta(ge=0, le=_MOST_BYTES)]
"""A number of bytes, or a count."""
Bucket = Annotated[int, Meta(ge=-1, le=2200)]
"""A bucket of sizes (`sums.py`), none of which is above the most bytes."""
Signed = Annotated[int, Meta(ge=-_MOST_BYTES, le=_MOST_BYTES)]
Pid = Annotated[int, Meta(ge=0, lt=1 << 31)]
_LAST_MOMENT = float((1 << 33) - 1)
Seconds = Annotated[float, Meta(ge=0, le=_LAST_MOMENT)]
"""Of a time since the epoch, which is the year 2242 at most, and of a duration: so their sum is a date."""
_MOST_MILLISECONDS = 1 << 40
Id = str | None
"""What can stand in a file's name, and in a pattern for one."""
Stack = list[tuple[str, str, Figure]]
_LONGEST_NAME = 200
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST_NAME}}}")
_OF_NAMES = (string.ascii_letters + string.digits + "_-").encode()


class _Event(Struct, tag_field="event", gc=False):  # they hold no references to each other
    """A line."""


class Process(_Event, tag="process"):
    """Which process writes the journal."""

    version: Figure | None = None
    pid: Pid | None = None
    created: Seconds | None = None
    host: str | None = None
    machine: str | None = None
    node_id: Id = None
    worker_id: Id = None
    logs: str | None = None
    python: str | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        for value in (self.node_id, self.worker_id):
            if value is not None:
                _check_id(value)
        if self.logs is not None and "\0" in self.logs:
            raise ValueError("no path has a NUL")


class Open(_Event, tag="open"):
    """A capture begins."""

    capture: str
    time: Seconds
    native: bool | None = None


class Begin(_Event, tag="begin"):
    """A call begins."""

    call: Figure
    time: Seconds
    name: str
    kind: str
    task_id: Id
    attempt: Figure | None
    actor_id: Id
    job_id: Id
    memory: Figure
    capture: str | None = None
    slot: Figure | None = None
    turn: Figure | None = None
    note: str | None = None
    deployment: str | None = None
    context: str | None = None
    within: str = ""
    children: Figure = 0
    pools: Figure = 0
    free: Figure | None = None
    used: Figure | None = None


class Peak(_Event, tag="peak"):
    """The process's memory rose while these calls ran."""

    calls: list[Figure]
    memory: Figure
    time: Seconds | None = None


class Memory(_Event, tag="memory"):
    """The process's memory over time while calls ran."""

    time: Seconds
    after: list[Figure]
    memory: list[Figure]
    children: list[Figure] | None = None

    def __post_init__(self) -> None:
        counts = {len(self.after), len(self.memory), len(self.after if self.children is None else self.children)}
        if len(counts) > 1 or max(self.after, default=0) >= _MOST_MILLISECONDS:
            raise ValueError("a point in time has a time and a figure")


class Children(_Event, tag="children"):
    """The memory of its child processes rose while these calls ran."""

    calls: list[Figure]
    memory: Figure
    total: Figure
    count: Figure
    largest: list[Any]
    copied: Figure | None = None
    time: Seconds | None = None


class Fork(_Event, tag="fork"):
    """A child of a traced process begins a capture of its own."""

    capture: str
    time: Seconds
    pid: Figure
    parent: Figure
    calls: list[Figure]
    stack: Stack


class Place(_Event, tag="place"):
    """A call stack, which samples name by its number."""

    capture: str
    place: Figure
    stack: Stack


class Source(_Event, tag="source"):
    """What a file was called that code is of, and which text was in it."""

    file: str
    text: str
    name: str | None = None

    def __post_init__(self) -> None:
        _check_id(self.text)


class Sample(_Event, tag="sample"):
    """What the process had at a moment, and what moved since the one before; `SAMPLE_KEYS` says what each is."""

    capture: str
    mark: Figure
    time: Seconds
    memory: Figure
    shared: Figure
    pools: Figure = 0
    moves: list[tuple[list[Figure], list[Figure], Signed, Signed]] = []
    arena_ranges: list[tuple[Figure, Figure]] = []
    arenas: Figure | None = 0
    free: Figure | None = None
    used: Figure | None = None
    segments: list[tuple[Figure, Figure, Figure, Figure]] | None = None
    page: Figure = 0
    holes: Figure = 0
    libraries: Figure = 0
    opaque: list[str] = []

    def __post_init__(self) -> None:
        if (self.segments or self.arena_ranges) and not self.page:
            raise ValueError("pages are counted, and a page has no size")


class End(_Event, tag="end"):
    """A call ends."""

    call: Figure
    duration: Seconds
    status: Status
    error: str | None
    memory: Figure
    peak: Figure
    note: str | None = None
    children: Figure = 0
    total: Figure = 0
    left: list[Any] = []
    count: Figure = 0
    highest: Figure | None = None
    ray_data_peak: Figure = 0


class Close(_Event, tag="close"):
    """A capture ends."""

    capture: str
    time: Seconds
    bytes: Figure | None = None
    crc32: Figure | None = None


class Sum(_Event, tag="sum"):
    """Calls of one name, kind, job, actor and deployment that have ended, and whose own lines are gone."""

    name: str
    kind: str
    job_id: Id = None
    actor_id: Id = None
    first: Seconds = _LAST_MOMENT
    last: Seconds = 0.0
    statuses: dict[Status, Figure] = field(default_factory=dict)
    peaks: dict[Bucket, Figure] = field(default_factory=dict)
    peak: Figure = 0
    kept: Signed = 0
    traced: Figure = 0
    deployment: str | None = None
    within: str = ""
    ray_data_peak: Figure = 0

    def __post_init__(self) -> None:
        for value in (self.job_id, self.actor_id):
            if value is not None:
                _check_id(value)

    @property
    def count(self) -> int:
        """How many calls it is of."""
        return sum(self.statuses.values())


class Fetched(_Event, tag="fetched"):
    """A copy was made on another machine; what had become of the process by then."""

    time: Seconds
    status: Status
    error: str | None


Event = Process | Open | Begin | Peak | Memory | Children | Fork | Place | Source | Sample | End | Close | Sum | Fetched
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_SURROGATE = b"\\ud"


def decode(text: bytes) -> Event | None:
    """Return what a line says; None of an event that is not known here, a newer version's.

    Raises `ValueError` for a line that was damaged.
    """
    try:
        return _checked(_decoder.decode(text))
    except msgspec.DecodeError as error:
        if not isinstance(error, msgspec.ValidationError) and _SURROGATE not in text:
            raise
        wrong = error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    try:
        line = json.loads(well_formed(json.dumps(json.loads(text.decode()), ensure_ascii=False)))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(line, dict) or not isinstance(line.get("event"), str):
        raise wrong
    if line["event"] not in _EVENTS:
        return None
    return _checked(msgspec.convert(line, Event))


def decode_lines(text: bytes, unwanted: frozenset[str] = frozenset()) -> list[Event]:
    """Return what many lines say, without those of some events, which are not looked at.

    Raises `ValueError` where one of them is empty, not known, or was damaged.
    """
    try:
        found = _decoder_without(unwanted).decode_lines(text)
    except RecursionError:
        raise ValueError("one is nested too deeply") from None
    if len(found) != text.count(b"\n") + 1:
        raise ValueError("these are not as many lines as it says")
    if not unwanted.isdisjoint(map(tag_of, set(map(type, found)))):
        found = [line for line in found if tag_of(type(line)) not in unwanted]
    _check_begins([line for line in found if type(line) is Begin])
    return found


@cache
def _decoder_without(unwanted: frozenset[str]) -> msgspec.json.Decoder[Any]:
    """Return a decoder that passes over what lines of some events hold."""
    kinds = {tag_of(one): one for one in get_args(Event)}
    kinds |= {tag: msgspec.defstruct(tag, (), tag=tag, tag_field="event", gc=False) for tag in unwanted}
    return msgspec.json.Decoder(Union[tuple(kinds.values())])  # noqa: UP007  # of a tuple


def tag_of(event: type[Struct]) -> str:
    """Return what a line of this event has as its `event`."""
    return str(event.__struct_config__.tag)


def is_figure(value: object) -> bool:
    """Whether this is a number of bytes, or a count."""
    return type(value) is int and 0 <= value <= _MOST_BYTES


def well_formed(text: str) -> str:
    """Return a text without halves of surrogate pairs, which neither memray nor a file nor a terminal takes."""
    return text.encode(errors="replace").decode()


_EVENTS = {one.__struct_config__.tag for one in get_args(Event)}


def _checked(line: Event) -> Event:
    if type(line) is Begin:
        _check_begins([line])
    return line


def _check_begins(lines: list[Begin]) -> None:
    """Raise `ValueError` where one was damaged: of a million calls all at once: one by one takes seconds."""
    actors_and_jobs = {line.actor_id for line in lines} | {line.job_id for line in lines}
    if any([(line.slot is None) is not (line.turn is None) for line in lines]):
        raise ValueError("a place in a capture is a slot and a turn")
    tasks = [line.task_id for line in lines if line.task_id is not None]
    are_ids = "" not in tasks and max(map(len, tasks), default=0) <= _LONGEST_NAME
    if not are_ids or "".join(tasks).encode(errors="replace").translate(None, _OF_NAMES):
        raise ValueError("no id has such characters")
    for value in actors_and_jobs:
        if value is not None:
            _check_id(value)


def _check_id(value: str) -> None:
    if _NAME.fullmatch(value) is None:
        raise ValueError("no id has such characters")
