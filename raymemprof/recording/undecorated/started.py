"""The switch for a while: for the tasks and actors that this process starts meanwhile, and for no others of its job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from ... import cluster
from .. import warn
from ..classes import records_all
from ..options import Options
from ..outcome import describe
from ..safety import interruptions
from . import probe, shipped_texts
from .named import is_recorded_below
from .rays_own import is_rays
from .runtime_env import variables
from .selection import SWITCH

__all__ = ["record_started"]


def record_started(options: Options) -> AbstractContextManager[None]:
    """Have the tasks and actors that any thread of this process starts meanwhile recorded as if they were decorated.

    They get the switch in their runtime environment. So what they start is recorded too, and actors are recorded for as
    long as they live. What is decorated, and Ray's own detached actors, are left as they are.
    """
    return cluster.around_submissions(_Started(options).submitted)


class _Started:
    """Has what is started recorded. Never raises of its own accord."""

    def __init__(self, options: Options) -> None:
        self._variables = variables(options)
        self._of_job: Mapping[str, Any] | None = None
        self._looked_at: list[Mapping[str, Any]] = []

    @contextlib.contextmanager
    def submitted(self, submission: cluster.Submission) -> Iterator[Mapping[str, Any] | None]:
        """Give the runtime environment in which something is recorded; None where it is to stay as it is."""
        runtime_env = None
        texts: AbstractContextManager[None] = contextlib.nullcontext()
        try:
            runtime_env = self._environment(submission)
            if runtime_env is not None and not submission.is_exported:
                texts = shipped_texts.attached(submission.target)
        except Exception as error:
            if interruptions.is_users(error):
                raise
            warn.once("started", f"something that is not decorated is not recorded: {describe(error)}")
        with texts:
            yield runtime_env

    def _environment(self, submission: cluster.Submission) -> Mapping[str, Any] | None:
        target = submission.target
        known = cluster.class_before_ray(target) or target
        given = submission.runtime_env.get("env_vars") or {}
        if SWITCH in given or SWITCH in self._variables_of_job() or _is_recorded(target, known):
            return None
        is_ours = any(map(cluster.is_ours, (known.__qualname__, f"{known.__module__}.{known.__qualname__}")))
        if is_ours or (submission.is_detached and is_rays(known.__module__)):
            return None
        self._look({**submission.runtime_env, "env_vars": self._variables})
        return {**submission.runtime_env, "env_vars": {**given, **self._variables}}

    def _look(self, runtime_env: Mapping[str, Any]) -> None:
        """Look whether workers record. Variables of a task's own make no difference, and many tasks may have many."""
        if runtime_env not in self._looked_at and cluster.is_connected():
            self._looked_at.append(runtime_env)
            probe.look(runtime_env)

    def _variables_of_job(self) -> Mapping[str, Any]:
        """Return the `env_vars` of the job, which may have the switch itself: on, or off."""
        if self._of_job is None and cluster.is_connected():
            self._of_job = cluster.job_environment().get("env_vars") or {}
        return self._of_job or {}  # Ray connects when the first task is submitted


def _is_recorded(target: Any, known: Any) -> bool:
    return records_all(target, known) if isinstance(target, type) else is_recorded_below(target)
