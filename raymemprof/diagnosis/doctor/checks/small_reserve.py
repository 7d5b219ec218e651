"""Nodes where resource isolation reserves too little for the system."""

from __future__ import annotations

from collections.abc import Iterator

from ....display.text import show_bytes
from ...explain.remedies import RESERVE_BUFFER, say
from ..findings import Finding
from ..observed import Observed

__all__ = ["find"]


def find(observed: Observed) -> Iterator[Finding]:
    """Yield a finding for each node where the system uses more than is reserved: the kernel may kill there."""
    for node in observed.nodes:
        used, reserved = node.reserve or (0, 0)
        if used <= reserved:
            continue
        yield Finding(
            severity="warning",
            illness="small_reserve",
            title=f"Resource isolation reserves too little on {observed.where(node.node_id)}: {show_bytes(reserved)}, "
            f"and {show_bytes(used)} is used.",
            name=None,
            node_id=node.node_id,
            evidence=(
                "The reserve is for the raylet, Ray's other parts, the operating system, and programs beside Ray.",
                "If these use more, the node can run out of memory before workers reach their limit: then the kernel "
                "kills, the raylet perhaps, and the node ends.",
            ),
            next_steps=(
                say("reserve_more", memory=used + RESERVE_BUFFER),
                "See what uses it: `ps aux --sort=-rss | head` on that machine.",
            ),
        )
