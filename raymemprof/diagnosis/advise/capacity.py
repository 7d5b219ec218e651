"""What a node has for calls, how many of a size fit it, and the `memory=` and `num_cpus=` that admit no more."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from ... import cluster, host, kill_threshold
from ..usage.records import NodeUsage, Usage

__all__ = [
    "GRAIN",
    "Capacity",
    "at_once",
    "by_memory",
    "capacities",
    "fitting",
    "held_already",
    "memory_for",
    "num_cpus_for",
]

GRAIN = 1_000_000
"""`needs` and `memory` are multiples of this, so that they can be read."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a node has for calls. Bytes."""

    node_id: str
    node_ip: str
    limit: int
    used: int
    cpus: float
    resource: int | None
    """What Ray takes its memory to be, for `memory=`."""
    idle: tuple[int, ...] = ()
    """What each of its idle workers holds."""
    workers: Mapping[int, int] = field(default_factory=dict)
    """What each of the others that run tasks or actors holds, by pid."""

    @property
    def left(self) -> int:
        """What calls can have in all."""
        return max(self.limit - self.used + sum(self.idle), 0)

    @property
    def alone(self) -> int:
        """What calls could have in all if no other task or actor ran."""
        return max(self.left + sum(self.workers.values()), 0)


def capacities(now: Usage | None) -> list[Capacity]:
    """Return the nodes with what is used of them; None for this machine alone."""
    if now is None:
        memory = host.memory()
        name = socket.gethostname()
        threshold = kill_threshold.from_settings(memory.total)
        return [Capacity(name, name, threshold, memory.used, float(os.cpu_count() or 1), None)]
    resources = {}
    if cluster.is_connected():
        resources = {node.node_id: node.resources for node in cluster.nodes()}
    return [_node(node, resources.get(node.node_id, {})) for node in now.nodes]


def _node(node: NodeUsage, resources: Mapping[str, float]) -> Capacity:
    idle, workers = [], {}
    for process in node.processes:
        # The worker that reads the node's memory for us is idle again when we are done.
        if process.role == "idle worker" or (process.role == "task" and cluster.is_ours(process.name)):
            idle.append(process.memory)
        elif process.role in ("task", "actor", "worker"):
            workers[process.pid] = process.memory
    return Capacity(
        node.node_id,
        node.node_ip,
        node.kill_limit,
        node.counted,
        resources.get("CPU", 0.0),
        int(resources["memory"]) if "memory" in resources else None,
        tuple(idle),
        workers,
    )


def held_already(theirs: frozenset[tuple[str, int]], node: Capacity) -> list[int]:
    """What the workers that these calls run in, or would, hold already: an idle one is used before a new one starts."""
    running = (memory for pid, memory in node.workers.items() if (node.node_id, pid) in theirs)
    return sorted([*node.idle, *running], reverse=True)


def fitting(node: Capacity, memory: int, held: list[int]) -> int:
    """Return how many processes of a size a node has room for, those that are there growing to it first."""
    free = node.limit - node.used
    for count, already in enumerate(held):
        free -= memory - already
        if free < 0:
            return count
    return len(held) + max(free // memory, 0)


def at_once(node: Capacity, memory: int, fits: int) -> int:
    """Return how many are to run at once: as many as fit, and no more than `memory=` admits where Ray has less."""
    return min(fits, (node.resource or 0) // memory or fits)


def num_cpus_for(nodes: list[tuple[float, int]]) -> float:
    """Return the CPUs each call must take, so that of each node's CPUs no more calls than given can be had.

    The shortest number that does it where CPUs are scarcest, a whole one if there is one. Nodes that not even one fits
    cannot be kept free by it.
    """
    usable = [(cpus, most) for cpus, most in nodes if cpus >= 1 and most >= 1]
    if not usable:
        return int(max((cpus for cpus, _ in nodes), default=1)) or 1
    cpus, most = max(usable, key=lambda node: node[0] / (node[1] + 1))
    if cpus / (most + 1) < 1:
        return 1
    for scale in (1, 10, 100, 1_000):
        number = math.floor(cpus / most * scale) / scale
        if number > cpus / (most + 1):
            break
    return int(number) if number == int(number) else number


def memory_for(needs: int, nodes: list[Capacity], kind: str) -> int:
    """Return what to ask for: what is needed, or the least above it with which Ray runs no more at once than fit."""
    memory = needs
    for node in nodes:
        room = node.alone // needs
        if room and by_memory(node, needs, kind) > room:
            assert node.resource is not None
            # Of so much Ray's figure holds less than one more; it is no more than the figure, so it can be had there.
            memory = max(memory, min((node.resource // (room + 1) // GRAIN + 1) * GRAIN, node.resource))
    return memory


def by_memory(node: Capacity, memory: int, kind: str) -> int:
    """Return how many `memory=` admits on a node, beside one CPU each where they take one."""
    if node.resource is None:
        return 0
    admitted = node.resource // memory
    return admitted if kind == "actor" else min(admitted, int(node.cpus))
