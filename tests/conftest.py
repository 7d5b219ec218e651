"""Fixtures: one Ray cluster for each test module, of its own and stopped after it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.programs.several_nodes import Nodes

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background, where Ctrl-C cannot be tested
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

# Clusters want a token, as they do by default where there is one, and `ray.init()` sees to that. Who connects to one by
# its address has to say so. It is said before Ray is imported, which reads it then; an older Ray has no such command.
_generate = [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"]
if not os.environ.get("RAY_AUTH_MODE") and subprocess.run(_generate, capture_output=True).returncode == 0:
    os.environ["RAY_AUTH_MODE"] = "token"


@pytest.fixture(scope="session", autouse=True)
def _sessions_of_their_own() -> Iterator[None]:
    """Every Ray session of the tests lies in a folder that goes with them. Its name is short: a socket's is."""
    folder = tempfile.mkdtemp(prefix="rmp-", dir="/tmp")
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["RAY_TMPDIR"]
        else:
            os.environ["RAY_TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


ALONE = (
    "test_advise",
    "test_children",
    "test_libraries",
    "test_ooms",
    "test_serving",
    "test_shared_memory",
    "test_truth",
)
"""Modules that want the machine for themselves: they measure what is soon over, have Ray kill at just some size, or use
ports that Ray chooses."""


TEXTS = ("test_layouts", "test_messages", "test_remedies")
"""Modules that only read texts: they run beside those, with what those leave of the CPUs."""


CLUSTERS = {"cluster", "nodes"}
"""Fixtures that start Ray."""


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Ray, and have the modules above come last, in turns; before them, the largest first."""
    for item in items:
        if "cluster" in item.path.parts or CLUSTERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.needs_ray)
    sizes = Counter(item.path for item in items)
    largest = sorted(sizes, key=lambda path: -sizes[path])
    turns = {path: n for names in (ALONE, TEXTS) for n, path in enumerate(p for p in largest if p.stem in names)}
    items.sort(key=lambda item: (item.path in turns, turns.get(item.path, 0), -sizes[item.path]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Show a failure when it happens: a run that does not come to its end tells of it too."""
    if report.failed and not os.environ.get("PYTEST_XDIST_WORKER"):
        print(f"\n{report.when} of {report.nodeid} failed:\n{report.longreprtext[-3000:]}", flush=True)


@pytest.fixture(scope="module", autouse=True)
def _in_turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """While one that wants it alone runs no other does, of all tests on the machine; the others run side by side."""
    if Path(str(request.path)).stem in TEXTS and os.geteuid() == 0:  # who is not root cannot have its priority back
        before = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, 19)
        try:
            yield
        finally:
            os.setpriority(os.PRIO_PROCESS, 0, before)
        return
    folder = Path(tempfile.gettempdir())
    how = fcntl.LOCK_EX if Path(str(request.path)).stem in ALONE else fcntl.LOCK_SH
    with open(folder / "raymemprof-tests-turn.lock", "w") as turn:
        with open(folder / "raymemprof-tests-gate.lock", "w") as gate:  # or those that share would never end
            fcntl.flock(gate, fcntl.LOCK_EX)
            fcntl.flock(turn, how)
        yield


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No option of the caller's may reach a test, and no report may land in the source tree."""
    for name in list(os.environ):
        if name.startswith("RAYMEMPROF_") or name == "COLUMNS":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A Ray cluster of two CPUs that this process is connected to; gives its log directory."""
    import ray

    ray.init(
        num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False, object_store_memory=200_000_000
    )
    try:
        yield Path(ray._private.worker.global_worker.node.get_logs_dir_path())
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A cluster of three nodes with session directories of their own; this process is connected to it, on "one"."""
    import ray

    nodes = Nodes()
    try:
        nodes.start("one", "two", "three")
        nodes.connect()
        yield nodes
    finally:
        ray.shutdown()
        nodes.stop()


@pytest.fixture(scope="session")
def memory_to_itself() -> Callable[[], AbstractContextManager[None]]:
    """Have the machine's memory for oneself: of all tests on it that have Ray kill for memory, one runs at a time.

    Ray kills where the whole machine uses too much, and what one of them takes, another would be killed for.
    """

    @contextlib.contextmanager
    def locked() -> Iterator[None]:
        with open(Path(tempfile.gettempdir()) / "raymemprof-tests.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    return locked


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., str]:
    """Run Python code as a script of its own, and return what it printed; fails the test if the script fails."""

    def run(code: str, timeout: float = 120, **env: str) -> str:
        path = tmp_path / "script.py"
        path.write_text(code)
        process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONFAULTHANDLER": "1", **env},
            cwd=tmp_path,
        )
        is_late = False
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            is_late = True
            process.send_signal(signal.SIGABRT)  # it shows where its threads are
            out, err = process.communicate()
        assert not is_late, f"did not end within {timeout} s:\n{out}{err}"
        assert process.returncode == 0, out + err
        return out

    return run


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Return the first true answer of `condition`; fails the test where none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.02)


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[..., Any]:
    """`wait_for`, for tests: a conftest cannot be imported."""
    return wait_for
