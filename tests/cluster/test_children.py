"""What a call's child processes use is part of it, and pages that several share count once; held against /proc."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray import cloudpickle

import raymemprof
from raymemprof import profile_memory
from tests.paths import BENCHMARKS, PROGRAMS

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")]
MIB = 2**20
UNTIL = (
    "import os, sys, time; data = bytearray(b'1') * int(sys.argv[1])\n"
    "while not os.path.exists(sys.argv[2]): time.sleep(0.05)"
)
HOLD = "import sys, time; data = bytearray(b'1') * int(sys.argv[1]); time.sleep(float(sys.argv[2]))"


def anonymous(pid: int) -> int:
    """A process's part of anonymous memory, what it shares divided among those that do."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))


def family_of(worker: psutil.Process) -> set[int]:
    """A worker and all below it, and what is of its group: its parent may have gone."""
    try:
        below = {worker.pid, *(child.pid for child in worker.children(recursive=True))}
    except psutil.Error:
        return set()
    return below | {pid for pid in psutil.pids() if _group(pid) == worker.pid}


def has_its_parents(pid: int) -> bool:
    """Whether a process has the memory of its parent itself, as the child of `vfork` has until it is a program."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    is_new = int(fields[6]) & 0x40 and int(fields[7]) < 64  # forked, no program since, and has touched nothing
    return bool(is_new) and anonymous(pid) == pytest.approx(anonymous(int(fields[1])), rel=0.1)


class Truth(threading.Thread):
    """The most that workers of a title and all below them have together, read from outside as often as it goes."""

    def __init__(self, title: str, size: int, children: int) -> None:
        super().__init__(daemon=True)
        self.title, self.most, self.done = title, 0, threading.Event()
        self.size, self.children = size, children
        self.last: dict[int, int] = {}
        self.large: psutil.Process | None = None
        """A worker with so many children that have so much, as it was waited for."""

    def run(self) -> None:
        workers: list[psutil.Process] = []
        for turn in itertools.count():
            if self.done.wait(0.03):
                break
            if turn % 8 == 0:  # to go through all processes takes a while
                workers = self.workers()
            for process in workers:
                family = family_of(process)
                parts = {pid: anonymous(pid) for pid in family if not has_its_parents(pid)}
                now, below = sum(parts.values()), sum(parts.values()) - parts.get(process.pid, 0)
                # Else one was started, or ended, between two readings.
                if 0.95 < now / self.last.get(process.pid, 1) < 1.05:
                    self.most = max(self.most, now)
                    if below >= self.size and len(family) > self.children:
                        self.large = process
                self.last[process.pid] = max(now, 1)

    def workers(self) -> list[psutil.Process]:
        return [one for one in psutil.process_iter() if _title(one) == f"ray::{self.title}"]


def _title(process: psutil.Process) -> str:
    try:
        return (process.cmdline() or [""])[0]
    except psutil.Error:
        return ""


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def ran(
    function: Any, *arguments: Any, name: str, title: str | None = None, holds: int = 0, children: int = 0
) -> tuple[raymemprof.Call, int]:
    """Run a task, and return its call, and the most that it and its children had together.

    One of which so many children hold so many bytes does so until a file is there, of which it is given the name:
    meanwhile `usage()` is asked.
    """
    truth = Truth(title or name, holds, children)
    truth.start()
    alone = {"env_vars": {"TEST_OF_CHILDREN": name}}  # in a worker that nobody has used
    go = Path(tempfile.mkdtemp(dir=os.environ["RAY_TMPDIR"])) / "go"  # which goes when the tests have ended
    reference = function.options(name=name, runtime_env=alone).remote(*([str(go)] if holds else []), *arguments)
    try:
        if holds:
            deadline = time.monotonic() + 60
            while truth.large is None:
                if time.monotonic() > deadline or ray.wait([reference], timeout=0.05)[0]:
                    ray.get(reference, timeout=0)  # says why
                    raise AssertionError(f"they had {truth.last}, and it was waited for {holds}")
            usage_is_true(truth.large)
            time.sleep(0.5)  # one whose parent has gone is searched for after a quarter of a second (docs/children.md)
            go.touch()
        ray.get(reference, timeout=60)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(reference, force=True)
        raise
    finally:
        truth.done.set()
        truth.join()
        go.touch()
    (call,) = recorded = raymemprof.calls(task_id=reference.task_id().hex())
    if holds:
        (advice,) = raymemprof.advise(recorded)
        assert advice.max == near(truth.most)
        assert advice.memory >= truth.most, "what is asked for must be enough for all of them"
    return call, truth.most


def usage_is_true(worker: psutil.Process) -> None:
    """What usage() says of a worker and all that it started is what they have, each page once."""
    deadline = time.monotonic() + 30
    while True:
        before = {pid: anonymous(pid) for pid in family_of(worker)}
        node = raymemprof.usage().nodes[0]
        after = {pid: anonymous(pid) for pid in family_of(worker)}
        if before.keys() == after.keys() and all(abs(before[pid] - after[pid]) < MIB for pid in before):
            break
        assert time.monotonic() < deadline, "they do not hold still"
    said = {process.pid: process for process in node.processes if process.pid in after}
    assert said.keys() == after.keys()
    assert {process.role for process in said.values() if process.pid != worker.pid} == {"subprocess"}
    assert sum(process.counted for process in said.values()) == near(sum(after.values()))
    for pid, size in after.items():
        assert said[pid].counted == near(size)
    assert node.explained + node.unexplained == node.used


def near(size: int) -> Any:
    return pytest.approx(size, rel=0.1, abs=8 * MIB)


@ray.remote
@profile_memory
def runs(go: str, size: int) -> None:
    subprocess.run([sys.executable, "-c", UNTIL, str(size), go], check=True)


@ray.remote
@profile_memory
def runs_below(go: str, size: int) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {UNTIL!r}, '{size}', {go!r}])"
    subprocess.run([sys.executable, "-c", code], check=True)


@ray.remote
@profile_memory
def leaves(go: str, size: int) -> None:
    command = [sys.executable, "-c", UNTIL, str(size), f"{go}.child"]
    subprocess.run(["sh", "-c", f"{shlex.join(command)} &"], check=True)  # the shell ends: what it started is nobody's
    while not os.path.exists(go):
        time.sleep(0.05)


@ray.remote
@profile_memory
def forks(go: str, count: int, is_written: bool) -> int:
    data = bytearray(b"1") * (200 * MIB)
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            for start in range(0, len(data) if is_written else 0, 4096):
                data[start] = 2
            while not os.path.exists(go):
                time.sleep(0.05)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    return len(data)


@ray.remote
@profile_memory
def pool(go: str, method: str) -> list[int]:
    import multiprocessing

    wait = f"next(1 for _ in iter(lambda: __import__('time').sleep(0.05), 1) if __import__('os').path.exists({go!r}))"
    with multiprocessing.get_context(method).Pool(3) as workers:
        hold = f"(lambda data: ({wait}, len(data))[1])(bytearray(b'1') * {60 * MIB})"
        return workers.map(eval, [hold] * 3, chunksize=1)  # what it calls must be found in a new interpreter


def test_a_subprocess() -> None:
    call, truth = ran(runs, 240 * MIB, name="a_subprocess", holds=240 * MIB, children=1)
    assert call.peak_memory == near(truth)
    assert call.children_peak == near(240 * MIB)
    assert call.children[0].memory == near(240 * MIB)
    assert call.children_left == ()


def test_a_grandchild() -> None:
    call, truth = ran(runs_below, 150 * MIB, name="a_grandchild", holds=150 * MIB, children=2)
    assert call.peak_memory == near(truth)
    assert call.children_peak > 150 * MIB


def test_children_that_only_wait_count_once() -> None:
    call, truth = ran(forks, 3, False, name="only_wait", holds=140 * MIB, children=3)
    assert call.peak_memory == near(truth)
    assert call.children_peak < 30 * MIB


def test_children_that_write_copy() -> None:
    call, truth = ran(forks, 3, True, name="they_write", holds=590 * MIB, children=3)
    assert call.peak_memory == near(truth)
    assert call.children_peak == near(600 * MIB)
    assert {child.name for child in call.children} == {"ray::they_write"}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool(method: str) -> None:
    for attempt in range(3):  # to fork a Ray worker, which has threads, hangs now and then: 3 of 60, profiled or not
        try:
            call, truth = ran(pool, method, name=f"pool_{method}_{attempt}", holds=180 * MIB, children=3)
            break
        except ray.exceptions.GetTimeoutError:
            assert method == "fork"
    assert call.peak_memory == near(truth)
    assert call.children_peak > 175 * MIB


def test_a_child_that_outlives_its_call_is_told_of() -> None:
    if tuple(map(int, ray.__version__.split(".")[:2])) < (2, 50):
        pytest.skip("workers have no process group of their own there")
    call, truth = ran(leaves, 150 * MIB, name="leaves_a_child", holds=150 * MIB, children=1)
    assert call.peak_memory == near(truth)
    (left,) = [child for child in call.children_left if child.memory > 100 * MIB]
    assert left.memory == near(150 * MIB)
    if psutil.pid_exists(left.pid):
        psutil.Process(left.pid).kill()


def test_a_kill_for_what_children_held(memory_to_itself: Any) -> None:
    """Their share is told of, no line is accused of it, and fewer children, as is advised, finish."""
    program = PROGRAMS / "children_kill_program.py"
    with memory_to_itself():
        done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    told, cured = map(json.loads, done.stdout.splitlines()[-2:])
    assert cured == [0]
    assert told["cause"] == "ray_memory_monitor"
    assert told["children"] > 1_500 * MIB
    assert len(told["pids"]) == 4
    (sentence,) = [text for text in told["summary"] if "child processes" in text]
    assert any(str(pid) in sentence for pid in told["pids"])
    assert "the 4 child processes of loads used" in sentence
    assert not [text for text in told["summary"] if text.startswith("It held")]
    assert told["advice"][0].startswith("Have loads start fewer child processes")
    asked = [text.split("memory=")[1].split(")")[0] for text in told["advice"] if "@ray.remote(memory=" in text]
    assert all(int(size.replace("_", "")) > told["peak"] for size in asked)
    assert "children" in told["ooms"]
    assert {"out_of_memory"} <= set(told["findings"]) <= {"out_of_memory", "low_memory"}  # what ended may count yet
    assert "start fewer child processes" in told["doctor"]


def test_children_that_came_after_the_process_s_own_peak_are_in_the_record_of_a_kill(tmp_path: Path) -> None:
    """It loads and frees, then starts what fills the node, and is killed: all that is known is what was written."""
    code = f"""
