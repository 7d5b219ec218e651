"""The cluster is one place: what was recorded on each of three nodes is listed, read and drawn from any of them."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import timeit
import venv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

import raymemprof
from raymemprof import cluster, host, kill_threshold, profile_memory
from raymemprof.reading.captures import pool
from tests.programs.several_nodes import Node, Nodes

asking = importlib.import_module("raymemprof.cluster.ask")
"""The module: `cluster.ask` is the function."""
MIB = 2**20
COMMAND = Path(sys.executable).with_name("raymemprof")
EACH = 20
"""Calls of `load` on a node."""
NAMES = ("one", "two", "three")
each_node = pytest.mark.parametrize("name", NAMES)


@dataclass(frozen=True)
class Recorded:
    """What ran, as the tasks and actors themselves said it: node, then id of the task or actor, to bytes."""

    loads: dict[tuple[str, str], int]
    stores: dict[tuple[str, str], int]
    job_id: str
    actors: list[Any]


def define_load() -> Any:
    import ray

    @ray.remote(num_cpus=1)
    @profile_memory(linger=0)
    def load(size: int) -> tuple[str, str]:
        kept = bytearray(size)
        context = ray.get_runtime_context()
        return context.get_node_id(), context.get_task_id() if kept else ""

    return load


@pytest.fixture(scope="module")
def recorded(nodes: Nodes, wait_for_all: Any) -> Recorded:
    """Twenty tasks and an actor on each node."""
    import ray

    load = define_load()

    @ray.remote(num_cpus=0)
    @profile_memory
    class Store:
        def __init__(self, size: int) -> None:
            self.kept = [bytearray(size)]

        def add(self, size: int) -> tuple[str, str]:
            self.kept.append(bytearray(size))
            context = ray.get_runtime_context()
            return context.get_node_id(), context.get_actor_id()

    sizes = [MIB + 100_000 * number for number in range(EACH)]
    asked = [(size, load.options(resources={name: 1}).remote(size)) for name in NAMES for size in sizes]
    actors = [Store.options(resources={name: 1}).remote(2 * MIB) for name in NAMES]
    more = [MIB, 2 * MIB, 3 * MIB]
    added = [(2 * MIB + size, actor.add.remote(size)) for size, actor in zip(more, actors, strict=True)]
    loads = {ray.get(reference): size for size, reference in asked}
    stores = {ray.get(reference): size for size, reference in added}
    assert len(loads) == EACH * len(NAMES)
    wait_for_all(lambda: all(capture.status == "closed" for capture in raymemprof.captures(name="*load")))
    return Recorded(loads, stores, ray.get_runtime_context().get_job_id(), actors)


@pytest.fixture(scope="module")
def wait_for_all() -> Callable[[Callable[[], object]], None]:
    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return wait


def loads(**filters: str) -> raymemprof.Calls:
    return raymemprof.calls(name="load", **filters)


def largest(name: str, nodes: Nodes) -> raymemprof.Call:
    """The largest call of `load` on a node: the one that came last there."""
    (call,) = [call for call in loads(node_id=nodes[name].node_id)][-1:]
    return call


@pytest.mark.rays
def test_every_call_is_listed_once_with_its_node(nodes: Nodes, recorded: Recorded) -> None:
    calls = raymemprof.calls(job_id=recorded.job_id)
    assert sorted((call.node_id, call.task_id) for call in calls if call.kind == "task") == sorted(recorded.loads)
    made = [(call.node_id, call.actor_id) for call in calls if call.kind == "actor"]
    added = [(call.node_id, call.actor_id) for call in calls if call.kind == "method"]
    assert sorted(made) == sorted(added) == sorted(recorded.stores)
    assert len(calls) == len(recorded.loads) + 2 * len(recorded.stores)
    assert calls.missing == ()
    assert {call.status for call in calls} == {"finished"}
    assert [call.started_at for call in calls] == sorted(call.started_at for call in calls)
    text = repr(calls)
    assert "on 3 nodes" in text
    for node in nodes.nodes:
        assert f"{node.node_id[:8]}…" in text


def test_each_node_sums_up_its_own(nodes: Nodes, recorded: Recorded) -> None:
    summary = raymemprof.summary(job_id=recorded.job_id)
    rows = {row.name.rpartition(".")[2]: row for row in summary}
    assert rows["load"].call_count == rows["load"].finished_count == len(recorded.loads)
    assert rows["Store"].call_count == 2 * len(recorded.stores)
    calls = raymemprof.calls(job_id=recorded.job_id, name="load")
    assert rows["load"].peak_memory == max(call.peak_memory for call in calls)
    assert rows["load"].growth == max(call.growth for call in calls)
    captures = raymemprof.captures(job_id=recorded.job_id, name="load")
    assert rows["load"].capture_bytes == sum(capture.size for capture in captures)
    for row in (rows["load"], rows["Store"]):
        assert row.node_ids == tuple(sorted(node.node_id for node in nodes.nodes))
    assert rows["load"].guilty_line is not None
    assert (rows["load"].guilty_line.function, Path(rows["load"].guilty_line.file).name) == ("load", "test_cluster.py")
    assert summary.missing == ()
    assert "on 3 nodes" in repr(summary)
    two = nodes["two"].node_id
    assert [row.node_ids for row in raymemprof.summary(job_id=recorded.job_id, node_id=two[:12])] == [(two,)] * 2


def test_every_capture_is_listed_once_with_its_node(nodes: Nodes, recorded: Recorded) -> None:
    captures = raymemprof.captures(job_id=recorded.job_id)
    assert len({capture.path for capture in captures}) == len(captures)
    assert {capture.path for capture in captures} == {call.capture for call in raymemprof.calls()}
    for node in nodes.nodes:
        own = [capture for capture in captures if capture.node_id == node.node_id]
        assert sorted(capture.path.name for capture in own) == sorted(path.name for path in node.logs.glob("*.bin"))
        assert sum(capture.call_count for capture in own) == EACH + 2
        for capture in own:
            assert capture.path.parent == node.folder / node.logs.relative_to(node.store)
            if capture.status == "closed":
                assert capture.size == node.seen(capture.path).stat().st_size


@each_node
def test_filters_ask_every_node(name: str, nodes: Nodes, recorded: Recorded) -> None:
    node_id = nodes[name].node_id
    task_ids = [task_id for node, task_id in recorded.loads if node == node_id]
    (call,) = raymemprof.calls(task_id=task_ids[3])
    assert (call.node_id, call.kind) == (node_id, "task")
    (capture,) = raymemprof.captures(task_id=task_ids[3])
    assert capture.path == call.capture
    ((_, actor_id),) = [actor for actor in recorded.stores if actor[0] == node_id]
    assert [call.name.rpartition(".")[2] for call in raymemprof.calls(actor_id=actor_id)] == ["__init__", "add"]


def test_a_node_is_asked_alone(nodes: Nodes, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = cluster.ask
    monkeypatch.setattr(asking, "ask", lambda node_id, *rest, **more: (asked.append(node_id), ask(node_id, *rest))[1])
    two = nodes["two"].node_id
    calls = raymemprof.calls(node_id=two[:12])
    assert asked == [two]
    assert len(calls) == EACH + 2
    assert {call.node_id for call in calls} == {two}
    assert {capture.node_id for capture in raymemprof.captures(node_id=two)} == {two}
    assert asked == [two] * 2
    assert len(raymemprof.calls(node_id=nodes["one"].node_id)) == EACH + 2
    assert asked == [two] * 2  # this process's own node is not asked by a task
    assert len(raymemprof.calls(node_id="ffff")) == 0


@pytest.mark.rays
@each_node
def test_a_heap_is_read_where_it_lies(name: str, nodes: Nodes, recorded: Recorded) -> None:
    call = largest(name, nodes)
    size = recorded.loads[nodes[name].node_id, call.task_id]
    heap = raymemprof.heap(call)
    assert size <= heap.peak < size + MIB  # threads of Ray's allocate, too
    assert heap.top(1)[0].bytes == pytest.approx(size, abs=MIB / 10)
    assert heap.left_out == ()
    (line,) = heap.top(1)
    assert (line.function, Path(line.file).name) == ("load", "test_cluster.py")
    assert size <= line.bytes < size + 1000
    (store,) = raymemprof.captures(name="Store.add", node_id=nodes[name].node_id)
    held = recorded.stores[nodes[name].node_id, raymemprof.calls(name="Store.add", node_id=store.node_id)[0].actor_id]
    assert store.status == "open"
    kept = [line.bytes for line in raymemprof.heap(store).top(100) if line.file.endswith("test_cluster.py")]
    assert held <= sum(kept) < held + MIB  # what Ray allocates for its calls is in a capture, too


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_capture_is_found_by_its_path_or_name(name: str, nodes: Nodes, recorded: Recorded) -> None:
    call = largest(name, nodes)
    found = [raymemprof.heap(target) for target in (str(call.capture), call.capture.name, call.capture)]
    assert len({heap.peak for heap in found}) == 1
    for heap in found:  # of all calls in it, and what Ray allocates between them
        assert heap.top(1)[0].bytes == raymemprof.heap(call).top(1)[0].bytes
    with pytest.raises(FileNotFoundError, match="missing"):
        raymemprof.heap("raymemprof-missing.bin")


@each_node
def test_reports_are_drawn_here_of_what_lies_there(name: str, nodes: Nodes, recorded: Recorded, tmp_path: Path) -> None:
    call = largest(name, nodes)
    for draw, kind in (
        (raymemprof.flamegraph, "html"),
        (raymemprof.table, "html"),
        (raymemprof.speedscope, "json"),
    ):
        report = draw(call, tmp_path / f"report.{kind}", overwrite=True)
        assert report.left_out == ()
        text = report.path.read_text()
        assert "load" in text
        assert "test_cluster.py" in text
    assert "merge" in raymemprof.flamegraph(call, temporal=True).path.read_text()


def test_reports_of_all_nodes(nodes: Nodes, recorded: Recorded, tmp_path: Path) -> None:
    total = sum(recorded.loads.values())
    heap = raymemprof.heap(loads())
    assert heap.call_count == len(recorded.loads)
    assert total <= heap.peak < total * 1.05
    (one,) = heap.by_name
    assert (one.call_count, one.peak) == (len(recorded.loads), heap.peak)
    (line,) = heap.top(1)
    assert line.allocations == len(recorded.loads)  # nodes' rows of the same line are one row
    report = raymemprof.flamegraph(loads(), tmp_path / "all.html")
    assert report.left_out == ()
    assert f"{len(recorded.loads)} calls" in report.title
    assert "load" in report.path.read_text()
    stores = raymemprof.heap(raymemprof.captures(name="Store.add"))
    beside = 2 * MIB * len(recorded.stores)  # what Ray allocates in a worker while its capture is open
    assert sum(recorded.stores.values()) <= stores.peak < sum(recorded.stores.values()) + beside


@pytest.mark.rays
def test_merging_on_the_nodes_is_merging_what_was_fetched(nodes: Nodes, recorded: Recorded, tmp_path: Path) -> None:
    def rows(lines: Any) -> list[Any]:
        return sorted((line.function, line.file, line.line, line.bytes, line.allocations) for line in lines)

    there = raymemprof.heap(loads())
    raymemprof.fetch(loads(), tmp_path)
    here = raymemprof.calls(tmp_path, name="load")
    assert len(here) == len(recorded.loads)
    brought = raymemprof.heap(here)
    assert rows(there.at_peak) == rows(brought.at_peak)
    assert rows(there.at_end) == rows(brought.at_end)
    figures = [(heap.peak, heap.alive_at_end, heap.allocations, heap.call_count) for heap in (there, brought)]
    assert figures[0] == figures[1]


READ = """
import json, raymemprof
calls = raymemprof.calls(name="load")
print(json.dumps({
    "calls": sorted([call.node_id, call.task_id] for call in calls),
    "captures": len(raymemprof.captures(name="load")),
    "missing": [*map(str, calls.missing)],
    "peaks": {node_id: raymemprof.heap(call).peak for node_id, call in {call.node_id: call for call in calls}.items()},
    "merged": raymemprof.heap(calls).call_count,
    "report": raymemprof.flamegraph(calls, to / "read.html").path.stat().st_size,
    "fetched": len(raymemprof.fetch(calls, to / "fetched")),
    "offline": len(raymemprof.calls(to / "fetched", name="load")),
}))
"""


def check_read(read: dict[str, Any], recorded: Recorded) -> None:
    assert read["calls"] == sorted(map(list, recorded.loads))
    assert read["missing"] == []
    assert read["merged"] == read["offline"] == len(recorded.loads)
    assert read["captures"] == read["fetched"] == len(raymemprof.captures(name="load"))
    last = {node_id: size for (node_id, _), size in recorded.loads.items()}
    assert read["peaks"].keys() == last.keys()
    assert all(size <= read["peaks"][node_id] < size + MIB for node_id, size in last.items())
    assert read["report"] > MIB


def test_from_another_driver(nodes: Nodes, recorded: Recorded, run_script: Any, tmp_path: Path) -> None:
    code = f"""
