"""usage() on real clusters, beside what the system says of the same processes."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from raymemprof.diagnosis.usage.records import NodeUsage, ProcessUsage, Usage
from raymemprof.diagnosis.usage.usage import usage
from tests.paths import PROGRAMS
from tests.programs.several_nodes import Node, Nodes

PROGRAM = PROGRAMS / "usage_program.py"
MIB, GIB = 2**20, 2**30
SIZE = 1_000_000_000
READERS = 8
SYSTEM = ("raylet", "gcs", "dashboard", "agent", "runtime env agent", "log monitor", "autoscaler", "client server")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Three nodes, to whose head this process is connected."""
    found = Nodes(monitors=True)
    try:
        found.start("one", cpus=4, store=1_400_000_000)
        found.start("two", "three", store=80_000_000)
        found.connect()
        yield found
    finally:
        ray.shutdown()
        found.stop()


def on(name: str) -> dict[str, Any]:
    """Options of what is to run on a node, however busy it is."""
    return {"num_cpus": 0, "resources": {name: 1}}


@ray.remote
def waits(pid_file: str, go: str, size: int = 0) -> int:
    kept = bytearray(b"1" * size)
    Path(pid_file).write_text(str(os.getpid()))
    while not os.path.exists(go):
        time.sleep(0.05)
    return len(kept)


@ray.remote
class Keeper:
    def __init__(self) -> None:
        self.kept: Any = None

    def pid(self) -> int:
        return os.getpid()

    def read(self, array: Any) -> int:
        self.kept = array
        return int(array[:: os.sysconf("SC_PAGE_SIZE")].sum())

    def wait(self, started: str, go: str) -> None:
        Path(started).touch()
        while not os.path.exists(go):
            time.sleep(0.05)

    def fork(self) -> int:
        """Start a child that waits to be killed."""
        child = os.fork()
        if child == 0:
            while True:
                signal.pause()
        return child


def node_of(found: Usage, name: str, nodes: Any) -> NodeUsage:
    (node,) = (node for node in found.nodes if node.node_id == nodes[name].node_id)
    return node


def pids_of(node: Node) -> set[int]:
    """The processes of a node, as the system has them."""
    return {process.pid for process in node.processes()}


