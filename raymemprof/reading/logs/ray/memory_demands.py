"""What Ray and its libraries say of memory that is asked for: demands that wait, and what is too large to send."""

from __future__ import annotations

from dataclasses import replace

from ....display.text import show_bytes
from ..facts import Message
from ..kinds import Kind
from ..patterns import HEX, NUMBER, Form, pattern

__all__ = ["ASKED", "with_demands"]

_BYTES = r"(?P<needs>\d{1,18})(?:\.0{1,2})?(?![\w.])"
_DEMAND = rf"(?P<what>\{{[^{{}}]{{0,200}}?['\"]memory['\"]: {_BYTES}[^{{}}]{{0,200}}\}})"
"""A dictionary of resources with memory among them."""
_PENDING = pattern(rf"{_DEMAND}(?: \* \d{{1,9}} \([A-Z_]{{1,20}}\))?: (?P<count>\d{{1,9}})\+ pending")
_STARTING = Form(r"\bIP not yet assigned: ([\w.-]{1,60}), (\w{1,40})")
_EXPORTED = r"(?P<what>remote function|actor) (?P<name_>[\w.<>]{1,200})"
ASKED = (
    Kind(
        "warning",
        pattern(
            rf"The {_EXPORTED} is too large \((?:(?P<size>{NUMBER} MiB)|(?P<bytes>{NUMBER})) >? "
            rf"FUNCTION_SIZE_ERROR_THRESHOLD=(?P<most>{NUMBER} (?:MiB|bytes))\)"
        ),
        "Ray did not take the {what} {name_}: it is[ {size}][ {bytes} bytes] large, more than the {most} that it may "
        "be, as where it refers to a large object of the code around it.",
        "large function",
    ),
    Kind(
        "warning",
        pattern(r"The Trainable/training function is too large for grpc resource limit"),
        "Ray Tune did not take the training function: it is too large to be sent, as where it refers to a large object "
        "of the code around it.",
        "large function",
    ),
    Kind(
        "warning",
        pattern(
            rf"Estimated max memory usage for replay buffer is (?P<size>{NUMBER} GB) \([^()\n]{{0,200}}\), available "
            rf"system memory is (?P<all>{NUMBER} GB)"
        ),
        "RLlib's replay buffer may come to need {size}, where the node has {all} of memory. The text does not say that "
        "anything was killed.",
        lacks="replay buffer",
    ),
    Kind(
        "warning",
        pattern(
            r"(?:No available node types can fulfill resource requests?|could not find a node type to satisfy the "
            rf"request:) ?(?:defaultdict\([^{{}}\n]{{0,60}}?|\[)?{_DEMAND}"
        ),
        "Ray's autoscaler has no kind of node that can give what a task or an actor asks for: {what}.",
        lacks="asked",
    ),
    Kind(
        "warning",
        pattern(
            rf"{_DEMAND}(?: \* \d{{1,9}} \([A-Z_]{{1,20}}\))?: (?P<count>\d{{1,9}})\+ pending "
            r"(?P<who>tasks/actors|placement groups)"
        ),
        "{count} or more {who} wait for nodes that have free what they ask for: {what}. The text does not say of which "
        "too little is free.",
        "asked",
    ),
    Kind(
        "warning",
        pattern(
            rf"[Tt]he (?:actor or task|task or actor|task|actor) with ID (?P<id>{HEX}{{16,56}}) "
            r"(?:is (?:pending|infeasible) and cannot currently be scheduled|cannot be scheduled right now)\."
            r"[^\n]{0,200}? ?It requires (?P<what>\{[^\n]{0,200}?\bmemory: [^\n]{0,200}?\}) for (?:execution|placement)"
        ),
        "A task or an actor ({id}) waits for a node that has free what it asks for: {what}. The text does not say of "
        "which too little is free.",
        "asked",
    ),
)


def with_demands(message: Message, text: str) -> Message:
    """Add what all demands of a text ask for, and which node is being started for them."""
    demands = {found["what"]: (int(found["needs"]), int(found["count"])) for found in _PENDING.finditer(text)}
    if message.lacks != "asked" or not demands:
        return message
    sizes = [needs for needs, _ in demands.values()]
    if len(demands) > 1:
        count = sum(count for _, count in demands.values())
        said = (
            f"The text has {len(demands)} such demands, of {count} or more that wait: each asks for "
            f"{show_bytes(min(sizes))} "
            f"to {show_bytes(max(sizes))} of memory."
        )
    else:
        said = f"That is {show_bytes(sizes[0])} of memory for each."
    nodes = [f"{name} ({state})" for name, state in dict.fromkeys(_STARTING.findall(text))]
    starting = (f"A node that is being started: {', '.join(nodes)}.",) if nodes else ()
    return replace(message, also=(*message.also, said, *starting))
