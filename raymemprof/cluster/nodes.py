"""The nodes of the cluster, and those that did not answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..display.record import Record

__all__ = [
    "MissingNode",
    "Node",
    "living_nodes",
    "missing",
    "nodes",
]


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster: its id, its IP address, whether it is the head, and how much it has of each resource."""

    node_id: str
    node_ip: str
    is_head: bool
    is_alive: bool
    resources: Mapping[str, float] = field(compare=False)


@dataclass(frozen=True, slots=True)
class MissingNode(Record):
    """A node that did not answer.

    Attributes:
        node_id: its id.
        node_ip: its IP address.
        reason: why it did not, in a few words.
    """

    node_id: str
    node_ip: str
    reason: str

    def __str__(self) -> str:
        return f"node {self.node_ip} ({self.node_id[:8]}…) is missing here: {self.reason}"


def nodes() -> list[Node]:
    """Return the nodes of the cluster, the head first, also those that are gone."""
    found = [
        Node(
            node_id=node["NodeID"],
            node_ip=node["NodeManagerAddress"],
            is_head="node:__internal_head__" in node["Resources"],
            is_alive=node["Alive"],
            resources=node["Resources"],
        )
        for node in sys.modules["ray"].nodes()
    ]
    return sorted(found, key=lambda node: (not node.is_head, node.node_ip, node.node_id))


def living_nodes() -> dict[str, Node]:
    """Return the nodes that are there, by their ids, the head first."""
    return {node.node_id: node for node in nodes() if node.is_alive}


def missing(node_id: str, why: str) -> MissingNode:
    """Return what is shown for a node that does not answer."""
    node_ips = {node.node_id: node.node_ip for node in nodes()}
    return MissingNode(node_id, node_ips.get(node_id, "of unknown address"), why)
