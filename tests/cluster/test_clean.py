"""`clean()`: what goes on every node, what stays, and that it says so."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import profile_memory
from tests.programs.several_nodes import Nodes

MIB = 2**20
COMMAND = Path(sys.executable).with_name("raymemprof")
NAMES = ("one", "two", "three")


def seen(nodes: Nodes, path: Path, node_id: str) -> Path:
    """Where this process sees a file of a node's."""
    return nodes[node_name(nodes, node_id)].seen(path)


def there(nodes: Nodes, ending: str = "*.bin") -> dict[Path, int]:
    """The files that lie on the nodes, and their sizes."""
    return {path: path.stat().st_size for node in nodes.nodes for path in node.logs.glob(f"raymemprof-{ending}")}


@pytest.fixture
def run(nodes: Nodes, wait_for: Callable[..., Any]) -> Iterator[Callable[..., raymemprof.Calls]]:
    """Run a function of a name on each node, and wait until its captures are closed; all of it goes at the end."""
    import ray

    def run(name: str, names: tuple[str, ...] = (), **options: Any) -> raymemprof.Calls:
        def both(size: int) -> int:
            for label in (name, *names):
                with profile_memory(label, **{"linger": 0, **options}):
                    kept = bytearray(size)
            return len(kept)

        task = ray.remote(num_cpus=1)(both)
        ray.get([task.options(resources={node: 1}).remote(MIB) for node in NAMES])
        wait_for(lambda: all(capture.status == "closed" for capture in raymemprof.captures(name=name)), 60)
        return raymemprof.calls(name=name)

    yield run
    raymemprof.clean(all=True)
    assert there(nodes) == {}


def check(nodes: Nodes, removed: raymemprof.RemovedFiles, expected: dict[Path, int]) -> None:
    """These were removed, are gone, and nothing else is."""
    captures = [file for file in removed if file.path.suffix == ".bin"]
    assert {seen(nodes, file.path, file.node_id): file.size for file in captures} == expected
    assert all(file.path.is_relative_to(nodes[node_name(nodes, file.node_id)].folder) for file in removed)
    for file in removed:
        assert not seen(nodes, file.path, file.node_id).exists()
    assert removed.missing == ()


def node_name(nodes: Nodes, node_id: str) -> str:
    return next(node.name for node in nodes.nodes if node.node_id == node_id)


def test_by_name_on_all_nodes(nodes: Nodes, run: Any) -> None:
    run("keep")
    kept = there(nodes)
    calls = run("drop")
    before = there(nodes)
    dropped = {path: size for path, size in before.items() if path not in kept}
    assert len(dropped) == 3
    assert {seen(nodes, call.capture, call.node_id) for call in calls} == set(dropped)
    removed = raymemprof.clean(name="drop")
    check(nodes, removed, dropped)
    assert there(nodes) == kept
    assert {node_name(nodes, file.node_id) for file in removed} == set(NAMES)
    assert "3 files removed" in repr(removed)
    assert "in all" in repr(removed)
    assert len(raymemprof.calls(name="keep")) == 3
    gone = raymemprof.calls(name="drop")
    assert [call.capture for call in gone] == [None] * 3  # the workers live, and so do their journals
    assert len(raymemprof.clean(name="drop")) == 0
    nobody = raymemprof.clean(name="nobody")
    assert len(nobody) == 0
    assert "nothing fits; there are calls of drop, keep" in " ".join(repr(nobody).split())
    with pytest.raises(TypeError, match="job_id=5"):
        raymemprof.clean(job_id=5)  # type: ignore[arg-type]


def test_by_age(nodes: Nodes, run: Any) -> None:
    run("load")
    captures = there(nodes)
    old = dict(list(captures.items())[:2])
    for path in old:
        os.utime(path, (time.time() - 7200,) * 2)
    assert len(raymemprof.clean(older_than=timedelta(hours=3))) == 0
    check(nodes, raymemprof.clean(older_than=3600), old)
    assert there(nodes).keys() == captures.keys() - old.keys()
    assert len(raymemprof.clean(older_than=0.0, name="other")) == 0
    assert len(raymemprof.clean(older_than=timedelta(0), name="load")) == 1


