"""What Jupyter, VS Code, Colab, Kaggle and others say of a notebook's kernel that ended."""

from __future__ import annotations

from ..kinds import Kind
from ..patterns import COUNT, pattern

__all__ = ["LARGE", "NOTEBOOKS", "OUT_OF_MEMORY"]

OUT_OF_MEMORY = (
    Kind(
        "container_limit",
        pattern(
            r"\bYour session crashed after using (?:up )?all available (?:RAM|memory)\b|"
            r"\bYour notebook tried to allocate more memory than is available\b"
        ),
        "A hosted notebook (Colab or Kaggle) used all memory of its machine, and its session was ended.",
        lacks="notebook",
    ),
    Kind(
        "container_limit",
        pattern(
            rf"\bdetected potentially oom-killed process:;? (?P<pid>{COUNT}) \(running for [^\n()]{{1,80}}?"
            r"\brss: (?P<rss>[\d.]{1,12} ?[kmgKMG]?)[^\n()]{0,40}\): (?P<name>\S{1,200})|"
            r"\bpython-kernel: Out-of-memory detected!"
        ),
        "Backend.AI detected that a notebook's container was out of memory[, and says that {victims}, with an rss of "
        "{rss}, was potentially killed for that].",
        lacks="notebook",
    ),
)
NOTEBOOKS = (
    Kind(
        "unknown",
        pattern(
            r"\b[Tt]he kernel(?: for (?P<notebook>[^\n]{1,120}?))? appears to have died\b|"
            r"\b[Tt]he kernel (?:has )?died, restarting\b|\bDeadKernelError: Kernel died\b|"
            r"\bThe Kernel crashed while executing code in the (?:the )?current cell\b|"
            r"\bYour session crashed for an unknown reason\b|\bThe Python kernel is unresponsive\b|"
            r"KernelRestarter: restarting kernel \(\d{1,3}/\d{1,3}\)|\bkernel (?P<kernel>[0-9a-f]{8}-[0-9a-f-]{27}) "
            r"restarted\b"
        ),
        "A notebook's kernel ended[, that of {notebook}][, {kernel}], and the text does not say why: as where it was "
        "killed for memory, or crashed in native code.",
        lacks="a kernel's end",
    ),
)
"""What says that a kernel ended, and not why."""
LARGE = (
    Kind(
        "warning",
        pattern(
            r"\btcmalloc: large alloc (?P<size>\d{1,18}) bytes|\bAllocation of (?P<bytes>\d{1,18}) exceeds \d{1,3}% of "
            r"(?:free )?system memory"
        ),
        "A warning of an allocator: a program asked for [{size} bytes][{bytes} bytes] at once. The text does not say "
        "that anything was killed.",
    ),
)
"""Allocations that an allocator warns of."""
