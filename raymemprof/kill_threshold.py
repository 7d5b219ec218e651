"""The memory in use above which Ray kills, from Ray's settings in the environment.

A raylet's log, if there is one, says which threshold it uses: `cluster/state.py` reads it.
"""

from __future__ import annotations

import contextlib
import os

__all__ = ["from_settings"]

_DEFAULT = 0.95
"""The part of a node's memory, unless RAY_memory_usage_threshold sets another."""


def from_settings(total: int) -> int:
    """Return the bytes in use above which Ray's memory monitor kills on a node with so much memory."""
    above = int(total * _DEFAULT)
    with contextlib.suppress(ValueError):
        threshold = float(os.environ.get("RAY_memory_usage_threshold", ""))
        if 0 <= threshold <= 1:  # Ray does not start with another
            above = int(total * threshold)
    with contextlib.suppress(ValueError):
        least_free = int(os.environ.get("RAY_min_memory_free_bytes", ""))
        if 0 <= least_free <= total:  # as long as so much is free, Ray does not kill; by default it is -1
            above = max(above, total - least_free)
    return above
