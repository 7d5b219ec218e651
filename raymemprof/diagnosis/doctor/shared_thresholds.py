"""Figures that several checks share, each with its reason; those of one illness stand in its file."""

from __future__ import annotations

__all__ = ["MAINLY", "MOST_NAMED", "MOST_OF_MEMORY", "NEARLY_FULL", "PLAIN_WORKER"]

_MIB = 2**20
MAINLY = 0.5
"""Part of a process's growth that allocators, or lines, must hold to count as its cause."""
MOST_OF_MEMORY = 0.5
"""Part of the used memory that processes of one name must have to be what fills a node."""
NEARLY_FULL = 0.9
"""Part of the limit above which a node is about to kill: a task that allocates 1 GB/s is there within seconds."""
PLAIN_WORKER = 150 * _MIB
"""An idle worker that keeps nothing uses 40 to 150 MiB, with what it has imported."""
MOST_NAMED = 3
"""Lines, processes, nodes or doubts that one sentence, or finding, names."""
