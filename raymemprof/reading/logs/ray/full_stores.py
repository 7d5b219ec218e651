"""What Ray says of an object store that had no room, where nothing needs to have ended by it."""

from __future__ import annotations

import re

from ..kinds import Kind
from ..patterns import HEX, NUMBER, pattern

__all__ = ["FULL_STORES"]

FULL_STORES = (
    Kind(
        "object_store_full",
        pattern(
            rf"Not enough memory to create (?:the|requested) object(?: (?P<object>{HEX}{{16,56}})(?!{HEX}))?"
            r"(?:, data_size=(?P<needs>\d{1,18})(?!\d))?"
        ),
        "The object store had no room for an object[ of {needs} bytes][ ({object})].",
        most="needs",
        is_of_raylet=True,
    ),
    Kind(
        "object_store_full",
        pattern(
            rf"Plasma store at capacity(?: ={{1,60}} ?Plasma store: ?={{1,60}})? Current usage: "
            rf"(?P<is>{NUMBER}) / (?P<all>{NUMBER}) GB"
            r"(?:[^\0]{0,160}?\b(?P<count>\d{1,12}) pending objects of total size "
            r"(?P<size>\d{1,12}MB)\b)?"
        ),
        "The object store was at its capacity: objects took {is} of {all} GB[, and {count} more, of {size}, waited for "
        "room].",
        most="is",
        is_of_raylet=True,
    ),
    Kind(
        "object_store_full",
        pattern(r"(?:^|\.cc:\d{1,5}: )Plasma store at capacity[ \t]{0,9}$", re.MULTILINE),
        "The object store was at its capacity.",
        is_of_raylet=True,
    ),
    Kind(
        "object_store_full",
        pattern(
            r"There is not enough space to create this object, so evicting 0 objects to free up 0 bytes"
            r"(?:\. The number of bytes in use \(before this eviction\) is (?P<is>\d{1,18})(?!\d))?"
        ),
        "The object store was full, and it had no object that it could evict[; objects took {is} bytes].",
        most="is",
        is_of_raylet=True,
    ),
    Kind(
        "warning",
        pattern(
            r"There is not enough space to create this object, so evicting (?P<count>[1-9]\d{0,11}) objects to free up "
            r"(?P<size>\d{1,18} bytes)"
        ),
        "The object store was full, and evicted {count} objects ({size}) to make room for others. The text does "
        "not say that anything was killed.",
        most="size",
    ),
    Kind(
        "object_store_full",
        pattern(
            r"(?:\b(?:[Ss]tuck|[Bb]locked|[Hh]angs?|[Hh]ung|[Ww]aits?|[Ww]aiting|[Pp]ending)\b[^\n?]{0,40}?|"
            r"\bstate[\"']?[:=] ?[\"']?)(?P<state>WAITING_FOR_AVAILABLE_PLASMA_MEMORY|PENDING_OBJ_STORE_MEM_AVAIL)\b"
            rf"(?:[^\0]{{0,600}}?\((?P<is>{NUMBER}) ?/ ?(?P<all>{NUMBER} ?[GT]i?B) used\))?"
        ),
        "A task waits until the object store has room for what it takes ({state})[; objects take {is} of {all}].",
    ),
)
"""What the store itself logs where it has no room; Ray tries again, so that it need not be the end of anything."""
