"""What `advise()` says of calls whose sizes are known, and that a job which Ray kills is not killed as advised."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psutil
import pytest
import ray

import raymemprof
from raymemprof import Call, profile_memory
from raymemprof.diagnosis.advise.advise import Recommendation, Recommendations, advise
from tests.paths import PROGRAMS

COMMAND = str(Path(sys.executable).with_name("raymemprof"))
PROGRAM = PROGRAMS / "advise_program.py"
MIB = 2**20
MARGIN = 1.25
SLACK = 12 * MIB
"""What memray, and the allocator, take of a worker's memory beside what the code asked for."""

pytestmark = pytest.mark.usefixtures("cluster")


def private() -> int:
    """RSS − SHR of this process, as /proc has it."""
    resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def fill(size: int) -> int:
    """Hold some memory for a few samples, and return what the process had before.

    From 32 MiB on malloc asks the system for each piece; a smaller one may lie in what the process has already.
    """
    before = private()
    data = bytearray(b"1") * size
    time.sleep(0.1)
    assert len(data) == size
    return before


def row(advice: Recommendations, name: str) -> Recommendation:
    (found,) = (one for one in advice if one.name.endswith(name))
    return found


def advised(*names: str) -> Recommendations:
    """The advice for the calls of some functions and classes, of all that this module records."""
    return advise([call for call in raymemprof.calls() if set(names) & set(call.name.split("."))])


def assert_sized(advice: Recommendation, needed: int) -> None:
    assert advice.p95 == pytest.approx(needed, abs=SLACK)
    assert advice.max >= advice.p95 >= advice.p50
    assert advice.p95 * MARGIN <= advice.needs < advice.p95 * MARGIN + 1_000_000
    assert advice.memory >= advice.needs


@pytest.fixture(scope="module")
def finished(cluster: Path) -> Call:
    """A real call, to make others of with other figures."""
    folder = cluster / "one"
    with profile_memory("one", directory=folder):
        pass
    (call,) = raymemprof.calls(folder)
    return dataclasses.replace(call, name="task", kind="task", task_id=None)


def test_three_known_sizes() -> None:
    @ray.remote
    @profile_memory
    def small():
        return fill(40 * MIB)

    @ray.remote
    @profile_memory
    def medium():
        return fill(150 * MIB)

    @ray.remote
    @profile_memory
    def large():
        return fill(400 * MIB)

    before = {task: ray.get([task.remote() for _ in range(12)]) for task in (small, medium, large)}
    advices = advised("small", "medium", "large")
    assert [advice.name.rpartition(".")[2] for advice in advices] == ["large", "medium", "small"]
    for (task, baselines), size in zip(before.items(), (40, 150, 400), strict=True):
        advice = row(advices, task._function.__name__)
        assert_sized(advice, max(baselines) + size * MIB)
        assert (advice.kind, advice.call_count, advice.peak_count) == ("task", 12, 12)
        (node,) = ray.nodes()
        assert advice.admits == {node["NodeID"]: 2}
        assert list(advice.fits) == [node["NodeID"]]
        assert advice.warnings == ()
        assert advice.num_cpus == 1
        assert advice.memory == advice.needs


def test_how_many_fit() -> None:
    """What fits is what is free below the threshold, and what idle workers have, for calls that start there."""

    @ray.remote
    @profile_memory
    def fits_task():
        return os.getpid(), fill(100 * MIB)

    pids = {pid for pid, _ in ray.get([fits_task.remote() for _ in range(4)])}

    def expected(memory: int) -> float:
        machine = psutil.virtual_memory()
        idle = sum(process.memory_info().rss - process.memory_info().shared for process in map(psutil.Process, pids))
        return (0.95 * machine.total - (machine.total - machine.available) + idle) / memory

    for _ in range(5):  # others on this machine take memory and give it back
        (advice,) = advised("fits_task")
        (fits,) = advice.fits.values()
        if abs(fits - expected(advice.memory)) <= 3:
            break
    assert fits == pytest.approx(expected(advice.memory), abs=3)


