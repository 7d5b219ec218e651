"""The one place that touches Ray's private interfaces, each with its public fallback.

Nothing here imports Ray: a process that has not imported it is not in a cluster.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from . import local_clusters
from .journal import open_plain

__all__ = [
    "NodeStats",
    "ProcessIdentity",
    "RegisteredProcess",
    "TaskAttempt",
    "TaskIdentity",
    "actor_class",
    "address_here",
    "attempts",
    "gcs_address",
    "is_exported",
    "is_intended_exit",
    "is_running",
    "kill_threshold",
    "living_jobs",
    "logs_directory",
    "node_stats",
    "original_actor_class",
    "original_function",
    "print_nothing",
    "process_identity",
    "remote_kind",
    "remote_options",
    "running_tasks",
    "session_roots",
    "task_identity",
    "task_of",
    "tasks_killed_for_memory",
]


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Who this process is in Ray; None for what it is not."""

    node_id: str | None = None
    worker_id: str | None = None


class TaskIdentity(NamedTuple):
    """What Ray runs on this thread; None where it runs nothing (a driver, a thread of the user's)."""

    task_id: str | None = None
    attempt: int | None = None
    actor_id: str | None = None
    job_id: str | None = None


_NO_TASK = TaskIdentity()
_WORKER_MODE = 1


def _worker() -> Any:
    """Return Ray's worker of this process if it is connected to a cluster, else None."""
    ray = sys.modules.get("ray")
    if ray is None:
        return None
    try:
        worker = ray._private.worker.global_worker
        return worker if worker.connected and hasattr(worker, "core_worker") else None
    except AttributeError:
        return None


def process_identity() -> ProcessIdentity:
    """Return the ids that hold for the whole process."""
    if _worker() is None:
        return ProcessIdentity()
    context = sys.modules["ray"].get_runtime_context()
    return ProcessIdentity(node_id=context.get_node_id(), worker_id=context.get_worker_id())


def task_identity() -> TaskIdentity:
    """Return the ids of the task that this thread, or this coroutine, runs for Ray. About 2 microseconds."""
    worker = _worker()
    if worker is None:
        return _NO_TASK
    try:
        core = worker.core_worker
        task, actor, job = core.get_current_task_id(), core.get_actor_id(), core.get_current_job_id()
        if worker.mode != _WORKER_MODE or task.is_nil():  # a driver's own task is no task
            return TaskIdentity(job_id=job.hex())
        attempt = core.get_current_task_attempt_number()
        return TaskIdentity(task.hex(), attempt, None if actor.is_nil() else actor.hex(), job.hex())
    except AttributeError:  # the public way round, which is slower and does not tell attempts apart
        context = sys.modules["ray"].get_runtime_context()
        return TaskIdentity(context.get_task_id(), None, context.get_actor_id(), context.get_job_id())


def logs_directory() -> Path | None:
    """Return the log directory of the node that this process runs on, or None outside a cluster."""
    worker = _worker()
    if worker is None:
        return None
    try:
        return Path(worker.node.get_logs_dir_path())
    except AttributeError:  # the public way round: where the session is, by name
        context = sys.modules["ray"].get_runtime_context()
        try:
            return Path(context.get_temp_dir(), context.get_session_name(), "logs")
        except AttributeError:
            return None


def session_roots() -> list[Path]:
    """Return the folders on this machine under which Ray keeps its sessions."""
    roots = [os.environ.get("RAY_TMPDIR"), "/tmp", tempfile.gettempdir()]
    found: dict[Path, None] = {}
    for root in roots:
        if root:
            found.setdefault(Path(root, "ray"), None)
    return list(found)


