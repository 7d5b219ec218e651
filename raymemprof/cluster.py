"""The cluster: which nodes there are, and running a function on each of them.

Ray's own tasks do it, one pinned to each node. They ask for no CPU, so a busy cluster answers too, and for no
dashboard. A node that cannot answer is told with the reason, and never keeps the others from it.
"""

from __future__ import annotations

import atexit
import contextlib
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from . import authentication, local_clusters, ray_runtime

__all__ = [
    "KILLED",
    "LIMIT",
    "LOOK",
    "Answers",
    "Connection",
    "MissingNode",
    "Node",
    "address",
    "ask",
    "cancel",
    "connect",
    "here",
    "is_connected",
    "locate",
    "missing",
    "nodes",
    "on_each_node",
    "on_nodes",
    "reason",
]

LIMIT = 30.0
"""Seconds for which a node may be silent. To start a worker takes it one or two."""
KILLED = "Ray's memory monitor killed the task that read there"
"""Why a node is missing that has no memory left even to be looked at."""
_LIMIT_AFTER_SILENCE = 5.0
"""The same for a node that was silent when it was asked last."""
_LIMIT_RIGHT_AFTER_SILENCE = 2.0
"""The same where that was less than a minute ago: one question is often several to the nodes."""
_RIGHT_AFTER = 60.0
"""Seconds."""
_SECONDS_TO_CONNECT = 5.0
_ADDRESS = r"(?:ray://)?(?P<host>\[[^/]+\]|[^/:]+):(?P<port>\d+)"
LOOK = 0.5
"""Seconds between looks at who has answered, and who is silent."""
_SHIP = (
    "raymemprof is not installed there: install it in the node's image, or ship it with "
    'ray.init(runtime_env={"py_modules": [raymemprof], "pip": ["memray", "psutil", "wrapt", "rich"]})'
)


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster: its id, its IP address, whether it is the head."""

    node_id: str
    address: str
    is_head: bool
    is_alive: bool


@dataclass(frozen=True, slots=True)
class MissingNode:
    """A node that did not answer.

    Attributes:
        node_id: its id.
        address: its IP address.
        reason: why it did not, in a few words.
    """

    node_id: str
    address: str
    reason: str

    def __str__(self) -> str:
        return f"node {self.address} ({self.node_id[:8]}…) is missing here: {self.reason}"


class Answers(NamedTuple):
    """What nodes answered, by node id, and which did not."""

    by_node: dict[str, Any]
    missing: tuple[MissingNode, ...]


def is_connected() -> bool:
    """Whether this process is connected to a cluster: as driver, worker, or through Ray Client."""
    ray = sys.modules.get("ray")
    return bool(ray is not None and getattr(ray, "is_initialized", bool)())


class Connection(NamedTuple):
    """The cluster that a command connects to: its address, host and port, and the others that run on this machine.

    They are told only where none was named, so that it is of interest which was chosen.
    """

    address: str
    host: str
    port: int
    others: tuple[local_clusters.LocalCluster, ...] = ()

    @property
    def chosen(self) -> str:
        """Say which it is, where several could have been meant; else nothing."""
        if not self.others:
            return ""
        return (
            f"several Ray clusters run on this machine; this is {self.host}:{self.port}, as `auto` has it. "
            f"Others, for --address: {local_clusters.shown(self.others)}."
        )


def locate(address: str) -> Connection:
    """Return the cluster that an address means, which for "auto" is found on this machine.

    Raises:
        ValueError: that is no address, or no cluster runs here.
    """
    found = re.fullmatch(_ADDRESS, address)
    others: tuple[local_clusters.LocalCluster, ...] = ()
    if found is None and address != "auto":
        raise ValueError(
            f"{address!r} is not the address of a Ray cluster: give HOST:PORT (6379 is Ray's usual port), "
            "ray://HOST:PORT, or auto for the one that runs here."
        )
    if found is None:
        try:
            address, others = ray_runtime.address_here()
        except (OSError, ValueError, ImportError) as error:
            raise ValueError(f"there is no Ray cluster to be reached at 'auto': {error}") from None
        found = re.fullmatch(_ADDRESS, address)
        if found is None:
            raise ValueError(f"{address!r} (auto) is not the address of a Ray cluster; RAY_ADDRESS says so.")
    return Connection(address, found["host"].strip("[]"), int(found["port"]), others)


def connect(address: str) -> Connection:
    """Connect a command's process to the cluster at an address, with the authentication that it wants.

    Raises:
        ValueError: that is no address, or there is no cluster to be reached.
    """
    place = locate(address)
    named = repr(address)
    if address == "auto":
        named = f"{place.address} (auto{'; others here: ' * bool(place.others)}{local_clusters.shown(place.others)})"
    try:
        socket.create_connection((place.host, place.port), _SECONDS_TO_CONNECT).close()  # Ray would try for minutes
        host_and_port = place.address.removeprefix("ray://")
        authentication.choose_mode(host_and_port, client=place.address != host_and_port)
        import ray

        ray.init(address=place.address, logging_level="ERROR", log_to_driver=False)  # type: ignore[arg-type]
        ray_runtime.print_nothing()
        # Runs before Ray's own end, which Ctrl-C would have print a traceback: all is said by then.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)
    except PermissionError as error:
        raise ValueError(f"the Ray cluster at {named} cannot be connected to: {error}.") from None
    except OSError as error:
        raise ValueError(f"there is no Ray cluster to be reached at {named}: {error}.") from None
    except (RuntimeError, ValueError, AssertionError, ImportError, OverflowError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the Ray cluster at {named} cannot be connected to: {why}") from None
    return place


def address() -> str:
    """Return the address of the cluster that this process is connected to, as far as it is known."""
    return ray_runtime.gcs_address() or "the address that was given"


def here() -> str | None:
    """Return the id of the node that this process runs on; None where it is none of the cluster's, as Ray Client's."""
    return ray_runtime.process_identity().node_id


def nodes() -> list[Node]:
    """Return the nodes of the cluster, the head first, also those that are gone."""
    ray = sys.modules["ray"]
    found = [
        Node(
            node_id=node["NodeID"],
            address=node["NodeManagerAddress"],
            is_head="node:__internal_head__" in node["Resources"],
            is_alive=node["Alive"],
        )
        for node in ray.nodes()
    ]
    return sorted(found, key=lambda node: (not node.is_head, node.address, node.node_id))


def on_each_node(
    function: Callable[..., Any],
    *arguments: Any,
    node_id: str | None = None,
) -> Answers:
    """Run a function on every node, or those whose id begins with `node_id`, and name those that are gone."""
    known = [node for node in nodes() if node.node_id.startswith(node_id or "")]
    gone = tuple(MissingNode(node.node_id, node.address, "it has died or left") for node in known if not node.is_alive)
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
        longest: seconds that it may take. A node is given up before that when for `LIMIT` seconds it does not even
            answer whether it is there.
        meanwhile: called while the nodes work.
        take: given a node's id and its answer when that comes, which then is not kept: hundreds may be large.
    """
    answers: dict[str, Any] = {}
    take = take or answers.__setitem__
    round_ = _Round(function, arguments, longest, take)
    try:
        own = here()
        if own is not None and own in arguments:
            take(own, function(*arguments[own]))
        meanwhile()
        round_.wait()
    finally:
        round_.cancel()
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
            self._asked[ask(node_id, self.function, *self.arguments[node_id])] = node_id
            self._heard[node_id] = time.monotonic()

    def wait(self) -> None:
        """Wait until every node has answered or was given up."""
        self._began = time.monotonic()  # nobody listened before
        self._heard = dict.fromkeys(self._heard, self._began)
        while self._asked:
            ray = sys.modules["ray"]
            waiting = [*self._asked, *self._knocks]
            ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=LOOK)
            for reference in ready:
                self._take(reference)
            for reference, node_id in list(self._asked.items()):
                self._judge(reference, node_id)

    def _take(self, reference: Any) -> None:
        ray = sys.modules["ray"]
        node_id = self._knocks.pop(reference, None)
        if node_id is not None:
            self._heard[node_id] = time.monotonic()
            return
        node_id = self._asked.pop(reference)
        try:
            answer = ray.get(reference, timeout=LIMIT)
        except ray.exceptions.RayError as error:
            self._miss(node_id, reason(error))
        else:
            _silent.pop(node_id, None)
            self.take(node_id, answer)

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
            cancel(reference)
        elif silence > limit / 3 and node_id not in self._knocks.values():
            self._knocks[ask(node_id, _nothing)] = node_id

    def _miss(self, node_id: str, why: str) -> None:
        self.missing[node_id] = missing(node_id, why)

    def cancel(self) -> None:
        """Leave nothing running, also after Ctrl-C."""
        for reference in [*self._asked, *self._knocks]:
            cancel(reference)


