"""Memory over time of real tasks on two nodes: one that holds 100 MB, and one that is killed and retried."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import raymemprof
from raymemprof import profile_memory
from raymemprof.reading.catalog.series import lives_of
from tests.programs.several_nodes import Nodes

SIZE = 100_000_000


@pytest.fixture(scope="module")
def cluster_of_two() -> Iterator[Nodes]:
    """Two nodes with folders of their own; this process is on "one"."""
    import ray

    nodes = Nodes()
    try:
        nodes.start("one", "two")
        nodes.connect()
        yield nodes
    finally:
        ray.shutdown()
        nodes.stop()


def programs() -> tuple[Callable[[str], None], Callable[[str], None]]:
    """Functions that travel by value: a test's module cannot be imported elsewhere."""

    def hold(diary: str) -> None:
        time.sleep(0.3)
        kept = bytearray(b"1") * SIZE
        began = time.time()
        time.sleep(1)
        Path(diary).write_text(f"{os.getpid()} {began} {time.time()}")
        del kept
        time.sleep(0.5)

    def dies(diary: str) -> None:
        kept = bytearray(b"1") * SIZE
        began = time.time()
        time.sleep(1)
        if not os.path.exists(diary):
            Path(diary).write_text(f"{os.getpid()} {began} {time.time()}")
            os.kill(os.getpid(), signal.SIGKILL)
        del kept

    return hold, dies


hold, dies = programs()


def test_what_tasks_held_and_when_one_was_killed(cluster_of_two: Nodes, tmp_path: Path) -> None:
    import ray

    diaries = {name: tmp_path / name for name in ("held", "killed")}
    on_two = ray.remote(profile_memory(hold)).options(resources={"two": 1}).remote(str(diaries["held"]))
    on_one = (
        ray.remote(profile_memory(dies)).options(resources={"one": 1}, max_retries=1).remote(str(diaries["killed"]))
    )
    ray.get([on_two, on_one])

    for name, diary in (("hold", "held"), ("dies", "killed")):
        calls = raymemprof.calls(name=name)
        found = lives_of(calls)
        assert found.left_out == []
        pid, began, ended = map(float, diaries[diary].read_text().split())
        (life,) = [one for one in found.lives if one.pid == pid]
        assert life.threshold is not None, "which the raylet's log says on each node"
        before = life.points[0].memory
        plateau = [point.memory for point in life.points if began + 0.1 < point.time < ended - 0.1]
        assert len(plateau) > 5
        assert min(plateau) - before == pytest.approx(SIZE, rel=0.06)
        if name == "dies":
            assert life.end == pytest.approx(ended, abs=1.5), "to the second in which the raylet saw it end"
            assert life.ended == life.end
            assert len(found.lives) == 2
        else:
            assert life.points[-1].memory - before < SIZE / 2

    report = raymemprof.timeline(output=tmp_path / "all.html")
    page = report.path.read_text()
    assert report.left_out == ()
    assert page.count('class="head"') == 2, "a panel for each node"
    assert "dies killed" in page
    assert "↻ retried" in page
    assert "dies, attempt 2: finished" in page
    assert "Ray kills when the node uses" in page
    one = raymemprof.timeline(raymemprof.calls(name="hold")[0], tmp_path / "hold.html")
    assert 'class="heap"' in one.path.read_text(), "read from its capture, which lies on the other node"
