"""Object stores that are full, or have written objects to disk."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from ....cluster import ObjectReferences
from ....display.text import show_bytes
from ...usage.records import SPILLS, NodeUsage
from ..findings import Finding, Unclear
from ..observed import Observed
from ..shared_thresholds import MOST_NAMED

__all__ = ["find"]

_SITES = (
    "To see where references are made, set `RAY_record_ref_creation_sites=1` in the environment of `ray start` and of "
    "the driver."
)


def find(observed: Observed) -> Iterator[Finding | Unclear]:
    """Yield a finding for each node whose object store is nearly full, or spilled."""
    for node in observed.nodes:
        # Not all that is used: a store also has copies of other nodes' objects, and drops them when it needs the room.
        used, capacity, spilled = node.object_store_kept, node.object_store_capacity, node.spilled or 0
        if used is None or not capacity:
            yield Unclear("object_store", f"what objects take on {observed.where(node.node_id)} is not known")
            continue
        is_full = node.is_store_full
        if not is_full and not spilled:
            continue
        where = observed.where(node.node_id)
        evidence = [f"Objects take {show_bytes(used)} of {show_bytes(capacity)}; above {SPILLS:.0%} Ray spills."]
        if spilled:
            evidence.append(f"{show_bytes(spilled)} were written to disk since the node started.")
        evidence += map(functools.partial(_referred_to, node), node.references[:MOST_NAMED])
        is_untold = any(one.call_site is None for one in node.references[:MOST_NAMED])
        yield Finding(
            # A store may spill; but spilling more than its capacity, or being full now, costs time.
            severity="warning" if is_full or spilled >= capacity else "info",
            illness="object_store",
            title=f"The object store of {where} is nearly full."
            if is_full
            else f"The object store of {where} spilled.",
            name=None,
            node_id=node.node_id,
            evidence=tuple(evidence),
            next_steps=(
                "See who refers to what: `ray memory --stats-only`, then `ray memory`; del what is done with.",
                *([_SITES] if is_untold else []),
                "Return less at a time: yield pieces from a generator task, and take them as they come.",
                f"Or start Ray there with `--object-store-memory={2 * capacity}`, if the node has memory to spare.",
            ),
        )


def _referred_to(node: NodeUsage, found: ObjectReferences) -> str:
    who = next((one for one in node.processes if one.pid == found.pid), None)
    named = f"{(who.name or who.role) if who is not None else 'a process'} (pid {found.pid})"
    objects = f"{found.object_count} objects" if found.object_count > 1 else "an object"
    where = f", made at {found.call_site}" if found.call_site else ""
    return f"{named} refers to {objects} of {show_bytes(found.size)}: {found.kind}{where}."
