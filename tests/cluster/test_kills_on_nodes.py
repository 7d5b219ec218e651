"""What was killed on another node is listed and explained here, with the line, read where it happened."""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import raymemprof
from raymemprof import profile_memory
from tests.programs.several_nodes import Nodes

asking = importlib.import_module("raymemprof.cluster.ask")
"""The module: `cluster.ask` is the function."""
GIB = 2**30
PIECE = 50_000_000
pytest.importorskip("grpc", reason="Ray says which task was killed only through gRPC or a dashboard")


@pytest.fixture(scope="module")
def killing(memory_to_itself: Any) -> Iterator[Nodes]:
    """Two nodes: "one", where this process is, never kills; "two" does when 4 GiB more are used than before."""
    import ray

    nodes = Nodes()
    with memory_to_itself():
        try:
            nodes.start("one", RAY_memory_monitor_refresh_ms="0")
            memory = psutil.virtual_memory()
            threshold = (memory.total - memory.available + 4 * GIB) / memory.total
            nodes.start("two", RAY_memory_usage_threshold=str(threshold), RAY_memory_monitor_refresh_ms="100")
            nodes.connect()
            yield nodes
        finally:
            ray.shutdown()
            nodes.stop()


def programs() -> tuple[Callable[[str], None], Callable[[str], None]]:
    """Functions that travel by value: a test's module cannot be imported elsewhere."""

    def grow(diary: str) -> None:
        Path(diary).write_text(str(os.getpid()))
        kept = []
        while True:
            kept.append(bytearray(b"1" * PIECE))
            time.sleep(0.05)

    def hold(diary: str) -> None:
        kept = bytearray(b"1" * PIECE)
        Path(diary).write_text(f"{os.getpid()} {len(kept)}")
        while True:
            time.sleep(0.05)

    return grow, hold


grow, hold = programs()


def line_of(function: Callable[..., Any], text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


def on_two(function: Callable[..., Any], diary: Path) -> Any:
    import ray

    return ray.remote(function).options(resources={"two": 1}, max_retries=0).remote(str(diary))


@pytest.fixture(scope="module")
def killed(killing: Nodes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, str, int]]:
    """Two tasks that Ray killed for memory: error, task id and pid of a profiled one and of one that is not."""
    import ray

    found = {}
    for name, function in (("profiled", profile_memory(grow, linger=0)), ("bare", grow)):
        diary = tmp_path_factory.mktemp(name) / "diary"
        reference = on_two(function, diary)
        with pytest.raises(ray.exceptions.OutOfMemoryError) as caught:
            ray.get(reference, timeout=120)
        found[name] = (caught.value, reference.task_id().hex(), int(diary.read_text()))
    return found


def test_listed(killing: Nodes, killed: dict[str, tuple[Any, str, int]], wait_for: Callable[..., Any]) -> None:
    expected = {(task_id, 0, pid) for _, task_id, pid in killed.values()}
    kills: list[Any] = []

    def are_listed() -> bool:
        """Beside them Ray may have killed who was on that node just then: an idle worker, or who asked for files."""
        kills[:] = [kill for kill in raymemprof.ooms() if (kill.task_id, kill.attempt, kill.pid) in expected]
        return len(kills) == len(expected)

    wait_for(are_listed, seconds=60)
    assert {kill.node_id for kill in kills} == {killing["two"].node_id}
    assert {kill.cause for kill in kills} == {"ray_memory_monitor"}
    (kill,) = (kill for kill in kills if kill.call is not None)
    assert kill.pid == killed["profiled"][2]
    top = raymemprof.heap(kill.call).top(1)[0]
    assert top.line == line_of(grow, "kept.append")
    assert top.bytes > 0.9 * raymemprof.heap(kill.call).alive_at_end > 10 * PIECE


def test_explained(killing: Nodes, killed: dict[str, tuple[Any, str, int]]) -> None:
    error, task_id, pid = killed["profiled"]
    for told in (error, str(error)):
        found = raymemprof.explain(told)
        assert found.cause == "ray_memory_monitor"
        assert found.node_id == killing["two"].node_id
        assert [call.task_id for call in found.calls] == [task_id]
        assert [victim.pid for victim in found.victims] == [pid]
        assert found.lines[0].line == line_of(grow, "kept.append")
        assert 'kept.append(bytearray(b"1" * PIECE))' in str(found)
    found = raymemprof.explain(killed["bare"][0])
    assert [victim.pid for victim in found.victims] == [killed["bare"][2]]
    assert list(found.calls) == []


def test_a_sigkill(killing: Nodes, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    import ray

    reference = on_two(profile_memory(hold, linger=0), tmp_path / "diary")
    pid = wait_for(lambda: (tmp_path / "diary").exists() and (tmp_path / "diary").read_text().split())[0]
    wait_for(lambda: [call.capture for call in raymemprof.calls(name="hold", status="running")])
    os.kill(int(pid), signal.SIGKILL)
    with pytest.raises(ray.exceptions.WorkerCrashedError) as caught:
        ray.get(reference, timeout=60)
    wait_for(lambda: raymemprof.calls(name="hold", status="killed"))
    found = wait_for(lambda: (e := raymemprof.explain(caught.value)).calls and e)
    assert found.cause == "sigkill"
    assert [(call.pid, call.node_id) for call in found.calls] == [(int(pid), killing["two"].node_id)]
    assert found.lines[0].line == line_of(hold, 'b"1" * PIECE')
    assert found.lines[0].bytes >= PIECE


def test_a_node_that_is_gone(
    killing: Nodes, killed: dict[str, tuple[Any, str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LIMIT", 5.0)
    two = killing["two"]
    os.kill(two.raylet().pid, signal.SIGKILL)
    kills = raymemprof.ooms()
    assert [node.node_id for node in kills.missing] == [two.node_id]
    found = raymemprof.explain(killed["profiled"][0])
    assert found.cause == "ray_memory_monitor"  # what the error itself says is explained
    assert [victim.pid for victim in found.victims] == [killed["profiled"][2]]
    assert f"({two.node_id[:8]}…) is missing here" in str(found)
