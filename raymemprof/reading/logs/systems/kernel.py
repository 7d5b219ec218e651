"""What the kernel, and the daemons that kill before it does, say of processes that they killed for memory."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from ..facts import Message, Victim
from ..kinds import Kind, first_of
from ..patterns import COUNT, SIZE, Form, pattern, size
from .kernel_tables import has_rows, kib, processes, stats

__all__ = ["KERNEL_KILL", "kernel"]

KERNEL_KILL = pattern(
    rf"Killed process ({COUNT}),?(?: UID \d{{1,10}},)? \(([^\n]{{0,64}}?)\)"
    rf"(?:,? UID \d{{1,10}},?)? total-vm: [\d,]{{1,24}} kB, anon-rss: (\d[\d,]{{0,20}}) kB"
)
"""The kernel's word, of the whole machine's memory or of a memory cgroup's: pid, name and resident memory in kB.

Commas between the digits are somebody's own."""
_RETOLD = pattern(
    rf"Killed process(?: ({COUNT}))?,?(?: UID \d{{1,10}},)? \(([^\n()]{{1,64}})\)(?:,? UID \d{{1,10}},?)? "
    rf"total-vm: {SIZE}(?:, anon-rss: ({SIZE}))?"
)
"""The same where somebody left the pid out, or wrote the figures in other units."""
_CHOSEN = pattern(rf"[Oo]ut of memory: Kill process ({COUNT}) \(([^\n]{{0,64}}?)\) score \d{{1,10}} or sacrifice child")
_EVENT = pattern(r"oom-kill:constraint=(\w{1,40}),[^\n]{0,1000}?,task=([^\n,]{1,64}),pid=(\d{1,10})\b")
_REAPED = pattern(rf"oom_reaper: reaped process ({COUNT}) \(([^\n]{{0,64}}?)\)")
_SHORT = pattern(
    rf"(?:[Oo]ut of memory[^\n]{{0,200}}?: )?\bKilled process ({COUNT}),?(?: UID \d{{1,10}},)? \(([^\n]{{1,64}}?)\)"
)
_SYSTEM = pattern(rf"System OOM encountered, victim process: (?P<name>[^\n,\"'`]{{1,64}})(?:, pid: (?P<pid>{COUNT}))?")
"""What a kubelet says of what the kernel killed on its node."""
_IN_CGROUP = pattern(
    r"Memory cgroup out of memory|constraint=CONSTRAINT_MEMCG|killed as a result of limit of|Memory cgroup stats for|"
    r"mem_cgroup_(?:out_of_memory|oom\w{0,20})\+0x"
)
_CGROUP_MEMORY = pattern(r"\bmemory: usage (\d{1,15})kB, limit (\d{1,15})kB")
_ANY_CGROUP = "a container, a batch job or a unit of systemd"
_CGROUPS = (
    (
        Form(r"kubepods[\w./-]{0,80}?[-/]pod([0-9a-f]{8}(?:[_-][0-9a-f]{4}){3}[_-][0-9a-f]{12})"),
        "that of a container of the Kubernetes pod",
    ),
    (Form(r"/slurm(?:stepd\.scope)?/(?:uid_\d{1,10}/)?job_(\d{1,12})\b"), "that of the Slurm job"),
    (Form(r"/docker[/-]([0-9a-f]{12})[0-9a-f]{52}\b"), "that of the Docker container"),
)
"""The paths of cgroups, the most telling first: a pod of Kubernetes may run in a container of Docker."""
_WHOLE_MACHINE = Form(
    r"\bconstraint=CONSTRAINT_NONE,[^\n]{0,300}?\bglobal_oom\b[^\n]{0,300}?\btask_memcg=(?!/init|/user)/\w"
)
_ALL_OF_IT = "Memory ran out on the whole machine (global_oom): no limit of a container or a unit was reached."
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

