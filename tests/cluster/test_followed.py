"""Forked children that memray follows are part of the call that forked them: real forks, real captures."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import profile_memory
from tests.programs.several_nodes import Nodes

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="forks of a process with threads, and /proc"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]
MIB = 2**20
CHILDREN = """
import os, signal, sys, time
from raymemprof import profile_memory
MIB = 2**20

def child(size, then):
    pid = os.fork()
    if pid == 0:
        kept = bytearray(b"1") * (size * MIB)  # held by a child
        then()
        os._exit(0)
    return pid

"""


def ours(size: int) -> Any:
    """So many MiB, and what Python itself needs to fork and wait."""
    return pytest.approx(size * MIB, abs=MIB)


def ran(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    script = folder / "script.py"
    script.write_text(CHILDREN + code)
    return subprocess.run([sys.executable, script, folder], capture_output=True, text=True, timeout=60, cwd=folder)


def line_of(folder: Path, text: str) -> int:
    return next(n for n, line in enumerate((folder / "script.py").read_text().splitlines(), 1) if text in line)


FAMILY = """
def inner():
    os.waitpid(child(20, lambda: None), 0)

@profile_memory(directory=sys.argv[1], follow_fork=True)
def family():
    kept = bytearray(b"1") * (30 * MIB)
    os.waitpid(child(50, inner), 0)
    time.sleep(1)  # for its memory to be looked at, on a busy machine too

@profile_memory(directory=sys.argv[1], follow_fork=True)
def killed_child():
    os.waitpid(child(7, lambda: os.kill(os.getpid(), 9)), 0)

@profile_memory(directory=sys.argv[1], follow_fork=True)
def alone():
    return len(bytearray(b"1") * (3 * MIB))

