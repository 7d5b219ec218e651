"""What a message says, as data: its cause, its figures, and who died. What it does not say is None."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...display.record import Record
from .names import Name
from .quotes import Quote

__all__ = ["Considered", "Message", "TopProcess", "Victim", "called"]


def called(name: str | None, pid: int | None, nameless: str = "a worker") -> str:
    """Return how a sentence names a process: as far as its name and its pid are known."""
    return (name or nameless) + (f" (pid {pid})" if pid else "")


@dataclass(frozen=True, slots=True)
class Victim(Record):
    """A task or actor whose worker was killed.

    Attributes:
        name: the task's name, `Actor.method` for an actor.
        task_id: its Ray task. Ray's messages name the task that a worker was leased for, which may be an earlier one.
        actor_id: its Ray actor.
        worker_id: its Ray worker.
        pid: its process.
        memory: bytes that it used when it was killed. Ray prints GiB with two decimals.
    """

    name: str | None
    task_id: str | None
    actor_id: str | None
    worker_id: str | None
    pid: int | None
    memory: int | None
    node_id: str | None = field(default=None, repr=False, compare=False)
    """The node where it was, as the part of the text says that tells of it."""


@dataclass(frozen=True, slots=True)
class TopProcess(Record):
    """One of the processes that used most memory on a node, from Ray's "Top 10 memory users".

    Attributes:
        pid: the process; None if the text joins it with a line number, so that its digits are not known.
        memory: bytes that it used.
        command: its command, which Ray may shorten.
    """

    pid: int | None
    memory: int
    command: str


@dataclass(frozen=True, slots=True)
class Considered:
    """A worker that Ray's monitor considered to kill: memory in use, and requested where it was, in bytes."""

    name: str | None
    pid: int
    memory: int
    requested: int | None
    is_killed: bool


@dataclass(frozen=True, slots=True)
class Message:
    """The figures of a message; what it does not say is None. Sizes in bytes.

    Attributes:
        cause: as `raymemprof.Explanation` has it.
        statement: what happened, in a sentence made of the text's own words and figures; None where the figures below
            say it all.
        killed: how many workers it says were killed for memory.
        retries: how many more times it says a task is retried; `inf` for without end.
        crashed: how many workers it says ended for other reasons.
        exit_type: of which type a worker's end is, as Ray sorts them.
        exit_detail: what it says of how a worker ended.
        considered: the workers that Ray's monitor considered to kill, with those that it killed.
        idle_memory: what idle workers held that were not killed.
        reason: why Ray's monitor killed, where it gives a reason other than the figures.
        moved_by: the variable that it says moves Ray's limit; it had other names in versions before 2.2.
        nodes: how many nodes it tells of; where there are several, no figure of one of them stands for all.
        lacks: what has too little, where other advice fits it than its cause: an "operator" of Ray Data or the "system"
            (Ray's own parts) of the memory that it asked for, the object "store" for one object, the "disk" for what
            Ray spills, "shared memory" for the object store, who set the limit of a container
            or a job, and others (`BY_LACK` of `diagnosis/explain/remedies/`).
        needs: what the operator or the system uses, or the size of the object.
        also: what else it warns of, in sentences; nothing of it need be the cause.
        places: the addresses, else the ids, of the nodes that it tells of, where there are several.
        is_of_raylet: whether a raylet says it, of its own node, which the prefix of its lines names.
        is_named: whether it names who died, if only by an id that nothing else here bears, such as a lease's.
        is_told: whether it is a person's word, of which the text has no log.
        quotes: the lines of the text that tell of memory, whether understood or not.
        names: the processes, nodes, pods and ids that the text names, whether understood or not.
    """

    cause: str
    statement: str | None = None
    node_id: str | None = None
    node_ip: str | None = None
    used: int | None = None
    limit: int | None = None
    threshold: int | None = None
    victims: tuple[Victim, ...] = ()
    top_processes: tuple[TopProcess, ...] = ()
    killed: int | None = None
    retries: float | None = None
    crashed: int | None = None
    exit_type: str | None = None
    exit_detail: str | None = None
    considered: tuple[Considered, ...] = ()
    idle_memory: int | None = None
    reason: str | None = None
    moved_by: str | None = None
    nodes: int = 1
    lacks: str | None = None
    needs: int | None = None
    also: tuple[str, ...] = ()
    is_named: bool = False
    places: tuple[str, ...] = ()
    is_of_raylet: bool = False
    is_told: bool = False
    quotes: tuple[Quote, ...] = field(default=(), repr=False)
    names: tuple[Name, ...] = field(default=(), repr=False)
