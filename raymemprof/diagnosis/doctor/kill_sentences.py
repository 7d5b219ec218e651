"""What findings say of tasks and actors that were killed for memory, and what to do about them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from ...display.text import show_bytes
from ...reading.reports.lines import Lines
from ..advise.advise import MARGIN
from ..advise.ray_data import asking
from ..advise.workloads import Workload, workload_of
from ..explain.families import is_mainly, largest_family
from ..explain.families import steps as children_steps
from ..explain.families import told as children_told
from .concurrency import most_at_once
from .observed import KillGroup, Observed
from .sentences import flamegraph_command, memory_used

__all__ = ["about_fit", "about_kills", "about_parallel", "ask_for_memory", "make_smaller", "runs_in"]


def about_kills(observed: Observed, group: KillGroup) -> Iterator[str]:
    """Say who killed processes of a group, how many, when and where the last of them."""
    who = {"kernel_oom": "The kernel's out-of-memory killer"}.get(group.last.cause, "Ray's memory monitor")
    count = len(group.kills)
    often = f"{count} processes of it, the last" if count > 1 else "it"
    had = f", when it used {show_bytes(group.last.memory)}" if group.last.memory else ""
    yield f"{who} killed {often} at {observed.moment(group.last.when)} on {observed.where(group.last.node_id)}{had}."
    family = largest_family(group.calls)
    if family is not None:
        yield children_told(family)


def about_parallel(observed: Observed, group: KillGroup) -> Iterator[str]:
    """Say how many ran at once on that node, where it was more than one."""
    if group.last.node_id is not None:
        at_once = most_at_once(
            observed, group.name, group.is_actor, group.last.node_id, group.last.when + timedelta(seconds=1)
        )
        if at_once > 1:
            yield f"{at_once} of it ran at once there."


def about_fit(observed: Observed, group: KillGroup) -> Iterator[str]:
    """Say whether one of them fits the node now, or what the node uses."""
    advised = observed.recommendation_for(group.name, group.is_actor)
    node = observed.node(group.last.node_id)
    if node is None:
        return
    if advised is not None and advised.fits.get(node.node_id) == 0:
        free = node.left
        yield (
            f"Not a single one fits {observed.where(node.node_id)} now: it takes {show_bytes(advised.needs)}, and "
            f"{show_bytes(free)} are left below the {show_bytes(node.kill_limit)} above which {node.killer} kills "
            "there."
        )
    else:
        yield f"{observed.where(node.node_id).capitalize()} now uses {memory_used(node)}."


def make_smaller(observed: Observed, group: KillGroup, lines: Lines) -> Iterator[str]:
    """Say how to find, and change, what it held."""
    if not group.is_named:
        yield "Find out what ran there: with @profile_memory on the job's tasks and actors the next kill has a name."
    family = largest_family(group.calls)
    if family is not None:
        yield from children_steps(family)
    if not group.is_named or is_mainly(family):
        return
    if lines:
        command = flamegraph_command(observed, group.name, group.is_actor)
        yield f"Change what {lines[0].location} keeps; {command} shows all."
    elif group.calls:
        why = group.calls[0].note or "its capture is gone or cannot be read"
        yield f"Find the line: it was profiled, but what it held is not known ({why})."
    else:
        yield f"Find the line: put @profile_memory on {group.name}, and the next kill comes with what it held."


def ask_for_memory(observed: Observed, group: KillGroup) -> Iterator[str]:
    """Say how it asks Ray for the memory that it needs."""
    if not group.is_named:
        return
    advised = observed.recommendation_for(group.name, group.is_actor)
    if advised is not None:
        memory = advised.memory
        if advised.basis == "seen" and group.memory is not None:  # it may have risen since the last look
            memory = max(memory, int(group.memory * MARGIN))
    elif group.memory is not None:
        memory = int(group.memory * MARGIN)
    else:
        yield f"Say what {group.name} needs: memory=… or more num_cpus in @ray.remote."
        return
    runs = runs_in(group)
    ask = asking(runs, memory, group.name, *_shown(group))
    yield f"Say what it needs, so that no more start than fit: {ask} on {group.name}."
    if runs.is_library:
        yield runs.smaller
    if advised is None or any(advised.fits.values()):
        yield "Where that does not fit, give it a larger node."


def runs_in(group: KillGroup) -> Workload:
    """Return what kind of workload ran in the killed processes, as their names and titles show it."""
    return workload_of(*_shown(group), is_actor=group.is_actor)


def _shown(group: KillGroup) -> list[str | None]:
    titles = {process.pid: process.command for kill in group.kills for process in kill.top_processes}
    return [kill.name for kill in group.kills] + [titles.get(kill.pid) for kill in group.kills if kill.pid is not None]