family(), killed_child(), alone()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process recorded with a child, a grandchild, a child that was killed, and a call without one."""
    folder = tmp_path_factory.mktemp("followed")
    done = ran(FAMILY, folder)
    assert done.returncode == 0, done.stderr
    return folder


def call_of(folder: Path, name: str) -> raymemprof.Call:
    (call,) = raymemprof.calls(folder, name=name)
    return call


@pytest.mark.versions
def test_a_child_and_its_child_are_in_the_call_s_heap(folder: Path) -> None:
    heap = raymemprof.heap(call_of(folder, "family"))
    assert heap.in_children == ours(70)
    assert heap.children_count == 2
    assert heap.peak == ours(100)
    assert heap.alive_at_end < MIB, "the children have ended, and what they held with them"
    assert heap.grew is not None
    assert heap.retained is not None
    assert heap.unseen is not None
    assert heap.grew == pytest.approx(30 * MIB, abs=4 * MIB), "the process's own"
    assert heap.grew == heap.peak - heap.in_children + heap.retained + heap.unseen - heap.released
    (line,) = [line for line in heap.top() if line.line == line_of(folder, "# held by a child")]
    assert line.bytes == ours(70)
    assert re.search(r": (29\.[5-9]|30\.\d) MiB held", heap.balance)  # what was resident at its last look
    assert "Beside that, its 2 forked children held 70.0 MiB at their own peaks" in heap.balance
    assert json.loads(heap.to_json())["in_children"] == heap.in_children


def test_each_child_is_in_the_call_that_forked_it(folder: Path) -> None:
    killed = raymemprof.heap(call_of(folder, "killed_child"))
    assert (killed.in_children, killed.children_count, killed.left_out) == (ours(7), 1, ())
    alone = raymemprof.heap(call_of(folder, "alone"))
    assert (alone.in_children, alone.children_count) == (0, 0)
    assert "child" not in alone.balance
    of_all = raymemprof.heap(raymemprof.calls(folder))
    assert of_all.in_children == ours(77)
    assert of_all.peak == ours(110)
    assert {one.name: one.peak for one in of_all.by_name} == {
        "family": ours(100),
        "killed_child": ours(7),
        "alone": ours(3),
    }


def test_a_whole_capture_has_them_too_and_none_counts_twice(folder: Path) -> None:
    captures = raymemprof.captures(folder)
    parent = next(capture for capture in captures if capture.call_count)
    children = [capture for capture in captures if not capture.call_count]
    assert len(children) == 3
    whole = raymemprof.heap(parent)
    assert whole.in_children == ours(77)
    for target in (captures, [parent, *children], [*children, parent], [call_of(folder, "family"), *children]):
        heap = raymemprof.heap(target)
        assert heap.peak == ours(107)
        assert sum(line.bytes for line in heap.at_peak) == heap.peak


def frames(report: raymemprof.Report) -> list[str]:
    """The names on a flame graph that memray drew."""
    page = report.path.read_text()
    packed = re.search(r"const packed_data = (.*);", page)
    assert packed is not None
    return list(json.loads(packed[1])["strings"])


def test_a_flame_graph_says_which_child_it_was(folder: Path, tmp_path: Path) -> None:
    call = call_of(folder, "family")
    pids = [int(path.suffix[1:]) for path in folder.glob("*.bin.*")]
    shown = frames(raymemprof.flamegraph(call, tmp_path))
    assert sum(f"child process {pid}" in shown for pid in pids) == 2
    speedscope = json.loads(raymemprof.speedscope(call, tmp_path).path.read_text())
    names = [frame["name"] for frame in speedscope["shared"]["frames"]]
    stacks = [[names[number] for number in sample] for sample in speedscope["profiles"][0]["samples"]]
    deepest = max(stacks, key=lambda stack: sum(name.startswith("child process") for name in stack))
    order = [name for name in deepest if name in ("family", "child", "inner") or name.startswith("child process")]
    assert [name.rpartition(" ")[0] or name for name in order] == [
        "family",
        "child",
        "child process",
        "child",
        "inner",
        "child",
        "child process",
        "child",
    ], "outermost first: below each child stands what it ran from the line that forked it on"
    line = line_of(folder, "# held by a child")
    assert f"script.py:{line}" in raymemprof.table(call, tmp_path).path.read_text()


def test_a_temporal_report_says_that_children_are_not_in_it(folder: Path, tmp_path: Path) -> None:
    call = call_of(folder, "family")
    report = raymemprof.flamegraph(call, tmp_path, temporal=True)
    (said,) = report.left_out
    assert said.endswith("a temporal report is of the process alone; its forked 2 children have captures of their own.")
    child = raymemprof.captures(folder)[-1]
    assert raymemprof.flamegraph(child, tmp_path / "child.html", temporal=True).left_out == ()


def copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.glob("raymemprof-*"):
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_a_child_s_capture_that_is_damaged_or_gone_is_named(folder: Path, tmp_path: Path) -> None:
    there = copy(folder, tmp_path / "copy")
    captures = sorted(there.glob("*.bin.*"), key=lambda path: raymemprof.heap(path).peak)
    damaged, gone = captures[-1], captures[-2]
    damaged.write_bytes(damaged.read_bytes()[:40])
    gone.unlink()
    heap = raymemprof.heap(call_of(there, "family"))
    assert heap.peak == ours(30)
    assert heap.in_children == 0
    assert len(heap.left_out) == 2
    assert any(text.startswith(f"{damaged}: it cannot be read") for text in heap.left_out)
    assert f"{gone}: it is gone, removed by hand or to keep the disk budget." in heap.left_out
    gone.symlink_to(next(folder.glob("*.bin.*")))
    heap = raymemprof.heap(call_of(there, "family"))
    assert f"{gone}: it is refused: it is no plain file." in heap.left_out


def test_lines_of_forks_that_make_no_sense(folder: Path, tmp_path: Path) -> None:
    there = copy(folder, tmp_path / "copy")
    (journal,) = there.glob("*.jsonl")
    good = next(json.loads(line) for line in journal.read_text().splitlines() if '"event":"fork"' in line)
    before = raymemprof.heap(raymemprof.calls(there)).peak
    bad: list[dict[str, Any]] = [
        {"pid": -1},
        {"pid": "/../../x"},
        {"pid": None},
        {"calls": 7},
        {"stack": [[1]]},
        {"stack": [["x [slot x]", "<raymemprof>", 1]]},
        {"capture": ["x"]},
        {"parent": "x"},
        {"pid": 10**30},
    ]
    with journal.open("a") as file:
        for one in bad:
            file.write(json.dumps(good | one) + "\n")
        file.write(json.dumps(good | {"parent": good["pid"]}) + "\n")  # it is its own child
    heap = raymemprof.heap(raymemprof.calls(there))
    assert heap.peak == before
    assert heap.left_out == ()


KILLED = """
@profile_memory(directory=sys.argv[1], follow_fork=True)
def killed():
    kept = bytearray(b"1") * (30 * MIB)
    os.waitpid(child(50, lambda: None), 0)
    time.sleep(0.6)
    ready, told = os.pipe()
    pid = child(20, lambda: (os.write(told, b"x"), time.sleep(60)))
    print(pid, flush=True)
    os.read(ready, 1)
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL), os.kill(os.getpid(), signal.SIGKILL)

