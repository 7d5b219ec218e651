"""The limit of the size of files that the process has (RLIMIT_FSIZE), and what becomes of it where it is reached."""

from __future__ import annotations

import math
import signal

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["longest_file", "would_signal"]


def longest_file() -> float:
    """Return the bytes that a file of this process may have."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0] if resource is not None else math.inf
    return math.inf if resource is None or limit == resource.RLIM_INFINITY else limit


def would_signal() -> bool:
    """Whether writing more to a file would end the process, or run its handler: Python ignores the signal at first."""
    return longest_file() < math.inf and signal.getsignal(signal.SIGXFSZ) is not signal.SIG_IGN