import os, subprocess, sys, time
from raymemprof import profile_memory

with profile_memory("block", directory={str(tmp_path)!r}):
    data = bytearray(b"1") * {300 * MIB}
    time.sleep(0.3)
    del data
    for size in ({20 * MIB}, {150 * MIB}):
        subprocess.Popen([sys.executable, "-c", {HOLD!r}, str(size), "4"])
        time.sleep(1)
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    (call,) = raymemprof.calls(tmp_path)
    assert call.status == "killed"
    assert call.own_peak > 300 * MIB
    assert call.children_peak == near(180 * MIB)
    assert call.children_count == 2
    for child in call.children:
        psutil.Process(child.pid).kill()


def test_children_that_have_gone_between_calls_are_not_the_next_one_s(tmp_path: Path) -> None:
    children = []

    @profile_memory(directory=tmp_path)
    def starts() -> None:
        children.append(subprocess.Popen([sys.executable, "-c", HOLD, str(100 * MIB), "60"]))
        time.sleep(1)

    @profile_memory(directory=tmp_path)
    def goes_on(pause: float) -> None:
        time.sleep(pause)

    starts()
    goes_on(0.3)
    children[0].kill()
    children[0].wait()
    goes_on(0)
    first, second, third = raymemprof.calls(tmp_path)
    assert first.children_peak == near(105 * MIB)
    assert second.children_before == near(105 * MIB)
    assert second.growth == pytest.approx(0, abs=8 * MIB)
    assert [left.pid for left in second.children_left] == [children[0].pid]
    assert (third.children_before, third.children_peak) == (0, 0)
    assert third.peak_memory == third.own_peak


