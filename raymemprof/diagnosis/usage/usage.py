"""`usage()`: what the cluster's memory is used for now, node by node and process by process."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timezone
from pathlib import Path

import psutil

from ... import cluster, host, kill_threshold, proc
from ...display.refusals import short_traceback
from .processes import Entry, Process, find_raylet, of_node, table
from .records import Nodes, NodeUsage, Processes, ProcessUsage, Usage
from .shared_memory import SharedMemoryOwners
from .shared_memory_search import Store, find_owners, find_store

__all__ = ["usage"]

_SECONDS = 5.0
"""How long the raylet, or the GCS, may take to say what it runs: on a node that thrashes, seconds."""
_MOST_REFERENCES = 100
_LOOKS = 3
"""How often a node is looked at where memory moves meanwhile."""


@short_traceback
def usage() -> Usage:
    """Return what uses memory now, on each node of the connected cluster and in each Ray process there.

    It needs no dashboard. A task that needs no CPU reads each node. This task is in the result too, as
    "raymemprof.read_node".

    Returns:
        A `Usage`: `.nodes`, `.processes`, `.missing`. It prints as tables, and has `to_pandas()` and `to_json()`.

    Raises:
        ValueError: this process is not connected to a cluster.

    Example:
        >>> import raymemprof
        >>> now = raymemprof.usage()  # doctest: +SKIP
        >>> for node in now.nodes:  # doctest: +SKIP
        ...     print(node.node_ip, node.used, node.threshold, node.explained)
        ...     print(max(node.processes, key=lambda process: process.memory))
    """
    if not cluster.is_connected():
        raise ValueError("this process is not connected to a Ray cluster: call ray.init() first.")
    when = datetime.now(timezone.utc)
    answers = cluster.on_each_node(_read_node)
    running: dict[str, list[tuple[str, str]]] = {}
    for _, found in answers.by_node.values():
        running.update(found)
    nodes = [_with_tasks(node, running) for node, _ in answers.by_node.values()]
    return Usage(when, Nodes(nodes, missing=answers.missing), answers.missing)


def _with_tasks(node: NodeUsage, running: dict[str, list[tuple[str, str]]]) -> NodeUsage:
    """Say which task runs in a worker where there is no doubt: it is the only one, and its name is the process's."""
    found = []
    for process in node.processes:
        tasks = running.get(process.worker_id or "", [])
        if process.role in ("task", "actor") and len(tasks) == 1 and tasks[0][1] == process.name:
            process = dataclasses.replace(process, task_id=tasks[0][0])
        found.append(process)
    task_ids = {process.pid: process.task_id for process in found}
    owners = SharedMemoryOwners(
        dataclasses.replace(one, task_id=task_ids.get(one.pid or 0)) for one in node.shared_memory_owners
    )
    return dataclasses.replace(node, processes=Processes(found), shared_memory_owners=owners)


def _read_node() -> tuple[NodeUsage, dict[str, list[tuple[str, str]]]]:
    """Read the node that this runs on; from the head come the tasks that run in the cluster too."""
    node_id = cluster.here()
    if node_id is None:
        raise ValueError("this process runs on none of the cluster's nodes.")
    entries = table()
    raylet = find_raylet(entries, node_id)
    if raylet is None:
        raise ValueError("its raylet cannot be seen from its workers, which run in containers of their own.")
    stats = cluster.node_stats(node_id, _SECONDS)
    node_ip = raylet.option("node_ip_address") or ""
    theirs = of_node(entries, raylet, stats)
    is_head = "--head" in raylet.command
    for _ in range(_LOOKS):
        store = find_store(raylet.pid, raylet.option("plasma_directory") or "/dev/shm")
        node = _measured(node_id, node_ip, is_head, raylet, entries, theirs, stats, store)
        if node.explained <= node.used:  # else memory was freed between one figure and the next
            break
    owners = SharedMemoryOwners(
        dataclasses.replace(one, node_id=node_id, node_ip=node_ip)
        for one in find_owners(node.shared_memory or 0, entries, theirs, store.files)
    )
    node = dataclasses.replace(node, shared_memory_owners=owners)
    if node.is_store_full or node.spilled:
        found = cluster.references(node_id, _SECONDS)
        node = dataclasses.replace(node, references=tuple(found[:_MOST_REFERENCES]))
    return node, cluster.running_tasks(_SECONDS) if is_head else {}


def _measured(
    node_id: str,
    node_ip: str,
    is_head: bool,
    raylet: Entry,
    entries: dict[int, Entry],
    theirs: list[Process],
    stats: cluster.NodeStats,
    store: Store,
) -> NodeUsage:
    forks = {process.pid for process in theirs if (stat := proc.stat(process.pid)) is not None and stat.is_fork}
    relatives = forks | {entries[pid].parent for pid in forks if pid in entries}
    relatives |= {pid for process in theirs if process.parent is not None for pid in (process.pid, process.parent)}
    memory = host.memory(raylet.pid)
    processes = []
    for process in theirs:
        found = _process(process, node_id, node_ip, process.pid in relatives)
        if found is not None:
            uncounted = _why_uncounted(found, memory, process.pid in forks)
            processes.append(found if uncounted is None else dataclasses.replace(found, why_uncounted=uncounted))
    memory = host.memory(raylet.pid)
    held, in_huge_pages = store.held(memory)
    shared = memory.shared
    if shared is not None:
        not_others = stats.object_store_used if held is None else held - in_huge_pages
        shared = max(shared - (not_others or 0), 0)
    return NodeUsage(
        node_id=node_id,
        node_ip=node_ip,
        is_head=is_head,
        total=memory.total,
        used=memory.used,
        available=memory.available,
        threshold=_threshold(raylet, memory.total),
        object_store_used=stats.object_store_used,
        object_store_primary=stats.object_store_primary,
        object_store_capacity=stats.object_store_capacity,
        object_store_held=held,
        spilled=stats.spilled,
        processes=Processes(sorted(processes, key=lambda process: -process.memory)),
        shared_memory=shared,
        kernel=memory.kernel,
        huge_pages=memory.huge_pages - in_huge_pages,
        isolation=host.isolation(raylet.pid),
    )


def _why_uncounted(process: ProcessUsage, memory: host.HostMemory, is_fork: bool) -> str | None:
    if not memory.has(process.pid):
        return "it is outside of the container (memory cgroup) of the raylet"
    if is_fork and process.pss is None:
        return "it was forked, and what it shares with its relatives cannot be read"
    return None


def _process(process: Process, node_id: str, node_ip: str, has_relatives: bool) -> ProcessUsage | None:
    try:
        memory, shared, _ = proc.psutils_memory(psutil.Process(process.pid))
    except psutil.Error:  # it has ended, or is another user's
        return None
    if memory + shared == 0:  # it has ended, and its parent has not asked how
        return None
    return ProcessUsage(
        pid=process.pid,
        role=process.role,
        name=process.name,
        rss=memory + shared,
        shared=shared,
        memory=memory,
        actor_id=process.actor_id,
        job_id=process.job_id,
        worker_id=process.worker_id,
        node_id=node_id,
        node_ip=node_ip,
        pss=host.shares(process.pid).divided if has_relatives else None,
        parent_pid=process.parent,
    )


def _threshold(raylet: Entry, total: int) -> int | None:
    log = raylet.option("stdout_filepath")
    is_said, threshold = cluster.kill_threshold(Path(log), raylet.pid) if log else (False, None)
    return threshold if is_said else kill_threshold.from_settings(total)
