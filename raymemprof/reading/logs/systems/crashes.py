"""Ends by a fault that the C library, the kernel, a shell or a launcher tells of: crashes, not lacks of memory."""

from __future__ import annotations

import re

from ..kinds import Kind
from ..patterns import COUNT, pattern

__all__ = ["CRASHES"]

_NOT_MEMORY = "a fault in native code; nothing says that memory was short"
CRASHES = (
    Kind(
        "crash",
        pattern(
            r"(?<!\w)(?:\*\*\* Error in `(?P<program>[^'\n]{1,200})': )?(?P<what>"
            r"malloc(?:_consolidate)?\(\): [a-z][^\n]{3,80}?|free\(\): [a-z][^\n]{3,60}?|"
            r"realloc\(\): [a-z][^\n]{3,60}?|"
            r"munmap_chunk\(\): invalid [a-z]{3,10}|double free or corruption(?: \([!a-z]{2,10}\))?|"
            r"corrupted (?:size vs\. prev_size|double-linked list|unsorted chunks)[^\n]{0,40}?|"
            r"heap corruption detected[^\n]{0,60}?)(?=: 0x|[ \t|│]{0,9}$)",
            re.MULTILINE,
        ),
        "The C library found that the lists of its memory were damaged, and aborted a process[ of {program}] ({what}): "
        "a fault in native code, not a lack of memory.",
        lacks="corruption",
    ),
    Kind(
        "crash",
        pattern(
            rf"(?<![\w.])(?P<program>[\w.+:-]{{1,16}})\[(?P<process>{COUNT})\]: segfault at [0-9a-f]{{1,16}} ip\b"
            r"(?:[^\n]{0,120}? in (?P<library>[\w.+-]{1,80})\[)?|"
            rf"\btraps: (?P<program_1>[\w.+:-]{{1,16}})\[(?P<process_1>{COUNT})\] (?:general protection|trap )",
            re.MULTILINE,
        ),
        f"A process crashed: {{program}} (pid {{process}})[, in {{library}}]: {_NOT_MEMORY}.",
    ),
    Kind(
        "crash",
        pattern(
            rf"\bprocess rank \d{{1,9}} with PID (?P<process>{COUNT}) on node (?P<host>[\w.-]{{1,100}}) exited on "
            r"(?P<what>signal (?:4|8|11)) \(|"
            r"\bprematurely: (?P<what_1>signal (?:4|8|11)\b(?: \(\w{3,30}\))?)|"
            r"\breturn code (?P<what_2>Negsignal\.SIG(?:SEGV|ILL|FPE))\b|"
            r"\bcode=(?:dumped|killed), status=(?P<what_3>\d{1,2}/(?:SEGV|ABRT|ILL|FPE))\b"
        ),
        f"A process[ {{process}}] crashed[ on {{host}}] ({{what}}): {_NOT_MEMORY}.",
    ),
    Kind(
        "crash",
        pattern(r"(?<!\d\d\d\d\s)\b(?P<what>Segmentation fault) \(core dumped\)"),
        f"A process ended as after SIGSEGV ({{what}}): {_NOT_MEMORY}.",
    ),
    Kind(
        "crash",
        pattern(
            r"\b(?:CUDA|HIP|cuda\w{2,30}|hip\w{2,30})\b[^\n]{0,400}?\b"
            r"(?P<what>an illegal memory access was encountered|device-side assert triggered|misaligned address|"
            r"illegal instruction was encountered)|"
            r"\b(?P<what_1>(?:cuda|hip)Error(?:IllegalAddress|Assert|MisalignedAddress|LaunchFailure))\b"
        ),
        "Code on a GPU faulted ({what}), which ends what its process does there: no lack of memory.",
        lacks="gpu fault",
    ),
)
"""What they say of faults; `exit_codes` has what a code says where nothing else does."""
