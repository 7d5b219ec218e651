"""Where Ray Serve, Train and Tune run the user's code in a worker, and what they say of a call that runs there.

They run it in threads of their own, beside the actor's calls. Ray has no interface for this. Where it has moved what is
patched here, nothing is patched, and the caller is told.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import wrapt

__all__ = ["USERS_CODE", "UsersCode", "library_context", "pass_users_code"]


class UsersCode(NamedTuple):
    """A function of Ray's that is handed the user's code, in a parameter."""

    library: str
    module: str
    function: str
    parameter: str


USERS_CODE = (
    UsersCode("Serve", "ray.serve._private.replica", "UserCallableWrapper.__init__", "deployment_def"),
    UsersCode("Serve's batches", "ray.serve.batching", "_BatchQueue.__init__", "handle_batch_func"),
    UsersCode("Train", "ray.train.v2._internal.execution.worker_group.thread_runner", "ThreadRunner.run", "target"),
    UsersCode("Train and Tune", "ray.train._internal.session", "_TrainSession.reset", "training_func"),
)
"""That of Train alone is its version 2. The last is version 1, and Tune where a trial is a function."""


def pass_users_code(change: Callable[[Any], Any], unknown: Callable[[str], None]) -> None:
    """Have the user's code replaced by what `change` returns, as soon as a library that runs it is imported.

    `unknown` is called with a few words where Ray has moved what is patched. Neither may raise.
    """
    for one in USERS_CODE:
        wrapt.register_post_import_hook(_patch(one, change, unknown), one.module)


def _patch(one: UsersCode, change: Callable[[Any], Any], unknown: Callable[[str], None]) -> Callable[[Any], None]:
    def patch(module: Any) -> None:
        try:
            place, name, function = wrapt.resolve_path(module, one.function)
            is_known = one.parameter in inspect.signature(function).parameters
        except (AttributeError, TypeError, ValueError):
            is_known = False
        if not is_known:
            unknown(f"{one.function}({one.parameter}=) of Ray {one.library}")
            return
        position = list(inspect.signature(function).parameters).index(one.parameter) - 1  # without `self`

        def hand_over(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            if one.parameter in kwargs:
                kwargs[one.parameter] = change(kwargs[one.parameter])
            elif position < len(args):
                args = (*args[:position], change(args[position]), *args[position + 1 :])
            return wrapped(*args, **kwargs)

        wrapt.apply_patch(place, name, wrapt.FunctionWrapper(function, hand_over))

    return patch


def library_context(instance: object = None) -> dict[str, str]:
    """Return the `deployment` and the `context` of what runs here, as far as a library of Ray's knows. Never raises.

    `instance` is the object whose method runs. About 1 microsecond where there is nothing to say.
    """
    found: dict[str, str] = {}
    for module, look in _LOOKS:
        library = sys.modules.get(module)
        if library is not None:
            with contextlib.suppress(Exception):  # this Ray has moved it, or it is not known yet
                found.update(look(library, instance))
    return found


def _of_serve(module: Any, instance: object) -> dict[str, str]:
    """A batch has the routes of its requests; a request that came through a handle alone has none."""
    replica = module._get_internal_replica_context()
    if replica is None:
        return {}
    found = {"deployment": f"{replica.app_name}:{replica.deployment}"}
    requests = module._serve_batch_request_context.get() or [module._serve_request_context.get()]
    routes = sorted({str(request.route) for request in requests if request is not None and request.route})
    if routes:
        found["context"] = f"route {', '.join(routes)}"
    return found


def _of_train(module: Any, instance: object) -> dict[str, str]:
    context = module._train_context
    return {} if context is None else {"context": f"rank {context.get_world_rank()}"}


def _of_session(module: Any, instance: object) -> dict[str, str]:
    """A session is of a worker of Train's, version 1, or of a function that is a trial of Tune's."""
    session = module._session
    if session is None:
        return {}
    if session.world_rank is not None:
        return {"context": f"rank {session.world_rank}"}
    return {"context": f"trial {session.trial_info.id}"}


def _of_trial(module: Any, instance: object) -> dict[str, str]:
    """A trial of Tune's that is a class."""
    return {"context": f"trial {instance.trial_id}"} if isinstance(instance, module.Trainable) else {}


_LOOKS: tuple[tuple[str, Callable[[Any, object], dict[str, str]]], ...] = (
    ("ray.serve.context", _of_serve),
    ("ray.train.v2._internal.execution.context", _of_train),
    ("ray.train._internal.session", _of_session),
    ("ray.tune.trainable.trainable", _of_trial),
)
