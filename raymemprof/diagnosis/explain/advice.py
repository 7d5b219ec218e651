"""What to do after a death or an error, by its cause: Ray's advice, with the user's names and numbers."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator

from ... import cluster
from ...display.text import show_bytes
from ...reading.catalog.records import Call
from ...reading.logs.facts import Message, TopProcess, Victim, called
from ...reading.logs.secrets import program
from ..advise.advise import MARGIN
from ..advise.ray_data import asking
from ..advise.workloads import is_rays_own, workload_of
from .considered import was_idle
from .families import is_mainly, largest_family, steps
from .findings import Finding
from .remedies import BY_CAUSE, BY_LACK, RESERVE_BUFFER, say

__all__ = ["advise_on", "largest_call", "name_of"]

_MUCH_IDLE = 100 * 2**20
_OLD_THRESHOLD = "RAY_MEMORY_MONITOR_ERROR_THRESHOLD"
_SAME_SHARE = 0.006
"""By how much two thresholds may differ that are the same: a message has figures of two decimals."""
_SMALL_PART = 0.25
"""Part of what the node uses up to which the listed processes are not what fills it."""
_THRESHOLD, _FIRST_THRESHOLD = "RAY_memory_usage_threshold", "RAY_memory_usage_threshold_fraction"
"""The variable that moves Ray's limit, and its name in Ray 2.0 and 2.1."""
_LITTLE = 100 * 2**20
"""Memory of a process, in bytes, up to which it was not what filled its node."""
_LITTLE_OF_ALL = 0.02
"""The same as a part of what its node used."""
_DWARFED = 10
"""Nor was it where another process had so many times as much."""
_MOST_ALIKE, _ALIKE = 3, 0.5
"""Processes that are named beside the largest one, and the part of its memory that they have at least."""
_OF_SYSTEM = ("cgroup", "mac's swap")
"""What has too little where the kernel killed, or could not, and names no process."""
_NOT_OF_RAY = ("descriptors", "build", "runner", "lambda")
"""What has too little where nothing of Ray's ended, that could be profiled."""
_RENAMED = "pt_main_thread"
"""How PyTorch names a process that imports it, also one of Ray's."""
_ALONE = 0.5
"""Part of what its node used from which on the only process of its name is what is to be made smaller."""
_OBJECT_STORE, _LARGEST_OBJECT_STORE = 0.3, 200 * 10**9
"""What Ray sets aside for objects by default, of a node's memory, and bytes at most; tasks can ask for the rest."""


def name_of(victim: Victim, finding: Finding) -> str | None:
    """What ran in a process: by its profiled call, else by its title; what Ray leased it for may be long over."""
    calls = [call for call in finding.calls if call.pid == victim.pid and call.worker_id == victim.worker_id]
    if calls:
        return calls[-1].name
    name = victim.name or ""
    titles = {process.pid: process.command for process in finding.message.top_processes}
    title = re.fullmatch(r"ray::((\w+)\.\w+)", titles.get(victim.pid or 0, ""))
    if title and (victim.actor_id is not None or name.endswith(f"{title[2]}.__init__")):
        return title[1]
    return victim.name


def largest_call(finding: Finding) -> Call:
    """The call that `finding.lines` are of."""
    traced = [call for call in finding.calls if call.capture is not None] or list(finding.calls)
    return max(traced, key=lambda call: call.peak_memory)


def advise_on(finding: Finding) -> Iterator[str]:
    """The page's advice, in its order, with the user's names and numbers: `remedies` has the words."""
    message, found = finding.message, finding.calls
    if message.cause in ("ray_memory_monitor", "kernel_oom") and message.lacks not in _OF_SYSTEM:
        yield from _memory_advice(finding)
        return
    if (
        message.cause == "unknown"
        and not message.is_named
        and message.lacks is None
        and not (finding.tells_of_death or message.victims or message.crashed is not None)
    ):
        yield say("only_quoted") if finding.is_quoted else say("give_it_all")
        yield say("ask_the_doctor")
        return
    if finding.suspects:
        yield say("name_the_worker")
    if message.cause == "sigkill":
        count = finding.kernel_kills
        counted = f" (it has killed {count} times in this container)" if count else ""
        yield say("ask_the_kernel", ask="`dmesg -T | grep -i 'killed process'`", counted=counted)
        yield say("find_the_killer")
    if message.lacks == "operator" and message.needs:
        yield say("data_asks_for_none", memory=int(message.needs * MARGIN))
    elif message.lacks == "system" and message.needs:
        yield say("reserve_more", memory=message.needs + RESERVE_BUFFER)
    elif message.lacks == "store" and message.needs:
        yield say("larger_store", memory=message.needs)
        return
    if message.cause == "ray_kill" and message.victims and workload_of(message.victims[0].name).kind == "Ray Serve":
        yield say("serve_ended_it")
        return
    yield from map(say, BY_LACK.get(message.lacks or "", BY_CAUSE.get(message.cause, ())))
    if message.cause in ("sigkill", "unknown") and message.lacks not in _NOT_OF_RAY and not found:
        yield say("profile")


