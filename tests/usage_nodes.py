"""Ray nodes for tests: each with a folder and a session of processes of its own, by which it is ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

RAY = [sys.executable, "-c", "import sys; from ray.scripts.scripts import main; sys.exit(main())"]


QUICK_TO_BURY = {  # as soon as it does not answer any more; one that is slow has the usual time
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "300",
    "RAY_health_check_timeout_ms": "20000",
    "RAY_health_check_failure_threshold": "3",
}


class Nodes:
    """The nodes of one cluster; the first that is started is its head."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.sessions: dict[str, int] = {}
        self.folders: list[str] = []

    def start(
        self,
        name: str,
        *options: str,
        within: tuple[str, ...] = (),
        before: Callable[[], object] | None = None,
        **environment: str,
    ) -> None:
        """Start a node that has a resource of its name; `within` is a command to start it by."""
        folder = tempfile.mkdtemp(prefix="rmpn-", dir="/tmp")  # a socket's name is short
        self.folders.append(folder)
        place = ["--head", f"--port={self.address.partition(':')[2]}", "--include-dashboard=false"]
        place.append(f"--ray-client-server-port={free_port()}")
        common = [f"--temp-dir={folder}", f'--resources={{"{name}": 1000}}', "--disable-usage-stats"]
        started = subprocess.Popen(
            [
                *within,
                *RAY,
                "start",
                *(place if not self.sessions else [f"--address={self.address}"]),
                *common,
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **QUICK_TO_BURY, **environment},
            start_new_session=True,
            preexec_fn=before,
            cwd=folder,
        )
        self.sessions[name] = (
            started.pid
        )  # what it starts stays in its session, though workers have groups of their own
        try:
            out, _ = started.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            self.stop(name)
            raise
        assert started.returncode == 0, out.decode()

    def pids(self, name: str) -> set[int]:
        """The processes of a node, as the system has them."""
        found = set()
        for pid in psutil.pids():
            with contextlib.suppress(OSError, psutil.Error):
                if os.getsid(pid) == self.sessions[name] and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    found.add(pid)
        return found

    def stop(self, *names: str) -> None:
        """End nodes, or all of them, at once."""
        for name in names or list(self.sessions):
            deadline = time.monotonic() + 30
            while (pids := self.pids(name)) and time.monotonic() < deadline:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
            del self.sessions[name]
        if not self.sessions:
            for folder in self.folders:
                shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def shared_and_resident(pid: int) -> tuple[int, int]:
    """SHR and RSS of a process as the system has them, in bytes."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[2]) * os.sysconf("SC_PAGE_SIZE"), int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
