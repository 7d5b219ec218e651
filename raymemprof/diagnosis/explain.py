"""`explain()`: what an error of Ray's means for memory: what happened, to whom, at which line, and what to do."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .. import ray_runtime
from ..cluster import MissingNode
from ..reading import sources
from ..reading.catalog import Calls
from ..reading.heap import Line
from ..reading.logs.facts import Message, Process, Victim
from ..reading.logs.layouts import as_printed
from ..reading.logs.libraries import CANNOT_ALLOCATE
from ..reading.logs.messages import parse
from ..rows import first_few, plain, printable, show_bytes
from .considered import considered
from .families import is_mainly, largest_family, told
from .remedies import largest_call, name_of, remedies
from .scene import Finding, Suspect, look

__all__ = ["Explanation", "explain"]

_NOT_RECOGNISED = "I do not recognise this as a message about memory."


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an error says, put together with what was recorded. Sizes in bytes; what nobody said is None.

    Attributes:
        cause: who or what ended it:

            - "ray_memory_monitor": Ray's memory monitor; up to Ray 1.x it refused to run the task;
            - "kernel_oom", "systemd_oomd", "earlyoom": the kernel's out-of-memory killer, or a daemon like it;
            - "container_limit" (OOMKilled), "evicted": Kubernetes or Docker; "slurm_limit": Slurm;
            - "memory_error": the code itself, which could not allocate; "gpu_memory": the same of a GPU's memory;
              "bus_error": SIGBUS, as where /dev/shm is full;
            - "object_store_full", "disk_full"; "owner_died", "object_lost": an object that was lost;
            - "node_died", "preempted": the node;
            - "sigkill" (or os._exit: it ended, and no log says why), "crash", "exit" (it ended by itself, or was asked
              to: `exit_actor()`, `sys.exit`, SIGTERM), "ray_kill": the worker, for other reasons than memory, as far as
              is known;
            - "warning": nothing ended yet, as far as the text says;
            - "unknown".
        node_id: the node where it happened.
        node_ip: its address.
        used: memory used on the node.
        limit: the node's memory.
        threshold: use above which Ray kills.
        victims: who was killed, each with `name`, `task_id`, `actor_id`, `worker_id`, `pid`, `memory`.
        top_processes: who used most memory on the node, each with `pid`, `memory`, `command`.
        calls: the profiled calls that were killed; of an actor that ran none then, the last that it ran.
        lines: the lines that held most when the first of them died.
        advice: what to do, in sentences, first things first.
        summary: what happened, in sentences.
    """

    cause: str
    node_id: str | None
    node_ip: str | None
    used: int | None
    limit: int | None
    threshold: int | None
    victims: tuple[Victim, ...]
    top_processes: tuple[Process, ...]
    calls: Calls
    lines: tuple[Line, ...]
    advice: tuple[str, ...]
    summary: tuple[str, ...]

    def __str__(self) -> str:
        steps = (f"  {number}. {text}" for number, text in enumerate(self.advice, 1))
        return "\n".join(map(printable, [*self.summary, "What to do:", *steps]))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the explanation as a notebook shows it."""
        first, *rest = (html.escape(printable(text)) for text in self.summary)
        steps = "".join(f"<li>{html.escape(printable(text))}</li>" for text in self.advice)
        more = "".join(f"<div>{text}</div>" for text in rest)
        return f"<div><b>{first}</b></div>{more}<div>What to do:</div><ol>{steps}</ol>"

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation for JSON."""
        return {
            name: list(getattr(self, name)) if name == "calls" else plain(getattr(self, name))
            for name in self.__slots__
        }


def explain(error_or_text: BaseException | str, source: str | os.PathLike[str] | None = None) -> Explanation:
    """Say what an error of Ray's means: who was killed, why, what it held and where, and what to change.

    Args:
        error_or_text: an exception that `ray.get` raised, or text from a log, a notebook or a dashboard.
        source: the log directory of the session it comes from, to find the profiled calls in; None for the session
            this process is connected to, else the one cluster of this user's that runs on this machine, else this
            user's latest session, which the summary names.

    Returns:
        An `Explanation`, which prints as a few lines and shows itself in a notebook. What the text does not say, and no
        log either, is None; a SIGKILL is called out of memory only where the kernel says so, and where an error names
        nobody, a death is told of only if it is the only one that fits.

    Raises:
        TypeError: `error_or_text` is neither.
        FileNotFoundError: `source` does not exist.
        ValueError: the text does not say what happened, no source is named, and several clusters run here.

    Example:
        >>> import raymemprof
        >>> text = "Task train failed due to oom. There are infinite oom retries remaining, so it will be retried."
        >>> raymemprof.explain(text).cause
        'ray_memory_monitor'
    """
    if isinstance(error_or_text, BaseException):
        errors = list(_chain(error_or_text))
        text = "\n".join(f"{_type_names(error)}\n{error}" for error in errors)
    elif isinstance(error_or_text, str):
        errors, text = [], error_or_text
    else:
        raise TypeError(f"explain takes an exception or a text, not {error_or_text!r}.")
    message = _with_attributes(parse(text), errors)
    if source is not None:
        sources.find(source)  # raises where there is no such folder, whatever the error is
    died = message.cause == "unknown" and _A_WORKER_DIED.search(as_printed(text)) is not None
    finding = Finding(message, tells_of_death=died)
    missing: tuple[MissingNode, ...] = ()
    if message.victims or (died and not message.is_named):
        try:
            finding, missing = look(message, source, next(filter(None, map(_task_of, errors)), None))
        except sources.SeveralClustersError as error:
            if message.cause == "unknown":
                raise
            finding = replace(finding, chosen=f"No recording was looked at: {str(error).rstrip('.')}")
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
        lines=finding.lines,
        advice=tuple(remedies(finding)),
        summary=(*_summary(finding), *[f"{text}." for text in (finding.chosen,) if text], *first_few(missing)),
    )


