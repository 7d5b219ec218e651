"""`explain()`: what an error of Ray's means for memory: what happened, to whom, at which line, and what to do."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..cluster import MissingNode
from ..reading.catalog import Call, Calls, folders_of
from ..reading.heap import Line
from ..reading.messages import Message, Process, Victim, parse
from ..rows import first_few, plain, show_bytes
from .scene import Finding, look

__all__ = ["Explanation", "explain"]

_MARGIN = 1.2
_MUCH_IDLE = 100 * 2**20


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an error says, put together with what was recorded. Sizes in bytes; what nobody said is None.

    Attributes:
        cause: "ray_memory_monitor", "kernel_oom", "sigkill" (nobody said who sent it), "crash", "ray_kill",
            "node_died", "object_store_full", "disk_full", "memory_error" or "unknown".
        node_id: the node where it happened.
        node_ip: its address.
        used: memory used on the node.
        limit: the node's memory.
        threshold: use above which Ray kills.
        victims: who was killed, each with `name`, `task_id`, `actor_id`, `worker_id`, `pid`, `memory`.
        top_processes: who used most memory on the node, each with `pid`, `memory`, `command`.
        calls: the profiled calls that were killed.
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
        log on this node either, is None; a SIGKILL is called out of memory only where the kernel says so.

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
    message = parse(text)
    if message.cause == "unknown" and any(isinstance(error, MemoryError) for error in errors):
        message = replace(message, cause="memory_error")
    if source is not None:
        folders_of(source)  # raises where there is no such folder, whatever the error is
    finding, missing = Finding(message), tuple[MissingNode, ...]()
    if message.victims or _A_WORKER_DIED.search(text):
        finding, missing = look(message, source)
    message, found, lines = finding.message, finding.calls, finding.lines
    return Explanation(
        cause=message.cause,
        node_id=message.node_id or (found[0].node_id if found else None),
        node_ip=message.node_ip,
        used=message.used,
        limit=message.limit,
        threshold=message.threshold,
        victims=message.victims,
        top_processes=message.top_processes,
        calls=Calls(found),
        lines=lines,
        advice=tuple(_advice(finding)),
        summary=(*_summary(finding), *first_few(missing)),
    )


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
    return " ".join(kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("ray"))


_A_WORKER_DIED = re.compile(
    r"worker died unexpectedly|WorkerCrashedError|Worker exit type|actor died unexpectedly|worker.{0,9}has died"
)


def _who(message: Message, found: tuple[Call, ...]) -> str:
    names = [call.name for call in found[:1]] or [victim.name for victim in message.victims if victim.name]
    pids = [victim.pid for victim in message.victims if victim.pid is not None]
    who = ", ".join(dict.fromkeys(name for name in names if name)) or "a worker"
    return f"{who} (pid {', '.join(map(str, pids))})" if pids else who


def _summary(finding: Finding) -> Iterator[str]:
    message, found, lines = finding.message, finding.calls, finding.lines
    node = message.node_ip or (f"{found[0].node_id[:8]}…" if found and found[0].node_id else None)
    yield _what_happened(message, _who(message, found), f" on node {node}" if node else "")
    if message.used is not None and message.limit is not None:
        above = f"; Ray kills above {show_bytes(message.threshold)}" if message.threshold else ""
        yield f"The node used {show_bytes(message.used)} of {show_bytes(message.limit)}{above}."
    held = [victim.memory for victim in message.victims if victim.memory is not None]
    if held:
        yield f"What was killed used {' and '.join(map(show_bytes, held))}."
    if lines:
        line = lines[0]
        place = f"{line.file}:{line.line} in {line.function}"
        yield f"It held {show_bytes(line.bytes)} allocated at {place}" + (f": {finding.code}" if finding.code else "")
    if message.retries == float("inf"):
        yield "Ray retries the task without end, so the job will look as if it hangs."


def _what_happened(message: Message, who: str, where: str) -> str:
    if message.cause == "ray_memory_monitor":
        many = message.killed or len(message.victims)
        whom = who if message.victims else f"{many} workers" if many else "workers"
        return f"Ray's memory monitor killed {whom}{where}, because the node ran low on memory."
    if message.cause == "unknown":
        return (
            f"What ended {who}{where} cannot be told from this."
            if message.victims
            else ("This does not say what ended the worker, or whether memory was the reason.")
        )
    return {
        "kernel_oom": f"The kernel's out-of-memory killer killed {who}{where}.",
        "sigkill": f"{who} ended without a word{where}: killed with SIGKILL, and no log says by whom.",
        "crash": f"{who} crashed{where}: a fault in native code, not a lack of memory.",
        "ray_kill": f"{who} was ended by `ray.kill`{where}, on purpose.",
        "node_died": f"The node{where.removeprefix(' on node')} died or cannot be reached.",
        "object_store_full": "The object store is full of objects that are still referred to.",
        "disk_full": "The object store spills to a disk that is full.",
        "memory_error": "Python asked for more memory in one piece than there is, and raised MemoryError.",
    }[message.cause]


_ADVICE = {
    "crash": ("Read the worker's log for the stack: the `.err` file of its pid in the session's logs, or `ray logs`.",),
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
        yield from _memory_advice(message, found, finding.lines)
        return
    if message.cause == "sigkill":
        count = finding.kernel_kills
        counted = f" (it has killed {count} times in this container)" if count else ""
        ask = "`dmesg -T | grep -i 'killed process'`"
        yield f"Ask the node's kernel whether it killed it: {ask}{counted}."
        yield "Else find who does it: `ray stop --force`, a batch system's limit, a container's stop, os._exit."
    yield from _ADVICE.get(message.cause, ())
    if message.cause in ("sigkill", "unknown") and not found:
        yield "Put @profile_memory on what runs there: the next death will come with the line that held most."


def _memory_advice(message: Message, found: tuple[Call, ...], lines: tuple[Line, ...]) -> Iterator[str]:
    names = [call.name for call in found] or [victim.name for victim in message.victims if victim.name]
    name = names[0] if names else "the task"
    held = next((victim.memory for victim in message.victims if victim.memory), None)
    if lines:
        place = f"{Path(lines[0].file).name}:{lines[0].line}"
        yield f"Change what {place} keeps; `raymemprof flamegraph --name {name}` shows all that is held."
    elif not found:
        yield f"Find what {name} holds: put @profile_memory on it, and the next kill comes with the line."
    dead = {victim.pid for victim in message.victims}
    others = [process for process in message.top_processes if process.pid not in dead]
    if others and held and others[0].memory > held:
        most = others[0]
        yield f"See whether `{most.command}` (pid {most.pid}) should use more than it, {show_bytes(most.memory)}."
    if message.idle_memory and message.idle_memory > _MUCH_IDLE:
        option = "RAY_idle_worker_killing_memory_threshold_bytes"
        yield f"Idle workers kept {show_bytes(message.idle_memory)}: have them end sooner with {option}."
    if held:
        ask = f"@ray.remote(memory={int(held * _MARGIN):_})"
        yield f"Run fewer at once: {ask} asks for what {name} needs, or raise its num_cpus."
    else:
        yield f"Run fewer at once: give {name} memory=… or more num_cpus in @ray.remote."
    yield "Keep tasks off the head node, which has the driver and Ray's own processes: `ray start --head --num-cpus=0`."
    if message.cause == "ray_memory_monitor":
        yield "Or give the node more memory; RAY_memory_usage_threshold moves the limit (0.95 by default)."
    else:
        yield "Or give the node, or its container, more memory."
    if message.retries == float("inf"):
        yield "End the retries, which go on without end: RAY_task_oom_retries=3 in the environment of the driver."
