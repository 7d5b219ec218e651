"""What Kubernetes says of pods that it evicted, of nodes that are low on memory, and of pods without a place."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from ..facts import Message
from ..kinds import Kind
from ..patterns import IPV4, SIZE, Form, pattern, size

__all__ = ["PRESSURE", "evicted", "waiting"]

_POD_NAME = r"[a-z0-9][a-z0-9.-]{0,252}"
_EVICTED = pattern(
    rf"The node was low on resource: (?:memory\b|\[MemoryPressure\])\.?(?: Threshold quantity: (?P<threshold>{SIZE}), "
    rf"available: "
    rf"(?P<available>{SIZE})\.)?"
)
_CONTAINER = pattern(
    rf" Container (?P<name>[\w-]{{1,63}}) was using (?P<memory>{SIZE})"
    rf"(?:, (?:which exceeds its )?request (?:of|is) (?P<request>{SIZE}|0))?(?:, has larger consumption of memory)?\.?"
)
_OF_DISK = (
    pattern(
        rf"The node was low on resource: \[?(?P<what>ephemeral-storage|inodes|nodefs\w{{0,12}}|imagefs\w{{0,12}}|"
        rf"DiskPressure)\]?\.?(?: Threshold quantity: (?P<threshold>{SIZE}), available: (?P<available>{SIZE})\.)?"
    ),
    pattern(
        rf"\b(?P<what>[Pp]od ephemeral local storage usage) exceeds the total limit of containers (?P<limit>{SIZE})|"
        rf"\b[Cc]ontainer (?P<container>[\w.-]{{1,63}}) exceeded (?:its )?local ephemeral storage limit "
        rf"\"?(?P<most>{SIZE})"
    ),
)
"""Evictions for want of a disk's room."""
_IN_MEMORY = Form(r"\bmedium[\"']?: [\"']?Memory\b")
_EMPTY_DIR = pattern(
    rf"\bUsage of EmptyDir volume \"(?P<volume>[\w.-]{{1,63}})\" exceeds the limit \"(?P<most>{SIZE})\""
)
_REFUSED = pattern(r"The node had condition: \[[^\]\n]{0,80}\bMemoryPressure\b")
_NAME = Form(
    rf"^(?:[\w.]{{1,100}}:\s)?(?P<indent>[ \t]{{0,40}})Name:\s{{1,40}}(?P<name>{_POD_NAME})\s{{0,9}}$", re.MULTILINE
)
_POD_IP = Form(rf"^[ \t]{{0,40}}[\"']?podIP[\"']?:\s{{1,40}}[\"']?({IPV4})[\"']?,?\s{{0,9}}$", re.MULTILINE)
_NODE = Form(
    rf"^[ \t]{{0,40}}Node:\s{{1,40}}({_POD_NAME})(?:/({IPV4})?)?\s{{0,9}}$|"
    rf"\bkubectl describe node ({_POD_NAME})(?:\s|$)",
    re.MULTILINE,
)
_OF_LINE = Form(
    rf"\b[Pp]od[/ ][\"'`]?((?=[\w./]{{0,100}}-)"
    rf"(?:{_POD_NAME}<[^<>\n]{{1,40}}>|{_POD_NAME}(?:/{_POD_NAME})?\b(?![\w-])))"
)
"""The pod that an event is of; who pastes it may have replaced a part of its name."""
_LISTED = Form(rf"^({_POD_NAME})[ \t]{{1,80}}\d{{1,3}}/\d{{1,3}}[ \t]{{1,80}}Evicted\b", re.MULTILINE)
"""A row of `kubectl get pods`."""
_MOST_CONTAINERS = 10
_MOST_NAMED = 3
_MOST_EVICTED = 1000