def address_here() -> tuple[str, tuple[local_clusters.LocalCluster, ...]]:
    """Return the address of the cluster that Ray means by "auto", and the others that run on this machine.

    That is the one which `RAY_ADDRESS` names, else the one that was started last: with `ray start`, as far as any was
    that still runs. Raises `ConnectionError` where none runs here.
    """
    set_by_user = os.environ.get("RAY_ADDRESS", "auto")
    if set_by_user not in ("", "auto"):
        return set_by_user, ()
    services = importlib.import_module("ray._private.services")
    with _silent_logger(services.logger):  # who asked is told of the others by us
        address = str(services.canonicalize_bootstrap_address_or_die("auto"))
        started = services.find_bootstrap_address(None)
    running = local_clusters.running()
    meant = next((cluster for cluster in running if started and cluster.is_at(started)), next(iter(running), None))
    if meant is None:  # its raylet cannot be seen from here
        return address, ()
    return meant.address, tuple(cluster for cluster in running if cluster is not meant)


@contextlib.contextmanager
def _silent_logger(logger: logging.Logger) -> Iterator[None]:
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def is_running(session: Path) -> bool:
    """Whether a session's raylet answers on this machine."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(session / "sockets" / "raylet"))
        except OSError:
            return False
        return True


def is_intended_exit(error: BaseException) -> bool:
    """Whether an exception is `ray.actor.exit_actor()` on its way out, which is no failure."""
    if type(error).__name__ == "AsyncioActorExit":
        return True
    return isinstance(error, SystemExit) and "exit_actor" in str(getattr(error, "ray_terminate_msg", error))


def remote_kind(target: object) -> str | None:
    """Return "function" for what `@ray.remote` made of a function, "class" for what it made of a class, else None."""
    if "ray" not in sys.modules:
        return None
    name = type(target).__name__
    if name == "RemoteFunction" and hasattr(target, "_function"):
        return "function"
    if hasattr(target, "__ray_metadata__") and hasattr(target, "remote") and not isinstance(target, type):
        return "class"
    return None


def original_function(remote: Any) -> Any:
    """Return the function that `@ray.remote` was put on."""
    return remote._function


def original_actor_class(remote: Any) -> type:
    """Return the class that `@ray.remote` was put on."""
    modified = remote.__ray_metadata__.modified_class
    return getattr(modified, "__ray_actor_class__", modified)  # type: ignore[no-any-return]


def actor_class(remote: Any) -> type:
    """Return the class that Ray derived from it, of which actors are made."""
    return remote.__ray_metadata__.modified_class  # type: ignore[no-any-return]


def is_exported(remote: Any) -> bool:
    """Whether workers may have an actor class already; True where Ray does not say."""
    return getattr(remote.__ray_metadata__, "last_export_cluster_and_job", "unknown") is not None


def remote_options(remote: Any) -> dict[str, Any]:
    """Return the options that `@ray.remote(...)` was given."""
    return dict(getattr(remote, "_default_options", None) or {})


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
        request = _generated("node_manager_pb2").GetNodeStatsRequest(include_memory_info=False)
        with _channel(_raylet_address(node_id)) as channel:
            stub = _generated("node_manager_pb2_grpc").NodeManagerServiceStub(channel)
            reply = stub.GetNodeStats(request, timeout=limit)
        store = reply.store_stats
        return NodeStats(
            processes=tuple(
                RegisteredProcess(
                    pid=process.pid,
                    kind=_KINDS.get(process.worker_type, "worker"),
                    worker_id=_hex(process.worker_id),
                    actor_id=_hex(process.actor_id),
                    job_id=_hex(process.job_id),
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
    if _worker() is None:
        return {}
    with contextlib.suppress(Exception):
        memory = _generated("common_pb2").OUT_OF_MEMORY
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
    if _worker() is None:
        return None
    with contextlib.suppress(Exception):
        filters = _generated("gcs_service_pb2").GetTaskEventsRequest.Filters()
        wanted = filters.task_filters.add()
        wanted.predicate, wanted.task_id = 0, bytes.fromhex(task_id)
        return sorted(map(_attempt, _events_in_gcs(filters, limit)), key=lambda attempt: attempt.attempt)
    with contextlib.suppress(Exception):
        return sorted(_listed("task_id", task_id, limit), key=lambda attempt: attempt.attempt)
    return None


def _by_worker(found: Iterable[TaskAttempt]) -> dict[str, TaskAttempt]:
    return {attempt.worker_id: attempt for attempt in found if attempt.worker_id}


def _in_state(state: str) -> Any:
    filters = _generated("gcs_service_pb2").GetTaskEventsRequest.Filters(exclude_driver=True)
    wanted = filters.state_filters.add()
    wanted.predicate, wanted.state = 0, state
    return filters


def _events_in_gcs(filters: Any, limit: float) -> Any:
    request = _generated("gcs_service_pb2").GetTaskEventsRequest(limit=_MOST_TASKS, filters=filters)
    with _channel(gcs_address()) as channel:
        stub = _generated("gcs_service_pb2_grpc").TaskInfoGcsServiceStub(channel)
        return stub.GetTaskEvents(request, timeout=limit).events_by_task


def _attempt(task: Any) -> TaskAttempt:
    said = task.state_updates
    state = next((name for number, name in _ENDS.items() if number in said.state_ts_ns), None)
    return TaskAttempt(
        task.task_id.hex(), task.attempt_number, task.task_info.name, _hex(said.worker_id) or None, state
    )


def _listed(key: str, value: str, limit: float) -> list[TaskAttempt]:
    """What the State API lists; raises where there is no dashboard."""
    if not _worker().node.webui_url:
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


def task_of(error: BaseException) -> str | None:
    """Return the task whose result `ray.get` raised this error in place of; None where nobody can tell any more.

    A `WorkerCrashedError` does not say; the frame that raised it still holds what was asked for, and what came.
    """
    trace = error.__traceback__
    while trace is not None:
        names = trace.tb_frame.f_locals if trace.tb_frame.f_code.co_name in ("get", "get_objects") else {}
        with contextlib.suppress(Exception):
            for reference, value in zip(names["object_refs"], names["values"], strict=True):
                if value is error:
                    return str(reference.task_id().hex())
        trace = trace.tb_next
    return None


def print_nothing() -> None:
    """Keep Ray from printing what its nodes have to say, a node's death say, between what a command prints.

    `log_to_driver=False` does not. Where Ray has no such switch any more, it prints.
    """
    worker = sys.modules["ray"]._private.worker
    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = False


def gcs_address() -> str | None:
    """Return host and port of the cluster's GCS; None through Ray Client, which does not say."""
    if _worker() is None:
        return None
    return str(sys.modules["ray"].get_runtime_context().gcs_address)


