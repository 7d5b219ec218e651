"""`explain()`: what an error of Ray's means for memory: what happened, to whom, at which line, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...cluster import MissingNode
from ...display.record import Record
from ...display.refusals import short_traceback
from ...display.text import first_few, in_html, listed, printable, show_bytes
from ...reading.catalog import sources
from ...reading.catalog.records import Calls
from ...reading.catalog.sources import Source
from ...reading.logs.facts import Message, TopProcess, Victim, called
from ...reading.logs.largest import largest
from ...reading.logs.messages import read
from ...reading.logs.secrets import without_addresses, without_secrets
from ...reading.reports.lines import Lines
from .advice import advise_on, largest_call
from .considered import considered
from .evidence import look
from .exceptions import errors_and_text, task_that_died, with_attributes
from .families import is_mainly, largest_family, told
from .findings import Finding, Suspect
from .named import also_named
from .quoted import unsaid
from .tried import tried_last
from .who import all_named, named, unsaid_victims, who

__all__ = ["Explanation", "explain"]

_NOT_RECOGNISED = "I do not recognise this as a message about memory."
_ONLY_QUOTED = "I do not know this message, so this only quotes what it says of memory."


@dataclass(frozen=True, slots=True)
class Explanation(Record):
    """What an error says, combined with what was recorded. Sizes are in bytes; unknown values are None.

    Attributes:
        cause: what ended the process, or what went wrong:

            - "ray_memory_monitor": Ray's memory monitor killed it (up to Ray 1.x: refused to run the task);
            - "kernel_oom", "systemd_oomd", "earlyoom" (or nohang): the kernel's out-of-memory killer, or a daemon,
              killed it;
            - "container_limit" (OOMKilled), "evicted" (for memory or a disk): Kubernetes, Docker, YARN, Dask or a cloud
              ended it;
            - "slurm_limit": Slurm ended it; "batch_limit": LSF, PBS, Grid Engine, HTCondor or Flux did;
            - "memory_error": the code could not allocate memory; "gpu_memory": memory of a GPU or TPU;
            - "bus_error": SIGBUS, for example because /dev/shm is full;
            - "object_store_full", "disk_full": no space was left there;
            - "owner_died", "object_lost": an object was lost;
            - "node_died", "preempted": the node is gone;
            - "sigkill": it was killed, or called `os._exit`, and no log says why;
            - "crash", "exit" (`exit_actor()`, `sys.exit`, SIGTERM), "ray_kill": the worker ended for a reason other
              than memory, as far as is known;
            - "not_started": Ray did not start, because it could not have the requested memory;
            - "warning": nothing has ended yet, as far as the text says;
            - "unknown".
        node_id: the node where it happened.
        node_ip: the node's address. For a pod, it is the address of the Kubernetes node if the text has it, else the
            pod's own.
        used: memory used on the node. For "container_limit", "slurm_limit" and "batch_limit": by the container or job.
        limit: the memory of the node, the container or the job.
        threshold: the use above which Ray kills.
        victims: the tasks and actors whose workers were killed.
        top_processes: the processes that used most memory on the node, as Ray printed them.
        calls: the profiled calls that were killed. If an actor was idle, the last call that it ran.
        lines: the lines that held most when the first of these calls was killed.
        advice: what to do, in sentences, the most important first.
        summary: what happened, one sentence per line.
    """

    cause: str
    node_id: str | None
    node_ip: str | None
    used: int | None
    limit: int | None
    threshold: int | None
    victims: tuple[Victim, ...]
    top_processes: tuple[TopProcess, ...]
    calls: Calls
    lines: Lines
    advice: tuple[str, ...]
    summary: str

    def __str__(self) -> str:
        steps = (f"  {number}. {text}" for number, text in enumerate(map(printable, self.advice), 1))
        return "\n".join([self.summary, "What to do:", *steps])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the explanation as a notebook shows it."""
        first, *rest = map(in_html, self.summary.splitlines())
        steps = "".join(f"<li>{in_html(text)}</li>" for text in self.advice)
        more = "".join(f"<div>{text}</div>" for text in rest)
        return f"<div><b>{first}</b></div>{more}<div>What to do:</div><ol>{steps}</ol>"