_DAEMONS = (
    Kind(
        "systemd_oomd",
        pattern(
            r"Marked (?P<unit>/[^\s\n]{1,300}) for killing due to memory used \((?P<used>\d{1,18})\) / total "
            r"\((?P<limit>\d{1,18})\)"
        ),
        "systemd-oomd set out to kill all processes of {unit}, because memory and swap were nearly used up.",
    ),
    Kind(
        "systemd_oomd",
        pattern(
            r"Marked (?P<unit>/[^\s\n]{1,300}) for killing due to memory pressure for (?P<of>/[^\s\n]{1,300}?) being "
            r"(?P<is>\d{1,3}\.\d{1,4}%) > (?P<most>\d{1,3}\.\d{1,4}%)(?: for > (?P<time>\w{1,10}))?"
        ),
        "systemd-oomd set out to kill all processes of {unit}, because the memory pressure of {of} was {is}, above "
        "{most}[ for more than {time}].",
    ),
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
        pattern(r"(?:(?P<unit>[\w@.\\-]{1,100}): )?systemd-oomd killed 1 process"),
        "systemd-oomd killed a process[ of {unit}] for memory; the text does not name it.",
    ),
    Kind(
        "systemd_oomd",
        pattern(r"(?:(?P<unit>[\w@.\\-]{1,100}): )?systemd-oomd killed (?:(?P<count>\d{1,9}|some) )?process"),
        "systemd-oomd killed[ {count}] processes[ of {unit}] for memory; the text does not name them.",
    ),
    Kind(
        "systemd_oomd",
        pattern(
            r"\A(?=[^\0]{0,20000}?\bMemory pressure for (?P<of>/[^\s\n]{1,300}) is (?P<is>\d{1,3}\.\d{1,4}%) > "
            r"(?P<most>\d{1,3}\.\d{1,4}%)(?: for > (?P<time>\w{1,10}))?)"
            r"[^\0]{0,20000}?\boomd attempting to kill (?P<one>\d{1,10}) with KILL"
        ),
        "systemd-oomd set out to kill processes, among them the one with pid {one}, because the memory pressure of "
        "{of} was {is}, above {most}[ for more than {time}].",
    ),
    Kind(
        "systemd_oomd",
        pattern(r"\boomd attempting to kill (?P<one>\d{1,10}) with KILL"),
        "systemd-oomd set out to kill processes, among them the one with pid {one}.",
    ),
    Kind(
        "systemd_oomd",
        pattern(
            r"\bsystemd-oomd\[\d{1,10}\]: Killed (?P<unit>/[^\s\n]{1,300})[ \t]{0,9}(?:\n|\Z)"
        ),  # the rest is cut off
        "systemd-oomd killed all processes of {unit}.",
    ),
    Kind(
        "systemd_oomd",
        pattern(r"Killed (?P<unit>/[^\s\n]{1,300}) due to memory pressure"),
        "systemd-oomd killed all processes of {unit}, because of memory pressure.",
    ),
)
_OOMD_KILLS = pattern(rf"\boomd attempting to kill ({COUNT}) with KILL")
_OOMD_PRESSURE = pattern(
    r"\bMemory pressure for (?P<of>/[^\s\n]{1,300}) is (?P<is>\d{1,3}\.\d{1,4}%) > (?P<most>\d{1,3}\.\d{1,4}%)"
    r"(?: for > (?P<time>\w{1,10}))?"
)
_MOST_PIDS = 10
_UNNAMED = Form(r"; the text does not name (?:it|them)\.$")
_EARLIER = tuple(
    Kind("earlyoom", form, "earlyoom killed {victims}, because the machine was low on memory.")
    for form in (
        pattern(
            rf"killing process (?P<pid>{COUNT}) \"(?P<name>[^\"\n]{{1,64}})\" with signal (?:15|9): badness \d{{1,6}}"
            rf"(?:, VmRSS (?P<memory>{SIZE}))?"
        ),
        pattern(
            rf"Killing process '(?P<name>[^'\n]{{1,64}})' with signal (?:15|9), pid: (?P<pid>{COUNT}), badness: "
            rf"\d{{1,6}}(?:, VmRSS: (?P<memory>{SIZE}))?"
        ),
    )
)
"""How versions of earlyoom before 1.3 say it."""
_EARLYOOM = Kind(
    "earlyoom",
    pattern(
        rf"sending SIG(?:TERM|KILL) to process (?:(?P<pid>{COUNT})|…|\\u2026|\.{{3}}|<\w{{1,20}}>)(?: uid \d{{1,10}})? "
        rf"\"(?P<name>[^\"\n]{{1,64}})\":"
        rf"(?: (?:oom_score|badness) \d{{1,6}})?(?:, (?:oom_score_adj -?\d{{1,5}}, )?VmRSS (?P<memory>{SIZE}))?"
    ),
    "earlyoom killed {victims}, because the machine was low on memory.",
)
_AVAILABLE = pattern(r"\bmem avail: (\d{1,9}) of (\d{1,9}) MiB")
_SENDING = pattern(r"sending SIG(?:TERM|KILL) to process|[Kk]illing process (?:\d{1,10} \"|')[^\n]{1,80}? with signal")
_LIMITS_OF_EARLYOOM = pattern(
    r"low memory! at or below SIG(?:TERM|KILL) limits: mem (?P<mem>\d{1,3}(?:\.\d{1,2})?) ?%, swap "
    r"(?P<swap>\d{1,3}(?:\.\d{1,2})?) ?%",
    re.IGNORECASE,
)
_NOHANG = pattern(
    rf"[Ff]ound the victim with highest badness: Name: (?P<name>[^\n]{{1,64}}?)\s{{1,40}}PID: (?P<pid>{COUNT})"
    rf"(?:[^\0]{{0,300}}?\bVmRSS: (?P<memory>\d{{1,9}} MiB))?|"
    rf"[Pp]rocess with highest badness \(found in [^\n()]{{1,30}}\):[^\0]{{0,120}}?\bPID: (?P<pid_1>{COUNT}), Name: "
    rf"(?P<name_1>[^\n]{{1,64}}?), badness:"
)
"""What nohang, a daemon like earlyoom, says of its choice."""
_ENDED = pattern(r"Killed process|oom_reaper: reaped|no killable processes")
_MOST_RUNS = 1000
"""Reports of the killer, or choices of a daemon, that are looked at."""
_MOST_TOLD, _MOST_UNITS = 3, 5
_RAY = Form(r"ray(?:::|let$)|gcs_server$")
"""How processes of Ray's are named in the kernel's lists."""


