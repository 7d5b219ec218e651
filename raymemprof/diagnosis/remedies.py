"""What to do after a death or an error, by its cause: Ray's advice, with the user's names and numbers."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator

from .. import cluster
from ..reading.catalog import Call
from ..reading.logs.facts import Message, Victim
from ..rows import show_bytes
from .families import is_mainly, largest_family, steps
from .scene import Finding

__all__ = ["largest_call", "name_of", "remedies"]

_MARGIN = 1.2
_MUCH_IDLE = 100 * 2**20
_LITTLE = 100 * 2**20
"""Memory of a process, in bytes, up to which it was not what filled its node."""
_OBJECT_STORE, _LARGEST_OBJECT_STORE = 0.3, 200 * 10**9
"""What Ray sets aside for objects by default, of a node's memory, and bytes at most; tasks can ask for the rest."""


def name_of(victim: Victim, finding: Finding) -> str | None:
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


def largest_call(finding: Finding) -> Call:
    """The call that `finding.lines` are of."""
    traced = [call for call in finding.calls if call.capture is not None] or list(finding.calls)
    return max(traced, key=lambda call: call.peak_memory)


_ADVICE = {
    "container_limit": (
        "Raise the container's memory limit, or lower Ray's kill threshold (`RAY_memory_usage_threshold`). In a "
        "container Ray takes its limit as the node's memory and kills workers at 95 % of it, perhaps too late.",
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
    "preempted": ("Run what must not be lost on nodes that are not preempted.",),
    "warning": (
        "Nothing has to be done at once; `raymemprof usage` and `raymemprof doctor` say what uses memory now.",
    ),
    "crash": ("Read the worker's log for the stack: the `.err` file of its pid in the session's logs, or `ray logs`.",),
    "exit": ("Look for `sys.exit`, `exit_actor()`, or who sends SIGTERM: a batch system, or a container's stop.",),
    "ray_kill": ("Look for `ray.kill` in the code that holds the actor's handle.",),
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


def remedies(finding: Finding) -> Iterator[str]:
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
        (victim for victim in message.victims if name_of(victim, finding)),
        key=lambda victim: victim.memory or 0,
        default=None,
    )
    name = (name_of(largest, finding) if largest else None) or "the task"
    held = largest.memory if largest else None
    family = largest_family(finding.calls)
    if family is not None:
        held = max(held or 0, family.peak_memory)
        yield from steps(family)
    if lines and not is_mainly(family):
        call, place = largest_call(finding), os.path.basename(lines[0].place)
        shown = f"raymemprof flamegraph --name {shlex.quote(call.name)} --status killed"
        if call.actor_id is not None and call.capture is not None:  # what all its calls left
            shown = f"raymemprof flamegraph --view leaks {shlex.quote(str(call.capture))}"
        if finding.is_on_cluster:
            shown += " --address auto"
        yield f"Change what {place} keeps; `{shown}` shows all that is held."
    elif not finding.calls and _is_of_ray(message, name):
        yield f"Find what {name} holds: put @profile_memory on it, and the next kill comes with the line."
    elif name == "raylet":
        yield "The raylet's death ended its node, with all that ran there. Find what filled it: `raymemprof usage`."
    elif not finding.calls:
        yield f"Find what {name} is: by its name it is no task and no actor. `raymemprof usage` shows Ray's share."
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
    if finding.calls or _is_of_ray(message, name):
        yield _fewer_at_once(message, name, held)
    if finding.is_on_cluster and _is_on_head_of_several(message):
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


def _is_of_ray(message: Message, name: str) -> bool:
    """Whether what was killed is a task or an actor: what only the kernel names may be any program."""
    return message.cause != "kernel_oom" or name.startswith("ray::") or not message.victims


def _is_on_head_of_several(message: Message) -> bool:
    alive = [node for node in cluster.nodes() if node.is_alive]
    return len(alive) > 1 and any(node.is_head and node.node_id == message.node_id for node in alive)


def _fewer_at_once(message: Message, name: str, held: int | None) -> str:
    if held and held < _LITTLE:
        return f"{name} had little, {show_bytes(held)}: see what else filled the node, with `raymemprof usage`."
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
    nodes = sys.modules["ray"].nodes() if message.node_id is not None and cluster.is_connected() else ()
    resources = [node["Resources"] for node in nodes if node["NodeID"] == message.node_id]
    asked = [int(one["memory"]) for one in resources if "memory" in one]
    if not asked and message.limit is not None and message.cause == "ray_memory_monitor":
        asked = [message.limit - round(min(_OBJECT_STORE * message.limit, _LARGEST_OBJECT_STORE))]
    return min(known + asked, default=None)