@short_traceback
def explain(error_or_text: BaseException | str, source: Source = None) -> Explanation:
    """Explain a Ray error: what was killed and why, what it held and where, and what to change.

    Args:
        error_or_text: an exception that `ray.get` raised, or text from a log, a notebook or a dashboard.
        source: the log directory of the session that the error comes from, to find its profiled calls. None for the
            cluster that this process is connected to; without a connection, for your cluster that runs on this machine;
            if none runs, for your latest session. The summary says which. If several run, none is read.

    Returns:
        An `Explanation`, which prints as a few lines and shows itself in a notebook. A value that is neither in the
        text nor in a log is None. A SIGKILL counts as out of memory only if Ray or the kernel says so. If an error does
        not identify a worker, a dead worker is named only if it is the only one that fits.

    Raises:
        TypeError: `error_or_text` is neither.
        FileNotFoundError: `source` does not exist.

    Example:
        >>> import raymemprof
        >>> text = "Task train failed due to oom. There are infinite oom retries remaining, so it will be retried."
        >>> raymemprof.explain(text).cause
        'ray_memory_monitor'
    """
    errors, text = errors_and_text(error_or_text)
    if source is not None:
        sources.find(source)  # raises where there is no such folder, whatever the error is
    said, printed = read(text)
    finding, missing = _found(with_attributes(said, errors), printed, errors, source)
    if _names_only_the_living(finding.message, text, errors):
        finding = Finding(Message("unknown", quotes=finding.message.quotes), tells_of_death=False)
    finding, summary = _with_quotes(finding, [*_summary(finding), *_chosen(finding), *first_few(missing)])
    message = finding.message
    return Explanation(
        cause=message.cause,
        node_id=message.node_id,
        node_ip=message.node_ip,
        used=message.used,
        limit=message.limit,
        threshold=message.threshold,
        victims=message.victims,
        top_processes=message.top_processes,
        calls=Calls(finding.calls),
        lines=Lines(finding.lines),
        advice=tuple(map(_shown, tried_last(advise_on(finding), printed))),
        summary="\n".join(_shown(printable(line)) for line in summary),
    )


def _found(
    message: Message, printed: str, errors: list[BaseException], source: Source
) -> tuple[Finding, tuple[MissingNode, ...]]:
    """Look for who died among the recorded calls and in the logs; return the nodes that did not answer, too."""
    died = message.cause == "unknown" and _A_WORKER_DIED.search(printed) is not None
    finding = Finding(message, tells_of_death=died)
    if message.victims or (died and not message.is_named):
        try:
            return look(message, source, task_that_died(errors))
        except sources.SeveralClustersError as error:
            finding = replace(finding, chosen=f"No recording was looked at: {str(error).rstrip('.')}")
    return finding, ()


def _names_only_the_living(message: Message, text: str, errors: list[BaseException]) -> bool:
    """Whether a text names tasks or workers and tells of no end: they do their work, as far as is known."""
    if message.cause != "unknown" or not message.victims or errors:
        return False
    is_of_tasks = all((one.pid, one.actor_id, one.worker_id) == (None, None, None) for one in message.victims)
    return (_ENDS_A_TASK if is_of_tasks else _TELLS_OF_AN_END).search(text) is None


def _chosen(finding: Finding) -> list[str]:
    return [f"{finding.chosen}."] if finding.chosen else []


def _with_quotes(finding: Finding, summary: list[str]) -> tuple[Finding, list[str]]:
    """Add to a summary what the text also says, and whom it also names; say if it only quotes the text."""
    summary, unread = unsaid(finding.message, summary)
    if unread and summary[0] == _NOT_RECOGNISED:
        summary[0] = _ONLY_QUOTED
        finding = replace(finding, is_quoted=True)
    if unread:
        also = "" if finding.is_quoted else "also "
        summary.append(f"The text {also}says: {' / '.join(f'“{words}”' for words in unread)}")
    if summary[0] != _NOT_RECOGNISED and (named := also_named(finding.message, summary)):
        summary.append(named)
    return finding, summary


