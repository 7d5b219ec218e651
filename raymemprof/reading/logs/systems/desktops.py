"""What Windows and macOS say of memory that ran out, or nearly."""

from __future__ import annotations

import itertools

from ..facts import Message, TopProcess, Victim
from ..kinds import Kind, first_of
from ..patterns import COUNT, pattern, size

__all__ = ["DESKTOP_CRASHES", "DESKTOP_ERRORS", "DESKTOP_WARNINGS", "diagnosed", "of_macs"]

_DIAGNOSED = pattern(r"Windows successfully diagnosed a low virtual memory condition")
_CONSUMED = pattern(rf"(?P<name>[\w.+ -]{{1,80}}?) \((?P<pid>{COUNT})\) consumed (?P<bytes>\d{{1,18}}) bytes")
_MOST = 10


def diagnosed(text: str) -> Message | None:
    """Return what Windows' event 2004 says: programs that had most of what it may promise (its commit limit)."""
    if not _DIAGNOSED.search(text):
        return None
    found = itertools.islice(_CONSUMED.finditer(text), _MOST)
    top = tuple(
        TopProcess(int(one["pid"]), int(one["bytes"]), one["name"].strip().removeprefix("and ")) for one in found
    )
    said = "A warning of Windows: nearly all memory that it may promise, RAM and paging files, is promised"
    if top:
        named = [f"{one.command} (pid {one.pid}) {one.memory} bytes" for one in top]
        said += f"; most of it had {', '.join(named)}"
    return Message(
        "warning", f"{said}. The text does not say that anything was ended.", top_processes=top, lacks="paging file"
    )


DESKTOP_ERRORS = (
    Kind(
        "memory_error",
        pattern(
            r"\[WinError (?P<code>8|14|1450|1453)\]|\b(?:Not enough (?:memory resources are|storage is) available to "
            r"(?:process this command|complete this operation)|Insufficient system resources exist to complete the "
            r"requested "
            r"service|Insufficient quota to complete the requested service)\b"
        ),
        "Windows could not give a process more memory or other resources[ (error {code})].",
        lacks="paging file",
    ),
    Kind(
        "memory_error",
        pattern(r"\b(?P<code>0x(?:[Cc]0000017|[Cc]000012[Dd]|8007000[Ee]))\b"),
        "Windows could not give a process the memory that it asked for (its code {code}).",
        lacks="paging file",
    ),
)
DESKTOP_CRASHES = (
    Kind(
        "crash",
        pattern(
            r"\bexit(?:ed)?(?: with)? code:? (?P<code>-1073741819|-1073740791|-1073741571|3221225477|0x[Cc]0000005)\b"
        ),
        "A process of Windows crashed (exit code {code}): a fault in native code; nothing says that memory was short.",
    ),
)
DESKTOP_WARNINGS = (
    Kind(
        "warning",
        pattern(
            r"\bVirtual Memory Minimum Too Low\b|\bYour system is low on virtual memory\b|\bYour computer is low on "
            r"memory\b|"
            r"\bOut of Virtual Memory\b"
        ),
        "A warning of Windows: nearly all memory that it may promise, RAM and paging files, is promised.",
        lacks="paging file",
    ),
    Kind(
        "warning",
        pattern(
            r"\blow swap: failed to create swapfile\b|\bvnode_setsize for swap files failed: (?P<errno>\d{1,3})\b|"
            r"\bYour system has run out of application memory\b"
        ),
        "A warning of macOS: it cannot put more memory into swap[ (error {errno})]. The text does not say "
        "that anything was ended.",
        lacks="mac's swap",
    ),
)
_BY_JETSAM = Kind(
    "kernel_oom",
    pattern(
        r"\b[Jj]etsam(?:/memorystatus)? (?:has )?killed\b|"
        r"\b[Kk]illed by (?:the )?(?:macOS(?:'s)? |Apple's )?[Jj]etsam\b"
    ),
    "macOS ended a process for lack of memory (jetsam), as the text says.",
    lacks="mac's swap",
)
_NO_PAGING_SPACE = Kind(
    "kernel_oom",
    pattern(r"\blow swap: triggering no paging space action"),
    "macOS could not put more memory into swap, and its kernel ended processes for that (no paging space action); the "
    "text does not name them.",
    lacks="mac's swap",
)
_LOW_SWAP = pattern(
    rf"\blow swap: killing (?P<which>largest compressed process|largest process|process) with pid (?P<pid>{COUNT}) "
    r"\((?P<name>[^\n()]{1,64})\)(?: and size (?P<memory>\d{1,9}) MB)?"
)
_JETSAM = pattern(r"\"bug_type\" ?: ?\"298\"|\"largestProcess\" ?: ?\"")
_LARGEST = pattern(r"\"largestProcess\" ?: ?\"(?P<name>[^\"\n]{1,64})\"")
_EXCEEDED = Kind(
    "kernel_oom",
    pattern(
        rf"(?P<name>[\w.+-]{{1,32}})\[(?P<pid>{COUNT})\] exceeded mem limit: \w{{1,20}} (?P<limit>\d{{1,9}} MB) "
        rf"\(fatal\)"
    ),
    "macOS ended {victims}, because it reached a memory limit of its own, {limit}.",
    is_binary=True,
)


def of_macs(text: str) -> Message | None:
    """Return what older and newer versions of macOS say of processes that they ended for memory."""
    victims = tuple(
        dict.fromkeys(
            Victim(
                one["name"], None, None, None, int(one["pid"]), size(f"{one['memory']}MiB") if one["memory"] else None
            )
            for one in _LOW_SWAP.finditer(text)
        )
    )
    if victims:
        reason = "macOS had no room left for compressed memory and swap"
        return Message("kernel_oom", victims=victims, killed=len(victims), reason=reason, is_named=True)
    exceeded = _EXCEEDED.read(text)
    if exceeded is not None:
        return exceeded
    if _JETSAM.search(text):
        largest = {one["name"] for one in _LARGEST.finditer(text)}
        said = "macOS ended processes because memory was low (a JetsamEvent report)"
        said += f"; the largest process then was {largest.pop()}" if len(largest) == 1 else ""
        return Message("kernel_oom", f"{said}. The text does not say which it ended.", lacks="mac's swap")
    return first_of((_NO_PAGING_SPACE, _BY_JETSAM), text)