def test_by_job(nodes: Nodes, run: Any, run_script: Any, wait_for: Callable[..., Any]) -> None:
    run("load")
    mine = there(nodes)
    code = f"""
import ray
from raymemprof import profile_memory
ray.init(address={nodes.address!r}, logging_level="ERROR", log_to_driver=False)

@ray.remote
@profile_memory(linger=0)
def load(size):
    return len(bytearray(size))

ray.get([load.options(resources={{name: 1}}).remote(1 << 20) for name in {NAMES!r}])
print(ray.get_runtime_context().get_job_id())
"""
    job_id = run_script(code).strip()
    others = {path: size for path, size in there(nodes).items() if path not in mine}
    assert len(others) == 3
    journals = set(there(nodes, "*.jsonl"))

    def told() -> bool:  # the job has ended, and its workers go: then their journals may go too
        return all(call.status == "finished" for call in raymemprof.calls(job_id=job_id)) and not any(
            process.pid in pids for node in nodes.nodes for process in node.workers()
        )

    pids = {call.pid for call in raymemprof.calls(job_id=job_id)}
    wait_for(told, 60)
    others = {path: path.stat().st_size for path in others}
    removed = raymemprof.clean(job_id=job_id)
    check(nodes, removed, others)
    assert there(nodes).keys() == mine.keys()
    left = journals - set(there(nodes, "*.jsonl"))
    assert left == {seen(nodes, file.path, file.node_id) for file in removed if file.path.suffix == ".jsonl"}
    assert len(left) == 3  # of nothing was anything left
    assert len(raymemprof.calls(job_id=job_id)) == 0


def test_what_is_written_is_left_and_said_so(nodes: Nodes, run: Any, wait_for: Callable[..., Any]) -> None:
    import ray

    @ray.remote(num_cpus=0, resources={"two": 1})
    @profile_memory
    class Store:
        def add(self, size: int) -> int:
            self.kept = bytearray(size)
            return os.getpid()

    run("load")
    closed = there(nodes)
    store = Store.remote()
    pid = ray.get(store.add.remote(MIB))
    removed = raymemprof.clean(all=True)
    check(nodes, removed, closed)
    assert "1 left: still written to" in " ".join(repr(removed).split())
    (capture,) = raymemprof.captures()
    assert (capture.pid, capture.status) == (pid, "open")
    assert ray.get(store.add.remote(2 * MIB)) == pid
    assert len(raymemprof.calls(name="Store.add")) == 2  # its journal is there
    assert 2 * MIB <= raymemprof.heap(capture).peak < 4 * MIB
    ray.kill(store)
    wait_for(lambda: raymemprof.captures()[0].status == "killed", 60)
    removed = raymemprof.clean(all=True)
    assert {file.path.suffix for file in removed} == {".bin", ".jsonl"}
    assert not any(path.match(f"*-{pid}-*") for path in there(nodes, "*"))


def test_what_others_need_is_left_and_said_so(nodes: Nodes, run: Any) -> None:
    run("first", ("second",), linger=5)  # both on one capture
    (capture, *_) = raymemprof.captures(name="first")
    assert capture.call_count == 2
    before = there(nodes)
    removed = raymemprof.clean(name="first")
    assert len(removed) == 0
    assert "3 left: they hold other calls too" in " ".join(repr(removed).split())
    assert there(nodes) == before
    check(nodes, raymemprof.clean(name="*s*"), before)  # all there is on them


