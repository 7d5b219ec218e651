"""In which task or actor an exception was raised: what Ray writes above its traceback, or before a process's lines."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from ....display.text import listed
from ..patterns import ADDRESS, COUNT, Form, pattern

__all__ = ["PROCESS_NAME", "Raiser", "headers", "last_header", "named", "names_of", "raisers", "speakers"]

_HEADER = pattern(
    rf"(?:(?:\bRayTaskError\((?P<error>[\w.]{{1,60}})\): )?"
    rf"\bray::(?P<name>\S(?:[^\n]{{0,150}}?\S)?)(?:\(\))? \(pid=(?P<pid>{COUNT}), ip=(?P<ip>{ADDRESS})(?=[,)])|"
    rf"\bRayTaskError: (?:ray::)?(?P<name_1>\w[\w.<>]{{0,150}})(?:\(\))? \(pid=(?P<pid_1>{COUNT}), "
    r"host=(?P<host>[\w.-]{1,100})(?=\)))[^\n;]{0,1000}"
)
"""With an address; old versions have the name of the host."""
_FRAME = Form(
    r"\s*(?:$|File \"|[\^~]+\s*$|\.{3}|Traceback \(most|\[Previous line|At least one of the input arg)|[ \t]{4}\S"
)
"""A line between a traceback's header and its exception."""
_MARKS = ('File "', "^^^", "At least one of the input arg")
"""What one of these lines has where they are the header's."""
_LONGEST = 20_000
"""Characters of a traceback."""
_MOST = 50
"""Tracebacks, or processes, that are looked at."""
PROCESS_NAME = r"[^\n()]{1,100}(?:\((?:[^\n()]|\([^\n()]{0,60}\)){0,100}\)[^\n()]{0,60}){0,4}?"
"""What a driver prints before a process's lines; that of Ray Data's tasks may have several brackets."""
_SPEAKER = Form(
    rf"\((?:(?P<name>{PROCESS_NAME}) )?pid=(?P<pid>{COUNT})(?:, ip=(?P<ip>{ADDRESS}))?\)"
    r"(?:\x1b\[0m)?[ \t]?"
)
_BEFORE = Form(r"[^\n(]{0,60}")
_LONGEST_SPOKEN = 100_000
"""Characters of a process's lines that are looked at."""
_MOST_NAMED = 3


_IDLE = "IDLE"
"""What Ray calls a process that runs nothing."""


class Raiser(NamedTuple):
    """A process of Ray's in which something was raised."""

    name: str | None
    pid: int
    ip: str | None
    host: str | None = None


def raisers(text: str) -> Iterator[tuple[Raiser, str]]:
    """Yield the processes of the headers of tracebacks, each with the line of its exception.

    A task that got the exception from another one has a header of its own: what follows it is the other's.
    """
    for found in itertools.islice(_HEADER.finditer(text), _MOST):
        lines = re.split(r"[\n;]", text[found.end() : found.end() + _LONGEST])[1:]
        frames = list(itertools.takewhile(_FRAME.match, lines))
        is_cut, error = len(frames) == len(lines), found["error"]
        raised = (f"{error}:" if error else "") if is_cut else lines[len(frames)]
        is_of_header = error and not is_cut and raised.partition(":")[0].rpartition(".")[2].strip() == error
        if not is_of_header and not any(mark in line for line in (found[0], *frames) for mark in _MARKS):
            continue  # the lines stand in another order, or are another's
        yield _raiser(found), "" if "ray::" in raised else raised


def headers(text: str) -> Iterator[Raiser]:
    """Yield the processes of all headers of tracebacks."""
    yield from map(_raiser, itertools.islice(_HEADER.finditer(text), _MOST))


def last_header(text: str, error: Form) -> Raiser | None:
    """Return the process of the last traceback's header that has an error of this name; outer ones stand before it."""
    found = [
        one for one in itertools.islice(_HEADER.finditer(text), _MOST) if one["error"] and error.match(one["error"])
    ]
    return _raiser(found[-1]) if found else None


def _raiser(found: re.Match[str]) -> Raiser:
    groups = found.groupdict()
    name, pid = groups["name"] or groups.get("name_1"), groups["pid"] or groups.get("pid_1")
    return Raiser(name if name != _IDLE else None, int(pid or 0), groups["ip"], groups.get("host"))


def names_of(text: str) -> dict[int, set[Raiser]]:
    """Return what a driver printed before the lines of processes, by their pids."""
    found: dict[int, set[Raiser]] = {}
    for one in _SPEAKER.finditer(text) if "pid=" in text else ():
        if one["name"] and not {"=", ","} & set(one["name"]):
            found.setdefault(int(one["pid"]), set()).add(_raiser(one))
    return found


def speakers(text: str) -> dict[Raiser, str]:
    """Return the lines of each process that a driver printed, by what stands before them.

    A process that prints the traceback of another one is left out.
    """
    if "pid=" not in text:
        return {}
    said: dict[Raiser, list[str]] = {}
    for line in text.split("\n"):
        who, end = None, _BEFORE.match(line)
        at = end.end() if end else 0
        while found := _SPEAKER.match(line, at):  # a process that one of Ray's started prints through it
            ip = found["ip"] or (who.ip if who else None)
            who, at = Raiser(found["name"], int(found["pid"]), ip), found.end()
        if who is not None and (who in said or len(said) < _MOST):
            said.setdefault(who, []).append(line[at:])
    all_said = {who: "\n".join(lines)[-_LONGEST_SPOKEN:] for who, lines in said.items()}
    return {who: lines for who, lines in all_said.items() if not _tells_of_others(who, lines)}


def _tells_of_others(who: Raiser, lines: str) -> bool:
    return any(_raiser(found).pid != who.pid for found in itertools.islice(_HEADER.finditer(lines), _MOST))


def named(them: list[Raiser]) -> str:
    """Say who they are, and where."""
    places = {who.ip for who in them}
    words = [
        (f"{who.name} (pid {who.pid})" if who.name else f"process {who.pid}")
        + (f" on node {who.ip}" if who.ip and len(places) > 1 else "")
        for who in them[:_MOST_NAMED]
    ]
    if len(them) > _MOST_NAMED:
        words.append(f"{len(them) - _MOST_NAMED} more")
    where = f" on node {them[0].ip}" if len(places) == 1 and them[0].ip else ""
    return listed(words) + where
