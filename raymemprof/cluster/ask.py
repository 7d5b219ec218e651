"""Runs a function on nodes of the cluster, within time limits.

Ray's own tasks do it, one pinned to each node. They ask for no CPU, so a busy cluster answers too, and they need no
dashboard. A node that does not answer is named with the reason, and never delays the others' answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from .._version import __version__
from .exceptions import reason
from .identity import here, task_identity
from .nodes import MissingNode, missing, nodes

__all__ = [
    "LIMIT",
    "LOOK",
    "Answers",
    "NoAnswerError",
    "answer",
    "ask",
    "ended",
    "on_each_node",
    "on_nodes",
]

LIMIT = 30.0
"""Seconds for which a node may be silent. To start a worker takes it one or two."""
_LIMIT_AFTER_SILENCE = 5.0
"""The same for a node that was silent when it was asked last."""
_LIMIT_RIGHT_AFTER_SILENCE = 2.0
"""The same where that was less than a minute ago: one question is often several to the nodes."""
_RIGHT_AFTER = 60.0
"""Seconds."""
_GRACE = 5.0
"""Seconds after which a node ends by itself what nobody waits for any more."""
LOOK = 0.5
"""Seconds between looks at who has answered, and who is silent."""


class Answers(NamedTuple):
    """What nodes answered, by node id, and which did not."""

    by_node: dict[str, Any]
    missing: tuple[MissingNode, ...]


class NoAnswerError(Exception):
    """A node did not answer; the text is the reason."""


def on_each_node(
    function: Callable[..., Any],
    *arguments: Any,
    node_id: str | None = None,
) -> Answers:
    """Run a function on every node, or those whose id begins with `node_id`, and name those that are gone."""
    known = [node for node in nodes() if node.node_id.startswith(node_id or "")]
    gone = tuple(MissingNode(node.node_id, node.node_ip, "it has died or left") for node in known if not node.is_alive)
    wanted = {node.node_id: arguments for node in known if node.is_alive}
    answers = on_nodes(function, wanted)
    return Answers(answers.by_node, answers.missing + gone)


def on_nodes(
    function: Callable[..., Any],
    arguments: Mapping[str, tuple[Any, ...]],
    *,
    longest: float = 300.0,
    meanwhile: Callable[[], object] = lambda: None,
    take: Callable[[str, Any], object] | None = None,
) -> Answers:
    """Run a function of this package on nodes, in parallel.

    On this process's own node it is simply called, and what it raises is raised; what it raises elsewhere is a reason.

    Args:
        function: a function of a module of this package; it is named to the nodes, not sent.
        arguments: by node id, what to call it with there.
        longest: seconds that it may take; it is ended there after that. A node is given up before that when for `LIMIT`
            seconds it does not even answer whether it is there.
        meanwhile: called while the nodes work.
        take: given a node's id and its answer when that comes, which then is not kept: hundreds may be large.
    """
    answers: dict[str, Any] = {}
    take = take or answers.__setitem__
    round_ = _Round(function, arguments, longest, take)
    own = here()
    if own is not None and own in arguments:
        take(own, function(*arguments[own]))
    meanwhile()
    round_.wait()
    order = list(arguments)
    return Answers(
        {node_id: answers[node_id] for node_id in order if node_id in answers},
        tuple(round_.missing[node_id] for node_id in order if node_id in round_.missing),
    )


_silent: dict[str, float] = {}
"""The nodes that did not answer in time when they were asked last, and when that was."""


@dataclass(eq=False)
class _Round:
    """One question to several nodes."""

    function: Callable[..., Any]
    arguments: Mapping[str, tuple[Any, ...]]
    longest: float
    take: Callable[[str, Any], object]
    missing: dict[str, MissingNode] = field(default_factory=dict)
    _asked: dict[Any, str] = field(default_factory=dict)
    """Node ids by reference."""
    _knocks: dict[Any, str] = field(default_factory=dict)
    _heard: dict[str, float] = field(default_factory=dict)
    """When a node gave a sign of life last."""

    def __post_init__(self) -> None:
        own = here()
        self._began = time.monotonic()
        for node_id in (one for one in self.arguments if one != own):
            self._asked[ask(node_id, self.function, *self.arguments[node_id], longest=self.longest + _GRACE)] = node_id
            self._heard[node_id] = time.monotonic()

    def wait(self) -> None:
        """Wait until every node has answered or was given up."""
        self._began = time.monotonic()  # nobody listened before
        self._heard = dict.fromkeys(self._heard, self._began)
        while self._asked:
            waiting = [*self._asked, *self._knocks]
            for reference in ended(waiting, len(waiting), LOOK):
                self._take(reference)
            for reference, node_id in list(self._asked.items()):
                self._judge(reference, node_id)

    def _take(self, reference: Any) -> None:
        node_id = self._knocks.pop(reference, None)
        if node_id is not None:
            self._heard[node_id] = time.monotonic()
            return
        node_id = self._asked.pop(reference)
        try:
            answered = answer(reference)
        except NoAnswerError as error:
            self._miss(node_id, str(error))
        else:
            _silent.pop(node_id, None)
            self.take(node_id, answered)

    def _judge(self, reference: Any, node_id: str) -> None:
        """Give a node up that has been silent for too long; ask a slow one whether it is there."""
        now = time.monotonic()
        silence = now - self._heard[node_id]
        limit = min(LIMIT, _patience(node_id))
        if silence > limit or now - self._began > self.longest:
            if silence > limit:
                again = ", as before" if node_id in _silent else ""
                _silent[node_id] = now
                self._miss(node_id, f"it did not answer within {limit:.0f} s{again}")
            else:
                self._miss(node_id, f"it was not done within {self.longest:.0f} s")
            del self._asked[reference]
        elif silence > limit / 3 and node_id not in self._knocks.values():
            self._knocks[ask(node_id, _nothing)] = node_id

    def _miss(self, node_id: str, why: str) -> None:
        self.missing[node_id] = missing(node_id, why)


def _patience(node_id: str) -> float:
    """Return for how many seconds a node may be silent."""
    if node_id not in _silent:
        return LIMIT
    is_long_ago = time.monotonic() - _silent[node_id] > _RIGHT_AFTER
    return _LIMIT_AFTER_SILENCE if is_long_ago else _LIMIT_RIGHT_AFTER_SILENCE


def ask(node_id: str, function: Callable[..., Any], *arguments: Any, longest: float = 300.0) -> Any:
    """Run a function of this package on a node, for so many seconds at most; return the reference to what it returns.

    It is never cancelled, also where nobody waits for it any more: where `ray.cancel` meets a task that just ends, Ray
    ends the process that asked (https://github.com/ray-project/ray/pull/54798 mended another case of that).
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Retriable, so that where memory is short Ray's monitor kills this before it kills what the user runs.
    task = _remote_run().options(
        name=f"raymemprof.{function.__name__.strip('_')}",
        num_cpus=0,
        max_retries=1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
    )
    return task.remote(__version__, longest, function, *arguments)


def ended(questions: Sequence[Any], count: int, seconds: float) -> list[Any]:
    """Return up to `count` of the questions that were answered or failed, and wait for them `seconds` at most."""
    return list(sys.modules["ray"].wait(questions, num_returns=count, timeout=seconds)[0]) if questions else []


def answer(question: Any) -> Any:
    """Return the answer to a question that has ended. Raises `NoAnswerError` where it failed."""
    ray = sys.modules["ray"]
    try:
        return ray.get(question, timeout=LIMIT)
    except ray.exceptions.RayError as error:
        raise NoAnswerError(reason(error)) from error


@cache
def _remote_run() -> Any:
    """The one function that nodes are sent: each new one would stay in the cluster's tables for as long as it runs.

    Ray itself sends it anew where this process has connected anew.
    """
    import ray

    return ray.remote(_run)


def _run(version: str, longest: float, function: Callable[..., Any], *arguments: Any) -> Any:
    if version != __version__:
        raise RuntimeError(f"it has raymemprof {__version__}, and the one that asks is {version}")
    if (task_identity().attempt or 0) > 1:  # Ray retries what is killed for memory without end
        raise RuntimeError("Ray's memory monitor killed the task that reads there again and again")
    with _ended_after(longest):
        return function(*arguments)


class _TooLateError(BaseException):
    """Ends what takes too long, wherever it is; nobody takes it for an error of his own."""


@contextlib.contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """End what this thread does after so many seconds. Raises `RuntimeError` then."""
    if math.isinf(seconds):
        yield
        return
    lock, is_done, thread = threading.Lock(), False, threading.get_ident()

    def end() -> None:
        with lock:
            if not is_done:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_TooLateError))

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            with lock:  # what was raised before arrives here, and not later
                is_done = True
            timer.cancel()
    except _TooLateError:
        raise RuntimeError(f"it was not done within {seconds:.0f} s") from None


def _nothing() -> None:
    """Answer that the node is there."""
