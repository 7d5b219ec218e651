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

from tests.machine import Machine
from tests.programs.browser import executable
from tests.programs.several_nodes import RAY, Nodes, init

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background, where Ctrl-C cannot be tested
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # two workers for each cluster, which few tests need

# Clusters want a token, as they do by default where there is one, and `ray.init()` sees to that. Who connects to one by
# its address has to say so. It is said before Ray is imported, which reads it then; an older Ray has no such command.
_generate = [sys.executable, "-c", RAY, "get-auth-token", "--generate"]
if not os.environ.get("RAY_AUTH_MODE") and subprocess.run(_generate, capture_output=True).returncode == 0:
    os.environ["RAY_AUTH_MODE"] = "token"


@pytest.fixture(scope="session", autouse=True)
def _sessions_of_their_own() -> Iterator[None]:
    """Every Ray session of the tests, and what is cached, lies in a folder that goes with them, of a short name."""
    folder = tempfile.mkdtemp(prefix="rmp-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("XDG_CACHE_HOME", f"{folder}/cache")
        yield
    shutil.rmtree(folder, ignore_errors=True)


ALONE = (
    "test_advise",
    "test_children",
    "test_libraries",
    "test_ooms",
    "test_shared_memory",
    "test_truth",
)
"""Modules that want the machine for themselves: they measure what is soon over, or have Ray kill at just some size."""


CALM = ("test_authentication", "test_clean", "test_kinds", "test_serving", "test_which_session")
"""Modules that need Ray, and take little memory and time of the CPUs at once: they run beside those."""

CLUSTERS = {"cluster", "nodes"}
"""Fixtures that start Ray."""


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Ray, skip what lacks Chromium, and order the modules: those that run side by side, the largest
    first; ALONE; light ones.

    Of these the calm come first, which take longest.
    """
    for item in items:
        if "cluster" in item.path.parts or CLUSTERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.needs_ray)
        if item.get_closest_marker("browser") and executable() is None:
            item.add_marker(pytest.mark.skip("Chromium is not installed"))
    sizes = Counter(item.path for item in items)
    is_light = {path: _is_light(path, items) for path in sizes}
    items.sort(
        key=lambda item: (
            is_light[item.path],
            item.path.stem in ALONE,
            item.path.stem not in CALM,
            -sizes[item.path],
            item.path,
        )
    )


def _is_light(path: Path, items: list[pytest.Item]) -> bool:
    """Whether a module runs beside those that are alone: it is calm, or nothing of it needs Ray."""
    return path.stem in CALM or not any(
        item.path == path and item.get_closest_marker("needs_ray") is not None for item in items
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker whole modules, and one of them all of ALONE: another would only wait for its turn."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = super()._split_scope(nodeid)
            return "alone" if Path(module).stem in ALONE else module

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


_machine: Machine | None = None
"""Looked at by the process that shows the results."""


def pytest_sessionstart() -> None:
    global _machine
    if not os.environ.get("PYTEST_XDIST_WORKER"):
        _machine = Machine()
        _machine.start()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Show a failure when it happens: a run that does not come to its end tells of it too."""
    if report.failed and _machine is not None:
        shown = report.longreprtext[-3000:]
        print(f"\n{report.when} of {report.nodeid} failed:\n{shown}\n{_machine.lately()}", flush=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _machine is not None:
        terminalreporter.write_line(_machine.in_all())


@pytest.fixture(scope="module", autouse=True)
def _in_turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """While one that wants it alone runs no other does, of all tests on the machine; the others run side by side."""
    if _is_light(request.path, request.session.items):
        yield
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

    init(
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