def test_children_that_were_there_and_end_within_the_call_are_in_its_peak(tmp_path: Path) -> None:
    children = []

    @profile_memory(directory=tmp_path, heap=False)
    def starts() -> None:
        children.append(subprocess.Popen([sys.executable, "-c", HOLD, str(100 * MIB), "60"]))
        time.sleep(1)

    @profile_memory(directory=tmp_path, heap=False, interval_ms=10_000)
    def ends() -> None:
        children[0].kill()
        children[0].wait()

    starts()
    ends()
    call = raymemprof.calls(tmp_path)[-1]
    assert call.children_before == near(105 * MIB)
    assert call.peak_memory >= call.memory_before + call.children_before
    assert call.children_peak >= call.children_before
    assert 0 <= call.growth < 8 * MIB


def test_lines_of_children_that_make_no_sense(tmp_path: Path) -> None:
    with profile_memory("block", directory=tmp_path, heap=False):
        pass
    (journal,) = tmp_path.glob("*.jsonl")
    number = next(json.loads(line)["call"] for line in journal.read_text().splitlines() if '"begin"' in line)
    good = {"event": "children", "calls": [number], "memory": 10, "total": 99 * 2**30, "count": 3, "largest": []}
    bad = [{"total": 10**400}, {"memory": -1}, {"count": True}, {"memory": None}, {"calls": 7}, {"total": "x"}]
    odd = {"largest": [[1], None, ["x", "y", 1], [1, 2, 3], [1, "a", -1], [7, "fine", 5]], "total": 100 * 2**30}
    with journal.open("a") as file:
        for line in (good, *(good | one for one in bad), good | odd):
            file.write(json.dumps(line) + "\n")
    (call,) = raymemprof.calls(tmp_path)
    assert call.peak_memory == 100 * 2**30
    assert [(child.pid, child.name, child.memory) for child in call.children] == [(7, "fine", 5)]
    assert repr(raymemprof.calls(tmp_path))


