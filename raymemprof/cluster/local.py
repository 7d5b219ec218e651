"""The Ray clusters that run on this machine, wherever their sessions lie: their raylets' command lines say it.

Ray is not imported for it, nor asked: a raylet that hangs is one that runs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from ..ownership import user_name

__all__ = ["LocalCluster", "is_running", "running", "session_roots", "shown"]

_HERE = ("localhost", "127.0.0.1", "[::1]")
_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A cluster that has nodes on this machine.

    Attributes:
        address: host and port of its GCS, which is what `ray.init(address=...)` takes.
        logs: the log folders of its nodes here, as far as this process can see them: a container's it cannot.
        started: when the first of these nodes was started, in seconds since the epoch.
        uid: the user that it runs as.
    """

    address: str
    logs: tuple[Path, ...]
    started: float
    uid: int

    @property
    def is_own(self) -> bool:
        """Whether it runs as this user."""
        return self.uid == os.geteuid()

    def is_at(self, address: str) -> bool:
        """Whether it is the cluster at an address as people give it."""
        own_host, _, own_port = self.address.rpartition(":")
        host, _, port = address.rpartition(":")
        return port == own_port and host in (own_host, *_HERE)

    def __str__(self) -> str:
        whose = "" if self.is_own else f" of {user_name(self.uid)}"
        where = str(self.logs[0].parent) if self.logs else "its files cannot be seen from here"
        return f"{self.address}{whose} ({where})"


def running() -> list[LocalCluster]:
    """Return the clusters that run here, this user's first, the one that was started last before the others."""
    found: dict[tuple[str, int], LocalCluster] = {}
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != "raylet":
            continue
        with contextlib.suppress(psutil.Error, OSError):
            options = dict(option.split("=", 1) for option in process.cmdline() if "=" in option)
            address, session = options.get("--gcs-address"), options.get("--session_dir")
            if address and session:
                logs = Path(options.get("--log_dir") or Path(session, "logs"))
                node = LocalCluster(
                    address, (logs,) if _is_seen(process.pid, logs) else (), process.create_time(), process.uids().real
                )
                other = found.get((address, node.uid))
                found[address, node.uid] = _together(node, other) if other else node
    return sorted(found.values(), key=lambda cluster: (not cluster.is_own, -cluster.started, cluster.address))


def _together(one: LocalCluster, other: LocalCluster) -> LocalCluster:
    logs = tuple(dict.fromkeys((*other.logs, *one.logs)))
    return LocalCluster(one.address, logs, min(one.started, other.started), one.uid)


def _is_seen(pid: int, folder: Path) -> bool:
    """Whether a process's folder is here what it is there: each container has a file system of its own."""
    if not folder.is_dir():
        return False
    try:
        return os.path.samefile(f"/proc/{pid}/root{folder}", folder)
    except OSError:  # not Linux, or another user's process, which may not be asked
        return True


def shown(clusters: Iterable[LocalCluster]) -> str:
    """List clusters within a sentence."""
    texts = list(map(str, clusters))
    more = len(texts) - _MOST_SHOWN
    return ", ".join(texts[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def session_roots() -> list[Path]:
    """Return the folders on this machine under which Ray keeps its sessions."""
    roots = [os.environ.get("RAY_TMPDIR"), "/tmp", tempfile.gettempdir()]
    found: dict[Path, None] = {}
    for root in roots:
        if root:
            found.setdefault(Path(root, "ray"), None)
    return list(found)


def is_running(session: Path) -> bool:
    """Whether a session's raylet answers on this machine."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(session / "sockets" / "raylet"))
        except OSError:
            return False
        return True
