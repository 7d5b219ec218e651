"""`doctor()`: Ray's page on memory, walked in its order: what is wrong, what says so, and what to do next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from ..rows import first_few, show_bytes
from . import illnesses
from .findings import Check, Diagnosis, Finding, gap
from .seen import Group, Seen, look_around, users
from .usage import NodeUsage

__all__ = ["diagnose", "doctor"]

_MOST_NAMED = 3


def doctor(source: str | os.PathLike[str] | None = None) -> Diagnosis:
    """Look for all that can be wrong with memory, and say what matters most, what says so, and what to do.

    Walks Ray's page "Debugging Memory Issues": was anything killed for memory, which tasks and actors use it, is it the
    head node, do too many run at once, does an actor grow or a call copy its data; and what is not on the page: tasks
    that are retried without end, idle workers that keep memory, an object store that is full. It asks `ooms()`,
    `calls()`, `usage()` and `advise()`, and `heap()` of the guilty calls.

    Args:
        source: a session's log directory, or a folder that was recorded to; None for all nodes of the cluster that this
            process is connected to, else the one cluster of this user's that runs on this machine, else this user's
            latest session, which is named first. Without a connection what memory is used for now is not known, and
            the answer says so.

    Returns:
        A `Diagnosis`: `.findings`, what matters most first, `.healthy`, and what they are made from. It prints as text,
        shows itself in a notebook, and has `to_json()` and `save("report.html")`.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: no source is named, and several clusters run here.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> raymemprof.doctor("/tmp/raymemprof-example").healthy
        True
    """
    return diagnose(look_around(source))


def diagnose(seen: Seen) -> Diagnosis:
    """Say the same of what is known already."""
    groups = seen.groups()
    findings = sorted(_findings(seen, groups), key=Finding.rank)
    return Diagnosis(
        when=seen.when,
        source=seen.source,
        findings=tuple(findings),
        checks=tuple(_checks(seen, groups, findings)),
        unchecked=tuple(_unchecked(seen)),
        kills=seen.kills,
        calls=seen.calls,
        usage=seen.usage,
        advice=seen.advice,
        missing=seen.missing,
        silent=seen.silent,
        chosen=seen.chosen,
    )


def _findings(seen: Seen, groups: list[Group]) -> Iterator[Finding]:
    head = list(illnesses.head_node(seen, groups))
    endless = list(illnesses.endless_retries(seen, groups, {one.node_id for one in head if one.severity == "critical"}))
    causes = [
        *endless,
        *illnesses.leaking_actors(seen, groups),
        *illnesses.too_parallel(seen, groups),
    ]
    yield from head
    yield from causes
    explained = {finding.name for finding in causes if finding.severity == "critical" or finding in endless}
    yield from illnesses.out_of_memory(seen, [group for group in groups if group.name not in explained])
    yield from illnesses.past_kills(seen)
    yield from illnesses.low_memory(seen, {finding.node_id for finding in head})
    yield from illnesses.idle_workers(seen)
    yield from illnesses.object_stores(seen)
    yield from illnesses.unexplained_deaths(seen)
    yield from illnesses.copies(seen)
    yield from illnesses.retained_memory(seen)


def _checks(seen: Seen, groups: list[Group], findings: list[Finding]) -> Iterator[Check]:
    """Answer the page's questions in its order."""
    kills = sum(len(group.kills) for group in groups)
    names = ", ".join(group.name for group in groups[:_MOST_NAMED]) + (", …" if len(groups) > _MOST_NAMED else "")
    low = [finding for finding in findings if finding.illness == "low_memory"]
    past = sum(len(group.kills) for group in seen.groups(past=True))
    no = f"Not lately: {past} process{'es' * (past != 1)} before." if past else "No."
    if kills:
        yield Check("Was anything killed for memory?", "ill", f"Yes, {kills} process{'es' * (kills != 1)}: {names}.")
    elif low:
        told = " ".join([no, *(finding.title for finding in low)])
        yield Check("Was anything killed for memory?", "ill", told)
    else:
        yield _check(seen, findings, "Was anything killed for memory?", (), no)
    yield _largest(seen)
    yield _about_head(seen, findings)
    yield _check(seen, findings, "Do too many run at once?", ("too_parallel",), "No.", needs_calls=True)
    yield _check(
        seen,
        findings,
        "Does an actor grow, or a call copy its data?",
        ("leaking_actor", "copy"),
        "Not as far as was profiled.",
        needs_calls=True,
    )
    yield _check(seen, findings, "Are tasks retried without end?", ("endless_retries",), "No.")
    idle = [process for node in seen.nodes for process in node.processes if process.role == "idle worker"]
    together = show_bytes(sum(process.memory for process in idle))
    yield _check(
        seen,
        findings,
        "Do processes keep memory that was freed?",
        ("retained_memory",),
        "Not as far as was profiled.",
        needs_calls=True,
    )
    kept = f"No: {len(idle)} idle worker{'s' * (len(idle) != 1)}, {together} in all." if idle else "No."
    yield _check(seen, findings, "Do idle workers keep memory?", ("idle_workers",), kept, needs_usage=True)
    kept_of = [(_must_keep(node), node.object_store_capacity) for node in seen.nodes]
    used = [f"{show_bytes(must)} of {show_bytes(capacity)}" for must, capacity in kept_of]
    more = ", …" if len(used) > _MOST_NAMED else ""
    stores = f"No: {', '.join(used[:_MOST_NAMED])}{more}."
    yield _check(seen, findings, "Is the object store full?", ("object_store",), stores, needs_usage=True)


