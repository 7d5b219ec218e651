"""What Ray says of a worker, an actor or a node that died, and whom it names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .facts import Message, Victim
from .patterns import ADDRESS, COUNT, HEX, ID, IPV4, NAME, pattern
from .raylet import crashed, node_of

__all__ = ["death", "died", "exit_of"]

_EXIT = pattern(r"Worker exit type: (.{1,60}?) Worker exit detail: (.+)")
_ERROR_MESSAGE = pattern(r"died with exit_type: (\w{1,60}) with error_message: (.+)")
_FAILED_WORKER = pattern(
    rf"(?:Task ID: ({HEX}{{48}}) )?Worker ID: ({ID}) Node ID: ({ID}) "
    rf"Worker IP address: (\S{{2,45}}) [^\n]{{0,300}}?Worker PID: ({COUNT})(?=\s)"
)
_DEAD_ACTOR = pattern(
    rf"class_name: ({NAME})\s+actor_id: ({HEX}{{32}})(?:\s+pid: ({COUNT})(?=\s))?(?:\s+name: {NAME})?"
    rf"(?:\s+namespace: \S{{1,100}})?(?:\s+ip: ({ADDRESS}))?(?=\s|$)"
)
_DEAD_NODE = pattern(
    rf"[Nn]ode(?: IP: (\S{{2,45}}?),)?[^\n]{{0,60}}?(?:node )?(?:ID|Id|id): ?({ID})(?: and address: ({ADDRESS}))?"
)
_SELF_ENDED = pattern(r"exits with an exit code \d|receives a SIGTERM|exit_actor\(\) is called")
_RAYLET_DIED = pattern(r"The task's local raylet died")
_NODE_DIED = pattern(
    rf"^\s{{0,9}}(?:[\w.]{{0,60}}\.)?NodeDiedError(?::|$)|"
    r"\b[Nn]ode it was running on is dead|\bits node has died|"
    rf"\b[Nn]ode\b[^\n]{{0,80}}?{HEX}{{56}}[^\n]{{0,120}}?\b(?:has died|is dead|marked dead)",
    re.MULTILINE,
)
_PREEMPTED = pattern(
    r"AUTOSCALER_DRAIN_PREEMPTED|DRAIN_NODE_REASON_PREEMPTION|DUE TO PREEMPTION|preempted=True|"
    r"[Ss]pot (?:[Ii]nstance )?(?:interruption|termination|preemption) (?:notice|warning|event)|"
    r"\b(?:because (?:the|its)|The) node (?:was|has been) preempted\b"
)
_KILLED_BY_CALL = pattern(r"because it was killed by `ray\.kill`(?! ?\?)")
_CRASH = re.compile(r"\*\*\* SIG(SEGV|ABRT|ILL|FPE) received|Fatal Python error: (Segmentation|Aborted)")
_NAMED = (
    (
        "task_id",
        pattern(rf"(?:[Tt]ask ?ID|\btask_id)[\"']?[:=] ?[\"']?({HEX}{{48}})\b|running the task \(({HEX}{{48}})\) died"),
    ),
    ("actor_id", pattern(rf"(?:\b[Aa]ctor ?ID|\bactor_id)[\"']?[:=] ?[\"']?({HEX}{{32}})\b")),
    ("worker_id", pattern(rf"(?:\b[Ww]orker ?ID|\bworker_id|\bworker \(ID)[\"']?[:=] ?[\"']?({ID})")),
    (
        "pid",
        pattern(
            rf"(?:\b(?:Worker PID|worker_pid)|(?<!::)"
            rf"\b(?:[Ww]orker|[Pp]rocess|[Aa]ctor)\b[^\n]{{0,40}}?\b(?:pid|PID))[\"']?"
            rf"(?:[:=]| )[\"']?\s?({COUNT})(?=[\s,;\"'}}\])])"
        ),
    ),
    ("node_id", pattern(rf"\b[Nn]ode(?: |_)?(?:ID|id)[\"']?(?:[:=]| ) ?[\"']?({ID})")),
)
"""How a text names who died, other than in the forms above."""
_NODE_IP = pattern(rf"\b(?:[Nn]ode|[Hh]ost)(?:(?: |_)(?:IP|ip))?(?: address)?[\"']?(?:[:=]| ) ?[\"']?({IPV4})\b")
_NAMED_OTHERWISE = pattern(rf"(?:[Ll]ease ?ID|lease_id)[\"']?[:=] ?[\"']?{HEX}{{8}}|running the (?:task|lease) \(")


def exit_of(text: str) -> tuple[str, str] | None:
    """Return of which type a worker's end is, and how it ended, as Ray has it."""
    found = _EXIT.search(text) or _ERROR_MESSAGE.search(text)
    return (found[1].strip(), found[2].strip()) if found else None