def shared_and_resident(pid: int) -> tuple[int, int]:
    """SHR and RSS of a process as the system has them, in bytes."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[2]) * os.sysconf("SC_PAGE_SIZE"), int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def by_pid(found: Usage) -> dict[int, ProcessUsage]:
    return {process.pid: process for process in found.processes}


def test_without_a_cluster(run_script: Callable[..., str]) -> None:
    out = run_script(
        "from raymemprof.diagnosis.usage.usage import usage\n"
        "try:\n    usage()\nexcept ValueError as error:\n    print(error)\n"
    )
    assert out == "this process is not connected to a Ray cluster: call ray.init() first.\n"


@LINUX
@pytest.mark.rays
def test_every_process_with_its_role(nodes: Any, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    go = str(tmp_path / "go")
    keeper, idle = Keeper.options(**on("two")).remote(), Keeper.options(**on("one")).remote()
    keeper_pid, idle_pid = ray.get([keeper.pid.remote(), idle.pid.remote()])
    child = ray.get(idle.fork.remote())
    task = waits.options(name="a name with spaces", **on("three")).remote(str(tmp_path / "pid"), go)
    method = keeper.wait.remote(str(tmp_path / "started"), go)
    wait_for(lambda: (tmp_path / "started").exists() and (tmp_path / "pid").exists(), 60)
    task_pid = int((tmp_path / "pid").read_text())
    try:
        usage()  # what it starts to ask with is there when it asks again

        def pids() -> dict[str, set[int]]:
            own = {"one": {os.getpid()}}
            return {node.name: pids_of(node) | own.get(node.name, set()) for node in nodes.nodes}

        def steady() -> tuple[Usage, dict[str, set[int]]] | None:
            """What usage() says, where no process came or went meanwhile: workers that have nothing to do are ended."""
            before = pids()
            found = usage()
            tasks_known = by_pid(found)[task_pid].task_id and by_pid(found)[keeper_pid].task_id
            return (found, before) if tasks_known and before == pids() else None

        found, expected = wait_for(steady, 60)
        for name in expected:
            assert {process.pid for process in node_of(found, name, nodes).processes} == expected[name]
        roles = {
            name: collections.Counter(process.role for process in node_of(found, name, nodes).processes)
            for name in expected
        }
        each = {"raylet": 1, "agent": 1, "runtime env agent": 1, "log monitor": 1}
        only = {"gcs": 1, "autoscaler": 1, "client server": 1, "driver": 1, "subprocess": 1}
        commands = [" ".join(psutil.Process(pid).cmdline()) for pid in expected["one"]]
        if any("dashboard/dashboard.py" in command for command in commands):  # it ends where its port is taken
            only["dashboard"] = 1
        users = {"idle worker", "actor", "task", "worker"}
        for name in expected:
            system = {role: count for role, count in roles[name].items() if role not in users}
            assert system == (each | only if name == "one" else each), (name, system)
            assert node_of(found, name, nodes).is_head == (name == "one")
        known = by_pid(found)
        for role, sign in {
            "gcs": "gcs_server", "raylet": "raylet/raylet", "log monitor": "log_monitor.py", "autoscaler": "monitor.py",
            "client server": "ray.util.client.server", "dashboard": "dashboard",
        }.items():  # fmt: skip
            for process in (process for process in known.values() if process.role == role):
                assert sign in " ".join(psutil.Process(process.pid).cmdline())
        assert (known[task_pid].role, known[task_pid].name) == ("task", "a name with spaces")
        assert known[task_pid].task_id == task.task_id().hex()
        assert (known[keeper_pid].role, known[keeper_pid].name) == ("actor", "Keeper.wait")
        assert known[keeper_pid].task_id == method.task_id().hex()
        assert known[keeper_pid].actor_id == keeper._actor_id.hex()
        assert (known[idle_pid].role, known[idle_pid].name) == ("actor", "Keeper")
        assert known[idle_pid].actor_id == idle._actor_id.hex()
        assert known[idle_pid].task_id is None
        assert (known[child].role, known[child].name) == ("subprocess", "Keeper")
        assert known[os.getpid()].role == "driver"
        assert known[os.getpid()].job_id == ray.get_runtime_context().get_job_id()
        asking = [process for process in known.values() if process.name == "raymemprof.read_node"]
        assert {process.role for process in asking} == {"task"}
        assert len(asking) == 2, "this process asks on its own node"
    finally:
        Path(go).touch()
        os.kill(child, signal.SIGKILL)
        ray.get([task, method])
        for actor in (keeper, idle):
            ray.kill(actor)


@LINUX
@pytest.mark.rays
def test_processes_are_as_the_system_has_them(nodes: Any) -> None:
    def outside() -> dict[int, tuple[int, int]]:
        found = {}
        for node in nodes.nodes:
            for pid in (*pids_of(node), os.getpid()):
                with contextlib.suppress(OSError):
                    found[pid] = shared_and_resident(pid)
        return found

    usage()
    before, found, after = outside(), usage(), outside()
    still = [
        process
        for process in found.processes
        if process.pid in before and before[process.pid] == after.get(process.pid) and before[process.pid][1] > 50e6
    ]
    assert len(still) >= 8
    for process in still:
        shared, rss = before[process.pid]
        assert process.rss == pytest.approx(rss, rel=0.02)
        assert process.shared == pytest.approx(shared, rel=0.02)
        assert process.memory == process.rss - process.shared


@LINUX
def test_an_object_that_many_map_counts_once(nodes: Any, wait_for: Callable[..., Any]) -> None:
    import numpy

    before = node_of(usage(), "one", nodes)
    shared = ray.put(numpy.ones(SIZE, dtype=numpy.uint8))
    readers = [Keeper.options(**on("one")).remote() for _ in range(READERS)]
    try:
        pages = ray.get([reader.read.remote(shared) for reader in readers])
        assert set(pages) == {-(-SIZE // os.sysconf("SC_PAGE_SIZE"))}
        pids = set(ray.get([reader.pid.remote() for reader in readers]))
        after = node_of(usage(), "one", nodes)
        mapping = [process for process in after.processes if process.pid in pids]
        assert len(mapping) == READERS
        assert all(process.shared > SIZE for process in mapping)
        assert sum(process.memory for process in mapping) < READERS * 150 * MIB
        assert after.object_store_used - before.object_store_used == pytest.approx(SIZE, rel=0.01)
        assert after.object_store_primary - before.object_store_primary == pytest.approx(SIZE, rel=0.01)
        assert after.object_store_capacity == 1_400_000_000
        assert SIZE <= after.object_store <= 1.02 * max(SIZE, after.object_store_capacity)
        assert after.explained == after.object_store + after.workers + after.system + (after.shared_memory or 0)
        assert after.explained < SIZE + 0.45 * GIB + READERS * 150 * MIB
    finally:
        for reader in readers:
            ray.kill(reader)
        del shared
    # What is freed stays with the store, and in the sum.
    freed = wait_for(lambda: (found := node_of(usage(), "one", nodes)).object_store_used < SIZE / 2 and found, 60)
    assert freed.object_store >= SIZE


@LINUX
def test_another_node_s_object_store_is_known_as_that(nodes: Any, wait_for: Callable[..., Any]) -> None:
    """Each of several nodes on a machine has its own; to the others it is shared memory of that raylet's."""
    import numpy

    @ray.remote(**on("two"))
    class Holder:
        def hold(self) -> None:
            self.kept = ray.put(numpy.ones(40_000_000, dtype=numpy.uint8))

    holder, raylet = Holder.remote(), nodes["two"].raylet().pid
    try:
        ray.get(holder.hold.remote())
        now = usage()
        (store,) = [one for one in node_of(now, "one", nodes).shared_memory_owners if one.pid == raylet]
        assert store.kind == "object store of another Ray node"
        assert store.memory == pytest.approx(node_of(now, "two", nodes).object_store, rel=0.05, abs=MIB)
        assert store.memory > 40_000_000
        assert raylet not in {one.pid for one in node_of(now, "two", nodes).shared_memory_owners}, "it is its own there"
    finally:
        ray.kill(holder)


