"""The questions of Ray's page on memory, in its order, each answered by what was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ... import cluster
from ...display.text import show_bytes
from ...reading.logs.endings import WITHOUT_A_TRACE
from ..advise.growth import process_of
from .checks.idle_workers import KEPT, kept_by_idle
from .findings import Check, Finding, Unclear, gap
from .observed import KillGroup, Observed, users
from .shared_thresholds import MOST_NAMED

__all__ = ["answers"]


def answers(
    observed: Observed, groups: list[KillGroup], findings: list[Finding], unclear: list[Unclear]
) -> Iterator[Check]:
    """Answer the page's questions in its order."""

    def check(question: str, illness: str, no: str, needs: str = "") -> Check:
        return _check(observed, findings, unclear, question, illness, no, needs)

    yield _about_kills(observed, groups, findings)
    limits = [f"{show_bytes(node.counted)} of {show_bytes(node.kill_limit)}" for node in observed.nodes]
    yield check("Is a node about to run out of memory?", "low_memory", f"No: {_first(limits)}.", "usage")
    if any(node.isolation is not None for node in observed.nodes):
        yield check("Is too little reserved for the system?", "small_reserve", "No.", "usage")
    yield _most_used(observed)
    yield _about_head(observed, findings)
    profiled = "Not as far as was profiled."
    yield check("Do too many run at once?", "too_parallel", "No.", "peaks")
    yield check("Does an actor grow?", "leaking_actor", profiled, "calls")
    yield check("Does a call copy its data?", "copy", profiled, "calls")
    yield _about_retries(observed, findings)
    yield check("Do processes keep memory that was freed?", "retained_memory", profiled, "calls")
    yield check("Do idle workers keep memory?", "idle_workers", _about_idle(observed), "usage")
    used = [
        f"{show_bytes(node.object_store_kept)} of {show_bytes(node.object_store_capacity)}" for node in observed.nodes
    ]
    yield check("Is the object store full?", "object_store", f"No: {_first(used)}.", "usage")


def _first(texts: list[str]) -> str:
    return ", ".join(texts[:MOST_NAMED]) + (", …" if len(texts) > MOST_NAMED else "")


def _check(
    observed: Observed,
    findings: list[Finding],
    unclear: list[Unclear],
    question: str,
    illness: str,
    no: str,
    needs: str = "",
) -> Check:
    """Answer a question by the findings. The answer is "well" only if there are none and nothing was left unchecked."""
    found = [finding for finding in findings if finding.illness == illness]
    if found:
        verdict = "ill" if any(finding.severity != "info" for finding in found) else "maybe"
        return Check(question, verdict, " ".join(finding.title for finding in found[:MOST_NAMED]))
    if needs == "usage" and observed.usage is None:
        return Check(question, "unknown", "Cannot be told without a connection to the cluster.")
    if observed.silent:
        rest = "Not on the others." if observed.nodes else "Nor did any other."
        return Check(question, "unknown", f"Cannot be told: {gap(observed.silent)}. {rest}")
    if needs == "usage" and not observed.nodes:
        return Check(question, "unknown", "Cannot be told: no node answered.")
    if needs == "peaks" and observed.advised_by_seen and not observed.calls:
        return Check(question, "unknown", "Not that it was seen from the outside; no call was profiled.")
    if needs in ("calls", "peaks") and not observed.calls:
        return Check(question, "unknown", "Cannot be told: no call was profiled.")
    doubts = [one.why for one in unclear if one.illness == illness]
    if observed.gone and needs != "usage":
        many = f"{len(observed.gone)} nodes" if len(observed.gone) > 1 else f"node {observed.gone[0].node_ip}"
        doubts.append(f"what was on {many} that died or left is not known")
    if doubts:
        more = f"; and {len(doubts) - MOST_NAMED} more" if len(doubts) > MOST_NAMED else ""
        return Check(question, "unknown", f"Not that it was seen, but {'; '.join(doubts[:MOST_NAMED])}{more}.")
    return Check(question, "well", no)


