"""Cells of the notebook, or the IPython shell, that runs in this process: which of them a file name stands for.

IPython compiles each cell as if it stood in a file of its own, such as `/tmp/ipykernel_909/4048929233.py`.
"""

from __future__ import annotations

import linecache
import re
import sys
from pathlib import PurePath
from typing import Any, NamedTuple

__all__ = ["Cell", "cell_like", "cell_of", "is_cell", "place_of", "shell"]

_NAME = re.compile(r"In \[\d+\]")


class Cell(NamedTuple):
    """A cell that has run."""

    number: int
    text: str
    """The code that ran; magics stand there as the calls that they are."""

    @property
    def name(self) -> str:
        """As the notebook shows it: `In [7]`."""
        return f"In [{self.number}]"


def shell() -> Any:
    """Return IPython's shell that runs in this process, or None."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None


def cell_of(file: str) -> Cell | None:
    """Return the cell that a file name stands for; None where it is none of this process's cells."""
    running = shell()
    known = getattr(getattr(running, "compile", None), "format_code_name", lambda name: None)(file)
    number = re.search(r"\d+", known[1]) if known is not None else None
    if number is None:
        return None
    return Cell(int(number[0]), "".join(linecache.getlines(file)))


def cell_like(file: str) -> Cell | None:
    """Return the cell of this process that has the same text as the one that a file name stands for, in any kernel.

    A kernel names the file of a cell for its text.
    """
    name = PurePath(file).name
    alike = (other for other in list(linecache.cache) if PurePath(other).name == name)
    return cell_of(file) or next(filter(None, map(cell_of, alike)), None)


def is_cell(name: str) -> bool:
    """Whether a file's name, as it is shown, is a cell's."""
    return _NAME.match(name) is not None


def place_of(name: str, line: int) -> str:
    """Write a line of a file as people read it: `In [7], line 3`, `steps.py:4`."""
    return f"{name}, line {line}" if is_cell(name) else f"{name}:{line}"
