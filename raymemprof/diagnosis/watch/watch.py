"""`watch()`: has each node of the cluster looked at from the outside, once a second, without any set-up of the job."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from datetime import datetime, timezone

from ... import cluster
from ...cluster import MissingNode
from ...display.refusals import short_traceback
from ...display.text import counted
from .connections import Connections
from .peaks import SeenPeaks, seen_peaks
from .process import NO_CONNECTION
from .start_watcher import watch_here

__all__ = ["HOUR", "Watch", "watch"]

HOUR = 3600.0
_SECONDS_TO_END = 5.0
_NEW_NODES = 3.0
"""Seconds between looks at which nodes there are."""
_AFTER_SHORTAGE = 30.0
"""Seconds until processes are started again where this process could not take their connections."""
_TICK = 0.1
_TRIES = 3
"""How often a process is started on a node where it ends too soon."""
_SECONDS_TO_START = 60.0


class Watch:
    """What `watch` returns: a running watch of the cluster. It is also a context manager, whose block ends it.

    Attributes:
        started_at: when it began, UTC.
        missing: the nodes that are not watched, each with the reason.
        node_ids: the nodes that are watched now.
        is_cut_off: whether the session that was watched has ended.
    """

    started_at: datetime

    def __init__(self, seconds: float) -> None:
        self.started_at = datetime.now(timezone.utc)
        self._until = time.monotonic() + seconds
        self._is_over = threading.Event()
        self._missing: dict[str, MissingNode] = {}
        self._tries: dict[str, int] = {}
        self._next_try = 0.0
        self._cluster = cluster.gcs_address()
        self._connections = Connections(cluster.ip_address())
        try:
            self._begin()
        except BaseException:
            self._connections.end(0)
            raise
        self._thread = threading.Thread(target=self._follow, name="raymemprof-watch-nodes", daemon=True)
        self._thread.start()

    @property
    def node_ids(self) -> tuple[str, ...]:
        """Return the nodes that are watched now."""
        return tuple(sorted(self._connections.node_ids))

    @property
    def missing(self) -> tuple[MissingNode, ...]:
        """Return the nodes that are not watched, and why."""
        watched = self._connections.node_ids - self._connections.troubles.keys()  # its answer may have come too late
        return tuple(one for one in list(self._missing.values()) if one.node_id not in watched)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def __repr__(self) -> str:
        state = "ended" if self._is_over.is_set() else f"of {counted(len(self.node_ids), 'node', 'nodes')}"
        return f"Watch({state}, since {self.started_at:%H:%M:%S} UTC)"

    def peaks(self) -> SeenPeaks:
        """Return what was seen since the minute in which it began, also by others: by name and node, largest first.

        Raises:
            ValueError: this process is not connected to the cluster any more.
        """
        if not cluster.is_connected():
            raise ValueError("this process is not connected to a Ray cluster any more.")
        return seen_peaks(since=self.started_at)

    def wait(self) -> None:
        """Wait until the time is over, or the cluster has ended."""
        while not self._is_over.wait(_TICK) and time.monotonic() < self._until:
            if self.is_cut_off:
                break
        self.end()

    def end(self) -> None:
        """End it now. What was seen is kept in the session's log directory."""
        self._is_over.set()
        self._forget_what_is_over()
        self._connections.end(_SECONDS_TO_END)
        if threading.current_thread() is not self._thread:
            self._thread.join(_SECONDS_TO_END)

    @property
    def is_cut_off(self) -> bool:
        """Whether the session that was watched has ended."""
        *_, last = [None, *self._connections.ended.values()]  # a node that died before has said the same
        return not self._connections.node_ids and last == "the session has ended"

    def _follow(self) -> None:
        """Watch nodes that join, too, and those again whose process was killed."""
        while not self._is_over.wait(_NEW_NODES) and time.monotonic() < self._until:
            with contextlib.suppress(Exception):  # the cluster does not answer now, or has ended
                if cluster.is_connected() and cluster.gcs_address() == self._cluster:
                    self._begin()
        if not self._is_over.is_set():
            self.end()

    def _begin(self) -> None:
        """Start a process on each node that has none."""
        alive = cluster.living_nodes()
        for node_id in self._missing.keys() - alive.keys():
            del self._missing[node_id]  # it has left
        watched = self._connections.node_ids
        wanted = [one for one in alive if one not in watched and self._tries.get(one, 0) < _TRIES]
        for node_id in (one for one in alive if one in self._connections.ended and one not in wanted):
            if node_id not in watched:
                self._miss(node_id, alive[node_id].node_ip, self._connections.ended[node_id])
        for node_id, trouble in list(self._connections.troubles.items()):
            if node_id in watched & alive.keys():
                self._miss(node_id, alive[node_id].node_ip, trouble)
        self._forget_what_is_over()
        seconds = self._until - time.monotonic()
        if not wanted or seconds <= 0 or self._is_over.is_set() or time.monotonic() < self._next_try:
            return
        request = (self._connections.host, self._connections.port, self._connections.secret, seconds)
        answers = cluster.on_nodes(watch_here, dict.fromkeys(wanted, request), longest=_SECONDS_TO_START)
        shortage = self._connections.shortage
        for missing in answers.missing:
            self._missing[missing.node_id] = missing
        for node_id in wanted:
            why = answers.by_node.get(node_id)
            has_answered = node_id in answers.by_node
            if shortage and (not has_answered or (why or "").startswith(NO_CONNECTION)):  # it is not the node's
                why = why and shortage
                self._next_try = time.monotonic() + _AFTER_SHORTAGE
            else:
                self._tries[node_id] = self._tries.get(node_id, 0) + 1
            if why:
                self._miss(node_id, alive[node_id].node_ip, why)
            elif has_answered:
                self._missing.pop(node_id, None)

    def _forget_what_is_over(self) -> None:
        """Forget why nodes were missing that are watched now without trouble."""
        for node_id in self._connections.node_ids - self._connections.troubles.keys():
            self._missing.pop(node_id, None)

    def _miss(self, node_id: str, node_ip: str, why: str) -> None:
        self._missing[node_id] = MissingNode(node_id, node_ip, why)


