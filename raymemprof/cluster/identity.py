"""Which node, worker, task and actor this process runs for Ray, and where that node's logs are.

Nothing here imports Ray: a process that has not imported it is not in a cluster.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "ProcessIdentity",
    "TaskIdentity",
    "address",
    "gcs_address",
    "here",
    "ip_address",
    "is_connected",
    "job_id",
    "logs_directory",
    "process_identity",
    "ray_version",
    "ray_worker",
    "task_identity",
    "task_name",
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


def is_connected() -> bool:
    """Whether this process is connected to a cluster: as driver, worker, or through Ray Client."""
    ray = sys.modules.get("ray")
    return bool(ray is not None and getattr(ray, "is_initialized", bool)())


def ray_version() -> str | None:
    """Return the version of Ray that this process has imported; None where it has not."""
    version = getattr(sys.modules.get("ray"), "__version__", None)
    return None if version is None else str(version)


def ray_worker() -> Any:
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
    if ray_worker() is None:
        return ProcessIdentity()
    context = sys.modules["ray"].get_runtime_context()
    return ProcessIdentity(node_id=context.get_node_id(), worker_id=context.get_worker_id())


def task_identity() -> TaskIdentity:
    """Return the ids of the task that this thread, or this coroutine, runs for Ray. About 2 microseconds."""
    worker = ray_worker()
    if worker is None:
        return _NO_TASK
    try:
        core = worker.core_worker
        task, actor = core.get_current_task_id(), core.get_actor_id()
        job = core.get_current_job_id().binary().hex()  # their own `hex` takes three times as long
        if worker.mode != _WORKER_MODE or task.is_nil():  # a driver's own task is no task
            return TaskIdentity(job_id=job)
        attempt = core.get_current_task_attempt_number()
        return TaskIdentity(task.binary().hex(), attempt, None if actor.is_nil() else actor.binary().hex(), job)
    except AttributeError:  # the public way round, which is slower and does not tell attempts apart
        context = sys.modules["ray"].get_runtime_context()
        return TaskIdentity(context.get_task_id(), None, context.get_actor_id(), context.get_job_id())


def task_name() -> str | None:
    """Return the name of the task that this thread runs, which `.options(name=...)` may have given it."""
    if ray_worker() is None:
        return None
    context = sys.modules["ray"].get_runtime_context()
    return context.get_task_name() or None


def job_id() -> str:
    """Return the id of the job that this process is connected for, also through Ray Client."""
    return str(sys.modules["ray"].get_runtime_context().get_job_id())


def here() -> str | None:
    """Return the id of the node that this process runs on; None where it is none of the cluster's, as Ray Client's."""
    return process_identity().node_id


def ip_address() -> str:
    """Return the IP address by which the cluster knows the node that this process runs on."""
    return str(sys.modules["ray"].util.get_node_ip_address())


def gcs_address() -> str | None:
    """Return host and port of the cluster's GCS; None through Ray Client, which does not say."""
    if ray_worker() is None:
        return None
    return str(sys.modules["ray"].get_runtime_context().gcs_address)


def address() -> str:
    """Return the address of the cluster that this process is connected to, as far as it is known."""
    return gcs_address() or "the address that was given"


def logs_directory() -> Path | None:
    """Return the log directory of the node that this process runs on, or None outside a cluster."""
    worker = ray_worker()
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
