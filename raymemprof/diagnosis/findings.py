"""What `doctor()` answers with: findings, what was checked for them, and how all of it shows itself."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..cluster import MissingNode
from ..reading.catalog import Calls
from ..reading.heap import Line
from ..reading.reports import Report
from ..rows import plain, printable
from .advise import Advices
from .ooms import Kills
from .page import fragment, save
from .usage import Usage

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

__all__ = ["ILLNESSES", "SEVERITIES", "Check", "Diagnosis", "Finding", "Unclear", "gap"]

SEVERITIES = ("critical", "warning", "info")
ILLNESSES = (  # of two that are alike in the rest the first matters more: a cause before what it leads to
    "endless_retries",
    "leaking_actor",
    "too_parallel",
    "head_node",
    "out_of_memory",
    "low_memory",
    "idle_workers",
    "object_store",
    "unexplained_death",
    "copy",
    "retained_memory",
)
_MOST_NAMED = 3
_SIGNS = {
    "ill": ("✗", "red"),
    "maybe": ("!", "blue"),
    "well": ("✓", "green"),
    "unknown": ("?", "dim"),
    "info": ("·", "dim"),
}
_STYLES = {"critical": "bold red", "warning": "bold yellow", "info": "bold blue"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or will be.

    Attributes:
        severity: "critical" (work was killed, or will be within the hour), "warning" (it may come to that) or "info".
        illness: "endless_retries", "leaking_actor", "too_parallel", "head_node", "out_of_memory" (a task or actor was
            killed, for none of the reasons before), "low_memory" (a node is about to kill), "idle_workers" (they keep
            memory), "object_store" (it is full, or spills), "unexplained_death" (a process ended, nobody said why),
            "copy" (a call may hold its data twice) or "retained_memory" (what was freed stays with the allocator).
        title: what it is, in a sentence.
        name: the function or actor class that it is about; None where it is about a node.
        node_id: the node that it is about; None where that is not one.
        evidence: what says so, in sentences.
        next_steps: what to do, in sentences with a command or a changed line of code, first things first.
        kills: how many processes were killed for memory by it.
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
    kills: int = 0
    lines: tuple[Line, ...] = ()
    calls: Calls = field(default_factory=lambda: Calls(()))

    def rank(self) -> tuple[int, bool, int]:
        """Return what puts the finding first that matters most: what has killed stands before what will."""
        return SEVERITIES.index(self.severity), not self.kills, ILLNESSES.index(self.illness)

    def as_dict(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        found = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {**found, "calls": list(self.calls)}


@dataclass(frozen=True, slots=True)
class Unclear:
    """Where an illness could not be told: too little was seen, or nobody asked.

    Attributes:
        illness: which one.
        why: what was not seen, in a few words.
    """

    illness: str
    why: str


def gap(silent: tuple[MissingNode, ...]) -> str:
    """Name the nodes that did not answer."""
    if len(silent) == 1:
        return f"node {silent[0].address} ({silent[0].node_id[:8]}…) did not answer: {silent[0].reason}"
    named = ", ".join(node.address for node in silent[:_MOST_NAMED]) + (", …" if len(silent) > _MOST_NAMED else "")
    return f"{len(silent)} nodes did not answer ({named})"


@dataclass(frozen=True, slots=True)
class Check:
    """One of the questions of Ray's page, and the answer.

    Attributes:
        question: the question.
        verdict: "ill", "maybe" (worth a look, though nothing suffers of it), "well" (only where all was seen and is
            well), "unknown" (too little was seen to say so), or "info" (the question asks what there is, not whether
            that is good).
        answer: the answer, in a sentence.
    """

    question: str
    verdict: str
    answer: str


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis:
    """What `doctor()` found. Prints as text, shows itself in a notebook, and is saved as a page.

    Attributes:
        when: when it was made, UTC.
        source: the folder it is of; None where it is of the connected cluster.
        findings: what is wrong, what matters most first.
        checks: what was looked for, in the order of Ray's page.
        unchecked: what could not be looked at, and why, in sentences.
        kills: every process that was killed for memory.
        calls: the profiled calls.
        usage: what memory is used for now; None without a connection.
        advice: what each function and actor class needs.
        missing: the nodes that did not answer.
        silent: those of them that are alive: what ails them is not known.
        chosen: what was read where no source was named, in words; else empty.
    """

    when: datetime
    source: str | None
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    unchecked: tuple[str, ...]
    kills: Kills
    calls: Calls
    usage: Usage | None
    advice: Advices
    missing: tuple[MissingNode, ...]
    silent: tuple[MissingNode, ...] = ()
    chosen: str = ""

    @property
    def healthy(self) -> bool | None:
        """Whether nothing was found that is critical or worth a warning; None where a node did not say how it is."""
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

    def __str__(self) -> str:
        return "\n".join(printable(line) for line, _ in self._lines())

    __repr__ = __str__

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Show as text, with colours, where rich prints."""
        from rich.text import Text

        for line, style in self._lines():
            yield Text(printable(line), style)

    def _lines(self) -> Iterator[tuple[str, str]]:
        """The text's lines, each with a style."""
        if self.chosen:
            yield printable(self.chosen), "dim"
        yield self.summary, "bold"
        for finding in self.findings:
            yield "", ""
            yield f"{finding.severity.upper()}  {finding.illness}: {finding.title}", _STYLES[finding.severity]
            yield from ((f"    {text}", "") for text in finding.evidence)
            yield "  What to do:", ""
            yield from ((f"    {number}. {text}", "") for number, text in enumerate(finding.next_steps, 1))
        yield "", ""
        yield "Checked, as Ray's page does:", "bold"
        for check in self.checks:
            sign, style = _SIGNS[check.verdict]
            yield f"  {sign} {check.question} {check.answer}", style
        if self.unchecked:
            yield "Could not be checked:", "bold"
            yield from ((f"  - {text}", "") for text in self.unchecked)

    def _repr_html_(self) -> str:
        """Return the diagnosis as a notebook shows it."""
        return fragment(self)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        found = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        if self.usage is not None:
            found["usage"] = {"when": self.usage.when, "nodes": list(self.usage.nodes)}
        return {
            "healthy": self.healthy,
            "summary": self.summary,
            **found,
            "kills": list(self.kills),
            "calls": list(self.calls),
            "advice": list(self.advice),
        }

    def to_json(self) -> str:
        """Return a JSON object with what the attributes have."""
        return json.dumps(plain(self), indent=2)

    def save(self, output: str | os.PathLike[str] = "report.html", *, overwrite: bool = True) -> Report:
        """Write the diagnosis as one HTML page, which needs no network.

        Flame graphs of the guilty calls are written to a folder beside it, `report-files` for `report.html`, as far as
        their captures can be read: some 4.5 MB each, five at most.

        Args:
            output: the file to write. It appears whole or not at all.
            overwrite: replace the file if it exists.

        Returns:
            A `Report`, which a notebook shows inline and which has `.path` and `.open()`.

        Raises:
            FileExistsError: the output exists and is not to be overwritten.
            FileNotFoundError: there is no such folder to write to.
            ValueError: `output` is a folder.

        Example:
            >>> import raymemprof
            >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
            ...     data = bytearray(1_000_000)
            >>> diagnosis = raymemprof.doctor("/tmp/raymemprof-example")
            >>> diagnosis.save("/tmp/raymemprof-example/report.html").path.name
            'report.html'
        """
        return save(self, output, overwrite)
