"""What Ray says of objects: a full store, a full disk, and objects that were lost with their owner or their node."""

from __future__ import annotations

import re

from ..kinds import Kind
from ..patterns import ADDRESS, HEX, ID, NUMBER, SIZE, pattern

__all__ = ["DISK", "DISK_IS", "FREE", "LOST", "STORE"]


def _raised(name: str) -> str:
    """Return a pattern for an exception's name where it is raised: at the beginning of a line, not in code or prose."""
    begins = r"(?:^[ \t]{0,40}|(?:Error|Exception)(?:\(['\"]|: ))(?:ray\.exceptions\.)?(?:RayTaskError\()?"
    return rf"{begins}{name}\)?(?=:|\(|[ \t]{{1,80}}Traceback \(most recent)"


_OWNER_DIED = rf"(?:The object's owner has exited|[Oo]wner's node has crashed|{_raised('OwnerDiedError')})"
_OWNER_IS = (
    "The worker that owned an object ended, or its node did, and the object was lost with it[: the owner is worker "
    "{worker}].[ It was at {node_ip}.]"
)
_DRIVER = r"(?P<job>[0-9a-f]{8})f{48}"
"""The id of a driver's worker: its job's."""
_HOW = r"(?:[^\n]{0,60}? Worker exit detail: (?P<how>[^\n.]{1,100}))?"
_BYTES = r"\d{1,18}(?![.\d]\d)"
_SPILLING = (
    r"(?:\bexternal_storage\.py\"[^\n]{0,60}|\bin [\w.]{0,60}(?:spill_objects\w{0,20}|_write_multiple_objects)\b)"
)
"""A frame of a traceback in which Ray spills."""
_SAME_TRACEBACK = r"(?:(?!\bTraceback \(most )[^\0]){0,1500}?"
DISK = (
    rf"(?:(?<![^\s:'\"`(])(?P<path>(?:[A-Z]:\\|/)[^\s:'\"`(]{{1,300}})\s{{1,40}})?\bis over "
    rf"(?:(?P<fraction>0\.\d{{1,6}})|(?P<share>{NUMBER})) % full\b"
)
"""Ray before 2.0 prints a part of 1, as 0.95, and a percent sign."""
FREE = (
    rf"[,.;]? available space: (?:(?P<free>{SIZE})(?:[;,.]? capacity: (?P<all>{SIZE}))?|"
    rf"(?P<bytes>{_BYTES}) ?[;,.]? capacity: (?P<of>{_BYTES})|(?P<left>{_BYTES}))"
)
DISK_IS = (
    "a disk[, that of {path},] is over [{share}][{fraction}]% full[; available: {free}][ of {all}]"
    "[; available: {bytes} of {of} bytes][; available: {left} bytes]"
)
_DRIVER_IS = (
    "The driver of job {job}[, at {node_ip},] owned an object and ended, or its node did, and the object was lost with "
    "it."
)
_PUT = rf"Failed to put object(?: (?:{HEX}{{40,56}}|[A-Z]))? in object store(?: because it is full|\s{{0,9}}\Z)"
STORE = (
    Kind(
        "memory_error",
        pattern(r"CreateFileMapping\(\) failed\. GetLastError\(\) = (?P<error>\d{1,6})"),
        "Ray's object store could not get more memory from Windows, where each object needs room in the paging file "
        "(error {error} of CreateFileMapping).",
        "paging file",
    ),
    Kind(
        "disk_full",
        pattern(
            rf"local disk's utilization is over capacity|{_raised('OutOfDiskError')}|"
            r"Plasma fallback allocator failed, likely out of disk space|"
            r"Pull of object failed due to out of disk",
            re.MULTILINE,
        ),
        "The object store spills to a disk that is full, or above the limit up to which Ray uses it.",
    ),
    Kind(
        "disk_full",
        pattern(rf"{DISK}(?:{FREE})?[^\0]{{0,120}}?\b(?:ray\.exceptions\.)?OutOfDiskError\b"),
        f"Ray could not spill, because {DISK_IS}.",
        "disk",
    ),
    Kind(
        "disk_full",
        pattern(
            rf"{_SPILLING}{_SAME_TRACEBACK}\[[Ee]rrno 28\] No space left on device(?:: (?P<path>[^\n]{{1,200}}))?|"
            rf"\[[Ee]rrno 28\] No space left on device{_SAME_TRACEBACK}{_SPILLING}"
        ),
        "Ray could not spill objects, because the disk to which it spills is full[: {path}].",
        "disk",
    ),
    Kind(
        "disk_full",
        pattern(
            r"\[[Ee]rrno 28\] No space left on device(?:: (?P<path>[^\n]{1,200}))?|"
            r"[\w'\"`)\]]: No space left on (?:device|disk)\b|\bNo space left on device \(os error 28\)"
        ),
        "A disk, or a file system in memory such as /dev/shm, is full[: {path}].",
    ),
    Kind(
        "object_store_full",
        pattern(
            rf"{_PUT}\. Object size is (?P<needs>\d{{1,18}} bytes)[^\0]{{0,600}}?"
            r"\(global lru\) capacity: (?P<all>\d{1,18})\b"
        ),
        "An object of {needs} is larger than the whole object store, whose capacity is {all} bytes.",
        lacks="store",
        larger=("needs", "all"),
    ),
    Kind(
        "object_store_full",
        pattern(
            rf"{_PUT}\. Object size is (?P<size>\d{{1,18}} bytes)[^\0]{{0,600}}?"
            r"\(global lru\) capacity: (?P<all>\d{1,18})\b"
        ),
        "The object store is full of objects that are still referred to; it could not take one of {size}, and has "
        "{all} bytes in all.",
    ),
    Kind(
        "object_store_full",
        pattern(
            rf"The local object store is full of objects|{_raised('ObjectStoreFullError')}|"
            rf"{_PUT}(?:\. Object size is (?P<size>\d{{1,18}} bytes))?",
            re.MULTILINE,
        ),
        "The object store is full of objects that are still referred to[; it could not take one of {size}].",
    ),
    Kind(
        "object_store_full",
        pattern(
            r"(?:^|Error\(|: )(?:pyarrow\.\w{1,20}\.)?PlasmaStoreFull(?=: )|object does not fit in the plasma store|"
            r"^Error: (?i:plasma (?:object )?store (?:is )?full)\b",
            re.MULTILINE,
        ),
        "The object store could not take an object: it does not fit.",
    ),
)
LOST = (
    Kind(
        "object_lost",
        pattern(
            rf"(?:Object (?P<object>{HEX}{{16,56}}) )?is lost \(either (?:LRU )?evicted or (?:explicitly )?deleted"
            rf"|{_raised('UnreconstructableError')}",
            re.MULTILINE,
        ),
        "Ray lost an object[ ({object})] and cannot make it again; it was evicted to make room in the object store, or "
        "deleted.",
        lacks="room",
    ),
    Kind(
        "object_lost",
        pattern(
            rf"The task with ID (?P<task>{HEX}{{16,56}}) is a driver task and so the object created by ray\.put could "
            r"not be reconstructed"
        ),
        "Ray lost an object that the driver had made by `ray.put()`, and cannot make it again.",
        "room",
    ),
    Kind(
        "owner_died",
        pattern(
            rf"[Aa]ctor (?:is dead|died) because its owner has died\. Owner I[dD]: {_DRIVER}"
            rf"(?: Owner I[pP] address: (?P<node_ip>{ADDRESS}))?{_HOW}"
        ),
        "An actor ended, because its owner, the driver of job {job}[, at {node_ip},] had ended[: {how}].",
    ),
    Kind(
        "owner_died",
        pattern(
            rf"[Aa]ctor (?:is dead|died) because its owner has died(?:\. Owner I[dD]: (?P<worker>{ID}))?"
            rf"(?: Owner I[pP] address: (?P<node_ip>{ADDRESS}))?{_HOW}"
        ),
        "An actor ended, because its owner, the process that created it, had ended[: worker {worker}][ ({how})].",
    ),
    Kind(
        "owner_died",
        pattern(
            rf"{_OWNER_DIED}[^\0]{{0,900}}?(?:Owner worker ID: |/logs/\*?){_DRIVER}"
            rf"(?:\*?[`'\"]? at IP address (?P<node_ip>{ADDRESS}))?",
            re.MULTILINE,
        ),
        _DRIVER_IS,
    ),
    Kind(
        "owner_died",
        pattern(
            rf"{_OWNER_DIED}[^\0]{{0,900}}?Owner worker ID: (?P<worker>{ID}), owner node ID: (?P<node_id>{ID}), "
            rf"owner address: (?P<node_ip>{ADDRESS}?):\d{{1,5}}\b",
            re.MULTILINE,
        ),
        _OWNER_IS,
    ),
    Kind(
        "owner_died",
        pattern(
            rf"{_OWNER_DIED}[^\0]{{0,500}}?/logs/\*?(?P<worker>{ID})\*?[`'\"]? at IP address (?P<node_ip>{ADDRESS})",
            re.MULTILINE,
        ),
        _OWNER_IS,
    ),
    Kind("owner_died", pattern(_OWNER_DIED, re.MULTILINE), _OWNER_IS),
    Kind(
        "object_lost",
        pattern(rf"pull_manager\.cc:\d{{1,5}}: Object time(?:d)? ?out:? (?P<object>{HEX}{{16,56}})(?!{HEX})"),
        "Ray could not fetch the object {object} in time: it found no copy of it, in memory or on disk.",
        "no copy",
    ),
    Kind(
        "object_lost",
        pattern(rf"\bObject neither in memory nor external storage:? (?P<object>{HEX}{{16,56}})(?!{HEX})"),
        "Ray found no copy of the object {object}, in memory or on disk.",
        "no copy",
    ),
    Kind(
        "object_lost",
        pattern(rf"All copies of (?P<object>{HEX}{{16,56}}) (?:are|have been) lost due to node failure"),
        "All copies of the object {object} were lost, because the nodes that had them failed.",
    ),
    Kind(
        "object_lost",
        pattern(rf"Object (?P<object>{HEX}{{16,56}}) is lost due to node failure"),
        "The object {object} was lost, because the node that had it failed.",
    ),
    Kind(
        "object_lost",
        pattern(r"All copies of [^\n]{1,100}? (?:are|have been) lost due to node failure"),
        "All copies of an object were lost, because the nodes that had them failed.",
    ),
    Kind(
        "object_lost",
        pattern(r"[Tt]he object cannot be reconstructed (?P<why>because [^\n]{1,200}?)(?:\.(?=\s)|\.?$)", re.MULTILINE),
        "Ray lost an object and cannot make it again, {why}.",
    ),
    Kind(
        "object_lost",
        pattern(
            rf"(?:{_raised('ObjectFetchTimedOutError')}[^\0]{{0,400}}?)?[Nn]o locations were found for the object"
            rf"|{_raised('ObjectFetchTimedOutError')}",
            re.MULTILINE,
        ),
        "Ray lost an object: it found no copy of it in time.",
    ),
    Kind(
        "object_lost",
        pattern(_raised(r"ObjectReconstructionFailed\w{0,40}"), re.MULTILINE),
        "Ray lost an object and cannot make it again.",
    ),
)
