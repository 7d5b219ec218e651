"""What Slurm, LSF, HTCondor and other batch systems say of the jobs that they ended for memory."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import replace

from ..facts import Message, Victim
from ..kinds import Kind, first_of
from ..patterns import SIZE, pattern, size
from .job_reports import condor, grid_engine, sacct
from .launchers import SHELL

__all__ = ["batch", "refused", "slurm"]

_MOST_TOLD = 3
"""Those who were killed whom a sentence names."""
_BY_SHELL = pattern(rf"{SHELL}\s{{1,40}}(?P<name>[\w./:+-]{{1,100}})", re.MULTILINE)
_OR_NODE = "Either the job reached its memory limit, or its node had no memory left: Slurm counts both alike."
_SLURM = (
    Kind(
        "slurm_limit",
        pattern(
            r"(?:(?:[Jj]ob|[Ss]tep|StepId=|JobId=) ?(?P<job>[\w.]{1,40}) )?exceeded memory limit \((?P<is>\d{1,18}) > "
            r"(?P<most>\d{1,18})\)"
        ),
        "Slurm ended a job or step[, {job}], because it used more memory than its limit: {is} > {most} in its units.",
    ),
    Kind(
        "slurm_limit",
        pattern(
            r"Detected (?P<count>\d{1,9}) oom.kill event(?:s|\(s\))? in (?:step ?|StepId=)"
            r"(?P<job>[\w+]{1,40}(?:\.[\w+]{1,40}){0,3})"
        ),
        "The kernel's out-of-memory killer killed processes in step {job} of a Slurm job: Slurm counts {count} "
        f"oom-kill event(s). {_OR_NODE}",
    ),
    Kind("slurm_limit", pattern(r"Exceeded (?:job|step) memory limit"), "A Slurm job used more memory than its limit."),
    Kind(
        "slurm_limit",
        pattern(r"(?:srun|slurmstepd): error: (?P<host>[\w.-]{1,80}): (?P<task>tasks? [\d,-]{1,40}): Out Of Memory"),
        f"The kernel killed {{task}} of a Slurm job on {{host}} for memory. {_OR_NODE}",
    ),
    Kind(
        "slurm_limit",
        pattern(
            r"Some of (?:the step tasks have been OOM Killed|your processes may have been killed by the cgroup)|"
            r"\b(?:JobState|State|StateReason)=OUT_OF_MEMORY\b|State: OUT_OF_MEMORY\b|\bOUT_OF_ME\+ "
        ),
        "A Slurm job ran out of the memory that it may use, and processes of it may have been killed.",
    ),
)
_BEFORE_ACCOUNTS = 2
"""Kinds that say more than Slurm's accounting does."""
_TASK = next(kind for kind in _SLURM if "task" in kind.form.regex.groupindex)
_SEFF = pattern(r"\bState: OUT_OF_MEMORY \(exit code")
_SEFF_JOB = pattern(r"\bJob ID: (\d{1,12}(?:_\d{1,9})?)\b")
_SEFF_NODES = pattern(r"\bNodes: (\d{1,6})\b")
_SEFF_USED = pattern(r"\bMemory Utilized: (\d{1,9}(?:\.\d{1,3})?) ([KMGT])B\b")
_SEFF_LIMIT = pattern(r"\bMemory Efficiency: \d{1,6}(?:\.\d{1,3})?% of (\d{1,9}(?:\.\d{1,3})?) ([KMGT])B\b")
_LSF = pattern(r"TERM_(?:MEMLIMIT|SWAP): job killed after reaching LSF (?:memory|swap) usage limit")
_LSF_END = pattern(
    r"\bTERM_[A-Z]{3,20}: job killed(?:[^\n]{0,100}?\.\s{0,200}Exited with exit code \d{1,3}\.)?|"
    r"\bExited with exit code \d{1,3}\.|\bSuccessfully completed\."
)
"""What LSF says of how a job ended."""
_LSF_BEGIN = pattern(
    r"\bSubject: Job \d|\bSender: LSF\b|\bJob <[^>\n]{1,400}> was submitted from host\b|\bJob was executed on host"
)
_LSF_HOST = pattern(r"[Jj]ob was executed on host\(s\) <(?:\d{1,6}\*)?(?P<host>[\w.-]{1,100})>(?!:?<)")
_LSF_MEMORY = pattern(r"\bMax Memory : (\d{1,12}(?:\.\d{1,3})?) ([KMGT])B(?:ytes)?\b")
_LSF_ASKED = pattern(r"\bTotal Requested Memory : (\d{1,12}(?:\.\d{1,3})?) ([KMGT])B(?:ytes)?\b")
_NEARLY = 0.98
"""Part of what a job asked for that it had used when it reached its limit, so that this was the limit."""
_REFUSED = Kind(
    "warning",
    pattern(
        r"(?:\b(?:sbatch|srun|salloc)\b[^\n]{0,300}?--mem=(?P<asked>\d{1,9}[KMGT]?)\b[^\n]{0,300}\n[^\n]{0,40}?)?"
        r"\b(?:sbatch|srun|salloc): error: Memory specification can ?not be satisfied"
    ),
    "Slurm did not take a job, because no node that it may have can give it the memory that it asks for"
    "[: --mem={asked}]. The text does not say that anything was killed.",
    lacks="slurm, asked",
)
_REAL_MEMORY = pattern(r"\bRealMemory=(\d{1,12})\b")
_HELD = "HTCondor put a job on hold, because it used more memory than "
_TORQUE = pattern(r"\bJob exceeded a memory resource limit \(vmem, pvmem, etc\.\)")
_TORQUE_JOB = pattern(r"\bPBS Job Id: ([\w.\[\]-]{1,100})")
_TORQUE_HOST = pattern(r"\bExec host: ([\w.-]{1,100}(?:/[\d,+-]{1,40})?)")
_TORQUE_MEMORY = pattern(r"\bresources_used\.mem ?= ?(\d{1,15} ?[kKmMgG]?b)\b")
_TORQUE_VIRTUAL = pattern(r"\bresources_used\.vmem ?= ?(\d{1,15} ?[kKmMgG]?b)\b")
_BATCH = (
    Kind(
        "batch_limit",
        pattern(
            r"\bjob (?P<job>[\w.\[\]-]{1,100}) exceeded (?P<what>P?V?MEM) usage (?P<how>hard|soft) limit "
            r"\((?P<is>\d{1,12}) > (?P<most>\d{1,12})\)"
        ),
        "Moab says that the job {job} exceeded its {how} limit of {what}: {is} MB, above {most} MB.",
        lacks="pbs",
    ),
    Kind(
        "batch_limit",
        pattern(
            r"PBS: job killed: (?P<what>p?v?mem)(?: job total)? (?P<used>\d{1,15}(?: ?[kKmMgG]?[bB])?) exceeded limit "
            r"(?P<limit>\d{1,15}(?: ?[kKmMgG]?[bB])?)\b"
        ),
        "PBS killed a job, because it used more than its limit of {what}: {used}, above {limit}.",
        lacks="pbs",
        is_binary=True,
    ),
    Kind(
        "batch_limit",
        pattern(r"\bJob (?P<job>[\w.\[\]-]{1,100}) has exceeded memory allocation on node (?P<host>[\w.-]{1,100})"),
        "PBS killed the job {job}, because it used more memory on {host} than it had asked for.",
        lacks="pbs",
    ),
    Kind(
        "batch_limit",
        pattern(r"\bCgroup (?P<what>mem(?:ory|sw)?) limit exceeded\b"),
        "PBS says that a job reached its limit of {what}, which its control group holds it to.",
        lacks="pbs",
    ),
    Kind(
        "batch_limit",
        pattern(
            r"oom: Memory cgroup out of memory: killed (?P<count>\d{1,9}) tasks? on (?P<host>[\w.-]{1,100})\.|"
            r"oom: memory\.peak = (?P<used>\d{1,12}(?:\.\d{1,12})?[KMGT])\b"
        ),
        "The kernel killed in a job of Flux[ on {host}], because its memory cgroup reached its limit: Flux counts "
        "{count}[; at most {used} was used].",
        lacks="flux",
        is_binary=True,
    ),
    Kind(
        "batch_limit",
        pattern(r"(?:Job run at [^\n]{1,200}? and|\bJob) exceeded resource (?P<what>v?mem)\b"),
        "PBS killed a job, because it used more than its limit of {what}.",
        lacks="pbs",
    ),
    Kind(
        "batch_limit",
        pattern(
            r"\bjob (?P<job>[\d.]{1,20}) exceeds job hard limit \"(?P<what>[hs]_(?:vmem|rss|data))\" of queue "
            r"\"(?P<queue>[^\"\n]{1,200})\" \((?P<used>\d{1,12}(?:\.\d{1,5})?) >? "
            r"limit:(?P<limit>\d{1,12}(?:\.\d{1,5})?)\)"
        ),
        "Grid Engine killed the job {job} in {queue}, because it used more than its limit of {what}: {used} bytes, "
        "above {limit}.",
        lacks="grid engine",
    ),
    Kind(
        "batch_limit",
        pattern(
            r"\b(?:Docker job|Job) has gone over (?:cgroup )?memory limit of (?P<limit>\d{1,12} [Mm](?:egabytes|b))\b"
            r"(?: ?\. (?P<which>Peak|Last measured) usage: (?P<used>\d{1,12} [Mm](?:egabytes|b))\b)?"
        ),
        f"{_HELD}its limit of {{limit}}[. {{which}} usage: {{used}}].",
        lacks="htcondor",
        is_binary=True,
    ),
    Kind(
        "batch_limit",
        pattern(r"\bError from (?P<host>[\w.@-]{1,200}): [Mm]emory usage exceeded request_memory"),
        f"{_HELD}it requested ({{host}}).",
        lacks="htcondor",
    ),
)


