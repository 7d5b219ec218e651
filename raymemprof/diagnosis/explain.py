"""`explain()`: what an error of Ray's means for memory: what happened, to whom, at which line, and what to do."""

from __future__ import annotations

import html
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .. import cluster, ray_runtime
from ..cluster import MissingNode
from ..reading.catalog import Call, Calls, folders_of
from ..reading.heap import Line
from ..reading.logs.facts import Message, Process, Victim
from ..reading.logs.layouts import as_printed
from ..reading.logs.libraries import CANNOT_ALLOCATE
from ..reading.logs.messages import parse
from ..rows import first_few, plain, show_bytes
from .considered import considered
from .families import is_mainly, largest_family, steps, told
from .scene import Finding, Suspect, look

__all__ = ["Explanation", "explain"]

_MARGIN = 1.2
_MUCH_IDLE = 100 * 2**20


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
        return "\n".join([*self.summary, "What to do:", *steps])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the explanation as a notebook shows it."""
        first, *rest = (html.escape(text) for text in self.summary)
        steps = "".join(f"<li>{html.escape(text)}</li>" for text in self.advice)
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
            this process is connected to, else the latest on this machine.

    Returns:
        An `Explanation`, which prints as a few lines and shows itself in a notebook. What the text does not say, and no
        log either, is None; a SIGKILL is called out of memory only where the kernel says so, and where an error names
        nobody, a death is told of only if it is the only one that fits.

    Raises:
        TypeError: `error_or_text` is neither.
        FileNotFoundError: `source` does not exist.

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
        folders_of(source)  # raises where there is no such folder, whatever the error is
    died = message.cause == "unknown" and _A_WORKER_DIED.search(as_printed(text)) is not None
    finding = Finding(message, tells_of_death=died)
    missing: tuple[MissingNode, ...] = ()
    if message.victims or (died and not message.is_named):
        finding, missing = look(message, source, next(filter(None, map(_task_of, errors)), None))
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
        advice=tuple(_advice(finding)),
        summary=(*_summary(finding), *first_few(missing)),
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


def _name_of(victim: Victim, finding: Finding) -> str | None:
    """What ran in a process: by its profiled call, else by its title; what Ray leased it for may be long over."""
    calls = [call for call in finding.calls if call.pid == victim.pid and call.worker_id == victim.worker_id]
    if calls:
        return calls[-1].name
    if victim.actor_id is not None:
        titles = {process.pid: process.command for process in finding.message.top_processes}
        title = re.fullmatch(r"ray::(\w+\.\w+)", titles.get(victim.pid or 0, ""))
        if title:
            return title[1]
    return victim.name


def _named(victim: Victim, finding: Finding) -> str:
    pid = "" if victim.pid is None else f" (pid {victim.pid})"
    return f"{_name_of(victim, finding) or 'a worker'}{pid}"


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
        above = f"; Ray kills above {show_bytes(message.threshold)}" if message.threshold else ""
        what = "Its memory cgroup" if message.cause == "kernel_oom" else "The node"
        yield f"{what} used {show_bytes(message.used)} of {show_bytes(message.limit)}{above}."
    held = [(victim, victim.memory) for victim in message.victims if victim.memory is not None]
    if len(held) == 1:
        yield f"What was killed used {show_bytes(held[0][1])}."
    elif held:
        used = _list([f"{show_bytes(size)} ({_name_of(victim, finding) or 'a worker'})" for victim, size in held])
        yield f"What was killed used {used}."
    yield from considered(message)
    family = largest_family(finding.calls)
    if family is not None:
        yield told(family)
    if lines and not is_mainly(family):
        line = lines[0]
        whose = _largest_call(finding).name if len(finding.calls) > 1 else "It"
        yield f"{whose} held {show_bytes(line.bytes)} allocated at {line}" + (f": {finding.code}" * bool(finding.code))
    if message.retries == float("inf"):
        yield "Ray retries the task without end, so the job will look as if it hangs."


def _largest_call(finding: Finding) -> Call:
    """The call that `finding.lines` are of."""
    traced = [call for call in finding.calls if call.capture is not None] or list(finding.calls)
    return max(traced, key=lambda call: call.peak_memory)


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
        "crash": f"{who} crashed{where}: a fault in native code, not a lack of memory.",
        "exit": f"{who} ended by itself, or because it was asked to{where}; memory is not the reason.",
        "ray_kill": f"{who} was ended by `ray.kill`{where}, on purpose.",
        "node_died": f"The node{where.removeprefix(' on node')} died or cannot be reached.",
        "preempted": f"The node{where.removeprefix(' on node')} was preempted, or will be soon.",
    }[message.cause]


_NOT_RECOGNISED = "I do not recognise this as a message about memory."
_ADVICE = {
    "container_limit": (
        "Raise the container's memory limit, or have Ray use less: in the container it takes the limit for the node's "
        "memory, and its monitor kills at 95 % of it by default, which a fast allocation can pass by.",
        "Look for the pod's last events: `kubectl describe pod`.",
    ),
    "evicted": ("Set the pod's memory request to its limit, so that Kubernetes does not overcommit its node.",),
    "slurm_limit": ("Ask Slurm for more memory (`--mem`, `--mem-per-cpu`), or have the job use less.",),
    "systemd_oomd": (
        "Have systemd-oomd leave Ray's unit alone (`ManagedOOMMemoryPressure=auto`), or have Ray use less memory.",
    ),
    "earlyoom": ("Set Ray's kill threshold below earlyoom's, so that Ray kills and retries the task itself.",),
    "gpu_memory": (
        "Make the batch or the model on the GPU smaller, or free what the process keeps there; the node's memory, and "
        "`memory=` in @ray.remote, make no difference.",
    ),
    "bus_error": (
        "See how full shared memory is: `df -h /dev/shm`; give the container more (`docker run --shm-size`).",
    ),
    "owner_died": (
        "See why the owner ended: its worker's log in the session's logs. What it created with `.remote()` and "
        "`ray.put()` ended with it.",
    ),
    "object_lost": ("See why the nodes ended, and set `max_retries` so that Ray can make the object again.",),
    "preempted": ("Run what must not be lost on nodes that are not preempted; memory is not the reason.",),
    "warning": (
        "Nothing has to be done at once; `raymemprof usage` and `raymemprof doctor` say what uses memory now.",
    ),
    "crash": ("Read the worker's log for the stack: the `.err` file of its pid in the session's logs, or `ray logs`.",),
    "exit": ("Look for `sys.exit`, `exit_actor()`, or who sends SIGTERM: a batch system, or a container's stop.",),
    "ray_kill": ("Look for `ray.kill` in the code that holds the actor's handle; memory is not the reason.",),
    "node_died": ("See whether the machine is up, and its kernel's log: a raylet killed for memory ends the node.",),
    "object_store_full": (
        "List what is referred to: `ray memory --stats-only`, then `ray memory`; drop references that are done with.",
        "Return less at a time (yield pieces from a generator task), or start Ray with more `--object-store-memory`.",
    ),
    "disk_full": ("Free the disk that Ray spills to (`df -h`), or name another with `--object-spilling-directory`.",),
    "memory_error": (
        "Make the allocation that failed smaller: in pieces, of smaller types; the traceback has its line.",
    ),
    "unknown": (
        "See how the worker ended: `ray logs raylet.out`, its `.err` log, and `dmesg` for the kernel's killer.",
    ),
}


def _advice(finding: Finding) -> Iterator[str]:
    """The page's advice, in its order, with the user's names and numbers."""
    message, found = finding.message, finding.calls
    if message.cause in ("ray_memory_monitor", "kernel_oom"):
        yield from _memory_advice(finding)
        return
    if (
        message.cause == "unknown"
        and not message.is_named
        and not (finding.tells_of_death or message.victims or message.crashed is not None)
    ):
        yield "Give it the whole message, and what stands around it; of an exception, the exception itself."
        yield "For what memory is used for, ask `raymemprof doctor`, or `raymemprof.doctor()`."
        return
    if finding.suspects:
        yield "Give `raymemprof explain` what the raylet says of the death: the text has its worker's ID and pid."
    if message.cause == "sigkill":
        count = finding.kernel_kills
        counted = f" (it has killed {count} times in this container)" if count else ""
        ask = "`dmesg -T | grep -i 'killed process'`"
        yield f"Ask the node's kernel whether it killed it: {ask}{counted}."
        yield "Else find who does it: `ray stop --force`, a batch system's limit, a container's stop, os._exit."
    yield from _ADVICE.get(message.cause, ())
    if message.cause in ("sigkill", "unknown") and not found:
        yield "Put @profile_memory on what runs there: the next death will come with the line that held most."


def _memory_advice(finding: Finding) -> Iterator[str]:
    message, lines = finding.message, finding.lines
    # What to make smaller is the largest of those that ran something: an idle worker is only in the way.
    largest = max(
        (victim for victim in message.victims if _name_of(victim, finding)),
        key=lambda victim: victim.memory or 0,
        default=None,
    )
    name = (_name_of(largest, finding) if largest else None) or "the task"
    held = largest.memory if largest else None
    family = largest_family(finding.calls)
    if family is not None:
        held = max(held or 0, family.peak_memory)
        yield from steps(family)
    if lines and not is_mainly(family):
        call, place = _largest_call(finding), os.path.basename(lines[0].place)
        shown = f"raymemprof flamegraph --name {shlex.quote(call.name)} --status killed"
        if call.actor_id is not None and call.capture is not None:  # what all its calls left
            shown = f"raymemprof flamegraph --view leaks {shlex.quote(str(call.capture))}"
        if finding.is_on_cluster:
            shown += " --address auto"
        yield f"Change what {place} keeps; `{shown}` shows all that is held."
    elif not finding.calls:
        yield f"Find what {name} holds: put @profile_memory on it, and the next kill comes with the line."
    if not message.victims:
        yield "List who was killed, with what each held: `raymemprof ooms`."
    dead = {victim.pid for victim in message.victims}
    others = [process for process in message.top_processes if process.pid not in dead]
    if others and held and others[0].memory > held:
        most = others[0]
        yield f"See whether `{most.command}` (pid {most.pid}) should use more than it, {show_bytes(most.memory)}."
    if message.idle_memory and message.idle_memory > _MUCH_IDLE:
        yield (
            f"Idle workers that were not killed had {show_bytes(message.idle_memory)}: with a lower "
            "RAY_idle_worker_killing_memory_threshold_bytes Ray considers them for killing too."
        )
    yield _fewer_at_once(message, name, held)
    if not (finding.is_on_cluster and sum(node.is_alive for node in cluster.nodes()) == 1):
        yield (
            "Keep tasks off the head node, which has the driver and Ray's own processes: "
            "`ray start --head --num-cpus=0`."
        )
    if message.cause == "ray_memory_monitor":
        knob = "RAY_memory_usage_threshold moves the limit (0.95 by default)"
        if message.reason and "cgroup" in message.reason:
            knob = "`ray start --system-reserved-memory` moves the limit: it is what workers cannot have"
        yield f"Or give the node more memory; {knob}."
    else:
        yield "Or give the node, or its container, more memory."
    if message.retries == float("inf"):
        yield "End the retries, which go on without end: RAY_task_oom_retries=3 in the environment of the driver."


def _fewer_at_once(message: Message, name: str, held: int | None) -> str:
    if not held:
        return f"Run fewer at once: give {name} memory=… or more num_cpus in @ray.remote."
    wanted, most = int(held * _MARGIN), _most_that_fits(message)
    if most is not None and wanted > most:
        return (
            f"Have {name} take less at a time: not one that needs {show_bytes(wanted)} fits this node, where tasks can "
            f"have {show_bytes(most)}, and Ray would never start one with such a memory=."
        )
    return (
        f"Run fewer at once: @ray.remote(memory={wanted:_}) asks for a fifth more than {name} had when it was killed, "
        "and it may need more yet; or raise its num_cpus. `raymemprof advise` says what holds on your nodes."
    )


def _most_that_fits(message: Message) -> int | None:
    """The most that a task may ask for on the node: what Ray counts as its memory, else what it may use of it."""
    known = [size for size in (message.threshold, message.limit) if size is not None]
    if message.node_id is not None and cluster.is_connected():
        for node in sys.modules["ray"].nodes():
            if node["NodeID"] == message.node_id and "memory" in node["Resources"]:
                known.append(int(node["Resources"]["memory"]))
    return min(known, default=None)
