"""The actors of the cluster: who they are, whether they live, handles to them, and calls of functions in them."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from .._version import __version__
from .by_value import by_value
from .exceptions import reason
from .identity import ray_worker
from .key_values import KEY_SPACE
from .rpc import generated

__all__ = [
    "Actor",
    "NoHandleError",
    "actor_handle",
    "actor_id",
    "actor_processes",
    "begin_in_actor",
    "living_actors",
    "named_actor",
    "state_of_actor",
    "why_it_failed",
]

_HANDLES = ("ActorHandle", "ClientActorHandle")
_PYTHON = 0
_LIMIT = 10.0
"""Seconds for the answer of a call that has ended to arrive."""


class NoHandleError(ValueError):
    """Ray does not let a handle to an actor be had; the text is the reason."""


class Actor(NamedTuple):
    """An actor that is alive."""

    actor_id: str
    module: str
    class_name: str
    name: str
    """Empty where it has none."""
    namespace: str
    data: Any
    """What the GCS says of it."""

    def __str__(self) -> str:
        named = f" {self.name!r} of namespace {self.namespace!r}" if self.name else ""
        return f"{self.class_name}{named} ({self.actor_id})"


def living_actors() -> list[Actor]:
    """Return the actors that are alive. Raises `NoHandleError` where this Ray does not list them, as Ray Client."""
    if ray_worker() is None:
        raise NoHandleError("Ray Client does not list actors; connect to HOST:PORT of the cluster, not to ray://")
    try:
        read = generated("gcs_pb2").ActorTableData.FromString
        found = [read(data) for data in _accessor().get_actor_table(None, "ALIVE")]
        return [_actor(one) for one in found if one.function_descriptor.HasField("python_function_descriptor")]
    except (AttributeError, TypeError, ImportError) as error:
        raise NoHandleError(f"this Ray does not list its actors as raymemprof asks for them ({error})") from error


def _actor(data: Any) -> Actor:
    descriptor = data.function_descriptor.python_function_descriptor
    return Actor(
        data.actor_id.hex(), descriptor.module_name, descriptor.class_name, data.name, data.ray_namespace, data
    )


def _accessor() -> Any:
    state = sys.modules["ray"]._private.state.state
    connect = getattr(state, "_connect_and_get_accessor", None)
    if connect is not None:
        return connect()
    state._check_connected()  # Ray 2.49
    return state.global_state_accessor


def actor_handle(actor: Actor) -> Any:
    """Return a handle, which does not keep the actor alive. Raises `NoHandleError` where it cannot be had."""
    ray = sys.modules["ray"]
    try:
        if actor.name:
            return ray.get_actor(actor.name, namespace=actor.namespace)
        # Ray has no function for an actor without a name, but makes a handle of what another process says of one.
        said = generated("core_worker_pb2").ActorHandle(
            actor_id=actor.data.actor_id,
            owner_id=actor.data.owner_address.worker_id,
            owner_address=actor.data.owner_address,
            creation_job_id=actor.data.job_id,
            actor_language=_PYTHON,
            actor_creation_task_function_descriptor=actor.data.function_descriptor,
            max_pending_calls=-1,
        )
        return ray_worker().core_worker.deserialize_and_register_actor_handle(said.SerializeToString(), None, True)
    except Exception as error:
        raise NoHandleError(f"Ray gives no handle to the actor {actor}: {error}") from error


def actor_processes() -> dict[tuple[str, int], str] | None:
    """Return the classes of all actors that Ray knows, also of dead ones, by node id and pid; None if it cannot say."""
    try:
        actors = sys.modules["ray"]._private.state.actors()
        return {(one["Address"]["NodeID"], int(one["Pid"])): str(one["ActorClassName"]) for one in actors.values()}
    except Exception:  # through Ray Client it is not said; nor where Ray has moved this
        return None


def named_actor(name: str, namespace: str | None) -> Any:
    """Return a handle to the actor of a name. Raises `ValueError` where there is none."""
    return sys.modules["ray"].get_actor(name, namespace=namespace)


def actor_id(handle: object) -> str | None:
    """Return the id of the actor that a handle is to; None for anything else."""
    if not any(kind.__name__ in _HANDLES for kind in type(handle).__mro__):
        return None
    return str(handle._actor_id.hex())  # type: ignore[attr-defined]


def begin_in_actor(handle: Any, function: tuple[str, str], request: tuple[Any, ...], answer: str) -> Any:
    """Have an actor call a function of this package with itself and a request; return the reference to the call.

    The call stands behind what is queued, and returns at once, since in an async actor others wait for it: the function
    runs on a thread of its own. Where it cannot be called, what is put under the key `answer` has the "problem".
    Raises `NoHandleError` where the actor cannot be called so, as one of Java's.

    Args:
        handle: the actor's.
        function: its module and its name.
        request: plain values.
        answer: a key, as `get_value` takes it.
    """
    method = getattr(handle, "__ray_call__", None)
    if method is None:
        raise NoHandleError("it has no __ray_call__, as actors of Python have")
    return method.remote(by_value(_begin_there), function, request, __version__, answer, KEY_SPACE)


def _begin_there(
    actor: object, function: tuple[str, str], request: tuple[Any, ...], version: str, answer: str, key_space: bytes
) -> None:
    import _thread
    import importlib
    import json

    def begin() -> None:
        try:
            there = importlib.import_module("raymemprof").__version__
            if there == version:
                module, name = function
                getattr(importlib.import_module(module), name)(actor, request)
                return
            problem = f"its node has raymemprof {there}, and yours is {version}"
        except ImportError as error:
            problem = f"raymemprof cannot be imported in its process ({error}); install it in the actor's environment"
        except Exception as error:
            problem = f"raymemprof cannot begin there ({type(error).__name__}: {error})"
        from ray.experimental import internal_kv

        internal_kv._internal_kv_put(answer, json.dumps({"problem": problem}), True, namespace=key_space)

    _thread.start_new_thread(begin, ())


def state_of_actor(actor_id: str) -> tuple[str, int] | None:
    """Return the state of an actor ("ALIVE", "DEAD", "RESTARTING", …) and the pid of its process; None if not known."""
    try:
        found = sys.modules["ray"]._private.state.actors(actor_id)
        return str(found["State"]), int(found["Pid"])
    except Exception:  # through Ray Client it is not said; nor where Ray has moved this
        return None


def why_it_failed(reference: Any) -> str | None:
    """Return why a call that has ended failed, in a few words; None where it did not."""
    ray = sys.modules["ray"]
    try:
        ray.get(reference, timeout=_LIMIT)
    except ray.exceptions.RayActorError:
        return "it has died"
    except ray.exceptions.RayError as error:
        return reason(error)
    return None
