"""The runtime environment of the job that this process drives: have a say in it, and learn what became of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import wrapt

__all__ = ["DRIVING", "around_init", "before_shutdown", "given_to_job", "job_environment", "try_in_job"]

DRIVING = "ray._private.worker"
"""The module whose functions connect a driver."""
_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The variable in which `ray job submit` gives the driver its job's runtime environment."""


def given_to_job() -> Mapping[str, str]:
    """Return the `env_vars` of the job as it was submitted; nothing where this process was started by hand.

    The driver must not set these again: Ray refuses that, also where they are equal.
    """
    try:
        given = json.loads(os.environ.get(_SUBMITTED, "{}")).get("runtime_env") or {}
        return dict(given.get("env_vars") or {})
    except (ValueError, AttributeError, TypeError):
        return {}


def job_environment() -> Mapping[str, Any]:
    """Return the runtime environment of the job that this process is connected for."""
    return dict(sys.modules["ray"].get_runtime_context().runtime_env or {})


def around_init(
    change: Callable[[Mapping[str, Any] | None], Mapping[str, Any] | None], after: Callable[[], None]
) -> None:
    """Have `ray.init` use the runtime environment that `change` makes of the one it is given, and call `after` it.

    It is so once Ray is imported; where it is already, from now on. Neither may raise.
    """

    def init(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        config = kwargs.get("job_config")
        given = kwargs.get("runtime_env")
        if given is None and config is not None and config.runtime_env:
            changed = change(config.runtime_env)
            if changed is not config.runtime_env:
                config.set_runtime_env(changed)
        else:
            changed = change(given)
            if changed is not given:
                kwargs = {**kwargs, "runtime_env": changed}
        connected = wrapped(*args, **kwargs)
        after()
        return connected

    _wrap("init", init)


def before_shutdown(callback: Callable[[], None]) -> None:
    """Have `callback` called before `ray.shutdown` disconnects this process. It may not raise."""

    def shutdown(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        callback()
        return wrapped(*args, **kwargs)

    _wrap("shutdown", shutdown)


def _wrap(name: str, wrapper: Callable[..., Any]) -> None:
    """Wrap a function of Ray's where it is defined, as soon as it is, and where `import ray` has taken it from."""

    def wrap(module: Any) -> None:
        ray, plain = sys.modules["ray"], getattr(module, name)
        wrapt.wrap_function_wrapper(module, name, wrapper)
        if getattr(ray, name, None) is plain:
            setattr(ray, name, getattr(module, name))

    wrapt.register_post_import_hook(wrap, DRIVING)


def try_in_job(function: Callable[[], Any], runtime_env: Mapping[str, Any] | None, seconds: float) -> Any:
    """Run a function in one worker with this runtime environment, or the job's, and return what it returns.

    Raises whatever Ray does. The function is sent whole, so the worker need not have this package.
    """
    import ray

    options = {"runtime_env": dict(runtime_env)} if runtime_env is not None else {}
    task = ray.remote(function).options(name="raymemprof.is_recorded", num_cpus=0, max_retries=0, **options)
    return ray.get(task.remote(), timeout=seconds)
