"""How an operator of Ray Data is asked for memory: with `memory=` of what made it, of each part where it is fused."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["about_operator"]

_FUSED = "->"
_PART = re.compile(r"(?P<kind>[A-Za-z]\w*)(?:\((?P<what>.{1,200})\))?")
_METHODS = {
    "MapBatches": "map_batches({what}, memory={memory:_})",
    "Map": "map({what}, memory={memory:_})",
    "FlatMap": "flat_map({what}, memory={memory:_})",
    "Filter": "filter({what}, memory={memory:_})",
}
"""What makes an operator. The others are known by how their names begin."""
_READS = (
    "Read",
    'memory={memory:_} of the read (of an older Ray, ray_remote_args={{"memory": {memory:_}}})',
)
_WRITES = ("Write", 'ray_remote_args={{"memory": {memory:_}}} of the write')
_TAKES_NOTHING = "ReadRange"
_MOST_PARTS = 6
"""Parts of an operator that are told one by one."""


def about_operator(operator: str, memory: int) -> Iterator[str]:
    """Say how to ask Ray Data for `memory` bytes for each task, or actor, of an operator."""
    every = dict.fromkeys(_asked(part, memory) for part in operator.split(_FUSED))
    asked = [one for one in every if one is not None]
    if not asked or len(asked) > _MOST_PARTS:
        return
    if len(asked) == 1:
        yield f"ask for it with {asked[0]}."
    else:
        yield f"ask for it with {' and '.join(asked)}: Ray Data runs only operators that ask for the same as one task."


def _asked(part: str, memory: int) -> str | None:
    found = _PART.fullmatch(part.strip())
    if found is None:
        return None
    kind, what = found["kind"], found["what"] or "…"
    if kind in _METHODS:
        return _METHODS[kind].format(what=what, memory=memory)
    ways = (way for begins, way in (_READS, _WRITES) if kind.startswith(begins) and kind != _TAKES_NOTHING)
    return next((way.format(memory=memory) for way in ways), None)
