"""Recording of a running actor, in its process: begins when a driver asks, ends when the driver no longer wants it.

The driver keeps one value in the GCS (`Wish`): a number that changes every second, and which attachments it wants. A
thread here reads it, so nothing of this waits behind the actor's queue, and a driver that dies is noticed.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from inspect import getattr_static
from typing import Any, NamedTuple

from ... import cluster
from ... import journal as contract
from .. import warn
from ..memory import process_memory
from ..open_journals import journal_for
from ..options import Options
from ..outcome import describe
from ..profile import EndedCalls, Profile
from ..running_call import LINGER, RunningCall
from ..safety.threads import HiddenThread
from ..tracker import Lease, RefusedError, tracker
from ..wrappers import recorded
from .named import is_recorded_below, named
from .rays_own import method_names, own_name

__all__ = ["Request", "record"]

_POLL = 0.25
"""Seconds between looks at what the driver wants: each asks the GCS, which takes it a millisecond."""
_SILENCE = 3.0
"""Seconds without a sign of life from the driver, whose job has ended too, after which it is taken for dead."""
_TRIES = 10
"""How often the driver is told something, where the GCS does not answer."""
_CLOSING = 2.0
"""Seconds to wait for the capture to be closed."""
_GRACE = 0.25
"""Seconds that calls which run at the end have to end too, before they are traced no more."""
_GONE = "the driver died or disconnected"
_DETACHED = "the attachment ended while the call ran; it was traced until then"


_beginning = threading.Lock()
"""Held while an attachment looks which methods are recorded already, and exchanges the others."""


class Request(NamedTuple):
    """What the driver asks of an actor; it travels as a plain tuple."""

    attachment: str
    """The attachment's id, which the driver's wish names for as long as it wants it."""
    wish: str
    """The key of the driver's wish."""
    begun: str
    """The key under which it is said that it began, or why it did not."""
    result: str
    """The key under which it is said what came of it."""
    job_id: str | None
    """The job of the driver; None where the job may outlive who asked."""
    seconds: float | None
    options: dict[str, Any]


class _NotRecordedError(Exception):
    """The actor is not recorded; the text is the reason."""


def record(actor: object, request: tuple[Any, ...]) -> None:
    """Record an actor on a thread of its own until the driver wants it no more. Never raises of its own accord."""
    HiddenThread(_Recording(actor, Request(*request)).run).start()


@dataclass(slots=True)
class _Methods:
    """The methods of an actor: those to call instead, by name, and the names of those that are left as they are."""

    made: dict[str, Callable[..., Any]]
    already: list[str]
    not_python: list[str]


def _methods(actor: object, profile: Callable[[str], Profile]) -> _Methods:
    original = cluster.class_before_ray(type(actor)) or type(actor)
    names, found = method_names(original, "attached"), _Methods({}, [], [])

    for attribute, method in cluster.actor_methods(actor).items():
        name_of, function = names.get(attribute), getattr(method, "__func__", method)
        is_special = attribute.startswith("__") and attribute != "__call__"
        if name_of is None or is_special:
            continue
        if not isinstance(function, types.FunctionType):
            found.not_python.append(attribute)
        elif is_recorded_below(function):
            found.already.append(attribute)
        elif name_of is not own_name:
            found.made[attribute] = named(function, name_of, profile)
        else:
            is_static = isinstance(getattr_static(type(actor), attribute, None), staticmethod)
            made = recorded(function, profile(f"{original.__qualname__}.{attribute}"), bound=not is_static)
            its_class = getattr(method, "__self__", None)
            found.made[attribute] = made if its_class is None else types.MethodType(made, its_class)
    return found


