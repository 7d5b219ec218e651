"""A head node that is crowded, since tasks or actors run there beside the driver and Ray's own parts."""

from __future__ import annotations

from collections.abc import Iterator

from ....display.text import show_bytes
from ..findings import Finding
from ..kill_sentences import about_kills
from ..observed import KillGroup, Observed, users
from ..sentences import memory_used, names_of
from ..shared_thresholds import PLAIN_WORKER

__all__ = ["find"]

_CROWDED = 0.8
"""Part of the limit above which a head node is crowded: the margin of `advise()` is used up."""
_OWN = 0.25
"""Part of the limit that drivers and Ray's own parts may take before they are what crowds the node: with an
equal node for tasks, a job has room there for a third more."""
_HEADS = ("gcs", "dashboard", "raylet", "agent")


def find(observed: Observed, groups: list[KillGroup]) -> Iterator[Finding]:
    """Yield a finding where the head runs tasks or actors, and has too little memory left for them."""
    head = next((node for node in observed.nodes if node.is_head), None)
    if head is None:
        return
    limit = head.kill_limit
    drivers = list(users(head, "driver"))
    own = head.system + sum(process.counted for process in drivers)
    working = sorted(users(head, "task", "actor", "worker"), key=lambda process: -process.memory)
    killed = [group for group in groups if head.node_id in group.nodes]
    others = [node_id for node_id, cpus in observed.cpus.items() if node_id != head.node_id and cpus > 0]
    is_full, is_own = head.counted >= _CROWDED * limit, own >= _OWN * limit
    runs = observed.cpus.get(head.node_id, 0) > 0 and (bool(working) or bool(killed))
    # With room for all there is no problem. With no other node there is nowhere else to run: then the head is the
    # problem only if its own part is large.
    if not runs or not (is_full or killed) or not (is_own or (is_full and others)):
        return
    evidence = [
        f"It uses {memory_used(head)}.",
        f"Drivers take {show_bytes(own - head.system)} of it ({names_of(drivers)}), Ray's own parts "
        f"{show_bytes(head.system)} ({names_of(process for process in head.processes if process.role in _HEADS)}).",
    ]
    if working:
        memory = sum(process.counted for process in working)
        evidence.append(f"Beside them, tasks and actors take {show_bytes(memory)} ({names_of(working)}).")
    for group in killed:
        evidence += about_kills(observed, group)
    steps = [
        'Keep tasks and actors off it: `ray start --head --num-cpus=0` (in KubeRay rayStartParams: num-cpus: "0").'
    ]
    if others:
        steps.append(
            f"They then run elsewhere: the cluster has {sum(observed.cpus[one] for one in others):g} CPUs besides."
        )
    else:
        steps.append("It is the only node: add one for the work, `ray start --address=<head>:6379` there.")
    largest = max(drivers, key=lambda process: process.memory, default=None)
    if largest is not None and largest.memory > PLAIN_WORKER:
        who = " ".join(filter(None, ("the driver", largest.name, f"(pid {largest.pid})")))
        steps.append(
            f"Have {who} hold less: keep references, not results, or run it elsewhere with "
            "`ray job submit --entrypoint-num-cpus=1`."
        )
    yield Finding(
        severity="critical" if killed and is_own else "warning",
        illness="head_node",
        title=f"The head node {head.node_ip} is crowded: tasks and actors run beside the driver and Ray's own parts.",
        name=None,
        node_id=head.node_id,
        evidence=tuple(evidence),
        next_steps=tuple(steps),
        kill_count=sum(kill.node_id == head.node_id for group in killed for kill in group.kills),
    )
