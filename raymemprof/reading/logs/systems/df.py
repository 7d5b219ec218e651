"""What `df` says of shared memory beside a message that it was full."""

from __future__ import annotations

from dataclasses import replace

from ..facts import Message
from ..patterns import pattern

__all__ = ["with_shared_memory"]

_ROOM = r"\d{1,9}(?:\.\d{1,3})?[KMGT]?"
_ROW = pattern(
    rf"(?<![\w.])(?P<all>{_ROOM})[ \t]{{1,20}}(?P<is>{_ROOM})[ \t]{{1,20}}{_ROOM}[ \t]{{1,20}}(?P<share>\d{{1,3}})%"
    r"[ \t]{1,20}/dev/shm\b"
)
_LACKS = ("shm", "shared memory", "room")


def with_shared_memory(message: Message, text: str) -> Message:
    """Add how full /dev/shm was at most, where a message says that it was full, or that memory there was missing."""
    if message.cause not in ("bus_error", "object_store_full") and message.lacks not in _LACKS:
        return message
    rows = list(_ROW.finditer(text))
    if not rows:
        return message
    most = max(rows, key=lambda row: int(row["share"]))
    said = f"`df` shows /dev/shm {most['share']}% full: {most['is']} of {most['all']}."
    return replace(message, also=(*message.also, said))
