"""`doctor()`: Ray's page on memory, walked in its order: what is wrong, what says so, and what to do next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from ..reading.deaths import WITHOUT_A_WORD
from ..rows import first_few, show_bytes
from . import illnesses
from .findings import Check, Diagnosis, Finding, Unclear, gap
from .growth import process_of
from .seen import Group, Seen, is_ours, look_around, users

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
    looked = list(_findings(seen, groups))
    findings = sorted((one for one in looked if isinstance(one, Finding)), key=Finding.rank)
    unclear = [one for one in looked if isinstance(one, Unclear)]
    return Diagnosis(
        when=seen.when,
        source=seen.source,
        findings=tuple(findings),
        checks=tuple(_checks(seen, groups, findings, unclear)),
        unchecked=tuple(_unchecked(seen)),
        kills=seen.kills,
        calls=seen.calls,
        usage=seen.usage,
        advice=seen.advice,
        missing=seen.missing,
        silent=seen.silent,
        chosen=seen.chosen,
    )


def _findings(seen: Seen, groups: list[Group]) -> Iterator[Finding | Unclear]:
    head = list(illnesses.head_node(seen, groups))
    endless = list(illnesses.endless_retries(seen, groups, {one.node_id for one in head if one.severity == "critical"}))
    causes = [
        *endless,
        *illnesses.leaking_actors(seen, groups),
        *illnesses.too_parallel(seen, groups),
    ]
    yield from head
    yield from causes
    found = [one for one in causes if isinstance(one, Finding)]
    explained = {finding.name for finding in found if finding.severity == "critical" or finding in endless}
    yield from illnesses.out_of_memory(seen, [group for group in groups if group.name not in explained])
    yield from illnesses.past_kills(seen)
    yield from illnesses.low_memory(seen, {finding.node_id for finding in head})
    yield from illnesses.idle_workers(seen)
    yield from illnesses.object_stores(seen)
    yield from illnesses.unexplained_deaths(seen)
    yield from illnesses.copies(seen)
    yield from illnesses.retained_memory(seen)


def _checks(seen: Seen, groups: list[Group], findings: list[Finding], unclear: list[Unclear]) -> Iterator[Check]:
    """Answer the page's questions in its order."""

    def check(question: str, illness: str, no: str, needs: str = "") -> Check:
        return _check(seen, findings, unclear, question, illness, no, needs)

    yield _about_kills(seen, groups, findings)
    limits = [f"{show_bytes(node.used)} of {show_bytes(node.limit)}" for node in seen.nodes]
    yield check("Is a node about to run out of memory?", "low_memory", f"No: {_first(limits)}.", "usage")
    yield _largest(seen)
    yield _about_head(seen, findings)
    profiled = "Not as far as was profiled."
    yield check("Do too many run at once?", "too_parallel", "No.", "calls")
    yield check("Does an actor grow?", "leaking_actor", profiled, "calls")
    yield check("Does a call copy its data?", "copy", profiled, "calls")
    yield _about_retries(seen, findings)
    yield check("Do processes keep memory that was freed?", "retained_memory", profiled, "calls")
    yield check("Do idle workers keep memory?", "idle_workers", _about_idle(seen), "usage")
    used = [
        f"{show_bytes(illnesses.must_keep(node))} of {show_bytes(node.object_store_capacity)}" for node in seen.nodes
    ]
    yield check("Is the object store full?", "object_store", f"No: {_first(used)}.", "usage")


def _first(texts: list[str]) -> str:
    return ", ".join(texts[:_MOST_NAMED]) + (", …" if len(texts) > _MOST_NAMED else "")


def _check(
    seen: Seen,
    findings: list[Finding],
    unclear: list[Unclear],
    question: str,
    illness: str,
    no: str,
    needs: str = "",
) -> Check:
    """Answer a question by what was found. It is well only where nothing was, and nothing was left unseen."""
    found = [finding for finding in findings if finding.illness == illness]
    if found:
        verdict = "ill" if any(finding.severity != "info" for finding in found) else "maybe"
        return Check(question, verdict, " ".join(finding.title for finding in found[:_MOST_NAMED]))
    if needs == "usage" and seen.usage is None:
        return Check(question, "unknown", "Cannot be told without a connection to the cluster.")
    if seen.silent:
        rest = "Not on the others." if seen.nodes else "Nor did any other."
        return Check(question, "unknown", f"Cannot be told: {gap(seen.silent)}. {rest}")
    if needs == "usage" and not seen.nodes:
        return Check(question, "unknown", "Cannot be told: no node answered.")
    if needs == "calls" and not seen.calls:
        return Check(question, "unknown", "Cannot be told: no call was profiled.")
    doubts = [one.why for one in unclear if one.illness == illness]
    if seen.gone and needs != "usage":
        many = f"{len(seen.gone)} nodes" if len(seen.gone) > 1 else f"node {seen.gone[0].address}"
        doubts.append(f"what was on {many} that died or left is not known")
    if doubts:
        more = f"; and {len(doubts) - _MOST_NAMED} more" if len(doubts) > _MOST_NAMED else ""
        return Check(question, "unknown", f"Not that it was seen, but {'; '.join(doubts[:_MOST_NAMED])}{more}.")
    return Check(question, "well", no)