def kill_threshold(log: Path, pid: int) -> tuple[bool, int | None]:
    """Return whether a raylet's log says above how many bytes in use it kills, and what it says: None for never."""
    for path in (log.with_name(f"{log.name}.1"), log):
        with contextlib.suppress(OSError), open(open_plain(path, follow=True), "rb") as file:
            for found in _THRESHOLD.finditer(file.read(_LOG_HEAD)):
                if int(found[1]) == pid:
                    return True, None if found[2] is None else int(found[2])
    return False, None


def _raylet_address(node_id: str) -> str:
    try:
        node = _worker().node
        return f"{node.node_ip_address}:{int(node.node_manager_port)}"
    except (AttributeError, TypeError, ValueError):
        (found,) = (node for node in sys.modules["ray"].nodes() if node["NodeID"] == node_id)
        return f"{found['NodeManagerAddress']}:{found['NodeManagerPort']}"


def _generated(name: str) -> Any:
    """Import a module of Ray's protocol, which has no types."""
    return importlib.import_module(f"ray.core.generated.{name}")


@contextlib.contextmanager
def _channel(address: str | None) -> Iterator[Any]:
    try:
        utilities = importlib.import_module("ray._private.grpc_utils")
    except ImportError:  # Ray 2.49
        utilities = importlib.import_module("ray._private.utils")
    channel = utilities.init_grpc_channel(address, options=[("grpc.max_receive_message_length", -1)])
    try:
        yield channel
    finally:
        channel.close()


def _hex(value: bytes) -> str | None:
    """Write an id as Ray shows it; None for one that is nil."""
    return value.hex() if value.strip(b"\xff") else None
