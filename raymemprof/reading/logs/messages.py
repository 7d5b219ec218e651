"""`parse()`: what a text says about memory, of whatever kind it is, however it was pasted."""

from __future__ import annotations

import re
from dataclasses import replace

from .accelerators import TRIED, accelerator
from .batch_systems import batch, slurm
from .builds import BUILDS, NO_MEMORY, RUNNERS, RUNNERS_LOST, RUNNERS_LOW
from .containers import OOM_KILLED, container
from .desktops import DESKTOP_CRASHES, DESKTOP_ERRORS, DESKTOP_WARNINGS, diagnosed, of_macs
from .evictions import PRESSURE, evicted
from .exits import CODES, CRASHES
from .facts import Message
from .hosted import HOSTED, HOSTED_KILLS, HOSTED_WARNINGS
from .kernel import kernel
from .kinds import first_of
from .layouts import as_printed
from .libraries import LIBRARIES, MEMORY_ERROR
from .mentions import without_mentions
from .notebooks import LARGE, NOTEBOOKS, OUT_OF_MEMORY
from .objects import LOST, STORE
from .patterns import Form
from .platforms import DRIVER_STOPPED, EXITS, REPLICAS, mac
from .pools import CRASHED, DASK, KILLED, POOLS, WARNED
from .raisers import named, raisers, speakers
from .raylet import is_kill, kills
from .runtimes import RUNTIMES, SHM
from .starting import NOT_STARTED
from .states import states
from .systems import CLOUDS, DRIVERS, SIGKILL, YARN
from .unexplained import OF_WHICH, UNEXPLAINED
from .warnings import warned
from .whereabouts import with_machine, with_whereabouts
from .workers import TELLS_OF_DEATH, actors, death, died, with_prefixes, with_the_dead

__all__ = ["parse"]

_LONG = 50_000
"""Characters from which on a text is a log, whose lines are taken to stand in their order."""
_RAISED = Form(
    r"^[ \t]{0,40}ray\.exceptions\.OutOfMemoryError[ \t]*:|"
    r"(?<!except )(?<!import )\bray\.exceptions\.OutOfMemoryError: ",
    re.MULTILINE,
)
_NOTHING_ENDED = Form(r" The text does not say that anything (?:was killed|has failed)\.")
"""What is not said where something else in the text ended, or failed."""
_WARNINGS = (TRIED, *WARNED, *HOSTED_WARNINGS, *DESKTOP_WARNINGS, *RUNNERS_LOW, *LARGE)
_FAILED = ("gpu_memory", "memory_error", "disk_full")
"""Causes that an exception tells of, which goes on from the process that raised it."""


def parse(text: str) -> Message:
    """Return what a text says. Never raises: what cannot be made out is None, and the cause "unknown"."""
    said = states(text)
    if said is not None:
        return said
    printed = as_printed(text)
    found = _parse(printed)
    if found.cause == "unknown" and "\n" in text and len(text) < _LONG:  # its lines may stand in the other order
        found = max(found, _parse(as_printed("\n".join(reversed(text.splitlines())))), key=_is_known)
    found = with_machine(with_whereabouts(with_prefixes(found, text), printed), text)
    return _with_place(found, text, printed) if found.cause in _FAILED else found


def _with_place(message: Message, text: str, printed: str) -> Message:
    """Add in which tasks or actors an allocation failed, by the headers of their tracebacks, else by their prefixes."""
    raised = list(raisers(without_mentions(printed)))
    if not raised and "ray::" in printed and len(printed) < _LONG:  # its lines may stand in the other order
        raised += raisers(without_mentions("\n".join(reversed(printed.splitlines()))))
    there = [who for who, line in raised if _is_same(message, line)]
    if not there:
        addresses = {who.pid: who.ip for who, _ in raised}
        there = [
            who if who.ip else who._replace(ip=addresses.get(who.pid))
            for who, lines in speakers(text).items()
            if _is_same(message, lines)
        ]
    if not there or message.victims:
        return message
    there = list(dict.fromkeys(there))
    places = {who.ip for who in there}
    node_ip = message.node_ip or (there[0].ip if len(places) == 1 else None)
    return replace(message, node_ip=node_ip, also=(f"It happened in {named(there)}.", *message.also))


def _is_same(message: Message, text: str) -> bool:
    """Whether a part of a text tells of what the text as a whole tells of."""
    return _parse(text).cause == message.cause


def _is_known(message: Message) -> bool:
    return message.cause not in ("unknown", "warning")


def _parse(text: str) -> Message:
    text = without_mentions(text)
    if is_kill(text):
        return _killed_by_ray(text)
    for found in (
        kernel(text),
        mac(text) or of_macs(text),
        slurm(text),
        batch(text),
        first_of((*YARN, *CLOUDS, *HOSTED, *REPLICAS, *DASK, *OUT_OF_MEMORY), text),
        evicted(text),
        first_of((*BUILDS, *KILLED, *HOSTED_KILLS, *RUNNERS), text) if not OOM_KILLED.search(text) else None,
        container(text),
        first_of(EXITS, text),
        first_of(NOT_STARTED, text),
        accelerator(text),
        first_of((*SHM, *NO_MEMORY, *RUNTIMES, *LIBRARIES, *DESKTOP_ERRORS), text),
    ):
        if found is not None:
            return with_the_dead(found, text)
    if _RAISED.search(text):
        return _killed_by_ray(text)
    for found in (first_of(STORE, text), first_of(LOST, text)):
        if found is not None:
            if found.cause == "owner_died":
                found = replace(found, victims=tuple(dict.fromkeys(actors(text))))
            return _with(found, warned(text))
    ended = death(text)
    warning = warned(text) or diagnosed(text) or first_of((*DRIVERS, *DRIVER_STOPPED, *PRESSURE, *_WARNINGS), text)
    if ended is not None and ended.cause != "unknown":
        killed = first_of(SIGKILL, text) if ended.cause in ("node_died", "preempted") else None
        return _with(_with(ended, warning), killed)
    said = first_of((*MEMORY_ERROR, *SIGKILL, *CRASHED, *CRASHES, *CODES, *DESKTOP_CRASHES), text)
    if said is not None:
        return with_the_dead(_with(said, warning), text)
    if warning is not None and ended is not None and ended.victims and TELLS_OF_DEATH.search(text):
        return _with(ended, warning)
    said = first_of((*OF_WHICH, *POOLS, *UNEXPLAINED, *NOTEBOOKS, *RUNNERS_LOST), text)
    if ended is not None and warning is None:
        return _with(ended, said)
    return warning or said or Message("unknown")


def _with(message: Message, other: Message | None) -> Message:
    """Add what a text says beside what it tells of: what it lacks, where only that says so, and the sentence."""
    if other is None or other.statement is None:
        return message
    sentence = _NOTHING_ENDED.sub("", other.statement)
    if message.lacks == other.lacks == "disk":
        return message
    lacks = message.lacks
    if (other.lacks == "collective" and message.cause in ("crash", "unknown")) or (
        other.lacks == "shared memory" and message.lacks == "room"
    ):
        lacks = other.lacks
    return replace(message, also=(*message.also, sentence), lacks=lacks)


def _killed_by_ray(text: str) -> Message:
    message = kills(text)
    if not message.victims and message.statement is None:  # a worker's end, of this type
        message = replace(message, victims=tuple(dict.fromkeys(died(text))))
    return replace(message, is_named=bool(message.victims))
