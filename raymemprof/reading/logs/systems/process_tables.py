"""What tables of processes, containers and pods show that people paste, from `top` to `kubectl top`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from ....display.text import show_bytes
from ..facts import Message
from ..patterns import Form, size

__all__ = ["with_tables"]

_NUMBER = r"\d{1,15}(?:\.\d{1,3})?"
_SIZE = rf"{_NUMBER} ?(?:[KMGTkmgt]i?B?|B)?"
_EDGE = r"^[ \t|>*]{0,40}"
_TOP = Form(
    rf"{_EDGE}(?P<pid>\d{{1,10}})[ \t]{{1,9}}[\w+.-]{{1,32}}[ \t]{{1,9}}(?:rt|-?\d{{1,3}})[ "
    rf"\t]{{1,9}}-?\d{{1,2}}[ \t]{{1,9}}"
    r"[\d.]{1,12}[kmgt]?[ \t]{1,9}(?P<memory>[\d.]{1,12}[kmgt]?)[ \t]{1,9}(?P<shared>[\d.]{1,12}[kmgt]?)[ \t]{1,9}"
    r"[RSDZTIt][ \t]{1,9}[\d.,]{1,8}[ \t]{1,9}[\d.,]{1,6}[ \t]{1,9}[\d:.,]{3,12}[ \t]{1,9}(?P<name>\S[^\n|]{0,60})",
    re.MULTILINE,
)
_PS = Form(
    rf"{_EDGE}[\w+.-]{{1,32}}[ \t]{{1,9}}(?P<pid>\d{{1,10}})[ \t]{{1,9}}\d{{1,4}}\.\d[ \t]{{1,9}}\d{{1,3}}\.\d[ "
    rf"\t]{{1,12}}"
    r"\d{1,15}[ \t]{1,12}(?P<memory>\d{1,12})[ \t]{1,9}(?:\?|[\w/]{2,9})[ \t]{1,9}[RSDZTI][\w<+]{0,5}[ \t]{1,9}\S{3,9}"
    r"[ \t]{1,9}[\d:]{3,12}[ \t]{1,9}(?P<name>\S[^\n|]{0,60})",
    re.MULTILINE,
)
_NVIDIA = Form(
    r"^\|[ \t]{1,9}(?P<gpu>\d{1,3})[ \t]{1,9}(?:\S{1,9}[ \t]{1,9}\S{1,9}[ \t]{1,9})?(?P<pid>\d{1,10})[ "
    r"\t]{1,9}[CGM+]{1,3}"
    r"[ \t]{1,9}(?P<name>\S[^\n|]{0,80}?)[ \t]{1,60}(?P<memory>\d{1,8}MiB)[ \t]{0,9}\|",
    re.MULTILINE,
)
_DOCKER = Form(
    rf"{_EDGE}(?P<id>[0-9a-f]{{12}})[ \t]{{1,20}}(?P<name>[\w.-]{{1,128}})[ \t]{{1,20}}[\d.]{{1,9}}%[ \t]{{1,20}}"
    rf"(?P<memory>{_SIZE})[ \t]?/[ \t]?(?P<limit>{_SIZE})(?=[ \t]{{1,20}}[\d.]{{1,7}}%)",
    re.MULTILINE,
)
_KUBECTL = Form(
    rf"{_EDGE}(?P<name>[a-z0-9][a-z0-9.-]{{2,100}}(?:[ \t]{{1,60}}[a-z0-9][a-z0-9.-]{{1,62}})?)[ "
    rf"\t]{{1,60}}\d{{1,7}}m?[ \t]{{1,30}}"
    rf"(?:\d{{1,3}}%[ \t]{{1,30}})?(?P<memory>\d{{1,9}}[KMG]i)(?:[ \t]{{1,30}}(?P<share>\d{{1,3}}%))?[ \t]{{0,9}}$",
    re.MULTILINE,
)
_FREE = Form(
    rf"^[ \t|>*]{{0,40}}total[ \t]{{1,20}}used[ \t]{{1,20}}free[ \t]{{1,20}}shared[^\n]{{0,60}}\n[ \t|"
    rf">*]{{0,40}}Mem:[ \t]{{1,20}}"
    rf"(?P<all>{_SIZE})[ \t]{{1,20}}(?P<used>{_SIZE})[ \t]{{1,20}}(?P<free>{_SIZE})[ "
    rf"\t]{{1,20}}(?P<shared>{_SIZE})[ \t]{{1,20}}"
    rf"(?P<cache>{_SIZE})[ \t]{{1,20}}(?P<available>{_SIZE})(?=\s|$)",
    re.MULTILINE,
)
_MOST_ROWS, _MOST_TOLD = 200, 3
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
    told = [said for read in (_tops, _processes, _gpus, _containers, _pods, _machine) if (said := read(text))]
    if not told:
        return message
    if message.cause == "unknown" and message.statement is None and not message.victims and message.exit_detail is None:
        return replace(message, statement=told[0], also=(*message.also, *told[1:]), lacks="grows")
    return replace(message, also=(*message.also, *told))


def _tops(text: str) -> str | None:
    return _largest("`top`", _rows(_TOP, text, _kibibytes, _process))


def _processes(text: str) -> str | None:
    return _largest("`ps`", _rows(_PS, text, _kibibytes, _process)) if "RSS" in text else None


def _gpus(text: str) -> str | None:
    return _largest("`nvidia-smi`", _rows(_NVIDIA, text, size, _process), " of GPU memory")


def _containers(text: str) -> str | None:
    return _largest("`docker stats`", _rows(_DOCKER, text, size, lambda row: f"the container {row['name']}"))


def _pods(text: str) -> str | None:
    if "MEMORY(" not in text:
        return None
    return _largest("`kubectl top`", _rows(_KUBECTL, text, _of_kubernetes, lambda row: " ".join(row["name"].split())))


def _machine(text: str) -> str | None:
    found = _FREE.search(text)
    if found is None:
        return None
    return (
        f"`free` shows {found['available'].strip()} available of {found['all'].strip()}: {found['used'].strip()} used, "
        f"{found['shared'].strip()} shared."
    )


def _process(row: re.Match[str]) -> str:
    gpu = f" on GPU {row['gpu']}" if "gpu" in row.groupdict() else ""
    return f"{row['name'].strip()} (pid {row['pid']}{gpu})"


def _rows(
    form: Form, text: str, bytes_of: Callable[[str], int | None], who: Callable[[re.Match[str]], str]
) -> Iterator[_Row]:
    for row in itertools.islice(form.finditer(text), _MOST_ROWS):
        groups = row.groupdict()
        memory = bytes_of(row["memory"])
        shared = bytes_of(groups["shared"]) if groups.get("shared") else 0
        of = f" of {groups['limit']}" if groups.get("limit") else f" ({groups['share']})" if groups.get("share") else ""
        if memory is not None and memory >= _LEAST:
            yield _Row(who(row), memory, shared or 0, of)


def _kibibytes(figure: str) -> int | None:
    """What `top` and `ps` print: KiB where no unit stands there, and units of 1024."""
    unit = figure[-1] if figure[-1].isalpha() else "k"
    return size(f"{figure.rstrip('kmgt')}{unit.upper()}iB")


def _of_kubernetes(figure: str) -> int | None:
    return size(f"{figure}B")


def _largest(program: str, rows: Iterator[_Row], what: str = "") -> str | None:
    found = sorted(dict.fromkeys(rows), key=lambda row: row.memory, reverse=True)
    if not found:
        return None
    told = [f"{row.who} with {show_bytes(row.memory)}{row.of}{_shared(row)}" for row in found[:_MOST_TOLD]]
    more = f", and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    counted = " Shared memory, such as Ray's object store, counts in each process that uses it."
    is_shared = any(_shared(row) for row in found[:_MOST_TOLD])
    return f"{program} shows {', '.join(told)}{more}{what}.{counted if is_shared else ''}"


def _shared(row: _Row) -> str:
    if row.shared < row.memory * _MUCH:
        return ""
    return f", of which {show_bytes(row.shared)} is shared"