_BY_SOMEBODY = (
    Kind(
        "batch_limit",
        pattern(
            rf"\b(?:[Jj]ob|[Tt]ask|[Ss]tep|[Pp]rocess)(?: (?P<job>[\w.\[\]-]{{1,60}}))? (?:was |has been )?"
            rf"(?:killed|removed|terminated|ended|aborted) by (?P<who>[A-Z][\w.-]{{1,40}}) (?:due to|because of|for) "
            rf"(?:excessive |too much |high )?memory(?: use| usage| consumption)?\b(?: ?\((?:\w{{1,20}}[=:] ?)?"
            rf"(?P<figure>{SIZE})\))?"
        ),
        "{who} killed a job[, {job}], because it used too much memory[: {figure}].",
    ),
    Kind(
        "batch_limit",
        pattern(
            r"\b[Jj]ob has exceeded max(?P<what>RSS|PSS|VSize|Mem\w{0,10}): (?P<most>\d{1,15})\b"
            r"(?: Job has (?P=what): (?P<is>\d{1,15})\b)?"
        ),
        "A job exceeded the limit of its {what}, {most}[: it had {is}]; the text does not say in which unit.",
        most="is",
    ),
)
"""Limits that a program holds a job to, whatever its name."""


def slurm(text: str) -> Message | None:
    """Return what Slurm says of a job that reached its memory limit, in one line or in several."""
    said = first_of(_SLURM[:_BEFORE_ACCOUNTS], text) or sacct(text) or first_of(_SLURM[_BEFORE_ACCOUNTS:], text)
    if said is None or said.statement is None:
        return said
    tasks = dict.fromkeys(f"{' '.join(one['task'].split())} on {one['host']}" for one in _TASK.form.finditer(text))
    is_told = len(tasks) == 1 and next(iter(tasks)).rpartition(" on ")[2] in said.statement
    if tasks and not is_told:
        more = ", and more" if len(tasks) > _MOST_TOLD else ""
        told = " and ".join(list(tasks)[:_MOST_TOLD])
        said = replace(said, statement=f"{said.statement} Out of memory: {told}{more}.")
    return _with_killed(_with_report(said, text), text)


