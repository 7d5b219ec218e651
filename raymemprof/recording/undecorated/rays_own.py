"""Which of Ray's own functions and actors run the user's code, and what their calls are named after.

All else that is Ray's is a part of Ray: controllers, proxies, counters, job supervisors. It is not recorded.
Serve, Train and Tune run the user's code beside the calls of their actors: `users_code.py` has that recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from ... import cluster

__all__ = ["Naming", "is_rays", "known_class", "method_names", "naming", "own_name", "runs_user_code"]

Naming: TypeAlias = Callable[[tuple[Any, ...]], "str | None"]
"""Returns what to name a call after, from its arguments; None for the function's own name."""


def own_name(arguments: tuple[Any, ...]) -> str | None:
    """Most are shown by their own name."""
    return None


def _task_name(arguments: tuple[Any, ...]) -> str | None:
    """Ray Data names its tasks after the operator: `ReadParquet->MapBatches(widen)`."""
    return cluster.task_name()


def _map_worker(arguments: tuple[Any, ...]) -> str | None:
    """An actor of Ray Data's knows the operator that it works for."""
    name = getattr(arguments[0], "src_fn_name", None) if arguments else None
    return name if isinstance(name, str) else None


_RUN_USER_CODE: tuple[tuple[str, Naming], ...] = (
    ("ray.data.*.actor_pool_map_operator.*.submit", _map_worker),
    ("ray.data.*.actor_pool_map_operator.*.__init__", own_name),
    ("ray.data.*Aggregator*", own_name),
    ("ray.data.*Shuffle*Actor.*", own_name),
    ("ray.data.*.FooterReader.*", own_name),
    ("ray.rllib.*", own_name),
    ("ray.util.multiprocessing.pool.PoolActor.*", own_name),
    ("ray.util.actor_group.*", own_name),
    ("ray.util.dask.*", _task_name),
)
_TASKS_RUN_USER_CODE: tuple[tuple[str, Naming], ...] = (("ray.data.*", _task_name),)
_DERIVE = ("ray.tune.trainable.util", "ray.train._internal.worker_group")
"""Modules that derive classes of others: `tune.with_resources` and `tune.with_parameters`; workers of a group."""
_BESIDE_USER_CODE: tuple[tuple[str, Naming], ...] = (
    ("ray.serve._private.replica.*.handle_request*", own_name),
    ("ray.serve._private.replica.*.reconfigure", own_name),
    ("ray.train._internal.worker_group.RayTrainWorker.*", own_name),
    ("ray.train.v2._internal.execution.worker_group.worker.RayTrainWorker.*", own_name),
    ("ray.tune.trainable.*", own_name),
)
"""Methods beside which the user's code runs: an actor that runs already is recorded by these, its methods."""
_SAMPLES = ("handle_request", "submit", "method")
"""Names of methods: what one of the patterns has in a class says that it runs the user's code."""
_RAYS = ("ray", "raymemprof")
"""Packages."""


def known_class(cls: type) -> type:
    """Return the class that one knows an actor by: of which Tune, or Train for RLlib's learners, derived its own."""
    known = (base for base in cls.__mro__ if base.__module__ != cls.__module__ and base is not object)
    return next(known, cls) if cls.__module__ in _DERIVE else cls


def is_rays(module: str) -> bool:
    """Whether a module is Ray's, or ours."""
    return module.partition(".")[0] in _RAYS


def naming(full_name: str, kind: str) -> Naming | None:
    """Return how to name the calls of something of Ray's that runs the user's code; None where it does not."""
    more = {"task": _TASKS_RUN_USER_CODE, "attached": _BESIDE_USER_CODE}.get(kind, ())
    known = more + _RUN_USER_CODE
    return next((name_of for pattern, name_of in known if fnmatchcase(full_name, pattern)), None)


def method_names(original: type, kind: str = "method") -> dict[str, Naming]:
    """Return the attributes of an actor's class whose calls are recorded, and how each is named; of Ray's own few.

    `kind` is "attached" for an actor that runs already.
    """
    full_name = f"{original.__module__}.{original.__qualname__}"
    if not is_rays(full_name):
        return dict.fromkeys(dir(original), own_name)
    found = {attribute: naming(f"{full_name}.{attribute}", kind) for attribute in dir(original)}
    return {attribute: name_of for attribute, name_of in found.items() if name_of is not None}


def runs_user_code(module: str, class_name: str) -> bool:
    """Whether an actor's class is not Ray's own, or is one of Ray's that runs the user's code."""
    return not is_rays(module) or any(naming(f"{module}.{class_name}.{name}", "attached") for name in _SAMPLES)
