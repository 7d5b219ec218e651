"""The names of the files of recording: captures, journals and source texts."""

from __future__ import annotations

import os
import re
import time

__all__ = [
    "LEFT_OVER",
    "PREFIX",
    "beside",
    "file_stem",
    "is_beside",
    "is_capture",
    "is_journal",
    "is_ours",
    "is_source",
    "named_for",
]

PREFIX = "raymemprof-"
_BESIDE = ".new"


def file_stem(name: str, task_id: str | None, attempt: int | None) -> str:
    """Return a file name without its ending that no other process, attempt or moment has."""
    parts = re.findall(r"[A-Za-z0-9_.]+", name)
    clean = "_".join(parts).strip(".")[:80] or "call"
    return f"{PREFIX}{clean}-{task_id or 'local'}-{attempt or 0}-{os.getpid()}-{time.time_ns()}"


def named_for(file_name: str) -> str | None:
    """Return the name of the call that a file was named for, as far as it is fit for one; None for another's file."""
    found = re.match(rf"{PREFIX}(.+)-(?:[0-9a-f]+|local)-\d+-\d+-\d+\.", file_name)
    return found[1] if found else None


def is_capture(name: str) -> bool:
    """Whether a file's name is a capture's; that of a forked child ends in its pid."""
    # Without a pattern, whose matching allocates: a process's own capture would be full of looking for others.
    return name.startswith(PREFIX) and (name.endswith(".bin") or _of_child(name))


def _of_child(name: str) -> bool:
    stem, _, pid = name.rpartition(".")
    return stem.endswith(".bin") and pid.isascii() and pid.isdigit()


def is_journal(name: str) -> bool:
    """Whether a file's name is a journal's."""
    return name.startswith(PREFIX) and name.endswith(".jsonl")


def is_source(name: str) -> bool:
    """Whether a file's name is a source text's, which `sources.py` reads."""
    return name.startswith(f"{PREFIX}source-") and name.endswith(".txt")


LEFT_OVER = 3600.0
"""Seconds after which nobody goes on to write what was to take a journal's place."""


def beside(journal: str) -> str:
    """Return a name under which a journal may be written that is to take the place of this one: no other has it."""
    return f".{journal[:200]}.{os.getpid()}-{time.time_ns()}{_BESIDE}"


def is_beside(name: str) -> bool:
    """Whether a file's name is one of those."""
    return name.startswith(f".{PREFIX}") and name.endswith(_BESIDE)


def is_ours(name: str) -> bool:
    """Whether this is the name of a capture, journal or source text, and nothing but a name."""
    is_plain = re.fullmatch(r"[A-Za-z0-9_.\-]{1,255}", name) is not None
    return is_plain and (is_capture(name) or is_journal(name) or is_source(name))
