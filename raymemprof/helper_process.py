"""The environment of Python processes that are started to help this one."""

from __future__ import annotations

import os
import sys

__all__ = ["environment"]


def environment(**defaults: str) -> dict[str, str]:
    """Return this process's environment, in which another imports what this one does, and nothing from its folder.

    Args:
        defaults: variables to set where they are not set.
    """
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**defaults, **os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