def _with_attributes(message: Message, errors: list[BaseException]) -> Message:
    """Add what only the exceptions themselves say."""
    if message.cause == "unknown" and any(isinstance(error, MemoryError) for error in errors):
        message = replace(message, cause="memory_error", statement=CANNOT_ALLOCATE)
    if not message.victims and message.cause in ("unknown", "exit", "ray_kill"):
        actors = {str(actor) for error in errors if (actor := getattr(error, "actor_id", None))}
        actors = {actor for actor in actors if re.fullmatch("[0-9a-f]{32}", actor)}
        victims = tuple(Victim(None, None, actor, None, None, None) for actor in actors if len(actors) == 1)
        message = replace(message, victims=victims, is_named=message.is_named or bool(victims))
    return message


def _task_of(error: BaseException) -> str | None:
    """The task that died, of a `WorkerCrashedError` that `ray.get` raised here; its text names nobody."""
    return ray_runtime.task_of(error) if type(error).__name__ == "WorkerCrashedError" else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those it wraps: `RayTaskError` has a `cause`, Python's own chain a `__cause__`."""
    seen: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        current = queue.pop(0)
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            yield current
            queue += [getattr(current, "cause", None), current.__cause__]


def _type_names(error: BaseException) -> str:
    kinds = [kind for kind in type(error).__mro__ if kind.__module__.startswith("ray")]
    return "\n".join(f"{kind.__module__}.{kind.__name__}" for kind in kinds)


_A_WORKER_DIED = re.compile(
    r"worker\s+died\s+unexpectedly|\bWorkerCrashedError\b|Worker\s+exit\s+type|actor\s+died\s+unexpectedly|"
    r"worker.{0,9}has\s+died|\bdied\s+with\s+exit_type"
)
_ROOT_CAUSES = re.compile(r"There are some potential root causes|Some common causes include|RPC [Ee]rror")


def _named(victim: Victim, finding: Finding) -> str:
    pid = "" if victim.pid is None else f" (pid {victim.pid})"
    return f"{name_of(victim, finding) or 'a worker'}{pid}"


def _list(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _summary(finding: Finding) -> Iterator[str]:
    message, lines = finding.message, finding.lines
    place = message.node_ip or (f"{message.node_id[:8]}…" if message.node_id else None)
    where = f" on node {place}" if place else f" on {message.nodes} nodes" if message.nodes > 1 else ""
    yield _what_happened(finding, _list([_named(victim, finding) for victim in message.victims]) or "a worker", where)
    if finding.is_inferred:
        yield "The error names nobody; this is the only death that the session's logs tell of."
    yield from map(_suspected, finding.suspects)
    said = finding.said or message.exit_detail
    if said and (short := _ROOT_CAUSES.split(said)[0].strip()):
        yield f"The logs say: {short}" if finding.said else f"Ray says: {short}"
    if message.used is not None and message.limit is not None:
        limits = "kills" if message.statement is None else "starts nothing"
        above = f"; Ray {limits} above {show_bytes(message.threshold)}" if message.threshold else ""
        what = "Its memory cgroup" if message.cause == "kernel_oom" else "The node"
        yield f"{what} used {show_bytes(message.used)} of {show_bytes(message.limit)}{above}."
    held = [(victim, victim.memory) for victim in message.victims if victim.memory is not None]
    if len(held) == 1:
        yield f"What was killed used {show_bytes(held[0][1])}."
    elif held:
        used = _list([f"{show_bytes(size)} ({name_of(victim, finding) or 'a worker'})" for victim, size in held])
        yield f"What was killed used {used}."
    yield from considered(message)
    family = largest_family(finding.calls)
    if family is not None:
        yield told(family)
    if lines and not is_mainly(family):
        line = lines[0]
        whose = largest_call(finding).name if len(finding.calls) > 1 else "It"
        yield f"{whose} held {show_bytes(line.bytes)} allocated at {line}" + (f": {finding.code}" * bool(finding.code))
        yield from finding.gaps
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
    who = f"{victim.name or 'a worker'} (pid {victim.pid})"
    return f"It may be {who}, which died at {suspect.when:%H:%M:%S} UTC of {of}."


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
        return f"Ray's memory monitor killed {whom}{where}, because {because}."
    if message.cause == "unknown":
        if message.crashed is not None:
            return f"{message.crashed} workers crashed{where}, and none was killed for memory, as far as Ray knows."
        if finding.fitting and not message.is_named:
            fit = f"{finding.fitting} deaths fit" if finding.fitting > 1 else "one of several deaths fits"
            return f"This names nobody, and {fit}; whose it was cannot be told."
        return (
            f"What ended {who}{where} cannot be told from this."
            if message.victims
            else "This does not say what ended the worker, or whether memory was the reason."
            if finding.tells_of_death
            else _NOT_RECOGNISED
        )
    return {
        "kernel_oom": f"The kernel's out-of-memory killer killed {who}{where}"
        + (f", because {message.reason}." if message.reason else "."),
        "sigkill": f"{who} ended without a word{where}, as of SIGKILL or os._exit; no log says which, or by whom.",
        "crash": f"{who} crashed{where}: a fault in native code; nothing says that memory was short.",
        "exit": f"{who} ended by itself, or because it was asked to{where}; nothing says that memory was short.",
        "ray_kill": f"{who} was ended by `ray.kill`{where}, on purpose.",
        "node_died": f"The node{where.removeprefix(' on node')} died or cannot be reached.",
        "preempted": f"The node{where.removeprefix(' on node')} was preempted, or will be soon.",
    }[message.cause]
