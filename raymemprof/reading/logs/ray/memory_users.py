"""The list of a node's largest processes, "Top 10 memory users", that messages of Ray have."""

from __future__ import annotations

import re
from functools import lru_cache

from ..facts import TopProcess
from ..patterns import COUNT, NUMBER, Form, gibibytes, pattern

__all__ = ["is_decimal", "top_processes"]

_ROW = Form(rf"^[\t ]*({COUNT})[\t ]+({NUMBER})(?:Gi?B)?[\t ]+(?!\d{{1,10}}[\t ]+\d{{1,10}}\.\d)(\S.*)$", re.MULTILINE)
_CELLS = Form(
    rf"^[ \t]*\|?[ \t]*({COUNT})[ \t]*\|[ \t]*\*{{0,2}}({NUMBER})(?: ?Gi?B)?\*{{0,2}}[ \t]*\|[ \t]*"
    r"([^|\n]{1,200}?)[ \t]*(?:\||$)",
    re.MULTILINE,
)
_HEADING_CELLS = Form(r"\bPID[ \t]*\|[^|\n]{0,40}\bGi?B\b[^|\n]{0,20}\|")
"""The same list as a table of Markdown's."""
_HEADING = pattern(
    r"MEM\(GB\)|Top \d{1,2} memory users|top \d{1,2} memory consumers are|how to address the out of memory issue"
)
_DECIMAL_ROW = rf"\s{NUMBER}GB\s"
_DECIMAL = pattern(
    rf"memory consumers are(?=[^\0]{{0,2000}}?{_DECIMAL_ROW})|^\s{{0,40}}{COUNT}{_DECIMAL_ROW}"
    rf"(?=[^\0]{{0,2000}}?memory consumers are)|up to {NUMBER} GB of shared memory is currently",
    re.MULTILINE,
)
"""Units of Ray before 0.8: a GB was 10**9 bytes, and not what it was later in a message of the same words."""
_AFTER_COMMAND = Form(r"(?<=\.\.\.) .*| Refer to the documentation .*| In addition, up to .*")
_NEXT = rf"[,;][ \t]{{0,9}}(?:{COUNT}[ \t]{{1,40}}\d{{1,7}}\.\d\d(?:[ \t]|[,;])|Refer to the documentation)"
_SQUEEZED = Form(rf"(?<=\S)[ \t]{{1,40}}(?={COUNT}[ \t]{NUMBER}GiB[ \t]\S)")
"""Between two rows of a list whose line ends were lost; only a unit tells a row from a command's arguments."""
_JOINED_HEAD = Form(r"\bMEM\(GB\)\s{1,9}COMMAND[,;]")
_JOINED = Form(
    rf"[,;][ \t]{{0,9}}({COUNT})[ \t]{{1,40}}(\d{{1,7}}\.\d\d)(?:[ \t]{{1,40}}((?![,;])(?:(?!{_NEXT})[^\n])*))?"
)
"""A row of a list whose line ends became commas or semicolons; its command may be missing."""
_MOST_GLUED = 3
"""Rows from which on line numbers are told from pids."""


def top_processes(text: str, victims: frozenset[int] = frozenset()) -> tuple[TopProcess, ...]:
    """Return the lines of "Top 10 memory users"; `victims` are pids that are known from elsewhere in the text."""
    if joined := _JOINED_HEAD.search(text):
        end = text.find("\n", joined.end())
        found = _JOINED.findall(text[joined.end() - 1 : end if end >= 0 else len(text)])
        rows = [(pid, memory, command.strip()) for pid, memory, command in found]
    elif _HEADING.search(text):
        rows = _ROW.findall(_SQUEEZED.sub("\n", text))
    elif _HEADING_CELLS.search(text):
        rows = [(pid, memory, command.strip("`*")) for pid, memory, command in _CELLS.findall(text)]
    else:
        return ()
    is_glued = _has_line_numbers([pid for pid, _, _ in rows], victims)
    has_decimals = is_decimal(text)
    return tuple([_process("" if is_glued else pid, memory, command, has_decimals) for pid, memory, command in rows])


def _has_line_numbers(pids: list[str], victims: frozenset[int]) -> bool:
    """Whether the numbers of lines, one higher each, are glued to the pids."""
    if len(pids) < _MOST_GLUED or any(int(pid) in victims for pid in pids):
        return False
    for length in range(1, max(map(len, pids))):
        first = int(pids[0][:length])
        for step in (1, -1):
            numbers = [str(first + step * row) for row in range(len(pids))]
            if all(pid.startswith(number) and pid != number for pid, number in zip(pids, numbers, strict=True)):
                return True
    return False


@lru_cache(maxsize=4096)
def _process(pid: str, memory: str, command: str, has_decimals: bool) -> TopProcess:
    """A line of it; kills that follow each other have most lines in common."""
    held = round(float(memory) * 10**9) if has_decimals else gibibytes(memory)
    return TopProcess(int(pid) if pid else None, held, _AFTER_COMMAND.sub("", command).strip())


def is_decimal(text: str) -> bool:
    """Whether a GB is 10**9 bytes in a text, as in Ray before 0.8."""
    return _DECIMAL.search(text) is not None
