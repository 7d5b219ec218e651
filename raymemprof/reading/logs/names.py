"""Finds the processes, nodes, pods, jobs and ids that a text names, in all usual ways of writing them.

Nothing is concluded from a name: it is only told that it stands there. So a name counts only where its kind stands
before it: `pid=7`, `"PID": "7"`, `(pid 7)`, `_PID=7`, `node/a`, `Node ID: …`.
"""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from .patterns import HEX, IPV4, Form

__all__ = ["Name", "names"]

_IS = r"\\?[\"']?\s{0,3}[:=]\s{0,3}\\?[\"']?"
_ENDS = r"(?![\w*…\[(/-]|\.\w|\.\.)"
"""A name that is cut, or hidden by stars, is none, and neither is a piece of code."""
_NUMBER_ENDS = r"(?!\w|,\d{3}\b|\.\d|/\d|[ ]?%|\s{0,40}\n\s{0,40}\d|…|\.\.)"
"""Digits that a line's end may have cut are no number."""
_NO_COUNT = (
    r"(?![ ]{1,3}(?:[KMGTkmgt]i?[Bb]?|[Bb]ytes|digits?|numbers?|columns?|times|of|to|or|per|x|"
    r"tasks|workers|process(?:es)?|"
    r"hours?|minutes?|seconds?|days?|rows|steps|max\w{0,5}|limit)\b|[ ]?\((?:kernel|max|limit))"
)
"""What follows a number that counts something."""
_WORD = r"(?=[\w.-]{0,60}[\d-])[a-z0-9][\w.-]{1,80}\w"
"""A name that is no word of a sentence, since it has a digit or a hyphen."""
_NUMBERED = r"(?=[\w.-]{0,60}\d)[a-z0-9][\w.-]{1,80}\w"
_POD = r"(?=[a-z0-9.-]{0,100}[\d-])[a-z0-9][a-z0-9.-]{2,100}[a-z0-9]"
_LOCAL = r"(?!127\.|0\.0\.0\.0|255\.)"


def _identity(words: str, *lengths: int) -> str:
    digits = "|".join(f"{HEX}{{{length}}}" for length in lengths)
    return rf"(?:\b{words})\\?[\"']?(?:\s?[:=]\s?|\s\(?)\\?[\"']?((?!f{{32}})(?:{digits}))(?!{HEX})"


