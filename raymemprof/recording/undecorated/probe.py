"""Asks one worker of a job whether the switch reached it, and tells the driver where it did not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ... import cluster
from .. import warn

__all__ = ["look"]

_seen: set[str] = set()
"""The jobs and runtime environments that were looked at."""


def look(runtime_env: Mapping[str, Any] | None = None) -> None:
    """Look, without waiting, whether workers with this runtime environment, or the job's, record; else say why.

    Each is looked at once, by the driver. What keeps the worker from starting is not told: the user's own tasks do.
    """
    if not cluster.is_driver():
        return
    one = f"{cluster.job_id()} {runtime_env!r}"
    if one not in _seen:
        _seen.add(one)
        cluster.try_in_job(cluster.by_value(_problem_there), runtime_env, _tell)


def _tell(problem: object) -> None:
    if problem is not None:
        warn.once(f"probe {problem}", f"tasks and actors that are not decorated are not recorded: {problem}.")


def _problem_there() -> object:
    try:
        from raymemprof.recording.undecorated import record_all
    except Exception as error:
        return f"raymemprof cannot be imported on a worker ({error}); install it in the workers' environment"
    return record_all.problem()