def _with_killed(said: Message, text: str) -> Message:
    """Add whom a job's shell saw end by SIGKILL."""
    by_shell = ((int(one["pid"]), one["name"]) for one in _BY_SHELL.finditer(text))
    killed = {pid: Victim(name, None, None, None, pid, None) for pid, name in by_shell}
    if not killed:
        return said
    named = " and ".join(f"{victim.name} (pid {victim.pid})" for victim in list(killed.values())[:_MOST_TOLD])
    statement = f"{said.statement} By the shell's word, {named} got SIGKILL."
    return replace(said, statement=statement, victims=tuple(killed.values()), killed=len(killed), is_named=True)


def _with_report(said: Message, text: str) -> Message:
    """Add what `seff` reports of a job that ran out of memory, where the text has one such report."""
    reports = [list(form.finditer(text)) for form in (_SEFF, _SEFF_USED, _SEFF_LIMIT)]
    if [len(found) for found in reports] != [1, 1, 1]:
        return said
    used, limit = reports[1][0], reports[2][0]
    nodes, job = _SEFF_NODES.search(text), _SEFF_JOB.search(text)
    is_of_one = nodes is not None and int(nodes[1]) == 1
    measured = float(used[1]) != 0
    figure, most = f"{used[1]} {used[2]}B", f"{limit[1]} {limit[2]}B"
    whose = f"The job {job[1]}" if job and job[1] not in (said.statement or "") else "The job"
    many = "" if nodes is None or is_of_one else f" on {nodes[1]} nodes"
    what = f"used {figure} at most, of {most}{many}" if measured else f"had {most}{many}"
    sizes = (size(f"{used[1]}{used[2]}iB") if measured else None, size(f"{limit[1]}{limit[2]}iB"))
    used_of_one, limit_of_one = sizes if is_of_one else (None, None)
    statement = f"{said.statement} {whose} {what}, as far as Slurm measured."
    return replace(said, statement=statement, used=used_of_one, limit=limit_of_one)


