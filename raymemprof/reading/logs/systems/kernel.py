"""What the kernel says of processes that it killed for memory."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from ....display.text import listed
from ..facts import Message, Victim, called
from ..kinds import Kind, first_of
from ..patterns import COUNT, SIZE, Form, pattern, size
from .daemons import daemons
from .kernel_tables import has_rows, kib, processes, ram_and_swap, stats, swapped

__all__ = ["KERNEL_KILL", "kernel"]

KERNEL_KILL = pattern(
    rf"Killed process ({COUNT}),?(?: UID \d{{1,10}},)? \(([^\n]{{0,64}}?)\)"
    rf"(?:,? UID \d{{1,10}},?)? total-vm: [\d,]{{1,24}} kB, anon-rss: (\d[\d,]{{0,20}}) kB"
)
"""The kernel's word, of the whole machine's memory or of a memory cgroup's: pid, name and resident memory in kB.

Commas between the digits are somebody's own."""
_RETOLD = pattern(
    rf"Killed process(?: ({COUNT}))?,?(?: UID \d{{1,10}},)? \(([^\n()]{{1,64}})\)(?:,? UID \d{{1,10}},?)? "
    rf"total-vm: {SIZE}(?:,? anon-rss: ({SIZE}))?"
)
"""The same where somebody left the pid out, or wrote the figures in other units."""
_CHOSEN = pattern(rf"[Oo]ut of memory: Kill process ({COUNT}) \(([^\n]{{0,64}}?)\) score \d{{1,10}} or sacrifice child")
_EVENT = pattern(r"oom-kill:constraint=(\w{1,40}),[^\n]{0,1000}?,task=([^\n,]{1,64}),pid=(\d{1,10})\b")
_REAPED = pattern(rf"oom_reaper: reaped process ({COUNT}) \(([^\n]{{0,64}}?)\)")
_SHORT = pattern(
    rf"(?:[Oo]ut of memory[^\n]{{0,200}}?: )?\bKilled process ({COUNT}),?(?: UID \d{{1,10}},)? \(([^\n]{{1,64}}?)\)"
)
_CUT = pattern(
    rf"\bKilled process ({COUNT}),?(?: UID \d{{1,10}},)? \(([^\n()]{{1,64}})\)(?:,? UID \d{{1,10}},?)?[ \t]{{0,9}}"
    r"(?:total-vm:[ \t]{0,9}[\dkB]{0,20})?$",
    re.MULTILINE,
)
"""A line that breaks off, beside whole ones."""
_SYSTEM = pattern(
    rf"(?:System|Cgroup) OOM encountered, victim process: (?P<name>[^\n,\"'`]{{1,64}})(?:, pid: (?P<pid>{COUNT}))?"
)
"""What a kubelet says of what the kernel killed on its node."""
_IN_CGROUP = pattern(
    r"Memory cgroup out of memory|constraint=CONSTRAINT_MEMCG|killed as a result of limit of|Memory cgroup stats for|"
    r"Cgroup OOM encountered|mem_cgroup_(?:out_of_memory|oom\w{0,20})(?:\+0x|\s{0,9}\Z)"
)
_OF_MACHINE = Form(r"\bOut of memory: [Kk]ill")
"""With a capital letter: that of a memory cgroup has none."""
_KILLED_IN_CGROUP = pattern(rf"Memory cgroup out of memory[^\n]{{0,60}}? Kill(?:ed)? process ({COUNT})\b")
_CGROUP_MEMORY = pattern(r"\bmemory: usage (\d{1,15})kB, limit (\d{1,15})kB")
_ANY_CGROUP = "a container, a batch job or a unit of systemd"
_OF_POD = Form(r"kubepods[\w./-]{0,80}?[-/]pod([0-9a-f]{8}(?:[_-][0-9a-f]{4}){3}[_-][0-9a-f]{12})")
_CGROUPS = (
    (_OF_POD, "that of a container of the Kubernetes pod"),
    (Form(r"/slurm(?:stepd\.scope)?/(?:uid_\d{1,10}/)?job_(\d{1,12})\b"), "that of the Slurm job"),
    (Form(r"/docker[/-]([0-9a-f]{12})[0-9a-f]{52}\b"), "that of the Docker container"),
    (Form(r"\boom_memcg=/[^\s,]{0,300}?([\w@.\\:-]{1,200}\.(?:service|scope))(?=,)"), "that of systemd's unit"),
)
"""The paths of cgroups, the most telling first: a pod of Kubernetes may run in a container of Docker."""
_WHOLE_MACHINE = Form(r"\bconstraint=CONSTRAINT_NONE\b|\bglobal_oom\b|\bSystem OOM encountered\b")
_ALL_OF_IT = "Memory ran out on the whole machine: no limit of a container or a unit was reached."
_NO_LIMIT = "The machine had no memory left for it: no limit of a container or a unit was reached."
"""Where it is not told whether that was all memory of the machine, or that of a NUMA node."""
_SIMILAR = pattern(
    r"\bOOMKilling\s{1,20}\w{1,9} \(x(?P<count>\d{1,6}) over (?P<time>\w{1,12})\)[^\n]{0,80}?"
    r"\(combined from similar events\)"
)
"""An event of Kubernetes that stands for several, of which it has the words of the last."""
_GROUP = pattern(r"are going to be killed due to memory\.oom\.group set")
_TOGETHER = "The kernel kills all processes of this cgroup together (memory.oom.group), also those that have little."
_INVOKED = Kind(
    "kernel_oom",
    pattern(r"(?:^|[\s\]])(?P<who>[^\s:\]](?:(?!:\s)[^\n\]]){0,40}?) invoked oom-killer: "),
    "{who} asked for memory when none was left, and the kernel's out-of-memory killer ran; its lines here do not say "
    "which process it killed.",
)
_IN_ITS_CGROUP = Kind(
    "kernel_oom",
    _INVOKED.form,
    "{who} asked for memory when its memory cgroup had none left, and the kernel's out-of-memory killer ran; its lines "
    "here do not say which process it killed.",
    lacks="cgroup",
)
_NONE_TO_KILL = Kind(
    "kernel_oom",
    pattern(
        r"(?:Memory cgroup )?[Oo]ut of memory and no killable processes|"
        r"Kernel panic - not syncing: (?P<panic>(?:System is deadlocked on memory|[Oo]ut of "
        r"memory)[^\n]{0,100}?)(?=\n|$)"
    ),
    "Memory ran out, and the kernel's out-of-memory killer found no process that it may kill[; the machine stopped: "
    "{panic}].",
    lacks="cgroup",
)
_EVENT_OF_NODE = Kind(
    "kernel_oom",
    pattern(r"\bSystem OOM encountered(?!, victim)"),
    "The kernel's out-of-memory killer ran on a node of Kubernetes (SystemOOM); the text does not say which process it "
    "killed.",
)
_REPORT = Kind(
    "kernel_oom",
    pattern(
        r"Tasks state \(memory values in pages\):|\[ pid \]\s{1,9}uid\s{1,9}tgid\s{1,9}total_vm\s{1,9}rss\b"
        r"[^\n]{1,200}?oom_score_adj name"
    ),
    "The kernel's out-of-memory killer ran: this is a part of its report, and does not say which process it killed.",
)
_LIMIT = Kind(
    "kernel_oom",
    pattern(r"Task in (?P<task>/[^\s\n]{0,300}) killed as a result of limit of (?P<of>/[^\s\n]{0,300})"),
    "The kernel's out-of-memory killer killed a process of {task}, because {of} reached its memory limit; the text "
    "does not say which.",
)
_COUNTS = (
    "A memory cgroup counts {count} of its processes that an out-of-memory killer killed (oom_kill, memory.events)"
)
_COUNTED = Kind(
    "kernel_oom",
    pattern(r"\boom[ :=]{1,3}\d{1,9},?\s{1,9}oom_kill[ :=]{1,3}(?P<count>[1-9]\d{0,8})\b"),
    f"{_COUNTS}; the text does not name them.",
    lacks="cgroup",
)
_IN_UNIT = Kind(
    "kernel_oom",
    pattern(
        r"(?P<unit>[\w@.\\-]{1,100}\.(?:service|scope|slice)): A process of this unit has been killed by the OOM "
        r"killer"
    ),
    "The kernel's out-of-memory killer killed a process of {unit}; the text does not say which.",
)
_UNIT = Kind(
    "kernel_oom",
    pattern(r"(?P<unit>[\w@.\\-]{1,100}\.(?:service|scope|slice)): Failed with result 'oom-kill'"),
    _IN_UNIT.sentence,
)
"""What systemd says of a unit, whoever killed in it: the kernel, or systemd-oomd, which has a line of its own."""