def test_copies_of_other_nodes_objects_are_told_apart(nodes: Any, wait_for: Callable[..., Any]) -> None:
    """They are used until the room is needed, and are no reason to spill."""
    import numpy

    # What the tests before had there has gone.
    before = wait_for(lambda: (found := node_of(usage(), "two", nodes)).object_store_used < 1_000_000 and found, 60)
    shared = ray.put(numpy.ones(40_000_000, dtype=numpy.uint8))  # on this process's node
    keeper = Keeper.options(**on("two")).remote()
    try:
        ray.get(keeper.read.remote(shared))
        after = node_of(usage(), "two", nodes)
        assert after.object_store_used - before.object_store_used >= 40_000_000
        assert after.object_store_primary - before.object_store_primary < 4_000_000
    finally:
        ray.kill(keeper)


@LINUX
def test_a_worker_that_is_stopped_silences_nobody(nodes: Any) -> None:
    """A raylet answers when all its workers have."""
    keeper, stopped = Keeper.options(**on("two")).remote(), Keeper.options(**on("two")).remote()
    pid, stopped_pid = ray.get([keeper.pid.remote(), stopped.pid.remote()])
    usage()
    os.kill(stopped_pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        found = usage()
        assert time.monotonic() - started < 20
        assert not found.missing
        for actor, process in ((keeper, by_pid(found)[pid]), (stopped, by_pid(found)[stopped_pid])):
            assert (process.role, process.name, process.actor_id) == ("actor", "Keeper", actor._actor_id.hex())
        node = node_of(found, "two", nodes)
        assert node.object_store_capacity == 80_000_000
        assert node.object_store_used is not None
        assert node.object_store_primary is None
        assert node.spilled is None
        assert {process.role for process in node.processes} >= {"raylet", "agent", "task", "log monitor"}
    finally:
        os.kill(stopped_pid, signal.SIGCONT)
        for actor in (keeper, stopped):
            ray.kill(actor)


def test_spilled(nodes: Any, wait_for: Callable[..., Any]) -> None:
    @ray.remote(**on("three"))
    class Filler:
        def fill(self) -> None:
            self.kept = [ray.put(bytearray(20_000_000)) for _ in range(8)]

    filler = Filler.remote()
    try:
        ray.get(filler.fill.remote())
        spilled = wait_for(lambda: node_of(usage(), "three", nodes).spilled, 60)
        assert spilled % 20_000_000 < 1_000_000
        assert "spilled" in repr(usage().nodes) or node_of(usage(), "three", nodes).spilled
    finally:
        ray.kill(filler)


def test_shows_itself(nodes: Any) -> None:
    pytest.importorskip("pandas")
    found = usage()
    text = repr(found)
    head = found.nodes[0]
    assert head.is_head
    assert "3 nodes" in text
    assert f"{head.node_ip} {head.node_id[:6]}… head" in text
    for heading in (
        "used",
        "Ray kills at",
        "object store",
        "workers",
        "Ray itself",
        "the rest",
        "memory",
        "RSS",
        "SHR",
    ):
        assert heading in text
        assert f">{heading}</th>" in found._repr_html_()
    data = json.loads(found.to_json())
    assert [node["node_id"] for node in data["nodes"]] == [node.node_id for node in found.nodes]
    assert data["missing"] == []
    first = data["nodes"][0]
    assert first["explained"] == head.explained
    assert first["unexplained"] == head.used - head.explained
    assert first["processes"][0]["memory"] == max(process.memory for process in head.processes)
    frame = found.to_pandas()
    assert len(frame) == len(found.processes)
    assert {"pid", "role", "name", "rss", "shared", "memory", "node_id", "node_ip", "task_id", "actor_id"} <= set(frame)
    assert frame.memory.is_monotonic_decreasing


def test_a_node_that_died_is_named(nodes: Any, wait_for: Callable[..., Any]) -> None:
    """The last of the tests: it ends a node."""
    gone = node_of(usage(), "three", nodes)
    nodes.stop("three")
    found = wait_for(lambda: (now := usage()).missing and now, 120)
    assert [node.node_id for node in found.missing] == [gone.node_id]
    assert gone.node_id not in {node.node_id for node in found.nodes}
    assert len(found.nodes) == 2
    assert f"node {gone.node_ip} ({gone.node_id[:8]}…) is missing here" in repr(found)
    assert json.loads(found.to_json())["missing"][0]["node_id"] == gone.node_id


@pytest.fixture
def group(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A memory cgroup and its limit; skips the test where none can be made."""
    root = Path("/sys/fs/cgroup")
    is_first = (root / "memory").is_dir()
    folder = (root / "memory" if is_first else root) / f"raymemprof-usage-{os.getpid()}"
    limit = 3 * GIB
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if is_first else "memory.max")).write_text(str(limit))
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        yield folder, limit
    finally:
        deadline = time.monotonic() + 30
        while folder.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                folder.rmdir()
            time.sleep(0.1)


@LINUX
@pytest.mark.parametrize("is_container", [False, True], ids=["cgroup", "container"])
def test_in_a_cgroup_its_limit_counts(group: tuple[Path, int], is_container: bool) -> None:
    """In a container the cgroup is mounted where the machine's is elsewhere, which is where Ray looks for it."""
    folder, limit = group
    root = "/sys/fs/cgroup/memory" if folder.parent.name == "memory" else "/sys/fs/cgroup"
    within: tuple[str, ...] = ()
    if is_container:
        mount = f"mount --bind {folder} {root}"
        if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
            pytest.skip("no mount can be made here")
        within = ("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")
    found = Nodes(monitors=True)
    try:
        found.start(
            "inside",
            store=80_000_000,
            within=within,
            before=lambda: (folder / "cgroup.procs").write_text(str(os.getpid())),
        )
        done = subprocess.run(
            [sys.executable, str(PROGRAM), "json", found.address], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        (node,) = json.loads(done.stdout)["nodes"]
        assert node["total"] == limit < psutil.virtual_memory().total
        assert 0 < node["used"] < limit
        assert node["available"] == limit - node["used"]
        # All but the driver, which is outside, is in the cgroup.
        assert node["explained"] <= node["used"]
        assert 0 < node["kernel"] < node["unexplained"]
        if not is_container:
            outside = {process["role"] for process in node["processes"] if process["why_uncounted"]}
            assert outside == {"driver"}
            counted = sum(process["memory"] for process in node["processes"] if process["role"] not in SYSTEM)
            (driver,) = [process for process in node["processes"] if process["role"] == "driver"]
            assert node["workers"] == counted - driver["memory"]
        inside = sum(process["memory"] for process in node["processes"] if process["role"] != "driver")
        assert inside == pytest.approx(node["used"], rel=0.35)
        seen_by_ray = limit if is_container else psutil.virtual_memory().total
        assert node["threshold"] == pytest.approx(0.95 * seen_by_ray, rel=0.001)
        assert node["kill_limit"] == min(node["threshold"], limit)
    finally:
        found.stop()


@LINUX
def test_the_threshold_is_what_the_raylet_has() -> None:
    total = psutil.virtual_memory().total
    found = Nodes()
    try:
        found.start("part", store=80_000_000, RAY_memory_usage_threshold="0.7")
        found.start("free", store=80_000_000, RAY_min_memory_free_bytes=str(100 * MIB))
        found.start("never", store=80_000_000, RAY_memory_monitor_refresh_ms="0")
        done = subprocess.run(
            [sys.executable, str(PROGRAM), "json", found.address], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        nodes = json.loads(done.stdout)["nodes"]
        thresholds = sorted((node["threshold"] for node in nodes), key=lambda threshold: threshold or 0)
        assert thresholds == [None, pytest.approx(0.7 * total, rel=1e-3), pytest.approx(total - 100 * MIB, rel=1e-3)]
        assert sorted(node["kill_limit"] for node in nodes) == sorted(threshold or total for threshold in thresholds)
    finally:
        found.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_child_that_ended_and_was_not_waited_for_is_no_process() -> None:
    from raymemprof.diagnosis.usage import processes
    from raymemprof.diagnosis.usage import usage as reading

    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert reading._process(processes.Process(child.pid, "subprocess"), "", "", has_relatives=True) is None
    finally:
        child.wait()
