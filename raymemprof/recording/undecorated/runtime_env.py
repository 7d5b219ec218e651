"""`runtime_env`: the switch, as a runtime environment of Ray's."""

from __future__ import annotations

import functools
import os
import site
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ... import cluster
from ...display.refusals import short_traceback
from .. import warn
from ..options import PREFIX, Options
from ..outcome import describe
from . import probe, shipped_texts
from .selection import EXCLUDE, INCLUDE, SWITCH, is_on, patterns

__all__ = ["record_job", "record_job_as_environment_says", "runtime_env", "variables"]

_HOOK = "worker_process_setup_hook"


@short_traceback
def runtime_env(
    base: Mapping[str, Any] | None = None,
    *,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    **options: Any,
) -> dict[str, Any]:
    """Return a runtime environment in which every task and actor call is recorded as if it were decorated.

    Use it with `ray.init(runtime_env=...)`, `ray job submit --runtime-env-json`, Serve, and single tasks and actors.
    raymemprof must be installed on the workers. If they do not record, the job runs as it would without raymemprof, and
    the driver logs the reason once. If raymemprof is shipped with `py_modules`, or is not installed with pip here,
    `ray.init` also gets a `worker_process_setup_hook`.

    Decorated functions are recorded once, with their own options. Tasks of Ray Data are named after their operator.
    Ray's own actors (controllers, proxies, counters) are not recorded.

    Args:
        base: the job's own runtime environment. Everything in it is kept, including its setup hook.
        include: record only functions whose full name (`package.module.Class.method`) or name matches this pattern, or
            one of several; `*` stands for anything.
        exclude: leave out functions that match.
        **options: those of `profile_memory`, such as `heap=False` or `every=10`. They also apply to decorated functions
            that do not set them in code.

    Returns:
        A new dictionary: `base`, with variables in its `env_vars`.

    Raises:
        TypeError: an unknown option, or a `base` that is not a runtime environment.
        ValueError: a value that makes no sense.

    Example:
        >>> import raymemprof
        >>> env = raymemprof.runtime_env({"env_vars": {"MODE": "fast"}}, exclude="pkg.small_*", heap=False)
        >>> sorted(env["env_vars"])
        ['MODE', 'RAYMEMPROF_EXCLUDE', 'RAYMEMPROF_HEAP', 'RAYMEMPROF_RECORD_ALL']
    """
    if base is not None and not isinstance(base, Mapping):
        raise TypeError(f"runtime_env({base!r}): the runtime environment must be a dictionary, as Ray takes it.")
    chosen = _variables(include, exclude, options)
    if SWITCH not in chosen:
        return dict(base or {})
    made = _with(chosen, base or {}, _submitted_variables())
    if cluster.is_connected():
        shipped_texts.take_along()
        probe.look(made)
    else:
        _watch_init()
    return made


def record_job(include: str | Sequence[str] = (), exclude: str | Sequence[str] = (), **options: Any) -> str | None:
    """Have the jobs that this process will drive recorded, whatever runtime environment they ask for.

    Options that are not given are those of this process's own variables. Returns the folder to record to, if one is
    named. Raises what `runtime_env` does.
    """
    chosen = _variables(include, exclude, options)
    record_job_as_environment_says()
    _of_job.update(chosen)
    return _of_job.get(f"{PREFIX}DIRECTORY")


def record_job_as_environment_says() -> None:
    """Have the jobs that this process will drive recorded, with the options that its own variables name."""
    _of_job.update({name: value for name, value in os.environ.items() if name.startswith(PREFIX)})
    _watch_init()


_of_job: dict[str, str] = {}
"""The variables that the jobs of this process get, whatever they ask for."""


@functools.cache
def _watch_init() -> None:
    """Turn the switch on when this process connects, and look whether it reached the workers."""
    cluster.around_init(_of_connection, _look_at_job)
    shipped_texts.take_along()


def _of_connection(given: Mapping[str, Any], is_client: bool) -> Mapping[str, Any]:
    """Return what `ray.init` is to use as runtime environment. Never raises of its own accord."""
    try:
        made = _with({**_of_job, **_variables_of(given)}, given, _submitted_variables()) if _of_job else given
        is_on_there = is_on({**_submitted_variables(), **_variables_of(made)})
        is_wanting = _is_shipped(made) or not _is_installed()
        if is_on_there and is_wanting and not is_client and _HOOK not in cluster.given_to_job():
            made = {**made, _HOOK: _hook(made.get(_HOOK))}
        return made
    except Exception as error:
        warn.once("switch", f"what is not decorated is not recorded: {describe(error)}")
        return given


def _variables(
    include: str | Sequence[str], exclude: str | Sequence[str], options: Mapping[str, Any]
) -> dict[str, str]:
    """Return the variables that say all this to workers; none where nothing is to be recorded."""
    checked = Options.checked(options, "runtime_env")
    chosen = {INCLUDE: ",".join(patterns("include", include)), EXCLUDE: ",".join(patterns("exclude", exclude))}
    if checked.enabled is False:
        return {}
    return {**variables(checked), **{name: text for name, text in chosen.items() if text}}


def variables(options: Options) -> dict[str, str]:
    """Return the variables that turn the switch on in a worker, with these options."""
    given = {PREFIX + name.upper(): str(value) for name, value in asdict(options).items() if value is not None}
    return {SWITCH: "1", **given}


def _with(added: Mapping[str, str], base: Mapping[str, Any], submitted: Mapping[str, str]) -> dict[str, Any]:
    """Return a runtime environment with these variables; with its own, where the submitted job has the switch."""
    if SWITCH in submitted and not cluster.is_connected():
        return dict(base)
    return {**base, "env_vars": {**_variables_of(base), **added}}


def _variables_of(runtime_env: Mapping[str, Any]) -> Mapping[str, str]:
    return runtime_env.get("env_vars") or {}


def _submitted_variables() -> Mapping[str, str]:
    return _variables_of(cluster.given_to_job())


def _look_at_job() -> None:
    """Look at the job that this process was connected for, if the switch is on for it. Never raises."""
    try:
        if cluster.is_driver() and is_on(_variables_of(cluster.job_environment())):
            probe.look()
    except Exception as error:
        warn.once("switch", f"whether workers record what is not decorated is not known: {describe(error)}")


def _is_installed() -> bool:
    """Whether Python reads `raymemprof.pth` here when it starts, and so, most likely, on the workers."""
    folders = {sysconfig.get_path("purelib"), *site.getsitepackages()}
    if site.ENABLE_USER_SITE:
        folders.add(site.getusersitepackages())
    return any(Path(folder, "raymemprof.pth").is_file() for folder in folders)


def _is_shipped(runtime_env: Mapping[str, Any]) -> bool:
    """Whether raymemprof comes to the workers as a module, which Python does not find when it starts."""
    modules = [str(getattr(one, "__name__", one)) for one in runtime_env.get("py_modules") or ()]
    return any(os.path.basename(one).startswith("raymemprof") for one in modules)


def _hook(theirs: Callable[[], None] | str | None) -> Callable[[], None]:
    """Return a hook that turns the switch on, and then does what the user's hook does."""

    def raymemprof_hook(theirs: Any = theirs) -> None:
        import contextlib
        import importlib

        with contextlib.suppress(Exception):  # the driver asks whether it worked, and says so
            switch = importlib.import_module("raymemprof.recording.undecorated.record_all")
            switch.arm()
        if isinstance(theirs, str):
            module, _, name = theirs.rpartition(".")
            theirs = getattr(importlib.import_module(module), name)
        if theirs is not None:
            theirs()

    return cluster.by_value(raymemprof_hook)
