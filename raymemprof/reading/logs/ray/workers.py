"""What Ray says of a worker, an actor or a node that died, and whom it names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace

from ....display.text import listed
from ..facts import Message, Victim, called
from ..patterns import ADDRESS, COUNT, HEX, ID, IPV4, NAME, Form, pattern
from .exits import MOST_DETAILS, details_of, exit_of, failed_workers
from .raylet import crashed, node_of

__all__ = ["TELLS_OF_DEATH", "actors", "completed", "death", "died", "with_the_dead"]

_DEAD_ACTOR = pattern(
    rf"(?:class_name: ({NAME})\s+)?actor_id: (?:({HEX}{{32}})|[*x]{{3,40}}(?=\s))"
    rf"(?:\s+pid: (?:({COUNT})|[*x]{{3,40}})(?=\s))?(?:\s+name: ({NAME}))?"
    rf"(?:\s+namespace: \S{{1,100}})?(?:\s+ip: ({ADDRESS}))?(?=\s|$)"
)
_DIED_IN = pattern(rf"\bA worker died or was killed while executing task ({HEX}{{16,56}})(?!{HEX})")
"""What Ray up to 1.0 says of a worker that died."""
_WRAPPER = Form(r"create_replica_wrapper\.")
"""The class of every replica of Ray Serve before Ray 2.3, which only the actor's name tells apart."""
TELLS_OF_DEATH = pattern(r"Worker exit type:|died unexpectedly|died or was killed|died with exit_type|has died\b")
"""Words that tell of a death, whatever ended it."""
_ENDS_WORKERS = ("crash", "memory_error", "bus_error", "slurm_limit", "batch_limit", "container_limit", "kernel_oom")
"""Causes of which a worker may have ended whose death stands beside them."""
_NO_ADDRESS = "0.0.0.0"
"""What a process listens at that listens at all of its addresses."""
_ACTOR_FIELDS = ("class_name", "actor_id", "pid", "ip")
_ACTOR_FIELD = Form(rf"(?:^|\s)({'|'.join(_ACTOR_FIELDS)}):\s")
"""What is told of an actor, in this order."""
_DEAD_NODE = pattern(
    rf"[Nn]ode(?: IP: (\S{{2,45}}?),)?[^\n]{{0,60}}?(?:(?:node )?(?:ID|Id|id)(?:: ?| )({ID}|"
    rf"{HEX}{{40}}(?!{HEX}))|client ID ({HEX}{{40}})\b)"
    rf"(?:,? and (?:address|ip|IP): ?({ADDRESS}))?"
)
_MOST_NODES = 10
"""Dead nodes that are named."""
_SELF_ENDED = pattern(r"exits with an exit code (?:\d|None)|receives a SIGTERM|exit_actor\(\) is called")
_RAYLET_DIED = pattern(r"The task's local raylet died")
_RAYLET_FAILED = pattern(r"\bcore_worker\.cc:\d{1,5}\] ?Raylet failed\. Shutting down\b")
_RAYLET_ENDED = pattern(
    rf"(?:Raylet is terminated|Terminated Raylet)(?:: ip=({ADDRESS}), (?:node_)?id=({ID}))?\. "
    r"(?:Termination is unexpected|_check_parent_via_pipe)"
)
_RAYLETS_EXCEPTION = pattern(
    r"(?:\(raylet(?:\.exe)?\) |\b(?:node_manager|local_resource_manager)\.cc:\d{1,5}[^\0]{0,600}?)logging\.cc:"
    r"\d{1,5}: Unhandled exception: (?P<kind>[^\n]{1,100}?)\. "
    r"what\(\): (?P<what>[^\n]{1,200})"
)
_ENDED = (
    "ended unexpectedly, which ends the node. Ray does not know why: a kill by the kernel for lack of memory is one of "
    "its guesses."
)
_RAISED_IN = Form(
    rf"\(pid=\d{{1,10}}, ip={ADDRESS}, actor_id={HEX}{{1,56}}|"
    rf"\b[Uu]nhandled error from worker: ray::[^\n]{{1,200}}?\(pid=\d{{1,10}}, ip={ADDRESS}"
)
"""What stands of a process above the traceback of an error that it raised."""
_NODE_DIED = pattern(
    rf"^\s{{0,9}}(?:[\w.]{{0,60}}\.)?NodeDiedError:|"
    r"has been marked dead because the (?:detector|monitor) has missed too many|"
    r"\b[Nn]ode it was running on is dead|\bits node has died|"
    rf"\b[Nn]ode\b[^\n]{{0,80}}?{HEX}{{56}}[^\n]{{0,120}}?\b(?:has died|is dead|marked dead)",
    re.MULTILINE,
)
_PREEMPTED = pattern(
    r"AUTOSCALER_DRAIN_PREEMPTED|DRAIN_NODE_REASON_PREEMPTION|DUE TO PREEMPTION|preempted=True|"
    r"[Ss]pot (?:[Ii]nstance )?(?:interruption|termination|preemption) (?:notice|warning|event)"
    r"(?! (?:is|are|gets?|comes?|will|can|may|handlers?)\b)|"
    r"\b(?:because (?:the|its)|The) node (?:was|has been) preempted\b|\bthe actor's node was preempted:"
)
_KILLED_BY_CALL = pattern(r"because it was killed by `ray\.kill`(?! ?\?)")
_CRASH = Form(r"\*\*\* SIG(SEGV|ABRT|ILL|FPE) received|Fatal Python error: (Segmentation|Aborted)")
_ABORT = Form(r"SIGABRT|Aborted")
_NAMED = (
    (
        "task_id",
        pattern(
            rf"(?:[Tt]ask ?ID|\btask_id)[\"']?[:=] ?[\"']?({HEX}{{48}})\b|executing task ({HEX}{{48}})\b|"
            rf"running the task \(({HEX}{{48}})\) died"
        ),
    ),
    ("actor_id", pattern(rf"(?:\b[Aa]ctor ?ID|\bactor_id)[\"']?[:=] ?[\"']?({HEX}{{32}})\b")),
    (
        "worker_id",
        pattern(
            rf"(?:\b[Ww]orker ?(?:ID|id)|\bworker_id|\bworker \(ID)[\"']? ?[:=] ?[\"']?({ID})|"
            rf"\b[Ww]orker running the task \(({ID})\) died"
        ),
    ),
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
_NODE_IP = pattern(
    rf"(?:\b[Nn]ode|(?<!-)\b[Hh]ost)(?:(?: |_)(?:IP|ip))?(?: address)?[\"']?(?:[:=]| ) ?[\"']?"
    rf"(?!127\.|0\.0\.0\.0\b)({IPV4})\b"
)
_NAMED_OTHERWISE = pattern(rf"(?:[Ll]ease ?ID|lease_id)[\"']?[:=] ?[\"']?{HEX}{{8}}|running the (?:task|lease) \(")


def death(text: str) -> Message | None:
    """Return what a text says of a worker, actor or node that died of something else; None where it says nothing."""
    exit_ = exit_of(text)
    cause = _cause(text, exit_)
    counts, victims = crashed(text), tuple(dict.fromkeys(died(text)))
    node_ip, node_id = _place(text, cause)
    node_ip = _address(node_ip)
    places = _places(text) if cause != "node_died" else {}
    named = tuple(dict.fromkeys(name for ip, place in places if (name := _address(ip) or place)))
    is_named = bool(victims or _NAMED_OTHERWISE.search(text))
    ended = _RAYLET_ENDED.search(text) if cause == "node_died" else None
    also = (f"The raylet of a node {_ENDED}",) if ended and _is_of_another(ended, text) else ()
    details = details_of(text)
    if exit_ and len(set(details.values())) > 1:
        each = itertools.islice(details.items(), MOST_DETAILS)
        also = (*also, *(f"Ray says of the worker with pid {pid}: {detail}" for pid, detail in each))
        exit_ = (exit_[0], "")
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
        exit_detail=exit_[1] or None if exit_ else None,
        reason="SIGABRT" if cause == "crash" and all(_ABORT.search(one[0]) for one in _CRASH.finditer(text)) else None,
        nodes=max(len(_dead_nodes(text) if cause == "node_died" else places), 1),
        places=named if len(named) == len(places) > 1 else (),
        is_named=is_named,
        also=also,
    )


