"""What Ray's memory monitor says when it kills, in the words of every version.

Up to Ray 1.x a task raised `RayOutOfMemoryError` before it ran; Ray 2.0 had another wording; from 2.1 to 2.55 one
worker is killed at a time, and several at once from 2.56 on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from ..facts import Message, Victim
from ..patterns import ADDRESS, ANY_ID, COUNT, NAME, NUMBER, Form, gibibytes, pattern, whole
from .each_node import of_each_node, places_of
from .kill_victims import CHOSEN_IDLE, LATEST_KILLED, OLD_KILL, ONE_KILLED, chosen_idle, considered, killed
from .memory_users import is_decimal, top_processes
from .raisers import headers

__all__ = ["crashed", "is_kill", "kills", "node_of"]

_NODE_DIGITS = 56
_MANY_KILLED = pattern(rf"({COUNT}) worker\(s\) were killed due to the node running low on memory")
_CHOSEN = pattern(rf"Selected ({COUNT}) workers to kill: ")
_WAITS = pattern(r"Still waiting for worker eviction to free up memory")
_WAITS_FOR = pattern(rf"\bWorker PID: ({COUNT})\)|free up memory\. worker pid: ({COUNT})")
_IDLE = pattern(rf"Total non-selected idle workers USS bytes: ({NUMBER})GB")
_REASON = pattern(r"OOM kill reason: ([^\n]{1,300})")
_EXACT = pattern(
    rf"Memory usage (\d{{1,18}})B exceeded threshold of (\d{{1,18}})B \({NUMBER}% of (\d{{1,18}})B (?:limit|total)\)"
)
_USAGE = pattern(
    rf"\bwas ({NUMBER})GB(?: used)? / ({NUMBER})GB(?: limit)? \({NUMBER}%?\)|"
    rf"Used memory \(({NUMBER})GB\) / total capacity \(({NUMBER})GB\)|"
    rf"the memory on node \S{{1,100}} is used \(({NUMBER}) / ({NUMBER}) G"
)
_ABOVE = pattern(
    r"Node memory usage above threshold, used: (\d{1,18}), (?:(?:total: (\d{1,18}), usage fraction: [\d.\s]{1,20}, "
    r"threshold: ([01](?:\.\d{1,9})?))|(?:threshold_bytes: (\d{1,18}), total bytes: (\d{1,18})))"
)
"""What a raylet logs before it kills: of 2.0 with the threshold as a part of all, then in bytes."""
_FRACTION = pattern(
    rf"exceeds the memory usage threshold of ({NUMBER})(?:\.(?!\d)|[^\d.]|$)|exceeds threshold ({NUMBER}),|"
    r"More than (\d{1,3})% of the memory on node"
)
_LOOSE_FRACTION = Form(
    r"\bthreshold[`*\"']{0,3}\s?(?:\(|of |is |was |= ?|: ?)?[`*\"']{0,3}(0\.\d{1,6})\b|"
    r"(?<![\d.])(0\.\d{1,6})[`*\"']{0,3}\s(?:memory |usage |kill |memory usage )?threshold\b"
)
"""The same in somebody's words, in the line of the figures."""
_NODE = pattern(
    rf"Memory on the node \((?:IP: (?:({ADDRESS})|<[^<>\n]{{1,40}}>|\S{{1,40}}?))?"
    rf"(?:(?:, ?|\s{{0,9}})(?:ID: ({ANY_ID})|\.\.\.|…))?\)"
)
_LOW_NODE = pattern(rf"System memory low at node with IP ({ADDRESS}?)\.?(?=\s|Used|$)")
_LOGS_OF = pattern(rf"\bray logs raylet\.out -ip ({ADDRESS})(?![\w:])")
_BEGINNING = pattern(r"Memory on the node \(IP: |System memory low at node with IP")
_BEFORE = pattern(rf"{COUNT} worker\(s\) were killed due to the node running low on memory\.\s{{0,9}}\Z")
"""What may stand right before it."""
_LONGEST_BEFORE = 600
"""Characters of that, with the white space that may be between its words."""
_LIST = pattern(r"Considered workers: \[|based on the killing policy: \[")
_LIST_END = pattern(r"Total non-selected idle workers: \d")
"""What a message of Ray 2.56 and later has once."""
_PERIODIC = pattern(
    rf"({COUNT}) Workers \(tasks / actors\) killed due to memory pressure \(OOM\)(?:, "
    rf"({COUNT}) Workers crashed due to other reasons(?: at node \(ID: ([^,]{{1,90}}), IP: ({ADDRESS})\))?|"
    r"[ \t]{0,9}(?:\n|\Z))"
)
"""A text, or a line, may break off after its first part."""
_THRESHOLD, _OLD_THRESHOLD = Form(r"\bRAY_memory_usage_threshold\w*"), "RAY_MEMORY_MONITOR_ERROR_THRESHOLD"
"""The variable that moves the limit, as a text has it, and as Ray 1.x had it."""
_SHARED = pattern(
    rf"(?:up to |~)?({NUMBER} Gi?B) of shared memory is currently (?:being )?used by the Ray object store"
)
_NAME_CUT = pattern(
    r"where the (?:task|lease|actor) \((?:(?:actor|task|lease) ID: [^\s,()]{1,80}(?:, )?){1,3}"
    r"name=((?!\s)(?:(?!, pid=)[^\n]){1,300}?)\s{0,9}\Z"
)
_REPLICA = pattern(
    r"Health check for Replica\(id='([\w-]{1,60})', deployment='([^'\n]{1,200})'(?:, app='[^'\n]{0,200}')?\) failed"
)
_OOM_RETRY = pattern(rf"Task ({NAME}) failed due to oom\. There are (infinite|{COUNT}) oom retries remaining")
_RAISED_THERE = pattern(
    r"RayTaskError\(RayOutOfMemoryError\)|^\s{0,40}(?:[\w.]{1,60}\.)?RayOutOfMemoryError:|"
    r"memory_monitor\.py\", line \d{1,6}, in raise_if_low_memory"
    r"(?![^\0]{0,4000}?\b(?!RayOutOfMemory)\w{1,60}(?:Error|Exception|Exit|Interrupt)\b)",
    re.MULTILINE,
)
"""Of a traceback that breaks off, the function that does nothing else but raise it."""
_LOW_MEMORY = pattern(rf"Memory usage on this node: ({NUMBER})/({NUMBER}) ?Gi?B")
_REFUSED = pattern(r"More than \d{1,3}% of the memory on node (\S{1,100}) is used")
_SAID = pattern(
    r"\b(?:was|were) killed due to the node running low on memory|Selected to kill: \(|OOM kill reason: \w|"
    r"exceeds the memory usage threshold of \d|Memory on the node \(IP: [^\n]{1,150}?\) where the (?:task|lease) |"
    r"killing latest (?:task|actor) with name|Selected [1-9]\d{0,5} workers to kill: |"
    r"""exit(?: |_)type["']?[:=] ?["']?NODE_OUT_OF_MEMORY\b|error_type["']?[:=] ?["']?OUT_OF_MEMORY\b"""
)
"""Words that Ray says of no other kind of death."""
_LOOSE_USAGE = Form(
    rf"({NUMBER}) ?(?:Gi?B)? ?/ ?({NUMBER}) ?Gi?B ?(?:\((0\.\d{{2,8}})\)|= ?\*{{0,2}}(\d{{1,3}}\.\d{{1,4}})%)"
)
_LOOSE_SHARE = 0.005
"""By how much the share may be off that stands behind two figures, so that they are a node's use and its memory."""


