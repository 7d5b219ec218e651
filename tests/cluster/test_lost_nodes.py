"""A node that dies or falls silent is named, and keeps nobody from what the others have."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import CaptureError, cluster, profile_memory
from raymemprof.reading.files.incoming_file import Arrival
from tests.programs.several_nodes import Nodes

MIB = 2**20
COMMAND = Path(sys.executable).with_name("raymemprof")
NAMES = ("one", "two", "three")
asking = importlib.import_module("raymemprof.cluster.ask")
"""The module: `cluster.ask` is the function."""
LIMIT = 4.0
SLACK = 20.0
"""Seconds that an answer may take beyond the limit on a machine that others use as well."""


@dataclass(frozen=True)
class Recorded:
    """What ran: its calls and captures as they were listed when all nodes were there, and who ran what."""

    calls: raymemprof.Calls
    captures: raymemprof.Captures
    tasks: dict[str, set[str]]
    """Ids by node's name."""


@pytest.fixture(scope="module")
def recorded(nodes: Nodes) -> Recorded:
    import ray

    @ray.remote
    @profile_memory(linger=0)
    def load(size: int) -> str:
        kept = bytearray(size)
        return ray.get_runtime_context().get_task_id() if kept else ""

    tasks = {name: {ray.get(load.options(resources={name: 1}).remote(MIB)) for _ in range(3)} for name in NAMES}
    deadline = time.monotonic() + 60
    while any(capture.status != "closed" for capture in raymemprof.captures()):
        assert time.monotonic() < deadline
    return Recorded(raymemprof.calls(), raymemprof.captures(), tasks)


@pytest.fixture(autouse=True)
def _short_limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody waits half a minute for a node that is gone. What is known of silent nodes is as in a new process."""
    for module in (cluster, asking):
        monkeypatch.setattr(module, "LIMIT", LIMIT)
    monkeypatch.setattr(asking, "_LIMIT_AFTER_SILENCE", LIMIT / 4)
    asking._silent.clear()
    yield
    asking._silent.clear()


@contextlib.contextmanager
def prompt(questions: int = 1) -> Iterator[None]:
    """Fails the test where answers take longer than the limit, and what a busy machine adds to it."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < LIMIT * questions + SLACK


def check(nodes: Nodes, recorded: Recorded, tmp_path: Path, reasons: str) -> None:
    """All that is asked is answered for "one" and "two", and "three" is named."""
    import ray

    three = nodes["three"]
    kept = recorded.tasks["one"] | recorded.tasks["two"]
    with prompt():
        calls = raymemprof.calls()
    assert {call.task_id for call in calls} == kept
    assert len(calls) == len(kept)
    (missing,) = calls.missing
    assert missing.node_id == three.node_id
    assert any(reason in missing.reason for reason in reasons.split("|")), missing.reason
    assert f"({three.node_id[:8]}…) is missing here: {missing.reason}" in " ".join(repr(calls).split())
    assert missing.reason in calls._repr_html_()
    with prompt():
        captures = raymemprof.captures()
    assert {capture.path for capture in captures} == {call.capture for call in calls}
    assert [node.node_id for node in captures.missing] == [three.node_id]
    with prompt():  # all calls, as they were listed before
        heap = raymemprof.heap(recorded.calls)
    assert heap.call_count == len(kept)
    assert MIB * len(kept) <= heap.peak < MIB * len(kept) * 1.1
    (sentence,) = heap.left_out
    assert three.node_id[:8] in sentence
    with prompt():
        report = raymemprof.flamegraph(recorded.captures, tmp_path / "all.html", overwrite=True)
    (sentence,) = report.left_out
    assert three.node_id[:8] in sentence
    assert "load" in report.path.read_text()
    of_three = [call for call in recorded.calls if call.node_id == three.node_id]
    with prompt(), pytest.raises(CaptureError) as caught:
        raymemprof.fetch(of_three, tmp_path / "none")
    assert three.node_id[:8] in str(caught.value)
    assert caught.value.path == of_three[0].capture
    with prompt():
        fetched = raymemprof.fetch(recorded.captures, tmp_path / "fetched")
    assert {path.name for path in fetched} == {capture.path.name for capture in captures}
    (sentence,) = fetched.left_out
    assert three.node_id[:8] in sentence
    if three.node_id in {node["NodeID"] for node in ray.nodes() if node["Alive"]}:  # it may have it, nobody can tell
        with prompt(), pytest.raises(FileNotFoundError, match=three.node_id[:8]):
            raymemprof.heap(of_three[0].capture.name)
    with prompt(), pytest.raises(CaptureError, match=three.node_id[:8]):
        raymemprof.heap(of_three)


