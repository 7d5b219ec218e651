"""What `doctor()` finds, as data: findings, what could not be told, the questions and their answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ...cluster import MissingNode
from ...display.record import Record
from ...reading.catalog.records import Calls
from ...reading.reports.lines import Lines
from ..advise.advise import Recommendations
from ..ooms import Kills
from ..usage.records import Usage
from .shared_thresholds import MOST_NAMED

__all__ = ["ILLNESSES", "SEVERITIES", "Check", "Examination", "Finding", "Unclear", "gap", "rank"]

SEVERITIES = ("critical", "warning", "info")
ILLNESSES = (  # in order of importance: a cause before what it leads to
    "endless_retries",
    "leaking_actor",
    "too_parallel",
    "head_node",
    "out_of_memory",
    "low_memory",
    "small_reserve",
    "idle_workers",
    "object_store",
    "unexplained_death",
    "copy",
    "retained_memory",
)


@dataclass(frozen=True, slots=True)
class Finding(Record):
    """One thing that is wrong, or soon will be.

    Attributes:
        severity: "critical" (work was killed, or will be within the hour), "warning" (this may happen) or "info".
        illness: what is wrong:

            - "endless_retries": Ray kills and retries a task without end;
            - "leaking_actor": an actor grows with its calls;
            - "too_parallel": too many calls run at once;
            - "head_node": the head node is crowded;
            - "out_of_memory": a task or actor was killed, for none of the reasons above;
            - "low_memory": a node is about to kill;
            - "small_reserve": resource isolation reserves less than Ray's own processes and the system use;
            - "idle_workers": idle workers keep memory;
            - "object_store": it is full, or spills;
            - "unexplained_death": a process ended, and no log says why;
            - "copy": a call may hold its data twice;
            - "retained_memory": freed memory stays with the allocator.
        title: what is wrong, in a sentence.
        name: the function or actor class that it is about; None if it is about a node.
        node_id: the node that it is about; None if it is not about one node.
        evidence: the facts that show it, in sentences.
        next_steps: what to do, the most important first: sentences with a command or a changed line of code.
        kill_count: how many processes were killed for memory because of it.
        lines: the lines of code that held most.
        calls: the profiled calls that show it best.
    """

    severity: str
    illness: str
    title: str
    name: str | None
    node_id: str | None
    evidence: tuple[str, ...]
    next_steps: tuple[str, ...]
    kill_count: int = 0
    lines: Lines = field(default_factory=lambda: Lines(()))
    calls: Calls = field(default_factory=lambda: Calls(()))


def rank(finding: Finding) -> tuple[int, bool, int]:
    """Return the sort key: the most severe finding first, and one that has killed before one that may."""
    return SEVERITIES.index(finding.severity), not finding.kill_count, ILLNESSES.index(finding.illness)


@dataclass(frozen=True, slots=True)
class Unclear:
    """A check that could not decide, since too little was recorded.

    Attributes:
        illness: which one.
        why: what was not seen, in a few words.
    """

    illness: str
    why: str


def gap(silent: tuple[MissingNode, ...]) -> str:
    """Name the nodes that did not answer."""
    if len(silent) == 1:
        return f"node {silent[0].node_ip} ({silent[0].node_id[:8]}…) did not answer: {silent[0].reason}"
    named = ", ".join(node.node_ip for node in silent[:MOST_NAMED]) + (", …" if len(silent) > MOST_NAMED else "")
    return f"{len(silent)} nodes did not answer ({named})"


@dataclass(frozen=True, slots=True)
class Check(Record):
    """One of the questions of Ray's page, and the answer.

    Attributes:
        question: the question.
        verdict: "ill", "maybe" (worth a look, but without harm so far), "well" (everything was checked and is fine),
            "unknown" (too little was seen), or "info" (the answer is neither good nor bad).
        answer: the answer, in a sentence.
    """

    question: str
    verdict: str
    answer: str


@dataclass(frozen=True, slots=True)
class Examination(Record):
    """All that `doctor()` found, and what it is made from; `Diagnosis` says what each attribute is."""

    when: datetime
    source: str | None
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    unchecked: tuple[str, ...]
    kills: Kills
    calls: Calls
    usage: Usage | None
    recommendations: Recommendations
    missing: tuple[MissingNode, ...]
    silent: tuple[MissingNode, ...] = ()
    chosen: str = ""

    @property
    def healthy(self) -> bool | None:
        """Whether no finding is critical or a warning; None if a node did not answer."""
        if any(finding.severity != "info" for finding in self.findings):
            return False
        return None if self.silent else True

    @property
    def summary(self) -> str:
        """What was found, in a sentence."""
        more = len(self.findings) - 1
        where = " on the nodes that answered" if self.silent else ""
        if not self.findings:
            told = f"Nothing wrong was found{where}."
        elif self.healthy is not False:
            told = f"Nothing wrong was found{where}; {len(self.findings)} thing{'s' * bool(more)} to note."
        else:
            told = f"{self.findings[0].title} And {more} more finding{'s' * (more != 1)}."
            told = told if more else self.findings[0].title
        return f"{told} But {gap(self.silent)}." if self.silent else told