def _check(
    seen: Seen,
    findings: list[Finding],
    question: str,
    illness: tuple[str, ...],
    no: str,
    needs_usage: bool = False,
    needs_calls: bool = False,
) -> Check:
    found = [finding for finding in findings if finding.illness in illness]
    if found:
        verdict = "ill" if any(finding.severity != "info" for finding in found) else "maybe"
        return Check(question, verdict, " ".join(finding.title for finding in found[:_MOST_NAMED]))
    if needs_usage and seen.usage is None:
        return Check(question, "unknown", "Cannot be told without a connection to the cluster.")
    if seen.silent:
        rest = "Not on the others." if seen.nodes else "Nor did any other."
        return Check(question, "unknown", f"Cannot be told: {gap(seen.silent)}. {rest}")
    if needs_calls and not seen.calls:
        return Check(question, "unknown", "Cannot be told: no call was profiled.")
    if seen.gone and not needs_usage:
        many = f"{len(seen.gone)} nodes" if len(seen.gone) > 1 else f"node {seen.gone[0].address}"
        no = f"{no} But of {many} that died or left it is not known."
    return Check(question, "well", no)


def _must_keep(node: NodeUsage) -> int | None:
    return node.object_store_used if node.object_store_primary is None else node.object_store_primary


def _largest(seen: Seen) -> Check:
    """Say which tasks and actors use most: those that were profiled by their peaks, else by what they use now."""
    question = "Which tasks and actors use most?"
    but = f"; but {gap(seen.silent)}" if seen.silent else ""
    if seen.advice:
        largest = [f"{advice.name} {show_bytes(advice.max)} at its peak" for advice in seen.advice[:_MOST_NAMED]]
        return Check(question, "unknown" if seen.silent else "well", f"{', '.join(largest)}{but}.")
    if seen.usage is None:
        return Check(question, "unknown", "Cannot be told: no call was profiled.")
    running = [process for node in seen.nodes for process in users(node, "task", "actor", "worker")]
    running.sort(key=lambda process: -process.memory)
    largest = [f"{process.name or process.role} {show_bytes(process.memory)} now" for process in running[:_MOST_NAMED]]
    told = ", ".join(largest) if largest else "None runs now, and none was profiled"
    return Check(question, "unknown" if seen.silent else "well", f"{told}{but}.")


def _about_head(seen: Seen, findings: list[Finding]) -> Check:
    """Say whether it is the head: where that has answered, it does not matter who else has not."""
    question = "Is it the head node?"
    head = next((node for node in seen.nodes if node.is_head), None)
    if head is None and seen.usage is not None:
        return Check(question, "unknown", f"Cannot be told: {gap(seen.silent) if seen.silent else 'no node answered'}.")
    used = f"No: it uses {show_bytes(head.used)} of {show_bytes(head.limit)}." if head is not None else "No."
    return _check(replace(seen, missing=()), findings, question, ("head_node",), used, needs_usage=True)


def _unchecked(seen: Seen) -> Iterator[str]:
    yield from map(str, seen.missing)
    yield from (f"What it cannot read: {text}." for text in first_few(seen.calls.left_out))
    if seen.usage is None:
        yield (
            f"What memory is used for now: this is of {seen.source}. In a process that is connected to the cluster "
            "(ray.init, or `--address auto`) the doctor looks at that too."
        )
    if not seen.calls:
        yield "What lines hold, and how much calls need: no call was profiled. Put @profile_memory on what you suspect."
    elif not any(call.capture for call in seen.calls):
        yield f"What lines hold: no call has a capture ({seen.calls[-1].note or 'removed, or only sampled'})."
    yield from seen.heaps.failed