def _shown(words: str) -> str:
    """What may be shown: also of logs and of code, which sentences quote."""
    return without_addresses(without_secrets(words))


_A_WORKER_DIED = re.compile(
    r"worker\s+died\s+unexpectedly|\bWorkerCrashedError\b|Worker\s+exit\s+type|actor\s+died\s+unexpectedly|"
    r"worker.{0,9}has\s+died|worker\s+died\s+or\s+was\s+killed|Reporting\s+worker\s+exit|\bdied\s+with\s+exit_type"
)
_OF_NO_NODE = ("container_limit", "batch_limit", "slurm_limit")
"""Causes whose figures are a container's or a job's, and stand in their sentences."""
_POD_LIMIT = "may have exceeded K8s pod memory limits"
"""What Ray says on Kubernetes of every worker that was asked to end."""
_TELLS_OF_AN_END = re.compile(
    r"exit|\b(?:die[ds]?|dead|death|kill\w*|end(?:ed|s)|crash\w*|gone|fail\w*|lost|terminat\w*|disconnect\w*|abort\w*|"
    r"evict\w*|preempt\w*|unreachable|stopped|signal|sig[a-z]{3,4}|error|exception|oom)\b|Error|Exception",
    re.IGNORECASE,
)
_ENDS_A_TASK = re.compile(
    r"\b(?:die[ds]?|dead|death|kill\w*|crash\w*|exit\w*|lost|terminat\w*|disconnect\w*|abort\w*|evict\w*)\b|SIG[A-Z]{3}",
    re.IGNORECASE,
)
"""The same of a text that names a task only: that may fail, or be cancelled, in a worker that lives on."""
_NO_CODE = "an exit code None", "an unknown exit code"
"""What Ray says of a worker whose exit code it does not know, and what is meant."""
_ROOT_CAUSES = re.compile(
    r"There are some potential root causes|Some common causes include|RPC [Ee]rror|"
    r"(?<=\. )(?:There(?: [a-z ]{0,30})?|Some(?: [a-z ]{0,20})?)$"
)
"""What Ray says of every end, also where the text breaks off in it."""


_MOST_NODES = 10
"""Nodes that are named."""
_LONG_ID = 56


def _summary(finding: Finding) -> Iterator[str]:
    message, lines = finding.message, finding.lines
    place = message.node_ip or (f"{message.node_id[:8]}…" if message.node_id else None)
    where = f" on node {place}" if place else f" on {message.nodes} nodes" if message.nodes > 1 else ""
    if not place and 1 < len(message.places) <= _MOST_NODES:
        where = f" on the nodes {listed([one if len(one) < _LONG_ID else f'{one[:8]}…' for one in message.places])}"
    happened = _what_happened(finding, all_named(finding) or "a worker", where)
    yield re.sub(r"^a (?=worker\b)", "A ", happened)
    if message.statement is not None and (left := unsaid_victims(message)):
        yield f"It was {listed([named(one, finding) for one in left])}."
    if finding.is_inferred:
        yield "The error does not identify a worker; this is the only death in the session's logs."
    yield from map(_suspected, finding.suspects)
    said = finding.said or message.exit_detail
    if said and (short := _ROOT_CAUSES.split(said.replace(*_NO_CODE))[0].strip()):
        yield f"The logs say: {short}" if finding.said else f"Ray says: {short}"
    if message.used and message.limit and message.cause not in _OF_NO_NODE:
        limits = "kills" if message.statement is None else "starts nothing"
        above = f"; Ray {limits} above {show_bytes(message.threshold)}" if message.threshold else ""
        what = "Its memory cgroup" if message.cause == "kernel_oom" else "The node"
        yield f"{what} used {show_bytes(message.used)} of {show_bytes(message.limit)}{above}."
    held = [(victim, victim.memory) for victim in message.victims if victim.memory]
    if len(held) == 1:
        is_one_of_several = (message.killed or 0) > len(message.victims)
        used_by = who(held[0][0], finding) if is_one_of_several else "What was killed"
        yield f"{used_by} used {show_bytes(held[0][1])}."
    elif held:
        used = listed([f"{show_bytes(size)} ({who(victim, finding)})" for victim, size in held])
        yield f"What was killed used {used}."
    yield from considered(message)
    is_of_one_kill = message.killed == 1 if message.cause == "kernel_oom" else message.used is not None
    if is_of_one_kill and (most := largest(message)):
        yield most
    family = largest_family(finding.calls)
    if family is not None:
        yield told(family)
    if lines and not is_mainly(family):
        line = lines[0]
        whose = largest_call(finding).name if len(finding.calls) > 1 else "It"
        yield f"{whose} held {show_bytes(line.bytes)} allocated at {line}" + (f": {finding.code}" * bool(finding.code))
        yield from finding.gaps
    yield from message.also
    if message.retries == float("inf"):
        yield "Ray retries the task without end, so the job will look as if it hangs."


