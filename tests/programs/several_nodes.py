"""A Ray cluster of several nodes on this machine, each with a session directory that the others cannot see.

As on machines of their own the directory has one path on all of them, and another content on each: every node but the
head has a view of the file system of its own. Where that cannot be had, each has a directory of another name.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

_TOO_SLOW = "The current node timed out during startup"
_TRIES = 3
RAY = """
import sys
sys.modules |= dict.fromkeys(["ray.serve.scripts", "ray.util.state.state_cli", "ray.dashboard.modules.job.cli"])
from ray.scripts.scripts import main
main()
"""
"""The `ray` command without what only its other subcommands import, such as FastAPI and pandas: a third of the time."""
_NO_SERVER = """
from ray._private.node import Node
Node.start_api_server = lambda self, **options: None
"""
"""Ray starts the dashboard's server, with less in it, also where there is to be no dashboard."""
STARTING = 120
"""Seconds that a node may take to be there."""
QUICK_TO_BURY = {
    # A node that is gone is declared dead after some seconds, one that merely does not answer after minutes.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "20000",
    "RAY_health_check_failure_threshold": "10",
}


@dataclass(eq=False)
class Node:
    """A node: its name, which is a resource of it too, its id, and its session directory."""

    name: str
    folder: Path
    """As the node sees it."""
    store: Path
    """As this process sees it."""
    session: int = 0
    """The session of processes that all it starts stays in, though workers have groups of their own."""
    node_id: str = ""
    number: int = 1
    """The last part of its address."""

    @property
    def logs(self) -> Path:
        """Its log directory, as this process sees it."""
        return next(self.store.glob("session_2*")) / "logs"

    def seen(self, path: os.PathLike[str]) -> Path:
        """Where this process sees a file of the node's."""
        return self.store / Path(path).relative_to(self.folder)

    def raylet(self) -> psutil.Process:
        return next(process for process in self.processes() if process.name() == "raylet")

    def workers(self) -> list[psutil.Process]:
        return self.raylet().children(recursive=True)

    def processes(self) -> list[psutil.Process]:
        """All that runs of the node."""
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(OSError, psutil.Error):
                process = psutil.Process(pid)
                if os.getsid(pid) == self.session and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def freeze(self) -> None:
        """Stop the raylet and its workers, as a machine is that thrashes."""
        for process in [self.raylet(), *self.workers()]:
            with contextlib.suppress(psutil.Error):
                process.suspend()

    def thaw(self) -> None:
        """Have all go on."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.resume()


class Nodes:
    """The cluster."""

    def __init__(self, monitors: bool = False) -> None:
        """`monitors`: whether it has Ray's log monitors, autoscaler and dashboard's server, which few tests need."""
        self.monitors = monitors
        self.folder = Path(tempfile.mkdtemp(prefix="rn-", dir="/tmp"))  # a socket's path must be short
        self.port = free_port()
        self.client_port = free_port()
        self.nodes: list[Node] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def start(
        self,
        *names: str,
        python: str = sys.executable,
        cpus: int = 1,
        store: int = 150_000_000,
        within: tuple[str, ...] = (),
        before: Callable[[], object] | None = None,
        **env: str,
    ) -> None:
        """Start nodes; the first of all is the head, which drivers are on.

        Args:
            names: a node's name is a resource of it, too.
            python: the interpreter that it runs in.
            cpus: how many it offers.
            store: bytes of its object store.
            within: a command to start it by.
            before: called in the process that becomes it.
            env: environment variables of it.
        """
        ray = [python, "-c", RAY if self.monitors else _NO_SERVER + RAY]
        # The head is there before the others begin, which then do at once.
        for some in (names[:1], names[1:]) if not self.nodes else (names,):
            started = {name: self._start(name, ray, cpus, store, within, before, env) for name in some}
            for name, process in started.items():
                said = _ended(process, self.folder / f"{name}.log")
                for _ in range(_TRIES - 1):
                    if _TOO_SLOW in said:
                        files = self[name].store
                        self.stop(name)
                        shutil.rmtree(files, ignore_errors=True)
                        self.folder.mkdir(exist_ok=True)  # which the last node took with it
                        again = self._start(name, ray, cpus, store, within, before, env)
                        said = _ended(again, self.folder / f"{name}.log")
                assert said == "", said

    def _start(
        self,
        name: str,
        ray: list[str],
        cpus: int,
        store: int,
        within: tuple[str, ...],
        before: Callable[[], object] | None,
        env: dict[str, str],
    ) -> subprocess.Popen[str]:
        is_head, number = not self.nodes, 1
        is_hidden = not is_head and _can_hide()
        folder = self.nodes[0].folder if is_hidden else self.folder / name
        here = self.folder / f"{name}.store" if is_hidden else folder
        here.mkdir()
        command = [*within, *ray, "start", f"--temp-dir={folder}", f"--num-cpus={cpus}"]
        command += ["--disable-usage-stats", f"--object-store-memory={store}"]
        command += [f"--resources={json.dumps({name: 1000})}", "--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--dashboard-agent-listen-port={free_port()}", f"--include-log-monitor={self.monitors}"]
        if is_head:
            command += ["--head", f"--port={self.port}", "--include-dashboard=false"]
            command += [] if self.monitors else ["--no-monitor"]
            command += [f"--ray-client-server-port={self.client_port}"]
        else:
            # Addresses of their own, too: a driver is on the node that has its address, or on any of several that have.
            taken = [node.number for node in self.nodes]
            number = next(number for number in range(2, 250) if number not in taken)
            command += [f"--address={self.address}", f"--node-ip-address=127.0.0.{number}"]
        if is_hidden:
            hide = f'mount --bind "{here}" "{folder}" && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", hide, "sh", *command]
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        environment |= {**QUICK_TO_BURY, **env}
        with (self.folder / f"{name}.log").open("w") as log:
            started = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                cwd="/",
                start_new_session=True,
                preexec_fn=before,
            )
        self.nodes.append(Node(name, folder, here, started.pid, number=number))
        return started

    def connect(self) -> None:
        """Connect this process, on the head, and learn the nodes' ids."""
        import ray

        ray.init(address=self.address, logging_level="ERROR", log_to_driver=False)
        self.learn()
        assert ray.get_runtime_context().get_node_id() == self.nodes[0].node_id

    def learn(self) -> None:
        """Wait until the cluster knows all nodes, and take their ids."""
        import ray

        deadline = time.monotonic() + STARTING
        while not all(node.node_id for node in self.nodes):
            assert time.monotonic() < deadline, f"{ray.nodes()} lacks a node"
            for node in (node for node in self.nodes if not node.node_id):
                found = [one["NodeID"] for one in ray.nodes() if one["Alive"] and node.name in one["Resources"]]
                node.node_id = found[0] if found else ""

    def stop(self, *names: str) -> None:
        """Kill nodes, or all of them and remove what they left."""
        gone = [node for node in self.nodes if not names or node.name in names]
        deadline = time.monotonic() + STARTING
        while processes := [process for node in gone for process in node.processes()]:
            assert time.monotonic() < deadline, processes
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(processes, timeout=1)
        self.nodes = [node for node in self.nodes if node not in gone]
        if not self.nodes:
            shutil.rmtree(self.folder, ignore_errors=True)


def init(include_dashboard: bool = False, **options: Any) -> None:
    """Call `ray.init`, again where the node is not there within Ray's limit, which is 30 s, on a busy machine.

    The node has no log monitor, no autoscaler and no server of the dashboard, which few tests need.
    """
    import ray
    from ray._private import parameter
    from ray._private.node import Node

    without = functools.partial(parameter.RayParams, no_monitor=True, include_log_monitor=False)
    no_server = contextlib.nullcontext() if include_dashboard else mock.patch.object(Node, "start_api_server")
    for left in reversed(range(_TRIES)):
        try:
            with mock.patch.object(parameter, "RayParams", without), no_server:
                ray.init(include_dashboard=include_dashboard, **options)
            return
        except Exception as error:
            ray.shutdown()
            if _TOO_SLOW not in str(error) or not left:
                raise


def _ended(process: subprocess.Popen[str], log: Path) -> str:
    """Wait for a command to end, and return what it wrote if it failed."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STARTING)
    process.kill()
    return "" if process.wait() == 0 else log.read_text() or "it failed without a word"


def _can_hide() -> bool:
    """Whether a node can have a view of the file system of its own; it needs root, on Linux."""
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