_ADVISED = pattern(r"Refer to the documentation on how to address the out of memory issue: https?://docs\.ray\.io")
"""The end of the monitor's message, where its beginning is cut off."""


def is_kill(text: str) -> bool:
    """Whether a text says that Ray's monitor killed for memory, or would not run a task."""
    return bool(
        any(int(summary[1]) for summary in _summaries(text))
        or _SAID.search(text)
        or ONE_KILLED.search(text)
        or _OOM_RETRY.search(text)
        or _REFUSED.search(text)
        or _RAISED_THERE.search(text)
        or CHOSEN_IDLE.search(text)
        or _WAITS.search(text)
        or OLD_KILL.search(text)
        or (_ADVISED.search(text) and not _summaries(text))
    )


def kills(text: str) -> Message:
    """Return what Ray killed for memory: one event, or the several that a log tells of."""
    starts = list(_starts(text))
    parts = [text[start:end] for start, end in zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True)]
    if len(parts) == 1:
        return _one(text)
    events = [_one(part) for part in parts]
    is_mixed = any(map(_is_mixed, parts))
    if is_mixed:
        events = [_without_place(event) for event in events]
    all_victims = [(event, victim) for event in reversed(events) for victim in event.victims]
    victims = {(victim.pid, victim.worker_id or event.node_ip): victim for event, victim in all_victims}
    different = {event.victims: event for event in reversed(events) if event.victims}
    most = max((event.killed or 0 for event in events), default=0)
    if len(different) == 1 and not is_mixed:
        only = next(iter(different.values()))
        return replace(only, killed=max(only.killed or 0, most) or None)
    nodes = {node_of(part) for part in parts}
    node_ip, node_id = next(iter(nodes)) if len(nodes) == 1 else (None, None)
    limits, thresholds = ({getattr(event, name) for event in events} for name in ("limit", "threshold"))
    return Message(
        cause="ray_memory_monitor",
        node_id=node_id,
        node_ip=node_ip,
        limit=limits.pop() if len(limits) == 1 else None,
        threshold=thresholds.pop() if len(thresholds) == 1 else None,
        victims=tuple(reversed(victims.values())),
        top_processes=tuple(dict.fromkeys(process for event in events for process in event.top_processes)),
        killed=max(len(victims), most) or None,
        retries=max((event.retries for event in events if event.retries is not None), default=None),
        nodes=len(nodes),
        places=places_of((one.node_ip, one.node_id) for one in events if one.victims) if len(nodes) > 1 else (),
        also=of_each_node(events) if len(nodes) > 1 else (),
    )


