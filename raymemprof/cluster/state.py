"""What Ray tells about nodes, jobs and tasks: the GCS, the State API, and the raylet of this process's node.

Each question goes to a private interface first, and to the public one where that fails.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..display.record import Record
from ..journal import open_plain
from .identity import gcs_address, ray_worker
from .rpc import channel, generated, hex_id, raylet_address

__all__ = [
    "NodeStats",
    "ObjectReferences",
    "RegisteredProcess",
    "TaskAttempt",
    "attempts",
    "kill_threshold",
    "kill_thresholds",
    "living_jobs",
    "node_stats",
    "references",
    "running_tasks",
    "tasks_killed_for_memory",
]


@dataclass(frozen=True, slots=True)
class RegisteredProcess:
    """A process that a raylet knows: "worker", "driver" or "io worker", and what Ray runs in it."""

    pid: int
    kind: str
    worker_id: str | None = None
    actor_id: str | None = None
    job_id: str | None = None
    is_busy: bool = False
    """Whether a task, or a method of its actor, runs in it; False also where only the GCS could be asked."""


@dataclass(frozen=True, slots=True)
class NodeStats:
    """What Ray says of one node; None for what it does not say. Sizes are bytes."""

    processes: tuple[RegisteredProcess, ...] | None = None
    is_complete: bool = False
    """Whether the raylet said so itself; else `processes` has actors and drivers only."""
    object_store_used: int | None = None
    object_store_primary: int | None = None
    """Without copies of objects of other nodes, and what else can be dropped to make room."""
    object_store_capacity: int | None = None
    spilled: int | None = None


_KINDS = {0: "worker", 1: "driver", 2: "io worker", 3: "io worker"}
_THRESHOLD = re.compile(
    rb"(\d+)\] \(raylet\)[^\n]*MemoryMonitor (?:initialized with usage threshold at (\d+) bytes|disabled)"
)
_OF_RAYS_CALLS = ("wrapper", "auto_init_wrapper", "put", "get", "remote", "_remote", "_invocation_remote_span")
"""Functions of Ray's through which code makes references: the paths of their files may be cut."""
_OF_A_HANDLE = re.compile(rb"\xff{8}(?!\xff{12})", re.DOTALL)
"""How the id of an actor's handle begins: with that of the task that creates it, which is the actor's."""
_LOG_HEAD = 256 * 1024
"""Bytes from the beginning of its log in which a raylet says how it is set up."""
_MOST_TASKS = 10_000
"""Tasks that the GCS is asked for."""


def node_stats(node_id: str, limit: float) -> NodeStats:
    """Ask the raylet of the node that this process runs on, or the GCS where it does not answer in `limit` seconds.

    A raylet answers when all its workers have, so one that is stopped or thrashes silences it.
    """
    found = _ask_raylet(node_id, limit)
    return found or _ask_gcs(node_id)


def _ask_raylet(node_id: str, limit: float) -> NodeStats | None:
    with contextlib.suppress(Exception):  # whatever Ray's private side has become, there is the other way round
        request = generated("node_manager_pb2").GetNodeStatsRequest(include_memory_info=False)
        with channel(raylet_address(node_id)) as opened:
            stub = generated("node_manager_pb2_grpc").NodeManagerServiceStub(opened)
            reply = stub.GetNodeStats(request, timeout=limit)
        store = reply.store_stats
        return NodeStats(
            processes=tuple(
                RegisteredProcess(
                    pid=process.pid,
                    kind=_KINDS.get(process.worker_type, "worker"),
                    worker_id=hex_id(process.worker_id),
                    actor_id=hex_id(process.actor_id),
                    job_id=hex_id(process.job_id),
                    is_busy=process.num_running_tasks > 0,
                )
                for process in reply.core_workers_stats
            ),
            is_complete=True,
            object_store_used=store.object_store_bytes_used,
            object_store_primary=store.object_store_bytes_primary_copy,
            object_store_capacity=store.object_store_bytes_avail,
            spilled=store.spilled_bytes_total,
        )
    return None


