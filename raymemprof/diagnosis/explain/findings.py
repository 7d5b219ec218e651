"""What is asked about a death, what a node answers, and what is concluded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ... import cluster
from ...reading.catalog.records import Call
from ...reading.logs.facts import Message, Victim
from ...reading.reports.lines import Line

__all__ = ["MOST_SUSPECTS", "DeathsOnNode", "Finding", "Question", "Suspect"]

MOST_SUSPECTS = 3
"""Deaths that are named where each of several fits."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A process that died, as its node knows it."""

    victim: Victim
    cause: str
    said: str | None
    """What somebody said of it, in words."""
    when: datetime
    calls: tuple[Call, ...] = ()
    """The profiled calls that were killed in it."""
    captures: tuple[Path, ...] = ()
    """Of an actor, those of its process, in their order: what it held is of all its calls."""
    gaps: tuple[str, ...] = ()
    """What is in none of them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the nodes know."""

    message: Message
    """What the error says, with what they know of it."""
    calls: tuple[Call, ...] = ()
    """The profiled calls that were killed, and the last ones of actors that were idle then."""
    lines: tuple[Line, ...] = ()
    """The lines that held most when the largest of them died."""
    code: str = ""
    """The text of the first of these lines."""
    gaps: tuple[str, ...] = ()
    """What they are summed over, and what is not in them."""
    kernel_kills: int | None = None
    """How often the kernel has killed in the node's container."""
    said: str | None = None
    """What the logs say of the death, in words."""
    is_inferred: bool = False
    """Whether the error names nobody, and it is told of the only one who died."""
    suspects: tuple[Suspect, ...] = ()
    """The latest of the deaths that fit an error which names nobody, where there are several."""
    fitting: int = 0
    """How many there are."""
    is_on_cluster: bool = False
    """Whether it is the cluster that was asked, and not a folder."""
    tells_of_death: bool = True
    """Whether the error speaks of a worker that died."""
    is_quoted: bool = False
    """Whether nothing is known but what the text says of memory, which is quoted."""
    chosen: str = ""
    """What was read, in a sentence without its full stop."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the nodes are asked about."""

    message: Message
    task_id: str | None = None
    """The task whose result the error came in place of, where that is known."""
    attempt: cluster.TaskAttempt | None = None
    """The attempt of it that failed last, where Ray knows."""
    nodes: frozenset[str] | None = None
    """The nodes that have the address which the error names."""

    @property
    def worker_id(self) -> str | None:
        """The worker that it failed in."""
        return self.attempt.worker_id if self.attempt else None

    @property
    def names_nobody(self) -> bool:
        """Whether it has to be found out who died."""
        return not self.message.victims


@dataclass(slots=True)
class DeathsOnNode:
    """What a node answers."""

    named: list[Suspect] = field(default_factory=list)
    """Those that the error, or Ray, names."""
    fitting: list[Suspect] = field(default_factory=list)
    """The latest of those that fit an error which names nobody."""
    fits: int = 0
    """How many there are."""
    died: int = 0
    """How many died in all."""
    kernel_kills: int | None = None