def _cause(text: str, exit_: tuple[str, str] | None) -> str:
    if _KILLED_BY_CALL.search(text):
        return "ray_kill"
    if _PREEMPTED.search(text):
        return "preempted"
    if _NODE_DIED.search(text) or _RAYLET_DIED.search(text) or _RAYLET_ENDED.search(text):
        return "node_died"
    if _RAYLET_FAILED.search(text):
        return "node_died"
    if _CRASH.search(text):
        return "crash"
    if exit_ and (exit_[0].startswith("INTENDED") or _SELF_ENDED.search(exit_[1])):
        return "exit"
    return "unknown"


def _statement(text: str, cause: str) -> str | None:
    if cause == "node_died" and (raised := _RAYLETS_EXCEPTION.search(text)):
        return (
            f"A raylet ended by an exception of its own, which ends its node: {raised['kind']}: "
            f"{raised['what'].strip().rstrip('.')}."
        )
    if cause == "node_died" and _RAYLET_DIED.search(text) and not _NODE_DIED.search(text):
        return "The raylet of the node that ran the task died, which ends the node; the text does not say why it died."
    if cause == "node_died" and _RAYLET_FAILED.search(text) and not _NODE_DIED.search(text):
        return (
            "A worker ended, because the raylet of its node had failed, which ends the node; the text does not say why."
        )
    if cause == "node_died" and len(dead := _dead_nodes(text)) > 1:
        named = [ip or f"{node_id[:8]}…" for ip, node_id in dead]
        more = f", and {len(dead) - _MOST_NODES} more" if len(dead) > _MOST_NODES else ""
        return f"{len(dead)} nodes died or cannot be reached: {', '.join(named[:_MOST_NODES])}{more}."
    if cause == "node_died" and (ended := _RAYLET_ENDED.search(text)) and not _is_of_another(ended, text):
        return f"The raylet of the node{f' {ended[1]}' if ended[1] else ''} {_ENDED}"
    return None