def test_an_actor_class() -> None:
    """Each process has one peak, that of its whole life, however many calls it was that made it."""

    @ray.remote
    @profile_memory
    class Keeper:
        def __init__(self):
            self.kept = []

        def keep(self, size):
            self.kept.append(bytearray(b"1") * size)
            return private()  # Ray imports what it needs for results meanwhile, and it never shrinks

    actors = [Keeper.remote(), Keeper.remote()]
    *_, smaller = ray.get([actors[0].keep.remote(50 * MIB) for _ in range(2)])
    *_, larger = ray.get([actors[1].keep.remote(50 * MIB) for _ in range(6)])
    (advice,) = advised("Keeper")
    assert advice.name.endswith(".Keeper")
    assert (advice.kind, advice.call_count, advice.peak_count) == ("actor", 2 + 2 + 6, 2)
    assert advice.p50 == pytest.approx(smaller, abs=SLACK)
    assert_sized(advice, larger)
    assert list(advice.admits.values()) == [None]
    assert "any" in repr(advised("Keeper"))
    assert [text for text in advice.warnings if "2 processes" in text]
    for actor in actors:
        ray.kill(actor)


def test_overlapping_calls_share_a_process() -> None:
    @ray.remote(max_concurrency=2)
    @profile_memory
    class Threads:
        def __init__(self):
            self.inside = 0

        def hold(self, size):
            data = bytearray(b"1") * size
            self.inside += 1
            deadline = time.monotonic() + 60
            while self.inside < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            return private() if data else 0

    actor = Threads.remote()
    had = ray.get([actor.hold.remote(100 * MIB) for _ in range(2)])
    (advice,) = advised("Threads")
    assert_sized(advice, max(had))
    assert (advice.call_count, advice.peak_count) == (3, 1)
    ray.kill(actor)


def test_blocks_and_helpers_are_part_of_the_task() -> None:
    @profile_memory
    def helper():
        return fill(20 * MIB)

    @ray.remote
    @profile_memory
    def outer():
        with profile_memory("block within"):
            helper()
        helper()

    @ray.remote
    def undecorated():
        with profile_memory("first block"):
            fill(30 * MIB)
        with profile_memory("second block"):
            fill(60 * MIB)
            with profile_memory("innermost block"):
                fill(10 * MIB)

    ray.get([outer.remote(), outer.remote(), undecorated.remote()])
    with profile_memory("driver's block"):
        fill(MIB)
    mine = ("helper", "outer", "block within", "first block", "second block", "innermost block", "driver's block")
    recorded = [call for call in raymemprof.calls() if call.name.rpartition(".")[2] in mine]
    assert {call.name.rpartition(".")[2] for call in recorded} == set(mine)
    advices = advise(recorded)
    found = {advice.name.rpartition(".")[2]: (advice.kind, advice.call_count) for advice in advices}
    assert found == {
        "outer": ("task", 2),
        "first block": ("block", 1),
        "second block": ("block", 1),
        "driver's block": ("block", 1),
    }


def test_a_function_seen_once() -> None:
    @ray.remote
    @profile_memory
    def rare():
        return fill(40 * MIB)

    before = ray.get(rare.remote())
    (advice,) = advised("rare")
    assert_sized(advice, before + 40 * MIB)
    assert advice.p50 == advice.p95 == advice.max
    assert advice.warnings == ("only one call was seen: others may need more.",)


def test_peaks_that_vary_with_input() -> None:
    @ray.remote
    @profile_memory(heap=False)
    def varies(size):
        return fill(size)

    ray.get([varies.remote(MIB) for _ in range(18)] + [varies.remote(500 * MIB) for _ in range(2)])
    (advice,) = advised("varies")
    assert advice.p95 > 3 * advice.p50
    (text,) = advice.warnings
    assert f"{advice.p95 / advice.p50:.1f} times the median" in text


def test_killed_calls(wait_for: Callable[..., Any], tmp_path: Path) -> None:
    """What a killed call had is a lower bound: the advice is not below it, and says so."""

    @ray.remote(max_retries=0)
    @profile_memory(heap=False)
    def dies(size, diary):
        data = bytearray(b"1") * size
        if diary is not None:
            Path(diary).write_text(str(private()))
            time.sleep(120)
        return len(data)

    diary = tmp_path / "diary"
    reference = dies.remote(300 * MIB, str(diary))
    had = int(wait_for(lambda: diary.exists() and diary.read_text()))
    (call,) = wait_for(lambda: [c for c in raymemprof.calls(name="dies") if c.peak_memory > 0.9 * had])
    (running,) = advised("dies")
    assert any("still run" in text for text in running.warnings)
    os.kill(call.pid, signal.SIGKILL)
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(reference)
    ray.get([dies.remote(MIB, None) for _ in range(20)])
    wait_for(lambda: raymemprof.calls(name="dies", status="killed"))
    (advice,) = advised("dies")
    assert (advice.call_count, advice.peak_count) == (21, 21)
    assert advice.p95 < 0.5 * had, "20 of 21 need little"
    assert advice.max == pytest.approx(had, rel=0.1), "peaks are noted in steps of a tenth"
    assert advice.memory >= had
    assert "1 of 21 calls were killed: what they had is a lower bound of what they need." in advice.warnings