def _patience(node_id: str) -> float:
    """Return for how many seconds a node may be silent."""
    if node_id not in _silent:
        return LIMIT
    is_long_ago = time.monotonic() - _silent[node_id] > _RIGHT_AFTER
    return _LIMIT_AFTER_SILENCE if is_long_ago else _LIMIT_RIGHT_AFTER_SILENCE


def missing(node_id: str, why: str) -> MissingNode:
    """Say of a node that it does not answer."""
    addresses = {node.node_id: node.address for node in nodes()}
    return MissingNode(node_id, addresses.get(node_id, "of unknown address"), why)


def ask(node_id: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function of this package on a node; return the reference to what it returns."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from . import __version__

    # Retriable, so that where memory is short Ray's monitor kills this before it kills what the user runs.
    task = _remote_run().options(
        name=f"raymemprof.{function.__name__.strip('_')}",
        num_cpus=0,
        max_retries=1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
    )
    return task.remote(__version__, function, *arguments)


@cache
def _remote_run() -> Any:
    """The one function that nodes are sent: each new one would stay in the cluster's tables for as long as it runs.

    Ray itself sends it anew where this process has connected anew.
    """
    import ray

    return ray.remote(_run)


def _run(version: str, function: Callable[..., Any], *arguments: Any) -> Any:
    from . import __version__

    if version != __version__:
        raise RuntimeError(f"it has raymemprof {__version__}, and the one that asks is {version}")
    if (ray_runtime.task_identity().attempt or 0) > 1:  # Ray retries what is killed for memory without end
        raise RuntimeError("Ray's memory monitor killed the task that reads there again and again")
    return function(*arguments)


def _nothing() -> None:
    """Answer that the node is there."""


def cancel(reference: Any) -> None:
    """Have nobody work for a reference any more."""
    ray = sys.modules["ray"]
    with contextlib.suppress(ray.exceptions.RayError, ValueError, TypeError):  # it has ended, or Ray has
        ray.cancel(reference)


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
