"""What `usage()` returns: the cluster's memory at one moment, of each node and of each process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from ... import cluster, host
from ...cluster import MissingNode
from ...display.record import Record
from ...display.rows import Rows
from ...display.text import first_few, show_bytes
from .processes import USERS
from .shared_memory import SharedMemoryOwners

if TYPE_CHECKING:
    import pandas
    from rich.console import Console, ConsoleOptions
    from rich.table import Table
    from rich.text import Text

__all__ = ["SPILLS", "NodeUsage", "Nodes", "ProcessUsage", "Processes", "Usage"]

SPILLS = 0.8
"""Part of the object store's capacity from which on Ray spills (object_spilling_threshold)."""


@dataclass(frozen=True, slots=True)
class ProcessUsage(Record):
    """One process of Ray's, or one that a worker started.

    Attributes:
        pid: the process, as its node sees it.
        role: "task", "actor", "idle worker", "driver", "subprocess" (a worker started it), "worker" (Ray did not say
            what it runs), or a part of Ray: "raylet", "gcs", "dashboard", "agent" (the dashboard's on each node),
            "runtime env agent", "log monitor", "autoscaler", "client server", "io worker" (spills and restores).
        name: what runs in it: the task's name, or `Actor.method`, or the actor's class between two calls. For a driver,
            its script. None if the role says it already.
        rss: resident bytes.
        shared: the part of `rss` that others may share, above all the object store.
        memory: rss − shared.
        pss: if it shares pages with parents or children (a worker and what it started, and forked drivers), its
            proportional set size: pages that they share by copy-on-write are divided among them, so that their sum is
            right; else None.
        parent_pid: for a subprocess, the pid of the process that started it; None if that process is not Ray's.
        task_id: the task that runs. Ray's record of it lags by up to a second. None if unknown, or if several run at
            once.
        actor_id: its actor.
        job_id: the job it works for.
        worker_id: its Ray worker id.
        node_id: its node.
        node_ip: its node's IP address.
        why_uncounted: why it is not in its node's sums: it is in another container, or the memory that it shares with
            its parent or children cannot be divided. None if it is in the sums.
    """

    pid: int
    role: str
    name: str | None
    rss: int
    shared: int
    memory: int
    task_id: str | None = None
    actor_id: str | None = None
    job_id: str | None = None
    worker_id: str | None = None
    node_id: str = ""
    node_ip: str = ""
    pss: int | None = None
    parent_pid: int | None = None
    why_uncounted: str | None = None

    @property
    def counted(self) -> int:
        """What it counts for in a sum: `pss`, or `memory` where it has no relatives; 0 with `why_uncounted`."""
        if self.why_uncounted is not None:
            return 0
        return self.memory if self.pss is None else self.pss


class Processes(Rows[ProcessUsage]):
    """A sequence of `ProcessUsage`, the largest first."""

    _title: ClassVar[tuple[str, str]] = ("process", "processes")
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("node", lambda process: f"{process.node_ip} {process.node_id[:6]}…", False),
        ("role", lambda process: process.role, False),
        ("name", lambda process: process.name or "", False),
        ("memory", lambda process: show_bytes(process.memory), True),
        ("PSS", lambda process: show_bytes(process.pss), True),
        ("RSS", lambda process: show_bytes(process.rss), True),
        ("SHR", lambda process: show_bytes(process.shared), True),
        ("pid", lambda process: str(process.pid), True),
        ("task", lambda process: f"{process.task_id[:8]}…" if process.task_id else "", False),
        ("actor", lambda process: f"{process.actor_id[:8]}…" if process.actor_id else "", False),
    )
    _expendable: ClassVar[tuple[str, ...]] = ("task", "actor", "SHR", "RSS")
    _if_various: ClassVar[tuple[str, ...]] = ("node",)

    def _notes(self) -> list[str]:
        uncounted = [
            f"{one.name or one.role} (pid {one.pid}, {show_bytes(one.memory)}) is not in the sums: {one.why_uncounted}."
            for one in self
            if one.why_uncounted is not None
        ]
        return [*first_few(uncounted), *super()._notes()]