def _ask_gcs(node_id: str) -> NodeStats:
    ray = sys.modules["ray"]
    processes: list[RegisteredProcess] | None = None
    used: int | None = None
    (node,) = (node for node in ray.nodes() if node["NodeID"] == node_id)
    capacity = node["Resources"].get("object_store_memory")
    with contextlib.suppress(Exception):
        state = ray._private.state
        actors = [
            actor for actor in state.actors(actor_state_name="ALIVE").values() if actor["Address"]["NodeID"] == node_id
        ]
        # A job says its driver's machine, on which there may be several nodes: the head is where drivers run.
        jobs = [
            job
            for job in state.jobs()
            if not job["IsDead"]
            and job["DriverIPAddress"] == node["NodeManagerAddress"]
            and "node:__internal_head__" in node["Resources"]
        ]
        processes = [
            *(RegisteredProcess(actor["Pid"], "worker", actor_id=actor["ActorID"]) for actor in actors),
            *(RegisteredProcess(job["DriverPid"], "driver", job_id=job["JobID"]) for job in jobs),
        ]
    if capacity is not None:
        with contextlib.suppress(Exception):
            free = ray._private.state.available_resources_per_node()[node_id].get("object_store_memory", 0)
            used = int(capacity - free)
    return NodeStats(
        processes=None if processes is None else tuple(processes),
        object_store_used=used,
        object_store_capacity=None if capacity is None else int(capacity),
    )


@dataclass(frozen=True, slots=True)
class ObjectReferences(Record):
    """References of one process to objects, of one kind and created at one place in the code.

    Attributes:
        pid: the process, a worker or a driver.
        kind: what keeps the objects: "pinned in memory" (a value that was read refers to them), "used by a pending
            task", "a reference" (an ObjectRef in the code), "within another object".
        call_site: where in the code the references were made; None without RAY_record_ref_creation_sites=1.
        object_count: how many objects.
        size: their bytes, as far as the process knows.
    """

    pid: int
    kind: str
    call_site: str | None
    object_count: int
    size: int


def references(node_id: str, limit: float) -> list[ObjectReferences]:
    """Return what refers to objects on the node that this process runs on, the largest first; what `ray memory` shows.

    Empty where its raylet does not answer in `limit` seconds.
    """
    found: dict[tuple[int, str, str | None], list[int]] = {}
    with contextlib.suppress(Exception):  # whatever Ray's private side has become
        request = generated("node_manager_pb2").GetNodeStatsRequest(include_memory_info=True)
        with channel(raylet_address(node_id)) as opened:
            stub = generated("node_manager_pb2_grpc").NodeManagerServiceStub(opened)
            reply = stub.GetNodeStats(request, timeout=limit)
        for process in reply.core_workers_stats:
            for reference in process.object_refs:
                why = _why_kept(reference)
                if why is not None:
                    sizes = found.setdefault((process.pid, why, _made_at(reference.call_site)), [0, 0])
                    sizes[0] += 1
                    sizes[1] += max(reference.object_size, 0)
    every = [ObjectReferences(*key, count, size) for key, (count, size) in found.items()]
    return sorted(every, key=lambda one: -one.size)


def _made_at(call_site: str) -> str | None:
    """Return the user's line of a call site as Ray writes it: "(put object)  | FILE:FUNCTION:LINE | ..."."""
    frames = [frame.strip().rsplit(":", 2) for frame in call_site.split(" | ")]
    own = [f for f in frames if len(f) == 3 and "/ray/" not in f[0] and f[1] not in _OF_RAYS_CALLS]
    return f"{own[0][0]}:{own[0][2]}" if own else None


def _why_kept(reference: Any) -> str | None:
    """What keeps an object; None where it is an actor's handle, or nothing that counts."""
    if _OF_A_HANDLE.match(reference.object_id):
        return None
    if reference.pinned_in_memory:
        return "pinned in memory"
    if reference.submitted_task_ref_count:
        return "used by a pending task"
    if reference.local_ref_count:
        return "a reference"
    return "within another object" if reference.contained_in_owned else None


def kill_threshold(log: Path, pid: int) -> tuple[bool, int | None]:
    """Return whether a raylet's log says above how many bytes in use it kills, and what it says: None for never."""
    for path in (log.with_name(f"{log.name}.1"), log):
        with contextlib.suppress(OSError), open(open_plain(path, follow=True), "rb") as file:
            for found in _THRESHOLD.finditer(file.read(_LOG_HEAD)):
                if int(found[1]) == pid:
                    return True, None if found[2] is None else int(found[2])
    return False, None


def kill_thresholds(logs: Path) -> set[int | None]:
    """Return above how many bytes in use a session's raylets kill, as its log folder says; None for never."""
    found: set[int | None] = set()
    with contextlib.suppress(OSError):
        for path in sorted(logs.glob("raylet*.out*")):
            with contextlib.suppress(OSError), open(open_plain(path), "rb") as file:
                found |= {None if one[2] is None else int(one[2]) for one in _THRESHOLD.finditer(file.read(_LOG_HEAD))}
    return found


