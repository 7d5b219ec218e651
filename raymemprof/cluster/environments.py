"""The runtime environment of the job that this process drives: have a say in it, and learn what became of it."""

from __future__ import annotations

import copy
import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import wrapt

from .identity import is_connected, ray_worker

__all__ = [
    "DRIVING",
    "around_init",
    "before_shutdown",
    "given_to_job",
    "is_driver",
    "job_environment",
    "try_in_job",
]

DRIVING = "ray._private.worker"
"""The module whose functions connect a driver."""
_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The variable in which `ray job submit` gives the driver its job's runtime environment."""
_SCRIPT_MODE = 0


def given_to_job() -> Mapping[str, Any]:
    """Return the runtime environment that the job was submitted with; nothing where it was not submitted.

    The driver must not set the same again: Ray refuses that, also where both are equal.
    """
    try:
        return dict(json.loads(os.environ.get(_SUBMITTED, "{}")).get("runtime_env") or {})
    except (ValueError, AttributeError, TypeError):
        return {}


def is_driver() -> bool:
    """Whether this process drives a job itself, and not through Ray Client."""
    worker = ray_worker()
    return worker is not None and worker.mode == _SCRIPT_MODE


def job_environment() -> Mapping[str, Any]:
    """Return the runtime environment of the job that this process is connected for."""
    return dict(sys.modules["ray"].get_runtime_context().runtime_env or {})


def around_init(change: Callable[[Mapping[str, Any], bool], Mapping[str, Any]], after: Callable[[], None]) -> None:
    """Have `ray.init` use the runtime environment that `change` makes of the one it is given, and call `after` it.

    `change` is told whether the connection is through Ray Client. Neither function may raise. If Ray is not imported
    yet, this takes effect when it is. What Ray itself connects, its dashboard for example, is left alone.
    """

    def init(wrapped: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("_skip_env_hook") or is_connected():
            return wrapped(*args, **kwargs)
        address = args[0] if args else kwargs.get("address") or os.environ.get("RAY_ADDRESS")
        config = kwargs.get("job_config")
        given = kwargs.get("runtime_env")
        if not given and config is not None and config.runtime_env:
            changed = change(config.runtime_env, "://" in str(address))
            if changed is not config.runtime_env:
                kwargs["job_config"] = copy.copy(config)
                kwargs["job_config"].set_runtime_env(changed)
        else:
            changed = change(given or {}, "://" in str(address))
            if changed:
                kwargs["runtime_env"] = changed
        connected = wrapped(*args, **kwargs)
        after()
        return connected

    _wrap("init", init)


def before_shutdown(callback: Callable[[], None]) -> None:
    """Have `callback` called before `ray.shutdown` disconnects this process. It may not raise."""

    def shutdown(wrapped: Any, *args: Any, **kwargs: Any) -> Any:
        callback()
        return wrapped(*args, **kwargs)

    _wrap("shutdown", shutdown)


def _wrap(name: str, wrapper: Callable[..., Any]) -> None:
    """Wrap a function of Ray's where it is defined, as soon as it is, and where `import ray` has taken it from.

    What takes its place is a function of the same name and module: code that names it is still pickled.
    """

    def wrap(module: Any) -> None:
        ray, plain = sys.modules["ray"], getattr(module, name)
        made = _function(plain, wrapper)
        setattr(module, name, made)
        if getattr(ray, name, None) is plain:
            setattr(ray, name, made)

    wrapt.register_post_import_hook(wrap, DRIVING)


def _function(plain: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def made(*args: Any, **kwargs: Any) -> Any:
        return wrapper(plain, *args, **kwargs)

    return made


def try_in_job(function: Callable[[], Any], runtime_env: Mapping[str, Any] | None, then: Callable[[Any], None]) -> None:
    """Run a function in one worker with this runtime environment, or the job's, and call `then` with what it returns.

    Does not wait for it. `then` is not called where the task fails. The function is sent whole, so the worker need not
    have this package.
    """
    import ray

    options = {"runtime_env": dict(runtime_env)} if runtime_env is not None else {}
    task = ray.remote(function).options(name="raymemprof.is_recorded", num_cpus=0, max_retries=0, **options)

    def done(future: Any) -> None:
        if not future.cancelled() and future.exception() is None:
            then(future.result())

    task.remote().future().add_done_callback(done)
