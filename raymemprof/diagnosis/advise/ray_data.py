"""How an operator of Ray Data is asked for memory: with `memory=` of what made it, of each part where it is fused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from .workloads import RAY_DATA, Workload

__all__ = ["about_operator", "asking"]

_FUSED = "->"
_POOL, _POOLS_NAME = "MapWorker(", re.compile(r"MapWorker\((?P<operator>.*)\)(?:\.\w+)?")
"""How the actors of a pool are named: after its operator, perhaps with the method that runs."""
_PART = re.compile(r"(?P<kind>[A-Za-z]\w*)(?:\((?P<what>.{1,200})\))?")
_METHODS = {"MapBatches": "map_batches", "Map": "map", "FlatMap": "flat_map", "Filter": "filter"}
"""What makes an operator of a function, whose name it bears. Others are known by how their names begin."""
_SHORTHANDS = ("add_column", "drop_columns")
"""Methods that are a `map_batches` of a function of Ray's, which is named after the method."""
_TAKE_NOTHING = ("random_sample", "ReadRange")
"""A method of that kind, and a read, that cannot be asked for memory."""
_FUNCTION = re.compile(r"(?:\w+|<locals>)(?:\.(?:\w+|<locals>))*")
_READ = re.compile(r"Read(?:Files)?[A-Z]\w*")
_READS = '`memory={memory}` of the read (of an older Ray, `ray_remote_args={{"memory": {memory}}}`)'
_WRITE, _WRITES = "Write", '`ray_remote_args={{"memory": {memory}}}` of the write'
_RAYS_ADDITION = "SplitBlocks"
"""A part of a read that Ray adds, and that is no operator of its own."""
_FIGURE = re.compile(r'(memory\w*(?:=|": ))0')
_MOST_PARTS = 6
"""Parts of an operator that are told one by one."""


def about_operator(operator: str, memory: int) -> Iterator[str]:
    """Say how to ask Ray Data for `memory` bytes for each task, or actor, of an operator, for a terminal."""
    known, unknown = _places(operator, f"{memory:_}")
    if known:
        yield f"ask for it with {_listed(known).replace('`', '')}{_if_fused(known, unknown)}."


def asking(runs: Workload, memory: int | None, *names: str | None) -> str:
    """Return what asks Ray for `memory` bytes, with code in backticks; without a figure where none is known.

    `names` are those of the task or actor, or titles of its process: the first that tells more is used.
    """
    figure = "…" if memory is None else f"{memory:_}"
    for name in names if runs.kind == RAY_DATA else ():
        known, unknown = _places((name or "").removeprefix("ray::"), figure)
        if known:
            left_out = f" (without {_listed(unknown)})" if unknown else ""
            return _listed(known) + left_out
    code = runs.ask.format(memory=0)
    return f"`{_FIGURE.sub(lambda found: found[1] + figure, code)}`"


def _if_fused(known: list[str], unknown: list[str]) -> str:
    if unknown:
        own = "it then runs as a task of its own" if len(unknown) == 1 else "they then run as tasks of their own"
        return f". That leaves out {_listed(unknown)}: {own}"
    return ": Ray Data runs only operators that ask for the same as one task" if len(known) > 1 else ""


def _listed(parts: list[str]) -> str:
    return " and ".join(parts)


def _places(operator: str, memory: str) -> tuple[list[str], list[str]]:
    """Return where each part of an operator asks, and the parts of which that is not known; nothing of very many."""
    if operator.startswith(_POOL):
        pool = _POOLS_NAME.fullmatch(operator)
        operator = pool["operator"] if pool is not None else ""
    counted: Counter[str] = Counter()
    unknown: dict[str, None] = {}
    for part in (one.strip() for one in operator.split(_FUSED)):
        found = _PART.fullmatch(part)
        if found is not None and found["kind"] == _RAYS_ADDITION:
            continue
        asked = _asked(found["kind"], found["what"] or "", memory) if found is not None else None
        if asked is None:
            unknown[part] = None
        else:
            counted[asked] += 1
    if len(counted) + len(unknown) > _MOST_PARTS:
        return [], []
    return [f"each {one}" if count > 1 else one for one, count in counted.items()], list(unknown)


def _asked(kind: str, what: str, memory: str) -> str | None:
    if kind in _TAKE_NOTHING or what in _TAKE_NOTHING or not _is_balanced(what):
        return None
    if kind in _METHODS and what:
        if kind == "MapBatches" and what in _SHORTHANDS:
            return f"`{what}(…, memory={memory})`"
        if what == "<lambda>":
            return f"`{_METHODS[kind]}(lambda …, memory={memory})`"
        if kind == "Filter" and not _FUNCTION.fullmatch(what):
            return f"`filter(expr=…, memory={memory})`"
        return f"`{_METHODS[kind]}({what}, memory={memory})`"
    if _READ.fullmatch(kind):
        return _READS.format(memory=memory)
    return _WRITES.format(memory=memory) if kind == _WRITE else None


def _is_balanced(text: str) -> bool:
    """Whether each parenthesis is closed: a name that is cut off has more that open."""
    depth = 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            return False
    return depth == 0