def test_a_number_that_another_process_has_now_is_none_of_ours() -> None:
    from raymemprof.recording.memory.children import Children

    children = Children()
    stranger = psutil.Process(os.getpid()).parent()
    assert stranger is not None
    mine = subprocess.Popen([sys.executable, "-c", HOLD, str(MIB), "60"])
    try:
        time.sleep(0.1)
        children.look(0, at_once=True)
        assert children._known.keys() >= {mine.pid}
        children._known[stranger.pid] = children._known.pop(mine.pid)  # as if its number had been given out again
        children.look(0, at_once=True)
        assert stranger.pid not in children._known
    finally:
        mine.kill()
        mine.wait()


ORPHAN = """
import subprocess, sys, time
from raymemprof import profile_memory
GROWS = "import sys; data = bytearray(b'1') * 200 * 2**20; print(flush=True); sys.stdin.read()"
STAYS = (
    "import subprocess, sys; sys.stdin.readline();"
    f"subprocess.run([sys.executable, '-c', {GROWS!r}])"
)
LEAVES = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STAYS!r}]); sys.stdin.readline()"

with profile_memory("block", directory=sys.argv[1], heap=False):
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    child = subprocess.Popen([sys.executable, "-c", LEAVES], **pipe)
    from raymemprof.recording.memory.children import children
    while children.count() < 2:
        time.sleep(0.01)
    child.stdin.write(b"go\\n")
    child.wait()
    child.stdin.write(b"go\\n")
    child.stdout.readline()
    deadline = time.monotonic() + 5
    while children.added < 200 * 2**20 and time.monotonic() < deadline:
        time.sleep(0.01)
    child.stdin.close()
"""


def test_what_a_child_starts_whose_parent_has_gone_is_of_the_call(tmp_path: Path) -> None:
    """There is no group to search here: it was seen before."""
    subprocess.run([sys.executable, "-c", ORPHAN, tmp_path], check=True, timeout=60)
    (call,) = raymemprof.calls(tmp_path)
    assert call.children_peak == near(210 * MIB)


def test_forks_whose_numbers_were_given_out_again_in_a_circle() -> None:
    from raymemprof.recording.memory.unshared import Child, _is_forked_from_here

    one, other = Child(10, "one", 1, is_fork=True, parent=20), Child(20, "other", 2, is_fork=True, parent=10)
    assert not _is_forked_from_here(one, [one, other])
    other.parent = os.getpid()
    assert _is_forked_from_here(one, [one, other])