import pathlib, ray
ray.init(address={nodes.address!r}, logging_level="ERROR", log_to_driver=False)
to = pathlib.Path({str(tmp_path)!r})
{READ}"""
    check_read(json.loads(run_script(code)), recorded)


STARTS = """
import os
from raymemprof.recording.options import Options
from raymemprof.recording.undecorated.started import record_started

def switch():
    return os.environ.get("RAYMEMPROF_RECORD_ALL")

class Actor:
    def switch(self):
        return switch()

task, actor = ray.remote(num_cpus=0)(switch), ray.remote(num_cpus=0)(Actor)
with record_started(Options(enabled=False)):
    tasks = [task.remote(), task.options(name="named").remote()]
    actors = [actor.remote(), actor.options(max_restarts=1).remote()]
assert ray.get([*tasks, *[one.switch.remote() for one in actors]]) == ["1"] * 4
assert ray.get(task.remote()) is None
"""
"""What a recorded cell starts gets the switch, and nothing else does."""


def test_from_ray_client(nodes: Nodes, recorded: Recorded, run_script: Any, tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    code = f"""
import pathlib, ray
for attempt in range(4):
    try:
        ray.init("ray://127.0.0.1:{nodes.client_port}", logging_level="ERROR", log_to_driver=False)
        break
    except ConnectionError:  # on a busy machine its server takes longer to start than Ray waits
        if attempt == 3:
            raise