def _starts(text: str) -> Iterator[int]:
    """Where the messages begin."""
    for found in _BEGINNING.finditer(text):
        least = max(found.start() - _LONGEST_BEFORE, 0)
        before = _BEFORE.search(text[least : found.start()])
        yield least + before.start() if before else found.start()


def _is_mixed(part: str) -> bool:
    """Whether lines of two messages stand between each other: there are more lists, or ends of them, than one has."""
    lists = len(_LIST.findall(part))
    return lists > 1 or len(_LIST_END.findall(part)) > lists


def _without_place(event: Message) -> Message:
    """An event without what is of one node: which of several that is cannot be told."""
    victims = tuple(replace(victim, node_id=None) for victim in event.victims)
    return replace(
        event, victims=victims, node_id=None, node_ip=None, used=None, limit=None, threshold=None, idle_memory=None
    )


def _one(text: str) -> Message:
    node_ip, node_id = node_of(text)
    found = {(one.pid, one.worker_id): replace(one, node_id=node_id) for one in killed(text)}
    used, threshold, limit = _memory_of_node(text)
    retry, idle = (which.search(text) for which in (_OOM_RETRY, _IDLE))
    many, periodic = _MANY_KILLED.search(text) or _CHOSEN.search(text), crashed(text)
    counts = (int(many[1]) if many else 0, periodic[0] if periodic else 0)
    chosen = () if found else tuple(chosen_idle(text))
    for worker in chosen:
        found[worker.pid, None] = Victim(None, None, None, None, worker.pid, worker.memory, node_id)
    if retry and not found:
        found[None, None] = Victim(retry[1], None, None, None, None, None)
    for waited in () if found or not _WAITS.search(text) else _WAITS_FOR.finditer(text):
        pid = int(waited[1] or waited[2])
        found[pid, None] = Victim(None, None, None, None, pid, None, node_id)
    moved_by = _THRESHOLD.search(text)
    one, reason = ONE_KILLED.search(text) or LATEST_KILLED.search(text), _reason(text)
    refusal, ip = _refusal(text) if not one else (None, None)
    return Message(
        cause="ray_memory_monitor",
        statement=refusal,
        node_id=node_id,
        node_ip=node_ip or ip,
        used=used,
        limit=limit,
        threshold=threshold,
        victims=tuple(found.values()),
        top_processes=top_processes(text, frozenset(pid for pid, _ in found if pid)),
        killed=max(counts) or (1 if one else None),
        retries=None if not retry else float("inf") if retry[2] == "infinite" else int(retry[2]),
        considered=(*considered(text), *chosen),
        idle_memory=gibibytes(idle[1]) if idle else None,
        reason=reason,
        nodes=max(len(periodic_places(text)), 1) if node_id is None else 1,
        places=places_of(sorted(periodic_places(text), key=str)) if node_id is None else (),
        moved_by=_OLD_THRESHOLD if refusal else moved_by[0] if moved_by else None,
        also=_also(text),
    )


def _also(text: str) -> tuple[str, ...]:
    """What else a text says of the node's memory, and of whom the kill ended."""
    begun = _NAME_CUT.search(text)
    cut = f"The text breaks off in the name of what was killed: {begun[1]}…" if begun else ""
    store, serve = _SHARED.search(text), {one.groups() for one in _REPLICA.finditer(text)}
    held = f"The object store had {store[1]} of that in shared memory." if store else ""
    deployments = {deployment for _, deployment in serve}
    if len(deployments) != 1:
        return tuple(filter(None, (cut, held)))
    which = f"the replica {next(iter(serve))[0]}" if len(serve) == 1 else f"{len(serve)} replicas"
    failed = f"Ray Serve says that {which} of the deployment {deployments.pop()} failed its health check."
    return tuple(filter(None, (cut, held, failed)))