def test_a_call_that_ended_early_does_not_make_it_small(finished: Call) -> None:
    whole = dataclasses.replace(finished, peak_memory=10**9)
    early = [dataclasses.replace(finished, peak_memory=10**8, status=status) for status in ("failed", "cancelled")]
    (advice,) = advise([whole, *early * 50])
    assert (advice.call_count, advice.p50, advice.p95) == (101, 10**9, 10**9)
    (only_early,) = advise(early)
    assert only_early.p95 == 10**8


def test_a_call_that_fits_no_node(finished: Call) -> None:
    large = dataclasses.replace(finished, peak_memory=10 * psutil.virtual_memory().total)
    (advice,) = advise([large])
    assert set(advice.fits.values()) == {0}
    assert advice.num_cpus == 2, "one at a time is the best there is"
    assert any(text.startswith("not a single one fits any node") for text in advice.warnings)


def test_it_shows_itself(finished: Call) -> None:
    advices = advise([finished] * 3)
    shown = repr(advices)
    assert "1 function or actor class" in shown
    assert f"{advices[0].memory:_}" in shown
    assert "task: only 3 calls were seen" in shown
    assert re.search(r"node [\d.]+: [\d.]+ \w+ left of the [\d.]+ \w+ above which processes are killed, 2 CPUs", shown)
    (record,) = json.loads(advices.to_json())
    figures = {"p50", "p95", "max", "needs", "memory", "num_cpus", "fits", "admits"}
    assert set(record) == figures | {"name", "kind", "call_count", "peak_count", "warnings", "basis", "ray_data_peak"}
    assert record["fits"] == dict(advices[0].fits)
    assert list(advices.to_pandas()["memory"]) == [advices[0].memory]
    assert "<table" in advices._repr_html_()
    assert isinstance(advices[:1], Recommendations)


def test_the_commands(tmp_path: Path) -> None:
    """`usage`, `advise` and `doctor` of the whole cluster, as tables, as JSON, and as a page."""

    @ray.remote
    @profile_memory
    def commanded():
        return fill(40 * MIB)

    ray.get([commanded.remote(), commanded.remote()])
    (tmp_path / "there.html").write_text("mine")
    address = ("--address", str(ray.get_runtime_context().gcs_address))
    commands = {
        "usage": ("usage", *address),
        "usage as JSON": ("usage", "--json", *address),
        "advise": ("advise", "--name", "*commanded", *address),
        "advise as JSON": ("advise", "--name", "*commanded", "--json", *address),
        "doctor": ("doctor", "-o", "there.html", *address),
        "doctor as JSON": ("doctor", "--json", "-o", "page.html", *address),
        "no address": ("usage", "--address", "nowhere"),
        "no view": ("usage", "--live", "--json"),
    }
    started = {
        name: subprocess.Popen(
            [COMMAND, *words], stdout=PIPE, stderr=PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
        )
        for name, words in commands.items()
    }
    said = {name: process.communicate(timeout=120) for name, process in started.items()}
    status = {name: process.returncode for name, process in started.items()}
    refused = {"doctor", "no address", "no view"}
    assert {name for name in status if status[name] == 2} == refused, said
    assert {status[name] for name in status.keys() - refused} == {0}, said
    for name in refused:
        (line,) = said[name][1].splitlines()
        assert line.startswith("raymemprof: ")
    (node,) = ray.nodes()
    (read,) = json.loads(said["usage as JSON"][0])["nodes"]
    assert read["node_id"] == node["NodeID"]
    assert os.getpid() in {process["pid"] for process in read["processes"] if process["role"] == "driver"}
    assert f"{read['node_ip']} {read['node_id'][:6]}… head" in said["usage"][0]
    assert re.search(r"^ *driver .* \d+ *$", said["usage"][0], re.MULTILINE)
    (advice,) = json.loads(said["advise as JSON"][0])
    (mine,) = advised("commanded")
    assert (advice["name"], advice["p95"], advice["memory"]) == (mine.name, mine.p95, mine.memory)
    assert f"{mine.memory:_}" in said["advise"][0]
    diagnosis = json.loads(said["doctor as JSON"][0])
    assert len(diagnosis["checks"]) == len({check["question"] for check in diagnosis["checks"]}) == 11
    assert mine.name in {call["name"] for call in diagnosis["calls"]}
    assert said["doctor as JSON"][1] == f"Wrote {Path('page.html').absolute()}\n"
    assert diagnosis["summary"].split("`")[0] in Path("page.html").read_text()
    assert said["doctor"][0].startswith(diagnosis["summary"].split(" ")[0])
    assert "there.html exists already" in said["doctor"][1]
    assert Path("there.html").read_text() == "mine"


