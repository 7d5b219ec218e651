"""Starts the process that watches a node, on that node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from ... import cluster, helper_process
from ..usage.processes import find_raylet, table
from . import process
from .process import Request

__all__ = ["watch_here"]

_SECONDS_TO_BEGIN = 20.0
_READY = "ready"


def watch_here(host: str, port: int, secret: str, seconds: float) -> str | None:
    """Start a process that watches the node that this runs on; return why that cannot be done, None where it began.

    Args:
        host: where the watcher listens: the process ends with its connection to there.
        port: the same.
        secret: what it says to the watcher.
        seconds: for how long it watches at most.
    """
    node_id, folder = cluster.here(), cluster.logs_directory()
    if node_id is None or folder is None:
        return "this process runs on none of the cluster's nodes"
    raylet = find_raylet(table(), node_id)
    if raylet is None:
        return "its raylet cannot be seen from its workers, which run in containers of their own"
    return _started(Request(node_id, raylet.pid, str(folder), host, port, secret, seconds))


def _started(request: Request) -> str | None:
    try:
        started = subprocess.Popen(
            [sys.executable, "-m", process.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env=helper_process.environment(),
            start_new_session=True,  # neither Ctrl-C in a terminal nor the end of a worker's group is for it
        )
    except OSError as error:
        return f"no process can be started there: {error}"
    try:
        said, complaint = started.communicate(json.dumps(request), _SECONDS_TO_BEGIN)  # it closes both once it is ready
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)  # of both, the one that has left and the one that stays
        started.communicate()
        return f"it was not ready within {_SECONDS_TO_BEGIN:.0f} s"
    if said.split()[-1:] == [_READY]:
        return None
    words = (said.strip() or complaint.strip()).splitlines()
    return words[-1] if words else f"it ended with status {started.returncode}"