def _daemons_say(text: str) -> Message | None:
    """Return what the daemons say that kill before the kernel does."""
    message = first_of((_EARLYOOM, *_EARLIER), text)
    if message is None:
        return _nohang(text) or _oomd(text)
    limits = next(reversed(list(itertools.islice(_LIMITS_OF_EARLYOOM.finditer(text), _MOST_RUNS))), None)
    if limits is not None:
        said = f"Its limits: {limits['mem']} % of memory available, and {limits['swap']} % of swap free."
        message = replace(message, also=(said,))
    before = list(_AVAILABLE.finditer(text[: next(_SENDING.finditer(text)).start()]))
    if before and message.killed == 1:
        available, total = (int(figure) * 2**20 for figure in before[-1].groups())
        if available <= total:
            message = replace(message, used=total - available, limit=total)
    is_of_ray = any(_RAY.match(victim.name or "") for victim in message.victims)
    return message if is_of_ray else replace(message, lacks="machine")


def _oomd(text: str) -> Message | None:
    """Return what systemd-oomd says, with the pids and the pressure of which its older versions have lines."""
    message = first_of(_DAEMONS, text)
    if message is None or message.statement is None:
        return message
    pids = list(dict.fromkeys(one[1] for one in itertools.islice(_OOMD_KILLS.finditer(text), _MOST_RUNS)))
    pressure, also = _OOMD_PRESSURE.search(text), []
    if pressure and pressure["is"] not in message.statement:
        time = f" for more than {pressure['time']}" if pressure["time"] else ""
        also.append(f"The memory pressure of {pressure['of']} was {pressure['is']}, above {pressure['most']}{time}.")
    if pids and any(f"pid {pid}." not in message.statement for pid in pids):
        more = ", and more" if len(pids) > _MOST_PIDS else ""
        also.append(f"The pids that it set out to kill: {', '.join(pids[:_MOST_PIDS])}{more}.")
        message = replace(message, statement=_UNNAMED.sub(".", message.statement))
    return replace(message, also=(*message.also, *also))