def test_what_is_no_calls() -> None:
    assert len(advise([])) == 0
    with pytest.raises(TypeError, match="calls"):
        advise("/tmp")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not 1"):
        advise([1])  # type: ignore[list-item]


def test_without_a_cluster(run_script: Callable[..., str], tmp_path: Path) -> None:
    """The machine is the one node, by its host name, with the threshold of its environment."""
    printed = run_script(
        """
import os, socket, time
import psutil
import raymemprof
from raymemprof.diagnosis.advise.advise import advise

@raymemprof.profile_memory
def load():
    data = bytearray(b"1") * 100_000_000
    time.sleep(0.1)  # a few samples

load()
(advice,) = advise(raymemprof.calls(os.environ["RAYMEMPROF_DIRECTORY"]))
assert advice.name == "load" and 100_000_000 < advice.p95 < 300_000_000, advice
assert advice.admits == {socket.gethostname(): psutil.cpu_count()}
print(advice.fits[socket.gethostname()])
""",
        RAYMEMPROF_DIRECTORY=str(tmp_path / "here"),
        RAY_memory_usage_threshold="0.0001",
    )
    assert printed.strip() == "0"


def play(scene: str, folder: Path, memory_to_itself: Any) -> dict[str, Any]:
    command = [sys.executable, str(PROGRAM), scene]
    with memory_to_itself():
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    records: dict[str, Any] = json.loads((folder / "records.json").read_text())
    if "skip" in records:
        pytest.skip(records["skip"])
    return records


def test_the_pages_example(tmp_path: Path, memory_to_itself: Any) -> None:
    """15 tasks of 1.2 GB, 18 GB in all, one CPU each: doubled, 7 run at once, and memory does not exceed 9 GB."""
    records = play("page", tmp_path, memory_to_itself)
    (advice,) = records["advices"]
    assert advice["call_count"] * advice["p50"] == 18_000_000_000
    assert advice["p50"] == advice["p95"] == 1_200_000_000
    assert list(advice["admits"].values()) == [15]
    assert list(advice["fits"].values()) == [7]
    assert advice["num_cpus"] == 2
    assert 15 // advice["num_cpus"] == 7
    assert 7 * advice["p95"] <= 9_000_000_000
    assert re.search(r"\b2 +7 +15\b", records["shown"])


def test_nodes_of_a_cluster(tmp_path: Path, memory_to_itself: Any) -> None:
    records = play("nodes", tmp_path, memory_to_itself)
    (advice,), (later,) = records["both"], records["one"]
    assert sorted(advice["admits"].values()) == [2, 12]
    assert set(advice["fits"]) == {node["NodeID"] for node in records["nodes"]}
    (most,) = (fits for node_id, fits in advice["fits"].items() if advice["admits"][node_id] == 12)
    assert 12 // advice["num_cpus"] == most < 12, "the node with the least memory for each CPU"
    assert len(later["fits"]) == 1
    assert later["num_cpus"] == 1
    assert records["missing"] == [node_id for node_id in advice["fits"] if node_id not in later["fits"]]


def test_a_job_that_ray_kills_finishes_as_advised(tmp_path: Path, memory_to_itself: Any) -> None:
    """Each way as it stands: with `memory=`, though Ray's own figure does not know the threshold, and `num_cpus=`."""
    records = play("oom", tmp_path, memory_to_itself)
    advice, first = records["advice"], records["first"]
    assert first["killed"] >= 1
    assert first["kills"] >= first["killed"]
    (fits,) = advice["fits"].values()
    assert 1 <= fits < 4
    assert records["resource"] // advice["needs"] >= 4, "what it uses would let all run at once"
    assert records["resource"] // advice["memory"] <= fits
    assert records["resource"] // (advice["memory"] - 1_000_000) > fits, "and no more than it must be"
    for way in ("by_memory", "by_cpus"):
        assert records[way] == {"held": [1_000_000_000] * 4, "killed": 0, "kills": 0}, way
    assert any(
        text.startswith("memory= is more than it uses")
        and f"with less Ray would run 4 at once on node {records['address']}, where {fits} fit" in text
        and f"`ray start --memory={fits * advice['needs']}` there would let you ask for {advice['needs']:_}." in text
        for text in advice["warnings"]
    ), advice["warnings"]