class _Recording:
    """One attachment, from its beginning to its end."""

    def __init__(self, actor: object, request: Request) -> None:
        self._actor = actor
        self._request = request
        self._ended = EndedCalls()
        self._profiles: list[Profile] = []
        self._is_over = False
        self._exchange: cluster.Exchange | None = None
        self._lease: Lease | None = None
        self._heard = time.monotonic()
        self._beat: object = None

    def run(self) -> None:
        """Begin, wait until it is over, end, and say what came of it."""
        try:
            if self._why_over() is not None or self._is_job_over():
                return  # nobody waits for it any more
            with _beginning:
                said = self._begin()
        except Exception as error:
            self._end()
            is_ours = isinstance(error, _NotRecordedError)
            self._say(self._request.begun, {"problem": str(error) if is_ours else describe(error)})
            return
        self._say(self._request.begun, said)
        began, memory, why = time.monotonic(), said["memory"], None
        while why is None:
            time.sleep(_POLL)
            why = self._why_over()
            seconds = self._request.seconds
            if why is None and seconds is not None and time.monotonic() - began >= seconds:
                why = f"{seconds:g} s were over"
            if why is None:
                why = self._made_again()
        duration = time.monotonic() - began
        self._end()
        after, *_ = process_memory.now()
        ended = self._ended
        result = {"duration": duration, "calls": ended.count, "kept": ended.kept, "before": memory, "after": after}
        if why == _GONE:
            self._forget(self._request.wish)
            self._forget(self._request.begun)
        else:
            self._say(self._request.result, {**result, "ended_by": why})
        time.sleep(_POLL)
        self._undo()  # a call that began at the same time may have brought one back

    def _made_again(self) -> str | None:
        """Have the exchange made again; return why that cannot be."""
        try:
            if self._exchange is not None:
                self._exchange.make()
        except Exception as error:
            return f"the actor's methods could not be exchanged: {describe(error)}"
        return None

    def _begin(self) -> dict[str, Any]:
        problem = cluster.unknown_executor_names()
        if problem is not None:
            raise _NotRecordedError(problem)
        options = Options(**self._request.options)
        options = dataclasses.replace(options, linger=LINGER if options.linger is None else options.linger)
        methods = _methods(self._actor, lambda name: self._profile(name, options))
        if not methods.made and not methods.already:
            raise _NotRecordedError("it has no method in Python to record, or is one of Ray's own actors")
        settings = Profile("", "method", options).settings()
        if not settings.enabled:
            raise _NotRecordedError("recording is off there: enabled=False, or RAYMEMPROF_ENABLED says so")
        note = None
        original = cluster.class_before_ray(type(self._actor)) or type(self._actor)
        who = cluster.TaskIdentity(actor_id=cluster.task_identity().actor_id)
        if methods.made and settings.heap:
            journal = journal_for(settings.directory, original.__qualname__, who)
            stem = contract.file_stem(original.__qualname__, None, None)
            try:  # now, so that no call waits for it; and it stays open between calls
                self._lease = tracker.acquire(self, settings, journal, lambda: stem, LINGER)
            except RefusedError as refusal:
                note = f"calls are not traced: {refusal}"
        private, *_ = process_memory.now()
        began = time.time()
        self._exchange = cluster.Exchange(self._actor, methods.made)
        self._exchange.make()
        process = cluster.process_identity()
        return {
            "name": original.__qualname__,
            "node_id": process.node_id,
            "pid": os.getpid(),
            "time": began,
            "memory": private,
            "recorded": sorted(methods.made),
            "already": sorted(methods.already),
            "not_python": sorted(methods.not_python),
            "note": note,
        }

    def _profile(self, name: str, options: Options) -> Profile:
        """Return what a method is recorded with; Ray Data's get their names when they are called."""
        made = Profile(name, "method", options, ended=self._ended)
        self._profiles.append(made)
        if self._is_over:
            made.turn_off()
        return made

    def _why_over(self) -> str | None:
        """Return why the driver does not want it any more; None while it does, as far as is known."""
        now = time.monotonic()
        try:
            wish = cluster.get_value(self._request.wish)
        except Exception:  # the GCS does not answer: that is no sign of life
            wish = {"beat": self._beat, "wanted": [self._request.attachment]}
        if wish is None:
            return _GONE
        if self._request.attachment not in wish["wanted"]:
            return "it was ended"
        if wish["beat"] != self._beat:
            self._beat, self._heard = wish["beat"], now
        if now - self._heard < _SILENCE:
            return None
        return _GONE if self._request.job_id is None or self._is_job_over(if_unknown=True) else None

    def _is_job_over(self, if_unknown: bool = False) -> bool:
        """Whether the driver's job has ended; `if_unknown` where Ray does not say."""
        living = cluster.living_jobs() if self._request.job_id is not None else None
        return if_unknown if living is None else self._request.job_id not in living

    def _end(self) -> None:
        """End recording; calls that run are sampled on, and traced no more. Never raises of its own accord."""
        self._is_over = True
        for profile in self._profiles:  # a call that Ray has begun, and that has not come to its code, runs unrecorded
            profile.turn_off()
        self._undo()
        try:
            tracker.release(self)
            if self._lease is not None:
                self._end_tracing()
        except Exception as error:
            warn.once("attached", f"tracing was not ended at once: {describe(error)}")

    def _end_tracing(self) -> None:
        """Wait until the capture is closed; calls that run on are traced no more. Others' calls are left alone."""
        began = time.monotonic()
        while (now := time.monotonic()) < began + _CLOSING:
            capture = tracker.open_capture()
            running = [one for one in tracker.holders() if isinstance(one, RunningCall)]
            if capture is None or any(one.profile.ended is not self._ended for one in running):
                return
            if running and now > began + _GRACE:
                tracker.close(_DETACHED)
            elif not running and capture.linger > LINGER:  # it was opened for calls that are recorded without this
                return
            time.sleep(_GRACE / 10)

    def _undo(self) -> None:
        try:
            if self._exchange is not None:
                self._exchange.undo()
        except Exception as error:
            warn.once("attached", f"an actor's own methods were not put back: {describe(error)}")

    def _say(self, key: str, value: dict[str, Any]) -> None:
        for is_last in (*[False] * _TRIES, True):
            try:
                cluster.put_value(key, value)
                return
            except Exception as error:  # the GCS does not answer now
                if is_last:
                    warn.once("attached", f"the driver was not told what became of its attachment: {describe(error)}")
            time.sleep(_POLL)

    def _forget(self, key: str) -> None:
        try:
            cluster.delete_value(key)
        except Exception as error:
            warn.once("attached", f"a key stays in the GCS: {describe(error)}")