def refused(text: str) -> Message | None:
    """Return what Slurm says of a job that it does not take, and the largest node that the text lists."""
    said = _REFUSED.read(text)
    most = max((int(one[1]) for one in _REAL_MEMORY.finditer(text)), default=0)
    if said is None or not most:
        return said
    return replace(said, also=(f"The largest node that the text lists has {most} MiB (RealMemory).",))


def batch(text: str) -> Message | None:
    """Return what LSF, PBS, Grid Engine or HTCondor says of a job that reached its memory limit."""
    if not _LSF.search(text):
        known = _torque(text) or first_of(_BATCH, text) or grid_engine(text) or condor(text)
        return known or first_of(_BY_SOMEBODY, text)
    report = _report_of_lsf(text)
    host = _LSF_HOST.search(report)
    used, asked = (
        (size(f"{found[1]} {found[2]}iB"), f"{found[1]} {found[2]}B") if found else (None, "")
        for found in (_LSF_MEMORY.search(report), _LSF_ASKED.search(report))
    )
    said = f"LSF killed a job{f' on {host[1]}' if host else ''}, because it reached its memory limit"
    if used[0] is not None and asked[0] is not None:
        said += f": it used {used[1]} at most, and had requested {asked[1]}"
    elif used[0] is not None:
        said += f": it used {used[1]} at most"
    if used[0] is not None and asked[0] is not None and used[0] < _NEARLY * asked[0]:
        said += ". LSF measures now and then, and its limit need not be what was requested"
    is_limit = used[0] is not None and asked[0] is not None and _NEARLY * asked[0] <= used[0] <= asked[0] / _NEARLY
    found = Message(
        "batch_limit", f"{said}.", used=used[0], limit=asked[0] if is_limit else None, lacks="lsf", is_named=True
    )
    return _with_killed(found, text) if report == text else found


def _torque(text: str) -> Message | None:
    """Return what Torque writes of a job that exceeded a limit of its memory, which it does not name."""
    end = _TORQUE.search(text)
    if end is None:
        return None
    start = max((found.start() for found in _TORQUE_JOB.finditer(text, 0, end.start())), default=0)
    following = _TORQUE_JOB.search(text, end.end())
    report = text[start : following.start() if following else len(text)]
    job, host, memory, virtual = (
        form.search(report) for form in (_TORQUE_JOB, _TORQUE_HOST, _TORQUE_MEMORY, _TORQUE_VIRTUAL)
    )
    said = (
        f"PBS (Torque) ended {f'the job {job[1]}' if job else 'a job'}{f' on {host[1]}' if host else ''}, because it "
    )
    said += "exceeded a limit of its memory, or of its virtual memory"
    used = [f"{found[1]} of {what}" for found, what in ((memory, "memory"), (virtual, "virtual memory")) if found]
    said += f". It used {' and '.join(used)}" if used else ""
    return Message("batch_limit", f"{said}.", lacks="pbs", is_named=job is not None)


def _report_of_lsf(text: str) -> str:
    """The part of a text that is about the job which reached its limit: a text may have the reports of several."""
    ends = [found.start() for found in _LSF_END.finditer(text)]
    if len(ends) < 2:
        return text
    killed = _LSF.search(text)
    number = bisect_right(ends, killed.start()) - 1 if killed else -1
    if number < 0:
        return text
    before = list(_LSF_BEGIN.finditer(text, ends[number - 1] if number else 0, ends[number]))
    following = (*ends, len(text))[number + 1]
    begin = _LSF_BEGIN.search(text, ends[number], following)
    return text[before[-1].start() if before else ends[number] : begin.start() if begin else following]