def evicted(text: str) -> Message | None:
    """Return what a text says of pods that Kubernetes evicted because their node was low on memory."""
    found = list(itertools.islice(_EVICTED.finditer(text), _MOST_EVICTED))
    if not found:
        of_disk = _of_disk(text)
        if of_disk is not None:
            return of_disk
        refused = _refused(text)
        return Message("evicted", refused, is_named=True) if refused else None
    also = tuple(filter(None, (_refused(text),)))
    pods = _pods(text, found)
    node, ip = _node(text)
    where = f" {node}" if node else ""
    if len(pods) > 1:
        named = _list(pods)
        said = f"Kubernetes evicted the pods {named}, because of nodes that were low on memory."
        return Message("evicted", said, also=(*_each(text, found), *also))
    addresses = set(_POD_IP.findall(text))
    what = f"the pod {pods[0]}" if pods else f"the pod at {next(iter(addresses))}" if len(addresses) == 1 else "a pod"
    if pods and (by_name := re.search(r"-(head|worker)-", pods[0])):
        what += f" (by its name a Ray {by_name[1]} node)"
    said = f"Kubernetes evicted {what}, because its node{where} was low on memory"
    first = next((one for one in found if one["available"]), None)
    if first is not None:
        said += f": {_figure(first['available'])} was available, and the threshold is {_figure(first['threshold'])}"
    used = _containers(text, found)
    if used:
        said += f"; the container{'s' * (len(used) > 1)} {_list(used)}"
    return Message("evicted", f"{said}.", node_ip=ip, is_named=bool(pods), also=also)


def _each(text: str, found: list[re.Match[str]]) -> Iterator[str]:
    """What was available when each of several pods was evicted, and what its containers used."""
    different = {pods[0]: end for end in found if len(pods := _pods(text, [end])) == 1}
    for pod, end in different.items() if len(different) <= _MOST_NAMED else ():
        used = _containers(text, [end])
        available = f"{_figure(end['available'])} was available" if end["available"] else ""
        containers = f"the container{'s' * (len(used) > 1)} {_list(used)}" if used else ""
        if said := "; ".join(filter(None, (available, containers))):
            yield f"When {pod} was evicted: {said}."


def _refused(text: str) -> str | None:
    """What is said of a pod that could not run on a node for want of memory there."""
    found = _REFUSED.search(text)
    if found is None:
        return None
    pod = _pods(text, [found])
    which = f"the pod {pod[0]}" if len(pod) == 1 else "a pod"
    return f"Kubernetes did not let {which} run on its node, which was low on memory (MemoryPressure)."


def _of_disk(text: str) -> Message | None:
    """Return what is said of pods that were evicted because a disk, or a limit of what they keep there, was full."""
    ends = [found for form in _OF_DISK for found in itertools.islice(form.finditer(text), _MOST_EVICTED)]
    volume = None if ends else _EMPTY_DIR.search(text)
    if not ends and volume is None:
        return None
    pods = _pods(text, ends or [volume] if volume is not None else ends)
    what = f"the pod {pods[0]}" if len(pods) == 1 else f"the pods {_list(pods)}" if pods else "a pod"
    node, ip = _node(text)
    said = f"Kubernetes evicted {what}, because "
    if volume is not None:
        counts = ", which is memory: it counts as the pod's" if _IN_MEMORY.search(text) else ""
        said += f"its volume {volume['volume']} (emptyDir) had more than its limit of {_figure(volume['most'])}{counts}"
        return Message("evicted", f"{said}.", node_ip=ip, lacks="ephemeral storage", is_named=bool(pods))
    end = ends[0].groupdict()
    limit = end.get("limit") or end.get("most")
    if limit:
        whose = f"its container {end['container']}" if end.get("container") else "it"
        said += f"{whose} wrote more to the node's disk than its limit of {_figure(limit)} (ephemeral storage)"
    else:
        where = f" {node}" if node else ""
        said += f"its node{where} was low on a disk's room, not on memory ({end['what']})"
        if end.get("available"):
            said += (
                f": {_figure(end['available'])} was available, and the threshold is {_figure(end['threshold'] or '')}"
            )
        used = _containers(text, ends)
        said += f"; the container{'s' * (len(used) > 1)} {_list(used)}" if used else ""
    return Message("evicted", f"{said}.", node_ip=ip, lacks="ephemeral storage", is_named=bool(pods))


def _pods(text: str, ends: list[re.Match[str]]) -> list[str]:
    """The pods that were evicted: by the lines that say so, else by `kubectl describe` of one."""
    named: dict[str, None] = {}
    for end in ends:
        start = text.rfind("\n", 0, end.start()) + 1
        line = text[max(start, end.start() - 1000) : end.start()]
        told = _OF_LINE.findall(line)
        if told:
            named[told[-1]] = None
    if named:
        return list(named)
    described = list(_NAME.finditer(text))
    listed = set(_LISTED.findall(text)) if not described else set()
    if len(listed) == 1:
        return list(listed)
    least = min((_indent(one) for one in described), default=0)  # those below are of volumes and references
    names = list(dict.fromkeys(one["name"] for one in described if _indent(one) == least))
    return names if len(names) == 1 else []


