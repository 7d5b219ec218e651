"""Reads what else failed, or was killed, in a text whose first matter is known."""

from __future__ import annotations

from dataclasses import replace

from .facts import Message
from .kinds import first_of
from .patterns import Form
from .programs.accelerators import accelerator
from .programs.libraries import LIBRARIES
from .ray.objects import LOST
from .systems.launchers import SIGKILL
from .systems.limits import PAGING_FILE

__all__ = ["beside"]

_FIGURE = Form(r"\d")
_KILLS = (
    "ray_memory_monitor",
    "kernel_oom",
    "container_limit",
    "slurm_limit",
    "batch_limit",
    "systemd_oomd",
    "earlyoom",
    "evicted",
)


def beside(message: Message, text: str) -> Message | None:
    """Return what a text also tells of: what failed beside a kill, or a kill beside an allocation that failed."""
    if message.cause in _KILLS:
        on_device = accelerator(text)
        if on_device is not None and not _FIGURE.search(on_device.statement or ""):
            on_device = None  # the name alone may be a person's, who says that it was not that
        return on_device or first_of(LIBRARIES, text) or first_of(LOST, text)
    if message.cause == "memory_error" and message.lacks != PAGING_FILE.lacks:
        return PAGING_FILE.read(text)
    if message.cause == "gpu_memory" and not message.victims:
        killed = first_of(SIGKILL, text)
        if killed is not None and killed.statement and any(one.pid for one in killed.victims):
            return replace(killed, statement=f"{killed.statement.partition(';')[0]}.")
    return None
