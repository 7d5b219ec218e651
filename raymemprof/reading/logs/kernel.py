"""What the kernel, and the daemons that kill before it does, say of processes that they killed for memory."""

from __future__ import annotations

from .facts import Message, Victim
from .kinds import Kind, first_of
from .patterns import COUNT, SIZE, pattern, size

__all__ = ["DAEMONS", "KERNEL_KILL", "kernel"]

KERNEL_KILL = pattern(
    rf"Killed process ({COUNT}) \(([^\n]{{0,64}}?)\)"
    rf"(?:,? UID \d{{1,10}},?)? total-vm:\d{{1,18}}kB, anon-rss:(\d{{1,15}})kB"
)
"""The kernel's word, of the whole machine's memory or of a memory cgroup's: pid, name and resident memory in kB."""
_CHOSEN = pattern(rf"[Oo]ut of memory: Kill process ({COUNT}) \(([^\n]{{0,64}}?)\) score \d{{1,10}} or sacrifice child")
_EVENT = pattern(r"oom-kill:constraint=(\w{1,40}),[^\n]{0,1000}?,task=([^\n,]{1,64}),pid=(\d{1,10})\b")
_REAPED = pattern(rf"oom_reaper: reaped process ({COUNT}) \(([^\n]{{0,64}}?)\)")
_SHORT = pattern(rf"(?:[Oo]ut of memory[^\n]{{0,200}}?: )?\bKilled process ({COUNT}) \(([^\n]{{1,64}}?)\)")
_IN_CGROUP = pattern(
    r"Memory cgroup out of memory|constraint=CONSTRAINT_MEMCG|killed as a result of limit of|Memory cgroup stats for"
)
_CGROUP_MEMORY = pattern(r"\bmemory: usage (\d{1,15})kB, limit (\d{1,15})kB")
_CGROUP_LIMIT = "its memory cgroup (of a container, a batch job or a unit of systemd) reached its limit"
_INVOKED = Kind(
    "kernel_oom",
    pattern(r"(?:^|\s)(?P<who>[^\s\n][^\n]{0,40}?) invoked oom-killer: "),
    "{who} asked for memory when none was left, and the kernel's out-of-memory killer ran; the text does not say which "
    "process it killed.",
    "oom-killer",
)
_LIMIT = Kind(
    "kernel_oom",
    pattern(r"Task in (?P<task>/[^\s\n]{0,300}) killed as a result of limit of (?P<of>/[^\s\n]{0,300})"),
    "The kernel's out-of-memory killer killed a process of {task}, because {of} reached its memory limit; the text "
    "does not say which.",
)
_UNIT = Kind(
    "kernel_oom",
    pattern(
        r"(?P<unit>[\w@.\\:-]{1,100}\.(?:service|scope|slice)): (?:A process of this unit has been killed by the OOM "
        r"killer|Failed with result 'oom-kill')"
    ),
    "The kernel's out-of-memory killer killed a process of {unit}; the text does not say which.",
)

DAEMONS = (
    Kind(
        "systemd_oomd",
        pattern(
            r"Killed (?P<unit>/[^\s\n]{1,300}) due to memory used \((?P<used>\d{1,18})\) / total "
            r"\((?P<limit>\d{1,18})\)"
        ),
        "systemd-oomd killed all processes of {unit}, because memory and swap were nearly used up.",
    ),
    Kind(
        "systemd_oomd",
        pattern(
            r"Killed (?P<unit>/[^\s\n]{1,300}) due to memory pressure for (?P<of>/[^\s\n]{1,300}?) being "
            r"(?P<is>\d{1,3}\.\d{1,4}%) > (?P<most>\d{1,3}\.\d{1,4}%)(?: for > (?P<time>\w{1,10}))?"
        ),
        "systemd-oomd killed all processes of {unit}, because the memory pressure of {of} was {is}, above {most}[ for "
        "more than {time}].",
    ),
    Kind(
        "systemd_oomd",
        pattern(r"(?:(?P<unit>[\w@.\\:-]{1,100}): )?systemd-oomd killed (?:(?P<count>\d{1,9}|some) )?process"),
        "systemd-oomd killed[ {count}] processes[ of {unit}] for memory; the text does not name them.",
        "systemd-oomd",
    ),
    Kind(
        "systemd_oomd",
        pattern(r"Killed (?P<unit>/[^\s\n]{1,300}) due to memory pressure"),
        "systemd-oomd killed all processes of {unit}, because of memory pressure.",
    ),
    Kind(
        "earlyoom",
        pattern(
            rf"sending SIG(?:TERM|KILL) to process (?P<pid>{COUNT})(?: uid \d{{1,10}})? \"(?P<name>[^\"\n]{{1,64}})\":"
            rf"(?: (?:oom_score|badness) \d{{1,6}})?(?:, (?:oom_score_adj -?\d{{1,5}}, )?VmRSS (?P<memory>{SIZE}))?"
        ),
        "earlyoom killed {name} (pid {pid}), because the machine was low on memory.",
    ),
)


def kernel(text: str) -> Message | None:
    """Return what the kernel's log says of those that it killed; None where it killed nobody."""
    found: dict[int, Victim] = {}
    for kill in KERNEL_KILL.finditer(text):
        found[int(kill[1])] = Victim(kill[2] or None, None, None, None, int(kill[1]), int(kill[3]) * 1024)
    for event in () if found else _EVENT.finditer(text):
        found[int(event[3])] = Victim(event[2], None, None, None, int(event[3]), None)
    for form in (_SHORT, _REAPED, _CHOSEN):
        for kill in () if found else form.finditer(text):
            found[int(kill[1])] = Victim(kill[2], None, None, None, int(kill[1]), None)
    cgroup, is_in_cgroup = _CGROUP_MEMORY.search(text), _IN_CGROUP.search(text) is not None
    if not found:
        return first_of((_LIMIT, _INVOKED, _UNIT), text)
    used, limit = (size(f"{figure}kB") for figure in cgroup.groups()) if cgroup else (None, None)
    return Message(
        cause="kernel_oom",
        used=used,
        limit=limit,
        victims=tuple(found.values()),
        killed=len(found),
        reason="its memory cgroup (a container, a batch job or a unit of systemd) reached its limit"
        if is_in_cgroup
        else None,
        is_named=True,
    )