_ENDED = pattern(r"Killed process|oom_reaper: reaped|no killable processes")
_MOST_RUNS = 1000
"""Reports of the killer that are looked at."""
_MOST_UNITS = 5


def kernel(text: str) -> Message | None:
    """Return what the kernel's log, or that of a daemon like its killer, says of those that were killed."""
    found = {_victim(kill[1], kill[2], kib(kill[3])): None for kill in KERNEL_KILL.finditer(text)}
    whole = {one.pid for one in found}
    for cut in _CUT.finditer(text) if found else ():
        if int(cut[1]) not in whole:
            found[_victim(cut[1], cut[2])] = None
    found = found or {_victim(event[3], event[2]): None for event in _EVENT.finditer(text)}
    for form in (_SHORT, _REAPED, _CHOSEN):
        if not found and not _RETOLD.search(text):
            found = {_victim(kill[1], kill[2]): None for kill in form.finditer(text)}
    others = {(kill[1] or None, kill[2]): size(kill[3] or "") for kill in (() if found else _RETOLD.finditer(text))}
    others |= {(kill["pid"], kill["name"]): None for kill in (() if found else _SYSTEM.finditer(text))}
    victims = tuple(found) or tuple(
        Victim(name, None, None, None, int(pid) if pid else None, memory) for (pid, name), memory in others.items()
    )
    cgroup, is_in_cgroup = _CGROUP_MEMORY.search(text), _IN_CGROUP.search(text) is not None
    is_mixed = is_in_cgroup and len(victims) > 1 and _OF_MACHINE.search(text) is not None
    listed = processes(text)
    if not victims:
        told = (_LIMIT, _NONE_TO_KILL, _IN_ITS_CGROUP if is_in_cgroup else _INVOKED, _REPORT, _EVENT_OF_NODE, _COUNTED)
        said = first_of(told, text)
        if said is None and has_rows(text) and not daemons(text):
            said = Message(_REPORT.cause, _REPORT.sentence)
        if said is None:
            return _of_units(text)
        if said.statement and is_in_cgroup and _NONE_TO_KILL.form.search(text):
            said = replace(
                said, statement=said.statement.replace("Memory ran out", "A memory cgroup reached its limit")
            )
        return replace(said, top_processes=listed)
    held = {process.pid: process.memory for process in listed}
    victims = tuple(replace(one, memory=held.get(one.pid)) if one.memory is None else one for one in victims)
    used, limit = (size(f"{figure}kB") for figure in cgroup.groups()) if cgroup else (None, None)
    return Message(
        cause="kernel_oom",
        used=used,
        limit=limit,
        victims=victims,
        killed=len(victims),
        reason=None if is_mixed or not is_in_cgroup else f"its memory cgroup ({_whose_cgroup(text)}) reached its limit",
        is_named=True,
        top_processes=listed,
        also=(
            *((_TOGETHER,) if len(victims) > 1 and _GROUP.search(text) else ()),
            *_of_machine(text, victims, is_in_cgroup=is_in_cgroup),
            *(f"{_COUNTS.format(count=one['count'])}." for one in _COUNTED.form.finditer(text)),
            *swapped(text, frozenset(one.pid for one in victims)),
            *stats(text),
            *(f"Kubernetes counts {one['count']} such kills over {one['time']}." for one in _SIMILAR.finditer(text)),
            *_again(text),
        ),
    )


