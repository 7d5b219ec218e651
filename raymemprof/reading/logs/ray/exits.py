"""How workers ended, in the words of Ray's messages of their ends."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from ..patterns import COUNT, HEX, ID, pattern

__all__ = ["MOST_DETAILS", "details_of", "exit_of", "failed_workers"]

_EXIT = pattern(r"Worker exit type: (.{1,60}?) Worker exit detail: (.+)")
_REPORTED = pattern(r"Reporting worker exit, [^\n]{1,300}?\bexit_type = (\w{1,60}), exit_detail = (.+)")
"""What the GCS logs."""
_ERROR_MESSAGE = pattern(r"died with exit_type: (\w{1,60}) with error_message: (.+)")
_FAILED_WORKER = pattern(
    rf"(?:Task ID: ({HEX}{{48}}) )?Worker ID: ({ID}) Node ID: ({ID}) "
    rf"Worker IP address:(?: (?!Worker\b)(\S{{2,45}}))? [^\n]{{0,300}}?Worker PID: ({COUNT})(?=\s)"
)
_GUESSES = re.compile(r"There are some potential root causes|Some common causes include")
"""How Ray begins to guess why a worker ended."""
MOST_DETAILS, _MOST_FAILED = 3, 50
"""Ends that are told one by one, and workers that are looked at."""


def exit_of(text: str) -> tuple[str, str] | None:
    """Return of which type a worker's end is, and how it ended, as Ray has it."""
    found = _EXIT.search(text) or _ERROR_MESSAGE.search(text) or _REPORTED.search(text)
    if found is None:
        return None
    quote = text[max(found.start() - 1, 0)]
    detail = found[2].split(quote)[0] if quote in "\"'`" else found[2]
    return found[1].strip(), detail.strip()


def details_of(text: str) -> dict[int, str]:
    """Return how each of several workers ended, by its pid, without what Ray guesses."""
    starts = list(itertools.islice(failed_workers(text), _MOST_FAILED))
    ends = [found.start() for found in starts[1:]] + [len(text)]
    found = ((int(one[5]), exit_of(text[one.start() : end])) for one, end in zip(starts, ends, strict=False))
    return {pid: _GUESSES.split(said[1].split("\n")[0])[0].strip() for pid, said in found if said}


def failed_workers(text: str) -> Iterator[re.Match[str]]:
    """Return the matches of what Ray says of workers that failed: task, worker, node, address, pid."""
    return _FAILED_WORKER.finditer(text) if "address" in text else iter(())
