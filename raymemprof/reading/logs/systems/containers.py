"""What Kubernetes and Docker say of the containers that ended for memory, and of their pods."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from dataclasses import replace

from ..facts import Message
from ..kinds import Kind, first_of
from ..patterns import ADDRESS, SIZE, Form, pattern, size
from ..programs.platforms import EXITS
from .launchers import BY_NAME, WHY_UNKNOWN
from .oom_killed import oom_kills

__all__ = ["container"]

OOM_EVENTS = (
    Kind(
        "container_limit",
        pattern(
            r"\bTaskOOM event (?:container_id: "
            r"?\\?\"|[^\n]{0,60}?ContainerID:)(?P<container>[0-9a-f]{12})[0-9a-f]{0,52}|"
            r"/tasks/oom \{\\?\"container_id\\?\": ?\\?\"(?P<name_of>[\w.-]{1,64})"
        ),
        "Memory ran out in the container (or the pod's sandbox) [{container}][{name_of}], and the kernel's "
        "out-of-memory killer killed in it (an event of containerd's); the text does not say whether the container "
        "ended with that.",
    ),
    Kind(
        "container_limit",
        pattern(r"\bconmon(?:\[\d{1,10}\]:)? [^\n]{0,60}?\bOOM (?:event )?received\b|\bOOM event received\b"),
        "Memory ran out in a container, and the kernel's out-of-memory killer killed in it (conmon, of Podman and "
        "CRI-O, had an event of it); the text does not say whether the container ended with that.",
    ),
)
"""What runtimes of containers say of memory that ran out."""
_NOT_STARTED = Kind(
    "container_limit",
    pattern(r"\bcontainer init was OOM-?killed(?: \(memory limit too low\?\))?"),
    "A container did not start: its first process was killed for memory, as where its memory limit is too low for "
    "that.",
)

_NOT_OOM = Form(r"\bOOMKilled[\"'`]{0,3}(?:\s{0,9}[:=]| (?:is|was))\s{0,9}[\"'`]?false\b")
_EXIT_137 = Form(
    r"\b(?:(?:[Ee]xit ?[Cc]ode|(?:e|containerE)xitCode|exit status|code)[\"']?\s{0,20}[:=]?\s{0,20}\(?|"
    r"Exited \()137\b"
    r"(?![`'\"]{0,3} (?:means?|stands|indicates|is|usually)\b)"
)
_POD = (
    Form(r"^(?:[\w.]{1,100}:\s)?Name:\s{1,40}([a-z0-9][a-z0-9.-]{0,252})\s{0,9}$", re.MULTILINE),
    Form(
        r"^\s{0,40}[\"']?name[\"']?:\s{1,9}[\"']?([a-z0-9][a-z0-9.-]{0,252}-(?:head|worker)-[a-z0-9-]{1,60})\b",
        re.MULTILINE,
    ),
)
"""How a pod is named above what happened to it: by `kubectl describe`, in YAML and JSON."""
_NEXT_POD = Form(r"^(?:[\w.]{1,100}:\s)?Name:\s|\bmetadata[\"']?:", re.MULTILINE)
"""Where what is told of another pod begins."""
_POD_OF_LINE = (
    Form(r"^\s{0,9}([a-z0-9][a-z0-9.-]{0,252})\s{1,40}\d{1,3}/\d{1,3}\s{1,40}OOMKilled\b"),
    Form(r"\bpod/([a-z0-9][a-z0-9./-]{0,252}[a-z0-9])"),
    Form(r"\bpod [`\"']?((?=[a-z0-9./]{0,100}-)[a-z0-9][a-z0-9./-]{0,252}[a-z0-9])"),
    Form(
        r"(?<!name=)\b([a-z0-9][a-z0-9-]{0,200}-(?:head|worker)-[a-z0-9-]{1,60})\b(?![\w-]|,? \(?exited with code|\))"
    ),
)
"""How a pod is named in the line that tells of its end: by `kubectl get pods`, and elsewhere."""
_CONTAINER = (
    Form(r"`([a-z][a-z0-9-]{0,62})`\s{1,9}container\b"),
    Form(r"\[([a-z0-9][\w.-]{1,100})\] terminated with exit code \(137\)"),
    Form(r"(?:^|\s)([\w.-]{1,100}) exited with code 137\b"),
    Form(r"\bcontainer\s{1,9}`([a-z][a-z0-9-]{0,62})`"),
    Form(r"\bcontainer (?:oom|died?) [0-9a-f]{12,64} \([^()\n]{0,500}?\bname=([\w.-]{1,100})"),
)
"""How a container is named in the line that tells of its end."""
_INSPECTED = (
    Form(r"[\"']Name[\"']:\s{1,9}[\"']/([\w.-]{1,100})[\"']"),
    Form(r"[\"']Id[\"']:\s{1,9}[\"']([0-9a-f]{12})[0-9a-f]{52}[\"']"),
)
"""How `docker inspect` names a container."""
_DESCRIBED = Form(r"^ {2}([a-z0-9][a-z0-9-]{0,62}):\s{0,9}$", re.MULTILINE)
"""How `kubectl describe` names a container, above what it says of it."""
_ROLE = Form(r"\b([Hh]ead|[Ww]orker)(?: node)? [Pp]od\b")
_PROPOSED = Form(
    r"(?i:\b(?:fix(?:e[ds])?|solutions?|solve[ds]?|work-?arounds?|resolutions?|remed(?:y|ies)|recommend\w{0,6}|"
    r"suggest\w{0,6}|increas\w{1,4}|rais(?:e|ed|ing)|set|chang(?:e|ed|es|ing)|should|try|at least|updated?|bump(?:ed)?|"
    r"proposed|instead|example|needs?)\b)|^[+-] {0,40}\S|^diff ",
    re.MULTILINE,
)
"""Words before a limit that is to be, or may be; not that of a container that ended."""
_HEADING = Form(r"^[ \t>]{0,9}(?:#{1,6}[ \t][^\n]{0,200}|\*\*[^*\n]{1,100}\*\*[^\n]{0,200})$", re.MULTILINE)
_MOST_OF_LINE = 500
"""Characters of a line before and after what tells of an end."""
_BEFORE_LIMIT = 300
"""Characters before a limit in which such words tell what it is."""
_MOST_ENDS = 100
"""Containers that ended whose pods are looked for."""
_STATE = Form(r"^\s{1,40}State:", re.MULTILINE)
_POD_IP = Form(rf"^\s{{0,20}}[\"']?(?:IP|podIP)[\"']?:\s{{1,40}}[\"']?({ADDRESS})[\"']?,?\s{{0,9}}$", re.MULTILINE)
_LIMIT = Form(
    rf"\b[Ll]imits[\"']?:[^\n]{{0,200}}\n(?:[^\n]{{0,200}}\n){{0,4}}?\s*[\"']?memory[\"']?:\s{{1,20}}[\"']?({SIZE})"
)
_IN_CGROUP = Form(r"\bMemory cgroup out of memory\b")
"""What the kernel says of a limit, and not of a machine without memory."""
_RESTARTS = Form(r"^\s{1,40}Restart Count:\s{1,20}(\d{1,7})\s{0,9}$", re.MULTILINE)
_TERMINATED = Form(r"\bLast State:|\b[Tt]erminated\b[\"']?:|\b[Cc]ontainer\b")


def container(text: str) -> Message | None:
    """Return what Kubernetes or Docker says of a container that ended for memory, or by SIGKILL."""
    not_started = _NOT_STARTED.read(text)
    if not_started is not None:
        return not_started
    kills = oom_kills(text)
    killed, code = next(iter(kills), None), _EXIT_137.search(text)
    first = killed or code
    if first is None:
        return first_of(OOM_EVENTS, text)
    told = first_of((*EXITS, *BY_NAME), text) if killed is None else None
    if told is not None:
        return told
    ends = kills or [first]
    borders = [found.start() for found in _NEXT_POD.finditer(text)]
    pods = list(dict.fromkeys(_pod(text, _about(text, borders, end), end) for end in ends[:_MOST_ENDS]))
    pod = pods[0] if len(pods) == 1 else None
    about = text[slice(*_about(text, borders, first))] if len(pods) == 1 else ""
    name = _container(text, first, about) or _of_docker(about) if about else None
    before = text[text.rfind("\n", 0, first.start()) + 1 : first.end()]
    role = next(reversed(list(_ROLE.finditer(before))), None) if about and not pod else None
    what = f"the container {name}" if name else "a container"
    what += f" of the pod {pod}" if pod else f" of the {role[1].lower()} pod" if role else ""
    if len(pods) > 1:
        named = list(filter(None, pods))
        what = f"containers of the pod{'s' * (len(named) > 1)} {' and '.join(named)}"
    if pod and (by_name := re.search(r"-(head|worker)-", pod)):
        what += f" (by its name a Ray {by_name[1]} node)"
    if killed and killed[0].startswith("container oom") and not code:
        said = (
            f"Memory ran out in {what}, and the kernel's out-of-memory killer killed in it (an event of Docker's); the "
        )
        said += "text does not say whether the container ended with that."
    elif killed:
        it = "it reached its memory limit" if len(pods) == 1 else "each reached its limit"
        if not _IN_CGROUP.search(text):
            it += f", or {'its' if len(pods) == 1 else 'a'} machine ran out of memory"
        said = f"The kernel's out-of-memory killer killed {what} (OOMKilled): {it}."
    else:
        of_container = pod or name or _TERMINATED.search(text) or _NOT_OOM.search(about)
        who = f"The main process of {what}" if of_container else "A process"
        why = "OOMKilled is false: not for memory, as far as this says" if _NOT_OOM.search(about) else WHY_UNKNOWN
        said = f"{who} ended with exit code 137, as after SIGKILL; {why}."
    ip = _POD_IP.search(about)
    message = Message("container_limit" if killed else "sigkill", said, node_ip=ip[1] if ip else None)
    return replace(message, limit=_limit(about), also=_restarts(about), is_named=True)


def _about(text: str, borders: list[int], end: re.Match[str]) -> tuple[int, int]:
    """Where it is told of the pod in which a container ended so."""
    following = bisect_right(borders, end.start())
    return borders[following - 1] if following else 0, (*borders, len(text))[following]


def _pod(text: str, about: tuple[int, int], end: re.Match[str]) -> str | None:
    """The pod in which a container ended so: named in the same line, or above it and before any other."""
    start, stop = about
    line_end = text.find("\n", end.end(), stop)
    line = text[max(start, text.rfind("\n", 0, end.start()) + 1) : stop if line_end < 0 else line_end]
    forms = [(form, line) for form in _POD_OF_LINE] + [(form, text[start : end.start()]) for form in _POD]
    return next((found[1] for form, where in forms if (found := form.search(where))), None)


def _line(text: str, found: re.Match[str]) -> str:
    end, start = text.find("\n", found.end()), text.rfind("\n", 0, found.start()) + 1
    stop = len(text) if end < 0 else end
    return text[max(start, found.start() - _MOST_OF_LINE) : min(stop, found.end() + _MOST_OF_LINE)]


def _container(text: str, end: re.Match[str], about: str) -> str | None:
    """The container that ended so, where what tells of its end names it."""
    states = [found.start() for found in _STATE.finditer(about)]
    if states:
        named = [(found.start(), found[1]) for found in _DESCRIBED.finditer(about)]
        names = set()
        for start, stop in itertools.pairwise([*states, len(about)]):
            end_at = _first_end(about[start:stop])
            before = bisect_right(named, (start + end_at, "")) if end_at is not None else 0
            if before:  # what stands between is another container, of which no state is told
                names.add(named[before - 1][1])
        return names.pop() if len(names) == 1 else None
    ends = itertools.islice(_EXIT_137.finditer(about), _MOST_ENDS)
    lines = [_line(text, end), *[_line(about, one) for one in ends]]
    found = {one[1] for line in lines for form in _CONTAINER if (one := form.search(line))}
    return found.pop() if len(found) == 1 else None


def _of_docker(about: str) -> str | None:
    """The container that `docker inspect` shows, by its name, else by its id as `docker ps` has it."""
    if '"State"' not in about and "'State'" not in about:
        return None
    for form in _INSPECTED:
        found = set(form.findall(about))
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def _ended(part: str) -> bool:
    return _first_end(part) is not None


def _first_end(part: str) -> int | None:
    ends = [*oom_kills(part)[:1], *filter(None, [_EXIT_137.search(part)])]
    return min([one.start() for one in ends], default=None)


def _is_proposed(about: str, headings: list[tuple[int, str]], limit: re.Match[str]) -> bool:
    """Whether a limit stands where somebody says what it should be."""
    heading = bisect_right(headings, (limit.start(), ""))
    before = about[max(0, limit.start() - _BEFORE_LIMIT) : limit.start()]
    parts = (before, limit[0], headings[heading - 1][1] if heading else "")
    return any(map(_PROPOSED.search, parts))


def _of_ended(about: str) -> str:
    """What is told of the containers that ended, where `kubectl describe` shows several."""
    states = [found.start() for found in _STATE.finditer(about)]
    if len(states) < 2:
        return about
    parts = [about[start:end] for start, end in zip(states, [*states[1:], len(about)], strict=True)]
    return "".join(filter(_ended, parts))


def _restarts(about: str) -> tuple[str, ...]:
    """Say how often the container that ended has been restarted, where `kubectl describe` counts it."""
    counts = {int(found[1]) for found in _RESTARTS.finditer(_of_ended(about))}
    often = counts.pop() if len(counts) == 1 else 0
    return (f"Kubernetes has restarted it {often} time{'s' * (often > 1)}.",) if often else ()


def _limit(about: str) -> int | None:
    """The memory limit of the container that ended, where it is known to be that one's."""
    if about.count("containerID") > 1 and len(_STATE.findall(about)) < 2:
        return None
    about = _of_ended(about)
    headings = [(found.start(), found[0]) for found in _HEADING.finditer(about)]
    limits = {found[1] for found in _LIMIT.finditer(about) if not _is_proposed(about, headings, found)}
    return size(limits.pop()) if len(limits) == 1 else None