def _about_kills(seen: Seen, groups: list[Group], findings: list[Finding]) -> Check:
    """Say who was killed for memory; calls that ended without a reason may have been."""
    question = "Was anything killed for memory?"
    kills = sum(len(group.kills) for group in groups)
    if kills:
        names = _first([group.name for group in groups])
        return Check(question, "ill", f"Yes, {_processes(kills)}: {names}.")
    past = sum(len(group.kills) for group in seen.groups(past=True))
    deaths = [finding for finding in findings if finding.illness == "unexplained_death"]
    if past or deaths:
        lately = f"Not lately: {_processes(past)} before." if past else "Not that Ray or the kernel said so."
        return Check(question, "maybe", " ".join([lately, *(finding.title for finding in deaths[:_MOST_NAMED])]))
    silent = {
        process_of(call) for call in seen.calls if call.status == "killed" and WITHOUT_A_WORD in (call.error or "")
    }
    unclear = []
    if silent:
        ended = f"{_processes(len(silent))} of profiled calls ended without a reason, as when their job ends"
        unclear.append(Unclear("out_of_memory", ended))
    return _check(seen, [], unclear, question, "out_of_memory", "No.")


def _processes(count: int) -> str:
    return f"{count} process{'es' * (count != 1)}"


def _about_retries(seen: Seen, findings: list[Finding]) -> Check:
    question = "Are tasks retried without end?"
    over = [retry for retry in seen.kills.retries if not is_ours(retry.name)]
    check = _check(seen, findings, [], question, "endless_retries", "No.")
    if over and check.verdict not in ("ill", "maybe"):
        told = _first([f"{retry.name or 'a task'}, killed {retry.kills} times" for retry in over])
        return Check(question, "maybe", f"Not any more: {told}.")
    return check


def _about_idle(seen: Seen) -> str:
    """Say what idle workers have where that is well: they have all that they imported."""
    idle = [process.memory for node in seen.nodes for process in node.processes if process.role == "idle worker"]
    if not idle:
        return "No."
    have = f"{len(idle)} idle worker{'s' * (len(idle) != 1)}, {show_bytes(sum(idle))} in all"
    if illnesses.kept_by_idle(idle) < illnesses.KEPT:
        return f"No: {have}."
    left = sum(max(node.limit - node.used, 0) for node in seen.nodes)
    return f"No more than there is room for: {have}, and {show_bytes(left)} are left."


def _largest(seen: Seen) -> Check:
    """Say which tasks and actors use most: those that were profiled by their peaks, else by what they use now."""
    question = "Which tasks and actors use most?"
    but = f"; but {gap(seen.silent)}" if seen.silent else ""
    if seen.advice:
        largest = [f"{advice.name} {show_bytes(advice.max)} at its peak" for advice in seen.advice[:_MOST_NAMED]]
        return Check(question, "unknown" if seen.silent else "info", f"{', '.join(largest)}{but}.")
    if seen.usage is None:
        return Check(question, "unknown", "Cannot be told: no call was profiled.")
    running = [process for node in seen.nodes for process in users(node, "task", "actor", "worker")]
    running.sort(key=lambda process: -process.memory)
    largest = [f"{process.name or process.role} {show_bytes(process.memory)} now" for process in running[:_MOST_NAMED]]
    if not largest:
        return Check(question, "unknown", f"None runs now, and none was profiled{but}.")
    return Check(question, "unknown" if seen.silent else "info", f"{', '.join(largest)}{but}.")


def _about_head(seen: Seen, findings: list[Finding]) -> Check:
    """Say whether it is the head: where that has answered, it does not matter who else has not."""
    question = "Is it the head node?"
    head = next((node for node in seen.nodes if node.is_head), None)
    if head is None and seen.usage is not None:
        return Check(question, "unknown", f"Cannot be told: {gap(seen.silent) if seen.silent else 'no node answered'}.")
    if head is None:
        return Check(question, "unknown", "Cannot be told without a connection to the cluster.")
    low = [one for one in findings if one.illness == "low_memory" and one.node_id == head.node_id]
    if low and not any(finding.illness == "head_node" for finding in findings):
        return Check(question, "maybe", f"Not what Ray and the driver take there, but: {low[0].title}")
    used = f"No: it uses {show_bytes(head.used)} of {show_bytes(head.limit)}."
    return _check(replace(seen, missing=()), findings, [], question, "head_node", used, "usage")


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
