"""What `raymemprof.pth` imports when Python starts, where the switch is on: waits until this process imports Ray.

`raymemprof.pth` lies beside the installed packages, where Python reads it at each start. So no runtime environment
needs a hook, of which Ray allows one.
"""

from __future__ import annotations

import wrapt

from ... import cluster


def _arm(module: object) -> None:
    """Begin where Ray is imported; whatever goes wrong, the import goes on."""
    try:
        from . import switch
        from .runtime_env import record_job_as_environment_says

        switch.arm()
        record_job_as_environment_says()
    except Exception as error:
        import logging

        logging.getLogger("raymemprof").warning("raymemprof: this process is not recorded: %r", error)


wrapt.register_post_import_hook(_arm, cluster.LOADING)