def living_jobs() -> frozenset[str] | None:
    """Return the ids of the jobs whose drivers have not ended; None where Ray does not say, as through Ray Client."""
    with contextlib.suppress(Exception):  # the public way round, the State API, needs a dashboard
        jobs = sys.modules["ray"]._private.state.jobs()
        return frozenset(job["JobID"] for job in jobs if not job["IsDead"])
    return None


def running_tasks(limit: float) -> dict[str, list[tuple[str, str]]]:
    """Return id and name of the tasks that run in each worker, by worker id, as the GCS heard up to a second ago."""
    found: dict[str, list[tuple[str, str]]] = {}
    with contextlib.suppress(Exception):  # there is no public way that needs no dashboard
        for task in _events_in_gcs(_in_state("RUNNING"), limit):
            worker_id = task.state_updates.worker_id.hex()
            found.setdefault(worker_id, []).append((task.task_id.hex(), task.task_info.name))
    return found


class TaskAttempt(NamedTuple):
    """An attempt to run a task, and the worker it ran in, where Ray recorded one."""

    task_id: str
    attempt: int
    name: str
    worker_id: str | None
    state: str | None
    """"FINISHED" or "FAILED"; None for one that has not ended."""


_ENDS = {11: "FINISHED", 12: "FAILED"}


def tasks_killed_for_memory(limit: float) -> dict[str, TaskAttempt]:
    """Return what Ray recorded of the attempts that were killed for memory, by the ids of the workers they ran in.

    The GCS is asked, which needs gRPC for Python, else the State API, which needs a dashboard; empty without either.
    """
    if ray_worker() is None:
        return {}
    with contextlib.suppress(Exception):
        memory = generated("common_pb2").OUT_OF_MEMORY
        return _by_worker(
            _attempt(task)
            for task in _events_in_gcs(_in_state("FAILED"), limit)
            if task.state_updates.error_info.error_type == memory
        )
    with contextlib.suppress(Exception):
        return _by_worker(_listed("error_type", "OUT_OF_MEMORY", limit))
    return {}


def attempts(task_id: str, limit: float) -> list[TaskAttempt] | None:
    """Return what Ray recorded of the attempts to run a task, first to last, up to a second ago.

    From the GCS, else from the State API; None where neither can be asked.
    """
    if ray_worker() is None:
        return None
    with contextlib.suppress(Exception):
        filters = generated("gcs_service_pb2").GetTaskEventsRequest.Filters()
        wanted = filters.task_filters.add()
        wanted.predicate, wanted.task_id = 0, bytes.fromhex(task_id)
        return sorted(map(_attempt, _events_in_gcs(filters, limit)), key=lambda attempt: attempt.attempt)
    with contextlib.suppress(Exception):
        return sorted(_listed("task_id", task_id, limit), key=lambda attempt: attempt.attempt)
    return None


def _by_worker(found: Iterable[TaskAttempt]) -> dict[str, TaskAttempt]:
    return {attempt.worker_id: attempt for attempt in found if attempt.worker_id}


def _in_state(state: str) -> Any:
    filters = generated("gcs_service_pb2").GetTaskEventsRequest.Filters(exclude_driver=True)
    wanted = filters.state_filters.add()
    wanted.predicate, wanted.state = 0, state
    return filters


def _events_in_gcs(filters: Any, limit: float) -> Any:
    request = generated("gcs_service_pb2").GetTaskEventsRequest(limit=_MOST_TASKS, filters=filters)
    with channel(gcs_address()) as opened:
        stub = generated("gcs_service_pb2_grpc").TaskInfoGcsServiceStub(opened)
        return stub.GetTaskEvents(request, timeout=limit).events_by_task


def _attempt(task: Any) -> TaskAttempt:
    said = task.state_updates
    state = next((name for number, name in _ENDS.items() if number in said.state_ts_ns), None)
    return TaskAttempt(
        task.task_id.hex(), task.attempt_number, task.task_info.name, hex_id(said.worker_id) or None, state
    )


def _listed(key: str, value: str, limit: float) -> list[TaskAttempt]:
    """What the State API lists; raises where there is no dashboard."""
    if not ray_worker().node.webui_url:
        raise LookupError("no dashboard")
    tasks = importlib.import_module("ray.util.state").list_tasks(
        address=gcs_address(),
        filters=[(key, "=", value)],
        detail=True,
        limit=_MOST_TASKS,
        timeout=max(int(limit), 1),
        raise_on_missing_output=False,
    )
    return [
        TaskAttempt(
            task_id=task.task_id,
            attempt=int(task.attempt_number),
            name=task.name,
            worker_id=task.worker_id,
            state=task.state if task.state in _ENDS.values() else None,
        )
        for task in tasks
    ]