to = pathlib.Path({str(tmp_path)!r})
{READ}
assert ray.util.client.ray.is_connected()
{STARTS}"""
    check_read(json.loads(run_script(code, timeout=240)), recorded)


@pytest.mark.parametrize("place", ["task", "actor", "async actor"])
def test_from_inside(place: str, nodes: Nodes, recorded: Recorded, tmp_path: Path) -> None:
    import ray

    def read(code: str, folder: str) -> dict[str, Any]:
        import contextlib
        import io
        import json
        import pathlib

        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, {"to": pathlib.Path(folder)})
        return json.loads(out.getvalue())

    class Reader:
        def read(self, folder: str) -> dict[str, Any]:
            return read(READ, folder)

    class AsyncReader:
        async def read(self, folder: str) -> dict[str, Any]:
            return read(READ, folder)

    there = {"num_cpus": 0, "resources": {"two": 1}}
    if place == "task":
        reference = ray.remote(read).options(**there).remote(READ, str(tmp_path))
    else:
        reader = ray.remote(Reader if place == "actor" else AsyncReader).options(**there).remote()
        reference = reader.read.remote(str(tmp_path))
    check_read(ray.get(reference, timeout=120), recorded)


def command(*arguments: object, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=timeout)


def test_the_command_line(nodes: Nodes, recorded: Recorded, tmp_path: Path) -> None:
    done = command("calls", "--json", "--name", "load", "--address", nodes.address)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert sorted((row["node_id"], row["task_id"]) for row in rows) == sorted(recorded.loads)
    last = [row for row in rows if row["node_id"] == nodes["three"].node_id][-1]
    to = tmp_path / "fetched"
    done = command("fetch", "--address", nodes.address, Path(last["capture"]).name, "--to", to)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Fetched {to / Path(last['capture']).name}\n"
    output = tmp_path / "three.html"
    done = command("flamegraph", "--address", nodes.address, "--task-id", last["task_id"], "-o", output)
    assert (done.returncode, done.stderr) == (0, "")
    assert "load" in output.read_text()
    done = command("heap", "--json", "--address", nodes.address, "--name", "load")
    assert json.loads(done.stdout)["call_count"] == len(recorded.loads)


def test_a_cluster_that_cannot_be_reached() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # and does not listen
        port = listener.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "nowhere.invalid:6379"):
            start = time.monotonic()
            done = command("calls", "--address", address)
            seconds = time.monotonic() - start
            assert (done.returncode, done.stdout) == (2, ""), (address, done)
            (line,) = done.stderr.splitlines()
            assert line.startswith("raymemprof: there is no Ray cluster to be reached at ")
            assert address in line
            assert seconds < 30, address
    for address in ("127.0.0.1", "local", "", "http://127.0.0.1:6379", "127.0.0.1:"):
        done = command("calls", "--address", address)
        assert (done.returncode, done.stdout) == (2, ""), (address, done)
        assert done.stderr.startswith(f"raymemprof: {address!r} is not the address of a Ray cluster: give HOST:PORT ")


SCRIPT = """
import json, ray, imported
from raymemprof import profile_memory

