"""The cluster, and the only door to Ray: nothing outside this package imports Ray or looks for it.

It tells what runs here and which nodes there are, runs functions on them, and reads what Ray knows.
"""

from .ask import LIMIT, LOOK, Answers, NoAnswerError, answer, ask, ended, on_each_node, on_nodes
from .connect import Connection, connect, disconnect, locate
from .environments import DRIVING, around_init, before_shutdown, given_to_job, job_environment, try_in_job
from .exceptions import KILLED, is_intended_exit, task_of
from .identity import (
    ProcessIdentity,
    TaskIdentity,
    address,
    gcs_address,
    here,
    ip_address,
    is_connected,
    job_id,
    logs_directory,
    process_identity,
    ray_version,
    task_identity,
    task_name,
)
from .loading import MODULE as LOADING
from .loading import pass_through, unknown_names
from .metrics import counter, histogram, metrics_address
from .nodes import MissingNode, Node, missing, nodes
from .remote_objects import (
    actor_class,
    is_exported,
    original_actor_class,
    original_function,
    remote_kind,
    remote_like,
)
from .state import (
    NodeStats,
    ObjectReferences,
    RegisteredProcess,
    TaskAttempt,
    attempts,
    kill_threshold,
    living_jobs,
    node_stats,
    references,
    running_tasks,
    tasks_killed_for_memory,
)

__all__ = [
    "DRIVING",
    "KILLED",
    "LIMIT",
    "LOADING",
    "LOOK",
    "Answers",
    "Connection",
    "MissingNode",
    "NoAnswerError",
    "Node",
    "NodeStats",
    "ObjectReferences",
    "ProcessIdentity",
    "RegisteredProcess",
    "TaskAttempt",
    "TaskIdentity",
    "actor_class",
    "address",
    "answer",
    "around_init",
    "ask",
    "attempts",
    "before_shutdown",
    "connect",
    "counter",
    "disconnect",
    "ended",
    "gcs_address",
    "given_to_job",
    "here",
    "histogram",
    "ip_address",
    "is_connected",
    "is_exported",
    "is_intended_exit",
    "job_environment",
    "job_id",
    "kill_threshold",
    "living_jobs",
    "locate",
    "logs_directory",
    "metrics_address",
    "missing",
    "node_stats",
    "nodes",
    "on_each_node",
    "on_nodes",
    "original_actor_class",
    "original_function",
    "pass_through",
    "process_identity",
    "ray_version",
    "references",
    "remote_kind",
    "remote_like",
    "running_tasks",
    "task_identity",
    "task_name",
    "task_of",
    "tasks_killed_for_memory",
    "try_in_job",
    "unknown_names",
]
