"""All that `explain()` advises, in one table: for which fact, in which words, and where that is documented."""

from __future__ import annotations

from .accelerators import ACCELERATORS, ACCELERATORS_BY_LACK
from .figures import FIGURES, FIGURES_BY_LACK
from .programs import PROGRAMS, PROGRAMS_BY_LACK
from .ray import RAY, RAY_BY_LACK
from .systems import SYSTEMS, SYSTEMS_BY_LACK

__all__ = ["BY_CAUSE", "BY_LACK", "REMEDIES", "RESERVE_BUFFER", "say"]

RESERVE_BUFFER = 2**30
"""Bytes that Ray's guide leaves between what the system uses and what is reserved for it."""
REMEDIES = {**FIGURES, **RAY, **SYSTEMS, **ACCELERATORS, **PROGRAMS}
"""By key. A module of this folder has the rows of a subject, in the order in which they stand beside each other."""
BY_CAUSE = {
    "container_limit": ("container_limit", "pod_events"),
    "object_store_full": ("list_references", "return_less"),
    **{
        cause: (cause,)
        for cause in (
            "evicted",
            "slurm_limit",
            "batch_limit",
            "systemd_oomd",
            "earlyoom",
            "gpu_memory",
            "bus_error",
            "owner_died",
            "object_lost",
            "preempted",
            "warning",
            "crash",
            "exit",
            "ray_kill",
            "node_died",
            "disk_full",
            "not_started",
            "memory_error",
            "unknown",
        )
    },
}
"""What is said of a cause by itself, whatever else is known."""
BY_LACK = {**FIGURES_BY_LACK, **RAY_BY_LACK, **SYSTEMS_BY_LACK, **ACCELERATORS_BY_LACK, **PROGRAMS_BY_LACK}
"""What is said instead where the message says what has too little (`Message.lacks`)."""


def say(key: str, **figures: object) -> str:
    """Return a piece of advice in words."""
    return REMEDIES[key].text.format(**figures)
