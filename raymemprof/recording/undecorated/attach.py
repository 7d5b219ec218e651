"""`attach`: records an actor that runs already, for a while."""

from __future__ import annotations

import contextlib
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from ... import cluster
from ...display.record import Record
from ...display.refusals import short_traceback
from ...display.text import counted, show_bytes, show_seconds
from ...errors import AttachError
from ..options import Options
from . import attached
from .attach_requests import not_wanted, wanted
from .attached import Request

__all__ = ["Attached", "Attachment", "attach", "attach_each", "end_each"]

_PATIENCE = 5.0
"""Seconds of waiting behind what is queued after which it is said."""
_LOOK = 0.1
"""Seconds between looks at what an actor says."""
_STATE_LOOK = 1.0
"""Seconds between looks at whether an actor lives."""
_LIMIT_TO_BEGIN = 60.0
"""Seconds from when an actor takes the call until it says that it records: it imports raymemprof and starts memray."""
_LIMIT_TO_END = 15.0
"""Seconds from when the end is wished until an actor says what came of it."""
_RECORD = (attached.__name__, attached.record.__name__)
_logger = logging.getLogger("raymemprof")


@dataclass(frozen=True, slots=True)
class Attached(Record):
    """The result of an attachment. Memory is RSS − SHR of the actor's process, in bytes.

    Attributes:
        name: the actor's class.
        actor_id: the actor.
        node_id: the node that it runs on.
        pid: its process.
        started_at: when recording began, UTC.
        waited: seconds for which the request waited behind the actor's queued calls.
        duration: seconds from the beginning of recording to its end; None if the actor did not say.
        ended_by: what ended it.
        call_count: the number of calls that began and ended during the recording; None if the actor did not say.
        memory_before: memory at the beginning. What was allocated before is in no capture.
        memory_after: memory at the end.
        kept: the sum over these calls of memory after minus memory before. Overlapping calls count the same memory
            twice. Memory that small calls keep may show up between the calls, because the kernel counts it in steps.
        notes: what was not recorded, and why.
        grew: memory after minus memory before.
    """

    name: str
    actor_id: str
    node_id: str | None
    pid: int
    started_at: datetime
    waited: float
    duration: float | None
    ended_by: str
    call_count: int | None
    memory_before: int
    memory_after: int | None
    kept: int | None
    notes: tuple[str, ...]

    @property
    def grew(self) -> int | None:
        """Return how much more memory there was at the end."""
        return None if self.memory_after is None else self.memory_after - self.memory_before

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        who = f"{self.name} (pid {self.pid})"
        if self.memory_after is None or self.call_count is None:
            return " ".join([f"{who}: {self.ended_by}; what it recorded until then is there.", *self.notes])
        calls = counted(self.call_count, "call", "calls")
        return " ".join(
            [
                f"{who}: {calls} recorded in {show_seconds(self.duration)}, until {self.ended_by}.",
                f"Memory (RSS − SHR) went from {show_bytes(self.memory_before)} to {show_bytes(self.memory_after)}.",
                "What was allocated before is in no capture.",
                *self.notes,
            ]
        )