def _nohang(text: str) -> Message | None:
    """Return whom nohang chose."""
    victims = tuple(
        dict.fromkeys(
            Victim(
                one["name"] or one["name_1"],
                None,
                None,
                None,
                int(one["pid"] or one["pid_1"]),
                size(one["memory"] or ""),
            )
            for one in itertools.islice(_NOHANG.finditer(text), _MOST_RUNS)
        )
    )
    if not victims:
        return None
    named = " and ".join(f"{victim.name} (pid {victim.pid})" for victim in victims[:_MOST_TOLD])
    more = " and others" if len(victims) > _MOST_TOLD else ""
    said = f"nohang, a daemon like earlyoom, chose {named}{more} to end, because the machine was low on memory."
    is_of_ray = any(_RAY.match(victim.name or "") for victim in victims)
    lacks = None if is_of_ray else "machine"
    return Message("earlyoom", said, victims=victims, killed=len(victims), is_named=True, lacks=lacks)


def kernel(text: str) -> Message | None:
    """Return what the kernel's log, or that of a daemon like its killer, says of those that were killed."""
    found: dict[int, Victim] = {}
    for kill in KERNEL_KILL.finditer(text):
        found[int(kill[1])] = Victim(kill[2] or None, None, None, None, int(kill[1]), kib(kill[3]))
    for event in () if found else _EVENT.finditer(text):
        found[int(event[3])] = Victim(event[2], None, None, None, int(event[3]), None)
    for form in (_SHORT, _REAPED, _CHOSEN):
        for kill in () if found or _RETOLD.search(text) else form.finditer(text):
            found[int(kill[1])] = Victim(kill[2], None, None, None, int(kill[1]), None)
    others = {(kill[1] or None, kill[2]): size(kill[3] or "") for kill in (() if found else _RETOLD.finditer(text))}
    others |= {(kill["pid"], kill["name"]): None for kill in (() if found else _SYSTEM.finditer(text))}
    victims = tuple(found.values()) or tuple(
        Victim(name, None, None, None, int(pid) if pid else None, memory) for (pid, name), memory in others.items()
    )
    cgroup, is_in_cgroup = _CGROUP_MEMORY.search(text), _IN_CGROUP.search(text) is not None
    listed = processes(text)
    if not victims:
        told = (_LIMIT, _NONE_TO_KILL, _IN_ITS_CGROUP if is_in_cgroup else _INVOKED, _REPORT, _EVENT_OF_NODE)
        said = first_of(told, text)
        if said is None and has_rows(text) and not _daemons_say(text):
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
        reason=f"its memory cgroup ({_whose_cgroup(text)}) reached its limit" if is_in_cgroup else None,
        is_named=True,
        top_processes=listed,
        also=(
            *((_TOGETHER,) if len(victims) > 1 and _GROUP.search(text) else ()),
            *((_ALL_OF_IT,) if not is_in_cgroup and _WHOLE_MACHINE.search(text) else ()),
            *stats(text),
            *_again(text),
        ),
    )


def _again(text: str) -> tuple[str, ...]:
    """Say that the killer ran once more, where the text ends before it says whom that killed."""
    last = next(reversed(list(itertools.islice(_INVOKED.form.finditer(text), _MOST_RUNS))), None)
    if last is None or _ENDED.search(text, last.end()) or not _ENDED.search(text, 0, last.start()):
        return ()
    return (f"Then it ran again, for {last['who']}; the text does not say which process that killed.",)


def _whose_cgroup(text: str) -> str:
    """What a memory cgroup is, where the paths in a text are all of one pod, job or container."""
    for form, what in _CGROUPS:
        found = {one[1].replace("_", "-") for one in form.finditer(text)}
        if found:
            return f"{what} {found.pop()}" if len(found) == 1 else _ANY_CGROUP
    return _ANY_CGROUP


def _of_units(text: str) -> Message | None:
    """What is said of whole units: systemd has the same last word where systemd-oomd killed."""
    in_unit, killed = _IN_UNIT.read(text), _daemons_say(text)
    units = list(dict.fromkeys(one["unit"] for one in itertools.islice(_IN_UNIT.form.finditer(text), _MOST_RUNS)))
    if in_unit is not None and len(units) > 1:
        more = " and others" if len(units) > _MOST_UNITS else ""
        said = f"The kernel's out-of-memory killer killed in units of systemd: {', '.join(units[:_MOST_UNITS])}{more}; "
        in_unit = replace(in_unit, statement=f"{said}the text does not say which processes.")
    if killed is None:
        return in_unit or _UNIT.read(text)
    return replace(killed, also=(in_unit.statement,)) if in_unit is not None and in_unit.statement else killed
