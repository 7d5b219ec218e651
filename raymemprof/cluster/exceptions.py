"""What an exception of Ray's says: which task failed, why a node gave no answer, whether it is a failure at all.

Nothing here imports Ray: its exceptions are told by their names.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

__all__ = [
    "KILLED",
    "is_intended_exit",
    "reason",
    "task_of",
]

KILLED = "Ray's memory monitor killed the task that read there"
"""Why a node is missing that has no memory left even to be looked at."""
_SHIP = (
    "raymemprof is not installed there: install it in the node's image, or ship it with "
    'ray.init(runtime_env={"py_modules": [raymemprof], "pip": ["lazy-loader", "memray", "msgspec", "psutil", "wrapt"]})'
)


def is_intended_exit(error: BaseException) -> bool:
    """Whether an exception is an end that was wished for, on its way out, which is no failure.

    `ray.actor.exit_actor()` ends an actor, and Ray Tune a trial that has reached its goal, or that its scheduler stops.
    """
    if type(error).__name__ == "AsyncioActorExit":
        return True
    if not isinstance(error, SystemExit):
        return False
    return "exit_actor" in str(getattr(error, "ray_terminate_msg", error)) or (not error.code and _is_rays(error))


def _is_rays(error: BaseException) -> bool:
    """Whether Ray's own code raised an exception."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__") if trace is not None else None
    return isinstance(module, str) and module.partition(".")[0] == "ray"


def task_of(error: BaseException) -> str | None:
    """Return the task whose result `ray.get` raised this error in place of; None where that is no longer known.

    A `WorkerCrashedError` does not say; the frame that raised it still holds what was asked for, and what came.
    """
    trace = error.__traceback__
    while trace is not None:
        names = trace.tb_frame.f_locals if trace.tb_frame.f_code.co_name in ("get", "get_objects") else {}
        with contextlib.suppress(Exception):
            for reference, value in zip(names["object_refs"], names["values"], strict=True):
                if value is error:
                    return str(reference.task_id().hex())
        trace = trace.tb_next
    return None


def reason(error: BaseException) -> str:
    """Say in a few words why a node did not answer."""
    texts = list(_texts(error))
    for text in texts:
        if "No module named 'raymemprof" in text:
            return _SHIP
        lacking = re.search(r"No module named '(\w+)", text)
        if lacking:
            return f"{lacking[1]} is not installed there, which raymemprof needs"
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"NodeDiedError", "TaskUnschedulableError", "ActorUnschedulableError"}:
        return "it died"
    if "OutOfMemoryError" in kinds:
        return KILLED
    if "WorkerCrashedError" in kinds:
        return "the worker that read there died, or the whole node did"
    if "GetTimeoutError" in kinds:
        return "it did not hand its answer over in time"
    return f"reading failed there: {texts[-1].strip().splitlines()[-1] if texts[-1].strip() else type(error).__name__}"


def _texts(error: BaseException) -> Iterator[str]:
    """The error's text, then that of the error which was raised on the node."""
    yield str(error)
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        yield f"{type(cause).__name__}: {cause}" if not isinstance(cause, RuntimeError) else str(cause)
