"""Commands connect with the authentication that a cluster wants, whatever the environment says; else they say it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs.several_nodes import Nodes

COMMAND = Path(sys.executable).with_name("raymemprof")
SCRIPT = """
import sys, ray
from raymemprof import cluster, profile_memory
cluster.connect(sys.argv[1])

@ray.remote
class Actor:
    def record(self):
        with profile_memory("inside"):
            return len(bytearray(1_000_000))

assert ray.get(Actor.remote().record.remote()) == 1_000_000
"""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray._private.authentication") is None, reason="this Ray knows no tokens"
)


@pytest.fixture(scope="module", params=["token", "disabled"])
def clusters(request: pytest.FixtureRequest) -> Iterator[Nodes]:
    """A cluster that wants a token, then one that wants none: no other than these run as its user."""
    nodes = Nodes()
    try:
        nodes.start("one", RAY_AUTH_MODE=request.param)
        yield nodes
    finally:
        nodes.stop()


def run(*command: object, mode: str | None, timeout: float = 90, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"} | env
    if mode is not None:
        environment["RAY_AUTH_MODE"] = mode
    return subprocess.run(
        [*map(str, command)], env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.mark.parametrize("mode", [None, "token", "disabled"])
def test_the_environment_does_not_matter(clusters: Nodes, mode: str | None, tmp_path: Path) -> None:
    """An actor is refused by the driver's own side where the modes of cluster and driver differ."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = run(sys.executable, script, clusters.address, mode=mode)
    assert done.returncode == 0, done.stderr
    done = run(COMMAND, "calls", "--name", "inside", "--address", clusters.address, mode=mode)
    assert (done.returncode, done.stderr) == (0, "")
    assert " inside " in done.stdout


def captures(address: str, **env: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run the command at an address, and return how it ended, and after how many seconds."""
    for _ in range(4):  # on a busy machine Ray Client's server takes longer to start than Ray waits
        began = time.monotonic()
        done = run(COMMAND, "captures", "--address", address, mode=None, **env)
        if "Starting Ray client server failed" not in done.stderr:
            break
    return done, time.monotonic() - began


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_the_token(clusters: Nodes, kind: str, request: pytest.FixtureRequest) -> None:
    address = f"ray://127.0.0.1:{clusters.client_port}" if kind else clusters.address
    done, _ = captures(address)
    assert done.returncode == 0, done.stderr
    done, took = captures(address, RAY_AUTH_TOKEN="0" * 32)
    if "disabled" in request.node.name:
        assert done.returncode == 0, done.stderr
        return
    assert (done.returncode, done.stdout) == (2, "")
    assert took < 15  # some two, and Ray itself would try for twenty
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"raymemprof: the Ray cluster at {address!r} cannot be connected to: it wants a token")
    assert "`ray get-auth-token`" in line
    assert "RAY_AUTH_TOKEN" in line