def _memory_advice(finding: Finding) -> Iterator[str]:
    message = finding.message
    # What to make smaller is the largest of those that ran something: an idle worker is only in the way.
    largest = max(
        (victim for victim in message.victims if name_of(victim, finding)),
        key=lambda victim: victim.memory or 0,
        default=None,
    )
    name = (name_of(largest, finding) if largest else None) or "the task"
    held = largest.memory if largest else None
    family = largest_family(finding.calls)
    are_named = bool(message.victims) and (message.killed or 0) <= len(message.victims)
    are_idle = are_named and all(was_idle(victim, message) for victim in message.victims)
    if family is not None:
        held = max(held or 0, family.peak_memory)
        yield from steps(family)
    yield from _what_held(finding, name, held, are_idle=are_idle, is_of_children=is_mainly(family))
    if not message.victims and message.statement is None:
        yield say("list_the_kills")
    yield from _about_the_largest(message, held)
    if message.idle_memory and message.idle_memory > _MUCH_IDLE:
        yield say("idle_workers", size=show_bytes(message.idle_memory))
    if finding.calls or (_is_of_ray(message, name) and not are_idle and not is_rays_own(name)):
        yield from _smaller_or_fewer(message, name, held, largest)
    if finding.is_on_cluster and _is_on_head_of_several(message):
        yield say("spare_the_head")
    yield from _about_the_limit(finding, name)
    if message.retries == float("inf"):
        yield say("end_the_retries")


def _what_held(finding: Finding, name: str, held: int | None, *, are_idle: bool, is_of_children: bool) -> Iterator[str]:
    """Say which line held the memory, or how to find it out."""
    message, lines = finding.message, finding.lines
    if lines and not is_of_children:
        call, place = largest_call(finding), os.path.basename(lines[0].location)
        shown = f"raymemprof flamegraph --name {shlex.quote(call.name)} --status killed"
        if call.actor_id is not None and call.capture is not None:  # what all its calls left
            shown = f"raymemprof flamegraph --view leaks {shlex.quote(str(call.capture))}"
        if finding.is_on_cluster:
            shown += " --address auto"
        yield say("change_the_line", place=place, command=shown)
    elif are_idle and not finding.calls:
        yield say("only_idle")
    elif not finding.calls and message.statement is not None:  # Ray 1.x refused to run a task
        if fills := _fills(message):
            yield say("the_largest", process=_named(fills), size=show_bytes(fills.memory))
        yield say("find_what_fills")
    elif not finding.calls and is_rays_own(name):
        yield say("rays_own", name=name)
    elif not finding.calls and _is_of_ray(message, name):
        if not _is_dwarfed(message, held) and not workload_of(name).is_library:
            yield say("find_the_line", name=name)
    elif name == "raylet":
        yield say("raylet_died")
    elif name == "gcs_server":
        yield say("gcs_died")
    elif name == _RENAMED and not finding.calls:
        yield say("renamed", name=name)
    elif not finding.calls:
        yield say("not_of_ray", name=name)


def _about_the_largest(message: Message, held: int | None) -> Iterator[str]:
    """Name other processes, where they had more than what was killed."""
    others = _others(message)
    if others and message.statement is not None and (listed := _small_part(message)):
        yield say("fills_unlisted", listed=show_bytes(listed), used=show_bytes(message.used))
    elif others and message.statement is not None and others[0].memory >= _LITTLE and not _fills(message):
        yield say("the_largest", process=_named(others[0]), size=show_bytes(others[0].memory))
    elif others and held and others[0].memory > held:
        most = others[0]
        alike = [one for one in others[1:_MOST_ALIKE] if one.memory > max(held, most.memory * _ALIKE)]
        said = [f"{_named(one)} had {show_bytes(one.memory)}" for one in alike]
        more = f" {' and '.join(said)}, more than that, too." if said else ""
        yield say("look_at_the_largest", process=_named(most), size=show_bytes(most.memory), more=more)


def _about_the_limit(finding: Finding, name: str) -> Iterator[str]:
    """Say how to move the limit, or to have more."""
    message = finding.message
    if message.cause != "ray_memory_monitor":
        yield say("more_memory")
        if finding.calls or (_is_of_ray(message, name) and message.victims):
            yield say("isolate")
    elif message.reason and "cgroup" in message.reason:
        yield say("move_the_reserve")
    else:
        variable = message.moved_by or _THRESHOLD
        isolation = ", and with resource isolation `ray start --system-reserved-memory` does"
        default = "0.9" if variable == _FIRST_THRESHOLD else "0.95"
        default = ", ".join(filter(None, (f"{default} by default", _share_here(message, default))))
        isolation *= variable == _THRESHOLD
        if variable == _OLD_THRESHOLD:
            isolation = ", in the versions of Ray that have it"
        yield say("move_the_threshold", variable=variable, default=default, isolation=isolation)