def _about_kills(observed: Observed, groups: list[KillGroup], findings: list[Finding]) -> Check:
    """Say who was killed for memory; calls that ended without a reason may have been."""
    question = "Was anything killed for memory?"
    kills = sum(len(group.kills) for group in groups)
    if kills:
        names = _first([group.name for group in groups])
        return Check(question, "ill", f"Yes, {_processes(kills)}: {names}.")
    past = sum(len(group.kills) for group in observed.groups(past=True))
    deaths = [finding for finding in findings if finding.illness == "unexplained_death"]
    if past or deaths:
        lately = f"Not lately: {_processes(past)} before." if past else "Not that Ray or the kernel said so."
        return Check(question, "maybe", " ".join([lately, *(finding.title for finding in deaths[:MOST_NAMED])]))
    silent = {
        process_of(call) for call in observed.calls if call.status == "killed" and WITHOUT_A_TRACE in (call.error or "")
    }
    unclear = []
    if silent:
        ended = f"{_processes(len(silent))} of profiled calls ended without a reason, as when their job ends"
        unclear.append(Unclear("out_of_memory", ended))
    if (observed.kills.kill_counter or 0) > len(observed.kills):
        named = f"the logs name {len(observed.kills)}" if observed.kills else "no log names one"
        known = f"Ray's own counter knows of {observed.kills.kill_counter} kills, and {named}"
        unclear.append(Unclear("out_of_memory", known))
    return _check(observed, [], unclear, question, "out_of_memory", "No.")


def _processes(count: int) -> str:
    return f"{count} process{'es' * (count != 1)}"


def _about_retries(observed: Observed, findings: list[Finding]) -> Check:
    question = "Are tasks retried without end?"
    over = [retry for retry in observed.kills.retries if not cluster.is_ours(retry.name)]
    check = _check(observed, findings, [], question, "endless_retries", "No.")
    if over and check.verdict not in ("ill", "maybe"):
        told = _first([f"{retry.name or 'a task'}, killed {retry.kill_count} times" for retry in over])
        return Check(question, "maybe", f"Not any more: {told}.")
    return check


def _about_idle(observed: Observed) -> str:
    """Say what idle workers use if no finding is about them: they keep at least what they imported."""
    idle = [process.memory for node in observed.nodes for process in node.processes if process.role == "idle worker"]
    if not idle:
        return "No."
    have = f"{len(idle)} idle worker{'s' * (len(idle) != 1)}, {show_bytes(sum(idle))} in all"
    if kept_by_idle(idle) < KEPT:
        return f"No: {have}."
    left = sum(node.left for node in observed.nodes)
    return f"No more than there is room for: {have}, and {show_bytes(left)} are left."


def _most_used(observed: Observed) -> Check:
    """Say which tasks and actors use most: by their peaks if they were profiled, else by what they use now."""
    question = "Which tasks and actors use most?"
    but = f"; but {gap(observed.silent)}" if observed.silent else ""
    advised = sorted((*observed.recommendations, *observed.advised_by_seen), key=lambda one: -one.p95)
    if advised:
        how = {"recorded": "at its peak", "seen": "at its highest as seen from the outside, once a second"}
        largest = [f"{one.name} {show_bytes(one.max)} {how[one.basis]}" for one in advised[:MOST_NAMED]]
        return Check(question, "unknown" if observed.silent else "info", f"{', '.join(largest)}{but}.")
    if observed.usage is None:
        return Check(question, "unknown", "Cannot be told: no call was profiled.")
    running = [process for node in observed.nodes for process in users(node, "task", "actor", "worker")]
    running.sort(key=lambda process: -process.memory)
    largest = [f"{process.name or process.role} {show_bytes(process.memory)} now" for process in running[:MOST_NAMED]]
    if not largest:
        return Check(question, "unknown", f"None runs now, and none was profiled{but}.")
    return Check(question, "unknown" if observed.silent else "info", f"{', '.join(largest)}{but}.")


def _about_head(observed: Observed, findings: list[Finding]) -> Check:
    """Say whether the head node is the problem; it does not matter whether other nodes answered."""
    question = "Is it the head node?"
    head = next((node for node in observed.nodes if node.is_head), None)
    if head is None and observed.usage is not None:
        return Check(
            question, "unknown", f"Cannot be told: {gap(observed.silent) if observed.silent else 'no node answered'}."
        )
    if head is None:
        return Check(question, "unknown", "Cannot be told without a connection to the cluster.")
    low = [one for one in findings if one.illness == "low_memory" and one.node_id == head.node_id]
    if low and not any(finding.illness == "head_node" for finding in findings):
        return Check(question, "maybe", f"Not what Ray and the driver take there, but: {low[0].title}")
    used = f"No: it uses {show_bytes(head.counted)} of {show_bytes(head.kill_limit)}."
    return _check(replace(observed, missing=()), findings, [], question, "head_node", used, "usage")
