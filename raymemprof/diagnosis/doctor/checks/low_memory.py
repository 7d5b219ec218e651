"""Nodes that are about to run out of memory."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from ....cluster import KILLED
from ....display.text import show_bytes
from ....reading.catalog.function_names import actor_class
from ...usage.records import NodeUsage
from ...usage.shared_memory import SharedMemoryOwner
from ..findings import Finding
from ..observed import Observed, users
from ..sentences import memory_used, names_of
from ..shared_thresholds import MOST_NAMED, NEARLY_FULL, PLAIN_WORKER

__all__ = ["find"]

_MUCH_SHARED = 0.1
"""An owner of shared memory is named if it has at least this part of the used memory."""


def find(observed: Observed, crowded: set[str | None]) -> Iterator[Finding]:
    """Yield a finding for each node that is about to kill, without the `crowded` ones, which have a finding already."""
    for silent in observed.silent:
        if silent.reason == KILLED:
            yield Finding(
                severity="critical",
                illness="low_memory",
                title=f"Node {silent.node_ip} ({silent.node_id[:8]}…) has no memory left, not even to be looked at.",
                name=None,
                node_id=silent.node_id,
                evidence=(f"{silent.reason}: it was above its limit just then.",),
                next_steps=(
                    "See on that machine what fills it: `ps aux --sort=-rss | head`, then end what is not needed.",
                    f"Ask again then: `raymemprof doctor{observed.arguments}`.",
                    "Have fewer run there at once: memory=… or more num_cpus in @ray.remote.",
                ),
            )
    for node in observed.nodes:
        limit = node.kill_limit
        if node.counted < NEARLY_FULL * limit or node.node_id in crowded:
            continue
        largest = sorted(users(node), key=lambda process: -process.memory)
        steps = []
        forgotten = [one for one in _much_shared(node) if one.user is not None]
        if forgotten:
            names = " and ".join(one.name or "" for one in forgotten)
            steps.append(
                f"See whether {names} is still needed: a file in /dev/shm, or another tmpfs, takes memory until it is "
                "deleted, also when the process that made it was killed."
            )
        if node.unexplained > max(node.workers, node.object_store):
            steps.append("Most of it is not this cluster's: see with `ps aux --sort=-rss | head` whose it is.")
        if largest and largest[0].memory > PLAIN_WORKER:
            name = largest[0].name or largest[0].role
            known = {name for call in observed.calls for name in (call.name, actor_class(call.name))}
            profile = "" if name in known else "put @profile_memory on it, then "
            command = f"raymemprof heap --name {shlex.quote(f'*{name}*')}{observed.arguments}"
            steps.append(f"Find what {name} holds: {profile}`{command}`.")
        steps.append("Or add a node: tasks with memory=… in @ray.remote then go where there is room.")
        yield Finding(
            severity="warning",
            illness="low_memory",
            title=f"{observed.where(node.node_id).capitalize()} is about to run out of memory: "
            f"{node.counted / limit:.0%} of what it may use.",
            name=None,
            node_id=node.node_id,
            evidence=(
                f"It uses {memory_used(node)}.",
                f"Tasks, actors and drivers take {show_bytes(node.workers)} ({names_of(largest)}), the object store "
                f"{show_bytes(node.object_store)}, Ray itself {show_bytes(node.system)}, other shared memory "
                f"{show_bytes(node.shared_memory or 0)}, all else {show_bytes(node.unexplained)}.",
                *(f"Of the shared memory, {one}." for one in _much_shared(node)),
            ),
            next_steps=tuple(steps),
        )


def _much_shared(node: NodeUsage) -> list[SharedMemoryOwner]:
    """Return the largest owners of shared memory that have a good part of the used memory."""
    return [one for one in node.shared_memory_owners if one.memory >= _MUCH_SHARED * node.used][:MOST_NAMED]