def _named(process: TopProcess) -> str:
    return called(f"`{program(process.command)}`" if process.command.strip() else None, process.pid, "a process")


def _fills(message: Message) -> TopProcess | None:
    """The largest process, where it has much of what the node used."""
    largest = next(iter(_others(message)), None)
    return largest if largest and message.used and largest.memory >= _SMALL_PART * message.used else None


def _small_part(message: Message) -> int:
    """What the listed processes had together, in bytes; 0 where that is much of what the node used."""
    listed = sum(process.memory for process in message.top_processes)
    return listed if message.used and listed < _SMALL_PART * message.used else 0


def _share_here(message: Message, default: str) -> str | None:
    """The threshold that a message has, as a part of the node's memory, where it is another than the default."""
    if message.threshold is None or not message.limit:
        return None
    share = round(message.threshold / message.limit, 2)
    return None if abs(share - float(default)) < _SAME_SHARE else f"{share:g} here"


def _others(message: Message) -> list[TopProcess]:
    """The largest processes of the node that were not killed, the largest first."""
    dead = {victim.pid for victim in message.victims}
    return [process for process in message.top_processes if process.pid not in dead]


def _is_dwarfed(message: Message, held: int | None) -> bool:
    """Whether another process had so much that what was killed made no difference."""
    return bool(held) and any(process.memory >= _DWARFED * (held or 0) for process in _others(message))


def _is_of_ray(message: Message, name: str) -> bool:
    """Whether what was killed is a task or an actor: what only the kernel names may be any program."""
    return message.cause != "kernel_oom" or name.startswith("ray::") or not message.victims


def _is_on_head_of_several(message: Message) -> bool:
    living = cluster.living_nodes()
    return len(living) > 1 and message.node_id in living and living[message.node_id].is_head


def _smaller_or_fewer(message: Message, name: str, held: int | None, victim: Victim | None) -> Iterator[str]:
    """What has the node run fewer of it at once, or one of it take less, whichever would help."""
    if held and (held < max(_LITTLE, _LITTLE_OF_ALL * (message.used or 0)) or _is_dwarfed(message, held)):
        yield say("had_little", name=name, size=show_bytes(held))
        return
    title = next((p.command for p in message.top_processes if victim is not None and p.pid == victim.pid), None)
    is_actor = victim is not None and victim.actor_id is not None
    names = (victim.name if victim is not None else None, title, name)
    runs = workload_of(*names, is_actor=is_actor)
    if not held:
        if runs.is_library:
            yield say("ask_library", ask=asking(runs, None, *names), fewer=runs.fewer)
            yield say("smaller_batches", smaller=runs.smaller)
        else:
            yield say("ask_unmeasured", name=name)
        return
    wanted, (most, is_default) = int(held * MARGIN), _most_that_fits(message)
    if most is not None and wanted > most:
        by_default = " by Ray's default" * is_default
        yield say("too_large", name=name, wanted=show_bytes(wanted), most=show_bytes(most) + by_default)
    elif victim is not None and message.used and held >= _ALONE * message.used and _is_alone(message, victim, title):
        used = show_bytes(message.used)
        yield say("one_alone", name=name, held=show_bytes(held), used=used, smaller=runs.smaller)
        return
    else:
        yield say("ask", ask=asking(runs, wanted, *names), name=name, fewer=runs.fewer)
    if runs.is_library:
        yield say("smaller_batches", smaller=runs.smaller)


def _is_alone(message: Message, victim: Victim, title: str | None) -> bool:
    """Whether the message shows that no other process of its name ran."""
    considered = [one for one in message.considered if one.name == victim.name]
    alike = [one for one in message.top_processes if title is not None and one.command == title]
    return len(considered) == 1 if message.considered else len(alike) == 1


def _most_that_fits(message: Message) -> tuple[int | None, bool]:
    """The most that a task may ask for on the node: what Ray counts as its memory; and whether that is its default."""
    nodes = cluster.nodes() if message.node_id is not None and cluster.is_connected() else ()
    resources = [node.resources for node in nodes if node.node_id == message.node_id]
    asked = [int(one["memory"]) for one in resources if "memory" in one]
    is_default = not asked and message.limit is not None and message.cause == "ray_memory_monitor"
    if is_default and message.limit is not None:
        asked = [message.limit - round(min(_OBJECT_STORE * message.limit, _LARGEST_OBJECT_STORE))]
    known = [size for size in (message.threshold, message.limit) if size is not None]
    return min(known + asked, default=None), is_default