def test_a_node_that_is_frozen_and_comes_back(
    nodes: Nodes, recorded: Recorded, tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    three = nodes["three"]
    three.freeze()
    try:
        check(nodes, recorded, tmp_path, "it did not answer within")
        with prompt(0):  # who asks another is not kept waiting
            assert len(raymemprof.calls(node_id=nodes["two"].node_id)) == 3
    finally:
        three.thaw()
    wait_for(lambda: raymemprof.calls().missing == (), 60)
    assert raymemprof.calls() == recorded.calls
    assert raymemprof.heap(recorded.calls).left_out == ()
    assert len(raymemprof.fetch(recorded.calls, tmp_path / "fetched")) == len(recorded.captures)


def test_a_node_that_dies_while_it_is_asked(
    nodes: Nodes,
    recorded: Recorded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., Any],
) -> None:
    import ray

    three = nodes["three"]
    ask = cluster.ask
    raylet = three.raylet()
    three.processes()  # to be found when their raylet is gone

    def ask_and_kill(node_id: str, *rest: Any, **more: Any) -> Any:
        if node_id == three.node_id and raylet.is_running():
            for process in three.processes():  # its workers too: one that is quick could answer yet
                process.kill()
        return ask(node_id, *rest, **more)

    with monkeypatch.context() as during:
        for module in (cluster, asking):
            during.setattr(module, "ask", ask_and_kill)
        with prompt():
            heap = raymemprof.heap(recorded.calls)
    (sentence,) = heap.left_out
    assert three.node_id[:8] in sentence
    assert heap.call_count == 6
    check(nodes, recorded, tmp_path, "it died|did not answer within|died, or the whole node did|died or left")
    wait_for(lambda: not any(node["Alive"] for node in ray.nodes() if node["NodeID"] == three.node_id), 60)
    check(nodes, recorded, tmp_path, "it has died or left")


def test_a_node_that_dies_while_it_is_fetched_from(
    nodes: Nodes, recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = nodes["two"]
    big = two.logs / "raymemprof-big-local-0-1-1.bin"
    big.write_bytes(bytes(200 * MIB))
    write = Arrival.write
    taken = 0

    def write_and_kill(*rest: Any) -> None:
        nonlocal taken
        write(*rest)
        taken += 1
        if taken == 1:
            for process in two.processes():
                process.kill()

    monkeypatch.setattr(Arrival, "write", write_and_kill)
    of_one = [call for call in recorded.calls if call.node_id == nodes["one"].node_id]
    with prompt():
        fetched = raymemprof.fetch([big.name, *of_one], tmp_path)
    assert {path.name for path in fetched} == {call.capture.name for call in of_one}
    (sentence,) = fetched.left_out
    assert two.node_id[:8] in sentence
    assert not any(big.name in path.name for path in tmp_path.iterdir())


WAITS = """
import sys, time
import ray
from raymemprof import cluster
cluster.connect(sys.argv[1])
print("connected", flush=True)
while any(node["Alive"] for node in ray.nodes() if node["NodeID"] == sys.argv[2]):
    time.sleep(0.1)
time.sleep(3)  # Ray has more to say of it by now
print("done")
"""


@pytest.fixture(scope="module")
def watch(nodes: Nodes, recorded: Recorded) -> Iterator[raymemprof.Watch]:
    """A watch that began before "four" joined."""
    with raymemprof.watch() as watch:
        nodes.start("four")
        nodes.learn()
        yield watch


def test_a_watch_follows_nodes_that_join(nodes: Nodes, watch: raymemprof.Watch, wait_for: Callable[..., Any]) -> None:
    import ray

    @ray.remote
    def holds(size: int) -> int:
        kept = b"1" * size
        time.sleep(3)
        return len(kept)

    ids = {nodes[name].node_id for name in ("one", "four")}
    wait_for(lambda: ids <= set(watch.node_ids), 60)
    assert not ids & {node.node_id for node in watch.missing}
    ray.get([holds.options(resources={name: 1}).remote(100 * MIB) for name in ("one", "four")])
    seen = {one.node_id: one for one in watch.peaks() if one.name == "holds"}
    assert seen.keys() == ids
    assert all((one.memory > 100 * MIB, one.at_once) == (True, 1) for one in seen.values())
    (advised,) = (one for one in raymemprof.advise() if one.name == "holds")
    assert (advised.basis, advised.peak_count) == ("seen", 2)


def test_of_several_lost_nodes_the_right_one_is_named(
    nodes: Nodes, recorded: Recorded, watch: raymemprof.Watch, tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    """The last of the tests: "three" died before the calls were listed, and "four" does after that."""
    import ray

    four = nodes["four"]

    @ray.remote
    @profile_memory(linger=0)
    def late(size: int) -> int:
        return len(bytearray(size))

    ray.get([late.options(resources={name: 1}).remote(MIB) for name in ("one", "four")])
    wait_for(lambda: all(capture.status == "closed" for capture in raymemprof.captures(name="late")), 60)
    listed = raymemprof.calls(name="late")
    gone = {node.node_id for node in listed.missing}
    assert nodes["three"].node_id in gone
    assert four.node_id not in gone
    of_four = listed.sorted(key=lambda call: call.node_id != four.node_id)[:1]
    assert [call.node_id for call in of_four] == [four.node_id]
    command: list[Any] = [sys.executable, "-c", WAITS, nodes.address, four.node_id]
    waiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/")
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "connected\n"
    for process in four.processes():
        process.kill()
    wait_for(lambda: four.node_id not in watch.node_ids)
    for ask in (raymemprof.heap, raymemprof.flamegraph):
        with prompt(), pytest.raises(CaptureError, match=four.node_id[:8]):
            ask(of_four)
    wait_for(lambda: not any(node["Alive"] for node in ray.nodes() if node["NodeID"] == four.node_id), 60)
    said, _ = waiting.communicate(timeout=60)
    assert said == "done\n", "Ray's own words are for nobody who asked for JSON"
    command = [COMMAND, "fetch", "--address", nodes.address, "--name", "late", "--to", tmp_path / "to"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/")
    assert done.returncode == 1, "not all was there to be fetched"
    assert len(done.stdout.splitlines()) == 1
    assert four.node_id[:8] in done.stderr