@ray.remote(num_cpus=1)
@profile_memory(linger=0)
def of_the_script(size):
    kept = bytearray(size)
    return ray.get_runtime_context().get_node_id()

if __name__ == "__main__":
    ray.init(address=ADDRESS, logging_level="ERROR", log_to_driver=False)
    names = ("one", "two", "three")
    nodes = ray.get([
        function.options(resources={name: 1}).remote(3_000_000)
        for function in (of_the_script, imported.of_the_module) for name in names
    ])
    print(json.dumps([ray.get_runtime_context().get_job_id(), nodes]))
"""
IMPORTED = """
import ray
from raymemprof import profile_memory

@ray.remote(num_cpus=1)
@profile_memory(linger=0)
def of_the_module(size):
    kept = bytearray(size)
    return ray.get_runtime_context().get_node_id()
"""


def test_functions_of_a_script_and_of_a_module(nodes: Nodes, run_script: Any, tmp_path: Path) -> None:
    (tmp_path / "imported.py").write_text(IMPORTED)
    job_id, ran_on = json.loads(run_script(SCRIPT.replace("ADDRESS", repr(nodes.address))))
    calls = raymemprof.calls(job_id=job_id)
    named = ["of_the_script"] * 3 + ["of_the_module"] * 3
    assert sorted((call.name, call.node_id) for call in calls) == sorted(zip(named, ran_on, strict=True))
    assert sorted(ran_on) == sorted([node.node_id for node in nodes.nodes] * 2)
    for name in set(named):
        heap = raymemprof.heap(raymemprof.calls(job_id=job_id, name=name))
        assert 9_000_000 <= heap.peak < 9_500_000
        assert heap.top(1)[0].function == name


def test_all_cpus_busy(nodes: Nodes, recorded: Recorded, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    import ray

    @ray.remote(num_cpus=1)
    def busy(started: Path, free: Path) -> None:
        started.touch()
        deadline = time.monotonic() + 3600
        while time.monotonic() < deadline and not free.exists():
            time.sleep(0.1)

    free = tmp_path / "free"
    hours = [busy.options(resources={name: 1}).remote(tmp_path / name, free) for name in NAMES]
    try:
        wait_for(lambda: all((tmp_path / name).exists() for name in NAMES), 60)
        waiting = ray.remote(num_cpus=1)(lambda: 1).remote()
        assert ray.wait([waiting], timeout=1)[0] == []  # no CPU is left
        start = time.monotonic()
        calls = loads(job_id=recorded.job_id)
        assert len(calls) == len(recorded.loads)
        assert raymemprof.heap(calls[-1]).peak > MIB
        seconds = time.monotonic() - start
        print(f"all CPUs busy: calls() and heap() took {seconds:.1f} s")
        assert seconds < 25
    finally:
        free.touch()
        ray.get(hours, timeout=60)
    ray.get(waiting, timeout=60)


class Watch(threading.Thread):
    """Notes what reads on a node: the reader processes and their limits, and the most memory that they took."""

    def __init__(self, node: Node) -> None:
        super().__init__(daemon=True)
        self.raylet = node.raylet()
        self.limits: dict[int, int] = {}
        self.most_at_once = 0
        self.memory: dict[str, int] = {}
        self.free: list[int] = []
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.02):
            machine = host.memory()
            self.free.append(kill_threshold.from_settings(machine.total) - machine.used)
            readers = 0
            for process in self.raylet.children(recursive=True):
                try:
                    text = " ".join(process.cmdline())
                    memory = process.memory_info()
                    if "raymemprof.reading.captures.reader" in text:
                        readers += 1
                        limit = Path(f"/proc/{process.pid}/limits").read_text()
                        (line,) = [line for line in limit.splitlines() if line.startswith("Max data size")]
                        if line.split()[3].isdigit():  # until it has set it
                            self.limits[process.pid] = int(line.split()[3])
                        kind = "reader"
                    elif "raymemprof" in text:
                        kind = "task"
                    else:
                        continue
                    self.memory[kind] = max(self.memory.get(kind, 0), memory.rss - memory.shared)
                except (psutil.Error, OSError):
                    continue
            self.most_at_once = max(self.most_at_once, readers)


def define_many_places() -> Any:
    import ray

    @ray.remote(num_cpus=0)
    def many_places(captures: int, places: int) -> None:
        """Captures in which each allocation is made at a place of its own, in a file of the capture's own."""
        from raymemprof import profile_memory
        from raymemprof.recording.tracker import tracker

        names: dict[str, Any] = {}
        for number in range(captures):
            code = "\n".join(f"def f{n}(): return bytearray({1000 + n})" for n in range(places))
            exec(compile(code, f"many{number}.py", "exec"), names)
            with profile_memory("many", linger=0):
                kept = [names[f"f{n}"]() for n in range(places)]
            assert len(kept) == places
            tracker.close("one is done")

    return many_places


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_reading_on_a_node_is_bounded(nodes: Nodes, recorded: Recorded) -> None:
    """Of captures that have little in common, also where two ask at once."""
    import ray

    two = nodes["two"]
    ray.get(define_many_places().options(resources={"two": 1}).remote(24, 2_000))
    captures = raymemprof.captures(name="many")
    assert {capture.node_id for capture in captures} == {two.node_id}
    assert len(captures) == 24
    for process in two.workers():  # those that wait for another question; they were given what was free before
        with contextlib.suppress(psutil.Error):
            if "raymemprof.reading.captures.reader" in " ".join(process.cmdline()):
                process.kill()
    watch = Watch(two)
    watch.start()
    try:
        with ThreadPoolExecutor(2) as threads:
            heaps = list(threads.map(raymemprof.heap, [captures] * 2))
    finally:
        watch.done.set()
        watch.join()
    for heap in heaps:
        assert heap.call_count == 24
        assert heap.left_out == ()
        assert sum(line.bytes for line in heap.at_peak) == heap.peak
        assert len(heap.at_peak) >= 24 * 1_990  # and Ray's own, of which there is room for 50,000
    shown = {kind: f"{size / MIB:.0f} MiB" for kind, size in watch.memory.items()}
    limits = [f"{limit / MIB:.0f} MiB" for limit in watch.limits.values()]
    print(f"merging 24 captures twice on a node took, RSS - SHR: {shown}; readers' limits: {limits}")
    assert 1 <= watch.most_at_once <= 2 * pool._MOST_ON_A_NODE, "those that are done wait for another question"
    assert watch.limits
    assert max(watch.limits.values()) * pool._MOST_ON_A_NODE <= max(watch.free) / 2
    assert watch.memory["reader"] < 300 * MIB
    assert watch.memory["task"] < 300 * MIB