def _refusal(text: str) -> tuple[str | None, str | None]:
    """What Ray 1.x would not run, and the address of the node, where that is told of once."""
    on = _REFUSED.search(text)
    if on is None and not _RAISED_THERE.search(text):
        return None, None
    tasks = set(headers(text))
    who = tasks.pop() if len(tasks) == 1 else None
    what = f"{who.name or 'a task'} (pid {who.pid})" if who else "a task"
    where = on[1] if on else (who.ip or who.host) if who else None
    node = f" on node {where}" if where else ""
    return (
        f"Ray did not run {what}{node}, because the node was low on memory: it raised RayOutOfMemoryError, and Ray "
        "killed nothing."
    ), who.ip if who else None


def _reason(text: str) -> str | None:
    """Why it killed, where that is not the figures of the node."""
    found = _REASON.search(text)
    return None if found is None or _EXACT.search(found[0]) else found[1].split(";")[0].strip()


def _memory_of_node(text: str) -> tuple[int | None, int | None, int | None]:
    """The node's memory in use, the threshold, and its memory."""
    exact, usage, fraction = _EXACT.search(text), _USAGE.search(text), _FRACTION.search(text)
    if exact:
        return int(exact[1]), int(exact[2]), int(exact[3])
    if usage is None and (above := _ABOVE.search(text)):
        limit = int(above[2] or above[5])
        return int(above[1]), int(above[4]) if above[4] else round(float(above[3]) * limit), limit
    if usage is None:
        usage = next(filter(_is_share, _LOOSE_USAGE.finditer(text)), _LOW_MEMORY.search(text))
        if usage is None:
            return None, None, None
        used, limit = gibibytes(usage[1]), gibibytes(usage[2])
        end = text.find("\n", usage.end())
        line = text[text.rfind("\n", 0, usage.start()) + 1 : end if end >= 0 else len(text)]
        fraction = fraction or _LOOSE_FRACTION.search(line)
    else:
        used, limit = [_bytes(figure, text) for figure in usage.groups() if figure]
    if fraction is None:
        return used, None, limit
    share = float(next(filter(None, fraction.groups())))
    share = share / 100 if share > 1 else share
    return used, round(share * limit), limit


def _is_share(found: re.Match[str]) -> bool:
    used, limit = float(found[1]), float(found[2])
    share = float(found[3]) if found[3] else float(found[4]) / 100
    return limit > 0 and abs(used / limit - share) < _LOOSE_SHARE


def _bytes(figure: str, text: str) -> int:
    return round(float(figure) * 10**9) if is_decimal(text) else gibibytes(figure)


def node_of(text: str) -> tuple[str | None, str | None]:
    """Return address and id of the node that a text tells of."""
    node = _NODE.search(text)
    places = periodic_places(text)
    if node:
        node_id = whole(node[2], _NODE_DIGITS)
        begins = (node[2] or "").rstrip(".…")
        alike = {one for ip, one in places if one and ip == node[1] and one.startswith(begins)} if begins else set()
        return node[1] or _ip_of_logs(text), node_id or (alike.pop() if len(alike) == 1 else None)
    if places:
        return next(iter(places)) if len(places) == 1 else (None, None)
    low = _LOW_NODE.search(text)
    return (low[1], None) if low else (_ip_of_logs(text), None)


def _ip_of_logs(text: str) -> str | None:
    """The address in the command that shows the raylet's log, where a text has one such."""
    found = {one[1].rstrip(".:") for one in _LOGS_OF.finditer(text)}
    return found.pop() if len(found) == 1 else None


@lru_cache(maxsize=1)
def _summaries(text: str) -> tuple[re.Match[str], ...]:
    """What a raylet says from time to time of the workers that it killed."""
    return tuple(_PERIODIC.finditer(text))


def periodic_places(text: str) -> set[tuple[str | None, str | None]]:
    """Return the nodes, by address and id, whose summaries a text has."""
    found = (one for one in _summaries(text) if one[3])
    return {(one[4], whole("".join(one[3].split()), _NODE_DIGITS)) for one in found}


def crashed(text: str) -> tuple[int, int] | None:
    """Return how many workers Ray's summary says were killed for memory, and how many ended for other reasons."""
    found = _summaries(text)
    return (sum(int(one[1]) for one in found), sum(int(one[2] or 0) for one in found)) if found else None
