"""What Kubernetes, Docker and Slurm say of what they ended for memory."""

from __future__ import annotations

import re
from dataclasses import replace

from .facts import Message
from .kinds import Kind, first_of
from .patterns import ADDRESS, COUNT, SIZE, pattern, size

__all__ = ["SIGKILL", "SLURM", "YARN", "container"]

_OOM_KILLED = re.compile(r"\bOOMKilled\b(?![\"']?\s{0,9}[:=]\s{0,9}(?:false|null))")
_EXIT_137 = re.compile(r"\b(?:[Ee]xit ?[Cc]ode|exitCode|exit status|code)[\"']?\s{0,20}[:=]?\s{0,20}137\b")
_POD = (
    re.compile(r"^Name:\s{1,40}([a-z0-9][a-z0-9.-]{0,252})\s{0,9}$", re.MULTILINE),
    re.compile(
        r"^\s{0,40}[\"']?name[\"']?:\s{1,9}[\"']?([a-z0-9][a-z0-9.-]{0,252}-(?:head|worker)-[a-z0-9-]{1,60})\b",
        re.MULTILINE,
    ),
    re.compile(r"^([a-z0-9][a-z0-9.-]{0,252})\s{1,40}\d{1,3}/\d{1,3}\s{1,40}OOMKilled\b", re.MULTILINE),
    re.compile(r"\bpod[/ ]([a-z0-9][a-z0-9./-]{0,252}[a-z0-9])"),
    re.compile(r"\b([a-z0-9][a-z0-9-]{0,200}-(?:head|worker)-[a-z0-9-]{1,60})\b"),
)
"""How a pod is named: by `kubectl describe`, in YAML and JSON, by `kubectl get pods`, elsewhere."""
_POD_IP = re.compile(
    rf"^\s{{0,20}}[\"']?(?:IP|podIP)[\"']?:\s{{1,40}}[\"']?({ADDRESS})[\"']?,?\s{{0,9}}$", re.MULTILINE
)
_LIMIT = re.compile(
    rf"\b[Ll]imits[\"']?:[^\n]{{0,200}}\n(?:[^\n]{{0,200}}\n){{0,4}}?\s*[\"']?memory[\"']?:\s{{1,20}}[\"']?({SIZE})"
)
_TERMINATED = re.compile(r"\bLast State:|\b[Tt]erminated\b[\"']?:|\b[Cc]ontainer\b")
_WHY_UNKNOWN = "the text does not say whether memory was the reason"
_EVICTED = Kind(
    "evicted",
    pattern(
        rf"The node was low on resource: memory\.(?: Threshold quantity: {SIZE}, available: {SIZE}\.)?"
        rf"(?: Container (?P<container>[\w-]{{1,63}}) was using (?P<memory_used>{SIZE})"
        rf"(?:, (?:which exceeds its )?request (?:of|is) (?P<request>{SIZE}|0))?)?"
    ),
    "Kubernetes evicted a pod, because its node was low on memory[; the container {container} was using {memory_used}]"
    "[ and had requested {request}].",
)
YARN = (
    Kind(
        "container_limit",
        pattern(rf"Container killed by YARN for exceeding memory limits(?:\. (?P<is>{SIZE}) of (?P<most>{SIZE}))?"),
        "YARN killed a container, because it reached its memory limit[: {is} of {most}].",
    ),
)
SIGKILL = (
    Kind(
        "sigkill",
        pattern(
            rf"line \d{{1,9}}: (?P<pid>{COUNT}) Killed(?= )|Signal 9 \(SIGKILL\) received by PID (?P<torch>{COUNT})|"
            rf"exitcode ?: -9 \(pid: (?P<rank>{COUNT})\)|"
            rf"worker \(pid (?P<loader>{COUNT})\) is killed by signal: Killed|"
            r"died with <Signals\.SIGKILL: 9>|^Killed[ \t]*$|[Tt]erminated by signal (?:9|SIGKILL)\b|"
            r"exited due to signal 9\b",
            re.MULTILINE,
        ),
        f"A process[ (pid {{pid}})][ (pid {{torch}})][ (pid {{rank}})][ (pid {{loader}})] was killed by SIGKILL; "
        f"{_WHY_UNKNOWN}.",
    ),
)
SLURM = (
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
        pattern(r"Detected (?P<count>\d{1,9}) oom.kill event(?:s|\(s\))? in (?:step ?|StepId=)(?P<job>[\w.+]{1,40})"),
        "The kernel killed in step {job} of a Slurm job, which reached its memory limit: Slurm counts {count}.",
    ),
    Kind("slurm_limit", pattern(r"Exceeded (?:job|step) memory limit"), "A Slurm job used more memory than its limit."),
    Kind(
        "slurm_limit",
        pattern(r"(?:srun|slurmstepd): error: (?P<host>[\w.-]{1,80}): task (?P<task>[\d,-]{1,40}): Out Of Memory"),
        "The kernel killed task {task} of a Slurm job on {host}, which reached its memory limit.",
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


def container(text: str) -> Message | None:
    """Return what Kubernetes or Docker says of a container that ended for memory, or by SIGKILL."""
    evicted = first_of((_EVICTED,), text)
    if evicted is not None:
        return evicted
    killed = _OOM_KILLED.search(text)
    if killed is None and _EXIT_137.search(text) is None:
        return None
    pod = next((found[1] for form in _POD if (found := form.search(text))), None)
    ip, limits = _POD_IP.search(text), {found[1] for found in _LIMIT.finditer(text)}
    what = f"a container of the pod {pod}" if pod else "a container"
    if pod and (role := re.search(r"-(head|worker)-", pod)):
        what += f" (by its name a Ray {role[1]} node)"
    if killed:
        said = (
            f"The kernel's out-of-memory killer killed {what} (OOMKilled): it reached its memory limit, or its machine "
            "ran out of memory."
        )
    else:
        who = f"The main process of {what}" if pod or _TERMINATED.search(text) else "A process"
        said = f"{who} ended with exit code 137, as after SIGKILL; {_WHY_UNKNOWN}."
    message = Message("container_limit" if killed else "sigkill", said, node_ip=ip[1] if ip else None)
    return replace(message, limit=size(limits.pop()) if len(limits) == 1 else None, is_named=True)
