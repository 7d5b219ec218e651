"""What a bare exit code says where nothing else in a text tells how a process ended."""

from __future__ import annotations

import re

from ..kinds import Kind
from ..patterns import COUNT, pattern
from .launchers import WHY_UNKNOWN

__all__ = ["EXIT_CODES"]

_MENTIONED = r"(?!['\"`]{0,3} (?:means?|stands?|indicates?|is|are|usually|typically|would|may|might|can|could|or)\b)"
"""What does not follow a code that something ended with: else somebody explains the code."""
_PID = rf"(?:[^\n]{{0,30}}?\(?\b(?:pid|PID)(?: |: |=)(?P<pid>{COUNT})\)?)?"


def _code(*codes: str) -> str:
    """Return a pattern of words that tell of an end, and one of these codes."""
    words = (
        r"(?:\b(?:[Ee]xit(?:ed|s|ing)?|[Rr]eturn(?:ed|s)?|[Tt]erminated|[Ee]nded|[Dd]ied|[Ff]inished|[Ff]ailed)\b"
        r"[^\n\d]{0,40}?\b(?:code|status)|\b[Ee]xit ?[Cc]ode|\b[Ee]xit ?[Ss]tatus|\b[Rr]eturn_?code|\bexited with|"
        r"\bExited(?= \())"
    )
    return (
        rf"{words}[\"']?\s{{0,20}}(?:[:=]|of)?\s{{0,20}}[\[(]?(?P<code>{'|'.join(codes)})(?!\d|\.\d){_MENTIONED}{_PID}"
    )


def _signal(name: str, number: int, shell: str, zsh: str) -> str:
    """Return a pattern of the words in which shells and launchers tell of a signal; `zsh` has that shell's word."""
    return (
        rf"line \d{{1,9}}: (?P<pid_1>{COUNT}) {shell}(?=\s)|^{shell} \(core dumped\)|\bzsh: {zsh}(?=\s|$)|"
        rf"^\[\d{{1,3}}\][+-]?\s{{1,9}}(?:[+-]\s{{1,9}})?(?:(?P<pid_5>{COUNT})\s{{1,9}})?(?:{shell}|{zsh})(?=\s)|"
        rf"\bSignal {number} \({name}\) received by PID (?P<pid_2>{COUNT})|"
        rf"(?<!\b[Nn]o[ ])\bworker \(pid (?P<pid_3>{COUNT})\) is killed by signal: {shell}|"
        rf"\bWorker \(pid:(?P<pid_4>{COUNT})\) was sent {name}!|"
        rf"\bwith PID (?P<pid_6>{COUNT}) on node [\w.-]{{1,100}} exited on signal {number}\b|"
        rf"died with <Signals\.{name}: {number}>|\b{name}\(-{number}\)|\bNegsignal\.{name}\b|"
        rf"\b(?:terminated|exited|killed|died|ended) (?:by|with|on|due to) signal (?:{name}\b|{number}\b(?!\.\d))|"
        rf"\bKILLED BY SIGNAL: {number}\b|\btasks? [\d,-]{{1,40}}: {shell}\b|"
        rf"\binterrupted by signal {number}(?: ?: {name})?"
    )


EXIT_CODES = (
    Kind(
        "crash",
        pattern(
            rf"{_code('139', '-11')}|{_signal('SIGSEGV', 11, 'Segmentation fault', 'segmentation fault')}", re.MULTILINE
        ),
        "A process[ {victims}] ended[ with exit code {code},] as after SIGSEGV: a fault in native code; nothing says "
        "that memory was short.",
    ),
    Kind(
        "crash",
        pattern(rf"{_code('134', '-6')}|{_signal('SIGABRT', 6, 'Aborted', 'abort')}", re.MULTILINE),
        "A process[ {victims}] ended[ with exit code {code},] as after SIGABRT: its own code aborted it, as native "
        f"code also does where it cannot have memory; {WHY_UNKNOWN}.",
        lacks="aborted",
    ),
    Kind(
        "bus_error",
        pattern(_code("135", "-7")),
        "A process[ {victims}] ended with exit code {code}, as after SIGBUS: memory that it had mapped was not there, "
        "as where /dev/shm is full in a container.",
    ),
    Kind(
        "crash",
        pattern(_code("132", "136", "-4", "-8")),
        "A process[ {victims}] ended with exit code {code}, as after SIGILL or SIGFPE: a fault in native code; nothing "
        "says that memory was short.",
    ),
    Kind(
        "sigkill",
        pattern(rf"{_code('137', '-9')}|{_signal('SIGKILL', 9, 'Killed', 'killed')}", re.MULTILINE),
        f"A process[ {{victims}}] ended[ with exit code {{code}},] as after SIGKILL; {WHY_UNKNOWN}.",
    ),
    Kind(
        "exit",
        pattern(_code("143", "-15")),
        "A process[ {victims}] ended with exit code {code}, as after SIGTERM: it was asked to end; nothing says that "
        "memory was short.",
    ),
    Kind(
        "unknown",
        pattern(_code("255", "-1")),
        f"A process ended with exit code {{code}}, which says only that it failed; {WHY_UNKNOWN}.",
        lacks="an end",
    ),
)
"""For texts that say nothing else. The sentences name the signal that a shell makes the code of."""
