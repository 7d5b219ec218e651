"""What Ray says that need not have ended anything: its warnings, and a store that had no room."""

from __future__ import annotations

import re
from dataclasses import replace

from ..facts import Message
from ..kinds import Kind, first_of
from ..patterns import ID, NUMBER, SIZE, pattern, size
from .full_stores import FULL_STORES
from .memory_demands import ASKED, with_demands
from .objects import DISK, DISK_IS, FREE

__all__ = ["warned"]

_PLASMA_AND_SHM = (
    r"System memory request exceeds memory available in (?P<path>/\S{1,200}?)\. The request is for "
    r"(?P<asked>\d{1,18} bytes), and the amount available is (?P<most>\d{1,18} bytes)"
)
_CAPACITY = pattern(rf"Allowing the Plasma store to use up to (?P<all>{SIZE}) of memory")
_WARNINGS = (
    *FULL_STORES,
    Kind(
        "warning",
        pattern(
            rf"The (?P<what>remote function|actor) (?P<name_>[\w.<>]{{1,200}}) is very large "
            rf"\((?P<size>\d{{1,18}} bytes|{SIZE})\)"
        ),
        "A warning: the {what} {name_} is {size} large, so it holds an object that Ray sends to each worker.",
        lacks="large function",
    ),
    Kind(
        "node_died",
        pattern(
            r"The raylet exited immediately because (?:one|the) Ray agent failed"
            r"(?:, agent_name = (?P<agent>[\w/-]{1,60})|(?=[^\0]{0,600}?`?(?P<log>dashboard_agent\.log)))?"
        ),
        "The raylet of a node ended, which ends the node, because Ray's agent there ended[, {agent}]; the text does "
        "not say whether that was killed for memory[: {log} on the node has the cause, by Ray's word].",
    ),
    Kind(
        "node_died",
        pattern(
            r"(?:node manager has mistakenly been marked as dead by the GCS|"
            r"GCS failed to check the health of this node)"
            rf"(?:[^\n]{{0,400}}?\(node ID: (?P<node_id>{ID})(?:, host: (?P<host>[\w.-]{{1,100}}))?\))?"
        ),
        "The node[ {node_id}][ ({host})] did not answer in time, and Ray gave it up as dead; a node that is short of "
        "memory may be as slow.",
    ),
    Kind(
        "node_died",
        pattern(
            r"(?:Last heartbeat was sent (?P<late>\d{1,9}) ms ago(?:(?!Last heartbeat was)[^\0]){0,3000}?)?"
            r"\bThis node has bee[mn] marked (?:as )?dead\b"
        ),
        "A raylet ended, which ends its node, because the node had been marked as dead[; the last heartbeat was "
        "sent {late} ms ago, as on a node that is short of CPU, memory or network]. The text does not say why.",
    ),
    Kind(
        "warning",
        pattern(r"\bLast heartbeat was sent (?P<late>\d{1,9}) ms ago\. There might be resource pressure on this node"),
        "A warning of a raylet: its last heartbeat was sent {late} ms ago, as on a node that is short of CPU, memory "
        "or network. The text does not say that anything was killed.",
        is_of_raylet=True,
        is_latest=True,
    ),
    Kind(
        "object_lost",
        pattern(r"Attempting to recover (?P<count>\d{1,12}) lost objects"),
        "Ray lost {count} objects, as where the node that had them died, and makes them again.",
    ),
    Kind(
        "warning",
        pattern(
            r"Watchdog caught collective operation timeout(?::[^\n]{0,300}? ran for (?P<time>\d{1,12}) milliseconds)?|"
            r"Some NCCL operations have failed or timed out"
        ),
        "A collective operation of NCCL, in which processes on GPUs wait for each other, did not end in time[: it ran "
        "for {time} ms]. PyTorch may end processes for that; it is no matter of memory by itself.",
        lacks="collective",
    ),
    Kind(
        "warning",
        pattern(rf"\b(?P<is>{SIZE})/(?P=is) object_store_memory\b"),
        "Ray Data has as much in the object store as it lets itself have there, {is}, and waits for room. The text "
        "does not say that anything has failed.",
        only_with="Resource usage",
    ),
    Kind(
        "warning",
        pattern(r"Shared memory store full, falling back to allocating from filesystem"),
        "A warning: the object store is full, and Ray puts objects into files on disk, which is slower.",
        is_of_raylet=True,
    ),
    Kind(
        "warning",
        pattern(
            r"Used memory is greater than or equal to total memory used\.[^\n]{0,200}?"
            r"Used (?P<used>\d{1,18}), total (?P<limit>\d{1,18})"
        ),
        "A warning: all memory that the container may have is used. The text does not say that anything was killed.",
    ),
    Kind(
        "warning",
        pattern(r"MemoryMonitor disabled\. Specify `RAY_memory_monitor_refresh_ms`"),
        "Ray's memory monitor is switched off (RAY_memory_monitor_refresh_ms is 0): where memory runs out, the kernel "
        "kills.",
    ),
    Kind(
        "warning",
        pattern(
            r"Unable to capture node memory\. Monitor will not be able|Failed to take user and system slice memory "
            r"snapshot due to: [^\n]{0,600}?The threshold memory monitor will not be able"
        ),
        "A warning: Ray's memory monitor cannot read how much memory is used, and so does not kill: where memory runs "
        "out, the kernel does.",
    ),
    Kind(
        "warning",
        pattern(
            rf"(?:Operator '?(?P<operator>[^\n']{{1,200}}?)'? )?uses (?P<mean>{SIZE}) of memory per worker on average "
            rf"\(up to (?P<needs>{SIZE})\), but Ray only requests (?P<asked>{SIZE}) per worker"
        ),
        "A warning of Ray Data: a worker[ of {operator}] uses {mean} on average and up to {needs}, and Ray Data asks "
        "for {asked}. The text does not say that anything was killed.",
        lacks="operator",
    ),
    Kind(
        "warning",
        pattern(
            rf"(?:Operator '?(?P<operator>[^\n']{{1,200}}?)'? )?used up to (?P<needs>{SIZE}) of memory per worker\. "
            rf"The configured logical memory was (?P<asked>{SIZE})\."
        ),
        "A warning of Ray Data: a worker[ of {operator}] used up to {needs}, and Ray Data asked for {asked}. The text "
        "does not say that anything was killed.",
        lacks="operator",
    ),
    Kind(
        "warning",
        pattern(
            r"object store is using (?P<path>\S{1,200}) instead of /dev/shm because /dev/shm has only "
            rf"(?P<size>\d{{1,18}}) bytes(?:(?:(?!/dev/shm has)[^\0]){{0,500}}?--shm-size=(?P<shm>{NUMBER} ?gb)|"
            rf"(?:(?!/dev/shm has)[^\0]){{0,600}}?Starting the Plasma object store with (?P<asked>{NUMBER} GB) memory)?"
        ),
        "A warning: the object store[, of {asked},] is in {path}, which is slower, because /dev/shm has only {size} "
        "bytes[; Ray names `--shm-size={shm}` for a container].",
        lacks="shared memory",
    ),
    Kind(
        "not_started",
        pattern(rf"\bF\d{{4}} [^\n]{{0,80}}?{_PLASMA_AND_SHM}"),
        "Ray did not start: its object store was to have {asked}, and {path} has {most}.",
        "store in memory",
    ),
    Kind(
        "warning",
        pattern(_PLASMA_AND_SHM),
        "A warning: the object store (Plasma) was to have {asked}, and {path} has {most}.",
        "shared memory",
    ),
    Kind(
        "warning",
        pattern(r"Reducing object store memory because /dev/shm has only (?P<size>\d{1,18}) bytes"),
        "A warning: Ray made the object store smaller, because /dev/shm has only {size} bytes.",
        lacks="shared memory",
    ),
    Kind(
        "warning",
        pattern(
            r"An unexpected internal error occurred while the IO worker was (?P<what>spilling objects|deleting spilled "
            r"objects)(?:: (?P<why>[^\n]{1,200}?)(?=\\n|[\"']? ?$)|\.?)",
            re.MULTILINE,
        ),
        "A process of Ray that writes objects to disk failed while it was {what}[: {why}].",
        "spilling",
    ),
    Kind(
        "warning",
        pattern(
            rf"{DISK}(?:{FREE})?(?:(?!is over)[^\0]){{0,4000}}?\bin (?P<what>_?write_multiple_objects|spill_objects|"
            r"ray\._raylet\.spill_objects_handler)\b"
        ),
        f"A worker of Ray that spills objects raised an error while it wrote (a traceback of {{what}}), and {DISK_IS}.",
        "disk",
        is_of_raylet=True,
        is_latest=True,
    ),
    Kind(
        "warning",
        pattern(r"An unexpected internal error occurred while the IO worker was restoring spilled objects"),
        "A process of Ray failed while it read spilled objects back from disk.",
        "spilling",
    ),
    Kind(
        "warning",
        pattern(
            r"\bFailed to (?:send object spilling request|spill objects): (?P<why>[^\n]{1,200}?)(?=\\n|[\"']? ?$)",
            re.MULTILINE,
        ),
        "A raylet could not spill objects to disk: {why}.",
        "spilling",
        is_of_raylet=True,
    ),
    Kind(
        "warning",
        pattern(rf"\bSpilled (?P<size>{SIZE}), (?P<count>\d{{1,12}}) objects, avg write throughput"),
        "The object stores of the cluster have spilled {count} objects ({size}) to disk, to make room; the text does "
        "not say that anything was killed.",
    ),
    Kind(
        "warning",
        pattern(rf"\bSpilled (?P<size>{SIZE}), (?P<count>\d{{1,12}}) objects"),
        "A raylet spilled {count} objects ({size}) to its node's disk, to make room in the object store. The text does "
        "not say that anything was killed.",
        most="size",
        is_of_raylet=True,
    ),
    Kind(
        "warning",
        pattern(rf"{DISK}(?:{FREE}|(?:\.(?!\d))?[^\n]{{0,200}}? Object creation will fail)"),
        f"A warning: {DISK_IS}. Ray cannot spill objects when it is full. The text does not say that anything has "
        "failed.",
        "disk",
        is_of_raylet=True,
        is_latest=True,
    ),
    Kind(
        "warning",
        pattern(
            rf"(?:Operator '?(?P<operator>[^\n']{{1,200}}?)'? )?uses (?P<needs>{SIZE}) of memory per task on average, "
            rf"but Ray only requests (?P<asked>{SIZE}) per task"
        ),
        "A warning of Ray Data: a task[ of {operator}] uses {needs} on average, and Ray Data asks for "
        "{asked}. The text does not say that anything was killed.",
        "operator",
    ),
    Kind(
        "warning",
        pattern(
            r"System slice memory usage (?P<needs>\d{1,18} bytes) has exceeded the reserved system memory "
            r"of (?P<most>\d{1,18}) bytes"
        ),
        "A warning: Ray's own processes use {needs}, more than the {most} bytes that are reserved for them. The text "
        "does not say that anything was killed.",
        lacks="system",
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
            r"Node memory usage above threshold, used: (?P<used>\d{1,18}), total: (?P<limit>\d{1,18}), usage fraction: "
            r"[\d.\s]{1,20}, threshold: (?P<threshold_share>[01](?:\.\d{1,9})?)"
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
        pattern(
            rf"Memory usage on this node: (?P<used>{NUMBER})/(?P<limit>{NUMBER}) ?(?P<unit>Gi?B): ?"
            r"\*\*\*LOW MEMORY\*\*\*"
        ),
        "A warning: a node used {used} of {limit} {unit} of memory. The text does not say that anything was killed.",
        lacks="node",
    ),
    Kind(
        "warning",
        pattern(
            r"(?:(?<!\S)(?P<operator>\S{1,200}?):\s?\{[^\n]{0,500}?)?[\"']?\bmax_uss_bytes[\"']?: ?\{"
            r"[^{}\n]{0,500}?[\"']max[\"']: ?(?P<needs>\d{1,18})\b"
        ),
        "A figure of Ray Data: a task[ of {operator}] held {needs} bytes of its own (USS) at most. The "
        "text does not say that anything was killed.",
        lacks="operator",
    ),
    Kind(
        "warning",
        pattern(r"[\"']?\bmax_uss_bytes[\"']?[:=] ?(?P<needs>\d{1,18})\b"),
        "A figure of Ray Data: a task of an operator held {needs} bytes of its own (USS) at most. The text does not "
        "say that anything was killed.",
        lacks="operator",
    ),
    Kind(
        "warning",
        pattern(r"\bSpilling objects of total size (?P<size>\d{1,18}) num objects (?P<count>\d{1,12})(?!\d)"),
        "A raylet spilled {count} objects ({size} bytes) at once to its node's disk, to make room in the object store. "
        "The text does not say that anything was killed.",
        most="size",
        is_of_raylet=True,
    ),
    Kind(
        "crash",
        pattern(
            r"\bplasma_store_provider\.cc:\d{1,5}[\]:] ?(?:An unexpected system state[^\n]{0,300}?)?Check failed: "
            r"[^\n]{0,80}?IOError: (?P<why>Broken pipe|Connection reset by peer)"
        ),
        "A worker lost its connection to the object store of its node ({why}), and ended with it; the text does not "
        "say why the store was gone.",
        "store gone",
    ),
    *ASKED,
)


def warned(text: str) -> Message | None:
    """Return what a text says that need not have ended anything: what Ray warns of, and a store that had no room."""
    message = first_of(_WARNINGS, text)
    if message is not None and message.cause == "object_store_full":
        capacities = {found["all"] for found in _CAPACITY.finditer(text)}
        if len(capacities) == 1:
            message = _with_capacity(message, capacities.pop())
    return with_demands(message, text) if message is not None else None


def _with_capacity(message: Message, most: str) -> Message:
    """Compare what a store had no room for with what it may have."""
    capacity = size(most)
    if message.needs is None or capacity is None or message.needs <= capacity:
        return replace(message, statement=f"{message.statement} It may have {most} at most.")
    said = f"An object of {message.needs} bytes is larger than the whole object store, which may have {most} at most."
    return replace(message, statement=said, lacks="store")
