"""Says which of several nodes each kill was on, and what that node used."""

from __future__ import annotations

from collections.abc import Iterable

from ....display.text import show_bytes
from ..facts import Message, called
from ..largest import largest

__all__ = ["of_each_node", "places_of"]

_MOST_NODES = 10


def places_of(nodes: Iterable[tuple[str | None, str | None]]) -> tuple[str, ...]:
    """Return the addresses, else the ids, of several nodes; none where one of them has neither, or there is but one."""
    places = [ip or node_id for ip, node_id in nodes]
    named = tuple(dict.fromkeys(place for place in places if place))
    return named if len(named) > 1 and all(places) else ()


def of_each_node(events: Iterable[Message]) -> tuple[str, ...]:
    """Return a sentence on each kill of which the node is known."""
    said = []
    for event in events:
        place = event.node_ip or (f"{event.node_id[:8]}…" if event.node_id else None)
        if place is None or not event.victims:
            continue
        who = ", ".join(called(victim.name, victim.pid) for victim in event.victims)
        if event.used and event.limit:
            who += f", when {show_bytes(event.used)} of {show_bytes(event.limit)} were used"
            who += f" (Ray kills above {show_bytes(event.threshold)})" if event.threshold else ""
        said.append(" ".join(filter(None, (f"On node {place}: {who}.", largest(event)))))
    different = list(dict.fromkeys(said))
    more = [f"The text tells of {len(different) - _MOST_NODES} more kills."] if len(different) > _MOST_NODES else []
    return (*different[:_MOST_NODES], *more)