@dataclass(frozen=True, slots=True)
class NodeUsage(Record):
    """One node's memory, in bytes.

    Attributes:
        node_id: its id.
        node_ip: its IP address.
        is_head: whether it is the head.
        total: the memory of the machine, or the limit of the container (memory cgroup) that the raylet runs in.
        used: the part in use, as Ray counts it: without memory that the kernel can reclaim at once.
        available: total − used.
        threshold: the bytes in use above which Ray's memory monitor kills, from the raylet's log if that exists; None
            if the monitor never kills.
        object_store_used: bytes of the objects in the object store; None if Ray did not say.
        object_store_primary: bytes of the objects that it must keep or spill. The rest are copies of other nodes'
            objects, which it drops when it needs space. None if Ray did not say.
        object_store_capacity: the size of the object store, in bytes; None if Ray did not say.
        object_store_held: bytes of memory that the object store occupies, including freed objects, because it keeps
            memory that it has used once; 0 if it lies in files on a disk, whose pages the kernel can reclaim; None if
            the system does not say.
        spilled: bytes of objects written to disk since the node started; None if Ray did not say.
        shared_memory: bytes in shared memory and tmpfs (/dev/shm) besides the object store, for example of PyTorch's
            DataLoader, `multiprocessing.shared_memory`, or other nodes' object stores on the machine; None if the
            system does not say.
        shared_memory_owners: the owners of `shared_memory`, the largest first and the rest as one; empty if it is
            below 1 MiB.
        kernel: bytes that the kernel uses for itself: page tables, stacks, and slab that it cannot reclaim. A process
            that maps a large object store needs 2 MiB of page tables for each GiB. Part of `unexplained`; None if the
            system does not say.
        huge_pages: bytes of the machine's pool of huge pages (hugetlbfs), which are reserved even if nothing uses them,
            without an object store in it. Part of `unexplained`.
        processes: its processes.
        isolation: the limits of resource isolation (Ray 2.51 and later, `--enable-resource-isolation`) and the use of
            its two cgroups; None without it.
        references: the references of the node's processes to objects, the largest first. Known only if the object
            store is nearly full or has spilled.
    """

    node_id: str
    node_ip: str
    is_head: bool
    total: int
    used: int
    available: int
    threshold: int | None
    object_store_used: int | None
    object_store_primary: int | None
    object_store_capacity: int | None
    object_store_held: int | None
    spilled: int | None
    processes: Processes
    shared_memory: int | None = None
    shared_memory_owners: SharedMemoryOwners = field(default_factory=lambda: SharedMemoryOwners(()))
    kernel: int | None = None
    huge_pages: int = 0
    isolation: host.ResourceIsolation | None = None
    references: tuple[cluster.ObjectReferences, ...] = ()

    @property
    def object_store_kept(self) -> int | None:
        """Bytes that the object store must keep or spill; None if that is not known."""
        used, capacity = self.object_store_used, self.object_store_capacity
        if self.object_store_primary is None and used is not None and used < SPILLS * (capacity or 0):
            return used  # no more than that
        return self.object_store_primary

    @property
    def is_store_full(self) -> bool:
        """Whether the object store has to keep so much that it spills."""
        return (self.object_store_kept or 0) >= SPILLS * (self.object_store_capacity or 0) > 0

    @property
    def _user_limit(self) -> int | None:
        return None if self.isolation is None else self.isolation.user_limit

    @property
    def _shared(self) -> int:
        """Shared memory that counts as the workers' with resource isolation: objects, and what else there is of it."""
        return max(self.object_store, 0 if self.isolation is None else self.isolation.shared)

    @property
    def ray_kill_limit(self) -> int | None:
        """Bytes (`counted`) above which Ray kills: `threshold`, or the limit that resource isolation sets; or None."""
        return self.threshold if self._user_limit is None else self._user_limit

    @property
    def kill_limit(self) -> int:
        """Bytes (`counted`) above which processes are killed: by Ray, or by the kernel if that comes first."""
        return self.total if self.ray_kill_limit is None else min(self.ray_kill_limit, self.total)

    @property
    def counted(self) -> int:
        """Bytes that count against `kill_limit`: `used`; with resource isolation what workers and shared memory use."""
        if self.isolation is None or self._user_limit is None:
            return self.used
        return self.isolation.user_used + self._shared

    @property
    def left(self) -> int:
        """Bytes that can be used until processes are killed."""
        return max(self.kill_limit - self.counted, 0)

    @property
    def reserve(self) -> tuple[int, int] | None:
        """With resource isolation, what all but workers and objects use, and what is reserved for that; else None."""
        if self.isolation is None:
            return None
        if self._user_limit is None:
            return self.isolation.system_used, self.isolation.system_reserved
        return max(self.used - self.counted, 0), max(self.total - self._user_limit, 0)

    @property
    def killer(self) -> str:
        """Who kills at `kill_limit`: "Ray" or "the kernel"."""
        return "Ray" if self.ray_kill_limit == self.kill_limit else "the kernel"

    @property
    def object_store(self) -> int:
        """Bytes of the object store's memory, counted once for all processes that map it."""
        held = self.object_store_used if self.object_store_held is None else self.object_store_held
        return held or 0

    @property
    def workers(self) -> int:
        """RSS − SHR of tasks, actors, idle workers, drivers and subprocesses; pages that relatives share count once."""
        return sum(process.counted for process in self.processes if process.role in USERS)

    @property
    def system(self) -> int:
        """RSS − SHR of Ray's own parts, summed."""
        return sum(process.counted for process in self.processes if process.role not in USERS)

    @property
    def explained(self) -> int:
        """Bytes that are accounted for: object store, workers, Ray's own processes, and other shared memory."""
        return self.object_store + self.workers + self.system + (self.shared_memory or 0)

    @property
    def unexplained(self) -> int:
        """Bytes in use that are not accounted for: the kernel, other programs, other Ray nodes on the machine.

        0 if the parts sum to more, which happens only if memory changes while it is read.
        """
        return max(self.used - self.explained, 0)