class Attachment:
    """What `attach` returns: a running recording. It is also a context manager, whose block ends it.

    Attributes:
        waited: seconds for which the request waited behind the actor's queued calls.
        notes: what is not recorded, and why.
        result: the `Attached`; None before the recording has ended.
    """

    waited: float
    notes: tuple[str, ...]
    result: Attached | None

    def __init__(self, actor: Any, seconds: float | None, options: Options) -> None:
        actor_id = cluster.actor_id(actor)
        assert actor_id is not None
        self.waited, self.notes, self.result = 0.0, (), None
        self._actor_id = actor_id
        self._id = uuid.uuid4().hex
        self._said: dict[str, Any] = {}
        self._asked = time.monotonic()
        self._began = math.inf
        try:
            key = wanted(self._id)
            self._request = Request(
                self._id,
                key,
                f"{key}/{self._id}/begun",
                f"{key}/{self._id}/result",
                cluster.job_id() if cluster.is_driver() else None,
                seconds,
                {name: value for name, value in asdict(options).items() if value is not None},
            )
            self._call = cluster.begin_in_actor(actor, _RECORD, tuple(self._request), self._request.begun)
        except cluster.NoHandleError as error:
            self._give_up()
            raise self._error(str(error)) from error
        except BaseException:
            self._give_up()
            raise

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.end()
        except AttachError as trouble:
            if error[0] is None:
                raise
            _logger.warning("raymemprof: %s", trouble)  # the block's own exception goes on

    def __repr__(self) -> str:
        state = "recording" if self.result is None else f"ended: {self.result.ended_by}"
        return f"Attachment({self._said.get('name', 'actor')} {self._actor_id[:8]}…, {state})"

    def __str__(self) -> str:
        return f"{self._said.get('name', 'actor')} (pid {self._said.get('pid')})"

    @short_traceback
    def wait(self, timeout: float | None = None) -> Attached:
        """Wait until the recording has ended, because the time is over or the actor died.

        Args:
            timeout: seconds to wait at most. Default: no limit.

        Returns:
            The result.

        Raises:
            TimeoutError: the recording has not ended within `timeout` seconds. It goes on.
        """
        result = self._wait(math.inf if timeout is None else timeout)
        if result is None:
            raise TimeoutError(f"{self!r} has not ended within {timeout:g} s.")
        return result

    @short_traceback
    def end(self) -> Attached:
        """End it now, and return what came of it. The actor notices within a second, whatever is queued there.

        Raises:
            AttachError: the actor did not answer. It ends by itself when it can.
        """
        if self.result is None:
            self._ask_to_end()
            if self._wait(_LIMIT_TO_END) is None:
                self._give_up()
                raise AttachError(
                    f"the actor {self._actor_id[:8]}… has not said within {_LIMIT_TO_END:.0f} s that recording has "
                    "ended. Recording ends there by itself as soon as it can."
                )
        assert self.result is not None
        return self.result

    def _ask_to_end(self) -> None:
        with contextlib.suppress(Exception):  # the GCS does not answer: the actor takes that for the end
            not_wanted(self._id)

    def _wait(self, seconds: float) -> Attached | None:
        """Return what came of it, once the actor says so, or is not there any more."""
        until, look_at_state = time.monotonic() + seconds, 0.0
        while self.result is None:
            said = self._heard(self._request.result)
            if said is not None:
                self._finish(said)
                break
            now = time.monotonic()
            if now >= look_at_state:
                look_at_state = now + _STATE_LOOK
                state = cluster.state_of_actor(self._actor_id)
                if state is not None and state != ("ALIVE", self._said["pid"]):
                    self._finish(self._heard(self._request.result) or {"ended_by": "its process has died"})
                    break
            if now >= until:
                break
            time.sleep(min(_LOOK, max(until - now, 0.01)))
        return self.result

    def _finish(self, said: dict[str, Any]) -> None:
        self._give_up()
        self.result = Attached(
            name=self._said["name"],
            actor_id=self._actor_id,
            node_id=self._said["node_id"],
            pid=self._said["pid"],
            started_at=datetime.fromtimestamp(self._said["time"], timezone.utc),
            waited=self.waited,
            duration=said.get("duration"),
            ended_by=said["ended_by"],
            call_count=said.get("calls"),
            memory_before=self._said["memory"],
            memory_after=said.get("after"),
            kept=said.get("kept"),
            notes=self.notes,
        )

    def _begin(self, timeout: float, say: Callable[[str], object]) -> None:
        """Wait until the actor records. Raises `AttachError` where it does not; it will not do so later then."""
        until, said_so = self._asked + timeout, False
        try:
            while not cluster.ended([self._call], 1, _LOOK):
                now = time.monotonic()
                if now >= until:
                    raise self._error(
                        f"it has not come to it within {timeout:g} s: its queue, or the call that runs, takes longer. "
                        "Give a longer timeout"
                    )
                if now - self._asked >= _PATIENCE and not said_so:
                    said_so = True
                    say(f"waiting behind what is queued in actor {self._actor_id[:8]}…, for {until - now:.0f} s more.")
            self.waited = time.monotonic() - self._asked
            why = cluster.why_it_failed(self._call)
            if why is not None:
                raise self._error(why)
            until = time.monotonic() + _LIMIT_TO_BEGIN
            while (said := self._heard(self._request.begun)) is None:
                if time.monotonic() >= until:
                    raise self._error(f"it took the request, but did not begin within {_LIMIT_TO_BEGIN:.0f} s")
                time.sleep(_LOOK / 2)
            if "problem" in said:
                raise self._error(said["problem"])
        except BaseException:
            self._give_up()
            raise
        self._said = said
        self.notes = tuple(_notes(said))
        for note in self.notes:
            say(note)

    def _heard(self, key: str) -> Any:
        with contextlib.suppress(Exception):  # the GCS does not answer now: it is asked again
            return cluster.get_value(key)
        return None

    def _give_up(self) -> None:
        """Have the actor not begin any more, or end, and leave nothing in the GCS."""
        with contextlib.suppress(Exception):
            not_wanted(self._id)
            for key in (self._request.begun, self._request.result):
                cluster.delete_value(key)

    def _error(self, reason: str) -> AttachError:
        return AttachError(f"the actor {self._actor_id[:8]}… is not recorded: {reason}.")