killed()
"""


def test_a_killed_call_held_what_its_children_held_when_it_died(tmp_path: Path) -> None:
    done = ran(KILLED, tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    call = call_of(tmp_path, "killed")
    assert call.status == "killed"
    heap = raymemprof.heap(call)
    assert heap.in_children == ours(70)
    assert heap.alive_at_end == ours(50), "its own, and that of the child which was killed with it"
    lines = {line.line: line.bytes for line in heap.top()}
    assert lines[line_of(tmp_path, "# held by a child")] == ours(20)


def test_a_child_that_outlives_its_call(tmp_path: Path) -> None:
    @profile_memory(directory=tmp_path, follow_fork=True)
    def leaves() -> int:
        ready, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            kept = bytearray(b"1") * (40 * MIB)
            os.write(told, b"x")
            time.sleep(60)
            os._exit(len(kept) % 7)
        os.read(ready, 1)
        time.sleep(0.3)
        os.close(ready), os.close(told)
        return pid

    pid = leaves()
    try:
        call = call_of(tmp_path, "*leaves")
        assert pid in [child.pid for child in call.children_left]
        heap = raymemprof.heap(call)
        assert heap.in_children == ours(40)
        assert heap.alive_at_end == ours(40)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def held(size: int) -> int:
    kept = bytearray(b"1") * size
    time.sleep(0.1)
    return len(kept)


def test_a_pool_that_lives_longer_than_the_call_that_made_it(tmp_path: Path) -> None:
    """Its workers belong to the call that forked them, whoever has them work."""
    pools: list[Any] = []

    @profile_memory(directory=tmp_path, follow_fork=True)
    def makes() -> None:
        pools.append(multiprocessing.get_context("fork").Pool(2))

    @profile_memory(directory=tmp_path, follow_fork=True)
    def uses() -> list[int]:
        return list(pools[0].map(held, [25 * MIB] * 2, chunksize=1))

    try:
        makes()
        assert uses() == [25 * MIB] * 2
    finally:
        for pool in pools:
            pool.terminate()
            pool.join()
    made = raymemprof.heap(call_of(tmp_path, "*makes"))
    assert made.children_count == 2
    assert made.in_children >= 25 * MIB
    assert raymemprof.heap(call_of(tmp_path, "*uses")).in_children == 0


def test_calls_beside_each_other_have_each_its_own(tmp_path: Path) -> None:
    """Forked by a call's own thread, also within a call of another name, and by a thread that it started."""
    together = threading.Barrier(2)

    def fork(size: int) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(len(bytearray(b"1") * (size * MIB)) % 7)
        os.waitpid(pid, 0)

    @profile_memory(directory=tmp_path, follow_fork=True)
    def inner(size: int) -> None:
        fork(size)

    @profile_memory(directory=tmp_path, follow_fork=True)
    def first() -> None:
        together.wait()
        inner(10)
        together.wait()

    @profile_memory(directory=tmp_path, follow_fork=True)
    def second() -> None:
        together.wait()
        fork(20)
        together.wait()

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    @profile_memory(directory=tmp_path, follow_fork=True)
    def third() -> None:
        thread = threading.Thread(target=fork, args=(30,))
        thread.start()
        thread.join()
        with profile_memory("block", directory=tmp_path, follow_fork=True):
            fork(5)

    third()
    heaps = {call.name.rpartition(".")[2]: raymemprof.heap(call) for call in raymemprof.calls(tmp_path)}
    sizes = {"first": 10, "inner": 10, "second": 20, "third": 35, "block": 5}
    assert {name: heap.in_children for name, heap in heaps.items()} == {n: ours(size) for n, size in sizes.items()}