def test_without_anything_to_go_by(nodes: Nodes, run: Any) -> None:
    run("load")
    before = there(nodes)
    for arguments in ({}, {"all": False}, {"name": None}):
        with pytest.raises(ValueError, match="say what to remove"):
            raymemprof.clean(**arguments)
    for age in (-1, float("nan"), timedelta(days=-1)):
        with pytest.raises(ValueError, match="older_than"):
            raymemprof.clean(older_than=age)
    done = subprocess.run([COMMAND, "clean", "--address", nodes.address], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "raymemprof: say what to remove: older_than, a filter such as name or job_id, or all.\n"
    assert there(nodes) == before


def test_the_command_line(nodes: Nodes, run: Any) -> None:
    run("keep")
    kept = there(nodes)
    run("drop")
    dropped = {path: size for path, size in there(nodes).items() if path not in kept}
    command = [COMMAND, "clean", "--address", nodes.address, "--name", "drop"]
    done = subprocess.run([*command, "--older-than", "1d"], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[0].strip() == "No files removed."
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert {seen(nodes, Path(row["path"]), row["node_id"]): row["size"] for row in rows} == dropped
    assert there(nodes) == kept
    done = subprocess.run([*command, "--older-than", "soon"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "soon" in done.stderr


def test_what_would_go_is_shown_and_a_duration_needs_a_unit(nodes: Nodes, run: Any) -> None:
    run("drop")
    before = there(nodes)
    would = raymemprof.clean(name="drop", dry_run=True)
    assert {seen(nodes, file.path, file.node_id or "") for file in would} == before.keys()
    assert "would be removed" in repr(would)
    assert all(abs(file.written_at.timestamp() - time.time()) < 600 for file in would)
    assert there(nodes) == before
    command = [COMMAND, "clean", "--address", nodes.address]
    done = subprocess.run([*command, "--older-than", "7"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "'7' is no duration with a unit" in done.stderr
    done = subprocess.run([*command, "--all", "--dry-run"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "would be removed" in done.stdout
    assert there(nodes) == before


@pytest.mark.parametrize(("answer", "is_removed"), [("n", False), ("y", True)])
def test_on_a_terminal_it_is_asked(tmp_path: Path, answer: str, is_removed: bool) -> None:
    import pty

    with raymemprof.profile_memory("block", directory=tmp_path, linger=0):
        pass
    with raymemprof.profile_memory("later", directory=tmp_path / "other"):  # so that the first capture is closed
        pass
    files = set(tmp_path.glob("*.bin"))
    assert files
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [COMMAND, "clean", str(tmp_path), "--older-than", "0s"], stdin=theirs, stdout=subprocess.PIPE, text=True
    )
    os.write(ours, f"{answer}\n".encode())
    printed, _ = done.communicate(timeout=60)
    os.close(ours), os.close(theirs)
    assert "would be removed" in printed
    assert (set(tmp_path.glob("*.bin")) == set()) == is_removed


def test_it_takes_the_filters_of_calls(tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    for label, is_broken in (("fine", False), ("broken", True)):
        with contextlib.suppress(ValueError), raymemprof.profile_memory(label, directory=tmp_path, linger=0):
            if is_broken:
                raise ValueError
        wait_for(lambda: all(capture.status == "closed" for capture in raymemprof.captures(tmp_path)))
    (fine,), (broken,) = (raymemprof.captures(tmp_path, name=label) for label in ("fine", "broken"))
    assert len(raymemprof.clean(tmp_path, kind="task")) == 0
    assert len(raymemprof.clean(tmp_path, name="", older_than=0)) == 0, "no call has that name"
    would = raymemprof.clean(tmp_path, status="failed", dry_run=True)
    assert ([file.path for file in would], would.dry_run) == ([broken.path], True)
    command = [COMMAND, "clean", tmp_path, "--status", "failed", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert [file["path"] for file in json.loads(done.stdout)] == [str(broken.path)]
    assert [capture.path for capture in raymemprof.captures(tmp_path)] == [fine.path]


def test_nothing_is_removed_where_nobody_said_where(tmp_path: Path) -> None:
    """Not from the newest session of the machine, which may be anybody's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY")}
    done = subprocess.run(
        [COMMAND, "clean", "--all", "--yes"], capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "say where to remove it" in done.stderr


def test_a_capture_without_a_journal(nodes: Nodes, run: Any) -> None:
    run("load")
    captures = there(nodes)
    orphan = nodes["three"].logs / "raymemprof-orphan-local-0-1-1.bin"
    orphan.write_bytes(b"x" * 1000)
    check(nodes, raymemprof.clean(name="load"), captures)
    check(nodes, raymemprof.clean(all=True), {orphan: 1000})


def test_copies_of_what_a_living_worker_recorded(run_script: Any, tmp_path: Path) -> None:
    code = f"""
import ray, raymemprof
ray.init("local", num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)

@ray.remote
@raymemprof.profile_memory(linger=0)
def load(size):
    return len(bytearray(size))

ray.get(load.remote(1 << 20))
while any(capture.status != "closed" for capture in raymemprof.captures()):
    pass
raymemprof.fetch(raymemprof.captures(), {str(tmp_path / "copies")!r})
raymemprof.clean({str(tmp_path / "copies")!r}, all=True)
raymemprof.clean(all=True)
print(*(call.status for call in raymemprof.calls()))  # the worker's own journal is there
"""
    assert run_script(code).split() == ["finished"]
    assert list((tmp_path / "copies").iterdir()) == []
