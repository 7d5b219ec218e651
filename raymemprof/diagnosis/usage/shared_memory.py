"""Shared memory and whose it is, as `usage()` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ...display.record import Record
from ...display.rows import Rows
from ...display.text import show_bytes

__all__ = ["SharedMemoryOwner", "SharedMemoryOwners"]


@dataclass(frozen=True, slots=True)
class SharedMemoryOwner(Record):
    """The owner of a large piece of shared memory, or of several smaller ones.

    Attributes:
        kind: "tmpfs" (files, as those in /dev/shm), "memfd", "System V", "anonymous" (a mapping that a process shares
            with those it forks), "object store of another Ray node", or "the rest", whose owner is not known.
        name: the name of the largest piece: its path, the memfd's name, or the number of the System V segment. For
            "the rest", why its owner is not known.
        piece_count: how many pieces there are.
        memory: their size in bytes.
        pid: the process that has them open or mapped; if there are several, the one that started the others. None if no
            process has: tmpfs keeps a file until it is deleted.
        role: the role of that process, as in `ProcessUsage`; None if it does not belong to this Ray node.
        process_name: the name of the process: the task's or actor's, or the program's.
        sharer_count: how many other processes are known to have them open, or to have touched them.
        user: the user that owns the files, if no process is known to have them.
        task_id: the task that runs in the process, as in `ProcessUsage`.
        actor_id: its actor.
        node_id: the node.
        node_ip: its IP address.
    """

    kind: str
    name: str | None
    piece_count: int
    memory: int
    pid: int | None = None
    role: str | None = None
    process_name: str | None = None
    sharer_count: int = 0
    user: str | None = None
    task_id: str | None = None
    actor_id: str | None = None
    node_id: str = ""
    node_ip: str = ""

    def __str__(self) -> str:
        """What it is and whose, in a line."""
        if self.pid is not None:
            others = f" and {self.sharer_count} more" if self.sharer_count else ""
            whose = f"of {self.process_name or self.role or 'a process'} (pid {self.pid}){others}"
        else:
            whose = f"of user {self.user}, which no process is known to have open" if self.user else "of unknown owners"
        return f"{show_bytes(self.memory)} {whose}: {_what(self)}"


def _what(one: SharedMemoryOwner) -> str:
    more = f" and {one.piece_count - 1} more" if one.piece_count > 1 else ""
    name = one.name or ""
    if one.kind == "the rest":
        return f"the rest ({name})" if name else "the rest"
    return f"{name}{more}" if name.startswith(("/", "memfd:")) else f"{one.kind} {name}{more}"


def _process(one: SharedMemoryOwner) -> str:
    if one.pid is None:
        return f"(files of {one.user})" if one.user else ""
    return one.process_name or ""


class SharedMemoryOwners(Rows[SharedMemoryOwner]):
    """A sequence of `SharedMemoryOwner`: for each node, the largest first, and the rest as one."""

    _title: ClassVar[tuple[str, str]] = ("owner of shared memory", "owners of shared memory")
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("node", lambda one: f"{one.node_ip} {one.node_id[:6]}…", False),
        ("shared memory", _what, False),
        ("size", lambda one: show_bytes(one.memory), True),
        ("role", lambda one: one.role or "", False),
        ("process", _process, False),
        ("pid", lambda one: str(one.pid or ""), True),
        ("shared with", lambda one: str(one.sharer_count or ""), True),
        ("task", lambda one: f"{one.task_id[:8]}…" if one.task_id else "", False),
        ("actor", lambda one: f"{one.actor_id[:8]}…" if one.actor_id else "", False),
    )
    _expendable: ClassVar[tuple[str, ...]] = ("task", "actor", "shared with")
    _if_various: ClassVar[tuple[str, ...]] = ("node",)
