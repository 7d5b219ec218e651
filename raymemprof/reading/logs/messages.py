"""`parse()`: what a text says about memory, of whatever kind it is, however it was pasted."""

from __future__ import annotations

import re
from dataclasses import replace

from .facts import Message
from .kernel import DAEMONS, kernel
from .kinds import first_of
from .layouts import as_printed
from .libraries import LIBRARIES, MEMORY_ERROR
from .objects import LOST, STORE, WARNINGS
from .raylet import is_kill, kills
from .states import states
from .systems import SIGKILL, SLURM, YARN, container
from .workers import death, died

__all__ = ["parse"]

_CODE = re.compile(
    r"(^[ \t]{0,40}File \"[^\n]{1,400}\", line \d{1,9}(?:, in [^\n]{1,200})?\n)[ \t]{1,60}[^\n]*$", re.MULTILINE
)
"""A line of a traceback's code, which may have any words."""
_LONG = 50_000
"""Characters from which on a text is a log, whose lines are taken to stand in their order."""
_NAME_ALONE = re.compile(
    r"^[ \t]{0,40}(?:ray\.exceptions\.)OutOfMemoryError\b(?=[ \t]*$|:)|"
    r"(?<!except )(?<!import )\bray\.exceptions\.OutOfMemoryError: ",
    re.MULTILINE,
)


def parse(text: str) -> Message:
    """Return what a text says. Never raises: what cannot be made out is None, and the cause "unknown"."""
    said = states(text)
    if said is not None:
        return said
    found = _parse(as_printed(text))
    if found.cause == "unknown" and "\n" in text and len(text) < _LONG:  # its lines may stand in the other order
        found = max(found, _parse(as_printed("\n".join(reversed(text.splitlines())))), key=_is_known)
    return found


def _is_known(message: Message) -> bool:
    return message.cause not in ("unknown", "warning")


def _parse(text: str) -> Message:
    text = _CODE.sub(r"\1", text)
    if is_kill(text):
        return _killed_by_ray(text)
    for found in (kernel(text), first_of((*SLURM, *YARN, *DAEMONS), text), container(text), first_of(LIBRARIES, text)):
        if found is not None:
            return found
    if _NAME_ALONE.search(text):
        return _killed_by_ray(text)
    for found in (first_of(STORE, text), first_of(LOST, text)):
        if found is not None:
            return found
    ended = death(text)
    if ended is not None and ended.cause != "unknown":
        return ended
    return first_of((*MEMORY_ERROR, *SIGKILL, *WARNINGS), text) or ended or Message("unknown")


def _killed_by_ray(text: str) -> Message:
    message = kills(text)
    if not message.victims and message.statement is None:  # a worker's end, of this type
        message = replace(message, victims=tuple(dict.fromkeys(died(text))))
    return replace(message, is_named=bool(message.victims))
