"""What YARN, clouds, job drivers and shells say of what they ended for memory."""

from __future__ import annotations

import re

from ..kinds import Kind
from ..patterns import COUNT, SIZE, pattern

__all__ = ["BY_NAME", "CLOUDS", "DRIVERS", "SHELL", "SHELL_ALONE", "SIGKILL", "WHY_UNKNOWN", "YARN"]

WHY_UNKNOWN = "the text does not say whether memory was the reason"
_USED_OF = rf"(?P<used>{SIZE}) of (?P<limit>{SIZE})"
YARN = (
    Kind(
        "container_limit",
        pattern(
            rf"Container \[pid=(?P<process>{COUNT})(?:,containerID=(?P<container>\w{{1,100}}))?\] is running "
            rf"(?:\d{{1,18}}B )?beyond (?:the ')?(?i:physical)'? memory limits?\. Current usage: {_USED_OF} "
            r"physical memory used"
        ),
        "YARN killed a container (its first process is {process})[, {container}], because it reached its limit of "
        "memory: {used} of {limit}.",
        lacks="yarn",
        is_binary=True,
    ),
    Kind(
        "container_limit",
        pattern(
            rf"Container \[pid=(?P<process>{COUNT})(?:,containerID=(?P<container>\w{{1,100}}))?\] is running "
            rf"(?:\d{{1,18}}B )?beyond (?:the ')?(?i:virtual)'? memory limits?\. Current usage: (?P<is>{SIZE}) of "
            rf"(?P<most>{SIZE}) physical memory used ?; (?P<virtual>{SIZE}) of (?P<allowed>{SIZE}) virtual memory used"
        ),
        "YARN killed a container (its first process is {process})[, {container}], because it reached its limit of "
        "virtual memory, {virtual} of {allowed}; of the node's memory it used {is} of {most}.",
        lacks="yarn, virtual",
    ),
    Kind(
        "container_limit",
        pattern(
            r"(?:Lost executor (?P<executor>\d{1,9}) on (?P<host>[\w.-]{1,100}): )?"
            rf"Container killed by YARN for exceeding (?:virtual memory limits ?\. (?P<virtual>{SIZE}) of "
            rf"(?P<allowed>{SIZE})|memory limits ?\. (?P<virtual_1>{SIZE}) of (?P<allowed_1>{SIZE}) virtual memory)"
        ),
        "YARN killed a container[, executor {executor} of Spark on {host}], because it reached its limit of virtual "
        "memory[: {virtual} of {allowed}].",
        lacks="yarn, virtual",
    ),
    Kind(
        "container_limit",
        pattern(
            r"(?:Lost executor (?P<executor>\d{1,9}) on (?P<host>[\w.-]{1,100}): )?"
            rf"Container killed by YARN for exceeding (?:physical )?memory limits(?: ?\. {_USED_OF})?"
        ),
        "YARN killed a container[, executor {executor} of Spark on {host}], because it reached its memory limit"
        "[: {used} of {limit}].",
        lacks="yarn",
        is_binary=True,
    ),
)
CLOUDS = (
    Kind(
        "container_limit",
        pattern(rf"Memory limit of (?P<limit>{SIZE}) exceeded with (?P<used>{SIZE}) used"),
        "Google Cloud ended a container, because it reached its memory limit: {used} of {limit}.",
        lacks="google cloud",
    ),
    Kind(
        "container_limit",
        pattern(
            r"(?:(?P<task>[\w-]{1,100})/(?P<container>[\w.-]{1,100})\s{1,9}STOPPED\s{1,9}ExitCode: \d{1,3}\s{1,9}"
            r"Reason: )?OutOfMemoryError: [Cc]ontainer killed due to memory usage"
        ),
        "AWS (ECS or Batch) says that a container[, {container}][ of task {task},] was killed, because it reached its "
        "memory limit.",
        lacks="aws",
    ),
    Kind(
        "container_limit",
        pattern(r"Exit Message: \\?\"OOM Killed\\?\""),
        "Nomad says that the kernel's out-of-memory killer killed a task: it reached its memory limit, or its machine "
        "ran out of memory.",
        lacks="nomad",
    ),
)
DRIVERS = (
    Kind(
        "warning",
        pattern(r"Driver is up but is not responsive, likely due to GC"),
        "Databricks says that Spark's driver does not respond, and takes the collection of garbage for the reason: as "
        "where its Java heap is nearly full.",
        lacks="driver",
    ),
)
_LAUNCHER = Kind(
    "sigkill",
    pattern(rf"exits with return code = -9\b|Killing subprocess (?P<ended>{COUNT})"),
    f"DeepSpeed's launcher says that a process ended with return code -9, as of SIGKILL[; it then ended its subprocess "
    f"{{ended}}]; {WHY_UNKNOWN}.",
    only_with="exits with return code = -9",
)
SHELL = rf"line \d{{1,9}}: (?P<pid>{COUNT}) Killed(?:: 9)?(?=\s)"
_STARTER = (
    r"(?:(?:nice|ionice|nohup|env|stdbuf|taskset|numactl|setsid)"
    r"(?:\s{1,9}-[^\s-]\S{0,40}(?:\s{1,9}\d{1,9}(?=\s))?|\s{1,9}--\w\S{0,80}|\s{1,9}\w{1,60}=\S{0,200}){0,9}\s{1,9}){0,3}"
)
"""Programs that become the one that they start."""
_PROGRAM = rf"{_STARTER}(?:/[\w./+-]{{0,200}}/)?(?P<name>[\w.+:-]{{1,64}})"
SHELL_ALONE = Kind(
    "sigkill",
    pattern(r"^[ \t]{0,8}Killed[ \t]*$", re.MULTILINE),
    "By the shell's word, a process ended as after SIGKILL; it does not say why.",
)
"""What a shell says of its own command, which it does not name."""
BY_NAME = (
    Kind(
        "sigkill",
        pattern(
            rf"{SHELL}\s{{1,40}}(?:\(\s?)?{_PROGRAM}|"
            rf"(?<![\w.])\[\d{{1,6}}\][+-]?[ \t]{{1,9}}(?P<pid_1>{COUNT})[ \t]{{1,9}}Killed[ \t]{{1,40}}"
            rf"(?:/[\w./+-]{{0,200}}/)?(?P<name_1>[\w.+:-]{{1,64}})|"
            r"(?<![\w.])(?:\[\d{1,6}\][+-][ \t]{1,9}Killed|\bzsh: killed)[ \t]{1,40}(?:/[\w./+-]{0,200}/)?"
            r"(?P<program>[\w.+:-]{1,64})|\bfish: Job \d{1,6}, '(?:/[\w./+-]{0,200}/)?(?P<program_1>[\w.+:-]{1,64})"
            r"[^\n']{0,300}' terminated by signal SIGKILL",
        ),
        f"By the shell's word,[ {{victims}}][ {{program}}] ended as after SIGKILL; {WHY_UNKNOWN}.",
    ),
    Kind(
        "sigkill",
        pattern(
            rf"\bProcess '(?P<name>[\w:.-]{{1,60}})' pid: ?(?P<pid>{COUNT}) exited with '(?:signal 9|exitcode -9)\b"
        ),
        f"SIGKILL ended {{victims}} of Celery's pool; {WHY_UNKNOWN}.",
    ),
)
"""Ends by SIGKILL whose process is named."""
_KILLED = f"A process[ {{victims}}][ on {{host}}] was killed by SIGKILL; {WHY_UNKNOWN}."
SIGKILL = (
    *BY_NAME,
    _LAUNCHER,
    Kind(
        "sigkill",
        pattern(
            rf"{SHELL}|\bhost : (?P<host>[\w.-]{{1,100}})\s{{1,40}}rank : \d{{1,6}} \(local_rank: \d{{1,6}}\)"
            rf"\s{{1,40}}exitcode : -9 \(pid: (?P<pid_8>{COUNT})\)(?![^\0]{{0,4000}}?\bhost : (?!(?P=host)\s))|"
            rf"Signal 9 \(SIGKILL\) received by PID (?P<pid_1>{COUNT})|"
            rf"exitcode ?: -9\b\)?(?: local_rank: \d{{1,6}})?(?: \(pid: (?P<pid_2>{COUNT})\))?|"
            rf"(?:(?P<name_3>\bDataLoader worker)|(?<!\b[Nn]o[ ])\b[Ww]orker) \(pid (?P<pid_3>{COUNT})\) "
            r"is killed by signal: Killed|"
            rf"RANK \d{{1,9}} PID (?P<pid_4>{COUNT}) RUNNING AT [\w.-]{{1,100}}[\s=|]{{1,40}}KILLED BY SIGNAL: 9\b|"
            rf"process rank \d{{1,9}} with PID (?P<pid_5>{COUNT}) on node [\w.-]{{1,100}} exited on signal 9 "
            r"\(Killed\)|"
            rf"Worker \(pid:(?P<pid_6>{COUNT})\) was sent SIGKILL!|"
            rf"pid:(?P<pid_7>{COUNT}) exited with '(?:signal 9|exitcode -9)\b|"
            r"\b[Ww]ork-horse (?:process )?(?:was )?terminated unexpectedly[;,] ?\(?waitpid returned 9(?!\d)|"
            r"died with <Signals\.SIGKILL: 9>|returned non-zero exit status (?:137|-9)\b|"
            r"exits with return code = -9\b|(?:^|[\]:|>│\d\"'-])[ \t]{0,8}Killed: 9[ "
            r"\t|│\"'\]}]{0,200}$|"
            r"\(terminated by SIGKILL; not expected\)|exited with code \[\d{1,3}\] via signal \[SIGKILL\]|"
            r"(?:prematurely|with) ?: signal 9 \(SIGKILL\)|code=killed, status=9/KILL|\bSIGKILL\(-9\)|"
            r"srun: error: [\w.-]{1,80}: tasks? [\d,-]{1,40}: Killed\b|terminated with exit code '137'|"
            r"return code Negsignal\.SIGKILL|[Tt]erminated (?:by|with) signal (?:9|SIGKILL)\b|exited due to signal 9\b|"
            rf"\b[Ww]orker [\w-]{{1,60}} pid (?P<pid_9>{COUNT}) died, exit code: -9\b|"
            r"\b(?:died|exited|terminated|ended)\b[^\n(]{0,40}?\b[Ee]xit ?code:? ?-9\b|"
            r"\b(?:outputs?|prints?|printed|shows?|says|said) (?:only |just )?[`'\"]{1,3}Killed\.?[`'\"]{1,3}",
            re.MULTILINE,
        ),
        _KILLED,
    ),
    Kind("sigkill", SHELL_ALONE.form, _KILLED),  # apart, since many texts have the one word that it needs
)
