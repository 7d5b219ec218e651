"""What Ray says of objects: a full store, a full disk, and objects that were lost with their owner or their node."""

from __future__ import annotations

import re

from .kinds import Kind
from .patterns import ADDRESS, HEX, ID, NUMBER, SIZE, pattern

__all__ = ["LOST", "STORE", "WARNINGS"]


def _raised(name: str) -> str:
    """Return a pattern for an exception's name where it is raised: at the beginning of a line, not in code or prose."""
    return rf"^[ \t]{{0,40}}(?:ray\.exceptions\.)?(?:RayTaskError\()?{name}\)?(?=:|[ \t]*$|\()"


STORE = (
    Kind(
        "disk_full",
        pattern(
            rf"local disk's utilization is over capacity|{_raised('OutOfDiskError')}",
            re.MULTILINE,
        ),
        "The object store spills to a disk that is full.",
    ),
    Kind(
        "disk_full",
        pattern(r"\[Errno 28\] No space left on device(?:: (?P<path>[^\n]{1,200}))?"),
        "A disk, or a file system in memory such as /dev/shm, is full[: {path}].",
    ),
    Kind(
        "object_store_full",
        pattern(
            rf"The local object store is full of objects|{_raised('ObjectStoreFullError')}|"
            rf"Failed to put object(?: {HEX}{{40,56}})? in object store because it is full"
            rf"(?:\. Object size is (?P<size>\d{{1,18}} bytes))?",
            re.MULTILINE,
        ),
        "The object store is full of objects that are still referred to[; it could not take one of {size}].",
    ),
)
LOST = (
    Kind(
        "owner_died",
        pattern(
            rf"(?:The object's owner has exited|[Oo]wner's node has crashed|{_raised('OwnerDiedError')})"
            rf"(?:[^\0]{{0,900}}?Owner worker ID: (?P<worker>{ID}), owner node ID: (?P<node_id>{ID}), owner address: "
            rf"(?P<node_ip>{ADDRESS}?):\d{{1,5}}\b)?",
            re.MULTILINE,
        ),
        "The worker that owned an object ended, or its node did, and the object was lost with it[: the owner is worker "
        "{worker}].",
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
        pattern(r"[Tt]he object cannot be reconstructed (?P<why>because [^\n]{1,200}?)(?:\.|$)", re.MULTILINE),
        "Ray lost an object and cannot make it again, {why}.",
    ),
    Kind(
        "object_lost",
        pattern(_raised(r"ObjectReconstructionFailed\w{0,40}"), re.MULTILINE),
        "Ray lost an object and cannot make it again.",
    ),
)
WARNINGS = (
    Kind(
        "warning",
        pattern(
            r"object store is using (?P<path>\S{1,200}) instead of /dev/shm because /dev/shm has only "
            r"(?P<size>\d{1,18}) bytes"
        ),
        "A warning: the object store is in {path}, which is slower, because /dev/shm has only {size} bytes.",
    ),
    Kind(
        "warning",
        pattern(rf"\bSpilled (?P<size>{SIZE}), (?P<count>\d{{1,12}}) objects"),
        "Ray spilled {count} objects ({size}) to disk, to make room in the object store. The text does not say that "
        "anything was killed.",
    ),
    Kind(
        "warning",
        pattern(
            rf"(?P<path>/[^\s\n]{{1,300}}) is over (?P<share>{NUMBER})% full"
            rf"(?:, available space: (?P<free>\d{{1,18}}|{SIZE}))?"
            rf"(?:; capacity: (?P<all>\d{{1,18}}|{SIZE}))?[^\n]{{0,20}}?Object creation will fail"
        ),
        "A warning: the disk of {path} is over {share}% full[; available: {free}][ of {all}]. Ray cannot spill "
        "objects when it is full. The text does not say that anything has failed.",
    ),
    Kind(
        "warning",
        pattern(r"is over (?P<share>\d{1,3})% full\b[^\n]{0,200}?Object creation will fail"),
        "A warning: a disk is over {share}% full, and Ray cannot spill objects when it is full. The text does not say "
        "that anything has failed.",
    ),
    Kind(
        "warning",
        pattern(
            rf"(?:Operator '?(?P<operator>[^\n']{{1,200}}?)'? )?uses (?P<size>{SIZE}) of memory per task on average, "
            rf"but Ray only requests (?P<asked>{SIZE}) per task"
        ),
        "A warning of Ray Data: a task of[ {operator}] an operator uses {size} on average, and Ray Data asks for "
        "{asked}. The text does not say that anything was killed.",
    ),
    Kind(
        "warning",
        pattern(
            r"System slice memory usage (?P<is>\d{1,18}) bytes has exceeded the reserved system memory "
            r"of (?P<most>\d{1,18}) bytes"
        ),
        "A warning: Ray's own processes use {is} bytes, more than the {most} bytes that are reserved for them. The "
        "text does not say that anything was killed.",
    ),
    Kind(
        "warning",
        pattern(
            r"Node memory usage above threshold, used: (?P<used>\d{1,18}), threshold_bytes: "
            r"(?P<threshold>\d{1,18}), total bytes: (?P<limit>\d{1,18})"
        ),
        "A warning: memory in use is above the threshold. The text does not say that anything was killed.",
    ),
    Kind(
        "warning",
        pattern(
            r"User slice memory usage above threshold, used: (?P<is>\d{1,18}), threshold_bytes: "
            r"(?P<most>\d{1,18}), total bytes: (?P<all>\d{1,18})"
        ),
        "A warning: the workers' cgroup (Ray's user slice) uses {is} bytes, more than the threshold of {most} bytes. "
        "The text does not say that anything was killed.",
    ),
    Kind(
        "warning",
        pattern(
            r"Memory usage above threshold but no workers are available for killing|"
            r"Worker killer did not select any workers to kill"
        ),
        "A warning: memory in use was above the threshold, and Ray's monitor found no worker to kill: other processes "
        "have the memory.",
    ),
    Kind(
        "warning",
        pattern(rf"Memory usage on this node: (?P<is>{NUMBER}/{NUMBER} ?Gi?B): ?\*\*\*LOW MEMORY\*\*\*"),
        "A warning: a node used {is} of memory. The text does not say that anything was killed.",
    ),
    Kind(
        "warning",
        pattern(r"[\"']?\bmax_uss_bytes[\"']?[:=] ?(?P<size>\d{1,18})\b"),
        "A figure of Ray Data: a task of an operator held {size} bytes of its own (USS) at most. The text does not say "
        "that anything was killed.",
    ),
)
