"""A Ray cluster of several nodes on this machine, each with a session directory that the others cannot see.

As on machines of their own the directory has one path on all of them, and another content on each: every node but the
head has a view of the file system of its own. Where that cannot be had, each has a directory of another name.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

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
    view: str = ""
    """Its view of the file system, where that is its own."""
    node_id: str = ""
    _known: dict[int, psutil.Process] = field(default_factory=dict)

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
        """All that was seen of the node and is there."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                view = _view(process.pid)
                is_here = any(f"{self.folder}/" in f"{word}/" for word in process.cmdline())
                if view == self.view if self.view else is_here and view == _view(os.getpid()):
                    self._known[process.pid] = process
        for process in list(self._known.values()):
            with contextlib.suppress(psutil.Error):
                self._known.update({child.pid: child for child in process.children(recursive=True)})
        return [process for process in self._known.values() if process.is_running()]

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

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rn-", dir="/tmp"))  # a socket's path must be short
        self.port = _free_port()
        self.client_port = _free_port()
        self.nodes: list[Node] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def start(self, *names: str, python: str = sys.executable, cpus: int = 1, **env: str) -> None:
        """Start nodes; the first of all is the head, which drivers are on."""
        for name in names:
            process = self._start(name, python, cpus, env)
            node = self.nodes[-1]
            deadline = time.monotonic() + STARTING
            while process.poll() is None:
                assert time.monotonic() < deadline, (self.folder / f"{name}.log").read_text()
                if node.store != node.folder and not node.view:
                    with contextlib.suppress(OSError):
                        view = _view(process.pid)
                        node.view = view if view != _view(os.getpid()) else ""
                time.sleep(0.02)
            assert process.returncode == 0, (self.folder / f"{name}.log").read_text()

    def _start(self, name: str, python: str, cpus: int, env: dict[str, str]) -> subprocess.Popen[str]:
        is_head = not self.nodes
        is_hidden = not is_head and _can_hide()
        folder = self.nodes[0].folder if is_hidden else self.folder / name
        store = self.folder / f"{name}.store" if is_hidden else folder
        store.mkdir()
        command = [python, "-m", "ray.scripts.scripts", "start", f"--temp-dir={folder}", f"--num-cpus={cpus}"]
        command += ["--disable-usage-stats", "--object-store-memory=150000000"]
        command += [f"--resources={json.dumps({name: 1000})}", "--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--dashboard-agent-listen-port={_free_port()}"]
        if is_head:
            command += ["--head", f"--port={self.port}", "--include-dashboard=false"]
            command += [f"--ray-client-server-port={self.client_port}"]
        else:
            # Addresses of their own, too: a driver is on the node that has its address.
            command += [f"--address={self.address}", f"--node-ip-address=127.0.0.{len(self.nodes) + 1}"]
        if is_hidden:
            command = [
                "unshare",
                "--mount",
                "sh",
                "-c",
                f'mount --bind "{store}" "{folder}" && exec "$@"',
                "sh",
                *command,
            ]
        self.nodes.append(Node(name, folder, store))
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        environment |= {"RAY_AUTH_MODE": "disabled", **QUICK_TO_BURY, **env}
        with (self.folder / f"{name}.log").open("w") as log:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True, cwd="/"
            )

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
            for node in self.nodes:
                found = [one["NodeID"] for one in ray.nodes() if one["Alive"] and node.name in one["Resources"]]
                node.node_id = found[0] if found else ""

    def stop(self, *names: str) -> None:
        """Kill nodes, or all of them and remove what they left."""
        gone = [node for node in self.nodes if not names or node.name in names]
        processes = [process for node in gone for process in node.processes()]
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(processes, timeout=30)
        self.nodes = [node for node in self.nodes if node not in gone]
        if not names:
            shutil.rmtree(self.folder, ignore_errors=True)
        assert not alive, alive


def _view(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/mnt") if sys.platform == "linux" else ""


def _can_hide() -> bool:
    """Whether a node can have a view of the file system of its own; it needs root, on Linux."""
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
