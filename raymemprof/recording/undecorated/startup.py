"""What `raymemprof.pth` imports when Python starts, where the switch is on: waits until this process imports Ray.

`raymemprof.pth` lies beside the installed packages, where Python reads it at each start. So no runtime environment
needs a hook, of which Ray allows one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import wrapt

from ... import cluster


def _guarded(act: Callable[[], None]) -> Callable[[object], None]:
    """Return a hook that does something when a module of Ray's is imported. Whatever goes wrong, the import goes on."""

    def hook(module: object) -> None:
        try:
            act()
        except Exception as error:
            logging.getLogger("raymemprof").warning("raymemprof: this process is not recorded: %r", error)

    return hook


def _record() -> None:
    from . import switch

    switch.arm()


def _drive() -> None:
    from .runtime_env import record_job_as_environment_says

    record_job_as_environment_says()


wrapt.register_post_import_hook(_guarded(_record), cluster.LOADING)
wrapt.register_post_import_hook(_guarded(_drive), cluster.DRIVING)
