"""Where decorated code is from: the texts of cells and of the driver's script travel with it to workers.

A worker that unpickles a function of a cell has no file of it, and only the kernel knows which cell that was. So what
is decorated takes along the cells that it is of, and those of what it calls. They are gathered when it is pickled: once
for each function, when Ray ships it, and never when it is called. Of a cell and of a script only what defines functions
and classes is taken: a worker runs nothing else of it, and there may be a password.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
import weakref
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from .. import journal as contract
from ..cells import cell_of
from . import warn
from .referenced_files import MAIN, reached

__all__ = ["Origin", "Text", "arrive", "arrived", "definitions", "gathered"]

_DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_MOST_TEXTS = 64
_MOST_BYTES = 2**18
"""Bytes that travel with one function or class, compressed."""


class Text(NamedTuple):
    """The text of a file that code is of."""

    file: str
    """As the code has it."""
    name: str | None
    """The cell's, if it is one."""
    data: bytes
    """Compressed."""


arrived: dict[str, Text] = {}
"""What came with code to this process, by file."""


class Origin:
    """Where a function, or the methods of a class, are from."""

    __slots__ = ("_target", "_texts")

    def __init__(self, target: object) -> None:
        """Remember what was decorated, without keeping it alive."""
        self._target: Any = weakref.ref(target)
        self._texts: tuple[Text, ...] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Take the texts along. Never raises of its own accord: without them, lines are shown without their text."""
        texts = self._texts
        if texts is None:
            try:
                texts = gathered(self._target())
            except Exception as error:
                warn.once("origin", f"the source texts of cells were not taken along: {error!r}")
                texts = ()
        return _arrive, (texts,)


def arrive(texts: tuple[Text, ...]) -> None:
    """Take note of texts that came with code."""
    for text in texts:
        arrived[text.file] = text


def _arrive(texts: tuple[Text, ...]) -> Origin:
    arrive(texts)
    origin = Origin(_arrive)
    origin._texts = texts
    return origin


def gathered(target: object) -> tuple[Text, ...]:
    """Return the texts of the cells, or of the driver's script, that code refers to, as far as they may travel."""
    found: list[Text] = []
    for file in dict.fromkeys(reached([target], lambda module: module == MAIN, through_modules=False)):
        text = arrived.get(file) or _text_of(file)
        if text is not None:
            found.append(text)
        if len(found) >= _MOST_TEXTS or sum(len(one.data) for one in found) > _MOST_BYTES:
            return tuple(found[:-1])
    return tuple(found)


def _text_of(file: str) -> Text | None:
    """The text of a cell, or of the driver's script; None of any other file: workers have those that they import."""
    cell = cell_of(file)
    if cell is not None:
        return _compressed(file, cell.name, cell.text)
    script = getattr(sys.modules.get(MAIN), "__file__", None)
    if script is None or os.path.abspath(file) != os.path.abspath(script) or contract.is_confidential(file):
        return None
    data = contract.read_text_at(Path(script))
    return None if data is None else _compressed(file, None, data.decode(errors="replace"))


@functools.lru_cache(maxsize=256)
def _compressed(file: str, name: str | None, text: str) -> Text:
    """The same object for the same text, which is pickled once with the methods of a class therefore."""
    return Text(file, name, zlib.compress(definitions(text).encode(errors="replace")))


def definitions(text: str) -> str:
    """Return of a module's text what defines functions and classes, each in its place; all else is empty or blank."""
    lines = text.splitlines()
    kept = [""] * len(lines)
    nodes = list(ast.walk(ast.parse(text)))
    for node in nodes:
        if isinstance(node, ast.Lambda):
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                first = node.col_offset if number == node.lineno else 0
                last = node.end_col_offset if number == node.end_lineno else None
                line = lines[number - 1].encode()
                own = " " * len(line[:first].decode()) + line[first:last].decode()
                before = kept[number - 1].ljust(len(own))
                kept[number - 1] = "".join(max(pair) for pair in zip(before, own.ljust(len(before)), strict=True))
    for node in nodes:
        if isinstance(node, _DEFINES):
            first = min(one.lineno for one in (node, *node.decorator_list))
            kept[first - 1 : node.end_lineno] = lines[first - 1 : node.end_lineno]
    return "\n".join(kept).rstrip() + "\n"