def test_without_the_option_nothing_of_it_is_written(tmp_path: Path) -> None:
    done = ran(FAMILY.replace("follow_fork=True", "follow_fork=False"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"event":"fork"' not in next(tmp_path.glob("*.jsonl")).read_text()
    heap = raymemprof.heap(call_of(tmp_path, "family"))
    assert (heap.in_children, heap.children_count, heap.left_out) == (0, 0, ())


@pytest.mark.parametrize(
    ("follow_fork", "said"),
    [
        (True, "memray traces this process as a forked child: what it allocates is part of the call that forked it"),
        (False, "this process was forked while memray traced its parent, and memray cannot start in it; "),
    ],
)
def test_what_is_decorated_in_a_child_says_why_it_is_not_traced(follow_fork: bool, said: str, tmp_path: Path) -> None:
    @profile_memory(directory=tmp_path)
    def job() -> int:
        return len(bytearray(b"1") * (10 * MIB))

    @profile_memory(directory=tmp_path, follow_fork=follow_fork, linger=0)
    def starts() -> None:
        pid = os.fork()
        if pid == 0:
            job()
            os._exit(0)
        os.waitpid(pid, 0)

    starts()
    call = call_of(tmp_path, "*job")
    assert (call.status, call.capture) == ("finished", None)
    assert (call.note or "").startswith(said)
    assert raymemprof.heap(call_of(tmp_path, "*starts")).in_children == (ours(10) if follow_fork else 0)


CLOSES = """
def daemon():
    os.closerange(3, 200)
    for number in range(100):
        os.open("users", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.waitpid(child(20, lambda: None), 0)

@profile_memory(directory=sys.argv[1], follow_fork=True)
def starts():
    os.waitpid(child(1, daemon), 0)

starts()
"""


def test_a_child_that_closes_all_files_has_none_of_its_own_written_to(tmp_path: Path) -> None:
    done = ran(CLOSES, tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"fork" not in (tmp_path / "users").read_bytes()
    assert raymemprof.heap(call_of(tmp_path, "starts")).children_count >= 1


def test_a_journal_that_cannot_be_written_to_changes_nothing(tmp_path: Path) -> None:
    code = """
@profile_memory(directory=sys.argv[1], follow_fork=True)
def starts():
    import glob
    for path in glob.glob(sys.argv[1] + "/*.jsonl"):
        os.unlink(path)
    return os.waitpid(child(1, lambda: None), 0)[1]

print(starts())
"""
    done = ran(code, tmp_path)
    assert (done.returncode, done.stdout) == (0, "0\n")
    assert "where a child process began was not noted" in done.stderr
    journals = [path.read_text() for path in tmp_path.glob("*.jsonl")]
    assert not any('"event":"fork"' in text for text in journals), "the child makes none"


def test_on_other_nodes(nodes: Nodes, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    """A task on another node: read from here, fetched with its children, and removed with them."""
    import ray

    @ray.remote(num_cpus=1)
    @profile_memory(follow_fork=True, linger=0)
    def forks() -> list[int]:
        pids = []
        for _ in range(2):
            pid = os.fork()
            if pid == 0:
                kept = bytearray(b"1") * (25 * 2**20)
                os._exit(len(kept) % 7)
            os.waitpid(pid, 0)
            pids.append(pid)
        return pids

    pids = ray.get(forks.options(resources={"two": 1}).remote(), timeout=60)
    call = wait_for(lambda: [call for call in raymemprof.calls(name="forks") if call.status == "finished"])[0]
    wait_for(lambda: all(capture.status == "closed" for capture in raymemprof.captures(name="forks")))
    assert call.node_id == nodes["two"].node_id
    heap = raymemprof.heap(call)
    assert (heap.in_children, heap.children_count, heap.left_out) == (ours(50), 2, ())
    assert {f"child process {pid}" for pid in pids} <= set(frames(raymemprof.flamegraph(call, tmp_path)))
    fetched = raymemprof.fetch(call, to=tmp_path / "fetched")
    assert len(fetched) == 1, "what was asked for"
    assert {path.suffix for path in (tmp_path / "fetched").glob("*.bin.*")} == {f".{pid}" for pid in pids}
    copied = raymemprof.heap(call_of(tmp_path / "fetched", "forks"))
    assert (copied.peak, copied.in_children) == (heap.peak, heap.in_children)
    lost = next(nodes["two"].logs.glob(f"*.bin.{pids[0]}"))
    lost.unlink()
    again = raymemprof.heap(call)
    assert again.in_children == ours(25)
    assert again.left_out == (f"{call.capture}.{pids[0]}: it is gone, removed by hand or to keep the disk budget.",)
    raymemprof.clean(name="forks")
    assert not list(nodes["two"].logs.glob("raymemprof-forks-*.bin*"))


WAYS = f"""
import multiprocessing, subprocess
from concurrent.futures import ProcessPoolExecutor
HOLD = "(lambda data: (__import__('time').sleep(0.3), len(data))[1])(bytearray(b'1') * {20 * MIB})"

def in_program(**options):
    subprocess.run([sys.executable, "-c", HOLD], check=True, **options)

def in_process(method):
    process = multiprocessing.get_context(method).Process(target=eval, args=(HOLD,))
    process.start()
    process.join()

def in_pool(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        pool.map(eval, [HOLD])

def in_executor(method):
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as executor:
        list(executor.map(eval, [HOLD]))

def in_data_loader(method):
    import torch.utils.data
    class Items(list):
        def __getitem__(self, number):
            return eval(HOLD)
    list(torch.utils.data.DataLoader(Items([1]), num_workers=1, multiprocessing_context=method))

if __name__ == "__main__":
    way, *method = sys.argv[2].split()
    with profile_memory("call", directory=sys.argv[1], follow_fork=True):
        if way == "program":
            in_program(**({{"preexec_fn": lambda: None}} if method else {{}}))
        else:
            globals()["in_" + way](*method)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("way", ["process", "pool", "executor", "data_loader"])
def test_which_children_are_traced(way: str, method: str, tmp_path: Path) -> None:
    """As docs/children.md says: those that are forked."""
    if way == "data_loader":
        pytest.importorskip("torch")
        if method != "fork":
            pytest.skip("what it loads must be found in a new interpreter; tests/benchmarks/children.py has it")
    heap = in_a_way(tmp_path, f"{way} {method}")
    assert heap.in_children == (pytest.approx(20 * MIB, abs=4 * MIB) if method == "fork" else 0)


@pytest.mark.parametrize("way", ["program", "program preexec_fn"])
def test_programs_are_not_traced(way: str, tmp_path: Path) -> None:
    heap = in_a_way(tmp_path, way)
    assert (heap.in_children, heap.children_count, heap.left_out) == (0, 0, ())


def in_a_way(folder: Path, way: str) -> raymemprof.Heap:
    (folder / "script.py").write_text(CHILDREN + WAYS)
    subprocess.run([sys.executable, "script.py", folder, way], check=True, cwd=folder, timeout=100)
    return raymemprof.heap(call_of(folder, "call"))


def test_an_actor_s_data_loader(nodes: Nodes) -> None:
    """In a Ray worker, of an actor whose capture stays open: each call has its own workers."""
    import ray

    torch = pytest.importorskip("torch")

    class Items:
        def __init__(self, size: int) -> None:
            self.size = size

        def __len__(self) -> int:
            return 2

        def __getitem__(self, number: int) -> int:
            kept = bytearray(b"1") * self.size
            time.sleep(0.3)
            return len(kept)

    @ray.remote
    @profile_memory(follow_fork=True)
    class Trainer:
        def epoch(self, size: int) -> int:
            loader = torch.utils.data.DataLoader(Items(size), num_workers=2, multiprocessing_context="fork", timeout=20)
            return int(sum(int(one) for one in loader))

    for _ in range(3):  # to fork a Ray worker, which has threads, hangs now and then, profiled or not
        actor = Trainer.options(resources={"one": 1}).remote()
        try:
            assert ray.get(actor.epoch.remote(10 * MIB), timeout=40) == 20 * MIB
            assert ray.get(actor.epoch.remote(30 * MIB), timeout=40) == 60 * MIB
            break
        except ray.exceptions.RayError:
            ray.kill(actor)
    small, large = raymemprof.calls(actor_id=actor._actor_id.hex(), name="Trainer.epoch")
    assert raymemprof.heap(small).in_children == pytest.approx(20 * MIB, abs=6 * MIB)
    assert raymemprof.heap(large).in_children == pytest.approx(60 * MIB, abs=6 * MIB)
    whole = raymemprof.heap(small.capture)
    assert whole.in_children == pytest.approx(80 * MIB, abs=12 * MIB)
    ray.kill(actor)
