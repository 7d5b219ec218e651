"""What tables of processes, containers and pods show that people paste, from `top` to `kubectl top`.

A table is read only where its head stands above it, which says what its columns are.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from ....display.text import show_bytes
from ..facts import Message
from ..patterns import Form, size
from ..secrets import program

__all__ = ["with_tables"]

_EDGE = " \t|>*"
"""What stands before a row where it is quoted."""
_NUMBER = r"\d{1,15}(?:\.\d{1,3})?"
_SIZE = rf"{_NUMBER} ?(?:[KMGTkmgt]i?B?|B)?"
_COMMANDS = ("COMMAND", "CMD", "ARGS")
_NUMBERS_OF_PS = ("PID", "PPID", "%CPU", "%MEM", "C", "PRI", "NI", "VSZ", "RSS", "SZ", "NLWP")
_OF_PS = {*_NUMBERS_OF_PS, "USER", "UID", "TTY", "TT", "STAT", "S", "START", "STIME", "TIME", "ELAPSED"}
"""Columns of `ps`, but for the last."""
_SHARE = re.compile(r"\d{1,5}(?:[.,]\d{1,3})?")
_RESIDENT = re.compile(r"\d{1,12}(?:\.\d{1,3})?[kmgt]?")
_KUBERNETES = re.compile(r"\d{1,9}[KMG]i")
_NVIDIA = Form(
    r"^\|[ \t]{1,9}(?P<gpu>\d{1,3})[ \t]{1,9}(?:\S{1,9}[ \t]{1,9}\S{1,9}[ \t]{1,9})?(?P<pid>\d{1,10})[ "
    r"\t]{1,9}[CGM+]{1,3}"
    r"[ \t]{1,9}(?P<name>\S[^\n|]{0,80}?)[ \t]{1,60}(?P<memory>\d{1,8}MiB)[ \t]{0,9}\|",
    re.MULTILINE,
)
_DOCKER = Form(
    rf"^[{_EDGE}]{{0,40}}(?P<id>[0-9a-f]{{12}})[ \t]{{1,20}}(?P<name>[\w.-]{{1,128}})[ \t]{{1,20}}[\d.]{{1,9}}%"
    rf"[ \t]{{1,20}}(?P<memory>{_SIZE})[ \t]?/[ \t]?(?P<limit>{_SIZE})(?=[ \t]{{1,20}}[\d.]{{1,7}}%)",
    re.MULTILINE,
)
_MOST_TOLD = 3
_MUCH = 0.5
"""Part of a process's memory from which on it is told that it is shared."""
_LEAST = 2**20


class _Row(NamedTuple):
    who: str
    memory: int
    shared: int = 0
    of: str = ""
    """Of what, or on which device."""


def with_tables(message: Message, text: str) -> Message:
    """Add what tables of processes, containers and pods in a text show: the largest of each, as it stands there."""
    lines = [line.strip(_EDGE) for line in text.split("\n")]
    told = [
        said
        for said in (
            _largest("`top`", _tops(lines)),
            _largest("`ps`", _processes(lines)),
            _largest("`nvidia-smi`", _gpus(text), " of GPU memory"),
            _largest("`docker stats`", _containers(text)),
            _largest("`kubectl top`", _pods(lines)),
            _machine(lines),
        )
        if said
    ]
    if not told:
        return message
    if message.cause == "unknown" and message.statement is None and not message.victims and message.exit_detail is None:
        return replace(message, statement=told[0], also=(*message.also, *told[1:]))
    return replace(message, also=(*message.also, *told))


def _tables(lines: list[str], is_head: Callable[[list[str]], bool], *, rest: bool) -> Iterator[dict[str, str]]:
    """Yield the rows below each head, by its columns; with `rest` the last column has blanks, else none has."""
    columns: list[str] = []
    for line in lines:
        words = line.split()
        if is_head(words):
            columns = words
        elif "PID" in words or "NAME" in words:  # the head of another table
            columns = []
        elif columns and words:
            row = line.split(None, len(columns) - 1) if rest else words
            if len(row) == len(columns):
                yield dict(zip(columns, row, strict=True))


def _tops(lines: list[str]) -> Iterator[_Row]:
    def is_head(words: list[str]) -> bool:
        return words[-1:] == ["COMMAND"] and {"PID", "RES", "%CPU", "S"} <= set(words) and len(set(words)) == len(words)

    for row in _tables(lines, is_head, rest=True):
        if not (_SHARE.fullmatch(row["%CPU"]) and len(row["S"]) == 1 and row["S"].isalpha()):
            continue
        yield from _process(row["PID"], row["RES"], row["COMMAND"], row.get("SHR"))