def _is_of_another(ended: re.Match[str], text: str) -> bool:
    """Whether a text names a node that died, and a raylet that ended of which it does not say where that was."""
    return ended[2] is None and bool(_dead_nodes(text))


def _dead_nodes(text: str) -> list[tuple[str | None, str]]:
    """The addresses and ids of the nodes that lines say are dead."""
    found: dict[str, str | None] = {}
    for line in re.split(r"[\n;]", text):
        dead = _DEAD_NODE.search(line) if _NODE_DIED.search(line) else None
        if dead:
            node_id = dead[2] or dead[3]
            found[node_id] = dead[1] or dead[4] or found.get(node_id)
    for ended in _RAYLET_ENDED.finditer(text):
        if ended[2]:
            found[ended[2]] = ended[1] or found.get(ended[2])
    return [(ip, node_id) for node_id, ip in found.items()]


def died(text: str) -> Iterator[Victim]:
    """Yield the workers, else the actors, of which a text says that they ended; else whom it names by an id."""
    dead = list(actors(text))
    known = {(actor.pid, actor.actor_id): actor.name for actor in dead}
    failed = False
    for found in failed_workers(text):
        failed, pid, actor_id = True, int(found[5]), _actor_of(found[1])
        if actor_id is None:  # the actor's own description may have it
            alike = {other for process, other in known if process == pid and len(known) == 1}
            actor_id = next(iter(alike), None)
        dead = [actor for actor in dead if actor.actor_id != actor_id and actor.pid not in (None, pid)]
        yield Victim(known.get((pid, actor_id)), found[1], actor_id, found[2], pid, None, found[3])
    if failed:
        yield from dead
        return
    old = [Victim(None, task, _actor_of(task), None, None, None) for task in dict.fromkeys(_DIED_IN.findall(text))]
    yield from dead or (old if len(old) > 1 else _named(text))


def completed(victims: tuple[Victim, ...], text: str) -> tuple[Victim, ...]:
    """Add the pid and the task of those of whom only the worker's id is told, where Ray's word of its end has them."""
    if all(victim.pid is not None or victim.worker_id is None for victim in victims):
        return victims
    ended = {found[2]: (int(found[5]), found[1]) for found in failed_workers(text)}
    return tuple(
        replace(victim, pid=ended[victim.worker_id][0], task_id=victim.task_id or ended[victim.worker_id][1])
        if victim.pid is None and victim.worker_id in ended
        else victim
        for victim in victims
    )


def _actor_of(task_id: str | None) -> str | None:
    """Return the actor for which Ray leased a worker: the id of the task that creates one ends in the actor's."""
    found = re.fullmatch(rf"f{{16}}((?!f{{24}}){HEX}{{32}})", task_id or "")
    return found[1] if found else None


def _address(found: str | None) -> str | None:
    return found if found != _NO_ADDRESS else None


def with_the_dead(message: Message, text: str) -> Message:
    """Add to a message that does not name who ended the worker of which the text says that it died."""
    failed = list(itertools.islice(failed_workers(text), 2))
    if message.cause in ("gpu_memory", "crash") and not failed and not message.victims:
        return _with_actor(message, text)
    tasks = set(_DIED_IN.findall(text)) if message.cause == "memory_error" and not failed else set()
    if len(tasks) == 1:
        died_in = f"Ray says that a worker died that ran the task {tasks.pop()}."
        return replace(message, also=(*message.also, died_in))
    if message.cause not in _ENDS_WORKERS or message.victims or len(failed) != 1:
        return message
    victims = tuple(dict.fromkeys(died(text)))
    who = listed([called(victim.name, victim.pid) for victim in victims])
    ip = _address(failed[0][4])
    died_there = f"Ray says that {who} died{f' on node {ip}' if ip else ''}."
    return replace(
        message,
        victims=victims,
        is_named=True,
        node_ip=message.node_ip or ip,
        node_id=message.node_id or failed[0][3],
        also=(died_there, *message.also),
    )


