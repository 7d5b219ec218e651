"""Stacks in a notebook: without the frames that run a cell, and with the lines that `%time` and `%timeit` ran."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import PurePath
from typing import NamedTuple

from ... import journal as contract
from ...cells import is_cell
from ..captures.model import Frame, Stack

__all__ = ["Timed", "is_timed", "timed", "without_machinery"]

_TIMED = ("<timed exec>", "<timed eval>", "<magic-timeit>")
"""The files that IPython compiles as, for what its magics time."""
_RUN_CELLS = (("IPython", "core"), ("ipykernel",), ("IPython", "terminal"))
"""What runs cells and magics."""
_SETUP = re.compile(r"(?:^|\s)(?!-|\d+(?:\s|$))\S")
"""Code behind the options of `%%timeit`, which runs before what is timed."""
_LINE_MAGIC, _CELL_MAGIC = "run_line_magic", "run_cell_magic"
_ITSELF: Frame = ("raymemprof", "", 0)
"""Stands for what only our own code held."""


class Timed(NamedTuple):
    """A line that a magic timed, as it stands in a cell."""

    frame: Frame
    text: str


def is_timed(file: str) -> bool:
    """Whether a file's name stands for code that a magic times."""
    return file in _TIMED


def without_machinery(stack: Stack) -> Stack:
    """Return a stack, whose cells have their names, without our own frames and those by which IPython runs cells."""
    kept: list[Frame] = []
    is_in_cell = False
    for frame in stack:
        kind = _kind(frame[1])
        is_in_cell = is_in_cell or kind == "cell"
        is_again = kept[-1:] == [frame] and frame[0] == "<module>"  # the line that a magic timed, and the magic's
        if not (kind == "ours" or (is_in_cell and kind == "runs cells") or is_again):
            kept.append(frame)
    return tuple(kept) or (_ITSELF,)


def timed(frame: Frame, cell: Frame, text: str) -> Timed | None:
    """Return a timed line as it stands in its cell; None where that is not certain.

    Args:
        frame: the frame of code that a magic timed.
        cell: the frame of the cell that the magic stands in.
        text: the line there, as IPython runs it.
    """
    found = _magic_in(text)
    if found is None:
        return None
    (function, _, line), (_, name, number) = frame, cell
    method, magic, options, code = found
    lines = code.splitlines()
    if method == _LINE_MAGIC:
        return Timed((function, name, number), f"%{magic} {code.strip()}") if line == 1 else None
    blank = next((index for index, text in enumerate(lines) if text.strip()), 0)  # IPython leaves these out
    if not 0 < line + blank <= len(lines):
        return None
    if line == 1 and _SETUP.search(options):  # its lines count from 1, too
        return None
    return Timed((function, name, number + line + blank), lines[line + blank - 1].strip())


def _magic_in(text: str) -> tuple[str, str, str, str] | None:
    """Return how the one magic in a line of a cell is run, its name, its options and its code."""
    try:
        tree = ast.parse(text.strip())
    except (SyntaxError, ValueError):  # it is part of a longer statement, or was too long to keep
        return None
    found = [
        (node.func.attr, *(getattr(argument, "value", None) for argument in node.args))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in (_LINE_MAGIC, _CELL_MAGIC)
    ]
    if len(found) != 1 or len(found[0]) < 3 or not all(isinstance(part, str) for part in found[0]):
        return None
    method, magic, *options, code = map(str, found[0])
    return method, magic, " ".join(options), code


@lru_cache(maxsize=10_000)
def _kind(file: str) -> str:
    if is_cell(file) or is_timed(file):
        return "cell"
    if contract.is_own_code(file):
        return "ours"
    parts = PurePath(file).parts
    starts = (parts[i + 1 :] for i, part in enumerate(parts) if part.endswith("-packages"))
    is_runner = any(rest[: len(folder)] == folder for rest in starts for folder in _RUN_CELLS)
    return "runs cells" if is_runner else ""