def death(text: str) -> Message | None:
    """Return what a text says of a worker, actor or node that died of something else; None where it says nothing."""
    cause = _cause(text)
    counts, exit_, victims = crashed(text), exit_of(text), tuple(dict.fromkeys(died(text)))
    node_ip, node_id = _place(text, cause)
    is_named = bool(victims or _NAMED_OTHERWISE.search(text))
    if cause == "unknown" and not (counts or exit_ or is_named or node_ip or node_id):
        return None
    return Message(
        cause=cause,
        statement=_statement(text, cause),
        node_id=node_id,
        node_ip=node_ip,
        victims=victims,
        crashed=counts[1] if counts else None,
        exit_type=exit_[0] if exit_ else None,
        exit_detail=exit_[1] if exit_ else None,
        nodes=max(len(_places(text)), 1),
        is_named=is_named,
    )


def _cause(text: str) -> str:
    exit_ = exit_of(text)
    if _KILLED_BY_CALL.search(text):
        return "ray_kill"
    if _PREEMPTED.search(text):
        return "preempted"
    if _NODE_DIED.search(text) or _RAYLET_DIED.search(text):
        return "node_died"
    if _CRASH.search(text):
        return "crash"
    if exit_ and (exit_[0].startswith("INTENDED") or _SELF_ENDED.search(exit_[1])):
        return "exit"
    return "unknown"


def _statement(text: str, cause: str) -> str | None:
    if cause == "node_died" and _RAYLET_DIED.search(text) and not _NODE_DIED.search(text):
        return "The raylet of the node that ran the task died, which ends the node; the text does not say why it died."
    return None


def died(text: str) -> Iterator[Victim]:
    """Yield the workers, else the actors, of which a text says that they ended; else whom it names by an id."""
    failed = [
        Victim(None, found[1], None, found[2], int(found[5]), None, found[3]) for found in _FAILED_WORKER.finditer(text)
    ]
    yield from failed
    if failed:
        return
    actors = list(_DEAD_ACTOR.finditer(text))
    yield from (Victim(one[1], None, one[2], None, int(one[3]) if one[3] else None, None) for one in actors)
    if not actors:
        yield from _named(text)


def _named(text: str) -> Iterator[Victim]:
    """Whom a text names in other forms: only where it names no two of a kind."""
    found = {name: one for name, form in _NAMED if (one := _only(form, text)) is not None}
    pid, node_id = found.get("pid"), found.pop("node_id", None)
    if found:
        task_id, actor_id, worker_id = (found.get(name) for name in ("task_id", "actor_id", "worker_id"))
        yield Victim(None, task_id, actor_id, worker_id, int(pid) if pid else None, None, node_id)


def _only(form: re.Pattern[str], text: str) -> str | None:
    """What a text has in this form, where it has one such thing."""
    found = {next(filter(None, one.groups())) for one in form.finditer(text)}
    return found.pop() if len(found) == 1 else None


def _places(text: str) -> set[tuple[str | None, str | None]]:
    return {(failed[4], failed[3]) for failed in _FAILED_WORKER.finditer(text)} or {
        (actor[4], None) for actor in _DEAD_ACTOR.finditer(text) if actor[4]
    }


def _place(text: str, cause: str) -> tuple[str | None, str | None]:
    """The address and the id of the node where it was; none where it was on several."""
    node_ip, node_id = node_of(text)
    places = _places(text)
    if len(places) == 1:
        node_ip, node_id = next(iter(places))
    elif places:
        node_ip = node_id = None
    if not places and node_id is None and cause != "node_died":
        node_id, node_ip = _only(dict(_NAMED)["node_id"], text), node_ip or _only(_NODE_IP, text)
    if cause == "node_died" and node_id is None:
        dead = _DEAD_NODE.search(text)
        if dead:
            node_ip, node_id = dead[1] or dead[3] or node_ip, dead[2]
    return node_ip, node_id
