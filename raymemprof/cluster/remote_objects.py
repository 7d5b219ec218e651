"""What `@ray.remote` and `@serve.deployment` make of functions and classes: recognize it, take it apart, make it again.

Nothing here imports Ray: without it there is no such object.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = [
    "actor_class",
    "class_before_ray",
    "deployed",
    "deployment_like",
    "is_exported",
    "original_actor_class",
    "original_function",
    "remote_kind",
    "remote_like",
]


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
    modified = actor_class(remote)
    return class_before_ray(modified) or modified


def class_before_ray(modified: object) -> type | None:
    """Return the user's class of which Ray derived this one; None where it is none of Ray's."""
    return getattr(modified, "__ray_actor_class__", None)


def actor_class(remote: Any) -> type:
    """Return the class that Ray derived from it, of which actors are made."""
    return remote.__ray_metadata__.modified_class  # type: ignore[no-any-return]


def is_exported(remote: Any) -> bool:
    """Whether workers may have an actor class already; True where Ray does not say."""
    return getattr(remote.__ray_metadata__, "last_export_cluster_and_job", "unknown") is not None


def deployed(target: object) -> Any:
    """Return the function or class that `@serve.deployment` was put on; None for anything else."""
    module = sys.modules.get("ray.serve.deployment")
    return target.func_or_class if module is not None and isinstance(target, module.Deployment) else None


def deployment_like(deployment: Any, target: Any) -> Any:
    """Return the same deployment, with the same options, of another function or class."""
    return deployment.options(func_or_class=target)


def remote_like(remote: Any, target: Any) -> Any:
    """Put `@ray.remote` on a function or a class, with the options that it was given for another one."""
    ray = sys.modules["ray"]
    options = dict(getattr(remote, "_default_options", None) or {})
    return ray.remote(**options)(target) if options else ray.remote(target)
