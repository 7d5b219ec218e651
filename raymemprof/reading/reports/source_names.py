"""What files are called where people read it: a notebook's cell `In [7]`, code that Ray brought `pkg/steps.py`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from ... import journal as contract
from ...cells import cell_like, cell_of, is_cell, shell
from ..captures.model import Frame, Row, SourceFile, Stack
from ..captures.stacks import EITHER_FILE
from ..captures.totals import RowSum
from .cell_stacks import is_timed, timed, without_machinery

__all__ = ["SourceNames"]

_BROUGHT = re.compile(r"/runtime_resources/(?:working_dir|py_modules)_files/[^/]+/(.+)")
_ONE_OF_THEM = re.compile(r"\(([^()]+):(\d+)\)")
_SHORT = 6
"""Characters of a checksum that tell two files of one name apart."""


class SourceNames:
    """How the files of some stacks are called, and the texts of their lines."""

    def __init__(self, sources: Mapping[str, SourceFile], stacks: Iterable[Stack]) -> None:
        files = {file for _, file, _ in set().union(*stacks)}
        known = {file: sources.get(file) or _of_this_kernel(file) for file in files}
        by_name: dict[str, list[str]] = {}
        for file in sorted(files):
            by_name.setdefault(_name(file, known[file]), []).append(file)
        self._names: dict[str, str] = {}
        self.texts: dict[tuple[str, int], str] = {}
        """By name and number of the line."""
        for name, of_name in by_name.items():
            self._add(name, {file: known[file] or SourceFile() for file in of_name})
        self._frames: dict[Frame, Frame] = {}
        self._in_cells: dict[tuple[Frame, Frame], Frame] = {}
        self._codes = dict(self.texts)
        self._runs_cells = any(
            contract.is_own_code(file) or is_timed(file) or is_cell(self._names.get(file, file)) for file in files
        )
        self._places = {PurePath(file).name: name for file, name in self._names.items() if is_cell(name)}

    def _add(self, name: str, files: dict[str, SourceFile]) -> None:
        """Give files that would be called the same one name if they are the same, else names that tell them apart."""
        is_one = _are_one(name, files)
        for file, source in files.items():
            shown = name if is_one else f"{name} ({(source.digest or PurePath(file).stem)[:_SHORT]})"
            if shown != file:
                self._names[file] = shown
            self.texts.update({(shown, line): text for line, text in source.lines.items() if text})

    def frame(self, frame: Frame) -> Frame:
        """Return a frame as people read it."""
        function, file, line = frame
        if file == EITHER_FILE:
            return (_ONE_OF_THEM.sub(self._place, function), file, line)
        return (function, self._names.get(file, file), line)

    def rows(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """Return rows with such frames: those that become the same are one."""
        if not self._names and not self._runs_cells:
            return rows
        found = RowSum()
        found.add(
            Row(self.stack(row.stack), row.allocator, row.bytes, row.allocations, row.reserved, row.shared)
            for row in rows
        )
        return found.rows()

    def stack(self, stack: Stack) -> Stack:
        """Return a stack of such frames, without those that run a cell."""
        frames = self._frames
        named = tuple([frames.get(frame) or frames.setdefault(frame, self.frame(frame)) for frame in stack])
        if not self._runs_cells:
            return named
        if any(is_timed(frame[1]) for frame in named):
            named = tuple(self._timed(frame, named[index + 1 :]) for index, frame in enumerate(named))
        return without_machinery(named)

    def _timed(self, frame: Frame, outer: Stack) -> Frame:
        """Return a frame of code that a magic timed as one of the cell that the magic stands in, if that is certain."""
        cell = next((one for one in outer if is_cell(one[1])), None) if is_timed(frame[1]) else None
        if cell is None:
            return frame
        if (frame, cell) not in self._in_cells:
            found = timed(frame, cell, self._codes.get(cell[1:], ""))
            self._in_cells[frame, cell] = frame if found is None else found.frame
            if found is not None:
                self.texts[found.frame[1:]] = found.text
        return self._in_cells[frame, cell]

    def _place(self, found: re.Match[str]) -> str:
        name = self._places.get(found[1])
        return found[0] if name is None else f"({name}, line {found[2]})"


def _name(file: str, source: SourceFile | None) -> str:
    if source is not None and source.name is not None:
        if not is_cell(source.name) or shell() is None:
            return source.name
        own = cell_like(file)
        return f"{source.name} of another kernel" if own is None else own.name
    brought = _BROUGHT.search(file)
    return brought[1] if brought is not None else file


def _are_one(name: str, files: dict[str, SourceFile]) -> bool:
    """Whether files of one name are the same code, as far as it is known."""
    digests = {source.digest for source in files.values()}
    # Of a cell all may be kept, or its definitions; a kernel names its file for all of it.
    if is_cell(name) and len(digests) > 1 and len({PurePath(file).name for file in files}) > 1:
        return False
    texts: dict[int, str] = {}
    return all(texts.setdefault(line, text) == text for one in files.values() for line, text in one.lines.items())


def _of_this_kernel(file: str) -> SourceFile | None:
    """A cell of the notebook that asks: its function may have come to a worker by another way than with its task."""
    cell = cell_of(file)
    if cell is None:
        return None
    lines = cell.text.splitlines()
    return SourceFile(cell.name, "", {number: text.strip() for number, text in enumerate(lines, 1)})