def _with_actor(message: Message, text: str) -> Message:
    """Add the one actor of whose end a text tells beside: it need not be the one that lacked memory."""
    ended = {(one[1], one[3], _address(one[5])) for one in _dead_actors(text)}
    if len(ended) != 1 or _is_mixed(text):
        return message
    name, pid, ip = ended.pop()
    who = f"the actor {name or 'without a name'}" + (f" (pid {pid})" if pid else "") + (f" on node {ip}" if ip else "")
    how = ": it was ended by `ray.kill`" if _KILLED_BY_CALL.search(text) else ""
    return replace(message, also=(*message.also, f"The text also tells of the end of {who}{how}."))


def actors(text: str) -> Iterator[Victim]:
    """Yield the actors of which a text says that they ended."""
    if _is_mixed(text):  # whose name, pid and address it is cannot be told
        ids = dict.fromkeys(re.findall(rf"\bactor_id:\s{{0,40}}({HEX}{{32}})(?!{HEX})", text))
        yield from (Victim(None, None, actor_id, None, None, None) for actor_id in ids)
        return
    for one in _dead_actors(text):
        name = one[4] if one[4] and (one[1] is None or _WRAPPER.match(one[1])) else one[1]
        yield Victim(name, None, one[2], None, int(one[3]) if one[3] else None, None)


def _dead_actors(text: str) -> Iterator[re.Match[str]]:
    """What Ray says of actors that ended; where its first line is left out, only what has the others."""
    for found in _DEAD_ACTOR.finditer(text) if "actor_id" in text else ():
        if found[1] is not None or (found[3] is not None and found[5] is not None):
            yield found


def _is_mixed(text: str) -> bool:
    """Whether the lines of two actors stand between each other."""
    if text.count("class_name") < 2:
        return False
    fields = _ACTOR_FIELD.findall(text)
    orders = [_ACTOR_FIELDS.index(name) for name in fields]
    return fields.count("class_name") > 1 and any(
        then <= before and then > 0 for before, then in itertools.pairwise(orders)
    )


def _named(text: str) -> Iterator[Victim]:
    """Whom a text names in other forms: only where it names no two of a kind. Who raised an error has not ended."""
    text = _RAISED_IN.sub("", text)
    found = {name: one for name, form in _NAMED if (one := _only(form, text)) is not None}
    pid, node_id = found.get("pid"), found.pop("node_id", None)
    if found:
        task_id, actor_id, worker_id = (found.get(name) for name in ("task_id", "actor_id", "worker_id"))
        actor_id = actor_id or (_actor_of(task_id) if _DIED_IN.search(text) else None)
        yield Victim(None, task_id, actor_id, worker_id, int(pid) if pid else None, None, node_id)


def _only(form: Form, text: str) -> str | None:
    """What a text has in this form, where it has one such thing."""
    found = {next(filter(None, one.groups())) for one in form.finditer(text)}
    return found.pop() if len(found) == 1 else None


def _places(text: str) -> dict[tuple[str | None, str | None], None]:
    """The addresses and ids of the nodes of those who ended, in their order."""
    return dict.fromkeys((failed[4], failed[3]) for failed in failed_workers(text)) or dict.fromkeys(
        (actor[5], None) for actor in _dead_actors(text) if actor[5]
    )


def _place(text: str, cause: str) -> tuple[str | None, str | None]:
    """The address and the id of the node where it was; none where it was on several."""
    node_ip, node_id = node_of(text)
    if cause == "node_died" and (ended := _RAYLET_ENDED.search(text)) and ended[2]:
        return (ended[1], ended[2]) if len(_dead_nodes(text)) == 1 else (None, None)
    if _is_mixed(text):
        return node_ip, node_id
    places = _places(text)
    if len(places) == 1:
        node_ip, node_id = next(iter(places))
    elif places:
        node_ip = node_id = None
    if not places and node_id is None and cause != "node_died":
        node_id, node_ip = _only(dict(_NAMED)["node_id"], text), node_ip or _only(_NODE_IP, text)
    if cause == "node_died" and len(_dead_nodes(text)) > 1:
        return None, None
    if cause == "node_died" and node_id is None:
        dead = _DEAD_NODE.search(text)
        if dead:
            node_ip, node_id = dead[1] or dead[4] or node_ip, dead[2] or dead[3]
    return node_ip, node_id
