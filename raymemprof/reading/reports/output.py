"""Where a report is written: to a file that is named, or to one in the current folder, or in one of our own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ...display.files import check_output, is_folder
from ...ownership import absolute, make_folder, own_folder, refuse_foreign_link

__all__ = ["check_early", "path_for"]

_START = 2048
"""Bytes of a report that have its title."""


def check_early(output: str | os.PathLike[str] | None, overwrite: bool) -> None:
    """Refuse what cannot be written to, as `path_for` does, before captures are read, which may take long."""
    path = _path(output, "")
    if not is_folder(path) and path.suffix != ".bin":  # which may be the capture itself
        check_output(path, overwrite)


def path_for(output: str | os.PathLike[str] | None, name: str, overwrite: bool, captures: Iterable[Path] = ()) -> Path:
    """Return the file to write; `name` is its name where none, or a folder, is given.

    Raises:
        ValueError: it is one of the captures that are read.
        FileExistsError: it exists, is not to be replaced, and is no earlier report under the default name; or it is no
            plain file.
        FileNotFoundError: there is no such folder.
    """
    path = _path(output, name)
    is_in_folder = is_folder(path)
    refuse_foreign_link(path if is_in_folder else path.parent)
    is_default = output is None or is_in_folder
    if is_in_folder:
        path = path / name
    if any(os.path.exists(path) and path.samefile(capture) for capture in captures):
        raise ValueError(f"{path} is the capture itself; give another output.")
    check_output(path, overwrite or (is_default and path.is_file() and _is_report(path)))
    return path


def _path(output: str | os.PathLike[str] | None, name: str) -> Path:
    if output is not None:
        return absolute(output)
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise FileNotFoundError(
            "the current folder is gone, so no report can be written there: give output=, with a whole path from / on, "
            "or change to another folder."
        ) from None
    if not os.access(here, os.W_OK):
        here = own_folder()
        make_folder(here)
    return here / name


def _is_report(path: Path) -> bool:
    """Whether a file is a report of memray's or a timeline, such as an earlier one of the same call."""
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError:
        return False
    return b" report</title>" in start or start.startswith(b'{"$schema": "https://www.speedscope.app/')
