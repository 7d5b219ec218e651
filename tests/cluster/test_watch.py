"""watch() on a real cluster: what it sees beside /proc, and what ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

import raymemprof
from raymemprof import Recommendation, SeenPeak, SeenPeaks, Watch
from raymemprof.diagnosis.watch.minutes_file import path_of, paths_in

MIB = 2**20
SIZE = 300_000_000
COMMAND = [sys.executable, "-c", "from raymemprof.cli import main; main()"]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def _own_memory() -> tuple[int, int]:
    resident, shared = (int(part) for part in Path("/proc/self/statm").read_text().split()[1:3])
    return os.getpid(), (resident - shared) * os.sysconf("SC_PAGE_SIZE")


@ray.remote(num_cpus=0.1)
def holds(size: int, seconds: float) -> tuple[int, int]:
    kept = b"1" * size
    time.sleep(seconds)
    found = _own_memory()
    del kept
    return found


@ray.remote(num_cpus=0.1)
def behind(size: int, seconds: float) -> tuple[int, int, str]:
    parent = psutil.Process().parent()
    assert parent is not None
    kept = b"1" * size
    child = os.fork()  # it has the worker's title
    if not child:
        time.sleep(seconds + 5)
        os._exit(0)
    time.sleep(seconds)
    found = _own_memory()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    del kept
    return *found, " ".join(parent.cmdline())


@ray.remote(num_cpus=0.1)
class Cache:
    def add(self, size: int, seconds: float) -> tuple[int, int]:
        self.kept = b"1" * size
        time.sleep(seconds)
        return _own_memory()

    def die(self, size: int) -> None:
        self.kept = b"1" * size
        time.sleep(3)
        os.kill(os.getpid(), signal.SIGKILL)


def processes(of: Path | None = None) -> list[psutil.Process]:
    """The watching processes of this user that write to a folder, or all."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if "raymemprof.diagnosis.watch.process" in command and process.info["status"] != psutil.STATUS_ZOMBIE:
            try:
                files = os.listdir(f"/proc/{process.pid}/fd")
                held = {os.path.realpath(f"/proc/{process.pid}/fd/{file}") for file in files}
            except OSError:
                continue
            if of is None or any(one.startswith(str(of)) for one in held):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def watched(cluster: Path) -> tuple[Watch, Path, Any, Any]:
    """A cluster that was watched while two tasks, an actor's method, and an actor that is killed held memory."""
    cache, other = Cache.remote(), Cache.options(name="dying").remote()
    with raymemprof.watch() as watch:
        assert watch.missing == ()
        assert len(watch.node_ids) == 1
        two = [holds.remote(SIZE, 3), holds.remote(SIZE // 3, 3)]
        tasks, method = ray.get(two), ray.get(cache.add.remote(2 * SIZE // 3, 2.5))
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(other.die.remote(SIZE // 2))
    until = time.monotonic() + 5
    while processes(cluster) and time.monotonic() < until:
        time.sleep(0.1)  # what it saw is written by now; Python takes a moment to end
    assert processes(cluster) == []
    return watch, cluster, tasks, method


def rows(found: SeenPeaks) -> dict[str, SeenPeak]:
    return {one.name: one for one in found}


def test_a_task_has_about_what_proc_says(watched: Any) -> None:
    watch, _, tasks, _ = watched
    seen = rows(watch.peaks())["holds"]
    assert seen.kind == "task"
    for pid, memory in tasks:
        assert seen.memory_by_process[pid] == pytest.approx(memory, abs=8 * MIB)
    assert seen.memory == max(seen.memory_by_process.values()) > SIZE


def test_two_that_ran_at_once_are_two(watched: Any) -> None:
    seen = rows(watched[0].peaks())["holds"]
    assert (seen.at_once, seen.process_count) == (2, 2)
    assert seen.together > SIZE + SIZE // 3


def test_an_actor_and_its_method(watched: Any) -> None:
    watch, _, _, (pid, memory) = watched
    seen = rows(watch.peaks())
    assert (seen["Cache"].kind, seen["Cache.add"].kind) == ("actor", "method")
    assert seen["Cache.add"].memory == pytest.approx(memory, abs=8 * MIB)
    assert seen["Cache"].memory_by_process[pid] == pytest.approx(memory, abs=8 * MIB)


def test_the_peak_of_a_killed_worker_stays(watched: Any) -> None:
    seen = rows(watched[0].peaks())["Cache.die"]
    assert seen.memory > SIZE // 2
    assert not psutil.pid_exists(next(iter(seen.memory_by_process)))


def advised(name: str) -> Recommendation:
    (found,) = (one for one in raymemprof.advise() if one.name == name)
    return found


def test_advise_says_what_a_job_needs_that_was_not_profiled(watched: Any) -> None:
    _, _, tasks, _ = watched
    found = advised("holds")
    assert (found.kind, found.basis, found.call_count, found.peak_count) == ("task", "seen", 0, 2)
    assert found.max == pytest.approx(max(memory for _, memory in tasks), abs=8 * MIB)
    assert found.needs == pytest.approx(1.25 * found.max, rel=0.02)
    assert any("seen from the outside, once a second" in text for text in found.warnings)
    assert advised("Cache").kind == "actor"


def test_what_is_recorded_is_advised_by_its_calls(watched: Any) -> None:
    def recorded() -> int:
        time.sleep(2)
        return os.getpid()

    with raymemprof.watch() as watch:
        ray.get(ray.remote(raymemprof.profile_memory(recorded)).remote())
    assert "recorded" in rows(watch.peaks())
    (found,) = (one for one in raymemprof.advise() if one.name.endswith("recorded"))
    assert (found.basis, found.call_count) == ("recorded", 1)


def test_the_doctor_knows_what_was_seen(watched: Any) -> None:
    found = raymemprof.doctor()
    assert any("at its highest as seen from the outside, once a second" in check.answer for check in found.checks)
    assert {one.name: one.basis for one in found.recommendations}["holds"] == "seen"


def test_a_folder_says_the_same_without_a_cluster(watched: Any) -> None:
    _, logs, _, _ = watched
    out = subprocess.run(
        [*COMMAND, "advise", str(logs), "--json"], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    found = {one["name"]: (one["kind"], one["basis"]) for one in json.loads(out)}
    assert found["holds"] == ("task", "seen")
    assert found["Cache"] == ("actor", "seen")


def test_two_watchers_look_once(watched: Any, wait_for: Callable[..., Any]) -> None:
    _, logs, _, _ = watched
    node_id = ray.get_runtime_context().get_node_id()
    with raymemprof.watch() as first:
        before = {process.pid for process in processes()}
        second = raymemprof.watch()
        try:
            assert (first.node_ids, second.node_ids) == ((node_id,), (node_id,))
            ray.get(holds.options(name="two_watch").remote(MIB, 2.5))
            assert rows(first.peaks())["two_watch"].at_once == 1
            assert len(paths_in(logs)) == 1
            first.end()
            # The other goes on with the same file.
            ray.get(holds.options(name="one_watches").remote(MIB, 3.5))
            assert {"two_watch", "one_watches"} <= rows(second.peaks()).keys()
        finally:
            second.end()
    wait_for(lambda: not before & {process.pid for process in processes()})
    assert b"one_watches" in path_of(logs, node_id).read_bytes()


@pytest.mark.versions
def test_workers_behind_launchers(watched: Any, tmp_path: Path) -> None:
    """`uv run` is such a `py_executable`: the worker takes its place, or is its child, and starts processes itself."""
    names = {}
    for how, last in (("takes_its_place", "exec"), ("is_its_child", "")):
        launcher = tmp_path / how
        launcher.write_text(f'#!/bin/sh\n{last} "{sys.executable}" "$@"\nexit $?\n')
        launcher.chmod(0o755)
        names[how] = behind.options(name=how, runtime_env={"py_executable": str(launcher)})
    with raymemprof.watch() as watch:
        tasks = [task.remote(SIZE, 3.5) for task in names.values()]
        used: dict[str | None, set[tuple[str, int]]] = {}
        while len(ray.wait(tasks, num_returns=len(tasks), timeout=0)[0]) < len(tasks):
            for one in raymemprof.usage().nodes[0].processes:
                if one.name in names and one.memory > SIZE and one.role != "subprocess":
                    used.setdefault(one.name, set()).add((one.role, one.pid))
        found = ray.get(tasks)
        seen = rows(watch.peaks())
    for how, (pid, memory, parent) in zip(names, found, strict=True):
        assert ("/bin/sh" in parent) is (how == "is_its_child"), parent
        assert (seen[how].kind, seen[how].at_once, seen[how].process_count) == ("task", 1, 1)
        assert seen[how].memory_by_process == {pid: pytest.approx(memory, abs=8 * MIB)}
        assert used[how] == {("task", pid)}


def test_a_process_that_is_killed_is_started_again(watched: Any, wait_for: Callable[..., Any]) -> None:
    _, logs, _, _ = watched
    with raymemprof.watch() as watch:
        (process,) = wait_for(lambda: processes(logs))
        process.kill()
        (other,) = wait_for(lambda: [one for one in processes(logs) if one.pid != process.pid])
        assert other.is_running()
        assert wait_for(lambda: watch.node_ids)
    wait_for(lambda: not processes(logs), 5)


@pytest.mark.rays
def test_the_command_and_its_death(watched: Any, wait_for: Callable[..., Any]) -> None:
    _, logs, _, _ = watched
    address = ray.get_runtime_context().gcs_address

    def begun(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, "watch", "--address", address, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None
        assert "watching 1 node for" in process.stderr.readline()
        return process

    killed = begun()
    (process,) = wait_for(lambda: processes(logs))
    assert os.getsid(process.pid) != os.getsid(killed.pid)
    killed.kill()
    killed.communicate()
    wait_for(lambda: not psutil.pid_exists(process.pid), 5)

    stopped = begun("--seconds", "600")
    ray.get(holds.options(name="by_command").remote(SIZE, 2.5))
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 0, err
    assert "by_command" in out
    assert "a peak between two looks is not seen" in " ".join(out.split())
    assert processes(logs) == []


def test_it_ends_after_its_seconds(watched: Any, wait_for: Callable[..., Any]) -> None:
    watch = raymemprof.watch(2)
    began = time.monotonic()
    watch.wait()
    assert 1 < time.monotonic() - began < 10
    assert watch.node_ids == ()
    with pytest.raises(ValueError, match="seconds must be a number"):
        raymemprof.watch(0)


def test_it_ends_with_the_session(tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    """And a driver's fork, which has its descriptors, does not keep it."""
    code = (
        "import os, time, ray, raymemprof\n"
        "ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=80_000_000)\n"
        "watch = raymemprof.watch()\n"
        "os.fork() or (time.sleep(60), os._exit(0))\n"
        "print(ray._private.worker.global_worker.node.get_logs_dir_path(), flush=True)\n"
        "time.sleep(120)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert driver.stdout is not None
        logs = Path(driver.stdout.readline().strip())
        (process,) = wait_for(lambda: processes(logs))
        driver.kill()  # and with it the cluster that it started
        wait_for(lambda: not psutil.pid_exists(process.pid), 10)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