@short_traceback
def attach(actor: Any, *, seconds: float | None = None, timeout: float = 60.0, **options: Any) -> Attachment:
    """Record an actor that runs already, without a restart: each call of its methods that begins from now on.

    Calls that already run are not recorded, nor calls that begin after the end. Recording ends with the `with` block,
    with `end()`, when `seconds` are over, and within 5 s of the driver's death. Memory that was allocated before is in
    no capture; the result has the growth of the process during the recording. Methods that are already recorded because
    they are decorated stay as they are.

    Args:
        actor: a handle of `Actor.remote()` or `ray.get_actor`: sync, async or threaded, named or not, detached or not.
        seconds: end after this many seconds. Default: no limit.
        timeout: seconds to wait until the actor handles the request, which waits behind the calls that are queued.
            After 5 s, a warning says that it waits.
        **options: those of `profile_memory`, such as `heap=False` or `native=True`.

    Returns:
        An `Attachment`, which is recording. Use it in a `with` statement, or call its `wait()`.

    Raises:
        AttachError: the actor does not record. The message says why: the actor did not handle the request in time,
            raymemprof is not installed there or has another version, or this version of Ray is not supported. The actor
            runs on unharmed.
        TypeError: `actor` is not a handle, or an option is unknown.
        ValueError: a value that makes no sense.

    Example:
        >>> import ray, raymemprof
        >>> with raymemprof.attach(ray.get_actor("cache")) as attachment:  # doctest: +SKIP
        ...     time.sleep(30)
        >>> print(attachment.result)  # doctest: +SKIP
    """
    attachments, errors = attach_each([actor], seconds, timeout, options, lambda text: _logger.warning("%s", text))
    for error in errors:
        raise error
    return attachments[0]


def attach_each(
    actors: Iterable[Any],
    seconds: float | None,
    timeout: float,
    options: dict[str, Any],
    say: Callable[[str], object],
) -> tuple[list[Attachment], list[AttachError]]:
    """Attach to actors at the same time; return what has begun, and why the others did not.

    Raises `TypeError` and `ValueError` as `attach` does.
    """
    checked = Options.checked(options, "attach")
    for name, value in (("seconds", seconds), ("timeout", timeout)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0):
            raise ValueError(f"attach({name}={value!r}): {name} must be a number of seconds, more than 0.")
    asked: list[Attachment] = []
    begun: list[Attachment] = []
    errors: list[AttachError] = []
    try:
        for actor in actors:
            if cluster.actor_id(actor) is None:
                raise TypeError(f"attach({actor!r}): it takes the handle of an actor, as ray.get_actor returns it.")
            try:
                asked.append(Attachment(actor, seconds, checked))
            except AttachError as error:
                errors.append(error)
        for attachment in asked:
            try:
                attachment._begin(timeout, say)
                begun.append(attachment)
            except AttachError as error:
                errors.append(error)
    except BaseException:  # Ctrl-C, say
        for attachment in asked:
            attachment._give_up()
        raise
    return begun, errors


def end_each(attachments: list[Attachment]) -> tuple[list[Attached], list[AttachError]]:
    """End attachments at the same time; return what came of them, and which actors did not answer."""
    results: list[Attached] = []
    errors: list[AttachError] = []
    for one in attachments:
        one._ask_to_end()
    for one in attachments:
        try:
            results.append(one.end())
        except AttachError as error:
            errors.append(error)
    return results, errors


def _notes(said: dict[str, Any]) -> Iterable[str]:
    name = said["name"]
    if said["already"]:
        methods = ", ".join(f"{name}.{one}" for one in said["already"])
        yield f"{methods}: recorded already (decorated, by the switch, or by another attachment), so not twice."
    if said["not_python"]:
        yield f"{', '.join(f'{name}.{one}' for one in said['not_python'])}: not written in Python, so not recorded."
    if said["note"]:
        yield f"{name}: {said['note']}."