def _suspected(suspect: Suspect) -> str:
    victim = suspect.victim
    of = {
        "sigkill": "SIGKILL or os._exit",
        "crash": "a crash",
        "kernel_oom": "the kernel's out-of-memory killer",
        "exit": suspect.said or "an exit",
    }.get(suspect.cause, suspect.said or "nobody knows what")
    return f"It may be {called(victim.name, victim.pid)}, which died at {suspect.when:%H:%M:%S} UTC of {of}."


def _what_happened(finding: Finding, who: str, where: str) -> str:
    message = finding.message
    if message.statement is not None:
        return message.statement
    if message.cause == "ray_memory_monitor":
        many = message.killed or len(message.victims)
        whom = (
            who if message.victims else f"{many} workers" if many > 1 else "a worker" if many else "one worker or more"
        )
        ran = "the nodes" if message.nodes > 1 else "the node"
        because = f"{ran} ran low on memory"
        if message.reason and "cgroup" in message.reason:
            because = f"workers had all memory that resource isolation leaves them ({message.reason})"
        if message.victims and many > len(message.victims):
            return f"Ray's memory monitor killed {many} workers{where}, because {because}. The text names only {who}."
        return f"Ray's memory monitor killed {whom}{where}, because {because}."
    one = len(message.victims) < 2
    if message.cause == "unknown":
        if message.crashed is not None:
            return f"{message.crashed} workers crashed{where}, and none was killed for memory, as far as Ray knows."
        if finding.fitting and not message.is_named:
            fit = f"{finding.fitting} deaths fit" if finding.fitting > 1 else "one of several deaths fits"
            return f"The text does not identify a worker, and {fit}, so it is not known which one it is about."
        return (
            f"Why {who}{where} ended cannot be told from this."
            if message.victims
            else "This does not say what ended the worker, or whether memory was the reason."
            if finding.tells_of_death
            else _NOT_RECOGNISED
        )
    not_short = "" if message.quotes else "; nothing says that memory was short"
    return {
        "kernel_oom": f"The kernel's out-of-memory killer killed {who}{where}"
        + (f", because {message.reason}." if message.reason else "."),
        "sigkill": f"{who} exited without a trace{where}, as after SIGKILL or os._exit; no log says which, or why.",
        "crash": f"{who} crashed{where}: "
        + ("native code aborted it (SIGABRT)" if message.reason == "SIGABRT" else "a fault in native code")
        + f"{not_short}.",
        "exit": f"{who} ended{where} by {'itself, or because it was' if one else 'themselves, or because they were'} "
        "asked to"
        + (
            "; that its pod's memory limit was exceeded is Ray's guess: at that limit SIGKILL ends a process."
            if _POD_LIMIT in (message.exit_detail or "")
            else f"{not_short}."
        ),
        "ray_kill": f"{who} was ended by `ray.kill`{where}, on purpose.",
        "node_died": f"The node{where.removeprefix(' on node')} died or cannot be reached.",
        "preempted": f"The node{where.removeprefix(' on node')} was preempted, or will be soon.",
    }[message.cause]