_FORMS = (
    (
        "process",
        Form(
            rf"(?:\b(?:[Ww]orker[ _]?)?(?:pid|PID|Pid)|\b_PID|\b_pid|\bMainPID|\b[Pp]rocess[_ ][Ii][Dd])\\?[\"']?"
            rf"(?:\s?[:=#]\s?|\s)\\?[\"']?([1-9]\d{{0,9}}){_NUMBER_ENDS}{_NO_COUNT}"
        ),
    ),
    (
        "node",
        Form(
            r"(?:\b(?:[Nn]ode|NODE|[Hh]ost|[Ww]orker)(?:[ _-]?(?:[Ii][Pp]|address))?(?: address)?|\b[Ii][Pp]|"
            rf"\b[Ii][Pp] address|\baddress|\bhostIP)\\?[\"']?(?:\s?[:=]\s?|\s)\\?[\"']?{_LOCAL}({IPV4})"
            rf"{_NUMBER_ENDS}"
        ),
    ),
    ("pod", Form(rf"\bpodIP\\?[\"']?(?:\s?[:=]\s?|\s)\\?[\"']?{_LOCAL}({IPV4}){_NUMBER_ENDS}")),
    ("node", Form(_identity(r"[Nn]ode[ _]?(?:ID|Id|id)", 56, 40))),
    (
        "node",
        Form(
            rf"(?:\b(?:nodeName|node_name|host_?name|Host_?[Nn]ame|_HOSTNAME|NodeList|[Nn]odelist){_IS}|"
            rf"\bkubelet, )(?!0\.0|127\.|localhost)({_WORD}){_ENDS}"
        ),
    ),
    (
        "node",
        Form(rf"(?:\b(?:[Nn]ode|host){_IS}|(?<![\w/])node/)(?!0\.0|127\.|localhost)({_NUMBERED}){_ENDS}"),
    ),
    ("node", Form(r"\(pid=\d{1,10}, host=([\w.-]{1,100})\)")),
    ("pod", Form(rf"(?:\b(?:pod[._-]?[Nn]ame|POD_NAME|pod){_IS}|(?<![\w/.])pods?/)({_POD}){_ENDS}")),
    (
        "pod",
        Form(rf"\b[Pp]od [`'\"]?((?=[a-z-]{{0,90}}\d)[a-z0-9][a-z0-9-]{{4,100}}-[a-z0-9-]{{1,60}}){_ENDS}"),
    ),
    ("container", Form(rf"\bcontainer[._-]?[Nn]ame{_IS}({_POD}){_ENDS}")),
    (
        "container",
        Form(
            rf"(?:\bcpuset=|\bcontainer[_ ]?(?:id|ID){_IS}|\b(?:docker|containerd|cri-o)://|"
            rf"/docker[/-]|\bcri-containerd-)({HEX}{{12}}){HEX}{{0,52}}(?!{HEX})"
        ),
    ),
    (
        "job",
        Form(
            r"(?:\b(?:(?<!Ray )[Jj]ob_?[Ii][Dd]|JOBID|JOB_ID|SLURM_JOB_ID|[Jj]ob ID)\\?[\"']?(?:\s?[:=]\s?)|"
            r"\b(?:[Ss]lurm|SLURM|[Bb]atch|LSF|PBS) [Jj]ob )\\?[\"']?(?!0\d00)(\d{3,12}(?:[._]\w{1,12})?)"
            rf"(?=[\s,;:)\]\"']|\.\s|$){_NO_COUNT}"
        ),
    ),
    (
        "job",
        Form(
            r"\b(?:[Jj]ob|JOB) \\?[\"']?(?!0\d00|(?:19|20)\d\d\b)(\d{4,12}(?:[._]\w{1,12})?)\\?[\"']?"
            r"(?=[,;:)\]]|\.\s|\s{0,3}$|\s(?:on|in|was|has|is|ran|ended|failed|died|exited|exceeded|completed|killed|"
            r"cancell?ed|CANCELLED|FAILED|COMPLETED|ON)\b)"
        ),
    ),
    ("step", Form(r"\bStepId=(\d{1,12}\.\w{1,12})(?=[\s,;:)\]\"']|\.\s|$)")),
    ("task", Form(_identity(r"(?:[Tt]ask[ _]?(?:ID|Id|id)|(?:executing|running(?: the)?) task)", 48))),
    ("actor", Form(_identity(r"[Aa]ctor[ _]?(?:ID|Id|id)?", 32))),
    ("worker", Form(_identity(r"[Ww]orker[ _]?(?:ID|Id|id)?", 56))),
    ("actor", Form(r"\bname: ?([A-Za-z]\w{2,80}[\w:.-]{0,80})\s{1,40}namespace: ")),
    ("object", Form(_identity(r"[Oo]bject(?:[ _]?(?:ID|Id|id)|Ref)?", 56))),
    ("trial", Form(r"\b[Tt]rial ((?=\S{0,80}_\d{1,5}\b)\w[\w.-]{3,80})(?![\w-])")),
    ("deployment", Form(r"\b[Dd]eployment(?:_name)?\\?[\"']?\s?[:=]\s?\\?[\"']([\w.:#-]{2,80})\\?[\"']")),
)
_PREFIX = Form(r"\((?:(?P<name>[A-Za-z_][^\n()=,]{0,60}?) )?pid=(?P<pid>\d{1,10})(?:, ip=[\w.:]{1,45})?\)")
_ACTOR = Form(r"\bpid: (?P<pid>\d{1,10})\s{1,40}name: ?(?P<name>[A-Za-z]\w{2,80}[\w:.-]{0,80})\s{1,40}namespace: ")
_PROGRESS = Form(
    r"^[ \t]{0,40}\((?:[^\n()]{1,80} )?pid=\d{1,10}(?:, ip=[\w.:]{1,45})?\)[^\n]{0,300}?\d{1,3}%\|[^\n]*", re.MULTILINE
)
"""A bar of progress: whose it is has nothing to do with what a text tells of."""
_HEADER = Form(r"\bray(?:::|_)(?P<name>[A-Za-z_][\w.<>:-]{0,80}?)(?:\(\))? \(pid=(?P<pid>\d{1,10}), (?:ip|host)=")
_COMMAND = Form(
    r"\bPID: (?P<pid>\d{1,10}) Comm: (?P<name>[^\n]{1,15}?)(?= (?:Not tainted|Tainted|Kdump)|\s*$)", re.MULTILINE
)
_NONE = re.compile(
    r"v?\d{1,4}(?:\.\d{1,5}){1,2}(?:-[\w.]{1,20})?|.*\.(?:ya?ml|json|py|md|txt|log|sh)|"
    r"exec|logs?|status|eviction|attach|port-?forward|proxy|binding|ephemeralcontainers|none|null|unknown|undefined"
)
"""Versions, files, subresources of pods, and words for nothing."""
_LARGEST_BYTE = 255
_MOST = 200
"""Names of a kind that are looked at."""


class Name(NamedTuple):
    """Something that a text names."""

    kind: str
    value: str
    called: str | None = None
    """What stands beside a process's number: its name; beside an actor's name: its process."""


def names(text: str) -> tuple[Name, ...]:
    """Return what a text names, each once, in the order of the kinds."""
    text = _PROGRESS.sub("", text)
    called: dict[str, set[str]] = {}
    for form in (_PREFIX, _HEADER, _COMMAND):
        for one in itertools.islice(form.finditer(text), _MOST):
            if one["name"]:
                called.setdefault(one["pid"], set()).add(one["name"])
    for one in itertools.islice(_ACTOR.finditer(text), _MOST):
        called.setdefault(one["name"], set()).add(f"pid {one['pid']}")
    found = (
        Name(kind, one[1], _only(called.get(one[1], set())) if kind in ("process", "actor") else None)
        for kind, form in _FORMS
        for one in itertools.islice(form.finditer(text), _MOST)
        if not _is_no_name(one[1])
    )
    return tuple(dict.fromkeys(found))


def _only(called: set[str]) -> str | None:
    """What a process is called; processes of several nodes may have the same number."""
    return next(iter(called)) if len(called) == 1 else None


def _is_no_name(value: str) -> bool:
    """Whether it is a version, a file, an address that cannot be, or what Kubernetes calls a resource."""
    if value.count(".") == len("...") and value.replace(".", "").isdigit():
        return any(int(part) > _LARGEST_BYTE for part in value.split("."))
    return bool(_NONE.fullmatch(value))