@short_traceback
def watch(seconds: float = HOUR) -> Watch:
    """Look at every Ray worker of the cluster from the outside, once a second, from now on.

    The job needs no change. A small process on each node reads the workers. For each minute of the last hour, and for
    each task, actor class and method, it keeps the highest memory (RSS − SHR) of each worker and how many ran at once,
    in the session's log directory. `advise()` and `doctor()` use these peaks for what was not recorded. A peak between
    two looks is not seen, nor is the memory of a worker's child processes.

    It ends with the `with` block, with `end()`, after `seconds`, or within seconds after this process or the session
    has ended. Nodes that join later are watched too. If several people watch a node, one process reads it.

    Args:
        seconds: how long to watch. Default: an hour.

    Returns:
        A `Watch`, which has begun. Use it in a `with` statement, call its `wait()`, or leave it as it is. Its `missing`
        has the nodes that cannot be watched.

    Raises:
        ValueError: this process is not connected to a cluster, or only through Ray Client; or `seconds` makes no sense.

    Example:
        >>> import raymemprof
        >>> with raymemprof.watch() as watch:  # doctest: +SKIP
        ...     run_job()
        >>> watch.peaks()  # doctest: +SKIP
        >>> raymemprof.advise()  # doctest: +SKIP
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise ValueError(f"watch(seconds={seconds!r}): seconds must be a number, more than 0.")
    if not cluster.is_connected():
        raise ValueError("this process is not connected to a Ray cluster: call ray.init() first.")
    if cluster.here() is None:
        raise ValueError(
            "Ray Client cannot watch, since nodes connect to who watches: connect to HOST:PORT of the cluster, or run "
            "`raymemprof watch` on one of its nodes."
        )
    if cluster.uses_tls():
        raise ValueError("with RAY_USE_TLS nothing is watched: nodes would connect to who watches in the clear.")
    try:
        return Watch(float(seconds))
    except OSError as error:
        raise ValueError(f"the nodes cannot connect to this process at {cluster.ip_address()}: {error}.") from None