def _of(part: int | None, whole: int | None) -> str:
    return "" if part is None else f"{show_bytes(part)} of {show_bytes(whole)}"


class Nodes(Rows[NodeUsage]):
    """A sequence of `NodeUsage`, the head first."""

    _title: ClassVar[tuple[str, str]] = ("node", "nodes")
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("node", lambda node: f"{node.node_ip} {node.node_id[:6]}…{' head' if node.is_head else ''}", False),
        ("used", lambda node: _of(node.used, node.total), True),
        ("Ray kills at", lambda node: show_bytes(node.ray_kill_limit) or "never", True),
        ("object store", lambda node: show_bytes(node.object_store), True),
        ("workers", lambda node: show_bytes(node.workers), True),
        ("Ray itself", lambda node: show_bytes(node.system), True),
        ("other shared", lambda node: show_bytes(node.shared_memory or None), True),
        ("the rest", lambda node: show_bytes(node.unexplained), True),
        ("of it kernel", lambda node: show_bytes(node.kernel), True),
        ("of it huge pages", lambda node: show_bytes(node.huge_pages or None), True),
        ("objects", lambda node: _of(node.object_store_used, node.object_store_capacity), True),
        ("spilled", lambda node: show_bytes(node.spilled or None), True),
    )
    _expendable: ClassVar[tuple[str, ...]] = (
        "of it kernel",
        "objects",
        "spilled",
        "other shared",
        "Ray itself",
        "the rest",
    )

    def _notes(self) -> list[str]:
        return [*(_isolated(node) for node in self if node.isolation is not None), *super()._notes()]


def _isolated(node: NodeUsage) -> str:
    """Say how resource isolation divides a node's memory, in a sentence."""
    found = node.isolation
    assert found is not None
    limit = "have no limit" if found.user_limit is None else f"may use {show_bytes(found.user_limit)}"
    used = show_bytes(found.user_used + node._shared)
    return (
        f"On node {node.node_ip} resource isolation is on: workers and objects {limit} and use {used}; Ray's own "
        f"processes use {show_bytes(found.system_used)} of the {show_bytes(found.system_reserved)} reserved for them."
    )


@dataclass(frozen=True, slots=True, repr=False)
class Usage(Record):
    """The cluster's memory at one moment. It prints as tables, in a notebook too.

    Attributes:
        when: when it was measured, UTC.
        nodes: the nodes that answered, the head first.
        missing: the nodes that did not answer.
    """

    _not_in_json: ClassVar[tuple[str, ...]] = ("processes", "shared_memory_owners", "tables")

    when: datetime
    nodes: Nodes
    missing: tuple[MissingNode, ...] = ()

    @property
    def processes(self) -> Processes:
        """The processes of all nodes, the largest first."""
        found = [process for node in self.nodes for process in node.processes]
        return Processes(sorted(found, key=lambda process: -process.memory))

    @property
    def shared_memory_owners(self) -> SharedMemoryOwners:
        """Whose the shared memory beside the object stores is: of each node the largest first, the rest as one."""
        return SharedMemoryOwners(one for node in self.nodes for one in node.shared_memory_owners)

    @property
    def tables(self) -> tuple[Rows[Any], ...]:
        """What it prints as: nodes, processes, and where there is some, the owners of shared memory."""
        return (self.nodes, self.processes, *([owners] if (owners := self.shared_memory_owners) else ()))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        """Show as tables where rich prints."""
        for rows in self.tables:
            yield from rows.__rich_console__(console, options)

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.tables))

    def _repr_html_(self) -> str:
        """Return the tables as a notebook shows them."""
        return "".join(rows._repr_html_() for rows in self.tables)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a `pandas.DataFrame` with a row for each process. Needs pandas: `pip install raymemprof[pandas]`."""
        return self.processes.to_pandas()
