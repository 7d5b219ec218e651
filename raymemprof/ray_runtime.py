"""The one place that touches Ray's private interfaces, each with its public fallback.

Nothing here imports Ray: a process that has not imported it is not in a cluster.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "ProcessIdentity",
    "TaskIdentity",
    "is_intended_exit",
    "is_running",
    "logs_directory",
    "original_actor_class",
    "original_function",
    "process_identity",
    "remote_kind",
    "remote_options",
    "session_roots",
    "task_identity",
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


def remote_options(remote: Any) -> dict[str, Any]:
    """Return the options that `@ray.remote(...)` was given."""
    return dict(getattr(remote, "_default_options", None) or {})
