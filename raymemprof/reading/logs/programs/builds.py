"""What compilers, linkers and the runners of builds say of a process that was killed, or had no memory."""

from __future__ import annotations

from ..kinds import Kind
from ..patterns import pattern
from ..systems.launchers import WHY_UNKNOWN

__all__ = ["BUILDS", "NO_MEMORY", "RUNNERS", "RUNNERS_LOST", "RUNNERS_LOW"]

_TOOL = r"[\w.+-]{1,60}"
BUILDS = (
    Kind(
        "sigkill",
        pattern(
            rf"\bfatal error: Killed signal terminated program (?P<program>{_TOOL})|"
            rf"\binternal compiler error: Killed \(program (?P<program_1>{_TOOL})\)|"
            rf"\b(?P<program_2>ld|ld\.\w{{1,8}}|gold|lld|mold) terminated with signal 9\b|"
            rf"\bnvcc error : '(?P<program_3>{_TOOL})' died due to signal 9\b|"
            rf"\bprocess didn't exit successfully: `(?:\S{{0,200}}/)?(?P<program_4>{_TOOL})\b[^`]{{0,4000}}` "
            r"\(signal: 9, SIGKILL: kill\)|"
            r"\b(?P<program_5>clang(?:\+\+)?(?:-\d{1,3})?): error: unable to execute command: Killed|"
            rf"\b(?:command|process) '?(?P<program_6>gcc|g\+\+|cc|c\+\+|clang\+\+|nvcc)' failed with exit "
            rf"(?:code|status) (?:137|-9)\b"
        ),
        f"A part of a compiler, {{program}}, was killed by SIGKILL, as where memory does not suffice for as many at "
        f"once; {WHY_UNKNOWN}.",
        lacks="build",
    ),
    Kind(
        "sigkill",
        pattern(r"\bg?make(?:\[\d{1,3}\])?: \*\*\* \[(?P<target>[^\]\n]{1,300})\] Killed\b"),
        f"A process that make had started for {{target}} was killed by SIGKILL; {WHY_UNKNOWN}.",
        lacks="build",
    ),
    Kind(
        "sigkill",
        pattern(
            r"\bGradle build daemon disappeared unexpectedly|"
            r"\bThe build failed because the process exited too early\. This probably means the system ran out"
        ),
        "A process of a build ended without a word, as after SIGKILL; that memory was the reason is at most its "
        "parent's guess.",
        lacks="build",
    ),
)
"""Parts of a build that were killed."""
NO_MEMORY = (
    Kind(
        "memory_error",
        pattern(
            r"\b(?P<program>[\w+.-]{1,40}): out of memory allocating (?P<size>\d{1,18}) bytes(?: after a total of "
            r"(?P<had>\d{1,18}) bytes)?"
        ),
        "A compiler's part ({program}) could not have {size} bytes of the node's memory[; it had {had} bytes].",
        lacks="build",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bvirtual memory exhausted: Cannot allocate memory|\bfinal link failed: "
            r"(?:memory exhausted|Cannot allocate memory)|\bLLVM ERROR: out of memory|"
            r"\berror C1060: compiler is out of heap space|\berror LNK1102: out of memory"
        ),
        "A compiler or a linker could not have the memory that it asked for.",
        lacks="build",
    ),
)
"""Compilers that could not have memory."""
RUNNERS = (
    Kind(
        "sigkill",
        pattern(
            r"\bJob failed: (?:exit (?:code|status) |command terminated with exit code )137\b|"
            r"\bReceived \"killed\" signal\b|\bExited with code exit status 137\b|\bscript returned exit code 137\b"
        ),
        f"A step of a CI job was killed by SIGKILL; {WHY_UNKNOWN}.",
        lacks="runner",
    ),
    Kind(
        "container_limit",
        pattern(r"\b(?:Container '(?P<container>[\w.-]{1,60})'|Build container) exceeded memory limit\b"),
        "The container[ {container}] of a build (Bitbucket) reached its memory limit, and was ended.",
        lacks="runner",
    ),
)
"""Steps and containers that ended, as runners of CI jobs say."""
RUNNERS_LOST = (
    Kind(
        "unknown",
        pattern(
            r"\bThe (?:hosted|self-hosted) runner(?:: (?P<runner>[\w .#-]{1,80}?))? lost communication with the "
            r"server\b|"
            r"\bWe stopped hearing from agent (?P<agent>[\w .#-]{1,80}?)\. Verify the agent machine is running"
        ),
        "The runner[ {runner}][ {agent}] of a CI job no longer answered, as where the job leaves it no memory or no "
        "CPU, or where its machine is gone; the text does not say which.",
        lacks="runner",
    ),
    Kind(
        "unknown",
        pattern(r"\bThe runner has received a shutdown signal\b"),
        "The runner of a CI job was told to stop, as where its machine is taken away, the job is cancelled, or memory "
        "ran out; the text does not say which.",
        lacks="runner",
    ),
)
RUNNERS_LOW = (
    Kind(
        "warning",
        pattern(r"\bFree memory is lower than (?P<least>\d{1,3})%; Currently used: (?P<share>\d{1,3}(?:\.\d{1,2})?)%"),
        "A warning of Azure Pipelines: {share}% of the memory of the job's machine is used, and less than {least}% is "
        "free. The text does not say that anything was killed.",
        lacks="runner",
    ),
)
