"""Runs code where no other Ray cluster is seen: in a PID namespace of its own, whose end is the end of all in it.

On a machine where that cannot be had, the clusters that run there must be the tests' own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_APART = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
COMMAND = Path(sys.executable).with_name("raymemprof")
_DRIVER = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
if sys.argv[2]:
    os.setreuid(int(sys.argv[2]), 0)  # as that user, but with the means of this one
import ray
from raymemprof import profile_memory
from several_nodes import init
init(num_cpus=1, logging_level="ERROR", log_to_driver=False, _temp_dir=sys.argv[1],
     object_store_memory=100_000_000)

@ray.remote
@profile_memory(linger=0)
def load(size):
    return len(bytearray(size))

for _ in range(int(sys.argv[3])):
    ray.get(load.remote(1_000_000))
session = os.path.realpath(os.path.join(sys.argv[1], "session_latest"))
print(ray.get_runtime_context().gcs_address, session, flush=True)
sys.stdin.read()
"""


def can_be_apart() -> bool:
    """Whether code can be run so; it needs root, on Linux."""
    try:
        return subprocess.run([*_APART, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def run_apart(code: str, folder: Path, **env: str) -> Any:
    """Run code that prints JSON last, and return that; `folder` is where sessions and temporary files lie."""
    script = folder / "apart.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom apart_program import *\n{code}"
    )
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("RAY_ADDRESS", "RAYMEMPROF_"))
    }
    environment |= {"TMPDIR": str(folder), "RAY_TMPDIR": str(folder), "COLUMNS": "200", **env}
    prefix = _APART if can_be_apart() else []
    done = subprocess.run(
        [*prefix, sys.executable, script], capture_output=True, text=True, timeout=300, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


class Cluster:
    """A cluster with a temporary directory of its own, and some recorded calls of `load`."""

    def __init__(self, temp_dir: str, uid: int | None = None, calls: int = 1) -> None:
        who = "" if uid is None else str(uid)
        self._driver = subprocess.Popen(
            [sys.executable, "-c", _DRIVER, temp_dir, who, str(calls)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._driver.stdout is not None
        self.address, self.session = self._driver.stdout.readline().split()

    def stop(self) -> None:
        self._driver.communicate()
        assert self._driver.returncode == 0


def ask_here(*arguments: str) -> tuple[int | str | None, str, str]:
    """Return the same of the command run in this process, which is quicker; not for what connects to a cluster."""
    from raymemprof.cli.app import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as end:
            return end.code, out.getvalue(), err.getvalue()
    raise AssertionError("the command did not end the process")


def ask(*arguments: str, **env: str) -> tuple[int, str, str]:
    """Return exit status, standard output and standard error of the `raymemprof` command."""
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=120, env={**os.environ, **env})
    return done.returncode, done.stdout, done.stderr
