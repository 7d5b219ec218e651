"""The text of the lines that stacks name, from the texts beside the journal, or from files that are as they were."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ... import journal as contract
from .model import SourceFile, Stack
from .stacks import is_users

__all__ = ["merged", "read_lines_of"]

_LONGEST = 300
"""Characters of a line that are shown."""


def read_lines_of(
    stacks: Iterable[Stack], folder: Path, named: dict[str, contract.Source], began: float
) -> dict[str, SourceFile]:
    """Return what is known of the user's files that stacks name, and the text of the lines they name there.

    Args:
        stacks: the call stacks of a capture.
        folder: where the capture lies.
        named: what its journal says of files.
        began: when the capture was begun, in seconds since the epoch: a file that changed later is another one.
    """
    wanted: dict[str, set[int]] = {}
    for _, file, line in set(itertools.chain.from_iterable(stacks)):
        if line and is_users(file):
            wanted.setdefault(file, set()).add(line)
    found = {}
    for file, numbers in wanted.items():
        source = named.get(file)
        lines = _kept(folder, source.text) if source is not None else None
        if lines is None:
            lines = _unchanged(file, began)
        if source is None and lines is None:
            continue
        found[file] = SourceFile(
            name=source.name if source is not None else None,
            digest=source.text if source is not None else "",
            lines={
                number: lines[number - 1].strip()[:_LONGEST] for number in numbers if lines and number <= len(lines)
            },
        )
    return found


def merged(before: dict[str, SourceFile], new: dict[str, SourceFile]) -> dict[str, SourceFile]:
    """Return what is known of files by two captures. A line that is not the same in both has no text."""
    found = dict(before)
    for file, source in new.items():
        known = found.get(file)
        if known is not None:
            lines = {**known.lines, **source.lines}
            for number in known.lines.keys() & source.lines.keys():
                if known.lines[number] != source.lines[number]:
                    lines[number] = ""
            source = replace(source, name=source.name or known.name, lines=lines)
        found[file] = source
    return found


def _kept(folder: Path, digest: str) -> tuple[str, ...] | None:
    try:
        return _read_kept(folder, digest)
    except LookupError:
        return None


@lru_cache(maxsize=64)
def _read_kept(folder: Path, digest: str) -> tuple[str, ...]:
    text = contract.read_text(folder, digest)
    if text is None:  # an exception is not remembered
        raise LookupError(digest)
    return tuple(text.splitlines())


def _unchanged(file: str, began: float) -> tuple[str, ...] | None:
    try:
        if os.stat(file).st_mtime > began or contract.is_confidential(file):
            return None
        data = contract.read_text_at(Path(file))
    except (OSError, ValueError):
        return None
    return None if data is None else tuple(data.decode(errors="replace").splitlines())