def _of_machine(text: str, victims: tuple[Victim, ...], *, is_in_cgroup: bool) -> tuple[str, ...]:
    """Say whether the whole machine had no memory left, and for whom where others reached a limit; and its swap."""
    if not is_in_cgroup:
        said = _ALL_OF_IT if _WHOLE_MACHINE.search(text) else _NO_LIMIT if _OF_MACHINE.search(text) else None
        return (*((said,) if said else ()), *ram_and_swap(text))
    at_limit = {int(one[1]) for one in _KILLED_IN_CGROUP.finditer(text)}
    limited = [called(one.name, one.pid) for one in victims if one.pid in at_limit]
    if not limited or len(limited) == len(victims) or not _OF_MACHINE.search(text):
        return ()
    return (
        f"{listed(limited)}: because a memory cgroup reached its limit. The others: because the machine had no "
        "memory left.",
    )


def _victim(pid: str, name: str, memory: int | None = None) -> Victim:
    """One who was killed: of two with one pid, but with other names or sizes, each is one."""
    return Victim(name or None, None, None, None, int(pid), memory)


def _again(text: str) -> tuple[str, ...]:
    """Say that the killer ran once more, where the text ends before it says whom that killed."""
    last = next(reversed(list(itertools.islice(_INVOKED.form.finditer(text), _MOST_RUNS))), None)
    if last is None or _ENDED.search(text, last.end()) or not _ENDED.search(text, 0, last.start()):
        return ()
    return (f"Then it ran again, for {last['who']}; the text does not say which process that killed.",)


def _whose_cgroup(text: str) -> str:
    """What a memory cgroup is, where the paths in a text are all of one pod, job or container."""
    for form, what in _CGROUPS:
        found = {one[1].replace("_", "-") if form is _OF_POD else one[1] for one in form.finditer(text)}
        if found:
            return f"{what} {found.pop()}" if len(found) == 1 else _ANY_CGROUP
    return _ANY_CGROUP


def _of_units(text: str) -> Message | None:
    """What is said of whole units: systemd has the same last word where systemd-oomd killed."""
    in_unit, killed = _IN_UNIT.read(text), daemons(text)
    units = list(dict.fromkeys(one["unit"] for one in itertools.islice(_IN_UNIT.form.finditer(text), _MOST_RUNS)))
    if in_unit is not None and len(units) > 1:
        more = " and others" if len(units) > _MOST_UNITS else ""
        said = f"The kernel's out-of-memory killer killed in units of systemd: {', '.join(units[:_MOST_UNITS])}{more}; "
        in_unit = replace(in_unit, statement=f"{said}the text does not say which processes.")
    if killed is None:
        return in_unit or _UNIT.read(text)
    return replace(killed, also=(in_unit.statement,)) if in_unit is not None and in_unit.statement else killed
