"""What `raymemprof.pth` calls where the switch is on, when a process imports the parts of Ray that concern it.

`raymemprof.pth` lies beside the installed packages, where Python reads it at each start. So no runtime environment
needs a hook, of which Ray allows one. It needs nothing of this package until Ray is imported.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from ... import cluster
from . import record_all
from .runtime_env import record_job_as_environment_says
from .selection import is_on

__all__ = ["BEGINS", "begin"]

BEGINS: dict[str, Callable[[], None]] = {
    cluster.LOADING: record_all.arm,
    cluster.DRIVING: record_job_as_environment_says,
}
"""What begins with which module of Ray's."""


def begin(module: str) -> None:
    """Begin what this module of Ray's is needed for. Whatever goes wrong, its import goes on."""
    if is_on(os.environ):
        try:
            BEGINS[module]()
        except Exception as error:
            logging.getLogger("raymemprof").warning("raymemprof: this process is not recorded: %r", error)