def _indent(found: re.Match[str]) -> int:
    return len(found["indent"])


def _node(text: str) -> tuple[str | None, str | None]:
    """The node, and its address, where `kubectl describe` names one."""
    nodes = list(dict.fromkeys((name or described, ip or None) for name, ip, described in _NODE.findall(text)))
    return nodes[0] if len(nodes) == 1 else (None, None)


def _containers(text: str, ends: list[re.Match[str]]) -> list[str]:
    """What the containers of one pod used when it was evicted, in sentences, the largest first."""
    found: dict[str, tuple[int, str]] = {}
    for end in ends:
        position = end.end()
        for _ in range(_MOST_CONTAINERS):
            one = _CONTAINER.match(text, position)
            if one is None:
                break
            asked = f" and had requested {_figure(one['request'])}" if one["request"] else ""
            told = f"{one['name']} was using {_figure(one['memory'])}{asked}"
            found.setdefault(one["name"], (size(one["memory"]) or 0, told))
            position = one.end()
    return [told for _, told in sorted(found.values(), reverse=True)]


def _figure(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _list(words: list[str]) -> str:
    more = ["others"] * (len(words) > _MOST_NAMED)
    *most, last = [*words[:_MOST_NAMED], *more]
    return f"{', '.join(most)} and {last}" if most else last


_LOW = "A node of Kubernetes[, {host},] is low on memory: its kubelet evicts pods to have more."
PRESSURE = (
    *(
        Kind("warning", pattern(form), _LOW, lacks="pressure")
        for form in (
            r"[Ee]viction manager: (?:must evict pod\(s\)|attempting) to reclaim\"?(?: resourceName=\"?| )memory\b",
            r"\bEvictionThresholdMet\b[^\n]{0,200}?\bAttempting to reclaim memory\b",
            r"\bNode (?P<host>[\w.-]{1,200}) status is now: NodeHasInsufficientMemory\b",
            r"[Ee]viction manager: (?:node conditions - observed: \[[^\]\n]{0,80}?MemoryPressure|thresholds - reclaim "
            r"not satisfied: threshold \[signal=memory\.)",
        )
    ),
    Kind(
        "warning",
        pattern(r"\bMemoryPressure True\b[^\n]{0,300}?KubeletHasInsufficientMemory\b"),
        "A node of Kubernetes is low on memory (MemoryPressure): its kubelet evicts pods to have more.",
        lacks="pressure",
    ),
)
_NO_PLACE = pattern(
    r"\b\d{1,6}/(?P<all>\d{1,6}) nodes are available: (?P<before>(?:[^\n,]{1,150}, ){0,8}?)"
    r"(?P<nodes>\d{1,6}) Insufficient memory\b(?P<after>[^\n]{0,300})"
)
_NO_CPU = Form(r"\b(\d{1,6}) Insufficient cpu\b")
_OFTEN = Form(r"\bFailedScheduling\b[^\n]{0,60}?\(x(\d{1,9}) over (\w{1,12})\)")
_PLACED = Form(rf"\bSuccessfully assigned (?:{_POD_NAME}/)?({_POD_NAME}) to ([a-z0-9][\w.-]{{0,252}})")


def waiting(text: str) -> Message | None:
    """Return what a text says of a pod for which Kubernetes found no node with enough memory left: nothing ended."""
    found = list(itertools.islice(_NO_PLACE.finditer(text), _MOST_EVICTED))
    if not found:
        return None
    last = found[-1]
    names = _pods(text, [last])
    placed = {one[1]: one[2] for one in _PLACED.finditer(text)}
    pod = names[0] if len(names) == 1 else next(iter(placed)) if len(placed) == 1 and not names else None
    where = placed.get(pod.rpartition("/")[2]) if pod else None
    said = f"the pod {pod}" if pod else "a pod"
    lacked = f"{last['nodes']} of {last['all']} nodes {'had' if where else 'have'} less memory left than it requests"
    cpu = _NO_CPU.search(last["before"] + last["after"])
    lacked += f", and {cpu[1]} too few CPUs" if cpu else ""
    often = _OFTEN.search(text)
    tried = f" The scheduler tried {often[1]} times over {often[2]}." if often else ""
    if where:
        said = f"Kubernetes found no place for {said} at first: {lacked}.{tried} Then it was placed on {where}."
    else:
        said = f"Kubernetes finds no place for {said}: {lacked}.{tried}"
    return Message("warning", said, lacks="placement")