def _processes(lines: list[str]) -> Iterator[_Row]:
    def is_head(words: list[str]) -> bool:
        columns = set(words[:-1])
        return (
            words[-1:] != []
            and words[-1] in _COMMANDS
            and {"PID", "RSS"} <= columns <= _OF_PS
            and (bool({"VSZ", "%MEM"} & columns) and len(columns) == len(words) - 1)
        )

    for row in _tables(lines, is_head, rest=True):
        if row["RSS"].isdigit() and all(_SHARE.fullmatch(row.get(one, "0")) for one in ("%CPU", "%MEM")):
            yield from _process(row["PID"], row["RSS"], next(row[one] for one in _COMMANDS if one in row))


def _process(pid: str, resident: str, command: str, shared: str | None = None) -> Iterator[_Row]:
    if not (pid.isdigit() and _RESIDENT.fullmatch(resident)):
        return
    memory = _kibibytes(resident)
    with_others = _kibibytes(shared) if shared is not None and _RESIDENT.fullmatch(shared) else 0
    yield _Row(f"{program(command)} (pid {pid})", memory, with_others if with_others <= memory else 0)


def _gpus(text: str) -> Iterator[_Row]:
    if "Process name" in text and "GPU Memory" in text:
        for row in _NVIDIA.finditer(text):
            yield _Row(f"{program(row['name'])} (pid {row['pid']} on GPU {row['gpu']})", size(row["memory"]) or 0)


def _containers(text: str) -> Iterator[_Row]:
    if "MEM USAGE / LIMIT" in text:
        for row in _DOCKER.finditer(text):
            limit, name = size(row["limit"]), row["name"]
            yield _Row(
                f"the container {name}", size(row["memory"]) or 0, of=f" of {show_bytes(limit)}" if limit else ""
            )


def _pods(lines: list[str]) -> Iterator[_Row]:
    def is_head(words: list[str]) -> bool:
        return "NAME" in words[:3] and "CPU(cores)" in words and "MEMORY(bytes)" in words

    for row in _tables(lines, is_head, rest=False):
        name = "/".join(row[one] for one in ("NAMESPACE", "POD", "NAME") if one in row)
        if not _KUBERNETES.fullmatch(row["MEMORY(bytes)"]) or row["NAME"].lower() == "total":
            continue
        share = row.get("MEMORY%") or row.get("MEMORY(%)")
        yield _Row(name, size(f"{row['MEMORY(bytes)']}B") or 0, of=f" ({share})" if share else "")


def _machine(lines: list[str]) -> str | None:
    """What `free` shows: of several tables the first and the last."""
    found = [
        dict(zip(head.split(), row.split()[1:], strict=False))
        for head, row in itertools.pairwise(lines)
        if head.split()[:3] == ["total", "used", "free"] and row.startswith("Mem:")
    ]
    found = [one for one in found if {"total", "used", "free"} <= one.keys() and all(map(_is_figure, one.values()))]
    if not found:
        return None
    if len(found) == 1:
        return f"`free` shows {_of_machine(found[0])}."
    return (
        f"The text has {len(found)} tables of `free`: the first shows {_of_machine(found[0])}; "
        f"the last {_of_machine(found[-1])}."
    )


def _of_machine(table: dict[str, str]) -> str:
    first = next(one for one in ("available", "free") if one in table)
    rest = [f"{table[one]} {one}" for one in ("used", "shared") if one in table]
    unit = "" if any(figure[-1].isalpha() for figure in table.values()) else ", in a unit that the table does not name"
    return f"{table[first]} {first} of {table['total']}, {', '.join(rest)}{unit}"


def _is_figure(word: str) -> bool:
    return re.fullmatch(_SIZE, word) is not None


def _kibibytes(figure: str) -> int:
    """What `top` and `ps` print: KiB where no unit stands there, and units of 1024."""
    unit = figure[-1] if figure[-1].isalpha() else "k"
    return size(f"{figure.rstrip('kmgt')}{unit.upper()}iB") or 0


def _largest(shown_by: str, rows: Iterator[_Row], what: str = "") -> str | None:
    found: dict[str, _Row] = {}
    for row in sorted(rows, key=lambda row: row.memory, reverse=True):  # of several tables, the largest figure
        if row.memory >= _LEAST:
            found.setdefault(row.who, row)
    if not found:
        return None
    first = list(found.values())[:_MOST_TOLD]
    told = [f"{row.who} with {show_bytes(row.memory)}{row.of}{_shared(row)}" for row in first]
    more = f", and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    counted = " Shared memory, such as Ray's object store, counts in each process that uses it."
    return f"{shown_by} shows {', '.join(told)}{more}{what}.{counted if any(map(_shared, first)) else ''}"


def _shared(row: _Row) -> str:
    if row.shared < row.memory * _MUCH:
        return ""
    return f", of which {show_bytes(row.shared)} is shared"