def test_what_takes_too_long_is_ended_there(nodes: Nodes, recorded: Recorded, wait_for: Callable[..., Any]) -> None:
    """Nobody cancels it: Ray ends the process that does, where what it cancels just ends."""

    def is_busy() -> bool:
        return any(one.info["cmdline"] == ["ray::raymemprof.timeit"] for one in psutil.process_iter(["cmdline"]))

    two = nodes["two"].node_id
    loop = ("pass", "pass", time.perf_counter, 10**15)
    (missing,) = cluster.on_nodes(timeit.timeit, {two: loop}, longest=2.0).missing
    assert (missing.node_id, missing.reason) == (two, "it was not done within 2 s")
    wait_for(lambda: not is_busy(), 30)
    assert cluster.on_nodes(timeit.timeit, {two: ("pass", "pass", time.perf_counter, 10)}).missing == ()


def test_a_node_without_raymemprof(nodes: Nodes, recorded: Recorded, run_script: Any, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False, symlinks=True)
    packages = tmp_path / "packages"  # all that this Python has, but for us
    packages.mkdir()
    installed = [entry for path in sys.path if path.endswith("site-packages") for entry in Path(path).iterdir()]
    for entry in installed:
        if "raymemprof" not in entry.name and not (packages / entry.name).exists():
            (packages / entry.name).symlink_to(entry)
    python = str(bare / "bin" / "python")
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    lacking = subprocess.run([python, "-c", "import ray; import raymemprof"], env=environment, capture_output=True)
    assert b"No module named 'raymemprof'" in lacking.stderr
    nodes.start("bare", python=python, PYTHONPATH=str(packages))
    try:
        nodes.learn()
        # Not this process: where its working directory is, workers find what lies there.
        connect = f"ray.init(address={nodes.address!r}, logging_level='ERROR', log_to_driver=False"
        code = f"""
import json, ray, raymemprof
{connect})
calls = raymemprof.calls(name="load")
table = repr(calls)
report = raymemprof.heap(calls)
with raymemprof.watch() as watch:
    watched = [len(watch.node_ids), *(str(node) for node in watch.missing)]
others = [[node.node_id, node.reason] for node in calls.missing]
print(json.dumps([len(calls), others, table, report.left_out, watched]))
"""
        count, others, table, missing, (watched, unwatched) = json.loads(run_script(code))
        assert watched == len(nodes.nodes) - 1
        assert "raymemprof is not installed there" in unwatched
        assert count == len(recorded.loads)
        ((node_id, reason),) = others
        assert node_id == nodes["bare"].node_id
        assert reason.startswith("raymemprof is not installed there: ")
        assert 'ray.init(runtime_env={"py_modules": [raymemprof], ' in reason
        assert "raymemprof is not installed there" in " ".join(table.split())
        (sentence,) = missing  # a sum of what was listed lacks what could not be
        assert reason in sentence
        code = f"""
import json, ray, raymemprof
{connect}, runtime_env={{"py_modules": [raymemprof]}})

@ray.remote(num_cpus=0, resources={{"bare": 1}})
@raymemprof.profile_memory(linger=0)
def shipped():
    kept = bytearray(4_000_000)
    return ray.get_runtime_context().get_node_id()

node_id = ray.get(shipped.remote())
calls = raymemprof.calls()
(call,) = raymemprof.calls(name="shipped")
with raymemprof.watch() as watch:
    watched = len(watch.node_ids)
print(json.dumps([node_id, [*map(str, calls.missing)], len(calls), call.node_id, raymemprof.heap(call).peak, watched]))
"""
        node_id, others, count, told, peak, watched = json.loads(run_script(code, timeout=180))
        assert watched == len(nodes.nodes)
        assert (node_id, others, told) == (nodes["bare"].node_id, [], node_id)
        assert count > len(recorded.loads)
        assert 4_000_000 <= peak < 4_200_000
    finally:
        nodes.stop("bare")