def test_where_there_are_no_children_none_are_told_of() -> None:
    @ray.remote
    @profile_memory
    def alone() -> int:
        time.sleep(0.4)
        return len(bytearray(50 * MIB))

    call, _ = ran(alone, name="alone")
    assert (call.children_peak, call.children, call.children_left) == (0, (), ())


def test_a_driver_s_cluster_is_not_its_child(tmp_path: Path) -> None:
    """`ray.init()` starts the raylet, and so all workers, below the driver."""
    with profile_memory("block", directory=tmp_path):
        time.sleep(0.4)
    (call,) = raymemprof.calls(tmp_path)
    assert [child.name for child in call.children] == []
    assert call.children_peak == 0


COPIES = """
import os, sys, time
from raymemprof import profile_memory
MIB = 2**20

def fork(work):
    pids = []
    ready, told = os.pipe()
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            kept = work()
            os.write(told, b"x")
            time.sleep(60)
        pids.append(pid)
    os.read(ready, 1), os.read(ready, 1)
    time.sleep(1.5)  # for it to be looked at
    for pid in pids:
        os.kill(pid, 9)
        os.waitpid(pid, 0)

@profile_memory(directory=sys.argv[1])
def reads_objects():
    data = [b"%400d" % number for number in range(300_000)]  # 126 MiB
    fork(lambda: sum(map(len, data)))

@profile_memory(directory=sys.argv[1])
def reads_an_array():
    data = bytearray(b"1") * (130 * MIB)
    fork(lambda: data.count(b"2"))

@profile_memory(directory=sys.argv[1])
def allocates():
    data = bytearray(b"1") * (130 * MIB)
    fork(lambda: bytearray(b"2") * (100 * MIB))

reads_objects(), reads_an_array(), allocates()
"""


def test_what_forks_copied_is_told_from_what_they_allocated(tmp_path: Path) -> None:
    """Reading Python objects copies pages; an array that is read is shared, and what a child allocates is its own."""
    from raymemprof.diagnosis.explain import families

    subprocess.run([sys.executable, "-c", COPIES, tmp_path], check=True)
    objects, array, own = raymemprof.calls(tmp_path)
    assert objects.children_peak == near(252 * MIB)
    assert objects.children_copied == pytest.approx(252 * MIB, rel=0.15)
    assert "MiB of that is copies of memory that they had from the process that forked them." in families.told(objects)
    assert any(step.startswith("They are forks") for step in families.steps(objects))
    assert (array.children_copied or 0) < 30 * MIB
    assert own.children_peak == near(200 * MIB)
    assert (own.children_copied or 0) < 30 * MIB
    assert "copies" not in families.told(own)
    assert not any(step.startswith("They are forks") for step in families.steps(own))


FORKS = """
import os, sys, time
from raymemprof import profile_memory
from raymemprof.recording.memory import unshared
unshared._SHARE, unshared._MOST_SAVED = 0.0, 1e-9  # there is time to ask the kernel about one of them

@profile_memory(directory=sys.argv[1])
def write():
    data = bytearray(b"1") * (60 * 2**20)
    pids = []
    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            for start in range(0, len(data), 4096):
                data[start] = 2
                if start % 2**20 == 0:
                    time.sleep(0.02)
            time.sleep(60)
        pids.append(pid)
    time.sleep(4)
    for pid in pids:
        os.kill(pid, 9)
        os.waitpid(pid, 0)

write()
"""


def test_forks_that_the_kernel_was_not_asked_about_are_taken_to_copy_as_the_others_do(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORKS, tmp_path], check=True)
    (call,) = raymemprof.calls(tmp_path)
    assert call.children_peak == pytest.approx(360 * MIB, rel=0.15)


ENDING = """
import os, sys, time
from raymemprof import host, profile_memory
from raymemprof.recording.memory import unshared

pids = []
asked = host.shares

def shares(pid, reading):
    if pid == os.getpid():  # the forks have been asked about: now they end
        for fork in pids:
            os.kill(fork, 9)
            os.waitid(os.P_PID, fork, os.WEXITED | os.WNOWAIT)
    return asked(pid, reading)

host.shares = shares

@profile_memory(directory=sys.argv[1], heap=False)
def wait():
    data = bytearray(b"1") * (120 * 2**20)
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            time.sleep(0.1)
            own = bytearray(b"2") * (10 * 2**20)
            time.sleep(60)
        pids.append(pid)
    time.sleep(1)
    for pid in pids:
        os.kill(pid, 9)
        os.waitpid(pid, 0)

wait()
"""


