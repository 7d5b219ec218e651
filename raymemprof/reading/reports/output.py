"""Where a report is written: to a file that is named, or to one in the current folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ...display.files import check_output
from ...ownership import refuse_foreign_link

__all__ = ["path_for"]

_START = 2048
"""Bytes of a report that have its title."""


def path_for(output: str | os.PathLike[str] | None, name: str, overwrite: bool, captures: Iterable[Path] = ()) -> Path:
    """Return the file to write; `name` is its name where none, or a folder, is given.

    Raises:
        ValueError: it is one of the captures that are read.
        FileExistsError: it exists, is not to be replaced, and is no earlier report under the default name.
        FileNotFoundError: there is no such folder.
    """
    path = Path(name if output is None else output).absolute()
    refuse_foreign_link(path if path.is_dir() else path.parent)
    is_default = output is None or path.is_dir()
    if path.is_dir():
        path = path / name
    if any(path.exists() and path.samefile(capture) for capture in captures):
        raise ValueError(f"{path} is the capture itself; give another output.")
    check_output(path, overwrite or (is_default and _is_report(path)))
    return path


def _is_report(path: Path) -> bool:
    """Whether a file is a report of memray's or a timeline, such as an earlier one of the same call."""
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError:
        return False
    return b" report</title>" in start or start.startswith(b'{"$schema": "https://www.speedscope.app/')