def test_forks_that_end_while_the_kernel_is_asked_share_nothing_with_each_other(tmp_path: Path) -> None:
    """What a fork shared is its parent's again then, and no memory that only forks have: it was counted as theirs."""
    subprocess.run([sys.executable, "-c", ENDING, tmp_path], check=True)
    (call,) = raymemprof.calls(tmp_path)
    assert 30 * MIB < call.children_peak < 50 * MIB
    assert (call.children_copied or 0) < 20 * MIB
    assert call.children_count == len(call.children) == 3


UNTOLD = """
import os, sys, time
from raymemprof import host, profile_memory

host.shares = lambda pid, reading: host.Shares(None, None, None)

@profile_memory(directory=sys.argv[1], heap=False)
def wait():
    pid = os.fork()
    if pid == 0:
        kept = []
        for _ in range(20):
            kept.append(bytearray(b"1") * (5 * 2**20))
            time.sleep(0.02)
        time.sleep(60)
    time.sleep(1.5)
    os.kill(pid, 9)
    os.waitpid(pid, 0)

wait()
"""


def test_a_fork_of_which_the_kernel_does_not_tell_has_what_it_allocated(tmp_path: Path) -> None:
    """As another user's: what it had when the kernel was asked in vain was forgotten."""
    subprocess.run([sys.executable, "-c", UNTOLD, tmp_path], check=True)
    (call,) = raymemprof.calls(tmp_path)
    assert call.children_peak == near(100 * MIB)


def test_children_that_have_ended_since_the_look_are_told_of_with_what_they_had() -> None:
    from raymemprof.recording.memory.children import Children

    children = Children()
    mine = subprocess.Popen([sys.executable, "-c", HOLD, str(10 * MIB), "60"])
    try:
        time.sleep(0.5)
        assert children.look(0, at_once=True) > 10 * MIB
    finally:
        mine.kill()
        mine.wait()
    seen = children.seen()
    assert seen["count"] == 1
    assert [pid for pid, _, _ in seen["largest"]] == [mine.pid]
    assert children.count() == 0
    assert children.largest() == []


@ray.remote
def loads(is_objects: bool, size: int) -> int:
    import numpy as np
    import torch.utils.data  # here and not in the call: to trace this import takes long

    class Parts:
        """A data set of forty parts, each of which is read whole."""

        def __init__(self, data: Any) -> None:
            self.data = data

        def __len__(self) -> int:
            return 40

        def __getitem__(self, number: int) -> int:
            time.sleep(0.05)
            return int(sum(map(len, self.data[number::40])) if is_objects else self.data[number::40].sum())

    @profile_memory
    def loads() -> int:
        data: Any = [b"%400d" % number for number in range(size // 440)] if is_objects else np.ones(size // 8)
        return len(list(torch.utils.data.DataLoader(Parts(data), num_workers=2, multiprocessing_context="fork")))

    return loads()


@pytest.mark.parametrize("is_objects", [False, True])
def test_a_data_loader(is_objects: bool) -> None:
    """Its forked workers copy a data set of Python objects as they read it, and share an array."""
    pytest.importorskip("torch")
    for attempt in range(3):  # to fork a Ray worker, which has threads, hangs now and then
        try:
            call, truth = ran(loads, is_objects, 200 * MIB, name=f"data_loader_{is_objects}_{attempt}")
            break
        except ray.exceptions.GetTimeoutError:
            continue
    assert call.peak_memory == near(truth)
    copied = call.children_copied or 0
    assert copied > 200 * MIB if is_objects else copied < 64 * MIB


def test_a_pool_of_a_replica_of_ray_serve() -> None:
    """One of the cases of the benchmark, where Ray Serve is installed."""
    pytest.importorskip("ray.serve", exc_type=ImportError)
    program = BENCHMARKS / "children.py"
    done = subprocess.run([sys.executable, program, "serve-pool-fork"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("serve-pool-fork")]
    assert {row[-1] for row in rows if row[-1] in ("ok", "WRONG", "seen")} == {"ok"}, done.stdout
